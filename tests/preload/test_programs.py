"""Programs that most systems have, with libmm_heap.so and without."""
import sys

from programs import LIBRARY, TOP, Programs

PYTHON = r"""
import bz2, collections, concurrent.futures, decimal, gc, hashlib, io, itertools, json, os, pickle
import random, re, sqlite3, subprocess, sys, threading, zlib
random.seed(1)
words = ["".join(random.choices("abcdefgh", k=random.randint(1, 30))) for _ in range(20000)]
tree = {word: {"n": i, "list": words[i % 100:i % 100 + i % 17]} for i, word in enumerate(words)}
text = json.dumps(tree, sort_keys=True)
assert json.loads(text) == tree and pickle.loads(pickle.dumps(tree)) == tree
print(hashlib.sha256(text.encode()).hexdigest(), len(zlib.compress(text.encode())))
print(collections.Counter(re.findall(r"([a-d]+)(e?)[f-h]", text)).most_common(5))
print(hashlib.md5(bz2.compress(text.encode()[:300000])).hexdigest(), decimal.Decimal(2) ** 5000)
base = sqlite3.connect(":memory:")
base.execute("create table t(a, b)")
base.executemany("insert into t values(?, ?)", enumerate(words))
print(base.execute("select b, count(*) from t group by b order by 2 desc, 1 limit 5").fetchall())
def work(seed):
    numbers = random.Random(seed)
    found = [bytearray(numbers.randint(1, 50000)) for _ in range(200)]
    return sum(map(len, sorted(found, key=len)[::2]))
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(work, range(50))))
for i in range(5):
    child = os.fork()
    if child == 0:
        os._exit(work(i) % 100)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(subprocess.run([sys.executable, "-c", "print(sum(range(9999)))"], capture_output=True))
try:
    bytearray(2 ** 62)
except MemoryError:
    print("MemoryError")
gc.collect()
"""

PERL = r"""
my ($x, %count, @all) = (1);
for my $i (1 .. 200000) {
    $x = ($x * 1103515245 + 12345) % 2147483648;
    push @all, "w" . ($x % 5000) x (1 + $i % 3);
}
$count{$_}++ for @all;
my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$_ $count{$_}\n" for @sorted[0 .. 20];
my $text = join " ", sort @all;
my $changed = ($text =~ s/w(\d)(\d*)/<$2$1>/g);
print length($text), " $changed ", substr($text, 0, 200), "\n";
my @deep = map { { id => $_, list => [1 .. $_ % 50] } } 1 .. 20000;
my $sum = 0;
$sum += scalar @{$_->{list}} for @deep;
print "$sum\n";
"""

GIT = r"""
git init -q -b main here
cd here
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    mkdir -p folder$i
    seq 1 $((i * 2000)) | sed "s/7/$i/g" >folder$i/numbers
    seq $i $((i + 50)) >changing
    git add -A
    git commit -q -m "commit $i"
done
git checkout -q -b other HEAD~5
echo other >another
git add another
git commit -q -m other
git merge -q -m merge main
git log --stat --format='%H %s'
git gc -q --aggressive
git fsck --full --strict
git clone -q . ../there
cd ../there
git blame changing | tail -n 5
git grep -c 77 | sort
git diff HEAD~8 | sha256sum
git rev-parse HEAD
"""


class Test(Programs):
    def test_the_library_is_loaded(self):
        status, output, errors = self.run_once(True, ["cat", "/proc/self/maps"])
        self.assertEqual((status, errors), (0, b""))
        self.assertIn(LIBRARY.encode(), output)

    def test_python(self):
        self.same([sys.executable, "-c", PYTHON])

    def test_python_with_malloc_for_all_objects(self):
        self.same([sys.executable, "-c", PYTHON], more={"PYTHONMALLOC": "malloc"})

    def test_perl(self):
        self.needs("perl")
        self.same(["perl", "-e", PERL])

    def test_git(self):
        self.needs("git")
        self.same_script(GIT)

    def test_gcc(self):
        for source, options in ((TOP / "mm_io.h", "-O2"), (TOP / "mm_buffer.h", "-O3 -g")):
            self.same(["gcc", "-std=c11", *options.split(), "-DMM_IMPLEMENTATION", "-x", "c", "-c",
                       "-o", "out.o", source], files=["out.o"])

    def test_gcc_for_cpp(self):
        text = "#include <regex>\n#include <map>\nint main() { std::map<int, std::regex> m; }\n"
        self.same(["g++", "-std=c++17", "-O2", "-x", "c++", "-c", "-o", "out.o", "-"], stdin=text,
                  files=["out.o"])

    def test_clang(self):
        self.same(["clang", "-std=c11", "-O2", "-DMM_IMPLEMENTATION", "-x", "c", "-c", "-o",
                   "out.o", TOP / "mm_chunk.h"], files=["out.o"])

    def test_shell_tools(self):
        self.same_script("seq 1 200000 | sed 's/3/x/g' | sort -k1,1r --parallel=4 -S 2M >sorted\n"
                         "awk '{ n[substr($0, 1, 3)]++ } END { for (i in n) print i, n[i] }'"
                         " sorted | sort | head -n 50\n"
                         "tar cf - sorted --mtime=@0 --owner=0 --group=0 | gzip -9n | sha256sum\n"
                         "xz -3 -T 2 <sorted | xz -d | sha256sum")

    def test_bash(self):
        self.same(["bash", "-c", "for i in {1..20000}; do a[i]=$i$i; b+=${a[i / 2]}; done\n"
                   "echo ${#a[*]} ${#b} ${b: -50}; printf '%s\\n' ${a[@]} | sort | tail -n 3"])

    def test_openssl(self):
        self.same_script("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mm -keyout key"
                         " -out certificate 2>/dev/null\n"
                         "seq 1 100000 >text\n"
                         "openssl dgst -sha256 -sign key -out signature text\n"
                         "openssl x509 -in certificate -noout -pubkey >public\n"
                         "openssl dgst -sha256 -verify public -signature signature text\n"
                         "openssl enc -aes-256-cbc -pbkdf2 -S 0011223344556677 -k x -in text |"
                         " sha256sum")

    def test_make(self):
        text = "all: a b c d\n%:\n\t@echo $@ >$@; sleep 0.01\n"
        self.same(["make", "-s", "-j4", "-f", "-"], stdin=text, files=["a", "d"])
