/* main.c - start, signals, end */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../mm_heap.h"
#include "listen.h"
#include "worker.h"

enum {
    MAIN_WORKERS_MAX = 256,
    MAIN_FDS_RESERVED = 16, /* descriptors for log, standard streams and what libraries open */
    MAIN_FDS_WORKER = 10,   /* and for each worker's listeners, loop, pipe and folders; more
                               with --bind */
    MAIN_FDS_LEAST = 8,     /* without these for connections and files there is no point */
    MAIN_ERROR_SIZE = 512
};

static int fail(const char *error)
{
    fprintf(stderr, "mmserve: %s\n", error);
    return 1;
}

/* A stream that was closed must not become the log, a listener or a client. */
static void reserve_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO) close(fd);
}

/* The signals that end the server are taken by sigwait in main, and by no other thread. */
static sigset_t block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of the log costs lines, not the server */
    return set;
}

static int worker_count(const options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->workers > 0) return o->workers;
    if (cores < 1) return 1;
    return cores > MAIN_WORKERS_MAX ? MAIN_WORKERS_MAX : (int)cores;
}

/* Opens what the workers share; one line in `error` when that fails. */
static bool open_server(server *s, const options *o, char *error, size_t error_size)
{
    mm_budget_desc budget = {.name = "process", .allocator = mm_heap_allocator(NULL)};
    size_t fds = 0, reserved = MAIN_FDS_WORKER + 2 * o->bind.count;
    uint64_t secret;
    memset(s, 0, sizeof(*s));
    s->options = o;
    s->log_fd = -1;
    auth_users_init(&s->users, o);
    s->conns.limit = (size_t)o->max_conns;
    mm_budget_init(&s->memory, &budget);
    reserved = MAIN_FDS_RESERVED + reserved * (size_t)worker_count(o);
    if (mm_fd_limit_raise(0, &fds) != MM_STATUS_OK || fds < reserved + MAIN_FDS_LEAST) {
        snprintf(error, error_size, "too few file descriptors: %zu, of which %zu are reserved", fds,
                 reserved);
        return false;
    }
    s->fds.limit = fds - reserved;
    s->fds_for_files = s->fds.limit / 4 < 1024 ? s->fds.limit / 4 : 1024;
    if (RAND_bytes((unsigned char *)&secret, sizeof(secret)) != 1 ||
        peers_init(&s->peers, (size_t)o->max_conns_per_ip, secret,
                   mm_budget_allocator(&s->memory)) != MM_STATUS_OK) {
        (void)snprintf(error, error_size, "no memory to count clients in");
        return false;
    }
    if (!policy_init(&s->policy, o, mm_budget_allocator(&s->memory), error, error_size))
        return false;
    s->tls = tls_context_new(o->cert, o->key, error, error_size);
    if (s->tls == NULL) return false;
    return access_log_open(o->log, &s->log_fd, error, error_size);
}

static bool close_server(server *s)
{
    if (s->tls != NULL) SSL_CTX_free(s->tls);
    if (s->log_fd > STDERR_FILENO) close(s->log_fd);
    peers_deinit(&s->peers);
    policy_deinit(&s->policy);
    return mm_budget_deinit(&s->memory) == 0;
}

static void print_url(const char *scheme, const char *host, int port)
{
    bool v6 = strchr(host, ':') != NULL;
    printf("  %s://%s%s%s:%d/\n", scheme, v6 ? "[" : "", host, v6 ? "]" : "", port);
}

static void banner(const server *s, const listen_plan *plan, int workers)
{
    char fingerprint[TLS_FINGERPRINT_SIZE];
    const options_list *bind = plan->bind;
    size_t i;
    if (s->options->quiet) return;
    tls_fingerprint(s->tls, fingerprint);
    printf("mmserve %s serves %s with %d worker%s\n", MM_VERSION, s->options->dir, workers,
           workers == 1 ? "" : "s");
    for (i = 0; i < bind->count || i == 0; i++) {
        const char *host = bind->count == 0 ? "localhost" : bind->at[i];
        if (strncmp(host, "unix:", 5) == 0) {
            printf("  %s\n", host);
            continue;
        }
        print_url("https", host, plan->port);
        if (plan->http_port >= 0) print_url("http", host, plan->http_port);
    }
    printf("  certificate SHA-256 fingerprint %s\n", fingerprint);
    fflush(stdout);
}

/* Prepares and starts `count` workers; on failure those that were started are told to end. Returns
   how many were prepared. */
static int start_workers(worker *workers, int count, server *s, listen_plan *plan, char *error,
                         size_t error_size)
{
    int ready, i;
    for (ready = 0; ready < count; ready++) {
        listener listeners[SERVER_LISTENERS];
        size_t n = listen_open(plan, count > 1, listeners, error, error_size);
        if (n == 0) return ready;
        if (worker_init(&workers[ready], s, listeners, n, error, error_size)) continue;
        while (n > 0) close(listeners[--n].fd);
        return ready;
    }
    s->https_port = plan->port;
    banner(s, plan, count);
    for (i = 0; i < count; i++) {
        if (worker_start(&workers[i])) continue;
        snprintf(error, error_size, "cannot start a thread");
        break;
    }
    return ready;
}

/* Waits for a signal to drain and for all threads to end; a second signal ends the program at
   once. */
static void *second_signal(void *set)
{
    int signal_number;
    sigwait(set, &signal_number);
    _exit(1);
}

static void wait_and_drain(worker *workers, int count, sigset_t *signals)
{
    int signal_number, i;
    pthread_t watcher;
    bool watched;
    sigwait(signals, &signal_number);
    for (i = 0; i < count; i++) worker_drain(&workers[i]);
    watched = pthread_create(&watcher, NULL, second_signal, signals) == 0;
    for (i = 0; i < count; i++) worker_join(&workers[i]);
    if (!watched) return;
    pthread_cancel(watcher);
    pthread_join(watcher, NULL);
}

/* Gives back the workers, whether they ran or not; false when something was not given back to
   them. */
static bool end_workers(worker *workers, int count, bool quiet)
{
    unsigned long long lost = 0;
    size_t cut = 0;
    bool clean = true;
    int i;
    for (i = 0; i < count; i++) worker_drain(&workers[i]);
    for (i = 0; i < count; i++) {
        worker_join(&workers[i]);
        if (!worker_deinit(&workers[i])) {
            fprintf(stderr, "mmserve: something was not given back\n");
            clean = false;
        }
        lost += workers[i].log.lost;
        cut += workers[i].cut;
    }
    if (cut > 0) fprintf(stderr, "mmserve: %zu connections had to be cut off\n", cut);
    if (lost > 0 && !quiet)
        fprintf(stderr, "mmserve: %llu lines of the log could not be written\n", lost);
    return clean && cut == 0;
}

int main(int argc, char **argv)
{
    options o;
    server s;
    listen_plan plan;
    worker *workers;
    char error[MAIN_ERROR_SIZE] = "";
    int exit_code = 0, count, ready;
    bool clean;
    sigset_t signals;
    if (!options_parse(&o, argc, argv, &exit_code)) return exit_code;
    reserve_standard_streams();
    signals = block_signals();
    if (!open_server(&s, &o, error, sizeof(error))) {
        (void)close_server(&s);
        return fail(error);
    }
    listen_plan_init(&plan, &o);
    count = worker_count(&o);
    workers = mm_heap_calloc((size_t)count, sizeof(*workers));
    if (workers == NULL) {
        (void)close_server(&s);
        return fail("out of memory");
    }
    ready = start_workers(workers, count, &s, &plan, error, sizeof(error));
    if (error[0] == '\0') wait_and_drain(workers, ready, &signals);
    clean = end_workers(workers, ready, o.quiet);
    listen_plan_deinit(&plan);
    mm_heap_free(workers);
    if (!close_server(&s)) clean = false;
    if (error[0] != '\0') return fail(error);
    return clean ? 0 : 1;
}
