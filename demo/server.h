/* server.h - what all workers share */
#ifndef DEMO_SERVER_H
#define DEMO_SERVER_H

#include "../mm_io.h"
#include "admin.h"
#include "auth.h"
#include "memory.h"
#include "options.h"
#include "pages.h"
#include "peers.h"
#include "policy.h"
#include "systemd.h"
#include "tls.h"
#include "uploads.h"
#include "watch.h"

enum { SERVER_LISTENERS = 2 * OPTIONS_LIST }; /* HTTPS and HTTP, on each address */

typedef struct server {
    const options *options;
    watch files;         /* of certificates, their keys, and keys of tickets */
    certs certs;
    tickets tickets;
    SSL_CTX *tls;
    systemd manager;     /* of this service, if there is one */
    int https_port;      /* that clients are redirected to; set before the workers start */
    policy policy;       /* what options add to answers */
    pages pages;         /* for errors, in place of ours */
    uploads uploads;     /* where files may be put, and by whom */
    auth_users users;    /* who may read; none: everybody */
    int log_fd;          /* of the access log; -1: none */
    mm_fd_budget fds;    /* connections, open files, and files that are being put */
    mm_fd_budget conns;  /* connections against --max-conns; limit 0: nobody counts */
    peers peers;         /* and against --max-conns-per-ip */
    size_t fds_for_files; /* of these, what connections leave for files */
    admin admin;         /* who may look inside */
} server;

/* Opens what the workers share. False with one line in `error`; server_close in any case. */
bool server_open(server *s, const options *o, int workers, char *error, size_t error_size);

/* Gives it back; false when something had not been given back to it. */
bool server_close(server *s);

/* Says on standard error what is unwise about the files that are used. */
void server_warn(const server *s);

/* And what is about the options, at start. */
void server_warn_start(const server *s);

#endif
