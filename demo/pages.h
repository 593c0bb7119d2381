/* pages.h - pages for errors, in place of the server's: read from files, replaced while it runs */
#ifndef DEMO_PAGES_H
#define DEMO_PAGES_H

#include <pthread.h>

#include "http.h"
#include "options.h"

enum { PAGES_MAX = 1 << 20 }; /* bytes of a page: it is kept in memory */

typedef struct page_set {  /* never changed, only replaced */
    size_t users;          /* who holds it; under the lock of pages */
    size_t version;
    size_t count;
    http_page at[OPTIONS_LIST];
} page_set;

typedef struct pages {
    const options *options;
    const mm_allocator *allocator; /* of the sets and what is in them; for any thread */
    int folder;            /* the one that is served; -1: there are no pages */
    size_t version;        /* of `current`, atomic: workers look whether theirs is that */
    pthread_mutex_t lock;  /* of what follows */
    page_set *current;     /* NULL: there are no pages */
} pages;

/* Reads the files that --error-page names; `options` and `allocator` are to outlive it. False with
   one line in `error` that names the option; pages_deinit in any case. */
bool pages_init(pages *p, const options *o, const mm_allocator *allocator, char *error,
                size_t error_size);

/* All who hold a set have dropped it. */
void pages_deinit(pages *p);

/* Reads the files again. When one is bad, all stays as it was; returns false with one line in
   `error`. Others may use what there was meanwhile. */
bool pages_reload(pages *p, char *error, size_t error_size);

/* Makes *held the set that is in use now. It was the one before, or NULL, and is the caller's until
   the next call; from one thread. */
void pages_renew(pages *p, page_set **held);

/* Gives it back. */
void pages_drop(pages *p, page_set **held);

/* Where the page that a value of --error-page names is: in `dir`, or anywhere else. */
void pages_path(const char *dir, const char *text, char *path, size_t size);

#endif
