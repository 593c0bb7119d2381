/* The tests of chunk.c once more, with the ways of systems that have neither pwritev, preadv2 nor
   O_TMPFILE. */
#define MM_CHUNK_NO_PWRITEV
#define MM_CHUNK_NO_NOWAIT
#define MM_CHUNK_NO_TMPFILE
#define MM_CHUNK_NO_DIRS
#include "chunk.c"
