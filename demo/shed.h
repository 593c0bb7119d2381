/* shed.h - what a worker does when memory is short, by level:

   elevated   caches shrink to 70 %, connections may be idle for half of the usual time
   high       caches are emptied, nothing is kept alive, what is idle is closed, large bodies get
              503
   critical   requests get 503, TLS connections wait in the kernel, others get 503 and are closed,
              and a quarter of those that keep others waiting are cut off, once a second

   Each level does what those below it do. Levels are left when memory is well below where they
   begin, and a second after the last change at the earliest (mm_pressure of mm_pool.h). */
#ifndef DEMO_SHED_H
#define DEMO_SHED_H

#include "../mm_pool.h"

typedef struct worker worker;

typedef struct shed {
    mm_pressure_action actions[3]; /* for each level */
    int64_t step_at;   /* when what a level does is done again, if it holds; milliseconds */
    int64_t cut_at;    /* when others are cut off */
    int64_t hear_at;   /* at critical: when the next one who may look inside is let in */
    size_t crest;      /* most connections since memory was last given back */
    size_t rested;     /* connections that have begun to rest since then */
    int64_t settle_at; /* when to look for memory that nobody needs; 0: never */
    size_t steps;      /* looks since the level was last read */
    size_t turned_away; /* connections that were closed with 503, or cut off; atomic */
} shed;

/* Before any worker runs, since levels are read by all; then in the worker's own thread, before the
   loop begins, and after it has ended. */
void shed_init(worker *w);
void shed_begin(worker *w);
void shed_deinit(worker *w);

/* Reads the level, and does what is due: in each turn of the loop, and between its events. May
   close connections. */
void shed_update(worker *w);

/* Gives back what a burst has left, some 250 ms after it: in each turn of the loop. */
void shed_settle(worker *w, bool busy);

/* Milliseconds on the worker's clock at which one of these is due; INT64_MAX: none. */
int64_t shed_due(const worker *w);

/* Whether nothing new is taken (critical), and whether nothing is kept alive (high). */
bool shed_is_critical(const worker *w);
bool shed_is_high(const worker *w);

/* Whether a request body of so many bytes (-1: unknown) is too large for now. */
bool shed_refuses_body(const worker *w, int64_t size);

#endif
