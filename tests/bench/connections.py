#!/usr/bin/env python3
"""What a connection costs that is open and idle between two requests, and how much of it is given
back when it is closed: mmserve, and nginx if it is there (PSS of all its processes).

    tests/bench/connections.py [CONNECTIONS]       5000 if not said

Each server runs one worker. It is warmed up with ten of the connections, which are closed
again; then they are all opened, each asks for 1 KiB once, and the memory is read; a second after
they have all been closed it is read again. All that belongs to them counts, the servers' buffers as
well, but not what the kernel has."""
import os
import pathlib
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
SERVER = TOP / os.environ.get("BUILD", "build") / "mmserve"
REQUEST = b"GET /1k.bin HTTP/1.1\r\nHost: localhost\r\n\r\n"
SIZE = 1024
TIMEOUT = 60  # only keeps a hung server from hanging this


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid):
    """The process and its children."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def pss(pid):
    """KiB."""
    total = 0
    for member in family(pid):
        for line in pathlib.Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


class Client:
    """Many connections, each of which has had one answer."""

    def __init__(self, port, tls):
        self.port, self.context, self.sockets = port, None, []
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE

    def open(self, count):
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
            if self.context:
                s = self.context.wrap_socket(s, server_hostname="localhost")
            s.sendall(REQUEST)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += s.recv(4096)
            head, body = answer.split(b"\r\n\r\n", 1)
            assert b" 200 " in head.split(b"\r\n")[0], head
            while len(body) < SIZE:
                body += s.recv(4096)
            self.sockets.append(s)

    def close(self):
        for s in self.sockets:
            s.close()
        self.sockets = []


def measure(name, pid, port, tls, count):
    client = Client(port, tls)
    client.open(10)
    client.close()
    time.sleep(2)
    before = pss(pid)
    client.open(count)
    time.sleep(0.5)
    open_ = pss(pid)
    client.close()
    time.sleep(1)
    after = pss(pid)
    each = (open_ - before) * 1024 / count
    back = (open_ - after) / (open_ - before) if open_ > before else 1
    print(f"{name:10}{'HTTPS' if tls else 'HTTP':7}{each:12,.0f} B{100 * back:16.0f} %"
          f"{before:14,} KiB{open_:12,} KiB{after:12,} KiB", flush=True)


def wait_for(port):
    for _ in range(TIMEOUT * 20):
        try:
            return socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit("the server does not start")


def run(name, command, ports, count):
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for tls, port in ports.items():
            wait_for(port)
        for tls, port in ports.items():
            measure(name, server.pid, port, tls, count)
    finally:
        server.terminate()
        server.wait()


def nginx_command(program, folder, site, ports, count):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections {count * 2 + 100}; }}
http {{ access_log off; keepalive_timeout 600; ssl_session_cache off; root {site};
    server {{ listen 127.0.0.1:{ports[False]}; }}
    server {{ listen 127.0.0.1:{ports[True]} ssl; ssl_certificate {folder}/cert.pem;
             ssl_certificate_key {folder}/key.pem; }} }}
""")
    folder.chmod(0o755)
    return [program, "-p", folder, "-c", folder / "nginx.conf"]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < count + 100:
        sys.exit(f"{count} connections need as many descriptors: ulimit -n says {hard}")
    print(f"{count:,} idle connections, one worker\n"
          f"{'':17}{'per connection':>14}{'back after 1 s':>18}{'PSS before':>18}{'open':>16}"
          f"{'closed':>16}")
    with tempfile.TemporaryDirectory(prefix="mm-bench-") as folder:
        folder = pathlib.Path(folder)
        site = folder / "site"
        site.mkdir()
        (site / "1k.bin").write_bytes(bytes(SIZE))
        for tls in (False, True):  # a fresh server for each
            ports = {key: free_port() for key in (False, True)}
            command = [SERVER, "--quiet", "--workers", 1, "--log", "none", "--idle-timeout", 600,
                       "--bind", "127.0.0.1", "--http-port", ports[False], "--port", ports[True],
                       site]
            run("mmserve", [str(word) for word in command], {tls: ports[tls]}, count)
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        for tls in (False, True) if program else ():
            ports = {key: free_port() for key in (False, True)}
            command = nginx_command(program, folder, site, ports, count)
            run("nginx", [str(word) for word in command], {tls: ports[tls]}, count)


if __name__ == "__main__":
    main()
