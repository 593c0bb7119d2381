/* figures.h - what each worker counts: written by its thread alone, read by any, without locks */
#ifndef DEMO_FIGURES_H
#define DEMO_FIGURES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FIGURES_METHODS = 10, /* as http_method has them */
    FIGURES_CLASSES = 5,  /* 1xx to 5xx */
    FIGURES_BUCKETS = 18, /* of figures_bounds, and one for all above them */
    FIGURES_TICK_SHIFT = 3 /* a tick is 8 us: see figures_tick */
};

typedef enum figure_id {
    /* connections by what they are at: these go up and down */
    FIGURE_HANDSHAKE,  /* TLS is being agreed on */
    FIGURE_READING,    /* a request is on its way, or awaited for the first time */
    FIGURE_UPLOADING,  /* a file is being put */
    FIGURE_WRITING,    /* an answer is on its way */
    FIGURE_IDLE,       /* between requests */
    FIGURE_CLOSING,    /* our end is closed */
    FIGURE_STATES,

    FIGURE_ACCEPTED = FIGURE_STATES,
    FIGURE_CLOSED,
    FIGURE_REFUSED,    /* closed at once: too many of one client, or no memory */
    FIGURE_SHED,       /* refused since memory is short */
    FIGURE_BYTES_IN,   /* of requests and their bodies, without TLS around them */
    FIGURE_BYTES_OUT,  /* of answers, heads included */
    FIGURE_TLS_FULL,
    FIGURE_TLS_RESUMED,
    FIGURE_TLS_FAILED,
    FIGURE_TURNS,      /* of the loop */

    /* copies of what the parts of a worker count themselves: see worker_publish */
    FIGURE_FILES_ENTRIES,
    FIGURE_FILES_OPEN,
    FIGURE_FILES_HITS,
    FIGURE_FILES_NEGATIVE,
    FIGURE_FILES_MISSES,
    FIGURE_FILES_EVICTIONS,
    FIGURE_RESPONSES_ENTRIES,
    FIGURE_RESPONSES_BYTES,
    FIGURE_RESPONSES_HITS,
    FIGURE_RESPONSES_MISSES,
    FIGURE_RESPONSES_EVICTIONS,
    FIGURE_CHUNKS,
    FIGURE_CHUNK_MEMORY,
    FIGURE_CHUNK_CACHED,
    FIGURE_CHUNK_FAILURES,
    FIGURE_TEMP_FILES,
    FIGURE_TEMP_BYTES,
    FIGURE_ARENA_TOTAL,
    FIGURE_ARENA_PEAK,
    FIGURE_ARENA_WASTE,
    FIGURE_ARENA_FAILURES,
    FIGURE_SLAB_LIVE,
    FIGURE_SLAB_CACHED,
    FIGURE_SLAB_BYTES,
    FIGURE_SLAB_FAILURES,
    FIGURE_LOG_PENDING,
    FIGURE_LOG_LOST,

    /* answers that are complete: how long each took, and all together in microseconds */
    FIGURE_LATENCY,
    FIGURE_LATENCY_SUM = FIGURE_LATENCY + FIGURES_BUCKETS,

    /* answers by method and class of status */
    FIGURE_REQUESTS,
    FIGURES = FIGURE_REQUESTS + FIGURES_METHODS * FIGURES_CLASSES
} figure_id;

/* On machines of 32 bits counters begin again at 2^32, as Prometheus knows to expect. */
typedef struct figures {
    _Atomic size_t at[FIGURES];
    int64_t turn_us;   /* when the turn of the loop began; this and the next are the worker's */
    size_t turn_done;  /* answers that began and were complete in this turn */
} figures;

/* Upper bounds of the buckets but the last, in microseconds. */
extern const uint32_t figures_bounds[FIGURES_BUCKETS - 1];

/* One thread writes: neither a lock nor a locked instruction is needed. All that is counted costs a
   request 93 instructions of 13,760 by callgrind (1.6 KiB by HTTP on a connection that is kept, and
   so with a turn of the loop for each), a third of them for the turn. */
static inline size_t figures_get(const figures *f, size_t id)
{
    return atomic_load_explicit(&f->at[id], memory_order_relaxed);
}

static inline void figures_set(figures *f, size_t id, size_t value)
{
    atomic_store_explicit(&f->at[id], value, memory_order_relaxed);
}

static inline void figures_add(figures *f, size_t id, size_t n)
{
    figures_set(f, id, figures_get(f, id) + n);
}

/* A connection moves from one state to another. */
static inline void figures_move(figures *f, size_t from, size_t to)
{
    if (from == to) return;
    figures_set(f, from, figures_get(f, from) - 1);
    figures_add(f, to, 1);
}

static inline void figures_answer(figures *f, unsigned method, int status)
{
    unsigned kind = (unsigned)status / 100 - 1;
    if (method >= FIGURES_METHODS || kind >= FIGURES_CLASSES) return;
    figures_add(f, FIGURE_REQUESTS + method * FIGURES_CLASSES + kind, 1);
}

/* How long answers take is known by the clock that the loop reads anyway. When a request was
   complete is kept in 4 bytes of its connection, in ticks: they begin anew after nine hours. */
static inline uint32_t figures_tick(const figures *f)
{
    return (uint32_t)((uint64_t)f->turn_us >> FIGURES_TICK_SHIFT);
}

/* An answer is complete, whose request was so at the tick `began`. Of those that took no more than
   a turn it is known at the end of that how long. */
void figures_finish_late(figures *f, uint32_t began);
static inline void figures_finish(figures *f, uint32_t began)
{
    if (began == figures_tick(f)) f->turn_done++;
    else figures_finish_late(f, began);
}

/* A turn begins, and ends; both at a time of the same clock in microseconds. */
static inline void figures_begin_turn(figures *f, int64_t now_us)
{
    f->turn_us = now_us;
    figures_add(f, FIGURE_TURNS, 1);
}
void figures_end_turn(figures *f, int64_t now_us);

#endif
