"""Where the server listens, and how many it lets in."""
import socket
import unittest

import support
from support import DATA, HELLO, request, run_server, wait_until


class LocalConnection(support.Connection):
    """A connection to a Unix socket, with TLS or without."""

    def __init__(self, path, tls=False):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(support.PATIENCE)
        self.received, self.last = b"", None
        try:
            self.socket.connect(str(path))
            if tls:
                self.socket = support.CLIENT_CONTEXT.wrap_socket(
                    self.socket, server_hostname="localhost", suppress_ragged_eofs=False)
        except BaseException:
            self.socket.close()
            raise


class SeveralAddresses(support.ServerTest):
    options = ("--bind", "127.0.0.1", "--bind=127.0.0.2", "--workers", "2")

    def test_all_are_listened_on(self):
        for host in ("127.0.0.1", "127.0.0.2"):
            for tls in (False, True):
                with self.subTest((host, tls)):
                    with support.Connection(self.server.port(tls), tls, host) as connection:
                        self.assertEqual(connection.ask("/hello.txt").body, HELLO)

    def test_no_others_are(self):
        with self.assertRaises(ConnectionRefusedError):
            support.Connection(self.server.http_port, host="127.0.0.3")

    def test_the_banner_tells_them(self):
        for url in (f"https://127.0.0.1:{self.server.https_port}/",
                    f"http://127.0.0.2:{self.server.http_port}/"):
            self.assertIn(url, self.server.text("stdout"))


class UnixSocket(support.ServerTest):
    """It takes HTTPS and HTTP, whichever the client speaks."""

    @classmethod
    def setUpClass(cls):
        folder = support.temporary_folder(cls.addClassCleanup)
        cls.path = folder / "socket"
        cls.options = ("--bind", f"unix:{cls.path}", "--bind", "127.0.0.1", "--workers", "3",
                       "--redirect-http", "--max-conns-per-ip", "1000")
        super().setUpClass()

    def test_files_are_served(self):
        for tls in (False, True):
            for _ in range(10):
                with LocalConnection(self.path, tls) as connection:
                    connection.send(request("/hello.txt") + request("/data.bin"))
                    self.assertEqual(connection.response().body, HELLO)
                    self.assertEqual(connection.response().body, DATA)

    def test_slow_beginnings(self):
        with LocalConnection(self.path) as slow, LocalConnection(self.path) as gone:
            gone.close()
            for byte in request("/hello.txt"):
                slow.send(bytes([byte]))
            self.assertEqual(slow.response().body, HELLO)

    def test_garbage(self):
        for data in (b"\x16garbage", b"\x16", b"\x00\r\n\r\n", b"garbage\r\n\r\n"):
            with self.subTest(data), LocalConnection(self.path) as connection:
                connection.send(data)
                connection.socket.shutdown(socket.SHUT_WR)
                while connection.receive():
                    pass
            with LocalConnection(self.path) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)

    def test_is_logged_as_such(self):
        with LocalConnection(self.path) as connection:
            connection.ask("/hello.txt")
        wait_until(lambda: any(line.startswith(b"unix: ") for line in self.server.log_lines()),
                   "the line")

    def test_the_banner_tells_it(self):
        self.assertIn(f"unix:{self.path}\n", self.server.text("stdout"))


class UnixSocketFiles(unittest.TestCase):
    def setUp(self):
        self.folder = support.temporary_folder(self.addCleanup)
        support.make_small_site(self.folder)
        self.path = self.folder / "socket"

    def start(self):
        return support.Server(self.folder / "site", "--bind", f"unix:{self.path}",
                              "--bind", "127.0.0.1")

    def works(self):
        with LocalConnection(self.path) as connection:
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)

    def listens(self):
        """Bound is not enough: a moment later somebody listens, too."""
        try:
            LocalConnection(self.path).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def test_goes_with_the_server(self):
        with self.start():
            self.works()
        self.assertFalse(self.path.exists())

    def test_of_a_server_that_was_killed_is_replaced(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
        with self.start():
            self.works()

    def test_of_a_server_that_runs_is_left_alone(self):
        with self.start():
            code, _, error = run_server("--bind", f"unix:{self.path}", self.folder / "site")
            self.assertEqual(code, 1)
            self.assertIn(str(self.path), error)
            self.works()

    def test_what_is_no_socket_is_left_alone(self):
        self.path.write_bytes(b"precious")
        code, _, error = run_server("--bind", f"unix:{self.path}", self.folder / "site")
        self.assertEqual((code, error.count("\n")), (1, 1))
        self.assertEqual(self.path.read_bytes(), b"precious")

    def test_unix_socket_alone(self):
        """No port is needed at all."""
        process = support.subprocess.Popen(
            [*support.COMMAND, "--quiet", "--log", "none", "--bind", f"unix:{self.path}",
             str(self.folder / "site")])
        self.addCleanup(process.kill)
        wait_until(self.listens, "the socket")
        self.works()
        process.terminate()
        self.assertEqual(process.wait(support.PATIENCE), 0)


class MaxConnections(support.ServerTest):
    options = ("--max-conns", "5", "--workers", "2")
    tls = True

    def test_those_beyond_wait(self):
        connections = [self.connect() for _ in range(5)]
        for connection in connections:
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)
        late = support.Connection(self.server.http_port)
        self.addCleanup(late.close)
        late.send(request("/hello.txt"))
        for _ in range(20):  # the ones inside are served meanwhile
            for connection in connections:
                self.assertEqual(connection.ask("/data.bin").body, DATA)
        late.socket.setblocking(False)
        with self.assertRaises(BlockingIOError):
            late.receive()
        connections[0].close()
        late.socket.settimeout(support.PATIENCE)
        self.assertEqual(late.response().body, HELLO)

    def test_again_and_again(self):
        for _ in range(50):
            self.probe()


class MaxConnectionsOfAClient(support.ServerTest):
    options = ("--max-conns-per-ip", "3", "--workers", "2", "--bind", "127.0.0.1",
               "--bind", "127.0.0.2")
    tls = True

    def from_address(self, source):
        connection = socket.create_connection(("127.0.0.1", self.server.http_port),
                                              support.PATIENCE, (source, 0))
        self.addCleanup(connection.close)
        return connection

    def answers(self, connection):
        """Whether it is served, and not closed at once."""
        try:
            connection.sendall(request("/hello.txt"))
            return connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        except (ConnectionResetError, BrokenPipeError):
            return False

    def test_those_beyond_are_closed_and_others_are_not(self):
        mine = [self.from_address("127.0.0.7") for _ in range(3)]
        for connection in mine:
            self.assertTrue(self.answers(connection))
        for _ in range(5):
            self.assertFalse(self.answers(self.from_address("127.0.0.7")))
        self.assertTrue(self.answers(self.from_address("127.0.0.8")))
        self.probe()
        for connection in mine:
            self.assertTrue(self.answers(connection))
        mine.pop().close()
        wait_until(lambda: self.answers(self.from_address("127.0.0.7")), "room for one more")

    def test_churn_loses_no_count(self):
        for _ in range(100):
            wait_until(lambda: self.answers(self.once()), "a place")

    def once(self):
        connection = self.from_address("127.0.0.9")
        self.addCleanup(connection.close)
        if getattr(self, "before", None):
            self.before.close()
        self.before = connection
        return connection


if __name__ == "__main__":
    unittest.main()
