/* The test harness: no library, so that the tests run under musl, qemu and wine as well.
 *
 *     #define MM_IMPLEMENTATION
 *     #include "../../mm_buffer.h"
 *     #include "../harness.h"             (after the header under test: it uses mm_allocator)
 *     TEST(append_grows) { ...; CHECK(x == 3); CHECK_EQ(len, 5); CHECK_STR(s, "abc"); }
 *     TEST_MAIN(T(append_grows), T(another))
 *
 * A program runs its tests in order (those whose names contain argv[1], if given) and closes with
 * the line `N passed, N failed`; its exit status says whether all passed. A failed check prints
 * where, and ends its test. */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

static int test_failed; /* set by the first failed check of the running test */

#define TEST(name) static void name(void)
#define T(name) {#name, name}
#define TEST_MAIN(...) \
    int main(int argc, char **argv) \
    { \
        static const test_case cases[] = {__VA_ARGS__}; \
        return test_main(argc > 1 ? argv[1] : "", cases, sizeof(cases) / sizeof(cases[0])); \
    }

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            test_fail(__FILE__, __LINE__, #condition); \
            return; \
        } \
    } while (0)
#define CHECK_EQ(actual, expected) \
    do { \
        long long test_a = (long long)(actual), test_e = (long long)(expected); \
        if (test_a != test_e) { \
            test_fail(__FILE__, __LINE__, #actual " == " #expected); \
            printf("      got %lld, expected %lld\n", test_a, test_e); \
            return; \
        } \
    } while (0)
#define CHECK_STR(actual, expected) \
    do { \
        const char *test_a = (actual), *test_e = (expected); \
        if (test_a == NULL || strcmp(test_a, test_e) != 0) { \
            test_fail(__FILE__, __LINE__, #actual " is " #expected); \
            printf("      got \"%s\", expected \"%s\"\n", test_a ? test_a : "(null)", test_e); \
            return; \
        } \
    } while (0)
/* In a helper that a test calls: end the test when a check in the helper has failed. */
#define CHECK_SUB(call) \
    do { \
        call; \
        if (test_failed) return; \
    } while (0)

static inline void test_fail(const char *file, int line, const char *what)
{
    test_failed = 1;
    printf("FAIL  %s:%d: %s\n", file, line, what);
}

static inline int test_main(const char *only, const test_case *cases, size_t count)
{
    size_t i;
    int passed = 0, failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 4096);
    for (i = 0; i < count; i++) {
        if (strstr(cases[i].name, only) == NULL) continue;
        test_failed = 0;
        cases[i].run();
        if (test_failed) printf("FAIL  %s\n", cases[i].name);
        if (test_failed) failed++;
        else passed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}

/* A repeatable random number (xorshift64*); the state must not be 0. */
static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

/* An allocator that counts, refuses on demand, fills fresh memory with 0xA5, and checks that every
 * size given back is the size that was asked for. `test_allocator a; test_allocator_init(&a);`,
 * then pass &a.base. With fail_at = n the n-th call from now (1 is the next) fails; with
 * fail_for_ever all calls after it as well. At the end live_blocks must be 0. */
typedef struct test_allocator {
    mm_allocator base;
    size_t live_bytes, live_blocks, calls, failures;
    size_t fail_at;
    int fail_for_ever;
    int bad_sizes; /* frees and reallocs whose size was wrong */
} test_allocator;

#define TEST_HEADER 32 /* room for the size in front of a block, alignment kept */

static inline int test_allocator_refuses(test_allocator *a)
{
    a->calls++;
    if (a->fail_at == 0 || a->calls < a->fail_at) return 0;
    if (a->calls > a->fail_at && !a->fail_for_ever) return 0;
    a->failures++;
    return 1;
}

static inline void *test_alloc(size_t size, void *user_data)
{
    test_allocator *a = (test_allocator *)user_data;
    char *block;
    if (size == 0) a->bad_sizes++;
    if (test_allocator_refuses(a) || size > SIZE_MAX / 2) return NULL;
    block = (char *)malloc(size + TEST_HEADER);
    if (block == NULL) return NULL;
    memcpy(block, &size, sizeof(size));
    memset(block + TEST_HEADER, 0xA5, size);
    a->live_bytes += size;
    a->live_blocks++;
    return block + TEST_HEADER;
}

static inline void test_free(void *ptr, size_t size, void *user_data)
{
    test_allocator *a = (test_allocator *)user_data;
    char *block = (char *)ptr - TEST_HEADER;
    size_t asked;
    memcpy(&asked, block, sizeof(asked));
    if (asked != size) a->bad_sizes++;
    a->live_bytes -= asked;
    a->live_blocks--;
    memset(block, 0x5A, asked + TEST_HEADER);
    free(block);
}

/* Always moves, so that a stale pointer shows. */
static inline void *test_realloc(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    void *moved = test_alloc(new_size, user_data);
    if (moved == NULL || ptr == NULL) return moved;
    memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
    test_free(ptr, old_size, user_data);
    return moved;
}

static inline void test_allocator_init(test_allocator *a)
{
    memset(a, 0, sizeof(*a));
    a->base.alloc_fn = test_alloc;
    a->base.realloc_fn = test_realloc;
    a->base.free_fn = test_free;
    a->base.user_data = a;
}

/* Lets the n-th allocation from now fail (once, or for ever after). */
static inline void test_allocator_fail(test_allocator *a, size_t n, int for_ever)
{
    a->calls = a->failures = 0;
    a->fail_at = n;
    a->fail_for_ever = for_ever;
}
#endif
