/* Objects that one thread gets and another one puts: a pool's owner and its helper, beside mallocs.
 *
 * They go over in a ring of 1,024. Whoever gets an object writes its own address into it, and who
 * puts it looks for it. On one processor the threads take turns, and what is measured is the work;
 * on two it is how often a cache line changes sides, and that needs two that nobody else uses:
 * elsewhere a thread waits for the other one's turn, and the spread tells. Left to itself, a system
 * takes one or two as it likes, and for long. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_setaffinity */
#endif
#include "bench.h"
#include "../../mm_pool.h"
#include <pthread.h>
#include <sched.h>

#define RING 1024    /* objects on their way; a power of two */
#define HANDED 20000 /* in a cycle */

typedef struct job {
    size_t size;
    int processors;
} job;

static struct {    /* of this process, which works for one contestant on one job */
    size_t cycles; /* done */
    size_t errors; /* objects that are not what they were */
} here;

typedef void *get_function(size_t size);
typedef void put_function(void *object);

BENCH_INLINE void *used(void *memory)
{
    if (memory == NULL) abort();
    *(void **)memory = memory;
    BENCH_KEEP(memory);
    return memory;
}

static void *verified(void *object)
{
    if (*(void **)object != object) here.errors++;
    return object;
}

static bool check(const void *work)
{
    (void)work;
    return here.cycles > 0 && here.errors == 0;
}

static struct { /* each thread writes to a cache line of its own */
    void *objects[RING];
    size_t written;
    char apart[128];
    size_t taken;
} ring;

typedef struct giver {
    put_function *put;
    void (*end)(void); /* or NULL */
    int processor;
} giver;

/* Binds this thread to a processor, the first or second that the program may use. */
static void bind_to(int which)
{
    static cpu_set_t all;
    static int count;
    cpu_set_t one;
    size_t i;
    if (count == 0 && sched_getaffinity(0, sizeof(all), &all) != 0) return;
    if (count == 0) count = CPU_COUNT(&all);
    for (i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all) && which-- == 0) break;
    }
    CPU_ZERO(&one);
    if (i < CPU_SETSIZE) CPU_SET(i, &one);
    (void)sched_setaffinity(0, sizeof(one), &one); /* in vain where there is only one */
}

static void *give_back(void *user_data)
{
    const giver *g = (const giver *)user_data;
    size_t i, end = ring.taken + HANDED;
    bind_to(g->processor);
    for (i = ring.taken; i != end; i++) {
        while (i == __atomic_load_n(&ring.written, __ATOMIC_ACQUIRE)) sched_yield();
        g->put(verified(ring.objects[i % RING]));
        if (i % 32 == 31 || i + 1 == end) __atomic_store_n(&ring.taken, i + 1, __ATOMIC_RELEASE);
    }
    if (g->end != NULL) g->end();
    return NULL;
}

BENCH_INLINE void hand_over(const job *j, size_t cycles, get_function *get, giver g)
{
    bind_to(0);
    g.processor = j->processors - 1;
    for (; cycles > 0; cycles--, here.cycles++) {
        size_t i, end = ring.written + HANDED;
        pthread_t thread;
        if (pthread_create(&thread, NULL, give_back, &g) != 0) abort();
        for (i = ring.written; i != end; i++) {
            while (i - __atomic_load_n(&ring.taken, __ATOMIC_ACQUIRE) == RING) sched_yield();
            ring.objects[i % RING] = used(get(j->size));
            if (i % 32 == 31 || i + 1 == end) {
                __atomic_store_n(&ring.written, i + 1, __ATOMIC_RELEASE);
            }
        }
        pthread_join(thread, NULL);
    }
}

/* ---- the contestants ---- */

static mm_pool pool;

static void open_pool(size_t size)
{
    mm_pool_desc desc = {.size = size};
    if (pool.size != size && mm_pool_init(&pool, &desc) != MM_STATUS_OK) abort();
}

BENCH_INLINE void *get_pool(size_t size)
{
    (void)size;
    return mm_pool_get(&pool);
}

static mm_pool_batch batch;

static void put_pool_batched(void *object)
{
    mm_pool_put_batched(&pool, &batch, object);
}

static void flush_pool_batch(void)
{
    mm_pool_batch_flush(&pool, &batch);
}

static void run_pool_batches(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    open_pool(j->size);
    hand_over(j, cycles, get_pool, (giver){put_pool_batched, flush_pool_batch, 0});
}

static void put_pool_remote(void *object)
{
    mm_pool_put_remote(&pool, object);
}

static void run_pool(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    open_pool(j->size);
    hand_over(j, cycles, get_pool, (giver){put_pool_remote, NULL, 0});
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *get_locked(size_t size)
{
    void *object;
    (void)size;
    pthread_mutex_lock(&mutex);
    object = mm_pool_get(&pool);
    pthread_mutex_unlock(&mutex);
    return object;
}

static void put_locked(void *object)
{
    pthread_mutex_lock(&mutex);
    mm_pool_put(&pool, object);
    pthread_mutex_unlock(&mutex);
}

static void run_locked(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    open_pool(j->size);
    hand_over(j, cycles, get_locked, (giver){put_locked, NULL, 0});
}

static void put_malloc(void *object)
{
    free(object);
}

static void run_malloc(const void *work, size_t cycles)
{
    hand_over((const job *)work, cycles, malloc, (giver){put_malloc, NULL, 0});
}

static const bench_contestant contestants[] = {
    {"mm_pool, put in batches", run_pool_batches, check, BENCH_PLAIN, NULL},
    {"mm_pool, put one by one", run_pool, check, BENCH_PLAIN, NULL},
    {"mm_pool under a mutex", run_locked, check, BENCH_PLAIN, NULL},
    {"glibc", run_malloc, check, BENCH_PLAIN, NULL},
    {"jemalloc", run_malloc, check, BENCH_JEMALLOC, NULL},
    {"mimalloc", run_malloc, check, BENCH_MIMALLOC, NULL},
    {"tcmalloc", run_malloc, check, BENCH_TCMALLOC, NULL},
};

/* ---- the rows ---- */

static void row(const char *title, size_t size, int processors)
{
    static job j;
    j.size = size;
    j.processors = processors;
    BENCH(title, &j, HANDED, contestants);
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, "mm_pool.h: from one thread to another");
    row("one processor, 16 bytes", 16, 1);
    row("one processor, 64 bytes", 64, 1);
    row("one processor, 256 bytes", 256, 1);
    row("one processor, 1,024 bytes", 1024, 1);
    row("two processors, 16 bytes", 16, 2);
    row("two processors, 64 bytes", 64, 2);
    row("two processors, 256 bytes", 256, 2);
    row("two processors, 1,024 bytes", 1024, 2);
    return bench_end();
}
