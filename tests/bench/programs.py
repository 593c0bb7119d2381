#!/usr/bin/env python3
"""Real programs with our heap in the place of malloc, beside glibc's and three others, preloaded.

    programs.py [--rounds N] [NAME]      only the programs with NAME in their names

In each round every program runs once under each malloc, in turn, so that a busy machine meets all
of them; a figure is the median of the rounds, and how many times ours another one takes is the
median of what it took in each round by what ours took in the same. The time is of the whole run,
start included, except for servers: there it is of the load, which a client makes that runs without
any of the libraries.
CPU seconds and the most resident memory are the program's with its children, or the server's.
Kept is what a server holds when its data was deleted. A malloc or a program that is not installed
has a line that says so. $MMHEAP is our library, in the place of build/libmm_heap.so."""
import argparse
import math
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
OURS = os.environ.get("MMHEAP", str(TOP / "build/libmm_heap.so"))
# libc.so.6 is loaded anyway; to preload it puts it before a malloc that a program is linked with.
MALLOCS = {"mm_heap": [OURS], "glibc": ["libc.so.6"], "jemalloc": ["libjemalloc.so.2"],
           "mimalloc": ["libmimalloc.so.2", "libmimalloc.so.3"],
           "tcmalloc": ["libtcmalloc_minimal.so.4"]}
FIGURES = ("time", "CPU", "peak", "kept")
SLOW = 1.15  # times the best of the others: programs above are listed at the end

PYTHON = r"""
import collections, json, random, re
random.seed(1)
words = ["".join(random.choices("abcdefgh", k=random.randint(1, 30))) for _ in range(15000)]
for _ in range(2):
    tree = {word: {"n": i, "list": words[i % 100:i % 100 + i % 17]} for i, word in enumerate(words)}
    text = json.dumps(tree, indent=1)
    again = json.loads(text)
    found = collections.Counter(re.findall(r"([a-d]+)(e?)[f-h]", text))
    index = {}
    for word in words:
        for end in range(1, len(word)):
            index.setdefault(word[:end], []).append(word)
    text = re.sub(r"\s+", " ", text).upper().split(",")
    text.sort()
"""

PERL = r"""
my ($x, %index) = (1);
for my $i (1 .. 150000) {
    $x = ($x * 1103515245 + 12345) % 2147483648;
    push @{$index{"w" . ($x % 20000)}}, "text $x " x (1 + $i % 5);
}
my $text = join ",", map { @{$index{$_}} } sort keys %index;
my @parts = sort { $a cmp $b } split /,/, $text;
$text =~ s/text (\d+)/<$1>/g;
my @deep = map { { id => $_, list => [1 .. $_ % 30] } } 1 .. 50000;
"""

SQL = """
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000)
insert into t select i, 'text number ' || (i * 7919 % 100003), i / 7.0 from n;
create index b on t(b);
create table u as select b, count(*) as n, group_concat(a) as all_a from t group by b;
delete from t where a % 3 = 0;
update t set b = b || ' changed' where a % 5 = 0;
select count(*), sum(length(x.b)) from t x join t y on y.a = x.a * 2 + 1;
select count(*) from (select b || c as d from t order by d desc);
"""

CPP = """
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <unordered_map>
#include <vector>
int main()
{
    std::map<std::string, std::vector<std::regex>> all;
    std::unordered_map<int, std::function<int(int)>> more;
    std::cout << all.size() + more.size();
}
"""

REDIS_LOAD = ("-n 60000 -c 20 -P 8 -r 100000 -d 200 -q "
              "-t set,get,incr,lpush,rpop,sadd,hset,spop,zadd").split()


class Missing(Exception):
    pass


def program(name):
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        raise Missing(name)
    return found


def preloaded(library):
    return {**os.environ, "LC_ALL": "C", "LD_PRELOAD": library}


def usable(libraries):
    """The first of the libraries that the dynamic linker finds, or None."""
    for library in libraries:
        if not subprocess.run(["env", "true"], env=preloaded(library),
                              capture_output=True).stderr:
            return library
    return None


def finish(process):
    """(CPU seconds, MiB at most) of a process, waited for."""
    status, usage = os.wait4(process.pid, 0)[1:]
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def spawn(library, command, folder, more=None, **streams):
    return subprocess.Popen([str(word) for word in command], cwd=folder,
                            env={**preloaded(library), **(more or {})},
                            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
                               "stderr": subprocess.DEVNULL, **streams})


def command(*words, stdin="", more=None):
    """A program that runs once and ends."""
    def run(library, folder):
        words_found = [program(words[0]), *words[1:]]
        (folder / "input").write_text(stdin)
        with open(folder / "input", encoding="utf-8") as given:
            start = time.monotonic()
            process = spawn(library, words_found, folder, more, stdin=given)
            cpu, peak = finish(process)
        if process.returncode != 0:
            raise RuntimeError(f"{words[0]} failed: {process.returncode}")
        return time.monotonic() - start, cpu, peak, 0
    return run


def client(*words):
    return subprocess.run([program(words[0]), *map(str, words[1:])], check=True,
                          capture_output=True, text=True, env=preloaded("libc.so.6")).stdout


def resident(pid, file, name):
    """MiB as /proc says; the peak of wait4 may be ours, from before the exec."""
    for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0


def finish_server(process):
    peak = resident(process.pid, "status", "VmHWM:")
    process.send_signal(signal.SIGTERM)
    return finish(process)[0], peak


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise RuntimeError("a server does not start")


def answers(path):
    """Whether a server takes connections there: the socket's name comes before it listens."""
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0


def redis(library, folder):
    server = shutil.which("redis-server")
    if server is None:  # it is the program of another name, which comes without a service
        server = folder / "redis-server"
        server.symlink_to(program("redis-check-rdb"))
    path = folder / "socket"
    process = spawn(library, [server, "--port", 0, "--unixsocket", path, "--save", ""], folder)
    until(lambda: answers(path))
    start = time.monotonic()
    client("redis-benchmark", "-s", path, *REDIS_LOAD)
    seconds = time.monotonic() - start
    client("redis-cli", "-s", path, "flushall")
    kept = resident(process.pid, "smaps_rollup", "Rss:")
    return seconds, *finish_server(process), kept


def handshakes(library, folder):
    """For 1,000 TLS connections, one after the other, that fetch nothing."""
    client("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
           "-nodes", "-subj", "/CN=mm", "-keyout", folder / "key", "-out", folder / "certificate")
    said = folder / "said"
    with open(said, "w", encoding="utf-8") as output:
        process = spawn(library, [program("openssl"), "s_server", "-www", "-accept", "127.0.0.1:0",
                                  "-key", "key", "-cert", "certificate"], folder, stdout=output)
    until(lambda: "ACCEPT" in said.read_text() and said.read_text().endswith("\n"))
    start = time.monotonic()
    counted = client("openssl", "s_time", "-connect", said.read_text().split()[-1], "-new",
                     "-time", "1")
    seconds = time.monotonic() - start
    count = int(counted.split(" real seconds")[0].split("\n")[-1].split()[0]) / 1000
    cpu, peak = finish_server(process)
    return seconds / count, cpu / count, peak, 0


PROGRAMS = {
    "python3: json, regex, dict": command("python3", "-c", PYTHON),
    "python3, PYTHONMALLOC=malloc": command("python3", "-c", PYTHON,
                                            more={"PYTHONMALLOC": "malloc"}),
    "perl: hashes, strings, sort": command("perl", "-e", PERL),
    "sqlite3 in memory": command("sqlite3", ":memory:", stdin=SQL),
    "redis under redis-benchmark": redis,
    "gcc -O2, 7,000 lines of C": command("gcc", "-std=c11", "-O2", "-DMM_IMPLEMENTATION", "-x", "c",
                                         "-c", "-o", "out.o", TOP / "mm_io.h"),
    "g++ -O2, templates": command("g++", "-std=c++17", "-O2", "-x", "c++", "-c", "-o", "out.o", "-",
                                  stdin=CPP),
    "openssl: 1,000 handshakes": handshakes,
}


# ---- the rows ----

def measure(run, library):
    with tempfile.TemporaryDirectory(prefix="mm-bench-") as folder:
        return run(library, pathlib.Path(folder))


def median_times(found, ours):
    """How many times ours, round by round: (time, CPU, peak, kept), None where it is unknown."""
    each = [[his / our for his, our in zip(figure, our_figure) if his and our]
            for figure, our_figure in zip(zip(*found), zip(*ours))]
    return [statistics.median(ratios) if ratios else None for ratios in each]


def row(name, run, libraries, rounds):
    """Prints a program's lines; {malloc: median_times} of each malloc that there is."""
    runs = {malloc: [] for malloc, library in libraries.items() if library}
    for _ in range(rounds):
        for malloc, found in runs.items():
            found.append(measure(run, libraries[malloc]))
    times = {malloc: median_times(found, runs["mm_heap"]) for malloc, found in runs.items()}
    for i, malloc in enumerate(libraries):
        line = f"| {name if i == 0 else '':<30} | {malloc:<10} |"
        if malloc not in runs:
            print(line, "not installed |||||")
            continue
        seconds, cpu, peak, kept = map(statistics.median, zip(*runs[malloc]))
        ratios = [f"**{each:.2f}**" if each < 1 else f"{each:.2f}" for each in times[malloc][:2]]
        print(line, f"{seconds:7.3f} | {ratios[0]:>10} | {cpu:7.3f} | {ratios[1]:>10} | "
              f"{peak:8.1f} |", f"{kept:8.1f} |" if kept else "       - |", flush=True)
    return times


def print_means(rows, libraries):
    print(f"\n| {'geometric mean, ours = 1':<24} | rows |", "".join(f" {f:<4} |" for f in FIGURES))
    print(f"|{'-' * 26}|-----:|{'-----:|' * len(FIGURES)}")
    for malloc in libraries:
        found = [times[malloc] for times in rows.values() if malloc in times]
        if found:
            logs = [[math.log(times[i]) for times in found if times[i]]
                    for i in range(len(FIGURES))]
            means = [f"{math.exp(statistics.fmean(each)):.2f}" if each else "-" for each in logs]
            print(f"| {malloc:<24} | {len(found):4} |", "".join(f" {m:>4} |" for m in means))
    slow = []
    for name, times in rows.items():
        time_, cpu = (min(each[i] for each in times.values()) for i in (0, 1))
        if time_ * SLOW < 1 or cpu * SLOW < 1:
            slow.append(f"- {name}: {1 / time_:.2f} times, CPU {1 / cpu:.2f}")
    if slow:
        print(f"\nSlower than {SLOW} times the best of the others:", *slow, sep="\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("name", nargs="?", default="")
    options = parser.parse_args()
    libraries = {malloc: usable(names) for malloc, names in MALLOCS.items()}
    if libraries["mm_heap"] is None:
        sys.exit(f"{OURS} is missing: make heap")
    print("### libmm_heap.so under real programs\n\nBold: faster than ours.\n")
    print(f"| {'program':<30} | {'malloc':<10} | seconds | times ours | CPU s   | times ours "
          "| peak MiB | kept MiB |")
    print(f"|{'-' * 32}|{'-' * 12}|--------:|-----------:|--------:|-----------:"
          "|---------:|---------:|")
    rows = {}
    for name, run in PROGRAMS.items():
        if options.name not in name:
            continue
        try:
            rows[name] = row(name, run, libraries, options.rounds)
        except Missing as missing:
            print(f"| {name:<30} | {missing} is not installed ||||||")
    if not rows:
        sys.exit(f"no program is called {options.name}")
    print_means(rows, libraries)
    print()


if __name__ == "__main__":
    main()
