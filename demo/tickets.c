/* tickets.c - keys of session tickets: made, read, replaced, used */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls.h"

enum {
    /* of our own: the one that seals, and those whose tickets have not all run out */
    TICKETS_OWN = 1 + (TICKETS_LIFETIME + TICKETS_ROTATE - 1) / TICKETS_ROTATE
};

/* ---- keys from a file ---- */

/* Adds the file's bytes to none, up to `capacity`; false with errno. */
static bool read_file(const char *file, unsigned char *bytes, size_t capacity, size_t *size)
{
    struct stat st;
    ssize_t n = -1;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error;
    if (fd < 0) return false;
    errno = EINVAL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        do {
            n = read(fd, bytes + *size, capacity - *size);
            if (n > 0) *size += (size_t)n;
        } while ((n > 0 && *size < capacity) || (n < 0 && errno == EINTR));
    }
    error = errno;
    close(fd);
    errno = error;
    return n >= 0;
}

static bool load(const char *file, ticket_key keys[TICKETS_KEYS], size_t *count, char *error,
                 size_t error_size)
{
    unsigned char bytes[TICKETS_KEYS * TICKETS_KEY_SIZE + 1];
    size_t size = 0;
    const char *why = NULL;
    if (!read_file(file, bytes, sizeof(bytes), &size)) why = strerror(errno);
    else if (size == 0 || size == sizeof(bytes) || size % TICKETS_KEY_SIZE != 0)
        why = "not 1 to 8 keys of 80 bytes";
    if (why == NULL) {
        memcpy(keys, bytes, size);
        *count = size / TICKETS_KEY_SIZE;
    }
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return why == NULL || tls_complain(error, error_size, "cannot use the ticket keys", file, why);
}

bool tickets_reload(tickets *t, char *error, size_t error_size)
{
    ticket_key keys[TICKETS_KEYS];
    size_t count = 0; /* one compiler does not see that load() sets it */
    if (t->file == NULL) return true;
    if (!load(t->file, keys, &count, error, error_size)) return false;
    (void)pthread_mutex_lock(&t->lock);
    OPENSSL_cleanse(t->keys, sizeof(t->keys));
    memcpy(t->keys, keys, count * sizeof(*keys));
    t->count = count;
    (void)pthread_mutex_unlock(&t->lock);
    OPENSSL_cleanse(keys, sizeof(keys));
    return true;
}

bool tickets_exposed(const tickets *t)
{
    struct stat st;
    return t->file != NULL && stat(t->file, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

/* ---- keys of our own ---- */

void tickets_rotate(tickets *t, int64_t now)
{
    ticket_key key;
    if (t->file != NULL || (t->count > 0 && now - t->made < TICKETS_ROTATE)) return;
    if (RAND_priv_bytes((unsigned char *)&key, sizeof(key)) != 1) return; /* the old one stays */
    (void)pthread_mutex_lock(&t->lock);
    if (t->count < TICKETS_OWN) t->count++;
    memmove(t->keys + 1, t->keys, (t->count - 1) * sizeof(key));
    t->keys[0] = key;
    t->made = now;
    (void)pthread_mutex_unlock(&t->lock);
    OPENSSL_cleanse(&key, sizeof(key));
}

bool tickets_init(tickets *t, const char *file, int64_t now, char *error, size_t error_size)
{
    memset(t, 0, sizeof(*t));
    t->file = file;
    (void)pthread_mutex_init(&t->lock, NULL);
    tickets_rotate(t, now);
    if (file != NULL ? tickets_reload(t, error, error_size) : t->count > 0) return true;
    if (file == NULL)
        (void)tls_complain(error, error_size, "cannot make ticket keys", NULL, tls_reason());
    (void)pthread_mutex_destroy(&t->lock);
    return false;
}

void tickets_deinit(tickets *t)
{
    if (t->count == 0) return;
    OPENSSL_cleanse(t->keys, sizeof(t->keys));
    t->count = 0;
    (void)pthread_mutex_destroy(&t->lock);
}

/* ---- sealing and opening ---- */

/* Copies the key of that name, or the one that seals when `name` is NULL; false: there is none. */
static bool find_key(tickets *t, const unsigned char *name, ticket_key *key, bool *first)
{
    size_t i;
    bool found = false;
    (void)pthread_mutex_lock(&t->lock);
    for (i = 0; i < t->count && !found; i++) {
        found = name == NULL || memcmp(t->keys[i].name, name, sizeof(t->keys[i].name)) == 0;
        if (found) *key = t->keys[i];
        if (found) *first = i == 0;
    }
    (void)pthread_mutex_unlock(&t->lock);
    return found;
}

static bool start_mac(EVP_MAC_CTX *mac, const ticket_key *key)
{
    static char digest[] = "SHA256";
    OSSL_PARAM params[2];
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[1] = OSSL_PARAM_construct_end();
    return EVP_MAC_init(mac, key->hmac, sizeof(key->hmac), params) == 1;
}

/* OpenSSL's question for a key. 1: here it is; 2: and the ticket is to be replaced; 0: no such key,
   so the handshake is a full one; -1: failed. */
static int use_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int seal)
{
    tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    ticket_key key;
    bool ok, first = true;
    if (!find_key(t, seal ? NULL : name, &key, &first)) return 0;
    if (seal) {
        memcpy(name, key.name, sizeof(key.name));
        ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
             EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;
    } else {
        ok = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;
    }
    ok = ok && start_mac(mac, &key);
    OPENSSL_cleanse(&key, sizeof(key));
    if (!ok) return -1;
    return first ? 1 : 2;
}

bool tickets_attach(tickets *t, SSL_CTX *context)
{
    return SSL_CTX_set_app_data(context, t) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, use_key) == 1;
}
