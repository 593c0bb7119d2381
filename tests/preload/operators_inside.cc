/* The tests of operators.cc in a program that has the heap built in. */
#define MM_HEAP_IMPLEMENTATION
#define MM_HEAP_OVERRIDE
#include "../../mm_heap.h"
#include "operators.cc"
