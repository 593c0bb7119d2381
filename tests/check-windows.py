#!/usr/bin/env python3
"""The five headers that are not bound to POSIX, compiled for Windows without a warning, and their
unit tests run by Wine. Run by run.py --all."""
import functools
import os
import re

from checks import BUILD, HEADERS, STRICT, TOP, Failed, includes, main, run, write

FOLDER = BUILD / "windows"
PORTABLE = [header for header in HEADERS if header != "mm_io.h"]
COMPILERS = {"x86_64-w64-mingw32-gcc": ["-std=c11"],
             "x86_64-w64-mingw32-g++": ["-std=c++17", "-x", "c++"]}
# The other ones are about POSIX files or about the server.
PROGRAMS = ["arena", "arena_debug", "buffer", "buffer_plain", "chunk_files", "chunked", "heap",
            "heap_debug", "heap_first_class", "heap_secure", "heap_sizes", "pool", "pool_buffers",
            "pool_objects", "pool_release", "shared", "text", "text_words"]
WINE = {**os.environ, "WINEPREFIX": str(FOLDER / "wine"), "WINEDEBUG": "-all"}
MAIN = "int main(void)\n{\n    return 0;\n}\n"


def compiles(compiler, level, name, text):
    source = write(FOLDER / f"{compiler[-3:]}{level}-{name}.c", text)
    strict = [flag for flag in STRICT
              if flag != "-Wmissing-prototypes" or compiler.endswith("gcc")]
    run([compiler, *COMPILERS[compiler], level, *strict, f"-I{TOP}", "-o",
         source.with_suffix(".exe"), source])


def works(name):
    program = FOLDER / f"{name}.exe"
    run(["x86_64-w64-mingw32-gcc", "-std=c11", "-O1", "-g", "-pthread", "-static",
         "-o", program, TOP / f"tests/unit/{name}.c"])
    output = run(["wine", program], env=WINE, cwd=TOP).replace("\r", "")
    if not re.search(r"^\d+ passed, 0 failed$", output, re.M):
        raise Failed(output)


def rows():
    for compiler in COMPILERS:
        for level in "-O0", "-O2":
            for name, headers in [(header, [header]) for header in PORTABLE] + [("all", PORTABLE)]:
                for define in "MM_IMPLEMENTATION", "MM_STATIC\n#define MM_IMPLEMENTATION", "":
                    kind = {"MM_IMPLEMENTATION": "implementation", "": "declarations"}
                    title = f"{name} {kind.get(define, 'static')}"
                    yield (f"{compiler} {level} {title}", functools.partial(
                        compiles, compiler, level, title.replace(" ", "-"),
                        includes(headers, define) + MAIN))
    for name in PROGRAMS:
        yield f"wine unit/{name}", functools.partial(works, name)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    run(["wine", "wineboot", "-i"], env=WINE)  # makes its folder, before several need it
    main(list(rows()))
