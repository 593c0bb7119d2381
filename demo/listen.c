#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_TRIES = 50 }; /* ports tried when any will do */

typedef union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} socket_address;

/* Reads a numeric address, perhaps with a zone; 0 when it is none, else its length. */
static socklen_t parse_address(const char *text, int port, socket_address *address)
{
    struct addrinfo hints, *found = NULL;
    char service[16];
    socklen_t size;
    memset(&hints, 0, sizeof(hints));
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
    hints.ai_socktype = SOCK_STREAM;
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(text, service, &hints, &found) != 0) return 0;
    size = found->ai_addrlen;
    memset(address, 0, sizeof(*address));
    if (size <= sizeof(*address)) memcpy(address, found->ai_addr, size);
    else size = 0;
    freeaddrinfo(found);
    return size;
}

/* Binds without sharing: fails when another program listens there, which a shared port would
   hide. */
static bool port_is_free(const socket_address *address, socklen_t size)
{
    int on = 1, error = 0, fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, &address->any, size) != 0) error = errno;
    close(fd);
    errno = error;
    return error == 0;
}

static int open_socket(const socket_address *address, socklen_t size, bool shared)
{
    int on = 1, error,
        fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (shared) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (address->any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, &address->any, size) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int bound_port(int fd)
{
    socket_address address;
    socklen_t size = sizeof(address);
    memset(&address, 0, sizeof(address));
    if (getsockname(fd, &address.any, &size) != 0) return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

/* Listens on one address; -1 with errno, EINVAL for what is no address. *port is set when it was
   0. */
static int listen_on(const char *text, int *port, bool shared, bool probe)
{
    socket_address address;
    socklen_t size = parse_address(text, *port, &address);
    int fd;
    errno = EINVAL;
    if (size == 0 || (probe && *port != 0 && !port_is_free(&address, size))) return -1;
    fd = open_socket(&address, size, shared);
    if (fd >= 0 && *port == 0) *port = bound_port(fd);
    return fd;
}

/* ---- Unix sockets ---- */

/* The path of an address of the plan; NULL when it is numeric. */
static const char *local_path(const char *bind)
{
    return strncmp(bind, "unix:", 5) == 0 ? bind + 5 : NULL;
}

static void make_address(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, strlen(path)); /* options.c has seen to it that it fits */
}

/* Whether a socket's file is there, but nobody listens: a server was killed. */
static bool is_left_over(const char *path)
{
    struct sockaddr_un address;
    struct stat st;
    int fd, error = 0;
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode)) return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    make_address(path, &address);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) error = errno;
    close(fd);
    return error == ECONNREFUSED;
}

static int open_local(const char *path)
{
    struct sockaddr_un address;
    int error, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool bound;
    if (fd < 0) return -1;
    make_address(path, &address);
    bound = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (!bound && errno == EADDRINUSE && is_left_over(path)) {
        (void)unlink(path);
        bound = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    }
    if (bound && listen(fd, SOMAXCONN) == 0) return fd;
    error = errno;
    if (bound) (void)unlink(path);
    close(fd);
    errno = error;
    return -1;
}

/* All workers wait at the same Unix sockets: such a path cannot be bound twice. */
static bool listen_local(listen_plan *plan, size_t index, listener *listeners, size_t *count)
{
    struct stat st;
    int fd;
    if (plan->local[index] < 0) plan->local[index] = open_local(local_path(plan->bind->at[index]));
    if (plan->local[index] < 0) return false;
    if (lstat(local_path(plan->bind->at[index]), &st) == 0) {
        plan->made[index].device = st.st_dev;
        plan->made[index].inode = st.st_ino;
    }
    fd = fcntl(plan->local[index], F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return false;
    listeners[*count].fd = fd;
    listeners[*count].tls = false;
    listeners[(*count)++].local = true;
    return true;
}

/* ---- the plan ---- */

void listen_plan_init(listen_plan *plan, const options *o, const systemd *passed)
{
    size_t i;
    memset(plan, 0, sizeof(*plan));
    plan->passed = passed;
    plan->bind = &o->bind;
    plan->port = o->port;
    plan->http_port = o->http_port;
    for (i = 0; i < OPTIONS_LIST; i++) plan->local[i] = -1;
}

void listen_plan_deinit(listen_plan *plan)
{
    struct stat st;
    size_t i;
    for (i = 0; i < OPTIONS_LIST; i++) {
        if (plan->local[i] < 0) continue;
        close(plan->local[i]);
        plan->local[i] = -1;
        if (lstat(local_path(plan->bind->at[i]), &st) == 0 && S_ISSOCK(st.st_mode) &&
            st.st_dev == plan->made[i].device && st.st_ino == plan->made[i].inode)
            (void)unlink(local_path(plan->bind->at[i])); /* it is not another server's by now */
    }
}

/* One port on one address; false with errno. */
static bool listen_port_on(const listen_plan *plan, const char *address, int *port, bool tls,
                           bool shared, listener *listeners, size_t *count)
{
    int fd = listen_on(address, port, shared, !plan->opened);
    if (fd < 0) return false;
    listeners[*count].fd = fd;
    listeners[*count].tls = tls;
    listeners[(*count)++].local = false;
    return true;
}

/* One port on all addresses of the plan; false with errno, and *failed the address. */
static bool listen_port(const listen_plan *plan, int *port, bool tls, bool shared,
                        listener *listeners, size_t *count, const char **failed)
{
    size_t i, before = *count;
    for (i = 0; i < plan->bind->count; i++) {
        *failed = plan->bind->at[i];
        if (local_path(*failed) != NULL) continue;
        if (!listen_port_on(plan, *failed, port, tls, shared, listeners, count)) return false;
    }
    if (i > 0) return true;
    *failed = "::";
    if (!listen_port_on(plan, *failed, port, tls, shared, listeners, count) &&
        errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)
        return false; /* a system without IPv6 is served all the same */
    *failed = "0.0.0.0";
    return listen_port_on(plan, *failed, port, tls, shared, listeners, count) && *count > before;
}

/* As listen_port. A port that is free on the first address can be taken on the second: where any
   port will do, others are tried. */
static bool listen_any_port(const listen_plan *plan, int *port, bool tls, bool shared,
                            listener *listeners, size_t *count, const char **failed)
{
    int tries, asked = *port;
    size_t before = *count;
    for (tries = 1; !listen_port(plan, port, tls, shared, listeners, count, failed); tries++) {
        if (asked != 0 || errno != EADDRINUSE || tries == LISTEN_TRIES) return false;
        while (*count > before) close(listeners[--*count].fd);
        *port = 0;
    }
    return true;
}

static bool listen_all_local(listen_plan *plan, listener *listeners, size_t *count,
                             const char **failed)
{
    size_t i;
    for (i = 0; i < plan->bind->count; i++) {
        *failed = plan->bind->at[i];
        if (local_path(*failed) != NULL && !listen_local(plan, i, listeners, count)) return false;
    }
    return true;
}

/* Sockets that a service manager has opened: all workers wait at the same ones. The ports are those
   of the first of each kind. */
static size_t listen_passed(listen_plan *plan, listener *listeners, char *error, size_t error_size)
{
    size_t count;
    if (!plan->opened) plan->port = 0;
    if (!plan->opened) plan->http_port = -1;
    plan->opened = true;
    for (count = 0; count < plan->passed->count; count++) {
        const systemd_socket *s = &plan->passed->sockets[count];
        listener *l = &listeners[count];
        l->fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
        l->local = s->port == 0;
        l->tls = !l->local && !s->plain;
        if (l->tls && plan->port == 0) plan->port = s->port;
        if (s->plain && s->port > 0 && plan->http_port < 0) plan->http_port = s->port;
        if (l->fd >= 0) continue;
        (void)snprintf(error, error_size, "too few file descriptors: %s", strerror(errno));
        while (count > 0) close(listeners[--count].fd);
        return 0;
    }
    return count;
}

size_t listen_open(listen_plan *plan, bool shared, listener listeners[SERVER_LISTENERS],
                   char *error, size_t error_size)
{
    size_t count = 0;
    const char *failed = "";
    bool local_ok, tls_ok, ok;
    if (plan->passed->count > 0) return listen_passed(plan, listeners, error, error_size);
    local_ok = listen_all_local(plan, listeners, &count, &failed);
    tls_ok = ok = local_ok && listen_any_port(plan, &plan->port, true, shared, listeners, &count,
                                              &failed);
    if (ok && plan->http_port >= 0)
        ok = listen_any_port(plan, &plan->http_port, false, shared, listeners, &count, &failed);
    plan->opened = plan->opened || ok;
    if (ok) return count;
    if (!local_ok)
        (void)snprintf(error, error_size, "cannot listen on %s: %s", failed, strerror(errno));
    else
        (void)snprintf(error, error_size, "cannot listen on %s port %d: %s", failed,
                       tls_ok ? plan->http_port : plan->port, strerror(errno));
    while (count > 0) close(listeners[--count].fd);
    return 0;
}
