/* mm_arena with what is for debugging: the owner check, stale marks, and red zones. */
static int asserted; /* assertions that did not hold */
#define MM_ASSERT(condition) ((condition) ? (void)0 : (void)asserted++)
#define MM_DEBUG
#define MM_ARENA_RED_ZONE 40 /* rounded up to 48 */
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../harness.h"
#include <pthread.h>

#define BLOCK 1024

static void *use(void *user_data)
{
    return mm_arena_strdup((mm_arena *)user_data, "elsewhere");
}

static void *reset(void *user_data)
{
    mm_arena_reset((mm_arena *)user_data);
    return NULL;
}

/* How many assertions fail while another thread does this with the arena. */
static int asserted_elsewhere(void *(*action)(void *), mm_arena *arena)
{
    pthread_t thread;
    int before = asserted;
    if (pthread_create(&thread, NULL, action, arena) != 0) return -1;
    if (pthread_join(thread, NULL) != 0) return -1;
    return asserted - before;
}

TEST(another_thread_is_noticed)
{
    mm_arena arena = {0};
    CHECK_STR(mm_arena_strdup(&arena, "here"), "here");
    mm_arena_reset(&arena);
    CHECK_EQ(asserted, 0);
    CHECK(asserted_elsewhere(use, &arena) > 0);
    CHECK(asserted_elsewhere(reset, &arena) > 0);
    asserted = 0;
    CHECK_STR(mm_arena_strdup(&arena, "here"), "here");
    CHECK_EQ(asserted, 0);
    mm_arena_disown(&arena);
    CHECK_EQ(asserted_elsewhere(use, &arena), 0);
    mm_arena_disown(&arena);
    mm_arena_deinit(&arena);
    CHECK_EQ(asserted, 0);
}

TEST(a_stale_mark_is_noticed)
{
    mm_arena_desc desc;
    mm_arena arena;
    mm_arena_mark outer, inner;
    size_t i;
    memset(&desc, 0, sizeof(desc));
    desc.block_size = BLOCK;
    mm_arena_init(&arena, &desc);
    CHECK(mm_arena_alloc(&arena, 100) != NULL);
    outer = mm_arena_get_mark(&arena);
    for (i = 0; i < 20; i++) CHECK(mm_arena_alloc(&arena, 100) != NULL);
    inner = mm_arena_get_mark(&arena);
    mm_arena_rewind(&arena, &inner);
    mm_arena_rewind(&arena, &outer);
    CHECK_EQ(asserted, 0);
    CHECK(!mmi_arena_has_mark(&arena, &inner));
    mm_arena_reset(&arena);
    CHECK_EQ(asserted, 0);
    mm_arena_rewind(&arena, &outer);
    CHECK(asserted > 0);
    asserted = 0;
    mm_arena_reset(&arena);
    arena.waste++;
    mm_arena_reset(&arena);
    CHECK(asserted > 0);
    asserted = 0;
    mm_arena_deinit(&arena);
}

static void nothing(void *user_data)
{
    (void)user_data;
}

TEST(a_cleanup_cancelled_twice_is_noticed)
{
    mm_arena arena = {0};
    mm_arena_cleanup *cleanup = mm_arena_cleanup_add(&arena, nothing, NULL);
    CHECK(cleanup != NULL && mm_arena_alloc(&arena, 1) != NULL);
    mm_arena_cleanup_cancel(&arena, cleanup);
    CHECK_EQ(asserted, 0);
    MM_TRACK_UNPOISON(cleanup, sizeof(*cleanup)); /* or the memory checker would notice first */
    memset(cleanup, 0, sizeof(*cleanup));
    mmi_arena_unlink(&arena, cleanup);
    CHECK_EQ(asserted, 1);
    asserted = 0;
    mm_arena_deinit(&arena);
}

#if defined(MMI_ASAN)
#define HIDDEN(ptr) (__asan_address_is_poisoned(ptr) != 0)
#else
#define HIDDEN(ptr) ((void)(ptr), MMI_ARENA_ZONE == 0)
#endif

/* The object is whole and what lies behind it is out of bounds for 40 bytes at least. */
static void check_zone(void *ptr, size_t size)
{
    char *bytes = (char *)ptr;
    size_t i;
    CHECK(ptr != NULL);
    memset(bytes, 'z', size);
#if defined(MMI_ASAN) || !defined(MM_VALGRIND)
    for (i = 0; i < 40; i++) CHECK(HIDDEN(bytes + size + i));
#else
    (void)i;
#endif
}

TEST(red_zones_follow_each_allocation)
{
    mm_arena_desc desc;
    mm_arena arena;
    size_t cycle, size, old;
    char *ptr;
    memset(&desc, 0, sizeof(desc));
    desc.block_size = BLOCK;
    mm_arena_init(&arena, &desc);
    for (cycle = 0; cycle < 2; cycle++) {
        for (size = 0; size < 3 * BLOCK; size += 1 + size / 7) {
            CHECK_SUB(check_zone(mm_arena_alloc(&arena, size), size));
            CHECK_SUB(check_zone(mm_arena_alloc_aligned(&arena, size, 128), size));
            ptr = mm_arena_printf(&arena, "%*d", (int)size, 1);
            CHECK_SUB(check_zone(ptr, size != 0 ? size + 1 : 2));
            CHECK(mm_arena_check(&arena));
        }
        ptr = (char *)mm_arena_alloc(&arena, 0);
        for (old = 0, size = 1; size < 3 * BLOCK; old = size, size += 1 + size / 5) {
            ptr = (char *)mm_arena_realloc(&arena, ptr, old, size);
            CHECK_SUB(check_zone(ptr, size));
            CHECK(mm_arena_check(&arena));
        }
        CHECK(mm_arena_resize(&arena, ptr, old, 9));
        CHECK_SUB(check_zone(ptr, 9));
        mm_arena_free(&arena, ptr, 9);
        CHECK(mm_arena_alloc(&arena, SIZE_MAX - (size_t)cycle - 60) == NULL);
        mm_arena_reset(&arena);
    }
    CHECK_EQ(asserted, 0);
    mm_arena_deinit(&arena);
}

TEST_MAIN(T(another_thread_is_noticed), T(a_stale_mark_is_noticed),
          T(a_cleanup_cancelled_twice_is_noticed), T(red_zones_follow_each_allocation))
