/* demo/tls.c and demo/cert.c: what the certificate says, and handshakes with clients of openssl's
   own, in memory, that ask for what they should and should not get. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../demo/tls.c"

#include "../../demo/cert.c"
#include "../../demo/certs.c"
#include "../../demo/tickets.c"

#include "../harness.h"

/* ---- memory that runs out: openssl's allocations, counted ---- */

static size_t allocations, fail_at; /* the fail_at-th from now on fails; 0: none */

static bool refused(void)
{
    allocations++;
    return fail_at != 0 && allocations >= fail_at;
}

static void *ssl_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return refused() ? NULL : malloc(size);
}

static void *ssl_realloc(void *ptr, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return refused() ? NULL : realloc(ptr, size);
}

static void ssl_free(void *ptr, const char *file, int line)
{
    (void)file, (void)line;
    free(ptr);
}

/* Before the first allocation, so before the tests. */
__attribute__((constructor)) static void count_allocations(void)
{
    if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1) abort();
}

/* ---- a folder of files ---- */

static char dir[] = "/tmp/mm-tls-XXXXXX";

/* "dir/name", in one of eight buffers. */
static const char *path(const char *name)
{
    static char paths[8][128];
    static size_t next;
    char *text = paths[next++ % 8];
    snprintf(text, sizeof(paths[0]), "%s/%s", dir, name);
    return text;
}

static void write_pem(const char *name, X509 *first, X509 *second, EVP_PKEY *key,
                      const char *password)
{
    FILE *file = fopen(path(name), "w");
    if (file == NULL) abort();
    if (first != NULL) PEM_write_X509(file, first);
    if (second != NULL) PEM_write_X509(file, second);
    if (key != NULL)
        PEM_write_PrivateKey(file, key, password != NULL ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                             (void *)(uintptr_t)password);
    fclose(file);
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(path(name), "w");
    if (file == NULL || fputs(text, file) < 0) abort();
    fclose(file);
}

/* ---- handshakes ---- */

typedef struct handshake {
    SSL *client, *server;
    SSL_CTX *context;     /* the client's; free after use with `end` */
    int client_error;     /* reason code of the client's failure; 0: none */
    bool done;
} handshake;

static certs certs_;

/* A client that trusts the server's certificate and nothing else. */
static SSL_CTX *client_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) abort();
    SSL_CTX_set_security_level(context, 0); /* weak offers are for the server to refuse */
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certs_.current->entries[0].cert);
    return context;
}

static void begin(handshake *h, SSL_CTX *server)
{
    BIO *left, *right;
    memset(h, 0, sizeof(*h));
    h->context = client_context();
    h->client = SSL_new(h->context);
    h->server = SSL_new(server);
    if (BIO_new_bio_pair(&left, 0, &right, 0) != 1) abort();
    SSL_set_bio(h->client, left, left);
    SSL_set_bio(h->server, right, right);
    SSL_set_connect_state(h->client);
    SSL_set_accept_state(h->server);
    SSL_set1_host(h->client, "localhost");
}

/* Lets both sides work until both are done, or one has failed and both know. */
static bool run(handshake *h)
{
    int turn;
    for (turn = 0; turn < 20; turn++) {
        int client, server;
        ERR_clear_error();
        client = SSL_do_handshake(h->client);
        if (client != 1 && SSL_get_error(h->client, client) == SSL_ERROR_SSL && !h->client_error)
            h->client_error = ERR_GET_REASON(ERR_peek_error());
        ERR_clear_error();
        server = SSL_do_handshake(h->server);
        h->done = client == 1 && server == 1;
        if (h->done || h->client_error) break;
    }
    ERR_clear_error();
    return h->done;
}

static void end(handshake *h)
{
    /* as after close_notify, without which OpenSSL forgets the session */
    SSL_set_shutdown(h->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_shutdown(h->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(h->client);
    SSL_free(h->server);
    SSL_CTX_free(h->context);
    memset(h, 0, sizeof(*h));
}

/* One byte there and one back, which also brings the client the tickets of TLS 1.3. */
static bool exchange(handshake *h)
{
    char c = 0;
    return SSL_write(h->client, "a", 1) == 1 && SSL_read(h->server, &c, 1) == 1 && c == 'a' &&
           SSL_write(h->server, "b", 1) == 1 && SSL_read(h->client, &c, 1) == 1 && c == 'b';
}

static SSL_CTX *server_;
static tickets tickets_;
static options_list cert_files, key_files;
static char error[512];

static void close_server(void)
{
    SSL_CTX_free(server_);
    server_ = NULL;
    tickets_deinit(&tickets_);
    certs_deinit(&certs_);
}

/* A server with certificates from `cert_files` and `key_files`; server_ NULL when it fails. */
static void open_server(void)
{
    error[0] = '\0';
    if (certs_init(&certs_, &cert_files, &key_files, error, sizeof(error)) &&
        tickets_init(&tickets_, NULL, 0, 1 << 20, NULL, error, sizeof(error)))
        server_ = tls_context_new(&certs_, &tickets_, error, sizeof(error));
    if (server_ == NULL) close_server();
}

static void set_up(void)
{
    cert_files.count = key_files.count = 0;
    open_server();
}

static void tear_down(void)
{
    close_server();
}

static void open_with(const char *cert, const char *key)
{
    cert_files.count = 1;
    cert_files.at[0] = cert;
    key_files.count = key != NULL;
    key_files.at[0] = key;
    open_server();
}

/* ---- the certificate ---- */

static bool matches(X509 *cert, const char *host, const char *ip)
{
    if (host != NULL) return X509_check_host(cert, host, 0, 0, NULL) == 1;
    return X509_check_ip_asc(cert, ip, 0) == 1;
}

TEST(made_certificate_is_for_this_machine)
{
    char host[HOST_NAME_MAX + 1] = "";
    X509 *cert;
    EVP_PKEY *key;
    CHECK(cert_make(&cert, &key));
    CHECK(matches(cert, "localhost", NULL));
    CHECK(matches(cert, NULL, "127.0.0.1") && matches(cert, NULL, "::1"));
    CHECK(!matches(cert, "example.org", NULL) && !matches(cert, NULL, "127.0.0.2"));
    CHECK(gethostname(host, sizeof(host) - 1) == 0);
    if (is_host_name(host)) CHECK(matches(cert, host, NULL));
    X509_free(cert);
    EVP_PKEY_free(key);
}

TEST(made_certificate_by_rfc_5280)
{
    int days, seconds;
    X509 *cert;
    EVP_PKEY *key;
    BIGNUM *serial;
    CHECK(cert_make(&cert, &key));
    CHECK_EQ(X509_get_version(cert), 2);
    CHECK_EQ(X509_verify(cert, key), 1);
    CHECK_EQ(X509_get_signature_nid(cert), NID_ecdsa_with_SHA256);
    CHECK_EQ(EVP_PKEY_bits(key), 256);
    CHECK(X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) == 0);
    serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    CHECK(!BN_is_negative(serial) && BN_num_bits(serial) == CERT_SERIAL * 8 - 1);
    BN_free(serial);
    CHECK(X509_cmp_current_time(X509_get0_notBefore(cert)) < 0);
    CHECK(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), X509_get0_notAfter(cert)));
    CHECK_EQ(days, 366);
    CHECK((X509_get_extension_flags(cert) & (EXFLAG_CA | EXFLAG_INVALID)) == 0);
    CHECK_EQ(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
    CHECK_EQ(X509_get_extended_key_usage(cert), XKU_SSL_SERVER);
    X509_free(cert);
    EVP_PKEY_free(key);
}

TEST(made_certificate_can_be_trusted)
{
    X509 *cert;
    EVP_PKEY *key;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    CHECK(cert_make(&cert, &key));
    X509_STORE_add_cert(store, cert);
    X509_STORE_CTX_init(check, store, cert, NULL);
    X509_STORE_CTX_set_flags(check, X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX_set_purpose(check, X509_PURPOSE_SSL_SERVER);
    CHECK_EQ(X509_verify_cert(check), 1);
    X509_STORE_CTX_free(check);
    X509_STORE_free(store);
    X509_free(cert);
    EVP_PKEY_free(key);
}

TEST(made_certificates_differ)
{
    char first[CERTS_FINGERPRINT_SIZE], second[CERTS_FINGERPRINT_SIZE];
    size_t i;
    set_up();
    CHECK(server_ != NULL);
    certs_fingerprint(&certs_, first);
    CHECK_SUB(tear_down());
    set_up();
    certs_fingerprint(&certs_, second);
    CHECK_EQ(strlen(first), 95);
    CHECK(strcmp(first, second) != 0);
    for (i = 0; i < 95; i++)
        CHECK(i % 3 == 2 ? first[i] == ':' : strchr("0123456789ABCDEF", first[i]) != NULL);
    CHECK_SUB(tear_down());
}

TEST(host_names)
{
    static const char *const good[] = {"vm", "a.b-c.example", "x1", "1x.2y", "3com"};
    static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "-a", "a-", "a-.b", "a.-b",
                                      "a_b", "a b", "a,DNS:b", "127.0.0.1", "10", "a.1",
                                      "\xc3\xa9", "a/b"};
    char text[300];
    size_t i;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) CHECK(is_host_name(good[i]));
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK(!is_host_name(bad[i]));
    memset(text, 'a', sizeof(text));
    text[63] = '\0';
    CHECK(is_host_name(text));
    text[63] = 'a';
    text[64] = '\0';
    CHECK(!is_host_name(text));
    memset(text, 'a', sizeof(text));
    for (i = 63; i < 253; i += 64) text[i] = '.';
    text[253] = '\0';
    CHECK(is_host_name(text));
    text[253] = 'a';
    text[254] = '\0';
    CHECK(!is_host_name(text));
}

/* ---- handshakes ---- */

TEST(versions)
{
    static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    handshake h;
    size_t i;
    set_up();
    for (i = 0; i < 4; i++) {
        begin(&h, server_);
        CHECK_EQ(SSL_set_min_proto_version(h.client, versions[i]), 1);
        CHECK_EQ(SSL_set_max_proto_version(h.client, versions[i]), 1);
        CHECK_EQ(run(&h), i >= 2);
        if (i >= 2) CHECK_EQ(SSL_version(h.client), versions[i]);
        else CHECK_EQ(h.client_error, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
        end(&h);
    }
    CHECK_SUB(tear_down());
}

/* What TLS 1.2 agrees on when the client offers `ciphers`; "" when it refuses. */
static const char *agreed(const char *ciphers)
{
    const char *name = "";
    handshake h;
    begin(&h, server_);
    SSL_set_max_proto_version(h.client, TLS1_2_VERSION);
    if (SSL_set_cipher_list(h.client, ciphers) != 1) name = "bad test";
    else if (run(&h)) name = SSL_get_cipher(h.client);
    end(&h);
    return name;
}

TEST(ciphers_of_tls_1_2)
{
    set_up();
    CHECK_STR(agreed("ALL:COMPLEMENTOFALL"), "ECDHE-ECDSA-AES128-GCM-SHA256");
    CHECK_STR(agreed("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"),
              "ECDHE-ECDSA-AES128-GCM-SHA256");
    CHECK_STR(agreed("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"),
              "ECDHE-ECDSA-CHACHA20-POLY1305");
    CHECK_STR(agreed("ECDHE-ECDSA-AES256-GCM-SHA384"), "ECDHE-ECDSA-AES256-GCM-SHA384");
    CHECK_STR(agreed("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA"), ""); /* CBC */
    CHECK_STR(agreed("AES128-GCM-SHA256:AES128-SHA"), "");            /* not forward secret */
    CHECK_STR(agreed("aNULL:eNULL:@SECLEVEL=0"), "");
    CHECK_SUB(tear_down());
}

TEST(ciphers_and_groups_of_tls_1_3)
{
    handshake h;
    set_up();
    begin(&h, server_);
    CHECK(SSL_set_ciphersuites(h.client, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"));
    CHECK(run(&h));
    CHECK_STR(SSL_get_cipher(h.client), "TLS_AES_128_GCM_SHA256");
    end(&h);
    begin(&h, server_);
    CHECK(SSL_set_ciphersuites(h.client, "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"));
    CHECK(run(&h));
    CHECK_STR(SSL_get_cipher(h.client), "TLS_CHACHA20_POLY1305_SHA256");
    end(&h);
    begin(&h, server_);
    CHECK_EQ(SSL_set1_groups_list(h.client, (char *)(uintptr_t) "P-384:X448"), 1);
    CHECK(run(&h));
    end(&h);
    begin(&h, server_);
    CHECK_EQ(SSL_set1_groups_list(h.client, (char *)(uintptr_t) "P-521:X448"), 1);
    CHECK(!run(&h));
    end(&h);
    CHECK_SUB(tear_down());
}

/* What ALPN agrees on with a client that offers `protocols` (in wire form); NULL when refused. */
static const char *agreed_protocol(const char *protocols, unsigned size, int *client_error)
{
    static char text[256];
    const unsigned char *name;
    unsigned length;
    bool done;
    handshake h;
    begin(&h, server_);
    if (size > 0 && SSL_set_alpn_protos(h.client, (const unsigned char *)protocols, size) != 0)
        abort();
    done = run(&h);
    SSL_get0_alpn_selected(h.client, &name, &length);
    if (length > 0) memcpy(text, name, length);
    text[length] = '\0';
    *client_error = h.client_error;
    end(&h);
    return done ? text : NULL;
}
#define AGREED_PROTOCOL(text) agreed_protocol(text, sizeof(text) - 1, &reason_code)

TEST(alpn)
{
    char longest[265];
    int reason_code;
    set_up();
    CHECK_STR(AGREED_PROTOCOL(""), "");
    CHECK_STR(AGREED_PROTOCOL("\x08http/1.1"), "http/1.1");
    CHECK_STR(AGREED_PROTOCOL("\x02h2\x08http/1.1"), "http/1.1");
    CHECK(AGREED_PROTOCOL("\x02h2") == NULL);
    CHECK_EQ(reason_code, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    CHECK(AGREED_PROTOCOL("\x08http/1.0\x09http/1.10\x07http/1.") == NULL);
    CHECK(AGREED_PROTOCOL("\x08HTTP/1.1") == NULL);
    memset(longest, 'x', sizeof(longest));
    longest[0] = (char)255;
    CHECK(agreed_protocol(longest, 256, &reason_code) == NULL);
    memcpy(longest + 256, "\x08http/1.1", 9);
    CHECK_STR(agreed_protocol(longest, 265, &reason_code), "http/1.1");
    CHECK_SUB(tear_down());
}

TEST(renegotiation_is_refused)
{
    handshake h;
    char c;
    set_up();
    begin(&h, server_);
    SSL_set_max_proto_version(h.client, TLS1_2_VERSION);
    CHECK(run(&h) && exchange(&h));
    CHECK_EQ(SSL_renegotiate(h.client), 1);
    (void)SSL_do_handshake(h.client);
    CHECK(SSL_read(h.server, &c, 1) <= 0);
    CHECK(SSL_do_handshake(h.client) <= 0);
    CHECK_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    end(&h);
    CHECK_SUB(tear_down());
}

/* Whether a second connection of a client with these settings resumes the first. */
static bool resumes(int version, uint64_t client_options)
{
    SSL_SESSION *session;
    handshake h;
    bool resumed;
    begin(&h, server_);
    SSL_set_max_proto_version(h.client, version);
    SSL_set_options(h.client, client_options);
    if (!run(&h) || !exchange(&h)) return false;
    session = SSL_get1_session(h.client);
    end(&h);
    begin(&h, server_);
    SSL_set_max_proto_version(h.client, version);
    SSL_set_options(h.client, client_options);
    SSL_set_session(h.client, session);
    resumed = SSL_SESSION_get_max_early_data(session) == 0 && run(&h) && exchange(&h) &&
              SSL_session_reused(h.client) && SSL_session_reused(h.server);
    SSL_SESSION_free(session);
    end(&h);
    return resumed;
}

static size_t sessions_kept(void)
{
    return mm_tls_sessions_get_stats(&tickets_.sessions).entries;
}

TEST(sessions_are_resumed)
{
    set_up();
    CHECK(resumes(TLS1_3_VERSION, 0));
    CHECK_EQ(sessions_kept(), 0); /* tickets cost the server no memory */
    CHECK(resumes(TLS1_2_VERSION, 0));
    CHECK_EQ(sessions_kept(), 0);
    CHECK(resumes(TLS1_2_VERSION, SSL_OP_NO_TICKET));
    CHECK_EQ(sessions_kept(), 1);
    CHECK_EQ(SSL_CTX_sess_number(server_), 0); /* OpenSSL keeps none of its own */
    CHECK_EQ(SSL_CTX_get_timeout(server_), TICKETS_LIFETIME);
    CHECK_SUB(tear_down());
}

TEST(settings)
{
    const uint64_t wanted = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                            SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
    const long modes = SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
    set_up();
    CHECK((SSL_CTX_get_options(server_) & wanted) == wanted);
    CHECK((SSL_CTX_get_mode(server_) & modes) == modes);
    CHECK_EQ(SSL_CTX_get_read_ahead(server_), 0);
    CHECK_EQ(SSL_CTX_get_max_early_data(server_), 0);
    CHECK_EQ(SSL_CTX_get_num_tickets(server_), 2);
    CHECK_SUB(tear_down());
}

TEST(a_client_that_hangs_up_is_no_error)
{
    handshake h;
    char c;
    set_up();
    begin(&h, server_);
    CHECK(run(&h) && exchange(&h));
    BIO_shutdown_wr(SSL_get_wbio(h.client)); /* without close_notify */
    CHECK_EQ(SSL_read(h.server, &c, 1), 0);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    CHECK_EQ(SSL_get_error(h.server, 0), SSL_ERROR_ZERO_RETURN);
#endif
    ERR_clear_error();
    end(&h);
    CHECK_SUB(tear_down());
}

/* ---- files ---- */

static X509 *made_certs[2];
static EVP_PKEY *keys[2];

static void make_files(void)
{
    if (mkdtemp(dir) == NULL) abort();
    if (!cert_make(&made_certs[0], &keys[0]) || !cert_make(&made_certs[1], &keys[1])) abort();
    write_pem("cert", made_certs[0], NULL, NULL, NULL);
    write_pem("key", NULL, NULL, keys[0], NULL);
    write_pem("other-key", NULL, NULL, keys[1], NULL);
    write_pem("encrypted", NULL, NULL, keys[0], "secret");
    write_pem("both", made_certs[0], NULL, keys[0], NULL);
    write_pem("chain", made_certs[0], made_certs[1], keys[0], NULL);
    write_text("empty", "");
    write_text("text", "no certificate\n");
    write_text("broken", "-----BEGIN CERTIFICATE-----\nMIIB*\n-----END CERTIFICATE-----\n");
    write_text("short", "-----BEGIN CERTIFICATE-----\nMIIBxxxx\n-----END CERTIFICATE-----\n");
}

static void remove_files(void)
{
    static const char *const names[] = {"cert", "key", "other-key", "encrypted", "both",
                                        "chain", "empty", "text", "broken", "short"};
    size_t i;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) unlink(path(names[i]));
    rmdir(dir);
    for (i = 0; i < 2; i++) {
        X509_free(made_certs[i]);
        EVP_PKEY_free(keys[i]);
    }
    memcpy(strrchr(dir, '-'), "-XXXXXX", 7); /* for the next time */
}

/* How many certificates a client sees of a server with these files; -1 without a handshake. */
static int chain_length(const char *cert, const char *key)
{
    handshake h;
    int length = -1;
    open_with(path(cert), key != NULL ? path(key) : NULL);
    if (server_ == NULL) return -1;
    begin(&h, server_);
    if (run(&h)) length = sk_X509_num(SSL_get_peer_cert_chain(h.client));
    end(&h);
    tear_down();
    return length;
}

TEST(certificates_from_files)
{
    make_files();
    CHECK_EQ(chain_length("cert", "key"), 1);
    CHECK_EQ(chain_length("both", NULL), 1);
    CHECK_EQ(chain_length("chain", NULL), 2);
    CHECK_EQ(chain_length("chain", "key"), 2);
    CHECK_SUB(remove_files());
}

/* That the files are refused for that reason, in one line that names the file. */
static void refused_files(const char *cert, const char *key, const char *what, const char *why)
{
    char expected[256];
    bool is_key = strcmp(what, "private key") == 0;
    snprintf(expected, sizeof(expected), "cannot use the %s %s: %s", what,
             path(is_key && key != NULL ? key : cert), why);
    error[0] = '\0';
    open_with(path(cert), key != NULL ? path(key) : NULL);
    CHECK(server_ == NULL);
    CHECK_STR(error, expected);
    CHECK_EQ(ERR_peek_error(), 0);
}
#define CHECK_REFUSED(cert, key, what, why) CHECK_SUB(refused_files(cert, key, what, why))

TEST(bad_certificates_are_named)
{
    make_files();
    CHECK_REFUSED("none", "key", "certificate", "No such file or directory");
    CHECK_REFUSED("empty", "key", "certificate", "no certificate in PEM form");
    CHECK_REFUSED("text", "key", "certificate", "no certificate in PEM form");
    CHECK_REFUSED("key", NULL, "certificate", "no certificate in PEM form");
    CHECK_REFUSED(".", "key", "certificate", "no certificate in PEM form");
    open_with(path("broken"), path("key"));
    CHECK(server_ == NULL);
    CHECK(strstr(error, "/broken: ") != NULL && strchr(error, '\n') == NULL);
    open_with(path("short"), path("key"));
    CHECK(server_ == NULL);
    CHECK(strstr(error, "/short: ") != NULL && strchr(error, '\n') == NULL);
    cert_files.at[0] = path("none");
    CHECK(!certs_init(&certs_, &cert_files, &key_files, error, 20)); /* a short buffer is kept to */
    CHECK_STR(error, "cannot use the cert");
    CHECK_SUB(remove_files());
}

TEST(bad_keys_are_named)
{
    make_files();
    CHECK_REFUSED("cert", "none", "private key", "No such file or directory");
    CHECK_REFUSED("cert", NULL, "private key", "no private key in PEM form");
    CHECK_REFUSED("cert", "text", "private key", "no private key in PEM form");
    CHECK_REFUSED("cert", "empty", "private key", "no private key in PEM form");
    CHECK_REFUSED("cert", "other-key", "private key", "it is not the certificate's");
    CHECK_REFUSED("cert", "encrypted", "private key", "it is encrypted");
    CHECK_SUB(remove_files());
}

/* ---- out of memory ---- */

/* Every allocation fails in turn, and from then on: no crash, no leak (the sanitizer or Valgrind
   looks), an error, and a context again once there is memory. */
TEST(memory_runs_out_at_every_point)
{
    size_t n;
    set_up(); /* what the library makes once for all is made now */
    CHECK(server_ != NULL);
    CHECK_SUB(tear_down());
    for (n = 1;; n++) {
        error[0] = '\0';
        allocations = 0;
        fail_at = n;
        open_server();
        fail_at = 0;
        if (server_ != NULL && allocations < n) break;
        if (server_ == NULL) CHECK(error[0] != '\0' && strchr(error, '\n') == NULL);
        CHECK_SUB(tear_down());
    }
    CHECK(n > 1000);
    CHECK_SUB(tear_down());
}

TEST_MAIN(T(made_certificate_is_for_this_machine), T(made_certificate_by_rfc_5280),
          T(made_certificate_can_be_trusted), T(made_certificates_differ), T(host_names),
          T(versions), T(ciphers_of_tls_1_2), T(ciphers_and_groups_of_tls_1_3), T(alpn),
          T(renegotiation_is_refused), T(sessions_are_resumed), T(settings),
          T(a_client_that_hangs_up_is_no_error), T(certificates_from_files),
          T(bad_certificates_are_named), T(bad_keys_are_named), T(memory_runs_out_at_every_point))
