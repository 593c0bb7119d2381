"""Files that clients put: who may, where to, on which conditions, and that nothing else ever is
there: no part of a file, nothing outside of the folder. All of it over TLS unless that is the
point."""
import hashlib
import os
import pathlib
import random
import socket
import subprocess
import tempfile
import threading
import unittest

import support
from support import request, run_server, wait_until

MIB = 1 << 20
TOKEN = "correct-horse-battery-staple"
OTHER = "another.token_of~the+same/sort=="
MAX = 8 * MIB
NOISE = random.Random("upload").randbytes(MIB)
NEXT = request("/empty.txt")


def put(target, body=b"", headers=(), token=TOKEN, **more):
    """The bytes of a PUT."""
    shown = [f"Authorization: Bearer {token}"] if token else []
    sized = [] if any("transfer-encoding" in line.lower() for line in headers) else \
        [f"Content-Length: {len(body)}"]
    return request(target, "PUT", [*shown, *sized, *headers], **more) + body


def chunked(body, size):
    """The body in chunks of that size."""
    parts = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def names(folder):
    """All files beneath a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class UploadTest(support.ServerTest):
    tls = True
    warning = "--upload: over plain HTTP tokens are sent in the clear.*\n"
    more = ()

    @classmethod
    def make_site(cls):
        site = support.make_site(cls.folder)
        cls.drop = site / "drop"
        (cls.drop / "sub/deep").mkdir(parents=True)
        (cls.drop / "old.txt").write_bytes(b"old")
        (cls.drop / "link-in").symlink_to("sub")
        (cls.drop / "link-out").symlink_to("../../outside")
        (cls.drop / "link-file-out").symlink_to("../../outside.txt")
        os.mkfifo(cls.drop / "fifo")
        (cls.folder / "tokens").touch(mode=0o600)
        (cls.folder / "tokens").write_text(f"{TOKEN}\n\n{OTHER}\r\n")
        cls.options = ["--upload", f"/drop={cls.drop}", *cls.who(), *cls.more]
        return site

    @classmethod
    def who(cls):
        return ["--upload-token-file", cls.folder / "tokens", "--upload-max", "8M"]

    def put(self, target, body=b"", headers=(), **more):
        """The response, on a connection of its own that goes on."""
        with self.connect() as connection:
            connection.send(put(target, body, headers, **more))
            response = connection.response("PUT")
            if not response.closes:
                connection.send(NEXT)
                self.assertEqual(connection.response().status, 200)
            return response

    def refused(self, status, target, body=b"x", headers=(), **more):
        """Nothing changes, and a fresh connection is served."""
        before = names(self.folder)
        response = self.put(target, body, headers, **more)
        self.assertEqual(response.status, status, (target, headers))
        self.assertEqual(names(self.folder), before)
        self.probe()
        return response

    def nothing_left(self, before, name="the file in the making goes"):
        wait_until(lambda: names(self.folder) == before, name)


class Putting(UploadTest):
    def test_new_and_then_replaced(self):
        for status, body in ((201, b"first"), (204, b"second, and longer"), (204, b"")):
            response = self.put("/drop/new.txt", body)
            self.assertEqual((response.status, response.body), (status, b""))
            got = self.fetch("/drop/new.txt")
            self.assertEqual((got.status, got.body), (200, body))
            self.assertEqual(got["ETag"], response["ETag"])
            self.assertEqual((self.drop / "new.txt").read_bytes(), body)
        (self.drop / "new.txt").unlink()

    def test_every_size(self):
        for size in (0, 1, 8191, 8192, 65535, 65536, 65537, 200_000, MIB):
            for send in (lambda body: put("/drop/size.bin", body),
                         lambda body: put("/drop/size.bin", chunked(body, 5000),
                                          ["Transfer-Encoding: chunked"]),
                         lambda body: put("/drop/size.bin", chunked(body, 70_000),
                                          ["Transfer-Encoding: chunked"])):
                with self.subTest(size), self.connect() as connection:
                    connection.send(send(NOISE[:size]) + NEXT)
                    self.assertIn(connection.response().status, (201, 204))
                    self.assertEqual(connection.response().status, 200)
                    self.assertEqual((self.drop / "size.bin").read_bytes(), NOISE[:size])
        (self.drop / "size.bin").unlink()

    def test_tiny_chunks_and_trailers(self):
        body = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in NOISE[:500]) + b"0\r\nX: y\r\n\r\n"
        self.assertEqual(self.put("/drop/tiny", body, ["Transfer-Encoding: chunked"]).status, 201)
        self.assertEqual((self.drop / "tiny").read_bytes(), NOISE[:500])
        (self.drop / "tiny").unlink()

    def test_pipelined_in_order(self):
        with self.connect() as connection:
            connection.send(b"".join(put("/drop/line", b"%d" % i) + request("/drop/line")
                                     for i in range(20)))
            for i in range(20):
                self.assertIn(connection.response().status, (201, 204))
                self.assertEqual(connection.response().body, b"%d" % i)
        (self.drop / "line").unlink()

    def test_names(self):
        for name in support.ODD_NAMES:
            target = "/drop/sub/" + "".join(f"%{byte:02x}" for byte in name.encode())
            with self.subTest(name):
                self.assertEqual(self.put(target, name.encode()).status, 201)
                self.assertEqual((self.drop / "sub" / name).read_bytes(), name.encode())
                self.assertEqual(self.fetch(target).body, name.encode())
                (self.drop / "sub" / name).unlink()

    def test_folders_that_are_there(self):
        for target, path in (("/drop/sub/deep/a", "sub/deep/a"), ("/drop//sub/./b", "sub/b"),
                             ("/drop/sub/../c", "c"), ("/x/../drop/d", "d")):
            self.assertEqual(self.put(target, b"x").status, 201)
            (self.drop / path).unlink()

    def test_links_within_the_folder(self):
        if support.HAS_OPENAT2:
            self.assertEqual(self.put("/drop/link-in/e", b"x").status, 201)
            (self.drop / "sub/e").unlink()

    def test_link_is_replaced_not_followed(self):
        if not support.HAS_OPENAT2:
            return
        (self.drop / "to-old").symlink_to("old.txt")
        self.assertEqual(self.put("/drop/to-old", b"new").status, 204)
        self.assertEqual((self.drop / "old.txt").read_bytes(), b"old")
        self.assertFalse((self.drop / "to-old").is_symlink())
        (self.drop / "to-old").unlink()

    def test_mode_is_kept(self):
        self.assertEqual(self.put("/drop/mode", b"1").status, 201)
        (self.drop / "mode").chmod(0o640)
        self.assertEqual(self.put("/drop/mode", b"2").status, 204)
        self.assertEqual((self.drop / "mode").stat().st_mode & 0o777, 0o640)
        (self.drop / "mode").unlink()

    def test_reader_of_the_old_one_gets_it_whole(self):
        (self.drop / "big").write_bytes(NOISE * 4)
        with self.connect(buffer=4096) as slow:
            slow.send(request("/drop/big"))
            slow.head()
            first = slow.read(1000)
            self.assertEqual(self.put("/drop/big", b"new").status, 204)
            self.assertEqual(first + slow.read(4 * MIB - 1000), NOISE * 4)
            self.assertEqual(slow.ask("/drop/big").body, b"new")
        (self.drop / "big").unlink()

    def test_all_workers_see_it_at_once(self):
        with self.connect() as writer:
            readers = [self.connect() for _ in range(8)]
            for i in range(100):
                writer.send(put("/drop/seen", b"%d" % i))
                self.assertIn(writer.response().status, (201, 204))
                self.assertEqual(readers[i % 8].ask("/drop/seen").body, b"%d" % i)
        (self.drop / "seen").unlink()

    def test_precompressed_neighbour_is_seen_at_once(self):
        for i in range(3):
            self.assertIn(self.put("/drop/page.html", b"plain").status, (201, 204))
            got = self.fetch("/drop/page.html", headers=["Accept-Encoding: gzip"])
            self.assertEqual((got.body, got["Content-Encoding"]), (b"plain", None))
            self.assertEqual(self.put("/drop/page.html.gz", b"zipped").status, 201)
            got = self.fetch("/drop/page.html", headers=["Accept-Encoding: gzip"])
            self.assertEqual((got.body, got["Content-Encoding"]), (b"zipped", "gzip"))
            (self.drop / "page.html.gz").unlink()
        (self.drop / "page.html").unlink()

    def test_methods_are_told(self):
        for target in ("/drop/", "/drop", "/drop/x", "/drop/no/x", "*"):
            self.assertEqual(self.fetch(target, "OPTIONS")["Allow"], "GET, HEAD, OPTIONS, PUT")
        for target in ("/", "/dropped", "/hello.txt", "/x/drop/"):
            self.assertEqual(self.fetch(target, "OPTIONS")["Allow"], "GET, HEAD, OPTIONS")
        for method in ("POST", "DELETE", "PATCH"):
            response = self.fetch("/drop/x", method)
            self.assertEqual((response.status, response["Allow"]), (405, "GET, HEAD, OPTIONS, PUT"))

    def test_listing_tells_it(self):
        self.assertIn(b"PUT", self.fetch("/drop/").body)
        self.assertIn(b"PUT", self.fetch("/drop/sub/").body)
        self.assertNotIn(b"PUT", self.fetch("/plain/").body)

    def test_elsewhere_is_405(self):
        for target in ("/new.txt", "/hello.txt", "/dropped", "/plain/x", "/", "/drop/../x"):
            self.assertEqual(self.refused(405, target)["Allow"], "GET, HEAD, OPTIONS")

    def test_curl(self):
        done = subprocess.run(["curl", "-q", "-sS", "-k", "--noproxy", "*", "-T", "-", "-H",
                               f"Authorization: Bearer {TOKEN}", "-w", "%{http_code}",
                               f"https://localhost:{self.server.https_port}/drop/curl"],
                              input=NOISE * 3, stdout=subprocess.PIPE, check=True)
        self.assertEqual(done.stdout, b"201")
        self.assertEqual((self.drop / "curl").read_bytes(), NOISE * 3)
        (self.drop / "curl").unlink()


class PuttingInTheClear(Putting):
    tls = False
    more = ("--poll", "--workers", "1")


class PuttingToDisk(Putting):
    more = ("--upload-fsync",)


class Refusals(UploadTest):
    def test_tokens(self):
        self.assertEqual(self.put("/drop/t", token=OTHER).status, 201)
        (self.drop / "t").unlink()
        response = self.refused(401, "/drop/t", token=None)
        self.assertRegex(response["WWW-Authenticate"], "^Bearer ")
        for value in ("", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN):
            self.refused(401, "/drop/t", headers=[f"Authorization: {value}"], token=None)
        for token in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "x", TOKEN + " " + TOKEN,
                      f"{TOKEN},{OTHER}", "x" * 4000):
            self.refused(403, "/drop/t", token=token)
        self.refused(401, "/drop/t", headers=[f"Authorization: Bearer {OTHER}"])

    def test_who_may_not_learns_nothing(self):
        for target in ("/drop/old.txt", "/drop/none/x", "/drop/sub", "/drop/.hidden"):
            self.refused(401, target, token=None)

    def test_paths(self):
        for status, *targets in (
                (409, "/drop", "/drop/", "/drop/sub", "/drop/sub/", "/drop/sub/.", "/drop/none/x",
                 "/drop/old.txt/x", "/drop/sub/deep/no/x", "/drop/new/", "/drop/x/.."),
                (403, "/drop/.hidden", "/drop/.git/config", "/drop/sub/.htpasswd", "/drop/fifo",
                 "/drop/link-out/x", "/drop/link-out/file.txt", "/drop/link-file-out"),
                (400, "/drop/%2e%2e/%2e%2e/x", "/drop/../../x", "/drop/..%2f..%2fx", "/drop/%00",
                 "/drop/a%0ab", "/drop/a%5cb", "/drop/%ff", "/drop/%c0%ae%c0%ae/x", "/drop/%",
                 "/drop/a%2fb"),
                (414, "/drop/" + "x" * 256, "/drop/" + "x/" * 2500 + "x")):
            for target in targets:
                with self.subTest(target[:60]):
                    self.refused(status, target)
        self.assertEqual((self.folder / "outside/file.txt").read_bytes(), support.SECRET)

    def test_longest_name(self):
        self.assertEqual(self.put("/drop/" + "x" * 255, b"x").status, 201)
        (self.drop / ("x" * 255)).unlink()

    def test_lengths(self):
        with self.connect() as connection:
            connection.send(request("/drop/x", "PUT", [f"Authorization: Bearer {TOKEN}"]))
            self.assertEqual(connection.response().status, 411)
        before = names(self.folder)
        code = ["Transfer-Encoding: chunked"]
        for raw in (put("/drop/x", bytes(MAX + 1))[:MIB],  # that much is dropped, so that the
                    put("/drop/x", chunked(bytes(MAX + 1), MAX + 1), code)[:MIB],  # answer arrives
                    put("/drop/x", chunked(bytes(MAX + 1), 65536), code)):
            with self.connect() as connection:
                connection.send(raw)
                self.assertEqual(connection.response().status, 413)
                connection.expect_end()
        self.nothing_left(before)

    def test_largest(self):
        self.assertEqual(self.put("/drop/x", NOISE * 8).status, 201)
        self.assertEqual(self.put("/drop/x", chunked(NOISE * 8, 100_000),
                                  ["Transfer-Encoding: chunked"]).status, 204)
        self.assertEqual((self.drop / "x").read_bytes(), NOISE * 8)
        (self.drop / "x").unlink()

    def test_bad_chunks(self):
        before = names(self.folder)
        for body in (b"g\r\n", b"-1\r\n", b"1\r\nxy\r\n0\r\n\r\n", b"1\nx\n0\n\n", b"\r\n",
                     b"5\r\nhello\r\n5\r\nhel\n", b"10000000000000000\r\n", b"1;\x00\r\n",
                     b"1\r\nx\r\n0\r\n: y\r\n\r\n", b"1\r\nx\r\n0\r\n\x01\r\n\r\n"):
            with self.subTest(body), self.connect() as connection:
                connection.send(put("/drop/x", body, ["Transfer-Encoding: chunked"]) + NEXT)
                self.assertIn(connection.response().status, (400, 413))
                connection.expect_end()
            self.nothing_left(before)
            self.probe()

    def test_content_that_is_not_the_file(self):
        self.refused(400, "/drop/x", headers=["Content-Range: bytes 0-0/10"])
        self.refused(415, "/drop/x", headers=["Content-Encoding: gzip"])
        self.assertEqual(self.put("/drop/x", b"x", ["Content-Encoding: identity"]).status, 201)
        (self.drop / "x").unlink()

    def test_refusal_drops_a_body_that_looks_like_a_request(self):
        with self.connect() as connection:
            connection.send(put("/drop/none/x", request("/hello.txt")) + NEXT)
            self.assertEqual(connection.response().status, 409)
            self.assertEqual(connection.response().body, b"")


class Conditions(UploadTest):
    def setUp(self):
        (self.drop / "c").write_bytes(b"0")
        self.addCleanup((self.drop / "c").unlink)
        self.etag = self.fetch("/drop/c")["ETag"]

    def test_if_match(self):
        self.refused(412, "/drop/c", headers=['If-Match: "x"'])
        self.refused(412, "/drop/new", headers=["If-Match: *"])
        self.refused(412, "/drop/new", headers=[f"If-Match: {self.etag}"])
        self.refused(412, "/drop/c", headers=[f"If-Match: W/{self.etag}"])
        response = self.put("/drop/c", b"1", [f'If-Match: "x", {self.etag}'])
        self.assertEqual(response.status, 204)
        self.refused(412, "/drop/c", headers=[f"If-Match: {self.etag}"])
        response = self.put("/drop/c", b"2", [f"If-Match: {response['ETag']}"])
        self.assertEqual(response.status, 204)
        self.assertEqual(self.put("/drop/c", b"3", ["If-Match: *"]).status, 204)

    def test_if_none_match(self):
        self.refused(412, "/drop/c", headers=["If-None-Match: *"])
        self.refused(412, "/drop/c", headers=[f"If-None-Match: {self.etag}"])
        self.assertEqual(self.put("/drop/c", b"1", ['If-None-Match: "x"']).status, 204)
        self.assertEqual(self.put("/drop/new", b"1", ["If-None-Match: *"]).status, 201)
        (self.drop / "new").unlink()

    def test_dates(self):
        self.refused(412, "/drop/c", headers=[f"If-Unmodified-Since: {support.OLD_DATE}"])
        self.assertEqual(self.put("/drop/c", b"1", [
            "If-Unmodified-Since: Fri, 01 Jan 2100 00:00:00 GMT"]).status, 204)
        self.assertEqual(self.put("/drop/c", b"2", [  # for GET only: RFC 9110, 13.1.3
            "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"]).status, 204)

    def both(self, headers):
        """Two uploads to one place that begin before either ends; the statuses."""
        pair = [self.connect() for _ in range(2)]
        for connection in pair:
            connection.send(put("/drop/race", bytes(100_000), headers)[:-10])
        for connection in pair:
            connection.send(bytes(10))
        return sorted(connection.response().status for connection in pair)

    def test_two_at_once(self):
        for _ in range(10):
            self.assertEqual(self.both(["If-None-Match: *"]), [201, 412])
            etag = self.fetch("/drop/race")["ETag"]
            self.assertEqual(self.both([f"If-Match: {etag}"]), [204, 412])
            (self.drop / "race").unlink()

    def test_etag_is_never_that_of_another_upload(self):
        etags = {}

        def load(number):
            with self.connect() as connection:
                for i in range(150):
                    body = bytes(number * 1000 + i)
                    connection.send(put("/drop/c", body))
                    etag = connection.response()["ETag"]
                    if etag is not None:
                        etags.setdefault(etag, set()).add(len(body))

        threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertGreater(len(etags), 0)
        self.assertEqual([sizes for sizes in etags.values() if len(sizes) > 1], [])

    def test_changed_while_the_body_came(self):
        before = names(self.folder)
        with self.connect() as connection:
            connection.send(put("/drop/c", b"12345", [f"If-Match: {self.etag}"])[:-1])
            self.probe()
            (self.drop / "c").write_bytes(b"changed")
            connection.send(b"5" + NEXT)
            self.assertEqual(connection.response().status, 412)
            self.assertEqual(connection.response().status, 200)
        self.assertEqual((self.drop / "c").read_bytes(), b"changed")
        self.assertEqual(names(self.folder), before)

    def test_folder_gone_while_the_body_came(self):
        before = names(self.folder)
        for other in (None, "other"):
            (self.drop / "gone").mkdir()
            with self.connect() as connection:
                connection.send(put("/drop/gone/x", b"12345")[:-1])
                self.probe()
                (self.drop / "gone").rename(self.drop / "moved")
                if other:
                    (self.drop / "gone").mkdir()
                connection.send(b"5" + NEXT)
                self.assertEqual(connection.response().status, 409)
                self.assertEqual(connection.response().status, 200)
            self.assertEqual(names(self.folder), before)
            for name in ("gone", "moved"):
                if (self.drop / name).exists():
                    (self.drop / name).rmdir()


class Expecting(UploadTest):
    expect = ["Expect: 100-continue"]

    def test_told_to_go_on(self):
        for headers, body in (([], b"hello"), (["Transfer-Encoding: chunked"], chunked(b"hello", 2)),
                              (["Connection: close"], b"hello")):
            with self.connect() as connection:
                whole = put("/drop/x", body, [*self.expect, *headers])
                connection.send(whole[:-len(body)])
                self.assertEqual(connection.head().status, 100)
                connection.send(body)
                self.assertEqual(connection.response().status, 201)
            self.assertEqual((self.drop / "x").read_bytes(), b"hello")
            (self.drop / "x").unlink()

    def test_refused_without_the_body(self):
        for status, target, headers, token in (
                (401, "/drop/x", [], None), (403, "/drop/x", [], "wrong" * 5),
                (409, "/drop/none/x", [], TOKEN), (412, "/drop/x", ["If-Match: *"], TOKEN),
                (405, "/x", [], TOKEN), (415, "/drop/x", ["Content-Encoding: br"], TOKEN)):
            with self.subTest(status), self.connect() as connection:
                connection.send(put(target, b"hello", [*self.expect, *headers], token)[:-5])
                self.assertEqual(connection.response().status, status)
                connection.expect_end()
        for status, length in ((413, MAX + 1), (413, 2**62)):
            with self.connect() as connection:
                connection.send(request("/drop/x", "PUT", [
                    f"Authorization: Bearer {TOKEN}", f"Content-Length: {length}", *self.expect]))
                self.assertEqual(connection.response().status, status)
                connection.expect_end()


class Broken(UploadTest):
    """What does not come to its end leaves nothing."""
    more = ("--write-timeout", "1")

    def parts(self):
        return (put("/drop/broken", NOISE)[:-MIB // 2],
                put("/drop/broken", chunked(NOISE, 10_000), ["Transfer-Encoding: chunked"])[:-10],
                put("/drop/old.txt", NOISE)[:-1])

    def test_client_gone(self):
        before, fds = names(self.folder), self.server.fds()
        for part in self.parts() * 5:
            with self.connect() as connection:
                connection.send(part)
        with self.connect() as connection:
            connection.send(self.parts()[0])
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                         b"\1\0\0\0\0\0\0\0")
        wait_until(lambda: self.server.fds() <= fds + self.server.spare_fds(), "closed")
        self.nothing_left(before)
        self.assertEqual((self.drop / "old.txt").read_bytes(), b"old")

    def test_body_that_does_not_end_is_408(self):
        before = names(self.folder)
        for part in self.parts():
            with self.connect() as connection:
                connection.send(part)
                self.assertEqual(connection.response().status, 408)
                connection.expect_end()
            self.nothing_left(before)
        self.assertEqual((self.drop / "old.txt").read_bytes(), b"old")

    def test_is_logged(self):
        with self.connect() as connection:
            connection.send(put("/drop/none/x", b"1"))
            self.assertEqual(connection.response().status, 409)
            connection.send(put("/drop/logged", b"1") + put("/drop/logged", b"12")[:-1])
            self.assertEqual(connection.response().status, 201)
            self.assertEqual(connection.response().status, 408)
        text = b"\n".join(self.server.log_lines(3))
        for pattern in (rb'"PUT /drop/none/x HTTP/1.1" 409', rb'"PUT /drop/logged HTTP/1.1" 201 0',
                        rb'"PUT /drop/logged HTTP/1.1" 408'):
            wait_until(lambda: pattern in self.server.log.read_bytes(), pattern)
        self.assertNotIn(TOKEN.encode(), text)
        (self.drop / "logged").unlink()

    def test_client_that_goes_is_logged(self):
        def lines():
            return self.server.log.read_bytes().count(b'"PUT /drop/vanished HTTP/1.1" 499 0 ')
        whole = put("/drop/vanished", b"12345", ["Expect: 100-continue"])
        for size in (0, 1, 4):
            before = lines()
            with self.connect() as connection:
                self.assertEqual(connection.ask("/data.bin").status, 200)
                connection.send(whole[:-5])
                self.assertEqual(connection.head().status, 100)
                connection.send(b"1234"[:size])
            wait_until(lambda: lines() == before + 1, "its line")


class Open(UploadTest):
    warning = "--upload-open"

    @classmethod
    def who(cls):
        return ["--upload-open"]

    def test_said_loudly(self):
        self.assertIn(str(self.drop), self.said)
        self.assertRegex(self.said, "(?i)anybody")

    def test_everybody_may(self):
        for token in (None, TOKEN, "x"):
            self.assertIn(self.put("/drop/open", b"x", token=token).status, (201, 204))
        (self.drop / "open").unlink()


class OpenToWhoHasAPassword(UploadTest):
    warning = "--upload-open: ANYBODY with a password"

    @classmethod
    def who(cls):
        return ["--upload-open", "--auth", "me:" + hashlib.sha256(b"secret").hexdigest()]

    def probe(self):
        pass

    def test_password(self):
        good, bad = ["Authorization: Basic bWU6c2VjcmV0"], ["Authorization: Basic bWU6d3Jvbmc="]
        for status, headers in ((401, []), (401, bad), (201, good)):
            with self.connect() as connection:
                connection.send(put("/drop/x", b"x", headers, token=None))
                self.assertEqual(connection.response().status, status)
                if status == 401:
                    self.assertRegex(connection.last["WWW-Authenticate"], "^Basic ")
        (self.drop / "x").unlink()


class SeveralPlaces(UploadTest):
    @classmethod
    def who(cls):
        for name in ("box", "inner"):
            (cls.folder / name).mkdir()
        return [*super().who(), "--upload", f"/drop/sub={cls.folder}/inner",
                "--upload", f"/out of sight/={cls.folder}/box"]

    def test_longest_prefix_counts(self):
        for target, path in (("/drop/p", self.drop / "p"), ("/drop/sub/p", self.folder / "inner/p"),
                             ("/drop/subp", self.drop / "subp"),
                             ("/out%20of%20sight/p", self.folder / "box/p")):
            self.assertEqual(self.put(target, b"x").status, 201)
            self.assertEqual(path.read_bytes(), b"x")
            path.unlink()

    def test_what_lies_elsewhere_is_not_served(self):
        self.assertEqual(self.put("/out%20of%20sight/p", b"x").status, 201)
        self.assertEqual(self.fetch("/out%20of%20sight/p").status, 404)
        self.assertEqual(self.put("/out%20of%20sight/p", b"x").status, 204)


class Starting(unittest.TestCase):
    def fails(self, status, pattern, *options):
        got, output, error = run_server("--port", 0, "--log", "none", *options)
        self.assertEqual((got, output), (status, ""), error)
        self.assertRegex(error, rf"\A[^\n]*{pattern}[^\n]*\n\Z")

    def test_bad_options_are_named(self):
        with tempfile.TemporaryDirectory(prefix="mmserve-") as folder:
            good, drop = f"{folder}/tokens", f"/x={folder}"
            pathlib.Path(good).touch(mode=0o600)
            pathlib.Path(good).write_text(TOKEN)
            self.fails(2, "--upload-token-file", "--upload", drop)
            self.fails(2, "--upload", "--upload-open")
            self.fails(2, "--upload", "--upload-fsync")
            self.fails(2, "--upload-open", "--upload", drop, "--upload-open",
                       "--upload-token-file", good)
            for value in ("x=y", "/x", "/x=", "=y", "//x=y", "/x//y=z", "/.x=y", "/x/../y=z",
                          "/a\\b=y", "/\x01=y"):
                self.fails(2, "--upload", "--upload-open", "--upload", value)
            for value in ("", "x", "-1", "1X", "1KK", "K", "1 M", "99999999999999999999",
                          "9999999999G"):
                self.fails(2, "--upload-max", "--upload-max", value)
            for content in ("", "\n", "short\n", "x" * 513, "with a space in it\n",
                            (TOKEN + "\n") * 9):
                pathlib.Path(good).write_text(content)
                self.fails(1, good, "--upload", drop, "--upload-token-file", good, folder)
            self.fails(1, "nowhere", "--upload", drop, "--upload-token-file", f"{folder}/nowhere",
                       folder)
            pathlib.Path(good).write_text(TOKEN)
            self.fails(1, f"{folder}/none", "--upload", f"/x={folder}/none",
                       "--upload-token-file", good, folder)


if __name__ == "__main__":
    unittest.main()
