/* http1_response.c - response heads of HTTP/1.1 (RFC 9112, 4 to 6) */
#include "http1.h"

#include <assert.h>

#include "text.h"

/* What the parts besides the fields and the reason take at most: see http1_write_head. */
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

/* An upper bound of what the head takes. */
static size_t head_bound(const http_response *response, const char *reason, const char *date)
{
    size_t i, bound = HEAD_REST + strlen(reason) + strlen(date);
    for (i = 0; i < response->header_count; i++)
        bound += response->headers[i].name.len + response->headers[i].value.len + 4;
    for (i = 0; i < response->common_count; i++)
        bound += response->common[i].name.len + response->common[i].value.len + 4;
    return bound;
}

mm_status http1_write_head(mm_chunkqueue *out, const http_request *request,
                           const http_response *response, const char *date)
{
    const char *reason = http_status_text(response->status);
    bool bodiless = response->status < 200 || response->status == 204 || response->status == 304;
    size_t i, room, bound = head_bound(response, reason, date);
    char *begin, *to;
    assert(response->status >= 100 && response->status <= 999);
    if (mm_chunkqueue_status(out) != MM_STATUS_OK) return mm_chunkqueue_status(out);
    begin = to = mm_chunkqueue_get_memory(out, bound, &room);
    if (begin == NULL) return MM_STATUS_NO_MEMORY;
    assert(room >= bound); /* the queue has no limit of its own */
    (void)room;
    to = PUT(to, "HTTP/1.1 ");
    to = put_number(to, response->status);
    to = PUT(to, " ");
    to = put_text(to, reason);
    to = PUT(to, "\r\nDate: ");
    to = put_text(to, date);
    to = PUT(to, "\r\n");
    for (i = 0; i < response->header_count; i++) to = put_field(to, &response->headers[i]);
    for (i = 0; i < response->common_count; i++) to = put_field(to, &response->common[i]);
    if (response->content_length >= 0 && !bodiless) {
        to = PUT(to, "Content-Length: ");
        to = put_number(to, response->content_length);
        to = PUT(to, "\r\n");
    }
    if (response->close || !request->keep_alive) to = PUT(to, "Connection: close\r\n");
    else if (request->minor == 0) to = PUT(to, "Connection: keep-alive\r\n");
    to = PUT(to, "\r\n");
    assert((size_t)(to - begin) <= bound);
    mm_chunkqueue_use_memory(out, (size_t)(to - begin));
    return MM_STATUS_OK;
}
