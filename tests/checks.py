"""What the check-*.py programs share: paths, compilers, and rows that run side by side.

A row is a name and a function; it passes unless the function raises. Each program closes with
the line `N passed, N failed`, and runs only the rows whose names contain its argument, if any."""
import concurrent.futures
import os
import pathlib
import shlex
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / os.environ.get("BUILD", "build")
HEADERS = ["mm_buffer.h", "mm_arena.h", "mm_pool.h", "mm_heap.h", "mm_chunk.h", "mm_io.h"]
CC = shlex.split(os.environ.get("CC", "cc"))
STRICT = ("-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wundef -Wcast-qual "
          "-Wmissing-prototypes -Werror").split()
OPENSSL = ["-DMM_IO_OPENSSL"]
HANG = 300  # seconds after which a command is taken for hung


class Failed(Exception):
    pass


def run(command, **options):
    """The output of a command that must succeed; Failed with all that it said otherwise."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=HANG, **options)
    except subprocess.TimeoutExpired:
        raise Failed(f"$ {shlex.join(command)}\nstill running after {HANG} s") from None
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise Failed(f"$ {shlex.join(command)}\n{output}exit status {done.returncode}")
    return output


def pkg_config(what):
    return shlex.split(run(["pkg-config", what, "openssl"]))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def includes(headers, define=""):
    """The lines that include the headers, after one that defines a macro, if given."""
    return (f"#define {define}\n" if define else "") + "".join(
        f'#include "{header}"\n' for header in headers)


def main(rows):
    """Runs rows, a list of (name, function), and exits with 0 if all passed."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    rows = [row for row in rows if only in row[0]]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [(name, pool.submit(check)) for name, check in rows]
        for name, future in futures:
            error = future.exception()
            if error is not None:
                failed += 1
                text = str(error) if isinstance(error, Failed) else repr(error)
                print(f"FAIL  {name}\n{text.rstrip()}\n", flush=True)
    print(f"{len(rows) - failed} passed, {failed} failed")
    sys.exit(failed > 0 or not rows)
