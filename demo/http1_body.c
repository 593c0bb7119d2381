/* http1_body.c - request bodies that are read only to be dropped (RFC 9112, 6 and 7) */
#include "http1.h"

#include <string.h>

static const mm_chunked_limits chunked_limits = {
    HTTP1_BODY_MAX, /* of content, */
    256,            /* behind one chunk size, */
    HTTP1_BODY_MAX, /* and behind all: they must not be a way to send for ever */
    8192,           /* of trailers */
    HTTP1_BODY_MAX  /* chunks, even of a byte each */
};

int http1_body_start(http1_body *body, const http_request *request)
{
    memset(body, 0, sizeof(*body));
    if (request->chunked) {
        body->chunked = true;
        mm_chunked_decoder_init(&body->decoder, &chunked_limits);
        return 200;
    }
    if (request->content_length > HTTP1_BODY_MAX) return 413;
    if (request->content_length <= 0) return 0;
    body->left = request->content_length;
    return 200;
}

static int feed_coded(http1_body *body, const char *bytes, size_t size, size_t *used)
{
    mm_slice input = mm_slice_make(bytes, size), content;
    mm_status status;
    do status = mm_chunked_decode(&body->decoder, &input, &content);
    while (status == MM_STATUS_AGAIN && content.len > 0);
    *used = size - input.len;
    switch (status) {
    case MM_STATUS_AGAIN: return 0;
    case MM_STATUS_OK: return 200;
    default: return status == MM_STATUS_TOO_LARGE ? 413 : 400;
    }
}

int http1_body_feed(http1_body *body, const char *bytes, size_t size, size_t *used)
{
    if (body->chunked) return feed_coded(body, bytes, size, used);
    *used = (uint64_t)body->left < size ? (size_t)body->left : size;
    body->left -= (int64_t)*used;
    body->total += (int64_t)*used;
    return body->left == 0 ? 200 : 0;
}
