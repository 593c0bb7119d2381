#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "rest.h"

enum {
    WORKER_EVENTS = 256,       /* taken from the loop at a time */
    WORKER_ACCEPTS = 64,       /* connections accepted before the others get their turn */
    WORKER_PAUSE_MS = 100,     /* without descriptors: until the next try */
    WORKER_LOG_MS = 100,       /* that lines of the log wait for others: one write for all */
    WORKER_LOG_AGAIN_MS = 1000, /* until what the log did not take is offered to it again */
    WORKER_BODY_MEMORY = 1 << 20, /* of an answer's content; a longer listing waits on disk */
    WORKER_STAT_MS = 20,       /* that a file in demand is believed to be what it was: 50 calls a
                                  second in place of one for each request */
    WORKER_RESPONSES = 2048,   /* kept ready: files open in the cache, in two codings each */
    WORKER_FIGURES_MS = 100,   /* that the figures of the parts may be behind */
    WORKER_DRAIN = 'd',        /* bytes in the pipe */
    WORKER_ASK = 'a',
    WORKER_WAKE = 0            /* event data of the pipe; listeners follow, handles are > 2^32 */
};

/* ---- clock and timers ---- */

static int64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void read_clock(worker *w)
{
    int64_t seconds = (int64_t)time(NULL), now_us = clock_us();
    w->now_ms = now_us / 1000;
    figures_begin_turn(&w->figures, now_us);
    if (seconds == w->now_s) return;
    w->now_s = seconds;
    http_date_format(seconds, w->date);
}

static void unlink_timer(worker *w, conn *c)
{
    timer_list *list = &w->timers[c->timer];
    if (c->timer_before != NULL) c->timer_before->timer_after = c->timer_after;
    else list->first = c->timer_after;
    if (c->timer_after != NULL) c->timer_after->timer_before = c->timer_before;
    else list->last = c->timer_before;
}

void worker_set_timer(worker *w, conn *c, timer_kind kind)
{
    timer_list *list;
    if (c->timer != TIMER_NONE) unlink_timer(w, c);
    if (w->draining && kind <= TIMER_IDLE) kind = TIMER_DRAIN;
    c->timer = kind;
    if (kind == TIMER_NONE) return;
    list = &w->timers[kind];
    c->deadline = w->now_ms + list->duration;
    c->timer_before = list->last;
    c->timer_after = NULL;
    if (list->last != NULL) list->last->timer_after = c;
    else list->first = c;
    list->last = c;
}

/* One that rests is woken up first; without memory for that, it is closed. */
static void with_whole(conn *c, void (*act)(conn *c))
{
    c = c == NULL ? NULL : rest_wake(c);
    if (c != NULL) act(c);
}

/* Serves the timers that have run out. Each one is disarmed or armed for later, so this ends. */
static void run_timers(worker *w)
{
    int kind;
    for (kind = 0; kind < TIMER_KINDS; kind++)
        while (w->timers[kind].first != NULL && w->timers[kind].first->deadline <= w->now_ms)
            with_whole(w->timers[kind].first, conn_timeout);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Milliseconds until something is due; -1: nothing is. */
static int next_timeout(const worker *w)
{
    int64_t due = INT64_MAX;
    int kind;
    for (kind = 0; kind < TIMER_KINDS; kind++)
        if (w->timers[kind].first != NULL) due = sooner(due, w->timers[kind].first->deadline);
    if (w->paused) due = sooner(due, w->resume_at);
    if (w->draining) due = sooner(due, w->drain_until);
    if (w->log_due > 0) due = sooner(due, w->log_due);
    due = sooner(due, shed_due(w));
    if (w->figures_due > 0) due = sooner(due, w->figures_due);
    if (due == INT64_MAX) return -1;
    if (due <= w->now_ms) return 0;
    return due - w->now_ms > 60000 ? 60000 : (int)(due - w->now_ms);
}

/* ---- accepting ---- */

static void set_accepting(worker *w, bool on)
{
    if (w->paused != on || w->draining) return;
    w->paused = !on;
    w->resume_at = w->now_ms + WORKER_PAUSE_MS;
    worker_listen(w);
}

/* Without memory for a handshake, clients wait in the kernel. */
static bool is_closed(const worker *w, const listener *l)
{
    return w->paused || (shed_is_critical(w) && (l->tls || l->local));
}

void worker_listen(worker *w)
{
    size_t i;
    for (i = 0; i < w->listener_count; i++)
        event_change(&w->loop, w->listeners[i].fd,
                     is_closed(w, &w->listeners[i]) ? 0 : EVENT_READ, i + 1);
}

void worker_conn_gone(worker *w)
{
    set_accepting(w, true);
}

/* What counts the connections; NULL when they are not limited but by descriptors. */
static mm_fd_budget *conn_budget(server *s)
{
    return s->conns.limit > 0 ? &s->conns : NULL;
}

/* Takes a connection and a descriptor for it off the budgets. Files that are open for nobody make
   room. */
static bool take_conn(worker *w)
{
    server *s = w->server;
    if (!mm_fd_budget_take(conn_budget(s))) return false;
    if (mm_fd_budget_take_for(&s->fds, MM_FD_CONNECTION)) return true;
    if (mm_fd_budget_taken(&s->fds) >= s->fds.limit) {
        mm_filecache_trim(&w->cache, w->cache.stats.entries / 2);
        if (mm_fd_budget_take_for(&s->fds, MM_FD_CONNECTION)) return true;
    }
    mm_fd_budget_give(conn_budget(s));
    return false;
}

static void give_conn(server *s)
{
    mm_fd_budget_give_for(&s->fds, MM_FD_CONNECTION);
    mm_fd_budget_give(conn_budget(s));
}

void worker_close_socket(worker *w, int fd)
{
    close(fd);
    give_conn(w->server);
}

/* What to do when accept has failed; false: nothing more for now. */
static bool accept_failed(worker *w, const listener *l, int error)
{
    if (error == EAGAIN || error == EWOULDBLOCK) return false;
    /* the budget has some left, but not the system: to wait would be for others to give one back */
    if ((error == EMFILE || error == ENFILE) &&
        mm_fd_spare_shed(&w->spare_fd, l->fd) == MM_STATUS_OK) {
        (void)mmi_atomic_add(&w->shed.turned_away, 1);
        return true;
    }
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
        set_accepting(w, false);
        return false;
    }
    return true; /* a connection that was reset before it could be accepted */
}

/* Accepts one connection; false when there is none, or no room for one. */
static bool accept_one(worker *w, const listener *l)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    int fd, error;
    if (!take_conn(w)) { /* they wait in the kernel until another has gone */
        set_accepting(w, false);
        return false;
    }
    memset(&address, 0, sizeof(address));
    fd = accept4(l->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    error = errno;
    if (fd < 0) give_conn(w->server);
    if (fd < 0) return accept_failed(w, l, error);
    conn_open(w, fd, l, &address);
    return true;
}

static void accept_some(worker *w, const listener *l)
{
    int i;
    for (i = 0; i < WORKER_ACCEPTS && !is_closed(w, l) && !w->draining; i++) {
        if (!accept_one(w, l)) return;
        shed_update(w);
    }
}

/* ---- the loop ---- */

/* Lines wait for others, so that a worker writes ten times a second and not after every answer; the
   log writes by itself when it has 64 KiB of them. */
static void flush_log(worker *w)
{
    bool waited = w->log_due > 0;
    if (mm_buffer_is_blank(&w->log.pending)) {
        w->log_due = 0;
        return;
    }
    if (waited && w->now_ms < w->log_due) return;
    if (waited) access_log_flush(&w->log);
    w->log_due = w->now_ms + (waited ? WORKER_LOG_AGAIN_MS : WORKER_LOG_MS);
    if (mm_buffer_is_blank(&w->log.pending)) w->log_due = 0;
}

void worker_publish(worker *w)
{
    figures *f = &w->figures;
    const mm_filecache_stats *files = &w->cache.stats;
    const mm_respcache_stats *responses = &w->responses.stats;
    mm_chunk_pool_stats chunks = mm_chunk_pool_get_stats(&w->chunks);
    mm_arena_stats arena;
    mm_pool_stats slab;
    mm_arena_get_stats(&w->arena, &arena);
    mm_slab_get_stats(&w->conns, &slab);
    figures_set(f, FIGURE_FILES_ENTRIES, files->entries);
    figures_set(f, FIGURE_FILES_OPEN, files->open);
    figures_set(f, FIGURE_FILES_HITS, (size_t)files->hits);
    figures_set(f, FIGURE_FILES_NEGATIVE, (size_t)files->negative);
    figures_set(f, FIGURE_FILES_MISSES, (size_t)files->misses);
    figures_set(f, FIGURE_FILES_EVICTIONS, (size_t)files->evictions);
    figures_set(f, FIGURE_RESPONSES_ENTRIES, responses->entries);
    figures_set(f, FIGURE_RESPONSES_BYTES, responses->bytes);
    figures_set(f, FIGURE_RESPONSES_HITS, (size_t)responses->hits);
    figures_set(f, FIGURE_RESPONSES_MISSES, (size_t)responses->misses);
    figures_set(f, FIGURE_RESPONSES_EVICTIONS, (size_t)responses->evictions);
    figures_set(f, FIGURE_CHUNKS, chunks.chunks);
    figures_set(f, FIGURE_CHUNK_MEMORY, chunks.memory);
    figures_set(f, FIGURE_CHUNK_CACHED, chunks.cached);
    figures_set(f, FIGURE_CHUNK_FAILURES, chunks.failures);
    figures_set(f, FIGURE_TEMP_FILES, chunks.temp_files);
    figures_set(f, FIGURE_TEMP_BYTES, (size_t)chunks.temp_live);
    figures_set(f, FIGURE_ARENA_TOTAL, arena.total);
    figures_set(f, FIGURE_ARENA_PEAK, arena.peak);
    figures_set(f, FIGURE_ARENA_WASTE, arena.waste);
    figures_set(f, FIGURE_ARENA_FAILURES, arena.failures);
    figures_set(f, FIGURE_SLAB_LIVE, slab.live);
    figures_set(f, FIGURE_SLAB_CACHED, slab.cached);
    figures_set(f, FIGURE_SLAB_BYTES, slab.bytes);
    figures_set(f, FIGURE_SLAB_FAILURES, slab.failures);
    figures_set(f, FIGURE_LOG_PENDING, mm_buffer_length(&w->log.pending));
    figures_set(f, FIGURE_LOG_LOST, (size_t)w->log.lost);
    w->figures_due = 0;
}

/* The parts' figures change with each request, and nobody may ever look: copies are made some time
   after it, and when nothing is going on but the end of timers. */
static void publish_sometimes(worker *w, bool busy)
{
    if (w->figures.turn_done > 0) figures_end_turn(&w->figures, clock_us());
    if (w->figures_due == 0 && busy) w->figures_due = w->now_ms + WORKER_FIGURES_MS;
    if (!busy || w->now_ms >= w->figures_due) worker_publish(w);
}

static void begin_drain(worker *w)
{
    size_t i;
    mm_handle h;
    if (w->draining) return;
    for (i = 0; i < w->listener_count; i++) {
        int accepted;
        for (accepted = 0; accepted < SOMAXCONN; accepted++) /* those that wait in the kernel */
            if (!accept_one(w, &w->listeners[i])) break;
        event_remove(&w->loop, w->listeners[i].fd);
        close(w->listeners[i].fd);
    }
    w->listener_count = 0;
    w->paused = false; /* or its time would be over in each turn */
    w->draining = true;
    w->drain_until = w->now_ms + w->server->options->drain * INT64_C(1000);
    for (h = mm_slab_next(&w->conns, 0); h != 0; h = mm_slab_next(&w->conns, h))
        with_whole(rest_find(w, h), conn_drain);
}

static void read_wake(worker *w)
{
    char byte;
    if (read(w->wake[0], &byte, 1) != 1) return;
    if (byte == WORKER_DRAIN) begin_drain(w);
    if (byte == WORKER_ASK) mmi_atomic_add(&w->answered, 1);
}

static void dispatch(worker *w, const event *e)
{
    if (e->data == WORKER_WAKE) {
        read_wake(w);
        return;
    }
    if (e->data <= w->listener_count) {
        accept_some(w, &w->listeners[e->data - 1]);
        return;
    }
    with_whole(rest_find(w, e->data), conn_run); /* NULL: closed by an event before this one */
}

static void *run(void *argument)
{
    worker *w = argument;
    event events[WORKER_EVENTS];
    read_clock(w);
    shed_begin(w);
    while (!w->draining || mm_slab_count(&w->conns) > 0) {
        size_t i, n;
        flush_log(w);
        n = event_wait(&w->loop, next_timeout(w), events, WORKER_EVENTS);
        read_clock(w);
        for (i = 0; i < n; i++) {
            dispatch(w, &events[i]);
            shed_update(w);
        }
        if (w->paused && w->now_ms >= w->resume_at) set_accepting(w, true);
        run_timers(w);
        shed_settle(w, n > 0);
        publish_sometimes(w, n > 0);
        if (w->draining && w->now_ms >= w->drain_until) {
            mm_handle h;
            for (h = mm_slab_next(&w->conns, 0); h != 0; h = mm_slab_next(&w->conns, h), w->cut++)
                with_whole(rest_find(w, h), conn_close);
        }
    }
    shed_deinit(w);
    return NULL;
}

/* ---- life ---- */

static void set_durations(worker *w, const options *o)
{
    w->timers[TIMER_HANDSHAKE].duration = w->timers[TIMER_HEAD].duration = o->header_timeout * 1000;
    w->timers[TIMER_IDLE].duration = o->idle_timeout * 1000;
    w->timers[TIMER_BODY].duration = o->write_timeout * 1000;
    w->timers[TIMER_WRITE].duration = o->write_timeout * 500; /* see is_taking in conn.c */
    w->timers[TIMER_LINGER].duration = 2000;
    w->timers[TIMER_DRAIN].duration = 1000;
}

static mm_status init_memory(worker *w)
{
    const memory_sizes *sizes = memory_get_sizes();
    mm_tier_desc tier = {.class_size = {4096, MM_CHUNK_SIZE_DEFAULT, 16384, 65536}};
    mm_slab_desc slab = {.size = sizeof(conn *)};
    mm_chunk_pool_desc chunks = {0};
    mm_arena_desc arena = {0};
    mm_status status;
    size_t i;
    memory_worker_init(&w->accounts, &w->memory);
    slab.allocator = memory_part_allocator(&w->accounts, MEMORY_CONNECTIONS);
    tier.allocator = memory_part_allocator(&w->accounts, MEMORY_BUFFERS);
    arena.allocator = memory_part_allocator(&w->accounts, MEMORY_ARENA);
    for (i = 0; i < 4; i++) {
        tier.class_keep[i] = (uint32_t)(sizes->spare / tier.class_size[i]) + 1;
        tier.class_central[i] = MM_TIER_KEEP_NONE; /* there is but one thread */
    }
    status = mm_tier_init(&w->tier, &tier);
    if (status == MM_STATUS_OK) status = mm_slab_init(&w->conns, &slab);
    if (status == MM_STATUS_OK && !rest_init(w)) status = MM_STATUS_NO_MEMORY;
    if (status == MM_STATUS_OK) {
        chunks.allocator = mm_tier_allocator(&w->tier);
        status = mm_chunk_pool_init(&w->chunks, &chunks);
    }
    mm_arena_init(&w->arena, &arena);
    mm_chunkqueue_init(&w->body, &w->chunks);
    mm_chunkqueue_set_spill(&w->body, WORKER_BODY_MEMORY);
    return status;
}

static mm_status init_files(worker *w)
{
    mm_filecache_desc cache = {0};
    mm_respcache_desc responses = {0};
    mm_status status;
    cache.root = w->server->options->dir;
    cache.follow = w->server->options->follow;
    cache.stat_ms = WORKER_STAT_MS;
    cache.fds = &w->server->fds;
    cache.max_entries = memory_get_sizes()->files;
    if (cache.max_entries > w->server->fds_for_files)
        cache.max_entries = w->server->fds_for_files + 1; /* 0 would be many */
    cache.allocator = memory_part_allocator(&w->accounts, MEMORY_FILES);
    responses.allocator = memory_part_allocator(&w->accounts, MEMORY_RESPONSES);
    responses.budget = &w->accounts.parts[MEMORY_RESPONSES];
    responses.max_bytes = memory_get_sizes()->responses;
    responses.max_entries = WORKER_RESPONSES;
    w->site.cache = &w->cache;
    w->site.responses = &w->responses;
    w->site.listing = w->server->options->listing;
    w->site.allocator = memory_part_allocator(&w->accounts, MEMORY_LISTINGS);
    w->site.policy = &w->server->policy;
    if (w->server->users.count > 0) w->site.guard = &w->guard;
    if (!auth_guard_init(&w->guard, &w->server->users) ||
        RAND_bytes((unsigned char *)&w->site.random, sizeof(w->site.random)) != 1)
        return MM_STATUS_IO;
    status = mm_filecache_init(&w->cache, &cache);
    if (status == MM_STATUS_OK) status = mm_respcache_init(&w->responses, &responses);
    return status == MM_STATUS_OK ? files_siblings_init(&w->site) : status;
}

/* What is at a place is looked up anew each time, and nothing is kept open. */
static mm_status init_places(worker *w, const char **dir)
{
    const uploads *all = &w->server->uploads;
    mm_filecache_desc cache = {.max_entries = 1, .valid_ms = -1};
    mm_status status = MM_STATUS_OK;
    size_t i;
    cache.fds = &w->server->fds;
    cache.allocator = memory_part_allocator(&w->accounts, MEMORY_FILES);
    w->site.uploads = &w->server->uploads;
    for (i = 0; i < all->count && status == MM_STATUS_OK; i++) {
        cache.root = *dir = all->places[i].dir;
        status = mm_filecache_init(&w->places[i], &cache);
    }
    return status;
}

static mm_status init_loop(worker *w)
{
    size_t i;
    mm_status status = event_loop_init(&w->loop, w->server->options->poll,
                                       mm_budget_allocator(&w->memory));
    if (status != MM_STATUS_OK) return status;
    if (pipe2(w->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        w->wake[0] = w->wake[1] = -1;
        return MM_STATUS_NO_FILES;
    }
    w->accounts.wake = w->wake[1];
    (void)!mm_fd_spare_init(&w->spare_fd); /* without one, it is made when one is to be had */
    status = event_add(&w->loop, w->wake[0], EVENT_READ, WORKER_WAKE);
    for (i = 0; i < w->listener_count && status == MM_STATUS_OK; i++)
        status = event_add(&w->loop, w->listeners[i].fd, EVENT_READ, i + 1);
    return status;
}

bool worker_init(worker *w, server *s, const listener *listeners, size_t count, char *error,
                 size_t error_size)
{
    const char *dir = s->options->dir;
    mm_status status;
    memset(w, 0, sizeof(*w));
    w->server = s;
    w->wake[0] = w->wake[1] = -1;
    w->loop.epoll = w->spare_fd.fd = -1;
    memcpy(w->listeners, listeners, count * sizeof(*listeners));
    w->listener_count = count;
    set_durations(w, s->options);
    status = init_memory(w);
    access_log_init(&w->log, s->log_fd, memory_part_allocator(&w->accounts, MEMORY_LOG));
    w->log.json = s->options->log_format != NULL && strcmp(s->options->log_format, "json") == 0;
    errno = 0;
    if (status == MM_STATUS_OK) status = init_files(w);
    if (status == MM_STATUS_OK) status = init_places(w, &dir);
    if (status != MM_STATUS_OK) {
        snprintf(error, error_size, "%s: %s", dir,
                 errno != 0 ? strerror(errno) : mm_status_string(status));
    } else {
        status = init_loop(w);
        if (status != MM_STATUS_OK)
            snprintf(error, error_size, "event loop: %s", mm_status_string(status));
    }
    if (status == MM_STATUS_OK) {
        shed_init(w);
        return true;
    }
    w->listener_count = 0; /* still the caller's */
    (void)worker_deinit(w);
    return false;
}

bool worker_start(worker *w)
{
    w->started = pthread_create(&w->thread, NULL, run, w) == 0;
    return w->started;
}

static bool wake(worker *w, char byte)
{
    ssize_t n;
    do n = w->started ? write(w->wake[1], &byte, 1) : 0;
    while (n < 0 && errno == EINTR);
    return n == 1;
}

void worker_drain(worker *w)
{
    (void)wake(w, WORKER_DRAIN);
}

bool worker_is_alive(worker *w)
{
    bool alive = mmi_atomic_load(&w->answered) == w->asked;
    if (alive && wake(w, WORKER_ASK)) w->asked++;
    return alive;
}

void worker_join(worker *w)
{
    if (w->started) pthread_join(w->thread, NULL);
    w->started = false;
}

bool worker_deinit(worker *w)
{
    size_t i, left;
    for (i = 0; i < w->listener_count; i++) close(w->listeners[i].fd);
    if (w->wake[0] >= 0) close(w->wake[0]);
    if (w->wake[1] >= 0) close(w->wake[1]);
    mm_fd_spare_deinit(&w->spare_fd);
    event_loop_deinit(&w->loop);
    access_log_deinit(&w->log);
    mm_chunkqueue_deinit(&w->body);
    pages_drop(&w->server->pages, &w->pages);
    files_siblings_deinit(&w->site);
    left = mm_filecache_deinit(&w->cache);
    left += mm_respcache_deinit(&w->responses);
    for (i = 0; i < w->server->uploads.count; i++)
        left += mm_filecache_deinit(&w->places[i]);
    left += mm_chunk_pool_deinit(&w->chunks);
    mm_arena_deinit(&w->arena);
    mm_slab_deinit(&w->conns);
    rest_deinit(w);
    left += mm_tier_deinit(&w->tier);
    left += memory_worker_deinit(&w->accounts);
    return left == 0;
}
