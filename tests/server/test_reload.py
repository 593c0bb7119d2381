"""Certificates, keys and ticket keys that change while the server runs, and which certificate a
client gets."""
import hashlib
import os
import pathlib
import signal
import ssl
import subprocess
import tempfile
import threading
import unittest

import support
from support import HELLO, Connection, Server, client_context, wait_until

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
KINDS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey",
                                                                                "rsa:2048"]}


def put(path, content):
    """Replaces a file in one step, readable for its owner only."""
    fresh = path.with_suffix(".fresh")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.rename(path)


class ReloadTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = support.temporary_folder(cls.addClassCleanup)
        cls.site = support.make_small_site(cls.folder)
        cls.made = {}
        cls.make("one", "DNS:localhost")
        cls.make("two", "DNS:localhost")
        cls.make("rsa", "DNS:localhost", "rsa")
        cls.make("a", "DNS:a.example,DNS:*.wild.example")
        cls.make("b", "DNS:b.example")

    @classmethod
    def make(cls, name, names, kind="ec"):
        paths = [cls.folder / f"{name}.{end}" for end in ("pem", "key")]
        subprocess.run(["openssl", "req", "-x509", *KINDS[kind], "-nodes", "-days", "2", "-subj",
                        f"/CN={name}", "-addext", f"subjectAltName={names}", "-out", paths[0],
                        "-keyout", paths[1]], check=True, stderr=subprocess.DEVNULL)
        cls.made[name] = [path.read_bytes() for path in paths]
        os.chmod(paths[1], 0o600)

    def options(self, *names):
        """Options with copies of these pairs, which the test may change."""
        self.pairs = []
        words = []
        copies = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        for name in names:
            pair = [copies / f"{name}.{end}" for end in ("pem", "key")]
            words += ["--cert", pair[0], "--key", pair[1]]
            self.pairs.append(pair)
            self.replace(len(self.pairs) - 1, name)
        return words

    def replace(self, index, name):
        for path, content in zip(self.pairs[index], self.made[name]):
            put(path, content)

    def reload(self, server, name):
        """Puts another pair in the first one's place, and waits until all files are read again."""
        self.assertNotEqual(self.served(server), name, "or there is nothing to wait for")
        self.replace(0, name)
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: self.served(server) == name, "the new certificate")

    def serve(self, *options, **more):
        server = Server(self.site, *options, **more)
        self.addCleanup(server.stop)
        return server

    def served(self, server, name="localhost", context=None):
        """The name of the pair that a client gets."""
        with Connection(server.https_port, True, name=name, context=context) as connection:
            connection.send(support.request("/hello.txt", host=name or "localhost"))
            self.assertEqual(connection.response().body, HELLO)
            der = connection.socket.getpeercert(binary_form=True)
        found = [each for each, pair in self.made.items()
                 if ssl.PEM_cert_to_DER_cert(pair[0].decode()) == der]
        self.assertEqual(len(found), 1)
        return found[0]


class Certificates(ReloadTest):
    def test_hangup_reads_them_again(self):
        server = self.serve(*self.options("one"))
        self.assertEqual(self.served(server), "one")
        self.reload(server, "two")

    def test_change_is_noticed(self):
        server = self.serve(*self.options("one"))
        for name in ("two", "rsa", "one"):
            self.replace(0, name)
            wait_until(lambda: self.served(server) == name, "the new certificate")

    def test_bad_file_keeps_the_old_one(self):
        server = self.serve(*self.options("one"))
        certificate, key = self.pairs[0]
        bad = [(certificate, b"nonsense\n", "no certificate in PEM form"),
               (certificate, b"", "no certificate in PEM form"),
               (certificate, self.made["two"][0], "not the certificate's"),
               (key, b"nonsense\n", "no private key in PEM form")]
        for path, content, why in bad:
            for hang_up in (False, True):
                with self.subTest(why, hang_up=hang_up):
                    put(path, content)
                    if hang_up:
                        os.kill(server.pid, signal.SIGHUP)
                    text = server.complaint(f"{why}.*stay")
                    self.assertIn(str(key if "the certificate's" in why else path), text)
                    self.assertEqual(self.served(server), "one")
                    self.reload(server, "two")
                    self.reload(server, "one")
                    server.stderr.truncate(0)  # it may have been seen once more before the signal

    def test_missing_file_keeps_the_old_one(self):
        server = self.serve(*self.options("one"))
        self.pairs[0][0].unlink()
        os.kill(server.pid, signal.SIGHUP)
        self.assertIn(str(self.pairs[0][0]), server.complaint("No such file.*stay"))
        self.assertEqual(self.served(server), "one")

    def test_no_request_fails_meanwhile(self):
        server = self.serve(*self.options("one", "a"), "--workers", 2)
        failures, counts, over = [], [0] * 4, threading.Event()

        def load(number):
            try:
                while not over.is_set():
                    with Connection(server.https_port, True, context=client_context()) as one:
                        for _ in range(1 + number):
                            self.assertEqual(one.ask("/hello.txt").body, HELLO)
                    counts[number] += 1
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=load, args=(i,)) for i in range(len(counts))]
        for thread in threads:
            thread.start()
        try:
            for name in ("two", "one", "rsa") * (1 if support.SLOW else 4):
                self.replace(0, name)
                os.kill(server.pid, signal.SIGHUP)
                wait_until(lambda: failures or self.served(server) == name, "the new certificate")
                before = counts[:]
                wait_until(lambda: failures or all(map(int.__lt__, before, counts)), "requests")
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])

    def test_made_certificate_stays(self):
        server = self.serve()
        os.kill(server.pid, signal.SIGHUP)
        for _ in range(3):
            with Connection(server.https_port, True) as connection:
                der = connection.socket.getpeercert(binary_form=True)
            self.assertEqual(hashlib.sha256(der).hexdigest().upper(),
                             server.fingerprint.replace(":", ""))

    def test_key_that_others_may_read_is_warned_of(self):
        for mode in (0o640, 0o604):
            options = self.options("one")
            self.pairs[0][1].chmod(mode)
            server = self.serve(*options)
            self.assertIn(str(self.pairs[0][1]), server.complaint("others.*may read"))
            self.assertEqual(self.served(server), "one")


class Names(ReloadTest):
    def test_name_chooses(self):
        server = self.serve(*self.options("one", "a", "b"))
        expected = {"localhost": "one", "a.example": "a", "A.Example": "a", "b.example": "b",
                    "x.wild.example": "a", "x.y.wild.example": "one", "wild.example": "one",
                    "other.example": "one", None: "one", "127.0.0.1": "one"}
        for name, wanted in expected.items():
            for version in VERSIONS:
                with self.subTest(name, version=version):
                    self.assertEqual(self.served(server, name, client_context(version=version)),
                                     wanted)

    def test_both_kinds_of_key_for_a_name(self):
        server = self.serve(*self.options("b", "one", "rsa", "two"))
        for name, kind, wanted in (("localhost", "ECDSA", "one"), ("localhost", "RSA", "rsa"),
                                   ("b.example", "ECDSA", "b")):
            context = client_context(version=VERSIONS[0], ciphers=f"ECDHE-{kind}-AES128-GCM-SHA256")
            self.assertEqual(self.served(server, name, context), wanted)

    def test_default_has_both_kinds_too(self):
        server = self.serve(*self.options("one", "rsa", "a"))
        for kind, wanted in ("ECDSA", "one"), ("RSA", "rsa"):
            context = client_context(version=VERSIONS[0], ciphers=f"ECDHE-{kind}-AES128-GCM-SHA256")
            for name in (None, "unknown.example"):
                self.assertEqual(self.served(server, name, context), wanted)

    def test_request_for_anothers_name_is_misdirected(self):
        """RFC 9110, 15.5.20: of a connection that was opened for one name, and used for another."""
        server = self.serve(*self.options("one", "a", "b"))
        for name, host, status in (
                ("a.example", "a.example", 200), ("a.example", "A.Example:8443", 200),
                ("a.example", "x.wild.example", 200), ("a.example", "b.example", 421),
                ("b.example", "a.example", 421), ("localhost", "b.example:443", 421),
                ("nobody.example", "b.example", 421), ("nobody.example", "localhost", 200),
                ("a.example", "localhost", 421), ("a.example", "127.0.0.1", 200),
                ("a.example", "nobody.example", 200), (None, "b.example", 200)):
            with self.subTest((name, host)), \
                    Connection(server.https_port, True, name=name) as connection:
                for method in ("GET", "HEAD", "PUT"):
                    connection.send(support.request("/hello.txt", method, host=host))
                    response = connection.response(method)
                    if status == 421 or method != "PUT":
                        self.assertEqual(response.status, status)
                    if status == 421:
                        connection.expect_end()
                        break

    def test_misdirected_upload_is_not_asked_for(self):
        server = self.serve(*self.options("one", "a"), "--upload", f"/={self.site}",
                            "--upload-open")
        server.complaint("ANYBODY.*\n")
        for host, status in (("a.example", 421), ("localhost", 100)):
            with Connection(server.https_port, True) as connection:
                connection.send(support.request("/new", "PUT", [
                    "Content-Length: 1", "Expect: 100-continue"], host=host))
                self.assertEqual(connection.head().status, status)

    def test_each_is_reloaded(self):
        server = self.serve(*self.options("one", "a"))
        self.replace(1, "b")
        wait_until(lambda: self.served(server, "b.example") == "b", "the new certificate")
        self.assertEqual(self.served(server, "a.example"), "one")


class Tickets(ReloadTest):
    def setUp(self):
        self.keys = pathlib.Path(tempfile.mkdtemp(dir=self.folder)) / "keys"
        self.first, self.second = os.urandom(80), os.urandom(80)
        put(self.keys, self.first)

    def session(self, server, context, session=None):
        """The session that a connection ends with, and whether it went on with the given one."""
        with Connection(server.https_port, True, context=context, session=session) as connection:
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)
            return connection.socket.session, connection.socket.session_reused

    def test_servers_with_one_file_resume_each_others(self):
        options = ("--ticket-keys", self.keys, "--workers", 3)
        one, two = self.serve(*options), self.serve(*options)
        for version in VERSIONS:
            context, session = client_context(version=version), None
            for i, server in enumerate([one, two, two, one, one, two]):
                session, reused = self.session(server, context, session)
                self.assertEqual(reused, i > 0)

    def test_keys_outlive_a_restart(self):
        for version in VERSIONS:
            context = client_context(version=version)
            with Server(self.site, "--ticket-keys", self.keys) as server:
                session, _ = self.session(server, context)
            with Server(self.site, "--ticket-keys", self.keys) as server:
                self.assertTrue(self.session(server, context, session)[1])

    def test_rotation(self):
        server = self.serve("--ticket-keys", self.keys, *self.options("one"))
        for version in VERSIONS:
            context = client_context(version=version)
            put(self.keys, self.first)
            self.reload(server, "rsa")
            old, _ = self.session(server, context)
            put(self.keys, self.second + self.first)
            self.reload(server, "one")
            renewed, reused = self.session(server, context, old)
            self.assertTrue(reused, "the old key opens on")
            put(self.keys, self.second)
            self.reload(server, "two")
            self.assertFalse(self.session(server, context, old)[1], "the old key is forgotten")
            self.assertTrue(self.session(server, context, renewed)[1], "sealed with the new key")

    def test_sessions_outlive_new_certificates(self):
        server = self.serve(*self.options("one"))
        for version in VERSIONS:
            context = client_context(version=version)
            session, _ = self.session(server, context)
            for name in ("two", "one"):
                self.reload(server, name)
                session, reused = self.session(server, context, session)
                self.assertTrue(reused)

    def test_bad_files_are_named(self):
        for content in (b"", bytes(79), bytes(81), bytes(9 * 80), None):
            put(self.keys, content or b"")
            if content is None:
                self.keys.unlink()
            status, output, error = support.run_server("--port", 0, "--ticket-keys", self.keys,
                                                       self.site)
            self.assertEqual((status, output), (1, ""))
            self.assertRegex(error, rf"\A[^\n]*{self.keys}[^\n]+\n\Z")

    def test_bad_file_keeps_the_old_keys(self):
        server = self.serve("--ticket-keys", self.keys)
        context = client_context()
        session, _ = self.session(server, context)
        put(self.keys, b"short")
        server.complaint("not 1 to 8 keys.*stay")
        self.assertTrue(self.session(server, context, session)[1])

    def test_file_that_others_may_read_is_warned_of(self):
        self.keys.chmod(0o644)
        server = self.serve("--ticket-keys", self.keys)
        self.assertIn(str(self.keys), server.complaint("others.*may read"))


if __name__ == "__main__":
    unittest.main()
