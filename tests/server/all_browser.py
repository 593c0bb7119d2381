"""A real browser: headless Chromium opens the sample site over HTTPS, and the dashboard of a server
under load. Screenshots of what it saw are left in build/browser/."""
import base64
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import threading
import unittest

import support

CHROMIUM = shutil.which("chromium")
SHOTS = support.BUILD / "browser"
OPTIONS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions
    --disable-dev-shm-usage --ignore-certificate-errors --window-size=1280,1600""".split()
PNG = b"\x89PNG\r\n\x1a\n"


class Browser(unittest.TestCase):
    def setUp(self):
        self.assertIsNotNone(CHROMIUM, "chromium is missing")
        self.server = support.Server(support.TOP / "demo/www")
        self.addCleanup(self.server.stop)
        SHOTS.mkdir(parents=True, exist_ok=True)

    def chromium(self, target, *options):
        """What one visit, by a browser that has never been here, prints."""
        profile = tempfile.mkdtemp(prefix="chromium-")
        self.addCleanup(shutil.rmtree, profile, ignore_errors=True)  # it may still be at work there
        done = subprocess.run(
            [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", *options,
             f"https://localhost:{self.server.https_port}/{target}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=3 * support.PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout.decode()

    def screenshot(self, target, name):
        path = SHOTS / f"{name}.png"
        path.unlink(missing_ok=True)
        self.chromium(target, f"--screenshot={path}")
        self.assertEqual(path.read_bytes()[:8], PNG)
        self.assertGreater(path.stat().st_size, 10_000)  # an empty page has a tenth of that

    def fetched(self):
        """The paths that were answered with 200, as the log has them."""
        lines = b"\n".join(self.server.log_lines()).decode()
        return set(re.findall(r'"GET (\S+) HTTP/1\.1" 200 [1-9]', lines))

    def test_page_loads_with_style_image_and_script(self):
        page = self.chromium("", "--dump-dom")
        self.assertIn("Six headers for a server", page)
        needed = {"/", "/style.css", "/pool.png", "/script.js"}
        support.wait_until(lambda: needed <= self.fetched(), f"{needed} in the log")
        self.screenshot("", "home")

    def test_listing_loads(self):
        page = self.chromium("files/", "--dump-dom")
        for name in ("Cr\u00e8me br\u00fbl\u00e9e &amp; caf\u00e9.txt", "nested/", "queue.svg"):
            self.assertIn(name, page)
        self.screenshot("files/", "listing")

    def test_error_page_loads(self):
        self.assertIn("404", self.chromium("nowhere", "--dump-dom"))
        self.screenshot("nowhere", "error")

    def test_folder_without_slash_leads_to_the_page(self):
        self.assertIn("</html>", self.chromium("guide", "--dump-dom"))
        support.wait_until(lambda: "/guide/" in self.fetched(), "/guide/ in the log")


class Tab:
    """A page in a browser that is spoken to through a pipe, by the DevTools protocol: its errors
    are in `errors`, as they come."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        self.errors, self.answers, self.number, self.rest, self.session = [], {}, 0, b"", None
        theirs_in, self.into = os.pipe()
        self.out, theirs_out = os.pipe()
        spare = [os.dup(theirs_in), os.dup(theirs_out)]  # neither of these is 3 or 4 for sure

        def as_3_and_4():
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate(spare)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [CHROMIUM, *OPTIONS, f"--user-data-dir={self.profile}", "--remote-debugging-pipe",
             "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=as_3_and_4)
        for fd in (theirs_in, theirs_out, *spare):
            os.close(fd)
        pages = [each for each in self.call("Target.getTargets")["targetInfos"]
                 if each["type"] == "page"]
        target = pages[0]["targetId"] if pages else \
            self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScrollbarsHidden", hidden=True)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.into)
        os.close(self.out)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **parameters):
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        while number not in self.answers:
            self.receive(3 * support.PATIENCE)
        answer = self.answers.pop(number)
        assert "error" not in answer, answer
        return answer["result"]

    def receive(self, patience):
        assert select.select([self.out], [], [], patience)[0], "the browser says nothing"
        data = os.read(self.out, 1 << 16)
        assert data, "the browser has ended"
        *messages, self.rest = (self.rest + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            elif self.is_error(message["method"], message["params"]):
                self.errors.append(message)

    @staticmethod
    def is_error(method, told):
        return (method == "Runtime.exceptionThrown" or
                method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert") or
                method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"))

    def see(self, width, height, phone=False, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, name, beyond=True):
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=beyond)["data"]
        path = SHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(picture))
        return path


class Dashboard(unittest.TestCase):
    """The page at /-/, while the server has something to do."""

    def setUp(self):
        self.assertIsNotNone(CHROMIUM, "chromium is missing")
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.server = support.Server(support.TOP / "demo/www")
        self.addCleanup(self.server.stop)
        self.tab = Tab()
        self.addCleanup(self.tab.close)
        self.over = threading.Event()

    def load(self):
        """Files, some of them missing, over HTTP and HTTPS; connections that idle and that read
        nothing."""
        idle = [support.Connection(self.server.http_port) for _ in range(12)]
        for connection in idle:
            connection.ask("/style.css")
        mute = [support.Connection(self.server.http_port) for _ in range(3)]
        while not self.over.is_set():
            for tls in (False, True):
                with support.Connection(self.server.port(tls), tls) as connection:
                    for target in ("/", "/style.css", "/pool.png", "/files/", "/nowhere") * 8:
                        connection.ask(target)
        for connection in idle + mute:
            connection.close()

    def under_load(self):
        thread = threading.Thread(target=self.load)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.over.set)

    def open(self, **seen):
        self.tab.see(**seen)
        self.tab.call("Page.navigate", url=f"https://localhost:{self.server.https_port}/-/")
        support.wait_until(lambda: self.points() > 0, "the first figures")

    def points(self):
        """How far the first line has been drawn."""
        path = self.tab.evaluate("(document.querySelector('#charts path') || "
                                 "{getAttribute: () => ''}).getAttribute('d') || ''")
        return len(re.findall("[ML]", path))

    def texts(self, selector):
        return self.tab.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})]"
                                 ".map(e => e.textContent)")

    def tiles(self):
        return dict(zip(self.texts("#tiles span"), self.texts("#tiles b")))

    def test_figures_move_and_nothing_complains(self):
        self.under_load()
        self.open(width=1400, height=1000)
        support.wait_until(lambda: self.points() >= 8, "some seconds of figures")
        self.assertEqual(self.texts("#state"), ["normal"])
        self.assertNotIn(self.tiles()["requests per second"], ("–", "0"))
        self.assertRegex(self.tiles()["p99 latency"], "[0-9] (µs|ms|s)$")
        self.assertGreaterEqual(int(self.tiles()["connections"]), 15)
        before = self.texts("td, #tiles b, .legend b")
        support.wait_until(lambda: self.texts("td, #tiles b, .legend b") != before, "other figures")
        titles = " ".join(self.texts("h2"))
        for title in ("Requests per second", "Latency", "Connections by state", "Memory pressure",
                      "Budget tree", "Pools by class", "Caches"):
            self.assertIn(title, titles)
        self.assertNotRegex(" ".join(self.texts("main")), "NaN|undefined|Infinity|null")
        self.tab.screenshot("dashboard")
        self.tab.see(1400, 1000, dark=True)
        self.tab.screenshot("dashboard-dark")
        self.assertEqual(self.tab.errors, [])

    def test_phone(self):
        self.under_load()
        self.open(width=390, height=844, phone=True)
        support.wait_until(lambda: self.points() >= 4, "some seconds of figures")
        wide = self.tab.evaluate("[...document.querySelectorAll('.scroll')].filter(e => "
                                 "e.scrollWidth > e.clientWidth).map(e => e.textContent)")
        self.assertEqual(wide, [], "wider than the screen")
        self.assertLessEqual(self.tab.evaluate("document.documentElement.scrollWidth"), 390)
        left = self.tab.evaluate("[...new Set([...document.querySelectorAll('section')]"
                                 ".map(e => e.getBoundingClientRect().left))]")
        self.assertEqual(len(left), 1, "more than one column")
        self.tab.screenshot("dashboard-phone")
        self.tab.screenshot("dashboard-phone-top", beyond=False)
        self.tab.see(390, 844, phone=True, dark=True)
        self.tab.screenshot("dashboard-phone-dark")
        self.tab.evaluate("document.querySelector('.tall').scrollIntoView()")
        self.tab.screenshot("dashboard-phone-tree", beyond=False)
        self.assertEqual(self.tab.errors, [])

    def test_everything_has_a_name_and_keys_do_what_the_pointer_does(self):
        self.under_load()
        self.open(width=1400, height=1000)
        support.wait_until(lambda: self.points() >= 4, "some seconds of figures")
        labels = self.tab.evaluate("[...document.querySelectorAll('svg')]"
                                   ".map(e => e.getAttribute('aria-label'))")
        self.assertGreaterEqual(len(labels), 8)
        for label in labels:
            self.assertRegex(label, r"^[A-Z][A-Za-z ]+, now: .*[0-9a-z–]")
        self.assertEqual(self.tab.evaluate(
            "[...document.querySelectorAll('section')].filter(e => !document.getElementById("
            "e.getAttribute('aria-labelledby')).textContent).length"), 0)
        self.tab.evaluate("document.querySelector('svg').focus()")
        for kind in ("keyDown", "keyUp"):
            self.tab.call("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft")
        self.assertRegex(self.texts("section output")[0], "^[0-9]+ s ago$")
        self.tab.evaluate("document.getElementById('pause').click()")
        self.assertEqual(self.texts("#state"), ["paused"])
        self.tab.evaluate("document.getElementById('pause').click()")
        support.wait_until(lambda: self.texts("#state") == ["normal"], "going on")
        self.assertEqual(self.tab.errors, [])

    def test_a_server_that_goes_is_told_of(self):
        self.open(width=1400, height=1000)
        self.server.send_signal()
        self.server.wait()
        support.wait_until(lambda: "no answer" in self.texts("#state")[0], "no answer")


if __name__ == "__main__":
    unittest.main()
