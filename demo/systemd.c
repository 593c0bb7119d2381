/* systemd.c - sockets from a service manager, and words to it */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SYSTEMD_FIRST_FD = 3 };

/* A decimal number in the environment; -1 when there is none. */
static int64_t env_number(const char *name)
{
    const char *text = getenv(name);
    size_t length = text != NULL ? strlen(text) : 0;
    if (length == 0 || length > 15 || strspn(text, "0123456789") != length) return -1;
    return strtoll(text, NULL, 10);
}

/* ---- sockets ---- */

/* False when it is no listening stream socket of a family that we know. */
static bool look_at(systemd_socket *s)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } address;
    int listening = 0, type = 0, flags;
    socklen_t size = sizeof(listening), address_size = sizeof(address);
    memset(&address, 0, sizeof(address));
    if (getsockopt(s->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening ||
        getsockopt(s->fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        getsockname(s->fd, &address.any, &address_size) != 0)
        return false;
    if (address.any.sa_family == AF_INET) s->port = ntohs(address.v4.sin_port);
    else if (address.any.sa_family == AF_INET6) s->port = ntohs(address.v6.sin6_port);
    else if (address.any.sa_family != AF_UNIX) return false;
    flags = fcntl(s->fd, F_GETFL);
    return flags >= 0 && fcntl(s->fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(s->fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* The next name of those between colons, into the socket it is of. */
static const char *take_name(const char *names, systemd_socket *s)
{
    size_t length = strcspn(names, ":");
    s->plain = length == 4 && memcmp(names, "http", 4) == 0;
    return names[length] == ':' ? names + length + 1 : names + length;
}

static bool take_sockets(systemd *s, char *error, size_t error_size)
{
    int64_t count = env_number("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    if (count <= 0 || env_number("LISTEN_PID") != getpid()) return true; /* for somebody else */
    if (names == NULL) names = "";
    for (; (int64_t)s->count < count; s->count++) {
        systemd_socket *next = &s->sockets[s->count];
        if (s->count == SYSTEMD_SOCKETS) {
            (void)snprintf(error, error_size, "LISTEN_FDS: more than %d sockets", SYSTEMD_SOCKETS);
            return false;
        }
        next->fd = SYSTEMD_FIRST_FD + (int)s->count;
        names = take_name(names, next);
        if (look_at(next)) continue;
        (void)snprintf(error, error_size, "LISTEN_FDS: descriptor %d is no listening stream socket",
                       next->fd);
        return false;
    }
    return true;
}

/* ---- notifications ---- */

/* The socket stays open: later, in a sandbox, its path may be out of reach. */
static bool open_notify(systemd *s, char *error, size_t error_size)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    size_t length = path != NULL ? strlen(path) : 0;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (length == 0) return true;
    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    errno = EINVAL;
    if (length < sizeof(address.sun_path) && (path[0] == '/' || path[0] == '@')) {
        memcpy(address.sun_path, path, length);
        if (path[0] == '@') address.sun_path[0] = '\0'; /* a name without a file */
        s->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->notify >= 0 && connect(s->notify, (struct sockaddr *)&address, size) == 0)
            return true;
    }
    (void)snprintf(error, error_size, "NOTIFY_SOCKET %s: %s", path, strerror(errno));
    return false;
}

static void read_watchdog(systemd *s)
{
    int64_t us = env_number("WATCHDOG_USEC"), pid = env_number("WATCHDOG_PID");
    if (us <= 0 || (pid >= 0 && pid != getpid())) return;
    s->watchdog_ms = us / 1000 > 86400000 ? 86400000 : us < 1000 ? 1 : (int)(us / 1000);
}

void systemd_notify(const systemd *s, const char *states)
{
    if (s->notify < 0) return;
    while (send(s->notify, states, strlen(states), MSG_NOSIGNAL) < 0 && errno == EINTR) continue;
}

void systemd_notify_reloading(const systemd *s)
{
    char states[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(states, sizeof(states), "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    systemd_notify(s, states);
}

/* ---- both ---- */

bool systemd_open(systemd *s, char *error, size_t error_size)
{
    static const char *const names[] = {"LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES",
                                        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    size_t i;
    bool ok;
    memset(s, 0, sizeof(*s));
    s->notify = -1;
    ok = take_sockets(s, error, error_size) && open_notify(s, error, error_size);
    if (ok) read_watchdog(s);
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) (void)unsetenv(names[i]);
    return ok;
}

void systemd_close(systemd *s)
{
    size_t i;
    for (i = 0; i < s->count; i++) close(s->sockets[i].fd);
    if (s->notify >= 0) close(s->notify);
    s->count = 0;
    s->notify = -1;
}
