/* The tests of pool.c once more, without assertions and debug checks: what programs ship. */
#define NDEBUG
#include "pool.c"
