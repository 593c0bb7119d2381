"""What options add to answers: fields, caching, pages for errors and applications, over TLS."""
import base64
import hashlib
import os
import signal
import unittest

import support
from support import DATA, HELLO, Connection, Server, request, run_server, wait_until


class Fields(support.ServerTest):
    options = ("--header", "X-Frame-Options: DENY", "--header", "X-Empty-No:\ta b ",
               "--header=Content-Security-Policy:default-src *", "--hsts", "--http-port=0")
    tls = True
    EVERY = (("/hello.txt", "GET", ()), ("/hello.txt", "HEAD", ()), ("/plain/", "GET", ()),
             ("/nowhere", "GET", ()), ("/sub", "GET", ()), ("/", "POST", ()), ("/", "OPTIONS", ()),
             ("/hello.txt", "GET", ("If-None-Match: *",)),
             ("/data.bin", "GET", ("Range: bytes=0-1",)),
             ("/data.bin", "GET", ("Range: bytes=0-1,5-6",)),
             ("/data.bin", "GET", ("Range: bytes=-0",)),
             ("/hello.txt", "GET", ('If-Match: "x"',)), ("/%", "GET", ()), ("/x", "BREW", ()))

    def test_every_answer_has_them(self):
        for target, method, headers in self.EVERY:
            with self.subTest((target, method, headers)):
                response = self.fetch(target, method, headers)
                self.assertEqual(response["X-Frame-Options"], "DENY")
                self.assertEqual(response["X-Empty-No"], "a b")
                self.assertEqual(response["Content-Security-Policy"], "default-src *")
                self.assertEqual(response["Strict-Transport-Security"], "max-age=31536000")

    def test_refusals_too(self):
        with self.connect() as connection:
            connection.send(b"garbage\r\n\r\n")
            self.assertEqual(connection.response()["X-Frame-Options"], "DENY")

    def test_no_hsts_in_the_clear(self):
        for port in (self.server.http_port, self.server.https_port):
            with support.Connection(port) as connection:
                response = connection.ask("/hello.txt")
                self.assertEqual(response["X-Frame-Options"], "DENY")
                self.assertIsNone(response["Strict-Transport-Security"])


class BadValues(unittest.TestCase):
    def test_are_refused_at_start(self):
        for option, value in (("--header", "X"), ("--header", "X: a\r\nSet-Cookie: b"),
                              ("--header", "X: a\nb"), ("--header", "a b: c"),
                              ("--header", "Content-Length: 5"), ("--header", "Date: x"),
                              ("--header", "Transfer-Encoding: chunked"), ("--cors", "example.com"),
                              ("--cors", "https://a/\r\nX: y"), ("--cache-control", "*.css"),
                              ("--cache-control", "*:a\r\nX: y"), ("--error-page", "404"),
                              ("--error-page", "304=x.html"), ("--error-page", "abc=x.html")):
            with self.subTest((option, value)):
                code, out, error = run_server(option, value, ".")
                self.assertEqual((code, out, error.count("\n")), (2, "", 1))
                self.assertIn(option, error)


def basic(name, password):
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Passwords(support.ServerTest):
    """RFC 7617."""
    SALT = "00112233445566778899aabbccddeeff"
    KEY = hashlib.pbkdf2_hmac("sha256", b"s\xc3\xa4:cret", bytes.fromhex(SALT), 2000).hex()
    warning = "--auth: over plain HTTP"
    options = ("--auth", "ann:" + hashlib.sha256(b"secret").hexdigest(),
               "--auth", f"b\u00f6b:pbkdf2:2000:{SALT}:{KEY}", "--workers", "2")
    tls = True

    def status(self, *headers, target="/hello.txt", method="GET"):
        response = self.fetch(target, method, headers)
        if response.status == 401:
            self.assertEqual(response["WWW-Authenticate"],
                             'Basic realm="mmserve", charset="UTF-8"')
            self.assertIn(b"401 Unauthorized", response.body if method != "HEAD" else b"401 Una"
                          b"uthorized")
        else:
            self.assertIsNone(response["WWW-Authenticate"])
        return response.status

    def probe(self):
        self.assertEqual(self.status(basic("ann", "secret")), 200)

    def test_those_who_may(self):
        for user, password in (("ann", "secret"), ("b\u00f6b", "s\u00e4:cret")) * 3:
            for method in ("GET", "HEAD"):
                self.assertEqual(self.status(basic(user, password), method=method), 200)

    def test_others(self):
        for user, password in (("ann", "Secret"), ("ann", ""), ("", "secret"), ("", ""),
                               ("b\u00f6b", "secret"), ("eve", "secret"), ("ann ", "secret"),
                               ("ANN", "secret"), ("ann", "secret\0"), ("b\u00f6b", "s\u00e4")):
            self.assertEqual(self.status(basic(user, password)), 401)
        self.probe()

    def test_nothing_is_told_to_others(self):
        for target in ("/hello.txt", "/nowhere", "/plain/", "/sub", "/.secret", "/../x", "/%00"):
            for method in ("GET", "HEAD", "POST", "OPTIONS", "BREW"):
                with self.subTest((method, target)):
                    self.assertEqual(self.status(target=target, method=method), 401)

    def test_malformed(self):
        good = basic("ann", "secret")
        for field in ("Authorization:", "Authorization: Basic", "Authorization: Basic !!!",
                      good.replace("Basic", "Bearer"), good.replace("Basic ", ""), good[:-1],
                      good + "=", good + " x", "Authorization: Basic " + "QUFB" * 2000,
                      "Authorization: Digest username=\"ann\""):
            with self.subTest(field[:60]):
                self.assertEqual(self.status(field), 401)
        self.assertEqual(self.status(good, good), 401)
        self.probe()

    def test_each_request_needs_it(self):
        with self.connect() as connection:
            good = basic("ann", "secret")
            connection.send(request("/hello.txt") + request("/hello.txt", headers=[good])
                            + request("/hello.txt") + request("/hello.txt", headers=[good]))
            self.assertEqual([connection.response().status for _ in range(4)],
                             [401, 200, 401, 200])

    def test_plain_http_too(self):
        with support.Connection(self.server.http_port) as connection:
            self.assertEqual(connection.ask("/hello.txt").status, 401)
            self.assertEqual(connection.ask("/hello.txt", headers=[basic("ann", "secret")]).body,
                             HELLO)

    def test_bad_hashes_are_refused_at_start(self):
        for value in ("ann", "ann:", "ann:secret", ":" + "0" * 64, "ann:pbkdf2:1:00:00"):
            code, _, error = run_server("--auth", value, ".")
            self.assertEqual((code, error.count("\n")), (2, 1))


class Guessing(support.ServerTest):
    """A server of its own: it has no time for others who have yet to show a password."""
    options = Passwords.options
    warning = Passwords.warning
    tls = True

    def test_floods_of_guesses(self):
        """They are refused, one way or the other; who is known is served all the time."""
        with self.connect() as connection:
            good = basic("b\u00f6b", "s\u00e4:cret")
            self.assertEqual(connection.ask("/", headers=[good]).status, 200)
            guesses = [basic("b\u00f6b", f"guess {i}") for i in range(1000)]
            connection.send(b"".join(request("/hello.txt", headers=[g]) for g in guesses)
                            + request("/hello.txt", headers=[good]))
            for _ in guesses:
                self.assertIn(connection.response().status, (401, 429))
            self.assertEqual(connection.response().body, HELLO)
        self.assertEqual(self.fetch("/hello.txt", headers=[basic("ann", "secret")]).body, HELLO)


class PasswordsAcrossSites(support.ServerTest):
    warning = "--auth: over plain HTTP"
    options = ("--cors", "*", "--auth", "ann:" + hashlib.sha256(b"secret").hexdigest())
    tls = True

    def test_preflight_needs_none(self):
        response = self.fetch("/hello.txt", "OPTIONS")
        self.assertEqual(response.status, 204)
        self.assertIn("Authorization", response["Access-Control-Allow-Headers"].split(", "))
        self.assertEqual(self.fetch("/hello.txt").status, 401)
        self.assertEqual(self.fetch("/hello.txt")["Access-Control-Allow-Origin"], "*")


class Cors(support.ServerTest):
    options = ("--cors", "https://example.com:8443")
    tls = True

    def test_every_answer_allows_it(self):
        for target, method, headers in Fields.EVERY:
            with self.subTest((target, method)):
                response = self.fetch(target, method, ["Origin: https://other.example", *headers])
                self.assertEqual(response["Access-Control-Allow-Origin"],
                                 "https://example.com:8443")

    def test_what_scripts_may_read(self):
        exposed = self.fetch("/data.bin")["Access-Control-Expose-Headers"]
        self.assertLessEqual({"ETag", "Content-Range", "Accept-Ranges"}, set(exposed.split(", ")))

    def test_preflight(self):
        response = self.fetch("/data.bin", "OPTIONS", [
            "Origin: https://example.com:8443", "Access-Control-Request-Method: GET",
            "Access-Control-Request-Headers: range"])
        self.assertEqual(response.status, 204)
        self.assertIn("GET", response["Access-Control-Allow-Methods"].split(", "))
        self.assertIn("Range", response["Access-Control-Allow-Headers"].split(", "))
        self.assertEqual(response["Access-Control-Max-Age"], "7200")


class CorsForAll(support.ServerTest):
    options = ("--cors=*",)
    tls = True

    def test_every_site(self):
        self.assertEqual(self.fetch("/hello.txt")["Access-Control-Allow-Origin"], "*")
        self.assertIsNone(self.fetch("/hello.txt")["Vary"])


class WithoutOptions(support.ServerTest):
    tls = True

    def test_nothing_is_added(self):
        response = self.fetch("/hello.txt")
        self.assertFalse({"access-control-allow-origin", "strict-transport-security",
                          "cache-control", "vary", "server"} & set(response.headers))


class CacheControl(support.ServerTest):
    options = ("--cache-control", "/types/*.js: public, max-age=31536000, immutable",
               "--cache-control=*.js:max-age=60", "--cache-control", "index.html:no-cache",
               "--cache-control", "data.???:private")
    tls = True

    def test_the_first_that_fits_counts(self):
        for target, expected in (("/types/script.js", "public, max-age=31536000, immutable"),
                                 ("/types/style.css", None), ("/", "no-cache"),
                                 ("/sub/", "no-cache"), ("/data.bin", "private"),
                                 ("/types/data.json", None), ("/hello.txt", None)):
            with self.subTest(target):
                self.assertEqual(self.fetch(target)["Cache-Control"], expected)

    def test_with_every_status_of_the_file(self):
        for status, headers in ((200, []), (304, ["If-None-Match: *"]),
                                (206, ["Range: bytes=0-1"])):
            response = self.fetch("/data.bin", headers=headers)
            self.assertEqual((response.status, response["Cache-Control"]), (status, "private"))
        self.assertIsNone(self.fetch("/nowhere.js")["Cache-Control"])


class Application(support.ServerTest):
    options = ("--spa", "--no-listing")
    tls = True
    INDEX = b"<!DOCTYPE html><title>root</title>\n"

    def test_addresses_of_nothing_are_its_own(self):
        for target in ("/users/7", "/users/7/", "/nowhere?x=y", "/v1.2/users", "/hello.txt/x"):
            with self.subTest(target):
                response = self.fetch(target)
                self.assertEqual((response.status, response.body), (200, self.INDEX))
                self.assertEqual(response["Content-Type"].lower(), "text/html; charset=utf-8")
                self.assertEqual(self.fetch(target, "HEAD").length, len(self.INDEX))
                self.assertEqual(self.fetch(target, headers=["If-None-Match: *"]).status, 304)

    def test_what_looks_like_a_file_is_missing(self):
        for target in ("/app.js", "/users/photo.jpeg", "/.env", "/.git/config"):
            self.assertEqual(self.fetch(target).status, 404)

    def test_what_is_there_is_served(self):
        self.assertEqual(self.fetch("/hello.txt").body, HELLO)
        self.assertEqual(self.fetch("/sub/").body, b"<!DOCTYPE html><title>sub</title>\n")
        self.assertEqual(self.fetch("/sub").status, 301)
        self.assertEqual(self.fetch("/plain/").status, 403)

    def test_what_is_wrong_stays_wrong(self):
        for target, status in (("/../x", 400), ("/%00", 400), ("/%ff", 400), ("/fifo", 403)):
            self.assertEqual(self.fetch(target).status, status)
        self.assertEqual(self.fetch("/users/7", "POST").status, 405)


class ErrorPages(support.ServerTest):
    tls = True

    @classmethod
    def setUpClass(cls):
        folder = support.temporary_folder(cls.addClassCleanup)
        page = folder / "bad.txt"
        page.write_bytes(b"That was bad.\n")
        cls.options = ("--error-page", "404=/errors/404.html", "--error-page", f"400={page}",
                       "--error-page", "416=errors/404.html", "--error-page=403=empty.txt")
        super().setUpClass()

    @classmethod
    def make_site(cls):
        site = super().make_site()
        (site / "errors").mkdir()
        (site / "errors/404.html").write_bytes(b"<h1>Lost?</h1>\n")
        return site

    def check(self, target, status, body, media_type, *headers):
        for method in ("GET", "HEAD"):
            with self.subTest((target, method)):
                response = self.fetch(target, method, headers)
                if method == "HEAD" and headers:
                    continue  # no ranges of that
                self.assertEqual((response.status, response["Content-Type"]), (status, media_type))
                self.assertEqual(response.length, len(body))
                self.assertEqual(response.body, body if method == "GET" else b"")
                self.assertEqual(response["X-Content-Type-Options"], "nosniff")
                return response

    def test_stand_for_ours(self):
        html = "text/html; charset=utf-8"
        self.check("/nowhere", 404, b"<h1>Lost?</h1>\n", html)
        self.check("/.secret", 404, b"<h1>Lost?</h1>\n", html)
        self.check("/%", 400, b"That was bad.\n", "text/plain; charset=utf-8")
        self.check("/fifo", 403, b"", "text/plain; charset=utf-8")

    def test_keep_the_fields_of_the_status(self):
        response = self.fetch("/data.bin", headers=["Range: bytes=-0"])
        self.assertEqual((response.status, response.body), (416, b"<h1>Lost?</h1>\n"))
        self.assertEqual(response["Content-Range"], f"bytes */{len(DATA)}")
        self.assertIsNone(response["ETag"])

    def test_of_refusals(self):
        with self.connect() as connection:
            connection.send(b"garbage\r\n\r\n")
            response = connection.response()
            self.assertEqual((response.status, response.body), (400, b"That was bad.\n"))
            connection.expect_end()

    def test_others_stay_ours(self):
        self.assertIn(b"405 Method Not Allowed", self.fetch("/", "POST").body)

    def test_keep_the_connection(self):
        with self.connect() as connection:
            connection.send(request("/nowhere") * 3 + request("/hello.txt"))
            self.assertEqual([connection.response().status for _ in range(4)],
                             [404, 404, 404, 200])

    def test_hangup_reads_them_again(self):
        """Under load: each answer is one of the pages, and whole."""
        bad = self.folder / "page.txt"
        bad.write_bytes(b"0")
        options = ["--error-page", "404=/errors/404.html", "--error-page", f"400={bad}",
                   "--workers", 3]
        pages = [b"%d" % i * 100_000 for i in range(10)]
        with Server(self.site, *options) as server, \
                Connection(server.https_port, True) as connection:
            others = [Connection(server.http_port) for _ in range(6)]
            self.addCleanup(lambda: [other.close() for other in others])
            for page in pages:
                (self.site / "errors/404.html").write_bytes(page)
                bad.write_bytes(page[:1])
                os.kill(server.pid, signal.SIGHUP)
                wait_until(lambda: connection.ask("/nowhere").body == page, "the new page")
                for other in others:
                    other.send(request("/nowhere") * 2)
                for other in others:
                    self.assertIn(other.response().body, pages)
                    self.assertIn(other.response().body, pages)
                self.assertEqual(connection.ask("/%ff").body, page[:1])
            (self.site / "errors/404.html").unlink()
            os.mkfifo(self.site / "errors/404.html")
            os.kill(server.pid, signal.SIGHUP)
            server.complaint("--error-page 404=/errors/404.html: .*the pages in use stay\n")
            self.assertEqual(connection.ask("/nowhere").body, pages[-1])
            self.assertEqual(others[0].ask("/nowhere").body, pages[-1])
        (self.site / "errors/404.html").unlink()
        (self.site / "errors/404.html").write_bytes(b"<h1>Lost?</h1>\n")

    def test_page_that_cannot_be_read_is_told_at_start(self):
        code, _, error = run_server("--error-page", "404=nowhere.html", self.site)
        self.assertEqual((code, error.count("\n")), (1, 1))
        self.assertIn("404=nowhere.html", error)


if __name__ == "__main__":
    unittest.main()
