/* The caches of mm_io.h, each beside what a server does that has none: open and fstat of a path, a
 * read of the file, a handshake (which is not timed: a full one takes some hundred thousand ns).
 *
 * The row with 100,000 paths opens as many files, so it needs `ulimit -n` above that, or root; with
 * less it takes as many as it may, and says how many. */
#include "bench.h"
#include "../../mm_io.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATHS 100000     /* files in the cache, if there are descriptors for them */
#define LOOKUPS 1000000  /* of these in a cycle; a row has ten cycles and more */
#define OPENS 100000     /* in a cycle of the row beside what opens each time */
#define RESPONSES 10000  /* ready to send, each of 1 KiB */
#define SESSIONS 10000   /* in the cache, each of 200 bytes */
#define TURNS 200000     /* lookups in a cycle */
#define HEAD 250         /* bytes of a response's head */
#define BODY_MOST (256 << 10)

static char root[] = "/tmp/mm-bench-io-XXXXXX";
static size_t path_count;
static mm_filecache files;
static uint32_t *order; /* of the paths, LOOKUPS of them */
static size_t found[3], wanted; /* by each contestant of a row, and what each has to find */

static mm_slice path_of(char *text, size_t number)
{
    return mm_slice_make(text, (size_t)sprintf(text, "assets/page-%06zu.html", number));
}

static void need(bool yes, const char *what)
{
    if (!yes) bench_fail("io_cache", what, "failed");
}

static bool first_found(const void *work)
{
    (void)work;
    return found[0] == wanted;
}

static bool second_found(const void *work)
{
    (void)work;
    return found[1] == wanted;
}

static bool third_found(const void *work)
{
    (void)work;
    return found[2] == wanted;
}

/* Each has to find `count` in a cycle of the row that begins. */
static void want(size_t count)
{
    memset(found, 0, sizeof(found));
    wanted = count;
}

/* ---- open files ---- */

static char (*paths)[32];

BENCH_INLINE void look_up(int64_t stat_ms, const size_t *lookups, size_t cycles, size_t *count)
{
    size_t i;
    files.stat_ms = stat_ms;
    for (; cycles > 0; cycles--) {
        for (*count = i = 0; i < *lookups; i++) {
            mm_file *file;
            mm_slice path = mm_slice_make(paths[order[i]], 23);
            if (mm_filecache_open(&files, path, 1, &file) != MM_STATUS_OK) continue;
            *count += file->size == 0;
            mm_file_release(file);
        }
    }
}

static void run_cached(const void *work, size_t cycles)
{
    look_up(1000, (const size_t *)work, cycles, &found[0]);
}

static void run_checked(const void *work, size_t cycles)
{
    look_up(0, (const size_t *)work, cycles, &found[1]);
}

static void run_open(const void *work, size_t cycles)
{
    size_t i;
    (void)work;
    for (; cycles > 0; cycles--)
        for (found[2] = i = 0; i < OPENS; i++) {
            struct stat st;
            int fd = openat(files.root_fd, paths[order[i]], O_RDONLY | O_CLOEXEC);
            if (fd < 0 || fstat(fd, &st) != 0) continue;
            found[2]++;
            close(fd);
        }
}

static void make_files(size_t count)
{
    mm_filecache_desc desc;
    uint64_t seed = 11;
    size_t i;
    memset(&desc, 0, sizeof(desc));
    desc.root = root;
    desc.max_entries = count;
    desc.inactive_ms = -1;
    desc.valid_ms = INT64_MAX;
    need(mm_filecache_init(&files, &desc) == MM_STATUS_OK, "cache");
    paths = malloc(count * sizeof(*paths));
    order = malloc(LOOKUPS * sizeof(*order));
    need(paths != NULL && order != NULL, "memory");
    need(mkdirat(files.root_fd, "assets", 0700) == 0, "mkdir");
    for (i = 0; i < count; i++) {
        mm_file *file;
        mm_slice path = path_of(paths[i], i);
        int fd = openat(files.root_fd, paths[i], O_CREAT | O_WRONLY, 0600);
        need(fd >= 0, "file");
        close(fd);
        need(mm_filecache_open(&files, path, 1, &file) == MM_STATUS_OK, "open");
        mm_file_release(file);
    }
    for (i = 0; i < LOOKUPS; i++) order[i] = (uint32_t)(bench_random(&seed) % count);
    path_count = count;
}

static void remove_files(void)
{
    size_t i;
    for (i = 0; i < path_count; i++) (void)unlinkat(files.root_fd, paths[i], 0);
    if (path_count > 0) (void)unlinkat(files.root_fd, "assets", AT_REMOVEDIR);
    mm_filecache_deinit(&files);
    free(paths);
    free(order);
    path_count = 0;
}

static void open_file_row(size_t most, size_t lookups)
{
    static const bench_contestant contestants[] = {
        {"mm_filecache, stat_ms 1000", run_cached, first_found},
        {"mm_filecache, stat_ms 0", run_checked, second_found},
        {"openat, fstat, close", run_open, third_found}};
    struct rlimit limit;
    char title[64];
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = most + 100;
    if (limit.rlim_max < limit.rlim_cur) limit.rlim_max = limit.rlim_cur;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) { /* not root: what there is */
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        if (most > limit.rlim_cur - 100) most = limit.rlim_cur - 100;
    }
    sprintf(title, "open file, %zu paths", most);
    if (strstr(title, bench_only) == NULL) return;
    make_files(most);
    want(lookups);
    bench_row(title, &lookups, lookups, contestants, lookups == OPENS ? 3 : 2);
    remove_files();
}

/* ---- paths that lead nowhere: all of them in the table, whatever the limit of descriptors ---- */

static void run_absent(const void *work, size_t cycles)
{
    size_t i;
    (void)work;
    for (; cycles > 0; cycles--)
        for (found[0] = i = 0; i < LOOKUPS; i++) {
            mm_file *file;
            mm_slice path = mm_slice_make(paths[order[i]], 23);
            found[0] += mm_filecache_open(&files, path, 1, &file) == MM_STATUS_NOT_FOUND;
        }
}

static void absent_file_row(void)
{
    static const bench_contestant contestants[] = {{"mm_filecache", run_absent, first_found}};
    mm_filecache_desc desc;
    uint64_t seed = 11;
    size_t i;
    memset(&desc, 0, sizeof(desc));
    desc.root = root;
    desc.max_notes = PATHS;
    desc.negative_ms = desc.inactive_ms = INT64_MAX;
    need(mm_filecache_init(&files, &desc) == MM_STATUS_OK, "cache");
    paths = malloc(PATHS * sizeof(*paths));
    order = malloc(LOOKUPS * sizeof(*order));
    need(paths != NULL && order != NULL, "memory");
    for (i = 0; i < PATHS; i++) (void)path_of(paths[i], i);
    for (i = 0; i < LOOKUPS; i++) order[i] = (uint32_t)(bench_random(&seed) % PATHS);
    want(LOOKUPS);
    BENCH("no such file, 100000 paths", NULL, LOOKUPS, contestants);
    mm_filecache_deinit(&files);
    free(paths);
    free(order);
}

/* ---- responses ---- */

static mm_respcache responses;
static mm_file *page;

static void run_response(const void *work, size_t cycles)
{
    uint64_t seed = 5;
    size_t i;
    (void)work;
    for (; cycles > 0; cycles--)
        for (found[0] = i = 0; i < TURNS; i++) {
            mm_response *response;
            mm_slice key = mm_slice_make(paths[bench_random(&seed) % RESPONSES], 23);
            response = mm_respcache_get(&responses, key, page);
            if (response == NULL) continue;
            found[0] += response->body.len == 1024;
            mm_response_release(response);
        }
}

static void run_pread(const void *work, size_t cycles)
{
    char bytes[1024];
    size_t i;
    (void)work;
    for (; cycles > 0; cycles--)
        for (found[1] = i = 0; i < TURNS; i++) {
            found[1] += pread(page->fd, bytes, sizeof(bytes), 0) == sizeof(bytes);
            BENCH_KEEP(bytes);
        }
}

static void open_page(size_t size)
{
    static char bytes[BODY_MOST];
    mm_filecache_desc desc;
    int fd;
    memset(&desc, 0, sizeof(desc));
    desc.root = root;
    need(mm_filecache_init(&files, &desc) == MM_STATUS_OK, "cache");
    fd = openat(files.root_fd, "page", O_CREAT | O_TRUNC | O_WRONLY, 0600);
    need(fd >= 0 && write(fd, bytes, size) == (ssize_t)size, "page");
    close(fd);
    need(mm_filecache_open(&files, mm_slice_from_string("page"), 1, &page) == MM_STATUS_OK, "open");
}

static void close_page(void)
{
    (void)unlinkat(files.root_fd, "page", 0);
    mm_file_release(page);
    mm_filecache_deinit(&files);
}

static void response_row(void)
{
    static const bench_contestant contestants[] = {{"mm_respcache", run_response, first_found},
                                                   {"pread of 1 KiB", run_pread, second_found}};
    mm_respcache_desc desc;
    char head[HEAD] = "HTTP/1.1 200 OK\r\n";
    size_t i;
    memset(&desc, 0, sizeof(desc));
    desc.max_bytes = 64 << 20;
    open_page(1024);
    need(mm_respcache_init(&responses, &desc) == MM_STATUS_OK, "responses");
    paths = malloc(RESPONSES * sizeof(*paths));
    need(paths != NULL, "memory");
    for (i = 0; i < RESPONSES; i++) {
        mm_response *response;
        mm_slice key = path_of(paths[i], i);
        need(mm_respcache_put(&responses, key, page, mm_slice_make(head, HEAD), NULL, &response) ==
                 MM_STATUS_OK, "put");
        mm_response_release(response);
    }
    want(TURNS);
    BENCH("response, 10,000 keys", NULL, TURNS, contestants);
    mm_respcache_deinit(&responses);
    close_page();
    free(paths);
}

/* ---- sessions ---- */

static mm_tls_sessions sessions, one_shard;

static mm_slice session_id(unsigned char *id, size_t number)
{
    memset(id, 7, 32);
    memcpy(id, &number, sizeof(number));
    return mm_slice_make((const char *)id, 32);
}

typedef struct finder {
    mm_tls_sessions *sessions;
    size_t turns, found;
    uint64_t seed;
} finder;

static void *find_sessions(void *user_data)
{
    finder *f = (finder *)user_data;
    size_t i;
    for (i = 0; i < f->turns; i++) {
        unsigned char id[32], der[4096];
        size_t size;
        mm_slice key = session_id(id, bench_random(&f->seed) % SESSIONS);
        f->found += mm_tls_sessions_get(f->sessions, key, der, &size) == MM_STATUS_OK;
    }
    return NULL;
}

BENCH_INLINE void find_on(mm_tls_sessions *where, size_t threads, size_t cycles, size_t *count)
{
    for (; cycles > 0; cycles--) {
        finder finders[2] = {{where, TURNS / threads, 0, 3}, {where, TURNS / threads, 0, 4}};
        pthread_t other;
        if (threads == 2)
            need(pthread_create(&other, NULL, find_sessions, &finders[1]) == 0, "thread");
        find_sessions(&finders[0]);
        if (threads == 2) pthread_join(other, NULL);
        *count = finders[0].found + finders[1].found;
    }
}

static void run_one_thread(const void *work, size_t cycles)
{
    (void)work;
    find_on(&sessions, 1, cycles, &found[1]);
}

static void run_two_threads(const void *work, size_t cycles)
{
    (void)work;
    find_on(&sessions, 2, cycles, &found[0]);
}

static void run_two_threads_one_shard(const void *work, size_t cycles)
{
    (void)work;
    find_on(&one_shard, 2, cycles, &found[2]);
}

static void fill_sessions(mm_tls_sessions *where, size_t shards)
{
    mm_tls_sessions_desc desc;
    char der[200] = "DER";
    size_t i;
    memset(&desc, 0, sizeof(desc));
    desc.max_entries = 4 * SESSIONS; /* shards are not filled alike */
    desc.shards = shards;
    need(mm_tls_sessions_init(where, &desc) == MM_STATUS_OK, "sessions");
    for (i = 0; i < SESSIONS; i++) {
        unsigned char id[32];
        need(mm_tls_sessions_put(where, session_id(id, i), mm_slice_make(der, sizeof(der))) ==
                 MM_STATUS_OK, "put");
    }
}

static void session_row(void)
{
    static const bench_contestant contestants[] = {
        {"two threads", run_two_threads, first_found},
        {"one thread", run_one_thread, second_found},
        {"two threads, one shard", run_two_threads_one_shard, third_found}};
    fill_sessions(&sessions, 0);
    fill_sessions(&one_shard, 1);
    want(TURNS);
    BENCH("TLS session, 10,000 of 200 bytes", NULL, TURNS, contestants);
    mm_tls_sessions_deinit(&sessions);
    mm_tls_sessions_deinit(&one_shard);
}

/* ---- up to which size to read what sendfile could send ---- */

static int ours, theirs;
static mm_chunk_pool pool;
static mm_chunkqueue q;

static void connect_pair(void)
{
    struct sockaddr_in name;
    socklen_t size = sizeof(name);
    int listener = socket(AF_INET, SOCK_STREAM, 0), room = 4 << 20;
    memset(&name, 0, sizeof(name));
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    need(bind(listener, (struct sockaddr *)&name, size) == 0 && listen(listener, 1) == 0, "listen");
    need(getsockname(listener, (struct sockaddr *)&name, &size) == 0, "name");
    ours = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    need(connect(ours, (struct sockaddr *)&name, size) == 0, "connect");
    theirs = accept(listener, NULL, NULL);
    close(listener);
    need(fcntl(ours, F_SETFL, O_NONBLOCK) == 0 && fcntl(theirs, F_SETFL, O_NONBLOCK) == 0, "fcntl");
}

BENCH_INLINE void send_page(size_t most, size_t cycles, size_t *count)
{
    static char head[HEAD], sink[BODY_MOST];
    for (; cycles > 0; cycles--) {
        size_t got = 0, all = HEAD + (size_t)page->size;
        mm_chunkqueue_append_mem(&q, head, HEAD);
        need(mm_file_append(&q, page, 0, page->size, most) == MM_STATUS_OK, "append");
        while (got < all) {
            int64_t sent;
            ssize_t n;
            mm_status status = mm_io_write(&q, ours, INT64_MAX, &sent);
            need(status == MM_STATUS_OK || status == MM_STATUS_AGAIN, "write");
            while ((n = read(theirs, sink, sizeof(sink))) > 0) got += (size_t)n;
        }
        *count = got;
    }
}

static void run_read(const void *work, size_t cycles)
{
    (void)work;
    send_page(BODY_MOST, cycles, &found[0]);
}

static void run_sendfile(const void *work, size_t cycles)
{
    (void)work;
    send_page(1, cycles, &found[1]);
}

static void send_row(size_t kib)
{
    static const bench_contestant contestants[] = {{"read, one send", run_read, first_found},
                                                   {"head, sendfile", run_sendfile, second_found}};
    char title[64];
    sprintf(title, "head and file of %zu KiB sent", kib);
    open_page(kib << 10);
    want(HEAD + (kib << 10));
    BENCH(title, NULL, 1, contestants);
    close_page();
}

int main(int argc, char **argv)
{
    mm_chunk_pool_desc desc;
    size_t kib;
    memset(&desc, 0, sizeof(desc));
    if (mkdtemp(root) == NULL || mm_chunk_pool_init(&pool, &desc) != MM_STATUS_OK) return 1;
    mm_chunkqueue_init(&q, &pool);
    bench_begin(argc, argv, "mm_io.h: caches");
    open_file_row(PATHS, LOOKUPS);
    open_file_row(1000, OPENS);
    absent_file_row();
    response_row();
    session_row();
    connect_pair();
    for (kib = 1; kib <= BODY_MOST >> 10; kib *= 2) send_row(kib);
    rmdir(root);
    return bench_end();
}
