/* tickets.h - sessions that clients resume: the keys of their tickets, and a cache for those who
   take none

   The work is mm_io.h's (mm_tls_tickets, mm_tls_sessions); here is what is the server's: how long,
   how many, and what is said of a bad file. */
#ifndef DEMO_TICKETS_H
#define DEMO_TICKETS_H

#ifndef MM_IO_OPENSSL
#define MM_IO_OPENSSL
#endif
#include "../mm_io.h"

enum {
    TICKETS_ROTATE = 3600,   /* seconds until our own key is replaced */
    TICKETS_LIFETIME = 7200, /* seconds that a session can be resumed */
    TICKETS_SESSION = 1024   /* bytes of a session, of a client that takes no tickets */
};

typedef struct tickets {
    mm_tls_tickets keys;
    mm_tls_sessions sessions;
} tickets;

/* False with one line in `error` when there is no randomness or memory, or the file (NULL: keys of
   our own) has no keys: it consists of 1 to 8 keys, each 80 random bytes. Sessions may take so many
   bytes. The allocator is used by all threads. */
bool tickets_init(tickets *t, const char *file, int64_t now, size_t bytes,
                  const mm_allocator *allocator, char *error, size_t error_size);
void tickets_deinit(tickets *t);

/* Reads the file again; when it is bad, all stays as it was, and false is returned. */
bool tickets_reload(tickets *t, char *error, size_t error_size);

/* For a context, which must end before them. */
bool tickets_attach(tickets *t, SSL_CTX *context);

#endif
