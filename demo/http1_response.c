/* http1_response.c - response heads of HTTP/1.1 (RFC 9112, 4 to 6) */
#include "http1.h"

#include <assert.h>

#include "text.h"

/* What a part of a head takes at most, besides fields, reason and date. */
enum { HEAD_REST = 256 };

static char *put(char *to, const char *bytes, size_t size)
{
    if (size > 0) memcpy(to, bytes, size);
    return to + size;
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static char *put_text(char *to, const char *text)
{
    return put(to, text, strlen(text));
}

static char *put_number(char *to, int64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return put(to, digits + at, sizeof(digits) - at);
}

static char *put_field(char *to, const http_header *field)
{
    to = put(to, field->name.ptr, field->name.len);
    to = PUT(to, ": ");
    to = put(to, field->value.ptr, field->value.len);
    return PUT(to, "\r\n");
}

/* ---- the part that is of one answer ---- */

static size_t start_bound(const char *reason, const char *date)
{
    return HEAD_REST + strlen(reason) + strlen(date);
}

static char *put_start(char *to, const http_request *request, const http_response *response,
                       const char *reason, const char *date)
{
    assert(response->status >= 100 && response->status <= 999);
    to = PUT(to, "HTTP/1.1 ");
    to = put_number(to, response->status);
    to = PUT(to, " ");
    to = put_text(to, reason);
    to = PUT(to, "\r\nDate: ");
    to = put_text(to, date);
    to = PUT(to, "\r\n");
    if (response->close || !request->keep_alive) to = PUT(to, "Connection: close\r\n");
    else if (request->minor == 0) to = PUT(to, "Connection: keep-alive\r\n");
    return to;
}

/* ---- and the part that is of the content ---- */

static size_t fields_bound(const http_response *response)
{
    size_t i, bound = HEAD_REST;
    for (i = 0; i < response->header_count; i++)
        bound += response->headers[i].name.len + response->headers[i].value.len + 4;
    for (i = 0; i < response->common_count; i++)
        bound += response->common[i].name.len + response->common[i].value.len + 4;
    return bound;
}

static char *put_fields(char *to, const http_response *response)
{
    bool bodiless = response->status < 200 || response->status == 204 || response->status == 304;
    size_t i;
    for (i = 0; i < response->header_count; i++) to = put_field(to, &response->headers[i]);
    for (i = 0; i < response->common_count; i++) to = put_field(to, &response->common[i]);
    if (response->content_length >= 0 && !bodiless) {
        to = PUT(to, "Content-Length: ");
        to = put_number(to, response->content_length);
        to = PUT(to, "\r\n");
    }
    return PUT(to, "\r\n");
}

mm_slice http1_format_fields(const http_response *response)
{
    char *begin = mm_arena_alloc(response->arena, fields_bound(response));
    if (begin == NULL) return mm_slice_make(NULL, 0);
    return mm_slice_make(begin, (size_t)(put_fields(begin, response) - begin));
}

/* ---- both ---- */

mm_status http1_write_head(mm_chunkqueue *out, const http_request *request,
                           const http_response *response, const char *date)
{
    const char *reason = http_status_text(response->status);
    size_t room, bound = start_bound(reason, date) + fields_bound(response);
    char *begin, *to;
    if (mm_chunkqueue_status(out) != MM_STATUS_OK) return mm_chunkqueue_status(out);
    begin = mm_chunkqueue_get_memory(out, bound, &room);
    if (begin == NULL) return MM_STATUS_NO_MEMORY;
    assert(room >= bound); /* the queue has no limit of its own */
    to = put_fields(put_start(begin, request, response, reason, date), response);
    assert((size_t)(to - begin) <= bound);
    (void)room;
    mm_chunkqueue_use_memory(out, (size_t)(to - begin));
    return MM_STATUS_OK;
}

mm_status http1_write_ready(mm_chunkqueue *out, const http_request *request,
                            const http_response *response, const char *date, mm_slice ready)
{
    const char *reason = http_status_text(response->status);
    size_t room, bound = start_bound(reason, date) + ready.len;
    char *begin, *to;
    if (mm_chunkqueue_status(out) != MM_STATUS_OK) return mm_chunkqueue_status(out);
    begin = mm_chunkqueue_get_memory(out, bound, &room);
    if (begin == NULL) return MM_STATUS_NO_MEMORY;
    to = put_start(begin, request, response, reason, date);
    to = put(to, ready.ptr, ready.len);
    assert((size_t)(to - begin) <= bound && bound <= room);
    (void)room;
    mm_chunkqueue_use_memory(out, (size_t)(to - begin));
    return MM_STATUS_OK;
}
