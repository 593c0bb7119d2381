/* http1.c - request heads of HTTP/1.0 and 1.1 (RFC 9112, 2 to 7; RFC 9110, 5)

   Strict throughout: what two servers could read in two ways is refused (400). The head is looked
   at line by line, each line as soon as it is complete, so a bad one is answered at once; the
   verdict is that of the first bad line, however the bytes were split on their way. */
#include "http1.h"

#include <string.h>

#include "text.h"

#define HTTP1_METHOD_MAX ((size_t)32) /* bytes; more than any registered method has: 501 */
#define HTTP1_VERSION_SIZE ((size_t)8)
/* The longest request line that can be valid, with its CR. */
#define HTTP1_LINE_MAX (HTTP1_METHOD_MAX + 1 + HTTP1_TARGET_MAX + 1 + HTTP1_VERSION_SIZE + 1)

/* ---- characters ---- */

static bool is_token_char(unsigned char c)
{
    /* letters, digits and !#$%&'*+-.^_`|~, by 32 characters each */
    static const uint32_t set[8] = {0, 0x03FF6CFA, 0xC7FFFFFE, 0x57FFFFFF, 0, 0, 0, 0};
    return (set[c >> 5] >> (c & 31) & 1) != 0;
}

static bool is_token(mm_slice text)
{
    size_t i;
    for (i = 0; i < text.len; i++)
        if (!is_token_char((unsigned char)text.ptr[i])) return false;
    return text.len > 0;
}

/* Field values: visible characters, space, tab and what is beyond ASCII (RFC 9110, 5.5). */
static bool is_value(mm_slice text)
{
    size_t i;
    bool good = true;
    for (i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        good &= (c >= ' ' && c != 0x7F) || c == '\t';
    }
    return good;
}

/* ---- request line ---- */

/* What is wrong with a request line for its length alone; 0: nothing as yet. Says the same of the
   beginning of a line as of the whole of it, so that it does not matter what has arrived. */
static int check_line_length(mm_slice line)
{
    const char *space;
    mm_slice target;
    if (line.len <= HTTP1_TARGET_MAX + 1) return 0;
    space = memchr(line.ptr, ' ', HTTP1_METHOD_MAX + 1);
    if (space == NULL) return is_token(mm_slice_make(line.ptr, HTTP1_METHOD_MAX + 1)) ? 501 : 400;
    target = mm_slice_make(space + 1, line.len - (size_t)(space + 1 - line.ptr));
    if (target.len > HTTP1_TARGET_MAX && memchr(target.ptr, ' ', HTTP1_TARGET_MAX + 1) == NULL)
        return 414;
    return line.len > HTTP1_LINE_MAX ? 400 : 0;
}

/* HTTP/1.1, or any other minor version, by which the sender promises to understand 1.1. */
static int parse_version(http_request *request, mm_slice version)
{
    const char *v = version.ptr;
    if (version.len != HTTP1_VERSION_SIZE || memcmp(v, "HTTP/", 5) != 0 || !text_is_digit(v[5]) ||
        v[6] != '.' || !text_is_digit(v[7]))
        return 400;
    request->minor = v[7] != '0';
    return v[5] == '1' ? 0 : 505;
}

static int parse_request_line(http_request *request, mm_slice line)
{
    const char *first = memchr(line.ptr, ' ', line.len), *second, *end = line.ptr + line.len;
    mm_slice method;
    int status;
    if (first == NULL) return 400;
    method = mm_slice_make(line.ptr, (size_t)(first - line.ptr));
    if (!is_token(method)) return 400;
    if (method.len > HTTP1_METHOD_MAX) return 501;
    second = memchr(first + 1, ' ', (size_t)(end - first - 1));
    if (second == NULL) return 400;
    request->line = line;
    request->header_count = 0;
    request->method = http_method_parse(method);
    request->target = mm_slice_make(first + 1, (size_t)(second - first - 1));
    status = parse_version(request, mm_slice_make(second + 1, (size_t)(end - second - 1)));
    return status == 0 ? http1_parse_target(request) : status;
}

/* ---- fields ---- */

/* Obsolete folding, space before the colon and an empty name all fail to be a token. */
static int parse_field(mm_slice line, http_header *field)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    field->name = field->value = mm_slice_make(NULL, 0);
    if (colon == NULL) return 400;
    field->name = mm_slice_make(line.ptr, (size_t)(colon - line.ptr));
    field->value = text_trim(mm_slice_make(colon + 1, line.len - field->name.len - 1), " \t");
    return is_token(field->name) && is_value(field->value) ? 0 : 400;
}

static int take_host(http_request *request, mm_slice value, bool *seen)
{
    if (*seen || !http1_is_authority(value, false)) return 400;
    *seen = true;
    if (request->host.len == 0) request->host = value; /* an absolute target has precedence */
    return 0;
}

static int take_content_length(http_request *request, mm_slice value)
{
    int64_t length = 0;
    size_t i;
    if (request->content_length >= 0 || value.len == 0) return 400;
    for (i = 0; i < value.len; i++) {
        int digit = value.ptr[i] - '0';
        if (!text_is_digit(value.ptr[i]) || length > (INT64_MAX - digit) / 10) return 400;
        length = length * 10 + digit;
    }
    request->content_length = length;
    return 0;
}

/* What a list of connection options says, empty elements and unknown ones aside. */
static void take_connection(mm_slice value, bool *close, bool *keep_alive)
{
    while (value.len > 0) {
        mm_slice part = text_until(value, ",");
        value = text_from(value, part.len < value.len ? part.len + 1 : part.len);
        part = text_trim(part, " \t");
        if (text_is_word(part, "close")) *close = true;
        if (text_is_word(part, "keep-alive")) *keep_alive = true;
    }
}

/* The fields that say how the message goes on, and the host. */
typedef struct framing {
    bool host, transfer_encoding, unknown_coding, close, keep_alive, expect, unknown_expect;
} framing;

static int take_field(http_request *request, const http_header *field, framing *f)
{
    mm_slice value = field->value;
    switch (field->name.len) { /* one comparison for each field at most */
    case 4:
        if (text_is_word(field->name, "host")) return take_host(request, value, &f->host);
        break;
    case 6:
        if (!text_is_word(field->name, "expect")) break;
        f->expect = true;
        if (!text_is_word(value, "100-continue")) f->unknown_expect = true;
        break;
    case 10:
        if (text_is_word(field->name, "connection"))
            take_connection(value, &f->close, &f->keep_alive);
        break;
    case 14:
        if (text_is_word(field->name, "content-length")) return take_content_length(request, value);
        break;
    case 17:
        if (!text_is_word(field->name, "transfer-encoding")) break;
        if (f->transfer_encoding || !text_is_word(value, "chunked")) f->unknown_coding = true;
        f->transfer_encoding = true;
        break;
    default: break;
    }
    return 0;
}

/* What the fields mean together; 200, or the status that refuses them. */
static int interpret_fields(http_request *request)
{
    framing f = {0};
    size_t i;
    request->content_length = -1;
    for (i = 0; i < request->header_count; i++) {
        int status = take_field(request, &request->headers[i], &f);
        if (status != 0) return status;
    }
    http_request_index(request);
    if (request->minor >= 1 && !f.host) return 400;
    if (f.transfer_encoding && (request->minor == 0 || request->content_length >= 0)) return 400;
    if (f.unknown_coding) return 501;
    if (f.unknown_expect && request->minor >= 1) return 417;
    request->chunked = f.transfer_encoding;
    request->expect_continue = f.expect && request->minor >= 1 &&
                               (f.transfer_encoding || request->content_length > 0);
    request->keep_alive = !f.close && (request->minor >= 1 || f.keep_alive);
    return 200;
}

/* ---- the head as a whole ---- */

/* Where the request line begins: behind the one empty line that may be in front of it. */
static size_t skip_empty_line(const char *bytes, size_t size)
{
    return size >= 2 && bytes[0] == '\r' && bytes[1] == '\n' ? 2 : 0;
}

static const char *find_line_end(const char *bytes, size_t begin, size_t end)
{
    return begin < end ? memchr(bytes + begin, '\n', end - begin) : NULL;
}

/* The request line, as far as it has come. */
static mm_slice first_line(const char *bytes, size_t size)
{
    size_t begin = skip_empty_line(bytes, size);
    const char *end = find_line_end(bytes, begin, size);
    size_t len = end == NULL ? size - begin : (size_t)(end - bytes) - begin;
    if (len > HTTP1_LINE_MAX) len = HTTP1_LINE_MAX;
    if (len > 0 && bytes[begin + len - 1] == '\r') len--;
    return mm_slice_make(bytes + begin, len);
}

/* Makes of a refused request what the log and the answer need. */
static int refuse_head(http_request *request, int status, const char *bytes, size_t size)
{
    mm_slice line = first_line(bytes, size);
    memset(request, 0, offsetof(http_request, headers));
    request->header_count = 0;
    request->content_length = -1;
    request->minor = 1;
    request->line = line;
    request->method = http_method_parse(text_until(line, " "));
    return status;
}

/* How many lines, the empty one in front aside, end before `begin`, where a line starts. Asked once
   a call, so at most once for each of the HTTP_REQUEST_HEADERS lines that a head may have. */
static size_t count_lines(const char *bytes, size_t begin)
{
    size_t count = 0, at = skip_empty_line(bytes, begin);
    for (; at < begin; count++) at = (size_t)(find_line_end(bytes, at, begin) - bytes) + 1;
    return count;
}

/* A complete line, its LF aside: the request line (number 0) or a field. */
static int parse_line(http_request *request, mm_slice line, size_t number)
{
    int status = number == 0 ? check_line_length(line) : 0;
    http_header field;
    if (status != 0) return status;
    if (line.len == 0 || line.ptr[line.len - 1] != '\r') return 400; /* a bare LF */
    line.len--;
    if (number == 0) return parse_request_line(request, line);
    if (number > HTTP_REQUEST_HEADERS) return 431;
    status = parse_field(line, &field);
    request->headers[number - 1] = field;
    request->header_count = number;
    return status;
}

/* What is to be said of `size` bytes without the end of a head, when nothing was to be said of the
   first `seen` of them; 0: nothing as yet. */
static int judge_beginning(const char *bytes, size_t size, size_t seen)
{
    int status = 0;
    if (seen <= HTTP1_LINE_MAX + 2) { /* beyond that, the request line has been complete */
        size_t begin = skip_empty_line(bytes, size);
        mm_slice line = mm_slice_make(bytes + begin, size - begin);
        if (line.len > HTTP1_TARGET_MAX && memchr(line.ptr, '\n', line.len) == NULL)
            status = check_line_length(line);
    }
    return status == 0 && size == HTTP1_HEAD_MAX ? 431 : status;
}

int http1_parse_head(http_request *request, const char *bytes, size_t size, size_t *scanned,
                     size_t *head_size)
{
    size_t limit = size < HTTP1_HEAD_MAX ? size : HTTP1_HEAD_MAX;
    size_t seen = *scanned < limit ? *scanned : limit;
    size_t begin = seen, number = 0; /* of the current line */
    const char *lf = find_line_end(bytes, seen, limit);
    int status;
    if (lf != NULL && seen > 0) { /* this line has begun in an earlier call */
        while (begin > 0 && bytes[begin - 1] != '\n') begin--;
        number = count_lines(bytes, begin);
    }
    for (; lf != NULL; lf = find_line_end(bytes, begin, limit)) {
        mm_slice line = mm_slice_make(bytes + begin, (size_t)(lf - bytes) - begin);
        bool empty = line.len == 1 && line.ptr[0] == '\r';
        if (empty && number > 0) break;
        if (!empty || begin > 0) { /* an empty line in front is let pass: RFC 9112, 2.2 */
            status = parse_line(request, line, number++);
            if (status != 0) return refuse_head(request, status, bytes, limit);
        }
        begin += line.len + 1;
    }
    if (lf == NULL) {
        status = judge_beginning(bytes, limit, seen);
        if (status != 0) return refuse_head(request, status, bytes, limit);
        *scanned = limit;
        return 0;
    }
    if (seen > 0) { /* what earlier calls have found has been forgotten, or has moved */
        *scanned = 0;
        return http1_parse_head(request, bytes, size, scanned, head_size);
    }
    status = interpret_fields(request);
    if (status != 200) return refuse_head(request, status, bytes, limit);
    *head_size = (size_t)(lf - bytes) + 1;
    return status;
}
