"""What the tests of whole programs under libmm_heap.so share: a program has to do with the library
preloaded what it does without, byte for byte. They find the library in $MMHEAP."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = os.environ.get("MMHEAP", str(TOP / "build/libmm_heap.so"))
HANG = 600  # seconds after which a program is taken for hung
# What would differ from run to run without any library.
ENVIRONMENT = {**os.environ, "LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "0",
               "PERL_HASH_SEED": "0", "SOURCE_DATE_EPOCH": "0", "GIT_CONFIG_NOSYSTEM": "1",
               **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
                  (("NAME", "mm"), ("EMAIL", "mm@localhost"), ("DATE", "2026-01-01T00:00:00Z"))}}


def environment(preload, more=None, library=LIBRARY):
    found = {**ENVIRONMENT, **(more or {})}
    found.pop("LD_PRELOAD", None)
    if preload:
        found["LD_PRELOAD"] = library
    return found


class Programs(unittest.TestCase):
    maxDiff = 2000
    library = LIBRARY

    def needs(self, *programs):
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        for program in programs:
            if shutil.which(program, path=path) is None:
                self.fail(f"{program} is not installed")
        return shutil.which(programs[0], path=path)

    def setUp(self):
        # the same path for both runs, as programs write it into what they make
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mm-preload-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def empty(self):
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def run_once(self, preload, command, stdin="", more=None):
        """(exit status, stdout, stderr)"""
        done = subprocess.run([str(word) for word in command], input=stdin.encode(),
                              cwd=self.folder, capture_output=True, timeout=HANG,
                              env=environment(preload, more, self.library))
        return done.returncode, done.stdout, done.stderr

    def same(self, command, stdin="", more=None, files=()):
        """Runs a command without and with the library, in an empty folder each, and compares all
        that it said, and files that it made. The command has to succeed. Returns what it said."""
        results = []
        for preload in (False, True):
            self.empty()
            result = self.run_once(preload, command, stdin, more)
            results.append(result + tuple((self.folder / name).read_bytes() for name in files))
        self.assertEqual(results[0][0], 0, results[0][2].decode(errors="replace"))
        self.assertEqual(results[0][:3], results[1][:3])
        self.assertTrue(results[0] == results[1], "the files differ")
        return results[0][1].decode(errors="replace")

    def same_script(self, script, **options):
        return self.same(["sh", "-e", "-c", script], **options)
