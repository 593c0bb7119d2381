/* tls.h - the TLS context of the server */
#ifndef DEMO_TLS_H
#define DEMO_TLS_H

#include <openssl/ssl.h>

/* A server context: TLS 1.2 and 1.3, forward secrecy and AEAD only, no renegotiation, no
   compression, no early data, ALPN http/1.1 (a client that offers protocols, but not this one, is
   refused with no_application_protocol), session tickets, released buffers, partial and moving
   writes. With `cert` NULL a self-signed certificate is made in memory: EC P-256, valid for a year,
   for localhost, this host's name and the loopback addresses. Else `cert` is a PEM file, and so is
   `key`, NULL when it is in the same one. NULL on failure, with one line in `error` that names the
   file. */
SSL_CTX *tls_context_new(const char *cert, const char *key, char *error, size_t error_size);

/* The SHA-256 fingerprint of the context's certificate as hex with colons, 95 characters and a NUL;
   empty when there is no memory for it. */
enum { TLS_FINGERPRINT_SIZE = 96 };
void tls_fingerprint(SSL_CTX *context, char text[TLS_FINGERPRINT_SIZE]);

#endif
