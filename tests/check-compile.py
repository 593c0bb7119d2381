#!/usr/bin/env python3
"""The headers compile without a warning under every compiler, in every order and constellation
that a project may include them, and the results link and run. Run by run.py: with --more, as by
run.py --all, the rows that take longest to compile, without, the others."""
import functools
import re
import sys

from checks import (BUILD, HEADERS, OPENSSL, STRICT, TOP, Failed, includes, main, pkg_config, run,
                     write)

COMPILERS = {"gcc": "-std=c11", "clang": "-std=c11", "g++": "-std=c++17", "clang++": "-std=c++17"}
MAIN = "int main(void)\n{\n    return mm_status_string(MM_STATUS_OK)[0] == 'o' ? 0 : 1;\n}\n"
SYSTEM = ("#include <errno.h>\n#include <fcntl.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
          "#include <string.h>\n#include <sys/stat.h>\n#include <time.h>\n#include <unistd.h>\n")
# What shows or hides parts of the system's headers (-pthread defines _REENTRANT).
SURROUNDINGS = ["-std=gnu11", "-pthread", "-D_GNU_SOURCE", "-D_DEFAULT_SOURCE",
                "-D_POSIX_C_SOURCE=200809L", "-D_XOPEN_SOURCE=700"]


def command(compiler, level, options, standard=None):
    strict = [flag for flag in STRICT if compiler != "g++" or flag != "-Wmissing-prototypes"]
    ssl = pkg_config("--cflags") if OPENSSL[0] in options else []
    return [compiler, standard or COMPILERS[compiler], level, *strict, f"-I{TOP}", *options, *ssl]


def suffix(compiler):
    return ".cc" if "++" in compiler else ".c"


def link_and_run(compiler, program, objects):
    run([compiler, "-pthread", "-o", program, *objects, "-Wl,--as-needed", *pkg_config("--libs")])
    run([program])


def compiles(folder, compiler, level, source, options, standard=None):
    output = folder / "declarations.o"
    folder.mkdir(parents=True, exist_ok=True)
    run([*command(compiler, level, options, standard), "-c", "-o", output, source])


def works(folder, compiler, level, source, options):
    """One file, with its implementation."""
    folder.mkdir(parents=True, exist_ok=True)
    run([*command(compiler, level, options), "-c", "-o", folder / "main.o", source])
    link_and_run(compiler, folder / "main", [folder / "main.o"])


def works_text(folder, compiler, level, text, options):
    works(folder, compiler, level, write(folder / f"main{suffix(compiler)}", text), options)


def user_of_everything(folder, compiler, options):
    """A program that needs every function that the headers declare."""
    source = write(folder / f"user{suffix(compiler)}", includes(HEADERS))
    text = run([*command(compiler, "-O0", options), "-DMM_API=mm_declared", "-E", "-P", source])
    names = sorted({re.search(r"\b(mmi?_\w+)\s*\(", rest)[1]
                    for rest in text.split("mm_declared ")[1:]})
    if not names:
        raise Failed("no declaration found")
    table = "".join(f"    (function){name},\n" for name in names)
    return write(source, f"""{includes(HEADERS)}
typedef void (*function)(void);
static const function table[] = {{
{table}}};

int main(void)
{{
    function const volatile *each = table;
    for (; each < table + sizeof(table) / sizeof(table[0]); each++) {{
        if (*each == NULL) return 1;
    }}
    return 0;
}}
""")


def works_split(folder, user, implementer, level, files, options):
    """Implementations in files of their own, given as (headers, macro); all used from another."""
    objects = [folder / "user.o"]
    run([*command(user, level, options), "-c", "-o", objects[0],
         user_of_everything(folder, user, options)])
    for index, (headers, macro) in enumerate(files):
        source = write(folder / f"part{index}{suffix(implementer)}", includes(headers, macro))
        objects.append(folder / f"part{index}.o")
        run([*command(implementer, level, options), "-c", "-o", objects[-1], source])
    link_and_run(user, folder / "user", objects)


def programs():
    """(name, text) of the files that hold everything."""
    for start in range(len(HEADERS)):
        order = HEADERS[start:] + HEADERS[:start]
        yield f"all from {order[0]}", includes(order + order, "MM_IMPLEMENTATION") + MAIN
    yield ("declarations first, implementation later",
           includes(HEADERS) + includes(HEADERS, "MM_IMPLEMENTATION") + MAIN)
    yield "after system headers", SYSTEM + includes(HEADERS, "MM_IMPLEMENTATION") + MAIN
    yield ("MM_STATIC", "#define MM_STATIC\n" + includes(HEADERS, "MM_IMPLEMENTATION") + MAIN)


def rows():
    def row(name, check, *arguments):
        folder = BUILD / "compile" / re.sub(r"[^\w+.-]+", "-", name)
        found.append((name, functools.partial(check, folder, *arguments)))

    found = []
    for compiler, level in ((c, level) for c in COMPILERS for level in ("-O0", "-O2")):
        prefix = f"{compiler} {level}"
        single = {header: TOP / "tests/compile" / (header[:-2] + suffix(compiler))
                  for header in HEADERS}
        for header, source in single.items():
            for options in ([[], OPENSSL] if header == "mm_io.h" else [[]]):
                name = f"{prefix} {header} alone" + " openssl" * bool(options)
                row(f"{name}", compiles, compiler, level, source, options)
                row(f"{name} implementation", works, compiler, level, source,
                    ["-DMM_IMPLEMENTATION", *options])
                row(f"{name} static", works, compiler, level, source,
                    ["-DMM_IMPLEMENTATION", "-DMM_STATIC", *options])
                if level == "-O2":  # what programs ship: assertions leave their helpers unused
                    row(f"{name} NDEBUG", works, compiler, level, source,
                        ["-DMM_IMPLEMENTATION", "-DNDEBUG", *options])
            if header == "mm_heap.h":
                row(f"{name} override", works, compiler, level, source,
                    ["-DMM_IMPLEMENTATION", "-DMM_HEAP_OVERRIDE"])
                row(f"{name} override static", works, compiler, level, source,
                    ["-DMM_IMPLEMENTATION", "-DMM_HEAP_OVERRIDE", "-DMM_STATIC"])
                row(f"{name} debug", works, compiler, level, source,
                    ["-DMM_IMPLEMENTATION", "-DMM_HEAP_DEBUG"])
                row(f"{name} debug override", works, compiler, level, source,
                    ["-DMM_IMPLEMENTATION", "-DMM_HEAP_DEBUG", "-DMM_HEAP_OVERRIDE"])
                row(f"{name} secure", works, compiler, level, source,
                    ["-DMM_IMPLEMENTATION", "-DMM_HEAP_SECURE", "-DNDEBUG"])
            if level == "-O0":
                older = "-std=c++11" if "++" in compiler else "-std=c99"
                row(f"{prefix} {header} alone {older}", compiles, compiler, level, source, [],
                    older)
        for options in ([], OPENSSL):
            ssl = " openssl" * bool(options)
            for name, text in programs():
                if level == "-O2" and re.match(f"all from (?!{HEADERS[0]})", name):
                    continue  # in which order they come is nothing to the optimizer
                row(f"{prefix} {name}{ssl}", works_text, compiler, level, text, options)
            for extra in SURROUNDINGS if (suffix(compiler), level) == (".c", "-O0") else []:
                row(f"{prefix} {extra}{ssl}", works_text, compiler, level,
                    includes(HEADERS, "MM_IMPLEMENTATION") + MAIN, [extra, *options])
            row(f"{prefix} one implementation a file{ssl}", works_split, compiler, compiler, level,
                [([header], header[:-2].upper() + "_IMPLEMENTATION") for header in HEADERS],
                options)
            if "++" in compiler:
                row(f"{prefix} implementation in C, use in C++{ssl}", works_split, compiler,
                    {"g++": "gcc", "clang++": "clang"}[compiler], level,
                    [(HEADERS, "MM_IMPLEMENTATION")], options)
    return found


def is_slow(name):
    """The optimizer takes most of the time, and gcc's warns of most that comes to light by it."""
    return re.match(r"(clang|clang\+\+|g\+\+) -O2 ", name) is not None


more = "--more" in sys.argv
if more:
    sys.argv.remove("--more")
main([(name, check) for name, check in rows() if is_slow(name) == more])
