/* The tests of io.c once more, with the ways of systems that have neither sendfile nor openat2. */
#define MM_IO_NO_SENDFILE
#define MM_IO_NO_SPLICE
#define MM_IO_NO_OPENAT2
#include "io.c"
