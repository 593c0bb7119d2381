/* http1_body.c - request bodies that are read only to be dropped (RFC 9112, 6 and 7) */
#include "http1.h"

#include "text.h"

enum {
    BODY_SIZE_DIGITS = 16,     /* most digits of a chunk size, leading zeros included */
    BODY_EXTENSION_MAX = 256,  /* most bytes of the extensions of one chunk */
    BODY_TRAILERS_MAX = 8192   /* most bytes of all trailer fields */
};

/* Where in the chunked coding the next byte belongs. */
enum {
    BODY_PLAIN,      /* nowhere: the body has a Content-Length */
    BODY_SIZE,       /* the size of a chunk: a digit, or what follows the digits */
    BODY_SIZE_SPACE, /* blanks in front of an extension */
    BODY_EXTENSION,
    BODY_QUOTED,     /* in a quoted string of an extension, */
    BODY_ESCAPED,    /* and behind a backslash in it */
    BODY_SIZE_LF,    /* the end of the line of the size */
    BODY_DATA,
    BODY_DATA_CR,
    BODY_DATA_LF,
    BODY_TRAILERS,   /* the start of a trailer field, or of the last line */
    BODY_TRAILER,    /* in a trailer field */
    BODY_TRAILER_LF,
    BODY_LAST_LF     /* of the empty line at the end */
};

int http1_body_start(http1_body *body, const http_request *request)
{
    memset(body, 0, sizeof(*body));
    if (request->chunked) {
        body->state = BODY_SIZE;
        return 200;
    }
    if (request->content_length > HTTP1_BODY_MAX) return 413;
    if (request->content_length <= 0) return 0;
    body->left = request->content_length;
    return 200;
}

/* Counts what was received of the content: 200 at the end of it. */
static int feed_plain(http1_body *body, size_t size, size_t *used)
{
    *used = (uint64_t)body->left < size ? (size_t)body->left : size;
    body->left -= (int64_t)*used;
    body->total += (int64_t)*used;
    return body->left == 0 ? 200 : 0;
}

static int go(http1_body *body, int state)
{
    body->state = state;
    return 0;
}

/* A byte must be this one. */
static int expect(http1_body *body, char c, char expected, int state)
{
    return c == expected ? go(body, state) : 400;
}

static bool is_text(char c)
{
    return (unsigned char)c >= ' ' ? c != 0x7F : c == '\t';
}

static int feed_size(http1_body *body, char c)
{
    int digit = text_hex_value(c);
    if (digit >= 0 && body->state == BODY_SIZE) {
        if (++body->line > BODY_SIZE_DIGITS) return 400;
        body->left = body->left * 16 + digit; /* far from overflow: left is at most 1 MiB before */
        return body->left > HTTP1_BODY_MAX - body->total ? 413 : 0;
    }
    if (body->line == 0) return 400; /* no digit at all */
    if (c == ' ' || c == '\t')
        return ++body->line > BODY_EXTENSION_MAX ? 400 : go(body, BODY_SIZE_SPACE);
    if (c != ';') return body->state == BODY_SIZE ? expect(body, c, '\r', BODY_SIZE_LF) : 400;
    body->line = 0;
    return go(body, BODY_EXTENSION);
}

/* Extensions are skipped, but count as content: they must not be a way to send for ever. */
static int feed_extension(http1_body *body, char c)
{
    if (c == '\r' && body->state == BODY_EXTENSION) return go(body, BODY_SIZE_LF);
    if (!is_text(c) || ++body->line > BODY_EXTENSION_MAX) return 400;
    if (++body->total > HTTP1_BODY_MAX) return 413;
    if (body->state == BODY_ESCAPED) return go(body, BODY_QUOTED);
    if (c == '"') return go(body, body->state == BODY_QUOTED ? BODY_EXTENSION : BODY_QUOTED);
    return c == '\\' && body->state == BODY_QUOTED ? go(body, BODY_ESCAPED) : 0;
}

/* Trailer fields are ignored; only their bounds and ends matter. */
static int feed_trailer(http1_body *body, char c)
{
    bool first = body->state == BODY_TRAILERS;
    if (c == '\r') return go(body, first ? BODY_LAST_LF : BODY_TRAILER_LF);
    if (++body->line > BODY_TRAILERS_MAX) return 413;
    if (!is_text(c) || (first && (c == ' ' || c == '\t' || c == ':'))) return 400;
    return go(body, BODY_TRAILER);
}

/* The end of the line of a chunk size. */
static int begin_chunk(http1_body *body, char c)
{
    if (c != '\n') return 400;
    body->line = 0;
    return go(body, body->left == 0 ? BODY_TRAILERS : BODY_DATA);
}

static int feed_framing(http1_body *body, char c)
{
    switch (body->state) {
    case BODY_SIZE:
    case BODY_SIZE_SPACE: return feed_size(body, c);
    case BODY_EXTENSION:
    case BODY_QUOTED:
    case BODY_ESCAPED: return feed_extension(body, c);
    case BODY_SIZE_LF: return begin_chunk(body, c);
    case BODY_DATA_CR: return expect(body, c, '\r', BODY_DATA_LF);
    case BODY_DATA_LF: return expect(body, c, '\n', BODY_SIZE);
    case BODY_TRAILERS:
    case BODY_TRAILER: return feed_trailer(body, c);
    case BODY_TRAILER_LF: return expect(body, c, '\n', BODY_TRAILERS);
    default: return c == '\n' ? 200 : 400; /* BODY_LAST_LF */
    }
}

int http1_body_feed(http1_body *body, const char *bytes, size_t size, size_t *used)
{
    size_t at = 0, taken = 0;
    int status = 0;
    if (body->state == BODY_PLAIN) return feed_plain(body, size, used);
    while (at < size && status == 0) {
        if (body->state != BODY_DATA) {
            status = feed_framing(body, bytes[at++]);
            continue;
        }
        if (feed_plain(body, size - at, &taken) == 200) body->state = BODY_DATA_CR;
        at += taken;
    }
    *used = at;
    return status;
}
