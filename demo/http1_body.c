/* http1_body.c - request bodies, dropped or taken (RFC 9112, 6 and 7) */
#include "http1.h"

#include <string.h>

const mm_chunked_limits http1_drop_limits = {
    HTTP1_BODY_MAX, /* of content, */
    256,            /* behind one chunk size, */
    HTTP1_BODY_MAX, /* and behind all: they must not be a way to send for ever */
    8192,           /* of trailers */
    HTTP1_BODY_MAX  /* chunks, even of a byte each */
};

int http1_body_start(http1_body *body, const http_request *request,
                     const mm_chunked_limits *limits)
{
    memset(body, 0, sizeof(*body));
    if (request->chunked) {
        body->chunked = true;
        mm_chunked_decoder_init(&body->decoder, limits);
        return 200;
    }
    if (request->content_length > limits->body) return 413;
    if (request->content_length <= 0) return 0;
    body->left = request->content_length;
    return 200;
}

static int body_status(mm_status status)
{
    switch (status) {
    case MM_STATUS_AGAIN: return 0;
    case MM_STATUS_OK: return 200;
    case MM_STATUS_INVALID: return 400;
    case MM_STATUS_TOO_LARGE: return 413;
    default: return 503;
    }
}

static int feed_coded(http1_body *body, const char *bytes, size_t size, size_t *used)
{
    mm_slice input = mm_slice_make(bytes, size), content;
    mm_status status;
    do status = mm_chunked_decode(&body->decoder, &input, &content);
    while (status == MM_STATUS_AGAIN && content.len > 0);
    *used = size - input.len;
    return body_status(status);
}

int http1_body_feed(http1_body *body, const char *bytes, size_t size, size_t *used)
{
    if (body->chunked) return feed_coded(body, bytes, size, used);
    *used = (uint64_t)body->left < size ? (size_t)body->left : size;
    body->left -= (int64_t)*used;
    body->total += (int64_t)*used;
    return body->left == 0 ? 200 : 0;
}

int http1_body_take(http1_body *body, mm_chunkqueue *from, mm_chunkqueue *to, int64_t least)
{
    int64_t size = mm_chunkqueue_length(from);
    if (body->chunked) return body_status(mm_chunked_decode_queue(&body->decoder, from, to));
    if (size > body->left) size = body->left;
    if (size < least && size < body->left) return 0;
    if (mm_chunkqueue_steal(to, from, size) != MM_STATUS_OK) return 503;
    body->left -= size;
    return body->left == 0 ? 200 : 0;
}
