"""Answers that are kept ready in memory: the same as those made of the file, for whoever asks, and
never another's or an older one's. Files that have just been changed are not kept, so the site is
let settle first; what is tested holds whether an answer comes from memory or not."""
import base64
import hashlib
import os
import random
import time
import unittest

import support
from support import Server, request, wait_until

PAGE = b"<!DOCTYPE html><title>page</title>\n"
SIZES = (0, 1, 1000, 4000, 5000, 16000, 16384, 20000, 65536, 65537, 90000)


def content_of(number, size):
    """What no other file has, wherever it is looked at."""
    return (b"%07d\n" % number * (size // 8 + 1))[:size]


class ReadyTest(support.ServerTest):
    """A site that has settled."""
    @classmethod
    def make_site(cls):
        site = super().make_site()
        for i in range(200):
            (site / f"file{i}").write_bytes(content_of(i, SIZES[i % len(SIZES)]))
        (site / "page.html").write_bytes(PAGE)
        (site / "page.html.br").write_bytes(b"brotli")
        (site / "page.html.gz").write_bytes(b"gzip")
        for name in ("changing", "removed", "rewritten"):
            (site / name).write_bytes(content_of(1, 5000))
        time.sleep(3.1)
        return site

    def same(self, target, method="GET", headers=(), version="HTTP/1.1"):
        """The answer, which is the same each time but for its date."""
        first = self.fetch(target, method, headers, version)
        for _ in range(3):
            again = self.fetch(target, method, headers, version)
            first.headers["date"] = again["Date"]
            self.assertEqual((again.status, again.headers, again.body),
                             (first.status, first.headers, first.body))
        return first


class Ready(ReadyTest):
    options = ("--hsts", "--header", "X-Every: yes", "--cors", "*", "--cache-control",
               "*.html:no-cache", "--workers", "1")

    def test_every_size(self):
        for i in range(len(SIZES)):
            response = self.same(f"/file{i}")
            self.assertEqual(response.body, content_of(i, SIZES[i]))
            self.assertEqual((response["X-Every"], response["Access-Control-Allow-Origin"]),
                             ("yes", "*"))

    def test_head(self):
        for target in ("/file2", "/file6"):
            got, head = self.same(target), self.same(target, "HEAD")
            got.headers.pop("date"), head.headers.pop("date")
            self.assertEqual((head.headers, head.body), (got.headers, b""))

    def test_conditions_and_ranges_come_first(self):
        got = self.same("/file4")
        tag, since = got["ETag"], got["Last-Modified"]
        for fields, status in (([f"If-None-Match: {tag}"], 304), (['If-None-Match: "x"'], 200),
                               (['If-Match: "x"'], 412), ([f"If-Match: {tag}"], 200),
                               ([f"If-Modified-Since: {since}"], 304),
                               (["Range: bytes=10-19"], 206), (["Range: bytes=0-0,9-9"], 206),
                               (["Range: bytes=9999999-"], 416)):
            response = self.fetch("/file4", headers=fields)
            self.assertEqual(response.status, status, fields)
            self.assertEqual(self.fetch("/file4").body, got.body)
        self.assertEqual(self.fetch("/file4", headers=["Range: bytes=10-19"]).body, got.body[10:20])

    def test_codings(self):
        bodies = {"br": b"brotli", "gzip": b"gzip", "identity": PAGE, "zstd": PAGE}
        wait_until(lambda: self.fetch("/page.html", headers=["Accept-Encoding: br"]).body
                   == b"brotli", "the precompressed file")
        order = list(bodies) * 5
        random.Random(1).shuffle(order)
        for coding in order:
            response = self.fetch("/page.html", headers=[f"Accept-Encoding: {coding}"])
            self.assertEqual(response.body, bodies[coding])
            self.assertEqual(response["Content-Encoding"],
                             None if bodies[coding] == PAGE else coding)
            self.assertEqual((response["Vary"], response["Cache-Control"]),
                             ("Accept-Encoding", "no-cache"))

    def test_new_neighbours_are_seen(self):
        page = self.site / "sub" / "page.html"
        self.assertIsNone(self.same("/sub/page.html")["Vary"])
        (self.site / "sub" / "page.html.gz").write_bytes(b"zipped")
        zipped = wait_until(lambda: self.zipped("/sub/page.html"), "the precompressed file")
        self.assertEqual(zipped["Vary"], "Accept-Encoding")
        plain = self.fetch("/sub/page.html")
        self.assertEqual((plain["Vary"], plain.body), ("Accept-Encoding", page.read_bytes()))

    def zipped(self, target):
        response = self.fetch(target, headers=["Accept-Encoding: gzip"])
        return response if response.body == b"zipped" else None

    def test_encryption(self):
        for _ in range(5):
            for tls in (True, False):
                with support.Connection(self.server.port(tls), tls) as connection:
                    response = connection.ask("/file3")
                    self.assertEqual(response["Strict-Transport-Security"],
                                     "max-age=31536000" if tls else None)
                    self.assertEqual(response.body, content_of(3, SIZES[3]))

    def test_persistence(self):
        for version, field, said in (("HTTP/1.1", "x", None), ("HTTP/1.1", "close", "close"),
                                     ("HTTP/1.0", "keep-alive", "keep-alive"),
                                     ("HTTP/1.0", "x", "close")) * 3:
            with self.connect() as connection:
                response = connection.ask("/file2", headers=[f"Connection: {field}"],
                                          version=version)
                self.assertEqual(response["Connection"], said)
                self.assertEqual(response.body, content_of(2, SIZES[2]))
                if said == "close":
                    connection.expect_end()

    def test_the_date_goes_on(self):
        first = self.fetch("/file2")["Date"]
        wait_until(lambda: self.fetch("/file2")["Date"] != first, "the next second")

    def test_log_counts_the_content(self):
        with Server(self.site, "--workers", 1) as server:
            for _ in range(3):
                for target, method in (("/file3", "GET"), ("/file9", "GET"), ("/file3", "HEAD")):
                    with support.Connection(server.http_port) as connection:
                        connection.ask(target, method)
            sizes = [int(line.split(b'" ')[1].split()[1]) for line in server.log_lines(9)]
        self.assertEqual(sizes, [SIZES[3], SIZES[9], 0] * 3)

    def test_nobody_gets_what_is_anothers(self):
        chosen = random.Random(2)
        connections = [self.connect() for _ in range(8)]
        for _ in range(3 if support.SLOW else 20):
            asked = [[chosen.randrange(200) for _ in range(20)] for _ in connections]
            for connection, numbers in zip(connections, asked):
                connection.send(b"".join(request(f"/file{i}") for i in numbers))
            for connection, numbers in zip(connections, asked):
                for i in numbers:
                    self.assertEqual(connection.response().body,
                                     content_of(i, SIZES[i % len(SIZES)]))


class ReadyTls(Ready):
    tls = True


class Changes(ReadyTest):
    """What is kept goes when its file does. One worker: each looks for itself."""
    options = ("--workers", "1")

    def versions(self, path, change):
        """Asks again and again while the file changes: each answer is all of one version."""
        tags = {}
        for number in range(1, 30):
            size = 5000 if number % 3 else 20000
            change(path, content_of(number, size))
            new = wait_until(lambda: self.is_now(path, content_of(number, size), tags), "the change")
            self.assertEqual(tags[new["ETag"]], hashlib.sha256(new.body).digest())
            if number == 15:
                time.sleep(3.1)  # so that this one is kept
                for _ in range(3):
                    self.assertEqual(self.fetch(f"/{path.name}").body, new.body)

    def is_now(self, path, content, tags):
        response = self.fetch(f"/{path.name}")
        digest = hashlib.sha256(response.body).digest()
        self.assertEqual(tags.setdefault(response["ETag"], digest), digest, "a mixture")
        self.assertEqual(response.length, len(response.body))
        return response if response.body == content else None

    def test_replaced(self):
        def replace(path, content):
            fresh = path.with_name("fresh")
            fresh.write_bytes(content)
            os.replace(fresh, path)
        self.fetch("/changing")
        self.versions(self.site / "changing", replace)

    def test_removed(self):
        path = self.site / "removed"
        for _ in range(3):
            self.assertEqual(self.fetch("/removed").status, 200)
        path.unlink()
        wait_until(lambda: self.fetch("/removed").status == 404, "404")

    def test_rewritten_to_the_same_size_and_time(self):
        path = self.site / "rewritten"
        before = os.stat(path)
        for _ in range(3):
            self.assertEqual(self.fetch("/rewritten").body, content_of(1, 5000))
        path.write_bytes(content_of(2, 5000))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        wait_until(lambda: self.fetch("/rewritten").body == content_of(2, 5000), "the new bytes")
        for _ in range(3):
            self.assertEqual(self.fetch("/rewritten").body, content_of(2, 5000))

    def test_answers_on_their_way_stay_what_they_were(self):
        """A client takes nothing while the file that it asked for 50 times is replaced."""
        path = self.site / "file8"  # 64 KiB
        old, new = content_of(8, SIZES[8]), content_of(9, SIZES[8])
        with self.connect(buffer=4096) as connection:
            connection.send(request("/file8") * 50)
            first = connection.response()
            self.assertEqual(first.body, old)
            fresh = self.site / "fresh8"
            fresh.write_bytes(new)
            os.replace(fresh, path)
            wait_until(lambda: self.fetch("/file8").body == new, "the new file")
            for _ in range(49):
                response = connection.response()
                self.assertEqual(response.body,
                                 old if response["ETag"] == first["ETag"] else new)
        path.write_bytes(old)


class ChangesTls(Changes):
    tls = True


class Passwords(ReadyTest):
    def test_are_asked_for_all_the_same(self):
        user = "ann:" + hashlib.sha256(b"secret").hexdigest()
        right = "Authorization: Basic " + base64.b64encode(b"ann:secret").decode()
        wrong = "Authorization: Basic " + base64.b64encode(b"ann:secrets").decode()
        with Server(self.site, "--auth", user) as server:
            server.complaint("in the clear")
            for fields, status in (([right], 200), ([], 401), ([wrong], 401)) * 3:
                with support.Connection(server.http_port) as connection:
                    response = connection.ask("/file3", headers=fields)
                    self.assertEqual(response.status, status)
                    self.assertEqual(content_of(3, 8) in response.body, status == 200)


if __name__ == "__main__":
    unittest.main()
