"""Uploads at their limits: large ones and the memory for them, a full disk, a server that is
killed, one that gets new tokens, and file systems that know no file without a name."""
import os
import pathlib
import pwd
import signal
import subprocess
import tempfile
import unittest

import support
from support import HELLO, Connection, Server, wait_until
from test_upload import MIB, NEXT, NOISE, OTHER, TOKEN, chunked, names, put

BLOCKS = 16 if support.SLOW else 1024  # MiB of a large file
GROWTH = 1024                          # KiB that a large upload may take
WARNING = "over plain HTTP tokens are sent in the clear.*\n"
CODED = ["Transfer-Encoding: chunked"]
NO_TMPFILE = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>
int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    int mode;
    va_start(args, flags);
    mode = va_arg(args, int);
    va_end(args);
    errno = EOPNOTSUPP;
    if ((flags & O_TMPFILE) == O_TMPFILE) return -1;
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}
"""


class EndTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="mmserve-", dir=self.where())
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o755)
        self.site = support.make_site(self.folder)
        self.drop = self.site / "drop"
        self.drop.mkdir()
        self.tokens = self.folder / "tokens"
        self.tokens.touch(mode=0o600)
        self.tokens.write_text(TOKEN + "\n")
        self.before = names(self.folder)

    def where(self):
        return None

    def serve(self, *options, **more):
        server = Server(self.site, "--upload", f"/drop={self.drop}", "--upload-token-file",
                        self.tokens, *options, **more)
        self.addCleanup(server.kill)
        server.complaint(WARNING)
        return server

    def put(self, server, target, body=b"", headers=(), tls=True, **more):
        with Connection(server.port(tls), tls) as connection:
            connection.send(put(target, body, headers, **more) + NEXT)
            status = connection.response().status
            if not connection.last.closes:
                self.assertEqual(connection.response().status, 200)
            return status

    def begin(self, server, body=NOISE, tls=True, target="/drop/begun"):
        """A connection with an upload that has begun and lacks its last byte."""
        before = len(self.making(server))
        connection = Connection(server.port(tls), tls)
        self.addCleanup(connection.close)
        whole = put(target, body)
        connection.send(whole[:-1])
        wait_until(lambda: len(self.making(server)) > before, "the upload begins")
        return connection, whole[-1:]

    def making(self, server):
        """The files in the making that the server has open, and the bytes in them."""
        found = []
        for fd in pathlib.Path(f"/proc/{server.pid}/fd").iterdir():
            try:
                name = os.readlink(fd)
                if str(self.drop) in name and (".mm-upload-" in name or "(deleted)" in name):
                    found.append((name, fd.stat().st_size))
            except FileNotFoundError:
                pass
        return found

    def hello(self, server):
        for tls in (False, True):
            with Connection(server.port(tls), tls) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)


class Large(EndTest):
    def where(self):  # rather than /tmp, which may be memory
        support.BUILD.mkdir(exist_ok=True)
        return support.BUILD

    def upload(self, coded, tls):
        server = self.serve("--workers", "1", "--upload-max", "2G")
        self.hello(server)
        before = server.status("VmHWM")
        head = put("/drop/large", b"", CODED) if coded else \
            put("/drop/large").replace(b"Content-Length: 0", b"Content-Length: %d" % (BLOCKS * MIB))
        with Connection(server.port(tls), tls) as connection, \
                Connection(server.port(True), True) as other:
            connection.send(head)
            for i in range(BLOCKS):
                part = NOISE[i:] + NOISE[:i]
                connection.send(chunked(part, 300_000)[:-5] if coded else part)
                if i % 64 == 0:  # others are served throughout
                    self.assertEqual(other.ask("/hello.txt").body, HELLO)
            if coded:
                connection.send(b"0\r\n\r\n")
            self.assertEqual(connection.response().status, 201)
        growth = server.status("VmHWM") - before
        with open(self.drop / "large", "rb") as file:
            for i in range(BLOCKS):
                if file.read(MIB) != NOISE[i:] + NOISE[:i]:
                    self.fail(f"MiB {i} is not what was sent")
            self.assertEqual(file.read(1), b"")
        if not support.SLOW:
            self.assertLess(growth, GROWTH)
        server.stop()

    def test_over_tls(self):
        self.upload(coded=False, tls=True)

    def test_chunked_in_the_clear(self):
        self.upload(coded=True, tls=False)

    @unittest.skipIf(support.SLOW, "memory means nothing here")
    def test_many_slow_ones_at_once(self):
        """Each has a byte now and then, for which no chunk of memory each is kept."""
        server = self.serve("--workers", "1")
        self.hello(server)
        head = put("/drop/slow").replace(b"Content-Length: 0", b"Content-Length: 1000")
        connections = []
        for _ in range(20):
            connections.append(Connection(server.http_port))
            self.addCleanup(connections[-1].close)
            connections[-1].send(head)
        before = server.status("VmHWM")
        for _ in range(200):
            for connection in connections:
                connection.send(b"x")
        self.hello(server)
        self.assertLess(server.status("VmHWM") - before, GROWTH)
        for connection in connections:
            connection.close()
        server.stop()


class FullDisk(EndTest):
    """A disk of 1 MiB, of which nobody else has to know."""
    SMALL = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"']

    def small(self):
        try:
            subprocess.run([*self.SMALL, self.drop, "true"], check=True,
                           stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("no mount namespaces here")
        server = self.serve(before=[*self.SMALL, self.drop])
        return server, pathlib.Path(f"/proc/{server.pid}/root{self.drop}")

    def test_too_long_for_it_is_told_at_once(self):
        server, drop = self.small()
        with Connection(server.port(True), True) as connection:
            connection.send(put("/drop/x", bytes(2 * MIB), ["Expect: 100-continue"])[:200])
            self.assertEqual(connection.response().status, 507)
        self.assertEqual(names(drop), [])
        server.stop()

    def test_full_on_the_way(self):
        server, drop = self.small()
        for _ in range(3):
            for tls in (True, False):
                self.assertEqual(self.put(server, "/drop/x", chunked(NOISE * 2, 9999), CODED,
                                          tls=tls), 507)
                self.assertEqual(names(drop), [])
                self.hello(server)
        self.assertEqual(self.put(server, "/drop/x", NOISE[:600_000]), 201)
        self.assertEqual(self.put(server, "/drop/x", chunked(NOISE, 9999), CODED), 507)
        self.assertEqual((drop / "x").read_bytes(), NOISE[:600_000])
        self.assertEqual(self.put(server, "/drop/x", b"small"), 204)
        self.assertEqual(self.put(server, "/drop/y", NOISE[:600_000]), 201)
        server.stop()

    def test_largest_file_of_a_process(self):
        server = self.serve(before=["sh", "-c", 'ulimit -f 512 && exec "$@"', "sh"])  # of 512 B
        for size in (MIB, 2 * MIB):
            for body, headers in ((bytes(size), []), (chunked(bytes(size), 7777), CODED)):
                self.assertEqual(self.put(server, "/drop/x", body, headers), 507)
                self.assertEqual(names(self.folder), self.before)
                self.hello(server)
        self.assertEqual(self.put(server, "/drop/x", NOISE[:100_000]), 201)
        self.assertEqual((self.drop / "x").read_bytes(), NOISE[:100_000])
        server.stop()


class Killed(EndTest):
    def test_nothing_is_left(self):
        (self.drop / "begun").write_bytes(b"old")
        before = names(self.folder)
        server = self.serve()
        self.begin(server)
        self.begin(server, target="/drop/other")
        server.kill()
        self.assertEqual(names(self.folder), before)
        self.assertEqual((self.drop / "begun").read_bytes(), b"old")
        server = self.serve()
        self.assertEqual(self.put(server, "/drop/begun", NOISE), 204)
        server.stop()

    def test_asked_to_end_it_completes_them(self):
        server = self.serve()
        connection, last = self.begin(server)
        server.send_signal(signal.SIGTERM)
        with self.assertRaises(OSError):
            while True:  # until nobody listens any more
                Connection(server.http_port).close()
        connection.send(last)
        self.assertEqual(connection.response().status, 201)
        connection.expect_end()
        server.stop()
        self.assertEqual((self.drop / "begun").read_bytes(), NOISE)

    def test_cut_off_at_the_end_of_its_time(self):
        server = self.serve("--drain", "0")
        self.begin(server)
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 1)
        self.assertIn("cut off", server.text("stderr"))
        self.assertEqual(names(self.folder), self.before)


@unittest.skipUnless(support.SANDBOX, "what runs the server has libraries of its own")
class WithoutTmpfile(EndTest):
    """As on NFS or FAT: files in the making have names, hidden ones."""

    def serve(self, *options, **more):
        source, library = self.folder / "no.c", self.folder / "no.so"
        if not library.exists():
            source.write_text(NO_TMPFILE)
            subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library,
                            source], check=True)
            self.before = names(self.folder)
        return super().serve(*options, environment={"LD_PRELOAD": str(library)}, **more)

    def test_files_are_made_and_replaced(self):
        server = self.serve()
        for status, body in ((201, NOISE), (204, b"2")):
            self.assertEqual(self.put(server, "/drop/x", body), status)
            self.assertEqual((self.drop / "x").read_bytes(), body)
        self.assertEqual(self.put(server, "/drop/x", b"3", ["If-None-Match: *"]), 412)
        self.assertEqual(self.put(server, "/drop/y", b"3", ["If-None-Match: *"]), 201)
        self.assertEqual(names(self.drop), ["x", "y"])
        server.stop()

    def test_broken_ones_are_removed(self):
        server = self.serve()
        connection, _ = self.begin(server)
        self.assertRegex(" ".join(names(self.drop)), r"^\.mm-upload-[0-9a-f]{16}$")
        with Connection(server.http_port) as other:
            self.assertEqual(other.ask("/drop/" + names(self.drop)[0]).status, 404)
            self.assertNotIn(b"mm-upload", other.ask("/drop/").body)
        connection.close()
        wait_until(lambda: names(self.folder) == self.before, "it goes")
        server.stop()

    def test_killed_ones_are_removed_at_the_next_start(self):
        (self.drop / "sub/deep").mkdir(parents=True)
        server = self.serve()
        self.begin(server, target="/drop/sub/deep/x")
        self.begin(server)
        server.kill()
        self.assertEqual(len(names(self.drop)), 2)
        server = self.serve()
        self.assertEqual(names(self.folder), self.before)
        server.stop()

    def test_those_of_a_server_that_runs_stay(self):
        server = self.serve()
        connection, last = self.begin(server)
        self.serve().stop()
        connection.send(last)
        self.assertEqual(connection.response().status, 201)
        self.assertEqual((self.drop / "begun").read_bytes(), NOISE)
        server.stop()


class Tokens(EndTest):
    def test_new_ones_are_read(self):
        server = self.serve()
        self.assertEqual(self.put(server, "/drop/x", token=TOKEN), 201)
        self.assertEqual(self.put(server, "/drop/x", token=OTHER), 403)
        for hang_up in (True, False):
            for token in (OTHER, TOKEN):
                fresh = self.folder / "fresh"
                fresh.touch(mode=0o600)
                fresh.write_text(token)
                fresh.rename(self.tokens)
                if hang_up:
                    os.kill(server.pid, signal.SIGHUP)
                wait_until(lambda: self.put(server, "/drop/x", token=token) == 204, "the token")
                self.assertEqual(self.put(server, "/drop/x", token=OTHER if token == TOKEN
                                          else TOKEN), 403)
        server.stop()

    def test_bad_file_keeps_the_old_ones(self):
        server = self.serve()
        self.tokens.write_text("short\n")
        os.kill(server.pid, signal.SIGHUP)
        server.complaint("tokens.*those in use stay")
        self.assertEqual(self.put(server, "/drop/x"), 201)
        server.stop()

    def test_file_that_others_may_read_is_warned_of(self):
        self.tokens.chmod(0o644)
        server = Server(self.site, "--upload", f"/drop={self.drop}", "--upload-token-file",
                        self.tokens)
        self.addCleanup(server.kill)
        self.assertIn(str(self.tokens), server.complaint("others than its owner may read"))
        server.stop()


@unittest.skipUnless(os.geteuid() == 0 and support.SANDBOX, "only root can become somebody else")
class Confined(EndTest):
    def test_user_and_chroot(self):
        os.chown(self.drop, pwd.getpwnam("nobody").pw_uid, -1)
        os.chown(self.tokens, pwd.getpwnam("nobody").pw_uid, -1)
        (self.site / "closed").mkdir()
        for options in (["--user", "nobody"], ["--user", "nobody", "--chroot", self.folder]):
            server = self.serve(*options, "--upload", f"/closed={self.site}/closed")
            self.assertIn(self.put(server, "/drop/x", NOISE), (201, 204))
            self.assertEqual(self.put(server, "/drop/x", NOISE), 204)
            self.assertEqual(self.put(server, "/closed/x", NOISE), 403)
            self.assertEqual(names(self.site / "closed"), [])
            (self.drop / ".mm-upload-0123456789abcdef").write_bytes(b"left behind")
            server.stop()
            server = self.serve(*options)
            self.assertEqual(names(self.drop), ["x"])
            server.stop()


if __name__ == "__main__":
    unittest.main()
