/* Appends to a buffer, beside libevent's evbuffer and what is written by hand into an array that is
 * large enough, which nobody can beat: it neither grows nor looks whether it has to.
 *
 * Growing: every cycle starts with no memory, and gives it back. Reused: every cycle empties what
 * the one before has filled (mm_buffer_clear, evbuffer_drain) and fills it again. */
#include "bench.h"
#include "../../mm_buffer.h"
#include <event2/buffer.h>
#include <inttypes.h>

#define MOST ((size_t)4 << 20) /* bytes that a cycle appends, at most */
#define ROOM (MOST + 4096)     /* for one operation too many */
#define INPUT 8192             /* bytes that pieces are taken from */

typedef struct job {
    size_t piece; /* bytes of an append, for those who do not know them at compile time */
    size_t count; /* appends in a cycle */
    bool growing; /* with new memory in each cycle */
} job;

static char input[INPUT];
static char expected[ROOM]; /* what every contestant has to come to, made in another way */
static size_t expected_length;

static mm_buffer buffer;
static struct evbuffer *evbuffer;
static char array[ROOM], other_array[ROOM]; /* one for each who writes to an array in a row */
static size_t array_length, other_length;

static bool stands(const char *text, size_t length)
{
    return length != 0 && length == expected_length && memcmp(text, expected, length) == 0;
}

/* Where piece i begins: at all alignments in turn. */
BENCH_INLINE const char *piece_at(size_t i)
{
    return input + i % 64;
}

/* ---- how each begins a cycle, and what it has in the end ---- */

static void start_buffer(bool growing)
{
    if (growing) mm_buffer_deinit(&buffer);
    else mm_buffer_clear(&buffer);
}

static bool check_buffer(const void *work)
{
    (void)work;
    return mm_buffer_status(&buffer) == MM_STATUS_OK &&
           stands(mm_buffer_string(&buffer), mm_buffer_length(&buffer));
}

static void start_evbuffer(bool growing)
{
    if (growing) {
        evbuffer_free(evbuffer);
        evbuffer = evbuffer_new();
    } else {
        evbuffer_drain(evbuffer, evbuffer_get_length(evbuffer));
    }
}

/* In pieces, because to make it one run of bytes would change what the next cycle finds. */
static bool check_evbuffer(const void *work)
{
    static char copy[ROOM];
    ev_ssize_t length = evbuffer_copyout(evbuffer, copy, sizeof(copy));
    (void)work;
    return length >= 0 && stands(copy, (size_t)length);
}

static bool check_array(const void *work)
{
    (void)work;
    return stands(array, array_length);
}

static bool check_other_array(const void *work)
{
    (void)work;
    return stands(other_array, other_length);
}

/* ---- bytes ---- */

BENCH_INLINE void bytes_buffer(const job *j, size_t cycles, size_t piece)
{
    for (; cycles > 0; cycles--) {
        size_t i;
        start_buffer(j->growing);
        for (i = 0; i < j->count; i++) {
            mm_buffer_append(&buffer, piece_at(i), piece);
            BENCH_KEEP(&buffer);
        }
    }
}

BENCH_INLINE void bytes_evbuffer(const job *j, size_t cycles, size_t piece)
{
    for (; cycles > 0; cycles--) {
        size_t i;
        start_evbuffer(j->growing);
        for (i = 0; i < j->count; i++) {
            evbuffer_add(evbuffer, piece_at(i), piece);
            BENCH_KEEP(evbuffer);
        }
    }
}

/* The least that a buffer can do: it looks for room, and its length lies in memory. Where the
   compiler knows the piece, the limit is one store, with its length in a register; this is two, and
   an append three, for the NUL: at a store a cycle nothing that keeps both can be within 1.5 times
   of that limit (3.0 cycles; we need 3.6, the status being looked at as well). */
typedef struct plain_buffer {
    char *ptr;
    uint32_t used, size;
} plain_buffer;

static plain_buffer plain = {other_array, 0, ROOM};

BENCH_INLINE void bytes_plain(const job *j, size_t cycles, size_t piece)
{
    for (; cycles > 0; cycles--) {
        size_t i;
        plain.used = 0;
        for (i = 0; i < j->count; i++) {
            if (piece > plain.size - plain.used) return;
            memcpy(plain.ptr + plain.used, piece_at(i), piece);
            plain.used += (uint32_t)piece;
            BENCH_KEEP(&plain);
        }
    }
}

static bool check_plain(const void *work)
{
    (void)work;
    return stands(plain.ptr, plain.used);
}

BENCH_INLINE void bytes_array(const job *j, size_t cycles, size_t piece)
{
    for (; cycles > 0; cycles--) {
        size_t i, length = 0;
        for (i = 0; i < j->count; i++) {
            memcpy(array + length, piece_at(i), piece);
            length += piece;
            BENCH_KEEP(array);
        }
        array_length = length;
    }
}

/* The three of them for a length that the compiler knows, or does not. */
#define BYTES(suffix, piece) \
    static void run_buffer##suffix(const void *work, size_t cycles) \
    { \
        bytes_buffer((const job *)work, cycles, piece); \
    } \
    static void run_evbuffer##suffix(const void *work, size_t cycles) \
    { \
        bytes_evbuffer((const job *)work, cycles, piece); \
    } \
    static void run_plain##suffix(const void *work, size_t cycles) \
    { \
        bytes_plain((const job *)work, cycles, piece); \
    } \
    static void run_array##suffix(const void *work, size_t cycles) \
    { \
        bytes_array((const job *)work, cycles, piece); \
    } \
    static const bench_contestant bytes##suffix[] = { \
        {"mm_buffer_append", run_buffer##suffix, check_buffer}, \
        {"memcpy, length in memory", run_plain##suffix, check_plain}, \
        {"memcpy to an array (limit)", run_array##suffix, check_array}, \
        {"evbuffer_add", run_evbuffer##suffix, check_evbuffer}, \
    };

BYTES(, ((const job *)work)->piece)
BYTES(_1, 1)
BYTES(_16, 16)

static void expect_bytes(const job *j)
{
    static uint64_t seed = 1;
    size_t i, k;
    for (i = 0; i < INPUT; i++) input[i] = (char)(bench_random(&seed) >> 56);
    plain.used = 0;
    for (expected_length = i = 0; i < j->count; i++) {
        for (k = 0; k < j->piece; k++) expected[expected_length++] = input[i % 64 + k];
    }
}

#define BYTES_ROW(title, piece, total, growing, contestants) \
    do { \
        const job j = {piece, (total) / (piece), growing}; \
        expect_bytes(&j); \
        BENCH(title, &j, j.count, contestants); \
    } while (0)

/* What can be had: in the rows of 4,096 bytes all is memcpy. The limit is 1.3 to 1.6 times as fast
   as evbuffer there, so that nobody can be twice as fast. Growing to 4 MiB copies nothing in
   realloc and faults no page from the third cycle on (counted in a program that does only that):
   once blocks of that size have been freed, glibc takes them from the end of its heap, where they
   grow in place. What remains is to write 4 MiB, more than the second cache holds, and all of them
   do; where in memory they do so is worth 45 to 62 ns a piece for the same memcpy, from run to
   run. */
static void bytes_rows(void)
{
    const size_t total = 60000; /* into 64 KiB: a page and its head, or a body */
    BYTES_ROW("append 1 byte, reused", 1, total, false, bytes);
    BYTES_ROW("append 1 (constant), reused", 1, total, false, bytes_1);
    BYTES_ROW("append 16 bytes, reused", 16, total, false, bytes);
    BYTES_ROW("append 16 (constant), reused", 16, total, false, bytes_16);
    BYTES_ROW("append 100 bytes, reused", 100, total, false, bytes);
    BYTES_ROW("append 4,096 bytes, reused", 4096, total, false, bytes);
    BYTES_ROW("append 1 byte, growing", 1, total, true, bytes);
    BYTES_ROW("append 16 bytes, growing", 16, total, true, bytes);
    BYTES_ROW("append 100 bytes, growing", 100, total, true, bytes);
    BYTES_ROW("append 4,096 bytes, growing", 4096, total, true, bytes);
    BYTES_ROW("append 4,096, growing to 4 MiB", 4096, MOST - 4096, true, bytes);
}

/* ---- integers, into a reused buffer ---- */

#define NUMBERS 1000
static int64_t numbers[NUMBERS];

static void run_numbers_buffer(const void *work, size_t cycles)
{
    for ((void)work; cycles > 0; cycles--) {
        size_t i;
        start_buffer(false);
        for (i = 0; i < NUMBERS; i++) {
            mm_buffer_append_int(&buffer, numbers[i]);
            BENCH_KEEP(&buffer);
        }
    }
}

static void run_numbers_evbuffer(const void *work, size_t cycles)
{
    for ((void)work; cycles > 0; cycles--) {
        size_t i;
        start_evbuffer(false);
        for (i = 0; i < NUMBERS; i++) {
            evbuffer_add_printf(evbuffer, "%" PRId64, numbers[i]);
            BENCH_KEEP(evbuffer);
        }
    }
}

static void run_numbers_snprintf(const void *work, size_t cycles)
{
    for ((void)work; cycles > 0; cycles--) {
        size_t i, length = 0;
        for (i = 0; i < NUMBERS; i++) {
            char *to = other_array + length;
            length += (size_t)snprintf(to, ROOM - length, "%" PRId64, numbers[i]);
            BENCH_KEEP(other_array);
        }
        other_length = length;
    }
}

/* Two digits at a time, counted before they are written to where they stay. A function that is
   called, as who writes one has it. */
static __attribute__((noinline)) size_t write_int(char *to, int64_t value)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value, power = 10;
    size_t length = 1 + (value < 0), at;
    while (length < 19 + (size_t)(value < 0) && rest >= power) power *= 10, length++;
    if (value < 0) to[0] = '-';
    for (at = length; rest >= 100; rest /= 100) memcpy(to + (at -= 2), pairs + rest % 100 * 2, 2);
    if (rest >= 10) memcpy(to + at - 2, pairs + rest * 2, 2);
    else to[at - 1] = (char)('0' + rest);
    return length;
}

static void run_numbers_array(const void *work, size_t cycles)
{
    for ((void)work; cycles > 0; cycles--) {
        size_t i, length = 0;
        for (i = 0; i < NUMBERS; i++) {
            length += write_int(array + length, numbers[i]);
            BENCH_KEEP(array);
        }
        array_length = length;
    }
}

static void numbers_row(const char *title, unsigned least_bits, unsigned most_bits)
{
    static const bench_contestant contestants[] = {
        {"mm_buffer_append_int", run_numbers_buffer, check_buffer},
        {"digits to an array (limit)", run_numbers_array, check_array},
        {"snprintf to an array", run_numbers_snprintf, check_other_array},
        {"evbuffer_add_printf", run_numbers_evbuffer, check_evbuffer},
    };
    static uint64_t seed = 2;
    size_t i;
    for (expected_length = i = 0; i < NUMBERS; i++) {
        unsigned bits = least_bits + (unsigned)(bench_random(&seed) % (most_bits - least_bits + 1));
        int64_t magnitude = (int64_t)(bench_random(&seed) >> (64 - bits));
        numbers[i] = bench_random(&seed) % 4 == 0 ? -magnitude : magnitude;
        expected_length += (size_t)sprintf(expected + expected_length, "%" PRId64, numbers[i]);
    }
    BENCH(title, NULL, NUMBERS, contestants);
}

/* ---- formatting, into a reused buffer ---- */

#define LINES 200
#define SHORT "%s=%d;", words[i % 4], (int)i
#define LONG \
    "%s %d %u %x %zu %c %.*s\n", words[i % 4], -(int)i, (unsigned)i * 7, (unsigned)i * 4001, \
        i << 20, "GPHD"[i % 4], (int)(i % 16), input

static mm_buffer quick_buffer;

static bool check_quick(const void *work)
{
    (void)work;
    return stands(mm_buffer_string(&quick_buffer), mm_buffer_length(&quick_buffer));
}

static const char *const words[] = {"host", "content-length", "etag", "if-modified-since"};

/* The contestants and the row for a format and its arguments, which may use i. */
#define FORMAT(name, ...) \
    static void run_##name##_buffer(const void *work, size_t cycles) \
    { \
        for ((void)work; cycles > 0; cycles--) { \
            size_t i; \
            start_buffer(false); \
            for (i = 0; i < LINES; i++) mm_buffer_append_format(&buffer, __VA_ARGS__); \
        } \
    } \
    static void run_##name##_quick(const void *work, size_t cycles) \
    { \
        for ((void)work; cycles > 0; cycles--) { \
            size_t i; \
            mm_buffer_clear(&quick_buffer); \
            for (i = 0; i < LINES; i++) mm_buffer_append_quick(&quick_buffer, __VA_ARGS__); \
        } \
    } \
    static void run_##name##_evbuffer(const void *work, size_t cycles) \
    { \
        for ((void)work; cycles > 0; cycles--) { \
            size_t i; \
            start_evbuffer(false); \
            for (i = 0; i < LINES; i++) evbuffer_add_printf(evbuffer, __VA_ARGS__); \
        } \
    } \
    static size_t name##_text(char *to) \
    { \
        size_t i, length = 0; \
        for (i = 0; i < LINES; i++) { \
            length += (size_t)snprintf(to + length, ROOM - length, __VA_ARGS__); \
        } \
        return length; \
    } \
    static void run_##name##_array(const void *work, size_t cycles) \
    { \
        for ((void)work; cycles > 0; cycles--) array_length = name##_text(array); \
    } \
    static void name##_row(const char *title) \
    { \
        static const bench_contestant contestants[] = { \
            {"mm_buffer_append_quick", run_##name##_quick, check_quick}, \
            {"mm_buffer_append_format", run_##name##_buffer, check_buffer}, \
            {"snprintf to an array", run_##name##_array, check_array}, \
            {"evbuffer_add_printf", run_##name##_evbuffer, check_evbuffer}, \
        }; \
        expected_length = name##_text(expected); \
        mm_buffer_clear(&quick_buffer); \
        BENCH(title, NULL, LINES, contestants); \
    }

FORMAT(short_format, SHORT)
FORMAT(long_format, LONG)

int main(int argc, char **argv)
{
    evbuffer = evbuffer_new();
    if (evbuffer == NULL) return 1;
    bench_begin(argc, argv, "mm_buffer.h: appends");
    bytes_rows();
    numbers_row("integers of 1 to 5 digits", 1, 16);
    numbers_row("integers of up to 19 digits", 1, 63);
    memset(input, 'x', sizeof(input));
    short_format_row("format %s=%d;");
    long_format_row("format %s %d %u %x %zu %c %.*s");
    return bench_end();
}
