/* listing.c - what is in a folder without an index, and in which order */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "accept.h"
#include "html.h"
#include "text.h"

/* Most memory for the names of one folder: some 500,000 of usual length. More is 503. */
#define LISTING_MEMORY_MAX ((size_t)64 * 1024 * 1024)

/* ---- what is in the folder ---- */

/* A symbolic link is what it leads to, if a request would get it: asks the cache, which knows what
   is beneath the root. That opens it, but links are few. */
static mm_status resolve_link(listing *l, mm_slice name, list_entry *entry, bool *served)
{
    mm_file *file;
    mm_status status;
    size_t at = l->path.len == 0 ? 0 : l->path.len + 1;
    char *path = mm_arena_alloc(&l->arena, at + name.len);
    if (path == NULL) return MM_STATUS_NO_MEMORY;
    if (at > 0) memcpy(path, l->path.ptr, l->path.len);
    if (at > 0) path[at - 1] = '/';
    memcpy(path + at, name.ptr, name.len);
    name = mm_slice_make(path, at + name.len);
    status = mm_filecache_open(l->site->cache, name, l->now_ms, &file);
    *served = status == MM_STATUS_OK;
    if (status == MM_STATUS_NO_MEMORY || status == MM_STATUS_NO_FILES) return status;
    if (!*served) return MM_STATUS_OK;
    entry->is_folder = file->is_directory;
    entry->size = file->size;
    entry->modified = file->mtime;
    mm_file_release(file);
    return MM_STATUS_OK;
}

/* Whether we may open a file or folder. What everybody may read need not be asked about; if a rule
   beyond the mode says otherwise, the name is listed and its link says 403. */
static bool is_readable(const listing *l, const char *name, const struct stat *st)
{
    mode_t everybody = S_IRUSR | S_IRGRP | S_IROTH;
    int wanted = R_OK;
    if (S_ISDIR(st->st_mode)) {
        everybody |= S_IXUSR | S_IXGRP | S_IXOTH;
        wanted |= X_OK;
    } else if (!S_ISREG(st->st_mode)) return false;
    if ((st->st_mode & everybody) == everybody) return true;
    return faccessat(l->fd, name, wanted, AT_EACCESS) == 0;
}

/* Finds out about an entry, and whether a request for it would be served. */
static mm_status inspect(listing *l, const char *name, list_entry *entry, bool *served)
{
    struct stat st;
    *served = false;
    if (fstatat(l->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return MM_STATUS_OK; /* gone by now */
    if (S_ISLNK(st.st_mode)) return resolve_link(l, mm_slice_from_string(name), entry, served);
    entry->is_folder = S_ISDIR(st.st_mode);
    entry->size = (int64_t)st.st_size;
    entry->modified = (int64_t)st.st_mtime;
    *served = is_readable(l, name, &st);
    return MM_STATUS_OK;
}

static mm_status add_entry(listing *l, const char *name)
{
    mm_slice text = mm_slice_from_string(name);
    list_entry found = {0}, *entry;
    bool served;
    mm_status status;
    if (!files_is_name_served(text)) return MM_STATUS_OK;
    status = inspect(l, name, &found, &served);
    if (status != MM_STATUS_OK || !served) return status;
    entry = mm_arena_alloc(&l->arena, sizeof(*entry) + text.len);
    if (entry == NULL) return MM_STATUS_NO_MEMORY;
    *entry = found;
    entry->name_len = text.len;
    memcpy(entry->name, text.ptr, text.len);
    entry->next = l->entries;
    l->entries = entry;
    return MM_STATUS_OK;
}

static mm_status open_status(int error)
{
    if (error == EMFILE || error == ENFILE) return MM_STATUS_NO_FILES;
    if (error == ENOMEM) return MM_STATUS_NO_MEMORY;
    if (error == ENOENT) return MM_STATUS_NOT_FOUND; /* removed in the meantime */
    return error == EACCES ? MM_STATUS_DENIED : MM_STATUS_IO;
}

static mm_status read_entries(listing *l, DIR *folder)
{
    mm_status status = MM_STATUS_OK;
    while (status == MM_STATUS_OK) {
        const struct dirent *e;
        errno = 0;
        e = readdir(folder);
        if (e == NULL) return errno == 0 ? MM_STATUS_OK : open_status(errno);
        status = add_entry(l, e->d_name);
    }
    return status;
}

/* Reads the folder through a descriptor of its own: the position of the cache's is shared. */
static mm_status read_folder(listing *l)
{
    mm_fd_budget *fds = l->site->cache->fds;
    mm_status status;
    DIR *folder = NULL;
    int fd;
    if (!mm_fd_budget_take(fds)) return MM_STATUS_NO_FILES;
    fd = openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) folder = fdopendir(fd);
    if (folder == NULL) {
        status = open_status(errno);
        if (fd >= 0) close(fd);
    } else {
        status = read_entries(l, folder);
        closedir(folder);
    }
    mm_fd_budget_give(fds);
    return status;
}

/* ---- order ---- */

/* Capitals and small letters alike, unless that is all that differs. */
static int compare_names(const list_entry *a, const list_entry *b)
{
    size_t i, least = a->name_len < b->name_len ? a->name_len : b->name_len;
    for (i = 0; i < least; i++) {
        unsigned char x = (unsigned char)text_lower(a->name[i]);
        unsigned char y = (unsigned char)text_lower(b->name[i]);
        if (x != y) return x - y;
    }
    if (a->name_len != b->name_len) return a->name_len < b->name_len ? -1 : 1;
    return memcmp(a->name, b->name, least);
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static bool comes_first(const list_entry *a, const list_entry *b, list_order order)
{
    int result = 0;
    if (a->is_folder != b->is_folder) return a->is_folder;
    if (order.key == LIST_SIZE && !a->is_folder) result = compare_numbers(a->size, b->size);
    if (order.key == LIST_TIME) result = compare_numbers(a->modified, b->modified);
    if (order.key == LIST_NAME) result = compare_names(a, b);
    if (order.descending) result = -result;
    return result != 0 ? result < 0 : compare_names(a, b) < 0;
}

static list_entry *merge(list_entry *a, list_entry *b, list_order order)
{
    list_entry *first = NULL, **end = &first;
    while (a != NULL && b != NULL) {
        list_entry **least = comes_first(b, a, order) ? &b : &a;
        *end = *least;
        *least = (*least)->next;
        end = &(*end)->next;
    }
    *end = a != NULL ? a : b;
    return first;
}

/* Merge sort of the list, in place: what waits at place n is sorted and has 2^n entries. */
static list_entry *sort_entries(list_entry *entries, list_order order)
{
    list_entry *waiting[sizeof(size_t) * 8] = {NULL}, *sorted = NULL;
    size_t i;
    while (entries != NULL) {
        list_entry *one = entries;
        entries = entries->next;
        one->next = NULL;
        for (i = 0; waiting[i] != NULL; i++) {
            one = merge(waiting[i], one, order);
            waiting[i] = NULL;
        }
        waiting[i] = one;
    }
    for (i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
        sorted = merge(waiting[i], sorted, order);
    return sorted;
}

/* ---- the whole ---- */

static void add_fields(http_response *response, bool json)
{
    if (json) {
        http_response_header(response, "Content-Type", "application/json");
        http_response_header(response, "X-Content-Type-Options", "nosniff");
    } else {
        html_add_headers(response);
    }
    http_response_header(response, "Cache-Control", "no-cache");
    http_response_header(response, "Vary", "Accept");
}

mm_status files_list(const files_call *call, int fd, mm_slice path)
{
    const http_request *request = call->request;
    http_response *response = call->response;
    listing l = {0};
    mm_arena_desc desc = {0};
    mm_status status;
    desc.limit = LISTING_MEMORY_MAX;
    desc.allocator = call->site->allocator;
    mm_arena_init(&l.arena, &desc);
    mm_buffer_init(&l.text, call->site->allocator);
    l.site = call->site;
    l.path = path;
    l.fd = fd;
    l.now_ms = call->now_ms;
    l.order = listing_order(request->query);
    l.json = accept_media_weight(request, "application", "json") >
             accept_media_weight(request, "text", "html");
    l.body = call->head ? NULL : response->body;
    status = read_folder(&l);
    l.entries = sort_entries(l.entries, l.order);
    if (status == MM_STATUS_OK) status = listing_write(&l);
    mm_buffer_deinit(&l.text);
    mm_arena_deinit(&l.arena);
    if (status != MM_STATUS_OK) return status;
    response->status = 200;
    response->costly = true;
    response->content_length = l.length;
    add_fields(response, l.json);
    return status;
}
