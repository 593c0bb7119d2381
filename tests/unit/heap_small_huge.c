/* Every size and alignment, where all above 4 KiB are mappings of their own. */
#define MM_HEAP_HUGE 4096
#include "heap_sizes.c"
