#!/usr/bin/env python3
"""mm_io.h with OpenSSL 1.1.1, headers and libraries. Debian 11 has these: its packages come from
the place where apt-get gets the system's own, and are unpacked among what is built, nothing is
installed. Where they are not to be had (SETUP=no, no apt-get, nobody keeps them any more) there is
nothing to test, and it says so. Run by run.py --all."""
import os
import shutil
import subprocess
import sys

from checks import BUILD, STRICT, TOP, Failed, main, run

FOLDER = BUILD / "openssl-1.1.1"
PROGRAMS = "io_tls", "io_sessions", "io_metrics", "io_responses"
SANITIZED = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all".split()


def apt_get(*arguments, **options):
    """With sources, lists and a cache of its own."""
    own = {"Dir::Etc::SourceList": FOLDER / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
           "Dir::State::Lists": FOLDER / "lists", "Dir::State::Status": "/dev/null",
           "Dir::Cache": FOLDER / "cache", "Debug::NoLocking": "1",
           "APT::Sandbox::User": "root", "Acquire::Retries": "3"}
    settings = [f"-o{name}={value}" for name, value in own.items()]
    subprocess.run(["apt-get", "-qq", *settings, *arguments], check=True, timeout=300,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def fetch():
    """Whether root/usr has it."""
    if (FOLDER / "root/usr/include/openssl/ssl.h").exists():
        return True
    if os.environ.get("SETUP") == "no" or not shutil.which("apt-get"):
        return False
    shutil.rmtree(FOLDER, ignore_errors=True)
    for each in "lists/partial", "cache/archives/partial", "packages":
        (FOLDER / each).mkdir(parents=True)
    try:
        sites = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN) $(COMPONENT)",
             "Created-By: Packages"], check=True, text=True, capture_output=True).stdout
        site = next(line.split()[0] for line in sites.splitlines()
                    if line.endswith(" Debian main") and "security" not in line)
        (FOLDER / "sources.list").write_text(f"deb {site} bullseye main\n")
        apt_get("update")
        apt_get("download", "libssl1.1", "libssl-dev", cwd=FOLDER / "packages")
        for package in sorted((FOLDER / "packages").iterdir()):
            subprocess.run(["dpkg-deb", "-x", package, FOLDER / "unpacked"], check=True)
        (FOLDER / "unpacked").rename(FOLDER / "root")
    except (OSError, StopIteration, subprocess.SubprocessError):
        return False
    return (FOLDER / "root/usr/include/openssl/ssl.h").exists()


def check(name):
    usr = FOLDER / "root/usr"
    places = [each.parent for each in usr.glob("lib/*/libssl.so")]
    triplet = places[0].name
    program = FOLDER / name
    run(["cc", "-std=c11", "-pthread", *STRICT, *SANITIZED, "-isystem", usr / "include",
         "-isystem", usr / "include" / triplet, "-o", program, TOP / f"tests/unit/{name}.c",
         "-Wl,--as-needed", f"-L{places[0]}", f"-Wl,-rpath,{places[0]}", "-lssl", "-lcrypto"])
    said = run([program], cwd=TOP, env={
        **os.environ,
        "ASAN_OPTIONS": "allocator_may_return_null=1:detect_stack_use_after_return=1"})
    if ", 0 failed" not in said:
        raise Failed(said)


def version():
    text = (FOLDER / "root/usr/include/openssl/opensslv.h").read_text()
    if '"OpenSSL 1.1.1' not in text:
        raise Failed(text)


if not fetch():
    print("OpenSSL 1.1.1 is not to be had here: not tested\n0 passed, 0 failed")
    sys.exit(0)
main([("OpenSSL 1.1.1", version)] +
     [(name, lambda name=name: check(name)) for name in PROGRAMS])
