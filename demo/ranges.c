/* ranges.c - which parts of a file a request wants, and how several are sent (RFC 9110, 14) */
#include "files.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

/* ---- which ---- */

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
static int suffix_range(int64_t wanted, int64_t size, files_range *range)
{
    if (wanted == 0) return 416;
    if (size == 0) return 200;
    range->length = wanted < size ? wanted : size;
    range->offset = size - range->length;
    return 206;
}

/* One range of a list: 206; 416 when it has no byte of the file; 200 when it is malformed. */
static int parse_range(mm_slice text, int64_t size, files_range *range)
{
    int64_t first = take_position(&text), last;
    if (text.len == 0 || text.ptr[0] != '-') return 200;
    text = text_from(text, 1);
    last = take_position(&text);
    if (text.len > 0) return 200;
    if (first < 0) return last < 0 ? 200 : suffix_range(last, size, range);
    if (last >= 0 && last < first) return 200;
    if (first >= size) return 416;
    if (last < 0 || last >= size) last = size - 1;
    range->offset = first;
    range->length = last - first + 1;
    return 206;
}

/* Whether two ranges overlap, or one begins where the other ends. */
static bool is_touching(const files_range *a, const files_range *b)
{
    return a->offset <= b->offset + b->length && b->offset <= a->offset + a->length;
}

static void widen(files_range *to, const files_range *by)
{
    int64_t end = to->offset + to->length, other = by->offset + by->length;
    if (by->offset < to->offset) to->offset = by->offset;
    to->length = (end > other ? end : other) - to->offset;
}

/* Adds a range, in the place of the first one that it touches: no byte is ever in two of them.
   False when there would be too many. */
static bool add_range(files_ranges *ranges, files_range range)
{
    size_t i, kept = 0, place = FILES_RANGES_MAX;
    for (i = 0; i < ranges->count; i++) {
        if (!is_touching(&ranges->at[i], &range)) {
            ranges->at[kept++] = ranges->at[i];
            continue;
        }
        widen(&range, &ranges->at[i]);
        if (place == FILES_RANGES_MAX) place = kept++;
    }
    if (place == FILES_RANGES_MAX) place = kept++;
    if (place == FILES_RANGES_MAX) return false;
    ranges->at[place] = range;
    ranges->count = kept;
    return true;
}

/* The value of Range behind its unit: a list of ranges, in which elements may be empty. What is
   malformed anywhere, or too much, is as if it had not been asked for, and so are several that come
   to the whole file. */
static int parse_ranges(mm_slice list, int64_t size, files_ranges *ranges)
{
    size_t asked = 0;
    int status = 200;
    while (list.len > 0) {
        mm_slice part = text_until(list, ",");
        files_range range;
        int got;
        list = text_from(list, part.len < list.len ? part.len + 1 : part.len);
        part = text_trim(part, " \t");
        if (part.len == 0) continue;
        got = parse_range(part, size, &range);
        if (got == 200 || (got == 206 && !add_range(ranges, range))) return 200;
        if (status != 206) status = got; /* one that can be satisfied is enough */
        asked++;
    }
    return asked > 1 && status == 206 && ranges->at[0].length == size ? 200 : status;
}

int files_check_ranges(const http_request *request, mm_slice etag, int64_t modified, int64_t size,
                       files_ranges *ranges)
{
    const http_header *field = http_request_field(request, HTTP_RANGE);
    mm_slice unit;
    ranges->count = 0;
    if (field == NULL || http_request_next(request, field) != NULL) return 200;
    unit = text_until(field->value, "=");
    if (unit.len == field->value.len || !text_is_word(unit, "bytes")) return 200;
    if (!files_is_range_current(request, etag, modified)) return 200;
    return parse_ranges(text_from(field->value, unit.len + 1), size, ranges);
}

/* ---- how ---- */

/* The head of a part of multipart/byteranges: RFC 9110, 14.6. Its size, which it always fits in. */
static size_t part_head(char *to, size_t room, const files_parts *parts, const files_range *range)
{
    int n = snprintf(to, room,
                     "\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %lld-%lld/%lld\r\n\r\n",
                     parts->boundary, parts->type, (long long)range->offset,
                     (long long)(range->offset + range->length - 1), (long long)parts->file->size);
    return n > 0 && (size_t)n < room ? (size_t)n : 0;
}

mm_status files_append_parts(const files_parts *parts, const files_ranges *ranges,
                             mm_chunkqueue *body, int64_t *length)
{
    char text[FILES_PART_HEAD];
    size_t i, size;
    mm_status status = MM_STATUS_OK;
    *length = 0;
    for (i = 0; i <= ranges->count && status == MM_STATUS_OK; i++) {
        const files_range *range = &ranges->at[i];
        bool last = i == ranges->count;
        if (last) size = (size_t)snprintf(text, sizeof(text), "\r\n--%s--\r\n", parts->boundary);
        else size = part_head(text, sizeof(text), parts, range);
        *length += (int64_t)size + (last ? 0 : range->length);
        if (body == NULL) continue;
        status = mm_chunkqueue_append_mem(body, text, size);
        if (status == MM_STATUS_OK && !last)
            status = mm_chunkqueue_append_fd_ref(body, parts->file->fd, range->offset,
                                                 range->length, mm_file_refchg, parts->file);
    }
    return status;
}
