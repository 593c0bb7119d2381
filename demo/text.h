/* text.h - what parsers of ASCII protocols ask of characters and slices, whatever the locale */
#ifndef DEMO_TEXT_H
#define DEMO_TEXT_H

#include "../mm_buffer.h"

#include <string.h>

static inline bool text_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool text_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The value of a hexadecimal digit; -1 when it is none. */
static inline int text_hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static inline char text_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static inline bool text_is_among(char c, const char *set)
{
    while (*set != '\0' && *set != c) set++; /* sets are short: a call takes longer */
    return *set != '\0';
}

/* The text from `begin`, which is at most its length, up to the end. */
static inline mm_slice text_from(mm_slice text, size_t begin)
{
    return mm_slice_make(text.ptr == NULL ? NULL : text.ptr + begin, text.len - begin);
}

/* The part of `text` up to the first character of `ends`, or all of it. */
static inline mm_slice text_until(mm_slice text, const char *ends)
{
    size_t end = 0;
    while (end < text.len && !text_is_among(text.ptr[end], ends)) end++;
    return mm_slice_make(text.ptr, end);
}

/* The text without the characters of `set` at both its ends. */
static inline mm_slice text_trim(mm_slice text, const char *set)
{
    while (text.len > 0 && text_is_among(text.ptr[0], set)) text = text_from(text, 1);
    while (text.len > 0 && text_is_among(text.ptr[text.len - 1], set)) text.len--;
    return text;
}

/* Whether the text is that word, upper or lower case. */
static inline bool text_is_word(mm_slice text, const char *word)
{
    return mm_slice_equal_nocase(text, mm_slice_from_string(word));
}

#endif
