/* The tests of first-class heaps with MM_HEAP_DEBUG, which watches their blocks. */
#define MM_HEAP_DEBUG
#include "heap_first_class.c"
