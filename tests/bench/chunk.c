/* Chunk queues beside libevent's evbuffer, and beside the memcpy that such a way costs at least:
 * bytes in and out, bodies from queue to queue, the frames of the chunked coding.
 *
 * Every cycle drains what the one before has left and fills the queue again, so that blocks are
 * reused, as in a server that runs.
 *
 * Temp files lie in $TMPDIR or /var/tmp, beside those of dd with the same block size. By
 *
 *     build/tests/bench/chunk spill
 *
 * they have a gigabyte each, which takes a minute or two, and not the 128 MiB of the table; with
 * less than three times as much free, an eighth of what is. */
#include "bench.h"
#include "../../mm_chunk.h"
#include <event2/buffer.h>
#include <malloc.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define BODY ((size_t)1 << 20) /* bytes that are handed over */
#define ARRIVAL 8000           /* bytes that arrive at once: what a read of a socket may bring */
#define FRAMES 64              /* chunks of the coding in a cycle */

typedef struct job {
    size_t piece; /* bytes of an operation */
    size_t count; /* operations in a cycle; 0: the body as a whole */
} job;

static char input[BODY + 64];
static char expected[BODY + 65536]; /* what every contestant has to come to */
static size_t expected_length;

static mm_chunk_pool pool, wide_pool;
static mm_chunkqueue queues[3], wide; /* the latter of chunks of 32 KiB */
static struct evbuffer *evbuffers[3];
static char array[BODY + 65536], other_array[BODY + 65536], copies[2][BODY];
static size_t array_length, other_length;

/* Where piece i begins: at all alignments in turn. */
BENCH_INLINE const char *piece_at(size_t i)
{
    return input + i % 64;
}

static bool stands(const char *text, size_t length)
{
    return length != 0 && length == expected_length && memcmp(text, expected, length) == 0;
}

static bool queue_stands(mm_chunkqueue *q)
{
    static char scratch[sizeof(expected)];
    const char *data;
    size_t length;
    return mm_chunkqueue_status(q) == MM_STATUS_OK &&
           mm_chunkqueue_peek(q, scratch, sizeof(scratch), &data, &length) == MM_STATUS_OK &&
           stands(data, length);
}

static bool check_queue(const void *work)
{
    (void)work;
    return queue_stands(&queues[0]);
}

static bool check_wide(const void *work)
{
    (void)work;
    return queue_stands(&wide);
}

static bool check_evbuffer(const void *work)
{
    static char copy[sizeof(expected)];
    ev_ssize_t length = evbuffer_copyout(evbuffers[0], copy, sizeof(copy));
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

static void expect_pieces(const job *j)
{
    size_t i;
    for (expected_length = i = 0; i < j->count; i++, expected_length += j->piece)
        memcpy(expected + expected_length, piece_at(i), j->piece);
}

/* ---- in and out: drained piece by piece, then filled piece by piece ---- */

BENCH_INLINE void drain_queue(mm_chunkqueue *q, const job *j, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        size_t i;
        while (!mm_chunkqueue_is_empty(q)) {
            int64_t n = mm_chunkqueue_length(q);
            if (mm_chunkqueue_mark_written(q, n < (int64_t)j->piece ? n : (int64_t)j->piece) !=
                MM_STATUS_OK)
                return;
        }
        for (i = 0; i < j->count; i++) mm_chunkqueue_append_mem(q, piece_at(i), j->piece);
    }
}

static void run_drain_queue(const void *work, size_t cycles)
{
    drain_queue(&queues[0], (const job *)work, cycles);
}

static void run_drain_wide(const void *work, size_t cycles)
{
    drain_queue(&wide, (const job *)work, cycles);
}

static void run_drain_evbuffer(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    struct evbuffer *q = evbuffers[0];
    for (; cycles > 0; cycles--) {
        size_t i;
        while (evbuffer_get_length(q) > 0) evbuffer_drain(q, j->piece);
        for (i = 0; i < j->count; i++) evbuffer_add(q, piece_at(i), j->piece);
    }
}

static void run_fill_array(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t i, length = 0;
        for (i = 0; i < j->count; i++, length += j->piece) {
            memcpy(array + length, piece_at(i), j->piece);
            BENCH_KEEP(array);
        }
        array_length = length;
    }
}

static const bench_contestant drain[] = {
    {"mm_chunkqueue", run_drain_queue, check_queue},
    {"mm_chunkqueue, 32 KiB chunks", run_drain_wide, check_wide},
    {"memcpy to an array (limit)", run_fill_array, check_array},
    {"evbuffer add, drain", run_drain_evbuffer, check_evbuffer}};

/* ---- one in, one out ---- */

BENCH_INLINE void turn_queue(mm_chunkqueue *q, const job *j, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        size_t i;
        for (i = 0; i < j->count; i++) {
            int64_t n = mm_chunkqueue_length(q);
            if (mm_chunkqueue_mark_written(q, n) != MM_STATUS_OK) return;
            mm_chunkqueue_append_mem(q, piece_at(i), j->piece);
        }
    }
}

static void run_turn_queue(const void *work, size_t cycles)
{
    turn_queue(&queues[0], (const job *)work, cycles);
}

static void run_turn_wide(const void *work, size_t cycles)
{
    turn_queue(&wide, (const job *)work, cycles);
}

static void run_turn_evbuffer(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    struct evbuffer *q = evbuffers[0];
    for (; cycles > 0; cycles--) {
        size_t i;
        for (i = 0; i < j->count; i++) {
            evbuffer_drain(q, evbuffer_get_length(q));
            evbuffer_add(q, piece_at(i), j->piece);
        }
    }
}

static void run_turn_array(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t i;
        for (i = 0; i < j->count; i++) {
            memcpy(array, piece_at(i), j->piece);
            BENCH_KEEP(array);
        }
        array_length = j->piece;
    }
}

static const bench_contestant turn[] = {
    {"mm_chunkqueue", run_turn_queue, check_queue},
    {"mm_chunkqueue, 32 KiB chunks", run_turn_wide, check_wide},
    {"memcpy to an array (limit)", run_turn_array, check_array},
    {"evbuffer add, drain", run_turn_evbuffer, check_evbuffer}};

/* ---- filled, then read into memory ---- */

BENCH_INLINE void read_queue(mm_chunkqueue *q, const job *j, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        size_t i;
        for (i = 0; i < j->count; i++) mm_chunkqueue_append_mem(q, piece_at(i), j->piece);
        for (i = 0; i < j->count; i++) {
            if (mm_chunkqueue_read(q, array + i * j->piece, j->piece) != MM_STATUS_OK) return;
        }
        array_length = j->count * j->piece;
    }
}

static void run_read_queue(const void *work, size_t cycles)
{
    read_queue(&queues[0], (const job *)work, cycles);
}

static bool read_wide; /* what is read lies in the same array */

static void run_read_wide(const void *work, size_t cycles)
{
    read_queue(&wide, (const job *)work, cycles);
    read_wide = true;
}

static bool check_read_wide(const void *work)
{
    return read_wide && check_array(work);
}

static void run_read_evbuffer(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t i;
        for (i = 0; i < j->count; i++) evbuffer_add(evbuffers[0], piece_at(i), j->piece);
        for (i = 0; i < j->count; i++)
            evbuffer_remove(evbuffers[0], other_array + i * j->piece, j->piece);
        other_length = j->count * j->piece;
    }
}

static const bench_contestant read_out[] = {
    {"mm_chunkqueue", run_read_queue, check_array},
    {"mm_chunkqueue, 32 KiB chunks", run_read_wide, check_read_wide},
    {"evbuffer add, remove", run_read_evbuffer, check_other_array}};

static void empty_all(void)
{
    mm_chunkqueue_reset(&queues[0]);
    mm_chunkqueue_reset(&wide);
    evbuffer_drain(evbuffers[0], evbuffer_get_length(evbuffers[0]));
}

static void bytes_rows(void)
{
    static const struct {
        const char *drain, *turn, *read;
        job job;
    } rows[] = {{"64 B: append all, drain all", "64 B: one in, one out", "64 B: append, read",
                 {64, 1000}},
                {"1 KiB: append all, drain all", "1 KiB: one in, one out", "1 KiB: append, read",
                 {1024, 256}},
                {"16 KiB: append all, drain all", "16 KiB: one in, one out",
                 "16 KiB: append, read", {16384, 16}}};
    size_t i;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const job *j = &rows[i].job;
        expect_pieces(j);
        empty_all();
        BENCH(rows[i].drain, j, j->count, drain);
        empty_all();
        array_length = other_length = 0;
        read_wide = false;
        BENCH(rows[i].read, j, j->count, read_out);
        array_length = 0;
        memcpy(expected, piece_at(j->count - 1), j->piece);
        expected_length = j->piece;
        BENCH(rows[i].turn, j, j->count, turn);
    }
}

/* ---- a body of 1 MiB from queue to queue to queue, and back ---- */

static bool passed[2]; /* whether the contestant's body has gone round */

static bool check_passed_queue(const void *work)
{
    return passed[0] && check_queue(work);
}

static bool check_passed_evbuffer(const void *work)
{
    return passed[1] && check_evbuffer(work);
}

static void pass_queue(const job *j, mm_chunkqueue *to, mm_chunkqueue *from)
{
    size_t done;
    if (j->count == 0) {
        mm_chunkqueue_append_queue(to, from);
        return;
    }
    for (done = 0; done < BODY; done += j->piece) {
        size_t left = BODY - done;
        if (mm_chunkqueue_steal(to, from, (int64_t)(left < j->piece ? left : j->piece)) !=
            MM_STATUS_OK)
            return;
    }
}

static void run_pass_queue(const void *work, size_t cycles)
{
    size_t i;
    for (; cycles > 0; cycles--) {
        for (i = 0; i < 3; i++) pass_queue((const job *)work, &queues[(i + 1) % 3], &queues[i]);
        passed[0] = true;
    }
}

static void pass_evbuffer(const job *j, struct evbuffer *to, struct evbuffer *from)
{
    size_t done;
    if (j->count == 0) {
        evbuffer_add_buffer(to, from);
        return;
    }
    for (done = 0; done < BODY; done += j->piece) evbuffer_remove_buffer(from, to, j->piece);
}

static void run_pass_evbuffer(const void *work, size_t cycles)
{
    size_t i;
    for (; cycles > 0; cycles--) {
        for (i = 0; i < 3; i++)
            pass_evbuffer((const job *)work, evbuffers[(i + 1) % 3], evbuffers[i]);
        passed[1] = true;
    }
}

static void run_pass_array(const void *work, size_t cycles)
{
    for ((void)work; cycles > 0; cycles--) {
        memcpy(copies[0], array, BODY);
        BENCH_KEEP(copies);
        memcpy(copies[1], copies[0], BODY);
        BENCH_KEEP(copies);
        memcpy(array, copies[1], BODY);
        BENCH_KEEP(array);
        array_length = BODY;
    }
}

/* As it arrives, the same for both. */
static void fill_body(void)
{
    size_t i, n;
    mm_chunkqueue_reset(&queues[0]);
    evbuffer_drain(evbuffers[0], evbuffer_get_length(evbuffers[0]));
    for (i = 0; i < BODY; i += n) {
        n = BODY - i < ARRIVAL ? BODY - i : ARRIVAL;
        mm_chunkqueue_append_mem(&queues[0], input + i, n);
        evbuffer_add(evbuffers[0], input + i, n);
    }
    memcpy(expected, input, BODY);
    memcpy(array, input, BODY);
    expected_length = BODY;
    array_length = 0;
}

static const void *addresses[sizeof(expected)]; /* of each byte, before */

/* Notes where each byte lies, or counts those that lie elsewhere now. */
static size_t look_at(size_t *at, const char *bytes, size_t size, bool count)
{
    size_t i, moved = 0;
    for (i = 0; i < size; i++, ++*at) {
        if (count) moved += addresses[*at] != bytes + i;
        else addresses[*at] = bytes + i;
    }
    return moved;
}

static size_t look_at_queue(const mm_chunkqueue *q, bool count)
{
    const mm_chunk *c;
    size_t at = 0, moved = 0;
    for (c = q->first; c != NULL; c = c->next) {
        moved += look_at(&at, mm_chunk_bytes(c), (size_t)(c->end - c->offset),
                         count);
    }
    return moved;
}

static size_t look_at_evbuffer(struct evbuffer *q, bool count)
{
    static struct evbuffer_iovec parts[4096];
    int i, n = evbuffer_peek(q, -1, NULL, parts, 4096);
    size_t at = 0, moved = 0;
    for (i = 0; i < n && i < 4096; i++)
        moved += look_at(&at, (const char *)parts[i].iov_base, parts[i].iov_len, count);
    return moved;
}

/* How often a byte is copied on its way through the three, by where it lies. */
static void count_copies(const char *title, const job *j)
{
    size_t i, ours = 0, theirs = 0;
    if (bench_once || bench_peer.is || strstr(title, bench_only) == NULL) return;
    for (i = 0; i < 3; i++) {
        look_at_queue(&queues[i], false);
        pass_queue(j, &queues[(i + 1) % 3], &queues[i]);
        ours += look_at_queue(&queues[(i + 1) % 3], true);
        look_at_evbuffer(evbuffers[i], false);
        pass_evbuffer(j, evbuffers[(i + 1) % 3], evbuffers[i]);
        theirs += look_at_evbuffer(evbuffers[(i + 1) % 3], true);
    }
    printf("\nCopies per byte, %s: mm_chunkqueue %.3f, evbuffer %.3f, in three hand-overs\n", title,
           (double)ours / BODY, (double)theirs / BODY);
    bench_columns = 0;
}

static void pass_row(const char *title, size_t piece)
{
    static const bench_contestant contestants[] = {
        {"mm_chunkqueue", run_pass_queue, check_passed_queue},
        {"evbuffer", run_pass_evbuffer, check_passed_evbuffer},
        {"memcpy (what a copy costs)", run_pass_array, check_array}};
    job j;
    j.piece = piece;
    j.count = piece == 0 ? 0 : BODY / piece;
    fill_body();
    passed[0] = passed[1] = false;
    BENCH(title, &j, 3, contestants);
    fill_body();
    count_copies(title, &j);
}

/* ---- chunked coding ---- */

static void run_frame_queue(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t i;
        mm_chunkqueue_reset(&queues[0]);
        for (i = 0; i < j->count; i++)
            mm_chunked_append_mem(&queues[0], piece_at(i), j->piece);
    }
}

/* As libevent's own server does it, evhttp_send_reply_chunk. */
static void run_frame_evbuffer(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t i;
        evbuffer_drain(evbuffers[0], evbuffer_get_length(evbuffers[0]));
        for (i = 0; i < j->count; i++) {
            evbuffer_add_printf(evbuffers[0], "%x\r\n", (unsigned)j->piece);
            evbuffer_add(evbuffers[0], piece_at(i), j->piece);
            evbuffer_add(evbuffers[0], "\r\n", 2);
        }
    }
}

static mm_chunkqueue wire; /* the body in the coding */

static void run_decode_queue(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        mm_chunked_decoder d;
        size_t i;
        mm_chunked_decoder_init(&d, NULL);
        mm_chunkqueue_reset(&queues[0]);
        for (i = 0; i < j->count; i++) mm_chunked_append_mem(&wire, piece_at(i), j->piece);
        if (mm_chunked_decode_queue(&d, &wire, &queues[0]) != MM_STATUS_AGAIN) return;
    }
}

/* How often a byte is copied when it is decoded, by where it lies. */
static void count_decoded(const char *title, const job *j)
{
    char head[24];
    size_t frame = (size_t)sprintf(head, "%zx\r\n", j->piece), i, k, moved;
    mm_chunked_decoder d;
    if (bench_once || bench_peer.is || strstr(title, bench_only) == NULL) return;
    mm_chunked_decoder_init(&d, NULL);
    mm_chunkqueue_reset(&queues[0]);
    for (i = 0; i < j->count; i++) mm_chunked_append_mem(&wire, piece_at(i), j->piece);
    look_at_queue(&wire, false);
    for (i = 0; i < j->count; i++) { /* those of the content */
        for (k = 0; k < j->piece; k++)
            addresses[i * j->piece + k] = addresses[i * (j->piece + frame + 2) + frame + k];
    }
    if (mm_chunked_decode_queue(&d, &wire, &queues[0]) != MM_STATUS_AGAIN) return;
    moved = look_at_queue(&queues[0], true);
    printf("\nCopies per byte, %s: 1 by the append, %.3f by the decoder\n", title,
           (double)moved / (double)(j->count * j->piece));
    bench_columns = 0;
}

static void frame_row(const char *title, const char *decode_title, size_t piece)
{
    static const bench_contestant contestants[] = {
        {"mm_chunked_append_mem", run_frame_queue, check_queue},
        {"evbuffer add_printf, add, add", run_frame_evbuffer, check_evbuffer}};
    static const bench_contestant decoders[] = {
        {"mm_chunked append, decode", run_decode_queue, check_queue},
        {"memcpy to an array (limit)", run_fill_array, check_array}};
    job j;
    size_t i;
    j.piece = piece;
    j.count = FRAMES;
    for (expected_length = i = 0; i < j.count; i++) {
        expected_length += (size_t)sprintf(expected + expected_length, "%zx\r\n", piece);
        memcpy(expected + expected_length, piece_at(i), piece);
        memcpy(expected + expected_length + piece, "\r\n", 2);
        expected_length += piece + 2;
    }
    BENCH(title, &j, j.count, contestants);
    expect_pieces(&j);
    array_length = 0;
    BENCH(decode_title, &j, j.count, decoders);
    count_decoded(decode_title, &j);
}

/* ---- spilling ---- */

static const char *spill_dir;
static bool spilled[2];

static bool check_spilled_queue(const void *work)
{
    (void)work;
    return spilled[0];
}

static bool check_spilled_dd(const void *work)
{
    (void)work;
    return spilled[1];
}

static void run_spill_queue(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t i;
        mm_chunkqueue_reset(&queues[0]);
        mm_chunkqueue_set_spill(&queues[0], 0);
        for (i = 0; i < j->count; i++) mm_chunkqueue_append_mem(&queues[0], input, j->piece);
        spilled[0] = mm_chunkqueue_status(&queues[0]) == MM_STATUS_OK;
        mm_chunkqueue_reset(&queues[0]);
    }
}

static void run_spill_dd(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    char path[256], of[300], bs[64], count[64];
    snprintf(path, sizeof(path), "%s/mm-bench-%ld", spill_dir, (long)getpid());
    snprintf(of, sizeof(of), "of=%s", path);
    snprintf(bs, sizeof(bs), "bs=%zu", j->piece);
    snprintf(count, sizeof(count), "count=%zu", j->count);
    for (; cycles > 0; cycles--) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            execlp("dd", "dd", "if=/dev/zero", of, bs, count, "status=none", (char *)NULL);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child) return;
        spilled[1] = status == 0;
        unlink(path);
    }
}

static void spill_row(const char *title, size_t piece, uint64_t size)
{
    static const bench_contestant contestants[] = {
        {"mm_chunkqueue", run_spill_queue, check_spilled_queue},
        {"dd", run_spill_dd, check_spilled_dd}};
    struct statvfs fs;
    uint64_t room;
    job j;
    if (statvfs(spill_dir, &fs) != 0) bench_fail(title, spill_dir, "is not there");
    room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room / 3 < size) size = room / 8;
    j.piece = piece;
    j.count = (size_t)(size / piece);
    spilled[0] = spilled[1] = false;
    BENCH(title, &j, j.count, contestants);
}

int main(int argc, char **argv)
{
    static uint64_t seed = 1;
    mm_chunk_pool_desc desc;
    size_t i;
    mallopt(M_MMAP_THRESHOLD, 64 << 20); /* else the rows show how malloc gives pages back and */
    mallopt(M_TRIM_THRESHOLD, 64 << 20); /* takes them again, under the one without a pool */
    memset(&desc, 0, sizeof(desc));
    spill_dir = getenv("TMPDIR");
    if (spill_dir == NULL || *spill_dir == '\0') spill_dir = "/var/tmp";
    desc.temp_dirs = &spill_dir;
    desc.temp_dir_count = 1;
    desc.keep = 4 * BODY; /* what a cycle uses is kept for the next */
    if (mm_chunk_pool_init(&pool, &desc) != MM_STATUS_OK) return 1;
    desc.chunk_size = 32768;
    if (mm_chunk_pool_init(&wide_pool, &desc) != MM_STATUS_OK) return 1;
    mm_chunkqueue_init(&wide, &wide_pool);
    for (i = 0; i < 3; i++) {
        mm_chunkqueue_init(&queues[i], &pool);
        evbuffers[i] = evbuffer_new();
        if (evbuffers[i] == NULL) return 1;
    }
    mm_chunkqueue_init(&wire, &pool);
    for (i = 0; i < sizeof(input); i++) input[i] = (char)(bench_random(&seed) >> 56);
    bench_begin(argc, argv, "mm_chunk.h: queues of bytes");
    if (strcmp(bench_only, "spill") == 0) {
        spill_row("1 GiB spilled, 8 KiB at a time", 8192, (uint64_t)1 << 30);
        spill_row("1 GiB spilled, 64 KiB at a time", 65536, (uint64_t)1 << 30);
        return bench_end();
    }
    bytes_rows();
    pass_row("1 MiB handed over as a whole", 0);
    pass_row("1 MiB in steps of 16 KiB", 16384);
    pass_row("1 MiB in steps of 10,000 bytes", 10000);
    pass_row("1 MiB in steps of 1,000 bytes", 1000);
    frame_row("coded, 100-byte chunks", "coded and decoded, 100 bytes", 100);
    frame_row("coded, 1 KiB chunks", "coded and decoded, 1 KiB", 1024);
    frame_row("coded, 16 KiB chunks", "coded and decoded, 16 KiB", 16384);
    spill_row("128 MiB spilled, 8 KiB at a time", 8192, (uint64_t)1 << 27);
    spill_row("128 MiB spilled, 64 KiB at a time", 65536, (uint64_t)1 << 27);
    return bench_end();
}
