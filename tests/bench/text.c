/* The text functions, bytes per second, beside memcpy of the bytes that go in, which is the limit,
 * and the C library where it does the same.
 *
 * Clean: nothing in it has to be changed, as in most text. Dirty: about one byte in eight is an
 * escape, or has to become one. Mixed: ASCII and characters of two to four bytes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "bench.h"
#include "../../mm_buffer.h"

#define SIZE 16384 /* bytes that go in, and stay in the cache */

typedef mm_status (*text_function)(mm_buffer *b, mm_slice slice);

typedef struct job {
    text_function function; /* NULL where a question is asked */
    mm_slice in, other;     /* other: what is compared or looked for */
    mm_slice expected;
    size_t answer; /* to the question */
} job;

static mm_buffer buffer;
static char copy[SIZE * 4];
static size_t copied, answer, peer_answer;

static void run_ours(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        mm_buffer_clear(&buffer);
        j->function(&buffer, j->in);
        BENCH_KEEP(&buffer);
    }
}

static bool check_ours(const void *work)
{
    return mm_slice_equal(mm_buffer_slice(&buffer), ((const job *)work)->expected);
}

static void run_memcpy(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        memcpy(copy, j->in.ptr, j->in.len);
        BENCH_KEEP(copy);
    }
    copied = j->in.len;
}

static bool check_memcpy(const void *work)
{
    const job *j = (const job *)work;
    return copied == j->in.len && memcmp(copy, j->in.ptr, copied) == 0;
}

#define QUESTION(name, to, expression) \
    static void run_##name(const void *work, size_t cycles) \
    { \
        const job *j = (const job *)work; \
        for (; cycles > 0; cycles--) { \
            BENCH_KEEP(j->in.ptr); \
            to = (size_t)(expression); \
        } \
    }

static bool check_answer(const void *work)
{
    return answer == ((const job *)work)->answer;
}

static bool check_peer(const void *work)
{
    return peer_answer == ((const job *)work)->answer;
}

QUESTION(is_utf8, answer, mm_slice_is_utf8(j->in))
QUESTION(equal_nocase, answer, mm_slice_equal_nocase(j->in, j->other))
QUESTION(find_byte, answer, mm_slice_find_byte(j->in, j->other.ptr[0], 0))
QUESTION(find, answer, mm_slice_find(j->in, j->other, 0))
QUESTION(memchr, peer_answer,
         (const char *)memchr(j->in.ptr, j->other.ptr[0], j->in.len) - j->in.ptr)
QUESTION(memmem, peer_answer,
         (const char *)memmem(j->in.ptr, j->in.len, j->other.ptr, j->other.len) - j->in.ptr)

static void row(const char *title, const job *j, const bench_contestant *contestants, size_t count)
{
    mm_buffer_reset(&buffer, SIZE_MAX);
    copied = 0;
    answer = peer_answer = SIZE_MAX - 1;
    bench_bytes = j->in.len;
    bench_row(title, j, 1, contestants, count);
}

static void change_row(const char *title, text_function function, const char *name, mm_slice in,
                       mm_slice expected)
{
    const bench_contestant contestants[] = {{name, run_ours, check_ours},
                                            {"memcpy", run_memcpy, check_memcpy}};
    job j;
    memset(&j, 0, sizeof(j));
    j.function = function;
    j.in = in;
    j.expected = expected;
    row(title, &j, contestants, 2);
}

/* ---- texts, and what is to become of them, made byte by byte ---- */

static char clean[SIZE], dirty[SIZE], mixed[SIZE], wide[SIZE], lower[SIZE];
static uint64_t seed = 3;

/* ASCII text; one byte in `odd` (0: none) is one of those that HTML, JSON and URLs all escape. */
static mm_slice make_text(char *to, unsigned odd)
{
    static const char plain[] = "etaoinshrdlucmfwypvbgkqjxzETAOINSH0123456789-._";
    size_t i;
    for (i = 0; i < SIZE; i++) {
        uint64_t random = bench_random(&seed) >> 16;
        to[i] = plain[random % (sizeof(plain) - 1)];
        if (odd != 0 && (random >> 16) % odd == 0) to[i] = '"';
    }
    return mm_slice_make(to, SIZE);
}

/* Words of ASCII, then one of `characters`, and so on. */
static mm_slice make_utf8(char *to, const char *const *characters, size_t count, size_t word)
{
    size_t size = 0;
    while (size < SIZE - word - 4) {
        const char *next = characters[bench_random(&seed) % count];
        memset(to + size, 'w', word);
        size += word;
        memcpy(to + size, next, strlen(next));
        size += strlen(next);
    }
    return mm_slice_make(to, size);
}

/* What the `"` in the text becomes. */
static mm_slice replaced(mm_slice text, const char *by, char *to)
{
    size_t i, size = 0, n = strlen(by);
    for (i = 0; i < text.len; i++) {
        if (text.ptr[i] != '"') to[size++] = text.ptr[i];
        else memcpy(to + size, by, n), size += n;
    }
    return mm_slice_make(to, size);
}

static mm_slice in_hex(mm_slice bytes, char *to)
{
    size_t i;
    for (i = 0; i < bytes.len; i++) sprintf(to + 2 * i, "%02x", (unsigned char)bytes.ptr[i]);
    return mm_slice_make(to, 2 * bytes.len);
}

/* Of a multiple of three bytes. */
static mm_slice in_base64(mm_slice bytes, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t i, size = 0;
    for (i = 0; i < bytes.len * 8; i += 6) {
        unsigned high = (unsigned char)bytes.ptr[i / 8], low = 0;
        if (i / 8 + 1 < bytes.len) low = (unsigned char)bytes.ptr[i / 8 + 1];
        to[size++] = digits[(high << 8 | low) >> (10 - i % 8) & 63];
    }
    return mm_slice_make(to, size);
}

static mm_status base64(mm_buffer *b, mm_slice s)
{
    return mm_buffer_append_base64(b, s, MM_BASE64_STANDARD);
}

static mm_status unbase64(mm_buffer *b, mm_slice s)
{
    return mm_buffer_append_base64_decoded(b, s, MM_BASE64_STANDARD);
}

static mm_status to_lower(mm_buffer *b, mm_slice s)
{
    mm_status status = mm_buffer_append_slice(b, s);
    mm_buffer_to_lower(b);
    return status;
}

static void escape_rows(void)
{
    static char made[SIZE * 8];
    mm_slice text = make_text(clean, 0), odd = make_text(dirty, 8);
    change_row("URL decode, clean", mm_buffer_append_url_decoded, "append_url_decoded", text, text);
    change_row("URL decode, dirty", mm_buffer_append_url_decoded, "append_url_decoded",
               replaced(odd, "%22", made), odd);
    change_row("URL encode, clean", mm_buffer_append_url_path, "append_url_path", text, text);
    change_row("URL encode, dirty", mm_buffer_append_url_path, "append_url_path", odd,
               replaced(odd, "%22", made));
    change_row("HTML escape, clean", mm_buffer_append_html_escaped, "append_html_escaped", text,
               text);
    change_row("HTML escape, dirty", mm_buffer_append_html_escaped, "append_html_escaped", odd,
               replaced(odd, "&quot;", made));
    change_row("JSON escape, clean", mm_buffer_append_json_escaped, "append_json_escaped", text,
               text);
    change_row("JSON escape, dirty", mm_buffer_append_json_escaped, "append_json_escaped", odd,
               replaced(odd, "\\\"", made));
    change_row("C escape, clean", mm_buffer_append_c_escaped, "append_c_escaped", text, text);
}

static void code_rows(void)
{
    static char made[SIZE * 2];
    mm_slice text = mm_slice_make(clean, SIZE / 3 * 3), upper = text;
    change_row("base64", base64, "append_base64", text, in_base64(text, made));
    change_row("base64 decode", unbase64, "append_base64_decoded", in_base64(text, made), text);
    change_row("hex", mm_buffer_append_hex_bytes, "append_hex_bytes", text, in_hex(text, made));
    change_row("hex decode", mm_buffer_append_hex_decoded, "append_hex_decoded",
               in_hex(text, made), text);
    for (upper.len = 0; upper.len < SIZE; upper.len++) {
        char c = clean[upper.len];
        lower[upper.len] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    change_row("append, to lower case", to_lower, "to_lower", upper,
               mm_slice_make(lower, SIZE));
}

#define QUESTION_ROW(title, ours, text, what, found, ...) \
    do { \
        const bench_contestant contestants[] = {{"mm_slice_" #ours, run_##ours, check_answer}, \
                                                {"memcpy", run_memcpy, check_memcpy}, \
                                                __VA_ARGS__}; \
        job j; \
        memset(&j, 0, sizeof(j)); \
        j.in = text; \
        j.other = what; \
        j.answer = found; \
        row(title, &j, contestants, contestants[2].name == NULL ? 2 : 3); \
    } while (0)
#define NO_PEER {NULL, NULL, NULL}

static void question_rows(void)
{
    static const char *const some[] = {"\xC3\xBC", "\xC3\x9F", "\xE2\x82\xAC", "\xF0\x9D\x84\x9E"};
    static const char *const kanji[] = {"\xE6\xBC\xA2", "\xE5\xAD\x97", "\xE3\x81\xAE"};
    static char repeated[SIZE], needle[65];
    mm_slice text = mm_slice_make(clean, SIZE), none = {NULL, 0};
    QUESTION_ROW("UTF-8, ASCII", is_utf8, text, none, 1, NO_PEER);
    QUESTION_ROW("UTF-8, mixed", is_utf8, make_utf8(mixed, some, 4, 12), none, 1, NO_PEER);
    QUESTION_ROW("UTF-8, wide", is_utf8, make_utf8(wide, kanji, 3, 0), none, 1, NO_PEER);
    QUESTION_ROW("equal but for case", equal_nocase, text, mm_slice_make(lower, SIZE), 1, NO_PEER);
    clean[SIZE - 1] = '\n';
    QUESTION_ROW("find byte, at the end", find_byte, text, mm_slice_make("\n", 1), SIZE - 1,
                 {"memchr", run_memchr, check_peer});
    memcpy(clean + SIZE - 10, "\r\n\r\nheads", 9);
    QUESTION_ROW("find 4 bytes, a rare one first", find, text, mm_slice_make("\r\n\r\n", 4),
                 SIZE - 10, {"memmem", run_memmem, check_peer});
    memcpy(clean + SIZE - 10, "etaheadset", 10);
    QUESTION_ROW("find 9 bytes, a common one first", find, text, mm_slice_make("etaheadse", 9),
                 SIZE - 10, {"memmem", run_memmem, check_peer});
    memset(repeated, 'a', sizeof(repeated));
    memset(needle, 'a', sizeof(needle));
    needle[64] = repeated[SIZE - 1] = 'b';
    QUESTION_ROW("find 65 bytes, the worst", find, mm_slice_make(repeated, SIZE),
                 mm_slice_make(needle, 65), SIZE - 65, {"memmem", run_memmem, check_peer});
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "mm_buffer.h: text");
    escape_rows();
    code_rows();
    question_rows();
    mm_buffer_deinit(&buffer);
    return bench_end();
}
