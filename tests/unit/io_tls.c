/* mm_io.h over TLS (openssl): both ends in one process, over a pair of sockets. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef MM_IO_OPENSSL
#define MM_IO_OPENSSL
#endif
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* What mm_io.h asks of the system; OpenSSL's own BIO does not go through here. */
static struct shim {
    size_t reads, sends, first;
    int held; /* the last bytes were to be followed by more */
    int sip;  /* every other sendmsg is EAGAIN, and those between take one byte */
    int ktls; /* the kernel is said to encrypt */
    int ulp;  /* errno of asking for the kernel's TLS; 0: as it is */
    size_t files, file_fails; /* calls of SSL_sendfile; the first so many of them fail */
    int file_error;           /* with this; 0: they reach the end of the file */
} shim;

static ssize_t shim_read(int fd, void *to, size_t size)
{
    shim.reads++;
    return read(fd, to, size);
}

static ssize_t shim_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct msghdr one = *msg;
    struct iovec iov = msg->msg_iov[0];
    ssize_t n;
    if (shim.sip != 0) {
        shim.sip = 3 - shim.sip;
        errno = EAGAIN;
        if (shim.sip == 2) return -1;
        iov.iov_len = 1;
    }
    one.msg_iov = &iov;
    n = sendmsg(fd, &one, flags);
    if (shim.sends++ == 0) shim.first = iov.iov_len;
    if (n > 0) shim.held = (flags & MSG_MORE) != 0 && (size_t)n == msg->msg_iov[0].iov_len;
    return n;
}

static int shim_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    shim.held = 0;
    errno = shim.ulp;
    if (shim.ulp != 0 && level == IPPROTO_TCP && name == 31) return -1; /* TCP_ULP */
    return setsockopt(fd, level, name, value, size);
}

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
/* What the kernel does for SSL_sendfile is done here: the peer sees the same records. */
static ossl_ssize_t shim_sendfile(SSL *ssl, int fd, off_t offset, size_t size)
{
    char record[16384];
    ssize_t n = pread(fd, record, size < sizeof(record) ? size : sizeof(record), offset);
    if (shim.files++ < shim.file_fails) {
        errno = shim.file_error;
        return shim.file_error == 0 ? 0 : -1;
    }
    if (n <= 0) return n;
    return SSL_write(ssl, record, (int)n);
}

#define MM_SYS_KTLS_SENDS(ssl) ((void)(ssl), shim.ktls != 0)
#define MM_SYS_SSL_SENDFILE(ssl, fd, offset, size) shim_sendfile(ssl, fd, offset, size)
#endif
#define MM_SYS_READ(fd, bytes, size) shim_read(fd, bytes, size)
#define MM_SYS_SENDMSG(fd, msg, flags) shim_sendmsg(fd, msg, flags)
#define MM_SYS_SETSOCKOPT(fd, level, name, value, size) \
    shim_setsockopt(fd, level, name, value, size)
#define MM_IMPLEMENTATION
#include "../../mm_io.h"

#include "../../demo/cert.c"
#include "../harness.h"

#ifdef MM_VALGRIND
#define SWEEP_STEP 7 /* of the allocations, which take a handshake each */
#else
#define SWEEP_STEP 1
#endif

enum { FILE_SIZE = 300000, TOTAL = 2 * FILE_SIZE + 6 };
static char bytes[FILE_SIZE];
static SSL_CTX *server_context, *client_context;
static SSL *server, *client;
static test_allocator memory;
enum { OPENSSL_BIO, OUR_BIO, KERNEL_BIO, BIOS };
static int bio; /* what the server's end uses */
static test_allocator openssl;                              /* all of OpenSSL's memory */
static mm_chunk_pool pool;
static mm_chunkqueue q;
static int file;

/* As the demo sets its own up: released buffers, no reads of more than one record's data. */
static SSL_CTX *make_server_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    X509 *cert;
    EVP_PKEY *key;
    if (context == NULL || !cert_make(&cert, &key)) abort();
    if (SSL_CTX_use_certificate(context, cert) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1)
        abort();
    X509_free(cert);
    EVP_PKEY_free(key);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* nothing stays behind */
    return context;
}

static void fixture(void)
{
    char path[] = "/tmp/mm-test-tls-XXXXXX";
    mm_chunk_pool_desc desc = {0};
    int pair[2];
    uint64_t seed = 5;
    size_t i;
    if (server_context == NULL) {
        server_context = make_server_context();
        client_context = SSL_CTX_new(TLS_client_method());
        if (client_context == NULL) abort();
        SSL_CTX_set_session_cache_mode(client_context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_mode(client_context, SSL_MODE_ENABLE_PARTIAL_WRITE);
        for (i = 0; i < FILE_SIZE; i++) bytes[i] = (char)test_random(&seed);
    }
    test_allocator_init(&memory);
    desc.allocator = &memory.base;
    if (mm_chunk_pool_init(&pool, &desc) != MM_STATUS_OK) abort();
    mm_chunkqueue_init(&q, &pool);
    file = mkstemp(path);
    if (file < 0 || write(file, bytes, FILE_SIZE) != FILE_SIZE) abort();
    unlink(path);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) abort();
    server = SSL_new(server_context);
    client = SSL_new(client_context);
    memset(&shim, 0, sizeof(shim));
    if (bio == OPENSSL_BIO) SSL_set_fd(server, pair[0]);
    else if (mm_io_tls_attach(server, pair[0], bio == KERNEL_BIO) != MM_STATUS_OK) abort();
    SSL_set_fd(client, pair[1]);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
}

static void handshake(void)
{
    int i;
    for (i = 0; i < 100 && !(SSL_is_init_finished(client) && SSL_is_init_finished(server)); i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    CHECK(SSL_is_init_finished(client) && SSL_is_init_finished(server));
}

static void end(void)
{
    int a = SSL_get_fd(server), b = SSL_get_fd(client);
    SSL_free(server);
    SSL_free(client);
    close(a);
    close(b);
    close(file);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

static void expected(char *to)
{
    memcpy(to, "header", 6);
    memcpy(to + 6, bytes, FILE_SIZE);
    memcpy(to + 6 + FILE_SIZE, bytes, FILE_SIZE);
}

static void ignore_refs(void *ref, int change)
{
    *(int *)ref += change;
}

/* Sends header, memory and file, `most` bytes a call, to a client that reads `sip` bytes at a
   time. */
static void transfer(int64_t most, int sip)
{
    static char want[TOTAL], got[TOTAL + 1];
    size_t length = 0;
    int refs = 0;
    mm_status status = MM_STATUS_AGAIN;
    fixture();
    CHECK_SUB(handshake());
    expected(want);
    mm_chunkqueue_append_mem(&q, "header", 6);
    mm_chunkqueue_append_mem(&q, bytes, FILE_SIZE);
    mm_chunkqueue_append_fd_ref(&q, file, 0, FILE_SIZE, ignore_refs, &refs);
    while (length < TOTAL) {
        int64_t written = 0;
        int n;
        if (status != MM_STATUS_OK) status = mm_io_tls_write(&q, server, most, &written);
        CHECK(status == MM_STATUS_OK || status == MM_STATUS_AGAIN || status == MM_STATUS_YIELD);
        CHECK_EQ(shim.held, 0);
        n = TOTAL + 1 - (int)length;
        n = SSL_read(client, got + length, sip < n ? sip : n);
        if (n > 0) length += (size_t)n;
    }
    CHECK(memcmp(got, want, TOTAL) == 0);
    CHECK_EQ(refs, 0);
    CHECK_SUB(end());
}

/* The first thing that is done with OpenSSL. */
TEST(all_memory_is_ours)
{
    mm_io_tls_memory now;
    test_allocator_init(&openssl);
    CHECK_EQ(mm_io_tls_get_memory().blocks, 0);
    CHECK_EQ(mm_io_tls_set_allocator(&openssl.base), MM_STATUS_OK);
    fixture();
    now = mm_io_tls_get_memory();
    CHECK_EQ(now.blocks, openssl.live_blocks);
    CHECK_EQ(now.bytes + 16 * now.blocks, openssl.live_bytes);
    CHECK(now.blocks > 1000 && now.failures == 0);
    CHECK_EQ(mm_io_tls_set_allocator(&memory.base), MM_STATUS_INVALID); /* too late */
    CHECK_SUB(end());
}

TEST(odd_sizes_of_memory)
{
    char *block = (char *)OPENSSL_malloc(3);
    CHECK(OPENSSL_malloc(0) == NULL);
    CHECK(OPENSSL_malloc(SIZE_MAX) == NULL && OPENSSL_malloc(SIZE_MAX - 15) == NULL);
    CHECK(block != NULL && (uintptr_t)block % 16 == 0);
    memcpy(block, "ab", 3);
    CHECK(OPENSSL_realloc(block, SIZE_MAX - 8) == NULL);
    block = (char *)OPENSSL_realloc(block, 100000);
    CHECK_STR(block, "ab");
    CHECK(OPENSSL_realloc(block, 0) == NULL);
    block = (char *)OPENSSL_realloc(NULL, 5);
    CHECK(block != NULL);
    OPENSSL_free(block);
    OPENSSL_free(NULL);
    CHECK_EQ(openssl.bad_sizes, 0);
    CHECK_EQ(mm_io_tls_get_memory().failures, 3);
}

static void transfers(int64_t most, int sip)
{
    int each;
    for (each = 0; each < BIOS; each++) {
        bio = each;
        CHECK_SUB(transfer(most, sip));
    }
    bio = OUR_BIO;
}

TEST(transfer_whole)
{
    CHECK_SUB(transfers(0, TOTAL));
}

TEST(transfer_to_a_slow_reader)
{
    CHECK_SUB(transfers(INT64_MAX, 1000)); /* the socket fills: writes are tried again, and moved */
}

TEST(transfer_in_small_shares)
{
    CHECK_SUB(transfers(100, TOTAL));
}

/* Whether the kernel can is not known here; asking does no harm. */
TEST(kernel_is_asked)
{
    bool is_there = mm_io_ktls_is_there();
    CHECK_EQ(mm_io_ktls_is_there(), is_there);
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    memset(&shim, 0, sizeof(shim));
    shim.ulp = ENOENT; /* no such protocol */
    CHECK(!mm_io_ktls_is_there());
    shim.ulp = ENOTCONN; /* it is there, for a socket that is connected */
    CHECK(mm_io_ktls_is_there());
    shim.ulp = EPERM;
    CHECK(!mm_io_ktls_is_there());
    shim.ulp = 0;
#endif
}

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
/* Sends header and file while the kernel is said to encrypt. `fails` calls for the file end with
   `error`, each of which `status` answers, if it is not OK. */
static void send_by_kernel(size_t fails, int error, mm_status status)
{
    static char got[50007];
    size_t length = 0, seen = 0;
    mm_status last = MM_STATUS_AGAIN;
    int refs = 0, turns;
    fixture();
    CHECK_SUB(handshake());
    shim.ktls = 1;
    shim.file_fails = fails;
    shim.file_error = error;
    mm_chunkqueue_append_mem(&q, "header", 6);
    mm_chunkqueue_append_fd_ref(&q, file, 100, 50000, ignore_refs, &refs);
    for (turns = 0; turns < 1000 && last != MM_STATUS_OK; turns++) {
        int64_t written, before = mm_chunkqueue_length(&q);
        int n;
        last = mm_io_tls_write(&q, server, turns % 2 == 0 ? 0 : 5000, &written);
        CHECK_EQ(before - mm_chunkqueue_length(&q), written);
        CHECK_EQ(shim.held, 0);
        if (last == status) seen++;
        else CHECK(last == MM_STATUS_OK || last == MM_STATUS_AGAIN || last == MM_STATUS_YIELD);
        if (last == status && last != MM_STATUS_OK && last != MM_STATUS_AGAIN) break;
        while ((n = SSL_read(client, got + length, (int)(sizeof(got) - length))) > 0)
            length += (size_t)n;
    }
    CHECK(shim.files > 0 && (status == MM_STATUS_OK || seen > 0));
    if (last == MM_STATUS_OK) {
        CHECK(length == 50006 && memcmp(got, "header", 6) == 0);
        CHECK(memcmp(got + 6, bytes + 100, 50000) == 0);
    } else CHECK(mm_chunkqueue_length(&q) >= 50006 - 16384); /* the first record has the header */
    mm_chunkqueue_reset(&q);
    CHECK_EQ(refs, 0);
    CHECK_SUB(end());
}

TEST(files_by_the_kernel)
{
    CHECK_SUB(send_by_kernel(0, 0, MM_STATUS_OK));
    CHECK_SUB(send_by_kernel(3, EAGAIN, MM_STATUS_AGAIN));
    CHECK_SUB(send_by_kernel(3, EBUSY, MM_STATUS_AGAIN));
    CHECK_SUB(send_by_kernel(3, EINTR, MM_STATUS_OK));         /* tried again */
    CHECK_SUB(send_by_kernel(SIZE_MAX, EINVAL, MM_STATUS_OK)); /* not this file: as records */
    CHECK_SUB(send_by_kernel(1, EPIPE, MM_STATUS_CLOSED));
    CHECK_SUB(send_by_kernel(1, ECONNRESET, MM_STATUS_CLOSED));
    CHECK_SUB(send_by_kernel(1, EIO, MM_STATUS_IO));
    CHECK_SUB(send_by_kernel(1, 0, MM_STATUS_TRUNCATED));
}

TEST(file_rewritten_while_the_kernel_sends_it)
{
    int64_t written;
    int refs = 0;
    fixture();
    CHECK_SUB(handshake());
    shim.ktls = 1;
    mm_chunkqueue_append_fd_ref(&q, file, 0, 100000, ignore_refs, &refs);
    CHECK_EQ(mm_io_tls_write(&q, server, 10, &written), MM_STATUS_YIELD);
    usleep(20000);
    CHECK_EQ(pwrite(file, "X", 1, 50000), 1);
    CHECK_EQ(mm_io_tls_write(&q, server, 0, &written), MM_STATUS_INVALID);
    CHECK_EQ(written, 0);
    mm_chunkqueue_reset(&q);
    CHECK_SUB(end());
}
#else
TEST(files_by_the_kernel)
{
    CHECK(!mm_io_ktls_is_there()); /* by OpenSSL 3 only */
}

TEST(file_rewritten_while_the_kernel_sends_it)
{
    CHECK(!mm_io_ktls_is_there());
}
#endif

/* A request and its answer: one call in, one call out. */
TEST(request_takes_one_call_each_way)
{
    char got[8192];
    size_t n, i;
    int64_t written;
    int refs = 0;
    fixture();
    CHECK_SUB(handshake());
    while (SSL_read(client, got, sizeof(got)) > 0) continue; /* takes the session tickets */
    for (i = 0; i < 3; i++) {
        CHECK_EQ(SSL_write(client, bytes, 400), 400);
        shim.reads = shim.sends = 0;
        CHECK_EQ(mm_io_tls_read(&q, server, 0, &n), MM_STATUS_OK);
        CHECK_EQ(n, 400);
        CHECK(!mm_io_tls_has_pending(server));
        mm_chunkqueue_reset(&q);
        mm_chunkqueue_append_mem(&q, "header", 6);
        mm_chunkqueue_append_fd_ref(&q, file, 0, 5000, ignore_refs, &refs);
        CHECK_EQ(mm_io_tls_write(&q, server, 0, &written), MM_STATUS_OK);
        CHECK_EQ(written, 5006);
        CHECK(shim.reads == 1 && shim.sends == 1);
        CHECK_EQ(SSL_read(client, got, sizeof(got)), 5006); /* one record */
        mm_io_tls_rest(server);
    }
    CHECK_SUB(end());
}

/* Two records in one call: the second is told of, as the descriptor is silent. */
TEST(records_that_come_together)
{
    size_t n;
    fixture();
    CHECK_SUB(handshake());
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &n), MM_STATUS_AGAIN); /* from now on it reads ahead */
    CHECK(!mm_io_tls_has_pending(server));
    CHECK_EQ(SSL_write(client, "one", 3), 3);
    CHECK_EQ(SSL_write(client, "two", 3), 3);
    shim.reads = 0;
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &n), MM_STATUS_OK);
    CHECK_EQ(n, 3);
    CHECK(mm_io_tls_has_pending(server));
    mm_io_tls_rest(server); /* not yet */
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &n), MM_STATUS_OK);
    CHECK_EQ(n, 3);
    CHECK(!mm_io_tls_has_pending(server));
    CHECK_EQ(shim.reads, 1);
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &n), MM_STATUS_AGAIN);
    CHECK(!mm_io_tls_has_pending(server));
    CHECK_SUB(end());
}

TEST(first_record_of_many_is_small)
{
    int64_t written;
    fixture();
    CHECK_SUB(handshake());
    shim.sends = 0;
    mm_chunkqueue_append_mem(&q, bytes, 50000);
    CHECK_EQ(mm_io_tls_write(&q, server, 0, &written), MM_STATUS_OK);
    CHECK(shim.first > 4096 && shim.first < 4096 + 64);
    CHECK_EQ(shim.sends, 4);
    CHECK_EQ(shim.held, 0);
    shim.sends = 0;
    mm_chunkqueue_append_mem(&q, bytes, 16384);
    CHECK_EQ(mm_io_tls_write(&q, server, 0, &written), MM_STATUS_OK);
    CHECK_EQ(shim.sends, 1);
    CHECK_SUB(end());
}

TEST(again_at_every_byte)
{
    static char got[20006];
    size_t length = 0;
    mm_status status = MM_STATUS_AGAIN;
    fixture();
    CHECK_SUB(handshake());
    shim.sip = 1;
    mm_chunkqueue_append_mem(&q, "header", 6);
    mm_chunkqueue_append_fd(&q, dup(file), 0, 20000);
    while (status == MM_STATUS_AGAIN) {
        int64_t written;
        int n;
        status = mm_io_tls_write(&q, server, 0, &written);
        n = SSL_read(client, got + length, (int)(sizeof(got) - length));
        if (n > 0) length += (size_t)n;
    }
    CHECK_EQ(status, MM_STATUS_OK);
    CHECK(length == sizeof(got) && memcmp(got + 6, bytes, 20000) == 0);
    CHECK_SUB(end());
}

/* The last byte of a file that was written to is never sent. */
TEST(file_rewritten_while_it_is_sent)
{
    static char got[FILE_SIZE];
    size_t length = 0;
    int64_t written;
    int n;
    fixture();
    CHECK_SUB(handshake());
    mm_chunkqueue_append_fd(&q, dup(file), 0, 100000);
    CHECK_EQ(mm_io_tls_write(&q, server, 10, &written), MM_STATUS_YIELD);
    usleep(20000);
    CHECK_EQ(pwrite(file, "X", 1, 50000), 1);
    CHECK_EQ(mm_io_tls_write(&q, server, 0, &written), MM_STATUS_INVALID);
    CHECK_EQ(shim.held, 0);
    while ((n = SSL_read(client, got + length, (int)(sizeof(got) - length))) > 0)
        length += (size_t)n;
    CHECK(length < 100000);
    CHECK_SUB(end());
}

/* One request over a connection of its own, of which anything may fail. */
static void try_request(bool *is_served)
{
    char got[64];
    int64_t written;
    size_t n;
    int pair[2], i;
    *is_served = false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) abort();
    server = SSL_new(server_context);
    client = SSL_new(client_context);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_append_mem(&q, "answer", 6);
    if (server != NULL && client != NULL && SSL_set_fd(client, pair[1]) == 1 &&
        mm_io_tls_attach(server, pair[0], false) == MM_STATUS_OK) {
        SSL_set_accept_state(server);
        SSL_set_connect_state(client);
        for (i = 0; i < 8; i++) {
            (void)SSL_do_handshake(client);
            (void)SSL_do_handshake(server);
        }
        (void)SSL_write(client, "ask", 3);
        if (mm_io_tls_write(&q, server, 0, &written) == MM_STATUS_OK &&
            mm_io_tls_read(&q, server, 0, &n) == MM_STATUS_OK)
            *is_served = SSL_read(client, got, sizeof(got)) == 6 && n == 3;
        mm_io_tls_rest(server);
        SSL_shutdown(server);
    }
    ERR_clear_error();
    SSL_free(server);
    SSL_free(client);
    close(pair[0]);
    close(pair[1]);
}

/* Each allocation of a handshake and a request fails in turn, once and for ever. */
TEST(every_allocation_of_openssl_fails)
{
    size_t n, before, points = 0;
    int for_ever;
    bool is_served;
    signal(SIGPIPE, SIG_IGN); /* the client's end is OpenSSL's own */
    fixture();
    SSL_free(server);
    SSL_free(client);
    for (n = 0; n < 3; n++) { /* what is made once only is there */
        CHECK_SUB(try_request(&is_served));
        CHECK(is_served);
    }
    before = openssl.live_blocks;
    for (for_ever = 0; for_ever < 2; for_ever++)
        for (n = 1; openssl.fail_at == 0; n += SWEEP_STEP, points++) {
            test_allocator_fail(&openssl, n, for_ever);
            CHECK_SUB(try_request(&is_served));
            if (openssl.failures == 0) break;
            test_allocator_fail(&openssl, 0, 0);
        }
    test_allocator_fail(&openssl, 0, 0);
    CHECK_SUB(try_request(&is_served));
    CHECK(is_served);
    CHECK_EQ(openssl.bad_sizes, 0);
    printf("%zu allocation faults survived, %zu blocks before, %zu after\n", points, before,
           openssl.live_blocks);
    /* the texts of a thread's 16 errors stay for the next ones; a leak would be one each time */
    CHECK(openssl.live_blocks <= before + 32);
    CHECK(points > 100 / SWEEP_STEP);
    server = SSL_new(server_context);
    client = SSL_new(client_context);
    SSL_set_fd(server, dup(0));
    SSL_set_fd(client, dup(0));
    CHECK_SUB(end());
}

TEST(read_and_close)
{
    size_t got, total = 0;
    mm_status status;
    fixture();
    CHECK_SUB(handshake());
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &got), MM_STATUS_AGAIN);
    CHECK_EQ(pool.stats.memory, 0);
    CHECK_EQ(SSL_write(client, bytes, 50000), 16384); /* partial writes: a record at a time */
    CHECK_EQ(SSL_write(client, bytes + 16384, 10000), 10000);
    while ((status = mm_io_tls_read(&q, server, 0, &got)) == MM_STATUS_OK) total += got;
    CHECK_EQ(status, MM_STATUS_AGAIN);
    CHECK_EQ(total, 26384);
    CHECK(memcmp(mm_chunkqueue_contiguous(&q, total, &status), bytes, total) == 0);
    SSL_shutdown(client);
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &got), MM_STATUS_CLOSED);
    CHECK_SUB(end());
}

/* A client that sends records without data must not keep us: OpenSSL would read on by itself. */
TEST(records_without_data_are_taken_one_at_a_time)
{
    size_t got;
    int i;
    fixture();
    CHECK_SUB(handshake());
    while (SSL_read(client, bytes, 1) == 1) continue; /* takes the session tickets */
    for (i = 0; i < 100; i++) {
        CHECK_EQ(SSL_key_update(client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        CHECK_EQ(SSL_do_handshake(client), 1);
    }
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &got), MM_STATUS_YIELD);
    CHECK_EQ(SSL_write(client, "data", 4), 4);
    for (i = 0; i < 101 && got == 0; i++) {
        mm_status status = mm_io_tls_read(&q, server, 0, &got);
        CHECK(status == MM_STATUS_YIELD || status == MM_STATUS_OK);
    }
    CHECK_EQ(got, 4);
    CHECK_SUB(end());
}

TEST(garbage_and_lost_peers_are_errors)
{
    size_t got;
    int64_t written;
    signal(SIGPIPE, SIG_DFL); /* what OpenSSL answers meets a closed socket */
    fixture();
    CHECK_EQ(write(SSL_get_fd(client), "GET / HTTP/1.1\r\n\r\n", 18), 18);
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &got), MM_STATUS_IO);
    CHECK_SUB(end());
    fixture();
    CHECK_SUB(handshake());
    shutdown(SSL_get_fd(client), SHUT_RDWR);
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &got), MM_STATUS_CLOSED);
    mm_chunkqueue_append_mem(&q, "lost", 4);
    CHECK(mm_io_tls_write(&q, server, 0, &written) != MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_length(&q), 4);
    CHECK_SUB(end());
}

TEST(file_cut_short)
{
    int64_t written;
    int refs = 0;
    fixture();
    CHECK_SUB(handshake());
    mm_chunkqueue_append_fd_ref(&q, file, 0, FILE_SIZE, ignore_refs, &refs);
    CHECK_EQ(ftruncate(file, 20000), 0);
    CHECK_EQ(mm_io_tls_write(&q, server, 0, &written), MM_STATUS_TRUNCATED);
    CHECK(written <= 20000);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(refs, 0);
    CHECK_SUB(end());
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
}

TEST_MAIN(T(all_memory_is_ours), T(odd_sizes_of_memory), T(transfer_whole),
          T(transfer_to_a_slow_reader), T(transfer_in_small_shares), T(kernel_is_asked),
          T(files_by_the_kernel), T(file_rewritten_while_the_kernel_sends_it),
          T(request_takes_one_call_each_way), T(records_that_come_together),
          T(first_record_of_many_is_small), T(again_at_every_byte),
          T(file_rewritten_while_it_is_sent), T(read_and_close),
          T(records_without_data_are_taken_one_at_a_time), T(garbage_and_lost_peers_are_errors),
          T(every_allocation_of_openssl_fails), T(file_cut_short))
