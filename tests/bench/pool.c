/* Objects of one size: a pool beside what else they can come from.
 *
 * Whoever gets an object writes its own address into it, and looks for it before the put, so that
 * objects which overlap are noticed. Pools and lists have their functions inside the loop, as a
 * user has them; malloc is called. All but the slabs run in a process of their own, see peers.h.
 *
 * The limit is a list of free objects with nothing around it: no count, no segments, not even a
 * test for its end, as there are always objects enough. APR's pools cannot give back one object, so
 * each gets a pool of its own there. */
#include "bench.h"
#include "../../mm_pool.h"
#include <apr_general.h> /* apr_initialize */
#include <apr_pools.h>

#define PAIRS 1000
#define BURST 100    /* objects got, and then put */
#define LIVE 10000   /* objects of a churn */
#define STEP 16      /* of them put and then got at a time; divides LIVE */
#define SLOT 128     /* bytes of an object in a slab */
#define SLOTS 100000 /* most of them */

typedef struct job {
    size_t size;
    size_t operations;
    size_t live;
} job;

static struct { /* of this process, which works for one contestant on one job */
    void *objects[LIVE];
    size_t cycles; /* done */
    size_t errors; /* objects that were refused or are not what they were */
} here;

static uint32_t order[LIVE]; /* all places once, at random */

static void mistake(void)
{
    here.errors++;
}

BENCH_INLINE void *used(void *memory)
{
    if (memory == NULL) abort();
    *(void **)memory = memory;
    BENCH_KEEP(memory);
    return memory;
}

BENCH_INLINE void *verified(void *object)
{
    if (*(void **)object != object) mistake();
    return object;
}

/* ---- the work ---- */

typedef void *get_function(size_t size);
typedef void put_function(void *object);

BENCH_INLINE void do_pairs(const job *j, get_function *get, put_function *put)
{
    size_t i;
    for (i = 0; i < PAIRS; i++) put(verified(used(get(j->size))));
}

BENCH_INLINE void do_burst(const job *j, get_function *get, put_function *put)
{
    size_t i;
    for (i = 0; i < BURST; i++) here.objects[i] = used(get(j->size));
    for (i = 0; i < BURST; i++) put(verified(here.objects[i]));
}

/* A few objects, from anywhere, make room for new ones. */
BENCH_INLINE void do_churn(const job *j, get_function *get, put_function *put)
{
    size_t i, k;
    for (i = 0; here.cycles == 0 && i < LIVE; i++) here.objects[i] = used(get(j->size));
    for (i = 0; i < LIVE; i += STEP) {
        const uint32_t *places = &order[i];
        for (k = 0; k < STEP; k++) put(verified(here.objects[places[k]]));
        for (k = 0; k < STEP; k++) here.objects[places[k]] = used(get(j->size));
    }
}

typedef void work_function(const job *j);

static void repeat(const void *work, size_t cycles, work_function *pairs, work_function *burst,
                   work_function *churn)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        if (j->operations == PAIRS) pairs(j);
        else if (j->operations == BURST) burst(j);
        else churn(j);
        here.cycles++;
    }
}

/* The three kinds of work for a contestant, each with its get and put inside. */
#define WORK(name, get, put) \
    static void name##_pairs(const job *j) \
    { \
        do_pairs(j, get, put); \
    } \
    static void name##_burst(const job *j) \
    { \
        do_burst(j, get, put); \
    } \
    static void name##_churn(const job *j) \
    { \
        do_churn(j, get, put); \
    } \
    static void run_##name(const void *work, size_t cycles) \
    { \
        repeat(work, cycles, name##_pairs, name##_burst, name##_churn); \
    }

static bool check(const void *work)
{
    (void)work;
    return here.cycles > 0 && here.errors == 0;
}

static bool is_churn(const void *work)
{
    return ((const job *)work)->live != 0;
}

/* ---- the contestants ---- */

static mm_pool pool;

static void open_pool(size_t size)
{
    mm_pool_desc desc = {.size = size};
    if (pool.size != size && mm_pool_init(&pool, &desc) != MM_STATUS_OK) mistake();
}

BENCH_INLINE void *get_pool(size_t size)
{
    (void)size;
    return mm_pool_get(&pool);
}

BENCH_INLINE void put_pool(void *object)
{
    mm_pool_put(&pool, object);
}

WORK(pool_only, get_pool, put_pool)

static void run_pool(const void *work, size_t cycles)
{
    open_pool(((const job *)work)->size);
    run_pool_only(work, cycles);
}

static void rest_pool(const void *work)
{
    size_t i;
    for (i = 0; is_churn(work) && i < LIVE; i++) mm_pool_put(&pool, here.objects[i]);
    if (mm_pool_live(&pool) != 0) mistake();
    (void)mm_pool_trim(&pool, 0);
}

static void *list;

BENCH_INLINE void *get_list(size_t size)
{
    void *object = list;
    (void)size;
    list = *(void **)object;
    return object;
}

BENCH_INLINE void put_list(void *object)
{
    *(void **)object = list;
    list = object;
}

WORK(list_only, get_list, put_list)

static void run_list(const void *work, size_t cycles)
{
    size_t size = ((const job *)work)->size, i;
    unsigned char *block = list == NULL && here.cycles == 0 ? malloc((LIVE + 1) * size) : NULL;
    for (i = LIVE + 1; block != NULL && i-- > 0;) put_list(block + i * size);
    run_list_only(work, cycles);
}

BENCH_INLINE void put_malloc(void *object)
{
    free(object);
}

WORK(malloc, malloc, put_malloc)

static void rest_malloc(const void *work)
{
    size_t i;
    for (i = 0; is_churn(work) && i < LIVE; i++) free(here.objects[i]);
}

/* An object begins behind the address of its pool. */
BENCH_INLINE void *get_apr(size_t size)
{
    apr_pool_t *own;
    apr_pool_t **object;
    if (apr_pool_create(&own, NULL) != APR_SUCCESS) return NULL;
    object = (apr_pool_t **)apr_palloc(own, size + 16);
    *object = own;
    return object + 2;
}

BENCH_INLINE void put_apr(void *object)
{
    apr_pool_destroy(((apr_pool_t **)object)[-2]);
}

WORK(apr, get_apr, put_apr)

static const bench_contestant contestants[] = {
    {"mm_pool", run_pool, check, BENCH_PLAIN, rest_pool},
    {"bare list (limit)", run_list, check, BENCH_PLAIN, NULL},
    {"glibc", run_malloc, check, BENCH_PLAIN, rest_malloc},
    {"jemalloc", run_malloc, check, BENCH_JEMALLOC, rest_malloc},
    {"mimalloc", run_malloc, check, BENCH_MIMALLOC, rest_malloc},
    {"tcmalloc", run_malloc, check, BENCH_TCMALLOC, rest_malloc},
    {"APR pool for each", run_apr, check, BENCH_PLAIN, NULL},
};

/* ---- slabs ---- */

typedef struct record { /* what lies in a slab */
    size_t number;
    unsigned char rest[SLOT - sizeof(size_t)];
} record;

static mm_slab slab;
static mm_handle handles[SLOTS];
static size_t slab_cycles, slab_errors, slab_live;

/* An array and the list of its free places, which are known by their index and not protected. */
static record *records;
static uint32_t places[SLOTS], free_place;
static size_t array_cycles, array_errors, array_live;

static uint32_t array_insert(record **object)
{
    uint32_t place = free_place;
    record *r = &records[place];
    free_place = (uint32_t)r->number;
    memset(r, 0, sizeof(*r));
    *object = r;
    return place;
}

static void array_remove(uint32_t place)
{
    records[place].number = free_place;
    free_place = place;
}

/* The places of the order, spread over as many as live. */
BENCH_INLINE size_t place_of(const job *j, size_t i)
{
    return j->live == SLOTS ? order[i % LIVE] * 10u + i % 10 : order[i % LIVE] % j->live;
}

static void slab_fill(const job *j)
{
    void *object;
    for (; slab_live < j->live; slab_live++) {
        handles[slab_live] = mm_slab_insert(&slab, &object);
        ((record *)object)->number = slab_live;
    }
}

static void array_fill(const job *j)
{
    record *r;
    for (; array_live < j->live; array_live++) {
        places[array_live] = array_insert(&r);
        r->number = array_live;
    }
}

static void run_slab_lookup(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    size_t i;
    for (slab_fill(j); cycles > 0; cycles--, slab_cycles++) {
        for (i = 0; i < j->operations; i++) {
            size_t place = place_of(j, i);
            const record *r = (const record *)mm_slab_get(&slab, handles[place]);
            if (r == NULL || r->number != place) slab_errors++;
            BENCH_KEEP(r);
        }
    }
}

static void run_array_lookup(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    size_t i;
    for (array_fill(j); cycles > 0; cycles--, array_cycles++) {
        for (i = 0; i < j->operations; i++) {
            size_t place = place_of(j, i);
            const record *r = &records[places[place]];
            if (r->number != place) array_errors++;
            BENCH_KEEP(r);
        }
    }
}

static void run_slab_churn(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    size_t i;
    for (slab_fill(j); cycles > 0; cycles--, slab_cycles++) {
        for (i = 0; i < j->operations; i++) {
            size_t place = place_of(j, i);
            void *object;
            if (mm_slab_remove(&slab, handles[place]) != MM_STATUS_OK) slab_errors++;
            handles[place] = mm_slab_insert(&slab, &object);
            ((record *)object)->number = place;
            BENCH_KEEP(object);
        }
    }
}

static void run_array_churn(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    size_t i;
    for (array_fill(j); cycles > 0; cycles--, array_cycles++) {
        for (i = 0; i < j->operations; i++) {
            size_t place = place_of(j, i);
            record *r;
            array_remove(places[place]);
            places[place] = array_insert(&r);
            r->number = place;
            BENCH_KEEP(r);
        }
    }
}

static bool check_slab(const void *work)
{
    bool done = slab_cycles > 0 && slab_errors == 0;
    if (slab_live != ((const job *)work)->live) return false;
    return done;
}

static bool check_array(const void *work)
{
    bool done = array_cycles > 0 && array_errors == 0;
    if (array_live != ((const job *)work)->live) return false;
    return done;
}

static const bench_contestant lookup_contestants[] = {
    {"mm_slab", run_slab_lookup, check_slab, NULL, NULL},
    {"array, unchecked (limit)", run_array_lookup, check_array, NULL, NULL},
};

static const bench_contestant slab_contestants[] = {
    {"mm_slab", run_slab_churn, check_slab, NULL, NULL},
    {"array and free list (limit)", run_array_churn, check_array, NULL, NULL},
};

/* Anew for each row: its check fails until something has run. */
static bool slab_begin(void)
{
    mm_slab_desc desc = {.size = SLOT, .capacity = SLOTS};
    uint32_t i;
    (void)mm_slab_deinit(&slab);
    slab_cycles = slab_live = array_cycles = array_live = 0;
    for (i = 0; i < SLOTS; i++) records[i].number = i + 1;
    free_place = 0;
    return mm_slab_init(&slab, &desc) == MM_STATUS_OK;
}

/* ---- the rows ---- */

static void row(const char *title, size_t size, size_t operations)
{
    static job j;
    j.size = size;
    j.operations = operations;
    j.live = operations > PAIRS ? LIVE : 0;
    BENCH(title, &j, operations, contestants);
}

static void slab_row(const char *title, size_t live, bool lookup)
{
    static job j;
    j.operations = 10000;
    j.live = live;
    if (!slab_begin()) bench_fail(title, "mm_slab", "no memory");
    if (lookup) BENCH(title, &j, j.operations, lookup_contestants);
    else BENCH(title, &j, j.operations, slab_contestants);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    size_t i;
    records = (record *)calloc(SLOTS, sizeof(record));
    if (records == NULL || apr_initialize() != APR_SUCCESS) return 1;
    for (i = 0; i < LIVE; i++) { /* each place changes with one before it */
        size_t k = (bench_random(&seed) >> 8) % (i + 1);
        order[i] = order[k];
        order[k] = (uint32_t)i;
    }
    bench_begin(argc, argv, "mm_pool.h: objects of one size");
    row("get and put 16 bytes", 16, PAIRS);
    row("get and put 64 bytes", 64, PAIRS);
    row("get and put 256 bytes", 256, PAIRS);
    row("get and put 1,024 bytes", 1024, PAIRS);
    row("100 got, then put, 64 bytes", 64, BURST);
    row("10,000 at random, 16 bytes", 16, LIVE);
    row("10,000 at random, 64 bytes", 64, LIVE);
    row("10,000 at random, 256 bytes", 256, LIVE);
    row("10,000 at random, 1,024 bytes", 1024, LIVE);
    slab_row("lookup among 1,000", 1000, true);
    slab_row("lookup among 100,000", SLOTS, true);
    slab_row("remove and insert among 1,000", 1000, false);
    slab_row("remove and insert among 100,000", SLOTS, false);
    return bench_end();
}
