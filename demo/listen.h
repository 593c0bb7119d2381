/* listen.h - the sockets that a server waits at */
#ifndef DEMO_LISTEN_H
#define DEMO_LISTEN_H

#include <sys/types.h>

#include "systemd.h"
#include "worker.h"

typedef struct listen_plan { /* where to listen; the ports are filled in when they were 0 */
    const systemd *passed;    /* sockets of a service manager: if there are any, only these */
    const options_list *bind; /* numeric addresses and unix:PATH; none: [::] and 0.0.0.0 */
    int port;                 /* of HTTPS */
    int http_port;            /* of plain HTTP; -1: none */
    bool opened;              /* set by the first listen_open: the ports are ours, and so are */
    struct {
        dev_t device;         /* of the files that were made for Unix sockets */
        ino_t inode;
    } made[OPTIONS_LIST];
    int local[OPTIONS_LIST];  /* the Unix sockets at the places that they have in `bind` */
} listen_plan;

void listen_plan_init(listen_plan *plan, const options *o, const systemd *passed);

/* Opens one set of listeners, for a worker; with `shared` several sets can wait at the same ports.
   At the paths of Unix sockets all wait at the same ones. Returns their number; 0 with one line in
   `error` that names address and port. */
size_t listen_open(listen_plan *plan, bool shared, listener listeners[SERVER_LISTENERS],
                   char *error, size_t error_size);

/* Closes the Unix sockets, once the listeners are closed, and removes their files. */
void listen_plan_deinit(listen_plan *plan);

#endif
