"""The access log of a server that is left running: opened again, as JSON, and what drains."""
import json
import os
import re
import signal
import threading
import unittest

import support
from support import HELLO, Connection, Server, request, wait_until

LARGE = 16 << 20  # more than the sockets of a connection hold


class LogTest(unittest.TestCase):
    def setUp(self):
        self.folder = support.temporary_folder(self.addCleanup)
        self.site = support.make_small_site(self.folder)
        self.log = self.folder / "access.log"

    def serve(self, *options, **more):
        server = Server(self.site, *options, log=self.log, **more)
        self.addCleanup(server.stop)
        return server


class Reopening(LogTest):
    def test_no_line_is_lost_or_torn(self):
        server = Server(self.site, "--workers", 3, log=self.log)
        self.addCleanup(server.kill)
        asked, over, failures = [0] * 4, threading.Event(), []

        def load(number):
            try:
                while not over.is_set():
                    with Connection(server.http_port) as connection:
                        for _ in range(20):
                            connection.ask(f"/hello.txt?{number}.{asked[number]}")
                            asked[number] += 1
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=load, args=(i,)) for i in range(len(asked))]
        for thread in threads:
            thread.start()
        moved = []
        try:
            for i in range(4 if support.SLOW else 12):
                wait_until(lambda: failures or self.log.exists() and self.log.stat().st_size > 1000,
                           "lines in the log")
                moved.append(self.folder / f"access.log.{i}")
                self.log.rename(moved[-1])
                os.kill(server.pid, (signal.SIGUSR1, signal.SIGHUP)[i % 2])
                wait_until(lambda: failures or self.log.exists(), "a new log")
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        server.send_signal()
        self.assertEqual((server.wait(), support.complaints(server.text("stderr"))), (0, ""))
        found = []
        for path in [*moved, self.log]:
            text = path.read_text()
            self.assertTrue(text.endswith("\n") or not text)
            for line in text.splitlines():
                match = re.fullmatch(r'127\.0\.0\.1 - - \[[^]]+\] "GET /hello\.txt\?(\d)\.(\d+) '
                                     r'HTTP/1\.1" 200 14 "-" "-"', line)
                self.assertTrue(match, line)
                found.append((int(match[1]), int(match[2])))
        self.assertEqual(sorted(found), [(i, j) for i in range(4) for j in range(asked[i])])

    def test_log_that_cannot_be_opened_stays(self):
        server = self.serve()
        moved = self.folder / "moved"
        self.log.rename(moved)
        self.log.mkdir()
        os.kill(server.pid, signal.SIGUSR1)
        self.assertIn(str(self.log), server.complaint("cannot open.*stays"))
        with Connection(server.http_port) as connection:
            connection.ask("/hello.txt")
        wait_until(lambda: moved.read_text().count("\n") == 1, "a line in the old log")

    def test_standard_output_and_none(self):
        for log in ("-", "none"):
            with Server(self.site, log=log) as server:
                for number in (signal.SIGUSR1, signal.SIGHUP) * 3:
                    os.kill(server.pid, number)
                with Connection(server.http_port) as connection:
                    self.assertEqual(connection.ask("/hello.txt").body, HELLO)


class Json(LogTest):
    def test_lines(self):
        server = self.serve("--log-format", "json")
        with Connection(server.http_port) as connection:
            connection.ask("/hello.txt?\"\\", headers=["User-Agent: a \"b\" \\ \xe9", "Referer: x"])
            connection.send(b"bad\xff\r\n\r\n")
            self.assertEqual(connection.response().status, 400)
        lines = [json.loads(line) for line in server.log_lines(2)]
        self.assertRegex(lines[0].pop("time"), r"\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
        self.assertEqual(lines[0], {"peer": "127.0.0.1", "request": 'GET /hello.txt?"\\ HTTP/1.1',
                                    "status": 200, "bytes": 14, "referer": "x",
                                    "agent": 'a "b" \\ \xc3\xa9'})
        self.assertEqual(lines[1]["status"], 400)

    def test_bad_format(self):
        status, _, error = support.run_server("--log-format", "xml", self.site)
        self.assertEqual(status, 2)
        self.assertIn("combined or json", error)


class Draining(LogTest):
    def test_time_is_limited(self):
        (self.site / "large.bin").write_bytes(bytes(LARGE))
        server = Server(self.site, "--drain", 0)
        self.addCleanup(server.kill)
        with Connection(server.http_port, buffer=1 << 16) as connection:
            connection.send(request("/large.bin"))
            connection.head()
            server.send_signal()
            self.assertEqual(server.wait(), 1)
        self.assertIn("had to be cut off", server.text("stderr"))


if __name__ == "__main__":
    unittest.main()
