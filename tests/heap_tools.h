/* What the tests of mm_heap.h share. Include it after the header; it brings the harness. */
#ifndef TESTS_HEAP_TOOLS_H
#define TESTS_HEAP_TOOLS_H
#include "harness.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

/* How many of a test's steps are left, so that a program takes some seconds under a checker too. */
#if defined(MM_VALGRIND)
#define FEWER(plain, sanitizers, valgrind) (valgrind)
#elif defined(MMI_ASAN) || UNDER_TSAN
#define FEWER(plain, sanitizers, valgrind) (sanitizers)
#else
#define FEWER(plain, sanitizers, valgrind) (plain)
#endif

static size_t errors; /* atomic */
static size_t system_calls, system_fail_at, system_failed;
static bool system_fail_for_ever;

/* Lets the n-th mapping from now fail (once, or for ever after); 0: none. */
static inline void system_fail(size_t n, bool for_ever)
{
    system_calls = system_failed = 0;
    system_fail_for_ever = for_ever;
    system_fail_at = n;
}

/* For a program's MM_SYS_MMAP, which has it declared before the header. */
static inline bool system_refuses(void)
{
    size_t call = mmi_atomic_add(&system_calls, 1) + 1;
    if (system_fail_at == 0 || call < system_fail_at) return false;
    if (call > system_fail_at && !system_fail_for_ever) return false;
    system_failed++;
    return true;
}

#define CHECK_REFUSED(call, error) \
    do { \
        errno = 0; \
        CHECK((call) == NULL); \
        CHECK_EQ(errno, error); \
    } while (0)

/* The bytes that a live block counts with in the statistics. */
static inline size_t room_of(const void *ptr)
{
#if MMI_HEAP_SEALED
    return ptr == NULL ? 0 : mmi_heap_block_size(mmi_heap_page_at(ptr), ptr);
#else
    return mm_heap_usable_size(ptr);
#endif
}

/* In threads, where CHECK cannot end the test: the test checks that errors is 0. */
#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            mmi_atomic_add(&errors, 1); \
            printf("      %s:%d: %s\n", __FILE__, __LINE__, #condition); \
        } \
    } while (0)

static inline mm_heap_stats stats_now(void)
{
    mm_heap_stats stats;
    mm_heap_get_stats(&stats);
    return stats;
}

/* Everything was freed, nothing was wrong. */
#define CHECK_QUIET() \
    do { \
        mm_heap_stats quiet = stats_now(); \
        CHECK_EQ(quiet.live, 0); \
        CHECK_EQ(quiet.live_blocks, 0); \
        CHECK_EQ(quiet.huge, 0); \
        CHECK_EQ(quiet.cached, quiet.committed - quiet.metadata); \
        CHECK(mm_heap_check()); \
        CHECK_EQ(errors, 0); \
    } while (0)

static inline mm_heap *heap_of(const char *name, size_t limit, bool unshared)
{
    mm_heap_desc desc = {0};
    desc.name = name;
    desc.limit = limit;
    desc.unshared = unshared;
    return mm_heap_create(&desc);
}

/* Hides from the compiler where a pointer comes from, as it would warn of misuse. */
static inline char *hide(const void *ptr)
{
    volatile uintptr_t address = (uintptr_t)ptr;
    return (char *)address;
}

static inline bool is_filled(const void *ptr, int byte, size_t size)
{
    const unsigned char *p = (const unsigned char *)ptr;
    return size == 0 || (p[0] == (unsigned char)byte && memcmp(p, p + 1, size - 1) == 0);
}

static inline bool is_aligned(const void *ptr, size_t alignment)
{
    return (uintptr_t)ptr % alignment == 0;
}

static inline void start(pthread_t *thread, void *(*run)(void *), void *value)
{
    if (pthread_create(thread, NULL, run, value) != 0) abort();
}

static inline void join(pthread_t thread)
{
    pthread_join(thread, NULL);
}

/* Sizes spread evenly over their logarithms, from 1 to 2^bits. */
static inline size_t random_size(uint64_t *random, unsigned bits)
{
    uint64_t number = test_random(random);
    unsigned shift = (unsigned)((number >> 48) % bits);
    return (size_t)1 + (size_t)((number & 0xffffffffu) % ((uint64_t)2 << shift));
}
#endif
