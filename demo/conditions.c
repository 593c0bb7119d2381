/* conditions.c - conditional requests (RFC 9110, 13) */
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

bool files_etag_listed(mm_slice list, mm_slice etag, bool strong)
{
    bool weak;
    mm_slice tag;
    list = text_trim(list, " \t");
    if (text_is_word(list, "*")) return true;
    for (tag = take_etag(&list, &weak); tag.len > 0; tag = take_etag(&list, &weak)) {
        if (!(strong && weak) && mm_slice_equal(tag, etag)) return true;
        if (list.len > 0 && !text_is_among(list.ptr[0], " \t,")) return false; /* not a list */
    }
    return false;
}

/* Whether the tag is in the list that begins in `field` and may go on in others of its name. */
static bool is_etag_in(const http_request *request, const http_header *field, mm_slice etag,
                       bool strong)
{
    for (; field != NULL; field = http_request_next(request, field))
        if (files_etag_listed(field->value, etag, strong)) return true;
    return false;
}

/* ---- preconditions ---- */

/* Whether the date in a field is valid, and not before `modified`. */
static bool is_since(const http_header *field, int64_t modified)
{
    int64_t seconds;
    return http_date_parse(field->value, &seconds) && modified <= seconds;
}

/* Whether a field, which may be missing, says that the file has changed since a valid date. */
static bool is_changed_since(const http_header *field, int64_t modified)
{
    int64_t seconds;
    return field != NULL && http_date_parse(field->value, &seconds) && modified > seconds;
}

/* Steps 1 to 4 of RFC 9110, 13.2.2; the fifth, If-Range, is about ranges only. */
int files_check_conditions(const http_request *request, mm_slice etag, int64_t modified)
{
    const http_header *field = http_request_field(request, HTTP_IF_MATCH);
    if (field != NULL) {
        if (!is_etag_in(request, field, etag, true)) return 412;
    } else if (is_changed_since(http_request_field(request, HTTP_IF_UNMODIFIED_SINCE), modified)) {
        return 412;
    }
    field = http_request_field(request, HTTP_IF_NONE_MATCH);
    if (field != NULL) return is_etag_in(request, field, etag, false) ? 304 : 200;
    field = http_request_field(request, HTTP_IF_MODIFIED_SINCE);
    return field != NULL && is_since(field, modified) ? 304 : 200;
}

/* A date is good enough only when the file has not been changed since the second that it names
   began: RFC 9110, 8.8.2.2. */
bool files_is_range_current(const http_request *request, mm_slice etag, int64_t modified)
{
    const http_header *field = http_request_field(request, HTTP_IF_RANGE);
    int64_t seconds;
    if (field == NULL) return true;
    if (mm_slice_equal(field->value, etag)) return true; /* a strong comparison: ours is not weak */
    return http_date_parse(field->value, &seconds) && seconds == modified &&
           modified < (int64_t)time(NULL) - 1;
}
