/* The tests of first-class heaps with mm_heap's checks of every pointer that is freed. */
#define MM_HEAP_SECURE
#include "heap_first_class.c"
