/* mm_io.h: TLS sessions and ticket keys (openssl): by a clock of their own, from two threads, and
   in handshakes. Built a second time as io_sessions_1_1.c with what OpenSSL 1.1.1 has. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef MM_IO_OPENSSL
#define MM_IO_OPENSSL
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct shim {
    size_t calls, fail_at, most;
    int error, open_fds;
} shim;

static int shim_fails(void)
{
    shim.calls++;
    if (shim.fail_at == 0 || shim.calls != shim.fail_at) return 0;
    errno = shim.error;
    return 1;
}

static int shim_open(const char *path, int flags)
{
    int fd = shim_fails() ? -1 : open(path, flags);
    if (fd >= 0) shim.open_fds++;
    return fd;
}

static ssize_t shim_read(int fd, void *bytes, size_t size)
{
    if (shim_fails()) return -1;
    return read(fd, bytes, shim.most != 0 && size > shim.most ? shim.most : size);
}

#define MM_SYS_OPEN(path, flags, mode) shim_open(path, flags)
#define MM_SYS_CLOSE(fd) (shim.open_fds--, close(fd))
#define MM_SYS_FSTAT(fd, st) (shim_fails() ? -1 : fstat(fd, st))
#define MM_SYS_READ(fd, bytes, size) shim_read(fd, bytes, size)
#define MM_IMPLEMENTATION
#include "../../mm_io.h"

#include <pthread.h>

#include "../../demo/cert.c"
#include "../harness.h"

#if defined(MM_VALGRIND) || defined(__SANITIZE_THREAD__)
enum { STEPS = 3000 };
#else
enum { STEPS = 60000 };
#endif

/* ---- the cache alone ---- */

static test_allocator memory;
static mm_tls_sessions sessions;
static mm_tls_sessions_desc desc;
static int64_t clock_now;

static int64_t now_fn(void *user_data)
{
    return *(int64_t *)user_data;
}

static void begin(void)
{
    test_allocator_init(&memory);
    memset(&shim, 0, sizeof(shim));
    memset(&desc, 0, sizeof(desc));
    clock_now = 1000;
    desc.now_fn = now_fn;
    desc.now_data = &clock_now;
    desc.allocator = &memory.base;
}

static void open_cache(void)
{
    CHECK_EQ(mm_tls_sessions_init(&sessions, &desc), MM_STATUS_OK);
}

static void end(void)
{
    CHECK(mm_tls_sessions_check(&sessions));
    mm_tls_sessions_deinit(&sessions);
    mm_tls_sessions_deinit(&sessions);
    CHECK_EQ(mm_tls_sessions_get_stats(&sessions).entries, 0);
    mm_tls_sessions_trim(&sessions, 0);
    mm_tls_sessions_expire(&sessions);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    CHECK_EQ(shim.open_fds, 0);
}

static mm_slice id_of(int number)
{
    static char id[32];
    memset(id, 'i', sizeof(id));
    memcpy(id + 4, &number, sizeof(number));
    return mm_slice_make(id, sizeof(id));
}

static mm_status put(int number, size_t size)
{
    static char der[MMI_TLS_SESSION + 1];
    memset(der, number, size);
    return mm_tls_sessions_put(&sessions, id_of(number), mm_slice_make(der, size));
}

/* Whether the session is there, and as it was put. */
static bool has(int number, size_t size)
{
    unsigned char der[MMI_TLS_SESSION];
    size_t got, i;
    mm_status status = mm_tls_sessions_get(&sessions, id_of(number), der, &got);
    if (status != MM_STATUS_OK) return false;
    for (i = 0; i < got; i++)
        if (der[i] != (unsigned char)number) test_fail(__FILE__, __LINE__, "byte");
    return got == size;
}

TEST(the_least_recently_used_goes)
{
    mm_tls_sessions_stats stats;
    int i;
    begin();
    desc.max_entries = 10;
    CHECK_SUB(open_cache());
    CHECK_EQ(sessions.desc.shards, 1);
    for (i = 0; i < 10; i++) CHECK_EQ(put(i, 100), MM_STATUS_OK);
    CHECK(has(0, 100));
    CHECK_EQ(put(10, 100), MM_STATUS_OK);
    CHECK(has(0, 100) && !has(1, 100) && has(2, 100) && has(10, 100));
    CHECK_EQ(put(2, 50), MM_STATUS_OK); /* in the place of itself */
    CHECK(has(2, 50));
    mm_tls_sessions_remove(&sessions, id_of(2));
    mm_tls_sessions_remove(&sessions, id_of(2));
    CHECK(!has(2, 50));
    stats = mm_tls_sessions_get_stats(&sessions);
    CHECK(stats.entries == 9 && stats.bytes == 9 * (100 + sizeof(mm_tls_session)));
    CHECK(stats.hits == 5 && stats.misses == 2 && stats.evictions == 1 && stats.inserted == 12);
    CHECK_SUB(end());
}

TEST(bytes_are_bounded)
{
    int i;
    begin();
    desc.max_entries = 1000;
    desc.max_bytes = 16000;
    desc.shards = 4;
    CHECK_SUB(open_cache());
    for (i = 0; i < 2000; i++) {
        CHECK_EQ(put(i, (size_t)(i % 7) * 300), MM_STATUS_OK);
        CHECK(mm_tls_sessions_get_stats(&sessions).bytes <= 16000);
        if (i % 50 == 0) CHECK(mm_tls_sessions_check(&sessions));
    }
    CHECK(memory.live_bytes <=
          16000 + 4 * (sizeof(mm_tls_sessions_shard) + 256 * sizeof(void *)));
    CHECK_EQ(put(1, 4097), MM_STATUS_LIMIT);
    CHECK_EQ(put(1, 4000 - sizeof(mm_tls_session) + 1), MM_STATUS_LIMIT);
    CHECK_EQ(mm_tls_sessions_get_stats(&sessions).refused, 2);
    mm_tls_sessions_trim(&sessions, 50);
    CHECK(mm_tls_sessions_get_stats(&sessions).bytes < 10000);
    CHECK_SUB(end());
}

TEST(sessions_end)
{
    mm_pressure_action action;
    begin();
    desc.timeout = 100;
    CHECK_SUB(open_cache());
    CHECK_EQ(put(1, 10), MM_STATUS_OK);
    clock_now += 50;
    CHECK_EQ(put(2, 10), MM_STATUS_OK);
    clock_now += 49;
    CHECK(has(1, 10));
    clock_now += 1;
    CHECK(!has(1, 10) && has(2, 10)); /* however much it is used */
    clock_now -= 51;
    CHECK(!has(2, 10)); /* a clock that was put back */
    CHECK_EQ(put(3, 10), MM_STATUS_OK);
    clock_now += 60;
    CHECK_EQ(put(4, 10), MM_STATUS_OK);
    clock_now += 60;
    mm_tls_sessions_expire(&sessions);
    CHECK(mm_tls_sessions_get_stats(&sessions).entries == 1 && has(4, 10));
    CHECK_EQ(mm_tls_sessions_get_stats(&sessions).expired, 3);
    memset(&action, 0, sizeof(action));
    action.user_data = &sessions;
    mm_pressure_trim_sessions(&action, false);
    CHECK(has(4, 10));
    mm_pressure_trim_sessions(&action, true);
    CHECK(!has(4, 10));
    CHECK_SUB(end());
}

TEST(what_cannot_be)
{
    static const char id[33] = "too long, by a single byte, so it";
    mm_slice empty = {"", 0}, der = {"der", 3};
    unsigned char to[MMI_TLS_SESSION];
    size_t size, n;
    begin();
    CHECK_SUB(open_cache());
    CHECK_EQ(mm_tls_sessions_put(&sessions, empty, der), MM_STATUS_INVALID);
    CHECK_EQ(mm_tls_sessions_put(&sessions, mm_slice_make(id, 33), der), MM_STATUS_INVALID);
    CHECK_EQ(mm_tls_sessions_put(&sessions, der, mm_slice_make(id, SIZE_MAX)), MM_STATUS_LIMIT);
    CHECK_EQ(mm_tls_sessions_get(&sessions, empty, to, &size), MM_STATUS_NOT_FOUND);
    CHECK_EQ(mm_tls_sessions_get(&sessions, mm_slice_make(id, 33), to, &size), MM_STATUS_NOT_FOUND);
    mm_tls_sessions_remove(&sessions, empty);
    CHECK_EQ(mm_tls_sessions_put(&sessions, der, empty), MM_STATUS_OK);
    CHECK(mm_tls_sessions_get(&sessions, der, to, &size) == MM_STATUS_OK && size == 0);
    test_allocator_fail(&memory, 1, 0);
    CHECK_EQ(put(1, 10), MM_STATUS_NO_MEMORY);
    test_allocator_fail(&memory, 0, 0);
    CHECK_SUB(end());
    for (n = 0; n < 6; n++) {
        begin();
        if (n == 0) desc.shards = 3;
        if (n == 1) desc.shards = desc.max_entries = 8, desc.max_entries = 4;
        if (n == 2) desc.timeout = -1;
        if (n == 3) desc.max_entries = SIZE_MAX;
        if (n == 4) desc.max_entries = SIZE_MAX, desc.max_bytes = 1, desc.shards = 1;
        if (n == 5) test_allocator_fail(&memory, 1, 0);
        CHECK_EQ(mm_tls_sessions_init(&sessions, &desc),
                 n < 3 ? MM_STATUS_INVALID : n < 5 ? MM_STATUS_TOO_LARGE : MM_STATUS_NO_MEMORY);
        mm_tls_sessions_deinit(&sessions);
        CHECK_EQ(memory.live_blocks, 0);
    }
}

/* ---- two threads ---- */

static mm_tls_tickets shared_tickets;

static void *use_sessions(void *user_data)
{
    uint64_t seed = *(uint64_t *)user_data;
    int i;
    for (i = 0; i < STEPS; i++) {
        char id[32] = {0}, der[200];
        unsigned char got[MMI_TLS_SESSION];
        size_t size, at;
        int number = (int)(test_random(&seed) % 300);
        mm_tls_ticket_key key;
        bool first;
        memcpy(id, &number, sizeof(number));
        memset(der, number, sizeof(der));
        if (test_random(&seed) % 3 == 0) {
            (void)!mm_tls_sessions_put(&sessions, mm_slice_make(id, 32),
                                       mm_slice_make(der, 1 + test_random(&seed) % 200));
        } else if (test_random(&seed) % 20 == 0) {
            mm_tls_sessions_remove(&sessions, mm_slice_make(id, 32));
        } else if (mm_tls_sessions_get(&sessions, mm_slice_make(id, 32), got, &size) ==
                   MM_STATUS_OK) {
            for (at = 0; at < size; at++)
                if (got[at] != (unsigned char)number) test_failed = 1;
        }
        if (i % 500 == 0) mm_tls_sessions_trim(&sessions, 50);
        if (i % 700 == 0) mm_tls_sessions_expire(&sessions);
        if (i % 100 == 0) mm_tls_tickets_rotate(&shared_tickets, i);
        if (!mmi_tickets_find(&shared_tickets, NULL, &key, &first) || !first) test_failed = 1;
    }
    return NULL;
}

TEST(two_threads)
{
    mm_tls_tickets_desc of_tickets = {NULL, 1000, 3000};
    pthread_t threads[2];
    uint64_t seeds[2] = {5, 6};
    int i;
    begin();
    desc.allocator = NULL; /* malloc is safe on any thread, the tests' allocator is not */
    desc.max_entries = 200;
    desc.shards = 2;
    CHECK_SUB(open_cache());
    CHECK_EQ(mm_tls_tickets_init(&shared_tickets, &of_tickets, 0), MM_STATUS_OK);
    for (i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, use_sessions, &seeds[i]), 0);
    for (i = 0; i < 2; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(test_failed, 0);
    CHECK(mm_tls_sessions_get_stats(&sessions).hits > STEPS / 10);
    mm_tls_tickets_deinit(&shared_tickets);
    CHECK_SUB(end());
}

/* ---- handshakes ---- */

static SSL_CTX *make_context(mm_tls_sessions *with_sessions, mm_tls_tickets *with_tickets)
{
    static X509 *cert;
    static EVP_PKEY *key;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || (cert == NULL && !cert_make(&cert, &key))) abort();
    if (SSL_CTX_use_certificate(context, cert) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1)
        abort();
    if (with_sessions != NULL && mm_tls_sessions_attach(with_sessions, context) != MM_STATUS_OK)
        abort();
    if (with_tickets != NULL && mm_tls_tickets_attach(with_tickets, context) != MM_STATUS_OK)
        abort();
    return context;
}

/* A connection to a server; *session is what to resume, and becomes what can be resumed then.
   Returns whether it was resumed; -1: it failed. */
static int connect_to(SSL_CTX *context, int version, SSL_SESSION **session)
{
    SSL_CTX *client_context = SSL_CTX_new(TLS_client_method());
    SSL *server = SSL_new(context), *client = SSL_new(client_context);
    BIO *one, *other;
    char c;
    int i, reused;
    if (BIO_new_bio_pair(&one, 0, &other, 0) != 1) abort();
    SSL_set_bio(server, one, one);
    SSL_set_bio(client, other, other);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    SSL_set_max_proto_version(client, version);
    if (*session != NULL) SSL_set_session(client, *session);
    for (i = 0; i < 10; i++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    reused = SSL_session_reused(server);
    if (SSL_write(server, "x", 1) != 1 || SSL_read(client, &c, 1) != 1 || c != 'x') reused = -1;
    if (SSL_session_reused(client) != SSL_session_reused(server)) reused = -1;
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(client);
    if (SSL_SESSION_get_max_early_data(*session) != 0) reused = -1;
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_shutdown(server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(server);
    SSL_free(client);
    SSL_CTX_free(client_context);
    ERR_clear_error();
    return reused;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

TEST(sessions_without_tickets_are_resumed)
{
    size_t i;
    begin();
    CHECK_SUB(open_cache());
    for (i = 0; i < 2; i++) {
        SSL_SESSION *session = NULL, *copy;
        SSL_CTX *one = make_context(&sessions, NULL), *two = make_context(&sessions, NULL);
        SSL_CTX_set_options(one, SSL_OP_NO_TICKET);
        SSL_CTX_set_options(two, SSL_OP_NO_TICKET);
        CHECK_EQ(connect_to(one, versions[i], &session), 0);
        CHECK(mm_tls_sessions_get_stats(&sessions).entries > 0);
        CHECK_EQ(connect_to(one, versions[i], &session), 1);
        CHECK_EQ(connect_to(two, versions[i], &session), 1); /* another worker's context */
        CHECK_EQ(SSL_CTX_sess_number(one), 0); /* OpenSSL keeps none of its own */
        copy = SSL_SESSION_dup(session);
        mm_tls_sessions_trim(&sessions, 0);
        CHECK_EQ(connect_to(one, versions[i], &copy), 0); /* evicted: a full handshake */
        SSL_SESSION_free(copy);
        SSL_SESSION_free(session);
        SSL_CTX_free(one);
        SSL_CTX_free(two);
    }
    CHECK_SUB(end());
}

TEST(clients_with_tickets_cost_nothing)
{
    mm_tls_tickets_desc of_tickets = {NULL, 100, 200};
    mm_tls_tickets tickets;
    size_t i;
    begin();
    CHECK_SUB(open_cache());
    for (i = 0; i < 2; i++) {
        SSL_SESSION *session = NULL;
        SSL_CTX *context;
        CHECK_EQ(mm_tls_tickets_init(&tickets, &of_tickets, 0), MM_STATUS_OK);
        context = make_context(&sessions, &tickets);
        CHECK_EQ(connect_to(context, versions[i], &session), 0);
        CHECK_EQ(connect_to(context, versions[i], &session), 1);
        mm_tls_tickets_rotate(&tickets, 100);
        CHECK_EQ(connect_to(context, versions[i], &session), 1); /* the key before opens, too */
        mm_tls_tickets_rotate(&tickets, 200);
        CHECK_EQ(connect_to(context, versions[i], &session), 1); /* it was renewed meanwhile */
        mm_tls_tickets_rotate(&tickets, 300);
        mm_tls_tickets_rotate(&tickets, 400);
        mm_tls_tickets_rotate(&tickets, 500);
        CHECK_EQ(connect_to(context, versions[i], &session), 0); /* gone with its key */
        CHECK_EQ(mm_tls_sessions_get_stats(&sessions).inserted, 0);
        SSL_SESSION_free(session);
        SSL_CTX_free(context);
        mm_tls_tickets_deinit(&tickets);
    }
    CHECK_SUB(end());
}

/* ---- keys ---- */

static char key_file[] = "/tmp/mm-test-keys-XXXXXX";

static void write_keys(const void *bytes, size_t size)
{
    int fd = open(key_file, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) abort();
    close(fd);
}

TEST(machines_share_a_file_of_keys)
{
    mm_tls_tickets_desc of_tickets = {key_file, 0, 0};
    mm_tls_tickets one, two;
    unsigned char keys[160];
    SSL_SESSION *session = NULL;
    SSL_CTX *first, *second;
    int fd = mkstemp(key_file);
    size_t i;
    CHECK(fd >= 0);
    close(fd);
    begin();
    for (i = 0; i < sizeof(keys); i++) keys[i] = (unsigned char)(i * 7);
    write_keys(keys, 80);
    CHECK_EQ(mm_tls_tickets_init(&one, &of_tickets, 0), MM_STATUS_OK);
    CHECK_EQ(mm_tls_tickets_init(&two, &of_tickets, 0), MM_STATUS_OK);
    first = make_context(NULL, &one);
    second = make_context(NULL, &two);
    CHECK_EQ(connect_to(first, TLS1_3_VERSION, &session), 0);
    CHECK_EQ(connect_to(second, TLS1_3_VERSION, &session), 1);
    memcpy(keys + 80, keys, 80);
    memset(keys, 'n', 80); /* a new one in front */
    write_keys(keys, 160);
    CHECK_EQ(mm_tls_tickets_reload(&one), MM_STATUS_OK);
    CHECK_EQ(one.count, 2);
    mm_tls_tickets_rotate(&one, 1000000); /* not ours to change */
    CHECK_EQ(connect_to(first, TLS1_3_VERSION, &session), 1);
    CHECK_EQ(connect_to(second, TLS1_3_VERSION, &session), 0); /* it has yet to read them */
    SSL_SESSION_free(session);
    SSL_CTX_free(first);
    SSL_CTX_free(second);
    CHECK(!mm_tls_tickets_exposed(&one));
    CHECK_EQ(chmod(key_file, 0640), 0);
    CHECK_EQ(mm_tls_tickets_reload(&one), MM_STATUS_OK);
    CHECK(mm_tls_tickets_exposed(&one));
    mm_tls_tickets_deinit(&two);
    memset(keys, 0, sizeof(keys));
    CHECK(two.count == 0 && memcmp(two.keys, keys, 160) == 0); /* wiped */
    mm_tls_tickets_deinit(&one);
    unlink(key_file);
}

TEST(bad_files_change_nothing)
{
    mm_tls_tickets_desc of_tickets = {key_file, 0, 0};
    mm_tls_tickets tickets;
    unsigned char keys[721];
    static const size_t bad[] = {0, 1, 79, 81, 641, 720, 721};
    size_t i;
    begin();
    memset(keys, 'k', sizeof(keys));
    write_keys(keys, 640);
    CHECK_EQ(mm_tls_tickets_init(&tickets, &of_tickets, 0), MM_STATUS_OK);
    CHECK_EQ(tickets.count, 8);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_keys(keys, bad[i]);
        CHECK_EQ(mm_tls_tickets_reload(&tickets), MM_STATUS_INVALID);
        CHECK_EQ(tickets.count, 8);
    }
    write_keys(keys, 80);
    for (i = 1; i <= 4; i++) { /* open, fstat, two reads */
        shim.calls = 0;
        shim.fail_at = i;
        shim.error = EIO;
        CHECK_EQ(mm_tls_tickets_reload(&tickets), MM_STATUS_IO);
        CHECK(tickets.count == 8 && shim.open_fds == 0);
    }
    shim.error = EINTR;
    for (i = 1; i <= 4; i++) {
        if (i == 2) continue;
        shim.calls = 0;
        shim.fail_at = i;
        CHECK_EQ(mm_tls_tickets_reload(&tickets), MM_STATUS_OK);
    }
    shim.fail_at = 0;
    shim.most = 7;
    CHECK_EQ(mm_tls_tickets_reload(&tickets), MM_STATUS_OK);
    shim.most = 0;
    unlink(key_file);
    CHECK_EQ(mm_tls_tickets_reload(&tickets), MM_STATUS_NOT_FOUND);
    CHECK_EQ(mkfifo(key_file, 0600), 0);
    CHECK_EQ(mm_tls_tickets_reload(&tickets), MM_STATUS_INVALID); /* and no waiting */
    unlink(key_file);
    CHECK_EQ(tickets.count, 1);
    mm_tls_tickets_deinit(&tickets);
    CHECK_EQ(mm_tls_tickets_init(&tickets, &of_tickets, 0), MM_STATUS_NOT_FOUND);
    mm_tls_tickets_deinit(&tickets);
    of_tickets.file = NULL;
    of_tickets.rotate = 1;
    of_tickets.lifetime = 8;
    CHECK_EQ(mm_tls_tickets_init(&tickets, &of_tickets, 0), MM_STATUS_INVALID);
    of_tickets.lifetime = INT64_MAX;
    CHECK_EQ(mm_tls_tickets_init(&tickets, &of_tickets, 0), MM_STATUS_INVALID);
    of_tickets.rotate = -1;
    CHECK_EQ(mm_tls_tickets_init(&tickets, &of_tickets, 0), MM_STATUS_INVALID);
    CHECK_EQ(shim.open_fds, 0);
}

TEST_MAIN(T(the_least_recently_used_goes), T(bytes_are_bounded), T(sessions_end),
          T(what_cannot_be), T(two_threads), T(sessions_without_tickets_are_resumed),
          T(clients_with_tickets_cost_nothing), T(machines_share_a_file_of_keys),
          T(bad_files_change_nothing))
