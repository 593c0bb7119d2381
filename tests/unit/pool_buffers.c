/* mm_pool.h: tiered buffers on several threads, budgets that reclaim, pressure, statistics, sizes.
 *
 *     build/tests/unit/pool_buffers soak 100000000        the soak with so many operations */
#include <stddef.h>

#if defined(__linux__)
static int advise(void *ptr, size_t size, int advice);
#define MM_SYS_MADVISE(ptr, size, advice) advise(ptr, size, advice)
#endif
#include "../pool_tools.h"

#include <ctype.h>
#include <pthread.h>

enum { THREADS = 2 };

static size_t thread_errors; /* atomic */

static void thread_check(int condition)
{
    if (!condition) (void)mmi_atomic_add(&thread_errors, 1);
}

static void run_threads(void *(*body)(void *), void *arguments, size_t stride)
{
    pthread_t threads[THREADS];
    size_t i;
    thread_errors = 0;
    for (i = 0; i < THREADS; i++) {
        void *argument = (char *)arguments + i * stride;
        if (pthread_create(&threads[i], NULL, body, argument) != 0) abort();
    }
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static mm_tier_stats tier_stats(mm_tier *tier, size_t index)
{
    mm_tier_stats stats;
    mm_tier_get_stats(tier, index, &stats);
    return stats;
}

/* A tier of one class. */
static void tier_open(mm_tier *tier, size_t size, uint32_t keep, uint32_t central,
                      const mm_allocator *allocator)
{
    mm_tier_desc desc = {0};
    desc.class_size[0] = size;
    desc.class_keep[0] = keep;
    desc.class_central[0] = central;
    desc.allocator = allocator;
    memset(tier, 0xEE, sizeof(*tier));
    CHECK_EQ(mm_tier_init(tier, &desc), MM_STATUS_OK);
}

#define BUFFERS 2000
static void *buffers[BUFFERS];

static void get_many(mm_tier_cache *cache, size_t count, size_t size)
{
    size_t i, got;
    for (i = 0; i < count; i++) {
        buffers[i] = mm_tier_cache_get(cache, size, &got);
        CHECK(buffers[i] != NULL);
        memset(buffers[i], (int)i, 64);
    }
}

static void put_many(mm_tier_cache *cache, size_t count, size_t size)
{
    size_t i;
    for (i = 0; i < count; i++) mm_tier_cache_put(cache, buffers[i], size, 0);
}

/* ---- tier: lists ---- */

TEST(tier_has_a_class_for_a_tls_record)
{
    static mm_tier tier;
    mm_tier_desc desc = {0};
    size_t size, i;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    void *record = mm_tier_get(&tier, 16384 + 256 + 5, &size);
    CHECK(record != NULL);
    CHECK_EQ(size, MM_TIER_TLS_RECORD);
    mm_tier_put(&tier, record, size, 0);
    for (i = 0; i < 4; i++) { /* the seed's limits; what the TLS class has is as many bytes */
        static const size_t keep[] = {256, 64, 60, 16}, central[] = {1024, 256, 240, 64};
        CHECK_EQ(tier.own.rows[i].keep, keep[i]);
        CHECK(tier.shelves[i].used * tier.own.rows[i].batch <= central[i]);
        CHECK(tier.shelves[i].used * tier.own.rows[i].batch > central[i] * 9 / 10);
    }
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_wipes_in_known_ways)
{
    mm_tier_desc desc = {0};
    mm_tier tier;
    desc.wipe = (mm_tier_wipe)(MM_TIER_WIPE_SECRET + 1);
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_INVALID);
    CHECK(is_zero(&tier, sizeof(tier)));
}

TEST(tier_cached_max_does_not_wrap)
{
    mm_tier_desc desc = {0};
    CHECK_EQ(mm_tier_cached_max(&desc, 1), 1048576 * 3 + 60 * 17408);
    desc.class_size[0] = SIZE_MAX / 2;
    desc.class_keep[0] = UINT32_MAX - 1;
    CHECK_EQ(mm_tier_cached_max(&desc, UINT32_MAX), UINT64_MAX);
    CHECK_EQ(mm_tier_cached_max(&desc, 2), UINT64_MAX);
    desc.class_size[0] = 4096;
    CHECK_EQ(mm_tier_cached_max(&desc, UINT32_MAX), UINT64_MAX);
    desc.class_keep[0] = 2;
    CHECK_EQ(mm_tier_cached_max(&desc, UINT32_MAX), (UINT32_MAX * (uint64_t)2 + 8) * 4096);
}

TEST(tier_limits_of_all_sizes)
{
    static const uint32_t keeps[] = {
        MM_TIER_KEEP_NONE, 1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100, 4096};
    static mm_tier tier;
    static mm_tier_cache cache;
    test_allocator memory;
    size_t k, c, i, got;
    test_allocator_init(&memory);
    for (k = 0; k < sizeof(keeps) / sizeof(keeps[0]); k++) {
        for (c = 0; c < sizeof(keeps) / sizeof(keeps[0]); c++) {
            size_t keep = keeps[k] == MM_TIER_KEEP_NONE ? 0 : keeps[k];
            size_t central = keeps[c] == MM_TIER_KEEP_NONE ? 0 : keeps[c];
            tier_open(&tier, 64, keeps[k], keeps[c], &memory.base);
            mm_tier_cache_init(&cache, &tier);
            for (i = 0; i < 300; i++) buffers[i] = mm_tier_cache_get(&cache, 64, &got);
            for (i = 0; i < 300; i++) {
                mm_tier_cache_put(&cache, buffers[i], 64, 64);
                CHECK(mmi_tier_cached(&cache.rows[0]) <= keep);
                CHECK(tier.shelves[0].count <= central);
            }
            CHECK(mm_tier_check(&tier));
            CHECK_EQ(tier_stats(&tier, 0).live, 0);
            CHECK_EQ(tier_stats(&tier, 0).cached, memory.live_blocks);
            if (keep + central >= 300 && central <= 32 * keep) CHECK(memory.live_blocks > 260);
            mm_tier_cache_deinit(&cache);
            CHECK(tier.shelves[0].count <= central);
            CHECK_EQ(mm_tier_deinit(&tier), 0);
            CHECK_EQ(memory.live_blocks, 0);
        }
    }
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(tier_order_across_magazines)
{
    static mm_tier tier;
    size_t keep, i, size;
    tier_open(&tier, 4096, 256, 0, NULL);
    for (keep = 257; keep-- > 0;) {
        CHECK_SUB(get_many(&tier.own, 256, 4096));
        put_many(&tier.own, 256, 4096);
        CHECK_EQ(tier_stats(&tier, 0).cached, 256);
        CHECK_EQ(mmi_tier_cut(&tier.own, &tier.own.rows[0], keep), 256 - keep);
        CHECK(mm_tier_check(&tier));
        for (i = 256; i > 256 - keep; i--) { /* the coldest have gone, wherever the cut was */
            CHECK(mm_tier_get(&tier, 4096, &size) == buffers[i - 1]);
        }
        for (i = 256; i > 256 - keep; i--) mm_tier_put(&tier, buffers[i - 1], 4096, 0);
        CHECK(mm_tier_check(&tier));
    }
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

/* A tier with classes, some of which the standard ones have too, at another place. */
static void check_known_sizes(const size_t *classes, size_t count)
{
    static mm_tier tier;
    mm_tier_desc desc = {0};
    size_t round, size;
    void *p;
    memcpy(desc.class_size, classes, count * sizeof(classes[0]));
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    for (round = 0; round < 3; round++) { /* fetched, and twice from the front */
#define CHECK_KNOWN(known) \
    do { \
        size_t wanted = known, expected = known, i; \
        for (i = count; i-- > 0;) { \
            if (classes[i] >= wanted) expected = classes[i]; \
        } \
        p = mm_tier_get(&tier, known, &size); \
        CHECK_EQ(size, expected != 0 ? expected : 1); \
        memset(p, 1, size); \
        mm_tier_put(&tier, p, size, size); \
        if (expected != (known)) break; \
        p = mm_tier_get(&tier, known, &size); /* both as a constant */ \
        CHECK_EQ(size, known); \
        mm_tier_put(&tier, p, known, 0); \
    } while (0)
        CHECK_KNOWN(0);
        CHECK_KNOWN(1);
        CHECK_KNOWN(256);
        CHECK_KNOWN(257);
        CHECK_KNOWN(4095);
        CHECK_KNOWN(4096);
        CHECK_KNOWN(4097);
        CHECK_KNOWN(16384);
        CHECK_KNOWN(MM_TIER_TLS_RECORD);
        CHECK_KNOWN(20000);
        CHECK_KNOWN(65536);
        CHECK_KNOWN(65537);
        CHECK_KNOWN(100000);
        CHECK_KNOWN(131072);
        CHECK_KNOWN(1048576);
        CHECK_KNOWN(1048577);
#undef CHECK_KNOWN
        CHECK(mm_tier_check(&tier));
    }
    for (size = 0; size <= count; size++) CHECK_EQ(tier_stats(&tier, size).live, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_sizes_that_the_compiler_knows)
{
    static const size_t standard[] = {4096, 16384, MM_TIER_TLS_RECORD, 65536};
    static const size_t reversed[] = {100, 200, 300, 4096, 16384, MM_TIER_TLS_RECORD, 20000, 65536};
    static const size_t few[] = {16384}, wide[] = {256, 100000, 1048576};
    CHECK_SUB(check_known_sizes(standard, 4));
    CHECK_SUB(check_known_sizes(reversed, 8));
    CHECK_SUB(check_known_sizes(few, 1));
    CHECK_SUB(check_known_sizes(wide, 3));
}

TEST(tier_finds_the_smallest_class_of_any_size)
{
    static const size_t classes[] = {64, 256, 257, 1000, 5000, 65536, 70000, 300000};
    static mm_tier tier;
    mm_tier_desc desc = {0};
    size_t asked, i = 0;
    memcpy(desc.class_size, classes, sizeof(classes));
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    for (asked = 0; asked <= 400000; asked++) {
        while (i < 8 && classes[i] < asked) i++;
        CHECK(mmi_tier_find(&tier.own, asked) == &tier.own.rows[i]);
    }
    CHECK(mmi_tier_find(&tier.own, SIZE_MAX) == &tier.own.rows[8]);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

/* The links of buffers behind the front are addresses, and no business of who gets them. */
TEST(tier_wipes_its_own_links)
{
    static mm_tier tier;
    mm_tier_desc desc = {0};
    size_t i, size;
    desc.class_size[0] = 64;
    desc.class_keep[0] = 200;
    desc.wipe = MM_TIER_WIPE_ON_PUT;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_SUB(get_many(&tier.own, 200, 64));
    for (i = 0; i < 200; i++) mm_tier_put(&tier, buffers[i], 64, 64);
    CHECK(tier.own.rows[0].batches != NULL && tier.own.rows[0].listed > 0);
    for (i = 200; i-- > 0;) {
        CHECK(mm_tier_get(&tier, 64, &size) == buffers[i]); /* the last one first, all the way */
        MMI_POOL_REVEAL(buffers[i], 64); /* Valgrind has it as indeterminate, as is promised */
        CHECK(is_zero(buffers[i], 64));
    }
    for (i = 0; i < 200; i++) mm_tier_put(&tier, buffers[i], 64, 0);
    CHECK(mm_tier_check(&tier));
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

/* The short way must not cover up a buffer that is put when none is out. */
TEST(tier_alone_finds_a_put_too_many)
{
    static mm_tier tier;
    static void *buffer;
    size_t i;
    tier_open(&tier, 64, 200, 0, NULL);
    CHECK_SUB(get_many(&tier.own, 100, 64));
    buffer = buffers[99];
    put_many(&tier.own, 100, 64);
    CHECK_MISUSE(mm_tier_put(&tier, buffer, 64, 0));
    CHECK_SUB(get_many(&tier.own, 40, 64)); /* through the front and beyond, and back */
    for (i = 40; i-- > 0;) mm_tier_put(&tier, buffers[i], 64, 0);
    CHECK_MISUSE(mm_tier_put(&tier, buffer, 64, 0));
    CHECK(mm_tier_check(&tier));
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_peak_is_exact_on_one_thread)
{
    static mm_tier tier;
    uint64_t state = 3;
    size_t step, live = 0, peak = 0, size;
    tier_open(&tier, 64, 40, 0, NULL);
    for (step = 0; step < 50000; step++) {
        uint64_t random = test_random(&state);
        size_t most = step % 5000 < 4000 ? 30 : 150;
        if (random >> 60 < 8 && live < most) {
            CHECK((buffers[live++] = mm_tier_get(&tier, 64, &size)) != NULL);
            if (live > peak) peak = live;
        } else if (live > 0) {
            mm_tier_put(&tier, buffers[--live], 64, 0);
        }
        CHECK_EQ(tier_stats(&tier, 0).live, live);
        CHECK_EQ(tier_stats(&tier, 0).peak, peak);
        if (random % 500 == 0) mm_tier_trim(&tier, (unsigned)(random >> 32) % 110);
        if (random % 501 == 0) (void)mm_tier_maintain(&tier, 0);
    }
    CHECK(peak > 20);
    while (live > 0) mm_tier_put(&tier, buffers[--live], 64, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_tells_its_waste)
{
    static mm_tier tier;
    size_t size;
    tier_open(&tier, 4096, 0, 0, NULL);
    buffers[0] = mm_tier_get(&tier, 1096, &size);
    CHECK_EQ(tier_stats(&tier, 0).waste, 3000);
    buffers[1] = mm_tier_get(&tier, 4096, &size);
    CHECK_EQ(tier_stats(&tier, 0).waste, 3000);
    mm_tier_put(&tier, buffers[0], size, 0);
    CHECK_EQ(tier_stats(&tier, 0).waste, 1500);
    mm_tier_put(&tier, buffers[1], size, 0);
    CHECK_EQ(tier_stats(&tier, 0).waste, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

/* ---- tier: several caches ---- */

TEST(tier_cache_hands_everything_back)
{
    static mm_tier tier;
    static mm_tier_cache a, b;
    test_allocator memory;
    test_allocator_init(&memory);
    tier_open(&tier, 4096, 100, 400, &memory.base);
    mm_tier_cache_init(&a, &tier);
    CHECK_SUB(get_many(&a, 90, 4096));
    CHECK_EQ(tier_stats(&tier, 0).live, 90);
    put_many(&a, 90, 4096);
    CHECK_EQ(tier_stats(&tier, 0).cached, 90);
    CHECK_EQ(tier_stats(&tier, 0).central, 0);
    mm_tier_cache_deinit(&a);
    CHECK(is_zero(&a, sizeof(a)));
    CHECK_EQ(tier_stats(&tier, 0).central, 90); /* the last, smaller magazine as well */
    CHECK_EQ(tier_stats(&tier, 0).live, 0);
    CHECK_EQ(tier_stats(&tier, 0).peak, 90);
    CHECK(mm_tier_check(&tier));
    mm_tier_cache_init(&b, &tier);
    memory.calls = 0;
    CHECK_SUB(get_many(&b, 90, 4096));
    CHECK_EQ(memory.calls, 0); /* served with what the other left */
    CHECK_EQ(tier_stats(&tier, 0).central, 0);
    mm_tier_cache_deinit(&b); /* its buffers are still out: the tier's thread puts them */
    CHECK_EQ(tier_stats(&tier, 0).live, 90);
    put_many(&tier.own, 90, 4096);
    CHECK_EQ(tier_stats(&tier, 0).live, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(memory.live_blocks, 0);
}

TEST(tier_cache_outlives_its_tier)
{
    static mm_tier tier, never; /* all zero: static */
    static mm_tier_cache a, untouched, zero;
    test_allocator memory;
    void *buffer;
    size_t size;
    test_allocator_init(&memory);
    mm_tier_cache_deinit(&zero);
    tier_open(&tier, 4096, 100, 400, &memory.base);
    mm_tier_cache_init(&a, &tier);
    mm_tier_cache_init(&untouched, &tier);
    CHECK_SUB(get_many(&a, 50, 4096));
    put_many(&a, 49, 4096);
    CHECK_EQ(mm_tier_deinit(&tier), 1);
    CHECK_EQ(memory.live_blocks, 1);
    memory.base.free_fn(buffers[49], 4096, &memory);
    CHECK(is_zero(&a, sizeof(a)));
    mm_tier_cache_deinit(&a);
    mm_tier_cache_deinit(&untouched);
    buffer = mm_tier_cache_get(&a, 100, &size); /* like a tier of all zero */
    CHECK(buffer != NULL);
    CHECK_EQ(size, 100);
    mm_tier_cache_put(&a, buffer, size, 0);
    mm_tier_cache_init(&a, &never); /* a tier that was never initialised passes all on as well */
    buffer = mm_tier_cache_get(&a, 100, &size);
    CHECK(buffer != NULL);
    CHECK_EQ(tier_stats(&never, 0).live, 1);
    mm_tier_cache_put(&a, buffer, size, 0);
    mm_tier_cache_deinit(&a);
    CHECK(mm_tier_check(&never));
    CHECK_EQ(mm_tier_deinit(&never), 0);
}

TEST(tier_buffers_change_caches)
{
    static mm_tier tier;
    static mm_tier_cache a, b;
    test_allocator memory;
    size_t round, size;
    void *direct;
    test_allocator_init(&memory);
    tier_open(&tier, 4096, 64, 256, &memory.base);
    mm_tier_cache_init(&a, &tier);
    mm_tier_cache_init(&b, &tier);
    for (round = 0; round < 100; round++) {
        CHECK_SUB(get_many(&a, 200, 4096));
        CHECK_EQ(tier_stats(&tier, 0).live, 200);
        put_many(&b, 200, 4096);
        CHECK_EQ(tier_stats(&tier, 0).live, 0);
        CHECK(mm_tier_check(&tier));
    }
    CHECK_EQ(tier_stats(&tier, 0).peak, 200);
    CHECK(memory.calls <= 300); /* they come back through the central list */
    direct = mm_tier_cache_get(&a, 5000, &size);
    CHECK(direct != NULL);
    CHECK_EQ(tier_stats(&tier, 1).bytes, 5000);
    mm_tier_cache_put(&b, direct, size, 0);
    CHECK_EQ(tier_stats(&tier, 1).bytes, 0);
    CHECK_EQ(tier_stats(&tier, 1).live, 0);
    mm_tier_cache_deinit(&b);
    mm_tier_cache_deinit(&a);
    CHECK_EQ(tier_stats(&tier, 0).live, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(memory.live_blocks, 0);
}

typedef struct model_entry {
    unsigned char *ptr;
    size_t size;
    unsigned char tag;
} model_entry;

enum { MODEL_CACHES = 3, MODEL_ENTRIES = 400 };

typedef struct tier_model {
    mm_tier tier;
    mm_tier_cache caches[MODEL_CACHES];
    model_entry entries[MODEL_ENTRIES];
    test_allocator memory;
    size_t refused;
} tier_model;

static mm_tier_cache *model_cache(tier_model *m, uint64_t random)
{
    size_t index = (size_t)(random >> 20) % (MODEL_CACHES + 1);
    if (index == MODEL_CACHES) return &m->tier.own;
    if (m->caches[index].tier == NULL) mm_tier_cache_init(&m->caches[index], &m->tier);
    return &m->caches[index];
}

static void model_step(tier_model *m, uint64_t random)
{
    static const size_t sizes[] = {1, 64, 65, 256, 300, 1024, 2000};
    model_entry *entry = &m->entries[(random >> 40) % MODEL_ENTRIES];
    mm_tier_cache *cache = model_cache(m, random);
    if (entry->ptr == NULL) {
        entry->ptr = (unsigned char *)mm_tier_cache_get(cache, sizes[random % 7], &entry->size);
        if (entry->ptr == NULL) {
            m->refused++;
            return;
        }
        entry->tag = (unsigned char)(random >> 8);
        memset(entry->ptr, entry->tag, entry->size);
        return;
    }
    CHECK(entry->ptr[0] == entry->tag && entry->ptr[entry->size - 1] == entry->tag);
    CHECK(memcmp(entry->ptr, entry->ptr + 1, entry->size - 1) == 0);
    mm_tier_cache_put(cache, entry->ptr, entry->size, random % 2 ? entry->size : 0);
    entry->ptr = NULL;
}

static void model_shake(tier_model *m, uint64_t random)
{
    size_t which = (size_t)(random >> 30) % MODEL_CACHES;
    if (random % 97 == 0) mm_tier_cache_deinit(&m->caches[which]);
    if (random % 101 == 0) mm_tier_trim(&m->tier, (unsigned)(random >> 32) % 120);
    if (random % 103 == 0) mm_tier_cache_trim(&m->caches[which], (unsigned)(random >> 32) % 120);
    if (random % 53 == 0) (void)mm_tier_maintain(&m->tier, (size_t)(random >> 32) % 40);
    if (random % 59 == 0) (void)mm_tier_cache_maintain(&m->caches[which], 0);
    if (random % 211 == 0) (void)mm_tier_reclaim((size_t)(random >> 32) % 5000, &m->tier);
}

static void model_compare(tier_model *m)
{
    size_t i, live[4] = {0}, bytes = 0;
    for (i = 0; i < MODEL_ENTRIES; i++) {
        if (m->entries[i].ptr == NULL) continue;
        live[m->entries[i].size == 64     ? 0
             : m->entries[i].size == 256  ? 1
             : m->entries[i].size == 1024 ? 2
                                          : 3]++;
    }
    for (i = 0; i < 4; i++) {
        CHECK_EQ(tier_stats(&m->tier, i).live, live[i]);
        bytes += tier_stats(&m->tier, i).bytes;
    }
    CHECK_EQ(bytes, m->memory.live_bytes);
    CHECK(mm_tier_check(&m->tier));
}

static void model_run(mm_tier_wipe wipe, size_t steps, size_t fail_every)
{
    static tier_model m;
    mm_tier_desc desc = {{64, 256, 1024}, {10, 33, 64}, {0}, NULL, NULL, MM_TIER_WIPE_NONE};
    uint64_t state = 11 + fail_every;
    size_t step, i;
    memset(&m, 0, sizeof(m));
    test_allocator_init(&m.memory);
    desc.allocator = &m.memory.base;
    desc.wipe = wipe;
    CHECK_EQ(mm_tier_init(&m.tier, &desc), MM_STATUS_OK);
    for (step = 0; step < steps; step++) {
        uint64_t random = test_random(&state);
        if (fail_every != 0 && step % fail_every == 0) test_allocator_fail(&m.memory, 1, 0);
        CHECK_SUB(model_step(&m, random));
        model_shake(&m, test_random(&state));
        if (step % 64 == 0) CHECK_SUB(model_compare(&m));
    }
    CHECK((m.refused > 0) <= (fail_every > 0));
    for (i = 0; i < MODEL_ENTRIES; i++) {
        if (m.entries[i].ptr != NULL) mm_tier_put(&m.tier, m.entries[i].ptr, m.entries[i].size, 0);
    }
    CHECK_EQ(mm_tier_deinit(&m.tier), 0);
    CHECK_EQ(m.memory.live_blocks, 0);
    CHECK_EQ(m.memory.bad_sizes, 0);
}

/* Figures are read one after the other: a block that changes threads can be missed where it was got
   and seen where it was put. */
TEST(tier_figures_never_wrap)
{
    static mm_tier tier;
    static mm_tier_cache cache;
    mm_tier_desc desc = {0};
    mm_tier_stats stats;
    size_t size;
    void *block;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    mm_tier_cache_init(&cache, &tier);
    block = mm_tier_get(&tier, 100000, &size);
    mm_tier_cache_put(&cache, block, size, 0);
    tier.own.rows[4].owned -= 1; /* as read before the get */
    tier.own.direct_bytes -= size;
    stats = tier_stats(&tier, 4);
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(stats.bytes, 0);
    CHECK_EQ(stats.waste, 0);
    tier.own.rows[4].owned += 1;
    tier.own.direct_bytes += size;
    CHECK_EQ(tier_stats(&tier, 4).bytes, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_caches_against_a_model)
{
    CHECK_SUB(model_run(MM_TIER_WIPE_NONE, 20000, 0));
    CHECK_SUB(model_run(MM_TIER_WIPE_ON_PUT, 10000, 0));
    CHECK_SUB(model_run(MM_TIER_WIPE_SECRET, 10000, 0));
}

TEST(tier_caches_with_memory_refused)
{
    size_t every;
    for (every = 1; every < 12; every++) CHECK_SUB(model_run(MM_TIER_WIPE_NONE, 3000, every));
}

/* Fills and empties caches, the n-th allocation failing: what is refused is told, nothing else. */
TEST(tier_cache_each_allocation_fails)
{
    static mm_tier tier;
    static mm_tier_cache cache;
    size_t n, i, got, failures = 1;
    int for_ever;
    for (for_ever = 0; for_ever < 2; for_ever++) {
        for (n = 1, failures = 1; failures > 0; n++) {
            test_allocator memory;
            size_t refused = 0;
            test_allocator_init(&memory);
            tier_open(&tier, 128, 8, 8, &memory.base);
            mm_tier_cache_init(&cache, &tier);
            test_allocator_fail(&memory, n, for_ever);
            for (i = 0; i < 20; i++) {
                buffers[i] = mm_tier_cache_get(&cache, i % 10 == 9 ? 500 : 128, &got);
                if (buffers[i] == NULL) CHECK_EQ(got, 0);
                refused += buffers[i] == NULL;
            }
            for (i = 0; i < 20; i++) {
                if (buffers[i] == NULL) continue;
                mm_tier_cache_put(&cache, buffers[i], i % 10 == 9 ? 500 : 128, 0);
            }
            CHECK(mm_tier_check(&tier));
            CHECK_EQ(refused, tier_stats(&tier, 0).failures + tier_stats(&tier, 1).failures);
            failures = memory.failures;
            mm_tier_cache_deinit(&cache);
            CHECK_EQ(refused, tier_stats(&tier, 0).failures + tier_stats(&tier, 1).failures);
            CHECK_EQ(mm_tier_deinit(&tier), 0);
            CHECK_EQ(memory.live_blocks, 0);
        }
        CHECK(n > 20);
    }
}

TEST(tier_gives_the_central_list_up_before_it_fails)
{
    static mm_tier tier;
    static mm_tier_cache a, b;
    mm_budget_desc limits = {0};
    mm_budget budget;
    size_t size;
    void *large;
    limits.limit = 10 * 4096;
    mm_budget_init(&budget, &limits);
    tier_open(&tier, 4096, 100, 400, mm_budget_allocator(&budget));
    mm_tier_cache_init(&a, &tier);
    mm_tier_cache_init(&b, &tier);
    CHECK_SUB(get_many(&a, 10, 4096));
    put_many(&a, 10, 4096);
    CHECK(mm_tier_cache_get(&b, 5000, &size) == NULL); /* in another thread's cache: out of reach */
    mm_tier_cache_deinit(&a);
    large = mm_tier_cache_get(&b, 10 * 4096, &size);
    CHECK(large != NULL);
    CHECK_EQ(tier_stats(&tier, 0).cached, 0);
    mm_tier_cache_put(&b, large, size, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

TEST(tier_cache_as_allocator)
{
    static mm_tier tier;
    static mm_tier_cache cache;
    const mm_allocator *a;
    unsigned char *block;
    size_t size, old = 0;
    CHECK_EQ(mm_tier_init(&tier, &(mm_tier_desc){.wipe = MM_TIER_WIPE_ON_PUT}), MM_STATUS_OK);
    mm_tier_cache_init(&cache, &tier);
    a = mm_tier_cache_allocator(&cache);
    block = NULL;
    for (size = 1; size < 200000; size = size * 3 / 2 + 1) {
        block = (unsigned char *)a->realloc_fn(block, old, size, a->user_data);
        CHECK(block != NULL);
        CHECK(old == 0 || (block[0] == 7 && block[old - 1] == 7));
        memset(block, 7, size);
        old = size;
    }
    for (; size > 0; size = size * 2 / 3) {
        if (size > old) continue;
        block = (unsigned char *)a->realloc_fn(block, old, size, a->user_data);
        CHECK(block != NULL && block[0] == 7 && block[size - 1] == 7);
        old = size;
    }
    a->free_fn(block, old, a->user_data);
    mm_tier_cache_deinit(&cache);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

/* ---- tier: privacy ---- */

static size_t freed_dirty_bytes;

static void inspecting_free(void *ptr, size_t size, void *user_data)
{
    const unsigned char *bytes = (const unsigned char *)ptr;
    size_t i;
    MMI_POOL_REVEAL(ptr, size); /* to Valgrind they are nobody's by now */
    for (i = 0; i < size; i++) freed_dirty_bytes += bytes[i] == 'x';
    test_free(ptr, size, user_data);
}

static void *inspected_realloc(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    void *block = test_alloc(new_size, user_data); /* leaves what was there behind, as malloc may */
    if (block == NULL || ptr == NULL) return block;
    memcpy(block, ptr, old_size < new_size ? old_size : new_size);
    inspecting_free(ptr, old_size, user_data);
    return block;
}

TEST(tier_wipes_only_what_is_dirty)
{
    static mm_tier tier;
    mm_tier_desc desc = {{4096}, {4}, {0}, NULL, NULL, MM_TIER_WIPE_ON_PUT};
    size_t size, i;
    unsigned char *buffer;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    buffer = (unsigned char *)mm_tier_get(&tier, 4096, &size);
    CHECK(buffer != NULL);
    memset(buffer, 'x', size);
    mm_tier_put(&tier, buffer, size, 100);
    CHECK(mm_tier_get(&tier, 4096, &size) == buffer);
    MMI_POOL_REVEAL(buffer, size);
    CHECK(is_zero(buffer, 100));
    for (i = 100; i < size; i++) CHECK_EQ(buffer[i], 'x');
    mm_tier_put(&tier, buffer, size, SIZE_MAX);
    CHECK(mm_tier_get(&tier, 1, &size) == buffer);
    MMI_POOL_REVEAL(buffer, size);
    CHECK(is_zero(buffer, size)); /* the links that were in it as well */
    mm_tier_put(&tier, buffer, size, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_leaves_no_secret_behind)
{
    static const mm_tier_wipe policies[] = {MM_TIER_WIPE_NONE, MM_TIER_WIPE_ON_PUT,
                                            MM_TIER_WIPE_SECRET};
    static mm_tier tier;
    size_t p, size, dirty[3];
    for (p = 0; p < 3; p++) {
        mm_tier_desc desc = {{4096, 8192}, {4, 4}, {0}, NULL, NULL, MM_TIER_WIPE_NONE};
        test_allocator memory;
        const mm_allocator *a;
        unsigned char *block;
        test_allocator_init(&memory);
        memory.base.free_fn = inspecting_free;
        memory.base.realloc_fn = inspected_realloc;
        desc.allocator = &memory.base;
        desc.wipe = policies[p];
        freed_dirty_bytes = 0;
        CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
        block = (unsigned char *)mm_tier_get(&tier, 4096, &size);
        memset(block, 'x', size);
        mm_tier_put(&tier, block, size, size);
        a = mm_tier_allocator(&tier);
        block = (unsigned char *)a->alloc_fn(8000, a->user_data);
        memset(block, 'x', 8000);
        block = (unsigned char *)a->realloc_fn(block, 8000, 5000, a->user_data);  /* stays */
        block = (unsigned char *)a->realloc_fn(block, 5000, 4000, a->user_data);  /* other class */
        block = (unsigned char *)a->realloc_fn(block, 4000, 10000, a->user_data); /* direct */
        memset(block, 'x', 10000);
        block = (unsigned char *)a->realloc_fn(block, 10000, 20000, a->user_data);
        block = (unsigned char *)a->realloc_fn(block, 20000, 9000, a->user_data);
        CHECK(block[0] == 'x' && block[8999] == 'x');
        a->free_fn(block, 9000, a->user_data);
        CHECK_EQ(mm_tier_deinit(&tier), 0);
        CHECK_EQ(memory.live_blocks, 0);
        CHECK_EQ(memory.bad_sizes, 0);
        dirty[p] = freed_dirty_bytes;
    }
    CHECK(dirty[0] > 10000);
    CHECK_EQ(dirty[1], 0);
    CHECK_EQ(dirty[2], 0);
}

TEST(tier_secret_is_wiped_before_it_is_freed)
{
    static mm_tier tier;
    mm_tier_desc desc = {{4096}, {4}, {0}, NULL, NULL, MM_TIER_WIPE_SECRET};
    test_allocator memory;
    void *buffer, *direct;
    size_t size, large;
    test_allocator_init(&memory);
    memory.base.free_fn = inspecting_free;
    desc.allocator = &memory.base;
    freed_dirty_bytes = 0;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    buffer = mm_tier_get(&tier, 4096, &size);
    direct = mm_tier_get(&tier, 9999, &large);
    CHECK(buffer != NULL && direct != NULL);
    memset(buffer, 'x', size);
    memset(direct, 'x', large);
    mm_tier_put(&tier, buffer, size, 0); /* says too little */
    mm_tier_put(&tier, direct, large, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(freed_dirty_bytes, 0);
}

/* Whether the mapping of this address is marked to stay out of core dumps; -1: cannot tell. */
static int is_kept_out_of_dumps(const void *ptr)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    int inside = 0, found = -1;
    while (maps != NULL && found < 0 && fgets(line, sizeof(line), maps) != NULL) {
        unsigned long long begin, end;
        if (sscanf(line, "%llx-%llx ", &begin, &end) == 2) {
            inside = (uintptr_t)ptr >= begin && (uintptr_t)ptr < end;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            found = strstr(line, " dd") != NULL;
        }
    }
    if (maps != NULL) fclose(maps);
    return found;
}

#if defined(__linux__)
extern int madvise(void *ptr, size_t size, int advice); /* hidden from strict C */
static size_t advised[2];                               /* bytes hidden, and shown again */

static int advise(void *ptr, size_t size, int advice)
{
    advised[advice == 17] += size;
    return madvise(ptr, size, advice);
}
#endif

TEST(tier_secret_stays_out_of_core_dumps)
{
    static mm_tier tier;
    mm_tier_desc desc = {{1 << 20}, {4}, {0}, NULL, NULL, MM_TIER_WIPE_SECRET};
    unsigned char *buffer;
    size_t size;
#if defined(__linux__)
    advised[0] = advised[1] = 0;
#endif
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    buffer = (unsigned char *)mm_tier_get(&tier, 1 << 20, &size);
    CHECK(buffer != NULL);
#if defined(__linux__)
    if (is_kept_out_of_dumps(&tier) == 0) { /* else: no smaps, or a Valgrind that hides flags */
        CHECK(is_kept_out_of_dumps(buffer) != 0);
        CHECK(is_kept_out_of_dumps(buffer + size - 1) != 0);
    }
#endif
    mm_tier_put(&tier, buffer, size, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
#if defined(__linux__)
    CHECK(advised[0] >= 1 << 20); /* every page that it touches, and back those that it fills */
    CHECK(advised[1] > 0 && advised[1] <= 1 << 20);
#endif
}

/* ---- tier: shrinking ---- */

TEST(tier_decays_by_halves)
{
    static const size_t left[] = {100, 50, 25, 12, 6, 3, 1, 0, 0};
    static mm_tier tier;
    size_t i;
    tier_open(&tier, 4096, 256, 0, NULL);
    CHECK_SUB(get_many(&tier.own, 100, 4096));
    put_many(&tier.own, 100, 4096);
    for (i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        size_t freed = mm_tier_maintain(&tier, 1000);
        CHECK_EQ(freed, i == 0 ? 0 : left[i - 1] - left[i]); /* at first: not idle for a period */
        CHECK_EQ(tier_stats(&tier, 0).cached, left[i]);
        CHECK(mm_tier_check(&tier));
    }
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_keeps_what_is_used)
{
    static mm_tier tier;
    size_t i;
    tier_open(&tier, 4096, 256, 0, NULL);
    CHECK_SUB(get_many(&tier.own, 200, 4096));
    put_many(&tier.own, 200, 4096);
    for (i = 0; i < 30; i++) {
        (void)mm_tier_maintain(&tier, 1000);
        CHECK_SUB(get_many(&tier.own, 40, 4096)); /* in each period at least once */
        put_many(&tier.own, 40, 4096);
    }
    CHECK_EQ(tier_stats(&tier, 0).cached, 40);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_maintain_is_bounded)
{
    static mm_tier tier;
    static mm_tier_cache cache;
    test_allocator memory;
    size_t calls, before;
    test_allocator_init(&memory);
    tier_open(&tier, 64, 100, 400, &memory.base);
    mm_tier_cache_init(&cache, &tier);
    CHECK_SUB(get_many(&cache, 400, 64));
    put_many(&cache, 400, 64);
    CHECK_EQ(tier_stats(&tier, 0).cached, 400);
    CHECK(tier_stats(&tier, 0).central >= 300);
    (void)mm_tier_maintain(&tier, 7);
    (void)mm_tier_cache_maintain(&cache, 7);
    for (calls = 0; memory.live_blocks > 0; calls++) {
        before = memory.live_blocks;
        CHECK(mm_tier_maintain(&tier, 7) <= 7);
        CHECK(before - memory.live_blocks <= 7);
        before = memory.live_blocks;
        CHECK(mm_tier_cache_maintain(&cache, 7) <= 7);
        CHECK(before - memory.live_blocks <= 7);
        CHECK(mm_tier_check(&tier));
        CHECK(calls < 500);
    }
    CHECK(calls > 20);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_trim_reaches_all_caches)
{
    static mm_tier tier;
    static mm_tier_cache a, b;
    size_t size, before;
    void *buffer;
    tier_open(&tier, 64, 100, 400, NULL);
    mm_tier_cache_init(&a, &tier);
    mm_tier_cache_init(&b, &tier);
    CHECK_SUB(get_many(&a, 300, 64));
    put_many(&a, 300, 64);
    CHECK_SUB(get_many(&tier.own, 40, 64));
    put_many(&tier.own, 40, 64);
    before = mmi_tier_cached(&tier.own.rows[0]);
    mm_tier_trim(&tier, 50);
    CHECK_EQ(mmi_tier_cached(&tier.own.rows[0]), before / 2);
    CHECK(tier_stats(&tier, 0).central <= 100);
    CHECK(mmi_tier_cached(&a.rows[0]) > 80); /* not this thread's to touch */
    (void)mm_tier_cache_maintain(&a, 0);
    CHECK(mmi_tier_cached(&a.rows[0]) <= 50);
    mm_tier_trim(&tier, 0);
    CHECK_EQ(tier_stats(&tier, 0).central, 0);
    buffer = mm_tier_cache_get(&b, 64, &size); /* follows as soon as it looks beyond its list */
    CHECK(buffer != NULL);
    mm_tier_cache_put(&b, buffer, size, 0);
    (void)mm_tier_cache_maintain(&a, 0);
    CHECK_EQ(mmi_tier_cached(&a.rows[0]), 0);
    CHECK_EQ(tier_stats(&tier, 0).cached, 1);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_tells_its_budget)
{
    static mm_tier tier;
    mm_budget_desc limits = {0};
    mm_tier_desc desc = {{4096}, {100}, {0}, NULL, NULL, MM_TIER_WIPE_NONE};
    mm_budget root, budget;
    mm_budget_stats stats;
    size_t size;
    mm_budget_init(&root, &limits);
    limits.parent = &root;
    mm_budget_init(&budget, &limits);
    desc.allocator = mm_budget_allocator(&budget);
    desc.budget = &budget;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_SUB(get_many(&tier.own, 10, 4000));
    put_many(&tier.own, 7, 4096);
    (void)mm_tier_maintain(&tier, 0);
    mm_budget_get_stats(&root, &stats);
    CHECK_EQ(stats.live, 40960);
    CHECK_EQ(stats.cached, 7 * 4096);
    CHECK_EQ(stats.waste, 3 * 96);
    mm_tier_trim(&tier, 0);
    mm_budget_get_stats(&budget, &stats);
    CHECK_EQ(stats.cached, 0);
    CHECK_EQ(stats.live, 3 * 4096);
    buffers[0] = mm_tier_get(&tier, 4000, &size);
    mm_tier_put(&tier, buffers[0], size, 0);
    (void)mm_tier_maintain(&tier, 0);
    mm_budget_get_stats(&root, &stats);
    CHECK_EQ(stats.cached, 4096);
    for (size = 7; size < 10; size++) mm_tier_put(&tier, buffers[size], 4096, 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    mm_budget_get_stats(&root, &stats);
    CHECK_EQ(stats.cached, 0);
    CHECK_EQ(stats.waste, 0);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
    CHECK_EQ(mm_budget_deinit(&root), 0);
}

TEST(tier_cache_misuse_is_found)
{
    static mm_tier tier;
    static mm_tier_cache cache;
    static void *buffer;
    size_t size;
    tier_open(&tier, 4096, 100, 0, NULL);
    mm_tier_cache_init(&cache, &tier);
    buffer = mm_tier_cache_get(&cache, 4000, &size);
    CHECK_MISUSE(mm_tier_cache_init(&cache, &tier)); /* twice */
    CHECK_MISUSE(mm_tier_cache_put(&cache, buffer, 4000, 0)); /* what was asked for */
    mm_tier_cache_put(&cache, buffer, size, 0);
#ifdef MM_DEBUG
    CHECK_MISUSE(mm_tier_cache_put(&cache, buffer, size, 0));
#endif
    CHECK(mm_tier_check(&tier));
    tier.shelves[0].count = 1;
    CHECK(!mm_tier_check(&tier));
    tier.shelves[0].count = 0;
    cache.rows[0].stored = 1;
    CHECK(!mm_tier_check(&tier));
    cache.rows[0].stored = 0;
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

/* ---- tier: threads ---- */

enum { RING = 64 };

static mm_tier shared;
static size_t thread_steps = 100000; /* of each soak thread */

/* Buffers on their way from one thread to another; each slot is a pointer or 0. */
static size_t ring[RING];

static void *producer_and_consumer(void *argument)
{
    static mm_tier_cache caches[THREADS];
    size_t self = *(size_t *)argument, i, done = 0, size;
    mm_tier_cache *cache = &caches[self];
    mm_tier_cache_init(cache, &shared);
    for (i = 0; done < 30000; i = (i + 1) % RING) {
        size_t seen = mmi_atomic_load(&ring[i]), empty = 0;
        if (self == 0 && seen == 0) {
            unsigned char *buffer = (unsigned char *)mm_tier_cache_get(cache, 4096, &size);
            if (buffer == NULL) abort();
            memset(buffer, (int)(done & 0xFF), 512);
            if (!mmi_atomic_cas(&ring[i], &empty, (size_t)(uintptr_t)buffer)) abort();
            done++;
        } else if (self == 1 && seen != 0) {
            unsigned char *buffer = (unsigned char *)(uintptr_t)seen;
            thread_check(buffer[0] == buffer[511]);
            mmi_atomic_store(&ring[i], (size_t)0);
            mm_tier_cache_put(cache, buffer, 4096, 512);
            done++;
        } else if (i == 0) {
            MMI_TIER_YIELD();
        }
    }
    mm_tier_cache_deinit(cache);
    return NULL;
}

TEST(tier_one_thread_gets_the_other_puts)
{
    size_t arguments[THREADS] = {0, 1};
    tier_open(&shared, 4096, 64, 256, NULL);
    run_threads(producer_and_consumer, arguments, sizeof(arguments[0]));
    CHECK_EQ(thread_errors, 0);
    CHECK_EQ(tier_stats(&shared, 0).live, 0);
    CHECK_EQ(tier_stats(&shared, 0).cached, tier_stats(&shared, 0).central);
    CHECK(tier_stats(&shared, 0).peak <= RING + 2);
    CHECK(mm_tier_check(&shared));
    CHECK_EQ(mm_tier_deinit(&shared), 0);
}

/* Random traffic of two threads: private buffers, and a table through which they change owners. */
static void *soak_thread(void *argument)
{
    static size_t seeds; /* atomic: another sequence for each thread and run */
    static const size_t sizes[] = {100, 4096, 16000, 17000, 60000, 70000};
    void *own[32] = {NULL};
    size_t held[32] = {0}, step, i;
    uint64_t state = (mmi_atomic_add(&seeds, 1) + 1) * 7919;
    mm_tier_cache cache;
    (void)argument;
    mm_tier_cache_init(&cache, &shared);
    for (step = 0; step < thread_steps; step++) {
        uint64_t random = test_random(&state);
        i = (size_t)(random >> 40) % 32;
        if (own[i] == NULL) {
            own[i] = mm_tier_cache_get(&cache, sizes[(random >> 20) % 6], &held[i]);
            if (own[i] == NULL) continue; /* the budget: all is out */
            ((unsigned char *)own[i])[0] = ((unsigned char *)own[i])[held[i] - 1] =
                (unsigned char)i;
        } else if (random % 8 == 0 && held[i] == 4096) { /* to whoever comes next */
            size_t *slot = &ring[(random >> 32) % RING], seen = mmi_atomic_load(slot);
            ((unsigned char *)own[i])[0] = ((unsigned char *)own[i])[4095] = 9;
            if (!mmi_atomic_cas(slot, &seen, (size_t)(uintptr_t)own[i])) continue;
            own[i] = (void *)(uintptr_t)seen;
            if (seen != 0) {
                thread_check(((unsigned char *)own[i])[0] == ((unsigned char *)own[i])[4095]);
                ((unsigned char *)own[i])[0] = ((unsigned char *)own[i])[4095] = (unsigned char)i;
            }
        } else {
            thread_check(((unsigned char *)own[i])[0] == (unsigned char)i || held[i] == 4096);
            thread_check(((unsigned char *)own[i])[0] == ((unsigned char *)own[i])[held[i] - 1]);
            mm_tier_cache_put(&cache, own[i], held[i], 64);
            own[i] = NULL;
        }
        if (random % 5003 == 0) (void)mm_tier_cache_maintain(&cache, 0);
        if (random % 9001 == 0) mm_tier_cache_trim(&cache, 50);
        if (random % 20011 == 0) { /* a thread that ends, and its successor */
            mm_tier_cache_deinit(&cache);
            mm_tier_cache_init(&cache, &shared);
        }
        if (random % 30011 == 0) {
            mm_tier_stats stats;
            mm_tier_get_stats(&shared, 0, &stats);
            thread_check(stats.live < 32 * THREADS + RING + 100);
        }
    }
    for (i = 0; i < 32; i++) {
        if (own[i] != NULL) mm_tier_cache_put(&cache, own[i], held[i], 64);
    }
    mm_tier_cache_deinit(&cache);
    return NULL;
}

TEST(soak_two_threads_one_tier_one_budget)
{
    mm_budget_desc limits = {0};
    mm_tier_desc desc = {0};
    mm_budget root, budget;
    size_t i, class_index;
    limits.limit = 2500000;
    mm_budget_init(&root, &limits);
    limits.parent = &root;
    limits.soft_limit = 2000000;
    mm_budget_init(&budget, &limits);
    desc.allocator = mm_budget_allocator(&budget);
    desc.budget = &budget;
    CHECK_EQ(mm_tier_init(&shared, &desc), MM_STATUS_OK);
    memset(ring, 0, sizeof(ring));
    run_threads(soak_thread, &shared, 0);
    CHECK_EQ(thread_errors, 0);
    for (i = 0; i < RING; i++) {
        if (ring[i] != 0) mm_tier_put(&shared, (void *)(uintptr_t)ring[i], 4096, 0);
        ring[i] = 0;
    }
    CHECK(mm_tier_check(&shared));
    for (class_index = 0; class_index < 5; class_index++) {
        CHECK_EQ(tier_stats(&shared, class_index).live, 0);
    }
    CHECK(mm_budget_live(&budget) > 0); /* what is cached */
    CHECK(mm_budget_peak(&root) <= 2500000);
    mm_tier_trim(&shared, 0);
    CHECK_EQ(mm_budget_live(&budget), 0);
    CHECK_EQ(mm_tier_deinit(&shared), 0);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
    CHECK_EQ(mm_budget_deinit(&root), 0);
}

/* ---- budget: soft limits and reclaim ---- */

typedef struct reclaimer { /* memory that can be given up */
    mm_budget *budget;
    size_t charged;         /* bytes it can release */
    size_t calls, wanted;   /* what it was asked for, last */
    size_t recharge;        /* bytes it charges while it runs */
    mm_status recharged;    /* how that ended */
    int order, *next_order; /* when it was called */
} reclaimer;

static size_t reclaim(size_t wanted, void *user_data)
{
    reclaimer *r = (reclaimer *)user_data;
    size_t freed = wanted < r->charged ? wanted : r->charged;
    r->calls++;
    r->wanted = wanted;
    if (r->next_order != NULL) r->order = ++*r->next_order;
    if (r->recharge != 0) r->recharged = mm_budget_charge(r->budget, r->recharge);
    mm_budget_release(r->budget, freed);
    r->charged -= freed;
    return freed;
}

static void budget_open(mm_budget *budget, size_t limit, size_t soft, mm_budget *parent,
                        reclaimer *r)
{
    mm_budget_desc desc = {0};
    desc.limit = limit;
    desc.soft_limit = soft;
    desc.parent = parent;
    if (r != NULL) {
        memset(r, 0, sizeof(*r));
        r->budget = budget;
        desc.reclaim_fn = reclaim;
        desc.reclaim_data = r;
    }
    mm_budget_init(budget, &desc);
}

static mm_budget_stats budget_stats(const mm_budget *budget)
{
    mm_budget_stats stats;
    mm_budget_get_stats(budget, &stats);
    return stats;
}

TEST(budget_asks_before_it_refuses)
{
    mm_budget budget;
    reclaimer r;
    budget_open(&budget, 100, 0, NULL, &r);
    CHECK_EQ(mm_budget_charge(&budget, 90), MM_STATUS_OK);
    CHECK_EQ(r.calls, 0);
    r.charged = 50;
    CHECK_EQ(mm_budget_charge(&budget, 30), MM_STATUS_OK);
    CHECK_EQ(r.calls, 1);
    CHECK_EQ(r.wanted, 20);
    CHECK_EQ(mm_budget_live(&budget), 100);
    CHECK_EQ(mm_budget_charge(&budget, 31), MM_STATUS_LIMIT); /* one more than there is */
    CHECK_EQ(r.calls, 2);
    CHECK_EQ(r.charged, 0);
    CHECK_EQ(mm_budget_live(&budget), 70);
    CHECK_EQ(mm_budget_charge(&budget, SIZE_MAX), MM_STATUS_TOO_LARGE); /* no use to ask */
    CHECK_EQ(r.calls, 2);
    CHECK_EQ(budget_stats(&budget).failures, 2);
    CHECK_EQ(budget_stats(&budget).reclaims, 2);
    CHECK_EQ(budget_stats(&budget).reclaimed, 50);
    CHECK_EQ(budget_stats(&budget).peak, 100);
    mm_budget_set_reclaim(&budget, NULL, NULL);
    CHECK_EQ(mm_budget_charge(&budget, 31), MM_STATUS_LIMIT);
    CHECK_EQ(r.calls, 2);
    mm_budget_set_limit(&budget, 101);
    CHECK_EQ(mm_budget_charge(&budget, 31), MM_STATUS_OK);
    CHECK_EQ(mm_budget_deinit(&budget), 101);
}

TEST(budget_reclaim_is_not_reentered)
{
    mm_budget budget;
    reclaimer r;
    budget_open(&budget, 100, 0, NULL, &r);
    CHECK_EQ(mm_budget_charge(&budget, 100), MM_STATUS_OK);
    r.charged = 50;
    r.recharge = 10; /* refused at once, without asking itself */
    CHECK_EQ(mm_budget_charge(&budget, 30), MM_STATUS_OK);
    CHECK_EQ(r.calls, 1);
    CHECK_EQ(r.recharged, MM_STATUS_LIMIT);
    CHECK_EQ(budget_stats(&budget).failures, 1);
    CHECK_EQ(mm_budget_charge(&budget, 10), MM_STATUS_OK); /* and is asked the next time */
    CHECK_EQ(r.calls, 2);
    (void)mm_budget_deinit(&budget);
}

TEST(budget_asks_from_below_up_to_who_refuses)
{
    mm_budget process, worker, connection;
    reclaimer p, w, c;
    int order = 0;
    budget_open(&process, 1000, 0, NULL, &p);
    budget_open(&worker, 100, 0, &process, &w);
    budget_open(&connection, 0, 0, &worker, &c);
    p.next_order = w.next_order = c.next_order = &order;
    CHECK_EQ(mm_budget_charge(&connection, 90), MM_STATUS_OK);
    CHECK_EQ(mm_budget_charge(&connection, 20), MM_STATUS_LIMIT);
    CHECK_EQ(c.order, 1);
    CHECK_EQ(w.order, 2);
    CHECK_EQ(p.calls, 0); /* it had no objection */
    CHECK_EQ(budget_stats(&worker).failures, 1);
    CHECK_EQ(budget_stats(&connection).failures, 0);
    CHECK_EQ(mm_budget_charge(&process, 905), MM_STATUS_OK);
    CHECK_EQ(mm_budget_charge(&process, 15), MM_STATUS_LIMIT);
    CHECK_EQ(c.calls, 1); /* only from the charged one upwards */
    CHECK_EQ(p.calls, 1);
    CHECK_EQ(p.wanted, 10);
    CHECK_EQ(mm_budget_charge(&connection, 10), MM_STATUS_LIMIT); /* by the process */
    CHECK_EQ(c.calls + w.calls + p.calls, 6);
    CHECK_EQ(mm_budget_live(&connection), 90);
    CHECK_EQ(mm_budget_peak(&connection), 90);
    p.charged = 5;
    CHECK_EQ(mm_budget_charge(&connection, 10), MM_STATUS_OK);
    CHECK_EQ(mm_budget_live(&process), 1000);
    CHECK_EQ(mm_budget_live(&worker), 100);
    CHECK_EQ(budget_stats(&process).failures, 2);
}

TEST(budget_soft_limit_is_told_once)
{
    mm_budget root, budget;
    reclaimer r;
    budget_open(&root, 1000, 0, NULL, NULL);
    budget_open(&budget, 200, 100, &root, &r);
    CHECK_EQ(mm_budget_soft_limit(&budget), 100);
    CHECK_EQ(mm_budget_charge(&budget, 100), MM_STATUS_OK);
    CHECK_EQ(r.calls, 0);
    CHECK_EQ(mm_budget_charge(&budget, 10), MM_STATUS_OK);
    CHECK_EQ(r.calls, 1);
    CHECK_EQ(r.wanted, 10);
    CHECK_EQ(mm_budget_charge(&budget, 50), MM_STATUS_OK); /* asked in vain: not again */
    CHECK_EQ(r.calls, 1);
    mm_budget_release(&budget, 70);
    r.charged = 1000;
    CHECK_EQ(mm_budget_charge(&budget, 20), MM_STATUS_OK);
    CHECK_EQ(r.calls, 2);
    CHECK_EQ(mm_budget_live(&budget), 100);
    CHECK_EQ(budget_stats(&budget).crossings, 2);
    CHECK_EQ(budget_stats(&budget).reclaimed, 10);
    CHECK_EQ(budget_stats(&budget).failures, 0);
    mm_budget_set_soft_limit(&budget, 0);
    CHECK_EQ(mm_budget_charge(&budget, 100), MM_STATUS_OK);
    CHECK_EQ(r.calls, 2);
    CHECK_EQ(budget_stats(&budget).peak, 200);
    CHECK_EQ(mm_budget_deinit(&budget), 200);
}

typedef struct hoard { /* a block to be given up when memory is short */
    test_allocator *memory;
    size_t calls;
    int helps;
} hoard;

static size_t give_up(size_t wanted, void *user_data)
{
    hoard *h = (hoard *)user_data;
    h->calls++;
    if (h->helps) h->memory->fail_at = 0;
    return h->helps ? wanted : 0;
}

TEST(budget_asks_when_the_allocator_fails)
{
    mm_budget_desc desc = {0};
    mm_budget root, budget;
    test_allocator memory;
    hoard h = {NULL, 0, 0};
    const mm_allocator *a;
    void *block;
    test_allocator_init(&memory);
    h.memory = &memory;
    desc.allocator = &memory.base;
    desc.reclaim_fn = give_up;
    desc.reclaim_data = &h;
    mm_budget_init(&root, &desc);
    desc.parent = &root;
    desc.reclaim_fn = NULL;
    mm_budget_init(&budget, &desc);
    a = mm_budget_allocator(&budget);
    test_allocator_fail(&memory, 1, 1);
    CHECK(a->alloc_fn(100, a->user_data) == NULL);
    CHECK_EQ(h.calls, 1);
    CHECK_EQ(memory.calls, 2); /* one retry */
    CHECK_EQ(mm_budget_live(&root), 0);
    h.helps = 1;
    block = a->alloc_fn(100, a->user_data);
    CHECK(block != NULL);
    test_allocator_fail(&memory, 1, 1);
    block = a->realloc_fn(block, 100, 300, a->user_data);
    CHECK(block != NULL);
    CHECK_EQ(h.calls, 3);
    CHECK_EQ(mm_budget_live(&root), 300);
    h.helps = 0;
    test_allocator_fail(&memory, 1, 1);
    CHECK(a->realloc_fn(block, 300, 900, a->user_data) == NULL);
    CHECK_EQ(mm_budget_live(&root), 300);
    CHECK_EQ(budget_stats(&budget).failures, 2);
    a->free_fn(block, 300, a->user_data);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
    CHECK_EQ(mm_budget_deinit(&root), 0);
    CHECK_EQ(memory.live_blocks, 0);
}

/* The callback trims the very tier whose allocation waits for it. */
TEST(budget_peak_is_of_what_can_be)
{
    const mm_allocator *allocator;
    mm_budget budget;
    void *block;
    budget_open(&budget, 0, 0, NULL, NULL);
    allocator = mm_budget_allocator(&budget);
    CHECK(allocator->alloc_fn(SIZE_MAX, allocator->user_data) == NULL);
    CHECK_EQ(mm_budget_peak(&budget), 0);
    block = allocator->alloc_fn(100, allocator->user_data);
    CHECK(block != NULL);
    CHECK(allocator->realloc_fn(block, 100, SIZE_MAX - 100, allocator->user_data) == NULL);
    CHECK_EQ(mm_budget_peak(&budget), 100);
    CHECK_EQ(budget.failures, 2);
    allocator->free_fn(block, 100, allocator->user_data);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

TEST(budget_reclaims_from_a_tier)
{
    static mm_tier tier;
    mm_budget_desc limits = {0};
    mm_tier_desc desc = {0};
    mm_budget budget;
    void *other;
    size_t size;
    const mm_allocator *a;
    limits.limit = 400000;
    limits.reclaim_fn = mm_tier_reclaim;
    limits.reclaim_data = &tier;
    mm_budget_init(&budget, &limits);
    a = mm_budget_allocator(&budget);
    desc.allocator = a;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_SUB(get_many(&tier.own, 90, 4096));
    put_many(&tier.own, 90, 4096);
    other = a->alloc_fn(100000, a->user_data); /* something else needs the memory */
    CHECK(other != NULL);
    CHECK_EQ(tier_stats(&tier, 0).cached, 73); /* 368640 + 100000 - 400000, in whole buffers */
    CHECK_EQ(budget_stats(&budget).reclaimed, 17 * 4096);
    buffers[0] = mm_tier_get(&tier, 65536, &size);
    CHECK(buffers[0] != NULL);
    CHECK(tier_stats(&tier, 0).cached < 73);
    CHECK(mm_tier_check(&tier));
    mm_tier_put(&tier, buffers[0], size, 0);
    a->free_fn(other, 100000, a->user_data);
    size = mm_budget_live(&budget);
    CHECK_EQ(mm_tier_reclaim(SIZE_MAX, &tier), size);
    CHECK_EQ(mm_budget_live(&budget), 0);
    CHECK_EQ(mm_tier_deinit(&tier), 0);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

static mm_budget threads_root, threads_child;
static size_t threads_stop; /* atomic */

/* One thread asks for what the root never grants; the other for what everybody does. */
static void *charge_in_vain_or_not(void *argument)
{
    size_t self = *(size_t *)argument, i;
    if (self == 0) {
        do {
            thread_check(mm_budget_charge(&threads_child, 900) == MM_STATUS_LIMIT);
        } while (mmi_atomic_load(&threads_stop) == 0);
        return NULL;
    }
    for (i = 0; i < 100000; i++) {
        mm_status status = mm_budget_charge(&threads_child, 400);
        thread_check(status == MM_STATUS_OK);
        if (status == MM_STATUS_OK) mm_budget_release(&threads_child, 400);
    }
    mmi_atomic_store(&threads_stop, (size_t)1);
    return NULL;
}

TEST(budget_refused_above_disturbs_nobody_below)
{
    size_t arguments[THREADS] = {0, 1};
    budget_open(&threads_root, 800, 0, NULL, NULL);
    budget_open(&threads_child, 1000, 0, &threads_root, NULL);
    threads_stop = 0;
    run_threads(charge_in_vain_or_not, arguments, sizeof(arguments[0]));
    CHECK_EQ(thread_errors, 0);
    CHECK_EQ(mm_budget_peak(&threads_child), 400);
    CHECK(budget_stats(&threads_child).failures + budget_stats(&threads_root).failures > 0);
    CHECK_EQ(mm_budget_deinit(&threads_child), 0);
    CHECK_EQ(mm_budget_deinit(&threads_root), 0);
}

static size_t reclaim_inside; /* atomic: threads that are in the callback */

static size_t reclaim_alone(size_t wanted, void *user_data)
{
    thread_check(mmi_atomic_add(&reclaim_inside, 1) == 0);
    (void)wanted;
    (void)mmi_atomic_add((size_t *)user_data, 1);
    (void)mmi_atomic_add(&reclaim_inside, (size_t)0 - 1);
    return 0;
}

static void *charge_to_the_limit(void *argument)
{
    size_t held = 0, i;
    uint64_t state = (uint64_t)(*(size_t *)argument + 77);
    for (i = 0; i < 60000; i++) {
        size_t size = (size_t)(test_random(&state) % 300) + 1;
        if (mm_budget_charge(&threads_child, size) == MM_STATUS_OK) held += size;
        thread_check(mm_budget_live(&threads_root) <= 1000);
        if (held > 600) mm_budget_release(&threads_child, held);
        if (held > 600) held = 0;
        if (i % 1000 == 0) mm_budget_set_limit(&threads_child, 900 + i % 7);
    }
    mm_budget_release(&threads_child, held);
    return NULL;
}

TEST(budget_with_reclaim_on_two_threads)
{
    size_t arguments[THREADS] = {0, 1}, calls = 0;
    budget_open(&threads_root, 1000, 700, NULL, NULL);
    budget_open(&threads_child, 900, 600, &threads_root, NULL);
    mm_budget_set_reclaim(&threads_child, reclaim_alone, &calls);
    run_threads(charge_to_the_limit, arguments, sizeof(arguments[0]));
    CHECK_EQ(thread_errors, 0);
    CHECK(calls > 0);
    CHECK_EQ(budget_stats(&threads_child).reclaims, calls);
    CHECK(mm_budget_peak(&threads_root) <= 1000);
    CHECK_EQ(mm_budget_deinit(&threads_child), 0);
    CHECK_EQ(mm_budget_deinit(&threads_root), 0);
}

/* ---- pressure ---- */

static mm_budget load; /* what the pressure is read off */

static void set_load(size_t live)
{
    size_t now = mm_budget_live(&load);
    if (live < now) mm_budget_release(&load, now - live);
    else if (mm_budget_charge(&load, live - now) != MM_STATUS_OK) abort();
}

/* Writes down what happens: E+ is ELEVATED entered, C- CRITICAL left. */
static char journal[4096];

static void note_action(const mm_pressure_action *action, bool entering)
{
    const char *mark = (const char *)action->user_data;
    size_t used = strlen(journal);
    if (used + 8 > sizeof(journal)) abort();
    snprintf(journal + used, sizeof(journal) - used, "%s%c", mark, entering ? '+' : '-');
}

static mm_pressure_action noters[3];

static void pressure_open(mm_pressure *pressure, size_t limit)
{
    static const char *const marks[] = {"E", "H", "C"};
    mm_pressure_desc desc = {0};
    size_t i;
    budget_open(&load, limit, 0, NULL, NULL);
    desc.budget = &load;
    memset(pressure, 0xEE, sizeof(*pressure));
    CHECK_EQ(mm_pressure_init(pressure, &desc), MM_STATUS_OK);
    journal[0] = '\0';
    for (i = 0; i < 3; i++) {
        noters[i].level = (mm_pressure_level)(i + 1);
        noters[i].fn = note_action;
        noters[i].user_data = (void *)(uintptr_t)marks[i];
        mm_pressure_add(pressure, &noters[i]);
    }
}

TEST(pressure_thresholds_are_exact)
{
    static const struct {
        size_t live;
        mm_pressure_level level;
    } cases[] = {{0, MM_PRESSURE_NORMAL},      {6999, MM_PRESSURE_NORMAL},
                 {7000, MM_PRESSURE_ELEVATED}, {8499, MM_PRESSURE_ELEVATED},
                 {8500, MM_PRESSURE_HIGH},     {9500, MM_PRESSURE_HIGH},
                 {9501, MM_PRESSURE_CRITICAL}, {10000, MM_PRESSURE_CRITICAL}};
    mm_pressure pressure;
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_SUB(pressure_open(&pressure, 10000));
        set_load(cases[i].live);
        CHECK_EQ(mm_pressure_update(&pressure, 5), cases[i].level);
        CHECK_EQ(mm_pressure_get(&pressure), cases[i].level);
        CHECK_EQ(pressure.changes, cases[i].level);
        mm_pressure_deinit(&pressure);
    }
    CHECK_STR(journal, "E+H+C+C-H-E-");
    CHECK_SUB(pressure_open(&pressure, 33)); /* 70 % of it is 23.1, 85 % 28.05, 95 % 31.35 */
    set_load(23);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_NORMAL);
    set_load(24);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_ELEVATED);
    set_load(28);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_ELEVATED);
    set_load(31);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_HIGH);
    set_load(32);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_CRITICAL);
    CHECK_SUB(pressure_open(&pressure, SIZE_MAX));
    set_load(SIZE_MAX / 100 * 71);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_ELEVATED);
    set_load(SIZE_MAX);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_CRITICAL);
}

TEST(pressure_falls_late_and_below)
{
    mm_pressure pressure;
    CHECK_SUB(pressure_open(&pressure, 1000));
    set_load(960);
    CHECK_EQ(mm_pressure_update(&pressure, 10000), MM_PRESSURE_CRITICAL);
    set_load(100);
    CHECK_EQ(mm_pressure_update(&pressure, 10999), MM_PRESSURE_CRITICAL); /* not yet */
    set_load(900);
    CHECK_EQ(mm_pressure_update(&pressure, 11000), MM_PRESSURE_CRITICAL); /* not below 90 */
    set_load(899);
    CHECK_EQ(mm_pressure_update(&pressure, 11001), MM_PRESSURE_HIGH);
    CHECK_STR(journal, "E+H+C+C-");
    set_load(0);
    CHECK_EQ(mm_pressure_update(&pressure, 12000), MM_PRESSURE_HIGH);
    CHECK_EQ(mm_pressure_update(&pressure, 9), MM_PRESSURE_HIGH);       /* a clock that went back */
    CHECK_EQ(mm_pressure_update(&pressure, 12001), MM_PRESSURE_NORMAL); /* all that fits, at once */
    CHECK_STR(journal, "E+H+C+C-H-E-");
    set_load(849);
    CHECK_EQ(mm_pressure_update(&pressure, 12002), MM_PRESSURE_ELEVATED); /* upwards: at once */
    set_load(850);
    CHECK_EQ(mm_pressure_update(&pressure, 12003), MM_PRESSURE_HIGH);
    CHECK_EQ(mm_pressure_update(&pressure, 12003), MM_PRESSURE_HIGH);
    CHECK_STR(journal, "E+H+C+C-H-E-E+H+");
}

/* A load that climbs over a whole minute and falls again, and trembles by 4 % of the limit all the
   time: each level is entered once and left once. */
TEST(pressure_does_not_flap)
{
    mm_pressure pressure;
    uint64_t state = 1, now;
    CHECK_SUB(pressure_open(&pressure, 100000));
    for (now = 0; now < 120000; now += 10) {
        size_t slope = (size_t)(now < 60000 ? now : 120000 - now);
        size_t tremble = (size_t)(test_random(&state) % 4000);
        set_load(slope * 96 / 60 + tremble);
        (void)mm_pressure_update(&pressure, now);
    }
    CHECK_STR(journal, "E+H+C+C-H-E-");
    CHECK_EQ(pressure.changes, 6);
}

/* Worse: from empty to full and back every 10 ms. Changes are as rare as dwell says. */
TEST(pressure_dwells_whatever_the_load)
{
    mm_pressure pressure;
    uint64_t now;
    CHECK_SUB(pressure_open(&pressure, 1000));
    for (now = 0; now < 10000; now += 10) {
        set_load(now / 10 % 2 == 0 ? 1000 : 0);
        (void)mm_pressure_update(&pressure, now);
    }
    CHECK(pressure.changes <= 6 * 10);
    CHECK(pressure.changes >= 6 * 9);
    CHECK(strncmp(journal, "E+H+C+C-H-E-E+H+C+C-H-E-", 24) == 0);
}

TEST(pressure_of_no_limit_is_normal)
{
    mm_pressure pressure, zero = {0};
    CHECK_SUB(pressure_open(&pressure, 0));
    set_load(1000000);
    CHECK_EQ(mm_pressure_update(&pressure, 1), MM_PRESSURE_NORMAL);
    mm_budget_set_limit(&load, 1000000);
    CHECK_EQ(mm_pressure_update(&pressure, 2), MM_PRESSURE_CRITICAL);
    mm_budget_set_limit(&load, 0);
    CHECK_EQ(mm_pressure_update(&pressure, 3), MM_PRESSURE_NORMAL); /* without waiting */
    CHECK_STR(journal, "E+H+C+C-H-E-");
    CHECK_EQ(mm_pressure_update(&zero, 3), MM_PRESSURE_NORMAL);
    mm_pressure_deinit(&zero);
}

TEST(pressure_desc_is_checked)
{
    static const struct {
        unsigned enter[3], leave[3];
        mm_status status;
    } cases[] = {{{0, 0, 0}, {0, 0, 0}, MM_STATUS_OK},
                 {{50, 60, 100}, {50, 60, 100}, MM_STATUS_OK},
                 {{3, 10, 20}, {0, 0, 0}, MM_STATUS_OK},
                 {{1, 2, 3}, {0, 0, 0}, MM_STATUS_OK},
                 {{5, 7, 8}, {0, 0, 0}, MM_STATUS_OK},
                 {{0, 0, 0}, {60, 0, 0}, MM_STATUS_OK},
                 {{0, 60, 70}, {0, 0, 0}, MM_STATUS_INVALID},
                 {{50, 50, 70}, {0, 0, 0}, MM_STATUS_INVALID},
                 {{50, 60, 101}, {0, 0, 0}, MM_STATUS_INVALID},
                 {{50, 60, 70}, {51, 0, 0}, MM_STATUS_INVALID},
                 {{50, 60, 70}, {40, 40, 50}, MM_STATUS_INVALID}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_pressure_desc desc = {0};
        mm_pressure pressure;
        memset(&pressure, 0xEE, sizeof(pressure));
        desc.budget = &load;
        memcpy(desc.enter, cases[i].enter, sizeof(desc.enter));
        memcpy(desc.leave, cases[i].leave, sizeof(desc.leave));
        CHECK_EQ(mm_pressure_init(&pressure, &desc), cases[i].status);
        if (cases[i].status != MM_STATUS_OK) CHECK(is_zero(&pressure, sizeof(pressure)));
    }
    CHECK_STR(mm_pressure_string(MM_PRESSURE_HIGH), "high");
    CHECK_STR(mm_pressure_string((mm_pressure_level)9), "unknown");
}

static mm_pressure nested;

static void relieve(const mm_pressure_action *action, bool entering)
{
    if (entering) set_load(action->percent * 10);
    (void)mm_pressure_update(&nested, 99999); /* not from within */
}

TEST(pressure_actions_are_steps)
{
    static mm_pressure_action helper = {MM_PRESSURE_ELEVATED, relieve, NULL, 72, NULL}, late, again;
    CHECK_SUB(pressure_open(&nested, 1000));
    mm_pressure_add(&nested, &helper);
    set_load(990);
    CHECK_EQ(mm_pressure_update(&nested, 0), MM_PRESSURE_ELEVATED); /* that helped: no further */
    CHECK_STR(journal, "E+");
    CHECK_EQ(mm_pressure_update(&nested, 5000), MM_PRESSURE_ELEVATED); /* and no second time */
    CHECK_EQ(mm_budget_live(&load), 720);
    late = noters[0];
    late.user_data = (void *)(uintptr_t) "L";
    mm_pressure_add(&nested, &late); /* the level holds already */
    again = noters[1];
    mm_pressure_add(&nested, &again);
    CHECK_STR(journal, "E+L+");
    set_load(0);
    CHECK_EQ(mm_pressure_update(&nested, 5000), MM_PRESSURE_NORMAL);
    CHECK_STR(journal, "E+L+L-E-"); /* left backwards */
    set_load(720);
    (void)mm_pressure_update(&nested, 5001);
    mm_pressure_deinit(&nested);
    CHECK_STR(journal, "E+L+L-E-E+L+L-E-");
}

static mm_pressure_action newcomers[2];

static void bring_newcomers(const mm_pressure_action *action, bool entering)
{
    size_t i;
    (void)action;
    for (i = 0; entering && i < 2; i++) {
        newcomers[i] = noters[i];
        mm_pressure_add(&nested, &newcomers[i]);
    }
}

TEST(pressure_actions_add_actions)
{
    static mm_pressure_action first = {MM_PRESSURE_ELEVATED, bring_newcomers, NULL, 0, NULL};
    CHECK_SUB(pressure_open(&nested, 1000));
    mm_pressure_add(&nested, &first);
    set_load(990);
    (void)mm_pressure_update(&nested, 0);
    CHECK_STR(journal, "E+E+H+H+C+"); /* the newcomers once each, like the others */
    mm_pressure_deinit(&nested);
    CHECK_STR(journal, "E+E+H+H+C+C-H-H-E-E-");
}

TEST(pressure_trims_a_tier)
{
    static mm_tier tier;
    static mm_tier_cache cache;
    static mm_pressure_action elevated = {MM_PRESSURE_ELEVATED, mm_pressure_trim_tier, &tier, 50,
                                          NULL};
    static mm_pressure_action own = {MM_PRESSURE_ELEVATED, mm_pressure_trim_cache, &cache, 0, NULL};
    static mm_pressure_action high = {MM_PRESSURE_HIGH, mm_pressure_trim_tier, &tier, 0, NULL};
    mm_budget_desc limits = {0};
    mm_pressure_desc desc = {0};
    mm_budget budget;
    mm_pressure pressure;
    size_t size;
    limits.limit = 100 * 4096;
    mm_budget_init(&budget, &limits);
    tier_open(&tier, 4096, 200, 0, mm_budget_allocator(&budget));
    mm_tier_cache_init(&cache, &tier);
    desc.budget = &budget;
    CHECK_EQ(mm_pressure_init(&pressure, &desc), MM_STATUS_OK);
    mm_pressure_add(&pressure, &elevated);
    mm_pressure_add(&pressure, &own);
    mm_pressure_add(&pressure, &high);
    buffers[99] = mm_tier_cache_get(&cache, 4096, &size);
    mm_tier_cache_put(&cache, buffers[99], size, 0);
    CHECK_SUB(get_many(&tier.own, 90, 4096));
    put_many(&tier.own, 80, 4096);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_ELEVATED);
    CHECK_EQ(mm_budget_live(&budget), 50 * 4096);
    CHECK_SUB(get_many(&tier.own, 80, 4096));
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_HIGH);
    put_many(&tier.own, 80, 4096);
    CHECK_EQ(mm_tier_deinit(&tier), 10);
}

/* ---- statistics ---- */

typedef struct text_sink {
    char text[32768];
    size_t used, calls, fail_at;
} text_sink;

static mm_status take_text(void *user_data, const char *bytes, size_t size)
{
    text_sink *sink = (text_sink *)user_data;
    if (++sink->calls == sink->fail_at) return MM_STATUS_NO_SPACE;
    if (size == 0 || size > sizeof(sink->text) - 1 - sink->used) return MM_STATUS_TOO_LARGE;
    memcpy(sink->text + sink->used, bytes, size);
    sink->used += size;
    sink->text[sink->used] = '\0';
    return MM_STATUS_OK;
}

/* Past one JSON value (RFC 8259) without spaces; NULL: there is none. */
static const char *json_value(const char *at);

static const char *json_string(const char *at)
{
    if (at == NULL || *at++ != '"') return NULL;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20) return NULL;
        if (*at != '\\') continue;
        at++;
        if (*at == 'u') {
            int i;
            for (i = 0; i < 4; i++) {
                if (!isxdigit((unsigned char)*++at)) return NULL;
            }
        } else if (*at == '\0' || strchr("\"\\/bfnrt", *at) == NULL) {
            return NULL;
        }
    }
    return at + 1;
}

static const char *json_list(const char *at, int is_object)
{
    char end = is_object ? '}' : ']';
    if (*++at == end) return at + 1;
    for (;; at++) {
        if (is_object) {
            at = json_string(at);
            if (at == NULL || *at++ != ':') return NULL;
        }
        at = json_value(at);
        if (at == NULL) return NULL;
        if (*at == end) return at + 1;
        if (*at != ',') return NULL;
    }
}

static const char *json_value(const char *at)
{
    if (*at == '{' || *at == '[') return json_list(at, *at == '{');
    if (*at == '"') return json_string(at);
    if (*at == '0') return at + 1;
    if (!isdigit((unsigned char)*at)) return NULL;
    while (isdigit((unsigned char)*at)) at++;
    return at;
}

/* The name of a metric, and what follows it; NULL: none. */
static const char *metric_name(const char *at, char *name)
{
    size_t length = 0;
    while (isalnum((unsigned char)at[length]) || at[length] == '_' || at[length] == ':') length++;
    if (length == 0 || length > 63 || isdigit((unsigned char)*at)) return NULL;
    memcpy(name, at, length);
    name[length] = '\0';
    return at + length;
}

/* {label="value",...} and a number, up to the end of the line. */
static const char *metric_rest(const char *at)
{
    char label[64];
    if (*at++ != '{') return NULL;
    for (;; at++) {
        at = metric_name(at, label);
        if (at == NULL || *at++ != '=' || *at++ != '"') return NULL;
        for (; *at != '"'; at++) {
            if (*at == '\0' || *at == '\n') return NULL;
            if (*at == '\\' && strchr("\\\"n", *++at) == NULL) return NULL;
        }
        if (*++at == '}') break;
        if (*at != ',') return NULL;
    }
    if (*++at != ' ' || !isdigit((unsigned char)at[1])) return NULL;
    for (at++; isdigit((unsigned char)*at);) at++;
    return *at == '\n' ? at + 1 : NULL;
}

/* HELP, TYPE and samples of one family after the other, none twice, no line twice. */
static int is_exposition(const char *text)
{
    static char seen[64][64];
    size_t families = 0, i;
    const char *at = text;
    while (*at != '\0') {
        char name[64], again[64];
        if (strncmp(at, "# HELP ", 7) != 0 || (at = metric_name(at + 7, name)) == NULL) return 0;
        for (i = 0; i < families; i++) {
            if (strcmp(seen[i], name) == 0) return 0;
        }
        strcpy(seen[families++], name);
        if (*at != ' ' || (at = strchr(at, '\n')) == NULL) return 0;
        if (strncmp(++at, "# TYPE ", 7) != 0 || (at = metric_name(at + 7, again)) == NULL) return 0;
        if (strcmp(name, again) != 0) return 0;
        if (strncmp(at, " gauge\n", 7) != 0 && strncmp(at, " counter\n", 9) != 0) return 0;
        if (strstr(name, "_total") != NULL && at[1] != 'c') return 0;
        at = strchr(at, '\n') + 1;
        if (*at == '#' || *at == '\0') return 0; /* a family has samples */
        while (*at != '#' && *at != '\0') {
            if ((at = metric_name(at, again)) == NULL || strcmp(name, again) != 0) return 0;
            if ((at = metric_rest(at)) == NULL) return 0;
        }
    }
    return families > 0;
}

typedef struct things { /* one of each */
    mm_pool pool;
    mm_slab slab;
    mm_tier tier;
    mm_budget budget;
    mm_pressure pressure;
    mm_stats_source sources[6];
} things;

static void things_open(things *t)
{
    mm_pool_desc pool = {0};
    mm_slab_desc slab = {0};
    mm_pressure_desc pressure = {0};
    void *object;
    size_t size;
    memset(t, 0, sizeof(*t));
    budget_open(&t->budget, 1000, 900, NULL, NULL);
    t->budget.name = "budget's own";
    pool.size = 24;
    slab.size = 100;
    pressure.budget = &t->budget;
    CHECK_EQ(mm_pool_init(&t->pool, &pool), MM_STATUS_OK);
    CHECK_EQ(mm_slab_init(&t->slab, &slab), MM_STATUS_OK);
    CHECK_EQ(mm_pressure_init(&t->pressure, &pressure), MM_STATUS_OK);
    tier_open(&t->tier, 4096, 10, 0, NULL);
    CHECK(mm_slab_insert(&t->slab, &object) != 0);
    CHECK((buffers[0] = mm_tier_get(&t->tier, 4000, &size)) != NULL);
    CHECK((buffers[1] = mm_tier_get(&t->tier, 5000, &size)) != NULL);
    CHECK_EQ(mm_budget_charge(&t->budget, 860), MM_STATUS_OK);
    mm_budget_note(&t->budget, 60, 7);
    CHECK_EQ(mm_budget_charge(&t->budget, 500), MM_STATUS_LIMIT);
    (void)mm_pressure_update(&t->pressure, 0);
    t->sources[0] = (mm_stats_source){MM_STATS_TIER, "worker 1", &t->tier};
    t->sources[1] = (mm_stats_source){MM_STATS_POOL, "timers", &t->pool};
    t->sources[2] = (mm_stats_source){MM_STATS_BUDGET, NULL, &t->budget};
    t->sources[3] = (mm_stats_source){MM_STATS_SLAB, "connections", &t->slab};
    t->sources[4] = (mm_stats_source){MM_STATS_PRESSURE, NULL, &t->pressure};
    t->sources[5] = (mm_stats_source){MM_STATS_BUDGET, "again", &t->budget};
}

static void things_close(things *t)
{
    mm_tier_put(&t->tier, buffers[0], 4096, 0);
    mm_tier_put(&t->tier, buffers[1], 5000, 0);
    (void)mm_tier_deinit(&t->tier);
    (void)mm_pool_deinit(&t->pool);
    mm_slab_deinit(&t->slab);
    mm_pressure_deinit(&t->pressure);
    (void)mm_budget_deinit(&t->budget);
}

TEST(stats_as_prometheus)
{
    static const char *const lines[] = {
        "\n# TYPE mm_objects_live gauge\n",
        "\n# TYPE mm_object_failures_total counter\n",
        "\nmm_objects_live{kind=\"tier\",name=\"worker 1\",class=\"4096\"} 1\n",
        "\nmm_objects_live{kind=\"tier\",name=\"worker 1\",class=\"direct\"} 1\n",
        "\nmm_object_held_bytes{kind=\"tier\",name=\"worker 1\",class=\"direct\"} 5000\n",
        "\nmm_object_waste_bytes{kind=\"tier\",name=\"worker 1\",class=\"4096\"} 96\n",
        "\nmm_object_size_bytes{kind=\"pool\",name=\"timers\"} 24\n",
        "\nmm_objects_live{kind=\"slab\",name=\"connections\"} 1\n",
        "\nmm_budget_live_bytes{name=\"budget's own\"} 860\n",
        "\nmm_budget_live_bytes{name=\"again\"} 860\n",
        "\nmm_budget_cached_bytes{name=\"again\"} 60\n",
        "\nmm_budget_waste_bytes{name=\"again\"} 7\n",
        "\nmm_budget_failures_total{name=\"again\"} 1\n",
        "\nmm_budget_limit_bytes{name=\"again\"} 1000\n",
        "\nmm_budget_soft_limit_bytes{name=\"again\"} 900\n",
        "\nmm_pressure_level{name=\"\"} 2\n",
        "\nmm_pressure_changes_total{name=\"\"} 2\n",
    };
    static text_sink sink;
    static things t;
    size_t i;
    CHECK_SUB(things_open(&t));
    memset(&sink, 0, sizeof(sink));
    CHECK_EQ(mm_stats_write(t.sources, 6, MM_STATS_PROMETHEUS, take_text, &sink), MM_STATUS_OK);
    CHECK(is_exposition(sink.text));
    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strstr(sink.text, lines[i]) == NULL) printf("      missing: %s", lines[i] + 1);
        CHECK(strstr(sink.text, lines[i]) != NULL);
    }
    sink.used = 0;
    sink.text[0] = '\0';
    CHECK_EQ(mm_stats_write(&t.sources[4], 1, MM_STATS_PROMETHEUS, take_text, &sink), MM_STATUS_OK);
    CHECK(is_exposition(sink.text));
    CHECK(strstr(sink.text, "mm_objects") == NULL); /* families without samples are left out */
    things_close(&t);
}

TEST(stats_as_json)
{
    static text_sink sink;
    static things t;
    const char *end;
    CHECK_SUB(things_open(&t));
    memset(&sink, 0, sizeof(sink));
    CHECK_EQ(mm_stats_write(t.sources, 6, MM_STATS_JSON, take_text, &sink), MM_STATUS_OK);
    end = json_value(sink.text);
    CHECK(end != NULL);
    CHECK_STR(end, "\n");
    CHECK(strstr(sink.text,
                 "{\"objects\":[{\"kind\":\"tier\",\"name\":\"worker 1\",\"class\":\"4096\",") ==
          sink.text);
    CHECK(strstr(sink.text, "\"size\":4096,\"live\":1,\"cached\":0,\"peak\":1,\"failures\":0,"
                            "\"waste\":96,\"bytes\":4096}") != NULL);
    CHECK(strstr(sink.text, "\"pressures\":[{\"name\":\"\",\"level\":2,\"changes\":2}]}") != NULL);
    sink.used = 0;
    CHECK_EQ(mm_stats_write(NULL, 0, MM_STATS_JSON, take_text, &sink), MM_STATUS_OK);
    CHECK_STR(sink.text, "{\"objects\":[],\"budgets\":[],\"pressures\":[]}\n");
    things_close(&t);
}

TEST(stats_names_are_escaped)
{
    static const struct {
        const char *name, *json, *prometheus;
    } cases[] = {
        {"a\"b\\c", "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\""},
        {"a\nb\tc\x7F", "\"a\\nb\\u0009c\\u007f\"", "\"a\\nb\tc\x7F\""},
        {"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"",
         "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\""},
        {"\xFF\xC3", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"\xC0\x80\xED\xA0\x80", /* overlong, surrogate */
         "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"",
         "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
    };
    static text_sink sink;
    mm_budget budget;
    size_t i;
    budget_open(&budget, 0, 0, NULL, NULL);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_stats_source source = {MM_STATS_BUDGET, NULL, NULL};
        source.name = cases[i].name;
        source.object = &budget;
        sink.used = 0;
        CHECK_EQ(mm_stats_write(&source, 1, MM_STATS_JSON, take_text, &sink), MM_STATUS_OK);
        CHECK(json_value(sink.text) != NULL);
        CHECK(strstr(sink.text, cases[i].json) != NULL);
        sink.used = 0;
        CHECK_EQ(mm_stats_write(&source, 1, MM_STATS_PROMETHEUS, take_text, &sink), MM_STATUS_OK);
        CHECK(is_exposition(sink.text));
        CHECK(strstr(sink.text, cases[i].prometheus) != NULL);
    }
}

/* Every place where a sink can fail: its status comes back, and it is not called again. */
TEST(stats_sink_can_fail)
{
    static text_sink sink;
    static things t;
    size_t n, format;
    mm_status status;
    CHECK_SUB(things_open(&t));
    for (format = 0; format < 2; format++) {
        for (n = 1, status = MM_STATUS_NO_SPACE; status != MM_STATUS_OK; n++) {
            memset(&sink, 0, sizeof(sink));
            sink.fail_at = n;
            status = mm_stats_write(t.sources, 6, (mm_stats_format)format, take_text, &sink);
            CHECK(status == MM_STATUS_OK || (status == MM_STATUS_NO_SPACE && sink.calls == n));
        }
        CHECK(n > 3);
    }
    sink.calls = 0;
    CHECK_EQ(mm_stats_write(t.sources, 6, (mm_stats_format)7, take_text, &sink), MM_STATUS_INVALID);
    t.sources[5].kind = (mm_stats_kind)99;
    CHECK_EQ(mm_stats_write(t.sources, 6, MM_STATS_JSON, take_text, &sink), MM_STATUS_INVALID);
    t.sources[5].kind = MM_STATS_BUDGET;
    t.sources[5].object = NULL;
    CHECK_EQ(mm_stats_write(t.sources, 6, MM_STATS_JSON, take_text, &sink), MM_STATUS_INVALID);
    CHECK_EQ(sink.calls, 0);
    things_close(&t);
}

/* ---- deployment sizes ---- */

TEST(profiles_add_up)
{
    static const struct {
        const char *name;
        uint64_t worker, all; /* MiB that can be cached: by one thread; by all, and centrally */
    } expected[] = {{"small", 4, 24}, {"medium", 16, 128}, {"large", 64, 768}};
    size_t i, c;
    for (i = 0; i < 3; i++) {
        const mm_profile *p = mm_profile_get((mm_profile_size)i);
        mm_pressure_desc pressure = p->pressure;
        static mm_tier tier;
        mm_pressure level;
        uint64_t worker = mm_tier_cached_max(&p->tier, 1), total;
        CHECK_STR(p->name, expected[i].name);
        CHECK(worker <= expected[i].worker << 20); /* the TLS class is a little below its MiB */
        CHECK(worker > (expected[i].worker << 20) * 99 / 100);
        total = mm_tier_cached_max(&p->tier, p->workers);
        CHECK(total <= expected[i].all << 20 && total > (expected[i].all << 20) * 99 / 100);
        for (c = 0; c < 4; c++) { /* the same bytes in each class, as in the seed */
            if (p->tier.class_size[c] == MM_TIER_TLS_RECORD) continue;
            CHECK_EQ(p->tier.class_size[c] * p->tier.class_keep[c],
                     (uint64_t)worker / 4 >> 20 ? expected[i].worker << 18 : 1 << 20);
        }
        /* caches, sessions, and 40 KiB for each active connection, the seed's most over HTTPS */
        total += p->response_cache + p->session_cache + (uint64_t)p->connections * 40960;
        CHECK(total <= p->memory / 2 * 70 / 100); /* normal pressure with everything full */
        CHECK((uint64_t)p->worker_connections * p->workers >= p->connections);
        if (sizeof(size_t) == 8) {
            CHECK_EQ(p->budget.limit, p->memory / 2);
            CHECK_EQ(p->budget.soft_limit, p->memory / 200 * 70);
        }
        CHECK(p->budget.limit != 0 && p->budget.soft_limit <= p->budget.limit);
        CHECK_EQ(mm_tier_init(&tier, &p->tier), MM_STATUS_OK);
        CHECK_EQ(mm_tier_deinit(&tier), 0);
        pressure.budget = &load;
        CHECK_EQ(mm_pressure_init(&level, &pressure), MM_STATUS_OK);
    }
    CHECK(mm_profile_get((mm_profile_size)9) == mm_profile_get(MM_PROFILE_SMALL));
    CHECK_EQ(mm_tier_cached_max(&(mm_tier_desc){.class_size = {1}}, 1), 0);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {T(tier_has_a_class_for_a_tls_record),
                                      T(tier_cached_max_does_not_wrap),
                                      T(tier_wipes_in_known_ways),
                                      T(tier_limits_of_all_sizes),
                                      T(tier_order_across_magazines),
                                      T(tier_sizes_that_the_compiler_knows),
                                      T(tier_finds_the_smallest_class_of_any_size),
                                      T(tier_wipes_its_own_links),
                                      T(tier_alone_finds_a_put_too_many),
                                      T(tier_peak_is_exact_on_one_thread),
                                      T(tier_tells_its_waste),
                                      T(tier_cache_hands_everything_back),
                                      T(tier_cache_outlives_its_tier),
                                      T(tier_buffers_change_caches),
                                      T(tier_figures_never_wrap),
                                      T(tier_caches_against_a_model),
                                      T(tier_caches_with_memory_refused),
                                      T(tier_cache_each_allocation_fails),
                                      T(tier_gives_the_central_list_up_before_it_fails),
                                      T(tier_cache_as_allocator),
                                      T(tier_wipes_only_what_is_dirty),
                                      T(tier_leaves_no_secret_behind),
                                      T(tier_secret_is_wiped_before_it_is_freed),
                                      T(tier_secret_stays_out_of_core_dumps),
                                      T(tier_decays_by_halves),
                                      T(tier_keeps_what_is_used),
                                      T(tier_maintain_is_bounded),
                                      T(tier_trim_reaches_all_caches),
                                      T(tier_tells_its_budget),
                                      T(tier_cache_misuse_is_found),
                                      T(tier_one_thread_gets_the_other_puts),
                                      T(soak_two_threads_one_tier_one_budget),
                                      T(budget_asks_before_it_refuses),
                                      T(budget_reclaim_is_not_reentered),
                                      T(budget_asks_from_below_up_to_who_refuses),
                                      T(budget_soft_limit_is_told_once),
                                      T(budget_asks_when_the_allocator_fails),
                                      T(budget_peak_is_of_what_can_be),
                                      T(budget_reclaims_from_a_tier),
                                      T(budget_refused_above_disturbs_nobody_below),
                                      T(budget_with_reclaim_on_two_threads),
                                      T(pressure_thresholds_are_exact),
                                      T(pressure_falls_late_and_below),
                                      T(pressure_does_not_flap),
                                      T(pressure_dwells_whatever_the_load),
                                      T(pressure_of_no_limit_is_normal),
                                      T(pressure_desc_is_checked),
                                      T(pressure_actions_are_steps),
                                      T(pressure_actions_add_actions),
                                      T(pressure_trims_a_tier),
                                      T(stats_as_prometheus),
                                      T(stats_as_json),
                                      T(stats_names_are_escaped),
                                      T(stats_sink_can_fail),
                                      T(profiles_add_up)};
    if (argc > 2) thread_steps = (size_t)strtoull(argv[2], NULL, 10) / THREADS;
    return test_main(argc > 1 ? argv[1] : "", cases, sizeof(cases) / sizeof(cases[0]));
}
