/* mm_heap: every size from 0 to 1 MiB with every alignment, on an empty heap and on one that is
 * full of holes; sizes that no system has; calloc, which is zero whatever the memory was before. */
#define MM_IMPLEMENTATION
#include "../../mm_heap.h"
#include "../heap_tools.h"

#define MOST ((size_t)1 << 20)
#define MOST_ALIGNMENT ((size_t)1 << 16)
#define STEP FEWER(1, 199, 3989) /* between two sizes; a prime */

// ---- blocks that stay for a while ----

#define RING 61

/* The last blocks that were made, marked at both ends, so that one which overlaps another shows. */
static struct {
    unsigned char *ptr;
    size_t size;
    unsigned char mark;
} ring[RING];
static size_t ring_next;

static void ring_drop(size_t i)
{
    unsigned char *ptr = ring[i].ptr, mark = ring[i].mark;
    if (ptr == NULL) return;
    ring[i].ptr = NULL;
    CHECK(ptr[0] == mark && ptr[ring[i].size - 1] == mark);
    mm_heap_free(ptr);
}

/* Takes a block of which all usable bytes are its own. */
static void ring_put(void *block, size_t size)
{
    size_t i = ring_next++ % RING;
    CHECK_SUB(ring_drop(i));
    ring[i].ptr = (unsigned char *)hide(block);
    ring[i].size = size;
    ring[i].mark = (unsigned char)(ring_next * 37);
    ring[i].ptr[0] = ring[i].ptr[size - 1] = ring[i].mark;
}

static void ring_empty(void)
{
    size_t i;
    for (i = 0; i < RING; i++) CHECK_SUB(ring_drop(i));
}

// ---- a heap full of holes ----

#define FRAGMENTS FEWER(6000, 3000, 300)

static void *fragments[6000];
static uint64_t fragments_random = 4711;

static void fragment_make(size_t i)
{
    size_t size = random_size(&fragments_random, 18); /* to 256 KiB */
    mm_heap_free(fragments[i]);
    fragments[i] = mm_heap_alloc(size);
    CHECK(fragments[i] != NULL);
}

/* Of blocks of all sizes a third remains, at random. */
static void fragments_make(void)
{
    size_t i;
    for (i = 0; i < FRAGMENTS; i++) CHECK_SUB(fragment_make(i));
    for (i = 0; i < FRAGMENTS; i++) {
        if ((test_random(&fragments_random) >> 32) % 3 == 0) continue;
        mm_heap_free(fragments[i]);
        fragments[i] = NULL;
    }
    CHECK(mm_heap_check());
}

/* Now and then one fragment goes and another comes, for the blocks under test fill the holes. */
static void fragments_stir(void)
{
    size_t i = (size_t)(test_random(&fragments_random) >> 32) % FRAGMENTS;
    if (fragments[i] == NULL) {
        CHECK_SUB(fragment_make(i));
    } else {
        mm_heap_free(fragments[i]);
        fragments[i] = NULL;
    }
}

static void fragments_free(void)
{
    size_t i;
    for (i = 0; i < FRAGMENTS; i++) {
        mm_heap_free(fragments[i]);
        fragments[i] = NULL;
    }
}

// ---- sizes and alignments ----

static void check_size(size_t alignment, size_t size)
{
    void *ptr = alignment == 1 ? mm_heap_alloc(size) : mm_heap_aligned_alloc(alignment, size);
    size_t usable;
    CHECK(ptr != NULL && is_aligned(ptr, alignment) && is_aligned(ptr, 16));
    usable = mm_heap_usable_size(ptr);
    CHECK(usable >= size && usable > 0);
    CHECK_SUB(ring_put(ptr, usable));
}

static void check_sizes(size_t alignment, size_t step, bool stir)
{
    size_t size, count = 0;
    for (size = 0; size <= MOST; size += step) {
        CHECK_SUB(check_size(alignment, size));
        if (stir && ++count % 32 == 0) CHECK_SUB(fragments_stir());
    }
    CHECK_SUB(check_size(alignment, MOST));
    CHECK(mm_heap_check());
}

/* The sizes at which something changes: the ends of classes, the first chunks, whole pages. */
static void check_edges(size_t alignment)
{
    size_t index, bits, around;
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        size_t size = mmi_heap_class_size(index);
        for (around = 0; around < 3; around++) {
            CHECK_SUB(check_size(alignment, size - 1 + around));
        }
    }
    for (bits = 12; bits <= 24; bits++) {
        for (around = 0; around < 130; around += FEWER(1, 8, 43)) {
            CHECK_SUB(check_size(alignment, ((size_t)1 << bits) - 80 + around));
        }
    }
}

TEST(every_size_with_every_alignment)
{
    size_t alignment;
    for (alignment = 1; alignment <= MOST_ALIGNMENT; alignment *= 2) {
        CHECK_SUB(check_sizes(alignment, STEP, false));
        CHECK_SUB(check_edges(alignment));
    }
    CHECK_SUB(ring_empty());
    CHECK_QUIET();
}

/* The smaller alignments with all sizes, the others with every class, chunk and page. */
TEST(every_size_with_every_alignment_between_fragments)
{
    size_t alignment;
    CHECK_SUB(fragments_make());
    for (alignment = 1; alignment <= MOST_ALIGNMENT; alignment *= 2) {
        CHECK_SUB(check_sizes(alignment, alignment <= 64 ? STEP : 7 * STEP, true));
        CHECK_SUB(check_edges(alignment));
    }
    CHECK_SUB(ring_empty());
    CHECK_SUB(fragments_free());
    CHECK_QUIET();
}

/* Above, blocks are far apart, and there is less room for them. */
TEST(larger_alignments_with_every_class)
{
    size_t alignment, round;
    for (round = 0; round < 2; round++) {
        if (round == 1) CHECK_SUB(fragments_make());
        for (alignment = MOST_ALIGNMENT * 2; alignment <= (size_t)16 << 20; alignment *= 2) {
            size_t size;
            for (size = 0; size < (size_t)20 << 20; size += size / FEWER(16, 4, 2) + 1) {
                CHECK_SUB(check_size(alignment, size));
            }
            CHECK_SUB(ring_empty());
            CHECK(mm_heap_check());
        }
    }
    CHECK_SUB(fragments_free());
    CHECK_QUIET();
}

static size_t index_of(const void *block)
{
    return mmi_heap_page_at(block)->index;
}

/* MM_HEAP_HUGE says from where on a block is a mapping, be it among the classes or the chunks. */
TEST(mappings_begin_where_it_is_said)
{
    char *last = (char *)mm_heap_alloc(MM_HEAP_HUGE), *first, *grown;
    first = (char *)mm_heap_alloc((size_t)MM_HEAP_HUGE + 1);
    CHECK(last != NULL && first != NULL);
    CHECK(index_of(last) < MMI_HEAP_DIRECT);
    CHECK_EQ(index_of(first), MMI_HEAP_DIRECT);
    memset(last, 3, MM_HEAP_HUGE);
    grown = (char *)mm_heap_realloc(last, (size_t)MM_HEAP_HUGE * 2);
    CHECK(grown != NULL);
    CHECK_EQ(index_of(grown), MMI_HEAP_DIRECT);
    CHECK(is_filled(grown, 3, MM_HEAP_HUGE));
    last = (char *)mm_heap_realloc(grown, 1000);
    CHECK(last != NULL && is_filled(last, 3, 1000));
    CHECK(index_of(last) < MMI_HEAP_DIRECT);
    mm_heap_free(first);
    mm_heap_free(last);
    CHECK_QUIET();
}

TEST(good_sizes_are_kept)
{
    size_t size, before = 0;
    for (size = 0; size <= MOST; size += FEWER(1, 7, 997)) {
        size_t good = mm_heap_good_size(size);
        void *ptr;
        CHECK(good >= size && good >= before);
        if (good <= MM_HEAP_HUGE) CHECK_EQ(mm_heap_good_size(good), good);
        before = good;
        ptr = mm_heap_alloc(size);
        CHECK(ptr != NULL && mm_heap_usable_size(ptr) >= good);
        CHECK(mm_heap_expand(ptr, good));
        mm_heap_free_sized(ptr, good);
    }
    CHECK_QUIET();
}

/* From every size to another that has nothing to do with it. */
TEST(realloc_from_every_size)
{
    uint64_t random = 77;
    size_t size;
    CHECK_SUB(fragments_make());
    for (size = 0; size <= MOST; size += FEWER(31, 1999, 19997)) {
        size_t to = random_size(&random, 20), same = size < to ? size : to;
        unsigned char *ptr = (unsigned char *)mm_heap_alloc(size);
        CHECK(ptr != NULL);
        memset(ptr, 0xB6, size);
        ptr = (unsigned char *)mm_heap_realloc(ptr, to);
        CHECK(ptr != NULL && is_aligned(ptr, 16) && is_filled(ptr, 0xB6, same));
        CHECK_SUB(ring_put(ptr, mm_heap_usable_size(ptr)));
        if (size / 31 % 8 == 0) CHECK_SUB(fragments_stir());
    }
    CHECK_SUB(ring_empty());
    CHECK_SUB(fragments_free());
    CHECK_QUIET();
}

/* Of the free granules in a span. */
TEST(longest_runs_are_found)
{
    uint64_t random = 5, mask;
    size_t round, i, run, longest;
    for (round = 0; round < 20000; round++) {
        mask = test_random(&random);
        if (round % 3 != 0) mask |= test_random(&random) | test_random(&random);
        if (round % 3 == 2) mask |= ~(uint64_t)0 << round % 64;
        for (i = run = longest = 0; i < 64; i++) {
            run = (mask >> i & 1) != 0 ? run + 1 : 0;
            if (run > longest) longest = run;
        }
        CHECK_EQ(mmi_heap_longest(mask), longest);
    }
    CHECK_EQ(mmi_heap_longest(0), 0);
    CHECK_EQ(mmi_heap_longest(MMI_HEAP_ALL_FREE), 64);
    CHECK_EQ(mmi_heap_longest(MMI_HEAP_ALL_FREE - 1), 63);
}

// ---- sizes that no system has ----

/* The call is refused, counted, and says why. */
#define CHECK_COUNTED(call, error) \
    do { \
        size_t refused = stats_now().failures; \
        CHECK_REFUSED(call, error); \
        CHECK_EQ(stats_now().failures, refused + 1); \
    } while (0)

static void check_refused(size_t size, void *block)
{
    volatile size_t unknown = size; /* to the compiler, which would warn */
    size_t alignment;
    size = unknown;
    CHECK_COUNTED(mm_heap_alloc(size), ENOMEM);
    CHECK_COUNTED(mm_heap_calloc(1, size), ENOMEM);
    CHECK_COUNTED(mm_heap_calloc(size, 1), ENOMEM);
    CHECK_COUNTED(mm_heap_calloc(size / 2 + 1, 2), ENOMEM);
    CHECK_COUNTED(mm_heap_alloc_add(size - 5, 5), ENOMEM);
    CHECK_COUNTED(mm_heap_alloc_mul(size, 1), ENOMEM);
    CHECK_COUNTED(mm_heap_realloc(NULL, size), ENOMEM);
    CHECK_COUNTED(mm_heap_realloc(block, size), ENOMEM);
    CHECK_COUNTED(mm_heap_reallocarray(block, size, 1), ENOMEM);
    CHECK(!mm_heap_expand(block, size));
    for (alignment = 1; alignment != 0; alignment *= 2) {
        CHECK_COUNTED(mm_heap_aligned_alloc(alignment, size), ENOMEM);
    }
    CHECK(mm_heap_good_size(size) >= size);
}

TEST(impossible_sizes_are_refused_everywhere)
{
    static const size_t sizes[] = {10, 1000, 30000, 100000, 2000000, MM_HEAP_HUGE + 5};
    static const size_t less[] = {0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 65535, 65536, 4194304};
    size_t i, k;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *block = mm_heap_alloc(sizes[i]);
        CHECK(block != NULL);
        memset(block, 0x4D, sizes[i]);
        for (k = 0; k < sizeof(less) / sizeof(less[0]); k++) {
            CHECK_SUB(check_refused(SIZE_MAX - less[k], block));
            CHECK_SUB(check_refused((size_t)PTRDIFF_MAX + 1 + less[k], block));
            CHECK_SUB(check_refused((size_t)PTRDIFF_MAX - less[k], block));
        }
        CHECK(is_filled(block, 0x4D, sizes[i]));
        CHECK_EQ(stats_now().live_blocks, 1);
        mm_heap_free(block);
    }
    CHECK_QUIET();
}

TEST(alignments_that_leave_no_room_are_refused)
{
    static const size_t sizes[] = {0, 1, 100, 5000, 100000, MM_HEAP_HUGE, MM_HEAP_HUGE + 1};
    volatile size_t half = (size_t)PTRDIFF_MAX + 1;
    size_t i;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CHECK_COUNTED(mm_heap_aligned_alloc(half, sizes[i]), ENOMEM);
        CHECK_COUNTED(mm_heap_aligned_alloc(half / 2, sizes[i]), ENOMEM);
        CHECK_COUNTED(mm_heap_aligned_alloc(0, sizes[i]), EINVAL);
        CHECK_COUNTED(mm_heap_aligned_alloc(half + 1, sizes[i]), EINVAL);
        CHECK_COUNTED(mm_heap_aligned_alloc(24, sizes[i]), EINVAL);
    }
    CHECK_QUIET();
}

// ---- calloc ----

#define SLOTS 300

static unsigned char *slots[SLOTS];

static void slots_fill(size_t count, size_t size)
{
    size_t i;
    for (i = 0; i < count; i++) {
        slots[i] = (unsigned char *)mm_heap_calloc(1, size);
        CHECK(slots[i] != NULL && is_filled(slots[i], 0, size));
        memset(slots[i], 0xEE, size);
    }
}

/* In the order in which they were made, backwards, or mixed. */
static void slots_free(size_t count, size_t order)
{
    size_t i;
    for (i = 0; i < count; i++) {
        size_t k = order == 0 ? i : order == 1 ? count - 1 - i : i * 7 % count;
        mm_heap_free(slots[k]);
        slots[k] = NULL;
    }
}

static void *free_slots(void *count)
{
    slots_free(*(size_t *)count, 1);
    return NULL;
}

/* The same blocks over and over, freed here and by another thread, with what lies idle let go of in
 * between. count is not to be a multiple of 7. */
static void check_calloc(size_t count, size_t size)
{
    size_t round;
    for (round = 0; round < 5; round++) {
        CHECK_SUB(slots_fill(count, size));
        if (round == 3) {
            pthread_t thread;
            start(&thread, free_slots, &count);
            join(thread);
        } else {
            slots_free(count, round % 3);
        }
        if (round == 2) mm_heap_trim();
    }
}

TEST(calloc_is_zero_in_every_class)
{
    size_t index;
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        CHECK_SUB(check_calloc(FEWER(296, 100, 20), mmi_heap_class_size(index)));
        CHECK_SUB(check_calloc(50, mmi_heap_class_size(index) - 15));
    }
    CHECK_QUIET();
}

TEST(calloc_is_zero_in_chunks)
{
    size_t size;
    for (size = MMI_HEAP_CLASS_MAX + 1; size <= MM_HEAP_HUGE; size += size / FEWER(8, 3, 1) + 3) {
        CHECK_SUB(check_calloc(size < MOST ? 10 : 3, size));
    }
    CHECK_QUIET();
}

TEST(calloc_is_zero_in_mappings)
{
    size_t size;
    for (size = MM_HEAP_HUGE + 1; size < (size_t)40 << 20; size += size / FEWER(3, 2, 1) + 5) {
        CHECK_SUB(check_calloc(2, size));
        CHECK_SUB(slots_fill(1, size - size / 8)); /* a kept mapping that is too large */
        CHECK_SUB(slots_free(1, 0));
    }
    CHECK_QUIET();
}

static void dirty_one(uint64_t *random, unsigned char **slot)
{
    size_t size = random_size(random, 22), what = (size_t)(test_random(random) >> 60);
    if (*slot != NULL && what < 4) { /* parts of blocks that go back come out again, too */
        unsigned char *moved = (unsigned char *)mm_heap_realloc(*slot, size);
        CHECK(moved != NULL);
        *slot = moved;
    } else if (what < 8) {
        mm_heap_free(*slot);
        *slot = (unsigned char *)mm_heap_aligned_alloc((size_t)16 << what * 2, size);
    } else {
        mm_heap_free(*slot);
        *slot = (unsigned char *)mm_heap_calloc(size, 1);
        CHECK(*slot != NULL && is_filled(*slot, 0, size));
    }
    CHECK(*slot != NULL);
    memset(*slot, 0xEE, size);
}

/* All kinds of blocks are written to, split, joined, aligned, resized, let go of. */
TEST(calloc_is_zero_between_others)
{
    uint64_t random = 31;
    size_t step, i;
    for (step = 0; step < FEWER(20000, 2000, 400); step++) {
        i = (size_t)(test_random(&random) >> 32) % 100;
        CHECK_SUB(dirty_one(&random, &slots[i]));
        if (step % 500 == 0) mm_heap_trim();
        if (step % 100 == 0) CHECK(mm_heap_check());
    }
    for (i = 0; i < SLOTS; i++) {
        mm_heap_free(slots[i]);
        slots[i] = NULL;
    }
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
}

TEST_MAIN(T(every_size_with_every_alignment), T(every_size_with_every_alignment_between_fragments),
          T(larger_alignments_with_every_class), T(mappings_begin_where_it_is_said),
          T(good_sizes_are_kept), T(realloc_from_every_size), T(longest_runs_are_found),
          T(impossible_sizes_are_refused_everywhere), T(alignments_that_leave_no_room_are_refused),
          T(calloc_is_zero_in_every_class), T(calloc_is_zero_in_chunks),
          T(calloc_is_zero_in_mappings), T(calloc_is_zero_between_others))
