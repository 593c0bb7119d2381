/* mm_buffer.h's text block: the standards' own examples, models, and every failure. */
#define MM_IMPLEMENTATION
#include "../../mm_buffer.h"

#include <ctype.h>

#include "../harness.h"
#include "../text_model.h"

static mm_slice slice(const char *text)
{
    return mm_slice_from_string(text);
}

typedef mm_status (*text_function)(mm_buffer *b, mm_slice slice);

static mm_status base64(mm_buffer *b, mm_slice s)
{
    return mm_buffer_append_base64(b, s, MM_BASE64_STANDARD);
}

static mm_status base64_url(mm_buffer *b, mm_slice s)
{
    return mm_buffer_append_base64(b, s, MM_BASE64_URL | MM_BASE64_NO_PAD);
}

static mm_status unbase64(mm_buffer *b, mm_slice s)
{
    return mm_buffer_append_base64_decoded(b, s, MM_BASE64_STANDARD);
}

static mm_status unbase64_url(mm_buffer *b, mm_slice s)
{
    return mm_buffer_append_base64_decoded(b, s, MM_BASE64_URL | MM_BASE64_NO_PAD);
}

#define URL_PATH mm_buffer_append_url_path
#define URL_SEGMENT mm_buffer_append_url_segment
#define UNURL mm_buffer_append_url_decoded
#define HTML mm_buffer_append_html_escaped
#define XML mm_buffer_append_xml_escaped
#define JSON mm_buffer_append_json_escaped
#define C_TEXT mm_buffer_append_c_escaped
#define HEX mm_buffer_append_hex_bytes
#define UNHEX mm_buffer_append_hex_decoded

/* What `function` makes of the bytes; "(invalid)" when it refuses them. */
static const char *made_of(text_function function, const char *bytes, size_t n)
{
    static char memory[4096];
    mm_buffer b = {0};
    mm_status status;
    mm_buffer_append_string(&b, "#");
    status = function(&b, mm_slice_make(bytes, n));
    if (!mm_buffer_check(&b) || mm_buffer_length(&b) >= sizeof(memory)) abort();
    memcpy(memory, b.ptr, b.used);
    if (status != mm_buffer_status(&b) || memory[0] != '#') abort();
    if (status != MM_STATUS_OK && mm_buffer_length(&b) != 1) abort();
    mm_buffer_deinit(&b);
    return status == MM_STATUS_INVALID ? "(invalid)" : memory + 1;
}

#define CHECK_TEXT(function, bytes, expected) \
    CHECK_STR(made_of(function, bytes, sizeof(bytes) - 1), expected)

TEST(url)
{
    CHECK_TEXT(URL_SEGMENT, "", "");
    CHECK_TEXT(URL_SEGMENT, "a-Z.0_9~", "a-Z.0_9~"); /* RFC 3986, 2.3 */
    CHECK_TEXT(URL_SEGMENT, ":/?#[]@!$&'()*+,;=",
               "%3A%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D"); /* 2.2 */
    CHECK_TEXT(URL_PATH, "/a b/100%/\xC3\xA0", "/a%20b/100%25/%C3%A0");   /* 2.5: %C3%A0 */
    CHECK_TEXT(URL_SEGMENT, "A\xC3\x80\xE3\x82\xA2", "A%C3%80%E3%82%A2"); /* 2.5 */
    CHECK_TEXT(UNURL, "A%C3%80%E3%82%A2", "A\xC3\x80\xE3\x82\xA2");
    CHECK_TEXT(UNURL, "urn:oasis:names:specification:docbook:dtd:xml:4.1.2", /* 1.1.2 */
               "urn:oasis:names:specification:docbook:dtd:xml:4.1.2");
    CHECK_TEXT(UNURL, "%3a%3A", "::"); /* 6.2.2.1 */
    CHECK_TEXT(URL_SEGMENT, "\0\xFF\x7F", "%00%FF%7F");
    CHECK_TEXT(UNURL, "%7Esmith/%41+%c3%a0", "~smith/A+\xC3\xA0");
    CHECK_TEXT(UNURL, "%2525", "%25"); /* once only */
    CHECK_TEXT(UNURL, "%", "(invalid)");
    CHECK_TEXT(UNURL, "abc%4", "(invalid)");
    CHECK_TEXT(UNURL, "%4g", "(invalid)");
    CHECK_TEXT(UNURL, "%g4", "(invalid)");
    CHECK_TEXT(UNURL, "%%41", "(invalid)");
    CHECK_TEXT(UNURL, "a%00b", "(invalid)");
    CHECK_TEXT(UNURL, "a\0b", "(invalid)");
    CHECK_TEXT(UNURL, "%01%ff", "\x01\xFF");
}

TEST(html_and_xml)
{
    CHECK_TEXT(HTML, "<a href=\"x\">Tom & 'Jerry'</a>",
               "&lt;a href=&quot;x&quot;&gt;Tom &amp; &#39;Jerry&#39;&lt;/a&gt;");
    CHECK_TEXT(HTML, "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9D\x84\x9E",
               "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9D\x84\x9E");
    CHECK_TEXT(HTML, "a\0b\r\n\t", "a\xEF\xBF\xBD" "b\r\n\t");
    CHECK_TEXT(HTML, "\xFF<\xC3", "\xEF\xBF\xBD&lt;\xEF\xBF\xBD");
    CHECK_TEXT(HTML, "long enough for words & more", "long enough for words &amp; more");
    CHECK_TEXT(XML, "a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;");
    CHECK_TEXT(XML, "\t\n\r", "\t\n&#13;");
    CHECK_TEXT(XML, "\x01\x1F\x7F", "\xEF\xBF\xBD\xEF\xBF\xBD\x7F");
    CHECK_TEXT(XML, "\xEF\xBF\xBD\xEF\xBF\xBE\xEF\xBF\xBF", /* U+FFFD, FFFE, FFFF */
               "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    CHECK_TEXT(XML, "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a surrogate */
}

TEST(json)
{
    CHECK_TEXT(JSON, "\"\\/\b\f\n\r\t", "\\\"\\\\/\\b\\f\\n\\r\\t"); /* RFC 8259, 7 */
    CHECK_TEXT(JSON, "\0\x01\x1F\x7F\a\v", "\\u0000\\u0001\\u001f\x7F\\u0007\\u000b");
    CHECK_TEXT(JSON, "http://www.example.com/image/481989943", /* 13 */
               "http://www.example.com/image/481989943");
    CHECK_TEXT(JSON, "\\u005C", "\\\\u005C"); /* the six bytes, not what they stand for */
    CHECK_TEXT(JSON, "G clef: \xF0\x9D\x84\x9E", "G clef: \xF0\x9D\x84\x9E");
    CHECK_TEXT(JSON, "\xC0\xAF\xF4\x90\x80\x80", /* overlong; beyond U+10FFFF: byte for byte */
               "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(c_text)
{
    CHECK_TEXT(C_TEXT, "GET /\"x\\y\"\r\n\t", "GET /\\\"x\\\\y\\\"\\r\\n\\t");
    CHECK_TEXT(C_TEXT, "\0\x1B[31m\x7F\b", "\\x00\\x1b[31m\\x7f\\x08");
    CHECK_TEXT(C_TEXT, "\xC3\xBC\xFF\xC3", "\xC3\xBC\\xff\\xc3");
    CHECK_TEXT(C_TEXT, "\xC2\x9B\xC2\xA0", "\\xc2\\x9b\xC2\xA0"); /* U+009B is a control */
}

TEST(hex)
{
    CHECK_TEXT(HEX, "\0\x12\xAB\xFF", "0012abff");
    CHECK_TEXT(HEX, "", "");
    CHECK_TEXT(UNHEX, "6d6D", "mm");
    CHECK_TEXT(UNHEX, "666F6F626172", "foobar"); /* RFC 4648, 10: base 16 */
    CHECK_TEXT(HEX, "foobar", "666f6f626172");
    CHECK_TEXT(UNHEX, "", "");
    CHECK_TEXT(UNHEX, "abc", "(invalid)");
    CHECK_TEXT(UNHEX, "0g", "(invalid)");
    CHECK_TEXT(UNHEX, "g0", "(invalid)");
    CHECK_TEXT(UNHEX, " 0", "(invalid)");
    CHECK_TEXT(UNHEX, "0x10", "(invalid)");
}

TEST(base64_of_rfc_4648)
{
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static const char *const unpadded[] = {"",       "Zg",      "Zm8",     "Zm9v",
                                           "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
    size_t i;
    for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        CHECK_STR(made_of(base64, plain[i], i), coded[i]);
        CHECK_STR(made_of(unbase64, coded[i], strlen(coded[i])), plain[i]);
        CHECK_STR(made_of(base64_url, plain[i], i), unpadded[i]);
        CHECK_STR(made_of(unbase64_url, unpadded[i], strlen(unpadded[i])), plain[i]);
    }
    CHECK_TEXT(base64, "\x14\xFB\x9C\x03\xD9\x7E", "FPucA9l+"); /* section 9 */
    CHECK_TEXT(base64, "\x14\xFB\x9C\x03\xD9", "FPucA9k=");
    CHECK_TEXT(base64, "\x14\xFB\x9C\x03", "FPucAw==");
    CHECK_TEXT(base64, "\xFB\xEF\xFF", "++//");
    CHECK_TEXT(base64_url, "\xFB\xEF\xFF", "--__");
    CHECK_TEXT(unbase64, "++//", "\xFB\xEF\xFF");
    CHECK_TEXT(unbase64_url, "--__", "\xFB\xEF\xFF");
}

TEST(base64_is_strict)
{
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",   "Zm8",  "Zm9vY", "=",    "==",   "====", "Z===",     "Zh==",
        "Zm9=", "Zg=g", "Zg==Zg==", " Zg==", "Zg==\n", "Zm 9", "--__", "Zm9\x80", "Zg===", "Zm8=="};
    static const char *const bad_url[] = {"Zg==", "Zm8=", "Z", "++//", "Zh", "Zm9", "Zm9v="};
    size_t i;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_STR(made_of(unbase64, bad[i], strlen(bad[i])), "(invalid)");
    for (i = 0; i < sizeof(bad_url) / sizeof(bad_url[0]); i++)
        CHECK_STR(made_of(unbase64_url, bad_url[i], strlen(bad_url[i])), "(invalid)");
}

TEST(case_of_ascii)
{
    mm_buffer b = {0};
    mm_buffer_to_lower(&b);
    mm_buffer_to_upper(&b);
    CHECK(mm_buffer_is_unset(&b));
    mm_buffer_append_string(&b, "@AZ[`az{\xC4\xE4 1");
    mm_buffer_to_lower(&b);
    CHECK_STR(mm_buffer_string(&b), "@az[`az{\xC4\xE4 1");
    mm_buffer_to_upper(&b);
    CHECK_STR(mm_buffer_string(&b), "@AZ[`AZ{\xC4\xE4 1");
    mm_buffer_deinit(&b);
}

/* ---- UTF-8, against a decoder that is as plain as the standard ---- */

static bool is_utf8(const unsigned char *bytes, size_t n)
{
    return mm_slice_is_utf8(mm_slice_make((const char *)bytes, n));
}

TEST(utf8_every_character_and_short_sequence)
{
    unsigned char bytes[5] = {0};
    uint32_t code, value;
    size_t n, cut;
    for (code = 0; code <= 0x10FFFF; code++) {
        n = utf8_encode(code, bytes);
        CHECK_EQ(is_utf8(bytes, n), code < 0xD800 || code > 0xDFFF);
        for (cut = 1; cut < n; cut++) CHECK(!is_utf8(bytes, cut));
    }
    for (value = 0; value < 0x1000000; value += value < 0x800000 ? 7919 : 1) { /* lead >= 0x80 */
        bytes[0] = (unsigned char)(value >> 16);
        bytes[1] = (unsigned char)(value >> 8);
        bytes[2] = (unsigned char)value;
        bytes[3] = 0x80;
        n = bytes[0] < 0xF0 ? 3 : 4;
        if (is_utf8(bytes, n) != utf8_is_valid(bytes, n)) CHECK_EQ(value, -1);
    }
    CHECK(mm_slice_is_utf8(mm_slice_make(NULL, 0)));
    CHECK(mm_slice_is_utf8(mm_slice_make("a\0b", 3)));
}

/* Random bytes, mostly ASCII and characters, some of them cut or wrong. */
static size_t random_text(unsigned char *to, size_t most, uint64_t *random)
{
    size_t n = 0, length = test_random(random) % most;
    while (n + 4 <= length) {
        uint64_t kind = test_random(random) % 16, value = test_random(random);
        if (kind < 9) to[n++] = (unsigned char)(0x20 + value % 0x5F);
        else if (kind < 10) to[n++] = (unsigned char)(value % 0x20);
        else if (kind < 11) to[n++] = (unsigned char)"<>&\"'\\%/"[value % 8];
        else if (kind < 12) to[n++] = (unsigned char)value;
        else n += utf8_encode((uint32_t)(value % (kind == 15 ? 0x110000 : 0x3000)), to + n);
    }
    return n;
}

TEST(utf8_model)
{
    unsigned char bytes[80];
    uint64_t seed = 4711;
    size_t i, n, from, valid = 0;
    for (i = 0; i < 100000; i++) {
        n = random_text(bytes, i % 2 != 0 ? 12 : sizeof(bytes), &seed);
        from = n == 0 ? 0 : test_random(&seed) % n % 9; /* words at any alignment */
        CHECK_EQ(is_utf8(bytes + from, n - from), utf8_is_valid(bytes + from, n - from));
        valid += is_utf8(bytes, n);
    }
    CHECK(valid > 1000 && valid < 99000);
}

/* ---- escaped text, read back by readers of their own ---- */

TEST(escaped_text_reads_back)
{
    unsigned char bytes[80], expected[256], read[1024];
    uint64_t seed = 271828;
    size_t step, n, size;
    mm_buffer b = {0};
    for (step = 0; step < 50000; step++) {
        mm_slice text;
        n = random_text(bytes, sizeof(bytes), &seed);
        text = mm_slice_make((const char *)bytes, n);
        mm_buffer_clear(&b);
        CHECK_EQ(mm_buffer_append_json_escaped(&b, text), MM_STATUS_OK);
        size = cleaned(bytes, n, 'j', expected);
        CHECK(mm_slice_is_utf8(mm_buffer_slice(&b)));
        CHECK_EQ(json_read(b.ptr, mm_buffer_length(&b), read), size);
        CHECK(memcmp(read, expected, size) == 0);
        mm_buffer_clear(&b);
        CHECK_EQ(mm_buffer_append_xml_escaped(&b, text), MM_STATUS_OK);
        size = cleaned(bytes, n, 'x', expected);
        CHECK(mm_slice_is_utf8(mm_buffer_slice(&b)));
        CHECK_EQ(markup_read(b.ptr, mm_buffer_length(&b), read), size);
        CHECK(memcmp(read, expected, size) == 0);
        mm_buffer_clear(&b);
        CHECK_EQ(mm_buffer_append_html_escaped(&b, text), MM_STATUS_OK);
        CHECK(mm_slice_is_utf8(mm_buffer_slice(&b)));
        size = cleaned(bytes, n, 'h', expected);
        CHECK_EQ(markup_read(b.ptr, mm_buffer_length(&b), read), size);
        CHECK(memcmp(read, expected, size) == 0);
    }
    mm_buffer_deinit(&b);
}

TEST(decoders_undo_encoders)
{
    static const text_function pairs[][2] = {
        {URL_PATH, UNURL}, {URL_SEGMENT, UNURL}, {HEX, UNHEX}, {base64, unbase64},
        {base64_url, unbase64_url}};
    char bytes[70];
    uint64_t seed = 31337;
    size_t step, i, n;
    mm_buffer coded = {0}, plain = {0};
    for (step = 0; step < 50000; step++) {
        const text_function *pair = pairs[step % 5];
        n = test_random(&seed) % sizeof(bytes);
        for (i = 0; i < n; i++) bytes[i] = (char)(1 + test_random(&seed) % 255);
        mm_buffer_clear(&coded);
        mm_buffer_clear(&plain);
        CHECK_EQ(pair[0](&coded, mm_slice_make(bytes, n)), MM_STATUS_OK);
        CHECK_EQ(strlen(mm_buffer_string(&coded)), mm_buffer_length(&coded));
        CHECK_EQ(pair[1](&plain, mm_buffer_slice(&coded)), MM_STATUS_OK);
        CHECK(mm_slice_equal(mm_buffer_slice(&plain), mm_slice_make(bytes, n)));
    }
    mm_buffer_deinit(&coded);
    mm_buffer_deinit(&plain);
}

/* ---- each function against one that goes byte by byte ---- */

/* One character or stray byte at `from` as the escaping has it; `*taken`: what it stands for. */
static size_t escape_one(text_function f, const unsigned char *from, size_t n, char *to,
                         size_t *taken)
{
    static const char *const names[][2] = {{"&", "&amp;"},  {"<", "&lt;"},   {">", "&gt;"},
                                           {"\"", "&quot;"}, {"'", "&#39;"}};
    static const char plain[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    unsigned c = from[0];
    bool markup = f == HTML || f == XML, control = c < 0x20 && (f != HTML || c == 0);
    size_t i, size = utf8_size(from, n);
    const char *found = c == 0 ? NULL : strchr(plain, (int)c);
    *taken = size == 0 ? 1 : size;
    for (i = 0; i < 5; i++)
        if (markup && c == (unsigned char)names[i][0][0])
            return (size_t)sprintf(to, "%s", names[i][1]);
    if (f == XML && c == '\r') return (size_t)sprintf(to, "&#13;");
    if (f == XML && (c == '\t' || c == '\n')) control = false;
    if (f == C_TEXT && (size == 0 || c == 0x7F || (c == 0xC2 && from[1] < 0xA0))) control = true;
    if (f == XML && size == 3 && c == 0xEF && from[1] == 0xBF && from[2] >= 0xBE) size = 0;
    if (!markup && found != NULL && (f == JSON || (c != '\b' && c != '\f')))
        return (size_t)sprintf(to, "\\%c", letters[found - plain]);
    if (f == C_TEXT && control) return *taken = 1, (size_t)sprintf(to, "\\x%02x", c);
    if (f == JSON && control) return (size_t)sprintf(to, "\\u%04x", c);
    if (size == 0 || control) return (size_t)sprintf(to, MMI_REPLACEMENT);
    memcpy(to, from, size);
    return size;
}

static size_t unurl_one(const unsigned char *from, size_t n, char *to, size_t *taken)
{
    unsigned value = from[0];
    *taken = 1;
    if (value == '%') {
        char digits[3] = {0};
        if (n < 3 || !isxdigit(from[1]) || !isxdigit(from[2])) return SIZE_MAX;
        memcpy(digits, from + 1, 2);
        value = (unsigned)strtoul(digits, NULL, 16);
        *taken = 3;
    }
    to[0] = (char)value;
    return value == 0 ? SIZE_MAX : 1;
}

static size_t url_one(text_function f, unsigned char c, char *to)
{
    if (c < 0x80 && (isalnum(c) || (c != 0 && strchr("-._~", c) != NULL) ||
                     (c == '/' && f == URL_PATH)))
        return to[0] = (char)c, 1;
    return (size_t)sprintf(to, "%%%02X", c);
}

/* SIZE_MAX: refused. */
static size_t reference(text_function f, const unsigned char *from, size_t n, char *to)
{
    size_t size = 0, taken = 1;
    if (f == UNHEX && n % 2 != 0) return SIZE_MAX;
    for (; n > 0; from += taken, n -= taken) {
        size_t one = 2;
        if (f == UNURL) one = unurl_one(from, n, to + size, &taken);
        else if (f == URL_PATH || f == URL_SEGMENT) one = url_one(f, from[0], to + size);
        else if (f == HEX) sprintf(to + size, "%02x", from[0]);
        else if (f == UNHEX) {
            unsigned char digits[4] = {'%', from[0], from[1], 0};
            one = unurl_one(digits, 3, to + size, &taken);
            if (memcmp(digits, "%00", 3) == 0) one = 1; /* which no URL may have */
            taken = 2;
        } else one = escape_one(f, from, n, to + size, &taken);
        if (one == SIZE_MAX) return SIZE_MAX;
        size += one;
    }
    return size;
}

/* Into a buffer that has room, and one that has none; from a block that ends with the bytes. */
static void check_against_reference(text_function f, const unsigned char *bytes, size_t n,
                                    size_t offset)
{
    static char memory[1024], expected[1024];
    char *block = (char *)malloc(offset + n + 1);
    size_t size = reference(f, bytes, n, expected);
    mm_buffer roomy, tight = {0};
    mm_status status = size == SIZE_MAX ? MM_STATUS_INVALID : MM_STATUS_OK;
    mm_slice from = mm_slice_make(block + 1 + offset, n), made;
    memcpy(block + 1 + offset, bytes, n);
    mm_buffer_init_memory(&roomy, memory, sizeof(memory), NULL);
    CHECK_EQ(f(&roomy, from), status);
    CHECK_EQ(f(&tight, from), status);
    free(block);
    if (size == SIZE_MAX) size = 0;
    made = mm_buffer_slice(&roomy);
    if (made.len != size || memcmp(made.ptr, expected, size) != 0)
        printf("      %zu bytes, the first %02x\n", n, n == 0 ? 0u : bytes[0]);
    CHECK(mm_slice_equal(made, mm_slice_make(expected, size)));
    CHECK(mm_buffer_equal(&roomy, &tight));
    mm_buffer_deinit(&roomy);
    mm_buffer_deinit(&tight);
}

static const text_function by_byte[] = {URL_PATH, URL_SEGMENT, UNURL, HTML, XML, JSON, C_TEXT, HEX};

TEST(every_special_byte_at_every_place)
{
    static const unsigned char special[] = "\0\x01\t\n\r\x1F\"&'<>%\\/@[`{~_-.:\x7F\x80\xC2\xFF";
    unsigned char bytes[71];
    size_t i, k, n, at;
    for (i = 0; i < sizeof(by_byte) / sizeof(by_byte[0]); i++)
        for (n = 0; n <= 70; n++)
            for (at = 0; at < n; at++) {
                k = (n * 7 + at) % (sizeof(special) - 1); /* all of them at all distances */
                memset(bytes, 'a', sizeof(bytes));
                bytes[at] = special[k];
                CHECK_SUB(check_against_reference(by_byte[i], bytes, n, at % 9));
                bytes[n - 1] = special[(k + at) % (sizeof(special) - 1)];
                CHECK_SUB(check_against_reference(by_byte[i], bytes, n, n % 9));
            }
}

TEST(every_byte_in_a_block)
{
    unsigned char bytes[21];
    size_t i, n, at;
    unsigned value;
    for (i = 0; i < sizeof(by_byte) / sizeof(by_byte[0]); i++)
        for (value = 0; value < 256; value++)
            for (at = 0; at < 20; at += 3)
                for (n = 20; n <= 21; n++) {
                    memset(bytes, 'z', sizeof(bytes));
                    bytes[at] = (unsigned char)value;
                    CHECK_SUB(check_against_reference(by_byte[i], bytes, n, value % 3));
                }
}

TEST(random_text_against_the_reference)
{
    unsigned char bytes[80];
    uint64_t seed = 5;
    size_t step;
    for (step = 0; step < 40000; step++) {
        size_t n = random_text(bytes, sizeof(bytes), &seed);
        CHECK_SUB(check_against_reference(by_byte[step % 8], bytes, n, step % 7));
    }
}

/* Every byte as a digit, at every place of a quad: only those of the alphabet decode. */
TEST(hex_and_base64_digits)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    unsigned value;
    size_t at, n;
    for (value = 0; value < 256; value++) {
        bool common = value != 0 && strchr(alphabet, (int)value) != NULL;
        for (n = 4; n <= 12; n += 4)
            for (at = 0; at < n; at++) {
                unsigned char text[12];
                memset(text, 'A', sizeof(text));
                text[at] = (unsigned char)value;
                if (value == '=' && at + 1 == n) continue; /* padding */
                CHECK_EQ(strcmp(made_of(unbase64, (char *)text, n), "(invalid)") != 0,
                         common || value == '+' || value == '/');
                CHECK_EQ(strcmp(made_of(unbase64_url, (char *)text, n), "(invalid)") != 0,
                         common || value == '-' || value == '_');
                CHECK_SUB(check_against_reference(UNHEX, text, n, at));
            }
    }
}

TEST(utf8_at_every_place)
{
    static const char *const parts[] = {"\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9D\x84\x9E", "\xC0\x80",
                                        "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xE2\x82"};
    unsigned char bytes[80];
    size_t i, n, at;
    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        for (n = 0; n <= 70; n++)
            for (at = 0; at <= n; at++) {
                size_t size = strlen(parts[i]), total = n + size, offset = at % 9;
                memset(bytes, 'a', sizeof(bytes));
                memcpy(bytes + at, parts[i], size);
                CHECK_EQ(is_utf8(bytes, total), i < 3);
                CHECK_EQ(is_utf8(bytes, at + 1), false);
                if (offset <= at) CHECK_EQ(is_utf8(bytes + offset, total - offset), i < 3);
            }
}

TEST(case_at_every_place)
{
    char memory[80], expected[80];
    size_t n, i;
    unsigned value;
    for (n = 0; n <= 70; n++)
        for (value = 0; value < 256; value++) {
            mm_buffer b;
            mm_buffer_init_memory(&b, memory + n % 9, sizeof(memory) - 8, NULL);
            for (i = 0; i < n; i++) {
                unsigned c = (value + (unsigned)i * 3) & 255;
                mm_buffer_append_char(&b, (char)c);
                expected[i] = (char)(c - 'a' < 26 ? c - 32 : c);
            }
            mm_buffer_to_upper(&b);
            CHECK(mm_slice_equal(mm_buffer_slice(&b), mm_slice_make(expected, n)));
            for (i = 0; i < n; i++)
                if (expected[i] >= 'A' && expected[i] <= 'Z')
                    expected[i] = (char)(expected[i] + 32);
            mm_buffer_to_lower(&b);
            CHECK(mm_slice_equal(mm_buffer_slice(&b), mm_slice_make(expected, n)));
            mm_buffer_deinit(&b);
        }
}

/* ---- paths ---- */

static const char *simplified(const char *path)
{
    static char memory[256];
    mm_buffer b;
    mm_buffer_init_memory(&b, memory, sizeof(memory), NULL);
    mm_buffer_append_string(&b, path);
    mm_buffer_simplify_path(&b);
    return mm_buffer_string(&b);
}

TEST(paths_simplified)
{
    mm_buffer unset = {0};
    mm_buffer_simplify_path(&unset);
    CHECK(mm_buffer_is_unset(&unset));
    CHECK_STR(simplified("/a/b/c/./../../g"), "/a/g"); /* RFC 3986, 5.2.4 */
    CHECK_STR(simplified("mid/content=5/../6"), "mid/6");
    CHECK_STR(simplified("/../g"), "/g"); /* 5.4.2 */
    CHECK_STR(simplified("/b/c/../../../g"), "/g");
    CHECK_STR(simplified("/b/c/.g"), "/b/c/.g");
    CHECK_STR(simplified("/b/c/g.."), "/b/c/g..");
    CHECK_STR(simplified("/b/c/..g"), "/b/c/..g");
    CHECK_STR(simplified("/b/c/./g/."), "/b/c/g/");
    CHECK_STR(simplified("/b/c/./g"), "/b/c/g"); /* 5.4.1 */
    CHECK_STR(simplified("/b/c/../g"), "/b/g");
    CHECK_STR(simplified("/b/c/../../g"), "/g");
    CHECK_STR(simplified("/b/c/../../"), "/");
    CHECK_STR(simplified("/b/c/../../../../g"), "/g"); /* 5.4.2 */
    CHECK_STR(simplified("/./g"), "/g");
    CHECK_STR(simplified("/b/c/g."), "/b/c/g.");
    CHECK_STR(simplified("/b/c/./../g"), "/b/g");
    CHECK_STR(simplified("/b/c/g/./h"), "/b/c/g/h");
    CHECK_STR(simplified("/b/c/g/../h"), "/b/c/h");
    CHECK_STR(simplified("/b/c/g;x=1/./y"), "/b/c/g;x=1/y");
    CHECK_STR(simplified("/b/c/g;x=1/../y"), "/b/c/y");
    CHECK_STR(simplified("/b/c/.."), "/b/");
    CHECK_STR(simplified("/b/c/../.."), "/");
    CHECK_STR(simplified("/b/c/..."), "/b/c/...");
    CHECK_STR(simplified(""), "");
    CHECK_STR(simplified("/"), "/");
    CHECK_STR(simplified("///"), "/");
    CHECK_STR(simplified("."), "");
    CHECK_STR(simplified(".."), "");
    CHECK_STR(simplified("/."), "/");
    CHECK_STR(simplified("/.."), "/");
    CHECK_STR(simplified("//a//b//"), "/a/b/");
    CHECK_STR(simplified("abc/../xyz"), "xyz");
    CHECK_STR(simplified("a/..//../b"), "b"); /* must not become absolute */
    CHECK_STR(simplified("./a/./"), "a/");
}

/* By a stack of segments; `to` gets the path. */
static void model_simplify(const char *path, char *to)
{
    char copy[64], *segment, *rest = copy;
    char *stack[64];
    size_t depth = 0, i;
    bool is_folder = false;
    strcpy(copy, path);
    strcpy(to, path[0] == '/' ? "/" : "");
    while ((segment = rest) != NULL) {
        rest = strchr(segment, '/');
        if (rest != NULL) *rest++ = '\0';
        is_folder = rest != NULL || strcmp(segment, "") == 0 || segment[0] == '.';
        if (strcmp(segment, "..") == 0) depth -= depth > 0;
        else if (strcmp(segment, "") != 0 && strcmp(segment, ".") != 0) {
            is_folder = rest != NULL;
            stack[depth++] = segment;
        }
    }
    for (i = 0; i < depth; i++) {
        strcat(to, stack[i]);
        if (i + 1 < depth || is_folder) strcat(to, "/");
    }
}

TEST(paths_simplified_model)
{
    char path[40], expected[64], once[64];
    uint64_t seed = 99;
    size_t step, i, n;
    for (step = 0; step < 200000; step++) {
        n = test_random(&seed) % 16;
        for (i = 0; i < n; i++) path[i] = "/..a/b./"[test_random(&seed) % 8];
        path[n] = '\0';
        model_simplify(path, expected);
        strcpy(once, simplified(path));
        if (strcmp(once, expected) != 0) printf("      of \"%s\"\n", path);
        CHECK_STR(once, expected);
        CHECK_STR(simplified(once), once);
    }
}

TEST(paths_joined)
{
    static const char *const cases[][3] = {
        {"", "", ""},           {"", "a", "a"},         {"", "/a", "/a"},      {"a", "", "a"},
        {"a", "b", "a/b"},      {"a/", "b", "a/b"},     {"a", "/b", "a/b"},    {"a/", "/b", "a/b"},
        {"a//", "//b", "a/b"},  {"/", "b", "/b"},       {"//", "//", "/"},     {"a", "/", "a/"},
        {"/a/b", "c/", "/a/b/c/"}};
    size_t i;
    mm_buffer b = {0};
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_buffer_copy_string(&b, cases[i][0]);
        CHECK_EQ(mm_buffer_append_path(&b, slice(cases[i][1])), MM_STATUS_OK);
        CHECK_STR(mm_buffer_string(&b), cases[i][2]);
    }
    mm_buffer_copy_string(&b, "/abcdefghijklmnopqrstuvwxyz///");
    CHECK_EQ(mm_buffer_append_path(&b, mm_slice_make(b.ptr + 20, 10)), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "/abcdefghijklmnopqrstuvwxyz/tuvwxyz///");
    b.status = MM_STATUS_LIMIT;
    CHECK_EQ(mm_buffer_append_path(&b, slice("x")), MM_STATUS_LIMIT);
    CHECK_STR(mm_buffer_string(&b), "/abcdefghijklmnopqrstuvwxyz/tuvwxyz///");
    mm_buffer_deinit(&b);
}

TEST(paths_joined_need_no_more_room_than_they_take)
{
    mm_buffer b = {0};
    mm_buffer_append_format(&b, "%028d//", 0);
    CHECK_EQ(b.size, 32);
    CHECK_EQ(mm_buffer_append_path(&b, slice("/ab")), MM_STATUS_OK);
    CHECK(mm_buffer_length(&b) == 31 && b.size == 32);
    CHECK_EQ(mm_buffer_append_path(&b, mm_slice_make("ab", SIZE_MAX)), MM_STATUS_TOO_LARGE);
    CHECK(mm_buffer_length(&b) == 31 && b.size == 32);
    mm_buffer_deinit(&b);
}

/* ---- every function: arguments in the buffer itself, no memory, sizes too large ---- */

static const text_function all[] = {
    URL_PATH, URL_SEGMENT, UNURL, HTML, XML, JSON, C_TEXT, HEX, UNHEX, base64, base64_url,
    unbase64, unbase64_url, mm_buffer_append_path, mm_buffer_append_unescaped};

TEST(arguments_in_the_buffer_and_failures)
{
    static const char text[] = "/0123456789abcdef/<&>\\x/MMmm"; /* has what each function takes */
    const size_t length = sizeof(text) - 1;
    size_t i, from, n;
    test_allocator a;
    test_allocator_init(&a);
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        for (from = 0; from < length; from++)
            for (n = 0; n <= length - from; n++) {
                mm_buffer b, expected = {0};
                mm_status status, expected_status;
                mm_buffer_append_string(&expected, text);
                expected_status = all[i](&expected, mm_slice_make(text + from, n));
                mm_buffer_init(&b, &a.base);
                mm_buffer_append_string(&b, text);
                test_allocator_fail(&a, 1, 0);
                status = all[i](&b, mm_slice_make(b.ptr + from, n));
                if (a.failures != 0) {
                    CHECK_EQ(status, MM_STATUS_NO_MEMORY);
                    CHECK_STR(mm_buffer_string(&b), text);
                    b.status = MM_STATUS_OK;
                    status = all[i](&b, mm_slice_make(b.ptr + from, n));
                }
                test_allocator_fail(&a, 0, 0);
                CHECK_EQ(status, expected_status);
                CHECK(mm_buffer_equal(&b, &expected) && mm_buffer_check(&b));
                mm_buffer_deinit(&b);
                mm_buffer_deinit(&expected);
            }
    CHECK(a.live_blocks == 0 && a.bad_sizes == 0);
}

TEST(sizes_and_sticky_status)
{
    size_t i;
    mm_buffer b = {0};
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i] == mm_buffer_append_path) continue;
        CHECK_EQ(all[i](&b, mm_slice_make("x", SIZE_MAX)), MM_STATUS_TOO_LARGE);
        CHECK_EQ(all[i](&b, slice("6d6d6d6d")), MM_STATUS_TOO_LARGE);
        CHECK(mm_buffer_is_unset(&b));
        mm_buffer_clear(&b);
        CHECK_EQ(all[i](&b, mm_slice_make(NULL, 0)), MM_STATUS_OK);
        CHECK(!mm_buffer_is_unset(&b) && mm_buffer_is_blank(&b));
        mm_buffer_reset(&b, 0);
    }
}

TEST_MAIN(T(url), T(html_and_xml), T(json), T(c_text), T(hex), T(base64_of_rfc_4648),
          T(base64_is_strict), T(case_of_ascii), T(utf8_every_character_and_short_sequence),
          T(utf8_model), T(escaped_text_reads_back), T(decoders_undo_encoders),
          T(every_special_byte_at_every_place), T(every_byte_in_a_block),
          T(random_text_against_the_reference), T(hex_and_base64_digits), T(utf8_at_every_place),
          T(case_at_every_place),
          T(paths_simplified), T(paths_simplified_model), T(paths_joined),
          T(paths_joined_need_no_more_room_than_they_take),
          T(arguments_in_the_buffer_and_failures), T(sizes_and_sticky_status))
