/* The implementation for all benchmarks, in a file of its own as a user has it: a benchmark that
 * had it inside would let the compiler inline what no user gets inlined. */
#define MM_IMPLEMENTATION
#define MM_IO_SIGPIPE_IGNORED /* as a server does; nor do those beside us keep the signal away */
#include "../../mm_arena.h"
#include "../../mm_buffer.h"
#include "../../mm_chunk.h"
#include "../../mm_heap.h"
#include "../../mm_io.h"
#include "../../mm_pool.h"
