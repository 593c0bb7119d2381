/* mm.c - the one file of the program that implements the six headers */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IO_SIGPIPE_IGNORED /* see life.c */
#define MM_IMPLEMENTATION
#include "../mm_arena.h"
#include "../mm_heap.h"
#include "../mm_io.h"
