/* values.c - how the values of options are written */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "values.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "text.h"

/* What an answer says of itself, of its content and of the connection (RFC 9110, 6 to 15). */
static const char *const own_fields[] = {
    "Accept-Ranges", "Age", "Allow", "Connection", "Content-Encoding", "Content-Length",
    "Content-Range", "Content-Type", "Date", "ETag", "Keep-Alive", "Last-Modified", "Location",
    "Proxy-Connection", "Retry-After", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Vary",
    "WWW-Authenticate"};

static bool split(const char *text, char separator, value_pair *pair)
{
    const char *at = strchr(text, separator);
    if (at == NULL) return false;
    pair->left = mm_slice_make(text, (size_t)(at - text));
    pair->right = text_trim(mm_slice_from_string(at + 1), " \t");
    return pair->left.len > 0 && pair->right.len > 0;
}

static bool is_field_name(mm_slice name)
{
    size_t i;
    for (i = 0; i < name.len; i++)
        if (!text_is_letter(name.ptr[i]) && !text_is_digit(name.ptr[i]) &&
            !text_is_among(name.ptr[i], "!#$%&'*+-.^_`|~"))
            return false;
    for (i = 0; i < sizeof(own_fields) / sizeof(own_fields[0]); i++)
        if (text_is_word(name, own_fields[i])) return false;
    return name.len > 0;
}

static bool is_field_value(mm_slice value)
{
    size_t i;
    for (i = 0; i < value.len; i++)
        if ((value.ptr[i] < ' ' && value.ptr[i] != '\t') || value.ptr[i] > '~') return false;
    return value.len > 0;
}

bool value_header(const char *text, value_pair *pair)
{
    return split(text, ':', pair) && is_field_name(pair->left) && is_field_value(pair->right);
}

bool value_cache_control(const char *text, value_pair *pair)
{
    return split(text, ':', pair) && is_field_value(pair->right);
}

bool value_error_page(const char *text, value_pair *pair)
{
    mm_slice status;
    if (!split(text, '=', pair)) return false;
    pair->right = mm_slice_from_string(strchr(text, '=') + 1); /* names may end in blanks */
    status = pair->left;
    return status.len == 3 && (status.ptr[0] == '4' || status.ptr[0] == '5') &&
           text_is_digit(status.ptr[1]) && text_is_digit(status.ptr[2]);
}

static bool is_prefix(mm_slice path)
{
    size_t i;
    if (path.len == 0 || path.ptr[0] != '/' || !mm_slice_is_utf8(path)) return false;
    for (i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        if (c < ' ' || c == 0x7F || c == '\\') return false;
        if (c == '/' && i + 1 < path.len && text_is_among(path.ptr[i + 1], "/.")) return false;
    }
    return true;
}

bool value_upload(const char *text, value_pair *pair)
{
    if (!split(text, '=', pair)) return false;
    pair->right = mm_slice_from_string(strchr(text, '=') + 1); /* names may end in blanks */
    return is_prefix(pair->left);
}

int64_t value_size(const char *text)
{
    static const char units[] = "KMGT";
    const char *unit;
    int64_t size = 0;
    int shift = 0;
    if (!text_is_digit(*text)) return -1;
    for (; text_is_digit(*text); text++) {
        if (size > (INT64_MAX - (*text - '0')) / 10) return -1;
        size = size * 10 + (*text - '0');
    }
    unit = *text == '\0' ? NULL : strchr(units, *text);
    if (unit != NULL) shift = 10 * ((int)(unit - units) + 1);
    if (*text != '\0' && (unit == NULL || text[1] != '\0')) return -1;
    return size > INT64_MAX >> shift ? -1 : size << shift;
}

bool value_origin(const char *text)
{
    mm_slice origin = mm_slice_from_string(text), scheme, host;
    size_t i;
    if (text_is_word(origin, "*")) return true;
    scheme = text_until(origin, ":");
    if (scheme.len == 0 || !mm_slice_starts_with(text_from(origin, scheme.len),
                                                 mm_slice_from_string("://")))
        return false;
    host = text_from(origin, scheme.len + 3);
    for (i = 0; i < host.len; i++)
        if (!text_is_letter(host.ptr[i]) && !text_is_digit(host.ptr[i]) &&
            !text_is_among(host.ptr[i], "-._:[]"))
            return false;
    for (i = 0; i < scheme.len; i++)
        if (!text_is_letter(scheme.ptr[i]) && !text_is_digit(scheme.ptr[i]) &&
            !text_is_among(scheme.ptr[i], "+-."))
            return false;
    return host.len > 0;
}

/* ---- addresses ---- */

unsigned value_address(const char *text, unsigned char address[16])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    if (inet_pton(AF_INET6, text, address) == 1) return 128;
    memcpy(address, mapped, sizeof(mapped));
    return inet_pton(AF_INET, text, address + sizeof(mapped)) == 1 ? 32 : 0;
}

bool value_net(const char *text, value_network *net)
{
    char address[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "/");
    const char *digits = text + length + 1;
    unsigned bits, most;
    if (length >= sizeof(address)) return false;
    memcpy(address, text, length);
    address[length] = '\0';
    most = value_address(address, net->address);
    if (most == 0) return false;
    bits = most;
    if (text[length] == '/') {
        size_t count = strspn(digits, "0123456789");
        if (count == 0 || count > 3 || digits[count] != '\0') return false;
        bits = (unsigned)atoi(digits);
    }
    if (bits > most) return false;
    net->bits = 128 - most + bits;
    return true;
}
