/* The chunked coding of mm_chunk.h. The first byte of the input says what is done with the rest,
   the second seeds how it is cut up. 'a' and 'b': it is decoded, under the limits by default or
   under small ones, from slices and from a queue, and compared with what a plain decoder makes of
   it as a whole. 'c': its bytes say what to encode, which then has to decode to the same. */
#define MM_IMPLEMENTATION
#include "../../mm_chunk.h"

#include "fuzz.h"

#define DECODED_MAX (FUZZ_SIZE_MAX * 64)

static mm_chunk_pool pool;
static mm_chunkqueue from, to;
static uint64_t cuts; /* the state of what cuts the input into pieces */

static size_t cut(size_t most)
{
    cuts ^= cuts << 13;
    cuts ^= cuts >> 7;
    cuts ^= cuts << 17;
    return 1 + (size_t)((cuts >> 16) % most);
}

/* ---- the plain decoder: all of the input at once, by the grammar of RFC 9112, 7.1 ---- */

typedef struct plain {
    const uint8_t *at, *end;      /* what has not been looked at */
    const mm_chunked_limits *max; /* no field is 0 */
    int64_t length;               /* of the content */
    uint32_t extensions, trailers, small;
    uint8_t content[FUZZ_SIZE_MAX];
    uint8_t lines[FUZZ_SIZE_MAX]; /* of the trailers */
} plain;

static int plain_digit(int c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *found = c == 0 ? NULL : strchr(digits, c);
    return found == NULL ? -1 : (int)((found - digits) % 16);
}

static int plain_is_text(int c)
{
    return c == '\t' || (c >= 32 && c != 127);
}

/* CR and LF. */
static mm_status plain_line_end(plain *p)
{
    const char *expected = "\r\n";
    for (; *expected != '\0'; expected++) {
        if (p->at == p->end) return MM_STATUS_AGAIN;
        if (*p->at++ != *expected) return MM_STATUS_INVALID;
    }
    return MM_STATUS_OK;
}

static mm_status plain_count(plain *p, uint32_t *line)
{
    if (++*line > p->max->line) return MM_STATUS_INVALID;
    return ++p->extensions > p->max->extensions ? MM_STATUS_TOO_LARGE : MM_STATUS_OK;
}

/* Blanks and extensions, up to the CR. A semicolon begins them, and blanks in front of it. */
static mm_status plain_extensions(plain *p, uint32_t *line)
{
    mm_status status = MM_STATUS_OK;
    int quoted = 0, c;
    for (; p->at < p->end && (*p->at == ' ' || *p->at == '\t'); p->at++) {
        status = plain_count(p, line);
        if (status != MM_STATUS_OK) return p->at++, status;
    }
    if (p->at == p->end) return MM_STATUS_AGAIN;
    if (*p->at == '\r' && *line == 0) return MM_STATUS_OK;
    if (*p->at++ != ';') return MM_STATUS_INVALID;
    while (p->at < p->end) {
        c = *p->at;
        if (c == '\r' && quoted == 0) return MM_STATUS_OK;
        p->at++;
        if (!plain_is_text(c)) return MM_STATUS_INVALID;
        status = plain_count(p, line);
        if (status != MM_STATUS_OK) return status;
        if (quoted == 2) quoted = 1;
        else if (c == '"') quoted = !quoted;
        else if (c == '\\' && quoted == 1) quoted = 2;
    }
    return MM_STATUS_AGAIN;
}

static mm_status plain_size(plain *p, uint64_t *size)
{
    uint32_t line = 0, digits = 0;
    mm_status status;
    for (*size = 0; p->at < p->end && plain_digit(*p->at) >= 0; p->at++) {
        *size = *size * 16 + (uint64_t)plain_digit(*p->at);
        if (++digits > 16) return p->at++, MM_STATUS_INVALID;
        if (*size > (uint64_t)(p->max->body - p->length)) return p->at++, MM_STATUS_TOO_LARGE;
    }
    if (p->at == p->end) return MM_STATUS_AGAIN;
    if (digits == 0) return p->at++, MM_STATUS_INVALID;
    status = plain_extensions(p, &line);
    if (status == MM_STATUS_OK) status = plain_line_end(p);
    if (status != MM_STATUS_OK || *size == 0) return status;
    if (*size >= digits + line + 4) p->small = 0;
    else if (++p->small > p->max->small_chunks) return MM_STATUS_TOO_LARGE;
    return MM_STATUS_OK;
}

static mm_status plain_data(plain *p, uint64_t size)
{
    for (; size > 0; size--) {
        if (p->at == p->end) return MM_STATUS_AGAIN;
        p->content[p->length++] = *p->at++;
    }
    return plain_line_end(p);
}

static mm_status plain_trailers(plain *p)
{
    int c, before = '\n';
    for (; p->at < p->end; before = c) {
        c = *p->at;
        if (c == '\r' && before == '\n') return plain_line_end(p);
        p->at++;
        if (++p->trailers > p->max->trailers) return MM_STATUS_TOO_LARGE;
        if ((before == '\r') != (c == '\n')) return MM_STATUS_INVALID;
        if (c != '\r' && c != '\n' && !plain_is_text(c)) return MM_STATUS_INVALID;
        if (before == '\n' && strchr(" \t:", c) != NULL) return MM_STATUS_INVALID;
        p->lines[p->trailers - 1] = (uint8_t)c;
    }
    return MM_STATUS_AGAIN;
}

static mm_status plain_decode(plain *p)
{
    uint64_t size;
    mm_status status;
    do {
        status = plain_size(p, &size);
        if (status == MM_STATUS_OK && size > 0) status = plain_data(p, size);
    } while (status == MM_STATUS_OK && size > 0);
    return status == MM_STATUS_OK ? plain_trailers(p) : status;
}

/* ---- ours, in pieces ---- */

static mm_slice content(mm_chunkqueue *q)
{
    static char scratch[DECODED_MAX];
    const char *data;
    size_t size;
    FUZZ_CHECK(mm_chunkqueue_peek(q, scratch, sizeof(scratch), &data, &size) == MM_STATUS_OK);
    FUZZ_CHECK((int64_t)size == mm_chunkqueue_length(q));
    return mm_slice_make(data, size);
}

static mm_status decode_slices(mm_chunked_decoder *d, mm_slice text, mm_buffer *body, size_t *used)
{
    mm_status status = MM_STATUS_AGAIN;
    for (*used = 0; *used < text.len && status == MM_STATUS_AGAIN;) {
        mm_slice piece = mm_slice_sub(text, *used, cut(cut(300))), input = piece, data;
        while ((status = mm_chunked_decode(d, &input, &data)) == MM_STATUS_AGAIN && data.len > 0)
            mm_buffer_append_slice(body, data);
        FUZZ_CHECK(status != MM_STATUS_AGAIN || input.len == 0);
        *used += piece.len - input.len;
    }
    return status;
}

/* Appends the text to `from` in chunks of several sizes, some of which share a block. */
static void arrive(mm_slice text)
{
    mm_chunkqueue one;
    size_t at, n;
    mm_chunkqueue_init(&one, &pool);
    for (at = 0; at < text.len; at += n) {
        mm_slice piece = mm_slice_sub(text, at, cut(cut(2000)));
        n = piece.len;
        FUZZ_CHECK(mm_chunkqueue_append_mem(&one, piece.ptr, piece.len) == MM_STATUS_OK);
        if (cut(2) == 2) continue;
        FUZZ_CHECK(mm_chunkqueue_append_queue(&from, &one) == MM_STATUS_OK);
    }
    FUZZ_CHECK(mm_chunkqueue_append_queue(&from, &one) == MM_STATUS_OK);
}

static mm_status decode_queue(mm_chunked_decoder *d, mm_slice text, size_t *used)
{
    mm_status status = MM_STATUS_AGAIN;
    mm_slice piece;
    size_t at;
    for (at = 0; at < text.len && status == MM_STATUS_AGAIN; at += piece.len) {
        piece = mm_slice_sub(text, at, cut(cut(4000)));
        arrive(piece);
        status = mm_chunked_decode_queue(d, &from, &to);
        FUZZ_CHECK(mm_chunkqueue_check(&from) && mm_chunkqueue_check(&to));
        FUZZ_CHECK(status != MM_STATUS_AGAIN || mm_chunkqueue_is_empty(&from));
    }
    *used = (size_t)from.bytes_out;
    return status;
}

/* What any decoder has come to. */
static void check_result(const mm_chunked_decoder *d, const plain *expected, mm_slice body,
                         mm_status status)
{
    mm_slice lines = mm_buffer_slice(d->trailers);
    FUZZ_CHECK(d->body == expected->length && body.len == (size_t)expected->length);
    FUZZ_CHECK(memcmp(body.ptr, expected->content, body.len) == 0 || body.len == 0);
    FUZZ_CHECK(status == MM_STATUS_AGAIN || status == d->status);
    if (status == MM_STATUS_OK) FUZZ_CHECK(lines.len == expected->trailers);
    FUZZ_CHECK(lines.len <= expected->trailers);
    FUZZ_CHECK(lines.len == 0 || memcmp(lines.ptr, expected->lines, lines.len) == 0);
}

static void check_decoding(mm_slice text, const mm_chunked_limits *limits,
                           const mm_chunked_limits *filled_in)
{
    static plain expected;
    mm_chunked_decoder d;
    mm_buffer body = MM_BUFFER_INIT(NULL), trailers = MM_BUFFER_INIT(NULL);
    mm_status status;
    size_t used, expected_used;
    memset(&expected, 0, offsetof(plain, content));
    expected.at = (const uint8_t *)text.ptr;
    expected.end = expected.at + text.len;
    expected.max = filled_in;
    status = plain_decode(&expected);
    expected_used = (size_t)(expected.at - (const uint8_t *)text.ptr);
    mm_chunked_decoder_init(&d, limits);
    d.trailers = &trailers;
    FUZZ_CHECK(decode_slices(&d, text, &body, &used) == status && used == expected_used);
    check_result(&d, &expected, mm_buffer_slice(&body), status);
    mm_buffer_clear(&trailers);
    mm_chunked_decoder_init(&d, limits);
    d.trailers = &trailers;
    FUZZ_CHECK(decode_queue(&d, text, &used) == status && used == expected_used);
    check_result(&d, &expected, content(&to), status);
    mm_buffer_deinit(&body);
    mm_buffer_deinit(&trailers);
}

/* ---- there and back ---- */

static mm_buffer encoded_content = MM_BUFFER_INIT(NULL);

/* Encodes a part of the text, some times over, in one of the ways. */
static void encode(mm_slice text, unsigned how)
{
    static char bytes[FUZZ_SIZE_MAX * 8];
    mm_buffer b = MM_BUFFER_INIT(NULL);
    mm_chunkqueue q;
    size_t n, size = 0;
    mm_status status;
    for (n = 1 + how % 8; n > 0 && text.len > 0; n--, size += text.len)
        memcpy(bytes + size, text.ptr, text.len);
    mm_buffer_append(&encoded_content, bytes, size);
    mm_chunkqueue_init(&q, &pool);
    switch (how / 8 % 4) {
    case 0: status = mm_chunked_append_mem(&from, bytes, size); break;
    case 1:
        mm_buffer_append(&b, bytes, size);
        status = mm_chunked_append_buffer(&from, &b);
        FUZZ_CHECK(mm_buffer_is_blank(&b));
        break;
    default:
        (void)mm_chunkqueue_append_mem(&q, bytes, size);
        status = mm_chunked_append_queue(&from, &q);
        FUZZ_CHECK(mm_chunkqueue_is_empty(&q));
    }
    FUZZ_CHECK(status == MM_STATUS_OK && mm_chunkqueue_check(&from));
    mm_buffer_deinit(&b);
}

static void check_round_trip(mm_slice text)
{
    mm_chunkqueue wire;
    mm_chunked_decoder d;
    mm_status status = MM_STATUS_AGAIN;
    size_t i;
    mm_chunkqueue_init(&wire, &pool);
    mm_buffer_clear(&encoded_content);
    for (i = 0; i < text.len && i < 40; i++)
        encode(mm_slice_sub(text, i, i % 3 == 0 ? SIZE_MAX : i), (unsigned char)text.ptr[i]);
    FUZZ_CHECK(mm_chunked_append_last(&from, mm_slice_make(NULL, 0)) == MM_STATUS_OK);
    FUZZ_CHECK(mm_chunkqueue_append_mem(&from, "next", 4) == MM_STATUS_OK);
    mm_chunked_decoder_init(&d, NULL);
    while (status == MM_STATUS_AGAIN) {
        int64_t n = (int64_t)cut(cut(20000));
        if (n > mm_chunkqueue_length(&from)) n = mm_chunkqueue_length(&from);
        FUZZ_CHECK(n > 0 && mm_chunkqueue_steal(&wire, &from, n) == MM_STATUS_OK);
        status = mm_chunked_decode_queue(&d, &wire, &to);
        FUZZ_CHECK(mm_chunkqueue_check(&wire) && mm_chunkqueue_check(&to));
    }
    FUZZ_CHECK(status == MM_STATUS_OK);
    mm_chunkqueue_append_queue(&wire, &from);
    FUZZ_CHECK(mm_slice_equal(content(&wire), mm_slice_make("next", 4)));
    FUZZ_CHECK(mm_chunkqueue_length(&to) == (int64_t)mm_buffer_length(&encoded_content));
    for (i = 0; i < mm_buffer_length(&encoded_content);) {
        char piece[4096];
        size_t n = mm_buffer_length(&encoded_content) - i;
        if (n > sizeof(piece)) n = sizeof(piece);
        FUZZ_CHECK(mm_chunkqueue_read(&to, piece, n) == MM_STATUS_OK);
        FUZZ_CHECK(memcmp(piece, mm_buffer_string(&encoded_content) + i, n) == 0);
        i += n;
    }
    mm_chunkqueue_deinit(&wire);
}

FUZZ_TARGET(data, size)
{
    static const mm_chunked_limits few = {40, 6, 10, 12, 3};
    static const mm_chunked_limits defaults = {INT64_MAX, 256, 16384, 8192, 65536};
    mm_chunk_pool_desc desc;
    mm_slice text;
    if (size < 2 || size > FUZZ_SIZE_MAX) return;
    memset(&desc, 0, sizeof(desc));
    desc.chunk_size = 1024;
    FUZZ_CHECK(mm_chunk_pool_init(&pool, &desc) == MM_STATUS_OK);
    mm_chunkqueue_init(&from, &pool);
    mm_chunkqueue_init(&to, &pool);
    cuts = 88172645463325252u + data[1];
    text = mm_slice_make((const char *)data + 2, size - 2);
    switch ((uint8_t)(data[0] - 'a') % 3) {
    case 0: check_decoding(text, NULL, &defaults); break;
    case 1: check_decoding(text, &few, &few); break;
    default: check_round_trip(text);
    }
    mm_chunkqueue_deinit(&from);
    mm_chunkqueue_deinit(&to);
    mm_buffer_reset(&encoded_content, 0);
    FUZZ_CHECK(mm_chunk_pool_deinit(&pool) == 0);
}
