"""A server that has given up what it does not need: its user, its root, its sandbox."""
import os
import pathlib
import pwd
import re
import signal
import unittest

import support
from support import HELLO, Connection, Server, run_server, wait_until

NOBODY = pwd.getpwnam("nobody")
AS_ROOT = unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
IN_SANDBOX = unittest.skipUnless(support.SANDBOX, "what runs the server cannot be in its sandbox")


class ConfineTest(unittest.TestCase):
    def setUp(self):
        self.folder = support.temporary_folder(self.addCleanup)
        self.folder.chmod(0o755)
        self.site = support.make_site(self.folder)

    def serve(self, *options, **more):
        server = Server(self.site, *options, **more)
        self.addCleanup(server.stop)
        return server

    def hello(self, server):
        for tls in (False, True):
            with Connection(server.port(tls), tls) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)
                self.assertEqual(connection.ask("/data.bin").body, support.DATA)
                self.assertEqual(connection.ask("/plain/").status, 200)

    def states(self, server, *fields):
        """These lines of /proc/PID/status, of every thread."""
        found = set()
        for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
            text = (task / "status").read_text()
            found.add(tuple(tuple(re.search(rf"^{field}:\s*(.*)$", text, re.M)[1].split())
                            for field in fields))
        self.assertEqual(len(found), 1, "the threads differ")
        return found.pop()

    def fails(self, expected, *options):
        status, output, error = run_server("--port", 0, "--log", "none", *options)
        self.assertEqual((status, output), (1, ""))
        self.assertRegex(error, r"\A[^\n]+\n\Z")
        self.assertIn(expected, error)


class Always(ConfineTest):
    def test_no_core_and_no_new_privileges(self):
        server = self.serve("--no-sandbox", "--workers", 2)
        self.assertEqual(self.states(server, "NoNewPrivs"), (("1",),))
        self.assertRegex(pathlib.Path(f"/proc/{server.pid}/limits").read_text(),
                         r"Max core file size +0 +0 ")


@AS_ROOT
@IN_SANDBOX  # Valgrind removes files of its own at the end, as root
class User(ConfineTest):
    def check(self, server, uid, gid, groups):
        self.hello(server)
        self.assertEqual(self.states(server, "Uid", "Gid", "Groups", "CapEff", "CapPrm"),
                         (4 * (str(uid),), 4 * (str(gid),), tuple(map(str, groups)),
                          ("0" * 16,), ("0" * 16,)))

    def test_name(self):
        groups = sorted(os.getgrouplist("nobody", NOBODY.pw_gid))
        self.check(self.serve("--user", "nobody", "--workers", 2), NOBODY.pw_uid, NOBODY.pw_gid,
                   groups)

    def test_name_and_group(self):
        self.check(self.serve("--user", "nobody:daemon"), NOBODY.pw_uid, 1, [1])

    def test_numbers(self):
        self.check(self.serve("--user", "12345:23456"), 12345, 23456, [23456])

    def test_low_port(self):
        for port in range(1000, 1023):
            try:
                server = Server(self.site, "--user", "nobody", https=port)
            except AssertionError:
                continue  # somebody else has it
            self.addCleanup(server.stop)
            self.check(server, NOBODY.pw_uid, NOBODY.pw_gid, [NOBODY.pw_gid])
            return
        self.fail("no port could be had")

    def test_files_that_the_user_may_not_read_are_403(self):
        (self.site / "closed.txt").write_text("secret")
        (self.site / "closed.txt").chmod(0o600)
        server = self.serve("--user", "nobody")
        with Connection(server.http_port) as connection:
            self.assertEqual(connection.ask("/closed.txt").status, 403)

    def test_what_cannot_be_is_named(self):
        for user in ("no-such-user", "root", "0", "0:0", "nobody:root", "nobody:no-such-group",
                     "12345", "nobody:", ":daemon", "12345:0"):
            with self.subTest(user):
                self.fails("--user", "--user", user, self.site)


@AS_ROOT
@IN_SANDBOX  # LeakSanitizer needs /proc
class Chroot(ConfineTest):
    def test_sees_nothing_else(self):
        server = self.serve("--user", "nobody", "--chroot", self.folder, "--workers", 2)
        self.hello(server)
        for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
            self.assertEqual(os.readlink(task / "root"), str(self.folder))
            self.assertEqual(os.readlink(task / "cwd"), str(self.folder))
        with Connection(server.http_port) as connection:
            self.assertIn(connection.ask("/link-out").status, (403, 404))
            self.assertEqual(connection.ask("/link-in").status,
                             200 if support.HAS_OPENAT2 else 404)

    def test_reload_says_what_is_out_of_reach(self):
        server = self.serve("--user", "nobody", "--chroot", self.site)
        os.kill(server.pid, signal.SIGHUP)
        self.assertIn(str(server.log), server.complaint("cannot open.*stays"))
        self.hello(server)

    def test_folder_outside_is_refused(self):
        other = self.folder / "other"
        other.mkdir()
        self.fails("--chroot", "--user", "nobody", "--chroot", other, self.site)
        self.fails("--chroot", "--user", "nobody", "--chroot", self.folder / "sit", self.site)

    def test_user_is_needed(self):
        status, _, error = run_server("--chroot", self.folder, self.site)
        self.assertEqual(status, 2)
        self.assertIn("--user", error)


@IN_SANDBOX
class Sandbox(ConfineTest):
    def test_all_threads_are_in_it(self):
        server = self.serve("--workers", 3)
        self.hello(server)
        self.assertEqual(self.states(server, "Seccomp", "NoNewPrivs"), (("2",), ("1",)))

    def test_can_be_switched_off(self):
        self.assertEqual(self.states(self.serve("--no-sandbox"), "Seccomp"), (("0",),))

    def test_long_listing_goes_through_a_temporary_file(self):
        many = self.site / "many"
        many.mkdir()
        for i in range(8000):
            (many / f"{i:04}{'x' * 200}").touch()
        server = self.serve()
        with Connection(server.http_port) as connection:
            response = connection.ask("/many/")
            self.assertEqual(response.status, 200)
            self.assertGreater(len(response.body), 1 << 20)

    def test_reload_and_reopening_work_in_it(self):
        certs = self.folder / "certs"
        certs.mkdir()
        support.subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=x", "-keyout", certs / "key", "-out", certs / "cert"],
            check=True, stderr=support.subprocess.DEVNULL)
        server = self.serve("--cert", certs / "cert", "--key", certs / "key")
        moved = server.log.with_name("moved")
        server.log.rename(moved)
        os.kill(server.pid, signal.SIGHUP)
        wait_until(server.log.exists, "a new log")
        self.hello(server)
        (certs / "cert").write_text("nonsense")
        server.complaint("no certificate in PEM form.*stay")  # not: permission denied
        self.hello(server)

    def test_poll_and_unix_sockets_work_in_it(self):
        path = self.folder / "listener"
        with Server(self.site, "--poll", "--bind", "127.0.0.1", "--bind", f"unix:{path}") as server:
            self.hello(server)
        self.assertFalse(path.exists())


if __name__ == "__main__":
    unittest.main()
