"""Starting, ending, the command line, timeouts, the log, and files that change under way."""
import os
import pathlib
import re
import select
import signal
import socket
import time
import unittest

import support
from support import DATA, HELLO, Connection, Server, request, run_server, wait_until

LARGE = 16 << 20  # more than the sockets of a connection hold
SMALL_BUFFER = 1 << 16


class LifeTest(unittest.TestCase):
    """Each test starts servers of its own, on this folder."""

    @classmethod
    def setUpClass(cls):
        cls.folder = support.temporary_folder(cls.addClassCleanup)
        cls.site = support.make_site(cls.folder)
        cls.large = cls.site / "large.bin"
        cls.content = (DATA * (LARGE // len(DATA) + 1))[:LARGE]
        cls.large.write_bytes(cls.content)

    def serve(self, *options, **more):
        """A server that is stopped, and checked, after the test."""
        server = Server(self.site, *options, **more)
        self.addCleanup(server.stop)
        return server

    def connect(self, server, tls=False, **options):
        connection = Connection(server.port(tls), tls, **options)
        self.addCleanup(connection.close)
        return connection

    def hello(self, server, tls=False):
        with self.connect(server, tls) as connection:
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)

    def download(self, server, tls=False, target="/large.bin"):
        """A download of the large file whose head has been read, and no more."""
        connection = self.connect(server, tls, buffer=SMALL_BUFFER)
        connection.send(request(target))
        self.assertEqual(connection.head().length, LARGE)
        return connection

    def until_closed(self, connection):
        """What comes until the connection ends, in whatever way."""
        parts = [connection.received]
        try:
            while parts[-1] or len(parts) == 1:
                parts.append(connection.socket.recv(1 << 18))
        except (ConnectionError, support.ssl.SSLError):
            pass
        return b"".join(parts)


def refuses(port):
    """No one listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=support.PATIENCE).close()
        return False
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # closed before it was accepted
        return False


class Ending(LifeTest):
    def test_idle_server_ends(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                Server(self.site).stop(number)

    def test_many_workers_end(self):
        Server(self.site, "--workers", 8).stop()

    def test_idle_connections_are_closed(self):
        server = self.serve()
        fresh = [self.connect(server, tls) for tls in (False, True)]
        used = [self.connect(server, tls) for tls in (False, True)]
        for connection in used:
            connection.ask("/hello.txt")
        handshaking = Connection(server.https_port)
        self.addCleanup(handshaking.close)
        server.send_signal()
        for connection in used + fresh + [handshaking]:
            connection.expect_end(announced=False)
        self.assertEqual(server.wait(), 0)

    def test_download_is_completed(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                server = self.serve("--workers", 2)
                downloads = [self.download(server, tls) for tls in (False, True)]
                server.send_signal(number)
                wait_until(lambda: refuses(server.http_port), "listeners closed")
                self.assertIsNone(server.process.poll())
                for connection in downloads:
                    self.assertEqual(connection.read(LARGE), self.content)
                    connection.expect_end(announced=False)
                    connection.close()
                self.assertEqual(server.wait(), 0)

    def test_draining_at_the_limit_costs_no_processor_time(self):
        """There are clients that wait in the kernel when the server begins to end."""
        server = self.serve("--workers", 1, "--max-conns", 1)
        download = self.download(server)
        waiting = self.connect(server)
        time.sleep(0.3)
        server.send_signal()
        wait_until(lambda: refuses(server.http_port), "listeners closed")
        before = server.cpu()
        time.sleep(1)
        self.assertLess(server.cpu() - before, 0.5)
        waiting.close()
        self.assertEqual(download.read(LARGE), self.content)
        download.close()
        self.assertEqual(server.wait(), 0)

    def test_request_under_way_is_answered(self):
        server = self.serve()
        whole = request("/hello.txt")
        with self.connect(server, True) as connection:
            connection.ask("/hello.txt")
            connection.send(whole[:20])
            time.sleep(0.1)  # that these bytes come first is likely, and not needed for passing
            server.send_signal()
            wait_until(lambda: refuses(server.http_port), "listeners closed")
            try:
                connection.send(whole[20:])
                if connection.receive():
                    self.assertEqual(connection.response().body, HELLO)
                    connection.expect_end()
            except ConnectionError:
                pass

    def test_requests_that_have_arrived_are_answered(self):
        """On connections between two requests, and on ones that have yet to be accepted."""
        server = self.serve("--workers", 1)
        connections = [self.connect(server, tls) for tls in (False, True) * 5]
        for connection in connections:
            connection.ask("/hello.txt")
        server.send_signal(signal.SIGSTOP)
        connections += [self.connect(server) for _ in range(10)]
        for connection in connections:
            connection.send(request("/hello.txt"))
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGCONT)
        for connection in connections:
            self.assertEqual(connection.response().body, HELLO)
            connection.expect_end(announced=False)
        self.assertEqual(server.wait(), 0)

    def test_second_signal_ends_at_once(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM),
                              (signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGINT)):
            with self.subTest(f"{first.name} {second.name}"):
                server = Server(self.site)
                self.addCleanup(server.kill)
                self.download(server)
                server.send_signal(first)
                wait_until(lambda: refuses(server.http_port), "listeners closed")
                self.assertIsNone(server.process.poll())
                server.send_signal(second)
                self.assertNotEqual(server.wait(), 0)  # it was cut short

    def test_nothing_is_left_open_on_the_way(self):
        """Clients that vanish at every stage leave no descriptor behind."""
        server = self.serve("--workers", 1)
        self.hello(server), self.hello(server, True)
        before = server.fds()
        for tls in (False, True):
            for _ in range(5):
                Connection(server.port(tls), tls).close()
                with self.connect(server, tls) as connection:
                    connection.ask("/hello.txt")
                with self.connect(server, tls) as connection:
                    connection.send(b"GET /")
                with self.download(server, tls):
                    pass
                with self.download(server, tls) as connection:  # reset
                    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                 b"\1\0\0\0" + bytes(4))
        wait_until(lambda: server.fds() <= before + server.spare_fds(), "descriptors closed")


class CommandLine(LifeTest):
    def complains(self, expected, *options):
        """The server ends with this status and one line, which is returned."""
        status, output, error = run_server(*options)
        self.assertEqual((status, output), (expected, ""), error)
        self.assertRegex(error, r"\A[^\n]+\n\Z")
        return error

    def test_help_names_every_option(self):
        status, output, error = run_server("--help")
        self.assertEqual((status, error), (0, ""))
        for option in ("bind", "port", "http-port", "cert", "key", "workers", "log", "no-listing",
                       "follow", "quiet", "help", "version", "poll", "header-timeout",
                       "idle-timeout", "write-timeout"):
            self.assertIn(f"--{option}", output)
        self.assertLessEqual(max(map(len, output.splitlines())), 100)

    def test_readme_has_the_same_options(self):
        readme = pathlib.Path(__file__).parents[2] / "README.md"
        listed = re.findall(r"--[a-z][a-z-]*", re.search(r"^\| option .*?\n\n", readme.read_text(),
                                                    re.M | re.S)[0])
        summary = run_server("--help")[1].split("Options:")[1].split("A value follows")[0]
        self.assertEqual(sorted(set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", summary, re.M))),
                         sorted(set(listed)))

    def test_version(self):
        status, output, error = run_server("--version")
        self.assertEqual((status, error), (0, ""))
        self.assertRegex(output, r"\Ammserve \d+\.\d+\.\d+\n\Z")

    def test_bad_options_are_named(self):
        cases = [
            ("--bogus", "--bogus"), ("-Z", "-Z"), ("--port", "--port"), ("--port", "--port", "x"),
            ("65536", "--port", "65536"), ("--port", "--port", "-1"), ("--port", "--port", ""),
            ("4294967296", "--port", "4294967296"), ("8443x", "--port", "8443x"),
            ("--http-port", "--http-port", "99999"), ("--workers", "--workers", "0"),
            ("--workers", "--workers", "many"), ("--workers", "--workers", "1000000"),
            ("--bind", "--bind", "nonsense"), ("--bind", "--bind", "300.0.0.1"),
            ("--key", "--key", "key.pem"), ("--cert", "--cert"), ("--log", "--log"),
            ("--no-listing", "--no-listing=1"), ("two", "one", "two"),
            ("--header-timeout", "--header-timeout", "0"),
            ("--idle-timeout", "--idle-timeout", "x"), ("--write-timeout", "--write-timeout"),
            ("7000", "--port", "7000", "--http-port", "7000"),
        ]
        for named, *options in cases:
            with self.subTest(options):
                self.assertIn(named, self.complains(2, *options))

    def test_control_bytes_of_an_option_are_not_printed(self):
        self.complains(2, "--bo\n\x1b[31mgus")

    def test_folder_that_is_none_is_named(self):
        for name in ("missing", "hello.txt", "missing/deeper", "link-loop"):
            with self.subTest(name):
                self.assertIn(name, self.complains(1, "--port", 0, self.site / name))

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_unreadable_folder_is_named(self):
        (self.folder / "closed").mkdir(mode=0)
        self.assertIn("closed", self.complains(1, "--port", 0, self.folder / "closed"))

    def test_log_that_cannot_be_written_is_named(self):
        for name in ("missing/access.log", "site"):
            with self.subTest(name):
                self.assertIn(name, self.complains(1, "--port", 0, "--log", self.folder / name,
                                                   self.site))

    def test_port_in_use_is_named(self):
        with socket.socket() as other:
            other.bind(("0.0.0.0", 0))
            other.listen()
            port = other.getsockname()[1]
            self.assertIn(str(port), self.complains(1, "--port", port, self.site))
            self.assertIn(str(port), self.complains(1, "--port", 0, "--http-port", port, self.site))

    def test_port_in_use_on_one_address_is_named(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            self.assertIn(str(port), self.complains(1, "--port", port, "--bind", "127.0.0.1",
                                                    self.site))

    def test_port_in_use_by_another_of_us_is_named(self):
        server = self.serve("--workers", 2)
        for workers in (1, 2):
            for port in (server.https_port, server.http_port):
                self.assertIn(str(port), self.complains(1, "--workers", workers, "--port", port,
                                                        self.site))
        self.hello(server, True)

    def test_quiet(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = support.subprocess.Popen(
            [*support.COMMAND, "--quiet", "--log", "none", "--bind", "127.0.0.1", "--port",
             str(port), str(self.site)], stdout=support.subprocess.PIPE,
             stderr=support.subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        wait_until(lambda: process.poll() is not None or not refuses(port), "the server")
        process.terminate()
        output = process.communicate(timeout=support.PATIENCE)[0].decode()
        self.assertEqual(support.complaints(output), "")
        self.assertEqual(process.returncode, 0)

    def test_options_may_follow_the_folder_and_hold_their_value(self):
        server = self.serve("--workers=1", "-p0")
        self.hello(server, True)

    def test_folder_may_be_a_link_or_relative(self):
        (self.folder / "link").symlink_to("site")
        for root in (self.folder / "link", os.path.relpath(self.site), f"{self.site}/", "/"):
            with self.subTest(root), Server(root) as server:
                with self.connect(server) as connection:
                    target = f"{self.site}/hello.txt" if root == "/" else "/hello.txt"
                    self.assertEqual(connection.ask(target).body, HELLO)


class Addresses(LifeTest):
    def test_all_by_default(self):
        server = self.serve()
        for host in ("127.0.0.1", "127.0.0.2", *(["::1"] if support.HAS_IPV6 else [])):
            for tls in (False, True):
                with self.connect(server, tls, host=host) as connection:
                    self.assertEqual(connection.ask("/hello.txt").body, HELLO)

    def test_bind(self):
        server = self.serve("--bind", "127.0.0.1")
        self.hello(server)
        hosts = ["127.0.0.2"] + (["::1"] if support.HAS_IPV6 else [])
        for host in hosts:
            with self.assertRaises(ConnectionRefusedError):
                self.connect(server, host=host)

    @unittest.skipUnless(support.HAS_IPV6, "no IPv6 here")
    def test_bind_ipv6(self):
        server = self.serve("--bind", "::1")
        with self.connect(server, host="::1") as connection:
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)
        with self.assertRaises(ConnectionRefusedError):
            self.connect(server)


class Workers(LifeTest):
    def test_each_is_a_thread(self):
        server = self.serve("--workers", 3)
        wait_until(lambda: server.status("Threads") >= 3, "three threads")

    def test_all_serve(self):
        for options in ((), ("--poll",)):
            server = self.serve("--workers", 4, *options)
            connections = [self.connect(server, i % 2 == 0) for i in range(100)]
            for _ in range(2):
                for connection in connections:
                    connection.send(request("/data.bin"))
                for connection in connections:
                    self.assertEqual(connection.response().body, DATA)

    def test_idle_connections_cost_no_processor_time(self):
        for options in ((), ("--poll",)):
            with self.subTest(options):
                server = self.serve("--workers", 2, *options)
                self.connect(server), self.connect(server, True)
                raw = Connection(server.https_port)  # never says hello
                self.addCleanup(raw.close)
                for tls in (False, True):
                    self.connect(server, tls).ask("/hello.txt")
                    self.connect(server, tls).send(b"GET /")
                    self.connect(server, tls).send(request("/", headers=["Content-Length: 9"]))
                    self.download(server, tls)
                    self.download(server, tls).send(request("/hello.txt") * 100)
                stalled = self.download(server)
                stalled.socket.shutdown(socket.SHUT_WR)
                refused = self.connect(server)
                refused.send(b"nonsense\r\n\r\n")
                self.assertEqual(refused.response().status, 400)
                time.sleep(0.3)
                before = server.cpu()
                time.sleep(1)
                self.assertLess(server.cpu() - before, 0.5)


class Descriptors(LifeTest):
    def test_more_connections_than_descriptors(self):
        """Those that there is no room for wait, and are answered when others have gone; there may
        be none left for a file either."""
        server = self.serve("--workers", 1, descriptors=128)
        connections = [self.connect(server) for _ in range(200)]
        for connection in connections:
            connection.send(request("/hello.txt"))
        time.sleep(0.3)
        before = server.cpu()
        time.sleep(1)
        self.assertLess(server.cpu() - before, 0.5)
        self.assertLessEqual(server.fds(), 128)
        for connection in connections:
            self.assertIn(connection.response().status, (200, 503))
            connection.close()
        self.hello(server, True)
        wait_until(lambda: server.fds() < 60, "descriptors closed")

    def test_file_is_served_though_connections_wait(self):
        """Connections do not take the descriptors that files need."""
        server = self.serve("--workers", 1, descriptors=128)
        connections = [self.connect(server) for _ in range(200)]
        for target, content in (("/hello.txt", HELLO), ("/data.bin", DATA)):
            self.assertEqual(connections[0].ask(target).body, content)


class Listing(LifeTest):
    def test_page_of_many_names(self):
        """More than is kept in memory: the rest of the page waits in a temporary file."""
        folder = self.site / "many"
        folder.mkdir()
        names = [f"{number:06}-{'x' * 100}" for number in range(6000)]
        for name in names:
            (folder / name).touch()
        server = self.serve("--workers", 1)
        for tls in (False, True):
            with self.connect(server, tls) as connection:
                page = connection.ask("/many/").body.decode()
                self.assertEqual(re.findall(r'<a href="./([^"]*)"', page), names)
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)


class Timeouts(LifeTest):
    def test_request_head_that_does_not_end_is_408(self):
        whole = request("/hello.txt")
        for options in ((), ("--poll",)):
            server = self.serve("--header-timeout", 3, *options)
            cases = [(tls, raw) for tls in (False, True)
                     for raw in (b"G", whole[:-1], whole + b"G")]
            connections = []
            for tls, raw in cases:  # each sends at once: handshakes of others can take long
                connections.append(self.connect(server, tls))
                connections[-1].send(raw)
            for connection, (tls, raw) in zip(connections, cases):
                with self.subTest(options=options, tls=tls, raw=raw):
                    if raw.startswith(whole):
                        self.assertEqual(connection.response().body, HELLO)
                    self.assertEqual(connection.response().status, 408)
                    connection.expect_end()
            self.hello(server, True)

    def test_deadline_is_for_the_whole_head(self):
        server = self.serve("--header-timeout", 1)
        with self.connect(server) as connection:
            connection.send(b"GET / HTTP/1.1\r\n")
            connection.socket.settimeout(0.1)
            deadline = time.monotonic() + support.PATIENCE
            while time.monotonic() < deadline:
                try:
                    connection.send(b"X: y\r\n")
                    if connection.receive():
                        break
                except socket.timeout:
                    pass
            self.assertEqual(connection.response().status, 408)

    def test_nothing_sent_is_closed_in_silence(self):
        server = self.serve("--header-timeout", 1, "--idle-timeout", 1)
        for tls in (False, True):
            with self.connect(server, tls) as connection:
                connection.expect_end()

    def test_idle_connection_is_closed_in_silence(self):
        server = self.serve("--idle-timeout", 1)
        for tls in (False, True):
            with self.connect(server, tls) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)
                connection.expect_end(announced=False)

    def test_request_head_in_bursts_is_408(self):
        """Many small records at a time do not give it more time."""
        server = self.serve("--header-timeout", 2, "--workers", 1)
        with self.connect(server, True) as connection:
            connection.ask("/hello.txt")  # and with it come the session tickets
            connection.send(b"GET /hello.txt HTTP/1.1\r\nX: ")
            for _ in range(40):
                server.process.send_signal(signal.SIGSTOP)  # so that they arrive together
                try:
                    for _ in range(100):
                        connection.send(b"x")
                except (ConnectionError, support.ssl.SSLError):
                    pass  # refused already
                finally:
                    server.process.send_signal(signal.SIGCONT)
                if select.select([connection.socket], [], [], 0.5)[0]:
                    break
            else:
                self.fail("not refused, though 20 seconds have gone by")
            self.assertIn(b"HTTP/1.1 408 ", self.until_closed(connection))

    def test_handshake_that_does_not_end_is_closed(self):
        server = self.serve("--header-timeout", 1)
        for raw in (b"", b"\x16\x03\x01\x02\x00\x01"):
            with Connection(server.https_port) as connection:
                connection.send(raw)
                self.assertNotIn(b"HTTP/", self.until_closed(connection))
        self.hello(server, True)

    def test_body_that_does_not_end_is_408(self):
        server = self.serve("--write-timeout", 1)
        cases = [(tls, *body) for tls in (False, True) for body in (
            ("Content-Length: 5", b"hell"), ("Transfer-Encoding: chunked", b"5\r\nh"))]
        connections = [self.connect(server, tls) for tls, _, _ in cases]
        for connection, (_, field, part) in zip(connections, cases):
            connection.send(request("/hello.txt", headers=[field]) + part)
        for connection in connections:
            self.assertEqual(connection.response().status, 408)
            connection.expect_end()

    def test_client_that_does_not_read_is_cut_off(self):
        server = self.serve("--write-timeout", 1)
        downloads = [self.download(server, tls) for tls in (False, True)]
        server.log_lines(2)  # a line is written when its answer has ended
        for connection in downloads:
            self.assertLess(len(self.until_closed(connection)), LARGE)

    def test_pipelined_requests_wait_for_a_slow_reader(self):
        """They are here: the time for a request to come does not run while its turn does not come."""
        server = self.serve("--header-timeout", 1, "--workers", 1)
        count = 15000
        with self.connect(server, buffer=SMALL_BUFFER) as connection:
            connection.send(request("/nothing/nothing/nothing") * (count - 1))
            connection.send(request("/nothing", headers=["Connection: close"]))
            time.sleep(2.5)
            answers = self.until_closed(connection)
        self.assertEqual(answers.count(b"HTTP/1.1 404 Not Found\r\n"), count)
        self.assertNotIn(b"HTTP/1.1 408", answers)

    def test_client_that_reads_slowly_is_not(self):
        """The timeout starts anew with each byte that the client takes."""
        server = self.serve("--write-timeout", 1)
        for tls in (False, True):
            with self.subTest(tls=tls), self.download(server, tls) as connection:
                got = b""
                for _ in range(10):
                    got += connection.read(1 << 16)
                    time.sleep(0.3)
                self.assertEqual(got + connection.read(LARGE - len(got)), self.content)


class Log(LifeTest):
    QUOTED = rb'"((?:[^"\\\x00-\x1f\x7f]|\\x[0-9a-fA-F]{2})*)"'
    LINE = re.compile(rb"(\S+) - - \[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
                      + QUOTED + rb" (\d{3}) (\d+|-) " + QUOTED + b" " + QUOTED)

    def parse(self, line):
        match = self.LINE.fullmatch(line)
        self.assertTrue(match, line)
        return [text.decode("latin-1") for text in match.groups()]

    def logged(self, *raw, tls=False, options=(), **more):
        """The parsed lines that these requests, each on a connection of its own, leave behind."""
        server = self.serve(*options)
        for one in raw:
            with self.connect(server, tls, **more) as connection:
                connection.send(one)
                connection.response()
        return [self.parse(line) for line in server.log_lines(len(raw))]

    def test_combined_format(self):
        headers = ["Referer: http://a/b", "User-Agent: test/1.0 (x)"]
        self.assertEqual(self.logged(request("/hello.txt?x", headers=headers)),
                         [["127.0.0.1", "GET /hello.txt?x HTTP/1.1", "200", str(len(HELLO)),
                           "http://a/b", "test/1.0 (x)"]])

    def test_what_is_missing_is_a_dash(self):
        self.assertEqual(self.logged(b"GET /hello.txt HTTP/1.0\r\n\r\n", tls=True),
                         [["127.0.0.1", "GET /hello.txt HTTP/1.0", "200", str(len(HELLO)), "-",
                           "-"]])

    @unittest.skipUnless(support.HAS_IPV6, "no IPv6 here")
    def test_ipv6(self):
        self.assertEqual(self.logged(request("/hello.txt"), host="::1")[0][0], "::1")

    def test_statuses(self):
        server = self.serve()
        cases = [("/nowhere", 404), ("/sub", 301), ("/data.bin", 206), ("/hello.txt", 304)]
        with self.connect(server) as connection:
            for target, status in cases:
                headers = {206: ["Range: bytes=0-9"], 304: ["If-None-Match: *"]}.get(status, [])
                self.assertEqual(connection.ask(target, headers=headers).status, status)
        lines = [self.parse(line) for line in server.log_lines(len(cases))]
        self.assertEqual([line[2] for line in lines], [str(status) for _, status in cases])
        self.assertEqual(lines[2][3], "10")
        self.assertIn(lines[3][3], ("0", "-"))

    def test_what_the_client_sends_is_escaped(self):
        agent = b'User-Agent: "a\\b\tc\xff" 200 0'
        line = self.logged(request("/hello.txt", headers=[agent]))[0]
        self.assertIn(line[5], ("\\x22a\\x5cb\\x09c\xff\\x22 200 0",
                                "\\x22a\\x5cb\\x09c\\xff\\x22 200 0",
                                "\\x22a\\x5Cb\\x09c\\xFF\\x22 200 0"))

    def test_bad_requests_are_logged_too(self):
        for raw in (b"\x00\x1b[31m\"\\\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\r\n\r\n",
                    b"GET /\x7f\" HTTP/1.1\r\nHost: x\r\n\r\n"):
            with self.subTest(raw):
                self.assertEqual(self.logged(raw)[0][2], "400")

    def test_refusals_are_logged_as_their_own_request(self):
        """Not as the one that another connection of the worker made in the meantime."""
        server = self.serve("--workers", 1)
        with self.connect(server) as slow:
            slow.send(request("/data.bin", headers=["Transfer-Encoding: chunked",
                                                    "User-Agent: slow"]))
            for _ in range(3):
                self.hello(server)
            slow.send(b"nonsense\r\n")
            self.assertEqual(slow.response().status, 400)
        lines = [self.parse(line) for line in server.log_lines(4)]
        refused = [line for line in lines if line[2] == "400"]
        self.assertEqual(len(refused), 1)
        self.assertIn((refused[0][1], refused[0][5]), [("GET /data.bin HTTP/1.1", "slow"),
                                                       ("-", "-"), ("", "-")])

    def test_cut_downloads_are_logged_with_what_was_sent(self):
        server = self.serve()
        with self.download(server):
            pass
        line = self.parse(server.log_lines()[0])
        self.assertEqual(line[2], "200")
        self.assertLess(int(line[3]), LARGE)

    def test_lines_of_all_workers_are_whole(self):
        server = self.serve("--workers", 4)
        count = 200 if support.SLOW else 2000
        connections = [self.connect(server) for _ in range(20)]
        for connection in connections:
            connection.send(request("/hello.txt") * (count // len(connections)))
        for connection in connections:
            for _ in range(count // len(connections)):
                connection.response()
        lines = server.log_lines(count)
        self.assertEqual(len(lines), count)
        for line in lines:
            self.assertEqual(self.parse(line)[1], "GET /hello.txt HTTP/1.1")

    def test_log_is_complete_at_the_end(self):
        path = self.folder / "at-the-end.log"
        with Server(self.site, log=path) as server:
            with self.connect(server) as connection:
                connection.send(request("/hello.txt") * 100)
                for _ in range(100):
                    connection.response()
        self.assertEqual(len(path.read_bytes().splitlines()), 100)

    def test_log_is_appended_to(self):
        path = self.folder / "appended.log"
        path.write_bytes(b"before\n")
        with Server(self.site, log=path) as server:
            self.hello(server)
        lines = path.read_bytes().splitlines()
        self.assertEqual((lines[0], len(lines)), (b"before", 2))

    def test_standard_output(self):
        server = self.serve(log="-")
        self.hello(server)
        wait_until(lambda: '"GET /hello.txt HTTP/1.1" 200' in server.text("stdout"), "the line")

    def test_none(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        before = set(os.listdir("."))
        server = self.serve(log="none")
        banner = server.text("stdout")
        self.hello(server)
        server.send_signal()
        self.assertEqual(server.wait(), 0)
        self.assertEqual(server.text("stdout"), banner)
        self.assertEqual(set(os.listdir(".")), before)


class Files(LifeTest):
    """Files that change while they are sent."""

    def setUp(self):
        self.path = self.site / "changing.bin"
        self.path.write_bytes(self.content)
        self.server = self.serve()

    def each(self):
        """A download for each way to send; the file is new each time."""
        for tls in (False, True):
            fresh = self.site / "fresh"
            fresh.write_bytes(self.content)
            os.replace(fresh, self.path)
            with self.connect(self.server) as connection:
                wait_until(lambda: connection.ask("/changing.bin", "HEAD").length == LARGE,
                           "the new file")
            yield self.download(self.server, tls, "/changing.bin")

    def test_truncated_file_cuts_the_answer_short(self):
        for connection in self.each():
            os.truncate(self.path, 0)  # whole pages go, so what is on its way stays what it was
            got = self.until_closed(connection)
            self.assertLess(len(got), LARGE)
            self.assertTrue(self.content.startswith(got), "padded, or other bytes")
            self.hello(self.server)

    def test_shortened_file_cuts_the_answer_short(self):
        for connection in self.each():
            os.truncate(self.path, LARGE - (1 << 20))
            got = self.until_closed(connection)
            self.assertLess(len(got), LARGE)
            self.assertTrue(self.content.startswith(got), "padded, or other bytes")
            self.hello(self.server)

    def test_rewritten_file_is_never_sent_as_a_mixture(self):
        """In place and of the same length, at its front and at its very end."""
        for at in (0, LARGE - 10):
            for connection in self.each():
                with open(self.path, "r+b") as file:
                    file.seek(at)
                    file.write(b"0123456789")
                self.assertLess(len(self.until_closed(connection)), LARGE)
                self.hello(self.server)

    def test_attributes_do_not_matter(self):
        for connection in self.each():
            self.path.chmod(0o640)
            os.link(self.path, self.site / "second")
            self.assertEqual(connection.read(LARGE), self.content)
            (self.site / "second").unlink()

    def test_replaced_file_is_sent_as_it_was(self):
        for connection in self.each():
            other = self.site / "other"
            other.write_bytes(bytes(LARGE))
            os.replace(other, self.path)
            self.assertEqual(connection.read(LARGE), self.content)
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)

    def test_removed_file_is_sent_as_it_was(self):
        for connection in self.each():
            self.path.unlink()
            self.assertEqual(connection.read(LARGE), self.content)
            self.path.write_bytes(self.content)

    def test_grown_file_is_sent_as_announced(self):
        for connection in self.each():
            with open(self.path, "ab") as file:
                file.write(b"more" * 1000)
            self.assertEqual(connection.read(LARGE), self.content)
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)


if __name__ == "__main__":
    unittest.main()
