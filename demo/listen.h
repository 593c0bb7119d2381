/* listen.h - the sockets that a server waits at */
#ifndef DEMO_LISTEN_H
#define DEMO_LISTEN_H

#include "worker.h"

typedef struct listen_plan { /* where to listen; the ports are filled in when they were 0 */
    const char *bind;        /* numeric address; NULL: [::] and 0.0.0.0 */
    int port;                /* of HTTPS */
    int http_port;           /* of plain HTTP; -1: none */
    bool opened;             /* set by the first listen_open: the ports are ours */
} listen_plan;

/* Opens one set of listeners, for a worker; with `shared` several sets can wait at the same ports.
   Returns their number; 0 with one line in `error` that names address and port. */
size_t listen_open(listen_plan *plan, bool shared, listener listeners[SERVER_LISTENERS],
                   char *error, size_t error_size);

#endif
