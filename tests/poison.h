/* What a memory checker knows. Include it after the header under test. */
#ifndef TESTS_POISON_H
#define TESTS_POISON_H

/* Whether a memory checker runs, and what it knows about one byte. */
#if defined(MMI_ASAN)
#define TRACKED true
#define HIDDEN(ptr) (__asan_address_is_poisoned(ptr) != 0)
#elif defined(MM_VALGRIND)
#define TRACKED (RUNNING_ON_VALGRIND != 0)
static inline bool valgrind_hides(const void *ptr)
{
    unsigned char bits;
    return VALGRIND_GET_VBITS(ptr, &bits, 1) == 3; /* does not report */
}
#define HIDDEN(ptr) valgrind_hides(ptr)
#else
#define TRACKED false
#define HIDDEN(ptr) ((void)(ptr), false)
#endif
#endif
