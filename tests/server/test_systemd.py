"""What a service manager passes, and hears: sockets, states, signs of life."""
import fcntl
import os
import re
import signal
import socket
import sys
import time
import unittest

import support
from support import HELLO, Connection, Server

# Puts the descriptors named after -c's text where a manager would, and tells the process its id.
PASS = """import os, sys
count = int(sys.argv[1])
for i in range(count):
    os.dup2(int(sys.argv[2 + i]), 3 + i)
os.environ["LISTEN_FDS"] = str(count)
os.environ["LISTEN_PID"] = str(os.getpid() + int(os.environ.get("OTHER_PID", 0)))
os.execvp(sys.argv[2 + count], sys.argv[2 + count:])"""
UNIT = support.TOP / "demo/mmserve.service"


class SystemdTest(unittest.TestCase):
    def setUp(self):
        self.folder = support.temporary_folder(self.addCleanup)
        self.site = support.make_small_site(self.folder)

    def listen(self, family=socket.AF_INET, address=("127.0.0.1", 0)):
        listener = socket.socket(family)
        self.addCleanup(listener.close)
        listener.bind(address)
        listener.listen()
        return listener

    def start(self, sockets=(), options=(), **environment):
        """A server that these sockets are passed to."""
        high = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 100) for each in sockets]
        try:
            before = [sys.executable, "-c", PASS, len(high), *high] if high else []
            server = Server(self.site, *options, before=before, pass_fds=high,
                            environment=environment)
        finally:
            for fd in high:
                os.close(fd)
        self.addCleanup(server.kill)
        return server

    def end(self, server):
        if not server.was_asked:
            server.send_signal()
        self.assertEqual((server.wait(), support.complaints(server.text("stderr"))), (0, ""))


class Sockets(SystemdTest):
    def test_are_served(self):
        https, http = self.listen(), self.listen()
        path = self.folder / "socket"
        local = self.listen(socket.AF_UNIX, str(path))
        server = self.start([https, http, local], ["--workers", 3],
                            LISTEN_FDNAMES="https:http:local")
        self.assertEqual((server.https_port, server.http_port),
                         (https.getsockname()[1], http.getsockname()[1]))
        for _ in range(10):
            for tls in (False, True):
                with Connection(server.port(tls), tls) as connection:
                    self.assertEqual(connection.ask("/hello.txt").body, HELLO)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(support.request("/hello.txt", headers=["Connection: close"]))
                answer = b""
                while part := client.recv(1 << 16):
                    answer += part
                self.assertTrue(answer.endswith(HELLO))
        self.end(server)
        self.assertTrue(path.exists(), "it is the manager's to remove")

    def test_next_server_takes_what_waits(self):
        https, http = self.listen(), self.listen()
        for _ in range(2):
            with socket.create_connection(http.getsockname()[:2]) as early:  # before there is one
                early.sendall(support.request("/hello.txt"))
                server = self.start([https, http], LISTEN_FDNAMES="https:http")
                early.settimeout(support.PATIENCE)
                self.assertTrue(early.recv(12).startswith(b"HTTP/1.1 200"))
            self.end(server)

    def test_of_another_process_are_not_taken(self):
        server = self.start([self.listen()], LISTEN_FDNAMES="https", OTHER_PID="1")
        with Connection(server.http_port) as connection:
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)
        self.end(server)

    def test_what_is_no_listening_socket_is_named(self):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        connected, other = socket.socketpair()
        with datagrams, connected, other, open("/dev/null") as file:
            for each in (datagrams, connected, file):
                with self.assertRaises(AssertionError) as caught:
                    self.start([each])
                self.assertIn("descriptor 3 is no listening stream socket", str(caught.exception))


class Notifications(SystemdTest):
    def setUp(self):
        super().setUp()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.settimeout(support.PATIENCE)
        self.path = str(self.folder / "notify")
        self.socket.bind(self.path)

    def told(self):
        return self.socket.recv(4096).decode()

    def test_states_in_order(self):
        server = self.start(NOTIFY_SOCKET=self.path)
        self.assertEqual(self.told(), "READY=1")
        for _ in range(2):
            before = time.monotonic_ns() // 1000
            os.kill(server.pid, signal.SIGHUP)
            match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", self.told())
            self.assertTrue(before <= int(match[1]) <= time.monotonic_ns() // 1000)
            self.assertEqual(self.told(), "READY=1")
        server.send_signal()
        self.assertEqual(self.told(), "STOPPING=1")
        self.end(server)

    def test_abstract_name(self):
        name = f"mmserve-{os.getpid()}-{time.monotonic_ns()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
            abstract.bind(f"\0{name}")
            abstract.settimeout(support.PATIENCE)
            server = self.start(NOTIFY_SOCKET=f"@{name}")
            self.assertEqual(abstract.recv(100), b"READY=1")
            self.end(server)

    def test_signs_of_life(self):
        server = self.start(options=["--workers", 2], NOTIFY_SOCKET=self.path,
                            WATCHDOG_USEC="400000")
        self.assertEqual([self.told() for _ in range(4)], ["READY=1"] + 3 * ["WATCHDOG=1"])
        self.end(server)

    def test_watchdog_of_another_process(self):
        server = self.start(NOTIFY_SOCKET=self.path, WATCHDOG_USEC="1000", WATCHDOG_PID="1")
        self.assertEqual(self.told(), "READY=1")
        server.send_signal()
        self.assertEqual(self.told(), "STOPPING=1")
        self.end(server)

    def test_bad_address_is_named(self):
        for path in ("relative", "/nonexistent/socket", "/" + "x" * 200):
            with self.assertRaises(AssertionError) as caught:
                self.start(NOTIFY_SOCKET=path)
            self.assertIn(f"NOTIFY_SOCKET {path}", str(caught.exception))


class UnitFile(unittest.TestCase):
    def test_options_exist(self):
        """Those of the command line in the unit are options of this server."""
        text = UNIT.read_text()
        command = re.search(r"^ExecStart=(.*(?:\\\n.*)*)", text, re.M)[1]
        manual = support.run_server("--help")[1]
        for option in re.findall(r"--[a-z-]+", command):
            self.assertIn(f"{option} ", manual)


if __name__ == "__main__":
    unittest.main()
