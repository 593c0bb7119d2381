/* The benchmark harness: times several ways of doing the same work, beside each other in one run.
 *
 *     #include "bench.h"                          (first: it asks the system for its clock)
 *     static const bench_contestant contestants[] = {
 *         {"mm_buffer", run_ours, check_ours}, {"memcpy (limit)", run_limit, check_limit}};
 *     int main(int argc, char **argv)
 *     {
 *         bench_begin(argc, argv, "mm_buffer.h");
 *         BENCH("append 16 bytes", &work, operations_in_a_cycle, contestants);
 *         return bench_end();
 *     }
 *
 * A contestant's run does the whole work `cycles` times and leaves the result of the last cycle for
 * its check. A check has to fail before the first run, and to succeed after one cycle and after the
 * last round: who computes nothing, or something else, ends the program with an error.
 *
 * The contestants take turns, A B C A B C, so that a busy machine or a changing clock rate meets
 * all of them. A figure is the median of the rounds; the spread is the distance between the
 * quartiles. The first contestant is ours, the last column says how many times ours each one is.
 *
 *     build/tests/bench/arena [--once] [ROW]      only the rows with ROW in their names
 *
 * --once times nothing and runs each contestant for BENCH_ONCE cycles, which is for Valgrind:
 *
 *     valgrind --tool=callgrind --callgrind-out-file=build/counts \
 *         build/tests/bench/arena --once 'alloc 16 '
 *     callgrind_annotate --auto=no --inclusive=yes build/counts | grep 'run_[a-z_0-9]*$'
 *
 * gives the instructions of each contestant (the larger line, where it has two); --once says by how
 * many operations to divide. */
#ifndef BENCH_H
#define BENCH_H
#ifndef __OPTIMIZE__
#error "a benchmark without optimization says nothing"
#endif
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#endif
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Many short samples: where others use the machine too, one that is longer than a time slice has
   always met them; of these only a few have, and the median is none of the few. */
#define BENCH_ROUNDS 401     /* odd, so that the median is one of them */
#define BENCH_SAMPLE 300000u /* least ns that a contestant runs for in a round */
#define BENCH_ONCE 100       /* cycles under --once */
#define BENCH_CONTESTANTS 8  /* most in a row */

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "unknown flags"
#endif
#ifdef __clang__
#define BENCH_COMPILER __VERSION__
#else
#define BENCH_COMPILER "gcc " __VERSION__
#endif

/* Memory may have been read and written here, for all that the compiler knows: what was stored
   before cannot be left out, and what is needed after must be loaded again. */
#define BENCH_KEEP(pointer) __asm__ volatile("" : : "g"(pointer) : "memory")

/* For the loop that contestants share, so that each has a copy with its own calls inside. */
#define BENCH_INLINE static inline __attribute__((always_inline))

#define BENCH(title, work, operations, contestants) \
    bench_row(title, work, operations, contestants, sizeof(contestants) / sizeof(contestants[0]))

typedef struct bench_contestant {
    const char *name;
    void (*run)(const void *work, size_t cycles); /* the work, again and again */
    bool (*check)(const void *work);              /* does the last cycle's result stand? */
} bench_contestant;

typedef struct bench_entry { /* a contestant in its row */
    size_t cycles;           /* in a round */
    double ns[BENCH_ROUNDS]; /* per operation */
} bench_entry;

static const char *bench_only = ""; /* what the names of the wanted rows contain */
static bool bench_once;             /* no timing */
static int bench_rows;              /* done so far */

static inline _Noreturn void bench_fail(const char *title, const char *name, const char *what)
{
    fprintf(stderr, "bench: %s: %s: %s\n", title, name, what);
    exit(EXIT_FAILURE);
}

static inline uint64_t bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t bench_time(const bench_contestant *c, const void *work, size_t cycles)
{
    uint64_t start = bench_now();
    c->run(work, cycles);
    return bench_now() - start;
}

/* The same numbers in each run, with other ones for each seed: xorshift64*. */
static inline uint64_t bench_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717u;
}

static inline int bench_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How often to go round for a sample that the clock can tell; warms up on the way. */
static inline size_t bench_calibrate(const bench_contestant *c, const void *work)
{
    size_t cycles = 1;
    while (bench_time(c, work, cycles) < BENCH_SAMPLE) cycles *= 2;
    return cycles;
}

static inline void bench_validate(const char *title, const bench_contestant *c, const void *work)
{
    if (c->check(work)) bench_fail(title, c->name, "its check succeeds without any work");
    c->run(work, 1);
    if (!c->check(work)) bench_fail(title, c->name, "wrong result");
}

static inline void bench_machine(void)
{
    char line[256], *name = NULL;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && name == NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "model name", 10) == 0) name = strchr(line, ':');
    }
    if (file != NULL) fclose(file);
    if (name != NULL) name[strcspn(name, "\n")] = '\0';
    printf("Compiled with %s, %s, on %s. Bold: faster than ours.\n\n", BENCH_COMPILER, BENCH_FLAGS,
           name != NULL ? name + 2 : "an unknown CPU");
}

static inline void bench_begin(int argc, char **argv, const char *title)
{
    int i;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--once") == 0) bench_once = true;
        else bench_only = argv[i];
    }
    if (bench_once) return;
    printf("### %s\n\n", title);
    bench_machine();
    printf("| %-34s | %-28s | ns per op | spread | times ours |\n", "work", "contestant");
    printf("|%.36s|%.30s|----------:|-------:|-----------:|\n",
           "------------------------------------", "------------------------------------");
}

/* Prints the lines of a row; what is faster than ours is in bold. */
static inline void bench_print(const char *title, const bench_contestant *contestants,
                               bench_entry *entries, size_t count)
{
    double ours = 0;
    size_t i;
    for (i = 0; i < count; i++) {
        double *ns = entries[i].ns, median, spread;
        char times[32];
        qsort(ns, BENCH_ROUNDS, sizeof(*ns), bench_order);
        median = ns[BENCH_ROUNDS / 2];
        spread = (ns[BENCH_ROUNDS * 3 / 4] - ns[BENCH_ROUNDS / 4]) / median;
        if (i == 0) ours = median;
        snprintf(times, sizeof(times), median < ours ? "**%.2f**" : "%.2f", median / ours);
        printf("| %-34s | %-28s | %9.2f | %5.1f%% | %10s |\n", i == 0 ? title : "",
               contestants[i].name, median, spread * 100, times);
    }
    fflush(stdout);
}

static inline void bench_row(const char *title, const void *work, size_t operations,
                             const bench_contestant *contestants, size_t count)
{
    static bench_entry entries[BENCH_CONTESTANTS];
    size_t i, round;
    if (strstr(title, bench_only) == NULL) return;
    if (count > BENCH_CONTESTANTS) bench_fail(title, contestants[0].name, "too many beside it");
    bench_rows++;
    for (i = 0; i < count; i++) bench_validate(title, &contestants[i], work);
    if (bench_once) {
        for (i = 0; i < count; i++) contestants[i].run(work, BENCH_ONCE - 1);
        printf("%s: %zu operations each\n", title, BENCH_ONCE * operations);
        return;
    }
    for (i = 0; i < count; i++) entries[i].cycles = bench_calibrate(&contestants[i], work);
    for (round = 0; round < BENCH_ROUNDS; round++) {
        for (i = 0; i < count; i++) {
            size_t cycles = entries[i].cycles;
            double ns = (double)bench_time(&contestants[i], work, cycles);
            entries[i].ns[round] = ns / (double)(cycles * operations);
        }
    }
    for (i = 0; i < count; i++) {
        if (!contestants[i].check(work)) bench_fail(title, contestants[i].name, "wrong at the end");
    }
    bench_print(title, contestants, entries, count);
}

/* The program's exit status. */
static inline int bench_end(void)
{
    if (bench_rows == 0) bench_fail(bench_only, "rows", "none has that in its name");
    if (!bench_once) printf("\n");
    return EXIT_SUCCESS;
}
#endif
