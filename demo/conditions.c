/* conditions.c - conditional requests and ranges (RFC 9110, 13 and 14) */
#include "files.h"

#include <time.h>

#include "text.h"

/* ---- entity tags ---- */

/* Takes an entity tag off the front of a list: its part in quotes; empty when there is none. */
static mm_slice take_etag(mm_slice *list, bool *weak)
{
    mm_slice tag = {NULL, 0};
    size_t at = 0, end;
    while (at < list->len && text_is_among(list->ptr[at], " \t,")) at++;
    *weak = list->len - at >= 2 && list->ptr[at] == 'W' && list->ptr[at + 1] == '/';
    if (*weak) at += 2;
    if (at < list->len && list->ptr[at] == '"') {
        for (end = at + 1; end < list->len && list->ptr[end] != '"'; end++) continue;
        if (end < list->len) tag = mm_slice_make(list->ptr + at, end + 1 - at);
    }
    *list = text_from(*list, at + tag.len);
    return tag;
}

bool files_etag_listed(mm_slice list, mm_slice etag)
{
    bool weak;
    mm_slice tag;
    list = text_trim(list, " \t");
    if (text_is_word(list, "*")) return true;
    for (tag = take_etag(&list, &weak); tag.len > 0; tag = take_etag(&list, &weak)) {
        if (mm_slice_equal(tag, etag)) return true;
        if (list.len > 0 && !text_is_among(list.ptr[0], " \t,")) return false; /* not a list */
    }
    return false;
}

/* ---- preconditions ---- */

int files_check_conditions(const http_request *request, mm_slice etag, int64_t modified)
{
    const http_header *since;
    int64_t seconds;
    size_t i;
    bool listed = false;
    for (i = 0; i < request->header_count; i++) { /* a list may come in several fields */
        if (!text_is_word(request->headers[i].name, "If-None-Match")) continue;
        if (files_etag_listed(request->headers[i].value, etag)) return 304;
        listed = true;
    }
    if (listed) return 200;
    since = http_request_header(request, "If-Modified-Since");
    if (since != NULL && http_date_parse(since->value, &seconds) && modified <= seconds) return 304;
    return 200;
}

/* Whether If-Range, if it is there, is about the content that we have: RFC 9110, 13.1.5. A date is
   good enough only when the file has not been changed since the second that it names began:
   8.8.2.2. */
static bool is_range_current(const http_request *request, mm_slice etag, int64_t modified)
{
    const http_header *field = http_request_header(request, "If-Range");
    int64_t seconds;
    if (field == NULL) return true;
    if (mm_slice_equal(field->value, etag)) return true; /* a strong comparison: ours is not weak */
    return http_date_parse(field->value, &seconds) && seconds == modified &&
           modified < (int64_t)time(NULL) - 1;
}

/* ---- ranges ---- */

/* Takes digits off the front of a text: their value, INT64_MAX for all beyond; -1 for none. */
static int64_t take_position(mm_slice *text)
{
    int64_t value = text->len > 0 && text_is_digit(text->ptr[0]) ? 0 : -1;
    while (text->len > 0 && text_is_digit(text->ptr[0])) {
        int digit = text->ptr[0] - '0';
        value = value > (INT64_MAX - digit) / 10 ? INT64_MAX : value * 10 + digit;
        *text = text_from(*text, 1);
    }
    return value;
}

/* The last `wanted` bytes. All of nothing is nothing, for which 206 has no words. */
static int suffix_range(int64_t wanted, int64_t size, int64_t *offset, int64_t *length)
{
    if (wanted == 0) return 416;
    if (size == 0) return 200;
    *length = wanted < size ? wanted : size;
    *offset = size - *length;
    return 206;
}

/* The value of Range without its unit: one range of bytes, or 200. */
static int parse_range(mm_slice range, int64_t size, int64_t *offset, int64_t *length)
{
    int64_t first, last;
    range = text_trim(range, " \t,"); /* a list may have empty elements */
    first = take_position(&range);
    if (range.len == 0 || range.ptr[0] != '-') return 200;
    range = text_from(range, 1);
    last = take_position(&range);
    if (range.len > 0) return 200;
    if (first < 0) return last < 0 ? 200 : suffix_range(last, size, offset, length);
    if (last >= 0 && last < first) return 200;
    if (first >= size) return 416;
    if (last < 0 || last >= size) last = size - 1;
    *offset = first;
    *length = last - first + 1;
    return 206;
}

int files_check_range(const http_request *request, mm_slice etag, int64_t modified, int64_t size,
                      int64_t *offset, int64_t *length)
{
    const http_header *range = NULL;
    mm_slice unit;
    size_t i;
    for (i = 0; i < request->header_count; i++) {
        if (!text_is_word(request->headers[i].name, "Range")) continue;
        if (range != NULL) return 200;
        range = &request->headers[i];
    }
    if (range == NULL) return 200;
    unit = text_until(range->value, "=");
    if (unit.len == range->value.len || !text_is_word(unit, "bytes")) return 200;
    if (!is_range_current(request, etag, modified)) return 200;
    return parse_range(text_from(range->value, unit.len + 1), size, offset, length);
}
