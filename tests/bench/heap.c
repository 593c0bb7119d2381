/* Heaps: work of the kinds that programs give to malloc, ours beside four others.
 *
 * Every contestant calls its functions through the same pointers, so a call costs the same for all,
 * and runs in a process of its own, which begins anew for each row. Whoever gets a block writes to
 * its first and last byte and to each page in between, as who asks for memory uses it; the two ends
 * are verified before the block is freed, so that blocks which overlap are noticed. An operation is
 * an allocation with its release, or what the row's name says.
 *
 * In the rows with 4 threads, more than there may be processors, look at CPU ns as well.
 *
 * "secure" is what MM_HEAP_SECURE costs: the same heap, built with it and preloaded.
 *
 * The last column, kept, is what stays resident when a row's blocks have been freed: all of them,
 * but in the rows about fragmentation 90 % at random. "trimmed" rows then ask the library to give
 * back what it can, by whatever function it has for that. Of 100 MB, 90 % freed, 9.5 MiB live.
 *
 * Sizes are spread evenly over their logarithms: as many between 16 and 32 bytes as between 512 and
 * 1,024. They and the order of all work are the same for all contestants and in every run. */
#include "bench.h"
#include "../../mm_heap.h"
#include <pthread.h>
#include <sched.h>

#define PAGE 4096
#define SLOTS 400000 /* most blocks that are live at a time */
#define SIZES 8192   /* of the table that all sizes come from; a power of two */
#define THREADS 4
#define TREE_DEPTH 14
#define RING 1024 /* blocks on their way from one thread to another; a power of two */

typedef struct heap { /* the functions of a contestant */
    void *(*alloc)(size_t size);
    void (*free)(void *ptr);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *ptr, size_t size);
    void *(*aligned)(size_t alignment, size_t size);
    void (*trim)(void);
} heap;

typedef struct job {
    void (*run)(const heap *h, const struct job *j);  /* one cycle */
    void (*rest)(const heap *h, const struct job *j); /* NULL: all blocks in the slots are freed */
    size_t slots;                                     /* number of blocks that live */
    size_t operations;                                /* in a cycle; 0: only memory is measured */
    size_t least, most;                               /* bytes of a block */
    uint32_t sizes[SIZES];                            /* filled in by row() */
} job;

typedef struct slot {
    unsigned char *ptr; /* NULL: none */
    size_t size;
} slot;

static struct { /* of this process, which works for one contestant on one job */
    slot slots[SLOTS];
    uint64_t seed;
    size_t next;   /* the size to take next from the table */
    size_t cycles; /* done */
    size_t errors; /* blocks that were refused, overlap, or are not as aligned as asked for */
} here = {.seed = 1};

/* ---- blocks ---- */

static void mistake(void)
{
    __atomic_fetch_add(&here.errors, 1, __ATOMIC_RELAXED);
}

static void *used(void *memory, size_t size)
{
    unsigned char *ptr = (unsigned char *)memory;
    size_t i;
    if (ptr == NULL) {
        mistake();
        return NULL;
    }
    for (i = PAGE; i < size; i += PAGE) ptr[i] = 1;
    ptr[0] = ptr[size - 1] = (unsigned char)size;
    BENCH_KEEP(ptr);
    return ptr;
}

static void verify(const unsigned char *ptr, size_t size)
{
    if (ptr[0] != (unsigned char)size || ptr[size - 1] != (unsigned char)size) mistake();
}

static void fill(const heap *h, slot *s, size_t size)
{
    s->size = size;
    s->ptr = (unsigned char *)used(h->alloc(size), size);
}

static void drop(const heap *h, slot *s)
{
    if (s->ptr == NULL) return;
    verify(s->ptr, s->size);
    h->free(s->ptr);
    s->ptr = NULL;
}

static size_t next_size(const job *j)
{
    return j->sizes[here.next++ % SIZES];
}

static void free_all(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; i < j->slots; i++) drop(h, &here.slots[i]);
}

/* ---- one thread ---- */

static void run_lifo(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; i < j->operations; i++) fill(h, &here.slots[i], next_size(j));
    for (i = j->operations; i-- > 0;) drop(h, &here.slots[i]);
}

static void run_fifo(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; i < j->operations; i++) fill(h, &here.slots[i], next_size(j));
    for (i = 0; i < j->operations; i++) drop(h, &here.slots[i]);
}

static void run_single(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; i < j->operations; i++) {
        fill(h, &here.slots[0], next_size(j));
        drop(h, &here.slots[0]);
    }
}

/* A block at random makes room for a new one; the first cycle makes them all. */
static void run_random(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; here.cycles == 0 && i < j->slots; i++) fill(h, &here.slots[i], next_size(j));
    for (i = 0; i < j->operations; i++) {
        slot *s = &here.slots[bench_random(&here.seed) % j->slots];
        drop(h, s);
        fill(h, s, next_size(j));
    }
}

/* A binary tree is built and freed, both depth first. */
typedef struct node {
    struct node *left, *right;
} node;

static node *plant(const heap *h, size_t depth)
{
    node *n = (node *)h->alloc(sizeof(node));
    if (n == NULL) {
        mistake();
        return NULL;
    }
    n->left = depth > 1 ? plant(h, depth - 1) : NULL;
    n->right = depth > 1 ? plant(h, depth - 1) : NULL;
    return n;
}

static void fell(const heap *h, node *n)
{
    if (n == NULL) return;
    fell(h, n->left);
    fell(h, n->right);
    h->free(n);
}

static void run_tree(const heap *h, const job *j)
{
    node *tree = plant(h, TREE_DEPTH);
    (void)j;
    BENCH_KEEP(tree);
    fell(h, tree);
}

/* Byte strings grow by a half from `least` to `most`, all at the same time, and only what is new is
   written. An operation is a realloc, from NULL at first. */
static void run_realloc(const heap *h, const job *j)
{
    size_t size, i;
    for (size = j->least; size <= j->most; size += size / 2) {
        for (i = 0; i < j->slots; i++) {
            slot *s = &here.slots[i];
            size_t from = s->ptr == NULL ? 0 : s->size;
            unsigned char *grown = (unsigned char *)h->realloc(s->ptr, size);
            if (grown == NULL) {
                mistake();
                return;
            }
            if (from > 0 && grown[from - 1] != (unsigned char)from) mistake();
            memset(grown + from, 'x', size - from);
            grown[0] = grown[size - 1] = (unsigned char)size;
            s->ptr = grown;
            s->size = size;
        }
    }
    free_all(h, j);
}

static void run_aligned(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; i < j->operations; i++) {
        uint64_t random = bench_random(&here.seed);
        size_t alignment = (size_t)32 << random % 8; /* to 4096 */
        slot *s = &here.slots[(random >> 32) % j->slots];
        drop(h, s);
        s->size = next_size(j);
        s->ptr = (unsigned char *)used(h->aligned(alignment, s->size), s->size);
        if ((uintptr_t)s->ptr % alignment != 0) mistake();
    }
}

/* Looks at a word in each page before it writes to every second one: a table that fills. */
static void run_calloc(const heap *h, const job *j)
{
    size_t i, at;
    for (i = 0; i < j->operations; i++) {
        slot *s = &here.slots[bench_random(&here.seed) % j->slots];
        drop(h, s);
        s->size = next_size(j);
        s->ptr = (unsigned char *)h->calloc(1, s->size);
        if (s->ptr == NULL) {
            mistake();
            return;
        }
        if (s->ptr[s->size - 1] != 0) mistake();
        for (at = 0; at < s->size; at += PAGE) {
            if (s->ptr[at] != 0) mistake();
            if (at / PAGE % 2 == 0) s->ptr[at] = 1;
        }
        s->ptr[0] = s->ptr[s->size - 1] = (unsigned char)s->size;
    }
}

/* All slots are filled, and all freed in an order that has nothing to do with it. */
static void run_all(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; i < j->slots; i++) fill(h, &here.slots[i], next_size(j));
    for (i = 0; i < j->slots; i++) drop(h, &here.slots[i * 99991 % j->slots]);
}

/* All empty slots are filled, and 90 % of all freed at random, so that in every cycle the new
   blocks have to find room between the old ones. */
static void run_fragmented(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; i < j->slots; i++) {
        if (here.slots[i].ptr == NULL) fill(h, &here.slots[i], next_size(j));
    }
    for (i = 0; i < j->slots; i++) {
        if (bench_random(&here.seed) % 10 != 0) drop(h, &here.slots[i]);
    }
}

static void rest_as_it_is(const heap *h, const job *j)
{
    (void)h, (void)j;
}

static void rest_trimmed(const heap *h, const job *j)
{
    (void)j;
    h->trim();
}

static void rest_all_trimmed(const heap *h, const job *j)
{
    free_all(h, j);
    h->trim();
}

/* ---- a web server ---- */

#define OPEN 32     /* requests at a time */
#define CACHED 2000 /* responses */
#define HEADERS 12
#define NODES 40 /* of a parsed body */

typedef struct request {
    slot input, table, context, output, line;
    slot headers[HEADERS * 2];
    slot nodes[NODES];
    slot texts[NODES / 2];
} request;

typedef struct server { /* of one thread */
    request open[OPEN];
    slot cache[CACHED];
    uint64_t seed;
    size_t count; /* of requests so far */
} server;

static void grow(const heap *h, slot *s, size_t to)
{
    void *grown = h->realloc(s->ptr, to);
    if (grown == NULL) {
        mistake();
        return;
    }
    s->size = to;
    s->ptr = (unsigned char *)used(grown, to);
}

static void zeroed(const heap *h, slot *s, size_t size)
{
    s->size = size;
    s->ptr = (unsigned char *)used(h->calloc(1, size), size);
}

static void request_begin(const heap *h, server *web, request *r)
{
    size_t i;
    fill(h, &r->input, 16384);
    zeroed(h, &r->context, 600);
    for (i = 0; i < HEADERS; i++) {
        uint64_t random = bench_random(&web->seed);
        if (i % 4 == 0) grow(h, &r->table, (i + 4) * 32);
        fill(h, &r->headers[2 * i], 8 + random % 24);
        fill(h, &r->headers[2 * i + 1], 8 + (random >> 32) % 100);
    }
    for (i = 0; i < NODES; i++) {
        fill(h, &r->nodes[i], 56);
        if (i % 2 == 0) fill(h, &r->texts[i / 2], 16 + bench_random(&web->seed) % 200);
    }
}

static void request_end(const heap *h, server *web, request *r)
{
    uint64_t random = bench_random(&web->seed);
    size_t i, size, most = (size_t)512 << random % 7; /* to 32 KiB */
    for (size = 512; size <= most; size *= 2) grow(h, &r->output, size);
    fill(h, &r->line, 120 + (random >> 8) % 100);
    for (i = 0; i < NODES; i++) drop(h, &r->nodes[i]);
    for (i = 0; i < NODES / 2; i++) drop(h, &r->texts[i]);
    for (i = HEADERS * 2; i-- > 0;) drop(h, &r->headers[i]);
    drop(h, &r->table);
    drop(h, &r->context);
    drop(h, &r->input);
    if ((random >> 16) % 4 == 0) { /* the cache takes the response over */
        slot *s = &web->cache[(random >> 32) % CACHED];
        drop(h, s);
        *s = r->output;
        r->output.ptr = NULL;
    }
    drop(h, &r->output);
    drop(h, &r->line);
}

static void serve(const heap *h, server *web, size_t requests)
{
    for (; requests > 0; requests--) {
        request *r = &web->open[web->count % OPEN];
        if (web->count++ >= OPEN) request_end(h, web, r);
        request_begin(h, web, r);
    }
}

static void serve_no_more(const heap *h, server *web)
{
    size_t i;
    for (i = 0; i < OPEN && i < web->count; i++) request_end(h, web, &web->open[i]);
    for (i = 0; i < CACHED; i++) drop(h, &web->cache[i]);
    web->count = 0;
}

static server servers[THREADS];

static void run_web(const heap *h, const job *j)
{
    if (here.cycles == 0) servers[0].seed = 1;
    serve(h, &servers[0], j->operations);
}

/* ---- threads ---- */

typedef struct worker {
    const heap *h;
    const job *j;
    size_t number;
    uint64_t seed;
} worker;

/* Runs a function on so many threads, which begin and end with it. */
static void on_threads(const heap *h, const job *j, size_t count, void *(*function)(void *))
{
    pthread_t threads[THREADS];
    static worker workers[THREADS];
    size_t i;
    for (i = 0; i < count; i++) {
        worker *w = &workers[i];
        w->h = h;
        w->j = j;
        w->number = (here.cycles + i) % count; /* each time another thread has these blocks */
        w->seed = (here.cycles + 1) * 1000 + i + 1;
        if (pthread_create(&threads[i], NULL, function, w) != 0) abort();
    }
    for (i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

/* Replaces blocks at random that a thread had which has ended. */
static void *larson(void *argument)
{
    worker *w = (worker *)argument;
    size_t each = w->j->slots / THREADS, i;
    slot *slots = &here.slots[w->number * each];
    for (i = 0; i < w->j->operations / THREADS; i++) {
        uint64_t random = bench_random(&w->seed);
        slot *s = &slots[random % each];
        drop(w->h, s);
        fill(w->h, s, w->j->sizes[(random >> 32) % SIZES]);
    }
    return NULL;
}

static void run_larson(const heap *h, const job *j)
{
    on_threads(h, j, THREADS, larson);
}

static void *web_thread(void *argument)
{
    worker *w = (worker *)argument;
    server *web = &servers[w->number];
    if (web->count == 0) web->seed = w->number + 1;
    serve(w->h, web, w->j->operations / THREADS);
    return NULL;
}

static void run_web_threads(const heap *h, const job *j)
{
    on_threads(h, j, THREADS, web_thread);
}

static void rest_web(const heap *h, const job *j)
{
    size_t i;
    (void)j;
    for (i = 0; i < THREADS; i++) serve_no_more(h, &servers[i]);
}

static unsigned char *shared[1024]; /* atomic */

/* Each thread puts new blocks where all find them, and frees what others had put there. */
static void *exchange(void *argument)
{
    worker *w = (worker *)argument;
    size_t i;
    for (i = 0; i < w->j->operations / THREADS; i++) {
        uint64_t random = bench_random(&w->seed);
        size_t size = w->j->sizes[(random >> 32) % SIZES];
        unsigned char *ptr = (unsigned char *)used(w->h->alloc(size), size);
        unsigned char **place = &shared[random % 1024];
        ptr = __atomic_exchange_n(place, ptr, __ATOMIC_ACQ_REL);
        w->h->free(ptr);
    }
    return NULL;
}

static void run_exchange(const heap *h, const job *j)
{
    on_threads(h, j, THREADS, exchange);
}

static void rest_exchange(const heap *h, const job *j)
{
    size_t i;
    (void)j;
    for (i = 0; i < 1024; i++) h->free(shared[i]);
}

/* Threads that do little: what does it cost to begin and end one? */
static void *short_lived(void *argument)
{
    worker *w = (worker *)argument;
    size_t i;
    void *blocks[20];
    for (i = 0; i < 20; i++)
        blocks[i] = used(w->h->alloc((size_t)16 << i % 8), (size_t)16 << i % 8);
    for (i = 0; i < 20; i++) w->h->free(blocks[i]);
    return NULL;
}

static void run_short_lived(const heap *h, const job *j)
{
    on_threads(h, j, THREADS, short_lived);
}

/* Each thread frees a block that lies beside the others' and then writes to its own: slow if these
   share a cache line again. */
static void *scratch(void *argument)
{
    worker *w = (worker *)argument;
    size_t i, k;
    drop(w->h, &here.slots[w->number]);
    for (i = 0; i < w->j->operations / THREADS; i++) {
        volatile unsigned char *ptr = (volatile unsigned char *)used(w->h->alloc(8), 8);
        for (k = 0; ptr != NULL && k < 200; k++) ptr[k % 8]++;
        w->h->free((void *)(uintptr_t)ptr);
    }
    return NULL;
}

static void run_scratch(const heap *h, const job *j)
{
    size_t i;
    for (i = 0; i < THREADS; i++) fill(h, &here.slots[i], 8);
    on_threads(h, j, THREADS, scratch);
}

static struct { /* from the producer to the consumer; each writes to its own cache line */
    slot slots[RING];
    size_t written;
    char apart[128];
    size_t taken;
} ring;

static void *produce(const worker *w)
{
    size_t i, count = w->j->operations;
    for (i = ring.written; count > 0; count--, i++) {
        while (i - __atomic_load_n(&ring.taken, __ATOMIC_ACQUIRE) == RING) sched_yield();
        fill(w->h, &ring.slots[i % RING], w->j->sizes[i % SIZES]);
        if (i % 32 == 31 || count == 1) __atomic_store_n(&ring.written, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *consume(const worker *w)
{
    size_t i, count = w->j->operations;
    for (i = ring.taken; count > 0; count--, i++) {
        while (i == __atomic_load_n(&ring.written, __ATOMIC_ACQUIRE)) sched_yield();
        drop(w->h, &ring.slots[i % RING]);
        if (i % 32 == 31 || count == 1) __atomic_store_n(&ring.taken, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *produce_or_consume(void *argument)
{
    worker *w = (worker *)argument;
    return w->number == here.cycles % 2 ? produce(w) : consume(w);
}

static void run_producer(const heap *h, const job *j)
{
    on_threads(h, j, 2, produce_or_consume);
}

/* ---- the contestants ---- */

static void *aligned_malloc(size_t alignment, size_t size)
{
    void *ptr;
    return posix_memalign(&ptr, alignment, size) == 0 ? ptr : NULL;
}

/* What gives memory back differs from library to library: whatever function there is. */
static void trim_malloc(void)
{
    union {
        void *found;
        int (*mallctl)(const char *, void *, size_t *, void *, size_t);
        void (*collect)(bool);
        void (*release)(void);
        int (*trim)(size_t);
    } f;
    void *program = dlopen(NULL, RTLD_LAZY);
    if ((f.found = dlsym(program, "mallctl")) != NULL) {
        f.mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
        f.mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* 4096: all of them */
    } else if ((f.found = dlsym(program, "mi_collect")) != NULL) {
        f.collect(true);
    } else if ((f.found = dlsym(program, "MallocExtension_ReleaseFreeMemory")) != NULL) {
        f.release();
    } else if ((f.found = dlsym(program, "malloc_trim")) != NULL) {
        f.trim(0);
    }
}

static void run_job(const heap *h, const job *j, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        j->run(h, j);
        here.cycles++;
    }
}

static void rest_job(const heap *h, const job *j)
{
    if (j->rest != NULL) j->rest(h, j);
    else free_all(h, j);
}

static const heap ours = {mm_heap_alloc,   mm_heap_free,          mm_heap_calloc,
                          mm_heap_realloc, mm_heap_aligned_alloc, mm_heap_trim};
static const heap theirs = {malloc, free, calloc, realloc, aligned_malloc, trim_malloc};

static void run_ours(const void *work, size_t cycles)
{
    run_job(&ours, (const job *)work, cycles);
}

static void run_theirs(const void *work, size_t cycles)
{
    run_job(&theirs, (const job *)work, cycles);
}

static void rest_ours(const void *work)
{
    rest_job(&ours, (const job *)work);
}

static void rest_theirs(const void *work)
{
    rest_job(&theirs, (const job *)work);
}

static bool check(const void *work)
{
    (void)work;
    return here.cycles > 0 && here.errors == 0;
}

static const bench_contestant contestants[] = {
    {"mm_heap", run_ours, check, BENCH_PLAIN, rest_ours},
    {"mm_heap, secure", run_theirs, check, BENCH_SECURE, rest_theirs},
    {"glibc", run_theirs, check, BENCH_PLAIN, rest_theirs},
    {"jemalloc", run_theirs, check, BENCH_JEMALLOC, rest_theirs},
    {"mimalloc", run_theirs, check, BENCH_MIMALLOC, rest_theirs},
    {"tcmalloc", run_theirs, check, BENCH_TCMALLOC, rest_theirs},
};

/* ---- the rows ---- */

static void row(const char *title, job given)
{
    static job j;
    uint64_t seed = 1;
    size_t i;
    j = given;
    for (i = 0; i < SIZES; i++) {
        double part = (double)(bench_random(&seed) >> 11) / 9007199254740992.0; /* 2^53 */
        double size = (double)j.least * pow((double)j.most / (double)j.least, part);
        j.sizes[i] = (uint32_t)(size + 0.5);
    }
    BENCH(title, &j, j.operations, contestants);
}

static size_t steps(size_t least, size_t most)
{
    size_t count = 0;
    for (; least <= most; least += least / 2) count++;
    return count;
}

#define ROW(title, ...) row(title, (job){__VA_ARGS__})

int main(int argc, char **argv)
{
    const size_t K = 1024, M = 1024 * 1024;
    bench_begin(argc, argv, "mm_heap.h: beside four mallocs");
    ROW("small, last in first out", run_lifo, NULL, 1000, 1000, 16, 256, {0});
    ROW("small, first in first out", run_fifo, NULL, 1000, 1000, 16, 256, {0});
    ROW("random, 10,000 live", run_random, NULL, 10000, 20000, 16, 1 * K, {0});
    ROW("random, 200,000 live", run_random, NULL, 200000, 10000, 16, 1 * K, {0});
    ROW("binary tree", run_tree, NULL, 0, (1 << TREE_DEPTH) - 1, 16, 16, {0});
    ROW("300,000 of 48 bytes, all freed", run_lifo, NULL, 300000, 300000, 48, 48, {0});
    ROW("threads hand over", run_larson, NULL, 4000, 40000, 16, 512, {0});
    ROW("one allocates, another frees", run_producer, NULL, 0, 20000, 16, 1 * K, {0});
    ROW("threads exchange blocks", run_exchange, rest_exchange, 0, 40000, 16, 16 * K, {0});
    ROW("threads write beside each other", run_scratch, NULL, THREADS, 8000, 8, 8, {0});
    ROW("threads come and go", run_short_lived, NULL, 0, THREADS, 16, 16, {0});
    ROW("realloc grows 16 B to 4 KiB", run_realloc, NULL, 100, 100 * steps(16, 4 * K), 16, 4 * K,
        {0});
    ROW("realloc grows 4 KiB to 8 MiB", run_realloc, NULL, 4, 4 * steps(4 * K, 8 * M), 4 * K, 8 * M,
        {0});
    ROW("4 KiB to 1 MiB", run_random, NULL, 128, 256, 4 * K, 1 * M, {0});
    ROW("1 to 8 MiB, freed at once", run_single, NULL, 1, 32, 1 * M, 8 * M, {0});
    ROW("aligned 32 to 4096", run_aligned, NULL, 4000, 4000, 16, 8 * K, {0});
    ROW("calloc 16 B to 4 KiB", run_calloc, NULL, 1000, 2000, 16, 4 * K, {0});
    ROW("calloc 64 KiB to 4 MiB", run_calloc, NULL, 16, 16, 64 * K, 4 * M, {0});
    ROW("web request", run_web, rest_web, 0, 100, 1, 1, {0});
    ROW("web request, 4 threads", run_web_threads, rest_web, 0, 800, 1, 1, {0});
    ROW("200 MB, all freed", run_all, NULL, 84700, 84700, 16, 16 * K, {0});
    ROW("200 MB, all freed, once", run_all, NULL, 84700, 0, 16, 16 * K, {0});
    ROW("200 MB, all freed, trimmed", run_all, rest_all_trimmed, 84700, 0, 16, 16 * K, {0});
    ROW("100 MB, 90 % freed", run_fragmented, rest_as_it_is, 136000, 122400, 16, 4 * K, {0});
    ROW("100 MB, 90 % freed, trimmed", run_fragmented, rest_trimmed, 136000, 0, 16, 4 * K, {0});
    return bench_end();
}
