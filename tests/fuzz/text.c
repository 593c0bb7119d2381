/* Every function of mm_buffer.h that takes text apart, or makes text that others take apart. The
   first byte of the input names the function, the second its flags; the rest is the text. */
#define MM_IMPLEMENTATION
#include "../../mm_buffer.h"

#include "../text_model.h"
#include "fuzz.h"

#define UNURL mm_buffer_append_url_decoded
#define UNHEX mm_buffer_append_hex_decoded

typedef mm_status (*text_function)(mm_buffer *b, mm_slice slice);

static mm_buffer once, twice;                   /* results */
static unsigned char model[FUZZ_SIZE_MAX * 6];  /* what a result has to stand for */
static unsigned char read_back[FUZZ_SIZE_MAX * 6];

/* What the function makes of the text into an empty buffer, which is sound and whole or unset. */
static bool made(text_function function, mm_buffer *b, mm_slice text)
{
    mm_status status;
    mm_buffer_reset(b, 0);
    status = function(b, text);
    FUZZ_CHECK(mm_buffer_check(b) && status == mm_buffer_status(b));
    FUZZ_CHECK(status == MM_STATUS_OK || status == MM_STATUS_INVALID);
    FUZZ_CHECK(status == MM_STATUS_OK || mm_buffer_is_blank(b));
    return status == MM_STATUS_OK;
}

/* The same when the text lies in the buffer that the result is appended to. */
static void check_own_text(text_function function, mm_slice text, bool is_ok)
{
    mm_buffer_reset(&twice, 0);
    mm_buffer_append_slice(&twice, text);
    FUZZ_CHECK((function(&twice, mm_buffer_slice(&twice)) == MM_STATUS_OK) == is_ok);
    FUZZ_CHECK(mm_slice_starts_with(mm_buffer_slice(&twice), text));
    if (!is_ok) FUZZ_CHECK(mm_buffer_length(&twice) == text.len);
    else FUZZ_CHECK(mm_slice_equal(mm_slice_sub(mm_buffer_slice(&twice), text.len, SIZE_MAX),
                                   mm_buffer_slice(&once)));
}

static void check_read_back(size_t (*reader)(const char *text, size_t n, unsigned char *to),
                            size_t expected)
{
    size_t size = reader(mm_buffer_string(&once), mm_buffer_length(&once), read_back);
    FUZZ_CHECK(size == expected && memcmp(read_back, model, size) == 0);
}

static void check_escaping(text_function function, mm_slice text, char language,
                           size_t (*reader)(const char *text, size_t n, unsigned char *to))
{
    FUZZ_CHECK(made(function, &once, text));
    FUZZ_CHECK(mm_slice_is_utf8(mm_buffer_slice(&once)));
    check_read_back(reader, cleaned((const unsigned char *)text.ptr, text.len, language, model));
    check_own_text(function, text, true);
}

/* What is encoded decodes to itself; what decodes is what an encoder may have made. */
static void check_coding(text_function encode, text_function decode, mm_slice text, bool is_url)
{
    bool has_nul = mm_slice_find_byte(text, '\0', 0) != SIZE_MAX, is_ok;
    FUZZ_CHECK(made(encode, &once, text));
    check_own_text(encode, text, true);
    FUZZ_CHECK(made(decode, &twice, mm_buffer_slice(&once)) == !(is_url && has_nul));
    FUZZ_CHECK((is_url && has_nul) || mm_slice_equal(mm_buffer_slice(&twice), text));
    is_ok = made(decode, &once, text);
    check_own_text(decode, text, is_ok);
    if (!is_ok) return;
    FUZZ_CHECK(made(encode, &twice, mm_buffer_slice(&once)));
    if (is_url) FUZZ_CHECK(!has_nul && mm_buffer_length(&once) <= text.len);
    else FUZZ_CHECK(mm_slice_equal_nocase(mm_buffer_slice(&twice), text));
}

static unsigned base64_flags;

static mm_status base64(mm_buffer *b, mm_slice s)
{
    return mm_buffer_append_base64(b, s, base64_flags);
}

static mm_status unbase64(mm_buffer *b, mm_slice s)
{
    return mm_buffer_append_base64_decoded(b, s, base64_flags);
}

/* Base 64 has one spelling only. */
static void check_base64(mm_slice text, unsigned flags)
{
    base64_flags = flags % 4;
    check_coding(base64, unbase64, text, false);
    if (made(unbase64, &once, text) && made(base64, &twice, mm_buffer_slice(&once)))
        FUZZ_CHECK(mm_slice_equal(mm_buffer_slice(&twice), text));
}

static void check_path(mm_slice text)
{
    bool is_rooted = text.len > 0 && text.ptr[0] == '/';
    mm_slice path, segment;
    mm_tokens segments;
    mm_buffer_reset(&once, 0);
    mm_buffer_append_slice(&once, text);
    mm_buffer_simplify_path(&once);
    path = mm_buffer_slice(&once);
    FUZZ_CHECK(mm_buffer_check(&once) && path.len <= text.len);
    FUZZ_CHECK(mm_slice_starts_with(path, mm_slice_make("/", 1)) == is_rooted);
    FUZZ_CHECK(mm_slice_find(path, mm_slice_make("//", 2), 0) == SIZE_MAX);
    mm_tokens_init(&segments, path, "/", 0);
    while (mm_tokens_next(&segments, &segment)) {
        FUZZ_CHECK(!mm_slice_equal(segment, mm_slice_make(".", 1)));
        FUZZ_CHECK(!mm_slice_equal(segment, mm_slice_make("..", 2)));
    }
    mm_buffer_reset(&twice, 0);
    mm_buffer_append_slice(&twice, path);
    mm_buffer_simplify_path(&twice);
    FUZZ_CHECK(mm_slice_equal(mm_buffer_slice(&twice), path));
}

static void check_join(mm_slice text, unsigned cut)
{
    mm_slice left = mm_slice_sub(text, 0, cut), right = mm_slice_sub(text, cut, SIZE_MAX);
    mm_buffer_reset(&once, 0);
    mm_buffer_append_slice(&once, left);
    mm_buffer_append_path(&once, right);
    FUZZ_CHECK(mm_buffer_check(&once) && mm_buffer_status(&once) == MM_STATUS_OK);
    FUZZ_CHECK(mm_buffer_length(&once) <= text.len + 1);
    if (left.len == 0 || right.len == 0)
        FUZZ_CHECK(mm_slice_equal(mm_buffer_slice(&once), text));
}

/* Tokens lie in the text, one behind the other. Without quotes they and the bytes between them are
   the whole of it. */
static void check_tokens(mm_slice text, unsigned flags)
{
    const char *last = text.ptr;
    size_t count = 0, separators = 0, i;
    mm_slice token;
    mm_tokens t;
    mm_tokens_init(&t, text, ",; ", flags);
    for (; mm_tokens_next(&t, &token); last = token.ptr + token.len, count++) {
        FUZZ_CHECK(token.ptr >= last && token.len <= text.len);
        FUZZ_CHECK(token.ptr + token.len <= text.ptr + text.len);
        made(mm_buffer_append_unescaped, &once, token);
        FUZZ_CHECK(mm_buffer_length(&once) <= token.len);
    }
    FUZZ_CHECK(!mm_tokens_next(&t, &token) && count <= text.len + 1);
    if (flags != 0) return;
    for (i = 0; i < text.len; i++) separators += strchr(",; ", text.ptr[i]) && text.ptr[i] != '\0';
    FUZZ_CHECK(count == separators + 1);
}

static void check_unescaped(mm_slice text)
{
    size_t i, size = 0;
    bool is_whole = true;
    for (i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\\' && ++i == text.len) is_whole = false;
        else model[size++] = (unsigned char)text.ptr[i];
    }
    FUZZ_CHECK(made(mm_buffer_append_unescaped, &once, text) == is_whole);
    check_own_text(mm_buffer_append_unescaped, text, is_whole);
    if (is_whole)
        FUZZ_CHECK(mm_slice_equal(mm_buffer_slice(&once), mm_slice_make((char *)model, size)));
}

static void check_search(mm_slice text, unsigned length)
{
    mm_slice bytes = mm_slice_sub(text, 0, length % 8), rest;
    size_t from, found, i;
    rest = mm_slice_sub(text, bytes.len, SIZE_MAX);
    for (from = 0; from <= rest.len; from = found + 1) {
        found = mm_slice_find(rest, bytes, from);
        for (i = from; i < found && bytes.len <= rest.len && i <= rest.len - bytes.len; i++)
            FUZZ_CHECK(memcmp(rest.ptr + i, bytes.ptr, bytes.len) != 0);
        if (found == SIZE_MAX) break;
        FUZZ_CHECK(mm_slice_starts_with(mm_slice_sub(rest, found, SIZE_MAX), bytes));
    }
}

FUZZ_TARGET(data, size)
{
    mm_slice text;
    if (size < 2 || size > FUZZ_SIZE_MAX) return;
    text = mm_slice_make((const char *)data + 2, size - 2);
    switch ((uint8_t)(data[0] - 'a') % 14) { /* so that a corpus can be read and typed */
    case 0: check_coding(mm_buffer_append_url_path, UNURL, text, true); break;
    case 1: check_coding(mm_buffer_append_url_segment, UNURL, text, true); break;
    case 2: check_escaping(mm_buffer_append_html_escaped, text, 'h', markup_read); break;
    case 3: check_escaping(mm_buffer_append_xml_escaped, text, 'x', markup_read); break;
    case 4: check_escaping(mm_buffer_append_json_escaped, text, 'j', json_read); break;
    case 5:
        FUZZ_CHECK(made(mm_buffer_append_c_escaped, &once, text));
        memcpy(model, text.ptr, text.len);
        check_read_back(c_read, text.len);
        check_own_text(mm_buffer_append_c_escaped, text, true);
        break;
    case 6: check_coding(mm_buffer_append_hex_bytes, UNHEX, text, false); break;
    case 7: check_base64(text, data[1]); break;
    case 8:
        FUZZ_CHECK(mm_slice_is_utf8(text) == utf8_is_valid(data + 2, size - 2));
        break;
    case 9: check_path(text); break;
    case 10: check_join(text, data[1]); break;
    case 11: check_tokens(text, data[1] % 8); break;
    case 12: check_unescaped(text); break;
    default: check_search(text, data[1]);
    }
    mm_buffer_reset(&once, 0);
    mm_buffer_reset(&twice, 0);
}
