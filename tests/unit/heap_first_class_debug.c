/* The tests of first-class heaps with MM_HEAP_DEBUG, which watches their blocks. It fills them, so
 * large ones begin earlier. */
#define MM_HEAP_DEBUG
#define MM_HEAP_HUGE 1048576
#include "heap_first_class.c"
