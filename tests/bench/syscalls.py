#!/usr/bin/env python3
"""The system calls that one keep-alive request costs the server, as strace counts them:

    make && tests/bench/syscalls.py

for a page and for a file of 1 MiB, over TLS and in the clear. What comes once in a while, such as
the log, or a look whether a file is still what it was, shows as a part of a call. A page that is in
demand costs one read, one sendmsg and one epoll_wait: no call for its file."""
import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
SERVER = TOP / os.environ.get("BUILD", "build") / "mmserve"
REQUESTS = 200
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(\(| resumed>)")


def connect(port, tls):
    connection = socket.create_connection(("127.0.0.1", port))
    if not tls:
        return connection
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def ask(connection, path):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    left = int(re.search(rb"(?i)content-length: (\d+)", head)[1]) - len(body)
    while left > 0:
        left -= len(connection.recv(65536))


def count(trace, port, tls, path):
    connection = connect(port, tls)
    for _ in range(10):
        ask(connection, path)
    time.sleep(0.3)
    begin = trace.stat().st_size
    for _ in range(REQUESTS):
        ask(connection, path)
    time.sleep(0.3)
    with trace.open() as lines:
        lines.seek(begin)
        found = collections.Counter(
            match[1] for match in map(CALL.match, lines)
            if match and match[2] == "(")
    connection.close()
    return ", ".join(f"{calls / REQUESTS:.2f} {name}" for name, calls in found.most_common())


def main():
    folder = pathlib.Path(tempfile.mkdtemp())
    trace = folder / "trace"
    (folder / "www").mkdir()
    (folder / "www" / "page.html").write_bytes(b"x" * 4000)
    (folder / "www" / "large").write_bytes(os.urandom(1 << 20))
    server = subprocess.Popen(
        ["strace", "-f", "-I", "2", "-o", trace, "-e", "signal=none", SERVER, "--port", "0", "--http-port",
         "0", "--workers", "1", "--log", "none", folder / "www"], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(3)  # what has just been written is not kept in memory
        ports = {}
        while "fingerprint" not in (line := server.stdout.readline()) and line:
            if match := re.search(r"(https?)://localhost:(\d+)", line):
                ports[match[1]] = int(match[2])
        for scheme in "https", "http":
            for path in "/page.html", "/large":
                if scheme in ports:
                    calls = count(trace, ports[scheme], scheme == "https", path)
                    print(f"{scheme:5} {path:10} {calls}")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
