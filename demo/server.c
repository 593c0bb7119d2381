/* server.c - what all workers share: opened before the first starts, closed after the last */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "server.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum {
    SERVER_FDS_RESERVED = 16, /* descriptors for log, standard streams and what libraries open */
    SERVER_FDS_WORKER = 10,   /* and for each worker's listeners, loop, pipe and folders; more
                                 with --bind */
    SERVER_FDS_LEAST = 8      /* without these for connections and files there is no point */
};

static bool share_fds(server *s, int workers, char *error, size_t error_size)
{
    size_t fds = 0, reserved = SERVER_FDS_WORKER + 2 * s->options->bind.count +
                               s->manager.count + s->options->upload.count;
    reserved = SERVER_FDS_RESERVED + reserved * (size_t)workers;
    if (mm_fd_limit_raise(0, &fds) != MM_STATUS_OK || fds < reserved + SERVER_FDS_LEAST) {
        snprintf(error, error_size, "too few file descriptors: %zu, of which %zu are reserved", fds,
                 reserved);
        return false;
    }
    s->fds.limit = fds - reserved;
    s->fds_for_files = s->fds.limit / 4 < 1024 ? s->fds.limit / 4 : 1024;
    s->fds.most[MM_FD_CONNECTION] = s->fds.limit - s->fds_for_files;
    s->fds.most[MM_FD_TEMP] = s->fds_for_files / 2; /* an upload has its folder open as well */
    s->conns.limit = (size_t)s->options->max_conns;
    return true;
}

static bool open_peers(server *s, char *error, size_t error_size)
{
    uint64_t secret;
    if (RAND_bytes((unsigned char *)&secret, sizeof(secret)) == 1 &&
        peers_init(&s->peers, (size_t)s->options->max_conns_per_ip, secret,
                   memory_allocator(MEMORY_SHARED)) == MM_STATUS_OK)
        return true;
    (void)snprintf(error, error_size, "no memory to count clients in");
    return false;
}

static void watch_files(server *s)
{
    const options *o = s->options;
    size_t i;
    for (i = 0; i < o->cert.count; i++) watch_add(&s->files, o->cert.at[i]);
    for (i = 0; i < o->key.count; i++) watch_add(&s->files, o->key.at[i]);
    if (o->ticket_keys != NULL) watch_add(&s->files, o->ticket_keys);
    if (o->upload_token_file != NULL) watch_add(&s->files, o->upload_token_file);
}

static bool open_tls(server *s, char *error, size_t error_size)
{
    const options *o = s->options;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    watch_files(s);
    if (!certs_init(&s->certs, &o->cert, &o->key, error, error_size) ||
        !tickets_init(&s->tickets, o->ticket_keys, (int64_t)now.tv_sec,
                      memory_get_sizes()->sessions, memory_allocator(MEMORY_SESSIONS), error,
                      error_size))
        return false;
    s->tls = tls_context_new(&s->certs, &s->tickets, error, error_size);
    return s->tls != NULL;
}

bool server_open(server *s, const options *o, int workers, char *error, size_t error_size)
{
    memset(s, 0, sizeof(*s));
    s->options = o;
    s->log_fd = -1;
    auth_users_init(&s->users, o);
    policy_init(&s->policy, o);
    admin_init(&s->admin, o);
    return memory_plan(o, workers, error, error_size) &&
           systemd_open(&s->manager, error, error_size) &&
           share_fds(s, workers, error, error_size) && open_peers(s, error, error_size) &&
           pages_init(&s->pages, o, memory_allocator(MEMORY_SHARED), error, error_size) &&
           uploads_init(&s->uploads, o, error, error_size) && open_tls(s, error, error_size) &&
           access_log_open(o->log, &s->log_fd, error, error_size);
}

bool server_close(server *s)
{
    systemd_close(&s->manager);
    admin_deinit(&s->admin);
    SSL_CTX_free(s->tls);
    tickets_deinit(&s->tickets);
    certs_deinit(&s->certs);
    if (s->log_fd > STDERR_FILENO) close(s->log_fd);
    peers_deinit(&s->peers);
    pages_deinit(&s->pages);
    uploads_deinit(&s->uploads);
    return mm_budget_live(memory_get(MEMORY_SESSIONS)) == 0 &&
           mm_budget_live(memory_get(MEMORY_SHARED)) == 0;
}

static void warn_exposed(const char *file)
{
    fprintf(stderr, "mmserve: others than its owner may read %s: chmod 600 mends that\n", file);
}

void server_warn(const server *s)
{
    const char *key = certs_exposed_key(&s->certs);
    if (key != NULL) warn_exposed(key);
    if (mm_tls_tickets_exposed(&s->tickets.keys)) warn_exposed(s->options->ticket_keys);
    if (uploads_exposed(&s->uploads)) warn_exposed(s->uploads.token_file);
}

/* Whether files are served without encryption, to others than a proxy on this machine. */
static bool speaks_plain_http(const server *s)
{
    bool plain = s->options->http_port >= 0 && s->manager.count == 0;
    size_t i;
    for (i = 0; i < s->manager.count; i++) plain = plain || s->manager.sockets[i].plain;
    return plain && !s->options->redirect_http;
}

void server_warn_start(const server *s)
{
    const options *o = s->options;
    bool plain = speaks_plain_http(s);
    size_t i;
    if (plain && o->auth.count > 0)
        fprintf(stderr, "mmserve: --auth: over plain HTTP passwords are sent in the clear; "
                        "--redirect-http mends that\n");
    if (plain && o->upload_token_file != NULL)
        fprintf(stderr, "mmserve: --upload: over plain HTTP tokens are sent in the clear; "
                        "--redirect-http mends that\n");
    for (i = 0; i < s->uploads.count && o->upload_open; i++)
        fprintf(stderr, "mmserve: --upload-open: ANYBODY%s may write to %s\n",
                o->auth.count > 0 ? " with a password" : " who can reach this server",
                s->uploads.places[i].dir);
}
