/* upload.c - one PUT: judged by its head, written beside its target, put in place at once */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "text.h"

enum {
    UPLOAD_BATCH = 65536,  /* bytes that are written at a time, and that wait in memory */
    UPLOAD_NAME = 255,     /* bytes of a file's name: NAME_MAX of nearly all file systems */
    UPLOAD_TEMP_SIZE = 32, /* bytes of the name of a file in the making */
    UPLOAD_TEMP_TRIES = 16 /* such names */
};

struct upload {
    worker *worker;
    http1_body framing;   /* of the request's body */
    mm_chunkqueue body;   /* received, and not yet written */
    mm_file *folder;      /* where the file is to be */
    int fd;               /* the file in the making */
    char temp[UPLOAD_TEMP_SIZE]; /* its name; empty: it has none */
    size_t place;         /* of the server's */
    mm_buffer path;       /* of the target, within the place */
    mm_buffer head;       /* of the request */
};

typedef struct target { /* what a request is about */
    size_t place;         /* of the server's */
    mm_slice path;        /* within it; a NUL follows */
    mm_file *folder;      /* where it is to be; NULL: none */
    mm_file *file;        /* what is there now; NULL: nothing */
} target;

/* ---- targets ---- */

static size_t name_at(mm_slice path)
{
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '/') at--;
    return at;
}

/* Decodes the path of the request: 0 when it lies in no place. */
static int find_place(worker *w, const http_request *request, target *t)
{
    mm_slice encoded = request->path;
    char *path;
    size_t length;
    bool folder;
    int decoded;
    if (encoded.len == 0 || encoded.ptr[0] != '/') return 0;
    path = mm_arena_alloc(&w->arena, encoded.len + 1);
    if (path == NULL) return 503;
    decoded = files_decode_path(encoded, path, &length, &folder);
    if (decoded == 400) return 400;
    path[length] = '\0';
    t->place = uploads_find(&w->server->uploads, mm_slice_make(path, length), &t->path);
    if (t->place == w->server->uploads.count) return 0;
    if (decoded != 200) return 403; /* a hidden name */
    if (folder || t->path.len == 0) return 409;
    return t->path.len - name_at(t->path) > UPLOAD_NAME ? 414 : 200;
}

/* What opening a folder, or making a file in one, has failed with. */
static int refusal(mm_status status)
{
    switch (status) {
    case MM_STATUS_OK: return 200;
    case MM_STATUS_NOT_FOUND: return 409;
    case MM_STATUS_INVALID: return 414;
    case MM_STATUS_DENIED: return 403;
    case MM_STATUS_NO_SPACE: return 507;
    case MM_STATUS_NO_MEMORY:
    case MM_STATUS_LIMIT:
    case MM_STATUS_AGAIN:
    case MM_STATUS_NO_FILES: return 503;
    default: return 500;
    }
}

static void release(target *t)
{
    if (t->folder != NULL) mm_file_release(t->folder);
    if (t->file != NULL) mm_file_release(t->file);
    t->folder = t->file = NULL;
}

/* Opens the folder that the target is to be in, and what is there, by the rules of the cache: links
   and dots lead nowhere else. */
static int open_target(worker *w, target *t)
{
    mm_filecache *cache = &w->places[t->place];
    size_t at = name_at(t->path);
    mm_status status = mm_filecache_open(cache, mm_slice_make(t->path.ptr, at == 0 ? 0 : at - 1),
                                         w->now_ms, &t->folder);
    if (status != MM_STATUS_OK) return refusal(status);
    if (!t->folder->is_directory) return 409;
    status = mm_filecache_open(cache, t->path, w->now_ms, &t->file);
    if (status == MM_STATUS_NOT_FOUND) return 200;
    if (status != MM_STATUS_OK) return refusal(status);
    return t->file->is_directory ? 409 : 200;
}

/* ---- the head ---- */

/* RFC 9110, 13.1, for a method that changes what it is about: it needs no 304. */
static int check_conditions(const http_request *request, const mm_file *file)
{
    int status;
    if (file == NULL) return http_request_field(request, HTTP_IF_MATCH) == NULL ? 200 : 412;
    status = files_check_conditions(request, mm_slice_from_string(file->etag), file->mtime);
    if (status == 304 && http_request_field(request, HTTP_IF_NONE_MATCH) != NULL) return 412;
    return status == 412 ? 412 : 200; /* If-Modified-Since is for GET only */
}

/* Fields that say that the body is not what the file is to be: 9.3.4 and 14.5, 8.4. */
static int check_fields(const http_request *request)
{
    const http_header *coding = http_request_header(request, "Content-Encoding");
    if (http_request_header(request, "Content-Range") != NULL) return 400;
    if (coding != NULL && !text_is_word(coding->value, "identity")) return 415;
    return 200;
}

static int check_length(const worker *w, const http_request *request, const mm_file *folder)
{
    struct statvfs disk;
    if (!request->chunked && request->content_length < 0) return 411;
    if (request->content_length > w->server->uploads.max) return 413;
    if (request->content_length > 0 && fstatvfs(folder->fd, &disk) == 0 && disk.f_frsize > 0 &&
        (uint64_t)request->content_length / disk.f_frsize > disk.f_bavail)
        return 507;
    return 200;
}

/* Who may is asked first: others learn nothing of what is there. */
static int check_sender(worker *w, const http_request *request, http_response *response)
{
    files_call call = {&w->site, request, response, w->now_ms, false, false};
    if (w->server->uploads.token_file == NULL) return files_check_password(&call);
    return uploads_check_token(&w->server->uploads, request);
}

static int judge(worker *w, const http_request *request, http_response *response, target *t)
{
    int status = find_place(w, request, t), sender;
    if (status == 0) return 0;
    sender = check_sender(w, request, response);
    if (sender != 200) return sender;
    if (status == 200) status = check_fields(request);
    if (status == 200) status = open_target(w, t);
    if (status == 200) status = check_conditions(request, t->file);
    if (status == 200) status = check_length(w, request, t->folder);
    return status;
}

int upload_judge(worker *w, const http_request *request, http_response *response)
{
    target t = {0, {NULL, 0}, NULL, NULL};
    int status;
    if (request->method != HTTP_PUT || w->server->uploads.count == 0) return 0;
    status = judge(w, request, response, &t);
    release(&t);
    return status;
}

void upload_refuse(const worker *w, int status, http_response *response)
{
    bool token = w->server->uploads.token_file != NULL;
    if (status == 401 && token) response->explanation = "A token is needed to put files here.";
    if (status == 403) response->explanation = "This may not be written, or not with this token.";
    http_response_error(response, status, false);
    if (status == 401)
        http_response_header(response, "WWW-Authenticate",
                             token ? "Bearer realm=\"mmserve\"" : files_challenge);
}

/* ---- the file in the making ---- */

/* A name for it, which hides it. */
static void make_name(const upload *u, char to[UPLOAD_TEMP_SIZE])
{
    (void)snprintf(to, UPLOAD_TEMP_SIZE, UPLOADS_TEMP "%016llx",
                   (unsigned long long)files_random(&u->worker->site));
}

/* For file systems that have no files without a name, NFS and FAT above all. */
static int open_named(upload *u)
{
    int fd = -1, tries;
    for (tries = 0; tries < UPLOAD_TEMP_TRIES && fd < 0; tries++) {
        make_name(u, u->temp);
        fd = openat(u->folder->fd, u->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) u->temp[0] = '\0';
    else (void)flock(fd, LOCK_EX | LOCK_NB); /* so that no other server sweeps it away */
    return fd;
}

static int open_temp(upload *u)
{
    int fd = -1;
#ifdef O_TMPFILE
    do fd = openat(u->folder->fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
#endif
    return open_named(u);
}

static upload *make(worker *w, const http_request *request, const target *t, mm_slice head)
{
    const mm_allocator *allocator = memory_part_allocator(&w->accounts, MEMORY_UPLOADS);
    upload *u = mmi_alloc(allocator, sizeof(*u));
    if (u == NULL) return NULL;
    memset(u, 0, sizeof(*u));
    u->worker = w;
    u->fd = -1;
    u->place = t->place;
    mm_chunkqueue_init(&u->body, &w->chunks);
    mm_buffer_init(&u->path, allocator);
    mm_buffer_init(&u->head, allocator);
    mm_buffer_append_slice(&u->path, t->path);
    mm_buffer_append_slice(&u->head, head);
    if (mm_buffer_status(&u->path) == MM_STATUS_OK && mm_buffer_status(&u->head) == MM_STATUS_OK &&
        http1_body_start(&u->framing, request, &w->server->uploads.limits) != 413) {
        u->folder = t->folder;
        mm_file_retain(u->folder);
        return u;
    }
    upload_free(u);
    return NULL;
}

/* A descriptor for the file in the making; those that the cache keeps for nobody are given up. */
static bool take_file(worker *w)
{
    if (mm_fd_budget_take_for(&w->server->fds, MM_FD_TEMP)) return true;
    mm_filecache_trim(&w->cache, w->cache.stats.entries / 2);
    return mm_fd_budget_take_for(&w->server->fds, MM_FD_TEMP);
}

upload *upload_begin(worker *w, const http_request *request, mm_slice head, int *status)
{
    target t = {0, {NULL, 0}, NULL, NULL};
    upload *u = NULL;
    *status = find_place(w, request, &t);
    if (*status == 200) *status = open_target(w, &t);
    if (*status == 200) {
        u = make(w, request, &t, head);
        if (u == NULL) *status = 503;
    }
    if (u != NULL && take_file(w)) {
        u->fd = open_temp(u);
        if (u->fd < 0) *status = refusal(mm_status_from_errno(errno));
        if (u->fd < 0) mm_fd_budget_give_for(&w->server->fds, MM_FD_TEMP);
    } else if (u != NULL) *status = 503;
    release(&t);
    if (*status == 200) return u;
    upload_free(u);
    return NULL;
}

void upload_free(upload *u)
{
    worker *w;
    if (u == NULL) return;
    w = u->worker;
    if (u->temp[0] != '\0') (void)unlinkat(u->folder->fd, u->temp, 0);
    if (u->fd >= 0) {
        close(u->fd);
        mm_fd_budget_give_for(&w->server->fds, MM_FD_TEMP);
    }
    if (u->folder != NULL) mm_file_release(u->folder);
    mm_chunkqueue_deinit(&u->body);
    mm_buffer_deinit(&u->path);
    mm_buffer_deinit(&u->head);
    mmi_free(memory_part_allocator(&w->accounts, MEMORY_UPLOADS), u, sizeof(*u));
}

/* ---- the body ---- */

int upload_feed(upload *u, mm_chunkqueue *in, bool *written)
{
    int status = http1_body_take(&u->framing, in, &u->body, UPLOAD_BATCH);
    int64_t length = mm_chunkqueue_length(&u->body), done;
    *written = false;
    if (status != 0 && status != 200) return status;
    if (length == 0 || (status == 0 && length < UPLOAD_BATCH)) return status;
    *written = true;
    switch (mm_io_write(&u->body, u->fd, INT64_MAX, &done)) {
    case MM_STATUS_OK: return status;
    case MM_STATUS_NO_SPACE: return 507;
    default: return 500;
    }
}

void upload_recall(const upload *u, http_request *request)
{
    size_t scanned = 0, size;
    (void)http1_parse_head(request, mm_buffer_string(&u->head), mm_buffer_length(&u->head),
                           &scanned, &size);
}

/* ---- the end ---- */

/* Gives the file in the making a name in its folder, if nothing has it. */
static bool link_as(upload *u, const char *name)
{
    int folder = u->folder->fd;
    char path[40];
    if (u->temp[0] != '\0') {
        if (linkat(folder, u->temp, folder, name, 0) != 0) return false;
        (void)unlinkat(folder, u->temp, 0);
        u->temp[0] = '\0';
        return true;
    }
#ifdef AT_EMPTY_PATH /* root may, and from Linux 6.10 on whoever has opened it */
    if (linkat(u->fd, "", folder, name, AT_EMPTY_PATH) == 0) return true;
    if (errno == EEXIST) return false;
#endif
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", u->fd);
    return linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW) == 0;
}

/* Puts the file in the place of whatever is there, in one step. */
static bool replace(upload *u, const char *name)
{
    char temp[UPLOAD_TEMP_SIZE];
    int tries;
    for (tries = 0; u->temp[0] == '\0' && tries < UPLOAD_TEMP_TRIES; tries++) {
        make_name(u, temp);
        if (link_as(u, temp)) memcpy(u->temp, temp, sizeof(temp));
        else if (errno != EEXIST) return false;
    }
    if (renameat(u->folder->fd, u->temp, u->folder->fd, name) != 0) return false;
    u->temp[0] = '\0';
    return true;
}

/* 201, 204, or what has gone wrong. What has been checked stays so: other uploads wait, and what
   others do to the folder meanwhile cannot make a file vanish that was to be there. */
static int put_in_place(upload *u, const http_request *request, const target *t)
{
    const char *name = t->path.ptr + name_at(t->path);
    bool exclusive = http_request_field(request, HTTP_IF_NONE_MATCH) != NULL;
    struct stat st;
    if (t->file == NULL) {
        if (link_as(u, name)) return 201;
        if (errno == EEXIST && exclusive) return 412;
        if (errno != EEXIST && (errno != EPERM || u->temp[0] == '\0'))
            return refusal(mm_status_from_errno(errno));
    } else if (fstat(t->file->fd, &st) == 0) { /* who could not read the old one cannot read this */
        (void)fchmod(u->fd, st.st_mode & 0777);
    }
    if (replace(u, name)) return t->file == NULL ? 201 : 204;
    return errno == EISDIR || errno == ENOTEMPTY ? 409 : refusal(mm_status_from_errno(errno));
}

/* Opens the target anew, in the folder that the upload began in, and checks what it is now. */
static int commit(upload *u, const http_request *request, target *t)
{
    worker *w = u->worker;
    int status = open_target(w, t);
    if (status == 200 && (t->folder->ino != u->folder->ino || t->folder->dev != u->folder->dev))
        status = 409;
    if (status == 200) status = check_conditions(request, t->file);
    if (status == 200) status = put_in_place(u, request, t);
    if (status != 201 && status != 204) return status;
    mmi_atomic_add(&w->server->uploads.commits, 1);
    if (w->server->uploads.fsync && fsync(u->folder->fd) != 0) return 500;
    return status;
}

/* The file's validators, as a GET of it would have them; none when it has been replaced already:
   with those of the other one, the client would take that for its own (RFC 9110, 9.3.4). */
static void add_etag(const upload *u, target *t, http_response *response)
{
    char *etag = NULL;
    struct stat st;
    release(t);
    if (open_target(u->worker, t) == 200 && t->file != NULL && fstat(u->fd, &st) == 0 &&
        (uint64_t)st.st_ino == t->file->ino && (uint64_t)st.st_dev == t->file->dev)
        etag = mm_arena_strdup(response->arena, t->file->etag);
    if (etag != NULL) http_response_header(response, "ETag", etag);
}

void upload_finish(upload *u, const http_request *request, http_response *response)
{
    worker *w = u->worker;
    uploads *all = &w->server->uploads;
    target t = {u->place, {NULL, 0}, NULL, NULL};
    int status = 200;
    t.path = mm_slice_make(mm_buffer_string(&u->path), mm_buffer_length(&u->path));
    if (all->fsync && fsync(u->fd) != 0) status = refusal(mm_status_from_errno(errno));
    if (status == 200) {
        (void)pthread_mutex_lock(&all->commit);
        status = commit(u, request, &t);
        (void)pthread_mutex_unlock(&all->commit);
    }
    response->status = status;
    if (status == 201 || status == 204) {
        response->content_length = 0;
        add_etag(u, &t, response);
    } else {
        upload_refuse(w, status, response);
    }
    release(&t);
}
