/* The tests of the text functions once more, where nothing is faster than a word. */
#define MM_BUFFER_NO_SIMD
#include "text.c"
