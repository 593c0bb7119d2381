#!/usr/bin/env python3
"""What `make install` puts in place is complete, can be used in each of the usual ways, and can be
taken away again; `make mm.h` is as good as the six headers. Run by run.py --all."""
import functools
import json
import os
import re
import shlex
import shutil

from checks import BUILD, CC, HEADERS, STRICT, TOP, Failed, main, pkg_config, run, write

FOLDER = BUILD / "packaging"
PREFIX = FOLDER / "prefix"
MAKE = os.environ.get("MAKE", "make")
PROGRAM = "#define MM_IMPLEMENTATION\n" + "".join(
    f'#include "{header}"\n' for header in HEADERS) + """
int main(void)
{
    char *text = (char *)mm_heap_alloc(100); /* with a lock and a thread's end behind it */
    mm_heap_free(text);
    return text == NULL;
}
"""
PROJECT = """cmake_minimum_required(VERSION 3.12)
project(consumer LANGUAGES C)
set(CMAKE_C_STANDARD 11)
%s
add_executable(consumer consumer.c)
target_link_libraries(consumer mm::mm)
"""
# One program of the unit tests for each header, as mm.h makes each of them large.
JOINED = ["shared", "arena", "pool", "heap_wrong", "chunk", "io_responses"]


def fresh(name):
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    (FOLDER / name).mkdir(parents=True)
    return FOLDER / name


def make(*arguments, **options):
    return run([MAKE, "-C", TOP, f"BUILD={BUILD}", "SETUP=no", *arguments], **options)


def install():
    fresh("prefix")
    make("install", f"PREFIX={PREFIX}")


def pkg_config_finds_it():
    source = write(fresh("pkg-config") / "consumer.c", PROGRAM)
    environment = {**os.environ, "PKG_CONFIG_PATH": str(PREFIX / "share/pkgconfig")}
    flags = run(["pkg-config", "--cflags", "--libs", "mm >= 0.1"], env=environment).split()
    if f"-I{PREFIX}/include" not in flags:
        raise Failed(f"pkg-config says {flags}")
    run([*CC, "-std=c11", *STRICT, "-o", source.with_suffix(""), source, *flags])
    run([source.with_suffix("")])


def copies_do():
    """The first thing that the README says: headers beside the program, and nothing else."""
    folder = fresh("copy")
    for header in HEADERS:
        shutil.copy(TOP / header, folder)
    source = write(folder / "consumer.c", PROGRAM)
    run([*CC, "-std=c11", *STRICT, "-pthread", "-o", folder / "consumer", source], cwd=folder)
    run([folder / "consumer"])


def cmake(name, find, *options):
    folder = fresh(name)
    write(folder / "consumer.c", PROGRAM)
    write(folder / "CMakeLists.txt", PROJECT % find)
    run(["cmake", "-S", folder, "-B", folder / "build", *options])
    run(["cmake", "--build", folder / "build"])
    run([folder / "build/consumer"])


def cmake_refuses_another_version():
    try:
        cmake("cmake-other", "find_package(mm 0.2 REQUIRED)", f"-DCMAKE_PREFIX_PATH={PREFIX}")
    except Failed as failure:
        if "0.1.0" not in str(failure):
            raise
    else:
        raise Failed("version 0.2 was found")


def manual_has_all():
    page = PREFIX / "share/man/man1/mmserve.1"
    said = run(["groff", "-man", "-Tutf8", "-ww", "-z", page])
    if said:
        raise Failed(said)
    text = page.read_text().replace("\\-", "-")
    options = set(re.findall(r"^ {2,6}(?:-\w, )?(--[\w-]+)", run([PREFIX / "bin/mmserve", "--help"]),
                             re.M))
    missing = [option for option in options if f"{option}" not in text]
    if missing or not options:
        raise Failed(f"not in the manual: {missing}")


def commands_compile():
    """Each of them, as an editor would run it, on a file of the server."""
    make("compile-commands")
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    if {entry["file"] for entry in commands} != {
            str(path.relative_to(TOP)) for path in TOP.glob("demo/*.c")}:
        raise Failed(str(commands))
    entry = next(entry for entry in commands if entry["file"] == "demo/html.c")
    run([*shlex.split(entry["command"]), "-o", FOLDER / "html.o"], cwd=entry["directory"])


def complete(words):
    """What bash offers for the last of some words, the one that is yet to be completed."""
    script = ('source "$0"; compopt() { :; }; PATH=$1:$PATH; shift; _mmserve mmserve "$2" "$1"; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    completion = PREFIX / "share/bash-completion/completions/mmserve"
    return run(["bash", "-c", script, completion, PREFIX / "bin", *words], cwd=TOP).split()


def bash_completes():
    for words, expected in (
            (["mmserve", "--upload-"], ["--upload-fsync", "--upload-max", "--upload-open",
                                        "--upload-token-file"]),
            (["--log-format", "j"], ["json"]), (["--follow", "de"], ["demo"]),
            (["--port", "d"], [])):
        if sorted(complete(words)) != expected:
            raise Failed(f"{words}: {complete(words)}")


def joined(name):
    """A test of the six, to which each of them is mm.h."""
    source = FOLDER / "joined" / "tests/unit" / f"{name}.c"
    run([*CC, "-std=c11", "-O1", "-pthread", *STRICT, "-o", source.with_suffix(""), source,
         *pkg_config("--cflags"), "-Wl,--as-needed", *pkg_config("--libs")])
    run([source.with_suffix("")], cwd=TOP)


def join():
    folder = fresh("joined")
    make("mm.h")
    shutil.copy(BUILD / "mm.h", folder)
    shutil.copytree(TOP / "tests", folder / "tests",
                    ignore=shutil.ignore_patterns("corpus", "__pycache__"))
    for header in HEADERS:
        write(folder / header, '#include "mm.h"\n')


def joined_is_cplusplus():
    source = write(FOLDER / "joined" / "consumer.cc", PROGRAM.replace("NULL", "nullptr"))
    strict = [word for word in STRICT if word != "-Wmissing-prototypes"]
    run(["g++", "-std=c++17", *strict, "-pthread", "-o", source.with_suffix(""), source])
    run([source.with_suffix("")])


def is_taken_away():
    """Behind all other rows, as these use it: in a folder of its own."""
    folder = fresh("destination")
    for target in "install", "uninstall":
        make(target, f"DESTDIR={folder}", "PREFIX=/usr")
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        if (target == "install") != (len(files) > 15):
            raise Failed(f"after {target}: {files}")


install()
join()
main([("pkg-config", pkg_config_finds_it), ("plain copy", copies_do),
      ("CMake find_package", functools.partial(
          cmake, "cmake-find", "find_package(mm 0.1 REQUIRED)", f"-DCMAKE_PREFIX_PATH={PREFIX}")),
      ("CMake, another version", cmake_refuses_another_version),
      ("CMake add_subdirectory", functools.partial(
          cmake, "cmake-add", f'add_subdirectory("{TOP}" mm)')),
      ("man page", manual_has_all), ("bash completion", bash_completes),
      ("compile_commands.json", commands_compile),
      ("uninstall", is_taken_away), ("mm.h in C++", joined_is_cplusplus),
      *((f"mm.h, unit/{name}", functools.partial(joined, name)) for name in JOINED)])
