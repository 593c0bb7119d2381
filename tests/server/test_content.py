"""Which bytes a file is sent as: several ranges, preconditions, precompressed siblings. All of it
over TLS; one range, and what it takes for 304, is in test_basic.py."""
import os
import re
import unittest

import support
from support import DATA, HELLO, OLD, OLD_DATE, request

BEFORE = "Sun, 09 Sep 2001 01:46:39 GMT"  # the site's files were changed, a second later
SIZE = len(DATA)


def parts_of(response):
    """The parts of a multipart/byteranges as (type, first, last, size, bytes), read strictly."""
    boundary = re.fullmatch(r"multipart/byteranges; boundary=([0-9A-Za-z'()+_,./:=?-]{1,70})",
                            response["Content-Type"])[1].encode()
    assert response["Content-Range"] is None, "the whole has no Content-Range"
    assert response.length == len(response.body)
    rest, parts = response.body, []
    while True:
        assert rest.startswith(b"\r\n--" + boundary), rest[:80]
        rest = rest[len(boundary) + 4:]
        if rest == b"--\r\n":
            return parts
        head, rest = rest[2:].split(b"\r\n\r\n", 1)
        fields = dict(line.decode().split(": ") for line in head.split(b"\r\n"))
        first, last, size = map(int, re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)",
                                                  fields.pop("Content-Range")).groups())
        parts.append((fields.pop("Content-Type"), first, last, size, rest[:last - first + 1]))
        assert not fields, fields
        rest = rest[last - first + 1:]


class Parts(support.ServerTest):
    """RFC 9110, 14: several ranges."""
    tls = True

    def parts(self, value, *expected, headers=(), target="/data.bin", content=DATA,
              media_type="application/octet-stream"):
        with self.subTest(value[:80]):
            response = self.fetch(target, headers=[f"Range: {value}", *headers])
            self.assertEqual(response.status, 206)
            self.assertEqual(parts_of(response), [
                (media_type, first, last, len(content), content[first:last + 1])
                for first, last in expected])
            return response

    def whole(self, value, *headers):
        response = self.fetch("/data.bin", headers=[f"Range: {value}", *headers])
        self.assertEqual((response.status, response["Content-Range"], response.body),
                         (200, None, DATA))

    def test_in_the_order_asked_for(self):
        response = self.parts("bytes=0-1,5-9", (0, 1), (5, 9))
        self.assertEqual(response["ETag"], self.fetch("/data.bin")["ETag"])
        self.assertEqual(response["Last-Modified"], OLD_DATE)
        self.parts("bytes=-10, 70000-79999 ,0-0", (SIZE - 10, SIZE - 1), (70000, 79999), (0, 0))
        self.parts("bytes=3-4,0-0", (3, 4), (0, 0), target="/hello.txt", content=HELLO,
                   media_type="text/plain; charset=utf-8")

    def test_ranges_that_overlap_are_sent_once(self):
        self.parts("bytes=50-59,0-9,5-19", (50, 59), (0, 19))

    def test_what_lies_behind_the_end_is_left_out(self):
        self.parts(f"bytes=0-0,{SIZE}-,9-9", (0, 0), (9, 9))
        response = self.fetch("/data.bin", headers=[f"Range: bytes={SIZE}-,-0"])
        self.assertEqual((response.status, response["Content-Range"]), (416, f"bytes */{SIZE}"))

    def test_sixteen_parts_at_most(self):
        ranges = [(i * 100, i * 100 + 9) for i in range(17)]
        self.parts("bytes=" + ",".join("%d-%d" % r for r in ranges[:16]), *ranges[:16])
        self.whole("bytes=" + ",".join("%d-%d" % r for r in ranges))

    def test_malformed_anywhere_is_ignored(self):
        for value in ("bytes=0-1,5", "bytes=0-1,9-5", "bytes=0-1,,x", "bytes=0-1;5-6"):
            self.whole(value)

    def test_two_fields_are_ignored(self):
        self.whole("bytes=0-1", "Range: bytes=5-6")

    def test_boundaries_differ(self):
        types = {self.fetch("/data.bin", headers=["Range: bytes=0-0,2-2"])["Content-Type"]
                 for _ in range(5)}
        self.assertEqual(len(types), 5)

    def test_head_ignores_them(self):
        response = self.fetch("/data.bin", "HEAD", ["Range: bytes=0-0,2-2"])
        self.assertEqual((response.status, response.length), (200, SIZE))

    def test_of_the_version_that_is_there(self):
        tag = self.fetch("/data.bin")["ETag"]
        self.parts("bytes=0-0,2-2", (0, 0), (2, 2), headers=[f"If-Range: {tag}"])
        self.whole("bytes=0-0,2-2", 'If-Range: "other"')
        self.whole("bytes=0-0,2-2", f"If-Range: W/{tag}")

    def test_keep_the_connection(self):
        with self.connect() as connection:
            connection.send(request("/data.bin", headers=["Range: bytes=0-0,90000-90009"]) * 3
                            + request("/hello.txt"))
            for _ in range(3):
                self.assertEqual(len(parts_of(connection.response())), 2)
            self.assertEqual(connection.response().body, HELLO)

    def test_beyond_4_gib(self):
        with open(self.site / "huge.bin", "wb") as file:  # sparse
            file.truncate(5 << 30)
            for at in (0, (1 << 32) - 1, (1 << 32) + 7):
                file.seek(at)
                file.write(b"x")
        response = self.fetch("/huge.bin", headers=[
            f"Range: bytes=0-1,{(1 << 32) - 2}-{1 << 32},{(1 << 32) + 7}-{(1 << 32) + 7},-2"])
        self.assertEqual([(first, content) for _, first, _, _, content in parts_of(response)],
                         [(0, b"x\0"), ((1 << 32) - 2, b"\0x\0"), ((1 << 32) + 7, b"x"),
                          ((5 << 30) - 2, b"\0\0")])

    def test_floods(self):
        """Never more than the whole and the heads of sixteen parts, and then all is as before."""
        for value in ("bytes=" + "0-," * 2000, "bytes=" + "-1," * 2000, "bytes=" + "," * 8000,
                      "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 3000, 2)),
                      "bytes=" + ",".join(f"{i}-{i + 5000}" for i in range(1500)),
                      "bytes=" + ",".join(f"{i}-" for i in range(1500)),
                      "bytes=0-" + "9" * 8000, "bytes=" + "5-," * 1000 + "x"):
            with self.subTest(value[:40]):
                response = self.fetch("/data.bin", headers=[f"Range: {value}"])
                self.assertIn(response.status, (200, 206, 416))
                self.assertLessEqual(len(response.body), SIZE + 16 * 200)
                self.probe()


class PartsWithPoll(Parts):
    options = ("--poll", "--workers", "1")
    tls = False


class Preconditions(support.ServerTest):
    """RFC 9110, 13.2.2: each step only when the ones before it let the request pass."""
    tls = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with support.Connection(cls.server.http_port) as connection:
            cls.tag = connection.ask("/hello.txt")["ETag"]

    def check(self, expected, *headers, target="/hello.txt"):
        with self.subTest(headers):
            for method in ("GET", "HEAD"):
                response = self.fetch(target, method, headers)
                self.assertEqual(response.status, expected)
            if expected == 412:
                self.assertIn("text/html", response["Content-Type"])

    def test_if_match(self):
        self.check(200, f"If-Match: {self.tag}")
        self.check(200, f'If-Match: "x", {self.tag}')
        self.check(200, 'If-Match: "x"', f"If-Match: {self.tag}")
        self.check(200, "If-Match: *")
        self.check(412, 'If-Match: "x"')
        self.check(412, "If-Match: nonsense")

    def test_if_match_compares_strongly(self):
        self.check(412, f"If-Match: W/{self.tag}")

    def test_if_match_of_what_is_not_there(self):
        self.check(404, "If-Match: *", target="/nowhere")
        self.check(301, 'If-Match: "x"', target="/sub")

    def test_if_unmodified_since(self):
        self.check(200, f"If-Unmodified-Since: {OLD_DATE}")
        self.check(412, f"If-Unmodified-Since: {BEFORE}")
        self.check(412, "If-Unmodified-Since: Sun Sep  9 01:46:39 2001")
        self.check(200, "If-Unmodified-Since: yesterday")

    def test_if_match_decides_alone(self):
        self.check(200, f"If-Match: {self.tag}", f"If-Unmodified-Since: {BEFORE}")
        self.check(412, 'If-Match: "x"', f"If-Unmodified-Since: {OLD_DATE}")

    def test_what_is_expected_comes_first(self):
        self.check(412, 'If-Match: "x"', f"If-None-Match: {self.tag}")
        self.check(304, f"If-Match: {self.tag}", f"If-None-Match: {self.tag}")
        self.check(412, f"If-Unmodified-Since: {BEFORE}", f"If-Modified-Since: {OLD_DATE}")
        self.check(304, f"If-Unmodified-Since: {OLD_DATE}", f"If-Modified-Since: {OLD_DATE}")
        self.check(412, 'If-Match: "x"', "Range: bytes=0-0")

    def test_range_comes_last(self):
        response = self.fetch("/hello.txt", headers=[f"If-Match: {self.tag}", "Range: bytes=0-0",
                                                     'If-None-Match: "x"'])
        self.assertEqual((response.status, response.body), (206, HELLO[:1]))
        self.check(304, f"If-None-Match: {self.tag}", "Range: bytes=0-0", f"If-Range: {self.tag}")

    def test_refusal_keeps_the_connection(self):
        with self.connect() as connection:
            connection.send(request("/hello.txt", headers=['If-Match: "x"']) * 2
                            + request("/hello.txt"))
            self.assertEqual([connection.response().status for _ in range(3)], [412, 412, 200])


class Precompressed(support.ServerTest):
    """RFC 9110, 12.5.3: page.html.br, .zst or .gz in place of page.html."""
    tls = True
    CODINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}

    @classmethod
    def make_site(cls):
        site = super().make_site()
        files = {"all.html": ("", ".br", ".zst", ".gz"), "one.css": ("", ".gz"),
                 "old.js": ("", ".gz"), "z/index.html": ("", ".br"), "alone.txt": (".gz",),
                 "folder.txt": ("",), "empty.txt": (".gz",)}
        for name, suffixes in files.items():
            for suffix in suffixes:
                path = site / (name + suffix)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(f"{name}{suffix} ".encode() * 100)
                os.utime(path, (OLD, OLD))
        os.utime(site / "old.js.gz", (OLD - 1, OLD - 1))
        (site / "folder.txt.gz").mkdir()
        (site / "hello.txt.zst").write_bytes(b"")
        return site

    def got(self, target, accept, *headers, method="GET"):
        """The response, checked; and the file that it is, by its suffix."""
        if accept is not None:
            headers = (f"Accept-Encoding: {accept}", *headers)
        response = self.fetch(target, method, headers)
        self.assertEqual(response.status, 200)
        suffix = self.CODINGS.get(response["Content-Encoding"], "")
        content = (self.site / (target[1:] + suffix)).read_bytes()
        if method == "GET":
            self.assertEqual(response.body, content)
        self.assertEqual(response.length, len(content))
        self.assertIsNone(response["Content-Range"])
        return response, suffix

    def test_by_weight(self):
        for accept, suffix in ((None, ""), ("", ""), ("gzip, deflate, br, zstd", ".br"),
                               ("gzip", ".gz"), ("zstd, gzip", ".zst"), ("GZip", ".gz"),
                               ("br;q=0.5, gzip;q=0.8", ".gz"), ("br;q=0, zstd;q=0, *", ".gz"),
                               ("*", ".br"), ("*;q=0", ""), ("identity", ""), ("deflate", ""),
                               ("gzip;q=0", ""), ("gzip;q=0.5, identity", ""),
                               ("identity;q=0.5, gzip;q=0.5", ".gz"), ("identity;q=0, *", ".br"),
                               ("identity;q=0, gzip;q=0.001", ".gz"), ("gzip;q=x", "")):
            with self.subTest(accept):
                response, got = self.got("/all.html", accept)
                self.assertEqual(got, suffix)
                self.assertEqual(response["Vary"], "Accept-Encoding")
                self.assertEqual(response["Content-Type"].lower(), "text/html; charset=utf-8")

    def test_what_there_is(self):
        self.assertEqual(self.got("/one.css", "br, gzip")[1], ".gz")
        self.assertEqual(self.got("/one.css", "br")[1], "")
        self.assertEqual(self.fetch("/alone.txt", headers=["Accept-Encoding: gzip"]).status, 404)

    def test_head(self):
        for accept in ("br", "gzip", "identity"):
            head, got = (self.got("/all.html", accept, method=m)[0] for m in ("HEAD", "GET"))
            head.headers.pop("date"), got.headers.pop("date")
            self.assertEqual(head.headers, got.headers)

    def test_index(self):
        response = self.fetch("/z/", headers=["Accept-Encoding: br"])
        self.assertEqual(response["Content-Encoding"], "br")
        self.assertEqual(response.body, (self.site / "z/index.html.br").read_bytes())

    def test_older_than_the_file(self):
        self.assertEqual(self.got("/old.js", "gzip")[1], "")
        self.assertIsNone(self.got("/old.js", "gzip")[0]["Vary"])

    def test_no_file(self):
        for name in ("/folder.txt", "/hello.txt", "/data.bin"):
            response, suffix = self.got(name, "gzip, br, zstd")
            self.assertEqual((suffix, response["Vary"]), ("", None))

    def test_each_has_its_own_tag(self):
        tags = {coding: self.got("/all.html", coding)[0]["ETag"]
                for coding in ("br", "zstd", "gzip", "identity")}
        self.assertEqual(len(set(tags.values())), 4)
        for coding, tag in tags.items():
            for other in tags:
                response = self.fetch("/all.html", headers=[f"Accept-Encoding: {other}",
                                                            f"If-None-Match: {tag}"])
                self.assertEqual(response.status, 304 if other == coding else 200)
                self.assertEqual(response["Vary"], "Accept-Encoding")

    def test_never_in_parts(self):
        for value in ("bytes=0-9", "bytes=0-1,5-6", "bytes=999999-"):
            response, suffix = self.got("/all.html", "gzip", f"Range: {value}")
            self.assertEqual((suffix, response["Accept-Ranges"]), (".gz", None))
        response = self.fetch("/all.html", headers=["Range: bytes=0-9"])
        self.assertEqual((response.status, response["Vary"]), (206, "Accept-Encoding"))

    def test_follows_the_files(self):
        (self.site / "new.txt").write_bytes(b"plain")
        self.assertEqual(self.got("/new.txt", "gzip")[1], "")
        (self.site / "new.txt.gz").write_bytes(b"compressed")
        support.wait_until(lambda: self.got("/new.txt", "gzip")[1] == ".gz", "the new one")
        (self.site / "new.txt").write_bytes(b"a later version")
        os.utime(self.site / "new.txt.gz", (OLD, OLD))
        self.assertEqual(self.got("/new.txt", "gzip")[1], "")
        (self.site / "new.txt.gz").unlink()
        support.wait_until(lambda: self.got("/new.txt", "gzip")[0]["Vary"] is None, "no other")


if __name__ == "__main__":
    unittest.main()
