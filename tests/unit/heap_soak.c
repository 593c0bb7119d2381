/* mm_heap: everything at once, for as long as wanted, against a map of what is live.
 *
 *     build/tests/unit/heap_soak            some rounds, for the tests
 *     build/tests/unit/heap_soak 60         a minute; 3600: an hour
 *
 * In each round threads come up that allocate, free, resize and hand over blocks, of sizes and in
 * numbers that change from round to round; in some rounds the system refuses mappings at random.
 * The map has a bit for each 16 bytes of the address space: a block that overlaps another is
 * noticed when it is handed out. At the end of each round the bits are as many as the heap says
 * that are live, and every few rounds all is freed, and nothing may be left.
 *
 * make check-all runs a minute. An hour in November 2026, beside other work on two processors, was
 * 14,142 rounds with 96,039 refused mappings: nothing found, records 1 MiB from the first minute to
 * the last, peak 557 MiB after a minute and 618 from the seventh on. */
#include <stdbool.h>
#include <stddef.h>

static bool chance_refuses(void);
#define MM_SYS_MMAP(size) (chance_refuses() ? NULL : mmi_heap_mmap(size))
#define MM_SYS_MUNMAP(ptr, size) mmi_heap_munmap((ptr), (size))
#define MM_SYS_PURGE(ptr, size) mmi_heap_purge((ptr), (size))
#define MM_SYS_MOVE(from, to, size) mmi_heap_move((from), (to), (size))
#define MM_IMPLEMENTATION
#include "../../mm_heap.h"
#include "../heap_tools.h"

#define THREADS 4
#define SLOTS 2000
#define PLACES 64 /* where threads put blocks down for others */
#define ROUNDS FEWER(24, 12, 6)
#define STEPS FEWER(20000, 3000, 400) /* of a thread in a round */

static size_t refusing; /* one of so many mappings is refused; 0: none; atomic */
static size_t refusals; /* atomic */

static bool chance_refuses(void)
{
    static size_t calls;
    size_t one_of = mmi_atomic_load(&refusing);
    if (one_of == 0 || (mmi_atomic_add(&calls, 1) * 0x9E3779B1u >> 7) % one_of != 0) return false;
    mmi_atomic_add(&refusals, 1);
    return true;
}

// ---- the map ----

#define UNIT 16
#define LEAF_BITS 25 /* log2 of the bytes that a leaf stands for */
#define LEAF_WORDS (((size_t)1 << LEAF_BITS) / UNIT / 64)
#define LEAVES ((size_t)1 << ((sizeof(void *) == 8 ? 48 : 32) - LEAF_BITS))

static uint64_t *leaves[LEAVES]; /* atomic; from the C library */
static size_t mapped;            /* bytes that are live; atomic */

static uint64_t *leaf_of(uintptr_t address)
{
    uint64_t **place = &leaves[address >> LEAF_BITS], *leaf = NULL, *made;
    leaf = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    if (leaf != NULL) return leaf;
    made = (uint64_t *)calloc(LEAF_WORDS, sizeof(*made));
    if (made == NULL) abort();
    if (!__atomic_compare_exchange_n(place, &leaf, made, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        free(made); /* another thread was first */
        return leaf;
    }
    return made;
}

/* Marks a range as live or not; false if part of it was so already. */
static bool map_range(const void *ptr, size_t size, bool live)
{
    uintptr_t unit = (uintptr_t)ptr / UNIT, end = unit + size / UNIT;
    bool right = true;
    mmi_atomic_add(&mapped, live ? size : (size_t)0 - size);
    while (unit < end) {
        uint64_t *leaf = leaf_of(unit * UNIT), before;
        uint64_t *word = &leaf[unit / 64 % LEAF_WORDS];
        size_t first = unit % 64, count = end - unit < 64 - first ? end - unit : 64 - first;
        uint64_t bits = ~(uint64_t)0 >> (64 - count) << first;
        if (live) before = __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
        else before = __atomic_fetch_and(word, ~bits, __ATOMIC_RELAXED);
        right = right && (before & bits) == (live ? 0 : bits);
        unit += count;
    }
    return right;
}

// ---- blocks ----

/* Stands at the start of each block, and its low byte in the last one, where there is room. */
typedef struct block {
    size_t size; /* that was asked for */
    uint64_t seed;
} block;

typedef struct worker {
    uint64_t random;
    size_t bits;  /* sizes of up to 2^bits in this round, */
    size_t slots; /* in so many slots */
    block *slot[SLOTS];
} worker;

static size_t places[PLACES]; /* blocks that wait for a thread; atomic */

/* The pattern covers what is small, and of the rest the first and last bytes. */
static size_t covered(size_t size)
{
    return size < 4096 ? size : 256;
}

static void block_write(block *b, size_t size, uint64_t seed)
{
    unsigned char *bytes = (unsigned char *)b;
    size_t most = covered(size);
    memset(bytes, (int)(seed & 0xFF), most);
    memset(bytes + size - most, (int)(seed & 0xFF), most);
    b->size = size;
    b->seed = seed;
}

/* Whether the first bytes of a block, or all of it, are what was written. */
static bool block_stands(const block *b, size_t first, bool whole)
{
    const unsigned char *bytes = (const unsigned char *)b;
    size_t most = covered(b->size) < first ? covered(b->size) : first;
    int byte = (int)(b->seed & 0xFF);
    if (!is_filled(bytes + sizeof(*b), byte, most - sizeof(*b))) return false;
    return !whole || b->size < 2 * sizeof(*b) + covered(b->size) ||
           is_filled(bytes + b->size - covered(b->size), byte, covered(b->size));
}

/* A block that was just made: nobody else has it. NULL: only where mappings are refused. */
static block *block_made(worker *w, void *ptr, size_t size)
{
    if (ptr == NULL) {
        EXPECT(mmi_atomic_load(&refusing) != 0 && errno == ENOMEM);
        return NULL;
    }
    EXPECT(is_aligned(ptr, 16) && mm_heap_usable_size(ptr) >= size);
    EXPECT(map_range(ptr, mm_heap_usable_size(ptr), true));
    block_write((block *)ptr, size, test_random(&w->random));
    return (block *)ptr;
}

static void block_free(block *b)
{
    size_t size = b->size;
    EXPECT(block_stands(b, size, true));
    EXPECT(map_range(b, mm_heap_usable_size(b), false));
    if (size % 2 == 0) mm_heap_free(b);
    else mm_heap_free_sized(b, size);
}

static size_t worker_size(worker *w)
{
    return sizeof(block) - 1 + random_size(&w->random, (unsigned)w->bits);
}

static block *block_new(worker *w)
{
    size_t size = worker_size(w), what = (size_t)(test_random(&w->random) >> 60);
    size_t alignment = (size_t)1 << test_random(&w->random) % 18;
    void *ptr;
    if (what == 0) {
        ptr = mm_heap_aligned_alloc(alignment, size);
        EXPECT(ptr == NULL || is_aligned(ptr, alignment));
    } else if (what == 1) {
        ptr = mm_heap_calloc(1, size);
        EXPECT(ptr == NULL || is_filled(ptr, 0, size));
    } else {
        ptr = mm_heap_alloc(size);
    }
    return block_made(w, ptr, size);
}

/* The map must not have the block while it may move, for another thread may get its place. */
static block *block_resize(worker *w, block *b)
{
    size_t size = worker_size(w), old = b->size, usable = mm_heap_usable_size(b);
    uint64_t seed = b->seed;
    block *moved;
    EXPECT(block_stands(b, old, true) && map_range(b, usable, false));
    moved = (block *)mm_heap_realloc(b, size);
    if (moved == NULL) { /* the old one stands */
        EXPECT(mmi_atomic_load(&refusing) != 0 && errno == ENOMEM);
        EXPECT(map_range(b, usable, true) && block_stands(b, old, true));
        return b;
    }
    EXPECT(moved->size == old && moved->seed == seed);
    EXPECT(block_stands(moved, size < old ? size : old, false));
    return block_made(w, moved, size);
}

static void block_expand(block *b)
{
    size_t usable = mm_heap_usable_size(b);
    unsigned char *bytes = (unsigned char *)b;
    if (!mm_heap_expand(b, usable + usable / 2)) return;
    EXPECT(map_range(bytes + usable, mm_heap_usable_size(b) - usable, true));
}

// ---- threads ----

static void worker_step(worker *w)
{
    size_t i = (size_t)(test_random(&w->random) >> 32) % w->slots;
    size_t what = (size_t)(test_random(&w->random) >> 58), other;
    if (w->slot[i] == NULL) {
        w->slot[i] = block_new(w);
    } else if (what < 12) {
        w->slot[i] = block_resize(w, w->slot[i]);
    } else if (what < 14) {
        block_expand(w->slot[i]);
    } else if (what < 28) { /* another thread's is taken for it */
        other = __atomic_exchange_n(&places[i % PLACES], (size_t)w->slot[i], __ATOMIC_ACQ_REL);
        w->slot[i] = (block *)other;
    } else {
        block_free(w->slot[i]);
        w->slot[i] = NULL;
    }
}

static void *worker_run(void *value)
{
    worker *w = (worker *)value;
    size_t step;
    for (step = 1; step <= STEPS; step++) {
        worker_step(w);
        if (step % (STEPS / 8) == 0) EXPECT(mm_heap_check());
        if (step % (STEPS / 2) == 0 && w->random % 4 == 0) mm_heap_trim();
    }
    return NULL;
}

/* Frees what the slots beyond a number hold, whichever thread had made it. */
static void worker_shrink(worker *w, size_t slots)
{
    size_t i;
    for (i = slots; i < SLOTS; i++) {
        if (w->slot[i] != NULL) block_free(w->slot[i]);
        w->slot[i] = NULL;
    }
}

static void free_places(void)
{
    size_t i;
    for (i = 0; i < PLACES; i++) {
        if (places[i] != 0) block_free((block *)places[i]);
        places[i] = 0;
    }
}

// ---- rounds ----

static worker workers[THREADS];

static void round_begin(size_t number)
{
    static const unsigned char bits[] = {6, 10, 12, 14, 16, 18, 20, 22, 24};
    static uint64_t random = 20261;
    size_t i, slots, most = bits[(size_t)(test_random(&random) >> 32) % sizeof(bits)];
    slots = most > 18 ? (size_t)40 << (24 - most) / 2 : SLOTS; /* some hundred MiB */
    mmi_atomic_store(&refusing, number % 4 == 3 ? (size_t)3 : (size_t)0);
    for (i = 0; i < THREADS; i++) {
        workers[i].random = test_random(&random) | 1;
        workers[i].bits = most;
        workers[i].slots = 1 + (size_t)(test_random(&random) >> 32) % slots;
        worker_shrink(&workers[i], workers[i].slots);
    }
}

static void round_run(size_t number)
{
    pthread_t threads[THREADS];
    size_t i;
    round_begin(number);
    for (i = 0; i < THREADS; i++) start(&threads[i], worker_run, &workers[i]);
    for (i = 0; i < THREADS; i++) join(threads[i]);
    mmi_atomic_store(&refusing, (size_t)0);
    CHECK_EQ(errors, 0);
    CHECK(mm_heap_check());
    CHECK_EQ(stats_now().live, mapped);
    CHECK_EQ(stats_now().misuses, 0);
    if (number % 6 != 5) return;
    for (i = 0; i < THREADS; i++) worker_shrink(&workers[i], 0);
    free_places();
    CHECK_EQ(mapped, 0);
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
}

static void report(size_t rounds)
{
    mm_heap_stats stats = stats_now();
    printf("      %zu rounds, peak %zu MiB, records %zu KiB, %zu caches, %zu refusals\n", rounds,
           stats.peak >> 20, stats.metadata >> 10, stats.caches, refusals);
}

static unsigned long seconds; /* to go on for; 0: ROUNDS */

TEST(all_at_once)
{
    uint64_t began = mmi_heap_clock(), told = 0;
    size_t number;
    for (number = 0;; number++) {
        uint64_t passed = mmi_heap_clock() - began;
        if (number % 6 == 0 && (seconds == 0 ? number >= ROUNDS : passed >= seconds * 1000)) break;
        CHECK_SUB(round_run(number));
        if (seconds != 0 && passed - told >= 60000) {
            report(number + 1);
            told = passed;
        }
    }
    if (seconds != 0) report(number);
    CHECK(refusals > 0);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {T(all_at_once)};
    if (argc > 1) seconds = strtoul(argv[1], NULL, 10);
    return test_main("", cases, 1);
}
