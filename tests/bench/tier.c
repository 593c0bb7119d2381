/* Buffers of 4 to 64 KiB: a tier beside four mallocs, each in a process of its own, and what it
 * costs to charge a budget.
 *
 * Whoever gets a buffer writes its first word, and who gives it back looks at that. An operation is
 * a get with its put. Nothing is subtracted for the loop: it is in all figures alike, and no more
 * than the contestant "an array as a stack" takes, which has no limits, classes or statistics. In
 * rows of one size, that is a constant to the compiler, for each contestant, as it is for a server
 * whose buffers are all the same; but where the row says that it is in a variable. Of the rows
 * with two threads it is the time from start to end, divided by the operations of both. The buffers
 * that are out at a time are in the rows' names. */
#include "bench.h"
#include "../../mm_pool.h"
#include <pthread.h>
#include <sched.h>

#define SLOTS 64
#define RING 256 /* buffers on their way from one thread to another; a power of two */

typedef struct job {
    void (*tier)(const struct job *j); /* one cycle with a tier */
    void (*heap)(const struct job *j); /* and with malloc */
    size_t operations, out, size;      /* size 0: a mixture */
    bool is_variable;                  /* the compiler is not told which size it is */
} job;

static struct { /* of this process, which is one contestant of one row */
    mm_tier tier;
    mm_tier_cache caches[2];
    size_t cycles, errors;
    bool ready;
} here;

static void mistake(void)
{
    __atomic_fetch_add(&here.errors, 1, __ATOMIC_RELAXED);
}

typedef struct slot {
    size_t *ptr;
    size_t size;
} slot;

/* Who works without any management: a stack of buffers that never runs dry nor full. */
static struct {
    size_t count;
    void *buffers[SLOTS];
} stack;

static mm_tier_cache no_cache; /* stands for that */

/* The ways, one for each copy of the loops. `cache` is NULL for malloc. */
BENCH_INLINE size_t *get(mm_tier_cache *cache, size_t min_size, size_t *size)
{
    size_t *ptr;
    *size = min_size;
    if (cache == &no_cache) ptr = (size_t *)stack.buffers[--stack.count];
    else if (cache != NULL) ptr = (size_t *)mm_tier_cache_get(cache, min_size, size);
    else ptr = (size_t *)malloc(min_size);
    if (ptr == NULL) abort();
    BENCH_KEEP(ptr);
    *ptr = (size_t)ptr;
    return ptr;
}

BENCH_INLINE void put(mm_tier_cache *cache, size_t *ptr, size_t size)
{
    if (*ptr != (size_t)ptr) mistake();
    if (cache == &no_cache) stack.buffers[stack.count++] = ptr;
    else if (cache != NULL) mm_tier_cache_put(cache, ptr, size, sizeof(size_t));
    else free(ptr);
    BENCH_KEEP(cache);
}

BENCH_INLINE void get_slot(mm_tier_cache *cache, slot *s, size_t size)
{
    s->ptr = get(cache, size, &s->size);
}

BENCH_INLINE void put_slot(mm_tier_cache *cache, const slot *s)
{
    put(cache, s->ptr, s->size);
}

/* ---- one thread ---- */

/* `out` gets and as many puts, the last one first. */
BENCH_INLINE void run_lifo(mm_tier_cache *cache, const job *j, size_t size)
{
    size_t *ptrs[SLOTS], i, k, got, out = j->out, operations = j->operations;
    for (i = 0; i < operations; i += out) {
        for (k = 0; k < out; k++) ptrs[k] = get(cache, size, &got);
        for (k = out; k-- > 0;) put(cache, ptrs[k], size);
    }
}

/* The classes are constants to the compiler, as for who has buffers of one size, or a variable. */
BENCH_INLINE void run_lifo_of(mm_tier_cache *cache, const job *j)
{
    if (j->is_variable) run_lifo(cache, j, j->size);
    else if (j->size == 4096) run_lifo(cache, j, 4096);
    else if (j->size == 16384) run_lifo(cache, j, 16384);
    else if (j->size == 65536) run_lifo(cache, j, 65536);
    else mistake();
}

static void lifo_tier(const job *j)
{
    run_lifo_of(&here.tier.own, j);
}

static void lifo_stack(const job *j)
{
    run_lifo_of(&no_cache, j);
}

static void lifo_heap(const job *j)
{
    run_lifo_of(NULL, j);
}

/* One of `out` at random makes room for the next, of mixed sizes if the job has none. */
BENCH_INLINE void run_random(mm_tier_cache *cache, const job *j)
{
    static const size_t mixed[] = {4096, 4096, 2000, 16384, 16384, 16645, 16000, 65536};
    slot slots[SLOTS];
    uint64_t seed = 1;
    size_t i;
    for (i = 0; i < j->out; i++) get_slot(cache, &slots[i], 16384);
    for (i = 0; i < j->operations; i++) {
        uint64_t random = bench_random(&seed);
        slot *s = &slots[(random >> 32) % j->out];
        put_slot(cache, s);
        get_slot(cache, s, j->size != 0 ? j->size : mixed[(random >> 50) % 8]);
    }
    for (i = 0; i < j->out; i++) put_slot(cache, &slots[i]);
}

static void random_tier(const job *j)
{
    run_random(&here.tier.own, j);
}

static void random_heap(const job *j)
{
    run_random(NULL, j);
}

/* ---- two threads ---- */

typedef struct worker {
    const job *j;
    mm_tier_cache *cache; /* NULL: malloc */
    size_t number;
} worker;

static void on_threads(const job *j, bool with_tier, void *(*function)(void *))
{
    pthread_t threads[2];
    worker workers[2];
    size_t i;
    for (i = 0; i < 2; i++) {
        workers[i].j = j;
        workers[i].cache = with_tier ? &here.caches[i] : NULL;
        workers[i].number = i;
        if (pthread_create(&threads[i], NULL, function, &workers[i]) != 0) abort();
    }
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

static void *lifo_thread(void *argument)
{
    const worker *w = (const worker *)argument;
    job half = *w->j;
    half.operations /= 2;
    if (w->cache == NULL) {
        run_lifo_of(NULL, &half);
        return NULL;
    }
    mm_tier_cache_init(w->cache, &here.tier); /* a thread that comes and goes */
    run_lifo_of(w->cache, &half);
    mm_tier_cache_deinit(w->cache);
    return NULL;
}

static struct { /* from the producer to the consumer; each writes to its own cache line */
    slot slots[RING];
    size_t written;
    char apart[128];
    size_t taken;
} ring;

BENCH_INLINE void run_hand_over(mm_tier_cache *cache, const worker *w)
{
    size_t i, count = w->j->operations;
    for (i = 0; i < count && w->number == 0; i++) {
        while (i - __atomic_load_n(&ring.taken, __ATOMIC_ACQUIRE) == RING) sched_yield();
        get_slot(cache, &ring.slots[i % RING], w->j->size);
        if (i % 16 == 15) __atomic_store_n(&ring.written, i + 1, __ATOMIC_RELEASE);
    }
    for (i = 0; i < count && w->number == 1; i++) {
        while (i == __atomic_load_n(&ring.written, __ATOMIC_ACQUIRE)) sched_yield();
        put_slot(cache, &ring.slots[i % RING]);
        if (i % 16 == 15) __atomic_store_n(&ring.taken, i + 1, __ATOMIC_RELEASE);
    }
}

static void *hand_over_thread(void *argument)
{
    const worker *w = (const worker *)argument;
    if (w->cache == NULL) {
        run_hand_over(NULL, w);
        return NULL;
    }
    mm_tier_cache_init(w->cache, &here.tier);
    run_hand_over(w->cache, w);
    mm_tier_cache_deinit(w->cache);
    return NULL;
}

static void threads_tier(const job *j)
{
    on_threads(j, true, lifo_thread);
}

static void threads_heap(const job *j)
{
    on_threads(j, false, lifo_thread);
}

static void hand_over_tier(const job *j)
{
    ring.written = ring.taken = 0;
    on_threads(j, true, hand_over_thread);
}

static void hand_over_heap(const job *j)
{
    ring.written = ring.taken = 0;
    on_threads(j, false, hand_over_thread);
}

/* ---- the contestants ---- */

static void run_tier(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    mm_tier_desc desc = {.allocator = NULL};
    if (!here.ready && mm_tier_init(&here.tier, &desc) != MM_STATUS_OK) abort();
    here.ready = true;
    for (; cycles > 0; cycles--, here.cycles++) j->tier(j);
}

static void run_heap(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--, here.cycles++) j->heap(j);
}

static bool check(const void *work)
{
    (void)work;
    return here.cycles > 0 && here.errors == 0;
}

static void run_stack(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    while (stack.count < SLOTS) stack.buffers[stack.count++] = malloc(j->size);
    for (; cycles > 0; cycles--, here.cycles++) lifo_stack(j);
}

static void rest_tier(const void *work)
{
    (void)work;
    mm_tier_trim(&here.tier, 0);
}

#define CONTESTANTS \
    {"mm_tier", run_tier, check, BENCH_PLAIN, rest_tier}, \
        {"glibc", run_heap, check, BENCH_PLAIN, NULL}, \
        {"jemalloc", run_heap, check, BENCH_JEMALLOC, NULL}, \
        {"mimalloc", run_heap, check, BENCH_MIMALLOC, NULL}, \
    { \
        "tcmalloc", run_heap, check, BENCH_TCMALLOC, NULL \
    }

static const bench_contestant contestants[] = {CONTESTANTS};
static const bench_contestant with_stack[] = {
    CONTESTANTS, {"an array as a stack (limit)", run_stack, check, BENCH_PLAIN, NULL}};

/* ---- budgets ---- */

typedef struct account {
    size_t levels, threads, operations;
} account;

static struct {
    mm_budget levels[3];
    size_t plain;                   /* what two atomic additions can do: no limit, no peak */
    size_t charged, added, refused; /* cycles done by the two, in this row; charges refused */
    const account *a;
} bank;

static void *charge_budget(void *argument)
{
    mm_budget *budget = (mm_budget *)argument;
    size_t i, refused = 0;
    for (i = 0; i < bank.a->operations / bank.a->threads; i++) {
        if (mm_budget_charge(budget, 4096) != MM_STATUS_OK) refused++;
        mm_budget_release(budget, 4096);
    }
    __atomic_fetch_add(&bank.refused, refused, __ATOMIC_RELAXED);
    return NULL;
}

static void *charge_plain(void *argument)
{
    size_t i, *live = (size_t *)argument;
    for (i = 0; i < bank.a->operations / bank.a->threads; i++) {
        (void)mmi_atomic_add(live, 4096);
        (void)mmi_atomic_add(live, (size_t)0 - 4096);
    }
    return NULL;
}

static void charge(const account *a, size_t cycles, size_t *done, void *(*function)(void *),
                   void *argument)
{
    pthread_t threads[2];
    size_t i;
    bank.a = a;
    for (; cycles > 0; cycles--, ++*done) {
        if (a->threads == 1) {
            (void)function(argument);
            continue;
        }
        for (i = 0; i < 2; i++) {
            if (pthread_create(&threads[i], NULL, function, argument) != 0) abort();
        }
        for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    }
}

static void run_budget(const void *work, size_t cycles)
{
    const account *a = (const account *)work;
    charge(a, cycles, &bank.charged, charge_budget, &bank.levels[a->levels - 1]);
}

static void run_plain(const void *work, size_t cycles)
{
    charge((const account *)work, cycles, &bank.added, charge_plain, &bank.plain);
}

static bool check_budget(const void *work)
{
    (void)work;
    return bank.charged > 0 && bank.refused == 0 && mm_budget_live(&bank.levels[0]) == 0;
}

static bool check_plain(const void *work)
{
    (void)work;
    return bank.added > 0 && bank.plain == 0;
}

static void open_bank(void)
{
    mm_budget_desc desc = {.limit = 1 << 20};
    size_t i;
    for (i = 0; i < 3; i++) {
        desc.parent = i == 0 ? NULL : &bank.levels[i - 1];
        mm_budget_init(&bank.levels[i], &desc);
    }
}

static const bench_contestant accountants[] = {
    {"mm_budget", run_budget, check_budget, NULL, NULL},
    {"two atomic additions (limit)", run_plain, check_plain, NULL, NULL},
};

static void row(const char *title, account given)
{
    static account a;
    a = given;
    bank.charged = bank.added = 0;
    BENCH(title, &a, a.operations, accountants);
}

int main(int argc, char **argv)
{
    static const job one = {lifo_tier, lifo_heap, 1000, 1, 16384, false},
                     eight = {lifo_tier, lifo_heap, 1000, 8, 16384, false},
                     variable = {lifo_tier, lifo_heap, 1000, 8, 16384, true},
                     small = {lifo_tier, lifo_heap, 1000, 8, 4096, false},
                     large = {lifo_tier, lifo_heap, 1000, 8, 65536, false},
                     any = {random_tier, random_heap, 10000, 48, 16384, true},
                     mixed = {random_tier, random_heap, 10000, 64, 0, true},
                     both = {threads_tier, threads_heap, 160000, 8, 16384, false},
                     across = {hand_over_tier, hand_over_heap, 16000, 0, 16384, true};
    bench_begin(argc, argv, "mm_pool.h: tiered buffers beside four mallocs, budgets");
    BENCH("16 KiB, 1 out", &one, one.operations, with_stack);
    BENCH("16 KiB, 8 out", &eight, eight.operations, with_stack);
    BENCH("16 KiB, 8 out, size in a variable", &variable, variable.operations, with_stack);
    BENCH("4 KiB, 8 out", &small, small.operations, with_stack);
    BENCH("64 KiB, 8 out", &large, large.operations, with_stack);
    BENCH("16 KiB, 48 out, random", &any, any.operations, contestants);
    BENCH("2 to 64 KiB, 64 out, random", &mixed, mixed.operations, contestants);
    BENCH("16 KiB, 8 out, 2 threads", &both, both.operations, contestants);
    BENCH("16 KiB from thread to thread", &across, across.operations, contestants);
    open_bank();
    row("charge and release, 1 level", (account){1, 1, 1000});
    row("the same, 2 levels", (account){2, 1, 1000});
    row("the same, 3 levels", (account){3, 1, 1000});
    row("1 level, 2 threads", (account){1, 2, 100000});
    row("2 levels, 2 threads", (account){2, 2, 100000});
    return bench_end();
}
