"""What is special about a connection: clients that wait for 100, plain HTTP where HTTPS is spoken
and the other way round. All of it over TLS, unless that is the point."""
import re
import socket
import unittest

import support
from support import DATA, HELLO, request

NEXT = request("/empty.txt")


class Continue(support.ServerTest):
    """RFC 9110, 10.1.1."""
    tls = True
    sized = ["Content-Length: 5", "Expect: 100-continue"]
    chunked = ["Transfer-Encoding: chunked", "Expect: 100-continue"]

    def next_is_served(self, connection):
        connection.send(NEXT)
        self.assertEqual((connection.response().status, connection.last.body), (200, b""))

    def test_who_waits_is_told_to_go_on(self):
        for headers, body in ((self.sized, b"hello"), (self.chunked, b"5\r\nhello\r\n0\r\n\r\n"),
                              (["EXPECT: 100-Continue", *self.sized[:1]], b"hello")):
            for method in ("GET", "HEAD", "OPTIONS"):
                with self.subTest((method, headers)), self.connect() as connection:
                    connection.send(request("/hello.txt", method, headers))
                    response = connection.head()
                    self.assertEqual((response.status, response.headers), (100, {}))
                    connection.send(body)
                    self.assertIn(connection.response(method).status, (200, 204))
                    self.next_is_served(connection)

    def test_who_does_not_wait_is_not_told(self):
        with self.connect() as connection:
            connection.send(request("/hello.txt", headers=self.sized) + b"hello" + NEXT)
            self.assertEqual(connection.response().body, HELLO)
            self.assertEqual(connection.response().body, b"")

    def test_again_and_again(self):
        with self.connect() as connection:
            for _ in range(5):
                connection.send(request("/data.bin", headers=self.sized))
                self.assertEqual(connection.head().status, 100)
                connection.send(b"hello")
                self.assertEqual(connection.response().body, DATA)

    def test_after_the_answers_before_it(self):
        with self.connect() as connection:
            connection.send(request("/data.bin") + request("/hello.txt", headers=self.sized))
            self.assertEqual(connection.response().body, DATA)
            self.assertEqual(connection.head().status, 100)
            connection.send(b"hello" + NEXT)
            self.assertEqual(connection.response().body, HELLO)
            self.assertEqual(connection.response().body, b"")

    def test_what_is_refused_needs_no_body(self):
        """The answer comes at once, and the connection ends, for who knows what follows."""
        for status, method, headers in ((405, "PUT", self.sized), (405, "POST", self.chunked),
                                        (501, "BREW", self.sized),
                                        (413, "GET", ["Content-Length: 99999999", self.sized[1]]),
                                        (417, "GET", ["Content-Length: 5", "Expect: more"])):
            with self.subTest(status), self.connect() as connection:
                connection.send(request("/hello.txt", method, headers))
                self.assertEqual(connection.response().status, status)
                connection.expect_end()

    def test_who_leaves_anyway_need_not_send_it(self):
        with self.connect() as connection:
            connection.send(request("/hello.txt", headers=[*self.sized, "Connection: close"]))
            self.assertEqual(connection.response().body, HELLO)
            connection.expect_end()

    def test_bad_body_is_refused_all_the_same(self):
        with self.connect() as connection:
            connection.send(request("/hello.txt", headers=self.chunked))
            self.assertEqual(connection.head().status, 100)
            connection.send(b"nonsense\r\n")
            self.assertEqual(connection.response().status, 400)
            connection.expect_end()
        self.probe()

    def test_without_a_body_there_is_nothing_to_wait_for(self):
        for headers in (["Expect: 100-continue"], ["Content-Length: 0", "Expect: 100-continue"]):
            with self.connect() as connection:
                self.assertEqual(connection.ask("/hello.txt", headers=headers).body, HELLO)
                self.next_is_served(connection)

    def test_http_1_0_knows_no_100(self):
        with self.connect() as connection:
            connection.send(request("/hello.txt", headers=self.sized, version="HTTP/1.0"))
            connection.send(b"hello")
            self.assertEqual(connection.response().body, HELLO)

    def test_client_gone_while_it_was_to_go_on(self):
        before = self.server.fds()
        for _ in range(20):
            with self.connect() as connection:
                connection.send(request("/hello.txt", headers=self.sized))
        self.probe()
        support.wait_until(lambda: self.server.fds() <= before + self.server.spare_fds(), "closed")


class ContinueInTheClear(Continue):
    options = ("--poll", "--workers", "1")
    tls = False


class PlainOnTheTlsPort(support.ServerTest):
    """A readable answer for whoever took http:// for https://."""
    tls = True

    def send(self, data):
        with support.Connection(self.server.https_port) as connection:
            connection.send(data)
            response = connection.response()
            self.assertEqual((response.status, response["Content-Type"]),
                             (400, "text/html; charset=utf-8"))
            self.assertIn(b"https://", response.body)
            connection.expect_end()
        self.probe()

    def test_is_400(self):
        for method in ("GET", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PROPFIND"):
            with self.subTest(method):
                self.send(request("/hello.txt", method))
        self.send(request("localhost:1", "CONNECT"))
        self.send(b"GET / HTTP/1.0\r\n\r\n")
        self.send(request("/hello.txt?" + "x" * 6000))

    def test_with_a_body(self):
        self.send(request("/", "POST", ["Content-Length: 500000"]) + bytes(500_000))

    def test_pipelined_requests_get_one_answer(self):
        self.send(request("/hello.txt") * 100)

    def test_other_protocols_get_no_http(self):
        for data in (b"SSH-2.0-OpenSSH_9.2\r\n", b"EHLO localhost\r\n", bytes(100),
                     b"\x16\x03\x01\x00\x05hello", b"hello, this is no request\r\n\r\n"):
            with self.subTest(data[:8]), support.Connection(self.server.https_port) as connection:
                connection.send(data)
                connection.socket.shutdown(socket.SHUT_WR)
                while connection.receive():
                    pass
                self.assertNotIn(b"HTTP", connection.received)
            self.probe()

    def test_is_logged(self):
        self.send(request("/hello.txt"))
        self.assertTrue(any(b' "-" 400 ' in line for line in self.server.log_lines()))


class RedirectToHttps(support.ServerTest):
    options = ("--redirect-http",)

    def check(self, host, target, expected, method="GET", headers=(), version="HTTP/1.1"):
        with self.subTest((host, target, method)), self.connect() as connection:
            connection.send(request(target, method, headers, version, host))
            response = connection.response(method)
            self.assertEqual(response.status, 308)
            self.assertEqual(response["Location"],
                             expected.replace("PORT", str(self.server.https_port)))
            if method != "HEAD":
                self.assertIn(b"<a href=", response.body)

    def test_to_the_same_host_and_target(self):
        self.check("localhost", "/hello.txt", "https://localhost:PORT/hello.txt")
        self.check("example.com:8080", "/a%20b?c=d&e", "https://example.com:PORT/a%20b?c=d&e")
        self.check("[::1]:80", "/", "https://[::1]:PORT/")
        self.check("127.0.0.1", "/?", "https://127.0.0.1:PORT/")

    def test_of_every_method(self):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            self.check("localhost", "/x", "https://localhost:PORT/x", method)
        self.check("localhost", "*", "https://localhost:PORT/", "OPTIONS")

    def test_does_not_depend_on_what_is_there(self):
        for target in ("/nowhere", "/.secret", "/../outside.txt", "/%00", "//evil.example/",
                       "/sub", "/\\x"):
            self.check("localhost", target, "https://localhost:PORT" + target)

    def test_of_an_absolute_target(self):
        self.check("localhost", "http://example.com/x?y", "https://example.com:PORT/x?y")
        self.check("localhost", "http://example.com?y", "https://example.com:PORT/?y")

    def test_host_must_be_one(self):
        for host in (None, "a b", "a/b", "user@host", "a\"b", "<b>", "", "a:b"):
            with self.subTest(host), self.connect() as connection:
                connection.send(request("/x", host=host))
                self.assertEqual(connection.response().status, 400)
                connection.expect_end()

    def test_http_1_0_without_a_host(self):
        with self.connect() as connection:
            connection.send(b"GET /x HTTP/1.0\r\n\r\n")
            self.assertEqual(connection.response().status, 400)

    def test_keeps_the_connection(self):
        with self.connect() as connection:
            connection.send(request("/x", "POST", ["Content-Length: 5"]) + b"hello"
                            + request("/y"))
            self.assertEqual(connection.response().status, 308)
            self.assertRegex(connection.response()["Location"], "/y$")

    def test_leads_to_the_file(self):
        location = self.fetch("/hello.txt")["Location"]
        port, path = re.fullmatch(r"https://localhost:([0-9]+)(/.*)", location).groups()
        with support.Connection(int(port), tls=True) as connection:
            self.assertEqual(connection.ask(path).body, HELLO)


if __name__ == "__main__":
    unittest.main()
