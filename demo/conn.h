/* conn.h - a connection's life, from accept to close */
#ifndef DEMO_CONN_H
#define DEMO_CONN_H

#include <sys/socket.h>

#include "http1.h"
#include "worker.h"

typedef enum conn_state {
    CONN_HANDSHAKE, /* TLS is being agreed on, or still whether there is to be any */
    CONN_HEAD,      /* a request head is awaited or on its way */
    CONN_CONTINUE,  /* the head is here, the client is being told to send the body */
    CONN_BODY,      /* the answer is ready; the request's body is being read and dropped */
    CONN_UPLOAD,    /* the request's body is being read into a file */
    CONN_WRITE,     /* the answer is being sent */
    CONN_LINGER     /* our end is closed; what still comes is dropped, for the peer to get all */
} conn_state;

struct conn {
    worker *worker;
    mm_handle handle;     /* in the worker's slab; the event's data */
    SSL *ssl;             /* NULL: plain HTTP */
    int fd;
    conn_state state;
    unsigned interest;    /* what the event loop waits for */
    timer_kind timer;     /* which of the worker's lists this is in */
    peer *peer;           /* of the server's table; NULL: not counted */
    bool close;           /* ends with the current response */
    bool redirect;        /* all that is asked for here is to be had by HTTPS only */
    bool misled;          /* plain HTTP came where TLS is spoken */
    bool continued;       /* the client will send the body: it was told to, or has begun */
    bool has_body;        /* the current request's body is still to be dropped */
    bool head;            /* the current request is HEAD: no body in the answer */
    bool served;          /* a request has been answered */
    bool tired;           /* has taken long: the others come next */
    conn *timer_before, *timer_after;
    int64_t deadline;     /* milliseconds, of the timer */
    bool resting;         /* there is only what comes before `in`: see rest.h */
    char peer_text[46];   /* its address, for the log */
    uint8_t shown;        /* the state that it is counted as: a figure_id */
    mm_chunkqueue in;     /* received and not yet used */
    mm_chunkqueue out;    /* the answer */
    size_t scanned;       /* bytes of `in` that the parser has seen */
    http1_body body;      /* that is being dropped */
    struct upload *upload; /* that is being kept; NULL: none */
    int64_t head_size;    /* bytes of the answer that are not content */
    int64_t dropped;      /* bytes thrown away while lingering */
    int unsent;           /* bytes that TCP held when the write timer last ran out; -1: not asked */
    int stalls;           /* how often in a row it then held as many as before */
    mm_buffer log_line;   /* of the current request, to be completed with the bytes sent */
    size_t log_bytes_at;
    uint32_t began;       /* when the current request was complete: see figures_tick */
};

/* Takes over a non-blocking socket accepted at `from`, for which a descriptor has been taken from
   the budget. Closes it when there is no memory, or the client has too many. */
void conn_open(worker *w, int fd, const listener *from, const struct sockaddr_storage *address);

/* Something has happened on the socket: does what can be done now. The connection may be gone
   after. */
void conn_run(conn *c);

/* The timer has run out. The connection may be gone after. */
void conn_timeout(conn *c);

/* The worker is draining: ends the connection now if it is between requests, else after this one.
   One that has just begun has a moment for its request. The connection may be gone after. */
void conn_drain(conn *c);

/* Ends it at once. */
void conn_close(conn *c);

#endif
