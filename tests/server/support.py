"""What the server's tests share: a folder to serve, the server as a child process, and a client
that sends bytes as they are and reads the answers strictly by RFC 9112.

The server is the program in $MMSERVE (words as a shell splits them; build/mmserve otherwise),
behind the words of $MMSERVE_WRAPPER, if any. When it stops, its exit status must be 0 and its
standard error empty, so that what a sanitizer or Valgrind finds fails the test. Nothing here judges
by time: the timeouts only keep a hung server from hanging the tests."""
import email.utils
import os
import pathlib
import random
import re
import resource
import shlex
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / os.environ.get("BUILD", "build")
COMMAND = (shlex.split(os.environ.get("MMSERVE_WRAPPER", ""))
           + shlex.split(os.environ.get("MMSERVE", shlex.quote(str(BUILD / "mmserve")))))
PATIENCE = 60  # seconds after which something is taken for hung


def is_sanitized():
    try:
        program = pathlib.Path(COMMAND[-1]).read_bytes()
    except OSError:
        return False
    return any(name in program for name in (b"__asan_init", b"__tsan_init", b"__msan_init"))


# The Valgrind of Debian 12 hides openat2 from the server, which then follows no symbolic link.
HAS_OPENAT2 = not any("valgrind" in word for word in COMMAND[:-1])
# Under a wrapper or a sanitizer memory means nothing and time is short: do less, measure less.
SLOW = bool(os.environ.get("MMSERVE_SLOW")) or len(COMMAND) > 1 or is_sanitized()
# These do what no server does, at its end above all: they cannot work within its sandbox.
SANDBOX = len(COMMAND) == 1 and not is_sanitized()
COMMAND += [] if SANDBOX else ["--no-sandbox"]
HAS_IPV6 = socket.has_ipv6 and os.path.exists("/proc/net/if_inet6") and \
    "00000000000000000000000000000001" in pathlib.Path("/proc/net/if_inet6").read_text()

SECRET = b"This lies outside the folder that is served.\n"
OLD = 1_000_000_000  # the time of every file in the site
OLD_DATE = "Sun, 09 Sep 2001 01:46:40 GMT"
HELLO = b"Hello, world!\n"
DATA = random.Random("data.bin").randbytes(100_000)
ODD_NAMES = ["a b.txt", "a&b<i>\"'.txt", "caf\u00e9 \u2603 \U0001f980.txt", "100%.txt", "%41.txt",
             "what?.txt", "no#1.txt", "12:30.txt", "plus+semi;eq=.txt", "-rf", "~tilde"]


def temporary_folder(at_end, parent=None):
    """A folder that is gone with what it was made for, whose addCleanup or the like this gets."""
    folder = tempfile.TemporaryDirectory(prefix="mmserve-", dir=parent)
    at_end(folder.cleanup)
    return pathlib.Path(folder.name)


def make_small_site(folder):
    """A site of one file."""
    site = folder / "site"
    site.mkdir()
    (site / "hello.txt").write_bytes(HELLO)
    return site


def make_site(folder):
    """Fills a folder with what most tests ask for; what must never be seen lies beside it."""
    site = folder / "site"
    files = {
        "index.html": b"<!DOCTYPE html><title>root</title>\n",
        "hello.txt": HELLO, "empty.txt": b"", "data.bin": DATA,
        "sub/index.html": b"<!DOCTYPE html><title>sub</title>\n", "sub/page.html": b"<p>page\n",
        "a folder/index.html": b"<!DOCTYPE html><title>a folder</title>\n",
        "plain/one.txt": b"1", "plain/two.txt": b"22", "plain/.hidden": SECRET,
        "plain/folder/x.txt": b"x", "odd & <b>\"'/x.txt": b"x",
        ".secret": SECRET, ".git/config": SECRET, "sub/.htpasswd": SECRET,
        "mixed/real.txt": b"real", "links/real.txt": b"real",
        "../outside.txt": SECRET, "../outside/file.txt": SECRET,
    }
    files.update({f"odd/{name}": name.encode() for name in ODD_NAMES})
    for name in ("style.css", "script.js", "data.json", "image.png", "photo.jpg", "photo.JPEG",
                 "drawing.svg", "page.html", "PAGE.HTM", "archive.gz", "document.pdf",
                 "module.wasm", "font.woff2", "video.mp4", "noextension", "unknown.xyzzy",
                 "feed.xml", "table.csv"):
        files[f"types/{name}"] = b"content of " + name.encode()
    for name, content in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (OLD, OLD))
    links = {"link-in": "hello.txt", "link-out": "../outside.txt", "link-out-dir": "../outside",
             "link-absolute-out": str(folder / "outside.txt"), "link-loop": "link-loop",
             "link-nowhere": "nowhere", "link-device": "/dev/zero", "link-in-dir": "sub",
             "links/link-in": "../hello.txt", "mixed/link-out": "../../outside.txt",
             "mixed/link-nowhere": "nowhere"}
    for name, target in links.items():
        (site / name).symlink_to(target)
    for name in ("fifo", "mixed/fifo", "fifo.html"):
        os.mkfifo(site / name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site / "socket"))
    return site


def wait_until(condition, what):
    """Returns what the condition returns once that is true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"after {PATIENCE} s still waiting: {what}")
        time.sleep(0.005)


def complaints(text):
    """What a standard error says, without Valgrind's remarks that it knows no openat2: the server
    gets ENOSYS then, and does without."""
    return re.sub(r"--\d+-- WARNING: unhandled \S+ syscall: 437\n(--\d+-- .*\n){4}", "", text)


class Server:
    """A running server. `with` stops it and checks how it ended."""
    was_asked = False  # to end

    def __init__(self, root, *options, https=0, http=0, log=None, descriptors=None, before=(),
                 environment=None, **more):
        self.folder = tempfile.TemporaryDirectory(prefix="mmserve-")
        self.log = pathlib.Path(log or f"{self.folder.name}/access.log")
        self.stdout, self.stderr = (open(f"{self.folder.name}/{name}", "a+b")
                                    for name in ("stdout", "stderr"))
        self.process = subprocess.Popen(
            [*map(str, before), *COMMAND, "--port", str(https), "--http-port", str(http), "--log", str(self.log),
             *map(str, options), str(root)],
            stdin=subprocess.DEVNULL, stdout=self.stdout, stderr=self.stderr,
            env={**os.environ, **(environment or {})}, **more,
            preexec_fn=descriptors and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                   (descriptors, descriptors))))
        self.pid = self.process.pid
        try:
            wait_until(lambda: self.read_banner() or self.process.poll() is not None, "the banner")
            if self.process.poll() is not None:
                raise AssertionError(f"no server: {self.output()}")
        except BaseException:
            self.kill()
            raise

    def read_banner(self):
        text = self.text("stdout")
        https = re.search(r"https://\S+:(\d+)/\s", text)
        http = re.search(r"http://\S+:(\d+)/\s", text)
        fingerprint = re.search(r"SHA-256 fingerprint:? +((?:[0-9A-F]{2}:){31}[0-9A-F]{2})\s", text)
        if not (https and http and fingerprint):
            return False
        self.https_port, self.http_port = int(https[1]), int(http[1])
        self.fingerprint = fingerprint[1]
        return True

    def text(self, name):
        return pathlib.Path(self.folder.name, name).read_text(errors="backslashreplace")

    def complaint(self, pattern):
        """What standard error says, once it matches; it is taken from there."""
        wait_until(lambda: re.search(pattern, self.text("stderr")), f"{pattern} on standard error")
        text = complaints(self.text("stderr"))
        self.stderr.truncate(0)
        return text

    def output(self):
        return (f"exit status {self.process.poll()}\n-- stdout:\n{self.text('stdout')}"
                f"-- stderr:\n{self.text('stderr')}")

    def port(self, tls):
        return self.https_port if tls else self.http_port

    def send_signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.was_asked = True

    def wait(self):
        """The exit status, once the process has ended."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server still runs: {self.output()}") from None

    def stop(self, number=signal.SIGTERM):
        """Asks the server to end, unless it was, and checks that it does so without complaint."""
        try:
            if self.process.poll() is None and not self.was_asked:
                self.send_signal(number)
            if self.wait() != 0 or complaints(self.text("stderr")):
                raise AssertionError(f"the server did not end well: {self.output()}")
        finally:
            self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.stdout.close()
        self.stderr.close()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop() if kind is None else self.kill()

    def fds(self):
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def spare_fds(self):
        """How many descriptors it may have open more than before: files that workers keep."""
        return 4 * self.status("Threads")

    def cpu(self):
        """Seconds of processor time that it has used."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def status(self, field):
        """A number in /proc/PID/status: VmRSS and VmHWM in KiB, Threads."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.M)[1])

    def log_lines(self, count=1):
        """The lines of the access log, once there are that many."""
        def lines():
            text = self.log.read_bytes() if self.log.exists() else b""
            found = text.split(b"\n")[:-1]
            return found if len(found) >= count else None
        return wait_until(lines, f"{count} lines in the access log")


def run_server(*options):
    """The exit status, standard output and standard error of a run that must end by itself."""
    done = subprocess.run([*COMMAND, *map(str, options)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
    return done.returncode, done.stdout.decode(), complaints(done.stderr.decode())


def client_context(alpn=("http/1.1",), version=None, ciphers=None):
    """A TLS client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


CLIENT_CONTEXT = client_context()


class Response:
    """The head of a response, checked; its body is filled in by the connection."""
    body = b""

    def __init__(self, head):
        lines = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t -~]*)", lines[0])
        assert match, f"no status line: {lines[0]!r}"
        self.status, self.reason = int(match[1]), match[2].decode()
        self.headers = {}
        for line in lines[1:]:
            match = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[\t -~]*[!-~])?|)"
                                 rb"[ \t]*", line)
            assert match, f"no field line: {line!r}"
            name = match[1].decode().lower()
            assert name not in self.headers, f"{name} stands twice in {head!r}"
            self.headers[name] = match[2].decode()
        self.check()

    def check(self):
        """The rules that hold for every response of ours."""
        if self.status >= 200:
            date = self["date"]
            assert date, f"{self} has no Date"
            assert date == email.utils.format_datetime(
                email.utils.parsedate_to_datetime(date), usegmt=True), f"bad date {date}"
        assert "transfer-encoding" not in self.headers, f"{self} has a Transfer-Encoding"
        length = self["content-length"]
        if self.status < 200 or self.status == 204:  # RFC 9110, 8.6
            assert length is None, f"{self} has a Content-Length"
        elif self.status != 304:
            assert length and re.fullmatch("0|[1-9][0-9]*", length), f"bad length in {self}"
        assert not re.search("[0-9]", self.headers.get("server", "")), "it tells its version"

    def __getitem__(self, name):
        return self.headers.get(name.lower())

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.headers}>"

    @property
    def length(self):
        return int(self.headers.get("content-length", 0))

    @property
    def closes(self):
        return "close" in self.headers.get("connection", "").lower()


class Connection:
    """A connection that sends bytes as they are, and reads responses."""

    def __init__(self, port, tls=False, host="127.0.0.1", context=None, buffer=None, session=None,
                 name="localhost"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.received = b""
        self.last = None  # the last response
        try:
            self.socket.connect((host, port))
            if tls:
                self.socket = (context or CLIENT_CONTEXT).wrap_socket(
                    self.socket, server_hostname=name, session=session,
                    suppress_ragged_eofs=False)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """Adds what comes to self.received; false at the end of the stream."""
        data = self.socket.recv(1 << 16)
        self.received += data
        return bool(data)

    def read(self, size):
        """Exactly that many bytes."""
        parts, have = [self.received[:size]], min(size, len(self.received))
        self.received = self.received[size:]
        while have < size:
            part = self.socket.recv(min(size - have, 1 << 18))
            assert part, f"closed after {have} of {size} bytes"
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def head(self):
        """The head of the next response."""
        while b"\r\n\r\n" not in self.received:
            assert self.receive(), f"closed within a head: {self.received!r}"
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        self.last = Response(head)
        return self.last

    def response(self, method="GET"):
        """The next response, with its body, if it is to have one."""
        response = self.head()
        if method != "HEAD" and response.status not in (204, 304) and response.status >= 200:
            response.body = self.read(response.length)
        return response

    def ask(self, target, method="GET", headers=(), version="HTTP/1.1"):
        self.send(request(target, method, headers, version))
        return self.response(method)

    def expect_end(self, announced=True):
        """Nothing more comes, and the connection is closed in order; `announced`: the last
        response said so, as RFC 9112, 9.6 asks for."""
        try:
            more = self.received or self.socket.recv(1 << 16)
        except ConnectionResetError:
            raise AssertionError(f"reset in place of closed, after {self.last}") from None
        except ssl.SSLError as error:
            raise AssertionError(f"closed without close_notify ({error})") from None
        assert not more, f"unexpected: {more!r}"
        if announced and self.last:
            assert self.last.closes, f"closed, but not announced: {self.last}"


def request(target, method="GET", headers=(), version="HTTP/1.1", host="localhost"):
    """The bytes of a request; the target is text or bytes."""
    target = target if isinstance(target, bytes) else target.encode()
    lines = [method.encode() + b" " + target + b" " + version.encode()]
    lines += [f"Host: {host}".encode()] if host is not None else []
    lines += [line if isinstance(line, bytes) else line.encode() for line in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class ServerTest(unittest.TestCase):
    """Tests of one server, that starts before the first and must end well after the last. A class
    derived from tests can run them once more with other options, or over TLS."""
    options = ()
    tls = False
    warning = None  # what it says on standard error at start
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = temporary_folder(cls.addClassCleanup)
        cls.site = cls.make_site()
        cls.server = Server(cls.site, *cls.options)
        cls.addClassCleanup(cls.server.stop)
        if cls.warning:
            cls.said = cls.server.complaint(cls.warning)

    @classmethod
    def make_site(cls):
        return make_site(cls.folder)

    def connect(self, **options):
        connection = Connection(self.server.port(self.tls), self.tls, **options)
        self.addCleanup(connection.close)
        return connection

    def fetch(self, target, method="GET", headers=(), version="HTTP/1.1"):
        """The response to a request on a connection of its own, which must end with it."""
        with self.connect() as connection:
            response = connection.ask(target, method, ["Connection: close", *headers], version)
            connection.expect_end()
            return response

    def probe(self):
        """A fresh connection is served."""
        response = self.fetch("/hello.txt")
        self.assertEqual((response.status, response.body), (200, HELLO))
