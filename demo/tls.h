/* tls.h - the TLS context of the server */
#ifndef DEMO_TLS_H
#define DEMO_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "certs.h"
#include "tickets.h"

/* A server context: TLS 1.2 and 1.3, forward secrecy and AEAD only, no renegotiation, no
   compression, no early data, ALPN http/1.1 (a client that offers protocols, but not this one, is
   refused with no_application_protocol), session tickets, released buffers, partial and moving
   writes. Certificates and keys of tickets may change while it is used, and must outlive it. NULL
   on failure, with one line in `error`. */
SSL_CTX *tls_context_new(certs *c, tickets *t, char *error, size_t error_size);

/* For certs.c and tickets.c: OpenSSL's reason for the last failure, and "what file: why" as a line
   in `error`, the file being left out when it is NULL; returns false. */
const char *tls_reason(void);
bool tls_complain(char *error, size_t size, const char *what, const char *file, const char *why);

#endif
