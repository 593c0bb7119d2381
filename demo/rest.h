/* rest.h - where connections lie: whole while they have something to do, as their head between
   requests */
#ifndef DEMO_REST_H
#define DEMO_REST_H

#include "conn.h"

/* A connection of all zero but for its handle and worker; NULL when there is no memory. */
conn *rest_new(worker *w);

/* Gives it back, and its handle. */
void rest_free(conn *c);

/* The connection of a handle, resting or not; NULL when it is gone. */
conn *rest_find(worker *w, mm_handle handle);

/* The whole connection, which may lie elsewhere now. NULL when there is no memory for it: then it
   has been closed. */
conn *rest_wake(conn *c);

/* Lets those rest that have been idle for so many milliseconds: a buffer and two queues less.
   Returns how many more do now. */
size_t rest_idle(worker *w, int64_t ms);

/* Whether one that is idle does not rest yet. */
bool rest_is_due(const worker *w);

/* Memory for one connection, so that one can be woken up to be closed. */
bool rest_init(worker *w);
void rest_deinit(worker *w);

#endif
