"""Clients that want the server to be busy with them: slowhttptest in its four modes, 10,000 idle
connections, readers of a byte at a time, more clients than descriptors. Others are served
throughout, every byte is right, and in the end nothing is left of any of them."""
import contextlib
import pathlib
import resource
import shutil
import socket
import subprocess
import threading
import time
import unittest

import support
from support import DATA, HELLO, Connection, Server, request, wait_until

SLOW = shutil.which("slowhttptest")
SECONDS = 5          # of each attack
IDLE = 10_000        # connections, as far as the machine has descriptors for both of their ends
CPU_SHARE = 0.5      # of a processor that idle or refused clients may cost, far above what they do


class AttackTest(unittest.TestCase):
    def setUp(self):
        self.folder = support.temporary_folder(self.addCleanup)
        self.site = support.make_site(self.folder)

    def serve(self, *options, **more):
        server = Server(self.site, *options, **more)
        self.addCleanup(server.kill)
        return server

    @contextlib.contextmanager
    def others(self, server):
        """Meanwhile other clients are served, each with every byte."""
        over, failures, served = threading.Event(), [], []

        def ask():
            while not over.is_set():
                try:
                    for tls in (False, True):
                        with Connection(server.port(tls), tls) as connection:
                            assert connection.ask("/data.bin").body == DATA, "wrong bytes"
                            assert connection.ask("/hello.txt").body == HELLO, "wrong bytes"
                    served.append(1)
                except Exception as error:  # of any kind: the test tells
                    failures.append(repr(error))
                over.wait(0.05)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(len(served), 0)

    def check_end(self, server, fds):
        wait_until(lambda: server.fds() <= fds + server.spare_fds(), "descriptors closed")
        server.stop()

    def warm(self, server):
        for i in range(16):
            with Connection(server.port(i % 2), i % 2) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)
        last = -1
        while last != server.fds():
            last = server.fds()
            time.sleep(0.1)
        return last


class Slow(AttackTest):
    def attack(self, *mode, tls):
        self.assertIsNotNone(SLOW, "slowhttptest is missing")
        server = self.serve("--header-timeout", "2", "--write-timeout", "2", "--idle-timeout", "2")
        fds = self.warm(server)
        scheme = "https" if tls else "http"
        with self.others(server):
            subprocess.run([SLOW, *mode, "-c", "300", "-r", "100", "-l", str(SECONDS), "-i", "1",
                            "-p", "2", "-u", f"{scheme}://localhost:{server.port(tls)}/data.bin"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=support.PATIENCE)
        self.check_end(server, fds)

    def test_heads(self):
        self.attack("-H", tls=True)

    def test_bodies(self):
        self.attack("-B", "-s", "8192", tls=True)

    def test_ranges(self):
        self.attack("-R", "-a", "5", "-b", "3000", tls=True)

    def test_reading(self):
        self.attack("-X", "-k", "3", "-w", "10", "-y", "20", "-n", "1", "-z", "32", tls=True)

    def test_in_the_clear(self):
        self.attack("-H", tls=False)


class Idle(AttackTest):
    def test_many_connections(self):
        """As many as there are descriptors for, up to IDLE: what it came to is printed."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        count = min(IDLE, hard - 500 if hard != resource.RLIM_INFINITY else IDLE)
        server = self.serve("--idle-timeout", "600", "--header-timeout", "600")
        fds = self.warm(server)
        memory = server.status("VmRSS")
        with contextlib.ExitStack() as stack:
            with self.others(server):
                for i in range(count):
                    each = stack.enter_context(socket.socket())
                    each.connect((f"127.0.0.{i % 8 + 1}", server.http_port))
                wait_until(lambda: server.fds() >= fds + count, "all are accepted")
            held = server.status("VmRSS") - memory
            cpu, start = server.cpu(), time.monotonic()
            time.sleep(2)
            spent = (server.cpu() - cpu) / (time.monotonic() - start)
            print(f"{count} idle connections: {held / count:.2f} KiB each, "
                  f"{100 * spent:.1f} % of a processor")
            self.assertLess(spent, CPU_SHARE)
            with self.others(server):
                time.sleep(1)
        self.check_end(server, fds)


class Readers(AttackTest):
    def test_a_byte_a_second(self):
        """Each keeps its connection while it takes bytes; others do not wait for it."""
        server = self.serve("--write-timeout", "4", "--workers", "1")
        fds = self.warm(server)
        with contextlib.ExitStack() as stack, self.others(server):
            readers = [stack.enter_context(Connection(server.port(i % 2), i % 2, buffer=2048))
                       for i in range(20)]
            for reader in readers:
                reader.send(request("/data.bin"))
                reader.head()
            got = [reader.read(1) for reader in readers]
            for _ in range(5):
                time.sleep(1)
                got = [have + reader.read(1) for have, reader in zip(got, readers)]
            for have in got:
                self.assertEqual(have, DATA[:6])
        self.check_end(server, fds)


class Descriptors(AttackTest):
    def test_none_left(self):
        """More clients than descriptors: those that wait cost no time, those that are in are
        served, and once some go the next ones come in."""
        server = self.serve("--workers", "2", "--header-timeout", "600", descriptors=96)
        fds = self.warm(server)
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(300):
                each = stack.enter_context(socket.socket())
                each.settimeout(support.PATIENCE)
                each.connect(("127.0.0.1", server.http_port))
                clients.append(each)
            wait_until(lambda: server.fds() > 40, "as many as can be")
            cpu, start = server.cpu(), time.monotonic()
            time.sleep(2)
            spent = (server.cpu() - cpu) / (time.monotonic() - start)
            self.assertLess(spent, CPU_SHARE, "it spins")
            self.assertLessEqual(server.fds(), 96)
            served = 0
            for each in clients:
                each.sendall(request("/hello.txt", headers=["Connection: close"]))
            for each in clients:
                got = b""
                while True:
                    part = each.recv(1 << 16)
                    if not part:
                        break
                    got += part
                served += got.endswith(HELLO)
                each.close()
            self.assertEqual(served, len(clients))
        self.check_end(server, fds)


class Reloading(AttackTest):
    def test_hang_ups_under_load(self):
        server = self.serve("--workers", "2")
        fds = self.warm(server)
        with self.others(server), self.others(server), self.others(server):
            for _ in range(100):
                server.process.send_signal(1)
                time.sleep(0.02)
        self.check_end(server, fds)


if __name__ == "__main__":
    unittest.main()
