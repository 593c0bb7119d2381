/* files.c - the answer to a request for a path */
#include "files.h"

#include <errno.h>
#include <stdio.h>

#include "text.h"

static const char files_index[] = "index.html";
static const char files_methods[] = "GET, HEAD, OPTIONS";

typedef struct files_call { /* one request on its way to an answer */
    files_site *site;
    const http_request *request;
    http_response *response;
    int64_t now_ms;
    bool head;              /* of HEAD: no body */
} files_call;

/* ---- errors ---- */

static void answer_error(const files_call *call, int status)
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

/* ---- files ---- */

/* Strings of a response live in its arena: the file may be closed before they have been sent. */
static bool add_copied(http_response *response, const char *name, const char *value)
{
    char *copy = mm_arena_strdup(response->arena, value);
    if (copy == NULL) return false;
    http_response_header(response, name, copy);
    return true;
}

/* What Last-Modified can say. */
static int64_t last_modified(const mm_file *file)
{
    const int64_t end = INT64_C(253402300799); /* of the year 9999 */
    return file->mtime < 0 ? 0 : file->mtime > end ? end : file->mtime;
}

static bool add_last_modified(http_response *response, const mm_file *file)
{
    char date[HTTP_DATE_SIZE];
    http_date_format(last_modified(file), date);
    return add_copied(response, "Last-Modified", date);
}

static void answer_not_modified(const files_call *call, const mm_file *file)
{
    call->response->status = 304;
    if (!add_copied(call->response, "ETag", file->etag)) answer_error(call, 503);
}

static void answer_unsatisfiable(const files_call *call, const mm_file *file)
{
    http_response *response = call->response;
    const char *range = mm_arena_printf(response->arena, "bytes */%lld", (long long)file->size);
    answer_error(call, range == NULL ? 503 : 416);
    if (range != NULL) http_response_header(response, "Content-Range", range);
}

static bool add_content_range(http_response *response, const mm_file *file,
                              const files_range *part)
{
    const char *range =
        mm_arena_printf(response->arena, "bytes %lld-%lld/%lld", (long long)part->offset,
                        (long long)(part->offset + part->length - 1), (long long)file->size);
    if (range == NULL) return false;
    http_response_header(response, "Content-Range", range);
    return true;
}

/* The fields that a file has, whichever part of it is sent. */
static bool add_file_fields(http_response *response, const mm_file *file)
{
    http_response_header(response, "Accept-Ranges", "bytes");
    http_response_header(response, "X-Content-Type-Options", "nosniff");
    return add_copied(response, "ETag", file->etag) && add_last_modified(response, file);
}

static bool append_part(const files_call *call, mm_file *file, const files_range *part)
{
    call->response->content_length = part->length;
    return call->head ||
           mm_chunkqueue_append_fd_ref(call->response->body, file->fd, part->offset, part->length,
                                       mm_file_refchg, file) == MM_STATUS_OK;
}

/* 16 digits that nobody foresees, so that no file has them: splitmix64's steps. */
static uint64_t next_random(files_site *site)
{
    uint64_t x = site->random += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* 206 with several parts, each with a head of its own. */
static bool answer_parts(const files_call *call, mm_file *file, mm_slice path,
                         const files_ranges *ranges)
{
    http_response *response = call->response;
    files_parts parts = {file, files_mime_type(path), NULL};
    char boundary[24];
    const char *type;
    (void)snprintf(boundary, sizeof(boundary), "mm-%016llx",
                   (unsigned long long)next_random(call->site));
    parts.boundary = boundary;
    type = mm_arena_printf(response->arena, "multipart/byteranges; boundary=%s", boundary);
    if (type == NULL) return false;
    http_response_header(response, "Content-Type", type);
    return files_append_parts(&parts, ranges, response->body, &response->content_length) ==
           MM_STATUS_OK;
}

static void answer_ranges(const files_call *call, mm_file *file, mm_slice path,
                          const files_ranges *ranges)
{
    http_response *response = call->response;
    bool good;
    response->status = 206;
    good = add_file_fields(response, file);
    if (good && ranges->count > 1) {
        good = answer_parts(call, file, path, ranges);
    } else if (good) {
        http_response_header(response, "Content-Type", files_mime_type(path));
        good = add_content_range(response, file, &ranges->at[0]) &&
               append_part(call, file, &ranges->at[0]);
    }
    if (!good) answer_error(call, 503);
}

static void answer_whole(const files_call *call, mm_file *file, mm_slice path)
{
    files_range whole = {0, file->size};
    call->response->status = 200;
    http_response_header(call->response, "Content-Type", files_mime_type(path));
    if (!add_file_fields(call->response, file) || !append_part(call, file, &whole))
        answer_error(call, 503);
}

static void answer_file(const files_call *call, mm_file *file, mm_slice path)
{
    mm_slice etag = mm_slice_from_string(file->etag);
    files_ranges ranges;
    int64_t modified = last_modified(file);
    int status = files_check_conditions(call->request, etag, modified);
    if (status == 200 && !call->head) /* ranges are defined for GET only: RFC 9110, 14.2 */
        status = files_check_ranges(call->request, etag, modified, file->size, &ranges);
    switch (status) {
    case 200: answer_whole(call, file, path); break;
    case 206: answer_ranges(call, file, path, &ranges); break;
    case 304: answer_not_modified(call, file); break;
    case 416: answer_unsatisfiable(call, file); break;
    default: answer_error(call, status);
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
        answer_error(call, 503);
        return;
    }
    http_response_header(call->response, "Location", mm_buffer_string(&location));
    answer_error(call, 301);
}

/* A folder without an index: its listing, if the site has such. */
static void answer_listing(const files_call *call, const mm_file *folder, mm_slice path)
{
    mm_status status;
    if (!call->site->listing) {
        answer_error(call, 403);
        return;
    }
    status = files_list(call->site, folder->fd, path, call->response, call->head, call->now_ms);
    if (status != MM_STATUS_OK) answer_error(call, http_status_of(status));
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
        else answer_file(call, index, whole);
        mm_file_release(index);
        if (status == MM_STATUS_OK) return;
    }
    if (status == MM_STATUS_NOT_FOUND || status == MM_STATUS_INVALID)
        answer_listing(call, folder, mm_slice_make(path, length));
    else answer_error(call, http_status_of(status));
}

/* ---- requests ---- */

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
        answer_error(call, 503);
        return;
    }
    decoded = files_decode_path(encoded, path, &length, &folder);
    if (decoded != 200) {
        answer_error(call, decoded);
        return;
    }
    status = mm_filecache_open(call->site->cache, mm_slice_make(path, length), call->now_ms, &file);
    if (status != MM_STATUS_OK) {
        answer_error(call, http_status_of(status));
        return;
    }
    if (!file->is_directory && folder) answer_error(call, 404);
    else if (!file->is_directory) answer_file(call, file, mm_slice_make(path, length));
    else if (!folder) answer_redirect(call, mm_slice_make(path, length));
    else answer_folder(call, file, path, length);
    mm_file_release(file);
}

/* The methods that every path here has, whatever there is. */
static void answer_options(http_response *response)
{
    response->status = 204;
    http_response_header(response, "Allow", files_methods);
}

void files_respond(files_site *site, const http_request *request, http_response *response,
                   int64_t now_ms)
{
    files_call call = {site, request, response, now_ms, request->method == HTTP_HEAD};
    switch (request->method) {
    case HTTP_GET:
    case HTTP_HEAD: answer_path(&call); break;
    case HTTP_OPTIONS: answer_options(response); break;
    case HTTP_UNKNOWN: answer_error(&call, 501); break;
    default:
        answer_error(&call, 405);
        http_response_header(response, "Allow", files_methods);
    }
}
