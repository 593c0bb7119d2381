/* mm_heap.h alone; compiled with and without its implementation. */
#include "mm_heap.h"

#ifdef MM_IMPLEMENTATION
int main(void)
{
    return mm_status_string(MM_STATUS_OK)[0] == 'o' ? 0 : 1;
}
#endif
