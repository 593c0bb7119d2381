/* http1_target.c - request targets and hosts (RFC 9112, 3.2; RFC 3986, 3.2) */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "http1.h"

#include <arpa/inet.h>

#include "text.h"

/* Visible ASCII without '#'. Which of it a path may have is for others to say. */
static bool is_target(mm_slice text)
{
    size_t i;
    bool good = text.len > 0;
    for (i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        good &= c > ' ' && c < 0x7F && c != '#';
    }
    return good;
}

/* The size of the IPv6 literal in brackets at the start of a text; 0 when there is none. */
static size_t ipv6_size(mm_slice text)
{
    struct in6_addr address;
    char literal[INET6_ADDRSTRLEN];
    mm_slice inner = text_until(text_from(text, 1), "]");
    if (inner.len >= sizeof(literal) || inner.len + 1 == text.len) return 0;
    memcpy(literal, inner.ptr, inner.len);
    literal[inner.len] = '\0';
    return inet_pton(AF_INET6, literal, &address) == 1 ? inner.len + 2 : 0;
}

/* The size of the name or IPv4 address at the start of a text, up to a colon; 0 when it is none. */
static size_t name_size(mm_slice text)
{
    size_t at;
    for (at = 0; at < text.len && text.ptr[at] != ':'; at++) {
        char c = text.ptr[at];
        if (c == '%') {
            if (text.len - at < 3 || text_hex_value(text.ptr[at + 1]) < 0 ||
                text_hex_value(text.ptr[at + 2]) < 0)
                return 0;
        } else if (!text_is_letter(c) && !text_is_digit(c) && !text_is_among(c, "-._~!$&'()*+,;="))
            return 0;
    }
    return at;
}

bool http1_is_authority(mm_slice text, bool with_port)
{
    bool literal = text.len > 0 && text.ptr[0] == '[';
    size_t at = literal ? ipv6_size(text) : name_size(text), digits = 0;
    long port = 0;
    if (at == 0) return false;
    if (at == text.len) return !with_port;
    if (text.ptr[at++] != ':') return false;
    for (; at < text.len && digits < 6; at++, digits++) {
        if (!text_is_digit(text.ptr[at])) return false;
        port = port * 10 + (text.ptr[at] - '0');
    }
    return digits <= 5 && port <= 65535 && (digits > 0 || !with_port);
}

/* Splits what is behind the authority into path and query. */
static void split_path(http_request *request, mm_slice text)
{
    request->path = text_until(text, "?");
    if (request->path.len < text.len) request->query = text_from(text, request->path.len + 1);
}

/* http://host/path?query, as a proxy is asked: it is for us all the same. */
static int parse_absolute(http_request *request, mm_slice target)
{
    size_t scheme = 0;
    if (target.len > 7 && text_is_word(mm_slice_make(target.ptr, 7), "http://")) scheme = 7;
    if (target.len > 8 && text_is_word(mm_slice_make(target.ptr, 8), "https://")) scheme = 8;
    if (scheme == 0) return 400;
    request->host = text_until(text_from(target, scheme), "/?");
    if (!http1_is_authority(request->host, false)) return 400;
    target = text_from(target, scheme + request->host.len);
    split_path(request, target);
    if (request->path.len > 0) return 0;
    /* RFC 9112, 3.2.4: OPTIONS of a server as a whole, on its way through a proxy */
    request->path = mm_slice_from_string(
        request->method == HTTP_OPTIONS && target.len == 0 ? "*" : "/");
    return 0;
}

int http1_parse_target(http_request *request)
{
    mm_slice target = request->target;
    request->path = request->query = request->host = mm_slice_make(NULL, 0);
    if (!is_target(target)) return 400;
    if (request->method == HTTP_CONNECT) {
        request->host = target;
        return http1_is_authority(target, true) ? 0 : 400;
    }
    if (target.ptr[0] == '/') {
        split_path(request, target);
        return 0;
    }
    if (!text_is_word(target, "*")) return parse_absolute(request, target);
    request->path = target;
    return request->method == HTTP_OPTIONS ? 0 : 400;
}
