"""What a hostile client sends. After every such input a fresh connection must be served, and the
answer's status and framing must be right: one answer to what is a request, none to what is not."""
import os
import unittest

import support
from support import DATA, HELLO, SECRET, request

HEAD_MAX = 16384        # bytes of a request line and its fields
TARGET_MAX = 8192       # bytes of a target
BODY_MAX = 1 << 20      # bytes of a body that is read to be dropped
NEXT = request("/empty.txt")  # what is smuggled in, or follows


class Hostile(support.ServerTest):
    def refused(self, raw, *statuses, name=None):
        """The bytes get one answer, with one of the statuses (400 unless told), and the connection
        ends; what follows on it is no request."""
        with self.subTest(name or raw[:80]):
            with self.connect() as connection:
                connection.send(raw + NEXT)
                response = connection.response()
                self.assertIn(response.status, statuses or (400,))
                self.assertEqual(response["Content-Type"].lower(), "text/html; charset=utf-8")
                connection.expect_end()
            self.probe()

    def answered(self, raw, *statuses, name=None, may_close=False):
        """The bytes are a request that gets one of the statuses (200 unless told), and the one
        that follows is answered in turn, or the connection ends where that is as good."""
        with self.subTest(name or raw[:80]):
            with self.connect() as connection:
                connection.send(raw + NEXT)
                response = connection.response()
                self.assertIn(response.status, statuses or (200,))
                self.assertNotIn(SECRET, response.body)
                if may_close and response.closes:
                    connection.expect_end()
                else:
                    following = connection.response()
                    self.assertEqual((following.status, following.body), (200, b""))
            self.probe()
            return response

    def not_found(self, *targets):
        """The targets name nothing that is served, and get no redirect to anywhere either."""
        for target in targets:
            with self.subTest(target):
                with self.connect() as connection:
                    response = connection.ask(target)
                    self.assertIn(response.status, (400, 403, 404))
                    self.assertNotIn(SECRET, response.body)
                    if not response.closes:
                        self.assertEqual(connection.ask("/hello.txt").body, HELLO)
                self.probe()


class Framing(Hostile):
    """Where a request ends must be beyond doubt: RFC 9112, 6.3 and 11.2."""

    def test_two_lengths(self):
        body = b"hello"
        for fields in (["Content-Length: 5", "Content-Length: 6"], ["Content-Length: 5, 6"],
                       ["Content-Length: 5", "X: y", "content-length: 0"]):
            self.refused(request("/hello.txt", headers=fields) + body)

    def test_two_equal_lengths_are_one_or_none(self):
        for fields in (["Content-Length: 5", "Content-Length: 5"], ["Content-Length: 5, 5"]):
            with self.subTest(fields), self.connect() as connection:
                connection.send(request("/hello.txt", headers=fields) + b"hello" + NEXT)
                if connection.response().status == 200:
                    self.assertEqual(connection.response().body, b"")
                else:
                    self.assertEqual(connection.last.status, 400)
                    connection.expect_end()

    def test_length_with_chunked(self):
        for fields in (["Content-Length: 5", "Transfer-Encoding: chunked"],
                       ["Transfer-Encoding: chunked", "Content-Length: 5"]):
            self.refused(request("/hello.txt", headers=fields) + b"0\r\n\r\n")

    def test_length_that_is_no_number(self):
        for value in ("", "-1", "+5", "0x5", "5a", "5 5", "5.0", "1e1", "five", '"5"', "5;", ",",
                      "5,"):
            self.refused(request("/hello.txt", headers=[f"Content-Length: {value}"]))

    def test_huge_length(self):
        for value in (BODY_MAX + 1, 2**31, 2**32, 2**32 + 5, 2**63 - 1, 2**63, 2**64, 2**64 + 5,
                      10**40):
            self.refused(request("/hello.txt", headers=[f"Content-Length: {value}"]), 400, 413)

    def test_unknown_transfer_coding(self):
        for value in ("gzip", "identity", "chunked, gzip", "gzip, chunked", "xchunked", "chunked-x",
                      "chunked, chunked", "", "chunked;q=1", "\x0bchunked", '"chunked"'):
            self.refused(request("/hello.txt", headers=[f"Transfer-Encoding: {value}"]), 400, 501)

    def test_two_transfer_codings(self):
        self.refused(request("/hello.txt", headers=["Transfer-Encoding: chunked",
                                                    "Transfer-Encoding: identity"]), 400, 501)
        self.refused(request("/hello.txt", headers=["Transfer-Encoding: identity",
                                                    "Transfer-Encoding: chunked"]), 400, 501)

    def test_chunked_in_http_1_0(self):
        self.refused(request("/hello.txt", headers=["Transfer-Encoding: chunked",
                                                    "Connection: keep-alive"],
                             version="HTTP/1.0") + b"0\r\n\r\n", 400, 501)

    def test_folded_field(self):
        self.refused(request("/hello.txt", headers=["X: a", " b"]))
        self.refused(request("/hello.txt", headers=["X: a", "\tb"]))
        self.refused(request("/hello.txt", headers=["Transfer-Encoding:", " chunked"]))

    def test_space_before_the_first_field(self):
        self.refused(b"GET /hello.txt HTTP/1.1\r\n Host: localhost\r\n\r\n")

    def test_bare_line_feed(self):
        self.refused(b"GET /hello.txt HTTP/1.1\nHost: localhost\n\n")
        self.refused(b"GET /hello.txt HTTP/1.1\r\nHost: localhost\n\r\n")
        self.refused(b"GET /hello.txt HTTP/1.1\nHost: localhost\r\n\r\n")
        self.refused(b"GET /hello.txt HTTP/1.1\r\nHost: localhost\r\nX: a\nY: b\r\n\r\n")

    def test_bare_carriage_return(self):
        self.refused(b"GET /hello.txt HTTP/1.1\r\nHost: localhost\r\nX: a\rY: b\r\n\r\n")
        self.refused(b"GET /hello.txt HTTP/1.1\rHost: localhost\r\n\r\n")
        self.refused(b"GET /hello.txt HTTP/1.1\r\r\nHost: localhost\r\n\r\n")
        self.refused(b"GET /hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\r\n\r\n")

    def test_space_before_the_colon(self):
        for line in ("Content-Length : 5", "Content-Length\t: 5", "Transfer-Encoding : chunked",
                     "X : y", "X\t: y"):
            self.refused(request("/hello.txt", headers=[line]))

    def test_line_that_is_no_field(self):
        for line in ("no colon", "X", ": no name", ":", "X(y): z", "X y: z", "X\"y: z", "X/y: z",
                     b"X\x7f: z", b"X\xe9: z", b"X\x00: z", b"\x00"):
            self.refused(request("/hello.txt", headers=[line]))

    def test_control_bytes_in_a_value(self):
        for value in (b"a\x00b", b"\x00", b"a\x01b", b"a\x08", b"a\x1fb", b"a\x7fb", b"a\x0bb"):
            self.refused(request("/hello.txt", headers=[b"X: " + value]))

    def test_odd_but_valid_fields(self):
        for line in (b"X:", b"X:    ", b"X:\ty\t", b"X: \xe9\xff", b"!#$%&'*+-.^_`|~09az: y",
                     b"X: a:b", b"Content-Length: 0", b"Content-Length:   0  ",
                     b"Content-Length: 00", b"Connection: ,,,", b"Connection: TE,,Keep-Alive",
                     b"Connection:"):
            self.answered(request("/hello.txt", headers=[line]))


class Bodies(Hostile):
    """A body that nobody asked for is dropped, and what follows is the next request."""
    chunked = ["Transfer-Encoding: chunked"]

    def test_body_of_a_get_is_dropped(self):
        for body in (b"x", b"hello", NEXT, b"\r\n\r\n" * 10, bytes(100_000)):
            self.answered(request("/hello.txt", headers=[f"Content-Length: {len(body)}"]) + body)

    def test_chunked_body_is_dropped(self):
        for body in (b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"000005\r\nhello\r\n000\r\n\r\n",
                     b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
                     b"%x\r\n%s\r\n0\r\n\r\n" % (len(NEXT), NEXT),
                     b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"):
            self.answered(request("/hello.txt", headers=self.chunked) + body)

    def test_name_of_the_coding_is_case_insensitive(self):
        self.answered(request("/hello.txt", headers=["TRANSFER-ENCODING: Chunked"])
                      + b"1\r\nx\r\n0\r\n\r\n")

    def test_chunk_extensions_are_dropped(self):
        self.answered(request("/hello.txt", headers=self.chunked)
                      + b"5;name=value\r\nhello\r\n5;a;b=\"c\"\r\nhello\r\n0;last\r\n\r\n")

    def test_trailers_are_dropped(self):
        self.answered(request("/hello.txt", headers=self.chunked)
                      + b"1\r\nx\r\n0\r\nX: y\r\nContent-Length: 5\r\n\r\n")

    def test_bad_chunks(self):
        for body in (b"g\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\nx\r\n0\r\n\r\n", b"\r\n",
                     b" 1\r\nx\r\n", b";\r\n", b"1 2\r\nx\r\n", b"1\nx\n0\n\n",
                     b"1\r\nx\n0\r\n\r\n", b"1\rx\r\n", b"1\r\nxy\r\n0\r\n\r\n", b"1\r\nx0\r\n\r\n",
                     b"5\r\nhel\r\n0\r\n\r\n", b"1;\x00\r\n", b"1;a\nb\r\nx\r\n0\r\n\r\n",
                     b"1\r\nx\r\n0\r\nX: y\n\r\n", b"ffffffffffffffff\r\n",
                     b"10000000000000000\r\n", b"fffffffffffffffffffff\r\n",
                     b"8000000000000000\r\n", b"7fffffffffffffff\r\n"):
            self.chunks_refused(body)

    def chunks_refused(self, body):
        """The answer waits for the end of the body, so it can be a refusal; it is the only one."""
        with self.subTest(body[:80]):
            with self.connect() as connection:
                connection.send(request("/hello.txt", headers=self.chunked) + body + NEXT)
                self.assertIn(connection.response().status, (400, 413))
                connection.expect_end()
            self.probe()

    def test_refusal_of_a_head_has_no_body(self):
        """RFC 9110, 9.3.2: whatever is wrong with it."""
        for raw in (request("/hello.txt", "HEAD", self.chunked) + b"nonsense\r\n",
                    request("/hello.txt", "HEAD", ["Content-Length: 99999999"]),
                    request("/hello.txt", "HEAD", ["X : y"]), request("/", "HEAD", host=None),
                    request("/", "HEAD", version="HTTP/2.0")):
            with self.subTest(raw), self.connect() as connection:
                connection.send(raw)
                self.assertIn(connection.response("HEAD").status, (400, 413, 505))
                connection.expect_end()

    def test_endless_chunk_line(self):
        self.chunks_refused(b"1;" + b"x" * 100_000 + b"\r\nx\r\n0\r\n\r\n")
        self.chunks_refused(b"0" * 100_000 + b"1\r\nx\r\n0\r\n\r\n")

    def test_endless_trailers(self):
        self.chunks_refused(b"0\r\n" + b"X: y\r\n" * 100_000 + b"\r\n")

    def test_largest_body(self):
        self.answered(request("/hello.txt", headers=[f"Content-Length: {BODY_MAX}"])
                      + bytes(BODY_MAX), name="length")
        self.answered(request("/hello.txt", headers=self.chunked)
                      + b"%x\r\n" % BODY_MAX + bytes(BODY_MAX) + b"\r\n0\r\n\r\n", name="chunked")

    def test_too_large_body_is_413(self):
        size = BODY_MAX + 1
        self.refused(request("/hello.txt", headers=[f"Content-Length: {size}"]) + bytes(size), 413)
        self.chunks_refused(b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n")
        self.chunks_refused((b"1000\r\n" + bytes(4096) + b"\r\n") * 257 + b"0\r\n\r\n")

    def test_expect_continue(self):
        with self.connect() as connection:
            connection.send(request("/hello.txt", headers=["Content-Length: 5",
                                                           "Expect: 100-continue"]))
            response = connection.head()
            if response.status == 100:
                connection.send(b"hello")
                response = connection.head()
            self.assertEqual(response.status, 200)
            self.assertEqual(connection.read(response.length), HELLO)

    def test_body_of_a_post_is_dropped(self):
        """With the connection or without: it is never taken for a request."""
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with self.subTest(method), self.connect() as connection:
                connection.send(request("/hello.txt", method, [f"Content-Length: {len(NEXT)}"])
                                + NEXT + request("/hello.txt"))
                self.assertEqual(connection.response().status, 405)
                if not connection.last.closes:
                    self.assertEqual(connection.response().body, HELLO)
                else:
                    connection.expect_end()
            self.probe()

    def test_client_gone_within_a_body(self):
        for raw in (request("/hello.txt", headers=["Content-Length: 100"]) + b"x",
                    request("/hello.txt", headers=self.chunked) + b"5\r\nhe"):
            with self.connect() as connection:
                connection.send(raw)
            self.probe()


class RequestLines(Hostile):
    def test_versions(self):
        for version in ("HTTP/1.10", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/11", "http/1.1",
                        "HTTP/1.1x", "HTTP/+1.1", "HTTP/1,1", "HTTP/1. 1", "HTTP/x.y", "HTTP",
                        "HTTP/", "HTTPS/1.1", "HTTP/1.1 HTTP/1.1", "XTTP/1.1", "\xb9"):
            self.refused(request("/hello.txt", version=version), 400, 505)
        for version in ("HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"):
            self.refused(request("/hello.txt", version=version), 505)

    def test_later_minor_version_is_served_as_1_1(self):
        for version in ("HTTP/1.2", "HTTP/1.9"):
            self.answered(request("/hello.txt", version=version), 200)

    def test_http_0_9(self):
        for line in (b"GET /hello.txt\r\n", b"GET /hello.txt\r\n\r\n", b"GET\r\n\r\n",
                     b"GET \r\n\r\n"):
            self.refused(line)

    def test_http_2_preface(self):
        self.refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 400, 505)

    def test_white_space(self):
        for line in (b"GET  /hello.txt HTTP/1.1", b"GET /hello.txt  HTTP/1.1",
                     b" GET /hello.txt HTTP/1.1", b"GET\t/hello.txt\tHTTP/1.1",
                     b"GET /hello.txt HTTP/1.1 ", b"GET /a b HTTP/1.1",
                     b"GET /hello.txt\x0bHTTP/1.1", b"GET /hello.txt \tHTTP/1.1"):
            self.refused(line + b"\r\nHost: localhost\r\n\r\n")

    def test_methods_that_change_things_are_405(self):
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
            for target in ("/hello.txt", "/plain/"):
                response = self.answered(request(target, method), 405)
                self.assertEqual(response["Allow"].replace(" ", ""), "GET,HEAD,OPTIONS")

    def test_unknown_method_is_501(self):
        for method in ("get", "Get", "GETX", "GE", "X", "M-SEARCH", "PROPFIND"):
            self.answered(request("/hello.txt", method), 501)
        self.answered(request("/hello.txt", "A" * 100), 501, may_close=True)

    def test_invalid_method(self):
        for method in ("G(T", "G\x00T", "G\x7fT", "GET,", "\"GET\"", "G\u00c9T", ""):
            self.refused(request("/hello.txt", method))

    def test_connect_opens_no_tunnel(self):
        for target in ("localhost:80", "example.com:443", "/hello.txt"):
            with self.subTest(target), self.connect() as connection:
                connection.send(request(target, "CONNECT"))
                self.assertIn(connection.response().status, (400, 405, 501))
            self.probe()

    def test_long_target_is_414(self):
        for size in (TARGET_MAX + 1, HEAD_MAX + 1, 10 * HEAD_MAX):
            self.refused(request("/" + "a" * (size - 1)), 414, name=size)
            self.refused(request("/hello.txt?" + "a" * (size - 11)), 414, name=f"query {size}")

    def test_longest_target(self):
        self.answered(request("/hello.txt?" + "a" * (TARGET_MAX - 11)), name="query")
        self.answered(request("/" + "a" * (TARGET_MAX - 1)), 404, name="name")
        self.answered(request("/" + "a/" * (TARGET_MAX // 2 - 1)), 404, name="folders")
        self.answered(request("/" + "./" * (TARGET_MAX // 2 - 6) + "hello.txt"), name="dots")

    def test_line_without_end(self):
        self.refused(b"GET /" + b"a" * 100_000, 414, 431, name="target")
        self.refused(b"A" * 100_000, 400, 414, 431, 501, name="method")

    def test_empty_lines_do_not_go_on_for_ever(self):
        self.refused(b"\r\n" * 20_000, 400, 414, 431)


class Fields(Hostile):
    def test_host_is_needed_once(self):
        for headers in ([], ["X: y"], ["Host: localhost", "Host: localhost"],
                        ["Host: a", "host: b"]):
            for _ in range(5):  # whatever the worker has parsed before
                self.refused(request("/hello.txt", host=None, headers=headers))

    def test_host_is_not_needed_in_http_1_0(self):
        with self.connect() as connection:
            connection.send(b"GET /hello.txt HTTP/1.0\r\n\r\n")
            self.assertEqual(connection.response().body, HELLO)

    def test_invalid_host(self):
        for host in ("a b", "a/b", "user@host", "host:port", "host:80:90", "[::1", "::1]",
                     "[::1]x", "a?b", "a#b", "<a>", "a\\b", "host:-1", "host:65536", "[::1]:x",
                     "\"a\"", "a^b",
                     "%zz"):
            self.refused(request("/hello.txt", host=host))

    def test_valid_hosts(self):
        for host in ("localhost", "LOCALHOST", "localhost:8443", "127.0.0.1", "127.0.0.1:1",
                     "[::1]", "[::1]:8443", "example.com", "example.com.", "a-b.c_d",
                     "xn--caf-dma.example", "localhost:"):
            self.answered(request("/hello.txt", host=host))

    def test_long_fields_are_431(self):
        for size in (HEAD_MAX, 10 * HEAD_MAX):
            self.refused(request("/hello.txt", headers=["X: " + "y" * size]), 431, name=size)
            self.refused(request("/hello.txt", headers=["y" * size + ": x"]), 431,
                         name=f"name {size}")

    def test_fields_without_end_are_431(self):
        self.refused(request("/hello.txt")[:-2] + b"X: y" + b"y" * 100_000, 431, name="one")
        self.refused(request("/hello.txt")[:-2] + b"X: y\r\n" * 20_000, 431, name="many")

    def test_largest_head(self):
        padding = HEAD_MAX - len(request("/hello.txt", headers=["X: "]))
        self.answered(request("/hello.txt", headers=["X: " + "y" * padding]), name="fits")
        self.refused(request("/hello.txt", headers=["X: y" + "y" * padding]), 431, name="does not")

    def test_101_fields_are_431(self):
        self.answered(request("/hello.txt", headers=["X: y"] * 99), name=100)
        self.refused(request("/hello.txt", headers=["X: y"] * 100), 431, name=101)

    def test_odd_values_of_known_fields(self):
        for line in ("Range: " + "bytes=" + "0-,"  * 2000, "If-None-Match: \"", "If-None-Match: W/",
                     "If-None-Match: " + "\"x\"," * 2000, "If-None-Match: \"a\" \"b\"",
                     "If-None-Match: ,", "If-Modified-Since: Sun, 09 Sep 99999 01:46:40 GMT",
                     "If-Range: \"", "If-Modified-Since: Sun, 09 Sep -001 01:46:40 GMT",
                     "Range: bytes=" + "9" * 5000, "Upgrade: h2c",
                     "Accept-Encoding: *;q=0", "Range: ,"):
            self.answered(request("/hello.txt", headers=[line]), 200, 304, 416)
        self.answered(request("/hello.txt", headers=["Expect: something"]), 200, 417,
                      may_close=True)


class Targets(Hostile):
    """Nothing outside the folder, nothing hidden, nothing that is no file."""

    def test_dot_segments_do_not_climb_out(self):
        self.not_found("/../outside.txt", "/../../../../../../etc/passwd", "/sub/../../outside.txt",
                       "/./../outside.txt", "/..", "/../", "/sub/../..", "/.../outside.txt",
                       "/../site/hello.txt", "/sub/../../site/hello.txt", "/..;/outside.txt")

    def test_encoded_dot_segments_do_not_climb_out(self):
        self.not_found("/%2e%2e/outside.txt", "/%2E%2E/outside.txt", "/.%2e/outside.txt",
                       "/sub/%2e%2e/%2e%2e/outside.txt", "/%252e%252e/outside.txt", "/%2e%2e",
                       "/%c0%ae%c0%ae/outside.txt", "/%e0%80%ae%e0%80%ae/outside.txt",
                       "/%uff0e%uff0e/outside.txt", "/..%00/outside.txt")

    def test_encoded_slashes(self):
        self.not_found("/..%2foutside.txt", "/..%2Foutside.txt", "/sub%2fpage.html",
                       "/%2fetc/passwd", "/%2e%2e%2foutside.txt", "/..%252foutside.txt",
                       "/%2f..%2foutside.txt", "/..%c0%afoutside.txt", "/sub/..%2f..%2foutside.txt")

    def test_backslashes(self):
        self.not_found("/..\\outside.txt", "/..%5coutside.txt", "/sub\\page.html",
                       "/sub%5Cpage.html", "/%5c..%5c..%5coutside.txt", "\\hello.txt",
                       "/C:\\windows\\win.ini")

    def test_nul(self):
        self.not_found("/hello.txt%00", "/hello.txt%00.html", "/%00", "/%00/hello.txt",
                       "/sub%00/../hello.txt", "/..%00/outside.txt")

    def test_control_bytes(self):
        self.not_found("/%0a", "/%0d%0aX:%20y", "/hello.txt%0d", "/%7f", "/%1b[31m",
                       "/hello.txt%09")

    def test_control_bytes_in_the_target(self):
        for target in (b"/\x00", b"/hello.txt\x00", b"/a\x01b", b"/\x7f", b"/a\tb"):
            self.refused(request(target))

    def test_raw_high_bytes(self):
        self.not_found(b"/caf\xc3\xa9-nowhere", b"/\xff\xfe", b"/\x80")

    def test_invalid_utf_8(self):
        self.not_found("/%ff", "/%c3", "/%c3%28", "/%80", "/%c0%80", "/%ed%a0%80", "/%f4%90%80%80",
                       "/%f8%88%80%80%80", "/%e2%28%a1", "/hello%c1%b4xt")

    def test_bad_percent_encoding(self):
        self.not_found("/%", "/%4", "/%zz", "/hello.txt%", "/%4g", "/%%34%31", "/%-1", "/%4%31")

    def test_double_slashes(self):
        for target in ("//hello.txt", "///hello.txt", "/sub//page.html", "//sub///page.html"):
            with self.subTest(target):
                self.assertIn(self.fetch(target).status, (200, 301, 400, 404))
                self.probe()
        self.not_found("//../outside.txt", "//etc/passwd", "/sub//../../outside.txt",
                       "////../outside.txt")

    def test_absolute_form(self):
        for target in ("http://localhost/hello.txt", "https://localhost/hello.txt",
                       "HTTP://example.com:80/hello.txt", "http://[::1]/hello.txt?x"):
            self.answered(request(target))
        self.answered(request("http://localhost"))
        self.answered(request("http://localhost?x"))

    def test_absolute_form_does_not_climb_out(self):
        self.not_found("http://localhost/../outside.txt", "http://localhost/%2e%2e/outside.txt",
                       "http:///hello.txt", "http://", "http:", "http:/hello.txt",
                       "http://[::1/hello.txt", "file:///etc/passwd", "ftp://localhost/hello.txt",
                       "http://u:p@localhost/nowhere")

    def test_other_forms(self):
        self.not_found("hello.txt", "localhost:80", "*", "**", "?/hello.txt", "..",
                       "../outside.txt", "./hello.txt")

    def test_fragment_is_no_part_of_a_target(self):
        self.not_found("/hello.txt#x", "/#", "#")

    def test_hidden_names_are_404(self):
        for target in ("/.secret", "/.git/config", "/.git/", "/.git", "/sub/.htpasswd",
                       "/%2esecret", "/%2Egit/config", "/sub/%2ehtpasswd", "/./.secret",
                       "/sub/../.secret", "/plain/.hidden"):
            self.assertEqual(self.fetch(target).status, 404, target)

    def test_symbolic_links_do_not_lead_out(self):
        self.not_found("/link-out", "/link-out-dir", "/link-out-dir/", "/link-out-dir/file.txt",
                       "/link-absolute-out", "/link-device", "/mixed/link-out")

    def test_broken_links(self):
        self.not_found("/link-loop", "/link-loop/", "/link-loop/x", "/link-nowhere")

    def test_fifo_is_refused_without_blocking(self):
        for method in ("GET", "HEAD"):
            for target in ("/fifo", "/mixed/fifo", "/fifo.html", "/fifo/", "/fifo/x"):
                with self.subTest(target):
                    self.assertIn(self.fetch(target, method).status, (403, 404))
                    self.probe()

    def test_socket_is_refused(self):
        self.not_found("/socket")

    def test_name_too_long(self):
        self.not_found("/" + "a" * 300, "/" + "a" * 255 + "/x", "/" + "a/" * 3000)

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_unreadable_is_403(self):
        (self.site / "unreadable.txt").write_bytes(SECRET)
        (self.site / "unreadable.txt").chmod(0)
        (self.site / "closed").mkdir()
        (self.site / "closed/file.txt").write_bytes(SECRET)
        (self.site / "closed").chmod(0)
        self.addCleanup((self.site / "closed").chmod, 0o700)
        for target in ("/unreadable.txt", "/closed/", "/closed/file.txt"):
            self.assertEqual(self.fetch(target).status, 403)


class TargetsWithFollow(Hostile):
    options = ("--follow",)

    def test_symbolic_links_may_lead_out(self):
        for target in ("/link-out", "/link-out-dir/file.txt", "/link-absolute-out"):
            self.assertEqual(self.fetch(target).body, SECRET, target)

    def test_links_in_the_folder_still_work(self):
        self.assertEqual(self.fetch("/link-in").body, HELLO)

    def test_dot_segments_still_do_not_climb_out(self):
        self.not_found("/../outside.txt", "/%2e%2e/outside.txt", "/link-out-dir/../../outside.txt",
                       "/link-out-dir/../outside.txt")

    def test_what_is_no_file_is_still_refused(self):
        self.not_found("/link-device", "/fifo", "/socket", "/link-loop", "/link-nowhere",
                       "/.secret")


class Delivery(Hostile):
    """However the bytes come, the requests are the same."""

    def test_byte_by_byte(self):
        raw = request("/hello.txt", headers=["Content-Length: 3", "X: y"]) + b"abc" + request(
            "/data.bin", headers=["Transfer-Encoding: chunked"]) + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"
        with self.connect() as connection:
            for byte in raw:
                connection.send(bytes([byte]))
            self.assertEqual(connection.response().body, HELLO)
            self.assertEqual(connection.response().body, DATA)

    def test_cut_at_every_place(self):
        raw = request("/hello.txt", headers=["Content-Length: 3"]) + b"abc"
        for at in range(1, len(raw), 10 if support.SLOW else 1):
            with self.connect() as connection:
                connection.send(raw[:at])
                connection.send(raw[at:])
                self.assertEqual(connection.response().body, HELLO)

    def test_client_gone_within_a_request(self):
        raw = request("/hello.txt", headers=["Content-Length: 3"]) + b"abc"
        for at in range(0, len(raw), 7):
            with self.connect() as connection:
                connection.send(raw[:at])
        self.probe()

    def test_client_gone_before_the_response(self):
        before = self.server.fds()
        for _ in range(20):
            with self.connect() as connection:
                connection.send(request("/data.bin") * 20)
        self.probe()
        support.wait_until(lambda: self.server.fds() <= before + self.server.spare_fds(),
                           "descriptors closed")

    def test_garbage_after_a_good_request(self):
        for garbage in (b"\x16\x03\x01\x02\x00\x01\x00" + bytes(100) + b"\r\n\r\n",
                        b"GET\r\n\r\n", b"\xff" * 1000 + b"\r\n\r\n", b"{}\r\n\r\n"):
            with self.subTest(garbage[:20]):
                with self.connect() as connection:
                    connection.send(request("/hello.txt") + garbage + NEXT)
                    self.assertEqual(connection.response().body, HELLO)
                    self.assertEqual(connection.response().status, 400)
                    connection.expect_end()
                self.probe()

    def test_garbage_alone(self):
        for garbage in (bytes(1000), b"\xff" * 100_000, b"SSH-2.0-OpenSSH_9.2\r\n",
                        b"EHLO localhost\r\n", b"*1\r\n$4\r\nPING\r\n", b"\r\n\r\n\r\nX\r\n\r\n",
                        support.DATA):
            self.refused(garbage + b"\r\n\r\n", 400, 414, 431, 501, name=garbage[:20])

    def test_bad_request_disturbs_no_other_connection(self):
        with self.connect() as other:
            self.assertEqual(other.ask("/hello.txt").body, HELLO)
            other.send(request("/data.bin")[:20])
            self.refused(b"garbage\r\n\r\n")
            other.send(request("/data.bin")[20:])
            self.assertEqual(other.response().body, DATA)

    def test_error_page_arrives_though_the_client_goes_on_sending(self):
        for raw in (b"garbage\r\n\r\n" + bytes(1_500_000),
                    request("/", headers=["Content-Length: 1500000"]) + bytes(1_500_000)):
            with self.subTest(raw[:40]), self.connect() as connection:
                connection.send(raw)
                self.assertIn(connection.response().status, (400, 413))
                connection.expect_end()


class FramingOverTls(Framing):
    tls = True


class BodiesOverTls(Bodies):
    tls = True


class RequestLinesOverTls(RequestLines):
    tls = True


class TargetsOverTls(Targets):
    tls = True


class FieldsWithPoll(Fields):
    options = ("--poll",)
    tls = True


class DeliveryOverTls(Delivery):
    tls = True


class DeliveryWithPoll(Delivery):
    options = ("--poll", "--workers", "2")


if __name__ == "__main__":
    unittest.main()
