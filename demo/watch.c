/* watch.c - stamps of files, compared; a look a second costs less than being told by the system */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch.h"

#include <string.h>

static bool look(const char *path, watch_stamp *stamp)
{
    struct stat st;
    memset(stamp, 0, sizeof(*stamp)); /* its padding too: stamps are compared as bytes */
    if (stat(path, &st) != 0) return false;
    stamp->modified = st.st_mtim;
    stamp->changed = st.st_ctim;
    stamp->device = st.st_dev;
    stamp->inode = st.st_ino;
    stamp->size = st.st_size;
    return true;
}

static bool is_same(const watch_stamp *a, const watch_stamp *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

void watch_add(watch *w, const char *path)
{
    watched *f = &w->files[w->count];
    if (w->count == WATCH_FILES) return;
    (void)look(path, &f->loaded);
    f->path = path;
    f->seen = f->loaded;
    w->count++;
}

void watch_prune(watch *w)
{
    size_t i, kept = 0;
    watch_stamp now;
    for (i = 0; i < w->count; i++)
        if (look(w->files[i].path, &now)) w->files[kept++] = w->files[i];
    w->count = kept;
}

void watch_mark(watch *w)
{
    size_t i;
    for (i = 0; i < w->count; i++) {
        (void)look(w->files[i].path, &w->files[i].loaded);
        w->files[i].seen = w->files[i].loaded;
    }
}

bool watch_changed(watch *w)
{
    bool changed = false, settled = true;
    size_t i;
    for (i = 0; i < w->count; i++) {
        watched *f = &w->files[i];
        watch_stamp now;
        settled = look(f->path, &now) && settled; /* one that is missing will come back */
        settled = is_same(&now, &f->seen) && settled;
        changed = !is_same(&now, &f->loaded) || changed;
        f->seen = now;
    }
    return changed && settled;
}
