/* rest.c - where connections lie. A slab has their handles; what a handle stands for moves: between
   requests there is only what comes before `in`, a quarter of it. Blocks of the heap go back to the
   system when their connections have gone, which a slab of connections would not. */
#include "rest.h"

#include <stddef.h>
#include <string.h>

enum { REST_SIZE = offsetof(conn, in) };

static const mm_allocator *allocator_of(worker *w)
{
    return memory_part_allocator(&w->accounts, MEMORY_CONNECTIONS);
}

static void init_rest(conn *c)
{
    worker *w = c->worker;
    memset((char *)c + REST_SIZE, 0, sizeof(*c) - REST_SIZE);
    mm_chunkqueue_init(&c->in, &w->chunks);
    mm_chunkqueue_init(&c->out, &w->chunks);
    mm_buffer_init(&c->log_line, memory_part_allocator(&w->accounts, MEMORY_LOG));
}

static void free_block(worker *w, conn *c)
{
    if (c != w->spare) mmi_free(allocator_of(w), c, c->resting ? REST_SIZE : sizeof(*c));
}

/* Whoever points to the connection points to where it is now. */
static void move(conn *from, conn *to)
{
    worker *w = from->worker;
    conn **entry = mm_slab_get(&w->conns, from->handle);
    memcpy(to, from, REST_SIZE);
    *entry = to;
    if (to->timer == TIMER_NONE) return;
    if (to->timer_before != NULL) to->timer_before->timer_after = to;
    else w->timers[to->timer].first = to;
    if (to->timer_after != NULL) to->timer_after->timer_before = to;
    else w->timers[to->timer].last = to;
}

conn *rest_new(worker *w)
{
    void *entry;
    conn *c = mmi_alloc(allocator_of(w), sizeof(*c));
    mm_handle handle = c == NULL ? 0 : mm_slab_insert(&w->conns, &entry);
    if (handle == 0) {
        if (c != NULL) mmi_free(allocator_of(w), c, sizeof(*c));
        return NULL;
    }
    memset(c, 0, sizeof(*c));
    *(conn **)entry = c;
    c->worker = w;
    c->handle = handle;
    init_rest(c);
    return c;
}

void rest_free(conn *c)
{
    worker *w = c->worker;
    (void)mm_slab_remove(&w->conns, c->handle);
    free_block(w, c);
}

conn *rest_find(worker *w, mm_handle handle)
{
    conn **entry = mm_slab_get(&w->conns, handle);
    return entry == NULL ? NULL : *entry;
}

conn *rest_wake(conn *c)
{
    worker *w = c->worker;
    conn *whole;
    if (!c->resting) return c;
    whole = mmi_alloc(allocator_of(w), sizeof(*whole));
    if (whole == NULL) whole = w->spare;
    move(c, whole);
    free_block(w, c);
    whole->resting = false;
    init_rest(whole);
    if (whole != w->spare) return whole;
    conn_close(whole);
    return NULL;
}

static bool lay_down(conn *c)
{
    worker *w = c->worker;
    conn *small;
    if (c->state != CONN_HEAD || !mm_chunkqueue_is_empty(&c->in) || c->scanned != 0 ||
        !mm_chunkqueue_is_empty(&c->out) || c->upload != NULL)
        return false;
    small = mmi_alloc(allocator_of(w), REST_SIZE);
    if (small == NULL) return false;
    if (c->ssl != NULL) mm_io_tls_rest(c->ssl);
    mm_chunkqueue_deinit(&c->in);
    mm_chunkqueue_deinit(&c->out);
    mm_buffer_deinit(&c->log_line);
    move(c, small);
    free_block(w, c);
    small->resting = true;
    return true;
}

/* The list is in the order of time: those that rest come first. */
size_t rest_idle(worker *w, int64_t ms)
{
    const timer_list *list = &w->timers[TIMER_IDLE];
    conn *c = list->last, *before;
    size_t count = 0;
    for (; c != NULL && !c->resting; c = before) {
        before = c->timer_before;
        if (c->deadline - list->duration + ms <= w->now_ms) count += lay_down(c);
    }
    return count;
}

bool rest_is_due(const worker *w)
{
    const conn *last = w->timers[TIMER_IDLE].last;
    return last != NULL && !last->resting;
}

bool rest_init(worker *w)
{
    w->spare = mmi_alloc(allocator_of(w), sizeof(*w->spare));
    return w->spare != NULL;
}

void rest_deinit(worker *w)
{
    if (w->spare != NULL) mmi_free(allocator_of(w), w->spare, sizeof(*w->spare));
    w->spare = NULL;
}
