/* files.c - the answer to a request for a path */
#include "files.h"

#include <errno.h>

#include "text.h"

static const char files_index[] = "index.html";
static const char files_methods[] = "GET, HEAD, OPTIONS";
static const char files_methods_put[] = "GET, HEAD, OPTIONS, PUT";
const char files_challenge[] = "Basic realm=\"mmserve\", charset=\"UTF-8\"";

enum {
    FILES_VALID_MS = 1000, /* that a path is believed; the cache's default */
    FILES_FRESH_MS = 2 * FILES_VALID_MS
};

/* ---- errors ---- */

void files_answer_error(const files_call *call, int status)
{
    http_response_error(call->response, status, call->head);
}

/* What the client is told when a file or the memory for it cannot be had. */
static int http_status_of(mm_status status)
{
    switch (status) {
    case MM_STATUS_OK: return 200;
    case MM_STATUS_NOT_FOUND: return 404;
    case MM_STATUS_DENIED: return 403;
    case MM_STATUS_INVALID: return 404; /* longer than any path */
    case MM_STATUS_NO_MEMORY:
    case MM_STATUS_LIMIT:
    case MM_STATUS_AGAIN: /* its writer holds it by a lease */
    case MM_STATUS_NO_FILES: return 503;
    default: return errno == ENAMETOOLONG ? 404 : 500;
    }
}

/* ---- folders ---- */

/* To the same path with a slash, so that relative links in the folder's page are right. The path is
   encoded anew from what has been decoded, where no segment is empty: it can never begin with two
   slashes, which would name another host. Its memory is the arena's. */
static void answer_redirect(const files_call *call, mm_slice path)
{
    mm_buffer location;
    mm_slice query = call->request->query;
    mm_buffer_init(&location, mm_arena_allocator(call->response->arena));
    mm_buffer_append_char(&location, '/');
    mm_buffer_append_url_path(&location, path);
    mm_buffer_append_char(&location, '/');
    if (query.len > 0) {
        mm_buffer_append_char(&location, '?');
        mm_buffer_append_slice(&location, query);
    }
    if (mm_buffer_status(&location) != MM_STATUS_OK) {
        files_answer_error(call, 503);
        return;
    }
    http_response_header(call->response, "Location", mm_buffer_string(&location));
    files_answer_error(call, 301);
}

/* A folder without an index: its listing, if the site has such. */
static void answer_listing(const files_call *call, const mm_file *folder, mm_slice path)
{
    mm_status status;
    if (!call->site->listing) {
        files_answer_error(call, 403);
        return;
    }
    status = files_list(call, folder->fd, path);
    if (status != MM_STATUS_OK) files_answer_error(call, http_status_of(status));
}

/* The index of a folder, or else its listing. `path` lies in memory with room for the index's name.
   An index that is there but cannot be served is not passed over. */
static void answer_folder(const files_call *call, const mm_file *folder, char *path, size_t length)
{
    mm_file *index;
    mm_slice whole;
    mm_status status;
    size_t at = length;
    if (at > 0) path[at++] = '/';
    memcpy(path + at, files_index, sizeof(files_index));
    whole = mm_slice_make(path, at + sizeof(files_index) - 1);
    status = mm_filecache_open(call->site->cache, whole, call->now_ms, &index);
    if (status == MM_STATUS_OK) {
        if (index->is_directory) status = MM_STATUS_NOT_FOUND;
        else files_answer_content(call, index, whole);
        mm_file_release(index);
        if (status == MM_STATUS_OK) return;
    }
    if (status == MM_STATUS_NOT_FOUND || status == MM_STATUS_INVALID)
        answer_listing(call, folder, mm_slice_make(path, length));
    else files_answer_error(call, http_status_of(status));
}

/* ---- requests ---- */

/* An address of nothing is the application's own, unless it looks like a file's: a script that is
   missing must not be a page. */
static bool answer_application(const files_call *call, mm_slice path)
{
    const policy *p = call->site->policy;
    mm_slice index = mm_slice_make(files_index, sizeof(files_index) - 1);
    mm_file *file;
    size_t at = path.len;
    if (p == NULL || !p->spa) return false;
    while (at > 0 && path.ptr[at - 1] != '/')
        if (path.ptr[--at] == '.') return false;
    if (mm_filecache_open(call->site->cache, index, call->now_ms, &file) != MM_STATUS_OK)
        return false;
    if (!file->is_directory) files_answer_content(call, file, index);
    mm_file_release(file);
    return call->response->status != 0;
}

static void answer_path(const files_call *call)
{
    mm_slice encoded = call->request->path;
    mm_file *file;
    mm_status status;
    size_t length;
    bool folder;
    int decoded;
    char *path = mm_arena_alloc(call->response->arena, encoded.len + 1 + sizeof(files_index));
    if (path == NULL) {
        files_answer_error(call, 503);
        return;
    }
    decoded = files_decode_path(encoded, path, &length, &folder);
    if (decoded != 200) {
        files_answer_error(call, decoded);
        return;
    }
    status = mm_filecache_open(call->site->cache, mm_slice_make(path, length), call->now_ms, &file);
    if (status != MM_STATUS_OK) {
        int error = http_status_of(status);
        if (error != 404 || !answer_application(call, mm_slice_make(path, length)))
            files_answer_error(call, error);
        return;
    }
    if (!file->is_directory && folder) files_answer_error(call, 404);
    else if (!file->is_directory) files_answer_content(call, file, mm_slice_make(path, length));
    else if (!folder) answer_redirect(call, mm_slice_make(path, length));
    else answer_folder(call, file, path, length);
    mm_file_release(file);
}

/* Which methods a path has, whatever there is. */
static const char *methods_of(const files_call *call)
{
    mm_slice encoded = call->request->path, rest;
    const uploads *all = call->site->uploads;
    char *path;
    size_t length;
    bool folder;
    int decoded;
    if (all == NULL || all->count == 0) return files_methods;
    if (encoded.len > 0 && encoded.ptr[0] == '*') return files_methods_put;
    path = mm_arena_alloc(call->response->arena, encoded.len + 1);
    if (path == NULL) return files_methods;
    decoded = files_decode_path(encoded, path, &length, &folder);
    if (decoded != 200 || uploads_find(all, mm_slice_make(path, length), &rest) == all->count)
        return files_methods;
    return files_methods_put;
}

/* A browser asks for them before it lets a script of another site send fields that a form cannot
   (Fetch standard, 4.8). */
static void answer_options(const files_call *call)
{
    http_response *response = call->response;
    const char *methods = methods_of(call);
    response->status = 204;
    http_response_header(response, "Allow", methods);
    if (call->site->policy == NULL || !call->site->policy->cors) return;
    http_response_header(response, "Access-Control-Allow-Methods", methods);
    http_response_header(response, "Access-Control-Allow-Headers",
                         "Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, "
                         "If-Range, If-Unmodified-Since, Range");
    http_response_header(response, "Access-Control-Max-Age", "7200");
}

int files_check_password(const files_call *call)
{
    if (call->site->guard == NULL) return 200;
    return auth_check(call->site->guard, call->request, call->response->arena, call->now_ms,
                      &call->response->costly);
}

/* Whether the request is let in. A browser shows no password when it asks whether a script of
   another site may (Fetch standard, 3.2.2), and learns nothing of the files by that. */
static bool is_let_in(const files_call *call)
{
    files_site *site = call->site;
    http_response *response = call->response;
    bool preflight = call->request->method == HTTP_OPTIONS && site->policy != NULL &&
                     site->policy->cors;
    int status;
    if (preflight) return true;
    status = files_check_password(call);
    if (status == 200) return true;
    files_answer_error(call, status);
    if (status == 401) http_response_header(response, "WWW-Authenticate", files_challenge);
    return false;
}

/* A file that was put is served at once, whatever any worker's cache knew: a while after each
   upload paths are not believed. (That the old file has changed as well, the cache sees by its
   times, if the system's clock has ticked between the two.) */
static void mind_uploads(files_site *site, int64_t now_ms)
{
    size_t commits = site->uploads == NULL ? 0 : mmi_atomic_load(&site->uploads->commits);
    if (commits != site->commits) {
        site->commits = commits;
        site->fresh_until = now_ms + FILES_FRESH_MS;
        files_siblings_forget(site);
    }
    site->cache->valid_ms = now_ms < site->fresh_until ? -1 : FILES_VALID_MS;
}

static void respond(const files_call *call)
{
    if (!is_let_in(call)) return;
    switch (call->request->method) {
    case HTTP_GET:
    case HTTP_HEAD: answer_path(call); break;
    case HTTP_OPTIONS: answer_options(call); break;
    case HTTP_UNKNOWN: files_answer_error(call, 501); break;
    default:
        files_answer_error(call, 405);
        http_response_header(call->response, "Allow", methods_of(call));
    }
}

/* The same, after what was answered turned out to be of a file that is another by now. */
static void respond_again(files_call *call)
{
    http_response *response = call->response;
    int64_t stat_ms = call->site->cache->stat_ms;
    mm_chunkqueue_reset(response->body);
    response->header_count = 0;
    response->content_length = -1;
    response->key = mm_slice_make(NULL, 0);
    response->stale = false;
    response->status = 0;
    call->site->cache->stat_ms = 0;
    call->again = true;
    respond(call);
    call->site->cache->stat_ms = stat_ms;
}

void files_respond(files_site *site, const http_request *request, http_response *response,
                   int64_t now_ms)
{
    files_call call = {site, request, response, now_ms, request->method == HTTP_HEAD, false};
    mind_uploads(site, now_ms);
    respond(&call);
    if (response->stale) respond_again(&call);
}
