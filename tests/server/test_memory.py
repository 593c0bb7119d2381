"""--memory is a promise: under attack the server stays within it, serves others, and is back to
normal by itself; what lives in its heap is on its accounts, and nothing grows with time.

What is resident is judged only where that means something, see support.SLOW."""
import os
import random
import re
import resource
import signal
import socket
import ssl
import threading
import time
import unittest

import support
from support import HELLO, PATIENCE, Connection, Server, request, run_server, wait_until

CLIENTS = 300 if support.SLOW else 3000     # of the attack
THREADS = 6                                 # that they come from
LIMIT = 64 * 1024                           # KiB
RSS_MAX = LIMIT * 110 // 100
EXPLAINED = 95                              # percent of the live heap
CYCLES = 2_000 if support.SLOW else 30_000  # of connect, request, close
BIG = 4 << 20                               # bytes of a file that slow readers ask for
REPORT = re.compile(r"memory: (\d+)K resident, level (\w+), (\d+) changes of level\n"
                    r".*memory: (\d+)K live in the heap, of which (\d+)K are on accounts\n"
                    r"(?:.*\n)*?.*memory: process +(\d+)K now +(\d+)K at most")


def setUpModule():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Report:
    """What the server says of its memory, after SIGUSR2."""

    def __init__(self, server):
        server.stderr.truncate(0)
        os.kill(server.pid, signal.SIGUSR2)
        match = wait_until(lambda: REPORT.search(server.text("stderr")), "the report")
        self.text = match.string
        self.resident, self.level, self.changes = int(match[1]), match[2], int(match[3])
        self.live, self.known, self.used, self.peak = map(int, match.groups()[3:])


def client_hello():
    """The first bytes of a handshake."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = support.CLIENT_CONTEXT.wrap_bio(into, out, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


class Attack:
    """Clients that each hold as much of the server's memory as they can, for as long as they are
    let; when one is turned away, the next one comes."""

    def __init__(self, server, count):
        self.server, self.count, self.over = server, count, threading.Event()
        self.hello = client_hello()
        self.opened = 0
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(THREADS)]

    def open(self, number):
        kinds = (self.large_head, self.handshake, self.slow_reader, self.slow_tls_reader,
                 self.upload, self.keep_alive)
        tls = kinds[number % len(kinds)] in (self.handshake, self.slow_tls_reader, self.keep_alive)
        client = socket.socket()
        client.settimeout(2)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            client.connect(("127.0.0.1", self.server.port(tls)))
            return kinds[number % len(kinds)](client, number)
        except BaseException:
            client.close()
            raise

    def large_head(self, client, _):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 15_000)
        return client

    def handshake(self, client, _):
        client.sendall(self.hello)
        return client

    def slow_reader(self, client, _):
        client.sendall(request("/big.bin"))
        return client

    def slow_tls_reader(self, client, _):
        client = support.CLIENT_CONTEXT.wrap_socket(client, server_hostname="localhost")
        client.sendall(request("/big.bin"))
        return client

    def upload(self, client, number):
        client.sendall(b"PUT /up/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
                       % number + b"b" * 60_000)
        return client

    def keep_alive(self, client, _):
        client = support.CLIENT_CONTEXT.wrap_socket(client, server_hostname="localhost")
        client.sendall(request("/hello.txt"))
        client.recv(1024)
        return client

    def run(self, number):
        held, chance = [], random.Random(number)
        while not self.over.is_set():
            try:
                held.append(self.open(number))
                self.opened += 1
            except OSError:
                pass
            number += THREADS + 1
            if len(held) > self.count // THREADS:
                held.pop(chance.randrange(len(held))).close()
        for client in held:
            client.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def site_of(folder):
    site = support.make_small_site(folder)
    (site / "big.bin").write_bytes(bytes(BIG))
    (folder / "up").mkdir()
    return site


def is_served(server, tls):
    """Whether a client that comes now gets the file, however often it has to come again."""
    try:
        with Connection(server.port(tls), tls) as client:
            client.socket.settimeout(5)
            answer = client.ask("/hello.txt")
            return answer.status == 200 and answer.body == HELLO
    except (OSError, AssertionError):
        return False


def finish(server):
    """Ends it; reports and what it says of its level are no complaints."""
    status = server.process.poll()
    server.send_signal()
    assert status is None and server.wait() == 0, server.output()
    rest = [line for line in server.text("stderr").splitlines()
            if not re.match("\0*mmserve: memory: ", line)]
    assert not rest, server.output()


class Promise(unittest.TestCase):
    def start(self, *options):
        folder = support.temporary_folder(self.addCleanup)
        server = Server(site_of(folder), "--upload", f"/up={folder}/up", "--upload-open",
                        *options, log=folder / "log")
        self.addCleanup(server.kill)
        server.stderr.truncate(0)
        return server

    def attack(self, server):
        """Until all clients have been there, and others were served meanwhile."""
        served, hung_at = 0, time.monotonic() + 10 * PATIENCE
        with Attack(server, CLIENTS) as attack:
            while attack.opened < CLIENTS or served < 10:
                served += is_served(server, served % 2 == 1)
                self.check_resident(server)
                self.assertLess(time.monotonic(), hung_at, f"{attack.opened} {served}")
        return Report(server)

    def check_resident(self, server):
        if not support.SLOW:
            self.assertLessEqual(server.status("VmHWM"), RSS_MAX)

    def recover(self, server):
        return wait_until(lambda: (lambda r: r if r.level == "normal" else None)(Report(server)),
                          "the normal level")

    def test_memory_under_attack(self):
        limit = f"{LIMIT // 1024}M" if not support.SLOW else "512M"
        server = self.start("--memory", limit)
        during = self.attack(server)  # so far, that is
        self.assertLessEqual(during.peak, LIMIT if not support.SLOW else 512 * 1024)
        after = self.recover(server)
        self.check_resident(server)
        self.assertTrue(is_served(server, True))
        self.assertTrue(is_served(server, False))
        again = Report(server)
        self.assertEqual(again.level, "normal")
        # once the clients have gone, each worker's level goes down by its steps, and stays there
        self.assertLessEqual(again.changes - during.changes,
                             6 * server.status("Threads"), during.text + after.text)
        self.assertEqual(again.changes % 2, 0, again.text)
        finish(server)

    def test_heap_is_explained(self):
        server = self.start("--memory", "1G")
        clients = [Connection(server.port(i % 2 == 0), i % 2 == 0) for i in range(200)]
        for i, client in enumerate(clients):
            client.ask("/hello.txt")
            if i % 4 < 2:
                client.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 10_000)
        report = wait_until(lambda: (lambda r: r if r.known * 100 >= r.live * EXPLAINED else None)
                            (Report(server)), "an explained heap")
        self.assertLessEqual(report.known, report.used, report.text)
        for client in clients:
            client.close()
        finish(server)

    def test_request_cycles_grow_nothing(self):
        server = self.start("--memory", "256M", "--workers", "1")

        def cycle(count):
            for _ in range(count):
                with Connection(server.http_port) as client:
                    self.assertEqual(client.ask("/hello.txt").status, 200)
            for _ in range(count // 50):
                self.assertTrue(is_served(server, True))
            return Report(server)
        before = cycle(CYCLES // 10)
        after = cycle(CYCLES)
        self.assertLessEqual(after.known, before.known + 512, before.text + after.text)
        if not support.SLOW:
            self.assertLessEqual(after.resident, before.resident + 2048, before.text + after.text)
        finish(server)


class Shedding(unittest.TestCase):
    """What clients see at the levels, one after the other. The limit is so low that a few clients
    reach it."""

    @unittest.skipIf(support.SLOW, "what is resident means nothing here")
    def test_critical_answers_503_and_recovers(self):
        folder = support.temporary_folder(self.addCleanup)
        server = Server(site_of(folder), "--memory", "24M", "--workers", "1")
        self.addCleanup(server.kill)
        clients = []
        self.addCleanup(lambda: [client.close() for client in clients])

        def is_refused():
            while len(clients) > 3000:
                clients.pop(0).close()
            for _ in range(100):
                try:
                    client = Connection(server.http_port)
                    clients.append(client)
                    client.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 15_000)
                except OSError:
                    pass
            with Connection(server.http_port) as client:
                client.socket.settimeout(5)
                try:
                    answer = client.ask("/hello.txt")
                except (OSError, AssertionError):
                    return False
                if answer.status == 503:
                    self.assertTrue(answer["retry-after"])
                    self.assertTrue(answer.closes)
                return answer.status == 503
        wait_until(is_refused, "a 503")
        for client in clients:
            client.close()
        wait_until(lambda: Report(server).level == "normal", "the normal level")
        for tls in (False, True):
            with Connection(server.port(tls), tls) as client:
                self.assertEqual(client.ask("/hello.txt").body, HELLO)
                self.assertEqual(client.ask("/hello.txt").status, 200)  # it is kept alive
        finish(server)


class Options(unittest.TestCase):
    def test_too_little_is_refused(self):
        status, _, error = run_server("--memory", "16M", "--help")
        self.assertEqual((status, error), (0, ""))
        for value in ("15M", "0", "x", "", "-1", "99999999999T"):
            status, _, error = run_server("--memory", value)
            self.assertEqual(status, 2, value)
            self.assertIn("--memory", error)
        status, _, error = run_server("--profile", "huge")
        self.assertEqual(status, 2)
        self.assertIn("--profile", error)

    def test_profiles_have_limits(self):
        folder = support.temporary_folder(self.addCleanup)
        site = support.make_small_site(folder)
        for profile in ("small", "medium", "large"):
            with Server(site, "--profile", profile) as server:
                self.assertIn("allowed", Report(server).text)
                self.assertTrue(is_served(server, True))
                server.stderr.truncate(0)  # the report


if __name__ == "__main__":
    unittest.main()
