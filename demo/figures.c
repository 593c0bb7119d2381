/* figures.c - how long answers took */
#include "figures.h"

const uint32_t figures_bounds[FIGURES_BUCKETS - 1] = {
    50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,
    2500000, 5000000, 10000000};

static void add_latency(figures *f, uint64_t us, size_t count)
{
    size_t bucket = 0;
    while (bucket < FIGURES_BUCKETS - 1 && us > figures_bounds[bucket]) bucket++;
    figures_add(f, FIGURE_LATENCY + bucket, count);
    figures_add(f, FIGURE_LATENCY_SUM, (size_t)us * count);
}

void figures_finish_late(figures *f, uint32_t began)
{
    uint32_t ticks = figures_tick(f) - began;
    add_latency(f, (uint64_t)ticks << FIGURES_TICK_SHIFT, 1);
}

void figures_end_turn(figures *f, int64_t now_us)
{
    if (f->turn_done == 0) return;
    add_latency(f, now_us > f->turn_us ? (uint64_t)(now_us - f->turn_us) : 0, f->turn_done);
    f->turn_done = 0;
}
