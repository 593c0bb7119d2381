/* main.c - start and end */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../mm_heap.h"
#include "life.h"
#include "listen.h"
#include "privileges.h"
#include "sandbox.h"
#include "worker.h"

enum {
    MAIN_WORKERS_MAX = 256,
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

static int worker_count(const options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->workers > 0) return o->workers;
    if (cores < 1) return 1;
    return cores > MAIN_WORKERS_MAX ? MAIN_WORKERS_MAX : (int)cores;
}

static void print_url(const char *scheme, const char *host, int port)
{
    bool v6 = strchr(host, ':') != NULL;
    printf("  %s://%s%s%s:%d/\n", scheme, v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* What a service manager passed: which host that is, it knows. */
static void print_passed(const systemd *manager)
{
    size_t i;
    for (i = 0; i < manager->count; i++)
        if (manager->sockets[i].port == 0) printf("  a Unix socket that was passed\n");
        else print_url(manager->sockets[i].plain ? "http" : "https", "localhost",
                       manager->sockets[i].port);
}

static void banner(server *s, const listen_plan *plan, int workers)
{
    char fingerprint[CERTS_FINGERPRINT_SIZE];
    const options_list *bind = plan->bind;
    size_t i;
    if (s->options->quiet) return;
    certs_fingerprint(&s->certs, fingerprint);
    printf("mmserve %s serves %s with %d worker%s\n", MM_VERSION, s->options->dir, workers,
           workers == 1 ? "" : "s");
    print_passed(&s->manager);
    for (i = 0; s->manager.count == 0 && (i < bind->count || i == 0); i++) {
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

/* All that needs privileges is open, and there is but one thread. */
static bool confine(const options *o, char *error, size_t error_size)
{
    sandbox box;
    privileges_limit();
    return sandbox_prepare(&box, o, error, error_size) &&
           privileges_drop(o, error, error_size) && sandbox_enter(&box, o, error, error_size);
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
    server_warn(s);
    server_warn_start(s);
    if (!confine(s->options, error, error_size)) return ready;
    s->admin.workers = workers;
    s->admin.worker_count = count;
    for (i = 0; i < (int)s->uploads.count; i++) uploads_sweep(workers[0].places[i].root_fd);
    banner(s, plan, count);
    for (i = 0; i < count; i++) {
        if (worker_start(&workers[i])) continue;
        snprintf(error, error_size, "cannot start a thread");
        break;
    }
    return ready;
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
    for (i = 0; i < count; i++) worker_join(&workers[i]); /* they know of each other until then */
    for (i = 0; i < count; i++) {
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
    memory_init(mm_heap_allocator(NULL));
    if (!memory_count_openssl(error, sizeof(error))) return fail(error);
    if (!options_parse(&o, argc, argv, &exit_code)) return exit_code;
    reserve_standard_streams();
    life_block_signals();
    count = worker_count(&o);
    if (!server_open(&s, &o, count, error, sizeof(error))) {
        (void)server_close(&s);
        return fail(error);
    }
    listen_plan_init(&plan, &o, &s.manager);
    workers = mm_heap_calloc((size_t)count, sizeof(*workers));
    if (workers == NULL) {
        (void)server_close(&s);
        return fail("out of memory");
    }
    ready = start_workers(workers, count, &s, &plan, error, sizeof(error));
    if (error[0] == '\0') life_run(&s, workers, ready);
    clean = end_workers(workers, ready, o.quiet);
    listen_plan_deinit(&plan);
    mm_heap_free(workers);
    if (!server_close(&s)) clean = false;
    if (error[0] != '\0') return fail(error);
    return clean ? 0 : 1;
}
