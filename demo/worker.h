/* worker.h - one thread's world: listeners, loop, connections, pools, files, clock, timers */
#ifndef DEMO_WORKER_H
#define DEMO_WORKER_H

#include <pthread.h>

#include "event.h"
#include "figures.h"
#include "files.h"
#include "log.h"
#include "server.h"
#include "shed.h"

typedef struct conn conn;

typedef enum timer_kind { /* each has one duration: the order of arming is that of time */
    TIMER_HANDSHAKE,      /* the whole TLS handshake */
    TIMER_HEAD,           /* the whole request head, not each read of it */
    TIMER_IDLE,           /* between requests */
    TIMER_BODY,           /* the whole request body */
    TIMER_WRITE,          /* half the time without any byte being taken by the client */
    TIMER_LINGER,         /* after our end of the connection is closed */
    TIMER_DRAIN,          /* in place of the first three, while the worker is draining */
    TIMER_KINDS,
    TIMER_NONE = TIMER_KINDS
} timer_kind;

typedef struct timer_list {
    conn *first, *last; /* soonest first */
    int64_t duration;   /* milliseconds */
} timer_list;

typedef struct listener {
    int fd;
    bool tls;   /* HTTPS */
    bool local; /* a Unix socket: HTTPS or HTTP, as the client likes */
} listener;

struct worker {
    server *server;
    pthread_t thread;
    bool started;
    bool draining;            /* no new connections, and the ones there end when they can */
    bool paused;              /* not accepting, for lack of descriptors */
    int64_t resume_at;        /* when to try again */
    int64_t drain_until;      /* when those that have not ended are cut off */
    size_t cut;               /* how many were */
    int wake[2];              /* a pipe for what other threads say, a WORKER_... byte each */
    size_t asked, answered;   /* WORKER_ASK sent and read; the latter is atomic */
    listener listeners[SERVER_LISTENERS];
    size_t listener_count;
    event_loop loop;
    mm_fd_spare spare_fd;     /* to turn clients away with, when there is no other descriptor */
    timer_list timers[TIMER_KINDS];

    mm_budget memory;         /* all of the below; a child of the process's */
    memory_worker accounts;   /* and what is beneath it, each for its own */
    shed shed;                /* what is done when memory is short */
    mm_tier tier;             /* buffers of 4 to 64 KiB */
    mm_slab conns;            /* where connections are, by handle, which is the event's data */
    conn *spare;              /* memory of one, see rest.h */
    mm_chunk_pool chunks;     /* of all queues */
    mm_arena arena;           /* of the response that is being made */
    mm_chunkqueue body;       /* of the response that is being made */
    page_set *pages;          /* for errors, as they were when last needed; NULL: none */
    mm_filecache cache;
    mm_respcache responses;   /* small files of it that are in demand, as they are sent */
    mm_filecache places[OPTIONS_LIST]; /* of uploads: what is there, and folders to put files in */
    files_site site;
    auth_guard guard;
    access_log log;
    int64_t log_due;          /* when its lines are to be written; 0: there are none */
    http_request request;     /* the one that is being answered */

    int64_t now_ms;           /* monotonic; read once a turn */
    int64_t now_s;            /* seconds since 1970 */
    char date[HTTP_DATE_SIZE]; /* now_s, for the Date field */

    figures figures;          /* for admin.c, in whichever worker that runs */
    int64_t figures_due;      /* when the copies in them are to be made anew; 0: they are */
};

/* Prepares a worker with listeners that are already bound (it closes them in the end). False with
   one line in `error`; then nothing is left to undo. */
bool worker_init(worker *w, server *s, const listener *listeners, size_t count, char *error,
                 size_t error_size);

/* Runs it in a thread of its own, and waits for that to end. worker_drain may be called from
   any. */
bool worker_start(worker *w);
void worker_drain(worker *w);
void worker_join(worker *w);

/* Whether the loop has come round since the last call, which asked it to; from one thread. */
bool worker_is_alive(worker *w);

/* Gives everything back; returns false when something had not been given back to it. */
bool worker_deinit(worker *w);

/* Makes the copies in `figures` anew; its own thread only. */
void worker_publish(worker *w);

/* For conn.c: arms the connection's one timer anew (TIMER_NONE: none), and says that a connection
   has gone, so that there may be room again. */
void worker_set_timer(worker *w, conn *c, timer_kind kind);
void worker_conn_gone(worker *w);

/* For shed.c: listens, or does not, as memory has it. */
void worker_listen(worker *w);

/* For conn.c: closes a socket that was accepted, and gives back what was taken for it. */
void worker_close_socket(worker *w, int fd);

#endif
