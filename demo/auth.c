/* auth.c - names and passwords, checked without telling a guesser anything */
#include "auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "text.h"

enum {
    AUTH_CREDENTIALS = 1024, /* bytes of a name and a password together */
    AUTH_ITERATIONS_MIN = 1000,
    AUTH_ITERATIONS_MAX = 5000000,
    AUTH_PER_SECOND = 1000000 /* iterations that wrong passwords may cost a worker: 0.2 s of OpenSSL
                                 3.0 with SHA instructions, so that the rest is for the others */
};

/* ---- how they are written ---- */

/* Hexadecimal digits, perhaps with colons between the bytes: how many bytes, 0 when it is no such
   text or more than `most`. */
static size_t parse_hex(mm_slice text, unsigned char *to, size_t most)
{
    size_t at = 0, size = 0;
    while (at < text.len) {
        int high = text_hex_value(text.ptr[at]);
        int low = at + 1 < text.len ? text_hex_value(text.ptr[at + 1]) : -1;
        if (high < 0 || low < 0 || size == most) return 0;
        to[size++] = (unsigned char)(high * 16 + low);
        at += 2;
        if (at + 1 < text.len && text.ptr[at] == ':') at++;
    }
    return size;
}

static mm_slice take_to_colon(mm_slice *text)
{
    mm_slice part = text_until(*text, ":");
    *text = text_from(*text, part.len < text->len ? part.len + 1 : part.len);
    return part;
}

static int parse_iterations(mm_slice text)
{
    int value = 0;
    size_t i;
    for (i = 0; i < text.len && value <= AUTH_ITERATIONS_MAX; i++) {
        if (!text_is_digit(text.ptr[i])) return 0;
        value = value * 10 + (text.ptr[i] - '0');
    }
    return value >= AUTH_ITERATIONS_MIN && value <= AUTH_ITERATIONS_MAX ? value : 0;
}

static bool hash(const void *bytes, size_t size, unsigned char to[AUTH_HASH])
{
    return EVP_Digest(bytes, size, to, NULL, EVP_sha256(), NULL) == 1;
}

bool auth_parse(const char *text, auth_user *user)
{
    mm_slice rest = mm_slice_from_string(text), name = take_to_colon(&rest), first;
    memset(user, 0, sizeof(*user));
    if (name.len == 0 || !hash(name.ptr, name.len, user->name)) return false;
    first = text_until(rest, ":");
    if (text_is_word(first, "pbkdf2")) {
        (void)take_to_colon(&rest);
        user->iterations = parse_iterations(take_to_colon(&rest));
        user->salt_size = parse_hex(take_to_colon(&rest), user->salt, sizeof(user->salt));
        if (user->iterations == 0 || user->salt_size < 8) return false;
    }
    return parse_hex(rest, user->password, AUTH_HASH) == AUTH_HASH;
}

void auth_users_init(auth_users *users, const options *o)
{
    size_t i;
    memset(users, 0, sizeof(*users));
    for (i = 0; i < o->auth.count; i++)
        if (auth_parse(o->auth.at[i], &users->user[users->count])) users->count++;
}

bool auth_guard_init(auth_guard *guard, const auth_users *users)
{
    memset(guard, 0, sizeof(*guard));
    guard->users = users;
    return RAND_bytes(guard->secret, sizeof(guard->secret)) == 1;
}

/* ---- what was sent ---- */

/* What is remembered of credentials; of no use to who can read the worker's memory but for that. */
static bool hash_known(const auth_guard *guard, mm_slice credentials, unsigned char to[AUTH_HASH])
{
    unsigned char bytes[AUTH_HASH + AUTH_CREDENTIALS];
    bool good = credentials.len <= AUTH_CREDENTIALS;
    if (!good) return false;
    memcpy(bytes, guard->secret, AUTH_HASH);
    memcpy(bytes + AUTH_HASH, credentials.ptr, credentials.len);
    good = hash(bytes, AUTH_HASH + credentials.len, to);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return good;
}

static bool is_known(const auth_guard *guard, const unsigned char digest[AUTH_HASH])
{
    size_t i;
    int found = 0;
    for (i = 0; i < guard->users->count; i++)
        found |= guard->is_known[i] & (CRYPTO_memcmp(guard->known[i], digest, AUTH_HASH) == 0);
    return found != 0;
}

/* The user of that name; the number of users when there is none. All are compared. */
static size_t find_user(const auth_users *users, mm_slice name)
{
    unsigned char digest[AUTH_HASH];
    size_t i, found = users->count;
    if (!hash(name.ptr, name.len, digest)) return found;
    for (i = 0; i < users->count; i++)
        if (CRYPTO_memcmp(users->user[i].name, digest, AUTH_HASH) == 0) found = i;
    return found;
}

static bool is_password(const auth_user *user, mm_slice password)
{
    unsigned char digest[AUTH_HASH];
    bool made;
    if (user->iterations == 0) made = hash(password.ptr, password.len, digest);
    else
        made = PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, user->salt, (int)user->salt_size,
                                 user->iterations, EVP_sha256(), AUTH_HASH, digest) == 1;
    return made && CRYPTO_memcmp(digest, user->password, AUTH_HASH) == 0;
}

/* Whether there is time to check a password; one a second at least. */
static bool may_check(auth_guard *guard, int64_t now_ms)
{
    if (now_ms - guard->since >= 1000 || guard->spent == 0) {
        guard->since = now_ms;
        guard->spent = 0;
    }
    return guard->spent < AUTH_PER_SECOND;
}

/* "name:password". That nobody has the name takes as long as that the password is wrong. */
static int check_password(auth_guard *guard, mm_slice pair, const unsigned char digest[AUTH_HASH],
                          int64_t now_ms, bool *slow)
{
    mm_slice password = pair, name = take_to_colon(&password);
    size_t index = find_user(guard->users, name);
    bool exists = index < guard->users->count;
    const auth_user *user = &guard->users->user[exists ? index : 0];
    bool good;
    if (name.len == pair.len) return 401;
    if (user->iterations > 0 && !may_check(guard, now_ms)) return 429;
    *slow = user->iterations > 0;
    good = is_password(user, password) && exists;
    if (!good) {
        guard->spent += user->iterations;
        return 401;
    }
    memcpy(guard->known[index], digest, AUTH_HASH);
    guard->is_known[index] = true;
    return 200;
}

int auth_check(auth_guard *guard, const http_request *request, mm_arena *arena, int64_t now_ms,
               bool *slow)
{
    const http_header *field = http_request_field(request, HTTP_AUTHORIZATION);
    unsigned char digest[AUTH_HASH];
    mm_slice scheme, credentials;
    mm_buffer pair;
    int status = 401;
    *slow = false;
    if (field == NULL || http_request_next(request, field) != NULL) return 401;
    scheme = text_until(field->value, " ");
    credentials = text_trim(text_from(field->value, scheme.len), " ");
    if (!text_is_word(scheme, "Basic") || !hash_known(guard, credentials, digest)) return 401;
    if (is_known(guard, digest)) return 200;
    mm_buffer_init(&pair, mm_arena_allocator(arena));
    if (mm_buffer_append_base64_decoded(&pair, credentials, MM_BASE64_STANDARD) == MM_STATUS_OK)
        status = check_password(guard, mm_buffer_slice(&pair), digest, now_ms, slow);
    if (mm_buffer_length(&pair) > 0) OPENSSL_cleanse(pair.ptr, mm_buffer_length(&pair));
    mm_buffer_deinit(&pair);
    return status;
}
