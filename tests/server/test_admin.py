"""What goes on inside: /-/metrics, /-/status.json, /-/health and the dashboard; who may see them,
and whether their figures are right."""
import base64
import hashlib
import json
import re
import shutil
import signal
import socket
import unittest

import support
from support import Connection, Server, ServerTest, request, wait_until

PATHS = ["/-/", "/-/metrics", "/-/status.json", "/-/health", "/-/dashboard.css",
         "/-/dashboard.js"]
TEN = ["memory_total_bytes", "memory_heap_bytes", "buffer_pool_allocated",
       "buffer_pool_available", "connections_active", "connections_idle",
       "open_file_cache_entries", "response_cache_bytes", "tls_session_cache_entries",
       "memory_pressure"]
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[ -~]*",?)+)\})? ([0-9.]+)')


def samples(text):
    """The samples of a text for Prometheus, checked by the rules of its format."""
    found, typed, family = {}, {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in typed, f"{family} stands twice"
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family, line
            typed[family] = line.split()[3]
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name = re.sub("_(bucket|sum|count)$", "", match[1]) \
                if typed[family] == "histogram" else match[1]
            assert name == family, f"{name} among {family}"
            assert (match[1], match[2]) not in found, f"{line} stands twice"
            found[match[1], match[2]] = float(match[3])
    return found


class AdminTest(ServerTest):
    def metrics(self):
        return samples(self.fetch("/-/metrics").body.decode())

    def status(self):
        return json.loads(self.fetch("/-/status.json").body)

    def answers(self, status, method, code):
        return status["requests"][method][code]

    def assert_hidden(self, response):
        """As if there were no such thing."""
        self.assertEqual(response.status, 404)
        self.assertNotIn(b"mmserve_", response.body)


class Reports(AdminTest):
    def test_all_paths_and_methods(self):
        for target in PATHS:
            response = self.fetch(target)
            self.assertEqual(response.status, 200, target)
            self.assertEqual(response["cache-control"], "no-store")
            self.assertEqual(response["x-content-type-options"], "nosniff")
            self.assertEqual(response["cross-origin-resource-policy"], "same-origin")
            head = self.fetch(target, "HEAD")
            self.assertEqual((head.status, head["content-type"]), (200, response["content-type"]))
            self.assertGreater(head.length, 0)
            options = self.fetch(target, "OPTIONS")
            self.assertEqual((options.status, options["allow"]), (204, "GET, HEAD, OPTIONS"))
            for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
                other = self.fetch(target, method)
                self.assertEqual((other.status, other["allow"]), (405, "GET, HEAD, OPTIONS"))
            self.assertEqual(self.fetch(target, "BREW").status, 501)

    def test_queries_do_not_matter(self):
        for query in ("?", "?x=1", "?" + "a=%00&<script>" * 500):
            self.assertEqual(self.fetch("/-/health" + query).status, 200)
            response = self.fetch("/-/metrics" + query)
            self.assertEqual(response.status, 200)
            self.assertNotIn(b"<script>", response.body)

    def test_other_paths_are_the_folders(self):
        for target in ("/-", "/-/x", "/-/metrics/", "/-/health/x", "/-/%6detrics", "/%2d/metrics",
                       "//-/metrics", "/-//metrics", "/-/../-/metrics", "/-/status.json%00",
                       "/-/Metrics", "/-/."):
            self.assertIn(self.fetch(target).status, (400, 404), target)

    def test_types_and_policy(self):
        page = self.fetch("/-/")
        policy = page["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertRegex(page.body.decode(), "(?s)^<!DOCTYPE html>.*viewport")
        self.assertNotRegex(page.body.decode(), r"(?i)<style|<script>| on[a-z]+=|https?://(?!www\.w3)")
        self.assertRegex(self.fetch("/-/metrics")["content-type"], "^text/plain; version=0.0.4")
        self.assertEqual(self.fetch("/-/status.json")["content-type"], "application/json")
        self.assertRegex(self.fetch("/-/dashboard.js")["content-type"], "^text/javascript")
        self.assertRegex(self.fetch("/-/dashboard.css")["content-type"], "^text/css")
        files = {name: (support.TOP / f"demo/dashboard.{name}").read_bytes()
                 for name in ("html", "css", "js")}
        self.assertEqual(page.body, files["html"])
        self.assertEqual(self.fetch("/-/dashboard.js").body, files["js"])
        self.assertEqual(self.fetch("/-/dashboard.css").body, files["css"])

    def test_the_ten(self):
        found = {name for name, _ in self.metrics()}
        self.assertEqual({f"webserver_{name}" for name in TEN} - found, set())
        sizes = {labels for name, labels in self.metrics()
                 if name == "webserver_buffer_pool_allocated"}
        self.assertLessEqual({'size="4096"', 'size="16384"', 'size="65536"'}, sizes)

    def test_json_and_text_agree(self):
        metrics, status = self.metrics(), self.status()
        for name in ("connections_idle", "tls_session_cache_entries", "memory_pressure"):
            self.assertEqual(metrics[f"webserver_{name}", None], status["webserver"][name])
        self.assertEqual(set(status), {
            "version", "health", "time_ms", "webserver", "pressure", "process", "connections",
            "tls", "traffic", "files", "responses", "sessions", "chunks", "arenas", "slabs",
            "heap", "descriptors", "uploads", "log", "requests", "latency", "pools", "budgets"})

    def test_memory_is_the_process(self):
        status = self.status()
        if support.SANDBOX:
            self.assertAlmostEqual(status["process"]["resident_bytes"] / 1024,
                                   self.server.status("VmRSS"), delta=4096)
        self.assertGreater(status["heap"]["live"], 0)
        self.assertEqual(status["heap"]["committed"], sum(
            status["heap"][name] for name in ("live", "cached", "metadata")))
        names = [row["name"] for row in status["budgets"]]
        self.assertEqual(len(names), len(set(names)))
        for index, row in enumerate(status["budgets"]):
            self.assertLess(row["parent"], index)  # parents come first
        for index, row in enumerate(status["budgets"]):
            below = sum(each["live"] for each in status["budgets"] if each["parent"] == index)
            self.assertGreaterEqual(row["peak"], row["live"])
            self.assertGreaterEqual(row["live"] + (1 << 20), below)  # others are at work

    def test_requests_are_counted_by_method_and_class(self):
        before = self.status()
        for _ in range(3):
            self.fetch("/hello.txt", "HEAD")
        for _ in range(2):
            self.fetch("/nowhere", "HEAD")
        self.fetch("/sub", "HEAD")
        now = self.status()
        for code, count in (("2xx", 3), ("4xx", 2), ("3xx", 1), ("5xx", 0)):
            self.assertEqual(self.answers(now, "HEAD", code),
                             self.answers(before, "HEAD", code) + count, code)

    def test_latency_counts_each_answer_once(self):
        before = self.status()["latency"]
        for _ in range(20):
            self.fetch("/data.bin")
        now = wait_until(lambda: self.passed(before, 21), "21 answers more")
        self.assertEqual(len(now["counts"]), len(now["bounds_us"]) + 1)
        self.assertEqual(now["bounds_us"], sorted(now["bounds_us"]))
        self.assertGreater(now["sum_us"], before["sum_us"])

    def passed(self, before, count):
        now = self.status()["latency"]
        return now if sum(now["counts"]) >= sum(before["counts"]) + count else None

    def test_histogram_is_cumulative(self):
        metrics = self.metrics()
        buckets = [value for (name, _), value in metrics.items()
                   if name == "mmserve_request_duration_seconds_bucket"]
        self.assertEqual(buckets, sorted(buckets))
        self.assertEqual(buckets[-1], metrics["mmserve_request_duration_seconds_count", None])

    def test_bytes_are_counted(self):
        before = self.status()["traffic"]
        for _ in range(3):
            self.fetch("/data.bin")
        now = wait_until(lambda: self.sent(before["out"] + 3 * len(support.DATA)), "three files")
        self.assertLess(now["out"] - before["out"], 3 * len(support.DATA) + (1 << 20))
        self.assertGreater(now["in"], before["in"])

    def sent(self, least):
        now = self.status()["traffic"]
        return now if now["out"] > least else None

    def test_connections_by_state(self):
        def shows(**wanted):
            now = self.status()["connections"]
            return all(now[name] == value for name, value in wanted.items())
        wait_until(lambda: shows(idle=0, reading=1, writing=0, handshake=0, closing=0), "quiet")
        idle = [self.connect() for _ in range(3)]
        for connection in idle:
            connection.ask("/hello.txt")
        half = self.connect()
        half.send(b"GET / HT")
        mute = Connection(self.server.https_port)  # no ClientHello
        self.addCleanup(mute.close)
        # the one that asks is reading as far as it knows: its state is shown at the turn's end
        wait_until(lambda: shows(idle=3, reading=2, handshake=1), "3 idle, 1 reading, 1 handshake")
        now = self.status()["connections"]
        self.assertEqual(now["open"], sum(now[name] for name in (
            "handshake", "reading", "uploading", "writing", "idle", "closing")))
        for connection in [*idle, half, mute]:
            connection.close()
        wait_until(lambda: shows(idle=0, reading=1, handshake=0), "quiet again")

        def adds_up():
            now = self.status()["connections"]
            return now["accepted"] - now["closed"] == now["open"]
        wait_until(adds_up, "those accepted are closed or open")

    def test_a_slow_reader_is_writing(self):
        big = self.site / "big.bin"
        big.write_bytes(bytes(16 << 20))
        self.addCleanup(big.unlink)
        slow = self.connect(buffer=4096)
        slow.send(request("/big.bin"))
        wait_until(lambda: self.status()["connections"]["writing"] >= 1, "one that is written to")
        slow.close()
        wait_until(lambda: self.status()["connections"]["writing"] == 0, "it has gone")

    def test_handshakes(self):
        before = self.status()["tls"]
        context = support.client_context(version=support.ssl.TLSVersion.TLSv1_2)
        with Connection(self.server.https_port, True, context=context) as first:
            first.ask("/hello.txt")
            session = first.socket.session
        with Connection(self.server.https_port, True, context=context, session=session) as second:
            second.ask("/hello.txt")
            self.assertTrue(second.socket.session_reused)
        with Connection(self.server.https_port) as wrong:
            wrong.send(b"\x16\x03\x01\x00\x05hello")
            while wrong.receive():
                pass
        with Connection(self.server.https_port) as plain:
            self.assertEqual(plain.ask("/").status, 400)

        def counted():
            now = self.status()["tls"]
            more = {name: now[name] - before[name] for name in now}
            return more["full"] >= 1 and more["resumed"] >= 1 and more["failed"] >= 2
        wait_until(counted, "a full, a resumed and two failed handshakes")

    def test_caches_are_counted(self):
        before = self.status()["files"]
        with self.connect() as connection:
            for _ in range(30):
                connection.ask("/hello.txt")

        def counted():
            now = self.status()["files"]
            return now["hits"] + now["misses"] >= before["hits"] + before["misses"] + 30
        # a cache of whole responses may stand before that of files
        wait_until(lambda: counted() or self.status()["responses"]["hits"] > 0, "lookups")

    def test_busy_counters_are_read_while_they_change(self):
        connections = [self.connect() for _ in range(8)]
        for connection in connections:
            connection.send(request("/hello.txt") * 20)
        last = 0
        for _ in range(20):
            status = self.status()
            total = sum(sum(row.values()) for row in status["requests"].values())
            self.assertGreaterEqual(total, last)
            last = total
        for connection in connections:
            for _ in range(20):
                self.assertEqual(connection.response().body, support.HELLO)

    @unittest.skipUnless(shutil.which("promtool"), "Debian's package prometheus has promtool")
    def test_promtool(self):
        done = support.subprocess.run(["promtool", "check", "metrics"], capture_output=True,
                                      input=self.fetch("/-/metrics").body)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))


class ReportsTls(Reports):
    tls = True


class Admission(AdminTest):
    """By default: this machine, and nobody who speaks for another."""
    def fetch_for(self, host, *headers):
        with self.connect() as connection:
            connection.send(request("/-/metrics", headers=[*headers, "Connection: close"],
                                    host=host))
            return connection.response()

    def test_hosts(self):
        for host in ("localhost", "LocalHost:8443", "127.0.0.1", "127.9.9.9:1", "[::1]:8443",
                     "site.localhost", "[::ffff:127.0.0.1]"):
            self.assertEqual(self.fetch_for(host).status, 200, host)
        for host in ("example.com", "localhost.example.com", "notlocalhost", ".localhost", "",
                     "10.0.0.1", "[::2]", "127.0.0.1.example.com", "[::ffff:10.0.0.1]"):
            self.assertIn(self.fetch_for(host).status, (400, 404), host)

    def test_no_host(self):
        with self.connect() as connection:
            connection.send(b"GET /-/health HTTP/1.0\r\n\r\n")
            self.assert_hidden(connection.response())

    def test_forwarded(self):
        for field in ("X-Forwarded-For: 127.0.0.1", "x-forwarded-host: localhost", "Via: 1.1 a",
                      "Forwarded: for=127.0.0.1", "X-Real-IP: ::1", "X-Forwarded-For:",
                      "CF-Connecting-IP: 1.1.1.1", "True-Client-IP: 1.1.1.1"):
            for target in PATHS:
                self.assert_hidden(self.fetch(target, headers=[field]))

    def test_other_sites(self):
        port = self.server.port(self.tls)
        own = [f"Host: localhost:{port}", f"Origin: https://localhost:{port}"]
        with self.connect() as connection:
            connection.send(request("/-/health", headers=own, host=None))
            self.assertEqual(connection.response().status, 200)
        for origin in ("https://example.com", "null", "https://localhost:1", "https:/", "", "x"):
            self.assert_hidden(self.fetch("/-/status.json", headers=[f"Origin: {origin}"]))

    def test_other_addresses_of_this_machine(self):
        if support.HAS_IPV6:
            with self.connect(host="::1") as connection:
                self.assertEqual(connection.ask("/-/health").status, 200)
        outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with outside:
            try:
                outside.connect(("192.0.2.1", 9))  # sends nothing
            except OSError:
                self.skipTest("no address but loopback's")
            host = outside.getsockname()[0]
        with self.connect(host=host) as connection:
            self.assert_hidden(connection.ask("/-/health"))

    def test_hidden_from_a_unix_socket(self):
        path = self.folder / "socket"
        with Server(self.site, "--bind", "127.0.0.1", "--bind", f"unix:{path}"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(support.PATIENCE)
                client.connect(str(path))
                client.sendall(request("/-/health", headers=["Connection: close"]))
                self.assertIn(b" 404 ", client.recv(1 << 16))


class Options(unittest.TestCase):
    def setUp(self):
        self.folder = support.temporary_folder(self.addCleanup)
        self.site = support.make_small_site(self.folder)

    def status(self, server, target="/-/health", headers=()):
        with Connection(server.http_port) as connection:
            return connection.ask(target, headers=headers).status

    def test_off_leaves_the_folder(self):
        (self.site / "-").mkdir()
        (self.site / "-/health").write_text("mine")
        with Server(self.site, "--admin", "off") as server:
            with Connection(server.http_port) as connection:
                self.assertEqual(connection.ask("/-/health").body, b"mine")
                self.assertEqual(connection.ask("/-/metrics").status, 404)
                self.assertEqual(connection.ask("/-/").status, 200)  # its listing
        with Server(self.site) as server:
            with Connection(server.http_port) as connection:
                self.assertEqual(connection.ask("/-/health").body, b"ok\n")
                public = connection.ask("/-/health", headers=["X-Forwarded-For: 192.0.2.1"])
                self.assertEqual(public.body, b"mine")
                self.assertEqual(connection.ask("/-/health").body, b"ok\n")

    def test_all(self):
        path = self.folder / "socket"
        with Server(self.site, "--admin", "all", "--bind", "127.0.0.1", "--bind",
                    f"unix:{path}") as server:
            self.assertEqual(self.status(server, headers=["X-Forwarded-For: 192.0.2.1"]), 200)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(support.PATIENCE)
                client.connect(str(path))
                client.sendall(request("/-/health", headers=["Connection: close"]))
                self.assertIn(b" 200 ", client.recv(1 << 16))

    def test_networks(self):
        for options, wanted in ((["127.0.0.1"], 200), (["127.0.0.0/8"], 200), (["10.0.0.1"], 404),
                                (["10.0.0.1", "127.0.0.1/32"], 200), (["0.0.0.0/0"], 200),
                                (["::ffff:127.0.0.1"], 200), (["127.0.0.2"], 404),
                                (["10.0.0.1", "loopback"], 200), (["::1"], 404)):
            each = [word for option in options for word in ("--admin", option)]
            with Server(self.site, *each) as server:
                self.assertEqual(self.status(server), wanted, options)
                self.assertEqual(self.status(server, headers=["X-Forwarded-For: ::1"]), 404)

    def test_bad_values(self):
        for values in (["on"], ["127.0.0.1/33"], ["127.0.0.1/"], ["127.0.0.1/-1"], ["::1/129"],
                       ["1.2.3"], ["localhost"], ["/8"], ["127.0.0.1/8/8"], ["off", "all"],
                       ["all", "off"], ["127.0.0.1/0x8"], [""]):
            each = [f"--admin={value}" for value in values]
            status, output, error = support.run_server(*each, self.site)
            self.assertEqual((status, output), (2, ""), values)
            self.assertIn("--admin", error)

    def test_passwords(self):
        password = "correct horse battery staple"
        digest = hashlib.sha256(password.encode()).hexdigest()
        basic = "Authorization: Basic " + base64.b64encode(f"me:{password}".encode()).decode()
        with Server(self.site, "--auth", f"me:{digest}", "--redirect-http") as server:
            with Connection(server.https_port, True) as connection:
                for target in PATHS:
                    refused = connection.ask(target)
                    self.assertEqual(refused.status, 401)
                    self.assertIn("Basic", refused["www-authenticate"])
                    self.assertEqual(connection.ask(target, headers=[basic]).status, 200)
                self.assertEqual(connection.ask("/-/", "POST").status, 401)
            with Connection(server.http_port) as connection:
                self.assertEqual(connection.ask("/-/health").status, 308)

    def test_cors_opens_nothing(self):
        with Server(self.site, "--cors", "*") as server:
            self.assertEqual(self.status(server, headers=["Origin: https://example.com"]), 404)
            self.assertEqual(self.status(server), 200)

    def test_an_upload_place_at_the_root(self):
        (self.site / "-").mkdir()
        with Server(self.site, "--upload", f"/={self.site}", "--upload-open") as server:
            server.complaint("--upload-open")
            with Connection(server.http_port) as connection:
                connection.send(request("/-/health", "PUT", ["Content-Length: 2"]) + b"hi")
                self.assertEqual(connection.response("PUT").status, 201)
                self.assertEqual(connection.ask("/-/health").body, b"ok\n")
                status = json.loads(connection.ask("/-/status.json").body)
                self.assertEqual(status["uploads"]["files"], 1)
                self.assertEqual(status["requests"]["PUT"]["2xx"], 1)

    def test_draining_is_not_healthy(self):
        for _ in range(10):  # a slow machine may miss the moment, which is a second long
            if self.is_draining_told():
                return
        self.fail("no answer in time, ten times over")

    def is_draining_told(self):
        with Server(self.site) as server:
            fresh = Connection(server.http_port)  # which has a moment for its request
            self.addCleanup(fresh.close)
            with Connection(server.http_port) as connection:  # by now it has been accepted
                wait_until(lambda: json.loads(connection.ask("/-/status.json").body)
                           ["connections"]["open"] == 2, "both connections")
            fresh.send(b"GET /-/health HTTP/1.1\r\nHost: localhost\r\n")
            server.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(server.http_port), "draining")
            try:
                fresh.send(b"\r\n")
                response = fresh.response()
            except (AssertionError, OSError):
                return False
            self.assertEqual(server.wait(), 0)
            if response.status == 408:
                return False
            self.assertEqual((response.status, response.body), (503, b"draining\n"))
            self.assertTrue(response.closes)
            return True

    def test_refused_connections_are_counted(self):
        with Server(self.site, "--max-conns-per-ip", "2") as server:
            with Connection(server.http_port) as one, Connection(server.http_port) as two:
                one.ask("/hello.txt")
                two.ask("/hello.txt")
                with Connection(server.http_port) as three:
                    self.assertFalse(three.receive())
                now = wait_until(lambda: json.loads(one.ask("/-/status.json").body)
                                 ["connections"]["refused"], "one that was refused")
                self.assertEqual(now, 1)

    def test_workers_are_added_up(self):
        with Server(self.site, "--workers", "4") as server:
            connections = [Connection(server.http_port) for _ in range(24)]
            for connection in connections:
                self.addCleanup(connection.close)
                self.assertEqual(connection.ask("/hello.txt").status, 200)
            status = json.loads(connections[0].ask("/-/status.json").body)
            self.assertEqual(status["requests"]["GET"]["2xx"], 24)
            self.assertEqual(status["connections"]["open"], 24)
            self.assertEqual(status["process"]["workers"], 4)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    unittest.main()
