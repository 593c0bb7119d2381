/* The tests of entries.c in a program that has the heap built in. */
#define MM_HEAP_IMPLEMENTATION
#define MM_HEAP_OVERRIDE
#define ENTRIES_INSIDE
#define _GNU_SOURCE
#include "../../mm_heap.h"
#include "entries.c"
