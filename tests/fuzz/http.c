/* What reads bytes of clients in the demo: request heads, chunked bodies, paths, ranges,
   conditions, weighted lists, and what is put. The first byte of the input names the reader, the
   second is its parameter; the rest is what the client sends. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_io.h"

#include "../../demo/accept.c"
#include "../../demo/conditions.c"
#include "../../demo/date.c"
#include "../../demo/encoding.c"
#include "../../demo/html.c"
#include "../../demo/http.c"
#include "../../demo/http1.c"
#include "../../demo/http1_body.c"
#include "../../demo/http1_target.c"
#include "../../demo/path.c"
#include "../../demo/ranges.c"
#include "../../demo/values.c"

#include "fuzz.h"

static http_request request, other;

/* ---- request heads ---- */

static bool is_within(mm_slice part, mm_slice text)
{
    bool literal = part.len == 1 && (part.ptr[0] == '/' || part.ptr[0] == '*');
    return part.len == 0 || literal ||
           (part.ptr >= text.ptr && part.ptr + part.len <= text.ptr + text.len);
}

static bool is_same(mm_slice a, mm_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The head that comes in two pieces, or a byte at a time, is the one that comes at once. */
static void check_pieces(mm_slice text, size_t cut, int expected, size_t expected_size)
{
    size_t scanned = 0, size = 0, have;
    int status = http1_parse_head(&other, text.ptr, cut, &scanned, &size);
    for (have = cut + 1; status == 0 && have <= text.len; have += cut == 0 ? 1 : text.len)
        status = http1_parse_head(&other, text.ptr, have, &scanned, &size);
    if (status == 0) status = http1_parse_head(&other, text.ptr, text.len, &scanned, &size);
    FUZZ_CHECK(status == expected);
    if (status != 200) return;
    FUZZ_CHECK(size == expected_size && other.header_count == request.header_count);
    FUZZ_CHECK(is_same(other.path, request.path) && is_same(other.host, request.host));
    FUZZ_CHECK(other.content_length == request.content_length);
    FUZZ_CHECK(other.chunked == request.chunked && other.keep_alive == request.keep_alive);
}

static void check_head(mm_slice text, size_t cut)
{
    size_t scanned = 0, size = 0, i;
    int status = http1_parse_head(&request, text.ptr, text.len, &scanned, &size);
    FUZZ_CHECK(status == 0 || status == 200 || (status >= 400 && status <= 505));
    if (status == 200) {
        FUZZ_CHECK(size <= text.len && !(request.chunked && request.content_length >= 0));
        FUZZ_CHECK(is_within(request.target, text) && is_within(request.path, text));
        FUZZ_CHECK(is_within(request.query, text) && is_within(request.host, text));
        FUZZ_CHECK(request.minor == 0 || request.host.len > 0);
        for (i = 0; i < request.header_count; i++) {
            FUZZ_CHECK(is_within(request.headers[i].name, text));
            FUZZ_CHECK(is_within(request.headers[i].value, text));
            FUZZ_CHECK(memchr(request.headers[i].value.ptr, '\n',
                              request.headers[i].value.len) == NULL);
        }
        for (i = 0; i < HTTP_FIELDS; i++) FUZZ_CHECK(request.fields[i] <= request.header_count);
    }
    check_pieces(text, cut < text.len ? cut : text.len, status, size);
}

/* ---- chunked bodies ---- */

static void check_body(mm_slice text, size_t cut)
{
    http1_body whole, pieces;
    size_t used = 0, at = 0;
    int status, again = 0;
    memset(&request, 0, sizeof(request));
    request.chunked = true;
    FUZZ_CHECK(http1_body_start(&whole, &request, &http1_drop_limits) == 200);
    FUZZ_CHECK(http1_body_start(&pieces, &request, &http1_drop_limits) == 200);
    status = http1_body_feed(&whole, text.ptr, text.len, &used);
    FUZZ_CHECK(status == 0 || status == 200 || status == 400 || status == 413);
    FUZZ_CHECK(used <= text.len && (status != 0 || used == text.len));
    while (at < text.len && again == 0) {
        size_t n = text.len - at, taken = 0;
        if (n > cut % 16 + 1) n = cut % 16 + 1;
        again = http1_body_feed(&pieces, text.ptr + at, n, &taken);
        FUZZ_CHECK(taken <= n);
        at += taken;
    }
    FUZZ_CHECK(again == status && at == used);
}

/* What is kept of a body, by way of two queues, is what is dropped of it, however it comes; `bits`
   says how much at a time, and whether it has a coding. */
static void check_kept(mm_slice text, unsigned bits)
{
    mm_chunk_pool pool;
    mm_chunkqueue from, kept;
    http1_body taken, dropped;
    size_t used = 0, at = 0;
    int status = 0, expected;
    memset(&request, 0, sizeof(request));
    request.chunked = (bits & 1) != 0;
    request.content_length = request.chunked ? -1 : (int64_t)(bits >> 1);
    if (mm_chunk_pool_init(&pool, NULL) != MM_STATUS_OK) return;
    mm_chunkqueue_init(&from, &pool);
    mm_chunkqueue_init(&kept, &pool);
    expected = http1_body_start(&dropped, &request, &http1_drop_limits);
    if (expected == 200) expected = http1_body_feed(&dropped, text.ptr, text.len, &used);
    else expected = 200; /* there is none: it is complete */
    (void)http1_body_start(&taken, &request, &http1_drop_limits);
    while (status == 0 && at <= text.len) {
        size_t n = text.len - at < bits % 13 + 1 ? text.len - at : bits % 13 + 1;
        FUZZ_CHECK(mm_chunkqueue_append_mem(&from, text.ptr + at, n) == MM_STATUS_OK);
        status = http1_body_take(&taken, &from, &kept, (int64_t)(bits % 5));
        FUZZ_CHECK(mm_chunkqueue_check(&from) && mm_chunkqueue_check(&kept));
        at += n;
        if (n == 0) break;
    }
    FUZZ_CHECK(status == expected);
    if (status == 200)
        FUZZ_CHECK(at - (size_t)mm_chunkqueue_length(&from) == used);
    mm_chunkqueue_deinit(&from);
    mm_chunkqueue_deinit(&kept);
    FUZZ_CHECK(mm_chunk_pool_deinit(&pool) == 0);
}

/* ---- paths ---- */

static void check_decoded(const char *path, size_t length)
{
    mm_slice rest = mm_slice_make(path, length);
    FUZZ_CHECK(memchr(path, '\0', length) == NULL && memchr(path, '\\', length) == NULL);
    FUZZ_CHECK(mm_slice_is_utf8(rest));
    while (rest.len > 0) {
        mm_slice segment = text_until(rest, "/");
        FUZZ_CHECK(segment.len > 0);
        FUZZ_CHECK(segment.ptr[0] != '.' || text_is_word(segment, ".well-known"));
        FUZZ_CHECK(segment.len == rest.len || segment.len + 1 < rest.len);
        rest = text_from(rest, segment.len < rest.len ? segment.len + 1 : segment.len);
    }
}

/* A path that was decoded leads nowhere else, and decodes to itself when it is encoded again. */
static void check_url(mm_slice text)
{
    static char to[FUZZ_SIZE_MAX + 1], again[FUZZ_SIZE_MAX * 3 + 2];
    size_t length = 0, second = 0;
    bool folder;
    mm_buffer encoded = {0};
    int status = files_decode_path(text, to, &length, &folder);
    FUZZ_CHECK(status == 200 || status == 400 || status == 404);
    if (status != 200) return;
    FUZZ_CHECK(length <= text.len);
    check_decoded(to, length);
    mm_buffer_append_char(&encoded, '/');
    mm_buffer_append_url_path(&encoded, mm_slice_make(to, length));
    FUZZ_CHECK(files_decode_path(mm_buffer_slice(&encoded), again, &second, &folder) == 200);
    FUZZ_CHECK(second == length && memcmp(to, again, length) == 0);
    mm_buffer_deinit(&encoded);
}

/* The prefix of --upload is a path that requests can have: encoded and decoded, it is the same. */
static void check_prefix(mm_slice text)
{
    static char option[FUZZ_SIZE_MAX + 1], to[FUZZ_SIZE_MAX * 3 + 2];
    value_pair pair;
    mm_buffer encoded = {0};
    mm_slice prefix;
    size_t length = 0;
    bool folder;
    if (text.len > 0) memcpy(option, text.ptr, text.len);
    option[text.len] = '\0';
    FUZZ_CHECK(value_size(option) >= -1);
    if (!value_upload(option, &pair)) return;
    mm_buffer_append_url_path(&encoded, pair.left);
    FUZZ_CHECK(files_decode_path(mm_buffer_slice(&encoded), to, &length, &folder) == 200);
    prefix = text_trim(pair.left, "/");
    FUZZ_CHECK(length == prefix.len && (length == 0 || memcmp(to, prefix.ptr, length) == 0));
    mm_buffer_deinit(&encoded);
}

/* ---- ranges, conditions, lists ---- */

static void add_field(const char *name, mm_slice value)
{
    request.headers[request.header_count].name = mm_slice_from_string(name);
    request.headers[request.header_count++].value = value;
}

static void check_ranges(mm_slice text, int64_t size)
{
    files_ranges ranges;
    size_t i, j;
    int status;
    request.header_count = 0;
    add_field("Range", text);
    http_request_index(&request);
    status = files_check_ranges(&request, mm_slice_from_string("\"a\""), 1, size, &ranges);
    FUZZ_CHECK(status == 200 || status == 206 || status == 416);
    if (status != 206) return;
    FUZZ_CHECK(ranges.count >= 1 && ranges.count <= FILES_RANGES_MAX);
    for (i = 0; i < ranges.count; i++) {
        const files_range *a = &ranges.at[i];
        FUZZ_CHECK(a->offset >= 0 && a->length > 0 && a->length <= size - a->offset);
        for (j = 0; j < i; j++)
            FUZZ_CHECK(a->offset > ranges.at[j].offset + ranges.at[j].length ||
                       ranges.at[j].offset > a->offset + a->length);
    }
}

/* Lines of the text are the values of the fields whose bits are set; what there is decides. */
static void check_conditions(mm_slice text, unsigned bits)
{
    static const char *const names[] = {"If-Match", "If-None-Match", "If-Modified-Since",
                                        "If-Unmodified-Since", "If-Range", "If-None-Match"};
    mm_slice etag = mm_slice_from_string("\"a\"");
    int64_t seconds, again;
    int status;
    size_t i;
    request.header_count = 0;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        mm_slice line = text_until(text, "\n");
        text = text_from(text, line.len < text.len ? line.len + 1 : line.len);
        if ((bits >> i & 1) != 0) add_field(names[i], line);
        if (http_date_parse(line, &seconds) && seconds >= 0) {
            char date[HTTP_DATE_SIZE];
            http_date_format(seconds, date);
            FUZZ_CHECK(http_date_parse(mm_slice_from_string(date), &again) && again == seconds);
        }
    }
    http_request_index(&request);
    status = files_check_conditions(&request, etag, 1000000000);
    FUZZ_CHECK(status == 200 || status == 304 || status == 412);
    FUZZ_CHECK(status != 412 || (bits & 9) != 0);
    FUZZ_CHECK(status != 304 || (bits & 38) != 0);
    (void)files_is_range_current(&request, etag, 1000000000);
}

static void check_lists(mm_slice text, unsigned available)
{
    mm_slice rest = text, name;
    int weight, chosen;
    size_t elements = 0;
    while (accept_take(&rest, &name, &weight)) {
        FUZZ_CHECK(name.len > 0 && is_within(name, text) && weight >= 0 && weight <= 1000);
        elements++;
    }
    FUZZ_CHECK(elements <= text.len / 2 + 1);
    request.header_count = 0;
    add_field("Accept-Encoding", text);
    add_field("Accept", text);
    http_request_index(&request);
    chosen = files_choose_encoding(&request, available & 7);
    FUZZ_CHECK(chosen == -1 || (available >> chosen & 1) != 0);
    weight = accept_media_weight(&request, "text", "html");
    FUZZ_CHECK(weight >= 0 && weight <= 1000);
}

FUZZ_TARGET(data, size)
{
    mm_slice text;
    if (size < 2 || size > FUZZ_SIZE_MAX) return;
    text = mm_slice_make((const char *)data + 2, size - 2);
    switch ((uint8_t)(data[0] - 'a') % 8) { /* so that a corpus can be read and typed */
    case 0: check_head(text, data[1]); break;
    case 1: check_body(text, data[1]); break;
    case 2: check_url(text); break;
    case 3: check_ranges(text, data[1] == 'z' ? INT64_MAX : data[1] % 128); break;
    case 4: check_conditions(text, data[1]); break;
    case 5: check_lists(text, data[1]); break;
    case 6: check_kept(text, data[1]); break;
    default: check_prefix(text);
    }
}
