/* The tests of mm_buffer.h once more, without its text functions. */
#define MM_BUFFER_NO_TEXT
#include "buffer.c"
