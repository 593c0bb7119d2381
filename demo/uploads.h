/* uploads.h - where clients may put files, and who may: what all workers share */
#ifndef DEMO_UPLOADS_H
#define DEMO_UPLOADS_H

#include <pthread.h>

#include "http.h"
#include "options.h"

enum {
    UPLOADS_TOKENS = 8,    /* most lines of --upload-token-file */
    UPLOADS_TOKEN_MIN = 16, /* characters of one: nobody guesses that many */
    UPLOADS_TOKEN_MAX = 512,
    UPLOADS_HASH = 32      /* bytes of SHA-256 */
};

#define UPLOADS_TEMP ".mm-upload-" /* names of files in the making begin so: hidden ones */

typedef struct upload_place { /* --upload /PREFIX=DIR */
    mm_slice prefix;       /* as a decoded path, without slashes around it; empty: all paths */
    const char *dir;
} upload_place;

typedef struct uploads {
    upload_place places[OPTIONS_LIST];
    size_t count;          /* 0: nobody may put anything anywhere */
    const char *token_file; /* NULL: everybody may */
    bool fsync;            /* a file is on the disk before its answer leaves */
    int64_t max;           /* bytes of a file */
    mm_chunked_limits limits; /* of a body in chunked coding */
    size_t commits;        /* files put so far; atomic */
    pthread_mutex_t commit; /* held from when conditions are checked until the file is there */
    pthread_mutex_t lock;  /* of what follows */
    unsigned char tokens[UPLOADS_TOKENS][UPLOADS_HASH]; /* SHA-256 of each */
    size_t token_count;
} uploads;

/* Reads the options and the file of tokens. False with one line in `error`; uploads_deinit in any
   case. */
bool uploads_init(uploads *u, const options *o, char *error, size_t error_size);
void uploads_deinit(uploads *u);

/* Reads the tokens again; when the file is bad, all stays as it was, and false is returned. */
bool uploads_reload(uploads *u, char *error, size_t error_size);

/* Whether others than its owner may read the file of tokens. */
bool uploads_exposed(const uploads *u);

/* Removes the files in the making that a killed server has left behind, from the open folder of a
   place and all beneath it. Those of a server that runs are locked, and stay. */
void uploads_sweep(int folder);

/* The place that a decoded path lies in, by the longest prefix, and *rest, the path within it; the
   number of places when it lies in none. */
size_t uploads_find(const uploads *u, mm_slice path, mm_slice *rest);

/* Whether a request shows a token: 200; 401: none at all; 403: none of ours. How long it takes
   tells nothing of the right ones. Without a file of tokens always 200. */
int uploads_check_token(uploads *u, const http_request *request);

#endif
