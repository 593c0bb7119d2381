/* The chunked transfer coding of mm_chunk.h: the examples of the RFC, every split of an input,
   hostile sizes, every allocation and write failing, and what is coded decodes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>

static struct shim { /* the n-th write to a temp file can fail, and a file not be ready */
    size_t calls, fail_at;
    const char *busy; /* its path */
    int for_ever, open_fds;
} shim;

static int shim_open(const char *path, int flags, int mode);
static int shim_close(int fd);
static ptrdiff_t shim_pwrite(int fd, const void *bytes, size_t size, int64_t offset);

#define MM_SYS_OPEN(path, flags, mode) shim_open(path, flags, mode)
#define MM_SYS_CLOSE(fd) shim_close(fd)
#define MM_SYS_PWRITE(fd, bytes, size, offset) shim_pwrite(fd, bytes, size, offset)
#define MM_CHUNK_NO_PWRITEV
#define MM_CHUNK_NO_DIRS /* so that MM_SYS_OPEN opens all */
#define MM_IMPLEMENTATION
#include "../../mm_chunk.h"

#include "../harness.h"

static int shim_open(const char *path, int flags, int mode)
{
    int fd;
    errno = EAGAIN;
    if (shim.busy != NULL && strcmp(path, shim.busy) == 0) return -1;
    fd = open(path, flags, mode);
    shim.open_fds += fd >= 0;
    return fd;
}

static int shim_close(int fd)
{
    shim.open_fds--;
    return close(fd);
}

static ptrdiff_t shim_pwrite(int fd, const void *bytes, size_t size, int64_t offset)
{
    shim.calls++;
    if (shim.fail_at != 0 && (shim.calls == shim.fail_at ||
                              (shim.for_ever && shim.calls > shim.fail_at))) {
        errno = ENOSPC;
        return -1;
    }
#ifdef _WIN32
    return mmi_file_pwrite(fd, bytes, size, offset);
#else
    return pwrite(fd, bytes, size, (off_t)offset);
#endif
}

#define LITERAL(literal) mm_slice_make(literal, sizeof(literal) - 1)

static const char file_name[] = "LICENSE"; /* any file that is there */
static mm_chunk_pool pool;
static test_allocator allocator;
static mm_chunkqueue from, to;

static mm_status start(size_t chunk_size)
{
#ifdef _WIN32
    static const char *const dirs[] = {"."};
#else
    static const char *const dirs[] = {"/tmp"};
#endif
    mm_chunk_pool_desc desc;
    memset(&desc, 0, sizeof(desc));
    memset(&shim, 0, sizeof(shim));
    test_allocator_init(&allocator);
    desc.allocator = &allocator.base;
    desc.chunk_size = chunk_size;
    desc.temp_dirs = dirs;
    desc.temp_dir_count = 1;
    mm_chunkqueue_init(&from, &pool);
    mm_chunkqueue_init(&to, &pool);
    return mm_chunk_pool_init(&pool, &desc);
}

static void finish(void)
{
    mm_chunkqueue_deinit(&from);
    mm_chunkqueue_deinit(&to);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(allocator.live_blocks, 0);
    CHECK_EQ(allocator.bad_sizes, 0);
    CHECK_EQ(shim.open_fds, 0);
}

/* The content of a queue in static memory, and whether the queue is sound. */
static mm_slice content(mm_chunkqueue *q)
{
    static char scratch[8 << 20];
    const char *data;
    size_t size = 0;
    if (!mm_chunkqueue_check(q) ||
        mm_chunkqueue_peek(q, scratch, sizeof(scratch), &data, &size) != MM_STATUS_OK)
        return LITERAL("(cannot be read)");
    return mm_slice_make(data, size);
}

static bool holds(mm_chunkqueue *q, mm_slice expected)
{
    return mm_slice_equal(content(q), expected) &&
           mm_chunkqueue_length(q) == (int64_t)expected.len;
}

/* ---- encoder ---- */

static void count_refs(void *ref, int change)
{
    *(int *)ref += change;
}

/* RFC 9112, 7.1: what it looks like. */
TEST(encodes)
{
    mm_buffer b = MM_BUFFER_INIT(NULL);
    CHECK_EQ(start(0), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_mem(&from, "Wiki", 4), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_mem(&from, "", 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_mem(&from, NULL, 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_mem(&from, "pedia in \r\n\r\nchunks.", 20), MM_STATUS_OK);
    CHECK_EQ(pool.stats.chunks, 1); /* all in one place */
    CHECK_EQ(mm_chunked_append_buffer(&from, &b), MM_STATUS_OK);
    mm_buffer_append_string(&b, "0123456789abcdef");
    CHECK_EQ(mm_chunked_append_buffer(&from, &b), MM_STATUS_OK);
    CHECK(mm_buffer_is_blank(&b));
    CHECK_EQ(mm_chunkqueue_append_mem(&to, "moved", 5), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_queue(&from, &to), MM_STATUS_OK);
    CHECK(mm_chunkqueue_is_empty(&to));
    CHECK_EQ(mm_chunked_append_queue(&from, &to), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_last(&from, LITERAL("Expires: never\r\nX-Y: z\r\n")), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_last(&from, mm_slice_make(NULL, 0)), MM_STATUS_OK);
    CHECK(holds(&from, LITERAL("4\r\nWiki\r\n14\r\npedia in \r\n\r\nchunks.\r\n"
                            "10\r\n0123456789abcdef\r\n5\r\nmoved\r\n"
                            "0\r\nExpires: never\r\nX-Y: z\r\n\r\n0\r\n\r\n")));
    mm_buffer_deinit(&b);
    CHECK_SUB(finish());
}

TEST(encodes_files)
{
    enum { FLAGS = O_RDONLY | MMI_O_CLOEXEC };
    int refs = 0, fd = open(file_name, FLAGS), other;
    char text[32], expected[64];
    CHECK(fd >= 0 && read(fd, text, 32) == 32);
    CHECK_EQ(start(0), MM_STATUS_OK);
    other = shim_open(file_name, FLAGS, 0);
    CHECK(other >= 0);
    CHECK_EQ(mm_chunked_append_file(&from, file_name, 1, 3), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_fd(&from, other, 4, 5), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_fd_ref(&from, fd, 9, 16, count_refs, &refs), MM_STATUS_OK);
    CHECK_EQ(refs, 1);
    CHECK_EQ(mm_chunked_append_last(&from, LITERAL("")), MM_STATUS_OK);
    snprintf(expected, sizeof(expected), "3\r\n%.3s\r\n5\r\n%.5s\r\n10\r\n%.16s\r\n0\r\n\r\n",
             text + 1, text + 4, text + 9);
    CHECK(holds(&from, mm_slice_from_string(expected)));
    CHECK_EQ(pool.stats.memory, pool.chunk_size); /* all frames share a block */
    mm_chunkqueue_reset(&from);
    CHECK_EQ(refs, 0);
    CHECK_EQ(shim.open_fds, 0);
    CHECK_EQ(mm_chunked_append_file(&from, file_name, 1, 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_fd_ref(&from, fd, 9, 0, count_refs, &refs), MM_STATUS_OK);
    other = shim_open(file_name, FLAGS, 0);
    CHECK_EQ(mm_chunked_append_fd(&from, other, 0, 0), MM_STATUS_OK); /* closes it */
    CHECK(mm_chunkqueue_is_empty(&from) && refs == 0 && shim.open_fds == 0);
    close(fd);
    CHECK_SUB(finish());
}

TEST(encodes_every_size)
{
    size_t size, chunk_size;
    static char bytes[20000], expected[20100];
    for (size = 0; size < sizeof(bytes); size++) bytes[size] = (char)(size * 7);
    for (chunk_size = 1024; chunk_size <= 8192; chunk_size *= 8) {
        CHECK_EQ(start(chunk_size), MM_STATUS_OK);
        for (size = 1; size < sizeof(bytes); size += size < 1100 ? 1 : 997) {
            int n = snprintf(expected, sizeof(expected), "%zx\r\n", size);
            mm_buffer b = MM_BUFFER_INIT(NULL);
            memcpy(expected + n, bytes, size);
            memcpy(expected + n + size, "\r\n", 2);
            CHECK_EQ(mm_chunked_append_mem(&from, bytes, size), MM_STATUS_OK);
            CHECK(holds(&from, mm_slice_make(expected, (size_t)n + size + 2)));
            mm_buffer_append(&b, bytes, size);
            CHECK_EQ(mm_chunked_append_buffer(&to, &b), MM_STATUS_OK);
            CHECK(mm_buffer_is_blank(&b));
            CHECK(holds(&to, mm_slice_make(expected, (size_t)n + size + 2)));
            mm_buffer_deinit(&b);
            mm_chunkqueue_reset(&from);
            mm_chunkqueue_reset(&to);
        }
        CHECK_SUB(finish());
    }
}

/* Large buffers and files are moved: what is in memory for them is their frames, in one block. */
TEST(large_data_is_not_copied)
{
    enum { FRAMES = 100, SIZE = 100000 };
    size_t i, blocks = 0;
    const mm_chunk *c;
    CHECK_EQ(start(0), MM_STATUS_OK);
    for (i = 0; i < FRAMES; i++) {
        mm_buffer b = MM_BUFFER_INIT(&allocator.base);
        const char *ptr = mm_buffer_prepare_append(&b, SIZE);
        CHECK(ptr != NULL);
        memset(b.ptr, 'x', SIZE);
        CHECK_EQ(mm_buffer_commit(&b, SIZE), MM_STATUS_OK);
        CHECK_EQ(mm_chunked_append_buffer(&from, &b), MM_STATUS_OK);
        for (c = from.first; c->next != from.last; c = c->next) {}
        CHECK(mm_chunk_bytes(c) == ptr);
        mm_buffer_deinit(&b); /* a small block has come back in it */
        CHECK_EQ(mm_chunked_append_file(&to, file_name, 0, INT64_C(1) << 40), MM_STATUS_OK);
    }
    CHECK_EQ(mm_chunkqueue_length(&from), FRAMES * (SIZE + 9));
    CHECK_EQ(mm_chunkqueue_length(&to), FRAMES * ((INT64_C(1) << 40) + 15));
    CHECK_EQ(to.memory, FRAMES * 15);
    for (c = to.first; c != NULL; c = c->next)
        blocks += c->type == MM_CHUNK_MEM && (c->offset == 0);
    CHECK_EQ(blocks, 1);
    CHECK(mm_chunkqueue_check(&from) && mm_chunkqueue_check(&to));
    CHECK_SUB(finish());
}

TEST(encoder_refuses)
{
    static const char *const trailers[] = {
        "no end", "A: b\r", "A: b\n", "A: b\r\n\r\n", "\r\n", "A: b\r\n\r\nC: d\r\n", " A: b\r\n",
        "\tA: b\r\n", ": b\r\n", "A: b\r\r\n", "A: b\nC: d\r\n", "A: \x01\r\n", "A: \x7f\r\n"};
    size_t i;
    mm_buffer b = MM_BUFFER_INIT(NULL);
    CHECK_EQ(start(0), MM_STATUS_OK);
    for (i = 0; i < sizeof(trailers) / sizeof(trailers[0]); i++) {
        mm_slice lines = mm_slice_from_string(trailers[i]);
        CHECK_EQ(mm_chunked_append_last(&from, lines), MM_STATUS_INVALID);
        CHECK_EQ(mm_chunked_append_mem(&from, "x", 1), MM_STATUS_INVALID); /* sticky */
        CHECK(mm_chunkqueue_is_empty(&from));
        mm_chunkqueue_reset(&from);
    }
    CHECK_EQ(mm_chunked_append_last(&from, LITERAL("A: \0\r\n")), MM_STATUS_INVALID);
    mm_chunkqueue_reset(&from);
    CHECK_EQ(mm_chunked_append_file(&from, file_name, -1, 5), MM_STATUS_INVALID);
    mm_chunkqueue_reset(&from);
    CHECK_EQ(mm_chunked_append_fd(&from, 0, 0, -5), MM_STATUS_INVALID);
    mm_chunkqueue_reset(&from);
    CHECK_EQ(mm_chunked_append_fd_ref(&from, 0, INT64_MAX, 1, NULL, NULL), MM_STATUS_TOO_LARGE);
    mm_chunkqueue_reset(&from);
    mm_buffer_append_format(&b, "%d", 5);
    b.status = MM_STATUS_NO_MEMORY;
    CHECK_EQ(mm_chunked_append_buffer(&from, &b), MM_STATUS_NO_MEMORY);
    mm_buffer_deinit(&b);
    CHECK_SUB(finish());
}

/* A frame stays within the memory limit, whose end may lie anywhere in it, or nothing of it comes;
   at the end of a block, too. */
TEST(frames_keep_the_memory_limit)
{
    static char bytes[9000];
    mm_buffer b = {0};
    int64_t limit, before;
    int i;
    for (i = 0; i < 4; i++) {
        size_t size = i == 0 ? 5 : 2000, total = i == 0 ? 10 : 2007;
        size_t first = i == 1 ? MM_CHUNK_SIZE_DEFAULT - 3 : MM_CHUNK_SIZE_DEFAULT - 2005;
        for (limit = 0; limit <= (int64_t)total; limit++) {
            mm_status status, expected = limit < (int64_t)total ? MM_STATUS_LIMIT : MM_STATUS_OK;
            CHECK_EQ(start(0), MM_STATUS_OK);
            if (i == 0) first = (size_t)(MM_CHUNK_SIZE_DEFAULT - limit);
            mm_chunkqueue_append_mem(&to, bytes, first);
            mm_chunkqueue_set_limits(&to, to.memory + limit, INT64_MAX);
            before = to.bytes_in;
            mm_buffer_append(&b, bytes, size);
            mm_chunkqueue_append_mem(&from, bytes, size);
            if (i < 2) status = mm_chunked_append_mem(&to, bytes, size);
            else if (i == 2) status = mm_chunked_append_buffer(&to, &b);
            else status = mm_chunked_append_queue(&to, &from);
            CHECK_EQ(status, expected);
            CHECK_EQ(to.bytes_in, before + (status == MM_STATUS_OK ? (int64_t)total : 0));
            CHECK(to.memory <= to.memory_limit && to.memory_limit == (int64_t)first + limit);
            CHECK(mm_chunkqueue_check(&to) && mm_chunkqueue_check(&from));
            if (status != MM_STATUS_OK) CHECK(mm_buffer_length(&b) == size && to.last != NULL);
            mm_buffer_deinit(&b);
            CHECK_SUB(finish());
        }
    }
}

/* Temp files may be so short that a frame, even its line end, lies in two of them. */
TEST(frames_that_spill_are_cut_anywhere)
{
    mm_buffer expected = {0};
    int64_t size, limit, before;
    mm_status status;
    for (size = 1; size <= 12; size++) {
        for (limit = 15; limit < 19; limit++) {
            mm_buffer_clear(&expected);
            CHECK_EQ(start(0), MM_STATUS_OK);
            pool.temp_file_size = size;
            mm_chunkqueue_set_spill(&to, 0);
            mm_chunkqueue_set_limits(&to, INT64_MAX, limit);
            mm_chunkqueue_append_mem(&to, "ab", 2);
            mm_chunkqueue_append_mem(&from, "0123456789", 10);
            before = to.bytes_in;
            status = mm_chunked_append_queue(&to, &from); /* 15 bytes with its frame */
            CHECK_EQ(status, limit < 17 ? MM_STATUS_LIMIT : MM_STATUS_OK);
            CHECK(to.disk <= limit && to.memory == 0 && to.disk_limit == limit);
            mm_buffer_append_string(&expected, "ab");
            if (status == MM_STATUS_OK) mm_buffer_append_string(&expected, "a\r\n0123456789\r\n");
            else CHECK(to.bytes_in == before && mm_chunkqueue_length(&from) == 10);
            CHECK(holds(&to, mm_buffer_slice(&expected)));
            CHECK_SUB(finish());
        }
    }
    mm_buffer_deinit(&expected);
}

/* The line end counts for the spill threshold while the data is linked in. */
TEST(frames_keep_the_spill_threshold)
{
    static char bytes[2000];
    int64_t threshold;
    for (threshold = 2000; threshold < 2010; threshold++) {
        CHECK_EQ(start(0), MM_STATUS_OK);
        mm_chunkqueue_set_spill(&to, threshold);
        mm_chunkqueue_append_mem(&from, bytes, 2000);
        CHECK_EQ(mm_chunked_append_queue(&to, &from), MM_STATUS_OK);
        CHECK_EQ(mm_chunkqueue_length(&to), 2007);
        CHECK(to.memory <= threshold && to.spill_at == threshold && mm_chunkqueue_check(&to));
        CHECK(threshold < 2007 || to.disk == 0);
        CHECK_SUB(finish());
    }
}

/* ---- watermarks ---- */

static int told; /* how often a callback has seen `to` whole */

static void see_whole(mm_chunkqueue *q, bool is_high, void *user_data)
{
    mm_chunked_decoder d = {0};
    mm_chunkqueue seen;
    (void)q;
    mm_chunkqueue_init(&seen, &pool);
    if (!mm_chunkqueue_check(&to) || mm_chunkqueue_status(&to) != MM_STATUS_OK) return;
    if (mm_chunkqueue_append_range(&seen, &to, 0, mm_chunkqueue_length(&to)) != MM_STATUS_OK)
        return;
    if (mm_chunked_decode_queue(&d, &seen, NULL) == MM_STATUS_AGAIN && d.digits == 0 &&
        d.state == MMI_CHUNKED_SIZE) /* between two chunks */
        told++;
    mm_chunkqueue_deinit(&seen);
    if (is_high && user_data != NULL) /* from within: the low edge, and another frame */
        (void)!mm_chunkqueue_mark_written(&to, mm_chunkqueue_length(&to));
    if (!is_high && user_data != NULL) mm_chunked_append_mem(&to, "more", 4);
}

/* lighttpd reads files of up to 32 KiB into memory when it frames them: here that is asked for. */
TEST(small_framed_files_join_their_frames)
{
    mm_chunked_decoder d = {0};
    CHECK_EQ(start(0), MM_STATUS_OK);
    mm_chunkqueue_append_mem(&to, "HTTP/1.1 200 OK\r\n\r\n", 19);
    CHECK_EQ(mm_chunked_append_file(&to, file_name, 0, 700), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_last(&to, LITERAL("")), MM_STATUS_OK);
    CHECK(to.first != to.last);
    CHECK_EQ(mm_chunkqueue_join(&to, 32768), MM_STATUS_OK);
    CHECK(to.memory == mm_chunkqueue_length(&to) && shim.open_fds == 0);
    CHECK_EQ(mm_chunkqueue_mark_written(&to, 19), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_decode_queue(&d, &to, NULL), MM_STATUS_OK);
    CHECK_EQ(d.body, 700);
    CHECK_SUB(finish());
}

/* A callback never sees a part of a frame, whatever is framed, and may use the queue. */
TEST(watermarks_see_whole_frames)
{
    static char bytes[5000];
    mm_buffer b = {0};
    int i;
    for (i = 0; i < 5; i++) {
        CHECK_EQ(start(0), MM_STATUS_OK);
        told = 0;
        mm_buffer_append(&b, bytes, 3000);
        mm_chunkqueue_append_mem(&from, bytes, 5000);
        mm_chunkqueue_set_flow(&from, 0, 10, NULL, NULL);
        mm_chunkqueue_set_flow(&from, 0, 10, see_whole, NULL);
        mm_chunkqueue_set_flow(&to, 10, 100, see_whole, &told);
        if (i == 0) CHECK_EQ(mm_chunked_append_mem(&to, bytes, 200), MM_STATUS_OK);
        if (i == 1) CHECK_EQ(mm_chunked_append_mem(&to, bytes, 5000), MM_STATUS_OK);
        if (i == 2) CHECK_EQ(mm_chunked_append_buffer(&to, &b), MM_STATUS_OK);
        if (i == 3) CHECK_EQ(mm_chunked_append_file(&to, file_name, 0, 500), MM_STATUS_OK);
        if (i == 4) CHECK_EQ(mm_chunked_append_queue(&to, &from), MM_STATUS_OK);
        CHECK_EQ(told, i == 4 ? 3 : 2); /* high, low within it, and that `from` is empty */
        CHECK(holds(&to, LITERAL("4\r\nmore\r\n")));
        CHECK(!mm_chunkqueue_is_high(&to) && mm_chunkqueue_check(&to));
        mm_buffer_deinit(&b);
        CHECK_SUB(finish());
    }
}

/* The largest lengths: the frame is counted too, and nothing overflows. */
TEST(hostile_sizes_are_not_framed)
{
    int64_t most = INT64_MAX - 20; /* 16 digits and two line ends */
    CHECK_EQ(start(0), MM_STATUS_OK);
    if (sizeof(size_t) > 4) /* else it could be true, and all those bytes would be read */
        CHECK_EQ(mm_chunked_append_mem(&from, "x", SIZE_MAX), MM_STATUS_TOO_LARGE);
    CHECK(mm_chunkqueue_is_empty(&from) && mm_chunkqueue_check(&from));
    mm_chunkqueue_reset(&from);
    CHECK_EQ(mm_chunked_append_file(&from, file_name, 0, INT64_MAX), MM_STATUS_TOO_LARGE);
    CHECK(mm_chunkqueue_is_empty(&from) && mm_chunkqueue_check(&from));
    mm_chunkqueue_reset(&from);
    CHECK_EQ(mm_chunkqueue_append_file(&to, file_name, 0, INT64_MAX), MM_STATUS_OK);
    CHECK_EQ(mm_chunked_append_queue(&from, &to), MM_STATUS_TOO_LARGE);
    CHECK(mm_chunkqueue_length(&to) == INT64_MAX && mm_chunkqueue_is_empty(&from));
    CHECK_EQ(mm_chunked_append_mem(&to, "x", 1), MM_STATUS_TOO_LARGE);
    CHECK(mm_chunkqueue_length(&to) == INT64_MAX && mm_chunkqueue_check(&to));
    mm_chunkqueue_reset(&from);
    CHECK_EQ(mm_chunked_append_file(&from, file_name, 0, most - (INT64_C(1) << 33)), MM_STATUS_OK);
    CHECK(mm_chunkqueue_check(&from));
    CHECK_SUB(finish());
}

/* ---- decoder: cases ---- */

/* Decodes in pieces of at most `stride` bytes, each in a block of its own size. */
static mm_status decode_slices(const mm_chunked_limits *limits, mm_slice text, size_t stride,
                               mm_buffer *body, size_t *used)
{
    mm_chunked_decoder d;
    mm_status status = MM_STATUS_AGAIN;
    mm_buffer_clear(body);
    mm_chunked_decoder_init(&d, limits);
    for (*used = 0; *used < text.len && status == MM_STATUS_AGAIN;) {
        mm_slice piece = mm_slice_sub(text, *used, stride), input, data;
        char *copy = (char *)malloc(piece.len);
        memcpy(copy, piece.ptr, piece.len);
        input = mm_slice_make(copy, piece.len);
        while ((status = mm_chunked_decode(&d, &input, &data)) == MM_STATUS_AGAIN && data.len > 0)
            mm_buffer_append_slice(body, data);
        if (status == MM_STATUS_AGAIN && input.len > 0) status = MM_STATUS_IO; /* must not be */
        *used += piece.len - input.len;
        free(copy);
    }
    if (d.body != (int64_t)mm_buffer_length(body)) status = MM_STATUS_IO;
    if (status != MM_STATUS_AGAIN) { /* final */
        mm_slice input = LITERAL("0"), data;
        if (mm_chunked_decode(&d, &input, &data) != status || input.len != 1 || data.len != 0)
            status = MM_STATUS_IO;
    }
    return status;
}

/* The same from a queue into another; the input arrives in chunks of `chunk` bytes at most, and
   after each `stride` bytes the decoder is called. */
static mm_status decode_queue(const mm_chunked_limits *limits, mm_slice text, size_t stride,
                              size_t chunk, mm_buffer *body, size_t *used)
{
    mm_chunked_decoder d;
    mm_status status = MM_STATUS_AGAIN;
    mm_chunkqueue one;
    size_t at, n;
    mm_buffer_clear(body);
    mm_chunked_decoder_init(&d, limits);
    mm_chunkqueue_reset(&from);
    mm_chunkqueue_reset(&to);
    mm_chunkqueue_init(&one, &pool);
    for (at = 0; at < text.len && status == MM_STATUS_AGAIN; at += n) {
        mm_slice piece = mm_slice_sub(text, at, stride);
        for (n = 0; n < piece.len; n += chunk) {
            mm_slice part = mm_slice_sub(piece, n, chunk);
            mm_chunkqueue_append_mem(&one, part.ptr, part.len);
            mm_chunkqueue_append_queue(&from, &one);
        }
        n = piece.len;
        status = mm_chunked_decode_queue(&d, &from, &to);
        if (!mm_chunkqueue_check(&from) || !mm_chunkqueue_check(&to)) return MM_STATUS_IO;
        if (status == MM_STATUS_AGAIN && !mm_chunkqueue_is_empty(&from)) return MM_STATUS_IO;
    }
    *used = (size_t)from.bytes_out;
    mm_buffer_append_slice(body, content(&to));
    return d.body == mm_chunkqueue_length(&to) ? status : MM_STATUS_IO;
}

#define GOOD(coded, body, rest) {MM_STATUS_OK, coded, body, rest}
#define BAD(coded) {MM_STATUS_INVALID, coded, NULL, 0}
#define LARGE(coded) {MM_STATUS_TOO_LARGE, coded, NULL, 0}
#define PART(coded, body) {MM_STATUS_AGAIN, coded, body, 0}

static const struct {
    mm_status status;
    const char *coded, *body;
    size_t rest; /* bytes behind the end */
} codings[] = {
    GOOD("0\r\n\r\n", "", 0),
    GOOD("0\r\n\r\nGET ", "", 4),
    GOOD("4\r\nWiki\r\n7\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\n\r\n",
         "Wikipedia in \r\nchunks.", 0),
    GOOD("5\r\nab\r\nc\r\n1\r\nx\r\n000\r\n\r\nmore", "ab\r\ncx", 4),
    GOOD("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", 0),
    GOOD("0000000000000005\r\nabcde\r\n0\r\n\r\n", "abcde", 0),
    GOOD("5;a=b\r\nabcde\r\n0;c\r\n\r\n", "abcde", 0),
    GOOD("5 \t; a = \"q;\\\"\\x\" ; b\r\nabcde\r\n0\r\n\r\n", "abcde", 0),
    GOOD("5;a=\"x;\\\"y\"\r\nabcde\r\n0\r\n\r\n", "abcde", 0),
    GOOD("0\r\nA: b\r\nC: d\r\n\r\nx", "", 1),
    GOOD("0\r\nA:\r\n\r\n", "", 0),
    GOOD("0\r\n\r\n\r\n", "", 2),
    PART("", ""), PART("5", ""), PART("5\r\nabc", "abc"), PART("5\r\nabcde", "abcde"),
    PART("5\r\nabcde\r\n0\r\n", "abcde"), PART("5\r\nabcde\r\n0\r\nA: b\r\n", "abcde"),
    PART("7fffffffffffffff\r\nab", "ab"), /* INT64_MAX */
    BAD("\r\n"), BAD("\n"), BAD(" "), BAD("x\r\n"), BAD("-5\r\n"), BAD("+5\r\n"), BAD("0x5\r\n"),
    BAD(" 5\r\n"), BAD("5 \r\n"), BAD("5 5\r\n"), BAD(";a\r\n"), BAD("5,5\r\n"), BAD("5\v\r\n"),
    BAD("5\nabcde\r\n"), BAD("5\r\rabcde"), BAD("5\r\nabcdef\r\n"), BAD("5\r\nabcde0\r\n\r\n"),
    BAD("5\r\nabcde\n0\r\n\r\n"), BAD("5\r\nabcde\r\r\n"), BAD("5\r\nabcde\r\n\r\n"),
    BAD("00000000000000000\r\n"), BAD("5;a\nabcde"), BAD("5;a\x01\r\n"), BAD("5;a\x7f\r\n"),
    BAD("5;a=\"b\r\n"), BAD("5;a=\"b\\\r\n"), BAD("5;a\r\r\n"), BAD("0\r\n\n"), BAD("0\r\n\rx"),
    BAD("0\r\nA: b\n\r\n"), BAD("0\r\n folded\r\n\r\n"), BAD("0\r\n\tfolded\r\n\r\n"),
    BAD("0\r\n: b\r\n\r\n"), BAD("0\r\nA: \x01\r\n\r\n"), BAD("0\r\nA: b\r\r\n"), BAD("0\n\n"),
    LARGE("8000000000000000\r\n"), LARGE("FFFFFFFFFFFFFFFF\r\n"),
    LARGE("1\r\nx\r\n7fffffffffffffff\r\n")};

/* However the input is split, between calls or into chunks of a queue, the result is the same. */
TEST(decodes_at_every_split)
{
    mm_buffer body = MM_BUFFER_INIT(NULL);
    size_t i, stride, chunk, used, whole;
    CHECK_EQ(start(0), MM_STATUS_OK);
    for (i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
        mm_slice text = mm_slice_from_string(codings[i].coded), all;
        mm_status status = decode_slices(NULL, text, SIZE_MAX, &body, &whole);
        mm_buffer expected = MM_BUFFER_INIT(NULL);
        if (text.len == 0) continue;
        mm_buffer_append_slice(&expected, mm_buffer_slice(&body));
        all = mm_buffer_slice(&expected);
        if (status != codings[i].status) printf("      case %zu: \"%s\"\n", i, codings[i].coded);
        CHECK_EQ(status, codings[i].status);
        if (codings[i].body != NULL) CHECK_STR(mm_buffer_string(&expected), codings[i].body);
        if (codings[i].body != NULL) CHECK_EQ(whole, text.len - codings[i].rest);
        for (stride = 1; stride <= text.len; stride++) {
            CHECK_EQ(decode_slices(NULL, text, stride, &body, &used), status);
            CHECK_EQ(used, whole);
            CHECK(mm_slice_equal(mm_buffer_slice(&body), all));
            for (chunk = 1; chunk <= stride; chunk++) {
                CHECK_EQ(decode_queue(NULL, text, stride, chunk, &body, &used), status);
                CHECK_EQ(used, whole);
                CHECK(mm_slice_equal(mm_buffer_slice(&body), all));
            }
        }
        mm_buffer_deinit(&expected);
    }
    mm_buffer_deinit(&body);
    CHECK_SUB(finish());
}

/* Two cuts at any two places. */
TEST(decodes_at_every_two_cuts)
{
    static const char text[] = "5;x=\"\\\"\"\r\nabcde\r\nA\r\n0123456789\r\n0\r\nA: b\r\n\r\nrest";
    size_t i, k, size = sizeof(text) - 1, part;
    for (i = 0; i <= size; i++) {
        for (k = i; k <= size; k++) {
            const size_t cuts[] = {0, i, k, size};
            mm_status status = MM_STATUS_AGAIN;
            mm_buffer body = MM_BUFFER_INIT(NULL);
            mm_chunked_decoder d = {0};
            for (part = 0; part < 3 && status == MM_STATUS_AGAIN; part++) {
                mm_slice input = mm_slice_make(text + cuts[part], cuts[part + 1] - cuts[part]);
                mm_slice data;
                do {
                    status = mm_chunked_decode(&d, &input, &data);
                    mm_buffer_append_slice(&body, data);
                } while (status == MM_STATUS_AGAIN && data.len > 0);
            }
            CHECK_EQ(status, MM_STATUS_OK);
            CHECK_STR(mm_buffer_string(&body), "abcde0123456789");
            mm_buffer_deinit(&body);
        }
    }
}

/* ---- decoder: limits ---- */

static mm_buffer coded = MM_BUFFER_INIT(NULL);

/* `count` times `piece` between two texts. */
static mm_slice compose(const char *begin, const char *piece, size_t count, const char *end)
{
    mm_buffer_clear(&coded);
    for (mm_buffer_append_string(&coded, begin); count > 0; count--)
        mm_buffer_append_string(&coded, piece);
    mm_buffer_append_string(&coded, end);
    return mm_buffer_slice(&coded);
}

static mm_status decode(const mm_chunked_limits *limits, mm_slice text)
{
    mm_buffer body = MM_BUFFER_INIT(NULL);
    size_t used;
    mm_status status = decode_slices(limits, text, SIZE_MAX, &body, &used);
    if (decode_slices(limits, text, 7, &body, &used) != status) status = MM_STATUS_IO;
    mm_buffer_deinit(&body);
    return status;
}

TEST(limits_by_default)
{
    CHECK_EQ(decode(NULL, compose("1;", "e", 256, "\r\nx\r\n0\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(NULL, compose("1;", "e", 257, "\r\nx\r\n0\r\n\r\n")), MM_STATUS_INVALID);
    CHECK_EQ(decode(NULL, compose("1", " ", 256, ";\r\nx\r\n0\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(NULL, compose("1", " ", 257, ";\r\nx\r\n0\r\n\r\n")), MM_STATUS_INVALID);
    CHECK_EQ(decode(NULL, compose("", "4;ext\r\nabcd\r\n", 16384 / 3, "0\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(NULL, compose("", "4;ext\r\nabcd\r\n", 16384 / 3 + 1, "0\r\n\r\n")),
             MM_STATUS_TOO_LARGE);
    CHECK_EQ(decode(NULL, compose("0\r\nA:", "x", 8188, "\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(NULL, compose("0\r\nA:", "x", 8189, "\r\n\r\n")), MM_STATUS_TOO_LARGE);
    CHECK_EQ(decode(NULL, compose("0\r\n", "A:\r\n", 2048, "\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(NULL, compose("0\r\n", "A:\r\n", 2049, "\r\n")), MM_STATUS_TOO_LARGE);
    CHECK_EQ(decode(NULL, compose("", "1\r\nx\r\n", 65536, "0\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(NULL, compose("", "1\r\nx\r\n", 65537, "0\r\n\r\n")), MM_STATUS_TOO_LARGE);
    CHECK_EQ(decode(NULL, compose("", "5\r\nabcde\r\n", 70000, "0\r\n\r\n")), MM_STATUS_OK);
}

TEST(limits_of_the_caller)
{
    mm_chunked_limits limits;
    memset(&limits, 0, sizeof(limits));
    limits.body = 10;
    CHECK_EQ(decode(&limits, LITERAL("A\r\n0123456789\r\n0\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(&limits, LITERAL("B\r\n")), MM_STATUS_TOO_LARGE);
    CHECK_EQ(decode(&limits, LITERAL("9\r\n012345678\r\n1\r\n9\r\n0\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(&limits, LITERAL("9\r\n012345678\r\n2\r\n")), MM_STATUS_TOO_LARGE);
    limits.line = 3;
    CHECK_EQ(decode(&limits, LITERAL("1 ;ab\r\nx\r\n0\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(&limits, LITERAL("1 ;abc\r\nx\r\n0\r\n\r\n")), MM_STATUS_INVALID);
    limits.extensions = 4;
    CHECK_EQ(decode(&limits, LITERAL("1;abc\r\nx\r\n0;d\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(&limits, LITERAL("1;abc\r\nx\r\n0;de\r\n\r\n")), MM_STATUS_TOO_LARGE);
    limits.trailers = 6;
    CHECK_EQ(decode(&limits, LITERAL("0\r\nA: b\r\n\r\n")), MM_STATUS_OK);
    CHECK_EQ(decode(&limits, LITERAL("0\r\nA: bc\r\n\r\n")), MM_STATUS_TOO_LARGE);
    limits.small_chunks = 2;
    CHECK_EQ(decode(&limits, LITERAL("1\r\na\r\n1\r\na\r\n5\r\nabcde\r\n"
                                  "1\r\na\r\n1\r\nb\r\n0\r\n\r\n")),
             MM_STATUS_OK);
    CHECK_EQ(decode(&limits, LITERAL("1\r\na\r\n1\r\na\r\n1\r\na\r\n")), MM_STATUS_TOO_LARGE);
    limits.small_chunks = limits.extensions = limits.line = limits.trailers = UINT32_MAX;
    limits.body = 0;
    CHECK_EQ(decode(&limits, compose("", "1;abcdef\r\nx\r\n", 70000, "0\r\n\r\n")), MM_STATUS_OK);
}

TEST(trailers_are_kept_on_request)
{
    static const char text[] = "1\r\nx\r\n0\r\nA: b\r\nDigest: c\r\n\r\n";
    mm_buffer trailers;
    mm_chunked_decoder d;
    mm_slice input, data;
    size_t i;
    CHECK_EQ(start(0), MM_STATUS_OK);
    mm_buffer_init(&trailers, &allocator.base);
    mm_chunked_decoder_init(&d, NULL);
    d.trailers = &trailers;
    for (i = 0; i < sizeof(text) - 2; i++) {
        input = mm_slice_make(text + i, 1);
        CHECK_EQ(mm_chunked_decode(&d, &input, &data), MM_STATUS_AGAIN);
    }
    input = mm_slice_make(text + i, 1);
    CHECK_EQ(mm_chunked_decode(&d, &input, &data), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&trailers), "A: b\r\nDigest: c\r\n");
    mm_buffer_deinit(&trailers);
    mm_chunked_decoder_init(&d, NULL);
    d.trailers = &trailers;
    test_allocator_fail(&allocator, 1, 1);
    input = mm_slice_make(text, sizeof(text) - 1);
    CHECK_EQ(mm_chunked_decode(&d, &input, &data), MM_STATUS_AGAIN);
    CHECK_EQ(mm_chunked_decode(&d, &input, &data), MM_STATUS_NO_MEMORY);
    mm_buffer_deinit(&trailers);
    CHECK_EQ(mm_chunked_decode(&d, &input, &data), MM_STATUS_NO_MEMORY); /* final */
    CHECK_SUB(finish());
}

/* ---- decoder: queues ---- */

/* Large pieces keep their memory; a queue of pieces of any size holds a few times its length. */
TEST(content_is_moved)
{
    static const size_t sizes[][2] = {
        {1, 1},       {1, 255},     {1, 256},  {255, 255}, {256, 256}, {1, 2047},  {1, 2048},
        {2047, 2047}, {2048, 2048}, {4095, 2}, {1, 4095},  {1, 4096},  {1, 4097},  {2, 8000},
        {2048, 4096}, {4095, 4096}, {1, 8191}, {1, 8192},  {1, 16384}, {100, 300}, {1, 100000}};
    size_t i, k;
    static char bytes[100000];
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mm_chunked_decoder d = {0};
        int64_t expected = 0;
        size_t most = 0;
        mm_buffer b = MM_BUFFER_INIT(NULL);
        CHECK_EQ(start(0), MM_STATUS_OK);
        for (k = 0; expected < 1000000 && k < 50000; k++) {
            CHECK_EQ(mm_chunked_append_mem(&from, bytes, sizes[i][k % 2]), MM_STATUS_OK);
            expected += (int64_t)sizes[i][k % 2];
            CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_AGAIN);
            CHECK(mm_chunkqueue_is_empty(&from));
        }
        CHECK_EQ(mm_chunkqueue_length(&to), expected);
        CHECK(mm_chunkqueue_check(&to));
        most = pool.stats.memory + pool.stats.chunks * sizeof(mm_chunk);
        CHECK(most <= (size_t)expected * 5 + 2 * pool.chunk_size);
        mm_chunkqueue_reset(&to);
        mm_buffer_append(&b, bytes, sizeof(bytes)); /* one block from end to end */
        CHECK_EQ(mm_chunked_append_buffer(&from, &b), MM_STATUS_OK);
        CHECK_EQ(mm_chunked_append_last(&from, LITERAL("")), MM_STATUS_OK);
        mm_chunked_decoder_init(&d, NULL);
        {
            const char *ptr = from.first->next->source->mem.ptr;
            CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_OK);
            CHECK(to.first == to.last && to.first->source->mem.ptr == ptr);
        }
        CHECK_SUB(finish());
    }
}

TEST(content_is_dropped)
{
    mm_chunked_decoder d = {0};
    CHECK_EQ(start(0), MM_STATUS_OK);
    mm_chunkqueue_append_mem(&from, "5\r\nabcde\r\n0\r\n\r\nrest", 19);
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, NULL), MM_STATUS_OK);
    CHECK(d.body == 5 && holds(&from, LITERAL("rest")));
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, NULL), MM_STATUS_OK);
    CHECK(holds(&from, LITERAL("rest")));
    CHECK_SUB(finish());
}

/* Files in the input, temp files for the output. */
TEST(decodes_through_files)
{
    mm_chunked_decoder d = {0};
    size_t i;
    static char bytes[50000];
    mm_buffer expected = MM_BUFFER_INIT(NULL);
    CHECK_EQ(start(0), MM_STATUS_OK);
    mm_chunkqueue_set_spill(&from, 0);
    mm_chunkqueue_set_spill(&to, 1000);
    for (i = 0; i < sizeof(bytes); i++) bytes[i] = (char)(i % 251);
    for (i = 1; i < sizeof(bytes); i = i * 3 + 1) {
        CHECK_EQ(mm_chunked_append_mem(&from, bytes, i), MM_STATUS_OK);
        mm_buffer_append(&expected, bytes, i);
    }
    CHECK_EQ(mm_chunked_append_last(&from, LITERAL("")), MM_STATUS_OK);
    CHECK_EQ(from.memory, 0);
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_OK);
    CHECK(to.memory <= 1000 && holds(&to, mm_buffer_slice(&expected)));
    mm_chunkqueue_reset(&to);
    mm_chunked_decoder_init(&d, NULL);
    mm_chunkqueue_append_mem(&from, "5000\r\n", 6);
    mm_chunkqueue_append_file(&from, file_name, 0, 0x5000); /* it is shorter */
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_AGAIN); /* nobody reads it */
    mm_chunkqueue_append_mem(&from, "\r\n1", 3);
    mm_chunkqueue_append_file(&from, file_name, 0, 5);
    shim.busy = file_name;
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_AGAIN);
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_AGAIN);
    CHECK_EQ(mm_chunkqueue_length(&from), 5); /* the framing goes on in a file that is not ready */
    shim.busy = NULL;
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_INVALID);
    mm_chunkqueue_reset(&from);
    mm_chunked_decoder_init(&d, NULL);
    mm_chunkqueue_append_file(&from, "/nonexistent/file", 0, 5);
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_NOT_FOUND);
    CHECK_EQ(mm_chunked_decode_queue(&d, &from, &to), MM_STATUS_NOT_FOUND);
    CHECK_EQ(mm_chunkqueue_length(&from), 5);
    mm_buffer_deinit(&expected);
    CHECK_SUB(finish());
}

/* ---- failures ---- */

enum { SCENARIO_SPILL = 1, SCENARIO_SIZE = 3000 };
static char scenario_bytes[SCENARIO_SIZE];

/* Appends everything in turn, each time checking that what failed has left nothing. Returns the
   number of bytes that `model` has got. */
static size_t scenario_encode(char *model, int *faults)
{
    size_t length = 0, step;
    for (step = 0; step < 40; step++) {
        size_t size = step % 5 == 0 ? SCENARIO_SIZE : step % 5 == 1 ? 1025 : step * 7 % 900 + 1;
        int n = snprintf(model + length, 32, "%zx\r\n", size);
        mm_status status;
        mm_buffer b = MM_BUFFER_INIT(NULL);
        mm_chunkqueue other;
        mm_chunkqueue_init(&other, &pool);
        if (step % 3 == 1) mm_buffer_append(&b, scenario_bytes, size);
        else if (step % 3 == 2) (void)mm_chunkqueue_append_mem(&other, scenario_bytes, size);
        if (mm_chunkqueue_status(&other) != MM_STATUS_OK) { /* try without */
            mm_chunkqueue_reset(&other);
            ++*faults;
            continue;
        }
        if (step % 3 == 0) status = mm_chunked_append_mem(&from, scenario_bytes, size);
        else if (step % 3 == 1) status = mm_chunked_append_buffer(&from, &b);
        else status = mm_chunked_append_queue(&from, &other);
        if (status == MM_STATUS_OK) {
            memcpy(model + length + n, scenario_bytes, size);
            memcpy(model + length + n + size, "\r\n", 2);
            length += (size_t)n + size + 2;
            if (!mm_buffer_is_blank(&b) || !mm_chunkqueue_is_empty(&other)) length += 1000000;
        } else {
            ++*faults;
            if (step % 3 == 1 && mm_buffer_length(&b) != size) length += 1000000;
            if (step % 3 == 2 && mm_chunkqueue_length(&other) != (int64_t)size) length += 1000000;
            from.status = MM_STATUS_OK; /* go on, to see that the queue is good */
        }
        mm_buffer_deinit(&b);
        mm_chunkqueue_deinit(&other);
    }
    return length;
}

static void encode_once(size_t n, int for_ever, int what, int64_t spill, int *faults)
{
    static char model[100000];
    size_t length;
    CHECK_EQ(start(1024), MM_STATUS_OK);
    mm_chunkqueue_set_spill(&from, spill);
    if (what == SCENARIO_SPILL) {
        shim.fail_at = n;
        shim.for_ever = for_ever;
    } else {
        test_allocator_fail(&allocator, n, for_ever);
    }
    length = scenario_encode(model, faults);
    test_allocator_fail(&allocator, 0, 0);
    CHECK(length < sizeof(model));
    CHECK(holds(&from, mm_slice_make(model, length)));
    CHECK_SUB(finish());
}

TEST(every_failure_of_an_encoder)
{
    static const int64_t spills[] = {0, 2000, INT64_MAX};
    size_t n, i;
    int for_ever, faults, what;
    for (n = 0; n < SCENARIO_SIZE; n++) scenario_bytes[n] = (char)(n % 253);
    for (what = 0; what <= SCENARIO_SPILL; what++) {
        for (i = 0; i < 3; i++) {
            for (for_ever = 0; for_ever < 2; for_ever++) {
                for (n = 1, faults = 1; faults > 0; n++) {
                    faults = 0;
                    CHECK_SUB(encode_once(n, for_ever, what, spills[i], &faults));
                    if (what == SCENARIO_SPILL && shim.calls >= n) faults = 1; /* another dir? */
                }
                CHECK(n > 3 || (what == SCENARIO_SPILL && spills[i] == INT64_MAX));
            }
        }
    }
}

static void decode_once(size_t n, int for_ever, int what, int64_t spill, int *faults)
{
    mm_chunked_decoder d = {0};
    mm_buffer expected = MM_BUFFER_INIT(NULL);
    mm_status status = MM_STATUS_AGAIN;
    size_t step;
    CHECK_EQ(start(1024), MM_STATUS_OK);
    for (step = 0; step < 40; step++) {
        size_t size = step % 5 == 0 ? SCENARIO_SIZE : step % 5 == 1 ? 1025 : step * 7 % 900 + 1;
        CHECK_EQ(mm_chunked_append_mem(&from, scenario_bytes, size), MM_STATUS_OK);
        mm_buffer_append(&expected, scenario_bytes, size);
    }
    CHECK_EQ(mm_chunked_append_last(&from, LITERAL("")), MM_STATUS_OK);
    mm_chunkqueue_set_spill(&to, spill);
    if (what == SCENARIO_SPILL) {
        shim.fail_at = n;
        shim.for_ever = for_ever;
    } else {
        test_allocator_fail(&allocator, n, for_ever);
    }
    for (step = 0; step < 1000 && status != MM_STATUS_OK; step++) {
        status = mm_chunked_decode_queue(&d, &from, &to);
        CHECK(mm_chunkqueue_check(&from) && mm_chunkqueue_check(&to));
        CHECK_EQ(d.body, mm_chunkqueue_length(&to));
        CHECK(status == MM_STATUS_OK || status == MM_STATUS_NO_MEMORY ||
              status == MM_STATUS_NO_SPACE);
        if (status == MM_STATUS_OK) break;
        ++*faults;
        to.status = MM_STATUS_OK;
        if (step == 3) { /* memory is back */
            shim.fail_at = 0;
            test_allocator_fail(&allocator, 0, 0);
        }
    }
    test_allocator_fail(&allocator, 0, 0);
    CHECK_EQ(status, MM_STATUS_OK);
    CHECK(holds(&to, mm_buffer_slice(&expected)));
    mm_buffer_deinit(&expected);
    CHECK_SUB(finish());
}

TEST(every_failure_of_a_decoder)
{
    static const int64_t spills[] = {0, 2000, INT64_MAX};
    size_t n, i;
    int for_ever, faults, what;
    for (n = 0; n < SCENARIO_SIZE; n++) scenario_bytes[n] = (char)(n % 253);
    for (what = 0; what <= SCENARIO_SPILL; what++) {
        for (i = 0; i < 3; i++) {
            for (for_ever = 0; for_ever < 2; for_ever++) {
                for (n = 1, faults = 1; faults > 0; n++) {
                    faults = 0;
                    CHECK_SUB(decode_once(n, for_ever, what, spills[i], &faults));
                }
            }
        }
    }
}

/* ---- round trips ---- */

TEST(what_is_coded_decodes)
{
    uint64_t random = 7;
    int round;
    static char bytes[40000];
    size_t i;
    for (i = 0; i < sizeof(bytes); i++) bytes[i] = (char)test_random(&random);
    for (round = 0; round < 60; round++) {
        mm_buffer expected = MM_BUFFER_INIT(NULL);
        mm_chunked_decoder d = {0};
        mm_chunkqueue wire;
        mm_status status = MM_STATUS_AGAIN;
        CHECK_EQ(start(round % 2 == 0 ? 0 : 1024), MM_STATUS_OK);
        mm_chunkqueue_init(&wire, &pool);
        for (i = test_random(&random) % 50; i > 0; i--) {
            size_t size = test_random(&random) % (test_random(&random) % 4 == 0 ? 40000 : 300);
            CHECK_EQ(mm_chunked_append_mem(&from, bytes, size), MM_STATUS_OK);
            mm_buffer_append(&expected, bytes, size);
        }
        CHECK_EQ(mm_chunked_append_last(&from, LITERAL("A: b\r\n")), MM_STATUS_OK);
        mm_chunkqueue_append_mem(&from, "next", 4);
        while (status == MM_STATUS_AGAIN) { /* as the network delivers it */
            int64_t n = 1 + (int64_t)(test_random(&random) % 9000);
            if (n > mm_chunkqueue_length(&from)) n = mm_chunkqueue_length(&from);
            CHECK_EQ(mm_chunkqueue_steal(&wire, &from, n), MM_STATUS_OK);
            status = mm_chunked_decode_queue(&d, &wire, &to);
            CHECK(mm_chunkqueue_check(&wire) && mm_chunkqueue_check(&to));
        }
        CHECK_EQ(status, MM_STATUS_OK);
        mm_chunkqueue_append_queue(&wire, &from);
        CHECK(holds(&wire, LITERAL("next")));
        CHECK(holds(&to, mm_buffer_slice(&expected)));
        mm_chunkqueue_deinit(&wire);
        mm_buffer_deinit(&expected);
        CHECK_SUB(finish());
    }
    mm_buffer_deinit(&coded);
}

TEST_MAIN(T(encodes), T(encodes_files), T(encodes_every_size), T(large_data_is_not_copied),
          T(encoder_refuses), T(hostile_sizes_are_not_framed), T(decodes_at_every_split),
          T(decodes_at_every_two_cuts), T(limits_by_default), T(limits_of_the_caller),
          T(trailers_are_kept_on_request), T(content_is_moved), T(content_is_dropped),
          T(decodes_through_files), T(small_framed_files_join_their_frames),
          T(watermarks_see_whole_frames), T(frames_keep_the_memory_limit),
          T(frames_that_spill_are_cut_anywhere), T(frames_keep_the_spill_threshold),
          T(every_failure_of_an_encoder),
          T(every_failure_of_a_decoder), T(what_is_coded_decodes))
