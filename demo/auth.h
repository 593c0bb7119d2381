/* auth.h - who may read: names and passwords (RFC 7617) */
#ifndef DEMO_AUTH_H
#define DEMO_AUTH_H

#include "http.h"
#include "options.h"

enum { AUTH_HASH = 32 }; /* bytes of SHA-256 */

typedef struct auth_user {
    unsigned char name[AUTH_HASH];     /* SHA-256 of it: all are of the same length */
    unsigned char password[AUTH_HASH]; /* SHA-256 or PBKDF2 of it */
    unsigned char salt[64];
    size_t salt_size;
    int iterations;                    /* of PBKDF2; 0: one SHA-256 without a salt */
} auth_user;

typedef struct auth_users { /* made at start, then the same for all workers */
    auth_user user[OPTIONS_LIST];
    size_t count;           /* 0: everybody may read */
} auth_users;

/* A worker's door: it remembers who has shown the right password, or else each request would cost
   what makes guessing slow. */
typedef struct auth_guard {
    const auth_users *users;
    unsigned char secret[AUTH_HASH];                /* of what is remembered */
    unsigned char known[OPTIONS_LIST][AUTH_HASH];   /* a user's last good credentials, hashed */
    bool is_known[OPTIONS_LIST];
    int64_t since;          /* milliseconds; when the second began in which */
    int64_t spent;          /* so many iterations have been used */
} auth_guard;

/* Reads USER:HASH; false when it is none. HASH is 64 hexadecimal digits, the SHA-256 of the
   password, or pbkdf2:ITERATIONS:SALT:KEY, PBKDF2 with HMAC-SHA-256: 1,000 to 5,000,000 iterations,
   a salt of 8 to 64 bytes and a key of 32, both in hexadecimal digits, which may have colons
   between the bytes of the key, as OpenSSL writes it. */
bool auth_parse(const char *text, auth_user *user);

void auth_users_init(auth_users *users, const options *o);

/* False when there are no random numbers to be had. */
bool auth_guard_init(auth_guard *guard, const auth_users *users);

/* Whether a request may be answered: 200; 401 when it does not show a name and a password that
   belong together; 429 when they cannot be checked now, for all the wrong ones that came before.
   How long it takes tells nothing of how wrong they are. *slow is set when it took long. */
int auth_check(auth_guard *guard, const http_request *request, mm_arena *arena, int64_t now_ms,
               bool *slow);

#endif
