/* http1.h - HTTP/1.0 and 1.1 on the wire (RFC 9112): request heads, response heads, bodies */
#ifndef DEMO_HTTP1_H
#define DEMO_HTTP1_H

#include "http.h"

enum {
    HTTP1_HEAD_MAX = 16384,  /* bytes of request line and fields; more is 431 */
    HTTP1_TARGET_MAX = 8192, /* bytes of a request target; more is 414 */
    HTTP1_BODY_MAX = 1 << 20 /* bytes of a body that is read only to be dropped; more is 413 */
};

/* Parses the head at the start of `bytes`, the same ones and more in each call. Returns 0: more
   bytes are needed (`*scanned`, 0 at first, is how many need not be looked at again); 200: the head
   is complete, *head_size bytes long with its empty line; else the status to answer before closing:
   400, 414, 417, 431, 501, 505. Then the request has its method and line, as far as they can be
   told, and nothing else. Allocates nothing. */
int http1_parse_head(http_request *request, const char *bytes, size_t size, size_t *scanned,
                     size_t *head_size);

/* Its parts. Takes the target of the request apart into path, query and host: 0, or 400 when it has
   none of the four forms of RFC 9112, 3.2, or one that is not for the method. */
int http1_parse_target(http_request *request);

/* Whether a text is host[:port] of RFC 3986, 3.2, the host not empty, without user information. */
bool http1_is_authority(mm_slice text, bool with_port);

/* A request body: set it up by http1_body_start, then feed or take it. */
typedef struct http1_body {
    mm_chunked_decoder decoder; /* of a body in chunked coding */
    bool chunked;               /* whether it is one */
    int64_t left;               /* bytes until the end of another */
    int64_t total;              /* bytes of it that were fed so far */
} http1_body;

/* What a body that is read only to be dropped may have. */
extern const mm_chunked_limits http1_drop_limits;

/* What follows the head of `request`. Returns 0 when nothing follows, 200 when a body does, 413.
   The limits, of which `body` is for every kind, must outlive the body. */
int http1_body_start(http1_body *body, const http_request *request,
                     const mm_chunked_limits *limits);

/* Consumes bytes of the body, to be dropped: *used says how many. Returns 0: more is to come; 200:
   that was the end of it; 400: bad framing; 413: too long. */
int http1_body_feed(http1_body *body, const char *bytes, size_t size, size_t *used);

/* Moves what `from` has of the body, its coding undone, to the end of `to`, a queue of the same
   pool; unless it is in a coding, not before there are `least` bytes or all that is to come, so
   that few bytes at a time do not each keep a chunk. Returns as above, or 503: out of memory. */
int http1_body_take(http1_body *body, mm_chunkqueue *from, mm_chunkqueue *to, int64_t least);

/* Appends status line and fields of the response to `out`, with Date (`date` is the formatted
   current time), with Connection where the connection ends or HTTP/1.0 asked to keep it, and with
   Content-Length but for 1xx, 204 and 304. On failure nothing has been appended. */
mm_status http1_write_head(mm_chunkqueue *out, const http_request *request,
                           const http_response *response, const char *date);

/* The part of that head which is the same for every request, as long as the response is: what is
   behind Date and Connection, to the empty line. In the response's arena; NULL: out of memory. */
mm_slice http1_format_fields(const http_response *response);

/* The part before that, and `ready` behind it, in one piece of memory: for what is short. On
   failure nothing has been appended. */
mm_status http1_write_ready(mm_chunkqueue *out, const http_request *request,
                            const http_response *response, const char *date, mm_slice ready);

#endif
