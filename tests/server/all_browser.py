"""A real browser: headless Chromium opens the sample site over HTTPS. Screenshots of what it saw
are left in build/browser/."""
import re
import shutil
import subprocess
import tempfile
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


if __name__ == "__main__":
    unittest.main()
