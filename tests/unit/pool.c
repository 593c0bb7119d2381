/* mm_pool.h: object pool, slab, tiered buffers, budgets. Built with MM_DEBUG, so that the misuse
 * which only that finds is tested too; with NDEBUG what remains is the release build. */
#ifndef NDEBUG
#define MM_DEBUG
#endif
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

/* A failed assertion ends the program, or the call that a test has announced as misuse. */
static jmp_buf misuse_return;
static int misuse_expected;

static void assertion_failed(const char *text)
{
    if (misuse_expected) longjmp(misuse_return, 1);
    printf("FAIL  assertion %s\n", text);
    abort();
}
#define MM_ASSERT(condition) ((condition) ? (void)0 : assertion_failed(#condition))

#define MM_POOL_IMPLEMENTATION
#include "../../mm_pool.h"
#include "../harness.h"
#include <pthread.h>

/* What the memory checker believes of one byte; where there is no checker, what is right. */
static int is_poisoned(const void *ptr, int expected)
{
#if defined(MMI_ASAN)
    (void)expected;
    return __asan_address_is_poisoned(ptr);
#elif defined(VALGRIND_GET_VBITS)
    unsigned char bits;
    return RUNNING_ON_VALGRIND ? VALGRIND_GET_VBITS(ptr, &bits, 1) == 3 : expected;
#else
    (void)ptr;
    return expected;
#endif
}
#define CHECK_POISONED(ptr, expected) CHECK_EQ(is_poisoned((ptr), (expected)), (expected))

#define CHECK_MISUSE(call) \
    do { \
        misuse_expected = 1; \
        if (setjmp(misuse_return) == 0) { \
            call; \
            misuse_expected = 0; \
            test_fail(__FILE__, __LINE__, #call " is found"); \
            return; \
        } \
        misuse_expected = 0; \
    } while (0)

/* A pattern that depends on the tag, so that no two live objects look alike. */
static void fill(void *ptr, size_t size, uint64_t tag)
{
    size_t i;
    for (i = 0; i < size; i++) ((unsigned char *)ptr)[i] = (unsigned char)(tag * 31 + i * 7 + 1);
}

static int is_filled(const void *ptr, size_t size, uint64_t tag)
{
    size_t i;
    for (i = 0; i < size; i++) {
        if (((const unsigned char *)ptr)[i] != (unsigned char)(tag * 31 + i * 7 + 1)) return 0;
    }
    return 1;
}

static int is_zero(const void *ptr, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)ptr;
    size_t i;
    for (i = 0; i < size; i++) {
        if (bytes[i] != 0) return 0;
    }
    return 1;
}

/* ---- pool ---- */

static mm_status pool_open(mm_pool *pool, size_t size, size_t alignment, size_t segment_objects,
                           const mm_allocator *allocator)
{
    mm_pool_desc desc = {0};
    desc.size = size;
    desc.alignment = alignment;
    desc.segment_objects = segment_objects;
    desc.allocator = allocator;
    memset(pool, 0xEE, sizeof(*pool));
    return mm_pool_init(pool, &desc);
}

TEST(pool_desc_is_checked)
{
    static const struct {
        size_t size, alignment, objects;
        mm_status status;
    } cases[] = {
        {0, 0, 0, MM_STATUS_INVALID},
        {0, 16, 8, MM_STATUS_INVALID},
        {8, 3, 0, MM_STATUS_INVALID},
        {8, SIZE_MAX, 0, MM_STATUS_INVALID},
        {SIZE_MAX, 0, 0, MM_STATUS_TOO_LARGE},
        {SIZE_MAX - 15, 1, 0, MM_STATUS_TOO_LARGE},
        {SIZE_MAX / 8, 0, 0, MM_STATUS_TOO_LARGE},
        {1, SIZE_MAX / 2 + 1, 0, MM_STATUS_TOO_LARGE},
        {16, 0, SIZE_MAX, MM_STATUS_TOO_LARGE},
        {16, 0, SIZE_MAX / 16, MM_STATUS_TOO_LARGE},
        {16, 0, SIZE_MAX / 32, MM_STATUS_OK},
        {SIZE_MAX / 32, 0, 0, MM_STATUS_OK},
        {1, 0, 0, MM_STATUS_OK},
    };
    test_allocator memory;
    size_t i;
    test_allocator_init(&memory);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_pool pool;
        CHECK_EQ(
            pool_open(&pool, cases[i].size, cases[i].alignment, cases[i].objects, &memory.base),
            cases[i].status);
        if (cases[i].status != MM_STATUS_OK) CHECK(is_zero(&pool, sizeof(pool)));
        CHECK(mm_pool_check(&pool));
        CHECK_EQ(mm_pool_deinit(&pool), 0);
    }
    CHECK_EQ(memory.calls, 0);
}

TEST(pool_of_zero_bytes_refuses)
{
    mm_pool pool = {0};
    mm_pool_stats stats;
    CHECK(mm_pool_get(&pool) == NULL);
    CHECK(mm_pool_check(&pool));
    mm_pool_get_stats(&pool, &stats);
    CHECK_EQ(stats.failures, 1);
    CHECK_EQ(mm_pool_deinit(&pool), 0);
}

static void pool_fills(size_t size, size_t alignment)
{
    enum { COUNT = 40 };
    size_t expected = alignment == 0 ? 2 * sizeof(void *) : alignment;
    unsigned char *objects[COUNT];
    test_allocator memory;
    mm_pool pool;
    size_t i;
    test_allocator_init(&memory);
    CHECK_EQ(pool_open(&pool, size, alignment, 0, &memory.base), MM_STATUS_OK);
    CHECK(pool.segment_objects >= 8);
    for (i = 0; i < COUNT; i++) {
        objects[i] = (unsigned char *)mm_pool_get(&pool);
        CHECK(objects[i] != NULL);
        CHECK_EQ((uintptr_t)objects[i] % expected, 0);
        CHECK_POISONED(objects[i] + size - 1, 0);
        if (pool.stride > size) CHECK_POISONED(objects[i] + size, 1);
        fill(objects[i], size, i);
    }
    for (i = 0; i < COUNT; i++) {
        CHECK(is_filled(objects[i], size, i));
        mm_pool_put(&pool, objects[i]);
        CHECK_POISONED(objects[i], 1);
        CHECK_POISONED(objects[i] + size - 1, 1);
    }
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(pool_sizes_and_alignments)
{
    static const size_t sizes[] = {1, 5, 8, 9, 16, 24, 100, 1000, 5000, 70000};
    static const size_t alignments[] = {0, 1, 2, 8, 16, 32, 64, 4096};
    size_t i, j;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (j = 0; j < sizeof(alignments) / sizeof(alignments[0]); j++) {
            CHECK_SUB(pool_fills(sizes[i], alignments[j]));
        }
    }
}

TEST(pool_last_put_is_first_out)
{
    mm_pool pool;
    void *a, *b, *c;
    CHECK_EQ(pool_open(&pool, 40, 0, 0, NULL), MM_STATUS_OK);
    a = mm_pool_get(&pool);
    b = mm_pool_get(&pool);
    CHECK(a != NULL && b != NULL && a < b); /* fresh ones ascend */
    mm_pool_put(&pool, a);
    mm_pool_put(&pool, b);
    c = mm_pool_get(&pool);
    CHECK(c == b);
    CHECK(mm_pool_get(&pool) == a);
    CHECK_EQ(mm_pool_deinit(&pool), 2);
    CHECK(is_zero(&pool, sizeof(pool)));
}

TEST(pool_default_segment_is_16_kib)
{
    test_allocator memory;
    mm_pool pool;
    size_t marks;
    test_allocator_init(&memory);
    CHECK_EQ(pool_open(&pool, 64, 0, 0, &memory.base), MM_STATUS_OK);
    marks = MMI_POOL_MARKS(pool.segment_objects);
    CHECK(mm_pool_get(&pool) != NULL);
    CHECK_EQ(memory.live_blocks, 1);
    CHECK(memory.live_bytes <= 16384 + marks && memory.live_bytes > 16384 + marks - 64);
    CHECK_EQ(mm_pool_deinit(&pool), 1);
    CHECK_EQ(memory.live_blocks, 0);
}

enum { MODEL_OBJECTS = 600 };

/* Random gets and puts against a list of what is out. */
static void pool_model(uint64_t seed, size_t size, size_t segment_objects)
{
    unsigned char *out[MODEL_OBJECTS];
    uint64_t tag[MODEL_OBJECTS], state = seed;
    size_t live = 0, peak = 0, step;
    test_allocator memory;
    mm_pool_stats stats;
    mm_pool pool;
    test_allocator_init(&memory);
    CHECK_EQ(pool_open(&pool, size, 0, segment_objects, &memory.base), MM_STATUS_OK);
    for (step = 0; step < 6000; step++) {
        uint64_t random = test_random(&state);
        int growing = step / 1000 % 2 == 0;
        if (live < MODEL_OBJECTS && random % 8 < (growing ? 5u : 3u)) {
            out[live] = (unsigned char *)mm_pool_get(&pool);
            CHECK(out[live] != NULL);
            tag[live] = random >> 8;
            fill(out[live], size, tag[live]);
            if (++live > peak) peak = live;
        } else if (live > 0) {
            size_t i = (size_t)(random >> 8) % live;
            CHECK(is_filled(out[i], size, tag[i]));
            mm_pool_put(&pool, out[i]);
            live--;
            out[i] = out[live];
            tag[i] = tag[live];
        }
        mm_pool_get_stats(&pool, &stats);
        CHECK_EQ(stats.live, live);
        CHECK_EQ(stats.peak, peak);
        CHECK_EQ(stats.bytes, memory.live_bytes);
        CHECK_EQ(stats.live + stats.cached, memory.live_blocks * pool.segment_objects);
        if (step % 16 == 0) CHECK(mm_pool_check(&pool));
    }
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), live);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(pool_against_a_model)
{
    CHECK_SUB(pool_model(1, 24, 0));
    CHECK_SUB(pool_model(2, 1, 8));
    CHECK_SUB(pool_model(3, 1000, 0));
    CHECK_SUB(pool_model(4, 48, 1000));
}

/* 100 gets with the n-th allocation failing; how many failed. */
static void pool_gets_with_failure(size_t n, int for_ever, size_t *failures)
{
    test_allocator memory;
    mm_pool_stats stats;
    mm_pool pool;
    size_t i, got = 0;
    test_allocator_init(&memory);
    CHECK_EQ(pool_open(&pool, 100, 0, 8, &memory.base), MM_STATUS_OK);
    test_allocator_fail(&memory, n, for_ever);
    for (i = 0; i < 100; i++) {
        void *object = mm_pool_get(&pool);
        if (object == NULL) CHECK(mm_pool_check(&pool));
        else fill(object, 100, i);
        got += object != NULL;
    }
    *failures = memory.failures;
    mm_pool_get_stats(&pool, &stats);
    CHECK_EQ(stats.live, got);
    CHECK_EQ(stats.failures, 100 - got);
    CHECK_EQ(100 - got, memory.failures);
    memory.fail_at = 0;
    for (; got < 100; got++) CHECK(mm_pool_get(&pool) != NULL); /* recovers */
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), 100);
    CHECK_EQ(memory.live_blocks, 0);
}

TEST(pool_each_allocation_fails)
{
    int for_ever;
    for (for_ever = 0; for_ever < 2; for_ever++) {
        size_t n, failures = 1;
        for (n = 1; failures > 0; n++) {
            CHECK_SUB(pool_gets_with_failure(n, for_ever, &failures));
        }
        CHECK_EQ(n, 15); /* 13 segments, and the round in which none failed */
    }
}

TEST(pool_as_allocator)
{
    const mm_allocator *a;
    mm_pool_stats stats;
    mm_pool pool;
    void *block, *other;
    CHECK_EQ(pool_open(&pool, 64, 0, 0, NULL), MM_STATUS_OK);
    a = mm_pool_allocator(&pool);
    block = a->alloc_fn(64, a->user_data);
    CHECK(block != NULL);
    fill(block, 64, 9);
    CHECK(a->alloc_fn(65, a->user_data) == NULL);
    CHECK(a->alloc_fn(SIZE_MAX, a->user_data) == NULL);
    CHECK(a->realloc_fn(block, 64, 1, a->user_data) == block);
    CHECK(a->realloc_fn(block, 1, 64, a->user_data) == block);
    CHECK(a->realloc_fn(block, 64, 65, a->user_data) == NULL);
    CHECK(is_filled(block, 64, 9));
    other = a->realloc_fn(NULL, 0, 10, a->user_data);
    CHECK(other != NULL && other != block);
    CHECK(a->realloc_fn(NULL, 0, 65, a->user_data) == NULL);
    mm_pool_get_stats(&pool, &stats);
    CHECK_EQ(stats.failures, 4);
    a->free_fn(block, 64, a->user_data);
    a->free_fn(other, 10, a->user_data);
    CHECK_EQ(mm_pool_deinit(&pool), 0);
}

TEST(pool_misuse_is_found)
{
    static mm_pool pool, other;
    static unsigned char *object, *theirs;
    CHECK_EQ(pool_open(&pool, 48, 0, 8, NULL), MM_STATUS_OK);
    CHECK_EQ(pool_open(&other, 48, 0, 8, NULL), MM_STATUS_OK);
    while (pool.live < 20) CHECK(mm_pool_get(&pool) != NULL);
    object = (unsigned char *)mm_pool_get(&pool);
    theirs = (unsigned char *)mm_pool_get(&other);
    CHECK(object != NULL && theirs != NULL);
    CHECK_MISUSE(mm_pool_allocator(&pool)->free_fn(object, 49, &pool));
#ifdef MM_DEBUG
    CHECK_MISUSE(mm_pool_put(&pool, theirs));
    CHECK_MISUSE(mm_pool_put(&pool, &theirs));
    CHECK_MISUSE(mm_pool_put(&pool, object + 8));
    CHECK_MISUSE(mm_pool_put(&pool, object + 48)); /* a place of ours, but it was never out */
    CHECK(mm_pool_check(&pool));
    mm_pool_put(&pool, object);
    CHECK_MISUSE(mm_pool_put(&pool, object));
    mmi_pool_set_link(object, theirs, pool.stride); /* as a write after the put does */
    CHECK(mm_pool_get(&pool) == object);
    CHECK_MISUSE(object = (unsigned char *)mm_pool_get(&pool));
    pool.free_list = NULL;
#endif
    CHECK_EQ(mm_pool_deinit(&other), 1);
    mm_pool_deinit(&pool);
}

TEST(pool_check_finds_damage)
{
    mm_pool pool;
    void *a, *b, *list;
    CHECK_EQ(pool_open(&pool, 32, 0, 8, NULL), MM_STATUS_OK);
    a = mm_pool_get(&pool);
    b = mm_pool_get(&pool);
    CHECK(a != NULL && b != NULL);
    mm_pool_put(&pool, a);
    CHECK(mm_pool_check(&pool));
    list = pool.free_list;
    pool.free_list = &pool; /* not an object */
    CHECK(!mm_pool_check(&pool));
    pool.free_list = list;
    pool.live++; /* more out than are missing */
    pool.peak++;
    CHECK(!mm_pool_check(&pool));
    pool.live--;
    pool.peak--;
    list = mmi_pool_peek(a, pool.stride);
    mmi_pool_set_link(a, a, pool.stride); /* a circle */
    CHECK(!mm_pool_check(&pool));
    mmi_pool_set_link(a, list, pool.stride);
    pool.segment_count++;
    CHECK(!mm_pool_check(&pool));
    pool.segment_count--;
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), 1);
}

/* ---- slab ---- */

static mm_status slab_open(mm_slab *slab, size_t size, size_t alignment, uint32_t capacity,
                           uint32_t segment_objects, const mm_allocator *allocator)
{
    mm_slab_desc desc = {0};
    desc.size = size;
    desc.alignment = alignment;
    desc.capacity = capacity;
    desc.segment_objects = segment_objects;
    desc.allocator = allocator;
    memset(slab, 0xEE, sizeof(*slab));
    return mm_slab_init(slab, &desc);
}

TEST(slab_desc_is_checked)
{
    static const struct {
        size_t size, alignment;
        uint32_t objects;
        mm_status status;
    } cases[] = {
        {0, 0, 0, MM_STATUS_INVALID},
        {8, 12, 0, MM_STATUS_INVALID},
        {SIZE_MAX, 0, 0, MM_STATUS_TOO_LARGE},
        {SIZE_MAX - 15, 1, 0, MM_STATUS_TOO_LARGE},
        {SIZE_MAX / 8, 0, 0, MM_STATUS_TOO_LARGE},
        {8, SIZE_MAX / 2 + 1, 0, MM_STATUS_TOO_LARGE},
        {8, 0, UINT32_MAX, MM_STATUS_TOO_LARGE},
        {8, 0, 0x80000001u, MM_STATUS_TOO_LARGE},
        {SIZE_MAX / 1024, 0, 1024, MM_STATUS_TOO_LARGE},
        {1, 0, 0, MM_STATUS_OK},
    };
    test_allocator memory;
    size_t i;
    test_allocator_init(&memory);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_slab slab;
        CHECK_EQ(
            slab_open(&slab, cases[i].size, cases[i].alignment, 0, cases[i].objects, &memory.base),
            cases[i].status);
        if (cases[i].status != MM_STATUS_OK) CHECK(is_zero(&slab, sizeof(slab)));
        CHECK(mm_slab_check(&slab));
        mm_slab_deinit(&slab);
    }
    CHECK_EQ(memory.calls, 0);
}

TEST(slab_of_zero_bytes_refuses)
{
    mm_slab slab = {0};
    void *object = &slab;
    CHECK_EQ(mm_slab_insert(&slab, &object), 0);
    CHECK(object == NULL);
    CHECK(mm_slab_get(&slab, 1) == NULL);
    CHECK_EQ(mm_slab_remove(&slab, (uint64_t)1 << 32 | 1), MM_STATUS_NOT_FOUND);
    CHECK_EQ(mm_slab_next(&slab, 0), 0);
    CHECK_EQ(mm_slab_count(&slab), 0);
    CHECK(mm_slab_check(&slab));
    mm_slab_deinit(&slab);
}

TEST(slab_stale_handles_are_told)
{
    mm_slab slab;
    void *object, *again;
    mm_handle first, second;
    uint64_t mark;
    CHECK_EQ(slab_open(&slab, 24, 0, 0, 0, NULL), MM_STATUS_OK);
    first = mm_slab_insert(&slab, &object);
    CHECK(first != 0 && object != NULL && is_zero(object, 24));
    CHECK(mm_slab_get(&slab, first) == object);
    CHECK(first >> 32 != 0);
    for (mark = 0; mark < 100; mark++) CHECK(mm_slab_get(&slab, mark) == NULL);
    fill(object, 24, 1);
    CHECK_EQ(mm_slab_remove(&slab, first), MM_STATUS_OK);
    CHECK_POISONED(object, 1);
    CHECK(mm_slab_get(&slab, first) == NULL);
    CHECK_EQ(mm_slab_remove(&slab, first), MM_STATUS_NOT_FOUND);
    second = mm_slab_insert(&slab, &again);
    CHECK(again == object && second != first && is_zero(again, 24)); /* the same place, zeroed */
    CHECK(mm_slab_get(&slab, first) == NULL);
    CHECK_EQ(mm_slab_remove(&slab, first), MM_STATUS_NOT_FOUND);
    CHECK(mm_slab_get(&slab, second) == again);
    CHECK_EQ(mm_slab_count(&slab), 1);
    CHECK(mm_slab_check(&slab));
    mm_slab_deinit(&slab);
}

TEST(slab_forged_handles_are_told)
{
    mm_slab slab;
    mm_handle live[20];
    uint64_t state = 7;
    void *object;
    size_t i, j;
    CHECK_EQ(slab_open(&slab, 16, 0, 0, 8, NULL), MM_STATUS_OK);
    for (i = 0; i < 20; i++) live[i] = mm_slab_insert(&slab, &object);
    for (i = 5; i < 15; i++) CHECK_EQ(mm_slab_remove(&slab, live[i]), MM_STATUS_OK);
    for (i = 0; i < 40000; i++) { /* small generations and indices, so that many are near misses */
        uint64_t random = test_random(&state);
        mm_handle forged = (random >> 40) % 4 << 32 | random % 40;
        int is_live = 0;
        if (i % 4 == 0) forged = random;
        for (j = 0; j < 20; j++) is_live |= (j < 5 || j >= 15) && live[j] == forged;
        CHECK_EQ(mm_slab_get(&slab, forged) != NULL, is_live);
    }
    CHECK(mm_slab_get(&slab, UINT64_MAX) == NULL);
    CHECK(mm_slab_get(&slab, UINT32_MAX) == NULL);
    CHECK(mm_slab_get(&slab, (uint64_t)UINT32_MAX << 32) == NULL);
    CHECK_EQ(mm_slab_next(&slab, UINT64_MAX), 0);
    mm_slab_deinit(&slab);
}

TEST(slab_capacity_is_kept)
{
    mm_slab slab;
    mm_handle handles[10];
    mm_pool_stats stats;
    void *object;
    size_t i;
    CHECK_EQ(slab_open(&slab, 16, 0, 10, 0, NULL), MM_STATUS_OK);
    CHECK_EQ(1u << slab.shift, 16); /* no more than the capacity needs */
    for (i = 0; i < 10; i++) CHECK((handles[i] = mm_slab_insert(&slab, &object)) != 0);
    object = &slab;
    CHECK_EQ(mm_slab_insert(&slab, &object), 0);
    CHECK(object == NULL);
    CHECK_EQ(mm_slab_remove(&slab, handles[3]), MM_STATUS_OK);
    CHECK((handles[3] = mm_slab_insert(&slab, &object)) != 0);
    CHECK_EQ(mm_slab_insert(&slab, &object), 0);
    mm_slab_get_stats(&slab, &stats);
    CHECK_EQ(stats.live, 10);
    CHECK_EQ(stats.peak, 10);
    CHECK_EQ(stats.cached, 6);
    CHECK_EQ(stats.failures, 2);
    mm_slab_deinit(&slab);
}

/* A slot whose generations are used up is never used again, and does not count as capacity. */
TEST(slab_wrapped_slot_is_retired)
{
    mm_slab slab;
    mm_handle first, last, other;
    mm_pool_stats stats;
    void *object, *place;
    CHECK_EQ(slab_open(&slab, 16, 0, 1, 0, NULL), MM_STATUS_OK);
    first = mm_slab_insert(&slab, &place);
    CHECK_EQ(mm_slab_remove(&slab, first), MM_STATUS_OK);
    *mmi_slab_slot(&slab, 0) = (uint64_t)UINT32_MAX << 32; /* its next generation is the last */
    last = mm_slab_insert(&slab, &object);
    CHECK(object == place && last == ((uint64_t)UINT32_MAX << 32 | 1));
    CHECK(mm_slab_get(&slab, last) == object);
    CHECK_EQ(mm_slab_remove(&slab, last), MM_STATUS_OK);
    CHECK_EQ(slab.retired, 1);
    CHECK(mm_slab_check(&slab));
    CHECK(mm_slab_get(&slab, last) == NULL && mm_slab_get(&slab, first) == NULL);
    CHECK(mm_slab_get(&slab, 1) == NULL && mm_slab_get(&slab, 0) == NULL);
    CHECK_EQ(mm_slab_remove(&slab, last), MM_STATUS_NOT_FOUND);
    other = mm_slab_insert(&slab, &object);
    CHECK(other != 0 && object != place);
    CHECK_EQ(mm_slab_next(&slab, 0), (long long)other);
    mm_slab_get_stats(&slab, &stats);
    CHECK_EQ(stats.live, 1);
    CHECK_EQ(stats.cached, ((size_t)1 << slab.shift) - 2);
    CHECK(mm_slab_check(&slab));
    mm_slab_deinit(&slab);
}

TEST(slab_index_space_ends)
{
    mm_slab slab;
    void *object;
    CHECK_EQ(slab_open(&slab, 16, 0, 0, 0, NULL), MM_STATUS_OK);
    slab.used = UINT32_MAX; /* as after 2^32 - 1 slots */
    CHECK_EQ(mm_slab_insert(&slab, &object), 0);
    CHECK_EQ(slab.used, UINT32_MAX);
    slab.used = 0;
    CHECK(mm_slab_insert(&slab, &object) != 0);
    mm_slab_deinit(&slab);
}

TEST(slab_objects_are_aligned_and_cheap)
{
    static const size_t alignments[] = {0, 1, 8, 16, 64, 4096};
    size_t i, j;
    for (i = 0; i < sizeof(alignments) / sizeof(alignments[0]); i++) {
        size_t alignment = alignments[i] == 0 ? 2 * sizeof(void *) : alignments[i];
        test_allocator memory;
        mm_slab slab;
        test_allocator_init(&memory);
        CHECK_EQ(slab_open(&slab, 40, alignments[i], 0, 16, &memory.base), MM_STATUS_OK);
        for (j = 0; j < 40; j++) {
            unsigned char *object;
            void *found;
            CHECK(mm_slab_insert(&slab, &found) != 0);
            object = (unsigned char *)found;
            CHECK_EQ((uintptr_t)object % alignment, 0);
            CHECK_POISONED(object + 39, 0);
            if (slab.stride > 40) CHECK_POISONED(object + 40, 1);
        }
        CHECK_EQ(slab.segment_bytes, 16 * (8 + slab.stride) + mmi_pool_slack(alignment));
        mm_slab_deinit(&slab);
        CHECK_EQ(memory.live_blocks, 0);
        CHECK_EQ(memory.bad_sizes, 0);
    }
}

/* The model: an array of what is live, and the handles that are stale. */
typedef struct slab_entry {
    mm_handle handle;
    unsigned char *object;
    int live;
} slab_entry;

static void slab_iteration_meets_all(const mm_slab *slab, const slab_entry *entries, size_t count)
{
    uint32_t met = 0, live = 0, last = 0;
    mm_handle handle;
    size_t i;
    for (handle = mm_slab_next(slab, 0); handle != 0; handle = mm_slab_next(slab, handle)) {
        CHECK((uint32_t)handle > last);
        last = (uint32_t)handle;
        CHECK(mm_slab_get(slab, handle) != NULL);
        met++;
    }
    for (i = 0; i < count; i++) {
        live += entries[i].live != 0;
        CHECK(mm_slab_get(slab, entries[i].handle) == (entries[i].live ? entries[i].object : NULL));
    }
    CHECK_EQ(met, live);
    CHECK_EQ(mm_slab_count(slab), live);
}

static void slab_model(uint64_t seed, size_t size, uint32_t segment_objects)
{
    static slab_entry entries[MODEL_OBJECTS];
    uint64_t state = seed;
    size_t step, live = 0, peak = 0, count = 0;
    test_allocator memory;
    mm_pool_stats stats;
    mm_slab slab;
    test_allocator_init(&memory);
    CHECK_EQ(slab_open(&slab, size, 0, 400, segment_objects, &memory.base), MM_STATUS_OK);
    for (step = 0; step < 6000; step++) {
        uint64_t random = test_random(&state);
        slab_entry *entry = &entries[(size_t)(random >> 8) % MODEL_OBJECTS];
        if (entry->handle == 0 || !entry->live) {
            void *object;
            mm_handle handle = mm_slab_insert(&slab, &object);
            CHECK_EQ(handle != 0, live < 400);
            if (handle == 0) continue;
            CHECK(is_zero(object, size));
            if (entry->handle != 0) {
                CHECK(mm_slab_get(&slab, entry->handle) == NULL);
                CHECK_EQ(mm_slab_remove(&slab, entry->handle), MM_STATUS_NOT_FOUND);
            }
            entry->handle = handle;
            entry->object = (unsigned char *)object;
            entry->live = 1;
            fill(object, size, handle);
            if (++live > peak) peak = live;
        } else {
            CHECK(mm_slab_get(&slab, entry->handle) == entry->object);
            CHECK(is_filled(entry->object, size, entry->handle));
            CHECK_EQ(mm_slab_remove(&slab, entry->handle), MM_STATUS_OK);
            entry->live = 0;
            live--;
        }
        if (step % 32 == 0) {
            CHECK(mm_slab_check(&slab));
            CHECK_SUB(slab_iteration_meets_all(&slab, entries, MODEL_OBJECTS));
        }
        count++;
    }
    mm_slab_get_stats(&slab, &stats);
    CHECK_EQ(stats.live, live);
    CHECK_EQ(stats.peak, peak);
    CHECK_EQ(stats.bytes, memory.live_bytes);
    CHECK(count > 0);
    mm_slab_deinit(&slab);
    memset(entries, 0, sizeof(entries));
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(slab_against_a_model)
{
    CHECK_SUB(slab_model(1, 24, 0));
    CHECK_SUB(slab_model(2, 1, 8));
    CHECK_SUB(slab_model(3, 500, 100));
}

TEST(slab_removal_while_walking)
{
    mm_slab slab;
    mm_handle handle;
    void *object;
    size_t i, met = 0;
    CHECK_EQ(slab_open(&slab, 8, 0, 0, 8, NULL), MM_STATUS_OK);
    for (i = 0; i < 50; i++) CHECK(mm_slab_insert(&slab, &object) != 0);
    for (handle = mm_slab_next(&slab, 0); handle != 0; handle = mm_slab_next(&slab, handle)) {
        CHECK_EQ(mm_slab_remove(&slab, handle), MM_STATUS_OK);
        met++;
    }
    CHECK_EQ(met, 50);
    CHECK_EQ(mm_slab_count(&slab), 0);
    CHECK(mm_slab_check(&slab));
    mm_slab_deinit(&slab);
}

static void slab_inserts_with_failure(size_t n, int for_ever, size_t *failures)
{
    test_allocator memory;
    mm_handle handles[100];
    mm_pool_stats stats;
    mm_slab slab;
    void *object;
    uint32_t i, got = 0;
    test_allocator_init(&memory);
    CHECK_EQ(slab_open(&slab, 100, 0, 0, 8, &memory.base), MM_STATUS_OK);
    test_allocator_fail(&memory, n, for_ever);
    for (i = 0; i < 100; i++) {
        handles[got] = mm_slab_insert(&slab, &object);
        CHECK_EQ(handles[got] == 0, object == NULL);
        CHECK_EQ(mm_slab_count(&slab), got + (object != NULL));
        if (object == NULL) CHECK(mm_slab_check(&slab));
        else fill(object, 100, handles[got++]);
    }
    *failures = memory.failures;
    for (i = 0; i < got; i++) CHECK(is_filled(mm_slab_get(&slab, handles[i]), 100, handles[i]));
    mm_slab_get_stats(&slab, &stats);
    CHECK_EQ(stats.failures, 100 - got);
    memory.fail_at = 0;
    for (; got < 100; got++) CHECK(mm_slab_insert(&slab, &object) != 0);
    CHECK(mm_slab_check(&slab));
    mm_slab_deinit(&slab);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(slab_each_allocation_fails)
{
    int for_ever;
    for (for_ever = 0; for_ever < 2; for_ever++) {
        size_t n, failures = 1;
        for (n = 1; failures > 0; n++) {
            CHECK_SUB(slab_inserts_with_failure(n, for_ever, &failures));
        }
        CHECK_EQ(n, 17); /* 13 segments, 2 directories, and the round in which none failed */
    }
}

TEST(slab_check_finds_damage)
{
    mm_slab slab;
    void *object;
    mm_handle a, b;
    uint64_t saved;
    CHECK_EQ(slab_open(&slab, 8, 0, 0, 8, NULL), MM_STATUS_OK);
    a = mm_slab_insert(&slab, &object);
    b = mm_slab_insert(&slab, &object);
    CHECK_EQ(mm_slab_remove(&slab, a), MM_STATUS_OK);
    CHECK(mm_slab_check(&slab));
    saved = *mmi_slab_slot(&slab, 0);
    *mmi_slab_slot(&slab, 0) = a; /* live again, though free */
    CHECK(!mm_slab_check(&slab));
    *mmi_slab_slot(&slab, 0) = saved | 100; /* leads beyond the end */
    CHECK(!mm_slab_check(&slab));
    *mmi_slab_slot(&slab, 0) = 0; /* a retired slot in the free list */
    CHECK(!mm_slab_check(&slab));
    *mmi_slab_slot(&slab, 0) = saved;
    slab.count++;
    CHECK(!mm_slab_check(&slab));
    slab.count--;
    slab.retired++;
    CHECK(!mm_slab_check(&slab));
    slab.retired--;
    CHECK(mm_slab_check(&slab));
    CHECK_EQ(mm_slab_remove(&slab, b), MM_STATUS_OK);
    mm_slab_deinit(&slab);
}

/* ---- tier ---- */

static mm_status tier_open(mm_tier *tier, const mm_allocator *allocator, bool wipe)
{
    mm_tier_desc desc = {0};
    desc.allocator = allocator;
    desc.wipe = wipe;
    memset(tier, 0xEE, sizeof(*tier));
    return mm_tier_init(tier, &desc);
}

static mm_pool_stats tier_stats(const mm_tier *tier, size_t index)
{
    mm_pool_stats stats;
    mm_tier_get_stats(tier, index, &stats);
    return stats;
}

TEST(tier_desc_is_checked)
{
    static const struct {
        size_t size[MM_TIER_CLASSES_MAX];
        mm_status status;
    } cases[] = {
        {{0}, MM_STATUS_OK},
        {{64}, MM_STATUS_OK},
        {{sizeof(void *)}, MM_STATUS_OK},
        {{sizeof(void *) - 1}, MM_STATUS_INVALID},
        {{64, 64}, MM_STATUS_INVALID},
        {{64, 32}, MM_STATUS_INVALID},
        {{64, 0, 128}, MM_STATUS_INVALID},
        {{0, 64}, MM_STATUS_INVALID},
        {{64, 65, 66, 67, 68, 69, 70, 71}, MM_STATUS_OK},
        {{64, 65, 66, 67, 68, 69, 70, 70}, MM_STATUS_INVALID},
        {{4096, SIZE_MAX}, MM_STATUS_OK},
    };
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_tier_desc desc = {0};
        mm_tier tier;
        memset(&tier, 0xEE, sizeof(tier));
        memcpy(desc.class_size, cases[i].size, sizeof(desc.class_size));
        CHECK_EQ(mm_tier_init(&tier, &desc), cases[i].status);
        if (cases[i].status != MM_STATUS_OK) CHECK(is_zero(&tier, sizeof(tier)));
        CHECK(mm_tier_check(&tier));
        CHECK_EQ(mm_tier_deinit(&tier), 0);
    }
}

TEST(tier_defaults)
{
    mm_tier_desc desc = {0};
    mm_tier tier;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_EQ(mm_tier_class_count(&tier), 3);
    CHECK_EQ(tier_stats(&tier, 0).size, 4096);
    CHECK_EQ(tier_stats(&tier, 1).size, 16384);
    CHECK_EQ(tier_stats(&tier, 2).size, 65536);
    CHECK_EQ(tier_stats(&tier, 3).size, 0);
    CHECK_EQ(tier.classes[0].keep, 256);
    CHECK_EQ(tier.classes[1].keep, 64);
    CHECK_EQ(tier.classes[2].keep, 16);
    desc.class_keep[1] = 5;
    desc.class_keep[2] = MM_TIER_KEEP_NONE;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_EQ(tier.classes[0].keep, 256);
    CHECK_EQ(tier.classes[1].keep, 5);
    CHECK_EQ(tier.classes[2].keep, 0);
    desc.class_size[0] = 18437;
    desc.class_size[1] = 4194304;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_EQ(mm_tier_class_count(&tier), 2);
    CHECK_EQ(tier.classes[0].keep, 56);
    desc.class_keep[1] = 0;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_EQ(tier.classes[1].keep, 1);
}

TEST(tier_sizes)
{
    static const struct {
        size_t ask, get, class_index;
    } cases[] = {
        {0, 4096, 0},      {1, 4096, 0},      {4095, 4096, 0},       {4096, 4096, 0},
        {4097, 16384, 1},  {16384, 16384, 1}, {16385, 65536, 2},     {65536, 65536, 2},
        {65537, 65537, 3}, {70001, 70001, 3}, {1000000, 1000000, 3},
    };
    test_allocator memory;
    mm_tier tier;
    size_t i;
    test_allocator_init(&memory);
    CHECK_EQ(tier_open(&tier, &memory.base, false), MM_STATUS_OK);
    CHECK_EQ(memory.calls, 0);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size = 0, before = tier_stats(&tier, cases[i].class_index).live;
        unsigned char *buffer = (unsigned char *)mm_tier_get(&tier, cases[i].ask, &size);
        CHECK(buffer != NULL);
        CHECK_EQ(size, cases[i].get);
        CHECK_EQ(tier_stats(&tier, cases[i].class_index).live, before + 1);
        fill(buffer, size, i);
        mm_tier_put(&tier, buffer, size, size);
        if (cases[i].class_index < 3) CHECK_POISONED(buffer + size - 1, 1);
        CHECK_EQ(tier_stats(&tier, cases[i].class_index).live, before);
        CHECK(mm_tier_check(&tier));
    }
    CHECK_EQ(memory.live_blocks, 3); /* one of each class; none of those served directly */
    CHECK_EQ(memory.live_bytes, 4096 + 16384 + 65536);
    CHECK_EQ(tier_stats(&tier, 3).peak, 1);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(tier_huge_requests_fail)
{
    test_allocator memory;
    mm_tier tier;
    size_t size = 5;
    test_allocator_init(&memory);
    CHECK_EQ(tier_open(&tier, &memory.base, false), MM_STATUS_OK);
    CHECK(mm_tier_get(&tier, SIZE_MAX, &size) == NULL);
    CHECK_EQ(size, 0);
    CHECK_EQ(tier_stats(&tier, 3).failures, 1);
    CHECK_EQ(tier_stats(&tier, 3).bytes, 0);
    CHECK(mm_tier_check(&tier));
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_of_zero_bytes_serves_directly)
{
    mm_tier tier = {0};
    size_t size, empty;
    void *buffer = mm_tier_get(&tier, 100, &size), *nothing = mm_tier_get(&tier, 0, &empty);
    CHECK(buffer != NULL && nothing != NULL);
    CHECK_EQ(size, 100);
    CHECK_EQ(empty, 1);
    fill(buffer, size, 0);
    CHECK_EQ(tier_stats(&tier, 0).live, 2);
    CHECK_EQ(tier_stats(&tier, 0).bytes, 101);
    mm_tier_put(&tier, buffer, size, size);
    mm_tier_put(&tier, nothing, empty, 0);
    CHECK(mm_tier_check(&tier));
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_keeps_what_it_may_last_put_first)
{
    mm_tier_desc desc = {0};
    test_allocator memory;
    mm_tier tier;
    void *buffers[10];
    size_t size, i;
    test_allocator_init(&memory);
    desc.class_size[0] = 1024;
    desc.class_size[1] = 2048;
    desc.class_keep[0] = 4;
    desc.class_keep[1] = MM_TIER_KEEP_NONE;
    desc.allocator = &memory.base;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    for (i = 0; i < 10; i++) CHECK((buffers[i] = mm_tier_get(&tier, 1000, &size)) != NULL);
    for (i = 0; i < 10; i++) mm_tier_put(&tier, buffers[i], 1024, 0);
    CHECK_EQ(tier_stats(&tier, 0).cached, 4);
    CHECK_EQ(tier_stats(&tier, 0).peak, 10);
    CHECK_EQ(memory.live_blocks, 4);
    for (i = 4; i-- > 0;) CHECK(mm_tier_get(&tier, 1000, &size) == buffers[i]);
    CHECK_EQ(mm_tier_deinit(&tier), 4);
    CHECK_EQ(memory.live_blocks, 4);
    for (i = 0; i < 4; i++) memory.base.free_fn(buffers[i], 1024, &memory);
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    buffers[0] = mm_tier_get(&tier, 2000, &size);
    CHECK(buffers[0] != NULL);
    mm_tier_put(&tier, buffers[0], size, 0);
    CHECK_EQ(tier_stats(&tier, 1).cached, 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_trim_frees_the_coldest)
{
    static const unsigned percents[] = {100, 1000, 50, 99, 34, 0, 0};
    static const size_t left[] = {10, 10, 5, 4, 1, 0, 0};
    test_allocator memory;
    mm_tier tier;
    void *buffers[10];
    size_t size, i;
    test_allocator_init(&memory);
    CHECK_EQ(tier_open(&tier, &memory.base, false), MM_STATUS_OK);
    for (i = 0; i < 10; i++) CHECK((buffers[i] = mm_tier_get(&tier, 16384, &size)) != NULL);
    for (i = 0; i < 10; i++) mm_tier_put(&tier, buffers[i], size, 0);
    for (i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        mm_tier_trim(&tier, percents[i]);
        CHECK_EQ(tier_stats(&tier, 1).cached, left[i]);
        CHECK_EQ(memory.live_blocks, left[i]);
        CHECK(mm_tier_check(&tier));
        if (left[i] != 0) CHECK(tier.classes[1].free_list == buffers[9]);
    }
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

/* An allocator that looks at what it is given back. */
static size_t freed_dirty_bytes;

static void inspecting_free(void *ptr, size_t size, void *user_data)
{
    const unsigned char *bytes = (const unsigned char *)ptr;
    size_t i;
    for (i = 0; i < size; i++) freed_dirty_bytes += bytes[i] != 0;
    test_free(ptr, size, user_data);
}

TEST(tier_wipes_what_is_dirty)
{
    test_allocator memory;
    mm_tier tier;
    unsigned char *buffer;
    void *below;
    size_t size;
    test_allocator_init(&memory);
    memory.base.free_fn = inspecting_free;
    CHECK_EQ(tier_open(&tier, &memory.base, true), MM_STATUS_OK);
    buffer = (unsigned char *)mm_tier_get(&tier, 4096, &size);
    below = mm_tier_get(&tier, 4096, &size);
    CHECK(buffer != NULL && below != NULL);
    mm_tier_put(&tier, below, size, 0); /* so that there is a link to hide */
    memset(buffer, 'x', size);
    mm_tier_put(&tier, buffer, size, 1000);
    CHECK(mm_tier_get(&tier, 4096, &size) == buffer);
    MMI_POOL_REVEAL(buffer, size);
    CHECK(is_zero(buffer, 1000)); /* the link that lay there as well */
    CHECK(buffer[1000] == 'x');
    mm_tier_put(&tier, buffer, size, SIZE_MAX); /* as much as there is */
    CHECK(mm_tier_get(&tier, 4096, &size) == buffer);
    MMI_POOL_REVEAL(buffer, size);
    CHECK(is_zero(buffer, size));
    mm_tier_put(&tier, buffer, size, 0);
    freed_dirty_bytes = 0;
    buffer = (unsigned char *)mm_tier_get(&tier, 100000, &size);
    CHECK(buffer != NULL);
    memset(buffer, 'x', size);
    mm_tier_put(&tier, buffer, size, size - 10);
    CHECK_EQ(freed_dirty_bytes, 10);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_without_wipe_leaves_bytes_alone)
{
    mm_tier tier;
    unsigned char *buffer;
    size_t size;
    CHECK_EQ(tier_open(&tier, NULL, false), MM_STATUS_OK);
    buffer = (unsigned char *)mm_tier_get(&tier, 4096, &size);
    CHECK(buffer != NULL);
    memset(buffer, 'x', size);
    mm_tier_put(&tier, buffer, size, size);
    CHECK(mm_tier_get(&tier, 4096, &size) == buffer);
    MMI_POOL_REVEAL(buffer, size);
    CHECK(buffer[sizeof(void *)] == 'x' && buffer[4095] == 'x');
    mm_tier_put(&tier, buffer, size, size);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_gives_up_its_cache_before_it_fails)
{
    mm_budget_desc limits = {0};
    mm_budget budget;
    mm_tier tier;
    const mm_allocator *a;
    void *small[4], *large, *block, *grown;
    size_t size, i;
    limits.limit = 65536 + 4096;
    mm_budget_init(&budget, &limits);
    CHECK_EQ(tier_open(&tier, mm_budget_allocator(&budget), false), MM_STATUS_OK);
    for (i = 0; i < 4; i++) CHECK((small[i] = mm_tier_get(&tier, 4096, &size)) != NULL);
    for (i = 1; i < 4; i++) mm_tier_put(&tier, small[i], 4096, 0);
    large = mm_tier_get(&tier, 65536, &size); /* fits only without the three */
    CHECK(large != NULL);
    CHECK_EQ(tier_stats(&tier, 0).cached, 0);
    CHECK_EQ(mm_budget_live(&budget), 65536 + 4096);
    CHECK(mm_tier_get(&tier, 4096, &size) == NULL);
    CHECK_EQ(tier_stats(&tier, 0).failures, 1);
    CHECK_EQ(tier_stats(&tier, 2).failures, 0);
    mm_tier_put(&tier, large, 65536, 0);
    a = mm_tier_allocator(&tier);
    mm_budget_set_limit(&budget, 65536 + 4096 + 1000);
    block = a->alloc_fn(1000, a->user_data);
    CHECK(block != NULL); /* a block that grows outside the classes finds room as well */
    CHECK_EQ(tier_stats(&tier, 2).cached, 1);
    grown = a->realloc_fn(block, 1000, 20000, a->user_data);
    CHECK(grown != NULL);
    CHECK_EQ(tier_stats(&tier, 2).cached, 0);
    CHECK(a->realloc_fn(grown, 20000, 70000, a->user_data) == NULL);
    CHECK_EQ(tier_stats(&tier, 3).failures, 1);
    a->free_fn(grown, 20000, a->user_data);
    mm_tier_put(&tier, small[0], 4096, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

typedef struct tier_entry {
    unsigned char *ptr;
    size_t size;
    uint64_t tag;
    int by_allocator;
} tier_entry;

/* Sizes near the classes and their halves, and any others. */
static size_t tier_random_size(uint64_t random)
{
    static const size_t base[] = {2048, 4096, 8192, 16384, 32768, 65536};
    size_t any = (size_t)(random >> 32) % 100000 + 1;
    return random % 4 == 0 ? any : base[(random >> 8) % 6] + (size_t)(random >> 16) % 3 - 1;
}

static void tier_model_step(mm_tier *tier, const mm_allocator *a, tier_entry *entry,
                            uint64_t random)
{
    size_t size = tier_random_size(random);
    if (entry->ptr == NULL) {
        entry->by_allocator = random >> 40 & 1;
        if (entry->by_allocator) entry->ptr = (unsigned char *)a->alloc_fn(size, a->user_data);
        else entry->ptr = (unsigned char *)mm_tier_get(tier, size, &size);
        CHECK(entry->ptr != NULL);
        CHECK_EQ((uintptr_t)entry->ptr % (2 * sizeof(void *)), 0);
    } else if (entry->by_allocator && (random >> 41 & 1)) {
        size_t kept = size < entry->size ? size : entry->size;
        CHECK(is_filled(entry->ptr, entry->size, entry->tag));
        entry->ptr = (unsigned char *)a->realloc_fn(entry->ptr, entry->size, size, a->user_data);
        CHECK(entry->ptr != NULL);
        CHECK(is_filled(entry->ptr, kept, entry->tag));
    } else {
        CHECK(is_filled(entry->ptr, entry->size, entry->tag));
        if (entry->by_allocator) a->free_fn(entry->ptr, entry->size, a->user_data);
        else mm_tier_put(tier, entry->ptr, entry->size, entry->size);
        entry->ptr = NULL;
        return;
    }
    entry->size = size;
    entry->tag = random;
    fill(entry->ptr, size, random);
    CHECK_POISONED(entry->ptr + size - 1, 0);
    if (entry->by_allocator && mmi_tier_near(tier, size)->size > size) {
        CHECK_POISONED(entry->ptr + size, 1);
    }
}

TEST(tier_against_a_model)
{
    enum { COUNT = 30 };
    tier_entry entries[COUNT] = {{NULL, 0, 0, 0}};
    uint64_t state = 5;
    const mm_allocator *a;
    test_allocator memory;
    mm_tier tier;
    size_t step, i, live = 0, bytes = 0;
    test_allocator_init(&memory);
    CHECK_EQ(tier_open(&tier, &memory.base, true), MM_STATUS_OK);
    a = mm_tier_allocator(&tier);
    for (step = 0; step < 4000; step++) {
        uint64_t random = test_random(&state);
        CHECK_SUB(tier_model_step(&tier, a, &entries[(random >> 50) % COUNT], random));
        if (step % 200 == 0) mm_tier_trim(&tier, (unsigned)(random >> 48) % 110);
        CHECK(mm_tier_check(&tier));
        for (i = live = bytes = 0; i < 4; i++) {
            live += tier_stats(&tier, i).live;
            bytes += tier_stats(&tier, i).bytes;
        }
        CHECK_EQ(bytes, memory.live_bytes);
        for (i = 0; i < COUNT; i++) live -= entries[i].ptr != NULL;
        CHECK_EQ(live, 0);
    }
    for (i = 0; i < COUNT; i++) {
        tier_entry *entry = &entries[i];
        if (entry->ptr == NULL) continue;
        if (entry->by_allocator) a->free_fn(entry->ptr, entry->size, a->user_data);
        else mm_tier_put(&tier, entry->ptr, entry->size, 0);
    }
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(tier_as_allocator)
{
    static const struct {
        size_t size, class_index;
    } cases[] = {{1, 3},     {2047, 3},  {2048, 0},  {4096, 0},  {4097, 3},  {8191, 3},  {8192, 1},
                 {16384, 1}, {16385, 3}, {32768, 2}, {65536, 2}, {65537, 3}, {200000, 3}};
    const mm_allocator *a;
    mm_tier tier;
    size_t i;
    CHECK_EQ(tier_open(&tier, NULL, false), MM_STATUS_OK);
    a = mm_tier_allocator(&tier);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size = cases[i].size;
        unsigned char *block = (unsigned char *)a->alloc_fn(size, a->user_data);
        CHECK(block != NULL);
        fill(block, size, i);
        CHECK_EQ(tier_stats(&tier, cases[i].class_index).live, 1);
        if (cases[i].class_index < 3 && tier.classes[cases[i].class_index].size > size) {
            CHECK_POISONED(block + size, 1);
        }
        a->free_fn(block, size, a->user_data);
        CHECK_EQ(tier_stats(&tier, cases[i].class_index).live, 0);
        if (cases[i].class_index < 3) CHECK_EQ(tier_stats(&tier, cases[i].class_index).cached, 1);
    }
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

/* A block that grows and shrinks through all kinds of sizes, the n-th allocation failing. */
static void tier_reallocs_with_failure(size_t n, int for_ever, size_t *failures)
{
    static const size_t sizes[] = {10, 2048, 4096, 5000, 16384, 9000, 70000, 90000, 65536, 1, 4096};
    const mm_allocator *a;
    test_allocator memory;
    mm_tier tier;
    unsigned char *block = NULL;
    size_t i, size = 0, refused = 0;
    test_allocator_init(&memory);
    CHECK_EQ(tier_open(&tier, &memory.base, false), MM_STATUS_OK);
    a = mm_tier_allocator(&tier);
    test_allocator_fail(&memory, n, for_ever);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *moved = a->realloc_fn(block, size, sizes[i], a->user_data);
        if (moved == NULL) {
            refused++;
            if (block != NULL) CHECK(is_filled(block, size, size));
            CHECK(mm_tier_check(&tier));
            continue;
        }
        block = (unsigned char *)moved;
        CHECK(size == 0 || is_filled(block, size < sizes[i] ? size : sizes[i], size));
        size = sizes[i];
        fill(block, size, size);
    }
    *failures = memory.failures;
    CHECK_EQ(refused, tier_stats(&tier, 0).failures + tier_stats(&tier, 1).failures +
                          tier_stats(&tier, 2).failures + tier_stats(&tier, 3).failures);
    if (block != NULL) a->free_fn(block, size, a->user_data);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(tier_each_allocation_fails)
{
    int for_ever;
    for (for_ever = 0; for_ever < 2; for_ever++) {
        size_t n, failures = 1;
        for (n = 1; failures > 0; n++) {
            CHECK_SUB(tier_reallocs_with_failure(n, for_ever, &failures));
        }
        CHECK(n > 5);
    }
}

TEST(tier_check_finds_damage)
{
    mm_tier tier;
    void *buffer;
    size_t size;
    CHECK_EQ(tier_open(&tier, NULL, false), MM_STATUS_OK);
    buffer = mm_tier_get(&tier, 4096, &size);
    CHECK(buffer != NULL);
    mm_tier_put(&tier, buffer, size, 0);
    mmi_pool_set_link(buffer, buffer, size); /* a circle, as a double put makes */
    CHECK(!mm_tier_check(&tier));
    mmi_pool_set_link(buffer, NULL, size);
    tier.classes[0].cached = 0;
    CHECK(!mm_tier_check(&tier));
    tier.classes[0].cached = 1;
    tier.classes[0].keep = 0;
    CHECK(!mm_tier_check(&tier));
    tier.classes[0].keep = 1;
    CHECK(mm_tier_check(&tier));
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_misuse_is_found)
{
    static mm_tier tier;
    static mm_pool_stats stats;
    static void *buffer;
    size_t size;
    CHECK_EQ(tier_open(&tier, NULL, false), MM_STATUS_OK);
    buffer = mm_tier_get(&tier, 4000, &size);
    CHECK(buffer != NULL);
    CHECK_MISUSE(mm_tier_put(&tier, buffer, 4000, 0)); /* what was asked for, not what was got */
    CHECK_MISUSE(mm_tier_put(&tier, buffer, 16384, 0));
    CHECK_MISUSE(mm_tier_get_stats(&tier, 4, &stats));
    mm_tier_put(&tier, buffer, 4096, 0);
    CHECK_MISUSE(mm_tier_put(&tier, buffer, 4096, 0));
    CHECK(mm_tier_check(&tier));
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

/* ---- budget ---- */

static void budget_open(mm_budget *budget, size_t limit, mm_budget *parent,
                        const mm_allocator *allocator)
{
    mm_budget_desc desc = {0};
    desc.name = "test";
    desc.limit = limit;
    desc.parent = parent;
    desc.allocator = allocator;
    memset(budget, 0xEE, sizeof(*budget));
    mm_budget_init(budget, &desc);
}

static mm_budget_stats budget_stats(const mm_budget *budget)
{
    mm_budget_stats stats;
    mm_budget_get_stats(budget, &stats);
    return stats;
}

TEST(budget_counts_up_to_its_limit)
{
    mm_budget budget;
    budget_open(&budget, 100, NULL, NULL);
    CHECK_STR(budget.name, "test");
    CHECK_EQ(mm_budget_charge(&budget, 60), MM_STATUS_OK);
    CHECK_EQ(mm_budget_charge(&budget, 41), MM_STATUS_LIMIT);
    CHECK_EQ(mm_budget_charge(&budget, SIZE_MAX), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_budget_charge(&budget, SIZE_MAX - 60), MM_STATUS_LIMIT);
    CHECK_EQ(mm_budget_live(&budget), 60);
    CHECK_EQ(mm_budget_charge(&budget, 40), MM_STATUS_OK);
    CHECK_EQ(mm_budget_charge(&budget, 1), MM_STATUS_LIMIT);
    CHECK_EQ(mm_budget_charge(&budget, 0), MM_STATUS_OK);
    mm_budget_release(&budget, 70);
    mm_budget_release(&budget, 0);
    CHECK_EQ(mm_budget_live(&budget), 30);
    CHECK_EQ(mm_budget_peak(&budget), 100);
    CHECK_EQ(mm_budget_limit(&budget), 100);
    CHECK_EQ(budget_stats(&budget).live, 30);
    CHECK_EQ(budget_stats(&budget).peak, 100);
    CHECK_EQ(budget_stats(&budget).limit, 100);
    CHECK_EQ(budget_stats(&budget).failures, 4);
    CHECK_EQ(mm_budget_deinit(&budget), 30);
}

TEST(budget_misuse_is_found)
{
    static mm_budget budget;
    budget_open(&budget, 100, NULL, NULL);
    CHECK_EQ(mm_budget_charge(&budget, 10), MM_STATUS_OK);
    CHECK_MISUSE(mm_budget_release(&budget, 11));
    (void)mm_budget_deinit(&budget);
}

TEST(budget_near_the_end_of_size_t)
{
    mm_budget root, child;
    budget_open(&root, 0, NULL, NULL);
    budget_open(&child, SIZE_MAX, &root, NULL);
    CHECK_EQ(mm_budget_charge(&child, SIZE_MAX), MM_STATUS_OK);
    CHECK_EQ(mm_budget_live(&root) == SIZE_MAX, 1);
    CHECK_EQ(mm_budget_charge(&child, 1), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_budget_charge(&root, 1), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_budget_percent(&child), 100);
    mm_budget_release(&child, SIZE_MAX - 10);
    CHECK_EQ(mm_budget_charge(&child, SIZE_MAX - 9), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_budget_live(&child), 10);
    CHECK_EQ(mm_budget_live(&root), 10);
    CHECK_EQ(mm_budget_charge(&child, SIZE_MAX - 10), MM_STATUS_OK);
    mm_budget_release(&child, SIZE_MAX);
    CHECK_EQ(mm_budget_deinit(&child), 0);
    CHECK_EQ(mm_budget_deinit(&root), 0);
}

TEST(budget_tree_charges_all_or_none)
{
    mm_budget process, worker, connection, other;
    budget_open(&process, 100, NULL, NULL);
    budget_open(&worker, 80, &process, NULL);
    budget_open(&connection, 50, &worker, NULL);
    budget_open(&other, 0, &process, NULL);
    CHECK_EQ(mm_budget_charge(&connection, 50), MM_STATUS_OK);
    CHECK_EQ(mm_budget_charge(&connection, 1), MM_STATUS_LIMIT);
    CHECK_EQ(mm_budget_charge(&worker, 31), MM_STATUS_LIMIT);
    CHECK_EQ(mm_budget_charge(&other, 45), MM_STATUS_OK);
    mm_budget_release(&connection, 30);
    CHECK_EQ(mm_budget_charge(&connection, 26), MM_STATUS_OK);
    mm_budget_release(&connection, 6);
    CHECK_EQ(mm_budget_charge(&other, 20), MM_STATUS_LIMIT);  /* by the process */
    CHECK_EQ(mm_budget_charge(&worker, 30), MM_STATUS_LIMIT); /* by the process */
    CHECK_EQ(mm_budget_charge(&connection, 10), MM_STATUS_OK);
    CHECK_EQ(mm_budget_live(&connection), 50);
    CHECK_EQ(mm_budget_live(&worker), 50);
    CHECK_EQ(mm_budget_live(&other), 45);
    CHECK_EQ(mm_budget_live(&process), 95);
    CHECK_EQ(mm_budget_peak(&other), 45); /* what was refused above is no peak */
    CHECK_EQ(mm_budget_peak(&worker), 50);
    CHECK_EQ(budget_stats(&connection).failures, 1);
    CHECK_EQ(budget_stats(&worker).failures, 1);
    CHECK_EQ(budget_stats(&other).failures, 0);
    CHECK_EQ(budget_stats(&process).failures, 2);
    CHECK_EQ(mm_budget_deinit(&connection), 50); /* stays charged above */
    CHECK_EQ(mm_budget_live(&worker), 50);
    mm_budget_release(&worker, 50);
    CHECK_EQ(mm_budget_deinit(&worker), 0);
    CHECK_EQ(mm_budget_deinit(&other), 45);
    CHECK_EQ(mm_budget_deinit(&process), 45);
}

TEST(budget_percent_and_new_limits)
{
    mm_budget budget;
    budget_open(&budget, 0, NULL, NULL);
    CHECK_EQ(mm_budget_charge(&budget, 700), MM_STATUS_OK);
    CHECK_EQ(mm_budget_percent(&budget), 0);
    mm_budget_set_limit(&budget, 1000);
    CHECK_EQ(mm_budget_percent(&budget), 70);
    mm_budget_set_limit(&budget, 1001);
    CHECK_EQ(mm_budget_percent(&budget), 69);
    mm_budget_set_limit(&budget, 350);
    CHECK_EQ(mm_budget_percent(&budget), 200);
    CHECK_EQ(mm_budget_charge(&budget, 1), MM_STATUS_LIMIT);
    CHECK_EQ(mm_budget_charge(&budget, 0), MM_STATUS_OK);
    mm_budget_set_limit(&budget, 1);
    CHECK_EQ(mm_budget_percent(&budget), 70000);
    mm_budget_set_limit(&budget, SIZE_MAX);
    CHECK_EQ(mm_budget_percent(&budget), 0);
    CHECK_EQ(mm_budget_charge(&budget, SIZE_MAX - 700), MM_STATUS_OK);
    CHECK_EQ(mm_budget_percent(&budget), 100);
    mm_budget_release(&budget, SIZE_MAX / 4);
    CHECK(mm_budget_percent(&budget) == 75 || mm_budget_percent(&budget) == 74);
    mm_budget_set_limit(&budget, 1);
    CHECK(mm_budget_percent(&budget) >= 4294967200u);
    mm_budget_set_limit(&budget, 0);
    CHECK_EQ(mm_budget_percent(&budget), 0);
}

TEST(budget_as_allocator)
{
    mm_budget root, child;
    test_allocator memory;
    const mm_allocator *a;
    unsigned char *block, *moved;
    test_allocator_init(&memory);
    budget_open(&root, 1000, NULL, &memory.base);
    budget_open(&child, 0, &root, NULL); /* takes its parent's memory */
    a = mm_budget_allocator(&child);
    block = (unsigned char *)a->alloc_fn(600, a->user_data);
    CHECK(block != NULL);
    CHECK_EQ(memory.live_bytes, 600);
    CHECK_EQ(mm_budget_live(&root), 600);
    CHECK(a->alloc_fn(401, a->user_data) == NULL);
    CHECK_EQ(memory.calls, 1); /* not even asked */
    fill(block, 600, 3);
    CHECK(a->realloc_fn(block, 600, 1001, a->user_data) == NULL);
    CHECK_EQ(mm_budget_live(&child), 600);
    CHECK(is_filled(block, 600, 3));
    moved = (unsigned char *)a->realloc_fn(block, 600, 1000, a->user_data);
    CHECK(moved != NULL && is_filled(moved, 600, 3));
    CHECK_EQ(mm_budget_live(&root), 1000);
    block = (unsigned char *)a->realloc_fn(moved, 1000, 100, a->user_data);
    CHECK(block != NULL && is_filled(block, 100, 3));
    CHECK_EQ(mm_budget_live(&root), 100);
    CHECK_EQ(mm_budget_live(&child), 100);
    moved = (unsigned char *)a->realloc_fn(NULL, 0, 50, a->user_data);
    CHECK(moved != NULL);
    CHECK_EQ(mm_budget_live(&root), 150);
    a->free_fn(moved, 50, a->user_data);
    a->free_fn(block, 100, a->user_data);
    CHECK_EQ(mm_budget_deinit(&child), 0);
    CHECK_EQ(mm_budget_deinit(&root), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(budget_survives_memory_refused)
{
    mm_budget root, child;
    test_allocator memory;
    const mm_allocator *a;
    void *block;
    test_allocator_init(&memory);
    budget_open(&root, 0, NULL, &memory.base);
    budget_open(&child, 5000, &root, NULL);
    a = mm_budget_allocator(&child);
    test_allocator_fail(&memory, 1, 0);
    CHECK(a->alloc_fn(100, a->user_data) == NULL);
    CHECK_EQ(mm_budget_live(&child), 0);
    block = a->alloc_fn(100, a->user_data);
    CHECK(block != NULL);
    fill(block, 100, 1);
    test_allocator_fail(&memory, 1, 1);
    CHECK(a->realloc_fn(block, 100, 300, a->user_data) == NULL);
    CHECK(a->realloc_fn(block, 100, 50, a->user_data) == NULL); /* a shrink can fail as well */
    CHECK(is_filled(block, 100, 1));
    CHECK_EQ(mm_budget_live(&child), 100);
    CHECK_EQ(mm_budget_live(&root), 100);
    CHECK_EQ(budget_stats(&child).failures, 3);
    CHECK_EQ(budget_stats(&root).failures, 0);
    a->free_fn(block, 100, a->user_data);
    CHECK_EQ(mm_budget_deinit(&child), 0);
    CHECK_EQ(mm_budget_deinit(&root), 0);
}

/* What stands on a budget is charged to the byte, and refused when it is used up. */
TEST(budget_under_a_slab)
{
    mm_budget budget;
    test_allocator memory;
    mm_slab slab;
    mm_handle handle = 0, last = 0;
    void *object;
    uint32_t count;
    test_allocator_init(&memory);
    budget_open(&budget, 50000, NULL, &memory.base);
    CHECK_EQ(slab_open(&slab, 200, 0, 0, 0, mm_budget_allocator(&budget)), MM_STATUS_OK);
    while ((handle = mm_slab_insert(&slab, &object)) != 0) {
        CHECK_EQ(mm_budget_live(&budget), memory.live_bytes);
        last = handle;
    }
    count = mm_slab_count(&slab);
    CHECK(count > 100 && count < 250);
    CHECK_EQ(mm_slab_insert(&slab, &object), 0);
    CHECK_EQ(mm_slab_remove(&slab, last), MM_STATUS_OK);
    CHECK(mm_slab_insert(&slab, &object) != 0);
    CHECK(mm_slab_check(&slab));
    mm_slab_deinit(&slab);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

enum { THREADS = 4 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held until all threads exist */

static void pass_gate(void)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

typedef struct budget_thread {
    pthread_t thread;
    mm_budget *root;
    mm_budget own;
    size_t charged, refused, over;
} budget_thread;

/* Charges one byte at a time until it is refused. */
static void *greedy_thread(void *argument)
{
    budget_thread *self = (budget_thread *)argument;
    pass_gate();
    while (mm_budget_charge(&self->own, 1) == MM_STATUS_OK) self->charged++;
    return NULL;
}

/* Charges and releases at random, and watches that the root is never over its limit. */
static void *restless_thread(void *argument)
{
    budget_thread *self = (budget_thread *)argument;
    const mm_allocator *a = mm_budget_allocator(&self->own);
    uint64_t state = (uint64_t)(uintptr_t)self | 1;
    size_t held[16] = {0}, step, i;
    void *block[16] = {NULL};
    pass_gate();
    for (step = 0; step < 20000; step++) {
        i = (size_t)(test_random(&state) % 16);
        if (held[i] != 0 && i < 2) a->free_fn(block[i], held[i], a->user_data);
        else if (held[i] != 0) mm_budget_release(&self->own, held[i]);
        if (held[i] != 0) {
            held[i] = 0;
            continue;
        }
        held[i] = (size_t)(test_random(&state) % 200) + 1;
        if (i < 2) block[i] = a->alloc_fn(held[i], a->user_data);
        if (i < 2 ? block[i] == NULL : mm_budget_charge(&self->own, held[i]) != MM_STATUS_OK) {
            held[i] = 0;
            self->refused++;
        }
        self->over += mm_budget_live(self->root) > mm_budget_limit(self->root);
        self->over += mm_budget_live(&self->own) > mm_budget_limit(&self->own);
    }
    for (i = 0; i < 16; i++) {
        if (i < 2 && held[i] != 0) a->free_fn(block[i], held[i], a->user_data);
        else mm_budget_release(&self->own, held[i]);
    }
    return NULL;
}

static void run_threads(budget_thread *threads, mm_budget *root, size_t limit,
                        void *(*body)(void *))
{
    size_t i;
    for (i = 0; i < THREADS; i++) {
        threads[i].root = root;
        threads[i].charged = threads[i].refused = threads[i].over = 0;
        budget_open(&threads[i].own, limit, root, NULL);
    }
    pthread_mutex_lock(&gate);
    for (i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&threads[i].thread, NULL, body, &threads[i]), 0);
    }
    pthread_mutex_unlock(&gate);
    for (i = 0; i < THREADS; i++) CHECK_EQ(pthread_join(threads[i].thread, NULL), 0);
}

TEST(budget_is_exact_under_threads)
{
    static budget_thread threads[THREADS];
    mm_budget root;
    size_t i, charged = 0;
    budget_open(&root, 1000000, NULL, NULL);
    CHECK_SUB(run_threads(threads, &root, 0, greedy_thread));
    for (i = 0; i < THREADS; i++) {
        CHECK_EQ(mm_budget_live(&threads[i].own), threads[i].charged);
        charged += threads[i].charged;
    }
    CHECK_EQ(charged, 1000000);
    CHECK_EQ(mm_budget_live(&root), 1000000);
    CHECK_EQ(mm_budget_peak(&root), 1000000);
    CHECK_EQ(budget_stats(&root).failures, THREADS);
}

TEST(budget_is_never_over_under_threads)
{
    static budget_thread threads[THREADS];
    mm_budget root;
    size_t i, refused = 0;
    budget_open(&root, 3000, NULL, NULL);
    CHECK_SUB(run_threads(threads, &root, 1200, restless_thread));
    for (i = 0; i < THREADS; i++) {
        CHECK_EQ(threads[i].over, 0);
        refused += threads[i].refused;
        refused -= budget_stats(&threads[i].own).failures;
        CHECK(mm_budget_peak(&threads[i].own) <= 1200);
        CHECK_EQ(mm_budget_deinit(&threads[i].own), 0);
    }
    CHECK_EQ(refused, budget_stats(&root).failures);
    CHECK(mm_budget_peak(&root) <= 3000);
    CHECK_EQ(mm_budget_deinit(&root), 0);
}

TEST_MAIN(T(pool_desc_is_checked), T(pool_of_zero_bytes_refuses), T(pool_sizes_and_alignments),
          T(pool_last_put_is_first_out), T(pool_default_segment_is_16_kib), T(pool_against_a_model),
          T(pool_each_allocation_fails), T(pool_as_allocator), T(pool_misuse_is_found),
          T(pool_check_finds_damage), T(slab_desc_is_checked), T(slab_of_zero_bytes_refuses),
          T(slab_stale_handles_are_told), T(slab_forged_handles_are_told), T(slab_capacity_is_kept),
          T(slab_wrapped_slot_is_retired), T(slab_index_space_ends),
          T(slab_objects_are_aligned_and_cheap), T(slab_against_a_model),
          T(slab_removal_while_walking), T(slab_each_allocation_fails), T(slab_check_finds_damage),
          T(tier_desc_is_checked), T(tier_defaults), T(tier_sizes), T(tier_huge_requests_fail),
          T(tier_of_zero_bytes_serves_directly), T(tier_keeps_what_it_may_last_put_first),
          T(tier_trim_frees_the_coldest), T(tier_wipes_what_is_dirty),
          T(tier_without_wipe_leaves_bytes_alone), T(tier_gives_up_its_cache_before_it_fails),
          T(tier_against_a_model), T(tier_as_allocator), T(tier_each_allocation_fails),
          T(tier_check_finds_damage), T(tier_misuse_is_found), T(budget_counts_up_to_its_limit),
          T(budget_near_the_end_of_size_t), T(budget_tree_charges_all_or_none),
          T(budget_percent_and_new_limits), T(budget_as_allocator),
          T(budget_survives_memory_refused), T(budget_under_a_slab), T(budget_misuse_is_found),
          T(budget_is_exact_under_threads), T(budget_is_never_over_under_threads))
