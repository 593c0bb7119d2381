/* pages.c - pages for errors */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "values.h"

/* ---- reading ---- */

static bool read_all(int fd, char *bytes, size_t size)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, bytes + got, size - got);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = EIO; /* it has become shorter */
        if (n <= 0) return false;
        got += (size_t)n;
    }
    return true;
}

/* Reads a file of no more than PAGES_MAX bytes; false with errno. */
static bool read_page(const mm_allocator *allocator, int fd, http_page *page)
{
    struct stat st;
    char *bytes;
    size_t size;
    int error;
    if (fstat(fd, &st) != 0) return false;
    errno = S_ISDIR(st.st_mode) ? EISDIR : EFBIG;
    if (!S_ISREG(st.st_mode) || st.st_size > PAGES_MAX) return false;
    size = (size_t)st.st_size;
    bytes = allocator->alloc_fn(size + 1, allocator->user_data);
    errno = ENOMEM;
    if (bytes == NULL) return false;
    page->content = mm_slice_make(bytes, size);
    if (read_all(fd, bytes, size)) return true;
    error = errno;
    allocator->free_fn(bytes, size + 1, allocator->user_data);
    errno = error;
    return false;
}

/* A file in the folder that is served, or else any other. A pipe, which nobody may write to, is not
   waited for. */
static int open_page(int folder, const char *name)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    const char *inside = name + strspn(name, "/");
    int fd = openat(folder, *inside == '\0' ? "." : inside, flags);
    return fd >= 0 ? fd : open(name, flags);
}

static bool add_page(const pages *p, page_set *set, const char *text)
{
    http_page *page = &set->at[set->count];
    value_pair pair;
    bool good;
    int fd, error;
    if (!value_error_page(text, &pair)) return true; /* the parser has let none pass */
    fd = open_page(p->folder, pair.right.ptr);
    if (fd < 0) return false;
    good = read_page(p->allocator, fd, page);
    error = errno;
    close(fd);
    errno = error;
    page->status = (pair.left.ptr[0] - '0') * 100 + (pair.left.ptr[1] - '0') * 10 +
                   (pair.left.ptr[2] - '0');
    page->type = files_mime_type(pair.right);
    set->count += good;
    return good;
}

void pages_path(const char *dir, const char *text, char *path, size_t size)
{
    const char *name = strchr(text, '=') + 1;
    int n = snprintf(path, size, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= size || access(path, F_OK) != 0)
        (void)snprintf(path, size, "%s", name);
}

/* ---- sets ---- */

static void free_set(const pages *p, page_set *set)
{
    while (set->count > 0) {
        mm_slice content = set->at[--set->count].content;
        p->allocator->free_fn((void *)(uintptr_t)content.ptr, content.len + 1,
                              p->allocator->user_data);
    }
    p->allocator->free_fn(set, sizeof(*set), p->allocator->user_data);
}

static page_set *make_set(const pages *p, char *error, size_t error_size)
{
    const options_list *list = &p->options->error_page;
    page_set *set = p->allocator->alloc_fn(sizeof(*set), p->allocator->user_data);
    size_t i = 0;
    errno = ENOMEM;
    if (set != NULL) {
        memset(set, 0, sizeof(*set));
        set->users = 1;
        while (i < list->count && add_page(p, set, list->at[i])) i++;
        if (i == list->count) return set;
    }
    (void)snprintf(error, error_size, "--error-page %s: %s", list->at[i], strerror(errno));
    if (set != NULL) free_set(p, set);
    return NULL;
}

bool pages_reload(pages *p, char *error, size_t error_size)
{
    page_set *set, *old;
    if (p->options->error_page.count == 0) return true;
    set = make_set(p, error, error_size);
    if (set == NULL) return false;
    (void)pthread_mutex_lock(&p->lock);
    old = p->current;
    p->current = set;
    set->version = p->version + 1;
    mmi_atomic_store(&p->version, set->version);
    (void)pthread_mutex_unlock(&p->lock);
    pages_drop(p, &old);
    return true;
}

bool pages_init(pages *p, const options *o, const mm_allocator *allocator, char *error,
                size_t error_size)
{
    memset(p, 0, sizeof(*p));
    p->options = o;
    p->allocator = allocator;
    p->folder = -1;
    (void)pthread_mutex_init(&p->lock, NULL);
    if (o->error_page.count > 0) /* it can be reached so when its path no longer can: --chroot */
        p->folder = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return pages_reload(p, error, error_size);
}

void pages_deinit(pages *p)
{
    if (p->options == NULL) return;
    pages_drop(p, &p->current);
    if (p->folder >= 0) close(p->folder);
    (void)pthread_mutex_destroy(&p->lock);
    p->options = NULL;
}

/* ---- using ---- */

void pages_renew(pages *p, page_set **held)
{
    if (mmi_atomic_load(&p->version) == (*held == NULL ? 0 : (*held)->version)) return;
    pages_drop(p, held);
    (void)pthread_mutex_lock(&p->lock);
    *held = p->current;
    (*held)->users++;
    (void)pthread_mutex_unlock(&p->lock);
}

void pages_drop(pages *p, page_set **held)
{
    page_set *set = *held;
    bool last;
    *held = NULL;
    if (set == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    last = --set->users == 0;
    (void)pthread_mutex_unlock(&p->lock);
    if (last) free_set(p, set);
}
