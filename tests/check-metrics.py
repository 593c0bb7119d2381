#!/usr/bin/env python3
"""The reports of mm_metrics_write, as others read them: promtool, and Python's json. Run by
run.py --all."""
import json
import os
import re

from checks import BUILD, TOP, Failed, main, pkg_config, run

FOLDER = BUILD / "metrics"
TEN = ["memory_total_bytes", "memory_heap_bytes", "buffer_pool_allocated",
       "buffer_pool_available", "connections_active", "connections_idle",
       "open_file_cache_entries", "response_cache_bytes", "tls_session_cache_entries",
       "memory_pressure"]


def reports():
    """Both reports, of a server that has one of everything, as tests/unit/io_metrics.c has it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = FOLDER / "io_metrics"
    run(["cc", "-std=c11", "-O1", "-pthread", "-o", program, TOP / "tests/unit/io_metrics.c",
         *pkg_config("--cflags"), *pkg_config("--libs")])
    run([program], env={**os.environ, "METRICS_DIR": str(FOLDER)}, cwd=TOP)


def prometheus_takes_it():
    said = run(["sh", "-c", 'promtool check metrics <"$0"', FOLDER / "metrics.txt"])
    if said.strip():
        raise Failed(said)


def the_ten_are_there():
    text = (FOLDER / "metrics.txt").read_text()
    missing = [name for name in TEN if not re.search(rf"^webserver_{name}[ {{]", text, re.M)]
    if missing:
        raise Failed(f"missing: {' '.join(missing)}")


def json_says_the_same():
    report = json.loads((FOLDER / "metrics.json").read_text())
    text = (FOLDER / "metrics.txt").read_text()
    for name, value in report["webserver"].items():
        if name in ("buffer_pool", "memory_total_bytes"):
            continue
        if f"\nwebserver_{name} {value}\n" not in text:
            raise Failed(f"{name} is not {value} in\n{text}")
    if {row["size"] for row in report["webserver"]["buffer_pool"]} < {4096, 16384, 65536}:
        raise Failed(str(report["webserver"]["buffer_pool"]))
    for array in "files", "responses", "maps", "sessions", "chunks", "descriptors":
        if not report[array]:
            raise Failed(f"no {array}")
    if not report["memory"]["budgets"]:
        raise Failed("no budgets")


reports()
main([("promtool check metrics", prometheus_takes_it), ("the ten metrics", the_ten_are_there),
      ("json", json_says_the_same)])
