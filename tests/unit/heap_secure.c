/* The tests of mm_heap with its checks of every pointer that is freed. */
#define MM_HEAP_SECURE
#include "heap.c"
