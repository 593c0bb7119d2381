/* tls.c - the TLS context: policy, resources, certificates from files */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cert.h"

enum {
    TLS_SESSIONS = 1024, /* of clients that take no tickets: at some 1 KiB each, all of 1 MiB */
    TLS_TIMEOUT = 7200   /* seconds that a session can be resumed */
};

/* AES-128 first: it is as good as AES-256 here, and faster. Clients without AES in hardware put
   ChaCha20 first, and then they get it. Version 1.2 has no other suites that are both forward
   secret and AEAD. */
static const char tls12_ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char tls13_ciphers[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static char tls_groups[] = /* not const, since OpenSSL's macro casts that away */
    "X25519:P-256:P-384";
static const unsigned char tls_protocols[] = "\x08http/1.1"; /* ALPN, most wanted first */

/* ---- errors ---- */

/* OpenSSL's reason for the last failure: of those in its queue the first says the most. */
static const char *reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = ERR_reason_error_string(code);
    if (text != NULL) return text;
    return code != 0 ? strerror(ERR_GET_REASON(code)) : "unknown reason"; /* a system call's */
}

/* "what file: why", the file being left out when it is NULL. Returns false. */
static bool complain(char *error, size_t size, const char *what, const char *file, const char *why)
{
    (void)snprintf(error, size, "%s%s%s: %s", what, file != NULL ? " " : "",
                   file != NULL ? file : "", why);
    ERR_clear_error();
    return false;
}

/* ---- certificate and key ---- */

static bool use_made_certificate(SSL_CTX *context, char *error, size_t error_size)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    bool ok = cert_make(&cert, &key) && SSL_CTX_use_certificate(context, cert) == 1 &&
              SSL_CTX_use_PrivateKey(context, key) == 1;
    if (!ok) (void)complain(error, error_size, "cannot make a certificate", NULL, reason());
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}

/* In place of OpenSSL's, which would ask on the terminal: that a server cannot wait for. */
static int refuse_password(char *text, int size, int writing, void *asked)
{
    (void)text, (void)size, (void)writing;
    *(bool *)asked = true;
    return 0;
}

/* NULL with *why set, which may be OpenSSL's. */
static EVP_PKEY *read_key(const char *file, const char **why)
{
    bool encrypted = false;
    EVP_PKEY *key;
    BIO *in = BIO_new_file(file, "r");
    *why = in == NULL ? reason() : "no private key in PEM form";
    if (in == NULL) return NULL;
    key = PEM_read_bio_PrivateKey(in, NULL, refuse_password, &encrypted);
    if (encrypted) *why = "it is encrypted";
    BIO_free(in);
    return key;
}

static bool use_key_file(SSL_CTX *context, const char *file, char *error, size_t error_size)
{
    const char *why;
    EVP_PKEY *key = read_key(file, &why);
    bool fits = key != NULL && X509_check_private_key(SSL_CTX_get0_certificate(context), key) == 1;
    bool ok = fits && SSL_CTX_use_PrivateKey(context, key) == 1;
    if (key != NULL) why = fits ? reason() : "it is not the certificate's";
    if (!ok) (void)complain(error, error_size, "cannot use the private key", file, why);
    EVP_PKEY_free(key);
    return ok;
}

static bool use_files(SSL_CTX *context, const char *cert, const char *key, char *error,
                      size_t error_size)
{
    const char *why;
    unsigned long code;
    if (SSL_CTX_use_certificate_chain_file(context, cert) == 1)
        return use_key_file(context, key != NULL ? key : cert, error, error_size);
    why = reason();
    code = ERR_peek_error();
    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
        why = "no certificate in PEM form";
    return complain(error, error_size, "cannot use the certificate", cert, why);
}

/* ---- the context ---- */

/* RFC 7301, 3.2: a client that names protocols but none of ours gets no_application_protocol. */
static int select_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
                           const unsigned char *offered, unsigned offered_size, void *user_data)
{
    unsigned char *protocol = NULL;
    (void)ssl, (void)user_data;
    if (SSL_select_next_proto(&protocol, chosen_size, tls_protocols, sizeof(tls_protocols) - 1,
                              offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = protocol;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_policy(SSL_CTX *context)
{
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF /* clients that just hang up are no error; lengths tell */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(context, tls12_ciphers) == 1 &&
           SSL_CTX_set_ciphersuites(context, tls13_ciphers) == 1 &&
           SSL_CTX_set1_groups_list(context, tls_groups) == 1 &&
           SSL_CTX_set_max_early_data(context, 0) == 1;
}

static bool set_resources(SSL_CTX *context)
{
    static const unsigned char id[] = "mmserve";
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* or SSL_read goes on for as long as a client sends records without data, and nobody else is
       served */
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(context, TLS_SESSIONS);
    SSL_CTX_set_timeout(context, TLS_TIMEOUT);
    return SSL_CTX_set_num_tickets(context, 2) == 1 &&
           SSL_CTX_set_session_id_context(context, id, sizeof(id) - 1) == 1;
}

SSL_CTX *tls_context_new(const char *cert, const char *key, char *error, size_t error_size)
{
    SSL_CTX *context;
    bool ok;
    ERR_clear_error();
    context = SSL_CTX_new(TLS_server_method());
    ok = context != NULL && set_policy(context) && set_resources(context);
    if (!ok) (void)complain(error, error_size, "cannot set up TLS", NULL, reason());
    else if (cert == NULL) ok = use_made_certificate(context, error, error_size);
    else ok = use_files(context, cert, key, error, error_size);
    if (ok) return context;
    SSL_CTX_free(context);
    return NULL;
}

void tls_fingerprint(SSL_CTX *context, char text[TLS_FINGERPRINT_SIZE])
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned i, size = 0;
    X509 *cert = SSL_CTX_get0_certificate(context);
    text[0] = '\0';
    if (cert == NULL || X509_digest(cert, EVP_sha256(), hash, &size) != 1) return;
    for (i = 0; i < size; i++) {
        text[3 * i] = digits[hash[i] >> 4];
        text[3 * i + 1] = digits[hash[i] & 15];
        text[3 * i + 2] = i + 1 < size ? ':' : '\0';
    }
}
