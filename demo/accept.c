/* accept.c - weighted lists (RFC 9110, 12.4.2 and 12.5) */
#include "accept.h"

#include "text.h"

/* The end of an element or parameter: `separator`, but not in a quoted string. */
static size_t find_separator(mm_slice text, char separator)
{
    bool quoted = false;
    size_t at;
    for (at = 0; at < text.len && (quoted || text.ptr[at] != separator); at++) {
        if (quoted && text.ptr[at] == '\\') at++;
        else if (text.ptr[at] == '"') quoted = !quoted;
    }
    return at < text.len ? at : text.len;
}

static mm_slice take_part(mm_slice *text, char separator)
{
    size_t end = find_separator(*text, separator);
    mm_slice part = mm_slice_make(text->ptr, end);
    *text = text_from(*text, end < text->len ? end + 1 : end);
    return text_trim(part, " \t");
}

/* 0 to 1 with three decimals at most, in thousandths; -1 when it is none. */
static int parse_weight(mm_slice text)
{
    size_t i;
    int weight;
    if (text.len == 0 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1')) return -1;
    if (text.len > 1 && text.ptr[1] != '.') return -1;
    weight = text.ptr[0] - '0';
    for (i = 2; i < 5; i++) {
        if (i < text.len && !text_is_digit(text.ptr[i])) return -1;
        weight = weight * 10 + (i < text.len ? text.ptr[i] - '0' : 0);
    }
    return weight <= 1000 ? weight : -1;
}

bool accept_take(mm_slice *list, mm_slice *name, int *weight)
{
    while (list->len > 0) {
        mm_slice element = take_part(list, ',');
        *name = take_part(&element, ';');
        *weight = 1000;
        while (element.len > 0) {
            mm_slice parameter = take_part(&element, ';');
            if (parameter.len >= 2 && text_lower(parameter.ptr[0]) == 'q' &&
                parameter.ptr[1] == '=')
                *weight = parse_weight(text_from(parameter, 2));
        }
        if (name->len > 0 && *weight >= 0) return true;
    }
    return false;
}

/* How closely a media range is about a type: 0: not at all. */
static int specificity(mm_slice range, const char *type, const char *subtype)
{
    mm_slice first = text_until(range, "/"), second;
    if (first.len == range.len) return 0;
    second = text_from(range, first.len + 1);
    if (text_is_word(first, type)) {
        if (text_is_word(second, subtype)) return 3;
        return text_is_word(second, "*") ? 2 : 0;
    }
    return text_is_word(first, "*") && text_is_word(second, "*");
}

int accept_media_weight(const http_request *request, const char *type, const char *subtype)
{
    const http_header *field = http_request_field(request, HTTP_ACCEPT);
    int best = 0, weight = field == NULL ? 1000 : 0;
    for (; field != NULL; field = http_request_next(request, field)) {
        mm_slice list = field->value, range;
        int its_weight;
        while (accept_take(&list, &range, &its_weight)) {
            int fit = specificity(range, type, subtype);
            if (fit < best || fit == 0) continue;
            weight = fit == best && weight > its_weight ? weight : its_weight;
            best = fit;
        }
    }
    return weight;
}
