/* What bench.h prints, which includes this: a table of rows, and for those with processes (see
 * peers.h) the geometric means and the rows where ours is beaten clearly. */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H
#include <math.h> /* the geometric mean */

#define BENCH_SLOW 1.15 /* times the best of the others: rows above are listed at the end, */
#define BENCH_LARGE 1.2 /* and so are those where more than this is kept of the leanest */

typedef struct bench_mean { /* of a contestant over the rows with processes, relative to ours */
    const char *name;
    double logs[BENCH_FIGURES];
    int rows[BENCH_FIGURES];
} bench_mean;

static size_t bench_bytes; /* in an operation; unless 0, lines say bytes per second, too */
static int bench_columns;  /* of the table that is being printed: 0 (none yet), 5, 8 */
static bench_mean bench_means[BENCH_CONTESTANTS];
static char bench_slow[4096], bench_large[4096]; /* a line for each row where ours is beyond */

static inline void bench_machine(void)
{
    char line[256], *name = NULL;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && name == NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "model name", 10) == 0) name = strchr(line, ':');
    }
    if (file != NULL) fclose(file);
    if (name != NULL) name[strcspn(name, "\n")] = '\0';
    printf("Compiled with %s, %s, on %s. Bold: faster than ours.\n", BENCH_COMPILER, BENCH_FLAGS,
           name != NULL ? name + 2 : "an unknown CPU");
}

static inline int bench_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline void bench_header(int columns)
{
    if (bench_columns == columns) return;
    bench_columns = columns;
    printf("\n| %-34s | %-28s | ns per op | spread | times ours |%s\n", "work", "contestant",
           columns > 5 ? " CPU ns per op | peak MiB | kept MiB |" : "");
    printf("|%.36s|%.30s|----------:|-------:|-----------:|%s\n",
           "------------------------------------", "------------------------------------",
           columns > 5 ? "--------------:|---------:|---------:|" : "");
}

/* The median, of values that are sorted on the way; 0 when there are none. */
static inline double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), bench_order);
    return count > 0 ? values[count / 2] : 0;
}

/* How many times ours, round by round: what slows a part of the run down slows both. */
static inline double bench_times(const double *his, const double *ours, size_t rounds)
{
    static double times[BENCH_ROUNDS];
    size_t i;
    for (i = 0; i < rounds; i++) times[i] = his[i] / ours[i];
    return bench_median(times, rounds);
}

static inline void bench_compare(bench_entry *his, const bench_entry *ours, size_t rounds)
{
    his->times[BENCH_TIME] = bench_times(his->ns, ours->ns, rounds);
    his->times[BENCH_CPU] = bench_times(his->cpu, ours->cpu, rounds);
    his->times[BENCH_PEAK] = ours->peak > 0 ? his->peak / ours->peak : 0;
    his->times[BENCH_KEPT] = ours->kept > 0 ? his->kept / ours->kept : 0;
}

static inline void bench_add(size_t number, const bench_entry *entry)
{
    bench_mean *mean = &bench_means[number];
    int figure;
    mean->name = entry->contestant->name;
    for (figure = 0; figure < BENCH_FIGURES; figure++) {
        if (!(entry->times[figure] > 0)) continue;
        mean->logs[figure] += log(entry->times[figure]);
        mean->rows[figure]++;
    }
}

/* Prints a line; what is faster than ours is in bold. */
static inline void bench_line(const char *title, bench_entry *entry, size_t rounds)
{
    double *ns = entry->ns, median = bench_median(ns, rounds), ratio = entry->times[BENCH_TIME];
    char times[64];
    printf("| %-34s | %-28s |", title, entry->contestant->name);
    if (entry->problem != NULL) {
        printf(" %s |||%s\n", entry->problem, bench_columns > 5 ? "|||" : "");
        return;
    }
    snprintf(times, sizeof(times), ratio < 1 ? "**%.2f**" : "%.2f", ratio);
    if (bench_bytes != 0) {
        sprintf(times + strlen(times), ", %.2f GB/s", (double)bench_bytes / median);
    }
    if (rounds == 0) printf("         - |      - |          - |             - |");
    else {
        double spread = (ns[rounds * 3 / 4] - ns[rounds / 4]) / median;
        printf(" %9.2f | %5.1f%% | %10s |", median, spread * 100, times);
        if (bench_columns > 5) printf(" %13.2f |", bench_median(entry->cpu, rounds));
    }
    if (bench_columns > 5 && entry->peak == 0) printf("        - |        - |");
    else if (bench_columns > 5) printf(" %8.1f | %8.1f |", entry->peak, entry->kept);
    printf("\n");
}

/* How many times the best of the others ours takes; 0 when there is none. */
static inline double bench_of_best(const bench_entry *entries, size_t count, int figure)
{
    double best = 0;
    size_t i;
    for (i = 1; i < count; i++) {
        double times = entries[i].problem == NULL ? entries[i].times[figure] : 0;
        if (times > 0 && (best == 0 || times < best)) best = times;
    }
    return best > 0 ? 1 / best : 0;
}

/* Remembers a row where another one is better by more than a little. */
static inline void bench_note(const char *title, const bench_entry *entries, size_t count)
{
    double times = bench_of_best(entries, count, BENCH_TIME);
    double cpu = bench_of_best(entries, count, BENCH_CPU);
    double kept = bench_of_best(entries, count, BENCH_KEPT);
    size_t used = strlen(bench_slow);
    if (times > BENCH_SLOW || cpu > BENCH_SLOW) {
        snprintf(bench_slow + used, sizeof(bench_slow) - used, "- %s: %.2f times, CPU %.2f\n",
                 title, times, cpu);
    }
    used = strlen(bench_large);
    if (kept > BENCH_LARGE) {
        snprintf(bench_large + used, sizeof(bench_large) - used, "- %s: %.2f times\n", title, kept);
    }
}

static inline void bench_print(const char *title, bench_entry *entries, size_t count, size_t rounds)
{
    bool processes = false;
    size_t i;
    for (i = 0; i < count; i++) processes = processes || entries[i].process.pid != 0;
    bench_header(processes ? 8 : 5);
    for (i = 0; i < count; i++) bench_compare(&entries[i], entries, rounds);
    for (i = 0; i < count; i++) {
        bench_line(i == 0 ? title : "", &entries[i], rounds);
        if (processes && entries[i].problem == NULL) bench_add(i, &entries[i]);
    }
    if (processes) bench_note(title, entries, count);
    fflush(stdout);
}

/* ---- the end ---- */

static inline void bench_print_means(void)
{
    size_t i;
    int figure;
    printf("\n| %-28s | rows | time | CPU  | peak | kept |\n", "geometric mean, ours = 1");
    printf("|%.30s|-----:|-----:|-----:|-----:|-----:|\n", "------------------------------------");
    for (i = 0; i < BENCH_CONTESTANTS && bench_means[i].name != NULL; i++) {
        const bench_mean *mean = &bench_means[i];
        printf("| %-28s | %4d |", mean->name, mean->rows[BENCH_TIME]);
        for (figure = 0; figure < BENCH_FIGURES; figure++) {
            int rows = mean->rows[figure];
            if (rows == 0) printf("      |");
            else printf(" %4.2f |", exp(mean->logs[figure] / rows));
        }
        printf("\n");
    }
    if (*bench_slow != '\0') {
        printf("\nSlower than %.2f times the best of the others:\n%s", BENCH_SLOW, bench_slow);
    }
    if (*bench_large != '\0') {
        printf("\nKeeps more than %.2f times the leanest:\n%s", BENCH_LARGE, bench_large);
    }
}
#endif
