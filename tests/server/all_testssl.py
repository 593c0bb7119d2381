"""testssl.sh, which tries the protocols, ciphers and known attacks of many years on the TLS port."""
import json
import shutil
import subprocess
import unittest

import support

TESTSSL = shutil.which("testssl") or shutil.which("testssl.sh")
MINUTES = 20  # it takes two of a machine of its own
# A certificate that nobody has signed cannot be vouched for or revoked by anybody.
SELF_SIGNED = {"cert_chain_of_trust", "cert_revocation", "cert_notRevoked"}
ALLOWED = ("OK", "INFO", "LOW")


class Scan(unittest.TestCase):
    def scan(self, *options):
        """What it finds, by name; the finding itself behind it."""
        self.assertIsNotNone(TESTSSL, "testssl.sh is missing")
        folder = support.temporary_folder(self.addCleanup)
        result = folder / "result.json"
        with support.Server(support.TOP / "demo/www", *options, log="none") as server:
            done = subprocess.run(
                [TESTSSL, "--quiet", "--warnings", "off", "--color", "0", "--nodns", "none",
                 "--ip", "127.0.0.1", "--jsonfile", result, f"localhost:{server.https_port}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=60 * MINUTES)
        findings = json.loads(result.read_text())
        self.assertGreater(len(findings), 100, done.stdout.decode(errors="replace"))
        return findings

    def check(self, findings):
        bad = [f"{each['severity']} {each['id']}: {each['finding']}" for each in findings
               if each["severity"] not in ALLOWED and each["id"] not in SELF_SIGNED
               # about the machine and the program that look, not about what they look at
               and each["severity"] not in ("WARN", "DEBUG")]
        self.assertEqual(bad, [])
        offered = {each["id"]: each["finding"] for each in findings}
        for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
            self.assertIn("not offered", offered[name])
        for name in ("TLS1_2", "TLS1_3"):
            self.assertNotIn("not offered", offered[name])

    def test_made_certificate(self):
        self.check(self.scan("--hsts"))

    def test_rsa_certificate(self):
        folder = support.temporary_folder(self.addCleanup)
        pair = [folder / name for name in ("cert", "key")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-addext", "extendedKeyUsage=serverAuth", "-out", pair[0], "-keyout",
                        pair[1]], check=True, stderr=subprocess.DEVNULL)
        self.check(self.scan("--cert", pair[0], "--key", pair[1]))


if __name__ == "__main__":
    unittest.main()
