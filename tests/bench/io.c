/* Queues written to sockets, beside libevent's evbuffer_write of the same data and beside the bare
 * system calls, which are the limit: an answer with its headers in memory, bodies in memory and in
 * files, over a pair of sockets and over TCP on the loopback.
 *
 * A cycle fills the queue, and then writes and takes out at the other end by turns until all has
 * arrived; the other end looks at nothing, over TCP it does not even copy. What contestants do in a
 * cycle besides their own calls is therefore the same. */
#include "bench.h"
#include "../../mm_io.h"
#include <event2/buffer.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define LARGEST ((size_t)1 << 20)
#define HEAD 300    /* bytes: headers as a server's are */
#define SHARE 262144 /* bytes at most of a call, as in mm_io_write */

typedef struct job {
    bool tcp;      /* else a pair of sockets */
    bool file;     /* the body is a file, else memory */
    size_t pieces; /* that memory comes in */
    size_t body;   /* bytes of it */
} job;

static char bytes[LARGEST], sink[LARGEST];
static int pair[2], tcp[2]; /* the first end is written to */
static int file;
static mm_chunk_pool pool;
static mm_chunkqueue q;
static struct evbuffer *evbuffer;
static struct evbuffer_file_segment *segment;
static size_t arrived[4]; /* what has come out in the last cycle, by contestant */
static size_t whole;      /* what has to */

static const int *ends(const job *j)
{
    return j->tcp ? tcp : pair;
}

/* Takes out what has arrived; TCP drops it uncopied. */
static void take(const job *j, size_t *total)
{
    ssize_t n;
    do {
        n = j->tcp ? recv(tcp[1], NULL, LARGEST, MSG_TRUNC) : read(pair[1], sink, sizeof(sink));
        if (n > 0) *total += (size_t)n;
    } while (n > 0 && *total < whole);
}

static bool check_ours(const void *work)
{
    (void)work;
    return arrived[0] == whole;
}

static bool check_evbuffer(const void *work)
{
    (void)work;
    return arrived[1] == whole;
}

static bool check_limit(const void *work)
{
    (void)work;
    return arrived[2] == whole;
}

static bool check_fill(const void *work)
{
    (void)work;
    return arrived[3] == whole;
}

static void keep_open(void *ref, int change)
{
    (void)ref, (void)change;
}

static void fill(const job *j)
{
    size_t i;
    mm_chunkqueue_append_mem(&q, bytes, HEAD);
    if (j->file) mm_chunkqueue_append_fd_ref(&q, file, 0, (int64_t)j->body, keep_open, NULL);
    for (i = 0; i < j->pieces; i++)
        mm_chunkqueue_append_reference(&q, bytes, (int64_t)(j->body / j->pieces), NULL, NULL);
}

static void run_ours(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t total = 0;
        fill(j);
        while (total < whole) {
            int64_t written;
            mm_status status = mm_io_write(&q, ends(j)[0], 0, &written);
            if (status != MM_STATUS_OK && status != MM_STATUS_AGAIN && status != MM_STATUS_YIELD)
                return;
            take(j, &total);
        }
        arrived[0] = total;
    }
}

/* What of a cycle of ours is the queue's: it has to be filled and its pieces given back, which the
   limit has no need of. */
static void run_fill(const void *work, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        fill((const job *)work);
        arrived[3] = (size_t)mm_chunkqueue_length(&q);
        mm_chunkqueue_reset(&q);
    }
}

static void run_evbuffer(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t i, total = 0;
        evbuffer_add(evbuffer, bytes, HEAD);
        if (j->file) evbuffer_add_file_segment(evbuffer, segment, 0, (ev_off_t)j->body);
        for (i = 0; i < j->pieces; i++)
            evbuffer_add_reference(evbuffer, bytes, j->body / j->pieces, NULL, NULL);
        while (total < whole) {
            if (evbuffer_get_length(evbuffer) > 0 &&
                evbuffer_write_atmost(evbuffer, ends(j)[0], SHARE) < 0 && errno != EAGAIN)
                return;
            take(j, &total);
        }
        arrived[1] = total;
    }
}

/* One call for the headers with the memory, or for them and then those for the file. */
static ssize_t limit_write(const job *j, size_t sent)
{
    static struct iovec iov[1024];
    size_t i, piece = j->pieces > 0 ? j->body / j->pieces : 0, at = 0, room = SHARE;
    int count = 0;
    struct msghdr msg;
    if (j->file && sent >= HEAD) {
        off_t offset = (off_t)(sent - HEAD);
        size_t left = whole - sent;
        return sendfile(ends(j)[0], file, &offset, left < SHARE ? left : SHARE);
    }
    for (i = 0; i <= j->pieces && count < 1024 && room > 0; i++) {
        size_t size = i == 0 ? HEAD : piece, skip = sent > at ? sent - at : 0;
        at += size;
        if (skip >= size) continue;
        iov[count].iov_base = bytes + skip;
        iov[count].iov_len = size - skip < room ? size - skip : room;
        room -= iov[count++].iov_len;
    }
    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = iov;
    msg.msg_iovlen = (size_t)count;
    return sendmsg(ends(j)[0], &msg, MSG_NOSIGNAL | (j->file ? MSG_MORE : 0));
}

static void run_limit(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        size_t sent = 0, total = 0;
        while (total < whole) {
            size_t share = 0;
            ssize_t n = 0;
            while (sent < whole && share < SHARE && (n = limit_write(j, sent)) > 0) {
                sent += (size_t)n;
                share += (size_t)n;
            }
            if (n < 0 && errno != EAGAIN) return;
            take(j, &total);
        }
        arrived[2] = total;
    }
}

static void make_sockets(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int on = 1, l = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tcp[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 ||
        bind(l, (struct sockaddr *)&address, size) != 0 || listen(l, 1) != 0 ||
        getsockname(l, (struct sockaddr *)&address, &size) != 0 ||
        connect(tcp[1], (struct sockaddr *)&address, size) != 0)
        bench_fail("io", "sockets", "cannot be made");
    tcp[0] = accept(l, NULL, NULL);
    close(l);
    setsockopt(tcp[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    fcntl(tcp[0], F_SETFL, O_NONBLOCK);
    fcntl(tcp[1], F_SETFL, O_NONBLOCK);
}

static void make_file(void)
{
    char path[] = "/tmp/mm-bench-io-XXXXXX";
    file = mkstemp(path);
    if (file < 0 || write(file, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
        bench_fail("io", "file", "cannot be made");
    unlink(path);
    segment = evbuffer_file_segment_new(file, 0, (ev_off_t)LARGEST, 0);
}

static void row(const char *title, bool over_tcp, bool of_file, size_t body, size_t pieces)
{
    static const bench_contestant contestants[] = {
        {"mm_io_write", run_ours, check_ours},
        {"evbuffer_write", run_evbuffer, check_evbuffer},
        {"sendmsg, sendfile (limit)", run_limit, check_limit},
        {"queue filled, nothing sent", run_fill, check_fill}};
    job j;
    j.tcp = over_tcp;
    j.file = of_file;
    j.body = body;
    j.pieces = pieces;
    whole = HEAD + body;
    memset(arrived, 0, sizeof(arrived));
    bench_bytes = whole;
    BENCH(title, &j, 1, contestants);
}

int main(int argc, char **argv)
{
    static uint64_t seed = 1;
    size_t i;
    signal(SIGPIPE, SIG_IGN);
    for (i = 0; i < sizeof(bytes); i++) bytes[i] = (char)(bench_random(&seed) >> 56);
    if (mm_chunk_pool_init(&pool, NULL) != MM_STATUS_OK) return 1;
    mm_chunkqueue_init(&q, &pool);
    evbuffer = evbuffer_new();
    make_sockets();
    make_file();
    if (evbuffer == NULL || segment == NULL) return 1;
    bench_begin(argc, argv, "mm_io.h: queues to sockets");
    row("pair: 1 KiB of memory", false, false, 1024, 1);
    row("pair: 64 KiB of memory, 64 pieces", false, false, 65536, 64);
    row("pair: 1 MiB of memory, 128 pieces", false, false, LARGEST, 128);
    row("pair: file of 8 KiB", false, true, 8192, 0);
    row("pair: file of 64 KiB", false, true, 65536, 0);
    row("pair: file of 1 MiB", false, true, LARGEST, 0);
    row("TCP: 1 KiB of memory", true, false, 1024, 1);
    row("TCP: 64 KiB of memory, 64 pieces", true, false, 65536, 64);
    row("TCP: 1 MiB of memory, 128 pieces", true, false, LARGEST, 128);
    row("TCP: file of 8 KiB", true, true, 8192, 0);
    row("TCP: file of 64 KiB", true, true, 65536, 0);
    row("TCP: file of 1 MiB", true, true, LARGEST, 0);
    return bench_end();
}
