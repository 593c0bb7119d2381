/* conn_parts.h - what the parts of a connection ask of each other: conn.c, answer.c, receive.c */
#ifndef DEMO_CONN_PARTS_H
#define DEMO_CONN_PARTS_H

#include "conn.h"

typedef enum step { /* what to do after a step of the state machine */
    STEP_ON,        /* there is more to do */
    STEP_WAIT,      /* an event or a timer comes next */
    STEP_CLOSE      /* it is over */
} step;

/* ---- conn.c ---- */

/* Enters a state with its timer; the write timer begins anew. */
void conn_enter(conn *c, conn_state state, timer_kind timer);
void conn_expect_progress(conn *c);

/* Reads what is there into `in`. */
step conn_fill(conn *c);

/* ---- intact.c ---- */

/* Whether the files of a queue are what they were when this was first asked: of the same size and
   time of change, or longer at most, as a log that is written to. That a file has been replaced or
   removed is no matter: what is sent is the old one. */
bool conn_is_intact(const mm_chunkqueue *q);

/* The most bytes of the answer that may leave now, 0 being as many as usual: in the clear the end
   of a file is held back, and read into memory, until it is known that the file has not changed
   meanwhile. A mixture of two versions never has its full length. False when it has changed, or on
   failure. Of what goes through TLS, mm_io_tls_write sees to that. */
bool conn_may_send(conn *c, int64_t *most);

/* ---- answer.c ---- */

/* Answers the request in the worker, whose head is the first `head_size` bytes of `in` (status
   200), or refuses what has come with `status`. */
step conn_answer(conn *c, int status, size_t head_size);

/* What upload_judge says of the request in the worker. */
int conn_judge_upload(conn *c);

/* Answers the upload, whose body has ended with that status: 200 when it is complete. */
step conn_answer_upload(conn *c, int status);

/* The upload ends without an answer, as the client or our time has: begins its line of the log. */
void conn_abandon_upload(conn *c);

/* Replaces an answer that has not begun to leave by an error page, and ends the connection with it.
   The worker's request is another connection's by now. */
step conn_refuse(conn *c, int status);

/* ---- receive.c ---- */

/* The states in which a head, a body to be dropped and one to be kept are read. */
step conn_run_head(conn *c);
step conn_run_body(conn *c);
step conn_run_upload(conn *c);

#endif
