/* listing.c - the page that stands for a folder without an index */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "html.h"
#include "text.h"

/* Most memory for the names of one folder: some 500,000 of usual length. More is 503. */
#define LISTING_MEMORY_MAX ((size_t)64 * 1024 * 1024)

typedef struct list_entry {
    struct list_entry *next;
    int64_t size;           /* in bytes; of a file */
    int64_t modified;       /* seconds since 1970 */
    bool is_folder;
    size_t name_len;
    char name[];            /* no NUL */
} list_entry;

typedef struct listing {    /* a listing in the making */
    files_site *site;
    mm_slice path;          /* of the folder, decoded */
    int fd;                 /* the folder */
    int64_t now_ms;
    mm_arena arena;         /* entries, and what is below */
    list_entry *entries;
    mm_buffer text;         /* of the page, a row at a time */
    mm_chunkqueue *body;    /* where it goes; NULL: it is only measured */
    int64_t length;         /* bytes of the page so far */
} listing;

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

/* ---- order: folders first, then by name, capitals and small letters alike ---- */

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

static bool comes_first(const list_entry *a, const list_entry *b)
{
    if (a->is_folder != b->is_folder) return a->is_folder;
    return compare_names(a, b) < 0;
}

static list_entry *merge(list_entry *a, list_entry *b)
{
    list_entry *first = NULL, **end = &first;
    while (a != NULL && b != NULL) {
        list_entry **least = comes_first(b, a) ? &b : &a;
        *end = *least;
        *least = (*least)->next;
        end = &(*end)->next;
    }
    *end = a != NULL ? a : b;
    return first;
}

/* Merge sort of the list, in place: what waits at place n is sorted and has 2^n entries. */
static list_entry *sort_entries(list_entry *entries)
{
    list_entry *waiting[sizeof(size_t) * 8] = {NULL}, *sorted = NULL;
    size_t i;
    while (entries != NULL) {
        list_entry *one = entries;
        entries = entries->next;
        one->next = NULL;
        for (i = 0; waiting[i] != NULL; i++) {
            one = merge(waiting[i], one);
            waiting[i] = NULL;
        }
        waiting[i] = one;
    }
    for (i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) sorted = merge(waiting[i], sorted);
    return sorted;
}

/* ---- the page ---- */

/* Moves the text that has been made to the body, or counts it. */
static mm_status flush_text(listing *l)
{
    mm_status status = mm_buffer_status(&l->text);
    if (status != MM_STATUS_OK) return status;
    l->length += (int64_t)mm_buffer_length(&l->text);
    if (l->body != NULL)
        status = mm_chunkqueue_append_mem(l->body, mm_buffer_string(&l->text),
                                          mm_buffer_length(&l->text));
    mm_buffer_clear(&l->text);
    return status;
}

static void append_size(mm_buffer *text, int64_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int64_t rest = 0;
    size_t unit;
    for (unit = 0; size >= 1024; unit++) { /* six times at most: 2^63 is 8 EiB */
        rest = size % 1024;
        size /= 1024;
    }
    mm_buffer_append_int(text, size);
    if (unit > 0 && size < 10) mm_buffer_append_format(text, ".%d", (int)(rest * 10 / 1024));
    mm_buffer_append_format(text, " %s", units[unit]);
}

static void append_time(mm_buffer *text, int64_t seconds)
{
    http_date d;
    http_date_split(seconds, &d);
    mm_buffer_append_format(text, "%04d-%02d-%02d %02d:%02d", d.year, d.month + 1, d.day, d.hour,
                            d.minute);
}

/* "./" in front, or a name with a colon would be taken for a scheme. */
static void append_row(mm_buffer *text, const list_entry *entry)
{
    mm_slice name = mm_slice_make(entry->name, entry->name_len);
    const char *slash = entry->is_folder ? "/" : "";
    mm_buffer_append_string(text, "<tr><td><a href=\"./");
    mm_buffer_append_url_path(text, name);
    mm_buffer_append_format(text, "%s\">", slash);
    mm_buffer_append_html_escaped(text, name);
    mm_buffer_append_format(text, "%s</a><td>", slash);
    if (!entry->is_folder) append_size(text, entry->size);
    mm_buffer_append_string(text, "<td>");
    append_time(text, entry->modified);
    mm_buffer_append_char(text, '\n');
}

static void append_head(listing *l)
{
    mm_buffer title;
    mm_buffer_init(&title, mm_arena_allocator(&l->arena));
    mm_buffer_append_string(&title, "Index of /");
    mm_buffer_append_slice(&title, l->path);
    if (l->path.len > 0) mm_buffer_append_char(&title, '/');
    html_append_begin(&l->text, mm_buffer_slice(&title));
    mm_buffer_append_string(&l->text, "<h1>");
    mm_buffer_append_html_escaped(&l->text, mm_buffer_slice(&title));
    mm_buffer_append_string(&l->text, "</h1>\n<table>\n<tr><th>Name<th>Size<th>Modified (UTC)\n");
    if (l->path.len > 0)
        mm_buffer_append_string(&l->text, "<tr><td><a href=\"../\">../</a><td><td>\n");
    if (mm_buffer_status(&title) != MM_STATUS_OK) l->text.status = mm_buffer_status(&title);
}

static mm_status make_page(listing *l)
{
    const list_entry *entry;
    mm_status status;
    append_head(l);
    status = flush_text(l);
    for (entry = l->entries; entry != NULL && status == MM_STATUS_OK; entry = entry->next) {
        append_row(&l->text, entry);
        status = flush_text(l);
    }
    if (status != MM_STATUS_OK) return status;
    mm_buffer_append_string(&l->text, "</table>\n");
    html_append_end(&l->text);
    return flush_text(l);
}

mm_status files_list(files_site *site, int fd, mm_slice path, http_response *response, bool head,
                     int64_t now_ms)
{
    listing l = {0};
    mm_arena_desc desc = {0};
    mm_status status;
    desc.limit = LISTING_MEMORY_MAX;
    desc.allocator = site->allocator;
    mm_arena_init(&l.arena, &desc);
    mm_buffer_init(&l.text, site->allocator);
    l.site = site;
    l.path = path;
    l.fd = fd;
    l.now_ms = now_ms;
    l.body = head ? NULL : response->body;
    status = read_folder(&l);
    l.entries = sort_entries(l.entries);
    if (status == MM_STATUS_OK) status = make_page(&l);
    mm_buffer_deinit(&l.text);
    mm_arena_deinit(&l.arena);
    if (status != MM_STATUS_OK) return status;
    response->status = 200;
    response->costly = true;
    response->content_length = l.length;
    html_add_headers(response);
    http_response_header(response, "Cache-Control", "no-cache");
    return status;
}
