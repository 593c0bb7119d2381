#!/usr/bin/env python3
"""What the headers promise as text: one common block, no name of theirs without our prefix,
lines that fit. Run by run.py."""
import functools
import json
import re

from checks import (BUILD, HEADERS, OPENSSL, TOP, Failed, includes, main, pkg_config, run, write)

PREFIX = re.compile(r"(mm_|mmi_|MM_|MMI_)")


def common_block(header):
    lines = (TOP / header).read_text().split("\n")
    return lines[lines.index("#ifndef MM_COMMON_"):lines.index("#endif /* MM_COMMON_ */") + 1]


def same_common_block(header):
    for ours, first in zip(common_block(header), common_block(HEADERS[0])):
        if ours != first:
            raise Failed(f"{header}: {ours}\n{HEADERS[0]}: {first}")
    if len(common_block(header)) != len(common_block(HEADERS[0])):
        raise Failed(f"{header}: not as long as in {HEADERS[0]}")


def lines_fit(path):
    wrong = [f"{path}:{number}: {what}"
             for number, line in enumerate(path.read_text().split("\n"), 1)
             for what, found in (("wider than 100 columns", len(line) > 100),
                                 ("a tab", "\t" in line),
                                 ("blanks at the end", line != line.rstrip()))
             if found]
    if wrong:
        raise Failed("\n".join(wrong))


# Written before the rows run, several at a time: one that wrote it anew would empty it for another.
EVERYTHING = write(BUILD / "check" / "everything.c", includes(HEADERS, "MM_IMPLEMENTATION"))


def everything(options):
    """A file with all six implementations, and the flags that it is compiled with."""
    return [EVERYTHING, f"-I{TOP}", *options, *(pkg_config("--cflags") if options else [])]


def reject(what, names):
    wrong = sorted(name for name in names if not PREFIX.match(name))
    if wrong:
        raise Failed(f"{what} without our prefix: {' '.join(wrong)}")


def symbols(compiler, name, options):
    output = BUILD / "check" / f"{name}.o"
    run([*compiler, "-c", "-o", output, *everything(options)])
    table = run(["nm", "-g", "--defined-only", "-P", output])
    reject("symbols", [line.split()[0] for line in table.splitlines()])


def macros(options):
    """Macros that are still defined at the end, and were defined by one of our files."""
    defined, ours = set(), False
    for line in run(["gcc", "-std=c11", "-E", "-dD", *everything(options)]).splitlines():
        marker = re.match(r'# \d+ "(.*?)"', line)
        directive = re.match(r"#(define|undef) (\w+)", line)
        if marker:
            ours = marker[1].rsplit("/", 1)[-1] in HEADERS
        elif directive and directive[1] == "undef":
            defined.discard(directive[2])
        elif directive and ours:
            defined.add(directive[2])
    reject("macros", defined)


def declarations(options):
    """Every type, function, object and enumerator that our files declare at the top level. (Not
    `extern` functions: those are the C library's, declared again where -std=c11 hides them; one
    of our own would show among the symbols.)"""
    state = {"file": ""}

    def locate(node):  # clang names a file only where it differs from that of the place before
        if "offset" in node:
            state["file"] = node["file"] = node.get("file", state["file"])
        return node

    tree = json.loads(run(["clang", "-std=c11", "-fsyntax-only", "-Xclang", "-ast-dump=json",
                           *everything(options)]), object_hook=locate)
    names = []
    for node in tree["inner"]:
        place = node.get("loc", {})
        place = place.get("expansionLoc", place)
        ours = place.get("file", "").rsplit("/", 1)[-1] in HEADERS
        if ours and not node.get("isImplicit") and not (
                node["kind"] == "FunctionDecl" and node.get("storageClass") == "extern"
                and not node["name"].startswith("mm")):
            members = node.get("inner", []) if node["kind"] == "EnumDecl" else []
            names += [each["name"] for each in [node, *members] if "name" in each]
    if not names:
        raise Failed("no declaration found")
    reject("declarations", names)


rows = [(f"common block {header}", functools.partial(same_common_block, header))
        for header in HEADERS]
rows += [(f"lines {path.relative_to(TOP)}", functools.partial(lines_fit, path))
         for folder in (TOP, TOP / "demo", TOP / "tests", *(TOP / "tests").glob("*/"))
         for pattern in ("*.h", "*.c", "*.cc") for path in sorted(folder.glob(pattern))]
for suffix, options in (("", []), (" openssl", OPENSSL)):
    rows += [
        (f"symbols C{suffix}", functools.partial(
            symbols, ["gcc", "-std=c11"], f"c{suffix.strip()}", options)),
        (f"symbols C++{suffix}", functools.partial(
            symbols, ["g++", "-std=c++17", "-x", "c++"], f"cc{suffix.strip()}", options)),
        (f"macros{suffix}", functools.partial(macros, options)),
        (f"declarations{suffix}", functools.partial(declarations, options)),
    ]
main(rows)
