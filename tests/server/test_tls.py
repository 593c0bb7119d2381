"""The TLS side: versions, ciphers, ALPN, certificates, resumption, and clients that break off."""
import hashlib
import os
import socket
import ssl
import subprocess
import unittest

import support
from support import DATA, HELLO, client_context, request

ALERT, HANDSHAKE = 21, 22  # types of a record
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70  # alerts


def client_hello(context=None):
    """The bytes that a client sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = (context or support.CLIENT_CONTEXT).wrap_bio(incoming, outgoing,
                                                          server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def old_client_hello(version):
    """The first bytes of a client of TLS 1.`version - 1` or older, made by hand, since OpenSSL may
    refuse to; it offers the cipher suites that every one of them had."""
    suites = bytes.fromhex("c00ac009c014c0130035002f000a")
    hello = (bytes([3, version]) + bytes(32) + b"\0" + len(suites).to_bytes(2, "big") + suites
             + b"\1\0")
    message = b"\1" + len(hello).to_bytes(3, "big") + hello
    return bytes([HANDSHAKE, 3, version]) + len(message).to_bytes(2, "big") + message


class Tls(support.ServerTest):
    tls = True

    def tearDown(self):
        self.probe()

    def raw(self, data):
        """A plain connection to the TLS port, with the bytes sent."""
        connection = support.Connection(self.server.https_port)
        self.addCleanup(connection.close)
        connection.send(data)
        return connection

    def everything(self, connection):
        """What comes until the connection is closed, which it must be."""
        data = b""
        try:
            while True:
                part = connection.socket.recv(1 << 16)
                if not part:
                    return data
                data += part
        except ConnectionResetError:
            return data

    def handshake_fails(self, context, reason):
        with self.assertRaises(ssl.SSLError) as caught:
            self.connect(context=context)
        self.assertRegex(str(caught.exception).upper().replace(" ", "_"), reason)


class Versions(Tls):
    def test_1_2_and_1_3_work(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.connect(context=client_context(version=version)) as connection:
                self.assertEqual(connection.ask("/data.bin").body, DATA)
                self.assertEqual(connection.socket.version(), version.name.replace("_", "."))

    def test_older_are_refused_with_an_alert(self):
        for version in (2, 1, 0):
            with self.subTest(version), self.raw(old_client_hello(version)) as connection:
                record = self.everything(connection)
                self.assertEqual((record[0], len(record)), (ALERT, 7))
                self.assertIn(record[-1], (PROTOCOL_VERSION, HANDSHAKE_FAILURE))

    def test_only_aead_with_forward_secrecy(self):
        for ciphers in ("AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA",
                        "ECDHE-ECDSA-AES128-SHA256"):
            with self.subTest(ciphers):
                context = client_context(version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)
                self.handshake_fails(context, "HANDSHAKE_FAILURE")

    def test_no_compression(self):
        with self.connect() as connection:
            self.assertIsNone(connection.socket.compression())


class Alpn(Tls):
    def protocol(self, *offered):
        with self.connect(context=client_context(alpn=offered)) as connection:
            self.assertEqual(connection.ask("/hello.txt").body, HELLO)
            return connection.socket.selected_alpn_protocol()

    def test_http_1_1_is_chosen(self):
        self.assertEqual(self.protocol("http/1.1"), "http/1.1")
        self.assertEqual(self.protocol("x", "http/1.1", "y"), "http/1.1")

    def test_without_alpn_it_is_http_1_1_too(self):
        self.assertIsNone(self.protocol())

    def test_nothing_in_common_is_refused_with_an_alert(self):
        for offered in (["h3"], ["spdy/3", "x"], ["http/1.10"], ["HTTP/1.1"], ["y" * 255]):
            with self.subTest(offered):
                self.handshake_fails(client_context(alpn=offered), "NO_APPLICATION_PROTOCOL")

    def test_h2_alone_is_refused_with_an_alert(self):
        self.handshake_fails(client_context(alpn=["h2"]), "NO_APPLICATION_PROTOCOL")


class ServerNames(Tls):
    def test_any_name_gets_the_certificate(self):
        for name in (None, "localhost", "unknown.example", "a" * 63 + ".example", "127.0.0.1"):
            with self.subTest(name):
                context = client_context()
                plain = socket.create_connection(("127.0.0.1", self.server.https_port),
                                                 timeout=support.PATIENCE)
                with context.wrap_socket(plain, server_hostname=name) as connection:
                    self.assertTrue(connection.getpeercert(binary_form=True))


class Certificate(Tls):
    def certificate(self):
        with self.connect() as connection:
            return connection.socket.getpeercert(binary_form=True)

    def text(self):
        return subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-text"], check=True,
                              input=self.certificate(), stdout=subprocess.PIPE).stdout.decode()

    def test_fingerprint_is_printed(self):
        digest = hashlib.sha256(self.certificate()).hexdigest().upper()
        self.assertEqual(self.server.fingerprint.replace(":", ""), digest)

    def test_names(self):
        text = self.text()
        for name in ("DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1",
                     "DNS:" + socket.gethostname()):
            self.assertIn(name, text)

    def test_kind(self):
        text = self.text()
        self.assertIn("prime256v1", text)
        self.assertIn("ecdsa-with-SHA256", text)
        self.assertIn("Version: 3", text)

    def test_it_validates_once_trusted(self):
        pem = ssl.DER_cert_to_PEM_cert(self.certificate())
        context = ssl.create_default_context(cadata=pem)
        for host, name in (("127.0.0.1", "localhost"), ("127.0.0.1", "127.0.0.1"),
                           ("127.0.0.1", "::1")):
            plain = socket.create_connection((host, self.server.https_port),
                                             timeout=support.PATIENCE)
            with context.wrap_socket(plain, server_hostname=name) as connection:
                self.assertIsNotNone(connection.version())

    def test_curl_takes_it_once_trusted(self):
        path = self.folder / "certificate.pem"
        path.write_text(ssl.DER_cert_to_PEM_cert(self.certificate()))
        for host in ("localhost", "127.0.0.1", *(["[::1]"] if support.HAS_IPV6 else [])):
            done = subprocess.run(["curl", "-sS", "-q", "--noproxy", "*", "--cacert", path,
                                   f"https://{host}:{self.server.https_port}/hello.txt"],
                                  stdout=subprocess.PIPE, check=True, timeout=support.PATIENCE)
            self.assertEqual(done.stdout, HELLO)

    def test_each_start_makes_another(self):
        with support.Server(self.site) as other:
            self.assertNotEqual(other.fingerprint, self.server.fingerprint)


class CertificateFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = support.temporary_folder(cls.addClassCleanup)
        (cls.folder / "hello.txt").write_bytes(HELLO)
        cls.pairs = {
            "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "rsa": ["-newkey", "rsa:2048"],
        }
        for name, options in cls.pairs.items():
            subprocess.run(["openssl", "req", "-x509", *options, "-nodes", "-days", "2",
                            "-subj", f"/CN=test-{name}", "-addext", "subjectAltName=DNS:localhost",
                            "-keyout", cls.folder / f"{name}.key", "-out",
                            cls.folder / f"{name}.pem"],
                           check=True, stderr=subprocess.DEVNULL)

    def served(self, *options):
        """The certificate that a server with these options shows."""
        with support.Server(self.folder, *options) as server:
            with support.Connection(server.https_port, tls=True) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)
                certificate = connection.socket.getpeercert(binary_form=True)
            digest = hashlib.sha256(certificate).hexdigest().upper()
            self.assertEqual(server.fingerprint.replace(":", ""), digest)
        return certificate

    def pem(self, name):
        return ssl.PEM_cert_to_DER_cert((self.folder / f"{name}.pem").read_text())

    def test_certificate_and_key(self):
        for name in self.pairs:
            with self.subTest(name):
                self.assertEqual(self.served("--cert", self.folder / f"{name}.pem",
                                             "--key", self.folder / f"{name}.key"), self.pem(name))

    def test_key_in_the_certificates_file(self):
        both = self.folder / "both.pem"
        both.touch(mode=0o600)
        both.write_bytes((self.folder / "ec.pem").read_bytes()
                         + (self.folder / "ec.key").read_bytes())
        self.assertEqual(self.served("--cert", both), self.pem("ec"))

    def test_what_is_wrong_is_named(self):
        (self.folder / "garbage.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n")
        (self.folder / "empty.pem").write_bytes(b"")
        cases = [
            ("missing.pem", "ec.key", "missing.pem"), ("garbage.pem", "ec.key", "garbage.pem"),
            ("empty.pem", "ec.key", "empty.pem"), ("ec.pem", "missing.key", "missing.key"),
            ("ec.pem", "garbage.pem", "garbage.pem"), ("ec.pem", "rsa.key", "rsa.key"),
            ("ec.pem", None, "ec.pem"), (".", "ec.key", str(self.folder)),
        ]
        for certificate, key, named in cases:
            with self.subTest(certificate=certificate, key=key):
                options = ["--cert", self.folder / certificate]
                options += ["--key", self.folder / key] if key else []
                status, output, error = support.run_server("--port", 0, *options, self.folder)
                self.assertEqual((status, output), (1, ""))
                self.assertRegex(error, r"\A[^\n]+\n\Z")
                self.assertIn(named, error)


class Resumption(Tls):
    def resumed(self, version, count=3):
        context = client_context(version=version)
        session = None
        for i in range(count):
            with self.connect(context=context, session=session) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)
                self.assertEqual(connection.socket.session_reused, i > 0)
                session = connection.socket.session

    def test_1_2(self):
        self.resumed(ssl.TLSVersion.TLSv1_2)

    def test_1_3(self):
        self.resumed(ssl.TLSVersion.TLSv1_3)

    def test_session_of_another_server_is_a_full_handshake(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context(version=version)
            with support.Server(self.site) as other:
                with support.Connection(other.https_port, True, context=context) as connection:
                    connection.ask("/hello.txt")
                    session = connection.socket.session
            with self.connect(context=context, session=session) as connection:
                self.assertEqual(connection.ask("/hello.txt").body, HELLO)
                self.assertFalse(connection.socket.session_reused)


class ResumptionAcrossWorkers(Resumption):
    options = ("--workers", "4")


class BrokenClients(Tls):
    """None of them disturbs the others: tearDown probes."""

    def test_plain_http_on_the_tls_port(self):
        with self.raw(request("/hello.txt")) as connection:
            self.no_service(self.everything(connection))

    def no_service(self, answer):
        """Nothing came, or an alert, or a 400."""
        if answer[:5] == b"HTTP/":
            self.assertEqual(support.Response(answer.split(b"\r\n\r\n")[0]).status, 400)
        elif answer:
            self.assertEqual((answer[0], len(answer)), (ALERT, 7))

    def test_garbage(self):
        for garbage in (b"SSH-2.0-OpenSSH_9.2\r\n" * 10, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                        bytes(1000), b"\xff" * 100_000, DATA,
                        b"\x16\x03\x01\xff\xff" + bytes(70_000), b"\x16\x03\x01\x00\x00" * 1000,
                        b"\x15\x03\x01\x00\x02\x02\x00", b"\x80\x2e\x01\x00\x02" + bytes(44),
                        b"\x17\x03\x03\x00\x10" + bytes(16)):
            with self.subTest(garbage[:20]), self.raw(garbage) as connection:
                connection.socket.shutdown(socket.SHUT_WR)
                self.no_service(self.everything(connection))

    def test_closing_within_the_handshake(self):
        hello = client_hello()
        before = self.server.fds()
        for at in range(0, len(hello), 10):
            self.raw(hello[:at]).close()
        support.wait_until(lambda: self.server.fds() <= before + self.server.spare_fds(),
                           "descriptors closed")

    def test_half_closing_within_the_handshake(self):
        hello = client_hello()
        for at in range(0, len(hello), 40):
            with self.raw(hello[:at]) as connection:
                connection.socket.shutdown(socket.SHUT_WR)
                self.no_service(self.everything(connection))

    def test_closing_right_after_the_hello(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.raw(client_hello(client_context(version=version))).close()

    def test_reset_within_the_handshake(self):
        with self.raw(client_hello()) as connection:
            connection.socket.recv(1)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                         b"\1\0\0\0" + bytes(4))

    def test_damaged_hello(self):
        hello = client_hello()
        for at in range(5, len(hello), 20 if support.SLOW else 5):
            damaged = bytearray(hello)
            damaged[at] ^= 0xff
            with self.raw(bytes(damaged)) as connection:
                connection.socket.shutdown(socket.SHUT_WR)
                self.everything(connection)

    def test_damaged_record_after_the_handshake(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context(version=version)
            with self.connect(context=context) as connection:
                connection.ask("/hello.txt")
                os.write(connection.socket.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
                with self.assertRaises((ssl.SSLError, ConnectionError)):
                    while connection.receive():
                        pass

    def test_plain_bytes_after_the_handshake(self):
        with self.connect() as connection:
            connection.ask("/hello.txt")
            os.write(connection.socket.fileno(), request("/hello.txt"))
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                while connection.receive():
                    pass

    def test_hello_byte_by_byte(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = support.CLIENT_CONTEXT.wrap_bio(incoming, outgoing, server_hostname="localhost")
        answer = b""
        with self.raw(b"") as connection:
            for step in (client.do_handshake, lambda: client.write(request("/hello.txt")),
                         lambda: client.read(1 << 16)):
                while True:
                    try:
                        answer = step()
                        break
                    except ssl.SSLWantReadError:
                        self.trickle(connection, outgoing)
                        incoming.write(connection.socket.recv(1 << 16))
                self.trickle(connection, outgoing)
        self.assertTrue(answer.endswith(HELLO))

    def trickle(self, connection, outgoing):
        for byte in outgoing.read():
            connection.send(bytes([byte]))


class Closing(Tls):
    def test_client_may_say_goodbye_after_the_request(self):
        """close_notify from the client is no reason to cut the answer short."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = support.CLIENT_CONTEXT.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.raw(b"") as connection:
            self.pump(client.do_handshake, connection, incoming, outgoing)
            client.write(request("/data.bin", headers=["Connection: close"]))
            try:
                client.unwrap()
            except ssl.SSLWantReadError:
                pass
            connection.send(outgoing.read())
            incoming.write(self.everything(connection))
            answer = b""
            while True:
                try:
                    part = client.read(1 << 16)
                except (ssl.SSLZeroReturnError, ssl.SSLError):
                    break
                if not part:
                    break
                answer += part
        self.assertTrue(answer.endswith(DATA))

    def pump(self, step, connection, incoming, outgoing):
        while True:
            try:
                step()
                connection.send(outgoing.read())
                return
            except ssl.SSLWantReadError:
                connection.send(outgoing.read())
                incoming.write(connection.socket.recv(1 << 16))

    def test_goodbye_follows_a_large_response_to_a_slow_reader(self):
        """close_notify must not be lost when the socket's buffer is full at the end."""
        (self.site / "large.bin").write_bytes(DATA * 40)
        for cut in range(0, 16_000, 4000 if support.SLOW else 2000):
            with self.subTest(cut), self.connect(buffer=4096) as connection:
                connection.send(request("/large.bin", headers=["Connection: close",
                                                               f"Range: bytes={cut}-"]))
                response = connection.head()
                support.time.sleep(0.02)
                self.assertEqual(len(connection.read(response.length)), len(DATA) * 40 - cut)
                connection.expect_end()

    def test_idle_connection_closed_by_the_client_is_answered(self):
        with self.connect() as connection:
            connection.ask("/hello.txt")
            connection.socket.settimeout(support.PATIENCE)
            plain = connection.socket.unwrap()  # waits for the server's close_notify
            plain.close()


if __name__ == "__main__":
    unittest.main()
