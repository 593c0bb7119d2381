/* tls.c - the TLS context: policy, resources */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tls.h"

#include <openssl/err.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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

/* Of the reasons in OpenSSL's queue the first says the most. */
const char *tls_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = ERR_reason_error_string(code);
    if (text != NULL) return text;
    return code != 0 ? strerror(ERR_GET_REASON(code)) : "unknown reason"; /* a system call's */
}

bool tls_complain(char *error, size_t size, const char *what, const char *file, const char *why)
{
    (void)snprintf(error, size, "%s%s%s: %s", what, file != NULL ? " " : "",
                   file != NULL ? file : "", why);
    ERR_clear_error();
    return false;
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
    return SSL_CTX_set_num_tickets(context, 2) == 1 &&
           SSL_CTX_set_session_id_context(context, id, sizeof(id) - 1) == 1;
}

/* RFC 6066, 3: a name that was of use is confirmed; which certificate that means is certs.c's. */
static int accept_name(SSL *ssl, int *alert, void *user_data)
{
    (void)ssl, (void)alert, (void)user_data;
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *tls_context_new(certs *c, tickets *t, char *error, size_t error_size)
{
    SSL_CTX *context;
    ERR_clear_error();
    context = SSL_CTX_new(TLS_server_method());
    if (context != NULL && set_policy(context) && set_resources(context) &&
        tickets_attach(t, context)) {
        SSL_CTX_set_tlsext_servername_callback(context, accept_name);
        SSL_CTX_set_cert_cb(context, certs_choose, c);
        return context;
    }
    (void)tls_complain(error, error_size, "cannot set up TLS", NULL, tls_reason());
    SSL_CTX_free(context);
    return NULL;
}
