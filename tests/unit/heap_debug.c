/* mm_heap with MM_HEAP_DEBUG: programs that are wrong on purpose, each told with the places where
 * the block was allocated and freed; what is live, by place; and that all else works as ever. */
#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static void fatal(const char *message);
static inline bool system_refuses(void);
#define MM_SYS_MMAP(size) (system_refuses() ? NULL : mmi_heap_mmap(size))
#define MM_SYS_MUNMAP(ptr, size) mmi_heap_munmap((ptr), (size))
#define MM_HEAP_FATAL(message, ptr) fatal(message)
#define MM_HEAP_QUARANTINE 400000
#define MM_HEAP_DEBUG
#define MM_IMPLEMENTATION
#include "../../mm_heap.h"
#include "../heap_tools.h"
#include "../poison.h"
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#define HUGE_SIZE ((size_t)MM_HEAP_HUGE + 600000)
/* To be put behind a line, so that it can be asked for in a message. */
#define LINE(variable) (variable = __LINE__)

static bool misuse_expected;
static size_t misuse_found;
static jmp_buf *misuse_return; /* NULL: the handler returns */
static char said[2048];        /* the last message */

static void fatal(const char *message)
{
    if (!misuse_expected) {
        printf("      %s\n", message);
        mmi_atomic_add(&errors, 1);
        return;
    }
    misuse_found++;
    (void)snprintf(said, sizeof(said), "%s", message);
    if (misuse_return != NULL) longjmp(*misuse_return, 1);
}

/* A call that is told to be wrong, with a message that has this text in it. */
#define CHECK_MISUSE(call, text) \
    do { \
        misuse_expected = true; \
        misuse_found = 0; \
        call; \
        misuse_expected = false; \
        CHECK_EQ(misuse_found, 1); \
        CHECK_SUB(check_said(text)); \
    } while (0)

/* The last message names a line of this file after some words. */
#define CHECK_NAMES(words, line) CHECK_SUB(check_names((words), (line)))

static void check_said(const char *text)
{
    if (strstr(said, text) == NULL) printf("      said \"%s\", not \"%s\"\n", said, text);
    CHECK(strstr(said, text) != NULL);
}

static void check_names(const char *words, int line)
{
    char text[1000];
    (void)snprintf(text, sizeof(text), "%s" __FILE__ ":%d", words, line);
    check_said(text);
}

/* Everything was freed, though what is in quarantine is not back, and nothing leaks. */
#define CHECK_CLEAN() \
    do { \
        mm_heap_stats quiet = stats_now(); \
        CHECK_EQ(quiet.live, 0); \
        CHECK_EQ(quiet.live_blocks, 0); \
        CHECK_EQ(quiet.cached + quiet.metadata, quiet.committed); \
        CHECK(mm_heap_check()); \
        CHECK_EQ(mm_heap_leaks(NULL, NULL), 0); \
        CHECK_EQ(mmi_atomic_load(&errors), 0); \
    } while (0)

/* Changes a byte, whatever the memory checkers hold of it. */
static void damage(const void *ptr)
{
    MM_TRACK_UNPOISON(hide(ptr), 1);
    mmi_heap_defined(hide(ptr), 1);
    *(volatile unsigned char *)hide(ptr) ^= 0x40;
}

static const size_t sizes[] = {0, 1, 15, 16, 24, 100, 1001, 5000, 40000, 300001, HUGE_SIZE};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

// ---- wrong programs ----

TEST(double_free)
{
    size_t i, round;
    for (i = 0; i < SIZES; i++) {
        int made, freed;
        char *ptr = (char *)mm_heap_alloc(sizes[i] + (size_t)LINE(made) * 0);
        CHECK(ptr != NULL);
        LINE(freed), mm_heap_free(ptr);
        for (round = 0; round < 3; round++) { /* also when the memory has gone back */
            int again;
            CHECK_MISUSE((LINE(again), mm_heap_free(hide(ptr))), "used after it was freed: ");
            CHECK_NAMES("allocated at ", made);
            CHECK_NAMES("freed at ", freed);
            CHECK_NAMES("now at ", again);
            CHECK_MISUSE((void)!mm_heap_realloc(hide(ptr), 9), "used after it was freed: ");
            CHECK_MISUSE((void)!mm_heap_usable_size(hide(ptr)), "used after it was freed: ");
            mm_heap_trim();
        }
    }
    CHECK_CLEAN();
}

static void check_overflow(size_t size, size_t alignment)
{
    int made;
    char *ptr = (char *)mm_heap_aligned_alloc(alignment, size + (size_t)LINE(made) * 0);
    CHECK(ptr != NULL && (uintptr_t)ptr % alignment == 0);
    CHECK_EQ(mm_heap_usable_size(ptr), size);
    memset(ptr, 0x11, size);
    damage(ptr + size);
    CHECK_MISUSE(mm_heap_free(ptr), "written to beyond its end: byte ");
    CHECK_NAMES("allocated at ", made);
    CHECK_MISUSE((void)!mm_heap_check(), "written to beyond its end: byte ");
    CHECK_NAMES("allocated at ", made);
    CHECK_MISUSE((void)!mm_heap_realloc(ptr, size + 9), "written to beyond its end: byte ");
    CHECK_NAMES("now at ", __LINE__ - 1);
    damage(ptr + size); /* as it was */
    damage(ptr - 1);
    CHECK_MISUSE(mm_heap_free(ptr), "written to before its start: byte -1 of ");
    CHECK_NAMES("allocated at ", made);
    damage(ptr - 1);
    damage(ptr + size + 15);
    CHECK_MISUSE(mm_heap_free(ptr), "written to beyond its end: byte ");
    damage(ptr + size + 15);
    mm_heap_free(ptr);
}

TEST(overflow_and_underflow_by_one_byte)
{
    size_t i;
    for (i = 0; i < 300; i++) CHECK_SUB(check_overflow(i, 16));
    for (i = 0; i < SIZES; i++) CHECK_SUB(check_overflow(sizes[i], 16));
    for (i = 1; i <= (size_t)2 << 20; i *= 2) CHECK_SUB(check_overflow(333, i));
    CHECK_CLEAN();
}

TEST(write_after_free)
{
    size_t i;
    for (i = 1; i < SIZES; i++) {
        int made, freed;
        char *ptr = (char *)mm_heap_alloc(sizes[i] + (size_t)LINE(made) * 0);
        CHECK(ptr != NULL);
        memset(ptr, 1, sizes[i]);
        LINE(freed), mm_heap_free(ptr);
        if (sizes[i] > MM_HEAP_QUARANTINE) continue; /* not kept */
        CHECK(TRACKED || is_filled(hide(ptr), MMI_HEAP_FREED, sizes[i]));
        damage(ptr + sizes[i] - 1);
        CHECK_MISUSE((void)!mm_heap_check(), "written to after it was freed: byte ");
        CHECK_NAMES("allocated at ", made);
        CHECK_NAMES("freed at ", freed);
        CHECK_MISUSE(mm_heap_trim(), "written to after it was freed: byte ");
        CHECK_NAMES("freed at ", freed);
    }
    CHECK_CLEAN();
}

/* What is in quarantine is looked at when it leaves, though nobody asks. */
TEST(write_after_free_is_found_by_others)
{
    char *ptr = (char *)mm_heap_alloc(50);
    size_t i;
    CHECK(ptr != NULL);
    mm_heap_free(ptr);
    damage(ptr);
    misuse_expected = true;
    misuse_found = 0;
    for (i = 0; i < 20; i++) mm_heap_free(mm_heap_alloc(100000));
    misuse_expected = false;
    CHECK_EQ(misuse_found, 1);
    CHECK_SUB(check_said("written to after it was freed: byte 0 of 50 "));
    CHECK_CLEAN();
}

/* A guard may lie where a block once began, whose second free is then the likelier mistake. */
static void forget_the_freed(void)
{
    mm_heap_trim();
    while (mmi_heap_debug.gone.oldest != NULL) mmi_heap_trace_drop(mmi_heap_debug.gone.oldest);
}

TEST(foreign_pointers)
{
    static char fixed[64];
    char local[64];
    size_t i;
    CHECK_MISUSE(mm_heap_free(hide(local)), "pointer to no block of the heap: ");
    CHECK_NAMES("now at ", __LINE__ - 1);
    CHECK_MISUSE(mm_heap_free(hide(fixed)), "pointer to no block of the heap: ");
    CHECK_MISUSE(mm_heap_free(hide((void *)(uintptr_t)16)), "pointer to no block of the heap: ");
    CHECK_MISUSE((void)!mm_heap_realloc(hide(local), 1), "pointer to no block of the heap: ");
    CHECK_NAMES("now at ", __LINE__ - 1);
    CHECK_MISUSE((void)!mm_heap_tag(hide(local), "x"), "pointer to no block of the heap: ");
    CHECK_MISUSE((void)!mm_heap_expand(hide(local), 1), "pointer to no block of the heap: ");
    for (i = 3; i < SIZES; i++) {
        int made;
        char *ptr = (char *)mm_heap_alloc(sizes[i] + (size_t)LINE(made) * 0);
        CHECK(ptr != NULL);
        forget_the_freed();
        CHECK_MISUSE(mm_heap_free(ptr + 1), "pointer into a block: byte 1 of ");
        CHECK_NAMES("allocated at ", made);
        CHECK_NAMES("now at ", __LINE__ - 2);
        CHECK_MISUSE(mm_heap_free(ptr + sizes[i] - 1), "pointer into a block: byte ");
        CHECK_MISUSE(mm_heap_free(hide(ptr) - 16), "pointer into a block: byte -16 of ");
        mm_heap_free(ptr);
    }
    CHECK_CLEAN();
}

TEST(wrong_size_at_the_free)
{
    char *ptr = (char *)mm_heap_alloc(100);
    const mm_allocator *allocator = mm_heap_allocator(NULL);
    CHECK(ptr != NULL);
    CHECK_MISUSE(mm_heap_free_sized(ptr, 99), "freed as one of 99 bytes: 100 bytes at ");
    CHECK_NAMES("allocated at ", __LINE__ - 4);
    CHECK_NAMES("now at ", __LINE__ - 2);
    CHECK_MISUSE(mm_heap_free_sized(ptr, 101), "freed as one of 101 bytes: 100 bytes at ");
    CHECK_MISUSE(allocator->free_fn(ptr, 112, NULL), "freed as one of 112 bytes: 100 bytes at ");
    allocator->free_fn(ptr, 100, NULL);
    CHECK_MISUSE(mm_heap_free_sized(hide(ptr), 100), "used after it was freed: ");
    mm_heap_free_sized(NULL, 7);
    CHECK_CLEAN();
}

/* When the handler returns, the call has no effect. */
TEST(a_handler_may_return)
{
    char *ptr = (char *)mm_heap_alloc(10);
    size_t misuses = stats_now().misuses;
    CHECK(ptr != NULL);
    CHECK_MISUSE(CHECK(mm_heap_realloc(hide(ptr) + 3, 10) == NULL), "into a block");
    CHECK_EQ(errno, EINVAL);
    CHECK_MISUSE(CHECK_EQ(mm_heap_usable_size(hide(ptr) + 3), 0), "into a block");
    CHECK_MISUSE(CHECK(!mm_heap_expand(hide(ptr) + 3, 10)), "into a block");
    damage(ptr + 10);
    CHECK_MISUSE(mm_heap_free(ptr), "beyond its end");
    CHECK_MISUSE(CHECK(!mm_heap_check()), "beyond its end");
    damage(ptr + 10);
    CHECK_EQ(stats_now().misuses, misuses + 5);
    CHECK_EQ(stats_now().live_blocks, 1);
    mm_heap_free(ptr);
    CHECK_CLEAN();
}

static void free_it(void *ptr)
{
    mm_heap_free(ptr);
}

static void destroy_it(void *heap)
{
    mm_heap_destroy((mm_heap *)heap);
}

/* With a handler that does not come back. */
static void leave(void (*act)(void *object), void *object)
{
    jmp_buf back;
    misuse_return = &back;
    if (setjmp(back) == 0) act(object);
    misuse_return = NULL;
}

/* And it may leave by longjmp: no lock is held. */
TEST(a_handler_may_leave)
{
    char *ptr = (char *)mm_heap_alloc(10);
    CHECK(ptr != NULL);
    CHECK_MISUSE(leave(free_it, hide(ptr) + 1), "into a block");
    mm_heap_free(ptr);
    CHECK_MISUSE(leave(free_it, hide(ptr)), "after it was freed");
    CHECK_CLEAN();
}

// ---- heaps of one's own ----

static void check_block_of_a_heap(mm_heap *heap, mm_heap *other, size_t size)
{
    int made, freed;
    char *ptr = (char *)mm_heap_alloc_in(heap, size + (size_t)LINE(made) * 0);
    CHECK(ptr != NULL);
    CHECK_EQ(mm_heap_usable_size(ptr), size);
    damage(ptr + size);
    CHECK_MISUSE(mm_heap_free_in(heap, ptr), "written to beyond its end: byte ");
    CHECK_NAMES("allocated at ", made);
    CHECK_MISUSE((void)!mm_heap_check_in(heap), "written to beyond its end: byte ");
    CHECK(mm_heap_check_in(other));
    CHECK_MISUSE((void)!mm_heap_realloc_in(heap, ptr, 9), "written to beyond its end: byte ");
    CHECK_NAMES("now at ", __LINE__ - 1);
    damage(ptr + size);
    CHECK_MISUSE(mm_heap_free_in(other, ptr), "block of the heap \"own\" passed to ");
    CHECK_NAMES("now at ", __LINE__ - 1);
    CHECK_SUB(check_said(" passed to the heap \"b\": "));
    CHECK_MISUSE(mm_heap_free_in(NULL, ptr), "block of the heap \"own\" passed to ");
    CHECK_MISUSE((void)!mm_heap_realloc_in(other, ptr, 9), "passed to the heap \"b\": ");
    CHECK_MISUSE(mm_heap_allocator(other)->free_fn(ptr, size, other), "passed to the heap \"b\": ");
    CHECK_MISUSE(mm_heap_allocator(heap)->free_fn(ptr, size + 1, heap), "freed as one of ");
    CHECK_MISUSE(mm_heap_free_in(heap, hide(ptr) - 1), "pointer into a block: byte -1 of ");
    LINE(freed), mm_heap_free_in(heap, ptr);
    CHECK_MISUSE(mm_heap_free_in(heap, hide(ptr)), "used after it was freed: ");
    CHECK_NAMES("allocated at ", made);
    CHECK_NAMES("freed at ", freed);
    CHECK_MISUSE(mm_heap_free(hide(ptr)), "used after it was freed: ");
    if (size == 0 || size > MM_HEAP_QUARANTINE) return; /* not kept */
    damage(ptr);
    CHECK_MISUSE((void)!mm_heap_check_in(heap), "written to after it was freed: byte 0 of ");
    CHECK_NAMES("freed at ", freed);
    CHECK_MISUSE(mm_heap_trim_in(heap), "written to after it was freed: byte 0 of ");
}

TEST(blocks_of_heaps_are_watched)
{
    size_t i, unshared;
    for (unshared = 0; unshared < 2; unshared++) {
        mm_heap *heap = heap_of("own", 0, unshared == 1), *other = heap_of("b", 0, false);
        CHECK(heap != NULL && other != NULL);
        for (i = 0; i < SIZES; i++) CHECK_SUB(check_block_of_a_heap(heap, other, sizes[i]));
        CHECK_EQ(stats_now().live_blocks, 0);
        mm_heap_destroy(heap);
        mm_heap_destroy(other);
    }
    CHECK_CLEAN();
}

TEST(every_way_into_a_heap_is_named)
{
    mm_heap *heap = heap_of("own", 0, false);
    const mm_allocator *allocator = mm_heap_allocator(heap);
    void *blocks[5], *by_pointer;
    size_t i, count = 0;
    int first = __LINE__ + 1; /* one a line */
    blocks[count++] = mm_heap_alloc_in(heap, 1);
    blocks[count++] = mm_heap_calloc_in(heap, 2, 1);
    blocks[count++] = mm_heap_realloc_in(heap, NULL, 3);
    blocks[count++] = mm_heap_aligned_alloc_in(heap, 4096, 4);
    blocks[count++] = mm_heap_realloc(mm_heap_alloc_in(heap, 50), 5);
    CHECK(is_aligned(blocks[3], 4096));
    for (i = 0; i < count; i++) {
        CHECK(blocks[i] != NULL);
        CHECK_EQ(mm_heap_usable_size(blocks[i]), i + 1);
        CHECK(mmi_heap_of(mmi_heap_page_at(blocks[i])) == heap);
        forget_the_freed();
        CHECK_MISUSE(mm_heap_free(hide(blocks[i]) - 1), "pointer into a block: byte -1 of ");
        CHECK_NAMES("allocated at ", first + (int)i);
    }
    by_pointer = allocator->realloc_fn(allocator->alloc_fn(30, heap), 30, 31, heap);
    CHECK_EQ(mm_heap_leaks(NULL, NULL), count + 1);
    CHECK_MISUSE(allocator->free_fn(hide(by_pointer) + 1, 31, heap), "allocated at 0x");
    allocator->free_fn(by_pointer, 31, heap);
    for (i = 0; i < count; i++) mm_heap_free_in(heap, blocks[i]);
    mm_heap_destroy(heap);
    CHECK_CLEAN();
}

/* They are freed there, as far as the program can tell. */
TEST(reset_and_destroy_free_all_blocks)
{
    size_t i, round;
    for (round = 0; round < 2; round++) {
        char *blocks[SIZES], *freed_before;
        mm_heap *heap = heap_of("own", 0, round == 0);
        int gone, line;
        for (i = 0; i < SIZES; i++) blocks[i] = (char *)mm_heap_alloc_in(heap, sizes[i]);
        freed_before = (char *)mm_heap_alloc_in(heap, 60);
        LINE(line), mm_heap_free(freed_before);
        CHECK_EQ(mm_heap_leaks(NULL, NULL), SIZES);
        if (round == 0) LINE(gone), mm_heap_reset(heap);
        else LINE(gone), mm_heap_destroy(heap);
        CHECK_EQ(mm_heap_leaks(NULL, NULL), 0);
        CHECK_EQ(stats_now().live_blocks, 0);
        CHECK_EQ(mmi_heap_debug.held_bytes, 0);
        for (i = 0; i < SIZES; i++) {
            CHECK_MISUSE(mm_heap_free(hide(blocks[i])), "used after it was freed: ");
            CHECK_NAMES("freed at ", gone);
        }
        CHECK_MISUSE(mm_heap_free(hide(freed_before)), "used after it was freed: ");
        CHECK_NAMES("freed at ", line);
        if (round == 0) mm_heap_destroy(heap);
        mm_heap_trim();
        CHECK_CLEAN();
    }
}

/* What is wrong with a block is told before it goes; the heap lives on if the handler leaves. */
TEST(reset_and_destroy_look_at_all_blocks)
{
    mm_heap *heap = heap_of("own", 0, false);
    char *ptr = (char *)mm_heap_alloc_in(heap, 100), *held = (char *)mm_heap_alloc_in(heap, 50);
    CHECK(ptr != NULL && held != NULL);
    damage(ptr + 100);
    CHECK_MISUSE(mm_heap_reset(heap), "written to beyond its end: byte 100 of 100 ");
    CHECK_NAMES("now at ", __LINE__ - 1);
    ptr = (char *)mm_heap_alloc_in(heap, 100);
    held = (char *)mm_heap_alloc_in(heap, 50);
    mm_heap_free_in(heap, held);
    damage(held + 49);
    CHECK_MISUSE(leave(destroy_it, heap), "written to after it was freed: byte 49 of 50 ");
    CHECK_EQ(stats_now().heaps, 1);
    mm_heap_destroy(heap);
    CHECK_MISUSE(mm_heap_destroy(heap), "the heap was destroyed");
    CHECK_MISUSE((void)!mm_heap_alloc_in(heap, 1), "the heap was destroyed");
    CHECK_CLEAN();
}

/* What is in quarantine does not stand in the way of a heap's limit. */
TEST(quarantine_of_a_heap_refuses_nobody)
{
    mm_heap *heap = heap_of("own", 700000, false);
    mm_heap_stats stats;
    size_t i;
    for (i = 0; i < 100; i++) {
        void *ptr = mm_heap_alloc_in(heap, i % 2 == 0 ? 100000 : 20000);
        CHECK(ptr != NULL);
        mm_heap_free_in(heap, ptr);
    }
    mm_heap_get_stats_in(heap, &stats);
    CHECK_EQ(stats.failures, 0);
    CHECK_REFUSED(mm_heap_alloc_in(heap, 800000), ENOMEM);
    mm_heap_get_stats_in(heap, &stats);
    CHECK_EQ(stats.failures, 1);
    mm_heap_destroy(heap);
    CHECK_CLEAN();
}

typedef struct walked {
    mm_heap_block blocks[20];
    size_t count;
} walked;

static bool walk_visit(const mm_heap_block *block, void *user_data)
{
    walked *w = (walked *)user_data;
    if (w->count == 20) return false;
    w->blocks[w->count++] = *block;
    mm_heap_free(mm_heap_alloc(10)); /* as printing does */
    return true;
}

/* Live blocks, as the program knows them, with the place they come from. */
TEST(walk_shows_what_was_asked_for)
{
    mm_heap *heap = heap_of("own", 0, false);
    static const size_t alignments[] = {16, 64, 8192, 65536, 1};
    mm_heap_class_stats rows[MM_HEAP_CLASS_ROWS];
    char *blocks[SIZES];
    static walked w;
    size_t i, k, round, bytes = 0;
    for (i = 0; i < SIZES; i++) {
        size_t alignment = alignments[i % 5];
        blocks[i] = (char *)mm_heap_aligned_alloc_in(heap, alignment, sizes[i]);
        CHECK(blocks[i] != NULL && is_aligned(blocks[i], alignment));
        (void)mm_heap_tag(blocks[i], "walk");
        mm_heap_free(mm_heap_alloc_in(heap, sizes[i]));
        mm_heap_free(mm_heap_alloc(sizes[i]));
        bytes += sizes[i];
    }
    for (round = 0; round < 2; round++) {
        memset(&w, 0, sizeof(w));
        CHECK(mm_heap_walk(round == 0 ? heap : NULL, walk_visit, &w));
        CHECK_EQ(w.count, SIZES);
        for (i = 0; i < SIZES; i++) {
            for (k = 0; k < SIZES && w.blocks[k].ptr != blocks[i];) k++;
            CHECK(k < SIZES);
            CHECK_EQ(w.blocks[k].size, sizes[i]);
            CHECK(w.blocks[k].heap == heap && w.blocks[k].line > 0);
            CHECK_STR(w.blocks[k].file, __FILE__);
            CHECK_STR(w.blocks[k].tag, "walk");
        }
        mm_heap_get_class_stats(round == 0 ? heap : NULL, rows);
        for (i = k = 0; i < MM_HEAP_CLASS_ROWS; i++) {
            bytes -= rows[i].live;
            k += rows[i].live_blocks;
        }
        CHECK_EQ(k, SIZES);
        CHECK_EQ(bytes, 0);
        for (i = 0; i < SIZES; i++) bytes += sizes[i];
    }
    mm_heap_destroy(heap);
    CHECK_CLEAN();
}

/* Blocks of a heap leave the quarantine by whoever frees, while its owner uses and resets it. */
static void *push_out(void *stop)
{
    size_t i = 0;
    while (mmi_atomic_load((size_t *)stop) == 0) mm_heap_free(mm_heap_alloc(i++ * 997 % 100000));
    return NULL;
}

TEST(others_empty_the_quarantine)
{
    pthread_t thread;
    size_t stop = 0, i, round, rounds = TRACKED ? 20 : 200;
    mm_heap *heap = heap_of("own", 0, true);
    CHECK(pthread_create(&thread, NULL, push_out, &stop) == 0);
    for (round = 0; round < rounds; round++) {
        for (i = 0; i < 100; i++) {
            char *ptr = (char *)mm_heap_alloc_in(heap, i * 13 + (i % 50 == 0 ? 50000 : 0));
            if (ptr != NULL) memset(hide(ptr), 1, mm_heap_usable_size(ptr));
            if (i % 3 != 0) mm_heap_free_in(heap, ptr);
        }
        if (round % 10 == 9) CHECK(mm_heap_alloc_in(heap, HUGE_SIZE) != NULL);
        if (round % 7 == 6) CHECK(mm_heap_check_in(heap));
        if (round % 4 != 3) {
            mm_heap_reset(heap);
        } else {
            mm_heap_destroy(heap);
            heap = heap_of("own", 0, true);
        }
    }
    mmi_atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    mm_heap_destroy(heap);
    CHECK_CLEAN();
}

// ---- right programs ----

TEST(every_way_in_is_named)
{
    void *blocks[16], *by_pointer;
    void *(*alloc)(size_t size) = mm_heap_alloc;
    void (*release)(void *ptr) = mm_heap_free;
    const mm_allocator *allocator = mm_heap_allocator(NULL);
    size_t i, count = 0;
    int first = __LINE__ + 1; /* one a line */
    blocks[count++] = mm_heap_alloc(1);
    blocks[count++] = mm_heap_calloc(2, 1);
    blocks[count++] = mm_heap_realloc(NULL, 3);
    blocks[count++] = mm_heap_aligned_alloc(64, 4);
    blocks[count++] = mm_heap_reallocarray(NULL, 5, 1);
    blocks[count++] = mm_heap_alloc_add(1, 5);
    blocks[count++] = mm_heap_alloc_mul(7, 1);
    blocks[count++] = mm_heap_strdup("1234567");
    blocks[count++] = mm_heap_strndup("123456789", 8);
    blocks[count++] = mm_heap_format("%s%d", "12345678", 9);
    blocks[count++] = mm_heap_xalloc(11);
    blocks[count++] = mm_heap_xcalloc(1, 12);
    blocks[count++] = mm_heap_xrealloc(mm_heap_alloc(mm_heap_usable_size(mm_heap_alloc(9))), 13);
    blocks[count++] = mm_heap_xstrdup("1234567890123");
    for (i = 0; i < count; i++) {
        CHECK(blocks[i] != NULL);
        CHECK_EQ(mm_heap_usable_size(blocks[i]), i + 1);
        forget_the_freed();
        CHECK_MISUSE(mm_heap_free(hide(blocks[i]) - 1), "pointer into a block: byte -1 of ");
        CHECK_NAMES("allocated at ", first + (int)i);
        mm_heap_free(blocks[i]);
    }
    CHECK_EQ(mm_heap_leaks(NULL, NULL), 1); /* the innermost, whose size alone was of interest */
    by_pointer = alloc(20);
    CHECK(by_pointer != NULL);
    CHECK_MISUSE(release(hide(by_pointer) + 1), "allocated at 0x");
    CHECK_SUB(check_said("; now at 0x"));
    release(by_pointer);
    by_pointer = allocator->alloc_fn(30, NULL);
    by_pointer = allocator->realloc_fn(by_pointer, 30, 31, NULL);
    CHECK_MISUSE(allocator->free_fn(hide(by_pointer) + 1, 31, NULL), "allocated at 0x");
    allocator->free_fn(by_pointer, 31, NULL);
}

static void *leaked; /* by the test before */
static mm_heap_leak seen[8];
static size_t seen_count;

static void see(const mm_heap_leak *leak, void *user_data)
{
    void *ptr = mm_heap_alloc(1); /* it may use the heap */
    if (seen_count < 8) seen[seen_count++] = *leak;
    mm_heap_free(ptr);
    *(bool *)user_data = true;
}

static void *make(size_t size)
{
    return mm_heap_alloc(size);
}

static void free_leak(void)
{
    size_t i;
    for (i = 0; i < mmi_heap_debug.lists; i++) {
        const mmi_heap_trace *r = mmi_heap_debug.table[i];
        for (; r != NULL; r = r->next) {
            if (r->state == MMI_HEAP_LIVE) leaked = r->block;
        }
    }
    mm_heap_free(leaked);
}

TEST(leaks_are_counted_by_place)
{
    void *blocks[10];
    size_t i;
    bool called = false;
    free_leak();
    CHECK_CLEAN();
    CHECK_EQ(mm_heap_leaks(see, &called), 0);
    CHECK(!called);
    for (i = 0; i < 5; i++) blocks[i] = make(10 * (i + 1));
    for (; i < 8; i++) blocks[i] = mm_heap_tag(mm_heap_alloc(100), i == 7 ? "other" : "session");
    for (; i < 10; i++) blocks[i] = mm_heap_alloc(1000);
    mm_heap_free(blocks[9]);
    blocks[6] = mm_heap_realloc(blocks[6], 300); /* keeps the tag */
    CHECK_EQ(mm_heap_leaks(see, &called), 9);
    CHECK(called && seen_count == 5);
    CHECK(seen[0].blocks == 5 && seen[0].bytes == 150 && seen[0].tag == NULL);
    CHECK_STR(seen[0].file, __FILE__);
    CHECK(seen[0].line < __LINE__ && seen[0].line > 0 && seen[0].address == NULL);
    CHECK(seen[1].blocks == 1 && seen[1].bytes == 100);
    CHECK_STR(seen[1].tag, "session");
    CHECK(seen[2].blocks == 1 && seen[2].bytes == 100 && seen[2].line == seen[1].line);
    CHECK_STR(seen[2].tag, "other");
    CHECK(seen[3].blocks == 1 && seen[3].bytes == 1000);
    CHECK(seen[4].blocks == 1 && seen[4].bytes == 300);
    CHECK_STR(seen[4].tag, "session");
    CHECK_MISUSE(mm_heap_free(hide(blocks[7]) + 1), " (other)");
    CHECK(mm_heap_tag(NULL, "x") == NULL);
    CHECK_EQ(stats_now().live, 150 + 100 + 300 + 100 + 1000);
    CHECK_EQ(stats_now().live_blocks, 9);
    for (i = 0; i < 9; i++) mm_heap_free(blocks[i]);
    CHECK_CLEAN();
}

TEST(memory_is_filled)
{
    unsigned char *ptr = (unsigned char *)mm_heap_alloc(1000), *grown;
    CHECK(ptr != NULL);
    mmi_heap_defined(ptr, 1000);
    CHECK(is_filled(ptr, MMI_HEAP_FRESH, 1000));
    memset(ptr, 1, 1000);
    grown = (unsigned char *)mm_heap_realloc(ptr, 2000);
    CHECK(grown != NULL && grown != (unsigned char *)hide(ptr)); /* moves always */
    mmi_heap_defined(grown, 2000);
    CHECK(is_filled(grown, 1, 1000) && is_filled(grown + 1000, MMI_HEAP_FRESH, 1000));
    mm_heap_free(grown);
    ptr = (unsigned char *)mm_heap_calloc(3, 1000);
    CHECK(ptr != NULL && is_filled(ptr, 0, 3000));
    mm_heap_free(ptr);
    CHECK_CLEAN();
}

TEST(blocks_expand_in_place)
{
    char *ptr = (char *)mm_heap_alloc(100000);
    CHECK(ptr != NULL);
    memset(ptr, 1, 100000);
    CHECK(mm_heap_expand(ptr, 99) && mm_heap_usable_size(ptr) == 100000);
    CHECK(mm_heap_expand(ptr, 150000) && mm_heap_usable_size(ptr) == 150000);
    memset(ptr + 100000, 2, 50000);
    CHECK(is_filled(ptr, 1, 100000) && is_filled(ptr + 100000, 2, 50000));
    CHECK(!mm_heap_expand(ptr, SIZE_MAX) && !mm_heap_expand(ptr, HUGE_SIZE));
    CHECK_EQ(stats_now().live, 150000);
    damage(ptr + 150000);
    CHECK_MISUSE(mm_heap_free(ptr), "beyond its end: byte 150000 of 150000 ");
    damage(ptr + 150000);
    mm_heap_free(ptr);
    CHECK_CLEAN();
}

TEST(impossible_sizes_are_refused)
{
    volatile size_t most = SIZE_MAX, half = (size_t)PTRDIFF_MAX + 1;
    void *ptr = mm_heap_alloc(10);
    size_t past;
    for (past = 0; past < 200; past += 8) {
        CHECK_REFUSED(mm_heap_alloc(most - past), ENOMEM);
        CHECK_REFUSED(mm_heap_alloc(half - past), ENOMEM);
        CHECK_REFUSED(mm_heap_realloc(ptr, most - past), ENOMEM);
        CHECK_REFUSED(mm_heap_aligned_alloc(64, half - past), ENOMEM);
        CHECK(!mm_heap_expand(ptr, most - past));
    }
    CHECK_REFUSED(mm_heap_calloc(half, 2), ENOMEM);
    CHECK_REFUSED(mm_heap_reallocarray(ptr, half, 2), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc_add(most, 1), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc_mul(half, 2), ENOMEM);
    CHECK_REFUSED(mm_heap_aligned_alloc(0, 1), EINVAL);
    CHECK_REFUSED(mm_heap_aligned_alloc(48, 1), EINVAL);
    CHECK_REFUSED(mm_heap_aligned_alloc(half, 1), ENOMEM);
    mm_heap_free(ptr);
    mm_heap_free(NULL);
    CHECK_CLEAN();
}

/* With each number of mappings that there may be, all else refused: nothing is lost. */
TEST(every_mapping_fails)
{
    size_t n, i;
    char *blocks[SIZES];
    for (n = 1; n < 12; n++) {
        mm_heap_trim();
        system_fail(n, true);
        for (i = 0; i < SIZES; i++) {
            blocks[i] = (char *)mm_heap_alloc(sizes[i]);
            if (blocks[i] != NULL) memset(blocks[i], (int)i, sizes[i]);
        }
        for (i = 0; i < SIZES; i++) {
            char *now = (char *)mm_heap_realloc(blocks[i], sizes[i] * 2 + 1);
            if (now != NULL && blocks[i] != NULL) CHECK(is_filled(now, (int)i, sizes[i]));
            if (now != NULL) blocks[i] = now;
            if (blocks[i] == NULL) continue;
            now = (char *)mm_heap_realloc(blocks[i], sizes[i] / 2); /* never fails */
            CHECK(now != NULL && mm_heap_usable_size(now) == sizes[i] / 2);
            blocks[i] = now;
        }
        system_fail(0, true);
        CHECK(mm_heap_check());
        for (i = 0; i < SIZES; i++) mm_heap_free(blocks[i]);
        CHECK_CLEAN();
    }
}

/* What is in quarantine is handed out before a request is refused. */
TEST(quarantine_refuses_nobody)
{
    void *blocks[3];
    size_t i;
    for (i = 0; i < 3; i++) CHECK((blocks[i] = mm_heap_alloc(100000)) != NULL);
    mm_heap_trim();
    for (i = 0; i < 3; i++) mm_heap_free(blocks[i]);
    CHECK(mmi_heap_debug.held_bytes > 300000);
    system_fail(1, true);
    for (i = 0; i < 40; i++) {
        void *ptr = mm_heap_alloc(90000);
        CHECK(ptr != NULL);
        mm_heap_free(ptr);
    }
    system_fail(0, true);
    CHECK(mmi_heap_debug.held_bytes <= MM_HEAP_QUARANTINE);
    mm_heap_trim();
    CHECK_EQ(mmi_heap_debug.held_bytes, 0);
    CHECK_CLEAN();
}

/* Those that were freed long ago are forgotten; the table has no more than it has to. */
TEST(traces_are_bounded)
{
    size_t i, most = TRACKED ? 2000 : 300000;
    for (i = 0; i < most; i++) mm_heap_free(mm_heap_alloc(i % 100));
    CHECK(mmi_heap_debug.traces <= MMI_HEAP_GONE_MOST + MM_HEAP_QUARANTINE / 100);
    CHECK_EQ(stats_now().cached + stats_now().metadata, stats_now().committed);
    CHECK_CLEAN();
}

// ---- threads ----

#define SLOTS 100
static char *shared[SLOTS]; /* atomic */

static void step(uint64_t random, char *ptr, size_t size)
{
    char **place = &shared[random / 7 % SLOTS];
    if (ptr == NULL) return;
    memset(ptr, (int)size, size);
    ptr = __atomic_exchange_n(place, ptr, __ATOMIC_ACQ_REL);
    if (ptr == NULL) return;
    size = mm_heap_usable_size(ptr);
    if (!is_filled(ptr, (int)(unsigned char)size, size)) mmi_atomic_add(&errors, 1);
    mm_heap_free(ptr);
}

static void *play(void *argument)
{
    uint64_t seed = (uint64_t)(uintptr_t)argument, i, rounds = TRACKED ? 1000 : 20000;
    for (i = 0; i < rounds; i++) {
        uint64_t random = test_random(&seed) >> 8;
        size_t size = (size_t)(random >> 20) % ((size_t)1 << random % 17);
        char *ptr =
            random % 3 == 0 ? (char *)mm_heap_aligned_alloc(64, size) : (char *)mm_heap_alloc(size);
        if (random % 11 == 0) ptr = (char *)mm_heap_realloc(ptr, size = size / 2 + 5);
        if (random % 5 == 0) ptr = (char *)mm_heap_tag(ptr, "played with");
        step(random, ptr, size);
        if (random % 997 == 0 && !mm_heap_check()) mmi_atomic_add(&errors, 1);
    }
    return NULL;
}

TEST(model_on_four_threads)
{
    pthread_t threads[4];
    size_t i;
    for (i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, play, hide(NULL) + i + 1) == 0);
    for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(errors, 0);
    for (i = 0; i < SLOTS; i++) {
        mm_heap_free(shared[i]);
        shared[i] = NULL;
    }
    CHECK_CLEAN();
}

// ---- processes ----

#ifndef _WIN32
static void print_leak(const mm_heap_leak *leak, void *user_data)
{
    (void)user_data;
    printf("%s:%d %zu %zu\n", leak->file, leak->line, leak->blocks, leak->bytes);
}

/* Runs a function in a child; what it wrote to stdout is in said. Its exit status. */
static int in_child(int (*function)(void))
{
    int ends[2], status = -1;
    size_t used = 0;
    ssize_t got;
    pid_t child;
    if (pipe(ends) != 0) return -1;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        (void)dup2(ends[1], 1);
        exit(function());
    }
    close(ends[1]);
    while ((got = read(ends[0], said + used, sizeof(said) - 1 - used)) > 0) used += (size_t)got;
    said[used] = 0;
    close(ends[0]);
    if (waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int leak_and_exit(void)
{
    void *ptr = mm_heap_alloc(1234);
    if (!mm_heap_leaks_at_exit(print_leak, NULL)) return 1;
    if (!mm_heap_leaks_at_exit(print_leak, NULL)) return 2;
    ptr = mm_heap_realloc(ptr, 77);
    return ptr == NULL || !mm_heap_check() ? 3 : 0;
}

static int no_leak_and_exit(void)
{
    if (!mm_heap_leaks_at_exit(print_leak, NULL) || !mm_heap_leaks_at_exit(NULL, NULL)) return 1;
    return mm_heap_alloc(1) == NULL;
}

TEST(leaks_are_told_at_exit)
{
    char expected[200];
    CHECK_EQ(in_child(leak_and_exit), 0);
    (void)snprintf(expected, sizeof(expected), "%s:%d 1 77\n", __FILE__, __LINE__ - 14);
    CHECK_STR(said, expected);
    CHECK_EQ(in_child(no_leak_and_exit), 0);
    CHECK_STR(said, "");
}

static void *storm(void *stop)
{
    while (mmi_atomic_load((size_t *)stop) == 0) mm_heap_free(mm_heap_alloc(100));
    return NULL;
}

static int use_after_fork(void)
{
    char *ptr = (char *)mm_heap_alloc(1000);
    if (ptr == NULL) return 1;
    mm_heap_free(ptr);
    damage(ptr);
    misuse_expected = true;
    if (mm_heap_check()) return 2;
    _exit(strstr(said, "after it was freed") == NULL); /* no leak check without the thread */
}

TEST(child_of_a_fork_is_watched_too)
{
    pthread_t thread;
    size_t stop = 0, i;
    CHECK(pthread_create(&thread, NULL, storm, &stop) == 0);
    for (i = 0; i < 10; i++) CHECK_EQ(in_child(use_after_fork), 0);
    mmi_atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    CHECK_CLEAN();
}
#define TESTS_OF_PROCESSES T(leaks_are_told_at_exit), T(child_of_a_fork_is_watched_too),
#else
#define TESTS_OF_PROCESSES
#endif

TEST_MAIN(T(double_free), T(overflow_and_underflow_by_one_byte), T(write_after_free),
          T(write_after_free_is_found_by_others), T(foreign_pointers), T(wrong_size_at_the_free),
          T(a_handler_may_return), T(a_handler_may_leave), T(blocks_of_heaps_are_watched),
          T(every_way_into_a_heap_is_named), T(reset_and_destroy_free_all_blocks),
          T(reset_and_destroy_look_at_all_blocks), T(quarantine_of_a_heap_refuses_nobody),
          T(walk_shows_what_was_asked_for), T(others_empty_the_quarantine),
          T(every_way_in_is_named), T(leaks_are_counted_by_place), T(memory_is_filled),
          T(blocks_expand_in_place), T(impossible_sizes_are_refused), T(every_mapping_fails),
          T(quarantine_refuses_nobody), T(traces_are_bounded),
          TESTS_OF_PROCESSES T(model_on_four_threads))
