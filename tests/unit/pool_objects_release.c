/* The tests of pool_objects.c once more, without assertions and debug checks: what ships. */
#define NDEBUG
#include "pool_objects.c"
