/* uploads.c - places for uploads, tokens, and what killed servers leave behind */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "uploads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"
#include "values.h"

enum { UPLOADS_DEPTH = 64 }; /* of folders that are swept: each takes a descriptor */

/* ---- tokens ---- */

static bool hash_token(mm_slice text, unsigned char to[UPLOADS_HASH])
{
    return EVP_Digest(text.ptr, text.len, to, NULL, EVP_sha256(), NULL) == 1;
}

/* What can stand behind "Bearer " (RFC 6750, 2.1), and is long enough. */
static bool is_upload_token(mm_slice text)
{
    size_t i;
    for (i = 0; i < text.len; i++)
        if (!text_is_letter(text.ptr[i]) && !text_is_digit(text.ptr[i]) &&
            !text_is_among(text.ptr[i], "-._~+/="))
            return false;
    return text.len >= UPLOADS_TOKEN_MIN && text.len <= UPLOADS_TOKEN_MAX;
}

/* Reads a token a line into `to`: how many, 0 when there is none or one is bad, with *why. */
static size_t read_tokens(FILE *in, unsigned char to[][UPLOADS_HASH], const char **why)
{
    char line[UPLOADS_TOKEN_MAX + 3];
    size_t count = 0;
    *why = "a token is a line of 16 to 512 letters, digits and -._~+/=";
    while (fgets(line, sizeof(line), in) != NULL) {
        mm_slice token = text_trim(mm_slice_from_string(line), " \t\r\n");
        bool good = token.len == 0 || is_upload_token(token);
        if (good && token.len > 0 && count == UPLOADS_TOKENS) *why = "more than 8 tokens";
        if (good && token.len > 0) good = count < UPLOADS_TOKENS && hash_token(token, to[count++]);
        if (!good) count = 0;
        if (!good) break;
    }
    OPENSSL_cleanse(line, sizeof(line));
    return ferror(in) ? 0 : count;
}

bool uploads_reload(uploads *u, char *error, size_t error_size)
{
    unsigned char tokens[UPLOADS_TOKENS][UPLOADS_HASH];
    const char *why = NULL;
    size_t count = 0;
    FILE *in;
    if (u->token_file == NULL) return true;
    in = fopen(u->token_file, "re");
    if (in == NULL) why = strerror(errno);
    else {
        (void)setvbuf(in, NULL, _IONBF, 0); /* or a copy would stay in memory that is freed */
        count = read_tokens(in, tokens, &why);
        (void)fclose(in);
    }
    if (count == 0) {
        (void)snprintf(error, error_size, "cannot use the tokens %s: %s", u->token_file, why);
        return false;
    }
    (void)pthread_mutex_lock(&u->lock);
    memcpy(u->tokens, tokens, sizeof(tokens));
    u->token_count = count;
    (void)pthread_mutex_unlock(&u->lock);
    return true;
}

bool uploads_exposed(const uploads *u)
{
    struct stat st;
    return u->token_file != NULL && stat(u->token_file, &st) == 0 &&
           (st.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

int uploads_check_token(uploads *u, const http_request *request)
{
    const http_header *field = http_request_field(request, HTTP_AUTHORIZATION);
    unsigned char digest[UPLOADS_HASH];
    mm_slice scheme, token;
    size_t i;
    int found = 0;
    if (u->token_file == NULL) return 200;
    if (field == NULL || http_request_next(request, field) != NULL) return 401;
    scheme = text_until(field->value, " ");
    token = text_trim(text_from(field->value, scheme.len), " ");
    if (!text_is_word(scheme, "Bearer") || token.len == 0) return 401;
    if (!hash_token(token, digest)) return 403;
    (void)pthread_mutex_lock(&u->lock);
    for (i = 0; i < u->token_count; i++)
        found |= CRYPTO_memcmp(u->tokens[i], digest, UPLOADS_HASH) == 0;
    (void)pthread_mutex_unlock(&u->lock);
    return found != 0 ? 200 : 403;
}

/* ---- places ---- */

bool uploads_init(uploads *u, const options *o, char *error, size_t error_size)
{
    value_pair pair;
    size_t i;
    memset(u, 0, sizeof(*u));
    (void)pthread_mutex_init(&u->commit, NULL);
    (void)pthread_mutex_init(&u->lock, NULL);
    u->fsync = o->upload_fsync;
    u->max = value_size(o->upload_max);
    u->limits.body = u->max;
    u->token_file = o->upload_token_file;
    for (i = 0; i < o->upload.count; i++) {
        upload_place *place = &u->places[u->count];
        if (!value_upload(o->upload.at[i], &pair)) continue; /* the parser has let none pass */
        place->prefix = text_trim(pair.left, "/");
        place->dir = pair.right.ptr;
        u->count++;
    }
    return uploads_reload(u, error, error_size);
}

void uploads_deinit(uploads *u)
{
    (void)pthread_mutex_destroy(&u->commit);
    (void)pthread_mutex_destroy(&u->lock);
    OPENSSL_cleanse(u->tokens, sizeof(u->tokens));
}

/* Whether a path is the prefix, or lies beneath it. */
static bool is_beneath(mm_slice path, mm_slice prefix)
{
    if (prefix.len == 0) return true;
    return mm_slice_starts_with(path, prefix) &&
           (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

size_t uploads_find(const uploads *u, mm_slice path, mm_slice *rest)
{
    size_t i, found = u->count;
    for (i = 0; i < u->count; i++)
        if (is_beneath(path, u->places[i].prefix) &&
            (found == u->count || u->places[i].prefix.len > u->places[found].prefix.len))
            found = i;
    if (found == u->count) return found;
    *rest = text_from(path, u->places[found].prefix.len);
    if (rest->len > 0 && rest->ptr[0] == '/') *rest = text_from(*rest, 1);
    return found;
}

/* ---- what is left behind ---- */

/* Removes a file in the making, unless the server that makes it runs. */
static void sweep_file(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) (void)unlinkat(folder, name, 0);
    close(fd);
}

/* Nobody can put anything into a hidden folder but this one. */
static bool is_swept(const char *name)
{
    return name[0] != '.' || strcmp(name, ".well-known") == 0;
}

/* Takes over the descriptor. */
static void sweep_folder(int fd, int depth)
{
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    if (folder == NULL) {
        if (fd >= 0) close(fd);
        return;
    }
    while ((entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (strncmp(name, UPLOADS_TEMP, strlen(UPLOADS_TEMP)) == 0) sweep_file(fd, name);
        else if (depth > 0 && is_swept(name) &&
                 (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN))
            sweep_folder(openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                         depth - 1);
    }
    closedir(folder);
}

void uploads_sweep(int folder)
{
    sweep_folder(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), UPLOADS_DEPTH);
}
