/* tickets.h - the keys that session tickets are sealed with (RFC 5077, RFC 8446 4.6.1)

   Who knows such a key can read what was sent under it in TLS 1.2, and resume sessions: so they
   change. Keys of our own are made anew every hour; those of a file are its owner's to change. */
#ifndef DEMO_TICKETS_H
#define DEMO_TICKETS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    TICKETS_KEYS = 8,        /* most keys at a time */
    TICKETS_KEY_SIZE = 80,   /* bytes of a key in a file: name, key of HMAC, key of AES */
    TICKETS_ROTATE = 3600,   /* seconds until our own key is replaced */
    TICKETS_LIFETIME = 7200  /* seconds that a session can be resumed */
};

typedef struct ticket_key { /* as it is in a file */
    unsigned char name[16];
    unsigned char hmac[32];
    unsigned char aes[32];
} ticket_key;

typedef struct tickets {
    const char *file;       /* NULL: keys of our own */
    pthread_mutex_t lock;   /* of what follows */
    ticket_key keys[TICKETS_KEYS]; /* the first seals, all open */
    size_t count;           /* > 0 */
    int64_t made;           /* when the first was, if it is our own; monotonic seconds */
} tickets;

/* False with one line in `error` when there is no randomness, or the file has no keys: it consists
   of 1 to TICKETS_KEYS keys, each TICKETS_KEY_SIZE random bytes. */
bool tickets_init(tickets *t, const char *file, int64_t now, char *error, size_t error_size);
void tickets_deinit(tickets *t);

/* Reads the file again; when it is bad, all stays as it was, and false is returned. */
bool tickets_reload(tickets *t, char *error, size_t error_size);

/* Replaces a key of our own whose time is over. Those before it live as long as their tickets. */
void tickets_rotate(tickets *t, int64_t now);

/* Whether others than its owner may read the file. */
bool tickets_exposed(const tickets *t);

/* Seals and opens the tickets of a context, which must end before the keys. */
bool tickets_attach(tickets *t, SSL_CTX *context);

#endif
