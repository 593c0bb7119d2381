/* certs.h - the server's certificates: read from files, chosen by name, replaced while it runs */
#ifndef DEMO_CERTS_H
#define DEMO_CERTS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>

#include "options.h"

typedef struct cert_set cert_set;

typedef struct certs {
    const options_list *cert_files; /* PEM: certificate and chain; none: one is made in memory */
    const options_list *key_files;  /* PEM: the i-th is of the i-th certificate; those that have
                                       none here have it in their own file */
    pthread_mutex_t lock;           /* of what follows */
    cert_set *current;              /* never changed, only replaced */
} certs;

/* Reads the files, or makes a certificate (see cert.h) when there are none. False with one line in
   `error` that names the file; then nothing is left to undo. */
bool certs_init(certs *c, const options_list *cert_files, const options_list *key_files,
                char *error, size_t error_size);
void certs_deinit(certs *c);

/* Reads the files again: new handshakes get what is in them now. When one is bad, all stays as it
   was; returns false with one line in `error`. Handshakes may go on meanwhile. */
bool certs_reload(certs *c, char *error, size_t error_size);

/* The first key's file that others than its owner may read; NULL when there is none. */
const char *certs_exposed_key(const certs *c);

/* For SSL_CTX_set_cert_cb: gives the connection the certificate for the name that the client asks
   for, or else the first one. Of the certificates for a name there may be one for each kind of
   key, and the client's signature algorithms decide. */
int certs_choose(SSL *ssl, void *certs);

/* Whether a client that has named `asked` (NULL: nobody) in its handshake may ask for `host`: not
   when another certificate is for that than the one that it was shown (RFC 9110, 7.4 and 15.5.20).
   A host that no certificate is for is as good as any. */
bool certs_answer_for(certs *c, const char *asked, const char *host);

/* The SHA-256 fingerprint of the first certificate as hex with colons, 95 characters and a NUL;
   empty when there is no memory for it. */
enum { CERTS_FINGERPRINT_SIZE = 96 };
void certs_fingerprint(certs *c, char text[CERTS_FINGERPRINT_SIZE]);

#endif
