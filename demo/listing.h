/* listing.h - a listing in the making: read and sorted by listing.c, written by listing_page.c */
#ifndef DEMO_LISTING_H
#define DEMO_LISTING_H

#include "files.h"

typedef struct list_entry {
    struct list_entry *next;
    int64_t size;           /* in bytes; of a file */
    int64_t modified;       /* seconds since 1970 */
    bool is_folder;
    size_t name_len;
    char name[];            /* no NUL */
} list_entry;

typedef enum list_key { LIST_NAME, LIST_SIZE, LIST_TIME, LIST_KEYS } list_key;

typedef struct list_order { /* folders come first in any order; names decide between equals */
    list_key key;
    bool descending;
} list_order;

typedef struct listing {    /* a listing in the making */
    files_site *site;
    mm_slice path;          /* of the folder, decoded */
    int fd;                 /* the folder */
    int64_t now_ms;
    list_order order;       /* that the query asks for */
    bool json;              /* and the form that Accept does */
    mm_arena arena;         /* entries, and what is below */
    list_entry *entries;
    mm_buffer text;         /* of the page or JSON, a row at a time */
    mm_chunkqueue *body;    /* where it goes; NULL: it is only measured */
    int64_t length;         /* bytes of the page so far */
} listing;

/* Which order a query asks for, such as "sort=size&order=desc"; by name when it does not. */
list_order listing_order(mm_slice query);

/* Writes the entries as a page or as JSON, to `body` if there is one, and counts the bytes. */
mm_status listing_write(listing *l);

#endif
