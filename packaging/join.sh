#!/bin/sh
# Joins the six headers into one, on standard output: mm.h, for who would rather copy one file.
set -e
cd "$(dirname "$0")/.."
version=$(sed -n '1s/.* - v\([0-9.]*\) - .*/\1/p' mm_buffer.h)
cat <<END
/* mm.h - v$version - the six headers of mm in one file - MIT or public domain

   Made of mm_buffer.h, mm_arena.h, mm_pool.h, mm_heap.h, mm_chunk.h and mm_io.h, whose manuals are
   below: search for "DO THIS". In exactly one C or C++ file:
       #define MM_IMPLEMENTATION
       #include "mm.h"
   Elsewhere include it without the define. MM_BUFFER_IMPLEMENTATION and so on implement one part
   each, with what it needs. Where there is no POSIX, mm_io is left out. */
END
for part in buffer arena pool heap chunk io; do
    printf '\n/* ======== mm_%s.h ======== */\n' $part
    [ $part != io ] || echo '#ifndef _WIN32'
    # The parts need no looking for each other here, and the block that all share, once.
    awk -v first=$part '
        /^#include "mm_/ { next }
        /^#ifndef MM_COMMON_/ && first != "buffer" { skip = 1 }
        !skip { print }
        /^#endif \/\* MM_COMMON_ \*\// { skip = 0 }' mm_$part.h
    [ $part != io ] || echo '#endif /* _WIN32 */'
done
