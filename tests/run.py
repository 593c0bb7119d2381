#!/usr/bin/env python3
"""Runs the tests, group by group, and closes with the line `N passed, N failed`.

    run.py [--all] [NAME[:TEST]]

What runs is programs, each of which closes with such a line for its own tests; a program that
crashes, hangs or ends without that line counts as one more failure. --all runs, in place of the
plain tests, those that need large packages: sanitizers, Valgrind, Wine, a browser. NAME picks the
programs that have it in their names, such as `unit/buffer`, and TEST the tests in them. Programs
that are alone in a process run as many at a time as there are processors; servers, which share
ports and limits with what is beside them, one after the other.

The server's tests are Python unittest files, tests/server/test_*.py; those called all_*.py run with
--all only. They find the server to start in $MMSERVE, to be split into words as a shell would.
tests/preload has the like for the heap in the place of malloc, and for programs that preload it."""
import concurrent.futures
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = os.environ.get("BUILD", "build")
MAKE = os.environ.get("MAKE", "make")
HANG = 30 * 60  # seconds after which a program is taken for hung
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)
VALGRIND = ("valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible "
            "--errors-for-leak-kinds=definite,possible --num-callers=25").split()
SANITIZERS = {
    "ASAN_OPTIONS": "allocator_may_return_null=1:detect_stack_use_after_return=1",
    "TSAN_OPTIONS": "allocator_may_return_null=1:second_deadlock_stack=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


class Group:
    """Programs, the sum of what they found, and the one that took longest."""
    pick = ""
    total_passed = total_failed = 0

    def __init__(self, title):
        self.title = title

    def __enter__(self):
        self.passed = self.failed = 0
        self.longest = (0, "")
        self.start = time.monotonic()
        return self

    def __exit__(self, *exception):
        Group.total_passed += self.passed
        Group.total_failed += self.failed
        if self.passed + self.failed:
            count = f"{self.passed} passed, {self.failed} failed"
            seconds, name = self.longest
            longest = f", {seconds:.0f} of them {name}" if seconds > 60 else ""
            print(f"{self.title:<24}{count:<26}{time.monotonic() - self.start:7.1f} s{longest}",
                  flush=True)

    def add(self, name, passed, failed, output, seconds=0.0):
        self.passed += passed
        self.failed += failed
        self.longest = max(self.longest, (seconds, name))
        if failed:
            print(f"---- {name}\n{output.rstrip()}\n----", flush=True)

    def run(self, name, command, environment=None):
        """A program that closes with its count, if it is among those that were asked for."""
        self.run_together([(name, command, environment)])

    def run_together(self, programs):
        wanted, _, only = Group.pick.partition(":")
        programs = [program for program in programs if wanted in program[0]]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for program, result in zip(programs, pool.map(lambda each: self.outcome(only, *each),
                                                          programs)):
                if result:
                    self.add(program[0], *result)

    @staticmethod
    def outcome(only, _, command, environment):
        """How many tests passed and failed, the output, the seconds; None: has no such test."""
        start = time.monotonic()
        status, output = execute([*command, *([only] if only else [])], environment)
        closing = CLOSING.findall(output)
        passed, failed = map(int, closing[-1]) if closing else (0, 0)
        if only and closing and passed + failed == 0:
            return None
        if not closing or (status != 0) != (failed > 0):
            failed += 1
            output += f"\nexit status {status}" + ("" if closing else ", no closing line")
        return passed, failed, output, time.monotonic() - start

    def make(self, *arguments):
        """A build; what cannot be built is one failure, and what can be is tested."""
        status, output = execute([MAKE, "-k", f"-j{os.cpu_count()}", *arguments])
        self.add(f"make {shlex.join(arguments)}", 0, int(status != 0), output)

    def programs(self, build, wrapper=(), folders=("server", "unit")):
        paths = sorted(each for name in folders for each in TOP.glob(f"tests/{name}/*.c"))
        built = [(path, TOP / build / path.relative_to(TOP).with_suffix("")) for path in paths]
        self.run_together([(f"{path.parent.name}/{path.stem}", [*wrapper, program], SANITIZERS)
                           for path, program in built if program.exists()])

    def fuzz(self, build, wrapper=()):
        """The targets on their corpora, without a search for more."""
        for path in sorted(TOP.glob("tests/fuzz/*.c")):
            program = TOP / build / path.relative_to(TOP).with_suffix("")
            corpus = sorted((path.parent / "corpus" / path.stem).iterdir())
            if program.exists():
                self.run(f"fuzz/{path.stem}", [*wrapper, program, *corpus], SANITIZERS)

    def server(self, build, pattern="test_*.py", wrapper=()):
        server = shlex.join([*wrapper, str(TOP / build / "mmserve")])
        for path in sorted(TOP.glob(f"tests/server/{pattern}")):
            self.run(f"server/{path.stem}", [sys.executable, __file__, "--unittest", path],
                     {**SANITIZERS, "MMSERVE": server})

    def preload(self, build, pattern):
        """Programs with libmm_heap.so preloaded, or with the heap for their malloc inside."""
        library = str(TOP / build / "libmm_heap.so")
        for path in sorted(TOP.glob(f"tests/preload/{pattern}")):
            name, program = f"preload/{path.stem}", TOP / build / "tests/preload" / path.stem
            if path.suffix == ".py":
                self.run(name, [sys.executable, __file__, "--unittest", path], {"MMHEAP": library})
            elif program.exists():
                inside = path.stem.endswith("_inside")
                self.run(name, [program], {} if inside else {"LD_PRELOAD": library})


running = set()


def execute(command, environment=None):
    """The exit status and the output of a command, which leaves no process behind."""
    with tempfile.TemporaryFile() as output:  # a pipe would wait for what a child leaves behind
        process = subprocess.Popen(command, cwd=TOP, env={**os.environ, **(environment or {})},
                                   stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        running.add(process)
        try:
            status = process.wait(HANG)
        except subprocess.TimeoutExpired:
            status = f"none after {HANG} s"
        finally:
            kill(process)
            process.wait()
            running.discard(process)
        output.seek(0)
        return status, output.read().decode(errors="replace")


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def terminate(*_):
    """At once: threads that wait for a program would go on to the next."""
    for process in list(running):
        kill(process)
    os._exit(1)


def run_plain():
    with Group("build") as group:
        group.make("all", "heap", "test-programs", "preload-programs")
    for name in ("headers", "compile", "examples"):
        with Group(f"check/{name}") as group:
            group.run(f"check/{name}", [sys.executable, TOP / f"tests/check-{name}.py"])
    with Group("programs") as group:
        group.programs(BUILD)
    with Group("corpora") as group:
        group.fuzz(BUILD)
    with Group("preload") as group:
        group.preload(BUILD, "*.c*")
        group.preload(BUILD, "test_*.py")
        for pattern in ("test_basic.py", "test_load.py"):
            group.server(BUILD, pattern, ["env", f"LD_PRELOAD={TOP / BUILD}/libmm_heap.so"])
    with Group("server") as group:
        group.server(BUILD)


def run_all():
    variants = {
        "asan": ["CC=gcc", "SANITIZE=address,undefined"],
        "tsan": ["CC=clang", "SANITIZE=thread"],
        "valgrind": ["CFLAGS=-O1 -g", "CPPFLAGS=-DMM_VALGRIND"],
        "clang": ["CC=clang"],
    }
    for name, options in variants.items():
        with Group(f"build/{name}") as group:
            group.make(f"BUILD={BUILD}/{name}", "WERROR=-Werror", *options, "all", "test-programs")
    with Group("check/compile, more") as group:
        group.run("check/compile", [sys.executable, TOP / "tests/check-compile.py", "--more"])
    with Group("programs, clang") as group:
        group.programs(f"{BUILD}/clang")
    with Group("programs, ASan+UBSan") as group:
        group.programs(f"{BUILD}/asan")
    with Group("programs, TSan") as group:  # in server/faults it cannot see who waits for whom
        group.programs(f"{BUILD}/tsan", folders=["unit"])
    with Group("programs, Valgrind") as group:
        group.programs(f"{BUILD}/valgrind", wrapper=VALGRIND)
    for name, wrapper in ("asan", ()), ("valgrind", VALGRIND):
        with Group(f"corpora, {name}") as group:
            group.fuzz(f"{BUILD}/{name}", wrapper)
    with Group("fuzzing") as group:
        group.run("fuzz/search", [MAKE, "fuzz"])
    with Group("server, ASan+UBSan") as group:
        group.server(f"{BUILD}/asan")
    with Group("server, Valgrind") as group:
        group.server(f"{BUILD}/valgrind", wrapper=VALGRIND)
    with Group("soak") as group:
        group.run("soak/heap", [TOP / BUILD / "clang/tests/unit/heap_soak", "60"])
    with Group("preload, large") as group:
        group.make("heap")
        group.preload(BUILD, "all_*.py")
    with Group("check/metrics") as group:
        group.run("check/metrics", [sys.executable, TOP / "tests/check-metrics.py"])
    with Group("check/packaging") as group:
        group.run("check/packaging", [sys.executable, TOP / "tests/check-packaging.py"])
    with Group("check/openssl") as group:
        group.run("check/openssl", [sys.executable, TOP / "tests/check-openssl.py"])
    with Group("check/windows") as group:
        group.run("check/windows", [sys.executable, TOP / "tests/check-windows.py"])
    with Group("server, large") as group:
        group.make("all")
        group.server(BUILD, "all_*.py")


class CountingResult(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def run_unittest(path, only=""):
    """One file of unittest tests, with our closing line."""
    path = pathlib.Path(path)
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{only}*"] if only else None
    suite = loader.discover(str(path.parent), path.name)
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=CountingResult).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"{result.passed} passed, {failed} failed")
    return failed > 0


def main(arguments):
    if arguments[:1] == ["--unittest"]:
        return run_unittest(*arguments[1:])
    everything = arguments[:1] == ["--all"]
    signal.signal(signal.SIGTERM, terminate)
    Group.pick = "".join(arguments[everything:])
    run_all() if everything else run_plain()
    print(f"{Group.total_passed} passed, {Group.total_failed} failed")
    return Group.total_failed > 0 or Group.total_passed == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
