/* Whether SSL objects are worth a pool: connections of which each has an object of its own, beside
 * such as take one that SSL_clear has made ready again, with the whole handshake and without any.
 * Both ends are in this thread, over a pair of sockets; the client's object is new each time. */
#include "bench.h"
#include "../../mm_io.h"
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RENEWED, CLEARED, CONTESTANTS };

static SSL_CTX *server_context, *client_context;
static SSL_SESSION *session; /* the client resumes it; NULL: none */
static SSL *kept;            /* by the second contestant */
static int pair[2];
static size_t served[CONTESTANTS];

static void need(bool yes, const char *what)
{
    if (!yes) bench_fail("io_tls", what, "failed");
}

static void make_certificate(SSL_CTX *context)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *cert = X509_new();
    need(key != NULL && cert != NULL, "key");
    need(X509_set_version(cert, 2) == 1 && X509_gmtime_adj(X509_getm_notBefore(cert), 0) != NULL &&
             X509_gmtime_adj(X509_getm_notAfter(cert), 86400) != NULL &&
             X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0 &&
             SSL_CTX_use_certificate(context, cert) == 1 &&
             SSL_CTX_use_PrivateKey(context, key) == 1,
         "certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
}

static int keep_session(SSL *ssl, SSL_SESSION *made)
{
    (void)ssl;
    SSL_SESSION_free(session);
    session = made;
    return 1;
}

static void make_contexts(void)
{
    server_context = SSL_CTX_new(TLS_server_method());
    client_context = SSL_CTX_new(TLS_client_method());
    need(server_context != NULL && client_context != NULL, "contexts");
    make_certificate(server_context);
    SSL_CTX_set_num_tickets(server_context, 1);
    SSL_CTX_set_session_cache_mode(client_context, SSL_SESS_CACHE_CLIENT |
                                                       SSL_SESS_CACHE_NO_INTERNAL);
    need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 &&
             fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(pair[1], F_SETFL, O_NONBLOCK) == 0,
         "sockets");
}

/* An object for a connection: the kept one if there is one, or a new one. */
static SSL *begin(SSL *from)
{
    SSL *ssl = from;
    if (ssl == NULL) ssl = SSL_new(server_context);
    else need(SSL_clear(ssl) == 1, "SSL_clear");
    need(ssl != NULL && mm_io_tls_attach(ssl, pair[0], false) == MM_STATUS_OK, "SSL object");
    SSL_set_accept_state(ssl);
    return ssl;
}

static void drain_sockets(void)
{
    char nowhere[4096];
    while (read(pair[0], nowhere, sizeof(nowhere)) > 0) continue;
    while (read(pair[1], nowhere, sizeof(nowhere)) > 0) continue;
}

/* A handshake and its end; whether it was as it should be. */
static bool shake(SSL *server)
{
    char nowhere;
    int i;
    bool ok;
    SSL *client = SSL_new(client_context);
    need(client != NULL && mm_io_tls_attach(client, pair[1], false) == MM_STATUS_OK, "client");
    if (session != NULL) {
        SSL_SESSION *copy = SSL_SESSION_dup(session); /* one that fails is not offered again */
        need(copy != NULL && SSL_set_session(client, copy) == 1, "session");
        SSL_SESSION_free(copy);
    }
    SSL_set_connect_state(client);
    for (i = 0; i < 4; i++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    ok = SSL_is_init_finished(client) && SSL_is_init_finished(server) &&
         SSL_session_reused(server) == (session != NULL);
    if (session == NULL) (void)SSL_read(client, &nowhere, 1); /* what resumption starts with */
    SSL_set_shutdown(server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client);
    drain_sockets();
    return ok;
}

/* With `work` connections have a handshake. */
static void run_renewed(const void *work, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        SSL *ssl = begin(NULL);
        served[RENEWED] = work == NULL || shake(ssl);
        SSL_free(ssl);
    }
}

static void run_cleared(const void *work, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        kept = begin(kept);
        served[CLEARED] = work == NULL || shake(kept);
    }
}

static bool check_renewed(const void *work)
{
    (void)work;
    return served[RENEWED] == 1;
}

static bool check_cleared(const void *work)
{
    (void)work;
    return served[CLEARED] == 1;
}

static void row(const char *title, const void *work)
{
    static const bench_contestant contestants[] = {
        {"SSL_new, SSL_free", run_renewed, check_renewed},
        {"SSL_clear", run_cleared, check_cleared}};
    memset(served, 0, sizeof(served));
    BENCH(title, work, 1, contestants);
}

int main(int argc, char **argv)
{
    SSL *ssl;
    make_contexts();
    bench_begin(argc, argv, "mm_io.h: SSL objects");
    row("object for a connection, no handshake", NULL);
    row("full handshake, TLS 1.3", pair);
    SSL_CTX_sess_set_new_cb(client_context, keep_session);
    ssl = begin(NULL);
    (void)shake(ssl);
    SSL_free(ssl);
    SSL_CTX_sess_set_new_cb(client_context, NULL);
    need(session != NULL, "ticket");
    row("resumed handshake, TLS 1.3", pair);
    SSL_free(kept);
    SSL_SESSION_free(session);
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
    return bench_end();
}
