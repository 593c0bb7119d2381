/* mm_pool.h: object pool, slab, reference counts, cleanup. */
#include "../pool_tools.h"
#include <pthread.h>

/* ---- pool ---- */

/* In segments, whoever looks on: what is tested is mostly how they are filled. */
static mm_status pool_open(mm_pool *pool, size_t size, size_t alignment, size_t segment_objects,
                           const mm_allocator *allocator)
{
    mm_pool_desc desc = {0};
    desc.mode = MM_POOL_MODE_SEGMENTS;
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
        {16, 0, SIZE_MAX / 256, MM_STATUS_OK},
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

TEST(pool_desc_has_known_modes)
{
    mm_pool_desc desc = {0};
    mm_pool pool;
    desc.size = 8;
    desc.zero = (mm_pool_zero)(MM_POOL_ZERO_SECRET + 1);
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_INVALID);
    CHECK(is_zero(&pool, sizeof(pool)));
    desc.zero = MM_POOL_ZERO_SECRET;
    desc.mode = (mm_pool_mode)(MM_POOL_MODE_SEPARATE + 1);
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_INVALID);
    CHECK(is_zero(&pool, sizeof(pool)));
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
        if (pool.stride - pool.front > size) CHECK_POISONED(objects[i] + size, 1);
        if (pool.front != 0) CHECK_POISONED(objects[i] - 1, 1);
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
    test_allocator_init(&memory);
    CHECK_EQ(pool_open(&pool, 64, 0, 0, &memory.base), MM_STATUS_OK);
    CHECK(mm_pool_get(&pool) != NULL);
    CHECK_EQ(memory.live_blocks, 1);
    CHECK(memory.live_bytes <= 16384 && memory.live_bytes > 16384 - pool.stride);
    CHECK_EQ(mm_pool_deinit(&pool), 1);
    CHECK_EQ(memory.live_blocks, 0);
}

enum { MODEL_OBJECTS = 600 };

static void walk_nothing(void *object, const char *file, int line, void *user_data)
{
    (void)object, (void)file, (void)line, (void)user_data;
}

static void pool_model_figures(mm_pool *pool, const test_allocator *memory, size_t live,
                               size_t peak)
{
    mm_pool_stats stats;
    mm_pool_get_stats(pool, &stats);
    CHECK_EQ(stats.live, live);
    CHECK_EQ(stats.peak, peak);
    CHECK_EQ(stats.bytes, memory->live_bytes);
    CHECK_EQ(stats.waste, stats.bytes - (stats.live + stats.cached) * stats.size);
    if (pool->separate) CHECK_EQ(memory->live_blocks, live);
    else CHECK_EQ(stats.live + stats.cached, memory->live_blocks * pool->segment_objects);
}

/* Random gets and puts, and seldom what moves memory, against a list of what is out. */
static void pool_model(uint64_t seed, const mm_pool_desc *model)
{
    unsigned char *out[MODEL_OBJECTS];
    uint64_t tag[MODEL_OBJECTS], state = seed;
    size_t live = 0, peak = 0, step, size = model->size;
    mm_pool_desc desc = *model;
    test_allocator memory;
    mm_pool pool;
    test_allocator_init(&memory);
    desc.allocator = &memory.base;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    for (step = 0; step < 6000; step++) {
        uint64_t random = test_random(&state);
        int growing = step / 1000 % 2 == 0;
        if (live < MODEL_OBJECTS && random % 8 < (growing ? 5u : 3u)) {
            out[live] = (unsigned char *)mm_pool_get(&pool);
            CHECK(out[live] != NULL);
            if (desc.zero != MM_POOL_ZERO_NONE) CHECK(is_zero(out[live], size));
            tag[live] = random >> 8;
            fill(out[live], size, tag[live]);
            if (++live > peak) peak = live;
        } else if (live > 0) {
            size_t i = (size_t)(random >> 8) % live;
            CHECK(is_filled(out[i], size, tag[i]));
            if (random >> 60 == 0) mm_pool_put_remote(&pool, out[i]);
            else mm_pool_put(&pool, out[i]);
            live--;
            out[i] = out[live];
            tag[i] = tag[live];
        }
        if (random >> 40 & 15) CHECK_SUB(pool_model_figures(&pool, &memory, live, peak));
        if ((random >> 44 & 255) == 0) (void)mm_pool_trim(&pool, (unsigned)(random >> 52 & 127));
        if ((random >> 44 & 63) == 1) (void)mm_pool_decay(&pool);
        if ((random >> 44 & 255) == 2) CHECK_EQ(mm_pool_walk(&pool, walk_nothing, NULL), live);
        if (step % 16 == 0) CHECK(mm_pool_check(&pool));
    }
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), live);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(pool_against_a_model)
{
    static const struct {
        size_t size, segment_objects;
    } cases[] = {{24, 0}, {1, 8}, {1000, 0}, {48, 1000}};
    uint64_t seed = 1;
    size_t i;
    int mode, zero;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (mode = MM_POOL_MODE_SEGMENTS; mode <= MM_POOL_MODE_SEPARATE; mode++) {
            for (zero = 0; zero < 4; zero++) {
                mm_pool_desc desc = {0};
                if (zero == MM_POOL_ZERO_SECRET && i != 0) continue; /* pages are what differs */
                desc.size = cases[i].size;
                desc.segment_objects = cases[i].segment_objects;
                desc.mode = (mm_pool_mode)mode;
                desc.zero = (mm_pool_zero)zero;
                CHECK_SUB(pool_model(seed++, &desc));
            }
        }
    }
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

TEST(pool_allocator_misuse_is_found)
{
    static mm_pool pool;
    static void *object;
    CHECK_EQ(pool_open(&pool, 48, 0, 8, NULL), MM_STATUS_OK);
    object = mm_pool_get(&pool);
    CHECK(object != NULL);
    CHECK_MISUSE(mm_pool_allocator(&pool)->free_fn(object, 49, &pool));
    CHECK_EQ(mm_pool_deinit(&pool), 1);
}

#ifdef MM_DEBUG
/* What misuse_fn was told. */
typedef struct witness {
    mm_pool_misuse last;
    int count;
} witness;

static void note_misuse(const mm_pool_misuse *misuse, void *user_data)
{
    witness *w = (witness *)user_data;
    w->last = *misuse;
    w->count++;
}

static void open_watched(mm_pool *pool, witness *w)
{
    mm_pool_desc desc = {0};
    memset(w, 0, sizeof(*w));
    desc.size = 48;
    desc.segment_objects = 8;
    desc.mode = MM_POOL_MODE_SEGMENTS;
    desc.misuse_fn = note_misuse;
    desc.misuse_data = w;
    CHECK_EQ(mm_pool_init(pool, &desc), MM_STATUS_OK);
}

static void a_put_in_vain(mm_pool *pool, void *object, witness *w, int remote)
{
    int before = w->count, line;
    size_t live = mm_pool_live(pool);
    if (remote) {
        line = __LINE__ + 1;
        mm_pool_put_remote(pool, object);
    } else {
        line = __LINE__ + 1;
        mm_pool_put(pool, object);
    }
    CHECK_EQ(w->count, before + 1);
    CHECK_EQ(w->last.line, line);
    CHECK_STR(w->last.file, __FILE__);
    CHECK(w->last.pool == pool && w->last.object == object);
    CHECK_EQ(mm_pool_live(pool), live);
    CHECK(mm_pool_check(pool));
}

TEST(pool_wrong_puts_are_found)
{
    static unsigned char elsewhere[1000];
    mm_pool pool, other;
    witness w, theirs;
    unsigned char *object, *foreign;
    int i, remote;
    CHECK_SUB(open_watched(&pool, &w));
    CHECK_SUB(open_watched(&other, &theirs));
    for (i = 0; i < 20; i++) CHECK(mm_pool_get(&pool) != NULL);
    for (remote = 0; remote < 2; remote++) {
        object = (unsigned char *)mm_pool_get(&pool);
        foreign = (unsigned char *)mm_pool_get(&other);
        CHECK(object != NULL && foreign != NULL);
        CHECK_SUB(a_put_in_vain(&pool, foreign, &w, remote));
        CHECK_STR(w.last.what, "put of what this pool did not hand out");
        CHECK(w.last.get_file == NULL);
        CHECK_SUB(a_put_in_vain(&pool, elsewhere + 500, &w, remote));
        CHECK_SUB(a_put_in_vain(&pool, object + 1, &w, remote));
        CHECK_SUB(a_put_in_vain(&pool, object + 16, &w, remote));
        CHECK_SUB(a_put_in_vain(&pool, object + pool.stride, &w, remote)); /* was never out */
        if (remote) mm_pool_put_remote(&pool, object);
        else mm_pool_put(&pool, object);
        i = __LINE__ - 1;
        CHECK_SUB(a_put_in_vain(&pool, object, &w, remote));
        CHECK_STR(w.last.what, "put twice");
        CHECK_STR(w.last.put_file, __FILE__);
        CHECK(w.last.put_line == i || w.last.put_line == i - 1);
        CHECK(w.last.get_line > 0 && w.last.get_line < i);
        CHECK_SUB(a_put_in_vain(&pool, object, &w, !remote));
    }
    CHECK_EQ(mm_pool_deinit(&other), 2);
    CHECK_EQ(mm_pool_deinit(&pool), 20);
    CHECK_EQ(theirs.count, 0);
}

TEST(pool_writes_after_the_put_are_found)
{
    size_t at;
    for (at = 0; at < 48; at += 47) {
        mm_pool pool;
        witness w;
        unsigned char *object;
        int line;
        CHECK_SUB(open_watched(&pool, &w));
        object = (unsigned char *)mm_pool_get(&pool);
        CHECK(object != NULL);
        line = __LINE__ + 1;
        mm_pool_put(&pool, object);
        MMI_POOL_REVEAL(object, 48); /* or a memory checker would find it first */
        object[at] = 'x';
        CHECK(mm_pool_get(&pool) == object);
        CHECK_EQ(w.count, 1);
        CHECK_STR(w.last.what, "written to after its put");
        CHECK_EQ(w.last.put_line, line);
        CHECK_EQ(w.last.line, line + 3);
        mm_pool_put(&pool, object);
        CHECK(mm_pool_get(&pool) == object);
        CHECK_EQ(w.count, 1);
        CHECK_EQ(mm_pool_deinit(&pool), 1);
    }
}

TEST(pool_misuse_is_an_assertion)
{
    static mm_pool pool;
    static void *object;
    CHECK_EQ(pool_open(&pool, 48, 0, 8, NULL), MM_STATUS_OK);
    object = mm_pool_get(&pool);
    CHECK(object != NULL);
    mm_pool_put(&pool, object);
    CHECK_MISUSE(mm_pool_put(&pool, object));
    CHECK_EQ(mm_pool_deinit(&pool), 0);
}
#else
TEST(pool_wrong_puts_are_found)
{
}
#define pool_writes_after_the_put_are_found pool_wrong_puts_are_found
#define pool_misuse_is_an_assertion pool_wrong_puts_are_found
#endif

#ifndef MM_DEBUG
/* Where nothing looks for it, a second put makes the list a circle; to count it must end. */
TEST(pool_counts_in_spite_of_a_circle)
{
    mm_pool_desc desc = {0};
    static mm_pool pool;
    void *object;
    desc.size = 16;
    desc.mode = MM_POOL_MODE_SEGMENTS;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    if (pool.slow) return; /* a memory checker sees it */
    object = mm_pool_get(&pool);
    CHECK(object != NULL && mm_pool_get(&pool) != NULL);
    mm_pool_put(&pool, object);
    mm_pool_put(&pool, object);
    CHECK(!mm_pool_check(&pool));
    CHECK_MISUSE((void)mm_pool_live(&pool));
    pool.free_list = NULL;
    (void)mm_pool_deinit(&pool);
}
#else
TEST(pool_counts_in_spite_of_a_circle)
{
}
#endif

TEST(pool_check_finds_damage)
{
    mm_pool pool;
    void *a, *b, *list, **top;
    CHECK_EQ(pool_open(&pool, 32, 0, 8, NULL), MM_STATUS_OK);
    a = mm_pool_get(&pool);
    b = mm_pool_get(&pool);
    CHECK(a != NULL && b != NULL);
    mm_pool_put(&pool, a);
    CHECK(mm_pool_check(&pool));
    top = pool.slow ? &pool.held : &pool.free_list;
    list = *top;
    *top = &pool; /* not an object */
    CHECK(!mm_pool_check(&pool));
    *top = list;
    pool.held_count++; /* more than are there */
    CHECK(!mm_pool_check(&pool));
    pool.held_count--;
    mmi_pool_set_next(&pool, a, a); /* a circle */
    CHECK(!mm_pool_check(&pool));
    mmi_pool_set_next(&pool, a, b); /* one that is out: only heads tell */
    if (pool.front != 0) CHECK(!mm_pool_check(&pool));
    mmi_pool_set_next(&pool, a, NULL);
    pool.segment_count++;
    CHECK(!mm_pool_check(&pool));
    pool.segment_count--;
    pool.objects++;
    CHECK(!mm_pool_check(&pool));
    pool.objects--;
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), 1);
}

static unsigned char caller_memory[8192];

static void pool_in_memory(size_t size, size_t alignment, size_t objects, size_t shift,
                           mm_pool_zero zero)
{
    mm_pool_desc desc = {0};
    mm_pool_stats stats;
    mm_pool pool;
    size_t i, got = 0, needed;
    void *out[64];
    desc.size = size;
    desc.alignment = alignment;
    desc.zero = zero;
    needed = mm_pool_bytes_needed(&desc, objects);
    CHECK(needed != 0 && needed + shift <= sizeof(caller_memory));
    desc.memory = caller_memory + shift;
    desc.memory_size = needed;
    desc.fixed = true;
    memset(caller_memory, 0x77, sizeof(caller_memory));
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    while (got < 64 && (out[got] = mm_pool_get(&pool)) != NULL) fill(out[got], size, got), got++;
    CHECK(got >= objects && got <= objects + 2 + alignment / size);
    for (i = 0; i < got; i++) {
        CHECK_EQ((uintptr_t)out[i] % pool.alignment, 0);
        CHECK(is_filled(out[i], size, i));
        CHECK((unsigned char *)out[i] >= caller_memory + shift);
        CHECK((unsigned char *)out[i] + size <= caller_memory + shift + needed);
        mm_pool_put(&pool, out[i]);
    }
    mm_pool_get_stats(&pool, &stats);
    CHECK_EQ(stats.failures, 1);
    CHECK_EQ(stats.peak, got);
    CHECK_EQ(mm_pool_trim(&pool, 0), 0);
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), 0);
    for (i = 0; i < shift; i++) CHECK_EQ(caller_memory[i], 0x77);
    for (i = shift + needed; i < sizeof(caller_memory); i++) CHECK_EQ(caller_memory[i], 0x77);
}

TEST(pool_in_memory_of_the_caller)
{
    size_t shift;
    int zero;
    for (shift = 0; shift < 20; shift++) {
        for (zero = 0; zero < 4; zero++) {
            CHECK_SUB(pool_in_memory(40, 0, 10, shift, (mm_pool_zero)zero));
            CHECK_SUB(pool_in_memory(1, 1, 20, shift, (mm_pool_zero)zero));
            CHECK_SUB(pool_in_memory(100, 64, 7, shift, (mm_pool_zero)zero));
            CHECK_SUB(pool_in_memory(8, 8, 1, shift, (mm_pool_zero)zero));
        }
    }
}

TEST(pool_memory_first_then_the_allocator)
{
    mm_pool_desc desc = {0};
    test_allocator memory;
    mm_pool_stats stats;
    mm_pool pool;
    void *out[50];
    size_t i;
    test_allocator_init(&memory);
    desc.size = 64;
    desc.segment_objects = 8;
    desc.allocator = &memory.base;
    desc.memory = caller_memory;
    desc.memory_size = mm_pool_bytes_needed(&desc, 10);
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    for (i = 0; i < 10; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
    CHECK_EQ(memory.calls, 0);
    for (; i < 50; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
    CHECK_EQ(memory.live_blocks, 5);
    for (i = 0; i < 50; i++) mm_pool_put(&pool, out[i]);
    CHECK(mm_pool_trim(&pool, 0) > 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK(mm_pool_check(&pool));
    mm_pool_get_stats(&pool, &stats);
    CHECK_EQ(stats.cached, 10); /* the caller's stay */
    CHECK_EQ(stats.peak, 50);
    CHECK(mm_pool_get(&pool) != NULL);
    CHECK_EQ(mm_pool_deinit(&pool), 1);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(pool_memory_that_is_wrong)
{
    mm_pool_desc desc = {0};
    mm_pool pool;
    size_t size;
    desc.size = 32;
    desc.fixed = true;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_INVALID);
    CHECK(is_zero(&pool, sizeof(pool)));
    desc.memory = caller_memory;
    for (size = 0; size < mm_pool_bytes_needed(&desc, 1) - 15; size++) {
        desc.memory_size = size;
        CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_INVALID);
    }
    desc.memory_size = sizeof(caller_memory);
    desc.mode = MM_POOL_MODE_SEPARATE;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_INVALID);
    CHECK_EQ(mm_pool_bytes_needed(&desc, SIZE_MAX), 0);
    CHECK_EQ(mm_pool_bytes_needed(&desc, SIZE_MAX / 8), 0);
    desc.size = 0;
    CHECK_EQ(mm_pool_bytes_needed(&desc, 1), 0);
}

TEST(pool_capacity_is_kept)
{
    int separate;
    for (separate = 0; separate < 2; separate++) {
        mm_pool_desc desc = {0};
        mm_pool_stats stats;
        mm_pool pool;
        void *out[10];
        size_t i, round;
        desc.size = 10;
        desc.capacity = 10;
        desc.mode = separate ? MM_POOL_MODE_SEPARATE : MM_POOL_MODE_SEGMENTS;
        CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
        for (round = 0; round < 3; round++) {
            for (i = 0; i < 10; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
            CHECK(mm_pool_get(&pool) == NULL);
            mm_pool_put_remote(&pool, out[0]);
            CHECK((out[0] = mm_pool_get(&pool)) != NULL);
            CHECK(mm_pool_get(&pool) == NULL);
            for (i = 0; i < 10; i++) mm_pool_put(&pool, out[i]);
            CHECK(mm_pool_check(&pool));
        }
        mm_pool_get_stats(&pool, &stats);
        CHECK_EQ(stats.peak, 10);
        CHECK_EQ(stats.failures, 6);
        CHECK_EQ(mm_pool_deinit(&pool), 0);
    }
}

/* What an object is like when it is got first, and after it was written all over and put. */
static void pool_zeroes(mm_pool_zero zero, mm_pool_mode mode, size_t size)
{
    mm_pool_desc desc = {0};
    test_allocator memory;
    mm_pool pool;
    int round;
    test_allocator_init(&memory);
    desc.size = size;
    desc.zero = zero;
    desc.mode = mode;
    desc.allocator = &memory.base;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    for (round = 0; round < 3; round++) {
        unsigned char *a = (unsigned char *)mm_pool_get(&pool);
        unsigned char *b = (unsigned char *)mm_pool_get(&pool);
        CHECK(a != NULL && b != NULL);
        if (zero != MM_POOL_ZERO_NONE) CHECK(is_zero(a, size) && is_zero(b, size));
        memset(a, 0xFF, size);
        memset(b, 0xFF, size);
        mm_pool_put(&pool, a);
        if (!pool.separate && zero >= MM_POOL_ZERO_ON_PUT) { /* nothing of it is left */
            size_t link = pool.front == 0 ? sizeof(void *) : 0;
            MMI_POOL_REVEAL(a, size);
            if (size > link) CHECK(is_zero(a + link, size - link));
            MM_TRACK_POISON(a, size);
        }
        if (round == 1) mm_pool_put_remote(&pool, b);
        else mm_pool_put(&pool, b);
        CHECK(mm_pool_check(&pool));
    }
    CHECK_EQ(mm_pool_deinit(&pool), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(pool_zero_policies)
{
    static const size_t sizes[] = {1, 7, 8, 9, 100, 5000};
    size_t i;
    int zero, mode;
    for (zero = 0; zero < 4; zero++) {
        for (mode = 0; mode < 3; mode++) {
            for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                CHECK_SUB(pool_zeroes((mm_pool_zero)zero, (mm_pool_mode)mode, sizes[i]));
            }
        }
    }
}

static size_t freed_secrets;

static void secret_free(void *ptr, size_t size, void *user_data)
{
    const unsigned char *bytes = (const unsigned char *)ptr;
    size_t i;
    MMI_POOL_REVEAL(ptr, size);
    for (i = 0; i + 8 <= size; i++) freed_secrets += memcmp(bytes + i, "PASSWORD", 8) == 0;
    test_free(ptr, size, user_data);
}

TEST(pool_secrets_are_gone_when_memory_goes)
{
    int mode;
    for (mode = 1; mode < 3; mode++) {
        mm_pool_desc desc = {0};
        test_allocator memory;
        mm_pool pool;
        void *object;
        int i;
        test_allocator_init(&memory);
        memory.base.free_fn = secret_free;
        desc.size = 100;
        desc.zero = MM_POOL_ZERO_SECRET;
        desc.mode = (mm_pool_mode)mode;
        desc.allocator = &memory.base;
        CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
        freed_secrets = 0;
        for (i = 0; i < 50; i++) {
            object = mm_pool_get(&pool);
            CHECK(object != NULL);
            memcpy((char *)object + 50, "PASSWORD", 8);
            if (i % 2) mm_pool_put(&pool, object);
        }
        CHECK_EQ(mm_pool_deinit(&pool), 25); /* still out: they are wiped all the same */
        CHECK_EQ(freed_secrets, 0);
        CHECK_EQ(memory.live_blocks, 0);
    }
}

#ifdef __linux__
/* The flags that the kernel has for the mapping of an address: "dd" is "do not dump". */
static int is_out_of_dumps(const void *ptr)
{
    char line[512];
    int inside = 0, found = -1;
    FILE *maps = fopen("/proc/self/smaps", "r");
    if (maps == NULL) return -1;
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long long from, to;
        if (sscanf(line, "%llx-%llx ", &from, &to) == 2) {
            inside = (uintptr_t)ptr >= from && (uintptr_t)ptr < to;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            found = strstr(line, " dd") != NULL;
        }
    }
    fclose(maps);
    return found;
}

TEST(pool_secrets_are_not_dumped)
{
    mm_pool_desc desc = {0};
    mm_pool pool;
    unsigned char *object, *other;
    size_t i, per_page;
    desc.size = 100;
    desc.zero = MM_POOL_ZERO_SECRET;
    desc.mode = MM_POOL_MODE_SEGMENTS;
    desc.segment_objects = 8;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    per_page = 4096 / pool.stride;
    CHECK(pool.segment_objects >= per_page); /* the page is filled */
    object = (unsigned char *)mm_pool_get(&pool);
    CHECK(object != NULL);
    CHECK_EQ((uintptr_t)(object - pool.front) % 4096, 0);
    for (i = 1; i < pool.segment_objects; i++) CHECK(mm_pool_get(&pool) != NULL);
    CHECK_EQ(pool.segment_count, 1);
    if (is_out_of_dumps(&desc) == 0) { /* the kernel tells */
        CHECK_EQ(is_out_of_dumps(object), 1);
        CHECK_EQ(is_out_of_dumps(object + (pool.segment_objects - 1) * pool.stride + 99), 1);
        CHECK_EQ(mm_pool_deinit(&pool), i);
        other = (unsigned char *)malloc(5000); /* likely the same memory */
        CHECK(other != NULL);
        CHECK_EQ(is_out_of_dumps(other), 0);
        free(other);
        return;
    }
    CHECK_EQ(mm_pool_deinit(&pool), i);
}
#else
TEST(pool_secrets_are_not_dumped)
{
}
#endif

typedef struct walk_log {
    void *seen[1000];
    size_t count, named;
    mm_pool *put_to;
} walk_log;

static void walk_note(void *object, const char *file, int line, void *user_data)
{
    walk_log *log = (walk_log *)user_data;
    if (log->count < 1000) log->seen[log->count++] = object;
    log->named += file != NULL && strcmp(file, __FILE__) == 0 && line > 0;
    if (log->put_to != NULL) mm_pool_put(log->put_to, object);
}

static void pool_is_walked(mm_pool_mode mode, mm_pool_zero zero)
{
    static walk_log log;
    mm_pool_desc desc = {0};
    mm_pool pool;
    void *out[300];
    size_t i, j, live = 300;
    uint64_t state = 5;
    desc.size = 24;
    desc.segment_objects = 16;
    desc.mode = mode;
    desc.zero = zero;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    for (i = 0; i < 300; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
    while (live > 120) {
        i = (size_t)(test_random(&state) >> 8) % live;
        if (live % 3 == 0) mm_pool_put_remote(&pool, out[i]);
        else mm_pool_put(&pool, out[i]);
        out[i] = out[--live];
    }
    memset(&log, 0, sizeof(log));
    CHECK_EQ(mm_pool_walk(&pool, walk_note, &log), live);
    CHECK_EQ(log.count, live);
    for (i = 0; i < live; i++) {
        for (j = 0; j < live && log.seen[j] != out[i]; j++) continue;
        CHECK(j < live);
        log.seen[j] = NULL;
    }
#ifdef MM_DEBUG
    CHECK_EQ(log.named, live);
#endif
    CHECK(mm_pool_check(&pool));
    memset(&log, 0, sizeof(log));
    log.put_to = &pool;
    CHECK_EQ(mm_pool_walk(&pool, walk_note, &log), live);
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_live(&pool), 0);
    CHECK_EQ(mm_pool_walk(&pool, walk_note, &log), 0);
    for (i = 0; i < 300; i++) CHECK(mm_pool_get(&pool) != NULL); /* all are still there, once */
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), 300);
}

TEST(pool_live_objects_are_walked)
{
    CHECK_SUB(pool_is_walked(MM_POOL_MODE_SEGMENTS, MM_POOL_ZERO_NONE));
    CHECK_SUB(pool_is_walked(MM_POOL_MODE_SEGMENTS, MM_POOL_ZERO_ON_PUT));
    CHECK_SUB(pool_is_walked(MM_POOL_MODE_SEPARATE, MM_POOL_ZERO_NONE));
    CHECK_SUB(pool_is_walked(MM_POOL_MODE_DEFAULT, MM_POOL_ZERO_ON_GET));
}

TEST(pool_keeps_objects_separate)
{
    static const size_t alignments[] = {0, 1, 8, 16, 64, 4096};
    size_t i, j;
    for (j = 0; j < sizeof(alignments) / sizeof(alignments[0]); j++) {
        mm_pool_desc desc = {0};
        test_allocator memory;
        mm_pool_stats stats;
        mm_pool pool;
        unsigned char *out[20];
        test_allocator_init(&memory);
        desc.size = 33;
        desc.alignment = alignments[j];
        desc.mode = MM_POOL_MODE_SEPARATE;
        desc.allocator = &memory.base;
        CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
        for (i = 0; i < 20; i++) {
            out[i] = (unsigned char *)mm_pool_get(&pool);
            CHECK(out[i] != NULL);
            CHECK_EQ((uintptr_t)out[i] % pool.alignment, 0);
            CHECK_POISONED(out[i] - 1, 1);
            fill(out[i], 33, i);
        }
        CHECK_EQ(memory.live_blocks, 20);
        CHECK(mm_pool_check(&pool));
        mm_pool_get_stats(&pool, &stats);
        CHECK_EQ(stats.bytes, memory.live_bytes);
        CHECK_EQ(stats.waste, memory.live_bytes - 20 * 33);
        for (i = 0; i < 10; i++) {
            CHECK(is_filled(out[i], 33, i));
            if (i % 2) mm_pool_put(&pool, out[i]);
            else mm_pool_put_remote(&pool, out[i]);
            CHECK(mm_pool_check(&pool));
        }
        CHECK_EQ(mm_pool_collect(&pool), 5);
        CHECK_EQ(mm_pool_live(&pool), 10);
        CHECK_EQ(memory.live_blocks, 10);
        CHECK_EQ(mm_pool_trim(&pool, 0), 0);
        CHECK_EQ(mm_pool_decay(&pool), 0);
        mm_pool_get_stats(&pool, &stats);
        CHECK_EQ(stats.live, 10);
        CHECK_EQ(stats.cached, 0);
        CHECK_EQ(stats.peak, 20);
        test_allocator_fail(&memory, 1, 0);
        CHECK(mm_pool_get(&pool) == NULL);
        CHECK(mm_pool_check(&pool));
        CHECK_EQ(mm_pool_deinit(&pool), 10);
        CHECK_EQ(memory.live_blocks, 0);
        CHECK_EQ(memory.bad_sizes, 0);
    }
}

/* Without asking for it, where a memory checker runs. */
TEST(pool_is_separate_for_memory_checkers)
{
    mm_pool_desc desc = {0};
    mm_pool pool;
    desc.size = 8;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    CHECK_EQ(pool.separate, mmi_pool_is_watched());
    CHECK_EQ(mm_pool_deinit(&pool), 0);
}

TEST(pool_created_and_destroyed)
{
    mm_pool_desc desc = {0};
    test_allocator memory;
    mm_pool *pool;
    test_allocator_init(&memory);
    desc.size = 8;
    desc.allocator = &memory.base;
    pool = mm_pool_create(&desc);
    CHECK(pool != NULL);
    CHECK(mm_pool_get(pool) != NULL);
    CHECK_EQ(mm_pool_destroy(pool), 1);
    CHECK_EQ(memory.live_blocks, 0);
    desc.size = 0;
    CHECK(mm_pool_create(&desc) == NULL);
    CHECK_EQ(memory.live_blocks, 0);
    desc.size = 8;
    test_allocator_fail(&memory, 1, 0);
    CHECK(mm_pool_create(&desc) == NULL);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(pool_trim_leaves_what_is_in_use)
{
    mm_pool pool;
    void *out[160];
    size_t i;
    CHECK_EQ(pool_open(&pool, 64, 0, 16, NULL), MM_STATUS_OK);
    for (i = 0; i < 160; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
    for (i = 0; i < 160; i++) fill(out[i], 64, i);
    for (i = 0; i < 160; i++) {
        if (i % 16 != 7) mm_pool_put(&pool, out[i]); /* all but one of each segment */
    }
    CHECK_EQ(mm_pool_trim(&pool, 0), 0);
    CHECK(mm_pool_check(&pool));
    for (i = 7; i < 160; i += 16) CHECK(is_filled(out[i], 64, i));
    mm_pool_put(&pool, out[7]);
    CHECK_EQ(mm_pool_trim(&pool, 0), pool.segment_bytes);
    for (i = 7 + 16; i < 160; i += 16) CHECK(is_filled(out[i], 64, i));
    CHECK_EQ(mm_pool_deinit(&pool), 9);
}

TEST(pool_trim_frees_what_is_empty)
{
    test_allocator memory;
    mm_pool_stats stats;
    mm_pool pool;
    void *out[160];
    size_t i;
    test_allocator_init(&memory);
    CHECK_EQ(pool_open(&pool, 64, 0, 16, &memory.base), MM_STATUS_OK);
    CHECK_EQ(mm_pool_trim(&pool, 0), 0);
    for (i = 0; i < 155; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
    CHECK_EQ(memory.live_blocks, 10);
    for (i = 0; i < 96; i++) mm_pool_put(&pool, out[i]); /* six segments, and five are fresh */
    CHECK_EQ(mm_pool_trim(&pool, 100), 0);
    CHECK_EQ(mm_pool_trim(&pool, 1000), 0);
    CHECK_EQ(mm_pool_trim(&pool, 50), 3 * pool.segment_bytes);
    CHECK_EQ(memory.live_blocks, 7);
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_trim(&pool, 0), 3 * pool.segment_bytes);
    CHECK_EQ(memory.live_blocks, 4);
    CHECK_EQ(mm_pool_trim(&pool, 0), 0);
    mm_pool_get_stats(&pool, &stats);
    CHECK_EQ(stats.peak, 155);
    CHECK_EQ(stats.live, 59);
    CHECK_EQ(stats.cached, 5);
    for (i = 0; i < 96; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
    mm_pool_get_stats(&pool, &stats);
    CHECK_EQ(stats.peak, 155);
    for (i = 0; i < 155; i++) mm_pool_put(&pool, out[i]);
    CHECK_EQ(mm_pool_trim(&pool, 0), 10 * pool.segment_bytes); /* the one with fresh ones too */
    CHECK_EQ(memory.live_blocks, 0);
    CHECK(mm_pool_check(&pool));
    CHECK(mm_pool_get(&pool) != NULL);
    CHECK_EQ(mm_pool_deinit(&pool), 1);
    CHECK_EQ(memory.bad_sizes, 0);
}

/* A load that falls from 1600 objects to 100: memory follows, but not what the load still uses. */
TEST(pool_decay_follows_the_load)
{
    static void *out[1600];
    test_allocator memory;
    mm_pool_stats stats;
    mm_pool pool;
    size_t i, round, calls;
    test_allocator_init(&memory);
    CHECK_EQ(pool_open(&pool, 64, 0, 16, &memory.base), MM_STATUS_OK);
    CHECK_EQ(mm_pool_decay(&pool), 0);
    for (i = 0; i < 1600; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
    for (i = 0; i < 1600; i++) mm_pool_put(&pool, out[i]);
    CHECK_EQ(mm_pool_decay(&pool), 0); /* all was in use since the last call */
    for (round = 0; round < 12; round++) {
        size_t before = memory.live_blocks;
        for (i = 0; i < 100; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
        for (i = 0; i < 100; i++) mm_pool_put(&pool, out[i]);
        CHECK((mm_pool_decay(&pool) > 0) == (memory.live_blocks < before));
        CHECK(memory.live_blocks * 2 + 1 >= before); /* no more than half at a time */
        CHECK(mm_pool_check(&pool));
    }
    mm_pool_get_stats(&pool, &stats);
    CHECK(stats.cached >= 100 && stats.cached <= 100 + 3 * 16 + MMI_POOL_UNHOLD);
    CHECK_EQ(stats.peak, 1600);
    calls = memory.calls;
    for (round = 0; round < 50; round++) { /* a steady load is left alone */
        for (i = 0; i < 100; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
        for (i = 0; i < 100; i++) mm_pool_put(&pool, out[i]);
        CHECK_EQ(mm_pool_decay(&pool), 0);
    }
    CHECK_EQ(memory.calls, calls);
    CHECK_EQ(mm_pool_deinit(&pool), 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(pool_stays_last_in_first_out_over_decay)
{
    static void *out[500];
    mm_pool pool;
    size_t i;
    CHECK_EQ(pool_open(&pool, 16, 0, 500, NULL), MM_STATUS_OK);
    for (i = 0; i < 500; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
    for (i = 0; i < 200; i++) mm_pool_put(&pool, out[i]);
    CHECK_EQ(mm_pool_decay(&pool), 0);
    for (; i < 500; i++) mm_pool_put(&pool, out[i]);
    for (; i > 300; i--) CHECK(mm_pool_get(&pool) == out[i - 1]);
    CHECK_EQ(mm_pool_decay(&pool), 0);
    for (; i > 0; i--) CHECK(mm_pool_get(&pool) == out[i - 1]);
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), 500);
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
    *mmi_slab_slot_at(&slab, 0) = (uint64_t)UINT32_MAX << 32; /* its next generation is the last */
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
            if (slab.stride > 48) CHECK_POISONED(object + 40, 1);
        }
        CHECK_EQ(slab.stride, (48 + slab.alignment - 1) / slab.alignment * slab.alignment);
        CHECK_EQ(slab.segment_bytes, 16 * slab.stride + slab.alignment);
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
    saved = *mmi_slab_slot_at(&slab, 0);
    *mmi_slab_slot_at(&slab, 0) = a; /* live again, though free */
    CHECK(!mm_slab_check(&slab));
    *mmi_slab_slot_at(&slab, 0) = saved | 100; /* leads beyond the end */
    CHECK(!mm_slab_check(&slab));
    *mmi_slab_slot_at(&slab, 0) = 0; /* a retired slot in the free list */
    CHECK(!mm_slab_check(&slab));
    *mmi_slab_slot_at(&slab, 0) = saved;
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

static unsigned char slab_memory[16384];

static void slab_in_memory(size_t size, size_t alignment, uint32_t capacity, size_t shift)
{
    mm_slab_desc desc = {0};
    mm_slab slab;
    mm_pool_stats stats;
    mm_handle handles[100], over;
    void *object;
    size_t needed, i, round;
    desc.size = size;
    desc.alignment = alignment;
    desc.capacity = capacity;
    needed = mm_slab_bytes_needed(&desc);
    CHECK(needed != 0 && needed + shift <= sizeof(slab_memory));
    desc.memory = slab_memory + shift;
    desc.memory_size = needed;
    memset(slab_memory, 0x77, sizeof(slab_memory));
    CHECK_EQ(mm_slab_init(&slab, &desc), MM_STATUS_OK);
    for (round = 0; round < 3; round++) {
        for (i = 0; i < capacity; i++) {
            handles[i] = mm_slab_insert(&slab, &object);
            CHECK(handles[i] != 0);
            CHECK((unsigned char *)object >= slab_memory + shift);
            CHECK((unsigned char *)object + size <= slab_memory + shift + needed);
            CHECK_EQ((uintptr_t)object % slab.alignment, 0);
            fill(object, size, handles[i]);
        }
        over = mm_slab_insert(&slab, &object);
        CHECK(over == 0 && object == NULL);
        CHECK(mm_slab_check(&slab));
        for (i = 0; i < capacity; i++) {
            CHECK(is_filled(mm_slab_get(&slab, handles[i]), size, handles[i]));
            if (round < 2) CHECK_EQ(mm_slab_remove(&slab, handles[i]), MM_STATUS_OK);
        }
    }
    mm_slab_get_stats(&slab, &stats);
    CHECK_EQ(stats.live, capacity);
    CHECK_EQ(stats.cached, 0);
    CHECK_EQ(stats.failures, 3);
    CHECK_EQ(stats.waste, stats.bytes - capacity * size);
    CHECK_EQ(mm_slab_deinit(&slab), capacity);
    for (i = 0; i < shift; i++) CHECK_EQ(slab_memory[i], 0x77);
    for (i = shift + needed; i < sizeof(slab_memory); i++) CHECK_EQ(slab_memory[i], 0x77);
}

TEST(slab_in_memory_of_the_caller)
{
    size_t shift;
    for (shift = 0; shift < 17; shift++) {
        CHECK_SUB(slab_in_memory(40, 0, 100, shift));
        CHECK_SUB(slab_in_memory(1, 1, 33, shift));
        CHECK_SUB(slab_in_memory(100, 64, 8, shift));
        CHECK_SUB(slab_in_memory(8, 8, 1, shift));
    }
}

TEST(slab_capacity_from_memory)
{
    mm_slab_desc desc = {0};
    mm_slab slab;
    void *object;
    uint32_t count = 0;
    desc.size = 100;
    desc.memory = slab_memory;
    for (desc.memory_size = 0; desc.memory_size < 100; desc.memory_size++) {
        CHECK_EQ(mm_slab_init(&slab, &desc), MM_STATUS_INVALID);
        CHECK(is_zero(&slab, sizeof(slab)));
    }
    desc.memory_size = sizeof(slab_memory);
    CHECK_EQ(mm_slab_init(&slab, &desc), MM_STATUS_OK);
    while (mm_slab_insert(&slab, &object) != 0) count++;
    CHECK(count >= 136 && count <= 146);
    CHECK_EQ(mm_slab_deinit(&slab), count);
    desc.capacity = count + 1;
    CHECK_EQ(mm_slab_init(&slab, &desc), MM_STATUS_INVALID);
    desc.capacity = count;
    CHECK_EQ(mm_slab_init(&slab, &desc), MM_STATUS_OK);
    CHECK_EQ(mm_slab_deinit(&slab), 0);
    CHECK_EQ(mm_slab_bytes_needed(&desc) > 0, 1);
    desc.capacity = 0;
    CHECK_EQ(mm_slab_bytes_needed(&desc), 0);
    desc.capacity = 0x80000001u;
    CHECK_EQ(mm_slab_bytes_needed(&desc), 0);
    desc.capacity = 5;
    desc.size = SIZE_MAX / 4;
    CHECK_EQ(mm_slab_bytes_needed(&desc), 0);
    desc.size = 0;
    CHECK_EQ(mm_slab_bytes_needed(&desc), 0);
}

/* A retired slot is not replaced where there is no memory for another. */
TEST(slab_retires_in_memory_of_the_caller)
{
    mm_slab_desc desc = {0};
    mm_slab slab;
    mm_handle handle;
    void *object;
    desc.size = 16;
    desc.capacity = 2;
    desc.memory = slab_memory;
    desc.memory_size = mm_slab_bytes_needed(&desc);
    CHECK_EQ(mm_slab_init(&slab, &desc), MM_STATUS_OK);
    handle = mm_slab_insert(&slab, &object);
    CHECK_EQ(mm_slab_remove(&slab, handle), MM_STATUS_OK);
    *mmi_slab_slot_at(&slab, 0) = (uint64_t)UINT32_MAX << 32;
    handle = mm_slab_insert(&slab, &object);
    CHECK_EQ(mm_slab_remove(&slab, handle), MM_STATUS_OK);
    CHECK_EQ(slab.retired, 1);
    CHECK(mm_slab_insert(&slab, &object) != 0);
    CHECK_EQ(mm_slab_insert(&slab, &object), 0);
    CHECK(mm_slab_check(&slab));
    CHECK_EQ(mm_slab_deinit(&slab), 1);
}

/* ---- reference counts ---- */

TEST(ref_counts)
{
    mm_ref ref;
    mm_ref_init(&ref);
    CHECK_EQ(mm_ref_count(&ref), 1);
    mm_ref_retain(&ref);
    CHECK(mm_ref_retain_unless_zero(&ref));
    CHECK_EQ(mm_ref_count(&ref), 3);
    CHECK(!mm_ref_release(&ref));
    CHECK(!mm_ref_release(&ref));
    CHECK(mm_ref_release(&ref));
    CHECK_EQ(mm_ref_count(&ref), 0);
    CHECK(!mm_ref_retain_unless_zero(&ref));
    CHECK_EQ(mm_ref_count(&ref), 0);
}

TEST(ref_saturates)
{
    mm_ref ref;
    size_t i;
    ref.count = SIZE_MAX / 2 - 1;
    mm_ref_retain(&ref);
    CHECK_EQ(mm_ref_count(&ref), SIZE_MAX / 2);
    CHECK(!mm_ref_release(&ref));
    mm_ref_retain(&ref);
    mm_ref_retain(&ref);
    mm_ref_retain(&ref); /* beyond the half: for ever */
    CHECK(mm_ref_count(&ref) > SIZE_MAX / 2);
    for (i = 0; i < 100; i++) CHECK(!mm_ref_release(&ref));
    for (i = 0; i < 100; i++) mm_ref_retain(&ref);
    CHECK(mm_ref_retain_unless_zero(&ref));
    CHECK(mm_ref_count(&ref) > SIZE_MAX / 2 && mm_ref_count(&ref) < SIZE_MAX - SIZE_MAX / 8);
}

/* A release or retain too many is an assertion, and where there is none the count is stuck. */
TEST(ref_misuse_is_found)
{
    static mm_ref ref;
    static bool last;
    ref.count = 0;
    CHECK_MISUSE(last = mm_ref_release(&ref));
    CHECK(!last);
    ref.count = 0;
    CHECK_MISUSE(mm_ref_retain(&ref));
    ref.count = SIZE_MAX; /* as the release leaves it, for whoever is quick */
    CHECK(!mm_ref_release(&ref));
    CHECK(mm_ref_count(&ref) > SIZE_MAX / 2);
}

typedef struct event {
    mm_object object;
    int number;
    size_t *ended;
} event;

static void end_event(void *object)
{
    event *e = (event *)object;
    *e->ended += (size_t)e->number;
}

static mm_status event_pool_open(mm_pool *pool, const mm_allocator *allocator)
{
    mm_pool_desc desc = {0};
    desc.size = sizeof(event);
    desc.allocator = allocator;
    return mm_pool_init(pool, &desc);
}

TEST(objects_go_home_when_nobody_holds_them)
{
    test_allocator memory;
    mm_pool pool;
    event *e;
    size_t ended = 0, i;
    test_allocator_init(&memory);
    CHECK_EQ(event_pool_open(&pool, &memory.base), MM_STATUS_OK);
    for (i = 1; i <= 4; i++) {
        e = (event *)mm_object_new(&pool, i == 4 ? NULL : end_event);
        CHECK(e != NULL);
        e->number = (int)i;
        e->ended = &ended;
        mm_object_retain(e);
        CHECK(mm_object_retain_unless_zero(e));
        CHECK_EQ(mm_ref_count(&e->object.ref), 3);
        CHECK(!mm_object_release(e));
        CHECK(!mm_object_release_local(e));
        CHECK_EQ(mm_pool_live(&pool), 1);
        CHECK(i % 2 ? mm_object_release(e) : mm_object_release_local(e));
        CHECK_EQ(mm_pool_live(&pool), 0);
        CHECK(mm_pool_check(&pool));
    }
    CHECK_EQ(ended, 1 + 2 + 3);
    test_allocator_fail(&memory, 1, 1);
    while ((e = (event *)mm_object_new(&pool, NULL)) != NULL) CHECK(mm_pool_live(&pool) < 10000);
    CHECK(mm_pool_check(&pool));
    (void)mm_pool_deinit(&pool);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

/* ---- cleanup ---- */

static char cleanup_log[100];
static mm_cleanup *cleanup_running;
static mm_cleanup_entry *cleanup_other;

static void cleanup_note(void *user_data)
{
    strncat(cleanup_log, (const char *)user_data, sizeof(cleanup_log) - strlen(cleanup_log) - 1);
}

static void cleanup_nest(void *user_data)
{
    cleanup_note(user_data);
    if (mm_cleanup_add(cleanup_running, cleanup_note, (void *)(uintptr_t) "n") == NULL) abort();
    if (cleanup_other != NULL) mm_cleanup_cancel(cleanup_running, cleanup_other);
    cleanup_other = NULL;
}

static mm_cleanup_entry *cleanup_letter(mm_cleanup *cleanup, const char *letter)
{
    return mm_cleanup_add(cleanup, cleanup_note, (void *)(uintptr_t)letter);
}

TEST(cleanups_run_last_first)
{
    mm_cleanup cleanup = {0};
    mm_cleanup_entry *b, *d, *e;
    cleanup_log[0] = '\0';
    CHECK_EQ(mm_cleanup_run_all(&cleanup), 0);
    CHECK(cleanup_letter(&cleanup, "a") != NULL);
    CHECK((b = cleanup_letter(&cleanup, "b")) != NULL);
    CHECK(cleanup_letter(&cleanup, "c") != NULL);
    CHECK((d = cleanup_letter(&cleanup, "d")) != NULL);
    CHECK((e = cleanup_letter(&cleanup, "e")) != NULL);
    CHECK_EQ(cleanup.count, 5);
    mm_cleanup_cancel(&cleanup, b);
    mm_cleanup_run(&cleanup, d);
    CHECK_STR(cleanup_log, "d");
    mm_cleanup_cancel(&cleanup, e);
    CHECK(cleanup_letter(&cleanup, "f") != NULL);
    CHECK_EQ(mm_cleanup_run_all(&cleanup), 3);
    CHECK_STR(cleanup_log, "dfca");
    CHECK_EQ(cleanup.count, 0);
    CHECK(cleanup_letter(&cleanup, "g") != NULL);
    CHECK(cleanup_letter(&cleanup, "h") != NULL);
    mm_cleanup_cancel_all(&cleanup);
    CHECK(cleanup_letter(&cleanup, "i") != NULL);
    mm_cleanup_deinit(&cleanup);
    CHECK_STR(cleanup_log, "dfcai");
    CHECK(is_zero(&cleanup, sizeof(cleanup)));
}

TEST(cleanups_register_and_cancel_while_they_run)
{
    mm_cleanup cleanup = {0};
    cleanup_log[0] = '\0';
    cleanup_running = &cleanup;
    CHECK(cleanup_letter(&cleanup, "a") != NULL);
    CHECK((cleanup_other = cleanup_letter(&cleanup, "b")) != NULL);
    CHECK(mm_cleanup_add(&cleanup, cleanup_nest, (void *)(uintptr_t) "c") != NULL);
    CHECK_EQ(mm_cleanup_run_all(&cleanup), 3);
    CHECK_STR(cleanup_log, "cna");
    mm_cleanup_deinit(&cleanup);
}

TEST(cleanups_survive_memory_refused)
{
    int for_ever;
    size_t n;
    for (for_ever = 0; for_ever < 2; for_ever++) {
        for (n = 1; n < 6; n++) {
            test_allocator memory;
            mm_cleanup cleanup;
            size_t i, added = 0;
            cleanup_log[0] = '\0';
            test_allocator_init(&memory);
            CHECK_EQ(mm_cleanup_init(&cleanup, &memory.base, NULL, 0), MM_STATUS_OK);
            test_allocator_fail(&memory, n, for_ever);
            for (i = 0; i < 90; i++) added += cleanup_letter(&cleanup, "x") != NULL;
            CHECK_EQ(added + memory.failures, 90);
            CHECK_EQ(cleanup.count, added);
            mm_cleanup_deinit(&cleanup);
            CHECK_EQ(strlen(cleanup_log), added);
            CHECK_EQ(memory.live_blocks, 0);
            CHECK_EQ(memory.bad_sizes, 0);
        }
    }
}

TEST(cleanups_use_the_callers_memory_first)
{
    unsigned char block[8 * (sizeof(mm_cleanup_entry) + 200) + 64];
    test_allocator memory;
    mm_cleanup cleanup;
    int i;
    test_allocator_init(&memory);
    cleanup_log[0] = '\0';
    CHECK_EQ(mm_cleanup_init(&cleanup, &memory.base, block, 10), MM_STATUS_INVALID);
    CHECK(is_zero(&cleanup, sizeof(cleanup)));
    CHECK_EQ(mm_cleanup_init(&cleanup, &memory.base, block, sizeof(block)), MM_STATUS_OK);
    for (i = 0; i < 8; i++) CHECK(cleanup_letter(&cleanup, "x") != NULL);
    CHECK_EQ(memory.calls, 0);
    for (; i < 1000 && memory.calls == 0; i++) CHECK(cleanup_letter(&cleanup, "x") != NULL);
    CHECK(memory.calls > 0);
    CHECK_EQ(mm_cleanup_run_all(&cleanup), (size_t)i);
    mm_cleanup_deinit(&cleanup);
    CHECK_EQ(memory.live_blocks, 0);
}

/* ---- threads ---- */

/* A box that hands objects from one thread to another. */
typedef struct mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    void *objects[256];
    size_t count;
    int closed;
} mailbox;

static void mailbox_open(mailbox *box)
{
    memset(box, 0, sizeof(*box));
    pthread_mutex_init(&box->mutex, NULL);
    pthread_cond_init(&box->changed, NULL);
}

static void mailbox_post(mailbox *box, void *object)
{
    pthread_mutex_lock(&box->mutex);
    while (box->count == 256) pthread_cond_wait(&box->changed, &box->mutex);
    box->objects[box->count++] = object;
    pthread_cond_signal(&box->changed);
    pthread_mutex_unlock(&box->mutex);
}

static void mailbox_close(mailbox *box)
{
    pthread_mutex_lock(&box->mutex);
    box->closed = 1;
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->mutex);
}

/* All that is in the box; 0: it is closed. */
static size_t mailbox_take(mailbox *box, void **objects)
{
    size_t count;
    pthread_mutex_lock(&box->mutex);
    while (box->count == 0 && !box->closed) pthread_cond_wait(&box->changed, &box->mutex);
    count = box->count;
    memcpy(objects, box->objects, count * sizeof(*objects));
    box->count = 0;
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->mutex);
    return count;
}

enum { GIVERS = 3, HANDED_SIZE = 40 };

typedef struct giver { /* a thread that gives back what it is sent */
    pthread_t thread;
    mailbox box;
    mm_pool *pool;
    size_t damaged, given;
} giver;

static void *give_back(void *user_data)
{
    giver *g = (giver *)user_data;
    void *objects[256];
    size_t count, i;
    while ((count = mailbox_take(&g->box, objects)) != 0) {
        for (i = 0; i < count; i++) {
            g->damaged += !is_filled(objects[i], HANDED_SIZE, (uintptr_t)objects[i] >> 4);
            memset(objects[i], 0xEE, HANDED_SIZE);
            mm_pool_put_remote(g->pool, objects[i]);
            g->given++;
        }
    }
    return NULL;
}

/* The owner gets objects and sends them to the others, keeps some, and puts those itself. */
static void pool_is_shared(mm_pool_mode mode, mm_pool_zero zero, size_t operations)
{
    static giver givers[GIVERS];
    mm_pool_desc desc = {0};
    test_allocator memory;
    mm_pool_stats stats;
    mm_pool pool;
    uint64_t state = 11;
    size_t i, sent = 0, given = 0;
    test_allocator_init(&memory);
    desc.size = HANDED_SIZE;
    desc.mode = mode;
    desc.zero = zero;
    desc.segment_objects = 64;
    desc.allocator = &memory.base;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    for (i = 0; i < GIVERS; i++) {
        memset(&givers[i], 0, sizeof(givers[i]));
        givers[i].pool = &pool;
        mailbox_open(&givers[i].box);
        CHECK_EQ(pthread_create(&givers[i].thread, NULL, give_back, &givers[i]), 0);
    }
    for (i = 0; i < operations; i++) {
        uint64_t random = test_random(&state);
        unsigned char *object = (unsigned char *)mm_pool_get(&pool);
        CHECK(object != NULL);
        if (zero != MM_POOL_ZERO_NONE) CHECK(is_zero(object, HANDED_SIZE));
        fill(object, HANDED_SIZE, (uintptr_t)object >> 4);
        if (random % 4 == GIVERS) {
            mm_pool_put(&pool, object);
        } else {
            mailbox_post(&givers[random % 4].box, object);
            sent++;
        }
        if (random % 1024 == 0) (void)mm_pool_collect(&pool);
        if (random % 4096 == 1) (void)mm_pool_decay(&pool);
        if (random % 4096 == 2) (void)mm_pool_trim(&pool, 50);
    }
    for (i = 0; i < GIVERS; i++) mailbox_close(&givers[i].box);
    for (i = 0; i < GIVERS; i++) {
        CHECK_EQ(pthread_join(givers[i].thread, NULL), 0);
        CHECK_EQ(givers[i].damaged, 0);
        given += givers[i].given;
    }
    CHECK_EQ(given, sent);
    CHECK_EQ(mm_pool_live(&pool), 0);
    CHECK(mm_pool_check(&pool));
    mm_pool_get_stats(&pool, &stats);
    CHECK_EQ(stats.bytes, memory.live_bytes);
    CHECK(stats.peak <= operations);
    CHECK_EQ(mm_pool_deinit(&pool), 0);
    CHECK_EQ(memory.live_bytes, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(pool_takes_back_from_other_threads)
{
    CHECK_SUB(pool_is_shared(MM_POOL_MODE_SEGMENTS, MM_POOL_ZERO_NONE, 20000));
    CHECK_SUB(pool_is_shared(MM_POOL_MODE_SEGMENTS, MM_POOL_ZERO_ON_PUT, 10000));
    CHECK_SUB(pool_is_shared(MM_POOL_MODE_SEPARATE, MM_POOL_ZERO_SECRET, 10000));
}

/* Several threads put at the same time, without an owner that slows them down. */
typedef struct pusher {
    pthread_t thread;
    mm_pool *pool;
    void *objects[1000];
} pusher;

static void *push_all(void *user_data)
{
    pusher *p = (pusher *)user_data;
    mm_pool_batch batch = {0};
    size_t i;
    for (i = 0; i < 500; i++) mm_pool_put_remote(p->pool, p->objects[i]);
    for (; i < 1000; i++) mm_pool_put_batched(p->pool, &batch, p->objects[i]);
    mm_pool_batch_flush(p->pool, &batch);
    return NULL;
}

TEST(pool_loses_nothing_of_what_many_put)
{
    static pusher pushers[4];
    mm_pool pool;
    size_t i, j;
    CHECK_EQ(pool_open(&pool, 16, 0, 0, NULL), MM_STATUS_OK);
    for (i = 0; i < 4; i++) {
        pushers[i].pool = &pool;
        for (j = 0; j < 1000; j++) CHECK((pushers[i].objects[j] = mm_pool_get(&pool)) != NULL);
    }
    for (i = 0; i < 4; i++) {
        CHECK_EQ(pthread_create(&pushers[i].thread, NULL, push_all, &pushers[i]), 0);
    }
    for (i = 0; i < 500; i++) { /* the owner is busy as well */
        void *object = mm_pool_get(&pool);
        CHECK(object != NULL);
        mm_pool_put(&pool, object);
    }
    for (i = 0; i < 4; i++) CHECK_EQ(pthread_join(pushers[i].thread, NULL), 0);
    CHECK_EQ(mm_pool_live(&pool), 0);
    CHECK(mm_pool_check(&pool));
    (void)mm_pool_collect(&pool);
    CHECK(mm_pool_check(&pool));
    CHECK_EQ(mm_pool_deinit(&pool), 0);
}

TEST(pool_takes_back_batches)
{
    int mode;
    for (mode = 0; mode < 3; mode++) {
        mm_pool_desc desc = {0};
        mm_pool_batch batch = {0};
        mm_pool pool;
        void *out[200];
        size_t i;
        desc.size = 8;
        desc.mode = (mm_pool_mode)mode;
        CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
        mm_pool_batch_flush(&pool, &batch); /* nothing waits */
        CHECK_EQ(mm_pool_live(&pool), 0);
        for (i = 0; i < 200; i++) CHECK((out[i] = mm_pool_get(&pool)) != NULL);
        for (i = 0; i < 200; i++) {
            mm_pool_put_batched(&pool, &batch, out[i]);
            if (!pool.slow) CHECK_EQ(mm_pool_live(&pool), 200 - (i + 1) / 64 * 64);
            CHECK(mm_pool_check(&pool));
        }
        mm_pool_batch_flush(&pool, &batch);
        CHECK(is_zero(&batch, sizeof(batch)));
        CHECK_EQ(mm_pool_live(&pool), 0);
        CHECK(mm_pool_check(&pool));
        for (i = 0; i < 200; i++) CHECK(mm_pool_get(&pool) != NULL);
        CHECK_EQ(mm_pool_deinit(&pool), 200);
    }
}

typedef struct holder {
    pthread_t thread;
    event *e;
    size_t last;
} holder;

static void *hold_and_release(void *user_data)
{
    holder *h = (holder *)user_data;
    size_t i;
    for (i = 0; i < 2000; i++) {
        mm_object_retain(h->e);
        h->last += mm_object_release(h->e);
    }
    h->last += mm_object_release(h->e); /* the reference that it was made with */
    return NULL;
}

TEST(objects_end_once_whoever_is_last)
{
    int round;
    mm_pool pool;
    CHECK_EQ(event_pool_open(&pool, NULL), MM_STATUS_OK);
    for (round = 0; round < 20; round++) {
        static holder holders[4];
        size_t ended = 0, last = 0, i;
        event *e = (event *)mm_object_new(&pool, end_event);
        CHECK(e != NULL);
        e->number = 1;
        e->ended = &ended;
        for (i = 0; i < 4; i++) {
            holders[i].e = e;
            holders[i].last = 0;
            mm_object_retain(e);
        }
        for (i = 0; i < 4; i++) {
            CHECK_EQ(pthread_create(&holders[i].thread, NULL, hold_and_release, &holders[i]), 0);
        }
        last += mm_object_release_local(e);
        for (i = 0; i < 4; i++) {
            CHECK_EQ(pthread_join(holders[i].thread, NULL), 0);
            last += holders[i].last;
        }
        CHECK_EQ(last, 1);
        CHECK_EQ(ended, 1);
        CHECK_EQ(mm_pool_live(&pool), 0);
        CHECK(mm_pool_check(&pool));
    }
    CHECK_EQ(mm_pool_deinit(&pool), 0);
}

/* A cache with one place: it does not hold what it finds, and its lock keeps the memory. */
typedef struct cache {
    pthread_mutex_t mutex;
    event *found;
    mm_pool pool;
} cache;

static cache the_cache;

static void leave_cache(void *object)
{
    pthread_mutex_lock(&the_cache.mutex);
    if (the_cache.found == object) the_cache.found = NULL;
    pthread_mutex_unlock(&the_cache.mutex);
}

static void *look_up(void *user_data)
{
    size_t *hits = (size_t *)user_data, i;
    for (i = 0; i < 5000; i++) {
        event *e;
        pthread_mutex_lock(&the_cache.mutex);
        e = the_cache.found;
        if (e != NULL && !mm_object_retain_unless_zero(e)) e = NULL;
        pthread_mutex_unlock(&the_cache.mutex);
        if (e == NULL) continue;
        *hits += e->number == 42;
        (void)mm_object_release(e);
    }
    return NULL;
}

TEST(objects_are_found_in_a_cache_until_they_go)
{
    pthread_t threads[2];
    size_t hits[2] = {0, 0}, i;
    event *e;
    CHECK_EQ(pthread_mutex_init(&the_cache.mutex, NULL), 0);
    CHECK_EQ(event_pool_open(&the_cache.pool, NULL), MM_STATUS_OK);
    for (i = 0; i < 2; i++) CHECK_EQ(pthread_create(&threads[i], NULL, look_up, &hits[i]), 0);
    for (i = 0; i < 3000; i++) {
        e = (event *)mm_object_new(&the_cache.pool, leave_cache);
        CHECK(e != NULL);
        e->number = 42;
        pthread_mutex_lock(&the_cache.mutex);
        the_cache.found = e;
        pthread_mutex_unlock(&the_cache.mutex);
        (void)mm_object_release(e);
    }
    for (i = 0; i < 2; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(mm_pool_live(&the_cache.pool), 0);
    CHECK(mm_pool_check(&the_cache.pool));
    CHECK_EQ(mm_pool_deinit(&the_cache.pool), 0);
}

static void expect_place(void *object, const char *file, int line, void *user_data)
{
    (void)object;
    if (*(int *)user_data == 0) CHECK(file == NULL && line == 0);
    else CHECK_STR(file, __FILE__);
    CHECK_EQ(line, *(int *)user_data);
}

TEST(objects_know_where_they_were_made)
{
    mm_pool_desc desc = {0};
    mm_pool pool;
    void *object;
    int line = 0;
    desc.size = sizeof(mm_object);
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    object = mm_object_new(&pool, NULL);
#ifdef MM_DEBUG
    line = __LINE__ - 2;
#endif
    CHECK(object != NULL);
    CHECK_EQ(mm_pool_walk(&pool, expect_place, &line), 1);
    CHECK(mm_object_release_local(object));
    object = (mm_object_new)(&pool, NULL);
    line = 0;
    CHECK_EQ(mm_pool_walk(&pool, expect_place, &line), 1);
    CHECK((mm_object_release)(object));
    CHECK(mm_pool_allocator(&pool)->alloc_fn(8, &pool) != NULL);
    CHECK_EQ(mm_pool_walk(&pool, expect_place, &line), 1);
    CHECK_EQ(mm_pool_deinit(&pool), 1);
}

TEST(cleanups_say_how_much_memory_they_need)
{
    static unsigned char memory[1024];
    size_t count, i, offset;
    for (count = 1; count < 5; count++) {
        for (offset = 0; offset < 16; offset++) {
            size_t size = mm_cleanup_bytes_needed(count);
            test_allocator refuses;
            mm_cleanup cleanup;
            test_allocator_init(&refuses);
            CHECK(size != 0 && size + offset <= sizeof(memory));
            CHECK_EQ(mm_cleanup_init(&cleanup, &refuses.base, memory + offset, size), MM_STATUS_OK);
            for (i = 0; i < count; i++) CHECK(mm_cleanup_add(&cleanup, free, NULL) != NULL);
            CHECK_EQ(refuses.calls, 0);
            mm_cleanup_deinit(&cleanup);
        }
    }
    CHECK_EQ(mm_cleanup_bytes_needed(SIZE_MAX / 16), 0);
}

/* ---- reclaim functions that give back where memory is asked for ---- */

typedef struct yielder { /* what is given back when the budget is full */
    mm_pool *pool;
    mm_slab *slab;
    void *object;
    mm_handle handle;
    bool trims;
} yielder;

static size_t yield_up(size_t wanted, void *user_data)
{
    yielder *what = (yielder *)user_data;
    if (what->object != NULL) mm_pool_put(what->pool, what->object);
    what->object = NULL;
    if (what->handle != 0) (void)mm_slab_remove(what->slab, what->handle);
    what->handle = 0;
    if (what->trims) (void)mm_pool_trim(what->pool, 0);
    return wanted;
}

static void budget_of_one_segment(mm_budget *budget, yielder *what)
{
    mm_budget_desc desc = {0};
    desc.limit = 20000; /* a segment, and no second one */
    desc.reclaim_fn = yield_up;
    desc.reclaim_data = what;
    mm_budget_init(budget, &desc);
}

static void get_what_reclaim_puts(mm_pool_zero zero, bool trims)
{
    mm_pool_desc desc = {0};
    yielder what = {0};
    mm_budget budget;
    mm_pool pool;
    void *object;
    budget_of_one_segment(&budget, &what);
    desc.size = 64;
    desc.zero = zero;
    desc.mode = MM_POOL_MODE_SEGMENTS;
    desc.allocator = mm_budget_allocator(&budget);
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    what.pool = &pool;
    what.trims = trims;
    while ((object = mm_pool_get(&pool)) != NULL && pool.fresh_count != 0) what.object = object;
    CHECK(object != NULL);
    object = what.object;
    CHECK(mm_pool_get(&pool) == object); /* the budget refused, and an object has come home */
    CHECK_EQ(mm_pool_live(&pool), pool.objects);
    CHECK(mm_pool_get(&pool) == NULL);
    CHECK_EQ(pool.failures, 1);
    CHECK(mm_pool_check(&pool));
    (void)mm_pool_deinit(&pool);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

TEST(pool_gets_what_reclaim_puts)
{
    CHECK_SUB(get_what_reclaim_puts(MM_POOL_ZERO_NONE, false));
    CHECK_SUB(get_what_reclaim_puts(MM_POOL_ZERO_NONE, true));
    CHECK_SUB(get_what_reclaim_puts(MM_POOL_ZERO_ON_PUT, false));
}

static void *got_within; /* by an allocator that comes back to the pool */

static void *alloc_and_get(size_t size, void *user_data)
{
    mm_pool *pool = (mm_pool *)user_data;
    if (pool->segment_count == 0 && got_within == NULL) {
        got_within = pool; /* no deeper */
        got_within = mm_pool_get(pool);
    }
    return malloc(size);
}

static void *realloc_no(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    (void)ptr, (void)old_size, (void)new_size, (void)user_data;
    return NULL;
}

static void free_plain(void *ptr, size_t size, void *user_data)
{
    (void)size, (void)user_data;
    free(ptr);
}

TEST(pool_counts_what_is_got_within_a_get)
{
    mm_pool_desc desc = {0};
    mm_allocator allocator;
    mm_pool pool;
    void *object;
    allocator.alloc_fn = alloc_and_get;
    allocator.realloc_fn = realloc_no;
    allocator.free_fn = free_plain;
    allocator.user_data = &pool;
    got_within = NULL;
    desc.size = 64;
    desc.mode = MM_POOL_MODE_SEGMENTS;
    desc.allocator = &allocator;
    CHECK_EQ(mm_pool_init(&pool, &desc), MM_STATUS_OK);
    object = mm_pool_get(&pool);
    CHECK(object != NULL && got_within != NULL && object != got_within);
    CHECK_EQ(pool.segment_count, 1);
    CHECK_EQ(mm_pool_deinit(&pool), 2);
}

TEST(slab_inserts_where_reclaim_removes)
{
    mm_slab_desc desc = {0};
    yielder what = {0};
    mm_budget budget;
    mm_slab slab;
    mm_handle handle, first = 0;
    void *object;
    uint32_t i;
    budget_of_one_segment(&budget, &what);
    desc.size = 56;
    desc.allocator = mm_budget_allocator(&budget);
    CHECK_EQ(mm_slab_init(&slab, &desc), MM_STATUS_OK);
    what.slab = &slab;
    for (i = 0; i == 0 || i < slab.slots; i++) {
        handle = mm_slab_insert(&slab, &object);
        CHECK(handle != 0);
        if (first == 0) first = handle;
    }
    what.handle = first;
    handle = mm_slab_insert(&slab, &object);
    CHECK(handle != 0 && handle != first && (uint32_t)handle == (uint32_t)first);
    CHECK(mm_slab_get(&slab, handle) == object && mm_slab_get(&slab, first) == NULL);
    CHECK_EQ(mm_slab_insert(&slab, &object), 0);
    CHECK(mm_slab_check(&slab));
    CHECK_EQ(mm_slab_deinit(&slab), i);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

/* ---- soak ---- */

/* Operations of each of the two soaks. For the long one:
       make build/tests/unit/pool_objects_release
       MM_SOAK=50000000 build/tests/unit/pool_objects_release soak */
static size_t soak_operations(void)
{
    const char *text = getenv("MM_SOAK");
    size_t operations = text == NULL ? 0 : (size_t)strtoull(text, NULL, 10);
    return operations != 0 ? operations : 200000;
}

enum { SOAK_POOLS = 4, SOAK_OBJECTS = 20000 };

/* The first word of an object says whose it is. */
static void soak_mark(void *object, size_t size, size_t number)
{
    memcpy(object, &number, size < sizeof(number) ? size : sizeof(number));
    ((unsigned char *)object)[size - 1] = (unsigned char)number;
}

static int soak_is_marked(const void *object, size_t size, size_t number)
{
    return ((const unsigned char *)object)[size - 1] == (unsigned char)number &&
           (size < 16 || memcmp(object, &number, sizeof(number)) == 0);
}

typedef struct soak_slot { /* what one index has out: a pool's object, or a slab's handle */
    void *object;
    mm_handle handle;
} soak_slot;

static void soak_step(soak_slot *slot, size_t number, mm_pool *pool, mm_slab *slab)
{
    if (pool != NULL) {
        if (slot->object == NULL) {
            slot->object = mm_pool_get(pool);
            CHECK(slot->object != NULL);
            soak_mark(slot->object, pool->size, number);
            return;
        }
        CHECK(soak_is_marked(slot->object, pool->size, number));
        if (number % 8 == 0) mm_pool_put_remote(pool, slot->object);
        else mm_pool_put(pool, slot->object);
        slot->object = NULL;
        return;
    }
    if (slot->handle == 0 || mm_slab_get(slab, slot->handle) == NULL) {
        void *object;
        CHECK(mm_slab_remove(slab, slot->handle) == MM_STATUS_NOT_FOUND);
        slot->handle = mm_slab_insert(slab, &object);
        CHECK(slot->handle != 0);
        soak_mark(object, slab->size, number);
        return;
    }
    CHECK(soak_is_marked(mm_slab_get(slab, slot->handle), slab->size, number));
    CHECK_EQ(mm_slab_remove(slab, slot->handle), MM_STATUS_OK); /* the handle stays, stale */
}

/* The load swells and falls: the part of the indices that are used changes all the time. */
TEST(soak_of_pools_and_a_slab)
{
    static const size_t sizes[SOAK_POOLS] = {1, 24, 64, 500};
    static soak_slot slots[SOAK_OBJECTS];
    size_t operations = soak_operations(), i, p;
    uint64_t state = 3;
    test_allocator memory;
    mm_pool pools[SOAK_POOLS];
    mm_slab slab;
    test_allocator_init(&memory);
    for (p = 0; p < SOAK_POOLS; p++) {
        CHECK_EQ(pool_open(&pools[p], sizes[p], 0, 0, &memory.base), MM_STATUS_OK);
    }
    CHECK_EQ(slab_open(&slab, 48, 0, 0, 0, &memory.base), MM_STATUS_OK);
    for (i = 0; i < operations; i++) {
        uint64_t random = test_random(&state);
        size_t span = (i >> 16) % 4 * (SOAK_OBJECTS / 4) + SOAK_OBJECTS / 4;
        size_t number = (size_t)(random >> 32) % span;
        p = number % (SOAK_POOLS + 1);
        CHECK_SUB(soak_step(&slots[number], number, p < SOAK_POOLS ? &pools[p] : NULL, &slab));
        if (i % 65536 == 0) {
            for (p = 0; p < SOAK_POOLS; p++) (void)mm_pool_decay(&pools[p]);
        }
        if (i % 10000019 == 0) {
            for (p = 0; p < SOAK_POOLS; p++) CHECK(mm_pool_check(&pools[p]));
            CHECK(mm_slab_check(&slab));
        }
    }
    for (i = 0; i < SOAK_OBJECTS; i++) { /* what is out goes back */
        p = i % (SOAK_POOLS + 1);
        if (p < SOAK_POOLS && slots[i].object != NULL) {
            CHECK_SUB(soak_step(&slots[i], i, &pools[p], &slab));
        } else if (p == SOAK_POOLS) {
            (void)mm_slab_remove(&slab, slots[i].handle);
        }
    }
    for (p = 0; p < SOAK_POOLS; p++) {
        CHECK(mm_pool_check(&pools[p]));
        CHECK(mm_pool_trim(&pools[p], 0) > 0);
        CHECK_EQ(pools[p].bytes, 0);
        CHECK_EQ(mm_pool_deinit(&pools[p]), 0);
    }
    CHECK_EQ(mm_slab_deinit(&slab), 0);
    CHECK_EQ(memory.live_bytes, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    memset(slots, 0, sizeof(slots));
}

TEST(soak_of_puts_from_other_threads)
{
    CHECK_SUB(pool_is_shared(MM_POOL_MODE_SEGMENTS, MM_POOL_ZERO_NONE, soak_operations()));
}

TEST_MAIN(T(pool_desc_is_checked), T(pool_desc_has_known_modes), T(pool_of_zero_bytes_refuses),
          T(pool_sizes_and_alignments), T(pool_last_put_is_first_out),
          T(pool_default_segment_is_16_kib), T(pool_against_a_model),
          T(pool_each_allocation_fails), T(pool_as_allocator), T(pool_allocator_misuse_is_found),
          T(pool_wrong_puts_are_found), T(pool_writes_after_the_put_are_found),
          T(pool_misuse_is_an_assertion), T(pool_counts_in_spite_of_a_circle),
          T(pool_check_finds_damage), T(pool_in_memory_of_the_caller),
          T(pool_memory_first_then_the_allocator), T(pool_memory_that_is_wrong),
          T(pool_capacity_is_kept), T(pool_zero_policies),
          T(pool_secrets_are_gone_when_memory_goes), T(pool_secrets_are_not_dumped),
          T(pool_live_objects_are_walked), T(pool_keeps_objects_separate),
          T(pool_is_separate_for_memory_checkers), T(pool_created_and_destroyed),
          T(pool_trim_leaves_what_is_in_use), T(pool_trim_frees_what_is_empty),
          T(pool_decay_follows_the_load), T(pool_stays_last_in_first_out_over_decay),
          T(slab_desc_is_checked), T(slab_of_zero_bytes_refuses), T(slab_stale_handles_are_told),
          T(slab_forged_handles_are_told), T(slab_capacity_is_kept),
          T(slab_wrapped_slot_is_retired), T(slab_index_space_ends),
          T(slab_objects_are_aligned_and_cheap), T(slab_against_a_model),
          T(slab_removal_while_walking), T(slab_each_allocation_fails), T(slab_check_finds_damage),
          T(slab_in_memory_of_the_caller), T(slab_capacity_from_memory),
          T(slab_retires_in_memory_of_the_caller), T(ref_counts), T(ref_saturates),
          T(ref_misuse_is_found), T(objects_go_home_when_nobody_holds_them),
          T(cleanups_run_last_first), T(cleanups_register_and_cancel_while_they_run),
          T(cleanups_survive_memory_refused), T(cleanups_use_the_callers_memory_first),
          T(pool_takes_back_from_other_threads), T(pool_loses_nothing_of_what_many_put),
          T(pool_takes_back_batches), T(objects_end_once_whoever_is_last),
          T(objects_are_found_in_a_cache_until_they_go), T(objects_know_where_they_were_made),
          T(cleanups_say_how_much_memory_they_need), T(pool_gets_what_reclaim_puts),
          T(pool_counts_what_is_got_within_a_get), T(slab_inserts_where_reclaim_removes),
          T(soak_of_pools_and_a_slab), T(soak_of_puts_from_other_threads))
