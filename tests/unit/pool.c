/* mm_pool.h: tiered buffers, budgets. */
#include "../pool_tools.h"
#include <pthread.h>

/* ---- tier ---- */

static mm_status tier_open(mm_tier *tier, const mm_allocator *allocator, bool wipe)
{
    mm_tier_desc desc = {0};
    desc.allocator = allocator;
    desc.wipe = wipe ? MM_TIER_WIPE_ON_PUT : MM_TIER_WIPE_NONE;
    memset(tier, 0xEE, sizeof(*tier));
    return mm_tier_init(tier, &desc);
}

static mm_tier_stats tier_stats(mm_tier *tier, size_t index)
{
    mm_tier_stats stats;
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
        {{MM_TIER_CLASS_MIN}, MM_STATUS_OK},
        {{MM_TIER_CLASS_MIN - 1}, MM_STATUS_INVALID},
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
    CHECK_EQ(mm_tier_class_count(&tier), 4);
    CHECK_EQ(tier_stats(&tier, 0).size, 4096);
    CHECK_EQ(tier_stats(&tier, 1).size, 16384);
    CHECK_EQ(tier_stats(&tier, 2).size, MM_TIER_TLS_RECORD);
    CHECK_EQ(tier_stats(&tier, 3).size, 65536);
    CHECK_EQ(tier_stats(&tier, 4).size, 0);
    CHECK_EQ(tier.own.rows[0].keep, 256);
    CHECK_EQ(tier.own.rows[1].keep, 64);
    CHECK_EQ(tier.own.rows[2].keep, 60);
    CHECK_EQ(tier.own.rows[3].keep, 16);
    desc.class_keep[1] = 5;
    desc.class_keep[2] = MM_TIER_KEEP_NONE;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_EQ(tier.own.rows[0].keep, 256);
    CHECK_EQ(tier.own.rows[1].keep, 5);
    CHECK_EQ(tier.own.rows[2].keep, 0);
    desc.class_size[0] = 18437;
    desc.class_size[1] = 4194304;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_EQ(mm_tier_class_count(&tier), 2);
    CHECK_EQ(tier.own.rows[0].keep, 56);
    desc.class_keep[1] = 0;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_EQ(tier.own.rows[1].keep, 1);
}

TEST(tier_sizes)
{
    static const struct {
        size_t ask, get, class_index;
    } cases[] = {
        {0, 4096, 0},      {1, 4096, 0},      {4095, 4096, 0},       {4096, 4096, 0},
        {4097, 16384, 1},  {16384, 16384, 1}, {16385, 17408, 2},     {17408, 17408, 2},
        {17409, 65536, 3}, {65536, 65536, 3}, {65537, 65537, 4},     {70001, 70001, 4},
        {1000000, 1000000, 4},
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
        if (cases[i].class_index < 4) CHECK_POISONED(buffer + size - 1, 1);
        CHECK_EQ(tier_stats(&tier, cases[i].class_index).live, before);
        CHECK(mm_tier_check(&tier));
    }
    CHECK_EQ(memory.live_blocks, 4); /* one of each class; none of those served directly */
    CHECK_EQ(memory.live_bytes, 4096 + 16384 + 17408 + 65536);
    CHECK_EQ(tier_stats(&tier, 4).peak, 1);
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
    CHECK_EQ(tier_stats(&tier, 4).failures, 1);
    CHECK_EQ(tier_stats(&tier, 4).bytes, 0);
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
        if (left[i] != 0) {
            CHECK(mm_tier_get(&tier, 16384, &size) == buffers[9]);
            mm_tier_put(&tier, buffers[9], size, 0);
        }
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
    MMI_POOL_REVEAL(ptr, size); /* Valgrind has it as indeterminate since it was put */
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
    CHECK_EQ(tier_stats(&tier, 3).failures, 0);
    mm_tier_put(&tier, large, 65536, 0);
    a = mm_tier_allocator(&tier);
    mm_budget_set_limit(&budget, 65536 + 4096 + 1000);
    block = a->alloc_fn(1000, a->user_data);
    CHECK(block != NULL); /* a block that grows outside the classes finds room as well */
    CHECK_EQ(tier_stats(&tier, 3).cached, 1);
    grown = a->realloc_fn(block, 1000, 20000, a->user_data);
    CHECK(grown != NULL);
    CHECK_EQ(tier_stats(&tier, 3).cached, 0);
    CHECK(a->realloc_fn(grown, 20000, 70000, a->user_data) == NULL);
    CHECK_EQ(tier_stats(&tier, 4).failures, 1);
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
    if (entry->by_allocator && mmi_tier_near(&tier->own, size)->size > size) {
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
        for (i = live = bytes = 0; i < 5; i++) {
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
    } cases[] = {{1, 4},     {2047, 4},  {2048, 0},  {4096, 0},  {4097, 4},
                 {8191, 4},  {8192, 1},  {16384, 1}, {16385, 2}, {17408, 2},
                 {17409, 4}, {32768, 3}, {65536, 3}, {65537, 4}, {200000, 4}};
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
        if (cases[i].class_index < 4 && tier.own.rows[cases[i].class_index].size > size) {
            CHECK_POISONED(block + size, 1);
        }
        a->free_fn(block, size, a->user_data);
        CHECK_EQ(tier_stats(&tier, cases[i].class_index).live, 0);
        if (cases[i].class_index < 4) CHECK_EQ(tier_stats(&tier, cases[i].class_index).cached, 1);
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
                          tier_stats(&tier, 2).failures + tier_stats(&tier, 3).failures +
                          tier_stats(&tier, 4).failures);
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
    mmi_tier_flush(&tier.own.rows[0], 1); /* behind the front */
    CHECK(mm_tier_check(&tier));
    mmi_tier_seal(buffer, buffer, NULL, 0, size); /* a circle, as a double put makes */
    CHECK(!mm_tier_check(&tier));
    mmi_tier_seal(buffer, NULL, NULL, 0, size);
    tier.own.rows[0].stored = 0;
    CHECK(!mm_tier_check(&tier));
    tier.own.rows[0].stored = 1;
    tier.own.rows[0].floor = 1;
    CHECK(!mm_tier_check(&tier));
    tier.own.rows[0].floor = 0;
    tier.own.rows[0].keep = 0;
    CHECK(!mm_tier_check(&tier));
    tier.own.rows[0].keep = 1;
    CHECK(mm_tier_check(&tier));
    CHECK_EQ(mm_tier_deinit(&tier), 0);
}

TEST(tier_misuse_is_found)
{
    static mm_tier tier;
    static mm_tier_stats stats;
    static void *buffer;
    size_t size;
    CHECK_EQ(tier_open(&tier, NULL, false), MM_STATUS_OK);
    buffer = mm_tier_get(&tier, 4000, &size);
    CHECK(buffer != NULL);
    CHECK_MISUSE(mm_tier_put(&tier, buffer, 4000, 0)); /* what was asked for, not what was got */
    CHECK_MISUSE(mm_tier_put(&tier, buffer, 16384, 0));
    CHECK_MISUSE(mm_tier_get_stats(&tier, 5, &stats));
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
    mm_slab_desc desc = {0};
    mm_slab slab;
    mm_handle handle = 0, last = 0;
    void *object;
    uint32_t count;
    test_allocator_init(&memory);
    budget_open(&budget, 50000, NULL, &memory.base);
    desc.size = 200;
    desc.allocator = mm_budget_allocator(&budget);
    CHECK_EQ(mm_slab_init(&slab, &desc), MM_STATUS_OK);
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

TEST_MAIN(T(tier_desc_is_checked), T(tier_defaults), T(tier_sizes), T(tier_huge_requests_fail),
          T(tier_of_zero_bytes_serves_directly), T(tier_keeps_what_it_may_last_put_first),
          T(tier_trim_frees_the_coldest), T(tier_wipes_what_is_dirty),
          T(tier_without_wipe_leaves_bytes_alone), T(tier_gives_up_its_cache_before_it_fails),
          T(tier_against_a_model), T(tier_as_allocator), T(tier_each_allocation_fails),
          T(tier_check_finds_damage), T(tier_misuse_is_found), T(budget_counts_up_to_its_limit),
          T(budget_near_the_end_of_size_t), T(budget_tree_charges_all_or_none),
          T(budget_percent_and_new_limits), T(budget_as_allocator),
          T(budget_survives_memory_refused), T(budget_under_a_slab), T(budget_misuse_is_found),
          T(budget_is_exact_under_threads), T(budget_is_never_over_under_threads))
