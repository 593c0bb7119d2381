"""Programs that make large packages, with libmm_heap.so and without."""
import os
import shutil
import socket
import subprocess
import time
import urllib.request

from programs import HANG, Programs, environment

SQL = """
.mode list
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
insert into t select i, 'text number ' || (i * 7919 % 100003), i / 7.0 from n;
create index b on t(b);
select count(*), sum(a), max(b), round(sum(c), 3) from t;
select substr(b, 1, 14) as p, count(*) from t group by p order by 2 desc, 1 limit 20;
delete from t where a % 3 = 0;
update t set b = b || ' changed' where a % 5 = 0;
select x.a, y.b from t x join t y on y.a = x.a * 2 + 1 order by x.b limit 20;
vacuum;
pragma integrity_check;
.dump
"""

NODE = r"""
const crypto = require("crypto"), http = require("http"), zlib = require("zlib");
const { Worker, isMainThread, parentPort } = require("worker_threads");
let x = 1;
const next = () => (x = (x * 1103515245 + 12345) % 2147483648);
const all = Array.from({ length: 50000 },
                       (_, i) => ({ i, text: "t".repeat(next() % 50) + next() }));
const text = JSON.stringify(all.sort((a, b) => (a.text < b.text ? -1 : 1)));
console.log(crypto.createHash("sha256").update(text).digest("hex"));
console.log(zlib.gunzipSync(zlib.gzipSync(text)).toString() === text);
console.log(zlib.deflateSync(text).length);
const code = `const { parentPort } = require("worker_threads");
  let sum = 0;
  for (let i = 0; i < 300; i++) sum += Buffer.alloc(i * 100, 1).reduce((a, b) => a + b, 0);
  parentPort.postMessage(sum);`;
const workers = Array.from({ length: 4 }, () => new Promise((done) => {
  new Worker(code, { eval: true }).on("message", done);
}));
Promise.all(workers).then((sums) => {
  console.log(sums);
  const server = http.createServer((request, response) => response.end(request.url.repeat(1000)));
  server.listen(0, "127.0.0.1", async () => {
    let length = 0;
    for (let i = 0; i < 200; i++) {
      const got = await fetch(`http://127.0.0.1:${server.address().port}/${i}`);
      length += (await got.text()).length;
    }
    console.log(length);
    server.closeAllConnections();
    server.close();
  });
});
"""

NGINX = """
daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
    fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    gzip on; gzip_min_length 100; gzip_types text/plain;
    server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; default_type text/plain; }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Test(Programs):
    def start(self, preload, command):
        """A server, which is ended with the test."""
        server = subprocess.Popen([str(word) for word in command], cwd=self.folder,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  env=environment(preload))
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        return server

    def until(self, condition):
        start = time.monotonic()
        while not condition():
            self.assertLess(time.monotonic(), start + HANG)
            time.sleep(0.02)

    def test_sqlite(self):
        self.needs("sqlite3")
        self.assertIn("\nok\n", self.same(["sqlite3", ":memory:"], stdin=SQL))
        self.same(["sqlite3", "file"], stdin=SQL, files=["file"])

    def test_node(self):
        self.needs("node")
        self.same(["node", "-e", NODE])

    def redis(self, preload):
        """What a redis says, after load and a save by a forked child."""
        self.empty()
        program = shutil.which("redis-server")
        if program is None:  # it is the program of another name, which is without a service
            program = self.folder / "redis-server"
            program.symlink_to(self.needs("redis-check-rdb"))
        path = self.folder / "socket"
        server = self.start(preload, [program, "--port", 0, "--unixsocket", path, "--save", "",
                                      "--dir", self.folder, "--enable-debug-command", "yes"])
        self.until(lambda: path.exists())

        def cli(*words, stdin=""):
            return self.run_once(False, ["redis-cli", "-s", path, *words], stdin)

        lines = [f"set key:{i} {'v' * (i % 300)}\nrpush list:{i % 50} {i}\n"
                 f"hset hash:{i % 20} {i} x\nzadd sorted {i * 7919 % 10007} m{i}\n"
                 for i in range(20000)]
        said = [cli(stdin="".join(lines))]
        said.append(cli(stdin="".join(f"append key:{i} more\n" for i in range(0, 20000, 3))))
        said.append(cli("debug", "digest"))
        cli("bgsave")
        load = self.run_once(False, ["redis-benchmark", "-s", path, "-n", 20000, "-q", "-t",
                                     "set,get,lpush,hset,spop,mset"])
        self.assertEqual(load[0], 0, load)
        self.until(lambda: b"rdb_bgsave_in_progress:0" in cli("info", "persistence")[1])
        self.assertIn(b"rdb_last_bgsave_status:ok", cli("info", "persistence")[1])
        said.append(cli("zrange", "sorted", "100", "120"))
        cli("flushall")
        said.append(cli("dbsize"))
        cli("shutdown", "nosave")
        self.assertEqual(server.wait(HANG), 0)
        return said

    def test_redis(self):
        self.needs("redis-cli", "redis-benchmark")
        self.assertEqual(self.redis(False), self.redis(True))

    def nginx(self, preload):
        """What an nginx serves, while it starts new workers."""
        self.empty()
        for i in range(20):
            (self.folder / f"{i}.txt").write_text(f"{i} of the lines\n" * (i * i * 100))
        os.utime(self.folder, (0, 0))
        self.folder.chmod(0o755)
        port = free_port()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=self.folder, port=port))
        server = self.start(preload, [self.needs("nginx"), "-c", configuration, "-p", self.folder])
        self.until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        bodies = []
        for i in range(200):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{i % 20}.txt")
            if i % 2:
                request.add_header("Accept-Encoding", "gzip")
            with urllib.request.urlopen(request, timeout=HANG) as response:
                bodies.append((response.status, response.read()))
            if i % 20 == 0:
                os.kill(server.pid, 1)  # new workers, the old ones finish
        os.kill(server.pid, 3)
        self.assertEqual(server.wait(HANG), 0)
        self.assertNotIn("alert", (self.folder / "errors").read_text())
        return bodies

    def test_nginx(self):
        self.assertTrue(self.nginx(False) == self.nginx(True))

    def test_stress(self):
        self.needs("stress-ng")
        for options in ("--malloc 2 --malloc-ops 100000 --malloc-bytes 64M",
                        "--malloc 2 --malloc-ops 50000 --malloc-pthreads 4",
                        "--malloc 2 --malloc-ops 2000 --malloc-touch --malloc-thresh 1M",
                        "--fork 2 --fork-ops 1000", "--tsearch 1 --tsearch-ops 20",
                        "--mmap 1 --mmap-ops 5 --mmap-bytes 16M", "--qsort 1 --qsort-ops 10",
                        "--bigheap 1 --bigheap-ops 500 --bigheap-growth 64K"):
            command = ["stress-ng", "--verify", *options.split()]
            status, output, errors = self.run_once(True, command)
            said = (output + errors).decode(errors="replace")
            self.assertEqual(status, 0, said)
            self.assertIn("successful run completed", said)
            self.assertNotIn("fail:", said)
