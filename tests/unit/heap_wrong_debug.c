/* The programs that are wrong on purpose, with what is for debugging. */
#define WRONG_DEBUG
#define MM_HEAP_DEBUG
#include "heap_wrong.c"
