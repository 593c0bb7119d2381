"""Programs with the heap for debugging and the secure one: right ones do what they do without, and
wrong ones are ended with a line that says why."""
import re
import subprocess
import sys

from programs import LIBRARY, Programs, environment
from test_programs import PERL, PYTHON

WRONG = r"""
#include <stdlib.h>
#include <string.h>
int main(int count, char **what)
{
    char *volatile block = malloc(count * 12), *volatile stale = block;
    if (strcmp(what[1], "leak") == 0) return 0;
    if (strcmp(what[1], "beyond") == 0) block[24] ^= 1;
    if (strcmp(what[1], "inside") == 0) block += 8;
    free(block);
    if (strcmp(what[1], "twice") == 0) free(stale);
    if (strcmp(what[1], "stack") == 0) free(&what);
    return 0;
}
"""


class Modes:
    def test_python(self):
        self.same([sys.executable, "-c", PYTHON])

    def test_python_with_malloc_for_all_objects(self):
        self.same([sys.executable, "-c", "import json, re; print(len(json.dumps([*range(9999)])))"],
                  more={"PYTHONMALLOC": "malloc"})

    def test_perl(self):
        self.needs("perl")
        self.same(["perl", "-e", PERL])

    def test_gcc_for_cpp(self):
        text = "#include <map>\n#include <string>\nint main() { std::map<int, std::string> m; }\n"
        self.same(["g++", "-std=c++17", "-O1", "-x", "c++", "-c", "-o", "out.o", "-"], stdin=text,
                  files=["out.o"])

    def wrong(self, what, more=None):
        """What a wrong program says before it is ended."""
        program = self.folder / "wrong"
        if not program.exists():
            subprocess.run(["cc", "-O0", "-g", "-w", "-x", "c", "-o", program, "-"], check=True,
                           input=WRONG.encode(), env=environment(False))
        status, _, errors = self.run_once(True, [program, what], more=more)
        self.assertEqual(status, 0 if what == "leak" else -6, errors)
        return errors.decode()


class Debug(Modes, Programs):
    library = LIBRARY.replace("libmm_heap.so", "libmm_heap_debug.so")

    def test_wrong_programs(self):
        place = r"\S+wrong\+0x[0-9a-f]+"
        for what, text in (
                ("twice", f"used after it was freed: 24 bytes at 0x[0-9a-f]+, allocated at {place},"
                          f" freed at {place}; now at {place}\n"),
                ("beyond", f"beyond its end: byte 24 of 24 bytes at .* {place}; now at {place}\n"),
                ("inside", f"into a block: byte 8 of 24 bytes at .* {place}; now at {place}\n"),
                ("stack", f"to no block of the heap: 0x[0-9a-f]+; now at {place}\n")):
            self.assertRegex(self.wrong(what), text)

    def test_places_are_lines(self):
        found = re.search(r"allocated at (\S+)\+(0x[0-9a-f]+)", self.wrong("twice"))
        found = subprocess.run(["addr2line", "-e", *found.groups()], capture_output=True)
        self.assertRegex(found.stdout.decode(), r":6\b")

    def test_leaks(self):
        self.assertEqual(self.wrong("leak"), "")
        self.assertRegex(self.wrong("leak", {"MM_HEAP_LEAKS": "1"}),
                         r"live: 1 blocks, 24 bytes, allocated at \S+wrong\+0x[0-9a-f]+\n")


class Secure(Modes, Programs):
    library = LIBRARY.replace("libmm_heap.so", "libmm_heap_secure.so")

    def test_wrong_programs(self):
        for what, text in (("twice", "freed twice"), ("inside", "not the start of a block"),
                           ("stack", "no block of the heap")):
            self.assertIn(text, self.wrong(what))
