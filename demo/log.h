/* log.h - the access log, in combined format or JSON, written in batches

   A log that cannot take a line now (a pipe that nobody reads, a full disk) never stops the server:
   up to 64 KiB a worker wait, what comes on top is dropped and counted. */
#ifndef DEMO_LOG_H
#define DEMO_LOG_H

#include "../mm_buffer.h"
#include "http.h"

enum { LOG_LINE_MAX = 4096 }; /* bytes with the newline: what a pipe on Linux takes undivided */

typedef struct access_log { /* one per worker; all may share the descriptor, lines are never torn */
    int fd;                 /* -1: no log */
    mm_buffer pending;      /* lines that wait to be written; of the first perhaps the rest */
    size_t piece;           /* most bytes for one write: LOG_LINE_MAX, but any number to a file */
    int64_t time;           /* second of `stamp` */
    char stamp[40];         /* that second as [10/Oct/2000:13:55:36 -0700], or by RFC 3339 */
    bool json;              /* lines are JSON; set after access_log_init */
    bool stray;             /* the log was opened anew amid the first pending line: it is void */
    uint64_t lost;          /* lines dropped for lack of memory or room on the disk */
} access_log;

/* Opens the log that --log names ("-": standard output, "none": -1) for appending, close-on-exec,
   as a descriptor of its own that the caller closes. False with one line in `error`. */
bool access_log_open(const char *name, int *fd, char *error, size_t error_size);

/* Opens the log by its name again, as the same descriptor: who has moved the file away gets a new
   one, and no line is lost between. Nothing is to be done for standard output. False with one line
   in `error` when it cannot be, or is another kind of file now; then it stays as it was. */
bool access_log_reopen(const char *name, int fd, char *error, size_t error_size);

void access_log_init(access_log *log, int fd, const mm_allocator *allocator);

/* Writes what is pending, as far as the descriptor takes it within a second, which all logs of the
   process share; one thread at a time. Leaves the descriptor open. */
void access_log_deinit(access_log *log);

/* A line in two steps, since the bytes sent are known only at the end: `begin` formats everything
   but these while the request is still there, into `line`, with their place in *bytes_at; `end`
   adds the complete line to the pending ones and clears `line`. What a client sent is escaped: of
   it only printable ASCII without quotes and backslashes stands for itself, the rest is \xhh. Long
   fields are cut, ending in "...", so that a line never exceeds LOG_LINE_MAX. `begin` drops what
   `line` held; when it runs out of memory, `end` counts the line as lost. `request` may be NULL
   when nothing of it is known, `bytes` -1. With fd -1 both do nothing. */
void access_log_begin(access_log *log, mm_buffer *line, size_t *bytes_at, const char *peer,
                      const http_request *request, int status, int64_t now_seconds);
void access_log_end(access_log *log, mm_buffer *line, size_t bytes_at, int64_t bytes);

/* Writes the pending lines as far as the descriptor takes them now; called when the loop has
   nothing else to do, and by `end` when 64 KiB are pending. */
void access_log_flush(access_log *log);

#endif
