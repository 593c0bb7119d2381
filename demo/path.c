/* path.c - paths of requests, decoded (RFC 3986, 2.1 and 5.2.4) */
#include "files.h"
#include "text.h"

/* Whether a byte may be in a name, once decoded. Backslashes are slashes to other systems. */
static bool is_name_byte(char c)
{
    return (unsigned char)c >= ' ' && c != 0x7F && c != '/' && c != '\\';
}

/* Decodes one segment, and puts a NUL behind it; false when it is not valid. */
static bool decode_segment(mm_slice segment, char *to, size_t *length)
{
    mm_buffer name;
    mm_status status;
    size_t i;
    mm_buffer_init_memory(&name, to, segment.len + 1, NULL); /* decoded, it is no longer */
    status = mm_buffer_append_url_decoded(&name, segment);
    *length = mm_buffer_length(&name);
    mm_buffer_deinit(&name);
    if (status != MM_STATUS_OK) return false;
    for (i = 0; i < *length; i++)
        if (!is_name_byte(to[i])) return false;
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

bool files_is_name_served(mm_slice name)
{
    size_t i;
    if (name.len == 0 || name.ptr[0] == '.') return false;
    for (i = 0; i < name.len; i++)
        if (!is_name_byte(name.ptr[i])) return false;
    return mm_slice_is_utf8(name);
}
