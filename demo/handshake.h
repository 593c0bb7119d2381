/* handshake.h - how a connection finds out what is spoken on it */
#ifndef DEMO_HANDSHAKE_H
#define DEMO_HANDSHAKE_H

#include <openssl/ssl.h>

typedef enum handshake {
    HANDSHAKE_DONE,   /* requests may come */
    HANDSHAKE_READ,   /* not yet: when there is more to read */
    HANDSHAKE_WRITE,  /* not yet: when there is room to write */
    HANDSHAKE_TLS,    /* the peer has begun with TLS */
    HANDSHAKE_PLAIN,  /* the peer has begun with something else */
    HANDSHAKE_MISLED, /* the peer speaks plain HTTP to a port of HTTPS */
    HANDSHAKE_ALERT,  /* it failed, which the peer is being told */
    HANDSHAKE_FAILED  /* it failed, or the peer has gone */
} handshake;

/* TLS or not: looks at the first byte of what has come. */
handshake handshake_detect(int fd);

/* A TLS object for an accepted socket; NULL when there is no memory. */
SSL *handshake_begin(SSL_CTX *context, int fd);

/* Goes on with TLS as far as it can. */
handshake handshake_run(SSL *ssl, int fd);

#endif
