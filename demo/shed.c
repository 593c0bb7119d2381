/* shed.c - what a worker does when memory is short, and when it is no more */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shed.h"

#include <stdio.h>
#include <unistd.h>

#include "rest.h"

enum {
    SHED_STEP_MS = 100,   /* between two steps while a high level holds: memory comes back that
                             often; ten times as long while it is elevated, which may last */
    SHED_CUT_MS = 1000,   /* between two times that clients are cut off */
    SHED_SETTLE_MS = 250, /* between two looks for memory that nobody needs */
    SHED_EVENTS = 16,     /* between two readings of the level: so many connections take 1 MB */
    SHED_CREST = 64       /* connections that must have gone for the heap to give back */
};

bool shed_is_critical(const worker *w)
{
    return mm_pressure_get(&w->accounts.pressure) >= MM_PRESSURE_CRITICAL;
}

bool shed_is_high(const worker *w)
{
    return mm_pressure_get(&w->accounts.pressure) >= MM_PRESSURE_HIGH;
}

bool shed_refuses_body(const worker *w, int64_t size)
{
    return shed_is_high(w) && (size < 0 || size > (int64_t)memory_get_sizes()->body);
}

/* ---- connections ---- */

/* The timers of those that are idle already run out as if they had been armed with the new
   duration, but no earlier than now: the order of the list stays that of time. */
static void set_idle_time(worker *w, int64_t ms)
{
    timer_list *list = &w->timers[TIMER_IDLE];
    conn *c;
    list->duration = ms;
    for (c = list->first; c != NULL; c = c->timer_after)
        if (c->deadline > w->now_ms + ms) c->deadline = w->now_ms + ms;
}

static void close_idle(worker *w)
{
    timer_list *list = &w->timers[TIMER_IDLE];
    while (list->first != NULL) {
        conn *c = rest_wake(list->first);
        if (c != NULL) conn_timeout(c); /* which arms none of them anew */
    }
}

/* A quarter of those that wait for their client longest, of each kind. */
static void cut_slow(worker *w)
{
    static const timer_kind kinds[] = {TIMER_HANDSHAKE, TIMER_HEAD, TIMER_BODY, TIMER_WRITE,
                                       TIMER_LINGER};
    size_t i;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const timer_list *list = &w->timers[kinds[i]];
        const conn *c;
        size_t count = 0;
        for (c = list->first; c != NULL; c = c->timer_after) count++;
        for (count = (count + 3) / 4; count > 0 && list->first != NULL; count--) {
            conn_close(list->first);
            (void)mmi_atomic_add(&w->shed.turned_away, 1);
        }
    }
}

/* ---- caches ---- */

static void trim_caches(worker *w, unsigned percent)
{
    mm_filecache_trim(&w->cache, w->cache.stats.entries * percent / 100);
    mm_respcache_trim(&w->responses, percent);
    mm_chunk_pool_trim(&w->chunks, mm_chunk_pool_get_stats(&w->chunks).cached * percent / 100);
    mm_tier_trim(&w->tier, percent);
    if (w->accounts.number == 0)
        mm_tls_sessions_trim(&w->server->tickets.sessions, percent < 50 ? 50 : percent);
}

/* Before a charge on this thread is refused. */
static size_t reclaim(size_t wanted, void *user_data)
{
    worker *w = user_data;
    size_t before = mm_budget_live(&w->memory), after;
    mm_chunk_pool_trim(&w->chunks, 0);
    mm_tier_trim(&w->tier, 0);
    (void)mm_respcache_reclaim(wanted, &w->responses);
    after = mm_budget_live(&w->memory);
    return before > after ? before - after : 0;
}

/* ---- levels ---- */

/* Workers that sleep would not see it. */
static void wake_others(const worker *w)
{
    const memory_worker *m;
    for (m = memory_first_worker(); m != NULL; m = m->next)
        if (m != &w->accounts) (void)!write(m->wake, "m", 1);
}

static void tell(const worker *w, const char *what)
{
    const mm_budget *whole = memory_get(MEMORY_PROCESS);
    if (w->accounts.number != 0) return;
    fprintf(stderr, "mmserve: memory: %s: %zuK of %zuK\n", what, mm_budget_live(whole) / 1024,
            mm_budget_limit(whole) / 1024);
}

static void on_elevated(const mm_pressure_action *action, bool entering)
{
    worker *w = action->user_data;
    int64_t usual = w->server->options->idle_timeout * INT64_C(1000);
    set_idle_time(w, entering ? usual / 2 : usual);
    if (entering) {
        trim_caches(w, 70);
        wake_others(w);
    } else if (w->shed.cut_at != 0) {
        w->shed.cut_at = 0;
        tell(w, "enough again");
    }
}

static void on_high(const mm_pressure_action *action, bool entering)
{
    worker *w = action->user_data;
    w->responses.paused = entering;
    if (!entering) return;
    trim_caches(w, 0);
    close_idle(w);
}

static void on_critical(const mm_pressure_action *action, bool entering)
{
    worker *w = action->user_data;
    if (entering && w->shed.cut_at == 0) tell(w, "short, clients are turned away");
    if (entering) {
        cut_slow(w);
        w->shed.cut_at = w->now_ms + SHED_CUT_MS;
        wake_others(w);
    }
    worker_listen(w);
}

/* What is done on and on while a level holds. */
static void step(worker *w)
{
    w->shed.step_at = w->now_ms + (shed_is_high(w) ? SHED_STEP_MS : 10 * SHED_STEP_MS);
    if (shed_is_high(w)) {
        close_idle(w);
        trim_caches(w, 0);
    }
    if (shed_is_critical(w) && w->now_ms >= w->shed.cut_at) {
        cut_slow(w);
        w->shed.cut_at = w->now_ms + SHED_CUT_MS;
    }
    memory_trim(w->now_ms);
}

void shed_update(worker *w)
{
    if (++w->shed.steps < SHED_EVENTS) return;
    w->shed.steps = 0;
    memory_measure(w->now_ms);
    (void)mm_pressure_update(&w->accounts.pressure, (uint64_t)w->now_ms);
    if (mm_pressure_get(&w->accounts.pressure) == MM_PRESSURE_NORMAL) return;
    if (w->now_ms < w->shed.step_at) return;
    step(w);
    (void)mm_pressure_update(&w->accounts.pressure, (uint64_t)w->now_ms);
}

/* ---- after a burst ---- */

void shed_settle(worker *w, bool busy)
{
    shed *s = &w->shed;
    size_t count = mm_slab_count(&w->conns), gone;
    bool many_gone;
    if (count > s->crest) s->crest = count;
    many_gone = s->crest >= SHED_CREST && count <= s->crest / 2;
    if (s->settle_at == 0 && (busy || many_gone)) s->settle_at = w->now_ms + SHED_SETTLE_MS;
    s->steps = SHED_EVENTS;
    shed_update(w);
    if (s->settle_at == 0 || w->now_ms < s->settle_at) return;
    s->rested += rest_idle(w, SHED_SETTLE_MS);
    gone = mm_chunk_pool_decay(&w->chunks);
    gone += mm_tier_maintain(&w->tier, 0);
    if (many_gone) {
        mm_chunk_pool_trim(&w->chunks, 0);
        mm_tier_trim(&w->tier, 0);
        s->rested = SIZE_MAX;
        s->crest = count;
    }
    if (s->rested >= SHED_CREST && s->rested >= count / 4) {
        memory_trim(w->now_ms);
        s->rested = 0;
    }
    if (busy || rest_is_due(w)) gone++;
    s->settle_at = gone > 0 ? w->now_ms + SHED_SETTLE_MS : 0;
}

int64_t shed_due(const worker *w)
{
    const shed *s = &w->shed;
    int64_t due = s->settle_at > 0 ? s->settle_at : INT64_MAX;
    if (mm_pressure_get(&w->accounts.pressure) == MM_PRESSURE_NORMAL) return due;
    return s->step_at < due ? s->step_at : due;
}

/* ---- life ---- */

void shed_init(worker *w)
{
    static const mm_pressure_fn actions[] = {on_elevated, on_high, on_critical};
    mm_pressure_desc desc = {.budget = memory_get(MEMORY_PROCESS)};
    size_t i;
    (void)!mm_pressure_init(&w->accounts.pressure, &desc); /* the thresholds are the usual ones */
    for (i = 0; i < 3; i++) {
        w->shed.actions[i].level = (mm_pressure_level)(MM_PRESSURE_ELEVATED + i);
        w->shed.actions[i].fn = actions[i];
        w->shed.actions[i].user_data = w;
        mm_pressure_add(&w->accounts.pressure, &w->shed.actions[i]);
    }
}

void shed_begin(worker *w)
{
    memory_set_reclaim(reclaim, w);
}

void shed_deinit(worker *w)
{
    memory_set_reclaim(NULL, NULL);
    w->accounts.pressure.actions = NULL; /* there is nobody left to be spared */
}
