/* The tests of io_sessions.c once more, with the callback that OpenSSL 1.1.1 has for tickets. */
#define OPENSSL_SUPPRESS_DEPRECATED
#define MM_IO_OPENSSL_1_1
#include "io_sessions.c"
