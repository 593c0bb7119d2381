/* content.c - an open file as an answer: all of it, parts, or that it is not sent (RFC 9110) */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "files.h"
#include "text.h"

#ifndef CONTENT_NOW /* the tests have a clock of their own */
#define CONTENT_NOW() ((int64_t)time(NULL))
#endif

enum { CONTENT_SETTLED = 2 }; /* seconds without a change, until a file is kept in memory */

typedef struct file_content { /* a file as it is sent */
    mm_file *file;         /* it, or the compressed one beside it */
    mm_slice path;         /* of the file, in the cache, however it is encoded: by its name goes the
                              media type */
    const char *encoding;  /* its content coding; NULL: none */
    bool varies;           /* another request may get it in another coding */
} file_content;

/* ---- fields ---- */

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

/* For a value that outlives the response. */
static void add_slice(http_response *response, const char *name, mm_slice value)
{
    http_response_header(response, name, "");
    response->headers[response->header_count - 1].value = value;
}

/* What another coding of it would have as well; also of 304: RFC 9110, 15.4.5. */
static bool add_identity(const files_call *call, const file_content *content)
{
    http_response *response = call->response;
    const policy *p = call->site->policy;
    if (content->varies) http_response_header(response, "Vary", "Accept-Encoding");
    if (p != NULL && p->cache_count > 0) {
        mm_slice value = policy_cache_control(p, content->path);
        if (value.len > 0) add_slice(response, "Cache-Control", value);
    }
    return add_copied(response, "ETag", content->file->etag);
}

/* Of 200 and 206, whichever part of it is sent. What is encoded is sent whole: its ranges would be
   none of the file's. */
static bool add_content_fields(const files_call *call, const file_content *content)
{
    http_response *response = call->response;
    if (content->encoding == NULL) http_response_header(response, "Accept-Ranges", "bytes");
    else http_response_header(response, "Content-Encoding", content->encoding);
    http_response_header(response, "X-Content-Type-Options", "nosniff");
    return add_identity(call, content) && add_last_modified(response, content->file);
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

/* ---- answers ---- */

static void answer_not_modified(const files_call *call, const file_content *content)
{
    call->response->status = 304;
    if (!add_identity(call, content)) files_answer_error(call, 503);
}

static void answer_unsatisfiable(const files_call *call, const mm_file *file)
{
    http_response *response = call->response;
    const char *range = mm_arena_printf(response->arena, "bytes */%lld", (long long)file->size);
    files_answer_error(call, range == NULL ? 503 : 416);
    if (range != NULL) http_response_header(response, "Content-Range", range);
}

static bool append_part(const files_call *call, mm_file *file, const files_range *part)
{
    call->response->content_length = part->length;
    return call->head ||
           mm_chunkqueue_append_fd_ref(call->response->body, file->fd, part->offset, part->length,
                                       mm_file_refchg, file) == MM_STATUS_OK;
}

/* 16 digits that nobody foresees, so that no file has them: splitmix64's steps. */
uint64_t files_random(files_site *site)
{
    uint64_t x = site->random += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* 206 with several parts, each with a head of its own. */
static bool answer_parts(const files_call *call, const file_content *content,
                         const files_ranges *ranges)
{
    http_response *response = call->response;
    files_parts parts = {content->file, files_mime_type(content->path), NULL};
    char boundary[24];
    const char *type;
    (void)snprintf(boundary, sizeof(boundary), "mm-%016llx",
                   (unsigned long long)files_random(call->site));
    parts.boundary = boundary;
    type = mm_arena_printf(response->arena, "multipart/byteranges; boundary=%s", boundary);
    if (type == NULL) return false;
    http_response_header(response, "Content-Type", type);
    return files_append_parts(&parts, ranges, response->body, &response->content_length) ==
           MM_STATUS_OK;
}

/* The fields are of the file as the cache knows it, which may be a moment ago; what is sent is the
   file as it is now. When these two are not the same, the answer is made again, of what the system
   says in that very call. Order matters: what the writer will compare with comes first. */
static void mind_changes(const files_call *call, const file_content *content)
{
    http_response *response = call->response;
    mm_chunk *c;
    char nothing;
    bool same = true;
    if (call->head) return;
    for (c = response->body->first; c != NULL && same; c = c->next)
        same = mm_chunk_verify(c) == MM_STATUS_OK;
    if (same && !call->again)
        same = mm_file_read(content->file, &nothing, 0, 0) == MM_STATUS_OK;
    if (same) return;
    if (call->again) files_answer_error(call, 503);
    else response->stale = true;
}

static void answer_ranges(const files_call *call, const file_content *content,
                          const files_ranges *ranges)
{
    http_response *response = call->response;
    bool good = add_content_fields(call, content);
    response->status = 206;
    if (good && ranges->count > 1) {
        good = answer_parts(call, content, ranges);
    } else if (good) {
        http_response_header(response, "Content-Type", files_mime_type(content->path));
        good = add_content_range(response, content->file, &ranges->at[0]) &&
               append_part(call, content->file, &ranges->at[0]);
    }
    if (good) mind_changes(call, content);
    else files_answer_error(call, 503);
}

/* ---- answers that are ready ---- */

/* What a response depends on besides the file: its name, for the fields; its coding, and whether it
   has others; and encryption, for the fields that are sent by that only. NULL: out of memory. */
static mm_slice ready_key(const files_call *call, const file_content *content)
{
    size_t size = content->path.len + 3;
    char *key = mm_arena_alloc(call->response->arena, size);
    if (key == NULL) return mm_slice_make(NULL, 0);
    memcpy(key, content->path.ptr, content->path.len);
    key[size - 3] = '\0';
    key[size - 2] = content->encoding == NULL ? '-' : content->encoding[0];
    key[size - 1] = (char)('0' + (content->varies ? 1 : 0) + (call->response->tls ? 2 : 0));
    return mm_slice_make(key, size);
}

/* A file that has just been changed can be changed again without another time: the clocks of file
   systems tick in milliseconds, and in two seconds on FAT. What is read of it then must not be
   taken for what it has for good. The time of change is one that nobody can set. */
static bool is_settled(const mm_file *file)
{
    return file->ctime < CONTENT_NOW() - CONTENT_SETTLED;
}

/* The whole file as it was sent before: true; or else what is to be kept for the next time. Who may
   read it, its conditions and ranges have been looked at. */
static bool answer_ready(const files_call *call, const file_content *content)
{
    http_response *response = call->response;
    mm_respcache *responses = call->site->responses;
    if (responses == NULL || content->file->size > (int64_t)responses->max_body) return false;
    response->key = ready_key(call, content);
    if (response->key.ptr == NULL) return false;
    response->ready = mm_respcache_get(responses, response->key, content->file);
    if (response->ready == NULL) {
        if (call->head || !is_settled(content->file)) response->key.ptr = NULL;
        return false;
    }
    response->status = 200;
    response->content_length = content->file->size;
    return true;
}

static void answer_whole(const files_call *call, const file_content *content)
{
    http_response *response = call->response;
    files_range whole = {0, content->file->size};
    if (answer_ready(call, content)) return;
    response->status = 200;
    http_response_header(response, "Content-Type", files_mime_type(content->path));
    if (!add_content_fields(call, content)) {
        files_answer_error(call, 503);
    } else if (response->key.ptr != NULL) {
        response->content_length = whole.length;
        response->source = content->file;
        mm_file_retain(response->source);
    } else if (append_part(call, content->file, &whole)) {
        mind_changes(call, content);
    } else {
        files_answer_error(call, 503);
    }
}

static void answer_content(const files_call *call, const file_content *content)
{
    mm_file *file = content->file;
    mm_slice etag = mm_slice_from_string(file->etag);
    files_ranges ranges;
    int64_t modified = last_modified(file);
    int status = files_check_conditions(call->request, etag, modified);
    if (status == 200 && !call->head && content->encoding == NULL) /* of GET only: 14.2 */
        status = files_check_ranges(call->request, etag, modified, file->size, &ranges);
    switch (status) {
    case 200: answer_whole(call, content); break;
    case 206: answer_ranges(call, content, &ranges); break;
    case 304: answer_not_modified(call, content); break;
    case 416: answer_unsatisfiable(call, file); break;
    default: files_answer_error(call, status);
    }
}

void files_answer_content(const files_call *call, mm_file *file, mm_slice path)
{
    file_content content = {file, path, NULL, false};
    unsigned available = files_find_siblings(call->site, file, path, call->now_ms);
    mm_file *sibling = NULL;
    if (available != 0) {
        int encoding = files_choose_encoding(call->request, available);
        content.varies = true;
        if (encoding >= 0)
            sibling = files_open_sibling(call->site, file, path, encoding, call->now_ms);
        if (sibling != NULL) {
            content.encoding = files_encoding_name(encoding);
            content.file = sibling;
        }
    }
    answer_content(call, &content);
    if (sibling != NULL) mm_file_release(sibling);
}
