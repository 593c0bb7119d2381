/* mm_io.h: writing and reading queues, the open-file cache, descriptors. Built a second time as
   io_portable.c with the fallbacks for systems without sendfile and openat2. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The n-th call fails with `error`; transfers move at most `most` bytes. */
static struct shim {
    size_t calls, fail_at, most;
    int for_ever, error, open_fds;
    int nothing; /* a sendmsg takes no byte, and says so */
    int sip;     /* every other transfer is EAGAIN, and those between take one byte */
    int cold;    /* reads that do not wait find nothing */
    int unable;  /* sendfile cannot */
    size_t asked; /* bytes that sendfile was last to take */
    size_t reads, sends, advices, nowaits, fstats;
    int held;    /* the socket waits for more after what it was last given */
} shim;

static int shim_fails(void)
{
    shim.calls++;
    if (shim.fail_at == 0 || shim.calls < shim.fail_at) return 0;
    if (shim.calls > shim.fail_at && !shim.for_ever) return 0;
    errno = shim.error;
    return 1;
}

static size_t shim_short(size_t size)
{
    return shim.most != 0 && size > shim.most ? shim.most : size;
}

static int shim_opened(int fd)
{
    if (fd >= 0) shim.open_fds++;
    return fd;
}

static int shim_close(int fd)
{
    shim.open_fds--;
    return close(fd);
}

static int shim_sips(void)
{
    if (shim.sip == 0) return 0;
    shim.sip = 3 - shim.sip;
    errno = EAGAIN;
    return shim.sip == 2;
}

static ssize_t shim_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct msghdr one = *msg;
    struct iovec first = msg->msg_iov[0];
    size_t asked = 0, i;
    ssize_t n;
    if (shim_fails() || shim_sips()) return -1;
    if (shim.nothing) return 0;
    for (i = 0; i < (size_t)msg->msg_iovlen; i++) asked += msg->msg_iov[i].iov_len;
    if (shim.most != 0 || shim.sip != 0) {
        first.iov_len = shim.sip != 0 ? 1 : shim_short(first.iov_len);
        one.msg_iov = &first;
        one.msg_iovlen = 1;
    }
    n = sendmsg(fd, &one, flags);
    shim.sends++;
    if (n > 0) shim.held = (flags & MSG_MORE) != 0 && (size_t)n == asked;
    return n;
}

__attribute__((unused)) static ssize_t shim_sendfile(int to, int from, off_t *at, size_t size)
{
    ssize_t n = -1;
    shim.asked = size;
    size = shim.sip != 0 ? 1 : shim_short(size);
    errno = EINVAL;
    if (shim.unable) return -1;
    if (!shim_fails() && !shim_sips()) n = sendfile(to, from, at, size);
    if (n > 0) shim.held = 0;
    return n;
}

static int shim_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    if (level == IPPROTO_TCP && name == TCP_CORK && *(const int *)value == 0) shim.held = 0;
    return setsockopt(fd, level, name, value, size);
}

static ssize_t shim_readv(int fd, const struct iovec *iov, int count)
{
    shim.reads++;
    return shim_fails() ? -1 : readv(fd, iov, count);
}

__attribute__((unused)) static int shim_pipe2(int *fds, int flags)
{
    if (shim_fails() || pipe2(fds, flags) != 0) return -1;
    shim.open_fds += 2;
    return 0;
}

__attribute__((unused)) static ssize_t shim_splice(int from, int to, int64_t *at, size_t size,
                                                   unsigned flags)
{
    loff_t place = at == NULL ? 0 : *at;
    if (shim_fails()) return -1;
    return splice(from, NULL, to, at == NULL ? NULL : &place, shim_short(size), flags);
}

__attribute__((unused)) static ssize_t shim_nowait(int fd, void *bytes, size_t size, off_t at)
{
    shim.nowaits++;
    errno = EAGAIN;
    return shim.cold ? -1 : pread(fd, bytes, shim_short(size), at);
}

#define MM_SYS_OPEN(path, flags, mode) (shim_fails() ? -1 : shim_opened(open(path, flags, mode)))
#define MM_SYS_OPEN_TEMP(dir, name, flags, mode) \
    (shim_fails() ? -1 : shim_opened(openat(dir, name, flags, mode)))
#define MM_SYS_CLOSE(fd) shim_close(fd)
#define MM_SYS_FSTAT(fd, st) (shim.fstats++, shim_fails() ? -1 : fstat(fd, st))
#define MM_SYS_PREAD_NOWAIT(fd, bytes, size, at) \
    (shim_fails() ? -1 : shim_nowait(fd, bytes, size, at))
#define MM_SYS_FADVISE_WILLNEED(fd, at, size) (shim.advices++, (void)(at), (void)(size), 0)
#define MM_SYS_SETSOCKOPT(fd, level, name, value, size) \
    shim_setsockopt(fd, level, name, value, size)
#define MM_SYS_PREAD(fd, bytes, size, at) \
    (shim_fails() ? -1 : pread(fd, bytes, shim_short(size), at))
#define MM_SYS_READ(fd, bytes, size) (shim_fails() ? -1 : read(fd, bytes, shim_short(size)))
#define MM_SYS_READV(fd, iov, count) shim_readv(fd, iov, count)
#define MM_SYS_PIPE2(fds, flags) shim_pipe2(fds, flags)
#define MM_SYS_SPLICE(from, to, at, size, flags) shim_splice(from, to, at, size, flags)
#define MM_SYS_WRITEV(fd, iov, count) (shim_fails() ? -1 : writev(fd, iov, count))
#define MM_SYS_SENDMSG(fd, msg, flags) shim_sendmsg(fd, msg, flags)
#define MM_SYS_SENDFILE(to, from, at, size) shim_sendfile(to, from, at, size)
#define MM_SYS_OPENAT(dir, path, flags) (shim_fails() ? -1 : shim_opened(openat(dir, path, flags)))
#define MM_SYS_OPENAT2(dir, path, flags, resolve) \
    (shim_fails() ? -1 : shim_opened(mmi_openat2(dir, path, flags, resolve)))
#define MM_IMPLEMENTATION
#include "../../mm_io.h"

#include "../harness.h"

static void shim_fail(size_t n, int for_ever, int error)
{
    shim.calls = 0;
    shim.fail_at = n;
    shim.for_ever = for_ever;
    shim.error = error;
}

/* ---- fixtures: a folder, a pool, a queue, a pair of sockets ---- */

enum { FILE_SIZE = 100000 };
static char root[] = "/tmp/mm-test-io-XXXXXX";
static char file_bytes[FILE_SIZE];
static mm_chunk_pool pool;
static mm_chunkqueue q;
static test_allocator memory;
static int ours, theirs;

static const char *in_root(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static void put_file(const char *name, const char *bytes, size_t size)
{
    int fd = open(in_root(name), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) abort();
    close(fd);
}

static void fixture(void)
{
    mm_chunk_pool_desc desc;
    int pair[2];
    uint64_t seed = 7;
    size_t i;
    if (file_bytes[0] == 0 && file_bytes[1] == 0) {
        for (i = 0; i < FILE_SIZE; i++) file_bytes[i] = (char)test_random(&seed);
        if (mkdtemp(root) == NULL) abort();
        put_file("file", file_bytes, FILE_SIZE);
    }
    memset(&shim, 0, sizeof(shim));
    memset(&desc, 0, sizeof(desc));
    test_allocator_init(&memory);
    desc.allocator = &memory.base;
    if (mm_chunk_pool_init(&pool, &desc) != MM_STATUS_OK) abort();
    mm_chunkqueue_init(&q, &pool);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) abort();
    ours = pair[0];
    theirs = pair[1];
}

static void end(void)
{
    mm_chunkqueue_deinit(&q);
    if (ours >= 0) close(ours);
    if (theirs >= 0) close(theirs);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    CHECK_EQ(shim.open_fds, 0);
}

/* Takes what the peer can read now, behind what it has got. */
static void receive(char *to, size_t *length, size_t capacity)
{
    ssize_t n;
    while (*length < capacity && (n = read(theirs, to + *length, capacity - *length)) > 0)
        *length += (size_t)n;
}

/* Sends the whole queue while the peer reads, and compares. */
static void send_all(const char *expected, size_t size, int64_t most)
{
    char *got = malloc(size + 1);
    size_t length = 0;
    mm_status status = MM_STATUS_AGAIN;
    int turns = 0;
    CHECK(got != NULL);
    while (status == MM_STATUS_AGAIN || status == MM_STATUS_YIELD) {
        int64_t written, before = mm_chunkqueue_length(&q);
        status = mm_io_write(&q, ours, most, &written);
        if (before - mm_chunkqueue_length(&q) != written) test_fail(__FILE__, __LINE__, "written");
        if (most > 0 && written > most) test_fail(__FILE__, __LINE__, "more than `most`");
        if (shim.held) test_fail(__FILE__, __LINE__, "bytes held back");
        receive(got, &length, size + 1);
        if (++turns > 1000000) break;
    }
    receive(got, &length, size + 1);
    if (status != MM_STATUS_OK || length != size || memcmp(got, expected, size) != 0)
        test_fail(__FILE__, __LINE__, "bytes sent");
    free(got);
}

/* Memory, file, memory, file by name: 2 * FILE_SIZE + 11 bytes. */
static char mixed[2 * FILE_SIZE + 11];
static void fill_mixed(void)
{
    int fd = shim_opened(open(in_root("file"), O_RDONLY));
    memcpy(mixed, "header", 6);
    memcpy(mixed + 6, file_bytes, FILE_SIZE);
    memcpy(mixed + 6 + FILE_SIZE, "trail", 5);
    memcpy(mixed + 11 + FILE_SIZE, file_bytes, FILE_SIZE);
    mm_chunkqueue_append_mem(&q, "header", 6);
    CHECK_EQ(mm_chunkqueue_append_fd(&q, fd, 0, FILE_SIZE), MM_STATUS_OK);
    mm_chunkqueue_append_mem(&q, "trail", 5);
    CHECK_EQ(mm_chunkqueue_append_file(&q, in_root("file"), 0, FILE_SIZE), MM_STATUS_OK);
}

/* ---- writing and reading ---- */

TEST(write_mixed)
{
    int64_t written;
    fixture();
    CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_OK);
    CHECK_EQ(written, 0);
    CHECK_SUB(fill_mixed());
    CHECK_SUB(send_all(mixed, sizeof(mixed), 0));
    CHECK_SUB(end());
}

TEST(write_in_small_shares_and_short_writes)
{
    size_t most;
    for (most = 1; most < 40000; most = most * 3 + 1) {
        fixture();
        CHECK_SUB(fill_mixed());
        shim.most = most < 100 ? 0 : most / 7;
        CHECK_SUB(send_all(mixed, sizeof(mixed), (int64_t)most * 50));
        CHECK_SUB(end());
    }
}

TEST(write_many_chunks)
{
    size_t i;
    fixture();
    for (i = 0; i < 3000; i++) { /* more than fit into one call: none fills another's chunk */
        char *to;
        size_t room;
        to = mm_chunkqueue_get_memory(&q, 8000, &room);
        CHECK(to != NULL);
        memcpy(to, file_bytes + i, 20);
        mm_chunkqueue_use_memory(&q, 20);
        memcpy(mixed + i * 20, file_bytes + i, 20);
    }
    CHECK_SUB(send_all(mixed, 3000 * 20, 0));
    CHECK_SUB(end());
}

TEST(write_to_a_pipe)
{
    int pipe_fds[2];
    fixture();
    close(ours);
    close(theirs);
    CHECK_EQ(pipe2(pipe_fds, O_NONBLOCK), 0);
    ours = pipe_fds[1];
    theirs = pipe_fds[0];
    CHECK_SUB(fill_mixed());
    CHECK_SUB(send_all(mixed, sizeof(mixed), 0));
    CHECK_SUB(end());
}

TEST(write_to_a_peer_that_is_gone)
{
    int64_t written;
    fixture(); /* SIGPIPE has its default action here: it would end the test */
    mm_chunkqueue_append_mem(&q, "anybody?", 8);
    close(theirs);
    theirs = -1;
    CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_CLOSED);
    CHECK_EQ(mm_chunkqueue_length(&q), 8);
    CHECK_SUB(end());
}

TEST(write_of_a_file_cut_short)
{
    int64_t written, total = 0;
    mm_status status;
    char sink[65536];
    fixture();
    put_file("cut", file_bytes, 50000);
    mm_chunkqueue_append_file(&q, in_root("cut"), 0, 50000);
    CHECK_EQ(mm_io_write(&q, ours, 1000, &written), MM_STATUS_YIELD);
    total = written;
    CHECK_EQ(truncate(in_root("cut"), 20000), 0);
    while ((status = mm_io_write(&q, ours, 0, &written)) == MM_STATUS_OK ||
           status == MM_STATUS_AGAIN || status == MM_STATUS_YIELD) {
        total += written;
        while (read(theirs, sink, sizeof(sink)) > 0) continue;
    }
    CHECK_EQ(status, MM_STATUS_TRUNCATED);
    CHECK(total + written <= 20000); /* no padding */
    CHECK_EQ(mm_chunkqueue_length(&q), 50000 - total - written);
    unlink(in_root("cut"));
    CHECK_SUB(end());
}

/* Sends what is left while the peer reads; the last status, and all that has come in `sink`. */
static char sink[4 * FILE_SIZE];
static mm_status drain(size_t *length)
{
    int64_t written;
    mm_status status;
    do {
        status = mm_io_write(&q, ours, 0, &written);
        receive(sink, length, sizeof(sink));
        if (shim.held) test_fail(__FILE__, __LINE__, "bytes held back");
    } while (status == MM_STATUS_AGAIN || status == MM_STATUS_YIELD);
    return status;
}

/* What lies at the path when the sending begins is what the peer gets. */
TEST(file_replaced_by_rename_while_it_is_sent)
{
    int64_t written;
    size_t length = 0;
    char old[256];
    fixture();
    put_file("page", file_bytes, FILE_SIZE);
    put_file("new", "other bytes", 11);
    snprintf(old, sizeof(old), "%s", in_root("new"));
    mm_chunkqueue_append_mem(&q, "header", 6);
    mm_chunkqueue_append_fd(&q, shim_opened(open(in_root("page"), O_RDONLY)), 0, FILE_SIZE);
    CHECK_EQ(mm_io_write(&q, ours, 1000, &written), MM_STATUS_YIELD);
    CHECK_EQ(rename(old, in_root("page")), 0);
    CHECK_EQ(drain(&length), MM_STATUS_OK);
    CHECK(length == 6 + FILE_SIZE && memcmp(sink + 6, file_bytes, FILE_SIZE) == 0);
    unlink(in_root("page"));
    CHECK_SUB(end());
}

/* Rewritten, made longer, cut: at each step on the way the peer gets less than was announced. */
TEST(file_rewritten_while_it_is_sent)
{
    int64_t written;
    int how, by_name, share;
    for (how = 0; how < 3; how++)
        for (by_name = 0; by_name < 2; by_name++)
            for (share = 7; share < FILE_SIZE; share += 31000) {
                size_t length = 0;
                mm_status status;
                int fd;
                fixture();
                put_file("page", file_bytes, FILE_SIZE);
                fd = open(in_root("page"), O_RDWR);
                mm_chunkqueue_append_mem(&q, "header", 6);
                if (by_name) mm_chunkqueue_append_file(&q, in_root("page"), 0, FILE_SIZE);
                else mm_chunkqueue_append_fd(&q, shim_opened(dup(fd)), 0, FILE_SIZE);
                CHECK_EQ(mm_io_write(&q, ours, share, &written), MM_STATUS_YIELD);
                usleep(20000); /* the clock of a file system ticks slowly */
                if (how == 0) CHECK_EQ(pwrite(fd, "X", 1, FILE_SIZE - 1), 1);
                if (how == 1) CHECK_EQ(ftruncate(fd, FILE_SIZE + 5), 0);
                if (how == 2) CHECK_EQ(ftruncate(fd, FILE_SIZE - 5), 0);
                status = drain(&length);
                CHECK_EQ(status, how == 0   ? MM_STATUS_INVALID
                                 : how == 1 ? MM_STATUS_OK /* what is appended to goes on */
                                            : MM_STATUS_TRUNCATED);
                CHECK((length == 6 + FILE_SIZE) == (how == 1));
                CHECK(memcmp(sink + 6, file_bytes, length - 6) == 0);
                close(fd);
                unlink(in_root("page"));
                CHECK_SUB(end());
            }
}

TEST(small_file_leaves_with_its_header)
{
    int64_t written;
    size_t length = 0, calls;
    fixture();
    mm_chunkqueue_append_mem(&q, "header", 6);
    mm_chunkqueue_append_fd(&q, shim_opened(open(in_root("file"), O_RDONLY)), 100, 16000);
    calls = memory.calls;
    CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_OK);
    CHECK_EQ(written, 16006);
    CHECK_EQ(shim.sends, 1);
    CHECK_EQ(shim.fstats, 0);
    CHECK_EQ(memory.calls, calls); /* it takes no memory */
    receive(sink, &length, sizeof(sink));
    CHECK(length == 16006 && memcmp(sink + 6, file_bytes + 100, 16000) == 0);
    CHECK_SUB(end());
}

/* One byte, then EAGAIN, and so on: each place is one where a call ends, and goes on. */
TEST(again_at_every_byte)
{
    int small;
    for (small = 0; small < 2; small++) {
        int size = small ? 300 : 17000; /* more than is copied at once */
        fixture();
        shim.sip = 1;
        memcpy(mixed, "header", 6);
        memcpy(mixed + 6, file_bytes, (size_t)size);
        memcpy(mixed + 6 + size, "trail", 5);
        mm_chunkqueue_append_mem(&q, "header", 6);
        mm_chunkqueue_append_fd(&q, shim_opened(open(in_root("file"), O_RDONLY)), 0, size);
        mm_chunkqueue_append_mem(&q, "trail", 5);
        CHECK_SUB(send_all(mixed, 11 + (size_t)size, 0));
        CHECK_SUB(end());
    }
}

/* A socket that has taken a part is full: it is not asked again. A pipe may be, for less. */
TEST(full_socket_is_asked_once)
{
    int64_t written;
    size_t i, length = 0;
    fixture();
    for (i = 0; i < 20; i++)
        mm_chunkqueue_append_reference(&q, file_bytes, FILE_SIZE, NULL, NULL);
    CHECK_EQ(mm_io_write(&q, ours, INT64_MAX, &written), MM_STATUS_AGAIN);
    CHECK(written > 0 && written < 20 * FILE_SIZE);
    CHECK_EQ(shim.sends, 1);
    CHECK_EQ(mm_io_write(&q, ours, INT64_MAX, &written), MM_STATUS_AGAIN);
    CHECK_EQ(written, 0);
    receive(sink, &length, sizeof(sink));
    shim.sends = 0;
    CHECK_EQ(mm_io_write(&q, ours, INT64_MAX, &written), MM_STATUS_AGAIN);
    CHECK(written > 0);
    CHECK_EQ(shim.sends, 1);
    CHECK_SUB(end());
}

/* A share of the caller's is kept to; the one of 256 KiB ends with a page, as the file's pages have
   headers before them. */
TEST(share_of_a_file_ends_with_a_page)
{
#ifndef MM_IO_NO_SENDFILE
    static const int64_t shares[] = {0, 262144, 262150, 5000, 100};
    static const size_t asked[] = {262144, 258048, 262144, 4096, 94};
    size_t i;
    for (i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        int64_t written;
        int fd;
        fixture();
        put_file("large", file_bytes, FILE_SIZE);
        CHECK_EQ(truncate(in_root("large"), 600000), 0);
        fd = open(in_root("large"), O_RDONLY);
        mm_chunkqueue_append_mem(&q, "header", 6);
        mm_chunkqueue_append_fd(&q, shim_opened(fd), 0, 600000);
        (void)!mm_io_write(&q, ours, shares[i], &written); /* more than it takes, perhaps */
        CHECK(written > 6 && (shares[i] == 0 || written <= shares[i]));
        if (written == 6 + (int64_t)asked[i]) CHECK_EQ(shim.asked, asked[i]);
        unlink(in_root("large"));
        CHECK_SUB(end());
    }
#endif
}

TEST(nothing_is_held_back)
{
    int64_t written;
    fixture();
    mm_chunkqueue_append_mem(&q, "header", 6);
    mm_chunkqueue_append_file(&q, in_root("none"), 0, FILE_SIZE);
    CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_NOT_FOUND);
    CHECK_EQ(written, 6);
    CHECK_EQ(shim.held, 0);
    CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_NOT_FOUND);
    CHECK_EQ(written, 0);
    CHECK_EQ(mm_chunkqueue_length(&q), FILE_SIZE);
    CHECK_SUB(end());
}

#ifdef MM_CHUNK_NO_NOWAIT
#define TELLS_COLD 0 /* files are read, however long that takes */
#else
#define TELLS_COLD 1
#endif

/* The disk is told, the others have their turn, and the next call waits. */
TEST(cold_files_yield)
{
    int64_t written;
    size_t length = 0;
    int small, unable;
    for (small = 0; small < 2; small++)
        for (unable = 0; unable < 2; unable++) {
            int size = small ? 5000 : FILE_SIZE;
            fixture();
            shim.cold = 1;
            shim.unable = unable;
            length = 0;
            mm_chunkqueue_append_mem(&q, "header", 6);
            mm_chunkqueue_append_fd(&q, shim_opened(open(in_root("file"), O_RDONLY)), 0, size);
            CHECK(!mm_io_waits_for_disk(&q));
            if (TELLS_COLD) {
                CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_YIELD);
                CHECK_EQ(written, small ? 0 : 6); /* what is small comes in one piece, but later */
                CHECK(mm_io_waits_for_disk(&q));
            }
            CHECK_EQ(shim.held, 0);
            CHECK_EQ(drain(&length), MM_STATUS_OK);
            CHECK(!mm_io_waits_for_disk(&q));
            CHECK(length == 6 + (size_t)size && memcmp(sink + 6, file_bytes, (size_t)size) == 0);
            CHECK_SUB(end());
        }
}

/* A busy file behind one that has become unreadable does not keep the error away. */
TEST(cold_file_behind_a_broken_one)
{
    int64_t written;
    fixture();
    put_file("cut", file_bytes, 100);
    mm_chunkqueue_append_mem(&q, "header", 6);
    mm_chunkqueue_append_fd(&q, shim_opened(open(in_root("cut"), O_RDONLY)), 0, 100);
    mm_chunkqueue_append_fd(&q, shim_opened(open(in_root("file"), O_RDONLY)), 0, 100);
    shim.cold = 1;
    if (TELLS_COLD) {
        CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_YIELD);
        CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_YIELD);
    }
    shim.cold = 0;
    CHECK_EQ(truncate(in_root("cut"), 50), 0);
    CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_TRUNCATED);
    CHECK(written <= 56);
    unlink(in_root("cut"));
    CHECK_SUB(end());
}

/* A connection over TCP in place of the pair of sockets. */
static void use_tcp(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int l = socket(AF_INET, SOCK_STREAM, 0);
    close(ours);
    close(theirs);
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    theirs = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(l, (struct sockaddr *)&address, size) != 0 || listen(l, 1) != 0 ||
        getsockname(l, (struct sockaddr *)&address, &size) != 0 ||
        connect(theirs, (struct sockaddr *)&address, size) != 0)
        abort();
    ours = accept4(l, NULL, NULL, SOCK_NONBLOCK);
    if (ours < 0 || fcntl(theirs, F_SETFL, O_NONBLOCK) != 0) abort();
    close(l);
}

static void reset_peer(void)
{
    struct linger at_once = {1, 0};
    if (theirs < 0) return;
    setsockopt(theirs, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(theirs);
    theirs = -1;
}

TEST(write_mixed_over_tcp)
{
    fixture();
    use_tcp();
    CHECK_SUB(fill_mixed());
    CHECK_SUB(send_all(mixed, sizeof(mixed), 0));
    CHECK_SUB(end());
}

/* SIGPIPE has its default action here: it would end the test. */
TEST(peer_resets_while_a_file_is_sent)
{
    int64_t written;
    int i;
    mm_status status = MM_STATUS_YIELD;
    for (i = 0; i < 2; i++) {
        fixture();
        use_tcp();
        mm_chunkqueue_append_fd(&q, shim_opened(open(in_root("file"), O_RDONLY)), 0, FILE_SIZE);
        if (i == 0) CHECK_EQ(mm_io_write(&q, ours, 10, &written), MM_STATUS_YIELD);
        reset_peer();
        /* ECONNRESET once, and from then on EPIPE */
        status = mm_io_write(&q, ours, 0, &written);
        CHECK_EQ(status, MM_STATUS_CLOSED);
        status = mm_io_write(&q, ours, 0, &written);
        CHECK_EQ(status, MM_STATUS_CLOSED);
        CHECK_EQ(written, 0);
        CHECK(mm_chunkqueue_check(&q));
        CHECK_SUB(end());
    }
}

TEST(reader_of_a_pipe_goes_away)
{
    int64_t written;
    int fds[2];
    fixture();
    CHECK_EQ(pipe2(fds, O_NONBLOCK), 0);
    close(fds[0]);
    mm_chunkqueue_append_mem(&q, "text", 4);
    CHECK_EQ(mm_io_write(&q, fds[1], 0, &written), MM_STATUS_CLOSED);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_append_file(&q, in_root("file"), 0, 50000);
    CHECK_EQ(mm_io_write(&q, fds[1], 0, &written), MM_STATUS_CLOSED);
    close(fds[1]);
    CHECK_SUB(end());
}

static volatile sig_atomic_t pipes_broken;

static void count_sigpipe(int number)
{
    (void)number;
    pipes_broken++;
}

/* A SIGPIPE that was waiting before is the program's, and so is the mask. */
TEST(sigpipe_of_others_stays)
{
    int64_t written;
    int fds[2];
    sigset_t set, old, now;
    fixture();
    CHECK_EQ(pipe2(fds, O_NONBLOCK), 0);
    close(fds[0]);
    pipes_broken = 0;
    signal(SIGPIPE, count_sigpipe);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    CHECK_EQ(sigprocmask(SIG_BLOCK, &set, &old), 0);
    mm_chunkqueue_append_mem(&q, "text", 4);
    CHECK_EQ(mm_io_write(&q, fds[1], 0, &written), MM_STATUS_CLOSED);
    CHECK(sigpending(&now) == 0 && !sigismember(&now, SIGPIPE)); /* it was ours */
    raise(SIGPIPE);
    CHECK_EQ(mm_io_write(&q, fds[1], 0, &written), MM_STATUS_CLOSED);
    CHECK(sigpending(&now) == 0 && sigismember(&now, SIGPIPE)); /* it is not */
    CHECK(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGPIPE));
    CHECK_EQ(sigprocmask(SIG_SETMASK, &old, NULL), 0);
    CHECK_EQ(pipes_broken, 1);
    CHECK_EQ(mm_io_write(&q, fds[1], 0, &written), MM_STATUS_CLOSED);
    CHECK_EQ(pipes_broken, 1);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && !sigismember(&now, SIGPIPE));
    signal(SIGPIPE, SIG_DFL);
    close(fds[1]);
    CHECK_SUB(end());
}

TEST(write_to_a_full_disk)
{
    int64_t written;
    int fd = open("/dev/full", O_WRONLY);
    fixture();
    CHECK(fd >= 0);
    mm_chunkqueue_append_mem(&q, "text", 4);
    CHECK_EQ(mm_io_write(&q, fd, 0, &written), MM_STATUS_NO_SPACE);
    CHECK_EQ(mm_chunkqueue_length(&q), 4);
    close(fd);
    CHECK_SUB(end());
}

TEST(sendfile_that_is_not_supported_falls_back)
{
    fixture();
    CHECK_SUB(fill_mixed());
#ifndef MM_IO_NO_SENDFILE
    shim_fail(3, 0, EINVAL); /* sendmsg, a look, then the first sendfile */
#endif
    CHECK_SUB(send_all(mixed, sizeof(mixed), 0));
    CHECK_SUB(end());
}

TEST(every_call_of_a_write_fails)
{
    static const int errors[] = {EINTR, EAGAIN, EIO, ECONNRESET, ENOMEM};
    size_t e, n, points = 0;
    for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        int faults = 1;
        for (n = 1; faults; n++, points++) {
            int64_t written, total = 0;
            char got[sizeof(mixed) + 1];
            size_t length = 0;
            mm_status status = MM_STATUS_OK;
            fixture();
            CHECK_SUB(fill_mixed());
            shim.most = 17000;
            shim_fail(n, 0, errors[e]);
            while (!mm_chunkqueue_is_empty(&q)) { /* after an error the next call goes on */
                status = mm_io_write(&q, ours, 0, &written);
                total += written;
                receive(got, &length, sizeof(got));
            }
            receive(got, &length, sizeof(got));
            faults = shim.calls >= n;
            CHECK_EQ(status, MM_STATUS_OK);
            CHECK_EQ(total, sizeof(mixed));
            CHECK(length == sizeof(mixed) && memcmp(got, mixed, length) == 0);
            CHECK_SUB(end());
        }
    }
    CHECK(points > 50);
}

TEST(read_until_the_end)
{
    size_t got, total = 0;
    mm_status status;
    fixture();
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_AGAIN);
    CHECK(q.first == NULL && pool.stats.memory == 0); /* nothing is held while waiting */
    CHECK_EQ(write(theirs, file_bytes, 20000), 20000);
    while ((status = mm_io_read(&q, ours, 0, &got)) == MM_STATUS_OK) total += got;
    CHECK_EQ(status, MM_STATUS_AGAIN);
    CHECK_EQ(total, 20000);
    close(theirs);
    theirs = -1;
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_CLOSED);
    CHECK(mm_chunkqueue_check(&q));
    CHECK(memcmp(mm_chunkqueue_contiguous(&q, 20000, &status), file_bytes, 20000) == 0);
    CHECK_SUB(end());
}

/* What was lost by a failed append must not be followed by more. */
TEST(read_after_a_failed_append)
{
    size_t got;
    fixture();
    test_allocator_fail(&memory, 1, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "lost", 4), MM_STATUS_NO_MEMORY);
    CHECK_EQ(write(theirs, "more", 4), 4);
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_NO_MEMORY);
    CHECK_EQ(mm_chunkqueue_length(&q), 0);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_file(&q, in_root("file"), 0, INT64_MAX - 4), MM_STATUS_OK);
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_TOO_LARGE);
    CHECK(mm_chunkqueue_check(&q));
    CHECK_SUB(end());
}

TEST(write_that_takes_nothing_ends)
{
    int64_t written;
    fixture();
    mm_chunkqueue_append_mem(&q, "stuck", 5);
    shim.nothing = 1;
    CHECK_EQ(mm_io_write(&q, ours, 0, &written), MM_STATUS_IO);
    CHECK_EQ(mm_chunkqueue_length(&q), 5);
    CHECK_SUB(end());
}

TEST(read_faults_and_spill)
{
    size_t got;
    int64_t length;
    fixture();
    mm_chunkqueue_set_spill(&q, 5000);
    CHECK_EQ(write(theirs, file_bytes, 20000), 20000);
    shim_fail(1, 0, EINTR);
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_OK);
    CHECK_EQ(q.memory, 0); /* 8192 bytes came: beyond the threshold */
    shim_fail(1, 0, EIO);
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_IO);
    shim_fail(0, 0, 0);
    test_allocator_fail(&memory, 1, 1);
    mm_chunk_pool_trim(&pool, 0);
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_NO_MEMORY);
    test_allocator_fail(&memory, 0, 0);
    length = mm_chunkqueue_length(&q);
    CHECK_EQ(length, 8192);
    CHECK_EQ(mm_io_read(&q, ours, 0, &got), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_length(&q), length + (int64_t)got);
    CHECK_SUB(end());
}

/* The room doubles as long as it is filled, and then one call takes all. */
TEST(read_all_in_few_calls)
{
    mm_io_pace pace = {0};
    int64_t got, total = 0;
    mm_status status;
    size_t i;
    int big = 1 << 20;
    fixture();
    setsockopt(theirs, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
    CHECK_EQ(mm_io_read_all(&q, ours, &pace, 0, &got), MM_STATUS_AGAIN);
    CHECK(got == 0 && pool.stats.memory == 0);
    for (i = 0; i < 3; i++) {
        CHECK_EQ(write(theirs, file_bytes, 60000), 60000);
        shim.reads = 0;
        CHECK_EQ(mm_io_read_all(&q, ours, &pace, 0, &got), MM_STATUS_OK);
        CHECK_EQ(got, 60000);
        CHECK(shim.reads <= (i == 0 ? 5 : 2));
        CHECK(mm_chunkqueue_check(&q));
        CHECK(memcmp(mm_chunkqueue_contiguous(&q, 60000, &status), file_bytes, 60000) == 0);
        mm_chunkqueue_reset(&q);
    }
    for (i = 0; i < 8; i++) {
        CHECK_EQ(write(theirs, "few", 3), 3);
        CHECK_EQ(mm_io_read_all(&q, ours, &pace, 0, &got), MM_STATUS_OK);
        CHECK_EQ(got, 3);
    }
    CHECK(pace.size < 2048);
    CHECK_EQ(write(theirs, file_bytes, 60000), 60000);
    while ((status = mm_io_read_all(&q, ours, &pace, 7, &got)) == MM_STATUS_YIELD) {
        CHECK_EQ(got, 7);
        total += got;
    }
    CHECK_EQ(status, MM_STATUS_OK);
    CHECK_EQ(total + got, 60000);
    close(theirs);
    theirs = -1;
    CHECK_EQ(mm_io_read_all(&q, ours, &pace, 0, &got), MM_STATUS_CLOSED);
    CHECK_SUB(end());
}

/* An upload of 100,000 bytes through a pipe, with the n-th call failing. */
static mm_status upload(size_t n, int error, size_t most, int64_t *total)
{
    mm_io_pipe pipe = {{-1, -1}};
    mm_status status = MM_STATUS_OK, made;
    int64_t got;
    size_t sent = 0;
    int tries = 0;
    shim_fail(n, 0, error);
    shim.most = most;
    made = mm_io_pipe_init(&pipe);
    *total = 0;
    do {
        ssize_t w = sent == FILE_SIZE ? 0 : write(theirs, file_bytes + sent, FILE_SIZE - sent);
        if (w > 0) sent += (size_t)w;
        if (sent == FILE_SIZE) shutdown(theirs, SHUT_WR);
        status = mm_io_splice(&q, ours, &pipe, 0, &got);
        *total += got;
        if (status == MM_STATUS_NO_SPACE || status == MM_STATUS_IO || status == MM_STATUS_NO_MEMORY)
            mm_chunkqueue_clear_status(&q);
    } while (status != MM_STATUS_CLOSED && ++tries < 100000);
    (void)made;
    mm_io_pipe_deinit(&pipe);
    return status;
}

TEST(upload_to_disk_without_copies)
{
    int64_t total;
    size_t most;
    for (most = 0; most < 20000; most = most * 3 + 777) {
        mm_status status;
        fixture();
        mm_chunkqueue_append_mem(&q, "before", 6);
        CHECK_EQ(upload(0, 0, most, &total), MM_STATUS_CLOSED);
        CHECK_EQ(total, FILE_SIZE);
        CHECK_EQ(q.memory, 0);
        CHECK(mm_chunkqueue_check(&q));
        CHECK_EQ(mm_chunkqueue_length(&q), 6 + FILE_SIZE);
        CHECK(memcmp(mm_chunkqueue_contiguous(&q, 6 + FILE_SIZE, &status) + 6, file_bytes,
                     FILE_SIZE) == 0);
        CHECK_SUB(end());
    }
}

/* Whatever fails, no byte is lost or doubled: what the disk does not take stays in memory. */
TEST(every_call_of_an_upload_fails)
{
    static const int errors[] = {ENOSPC, EINTR, EAGAIN, EIO};
    size_t e, n;
    for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        int more = 1;
        for (n = 1; more; n++) {
            int64_t total;
            mm_status status;
            fixture();
            CHECK_EQ(upload(n, errors[e], 9000, &total), MM_STATUS_CLOSED);
            more = shim.calls >= n;
            shim_fail(0, 0, 0);
            CHECK_EQ(mm_chunkqueue_length(&q), FILE_SIZE);
            CHECK(mm_chunkqueue_check(&q));
            CHECK(memcmp(mm_chunkqueue_contiguous(&q, FILE_SIZE, &status), file_bytes,
                         FILE_SIZE) == 0);
            CHECK_SUB(end());
        }
    }
}

/* ---- descriptors ---- */

TEST(fd_budget_counts)
{
    mm_fd_budget budget;
    size_t limit;
    memset(&budget, 0, sizeof(budget));
    budget.limit = 2;
    CHECK(mm_fd_budget_take(&budget) && mm_fd_budget_take(&budget));
    CHECK(!mm_fd_budget_take(&budget) && mm_fd_budget_taken(&budget) == 2);
    mm_fd_budget_give(&budget);
    CHECK(mm_fd_budget_take(&budget));
    CHECK(mm_fd_budget_take(NULL));
    mm_fd_budget_give(NULL);
    CHECK_EQ(mm_fd_limit_raise(64, &limit), MM_STATUS_OK);
    CHECK(limit >= 1 && limit <= 64);
    CHECK_EQ(mm_fd_limit_raise(0, &limit), MM_STATUS_OK);
    CHECK(limit > 0 && limit <= 1048576);
}

/* ---- open files ---- */

static mm_filecache cache;
static mm_fd_budget fds;

static void cache_begin(size_t max_entries, bool follow)
{
    mm_filecache_desc desc;
    fixture();
    memset(&desc, 0, sizeof(desc));
    fds.limit = 10000;
    fds.taken = 0;
    desc.root = root;
    desc.follow = follow;
    desc.max_entries = max_entries;
    desc.valid_ms = 1000;
    desc.fds = &fds;
    desc.allocator = &memory.base;
    CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_OK);
}

static void cache_end(void)
{
    CHECK_EQ(mm_filecache_deinit(&cache), 0);
    CHECK_EQ(fds.taken, 0);
    CHECK_SUB(end());
}

static mm_status cache_open(const char *path, int64_t now, mm_file **file)
{
    mm_status status = mm_filecache_open(&cache, mm_slice_from_string(path), now, file);
    if (!mm_filecache_check(&cache)) test_fail(__FILE__, __LINE__, "cache check");
    return status;
}

static mm_status cache_probe(const char *path, int64_t now)
{
    mm_file *file;
    mm_status status = cache_open(path, now, &file);
    if (status == MM_STATUS_OK) mm_file_release(file);
    return status;
}

TEST(cache_entity)
{
    mm_file *file, *again;
    CHECK_SUB(cache_begin(10, false));
    CHECK_EQ(cache_open("file", 0, &file), MM_STATUS_OK);
    CHECK(file->size == FILE_SIZE && !file->is_directory && file->fd >= 0 && file->ino != 0);
    CHECK(file->etag[0] == '"' && file->etag[strlen(file->etag) - 1] == '"');
    CHECK_EQ(cache_open("file", 999, &again), MM_STATUS_OK);
    CHECK(again == file && file->refs == 3 && cache.stats.hits == 1);
    mm_file_release(again);
    mm_file_release(file);
    CHECK_EQ(cache_open("", 0, &file), MM_STATUS_OK);
    CHECK(file->is_directory);
    mm_file_release(file);
    CHECK_EQ(fds.taken, 2);
    CHECK_SUB(cache_end());
}

TEST(cache_bad_paths)
{
    static const char *const bad[] = {"/", "/file", "file/", "a//b", ".", "..", "../x", "a/../b",
                                      "a/.", "./file", "a/.."};
    char *long_path;
    size_t i;
    mm_file *file;
    CHECK_SUB(cache_begin(10, false));
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_EQ(cache_probe(bad[i], 0), MM_STATUS_INVALID);
    CHECK_EQ(mm_filecache_open(&cache, mm_slice_make("fi\0le", 5), 0, &file), MM_STATUS_INVALID);
    long_path = calloc(1, 5001);
    memset(long_path, 'a', 5000);
    CHECK_EQ(cache_probe(long_path, 0), MM_STATUS_INVALID);
    free(long_path);
    CHECK_EQ(cache_probe("none", 0), MM_STATUS_NOT_FOUND);
    CHECK_EQ(cache_probe("file/below", 0), MM_STATUS_NOT_FOUND);
    CHECK_EQ(fds.taken, 0);
    CHECK_SUB(cache_end());
}

TEST(cache_stays_beneath_the_root)
{
    mm_status inside;
    CHECK_SUB(cache_begin(10, false));
    CHECK_EQ(symlink("/etc/passwd", in_root("out")), 0);
    CHECK_EQ(symlink("/etc", in_root("outdir")), 0);
    CHECK_EQ(symlink("file", in_root("inside")), 0);
    CHECK_EQ(mkfifo(in_root("fifo"), 0600), 0);
    CHECK_EQ(mkdir(in_root("sub"), 0700), 0);
    put_file("sub/leaf", "leaf", 4);
    CHECK_EQ(cache_probe("out", 0), MM_STATUS_DENIED);
    CHECK(cache_probe("outdir/passwd", 0) != MM_STATUS_OK);
    CHECK_EQ(cache_probe("fifo", 0), MM_STATUS_DENIED);
    CHECK_EQ(cache_probe("sub/leaf", 0), MM_STATUS_OK);
    inside = cache_probe("inside", 0); /* openat2 follows it; the portable way refuses all links */
#ifdef MMI_HAVE_OPENAT2
    CHECK_EQ(inside, cache.no_openat2 ? MM_STATUS_DENIED : MM_STATUS_OK);
#else
    CHECK_EQ(inside, MM_STATUS_DENIED);
#endif
    CHECK_SUB(cache_end());
    CHECK_SUB(cache_begin(10, true));
    CHECK_EQ(cache_probe("out", 0), MM_STATUS_OK);
    CHECK_EQ(cache_probe("inside", 0), MM_STATUS_OK);
    CHECK_EQ(cache_probe("fifo", 0), MM_STATUS_DENIED);
    unlink(in_root("out"));
    unlink(in_root("outdir"));
    unlink(in_root("inside"));
    unlink(in_root("fifo"));
    unlink(in_root("sub/leaf"));
    rmdir(in_root("sub"));
    CHECK_SUB(cache_end());
}

TEST(cache_sees_changes_and_keeps_readers)
{
    mm_file *old, *fresh;
    char byte, from[256];
    CHECK_SUB(cache_begin(10, false));
    put_file("page", "old", 3);
    CHECK_EQ(cache_open("page", 0, &old), MM_STATUS_OK);
    put_file("page.new", "fresh", 5);
    snprintf(from, sizeof(from), "%s", in_root("page.new"));
    CHECK_EQ(rename(from, in_root("page")), 0);
    CHECK_EQ(cache_open("page", 1, &fresh), MM_STATUS_OK); /* at once */
    CHECK(fresh != old && fresh->size == 5 && strcmp(fresh->etag, old->etag) != 0);
    CHECK(pread(old->fd, &byte, 1, 0) == 1 && byte == 'o'); /* the reader has the old bytes still */
    mm_file_release(fresh);
    unlink(in_root("page"));
    CHECK_EQ(cache_probe("page", 2), MM_STATUS_NOT_FOUND);
    put_file("page", "four", 4);
    CHECK_EQ(cache_open("page", 3, &fresh), MM_STATUS_OK);
    mm_file_release(fresh);
    put_file("page", "fiver", 5); /* in place */
    CHECK_EQ(cache_open("page", 3, &fresh), MM_STATUS_OK);
    CHECK_EQ(fresh->size, 5);
    mm_file_release(fresh);
    unlink(in_root("page"));
    CHECK_EQ(mm_filecache_deinit(&cache), 1);
    mm_file_release(old);
    CHECK_SUB(cache_end());
}

/* The path of a cached file comes to lead out of the root: the entry goes, though the file is the
   same. */
TEST(cache_sees_a_path_leave_the_root)
{
    char outside[] = "/tmp/mm-test-out-XXXXXX", inside[256], moved[256];
    CHECK_SUB(cache_begin(10, false));
    CHECK(mkdtemp(outside) != NULL);
    CHECK_EQ(mkdir(in_root("way"), 0700), 0);
    put_file("way/leaf", "leaf", 4);
    CHECK_EQ(cache_probe("way/leaf", 0), MM_STATUS_OK);
    snprintf(inside, sizeof(inside), "%s", in_root("way"));
    snprintf(moved, sizeof(moved), "%s/way", outside);
    CHECK_EQ(rename(inside, moved), 0);
    CHECK_EQ(symlink(moved, inside), 0);
    CHECK(cache_probe("way/leaf", 5000) != MM_STATUS_OK);
    unlink(inside);
    CHECK_EQ(rename(moved, inside), 0);
    unlink(in_root("way/leaf"));
    rmdir(inside);
    rmdir(outside);
    CHECK_SUB(cache_end());
}

/* Rewritten in place with the same size, and the time put back: rsync --inplace --times does
   that. */
TEST(cache_tells_a_rewritten_file)
{
    mm_file *file;
    char before[sizeof(file->etag)];
    struct timespec times[2] = {{1000, 0}, {1000, 0}};
    int fd;
    CHECK_SUB(cache_begin(10, false));
    put_file("page", "one", 3);
    CHECK_EQ(utimensat(AT_FDCWD, in_root("page"), times, 0), 0);
    CHECK_EQ(cache_open("page", 0, &file), MM_STATUS_OK);
    memcpy(before, file->etag, sizeof(before));
    mm_file_release(file);
    do { /* until the clock of the file system has moved on */
        fd = open(in_root("page"), O_WRONLY);
        CHECK(fd >= 0 && write(fd, "two", 3) == 3);
        close(fd);
        CHECK_EQ(utimensat(AT_FDCWD, in_root("page"), times, 0), 0);
        mm_filecache_trim(&cache, 0);
        CHECK_EQ(cache_open("page", 5000, &file), MM_STATUS_OK);
        fd = strcmp(before, file->etag) == 0;
        mm_file_release(file);
    } while (fd);
    unlink(in_root("page"));
    CHECK_SUB(cache_end());
}

TEST(cache_without_openat2_allowed)
{
    mm_filecache_desc desc;
    fixture();
    memset(&desc, 0, sizeof(desc));
    desc.root = root;
    desc.allocator = &memory.base;
    shim_fail(2, 0, EPERM); /* as some sandboxes answer; the first call opens the root */
    CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_OK);
    shim_fail(0, 0, 0);
    CHECK_EQ(cache_probe("file", 0), MM_STATUS_OK);
#ifdef MMI_HAVE_OPENAT2
    CHECK(cache.no_openat2);
    shim_fail(1, 1, EAGAIN); /* a lease, or endless renames: no endless loop */
    cache.no_openat2 = false;
    CHECK_EQ(cache_probe("fresh", 0), MM_STATUS_AGAIN);
    shim_fail(0, 0, 0);
#endif
    CHECK_EQ(mm_filecache_deinit(&cache), 0);
    CHECK_SUB(end());
}

TEST(cache_is_bounded)
{
    char name[32];
    mm_file *held, *file;
    int i;
    CHECK_SUB(cache_begin(20, false));
    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "many-%d", i);
        put_file(name, name, strlen(name));
    }
    CHECK_EQ(cache_open("many-0", 0, &held), MM_STATUS_OK);
    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "many-%d", i);
        CHECK_EQ(cache_open(name, 0, &file), MM_STATUS_OK);
        CHECK_EQ(file->size, strlen(name));
        mm_file_release(file);
    }
    CHECK(cache.stats.entries <= 20 && fds.taken <= 21);
    CHECK_EQ(cache_probe("many-299", 0), MM_STATUS_OK);
    CHECK(cache.stats.hits >= 1);
    CHECK(fcntl(held->fd, F_GETFD) >= 0); /* never closed under a reader */
    mm_file_release(held);
    mm_filecache_trim(&cache, 5);
    CHECK(cache.stats.entries == 5 && mm_filecache_check(&cache));
    fds.limit = 5; /* no descriptor left: unused entries make room */
    CHECK_EQ(cache_probe("many-7", 0), MM_STATUS_OK);
    CHECK(fds.taken <= 5);
    fds.limit = 0;
    CHECK_EQ(cache_probe("many-8", 0), MM_STATUS_NO_FILES);
    fds.limit = 10000;
    shim_fail(1, 1, EMFILE);
    CHECK_EQ(cache_probe("many-9", 0), MM_STATUS_NO_FILES);
    shim_fail(0, 0, 0);
    CHECK_EQ(cache_probe("many-9", 0), MM_STATUS_OK);
    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "many-%d", i);
        unlink(in_root(name));
    }
    CHECK_SUB(cache_end());
}

TEST(cache_survives_every_fault)
{
    static const int errors[] = {EIO, EINTR, EMFILE, EACCES, ENOMEM};
    size_t e, n;
    for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++)
        for (n = 1; n < 8; n++) {
            CHECK_SUB(cache_begin(3, false));
            shim_fail(n, 0, errors[e]);
            (void)cache_probe("file", 0);
            (void)cache_probe("file", 5000);
            (void)cache_probe("", 0);
            shim_fail(0, 0, 0);
            test_allocator_fail(&memory, 1 + n % 2, 0);
            (void)cache_probe("none", 9000);
            (void)cache_probe("file", 9000);
            test_allocator_fail(&memory, 0, 0);
            CHECK_EQ(cache_probe("file", 9001), MM_STATUS_OK);
            CHECK_SUB(cache_end());
        }
    for (n = 1; n < 6; n++) {
        mm_filecache_desc desc;
        fixture();
        memset(&desc, 0, sizeof(desc));
        desc.root = root;
        desc.allocator = &memory.base;
        shim_fail(n, 0, EIO);
        if (mm_filecache_init(&cache, &desc) == MM_STATUS_OK)
            CHECK_EQ(mm_filecache_deinit(&cache), 0);
        shim_fail(0, 0, 0);
        test_allocator_fail(&memory, 1, 0);
        CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_NO_MEMORY);
        test_allocator_fail(&memory, 0, 0);
        desc.root = in_root("file");
        CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_NOT_FOUND);
        desc.root = in_root("none");
        CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_NOT_FOUND);
        CHECK_SUB(end());
    }
}

TEST(cache_file_in_a_queue)
{
    mm_file *file;
    CHECK_SUB(cache_begin(1, false));
    CHECK_EQ(cache_open("file", 0, &file), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_fd_ref(&q, file->fd, 0, 10, mm_file_refchg, file), MM_STATUS_OK);
    mm_file_release(file);
    put_file("other", "o", 1);
    CHECK_EQ(cache_probe("other", 0), MM_STATUS_OK); /* wants the only place in the table */
    CHECK_SUB(send_all(file_bytes, 10, 0));
    unlink(in_root("other"));
    unlink(in_root("file"));
    CHECK_SUB(cache_end());
    rmdir(root);
}

TEST_MAIN(T(write_mixed), T(write_in_small_shares_and_short_writes), T(write_many_chunks),
          T(write_to_a_pipe), T(write_to_a_peer_that_is_gone), T(write_of_a_file_cut_short),
          T(file_replaced_by_rename_while_it_is_sent), T(file_rewritten_while_it_is_sent),
          T(small_file_leaves_with_its_header), T(again_at_every_byte), T(nothing_is_held_back),
          T(full_socket_is_asked_once), T(share_of_a_file_ends_with_a_page),
          T(cold_files_yield), T(cold_file_behind_a_broken_one),
          T(write_mixed_over_tcp), T(peer_resets_while_a_file_is_sent),
          T(reader_of_a_pipe_goes_away), T(sigpipe_of_others_stays), T(write_to_a_full_disk),
          T(sendfile_that_is_not_supported_falls_back), T(every_call_of_a_write_fails),
          T(read_until_the_end), T(read_after_a_failed_append), T(write_that_takes_nothing_ends),
          T(read_faults_and_spill), T(read_all_in_few_calls),
          T(upload_to_disk_without_copies), T(every_call_of_an_upload_fails),
          T(fd_budget_counts), T(cache_entity),
          T(cache_bad_paths), T(cache_stays_beneath_the_root),
          T(cache_sees_changes_and_keeps_readers), T(cache_sees_a_path_leave_the_root),
          T(cache_tells_a_rewritten_file), T(cache_without_openat2_allowed), T(cache_is_bounded),
          T(cache_survives_every_fault), T(cache_file_in_a_queue))
