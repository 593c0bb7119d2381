/* What the tests of mm_pool.h share: the header itself, built with MM_DEBUG, so that the misuse
 * that only that finds is tested too (with NDEBUG what remains is the release build), assertions
 * that a test expects, poison, and patterns. */
#ifndef TESTS_POOL_TOOLS_H
#define TESTS_POOL_TOOLS_H
#ifndef NDEBUG
#define MM_DEBUG
#endif
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

/* A failed assertion ends the program, or the call that a test has announced as misuse. */
static jmp_buf misuse_return;
static int misuse_expected;

static void assertion_failed(const char *text)
{
    if (misuse_expected) longjmp(misuse_return, 1);
    printf("FAIL  assertion %s\n", text);
    abort();
}
#define MM_ASSERT(condition) ((condition) ? (void)0 : assertion_failed(#condition))

#define MM_POOL_IMPLEMENTATION
#include "../mm_pool.h"

#include "harness.h"
#include "poison.h"

/* Where there is no checker, what is right. */
#define CHECK_POISONED(ptr, expected) CHECK_EQ(TRACKED ? HIDDEN(ptr) : (expected), (expected))

#define CHECK_MISUSE(call) \
    do { \
        misuse_expected = 1; \
        if (setjmp(misuse_return) == 0) { \
            call; \
            misuse_expected = 0; \
            test_fail(__FILE__, __LINE__, #call " is found"); \
            return; \
        } \
        misuse_expected = 0; \
    } while (0)

/* A pattern that depends on the tag, so that no two live objects look alike. */
static inline void fill(void *ptr, size_t size, uint64_t tag)
{
    size_t i;
    for (i = 0; i < size; i++) ((unsigned char *)ptr)[i] = (unsigned char)(tag * 31 + i * 7 + 1);
}

static inline int is_filled(const void *ptr, size_t size, uint64_t tag)
{
    size_t i;
    for (i = 0; i < size; i++) {
        if (((const unsigned char *)ptr)[i] != (unsigned char)(tag * 31 + i * 7 + 1)) return 0;
    }
    return 1;
}

static inline int is_zero(const void *ptr, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)ptr;
    size_t i;
    for (i = 0; i < size; i++) {
        if (bytes[i] != 0) return 0;
    }
    return 1;
}
#endif
