/* server.h - what all workers share */
#ifndef DEMO_SERVER_H
#define DEMO_SERVER_H

#include "../mm_io.h"
#include "auth.h"
#include "options.h"
#include "peers.h"
#include "policy.h"
#include "tls.h"

enum { SERVER_LISTENERS = 2 * OPTIONS_LIST }; /* HTTPS and HTTP, on each address */

typedef struct server {
    const options *options;
    SSL_CTX *tls;
    int https_port;      /* that clients are redirected to; set before the workers start */
    policy policy;       /* what options add to answers */
    auth_users users;    /* who may read; none: everybody */
    int log_fd;          /* of the access log; -1: none */
    mm_budget memory;    /* of the whole process; the workers' are beneath it */
    mm_fd_budget fds;    /* connections and open files */
    mm_fd_budget conns;  /* connections against --max-conns; limit 0: nobody counts */
    peers peers;         /* and against --max-conns-per-ip */
    size_t fds_for_files; /* of these, what connections leave for files */
} server;

#endif
