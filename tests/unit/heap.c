/* mm_heap: sizes, alignment, misuse, models on one and four threads, blocks that change threads,
 * threads that come and go, fork, and every mapping that can fail. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

static inline bool system_refuses(void);
static void *placed(void *base, size_t size);
static void fatal(const char *message, const void *ptr);
static void told_large(void *ptr, size_t size, bool on);
#define MM_SYS_MMAP(size) \
    (system_refuses() ? NULL : placed(mmi_heap_mmap((size) + system_shift), (size)))
#define MM_SYS_PURGE(ptr, size) \
    (system_purges && system_shift == 0 && mmi_heap_purge((ptr), (size)))
#define MM_SYS_MOVE(from, to, size) \
    (system_purges && system_shift == 0 && mmi_heap_move((from), (to), (size)))
#define MM_HEAP_CLOCK() (system_clock != 0 ? system_clock : mmi_heap_clock())
#define MM_SYS_MUNMAP(ptr, size) \
    (system_elsewhere ? (void)0 \
                      : mmi_heap_munmap((char *)(ptr)-system_shift, (size) + system_shift))
#define MM_SYS_LARGE(ptr, size, on) told_large((ptr), (size), (on))
#define MM_HEAP_LARGE_PAGES system_large
#define MM_SYS_GUARD(ptr, size) mmi_heap_guard((ptr), (size))
#define MM_HEAP_FATAL(message, ptr) fatal((message), (ptr))
static size_t system_large; /* 0: spans ask for no huge pages */
static size_t system_shift; /* 0, or 4096: mappings are not aligned to a granule */
#ifdef _WIN32
#define PAGES_GO_BACK false /* the system takes whole mappings only */
#else
#define PAGES_GO_BACK true
#endif
static bool system_purges = true;       /* false: as where nothing but a whole mapping goes back */
static unsigned long long system_clock; /* milliseconds; 0: the real time */
static bool system_elsewhere;           /* mappings seem to lie where the page map does not reach */

#define MM_IMPLEMENTATION
#include "../../mm_heap.h"
#include "../heap_tools.h"
#define HUGE_SIZE ((size_t)MM_HEAP_HUGE + 600000)
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

static size_t fatals;

static void *placed(void *base, size_t size)
{
    if (base == NULL) return NULL;
    if (system_elsewhere) {
        mmi_heap_munmap(base, size + system_shift);
        return (void *)(UINTPTR_MAX - (MMI_HEAP_SPAN_SIZE - 1)); /* not to be touched */
    }
    return (char *)base + system_shift;
}

static size_t large_on, large_off; /* how often huge pages were asked for, and no more */

static void told_large(void *ptr, size_t size, bool on)
{
    mmi_heap_large(ptr, size, on);
    if (size != MMI_HEAP_SPAN_SIZE || (uintptr_t)ptr % MMI_HEAP_GRANULE != 0) errors++;
    if (on) large_on++;
    else large_off++;
}

static void fatal(const char *message, const void *ptr)
{
    (void)message, (void)ptr;
    mmi_atomic_add(&fatals, 1);
}

/* The heap as it is in a process that has not used it. What it had stays mapped, and lost. Only
 * for the main thread, with no other. */
static void heap_forget(void)
{
    bool key_works = mmi_heap_here.key_works;
    size_t started = mmi_heap_here.started, os_page = mmi_heap_here.os_page;
    mmi_heap_mine = &mmi_heap_no_cache[0];
    if (key_works) (void)mmi_heap_key_set(NULL);
    memset(&mmi_heap_here, 0, sizeof(mmi_heap_here));
    memset(mmi_heap_root, 0, sizeof(mmi_heap_root));
    mmi_heap_here.key_works = key_works;
    mmi_heap_here.started = started;
    mmi_heap_here.os_page = os_page;
}

// ---- before main ----

#if defined(__GNUC__) || defined(__clang__)
static bool worked_before_main;
#ifndef _WIN32
static size_t handlers_run;

static void handler(void)
{
    void *ptr = mm_heap_alloc(3000);
    handlers_run += ptr != NULL;
    mm_heap_free(ptr);
}
#endif

__attribute__((constructor)) static void construct(void)
{
    char *ptr;
#ifndef _WIN32
    pthread_atfork(handler, handler, handler); /* before the heap's own */
#endif
    ptr = (char *)mm_heap_alloc(100);
    if (ptr != NULL) memset(ptr, 7, 100);
    ptr = (char *)mm_heap_realloc(ptr, 100000);
    worked_before_main = ptr != NULL && is_filled(ptr, 7, 100);
    mm_heap_free(ptr);
#ifndef _WIN32
    pthread_atfork(handler, handler, handler); /* and after */
#endif
}

TEST(usable_before_main)
{
    CHECK(worked_before_main);
    CHECK_QUIET();
}
#endif

// ---- sizes ----

TEST(classes_cover_all_sizes)
{
    size_t size, index, before = 0;
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        size = mmi_heap_class_size(index);
        CHECK(size > before && size % 16 == 0);
        CHECK_EQ(mmi_heap_class_of(size), index);
        CHECK_EQ(mmi_heap_class_of(before + 1), index);
        CHECK(before < 128 || size - before <= before / 4);
        before = size;
    }
    CHECK_EQ(before, MMI_HEAP_CLASS_MAX);
    CHECK_EQ(mmi_heap_class_of(0), 0);
    CHECK_EQ(mm_heap_good_size(0), 16 - MMI_HEAP_SEAL);
    CHECK_EQ(mm_heap_good_size(129), 160 - MMI_HEAP_SEAL);
    CHECK_EQ(mm_heap_good_size(32768 - MMI_HEAP_SEAL), 32768 - MMI_HEAP_SEAL);
    CHECK_EQ(mm_heap_good_size(32769 - MMI_HEAP_SEAL), 32816 - MMI_HEAP_SEAL);
    CHECK_EQ(mm_heap_good_size(1048576), 1048624 - MMI_HEAP_SEAL);
    CHECK_EQ(mm_heap_good_size(MM_HEAP_HUGE + 1), MM_HEAP_HUGE + 65536 - MMI_HEAP_SEAL);
    CHECK_EQ(mm_heap_good_size(SIZE_MAX), SIZE_MAX);
}

/* The multiplication that stands in for a division is right for every start of a block in every
 * class, and for no other unit of 16 bytes. */
TEST(blocks_are_told_from_what_lies_between)
{
    size_t index, unit;
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        void *ptr = mm_heap_alloc(mmi_heap_class_size(index) - MMI_HEAP_SEAL);
        mmi_heap_page *page = mmi_heap_page_at(ptr), all;
        CHECK(ptr != NULL && page != NULL && page->index == index);
        all = *page;
        all.carved = all.capacity;
        for (unit = 0; unit < all.granules * MMI_HEAP_GRANULE / 16; unit++) {
            bool starts = unit % all.units == 0 && unit / all.units < all.capacity;
            CHECK(mmi_heap_is_block(&all, all.start + unit * 16) == starts);
            CHECK(!mmi_heap_is_block(&all, all.start + unit * 16 + 8));
        }
        mm_heap_free(ptr);
    }
    CHECK_QUIET();
}

static void check_block(size_t size)
{
    char *ptr = (char *)mm_heap_alloc(size);
    size_t usable = mm_heap_usable_size(ptr);
    CHECK(ptr != NULL && is_aligned(ptr, 16));
    CHECK(usable >= size);
    if (MMI_HEAP_SEALED) CHECK_EQ(usable, size);
    CHECK(room_of(ptr) - MMI_HEAP_SEAL >= mm_heap_good_size(size));
    if (size <= MMI_HEAP_CLASS_MAX - MMI_HEAP_SEAL) {
        CHECK_EQ(room_of(ptr) - MMI_HEAP_SEAL, mm_heap_good_size(size));
    }
    memset(hide(ptr), 0x3C, usable);
    CHECK(is_filled(ptr, 0x3C, usable));
    CHECK_EQ(stats_now().live, room_of(ptr));
    mm_heap_free_sized(ptr, size);
}

TEST(every_size_is_usable_and_aligned)
{
    size_t size, bits;
    for (size = 0; size <= 4096; size += size < 1100 ? 1 : 13) CHECK_SUB(check_block(size));
    for (bits = 12; bits <= 24; bits++) {
        for (size = 0; size < 3; size++) CHECK_SUB(check_block(((size_t)1 << bits) - 1 + size));
    }
    CHECK_QUIET();
}

TEST(size_zero_is_unique)
{
    void *a = mm_heap_alloc(0), *b = mm_heap_alloc(0), *c = mm_heap_calloc(0, 9);
    CHECK(a != NULL && b != NULL && c != NULL && a != b && b != c && a != c);
    mm_heap_free(a);
    mm_heap_free(b);
    mm_heap_free(c);
    mm_heap_free(NULL);
    mm_heap_free_sized(NULL, 0);
    CHECK_EQ(mm_heap_usable_size(NULL), 0);
    CHECK_QUIET();
}

TEST(impossible_sizes_are_refused)
{
    volatile size_t most = SIZE_MAX, half = (size_t)PTRDIFF_MAX + 1; /* unknown to the compiler */
    size_t failures = stats_now().failures;
    void *ptr = mm_heap_alloc(10);
    CHECK(ptr != NULL);
    CHECK_REFUSED(mm_heap_alloc(most), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc(half), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc(half - 1), ENOMEM);
    CHECK_REFUSED(mm_heap_calloc(most, 2), ENOMEM);
    CHECK_REFUSED(mm_heap_calloc(half, 2), ENOMEM);
    CHECK_REFUSED(mm_heap_calloc(half / 2, 3), ENOMEM);
    CHECK_REFUSED(mm_heap_realloc(ptr, most), ENOMEM);
    CHECK_REFUSED(mm_heap_realloc(NULL, half), ENOMEM);
    CHECK_REFUSED(mm_heap_aligned_alloc(0, 1), EINVAL);
    CHECK_REFUSED(mm_heap_aligned_alloc(3, 1), EINVAL);
    CHECK_REFUSED(mm_heap_aligned_alloc(most, 1), EINVAL);
    CHECK_REFUSED(mm_heap_aligned_alloc(half, 1), ENOMEM);
    CHECK_REFUSED(mm_heap_aligned_alloc(half / 2, half / 2), ENOMEM);
    CHECK_REFUSED(mm_heap_aligned_alloc(64, most), ENOMEM);
    CHECK_REFUSED(mm_heap_aligned_alloc(4096, half - 100), ENOMEM);
    CHECK_EQ(stats_now().failures, failures + 15);
    mm_heap_free(ptr);
    CHECK_QUIET();
}

TEST(alignments_times_sizes)
{
    static const size_t sizes[] = {0, 1, 24, 100, 1000, 5000, 40000, 70000, 300000};
    void *blocks[sizeof(sizes) / sizeof(sizes[0])];
    size_t alignment, i, count = sizeof(sizes) / sizeof(sizes[0]);
    for (alignment = 1; alignment <= (size_t)8 << 20; alignment *= 2) {
        for (i = 0; i < count; i++) {
            blocks[i] = mm_heap_aligned_alloc(alignment, sizes[i]);
            CHECK(blocks[i] != NULL && is_aligned(blocks[i], alignment));
            CHECK(is_aligned(blocks[i], 16));
            CHECK(mm_heap_usable_size(blocks[i]) >= sizes[i]);
            memset(hide(blocks[i]), (int)i + 1, mm_heap_usable_size(blocks[i]));
        }
        for (i = 0; i < count; i++) {
            CHECK(is_filled(blocks[i], (int)i + 1, mm_heap_usable_size(blocks[i])));
            mm_heap_free(blocks[i]);
        }
    }
    CHECK_QUIET();
}

TEST(calloc_is_zero_after_reuse)
{
    static const size_t sizes[] = {1,     16,     100,    3000,   20000,
                                   65536, 100000, 262144, 262145, HUGE_SIZE};
    size_t i, round;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (round = 0; round < 3; round++) {
            char *ptr = (char *)mm_heap_calloc(1, sizes[i]);
            CHECK(ptr != NULL && is_filled(ptr, 0, sizes[i]));
            memset(ptr, 0xFF, sizes[i]);
            mm_heap_free(ptr);
        }
    }
    CHECK_QUIET();
}

// ---- realloc ----

TEST(realloc_keeps_the_content)
{
    static const size_t sizes[] = {1,      16,    17,    200,    180,    8192,   8193, 60000,
                                   65537,  64000, 70000, 200000, 262144, 262145, 1,    900000,
                                   130000, 70000, 3000,  40,     0,      5};
    size_t i, have = 0;
    char *ptr = NULL;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *now = (char *)mm_heap_realloc(ptr, sizes[i]);
        CHECK(now != NULL && is_aligned(now, 16));
        CHECK(is_filled(now, 0x11, have < sizes[i] ? have : sizes[i]));
        CHECK(mm_heap_usable_size(now) >= sizes[i]);
        CHECK_EQ(stats_now().live_blocks, 1);
        memset(now, 0x11, sizes[i]);
        have = sizes[i];
        ptr = now;
    }
    mm_heap_free(ptr);
    CHECK_QUIET();
}

TEST(realloc_does_not_move_without_need)
{
    char *ptr = (char *)mm_heap_alloc(1000), *same;
    CHECK(ptr != NULL);
    same = (char *)mm_heap_realloc(ptr, 1024 - MMI_HEAP_SEAL);
    CHECK(same == hide(ptr));
    same = (char *)mm_heap_realloc(same, 600);
    CHECK(same == hide(ptr));
    same = (char *)mm_heap_realloc(same, 100); /* gives most of it back */
    CHECK(same != NULL && same != hide(ptr));
    mm_heap_free(same);
    CHECK_QUIET();
}

TEST(failed_realloc_leaves_the_block)
{
    char *small = (char *)mm_heap_alloc(100), *run = (char *)mm_heap_alloc(100000), *same;
    CHECK(small != NULL && run != NULL);
    memset(small, 1, 100);
    memset(run, 2, 100000);
    mm_heap_trim();
    system_fail(1, true);
    CHECK_REFUSED(mm_heap_realloc(small, HUGE_SIZE), ENOMEM);
    CHECK_REFUSED(mm_heap_realloc(run, HUGE_SIZE), ENOMEM);
    CHECK_REFUSED(mm_heap_realloc(NULL, HUGE_SIZE), ENOMEM);
    CHECK(is_filled(small, 1, 100) && is_filled(run, 2, 100000));
    heap_forget(); /* so that there is no room at all, and even a small block is refused */
    CHECK_REFUSED(mm_heap_alloc(1), ENOMEM);
    CHECK(mm_heap_check());
    system_fail_at = 0;
    same = (char *)mm_heap_alloc(HUGE_SIZE);
    CHECK(same != NULL);
    memset(same, 3, HUGE_SIZE);
    system_fail(1, true);
    CHECK(mm_heap_realloc(same, 5) == hide(same)); /* shrinking never fails */
    CHECK(is_filled(same, 3, 5));
    system_fail(0, false);
    mm_heap_free(same);
    CHECK_QUIET();
}

// ---- other ways in ----

TEST(checked_sizes)
{
    volatile size_t most = SIZE_MAX, half = SIZE_MAX / 2 + 1;
    char *a = (char *)mm_heap_alloc_add(100, 28), *b = (char *)mm_heap_alloc_mul(10, 20);
    CHECK(a != NULL && mm_heap_usable_size(a) >= 128);
    CHECK(b != NULL && mm_heap_usable_size(b) >= 200);
    CHECK_REFUSED(mm_heap_alloc_add(most, 1), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc_mul(half, 2), ENOMEM);
    memset(a, 5, 128);
    CHECK_REFUSED(mm_heap_reallocarray(a, half, 2), ENOMEM);
    a = (char *)mm_heap_reallocarray(a, 300, 4);
    CHECK(a != NULL && is_filled(a, 5, 128) && mm_heap_usable_size(a) >= 1200);
    mm_heap_free(a);
    mm_heap_free(b);
    CHECK_QUIET();
}

TEST(strings_are_copied_and_formatted)
{
    static char longer[3000];
    char *a = mm_heap_strdup("hello"), *b = mm_heap_strndup("hello", 3), *c, *d, *e;
    memset(longer, 'x', sizeof(longer) - 1);
    c = mm_heap_strndup("hi", 100);
    d = mm_heap_format("%s %d", "number", 42);
    e = mm_heap_format("<%s>", longer);
    CHECK_STR(a, "hello");
    CHECK_STR(b, "hel");
    CHECK_STR(c, "hi");
    CHECK_STR(d, "number 42");
    CHECK(e != NULL && strlen(e) == sizeof(longer) + 1 && e[sizeof(longer)] == '>');
    mm_heap_free(a);
    mm_heap_free(b);
    mm_heap_free(c);
    mm_heap_free(d);
    mm_heap_free(e);
    a = mm_heap_strdup("");
    b = mm_heap_strndup("", 0);
    c = mm_heap_format("%s", "");
    CHECK_STR(a, "");
    CHECK_STR(b, "");
    CHECK_STR(c, "");
    mm_heap_free(a);
    mm_heap_free(b);
    mm_heap_free(c);
    CHECK_QUIET();
}

TEST(blocks_expand_in_place)
{
    void *small = mm_heap_alloc(100), *large, *huge = mm_heap_alloc(HUGE_SIZE);
    size_t usable = room_of(small) - MMI_HEAP_SEAL;
    mm_heap_trim();
    large = mm_heap_alloc(100000);
    CHECK(small != NULL && large != NULL && huge != NULL);
    CHECK(mm_heap_expand(small, usable) && !mm_heap_expand(small, usable + 1));
    CHECK(mm_heap_expand(large, 200000) && mm_heap_usable_size(large) >= 200000);
    memset(hide(large), 1, 200000);
    CHECK(mm_heap_expand(huge, mm_heap_usable_size(huge)));
    CHECK(!mm_heap_expand(huge, HUGE_SIZE * 9) && !mm_heap_expand(large, SIZE_MAX));
    mm_heap_free(small);
    mm_heap_free(large);
    mm_heap_free(huge);
    CHECK_QUIET();
}

static size_t handler_calls, handler_size;

static bool handle(size_t size, void *user_data)
{
    handler_calls++;
    handler_size = size;
    system_fail(0, false); /* "frees something" */
    *(bool *)user_data = true;
    return true;
}

TEST(handler_finds_memory)
{
    bool called = false;
    char *a, *b, *c, *d;
    mm_heap_set_handler(handle, &called);
    a = (char *)mm_heap_xalloc(10);
    CHECK_EQ(handler_calls, 0);
    mm_heap_trim();
    system_fail(1, true);
    b = (char *)mm_heap_xalloc(HUGE_SIZE * 2);
    CHECK(handler_calls == 1 && handler_size == HUGE_SIZE * 2 && called);
    system_fail(1, true);
    c = (char *)mm_heap_xcalloc(HUGE_SIZE, 3);
    CHECK(handler_calls == 2 && handler_size == HUGE_SIZE * 3 && c[HUGE_SIZE] == 0);
    system_fail(1, true);
    a = (char *)mm_heap_xrealloc(a, HUGE_SIZE * 4);
    CHECK_EQ(handler_calls, 3);
    d = mm_heap_xstrdup("text");
    CHECK_STR(d, "text");
    mm_heap_free(a);
    mm_heap_free(b);
    mm_heap_free(c);
    mm_heap_free(d);
    mm_heap_set_handler(NULL, NULL);
    CHECK_QUIET();
}

TEST(limit_is_kept)
{
    size_t count = 0, limit;
    void *blocks[64];
    mm_heap_trim();
    limit = stats_now().reserved + 20000000;
    mm_heap_set_limit(limit);
    while (count < 64 && (blocks[count] = mm_heap_alloc(1000000)) != NULL) count++;
    CHECK(count >= 10 && count < 20);
    CHECK(stats_now().reserved <= limit && stats_now().peak >= stats_now().reserved);
    CHECK_REFUSED(mm_heap_alloc(HUGE_SIZE * 4), ENOMEM);
    mm_heap_free(blocks[--count]);
    CHECK((blocks[count++] = mm_heap_alloc(1000000)) != NULL);
    mm_heap_set_limit(0);
    blocks[count] = mm_heap_alloc(HUGE_SIZE * 4);
    CHECK(blocks[count] != NULL);
    for (; count > 0; count--) mm_heap_free(blocks[count]);
    mm_heap_free(blocks[0]);
    CHECK_QUIET();
}

TEST(works_as_an_allocator)
{
    const mm_allocator *a = mm_heap_allocator(NULL);
    char *ptr = (char *)mmi_alloc(a, 50);
    CHECK(ptr != NULL);
    memset(ptr, 9, 50);
    CHECK_EQ(stats_now().live, 64);
    ptr = (char *)mmi_realloc(a, ptr, 50, 5000);
    CHECK(ptr != NULL && is_filled(ptr, 9, 50));
    mmi_free(a, ptr, 5000);
    ptr = (char *)mmi_realloc(a, NULL, 0, 70);
    CHECK(ptr != NULL);
    mmi_free(a, ptr, 70);
    CHECK(mm_heap_allocator(NULL) == a);
    CHECK_QUIET();
}

TEST(free_keeps_errno)
{
    void *small = mm_heap_alloc(10), *huge = mm_heap_alloc(HUGE_SIZE);
    CHECK(small != NULL && huge != NULL);
    errno = 77;
    mm_heap_free(small);
    mm_heap_free(huge);
    CHECK_EQ(errno, 77);
}

// ---- misuse ----

#define CHECK_MISUSE(call) \
    do { \
        size_t misuse = fatals; \
        call; \
        CHECK_EQ(fatals, misuse + 1); \
        CHECK_EQ(stats_now().misuses, misuse_base + fatals); \
    } while (0)

TEST(foreign_pointers_are_refused)
{
    static char fixed[64];
    char local[64];
    size_t misuse_base = stats_now().misuses - fatals, i;
    static const size_t sizes[] = {48, 10000, 60000, 100000, HUGE_SIZE};
    CHECK_MISUSE(mm_heap_free(hide(local)));
    CHECK_MISUSE(mm_heap_free(hide(fixed)));
    CHECK_MISUSE(mm_heap_free(hide((void *)(uintptr_t)16)));
    CHECK_MISUSE(mm_heap_free(hide((void *)(UINTPTR_MAX - 15))));
    CHECK_MISUSE(CHECK_EQ(mm_heap_usable_size(hide(local)), 0));
    CHECK_MISUSE(CHECK_REFUSED(mm_heap_realloc(hide(local), 10), EINVAL));
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *ptr = (char *)mm_heap_alloc(sizes[i]);
        CHECK(ptr != NULL);
        if (MMI_HEAP_CHECKED || sizes[i] > MMI_HEAP_CLASS_MAX) {
            CHECK_MISUSE(mm_heap_free(hide(ptr + 1)));
            CHECK_MISUSE(mm_heap_free(hide(ptr + 8)));
            CHECK_MISUSE(mm_heap_free(hide(ptr + 16)));
            CHECK_MISUSE(mm_heap_free(hide(ptr + 4096)));
        }
        CHECK_MISUSE(CHECK_EQ(mm_heap_usable_size(hide(ptr + 16)), 0));
        CHECK_EQ(stats_now().live_blocks, 1);
        mm_heap_free(ptr);
    }
    CHECK_QUIET();
}

static void check_double_free(size_t size)
{
    size_t misuse_base = stats_now().misuses - fatals, i;
    void *blocks[64];
    for (i = 0; i < 64; i++) CHECK((blocks[i] = mm_heap_alloc(size)) != NULL);
    mm_heap_free(blocks[5]);
    CHECK_MISUSE(mm_heap_free(hide(blocks[5]))); /* at once */
    for (i = 0; i < 64; i++) {
        if (i != 5) mm_heap_free(blocks[i]);
    }
    if (!MMI_HEAP_CHECKED && size <= MMI_HEAP_CLASS_MAX) return;
    for (i = 0; i < 64; i++) CHECK_MISUSE(mm_heap_free(hide(blocks[i]))); /* after others */
    mm_heap_trim();
    for (i = 0; i < 64; i++) CHECK_MISUSE(mm_heap_free(hide(blocks[i]))); /* gone for good */
    CHECK_QUIET();
}

TEST(double_frees_are_refused)
{
    CHECK_SUB(check_double_free(16));
    CHECK_SUB(check_double_free(1000));
    CHECK_SUB(check_double_free(30000));
    CHECK_SUB(check_double_free(100000));
    CHECK_SUB(check_double_free(HUGE_SIZE));
}

static MM_UNUSED void *free_it(void *ptr)
{
    mm_heap_free(ptr);
    return NULL;
}

/* A second free of blocks that wait to go home, or are on the way, is found wherever the thread
   that frees them keeps them, though release mode cannot tell what is free in general. */
#if !defined(MMI_ASAN) && !defined(MM_VALGRIND) /* which would report the writes */
static void *free_twice(void *value)
{
    void **blocks = (void **)value;
    size_t i;
    for (i = 0; i < 3; i++) mm_heap_free(blocks[i]);
    for (i = 0; i < 3; i++) mm_heap_free(hide(blocks[i]));
    return NULL;
}

static void *free_twice_with_a_cache(void *value)
{
    mm_heap_free(mm_heap_alloc(16));
    return free_twice(value);
}

static void check_double_free_elsewhere(size_t size, void *(*run)(void *))
{
    size_t misuse = fatals, i;
    void *blocks[3];
    pthread_t thread;
    for (i = 0; i < 3; i++) CHECK((blocks[i] = mm_heap_alloc(size)) != NULL);
    start(&thread, run, blocks);
    join(thread);
    CHECK_EQ(fatals, misuse + 3);
    CHECK_EQ(stats_now().live_blocks, 0);
    mm_heap_trim(); /* which brings all home, once */
    CHECK_EQ(fatals, misuse + 3);
    CHECK(mm_heap_check());
    for (i = 0; i < 3; i++) {
        CHECK((blocks[i] = mm_heap_alloc(size)) != NULL); /* may have been marked, and is not */
        start(&thread, free_it, blocks[i]);
        join(thread);
    }
    CHECK_EQ(fatals, misuse + 3);
    CHECK_QUIET();
}

TEST(double_frees_in_another_thread_are_refused)
{
    static const size_t sizes[] = {1, 16, 1000, 30000, 100000, 1000000};
    size_t i;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CHECK_SUB(check_double_free_elsewhere(sizes[i], free_twice));
        CHECK_SUB(check_double_free_elsewhere(sizes[i], free_twice_with_a_cache));
    }
}

/* Its owner frees a block that another thread has freed before, so that what was on its way home
   ends in a list: found when all come home, or by MM_HEAP_SECURE at once. */
TEST(double_frees_do_not_join_lists)
{
    void *blocks[8];
    size_t i, misuse = fatals;
    pthread_t thread;
    for (i = 0; i < 8; i++) CHECK((blocks[i] = mm_heap_alloc(500)) != NULL);
    for (i = 0; i < 4; i++) mm_heap_free(blocks[i]);
    for (i = 4; i < 8; i++) {
        start(&thread, free_it, blocks[i]);
        join(thread);
    }
    mm_heap_free(hide(blocks[7]));
    for (i = 0; i < 1000; i++) CHECK(mm_heap_alloc(500) != NULL);
    mm_heap_trim();
    CHECK_EQ(fatals, misuse + 1);
    heap_forget();
}

#ifndef MM_HEAP_SECURE
/* Lists that a second free made a ring of, where release mode has no mark, end all the same. */
TEST(rings_have_an_end)
{
    size_t misuse = fatals, i;
    mm_heap *heap = mm_heap_create(NULL);
    void *blocks[3];
    pthread_t thread;
    CHECK(heap != NULL);
    for (i = 0; i < 3; i++) CHECK((blocks[i] = mm_heap_alloc_in(heap, 100)) != NULL);
    start(&thread, free_twice, blocks);
    join(thread);
    (void)stats_now(); /* walks what comes home */
    mm_heap_destroy(heap);
    for (i = 0; i < 9; i++) CHECK((blocks[i % 3] = mm_heap_alloc(3000)) != NULL);
    for (i = 0; i < 4; i++) mm_heap_free(hide(blocks[i % 2])); /* a, b, a, b */
    mm_heap_trim();
    CHECK(fatals > misuse);
    heap_forget();
}
#endif
#endif

#ifdef MM_HEAP_SECURE
TEST(double_frees_of_two_threads_are_refused)
{
    void *ptr = mm_heap_alloc(100), *other = mm_heap_alloc(100);
    size_t misuse = fatals;
    pthread_t thread;
    CHECK(ptr != NULL && other != NULL);
    mm_heap_free(ptr);
    start(&thread, free_it, hide(ptr)); /* here, then there */
    join(thread);
    CHECK_EQ(fatals, misuse + 1);
    start(&thread, free_it, other); /* there, then here, while it waits to go home */
    join(thread);
    mm_heap_free(hide(other));
    CHECK_EQ(fatals, misuse + 2);
    start(&thread, free_it, hide(other)); /* and there again */
    join(thread);
    CHECK_EQ(fatals, misuse + 3);
    CHECK_QUIET();
}
#endif

#if !defined(MMI_ASAN) && !defined(MM_VALGRIND) /* which would report the writes */
TEST(check_notices_damage)
{
    char *ptr = (char *)mm_heap_alloc(64), *stale;
    mmi_heap_block saved;
    CHECK(ptr != NULL);
    stale = (char *)hide(ptr);
    mm_heap_free(ptr);
    CHECK(mm_heap_check());
    memcpy(&saved, stale, sizeof(saved));
    memset(stale, 0x55, sizeof(saved));
    CHECK(!mm_heap_check());
    memcpy(stale, &saved, sizeof(saved));
    stale[offsetof(mmi_heap_block, key)] ^= 1;
    CHECK(mm_heap_check() == !MMI_HEAP_CHECKED);
    memcpy(stale, &saved, sizeof(saved));
    CHECK_QUIET();
}

TEST(damaged_link_does_not_crash_the_flush)
{
    void *blocks[4];
    size_t i, misuse = fatals;
    mm_heap_trim();
    for (i = 0; i < 4; i++) CHECK((blocks[i] = mm_heap_alloc(3584)) != NULL);
    for (i = 0; i < 4; i++) mm_heap_free(blocks[i]);
    memset(hide(blocks[2]), 0x34, sizeof(mmi_heap_block)); /* write after free */
    mm_heap_trim();
    CHECK_EQ(fatals, misuse + 1);
    heap_forget(); /* it has lost two blocks */
}
#endif

#ifdef MMI_ASAN
TEST(free_memory_is_poisoned)
{
    static const size_t sizes[] = {16, 100, 10000, 100000};
    size_t i;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *ptr = (char *)mm_heap_alloc(sizes[i]);
        size_t usable = mm_heap_usable_size(ptr);
        CHECK(ptr != NULL);
        CHECK(__asan_region_is_poisoned(ptr, usable) == NULL);
        mm_heap_free(ptr);
        CHECK(__asan_address_is_poisoned(hide(ptr)));
        CHECK(__asan_address_is_poisoned((char *)hide(ptr) + 15));
        CHECK(__asan_address_is_poisoned((char *)hide(ptr) + usable - 1));
    }
}
#endif

// ---- model ----

#define SLOTS 300

typedef struct model {
    uint64_t random;
    size_t live; /* sum of the blocks' sizes */
    size_t blocks;
    struct {
        unsigned char *ptr;
        size_t size;
        int seed;
    } slot[SLOTS];
} model;

/* Mostly small, sometimes of any class, seldom large or huge. */
static size_t model_size(model *m)
{
    size_t pick = (size_t)(test_random(&m->random) >> 32);
    switch (pick % 64) {
    case 0: return pick % 700000;
    case 1:
    case 2: return pick % 140000;
    case 3:
    case 4:
    case 5:
    case 6: return pick % 20000;
    default: return pick % 700;
    }
}

static void model_free(model *m, size_t i)
{
    EXPECT(is_filled(m->slot[i].ptr, m->slot[i].seed, m->slot[i].size));
    m->live -= room_of(m->slot[i].ptr);
    m->blocks--;
    mm_heap_free(m->slot[i].ptr);
    m->slot[i].ptr = NULL;
}

static void model_fill(model *m, size_t i, size_t size)
{
    EXPECT(m->slot[i].ptr != NULL && is_aligned(m->slot[i].ptr, 16));
    m->slot[i].size = size;
    m->slot[i].seed = (int)(test_random(&m->random) >> 57) + 1;
    if (m->slot[i].ptr == NULL) return;
    m->live += room_of(m->slot[i].ptr);
    m->blocks++;
    memset(m->slot[i].ptr, m->slot[i].seed, size);
}

static void model_realloc(model *m, size_t i, size_t size)
{
    size_t same = size < m->slot[i].size ? size : m->slot[i].size;
    m->live -= room_of(m->slot[i].ptr);
    m->blocks--;
    m->slot[i].ptr = (unsigned char *)mm_heap_realloc(m->slot[i].ptr, size);
    EXPECT(is_filled(m->slot[i].ptr, m->slot[i].seed, same));
    model_fill(m, i, size);
}

static void model_step(model *m)
{
    size_t i = (size_t)(test_random(&m->random) >> 40) % SLOTS, size = model_size(m);
    size_t what = (size_t)(test_random(&m->random) >> 60);
    if (m->slot[i].ptr != NULL && what < 5) {
        model_realloc(m, i, size);
        return;
    }
    if (m->slot[i].ptr != NULL) {
        model_free(m, i);
        return;
    }
    if (what == 0) {
        m->slot[i].ptr = (unsigned char *)mm_heap_calloc(1, size);
        EXPECT(is_filled(m->slot[i].ptr, 0, size));
    } else if (what == 1) {
        size_t alignment = (size_t)1 << (size % 18);
        m->slot[i].ptr = (unsigned char *)mm_heap_aligned_alloc(alignment, size);
        EXPECT(is_aligned(m->slot[i].ptr, alignment));
    } else {
        m->slot[i].ptr = (unsigned char *)mm_heap_alloc(size);
    }
    model_fill(m, i, size);
}

static void model_end(model *m)
{
    size_t i;
    for (i = 0; i < SLOTS; i++) {
        if (m->slot[i].ptr != NULL) model_free(m, i);
    }
}

TEST(model_on_one_thread)
{
    static model m;
    size_t step;
    m.random = 20260101;
    for (step = 0; step < 60000; step++) {
        model_step(&m);
        if (step % 250 == 0) {
            mm_heap_stats stats = stats_now();
            CHECK_EQ(stats.live, m.live);
            CHECK_EQ(stats.live_blocks, m.blocks);
            CHECK_EQ(stats.live + stats.cached + stats.metadata, stats.committed);
            CHECK(stats.peak >= stats.reserved && stats.huge <= stats.live);
            CHECK(mm_heap_check());
        }
        if (step % 9000 == 0) mm_heap_trim();
        CHECK_EQ(errors, 0);
    }
    model_end(&m);
    CHECK_EQ(m.live, 0);
    CHECK_QUIET();
}

static void *model_run(void *value)
{
    model *m = (model *)value;
    size_t step;
    for (step = 0; step < 15000; step++) {
        model_step(m);
        if (step % 1000 == 0) EXPECT(mm_heap_check());
        if (step % 1000 == 500) EXPECT(stats_now().live > 0 || m->blocks == 0);
        if (step % 4000 == 0) mm_heap_trim();
    }
    return NULL;
}

TEST(model_on_four_threads)
{
    static model m[4];
    pthread_t threads[4];
    size_t i;
    for (i = 0; i < 4; i++) m[i].random = 1000 + i;
    for (i = 0; i < 4; i++) start(&threads[i], model_run, &m[i]);
    for (i = 0; i < 4; i++) join(threads[i]);
    CHECK_EQ(stats_now().live, m[0].live + m[1].live + m[2].live + m[3].live);
    for (i = 0; i < 4; i++) model_end(&m[i]); /* what they left, by this thread */
    CHECK_QUIET();
}

// ---- blocks that change threads ----

#define SHARED 256
static size_t shared[SHARED]; /* blocks that lie about for anybody */

/* Puts blocks down and takes others up, whoever made them; a block says how long it is. */
static void *exchange_run(void *value)
{
    uint64_t random = (uint64_t)(uintptr_t)value;
    size_t step;
    for (step = 0; step < 30000; step++) {
        size_t pick = (size_t)(test_random(&random) >> 32);
        size_t most = pick % 100 == 0 ? 80000 : pick % 50 == 1 ? 9000 : 500;
        size_t size = sizeof(size_t) + pick / 128 % most;
        size_t *place = &shared[(pick >> 16) % SHARED], old = mmi_atomic_load(place);
        size_t *block = (size_t *)mm_heap_alloc(size);
        if (block == NULL) return NULL;
        *block = size;
        memset(block + 1, (int)(size & 0xFF), size - sizeof(size_t));
        while (!mmi_atomic_cas(place, &old, (size_t)block)) continue;
        if ((block = (size_t *)old) == NULL) continue;
        EXPECT(is_filled(block + 1, (int)(*block & 0xFF), *block - sizeof(size_t)));
        mm_heap_free_sized(block, *block);
    }
    return value;
}

TEST(threads_free_each_others_blocks)
{
    pthread_t threads[4];
    size_t i;
    for (i = 0; i < 4; i++) start(&threads[i], exchange_run, (void *)(uintptr_t)(77 + i));
    for (i = 0; i < 100; i++) CHECK(stats_now().reserved > 0); /* while they run */
    for (i = 0; i < 4; i++) join(threads[i]);
    for (i = 0; i < SHARED; i++) {
        mm_heap_free((void *)shared[i]);
        shared[i] = 0;
    }
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().spans, 0);
    CHECK_QUIET();
}

static void *parcel_run(void *value)
{
    void **blocks = (void **)value;
    size_t i, before = stats_now().live;
    mm_heap_free(mm_heap_alloc(1)); /* has a cache from here */
    for (i = 0; i < MMI_HEAP_PARCEL_COUNT - 1; i++) mm_heap_free(blocks[i]);
    EXPECT(stats_now().live == before - (MMI_HEAP_PARCEL_COUNT - 1) * 112); /* though they wait */
    mmi_atomic_store(&blocks[0], (void *)mmi_heap_mine);
    mm_heap_free(blocks[i]);
    return NULL;
}

/* What another thread frees waits there until it is worth an atomic operation, and no longer. */
TEST(blocks_go_home_in_parcels)
{
    static void *blocks[MMI_HEAP_PARCEL_COUNT];
    mmi_heap_cache *mine, *other;
    pthread_t thread;
    size_t i, sent = 0;
    for (i = 0; i < MMI_HEAP_PARCEL_COUNT; i++) CHECK((blocks[i] = mm_heap_alloc(100)) != NULL);
    mine = mmi_heap_mine;
    CHECK_EQ(mine->remote, 0);
    start(&thread, parcel_run, blocks);
    join(thread);
    other = (mmi_heap_cache *)blocks[0];
    CHECK(other != mine && mine->remote != 0);
    for (i = 0; i < MMI_HEAP_PARCELS; i++) sent += other->parcels[i].first == NULL;
    CHECK_EQ(sent, MMI_HEAP_PARCELS);
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(mine->remote, 0);
    CHECK_QUIET();
}

#define PIPE_BLOCKS 20000
static size_t pipe_place[64];
static size_t pipe_peak;

static void *produce(void *value)
{
    size_t i;
    for (i = 0; i < PIPE_BLOCKS; i++) {
        size_t *place = &pipe_place[i % 64], empty = 0;
        size_t *block = (size_t *)mm_heap_alloc(512);
        if (block == NULL) return NULL;
        *block = i;
        while (!mmi_atomic_cas(place, &empty, (size_t)block)) empty = 0;
    }
    return value;
}

static void *consume(void *value)
{
    size_t i, full;
    for (i = 0; i < PIPE_BLOCKS; i++) {
        while ((full = mmi_atomic_load(&pipe_place[i % 64])) == 0) sched_yield();
        mmi_atomic_store(&pipe_place[i % 64], (size_t)0);
        EXPECT(*(size_t *)full == i);
        mm_heap_free((void *)full);
        if (i % 1000 == 0 && stats_now().reserved > pipe_peak) pipe_peak = stats_now().reserved;
    }
    return value;
}

/* 10 MB go through, but only some blocks are live at a time: the memory goes home and is used
 * again. */
TEST(one_thread_allocates_the_other_frees)
{
    pthread_t producer, consumer;
    size_t before;
    mm_heap_trim();
    before = stats_now().reserved;
    start(&producer, produce, NULL);
    start(&consumer, consume, NULL);
    join(producer);
    join(consumer);
    CHECK(pipe_peak <= before + 2 * MMI_HEAP_SPAN_SIZE);
    CHECK_QUIET();
}

// ---- threads that come and go ----

static void *leave_blocks(void *value)
{
    void **blocks = (void **)value;
    size_t i;
    for (i = 0; i < 64; i++) {
        blocks[i] = mm_heap_alloc(i * i * 3 + 1);
        EXPECT(blocks[i] != NULL);
        if (blocks[i] != NULL) memset(blocks[i], (int)i, i * i * 3 + 1);
    }
    for (i = 1; i < 64; i += 2) mm_heap_free(blocks[i]);
    return NULL;
}

TEST(caches_of_ended_threads_are_used_again)
{
    static void *blocks[4][64];
    pthread_t threads[4];
    size_t round, i, k, peak = 0;
    for (round = 0; round < 150; round++) {
        for (i = 0; i < 4; i++) start(&threads[i], leave_blocks, blocks[i]);
        for (i = 0; i < 4; i++) join(threads[i]);
        if (round == 10) peak = stats_now().peak;
        for (i = 0; i < 4; i++) {
            for (k = 0; k < 64; k += 2) {
                CHECK(is_filled(blocks[i][k], (int)k, k * k * 3 + 1));
                mm_heap_free(blocks[i][k]);
            }
        }
    }
    CHECK(stats_now().peak <= peak + MMI_HEAP_SPAN_SIZE);
    CHECK(stats_now().caches <= 24); /* of all tests so far, not 600 */
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().spans, 0);
}

/* Leaves the first of some chunks live. */
static void *leave_chunks(void *value)
{
    void **blocks = (void **)value;
    size_t i;
    for (i = 0; i < 16; i++) EXPECT((blocks[i] = mm_heap_alloc(100000)) != NULL);
    for (i = 1; i < 16; i++) mm_heap_free(blocks[i]);
    return NULL;
}

#define ORPHANS 3000

static void *make_orphans(void *value)
{
    void **blocks = (void **)value;
    size_t i;
    for (i = 0; i < ORPHANS; i++) EXPECT((blocks[i] = mm_heap_alloc(96)) != NULL);
    for (i = 0; i < ORPHANS; i++) {
        if (i % 8 != 0) mm_heap_free(blocks[i]);
    }
    return NULL;
}

TEST(pages_of_ended_threads_are_adopted)
{
    static void *blocks[ORPHANS];
    void *mine[ORPHANS];
    mmi_heap_page *page;
    pthread_t thread;
    size_t i, k, committed, adopted = 0;
    mm_heap_trim();
    heap_forget(); /* the shelf is empty, and this thread has a cache of its own: */
    mm_heap_free(mm_heap_alloc(1));
    start(&thread, make_orphans, blocks);
    join(thread);
    committed = stats_now().reserved;
    for (i = 0; i < ORPHANS / 2; i++) {
        CHECK((mine[i] = mm_heap_alloc(96)) != NULL);
        page = mmi_heap_page_at(mine[i]);
        CHECK(mmi_heap_owner(page) == mmi_heap_mine);
        for (k = 0; k < ORPHANS && mmi_heap_page_at(blocks[k]) != page; k += 8) continue;
        if (k < ORPHANS) adopted++;
    }
    CHECK_EQ(adopted, ORPHANS / 2);
    CHECK_EQ(stats_now().reserved, committed);
    CHECK_EQ(stats_now().live_blocks, ORPHANS / 8 + ORPHANS / 2);
    for (i = 0; i < ORPHANS; i += 8) mm_heap_free(blocks[i]);
    for (i = 0; i < ORPHANS / 2; i++) mm_heap_free(mine[i]);
    CHECK_QUIET();
}

/* A block may be on its way to a cache that its page has left: it travels on. */
TEST(blocks_find_an_owner_that_changed)
{
    static void *blocks[ORPHANS];
    mmi_heap_cache *former;
    mmi_heap_block *late;
    mmi_heap_page *page;
    pthread_t thread;
    void *mine;
    mm_heap_trim();
    start(&thread, make_orphans, blocks);
    join(thread);
    late = (mmi_heap_block *)blocks[0];
    page = mmi_heap_page_at(late);
    former = mmi_heap_owner(page);
    do mine = mm_heap_alloc(96); /* leaks into the heap that is forgotten below */
    while (mine != NULL && mmi_heap_owner(page) == former);
    CHECK(mine != NULL && mmi_heap_owner(page) == mmi_heap_mine);
    /* as by a thread that looked just before */
    if (MMI_HEAP_TRAVEL) late->key = mmi_heap_mark_of(page, late);
    mmi_heap_block_close(mmi_heap_page_at(late), late, NULL, 96);
    mmi_heap_remote_push(former, late, late);
    CHECK(mm_heap_check());
    mmi_heap_shelf_each(mmi_heap_collect); /* former is there, which sends it here */
    CHECK(mmi_heap_mine->remote == (size_t)late);
    mm_heap_trim();
    CHECK(mmi_heap_mine->remote == 0);
    CHECK(mm_heap_check());
    heap_forget();
}

/* The tool itself ends the thread in the last round. */
#define LATE_ROUNDS (UNDER_TSAN ? 2 : 4)
static pthread_key_t late_key;
static size_t late_rounds;

/* Runs in each of the rounds of destructors, so after the heap's own. */
static void late_destructor(void *value)
{
    void *small = mm_heap_alloc(200), *large = mm_heap_alloc(100000);
    EXPECT(small != NULL && large != NULL);
    if (small != NULL) memset(small, 1, 200);
    mm_heap_free(small);
    mm_heap_free(large);
    if (++late_rounds < LATE_ROUNDS) pthread_setspecific(late_key, value);
    else mm_heap_free(value);
}

static void *late_run(void *value)
{
    void *ptr = mm_heap_alloc(1000);
    pthread_setspecific(late_key, ptr);
    return value;
}

TEST(destructors_may_use_the_heap)
{
    pthread_t thread;
    size_t i, caches = 0;
    CHECK_EQ(pthread_key_create(&late_key, late_destructor), 0);
    for (i = 0; i < 10; i++) {
        late_rounds = 0;
        start(&thread, late_run, NULL);
        join(thread);
        CHECK_EQ(late_rounds, LATE_ROUNDS);
        if (i == 0) caches = stats_now().caches;
    }
    pthread_key_delete(late_key);
    CHECK_EQ(stats_now().caches, caches);
    CHECK_QUIET();
}

/* As where the system drops the variables of a thread before its destructors run. */
TEST(cache_is_found_again_by_the_key)
{
    void *ptr = mm_heap_alloc(100), *other;
    mmi_heap_cache *cache = mmi_heap_mine;
    CHECK(ptr != NULL);
    mmi_heap_mine = &mmi_heap_no_cache[0];
    mm_heap_free(ptr); /* needs none */
    CHECK(mmi_heap_mine == &mmi_heap_no_cache[0] && cache->remote == (size_t)hide(ptr));
    other = mm_heap_alloc(100);
    CHECK(other != NULL && mmi_heap_mine == cache);
    mm_heap_free(other);
    CHECK_QUIET();
}

TEST(works_without_a_key_for_the_end_of_threads)
{
    static void *blocks[64];
    pthread_t thread;
    size_t i;
    mmi_heap_here.key_works = false;
    for (i = 0; i < 10; i++) {
        size_t k;
        start(&thread, leave_blocks, blocks);
        join(thread);
        for (k = 0; k < 64; k += 2) mm_heap_free(blocks[k]);
    }
    mmi_heap_here.key_works = true;
    CHECK(stats_now().caches <= 24);
    CHECK_QUIET();
}

// ---- fork ----

#ifndef _WIN32
static size_t storm_over;

static void *storm_run(void *value)
{
    model *m = (model *)value;
    while (mmi_atomic_load(&storm_over) == 0) model_step(m);
    return NULL;
}

/* In the child: allocates in every class, frees, and frees the parent's blocks. */
static int child_run(void **parents, size_t count)
{
    size_t i, size;
    void *ptr;
    alarm(20); /* a deadlock is a failure */
    for (i = 0; i < count; i++) mm_heap_free(parents[i]);
    for (size = 1; size < 600000; size += size / 2 + 1) {
        if ((ptr = mm_heap_alloc(size)) == NULL) return 1;
        memset(ptr, 1, size);
        if ((ptr = mm_heap_realloc(ptr, size / 3)) == NULL) return 2;
        mm_heap_free(ptr);
    }
    mm_heap_trim();
    if (stats_now().reserved == 0) return 3;
    return mm_heap_check() ? 0 : 4;
}

/* Forks with some blocks live; the child's exit status, or -1. */
static int fork_once(void)
{
    static void *mine[30];
    int status = -1;
    pid_t child;
    size_t k;
    for (k = 0; k < 30; k++) EXPECT((mine[k] = mm_heap_alloc(k * k * 400)) != NULL);
    child = fork();
    if (child == 0) _exit(child_run(mine, 30));
    if (child < 0 || waitpid(child, &status, 0) != child) status = -1;
    for (k = 0; k < 30; k++) mm_heap_free(mine[k]);
    return status;
}

TEST(child_of_a_fork_in_a_storm_can_allocate)
{
    static model m[3];
    pthread_t threads[3];
    size_t i, ran = handlers_run;
    int status = 0;
    storm_over = 0;
    for (i = 0; i < 3; i++) m[i].random = 5 + i;
    for (i = 0; i < 3; i++) start(&threads[i], storm_run, &m[i]);
    for (i = 0; i < 40 && status == 0; i++) status = fork_once();
    mmi_atomic_store(&storm_over, (size_t)1);
    for (i = 0; i < 3; i++) join(threads[i]);
    CHECK_EQ(status, 0);
    CHECK_EQ(handlers_run, ran + 4 * 40); /* two handlers before, two after, each time */
    for (i = 0; i < 3; i++) model_end(&m[i]);
    CHECK_QUIET();
}
#endif

// ---- the system refuses ----

/* One of everything that may need a mapping. Each either works or says ENOMEM. */
static void use_everything(void)
{
    void *blocks[8];
    size_t i;
    char *grown;
    errno = 0;
    blocks[0] = mm_heap_alloc(40);
    blocks[1] = mm_heap_alloc(12000);
    blocks[2] = mm_heap_alloc(150000);
    blocks[3] = mm_heap_alloc(HUGE_SIZE);
    blocks[4] = mm_heap_aligned_alloc((size_t)2 << 20, 100);
    blocks[5] = mm_heap_calloc(70000, 10);
    blocks[6] = mm_heap_aligned_alloc(4096, 4000);
    blocks[7] = mm_heap_alloc(5000000);
    for (i = 0; i < 8; i++) {
        if (blocks[i] == NULL) CHECK_EQ(errno, ENOMEM);
        else memset(hide(blocks[i]), (int)i, mm_heap_usable_size(blocks[i]));
    }
    CHECK(mm_heap_check());
    if (blocks[1] != NULL) {
        grown = (char *)mm_heap_realloc(blocks[1], HUGE_SIZE);
        CHECK(grown != NULL || errno == ENOMEM);
        if (grown != NULL) blocks[1] = grown;
        CHECK(is_filled(blocks[1], 1, 12000));
    }
    for (i = 0; i < 8; i++) mm_heap_free(blocks[i]);
    CHECK_QUIET();
}

static void sweep(bool for_ever)
{
    size_t n;
    for (n = 1; n < 100; n++) {
        mm_heap_trim();
        heap_forget();
        system_fail(n, for_ever);
        CHECK_SUB(use_everything());
        system_fail_at = 0;          /* keeps the count of the failed */
        CHECK_SUB(use_everything()); /* and then all is well again */
        CHECK_EQ(stats_now().live, 0);
        if (system_failed == 0) break;
        CHECK(for_ever || system_failed == 1);
    }
    CHECK(n > 6 && n < 100);
}

TEST(every_mapping_fails)
{
    CHECK_SUB(sweep(false));
    CHECK_SUB(sweep(true));
}

/* The first block is a huge one; its records fail after its mapping was made. */
TEST(records_of_huge_blocks_fail)
{
    size_t n;
    for (n = 1; n <= 3; n++) { /* the mapping, a leaf of the page map, the records */
        mm_heap_trim();
        heap_forget();
        system_fail(n, true);
        CHECK_REFUSED(mm_heap_alloc(HUGE_SIZE), ENOMEM);
        CHECK_EQ(stats_now().committed, stats_now().metadata);
        system_fail(0, false);
        CHECK_SUB(check_block(HUGE_SIZE));
        CHECK_QUIET();
    }
}

#if UINTPTR_MAX > 0xffffffffu
TEST(mappings_out_of_reach_are_refused)
{
    mm_heap_trim();
    system_elsewhere = true;
    CHECK_REFUSED(mm_heap_alloc(HUGE_SIZE), ENOMEM);
    CHECK_REFUSED(mm_heap_alloc(100), ENOMEM);
    system_elsewhere = false;
    CHECK_SUB(check_block(100));
    CHECK_QUIET();
}
#endif

/* When there are no new mappings, blocks of one class are made from what the others left. */
TEST(exhausted_heap_lives_on_what_it_has)
{
    static void *blocks[2000];
    size_t i, count = 0, again = 0;
    mm_heap_trim();
    heap_forget();
    mm_heap_free(mm_heap_alloc(1));
    system_fail(1, true);
    for (i = 0; i < 2000; i++) {
        if ((blocks[i] = mm_heap_alloc(8000)) == NULL) break;
        count++;
    }
    CHECK(count > 400 && count < 2000); /* 4 MiB of them */
    CHECK_REFUSED(mm_heap_alloc(8000), ENOMEM);
    CHECK(mm_heap_check());
    for (i = 0; i < count; i++) mm_heap_free(blocks[i]);
    for (i = 0; i < 2000; i++) {
        if ((blocks[i] = mm_heap_alloc(5000)) == NULL) break;
        again++;
    }
    CHECK(again > count);
    for (i = 0; i < again; i++) mm_heap_free(blocks[i]);
    blocks[0] = mm_heap_alloc(200000);
    CHECK(blocks[0] == NULL || mm_heap_usable_size(blocks[0]) >= 200000);
    mm_heap_free(blocks[0]);
    system_fail(0, false);
    CHECK_QUIET();
}

/* The system's mappings need not be aligned to a granule. */
#ifndef _WIN32 /* where they always are */
TEST(misaligned_mappings_are_used)
{
    mm_heap_trim();
    heap_forget();
    system_shift = 4096;
    CHECK_SUB(use_everything());
    CHECK_SUB(check_block(300000));
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
    system_shift = 0;
    heap_forget();
}
#endif

// ---- chunks ----

/* What is left of a cache that has nothing: one free chunk, of the whole area. */
static void check_one_area_is_free(void)
{
    CHECK(mmi_heap_mine->areas != NULL && mmi_heap_mine->areas->next == NULL);
    CHECK_EQ(mmi_heap_chunk_size(mmi_heap_area_first(mmi_heap_mine->areas)),
             mmi_heap_area_size(mmi_heap_mine->areas));
}

/* Frees every third block, then every third of the others, then the last: chunks are joined with
 * neighbours on the left, on the right, and on both sides. */
TEST(chunks_are_joined_with_both_neighbours)
{
    enum { COUNT = 60 };
    char *blocks[COUNT];
    size_t i, third;
    mm_heap_trim();
    for (i = 0; i < COUNT; i++) {
        CHECK((blocks[i] = (char *)mm_heap_alloc(33000 + i * 200)) != NULL);
        memset(blocks[i], (int)i, 33000 + i * 200);
    }
    for (third = 0; third < 3; third++) {
        for (i = third; i < COUNT; i += 3) {
            CHECK(is_filled(blocks[i], (int)i, 33000 + i * 200));
            mm_heap_free(blocks[i]);
            CHECK(mm_heap_check());
        }
    }
    mmi_heap_unsorted_flush(mmi_heap_mine);
    CHECK(mm_heap_check());
    CHECK_SUB(check_one_area_is_free());
    CHECK_QUIET();
}

TEST(unsorted_chunks_are_used_first)
{
    char *a = (char *)mm_heap_alloc(100000), *b = (char *)mm_heap_alloc(100000), *again;
    CHECK(a != NULL && b != NULL);
    mm_heap_free(a);
    CHECK((mmi_heap_chunk_of(hide(a))->size & MMI_HEAP_CHUNK_WAITING) != 0);
    again = (char *)mm_heap_alloc(95000); /* within an eighth */
    CHECK((again == hide(a)) == !MMI_HEAP_DELAYED);
    mm_heap_free(again);
    again = (char *)mm_heap_alloc(50000); /* not for half of it */
    CHECK(again != NULL && again != hide(a));
    mm_heap_free(again);
    mm_heap_free(b);
    CHECK_QUIET();
}

TEST(large_blocks_grow_in_place)
{
    char *ptr = (char *)mm_heap_alloc(40000), *same;
    size_t size;
    CHECK(ptr != NULL);
    memset(ptr, 1, 40000);
    mm_heap_trim();
    for (size = 50000; size <= 1000000; size += 50000) {
        same = (char *)mm_heap_realloc(ptr, size);
        CHECK(same == hide(ptr) && is_filled(same, 1, size == 50000 ? 40000 : size - 50000));
        CHECK(mm_heap_usable_size(same) >= size);
        ptr = same;
        memset(ptr, 1, size);
        CHECK(mm_heap_check());
    }
    same = (char *)mm_heap_realloc(ptr, 60000); /* and shrink */
    CHECK(same == hide(ptr) && mm_heap_usable_size(same) < 62000);
    CHECK(mm_heap_check());
    mm_heap_free(same);
    CHECK_QUIET();
}

TEST(huge_blocks_move_without_copying)
{
    size_t size = HUGE_SIZE, moves = 0;
    char *ptr = (char *)mm_heap_alloc(size), *now;
    CHECK(ptr != NULL);
    memset(ptr, 7, size);
    for (; size < 40000000; size += size / 8) {
        now = (char *)mm_heap_realloc(ptr, size + size / 8);
        CHECK(now != NULL && is_filled(now, 7, size));
        CHECK(mm_heap_usable_size(now) >= size + size / 8);
        moves += now != hide(ptr);
        ptr = now;
        memset(ptr, 7, size + size / 8);
        CHECK(mm_heap_check());
        CHECK_EQ(stats_now().live_blocks, 1);
    }
    CHECK(moves > 0 && moves < 20);
    now = (char *)mm_heap_realloc(ptr, 2000000);
    CHECK(now != NULL && is_filled(now, 7, 2000000));
    mm_heap_free(now);
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
}

TEST(alignments_on_a_fragmented_heap)
{
    enum { COUNT = 400 };
    static void *blocks[COUNT];
    uint64_t random = 99;
    size_t step, i;
    memset(blocks, 0, sizeof(blocks));
    for (step = 0; step < 20000; step++) {
        size_t alignment = (size_t)16 << test_random(&random) % 18;
        size_t size = (size_t)(test_random(&random) % (step % 8 == 0 ? 400000 : 6000));
        i = (size_t)(test_random(&random) % COUNT);
        mm_heap_free(blocks[i]);
        blocks[i] = mm_heap_aligned_alloc(alignment, size);
        CHECK(blocks[i] != NULL && is_aligned(blocks[i], alignment));
        CHECK(mm_heap_usable_size(blocks[i]) >= size);
        if (step % 2000 == 0) CHECK(mm_heap_check());
    }
    for (i = 0; i < COUNT; i++) mm_heap_free(blocks[i]);
    CHECK_QUIET();
}

TEST(chunks_of_ended_threads_are_adopted)
{
    static void *blocks[64];
    pthread_t thread;
    size_t spans;
    void *mine;
    mm_heap_trim();
    heap_forget();
    mm_heap_free(mm_heap_alloc(1));
    start(&thread, leave_chunks, blocks);
    join(thread);
    spans = stats_now().spans;
    mine = mm_heap_alloc(150000);
    CHECK(mine != NULL && mmi_heap_owner(mmi_heap_page_at(mine)) == mmi_heap_mine);
    CHECK(mmi_heap_owner(mmi_heap_page_at(blocks[0])) == mmi_heap_mine);
    CHECK_EQ(stats_now().spans, spans);
    CHECK(mm_heap_check());
    mm_heap_free(mine);
    mm_heap_free(blocks[0]);
    CHECK_QUIET();
}

// ---- giving back ----

/* The figure of what is idle in the page heap and in kept mappings. */
static size_t idle_now(void)
{
    return mmi_heap_here.idle;
}

TEST(freed_mappings_are_used_again)
{
    char *ptr = (char *)mm_heap_alloc(HUGE_SIZE), *again;
    size_t calls;
    CHECK(ptr != NULL);
    mm_heap_free(ptr);
    calls = system_calls;
    again = (char *)mm_heap_alloc(HUGE_SIZE - 200000);
    CHECK((again == hide(ptr)) == !MMI_HEAP_DELAYED);
    CHECK((system_calls == calls) == !MMI_HEAP_DELAYED);
    mm_heap_free(again);
    again = (char *)mm_heap_alloc(HUGE_SIZE * 2); /* too large for it */
    CHECK(again != hide(ptr));
    mm_heap_free(again);
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(idle_now(), 0);
}

TEST(kept_mappings_are_bounded)
{
    void *blocks[200];
    size_t i;
    for (i = 0; i < 200; i++) CHECK((blocks[i] = mm_heap_alloc(HUGE_SIZE)) != NULL);
    for (i = 0; i < 200; i++) mm_heap_free(blocks[i]);
    CHECK(idle_now() <= MMI_HEAP_IDLE_BASE + mmi_heap_here.idle_limit + 2 * HUGE_SIZE);
    CHECK(mmi_heap_here.kept_count <= MMI_HEAP_KEPT_MOST);
    CHECK_QUIET();
    mm_heap_trim();
}

/* 80 MB come and go: little stays the first time, and what is needed again and again the next. */
static void use_and_free(size_t size, size_t count)
{
    static void *blocks[20000];
    size_t i;
    for (i = 0; i < count; i++) CHECK((blocks[i] = mm_heap_alloc(size)) != NULL);
    for (i = 0; i < count; i++) mm_heap_free(blocks[i]);
}

TEST(limit_follows_what_is_needed_again)
{
    size_t round, purged;
    if (!PAGES_GO_BACK) return;
    system_clock = 1000;
    mm_heap_trim();
    CHECK_SUB(use_and_free(8000, 10000));
    CHECK(idle_now() <= MMI_HEAP_IDLE_BASE);
    for (round = 0; round < 8; round++) CHECK_SUB(use_and_free(8000, 10000));
    purged = mmi_heap_here.purged;
    CHECK(mmi_heap_here.idle_limit > ((size_t)60 << 20));
    CHECK_SUB(use_and_free(8000, 10000));
    CHECK(mmi_heap_here.purged <= purged);  /* nothing went back this time */
    for (round = 0; round < 400; round++) { /* nobody needs it any more: */
        system_clock += MMI_HEAP_TICK;
        CHECK_SUB(use_and_free(100000, 30));
    }
    CHECK(idle_now() <= MMI_HEAP_IDLE_BASE);
    CHECK(mmi_heap_here.idle_limit < MMI_HEAP_IDLE_BASE);
    system_clock = 0;
    CHECK_QUIET();
}

TEST(idle_chunks_are_let_go_of)
{
    char *blocks[60], *zero;
    size_t i;
    if (!PAGES_GO_BACK) return;
    mm_heap_trim();
    for (i = 0; i < 60; i++) {
        CHECK((blocks[i] = (char *)mm_heap_alloc(60000)) != NULL);
        memset(blocks[i], 1, 60000);
    }
    for (i = 0; i < 60; i++) {
        if (i % 4 != 0) mm_heap_free(blocks[i]);
    }
    mmi_heap_unsorted_flush(mmi_heap_mine);
    CHECK(mmi_heap_mine->idle > 60 * 60000 / 2);
    mm_heap_trim();
    CHECK(mm_heap_check());
    CHECK_EQ(mmi_heap_mine->idle, 0);
    zero = (char *)mm_heap_calloc(1, 170000);
    CHECK(zero != NULL && is_filled(zero, 0, 170000));
    memset(zero, 1, 170000);
    mm_heap_free(zero);
    for (i = 0; i < 60; i += 4) {
        CHECK(is_filled(blocks[i], 1, 60000));
        mm_heap_free(blocks[i]);
    }
    CHECK_QUIET();
}

#ifndef MM_HEAP_SECURE
/* Blocks of one class, of which some are free: what lies between the live ones is let go of, and
 * used again. */
static void check_holes(size_t size, size_t live_each)
{
    enum { COUNT = 3000 };
    static unsigned char *blocks[COUNT];
    size_t i, round, dropped = 0;
    mmi_heap_page *page;
    if (!PAGES_GO_BACK) return;
    mm_heap_trim();
    for (i = 0; i < COUNT; i++) {
        CHECK((blocks[i] = (unsigned char *)mm_heap_alloc(size)) != NULL);
        memset(blocks[i], (int)(i % 251), size);
    }
    for (round = 0; round < 3; round++) {
        for (i = 0; i < COUNT; i++) {
            if ((i / 8 + round) % live_each == 0) continue;
            CHECK(is_filled(blocks[i], (int)(i % 251), size));
            mm_heap_free(blocks[i]);
            blocks[i] = NULL;
        }
        mm_heap_trim();
        CHECK(mm_heap_check());
        page = mmi_heap_mine->partial[mmi_heap_class_of(size)];
        for (dropped = 0; page != NULL; page = page->next) dropped += page->dropped;
        CHECK(dropped > COUNT / 8);
        mm_heap_trim(); /* again: there is nothing new */
        for (i = 0; i < COUNT; i++) {
            if (blocks[i] != NULL) continue;
            CHECK((blocks[i] = (unsigned char *)mm_heap_alloc(size)) != NULL);
            memset(blocks[i], (int)(i % 251), size);
            if (i % 100 == 0) CHECK(mm_heap_check());
        }
    }
    for (i = 0; i < COUNT; i++) {
        CHECK(is_filled(blocks[i], (int)(i % 251), size));
        mm_heap_free(blocks[i]);
    }
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().spans, 0);
}

TEST(trim_lets_go_of_what_lies_between_blocks)
{
    CHECK_SUB(check_holes(1024, 8));
    CHECK_SUB(check_holes(768, 8));
    CHECK_SUB(check_holes(2000, 3));
    CHECK_SUB(check_holes(112, 64));
    CHECK_SUB(check_holes(4096, 2));
    CHECK_SUB(check_holes(10000, 2));
    CHECK_SUB(check_holes(32768, 3));
}
#endif

/* Spans ask for huge pages from the given size of the heap on, and for none when a part of them is
 * to go back, of which the part that was never used may be in memory. */
TEST(huge_pages_are_asked_for)
{
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    size_t i, on, off, times;
    mm_heap_trim();
    system_large = stats_now().committed + 2 * MMI_HEAP_SPAN_SIZE;
    for (times = 0; times < 2; times++) {
        on = large_on;
        off = large_off;
        for (i = 0; i < COUNT; i++) CHECK((blocks[i] = mm_heap_calloc(1, 8000)) != NULL);
        CHECK(large_on >= on + 3 && large_on < on + stats_now().spans); /* not the first */
        for (i = 0; i < COUNT; i++) memset(blocks[i], (int)i, 8000);
        for (i = 0; i < COUNT; i++) {
            if (i % 200 != 0) mm_heap_free(blocks[i]);
        }
        mm_heap_trim();
        if (PAGES_GO_BACK) CHECK_EQ(large_off - off, large_on - on); /* once each */
        CHECK(mm_heap_check());
        for (i = 0; i < COUNT; i += 200) {
            CHECK(is_filled(blocks[i], (unsigned char)i, 8000));
            mm_heap_free(blocks[i]);
        }
        mm_heap_trim();
        CHECK_EQ(stats_now().committed, stats_now().metadata);
    }
    system_large = 0;
    CHECK_EQ(errors, 0);
    CHECK_QUIET();
}

/* What a huge page filled of a span and nobody ever used goes back as well, even if a page of
 * blocks in the span was the first of which something did. */
TEST(huge_pages_leave_nothing_that_was_never_used)
{
    mmi_heap_span *span;
    char *last;
    mm_heap_free(mm_heap_alloc(1)); /* the heap has begun */
    mm_heap_trim();
    system_large = 1;
    mmi_heap_lock();
    span = mmi_heap_span_new();
    system_large = 0;
    EXPECT(span != NULL);
    CHECK_EQ(mmi_heap_peek(&span->large), 1);
    last = span->start + MMI_HEAP_SPAN_SIZE - MMI_HEAP_GRANULE;
    MM_TRACK_UNPOISON(last, MMI_HEAP_GRANULE);
    last[0] = 1; /* as the system does, but with zeros */
    mmi_heap_span_shrink(span);
    (void)mmi_heap_span_purge(span, SIZE_MAX);
    if (PAGES_GO_BACK) {
        CHECK_EQ(last[0], 0);
        CHECK_EQ(mmi_heap_peek(&span->large), 0);
    }
    last[0] = 0;
    MM_TRACK_POISON(last, MMI_HEAP_GRANULE);
    mmi_heap_unlock();
    mm_heap_trim();
    CHECK_EQ(stats_now().spans, 0);
    CHECK_QUIET();
}

/* Blocks above 4 MiB are zeroed by what is in memory of them. */
TEST(wiping_leaves_nothing)
{
    size_t size, round, i;
    for (size = 300000; size < 20000000; size += size / 3 + 11) {
        for (round = 0; round < 3; round++) {
            char *ptr = (char *)mm_heap_calloc(size, 1);
            CHECK(ptr != NULL && is_filled(ptr, 0, size));
            for (i = 0; i < size; i += 9000 * (round + 1)) ptr[i] = 1;
            mm_heap_free(ptr);
        }
    }
    CHECK_QUIET();
}

TEST(works_where_nothing_can_be_let_go_of)
{
    system_purges = false;
    CHECK_SUB(use_everything());
    CHECK_SUB(use_and_free(8000, 10000));
    CHECK_SUB(use_and_free(HUGE_SIZE, 10));
    mm_heap_trim();
    CHECK_SUB(use_everything());
    CHECK_QUIET();
    system_purges = true;
    mm_heap_trim();
    CHECK_QUIET();
}

// ---- figures ----

TEST(stats_tell_what_is_held)
{
    const size_t size = mm_heap_good_size(HUGE_SIZE) + MMI_HEAP_SEAL;
    mm_heap_stats a, b;
    void *small, *run, *huge;
    mm_heap_trim();
    a = stats_now();
    CHECK_EQ(a.committed, a.metadata);
    CHECK_EQ(a.spans, 0);
    small = mm_heap_alloc(100);
    run = mm_heap_alloc(100000);
    huge = mm_heap_alloc(HUGE_SIZE);
    b = stats_now();
    CHECK(small != NULL && run != NULL && huge != NULL);
    CHECK_EQ(b.live_blocks, 3);
    CHECK_EQ(b.live, 112 + room_of(run) + size);
    CHECK_EQ(b.huge, size);
    CHECK_EQ(b.spans, 2); /* pages, chunks */
    CHECK(b.reserved >= MMI_HEAP_SPAN_SIZE + size + b.metadata);
    CHECK_EQ(b.cached, b.committed - b.metadata - b.live);
    CHECK(b.caches >= 1 && b.peak >= b.reserved);
    mm_heap_free(small);
    mm_heap_free(run);
    mm_heap_free(huge);
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
    CHECK_EQ(stats_now().peak, b.peak > a.peak ? b.peak : a.peak);
}

TEST(empty_spans_go_back)
{
    enum { COUNT = 10000 };
    static void *blocks[COUNT];
    size_t i, round, metadata = 0;
    mm_heap_trim();
    for (round = 0; round < 3; round++) {
        for (i = 0; i < COUNT; i++) CHECK((blocks[i] = mm_heap_alloc(2000)) != NULL);
        CHECK(stats_now().spans >= 5);
        for (i = 0; i < COUNT; i++) mm_heap_free(blocks[i]);
        CHECK(stats_now().spans <= 2 + MMI_HEAP_IDLE_BASE / MMI_HEAP_SPAN_SIZE); /* by itself */
        mm_heap_trim();
        CHECK_EQ(stats_now().spans, 0);
        if (round > 0) CHECK_EQ(stats_now().metadata, metadata); /* records are used again */
        metadata = stats_now().metadata;
    }
    CHECK_QUIET();
}

#if defined(__GNUC__) || defined(__clang__)
#define TESTS_OF_GNU T(usable_before_main),
#else
#define TESTS_OF_GNU
#endif
#if defined(MMI_ASAN)
#define TESTS_OF_TOOL T(free_memory_is_poisoned),
#elif defined(MM_VALGRIND)
#define TESTS_OF_TOOL
#else
#define TESTS_OF_TOOL \
    T(check_notices_damage), T(damaged_link_does_not_crash_the_flush), \
        T(double_frees_in_another_thread_are_refused), T(double_frees_do_not_join_lists),
#endif
#if defined(MMI_ASAN) || defined(MM_VALGRIND)
#define TESTS_OF_RINGS
#else
#define TESTS_OF_RINGS T(rings_have_an_end),
#endif
#if UINTPTR_MAX > 0xffffffffu
#define TESTS_OF_64_BIT T(mappings_out_of_reach_are_refused),
#else
#define TESTS_OF_64_BIT
#endif
#ifdef MM_HEAP_SECURE
#define TESTS_OF_SECURE T(double_frees_of_two_threads_are_refused),
#else
#define TESTS_OF_SECURE T(trim_lets_go_of_what_lies_between_blocks), TESTS_OF_RINGS
#endif
#ifndef _WIN32
#define TESTS_OF_POSIX T(child_of_a_fork_in_a_storm_can_allocate), T(misaligned_mappings_are_used),
#else
#define TESTS_OF_POSIX
#endif

TEST_MAIN(TESTS_OF_GNU T(classes_cover_all_sizes), T(blocks_are_told_from_what_lies_between),
          T(every_size_is_usable_and_aligned), T(size_zero_is_unique),
          T(impossible_sizes_are_refused), T(alignments_times_sizes), T(calloc_is_zero_after_reuse),
          T(realloc_keeps_the_content), T(realloc_does_not_move_without_need),
          T(failed_realloc_leaves_the_block), T(checked_sizes), T(strings_are_copied_and_formatted),
          T(blocks_expand_in_place), T(handler_finds_memory), T(limit_is_kept),
          T(works_as_an_allocator), T(free_keeps_errno), T(foreign_pointers_are_refused),
          T(double_frees_are_refused), TESTS_OF_SECURE TESTS_OF_TOOL T(model_on_one_thread),
          T(model_on_four_threads), T(threads_free_each_others_blocks),
          T(blocks_go_home_in_parcels), T(one_thread_allocates_the_other_frees),
          T(caches_of_ended_threads_are_used_again), T(pages_of_ended_threads_are_adopted),
          T(blocks_find_an_owner_that_changed), T(destructors_may_use_the_heap),
          T(cache_is_found_again_by_the_key), T(works_without_a_key_for_the_end_of_threads),
          TESTS_OF_POSIX T(every_mapping_fails), T(records_of_huge_blocks_fail),
          TESTS_OF_64_BIT T(exhausted_heap_lives_on_what_it_has),
          T(chunks_are_joined_with_both_neighbours), T(unsorted_chunks_are_used_first),
          T(large_blocks_grow_in_place), T(huge_blocks_move_without_copying),
          T(alignments_on_a_fragmented_heap), T(chunks_of_ended_threads_are_adopted),
          T(freed_mappings_are_used_again), T(kept_mappings_are_bounded),
          T(limit_follows_what_is_needed_again), T(idle_chunks_are_let_go_of),
          T(huge_pages_are_asked_for),
          T(huge_pages_leave_nothing_that_was_never_used), T(wiping_leaves_nothing),
          T(works_where_nothing_can_be_let_go_of), T(stats_tell_what_is_held),
          T(empty_spans_go_back))
