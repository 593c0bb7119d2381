/* systemd.h - what systemd and its like tell a service, and want to be told; without their library

   Sockets are passed as sd_listen_fds(3) says, states are told as sd_notify(3) says. Without such a
   manager there are no sockets, and nothing is told. */
#ifndef DEMO_SYSTEMD_H
#define DEMO_SYSTEMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYSTEMD_SOCKETS = 16 };

typedef struct systemd_socket {
    int fd;
    int port;   /* of TCP; 0: a Unix socket */
    bool plain; /* FileDescriptorName=http: not encrypted */
} systemd_socket;

typedef struct systemd {
    systemd_socket sockets[SYSTEMD_SOCKETS]; /* to accept at; the caller's to close */
    size_t count;
    int notify;       /* a connected socket; -1: nobody wants to know */
    int watchdog_ms;  /* most time between two signs of life; 0: none are wanted */
} systemd;

/* Takes over what was passed, out of the environment too. False with one line in `error` when that
   is not what a server can accept at. */
bool systemd_open(systemd *s, char *error, size_t error_size);
void systemd_close(systemd *s);

/* Tells states as sd_notify(3) has them, one a line. */
void systemd_notify(const systemd *s, const char *states);

/* Tells that what it serves is being read again; READY=1 is to follow. */
void systemd_notify_reloading(const systemd *s);

#endif
