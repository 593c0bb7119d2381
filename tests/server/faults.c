/* One request after another to a worker of mmserve in this process, with each allocation and each
 * system call of mm_chunk.h and mm_io.h failing in turn, once and for ever; over TLS, each
 * allocation of OpenSSL's. Whatever fails: the answer is complete and right, or an error page, or
 * cut off; the next connection is served; nothing leaks. Linked with the server's objects, but for
 * main and for mm, which this file stands in for. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The worker's thread counts; the test sets it up while the worker has nothing to do. */
static struct shim {
    size_t calls, fail_at, most;
    int for_ever, error;
    long open_fds;
} shim;

static int shim_fails(void)
{
    size_t calls = __atomic_add_fetch(&shim.calls, 1, __ATOMIC_ACQ_REL);
    size_t fail_at = __atomic_load_n(&shim.fail_at, __ATOMIC_ACQUIRE);
    if (fail_at == 0 || calls < fail_at || (calls > fail_at && !shim.for_ever)) return 0;
    errno = shim.error;
    return 1;
}

static int shim_opened(int fd)
{
    if (fd >= 0) __atomic_add_fetch(&shim.open_fds, 1, __ATOMIC_ACQ_REL);
    return fd;
}

static int shim_close(int fd)
{
    __atomic_sub_fetch(&shim.open_fds, 1, __ATOMIC_ACQ_REL);
    return close(fd);
}

#define MM_SYS_OPEN(path, flags, mode) (shim_fails() ? -1 : shim_opened(open(path, flags, mode)))
#define MM_SYS_OPEN_TEMP(dir, name, flags, mode) \
    (shim_fails() ? -1 : shim_opened(openat(dir, name, flags, mode)))
#define MM_SYS_CLOSE(fd) shim_close(fd)
#define MM_SYS_FSTAT(fd, st) (shim_fails() ? -1 : fstat(fd, st))
#define MM_SYS_PREAD(fd, bytes, size, at) (shim_fails() ? -1 : pread(fd, bytes, size, at))
#define MM_SYS_READ(fd, bytes, size) (shim_fails() ? -1 : read(fd, bytes, size))
#define MM_SYS_WRITEV(fd, iov, count) (shim_fails() ? -1 : writev(fd, iov, count))
#define MM_SYS_SENDMSG(fd, msg, flags) (shim_fails() ? -1 : sendmsg(fd, msg, flags))
#define MM_SYS_SENDFILE(to, from, at, size) (shim_fails() ? -1 : sendfile(to, from, at, size))
#define MM_SYS_OPENAT(dir, path, flags) (shim_fails() ? -1 : shim_opened(openat(dir, path, flags)))
#define MM_SYS_OPENAT2(dir, path, flags, resolve) \
    (shim_fails() ? -1 : shim_opened(mmi_openat2(dir, path, flags, resolve)))
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_heap.h"
#include "../../mm_io.h"

#include "../../demo/cert.h"
#include "../../demo/conn.h"
#include "../../demo/worker.h"
#include "../harness.h"

#ifdef MM_VALGRIND
#define TLS_STEP 97 /* of OpenSSL's allocations: a handshake takes Valgrind long */
#else
#define TLS_STEP 1
#endif

enum { FILE_SIZE = 100000, ANSWER_MAX = 200000 };
static char root[] = "/tmp/mm-test-faults-XXXXXX";
static char file_bytes[FILE_SIZE];
static char answer[ANSWER_MAX];
static test_allocator memory;
static options o;
static server s;
static worker w;
static int port;

static void put_file(const char *name, const char *bytes, size_t size)
{
    char path[128];
    int fd;
    snprintf(path, sizeof(path), "%s/%s", root, name);
    fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) abort();
    close(fd);
}

static void make_site(void)
{
    char path[128];
    uint64_t seed = 11;
    size_t i;
    snprintf(root, sizeof(root), "/tmp/mm-test-faults-XXXXXX");
    if (mkdtemp(root) == NULL) abort();
    for (i = 0; i < FILE_SIZE; i++) file_bytes[i] = (char)test_random(&seed);
    put_file("file", file_bytes, FILE_SIZE);
    put_file("small.txt", "small", 5);
    snprintf(path, sizeof(path), "%s/sub", root);
    if (mkdir(path, 0755) != 0) abort();
    put_file("sub/index.html", "index", 5);
    (void)sleep(4); /* what has just been changed is not kept in memory */
}

static void remove_site(void)
{
    static const char *const names[] = {"file", "small.txt", "sub/index.html", "sub", ""};
    size_t i;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", root, names[i]);
        (void)remove(path);
    }
}

static SSL_CTX *server_context, *client_context; /* NULL: plain HTTP */

static listener listen_anywhere(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    listener l = {socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), false,
                  false};
    l.tls = server_context != NULL;
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(l.fd, (struct sockaddr *)&address, size) != 0 || listen(l.fd, 100) != 0) abort();
    if (getsockname(l.fd, (struct sockaddr *)&address, &size) != 0) abort();
    port = ntohs(address.sin_port);
    return l;
}

static void server_start(bool use_poll)
{
    char error[256];
    listener l = listen_anywhere();
    memset(&shim, 0, sizeof(shim));
    memset(&s, 0, sizeof(s));
    memset(&o, 0, sizeof(o));
    test_allocator_init(&memory);
    memory_init(&memory.base);
    o.dir = root;
    o.header_timeout = o.idle_timeout = o.write_timeout = 600;
    o.drain = 600;
    o.listing = true;
    o.poll = use_poll;
    s.options = &o;
    s.tls = server_context;
    s.log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    s.fds.limit = 100;
    s.uploads.count = 1;
    s.uploads.places[0].prefix = mm_slice_from_string("up");
    s.uploads.places[0].dir = root;
    s.uploads.max = s.uploads.limits.body = FILE_SIZE;
    (void)pthread_mutex_init(&s.uploads.commit, NULL);
    if (!worker_init(&w, &s, &l, 1, error, sizeof(error)) || !worker_start(&w)) abort();
}

static void server_stop(void)
{
    worker_drain(&w);
    worker_join(&w);
    CHECK(worker_deinit(&w));
    (void)pthread_mutex_destroy(&s.uploads.commit);
    CHECK_EQ(mm_budget_live(memory_get(MEMORY_PROCESS)), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    CHECK_EQ(shim.open_fds, 0);
    CHECK_EQ(s.fds.taken, 0);
    close(s.log_fd);
}

/* Sends the file if it is to be put, then reads until the server closes. */
static size_t talk(int fd, const char *request, size_t size, bool put)
{
    size_t got = 0;
    ssize_t n;
    if (send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) return 0;
    if (put) (void)!send(fd, file_bytes, FILE_SIZE, MSG_NOSIGNAL); /* all, or it has been refused */
    while ((n = recv(fd, answer + got, ANSWER_MAX - 1 - got, 0)) > 0) got += (size_t)n;
    return got;
}

/* The same over TLS; 0 as well when there is no handshake. */
static size_t talk_tls(int fd, const char *request, size_t size)
{
    size_t got = 0;
    int n;
    SSL *ssl = SSL_new(client_context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) abort();
    if (SSL_connect(ssl) == 1 && SSL_write(ssl, request, (int)size) == (int)size)
        while ((n = SSL_read(ssl, answer + got, (int)(ANSWER_MAX - 1 - got))) > 0)
            got += (size_t)n;
    SSL_free(ssl);
    ERR_clear_error();
    return got;
}

static int connect_anew(void)
{
    struct sockaddr_in address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) return fd;
    close(fd);
    return -1;
}

/* Sends one request, a PUT of the file for what is in /up/. Returns the bytes received, a NUL
   behind. */
static size_t ask(const char *path)
{
    char request[256], length[48] = "";
    size_t got = 0;
    bool put = strncmp(path, "/up/", 4) == 0;
    int fd = connect_anew(), size;
    if (put) snprintf(length, sizeof(length), "Content-Length: %d\r\n", FILE_SIZE);
    size = snprintf(request, sizeof(request),
                    "%s %s HTTP/1.1\r\nHost: localhost\r\n%sConnection: close\r\n\r\n",
                    put ? "PUT" : "GET", path, length);
    answer[0] = '\0';
    if (fd < 0) return 0;
    got = client_context != NULL ? talk_tls(fd, request, (size_t)size)
                                 : talk(fd, request, (size_t)size, put);
    close(fd);
    answer[got] = '\0';
    return got;
}

/* The answer in `answer` is cut off, or whole: an error, or `status` with `body` (NULL: any). */
static void judge(size_t got, int status, const char *body, size_t body_size)
{
    char *end = strstr(answer, "\r\n\r\n"), *field;
    size_t content, length;
    int code;
    if (end == NULL) return; /* cut off before it said anything */
    CHECK(sscanf(answer, "HTTP/1.1 %d", &code) == 1);
    CHECK(code == status || code == 503 || code == 500 || code == 403 || code == 404);
    field = strstr(answer, "Content-Length: ");
    CHECK(field != NULL && field < end);
    length = strtoul(field + 16, NULL, 10);
    content = got - (size_t)(end + 4 - answer);
    CHECK(content <= length);
    if (code == status && body != NULL)
        CHECK(length == body_size && memcmp(end + 4, body, content) == 0);
}

typedef struct target {
    const char *path;
    int status;
    const char *body; /* NULL: any */
    size_t size;
} target;

static const target targets[] = {{"/file", 200, file_bytes, FILE_SIZE},
                                 {"/small.txt", 200, "small", 5},
                                 {"/sub/", 200, "index", 5},
                                 {"/sub", 301, NULL, 0},
                                 {"/", 200, NULL, 0},
                                 {"/none", 404, NULL, 0},
                                 {"/up/sub/put", 201, NULL, 0}};

/* What has been put is not there, or is whole: how many bytes, -1 when it is not there. It goes. */
static long take_put(void)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s/sub/put", root);
    if (stat(path, &st) != 0) return -1;
    (void)unlink(path);
    return (long)st.st_size;
}

/* One request in which the n-th call (or allocation) fails, and one after it; *more is 0 when there
   were fewer than n. */
static void fault(const target *t, size_t n, int for_ever, int error, bool of_memory, int *more)
{
    size_t got;
    long put;
    server_start(n % 2 == 0);
    if (of_memory) test_allocator_fail(&memory, n, for_ever);
    shim.error = error;
    shim.for_ever = for_ever;
    __atomic_store_n(&shim.calls, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&shim.fail_at, of_memory ? 0 : n, __ATOMIC_RELEASE);
    got = ask(t->path);
    CHECK_SUB(judge(got, t->status, t->body, t->size));
    put = take_put();
    CHECK(put == -1 || (put == FILE_SIZE && t->status == 201));
    *more = of_memory ? memory.failures > 0 : __atomic_load_n(&shim.calls, __ATOMIC_ACQUIRE) >= n;
    __atomic_store_n(&shim.fail_at, 0, __ATOMIC_RELEASE);
    test_allocator_fail(&memory, 0, 0);
    got = ask("/small.txt");
    CHECK(got > 5 && strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
    CHECK_STR(answer + got - 5, "small");
    CHECK_SUB(server_stop());
}

static size_t points; /* faults of a test */

static void sweep(int error, bool of_memory)
{
    size_t i, n;
    int for_ever, more;
    for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        for (for_ever = 0; for_ever < 2; for_ever++) {
            if (for_ever && (error == EINTR || error == EAGAIN)) continue; /* those do end */
            for (n = 1, more = 1; more; n++, points++)
                CHECK_SUB(fault(&targets[i], n, for_ever, error, of_memory, &more));
        }
}

/* ---- OpenSSL's memory: the worker's requests fail, those of the test's own thread do not ---- */

static struct tls_memory {
    size_t calls, fail_at, failures, blocks; /* atomic */
    int for_ever;
    pthread_t test;
    int is_ours;
} tls_memory;

static int tls_refuses(void)
{
    size_t calls, fail_at;
    if (pthread_equal(pthread_self(), tls_memory.test)) return 0;
    calls = __atomic_add_fetch(&tls_memory.calls, 1, __ATOMIC_ACQ_REL);
    fail_at = __atomic_load_n(&tls_memory.fail_at, __ATOMIC_ACQUIRE);
    if (fail_at == 0 || calls < fail_at || (calls > fail_at && !tls_memory.for_ever)) return 0;
    __atomic_add_fetch(&tls_memory.failures, 1, __ATOMIC_ACQ_REL);
    return 1;
}

static void *tls_alloc(size_t size, void *user_data)
{
    void *ptr = tls_refuses() ? NULL : malloc(size);
    (void)user_data;
    if (ptr != NULL) __atomic_add_fetch(&tls_memory.blocks, 1, __ATOMIC_ACQ_REL);
    return ptr;
}

static void *tls_realloc(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    (void)old_size, (void)user_data;
    return tls_refuses() ? NULL : realloc(ptr, new_size);
}

static void tls_free(void *ptr, size_t size, void *user_data)
{
    (void)size, (void)user_data;
    __atomic_sub_fetch(&tls_memory.blocks, 1, __ATOMIC_ACQ_REL);
    free(ptr);
}

static void take_openssl(void)
{
    static const mm_allocator allocator = {tls_alloc, tls_realloc, tls_free, NULL};
    tls_memory.test = pthread_self();
    if (!tls_memory.is_ours) CHECK_EQ(mm_io_tls_set_allocator(&allocator), MM_STATUS_OK);
    tls_memory.is_ours = 1;
}

static void tls_fail(size_t n, int for_ever)
{
    __atomic_store_n(&tls_memory.fail_at, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&tls_memory.calls, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&tls_memory.failures, 0, __ATOMIC_RELEASE);
    tls_memory.for_ever = for_ever;
    __atomic_store_n(&tls_memory.fail_at, n, __ATOMIC_RELEASE);
}

static void make_contexts(void)
{
    X509 *cert;
    EVP_PKEY *key;
    server_context = SSL_CTX_new(TLS_server_method());
    client_context = SSL_CTX_new(TLS_client_method());
    if (server_context == NULL || client_context == NULL || !cert_make(&cert, &key)) abort();
    if (SSL_CTX_use_certificate(server_context, cert) != 1 ||
        SSL_CTX_use_PrivateKey(server_context, key) != 1)
        abort();
    X509_free(cert);
    EVP_PKEY_free(key);
    SSL_CTX_set_session_cache_mode(server_context, SSL_SESS_CACHE_OFF);
}

static void tls_is_served(void)
{
    size_t got = ask("/small.txt");
    CHECK(got > 5 && strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
    CHECK_STR(answer + got - 5, "small");
}

/* One server for all, as its next request has to be served in any case. */
static void tls_sweep(int use_poll, int for_ever)
{
    size_t n, failures = 1;
    CHECK_SUB(server_start(use_poll));
    for (n = 0; n < 3; n++) CHECK_SUB(tls_is_served()); /* what is made once only is there */
    for (n = 1; failures > 0; n += TLS_STEP, points++) {
        size_t got;
        tls_fail(n, for_ever);
        got = ask("/small.txt");
        CHECK_SUB(judge(got, 200, "small", 5));
        failures = __atomic_load_n(&tls_memory.failures, __ATOMIC_ACQUIRE);
        tls_fail(0, 0);
        CHECK_SUB(tls_is_served());
    }
    CHECK_SUB(server_stop());
}

TEST(every_allocation_of_openssl_fails)
{
    size_t before;
    CHECK_SUB(take_openssl());
    signal(SIGPIPE, SIG_IGN); /* the client's end is OpenSSL's own */
    make_site();
    make_contexts();
    points = 0;
    CHECK_SUB(tls_sweep(0, 0));
    before = __atomic_load_n(&tls_memory.blocks, __ATOMIC_ACQUIRE);
    CHECK_SUB(tls_sweep(1, 1));
    CHECK_SUB(tls_sweep(0, 0));
    printf("%zu allocation faults of OpenSSL survived, %zu blocks before, %zu after\n", points,
           before, __atomic_load_n(&tls_memory.blocks, __ATOMIC_ACQUIRE));
    /* texts of this thread's errors may stay for the next ones; a leak would be one each time */
    CHECK(__atomic_load_n(&tls_memory.blocks, __ATOMIC_ACQUIRE) <= before + 32);
    CHECK(points > 300 / TLS_STEP);
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
    server_context = client_context = NULL;
    signal(SIGPIPE, SIG_DFL);
    remove_site();
}

TEST(without_faults_all_is_served)
{
    size_t i;
    CHECK_SUB(take_openssl());
    make_site();
    server_start(false);
    for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        size_t got = ask(targets[i].path);
        CHECK(strtol(answer + 9, NULL, 10) == targets[i].status);
        CHECK(take_put() == (targets[i].status == 201 ? FILE_SIZE : -1));
        CHECK(targets[i].body == NULL ||
              memcmp(answer + got - targets[i].size, targets[i].body, targets[i].size) == 0);
    }
    CHECK_SUB(server_stop());
}

TEST(every_system_call_fails)
{
    static const int errors[] = {EIO, EINTR, EAGAIN, EMFILE, ENOMEM, ECONNRESET, EACCES};
    size_t e;
    points = 0;
    for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) CHECK_SUB(sweep(errors[e], false));
    printf("%zu system call faults survived\n", points);
    CHECK(points > 300);
}

TEST(every_allocation_fails)
{
    points = 0;
    CHECK_SUB(sweep(0, true));
    printf("%zu allocation faults survived\n", points);
    CHECK(points > 60);
}

/* Whether the one connection does: there are a spare one and the segment of the slab besides. */
static bool is_resting(void)
{
    size_t live = mm_budget_live(&w.accounts.parts[MEMORY_CONNECTIONS]);
    return live < w.conns.segment_bytes + 2 * sizeof(conn);
}

/* A connection that rests is woken up by its next request; without memory it is closed. */
static void wake_up(size_t n, int for_ever, int *more)
{
    static const char request[] = "GET /small.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fd, tries;
    ssize_t got;
    server_start(n % 2 == 0);
    fd = connect_anew();
    CHECK(fd >= 0);
    CHECK_EQ(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
    CHECK(recv(fd, answer, ANSWER_MAX, 0) > 0);
    for (tries = 0; tries < 30000 && !is_resting(); tries++) usleep(1000);
    CHECK(tries < 30000);
    usleep(1000); /* what it does then, it has done */
    test_allocator_fail(&memory, n, for_ever);
    CHECK_EQ(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
    got = recv(fd, answer, ANSWER_MAX, 0);
    CHECK(got <= 0 || strncmp(answer, "HTTP/1.1 ", 9) == 0);
    *more = memory.failures > 0;
    test_allocator_fail(&memory, 0, 0);
    close(fd);
    CHECK(ask("/small.txt") > 5);
    CHECK_STR(answer + strlen(answer) - 5, "small");
    CHECK_SUB(server_stop());
}

TEST(idle_connection_is_woken_or_closed)
{
    size_t n;
    int for_ever, more;
    for (for_ever = 0; for_ever < 2; for_ever++)
        for (n = 1, more = 1; more; n++) CHECK_SUB(wake_up(n, for_ever, &more));
    remove_site();
}

TEST_MAIN(T(without_faults_all_is_served), T(every_system_call_fails), T(every_allocation_fails),
          T(idle_connection_is_woken_or_closed), T(every_allocation_of_openssl_fails))
