/* log.c - lines of the access log, and their way to a descriptor that may not take them */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef LOG_WRITE /* the tests take the system's place here */
#define LOG_WRITE(fd, bytes, size) write(fd, bytes, size)
#endif
#ifndef LOG_POLL
#define LOG_POLL(fds, count, timeout_ms) poll(fds, count, timeout_ms)
#endif

enum {
    LOG_PENDING = 65535,    /* bytes that may wait: 64 KiB with the NUL */
    LOG_LINE_TYPICAL = 255, /* bytes reserved for a line at once */
    LOG_PEER_MAX = 64,      /* bytes of a field, escaped; with all of them full, a line still has */
    LOG_REQUEST_MAX = 2048, /* room for the stamp, the numbers and what stands between */
    LOG_AGENT_MAX = 896,
    LOG_LAST_TRIES = 100,   /* to write what is left at the end, for all workers together, */
    LOG_LAST_PAUSE = 10,    /* with so many milliseconds in between */
    LOG_FLAGS = O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY,
    LOG_MODE = 0640
};

/* The workers write in turns. When one of its lines could be written in part only, the others wait
   until its rest is out, so that no line is torn. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static access_log *log_cut; /* whose line it is; NULL: the log ends with a whole line */
static int log_last_tries;        /* that are left */

/* ---- opening ---- */

/* A pipe or terminal may stop taking bytes at any time; to find out without being stopped as well
   takes a non-blocking description of our own, since the inherited one is shared with others. */
static int open_stdout(void)
{
    struct stat st;
    int fd = -1;
    if (fstat(STDOUT_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
        fd = open("/dev/stdout", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
}

bool access_log_open(const char *name, int *fd, char *error, size_t error_size)
{
    bool to_stdout = strcmp(name, "-") == 0;
    *fd = -1;
    log_last_tries = LOG_LAST_TRIES;
    tzset(); /* before the zone's file might be out of reach */
    if (strcmp(name, "none") == 0) return true;
    *fd = to_stdout ? open_stdout() : open(name, LOG_FLAGS, LOG_MODE);
    if (*fd >= 0) return true;
    (void)snprintf(error, error_size, "cannot open the access log %s: %s",
                   to_stdout ? "on standard output" : name, strerror(errno));
    return false;
}

static bool is_same_kind(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && (x.st_mode & S_IFMT) == (y.st_mode & S_IFMT);
}

/* The descriptor keeps its number, so that whoever writes next writes to the new file. */
static bool replace_log(int fd, int fresh)
{
    bool ok;
    (void)pthread_mutex_lock(&log_lock);
    ok = dup3(fresh, fd, O_CLOEXEC) == fd;
    if (ok && log_cut != NULL) {
        log_cut->stray = true;
        log_cut = NULL;
    }
    (void)pthread_mutex_unlock(&log_lock);
    return ok;
}

bool access_log_reopen(const char *name, int fd, char *error, size_t error_size)
{
    int fresh;
    const char *why = NULL;
    if (fd < 0 || strcmp(name, "-") == 0) return true;
    fresh = open(name, LOG_FLAGS, LOG_MODE);
    if (fresh < 0) why = strerror(errno);
    else if (!is_same_kind(fd, fresh)) why = "it is another kind of file";
    else if (!replace_log(fd, fresh)) why = strerror(errno);
    if (why != NULL)
        (void)snprintf(error, error_size, "cannot open the access log %s: %s", name, why);
    if (fresh >= 0) close(fresh);
    return why == NULL;
}

void access_log_init(access_log *log, int fd, const mm_allocator *allocator)
{
    struct stat st;
    memset(log, 0, sizeof(*log));
    log->fd = fd;
    log->piece = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? SIZE_MAX : LOG_LINE_MAX;
    mm_buffer_init(&log->pending, allocator);
}

/* ---- writing ---- */

static bool is_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return LOG_POLL(&p, 1, 0) > 0; /* an error counts: the write will tell it */
}

/* How much of `text`, which ends with a whole line, to write at once: whole lines if possible. */
static size_t piece_size(const access_log *log, const char *text, size_t size)
{
    size_t n = log->piece;
    if (size <= n) return size;
    while (n > 0 && text[n - 1] != '\n') n--;
    return n > 0 ? n : log->piece;
}

/* Looks before it writes, since not all descriptors could be made non-blocking. */
static ssize_t write_piece(const access_log *log, const char *text, size_t size)
{
    ssize_t n;
    if (log->piece != SIZE_MAX && !is_writable(log->fd)) {
        errno = EAGAIN;
        return -1;
    }
    do n = LOG_WRITE(log->fd, text, size);
    while (n < 0 && errno == EINTR);
    return n;
}

static uint64_t count_lines(const char *text, size_t size)
{
    uint64_t lines = 0;
    size_t i;
    for (i = 0; i < size; i++) lines += text[i] == '\n';
    return lines;
}

/* Gives up the lines in text[done..end), but not the rest of one that has been written in part.
   Returns the new end. */
static size_t drop_lines(access_log *log, const char *text, size_t done, size_t end)
{
    size_t keep = done;
    while (log_cut == log && text[keep++] != '\n') continue;
    log->lost += count_lines(text + keep, end - keep);
    return keep;
}

/* The bytes of a line whose beginning went to a file that is no longer the log. */
static size_t skip_stray(access_log *log, const char *text)
{
    size_t size = 0;
    if (!log->stray) return 0;
    log->stray = false;
    log->lost++;
    while (text[size++] != '\n') continue;
    return size;
}

static void write_pending(access_log *log)
{
    const char *text = mm_buffer_string(&log->pending);
    size_t done = skip_stray(log, text), end = mm_buffer_length(&log->pending);
    while (done < end) {
        ssize_t n = write_piece(log, text + done, piece_size(log, text + done, end - done));
        if (n < 0 && errno != EAGAIN) end = drop_lines(log, text, done, end);
        if (n <= 0) break;
        done += (size_t)n;
        log_cut = text[done - 1] == '\n' ? NULL : log;
    }
    (void)mm_buffer_copy(&log->pending, text + done, end - done); /* moves it within its memory */
}

void access_log_flush(access_log *log)
{
    if (log->fd < 0 || mm_buffer_is_blank(&log->pending)) return;
    (void)pthread_mutex_lock(&log_lock);
    if (log_cut == NULL || log_cut == log) write_pending(log);
    (void)pthread_mutex_unlock(&log_lock);
}

void access_log_deinit(access_log *log)
{
    access_log_flush(log);
    while (!mm_buffer_is_blank(&log->pending) && log_last_tries > 0) {
        log_last_tries--;
        (void)LOG_POLL(NULL, 0, LOG_LAST_PAUSE);
        access_log_flush(log);
    }
    log->lost += count_lines(mm_buffer_string(&log->pending), mm_buffer_length(&log->pending));
    (void)pthread_mutex_lock(&log_lock);
    if (log_cut == log) log_cut = NULL;
    (void)pthread_mutex_unlock(&log_lock);
    mm_buffer_deinit(&log->pending);
}

/* ---- lines ---- */

/* strftime's month is English, since nobody calls setlocale. */
static bool format_time(const access_log *log, time_t seconds, char *text, size_t size)
{
    struct tm tm;
    if (log->json)
        return gmtime_r(&seconds, &tm) != NULL &&
               strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0;
    return localtime_r(&seconds, &tm) != NULL &&
           strftime(text, size, "[%d/%b/%Y:%H:%M:%S %z]", &tm) > 0;
}

static void update_stamp(access_log *log, int64_t now)
{
    if (log->time == now && log->stamp[0] != '\0') return;
    log->time = now;
    if (!format_time(log, (time_t)now, log->stamp, sizeof(log->stamp)))
        memcpy(log->stamp, "[-]", sizeof("[-]"));
}

static bool is_plain(char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* Appends at most `limit` bytes, the "..." of a text that is too long among them. */
static void append_text(mm_buffer *line, mm_slice text, size_t limit, bool json)
{
    size_t i, start = 0;
    if (text.len == 0 && !json) text = mm_slice_make("-", 1);
    for (i = 0, limit -= 3; i < text.len; i++) {
        bool plain = is_plain(text.ptr[i]);
        size_t size = plain ? 1 : json ? 6 : 4;
        if (size > limit) break;
        limit -= size;
        if (plain) continue;
        mm_buffer_append(line, text.ptr + start, i - start);
        mm_buffer_append_string(line, json ? "\\u00" : "\\x");
        mm_buffer_append_hex(line, (unsigned char)text.ptr[i], 2);
        start = i + 1;
    }
    mm_buffer_append(line, text.ptr + start, i - start);
    if (i < text.len) mm_buffer_append_string(line, "...");
}

static void append_quoted(mm_buffer *line, mm_slice text, size_t limit)
{
    mm_buffer_append_string(line, " \"");
    append_text(line, text, limit, false);
    mm_buffer_append_char(line, '"');
}

static void append_member(mm_buffer *line, const char *name, mm_slice text, size_t limit)
{
    mm_buffer_append_string(line, name);
    append_text(line, text, limit, true);
    mm_buffer_append_char(line, '"');
}

static mm_slice field(const http_request *request, const char *name)
{
    const http_header *header = request != NULL ? http_request_header(request, name) : NULL;
    return header != NULL ? header->value : mm_slice_make(NULL, 0);
}

static void begin_combined(access_log *log, mm_buffer *line, size_t *bytes_at, const char *peer,
                           const http_request *request, int status)
{
    append_text(line, mm_slice_from_string(peer), LOG_PEER_MAX, false);
    mm_buffer_append_string(line, " - - ");
    mm_buffer_append_string(line, log->stamp);
    append_quoted(line, request != NULL ? request->line : mm_slice_make(NULL, 0), LOG_REQUEST_MAX);
    mm_buffer_append_char(line, ' ');
    mm_buffer_append_int(line, status);
    mm_buffer_append_char(line, ' ');
    *bytes_at = mm_buffer_length(line);
    append_quoted(line, field(request, "Referer"), LOG_AGENT_MAX);
    append_quoted(line, field(request, "User-Agent"), LOG_AGENT_MAX);
    mm_buffer_append_char(line, '\n');
}

static void begin_json(access_log *log, mm_buffer *line, size_t *bytes_at, const char *peer,
                       const http_request *request, int status)
{
    append_member(line, "{\"time\":\"", mm_slice_from_string(log->stamp), sizeof(log->stamp));
    append_member(line, ",\"peer\":\"", mm_slice_from_string(peer), LOG_PEER_MAX);
    append_member(line, ",\"request\":\"",
                  request != NULL ? request->line : mm_slice_make(NULL, 0), LOG_REQUEST_MAX);
    mm_buffer_append_string(line, ",\"status\":");
    mm_buffer_append_int(line, status);
    mm_buffer_append_string(line, ",\"bytes\":");
    *bytes_at = mm_buffer_length(line);
    append_member(line, ",\"referer\":\"", field(request, "Referer"), LOG_AGENT_MAX);
    append_member(line, ",\"agent\":\"", field(request, "User-Agent"), LOG_AGENT_MAX);
    mm_buffer_append_string(line, "}\n");
}

void access_log_begin(access_log *log, mm_buffer *line, size_t *bytes_at, const char *peer,
                      const http_request *request, int status, int64_t now_seconds)
{
    *bytes_at = 0;
    if (log->fd < 0) return;
    update_stamp(log, now_seconds);
    mm_buffer_clear(line);
    if (mm_buffer_prepare_append(line, LOG_LINE_TYPICAL) == NULL) return;
    if (log->json) begin_json(log, line, bytes_at, peer, request, status);
    else begin_combined(log, line, bytes_at, peer, request, status);
}

/* Room for all that may wait is taken once, so that it cannot be missing later. */
static bool has_room(access_log *log, size_t size)
{
    mm_buffer *pending = &log->pending;
    if (mm_buffer_is_unset(pending) && mm_buffer_prepare_append(pending, LOG_PENDING) == NULL) {
        mm_buffer_clear(pending); /* next time there may be some */
        return false;
    }
    if (mm_buffer_space(pending) < size) access_log_flush(log);
    return mm_buffer_space(pending) >= size;
}

void access_log_end(access_log *log, mm_buffer *line, size_t bytes_at, int64_t bytes)
{
    char number[24];
    size_t length = mm_buffer_length(line);
    const char *text = mm_buffer_string(line);
    mm_buffer *pending = &log->pending;
    bool complete = mm_buffer_status(line) == MM_STATUS_OK;
    if (log->fd < 0 || (complete && length == 0)) return;
    memcpy(number, log->json ? "null" : "-", log->json ? 5 : 2);
    if (bytes >= 0) (void)snprintf(number, sizeof(number), "%lld", (long long)bytes);
    if (complete && has_room(log, length + strlen(number))) {
        mm_buffer_append(pending, text, bytes_at);
        mm_buffer_append_string(pending, number);
        mm_buffer_append(pending, text + bytes_at, length - bytes_at);
    } else {
        log->lost++;
    }
    mm_buffer_clear(line);
}
