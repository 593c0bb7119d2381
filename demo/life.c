/* life.c - the main thread, once the workers run: it waits for signals, and looks at files */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "life.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    LIFE_WATCH_MS = 1000, /* between two looks at the files */
    LIFE_IDLE_MS = 60000, /* between two looks at the clock when there are no files */
    LIFE_ERROR_SIZE = 512
};

typedef struct life {
    server *server;
    worker *workers;
    int count;
    int64_t watchdog_at; /* when the workers are to be asked for a sign of life; milliseconds */
} life;

/* ---- signals ---- */

static void ending_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
}

static void all_signals(sigset_t *set)
{
    ending_signals(set);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGUSR2);
}

void life_block_signals(void)
{
    sigset_t set;
    all_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of the log costs lines, not the server */
}

/* ---- reloading ---- */

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Certificates, keys of tickets and tokens; what is bad stays as it was. */
static void reload_secrets(life *l)
{
    char error[LIFE_ERROR_SIZE];
    watch_mark(&l->server->files);
    if (!tickets_reload(&l->server->tickets, error, sizeof(error)))
        fprintf(stderr, "mmserve: %s; those in use stay\n", error);
    if (!certs_reload(&l->server->certs, error, sizeof(error)))
        fprintf(stderr, "mmserve: %s; the certificates in use stay\n", error);
    if (!uploads_reload(&l->server->uploads, error, sizeof(error)))
        fprintf(stderr, "mmserve: %s; those in use stay\n", error);
    server_warn(l->server);
}

static void reopen_log(life *l)
{
    char error[LIFE_ERROR_SIZE];
    if (!access_log_reopen(l->server->options->log, l->server->log_fd, error, sizeof(error)))
        fprintf(stderr, "mmserve: %s; the one in use stays\n", error);
}

static void reload_pages(life *l)
{
    char error[LIFE_ERROR_SIZE];
    if (!pages_reload(&l->server->pages, error, sizeof(error)))
        fprintf(stderr, "mmserve: %s; the pages in use stay\n", error);
}

static void reload(life *l)
{
    systemd_notify_reloading(&l->server->manager);
    reopen_log(l);
    reload_secrets(l);
    reload_pages(l);
    systemd_notify(&l->server->manager, "READY=1");
}

/* The manager hears nothing more, and starts the server anew, when a worker has not come back to
   its loop since it was last asked. */
static void watch_workers(life *l)
{
    const systemd *manager = &l->server->manager;
    bool alive = true;
    int i;
    if (manager->watchdog_ms == 0 || clock_ms() < l->watchdog_at) return;
    l->watchdog_at = clock_ms() + manager->watchdog_ms / 2;
    for (i = 0; i < l->count; i++) alive = worker_is_alive(&l->workers[i]) && alive;
    if (alive) systemd_notify(manager, "WATCHDOG=1");
}

static void look_around(life *l)
{
    watch_workers(l);
    if (watch_changed(&l->server->files)) reload_secrets(l);
    mm_tls_tickets_rotate(&l->server->tickets.keys, clock_ms() / 1000);
    mm_tls_sessions_expire(&l->server->tickets.sessions);
}

/* ---- the end ---- */

typedef struct second_signal {
    pthread_t thread;
    size_t over; /* the workers have ended: atomic */
} second_signal;

/* While the workers drain: a signal that would end the server ends it at once. */
static void *await_second_signal(void *argument)
{
    second_signal *second = argument;
    int number = 0;
    sigset_t set;
    ending_signals(&set);
    sigwait(&set, &number);
    if (mmi_atomic_load(&second->over) == 0) _exit(1);
    return NULL;
}

static void drain(life *l)
{
    second_signal second = {.over = 0};
    bool awaited;
    int i;
    for (i = 0; i < l->count; i++) worker_drain(&l->workers[i]);
    awaited = pthread_create(&second.thread, NULL, await_second_signal, &second) == 0;
    for (i = 0; i < l->count; i++) worker_join(&l->workers[i]);
    if (!awaited) return;
    mmi_atomic_store(&second.over, 1);
    pthread_kill(second.thread, SIGTERM); /* cancelling would load a library in the sandbox */
    pthread_join(second.thread, NULL);
}

/* The next signal; 0 when it is time to look around. */
static int next_signal(const life *l)
{
    int ms = l->server->files.count > 0 ? LIFE_WATCH_MS : LIFE_IDLE_MS, number;
    int watchdog_ms = l->server->manager.watchdog_ms / 4;
    struct timespec time;
    sigset_t set;
    if (watchdog_ms > 0 && watchdog_ms < ms) ms = watchdog_ms;
    time = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    all_signals(&set);
    number = sigtimedwait(&set, NULL, &time);
    return number > 0 ? number : 0;
}

void life_run(server *s, worker *workers, int count)
{
    life l = {.server = s, .workers = workers, .count = count};
    watch_prune(&s->files);
    systemd_notify(&s->manager, "READY=1");
    for (;;) {
        int number = next_signal(&l);
        if (number == SIGINT || number == SIGTERM) break;
        if (number == SIGHUP) reload(&l);
        if (number == SIGUSR1) reopen_log(&l);
        if (number == SIGUSR2) memory_report(stderr);
        look_around(&l);
    }
    systemd_notify(&s->manager, "STOPPING=1");
    drain(&l);
}
