/* What the text functions of mm_buffer.h have to make, written a second time and plainly: a decoder
 * of UTF-8, and readers of escaped text. Include mm_buffer.h's implementation first. */
#ifndef TESTS_TEXT_MODEL_H
#define TESTS_TEXT_MODEL_H
#include <stdio.h>
#include <string.h>

static inline size_t utf8_encode(uint32_t code, unsigned char *to)
{
    if (code < 0x80) return to[0] = (unsigned char)code, 1;
    if (code < 0x800) {
        to[0] = (unsigned char)(0xC0 | code >> 6);
        to[1] = (unsigned char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (unsigned char)(0xE0 | code >> 12);
        to[1] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
        to[2] = (unsigned char)(0x80 | (code & 0x3F));
        return 3;
    }
    to[0] = (unsigned char)(0xF0 | code >> 18);
    to[1] = (unsigned char)(0x80 | (code >> 12 & 0x3F));
    to[2] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
    to[3] = (unsigned char)(0x80 | (code & 0x3F));
    return 4;
}

/* Bytes of the character at `from`, by decoding and encoding it again; 0: not UTF-8. */
static inline size_t utf8_size(const unsigned char *from, size_t n)
{
    static const unsigned char masks[] = {0x7F, 0x1F, 0x0F, 0x07};
    size_t size = from[0] < 0x80 ? 1 : from[0] < 0xE0 ? 2 : from[0] < 0xF0 ? 3 : 4, i;
    uint32_t code = from[0] & masks[size - 1];
    unsigned char again[4];
    if (size > n) return 0;
    for (i = 1; i < size; i++) code = code << 6 | (from[i] & 0x3F);
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
    return utf8_encode(code, again) == size && memcmp(again, from, size) == 0 ? size : 0;
}

static inline bool utf8_is_valid(const unsigned char *from, size_t n)
{
    while (n > 0) {
        size_t size = utf8_size(from, n);
        if (size == 0) return false;
        from += size;
        n -= size;
    }
    return true;
}

/* The text with U+FFFD where JSON ('j'), XML ('x') or HTML ('h') cannot have the bytes. */
static inline size_t cleaned(const unsigned char *from, size_t n, char language, unsigned char *to)
{
    size_t size = 0;
    while (n > 0) {
        size_t taken = utf8_size(from, n);
        bool is_good = taken != 0;
        if (language != 'j' && from[0] == 0) is_good = false;
        if (language == 'x' && from[0] < 0x20 && strchr("\t\n\r", from[0]) == NULL) is_good = false;
        if (language == 'x' && taken == 3 && from[0] == 0xEF && from[1] == 0xBF && from[2] >= 0xBE)
            is_good = false;
        if (taken == 0) taken = 1;
        memcpy(to + size, is_good ? (const char *)from : MMI_REPLACEMENT, is_good ? taken : 3);
        size += is_good ? taken : 3;
        from += taken;
        n -= taken;
    }
    return size;
}

/* The bytes that escaped text stands for; SIZE_MAX when it is malformed. A NUL ends the text. */
static inline size_t json_read(const char *text, size_t n, unsigned char *to)
{
    size_t size = 0, i;
    for (i = 0; i < n; i++) {
        static const char letters[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
        const char *found;
        unsigned code;
        if ((unsigned char)text[i] < 0x20 || text[i] == '"') return SIZE_MAX;
        to[size++] = (unsigned char)text[i];
        if (text[i] != '\\') continue;
        if (++i == n) return SIZE_MAX;
        for (found = letters; *found != '\0' && *found != text[i]; found += 2) continue;
        if (*found != '\0') {
            to[size - 1] = (unsigned char)found[1];
            continue;
        }
        if (text[i] != 'u' || n - i < 5 || sscanf(text + i + 1, "%4x", &code) != 1) return SIZE_MAX;
        size += utf8_encode(code, to + size - 1) - 1;
        i += 4;
    }
    return size;
}

static inline size_t c_read(const char *text, size_t n, unsigned char *to)
{
    static const char letters[] = "\"\"\\\\n\nr\rt\t";
    size_t size = 0, i, k;
    for (i = 0; i < n; i++) {
        unsigned code;
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F || text[i] == '"') return SIZE_MAX;
        to[size++] = (unsigned char)text[i];
        if (text[i] != '\\') continue;
        for (i++, k = 0; letters[k] != '\0' && letters[k] != text[i];) k += 2;
        if (letters[k] != '\0') {
            to[size - 1] = (unsigned char)letters[k + 1];
            continue;
        }
        if (text[i] != 'x' || sscanf(text + i + 1, "%2x", &code) != 1) return SIZE_MAX;
        to[size - 1] = (unsigned char)code;
        i += 2;
    }
    return size;
}

static inline size_t markup_read(const char *text, size_t n, unsigned char *to)
{
    static const struct {
        const char *name;
        char value;
    } names[] = {{"&amp;", '&'}, {"&lt;", '<'},  {"&gt;", '>'},
                 {"&quot;", '"'}, {"&#39;", '\''}, {"&#13;", '\r'}};
    size_t size = 0, i = 0, k;
    while (i < n) {
        if (strchr("<>\"'", text[i]) != NULL) return SIZE_MAX; /* a NUL as well */
        to[size++] = (unsigned char)text[i];
        if (text[i++] != '&') continue;
        for (k = 0; k < 6; k++)
            if (strncmp(text + i - 1, names[k].name, strlen(names[k].name)) == 0) break;
        if (k == 6) return SIZE_MAX;
        to[size - 1] = (unsigned char)names[k].value;
        i += strlen(names[k].name) - 1;
    }
    return size;
}
#endif
