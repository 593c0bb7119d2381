"""What a well-behaved client sees: RFC 9110 and 9112 for a folder of files."""
import html.parser
import json
import os
import re
import socket
import unittest
import urllib.parse

import support
from support import DATA, HELLO, OLD_DATE, request


class Page(html.parser.HTMLParser):
    """The links of a page, and its text."""

    def __init__(self, response):
        super().__init__()
        self.links, self.text, self.tags = [], "", set()
        self.feed(response.body.decode())
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "a":
            self.links += [value for name, value in attributes if name == "href"]

    def handle_data(self, data):
        self.text += data

    def names(self):
        """What the links that lead down are called, decoded."""
        return [urllib.parse.unquote(link[2:] if link.startswith("./") else link)
                for link in self.links if not link.startswith(("..", "/"))]


class Files(support.ServerTest):
    def test_get_sends_the_file(self):
        response = self.fetch("/hello.txt")
        self.assertEqual((response.status, response.reason, response.body), (200, "OK", HELLO))
        self.assertEqual(response["Content-Type"].lower(), "text/plain; charset=utf-8")

    def test_large_file_is_sent_whole(self):
        self.assertEqual(self.fetch("/data.bin").body, DATA)

    def test_empty_file(self):
        response = self.fetch("/empty.txt")
        self.assertEqual((response.status, response["Content-Length"]), (200, "0"))

    def test_last_modified_is_the_files_time(self):
        self.assertEqual(self.fetch("/hello.txt")["Last-Modified"], OLD_DATE)

    def test_etag_is_strong_and_of_this_file(self):
        tags = {self.fetch(f"/{name}")["ETag"] for name in ("hello.txt", "empty.txt", "data.bin")}
        self.assertEqual(len(tags), 3)
        for tag in tags:
            self.assertRegex(tag, r'^"[!#-~]+"$')

    def test_etag_stays_while_the_file_does(self):
        self.assertEqual(self.fetch("/hello.txt")["ETag"], self.fetch("/hello.txt")["ETag"])

    def test_etag_and_content_follow_the_file(self):
        path = self.site / "changing.txt"
        path.write_bytes(b"first")
        first = self.fetch("/changing.txt")
        self.assertEqual(first.body, b"first")
        (self.site / "changing.new").write_bytes(b"second version")
        os.replace(self.site / "changing.new", path)
        second = support.wait_until(lambda: self.changed("/changing.txt", first), "the new file")
        self.assertEqual(second.body, b"second version")
        self.assertNotEqual(second["ETag"], first["ETag"])
        path.unlink()
        support.wait_until(lambda: self.fetch("/changing.txt").status == 404, "404")

    def changed(self, target, old):
        response = self.fetch(target)
        return response if response.body != old.body else None

    def test_head_is_get_without_a_body(self):
        for target in ("/hello.txt", "/", "/plain/", "/plain", "/nowhere", "/empty.txt"):
            with self.subTest(target):
                got, head = self.fetch(target), self.fetch(target, "HEAD")
                got.headers.pop("date"), head.headers.pop("date")
                self.assertEqual((head.status, head.headers), (got.status, got.headers))

    def test_options_names_the_methods(self):
        for target in ("/hello.txt", "/plain/", "*"):
            with self.subTest(target):
                response = self.fetch(target, "OPTIONS")
                self.assertIn(response.status, (200, 204))
                self.assertEqual(set(re.split(" *, *", response["Allow"])),
                                 {"GET", "HEAD", "OPTIONS"})
                self.assertEqual(response.body, b"")

    def test_query_is_no_part_of_the_name(self):
        for target in ("/hello.txt?", "/hello.txt?a=b&c=/../%00", "/hello.txt?x?y"):
            with self.subTest(target):
                self.assertEqual(self.fetch(target).body, HELLO)

    def test_missing_is_404(self):
        for target in ("/nowhere", "/nowhere/", "/plain/nowhere.txt", "/hello.txt/x",
                       "/hello.txt/", "/hello.txt/index.html", "/Hello.txt", "/hello.tx"):
            with self.subTest(target):
                self.assertEqual(self.fetch(target).status, 404)

    def test_error_page_is_small_html(self):
        response = self.fetch("/nowhere")
        self.assertEqual(response["Content-Type"].lower(), "text/html; charset=utf-8")
        self.assertIn(b"404", response.body)
        self.assertLess(response.length, 4096)
        self.assertIsNone(response["ETag"])
        self.assertIsNone(response["Last-Modified"])

    def test_error_page_does_not_repeat_the_path_unescaped(self):
        self.assertNotIn(b"<script", self.fetch("/%3Cscript%3Ealert(1)%3C/script%3E").body)

    def test_percent_encoding_is_decoded_once(self):
        self.assertEqual(self.fetch("/%68ello%2etxt").body, HELLO)
        self.assertEqual(self.fetch("/odd/%2541.txt").body, b"%41.txt")
        self.assertEqual(self.fetch("/%2568ello.txt").status, 404)

    def test_dot_segments_inside_the_folder_are_removed(self):
        for target in ("/./hello.txt", "/sub/../hello.txt", "/sub/./../hello.txt",
                       "/nowhere/../hello.txt"):
            with self.subTest(target):
                self.assertEqual(self.fetch(target).body, HELLO)

    def test_odd_names_are_served(self):
        for name in support.ODD_NAMES:
            with self.subTest(name):
                response = self.fetch("/odd/" + urllib.parse.quote(name))
                self.assertEqual((response.status, response.body), (200, name.encode()))

    def test_leading_empty_line_is_ignored(self):
        with self.connect() as connection:
            connection.send(b"\r\n" + request("/hello.txt"))
            self.assertEqual(connection.response().body, HELLO)

    def test_no_sniffing(self):
        self.assertEqual(self.fetch("/hello.txt")["X-Content-Type-Options"], "nosniff")


class FilesOverTls(Files):
    tls = True


class FilesWithPoll(Files):
    options = ("--poll", "--workers", "2")
    tls = True


class Folders(support.ServerTest):
    def test_index_html_stands_for_the_folder(self):
        self.assertEqual(self.fetch("/").body, b"<!DOCTYPE html><title>root</title>\n")
        response = self.fetch("/sub/")
        self.assertEqual(response.body, b"<!DOCTYPE html><title>sub</title>\n")
        self.assertEqual(response["Content-Type"].lower(), "text/html; charset=utf-8")

    def redirect(self, target):
        response = self.fetch(target)
        self.assertEqual(response.status, 301, target)
        return urllib.parse.urljoin("http://localhost/", response["Location"])

    def test_folder_without_slash_is_redirected(self):
        self.assertEqual(self.redirect("/sub"), "http://localhost/sub/")
        self.assertEqual(self.redirect("/plain/folder"), "http://localhost/plain/folder/")

    def test_redirect_keeps_the_query(self):
        self.assertEqual(self.redirect("/sub?a=b&c"), "http://localhost/sub/?a=b&c")
        self.assertEqual(self.redirect("/sub?/x"), "http://localhost/sub/?/x")

    def test_redirect_keeps_the_encoding(self):
        self.assertEqual(self.redirect("/a%20folder"), "http://localhost/a%20folder/")

    def test_redirect_stays_on_this_host(self):
        for target in ("//sub", "///sub", "//sub/../sub", "//evil.example/../sub", "/.//sub",
                       "//evil.example", "//evil.example/..", "/sub//..//sub", "/%2e//sub"):
            with self.subTest(target):
                response = self.fetch(target)
                self.assertIn(response.status, (200, 301, 400, 404))
                if response.status == 301:
                    self.assertRegex(response["Location"], r"^/sub/")

    def listing(self, target):
        response = self.fetch(target)
        self.assertEqual(response.status, 200)
        self.assertEqual(response["Content-Type"].lower(), "text/html; charset=utf-8")
        return Page(response)

    def test_listing_is_sorted_and_complete(self):
        names = self.listing("/types/").names()
        self.assertEqual(sorted(names), sorted(os.listdir(self.site / "types")))
        self.assertIn(names, (sorted(names), sorted(names, key=str.lower)))

    def test_listing_marks_folders_with_a_slash(self):
        self.assertEqual(sorted(self.listing("/plain/").names()),
                         ["folder/", "one.txt", "two.txt"])

    def test_listing_leaves_hidden_names_out(self):
        response = self.fetch("/plain/")
        self.assertNotIn(b"hidden", response.body)

    def test_listing_leaves_out_what_is_not_served(self):
        self.assertEqual(self.listing("/mixed/").names(), ["real.txt"])

    def test_listed_links_lead_to_the_files(self):
        page = self.listing("/odd/")
        self.assertEqual(sorted(page.names()), sorted(support.ODD_NAMES))
        for link in page.links:
            target = urllib.parse.urlsplit(urllib.parse.urljoin("http://h/odd/", link))
            if target.path not in ("/", "/odd/"):
                with self.subTest(link):
                    self.assertEqual((target.netloc, target.query, target.fragment), ("h", "", ""))
                    name = urllib.parse.unquote(target.path.split("/")[-1])
                    self.assertEqual(self.fetch(target.path).body, name.encode())

    def test_listing_escapes_names(self):
        for target in ("/odd/", "/odd%20&%20%3Cb%3E%22'/"):
            with self.subTest(target):
                page = self.listing(target)
                self.assertFalse({"i", "b"} & page.tags)
        self.assertIn("a&b<i>\"'.txt", self.listing("/odd/").text)
        self.assertIn("odd & <b>\"'", page.text)

    def test_listing_leads_up(self):
        links = self.listing("/plain/folder/").links
        self.assertIn("/plain/", [urllib.parse.urljoin("/plain/folder/", link) for link in links])

    def test_listing_follows_the_folder(self):
        (self.site / "growing").mkdir()
        self.assertEqual(self.listing("/growing/").names(), [])
        (self.site / "growing/new.txt").write_bytes(b"new")
        self.assertEqual(self.listing("/growing/").names(), ["new.txt"])

    def test_listing_of_many_files(self):
        names = [f"file-{i:04}-{'x' * 200}.txt" for i in range(500)]
        (self.site / "many").mkdir()
        for name in names:
            (self.site / "many" / name).write_bytes(b"")
        self.assertEqual(self.listing("/many/").names(), names)

    def test_listing_is_sorted_by_links(self):
        (self.site / "sorted/zoo").mkdir(parents=True)
        for name, size, time in (("a", 3, 30), ("b", 1, 20), ("c", 2, 10)):
            (self.site / "sorted" / name).write_bytes(bytes(size))
            os.utime(self.site / "sorted" / name, (time, time))
        page = self.listing("/sorted/")
        self.assertEqual(page.names(), ["zoo/", "a", "b", "c"])
        found = set()
        for link in [link for link in page.links if "sort=" in link]:
            up = self.listing(link)
            again = [other for other in up.links if other.split("order=")[0] ==
                     link.split("order=")[0]][0]
            found |= {tuple(up.names()), tuple(self.listing(again).names())}
        self.assertEqual(found, {("zoo/", *order) for order in ("abc", "cba", "bca", "acb")})

    def test_unknown_orders_are_by_name(self):
        for query in ("?sort=x", "?order=y", "?sort", "?%00", "?sort=<script>", "?" + "&" * 1000):
            with self.subTest(query):
                self.assertEqual(self.listing("/plain/" + query).names(),
                                 ["folder/", "one.txt", "two.txt"])

    def test_listing_as_json(self):
        for accept in ("application/json", "application/json, text/html;q=0.9",
                       "*/*;q=0.1, application/*"):
            with self.subTest(accept):
                response = self.fetch("/plain/", headers=[f"Accept: {accept}"])
                self.assertEqual((response.status, response["Content-Type"], response["Vary"]),
                                 (200, "application/json", "Accept"))
                entries = json.loads(response.body)
                self.assertEqual([entry["name"] for entry in entries],
                                 ["folder", "one.txt", "two.txt"])
                self.assertEqual(entries[1], {"name": "one.txt", "type": "file", "size": 1,
                                              "modified": "2001-09-09T01:46:40Z"})
                self.assertEqual(entries[0]["type"], "folder")
        names = [entry["name"] for entry in
                 json.loads(self.fetch("/odd/", headers=["Accept: application/json"]).body)]
        self.assertEqual(sorted(names), sorted(support.ODD_NAMES))

    def test_listing_is_a_page_unless_json_is_preferred(self):
        for accept in ("*/*", "text/html", "text/html, application/json", "", "image/png",
                       "application/json;q=0", "application/json;q=0.5, */*"):
            with self.subTest(accept):
                response = self.fetch("/plain/", headers=[f"Accept: {accept}"])
                self.assertEqual(response["Content-Type"].lower(), "text/html; charset=utf-8")
                self.assertEqual(response["Vary"], "Accept")

    def test_head_of_json(self):
        head, got = (self.fetch("/plain/", method, ["Accept: application/json"])
                     for method in ("HEAD", "GET"))
        head.headers.pop("date"), got.headers.pop("date")
        self.assertEqual(head.headers, got.headers)

    def test_listing_cannot_be_framed_with_scripts(self):
        self.assertIn("default-src 'none'", self.fetch("/plain/")["Content-Security-Policy"])


@unittest.skipUnless(support.HAS_OPENAT2, "without openat2 no link is followed")
class SymbolicLinks(support.ServerTest):
    """Those that stay inside the folder; the others are in test_hostile.py."""

    def test_to_a_file(self):
        self.assertEqual(self.fetch("/link-in").body, HELLO)

    def test_to_a_folder(self):
        self.assertEqual(self.fetch("/link-in-dir/page.html").body, b"<p>page\n")
        self.assertEqual(self.fetch("/link-in-dir")["Location"], "/link-in-dir/")

    def test_are_listed(self):
        self.assertEqual(Page(self.fetch("/links/")).names(), ["link-in", "real.txt"])


class FoldersOverTls(Folders):
    tls = True


class FoldersWithoutListing(support.ServerTest):
    options = ("--no-listing",)

    def test_folder_is_403(self):
        for method in ("GET", "HEAD"):
            self.assertEqual(self.fetch("/plain/", method).status, 403)

    def test_index_html_is_served(self):
        self.assertEqual(self.fetch("/sub/").status, 200)


class MediaTypes(support.ServerTest):
    def check(self, **types):
        for name, expected in types.items():
            with self.subTest(name):
                name = name.replace("_", ".")
                self.assertRegex(self.fetch(f"/types/{name}")["Content-Type"], f"(?i)^{expected}$")

    def test_text_has_a_charset(self):
        self.check(page_html="text/html; charset=utf-8", style_css="text/css; charset=utf-8",
                   script_js="(text|application)/javascript; charset=utf-8",
                   table_csv="text/csv; charset=utf-8")

    def test_images_have_none(self):
        self.check(image_png="image/png", photo_jpg="image/jpeg",
                   drawing_svg="image/svg\\+xml(; charset=utf-8)?")

    def test_data(self):
        self.check(data_json="application/json(; charset=utf-8)?", archive_gz="application/gzip",
                   document_pdf="application/pdf", module_wasm="application/wasm",
                   font_woff2="font/woff2", video_mp4="video/mp4",
                   feed_xml="(application|text)/xml(; charset=utf-8)?")

    def test_case_of_the_extension_does_not_matter(self):
        self.check(photo_JPEG="image/jpeg", PAGE_HTM="text/html; charset=utf-8")

    def test_unknown_is_bytes(self):
        self.check(unknown_xyzzy="application/octet-stream", noextension="application/octet-stream")


class KeepAlive(support.ServerTest):
    def test_connection_serves_request_after_request(self):
        with self.connect() as connection:
            for _ in range(20):
                response = connection.ask("/hello.txt")
                self.assertEqual(response.body, HELLO)
                self.assertFalse(response.closes)

    def test_pipelined_requests_are_answered_in_order(self):
        targets = ["/hello.txt", "/nowhere", "/data.bin", "/sub", "/", "/empty.txt", "/plain/",
                   "/data.bin", "/.secret", "/hello.txt"]
        alone = [self.fetch(target) for target in targets]
        with self.connect() as connection:
            connection.send(b"".join(request(target) for target in targets))
            for target, expected in zip(targets, alone):
                response = connection.response()
                self.assertEqual((target, response.status, response.body),
                                 (target, expected.status, expected.body))

    def test_pipelined_heads_have_no_bodies(self):
        with self.connect() as connection:
            connection.send(b"".join(request("/hello.txt", "HEAD") + request("/hello.txt")
                                     for _ in range(5)))
            for _ in range(5):
                self.assertEqual(connection.response("HEAD").length, len(HELLO))
                self.assertEqual(connection.response().body, HELLO)

    def test_many_pipelined_requests(self):
        count = 500
        with self.connect() as connection:
            connection.send(request("/hello.txt") * count)
            for _ in range(count):
                self.assertEqual(connection.response().body, HELLO)

    def test_close_is_obeyed(self):
        for value in ("close", "Close", "foo, CLOSE", "keep-alive, close", "foo , ,close"):
            with self.subTest(value), self.connect() as connection:
                response = connection.ask("/hello.txt", headers=[f"Connection: {value}"])
                self.assertEqual(response.body, HELLO)
                connection.expect_end()

    def test_nothing_is_answered_after_close(self):
        with self.connect() as connection:
            connection.send(request("/hello.txt", headers=["Connection: close"])
                            + request("/empty.txt"))
            self.assertEqual(connection.response().body, HELLO)
            connection.expect_end()

    def test_http_1_0_closes(self):
        with self.connect() as connection:
            connection.send(b"GET /hello.txt HTTP/1.0\r\n\r\n")
            self.assertEqual(connection.response().body, HELLO)
            connection.expect_end(announced=False)

    def test_http_1_0_keeps_alive_when_asked(self):
        with self.connect() as connection:
            for _ in range(3):
                connection.send(b"GET /hello.txt HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
                response = connection.response()
                self.assertEqual(response.body, HELLO)
                self.assertEqual(response["Connection"].lower(), "keep-alive")

    def test_not_found_keeps_the_connection(self):
        with self.connect() as connection:
            for target, status in (("/nowhere", 404), ("/hello.txt", 200), ("/sub", 301),
                                   ("/.secret", 404), ("/hello.txt", 200)):
                self.assertEqual(connection.ask(target).status, status)

    def test_not_modified_keeps_the_connection(self):
        with self.connect() as connection:
            for status, headers in ((304, ["If-None-Match: *"]), (200, []), (304,
                                    [f"If-Modified-Since: {OLD_DATE}"]), (200, [])):
                self.assertEqual(connection.ask("/hello.txt", headers=headers).status, status)


class KeepAliveOverTls(KeepAlive):
    tls = True


class KeepAliveWithPoll(KeepAlive):
    options = ("--poll", "--workers", "1")
    tls = True


class HalfClosed(support.ServerTest):
    def test_client_may_close_its_half_after_the_request(self):
        with self.connect() as connection:
            connection.send(request("/hello.txt") + request("/data.bin"))
            connection.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(connection.response().body, HELLO)
            self.assertEqual(connection.response().body, DATA)
            connection.expect_end(announced=False)


class Conditionals(support.ServerTest):
    """RFC 9110, 13."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with support.Connection(cls.server.http_port) as connection:
            cls.tag = connection.ask("/hello.txt")["ETag"]

    def status(self, *headers, method="GET"):
        response = self.fetch("/hello.txt", method, headers)
        self.assertIn(response.status, (200, 304))
        self.assertEqual(response["ETag"], self.tag)
        if response.status == 304 and response["Content-Length"] is not None:
            self.assertEqual(response.length, len(HELLO))
        return response.status

    def test_if_none_match(self):
        self.assertEqual(self.status(f"If-None-Match: {self.tag}"), 304)
        self.assertEqual(self.status(f"If-None-Match: {self.tag}", method="HEAD"), 304)
        self.assertEqual(self.status('If-None-Match: "other"'), 200)

    def test_if_none_match_list(self):
        self.assertEqual(self.status(f'If-None-Match: "a", W/"b,c" ,{self.tag}'), 304)
        self.assertEqual(self.status(f'If-None-Match: "a,{self.tag[1:-1]}", "b"'), 200)

    def test_if_none_match_compares_weakly(self):
        self.assertEqual(self.status(f"If-None-Match: W/{self.tag}"), 304)

    def test_if_none_match_star(self):
        self.assertEqual(self.status("If-None-Match: *"), 304)
        self.assertEqual(self.fetch("/nowhere", headers=["If-None-Match: *"]).status, 404)

    def test_if_modified_since(self):
        for date, status in ((OLD_DATE, 304), ("Sun, 09 Sep 2001 01:46:41 GMT", 304),
                             ("Sun, 09 Sep 2001 01:46:39 GMT", 200)):
            with self.subTest(date):
                self.assertEqual(self.status(f"If-Modified-Since: {date}"), status)

    def test_if_modified_since_in_old_forms(self):
        for date, status in (("Sunday, 09-Sep-01 01:46:40 GMT", 304),
                             ("Sunday, 09-Sep-01 01:46:39 GMT", 200),
                             ("Sun Sep  9 01:46:40 2001", 304), ("Sun Sep  9 01:46:39 2001", 200)):
            with self.subTest(date):
                self.assertEqual(self.status(f"If-Modified-Since: {date}"), status)

    def test_invalid_date_is_ignored(self):
        for date in ("yesterday", "2099-01-01", "1000000001", "", "Sun, 39 Sep 2099 01:46:40 GMT"):
            with self.subTest(date):
                self.assertEqual(self.status(f"If-Modified-Since: {date}"), 200)

    def test_if_none_match_decides_alone(self):
        self.assertEqual(self.status('If-None-Match: "x"', f"If-Modified-Since: {OLD_DATE}"), 200)
        self.assertEqual(self.status(f"If-None-Match: {self.tag}",
                                     "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT"), 304)

    def test_not_modified_comes_before_the_range(self):
        self.assertEqual(self.status(f"If-None-Match: {self.tag}", "Range: bytes=0-1"), 304)


class ConditionalsOverTls(Conditionals):
    tls = True


class Ranges(support.ServerTest):
    """RFC 9110, 14."""
    SIZE = len(DATA)

    def part(self, value, first, last, *headers):
        """The range is satisfied by these bytes, both ends included."""
        with self.subTest(value):
            response = self.fetch("/data.bin", headers=[f"Range: {value}", *headers])
            self.assertEqual(response.status, 206)
            self.assertEqual(response["Content-Range"], f"bytes {first}-{last}/{self.SIZE}")
            self.assertEqual(response.body, DATA[first:last + 1])

    def whole(self, value, *headers):
        with self.subTest(value):
            response = self.fetch("/data.bin", headers=[f"Range: {value}", *headers])
            self.assertEqual((response.status, response["Content-Range"]), (200, None))
            self.assertEqual(response.body, DATA)

    def unsatisfiable(self, value):
        with self.subTest(value):
            response = self.fetch("/data.bin", headers=[f"Range: {value}"])
            self.assertEqual(response.status, 416)
            self.assertEqual(response["Content-Range"], f"bytes */{self.SIZE}")

    def test_ranges_are_offered(self):
        self.assertEqual(self.fetch("/data.bin")["Accept-Ranges"], "bytes")

    def test_first_bytes(self):
        self.part("bytes=0-0", 0, 0)
        self.part("bytes=0-9", 0, 9)
        self.part(f"bytes=0-{self.SIZE - 1}", 0, self.SIZE - 1)

    def test_middle(self):
        self.part("bytes=50000-69999", 50000, 69999)
        self.part("bytes=0004-0007", 4, 7)

    def test_suffix(self):
        self.part("bytes=-1", self.SIZE - 1, self.SIZE - 1)
        self.part("bytes=-70000", 30000, self.SIZE - 1)

    def test_suffix_longer_than_the_file_is_all_of_it(self):
        self.part(f"bytes=-{self.SIZE + 1}", 0, self.SIZE - 1)
        self.part("bytes=-99999999999999999999999", 0, self.SIZE - 1)

    def test_open_end(self):
        self.part("bytes=0-", 0, self.SIZE - 1)
        self.part(f"bytes={self.SIZE - 1}-", self.SIZE - 1, self.SIZE - 1)

    def test_last_position_is_cut_to_the_file(self):
        self.part(f"bytes=99990-{self.SIZE}", 99990, self.SIZE - 1)
        self.part("bytes=99990-99999999999999999999999", 99990, self.SIZE - 1)
        self.part("bytes=5-18446744073709551615", 5, self.SIZE - 1)

    def test_beyond_the_end_is_416(self):
        for value in (f"bytes={self.SIZE}-", f"bytes={self.SIZE}-{self.SIZE + 5}", "bytes=-0",
                      "bytes=9223372036854775807-",
                      "bytes=18446744073709551616-18446744073709551625",
                      "bytes=99999999999999999999999-"):
            self.unsatisfiable(value)

    def test_first_byte_of_an_empty_file_is_416(self):
        response = self.fetch("/empty.txt", headers=["Range: bytes=0-"])
        self.assertEqual((response.status, response["Content-Range"]), (416, "bytes */0"))

    def test_unit_is_case_insensitive(self):
        self.part("Bytes=1-2", 1, 2)

    def test_invalid_is_ignored(self):
        for value in ("bytes=5-2", "bytes=a-b", "bytes", "bytes=", "bytes=-", "bytes=1",
                      "lines=0-1", "bytes=0-1x", "bytes=--1", "bytes=+1-2", "bytes=1-2-3", "0-1",
                      "=0-1", "bytes 0-1", "bytes=0x1-2", "bytes=1.0-2"):
            self.whole(value)

    def test_several_that_touch_are_one(self):
        self.part("bytes=0-1,2-4", 0, 4)
        self.part("bytes=5-9,0-7", 0, 9)
        self.part("bytes=" + ",".join(["5-"] * 500), 5, self.SIZE - 1)
        self.part(f"bytes=0-1,{self.SIZE}-", 0, 1)

    def test_several_that_come_to_the_whole_are_ignored(self):
        for value in ("bytes=0-,0-", "bytes=500-,0-499", "bytes=" + ",".join(["0-"] * 500)):
            self.whole(value)

    def test_head_ignores_ranges(self):
        response = self.fetch("/data.bin", "HEAD", ["Range: bytes=0-9"])
        self.assertEqual((response.status, response.length), (200, self.SIZE))

    def test_not_found_ignores_ranges(self):
        self.assertEqual(self.fetch("/nowhere", headers=["Range: bytes=0-9"]).status, 404)

    def test_if_range_with_a_strong_tag(self):
        tag = self.fetch("/data.bin")["ETag"]
        self.part("bytes=0-9", 0, 9, f"If-Range: {tag}")
        self.whole("bytes=0-9", f"If-Range: W/{tag}")
        self.whole("bytes=0-9", 'If-Range: "other"')

    def test_if_range_with_a_date(self):
        self.part("bytes=0-9", 0, 9, f"If-Range: {OLD_DATE}")
        self.whole("bytes=0-9", "If-Range: Sun, 09 Sep 2001 01:46:39 GMT")
        self.whole("bytes=0-9", "If-Range: Sun, 09 Sep 2001 01:46:41 GMT")
        self.whole("bytes=0-9", "If-Range: nonsense")

    def test_unsatisfiable_range_of_another_version_is_ignored(self):
        self.whole(f"bytes={self.SIZE}-", 'If-Range: "other"')


class RangesOverTls(Ranges):
    tls = True


if __name__ == "__main__":
    unittest.main()
