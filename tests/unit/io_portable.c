/* The tests of io.c once more, with the ways of systems that have neither sendfile nor openat2, nor
   reads that do not wait. */
#define MM_CHUNK_NO_NOWAIT
#define MM_IO_NO_SENDFILE
#define MM_IO_NO_SPLICE
#define MM_IO_NO_OPENAT2
#include "io.c"
