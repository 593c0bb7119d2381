/* path.c - paths of requests, decoded and encoded (RFC 3986, 2.1 and 5.2.4) */
#include "files.h"
#include "text.h"

/* Whether a byte may be in a name, once decoded. Backslashes are slashes to other systems. */
static bool is_name_byte(char c)
{
    return (unsigned char)c >= ' ' && c != 0x7F && c != '/' && c != '\\';
}

/* Decodes one segment; false when it is not valid. */
static bool decode_segment(mm_slice segment, char *to, size_t *length)
{
    size_t i;
    *length = 0;
    for (i = 0; i < segment.len; i++) {
        char c = segment.ptr[i];
        if (c == '%') {
            int high, low;
            if (segment.len - i < 3) return false;
            high = text_hex_value(segment.ptr[i + 1]);
            low = text_hex_value(segment.ptr[i + 2]);
            if (high < 0 || low < 0) return false;
            c = (char)(unsigned char)(high * 16 + low);
            i += 2;
        }
        if (!is_name_byte(c)) return false;
        to[(*length)++] = c;
    }
    return mm_slice_is_utf8(mm_slice_make(to, *length));
}

/* The length of a path without its last segment; there is one. */
static size_t parent_length(const char *path, size_t length)
{
    while (length > 0 && path[length - 1] != '/') length--;
    return length == 0 ? 0 : length - 1;
}

/* Whether a segment of a decoded path begins with a dot: those are not for the public. */
static bool is_hidden(mm_slice path)
{
    bool first = true;
    while (path.len > 0) {
        mm_slice segment = text_until(path, "/");
        bool known = first && mm_slice_equal(segment, mm_slice_from_string(".well-known"));
        if (segment.len > 0 && segment.ptr[0] == '.' && !known) return true;
        path = text_from(path, segment.len < path.len ? segment.len + 1 : segment.len);
        first = false;
    }
    return false;
}

int files_decode_path(mm_slice path, char *to, size_t *length, bool *folder)
{
    size_t used = 0, size;
    if (path.len == 0 || path.ptr[0] != '/') return 400;
    while (path.len > 0) {
        mm_slice segment;
        size_t at = used == 0 ? 0 : used + 1; /* behind a slash, which is put when it is needed */
        path = text_from(path, 1);
        segment = text_until(path, "/");
        path = text_from(path, segment.len);
        if (!decode_segment(segment, to + at, &size)) return 400;
        *folder = true;
        if (size == 0 || (size == 1 && to[at] == '.')) continue;
        if (size == 2 && to[at] == '.' && to[at + 1] == '.') {
            if (used == 0) return 400;
            used = parent_length(to, used);
            continue;
        }
        if (at > 0) to[used] = '/';
        used = at + size;
        *folder = false;
    }
    *length = used;
    return is_hidden(mm_slice_make(to, used)) ? 404 : 200;
}

void files_encode_path(mm_buffer *to, mm_slice path)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t i, begin = 0;
    for (i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        char encoded[3] = {'%', digits[c >> 4], digits[c & 15]};
        if (text_is_letter((char)c) || text_is_digit((char)c) || text_is_among((char)c, "-._~/"))
            continue;
        mm_buffer_append(to, path.ptr + begin, i - begin);
        mm_buffer_append(to, encoded, sizeof(encoded));
        begin = i + 1;
    }
    if (begin < path.len) mm_buffer_append(to, path.ptr + begin, path.len - begin);
}

bool files_is_name_served(mm_slice name)
{
    size_t i;
    if (name.len == 0 || name.ptr[0] == '.') return false;
    for (i = 0; i < name.len; i++)
        if (!is_name_byte(name.ptr[i])) return false;
    return mm_slice_is_utf8(name);
}
