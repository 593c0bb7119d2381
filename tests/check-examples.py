#!/usr/bin/env python3
"""The example programs of the documentation compile without a warning, run, and exit with 0:
one in each header's top comment, and one in README.md for each header. Run by run.py."""
import functools
import re
import textwrap

from checks import BUILD, CC, HEADERS, STRICT, TOP, Failed, main, pkg_config, run, write


def header_example(header):
    match = re.search(r"^ *---8<---$\n(.*?)^ *--->8---$", (TOP / header).read_text(), re.M | re.S)
    if not match:
        raise Failed(f"{header} has no example between ---8<--- and --->8---")
    return textwrap.dedent(match[1])


def readme_examples():
    blocks = re.findall(r"^```c\n(.*?)^```$", (TOP / "README.md").read_text(), re.M | re.S)
    return [block for block in blocks if "int main" in block]


def readme_has(header):
    if not any(f'#include "{header}"' in block for block in readme_examples()):
        raise Failed(f"README.md has no program that includes {header}")


def works(name, find_text):
    """In a folder of its own, so that what it writes lies nowhere else."""
    source = write(BUILD / "examples" / name / "example.c", find_text())
    run([*CC, "-std=c11", "-O1", "-g", *STRICT, f"-I{TOP}", *pkg_config("--cflags"), "-pthread",
         "-o", source.with_suffix(""), source, "-Wl,--as-needed", *pkg_config("--libs")])
    run([source.with_suffix("")], cwd=source.parent)


rows = [(f"example in {header}", functools.partial(
    works, header.replace(".h", ""), functools.partial(header_example, header)))
    for header in HEADERS]
rows += [(f"README.md has {header}", functools.partial(readme_has, header)) for header in HEADERS]
rows += [(f"README.md program {index}", functools.partial(
    works, f"readme-{index}", functools.partial(str, text)))
    for index, text in enumerate(readme_examples(), 1)]
main(rows)
