/* mm_io.h over TLS (openssl): both ends in one process, over a pair of sockets. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef MM_IO_OPENSSL
#define MM_IO_OPENSSL
#endif
#define MM_IMPLEMENTATION
#include "../../mm_io.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "../../demo/cert.c"
#include "../harness.h"

enum { FILE_SIZE = 300000, TOTAL = 2 * FILE_SIZE + 6 };
static char bytes[FILE_SIZE];
static SSL_CTX *server_context, *client_context;
static SSL *server, *client;
static test_allocator memory;
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
    SSL_set_fd(server, pair[0]);
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
        n = TOTAL + 1 - (int)length;
        n = SSL_read(client, got + length, sip < n ? sip : n);
        if (n > 0) length += (size_t)n;
    }
    CHECK(memcmp(got, want, TOTAL) == 0);
    CHECK_EQ(refs, 0);
    CHECK_SUB(end());
}

TEST(transfer_whole)
{
    CHECK_SUB(transfer(0, TOTAL));
}

TEST(transfer_to_a_slow_reader)
{
    CHECK_SUB(transfer(INT64_MAX, 1000)); /* the socket fills: writes are tried again, and moved */
}

TEST(transfer_in_small_shares)
{
    CHECK_SUB(transfer(100, TOTAL));
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
    int i, waiting = 0;
    fixture();
    CHECK_SUB(handshake());
    while (SSL_read(client, bytes, 1) == 1) continue; /* takes the session tickets */
    for (i = 0; i < 100; i++) {
        CHECK_EQ(SSL_key_update(client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        CHECK_EQ(SSL_do_handshake(client), 1);
    }
    CHECK_EQ(mm_io_tls_read(&q, server, 0, &got), MM_STATUS_AGAIN);
    CHECK(ioctl(SSL_get_fd(server), FIONREAD, &waiting) == 0 && waiting > 0);
    CHECK_EQ(SSL_write(client, "data", 4), 4);
    for (i = 0; i < 101 && got == 0; i++) {
        mm_status status = mm_io_tls_read(&q, server, 0, &got);
        CHECK(status == MM_STATUS_AGAIN || status == MM_STATUS_OK);
    }
    CHECK_EQ(got, 4);
    CHECK_SUB(end());
}

TEST(garbage_and_lost_peers_are_errors)
{
    size_t got;
    int64_t written;
    signal(SIGPIPE, SIG_IGN); /* as a server has to: what OpenSSL answers meets a closed socket */
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
    CHECK_EQ(written, 20000);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(refs, 0);
    CHECK_SUB(end());
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
}

TEST_MAIN(T(transfer_whole), T(transfer_to_a_slow_reader), T(transfer_in_small_shares),
          T(read_and_close), T(records_without_data_are_taken_one_at_a_time),
          T(garbage_and_lost_peers_are_errors), T(file_cut_short))
