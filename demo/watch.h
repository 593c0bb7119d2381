/* watch.h - files that are looked at now and then, to be read again when they have changed */
#ifndef DEMO_WATCH_H
#define DEMO_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "options.h"

enum { WATCH_FILES = 2 * OPTIONS_LIST + 2 }; /* certificates, their keys, keys of tickets, tokens */

typedef struct watch_stamp { /* of a file's content; all zero: it is not there */
    struct timespec modified, changed;
    dev_t device;
    ino_t inode;
    off_t size;
} watch_stamp;

typedef struct watched {
    const char *path;
    watch_stamp loaded; /* what was read */
    watch_stamp seen;   /* when last looked at */
} watched;

typedef struct watch {
    watched files[WATCH_FILES];
    size_t count;
} watch;

/* Adds a file, which is about to be read. */
void watch_add(watch *w, const char *path);

/* Leaves out those that are not there: behind --chroot they never will be. */
void watch_prune(watch *w);

/* What is there now is about to be read. */
void watch_mark(watch *w);

/* Whether a file has changed since watch_mark, and none since the last look: certificate and key
   are two files, and one that is being written may be half there. */
bool watch_changed(watch *w);

#endif
