/* First-class heaps of mm_heap: a model over several, limits, reset and destroy with everything
 * live, every mapping that fails, threads that share a heap or free into another's, fork. */
#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

static inline bool system_refuses(void);
static void fatal(const char *message, const void *ptr);
#define MM_SYS_MMAP(size) (system_refuses() ? NULL : mmi_heap_mmap(size))
#define MM_SYS_MUNMAP(ptr, size) mmi_heap_munmap((ptr), (size))
#define MM_SYS_PURGE(ptr, size) mmi_heap_purge((ptr), (size))
#define MM_SYS_MOVE(from, to, size) mmi_heap_move((from), (to), (size))
#define MM_HEAP_FATAL(message, ptr) fatal((message), (ptr))

#define MM_IMPLEMENTATION
#include "../../mm_heap.h"
#include "../heap_tools.h"
#include "../poison.h"
#define HUGE_SIZE ((size_t)MM_HEAP_HUGE + 600000)
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif
#ifdef MM_HEAP_DEBUG
#define SLOW (size_t) FEWER(1, 4, 20) /* times as slow */
#define GUARDS 32                     /* bytes that a block of 16 or more takes beyond its own */
#define CLASS_OF_64 "96"
#define LIVE_OF_64 "128"
#elif defined(MM_HEAP_SECURE)
#define SLOW (size_t) FEWER(1, 1, 20)
#define GUARDS 16 /* a block of 16 takes 32 */
#define CLASS_OF_64 "80"
#define LIVE_OF_64 "160" /* of two */
#else
#define SLOW (size_t) FEWER(1, 1, 20)
#define GUARDS 0
#define CLASS_OF_64 "64"
#define LIVE_OF_64 "128"
#endif
#if defined(MM_HEAP_DEBUG) || defined(MM_HEAP_SECURE)
#define EXACT false
#else
#define EXACT true
#endif

static size_t fatals;

static mm_heap *fatal_heap;  /* not NULL: is used there, as no lock is held */
static jmp_buf *fatal_leave; /* not NULL: it does not return */

static void fatal(const char *message, const void *ptr)
{
    (void)message, (void)ptr;
    mmi_atomic_add(&fatals, 1);
    if (fatal_heap != NULL) mm_heap_free_in(fatal_heap, mm_heap_alloc_in(fatal_heap, 10));
    if (fatal_leave != NULL) longjmp(*fatal_leave, 1);
}

/* Everything is gone, nothing was wrong. */
#define CHECK_GONE() \
    do { \
        CHECK_QUIET(); \
        CHECK_EQ(fatals, 0); \
    } while (0)

static const size_t all_kinds[] = {0,     1,      16,     100,     1000,      8192,    8193, 32768,
                                   32769, 100000, 300000, 1500000, HUGE_SIZE, 4000000, 40};
#define KINDS (sizeof(all_kinds) / sizeof(all_kinds[0]))

// ---- create, use, destroy ----

TEST(heap_lives_and_goes_at_once)
{
    mm_heap *heap = mm_heap_create(NULL);
    size_t i, round;
    CHECK(heap != NULL);
    for (round = 0; round < 3; round++) {
        for (i = 0; i < KINDS; i++) {
            char *ptr = (char *)mm_heap_alloc_in(heap, all_kinds[i]);
            CHECK(ptr != NULL && (uintptr_t)ptr % 16 == 0);
            CHECK(mm_heap_usable_size(ptr) >= all_kinds[i]);
            memset(hide(ptr), 1, mm_heap_usable_size(ptr));
        }
    }
    CHECK_EQ(stats_now().live_blocks, 3 * KINDS);
    mm_heap_destroy(heap);
    mm_heap_destroy(NULL);
    CHECK_GONE();
}

TEST(null_is_the_heap_of_the_process)
{
    char *a = (char *)mm_heap_alloc_in(NULL, 100), *b = (char *)mm_heap_calloc_in(NULL, 10, 10);
    char *c = (char *)mm_heap_aligned_alloc_in(NULL, 256, 10);
    CHECK(a != NULL && b != NULL && c != NULL && (uintptr_t)c % 256 == 0);
    a = (char *)mm_heap_realloc_in(NULL, a, 70000);
    CHECK(a != NULL);
    mm_heap_free_in(NULL, a);
    mm_heap_free_in(NULL, b);
    mm_heap_free_in(NULL, c);
    mm_heap_free_in(NULL, NULL);
    CHECK_GONE();
}

TEST(every_function_works_in_a_heap)
{
    mm_heap *heap = heap_of("functions", 0, false);
    size_t i, alignment;
    CHECK(heap != NULL);
    for (i = 0; i < KINDS; i++) {
        char *ptr = (char *)mm_heap_calloc_in(heap, 1, all_kinds[i]), *moved;
        CHECK(ptr != NULL && is_filled(ptr, 0, all_kinds[i]));
        memset(hide(ptr), 5, all_kinds[i]);
        moved = (char *)mm_heap_realloc_in(heap, ptr, all_kinds[i] * 2 + 9);
        CHECK(moved != NULL && is_filled(moved, 5, all_kinds[i]));
        CHECK(mmi_heap_of(mmi_heap_page_at(moved)) == heap);
        moved = (char *)mm_heap_realloc(moved, all_kinds[i] / 3); /* stays in its heap */
        CHECK(moved != NULL && is_filled(moved, 5, all_kinds[i] / 3));
        CHECK(mmi_heap_of(mmi_heap_page_at(moved)) == heap);
        CHECK(mm_heap_expand(moved, mm_heap_usable_size(moved)));
        if (i % 2 == 0) mm_heap_free_in(heap, moved);
        else mm_heap_free(moved);
    }
    for (alignment = 1; alignment <= (size_t)4 << 20; alignment *= 2) {
        for (i = 0; i < KINDS; i++) {
            char *ptr = (char *)mm_heap_aligned_alloc_in(heap, alignment, all_kinds[i]);
            CHECK(ptr != NULL && (uintptr_t)ptr % alignment == 0);
            CHECK(mm_heap_usable_size(ptr) >= all_kinds[i]);
            mm_heap_free_in(heap, ptr);
        }
    }
    CHECK_EQ(stats_now().live_blocks, 0);
    mm_heap_destroy(heap);
    CHECK_GONE();
}

TEST(impossible_sizes_are_refused)
{
    volatile size_t most = SIZE_MAX, half = (size_t)PTRDIFF_MAX + 1;
    mm_heap *heap = mm_heap_create(NULL);
    void *ptr = mm_heap_alloc_in(heap, 50);
    CHECK(ptr != NULL);
    CHECK_REFUSED(mm_heap_alloc_in(heap, most), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc_in(heap, half), ENOMEM);
    CHECK_REFUSED(mm_heap_calloc_in(heap, half, 2), ENOMEM);
    CHECK_REFUSED(mm_heap_calloc_in(heap, most, 1), ENOMEM);
    CHECK_REFUSED(mm_heap_aligned_alloc_in(heap, 3, 1), EINVAL);
    CHECK_REFUSED(mm_heap_aligned_alloc_in(heap, 0, 1), EINVAL);
    CHECK_REFUSED(mm_heap_aligned_alloc_in(heap, half, 1), ENOMEM);
    CHECK_REFUSED(mm_heap_aligned_alloc_in(heap, 64, most), ENOMEM);
    CHECK_REFUSED(mm_heap_realloc_in(heap, ptr, most), ENOMEM);
    CHECK_REFUSED(mm_heap_realloc_in(heap, NULL, half), ENOMEM);
    mm_heap_destroy(heap);
    CHECK_GONE();
}

TEST(heap_is_an_allocator)
{
    mm_heap *heap = mm_heap_create(NULL);
    const mm_allocator *allocator = mm_heap_allocator(heap);
    char *ptr = (char *)mmi_alloc(allocator, 1000), *moved;
    CHECK(ptr != NULL && mmi_heap_of(mmi_heap_page_at(ptr)) == heap);
    memset(ptr, 3, 1000);
    moved = (char *)mmi_realloc(allocator, ptr, 1000, 50000);
    CHECK(moved != NULL && is_filled(moved, 3, 1000));
    mmi_free(allocator, moved, 50000);
    CHECK_EQ(stats_now().live, 0);
    CHECK(mm_heap_allocator(NULL) != allocator);
    mm_heap_destroy(heap);
    CHECK_GONE();
}

TEST(reset_keeps_the_memory)
{
    mm_heap *heap = mm_heap_create(NULL);
    size_t round, i, calls = 0;
    CHECK(heap != NULL);
    for (round = 0; round < 5; round++) {
        for (i = 0; i < 20000 / SLOW; i++) {
            size_t size = i % 1000 == 999 ? 50000 + i : i % 2000;
            char *ptr = (char *)mm_heap_alloc_in(heap, size);
            CHECK(ptr != NULL);
            memset(ptr, (int)round, size);
            if (i % 3 == 0) mm_heap_free_in(heap, ptr);
            else if (i % 7 == 1) mm_heap_free(ptr);
        }
        CHECK(mm_heap_alloc_in(heap, HUGE_SIZE) != NULL);
        mm_heap_reset(heap);
        CHECK_EQ(stats_now().live, 0);
        CHECK_EQ(stats_now().live_blocks, 0);
        CHECK(mm_heap_check());
        if (round == 1) calls = system_calls;
    }
    /* the later rounds needed nothing from the system, but what chance or the records ask for */
    CHECK(system_calls <= calls + (EXACT ? 0 : 16));
    CHECK(mmi_heap_peek(&heap->held) > 0);
    mm_heap_destroy(heap);
    CHECK_GONE();
}

TEST(calloc_is_zero_after_reset)
{
    mm_heap *heap = mm_heap_create(NULL);
    size_t i, round;
    for (round = 0; round < 3; round++) {
        for (i = 0; i < KINDS; i++) {
            char *ptr = (char *)mm_heap_calloc_in(heap, 1, all_kinds[i]);
            CHECK(ptr != NULL && is_filled(ptr, 0, all_kinds[i]));
            memset(hide(ptr), 0xFF, mm_heap_usable_size(ptr));
        }
        mm_heap_reset(heap);
    }
    mm_heap_destroy(heap);
    CHECK_GONE();
}

TEST(destroy_gives_everything_back)
{
    size_t i;
    mm_heap *heap = mm_heap_create(NULL);
    CHECK(heap != NULL);
    for (i = 0; i < 100000 / SLOW; i++) CHECK(mm_heap_alloc_in(heap, i % 5000) != NULL);
    for (i = 0; i < 200; i++) CHECK(mm_heap_alloc_in(heap, 40000 + i * 9000) != NULL);
    for (i = 0; i < 10; i++) CHECK(mm_heap_alloc_in(heap, HUGE_SIZE) != NULL);
    mm_heap_destroy(heap);
    mm_heap_trim();
    CHECK_EQ(stats_now().spans, 0);
    CHECK_EQ(stats_now().committed, stats_now().metadata);
    CHECK_GONE();
}

TEST(records_are_used_again)
{
    size_t i, metadata;
    mm_heap_destroy(mm_heap_create(NULL));
    metadata = stats_now().metadata;
    for (i = 0; i < 1000; i++) {
        mm_heap *heap = mm_heap_create(NULL);
        CHECK(heap != NULL && mm_heap_alloc_in(heap, 100) != NULL);
        mm_heap_destroy(heap);
    }
    CHECK_EQ(stats_now().metadata, metadata);
    CHECK_GONE();
}

TEST(names_are_copied)
{
    char name[] = "0123456789012345678901234567890123456789";
    mm_heap *heap = heap_of(name, 0, false);
    CHECK(heap != NULL);
    name[0] = 'x';
    CHECK_STR(heap->name, "0123456789012345678901234567890");
    mm_heap_destroy(heap);
    CHECK_GONE();
}

// ---- limit ----

TEST(limit_of_a_heap_is_kept)
{
    static const size_t sizes[] = {16, 1000, 10000, 40000, 900000, 1300000, HUGE_SIZE};
    size_t k, limit, count, again;
    for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        void **chain, **next;
        mm_heap *heap;
        limit = sizes[k] < 100000 ? 4000000 : sizes[k] * 6;
        heap = heap_of("limited", limit, k % 2 == 0);
        CHECK(heap != NULL);
        for (again = 0; again < 2; again++) {
            for (chain = NULL, count = 0;; count++) {
                next = (void **)mm_heap_alloc_in(heap, sizes[k]);
                CHECK(mmi_heap_peek(&heap->held) <= limit);
                if (next == NULL) break;
                *next = (void *)chain;
                chain = next;
            }
            CHECK_EQ(errno, ENOMEM);
            CHECK(count * sizes[k] <= limit && (count + 1) * (sizes[k] + GUARDS) > limit / 2);
            for (; chain != NULL; chain = next) {
                next = (void **)*chain;
                if (count-- % 2 == 0) mm_heap_free(chain);
                else mm_heap_free_in(heap, chain);
            }
        }
        /* what one size left is there for another */
        next = (void **)mm_heap_alloc_in(heap, limit / 2);
        CHECK(next != NULL);
        mm_heap_destroy(heap);
    }
    mm_heap_trim();
    CHECK_EQ(errors, 0);
}

TEST(limit_stops_growth_but_no_other_heap)
{
    mm_heap *heap = heap_of("", HUGE_SIZE * 2, false);
    char *ptr = (char *)mm_heap_alloc_in(heap, HUGE_SIZE), *other;
    CHECK(ptr != NULL);
    memset(ptr, 9, HUGE_SIZE);
    CHECK_REFUSED(mm_heap_realloc_in(heap, ptr, HUGE_SIZE * 4), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc_in(heap, HUGE_SIZE * 2), ENOMEM);
    CHECK(!mm_heap_expand(ptr, HUGE_SIZE * 4));
    CHECK(is_filled(ptr, 9, HUGE_SIZE));
    other = (char *)mm_heap_alloc(HUGE_SIZE * 4);
    CHECK(other != NULL);
    mm_heap_free(other);
    mm_heap_free(ptr); /* by the other way */
    ptr = (char *)mm_heap_alloc_in(heap, HUGE_SIZE + HUGE_SIZE / 2);
    CHECK(ptr != NULL);
    mm_heap_destroy(heap);
    CHECK_GONE();
}

// ---- misuse ----

TEST(misuse_is_found)
{
    mm_heap *heap = mm_heap_create(NULL);
    char *small = (char *)mm_heap_alloc_in(heap, 100), *chunk, *huge;
    chunk = (char *)mm_heap_alloc_in(heap, 100000);
    huge = (char *)mm_heap_alloc_in(heap, HUGE_SIZE);
    CHECK(small != NULL && chunk != NULL && huge != NULL);
    mm_heap_free_in(heap, small);
    mm_heap_free_in(heap, hide(small));
    CHECK_EQ(fatals, 1);
    mm_heap_free_in(heap, chunk);
    mm_heap_free_in(heap, hide(chunk));
    CHECK_EQ(fatals, 2);
    mm_heap_free_in(heap, hide(chunk + 100));
    CHECK_EQ(fatals, 3);
    CHECK_EQ(stats_now().live_blocks, 1);
    small = (char *)mm_heap_alloc_in(heap, 100);
    mm_heap_destroy(heap);
    mm_heap_free(hide(small)); /* stale */
    mm_heap_free(hide(chunk));
    mm_heap_free(hide(huge));
    CHECK_EQ(fatals, 6);
    CHECK_REFUSED(mm_heap_alloc_in((mm_heap *)hide(heap), 10), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc_in((mm_heap *)hide(heap), 100000), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc_in((mm_heap *)hide(heap), HUGE_SIZE), ENOMEM);
    CHECK_EQ(fatals, 9);
    mm_heap_reset((mm_heap *)hide(heap));
    mm_heap_destroy((mm_heap *)hide(heap)); /* twice */
    CHECK_EQ(fatals, 11);
    fatals = 0;
    CHECK_GONE();
}

#ifdef MM_HEAP_SECURE
/* Allocates until it comes upon the free blocks that were written to; how often it was told. */
static size_t come_upon(mm_heap *heap, size_t size, bool leave)
{
    jmp_buf back;
    static volatile size_t i;
    fatals = 0;
    fatal_heap = heap;
    fatal_leave = leave ? &back : NULL;
    if (setjmp(back) == 0) {
        for (i = 0; i < 200; i++) EXPECT(mm_heap_alloc_in(heap, size) != NULL);
    }
    fatal_heap = NULL;
    fatal_leave = NULL;
    return fatals;
}

TEST(handler_may_use_the_heap_or_leave)
{
    static const size_t sizes[] = {16, 5000, 32768, 40000, 100000};
    size_t k, i, kind;
    if (TRACKED) return; /* the checker sees the write itself */
    for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        for (kind = 0; kind < 4; kind++) {
            mm_heap *heap = heap_of("written to", 0, kind % 2 == 1);
            char *blocks[80];
            for (i = 0; i < 80; i++) CHECK((blocks[i] = (char *)mm_heap_alloc_in(heap, sizes[k])));
            for (i = 0; i < 80; i += 2) mm_heap_free_in(heap, blocks[i]);
            for (i = 0; i < 80; i += 2) hide(blocks[i])[i / 2 % 8] ^= 1;
            CHECK(come_upon(heap, sizes[k], kind >= 2) > 0);
            fatals = 0;
            mm_heap_destroy(heap); /* what is not looked at does no harm */
            CHECK_GONE();
        }
    }
}
#define TESTS_OF_SECURE T(handler_may_use_the_heap_or_leave),
#else
#define TESTS_OF_SECURE
#endif

// ---- model ----

#define MODEL_HEAPS 4
#define MODEL_BLOCKS 300
typedef struct model {
    mm_heap *heaps[MODEL_HEAPS]; /* the last is NULL, the process's */
    unsigned char *blocks[MODEL_HEAPS][MODEL_BLOCKS];
    size_t sizes[MODEL_HEAPS][MODEL_BLOCKS];
    uint64_t seed;
} model;

static size_t model_size(model *m)
{
    uint64_t r = test_random(&m->seed);
    if (r % 2000 == 0) return HUGE_SIZE + r / 2000 % 1000000;
    if (r % 50 == 0) return r / 50 % 300000;
    if (r % 10 == 0) return r / 10 % 40000;
    return r % 1500;
}

static unsigned char model_byte(size_t h, size_t i)
{
    return (unsigned char)(h * 67 + i + 1);
}

static void model_verify(model *m, size_t h, size_t i)
{
    EXPECT(is_filled(m->blocks[h][i], model_byte(h, i), m->sizes[h][i]));
}

static void model_step(model *m)
{
    size_t h = test_random(&m->seed) % MODEL_HEAPS, i = test_random(&m->seed) % MODEL_BLOCKS;
    size_t size = model_size(m), what = test_random(&m->seed) % 8, alignment;
    unsigned char *ptr = m->blocks[h][i];
    if (ptr == NULL) {
        alignment = (size_t)1 << test_random(&m->seed) % 14;
        if (what < 5) ptr = (unsigned char *)mm_heap_alloc_in(m->heaps[h], size);
        else if (what == 5) ptr = (unsigned char *)mm_heap_calloc_in(m->heaps[h], size, 1);
        else ptr = (unsigned char *)mm_heap_aligned_alloc_in(m->heaps[h], alignment, size);
        EXPECT(ptr != NULL && (what < 6 || (uintptr_t)ptr % alignment == 0));
        if (what == 5) EXPECT(is_filled(ptr, 0, size));
    } else if (what < 2) {
        model_verify(m, h, i);
        if (what == 0) ptr = (unsigned char *)mm_heap_realloc_in(m->heaps[h], ptr, size);
        else ptr = (unsigned char *)mm_heap_realloc(ptr, size);
        EXPECT(ptr != NULL);
        EXPECT(is_filled(ptr, model_byte(h, i), size < m->sizes[h][i] ? size : m->sizes[h][i]));
    } else {
        model_verify(m, h, i);
        if (what < 5) mm_heap_free_in(m->heaps[h], ptr);
        else mm_heap_free(ptr);
        ptr = NULL;
        size = 0;
    }
    m->blocks[h][i] = ptr;
    m->sizes[h][i] = size;
    if (ptr != NULL) memset(ptr, model_byte(h, i), size);
}

/* All blocks of a heap are gone. */
static void model_forget(model *m, size_t h)
{
    size_t i;
    for (i = 0; i < MODEL_BLOCKS; i++) {
        if (m->blocks[h][i] != NULL) model_verify(m, h, i);
        if (m->blocks[h][i] != NULL && m->heaps[h] == NULL) mm_heap_free(m->blocks[h][i]);
        m->blocks[h][i] = NULL;
        m->sizes[h][i] = 0;
    }
}

/* The walk finds just the model's blocks, each once. */
typedef struct model_walk {
    model *m;
    size_t heap, count, bytes;
    bool all; /* the process is walked */
    unsigned char seen[MODEL_HEAPS][MODEL_BLOCKS];
} model_walk;

static bool model_visit(const mm_heap_block *block, void *user_data)
{
    model_walk *w = (model_walk *)user_data;
    size_t h, i;
    for (h = 0; h < MODEL_HEAPS && w->m->heaps[h] != block->heap;) h++;
    EXPECT(h < MODEL_HEAPS && (w->all || h == w->heap));
    for (i = 0; i < MODEL_BLOCKS && w->m->blocks[h][i] != block->ptr;) i++;
    EXPECT(i < MODEL_BLOCKS);
    if (i == MODEL_BLOCKS) return false;
    EXPECT(!w->seen[h][i]);
    EXPECT(block->size == mm_heap_usable_size(block->ptr));
    w->seen[h][i] = 1;
    w->bytes += room_of(block->ptr);
    w->count++;
    if (w->count % 50 == 0) mm_heap_free(mm_heap_alloc(w->count * 30)); /* as printing does */
    return true;
}

static void model_heap_sums(const mm_heap_stats *stats, mm_heap *heap)
{
    mm_heap_class_stats rows[MM_HEAP_CLASS_ROWS];
    size_t i, live = 0, blocks = 0;
    mm_heap_get_class_stats(heap, rows);
    for (i = 0; i < MM_HEAP_CLASS_ROWS; i++) {
        live += rows[i].live;
        blocks += rows[i].live_blocks;
        EXPECT(rows[i].live == 0 || rows[i].pages > 0);
        EXPECT(i == 0 || rows[i].size > rows[i - 1].size);
    }
    EXPECT(live == stats->live && blocks == stats->live_blocks);
    EXPECT(rows[MM_HEAP_CLASS_ROWS - 1].live == stats->huge);
    EXPECT(stats->live + stats->cached + stats->metadata == stats->committed);
    EXPECT(stats->committed <= stats->reserved && stats->reserved <= stats->peak);
}

static void model_check(model *m)
{
    static model_walk w;
    mm_heap_stats stats;
    size_t h, i, blocks = 0, bytes = 0;
    for (h = 0; h < MODEL_HEAPS; h++) {
        size_t expected = 0;
        EXPECT(mm_heap_check_in(m->heaps[h]));
        for (i = 0; i < MODEL_BLOCKS; i++) expected += m->blocks[h][i] != NULL;
        blocks += expected;
        if (m->heaps[h] == NULL) continue;
        memset(&w, 0, sizeof(w));
        w.m = m;
        w.heap = h;
        mm_heap_get_stats_in(m->heaps[h], &stats);
        EXPECT(stats.live_blocks == expected);
        model_heap_sums(&stats, m->heaps[h]);
        EXPECT(mm_heap_walk(m->heaps[h], model_visit, &w));
        EXPECT(w.count == expected && w.bytes == stats.live);
    }
    memset(&w, 0, sizeof(w));
    w.m = m;
    w.all = true;
    stats = stats_now();
    EXPECT(stats.live_blocks == blocks && stats.heaps == MODEL_HEAPS - 1);
    bytes = stats.live;
    EXPECT(mm_heap_walk(NULL, model_visit, &w));
    EXPECT(w.count == blocks && w.bytes == bytes);
    stats = stats_now();
    EXPECT(stats.live == bytes);
    model_heap_sums(&stats, NULL);
}

static void model_rare(model *m)
{
    size_t h = test_random(&m->seed) % (MODEL_HEAPS - 1);
    model_forget(m, h);
    if (test_random(&m->seed) % 2 == 0) {
        mm_heap_reset(m->heaps[h]);
    } else {
        mm_heap_destroy(m->heaps[h]);
        m->heaps[h] = heap_of("model", 0, test_random(&m->seed) % 2 == 0);
        EXPECT(m->heaps[h] != NULL);
    }
}

static void model_begin(model *m, uint64_t seed)
{
    size_t h;
    memset(m, 0, sizeof(*m));
    m->seed = seed;
    for (h = 0; h + 1 < MODEL_HEAPS; h++) m->heaps[h] = heap_of("model", 0, h == 0);
}

static void model_end(model *m)
{
    size_t h;
    for (h = 0; h < MODEL_HEAPS; h++) {
        model_forget(m, h);
        mm_heap_destroy(m->heaps[h]);
    }
}

TEST(model_over_several_heaps)
{
    static model m;
    size_t step, steps = 60000 / SLOW;
    model_begin(&m, 12345);
    for (step = 0; step < steps && errors == 0; step++) {
        model_step(&m);
        if (step % 3001 == 3000) model_rare(&m);
        if (step % 2000 == 0) model_check(&m);
        if (step % 5003 == 0) mm_heap_trim_in(m.heaps[step % MODEL_HEAPS]);
    }
    model_end(&m);
    CHECK_GONE();
}

// ---- walk ----

static bool count_visit(const mm_heap_block *block, void *user_data)
{
    size_t *left = (size_t *)user_data;
    EXPECT(block->ptr != NULL && block->size == mm_heap_usable_size(block->ptr));
    return --*left > 0;
}

TEST(visitor_can_stop)
{
    mm_heap *heap = mm_heap_create(NULL);
    size_t i, left;
    CHECK(heap != NULL);
    for (i = 0; i < KINDS; i++) CHECK(mm_heap_alloc_in(heap, all_kinds[i]) != NULL);
    for (i = 1; i < KINDS; i++) {
        left = i;
        CHECK(!mm_heap_walk(heap, count_visit, &left));
        CHECK_EQ(left, 0);
        left = i;
        CHECK(!mm_heap_walk(NULL, count_visit, &left));
        CHECK_EQ(left, 0);
    }
    left = KINDS + 1;
    CHECK(mm_heap_walk(heap, count_visit, &left));
    CHECK_EQ(left, 1);
    mm_heap_destroy(heap);
    left = 1;
    CHECK(mm_heap_walk(NULL, count_visit, &left));
    CHECK_EQ(left, 1);
    CHECK_GONE();
}

/* Blocks are found in the caches of other threads, in those of ended ones, and not where they wait
 * to be sent home. */
static size_t walk_phase;
static void *walk_blocks[4];

static void *walk_run(void *value)
{
    size_t i;
    for (i = 0; i < 4; i++) walk_blocks[i] = mm_heap_alloc(50 + i * 20000);
    mm_heap_free(value); /* into a parcel */
    mmi_atomic_store(&walk_phase, (size_t)1);
    while (mmi_atomic_load(&walk_phase) != 2) continue;
    return NULL;
}

TEST(walk_finds_what_other_threads_have)
{
    pthread_t thread;
    size_t left = 100;
    void *other = mm_heap_alloc(100);
    mmi_atomic_store(&walk_phase, (size_t)0);
    CHECK_EQ(pthread_create(&thread, NULL, walk_run, other), 0);
    while (mmi_atomic_load(&walk_phase) != 1) continue;
    CHECK(mm_heap_walk(NULL, count_visit, &left));
    CHECK_EQ(left, 96);
    mm_heap_free(walk_blocks[0]);
    mmi_atomic_store(&walk_phase, (size_t)2);
    pthread_join(thread, NULL);
    left = 100;
    CHECK(mm_heap_walk(NULL, count_visit, &left));
    CHECK_EQ(left, 97);
    for (left = 1; left < 4; left++) mm_heap_free(walk_blocks[left]);
    CHECK_GONE();
}

/* Other threads free into a heap, huge blocks as well, while it is walked. */
static size_t walk_count;
static size_t walk_huge[40];

static void *walk_free_run(void *value)
{
    size_t i;
    for (i = 0; i < 40; i++) mm_heap_free((void *)walk_huge[i]);
    mmi_atomic_store(&walk_phase, (size_t)3);
    return value;
}

static bool slow_visit(const mm_heap_block *block, void *user_data)
{
    (void)block, (void)user_data;
    walk_count++;
    return true;
}

TEST(blocks_are_freed_during_a_walk)
{
    mm_heap *heap = heap_of("walked", 0, false);
    pthread_t thread;
    size_t i, round;
    for (round = 0; round < FEWER(10, 10, 3); round++) {
        for (i = 0; i < 40; i++) {
            walk_huge[i] = (size_t)mm_heap_alloc_in(heap, i % 4 == 0 ? HUGE_SIZE : 100 + i * 2000);
            CHECK(walk_huge[i] != 0);
        }
        mmi_atomic_store(&walk_phase, (size_t)0);
        CHECK_EQ(pthread_create(&thread, NULL, walk_free_run, NULL), 0);
        while (mmi_atomic_load(&walk_phase) != 3) {
            walk_count = 0;
            CHECK(mm_heap_walk(heap, slow_visit, NULL));
            CHECK(walk_count <= 40);
        }
        pthread_join(thread, NULL);
        walk_count = 0;
        CHECK(mm_heap_walk(heap, slow_visit, NULL));
        CHECK_EQ(walk_count, 0);
        CHECK(mm_heap_check_in(heap));
    }
    mm_heap_destroy(heap);
    CHECK_GONE();
}

// ---- statistics ----

TEST(stats_of_a_heap)
{
    mm_heap *heap = heap_of("a name", 50000000, false);
    mm_heap_class_stats rows[MM_HEAP_CLASS_ROWS], *row;
    mm_heap_stats stats;
    void *ptr, *chunk;
    size_t other;
    mm_heap_trim(); /* so that what comes is new */
    ptr = mm_heap_alloc_in(heap, 100);
    chunk = mm_heap_alloc_in(heap, 100000);
    other = stats_now().live;
    CHECK(ptr != NULL && chunk != NULL);
    CHECK(mm_heap_alloc_in(heap, 60000000) == NULL);
    mm_heap_get_stats_in(heap, &stats);
    CHECK_STR(stats.name, "a name");
    CHECK_EQ(stats.limit, 50000000);
    CHECK_EQ(stats.live, room_of(ptr) + room_of(chunk));
    CHECK_EQ(stats.live, other);
    CHECK_EQ(stats.live_blocks, 2);
    CHECK_EQ(stats.failures, 1);
    CHECK_EQ(stats.metadata, 0);
    CHECK(stats.reserved >= 65536 + 100000 && stats.reserved < 1000000);
    CHECK(stats.committed < 65536 + 120000); /* most of it was never touched */
    mm_heap_get_class_stats(heap, rows);
    row = &rows[mmi_heap_page_at(ptr)->index];
    CHECK_EQ(row->size, GUARDS <= 16 ? 112 : 160);
    CHECK_EQ(row->live, room_of(ptr));
    CHECK_EQ(row->live_blocks, 1);
    CHECK_EQ(row->pages, 1);
    CHECK_EQ(row->cached, 65536 - row->live);
    CHECK_EQ(rows[MM_HEAP_CLASS_ROWS - 2].live_blocks, 1);
    CHECK_EQ(rows[MM_HEAP_CLASS_ROWS - 1].pages, 0);
    mm_heap_free(ptr);
    mm_heap_free(chunk);
    mm_heap_get_stats_in(heap, &stats);
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(stats.live_blocks, 0);
    mm_heap_trim_in(heap);
    mm_heap_get_stats_in(heap, &stats);
    CHECK_EQ(stats.reserved, 0);
    CHECK(stats.peak >= 65536 + 100000);
    mm_heap_destroy(heap);
    CHECK_GONE();
}

#ifndef _WIN32 /* the system takes whole mappings only */
TEST(what_goes_back_is_counted)
{
    static char *blocks[2000];
    mm_heap *heap = mm_heap_create(NULL);
    mm_heap_stats before, after;
    size_t i, returned;
    for (i = 0; i < 2000; i++) {
        blocks[i] = (char *)mm_heap_alloc_in(heap, 1024);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, 1024);
    }
    for (i = 0; i < 2000; i++) {
        if (i % 16 != 15) mm_heap_free_in(heap, blocks[i]); /* no page is free as a whole */
    }
    mm_heap_trim();
    returned = stats_now().returned;
    mm_heap_get_stats_in(heap, &before);
    mm_heap_trim_in(heap);
    mm_heap_get_stats_in(heap, &after);
#ifndef MM_HEAP_SECURE
    CHECK(stats_now().returned >= returned + 1000000);
    CHECK(after.committed + 1000000 < before.committed);
#endif
    CHECK_EQ(after.reserved, before.reserved);
    returned = stats_now().returned;
    mm_heap_trim_in(heap);
    CHECK_EQ(stats_now().returned, returned); /* nothing more */
    for (i = 0; i < 2000; i++) {              /* and the count falls again as it is used */
        if (i % 16 != 15) blocks[i] = (char *)mm_heap_alloc_in(heap, 1024);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, 1024);
    }
    mm_heap_get_stats_in(heap, &after);
    CHECK(after.committed >= 2000 * 1024);
    CHECK(mm_heap_check_in(heap));
    mm_heap_destroy(heap);
    CHECK_GONE();
}
#define TESTS_OF_PAGES T(what_goes_back_is_counted),
#else
#define TESTS_OF_PAGES
#endif

typedef struct report {
    char text[20000];
    size_t size, calls, fail_at;
} report;

static mm_status report_sink(void *user_data, const char *bytes, size_t size)
{
    report *r = (report *)user_data;
    if (++r->calls == r->fail_at) return MM_STATUS_CLOSED;
    if (size == 0 || size >= sizeof(r->text) - r->size) return MM_STATUS_TOO_LARGE;
    memcpy(r->text + r->size, bytes, size);
    r->size += size;
    r->text[r->size] = 0;
    return MM_STATUS_OK;
}

TEST(stats_are_written)
{
    static report r;
    mm_heap *heaps[3];
    size_t calls;
    heaps[0] = NULL;
    heaps[1] = heap_of("say \"hi\\\"\n\xff\xc3\xa4", 0, false);
    heaps[2] = heap_of("b", 7000000, true);
    CHECK(heaps[1] != NULL && heaps[2] != NULL && mm_heap_alloc_in(heaps[2], 64) != NULL);
    CHECK(mm_heap_alloc_in(heaps[2], 64) != NULL && mm_heap_alloc_in(heaps[1], 50000) != NULL);
    CHECK_EQ(mm_heap_stats_write(heaps, 3, MM_HEAP_STATS_PROMETHEUS, report_sink, &r),
             MM_STATUS_OK);
    CHECK(strstr(r.text,
                 "# HELP mm_heap_live_bytes Bytes handed out.\n"
                 "# TYPE mm_heap_live_bytes gauge\nmm_heap_live_bytes{name=\"\"} ") != NULL);
    CHECK(strstr(r.text, "\nmm_heap_live_bytes{name=\"b\"} " LIVE_OF_64 "\n") != NULL);
    CHECK(strstr(r.text, "\nmm_heap_limit_bytes{name=\"b\"} 7000000\n") != NULL);
    CHECK(strstr(r.text, "\nmm_heap_class_live_blocks{name=\"b\",class=\"" CLASS_OF_64 "\"} 2\n") !=
          NULL);
    CHECK(strstr(r.text, "{name=\"say \\\"hi\\\\\\\"??\xc3\xa4\",class=\"chunks\"} 1\n") != NULL);
    memset(&r, 0, sizeof(r));
    CHECK_EQ(mm_heap_stats_write(heaps, 3, MM_HEAP_STATS_JSON, report_sink, &r), MM_STATUS_OK);
    CHECK(strncmp(r.text, "{\"heaps\":[{\"name\":\"\",\"live\":", 28) == 0);
    CHECK(strstr(r.text, "\"classes\":[{\"class\":\"" CLASS_OF_64
                         "\",\"live\":" LIVE_OF_64 ",\"live_blocks\":2,") != NULL);
    CHECK(strcmp(r.text + r.size - 5, "}]}]}") == 0);
    calls = r.calls;
    CHECK(calls >= 2);
    for (r.fail_at = 1; r.fail_at <= calls; r.fail_at++) {
        r.calls = r.size = 0;
        CHECK_EQ(mm_heap_stats_write(heaps, 3, MM_HEAP_STATS_JSON, report_sink, &r),
                 MM_STATUS_CLOSED);
        CHECK_EQ(r.calls, r.fail_at);
    }
    r.calls = r.size = r.fail_at = 0;
    CHECK_EQ(mm_heap_stats_write(heaps, 3, (mm_heap_stats_format)2, report_sink, &r),
             MM_STATUS_INVALID);
    CHECK_EQ(r.calls, 0);
    CHECK_EQ(mm_heap_stats_write(heaps, 0, MM_HEAP_STATS_JSON, report_sink, &r), MM_STATUS_OK);
    CHECK_STR(r.text, "{\"heaps\":[]}");
    mm_heap_destroy(heaps[1]);
    mm_heap_destroy(heaps[2]);
    CHECK_GONE();
}

// ---- no memory ----

static void use_everything(void)
{
    mm_heap *heap = mm_heap_create(NULL);
    size_t i, round;
    if (heap == NULL) return;
    for (round = 0; round < 2; round++) {
        for (i = 0; i < KINDS; i++) {
            char *ptr = (char *)mm_heap_alloc_in(heap, all_kinds[i]), *now;
            size_t some = all_kinds[i] < 10000 ? all_kinds[i] : 10000;
            if (ptr == NULL) continue;
            memset(hide(ptr), 1, some);
            now = (char *)mm_heap_realloc_in(heap, ptr, all_kinds[i] + all_kinds[i] / 2);
            EXPECT(is_filled(now != NULL ? now : hide(ptr), 1, some));
        }
        if (round == 0) mm_heap_reset(heap);
    }
    mm_heap_destroy(heap);
}

/* The heap as it is in a process that has not used it. What it had stays mapped, and lost. */
static void heap_forget(void)
{
    bool key_works = mmi_heap_here.key_works;
    size_t started = mmi_heap_here.started, os_page = mmi_heap_here.os_page;
    mmi_heap_mine = &mmi_heap_no_cache[0];
    if (key_works) (void)mmi_heap_key_set(NULL);
    memset(&mmi_heap_here, 0, sizeof(mmi_heap_here));
    memset(mmi_heap_root, 0, sizeof(mmi_heap_root));
#ifdef MM_HEAP_DEBUG
    memset(&mmi_heap_debug, 0, sizeof(mmi_heap_debug));
#endif
    mmi_heap_here.key_works = key_works;
    mmi_heap_here.started = started;
    mmi_heap_here.os_page = os_page;
}

static void sweep(bool for_ever)
{
    size_t n;
    for (n = 1; n < 1000; n++) {
        heap_forget();
        system_fail(n, for_ever);
        use_everything();
        system_fail_at = 0;
        CHECK_EQ(stats_now().live, 0);
        CHECK(mm_heap_check());
        CHECK_EQ(errors, 0);
        if (system_failed == 0) return;
        use_everything(); /* as if nothing had been */
        CHECK_EQ(stats_now().live, 0);
        mm_heap_trim();
    }
    CHECK(false);
}

TEST(every_mapping_fails)
{
    CHECK_SUB(sweep(false));
    CHECK_SUB(sweep(true));
    heap_forget();
    CHECK_GONE();
}

// ---- threads ----

#define SHARERS 4
static mm_heap *common;
static size_t handed[64]; /* blocks that lie about for anybody */

static void *share_run(void *value)
{
    uint64_t seed = (uint64_t)(uintptr_t)value;
    size_t i;
    for (i = 0; i < 30000 / SLOW; i++) {
        size_t size = test_random(&seed) % (i % 100 == 0 ? 100000 : 800) + sizeof(size_t);
        size_t *place = &handed[test_random(&seed) % 64], old;
        size_t *block = (size_t *)mm_heap_alloc_in(common, size);
        EXPECT(block != NULL);
        if (block == NULL) continue;
        memset(block, (int)size, size);
        *block = size;
        old = mmi_atomic_load(place);
        while (!mmi_atomic_cas(place, &old, (size_t)block)) continue;
        block = (size_t *)old;
        if (block == NULL) continue;
        EXPECT(is_filled(block + 1, (int)*block, *block - sizeof(size_t)));
        if (i % 3 == 0) block = (size_t *)mm_heap_realloc(block, *block + 100);
        if (i % 2 == 0) mm_heap_free(block);
        else mm_heap_free_in(common, block);
    }
    return NULL;
}

TEST(threads_share_a_heap)
{
    pthread_t threads[SHARERS];
    size_t i, round;
    common = heap_of("shared", 0, false);
    CHECK(common != NULL);
    for (round = 0; round < 3; round++) {
        for (i = 0; i < SHARERS; i++) {
            CHECK_EQ(pthread_create(&threads[i], NULL, share_run, (void *)(i + 1 + round * 10)), 0);
        }
        for (i = 0; i < 100; i++) CHECK(stats_now().committed > 0); /* while they run */
        for (i = 0; i < SHARERS; i++) pthread_join(threads[i], NULL);
        CHECK(mm_heap_check());
        memset(handed, 0, sizeof(handed));
        mm_heap_reset(common);
        CHECK_EQ(stats_now().live, 0);
    }
    mm_heap_destroy(common);
    CHECK_GONE();
}

/* Each thread has an unshared heap, and frees what the one before it allocated. */
static void *relay_run(void *value)
{
    size_t *place = (size_t *)value, i, old;
    mm_heap *heap = heap_of("relay", 0, true);
    EXPECT(heap != NULL);
    for (i = 0; i < 20000 / SLOW; i++) {
        size_t *block = (size_t *)mm_heap_alloc_in(heap, i % 3000 + (i % 500 == 0 ? 60000 : 8));
        EXPECT(block != NULL);
        if (block == NULL) break;
        *block = i;
        old = mmi_atomic_load(&place[i % 8]);
        while (!mmi_atomic_cas(&place[i % 8], &old, (size_t)block)) continue;
        mm_heap_free((void *)old);
    }
    return heap;
}

TEST(threads_free_into_anothers_heap)
{
    pthread_t threads[SHARERS];
    void *heap;
    size_t i;
    memset(handed, 0, sizeof(handed));
    for (i = 0; i < SHARERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, relay_run, (void *)&handed[i / 2 * 8]), 0);
    }
    for (i = 0; i < SHARERS; i++) {
        pthread_join(threads[i], &heap);
        common = (mm_heap *)heap;
        handed[32 + i] = (size_t)heap;
    }
    for (i = 0; i < 32; i++) mm_heap_free((void *)handed[i]);
    CHECK_EQ(stats_now().live_blocks, 0);
    for (i = 0; i < SHARERS; i++) {
        common = (mm_heap *)handed[32 + i];
        CHECK(mm_heap_alloc_in(common, 100) != NULL); /* taken over by this thread */
        mm_heap_destroy(common);
    }
    memset(handed, 0, sizeof(handed));
    CHECK_GONE();
}

/* A thread that keeps blocks to be sent home must not send any to a heap that is gone. */
static void *free_one(void *block)
{
    void *own = mm_heap_alloc(10); /* so that it has a cache */
    mm_heap_free(block);
    mm_heap_free(own);
    return NULL;
}

TEST(no_block_is_on_its_way_to_a_destroyed_heap)
{
    size_t i;
    for (i = 0; i < 20; i++) {
        mm_heap *heap = mm_heap_create(NULL);
        void *block = mm_heap_alloc_in(heap, 100);
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, free_one, block), 0);
        pthread_join(thread, NULL);
        mm_heap_destroy(heap);
        heap = mm_heap_create(NULL); /* the same record */
        CHECK(mm_heap_alloc_in(heap, 100) != NULL);
        CHECK_EQ(stats_now().live_blocks, 1);
        mm_heap_destroy(heap);
    }
    CHECK_GONE();
}

static void *create_run(void *value)
{
    size_t i;
    for (i = 0; i < 2000 / SLOW; i++) {
        mm_heap *heap = heap_of("short", 0, i % 2 == 0);
        char *ptr = (char *)mm_heap_alloc_in(heap, 100 + i);
        EXPECT(ptr != NULL);
        if (ptr != NULL) memset(ptr, 1, 100 + i);
        if (i % 5 == 0) EXPECT(mm_heap_alloc_in(heap, 100000) != NULL);
        if (i % 50 == 0) EXPECT(mm_heap_alloc_in(heap, HUGE_SIZE) != NULL);
        if (i % 3 == 0) mm_heap_free(ptr);
        mm_heap_destroy(heap);
    }
    return value;
}

TEST(threads_create_and_destroy)
{
    pthread_t threads[SHARERS];
    size_t i;
    for (i = 0; i < SHARERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, create_run, NULL), 0);
    }
    for (i = 0; i < 1000 / SLOW; i++) { /* statistics meanwhile, and only the locks protect them */
        mm_heap_class_stats rows[MM_HEAP_CLASS_ROWS];
        mm_heap_get_class_stats(NULL, rows);
        CHECK(stats_now().heaps <= SHARERS);
    }
    for (i = 0; i < SHARERS; i++) pthread_join(threads[i], NULL);
    CHECK_GONE();
}

#ifndef _WIN32
static size_t storm_over;

static void *storm_run(void *value)
{
    size_t i;
    for (i = 0; mmi_atomic_load(&storm_over) == 0; i++) {
        void *ptr = mm_heap_alloc_in(common, i % 2000);
        mm_heap_free_in(common, ptr);
        if (i % 100 == 0) mm_heap_destroy(mm_heap_create(NULL));
    }
    return value;
}

TEST(child_of_a_fork_has_the_heap)
{
    static mm_heap *others[100]; /* more than a thread sanitizer can follow locks */
    pthread_t threads[2];
    size_t i, round;
    int status;
    for (i = 0; i < 100; i++) CHECK((others[i] = mm_heap_create(NULL)) != NULL);
    common = heap_of("forked", 0, false);
    storm_over = 0;
    for (i = 0; i < 2; i++) CHECK_EQ(pthread_create(&threads[i], NULL, storm_run, NULL), 0);
    for (round = 0; round < 40 / (SLOW < 4 ? 1 : 4); round++) {
        pid_t child = fork();
        if (child == 0) {
            char *ptr = (char *)mm_heap_alloc_in(common, 5000);
            if (ptr == NULL) _exit(1);
            memset(ptr, 1, 5000);
            mm_heap_free_in(common, ptr);
            if (mm_heap_alloc_in(common, 300000) == NULL) _exit(2);
            for (i = 0; i < 100; i++) {
                if (mm_heap_alloc_in(others[i], 100) == NULL) _exit(3);
            }
            mm_heap_destroy(common);
            _exit(0);
        }
        CHECK(child > 0);
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), 0);
    }
    mmi_atomic_store(&storm_over, (size_t)1);
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    mm_heap_destroy(common);
    for (i = 0; i < 100; i++) mm_heap_destroy(others[i]);
    CHECK_GONE();
}
#define TESTS_OF_FORK T(child_of_a_fork_has_the_heap),
#else
#define TESTS_OF_FORK
#endif

/* What the handler is told of while a cache is off the shelf, or all are walked, and it leaves. */
static bool damage_is_found(const mm_heap_block *block, void *user_data)
{
    (void)user_data;
    mmi_heap_found(mmi_heap_mine, "test", block->ptr);
    return fatals == 0;
}

TEST(handler_that_leaves_takes_nothing_along)
{
    void *block = mm_heap_alloc(10);
    mmi_heap_cache *cache;
    jmp_buf back;
    CHECK(block != NULL);
    fatal_leave = &back;
    if (setjmp(back) == 0) {
        CHECK(mm_heap_walk(NULL, damage_is_found, NULL));
    } else {
        CHECK_EQ(fatals, 1);
    }
    CHECK_EQ(fatals, 1);
    CHECK_EQ(mmi_heap_here.walkers, 0);
    CHECK_EQ(mmi_heap_here.walking, 0);
    if (setjmp(back) == 0) {
        cache = mmi_heap_shelf_take(true);
        EXPECT(cache != NULL);
        mmi_heap_found(cache, "test", block);
        CHECK_EQ(fatals, 1);
        mmi_heap_shelf_put(cache);
        CHECK(false);
    }
    CHECK_EQ(fatals, 2);
    CHECK(mmi_heap_here.shelf_last != NULL && mmi_heap_here.shelf_last->damage == NULL);
    fatal_leave = NULL;
    fatals = 0;
    mm_heap_free(block);
    CHECK_GONE();
}

TEST_MAIN(T(heap_lives_and_goes_at_once), T(null_is_the_heap_of_the_process),
          T(every_function_works_in_a_heap), T(impossible_sizes_are_refused),
          T(heap_is_an_allocator), T(reset_keeps_the_memory), T(calloc_is_zero_after_reset),
          T(destroy_gives_everything_back), T(records_are_used_again), T(names_are_copied),
          T(limit_of_a_heap_is_kept), T(limit_stops_growth_but_no_other_heap), T(misuse_is_found),
          TESTS_OF_SECURE T(model_over_several_heaps), T(visitor_can_stop),
          T(walk_finds_what_other_threads_have), T(blocks_are_freed_during_a_walk),
          T(handler_that_leaves_takes_nothing_along), T(stats_of_a_heap),
          TESTS_OF_PAGES T(stats_are_written), T(threads_share_a_heap),
          T(threads_free_into_anothers_heap), T(no_block_is_on_its_way_to_a_destroyed_heap),
          T(threads_create_and_destroy), TESTS_OF_FORK T(every_mapping_fails))
