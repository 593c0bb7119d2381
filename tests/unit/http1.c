/* demo/http1*.c: request heads however they arrive, bodies, response heads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_chunk.h"

#include <string.h>

#include "../../demo/date.c"
#include "../../demo/html.c"
#include "../../demo/http.c"

/* Counts the bytes that are searched, to show that they do not grow with the number of calls. */
static size_t searched;
static const void *counting_memchr(const void *bytes, int c, size_t size)
{
    const void *found = memchr(bytes, c, size);
    searched += found == NULL ? size : (size_t)((const char *)found - (const char *)bytes) + 1;
    return found;
}
#define memchr counting_memchr
#include "../../demo/http1.c"
#undef memchr
#include "../../demo/http1_body.c"
#include "../../demo/http1_response.c"
#include "../../demo/http1_target.c"

#include "../harness.h"

/* ---- how a head is parsed, in one piece and in many ---- */

typedef struct outcome {
    int status;
    size_t head_size;
    http_request request;
    char *bytes; /* what the slices point into; of exactly the size that was parsed */
} outcome;

/* A copy without a byte behind it, so that a sanitizer sees any access there. */
static char *exact_copy(const char *bytes, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) abort();
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

/* One call with the first `size` bytes, at an address of their own, into a request with rubbish in
   it: nothing is kept there between calls, and nothing is left over from another request. */
static int step_parse(outcome *o, const char *bytes, size_t size, size_t *scanned)
{
    memset(&o->request, 0xA5, sizeof(o->request));
    free(o->bytes);
    o->bytes = exact_copy(bytes, size);
    o->status = http1_parse_head(&o->request, o->bytes, size, scanned, &o->head_size);
    return o->status;
}

static void parse_whole(outcome *o, const char *bytes, size_t size)
{
    size_t scanned = 0;
    memset(o, 0, sizeof(*o));
    step_parse(o, bytes, size, &scanned);
}

/* First `split` bytes, then all of them unless the answer is known by then. */
static void parse_split(outcome *o, const char *bytes, size_t size, size_t split)
{
    size_t scanned = 0;
    memset(o, 0, sizeof(*o));
    if (step_parse(o, bytes, split, &scanned) == 0) step_parse(o, bytes, size, &scanned);
}

static void parse_bytewise(outcome *o, const char *bytes, size_t size, size_t stride)
{
    size_t scanned = 0, n;
    memset(o, 0, sizeof(*o));
    for (n = 0; n < size && step_parse(o, bytes, n, &scanned) == 0; n += stride) continue;
    if (o->status == 0) step_parse(o, bytes, size, &scanned);
}

static bool same_slice(mm_slice a, mm_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Whether two ways to the same head have led to the same. */
static bool same_outcome(const outcome *a, const outcome *b)
{
    const http_request *x = &a->request, *y = &b->request;
    size_t i;
    if (a->status != b->status || a->status == 0) return a->status == b->status;
    if (x->method != y->method) return false;
    if (a->status != 200) return true; /* of the line there is what had arrived */
    for (i = 0; i < x->header_count && i < y->header_count; i++)
        if (!same_slice(x->headers[i].name, y->headers[i].name) ||
            !same_slice(x->headers[i].value, y->headers[i].value))
            return false;
    return a->head_size == b->head_size && x->header_count == y->header_count &&
           x->minor == y->minor && x->keep_alive == y->keep_alive && x->chunked == y->chunked &&
           x->expect_continue == y->expect_continue && x->content_length == y->content_length &&
           same_slice(x->line, y->line) && same_slice(x->target, y->target) &&
           same_slice(x->path, y->path) && same_slice(x->query, y->query) &&
           same_slice(x->host, y->host);
}

static bool is_inside(mm_slice s, const outcome *o, size_t size)
{
    if (s.len == 0 || *s.ptr == '\0') return s.len == 0;
    if (s.len == 1 && (s.ptr[0] == '*' || s.ptr[0] == '/')) return true; /* may be a literal */
    return s.ptr >= o->bytes && s.ptr + s.len <= o->bytes + size;
}

/* Whether everything points into the bytes that were given. */
static bool is_sound(const outcome *o, size_t size)
{
    const http_request *r = &o->request;
    size_t i;
    if (o->status == 0) return true;
    if (r->header_count > HTTP_REQUEST_HEADERS || (unsigned)r->method > HTTP_UNKNOWN) return false;
    if (!is_inside(r->line, o, size)) return r->line.len > 0 && r->line.ptr[0] == '\0';
    if (o->status != 200) return r->header_count == 0 && !r->keep_alive;
    for (i = 0; i < r->header_count; i++)
        if (!is_inside(r->headers[i].name, o, size) || !is_inside(r->headers[i].value, o, size))
            return false;
    return o->head_size <= size && o->head_size <= HTTP1_HEAD_MAX && r->minor <= 1 &&
           is_inside(r->target, o, size) && is_inside(r->path, o, size) &&
           is_inside(r->query, o, size) && is_inside(r->host, o, size) &&
           (r->minor == 0 || r->host.len > 0);
}

/* The status of a head, once every way of splitting it has given the same. */
static int status_of(const char *bytes, size_t size)
{
    outcome whole, other;
    size_t split;
    int status;
    parse_whole(&whole, bytes, size);
    status = is_sound(&whole, size) ? whole.status : -1;
    for (split = 0; split <= size; split += size > 1000 ? 97 : 1) {
        parse_split(&other, bytes, size, split);
        if (!same_outcome(&whole, &other)) status = -2;
        free(other.bytes);
    }
    parse_bytewise(&other, bytes, size, size > 1000 ? 13 : 1);
    if (!same_outcome(&whole, &other)) status = -3;
    free(other.bytes);
    free(whole.bytes);
    return status;
}

typedef struct head_case {
    int status;
    const char *head;
    size_t size; /* 0: up to the NUL */
} head_case;

#define CHECK_HEADS(cases) \
    do { \
        size_t case_i; \
        for (case_i = 0; case_i < sizeof(cases) / sizeof((cases)[0]); case_i++) { \
            const head_case *h = &(cases)[case_i]; \
            int got = status_of(h->head, h->size != 0 ? h->size : strlen(h->head)); \
            if (got != h->status) printf("      case %zu: \"%s\"\n", case_i, h->head); \
            CHECK_EQ(got, h->status); \
        } \
    } while (0)

#define BYTES(literal) (literal), sizeof(literal) - 1
#define LINE(line) line "\r\nHost: h\r\n\r\n"
#define TARGET(target) LINE("GET " target " HTTP/1.1")
#define FIELD(field) "GET / HTTP/1.1\r\nHost: h\r\n" field "\r\n\r\n"
#define HOST(value) "GET / HTTP/1.1\r\nHost:" value "\r\n\r\n"

TEST(token_characters_are_those_of_the_rfc)
{
    int c;
    for (c = 0; c < 256; c++) {
        bool expected = text_is_digit((char)c) || text_is_letter((char)c) ||
                        text_is_among((char)c, "!#$%&'*+-.^_`|~");
        CHECK_EQ(is_token_char((unsigned char)c), expected);
    }
}

TEST(a_request_is_taken_apart)
{
    const char *head = "GET /a%20b?x=1&y HTTP/1.1\r\nHost: example.org:8443\r\nEmpty:\r\n"
                       "accept: \t text/html , */* \t\r\nX: \xC3\xA9\r\n\r\nGET /next";
    outcome o;
    const http_request *r = &o.request;
    parse_whole(&o, head, strlen(head));
    CHECK_EQ(o.status, 200);
    CHECK_EQ(o.head_size, strlen(head) - strlen("GET /next"));
    CHECK_EQ(r->method, HTTP_GET);
    CHECK(same_slice(r->line, mm_slice_from_string("GET /a%20b?x=1&y HTTP/1.1")));
    CHECK(same_slice(r->target, mm_slice_from_string("/a%20b?x=1&y")));
    CHECK(same_slice(r->path, mm_slice_from_string("/a%20b")));
    CHECK(same_slice(r->query, mm_slice_from_string("x=1&y")));
    CHECK(same_slice(r->host, mm_slice_from_string("example.org:8443")));
    CHECK_EQ(r->minor, 1);
    CHECK(r->keep_alive && !r->chunked && !r->expect_continue);
    CHECK_EQ(r->content_length, -1);
    CHECK_EQ(r->header_count, 4);
    CHECK_EQ(http_request_header(r, "empty")->value.len, 0);
    CHECK(same_slice(http_request_header(r, "Accept")->value,
                     mm_slice_from_string("text/html , */*")));
    CHECK(is_sound(&o, strlen(head)));
    free(o.bytes);
    CHECK_EQ(status_of(head, strlen(head)), 200);
}

TEST(incomplete_heads_wait)
{
    static const head_case cases[] = {
        {0, "", 0}, {0, "\r", 0}, {0, "\r\n", 0}, {0, "G", 0}, {0, "GET / HTTP/1.1", 0},
        {0, "GET / HTTP/1.1\r", 0}, {0, "GET / HTTP/1.1\r\n", 0}, {0, "GET / HTTP/1.1\r\n\r", 0},
        {0, "GET / HTTP/1.1\r\nHost: h\r\n", 0}, {0, "GET / HTTP/1.1\r\nHost: h\r\n\r", 0},
        {0, "\r\nGET / HTTP/1.1\r\nHost: h\r\nX", 0}};
    CHECK_HEADS(cases);
}

TEST(request_lines)
{
    static const head_case cases[] = {
        {200, LINE("GET / HTTP/1.1"), 0},
        {200, LINE("DELETE / HTTP/1.1"), 0},
        {200, LINE("brew / HTTP/1.1"), 0}, /* a token: 501 is the handler's to say */
        {200, "\r\n" LINE("GET / HTTP/1.1"), 0},
        {400, "\r\n\r\n" LINE("GET / HTTP/1.1"), 0},
        {400, "\r\n\r\n", 0},
        {400, "\r\r\n" LINE("GET / HTTP/1.1"), 0},
        {400, "\n", 0},
        {400, "\n" LINE("GET / HTTP/1.1"), 0},
        {400, LINE(""), 0},
        {400, LINE(" GET / HTTP/1.1"), 0},
        {400, LINE("GET  / HTTP/1.1"), 0},
        {400, LINE("GET /  HTTP/1.1"), 0},
        {400, LINE("GET / HTTP/1.1 "), 0},
        {400, LINE("GET / HTTP/1.1\t"), 0},
        {400, LINE("GET\t/\tHTTP/1.1"), 0},
        {400, LINE("GET /"), 0},
        {400, LINE("GET / "), 0},
        {400, LINE("GET"), 0},
        {400, LINE("GET HTTP/1.1"), 0},
        {400, LINE("GET / x HTTP/1.1"), 0},
        {400, LINE("G{T / HTTP/1.1"), 0},
        {400, LINE("GET: / HTTP/1.1"), 0},
        {400, LINE("G\xC3\x89T / HTTP/1.1"), 0},
        {400, BYTES("G\0T / HTTP/1.1\r\nHost: h\r\n\r\n")},
        {400, BYTES("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n")},
        {400, "GET / HTTP/1.1\nHost: h\r\n\r\n", 0},
        {400, "GET / HTTP/1.1\rHost: h\r\n\r\n", 0},
        {400, "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", 0},
        {400, "\x16\x03\x01\x02\x01\x01\xfc\x03\x03\n", 0}, /* TLS, if it has a LF */
        {400, "SSH-2.0-OpenSSH_9.2\r\n", 0},
        {501, LINE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1"), 0}, /* 33 characters */
        {200, LINE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1"), 0}};
    CHECK_HEADS(cases);
}

TEST(versions)
{
    static const head_case cases[] = {
        {200, LINE("GET / HTTP/1.0"), 0},      {200, LINE("GET / HTTP/1.1"), 0},
        {200, LINE("GET / HTTP/1.2"), 0},      {200, LINE("GET / HTTP/1.9"), 0},
        {505, LINE("GET / HTTP/2.0"), 0},      {505, LINE("GET / HTTP/3.0"), 0},
        {505, LINE("GET / HTTP/0.9"), 0},      {505, LINE("GET / HTTP/9.9"), 0},
        {505, LINE("PRI * HTTP/2.0"), 0},      {400, LINE("GET / HTTP/1.10"), 0},
        {400, LINE("GET / HTTP/01.1"), 0},     {400, LINE("GET / HTTP/1."), 0},
        {400, LINE("GET / HTTP/1"), 0},        {400, LINE("GET / HTTP/.1"), 0},
        {400, LINE("GET / HTTP/2"), 0},        {400, LINE("GET / http/1.1"), 0},
        {400, LINE("GET / Http/1.1"), 0},      {400, LINE("GET / HTTP/1,1"), 0},
        {400, LINE("GET / HTTP/+1.1"), 0},     {400, LINE("GET / HTTP/1.x"), 0},
        {400, LINE("GET / HTTP 1.1"), 0},      {400, LINE("GET / HTTPS/1.1"), 0},
        {400, LINE("GET / HTTP/1.1junk"), 0},  {400, LINE("GET / ICY/1.1"), 0}};
    CHECK_HEADS(cases);
}

TEST(targets)
{
    static const head_case cases[] = {
        {200, TARGET("/"), 0},
        {200, TARGET("//host/path"), 0},
        {200, TARGET("/?"), 0},
        {200, TARGET("/a?b?c"), 0},
        {200, TARGET("/%00%zz\\{}|^`\"<>"), 0}, /* a path has its own rules: files_decode_path */
        {400, TARGET("/a#b"), 0},
        {400, TARGET("/a\tb"), 0},
        {400, TARGET("/a\x01"), 0},
        {400, TARGET("/a\x7f"), 0},
        {400, TARGET("/caf\xC3\xA9"), 0},
        {400, TARGET("a"), 0},
        {400, TARGET("?a"), 0},
        {400, TARGET("*"), 0},
        {400, TARGET("**"), 0},
        {200, LINE("OPTIONS * HTTP/1.1"), 0},
        {200, LINE("OPTIONS / HTTP/1.1"), 0},
        {400, LINE("OPTIONS *x HTTP/1.1"), 0},
        {400, LINE("OPTIONS h HTTP/1.1"), 0},
        {200, TARGET("http://h/"), 0},
        {200, TARGET("https://h/"), 0},
        {200, TARGET("HTTP://h:80/a?b"), 0},
        {200, TARGET("http://h"), 0},
        {200, TARGET("http://h?q"), 0},
        {200, TARGET("http://[::1]:8443/"), 0},
        {400, TARGET("http://"), 0},
        {400, TARGET("http:///a"), 0},
        {400, TARGET("http://?a"), 0},
        {400, TARGET("http:/h/"), 0},
        {400, TARGET("ftp://h/"), 0},
        {400, TARGET("://h/"), 0},
        {400, TARGET("http://user@h/"), 0},
        {400, TARGET("http://user:pass@h/"), 0},
        {400, TARGET("http://h:port/"), 0},
        {400, TARGET("http://h:80:80/"), 0},
        {400, TARGET("http://[::1/"), 0},
        {400, TARGET("http://h\\evil/"), 0},
        {400, TARGET("h:80"), 0},
        {200, LINE("CONNECT h:80 HTTP/1.1"), 0},
        {200, LINE("CONNECT [::1]:80 HTTP/1.1"), 0},
        {400, LINE("CONNECT h HTTP/1.1"), 0},
        {400, LINE("CONNECT h: HTTP/1.1"), 0},
        {400, LINE("CONNECT :80 HTTP/1.1"), 0},
        {400, LINE("CONNECT / HTTP/1.1"), 0},
        {400, LINE("CONNECT * HTTP/1.1"), 0},
        {400, LINE("CONNECT http://h/ HTTP/1.1"), 0}};
    CHECK_HEADS(cases);
}

static void check_target(const char *line, const char *path, const char *query, const char *host)
{
    char head[256];
    outcome o;
    snprintf(head, sizeof(head), "%s HTTP/1.1\r\nHost: field\r\n\r\n", line);
    parse_whole(&o, head, strlen(head));
    CHECK_EQ(o.status, 200);
    CHECK(same_slice(o.request.path, mm_slice_from_string(path)));
    CHECK(same_slice(o.request.query, mm_slice_from_string(query)));
    CHECK(same_slice(o.request.host, mm_slice_from_string(host)));
    free(o.bytes);
}

TEST(targets_are_taken_apart)
{
    CHECK_SUB(check_target("GET /", "/", "", "field"));
    CHECK_SUB(check_target("GET /a/b?c=d?e/", "/a/b", "c=d?e/", "field"));
    CHECK_SUB(check_target("GET /?", "/", "", "field"));
    CHECK_SUB(check_target("OPTIONS *", "*", "", "field"));
    CHECK_SUB(check_target("GET http://other:1/a?b", "/a", "b", "other:1"));
    CHECK_SUB(check_target("GET https://other", "/", "", "other"));
    CHECK_SUB(check_target("GET http://other?q", "/", "q", "other"));
    CHECK_SUB(check_target("OPTIONS http://other", "*", "", "other"));
    CHECK_SUB(check_target("OPTIONS http://other/", "/", "", "other"));
    CHECK_SUB(check_target("OPTIONS http://other?q", "/", "q", "other"));
    CHECK_SUB(check_target("CONNECT other:443", "", "", "other:443"));
}

TEST(fields)
{
    static const head_case cases[] = {
        {200, FIELD("A:b"), 0},
        {200, FIELD("A:"), 0},
        {200, FIELD("A: \t "), 0},
        {200, FIELD("!#$%&'*+-.^_`|~09azAZ: x"), 0},
        {200, FIELD("A: tab\there"), 0},
        {200, FIELD("A: beyond \x80\xff ASCII"), 0},
        {200, FIELD("A: b: c: d"), 0},
        {400, FIELD("A : b"), 0},
        {400, FIELD("A\t: b"), 0},
        {400, FIELD(": b"), 0},
        {400, FIELD("no colon"), 0},
        {400, FIELD("A B: c"), 0},
        {400, FIELD("A(b): c"), 0},
        {400, FIELD("\xC3\xA9: c"), 0},
        {400, FIELD("A: b\r\n folded"), 0},
        {400, FIELD("A: b\r\n\tfolded"), 0},
        {400, FIELD("A: b\r\n :"), 0},
        {400, "GET / HTTP/1.1\r\n Host: h\r\n\r\n", 0},
        {400, FIELD("A: b\x01"), 0},
        {400, FIELD("A: b\x7f"), 0},
        {400, FIELD("A: b\x1b[2J"), 0},
        {400, FIELD("A: b\rc"), 0},
        {400, FIELD("A: b\r"), 0},
        {400, FIELD("A: b\nC: d"), 0},
        {400, "GET / HTTP/1.1\r\nHost: h\n\r\n", 0},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n\n", 0},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n\r\r\n", 0},
        {400, BYTES("GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n")},
        {400, BYTES("GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n")}};
    CHECK_HEADS(cases);
}

TEST(hosts)
{
    static const head_case cases[] = {
        {200, HOST("h"), 0}, {200, HOST(" h "), 0}, {200, HOST(" example.org"), 0},
        {200, HOST(" h:80"), 0}, {200, HOST(" h:"), 0}, {200, HOST(" 127.0.0.1:8443"), 0},
        {200, HOST(" [::1]"), 0}, {200, HOST(" [::1]:8443"), 0}, {200, HOST(" [2001:db8::a]:1"), 0},
        {200, HOST(" [::ffff:127.0.0.1]"), 0}, {200, HOST(" a-b_c~d.e"), 0}, {200, HOST(" %41"), 0},
        {400, "GET / HTTP/1.1\r\n\r\n", 0}, {200, "GET / HTTP/1.0\r\n\r\n", 0},
        {400, "GET / HTTP/1.2\r\n\r\n", 0}, {400, "GET http://h/ HTTP/1.1\r\n\r\n", 0},
        {400, HOST(""), 0}, {400, HOST(" "), 0}, {400, HOST(" :80"), 0}, {400, HOST(" a b"), 0},
        {400, HOST(" a, b"), 0}, {400, HOST(" h:x"), 0}, {400, HOST(" h:80x"), 0},
        {400, HOST(" h:-1"), 0}, {400, HOST(" h:123456"), 0}, {400, HOST(" h/"), 0},
        {400, HOST(" h?"), 0}, {400, HOST(" h#"), 0}, {400, HOST(" u@h"), 0},
        {400, HOST(" h\\"), 0},
        {400, HOST(" ::1"), 0}, {400, HOST(" [::1"), 0}, {400, HOST(" ::1]"), 0},
        {400, HOST(" []"), 0}, {400, HOST(" [1]"), 0}, {400, HOST(" [::g]"), 0},
        {400, HOST(" [::1]x"), 0}, {400, HOST(" [::1]x:80"), 0}, {400, HOST(" [::1:80"), 0},
        {400, HOST(" [v1.x]"), 0}, {400, HOST(" [fe80::1%25eth0]"), 0}, {400, HOST(" %4"), 0},
        {400, HOST(" %"), 0}, {400, HOST(" %zz"), 0}, {400, HOST(" caf\xC3\xA9"), 0},
        {400, HOST(" <script>"), 0}, {400, HOST(" \"h\""), 0}, {400, HOST("\th\tx"), 0},
        {400, HOST(" h\r\nHost: h"), 0}, {400, HOST(" h\r\nhost: other"), 0},
        {400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 0},
        {400, "GET / HTTP/1.0\r\nHost: /\r\n\r\n", 0},
        {400, HOST(" [11111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]"), 0}};
    CHECK_HEADS(cases);
}

TEST(authorities_are_read_to_their_end_only)
{
    static const char *const bad[] = {"", "[", "[]", "[::1", "[::1]x", "[::1]:x", "[1", "h%", "h%4",
                                      "%", "h:x", ":", ":80", "h:123456", "h:1:2", "a b"};
    static const char *const good[] = {"h", "[::1]", "[::1]:", "h%41", "h:", "h:12345"};
    size_t i;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]) + sizeof(good) / sizeof(good[0]); i++) {
        bool is_good = i >= sizeof(bad) / sizeof(bad[0]);
        const char *text = is_good ? good[i - sizeof(bad) / sizeof(bad[0])] : bad[i];
        char *copy = exact_copy(text, strlen(text));
        CHECK_EQ(http1_is_authority(mm_slice_make(copy, strlen(text)), false), is_good);
        free(copy);
    }
}

TEST(framing_fields)
{
    static const head_case cases[] = {
        {200, FIELD("Content-Length: 0"), 0},
        {200, FIELD("Content-Length: 10"), 0},
        {200, FIELD("Content-Length: 0010"), 0},
        {200, FIELD("content-length:9223372036854775807"), 0},
        {400, FIELD("Content-Length: 9223372036854775808"), 0},
        {400, FIELD("Content-Length: 18446744073709551617"), 0},
        {400, FIELD("Content-Length: 99999999999999999999999999"), 0},
        {400, FIELD("Content-Length:"), 0},
        {400, FIELD("Content-Length: -1"), 0},
        {400, FIELD("Content-Length: +1"), 0},
        {400, FIELD("Content-Length: 1 2"), 0},
        {400, FIELD("Content-Length: 1,1"), 0},
        {400, FIELD("Content-Length: 1, 1"), 0},
        {400, FIELD("Content-Length: 0x1"), 0},
        {400, FIELD("Content-Length: 1a"), 0},
        {400, FIELD("Content-Length: 1.0"), 0},
        {400, FIELD("Content-Length: 1\r\nContent-Length: 1"), 0},
        {400, FIELD("Content-Length: 1\r\ncontent-length: 2"), 0},
        {200, FIELD("Transfer-Encoding: chunked"), 0},
        {200, FIELD("transfer-encoding: \t CHUNKED "), 0},
        {501, FIELD("Transfer-Encoding: gzip"), 0},
        {501, FIELD("Transfer-Encoding: gzip, chunked"), 0},
        {501, FIELD("Transfer-Encoding: chunked, gzip"), 0},
        {501, FIELD("Transfer-Encoding: chunked, chunked"), 0},
        {501, FIELD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 0},
        {501, FIELD("Transfer-Encoding: identity"), 0},
        {501, FIELD("Transfer-Encoding: chunkedx"), 0},
        {501, FIELD("Transfer-Encoding: \"chunked\""), 0},
        {501, FIELD("Transfer-Encoding: chunked;a=b"), 0},
        {400, FIELD("Transfer-Encoding: \x0b" "chunked"), 0},
        {501, FIELD("Transfer-Encoding:"), 0},
        {400, FIELD("Transfer-Encoding : chunked"), 0},
        {400, FIELD("Content-Length: 5\r\nTransfer-Encoding: chunked"), 0},
        {400, FIELD("Transfer-Encoding: chunked\r\nContent-Length: 5"), 0},
        {400, FIELD("Transfer-Encoding: gzip\r\nContent-Length: 5"), 0},
        {400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
        {400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 0},
        {200, FIELD("Expect: 100-continue"), 0},
        {200, FIELD("Expect: 100-Continue"), 0},
        {417, FIELD("Expect: something"), 0},
        {417, FIELD("Expect: 100-continue, x"), 0},
        {200, "GET / HTTP/1.0\r\nExpect: something\r\n\r\n", 0}};
    CHECK_HEADS(cases);
}

/* What a request with these fields says of its connection and body. */
static http_request meaning(const char *line, const char *field)
{
    char head[512];
    outcome o;
    http_request none;
    snprintf(head, sizeof(head), "%s\r\nHost: h\r\n%s\r\n\r\n", line, field);
    parse_whole(&o, head, strlen(head));
    free(o.bytes);
    if (o.status == 200) return o.request;
    memset(&none, 0, sizeof(none));
    none.minor = -1;
    return none;
}

TEST(persistence)
{
    static const struct {
        int minor;
        const char *field;
        bool keep_alive;
    } cases[] = {{1, "A: b", true},
                 {0, "A: b", false},
                 {1, "Connection: close", false},
                 {1, "Connection: CLOSE", false},
                 {1, "Connection: keep-alive", true},
                 {1, "Connection: keep-alive, close", false},
                 {1, "Connection: close, keep-alive", false},
                 {1, "Connection: foo ,\tclose\t, bar", false},
                 {1, "Connection: ,,, ,close,,", false},
                 {1, "Connection: TE,,Keep-Alive", true},
                 {1, "Connection: closed", true},
                 {1, "Connection: clos e", true},
                 {1, "Connection: \"close\"", true},
                 {1, "Connection:", true},
                 {1, "Connection: x\r\nConnection: y\r\nConnection: close", false},
                 {0, "Connection: keep-alive", true},
                 {0, "Connection: Keep-Alive, x", true},
                 {0, "Connection: x\r\nconnection: keep-alive", true},
                 {0, "Connection: keep-alive\r\nConnection: close", false},
                 {0, "Connection: close", false},
                 {0, "Keep-Alive: 300", false},
                 {0, "Proxy-Connection: keep-alive", false}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        http_request r = meaning(cases[i].minor ? "GET / HTTP/1.1" : "GET / HTTP/1.0",
                                 cases[i].field);
        if (r.keep_alive != cases[i].keep_alive) printf("      %s\n", cases[i].field);
        CHECK_EQ(r.minor, cases[i].minor);
        CHECK_EQ(r.keep_alive, cases[i].keep_alive);
    }
}

TEST(bodies_are_announced)
{
    const char *post = "POST / HTTP/1.1";
    http_request r = meaning(post, "A: b");
    CHECK(r.content_length == -1 && !r.chunked && !r.expect_continue);
    r = meaning(post, "Content-Length: 1234567890123");
    CHECK_EQ(r.content_length, 1234567890123);
    r = meaning(post, "Transfer-Encoding: Chunked\r\nExpect: 100-continue");
    CHECK(r.content_length == -1 && r.chunked && r.expect_continue);
    r = meaning(post, "Content-Length: 1\r\nExpect: 100-continue");
    CHECK(r.expect_continue);
    r = meaning(post, "Content-Length: 0\r\nExpect: 100-continue");
    CHECK(r.minor == 1 && !r.expect_continue); /* nothing to wait for */
    r = meaning("POST / HTTP/1.0", "Content-Length: 1\r\nExpect: 100-continue");
    CHECK(r.minor == 0 && !r.expect_continue);
}

TEST(refused_requests_have_method_and_line)
{
    outcome o;
    const char *head = "\r\nHEAD /x HTTP/1.1\r\nA: b\r\nbad\r\n\r\n";
    parse_bytewise(&o, head, strlen(head), 1);
    CHECK_EQ(o.status, 400);
    CHECK_EQ(o.request.method, HTTP_HEAD);
    CHECK(same_slice(o.request.line, mm_slice_from_string("HEAD /x HTTP/1.1")));
    CHECK(!o.request.keep_alive && o.request.header_count == 0);
    CHECK_EQ(o.request.path.len, 0);
    free(o.bytes);
    head = "nonsense\n";
    parse_whole(&o, head, strlen(head));
    CHECK_EQ(o.status, 400);
    CHECK_EQ(o.request.method, HTTP_UNKNOWN);
    CHECK(same_slice(o.request.line, mm_slice_from_string("nonsense")));
    free(o.bytes);
}

/* ---- limits ---- */

static char large[2 * HTTP1_HEAD_MAX + 2];

/* Composes a text: `before`, then `c` so many times, then `after`. Returns the size. */
static size_t compose(const char *before, char c, size_t count, const char *after)
{
    size_t front = strlen(before), back = strlen(after);
    if (front + count + back > sizeof(large)) abort();
    memcpy(large, before, front);
    memset(large + front, c, count);
    memcpy(large + front + count, after, back);
    return front + count + back;
}

TEST(target_limit)
{
    size_t size = compose("GET /", 'a', HTTP1_TARGET_MAX - 1, " HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_EQ(status_of(large, size), 200);
    size = compose("OPTIONS /", 'a', HTTP1_TARGET_MAX, " HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_EQ(status_of(large, size), 414);
    size = compose("GET /", 'a', HTTP1_TARGET_MAX - 1, "");
    CHECK_EQ(status_of(large, size), 0);
    size = compose("GET /", 'a', HTTP1_TARGET_MAX, "");
    CHECK_EQ(status_of(large, size), 414);
    size = compose("\r\nGET /", 'a', HTTP1_TARGET_MAX, "");
    CHECK_EQ(status_of(large, size), 414);
    size = compose("GET /", 'a', HTTP1_HEAD_MAX * 2 - 16, "");
    CHECK_EQ(status_of(large, size), 414);
    size = compose("GET /\n", 'a', HTTP1_TARGET_MAX * 2, "");
    CHECK_EQ(status_of(large, size), 400);
    size = compose("GET / ", 'a', HTTP1_TARGET_MAX * 2, "");
    CHECK_EQ(status_of(large, size), 400);
    size = compose("", 'A', HTTP1_TARGET_MAX * 2, "");
    CHECK_EQ(status_of(large, size), 501);
    size = compose("", ' ', HTTP1_TARGET_MAX * 2, "");
    CHECK_EQ(status_of(large, size), 400);
    size = compose("", '\0', HTTP1_TARGET_MAX * 2, "");
    CHECK_EQ(status_of(large, size), 400);
}

TEST(head_limit)
{
    const char *before = "GET / HTTP/1.1\r\nHost: h\r\nA: ", *after = "\r\n\r\n";
    size_t rest = strlen(before) + strlen(after), size;
    size = compose(before, 'x', HTTP1_HEAD_MAX - rest, after);
    CHECK_EQ(size, HTTP1_HEAD_MAX);
    CHECK_EQ(status_of(large, size), 200);
    CHECK_EQ(status_of(large, size - 1), 0);
    size = compose(before, 'x', HTTP1_HEAD_MAX - rest + 1, after);
    CHECK_EQ(status_of(large, size), 431);
    CHECK_EQ(status_of(large, HTTP1_HEAD_MAX), 431);
    CHECK_EQ(status_of(large, HTTP1_HEAD_MAX - 1), 0);
    size = compose(before, 'x', HTTP1_HEAD_MAX + 1000, "");
    CHECK_EQ(status_of(large, size), 431);
    size = compose("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 'x', HTTP1_HEAD_MAX, "");
    CHECK_EQ(status_of(large, size), 200); /* what follows does not count */
}

static size_t compose_fields(size_t fields, const char *after)
{
    size_t size = compose("GET / HTTP/1.1\r\nHost: h\r\n", 'x', 0, ""), i;
    for (i = 1; i < fields; i++) {
        memcpy(large + size, "A: b\r\n", 6);
        size += 6;
    }
    memcpy(large + size, after, strlen(after));
    return size + strlen(after);
}

TEST(field_limit)
{
    CHECK_EQ(status_of(large, compose_fields(HTTP_REQUEST_HEADERS, "\r\n")), 200);
    CHECK_EQ(status_of(large, compose_fields(HTTP_REQUEST_HEADERS + 1, "\r\n")), 431);
    CHECK_EQ(status_of(large, compose_fields(HTTP_REQUEST_HEADERS + 1, "")), 431);
    CHECK_EQ(status_of(large, compose_fields(HTTP_REQUEST_HEADERS + 1, "bad\r\n\r\n")), 431);
    CHECK_EQ(status_of(large, compose_fields(HTTP_REQUEST_HEADERS, "bad\r\n\r\n")), 431);
    CHECK_EQ(status_of(large, compose_fields(HTTP_REQUEST_HEADERS - 1, "bad\r\n\r\n")), 400);
    CHECK_EQ(status_of(large, compose_fields(1000, "\r\n")), 431);
}

/* Byte after byte must cost no more than a few looks at each. */
static size_t search_cost(size_t size)
{
    http_request request;
    size_t scanned = 0, head_size, n;
    searched = 0;
    for (n = 1; n <= size; n++)
        if (http1_parse_head(&request, large, n, &scanned, &head_size) != 0) break;
    return searched;
}

TEST(slow_heads_cost_as_much_as_fast_ones)
{
    const char *after = "\r\n\r\n";
    size_t size = compose("GET / HTTP/1.1\r\nHost: h\r\nA: ", 'x', 16000, after);
    CHECK(search_cost(size) < 8 * size);
    size = compose("GET /", 'a', HTTP1_TARGET_MAX - 1, " HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(search_cost(size) < 64 * size); /* near its limit the request line is looked at again */
    size = compose_fields(HTTP_REQUEST_HEADERS, after);
    CHECK(search_cost(size) < (HTTP_REQUEST_HEADERS + 8) * size); /* lines are counted, once each */
}

/* ---- mutations of good heads ---- */

static const char *const seeds[] = {
    "GET / HTTP/1.1\r\nHost: localhost:8443\r\nUser-Agent: x/1.0\r\nAccept: */*\r\n\r\n",
    "\r\nHEAD /a/b.html?c=d HTTP/1.0\r\nConnection: keep-alive\r\nIf-None-Match: \"a\"\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]:1\r\nConnection: close, x\r\n\r\n",
    "POST http://h.example/p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde",
    "PUT /p HTTP/1.1\r\nhost:h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
    "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"};

static size_t mutate(char *text, size_t size, size_t capacity, uint64_t *random)
{
    static const char nasty[] = "\r\n\0\t :;,/\\%?#\"'*[]@\x7f\x80\xff" "019aAzZ-+.";
    size_t at = (size_t)(test_random(random) % (size + 1)), n = 1 + test_random(random) % 8;
    char c = nasty[test_random(random) % (sizeof(nasty) - 1)];
    switch (test_random(random) % 6) {
    case 0: /* replace a byte */
        if (at < size) text[at] = c;
        return size;
    case 1: /* flip a bit */
        if (at < size) text[at] = (char)(text[at] ^ 1 << test_random(random) % 8);
        return size;
    case 2: /* insert a byte */
        if (size == capacity) return size;
        memmove(text + at + 1, text + at, size - at);
        text[at] = c;
        return size + 1;
    case 3: /* remove some */
        if (n > size - at) n = size - at;
        memmove(text + at, text + at + n, size - at - n);
        return size - n;
    case 4: /* say some twice */
        if (n > size - at || size + n > capacity) return size;
        memmove(text + at + n, text + at, size - at);
        return size + n;
    default: return at; /* cut the rest off */
    }
}

TEST(mutated_heads_are_survived)
{
    static const int statuses[] = {0, 200, 400, 414, 417, 431, 501, 505};
    uint64_t random = 20261120;
    size_t counts[8] = {0}, round, i;
    for (round = 0; round < 100000; round++) {
        char text[512];
        outcome whole, split;
        const char *seed = seeds[round % (sizeof(seeds) / sizeof(seeds[0]))];
        size_t size = strlen(seed), mutations = 1 + test_random(&random) % 3;
        memcpy(text, seed, size);
        while (mutations-- > 0) size = mutate(text, size, sizeof(text), &random);
        parse_whole(&whole, text, size);
        parse_split(&split, text, size, (size_t)(test_random(&random) % (size + 1)));
        CHECK(is_sound(&whole, size) && is_sound(&split, size));
        CHECK(same_outcome(&whole, &split));
        for (i = 0; i < 8 && statuses[i] != whole.status; i++) continue;
        CHECK(i < 8);
        counts[i]++;
        free(whole.bytes);
        free(split.bytes);
    }
    CHECK(counts[0] > 1000 && counts[1] > 1000 && counts[2] > 1000 && counts[6] > 10);
}

/* ---- bodies ---- */

/* Feeds a chunked body in pieces of `stride`, or in one. Returns the status and what was used. */
static int feed_chunked(const char *bytes, size_t size, size_t stride, size_t *used)
{
    http1_body body;
    http_request request;
    int status = 0;
    memset(&request, 0, sizeof(request));
    request.chunked = true;
    request.content_length = -1;
    if (http1_body_start(&body, &request, &http1_drop_limits) != 200) return -1;
    for (*used = 0; *used < size && status == 0;) {
        size_t n = size - *used < stride ? size - *used : stride, taken = 0;
        char *copy = exact_copy(bytes + *used, n);
        status = http1_body_feed(&body, copy, n, &taken);
        free(copy);
        if (taken > n || (status == 0 && taken != n)) return -2;
        *used += taken;
    }
    return status;
}

TEST(chunked_bodies)
{
    static const struct {
        int status;
        const char *body;
        size_t rest; /* bytes behind the end */
    } cases[] = {
        {200, "0\r\n\r\n", 0},
        {200, "0\r\n\r\nGET ", 4},
        {200, "5\r\nabcde\r\n0\r\n\r\n", 0},
        {200, "5\r\nab\r\nc\r\n1\r\nx\r\n000\r\n\r\nmore", 4},
        {200, "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", 0},
        {200, "0000000000000005\r\nabcde\r\n0\r\n\r\n", 0},
        {200, "5;a=b\r\nabcde\r\n0;c\r\n\r\n", 0},
        {200, "5 \t; a = \"q;\\\"\\x\" ; b\r\nabcde\r\n0\r\n\r\n", 0},
        {400, "5;a=\"q\\\r\"\r\nabcde\r\n0\r\n\r\n", 0},
        {200, "5;a=\"x;\\\"y\"\r\nabcde\r\n0\r\n\r\n", 0},
        {200, "5 ;a\r\nabcde\r\n0\r\n\r\n", 0},
        {200, "0\r\nA: b\r\nC: d\r\n\r\nx", 1},
        {200, "0\r\nno colon\r\n\r\n", 0},
        {0, "", 0},
        {0, "5", 0},
        {0, "5\r\nabc", 0},
        {0, "5\r\nabcde\r\n0\r\n", 0},
        {0, "5\r\nabcde\r\n0\r\nA: b\r\n", 0},
        {400, "\r\n", 0},
        {400, "x\r\n", 0},
        {400, "-5\r\n", 0},
        {400, "+5\r\n", 0},
        {400, "0x5\r\n", 0},
        {400, " 5\r\n", 0},
        {400, "5 \r\n", 0},
        {400, "5 5\r\n", 0},
        {400, ";a\r\n", 0},
        {400, "5\nabcde\r\n", 0},
        {400, "5\r\rabcde", 0},
        {400, "5\r\nabcdef\r\n", 0},
        {400, "5\r\nabcde0\r\n\r\n", 0},
        {400, "5\r\nabcde\n0\r\n\r\n", 0},
        {400, "5\r\nabcde\r\r\n", 0},
        {400, "5\r\nabcde\r\n\r\n", 0},
        {400, "00000000000000005\r\n", 0},
        {400, "5;a\nabcde", 0},
        {400, "5;a\x01\r\n", 0},
        {400, "5;a=\"b\r\n", 0},
        {400, "5;a=\"b\\\r\n", 0},
        {400, "0\r\n\n", 0},
        {400, "0\r\nA: b\n\r\n", 0},
        {400, "0\r\n folded\r\n\r\n", 0},
        {400, "0\r\n: b\r\n\r\n", 0},
        {400, "0\r\nA: \x01\r\n\r\n", 0},
        {400, "0\r\nA: b\r\r\n", 0},
        {413, "100001\r\n", 0},
        {413, "FFFFFFFFFFFFFFFF\r\n", 0},
        {413, "8000000000000000\r\n", 0},
        {413, "7fffffffffffffff\r\n", 0},
        {413, "1\r\nx\r\n100000\r\n", 0}};
    size_t i, stride;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size = strlen(cases[i].body), used, used_whole;
        int status = feed_chunked(cases[i].body, size, size + 1, &used_whole);
        if (status != cases[i].status) printf("      case %zu: \"%s\"\n", i, cases[i].body);
        CHECK_EQ(status, cases[i].status);
        if (status == 200) CHECK_EQ(used_whole, size - cases[i].rest);
        for (stride = 1; stride < size; stride++) {
            CHECK_EQ(feed_chunked(cases[i].body, size, stride, &used), status);
            CHECK_EQ(used, used_whole);
        }
    }
}

TEST(chunked_bodies_are_bounded)
{
    size_t used, size, i;
    char *body = malloc(8 << 20);
    CHECK(body != NULL);
    size = (size_t)sprintf(body, "%x\r\n", HTTP1_BODY_MAX); /* the largest */
    memset(body + size, 'x', HTTP1_BODY_MAX);
    size += HTTP1_BODY_MAX;
    size += (size_t)sprintf(body + size, "\r\n0\r\n\r\n");
    CHECK_EQ(feed_chunked(body, size, 65536, &used), 200);
    CHECK_EQ(used, size);
    size = compose("1;", 'e', 256, "\r\nx\r\n0\r\n\r\n"); /* the longest extension */
    CHECK_EQ(feed_chunked(large, size, size, &used), 200);
    size = compose("1;", 'e', 257, "\r\nx\r\n0\r\n\r\n");
    CHECK_EQ(feed_chunked(large, size, size, &used), 400);
    size = compose("1", ' ', 300, "");
    CHECK_EQ(feed_chunked(large, size, size, &used), 400);
    for (i = size = 0; i < 6000; i++) { /* extensions without end */
        size += (size_t)sprintf(body + size, "1;%0200d\r\nx\r\n", 0);
    }
    CHECK_EQ(feed_chunked(body, size, 4096, &used), 413);
    size = compose("0\r\nA:", 'x', 8000, "\r\n\r\n"); /* trailers */
    CHECK_EQ(feed_chunked(large, size, 100, &used), 200);
    size = compose("0\r\nA:", 'x', 8192, "\r\n\r\n");
    CHECK_EQ(feed_chunked(large, size, 100, &used), 413);
    memcpy(body, "0\r\n", 3);
    for (i = 0, size = 3; i < 5000; i++) size += (size_t)sprintf(body + size, "A:\r\n");
    CHECK_EQ(feed_chunked(body, size, 100, &used), 413);
    free(body);
}

TEST(sized_bodies)
{
    http1_body body;
    http_request request;
    size_t used;
    memset(&request, 0, sizeof(request));
    request.content_length = -1;
    CHECK_EQ(http1_body_start(&body, &request, &http1_drop_limits), 0);
    request.content_length = 0;
    CHECK_EQ(http1_body_start(&body, &request, &http1_drop_limits), 0);
    request.content_length = HTTP1_BODY_MAX;
    CHECK_EQ(http1_body_start(&body, &request, &http1_drop_limits), 200);
    request.content_length = HTTP1_BODY_MAX + 1;
    CHECK_EQ(http1_body_start(&body, &request, &http1_drop_limits), 413);
    request.content_length = INT64_MAX;
    CHECK_EQ(http1_body_start(&body, &request, &http1_drop_limits), 413);
    request.content_length = 5;
    CHECK_EQ(http1_body_start(&body, &request, &http1_drop_limits), 200);
    CHECK_EQ(http1_body_feed(&body, "", 0, &used), 0);
    CHECK_EQ(used, 0);
    CHECK_EQ(http1_body_feed(&body, "abc", 3, &used), 0);
    CHECK_EQ(used, 3);
    CHECK_EQ(http1_body_feed(&body, "deGET", 5, &used), 200);
    CHECK_EQ(used, 2);
    CHECK_EQ(body.total, 5);
}

/* Takes a body that comes in pieces of `stride` bytes, at least `least` at a time where it can;
   what was taken is put into `to` (of 64 bytes), what is left of the input is counted. */
static int take_body(const http_request *request, const mm_chunked_limits *limits, const char *text,
                     size_t stride, int64_t least, char *to, size_t *rest)
{
    mm_chunk_pool pool;
    mm_chunkqueue from, kept;
    http1_body body;
    size_t at = 0, size = strlen(text);
    int status = 0;
    if (mm_chunk_pool_init(&pool, NULL) != MM_STATUS_OK) return -1;
    mm_chunkqueue_init(&from, &pool);
    mm_chunkqueue_init(&kept, &pool);
    if (http1_body_start(&body, request, limits) == 413) status = 413;
    while (status == 0 && at < size) {
        size_t n = size - at < stride ? size - at : stride;
        if (mm_chunkqueue_append_mem(&from, text + at, n) != MM_STATUS_OK) status = -1;
        else status = http1_body_take(&body, &from, &kept, least);
        at += n;
    }
    *rest = size - at + (size_t)mm_chunkqueue_length(&from);
    memset(to, 0, 64);
    if (mm_chunkqueue_length(&kept) < 64 &&
        mm_chunkqueue_read(&kept, to, (size_t)mm_chunkqueue_length(&kept)) != MM_STATUS_OK)
        status = -1;
    mm_chunkqueue_deinit(&from);
    mm_chunkqueue_deinit(&kept);
    return mm_chunk_pool_deinit(&pool) == 0 ? status : -1;
}

TEST(bodies_that_are_kept)
{
    static const mm_chunked_limits limits = {10, 0, 0, 0, 0};
    static const char coded[] = "3\r\nabc\r\n7;x=y\r\ndefghij\r\n0\r\nT: u\r\n\r\nGET";
    http_request request;
    char got[64];
    size_t stride, rest;
    memset(&request, 0, sizeof(request));
    for (stride = 1; stride < 40; stride++) {
        request.chunked = false;
        request.content_length = 10;
        CHECK_EQ(take_body(&request, &limits, "0123456789", stride, 4, got, &rest), 200);
        CHECK(strcmp(got, "0123456789") == 0 && rest == 0);
        CHECK_EQ(take_body(&request, &limits, "012345678", stride, 100, got, &rest), 0);
        CHECK(got[0] == '\0' && rest == 9);
        request.content_length = 3;
        CHECK_EQ(take_body(&request, &limits, "012GET /", stride, 1, got, &rest), 200);
        CHECK(strcmp(got, "012") == 0 && rest == 5);
        request.content_length = 11;
        CHECK_EQ(take_body(&request, &limits, "0123456789", stride, 1, got, &rest), 413);
        request.chunked = true;
        request.content_length = -1;
        CHECK_EQ(take_body(&request, &limits, coded, stride, 100, got, &rest), 200);
        CHECK(strcmp(got, "abcdefghij") == 0 && rest == 3);
        CHECK_EQ(take_body(&request, &limits, "b\r\n", stride, 1, got, &rest), 413);
        CHECK_EQ(take_body(&request, &limits, "3\r\nabcd", stride, 1, got, &rest), 400);
        CHECK_EQ(take_body(&request, &limits, "3\r\nabc\r\n", stride, 1, got, &rest), 0);
    }
    request.chunked = false;
    request.content_length = 0; /* it has all come before anything has */
    CHECK_EQ(take_body(&request, &limits, "G", 1, 1, got, &rest), 200);
    CHECK_EQ(rest, 1);
}

/* ---- response heads ---- */

/* The head of a response, with the end of each line as a bar. */
static const char *head_of(const http_request *request, const http_response *response)
{
    static char text[4096];
    mm_chunk_pool pool;
    mm_chunkqueue out;
    size_t size, i, n = 0;
    if (mm_chunk_pool_init(&pool, NULL) != MM_STATUS_OK) return NULL;
    mm_chunkqueue_init(&out, &pool);
    if (http1_write_head(&out, request, response, "DATE") != MM_STATUS_OK) return NULL;
    size = (size_t)mm_chunkqueue_length(&out);
    if (size >= sizeof(text) || mm_chunkqueue_read(&out, text, size) != MM_STATUS_OK) return NULL;
    mm_chunkqueue_deinit(&out);
    if (mm_chunk_pool_deinit(&pool) != 0) return NULL;
    for (i = 0; i < size; i++) {
        if (text[i] == '\r' && i + 1 < size && text[i + 1] == '\n') text[n++] = '|', i++;
        else text[n++] = text[i];
    }
    text[n] = '\0';
    return text;
}

TEST(response_heads)
{
    http_request request;
    http_response response;
    memset(&request, 0, sizeof(request));
    memset(&response, 0, sizeof(response));
    request.minor = 1;
    request.keep_alive = true;
    response.status = 200;
    CHECK_STR(head_of(&request, &response),
              "HTTP/1.1 200 OK|Date: DATE|Content-Length: 0||");
    response.content_length = INT64_MAX;
    http_response_header(&response, "A", "b");
    http_response_header(&response, "Empty", "");
    CHECK_STR(head_of(&request, &response),
              "HTTP/1.1 200 OK|Date: DATE|A: b|Empty: |Content-Length: 9223372036854775807||");
    response.header_count = 0;
    response.close = true;
    response.content_length = 10;
    CHECK_STR(head_of(&request, &response),
              "HTTP/1.1 200 OK|Date: DATE|Connection: close|Content-Length: 10||");
    response.close = false;
    request.keep_alive = false;
    CHECK_STR(head_of(&request, &response),
              "HTTP/1.1 200 OK|Date: DATE|Connection: close|Content-Length: 10||");
    request.minor = 0;
    CHECK_STR(head_of(&request, &response),
              "HTTP/1.1 200 OK|Date: DATE|Connection: close|Content-Length: 10||");
    request.keep_alive = true;
    CHECK_STR(head_of(&request, &response),
              "HTTP/1.1 200 OK|Date: DATE|Connection: keep-alive|Content-Length: 10||");
    request.minor = 1;
    response.status = 204;
    CHECK_STR(head_of(&request, &response), "HTTP/1.1 204 No Content|Date: DATE||");
    response.status = 304;
    CHECK_STR(head_of(&request, &response), "HTTP/1.1 304 Not Modified|Date: DATE||");
    response.status = 404;
    response.content_length = -1;
    CHECK_STR(head_of(&request, &response), "HTTP/1.1 404 Not Found|Date: DATE||");
    response.status = 999;
    CHECK_STR(head_of(&request, &response), "HTTP/1.1 999 Unknown|Date: DATE||");
}

TEST(response_head_without_memory_appends_nothing)
{
    test_allocator memory;
    mm_chunk_pool pool;
    mm_chunk_pool_desc desc = {0};
    mm_chunkqueue out;
    http_request request;
    http_response response;
    size_t n, done = 0;
    memset(&request, 0, sizeof(request));
    memset(&response, 0, sizeof(response));
    response.status = 200;
    for (n = 1; done == 0; n++) {
        test_allocator_init(&memory);
        desc.allocator = &memory.base;
        CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_OK);
        mm_chunkqueue_init(&out, &pool);
        test_allocator_fail(&memory, n, 1);
        if (http1_write_head(&out, &request, &response, "DATE") == MM_STATUS_OK) done++;
        else CHECK(mm_chunkqueue_is_empty(&out));
        CHECK(mm_chunkqueue_check(&out));
        mm_chunkqueue_deinit(&out);
        CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
        CHECK_EQ(memory.live_blocks, 0);
    }
    CHECK(n > 2);
}

TEST_MAIN(T(token_characters_are_those_of_the_rfc), T(a_request_is_taken_apart),
          T(incomplete_heads_wait), T(request_lines), T(versions), T(targets),
          T(targets_are_taken_apart), T(fields), T(hosts),
          T(authorities_are_read_to_their_end_only), T(framing_fields), T(persistence),
          T(bodies_are_announced), T(refused_requests_have_method_and_line), T(target_limit),
          T(head_limit), T(field_limit), T(slow_heads_cost_as_much_as_fast_ones),
          T(mutated_heads_are_survived), T(chunked_bodies), T(chunked_bodies_are_bounded),
          T(sized_bodies), T(bodies_that_are_kept), T(response_heads),
          T(response_head_without_memory_appends_nothing))
