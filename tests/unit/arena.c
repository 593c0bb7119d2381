/* mm_arena: white-box unit tests, a model test with random operations, and failing allocations. */
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../harness.h"
#include "../poison.h"
#include <wchar.h>

#define BLOCK 1024 /* block size of most tests: borders are near and cycles are quick */

/* An arena on a counting allocator; zero settings mean the defaults but for the block size. */
typedef struct fixture {
    test_allocator memory;
    mm_arena arena;
} fixture;

static void fixture_init(fixture *f, size_t block_size, size_t limit, size_t keep)
{
    mm_arena_desc desc;
    memset(&desc, 0, sizeof(desc));
    test_allocator_init(&f->memory);
    desc.block_size = block_size;
    desc.limit = limit;
    desc.keep = keep;
    desc.allocator = &f->memory.base;
    mm_arena_init(&f->arena, &desc);
}

/* After every step: consistent, and total is what the allocator knows. */
static void fixture_check(const fixture *f)
{
    mm_arena_stats stats;
    mm_arena_get_stats(&f->arena, &stats);
    CHECK(mm_arena_check(&f->arena));
    CHECK_EQ(stats.total, f->memory.live_bytes);
    CHECK_EQ(mm_arena_total(&f->arena), stats.total);
    CHECK_EQ(mm_arena_used(&f->arena), stats.used);
    CHECK(stats.used + stats.waste <= stats.total && stats.total <= stats.peak);
}

static void fixture_end(fixture *f)
{
    CHECK_SUB(fixture_check(f));
    mm_arena_deinit(&f->arena);
    CHECK(mm_arena_check(&f->arena));
    CHECK_EQ(f->memory.live_blocks, 0);
    CHECK_EQ(f->memory.live_bytes, 0);
    CHECK_EQ(f->memory.bad_sizes, 0);
}

static bool aligned(const void *ptr, size_t alignment)
{
    return ptr != NULL && ((uintptr_t)ptr & (alignment - 1)) == 0;
}

static bool all_bytes(const void *ptr, int value, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)ptr;
    while (size > 0 && bytes[size - 1] == value) size--;
    return size == 0;
}

/* Volatile, so that the compiler does not warn about what the tests ask for on purpose. */
static volatile size_t huge = SIZE_MAX;

// >>life

TEST(zero_is_an_empty_arena)
{
    mm_arena arena = {0};
    char *text;
    CHECK(mm_arena_check(&arena));
    CHECK_EQ(mm_arena_used(&arena), 0);
    CHECK_EQ(mm_arena_total(&arena), 0);
    mm_arena_reset(&arena);
    mm_arena_deinit(&arena);
    text = mm_arena_strdup(&arena, "default allocator");
    CHECK_STR(text, "default allocator");
    CHECK(mm_arena_check(&arena));
    CHECK_EQ(mm_arena_total(&arena), 64 * 1024);
    mm_arena_deinit(&arena);
    CHECK_EQ(mm_arena_total(&arena), 0);
    CHECK(mm_arena_check(&arena));
    mm_arena_deinit(&arena);
}

TEST(init_allocates_nothing_and_takes_null)
{
    fixture f;
    mm_arena arena;
    memset(&arena, 0xFF, sizeof(arena));
    mm_arena_init(&arena, NULL);
    CHECK(mm_arena_check(&arena));
    fixture_init(&f, BLOCK, 0, 0);
    CHECK_EQ(f.memory.calls, 0);
    CHECK(mm_arena_alloc(&f.arena, 1) != NULL);
    CHECK_EQ(f.memory.calls, 1);
    CHECK_EQ(f.memory.live_bytes, BLOCK);
    fixture_end(&f);
    CHECK(f.arena.allocator == NULL);
}

TEST(create_and_destroy)
{
    test_allocator memory;
    mm_arena_desc desc;
    mm_arena *arena = mm_arena_create(NULL);
    CHECK(arena != NULL && mm_arena_check(arena));
    CHECK_STR(mm_arena_strdup(arena, "x"), "x");
    mm_arena_destroy(arena);
    mm_arena_destroy(NULL);
    memset(&desc, 0, sizeof(desc));
    test_allocator_init(&memory);
    desc.allocator = &memory.base;
    arena = mm_arena_create(&desc);
    CHECK(arena != NULL);
    CHECK_EQ(memory.live_bytes, sizeof(mm_arena));
    CHECK_EQ(mm_arena_total(arena), 0);
    CHECK(mm_arena_alloc(arena, 10) != NULL);
    mm_arena_destroy(arena);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    test_allocator_fail(&memory, 1, 0);
    CHECK(mm_arena_create(&desc) == NULL);
}

TEST(a_moved_arena_goes_on)
{
    fixture f;
    mm_arena moved;
    const mm_allocator *self;
    char *first, *second;
    fixture_init(&f, BLOCK, 0, 0);
    first = mm_arena_strdup(&f.arena, "before");
    mm_arena_allocator(&f.arena);
    moved = f.arena;
    memset(&f.arena, 0, sizeof(f.arena));
    self = mm_arena_allocator(&moved);
    second = (char *)self->alloc_fn(10, self->user_data);
    CHECK(second == first + 16);
    CHECK_STR(first, "before");
    CHECK(mm_arena_check(&moved));
    f.arena = moved;
    fixture_end(&f);
}

// >>alloc

TEST(memory_is_aligned_and_apart)
{
    fixture f;
    unsigned char *ptrs[200];
    size_t i;
    fixture_init(&f, BLOCK, 0, 0);
    for (i = 0; i < 200; i++) {
        ptrs[i] = (unsigned char *)mm_arena_alloc(&f.arena, i);
        CHECK(aligned(ptrs[i], 16));
        memset(ptrs[i], (int)i, i);
        CHECK_SUB(fixture_check(&f));
    }
    for (i = 0; i < 200; i++) CHECK(all_bytes(ptrs[i], (int)i, i));
    fixture_end(&f);
}

TEST(size_zero_gives_unique_pointers)
{
    fixture f;
    char *a, *b, *c, *d;
    fixture_init(&f, BLOCK, 0, 0);
    a = (char *)mm_arena_alloc(&f.arena, 0);
    b = (char *)mm_arena_alloc(&f.arena, 0);
    c = (char *)mm_arena_calloc(&f.arena, huge, 0);
    d = (char *)mm_arena_alloc_aligned(&f.arena, 0, 64);
    CHECK(aligned(a, 16) && aligned(b, 16) && aligned(c, 16) && aligned(d, 64));
    CHECK(a != b && b != c && c != d && a != c);
    CHECK_EQ(f.arena.failures, 0);
    fixture_end(&f);
}

TEST(a_block_is_filled_to_its_last_byte)
{
    fixture f;
    size_t room;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(mm_arena_alloc(&f.arena, 1) != NULL);
    room = mmi_arena_room(&f.arena);
    CHECK(room >= 16 && room < BLOCK);
    CHECK(mm_arena_alloc(&f.arena, room) != NULL);
    CHECK_EQ(mmi_arena_room(&f.arena), 0);
    CHECK_EQ(f.memory.live_blocks, 1);
    CHECK(mm_arena_alloc(&f.arena, 0) != NULL);
    CHECK_EQ(f.memory.live_blocks, 2);
    fixture_end(&f);
}

/* Refused, and nothing changed but the number of failures. */
#define CHECK_REFUSED(f, call) \
    do { \
        mm_arena before = (f)->arena; \
        CHECK((call) == NULL); \
        before.failures++; \
        CHECK(memcmp(&before, &(f)->arena, sizeof(before)) == 0); \
        CHECK_SUB(fixture_check(f)); \
    } while (0)

static void refuse_absurd_sizes(fixture *f)
{
    const mm_allocator *self = mm_arena_allocator(&f->arena);
    void *last = self->alloc_fn(8, self->user_data);
    size_t k;
    CHECK(last != NULL);
    for (k = 0; k < 70; k++) {
        CHECK_REFUSED(f, mm_arena_alloc(&f->arena, huge - k));
        CHECK_REFUSED(f, mm_arena_alloc(&f->arena, huge / 2 + 1 + k));
        CHECK_REFUSED(f, mm_arena_alloc_aligned(&f->arena, huge - k, 64));
        CHECK_REFUSED(f, mm_arena_calloc(&f->arena, huge / 2 + 2 + k, 2));
        CHECK_REFUSED(f, mm_arena_calloc(&f->arena, 1, huge - k));
        CHECK_REFUSED(f, self->realloc_fn(last, 8, huge - k, self->user_data));
    }
    CHECK_REFUSED(f, mm_arena_alloc_aligned(&f->arena, 1, huge / 2 + 1));
    CHECK_REFUSED(f, mm_arena_alloc_aligned(&f->arena, huge, huge / 2 + 1));
}

TEST(absurd_sizes_are_refused)
{
    fixture f;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(mm_arena_alloc(&f.arena, huge) == NULL);
    CHECK_EQ(f.memory.calls, 0);
    CHECK_SUB(refuse_absurd_sizes(&f));
    CHECK(mm_arena_alloc(&f.arena, BLOCK * 4) != NULL);
    CHECK_SUB(refuse_absurd_sizes(&f));
    fixture_end(&f);
    fixture_init(&f, huge, 0, 0);
    CHECK_REFUSED(&f, mm_arena_alloc(&f.arena, 1));
    mm_arena_reset(&f.arena);
    fixture_end(&f);
}

TEST(any_power_of_two_is_an_alignment)
{
    fixture f;
    size_t alignment, size, shift;
    fixture_init(&f, BLOCK, 0, 0);
    for (shift = 0; shift <= 16; shift++) {
        alignment = (size_t)1 << shift;
        for (size = 0; size < 100; size += 33) {
            void *ptr = mm_arena_alloc_aligned(&f.arena, size, alignment);
            CHECK(aligned(ptr, alignment));
            memset(ptr, 1, size);
            CHECK_SUB(fixture_check(&f));
        }
        CHECK(mm_arena_alloc(&f.arena, 1) != NULL);
    }
    CHECK_EQ(f.arena.failures, 0);
    CHECK(mm_arena_alloc_aligned(&f.arena, 8, 0) == NULL);
    CHECK(mm_arena_alloc_aligned(&f.arena, 8, 3) == NULL);
    CHECK(mm_arena_alloc_aligned(&f.arena, 8, 24) == NULL);
    CHECK(mm_arena_alloc_aligned(&f.arena, 8, huge) == NULL);
    CHECK_EQ(f.arena.failures, 0);
    fixture_end(&f);
}

TEST(calloc_zeroes_used_memory)
{
    fixture f;
    int round;
    fixture_init(&f, BLOCK, 0, 0);
    for (round = 0; round < 3; round++) {
        char *zeros = (char *)mm_arena_calloc(&f.arena, 20, 10);
        char *large = (char *)mm_arena_calloc(&f.arena, 100, 50);
        CHECK(zeros != NULL && large != NULL);
        CHECK(all_bytes(zeros, 0, 200) && all_bytes(large, 0, 5000));
        memset(zeros, 0xEE, 200);
        mm_arena_reset(&f.arena);
    }
    fixture_end(&f);
}

// >>copies

TEST(copies_of_memory_and_strings)
{
    fixture f;
    char *copy, *source;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(mm_arena_strdup(&f.arena, NULL) == NULL);
    CHECK(mm_arena_strndup(&f.arena, NULL, 5) == NULL);
    CHECK_EQ(f.arena.failures, 0);
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    CHECK_STR(mm_arena_strdup(&f.arena, ""), "");
    CHECK_STR(mm_arena_strdup(&f.arena, "hello"), "hello");
    CHECK(mm_arena_memdup(&f.arena, NULL, 0) != NULL);
    copy = (char *)mm_arena_memdup(&f.arena, "a\0b", 4);
    CHECK(copy != NULL && memcmp(copy, "a\0b", 4) == 0);
    CHECK_STR(mm_arena_strndup(&f.arena, "hello", 0), "");
    CHECK_STR(mm_arena_strndup(&f.arena, "hello", 3), "hel");
    CHECK_STR(mm_arena_strndup(&f.arena, "hello", 5), "hello");
    CHECK_STR(mm_arena_strndup(&f.arena, "hello", 6), "hello");
    CHECK_STR(mm_arena_strndup(&f.arena, "hello", huge), "hello");
    source = (char *)malloc(4); /* no NUL: one byte more would be out of bounds */
    CHECK(source != NULL);
    memcpy(source, "full", 4);
    CHECK_STR(mm_arena_strndup(&f.arena, source, 4), "full");
    free(source);
    CHECK_SUB(fixture_check(&f));
    test_allocator_fail(&f.memory, 1, 1);
    while (mm_arena_alloc(&f.arena, 16) != NULL) continue;
    CHECK(mm_arena_strdup(&f.arena, "x") == NULL);
    CHECK(mm_arena_strndup(&f.arena, "x", 1) == NULL);
    CHECK(mm_arena_memdup(&f.arena, "x", 1) == NULL);
    CHECK(mm_arena_calloc(&f.arena, 1, 1) == NULL);
    fixture_end(&f);
}

TEST(arrays_have_a_checked_size)
{
    fixture f;
    uint64_t *numbers;
    fixture_init(&f, BLOCK, 0, 0);
    numbers = MM_ARENA_ARRAY(&f.arena, 10, uint64_t);
    CHECK(aligned(numbers, 16));
    memset(numbers, 1, 10 * sizeof(*numbers));
    CHECK_EQ(mm_arena_used(&f.arena), 80);
    CHECK(mm_arena_array(&f.arena, 0, 8) != NULL && mm_arena_array(&f.arena, 8, 0) != NULL);
    CHECK_REFUSED(&f, mm_arena_array(&f.arena, huge / 2 + 1, 2));
    CHECK_REFUSED(&f, mm_arena_array(&f.arena, huge, huge));
    CHECK_REFUSED(&f, MM_ARENA_ARRAY(&f.arena, huge / 8 + 1, uint64_t));
    fixture_end(&f);
}

TEST(strings_are_joined)
{
    fixture f;
    const char *parts[] = {"usr", "", "lib"};
    fixture_init(&f, BLOCK, 0, 0);
    CHECK_STR(mm_arena_join(&f.arena, "/", parts, 3), "usr//lib");
    CHECK_STR(mm_arena_join(&f.arena, "", parts, 3), "usrlib");
    CHECK_STR(mm_arena_join(&f.arena, ", ", parts, 1), "usr");
    CHECK_STR(mm_arena_join(&f.arena, "x", NULL, 0), "");
    CHECK_EQ(mm_arena_used(&f.arena), 4 * 16);
    parts[1] = mm_arena_printf(&f.arena, "%*d", 5000, 7);
    parts[0] = mm_arena_join(&f.arena, "--", parts, 3);
    CHECK(parts[0] != NULL && strlen(parts[0]) == 5010);
    test_allocator_fail(&f.memory, 1, 1);
    CHECK_REFUSED(&f, mm_arena_join(&f.arena, "--", parts, 3));
    fixture_end(&f);
}

TEST(printf_gives_the_exact_length)
{
    fixture f;
    char *name, *text;
    size_t used, room;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK_STR(mm_arena_printf(&f.arena, "%d-%s", 7, "seven"), "7-seven");
    CHECK_EQ(mm_arena_used(&f.arena), 16);
    name = mm_arena_strdup(&f.arena, "in the arena");
    CHECK_STR(mm_arena_printf(&f.arena, "<%s>", name), "<in the arena>");
    used = mm_arena_used(&f.arena);
    CHECK_STR(mm_arena_printf(&f.arena, "%s", ""), "");
    CHECK_EQ(mm_arena_used(&f.arena), used + 16);
    room = mmi_arena_room(&f.arena);
    text = mm_arena_printf(&f.arena, "%*d", (int)room - 1, 5);
    CHECK(text != NULL);
    CHECK_EQ(strlen(text), room - 1);
    CHECK_EQ(mmi_arena_room(&f.arena), 0);
    CHECK_EQ(f.memory.live_blocks, 1);
    text = mm_arena_printf(&f.arena, "%*d", 100, 5);
    CHECK(text != NULL && strlen(text) == 100 && text[99] == '5');
    CHECK_EQ(f.memory.live_blocks, 2);
    room = mmi_arena_room(&f.arena);
    text = mm_arena_printf(&f.arena, "%*d%s", (int)room - 1, 5, "x"); /* one byte too many */
    CHECK(text != NULL && strlen(text) == room && text[room - 1] == 'x');
    CHECK_EQ(f.memory.live_blocks, 3);
    CHECK(f.arena.large != NULL);
    CHECK_EQ(mmi_arena_room(&f.arena), room);
    fixture_end(&f);
}

TEST(printf_that_fails_changes_nothing)
{
    fixture f;
    wchar_t bad[2] = {(wchar_t)-2, 0};
    size_t used;
    char *text;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK_STR(mm_arena_printf(&f.arena, "%d", 1), "1");
    test_allocator_fail(&f.memory, 1, 1);
    CHECK_REFUSED(&f, mm_arena_printf(&f.arena, "%*d", BLOCK * 2, 1));
    used = mm_arena_used(&f.arena);
    text = mm_arena_printf(&f.arena, "%ls", bad); /* some C libraries accept this */
    CHECK(text != NULL || mm_arena_used(&f.arena) == used);
    CHECK_STR(mm_arena_printf(&f.arena, "%d", 2), "2");
    fixture_end(&f);
}

// >>blocks

TEST(large_requests_keep_the_current_block)
{
    fixture f;
    char *first, *second, *large;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(mm_arena_alloc(&f.arena, BLOCK * 2) != NULL); /* first of all: no normal block needed */
    CHECK(f.arena.blocks == NULL && f.arena.large != NULL);
    CHECK_SUB(fixture_check(&f));
    first = (char *)mm_arena_alloc(&f.arena, 16);
    large = (char *)mm_arena_alloc(&f.arena, BLOCK);
    second = (char *)mm_arena_alloc(&f.arena, 16);
    CHECK(first != NULL && large != NULL && second == first + 16);
    memset(large, 1, BLOCK);
    CHECK_SUB(fixture_check(&f));
    CHECK_EQ(f.memory.live_blocks, 3);
    CHECK(mm_arena_alloc(&f.arena, 600) == second + 16); /* large, but fits what is left */
    second = (char *)mm_arena_alloc(&f.arena, 400);      /* above a quarter: of its own */
    CHECK_EQ(f.memory.live_blocks, 4);
    CHECK(f.arena.blocks == f.arena.current);
    CHECK(mm_arena_alloc(&f.arena, 16) == first + 32 + 608);
    CHECK_EQ(mm_arena_used(&f.arena), BLOCK * 2 + BLOCK + 16 + 16 + 608 + 400 + 16);
    fixture_end(&f);
}

TEST(stats_add_up)
{
    fixture f;
    mm_arena_stats stats;
    size_t i, kept;
    fixture_init(&f, BLOCK, 0, 4 * BLOCK);
    for (i = 0; i < 30; i++) CHECK(mm_arena_alloc(&f.arena, 100 + i) != NULL);
    CHECK(mm_arena_alloc(&f.arena, 3 * BLOCK) != NULL);
    mm_arena_get_stats(&f.arena, &stats);
    CHECK_EQ(stats.total, stats.used + stats.waste + mmi_arena_room(&f.arena));
    CHECK_EQ(stats.peak, stats.total);
    CHECK(mm_arena_alloc(&f.arena, huge) == NULL);
    mm_arena_reset(&f.arena);
    CHECK_SUB(fixture_check(&f));
    kept = mm_arena_total(&f.arena);
    CHECK_EQ(kept, 4 * BLOCK);
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    CHECK(mm_arena_alloc(&f.arena, 100) != NULL);
    i = stats.peak;
    mm_arena_get_stats(&f.arena, &stats);
    CHECK_EQ(stats.peak, i);
    CHECK_EQ(stats.failures, 1);
    CHECK_EQ(stats.used, 112);
    CHECK_EQ(kept, stats.used + stats.waste + mmi_arena_room(&f.arena) + 3 * BLOCK);
    fixture_end(&f);
}

static void one_cycle(mm_arena *arena)
{
    size_t i;
    for (i = 0; i < 12; i++) CHECK(mm_arena_alloc(arena, 200) != NULL);
    CHECK(mm_arena_alloc(arena, BLOCK) != NULL);
    mm_arena_reset(arena);
}

TEST(a_million_cycles_do_not_grow)
{
    fixture f;
    size_t i, total, peak, calls;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK_SUB(one_cycle(&f.arena));
    total = mm_arena_total(&f.arena);
    peak = f.arena.peak;
    calls = f.memory.calls;
    CHECK_EQ(total, 3 * BLOCK);
    for (i = 0; i < 1000000; i++) {
        CHECK_SUB(one_cycle(&f.arena));
        CHECK_EQ(mm_arena_total(&f.arena), total);
    }
    CHECK_EQ(f.arena.peak, peak);
    CHECK_EQ(f.memory.calls, calls + 1000000); /* the large one of each cycle */
    CHECK_EQ(f.memory.live_blocks, 3);
    fixture_end(&f);
}

TEST(the_same_cycle_gets_the_same_memory)
{
    fixture f;
    void *ptrs[60];
    size_t i, cycle;
    fixture_init(&f, BLOCK, 0, 64 * BLOCK);
    for (cycle = 0; cycle < 4; cycle++) {
        for (i = 0; i < 60; i++) {
            void *ptr = mm_arena_alloc(&f.arena, 7 * i % 250);
            CHECK(ptr != NULL && (cycle == 0 || ptr == ptrs[i]));
            ptrs[i] = ptr;
            CHECK_SUB(fixture_check(&f));
        }
        mm_arena_reset(&f.arena);
        CHECK_SUB(fixture_check(&f));
    }
    fixture_end(&f);
}

static void check_kept(size_t block_size, size_t keep, size_t expected)
{
    fixture f;
    size_t i;
    fixture_init(&f, block_size, 0, keep);
    for (i = 0; i < 40; i++) CHECK(mm_arena_alloc(&f.arena, block_size / 5) != NULL);
    mm_arena_reset(&f.arena);
    CHECK_EQ(mm_arena_total(&f.arena), expected);
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    CHECK_SUB(fixture_check(&f));
    CHECK(mm_arena_alloc(&f.arena, 1) != NULL);
    fixture_end(&f);
}

TEST(reset_keeps_what_was_asked_for)
{
    CHECK_SUB(check_kept(BLOCK, 0, 4 * BLOCK));
    CHECK_SUB(check_kept(64 * BLOCK, 0, 256 * BLOCK));
    CHECK_SUB(check_kept(BLOCK, 1, 0));
    CHECK_SUB(check_kept(BLOCK, BLOCK - 1, 0));
    CHECK_SUB(check_kept(BLOCK, BLOCK, BLOCK));
    CHECK_SUB(check_kept(BLOCK, 3 * BLOCK - 1, 2 * BLOCK));
    CHECK_SUB(check_kept(BLOCK, SIZE_MAX, 10 * BLOCK));
    CHECK_SUB(check_kept(BLOCK + 8, SIZE_MAX, 10 * (BLOCK + 8))); /* end is not 16-aligned */
}

TEST(tiny_block_sizes_still_work)
{
    size_t block_size, i;
    for (block_size = 1; block_size < 300; block_size += 7) {
        fixture f;
        fixture_init(&f, block_size, 0, 0);
        for (i = 0; i < 20; i++) {
            CHECK(mm_arena_alloc(&f.arena, i) != NULL);
            CHECK_SUB(fixture_check(&f));
        }
        mm_arena_reset(&f.arena);
        fixture_end(&f);
    }
}

TEST(blocks_grow_up_to_their_maximum)
{
    static const size_t sizes[] = {1, 2, 4, 8, 8, 8};
    fixture f;
    mmi_arena_block *block;
    size_t i, cycle;
    void *ptrs[400];
    fixture_init(&f, BLOCK, 0, SIZE_MAX);
    f.arena.block_max = 8 * BLOCK;
    for (cycle = 0; cycle < 3; cycle++) {
        for (i = 0; i < 250; i++) {
            void *ptr = mm_arena_alloc(&f.arena, 100);
            CHECK(ptr != NULL && (cycle == 0 || ptr == ptrs[i]));
            ptrs[i] = ptr;
            CHECK_SUB(fixture_check(&f));
        }
        for (i = 0, block = f.arena.blocks; block != NULL; block = block->next, i++) {
            CHECK(i < 6);
            CHECK_EQ(block->size, sizes[i] * BLOCK);
        }
        CHECK_EQ(f.memory.calls, i);
        mm_arena_reset(&f.arena);
        CHECK_SUB(fixture_check(&f));
    }
    CHECK(mm_arena_alloc(&f.arena, 100) == ptrs[0]);
    CHECK(mm_arena_alloc(&f.arena, 2000) != NULL && f.arena.large != NULL); /* next is 2 KiB */
    fixture_end(&f);
}

TEST(growth_without_end_is_refused_in_time)
{
    fixture f;
    fixture_init(&f, BLOCK, 5 * BLOCK, 0);
    f.arena.block_max = huge;
    while (mm_arena_alloc(&f.arena, 64) != NULL) CHECK_SUB(fixture_check(&f));
    CHECK(mm_arena_total(&f.arena) > 5 * BLOCK - 200);
    mm_arena_reset(&f.arena);
    CHECK_SUB(fixture_check(&f));
    CHECK(mm_arena_alloc(&f.arena, 4 * BLOCK) != NULL);
    fixture_end(&f);
}

// >>first

/* The arena is in the caller's memory first, and then goes on to the allocator. */
static void check_first(size_t offset, size_t size, bool usable)
{
    fixture f;
    char *memory = (char *)malloc(offset + size + 1), *a = NULL, *b = NULL;
    mm_arena_desc desc;
    int cycle;
    CHECK(memory != NULL);
    memory[offset + size] = '!';
    test_allocator_init(&f.memory);
    memset(&desc, 0, sizeof(desc));
    desc.block_size = BLOCK;
    desc.first = memory + offset;
    desc.first_size = size;
    desc.allocator = &f.memory.base;
    mm_arena_init(&f.arena, &desc);
    for (cycle = 0; cycle < 40; cycle++) {
        CHECK(mm_arena_check(&f.arena));
        a = (char *)mm_arena_alloc(&f.arena, 1);
        CHECK(aligned(a, 16));
        CHECK((a > memory && a < memory + offset + size) == usable);
        CHECK(cycle != 0 || f.memory.live_blocks == (usable ? 0 : 1));
        while (mmi_arena_room(&f.arena) != 0) CHECK(mm_arena_alloc(&f.arena, 16) != NULL);
        b = (char *)mm_arena_alloc(&f.arena, 100);
        CHECK(b != NULL);
        memset(b, 1, 100);
        CHECK_EQ(mm_arena_total(&f.arena) - f.memory.live_bytes,
                 usable ? f.arena.first->size : 0);
        CHECK(mm_arena_check(&f.arena));
        mm_arena_reset(&f.arena);
        CHECK_EQ(mm_arena_used(&f.arena), 0);
    }
    CHECK_EQ(f.memory.calls, usable ? 1 : 2);
    CHECK_EQ(mm_arena_trim(&f.arena), usable ? BLOCK : 2 * BLOCK);
    CHECK_EQ(f.memory.live_blocks, 0);
    mm_arena_deinit(&f.arena);
    CHECK(memory[offset + size] == '!');
    memset(memory, 0, offset + size); /* the caller's again, all of it */
    free(memory);
}

TEST(the_first_block_may_be_the_callers)
{
    size_t offset;
    for (offset = 0; offset < 32; offset += 3) {
        CHECK_SUB(check_first(offset, 0, false));
        CHECK_SUB(check_first(offset, 24, false));
        CHECK_SUB(check_first(offset, 64, true));
        CHECK_SUB(check_first(offset, 300, true));
        CHECK_SUB(check_first(offset, 5000, true));
    }
}

TEST(an_arena_may_live_in_the_callers_memory_alone)
{
    static unsigned char memory[3000];
    fixture f;
    mm_arena_desc desc;
    size_t count = 0, cycle;
    test_allocator_init(&f.memory);
    memset(&desc, 0, sizeof(desc));
    desc.allocator = &f.memory.base;
    desc.first = memory;
    desc.first_size = desc.limit = sizeof(memory);
    for (cycle = 0; cycle < 2; cycle++) {
        mm_arena_init(&f.arena, &desc);
        for (count = 0; mm_arena_alloc(&f.arena, 32) != NULL; count++) continue;
        CHECK(count > (cycle == 0 ? 90 : 40));
        CHECK(mm_arena_alloc(&f.arena, 5000) == NULL);
        CHECK(mm_arena_check(&f.arena));
        CHECK_EQ(f.memory.calls, 0);
        mm_arena_deinit(&f.arena);
        desc.limit = 1500; /* the first block is as large as the limit lets it be */
    }
    desc.limit = 1500;
    mm_arena_init(&f.arena, &desc);
    CHECK(mm_arena_total(&f.arena) <= 1500 && mm_arena_check(&f.arena));
    mm_arena_deinit(&f.arena);
}

TEST(a_created_arena_has_its_first_block_behind_it)
{
    test_allocator memory;
    mm_arena_desc desc;
    mm_arena *arena;
    size_t i;
    memset(&desc, 0, sizeof(desc));
    test_allocator_init(&memory);
    desc.allocator = &memory.base;
    desc.first_size = 1000;
    desc.tag = "request";
    arena = mm_arena_create(&desc);
    CHECK(arena != NULL && mm_arena_check(arena));
    CHECK_EQ(memory.live_bytes, sizeof(*arena) + 1000);
    for (i = 0; i < 9; i++) CHECK(mm_arena_alloc(arena, 100) != NULL || i == 8);
    CHECK_EQ(memory.calls, 2);
    mm_arena_reset(arena);
    CHECK(mm_arena_alloc(arena, 100) == (void *)mmi_arena_begin(arena->first));
    CHECK_STR(arena->tag, "request");
    mm_arena_destroy(arena);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    desc.first_size = huge;
    CHECK(mm_arena_create(&desc) == NULL);
    desc.first_size = 8; /* too small for a block, and harmless */
    arena = mm_arena_create(&desc);
    CHECK(arena != NULL && mm_arena_total(arena) == 0);
    mm_arena_destroy(arena);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

// >>shrink

static void spend(mm_arena *arena, size_t blocks)
{
    size_t i;
    for (i = 0; i < blocks * 4; i++) CHECK(mm_arena_alloc(arena, 220) != NULL);
    mm_arena_reset(arena);
}

TEST(what_a_peak_left_behind_decays)
{
    fixture f;
    size_t cycle, total, last, steps = 0;
    fixture_init(&f, BLOCK, 0, SIZE_MAX);
    CHECK_SUB(spend(&f.arena, 32));
    last = mm_arena_total(&f.arena);
    CHECK_EQ(last, 32 * BLOCK);
    for (cycle = 0; cycle < 200; cycle++, last = total) {
        CHECK_SUB(spend(&f.arena, 2));
        CHECK_SUB(fixture_check(&f));
        total = mm_arena_total(&f.arena);
        CHECK(total <= last && total >= 2 * BLOCK);
        CHECK(last == total || last - total <= (last - 2 * BLOCK + 1) / 2 + BLOCK);
        steps += total < last;
    }
    CHECK_EQ(last, 2 * BLOCK);
    CHECK(steps >= 4 && steps <= 8);
    fixture_end(&f);
}

TEST(a_peak_in_each_window_keeps_its_blocks)
{
    fixture f;
    size_t cycle, calls;
    fixture_init(&f, BLOCK, 0, SIZE_MAX);
    CHECK_SUB(spend(&f.arena, 8));
    calls = f.memory.calls;
    for (cycle = 1; cycle < 500; cycle++) CHECK_SUB(spend(&f.arena, cycle % 12 == 0 ? 8 : 1));
    CHECK_EQ(f.memory.calls, calls);
    fixture_end(&f);
}

TEST(trim_gives_back_what_is_empty)
{
    fixture f;
    char *text;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK_EQ(mm_arena_trim(&f.arena), 0);
    CHECK_SUB(spend(&f.arena, 3));
    text = mm_arena_strdup(&f.arena, "stays");
    CHECK_EQ(mm_arena_trim(&f.arena), 2 * BLOCK);
    CHECK_EQ(mm_arena_trim(&f.arena), 0);
    CHECK_STR(text, "stays");
    CHECK_SUB(fixture_check(&f));
    mm_arena_reset(&f.arena);
    CHECK_EQ(mm_arena_trim(&f.arena), BLOCK);
    CHECK_EQ(mm_arena_total(&f.arena), 0);
    CHECK_SUB(fixture_check(&f));
    CHECK_SUB(spend(&f.arena, 3));
    fixture_end(&f);
}

// >>marks

static size_t fill(fixture *f, size_t size)
{
    size_t count = 0;
    while (mm_arena_alloc(&f->arena, size) != NULL) count++;
    return count;
}

TEST(rewind_takes_back_what_is_newer)
{
    fixture f;
    mm_arena_mark empty, mark;
    char *old, *gone;
    size_t used;
    fixture_init(&f, BLOCK, 0, 0);
    empty = mm_arena_get_mark(&f.arena);
    mm_arena_rewind(&f.arena, &empty);
    CHECK_EQ(f.memory.calls, 0);
    old = mm_arena_strdup(&f.arena, "old");
    used = mm_arena_used(&f.arena);
    mark = mm_arena_get_mark(&f.arena);
    gone = mm_arena_strdup(&f.arena, "gone");
    mm_arena_rewind(&f.arena, &mark);
    CHECK_EQ(mm_arena_used(&f.arena), used);
    CHECK(mm_arena_strdup(&f.arena, "new") == gone); /* the same place */
    mm_arena_rewind(&f.arena, &mark);
    mm_arena_rewind(&f.arena, &mark);
    CHECK(mm_arena_resize(&f.arena, old, 4, 100)); /* growth is newer as well */
    mm_arena_rewind(&f.arena, &mark);
    CHECK_EQ(mm_arena_used(&f.arena), used);
    CHECK_STR(old, "old");
    CHECK_SUB(fixture_check(&f));
    mm_arena_rewind(&f.arena, &empty);
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    CHECK_EQ(f.memory.calls, 1);
    CHECK(mm_arena_strdup(&f.arena, "first again") == old);
    fixture_end(&f);
}

/* Blocks beyond the mark are kept, large ones go, and what was there before is as it was. */
TEST(marks_nest_across_blocks)
{
    fixture f;
    mm_arena_mark marks[6];
    mm_arena_stats before[6], after;
    char *texts[6];
    size_t i, j, cycle;
    for (cycle = 0; cycle < 2; cycle++) {
        fixture_init(&f, BLOCK, 0, 0);
        f.arena.block_max = cycle * 4 * BLOCK;
        for (i = 0; i < 6; i++) {
            texts[i] = mm_arena_printf(&f.arena, "%*d", 100, (int)i);
            CHECK(texts[i] != NULL);
            marks[i] = mm_arena_get_mark(&f.arena);
            mm_arena_get_stats(&f.arena, &before[i]);
            for (j = 0; j < 11 * i; j++) CHECK(mm_arena_alloc(&f.arena, 230) != NULL);
            CHECK(mm_arena_alloc(&f.arena, (4 + i) * BLOCK) != NULL);
            CHECK_SUB(fixture_check(&f));
        }
        for (i = 6; i-- > 0; i -= i == 3) { /* the mark 2 is left out */
            for (j = 0; j < 3; j++) {
                mm_arena_rewind(&f.arena, &marks[i]);
                CHECK_SUB(fixture_check(&f));
                mm_arena_get_stats(&f.arena, &after);
                CHECK(after.used == before[i].used && after.waste == before[i].waste);
                CHECK_EQ(strlen(texts[i]), 100);
                CHECK(mm_arena_alloc(&f.arena, j * BLOCK) != NULL);
                CHECK(mm_arena_alloc(&f.arena, j * 100) != NULL);
            }
        }
        fixture_end(&f);
    }
}

TEST(a_million_rewinds_do_not_grow)
{
    fixture f;
    mm_arena_mark mark;
    size_t cycle, i, total = 0, calls = 0;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(mm_arena_alloc(&f.arena, 500) != NULL);
    mark = mm_arena_get_mark(&f.arena);
    for (cycle = 0; cycle < 1000000; cycle++) {
        for (i = 0; i < 8; i++) CHECK(mm_arena_alloc(&f.arena, 200) != NULL);
        mm_arena_rewind(&f.arena, &mark);
        if (cycle == 0) calls = f.memory.calls;
        if (cycle == 0) total = mm_arena_total(&f.arena);
        CHECK_EQ(mm_arena_total(&f.arena), total);
    }
    CHECK_EQ(f.memory.calls, calls);
    CHECK_EQ(mm_arena_used(&f.arena), 512);
    fixture_end(&f);
}

TEST(a_mark_outlives_older_memory)
{
    fixture f;
    mm_arena_mark mark;
    char *a, *large;
    fixture_init(&f, BLOCK, 2 * BLOCK + 300, 0);
    a = (char *)mm_arena_alloc(&f.arena, 100);
    CHECK(a != NULL);
    mark = mm_arena_get_mark(&f.arena);
    mm_arena_free(&f.arena, a, 100);
    CHECK(mm_arena_alloc(&f.arena, 2 * BLOCK) == NULL); /* the marked block must stay */
    CHECK_EQ(f.memory.live_blocks, 1);
    mm_arena_rewind(&f.arena, &mark);
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    CHECK(mm_arena_alloc(&f.arena, 200) == a);
    mm_arena_rewind(&f.arena, &mark);
    CHECK_EQ(mm_arena_used(&f.arena), 112);
    CHECK_SUB(fixture_check(&f));
    mm_arena_reset(&f.arena);
    large = (char *)mm_arena_alloc(&f.arena, BLOCK);
    CHECK(large != NULL);
    memset(large, 'l', BLOCK);
    mark = mm_arena_get_mark(&f.arena);
    large = (char *)mm_arena_realloc(&f.arena, large, BLOCK, BLOCK + 200); /* another address */
    CHECK(large != NULL && mm_arena_alloc(&f.arena, 600) != NULL);
    mm_arena_rewind(&f.arena, &mark);
    CHECK(all_bytes(large, 'l', BLOCK));
    CHECK_SUB(fixture_check(&f));
    mm_arena_free(&f.arena, large, BLOCK + 200);
    CHECK(mm_arena_alloc(&f.arena, BLOCK + 100) != NULL); /* newer, in its place in the list */
    mm_arena_rewind(&f.arena, &mark);
    CHECK(f.arena.large == NULL);
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    fixture_end(&f);
}

/* A small last block, made near the limit, does not stay in the way of usual requests. */
TEST(rewind_drops_undersized_blocks)
{
    fixture f;
    mm_arena_mark marks[2];
    size_t i;
    fixture_init(&f, BLOCK, 4 * BLOCK + 200, 0);
    marks[0] = mm_arena_get_mark(&f.arena);
    CHECK(mm_arena_alloc(&f.arena, 16) != NULL);
    marks[1] = mm_arena_get_mark(&f.arena);
    for (i = 2; i-- > 0;) {
        CHECK(fill(&f, 64) > 50);
        CHECK_EQ(f.memory.live_blocks, 5);
        mm_arena_rewind(&f.arena, &marks[i]);
        CHECK_EQ(f.memory.live_blocks, 4);
        CHECK_SUB(fixture_check(&f));
    }
    CHECK(mm_arena_alloc(&f.arena, 4 * BLOCK) != NULL); /* nothing is used, so all may go */
    mm_arena_rewind(&f.arena, &marks[0]);
    CHECK_EQ(f.memory.live_blocks, 0);
    fixture_end(&f);
}

// >>cleanups

/* What ran, in order: each cleanup adds the letter that it is for. */
static char ran[64];

static void note(void *user_data)
{
    strncat(ran, (const char *)user_data, 1);
}

static mm_arena_cleanup *noted(mm_arena *arena, const char *letter)
{
    static char letters[] = "abcdefghijklmnopqrstuvwxyz";
    return mm_arena_cleanup_add(arena, note, letters + (*letter - 'a'));
}

#define CHECK_RAN(expected) \
    do { \
        CHECK_STR(ran, expected); \
        ran[0] = '\0'; \
    } while (0)

TEST(cleanups_run_last_in_first_out)
{
    fixture f;
    mm_arena_mark mark;
    size_t i;
    ran[0] = '\0';
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(noted(&f.arena, "a") && noted(&f.arena, "b") && noted(&f.arena, "c"));
    CHECK_SUB(fixture_check(&f));
    mm_arena_reset(&f.arena);
    CHECK_RAN("cba");
    mm_arena_reset(&f.arena);
    CHECK_RAN("");
    CHECK(noted(&f.arena, "a") != NULL);
    mark = mm_arena_get_mark(&f.arena);
    CHECK(noted(&f.arena, "b") != NULL);
    for (i = 0; i < 30; i++) CHECK(mm_arena_alloc(&f.arena, 200) != NULL);
    CHECK(noted(&f.arena, "c") != NULL);
    mm_arena_rewind(&f.arena, &mark);
    CHECK_RAN("cb");
    CHECK(noted(&f.arena, "d") != NULL);
    CHECK_SUB(fixture_check(&f));
    mm_arena_rewind(&f.arena, &mark);
    mm_arena_rewind(&f.arena, &mark);
    CHECK_RAN("d");
    CHECK(noted(&f.arena, "e") != NULL);
    mm_arena_deinit(&f.arena);
    CHECK_RAN("ea");
    fixture_end(&f);
}

TEST(cleanups_are_cancelled_or_run_early)
{
    fixture f;
    mm_arena_cleanup *handles[5];
    size_t used, i;
    ran[0] = '\0';
    fixture_init(&f, BLOCK, 0, 0);
    used = mm_arena_used(&f.arena);
    for (i = 0; i < 1000; i++) mm_arena_cleanup_cancel(&f.arena, noted(&f.arena, "z"));
    CHECK_EQ(mm_arena_used(&f.arena), used); /* taken and given back */
    for (i = 0; i < 5; i++) handles[i] = noted(&f.arena, &"abcde"[i]);
    mm_arena_cleanup_cancel(&f.arena, handles[2]);
    CHECK_SUB(fixture_check(&f));
    mm_arena_cleanup_run(&f.arena, handles[1]);
    CHECK_RAN("b");
    mm_arena_cleanup_cancel(&f.arena, handles[4]);
    CHECK_SUB(fixture_check(&f));
    mm_arena_cleanup_cancel(&f.arena, handles[0]);
    CHECK_SUB(fixture_check(&f));
    mm_arena_reset(&f.arena);
    CHECK_RAN("d");
    for (i = 0; i < 2; i++) handles[i] = noted(&f.arena, &"xy"[i]);
    mm_arena_cleanup_run(&f.arena, handles[0]);
    mm_arena_cleanup_run(&f.arena, handles[1]);
    CHECK_RAN("xy");
    CHECK(f.arena.cleanups == NULL);
    fixture_end(&f);
    CHECK_RAN("");
}

TEST(a_cleanup_without_memory_is_not_registered)
{
    fixture f;
    ran[0] = '\0';
    fixture_init(&f, BLOCK, BLOCK, 0);
    CHECK(fill(&f, 16) > 50);
    CHECK_REFUSED(&f, noted(&f.arena, "a"));
    mm_arena_reset(&f.arena);
    CHECK_RAN("");
    fixture_end(&f);
}

/* Registers one more, and takes memory small and large, three times. */
static void again(void *user_data)
{
    mm_arena *arena = (mm_arena *)user_data;
    char *text = mm_arena_strdup(arena, "in a cleanup");
    strcat(ran, "+");
    CHECK_STR(text, "in a cleanup");
    CHECK(mm_arena_alloc(arena, 3 * BLOCK) != NULL);
    if (strlen(ran) < 3) CHECK(mm_arena_cleanup_add(arena, again, arena) != NULL);
}

TEST(cleanups_may_use_the_arena)
{
    fixture f;
    mm_arena_mark mark;
    ran[0] = '\0';
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(noted(&f.arena, "a") != NULL);
    mark = mm_arena_get_mark(&f.arena);
    CHECK(mm_arena_cleanup_add(&f.arena, again, &f.arena) != NULL);
    mm_arena_rewind(&f.arena, &mark);
    CHECK_RAN("+++");
    CHECK_SUB(fixture_check(&f));
    CHECK_EQ(f.memory.live_blocks, 1);
    CHECK(mm_arena_cleanup_add(&f.arena, again, &f.arena) != NULL);
    mm_arena_reset(&f.arena);
    CHECK_RAN("+++a");
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    CHECK(mm_arena_cleanup_add(&f.arena, again, &f.arena) != NULL);
    fixture_end(&f);
    ran[0] = '\0';
}

// >>children

static mm_arena *child_of(mm_arena *parent, const char *letter)
{
    mm_arena_desc desc;
    mm_arena *child;
    memset(&desc, 0, sizeof(desc));
    desc.block_size = 200;
    desc.parent = parent;
    desc.first_size = *letter % 2 == 0 ? 300 : 0;
    child = mm_arena_create(&desc);
    if (child != NULL && noted(child, letter) == NULL) {
        mm_arena_destroy(child);
        return NULL;
    }
    return child;
}

TEST(children_end_with_their_parent)
{
    test_allocator memory;
    mm_arena_desc desc;
    mm_arena *parent, *child, *early, local;
    mm_arena_mark mark;
    ran[0] = '\0';
    memset(&desc, 0, sizeof(desc));
    test_allocator_init(&memory);
    desc.allocator = &memory.base;
    parent = mm_arena_create(&desc);
    CHECK(parent != NULL && noted(parent, "a") != NULL);
    child = child_of(parent, "b");
    CHECK(child != NULL && child->allocator == &memory.base && mm_arena_check(child));
    CHECK(child_of(child, "c") != NULL && noted(parent, "d") != NULL);
    early = child_of(parent, "e");
    CHECK(early != NULL && child_of(early, "f") != NULL);
    mark = mm_arena_get_mark(parent);
    CHECK(child_of(child, "g") != NULL); /* newer, but its own parent is older */
    CHECK(child_of(parent, "h") != NULL && noted(parent, "i") != NULL);
    mm_arena_rewind(parent, &mark);
    CHECK_RAN("ih");
    mm_arena_destroy(early);
    CHECK_RAN("fe");
    CHECK(mm_arena_check(parent) && mm_arena_check(child));
    mm_arena_reset(child);
    CHECK_RAN("gcb");
    CHECK(mm_arena_strdup(child, "still a child") != NULL);
    mm_arena_reset(parent);
    CHECK_RAN("da");
    desc.parent = parent;
    mm_arena_init(&local, &desc);
    CHECK(noted(&local, "j") != NULL && mm_arena_alloc(&local, 100000) != NULL);
    mm_arena_reset(parent);
    CHECK_RAN("j");
    CHECK(local.parent == NULL && mm_arena_total(&local) == 0);
    mm_arena_init(&local, &desc);
    mm_arena_deinit(&local);
    CHECK(child_of(parent, "k") != NULL);
    mm_arena_destroy(parent);
    CHECK_RAN("k");
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

TEST(a_child_may_live_in_its_parents_memory)
{
    fixture f;
    mm_arena_desc desc;
    mm_arena *child;
    int cycle, i;
    fixture_init(&f, BLOCK, 0, 0);
    memset(&desc, 0, sizeof(desc));
    desc.block_size = 300;
    desc.parent = &f.arena;
    desc.allocator = mm_arena_allocator(&f.arena);
    for (cycle = 0; cycle < 20; cycle++) {
        child = mm_arena_create(&desc);
        CHECK(child != NULL);
        for (i = 0; i < 30; i++) CHECK(mm_arena_alloc(child, (size_t)i * 20) != NULL);
        CHECK(mm_arena_check(child));
        CHECK_SUB(fixture_check(&f));
        if (cycle % 2 == 0) mm_arena_destroy(child);
        mm_arena_reset(&f.arena);
        CHECK_EQ(mm_arena_used(&f.arena), 0);
    }
    fixture_end(&f);
}

TEST(a_child_that_cannot_be_made_leaves_no_trace)
{
    fixture f;
    fixture_init(&f, BLOCK, 0, 0);
    test_allocator_fail(&f.memory, 1, 1);
    CHECK(child_of(&f.arena, "a") == NULL);
    CHECK(f.arena.cleanups == NULL);
    fixture_end(&f);
}

// >>limit

TEST(the_limit_is_never_exceeded)
{
    size_t limit, cycle;
    for (limit = 1; limit < 5 * BLOCK; limit += 61) {
        fixture f;
        size_t count = 0;
        fixture_init(&f, BLOCK, limit, 0);
        for (cycle = 0; cycle < 3; cycle++) {
            size_t now = fill(&f, 32);
            CHECK_SUB(fixture_check(&f));
            CHECK(f.memory.live_bytes <= limit);
            CHECK(cycle == 0 || now == count);          /* a reset makes the same room again */
            CHECK(now * 32 + 160 + limit / 20 > limit); /* a small last block uses the rest */
            count = now;
            mm_arena_reset(&f.arena);
            CHECK_SUB(fixture_check(&f));
        }
        CHECK(f.arena.failures == 3);
        fixture_end(&f);
    }
}

TEST(a_limit_below_a_block_is_one_block)
{
    fixture f;
    size_t cycle;
    fixture_init(&f, BLOCK, BLOCK / 2, 0);
    for (cycle = 0; cycle < 3; cycle++) {
        CHECK(fill(&f, 48) >= 10);
        CHECK_EQ(mm_arena_total(&f.arena), BLOCK / 2);
        CHECK_EQ(f.memory.calls, 1); /* the later cycles reuse it */
        mm_arena_reset(&f.arena);
    }
    fixture_end(&f);
}

TEST(kept_blocks_do_not_stand_in_the_limits_way)
{
    fixture f;
    fixture_init(&f, BLOCK, 4 * BLOCK, 4 * BLOCK);
    CHECK(fill(&f, 100) > 30);
    mm_arena_reset(&f.arena);
    CHECK_EQ(mm_arena_total(&f.arena), 4 * BLOCK);
    CHECK(mm_arena_alloc(&f.arena, 4 * BLOCK - 64) != NULL); /* nothing is used, so it must fit */
    CHECK_SUB(fixture_check(&f));
    CHECK(mm_arena_alloc(&f.arena, 64) == NULL);
    mm_arena_reset(&f.arena);
    CHECK(mm_arena_alloc(&f.arena, 64) != NULL);
    CHECK(mm_arena_alloc(&f.arena, 3 * BLOCK - 64) != NULL);
    CHECK(mm_arena_alloc(&f.arena, 900) != NULL);
    CHECK_SUB(fixture_check(&f));
    fixture_end(&f);
}

TEST(kept_blocks_go_back_before_a_request_fails)
{
    fixture f;
    char *text;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(mm_arena_alloc(&f.arena, 3 * BLOCK) != NULL);
    while (f.memory.live_blocks < 4) CHECK(mm_arena_alloc(&f.arena, 200) != NULL);
    mm_arena_reset(&f.arena);
    text = mm_arena_strdup(&f.arena, "stays");
    CHECK_EQ(f.memory.live_blocks, 3);
    test_allocator_fail(&f.memory, 1, 0);
    CHECK(mm_arena_alloc(&f.arena, 2 * BLOCK) != NULL);
    CHECK_EQ(f.memory.failures, 1);
    CHECK_EQ(f.memory.live_blocks, 2); /* the current one and the large one */
    CHECK_EQ(f.arena.failures, 0);
    CHECK_SUB(fixture_check(&f));
    CHECK_STR(text, "stays");
    test_allocator_fail(&f.memory, 1, 1);
    CHECK(mm_arena_alloc(&f.arena, 2 * BLOCK) == NULL);
    CHECK_EQ(f.arena.failures, 1);
    CHECK_STR(text, "stays");
    fixture_end(&f);
}

// >>allocator

TEST(the_last_allocation_changes_in_place)
{
    fixture f;
    const mm_allocator *self;
    char *a, *b, *c;
    fixture_init(&f, BLOCK, 0, 0);
    self = mm_arena_allocator(&f.arena);
    a = (char *)self->realloc_fn(NULL, 0, 20, self->user_data);
    CHECK(a != NULL);
    memcpy(a, "0123456789abcdefghi", 20);
    CHECK(self->realloc_fn(a, 20, 500, self->user_data) == a);
    CHECK_EQ(mm_arena_used(&f.arena), 512);
    CHECK(self->realloc_fn(a, 500, 20, self->user_data) == a);
    CHECK_EQ(mm_arena_used(&f.arena), 32);
    b = (char *)self->alloc_fn(10, self->user_data);
    CHECK(b == a + 32);
    CHECK(self->realloc_fn(a, 20, 32, self->user_data) == a); /* its rounding suffices */
    CHECK(self->realloc_fn(a, 32, 20, self->user_data) == a);
    c = (char *)self->realloc_fn(a, 20, 33, self->user_data);
    CHECK(c == b + 16);
    CHECK_STR(c, "0123456789abcdefghi");
    CHECK_SUB(fixture_check(&f));
    self->free_fn(c, 33, self->user_data);
    self->free_fn(b, 10, self->user_data);
    CHECK_EQ(mm_arena_used(&f.arena), 32);
    self->free_fn(a, 20, self->user_data); /* had moved away, but is the last one again */
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    CHECK_EQ(f.memory.calls, 1);
    fixture_end(&f);
}

TEST(resize_stays_in_place)
{
    fixture f;
    char *a, *b, *large;
    size_t room;
    fixture_init(&f, BLOCK, 0, 0);
    a = (char *)mm_arena_alloc(&f.arena, 20);
    CHECK(a != NULL && mm_arena_resize(&f.arena, a, 20, 300));
    memset(a, 'a', 300);
    CHECK(mm_arena_resize(&f.arena, a, 300, 40));
    CHECK_EQ(mm_arena_used(&f.arena), 48);
    b = (char *)mm_arena_alloc(&f.arena, 0);
    CHECK(b == a + 48 && mm_arena_resize(&f.arena, b, 0, 16));
    CHECK(mm_arena_resize(&f.arena, b, 16, 0));
    CHECK(mm_arena_resize(&f.arena, a, 40, 48) && !mm_arena_resize(&f.arena, a, 48, 49));
    CHECK(!mm_arena_resize(&f.arena, a, 48, huge) && !mm_arena_resize(&f.arena, b, 0, huge));
    room = 16 + mmi_arena_room(&f.arena);
    CHECK(!mm_arena_resize(&f.arena, b, 0, room + 1) && mm_arena_resize(&f.arena, b, 0, room));
    CHECK_EQ(mmi_arena_room(&f.arena), 0);
    CHECK_EQ(f.arena.failures, 0);
    large = (char *)mm_arena_alloc(&f.arena, 2 * BLOCK);
    CHECK(large != NULL && mm_arena_resize(&f.arena, large, 2 * BLOCK, 10));
    CHECK(mm_arena_resize(&f.arena, large, 10, 2 * BLOCK));
    CHECK(!mm_arena_resize(&f.arena, large, 2 * BLOCK, 3 * BLOCK));
    CHECK_SUB(fixture_check(&f));
    CHECK(all_bytes(a, 'a', 40));
    mm_arena_free(&f.arena, large, 2 * BLOCK);
    CHECK_EQ(f.memory.live_blocks, 1);
    mm_arena_free(&f.arena, b, room);
    mm_arena_free(&f.arena, a, 48);
    mm_arena_free(&f.arena, NULL, 0);
    CHECK_EQ(mm_arena_used(&f.arena), 0);
    CHECK(mm_arena_realloc(&f.arena, NULL, 0, 5) == a);
    fixture_end(&f);
}

TEST(freeing_another_than_the_last_does_nothing)
{
    fixture f;
    const mm_allocator *self;
    void *a, *b, *c;
    size_t i;
    fixture_init(&f, BLOCK, 0, 0);
    self = mm_arena_allocator(&f.arena);
    a = self->alloc_fn(40, self->user_data);
    b = self->alloc_fn(40, self->user_data);
    self->free_fn(a, 40, self->user_data);
    CHECK_EQ(mm_arena_used(&f.arena), 96);
    c = self->alloc_fn(40, self->user_data);
    CHECK(c == (char *)b + 48);
    for (i = 0; i < 10; i++) CHECK(self->alloc_fn(200, self->user_data) != NULL);
    self->free_fn(c, 40, self->user_data); /* last of a block that is not current any more */
    CHECK_SUB(fixture_check(&f));
    fixture_end(&f);
}

TEST(a_growing_block_moves_to_large_and_then_grows_there)
{
    fixture f;
    const mm_allocator *self;
    size_t size, i;
    unsigned char *ptr;
    fixture_init(&f, BLOCK, 0, 0);
    self = mm_arena_allocator(&f.arena);
    CHECK(mm_arena_alloc(&f.arena, 300) != NULL);
    ptr = (unsigned char *)self->alloc_fn(8, self->user_data);
    CHECK(ptr != NULL);
    for (i = 0; i < 8; i++) ptr[i] = (unsigned char)i;
    for (size = 8; size < 100000; size *= 2) {
        ptr = (unsigned char *)self->realloc_fn(ptr, size, size * 2, self->user_data);
        CHECK(aligned(ptr, 16));
        for (i = 0; i < size; i++) CHECK(ptr[i] == (unsigned char)i);
        for (; i < size * 2; i++) ptr[i] = (unsigned char)i;
        CHECK_SUB(fixture_check(&f));
        CHECK(f.memory.live_blocks <= 2); /* no copy is left behind */
    }
    CHECK_EQ(mm_arena_used(&f.arena), 304 + size);
    CHECK(self->realloc_fn(ptr, size, 10, self->user_data) == ptr);
    CHECK(self->realloc_fn(ptr, 10, size, self->user_data) == ptr);
    self->free_fn(ptr, size, self->user_data);
    CHECK_EQ(mm_arena_used(&f.arena), 304);
    CHECK_EQ(f.memory.live_blocks, 1);
    fixture_end(&f);
}

TEST(a_large_block_that_cannot_grow_is_as_it_was)
{
    fixture f;
    const mm_allocator *self;
    char *ptr;
    fixture_init(&f, BLOCK, 8 * BLOCK, 0);
    self = mm_arena_allocator(&f.arena);
    ptr = (char *)self->alloc_fn(2 * BLOCK, self->user_data);
    CHECK(ptr != NULL);
    memset(ptr, 'x', 2 * BLOCK);
    CHECK_REFUSED(&f, self->realloc_fn(ptr, 2 * BLOCK, 8 * BLOCK, self->user_data)); /* limit */
    test_allocator_fail(&f.memory, 1, 0);
    CHECK_REFUSED(&f, self->realloc_fn(ptr, 2 * BLOCK, 4 * BLOCK, self->user_data));
    CHECK_REFUSED(&f, self->realloc_fn(ptr, 2 * BLOCK, huge - 16, self->user_data));
    CHECK(all_bytes(ptr, 'x', 2 * BLOCK));
    ptr = (char *)self->realloc_fn(ptr, 2 * BLOCK, 7 * BLOCK, self->user_data);
    CHECK(ptr != NULL && all_bytes(ptr, 'x', 2 * BLOCK));
    fixture_end(&f);
}

/* It lies somewhere in its block, with room before it that growth can take. */
TEST(a_large_block_of_any_alignment_is_resized_and_freed)
{
    size_t alignment, size = 2 * BLOCK;
    fixture f;
    char *ptr, *moved;
    fixture_init(&f, BLOCK, 0, 0);
    CHECK(mm_arena_alloc(&f.arena, 300) != NULL);
    for (alignment = 32; alignment <= 64 * BLOCK; alignment *= 2) {
        ptr = (char *)mm_arena_alloc_aligned(&f.arena, size, alignment);
        CHECK(aligned(ptr, alignment) && f.memory.live_blocks == 2);
        memset(ptr, 'x', size);
        CHECK(mm_arena_realloc(&f.arena, ptr, size, size / 2) == ptr);
        CHECK(mm_arena_realloc(&f.arena, ptr, size / 2, size) == ptr);
        memset(ptr, 'x', size);
        test_allocator_fail(&f.memory, 1, 0);
        CHECK_REFUSED(&f, mm_arena_realloc(&f.arena, ptr, size, size + 2 * alignment + 64));
        CHECK_REFUSED(&f, mm_arena_realloc(&f.arena, ptr, size, huge - 16));
        test_allocator_fail(&f.memory, 0, 0);
        moved = (char *)mm_arena_realloc(&f.arena, ptr, size, size + alignment);
        CHECK(aligned(moved, 16) && all_bytes(moved, 'x', size));
        CHECK_SUB(fixture_check(&f));
        memset(moved, 'y', size + alignment);
        moved = (char *)mm_arena_realloc(&f.arena, moved, size + alignment, 3 * size + alignment);
        CHECK(aligned(moved, 16) && all_bytes(moved, 'y', size + alignment));
        CHECK_EQ(f.memory.live_blocks, 2); /* no copy is left behind */
        mm_arena_free(&f.arena, moved, 3 * size + alignment);
        CHECK_EQ(f.memory.live_blocks, 1);
        ptr = (char *)mm_arena_alloc_aligned(&f.arena, size, alignment);
        CHECK(aligned(ptr, alignment) && f.memory.live_blocks == 2);
        mm_arena_free(&f.arena, ptr, size);
        CHECK(f.memory.live_blocks == 1 && mm_arena_used(&f.arena) == 304);
    }
    fixture_end(&f);
}

/* Blocks at addresses that are 8 and 0 modulo 16 in turn, as from a 32-bit malloc. */
static void *odd_alloc(size_t size, void *user_data)
{
    test_allocator *memory = (test_allocator *)user_data;
    size_t shift = memory->calls % 2 == 0 ? 8 : 16;
    char *block = (char *)test_alloc(size + 16, user_data);
    if (block == NULL) return NULL;
    memset(block, (int)shift, shift);
    return block + shift;
}

static void odd_free(void *ptr, size_t size, void *user_data)
{
    char *block = (char *)ptr;
    test_free(block - block[-1], size + 16, user_data);
}

static void *odd_realloc(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    void *moved = odd_alloc(new_size, user_data);
    if (moved == NULL || ptr == NULL) return moved;
    memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
    odd_free(ptr, old_size, user_data);
    return moved;
}

TEST(blocks_may_be_aligned_to_eight_only)
{
    fixture f;
    const mm_allocator *self;
    char *ptr;
    size_t i, size;
    fixture_init(&f, BLOCK, 0, 0);
    f.memory.base.alloc_fn = odd_alloc;
    f.memory.base.realloc_fn = odd_realloc;
    f.memory.base.free_fn = odd_free;
    for (i = 0; i < 50; i++) {
        void *block = mm_arena_alloc(&f.arena, i * 5);
        CHECK(aligned(block, 16));
        memset(block, 1, i * 5);
        CHECK(aligned(mm_arena_alloc_aligned(&f.arena, i * 20, 128), 128));
        CHECK(mm_arena_check(&f.arena));
    }
    self = mm_arena_allocator(&f.arena);
    ptr = (char *)self->alloc_fn(BLOCK, self->user_data);
    CHECK(ptr != NULL);
    memset(ptr, 'y', BLOCK);
    for (size = BLOCK; size < 20 * BLOCK; size += 500) {
        ptr = (char *)self->realloc_fn(ptr, size, size + 500, self->user_data);
        CHECK(aligned(ptr, 16) && all_bytes(ptr, 'y', size));
        memset(ptr + size, 'y', 500);
        CHECK(mm_arena_check(&f.arena));
    }
    mm_arena_reset(&f.arena);
    CHECK(mm_arena_check(&f.arena));
    mm_arena_deinit(&f.arena);
    CHECK_EQ(f.memory.live_blocks, 0);
    CHECK_EQ(f.memory.bad_sizes, 0);
}

TEST(arenas_nest)
{
    fixture f;
    mm_arena_desc desc;
    mm_arena child;
    int cycle, i;
    fixture_init(&f, 16 * BLOCK, 0, 0);
    memset(&desc, 0, sizeof(desc));
    desc.block_size = BLOCK;
    desc.allocator = mm_arena_allocator(&f.arena);
    mm_arena_init(&child, &desc);
    for (cycle = 0; cycle < 5; cycle++) {
        for (i = 0; i < 30; i++) CHECK(mm_arena_printf(&child, "%*d", i * 20, i) != NULL);
        CHECK(mm_arena_check(&child));
        CHECK_SUB(fixture_check(&f));
        mm_arena_reset(&child);
    }
    mm_arena_deinit(&child);
    fixture_end(&f);
}

// >>check

TEST(check_finds_damage)
{
    fixture f;
    mm_arena good;
    mmi_arena_block *block;
    size_t i;
    fixture_init(&f, BLOCK, 0, 0);
    for (i = 0; i < 12; i++) CHECK(mm_arena_alloc(&f.arena, 200) != NULL);
    mm_arena_reset(&f.arena);
    CHECK(mm_arena_alloc(&f.arena, 100) != NULL && mm_arena_alloc(&f.arena, 2 * BLOCK) != NULL);
    CHECK(noted(&f.arena, "a") != NULL);
    good = f.arena;
#define CHECK_DAMAGE(statement) \
    statement; \
    CHECK(!mm_arena_check(&f.arena)); \
    f.arena = good
    CHECK_DAMAGE(f.arena.cursor += 8);
    CHECK_DAMAGE(f.arena.cursor = f.arena.end + 16);
    CHECK_DAMAGE(f.arena.cursor = (unsigned char *)f.arena.current);
    CHECK_DAMAGE(f.arena.end -= 16);
    CHECK_DAMAGE(f.arena.used_before++);
    CHECK_DAMAGE(f.arena.large_used = f.arena.total);
    CHECK_DAMAGE(f.arena.large_total--);
    CHECK_DAMAGE(f.arena.first = f.arena.large);
    CHECK_DAMAGE(f.arena.serial = 0);
    CHECK_DAMAGE(f.arena.parent = &f.arena);
    CHECK_DAMAGE(f.arena.cleanups->newer = f.arena.cleanups);
    f.arena.cleanups->newer = NULL;
    CHECK_DAMAGE(f.arena.cleanups->older = f.arena.cleanups);
    f.arena.cleanups->older = NULL;
    CHECK_DAMAGE(f.arena.waste++);
    CHECK_DAMAGE(f.arena.total++);
    CHECK_DAMAGE(f.arena.peak = 0);
    CHECK_DAMAGE(f.arena.limit = 1);
    CHECK_DAMAGE(f.arena.large = NULL);
    CHECK_DAMAGE(f.arena.blocks = NULL);
    CHECK_DAMAGE(f.arena.current = f.arena.large);
    CHECK_DAMAGE(f.arena.block_size *= 2);
    block = f.arena.current->next;
    CHECK_DAMAGE(f.arena.current->next = f.arena.current); /* a circle */
    CHECK_DAMAGE(f.arena.current->next = NULL);            /* lost blocks */
    f.arena.current->next = block;
    CHECK(mm_arena_check(&f.arena));
    fixture_end(&f);
}

// >>poison

/* [ptr, ptr + size) may be used, and the byte behind it may not. */
static void check_exact(const void *ptr, size_t size)
{
    const char *bytes = (const char *)ptr;
    size_t i;
    if (!TRACKED) return;
    for (i = 0; i < size; i++) CHECK(!HIDDEN(bytes + i));
    CHECK(HIDDEN(bytes + size));
}

TEST(only_what_is_handed_out_may_be_used)
{
    fixture f;
    const mm_allocator *self;
    mm_arena_mark mark;
    char *a, *b, *large;
    size_t size;
    fixture_init(&f, BLOCK, 0, 0);
    for (size = 1; size < 260; size += size % 16 == 15 ? 2 : 1) {
        CHECK_SUB(check_exact(mm_arena_alloc(&f.arena, size), size));
    }
    CHECK_SUB(check_exact(mm_arena_alloc(&f.arena, 0), 0));
    CHECK_SUB(check_exact(mm_arena_alloc_aligned(&f.arena, 5, 256), 5));
    large = (char *)mm_arena_alloc(&f.arena, 5001);
    CHECK_SUB(check_exact(large, 5001));
    CHECK_SUB(check_exact(mm_arena_printf(&f.arena, "%s", "four"), 5));
    CHECK_SUB(check_exact(mm_arena_printf(&f.arena, "%*d", 2000, 1), 2001));
    self = mm_arena_allocator(&f.arena);
    a = (char *)self->alloc_fn(10, self->user_data);
    b = (char *)self->realloc_fn(a, 10, 27, self->user_data);
    CHECK_SUB(check_exact(b, 27));
    b = (char *)self->realloc_fn(b, 27, 3, self->user_data);
    CHECK_SUB(check_exact(b, 3));
    b = (char *)self->realloc_fn(b, 3, 4, self->user_data);
    CHECK_SUB(check_exact(b, 4));
    self->free_fn(b, 4, self->user_data);
    CHECK(!TRACKED || HIDDEN(b));
    mark = mm_arena_get_mark(&f.arena);
    a = mm_arena_strdup(&f.arena, "fourteen bytes");
    mm_arena_rewind(&f.arena, &mark);
    CHECK(!TRACKED || (HIDDEN(a) && HIDDEN(a + 14)));
    CHECK_SUB(check_exact(mm_arena_strdup(&f.arena, "six..."), 7));
    for (size = 0; size < 40; size++) CHECK(mm_arena_alloc(&f.arena, 99) != NULL);
    b = mm_arena_strdup(&f.arena, "blocks on");
    mm_arena_rewind(&f.arena, &mark);
    CHECK(!TRACKED || (HIDDEN(a) && HIDDEN(b) && HIDDEN(b + 9)));
    a = (char *)mm_arena_strdup(&f.arena, "gone");
    mm_arena_reset(&f.arena);
    CHECK(!TRACKED || (HIDDEN(a) && HIDDEN(a + 4) && HIDDEN(large)));
    CHECK(!TRACKED || HIDDEN(f.arena.cursor));
    CHECK_SUB(check_exact(mm_arena_alloc(&f.arena, 30), 30));
    fixture_end(&f);
}

TEST(a_large_block_stays_exact_while_it_grows)
{
    fixture f;
    const mm_allocator *self;
    char *ptr;
    fixture_init(&f, BLOCK, 0, 0);
    self = mm_arena_allocator(&f.arena);
    ptr = (char *)self->alloc_fn(2001, self->user_data);
    CHECK_SUB(check_exact(ptr, 2001));
    ptr = (char *)self->realloc_fn(ptr, 2001, 3001, self->user_data);
    CHECK_SUB(check_exact(ptr, 3001));
    test_allocator_fail(&f.memory, 1, 1);
    CHECK(self->realloc_fn(ptr, 3001, 9000, self->user_data) == NULL);
    CHECK_SUB(check_exact(ptr, 3001));
    ptr = (char *)self->realloc_fn(ptr, 3001, 33, self->user_data);
    CHECK_SUB(check_exact(ptr, 33));
    fixture_end(&f);
}

// >>failures

/* Each registration that succeeded is run by the rewind, and no other. */
static void scenario_of_marks(fixture *f)
{
    mm_arena_mark mark = mm_arena_get_mark(&f->arena);
    const char *parts[] = {"one", "two"};
    size_t live = f->memory.live_blocks, used = mm_arena_used(&f->arena), expected = 0, i;
    ran[0] = '\0';
    for (i = 0; i < 6; i++) {
        mm_arena_desc desc;
        mm_arena *child;
        char *text = mm_arena_join(&f->arena, "-", parts, 2);
        CHECK(text == NULL || strcmp(text, "one-two") == 0);
        expected += noted(&f->arena, "x") != NULL;
        memset(&desc, 0, sizeof(desc));
        desc.parent = &f->arena;
        desc.block_size = 100;
        desc.allocator = mm_arena_allocator(&f->arena);
        child = mm_arena_create(&desc);
        expected += child != NULL && noted(child, "y") != NULL;
        CHECK(child == NULL || mm_arena_check(child));
        CHECK(mm_arena_array(&f->arena, 30, 8) != NULL || f->arena.failures > 0);
        CHECK_SUB(fixture_check(f));
    }
    mm_arena_rewind(&f->arena, &mark);
    CHECK_EQ(strlen(ran), expected);
    CHECK_EQ(mm_arena_used(&f->arena), used);
    CHECK(f->memory.live_blocks <= live + 6);
}

/* Every kind of call once; a refused one ends the run. What was got must stay intact. */
static void scenario(fixture *f)
{
    const mm_allocator *self = mm_arena_allocator(&f->arena);
    char *text, *grown = NULL;
    size_t i;
    for (i = 0; i < 3; i++) {
        text = mm_arena_strdup(&f->arena, "kept all along");
        if (text != NULL && mm_arena_alloc(&f->arena, 3 * BLOCK) != NULL &&
            mm_arena_calloc(&f->arena, 20, 40) != NULL &&
            mm_arena_printf(&f->arena, "%*d", 2000, 1) != NULL &&
            mm_arena_alloc_aligned(&f->arena, 100, 512) != NULL) {
            grown = (char *)self->alloc_fn(900, self->user_data);
        }
        if (grown != NULL) memset(grown, 'g', 900);
        if (grown != NULL) {
            char *moved = (char *)self->realloc_fn(grown, 900, 9000, self->user_data);
            CHECK(all_bytes(moved != NULL ? moved : grown, 'g', 900));
        }
        CHECK(text == NULL || strcmp(text, "kept all along") == 0);
        CHECK_SUB(scenario_of_marks(f));
        CHECK_SUB(fixture_check(f));
        mm_arena_reset(&f->arena);
        CHECK_SUB(fixture_check(f));
        grown = NULL;
    }
}

TEST(every_allocation_may_fail)
{
    size_t n, refused = 1;
    int for_ever;
    for (for_ever = 0; for_ever <= 1; for_ever++) {
        refused = 1;
        for (n = 1; refused > 0; n++) {
            fixture f;
            fixture_init(&f, BLOCK, 0, 0);
            test_allocator_fail(&f.memory, n, for_ever);
            CHECK_SUB(scenario(&f));
            refused = f.memory.failures;
            f.memory.fail_at = 0;
            CHECK_STR(mm_arena_strdup(&f.arena, "usable again"), "usable again");
            CHECK_SUB(fixture_end(&f));
        }
        CHECK(n > 10);
    }
}

// >>model

#define OBJECTS 300
#define ENTRIES 40 /* cleanups and children */
#define MARKS 8

typedef struct object {
    unsigned char *ptr;
    size_t size;
} object;

/* A registered cleanup, or a child arena in whose place its own cleanup runs. */
typedef struct entry {
    struct model *m;
    mm_arena_cleanup *cleanup;
    mm_arena *child;
} entry;

typedef struct model {
    fixture f;
    object objects[OBJECTS];
    size_t count, step;
    entry entries[ENTRIES];
    entry *order[ENTRIES]; /* oldest first */
    size_t order_count;
    bool disorder; /* one ran that was not the newest */
    mm_arena_mark marks[MARKS];
    size_t mark_objects[MARKS], mark_order[MARKS], mark_count;
    test_allocator children;
    uint64_t random;
} model;

static size_t pick(model *m, size_t below)
{
    return (size_t)(test_random(&m->random) >> 33) % below;
}

/* Mostly small, at times around the borders of a block, seldom larger than any. */
static size_t pick_size(model *m)
{
    size_t kind = pick(m, 20);
    if (kind == 0) return pick(m, 6 * BLOCK);
    if (kind < 4) return BLOCK / 4 - 40 + pick(m, 80);
    return pick(m, 100);
}

/* The content of an object follows from its address and size. */
static unsigned char content(const object *o, size_t i)
{
    return (unsigned char)((uintptr_t)o->ptr / 16 + o->size * 7 + i);
}

static void object_fill(object *o)
{
    size_t i;
    for (i = 0; i < o->size; i++) o->ptr[i] = content(o, i);
}

static bool object_intact(const object *o)
{
    size_t i;
    for (i = 0; i < o->size; i++) {
        if (o->ptr[i] != content(o, i)) return false;
    }
    return true;
}

static void model_alloc(model *m)
{
    object *o = &m->objects[m->count];
    size_t alignment = pick(m, 4) == 0 ? (size_t)1 << pick(m, 11) : 16;
    if (m->count == OBJECTS) return;
    o->size = pick_size(m);
    o->ptr = (unsigned char *)(alignment == 16
                                   ? mm_arena_alloc(&m->f.arena, o->size)
                                   : mm_arena_alloc_aligned(&m->f.arena, o->size, alignment));
    if (o->ptr == NULL) return;
    CHECK(aligned(o->ptr, alignment));
    object_fill(o);
    m->count++;
}

static void model_realloc(model *m)
{
    const mm_allocator *self = mm_arena_allocator(&m->f.arena);
    size_t index = pick(m, 2) == 0 ? m->count - 1 : pick(m, m->count), i;
    size_t size = 1 + pick_size(m);
    object *o = &m->objects[index], old = *o;
    unsigned char *moved;
    if (o->size == 0) return;
    if (m->mark_count > 0 && index < m->mark_objects[m->mark_count - 1] && size > o->size) return;
    moved = (unsigned char *)self->realloc_fn(o->ptr, o->size, size, self->user_data);
    CHECK(moved != NULL || size > old.size);
    CHECK(moved == old.ptr || size > old.size);
    if (moved == NULL) return;
    for (i = 0; i < size && i < old.size; i++) CHECK(moved[i] == content(&old, i));
    o->ptr = moved;
    o->size = size;
    object_fill(o);
}

static void model_free(model *m)
{
    const mm_allocator *self = mm_arena_allocator(&m->f.arena);
    size_t index = pick(m, 3) != 0 ? m->count - 1 : pick(m, m->count), i;
    object o = m->objects[index];
    if (o.size == 0) return;
    self->free_fn(o.ptr, o.size, self->user_data);
    memmove(&m->objects[index], &m->objects[index + 1],
            (m->count - index - 1) * sizeof(m->objects[0]));
    m->count--;
    for (i = 0; i < m->mark_count; i++) m->mark_objects[i] -= m->mark_objects[i] > index;
}

static void model_ended(void *user_data)
{
    entry *e = (entry *)user_data;
    model *m = e->m;
    if (m->order_count == 0 || m->order[m->order_count - 1] != e) m->disorder = true;
    else m->order_count--;
    e->m = NULL;
}

/* Without the allocator: children have one of their own, which never fails. */
static bool model_child(model *m, entry *e)
{
    mm_arena_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.parent = &m->f.arena;
    desc.block_size = 100 + pick(m, 300);
    desc.first_size = pick(m, 2) * 200;
    desc.allocator = &m->children.base;
    e->child = mm_arena_create(&desc);
    return e->child != NULL && mm_arena_alloc(e->child, pick(m, 1000)) != NULL &&
           mm_arena_cleanup_add(e->child, model_ended, e) != NULL;
}

static void model_register(model *m)
{
    entry *e = m->entries;
    while (e < m->entries + ENTRIES && e->m != NULL) e++;
    if (e == m->entries + ENTRIES) return;
    e->child = NULL;
    e->cleanup = NULL;
    if (pick(m, 2) == 0) CHECK(model_child(m, e));
    else e->cleanup = mm_arena_cleanup_add(&m->f.arena, model_ended, e);
    if (e->child == NULL && e->cleanup == NULL) return;
    e->m = m;
    m->order[m->order_count++] = e;
}

/* Ends one before its time: moved to the end of the order, it is what must run next. */
static void model_end_early(model *m)
{
    size_t index, i;
    entry *e;
    if (m->order_count == 0) return;
    index = pick(m, m->order_count);
    e = m->order[index];
    memmove(&m->order[index], &m->order[index + 1],
            (m->order_count - index - 1) * sizeof(m->order[0]));
    m->order[m->order_count - 1] = e;
    for (i = 0; i < m->mark_count; i++) m->mark_order[i] -= m->mark_order[i] > index;
    if (e->child != NULL) {
        mm_arena_destroy(e->child);
    } else if (pick(m, 2) == 0) {
        mm_arena_cleanup_run(&m->f.arena, e->cleanup);
    } else {
        mm_arena_cleanup_cancel(&m->f.arena, e->cleanup);
        model_ended(e);
    }
}

static void model_mark(model *m)
{
    if (m->mark_count == MARKS) return;
    m->marks[m->mark_count] = mm_arena_get_mark(&m->f.arena);
    m->mark_objects[m->mark_count] = m->count;
    m->mark_order[m->mark_count++] = m->order_count;
}

/* To any of the marks; that one may be used again. */
static void model_rewind(model *m)
{
    size_t index;
    if (m->mark_count == 0) return;
    index = pick(m, m->mark_count);
    mm_arena_rewind(&m->f.arena, &m->marks[index]);
    m->mark_count = index + pick(m, 2);
    m->count = m->mark_objects[index];
    CHECK_EQ(m->order_count, m->mark_order[index]);
}

static void model_life(model *m)
{
    switch (pick(m, 8)) {
    case 0: model_rewind(m); break;
    case 1: model_mark(m); break;
    case 2: model_end_early(m); break;
    case 3: mm_arena_trim(&m->f.arena); break;
    default: model_register(m); break;
    }
}

static void model_reset(model *m)
{
    mm_arena_reset(&m->f.arena);
    m->count = m->mark_count = 0;
    CHECK_EQ(mm_arena_used(&m->f.arena), 0);
    CHECK_EQ(m->order_count, 0);
    CHECK_EQ(m->children.live_blocks, 0);
}

static void model_step(model *m)
{
    size_t op = pick(m, 100), i;
    if (op == 0) {
        CHECK_SUB(model_reset(m));
    } else if (op == 1) {
        test_allocator_fail(&m->f.memory, 1 + pick(m, 3), (int)pick(m, 2));
    } else if (op < 6) {
        m->f.memory.fail_at = 0;
    } else if (op < 20) {
        CHECK_SUB(model_life(m));
    } else if (op < 66 || m->count == 0) {
        CHECK_SUB(model_alloc(m));
    } else if (op < 85) {
        CHECK_SUB(model_realloc(m));
    } else {
        model_free(m);
    }
    CHECK_SUB(fixture_check(&m->f));
    CHECK(!m->disorder);
    for (i = op < 90 ? m->count - m->count / 8 : 0; i < m->count; i++) {
        CHECK(object_intact(&m->objects[i]));
    }
}

TEST(random_operations_agree_with_the_model)
{
    static model m;
    size_t round;
    for (round = 0; round < 24; round++) {
        memset(&m, 0, sizeof(m));
        m.random = 88172645463325252u + round;
        test_allocator_init(&m.children);
        fixture_init(&m.f, BLOCK, round % 3 == 0 ? 4 * BLOCK + 13 * round : 0,
                     round % 4 == 0 ? 1 + round * BLOCK / 2 : 0);
        m.f.arena.block_max = round % 5 == 0 ? 16 * BLOCK : 0;
        for (m.step = 0; m.step < 1500; m.step++) CHECK_SUB(model_step(&m));
        CHECK_SUB(fixture_end(&m.f));
        CHECK_EQ(m.order_count, 0);
        CHECK_EQ(m.children.live_blocks, 0);
    }
}

TEST_MAIN(T(zero_is_an_empty_arena), T(init_allocates_nothing_and_takes_null),
          T(create_and_destroy), T(a_moved_arena_goes_on), T(memory_is_aligned_and_apart),
          T(size_zero_gives_unique_pointers), T(a_block_is_filled_to_its_last_byte),
          T(absurd_sizes_are_refused), T(any_power_of_two_is_an_alignment),
          T(calloc_zeroes_used_memory), T(copies_of_memory_and_strings),
          T(arrays_have_a_checked_size), T(strings_are_joined), T(printf_gives_the_exact_length),
          T(printf_that_fails_changes_nothing), T(large_requests_keep_the_current_block),
          T(stats_add_up), T(a_million_cycles_do_not_grow), T(the_same_cycle_gets_the_same_memory),
          T(reset_keeps_what_was_asked_for), T(tiny_block_sizes_still_work),
          T(blocks_grow_up_to_their_maximum), T(growth_without_end_is_refused_in_time),
          T(the_first_block_may_be_the_callers), T(an_arena_may_live_in_the_callers_memory_alone),
          T(a_created_arena_has_its_first_block_behind_it), T(what_a_peak_left_behind_decays),
          T(a_peak_in_each_window_keeps_its_blocks), T(trim_gives_back_what_is_empty),
          T(rewind_takes_back_what_is_newer), T(marks_nest_across_blocks),
          T(a_million_rewinds_do_not_grow), T(a_mark_outlives_older_memory),
          T(rewind_drops_undersized_blocks), T(cleanups_run_last_in_first_out),
          T(cleanups_are_cancelled_or_run_early), T(a_cleanup_without_memory_is_not_registered),
          T(cleanups_may_use_the_arena), T(children_end_with_their_parent),
          T(a_child_may_live_in_its_parents_memory), T(a_child_that_cannot_be_made_leaves_no_trace),
          T(the_limit_is_never_exceeded), T(a_limit_below_a_block_is_one_block),
          T(kept_blocks_do_not_stand_in_the_limits_way),
          T(kept_blocks_go_back_before_a_request_fails), T(the_last_allocation_changes_in_place),
          T(resize_stays_in_place), T(freeing_another_than_the_last_does_nothing),
          T(a_growing_block_moves_to_large_and_then_grows_there),
          T(a_large_block_that_cannot_grow_is_as_it_was),
          T(a_large_block_of_any_alignment_is_resized_and_freed),
          T(blocks_may_be_aligned_to_eight_only),
          T(arenas_nest), T(check_finds_damage), T(only_what_is_handed_out_may_be_used),
          T(a_large_block_stays_exact_while_it_grows), T(every_allocation_may_fail),
          T(random_operations_agree_with_the_model))
