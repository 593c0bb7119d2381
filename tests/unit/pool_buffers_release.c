/* The tests of pool_buffers.c once more, without debug checks: what programs ship. */
#define NDEBUG
#include "pool_buffers.c"
