"""Much of everything: a large file, many connections, many requests; and what is held meanwhile.

Memory is measured only where it means something, see support.SLOW."""
import contextlib
import hashlib
import random
import resource
import socket
import subprocess
import time
import unittest

import support
from support import HELLO, Connection, Server, request, wait_until

MIB = 1 << 20
BLOCKS = 64 if support.SLOW else 1024       # MiB of the large file
CONNECTIONS = 100 if support.SLOW else 1000
REQUESTS = 10_000 if support.SLOW else 100_000
RSS_MAX = 32 * 1024                         # KiB that the server may hold
RSS_GROWTH = 1024                           # KiB between one half of the requests and the other


def setUpModule():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def write_large(path):
    """Writes a file of which no two places look alike; its SHA-256."""
    noise = memoryview(random.Random("large").randbytes(2 * MIB))
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for i in range(BLOCKS):
            block = noise[i * 1009:i * 1009 + MIB]
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


class LargeFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        support.BUILD.mkdir(exist_ok=True)  # rather than /tmp, which may be memory
        cls.folder = support.temporary_folder(cls.addClassCleanup, support.BUILD)
        (cls.folder / "site").mkdir()
        cls.digest = write_large(cls.folder / "site/large.bin")

    def setUp(self):
        self.server = Server(self.folder / "site")
        self.addCleanup(self.server.stop)

    def curl(self, url, *options):
        return ["curl", "-q", "-sS", "-k", "--noproxy", "*", *options, url + "large.bin"]

    def check_memory(self):
        if not support.SLOW:
            self.assertLess(self.server.status("VmHWM"), RSS_MAX)

    def whole(self, url):
        digest = hashlib.sha256()
        with subprocess.Popen(self.curl(url), stdout=subprocess.PIPE) as curl:
            for part in iter(lambda: curl.stdout.read(MIB), b""):
                digest.update(part)
        self.assertEqual((curl.returncode, digest.hexdigest()), (0, self.digest))
        self.check_memory()

    def cut(self, url, path, size):
        """Adds that many bytes to the file, then breaks the transfer off."""
        have = path.stat().st_size
        with subprocess.Popen(self.curl(url, "-r", f"{have}-"), stdout=subprocess.PIPE) as curl:
            with open(path, "ab") as file:
                for _ in range(size // MIB):
                    file.write(curl.stdout.read(MIB))
                file.write(curl.stdout.read(12345))
            curl.kill()

    def resumed(self, url):
        path = self.folder / "copy.bin"
        path.write_bytes(b"")
        self.cut(url, path, BLOCKS // 4 * MIB)
        self.cut(url, path, BLOCKS // 2 * MIB)
        subprocess.run(self.curl(url, "-C", "-", "-o", path), check=True)
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for part in iter(lambda: file.read(MIB), b""):
                digest.update(part)
        self.assertEqual(digest.hexdigest(), self.digest)
        self.check_memory()

    def https(self):
        return f"https://localhost:{self.server.https_port}/"

    def http(self):
        return f"http://localhost:{self.server.http_port}/"

    def test_whole_by_https(self):
        self.whole(self.https())

    def test_whole_by_http(self):
        self.whole(self.http())

    def test_resumed_by_https(self):
        self.resumed(self.https())

    def test_resumed_by_http(self):
        self.resumed(self.http())


class HugeFile(unittest.TestCase):
    """Sizes and offsets beyond 32 bits, of a file that is mostly a hole."""
    SIZE = 5 << 30

    def setUp(self):
        folder = support.temporary_folder(self.addCleanup)
        with open(f"{folder}/huge.bin", "wb") as file:
            file.truncate(self.SIZE)
            for at in (0, (1 << 31) - 2, (1 << 32) - 2, self.SIZE - 4):
                file.seek(at)
                file.write(b"mark")
        self.server = Server(folder)
        self.addCleanup(self.server.stop)

    def test_ranges(self):
        for tls in (False, True):
            with Connection(self.server.port(tls), tls) as connection:
                self.assertEqual(connection.ask("/huge.bin", "HEAD").length, self.SIZE)
                for at in ((1 << 31) - 2, (1 << 32) - 2, self.SIZE - 4):
                    for value in (f"{at}-{at + 3}", f"{at - 1}-{at + 3}"):
                        response = connection.ask("/huge.bin", headers=[f"Range: bytes={value}"])
                        self.assertEqual(response["Content-Range"], f"bytes {value}/{self.SIZE}")
                        self.assertEqual(response.body[-4:], b"mark")


class Load(unittest.TestCase):
    def setUp(self):
        folder = support.temporary_folder(self.addCleanup)
        self.site = support.make_site(folder)
        self.server = Server(self.site)
        self.addCleanup(self.server.stop)
        self.connections = contextlib.ExitStack()
        self.addCleanup(self.connections.close)

    def connect(self, tls):
        return self.connections.enter_context(Connection(self.server.port(tls), tls))

    def warm_up(self):
        """Each worker has seen a connection of each kind; returns the descriptors then open."""
        for i in range(64):
            with Connection(self.server.port(i % 2), i % 2) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)
        return self.settled()

    def settled(self):
        """The descriptors open when connections that are being closed have gone."""
        last = -1
        while last != self.server.fds():
            last = self.server.fds()
            time.sleep(0.1)
        return last

    def expect_fds(self, before):
        wait_until(lambda: self.server.fds() <= before + self.server.spare_fds(),
                   "descriptors closed")

    def test_many_connections_at_once(self):
        before = self.warm_up()
        for tls in (True, False):
            open_now = [self.connect(tls) for _ in range(CONNECTIONS)]
            for turn in (open_now, open_now[::-1]):
                for connection in turn:
                    connection.send(request("/hello.txt"))
                for connection in turn:
                    self.assertEqual(connection.response().body, HELLO)
            self.assertGreaterEqual(self.server.fds(), before + CONNECTIONS)
            self.connections.close()
            self.expect_fds(before)

    def test_many_requests(self):
        before = self.warm_up()
        connections = [self.connect(tls=True) for _ in range(64)]
        response = self.learn_response(connections[0])
        self.requests(connections, response, REQUESTS // 2)
        middle = self.server.status("VmRSS")
        self.requests(connections, response, REQUESTS // 2)
        if not support.SLOW:
            self.assertLess(self.server.status("VmRSS"), middle + RSS_GROWTH)
            self.assertLess(self.server.status("VmHWM"), RSS_MAX)
        self.connections.close()
        self.expect_fds(before)

    def learn_response(self, connection):
        """The bytes before and behind the date in the response, which alone changes."""
        connection.send(request("/hello.txt"))
        raw = b""
        while not raw.endswith(HELLO):
            raw += connection.socket.recv(1 << 16)
        date = support.Response(raw.split(b"\r\n\r\n")[0])["date"].encode()
        self.assertEqual(raw.count(date), 1)
        return raw.split(date), len(date)

    def requests(self, connections, response, count):
        """Sends requests on all connections, ten in a row, and checks every byte of the answers."""
        (start, end), date = response
        size = len(start) + date + len(end)
        for _ in range(count // (10 * len(connections)) + 1):
            for connection in connections:
                connection.send(request("/hello.txt") * 10)
            for connection in connections:
                answers = connection.read(10 * size)
                for at in range(0, 10 * size, size):
                    if not (answers.startswith(start, at)
                            and answers.startswith(end, at + len(start) + date)):
                        self.fail(f"not as before: {answers[at:at + size]!r}")

    def test_many_connections_one_after_the_other(self):
        before = self.warm_up()
        middle = 0
        for i in range(CONNECTIONS):
            with Connection(self.server.port(i % 2), i % 2) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)
            if i == CONNECTIONS // 2:
                middle = self.server.status("VmRSS")
        if not support.SLOW:
            self.assertLess(self.server.status("VmRSS"), middle + RSS_GROWTH)
        self.expect_fds(before)

    def test_client_that_asks_and_does_not_read(self):
        """The server stops reading when the answers are not taken, and holds no heap of them."""
        for tls in (False, True):
            connection = self.connect(tls)
            connection.socket.settimeout(1)
            batch = request("/data.bin") * 200
            with self.assertRaises(socket.timeout):
                for _ in range(10_000):
                    connection.socket.sendall(batch)
            if not support.SLOW:
                self.assertLess(self.server.status("VmHWM"), RSS_MAX)
            with Connection(self.server.port(tls), tls) as other:
                self.assertEqual(other.ask("/hello.txt").body, HELLO)


if __name__ == "__main__":
    unittest.main()
