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
 * last round: who computes nothing, or something else, ends the program with an error. A run may
 * start threads, if it waits for them.
 *
 * Libraries that replace malloc are contestants with a process of their own, see peers.h:
 *
 *     static const bench_contestant contestants[] = {
 *         {"mm_heap", run_heap, check, BENCH_PLAIN, rest_heap}, (a process of this program)
 *         {"glibc", run_malloc, check, BENCH_PLAIN, rest_malloc},
 *         {"jemalloc", run_malloc, check, BENCH_JEMALLOC, rest_malloc}};  (the same, preloaded)
 *
 * A row with such a contestant also shows the processor time of all threads, and for contestants in
 * processes the most memory that was resident and what of it was left at the end, when `rest` (may
 * be NULL) has freed what the runs had left. What is not installed, crashes or computes something
 * else has a line that says so. Below the last row stand the geometric means over all such rows.
 * bench_begin comes first in main, and main does the same in each run, so that a process comes to
 * its row as it was; BENCH comes in rows that do not depend upon others having run.
 *
 * With 0 for the operations a row has one cycle and shows memory only.
 *
 * The contestants take turns, A B C A B C, so that a busy machine or a changing clock rate meets
 * all of them. A figure is the median of the rounds; the spread is the distance between the
 * quartiles. The first contestant is ours; how many times ours another one takes is the median of
 * what it took in each round by what ours took in the same.
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
 * many operations to divide. With processes, add --trace-children=yes and write to build/counts.%p:
 * the files come in the contestants' order, after the one of the process that asks. */
#ifndef BENCH_H
#define BENCH_H
#ifndef __OPTIMIZE__
#error "a benchmark without optimization says nothing"
#endif
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#endif
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Many short samples: where others use the machine too, one that is longer than a time slice has
   always met them; of these only a few have, and the median is none of the few. */
#define BENCH_ROUNDS 401     /* most; odd, so that the median is one of them */
#define BENCH_ROUNDS_LEAST 9 /* when a cycle takes long */
#define BENCH_SAMPLE 300000u /* least ns that a contestant runs for in a round */
#define BENCH_BUDGET \
    500000000               /* ns for a contestant in a row, unless it takes more for the least */
#define BENCH_ONCE 100      /* cycles under --once */
#define BENCH_CONTESTANTS 8 /* most in a row */

/* What to preload: the names that the libraries have in any folder, with a later version's. */
#define BENCH_PLAIN "" /* nothing: the C library's own */
#define BENCH_JEMALLOC "libjemalloc.so.2"
#define BENCH_MIMALLOC "libmimalloc.so.2:libmimalloc.so.3"
#define BENCH_TCMALLOC "libtcmalloc_minimal.so.4"

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "unknown flags"
#endif
#ifdef __clang__
#define BENCH_COMPILER __VERSION__
#else
#define BENCH_COMPILER "gcc " __VERSION__
#endif

/* Contestants that need no process leave the last two fields out. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

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
    const char *preload;            /* NULL: runs in this process; else in one with that library */
    void (*rest)(const void *work); /* frees what the runs have left; NULL: nothing to do */
} bench_contestant;

#include "peers.h"

enum { BENCH_TIME, BENCH_CPU, BENCH_PEAK, BENCH_KEPT, BENCH_FIGURES };

typedef struct bench_entry { /* a contestant in its row */
    const bench_contestant *contestant;
    const void *work;
    bench_process process;
    const char *problem;         /* why it does not take part, or NULL */
    size_t cycles;               /* in a round */
    double ns[BENCH_ROUNDS];     /* per operation */
    double cpu[BENCH_ROUNDS];    /* the same in processor time */
    double peak, kept;           /* MiB; 0: unknown */
    double times[BENCH_FIGURES]; /* all of these relative to ours; 0: unknown */
} bench_entry;

#include "table.h"

static const char *bench_only = ""; /* what the names of the wanted rows contain */
static bool bench_once;             /* no timing */
static int bench_rows;              /* done so far */
static int bench_seen;              /* the same with those that were not wanted: a row's number */

static inline _Noreturn void bench_fail(const char *title, const char *name, const char *what)
{
    fprintf(stderr, "bench: %s: %s: %s\n", title, name, what);
    exit(EXIT_FAILURE);
}

/* The same numbers in each run, with other ones for each seed: xorshift64*. */
static inline uint64_t bench_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717u;
}

static inline void bench_begin(int argc, char **argv, const char *title)
{
    int i;
    bench_argc = argc;
    bench_argv = argv;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--once") == 0) bench_once = true;
        else if (!bench_is_peer(argv[i])) bench_only = argv[i];
    }
    if (bench_once || bench_peer.is) return;
    printf("### %s\n\n", title);
    bench_machine();
}

/* ---- a contestant ---- */

/* In this process a wrong contestant is our mistake; another's may be its library's. */
static inline void bench_problem(const char *title, bench_entry *entry, const char *what)
{
    const bench_contestant *c = entry->contestant;
    if (c->preload == NULL || *c->preload == '\0') bench_fail(title, c->name, what);
    if (entry->problem == NULL) entry->problem = what;
}

static inline bench_answer bench_call(const char *title, bench_entry *entry,
                                      bench_question question, size_t cycles)
{
    bench_request request = {question, cycles};
    bench_answer answer = {0, 0, 0, 0, false};
    if (entry->problem != NULL) return answer;
    if (entry->process.pid == 0) return bench_do(entry->contestant, entry->work, request);
    if (!bench_ask(entry->process, request, &answer)) bench_problem(title, entry, "crashed");
    return answer;
}

static inline void bench_enter(const char *title, bench_entry *entry, const void *work,
                               const bench_contestant *c, int number)
{
    static const bench_process here;
    entry->contestant = c;
    entry->work = work;
    entry->problem = NULL;
    entry->peak = entry->kept = 0;
    entry->process = c->preload == NULL ? here : bench_start(c, bench_seen - 1, number);
    if (!bench_call(title, entry, BENCH_HELLO, 0).yes) {
        bench_problem(title, entry, "not installed");
    }
    if (bench_call(title, entry, BENCH_CHECK, 0).yes) {
        bench_problem(title, entry, "its check succeeds without any work");
    }
    bench_call(title, entry, BENCH_RUN, 1);
    if (!bench_call(title, entry, BENCH_CHECK, 0).yes) {
        bench_problem(title, entry, "wrong result");
    }
}

/* How often to go round for a sample that the clock can tell; warms up on the way. Returns how long
   the sample took. */
static inline double bench_calibrate(const char *title, bench_entry *entry)
{
    double ns = 0;
    for (entry->cycles = 1; entry->problem == NULL; entry->cycles *= 2) {
        ns = bench_call(title, entry, BENCH_RUN, entry->cycles).ns;
        if (ns >= BENCH_SAMPLE) break;
    }
    return ns;
}

static inline void bench_leave(const char *title, bench_entry *entry)
{
    bench_answer answer;
    if (!bench_call(title, entry, BENCH_CHECK, 0).yes) {
        bench_problem(title, entry, "wrong at the end");
    }
    if (entry->process.pid == 0) return;
    answer = bench_call(title, entry, BENCH_REST, 0);
    entry->peak = answer.peak;
    entry->kept = answer.kept;
    bench_stop(entry->process);
}

/* ---- a row ---- */

static inline size_t bench_rounds_for(double sample)
{
    double rounds = sample > 0 ? BENCH_BUDGET / sample : BENCH_ROUNDS;
    if (rounds > BENCH_ROUNDS) return BENCH_ROUNDS;
    return rounds < BENCH_ROUNDS_LEAST ? BENCH_ROUNDS_LEAST : (size_t)rounds / 2 * 2 + 1;
}

static inline size_t bench_measure(const char *title, size_t operations, bench_entry *entries,
                                   size_t count)
{
    size_t i, round, rounds;
    double sample = 0;
    for (i = 0; i < count; i++) sample += bench_calibrate(title, &entries[i]) / (double)count;
    rounds = bench_rounds_for(sample);
    for (round = 0; round < rounds; round++) {
        for (i = 0; i < count; i++) {
            double all = (double)(entries[i].cycles * operations);
            bench_answer answer = bench_call(title, &entries[i], BENCH_RUN, entries[i].cycles);
            entries[i].ns[round] = answer.ns / all;
            entries[i].cpu[round] = answer.cpu / all;
        }
    }
    return rounds;
}

static inline void bench_row(const char *title, const void *work, size_t operations,
                             const bench_contestant *contestants, size_t count)
{
    static bench_entry entries[BENCH_CONTESTANTS];
    size_t i, rounds = 0;
    int row = bench_seen++;
    if (bench_peer.is && bench_peer.row == row) {
        bench_serve(&contestants[bench_peer.contestant], work);
    }
    if (bench_peer.is || strstr(title, bench_only) == NULL) return;
    if (count > BENCH_CONTESTANTS) bench_fail(title, contestants[0].name, "too many beside it");
    bench_rows++;
    for (i = 0; i < count; i++) bench_enter(title, &entries[i], work, &contestants[i], (int)i);
    if (bench_once) {
        for (i = 0; i < count; i++) bench_call(title, &entries[i], BENCH_RUN, BENCH_ONCE - 1);
        printf("%s: %zu operations each\n", title, BENCH_ONCE * operations);
    } else if (operations > 0) {
        rounds = bench_measure(title, operations, entries, count);
    }
    for (i = 0; i < count; i++) bench_leave(title, &entries[i]);
    if (!bench_once) bench_print(title, entries, count, rounds);
}

/* ---- the end ---- */

/* The program's exit status. */
static inline int bench_end(void)
{
    if (bench_peer.is) bench_fail("row", "of a process", "did not come");
    if (bench_rows == 0) bench_fail(bench_only, "rows", "none has that in its name");
    if (bench_means[0].name != NULL) bench_print_means();
    if (!bench_once) printf("\n");
    return EXIT_SUCCESS;
}
#endif
