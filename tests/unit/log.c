/* demo/log.c: the format, and a system that writes little, nothing, or not now. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <poll.h>
#include <sys/types.h>

/* The system's place: plays a script, and lets the real system work when there is none. */
static ssize_t fake_write(int fd, const void *bytes, size_t size);
static int fake_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
#define LOG_WRITE fake_write
#define LOG_POLL fake_poll

#define MM_IMPLEMENTATION
#include "../../demo/log.c"

#include <signal.h>
#include <sys/wait.h>

#include "../harness.h"

typedef struct script {
    long steps[64];  /* what the n-th write does: at most so many bytes; 0: none; < 0: -errno */
    size_t count;    /* of steps; afterwards all is written */
    long afterwards; /* or, if this is not 0, this is done */
    size_t next;
    bool full;       /* poll says that nothing can be written */
    size_t writes, polls, pauses, longest;
    char text[1 << 20]; /* what came */
    size_t size;
} script;

static script *playing;
static bool chopping; /* without a script: let the real system write a random part, or nothing */

static ssize_t fake_write(int fd, const void *bytes, size_t size)
{
    script *s = playing;
    long step;
    if (s == NULL && chopping) {
        static uint64_t state = 1; /* the log lets one thread in at a time */
        size_t part = (size_t)(test_random(&state) % (size + size / 4 + 1));
        errno = EAGAIN;
        return part > size ? -1 : write(fd, bytes, part);
    }
    if (s == NULL) return write(fd, bytes, size);
    s->writes++;
    if (size > s->longest) s->longest = size;
    step = s->next < s->count ? s->steps[s->next++] : s->afterwards != 0 ? s->afterwards : 1 << 30;
    if (step < 0) {
        errno = (int)-step;
        return -1;
    }
    if (size > (size_t)step) size = (size_t)step;
    if (size > sizeof(s->text) - s->size) abort();
    memcpy(s->text + s->size, bytes, size);
    s->size += size;
    return (ssize_t)size;
}

static int fake_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (playing == NULL) return poll(fds, count, timeout_ms);
    if (fds == NULL) playing->pauses++;
    else playing->polls++;
    return fds != NULL && !playing->full;
}

const http_header *http_request_header(const http_request *request, const char *name)
{
    size_t i;
    for (i = 0; i < request->header_count; i++)
        if (mm_slice_equal_nocase(request->headers[i].name, mm_slice_from_string(name)))
            return &request->headers[i];
    return NULL;
}

/* ---- a log in place of a file, with the zone fixed ---- */

static access_log log_;
static mm_buffer line;
static test_allocator memory;

static void set_up(script *s, bool is_file)
{
    setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
    tzset();
    test_allocator_init(&memory);
    access_log_init(&log_, 0, &memory.base);
    log_.fd = 99; /* never reached */
    log_.piece = is_file ? SIZE_MAX : LOG_LINE_MAX;
    log_last_tries = 3;
    mm_buffer_init(&line, &memory.base);
    memset(s, 0, sizeof(*s));
    playing = s;
}

/* Ends the log and checks that nothing stays behind. */
static void tear_down(void)
{
    access_log_deinit(&log_);
    mm_buffer_deinit(&line);
    playing = NULL;
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    CHECK(log_cut == NULL);
}

static http_request make_request(const char *text, const char *referer, const char *agent)
{
    http_request request;
    memset(&request, 0, sizeof(request));
    request.line = mm_slice_from_string(text);
    if (referer != NULL) {
        request.headers[request.header_count].name = mm_slice_from_string("REFERER");
        request.headers[request.header_count++].value = mm_slice_from_string(referer);
    }
    if (agent != NULL) {
        request.headers[request.header_count].name = mm_slice_from_string("user-agent");
        request.headers[request.header_count++].value = mm_slice_from_string(agent);
    }
    return request;
}

static void add(const http_request *request, int status, int64_t now, int64_t bytes)
{
    size_t bytes_at;
    access_log_begin(&log_, &line, &bytes_at, "192.0.2.1", request, status, now);
    access_log_end(&log_, &line, bytes_at, bytes);
}

/* A line that says which it is, and is `size` bytes long with the newline. */
static void add_numbered(int number, size_t size)
{
    char text[4096];
    http_request request;
    size_t around = strlen("192.0.2.1 - - [09/Sep/2001:21:46:40 -0400] \"\" 200 5 \"-\" \"-\"\n");
    int digits = snprintf(text, sizeof(text), "GET /%d ", number);
    memset(text + digits, 'x', size - around);
    text[size - around] = '\0';
    request = make_request(text, NULL, NULL);
    add(&request, 200, 1000000000, 5);
}

/* Whether what came is whole lines, and their numbers those from `first` on without those from
   gap_first to gap_end - 1; returns how many there are, -1 if not. */
static int numbered_lines(const script *s, int first, int gap_first, int gap_end)
{
    const char *at = s->text, *end = s->text + s->size;
    int count, number = first;
    for (count = 0; at < end; count++, number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *path = memmem(at, (size_t)(end - at), "GET /", 5);
        if (number == gap_first) number = gap_end;
        if (newline == NULL || path == NULL || path > newline) return -1;
        if (atoi(path + 5) != number) return -1;
        if (memcmp(newline - 7, "\"-\" \"-\"", 7) != 0) return -1;
        at = newline + 1;
    }
    return count;
}

/* ---- the format ---- */

static script world; /* large, and so not on the stack */

TEST(combined_format)
{
    http_request request = make_request("GET /a?b=c HTTP/1.1", "https://example.org/", "curl/8.0");
    set_up(&world, true);
    add(&request, 206, 971211336, 2326);
    request = make_request("HEAD / HTTP/1.0", NULL, NULL);
    add(&request, 304, 971211337, 0);
    access_log_flush(&log_);
    world.text[world.size] = '\0';
    CHECK_STR(world.text,
              "192.0.2.1 - - [10/Oct/2000:16:55:36 -0400] \"GET /a?b=c HTTP/1.1\" 206 2326 "
              "\"https://example.org/\" \"curl/8.0\"\n"
              "192.0.2.1 - - [10/Oct/2000:16:55:37 -0400] \"HEAD / HTTP/1.0\" 304 0 \"-\" \"-\"\n");
    CHECK_EQ(world.writes, 1);
    CHECK_SUB(tear_down());
}

TEST(what_is_missing_is_a_dash)
{
    http_request empty = make_request("", "", NULL);
    size_t bytes_at;
    set_up(&world, true);
    access_log_begin(&log_, &line, &bytes_at, "", NULL, 408, 0);
    access_log_end(&log_, &line, bytes_at, -1);
    access_log_begin(&log_, &line, &bytes_at, NULL, &empty, 400, 0);
    access_log_end(&log_, &line, bytes_at, INT64_MAX);
    access_log_flush(&log_);
    world.text[world.size] = '\0';
    CHECK_STR(world.text, "- - - [31/Dec/1969:19:00:00 -0500] \"-\" 408 - \"-\" \"-\"\n"
                          "- - - [31/Dec/1969:19:00:00 -0500] \"-\" 400 9223372036854775807 "
                          "\"-\" \"-\"\n");
    CHECK_SUB(tear_down());
}

TEST(escapes)
{
    http_request request = make_request("GET /\"\\\n\r\t\x1b[2J\x7f\xc3\xa9\x9b H", "", "\\");
    set_up(&world, true);
    request.headers[0].value = mm_slice_make("\0~ ", 3);
    add(&request, 400, 1000000000, 1);
    access_log_flush(&log_);
    world.text[world.size] = '\0';
    CHECK_STR(strchr(world.text, '"'),
              "\"GET /\\x22\\x5c\\x0a\\x0d\\x09\\x1b[2J\\x7f\\xc3\\xa9\\x9b H\" 400 1 "
              "\"\\x00~ \" \"\\x5c\"\n");
    CHECK_SUB(tear_down());
}

TEST(long_fields_are_cut)
{
    static char text[20000], odd[20000];
    http_request request;
    size_t bytes_at, i, quotes = 0;
    memset(text, 'y', sizeof(text) - 1);
    memset(odd, 1, sizeof(odd) - 1);
    request = make_request(text, odd, text);
    set_up(&world, true);
    access_log_begin(&log_, &line, &bytes_at, text, &request, INT32_MIN, INT64_MAX);
    access_log_end(&log_, &line, bytes_at, INT64_MAX);
    access_log_flush(&log_);
    CHECK(world.size > 3800 && world.size <= LOG_LINE_MAX);
    for (i = 0; i < world.size; i++) quotes += world.text[i] == '"';
    CHECK_EQ(quotes, 6);
    CHECK(memmem(world.text, world.size, "yyy...\" ", 8) != NULL);
    CHECK(memmem(world.text, world.size, "\\x01...\" ", 9) != NULL);
    CHECK(memcmp(world.text + world.size - 6, "y...\"\n", 6) == 0);
    CHECK_SUB(tear_down());
}

TEST(stamp_follows_the_clock_and_the_zone)
{
    http_request request = make_request("GET / HTTP/1.1", NULL, NULL);
    set_up(&world, true);
    add(&request, 200, 1172991599, 1); /* summer time begins in between */
    add(&request, 200, 1173596400, 1);
    add(&request, 200, 1172991599, 1); /* clocks may go back */
    access_log_flush(&log_);
    world.text[world.size] = '\0';
    CHECK(strstr(world.text, "[04/Mar/2007:01:59:59 -0500]") == strchr(world.text, '['));
    CHECK(strstr(world.text, "[11/Mar/2007:03:00:00 -0400]") != NULL);
    CHECK(memmem(world.text + 100, world.size - 100, "[04/Mar/2007:01:59:59 -0500]", 28) != NULL);
    add(&request, 200, INT64_MIN, 1); /* what has no date still makes a line */
    access_log_flush(&log_);
    CHECK(memmem(world.text, world.size, " - - [-] \"GET", 13) != NULL);
    CHECK_SUB(tear_down());
}

TEST(without_a_log_nothing_happens)
{
    http_request request = make_request("GET / HTTP/1.1", NULL, NULL);
    int fd = 0;
    set_up(&world, true);
    CHECK(access_log_open("none", &fd, NULL, 0));
    CHECK_EQ(fd, -1);
    log_.fd = fd;
    add(&request, 200, 0, 1);
    access_log_flush(&log_);
    CHECK_EQ(memory.calls, 0);
    CHECK_EQ(world.writes, 0);
    CHECK_EQ(log_.lost, 0);
    CHECK_SUB(tear_down());
}

/* ---- writing ---- */

TEST(lines_are_batched)
{
    int i;
    set_up(&world, true);
    for (i = 0; i < 655; i++) add_numbered(i, 100);
    CHECK_EQ(world.writes, 0);
    add_numbered(655, 100); /* the 64 KiB are full */
    CHECK_EQ(world.writes, 1);
    CHECK_EQ(world.size, 65500);
    access_log_flush(&log_);
    CHECK_EQ(world.writes, 2);
    access_log_flush(&log_);
    CHECK_EQ(world.writes, 2);
    CHECK_EQ(numbered_lines(&world, 0, -1, 0), 656);
    CHECK(log_.lost == 0 && world.polls == 0);
    CHECK_SUB(tear_down());
}

TEST(pipes_get_whole_lines_in_small_pieces)
{
    int i;
    set_up(&world, false);
    for (i = 0; i < 300; i++) add_numbered(i, 100 + (size_t)i % 50);
    access_log_flush(&log_);
    CHECK(world.longest <= LOG_LINE_MAX && world.longest > LOG_LINE_MAX - 150);
    CHECK_EQ(world.polls, world.writes);
    CHECK_EQ(numbered_lines(&world, 0, -1, 0), 300);
    CHECK_SUB(tear_down());
}

TEST(short_writes_of_every_size)
{
    int i, round;
    for (round = 0; round < 2; round++) {
        set_up(&world, round == 0);
        for (i = 0; i < 40; i++) add_numbered(i, 120);
        for (world.count = 0; world.count < 64; world.count++)
            world.steps[world.count] = (long)world.count * 2 + 1;
        access_log_flush(&log_);
        CHECK_EQ(numbered_lines(&world, 0, -1, 0), 40);
        CHECK_EQ(log_.lost, 0);
        CHECK_SUB(tear_down());
    }
}

TEST(interrupted_writes_go_on)
{
    static const long steps[] = {-EINTR, 50, -EINTR, -EINTR, 50};
    set_up(&world, true);
    memcpy(world.steps, steps, sizeof(steps));
    world.count = 5;
    add_numbered(0, 120);
    access_log_flush(&log_);
    CHECK_EQ(numbered_lines(&world, 0, -1, 0), 1);
    CHECK_SUB(tear_down());
}

TEST(what_cannot_go_now_waits)
{
    int i;
    set_up(&world, false);
    for (i = 0; i < 10; i++) add_numbered(i, 120);
    world.full = true; /* poll knows */
    access_log_flush(&log_);
    CHECK_EQ(world.writes, 0);
    world.full = false;
    world.steps[0] = 130; /* write finds out, in the middle of a line */
    world.steps[1] = -EAGAIN;
    world.count = 2;
    access_log_flush(&log_);
    CHECK_EQ(world.size, 130);
    for (; i < 20; i++) add_numbered(i, 120);
    world.steps[2] = 0; /* or writes nothing */
    world.count = 3;
    access_log_flush(&log_);
    CHECK_EQ(world.size, 130);
    access_log_flush(&log_);
    CHECK_EQ(numbered_lines(&world, 0, -1, 0), 20);
    CHECK_EQ(log_.lost, 0);
    CHECK_SUB(tear_down());
}

TEST(waiting_lines_are_bounded)
{
    int i;
    set_up(&world, false);
    world.full = true;
    for (i = 0; i < 2000; i++) add_numbered(i, 100);
    CHECK_EQ(log_.lost, 2000 - 655);
    CHECK_EQ(memory.live_bytes, 65536 + line.size);
    world.full = false;
    access_log_flush(&log_);
    CHECK_EQ(numbered_lines(&world, 0, -1, 0), 655);
    CHECK_SUB(tear_down());
}

TEST(full_disk_loses_whole_lines)
{
    static const int errors[] = {ENOSPC, EDQUOT, EFBIG, EIO, EPIPE, EBADF};
    size_t e;
    int i;
    for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        set_up(&world, e % 2 == 0);
        for (i = 0; i < 10; i++) add_numbered(i, 120);
        world.steps[0] = 3 * 120 + 7; /* three lines, and the start of the fourth */
        world.count = 1;
        world.afterwards = -errors[e];
        access_log_flush(&log_);
        CHECK_EQ(log_.lost, 6);
        for (; i < 15; i++) add_numbered(i, 120);
        access_log_flush(&log_);
        CHECK_EQ(log_.lost, 11);
        CHECK_EQ(mm_buffer_length(&log_.pending), 113);
        world.afterwards = 0; /* there is room again */
        for (; i < 20; i++) add_numbered(i, 120);
        access_log_flush(&log_);
        CHECK_EQ(numbered_lines(&world, 0, 4, 15), 9);
        CHECK_SUB(tear_down());
    }
}

TEST(full_disk_at_every_byte)
{
    size_t room;
    int i;
    for (room = 0; room < 5 * 120; room++) {
        int complete = (int)((room + 119) / 120); /* or cut, and completed later */
        set_up(&world, true);
        for (i = 0; i < 5; i++) add_numbered(i, 120);
        world.steps[0] = (long)room;
        world.steps[1] = -ENOSPC;
        world.count = 2;
        world.next = room == 0; /* nothing was written: the error comes at once */
        access_log_flush(&log_);
        CHECK_EQ(log_.lost, 5 - complete);
        add_numbered(9, 120);
        access_log_flush(&log_);
        CHECK_EQ(numbered_lines(&world, 0, complete, 9), complete + 1);
        CHECK_SUB(tear_down());
    }
}

TEST(a_cut_line_is_completed_before_other_logs_write)
{
    access_log other;
    http_request request = make_request("GET /1 HTTP/1.1", NULL, NULL);
    size_t bytes_at;
    set_up(&world, true);
    access_log_init(&other, 0, &memory.base);
    other.fd = log_.fd;
    add_numbered(0, 120);
    access_log_begin(&other, &line, &bytes_at, "::1", &request, 200, 0);
    access_log_end(&other, &line, bytes_at, 7);
    world.steps[0] = 60;
    world.steps[1] = -EAGAIN;
    world.count = 2;
    access_log_flush(&log_);
    access_log_flush(&other);
    CHECK_EQ(world.size, 60);
    access_log_flush(&log_);
    access_log_flush(&other);
    CHECK_EQ(numbered_lines(&world, 0, -1, 0), 2);
    access_log_deinit(&other);
    CHECK_SUB(tear_down());
}

TEST(the_end_writes_what_is_left_or_counts_it)
{
    int i;
    set_up(&world, false);
    for (i = 0; i < 3; i++) add_numbered(i, 120);
    world.steps[0] = 7;
    world.steps[1] = world.steps[2] = -EAGAIN;
    world.count = 3;
    access_log_deinit(&log_);
    CHECK_EQ(world.pauses, 2);
    CHECK_EQ(numbered_lines(&world, 0, -1, 0), 3);
    CHECK_EQ(log_.lost, 0);
    CHECK_SUB(tear_down());

    set_up(&world, false);
    for (i = 0; i < 3; i++) add_numbered(i, 120);
    world.steps[0] = 7;
    world.count = 1;
    world.afterwards = -EAGAIN;
    access_log_deinit(&log_);
    CHECK_EQ(world.pauses, 3);
    CHECK_EQ(log_.lost, 3);
    CHECK_SUB(tear_down());
}

/* ---- out of memory ---- */

TEST(every_allocation_fails)
{
    static char text[600];
    http_request request;
    size_t n;
    int for_ever;
    memset(text, 'z', sizeof(text) - 1);
    request = make_request(text, text, text);
    for (for_ever = 0; for_ever < 2; for_ever++) {
        for (n = 1;; n++) {
            uint64_t lost;
            set_up(&world, true);
            test_allocator_fail(&memory, n, for_ever);
            add(&request, 200, 0, 1);
            lost = log_.lost;
            CHECK_EQ(lost, memory.failures > 0);
            if (memory.failures == 0) break;
            CHECK_EQ(mm_buffer_status(&line), MM_STATUS_OK);
            test_allocator_fail(&memory, 0, 0);
            add(&request, 200, 0, 1); /* and with memory it works again */
            CHECK_EQ(log_.lost, lost);
            access_log_flush(&log_);
            CHECK(world.size > 1800 && world.text[world.size - 1] == '\n');
            CHECK_SUB(tear_down());
        }
        CHECK(n > 3);
        CHECK_SUB(tear_down());
    }
}

/* ---- the real system ---- */

TEST(opens_files_for_appending)
{
    char dir[] = "/tmp/mm-log-XXXXXX", name[64], error[256] = "", text[64];
    int fd, other;
    ssize_t n;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(name, sizeof(name), "%s/access.log", dir);
    CHECK(access_log_open(name, &fd, error, sizeof(error)));
    CHECK(access_log_open(name, &other, error, sizeof(error)));
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(write(fd, "one\n", 4) == 4 && write(other, "two\n", 4) == 4 && write(fd, "3\n", 2) == 2);
    close(other);
    access_log_init(&log_, fd, NULL);
    CHECK(log_.piece == SIZE_MAX);
    access_log_deinit(&log_);
    close(fd);
    fd = open(name, O_RDONLY);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    CHECK_EQ(n, 10);
    CHECK(memcmp(text, "one\ntwo\n3\n", 10) == 0);
    unlink(name);
    rmdir(dir);
}

TEST(what_cannot_be_opened_is_named)
{
    char dir[] = "/tmp/mm-log-XXXXXX", name[64], error[256] = "", expected[256];
    int fd = 5;
    CHECK(mkdtemp(dir) != NULL);
    CHECK(!access_log_open(dir, &fd, error, sizeof(error)));
    snprintf(expected, sizeof(expected), "cannot open the access log %s: Is a directory", dir);
    CHECK_STR(error, expected);
    CHECK_EQ(fd, -1);
    CHECK(!access_log_open("/nonexistent/log", &fd, error, sizeof(error)));
    CHECK_STR(error, "cannot open the access log /nonexistent/log: No such file or directory");
    snprintf(name, sizeof(name), "%s/fifo", dir);
    CHECK_EQ(mkfifo(name, 0600), 0);
    CHECK(!access_log_open(name, &fd, error, sizeof(error))); /* and does not wait for a reader */
    CHECK(strstr(error, name) != NULL);
    CHECK(!access_log_open(name, &fd, error, 10));
    CHECK_STR(error, "cannot op");
    unlink(name);
    rmdir(dir);
}

/* Takes standard output's place while `run` runs. */
static void with_stdout(int fd, void (*run)(void))
{
    int saved = dup(1);
    fflush(stdout);
    dup2(fd, 1);
    run();
    fflush(stdout);
    dup2(saved, 1);
    close(saved);
}

static int opened;
static void open_dash(void)
{
    char error[64];
    if (!access_log_open("-", &opened, error, sizeof(error))) opened = -2;
}

TEST(standard_output_that_nobody_reads)
{
    int pipes[2], i, flags;
    CHECK_EQ(pipe(pipes), 0);
    flags = fcntl(pipes[1], F_GETFL);
    with_stdout(pipes[1], open_dash);
    CHECK(opened > 2);
    CHECK_EQ(fcntl(pipes[1], F_GETFL), flags); /* ours is non-blocking, the inherited one is not */
    CHECK((fcntl(opened, F_GETFD) & FD_CLOEXEC) != 0);
    set_up(&world, false);
    playing = NULL;
    log_.fd = opened;
    for (i = 0; i < 5000; i++) add_numbered(i, 100);
    CHECK(log_.lost > 0 && log_.lost < 5000);
    close(pipes[0]); /* EPIPE; the server ignores the signal */
    signal(SIGPIPE, SIG_IGN);
    access_log_flush(&log_);
    CHECK(mm_buffer_length(&log_.pending) == 0);
    CHECK_SUB(tear_down());
    close(opened);
    close(pipes[1]);
}

TEST(a_full_pipe_that_blocks_is_not_waited_for)
{
    char bytes[4096] = {0};
    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(fcntl(pipes[1], F_SETFL, O_NONBLOCK), 0);
    while (write(pipes[1], bytes, sizeof(bytes)) > 0) continue;
    CHECK_EQ(fcntl(pipes[1], F_SETFL, 0), 0);
    set_up(&world, false);
    playing = NULL;
    access_log_init(&log_, pipes[1], &memory.base);
    CHECK_EQ(log_.piece, LOG_LINE_MAX);
    add_numbered(1, 100);
    access_log_deinit(&log_);
    CHECK_EQ(log_.lost, 1);
    CHECK_SUB(tear_down());
    close(pipes[0]);
    close(pipes[1]);
}

TEST(full_device)
{
    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0) return; /* a system without it */
    set_up(&world, false);
    playing = NULL;
    log_.fd = fd;
    add_numbered(1, 100);
    access_log_flush(&log_);
    CHECK_EQ(log_.lost, 1);
    CHECK_SUB(tear_down());
    close(fd);
}

/* Workers that share a small pipe with a slow reader: no line is lost or torn. */
enum { SHARING = 4, SHARED_LINES = 3000 };

typedef struct sharer {
    pthread_t thread;
    access_log log;
    int index;
} sharer;

static void *write_shared(void *argument)
{
    sharer *s = argument;
    mm_buffer text = {0};
    http_request request;
    char url[200];
    int i;
    for (i = 0; i < SHARED_LINES; i++) {
        size_t bytes_at;
        snprintf(url, sizeof(url), "%d:%d:%.*s", s->index, i, i % 97 + 30,
                 "----------------------------------------------------------------------"
                 "----------------------------------------------------------------------");
        request = make_request(url, NULL, NULL);
        while (mm_buffer_length(&s->log.pending) > 60000) access_log_flush(&s->log);
        access_log_begin(&s->log, &text, &bytes_at, "::1", &request, 200, i / 1000);
        access_log_end(&s->log, &text, bytes_at, i);
        if (i % 50 == 0) access_log_flush(&s->log);
    }
    while (!mm_buffer_is_blank(&s->log.pending)) access_log_flush(&s->log);
    mm_buffer_deinit(&text);
    return NULL;
}

/* Whether a line is the next one of its writer. */
static bool is_next(const char *text, int next[SHARING])
{
    const char *quote = strchr(text, '"');
    int index, number, bytes;
    return strncmp(text, "::1 - - [", 9) == 0 && quote != NULL &&
           sscanf(quote, "\"%d:%d:%*[-]\" 200 %d \"-\" \"-\"", &index, &number, &bytes) == 3 &&
           index >= 0 && index < SHARING && number == next[index]++ && bytes == number;
}

TEST(json)
{
    script s;
    http_request request = make_request("GET /\"\\\n\xff HTTP/1.1", NULL, "a\"b");
    set_up(&s, true);
    log_.json = true;
    add(&request, 200, 1000000000, 12);
    add(&request, 408, 1000000001, -1);
    access_log_flush(&log_);
    s.text[s.size] = '\0';
    CHECK_STR(s.text, "{\"time\":\"2001-09-09T01:46:40Z\",\"peer\":\"192.0.2.1\",\"request\":"
                      "\"GET /\\u0022\\u005c\\u000a\\u00ff HTTP/1.1\",\"status\":200,\"bytes\":12,"
                      "\"referer\":\"\",\"agent\":\"a\\u0022b\"}\n"
                      "{\"time\":\"2001-09-09T01:46:41Z\",\"peer\":\"192.0.2.1\",\"request\":"
                      "\"GET /\\u0022\\u005c\\u000a\\u00ff HTTP/1.1\",\"status\":408,"
                      "\"bytes\":null,"
                      "\"referer\":\"\",\"agent\":\"a\\u0022b\"}\n");
    CHECK_SUB(tear_down());
}

TEST(longest_json)
{
    static char text[4096];
    script s;
    http_request request;
    memset(text, 1, sizeof(text) - 1);
    request = make_request(text, text, text);
    set_up(&s, true);
    log_.json = true;
    add(&request, INT32_MIN, INT64_MAX, INT64_MAX);
    access_log_flush(&log_);
    CHECK(s.size > 3000 && s.size <= LOG_LINE_MAX);
    CHECK(s.text[s.size - 1] == '\n' && s.text[s.size - 2] == '}');
    CHECK_SUB(tear_down());
}

/* The rest of a line whose beginning is in the old file is not for the new one. */
TEST(reopened_amid_a_line)
{
    char dir[] = "/tmp/mm-log-XXXXXX", name[64], text[256];
    script s;
    int fd, fresh;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(name, sizeof(name), "%s/log", dir);
    set_up(&s, true);
    s.steps[s.count++] = 10;
    s.steps[s.count++] = -EAGAIN;
    add_numbered(1, 100);
    add_numbered(2, 100);
    access_log_flush(&log_);
    CHECK(log_cut == &log_);
    fd = open(name, O_WRONLY | O_CREAT, 0600);
    fresh = open(name, O_WRONLY);
    CHECK(replace_log(fd, fresh));
    CHECK(log_cut == NULL);
    access_log_flush(&log_);
    CHECK_EQ(s.size, 110);
    memcpy(text, s.text + 10, 100);
    CHECK(text[99] == '\n' && memchr(text, '\n', 99) == NULL);
    CHECK_EQ(log_.lost, 1);
    close(fd);
    close(fresh);
    unlink(name);
    rmdir(dir);
    CHECK_SUB(tear_down());
}

TEST(reopened_by_name)
{
    char dir[] = "/tmp/mm-log-XXXXXX", name[64], moved[64], error[256] = "";
    struct stat st;
    int fd;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(name, sizeof(name), "%s/log", dir);
    snprintf(moved, sizeof(moved), "%s/log.1", dir);
    CHECK(access_log_open(name, &fd, error, sizeof(error)));
    CHECK_EQ(rename(name, moved), 0);
    CHECK(access_log_reopen(name, fd, error, sizeof(error)));
    CHECK_EQ(write(fd, "x", 1), 1);
    CHECK(stat(name, &st) == 0 && st.st_size == 1);
    CHECK(stat(moved, &st) == 0 && st.st_size == 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    unlink(name);
    CHECK_EQ(mkdir(name, 0700), 0);
    CHECK(!access_log_reopen(name, fd, error, sizeof(error)));
    CHECK(strstr(error, name) != NULL);
    rmdir(name);
    CHECK(!access_log_reopen("/dev/null", fd, error, sizeof(error)));
    CHECK(strstr(error, "another kind") != NULL);
    CHECK(access_log_reopen("-", fd, error, sizeof(error)));
    CHECK(access_log_reopen("none", -1, error, sizeof(error)));
    close(fd);
    unlink(moved);
    rmdir(dir);
}

/* Reads to the end, and tells whether all lines came, each in one piece and in its place. */
static bool read_shared(FILE *in)
{
    char text[512];
    int next[SHARING] = {0}, count;
    bool good = true;
    for (count = 0; fgets(text, sizeof(text), in) != NULL; count++)
        good = good && is_next(text, next);
    return good && count == SHARING * SHARED_LINES;
}

static bool share(int out, FILE *in)
{
    static sharer sharers[SHARING];
    pid_t reader = fork(); /* tells by its exit status */
    bool good = reader > 0;
    int i, status;
    if (reader == 0) {
        close(out);
        _exit(read_shared(in) ? 0 : 1);
    }
    for (i = 0; i < SHARING; i++) {
        sharers[i].index = i;
        access_log_init(&sharers[i].log, out, NULL);
        if (pthread_create(&sharers[i].thread, NULL, write_shared, &sharers[i]) != 0) abort();
    }
    for (i = 0; i < SHARING; i++) {
        pthread_join(sharers[i].thread, NULL);
        good = good && sharers[i].log.lost == 0;
        access_log_deinit(&sharers[i].log);
    }
    close(out);
    return waitpid(reader, &status, 0) == reader && status == 0 && good;
}

TEST(workers_share_a_pipe)
{
    int blocking;
    playing = NULL;
    for (blocking = 0; blocking < 2; blocking++) {
        int pipes[2];
        FILE *in;
        CHECK_EQ(pipe(pipes), 0);
        CHECK_EQ(fcntl(pipes[1], F_SETFL, blocking ? 0 : O_NONBLOCK), 0);
        in = fdopen(pipes[0], "r");
        CHECK(in != NULL);
        CHECK(share(pipes[1], in));
        fclose(in);
    }
}

/* Most writes end within a line here, and some in the middle of another worker's turn. */
TEST(workers_share_what_cuts_lines)
{
    int pipes[2];
    bool good;
    FILE *in;
    playing = NULL;
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(fcntl(pipes[1], F_SETFL, O_NONBLOCK), 0);
    in = fdopen(pipes[0], "r");
    CHECK(in != NULL);
    chopping = true;
    good = share(pipes[1], in);
    chopping = false;
    fclose(in);
    CHECK(good);
}

TEST_MAIN(T(combined_format), T(what_is_missing_is_a_dash), T(escapes), T(long_fields_are_cut),
          T(stamp_follows_the_clock_and_the_zone), T(without_a_log_nothing_happens),
          T(lines_are_batched), T(pipes_get_whole_lines_in_small_pieces),
          T(short_writes_of_every_size), T(interrupted_writes_go_on), T(what_cannot_go_now_waits),
          T(waiting_lines_are_bounded), T(full_disk_loses_whole_lines), T(full_disk_at_every_byte),
          T(a_cut_line_is_completed_before_other_logs_write),
          T(the_end_writes_what_is_left_or_counts_it), T(every_allocation_fails),
          T(opens_files_for_appending), T(what_cannot_be_opened_is_named),
          T(standard_output_that_nobody_reads), T(a_full_pipe_that_blocks_is_not_waited_for),
          T(full_device), T(json), T(longest_json), T(reopened_amid_a_line),
          T(reopened_by_name), T(workers_share_a_pipe), T(workers_share_what_cuts_lines))
