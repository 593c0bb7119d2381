/* mm_heap.h - v0.1.0 - general-purpose heap for threads - MIT or public domain */
#if defined(MM_IMPLEMENTATION) && !defined(MM_HEAP_IMPLEMENTATION)
#define MM_HEAP_IMPLEMENTATION
#endif
#ifndef MM_HEAP_H_
#define MM_HEAP_H_
/*
NEEDS
    nothing but the C library and the system: POSIX threads or Windows

DO THIS
    In exactly one C (C11) or C++ (C++17) file of your program:

        #define MM_HEAP_IMPLEMENTATION
        #include "mm_heap.h"

    and include it without the first line everywhere else (C99, C++11). Link with -pthread where
    the C library keeps threads apart.
    MM_IMPLEMENTATION in place of MM_HEAP_IMPLEMENTATION serves all mm headers at once.

OPTIONAL DEFINES
    Before every include, alike in all files:
    MM_STATIC             the functions become private to the file (and so does the heap: a
                          block must be freed in the file that allocated it)
    MM_DLL_BUILD, MM_DLL  building, using a Windows DLL
    MM_ASSERT(c)          what to do about programmer errors; default assert(c)
    MM_VALGRIND           tell Valgrind what is free (needs <valgrind/memcheck.h>); ASan needs none
    MM_HEAP_DEBUG         know where each block comes from, and find what is wrong: see DEBUGGING

    Before the implementation:
    MM_HEAP_HUGE          requests above this many bytes get a mapping of their own; a plain number
                          from 4096 to 8388608, the default (32-bit: 1048576)
    MM_SYS_MMAP(size)     size bytes of zeroed memory, aligned to 4096 or more; NULL: there is none
    MM_SYS_MUNMAP(p, n)   gives back one whole mapping that MM_SYS_MMAP made; define both or none
    MM_SYS_PURGE(p, n)    lets go of whole pages of the system inside a mapping, so that they are
                          zero when they are touched next; false: it cannot. With a MM_SYS_MMAP of
                          yours the default is that it cannot, otherwise Linux' MADV_DONTNEED
    MM_SYS_MOVE(from, to, n)   moves whole pages of the system onto others, where n bytes are
                          mapped, and unmaps the old place; false: it cannot. Default as above,
                          mremap; when it is defined, MM_SYS_MUNMAP is called for parts of mappings
    MM_HEAP_LARGE_PAGES   bytes; once so many are mapped, new spans ask for transparent huge pages,
                          until something of them goes back; default 0, never: see MEMORY
    MM_SYS_LARGE(p, n, on)   asks for huge pages in n bytes at p, or for none; default Linux'
                          MADV_HUGEPAGE, but with a MM_SYS_MMAP of yours nothing
    MM_HEAP_CLOCK()       milliseconds, uint64_t; default: the system's time
    MM_THREAD_LOCAL       default _Thread_local, thread_local. In a library that is preloaded,
                          add __attribute__((tls_model("initial-exec")))
    MM_HEAP_OVERRIDE      malloc and all its kind, and operator new and delete, become this heap:
                          see REPLACING MALLOC
    MM_HEAP_PRELOAD       with it, in a C file that becomes a library to preload: the plain forms of
                          operator new and delete too (they need dlsym, but no C++ library)
    MM_HEAP_SECURE        make mistakes with memory end the program rather than be of use to an
                          attacker: see SECURITY
    MM_SYS_GUARD(p, n)    makes whole pages of the system untouchable, until they are unmapped;
                          false: it cannot. For MM_HEAP_SECURE; default mprotect, but none with a
                          MM_SYS_MMAP of yours
    MM_HEAP_QUARANTINE    bytes that MM_HEAP_DEBUG keeps from use after their free, a plain number;
                          default 16777216
    MM_HEAP_FATAL(message, ptr)
                          a pointer was passed that is no live block of the heap, or a block was
                          damaged; message, a text, is valid during the call. Default: a failed
                          MM_ASSERT, with MM_HEAP_OVERRIDE, _DEBUG or _SECURE a line to stderr and
                          abort(), as in the C library. It may leave by longjmp; when it returns,
                          the call has no effect, and mm_heap_stats.misuses counts it. Builds with
                          NDEBUG should define it: a double free that is only counted is still a
                          bug. No lock is held then. A free block that was written to is met by
                          calls that have no part in it, and go on without it: in a heap of one's
                          own it is told when all else is done. After a longjmp from there the
                          memory in question is lost, but no more

OVERVIEW
    malloc for a whole process, as functions of its own: nothing is replaced behind your back.
    Beside the process's heap there can be others (mm_heap_create), for a request, a plugin or a
    cache: all their blocks go at once, they have a limit and statistics of their own, and share
    nothing with it but the memory that nobody uses.

    Layers, bottom up, each a section of the implementation:

        operating system   zeroed mappings, and letting go of pages, through four macros
        page heap          spans of 4 MiB, cut into granules of 64 KiB; a page is a run of granules
                           that holds blocks of one size; the page map finds an address's page
        give back          what is idle returns to the system: beyond a limit at once, else slowly
        chunks             32 KiB to MM_HEAP_HUGE: an area is a span, or a mapping of 32 MiB, of
                           chunks of any size, with boundary tags; the unsorted cache has the last
                           that were freed, the sorted cache lists the others by size, joined with
                           their neighbours
        fast cache         one for each thread, as the two above: for each of 40 sizes up to 32 KiB
                           a list of blocks ready to be handed out, and the pages they came from
        huge blocks        a mapping each; freed ones are kept for a while
        debug              with MM_HEAP_DEBUG, a layer on top of all these

    Small blocks have no header. To allocate is to find the size's class and pop a block off a list
    of the calling thread's, without lock or atomic operation; to free is to look the address up in
    the page map and to push. A block freed by another thread goes home to its owner through a
    lock-free list, in parcels of up to 32. When a thread ends its cache is put on a shelf, where
    the next thread finds it, and others take pages and areas from it.

    What is thin in this version: mm_heap_trim does not reach into the caches of other threads that
    run, and what others free of theirs waits until they allocate again; what is idle goes back
    only while somebody calls, for there is no thread that would do it meanwhile. Without
    MM_HEAP_SECURE links in free blocks are plain addresses, and a write after free goes unnoticed.

EXAMPLE
    ---8<---
    #define MM_HEAP_IMPLEMENTATION
    #include "mm_heap.h"
    #include <stdio.h>

    int main(void)
    {
        mm_heap_stats stats;
        int *numbers = (int *)mm_heap_calloc(1000, sizeof(*numbers));
        if (numbers == NULL) return 1; // errno is ENOMEM
        mm_heap_get_stats(&stats);
        printf("%zu bytes live of %zu mapped\n", stats.live, stats.reserved);
        mm_heap_free(numbers);
        return 0;
    }
    --->8---

REPLACING MALLOC
    For a program that is built already:

        make heap
        LD_PRELOAD=$PWD/build/libmm_heap.so program

    For one that you build, define MM_HEAP_OVERRIDE in the one file before the implementation (a
    C++ file if operator new and delete are to be replaced directly; otherwise they come here by
    way of malloc and free). Then these names are the heap's, for every library in the process:

        malloc calloc realloc reallocarray free posix_memalign aligned_alloc memalign valloc
        pvalloc malloc_usable_size malloc_trim (cfree where the C library has it)
        operator new, new[], delete, delete[]: sized, aligned, nothrow

    They behave as glibc's: size 0 gives a block, but realloc of a block to size 0 frees it and
    returns NULL; memalign raises an alignment to a power of two; posix_memalign leaves errno alone;
    a foreign pointer ends the program with a message, and so does a second free where it is found
    (ERRORS). What the C library builds upon malloc (strdup, getline, ...) is served as well.
    mallopt, mallinfo and malloc_info are the C library's still, and say nothing about this heap.
    The C names are replaced on systems with ELF (Linux, the BSDs); on others, operator new and
    delete from a C++ file only. Not together with a sanitizer, which replaces them itself.

DEBUGGING
    Compile all files with -DMM_HEAP_DEBUG. Macros of the functions' names give the file and line of
    each call along, so callers stay as they are; what calls through a pointer, an mm_allocator or
    malloc (MM_HEAP_OVERRIDE) is known by the address that it returns to. What is found is told by
    MM_HEAP_FATAL, with the place where the block was allocated, that of its free, if it was freed,
    and where the program is now:

        mm_heap: block used after it was freed: 24 bytes at 0x7f..., allocated at conn.c:10
        (session), freed at conn.c:31; now at main.c:99

    - a second free, or realloc, also long after the first (the last 65,536 frees are remembered);
    - a pointer into a block, or to none; a size at mm_heap_free_sized that is not the block's;
    - a write before a block or beyond its last byte, exactly: the usable size is what was asked
      for. Looked at when the block is freed or moved, and for all blocks by mm_heap_check;
    - a write after free: freed blocks are filled (0xDF) and kept from use, in the order of the
      frees, up to MM_HEAP_QUARANTINE bytes, and looked at when they leave and by mm_heap_check.
      Larger ones are not kept. mm_heap_trim lets all go, and so does an allocation that would fail;
    - blocks of heaps of one's own, like all others: mm_heap_reset and mm_heap_destroy look at them
      all (so they take O(blocks)), and free them at the place of that call. A block that is passed
      to a function named _in, or to the allocator, of another heap;
    - what is live, by place: mm_heap_leaks, mm_heap_leaks_at_exit, mm_heap_tag, mm_heap_walk.
    Fresh memory is filled with 0xA5. A realloc moves always. Each block costs some 150 bytes more,
    an allocation with its release some 800 ns in place of 12. A limit has to allow for the guards,
    of 32 bytes at least. Statistics and mm_heap_walk know live blocks as the program does, with the
    sizes that were asked for; guards and quarantine are cached there.
    For a program that is built already:

        make heap-modes
        MM_HEAP_LEAKS=1 LD_PRELOAD=$PWD/build/libmm_heap_debug.so program

    prints what is live at the end to stderr; addr2line -e file address tells a place's line.

SECURITY
    With MM_HEAP_SECURE before the implementation (make heap-modes: build/libmm_heap_secure.so):
    - every pointer that is freed or reallocated is looked at. One into a block, to none, to a free
      one, to another heap's (at the functions named _in and the allocator), and a size at
      mm_heap_free_sized beyond the block's go to MM_HEAP_FATAL, which ends the program, with NDEBUG
      as well. What is not seen: a second free of a block that has been handed out again meanwhile,
      or that another thread frees at the very same time;
    - the link in a free block is under a random key of its page, and beside it stands a mark under
      the same key of where the block is and of the link. A block comes out of a list or a wait only
      if its mark is right, so who changes a byte of the first 16 of a free block ends the program,
      and can forge no link that leads elsewhere;
    - new blocks come in no order;
    - a freed block up to 32 KiB waits in one of 32 places (64 KiB of a class at most) until another
      takes the place, which is drawn at random; of chunks up to 256 KiB the last 8 wait, of
      mappings the last 2. Blocks that other threads freed wait when they have come home. A heap of
      one's own has such places, too; its reset empties them;
    - 64 KiB that cannot be touched lie before and behind each mapping: spans, and huge blocks, the
      size of which is a multiple of 64 KiB. They are address space, and count as committed;
    - records of pages, spans, threads and mappings lie in mappings of their own, in the release
      build too. What lies among the data is the link and mark in a free block, the word at the end
      of a live one, and the header of a chunk above 32 KiB: a size, which has to agree with the one
      behind the chunk when it is freed;
    - a live block ends in a word under a key that tells how much of it was asked for, and what lies
      right behind that, up to 8 bytes, is under a key as well (of huge blocks the size stands in
      their record, and the 8 bytes follow what was asked for). Whoever writes one byte too many, a
      string's end included, ends the program: the block is looked at when it is freed, by any
      thread, moved, resized or asked for its size; all live blocks by mm_heap_walk of NULL, chunks
      and huge blocks of a heap of one's own by mm_heap_check_in. The usable size is what was asked
      for, and a good size leaves room for the word: 8 bytes below a class.
    A write further beyond a block is noticed by what it hits: such a mark, a free block, the size
    behind a chunk, pages that cannot be touched. Not noticed is what goes past the 8 bytes and ends
    before the last word (above 128 bytes, what the class has more; of a huge block what remains
    of its 64 KiB), a byte that happens to be what was there (one in 256 or less, never 0), and
    what is written to blocks that mm_heap_reset or mm_heap_destroy frees: these look at none. Who
    can read what lies behind a block learns its mark, though not those of others.
    Keys come from the system's random numbers (getentropy, RtlGenRandom).

    What it costs (make bench T=heap, the lines "secure"; release is 1): blocks of 16 to 256 bytes,
    last in first out, 3.8 of the time; random lifetimes 2.6; hand-over from thread to thread 1.3,
    of processor time 1.85; a web server's requests 2.1; 4 KiB to 1 MiB 1.15; above 1.02. An
    allocation with its release and the loop around them takes 61 instructions: the looks at what
    is freed add 53, keys and marks 44, the wait 49, the marks behind live blocks 85, the order and
    the fences less than 1. In memory: 8 bytes a block, so that a request of just a class's size
    takes the next class.

COMPLEXITY AND STABILITY
    Allocating and freeing up to 32 KiB is O(1) and rarely takes a lock (amortised: it does when a
    page of 64 KiB or more comes or goes), up to MM_HEAP_HUGE as well, with more work; above,
    it takes the lock, and a search among up to 64 mappings that are kept. A call gives back 16 MiB
    at most. A block never moves, except by mm_heap_realloc, which makes blocks above 32 KiB larger
    in place where there is room, and moves the pages of huge ones instead of copying (Linux).
    Sizes are rounded up to a class, four to each power of two: less than 25 % is lost (blocks up
    to 128 bytes: to a multiple of 16), above 32 KiB up to an eighth, huge blocks to a multiple of
    64 KiB, whose untouched end costs address space alone. Every block is aligned to 16 bytes.

THREADS
    All functions may be called by all threads at any time, before main and in constructors, after
    main, and in destructors of thread-specific data. Not in signal handlers.
    So may those of a heap of one's own (named _in), one thread at a time being inside the heap, by
    a lock, of which all heaps share 32. An unshared heap has none, and belongs to one thread at a
    time: the program sees to that, also when another thread takes the heap over. Either way,
    mm_heap_free frees blocks of any heap from any thread without a lock. Before a heap is reset or
    destroyed all other threads must be done with it and with its blocks, their free included.
    After fork the child has the heap as it was; the caches of the threads that it lacks stay as
    they are: their blocks can be freed, but the memory is not used again by the child.
    A C library function that the heap calls may itself be built upon this heap.

MEMORY
    The heap is the one object in mm that belongs to the process. What is idle in the page heap and
    among freed mappings is kept for the next request, for a page that the system has to clear costs
    as much as thirty at hand: up to 4 MiB (and for each thread 4 MiB of chunks), the mapping freed
    last, and more if what was given back was needed again soon. A quarter of what was not touched
    for 250 ms goes back, as long as there are calls: who goes to sleep for long calls mm_heap_trim
    before, which gives back all of it, and pages of the system that lie between small live blocks,
    too. A thread keeps up to 64 KiB of each class, and an empty area. Records about spans, threads
    and heaps (some 0.3 %) are never given back, only used again. A heap of one's own keeps some
    free pages of each size to itself, and after a reset all of them.

    MM_HEAP_LARGE_PAGES, say 33554432, is for heaps of hundreds of MiB that live long, on Linux with
    /sys/kernel/mm/transparent_hugepage/enabled at madvise: blocks replaced at random among 100 MiB
    took 0.9 times as long, with a third of the page faults and 1 % more memory. It is not the
    default, for 200 MB that were filled and freed again and again took twice the system's time: it
    has to find whole huge pages. Huge blocks, which may be touched here and there only, never ask.

ERRORS
    Out of memory, and sizes above PTRDIFF_MAX: NULL and errno ENOMEM; nothing else has changed.
    An alignment that is no power of two: NULL and errno EINVAL.
    A foreign pointer: MM_HEAP_FATAL. Foreign are pointers that the page map does not know, those
    to free pages included. A pointer into the middle of a block, a second free: the same under
    MM_HEAP_SECURE and MM_HEAP_DEBUG; without them always for blocks above 32 KiB, for smaller ones
    where it costs nothing to see: the block that was freed last, and one that is on its way home
    from another thread, if again the thread that frees it is not its owner; if it is, when that
    joined the list on which the block travels with another.

LICENSE
    See the end of this file.
*/
#ifndef MM_COMMON_
#define MM_COMMON_
/* The common block: the same bytes in all six headers, and whichever header comes first defines it.
   Every macro under #ifndef can be defined before the first include, alike in all files. */
#define MM_VERSION "0.1.0"
#define MM_VERSION_NUMBER 100 /* major * 10000 + minor * 100 + patch */

#include <stdarg.h>  /* va_list, for the formatting functions */
#include <stdbool.h> /* bool */
#include <stddef.h>  /* size_t, NULL */
#include <stdint.h>  /* integers of a fixed width */

#if defined(__GNUC__) || defined(__clang__)
#define MM_NODISCARD __attribute__((warn_unused_result))
#define MM_NONNULL(index) __attribute__((nonnull(index)))
#define MM_NONNULL_ALL __attribute__((nonnull))
#define MM_MALLOC_LIKE __attribute__((malloc))
#define MM_ALLOC_SIZE(index) __attribute__((alloc_size(index)))
#define MM_ALLOC_SIZE2(count_index, size_index) __attribute__((alloc_size(count_index, size_index)))
#define MM_COLD __attribute__((cold, noinline))
#define MM_PURE __attribute__((pure))
#define MM_UNUSED __attribute__((unused))
#define MM_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define MM_MEMCPY(to, from, size) __builtin_memcpy(to, from, size)
#else
#include <string.h> /* memcpy, where no builtin stands in for it */
#define MM_NODISCARD
#define MM_NONNULL(index)
#define MM_NONNULL_ALL
#define MM_MALLOC_LIKE
#define MM_ALLOC_SIZE(index)
#define MM_ALLOC_SIZE2(count_index, size_index)
#define MM_COLD
#define MM_PURE
#define MM_UNUSED
#define MM_LIKELY(condition) (condition)
#define MM_MEMCPY(to, from, size) memcpy(to, from, size)
#endif
#if defined(__MINGW32__) && defined(__GNUC__) && !defined(__clang__)
#define MM_FORMAT(format_index, first) __attribute__((format(gnu_printf, format_index, first)))
#elif defined(__GNUC__) || defined(__clang__)
#define MM_FORMAT(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define MM_FORMAT(format_index, first)
#endif
#define MM_UNLIKELY(condition) (!MM_LIKELY(!(condition)))
#define MM_INLINE static inline MM_UNUSED

#ifndef MM_API /* extern; MM_STATIC: private to the file; MM_DLL_BUILD, MM_DLL: a Windows DLL */
#if defined(MM_STATIC)
#define MM_API static MM_UNUSED
#elif defined(MM_DLL_BUILD)
#define MM_API __declspec(dllexport)
#elif defined(MM_DLL)
#define MM_API __declspec(dllimport)
#else
#define MM_API extern
#endif
#endif

#ifndef MM_ASSERT /* programmer errors only; <assert.h> is included by the implementations */
#define MM_ASSERT(condition) assert(condition)
#define MMI_LIBC_ASSERT
#endif
#ifndef MM_MALLOC /* what an all-zero mm_allocator means; define all three or none */
#define MM_MALLOC(size) malloc(size)
#define MM_REALLOC(ptr, size) realloc(ptr, size)
#define MM_FREE(ptr) free(ptr)
#define MMI_LIBC_MALLOC /* <stdlib.h> is included by the implementations */
#endif

/* What a memory checker is told: POISON: nobody's; UNPOISON: the user's, bytes indeterminate. */
#if defined(__SANITIZE_ADDRESS__)
#define MMI_ASAN /* gcc's spelling */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MMI_ASAN /* clang's spelling */
#endif
#endif
#if defined(MM_TRACK_POISON)
#elif defined(MMI_ASAN)
#include <sanitizer/asan_interface.h> /* the poison functions of the compiler */
#define MM_TRACK_POISON(ptr, size) ASAN_POISON_MEMORY_REGION(ptr, size)
#define MM_TRACK_UNPOISON(ptr, size) ASAN_UNPOISON_MEMORY_REGION(ptr, size)
#elif defined(MM_VALGRIND) /* define it where valgrind/memcheck.h can be included */
#include <valgrind/memcheck.h> /* client requests */
#define MM_TRACK_POISON(ptr, size) (void)VALGRIND_MAKE_MEM_NOACCESS(ptr, size)
#define MM_TRACK_UNPOISON(ptr, size) (void)VALGRIND_MAKE_MEM_UNDEFINED(ptr, size)
#else
#define MM_TRACK_POISON(ptr, size) ((void)(ptr), (void)(size))
#define MM_TRACK_UNPOISON(ptr, size) ((void)(ptr), (void)(size))
#endif

typedef enum mm_status {    /* how an operation ended; after an error the object is as before */
    MM_STATUS_OK = 0,       /* done */
    MM_STATUS_NO_MEMORY,    /* the allocator or a budget refused */
    MM_STATUS_TOO_LARGE,    /* beyond what the type can hold; sizes that overflow */
    MM_STATUS_INVALID,      /* an argument or input that has no meaning */
    MM_STATUS_LIMIT,        /* a limit that the caller set is reached */
    MM_STATUS_AGAIN,        /* the descriptor is not ready; wait for it */
    MM_STATUS_YIELD,        /* the caller's share of work is used up; call again */
    MM_STATUS_CLOSED,       /* the peer has gone, or the end of the input */
    MM_STATUS_TRUNCATED,    /* a file is shorter than it was when it was queued */
    MM_STATUS_NO_SPACE,     /* disk full, or a quota or file-size limit reached */
    MM_STATUS_NO_FILES,     /* no file descriptor left */
    MM_STATUS_NOT_FOUND,    /* no such file or entry */
    MM_STATUS_DENIED,       /* permission, or a path that leaves its root */
    MM_STATUS_IO            /* another system error; errno is kept */
} mm_status;

/* Where memory comes from. All zero, or a NULL pointer to one: MM_MALLOC and friends. Otherwise all
   three functions are set. Blocks are aligned for any object; alloc_fn and realloc_fn return NULL
   when they fail, and a failed realloc_fn leaves the old block. Sizes are never 0; free_fn never
   sees NULL; realloc_fn may see NULL with old_size 0. The allocator must outlive its users. */
typedef struct mm_allocator {
    void *(*alloc_fn)(size_t size, void *user_data);
    void *(*realloc_fn)(void *ptr, size_t old_size, size_t new_size, void *user_data);
    void (*free_fn)(void *ptr, size_t size, void *user_data);
    void *user_data;
} mm_allocator;

#define mmi_has_allocator(a) ((a) != NULL && (a)->alloc_fn != NULL)
#define mmi_alloc(a, size) \
    (mmi_has_allocator(a) ? (a)->alloc_fn((size), (a)->user_data) : MM_MALLOC(size))
#define mmi_realloc(a, ptr, old_size, new_size) \
    (mmi_has_allocator(a) ? (a)->realloc_fn((ptr), (old_size), (new_size), (a)->user_data) \
                          : MM_REALLOC((ptr), (new_size)))
#define mmi_free(a, ptr, size) \
    (mmi_has_allocator(a) ? (a)->free_fn((ptr), (size), (a)->user_data) : MM_FREE(ptr))

/* A short English text for a status, static and never NULL. */
MM_INLINE const char *mm_status_string(mm_status status)
{
    static const char *const text[] = {
        "ok", "out of memory", "too large", "invalid argument or input", "limit reached",
        "try again when ready", "share of work used up", "closed", "file truncated",
        "no space left", "out of file descriptors", "not found", "permission denied",
        "input/output error"};
    size_t index = (size_t)status;
    return index < sizeof(text) / sizeof(text[0]) ? text[index] : "unknown status";
}

/* *result = a + b, a * b; false (and *result untouched) when the true value does not fit. */
MM_INLINE bool mm_size_add(size_t a, size_t b, size_t *result)
{
    if (a > SIZE_MAX - b) return false;
    *result = a + b;
    return true;
}

MM_INLINE bool mm_size_mul(size_t a, size_t b, size_t *result)
{
    if ((a | b) >> (sizeof(size_t) * 4) != 0 && b != 0 && a > SIZE_MAX / b) return false;
    *result = a * b;
    return true;
}

/* The smallest power of two that is >= size; 0 when there is none. */
MM_INLINE size_t mm_size_pow2(size_t size)
{
    size_t shift, value = size == 0 ? 0 : size - 1;
    for (shift = 1; shift < sizeof(size_t) * 8; shift *= 2) value |= value >> shift;
    return value + 1;
}

/* Atomic words. load acquires, store releases, add and cas do both; add returns the old value. */
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h> /* the Interlocked family */
#ifdef _WIN64
#define MMI_INTERLOCKED(name) name##64
#define MMI_LONG __int64
#else
#define MMI_INTERLOCKED(name) name
#define MMI_LONG long
#endif
#define mmi_interlocked(name, p, ...) \
    ((size_t)MMI_INTERLOCKED(name)((volatile MMI_LONG *)(p), __VA_ARGS__))
#define mmi_atomic_load(p) mmi_interlocked(_InterlockedExchangeAdd, p, 0)
#define mmi_atomic_store(p, v) ((void)mmi_interlocked(_InterlockedExchange, p, (MMI_LONG)(v)))
#define mmi_atomic_add(p, v) mmi_interlocked(_InterlockedExchangeAdd, p, (MMI_LONG)(v))
MM_INLINE bool mmi_atomic_cas(size_t *p, size_t *expected, size_t desired)
{
    size_t old = mmi_interlocked(_InterlockedCompareExchange, p, (MMI_LONG)desired,
                                 (MMI_LONG)*expected);
    bool same = old == *expected;
    *expected = old;
    return same;
}
#else
#define mmi_atomic_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define mmi_atomic_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define mmi_atomic_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define mmi_atomic_cas(p, expected, desired) \
    __atomic_compare_exchange_n((p), (expected), (desired), false, __ATOMIC_ACQ_REL, \
                                __ATOMIC_ACQUIRE)
#endif
#endif /* MM_COMMON_ */

#ifdef __cplusplus
extern "C" {
#endif

/* A heap of one's own, made by mm_heap_create. NULL stands for the process's, which always is. */
typedef struct mm_heap mm_heap;

/* What a heap is to be. All zero is a heap without a limit that all threads may use. */
typedef struct mm_heap_desc {
    const char *name; /* UTF-8, for statistics; up to 31 bytes are copied, in which what is no
                         character that can be printed becomes a question mark; NULL: "" */
    size_t limit;     /* bytes that it may take for its pages, chunks and huge blocks in all (see
                         mm_heap_create); 0: no limit */
    bool unshared;    /* one thread at a time uses the heap, so that its functions take no lock;
                         mm_heap_free may be called by all threads as ever */
} mm_heap_desc;

/* What a heap holds, in bytes unless said otherwise. Exact when no other thread is inside the heap;
   otherwise each figure is near the truth. live + cached + metadata = committed <= reserved. */
typedef struct mm_heap_stats {
    const char *name;   /* of a heap of one's own, valid as long as it; else "" */
    size_t live;        /* in blocks that are handed out, by the size of the block, in which
                           MM_HEAP_SECURE has a mark */
    size_t live_blocks; /* number of those blocks */
    size_t huge;        /* the part of live in blocks with a mapping of their own */
    size_t cached;      /* not live, but ready for use: free blocks, and what is kept of pages */
    size_t metadata;    /* mapped for records; 0 for one heap, whose record is the process's */
    size_t committed;   /* in memory, or promised to a live block: what is reserved less what costs
                           address space only, as it was never touched, or was given back */
    size_t reserved;    /* mapped from the system in all; of one heap: what it took of that */
    size_t peak;        /* highest value of reserved so far */
    size_t limit;       /* on reserved; 0: none */
    size_t returned;    /* bytes given back to the system so far; 0 for one heap */
    size_t spans;       /* number of spans; 0 for one heap */
    size_t caches;      /* number of frontend caches: about the most threads at a time so far */
    size_t heaps;       /* number of heaps that mm_heap_create made and that are still there */
    size_t failures;    /* number of requests that were refused */
    size_t misuses;     /* number of calls with a pointer that was no live block */
} mm_heap_stats;

/* What a heap holds of one size of block. The last two rows are the chunks, of any size up to
   MM_HEAP_HUGE, and the huge blocks. */
#define MM_HEAP_CLASS_ROWS 42
typedef struct mm_heap_class_stats {
    size_t size;        /* of the largest block in this row; SIZE_MAX: any */
    size_t live;        /* bytes in blocks that are handed out */
    size_t live_blocks; /* number of those blocks */
    size_t cached;      /* the other bytes of the row's pages, touched or not */
    size_t pages;       /* number of pages, areas of chunks, mappings of huge blocks */
} mm_heap_class_stats;

/* Allocate and free -------------------------------------------------------------------------- */

/* At least size bytes, indeterminate, aligned to 16. Size 0 gives a block like any other: unique,
   to be freed. NULL with errno ENOMEM when there is no memory, or size exceeds PTRDIFF_MAX. */
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE(1) MM_API void *mm_heap_alloc(size_t size);

/* The same for count * size bytes, all zero; a product that overflows is refused with ENOMEM. */
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE2(1, 2)
    MM_API void *mm_heap_calloc(size_t count, size_t size);

/* Makes a block size bytes large, keeping what fits of its content, and returns where it is now;
   ptr is invalid then. NULL with ENOMEM: ptr is valid and as before. Shrinking never fails.
   ptr NULL allocates. Size 0 returns a block of size 0, never NULL in place of a valid ptr.
   An alignment above 16 is not kept when the block moves. */
MM_NODISCARD MM_ALLOC_SIZE(2) MM_API void *mm_heap_realloc(void *ptr, size_t size);

/* Gives a block back, from any thread; errno is kept. NULL is ignored. */
MM_API void mm_heap_free(void *ptr);

/* The same for a caller who knows the size that was asked for last: another is a programmer error.
   One above the usable size is asserted; MM_HEAP_DEBUG finds every other. */
MM_API void mm_heap_free_sized(void *ptr, size_t size);

/* As mm_heap_alloc, at a multiple of alignment: any power of two, else NULL with errno EINVAL.
   Size need not be a multiple of it. Above 1 MiB of alignment each block is a mapping. */
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE(2)
    MM_API void *mm_heap_aligned_alloc(size_t alignment, size_t size);

/* mm_heap_realloc for count * size bytes; a product that overflows is refused with ENOMEM. */
MM_NODISCARD MM_ALLOC_SIZE2(2, 3)
    MM_API void *mm_heap_reallocarray(void *ptr, size_t count, size_t size);

/* Makes a block larger without moving it: true when size bytes can be used from now on, false when
   there is no room behind it, or it is of 32 KiB or less and not large enough as it is. A compiler
   that checks object sizes does not learn of it. */
MM_NODISCARD MM_NONNULL_ALL MM_API bool mm_heap_expand(void *ptr, size_t size);

/* Checked sizes and strings ------------------------------------------------------------------ */

/* mm_heap_alloc for a + b and for a * b bytes; what overflows is refused with ENOMEM. */
MM_NODISCARD MM_MALLOC_LIKE MM_API void *mm_heap_alloc_add(size_t a, size_t b);
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE2(1, 2) MM_API void *mm_heap_alloc_mul(size_t a, size_t b);

/* A copy of a string, of at most size bytes of it, to be freed; NULL with ENOMEM. */
MM_NODISCARD MM_NONNULL_ALL MM_API char *mm_heap_strdup(const char *text);
MM_NODISCARD MM_NONNULL_ALL MM_API char *mm_heap_strndup(const char *text, size_t size);

/* What printf would print, as a string to be freed. NULL with errno: ENOMEM, or what printf says
   about a format that it cannot print. */
MM_NODISCARD MM_NONNULL(1) MM_FORMAT(1, 2) MM_API char *mm_heap_format(const char *format, ...);
MM_NODISCARD MM_NONNULL(1) MM_FORMAT(1, 0)
    MM_API char *mm_heap_vformat(const char *format, va_list arguments);

/* Memory or the end -------------------------------------------------------------------------- */

/* Called when one of the functions below gets no memory for size bytes (SIZE_MAX: a product that
   overflows): true to try again, after something was freed; false, or no handler, to abort(). */
typedef bool (*mm_heap_handler)(size_t size, void *user_data);

/* Sets the handler for all threads, NULL for none; to be called before they need it. */
MM_API void mm_heap_set_handler(mm_heap_handler handler, void *user_data);

/* As the functions without x, but never NULL. */
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE(1) MM_API void *mm_heap_xalloc(size_t size);
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE2(1, 2)
    MM_API void *mm_heap_xcalloc(size_t count, size_t size);
MM_NODISCARD MM_ALLOC_SIZE(2) MM_API void *mm_heap_xrealloc(void *ptr, size_t size);
MM_NODISCARD MM_NONNULL_ALL MM_API char *mm_heap_xstrdup(const char *text);

/* Sizes -------------------------------------------------------------------------------------- */

/* The size of a live block, >= what was asked for; all of it may be used. NULL: 0. With
   MM_HEAP_DEBUG and MM_HEAP_SECURE just what was asked for, as is the good size of it with the
   former. A compiler that checks object sizes (_FORTIFY_SOURCE) knows the size asked for only: ask
   for a good size first where that is in the way. */
MM_API size_t mm_heap_usable_size(const void *ptr);

/* The size of the block that mm_heap_alloc(size) would return, or the most that it has room for
   (MM_HEAP_SECURE): asked for, it wastes nothing. Size itself when it is too large. */
MM_API size_t mm_heap_good_size(size_t size);

/* Heaps of one's own ------------------------------------------------------------------------- */

/* A new heap, whose blocks all go at once when it is reset or destroyed. desc NULL: all zero. NULL
   with ENOMEM, and nothing has changed. It takes pages of 64 KiB for each size of block up to
   8 KiB, and of 512 KiB for larger ones, of which as much is touched as is used; a limit should
   allow for that. 4 KiB of records (5 with MM_HEAP_DEBUG, 14 with MM_HEAP_SECURE), which a heap
   that is made after it is destroyed uses again. After fork the child has the heap, if it was not
   destroyed and the thread that forked was allowed to use it. */
MM_NODISCARD MM_API mm_heap *mm_heap_create(const mm_heap_desc *desc);

/* The heap and all its blocks are gone: O(pages), whatever lives in them. What it had goes to the
   process's heap, for all to use, and back to the system as what is freed. Nobody may be inside the
   heap, and no block of it may be used or freed from now on, by any thread: a stale free is found
   as a foreign pointer (see ERRORS), until the memory is used for other blocks. NULL is ignored. */
MM_API void mm_heap_destroy(mm_heap *heap);

/* The same for all blocks, but the heap remains, and keeps its pages and chunks for what is
   allocated next: as fast as the first time, without page faults. Huge blocks go to the process's
   heap. mm_heap_trim_in gives back what is kept. heap: not NULL. */
MM_NONNULL_ALL MM_API void mm_heap_reset(mm_heap *heap);

/* As the functions without _in, from that heap. NULL with ENOMEM also when its limit is reached;
   then what other threads have freed and what is idle in it was used first. */
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE(2)
    MM_API void *mm_heap_alloc_in(mm_heap *heap, size_t size);
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE2(2, 3)
    MM_API void *mm_heap_calloc_in(mm_heap *heap, size_t count, size_t size);
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE(3)
    MM_API void *mm_heap_aligned_alloc_in(mm_heap *heap, size_t alignment, size_t size);

/* ptr: NULL, or a block of that heap (asserted; MM_HEAP_DEBUG and MM_HEAP_SECURE tell). To a block
   of any heap mm_heap_realloc does the same: it stays there, and the call is a use of its heap. */
MM_NODISCARD MM_ALLOC_SIZE(3)
    MM_API void *mm_heap_realloc_in(mm_heap *heap, void *ptr, size_t size);

/* Frees a block of that heap for its next allocation. Another's is told with MM_HEAP_DEBUG and
   MM_HEAP_SECURE, and freed as by mm_heap_free without. That does so for a block of any heap, from
   any thread and without a lock, by way of a list that the heap takes in when it needs memory; who
   is allowed to use the heap is faster with this. */
MM_API void mm_heap_free_in(mm_heap *heap, void *ptr);

/* As an allocator ---------------------------------------------------------------------------- */

/* The heap for everything in mm that takes an allocator; valid as long as the heap. Its functions
   may be called by whoever may use the heap: all threads, if it is not unshared. */
MM_API const mm_allocator *mm_heap_allocator(mm_heap *heap);

/* Looking after it --------------------------------------------------------------------------- */

/* Gives all that is idle back to the system: in the page heap, among freed mappings, and in the
   caches of the calling thread and of those that ended, even pages of the system between live
   blocks. O(blocks in these caches + spans); its next use costs a fault for each page. */
MM_API void mm_heap_trim(void);

/* The same for what is idle in one heap, a use of it, and in the page heap; NULL: mm_heap_trim. */
MM_API void mm_heap_trim_in(mm_heap *heap);

/* Maps no more from the system while that would exceed so many bytes in all (stats.reserved, which
   counts address space: 4 or 32 MiB at a time); requests fail when what is mapped already does not
   serve them. What exceeds the limit when it is set stays. 0: no limit, as at first. */
MM_API void mm_heap_set_limit(size_t bytes);

/* Fills *stats, for the whole process, with all its heaps. O(granules + blocks that wait to go home
   + 50 for each record of a thread or a heap), and there are as many of these as threads and heaps
   ever were at a time; takes the page heap's lock. */
MM_NONNULL_ALL MM_API void mm_heap_get_stats(mm_heap_stats *stats);

/* The same for one heap, by any thread as long as it is there; NULL: for the whole process. */
MM_NONNULL(2) MM_API void mm_heap_get_stats_in(mm_heap *heap, mm_heap_stats *stats);

/* The same by size of block: MM_HEAP_CLASS_ROWS rows, the sizes ascending. Up to 32 KiB for each
   pair of threads, which the one has freed and not yet sent home to the other, count as live. With
   MM_HEAP_DEBUG a block counts with the size that was asked for, in the row in which it lies with
   its guards. */
MM_NONNULL(2) MM_API void mm_heap_get_class_stats(mm_heap *heap, mm_heap_class_stats *rows);

/* A live block, as mm_heap_walk finds it. */
typedef struct mm_heap_block {
    void *ptr;     /* where it starts */
    size_t size;   /* all of it that may be used, as mm_heap_usable_size tells */
    mm_heap *heap; /* whose it is; NULL: the process's */
    /* Where it was allocated, as in mm_heap_leak. Without MM_HEAP_DEBUG not known: NULL and 0. */
    const char *file;
    int line;
    const void *address;
    const char *tag;
} mm_heap_block;

/* Called for a block; false: enough. */
typedef bool (*mm_heap_visitor)(const mm_heap_block *block, void *user_data);

/* Visits the live blocks of a heap, in no order that means anything; of NULL, the live blocks of
   the whole process, those of all heaps included. False when the visitor had enough. It needs no
   memory, and takes O(pages + blocks): all free blocks are first brought home.
   One heap: as any use of it; what other threads free meanwhile may be visited. The process: all
   other threads must be outside of all heaps until it returns, as it looks into their caches.
   The visitor may read the block, and allocate from the process's heap and free what it so got, as
   printing does; such blocks are visited or not. It may not free other blocks, fork, trim, leave by
   longjmp (nor may the handler of a misuse of its own), or call a function that takes a heap of
   one's own: there may be a lock for both. */
MM_NONNULL(2) MM_API bool mm_heap_walk(mm_heap *heap, mm_heap_visitor visit, void *user_data);

/* Takes the next size bytes of a report; anything but OK ends it. */
typedef mm_status (*mm_heap_sink)(void *user_data, const char *bytes, size_t size);

typedef enum mm_heap_stats_format {
    MM_HEAP_STATS_PROMETHEUS, /* text exposition format 0.0.4: text/plain; version=0.0.4 */
    MM_HEAP_STATS_JSON        /* one object with the array heaps: RFC 8259 */
} mm_heap_stats_format;

/* Writes the statistics of some heaps (a NULL among them: of the whole process, whose name is "")
   with a row for each class that has pages, through the sink, in pieces of up to some 500 bytes;
   allocates nothing. No two heaps should have the same name: Prometheus would take them for one.
   OK, what the sink returned if not that, or INVALID for an unknown format, nothing written. */
MM_NODISCARD MM_NONNULL(4) MM_API mm_status
    mm_heap_stats_write(mm_heap *const *heaps, size_t count, mm_heap_stats_format format,
                        mm_heap_sink sink, void *user_data);

/* Whether the page heap, the calling thread's cache and the caches of ended threads are sound.
   O(granules + free blocks in these); for tests and for finding out who wrote where he should not.
   False: memory is damaged, trust nothing. */
MM_NODISCARD MM_API bool mm_heap_check(void);

/* Whether one heap is sound, a use of it; NULL: as mm_heap_check. */
MM_NODISCARD MM_API bool mm_heap_check_in(mm_heap *heap);

/* Who holds memory --------------------------------------------------------------------------- */

/* What is live of all that was allocated at one place of the program. */
typedef struct mm_heap_leak {
    const char *file;    /* of the call, valid for ever; NULL: not known, see address */
    int line;            /* in it; 0 where there is no file */
    const void *address; /* where the call returned to, if no file is known; NULL: unknown, too */
    const char *tag;     /* set by mm_heap_tag, valid for ever; NULL: none */
    size_t blocks;       /* number of live blocks */
    size_t bytes;        /* their sum, as they were asked for */
} mm_heap_leak;

/* Told of one place, no lock held. It may use the heap. *leak is valid during the call. */
typedef void (*mm_heap_leak_fn)(const mm_heap_leak *leak, void *user_data);

/* Calls leak_fn (unless NULL) for each place that has live blocks, in the order in which the places
   were first met; the number of live blocks in all. Without MM_HEAP_DEBUG all blocks are of one
   unknown place. O(places). */
MM_API size_t mm_heap_leaks(mm_heap_leak_fn leak_fn, void *user_data);

/* Has mm_heap_leaks called when the program ends by exit or by a return from main; the last call
   counts, leak_fn NULL: not any more. False without MM_HEAP_DEBUG, or when atexit is full. */
MM_API bool mm_heap_leaks_at_exit(mm_heap_leak_fn leak_fn, void *user_data);

/* Names what a live block is for, until it is freed; realloc keeps the name. Blocks with another
   tag are counted apart, as if they came from another place. tag is copied (once, and for ever: let
   there be few); NULL: none. Returns ptr, which may be NULL; without MM_HEAP_DEBUG that is all. */
MM_API void *mm_heap_tag(void *ptr, const char *tag);

#ifdef MM_HEAP_DEBUG /* what the macros of that mode call */
MM_NODISCARD MM_API void *mmi_heap_at(void *ptr, const char *file, int line);
MM_API void mmi_heap_free_from(void *ptr, const char *file, int line);
MM_API void mmi_heap_free_sized_from(void *ptr, size_t size, const char *file, int line);
MM_NODISCARD MM_API void *mmi_heap_realloc_from(void *ptr, size_t size, const char *file, int line);
MM_NODISCARD MM_API void *mmi_heap_xrealloc_from(void *ptr, size_t size, const char *file,
                                                 int line);
MM_NODISCARD MM_API void *mmi_heap_realloc_in_from(mm_heap *heap, void *ptr, size_t size,
                                                   const char *file, int line);
MM_API void mmi_heap_free_in_from(mm_heap *heap, void *ptr, const char *file, int line);
MM_NONNULL(1) MM_API void mmi_heap_reset_from(mm_heap *heap, const char *file, int line);
MM_API void mmi_heap_destroy_from(mm_heap *heap, const char *file, int line);

MM_INLINE size_t mmi_heap_product(size_t count, size_t size)
{
    size_t total;
    return mm_size_mul(count, size, &total) ? total : SIZE_MAX;
}
#endif

#ifdef __cplusplus
}
#endif
#endif /* MM_HEAP_H_ */

#if defined(MM_HEAP_IMPLEMENTATION) && !defined(MMI_HEAP_IMPLEMENTED)
#define MMI_HEAP_IMPLEMENTED

#ifdef MM_HEAP_DEBUG /* the macros at the end of this file */
#undef mm_heap_alloc
#undef mm_heap_calloc
#undef mm_heap_aligned_alloc
#undef mm_heap_realloc
#undef mm_heap_reallocarray
#undef mm_heap_free
#undef mm_heap_free_sized
#undef mm_heap_alloc_add
#undef mm_heap_alloc_mul
#undef mm_heap_strdup
#undef mm_heap_strndup
#undef mm_heap_format
#undef mm_heap_vformat
#undef mm_heap_xalloc
#undef mm_heap_xcalloc
#undef mm_heap_xrealloc
#undef mm_heap_xstrdup
#undef mm_heap_alloc_in
#undef mm_heap_calloc_in
#undef mm_heap_aligned_alloc_in
#undef mm_heap_realloc_in
#undef mm_heap_free_in
#undef mm_heap_reset
#undef mm_heap_destroy
#endif

#ifdef MMI_LIBC_ASSERT
#include <assert.h> /* MM_ASSERT */
#endif
#include <errno.h>  /* ENOMEM, EINVAL */
#include <stdio.h>  /* vsnprintf */
#include <stdlib.h> /* abort */
#include <string.h> /* memset, memcpy, strlen, memchr */
#include <time.h>   /* timespec_get: what is not used goes back after a while */
#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h> /* VirtualAlloc, SRWLOCK, fiber-local storage for the end of a thread */
#else
#include <pthread.h>  /* one mutex, one key for the end of a thread, pthread_atfork */
#include <sys/mman.h> /* mmap, madvise */
#include <unistd.h>   /* sysconf */
#endif

#ifndef MM_HEAP_HUGE
#if UINTPTR_MAX > 0xffffffffu
#define MM_HEAP_HUGE 8388608
#else
#define MM_HEAP_HUGE 1048576
#endif
#endif
#if MM_HEAP_HUGE < 4096 || MM_HEAP_HUGE > 8388608
#error "MM_HEAP_HUGE is to be a number from 4096 to 8388608"
#endif
#if !defined(MM_HEAP_FATAL) && \
    (defined(MM_HEAP_OVERRIDE) || defined(MM_HEAP_DEBUG) || defined(MM_HEAP_SECURE))
#define MM_HEAP_FATAL(message, ptr) mmi_heap_die(message)
#endif
static MM_UNUSED void mmi_heap_print(const char *text)
{
#ifdef _WIN32
    (void)fputs(text, stderr);
#else
    ssize_t written = write(STDERR_FILENO, text, strlen(text)); /* as a stream would allocate */
    (void)written;
#endif
}

static MM_UNUSED MM_COLD void mmi_heap_die(const char *message)
{
    mmi_heap_print(message);
    mmi_heap_print("\n");
    abort();
}
#ifndef MM_HEAP_FATAL
#define MM_HEAP_FATAL(message, ptr) MM_ASSERT((message) == NULL)
#endif
#ifndef MM_THREAD_LOCAL
#if defined(__cplusplus)
#define MM_THREAD_LOCAL thread_local
#elif defined(_MSC_VER) && !defined(__clang__)
#define MM_THREAD_LOCAL __declspec(thread)
#else
#define MM_THREAD_LOCAL _Thread_local
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

// >>types

#define MMI_HEAP_ADDRESS_BITS (sizeof(void *) == 8 ? 48 : 32)
#define MMI_HEAP_GRANULE_BITS 16 /* what Windows aligns a mapping to */
#define MMI_HEAP_GRANULE ((size_t)1 << MMI_HEAP_GRANULE_BITS)
#define MMI_HEAP_SPAN_GRANULES 64 /* the bits of a mask */
#define MMI_HEAP_SPAN_SIZE (MMI_HEAP_GRANULE * MMI_HEAP_SPAN_GRANULES)
#define MMI_HEAP_ALL_FREE (~(uint64_t)0)
#define MMI_HEAP_META_CHUNK ((size_t)256 << 10)

#define MMI_HEAP_ALIGN 16
#define MMI_HEAP_CLASSES 40
#define MMI_HEAP_CLASS_MAX ((size_t)32768)     /* the size of the last class */
#define MMI_HEAP_SMALL_MAX ((size_t)8192)      /* a page of up to this block size is one granule */
#define MMI_HEAP_MEDIUM_GRANULES 8             /* above, at least 16 blocks fit as well */
#define MMI_HEAP_AREA MMI_HEAP_CLASSES         /* page.index of an area of chunks */
#define MMI_HEAP_DIRECT (MMI_HEAP_CLASSES + 1) /* page.index of a mapping of its own */
#define MMI_HEAP_CHUNK_HEADER ((size_t)16)
#define MMI_HEAP_CHUNK_UNIT ((size_t)64)  /* chunk sizes are multiples of this */
#define MMI_HEAP_CHUNK_MIN ((size_t)1024) /* no smaller rest is split off */
#define MMI_HEAP_AREA_START (MMI_HEAP_CHUNK_UNIT - MMI_HEAP_CHUNK_HEADER) /* blocks are aligned */
#define MMI_HEAP_CHUNK_MAX ((size_t)24 << 20) /* of a request, with what alignment costs */
#define MMI_HEAP_SPAN_CHUNK \
    ((size_t)1200000)                      /* the largest for whose sake a span becomes an area; */
#define MMI_HEAP_REGION ((size_t)32 << 20) /* above, it is a mapping of this size */
#define MMI_HEAP_WAITING 16                /* chunks in the unsorted cache, each */
#define MMI_HEAP_WAITING_MAX ((size_t)256 << 10) /* of up to this size */
#define MMI_HEAP_BINS 120   /* of the sorted cache: eight for each doubling from 1 KiB to 32 MiB */
#define MMI_HEAP_BIN_LOOK 8 /* chunks of a bin that are looked at, where not all are large enough */
#define MMI_HEAP_FAST_LEAST 8  /* free blocks that a list takes of any page, at first; after each */
#define MMI_HEAP_FAST_STEP 32  /* refill so many more, */
#define MMI_HEAP_FAST_MOST 256 /* up to this many */
#define MMI_HEAP_FAST_BYTES ((size_t)65536) /* and this much, if that is not less than at first */
#define MMI_HEAP_FEW_USED 4 /* a page with fewer may be kept from going by the blocks in the list */
#define MMI_HEAP_LISTED (MMI_HEAP_FEW_USED - 1)
#define MMI_HEAP_KEEP_LISTED 4       /* pages of a class, so few that it does not matter */
#define MMI_HEAP_KEEP_PAGES 2        /* pages of a class that are kept though they are empty */
#define MMI_HEAP_PARCELS 8           /* owners at a time for whom a thread collects blocks, */
#define MMI_HEAP_PARCEL_COUNT 32     /* this many at most, so that an atomic operation is shared */
#define MMI_HEAP_PARCEL_BYTES 32768u /* by many, and no more than these wait */
#define MMI_HEAP_CARVE_LEAST \
    1024u /* bytes cut off a page at first: a thread that does little
                                        has to bring all home at its end; then as many as were */
#define MMI_HEAP_CARVE_MOST \
    16384u /* before, up to this: 300,000 blocks of 48 bytes took 1.1
                                        times as long with 4096 each time */

#if defined(__GNUC__) || defined(__clang__)
#define MMI_HEAP_NOINLINE __attribute__((noinline))
#else
#define MMI_HEAP_NOINLINE
#endif

/* What MM_HEAP_SECURE does, each by itself so that its cost can be told. */
#ifdef MM_HEAP_SECURE
#define MMI_HEAP_CHECKED 1 /* free blocks are marked, and every pointer that is freed looked at */
#else
#define MMI_HEAP_CHECKED 0
#endif
/* Without it, blocks are marked while they are on their way home from another thread, when a second
   free of one would join lists or bend one to a ring. A memory checker finds it by itself. */
#if defined(MM_HEAP_SECURE) || defined(MMI_ASAN) || defined(MM_VALGRIND)
#define MMI_HEAP_TRAVEL 0
#else
#define MMI_HEAP_TRAVEL 1
#endif
#ifndef MMI_HEAP_ENCODED
#define MMI_HEAP_ENCODED MMI_HEAP_CHECKED /* links and marks are under a key of their page */
#endif
#ifndef MMI_HEAP_SHUFFLED
#define MMI_HEAP_SHUFFLED MMI_HEAP_CHECKED /* new blocks come in no order */
#endif
#ifndef MMI_HEAP_DELAYED
#define MMI_HEAP_DELAYED MMI_HEAP_CHECKED /* freed blocks wait before they are handed out again */
#endif
#ifndef MMI_HEAP_GUARDED
#define MMI_HEAP_GUARDED MMI_HEAP_CHECKED /* pages around each mapping cannot be touched */
#endif
#ifndef MMI_HEAP_SEALED /* a mark lies behind what was asked for; MM_HEAP_DEBUG has guards there */
#ifdef MM_HEAP_DEBUG
#define MMI_HEAP_SEALED 0
#else
#define MMI_HEAP_SEALED MMI_HEAP_CHECKED
#endif
#endif
#define MMI_HEAP_SEAL (MMI_HEAP_SEALED ? sizeof(uint64_t) : (size_t)0) /* bytes at a block's end */
#define MMI_HEAP_FENCE (MMI_HEAP_GUARDED ? MMI_HEAP_GRANULE : (size_t)0)
#define MMI_HEAP_DELAY 32                    /* places for blocks of a class that wait, */
#define MMI_HEAP_DELAY_BYTES ((size_t)65536) /* fewer if they exceed this together */
#define MMI_HEAP_DELAY_CHUNKS (MMI_HEAP_DELAYED ? (size_t)8 : (size_t)0) /* the last of these in */
#define MMI_HEAP_DELAY_HUGE 2                /* their lists are not taken */

/* The start of a free block. */
typedef struct mmi_heap_block {
    struct mmi_heap_block *next; /* coded, see mmi_heap_code */
    uint64_t key; /* mmi_heap_mark_of(), or something else while live: with MM_HEAP_SECURE while
                     free, without it on the way home to a thread, see MMI_HEAP_TRAVEL */
} mmi_heap_block;

/* What MM_SYS_MMAP returned, to be unmapped whole. */
typedef struct mmi_heap_mapping {
    void *base;
    size_t size;
    size_t room; /* bytes that can be used from where the first aligned one is */
} mmi_heap_mapping;

/* A run of granules. Fields are fixed while blocks of it are live, unless they say who writes.
   "atomic": others read it at any time, so it is only read and written with peek and poke. */
typedef struct mmi_heap_page {
    size_t owner;               /* the mmi_heap_cache + MMI_HEAP_OWNER_..., 0 if huge; atomic */
    struct mmi_heap_fast *fast; /* the owner's list of its class; owner only */
    mmi_heap_block *free;       /* blocks that came home; owner only */
    size_t used;                /* carved blocks not in free; area: bytes; owner writes, atomic */
    size_t carved;              /* blocks that were ever made; area: live ones; likewise */
    size_t turn;                /* with this many used, or fewer, mmi_heap_page_turn looks at it:
                                   MMI_HEAP_LISTED while it is in its owner's list, for it has
                                   blocks to give, otherwise any number; owner only */
    char *start;                /* the first block */
    size_t block_size; /* bytes, a multiple of 16; up to here what free needs: a cache line */
    uint64_t inverse;  /* 2^32 / units, rounded up; 0 when there is one block only */
    size_t units;      /* block_size / 16; 0 when there is one block only */
    size_t index;      /* class, MMI_HEAP_AREA or MMI_HEAP_DIRECT */
    size_t granules;   /* length; 0: no page starts here */
    size_t capacity;   /* number of blocks that fit */
    struct mmi_heap_page *prev, *next; /* in the owner's list of its class or of areas, or among
                                          huge blocks */
    struct mmi_heap_span *span;        /* NULL for a huge block */
    uint64_t holes[2]; /* a bit for each page of the system that was let go of; owner only */
    size_t dropped;    /* free blocks in holes, and so in no list; owner only */
    struct mmi_heap_page *own_prev, *own_next; /* among all that a first-class heap has */
    size_t hollow;                             /* bytes in holes; owner writes, atomic */
    size_t clean;  /* 1: what was never carved is not in memory; owner writes, atomic */
    uint64_t key;  /* MM_HEAP_SECURE: links and marks of its free blocks are under this */
} mmi_heap_page;
#define MMI_HEAP_OWNER_AREA ((size_t)1) /* so that mm_heap_free, which compares the field to the */
#define MMI_HEAP_OWNER_HEAP ((size_t)2) /* thread's cache, takes the slow path for these */
#define MMI_HEAP_OWNER_FLAGS ((size_t)3)

/* A mapping that is cut into pages. All fields belong to the page heap's lock. */
typedef struct mmi_heap_span {
    mmi_heap_page pages[MMI_HEAP_SPAN_GRANULES]; /* by their first granule; each on a cache line */
    mmi_heap_mapping mapping;
    char *start;                       /* the first granule */
    uint64_t free;                     /* a bit for each free granule */
    uint64_t dirty;                    /* a bit for each that was used since it was last zero */
    size_t large;                      /* 1: asks for huge pages; 2: did, and what was never used
                                          may be in memory; atomic */
    size_t longest;                    /* longest run of free granules; the bin it lies in */
    struct mmi_heap_span *prev, *next; /* all spans; next also chains spare records */
    struct mmi_heap_span *bin_prev, *bin_next;
} mmi_heap_span;

/* A block with a mapping of its own. */
typedef struct mmi_heap_huge {
    mmi_heap_page page; /* first: the page map points here */
    mmi_heap_mapping mapping;
    size_t room;          /* bytes from page.start that can be used */
    struct mm_heap *heap; /* whose block it is; NULL: the process's, or none */
#if MMI_HEAP_SEALED
    size_t asked; /* bytes of the live block that are the program's; under the lock of its heap */
#endif
    struct mmi_heap_huge *region_prev, *region_next; /* while it is an area */
} mmi_heap_huge;

/* The header of a medium chunk, and what follows it while the chunk is free. The size of a chunk
   stands in it and again, as a boundary tag, in the header behind it. */
typedef struct mmi_heap_chunk {
    size_t before; /* size of the chunk in front; 0: this is the area's first */
    size_t size;   /* bytes, this header included; | MMI_HEAP_CHUNK_... */
#if UINTPTR_MAX <= 0xffffffffu
    size_t pad[2]; /* the block starts at 16 */
#endif
    struct mmi_heap_chunk *prev, *next; /* in the list of its bin; coded, see mmi_heap_chunk_link */
} mmi_heap_chunk;
#define MMI_HEAP_CHUNK_USED ((size_t)1)    /* a live block, or on its way home */
#define MMI_HEAP_CHUNK_WAITING ((size_t)2) /* in the unsorted cache */
#define MMI_HEAP_CHUNK_CLEAN ((size_t)4)   /* zero behind the fields above */
#define MMI_HEAP_CHUNK_FLAGS ((size_t)7)

/* A chunk of the unsorted cache; its size stands here too, so that a search touches no chunk. */
typedef struct mmi_heap_waiting {
    mmi_heap_chunk *chunk;
    size_t size;
} mmi_heap_waiting;

/* The fast cache of one class: what is left of a page's free blocks, and some of any page. */
typedef struct mmi_heap_fast {
    mmi_heap_block *list; /* last in, first out */
    size_t over;          /* the length of list less the limit, as a signed number; atomic */
    size_t limit;         /* up to this length it takes blocks of any page; atomic */
    mmi_heap_page *page;  /* whose blocks it takes beyond that; NULL: none */
} mmi_heap_fast;

/* Blocks that this thread freed and another one owns, until there are enough for one push. */
typedef struct mmi_heap_parcel {
    struct mmi_heap_cache *owner;
    mmi_heap_block *first, *last;
    size_t count, bytes; /* atomic */
} mmi_heap_parcel;

/* The frontend cache of one thread, or of none: then it lies on the shelf. Never freed. Or of a
   first-class heap, which is no thread's, and has neither parcels nor a place on the shelf. */
typedef struct mmi_heap_cache {
    mmi_heap_fast fast[MMI_HEAP_CLASSES];
    mmi_heap_parcel parcels[MMI_HEAP_PARCELS];       /* by the owner's number */
    size_t number;                                   /* how many caches were made before */
    mmi_heap_page *partial[MMI_HEAP_CLASSES];        /* own pages that have blocks to give */
    size_t listed[MMI_HEAP_CLASSES];                 /* how many these are */
    mmi_heap_waiting unsorted[MMI_HEAP_WAITING];     /* a ring; size 0: nothing */
    size_t unsorted_next;                            /* the oldest, to be replaced */
    uint64_t sorted_bits[(MMI_HEAP_BINS + 63) / 64]; /* which lists have a chunk */
    mmi_heap_chunk *sorted[MMI_HEAP_BINS];
    mmi_heap_page *areas;
    struct mm_heap *heap;  /* NULL: of a thread; fixed */
    size_t idle, idle_low; /* bytes in sorted chunks that are not clean; the least since ticked */
    size_t idle_high;      /* the most since then */
    size_t idle_limit;     /* as in the page heap */
    size_t clean;          /* bytes in sorted chunks that are clean; owner writes, atomic */
    size_t purged;
    uint64_t ticked;
    size_t until_tick;                 /* chunks to be freed before the clock is read again */
    bool home;                         /* on the shelf: all but what is in remote is home */
    const char *damage;                /* what is still to be told, NULL: nothing; see found */
    const void *damaged;               /* of which block */
    struct mmi_heap_cache *next;       /* all caches, under the lock */
    struct mmi_heap_cache *shelf_next; /* under the lock */
#if MMI_HEAP_DELAYED
    mmi_heap_block *delayed[MMI_HEAP_CLASSES][MMI_HEAP_DELAY]; /* marked, in no list; NULL: none */
    size_t delayed_count[MMI_HEAP_CLASSES];                    /* atomic */
    uint64_t random;
#endif
    char apart[64]; /* what others write is to lie in another cache line than the lists */
    size_t remote;  /* list of blocks that other threads freed; atomic, see remote_push */
} mmi_heap_cache;

/* Heaps share some locks, so that a fork, which has to take all, takes few: thread sanitizers
   cannot follow more than 64 at a time. */
#define MMI_HEAP_LOCKS 32

#ifdef MM_HEAP_DEBUG
/* What is live of a row of the class statistics, without guards. */
typedef struct mmi_heap_known {
    size_t blocks, bytes;
} mmi_heap_known;
#endif

/* A first-class heap: a cache that is used under a lock, and a list of all it has, by which this
   can be given back at once. The record stays when the heap is destroyed, for another one. */
struct mm_heap {
    mmi_heap_cache cache;   /* first, so that an owner leads here; under the heap's lock */
    mmi_heap_page *pages;   /* pages, areas, huge blocks; under the page heap's lock */
    mmi_heap_page *cursor;  /* the page that mm_heap_walk visits next; likewise */
    size_t held, peak;      /* bytes in these; written under the page heap's lock, atomic */
    size_t limit;           /* on held; 0: none */
    size_t failures;        /* atomic */
    size_t live;            /* 0: it was destroyed; atomic */
    mm_allocator allocator; /* what mm_heap_allocator returns */
    struct mm_heap *next;   /* all records, the newest first; fixed */
    struct mm_heap *spare_next;
    size_t number; /* how many records there were before; fixed */
    bool unshared;
    char name[32];
#ifdef MM_HEAP_DEBUG
    struct mmi_heap_trace *traces; /* of its blocks, live or held; under the page heap's lock */
    mmi_heap_known known[MM_HEAP_CLASS_ROWS]; /* likewise */
#endif
};

typedef char mmi_heap_assert_chunk[offsetof(mmi_heap_chunk, prev) == 16 ? 1 : -1];
typedef char mmi_heap_assert_block[sizeof(mmi_heap_block) <= MMI_HEAP_ALIGN ? 1 : -1];
typedef char mmi_heap_assert_word[sizeof(size_t) == sizeof(void *) ? 1 : -1];

/* The page heap's state, under the lock unless said otherwise. Nothing needs initialising. */
typedef struct mmi_heap_central {
    mmi_heap_span *spans;
    mmi_heap_span *bins[MMI_HEAP_SPAN_GRANULES]; /* by longest - 1; full spans are in none */
    uint64_t bin_bits;                           /* which bins have a span */
    size_t empty;                                /* spans without a page */
    mmi_heap_span *spare_spans;                  /* records for the next span */
    mmi_heap_page *huge;                         /* live huge blocks */
    mmi_heap_huge *regions;                      /* areas that are mappings of their own */
    mmi_heap_page *spare_huge;                   /* records for the next one, by next */
    mmi_heap_page *kept, *kept_last;             /* free huge blocks, the newest first */
    size_t kept_count;
    size_t idle;       /* bytes: kept mappings, and free granules that are dirty */
    size_t idle_low;   /* the least that idle was since ticked */
    size_t idle_high;  /* the most */
    size_t idle_limit; /* how much more than the base may be idle, see mmi_heap_regret */
    size_t purged;     /* bytes given back lately because of the limit */
    size_t walkers;    /* while there are any, no span is unmapped, nothing leaves quarantine */
    size_t walking;    /* those of the process, during which other threads are elsewhere */
    uint64_t ticked;
    size_t until_tick;
    mmi_heap_span *purge_at; /* the span to look at next, NULL: the first */
    mmi_heap_cache *caches;
    mmi_heap_cache *shelf, *shelf_last; /* caches without a thread; taken first, put last */
    size_t heaps;                       /* first of the list of all mm_heap records; atomic */
    struct mm_heap *spare_heaps;        /* those that are destroyed */
    char *meta;                         /* rest of the newest chunk of records */
    size_t meta_left;
    size_t committed, peak, metadata; /* bytes */
    size_t huge_bytes, huge_blocks;
    size_t failures, misuses; /* atomic, not under the lock */
    size_t returned;          /* likewise */
    size_t limit;             /* on committed; 0: none; atomic */
    mm_heap_handler handler;  /* set by the program, before it is needed */
    void *handler_data;
    uint64_t secret; /* not 0; set before there is the first block */
    uint64_t random; /* state of mmi_heap_random */
    size_t started;  /* see mmi_heap_start; atomic */
    bool key_works;  /* set before started is */
    size_t os_page;  /* likewise: bytes in a page of the system */
} mmi_heap_central;

static mmi_heap_central mmi_heap_here;

/* A thread that has no cache points to one of these, whose lists are empty for ever, so that the
   hot paths need no test: the first before the thread's first allocation, the second after its
   end, when destructors may still come and allocate. */
static mmi_heap_cache mmi_heap_no_cache[2];
static MM_THREAD_LOCAL mmi_heap_cache *mmi_heap_mine = &mmi_heap_no_cache[0];

/* Plain loads and stores that other threads may watch: atomic, without any ordering. */
#if defined(__GNUC__) || defined(__clang__)
#define mmi_heap_peek(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define mmi_heap_poke(p, value) __atomic_store_n((p), (value), __ATOMIC_RELAXED)
#else
#define mmi_heap_peek(p) (*(const volatile size_t *)(p))
#define mmi_heap_poke(p, value) (*(volatile size_t *)(p) = (value))
#endif

static MM_COLD void mmi_heap_misuse(const char *message, const void *ptr)
{
    mmi_atomic_add(&mmi_heap_here.misuses, 1);
    MM_HEAP_FATAL(message, ptr);
    (void)message, (void)ptr;
}

static MM_COLD void mmi_heap_freed_twice(const void *ptr)
{
    mmi_heap_misuse("mm_heap: block freed twice", ptr);
}

static MM_COLD void mmi_heap_overflown(const void *ptr)
{
    mmi_heap_misuse("mm_heap: block written to beyond its end", ptr);
}

/* So many bytes were given back to the system. */
static void mmi_heap_returned(size_t bytes)
{
    mmi_atomic_add(&mmi_heap_here.returned, bytes);
}

static MM_COLD void *mmi_heap_refuse(int error)
{
    mmi_atomic_add(&mmi_heap_here.failures, 1);
    errno = error;
    return NULL;
}

// >>system

/* mmi_heap_mmap and mmi_heap_munmap are there for the macros' other definitions as well. */
#ifdef _WIN32
static MM_UNUSED void *mmi_heap_mmap(size_t size)
{
    return VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

static MM_UNUSED void mmi_heap_munmap(void *base, size_t size)
{
    (void)size;
    VirtualFree(base, 0, MEM_RELEASE);
}

static SRWLOCK mmi_heap_mutex = SRWLOCK_INIT;
static DWORD mmi_heap_key;
#define MMI_HEAP_CALLBACK WINAPI

static SRWLOCK mmi_heap_locks[MMI_HEAP_LOCKS]; /* all zero is SRWLOCK_INIT */

/* The lock of a first-class heap; NULL: the process's, which has none. */
static void mmi_heap_lock_of(mm_heap *heap)
{
    if (heap == NULL || heap->unshared) return;
    AcquireSRWLockExclusive(&mmi_heap_locks[heap->number % MMI_HEAP_LOCKS]);
}

static void mmi_heap_unlock_of(mm_heap *heap)
{
    if (heap == NULL || heap->unshared) return;
    ReleaseSRWLockExclusive(&mmi_heap_locks[heap->number % MMI_HEAP_LOCKS]);
}

static void mmi_heap_lock(void)
{
    AcquireSRWLockExclusive(&mmi_heap_mutex);
}

static void mmi_heap_unlock(void)
{
    ReleaseSRWLockExclusive(&mmi_heap_mutex);
}

static void WINAPI mmi_heap_thread_end(void *cache);

static bool mmi_heap_key_make(void)
{
    mmi_heap_key = FlsAlloc(mmi_heap_thread_end);
    return mmi_heap_key != FLS_OUT_OF_INDEXES;
}

static bool mmi_heap_key_set(void *value)
{
    return FlsSetValue(mmi_heap_key, value) != 0;
}

static void *mmi_heap_key_get(void)
{
    return FlsGetValue(mmi_heap_key);
}
#else
#if defined(MAP_ANONYMOUS)
#define MMI_HEAP_ANONYMOUS MAP_ANONYMOUS
#elif defined(MAP_ANON)
#define MMI_HEAP_ANONYMOUS MAP_ANON
#elif defined(__linux__) && (defined(__mips__) || defined(__xtensa__))
#define MMI_HEAP_ANONYMOUS 0x800 /* glibc hides the name from strict ISO C */
#elif defined(__linux__) && (defined(__alpha__) || defined(__hppa__))
#define MMI_HEAP_ANONYMOUS 0x10
#elif defined(__linux__)
#define MMI_HEAP_ANONYMOUS 0x20
#elif !defined(MM_SYS_MMAP)
#error "no MAP_ANONYMOUS: define _DEFAULT_SOURCE or MM_SYS_MMAP and MM_SYS_MUNMAP"
#endif
#ifdef MMI_HEAP_ANONYMOUS
static MM_UNUSED void *mmi_heap_mmap(size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MMI_HEAP_ANONYMOUS, -1, 0);
    return base == MAP_FAILED ? NULL : base;
}

static MM_UNUSED void mmi_heap_munmap(void *base, size_t size)
{
    munmap(base, size);
}
#endif

static pthread_mutex_t mmi_heap_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t mmi_heap_key;
#define MMI_HEAP_CALLBACK
static MM_THREAD_LOCAL bool mmi_heap_forking; /* this thread holds the lock across a fork, and
                                                 other fork handlers may allocate meanwhile */
static void mmi_heap_lock(void)
{
    if (!mmi_heap_forking) pthread_mutex_lock(&mmi_heap_mutex);
}

static void mmi_heap_unlock(void)
{
    if (!mmi_heap_forking) pthread_mutex_unlock(&mmi_heap_mutex);
}

#define MMI_HEAP_LOCK_4 \
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, \
        PTHREAD_MUTEX_INITIALIZER
#define MMI_HEAP_LOCK_16 MMI_HEAP_LOCK_4, MMI_HEAP_LOCK_4, MMI_HEAP_LOCK_4, MMI_HEAP_LOCK_4
static pthread_mutex_t mmi_heap_locks[MMI_HEAP_LOCKS] = {MMI_HEAP_LOCK_16, MMI_HEAP_LOCK_16};

/* The lock of a first-class heap; NULL: the process's, which has none. Taken before the one above,
   and no other with it. */
static void mmi_heap_lock_of(mm_heap *heap)
{
    if (heap == NULL || heap->unshared || mmi_heap_forking) return;
    pthread_mutex_lock(&mmi_heap_locks[heap->number % MMI_HEAP_LOCKS]);
}

static void mmi_heap_unlock_of(mm_heap *heap)
{
    if (heap == NULL || heap->unshared || mmi_heap_forking) return;
    pthread_mutex_unlock(&mmi_heap_locks[heap->number % MMI_HEAP_LOCKS]);
}

static void mmi_heap_thread_end(void *cache);

static bool mmi_heap_key_make(void)
{
    return pthread_key_create(&mmi_heap_key, mmi_heap_thread_end) == 0;
}

static bool mmi_heap_key_set(void *value)
{
    return pthread_setspecific(mmi_heap_key, value) == 0;
}

static void *mmi_heap_key_get(void)
{
    return pthread_getspecific(mmi_heap_key);
}

/* No thread is inside a heap that the child may use, nor inside the page heap. */
static void mmi_heap_before_fork(void)
{
    size_t i;
    for (i = 0; i < MMI_HEAP_LOCKS; i++) pthread_mutex_lock(&mmi_heap_locks[i]);
    mmi_heap_lock();
    mmi_heap_forking = true;
}

static void mmi_heap_after_fork(void)
{
    size_t i;
    mmi_heap_forking = false;
    mmi_heap_unlock();
    for (i = 0; i < MMI_HEAP_LOCKS; i++) pthread_mutex_unlock(&mmi_heap_locks[i]);
}
#endif

/* A list of a cache was damaged. The handler may never return, so it is told when nothing is left
   half done: for a first-class heap when its lock is let go of, for a cache from the shelf, which
   others could not have any more, when it lies there again, and when a walk of the process ends. */
static MM_COLD void mmi_heap_found(mmi_heap_cache *cache, const char *message, const void *block)
{
    if (cache == mmi_heap_mine && mmi_heap_here.walking == 0) {
        mmi_heap_misuse(message, block);
    } else {
        cache->damage = message;
        cache->damaged = block;
    }
}

/* What is still to be told of a cache, NULL: nothing. From now on it is not any more. */
static const char *mmi_heap_untold(mmi_heap_cache *cache, const void **block)
{
    const char *damage = cache->damage;
    if (MM_LIKELY(damage == NULL)) return NULL;
    *block = cache->damaged;
    cache->damage = NULL;
    return damage;
}

static MM_COLD void mmi_heap_written_to(mmi_heap_cache *cache, const void *block)
{
    mmi_heap_found(cache, "mm_heap: a free block was written to", block);
}

/* Lets go of the lock of a heap in which something may have been found. */
static void mmi_heap_leave(mm_heap *heap)
{
    const void *block = NULL;
    const char *damage = heap == NULL ? NULL : mmi_heap_untold(&heap->cache, &block);
    mmi_heap_unlock_of(heap);
    if (MM_UNLIKELY(damage != NULL)) mmi_heap_misuse(damage, block);
}

#ifndef MM_SYS_MMAP
#define MM_SYS_MMAP(size) mmi_heap_mmap(size)
#define MM_SYS_MUNMAP(ptr, size) mmi_heap_munmap((ptr), (size))
#define MM_SYS_PURGE(ptr, size) mmi_heap_purge((ptr), (size))
#define MM_SYS_MOVE(from, to, size) mmi_heap_move((from), (to), (size))
#ifndef MM_SYS_LARGE
#define MM_SYS_LARGE(ptr, size, on) mmi_heap_large((ptr), (size), (on))
#endif
#ifndef MM_SYS_GUARD
#define MM_SYS_GUARD(ptr, size) mmi_heap_guard((ptr), (size))
#endif
#endif
#ifndef MM_SYS_LARGE
#define MM_SYS_LARGE(ptr, size, on) ((void)(ptr), (void)(size), (void)(on))
#endif
#ifndef MM_HEAP_LARGE_PAGES
#define MM_HEAP_LARGE_PAGES 0
#endif
#ifndef MM_SYS_PURGE
#define MM_SYS_PURGE(ptr, size) ((void)(ptr), (void)(size), false)
#endif
#ifndef MM_SYS_MOVE
#define MM_SYS_MOVE(from, to, size) ((void)(from), (void)(to), (void)(size), false)
#endif
#ifndef MM_SYS_GUARD
#define MM_SYS_GUARD(ptr, size) ((void)(ptr), (void)(size), false)
#endif

/* Pages of the system that nobody is to touch, until they are unmapped. */
static MM_UNUSED bool mmi_heap_guard(void *ptr, size_t size)
{
    int error = errno;
#ifdef _WIN32
    DWORD before;
    bool done = VirtualProtect(ptr, size, PAGE_NOACCESS, &before) != 0;
#else
    bool done = mprotect(ptr, size, PROT_NONE) == 0;
#endif
    errno = error;
    return done;
}

#if defined(__linux__)
#ifndef MADV_DONTNEED /* strict ISO C hides these */
extern int madvise(void *ptr, size_t size, int advice);
extern int mincore(void *ptr, size_t size, unsigned char *resident);
#define MMI_HEAP_DONTNEED 4
#else
#define MMI_HEAP_DONTNEED MADV_DONTNEED
#endif
#ifndef MREMAP_MAYMOVE
extern void *mremap(void *ptr, size_t old_size, size_t new_size, int flags, ...);
#endif

/* Lets go of whole pages, which are zero when they are touched again; false: nothing happened. Not
   MADV_FREE, though its pages come back for a seventh of the price as long as the system has not
   taken them: until then they count as ours, and a calloc must wipe them. */
static MM_UNUSED bool mmi_heap_purge(void *ptr, size_t size)
{
    int error = errno;
    bool done = madvise(ptr, size, MMI_HEAP_DONTNEED) == 0;
    errno = error;
    return done;
}

/* Moves whole pages over others, without copying; those there are gone. */
static MM_UNUSED bool mmi_heap_move(void *from, void *to, size_t size)
{
    const int may_move_fixed = 3;
    int error = errno;
    bool done = mremap(from, size, size, may_move_fixed, to) == to;
    errno = error;
    return done;
}

/* Asks for huge pages, or for none; where there are none, nothing happens. */
static MM_UNUSED void mmi_heap_large(void *ptr, size_t size, bool on)
{
    const int advice_hugepage = 14, advice_nohugepage = 15; /* strict ISO C hides the names */
    int error = errno;
    (void)madvise(ptr, size, on ? advice_hugepage : advice_nohugepage);
    errno = error;
}

/* Which of some pages are in memory; false: no telling. */
static bool mmi_heap_resident(void *ptr, size_t size, unsigned char *resident)
{
    int error = errno;
    bool done = mincore(ptr, size, resident) == 0;
    errno = error;
    return done;
}
#else
static MM_UNUSED void mmi_heap_large(void *ptr, size_t size, bool on)
{
    (void)ptr, (void)size, (void)on;
}

static MM_UNUSED bool mmi_heap_purge(void *ptr, size_t size)
{
    (void)ptr, (void)size;
    return false;
}

static MM_UNUSED bool mmi_heap_move(void *from, void *to, size_t size)
{
    (void)from, (void)to, (void)size;
    return false;
}

static bool mmi_heap_resident(void *ptr, size_t size, unsigned char *resident)
{
    (void)ptr, (void)size, (void)resident;
    return false;
}
#endif

/* Bytes in a page of the system. */
static size_t mmi_heap_page_size(void)
{
#ifdef _WIN32
    return MMI_HEAP_GRANULE;
#else
    long size = sysconf(_SC_PAGESIZE);
    return size >= 4096 && size <= 65536 ? (size_t)size : MMI_HEAP_GRANULE;
#endif
}

/* Milliseconds since some time. It may leap, for which what waits for it goes early or late. */
#ifndef MM_HEAP_CLOCK
#define MM_HEAP_CLOCK() mmi_heap_clock()
#endif
static MM_UNUSED uint64_t mmi_heap_clock(void)
{
#ifdef _WIN32
    return GetTickCount64();
#else
    struct timespec now;
    if (timespec_get(&now, TIME_UTC) == 0) return 0;
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
#endif
}

/* Bytes that nobody can guess, where the system has such. */
#ifdef MM_HEAP_SECURE
#if defined(_WIN32)
#ifdef __cplusplus
extern "C"
#else
extern
#endif
    BOOLEAN NTAPI
    SystemFunction036(PVOID buffer, ULONG size); /* which the system's headers call RtlGenRandom */
#elif defined(__ELF__)
extern int mmi_heap_entropy_get(void *buffer, size_t size) __asm__("getentropy");
#endif
#endif
static uint64_t mmi_heap_entropy(void)
{
    uint64_t value = 0;
#ifdef MM_HEAP_SECURE
    int error = errno;
#if defined(_WIN32)
    (void)SystemFunction036(&value, (ULONG)sizeof(value));
#elif defined(__ELF__)
    if (mmi_heap_entropy_get(&value, sizeof(value)) != 0) value = 0;
#endif
    errno = error;
    value ^= MM_HEAP_CLOCK() * 0x9e3779b97f4a7c15u;
#endif
    return value;
}

/* The next of a row of numbers that tell nothing of each other at a glance (splitmix64). */
static inline uint64_t mmi_heap_random(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15u;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

/* A mapping, if the limit allows it. Huge blocks ask without the lock, so that several at a time
   may pass it together. */
static void *mmi_heap_sys_map(size_t size)
{
    size_t limit = mmi_heap_peek(&mmi_heap_here.limit);
    size_t committed = mmi_heap_peek(&mmi_heap_here.committed);
    if (limit != 0 && (size > limit || committed > limit - size)) return NULL;
    return MM_SYS_MMAP(size);
}

/* Maps size bytes at a multiple of alignment (a power of two >= the granule); fills *mapping and
   returns where they start, or NULL. Mostly the first try is aligned, as all sizes are multiples
   of the granule and systems place one mapping next to the other. Slack is kept, not trimmed off,
   for there are systems that can unmap only as a whole; it is never touched. Under MM_HEAP_SECURE a
   fence lies right before the start and behind size bytes. */
static char *mmi_heap_map(size_t size, size_t alignment, mmi_heap_mapping *mapping)
{
    uintptr_t start;
    if (!mm_size_add(size, 2 * MMI_HEAP_FENCE, &mapping->size)) return NULL;
    mapping->base = mmi_heap_sys_map(mapping->size);
    if (mapping->base != NULL && ((uintptr_t)mapping->base + MMI_HEAP_FENCE) % alignment != 0) {
        MM_SYS_MUNMAP(mapping->base, mapping->size);
        if (!mm_size_add(mapping->size, alignment, &mapping->size)) return NULL;
        mapping->base = mmi_heap_sys_map(mapping->size);
    }
    if (mapping->base == NULL) return NULL;
    start = ((uintptr_t)mapping->base + MMI_HEAP_FENCE + alignment - 1) &
            ~(uintptr_t)(alignment - 1);
    if (((uint64_t)start | ((uint64_t)start + (size - 1))) >> MMI_HEAP_ADDRESS_BITS != 0) {
        /* not in the page map */
        MM_SYS_MUNMAP(mapping->base, mapping->size);
        return NULL;
    }
    mapping->room = mapping->size - (size_t)(start - (uintptr_t)mapping->base);
    if (MMI_HEAP_GUARDED) { /* if the system can: it may have no room for so many areas */
        (void)MM_SYS_GUARD((char *)start - MMI_HEAP_FENCE, MMI_HEAP_FENCE);
        (void)MM_SYS_GUARD((char *)start + size, mapping->room - size);
        mapping->room = size;
    }
    return (char *)start;
}

/* Unmaps; errno stays as it is, which free promises. The tools may see the range again as
   somebody else's, so no mark of ours may be left on it. */
static void mmi_heap_unmap(const mmi_heap_mapping *mapping)
{
    int error = errno;
    MM_TRACK_UNPOISON(mapping->base, mapping->size);
    MM_SYS_MUNMAP(mapping->base, mapping->size);
    errno = error;
}

static void mmi_heap_commit(size_t size)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_poke(&h->committed, h->committed + size);
    if (h->committed > h->peak) h->peak = h->committed;
}

static void mmi_heap_uncommit(size_t size)
{
    mmi_heap_poke(&mmi_heap_here.committed, mmi_heap_here.committed - size);
}

/* Memory for a record, zeroed, for ever; NULL when there is none. Lock held. Records lie apart
   from the blocks, so that a write beyond a block does not reach them first. */
static void *mmi_heap_record(size_t size)
{
    mmi_heap_central *h = &mmi_heap_here;
    char *record;
    size = (size + 63) & ~(size_t)63;
    if (h->meta_left < size) {
        char *chunk = (char *)mmi_heap_sys_map(MMI_HEAP_META_CHUNK);
        if (chunk == NULL) return NULL;
        h->meta = chunk;
        h->meta_left = MMI_HEAP_META_CHUNK;
        h->metadata += MMI_HEAP_META_CHUNK;
        mmi_heap_commit(MMI_HEAP_META_CHUNK);
    }
    record = h->meta;
    h->meta += size;
    h->meta_left -= size;
    return record;
}

// >>pagemap

/* From an address to its page: two levels over the granules of the address space. The leaves are
   made as needed and stay. An entry is the page's address, or 0: not a block's. Readers take no
   lock: whoever holds a live block saw its entry written before. */
#define MMI_HEAP_LEAF_BITS (sizeof(void *) == 8 ? 16 : 10)
#define MMI_HEAP_LEAF_ENTRIES ((size_t)1 << MMI_HEAP_LEAF_BITS)
#define MMI_HEAP_LEAF_SIZE (MMI_HEAP_LEAF_ENTRIES * sizeof(size_t))
#if UINTPTR_MAX > 0xffffffffu
#define MMI_HEAP_ROOT_ENTRIES 65536 /* 2^(48 - 16 - 16) */
#else
#define MMI_HEAP_ROOT_ENTRIES 64 /* 2^(32 - 16 - 10) */
#endif
static size_t mmi_heap_root[MMI_HEAP_ROOT_ENTRIES];

static inline mmi_heap_page *mmi_heap_page_at(const void *ptr)
{
    uintptr_t granule = (uintptr_t)ptr >> MMI_HEAP_GRANULE_BITS;
    uintptr_t root = granule >> MMI_HEAP_LEAF_BITS & (MMI_HEAP_ROOT_ENTRIES - 1);
    size_t *leaf = (size_t *)mmi_heap_peek(&mmi_heap_root[root]);
    if (MM_UNLIKELY(leaf == NULL)) return NULL;
    return (mmi_heap_page *)mmi_heap_peek(&leaf[granule & (MMI_HEAP_LEAF_ENTRIES - 1)]);
}

/* Makes the leaf for an address, false when there is no memory. Lock held. */
static bool mmi_heap_leaf_make(const char *address)
{
    uintptr_t granule = (uintptr_t)address >> MMI_HEAP_GRANULE_BITS;
    size_t *root = &mmi_heap_root[granule >> MMI_HEAP_LEAF_BITS];
    void *leaf;
    if (mmi_heap_peek(root) != 0) return true;
    leaf = mmi_heap_sys_map(MMI_HEAP_LEAF_SIZE);
    if (leaf == NULL) return false;
    mmi_heap_here.metadata += MMI_HEAP_LEAF_SIZE;
    mmi_heap_commit(MMI_HEAP_LEAF_SIZE);
    mmi_atomic_store(root, (size_t)leaf);
    return true;
}

/* Enters a page (NULL: none) for some granules whose leaves exist. Lock held. */
static void mmi_heap_enter(const char *start, size_t granules, const mmi_heap_page *page)
{
    uintptr_t granule = (uintptr_t)start >> MMI_HEAP_GRANULE_BITS, end = granule + granules;
    for (; granule < end; granule++) {
        size_t *leaf = (size_t *)mmi_heap_peek(&mmi_heap_root[granule >> MMI_HEAP_LEAF_BITS]);
        mmi_heap_poke(&leaf[granule & (MMI_HEAP_LEAF_ENTRIES - 1)], (size_t)page);
    }
}

// >>pageheap (all of it with the lock held)

static uint64_t mmi_heap_page_key_new(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    if (h->random == 0) h->random = mmi_heap_entropy() ^ h->secret;
    return mmi_heap_random(&h->random);
}

/* Bits where a run of at least length ones begins: each step takes the last one off every run. */
static uint64_t mmi_heap_runs(uint64_t mask, size_t length)
{
    while (--length > 0) mask &= mask >> 1;
    return mask;
}

/* The length of the longest run of ones: the largest power of two that fits in it, then the halves
   of that which fit behind. */
static size_t mmi_heap_longest(uint64_t mask)
{
    uint64_t runs[7], longer; /* where a run of 1, 2, 4, ... begins */
    size_t k = 0, length;
    if (mask == 0) return 0;
    if (mask == MMI_HEAP_ALL_FREE) return MMI_HEAP_SPAN_GRANULES;
    for (runs[0] = mask; (longer = runs[k] & runs[k] >> ((size_t)1 << k)) != 0;) runs[++k] = longer;
    length = (size_t)1 << k;
    for (mask = runs[k]; k-- > 0;) {
        longer = mask & runs[k] >> length;
        if (longer == 0) continue;
        mask = longer;
        length += (size_t)1 << k;
    }
    return length;
}

static size_t mmi_heap_lowest(uint64_t mask)
{
#if defined(__GNUC__) || defined(__clang__)
    return (size_t)__builtin_ctzll(mask);
#else
    size_t bit = 0;
    while ((mask >> bit & 1) == 0) bit++;
    return bit;
#endif
}

static size_t mmi_heap_count(uint64_t mask)
{
    size_t count = 0;
    for (; mask != 0; mask &= mask - 1) count++;
    return count;
}

/* length bits from first on; length is not 0. */
static uint64_t mmi_heap_run(size_t first, size_t length)
{
    return MMI_HEAP_ALL_FREE >> (MMI_HEAP_SPAN_GRANULES - length) << first;
}

static void mmi_heap_idle_more(size_t bytes)
{
    mmi_heap_central *h = &mmi_heap_here;
    h->idle += bytes;
    if (h->idle > h->idle_high) h->idle_high = h->idle;
}

static void mmi_heap_idle_less(size_t bytes)
{
    mmi_heap_central *h = &mmi_heap_here;
    h->idle -= bytes;
    if (h->idle < h->idle_low) h->idle_low = h->idle;
}

/* Puts a span into the bin for its longest free run, after its mask has changed. */
static void mmi_heap_span_file(mmi_heap_span *span)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_span **bin;
    span->longest = mmi_heap_longest(span->free);
    span->bin_prev = span->bin_next = NULL;
    if (span->longest == 0) return;
    bin = &h->bins[span->longest - 1];
    span->bin_next = *bin;
    if (*bin != NULL) (*bin)->bin_prev = span;
    *bin = span;
    h->bin_bits |= (uint64_t)1 << (span->longest - 1);
}

static void mmi_heap_span_unfile(mmi_heap_span *span)
{
    mmi_heap_central *h = &mmi_heap_here;
    if (span->longest == 0) return;
    if (span->bin_next != NULL) span->bin_next->bin_prev = span->bin_prev;
    if (span->bin_prev != NULL) span->bin_prev->bin_next = span->bin_next;
    else h->bins[span->longest - 1] = span->bin_next;
    if (h->bins[span->longest - 1] == NULL) h->bin_bits &= ~((uint64_t)1 << (span->longest - 1));
}

static mmi_heap_span *mmi_heap_span_record(void)
{
    mmi_heap_span *span = mmi_heap_here.spare_spans;
    if (span == NULL) return (mmi_heap_span *)mmi_heap_record(sizeof(*span));
    mmi_heap_here.spare_spans = span->next;
    return span;
}

static mmi_heap_span *mmi_heap_span_new(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_mapping mapping;
    mmi_heap_span *span;
    char *start = mmi_heap_map(MMI_HEAP_SPAN_SIZE, MMI_HEAP_GRANULE, &mapping);
    if (start == NULL) return NULL;
    if (!mmi_heap_leaf_make(start) || !mmi_heap_leaf_make(start + MMI_HEAP_SPAN_SIZE - 1) ||
        (span = mmi_heap_span_record()) == NULL) {
        mmi_heap_unmap(&mapping);
        return NULL;
    }
    mmi_heap_commit(mapping.size);
    span->mapping = mapping;
    span->start = start;
    span->free = MMI_HEAP_ALL_FREE;
    span->dirty = 0;
    mmi_heap_poke(&span->large, (size_t)0);
    if (h->committed > (size_t)(MM_HEAP_LARGE_PAGES)-1) { /* which 0 makes the largest number */
        MM_SYS_LARGE(start, MMI_HEAP_SPAN_SIZE, true);
        mmi_heap_poke(&span->large, (size_t)1);
    }
    span->prev = NULL;
    span->next = h->spans;
    if (h->spans != NULL) h->spans->prev = span;
    h->spans = span;
    h->empty++;
    mmi_heap_span_file(span);
    MM_TRACK_POISON(start, MMI_HEAP_SPAN_SIZE);
    return span;
}

static void mmi_heap_span_release(mmi_heap_span *span)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_span_unfile(span);
    if (span->next != NULL) span->next->prev = span->prev;
    if (span->prev != NULL) span->prev->next = span->next;
    else h->spans = span->next;
    if (h->purge_at == span) h->purge_at = span->next;
    h->empty--;
    mmi_heap_uncommit(span->mapping.size);
    mmi_heap_idle_less(mmi_heap_count(span->dirty) * MMI_HEAP_GRANULE);
    mmi_heap_returned(mmi_heap_count(span->dirty) * MMI_HEAP_GRANULE);
    mmi_heap_unmap(&span->mapping);
    span->next = h->spare_spans;
    h->spare_spans = span;
}

/* New memory was needed, though some was given back lately: so much more may be kept idle. */
static void mmi_heap_regret(size_t bytes)
{
    mmi_heap_central *h = &mmi_heap_here;
    if (bytes > h->purged) bytes = h->purged;
    h->purged -= bytes;
    h->idle_limit += bytes;
}

/* Takes a run of granules off the span whose longest run fits best; NULL when there is no memory.
   *clean: all of it is zero. The caller fills in what the page is for. */
static mmi_heap_page *mmi_heap_page_take(size_t granules, bool *clean)
{
    mmi_heap_central *h = &mmi_heap_here;
    uint64_t bits = h->bin_bits >> (granules - 1), run;
    mmi_heap_span *span;
    mmi_heap_page *page;
    size_t first, dirty;
    if (bits != 0) span = h->bins[granules - 1 + mmi_heap_lowest(bits)];
    else span = mmi_heap_span_new();
    if (span == NULL) return NULL;
    if (span->free == MMI_HEAP_ALL_FREE) h->empty--;
    first = mmi_heap_lowest(mmi_heap_runs(span->free, granules));
    run = mmi_heap_run(first, granules);
    dirty = mmi_heap_count(span->dirty & run);
    if (dirty < granules) mmi_heap_regret((granules - dirty) * MMI_HEAP_GRANULE);
    mmi_heap_idle_less(dirty * MMI_HEAP_GRANULE);
    mmi_heap_span_unfile(span);
    span->free &= ~run;
    span->dirty |= run;
    mmi_heap_span_file(span);
    page = &span->pages[first];
    memset(page, 0, sizeof(*page));
    page->span = span;
    page->granules = granules;
    page->start = span->start + first * MMI_HEAP_GRANULE;
    if (MMI_HEAP_ENCODED) page->key = mmi_heap_page_key_new();
    *clean = dirty == 0;
    return page;
}

static void mmi_heap_settle(void);

static void mmi_heap_page_put_back(mmi_heap_page *page)
{
    mmi_heap_span *span = page->span;
    size_t first = (size_t)(page - span->pages), granules = page->granules;
    mmi_heap_enter(page->start, granules, NULL);
    mmi_heap_span_unfile(span);
    span->free |= mmi_heap_run(first, granules);
    mmi_heap_span_file(span);
    page->granules = 0;
    if (span->free == MMI_HEAP_ALL_FREE) mmi_heap_here.empty++;
    mmi_heap_idle_more(granules * MMI_HEAP_GRANULE);
}

static void mmi_heap_page_give(mmi_heap_page *page)
{
    mmi_heap_page_put_back(page);
    mmi_heap_settle();
}

// >>giveback (all of it with the lock held)

/* Memory that nobody uses is worth keeping, for a page that the system has to clear costs as much
   as thirty that are at hand, but not for long, and not much of it:
   - More than a limit goes back as soon as it becomes idle, some MiB a call. The limit is low, so
     that who frees all he has keeps little; but when new memory is needed soon after, it rises by
     as much (mmi_heap_regret), so that who does this again and again keeps what he needs; and
     it falls by itself, by an eighth a tick of what exceeds the need.
   - Of what was idle all the time since the last tick, a quarter goes back at each tick. */
#define MMI_HEAP_IDLE_BASE ((size_t)4 << 20) /* of the page heap and the kept mappings */
#define MMI_HEAP_IDLE_CACHE ((size_t)4 << 20) /* of the sorted chunks of a cache */
#define MMI_HEAP_IDLE_KEEP ((size_t)1 << 20)  /* too little to care */
#define MMI_HEAP_TICK 250                     /* milliseconds */
#define MMI_HEAP_TICK_CALLS 32                /* calls between two looks at the clock */
#define MMI_HEAP_GIVE_STEPS 4                 /* spans or mappings that go back in one call */

/* Whether a tick is due; *ticked: when the last one was. */
static bool mmi_heap_tick_due(uint64_t *ticked, size_t *calls_left)
{
    uint64_t now;
    if (*calls_left > 0) {
        --*calls_left;
        return false;
    }
    *calls_left = MMI_HEAP_TICK_CALLS;
    now = MM_HEAP_CLOCK();
    if (now - *ticked < MMI_HEAP_TICK) return false;
    *ticked = now;
    return true;
}

/* What a limit above the base falls to, if high is the most that was idle since the last tick. */
static size_t mmi_heap_limit_fall(size_t limit, size_t base, size_t high)
{
    size_t needed = high > base ? high - base : 0;
    return limit > needed ? limit - (limit - needed) / 8 : limit;
}

/* Something of a span (NULL: of no span) is to go back: from now on without huge pages, for the
   system would fill what went with them again. */
static void mmi_heap_span_shrink(mmi_heap_span *span)
{
    if (span == NULL || mmi_heap_peek(&span->large) != 1) return;
    mmi_heap_poke(&span->large, (size_t)2);
    MM_SYS_LARGE(span->start, MMI_HEAP_SPAN_SIZE, false);
}

/* Gives back what is idle in a span, as a whole if it is empty and not the only such. What never
   was used may be in memory if there are huge pages. */
static size_t mmi_heap_span_purge(mmi_heap_span *span, size_t keep_empty)
{
    mmi_heap_central *h = &mmi_heap_here;
    uint64_t idle = span->free & span->dirty, run;
    size_t bytes = mmi_heap_count(idle) * MMI_HEAP_GRANULE, dirty;
    if (span->free == MMI_HEAP_ALL_FREE && h->empty > keep_empty && h->walkers == 0) {
        mmi_heap_span_release(span);
        return bytes;
    }
    if (mmi_heap_peek(&span->large) != 0) idle = span->free;
    mmi_heap_span_shrink(span);
    while (idle != 0) {
        size_t first = mmi_heap_lowest(idle), length = 1;
        while (first + length < MMI_HEAP_SPAN_GRANULES && (idle >> (first + length) & 1) != 0) {
            length++;
        }
        if (!MM_SYS_PURGE(span->start + first * MMI_HEAP_GRANULE, length * MMI_HEAP_GRANULE)) {
            return 0;
        }
        run = mmi_heap_run(first, length);
        dirty = mmi_heap_count(span->dirty & run) * MMI_HEAP_GRANULE;
        idle &= ~run;
        span->dirty &= ~run;
        mmi_heap_idle_less(dirty);
        mmi_heap_returned(dirty);
    }
    mmi_heap_poke(&span->large, (size_t)0);
    return bytes;
}

/* Gives back what is idle in the next span where something is; the bytes. */
static size_t mmi_heap_purge_next(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    size_t tries, bytes = 0;
    if (h->empty > 1) return mmi_heap_span_purge(h->bins[MMI_HEAP_SPAN_GRANULES - 1], 1);
    for (tries = 0; tries < 16 && bytes == 0; tries++) {
        mmi_heap_span *span = h->purge_at == NULL ? h->spans : h->purge_at;
        if (span == NULL) return 0;
        h->purge_at = span->next;
        if ((span->free & span->dirty) != 0) bytes = mmi_heap_span_purge(span, 1);
    }
    return bytes;
}

/* Takes a huge block off the list that it is in. */
static void mmi_heap_huge_unlink(mmi_heap_page *page, mmi_heap_page **head)
{
    if (page->next != NULL) page->next->prev = page->prev;
    if (page->prev != NULL) page->prev->next = page->next;
    else *head = page->next;
}

static void mmi_heap_huge_link(mmi_heap_page *page, mmi_heap_page **head)
{
    page->prev = NULL;
    page->next = *head;
    if (*head != NULL) (*head)->prev = page;
    *head = page;
}

/* Takes a kept mapping off its list. */
static void mmi_heap_kept_unlink(mmi_heap_huge *huge)
{
    mmi_heap_central *h = &mmi_heap_here;
    if (h->kept_last == &huge->page) h->kept_last = huge->page.prev;
    mmi_heap_huge_unlink(&huge->page, &h->kept);
    h->kept_count--;
    mmi_heap_idle_less(huge->page.block_size);
}

/* Unmaps the mapping that was kept longest; its bytes, 0: there is none. */
static size_t mmi_heap_kept_drop(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_huge *huge = (mmi_heap_huge *)(void *)h->kept_last;
    size_t bytes;
    if (huge == NULL) return 0;
    bytes = huge->page.block_size;
    mmi_heap_kept_unlink(huge);
    mmi_heap_uncommit(huge->mapping.size);
    mmi_heap_returned(bytes);
    mmi_heap_unmap(&huge->mapping);
    huge->page.next = h->spare_huge;
    h->spare_huge = &huge->page;
    return bytes;
}

/* Gives back something that is idle: a mapping that was kept long, or what it can of a span. */
static size_t mmi_heap_give_step(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    size_t bytes = 0;
    if (h->kept_count > MMI_HEAP_GIVE_STEPS || h->kept_last == NULL) bytes = mmi_heap_kept_drop();
    if (bytes == 0) bytes = mmi_heap_purge_next();
    return bytes != 0 ? bytes : mmi_heap_kept_drop();
}

static void mmi_heap_tick(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    size_t surplus = h->idle_low > MMI_HEAP_IDLE_KEEP ? h->idle_low / 4 : 0, steps, bytes;
    for (steps = 0; steps < MMI_HEAP_GIVE_STEPS && surplus > 0; steps++) {
        bytes = mmi_heap_give_step();
        surplus -= bytes < surplus ? bytes : surplus;
    }
    h->idle_limit = mmi_heap_limit_fall(h->idle_limit, MMI_HEAP_IDLE_BASE, h->idle_high);
    h->purged -= h->purged / 8;
    h->idle_low = h->idle_high = h->idle;
}

/* Something has become idle. The newest mapping, unless it is very large, is not held against the
   limit, so that one block at a time which comes and goes finds its mapping again. */
static void mmi_heap_settle(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    size_t newest = h->kept == NULL ? 0 : h->kept->block_size, steps;
    if (newest > (size_t)2 * MM_HEAP_HUGE) newest = 0;
    for (steps = 0; steps < MMI_HEAP_GIVE_STEPS; steps++) {
        size_t bytes;
        if (h->idle <= MMI_HEAP_IDLE_BASE + h->idle_limit + newest) break;
        bytes = mmi_heap_give_step();
        if (bytes == 0) break;
        h->purged += bytes;
    }
    if (mmi_heap_tick_due(&h->ticked, &h->until_tick)) mmi_heap_tick();
}

/* Gives back all that is idle. */
static void mmi_heap_give_all(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_span *span, *next;
    while (mmi_heap_kept_drop() != 0) continue;
    for (span = h->spans; span != NULL; span = next) {
        next = span->next;
        if (span->free == MMI_HEAP_ALL_FREE && h->walkers == 0) mmi_heap_span_release(span);
        else (void)mmi_heap_span_purge(span, 0);
    }
    h->idle_low = h->idle_high = h->idle;
    h->idle_limit = h->purged = 0;
}

// >>owners

/* What a first-class heap has, so that it can be given back at once, and is counted. */

static bool mmi_heap_may_take(const mm_heap *heap, size_t bytes)
{
    size_t held;
    if (heap == NULL) return true;
    held = mmi_heap_peek(&heap->held);
    if (mmi_heap_peek(&heap->live) == 0) return false;
    return heap->limit == 0 || (bytes <= heap->limit && held <= heap->limit - bytes);
}

/* A page, an area or a huge block becomes the heap's. Lock held. */
static void mmi_heap_own(mm_heap *heap, mmi_heap_page *page)
{
    size_t held;
    if (heap == NULL) return;
    held = mmi_heap_peek(&heap->held) + page->granules * MMI_HEAP_GRANULE;
    mmi_heap_poke(&heap->held, held);
    if (held > mmi_heap_peek(&heap->peak)) mmi_heap_poke(&heap->peak, held);
    page->own_prev = NULL;
    page->own_next = heap->pages;
    if (heap->pages != NULL) heap->pages->own_prev = page;
    heap->pages = page;
}

static void mmi_heap_disown(mm_heap *heap, mmi_heap_page *page)
{
    if (heap == NULL) return;
    if (heap->cursor == page) heap->cursor = page->own_next;
    if (page->own_next != NULL) page->own_next->own_prev = page->own_prev;
    if (page->own_prev != NULL) page->own_prev->own_next = page->own_next;
    else heap->pages = page->own_next;
    mmi_heap_poke(&heap->held, mmi_heap_peek(&heap->held) - page->granules * MMI_HEAP_GRANULE);
}

// >>seals

/* Under MM_HEAP_SECURE a block ends in a word that tells how many of its bytes were not asked for,
   this word included, and right behind what was asked for lie up to 8 bytes more, as there is room:
   both under a key of the block's address. A huge block has the size in its record, so that of its
   last pages only the one is touched where the program's bytes end. A size that goes through the
   functions between the interface and this has the word included. */

/* A size that is asked for, with what the heap needs behind it; more than there can be stays so. */
static inline size_t mmi_heap_whole(size_t size)
{
    return size > SIZE_MAX - MMI_HEAP_SEAL ? SIZE_MAX : size + MMI_HEAP_SEAL;
}

/* Odd, and such that a word in which any one byte was changed never tells a size: it differs by
   more than 2^52 from the right one. */
#define MMI_HEAP_SEAL_CODE ((uint64_t)0xbf58476d1ce4e5b9)
#define MMI_HEAP_SEAL_DECODE ((uint64_t)0x96de1b173f119089) /* the inverse, modulo 2^64 */

/* Who learns one cannot compute the secret. No byte of behind is 0, and so with the first of a word
   that stands right behind what was asked for: strings are what is too long by one byte most. */
static inline uint64_t mmi_heap_seal_key(const void *ptr)
{
    uint64_t place = (uint64_t)(uintptr_t)ptr ^ mmi_heap_here.secret;
    uint64_t mixed = place * 0x94d049bb133111ebu;
    mixed = (mixed ^ mixed >> 32) * 0x9e3779b97f4a7c15u;
    return (place ^ mixed ^ mixed >> 29) | 0x0100000000000001u;
}

static inline uint64_t mmi_heap_seal_behind(uint64_t key)
{
    return key | 0x0101010101010101u;
}

/* Seals a block of room bytes, of which so many were asked for. */
static inline void mmi_heap_seal_room(char *block, size_t room, size_t asked)
{
    uint64_t key = mmi_heap_seal_key(block), behind = mmi_heap_seal_behind(key);
    uint64_t end = key ^ (uint64_t)(room - asked) * MMI_HEAP_SEAL_CODE;
    MM_MEMCPY(block + asked, &behind, sizeof(behind));
    MM_MEMCPY(block + room - sizeof(end), &end, sizeof(end)); /* perhaps over the former */
}

/* Whether Valgrind knows that the block was freed, which the walker of a heap of one's own does
   not while other threads free. */
static inline bool mmi_heap_seal_hidden(const char *block, size_t room)
{
#if defined(MM_VALGRIND) && defined(VALGRIND_GET_VBITS)
    unsigned char bits;
    return VALGRIND_GET_VBITS(block + room - 1, &bits, 1) == 3;
#else
    (void)block, (void)room;
    return false;
#endif
}

/* ASan is not to see it: the walker may meet a block that another thread has just freed. */
#if defined(MMI_ASAN) && (defined(__GNUC__) || defined(__clang__))
#define MMI_HEAP_SEAL_LOOK static MM_UNUSED __attribute__((noinline, no_sanitize_address))
#else
#define MMI_HEAP_SEAL_LOOK static inline
#endif

/* What was asked for of a sealed block; false: it was written to behind that. */
MMI_HEAP_SEAL_LOOK bool mmi_heap_seal_read(const char *block, size_t room, size_t *asked)
{
    static const unsigned char bytes[2 * sizeof(uint64_t)] = {255, 255, 255, 255,
                                                              255, 255, 255, 255};
    uint64_t key = mmi_heap_seal_key(block), end, behind, mask;
    size_t gap;
    MM_MEMCPY(&end, block + room - sizeof(end), sizeof(end));
    end = (end ^ key) * MMI_HEAP_SEAL_DECODE;
    if (MM_UNLIKELY(end < sizeof(end) || end > room)) return false;
    *asked = room - (size_t)end;
    gap = (size_t)end - sizeof(end);
    if (gap > sizeof(behind)) gap = sizeof(behind);
    MM_MEMCPY(&behind, block + *asked, sizeof(behind));
    MM_MEMCPY(&mask, bytes + sizeof(behind) - gap, sizeof(mask));
    return MM_LIKELY(((behind ^ mmi_heap_seal_behind(key)) & mask) == 0);
}

/* What is asked for a huge block stands in its record: apart, and of any size. */
static void mmi_heap_seal_huge(mmi_heap_page *page, size_t asked)
{
    uint64_t behind = mmi_heap_seal_behind(mmi_heap_seal_key(page->start));
#if MMI_HEAP_SEALED
    ((mmi_heap_huge *)(void *)page)->asked = asked;
#endif
    MM_MEMCPY(page->start + asked, &behind, sizeof(behind));
}

static bool mmi_heap_seal_read_huge(const mmi_heap_page *page, size_t *asked)
{
    uint64_t behind;
#if MMI_HEAP_SEALED
    *asked = ((const mmi_heap_huge *)(const void *)page)->asked;
#else
    *asked = page->block_size - sizeof(behind);
#endif
    MM_MEMCPY(&behind, page->start + *asked, sizeof(behind));
    return behind == mmi_heap_seal_behind(mmi_heap_seal_key(page->start));
}

// >>huge

/* A block above MM_HEAP_HUGE is a mapping. Freed ones are kept for a while, for it is the first
   touch of each page that costs; see giveback. */
#define MMI_HEAP_KEPT_MOST 64 /* mappings that are kept, as they are searched one by one */

static mmi_heap_huge *mmi_heap_huge_record(void)
{
    mmi_heap_page *page = mmi_heap_here.spare_huge;
    if (page == NULL) return (mmi_heap_huge *)mmi_heap_record(sizeof(mmi_heap_huge));
    mmi_heap_here.spare_huge = page->next;
    return (mmi_heap_huge *)(void *)page;
}

/* Makes a block of a mapping, of which size bytes are used. Lock held. The caller tells the memory
   checkers. */
static void mmi_heap_huge_enter(mmi_heap_huge *huge, size_t size)
{
    mmi_heap_central *h = &mmi_heap_here;
    huge->page.block_size = size;
    huge->page.granules = size / MMI_HEAP_GRANULE;
    mmi_heap_huge_link(&huge->page, &h->huge);
    mmi_heap_own(huge->heap, &huge->page);
    h->huge_bytes += size;
    h->huge_blocks++;
    mmi_heap_enter(huge->page.start, 1, &huge->page);
}

/* Bytes from old up to size become the user's, those behind it nobody's. */
static void mmi_heap_huge_track(const mmi_heap_huge *huge, size_t old, size_t size)
{
    if (size > old) MM_TRACK_UNPOISON(huge->page.start + old, size - old);
    MM_TRACK_POISON(huge->page.start + size, huge->room - size);
    (void)huge;
}

static void mmi_heap_huge_leave(mmi_heap_huge *huge)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_huge_unlink(&huge->page, &h->huge);
    mmi_heap_disown(huge->heap, &huge->page);
    h->huge_bytes -= huge->page.block_size;
    h->huge_blocks--;
    mmi_heap_enter(huge->page.start, 1, NULL);
}

/* The kept mapping that fits best, at most a quarter too large; NULL: none. Lock held. */
static mmi_heap_huge *mmi_heap_kept_find(size_t size, size_t alignment)
{
    mmi_heap_huge *best = NULL;
    mmi_heap_page *page;
    size_t newer = 0;
    for (page = mmi_heap_here.kept; page != NULL; page = page->next) {
        mmi_heap_huge *huge = (mmi_heap_huge *)(void *)page;
        if (MMI_HEAP_DELAYED && newer++ < MMI_HEAP_DELAY_HUGE) continue;
        if (huge->room < size || huge->room - size > size / 4) continue;
        if ((uintptr_t)page->start % alignment != 0) continue;
        if (best == NULL || huge->room < best->room) best = huge;
    }
    return best;
}

static void *mmi_heap_kept_take(mm_heap *heap, size_t size, size_t alignment)
{
    mmi_heap_huge *huge;
    char *start = NULL;
    mmi_heap_lock();
    huge = mmi_heap_kept_find(size, alignment);
    if (huge != NULL) {
        mmi_heap_kept_unlink(huge);
        huge->heap = heap;
        mmi_heap_huge_enter(huge, size);
        mmi_heap_huge_track(huge, 0, size);
        start = huge->page.start;
    }
    mmi_heap_unlock();
    return start;
}

static void mmi_heap_huge_init(mmi_heap_huge *huge, char *start, const mmi_heap_mapping *mapping)
{
    huge->mapping = *mapping;
    memset(&huge->page, 0, sizeof(huge->page));
    huge->page.index = MMI_HEAP_DIRECT;
    huge->page.start = start;
    huge->page.capacity = huge->page.carved = huge->page.used = 1;
    huge->room = mapping->room;
}

/* A new mapping, made outside the lock. */
static void *mmi_heap_huge_map(mm_heap *heap, size_t size, size_t alignment)
{
    mmi_heap_mapping mapping;
    mmi_heap_huge *huge = NULL;
    char *start = mmi_heap_map(size, alignment, &mapping);
    if (start == NULL) return NULL;
    mmi_heap_lock();
    if (mmi_heap_leaf_make(start)) huge = mmi_heap_huge_record();
    if (huge != NULL) {
        mmi_heap_huge_init(huge, start, &mapping);
        huge->heap = heap;
        mmi_heap_huge_enter(huge, size);
        mmi_heap_huge_track(huge, 0, size);
        mmi_heap_commit(mapping.size);
        mmi_heap_regret(size);
    }
    mmi_heap_unlock();
    if (huge != NULL) return start;
    mmi_heap_unmap(&mapping);
    return NULL;
}

static void mmi_heap_give_all_locked(void)
{
    mmi_heap_lock();
    mmi_heap_give_all();
    mmi_heap_unlock();
}

/* size: a multiple of the granule. */
static void *mmi_heap_alloc_huge(mm_heap *heap, size_t size, size_t alignment, bool *zero)
{
    void *ptr;
    if (!mmi_heap_may_take(heap, size)) return NULL;
    ptr = mmi_heap_kept_take(heap, size, alignment);
    *zero = ptr == NULL;
    if (ptr == NULL) ptr = mmi_heap_huge_map(heap, size, alignment);
    if (ptr == NULL) { /* what is kept may be in the way */
        mmi_heap_give_all_locked();
        ptr = mmi_heap_huge_map(heap, size, alignment);
    }
    return ptr;
}

/* Puts the mapping of a live block among those that are kept. Lock held. */
static void mmi_heap_huge_keep(mmi_heap_huge *huge)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_huge_leave(huge);
    huge->heap = NULL;
    MM_TRACK_POISON(huge->page.start, huge->room);
    mmi_heap_huge_link(&huge->page, &h->kept);
    if (h->kept_last == NULL) h->kept_last = &huge->page;
    mmi_heap_idle_more(huge->page.block_size);
    if (++h->kept_count > MMI_HEAP_KEPT_MOST) h->purged += mmi_heap_kept_drop();
    mmi_heap_settle();
}

static void mmi_heap_huge_free(void *ptr)
{
    mmi_heap_page *page;
    bool ours, sound;
    size_t asked;
    mmi_heap_lock();
    page = mmi_heap_page_at(ptr); /* again: another thread may just have freed it, too */
    ours = page != NULL && page->index == MMI_HEAP_DIRECT && page->start == (char *)ptr;
    sound = !MMI_HEAP_SEALED || !ours || mmi_heap_seal_read_huge(page, &asked);
    if (ours && sound) mmi_heap_huge_keep((mmi_heap_huge *)(void *)page);
    mmi_heap_unlock();
    if (!ours) mmi_heap_misuse("mm_heap: not the start of a live block", ptr);
    else if (!sound) mmi_heap_overflown(ptr);
}

static size_t mmi_heap_huge_size(size_t size)
{
    return (size + MMI_HEAP_GRANULE - 1) & ~(MMI_HEAP_GRANULE - 1);
}

/* Makes a huge block larger or smaller within its mapping; false: it cannot. */
static bool mmi_heap_huge_resize(mmi_heap_page *page, size_t size)
{
    mmi_heap_huge *huge = (mmi_heap_huge *)(void *)page;
    size_t old = page->block_size;
    if (size > huge->room) return false;
    if (size > old && !mmi_heap_may_take(huge->heap, size - old)) return false;
    mmi_heap_lock();
    mmi_heap_huge_leave(huge);
    mmi_heap_huge_enter(huge, size);
    mmi_heap_huge_track(huge, old, size);
    mmi_heap_unlock();
    return true;
}

/* Tells Valgrind that memory which it takes for indeterminate has a value. */
static void mmi_heap_defined(void *ptr, size_t size)
{
#if defined(MM_VALGRIND) && defined(VALGRIND_MAKE_MEM_DEFINED)
    (void)VALGRIND_MAKE_MEM_DEFINED(ptr, size);
#else
    (void)ptr, (void)size;
#endif
}

/* Moves a huge block into a mapping that is half as large again as it has to be, so that it can
   grow on: the pages change their place and are not copied. NULL: it cannot. */
static void *mmi_heap_huge_move(mmi_heap_page *page, size_t size)
{
    mmi_heap_huge *huge = (mmi_heap_huge *)(void *)page;
    mmi_heap_mapping mapping, old = huge->mapping;
    size_t used = page->block_size;
    bool moved = false;
    char *start;
    if (!mmi_heap_may_take(huge->heap, size - used)) return NULL;
    start = mmi_heap_map(size + mmi_heap_huge_size(size / 2), MMI_HEAP_GRANULE, &mapping);
    if (start == NULL) return NULL;
    mmi_heap_lock();
    if (mmi_heap_leaf_make(start) && MM_SYS_MOVE(page->start, start, used)) {
        char *end = page->start + used;
        moved = true;
        mmi_heap_huge_leave(huge);
        MM_TRACK_UNPOISON(old.base, old.size);
        if ((char *)old.base < page->start) {
            MM_SYS_MUNMAP(old.base, (size_t)(page->start - (char *)old.base));
        }
        if (end < (char *)old.base + old.size) {
            MM_SYS_MUNMAP(end, (size_t)((char *)old.base + old.size - end));
        }
        mmi_heap_huge_init(huge, start, &mapping);
        mmi_heap_huge_enter(huge, size);
        mmi_heap_defined(start, used); /* Valgrind takes the place for new */
        mmi_heap_huge_track(huge, used, size);
        mmi_heap_uncommit(old.size);
        mmi_heap_commit(mapping.size);
    }
    mmi_heap_unlock();
    if (!moved) mmi_heap_unmap(&mapping);
    return moved ? start : NULL;
}

/* A region is a huge block that becomes an area: all its granules are in the page map. The page, or
   NULL. The caller enters what it is. */
static mmi_heap_page *mmi_heap_region_take(bool *clean)
{
    mmi_heap_central *h = &mmi_heap_here;
    char *start = (char *)mmi_heap_alloc_huge(NULL, MMI_HEAP_REGION, MMI_HEAP_GRANULE, clean);
    mmi_heap_huge *huge;
    if (start == NULL) return NULL;
    mmi_heap_lock();
    huge = (mmi_heap_huge *)(void *)mmi_heap_page_at(start);
    if (mmi_heap_leaf_make(start + MMI_HEAP_REGION - 1)) {
        mmi_heap_huge_leave(huge);
        huge->region_prev = NULL;
        huge->region_next = h->regions;
        if (h->regions != NULL) h->regions->region_prev = huge;
        h->regions = huge;
        huge->page.granules = MMI_HEAP_REGION / MMI_HEAP_GRANULE;
        if (MMI_HEAP_ENCODED) huge->page.key = mmi_heap_page_key_new();
        huge->page.carved = huge->page.used = 0;
        MM_TRACK_POISON(start, huge->room);
    } else {
        mmi_heap_huge_keep(huge);
        huge = NULL;
    }
    mmi_heap_unlock();
    return huge == NULL ? NULL : &huge->page;
}

/* Lock held. */
static void mmi_heap_region_give(mmi_heap_page *page)
{
    mmi_heap_huge *huge = (mmi_heap_huge *)(void *)page;
    mmi_heap_enter(page->start, page->granules, NULL);
    if (huge->region_next != NULL) huge->region_next->region_prev = huge->region_prev;
    if (huge->region_prev != NULL) huge->region_prev->region_next = huge->region_next;
    else mmi_heap_here.regions = huge->region_next;
    mmi_heap_huge_init(huge, page->start, &huge->mapping);
    mmi_heap_huge_enter(huge, MMI_HEAP_REGION);
    mmi_heap_huge_keep(huge);
}

// >>classes

static inline size_t mmi_heap_log2(size_t value)
{
#if defined(__GNUC__) || defined(__clang__)
    return (size_t)(63 - __builtin_clzll(value));
#else
    size_t bit = 0;
    while (value >>= 1) bit++;
    return bit;
#endif
}

/* 16, 32, ... 128, then four for each doubling: 160, 192, 224, 256, 320, ... 65536. */
static size_t mmi_heap_class_log(size_t size)
{
    size_t last = size - 1, shift = mmi_heap_log2(last);
    return 8 + (shift - 7) * 4 + (last >> (shift - 2) & 3);
}

/* What is most asked for by a table: it saves the shift, whose amount is known late. */
#define MMI_HEAP_TABLE_MAX 1024
static inline size_t mmi_heap_class_of(size_t size)
{
    static const uint8_t table[MMI_HEAP_TABLE_MAX / MMI_HEAP_ALIGN + 1] = {
        0,  0,  1,  2,  3,  4,  5,  6,  7,  8,  8,  9,  9,  10, 10, 11, 11, 12, 12, 12, 12, 13,
        13, 13, 13, 14, 14, 14, 14, 15, 15, 15, 15, 16, 16, 16, 16, 16, 16, 16, 16, 17, 17, 17,
        17, 17, 17, 17, 17, 18, 18, 18, 18, 18, 18, 18, 18, 19, 19, 19, 19, 19, 19, 19, 19};
    if (MM_LIKELY(size <= MMI_HEAP_TABLE_MAX)) return table[(size + 15) / MMI_HEAP_ALIGN];
    return mmi_heap_class_log(size);
}

static size_t mmi_heap_class_size(size_t index)
{
    if (index < 8) return (index + 1) * MMI_HEAP_ALIGN;
    return (5 + (index - 8) % 4) << (5 + (index - 8) / 4);
}

static inline bool mmi_heap_has_class(size_t size)
{
    return size <= (MM_HEAP_HUGE < MMI_HEAP_CLASS_MAX ? MM_HEAP_HUGE : MMI_HEAP_CLASS_MAX);
}

// >>blocks

/* The link and the key in a free block, which the memory checkers guard as nobody's. */
static inline void mmi_heap_block_open(mmi_heap_block *block)
{
#if defined(MM_VALGRIND) && defined(VALGRIND_MAKE_MEM_DEFINED)
    (void)VALGRIND_MAKE_MEM_DEFINED(block, sizeof(*block));
#else
    MM_TRACK_UNPOISON(block, sizeof(*block));
#endif
}

/* What is written into a free block is under a key of its page, so that who learns it from a block
   can forge no link in another page. Records of pages lie apart from blocks. */
static inline uint64_t mmi_heap_key_of(const mmi_heap_page *page)
{
    return MMI_HEAP_ENCODED ? page->key : mmi_heap_here.secret;
}

/* From a link to what stands in a block of the page, and back. */
static inline mmi_heap_block *mmi_heap_code(const mmi_heap_page *page, mmi_heap_block *link)
{
    if (!MMI_HEAP_ENCODED) return link;
    return (mmi_heap_block *)((uintptr_t)link ^ (uintptr_t)page->key);
}

/* What a link, as it stands in a block, adds to the block's mark; nothing, where a block is marked
   only while it travels. */
static inline uint64_t mmi_heap_mark_link(const mmi_heap_block *link)
{
    return MMI_HEAP_CHECKED ? (uint64_t)(uintptr_t)link * 0x9e3779b97f4a7c15u : 0;
}

/* A value that no program writes at that address by chance, and with MM_HEAP_SECURE tells whether
   the link, which is there already, was overwritten. */
static inline uint64_t mmi_heap_mark_of(const mmi_heap_page *page, const mmi_heap_block *block)
{
    uint64_t key = mmi_heap_key_of(page);
    return (key >> 32 | key << 32) ^ (uint64_t)(uintptr_t)block ^ mmi_heap_mark_link(block->next);
}

static inline mmi_heap_block *mmi_heap_block_next(mmi_heap_block *block)
{
    const mmi_heap_page *page = MMI_HEAP_ENCODED ? mmi_heap_page_at(block) : NULL;
    mmi_heap_block *next;
    mmi_heap_block_open(block);
    next = mmi_heap_code(page, block->next);
    MM_TRACK_POISON(block, sizeof(*block));
    return next;
}

static inline void mmi_heap_block_link(mmi_heap_block *block, mmi_heap_block *next)
{
    const mmi_heap_page *page = MMI_HEAP_ENCODED ? mmi_heap_page_at(block) : NULL;
    mmi_heap_block_open(block);
    next = mmi_heap_code(page, next);
    if (MMI_HEAP_CHECKED) { /* a mark that was wrong stays so */
        block->key ^= mmi_heap_mark_link(block->next) ^ mmi_heap_mark_link(next);
    }
    block->next = next;
    MM_TRACK_POISON(block, sizeof(*block));
}

static inline void mmi_heap_block_close(const mmi_heap_page *page, mmi_heap_block *block,
                                        mmi_heap_block *next, size_t size)
{
    block->next = mmi_heap_code(page, next);
    if (MMI_HEAP_CHECKED) block->key = mmi_heap_mark_of(page, block);
    MM_TRACK_POISON(block, size);
    (void)size;
}

/* Whether ptr is where a block of the page starts: a multiplication for a division, exact as
   offset / 16 < 2^15 and units <= 2^12. In a page of one block, only offset 0 passes. */
static inline bool mmi_heap_is_block(mmi_heap_page *page, const void *ptr)
{
    size_t offset = (size_t)((const char *)ptr - page->start), unit = offset / MMI_HEAP_ALIGN;
    size_t number = (size_t)(((uint64_t)unit * page->inverse) >> 32);
    return offset % MMI_HEAP_ALIGN == 0 && number * page->units == unit &&
           number < mmi_heap_peek(&page->carved);
}

/* The cache that a page belongs to; NULL for a huge block. */
static inline mmi_heap_cache *mmi_heap_owner(mmi_heap_page *page)
{
    return (mmi_heap_cache *)(mmi_heap_peek(&page->owner) & ~MMI_HEAP_OWNER_FLAGS);
}

/* What the owner field of a page says, with a flag or none for an area. */
static inline size_t mmi_heap_owner_word(const mmi_heap_cache *cache, size_t flag)
{
    return (size_t)cache + flag + (cache->heap != NULL ? MMI_HEAP_OWNER_HEAP : 0);
}

/* The first-class heap that a live block's page belongs to; NULL: the process's. */
static inline mm_heap *mmi_heap_of(mmi_heap_page *page)
{
    size_t owner = mmi_heap_peek(&page->owner);
    if (owner == 0) return ((mmi_heap_huge *)(void *)page)->heap;
    return (owner & MMI_HEAP_OWNER_HEAP) != 0 ? mmi_heap_owner(page)->heap : NULL;
}

// >>chunks

/* Blocks above the classes and up to MM_HEAP_HUGE are chunks of an area, which is a whole span that
   one cache owns. A chunk has its size in front, and the chunk behind it has it again (the boundary
   tag), so that both neighbours of a chunk are found. A chunk that is freed waits in the unsorted
   cache, a ring of the last few, where a request of nearly the same size finds it without a look at
   any chunk. The next ones push it out, and then it is sorted: joined with its neighbours where
   these are free, and put into the list of its size in the sorted cache; a bit for each list tells
   which have one. A request that no waiting chunk fits takes the smallest sorted one, within an
   eighth, and the rest is sorted again.

   Classes would lose up to a fifth in each block and could not give back what lies between live
   blocks; below 32 KiB they do better, for a chunk costs four or five cache misses when it is
   joined and split. */

static inline mmi_heap_chunk *mmi_heap_chunk_of(const void *ptr)
{
    return (mmi_heap_chunk *)(uintptr_t)((uintptr_t)ptr - MMI_HEAP_CHUNK_HEADER);
}

static inline char *mmi_heap_chunk_block(mmi_heap_chunk *chunk)
{
    return (char *)chunk + MMI_HEAP_CHUNK_HEADER;
}

static inline size_t mmi_heap_chunk_size(const mmi_heap_chunk *chunk)
{
    return chunk->size & ~MMI_HEAP_CHUNK_FLAGS;
}

static inline mmi_heap_chunk *mmi_heap_chunk_at(mmi_heap_chunk *chunk, size_t offset)
{
    return (mmi_heap_chunk *)(void *)((char *)chunk + offset);
}

static inline mmi_heap_chunk *mmi_heap_area_first(const mmi_heap_page *area)
{
    return (mmi_heap_chunk *)(void *)(area->start + MMI_HEAP_AREA_START);
}

/* What the chunks of an area share. */
static inline size_t mmi_heap_area_size(const mmi_heap_page *area)
{
    return area->granules * MMI_HEAP_GRANULE - MMI_HEAP_CHUNK_UNIT;
}

/* Whether a chunk is in the sorted cache. */
static inline bool mmi_heap_chunk_sorted(const mmi_heap_chunk *chunk)
{
    return (chunk->size & (MMI_HEAP_CHUNK_USED | MMI_HEAP_CHUNK_WAITING)) == 0;
}

static inline void mmi_heap_chunk_set(mmi_heap_chunk *chunk, size_t size, size_t flags)
{
    chunk->size = size | flags;
    mmi_heap_chunk_at(chunk, size)->before = size;
}

/* The bytes of a request as a chunk. */
static inline size_t mmi_heap_chunk_need(size_t size)
{
    size = (size + MMI_HEAP_CHUNK_HEADER + MMI_HEAP_CHUNK_UNIT - 1) & ~(MMI_HEAP_CHUNK_UNIT - 1);
    return size < MMI_HEAP_CHUNK_MIN ? MMI_HEAP_CHUNK_MIN : size;
}

/* Whether a live block starts at ptr, in an area. Its own header cannot change meanwhile, nor the
   tag behind it, so any thread may look. */
static bool mmi_heap_chunk_is_live(mmi_heap_page *page, const void *ptr)
{
    mmi_heap_chunk *chunk = mmi_heap_chunk_of(ptr);
    size_t offset = (size_t)((const char *)ptr - page->start) - MMI_HEAP_CHUNK_UNIT, size;
    if (offset % MMI_HEAP_CHUNK_UNIT != 0 || offset >= mmi_heap_area_size(page)) return false;
    mmi_heap_block_open((mmi_heap_block *)(void *)chunk);
    size = mmi_heap_chunk_size(chunk);
    if ((chunk->size & MMI_HEAP_CHUNK_FLAGS) != MMI_HEAP_CHUNK_USED) return false;
    if (size % MMI_HEAP_CHUNK_UNIT != 0 || size > mmi_heap_area_size(page) - offset) return false;
    chunk = mmi_heap_chunk_at(chunk, size);
    mmi_heap_block_open((mmi_heap_block *)(void *)chunk);
    return chunk->before == size;
}

/* Whether a live block starts at ptr, as far as can be told at once. */
static inline bool mmi_heap_is_live(mmi_heap_page *page, const void *ptr)
{
    if (MM_LIKELY(page->index < MMI_HEAP_CLASSES)) return mmi_heap_is_block(page, ptr);
    if (page->index == MMI_HEAP_AREA) return mmi_heap_chunk_is_live(page, ptr);
    return ptr == page->start;
}

/* The size of the live block at ptr. */
static inline size_t mmi_heap_block_size(const mmi_heap_page *page, const void *ptr)
{
    if (MM_LIKELY(page->index != MMI_HEAP_AREA)) return page->block_size;
    return mmi_heap_chunk_size(mmi_heap_chunk_of(ptr)) - MMI_HEAP_CHUNK_HEADER;
}

/* Makes asked what was asked for of a live block, wherever it lies. */
static void mmi_heap_seal(void *ptr, size_t asked)
{
    mmi_heap_page *page = mmi_heap_page_at(ptr);
    if (page->index == MMI_HEAP_DIRECT) mmi_heap_seal_huge(page, asked);
    else mmi_heap_seal_room((char *)ptr, mmi_heap_block_size(page, ptr), asked);
}

/* What was asked for of a live block; false: it was written to behind that. */
static inline bool mmi_heap_asked(const mmi_heap_page *page, const void *ptr, size_t *asked)
{
    if (MM_UNLIKELY(page->index == MMI_HEAP_DIRECT)) return mmi_heap_seal_read_huge(page, asked);
    return mmi_heap_seal_read((const char *)ptr, mmi_heap_block_size(page, ptr), asked);
}

/* Seals a new block of a class; larger ones were sealed where they were made. whole: from
   mmi_heap_whole. */
static inline void *mmi_heap_sealed(void *ptr, size_t whole)
{
    mmi_heap_page *page;
    if (!MMI_HEAP_SEALED || MM_UNLIKELY(ptr == NULL)) return ptr;
    page = mmi_heap_page_at(ptr);
    if (MM_LIKELY(page->index < MMI_HEAP_CLASSES)) {
        mmi_heap_seal_room((char *)ptr, page->block_size, whole - MMI_HEAP_SEAL);
    }
    return ptr;
}

static inline size_t mmi_heap_bin_of(size_t size)
{
    size_t shift = mmi_heap_log2(size);
    return (shift - 10) * 8 + (size >> (shift - 3) & 7);
}

/* The links of a sorted chunk are opened while they are used, as those of free blocks are. */
static inline void mmi_heap_links_open(mmi_heap_chunk *chunk)
{
    mmi_heap_block_open((mmi_heap_block *)(void *)&chunk->prev);
}

static inline void mmi_heap_links_close(mmi_heap_chunk *chunk)
{
    MM_TRACK_POISON(&chunk->prev, 2 * sizeof(void *));
    (void)chunk;
}

/* From a link to what stands in a sorted chunk, and back. */
static inline mmi_heap_chunk *mmi_heap_chunk_link(mmi_heap_chunk *link)
{
    if (!MMI_HEAP_ENCODED) return link;
    return (mmi_heap_chunk *)((uintptr_t)link ^ (uintptr_t)mmi_heap_here.secret);
}

static inline void mmi_heap_links_set(mmi_heap_chunk *chunk, mmi_heap_chunk *prev,
                                      mmi_heap_chunk *next)
{
    mmi_heap_links_open(chunk);
    chunk->prev = mmi_heap_chunk_link(prev);
    chunk->next = mmi_heap_chunk_link(next);
    mmi_heap_links_close(chunk);
}

static inline void mmi_heap_links_get(mmi_heap_chunk *chunk, mmi_heap_chunk **prev,
                                      mmi_heap_chunk **next)
{
    mmi_heap_links_open(chunk);
    *prev = mmi_heap_chunk_link(chunk->prev);
    *next = mmi_heap_chunk_link(chunk->next);
    mmi_heap_links_close(chunk);
}

/* Whether a link that was read from a chunk leads to a chunk of a list. */
static bool mmi_heap_link_leads(const mmi_heap_chunk *chunk)
{
    const mmi_heap_page *page = mmi_heap_page_at(chunk);
    return page != NULL && page->index == MMI_HEAP_AREA &&
           (uintptr_t)chunk % MMI_HEAP_CHUNK_UNIT == MMI_HEAP_AREA_START;
}

/* Whether a chunk is in the list, between its neighbours: who can write to it, or forge one where a
   size is made to lead, is to reach nothing else by having it taken off. */
static bool mmi_heap_links_sound(mmi_heap_cache *cache, mmi_heap_chunk *chunk, size_t bin)
{
    mmi_heap_chunk *prev, *next, *back, *other;
    if (!mmi_heap_link_leads(chunk) || bin >= MMI_HEAP_BINS) return false;
    mmi_heap_links_get(chunk, &prev, &next);
    if (next != NULL) {
        if (!mmi_heap_link_leads(next)) return false;
        mmi_heap_links_get(next, &back, &other);
        if (back != chunk) return false;
    }
    if (prev == NULL) return cache->sorted[bin] == chunk;
    if (!mmi_heap_link_leads(prev)) return false;
    mmi_heap_links_get(prev, &other, &back);
    return back == chunk;
}

/* Nothing of a list is used any more in which a link was overwritten. */
static MM_COLD void mmi_heap_links_broken(mmi_heap_cache *cache, const mmi_heap_chunk *chunk,
                                          size_t bin)
{
    if (bin < MMI_HEAP_BINS) {
        cache->sorted[bin] = NULL;
        cache->sorted_bits[bin / 64] &= ~((uint64_t)1 << bin % 64);
    }
    mmi_heap_written_to(cache, chunk);
}

static void mmi_heap_sorted_put(mmi_heap_cache *cache, mmi_heap_chunk *chunk)
{
    size_t size = mmi_heap_chunk_size(chunk), bin = mmi_heap_bin_of(size);
    mmi_heap_chunk *next = cache->sorted[bin];
    mmi_heap_links_set(chunk, NULL, next);
    if (next != NULL) {
        mmi_heap_links_open(next);
        next->prev = mmi_heap_chunk_link(chunk);
        mmi_heap_links_close(next);
    }
    cache->sorted[bin] = chunk;
    cache->sorted_bits[bin / 64] |= (uint64_t)1 << bin % 64;
    if ((chunk->size & MMI_HEAP_CHUNK_CLEAN) != 0) {
        mmi_heap_poke(&cache->clean, mmi_heap_peek(&cache->clean) + size);
        return;
    }
    cache->idle += size;
    if (cache->idle > cache->idle_high) cache->idle_high = cache->idle;
}

/* Takes a chunk off its list; false: MM_HEAP_SECURE finds that it is in none. */
static bool mmi_heap_sorted_take(mmi_heap_cache *cache, mmi_heap_chunk *chunk)
{
    size_t size = mmi_heap_chunk_size(chunk), bin = mmi_heap_bin_of(size);
    mmi_heap_chunk *next, *prev;
    if (MMI_HEAP_CHECKED && MM_UNLIKELY(!mmi_heap_links_sound(cache, chunk, bin))) {
        mmi_heap_links_broken(cache, chunk, bin);
        return false;
    }
    mmi_heap_links_get(chunk, &prev, &next);
    if (next != NULL) {
        mmi_heap_links_open(next);
        next->prev = mmi_heap_chunk_link(prev);
        mmi_heap_links_close(next);
    }
    if (prev != NULL) {
        mmi_heap_links_open(prev);
        prev->next = mmi_heap_chunk_link(next);
        mmi_heap_links_close(prev);
    } else if ((cache->sorted[bin] = next) == NULL) {
        cache->sorted_bits[bin / 64] &= ~((uint64_t)1 << bin % 64);
    }
    if ((chunk->size & MMI_HEAP_CHUNK_CLEAN) != 0) {
        mmi_heap_poke(&cache->clean, mmi_heap_peek(&cache->clean) - size);
        return true;
    }
    cache->idle -= size;
    if (cache->idle < cache->idle_low) cache->idle_low = cache->idle;
    return true;
}

/* A sorted chunk of at least the size: one of the first in the list where such may be, or any from
   a list above. */
static mmi_heap_chunk *mmi_heap_sorted_find(mmi_heap_cache *cache, size_t need)
{
    size_t bin = mmi_heap_bin_of(need), look;
    mmi_heap_chunk *chunk = cache->sorted[bin], *prev, *next;
    for (look = 0; chunk != NULL && look < MMI_HEAP_BIN_LOOK; look++) {
        if (mmi_heap_chunk_size(chunk) >= need) return chunk;
        if (MMI_HEAP_CHECKED && MM_UNLIKELY(!mmi_heap_links_sound(cache, chunk, bin))) {
            mmi_heap_links_broken(cache, chunk, bin);
            break;
        }
        mmi_heap_links_get(chunk, &prev, &next);
        chunk = next;
    }
    for (bin++; bin < MMI_HEAP_BINS; bin = (bin / 64 + 1) * 64) {
        uint64_t bits = cache->sorted_bits[bin / 64] >> bin % 64;
        if (bits != 0) return cache->sorted[bin + mmi_heap_lowest(bits)];
    }
    return NULL;
}

/* Makes of the header and the links that lie where two free chunks were joined what a free chunk
   is inside: zero if it is to be clean, and nobody's. */
static void mmi_heap_chunk_absorb(mmi_heap_chunk *chunk, bool clean)
{
    MM_TRACK_UNPOISON(chunk, sizeof(*chunk));
    if (clean) memset(chunk, 0, sizeof(*chunk));
    MM_TRACK_POISON(chunk, sizeof(*chunk));
}

/* Gives an area that is free as a whole to the page heap. */
static void mmi_heap_area_give(mmi_heap_cache *cache, mmi_heap_page *page)
{
    if (page->next != NULL) page->next->prev = page->prev;
    if (page->prev != NULL) page->prev->next = page->next;
    else cache->areas = page->next;
    MM_TRACK_POISON(page->start, page->granules * MMI_HEAP_GRANULE);
    mmi_heap_lock();
    mmi_heap_disown(cache->heap, page);
    if (page->span != NULL) mmi_heap_page_give(page);
    else mmi_heap_region_give(page);
    mmi_heap_unlock();
}

/* Whether another area of the size is free as a whole: one is kept. */
static bool mmi_heap_area_spare(const mmi_heap_cache *cache, size_t size)
{
    const mmi_heap_chunk *chunk = cache->sorted[mmi_heap_bin_of(size)];
    return chunk != NULL && mmi_heap_chunk_size(chunk) == size;
}

/* Gives away all areas that are free as a whole. */
static void mmi_heap_area_drop(mmi_heap_cache *cache)
{
    mmi_heap_page *page, *next;
    for (page = cache->areas; page != NULL; page = next) {
        mmi_heap_chunk *chunk = mmi_heap_area_first(page);
        next = page->next;
        if (!mmi_heap_chunk_sorted(chunk)) continue;
        if (mmi_heap_chunk_size(chunk) != mmi_heap_area_size(page)) continue;
        if (mmi_heap_sorted_take(cache, chunk)) mmi_heap_area_give(cache, page);
    }
}

/* Lets go of the memory of a chunk that is in no list, if it has whole pages. */
static bool mmi_heap_chunk_purge(mmi_heap_chunk *chunk)
{
    uintptr_t page = mmi_heap_here.os_page;
    char *start = (char *)(chunk + 1), *end = (char *)chunk + mmi_heap_chunk_size(chunk);
    char *first = (char *)(((uintptr_t)start + page - 1) & ~(page - 1));
    char *last = (char *)((uintptr_t)end & ~(page - 1));
    bool done;
    if (first >= last) return false;
    MM_TRACK_UNPOISON(start, (size_t)(end - start));
    mmi_heap_span_shrink(mmi_heap_page_at(chunk)->span);
    done = MM_SYS_PURGE(first, (size_t)(last - first));
    if (done) {
        memset(start, 0, (size_t)(first - start));
        memset(last, 0, (size_t)(end - last));
        chunk->size |= MMI_HEAP_CHUNK_CLEAN;
        mmi_heap_returned((size_t)(last - first));
    }
    MM_TRACK_POISON(start, (size_t)(end - start));
    return done;
}

/* A chunk is about to be sorted, in a cache that has more idle than it should. */
static void mmi_heap_sorted_limit(mmi_heap_cache *cache, mmi_heap_chunk *chunk)
{
    size_t size = mmi_heap_chunk_size(chunk);
    if (cache->idle + size <= MMI_HEAP_IDLE_CACHE + cache->idle_limit) return;
    if (size < MMI_HEAP_GRANULE || (chunk->size & MMI_HEAP_CHUNK_CLEAN) != 0) return;
    if (mmi_heap_chunk_purge(chunk)) cache->purged += size;
}

/* Joins a chunk that is neither used nor in a list with its free neighbours, and sorts it. */
static void mmi_heap_chunk_sort(mmi_heap_cache *cache, mmi_heap_chunk *chunk)
{
    size_t size = mmi_heap_chunk_size(chunk), clean = chunk->size & MMI_HEAP_CHUNK_CLEAN;
    mmi_heap_chunk *next = mmi_heap_chunk_at(chunk, size), *prev;
    if (mmi_heap_chunk_sorted(next) && mmi_heap_sorted_take(cache, next)) {
        size += mmi_heap_chunk_size(next);
        clean &= next->size;
        mmi_heap_chunk_absorb(next, clean != 0);
    }
    if (chunk->before != 0) {
        prev = mmi_heap_chunk_at(chunk, (size_t)0 - chunk->before);
        if (mmi_heap_chunk_sorted(prev) && mmi_heap_sorted_take(cache, prev)) {
            size += mmi_heap_chunk_size(prev);
            clean &= prev->size;
            mmi_heap_chunk_absorb(chunk, clean != 0);
            chunk = prev;
        }
    }
    mmi_heap_chunk_set(chunk, size, clean);
    if (chunk->before == 0 && mmi_heap_chunk_size(mmi_heap_chunk_at(chunk, size)) == 0 &&
        mmi_heap_area_spare(cache, size)) {
        mmi_heap_area_give(cache, mmi_heap_page_at(chunk));
    } else {
        mmi_heap_sorted_limit(cache, chunk);
        mmi_heap_sorted_put(cache, chunk);
    }
}

/* Splits off and sorts what a chunk has beyond a size; flags: what the rest is. */
static void mmi_heap_chunk_split(mmi_heap_cache *cache, mmi_heap_chunk *chunk, size_t keep,
                                 size_t flags)
{
    size_t rest = mmi_heap_chunk_size(chunk) - keep;
    mmi_heap_chunk *behind = mmi_heap_chunk_at(chunk, keep);
    if (rest < MMI_HEAP_CHUNK_MIN) return;
    MM_TRACK_UNPOISON(behind, MMI_HEAP_CHUNK_HEADER);
    mmi_heap_chunk_set(chunk, keep, chunk->size & MMI_HEAP_CHUNK_FLAGS);
    mmi_heap_chunk_set(behind, rest, flags);
    mmi_heap_chunk_sort(cache, behind);
}

/* Lets go of sorted chunks, from the largest down, until this many bytes are gone or no more is
   worth it; at most so many chunks. */
static void mmi_heap_sorted_purge(mmi_heap_cache *cache, size_t bytes, size_t least, size_t most)
{
    size_t bin = MMI_HEAP_BINS, end = mmi_heap_bin_of(least);
    while (bin-- > end && bytes > 0) {
        mmi_heap_chunk *chunk = cache->sorted[bin], *prev, *next;
        for (; chunk != NULL && bytes > 0; chunk = next) {
            size_t size = mmi_heap_chunk_size(chunk);
            if (MMI_HEAP_CHECKED && MM_UNLIKELY(!mmi_heap_links_sound(cache, chunk, bin))) {
                mmi_heap_links_broken(cache, chunk, bin);
                break;
            }
            mmi_heap_links_get(chunk, &prev, &next);
            if ((chunk->size & MMI_HEAP_CHUNK_CLEAN) != 0) continue;
            if (most-- == 0) return;
            if (!mmi_heap_sorted_take(cache, chunk)) break;
            (void)mmi_heap_chunk_purge(chunk);
            mmi_heap_sorted_put(cache, chunk);
            bytes -= size < bytes ? size : bytes;
        }
    }
}

/* Called now and then by whoever uses the cache: of what was idle all the time since the last tick,
   here and in the page heap, a quarter goes back. */
static void mmi_heap_cache_tick(mmi_heap_cache *cache)
{
    if (!mmi_heap_tick_due(&cache->ticked, &cache->until_tick)) return;
    if (cache->idle_low > MMI_HEAP_IDLE_KEEP) {
        mmi_heap_sorted_purge(cache, cache->idle_low / 4, MMI_HEAP_GRANULE, 16);
    }
    cache->idle_low = cache->idle;
    cache->idle_limit =
        mmi_heap_limit_fall(cache->idle_limit, MMI_HEAP_IDLE_CACHE, cache->idle_high);
    cache->purged -= cache->purged / 8;
    cache->idle_high = cache->idle;
    mmi_heap_lock();
    mmi_heap_here.until_tick = 0;
    mmi_heap_settle();
    mmi_heap_unlock();
}

/* A waiting chunk of about the size, or NULL. */
static mmi_heap_chunk *mmi_heap_unsorted_find(mmi_heap_cache *cache, size_t need)
{
    size_t i, first = MMI_HEAP_DELAYED ? cache->unsorted_next : 0; /* the oldest */
    for (i = 0; i < MMI_HEAP_WAITING - MMI_HEAP_DELAY_CHUNKS; i++) {
        mmi_heap_waiting *waiting = &cache->unsorted[(first + i) % MMI_HEAP_WAITING];
        if (waiting->size - need > need / 8) continue; /* what is smaller wraps round */
        waiting->size = 0;
        return waiting->chunk;
    }
    return NULL;
}

static void mmi_heap_unsorted_put(mmi_heap_cache *cache, mmi_heap_chunk *chunk)
{
    mmi_heap_waiting *place = &cache->unsorted[cache->unsorted_next], oldest = *place;
    place->chunk = chunk;
    place->size = mmi_heap_chunk_size(chunk);
    cache->unsorted_next = (cache->unsorted_next + 1) % MMI_HEAP_WAITING;
    if (oldest.size == 0) return;
    mmi_heap_chunk_set(oldest.chunk, oldest.size, 0);
    mmi_heap_chunk_sort(cache, oldest.chunk);
    mmi_heap_cache_tick(cache);
}

/* Sorts the waiting chunks, but for the newest so many. */
static void mmi_heap_unsorted_sort(mmi_heap_cache *cache, size_t keep)
{
    size_t i, first = MMI_HEAP_DELAYED ? cache->unsorted_next : 0; /* the oldest */
    for (i = 0; i < MMI_HEAP_WAITING - keep; i++) {
        mmi_heap_waiting *place = &cache->unsorted[(first + i) % MMI_HEAP_WAITING];
        mmi_heap_waiting waiting = *place;
        if (waiting.size == 0) continue;
        place->size = 0;
        mmi_heap_chunk_set(waiting.chunk, waiting.size, 0);
        mmi_heap_chunk_sort(cache, waiting.chunk);
    }
}

static void mmi_heap_unsorted_flush(mmi_heap_cache *cache)
{
    mmi_heap_unsorted_sort(cache, 0);
}

static void mmi_heap_area_count(mmi_heap_page *page, size_t more, size_t less, size_t blocks)
{
    mmi_heap_poke(&page->used, mmi_heap_peek(&page->used) + more - less);
    mmi_heap_poke(&page->carved, mmi_heap_peek(&page->carved) + blocks);
}

/* A live block of an own area becomes a waiting chunk. */
static void mmi_heap_chunk_free(mmi_heap_cache *cache, mmi_heap_page *page, void *block)
{
    mmi_heap_chunk *chunk = mmi_heap_chunk_of(block);
    size_t size = mmi_heap_chunk_size(chunk);
    MM_TRACK_POISON(block, size - MMI_HEAP_CHUNK_HEADER);
    chunk->size = size | MMI_HEAP_CHUNK_WAITING;
    mmi_heap_area_count(page, 0, size - MMI_HEAP_CHUNK_HEADER, (size_t)0 - 1);
    if (size <= MMI_HEAP_WAITING_MAX) {
        mmi_heap_unsorted_put(cache, chunk);
    } else {
        chunk->size = size;
        mmi_heap_chunk_sort(cache, chunk);
        mmi_heap_cache_tick(cache);
    }
}

/* Makes a page an area of the cache, one free chunk in all. */
static void mmi_heap_area_init(mmi_heap_cache *cache, mmi_heap_page *page, bool clean)
{
    mmi_heap_chunk *chunk = mmi_heap_area_first(page);
    size_t size = mmi_heap_area_size(page);
    page->prev = NULL;
    page->next = cache->areas;
    if (cache->areas != NULL) cache->areas->prev = page;
    cache->areas = page;
    MM_TRACK_UNPOISON(chunk, MMI_HEAP_CHUNK_HEADER);
    MM_TRACK_UNPOISON((char *)chunk + size, MMI_HEAP_CHUNK_HEADER);
    mmi_heap_chunk_at(chunk, size)->size = MMI_HEAP_CHUNK_USED; /* the end, of size 0 */
    chunk->before = 0;
    mmi_heap_chunk_set(chunk, size, clean ? MMI_HEAP_CHUNK_CLEAN : 0);
    mmi_heap_sorted_put(cache, chunk);
}

/* How long an area is to be where a chunk of the size fits; 0: the heap's limit is in the way. A
   first-class heap may be small, and one of many: it begins with half a MiB. */
static size_t mmi_heap_area_granules(const mmi_heap_cache *cache, size_t need)
{
    const mm_heap *heap = cache->heap;
    size_t least = (need + MMI_HEAP_CHUNK_UNIT + MMI_HEAP_GRANULE - 1) / MMI_HEAP_GRANULE, length;
    if (need > MMI_HEAP_SPAN_CHUNK) length = least = MMI_HEAP_REGION / MMI_HEAP_GRANULE;
    else if (heap == NULL) length = MMI_HEAP_SPAN_GRANULES;
    else length = MMI_HEAP_MEDIUM_GRANULES + mmi_heap_peek(&heap->held) / MMI_HEAP_GRANULE;
    if (need <= MMI_HEAP_SPAN_CHUNK && length > MMI_HEAP_SPAN_GRANULES) {
        length = MMI_HEAP_SPAN_GRANULES;
    }
    if (length < least || !mmi_heap_may_take(heap, length * MMI_HEAP_GRANULE)) length = least;
    return mmi_heap_may_take(heap, length * MMI_HEAP_GRANULE) ? length : 0;
}

/* A new area where a chunk of the size fits; false when there is no memory. */
static bool mmi_heap_area_new(mmi_heap_cache *cache, size_t need)
{
    size_t granules = mmi_heap_area_granules(cache, need);
    mmi_heap_page *page = NULL;
    bool clean;
    if (granules == 0) return false;
    if (need > MMI_HEAP_SPAN_CHUNK && (page = mmi_heap_region_take(&clean)) == NULL) return false;
    mmi_heap_lock();
    if (page == NULL) page = mmi_heap_page_take(granules, &clean);
    if (page != NULL) {
        page->index = MMI_HEAP_AREA;
        page->block_size = 1; /* of no meaning, but not 0 */
        page->owner = mmi_heap_owner_word(cache, MMI_HEAP_OWNER_AREA);
        mmi_heap_enter(page->start, page->granules, page);
        mmi_heap_own(cache->heap, page);
    }
    mmi_heap_unlock();
    if (page != NULL) mmi_heap_area_init(cache, page, clean);
    return page != NULL;
}

/* Hands areas over, which have no waiting chunk: a chunk that is on its way to other travels on. */
static void mmi_heap_areas_adopt(mmi_heap_cache *cache, mmi_heap_cache *other)
{
    mmi_heap_page *page, *next;
    size_t bin;
    for (page = other->areas; page != NULL; page = next) {
        next = page->next;
        mmi_heap_poke(&page->owner, mmi_heap_owner_word(cache, MMI_HEAP_OWNER_AREA));
        page->prev = NULL;
        page->next = cache->areas;
        if (cache->areas != NULL) cache->areas->prev = page;
        cache->areas = page;
    }
    other->areas = NULL;
    for (bin = 0; bin < MMI_HEAP_BINS; bin++) {
        mmi_heap_chunk *chunk;
        while ((chunk = other->sorted[bin]) != NULL) {
            if (mmi_heap_sorted_take(other, chunk)) mmi_heap_sorted_put(cache, chunk);
            else other->sorted[bin] = NULL; /* whatever its size says now */
        }
    }
}

/* A chunk becomes a live block; the rest of it is sorted. *zero: the block is zero. */
static void *mmi_heap_chunk_give(mmi_heap_cache *cache, mmi_heap_chunk *chunk, size_t need,
                                 bool *zero)
{
    size_t clean = chunk->size & MMI_HEAP_CHUNK_CLEAN;
    char *block = mmi_heap_chunk_block(chunk);
    chunk->size = mmi_heap_chunk_size(chunk) | MMI_HEAP_CHUNK_USED;
    if (clean != 0 || mmi_heap_chunk_size(chunk) - need > need / 8) {
        mmi_heap_chunk_split(cache, chunk, need, clean);
    }
    need = mmi_heap_chunk_size(chunk) - MMI_HEAP_CHUNK_HEADER;
    MM_TRACK_UNPOISON(block, need);
    if (clean != 0) memset(block, 0, sizeof(*chunk) - MMI_HEAP_CHUNK_HEADER);
    if (MMI_HEAP_CHECKED) ((mmi_heap_block *)(void *)block)->key = 0;
    *zero = clean != 0;
    if (clean != 0 && cache->purged != 0) {
        size_t regret = need < cache->purged ? need : cache->purged;
        cache->purged -= regret;
        cache->idle_limit += regret;
    }
    mmi_heap_area_count(mmi_heap_page_at(chunk), need, 0, 1);
    return block;
}

/* A chunk of at least the size, off its list, from what the cache has; or NULL. */
static mmi_heap_chunk *mmi_heap_chunk_take(mmi_heap_cache *cache, size_t need)
{
    mmi_heap_chunk *chunk = mmi_heap_unsorted_find(cache, need);
    if (chunk != NULL) return chunk;
    chunk = mmi_heap_sorted_find(cache, need);
    if (chunk == NULL) {
        mmi_heap_unsorted_sort(cache, MMI_HEAP_DELAY_CHUNKS);
        chunk = mmi_heap_sorted_find(cache, need);
    }
    return chunk != NULL && mmi_heap_sorted_take(cache, chunk) ? chunk : NULL;
}

/* Cuts off and sorts so much of a chunk that is off its list that the block starts at a multiple
   of alignment; what remains. */
static mmi_heap_chunk *mmi_heap_chunk_align(mmi_heap_cache *cache, mmi_heap_chunk *chunk,
                                            size_t alignment)
{
    uintptr_t block = (uintptr_t)mmi_heap_chunk_block(chunk);
    uintptr_t aligned = (block + alignment - 1) & ~(uintptr_t)(alignment - 1);
    size_t size = mmi_heap_chunk_size(chunk), flags = chunk->size & MMI_HEAP_CHUNK_CLEAN;
    mmi_heap_chunk *rest;
    while (aligned != block && aligned - block < MMI_HEAP_CHUNK_MIN) aligned += alignment;
    if (aligned == block) return chunk;
    rest = mmi_heap_chunk_at(chunk, aligned - block);
    MM_TRACK_UNPOISON(rest, MMI_HEAP_CHUNK_HEADER);
    mmi_heap_chunk_set(chunk, aligned - block, flags);
    mmi_heap_chunk_set(rest, size - (aligned - block), flags | MMI_HEAP_CHUNK_USED);
    mmi_heap_chunk_sort(cache, chunk);
    rest->size &= ~MMI_HEAP_CHUNK_USED;
    return rest;
}

/* Makes a live block of an own area larger or smaller where it is; false: it cannot. */
static bool mmi_heap_chunk_resize(mmi_heap_cache *cache, mmi_heap_page *page, void *block,
                                  size_t need)
{
    mmi_heap_chunk *chunk = mmi_heap_chunk_of(block), *next;
    size_t old = mmi_heap_chunk_size(chunk), size = old, clean = 0;
    if (need > size) {
        next = mmi_heap_chunk_at(chunk, size);
        if ((next->size & MMI_HEAP_CHUNK_WAITING) != 0) {
            mmi_heap_unsorted_sort(cache, MMI_HEAP_DELAY_CHUNKS);
        }
        if (!mmi_heap_chunk_sorted(next)) return false;
        size += mmi_heap_chunk_size(next);
        if (size < need) return false;
        clean = next->size & MMI_HEAP_CHUNK_CLEAN;
        if (!mmi_heap_sorted_take(cache, next)) return false;
        MM_TRACK_UNPOISON(next, size - old);
        mmi_heap_chunk_set(chunk, size, MMI_HEAP_CHUNK_USED);
    }
    if (size - need >= MMI_HEAP_CHUNK_MIN) {
        MM_TRACK_POISON((char *)chunk + need, size - need);
        mmi_heap_chunk_split(cache, chunk, need, clean);
    }
    mmi_heap_area_count(page, mmi_heap_chunk_size(chunk), old, 0);
    return true;
}

// >>cache

/* Whether a block of a page goes into the list: it is shorter than its limit, or takes the page's.
   Each question by itself is hard to predict when blocks of many sizes are freed, so there is one
   jump for both, on a sign: compilers make two of an operator (a web server's work took 1.25 times
   as long). */
static inline bool mmi_heap_fast_takes(const mmi_heap_fast *fast, const mmi_heap_page *page)
{
    size_t same = ((uintptr_t)fast->page ^ (uintptr_t)page) >> (sizeof(void *) == 4);
    same--; /* negative: it is; on 64 bits addresses have 48 at most */
    return MM_LIKELY((ptrdiff_t)(mmi_heap_peek(&fast->over) | same) < 0);
}

static inline size_t mmi_heap_fast_count(const mmi_heap_fast *fast)
{
    return mmi_heap_peek(&fast->limit) + mmi_heap_peek(&fast->over);
}

static inline void mmi_heap_fast_push(mmi_heap_fast *fast, const mmi_heap_page *page,
                                      mmi_heap_block *block, size_t size)
{
    mmi_heap_block_close(page, block, fast->list, size);
    fast->list = block;
    mmi_heap_poke(&fast->over, mmi_heap_peek(&fast->over) + 1);
}

/* Whether a block of the page is free, which is live as far as can be told. */
static inline bool mmi_heap_is_marked(const mmi_heap_page *page, mmi_heap_block *block)
{
    bool marked;
    if (!MMI_HEAP_CHECKED) return true;
    mmi_heap_block_open(block);
    marked = block->key == mmi_heap_mark_of(page, block);
    MM_TRACK_POISON(block, sizeof(*block));
    return marked;
}

/* A link was overwritten and leads anywhere. The rest of the list is lost. */
static MM_COLD void *mmi_heap_fast_broken(mmi_heap_fast *fast, size_t index)
{
    mmi_heap_block *block = fast->list;
    fast->list = NULL;
    mmi_heap_poke(&fast->over, (size_t)0 - mmi_heap_peek(&fast->limit));
    mmi_heap_written_to((mmi_heap_cache *)(void *)(fast - index), block);
    return NULL;
}

/* Pops a block, which there is; NULL when MM_HEAP_SECURE finds that it is none. */
static inline void *mmi_heap_fast_pop(mmi_heap_fast *fast, size_t index)
{
    mmi_heap_block *block = fast->list;
    mmi_heap_page *page = MMI_HEAP_ENCODED ? mmi_heap_page_at(block) : NULL;
    if (MMI_HEAP_ENCODED &&
        MM_UNLIKELY(page == NULL || page->index != index || !mmi_heap_is_block(page, block) ||
                    !mmi_heap_is_marked(page, block))) {
        return mmi_heap_fast_broken(fast, index);
    }
    mmi_heap_block_open(block);
    fast->list = mmi_heap_code(page, block->next);
    if (MMI_HEAP_CHECKED) block->key = 0;
    mmi_heap_poke(&fast->over, mmi_heap_peek(&fast->over) - 1);
    MM_TRACK_UNPOISON(block, mmi_heap_class_size(index));
    (void)index;
    return block;
}

static void mmi_heap_list(mmi_heap_cache *cache, mmi_heap_page *page)
{
    mmi_heap_page **head = &cache->partial[page->index];
    page->prev = NULL;
    page->next = *head;
    if (*head != NULL) (*head)->prev = page;
    *head = page;
    page->turn = MMI_HEAP_LISTED;
    cache->listed[page->index]++;
    page->fast = &cache->fast[page->index];
}

static void mmi_heap_unlist(mmi_heap_cache *cache, mmi_heap_page *page)
{
    if (page->next != NULL) page->next->prev = page->prev;
    if (page->prev != NULL) page->prev->next = page->next;
    else cache->partial[page->index] = page->next;
    page->turn = SIZE_MAX;
    cache->listed[page->index]--;
}

static void mmi_heap_page_drop(mmi_heap_cache *cache, mmi_heap_page *page)
{
    mmi_heap_unlist(cache, page);
    mmi_heap_lock();
    mmi_heap_disown(cache->heap, page);
    mmi_heap_page_give(page);
    mmi_heap_unlock();
}

static void mmi_heap_fast_flush(mmi_heap_cache *cache, size_t index);

/* A page was full, or has few live blocks or none. When such pages come up beside a list that is
   full, many blocks are being freed, and the list, which has blocks of many pages, is to keep none
   from going. An empty page goes to the page heap, unless it is small and its class has few. */
static MMI_HEAP_NOINLINE void mmi_heap_page_turn(mmi_heap_cache *cache, mmi_heap_page *page)
{
    mmi_heap_fast *fast = page->fast;
    size_t used = mmi_heap_peek(&page->used);
    if (page->turn != MMI_HEAP_LISTED) mmi_heap_list(cache, page);
    if (used == 0) {
        if (page->granules > 1 || cache->listed[page->index] > MMI_HEAP_KEEP_PAGES) {
            mmi_heap_page_drop(cache, page);
        }
    } else if (used < MMI_HEAP_FEW_USED && cache->listed[page->index] > MMI_HEAP_KEEP_LISTED &&
               (ptrdiff_t)mmi_heap_peek(&fast->over) >= 0) {
        mmi_heap_fast_flush(cache, page->index);
    }
}

/* A free block, closed but for its link, comes home to its page. */
static inline void mmi_heap_page_put(mmi_heap_cache *cache, mmi_heap_page *page,
                                     mmi_heap_block *block)
{
    size_t used = mmi_heap_peek(&page->used) - 1;
    page->free = block;
    mmi_heap_poke(&page->used, used);
    if (MM_UNLIKELY(used <= page->turn)) mmi_heap_page_turn(cache, page);
}

/* Gives away the pages of a class that have only free blocks. */
static void mmi_heap_pages_drop(mmi_heap_cache *cache, size_t index)
{
    mmi_heap_page *page, *next;
    for (page = cache->partial[index]; page != NULL; page = next) {
        next = page->next;
        if (mmi_heap_peek(&page->used) == 0) mmi_heap_page_drop(cache, page);
    }
}

/* Sends a chain of free blocks to the cache that owns them. They still count as used in their
   pages, so these cannot vanish before the blocks arrive. Only whole lists are ever taken off, so
   a head that comes back (ABA) does no harm. */
static void mmi_heap_remote_push(mmi_heap_cache *owner, mmi_heap_block *first, mmi_heap_block *last)
{
    size_t head = mmi_atomic_load(&owner->remote);
    do {
        mmi_heap_block_link(last, (mmi_heap_block *)head);
    } while (!mmi_atomic_cas(&owner->remote, &head, (size_t)first));
}

static mmi_heap_block *mmi_heap_remote_take(mmi_heap_cache *cache)
{
    size_t head = mmi_atomic_load(&cache->remote);
    while (head != 0 && !mmi_atomic_cas(&cache->remote, &head, (size_t)0)) continue;
    return (mmi_heap_block *)head;
}

static void mmi_heap_parcel_send(mmi_heap_parcel *parcel)
{
    if (parcel->first == NULL) return;
    mmi_heap_remote_push(parcel->owner, parcel->first, parcel->last);
    parcel->first = NULL;
    mmi_heap_poke(&parcel->count, (size_t)0);
    mmi_heap_poke(&parcel->bytes, (size_t)0);
}

/* Puts a closed block of another thread's into the parcel for it. */
static void mmi_heap_parcel_put(mmi_heap_cache *cache, mmi_heap_cache *owner, mmi_heap_block *block,
                                size_t size)
{
    mmi_heap_parcel *parcel = &cache->parcels[owner->number % MMI_HEAP_PARCELS];
    size_t count, bytes;
    if (parcel->owner != owner) {
        mmi_heap_parcel_send(parcel);
        parcel->owner = owner;
    }
    mmi_heap_block_link(block, parcel->first);
    if (parcel->first == NULL) parcel->last = block;
    parcel->first = block;
    count = mmi_heap_peek(&parcel->count) + 1;
    bytes = mmi_heap_peek(&parcel->bytes) + size;
    mmi_heap_poke(&parcel->count, count);
    mmi_heap_poke(&parcel->bytes, bytes);
    if (count >= MMI_HEAP_PARCEL_COUNT || bytes >= MMI_HEAP_PARCEL_BYTES) {
        mmi_heap_parcel_send(parcel);
    }
}

/* Whether a block is on its way home, as far as can be told. */
static inline bool mmi_heap_travels(const mmi_heap_page *page, const mmi_heap_block *block)
{
    return MMI_HEAP_TRAVEL && block->key == mmi_heap_mark_of(page, block);
}

static inline void mmi_heap_arrive(mmi_heap_block *block)
{
    if (MMI_HEAP_TRAVEL) block->key = 0;
}

#if MMI_HEAP_DELAYED
/* A block of *its_page, an own one, that may be freed waits in a place at random. The block that
   was there, opened, and its page; or NULL: none. */
static inline mmi_heap_block *mmi_heap_delay(mmi_heap_cache *cache, mmi_heap_page **its_page,
                                             mmi_heap_block *block)
{
    const mmi_heap_page *page = *its_page;
    size_t places = MMI_HEAP_DELAY, size = page->block_size, *count;
    mmi_heap_block **place, *before;
    if (size > MMI_HEAP_DELAY_BYTES / MMI_HEAP_DELAY) places = MMI_HEAP_DELAY_BYTES / size;
    cache->random = cache->random * 6364136223846793005u + 1442695040888963407u;
    place = &cache->delayed[page->index][(cache->random >> 33) * places >> 31];
    before = *place;
    *place = block;
    mmi_heap_block_close(page, block, NULL, size);
    if (MM_LIKELY(before != NULL)) {
        *its_page = mmi_heap_page_at(before);
        mmi_heap_block_open(before);
        if (MM_LIKELY(before->key == mmi_heap_mark_of(*its_page, before))) return before;
        mmi_heap_written_to(cache, before); /* and lost */
        return NULL;
    }
    count = &cache->delayed_count[page->index];
    mmi_heap_poke(count, mmi_heap_peek(count) + 1);
    return NULL;
}

/* The one whose place such a block takes goes into the list of the class or back to its page. */
static void mmi_heap_free_delayed(mmi_heap_cache *cache, mmi_heap_page *page, mmi_heap_block *block)
{
    block = mmi_heap_delay(cache, &page, block);
    if (block == NULL) return;
    if (mmi_heap_fast_takes(page->fast, page)) {
        mmi_heap_fast_push(page->fast, page, block, page->block_size);
    } else {
        mmi_heap_block_close(page, block, page->free, page->block_size);
        mmi_heap_page_put(cache, page, block);
    }
}
#endif

/* Returns the first blocks of a list, as many as are of the same page, to that page; the rest. */
static mmi_heap_block *mmi_heap_return_run(mmi_heap_cache *cache, mmi_heap_page *page,
                                           mmi_heap_block *block, bool marked)
{
    size_t used = mmi_heap_peek(&page->used), bytes = page->granules * MMI_HEAP_GRANULE;
    mmi_heap_block *free = page->free;
    while (block != NULL && (size_t)((char *)block - page->start) < bytes &&
           mmi_heap_is_block(page, block) && mmi_heap_is_marked(page, block) &&
           (!marked || mmi_heap_travels(page, block))) {
        mmi_heap_block *next = mmi_heap_block_next(block);
        if (marked) mmi_heap_arrive(block);
        mmi_heap_block_link(block, free);
        free = block;
        used--;
        block = next;
    }
    page->free = free;
    mmi_heap_poke(&page->used, used);
    if (used <= page->turn) mmi_heap_page_turn(cache, page);
    return block;
}

/* Returns all blocks of a list to where their page's blocks go; those whose page was adopted
   meanwhile travel on. sent: others freed them, so there is use for them here. A link that was
   overwritten is noticed if it leads out of the heap or to a block that did not travel: then the
   list was joined with another, or made a ring, by a second free. The rest is lost. */
static void mmi_heap_return_all(mmi_heap_cache *cache, mmi_heap_block *block, bool sent)
{
    bool marked = MMI_HEAP_TRAVEL && sent && cache->heap == NULL;
    while (block != NULL) {
        mmi_heap_page *page = mmi_heap_page_at(block);
        mmi_heap_cache *owner = page == NULL ? NULL : mmi_heap_owner(page);
        mmi_heap_block *next;
        if (owner == NULL || !mmi_heap_is_live(page, block) || !mmi_heap_is_marked(page, block) ||
            (marked && !mmi_heap_travels(page, block))) {
            mmi_heap_found(cache, "mm_heap: a free block was written to, or freed twice", block);
            return;
        }
        next = mmi_heap_block_next(block);
        if (owner != cache) {
            if (MMI_HEAP_TRAVEL) block->key = mmi_heap_mark_of(page, block);
            mmi_heap_remote_push(owner, block, block);
        } else if (page->index == MMI_HEAP_AREA) {
            mmi_heap_arrive(block);
            mmi_heap_chunk_free(cache, page, block);
#if MMI_HEAP_DELAYED
        } else if (sent) {
            mmi_heap_block_open(block);
            mmi_heap_free_delayed(cache, page, block);
#else
        } else if (sent && mmi_heap_fast_takes(page->fast, page)) {
            mmi_heap_block_open(block);
            mmi_heap_arrive(block);
            mmi_heap_fast_push(page->fast, page, block, sizeof(*block));
#endif
        } else {
            next = mmi_heap_return_run(cache, page, block, marked);
        }
        block = next;
    }
}

/* Sends all blocks of a list back to their page. */
static void mmi_heap_fast_flush(mmi_heap_cache *cache, size_t index)
{
    mmi_heap_fast *fast = &cache->fast[index];
    mmi_heap_block *list = fast->list;
    fast->list = NULL;
    fast->page = NULL;
    mmi_heap_poke(&fast->limit, (size_t)MMI_HEAP_FAST_LEAST);
    mmi_heap_poke(&fast->over, (size_t)0 - MMI_HEAP_FAST_LEAST);
    mmi_heap_return_all(cache, list, false);
}

#if MMI_HEAP_DELAYED
/* Brings all blocks of a class that wait home. */
static void mmi_heap_delay_flush(mmi_heap_cache *cache, size_t index)
{
    mmi_heap_block *list = NULL;
    size_t place;
    if (mmi_heap_peek(&cache->delayed_count[index]) == 0) return;
    for (place = 0; place < MMI_HEAP_DELAY; place++) {
        mmi_heap_block *block = cache->delayed[index][place];
        if (block == NULL) continue;
        mmi_heap_block_link(block, list);
        list = block;
        cache->delayed[index][place] = NULL;
    }
    mmi_heap_poke(&cache->delayed_count[index], (size_t)0);
    mmi_heap_return_all(cache, list, false);
}
#endif

/* Brings all free blocks of a cache home; empty pages go to the page heap. */
static void mmi_heap_collect(mmi_heap_cache *cache)
{
    size_t index;
    for (index = 0; index < MMI_HEAP_PARCELS; index++) {
        mmi_heap_parcel_send(&cache->parcels[index]);
    }
    mmi_heap_return_all(cache, mmi_heap_remote_take(cache), true);
    mmi_heap_unsorted_flush(cache);
    mmi_heap_area_drop(cache);
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
#if MMI_HEAP_DELAYED
        mmi_heap_delay_flush(cache, index);
#endif
        if (cache->fast[index].list != NULL) mmi_heap_fast_flush(cache, index);
        mmi_heap_pages_drop(cache, index);
    }
    cache->home = true;
}

/* The same for a cache on the shelf, of which nothing but others' frees makes work again. */
static void mmi_heap_collect_shelved(mmi_heap_cache *cache)
{
    if (!cache->home || mmi_atomic_load(&cache->remote) != 0) mmi_heap_collect(cache);
}

/* How many blocks are to be cut off the part of the page that was never used. */
static size_t mmi_heap_carve_count(const mmi_heap_page *page, size_t carved)
{
    size_t bytes = carved * page->block_size, count;
    if (bytes < MMI_HEAP_CARVE_LEAST) bytes = MMI_HEAP_CARVE_LEAST;
    if (bytes > MMI_HEAP_CARVE_MOST) bytes = MMI_HEAP_CARVE_MOST;
    count = bytes / page->block_size + 1;
    return count < page->capacity - carved ? count : page->capacity - carved;
}

/* A list of so many new blocks, in an order that the seed alone determines. */
static mmi_heap_block *mmi_heap_shuffle(const mmi_heap_page *page, char *at, size_t count,
                                        uint64_t seed)
{
    uint16_t order[MMI_HEAP_CARVE_MOST / MMI_HEAP_ALIGN + 1];
    mmi_heap_block *list = NULL;
    size_t size = page->block_size, i;
    for (i = 0; i < count; i++) {
        size_t other = (size_t)(mmi_heap_random(&seed) % (i + 1));
        order[i] = order[other];
        order[other] = (uint16_t)i;
    }
    for (i = 0; i < count; i++) {
        mmi_heap_block *block = (mmi_heap_block *)(void *)(at + order[i] * size);
        mmi_heap_block_open(block);
        mmi_heap_block_close(page, block, list, size);
        list = block;
    }
    return list;
}

/* Cuts some blocks off the part of the page that was never used; the list of them, ascending. */
static mmi_heap_block *mmi_heap_carve(mmi_heap_page *page, size_t *count)
{
    size_t size = page->block_size, carved = mmi_heap_peek(&page->carved);
    char *at = page->start + carved * size, *last;
    mmi_heap_block *list = (mmi_heap_block *)(void *)at;
    *count = mmi_heap_carve_count(page, carved);
    mmi_heap_poke(&page->carved, carved + *count);
    if (MMI_HEAP_SHUFFLED) return mmi_heap_shuffle(page, at, *count, page->key + carved);
    for (last = at + (*count - 1) * size; at < last; at += size) {
        mmi_heap_block_open((mmi_heap_block *)(void *)at);
        mmi_heap_block_close(page, (mmi_heap_block *)(void *)at,
                             (mmi_heap_block *)(void *)(at + size), size);
    }
    mmi_heap_block_open((mmi_heap_block *)(void *)last);
    mmi_heap_block_close(page, (mmi_heap_block *)(void *)last, NULL, size);
    return list;
}

/* Takes all blocks off the page's free list, without a look at them. */
static mmi_heap_block *mmi_heap_lend(mmi_heap_page *page, size_t *count)
{
    mmi_heap_block *list = page->free;
    *count = mmi_heap_peek(&page->carved) - mmi_heap_peek(&page->used) - page->dropped;
    page->free = NULL;
    return list;
}

/* Free blocks leave their links in memory, so that it cannot be let go of. mm_heap_trim drops the
   blocks that touch pages of the system in which all is free: such a page becomes a hole, and when
   its page has no other block to give, the hole is cut into blocks again. */
#define MMI_HEAP_PAGE_BLOCKS 4096 /* most blocks in a page: 64 KiB of 16 bytes */

static inline bool mmi_heap_bit(const uint64_t *bits, size_t index)
{
    return (bits[index / 64] >> index % 64 & 1) != 0;
}

static inline void mmi_heap_bit_set(uint64_t *bits, size_t index)
{
    bits[index / 64] |= (uint64_t)1 << index % 64;
}

/* The pages of the system in a page. */
static size_t mmi_heap_page_count(const mmi_heap_page *page)
{
    return page->granules * MMI_HEAP_GRANULE / mmi_heap_here.os_page;
}

/* The next run of holes from *first on; its length, 0: there is none. */
static size_t mmi_heap_hole_next(const mmi_heap_page *page, size_t *first)
{
    size_t count = mmi_heap_page_count(page), end;
    while (*first < count && !mmi_heap_bit(page->holes, *first)) ++*first;
    for (end = *first; end < count && mmi_heap_bit(page->holes, end);) end++;
    return end - *first;
}

/* Counts what the holes are worth, after they have changed. */
static void mmi_heap_hollow(mmi_heap_page *page)
{
    size_t holes = mmi_heap_count(page->holes[0]) + mmi_heap_count(page->holes[1]);
    mmi_heap_poke(&page->hollow, holes * mmi_heap_here.os_page);
}

/* Cuts the holes of a run into blocks, which are put before a list. */
static mmi_heap_block *mmi_heap_hole_cut(mmi_heap_page *page, size_t first, size_t length,
                                         mmi_heap_block *list, size_t *count)
{
    size_t os_page = mmi_heap_here.os_page, size = page->block_size, i;
    size_t from = first * os_page / size, to = ((first + length) * os_page + size - 1) / size;
    for (i = first; i < first + length; i++) page->holes[i / 64] &= ~((uint64_t)1 << i % 64);
    for (i = to; i-- > from;) {
        mmi_heap_block *block = (mmi_heap_block *)(void *)(page->start + i * size);
        mmi_heap_block_open(block);
        mmi_heap_block_close(page, block, list, size);
        list = block;
    }
    page->dropped -= to - from;
    mmi_heap_hollow(page);
    *count = to - from;
    return list;
}

/* The blocks of a page's first run of holes, of which there is one. */
static mmi_heap_block *mmi_heap_unhole(mmi_heap_page *page, size_t *count)
{
    size_t first = 0, length = mmi_heap_hole_next(page, &first);
    return mmi_heap_hole_cut(page, first, length, NULL, count);
}

/* Sets the bits of the blocks that are free. False: one is in the list twice, so it has no end. */
static bool mmi_heap_page_mark(mmi_heap_page *page, uint64_t *free)
{
    size_t os_page = mmi_heap_here.os_page, size = page->block_size, first, length, i;
    mmi_heap_block *block;
    for (block = page->free; block != NULL; block = mmi_heap_block_next(block)) {
        i = (size_t)((char *)block - page->start) / size;
        if (mmi_heap_bit(free, i)) {
            mmi_heap_found(mmi_heap_owner(page), "mm_heap: block freed twice", block);
            return false;
        }
        mmi_heap_bit_set(free, i);
    }
    for (first = 0; (length = mmi_heap_hole_next(page, &first)) > 0; first += length) {
        size_t to = ((first + length) * os_page + size - 1) / size;
        for (i = first * os_page / size; i < to; i++) mmi_heap_bit_set(free, i);
    }
    return true;
}

/* Makes holes of all pages of the system that only free blocks touch; whether one is new. */
static bool mmi_heap_page_dig(mmi_heap_page *page, const uint64_t *free)
{
    size_t os_page = mmi_heap_here.os_page, size = page->block_size, i;
    size_t carved = mmi_heap_peek(&page->carved), count = mmi_heap_page_count(page);
    bool dug = false;
    for (i = 0; i < count; i++) {
        size_t block = i * os_page / size, end = ((i + 1) * os_page + size - 1) / size;
        if (end > carved) break;
        while (block < end && mmi_heap_bit(free, block)) block++;
        if (block < end || mmi_heap_bit(page->holes, i)) continue;
        mmi_heap_bit_set(page->holes, i);
        dug = true;
    }
    return dug;
}

/* Takes the blocks that touch holes off the page's list. */
static void mmi_heap_page_forget(mmi_heap_page *page)
{
    size_t os_page = mmi_heap_here.os_page, size = page->block_size;
    mmi_heap_block *block = page->free, *next;
    page->free = NULL;
    for (; block != NULL; block = next) {
        size_t offset = (size_t)((char *)block - page->start), i = offset / os_page;
        next = mmi_heap_block_next(block);
        while (i < (offset + size - 1) / os_page && !mmi_heap_bit(page->holes, i)) i++;
        if (mmi_heap_bit(page->holes, i)) {
            page->dropped++;
        } else {
            mmi_heap_block_link(block, page->free);
            page->free = block;
        }
    }
}

/* Lets go of what it can of a page. Under MM_HEAP_SECURE free blocks must keep their marks. */
static void mmi_heap_page_purge(mmi_heap_page *page)
{
    uint64_t free[MMI_HEAP_PAGE_BLOCKS / 64];
    size_t os_page = mmi_heap_here.os_page, first, length, count, before, after;
    if (MMI_HEAP_CHECKED || page->free == NULL) return;
    memset(free, 0, sizeof(free));
    if (!mmi_heap_page_mark(page, free) || !mmi_heap_page_dig(page, free)) return;
    mmi_heap_page_forget(page);
    before = mmi_heap_peek(&page->hollow);
    mmi_heap_hollow(page);
    mmi_heap_span_shrink(page->span);
    for (first = 0; (length = mmi_heap_hole_next(page, &first)) > 0; first += length) {
        if (MM_SYS_PURGE(page->start + first * os_page, length * os_page)) continue;
        page->free = mmi_heap_hole_cut(page, first, length, page->free, &count);
    }
    after = mmi_heap_peek(&page->hollow);
    if (after > before) mmi_heap_returned(after - before);
}

static size_t mmi_heap_page_granules(size_t index)
{
    return mmi_heap_class_size(index) <= MMI_HEAP_SMALL_MAX ? 1 : MMI_HEAP_MEDIUM_GRANULES;
}

/* A page for a class straight from the page heap, or NULL. */
static mmi_heap_page *mmi_heap_page_new(mmi_heap_cache *cache, size_t index)
{
    size_t size = mmi_heap_class_size(index);
    size_t granules = mmi_heap_page_granules(index);
    mmi_heap_page *page;
    bool clean;
    if (!mmi_heap_may_take(cache->heap, granules * MMI_HEAP_GRANULE)) return NULL;
    mmi_heap_lock();
    page = mmi_heap_page_take(granules, &clean);
    if (page != NULL) {
        page->index = index;
        page->block_size = size;
        page->units = size / MMI_HEAP_ALIGN;
        page->inverse = (((uint64_t)1 << 32) + page->units - 1) / page->units;
        page->capacity = page->granules * MMI_HEAP_GRANULE / size;
        page->owner = mmi_heap_owner_word(cache, 0);
        mmi_heap_poke(&page->clean, (size_t)(clean ? 1 : 0));
        mmi_heap_enter(page->start, page->granules, page);
        mmi_heap_own(cache->heap, page);
    }
    mmi_heap_unlock();
    if (page != NULL) mmi_heap_list(cache, page);
    return page;
}

// >>threads

static void mmi_heap_secret_make(const void *record)
{
    mmi_heap_central *h = &mmi_heap_here;
    if (h->secret != 0) return; /* where things lie differs from run to run */
    h->secret = (uint64_t)(uintptr_t)record * 0x9e3779b97f4a7c15u +
                (uint64_t)(uintptr_t)&record * 0xc2b2ae3d27d4eb4fu;
    h->secret = (h->secret ^ mmi_heap_entropy()) | 1;
}

static mmi_heap_cache *mmi_heap_cache_record(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_cache *cache = (mmi_heap_cache *)mmi_heap_record(sizeof(*cache));
    if (cache == NULL) return NULL;
    cache->number = h->caches == NULL ? 0 : h->caches->number + 1;
#if MMI_HEAP_DELAYED
    cache->random = mmi_heap_page_key_new();
#endif
    cache->next = h->caches;
    h->caches = cache;
    mmi_heap_secret_make(cache);
    return cache;
}

/* Takes the cache that lay on the shelf longest; when there is none a new one, if the caller wants,
   or NULL. */
static mmi_heap_cache *mmi_heap_shelf_take(bool make)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_cache *cache;
    mmi_heap_lock();
    cache = h->shelf;
    if (cache != NULL) h->shelf = cache->shelf_next;
    else if (make) cache = mmi_heap_cache_record();
    mmi_heap_unlock();
    return cache;
}

static void mmi_heap_shelf_put(mmi_heap_cache *cache)
{
    mmi_heap_central *h = &mmi_heap_here;
    const void *block = NULL;
    const char *damage = mmi_heap_untold(cache, &block);
    mmi_heap_lock();
    cache->shelf_next = NULL;
    if (h->shelf == NULL) h->shelf = cache;
    else h->shelf_last->shelf_next = cache;
    h->shelf_last = cache;
    mmi_heap_unlock();
    if (damage != NULL) mmi_heap_misuse(damage, block);
}

/* Puts back what was borrowed, and has perhaps blocks in its lists now. */
static void mmi_heap_cache_return(mmi_heap_cache *cache)
{
    cache->home = false;
    mmi_heap_shelf_put(cache);
}

/* The end of a thread. It may still free (that needs no cache) and allocate (it borrows one). */
static void MMI_HEAP_CALLBACK mmi_heap_thread_end(void *value)
{
    mmi_heap_cache *cache = (mmi_heap_cache *)value;
    if (cache == NULL) return;
    mmi_heap_mine = &mmi_heap_no_cache[1];
    (void)mmi_heap_key_set(NULL);
    mmi_heap_collect(cache);
    mmi_heap_shelf_put(cache);
}

/* What has to be done once, before the first block: there is no other initialisation. */
static MM_COLD void mmi_heap_start_slow(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    bool first;
    mmi_heap_lock();
    first = mmi_atomic_load(&h->started) == 0;
    if (first) h->key_works = mmi_heap_key_make();
    if (first) h->os_page = mmi_heap_page_size();
    mmi_atomic_store(&h->started, (size_t)1);
    mmi_heap_unlock();
#ifndef _WIN32 /* outside the lock, as it may allocate */
    if (first) pthread_atfork(mmi_heap_before_fork, mmi_heap_after_fork, mmi_heap_after_fork);
#endif
}

static inline void mmi_heap_start(void)
{
    if (mmi_atomic_load(&mmi_heap_here.started) == 0) mmi_heap_start_slow();
}

static inline bool mmi_heap_has_none(const mmi_heap_cache *cache)
{
    return cache == &mmi_heap_no_cache[0] || cache == &mmi_heap_no_cache[1];
}

/* Makes a cache the calling thread's until the thread ends. False: it could not be given back
   then, because the thread is ending already or the system has no key left. */
static bool mmi_heap_keep(mmi_heap_cache *cache)
{
    mmi_heap_cache *before = mmi_heap_mine;
    if (before == &mmi_heap_no_cache[1] || !mmi_heap_here.key_works) return false;
    mmi_heap_mine = cache; /* first, as setting the key may allocate */
    if (mmi_heap_key_set(cache)) return true;
    mmi_heap_mine = before;
    return false;
}

/* A cache for a thread that has none; *borrowed: only for now. NULL when there is no memory. Some
   systems drop a thread's variables before its destructors have run: then the key still knows. */
static mmi_heap_cache *mmi_heap_cache_get(bool *borrowed)
{
    mmi_heap_cache *cache = NULL;
    mmi_heap_start();
    if (mmi_heap_mine == &mmi_heap_no_cache[0] && mmi_heap_here.key_works) {
        cache = (mmi_heap_cache *)mmi_heap_key_get();
    }
    if (cache != NULL) {
        mmi_heap_mine = cache;
        return cache;
    }
    cache = mmi_heap_shelf_take(true);
    if (cache != NULL) *borrowed = !mmi_heap_keep(cache);
    return cache;
}

/* Takes one page of a class from a cache on the shelf, whose free blocks come home meanwhile. So
   what ended threads left is used up, one cache for each new page, and no call takes long. */
static mmi_heap_page *mmi_heap_adopt(mmi_heap_cache *cache, size_t index)
{
    mmi_heap_cache *other = cache->heap != NULL ? NULL : mmi_heap_shelf_take(false);
    mmi_heap_page *page;
    if (other == NULL) return NULL;
    mmi_heap_collect_shelved(other);
    page = other->partial[index];
    if (page != NULL) {
        mmi_heap_unlist(other, page);
        mmi_heap_poke(&page->owner, (size_t)cache);
        mmi_heap_list(cache, page);
    }
    mmi_heap_shelf_put(other);
    return page;
}

/* Does something with each cache on the shelf, which is off it for so long: one at a time, for a
   thread that begins meanwhile and finds none makes a new one, which then is there for ever. */
static void mmi_heap_shelf_each(void (*work)(mmi_heap_cache *cache))
{
    mmi_heap_cache *shelf;
    size_t count = 0;
    mmi_heap_lock();
    for (shelf = mmi_heap_here.shelf; shelf != NULL; shelf = shelf->shelf_next) count++;
    mmi_heap_unlock();
    while (count-- > 0 && (shelf = mmi_heap_shelf_take(false)) != NULL) {
        work(shelf);
        mmi_heap_shelf_put(shelf);
    }
}

/* Whether no cache on the shelf has anything to bring home. */
static bool mmi_heap_shelf_is_home(void)
{
    mmi_heap_cache *cache;
    mmi_heap_lock();
    cache = mmi_heap_here.shelf;
    while (cache != NULL && cache->home && mmi_atomic_load(&cache->remote) == 0) {
        cache = cache->shelf_next;
    }
    mmi_heap_unlock();
    return cache == NULL;
}

/* Brings home what the cache and the caches on the shelf hold: twice, as a block whose page was
   adopted travels on, and may reach a cache that was there already. Who asks again and again, for
   there is no memory, finds little to do on the shelf. */
static void mmi_heap_collect_all(mmi_heap_cache *cache)
{
    size_t pass;
    for (pass = 0; pass < 2; pass++) {
        if (!mmi_heap_has_none(cache)) mmi_heap_collect(cache);
        if (!mmi_heap_shelf_is_home()) mmi_heap_shelf_each(mmi_heap_collect_shelved);
    }
    if (!mmi_heap_has_none(cache)) mmi_heap_collect(cache);
}

/* There is no memory: what other classes hold may do. A heap at a limit of its own leaves the shelf
   alone, where nothing is of use to it. */
static void mmi_heap_collect_for(mmi_heap_cache *cache, bool own_limit)
{
    if (own_limit) mmi_heap_collect(cache);
    else mmi_heap_collect_all(cache);
}

/* A page of a class that has blocks to give, from wherever it costs least; or NULL. */
static mmi_heap_page *mmi_heap_page_find(mmi_heap_cache *cache, size_t index)
{
    mmi_heap_page *page;
    size_t size;
    if (cache->partial[index] != NULL) return cache->partial[index];
    if ((page = mmi_heap_adopt(cache, index)) != NULL) return page;
    if ((page = mmi_heap_page_new(cache, index)) != NULL) return page;
    size = mmi_heap_page_granules(index) * MMI_HEAP_GRANULE;
    mmi_heap_collect_for(cache, !mmi_heap_may_take(cache->heap, size));
    if (cache->partial[index] != NULL) return cache->partial[index];
    return mmi_heap_page_new(cache, index);
}

/* A list was empty, and has so many blocks now. */
static void mmi_heap_fast_filled(mmi_heap_fast *fast, size_t count, size_t size)
{
    size_t limit = mmi_heap_peek(&fast->limit) + MMI_HEAP_FAST_STEP;
    if (limit > MMI_HEAP_FAST_BYTES / size) limit = MMI_HEAP_FAST_BYTES / size;
    if (limit > MMI_HEAP_FAST_MOST) limit = MMI_HEAP_FAST_MOST;
    if (limit < MMI_HEAP_FAST_LEAST) limit = MMI_HEAP_FAST_LEAST;
    mmi_heap_poke(&fast->limit, limit);
    mmi_heap_poke(&fast->over, count - limit);
}

/* Fills an empty list, with what others freed or what a page has; false when there is no memory. */
static bool mmi_heap_refill(mmi_heap_cache *cache, size_t index)
{
    mmi_heap_fast *fast = &cache->fast[index];
    mmi_heap_page *page;
    size_t count;
    mmi_heap_cache_tick(cache);
    mmi_heap_return_all(cache, mmi_heap_remote_take(cache), true);
    if (fast->list != NULL) return true;
    page = mmi_heap_page_find(cache, index);
    if (page == NULL) return false;
    if (page->free != NULL) fast->list = mmi_heap_lend(page, &count);
    else if (page->dropped != 0) fast->list = mmi_heap_unhole(page, &count);
    else fast->list = mmi_heap_carve(page, &count);
    fast->page = page;
    mmi_heap_fast_filled(fast, count, page->block_size);
    mmi_heap_poke(&page->used, mmi_heap_peek(&page->used) + count);
    if (page->free == NULL && page->dropped == 0 &&
        mmi_heap_peek(&page->carved) == page->capacity) {
        mmi_heap_unlist(cache, page);
    }
    return true;
}

/* The list of the class is empty, or the thread has no cache. */
static MMI_HEAP_NOINLINE void *mmi_heap_alloc_slow(const mmi_heap_fast *empty)
{
    mmi_heap_cache *cache = mmi_heap_mine;
    size_t index = (size_t)(empty - cache->fast);
    bool borrowed = false;
    void *block = NULL;
    if (mmi_heap_has_none(cache)) cache = mmi_heap_cache_get(&borrowed);
    if (cache == NULL) return mmi_heap_refuse(ENOMEM);
    if (cache->fast[index].list != NULL || mmi_heap_refill(cache, index)) {
        block = mmi_heap_fast_pop(&cache->fast[index], index);
    }
    if (MMI_HEAP_ENCODED && block == NULL && mmi_heap_refill(cache, index)) { /* broken: anew */
        block = mmi_heap_fast_pop(&cache->fast[index], index);
    }
    if (borrowed) mmi_heap_cache_return(cache);
    return block != NULL ? block : mmi_heap_refuse(ENOMEM);
}

static inline void *mmi_heap_alloc_class(size_t index)
{
    mmi_heap_fast *fast = &mmi_heap_mine->fast[index];
    if (MM_LIKELY(fast->list != NULL)) {
        void *block = mmi_heap_fast_pop(fast, index);
        if (!MMI_HEAP_ENCODED || MM_LIKELY(block != NULL)) return block;
    }
    return mmi_heap_alloc_slow(fast); /* not index, for which there is no register to spare */
}

/* Takes the areas of a cache on the shelf, one cache each time; a chunk of theirs that fits. */
static mmi_heap_chunk *mmi_heap_chunk_adopt(mmi_heap_cache *cache, size_t need)
{
    mmi_heap_cache *other = cache->heap != NULL ? NULL : mmi_heap_shelf_take(false);
    if (other == NULL) return NULL;
    mmi_heap_collect_shelved(other);
    if (other->areas != NULL) mmi_heap_areas_adopt(cache, other);
    mmi_heap_shelf_put(other);
    return mmi_heap_chunk_take(cache, need);
}

/* A chunk of at least the size, off its list, from wherever it costs least; or NULL. */
static mmi_heap_chunk *mmi_heap_chunk_get(mmi_heap_cache *cache, size_t need)
{
    mmi_heap_chunk *chunk;
    if (mmi_atomic_load(&cache->remote) != 0) {
        mmi_heap_return_all(cache, mmi_heap_remote_take(cache), true);
    }
    if ((chunk = mmi_heap_chunk_take(cache, need)) != NULL) return chunk;
    if ((chunk = mmi_heap_chunk_adopt(cache, need)) != NULL) return chunk;
    if (mmi_heap_area_new(cache, need)) return mmi_heap_chunk_take(cache, need);
    mmi_heap_collect_for(cache, mmi_heap_area_granules(cache, need) == 0);
    if ((chunk = mmi_heap_chunk_take(cache, need)) != NULL) return chunk;
    return mmi_heap_area_new(cache, need) ? mmi_heap_chunk_take(cache, need) : NULL;
}

/* A block in an area; NULL when there is no memory. *zero: all of it is zero. */
static void *mmi_heap_chunk_alloc(mmi_heap_cache *cache, size_t size, size_t alignment, bool *zero)
{
    size_t need = mmi_heap_chunk_need(size), extra = 0;
    mmi_heap_chunk *chunk;
    char *block;
    if (alignment > MMI_HEAP_CHUNK_UNIT) extra = alignment + MMI_HEAP_CHUNK_MIN;
    chunk = mmi_heap_chunk_get(cache, need + extra);
    if (chunk != NULL && extra != 0) chunk = mmi_heap_chunk_align(cache, chunk, alignment);
    block = chunk == NULL ? NULL : (char *)mmi_heap_chunk_give(cache, chunk, need, zero);
    if (MMI_HEAP_SEALED && block != NULL) {
        mmi_heap_seal_room(block, mmi_heap_chunk_size(chunk) - MMI_HEAP_CHUNK_HEADER,
                           size - MMI_HEAP_SEAL);
    }
    return block;
}

static void *mmi_heap_alloc_chunk(size_t size, size_t alignment, bool *zero)
{
    mmi_heap_cache *cache = mmi_heap_mine;
    bool borrowed = false;
    void *block;
    if (mmi_heap_has_none(cache)) cache = mmi_heap_cache_get(&borrowed);
    if (cache == NULL) return NULL;
    block = mmi_heap_chunk_alloc(cache, size, alignment, zero);
    if (borrowed) mmi_heap_cache_return(cache);
    return block;
}

// >>large

/* What has no class, or NULL. *zero: the block is zero. The lock of the heap is held. */
static void *mmi_heap_large_in(mm_heap *heap, size_t size, size_t alignment, bool *zero)
{
    size_t slack = alignment + MMI_HEAP_SPAN_SIZE, asked = size - MMI_HEAP_SEAL;
    void *ptr = NULL;
    if (alignment > PTRDIFF_MAX / 2 || size > PTRDIFF_MAX - slack) return NULL;
    mmi_heap_start();
    if (size <= MM_HEAP_HUGE && size + alignment <= MMI_HEAP_CHUNK_MAX) {
        if (heap == NULL) ptr = mmi_heap_alloc_chunk(size, alignment, zero);
        else ptr = mmi_heap_chunk_alloc(&heap->cache, size, alignment, zero);
    }
    if (ptr == NULL) { /* or there is no room for an area, but perhaps for the block */
        if (alignment < MMI_HEAP_GRANULE) alignment = MMI_HEAP_GRANULE;
        size = mmi_heap_huge_size(size + (size == 0));
        if (!mmi_heap_may_take(heap, size)) mmi_heap_collect(&heap->cache);
        ptr = mmi_heap_alloc_huge(heap, size, alignment, zero);
        if (MMI_HEAP_SEALED && ptr != NULL) mmi_heap_seal(ptr, asked);
    }
    return ptr;
}

static MMI_HEAP_NOINLINE void *mmi_heap_alloc_large(size_t size, size_t alignment, bool *zero)
{
    void *ptr = mmi_heap_large_in(NULL, size, alignment, zero);
    return ptr != NULL ? ptr : mmi_heap_refuse(ENOMEM);
}

// >>free

/* Whether a block of a class, or a chunk, may be freed; says so if not. */
static bool mmi_heap_may_free(mmi_heap_page *page, mmi_heap_block *block)
{
    size_t asked;
    if (MM_UNLIKELY(!mmi_heap_is_live(page, block))) {
        mmi_heap_misuse("mm_heap: not the start of a block", block);
        return false;
    }
    if (!MMI_HEAP_CHECKED) return true;
    mmi_heap_block_open(block);
    if (MM_LIKELY(block->key != mmi_heap_mark_of(page, block))) {
        if (!MMI_HEAP_SEALED || MM_LIKELY(mmi_heap_asked(page, block, &asked))) return true;
        mmi_heap_overflown(block);
        return false;
    }
    MM_TRACK_POISON(block, sizeof(*block));
    mmi_heap_freed_twice(block);
    return false;
}

/* Sends a block that may be freed home, by way of a parcel if the thread has a cache. None may be
   left for a first-class heap when it is destroyed, and no mark, for its pages are cut anew though
   blocks are on their way: there, a second free is found only if it is the next. */
static void mmi_heap_send(mmi_heap_page *page, mmi_heap_block *block)
{
    mmi_heap_cache *cache = mmi_heap_mine, *owner = mmi_heap_owner(page);
    bool of_heap = (mmi_heap_peek(&page->owner) & MMI_HEAP_OWNER_HEAP) != 0;
    size_t size = mmi_heap_block_size(page, block);
    if (MM_UNLIKELY(of_heap ? mmi_atomic_load(&owner->remote) == (size_t)block
                            : mmi_heap_travels(page, block))) {
        mmi_heap_freed_twice(block);
        return;
    }
    if (MMI_HEAP_TRAVEL && !of_heap) block->key = mmi_heap_mark_of(page, block);
    mmi_heap_block_close(page, block, NULL, size);
    if (of_heap || mmi_heap_has_none(cache)) mmi_heap_remote_push(owner, block, block);
    else mmi_heap_parcel_put(cache, owner, block, size);
}

/* The block is not of one of the calling thread's pages. Needs no cache, so a thread that only
   frees has none. */
static MMI_HEAP_NOINLINE void mmi_heap_free_slow(void *ptr, mmi_heap_page *page)
{
    mmi_heap_block *block = (mmi_heap_block *)ptr;
    mmi_heap_cache *cache = mmi_heap_mine, *owner;
    if (ptr == NULL) return;
    if (page == NULL) {
        mmi_heap_misuse("mm_heap: pointer to no block of the heap", ptr);
        return;
    }
    owner = mmi_heap_owner(page);
    if (owner == NULL) {
        mmi_heap_huge_free(ptr);
    } else if (!mmi_heap_may_free(page, block)) {
        return;
    } else if (owner == cache) {
        mmi_heap_chunk_free(cache, page, ptr);
    } else {
        mmi_heap_send(page, block);
    }
}

// >>api

/* With MM_HEAP_DEBUG the functions of these names are others, built upon these: see debug. */
#ifdef MM_HEAP_DEBUG
#define MMI_HEAP_API static MM_UNUSED
#define mm_heap_alloc mmi_heap_raw_alloc
#define mm_heap_free mmi_heap_raw_free
#define mm_heap_calloc mmi_heap_raw_calloc
#define mm_heap_realloc mmi_heap_raw_realloc
#define mm_heap_aligned_alloc mmi_heap_raw_aligned_alloc
#define mm_heap_expand mmi_heap_raw_expand
#define mm_heap_usable_size mmi_heap_raw_usable_size
#define mm_heap_good_size mmi_heap_raw_good_size
#define mm_heap_alloc_in mmi_heap_raw_alloc_in
#define mm_heap_calloc_in mmi_heap_raw_calloc_in
#define mm_heap_aligned_alloc_in mmi_heap_raw_aligned_alloc_in
#define mm_heap_realloc_in mmi_heap_raw_realloc_in
#define mm_heap_free_in mmi_heap_raw_free_in
static void *mmi_heap_raw_alloc_in(mm_heap *heap, size_t size);
static void mmi_heap_raw_free_in(mm_heap *heap, void *ptr);
#else
#define MMI_HEAP_API MM_API
#endif

/* Up to 1024 bytes, the list not empty: 19 instructions, 2 of them branches (not taken); above, up
   to 32 KiB, 28. All counts are of gcc 12 at -O2 for x86-64, by callgrind. */
MMI_HEAP_API void *mm_heap_alloc(size_t size)
{
    bool zero;
    size = mmi_heap_whole(size);
    if (MM_LIKELY(size <= MMI_HEAP_TABLE_MAX)) {
        return mmi_heap_sealed(mmi_heap_alloc_class(mmi_heap_class_of(size)), size);
    }
    if (MM_LIKELY(mmi_heap_has_class(size))) {
        return mmi_heap_sealed(mmi_heap_alloc_class(mmi_heap_class_log(size)), size);
    }
    return mmi_heap_alloc_large(size, MMI_HEAP_ALIGN, &zero);
}

/* Frees a block, whose page was looked up. */
static inline void mmi_heap_free_of(mmi_heap_page *page, void *ptr)
{
    mmi_heap_cache *cache = mmi_heap_mine;
    mmi_heap_block *block = (mmi_heap_block *)ptr;
    mmi_heap_fast *fast;
    if (MM_UNLIKELY(page == NULL || mmi_heap_peek(&page->owner) != (size_t)cache)) {
        mmi_heap_free_slow(ptr, page);
        return;
    }
    if (MMI_HEAP_CHECKED && !mmi_heap_may_free(page, block)) return;
#if MMI_HEAP_DELAYED
    block = mmi_heap_delay(cache, &page, block);
    if (block == NULL) return;
#endif
    fast = page->fast;
    if (mmi_heap_fast_takes(fast, page)) {
        if (MM_UNLIKELY(fast->list == block)) mmi_heap_freed_twice(block);
        else mmi_heap_fast_push(fast, page, block, page->block_size);
        return;
    }
    if (MM_UNLIKELY(page->free == block)) {
        mmi_heap_freed_twice(block);
        return;
    }
    mmi_heap_block_close(page, block, page->free, page->block_size);
    mmi_heap_page_put(cache, page, block);
}

/* Up to 32 KiB, the thread's own page, a block for the list: 34 instructions, 5 of them branches,
   one taken; for the page, 36. Without MM_HEAP_SECURE one second free is caught for nothing: that
   of the block which was freed last. */
MMI_HEAP_API void mm_heap_free(void *ptr)
{
    mmi_heap_free_of(mmi_heap_page_at(ptr), ptr);
}

/* Zeroes a large block. Pages that are not in memory are not fetched for it: they are let go of,
   and then are zero. */
static void mmi_heap_wipe(char *ptr, size_t size)
{
    unsigned char resident[256];
    size_t page = mmi_heap_here.os_page, step = page * sizeof(resident), length, i, run;
    for (; size > 0; ptr += length, size -= length) {
        length = size < step ? size & ~(page - 1) : step;
        if ((uintptr_t)ptr % page != 0) length = page - (uintptr_t)ptr % page;
        if (length == 0 || length > size) length = size;
        if (length % page != 0 || !mmi_heap_resident(ptr, length, resident)) {
            memset(ptr, 0, length);
            continue;
        }
        for (i = 0; i < length / page; i += run) {
            unsigned char here = resident[i] & 1;
            for (run = 1; i + run < length / page && (resident[i + run] & 1) == here;) run++;
            if (here != 0 || !MM_SYS_PURGE(ptr + i * page, run * page)) {
                memset(ptr + i * page, 0, run * page);
            }
        }
    }
}

/* From here on it pays to ask the system. Below, most of a block will be touched anyway: callocs of
   64 KiB to 4 MiB whose every second page is written took 68 us with the question, 46 without. */
#define MMI_HEAP_WIPE_MIN ((size_t)4 << 20)

static void *mmi_heap_zeroed(void *ptr, size_t size, bool zero)
{
    if (!zero && size < MMI_HEAP_WIPE_MIN) return memset(ptr, 0, size);
    if (!zero) mmi_heap_wipe((char *)ptr, size);
    mmi_heap_defined(ptr, size);
    return ptr;
}

MMI_HEAP_API void *mm_heap_calloc(size_t count, size_t size)
{
    size_t total, whole;
    bool zero = false;
    void *ptr;
    if (!mm_size_mul(count, size, &total)) return mmi_heap_refuse(ENOMEM);
    whole = mmi_heap_whole(total);
    if (MM_LIKELY(mmi_heap_has_class(whole))) {
        ptr = mmi_heap_sealed(mmi_heap_alloc_class(mmi_heap_class_of(whole)), whole);
    } else {
        ptr = mmi_heap_alloc_large(whole, MMI_HEAP_ALIGN, &zero);
    }
    if (ptr == NULL) return NULL;
    if (!zero && total < MMI_HEAP_WIPE_MIN) return memset(ptr, 0, total);
    return mmi_heap_zeroed(ptr, total, zero);
}

/* The page of a block, or NULL after telling that ptr is none. */
static mmi_heap_page *mmi_heap_page_of(const void *ptr)
{
    mmi_heap_page *page = mmi_heap_page_at(ptr);
    if (MM_LIKELY(page != NULL && mmi_heap_is_live(page, ptr))) return page;
    mmi_heap_misuse("mm_heap: not the start of a live block", ptr);
    return NULL;
}

/* Makes a live block larger or smaller where it is, if it can. The lock of its heap is held. */
static bool mmi_heap_resize(mmi_heap_page *page, void *ptr, size_t size)
{
    mmi_heap_cache *owner;
    if (page->index < MMI_HEAP_CLASSES || size > PTRDIFF_MAX - MMI_HEAP_SPAN_SIZE) return false;
    if (page->index == MMI_HEAP_DIRECT) return mmi_heap_huge_resize(page, mmi_heap_huge_size(size));
    owner = mmi_heap_owner(page);
    if ((owner != mmi_heap_mine && owner->heap == NULL) || size > MM_HEAP_HUGE) return false;
    return mmi_heap_chunk_resize(owner, page, ptr, mmi_heap_chunk_need(size));
}

/* Shrinks to less than half give the rest back. */
static inline bool mmi_heap_realloc_fits(size_t size, size_t usable)
{
    return size <= usable && (size >= usable / 2 || usable == MMI_HEAP_ALIGN);
}

static bool mmi_heap_realloc_stays(mmi_heap_page *page, void *ptr, size_t size, size_t usable)
{
    if (mmi_heap_realloc_fits(size, usable)) return true;
    if (size < usable && (mmi_heap_has_class(size) || page->index == MMI_HEAP_DIRECT)) return false;
    return mmi_heap_resize(page, ptr, size);
}

/* Resizes without copying: where the block is now, or NULL. */
static void *mmi_heap_realloc_cheap(mmi_heap_page *page, void *ptr, size_t size, size_t usable)
{
    if (mmi_heap_realloc_stays(page, ptr, size, usable)) return ptr;
    if (page->index != MMI_HEAP_DIRECT || size <= usable || size > PTRDIFF_MAX / 2) return NULL;
    return mmi_heap_huge_move(page, mmi_heap_huge_size(size));
}

/* Whether a block of a class, or an area's, that is passed, is marked as free. With a memory
   checker the free or the copy that follows finds it: a live block is not ours to look into. */
static bool mmi_heap_is_freed(const mmi_heap_page *page, const void *ptr)
{
#if defined(MMI_ASAN) || defined(MM_VALGRIND)
    (void)page, (void)ptr;
    return false;
#else
    const mmi_heap_block *block = (const mmi_heap_block *)ptr;
    return page->index != MMI_HEAP_DIRECT && block->key == mmi_heap_mark_of(page, block);
#endif
}

/* What a live block was asked for, or its size where that is not known; false, and told: it was
   freed, or written to beyond its end. */
static bool mmi_heap_may_use(const mmi_heap_page *page, const void *ptr, size_t *usable)
{
    *usable = mmi_heap_block_size(page, ptr);
    if (MMI_HEAP_CHECKED && mmi_heap_is_freed(page, ptr)) {
        mmi_heap_misuse("mm_heap: block used after it was freed", ptr);
        return false;
    }
    if (!MMI_HEAP_SEALED || mmi_heap_asked(page, ptr, usable)) return true;
    mmi_heap_overflown(ptr);
    return false;
}

/* There is no memory to move to: ptr, if it has room for the size as it is. */
static void *mmi_heap_remains(mm_heap *heap, void *ptr, size_t whole, size_t room)
{
    if (whole > room) return NULL;
    mmi_heap_lock_of(heap);
    mmi_heap_seal(ptr, whole - MMI_HEAP_SEAL);
    mmi_heap_leave(heap);
    return ptr;
}

/* The block is not in a page of a class, or of a first-class heap, or no block at all. */
static MMI_HEAP_NOINLINE void *mmi_heap_realloc_slow(void *ptr, size_t size)
{
    mmi_heap_page *page;
    mm_heap *heap;
    size_t usable, whole, room;
    void *moved;
    if (ptr == NULL) return mm_heap_alloc(size);
    page = mmi_heap_page_of(ptr);
    if (page == NULL) return mmi_heap_refuse(EINVAL);
    if (!mmi_heap_may_use(page, ptr, &usable)) return mmi_heap_refuse(EINVAL);
    whole = mmi_heap_whole(size);
    room = MMI_HEAP_SEALED ? mmi_heap_block_size(page, ptr) : usable;
    heap = mmi_heap_of(page);
    mmi_heap_lock_of(heap);
    moved = mmi_heap_realloc_cheap(page, ptr, whole, room);
    if (MMI_HEAP_SEALED && moved != NULL) mmi_heap_seal(moved, size);
    mmi_heap_leave(heap);
    if (moved != NULL) return moved;
    moved = mm_heap_alloc_in(heap, size);
    if (moved == NULL && MMI_HEAP_SEALED) return mmi_heap_remains(heap, ptr, whole, room);
    if (moved == NULL) return size <= usable ? ptr : NULL;
    memcpy(moved, ptr, size < usable ? size : usable);
    mm_heap_free_in(heap, ptr);
    return moved;
}

MMI_HEAP_API void *mm_heap_realloc(void *ptr, size_t size)
{
    mmi_heap_page *page = mmi_heap_page_at(ptr);
    size_t usable;
    void *moved;
    if (MM_UNLIKELY(page == NULL || page->index >= MMI_HEAP_CLASSES) ||
        MM_UNLIKELY((mmi_heap_peek(&page->owner) & MMI_HEAP_OWNER_HEAP) != 0) ||
        MM_UNLIKELY(!mmi_heap_is_block(page, ptr)) || MMI_HEAP_CHECKED) {
        return mmi_heap_realloc_slow(ptr, size);
    }
    usable = page->block_size;
    if (mmi_heap_realloc_fits(size, usable)) return ptr;
    moved = mm_heap_alloc(size);
    if (MM_UNLIKELY(moved == NULL)) return size <= usable ? ptr : NULL;
    memcpy(moved, ptr, size < usable ? size : usable);
    mmi_heap_free_of(page, ptr);
    return moved;
}

/* The class for a size at a multiple of alignment. Pages start at a multiple of 64 KiB, so blocks
   of a multiple of the alignment do. The search ends: the last class is a multiple of all
   alignments up to its size. */
static size_t mmi_heap_class_aligned(size_t size, size_t alignment)
{
    size_t index = mmi_heap_class_of(size > alignment ? size : alignment);
    while ((mmi_heap_class_size(index) & (alignment - 1)) != 0) index++;
    return index;
}

MMI_HEAP_API void *mm_heap_aligned_alloc(size_t alignment, size_t size)
{
    bool zero;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) return mmi_heap_refuse(EINVAL);
    if (alignment <= MMI_HEAP_ALIGN) return mm_heap_alloc(size);
    size = mmi_heap_whole(size);
    if (alignment > MMI_HEAP_CLASS_MAX || !mmi_heap_has_class(size)) {
        return mmi_heap_alloc_large(size, alignment, &zero);
    }
    return mmi_heap_sealed(mmi_heap_alloc_class(mmi_heap_class_aligned(size, alignment)), size);
}

MMI_HEAP_API bool mm_heap_expand(void *ptr, size_t size)
{
    mmi_heap_page *page = mmi_heap_page_of(ptr);
    mm_heap *heap;
    size_t asked = SIZE_MAX, whole = mmi_heap_whole(size);
    bool done;
    if (page == NULL || (MMI_HEAP_SEALED && !mmi_heap_may_use(page, ptr, &asked))) return false;
    heap = mmi_heap_of(page);
    mmi_heap_lock_of(heap);
    done = whole <= mmi_heap_block_size(page, ptr) || mmi_heap_resize(page, ptr, whole);
    if (MMI_HEAP_SEALED && done && size > asked) mmi_heap_seal(ptr, size);
    mmi_heap_leave(heap);
    return done;
}

MMI_HEAP_API size_t mm_heap_usable_size(const void *ptr)
{
    const mmi_heap_page *page = ptr == NULL ? NULL : mmi_heap_page_of(ptr);
    size_t asked;
    if (MMI_HEAP_SEALED && page != NULL) return mmi_heap_may_use(page, ptr, &asked) ? asked : 0;
    return page == NULL ? 0 : mmi_heap_block_size(page, ptr);
}

MMI_HEAP_API size_t mm_heap_good_size(size_t size)
{
    size_t whole = mmi_heap_whole(size);
    if (mmi_heap_has_class(whole)) {
        return mmi_heap_class_size(mmi_heap_class_of(whole)) - MMI_HEAP_SEAL;
    }
    if (whole > PTRDIFF_MAX - MMI_HEAP_SPAN_SIZE) return size;
    if (whole > MM_HEAP_HUGE) return mmi_heap_huge_size(whole) - MMI_HEAP_SEAL;
    return mmi_heap_chunk_need(whole) - MMI_HEAP_CHUNK_HEADER - MMI_HEAP_SEAL;
}

static MM_COLD void *mmi_heap_refuse_in(mm_heap *heap, int error)
{
    if (mmi_atomic_load(&heap->live) == 0) {
        mmi_heap_misuse("mm_heap: the heap was destroyed", heap);
    }
    mmi_atomic_add(&heap->failures, 1);
    return mmi_heap_refuse(error);
}

/* What the list of its class does not have. whole: from mmi_heap_whole. The lock of the heap is
   held. */
static MMI_HEAP_NOINLINE void *mmi_heap_alloc_at(mm_heap *heap, size_t whole, size_t alignment,
                                                 bool *zero)
{
    mmi_heap_cache *cache = &heap->cache;
    if (mmi_heap_has_class(whole) && alignment <= MMI_HEAP_CLASS_MAX) {
        size_t index = mmi_heap_class_aligned(whole, alignment);
        *zero = false;
        while (cache->fast[index].list != NULL || mmi_heap_refill(cache, index)) {
            void *block = mmi_heap_fast_pop(&cache->fast[index], index);
            if (!MMI_HEAP_ENCODED || MM_LIKELY(block != NULL)) { /* or broken: anew */
                return mmi_heap_sealed(block, whole);
            }
        }
        if (mmi_heap_class_size(index) <= MMI_HEAP_SMALL_MAX) return NULL;
    }
    return mmi_heap_large_in(heap, whole, alignment, zero);
}

static MMI_HEAP_NOINLINE void *mmi_heap_alloc_locked(mm_heap *heap, size_t size)
{
    bool zero;
    void *ptr;
    mmi_heap_lock_of(heap);
    ptr = mmi_heap_alloc_at(heap, mmi_heap_whole(size), MMI_HEAP_ALIGN, &zero);
    mmi_heap_leave(heap);
    return ptr != NULL ? ptr : mmi_heap_refuse_in(heap, ENOMEM);
}

/* An unshared heap, up to 1024 bytes, the list not empty: 25 instructions. */
MMI_HEAP_API void *mm_heap_alloc_in(mm_heap *heap, size_t size)
{
    size_t whole = mmi_heap_whole(size);
    if (heap == NULL) return mm_heap_alloc(size);
    if (MM_LIKELY(heap->unshared && mmi_heap_has_class(whole))) {
        size_t index = mmi_heap_class_of(whole);
        mmi_heap_fast *fast = &heap->cache.fast[index];
        if (MM_LIKELY(fast->list != NULL)) {
            void *block = mmi_heap_fast_pop(fast, index);
            if (!MMI_HEAP_ENCODED || MM_LIKELY(block != NULL)) return mmi_heap_sealed(block, whole);
        }
    }
    return mmi_heap_alloc_locked(heap, size);
}

MMI_HEAP_API void *mm_heap_calloc_in(mm_heap *heap, size_t count, size_t size)
{
    size_t total;
    bool zero;
    void *ptr;
    if (heap == NULL) return mm_heap_calloc(count, size);
    if (!mm_size_mul(count, size, &total)) return mmi_heap_refuse_in(heap, ENOMEM);
    mmi_heap_lock_of(heap);
    ptr = mmi_heap_alloc_at(heap, mmi_heap_whole(total), MMI_HEAP_ALIGN, &zero);
    mmi_heap_leave(heap);
    return ptr != NULL ? mmi_heap_zeroed(ptr, total, zero) : mmi_heap_refuse_in(heap, ENOMEM);
}

MMI_HEAP_API void *mm_heap_aligned_alloc_in(mm_heap *heap, size_t alignment, size_t size)
{
    bool zero;
    void *ptr;
    if (heap == NULL) return mm_heap_aligned_alloc(alignment, size);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        return mmi_heap_refuse_in(heap, EINVAL);
    }
    if (alignment < MMI_HEAP_ALIGN) alignment = MMI_HEAP_ALIGN;
    mmi_heap_lock_of(heap);
    ptr = mmi_heap_alloc_at(heap, mmi_heap_whole(size), alignment, &zero);
    mmi_heap_leave(heap);
    return ptr != NULL ? ptr : mmi_heap_refuse_in(heap, ENOMEM);
}

/* False: MM_HEAP_SECURE finds that the block, if it is one, is another heap's; told. */
static inline bool mmi_heap_is_of(const mm_heap *heap, mmi_heap_page *page, const void *ptr)
{
    if (!MMI_HEAP_CHECKED || page == NULL || mmi_heap_of(page) == heap) return true;
    mmi_heap_misuse("mm_heap: block of another heap", ptr);
    return false;
}

MMI_HEAP_API void *mm_heap_realloc_in(mm_heap *heap, void *ptr, size_t size)
{
    if (ptr == NULL) return mm_heap_alloc_in(heap, size);
    if (!mmi_heap_is_of(heap, mmi_heap_page_at(ptr), ptr)) return mmi_heap_refuse(EINVAL);
    MM_ASSERT(mmi_heap_page_at(ptr) == NULL || mmi_heap_of(mmi_heap_page_at(ptr)) == heap);
    return mm_heap_realloc(ptr, size);
}

/* The lock of the heap is held. False: the block was freed last. */
static bool mmi_heap_free_at(mmi_heap_cache *cache, mmi_heap_page *page, mmi_heap_block *block)
{
    if (page->index == MMI_HEAP_AREA) {
        mmi_heap_chunk_free(cache, page, block);
        return true;
    }
#if MMI_HEAP_DELAYED
    mmi_heap_free_delayed(cache, page, block);
#else
    if (mmi_heap_fast_takes(page->fast, page)) {
        if (page->fast->list == block) return false;
        mmi_heap_fast_push(page->fast, page, block, page->block_size);
    } else {
        if (page->free == block) return false;
        mmi_heap_block_close(page, block, page->free, page->block_size);
        mmi_heap_page_put(cache, page, block);
    }
#endif
    return true;
}

static MMI_HEAP_NOINLINE void mmi_heap_free_locked(mm_heap *heap, mmi_heap_page *page,
                                                   mmi_heap_block *block)
{
    bool done;
    if ((MMI_HEAP_CHECKED || page->index == MMI_HEAP_AREA) && !mmi_heap_may_free(page, block)) {
        return;
    }
    mmi_heap_lock_of(heap);
    done = mmi_heap_free_at(&heap->cache, page, block);
    mmi_heap_leave(heap);
    if (!done) mmi_heap_freed_twice(block);
}

/* An unshared heap, up to 32 KiB, a block for the list: 42 instructions. */
MMI_HEAP_API void mm_heap_free_in(mm_heap *heap, void *ptr)
{
    mmi_heap_page *page = mmi_heap_page_at(ptr);
    mmi_heap_block *block = (mmi_heap_block *)ptr;
    if (heap == NULL || page == NULL || mmi_heap_owner(page) != &heap->cache) {
        if (mmi_heap_is_of(heap, page, ptr)) mm_heap_free(ptr);
    } else if (MM_LIKELY(heap->unshared && page->index < MMI_HEAP_CLASSES && !MMI_HEAP_CHECKED &&
                         mmi_heap_fast_takes(page->fast, page) && page->fast->list != block)) {
        mmi_heap_fast_push(page->fast, page, block, page->block_size);
    } else {
        mmi_heap_free_locked(heap, page, block);
    }
}

#ifdef MM_HEAP_DEBUG
/* A layer between the program and the functions above, which it calls by other names. What it knows
   about a block stands in a record apart from all blocks, that a table finds by the block's
   address: so any pointer can be looked up without touching what it points to. Around a block:

       block of the heap: | ... guard, 16 bytes | what the program asked for | guard, 16 to 64 |

   A freed block is filled and kept from use, in the order of the frees, until MM_HEAP_QUARANTINE
   bytes are: then it is looked at, and the oldest go back to the heap. Their records stay behind a
   while longer (until the address is handed out again), so that a second free is still named. */
#undef mm_heap_alloc
#undef mm_heap_free
#undef mm_heap_calloc
#undef mm_heap_realloc
#undef mm_heap_aligned_alloc
#undef mm_heap_expand
#undef mm_heap_usable_size
#undef mm_heap_good_size
#undef mm_heap_alloc_in
#undef mm_heap_calloc_in
#undef mm_heap_aligned_alloc_in
#undef mm_heap_realloc_in
#undef mm_heap_free_in

#ifndef MM_HEAP_QUARANTINE
#define MM_HEAP_QUARANTINE 16777216
#endif
#define MMI_HEAP_GUARD ((size_t)16)
#define MMI_HEAP_GUARD_MOST ((size_t)64) /* behind a block, if the heap's block has so much room */
#define MMI_HEAP_FRESH 0xA5
#define MMI_HEAP_FREED 0xDF
#define MMI_HEAP_GONE_MOST 65536 /* records that are remembered after their block has gone */
#define MMI_HEAP_SITES 1024      /* lists, by hash */
#define MMI_HEAP_TRACES 64       /* made at a time */

#if defined(__GNUC__) || defined(__clang__)
#define MMI_HEAP_CALLER() __builtin_return_address(0)
#elif defined(_MSC_VER)
#define MMI_HEAP_CALLER() _ReturnAddress()
#else
#define MMI_HEAP_CALLER() NULL
#endif

/* A call site: where blocks were allocated or freed. Sites are never freed. */
typedef struct mmi_heap_site {
    struct mmi_heap_site *next;    /* of the same hash */
    struct mmi_heap_site *younger; /* all sites, by their first use */
    mm_heap_leak leak;             /* what is live of it; the texts are the site's own */
} mmi_heap_site;

typedef enum mmi_heap_state {
    MMI_HEAP_LIVE, /* the program's */
    MMI_HEAP_HELD, /* freed, in quarantine */
    MMI_HEAP_GONE  /* freed, and the memory is the heap's again */
} mmi_heap_state;

typedef struct mmi_heap_trace {
    struct mmi_heap_trace *next;          /* of the same hash, or spare */
    struct mmi_heap_trace *older, *newer; /* of a queue, when it is not live */
    struct mmi_heap_trace *own_prev, *own_next; /* of its heap's, until it has gone */
    mm_heap *heap;                              /* NULL: the process's */
    size_t row;                                 /* of the class statistics */
    char *block;                          /* as the program knows it */
    char *base;                           /* as the heap knows it */
    size_t size;                          /* as it was asked for */
    size_t room;                          /* from base to the end of the heap's block */
    mmi_heap_site *allocated, *freed;
    mmi_heap_state state;
} mmi_heap_trace;

/* Where the program is. */
typedef struct mmi_heap_place {
    const char *file; /* NULL: unknown */
    int line;
    const void *address; /* where there is no file; NULL: unknown, too */
} mmi_heap_place;

typedef struct mmi_heap_queue {
    mmi_heap_trace *oldest, *newest;
} mmi_heap_queue;

/* Under the page heap's lock, like all functions that do not take it themselves. */
static struct {
    mmi_heap_trace **table;
    size_t lists, traces; /* of the table, in it */
    mmi_heap_trace *spare;
    mmi_heap_queue held, gone; /* in quarantine, by the time of their free; and after it */
    size_t held_bytes, gone_count;
    mmi_heap_known known[MM_HEAP_CLASS_ROWS];
    mmi_heap_site *sites[MMI_HEAP_SITES];
    mmi_heap_site *first_site, *last_site;
    mmi_heap_site nowhere; /* when there is no memory for a site */
    mm_heap_leak_fn exit_fn;
    void *exit_data;
    bool at_exit; /* the function is registered */
} mmi_heap_debug;

static mmi_heap_place mmi_heap_place_make(const char *file, int line, const void *address)
{
    mmi_heap_place place;
    place.file = file;
    place.line = line;
    place.address = address;
    return place;
}

// >>sites

static size_t mmi_heap_hash(size_t hash, const char *text)
{
    for (; text != NULL && *text != 0; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

static bool mmi_heap_text_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* A copy, for ever, as what a text lies in may be unloaded; NULL: no text, or no memory. */
static const char *mmi_heap_text_keep(const char *text)
{
    size_t size = text == NULL ? 0 : strlen(text) + 1;
    char *copy;
    if (size == 0 || size > MMI_HEAP_META_CHUNK) return NULL;
    copy = (char *)mmi_heap_record(size);
    return copy == NULL ? NULL : (const char *)memcpy(copy, text, size);
}

static mmi_heap_site *mmi_heap_site_make(const mmi_heap_place *place, const char *tag)
{
    const char *kept_tag = mmi_heap_text_keep(tag), *kept_file;
    mmi_heap_site *site;
    if (tag != NULL && kept_tag == NULL) return NULL;
    kept_file = mmi_heap_text_keep(place->file);
    if (place->file != NULL && kept_file == NULL) return NULL;
    site = (mmi_heap_site *)mmi_heap_record(sizeof(*site));
    if (site == NULL) return NULL;
    site->leak.file = kept_file;
    site->leak.line = place->line;
    site->leak.address = place->address;
    site->leak.tag = kept_tag;
    if (mmi_heap_debug.last_site == NULL) mmi_heap_debug.first_site = site;
    else mmi_heap_debug.last_site->younger = site;
    mmi_heap_debug.last_site = site;
    return site;
}

static mmi_heap_site *mmi_heap_site_of(const mmi_heap_place *place, const char *tag)
{
    size_t hash = mmi_heap_hash((size_t)place->line + ((size_t)place->address >> 2), place->file);
    mmi_heap_site **list = &mmi_heap_debug.sites[mmi_heap_hash(hash, tag) % MMI_HEAP_SITES], *site;
    for (site = *list; site != NULL; site = site->next) {
        const mm_heap_leak *leak = &site->leak;
        if (leak->line != place->line || leak->address != place->address) continue;
        if (!mmi_heap_text_same(leak->file, place->file)) continue;
        if (mmi_heap_text_same(leak->tag, tag)) return site;
    }
    site = mmi_heap_site_make(place, tag);
    if (site == NULL) return &mmi_heap_debug.nowhere;
    site->next = *list;
    *list = site;
    return site;
}

static void mmi_heap_known_in(mmi_heap_known *known, size_t size)
{
    known->blocks++;
    known->bytes += size;
}

static void mmi_heap_known_out(mmi_heap_known *known, size_t size)
{
    known->blocks--;
    known->bytes -= size;
}

/* A live block counts for its site, for the process and for its heap, or no longer does. */
static void mmi_heap_count_in(mmi_heap_trace *r)
{
    r->allocated->leak.blocks++;
    r->allocated->leak.bytes += r->size;
    mmi_heap_known_in(&mmi_heap_debug.known[r->row], r->size);
    if (r->heap != NULL) mmi_heap_known_in(&r->heap->known[r->row], r->size);
}

static void mmi_heap_count_out(mmi_heap_trace *r)
{
    r->allocated->leak.blocks--;
    r->allocated->leak.bytes -= r->size;
    mmi_heap_known_out(&mmi_heap_debug.known[r->row], r->size);
    if (r->heap != NULL) mmi_heap_known_out(&r->heap->known[r->row], r->size);
}

// >>traces

static mmi_heap_trace **mmi_heap_list_of(const void *block)
{
    uint64_t hash = ((uint64_t)(uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u;
    return &mmi_heap_debug.table[(size_t)(hash >> 32) & (mmi_heap_debug.lists - 1)];
}

/* Doubles the table; false: it stays as it is. */
static bool mmi_heap_table_grow(void)
{
    size_t old = mmi_heap_debug.lists, lists = old == 0 ? 8192 : 2 * old, i;
    mmi_heap_trace **from = mmi_heap_debug.table, *r, *next;
    void *table = mmi_heap_sys_map(lists * sizeof(*from));
    mmi_heap_mapping mapping;
    if (table == NULL) return false;
    mmi_heap_debug.table = (mmi_heap_trace **)table;
    mmi_heap_debug.lists = lists;
    mmi_heap_here.metadata += lists * sizeof(*from);
    mmi_heap_commit(lists * sizeof(*from));
    for (i = 0; i < old; i++) {
        for (r = from[i]; r != NULL; r = next) {
            mmi_heap_trace **list = mmi_heap_list_of(r->block);
            next = r->next;
            r->next = *list;
            *list = r;
        }
    }
    if (old == 0) return true;
    mapping.base = from;
    mapping.size = old * sizeof(*from);
    mmi_heap_here.metadata -= mapping.size;
    mmi_heap_uncommit(mapping.size);
    mmi_heap_unmap(&mapping);
    return true;
}

/* The record of the block that starts at ptr, live or freed last; NULL: none. */
static mmi_heap_trace *mmi_heap_trace_at(const void *ptr)
{
    mmi_heap_trace *r;
    if (mmi_heap_debug.lists == 0) return NULL;
    for (r = *mmi_heap_list_of(ptr); r != NULL && r->block != ptr;) r = r->next;
    return r;
}

/* A spare record, not in the table yet; NULL when there is no memory. */
static mmi_heap_trace *mmi_heap_trace_take(void)
{
    mmi_heap_trace *r = mmi_heap_debug.spare;
    size_t i;
    if (mmi_heap_debug.traces >= mmi_heap_debug.lists && !mmi_heap_table_grow() &&
        mmi_heap_debug.lists == 0) {
        return NULL;
    }
    if (r == NULL) {
        r = (mmi_heap_trace *)mmi_heap_record(MMI_HEAP_TRACES * sizeof(*r));
        if (r == NULL) return NULL;
        for (i = 0; i + 1 < MMI_HEAP_TRACES; i++) r[i].next = &r[i + 1];
    }
    mmi_heap_debug.spare = r->next;
    return r;
}

static void mmi_heap_trace_enter(mmi_heap_trace *r)
{
    mmi_heap_trace **list = mmi_heap_list_of(r->block);
    r->next = *list;
    *list = r;
    mmi_heap_debug.traces++;
    if (r->heap == NULL) return;
    r->own_prev = NULL;
    r->own_next = r->heap->traces;
    if (r->own_next != NULL) r->own_next->own_prev = r;
    r->heap->traces = r;
}

static void mmi_heap_queue_put(mmi_heap_queue *queue, mmi_heap_trace *r)
{
    r->newer = NULL;
    r->older = queue->newest;
    if (r->older != NULL) r->older->newer = r;
    else queue->oldest = r;
    queue->newest = r;
}

static void mmi_heap_queue_remove(mmi_heap_queue *queue, mmi_heap_trace *r)
{
    if (r->newer != NULL) r->newer->older = r->older;
    else queue->newest = r->older;
    if (r->older != NULL) r->older->newer = r->newer;
    else queue->oldest = r->newer;
}

/* A block that is in no queue has gone; its heap may be gone next. */
static void mmi_heap_trace_retire(mmi_heap_trace *r)
{
    if (r->heap != NULL) {
        if (r->own_next != NULL) r->own_next->own_prev = r->own_prev;
        if (r->own_prev != NULL) r->own_prev->own_next = r->own_next;
        else r->heap->traces = r->own_next;
        r->heap = NULL;
    }
    r->state = MMI_HEAP_GONE;
    mmi_heap_queue_put(&mmi_heap_debug.gone, r);
    mmi_heap_debug.gone_count++;
}

/* Forgets a block that has gone. */
static void mmi_heap_trace_drop(mmi_heap_trace *r)
{
    mmi_heap_trace **link = mmi_heap_list_of(r->block);
    while (*link != r) link = &(*link)->next;
    *link = r->next;
    mmi_heap_queue_remove(&mmi_heap_debug.gone, r);
    mmi_heap_debug.gone_count--;
    mmi_heap_debug.traces--;
    r->next = mmi_heap_debug.spare;
    mmi_heap_debug.spare = r;
}

/* The live block at ptr gets another place, or (place NULL) another tag. False: it is not live. */
static bool mmi_heap_trace_move(const void *ptr, const mmi_heap_place *place, const char *tag)
{
    mmi_heap_trace *r;
    mmi_heap_lock();
    r = mmi_heap_trace_at(ptr);
    if (r != NULL && r->state != MMI_HEAP_LIVE) r = NULL;
    if (r != NULL) {
        const mm_heap_leak *now = &r->allocated->leak;
        mmi_heap_place same = mmi_heap_place_make(now->file, now->line, now->address);
        mmi_heap_count_out(r);
        r->allocated =
            place != NULL ? mmi_heap_site_of(place, now->tag) : mmi_heap_site_of(&same, tag);
        mmi_heap_count_in(r);
    }
    mmi_heap_unlock();
    return r != NULL;
}

// >>guards

/* A guard's bytes differ from one to the next, so that no fill and no copy of one looks right. */
static unsigned char mmi_heap_guard_byte(const char *at)
{
    return (unsigned char)(0xB0 | ((uintptr_t)at & 15));
}

static void mmi_heap_guard_set(char *from, const char *to)
{
    for (; from < to; from++) *(unsigned char *)from = mmi_heap_guard_byte(from);
}

/* The first byte that is not what it should be; NULL: none. */
static const char *mmi_heap_guard_damage(const char *from, const char *to)
{
    for (; from < to; from++) {
        if (*(const unsigned char *)from != mmi_heap_guard_byte(from)) return from;
    }
    return NULL;
}

static const char *mmi_heap_fill_damage(const char *from, size_t size)
{
    const unsigned char *at = (const unsigned char *)from, *end = at + size;
    if (size == 0) return NULL;
    if (*at == MMI_HEAP_FREED && memcmp(at, at + 1, size - 1) == 0) return NULL;
    while (at < end && *at == MMI_HEAP_FREED) at++;
    return (const char *)at;
}

/* Where the guard behind a block ends. */
static char *mmi_heap_guard_end(const mmi_heap_trace *r)
{
    size_t left = r->room - (size_t)(r->block - r->base) - r->size;
    return r->block + r->size + (left < MMI_HEAP_GUARD_MOST ? left : MMI_HEAP_GUARD_MOST);
}

/* Lets this layer read a block with its guards, whatever the memory checkers hold of it. */
static void mmi_heap_open(char *from, const char *to)
{
    MM_TRACK_UNPOISON(from, (size_t)(to - from));
    mmi_heap_defined(from, (size_t)(to - from));
}

/* What is the program's can be used, what is not cannot. */
static void mmi_heap_close(const mmi_heap_trace *r)
{
    char *end = r->block + r->size;
    MM_TRACK_POISON(r->base, (size_t)(r->block - r->base));
    MM_TRACK_POISON(end, (size_t)(r->base + r->room - end));
    if (r->state != MMI_HEAP_LIVE) MM_TRACK_POISON(r->block, r->size);
    (void)end;
}

/* What has happened to a block, *at where; NULL: nothing. */
static const char *mmi_heap_damage(const mmi_heap_trace *r, const char **at)
{
    char *start = r->block - MMI_HEAP_GUARD, *end = r->block + r->size;
    char *guard_end = mmi_heap_guard_end(r);
    const char *damage = NULL;
    mmi_heap_open(start, r->block);
    mmi_heap_open(end, guard_end);
    if ((*at = mmi_heap_guard_damage(start, r->block)) != NULL) {
        damage = "written to before its start";
    } else if ((*at = mmi_heap_guard_damage(end, guard_end)) != NULL) {
        damage = "written to beyond its end";
    } else if (r->state == MMI_HEAP_HELD) {
        mmi_heap_open(r->block, end);
        if ((*at = mmi_heap_fill_damage(r->block, r->size)) != NULL) {
            damage = "written to after it was freed";
        }
    }
    mmi_heap_close(r);
    return damage;
}

// >>reports

/* Appends to a text; what does not fit is cut off. */
static void mmi_heap_put(char *text, size_t size, const char *format, ...) MM_FORMAT(3, 4);
static void mmi_heap_put(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

#if defined(MM_HEAP_PRELOAD) && defined(__ELF__)
/* The C library's Dl_info and dladdr, which strict C hides. */
typedef struct mmi_heap_symbol {
    const char *file;
    void *base;
    const char *name;
    void *start;
} mmi_heap_symbol;
extern int mmi_heap_symbol_of(const void *address, mmi_heap_symbol *symbol) __asm__("dladdr");
#endif

static void mmi_heap_put_address(char *text, size_t size, const void *address)
{
#if defined(MM_HEAP_PRELOAD) && defined(__ELF__) /* as addr2line understands it */
    mmi_heap_symbol symbol;
    if (mmi_heap_symbol_of(address, &symbol) != 0 && symbol.file != NULL) {
        mmi_heap_put(text, size, "%s+0x%zx", symbol.file,
                     (size_t)((const char *)address - (const char *)symbol.base));
        return;
    }
#endif
    mmi_heap_put(text, size, "0x%zx", (size_t)(uintptr_t)address);
}

static void mmi_heap_put_site(char *text, size_t size, const char *what, const mm_heap_leak *site)
{
    mmi_heap_put(text, size, "%s", what);
    if (site->file != NULL) mmi_heap_put(text, size, "%s:%d", site->file, site->line);
    else if (site->address != NULL) mmi_heap_put_address(text, size, site->address);
    else mmi_heap_put(text, size, "an unknown place");
    if (site->tag != NULL) mmi_heap_put(text, size, " (%s)", site->tag);
}

static void mmi_heap_put_place(char *text, size_t size, const mmi_heap_place *place)
{
    mm_heap_leak here;
    if (place == NULL) return;
    memset(&here, 0, sizeof(here));
    here.file = place->file;
    here.line = place->line;
    here.address = place->address;
    mmi_heap_put_site(text, size, "; now at ", &here);
}

/* Tells the program what is wrong with a block, of which r is a copy. at: the byte, or NULL;
   place: where the program is, NULL: it asked for a check. */
static MM_COLD void mmi_heap_tell(const char *what, const mmi_heap_trace *r, const char *at,
                                  const mmi_heap_place *place)
{
    char text[1024];
    text[0] = 0;
    mmi_heap_put(text, sizeof(text), "mm_heap: %s: ", what);
    if (at != NULL) mmi_heap_put(text, sizeof(text), "byte %td of ", at - r->block);
    mmi_heap_put(text, sizeof(text), "%zu bytes at 0x%zx, allocated at ", r->size,
                 (size_t)(uintptr_t)r->block);
    mmi_heap_put_site(text, sizeof(text), "", &r->allocated->leak);
    if (r->freed != NULL) mmi_heap_put_site(text, sizeof(text), ", freed at ", &r->freed->leak);
    mmi_heap_put_place(text, sizeof(text), place);
    mmi_heap_misuse(text, r->block);
}

/* The block that ptr points into or whose guards it points to, as good as can be told. */
static const mmi_heap_trace *mmi_heap_trace_around(const char *ptr)
{
    const mmi_heap_trace *best = NULL, *r;
    size_t i;
    for (i = 0; i < mmi_heap_debug.lists; i++) {
        for (r = mmi_heap_debug.table[i]; r != NULL; r = r->next) {
            if (ptr < r->block - MMI_HEAP_GUARD || ptr >= mmi_heap_guard_end(r)) continue;
            if (best == NULL || r->state < best->state) best = r;
        }
    }
    return best;
}

/* A pointer at which no live block starts was passed. */
static MM_COLD void mmi_heap_tell_stranger(const void *ptr, const mmi_heap_place *place)
{
    mmi_heap_trace copy;
    const mmi_heap_trace *r;
    char text[512];
    mmi_heap_lock();
    r = mmi_heap_trace_at(ptr);
    if (r == NULL) r = mmi_heap_trace_around((const char *)ptr);
    if (r != NULL) copy = *r;
    mmi_heap_unlock();
    if (r == NULL) {
        text[0] = 0;
        mmi_heap_put(text, sizeof(text), "mm_heap: pointer to no block of the heap: 0x%zx",
                     (size_t)(uintptr_t)ptr);
        mmi_heap_put_place(text, sizeof(text), place);
        mmi_heap_misuse(text, ptr);
    } else if (copy.block != (const char *)ptr) {
        mmi_heap_tell("pointer into a block", &copy, (const char *)ptr, place);
    } else {
        mmi_heap_tell("block used after it was freed", &copy, NULL, place);
    }
}

// >>quarantine

static size_t mmi_heap_held_cost(const mmi_heap_trace *r)
{
    return r->room + sizeof(*r);
}

/* A live block becomes one in quarantine; false: it is too large for that. Its memory is the
   caller's to free then. */
static bool mmi_heap_hold(mmi_heap_trace *r, mmi_heap_site *freed)
{
    bool fits = mmi_heap_held_cost(r) <= MM_HEAP_QUARANTINE;
    mmi_heap_count_out(r);
    MM_TRACK_UNPOISON(r->block, r->size); /* the program may have hidden some of it */
    if (fits) memset(r->block, MMI_HEAP_FREED, r->size);
    r->freed = freed;
    if (!fits) {
        mmi_heap_trace_retire(r);
        return false;
    }
    r->state = MMI_HEAP_HELD;
    mmi_heap_queue_put(&mmi_heap_debug.held, r);
    mmi_heap_debug.held_bytes += mmi_heap_held_cost(r);
    mmi_heap_close(r);
    return true;
}

static void mmi_heap_unhold(mmi_heap_trace *r)
{
    mmi_heap_queue_remove(&mmi_heap_debug.held, r);
    mmi_heap_debug.held_bytes -= mmi_heap_held_cost(r);
}

/* The heap's block under one that has left the quarantine, or never was there, goes back to it. */
static void mmi_heap_base_free(const mmi_heap_trace *r)
{
    mmi_heap_open(r->base, r->base + r->room);
    mmi_heap_raw_free(r->base);
}

/* The same for a block of a first-class heap, with the lock held: as soon as it is not, the heap's
   owner, who does not know of this thread, may reset or destroy it. */
static void mmi_heap_base_free_own(const mmi_heap_trace *r)
{
    mmi_heap_page *page = mmi_heap_page_at(r->base);
    mmi_heap_block *block = (mmi_heap_block *)(void *)r->base;
    mmi_heap_open(r->base, r->base + r->room);
    if (page->index == MMI_HEAP_DIRECT) {
        mmi_heap_huge_keep((mmi_heap_huge *)(void *)page);
        return;
    }
    mmi_heap_block_close(page, block, NULL, mmi_heap_block_size(page, r->base));
    mmi_heap_remote_push(mmi_heap_owner(page), block, block);
}

/* Those that went first are forgotten. */
static void mmi_heap_gone_limit(void)
{
    while (mmi_heap_debug.gone_count > MMI_HEAP_GONE_MOST) {
        mmi_heap_trace_drop(mmi_heap_debug.gone.oldest);
    }
}

/* If more than so many bytes are in quarantine, its oldest block leaves it. Takes the lock. */
static bool mmi_heap_release(size_t limit)
{
    mmi_heap_trace *r, copy;
    const char *damage, *at;
    mmi_heap_lock();
    r = mmi_heap_debug.held.oldest;
    if (r == NULL || mmi_heap_debug.held_bytes <= limit || mmi_heap_here.walkers > 0) {
        mmi_heap_unlock();
        return false;
    }
    damage = mmi_heap_damage(r, &at);
    copy = *r;
    mmi_heap_unhold(r);
    mmi_heap_trace_retire(r);
    if (copy.heap != NULL) mmi_heap_base_free_own(&copy);
    mmi_heap_gone_limit();
    mmi_heap_unlock();
    if (copy.heap == NULL) mmi_heap_base_free(&copy);
    if (damage != NULL) mmi_heap_tell(damage, &copy, at, NULL);
    return true;
}

/* A heap is reset or destroyed at place: so its blocks are freed there, and none of them is kept
   from use. Takes the lock. */
static void mmi_heap_free_traces(mm_heap *heap, const mmi_heap_place *place)
{
    mmi_heap_trace *r, copy;
    const char *damage, *at;
    do {
        damage = NULL;
        mmi_heap_lock();
        while (damage == NULL && (r = heap->traces) != NULL) {
            damage = mmi_heap_damage(r, &at);
            copy = *r;
            if (r->state == MMI_HEAP_HELD) mmi_heap_unhold(r);
            else mmi_heap_count_out(r);
            if (r->freed == NULL) r->freed = mmi_heap_site_of(place, NULL);
            mmi_heap_trace_retire(r);
            mmi_heap_open(r->base, r->base + r->room);
            mmi_heap_gone_limit();
        }
        mmi_heap_unlock();
        if (damage != NULL) mmi_heap_tell(damage, &copy, at, place);
    } while (damage != NULL);
}

static void mmi_heap_release_all(void)
{
    while (mmi_heap_release(0)) continue;
}

// >>debugapi

static void *mmi_heap_refuse_at(mm_heap *heap, int error)
{
    return heap == NULL ? mmi_heap_refuse(error) : mmi_heap_refuse_in(heap, error);
}

/* A refusal is tried again, and does not count. */
static void mmi_heap_retry(mm_heap *heap)
{
    mmi_atomic_add(&mmi_heap_here.failures, SIZE_MAX);
    if (heap != NULL) mmi_atomic_add(&heap->failures, SIZE_MAX);
}

/* What the heap has to provide for a block, which starts behind *front bytes of it. */
static void *mmi_heap_base_alloc(mm_heap *heap, size_t size, size_t alignment, bool zero,
                                 size_t *front)
{
    size_t total;
    *front = alignment < MMI_HEAP_GUARD ? MMI_HEAP_GUARD : alignment;
    if (size > PTRDIFF_MAX || !mm_size_add(size, *front + MMI_HEAP_GUARD, &total)) {
        return mmi_heap_refuse_at(heap, ENOMEM);
    }
    if (heap == NULL) {
        return zero ? mmi_heap_raw_calloc(1, total) : mmi_heap_raw_aligned_alloc(*front, total);
    }
    if (zero) return mmi_heap_raw_calloc_in(heap, 1, total);
    return mmi_heap_raw_aligned_alloc_in(heap, *front, total);
}

/* Makes a block of the program's of one of the heap's; NULL: there is no memory to remember it. */
static void *mmi_heap_adorn(mm_heap *heap, char *base, size_t front, size_t size, bool zero,
                            const mmi_heap_place *place)
{
    mmi_heap_trace *r, *before;
    char *block = base + front;
    size_t room = mmi_heap_raw_usable_size(base);
    if (!zero) memset(block, MMI_HEAP_FRESH, size);
    if (!zero) MM_TRACK_UNPOISON(block, size);
    mmi_heap_lock();
    before = mmi_heap_trace_at(block);
    if (before != NULL) mmi_heap_trace_drop(before);
    r = mmi_heap_trace_take();
    if (r != NULL) {
        r->block = block;
        r->base = base;
        r->heap = heap;
        r->row = mmi_heap_page_at(base)->index;
        r->size = size;
        r->room = room;
        r->allocated = mmi_heap_site_of(place, NULL);
        r->freed = NULL;
        r->state = MMI_HEAP_LIVE;
        mmi_heap_trace_enter(r);
        mmi_heap_count_in(r);
        mmi_heap_guard_set(block - MMI_HEAP_GUARD, block);
        mmi_heap_guard_set(block + size, mmi_heap_guard_end(r));
        mmi_heap_close(r);
    }
    mmi_heap_unlock();
    return r == NULL ? NULL : block;
}

static void *mmi_heap_debug_alloc(mm_heap *heap, size_t size, size_t alignment, bool zero,
                                  const mmi_heap_place *place)
{
    size_t front;
    void *base = NULL, *block;
    if (heap != NULL && mmi_atomic_load(&heap->live) == 0) return mmi_heap_refuse_in(heap, ENOMEM);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        return mmi_heap_refuse_at(heap, EINVAL);
    }
    if (alignment > PTRDIFF_MAX / 2) return mmi_heap_refuse_at(heap, ENOMEM);
    base = mmi_heap_base_alloc(heap, size, alignment, zero, &front);
    if (base == NULL && size <= PTRDIFF_MAX && mmi_heap_release(0)) { /* it is to refuse nobody */
        mmi_heap_release_all();
        mmi_heap_retry(heap);
        base = mmi_heap_base_alloc(heap, size, alignment, zero, &front);
    }
    if (base == NULL) return NULL;
    block = mmi_heap_adorn(heap, (char *)base, front, size, zero, place);
    if (block != NULL) return block;
    mmi_heap_raw_free(base);
    return mmi_heap_refuse_at(heap, ENOMEM);
}

/* The live block at ptr, whose guards are whole; otherwise says what is wrong, and false. */
static bool mmi_heap_look(const void *ptr, mmi_heap_trace *copy, const mmi_heap_place *place)
{
    const mmi_heap_trace *r;
    const char *damage = NULL, *at = NULL;
    bool live;
    mmi_heap_lock();
    r = mmi_heap_trace_at(ptr);
    live = r != NULL && r->state == MMI_HEAP_LIVE;
    if (live) damage = mmi_heap_damage(r, &at);
    if (live) *copy = *r;
    mmi_heap_unlock();
    if (damage != NULL) mmi_heap_tell(damage, copy, at, place);
    else if (!live) mmi_heap_tell_stranger(ptr, place);
    return live && damage == NULL;
}

static void mmi_heap_debug_free(void *ptr, const mmi_heap_place *place)
{
    mmi_heap_trace copy, *r;
    bool live, held = false;
    if (ptr == NULL || !mmi_heap_look(ptr, &copy, place)) return;
    mmi_heap_lock();
    r = mmi_heap_trace_at(ptr);
    live = r != NULL && r->state == MMI_HEAP_LIVE; /* another thread may have been faster */
    if (live) held = mmi_heap_hold(r, mmi_heap_site_of(place, NULL));
    mmi_heap_gone_limit();
    mmi_heap_unlock();
    if (!live) mmi_heap_tell_stranger(ptr, place);
    else if (!held) mmi_heap_base_free(&copy);
    while (mmi_heap_release(MM_HEAP_QUARANTINE)) continue;
}

static void mmi_heap_debug_free_sized(void *ptr, size_t size, const mmi_heap_place *place)
{
    mmi_heap_trace copy;
    char text[64];
    if (ptr == NULL || !mmi_heap_look(ptr, &copy, place)) return;
    if (size != copy.size) {
        (void)snprintf(text, sizeof(text), "block freed as one of %zu bytes", size);
        mmi_heap_tell(text, &copy, NULL, place);
        return;
    }
    mmi_heap_debug_free(ptr, place);
}

static const char *mmi_heap_name_of(const mm_heap *heap)
{
    return heap == NULL ? "" : heap->name;
}

/* The live block of a heap at ptr; otherwise says what is wrong, and false. */
static bool mmi_heap_look_in(mm_heap *heap, const void *ptr, mmi_heap_trace *copy,
                             const mmi_heap_place *place)
{
    char text[128];
    if (!mmi_heap_look(ptr, copy, place)) return false;
    if (copy->heap == heap) return true;
    (void)snprintf(text, sizeof(text), "block of the heap \"%s\" passed to the heap \"%s\"",
                   mmi_heap_name_of(copy->heap), mmi_heap_name_of(heap));
    mmi_heap_tell(text, copy, NULL, place);
    return false;
}

static void mmi_heap_debug_free_in(mm_heap *heap, void *ptr, const mmi_heap_place *place)
{
    mmi_heap_trace copy;
    if (ptr != NULL && mmi_heap_look_in(heap, ptr, &copy, place)) mmi_heap_debug_free(ptr, place);
}

/* A live block has another size from now on, in the same place. The heap's block has the room. */
static void mmi_heap_set_size(void *ptr, size_t size)
{
    mmi_heap_trace *r;
    mmi_heap_lock();
    r = mmi_heap_trace_at(ptr);
    if (r != NULL && r->state == MMI_HEAP_LIVE) {
        size_t old = r->size;
        mmi_heap_count_out(r);
        r->room = mmi_heap_raw_usable_size(r->base);
        r->size = size;
        mmi_heap_count_in(r);
        if (size > old) {
            mmi_heap_open(r->block + old, r->block + size);
            memset(r->block + old, MMI_HEAP_FRESH, size - old);
            MM_TRACK_UNPOISON(r->block + old, size - old);
        }
        mmi_heap_open(r->block + size, r->base + r->room);
        mmi_heap_guard_set(r->block + size, mmi_heap_guard_end(r));
        mmi_heap_close(r);
    }
    mmi_heap_unlock();
}

/* Makes a block larger where it is; false: it cannot. */
static bool mmi_heap_debug_expand(const mmi_heap_trace *r, size_t size)
{
    size_t total;
    if (size <= r->size) return true;
    if (!mm_size_add(size, (size_t)(r->block - r->base) + MMI_HEAP_GUARD, &total)) return false;
    if (!mmi_heap_raw_expand(r->base, total)) return false;
    mmi_heap_set_size(r->block, size);
    return true;
}

/* Moves always, so that who keeps the old pointer is found out; unless there is no memory. */
static void *mmi_heap_debug_realloc(void *ptr, size_t size, const mmi_heap_place *place)
{
    mmi_heap_trace copy;
    void *moved;
    if (ptr == NULL) return mmi_heap_debug_alloc(NULL, size, MMI_HEAP_ALIGN, false, place);
    if (!mmi_heap_look(ptr, &copy, place)) return mmi_heap_refuse(EINVAL);
    moved = mmi_heap_debug_alloc(copy.heap, size, MMI_HEAP_ALIGN, false, place);
    if (moved == NULL) {
        if (size <= copy.size) mmi_heap_set_size(ptr, size);
        else if (!mmi_heap_debug_expand(&copy, size)) return NULL;
        return ptr;
    }
    memcpy(moved, ptr, size < copy.size ? size : copy.size);
    (void)mmi_heap_trace_move(moved, NULL, copy.allocated->leak.tag);
    mmi_heap_debug_free(ptr, place);
    return moved;
}

static void *mmi_heap_debug_realloc_in(mm_heap *heap, void *ptr, size_t size,
                                       const mmi_heap_place *place)
{
    mmi_heap_trace copy;
    if (ptr == NULL) return mmi_heap_debug_alloc(heap, size, MMI_HEAP_ALIGN, false, place);
    if (mmi_heap_look_in(heap, ptr, &copy, place)) return mmi_heap_debug_realloc(ptr, size, place);
    return mmi_heap_refuse(EINVAL);
}

MM_API void *mm_heap_alloc(size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    return mmi_heap_debug_alloc(NULL, size, MMI_HEAP_ALIGN, false, &place);
}

MM_API void *mm_heap_calloc(size_t count, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    size_t total;
    if (!mm_size_mul(count, size, &total)) return mmi_heap_refuse(ENOMEM);
    return mmi_heap_debug_alloc(NULL, total, MMI_HEAP_ALIGN, true, &place);
}

MM_API void *mm_heap_aligned_alloc(size_t alignment, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    return mmi_heap_debug_alloc(NULL, size, alignment, false, &place);
}

MM_API void *mm_heap_realloc(void *ptr, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    return mmi_heap_debug_realloc(ptr, size, &place);
}

MM_API void mm_heap_free(void *ptr)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    mmi_heap_debug_free(ptr, &place);
}

MM_API void mm_heap_free_sized(void *ptr, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    mmi_heap_debug_free_sized(ptr, size, &place);
}

MM_API bool mm_heap_expand(void *ptr, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    mmi_heap_trace copy;
    return mmi_heap_look(ptr, &copy, &place) && mmi_heap_debug_expand(&copy, size);
}

MM_API size_t mm_heap_usable_size(const void *ptr)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    mmi_heap_trace copy;
    return ptr != NULL && mmi_heap_look(ptr, &copy, &place) ? copy.size : 0;
}

MM_API size_t mm_heap_good_size(size_t size)
{
    return size;
}

MM_API void *mm_heap_alloc_in(mm_heap *heap, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    return mmi_heap_debug_alloc(heap, size, MMI_HEAP_ALIGN, false, &place);
}

MM_API void *mm_heap_calloc_in(mm_heap *heap, size_t count, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    size_t total;
    if (!mm_size_mul(count, size, &total)) return mmi_heap_refuse_at(heap, ENOMEM);
    return mmi_heap_debug_alloc(heap, total, MMI_HEAP_ALIGN, true, &place);
}

MM_API void *mm_heap_aligned_alloc_in(mm_heap *heap, size_t alignment, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    return mmi_heap_debug_alloc(heap, size, alignment, false, &place);
}

MM_API void *mm_heap_realloc_in(mm_heap *heap, void *ptr, size_t size)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    return mmi_heap_debug_realloc_in(heap, ptr, size, &place);
}

MM_API void mm_heap_free_in(mm_heap *heap, void *ptr)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    mmi_heap_debug_free_in(heap, ptr, &place);
}

MM_API void *mmi_heap_realloc_in_from(mm_heap *heap, void *ptr, size_t size, const char *file,
                                      int line)
{
    mmi_heap_place place = mmi_heap_place_make(file, line, NULL);
    return mmi_heap_debug_realloc_in(heap, ptr, size, &place);
}

MM_API void mmi_heap_free_in_from(mm_heap *heap, void *ptr, const char *file, int line)
{
    mmi_heap_place place = mmi_heap_place_make(file, line, NULL);
    mmi_heap_debug_free_in(heap, ptr, &place);
}

MM_API void *mmi_heap_realloc_from(void *ptr, size_t size, const char *file, int line)
{
    mmi_heap_place place = mmi_heap_place_make(file, line, NULL);
    return mmi_heap_debug_realloc(ptr, size, &place);
}

MM_API void mmi_heap_free_from(void *ptr, const char *file, int line)
{
    mmi_heap_place place = mmi_heap_place_make(file, line, NULL);
    mmi_heap_debug_free(ptr, &place);
}

MM_API void mmi_heap_free_sized_from(void *ptr, size_t size, const char *file, int line)
{
    mmi_heap_place place = mmi_heap_place_make(file, line, NULL);
    mmi_heap_debug_free_sized(ptr, size, &place);
}

MM_API void *mmi_heap_at(void *ptr, const char *file, int line)
{
    mmi_heap_place place = mmi_heap_place_make(file, line, NULL);
    if (ptr != NULL) (void)mmi_heap_trace_move(ptr, &place, NULL);
    return ptr;
}

/* For functions of this file that stand between the program and the functions above. */
static MM_UNUSED void *mmi_heap_noted(void *ptr, const void *address)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, address);
    if (ptr != NULL) (void)mmi_heap_trace_move(ptr, &place, NULL);
    return ptr;
}

static MM_UNUSED void mmi_heap_free_noted(void *ptr, const void *address)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, address);
    mmi_heap_debug_free(ptr, &place);
}

static void mmi_heap_free_sized_noted(void *ptr, size_t size, const void *address)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, address);
    mmi_heap_debug_free_sized(ptr, size, &place);
}

/* The same for a block that is to be of a heap. */
static void mmi_heap_free_sized_in_noted(mm_heap *heap, void *ptr, size_t size, const void *address)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, address);
    mmi_heap_trace copy;
    if (ptr == NULL || !mmi_heap_look_in(heap, ptr, &copy, &place)) return;
    mmi_heap_debug_free_sized(ptr, size, &place);
}
#define MMI_HEAP_NOTED(ptr) mmi_heap_noted((ptr), MMI_HEAP_CALLER())
#define MMI_HEAP_FREE(ptr) mmi_heap_free_noted((ptr), MMI_HEAP_CALLER())
#define MMI_HEAP_FREE_SIZED(ptr, size) mmi_heap_free_sized_noted((ptr), (size), MMI_HEAP_CALLER())

MM_API void *mm_heap_tag(void *ptr, const char *tag)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    if (ptr != NULL && !mmi_heap_trace_move(ptr, NULL, tag)) mmi_heap_tell_stranger(ptr, &place);
    return ptr;
}

MM_API size_t mm_heap_leaks(mm_heap_leak_fn leak_fn, void *user_data)
{
    mmi_heap_site *site = &mmi_heap_debug.nowhere;
    size_t blocks = 0;
    while (site != NULL) { /* sites stay, but leak_fn may use the heap */
        mm_heap_leak leak;
        mmi_heap_lock();
        leak = site->leak;
        site = site == &mmi_heap_debug.nowhere ? mmi_heap_debug.first_site : site->younger;
        mmi_heap_unlock();
        blocks += leak.blocks;
        if (leak.blocks != 0 && leak_fn != NULL) leak_fn(&leak, user_data);
    }
    return blocks;
}

static void mmi_heap_exit(void)
{
    mm_heap_leak_fn leak_fn = mmi_heap_debug.exit_fn;
    if (leak_fn != NULL) (void)mm_heap_leaks(leak_fn, mmi_heap_debug.exit_data);
}

MM_API bool mm_heap_leaks_at_exit(mm_heap_leak_fn leak_fn, void *user_data)
{
    if (!mmi_heap_debug.at_exit && atexit(mmi_heap_exit) != 0) return false;
    mmi_heap_debug.at_exit = true;
    mmi_heap_debug.exit_data = user_data;
    mmi_heap_debug.exit_fn = leak_fn;
    return true;
}

/* The first damaged block, live or in quarantine, of a heap (NULL: of all); NULL: none. */
static mmi_heap_trace *mmi_heap_damaged(mm_heap *heap, const char **damage, const char **at)
{
    mmi_heap_trace *r;
    size_t i;
    if (heap != NULL) {
        for (r = heap->traces; r != NULL; r = r->own_next) {
            if ((*damage = mmi_heap_damage(r, at)) != NULL) return r;
        }
        return NULL;
    }
    for (i = 0; i < mmi_heap_debug.lists; i++) {
        for (r = mmi_heap_debug.table[i]; r != NULL; r = r->next) {
            if (r->state == MMI_HEAP_GONE) continue;
            if ((*damage = mmi_heap_damage(r, at)) != NULL) return r;
        }
    }
    return NULL;
}

/* Whether all of these are whole; says which is not. */
static bool mmi_heap_check_traces(mm_heap *heap)
{
    const mmi_heap_trace *r;
    mmi_heap_trace copy;
    const char *damage = NULL, *at = NULL;
    mmi_heap_lock();
    r = mmi_heap_damaged(heap, &damage, &at);
    if (r != NULL) copy = *r;
    mmi_heap_unlock();
    if (r != NULL) mmi_heap_tell(damage, &copy, at, NULL);
    return r == NULL;
}

/* The live block in one of the heap's, of which size bytes can be used. It starts at a power of
   two behind base, which is its alignment, so base is a multiple of that, too. */
static bool mmi_heap_trace_in(const char *base, size_t size, mmi_heap_trace *copy)
{
    mmi_heap_trace *r = NULL;
    size_t front;
    mmi_heap_lock();
    for (front = MMI_HEAP_GUARD; front < size; front *= 2) {
        r = mmi_heap_trace_at(base + front);
        if (r != NULL && r->base == base && r->state == MMI_HEAP_LIVE) break;
        r = NULL;
        if (((uintptr_t)base & front) != 0) break;
    }
    if (r != NULL) *copy = *r;
    mmi_heap_unlock();
    return r != NULL;
}

#else
#define MMI_HEAP_NOTED(ptr) (ptr)
#define MMI_HEAP_FREE(ptr) mm_heap_free(ptr)
#define MMI_HEAP_FREE_SIZED(ptr, size) mm_heap_free_sized((ptr), (size))

MM_API void *mm_heap_tag(void *ptr, const char *tag)
{
    (void)tag;
    return ptr;
}

MM_API size_t mm_heap_leaks(mm_heap_leak_fn leak_fn, void *user_data)
{
    mm_heap_leak leak;
    mm_heap_stats stats;
    mm_heap_get_stats(&stats);
    memset(&leak, 0, sizeof(leak));
    leak.blocks = stats.live_blocks;
    leak.bytes = stats.live;
    if (leak.blocks != 0 && leak_fn != NULL) leak_fn(&leak, user_data);
    return leak.blocks;
}

MM_API bool mm_heap_leaks_at_exit(mm_heap_leak_fn leak_fn, void *user_data)
{
    (void)leak_fn, (void)user_data;
    return false;
}
#endif /* MM_HEAP_DEBUG */

// >>helpers

#ifndef MM_HEAP_DEBUG
/* Whether a block can be as large as its owner says; tells if not. */
static bool mmi_heap_size_fits(const void *ptr, size_t size)
{
#if MMI_HEAP_SEALED
    mmi_heap_page *page = mmi_heap_page_at(ptr);
    size_t asked;
    if (ptr == NULL || page == NULL || !mmi_heap_is_live(page, ptr) ||
        mmi_heap_is_freed(page, ptr) || !mmi_heap_asked(page, ptr, &asked)) {
        return true; /* of what is wrong the free tells */
    }
    if (size <= asked) return true;
    mmi_heap_misuse("mm_heap: a block is smaller than its owner says", ptr);
    return false;
#else
    if (MMI_HEAP_CHECKED && ptr != NULL && size > mm_heap_usable_size(ptr)) {
        mmi_heap_misuse("mm_heap: a block is smaller than its owner says", ptr);
        return false;
    }
    MM_ASSERT(ptr == NULL || size <= mm_heap_usable_size(ptr));
    (void)ptr, (void)size;
    return true;
#endif
}

MM_API void mm_heap_free_sized(void *ptr, size_t size)
{
    if (mmi_heap_size_fits(ptr, size)) mm_heap_free(ptr);
}
#endif

MM_API void *mm_heap_reallocarray(void *ptr, size_t count, size_t size)
{
    size_t total;
    if (!mm_size_mul(count, size, &total)) return mmi_heap_refuse(ENOMEM);
    return mm_heap_realloc(ptr, total);
}

MM_API void *mm_heap_alloc_add(size_t a, size_t b)
{
    size_t total;
    return mm_size_add(a, b, &total) ? mm_heap_alloc(total) : mmi_heap_refuse(ENOMEM);
}

MM_API void *mm_heap_alloc_mul(size_t a, size_t b)
{
    size_t total;
    return mm_size_mul(a, b, &total) ? mm_heap_alloc(total) : mmi_heap_refuse(ENOMEM);
}

MM_API char *mm_heap_strndup(const char *text, size_t size)
{
    const char *end = (const char *)memchr(text, 0, size);
    size_t length = end == NULL ? size : (size_t)(end - text);
    char *copy = (char *)mm_heap_alloc_add(length, 1);
    if (copy == NULL) return NULL;
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

MM_API char *mm_heap_strdup(const char *text)
{
    return mm_heap_strndup(text, strlen(text));
}

MM_API char *mm_heap_vformat(const char *format, va_list arguments)
{
    va_list again;
    char *text = NULL;
    int length;
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length >= 0) text = (char *)mm_heap_alloc((size_t)length + 1);
    if (text != NULL) (void)vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}

MM_API char *mm_heap_format(const char *format, ...)
{
    va_list arguments;
    char *text;
    va_start(arguments, format);
    text = mm_heap_vformat(format, arguments);
    va_end(arguments);
    return text;
}

MM_API void mm_heap_set_handler(mm_heap_handler handler, void *user_data)
{
    mmi_heap_here.handler = handler;
    mmi_heap_here.handler_data = user_data;
}

/* There is no memory: returns when it is worth to try again. */
static MM_COLD void mmi_heap_no_memory(size_t size)
{
    mmi_heap_central *h = &mmi_heap_here;
    if (h->handler == NULL || !h->handler(size, h->handler_data)) abort();
}

MM_API void *mm_heap_xalloc(size_t size)
{
    void *ptr;
    while ((ptr = mm_heap_alloc(size)) == NULL) mmi_heap_no_memory(size);
    return ptr;
}

MM_API void *mm_heap_xcalloc(size_t count, size_t size)
{
    size_t total;
    void *ptr;
    if (!mm_size_mul(count, size, &total)) total = SIZE_MAX;
    while ((ptr = mm_heap_calloc(count, size)) == NULL) mmi_heap_no_memory(total);
    return ptr;
}

MM_API void *mm_heap_xrealloc(void *ptr, size_t size)
{
    void *moved;
    while ((moved = mm_heap_realloc(ptr, size)) == NULL) mmi_heap_no_memory(size);
    return moved;
}

#ifdef MM_HEAP_DEBUG
MM_API void *mmi_heap_xrealloc_from(void *ptr, size_t size, const char *file, int line)
{
    void *moved;
    while ((moved = mmi_heap_realloc_from(ptr, size, file, line)) == NULL) mmi_heap_no_memory(size);
    return moved;
}
#endif

MM_API char *mm_heap_xstrdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return (char *)memcpy(mm_heap_xalloc(size), text, size);
}

static void *mmi_heap_alloc_fn(size_t size, void *user_data)
{
    (void)user_data;
    return MMI_HEAP_NOTED(mm_heap_alloc(size));
}

static void *mmi_heap_realloc_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    (void)old_size, (void)user_data;
    return MMI_HEAP_NOTED(mm_heap_realloc(ptr, new_size));
}

static void mmi_heap_free_fn(void *ptr, size_t size, void *user_data)
{
    (void)user_data;
    MMI_HEAP_FREE_SIZED(ptr, size);
}

MM_API const mm_allocator *mm_heap_allocator(mm_heap *heap)
{
    static const mm_allocator allocator = {mmi_heap_alloc_fn, mmi_heap_realloc_fn, mmi_heap_free_fn,
                                           NULL};
    return heap == NULL ? &allocator : &heap->allocator;
}

// >>heaps

static void *mmi_heap_own_alloc_fn(size_t size, void *user_data)
{
    return MMI_HEAP_NOTED(mm_heap_alloc_in((mm_heap *)user_data, size));
}

static void *mmi_heap_own_realloc_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    (void)old_size;
    return MMI_HEAP_NOTED(mm_heap_realloc_in((mm_heap *)user_data, ptr, new_size));
}

static void mmi_heap_own_free_fn(void *ptr, size_t size, void *user_data)
{
#ifdef MM_HEAP_DEBUG
    mmi_heap_free_sized_in_noted((mm_heap *)user_data, ptr, size, MMI_HEAP_CALLER());
#else
    if (mmi_heap_size_fits(ptr, size)) mm_heap_free_in((mm_heap *)user_data, ptr);
#endif
}

/* A record, or NULL. */
static mm_heap *mmi_heap_heap_record(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    mm_heap *heap, *before;
    mmi_heap_lock();
    heap = h->spare_heaps;
    if (heap != NULL) {
        h->spare_heaps = heap->spare_next;
    } else if ((heap = (mm_heap *)mmi_heap_record(sizeof(*heap))) != NULL) {
        before = (mm_heap *)mmi_atomic_load(&h->heaps);
        mmi_heap_secret_make(heap);
        heap->cache.heap = heap;
#if MMI_HEAP_DELAYED
        heap->cache.random = mmi_heap_page_key_new();
#endif
        heap->number = before == NULL ? 0 : before->number + 1;
        heap->next = before;
        mmi_atomic_store(&h->heaps, (size_t)heap);
    }
    mmi_heap_unlock();
    return heap;
}

/* The length of the character that UTF-8 has there; 0: none, or one that cannot be printed. */
static size_t mmi_heap_character(const unsigned char *at)
{
    size_t length, i;
    if (at[0] < 0x80) return at[0] >= 0x20 && at[0] != 0x7f;
    if (at[0] < 0xc2 || at[0] > 0xf4) return 0;
    length = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    for (i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return length;
}

/* So much of a name as fits, in whole characters. */
static void mmi_heap_name_copy(char *to, size_t size, const char *name)
{
    const unsigned char *at = (const unsigned char *)name;
    size_t used = 0;
    while (*at != 0) {
        size_t length = mmi_heap_character(at), step = length == 0 ? 1 : length;
        if (used + step >= size) break;
        if (length == 0) to[used] = '?';
        else memcpy(to + used, at, length);
        used += step;
        at += step;
    }
    to[used] = 0;
}

MM_API mm_heap *mm_heap_create(const mm_heap_desc *desc)
{
    const char *name = desc == NULL || desc->name == NULL ? "" : desc->name;
    mm_heap *heap;
    mmi_heap_start();
    heap = mmi_heap_heap_record();
    if (heap == NULL) return (mm_heap *)mmi_heap_refuse(ENOMEM);
    mmi_heap_name_copy(heap->name, sizeof(heap->name), name);
    heap->limit = desc == NULL ? 0 : desc->limit;
    heap->unshared = desc != NULL && desc->unshared;
    heap->allocator.alloc_fn = mmi_heap_own_alloc_fn;
    heap->allocator.realloc_fn = mmi_heap_own_realloc_fn;
    heap->allocator.free_fn = mmi_heap_own_free_fn;
    heap->allocator.user_data = heap;
    mmi_heap_poke(&heap->peak, (size_t)0);
    mmi_atomic_store(&heap->failures, (size_t)0);
    mmi_atomic_store(&heap->live, (size_t)1);
    return heap;
}

/* Forgets all blocks and chunks that a cache has. */
static void mmi_heap_cache_clear(mmi_heap_cache *cache)
{
    size_t index;
    mmi_heap_lock(); /* or the statistics may just have taken the list off */
    (void)mmi_heap_remote_take(cache);
    mmi_heap_unlock();
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        mmi_heap_fast *fast = &cache->fast[index];
        fast->list = NULL;
        fast->page = NULL;
        mmi_heap_poke(&fast->limit, (size_t)0);
        mmi_heap_poke(&fast->over, (size_t)0);
        cache->partial[index] = NULL;
        cache->listed[index] = 0;
#if MMI_HEAP_DELAYED
        mmi_heap_poke(&cache->delayed_count[index], (size_t)0);
#endif
    }
#if MMI_HEAP_DELAYED
    memset(cache->delayed, 0, sizeof(cache->delayed));
#endif
    memset(cache->unsorted, 0, sizeof(cache->unsorted));
    memset(cache->sorted, 0, sizeof(cache->sorted));
    memset(cache->sorted_bits, 0, sizeof(cache->sorted_bits));
    cache->areas = NULL;
    cache->idle = cache->idle_low = cache->idle_high = cache->idle_limit = cache->purged = 0;
    mmi_heap_poke(&cache->clean, (size_t)0);
}

/* Makes a page or an area what it was when it was new, but for what it contains. */
static void mmi_heap_page_reset(mmi_heap_cache *cache, mmi_heap_page *page)
{
    MM_TRACK_POISON(page->start, page->granules * MMI_HEAP_GRANULE);
    mmi_heap_poke(&page->used, (size_t)0);
    mmi_heap_poke(&page->carved, (size_t)0);
    if (page->index == MMI_HEAP_AREA) {
        mmi_heap_area_init(cache, page, false);
        return;
    }
    page->free = NULL;
    page->dropped = 0;
    mmi_heap_poke(&page->clean, (size_t)0);
    memset(page->holes, 0, sizeof(page->holes));
    mmi_heap_hollow(page);
    mmi_heap_list(cache, page);
}

static bool mmi_heap_is_alive(mm_heap *heap)
{
    if (mmi_atomic_load(&heap->live) != 0) return true;
    mmi_heap_misuse("mm_heap: the heap was destroyed", heap);
    return false;
}

static void mmi_heap_keep_locked(mmi_heap_page *page)
{
    mmi_heap_lock();
    mmi_heap_huge_keep((mmi_heap_huge *)(void *)page);
    mmi_heap_unlock();
}

static void mmi_heap_reset_live(mm_heap *heap)
{
    mmi_heap_page *page, *next;
    mmi_heap_lock_of(heap);
    mmi_heap_cache_clear(&heap->cache);
    for (page = heap->pages; page != NULL; page = next) {
        next = page->own_next;
        if (page->index == MMI_HEAP_DIRECT) mmi_heap_keep_locked(page);
        else mmi_heap_page_reset(&heap->cache, page);
    }
    mmi_heap_leave(heap);
}

#define MMI_HEAP_DESTROY_STEP 64 /* pages that are given back while the lock is held: a span's */

/* Gives some of a heap's pages to the page heap; false: there were none. */
static bool mmi_heap_destroy_step(mm_heap *heap)
{
    mmi_heap_page *page;
    size_t count;
    mmi_heap_lock();
    for (count = 0; count < MMI_HEAP_DESTROY_STEP && (page = heap->pages) != NULL; count++) {
        if (page->index == MMI_HEAP_DIRECT) {
            mmi_heap_huge_keep((mmi_heap_huge *)(void *)page);
            count += MMI_HEAP_DESTROY_STEP / 8; /* it may have unmapped others */
            continue;
        }
        MM_TRACK_POISON(page->start, page->granules * MMI_HEAP_GRANULE);
        mmi_heap_disown(heap, page);
        if (page->span != NULL) mmi_heap_page_put_back(page);
        else mmi_heap_region_give(page);
    }
    if (count > 0) mmi_heap_settle();
    mmi_heap_unlock();
    return count > 0;
}

static void mmi_heap_destroy_live(mm_heap *heap)
{
    mmi_heap_lock_of(heap);
    mmi_atomic_store(&heap->live, (size_t)0);
    mmi_heap_cache_clear(&heap->cache);
    while (mmi_heap_destroy_step(heap)) continue;
    mmi_heap_unlock_of(heap);
    mmi_heap_lock();
    heap->spare_next = mmi_heap_here.spare_heaps;
    mmi_heap_here.spare_heaps = heap;
    mmi_heap_unlock();
}

#ifdef MM_HEAP_DEBUG
static void mmi_heap_debug_reset(mm_heap *heap, const mmi_heap_place *place)
{
    if (!mmi_heap_is_alive(heap)) return;
    mmi_heap_free_traces(heap, place);
    mmi_heap_reset_live(heap);
}

static void mmi_heap_debug_destroy(mm_heap *heap, const mmi_heap_place *place)
{
    if (heap == NULL || !mmi_heap_is_alive(heap)) return;
    mmi_heap_free_traces(heap, place);
    mmi_heap_destroy_live(heap);
}

MM_API void mm_heap_reset(mm_heap *heap)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    mmi_heap_debug_reset(heap, &place);
}

MM_API void mmi_heap_reset_from(mm_heap *heap, const char *file, int line)
{
    mmi_heap_place place = mmi_heap_place_make(file, line, NULL);
    mmi_heap_debug_reset(heap, &place);
}

MM_API void mm_heap_destroy(mm_heap *heap)
{
    mmi_heap_place place = mmi_heap_place_make(NULL, 0, MMI_HEAP_CALLER());
    mmi_heap_debug_destroy(heap, &place);
}

MM_API void mmi_heap_destroy_from(mm_heap *heap, const char *file, int line)
{
    mmi_heap_place place = mmi_heap_place_make(file, line, NULL);
    mmi_heap_debug_destroy(heap, &place);
}
#else
MM_API void mm_heap_reset(mm_heap *heap)
{
    if (mmi_heap_is_alive(heap)) mmi_heap_reset_live(heap);
}

MM_API void mm_heap_destroy(mm_heap *heap)
{
    if (heap != NULL && mmi_heap_is_alive(heap)) mmi_heap_destroy_live(heap);
}
#endif

/* Lets go of all free memory of a cache that need not be resident. */
static void mmi_heap_cache_purge(mmi_heap_cache *cache)
{
    mmi_heap_page *page;
    size_t index;
    mmi_heap_sorted_purge(cache, SIZE_MAX, 2 * mmi_heap_here.os_page, SIZE_MAX);
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        for (page = cache->partial[index]; page != NULL; page = page->next) {
            mmi_heap_page_purge(page);
        }
    }
}

MM_API void mm_heap_trim(void)
{
    mmi_heap_start();
#ifdef MM_HEAP_DEBUG
    mmi_heap_release_all();
#endif
    mmi_heap_collect_all(mmi_heap_mine);
    if (!mmi_heap_has_none(mmi_heap_mine)) mmi_heap_cache_purge(mmi_heap_mine);
    mmi_heap_shelf_each(mmi_heap_cache_purge);
    mmi_heap_give_all_locked();
}

MM_API void mm_heap_trim_in(mm_heap *heap)
{
    if (heap == NULL) {
        mm_heap_trim();
        return;
    }
#ifdef MM_HEAP_DEBUG
    mmi_heap_release_all();
#endif
    mmi_heap_lock_of(heap);
    mmi_heap_collect(&heap->cache);
    mmi_heap_cache_purge(&heap->cache);
    mmi_heap_leave(heap);
    mmi_heap_give_all_locked();
}

MM_API void mm_heap_set_limit(size_t bytes)
{
    mmi_heap_poke(&mmi_heap_here.limit, bytes);
}

// >>stats

/* What was found so far, in a row for each class, the chunks and the huge blocks: live is what is
   in use in the pages, and what turns out to be free is taken off again. */
typedef struct mmi_heap_sum {
    mm_heap_class_stats rows[MM_HEAP_CLASS_ROWS];
    size_t parcel_bytes, parcel_blocks; /* free, but in a parcel: of no known class */
    size_t untouched;                   /* bytes of pages that are not in memory */
} mmi_heap_sum;

typedef char mmi_heap_assert_rows[MM_HEAP_CLASS_ROWS == MMI_HEAP_DIRECT + 1 ? 1 : -1];

/* A block is not in its page but not live either. */
static void mmi_heap_sum_free(mm_heap_class_stats *row, size_t bytes, size_t blocks)
{
    if (bytes > row->live) bytes = row->live; /* another thread was quicker */
    if (blocks > row->live_blocks) blocks = row->live_blocks;
    row->live -= bytes;
    row->live_blocks -= blocks;
    row->cached += bytes;
}

/* Adds what is in the lists and on the way home. The latter's list is taken off for the while, so
   that no block of it can vanish. The pages were added before. */
static void mmi_heap_sum_cache(mmi_heap_sum *sum, mmi_heap_cache *cache)
{
    mmi_heap_block *first = mmi_heap_remote_take(cache), *last = NULL, *block, *seen = NULL;
    size_t index, steps = 0;
    for (block = first; block != NULL; block = mmi_heap_block_next(block)) {
        mmi_heap_page *page = mmi_heap_page_at(block);
        if (page == NULL || block == seen) break; /* damaged, or a ring: cut off */
        if ((steps & (steps + 1)) == 0) seen = block; /* in the ring, sooner or later */
        steps++;
        mmi_heap_sum_free(&sum->rows[page->index], mmi_heap_block_size(page, block), 1);
        last = block;
    }
    if (last != NULL) mmi_heap_remote_push(cache, first, last);
    for (index = 0; index < MMI_HEAP_PARCELS; index++) {
        sum->parcel_bytes += mmi_heap_peek(&cache->parcels[index].bytes);
        sum->parcel_blocks += mmi_heap_peek(&cache->parcels[index].count);
    }
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        size_t count = mmi_heap_fast_count(&cache->fast[index]);
#if MMI_HEAP_DELAYED
        count += mmi_heap_peek(&cache->delayed_count[index]);
#endif
        mmi_heap_sum_free(&sum->rows[index], count * mmi_heap_class_size(index), count);
    }
    sum->untouched += mmi_heap_peek(&cache->clean);
}

static void mmi_heap_sum_page(mmi_heap_sum *sum, mmi_heap_page *page)
{
    mm_heap_class_stats *row = &sum->rows[page->index];
    size_t used = mmi_heap_peek(&page->used), carved = mmi_heap_peek(&page->carved);
    size_t size = page->granules * MMI_HEAP_GRANULE, live = used, rest;
    if (page->index != MMI_HEAP_AREA) live = used * page->block_size;
    row->live += live;
    row->live_blocks += page->index == MMI_HEAP_AREA ? carved : used;
    row->cached += live < size ? size - live : 0;
    row->pages++;
    sum->untouched += mmi_heap_peek(&page->hollow);
    if (page->index >= MMI_HEAP_CLASSES || mmi_heap_peek(&page->clean) == 0) return;
    rest = size - carved * page->block_size;
    sum->untouched += rest - rest % mmi_heap_here.os_page;
}

static void mmi_heap_sum_span(mmi_heap_sum *sum, mmi_heap_span *span)
{
    size_t i;
    for (i = 0; i < MMI_HEAP_SPAN_GRANULES; i++) {
        if (span->pages[i].granules != 0) mmi_heap_sum_page(sum, &span->pages[i]);
    }
    sum->untouched += mmi_heap_count(span->free & ~span->dirty) * MMI_HEAP_GRANULE;
}

/* All that there is. Lock held. */
static void mmi_heap_sum_process(mmi_heap_sum *sum)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_huge *region;
    mmi_heap_cache *cache;
    mmi_heap_span *span;
    mmi_heap_page *page;
    mm_heap *heap = (mm_heap *)mmi_atomic_load(&h->heaps);
    for (span = h->spans; span != NULL; span = span->next) mmi_heap_sum_span(sum, span);
    for (region = h->regions; region != NULL; region = region->region_next) {
        mmi_heap_sum_page(sum, &region->page);
    }
    for (page = h->huge; page != NULL; page = page->next) mmi_heap_sum_page(sum, page);
    for (page = h->kept; page != NULL; page = page->next) {
        sum->rows[MMI_HEAP_DIRECT].cached += page->block_size;
        sum->rows[MMI_HEAP_DIRECT].pages++;
    }
    for (cache = h->caches; cache != NULL; cache = cache->next) mmi_heap_sum_cache(sum, cache);
    for (; heap != NULL; heap = heap->next) mmi_heap_sum_cache(sum, &heap->cache);
}

#ifdef MM_HEAP_DEBUG
/* Live is what the program knows of, without guards and quarantine. */
static void mmi_heap_sum_known(mmi_heap_sum *sum, const mmi_heap_known *known)
{
    size_t i;
    for (i = 0; i < MM_HEAP_CLASS_ROWS; i++) {
        mm_heap_class_stats *row = &sum->rows[i];
        size_t size = row->live + row->cached;
        row->live_blocks = known[i].blocks;
        row->live = known[i].bytes < size ? known[i].bytes : size;
        row->cached = size - row->live;
    }
    sum->parcel_bytes = sum->parcel_blocks = 0;
}
#endif

/* A heap's (NULL: the process's). Lock held. */
static void mmi_heap_sum_up(mmi_heap_sum *sum, mm_heap *heap)
{
    mmi_heap_page *page;
    size_t index;
    memset(sum, 0, sizeof(*sum));
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        sum->rows[index].size = mmi_heap_class_size(index);
    }
    sum->rows[MMI_HEAP_AREA].size =
        mm_heap_good_size(MM_HEAP_HUGE - MMI_HEAP_SEAL) + MMI_HEAP_SEAL;
    sum->rows[MMI_HEAP_DIRECT].size = SIZE_MAX;
    if (heap == NULL) {
        mmi_heap_sum_process(sum);
    } else {
        for (page = heap->pages; page != NULL; page = page->own_next) mmi_heap_sum_page(sum, page);
        mmi_heap_sum_cache(sum, &heap->cache);
    }
#ifdef MM_HEAP_DEBUG
    mmi_heap_sum_known(sum, heap == NULL ? mmi_heap_debug.known : heap->known);
#endif
}

static void mmi_heap_stats_of_process(mm_heap_stats *stats)
{
    mmi_heap_central *h = &mmi_heap_here;
    mm_heap *heap = (mm_heap *)mmi_atomic_load(&h->heaps);
    mmi_heap_cache *cache;
    mmi_heap_span *span;
    for (cache = h->caches; cache != NULL; cache = cache->next) stats->caches++;
    for (span = h->spans; span != NULL; span = span->next) stats->spans++;
    for (; heap != NULL; heap = heap->next) stats->heaps += mmi_atomic_load(&heap->live);
    stats->name = "";
    stats->metadata = h->metadata;
    stats->reserved = h->committed;
    stats->peak = h->peak;
    stats->limit = mmi_heap_peek(&h->limit);
    stats->returned = mmi_atomic_load(&h->returned);
    stats->failures = mmi_atomic_load(&h->failures);
    stats->misuses = mmi_atomic_load(&h->misuses);
}

static void mmi_heap_stats_of_heap(mm_heap *heap, mm_heap_stats *stats)
{
    stats->name = heap->name;
    stats->reserved = mmi_heap_peek(&heap->held);
    stats->peak = mmi_heap_peek(&heap->peak);
    stats->limit = heap->limit;
    stats->caches = stats->heaps = 1;
    stats->failures = mmi_atomic_load(&heap->failures);
}

MM_API void mm_heap_get_stats_in(mm_heap *heap, mm_heap_stats *stats)
{
    mmi_heap_sum sum;
    size_t i;
    memset(stats, 0, sizeof(*stats));
    mmi_heap_lock();
    mmi_heap_sum_up(&sum, heap);
    if (heap == NULL) mmi_heap_stats_of_process(stats);
    else mmi_heap_stats_of_heap(heap, stats);
    mmi_heap_unlock();
    for (i = 0; i < MM_HEAP_CLASS_ROWS; i++) {
        stats->live += sum.rows[i].live;
        stats->live_blocks += sum.rows[i].live_blocks;
    }
    stats->live -= sum.parcel_bytes < stats->live ? sum.parcel_bytes : stats->live;
    stats->live_blocks -=
        sum.parcel_blocks < stats->live_blocks ? sum.parcel_blocks : stats->live_blocks;
    stats->huge = sum.rows[MMI_HEAP_DIRECT].live;
    stats->committed = stats->reserved;
    stats->committed -= sum.untouched < stats->committed ? sum.untouched : stats->committed;
    if (stats->committed < stats->live + stats->metadata) { /* another thread was quicker */
        stats->committed = stats->live + stats->metadata;
    }
    stats->cached = stats->committed - stats->metadata - stats->live;
}

MM_API void mm_heap_get_stats(mm_heap_stats *stats)
{
    mm_heap_get_stats_in(NULL, stats);
}

MM_API void mm_heap_get_class_stats(mm_heap *heap, mm_heap_class_stats *rows)
{
    mmi_heap_sum sum;
    mmi_heap_lock();
    mmi_heap_sum_up(&sum, heap);
    mmi_heap_unlock();
    memcpy(rows, sum.rows, sizeof(sum.rows));
}

/* A report on its way to the sink. */
typedef struct mmi_heap_report {
    mm_heap_sink sink;
    void *user_data;
    mm_status status; /* what the sink said */
    size_t used;
    char text[512];
} mmi_heap_report;

static void mmi_heap_report_flush(mmi_heap_report *out)
{
    if (out->used != 0 && out->status == MM_STATUS_OK) {
        out->status = out->sink(out->user_data, out->text, out->used);
    }
    out->used = 0;
}

static void mmi_heap_report_text(mmi_heap_report *out, const char *text)
{
    for (; *text != 0; text++) {
        if (out->used == sizeof(out->text)) mmi_heap_report_flush(out);
        out->text[out->used++] = *text;
    }
}

static void mmi_heap_report_number(mmi_heap_report *out, size_t number)
{
    char text[24], *at = text + sizeof(text) - 1;
    *at = 0;
    do *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    mmi_heap_report_text(out, at);
}

/* In quotes. The name has nothing else that Prometheus or JSON would want escaped. */
static void mmi_heap_report_name(mmi_heap_report *out, const char *name)
{
    char letter[3] = {0, 0, 0};
    mmi_heap_report_text(out, "\"");
    for (; *name != 0; name++) {
        bool escaped = *name == '"' || *name == '\\';
        letter[0] = escaped ? '\\' : *name;
        letter[1] = escaped ? *name : 0;
        mmi_heap_report_text(out, letter);
    }
    mmi_heap_report_text(out, "\"");
}

/* A figure: where it stands in its struct, its key in JSON, its name for Prometheus. */
typedef struct mmi_heap_figure {
    size_t offset;
    const char *key, *metric, *type, *help;
} mmi_heap_figure;

#define MMI_HEAP_FIGURES 15
#define mmi_heap_figure_at(field) offsetof(mm_heap_stats, field)
static const mmi_heap_figure mmi_heap_figures[MMI_HEAP_FIGURES] = {
    {mmi_heap_figure_at(live), "live", "live_bytes", "gauge", "Bytes handed out."},
    {mmi_heap_figure_at(live_blocks), "live_blocks", "live_blocks", "gauge", "Blocks handed out."},
    {mmi_heap_figure_at(huge), "huge", "huge_bytes", "gauge", "Live bytes in huge blocks."},
    {mmi_heap_figure_at(cached), "cached", "cached_bytes", "gauge", "Bytes ready for use."},
    {mmi_heap_figure_at(metadata), "metadata", "metadata_bytes", "gauge", "Bytes of records."},
    {mmi_heap_figure_at(committed), "committed", "committed_bytes", "gauge",
     "Bytes that may be in memory."},
    {mmi_heap_figure_at(reserved), "reserved", "reserved_bytes", "gauge",
     "Bytes of address space."},
    {mmi_heap_figure_at(peak), "peak", "peak_bytes", "gauge", "Most bytes reserved at a time."},
    {mmi_heap_figure_at(limit), "limit", "limit_bytes", "gauge",
     "Most bytes that may be reserved; 0: any."},
    {mmi_heap_figure_at(returned), "returned", "returned_bytes_total", "counter",
     "Bytes given back to the system."},
    {mmi_heap_figure_at(spans), "spans", "spans", "gauge", "Spans of memory from the system."},
    {mmi_heap_figure_at(caches), "caches", "caches", "gauge", "Frontend caches."},
    {mmi_heap_figure_at(heaps), "heaps", "heaps", "gauge", "Heaps that programs made."},
    {mmi_heap_figure_at(failures), "failures", "failures_total", "counter", "Requests refused."},
    {mmi_heap_figure_at(misuses), "misuses", "misuses_total", "counter",
     "Calls with what is no live block."}};

#define MMI_HEAP_CLASS_FIGURES 4
#define mmi_heap_row_at(field) offsetof(mm_heap_class_stats, field)
static const mmi_heap_figure mmi_heap_class_figures[MMI_HEAP_CLASS_FIGURES] = {
    {mmi_heap_row_at(live), "live", "class_live_bytes", "gauge", "Bytes handed out, by size."},
    {mmi_heap_row_at(live_blocks), "live_blocks", "class_live_blocks", "gauge",
     "Blocks handed out, by size."},
    {mmi_heap_row_at(cached), "cached", "class_cached_bytes", "gauge",
     "Other bytes of the pages, by size."},
    {mmi_heap_row_at(pages), "pages", "class_pages", "gauge", "Pages, by size."}};

static size_t mmi_heap_figure_of(const void *stats, const mmi_heap_figure *figure)
{
    size_t value;
    memcpy(&value, (const char *)stats + figure->offset, sizeof(value));
    return value;
}

/* The size of a row's blocks, in quotes. */
static void mmi_heap_report_class(mmi_heap_report *out, const mm_heap_class_stats *rows, size_t row)
{
    if (row == MMI_HEAP_AREA) {
        mmi_heap_report_text(out, "\"chunks\"");
    } else if (row == MMI_HEAP_DIRECT) {
        mmi_heap_report_text(out, "\"huge\"");
    } else {
        mmi_heap_report_text(out, "\"");
        mmi_heap_report_number(out, rows[row].size);
        mmi_heap_report_text(out, "\"");
    }
}

static void mmi_heap_report_help(mmi_heap_report *out, const mmi_heap_figure *figure)
{
    mmi_heap_report_text(out, "# HELP mm_heap_");
    mmi_heap_report_text(out, figure->metric);
    mmi_heap_report_text(out, " ");
    mmi_heap_report_text(out, figure->help);
    mmi_heap_report_text(out, "\n# TYPE mm_heap_");
    mmi_heap_report_text(out, figure->metric);
    mmi_heap_report_text(out, " ");
    mmi_heap_report_text(out, figure->type);
    mmi_heap_report_text(out, "\n");
}

/* A sample, of a class unless rows is NULL. */
static void mmi_heap_report_sample(mmi_heap_report *out, const mmi_heap_figure *figure,
                                   const char *name, const mm_heap_class_stats *rows, size_t row,
                                   size_t value)
{
    mmi_heap_report_text(out, "mm_heap_");
    mmi_heap_report_text(out, figure->metric);
    mmi_heap_report_text(out, "{name=");
    mmi_heap_report_name(out, name);
    if (rows != NULL) {
        mmi_heap_report_text(out, ",class=");
        mmi_heap_report_class(out, rows, row);
    }
    mmi_heap_report_text(out, "} ");
    mmi_heap_report_number(out, value);
    mmi_heap_report_text(out, "\n");
}

/* All samples of a figure together, as the format demands. */
static void mmi_heap_report_family(mmi_heap_report *out, mm_heap *const *heaps, size_t count,
                                   const mmi_heap_figure *figure)
{
    mm_heap_stats stats;
    size_t i;
    mmi_heap_report_help(out, figure);
    for (i = 0; i < count && out->status == MM_STATUS_OK; i++) {
        mm_heap_get_stats_in(heaps[i], &stats);
        mmi_heap_report_sample(out, figure, stats.name, NULL, 0,
                               mmi_heap_figure_of(&stats, figure));
    }
}

static void mmi_heap_report_class_family(mmi_heap_report *out, mm_heap *const *heaps, size_t count,
                                         const mmi_heap_figure *figure)
{
    mm_heap_class_stats rows[MM_HEAP_CLASS_ROWS];
    size_t i, row;
    mmi_heap_report_help(out, figure);
    for (i = 0; i < count && out->status == MM_STATUS_OK; i++) {
        const char *name = heaps[i] == NULL ? "" : heaps[i]->name;
        mm_heap_get_class_stats(heaps[i], rows);
        for (row = 0; row < MM_HEAP_CLASS_ROWS; row++) {
            if (rows[row].pages == 0) continue;
            mmi_heap_report_sample(out, figure, name, rows, row,
                                   mmi_heap_figure_of(&rows[row], figure));
        }
    }
}

static void mmi_heap_report_pair(mmi_heap_report *out, const char *key, size_t value)
{
    mmi_heap_report_text(out, ",\"");
    mmi_heap_report_text(out, key);
    mmi_heap_report_text(out, "\":");
    mmi_heap_report_number(out, value);
}

static void mmi_heap_report_object(mmi_heap_report *out, mm_heap *heap)
{
    mm_heap_class_stats rows[MM_HEAP_CLASS_ROWS];
    mm_heap_stats stats;
    bool first = true;
    size_t i, row;
    mm_heap_get_stats_in(heap, &stats);
    mm_heap_get_class_stats(heap, rows);
    mmi_heap_report_text(out, "{\"name\":");
    mmi_heap_report_name(out, stats.name);
    for (i = 0; i < MMI_HEAP_FIGURES; i++) {
        const mmi_heap_figure *figure = &mmi_heap_figures[i];
        mmi_heap_report_pair(out, figure->key, mmi_heap_figure_of(&stats, figure));
    }
    mmi_heap_report_text(out, ",\"classes\":[");
    for (row = 0; row < MM_HEAP_CLASS_ROWS; row++) {
        if (rows[row].pages == 0) continue;
        mmi_heap_report_text(out, first ? "{\"class\":" : ",{\"class\":");
        mmi_heap_report_class(out, rows, row);
        for (i = 0; i < MMI_HEAP_CLASS_FIGURES; i++) {
            const mmi_heap_figure *figure = &mmi_heap_class_figures[i];
            mmi_heap_report_pair(out, figure->key, mmi_heap_figure_of(&rows[row], figure));
        }
        mmi_heap_report_text(out, "}");
        first = false;
    }
    mmi_heap_report_text(out, "]}");
}

MM_API mm_status mm_heap_stats_write(mm_heap *const *heaps, size_t count,
                                     mm_heap_stats_format format, mm_heap_sink sink,
                                     void *user_data)
{
    mmi_heap_report out;
    size_t i;
    if (format != MM_HEAP_STATS_PROMETHEUS && format != MM_HEAP_STATS_JSON)
        return MM_STATUS_INVALID;
    out.sink = sink;
    out.user_data = user_data;
    out.status = MM_STATUS_OK;
    out.used = 0;
    if (format == MM_HEAP_STATS_JSON) {
        mmi_heap_report_text(&out, "{\"heaps\":[");
        for (i = 0; i < count && out.status == MM_STATUS_OK; i++) {
            if (i > 0) mmi_heap_report_text(&out, ",");
            mmi_heap_report_object(&out, heaps[i]);
        }
        mmi_heap_report_text(&out, "]}");
    }
    for (i = 0; i < MMI_HEAP_FIGURES && format == MM_HEAP_STATS_PROMETHEUS; i++) {
        mmi_heap_report_family(&out, heaps, count, &mmi_heap_figures[i]);
    }
    for (i = 0; i < MMI_HEAP_CLASS_FIGURES && format == MM_HEAP_STATS_PROMETHEUS; i++) {
        mmi_heap_report_class_family(&out, heaps, count, &mmi_heap_class_figures[i]);
    }
    mmi_heap_report_flush(&out);
    return out.status;
}

// >>walk

typedef struct mmi_heap_walker {
    mm_heap_visitor visit;
    void *user_data;
#if MMI_HEAP_SEALED
    bool alone; /* no other thread is freeing blocks */
#endif
} mmi_heap_walker;

/* The size of a live block of a page or an area as the program knows it. Where another thread may
   just have freed it nothing is told: links and a mark may lie where the seal of a small block
   was. */
static inline size_t mmi_heap_visit_size(const mmi_heap_walker *walker, char *ptr, size_t room)
{
#if MMI_HEAP_SEALED
    size_t asked = 0;
    if (!mmi_heap_seal_hidden(ptr, room) && mmi_heap_seal_read(ptr, room, &asked)) return asked;
    if (walker->alone) mmi_heap_overflown(ptr);
    return room - MMI_HEAP_SEAL; /* nobody knows, but it is not more */
#else
    (void)walker, (void)ptr;
    return room;
#endif
}

static bool mmi_heap_visit(const mmi_heap_walker *walker, mm_heap *heap, char *ptr, size_t size)
{
    mm_heap_block block;
#ifdef MM_HEAP_DEBUG
    mmi_heap_trace r;
    if (!mmi_heap_trace_in(ptr, size, &r)) return true; /* in quarantine */
    ptr = r.block;
    size = r.size;
    block.file = r.allocated->leak.file;
    block.line = r.allocated->leak.line;
    block.address = r.allocated->leak.address;
    block.tag = r.allocated->leak.tag;
#else
    block.file = block.tag = NULL;
    block.line = 0;
    block.address = NULL;
#endif
    block.ptr = ptr;
    block.size = size;
    block.heap = heap;
    return walker->visit(&block, walker->user_data);
}

static bool mmi_heap_walk_area(const mmi_heap_walker *walker, mmi_heap_page *page)
{
    mm_heap *heap = mmi_heap_of(page);
    size_t offset, size;
    for (offset = 0; offset < mmi_heap_area_size(page); offset += size) {
        mmi_heap_chunk *chunk = mmi_heap_chunk_at(mmi_heap_area_first(page), offset);
        if ((chunk->size & MMI_HEAP_CHUNK_USED) != 0 &&
            !mmi_heap_visit(
                walker, heap, mmi_heap_chunk_block(chunk),
                mmi_heap_visit_size(walker, mmi_heap_chunk_block(chunk),
                                    mmi_heap_chunk_size(chunk) - MMI_HEAP_CHUNK_HEADER))) {
            return false;
        }
        size = mmi_heap_chunk_size(chunk); /* now, as a free one may have been split */
    }
    return true;
}

/* The page of a class. The visitor may have filled the fast list since all blocks were home. */
static bool mmi_heap_walk_blocks(const mmi_heap_walker *walker, mmi_heap_page *page)
{
    uint64_t free[MMI_HEAP_PAGE_BLOCKS / 64];
    mm_heap *heap = mmi_heap_of(page);
    mmi_heap_cache *owner = mmi_heap_owner(page);
    size_t size = page->block_size, index = page->index, carved, i;
#if MMI_HEAP_DELAYED
    mmi_heap_delay_flush(owner, index);
#endif
    if (owner->fast[index].list != NULL) mmi_heap_fast_flush(owner, index);
    if (page->granules == 0) return true; /* it has gone by that */
    carved = mmi_heap_peek(&page->carved);
    memset(free, 0, sizeof(free));
    if (!mmi_heap_page_mark(page, free)) return true;
    for (i = 0; i < carved; i++) {
        if (mmi_heap_bit(free, i)) continue;
        if (!mmi_heap_visit(walker, heap, page->start + i * size,
                            mmi_heap_visit_size(walker, page->start + i * size, size))) {
            return false;
        }
    }
    return true;
}

static bool mmi_heap_walk_page(const mmi_heap_walker *walker, mmi_heap_page *page)
{
    size_t size;
    if (page->index < MMI_HEAP_CLASSES) return mmi_heap_walk_blocks(walker, page);
    if (page->index == MMI_HEAP_AREA) return mmi_heap_walk_area(walker, page);
    if (MMI_HEAP_SEALED && !mmi_heap_seal_read_huge(page, &size)) mmi_heap_overflown(page->start);
    return mmi_heap_visit(walker, mmi_heap_of(page), page->start,
                          MMI_HEAP_SEALED ? size : page->block_size);
}

/* The lock of the heap is held, but for its huge blocks, which any thread may free: so where to go
   on stands where that is noticed. */
static bool mmi_heap_walk_heap(const mmi_heap_walker *walker, mm_heap *heap)
{
    bool more = true;
    mmi_heap_collect(&heap->cache);
    mmi_heap_lock();
    heap->cursor = heap->pages;
    while (more && heap->cursor != NULL) {
        mmi_heap_page *page = heap->cursor;
        char *start = page->start;
        size_t size = page->block_size;
        bool huge = page->index == MMI_HEAP_DIRECT;
        heap->cursor = page->own_next;
        if (MMI_HEAP_SEALED && huge) (void)mmi_heap_seal_read_huge(page, &size);
        mmi_heap_unlock();
        if (huge) more = mmi_heap_visit(walker, heap, start, size);
        else more = mmi_heap_walk_page(walker, page);
        mmi_heap_lock();
    }
    heap->cursor = NULL;
    mmi_heap_unlock();
    return more;
}

/* Brings home what all caches hold, of all threads, which must be elsewhere: three times, as a
   block that was in a parcel for a cache whose page was adopted travels twice. */
static void mmi_heap_collect_process(void)
{
    size_t pass;
    for (pass = 0; pass < 3; pass++) {
        mm_heap *heap = (mm_heap *)mmi_atomic_load(&mmi_heap_here.heaps);
        mmi_heap_cache *cache = mmi_heap_here.caches;
        for (; cache != NULL; cache = cache->next) mmi_heap_collect(cache);
        for (; heap != NULL; heap = heap->next) mmi_heap_collect(&heap->cache);
    }
}

static bool mmi_heap_walk_span(const mmi_heap_walker *walker, mmi_heap_span *span)
{
    size_t i;
    for (i = 0; i < MMI_HEAP_SPAN_GRANULES; i++) {
        if (span->pages[i].granules == 0) continue;
        if (!mmi_heap_walk_page(walker, &span->pages[i])) return false;
    }
    return true;
}

static bool mmi_heap_walk_process(const mmi_heap_walker *walker)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_huge *region;
    mmi_heap_span *span;
    mmi_heap_page *page;
    bool more = true;
    mmi_heap_collect_process();
    for (span = h->spans; more && span != NULL; span = span->next) {
        more = mmi_heap_walk_span(walker, span);
    }
    for (region = h->regions; more && region != NULL; region = region->region_next) {
        more = mmi_heap_walk_page(walker, &region->page);
    }
    for (page = h->huge; more && page != NULL; page = page->next) {
        more = mmi_heap_walk_page(walker, page);
    }
    return more;
}

/* While there are any walkers, no span is unmapped, and nothing leaves quarantine. */
static void mmi_heap_walkers_add(const mm_heap *heap, size_t number)
{
    mmi_heap_lock();
    mmi_heap_here.walkers += number;
    if (heap == NULL) mmi_heap_here.walking += number;
    mmi_heap_unlock();
}

/* Tells what was found in any cache or heap. */
static void mmi_heap_leave_all(void)
{
    mm_heap *heap = (mm_heap *)mmi_atomic_load(&mmi_heap_here.heaps);
    mmi_heap_cache *cache = mmi_heap_here.caches;
    for (; cache != NULL; cache = cache->next) {
        const void *block = NULL;
        const char *damage = mmi_heap_untold(cache, &block);
        if (damage != NULL) mmi_heap_misuse(damage, block);
    }
    for (; heap != NULL; heap = heap->next) {
        mmi_heap_lock_of(heap);
        mmi_heap_leave(heap);
    }
}

MM_API bool mm_heap_walk(mm_heap *heap, mm_heap_visitor visit, void *user_data)
{
    mmi_heap_walker walker;
    bool done;
    walker.visit = visit;
    walker.user_data = user_data;
#if MMI_HEAP_SEALED
    walker.alone = heap == NULL;
#endif
    mmi_heap_start();
    mmi_heap_lock_of(heap);
    mmi_heap_walkers_add(heap, 1);
    done = heap == NULL ? mmi_heap_walk_process(&walker) : mmi_heap_walk_heap(&walker, heap);
    mmi_heap_walkers_add(heap, SIZE_MAX); /* one less */
    mmi_heap_leave(heap);
    if (heap == NULL && mmi_heap_here.walking == 0) mmi_heap_leave_all();
    return done;
}

// >>check

static bool mmi_heap_check_list(mmi_heap_block *block, size_t count, size_t index,
                                const mmi_heap_page *only)
{
    for (; count > 0; count--) {
        mmi_heap_page *page = block == NULL ? NULL : mmi_heap_page_at(block);
        mmi_heap_block *next;
        bool sound;
        if (page == NULL || page->index != index || (only != NULL && page != only)) return false;
        if (!mmi_heap_is_block(page, block)) return false;
        mmi_heap_block_open(block);
        sound = !MMI_HEAP_CHECKED || block->key == mmi_heap_mark_of(page, block);
        next = mmi_heap_code(page, block->next);
        MM_TRACK_POISON(block, sizeof(*block));
        if (!sound) return false;
        block = next;
    }
    return block == NULL;
}

/* Whether nothing was written behind what was asked for. Another thread may just be freeing it, so
   the first bytes of a block are not looked at. */
static bool mmi_heap_chunk_is_sealed(mmi_heap_chunk *chunk)
{
    const char *block = mmi_heap_chunk_block(chunk);
    size_t room = mmi_heap_chunk_size(chunk) - MMI_HEAP_CHUNK_HEADER, asked = 0;
    if (mmi_heap_seal_hidden(block, room) || mmi_heap_seal_read(block, room, &asked)) return true;
    return asked != 0 && asked < sizeof(mmi_heap_block);
}

/* Whether the chunks of an area are where their sizes say, both times. A heap of one's own is
   locked, so that no seal changes meanwhile; others may just resize a block of the process's. */
static bool mmi_heap_check_area(const mmi_heap_cache *cache, mmi_heap_page *page, size_t *sorted)
{
    size_t offset, size, before = 0, used = 0, blocks = 0;
    bool free_before = false;
    for (offset = 0; offset < mmi_heap_area_size(page); offset += size) {
        mmi_heap_chunk *chunk = mmi_heap_chunk_at(mmi_heap_area_first(page), offset);
        bool free = mmi_heap_chunk_sorted(chunk);
        size = mmi_heap_chunk_size(chunk);
        if (size < MMI_HEAP_CHUNK_MIN || size > mmi_heap_area_size(page) - offset) return false;
        if (chunk->before != before || (free && free_before)) return false;
        if ((chunk->size & MMI_HEAP_CHUNK_USED) != 0) {
            if (MMI_HEAP_SEALED && cache->heap != NULL && !mmi_heap_chunk_is_sealed(chunk)) {
                return false;
            }
            used += size - MMI_HEAP_CHUNK_HEADER;
            blocks++;
        }
        *sorted += free ? size : 0;
        before = size;
        free_before = free;
    }
    return mmi_heap_chunk_at(mmi_heap_area_first(page), offset)->before == before &&
           mmi_heap_owner(page) == cache && mmi_heap_peek(&page->used) == used &&
           mmi_heap_peek(&page->carved) == blocks;
}

/* Whether the sorted cache has just the free chunks of the areas, each in the right list. */
static bool mmi_heap_check_chunks(mmi_heap_cache *cache)
{
    size_t in_areas = 0, in_lists = 0, idle = 0, bin;
    mmi_heap_page *page;
    for (page = cache->areas; page != NULL; page = page->next) {
        if (!mmi_heap_check_area(cache, page, &in_areas)) return false;
    }
    for (bin = 0; bin < MMI_HEAP_BINS; bin++) {
        mmi_heap_chunk *chunk = cache->sorted[bin], *before = NULL, *prev, *next;
        bool bit = (cache->sorted_bits[bin / 64] >> bin % 64 & 1) != 0;
        if (bit != (chunk != NULL)) return false;
        for (; chunk != NULL; before = chunk, chunk = next) {
            size_t size;
            if (!mmi_heap_link_leads(chunk)) return false;
            size = mmi_heap_chunk_size(chunk);
            mmi_heap_links_get(chunk, &prev, &next);
            if (prev != before || !mmi_heap_chunk_sorted(chunk)) return false;
            if (mmi_heap_bin_of(size) != bin) return false;
            in_lists += size;
            if ((chunk->size & MMI_HEAP_CHUNK_CLEAN) == 0) idle += size;
        }
    }
    return in_areas == in_lists && idle == cache->idle && cache->idle_low <= idle &&
           in_lists - idle == mmi_heap_peek(&cache->clean);
}

#if MMI_HEAP_DELAYED
static bool mmi_heap_check_delayed(mmi_heap_cache *cache, size_t index)
{
    size_t place, count = 0;
    for (place = 0; place < MMI_HEAP_DELAY; place++) {
        mmi_heap_block *block = cache->delayed[index][place];
        mmi_heap_page *page;
        if (block == NULL) continue;
        page = mmi_heap_page_at(block);
        if (page == NULL || page->index != index || !mmi_heap_is_block(page, block)) return false;
        if (!mmi_heap_is_marked(page, block)) return false;
        count++;
    }
    return count == mmi_heap_peek(&cache->delayed_count[index]);
}
#endif

static bool mmi_heap_check_cache(mmi_heap_cache *cache)
{
    size_t index;
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
#if MMI_HEAP_DELAYED
        if (!mmi_heap_check_delayed(cache, index)) return false;
#endif
        mmi_heap_page *page, *prev = NULL;
        mmi_heap_fast *fast = &cache->fast[index];
        size_t count = mmi_heap_fast_count(fast);
        if (!mmi_heap_check_list(fast->list, count, index, NULL)) return false;
        for (page = cache->partial[index]; page != NULL; prev = page, page = page->next) {
            size_t free =
                mmi_heap_peek(&page->carved) - mmi_heap_peek(&page->used) - page->dropped;
            if (page->prev != prev || page->turn != MMI_HEAP_LISTED) return false;
            if (page->index != index) return false;
            if (mmi_heap_owner(page) != cache) return false;
            if (free + page->dropped == 0 && mmi_heap_peek(&page->carved) == page->capacity) {
                return false;
            }
            if (!mmi_heap_check_list(page->free, free, index, page)) return false;
        }
    }
    return mmi_heap_check_chunks(cache);
}

static bool mmi_heap_check_page(mmi_heap_page *page)
{
    size_t used = mmi_heap_peek(&page->used), carved = mmi_heap_peek(&page->carved);
    bool owned = mmi_heap_owner(page) != NULL;
    if (mmi_heap_page_at(page->start) != page || page->index > MMI_HEAP_DIRECT) return false;
    if (owned != (page->index != MMI_HEAP_DIRECT)) return false;
    if (page->index == MMI_HEAP_AREA) return true;
    /* another thread may be between its changes to the one and to the other */
    return page->block_size * page->capacity <= page->granules * MMI_HEAP_GRANULE &&
           carved <= page->capacity && used <= page->capacity;
}

static bool mmi_heap_check_span(mmi_heap_span *span)
{
    uint64_t free = 0;
    size_t i;
    for (i = 0; i < MMI_HEAP_SPAN_GRANULES;) {
        mmi_heap_page *page = &span->pages[i];
        bool vacant = (span->free >> i & 1) != 0;
        if (vacant && mmi_heap_page_at(span->start + i * MMI_HEAP_GRANULE) != NULL) return false;
        if (!vacant && (page->span != span || page->granules == 0)) return false;
        if (!vacant && page->granules > MMI_HEAP_SPAN_GRANULES - i) return false;
        if (!vacant && !mmi_heap_check_page(page)) return false;
        if (vacant) free |= (uint64_t)1 << i;
        i += vacant ? 1 : page->granules;
    }
    return free == span->free && span->longest == mmi_heap_longest(free) &&
           (span->longest == 0 || (mmi_heap_here.bin_bits >> (span->longest - 1) & 1) != 0);
}

static bool mmi_heap_check_all(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_cache *cache;
    mmi_heap_span *span;
    mmi_heap_page *page;
    size_t empty = 0, huge = 0, idle = 0;
    for (span = h->spans; span != NULL; span = span->next) {
        if (!mmi_heap_check_span(span)) return false;
        if (span->free == MMI_HEAP_ALL_FREE) empty++;
        idle += mmi_heap_count(span->free & span->dirty) * MMI_HEAP_GRANULE;
    }
    for (page = h->kept; page != NULL; page = page->next) idle += page->block_size;
    if (idle != h->idle || h->idle_low > idle) return false;
    for (page = h->huge; page != NULL; page = page->next) {
        if (!mmi_heap_check_page(page)) return false;
        huge++;
    }
    for (cache = h->shelf; cache != NULL; cache = cache->shelf_next) {
        if (!mmi_heap_check_cache(cache)) return false;
    }
    if (empty != h->empty || huge != h->huge_blocks) return false;
    return mmi_heap_has_none(mmi_heap_mine) || mmi_heap_check_cache(mmi_heap_mine);
}

MM_API bool mm_heap_check(void)
{
    bool sound;
    mmi_heap_lock();
    sound = mmi_heap_check_all();
    mmi_heap_unlock();
#ifdef MM_HEAP_DEBUG
    return mmi_heap_check_traces(NULL) && sound;
#else
    return sound;
#endif
}

/* Whether a heap's pages are its own, and all that it has. */
static bool mmi_heap_check_own(mm_heap *heap)
{
    mmi_heap_page *page, *prev = NULL;
    size_t held = 0, asked;
    for (page = heap->pages; page != NULL; prev = page, page = page->own_next) {
        if (page->own_prev != prev || !mmi_heap_check_page(page)) return false;
        if (MMI_HEAP_SEALED && page->index == MMI_HEAP_DIRECT &&
            !mmi_heap_seal_read_huge(page, &asked)) {
            return false;
        }
        if (mmi_heap_of(page) != heap) return false;
        held += page->granules * MMI_HEAP_GRANULE;
    }
    return held == mmi_heap_peek(&heap->held);
}

MM_API bool mm_heap_check_in(mm_heap *heap)
{
    bool sound;
    if (heap == NULL) return mm_heap_check();
    mmi_heap_lock_of(heap);
    mmi_heap_lock();
    sound = mmi_heap_check_own(heap) && mmi_heap_check_cache(&heap->cache);
    mmi_heap_unlock();
    mmi_heap_leave(heap);
#ifdef MM_HEAP_DEBUG
    return mmi_heap_check_traces(heap) && sound;
#else
    return sound;
#endif
}

#ifdef __cplusplus
}
#endif

// >>override

#ifdef MM_HEAP_OVERRIDE
#if defined(__GNUC__) || defined(__clang__)
#define MMI_HEAP_NAME __attribute__((visibility("default")))
/* These two have the hot path inside, not a jump to it. */
#define MMI_HEAP_HOT __attribute__((visibility("default"), flatten))
#else
#define MMI_HEAP_NAME
#define MMI_HEAP_HOT
#endif

#ifdef __ELF__
#include <unistd.h> /* sysconf, for the size of a page */

#if defined(__cplusplus) && defined(__GLIBC__)
#define MMI_HEAP_NOTHROW noexcept /* as its headers declare them */
#else
#define MMI_HEAP_NOTHROW
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Strict C hides some from the C library's headers, so all are declared here. */
void *malloc(size_t size) MMI_HEAP_NOTHROW;
void *calloc(size_t count, size_t size) MMI_HEAP_NOTHROW;
void *realloc(void *ptr, size_t size) MMI_HEAP_NOTHROW;
void *reallocarray(void *ptr, size_t count, size_t size) MMI_HEAP_NOTHROW;
void free(void *ptr) MMI_HEAP_NOTHROW;
int posix_memalign(void **ptr, size_t alignment, size_t size) MMI_HEAP_NOTHROW;
void *aligned_alloc(size_t alignment, size_t size) MMI_HEAP_NOTHROW;
void *memalign(size_t alignment, size_t size) MMI_HEAP_NOTHROW;
void *valloc(size_t size) MMI_HEAP_NOTHROW;
void *pvalloc(size_t size) MMI_HEAP_NOTHROW;
size_t malloc_usable_size(void *ptr) MMI_HEAP_NOTHROW;
int malloc_trim(size_t pad) MMI_HEAP_NOTHROW;

MMI_HEAP_HOT void *malloc(size_t size) MMI_HEAP_NOTHROW
{
    return MMI_HEAP_NOTED(mm_heap_alloc(size));
}

MMI_HEAP_HOT void free(void *ptr) MMI_HEAP_NOTHROW
{
    MMI_HEAP_FREE(ptr);
}

MMI_HEAP_NAME void *calloc(size_t count, size_t size) MMI_HEAP_NOTHROW
{
    return MMI_HEAP_NOTED(mm_heap_calloc(count, size));
}

/* To size 0 it frees and returns NULL, as glibc's does: who counts on it would leak otherwise. */
MMI_HEAP_NAME void *realloc(void *ptr, size_t size) MMI_HEAP_NOTHROW
{
    if (MM_LIKELY(size != 0 || ptr == NULL)) return MMI_HEAP_NOTED(mm_heap_realloc(ptr, size));
    MMI_HEAP_FREE(ptr);
    return NULL;
}

MMI_HEAP_NAME void *reallocarray(void *ptr, size_t count, size_t size) MMI_HEAP_NOTHROW
{
    size_t total;
    if (!mm_size_mul(count, size, &total)) return mmi_heap_refuse(ENOMEM);
    return realloc(ptr, total);
}

/* The error is what it returns: *ptr is as before then, and errno always is. */
MMI_HEAP_NAME int posix_memalign(void **ptr, size_t alignment, size_t size) MMI_HEAP_NOTHROW
{
    int error = errno;
    void *block;
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
    block = MMI_HEAP_NOTED(mm_heap_aligned_alloc(alignment, size));
    errno = error;
    if (block == NULL) return ENOMEM;
    *ptr = block;
    return 0;
}

MMI_HEAP_NAME void *aligned_alloc(size_t alignment, size_t size) MMI_HEAP_NOTHROW
{
    return MMI_HEAP_NOTED(mm_heap_aligned_alloc(alignment, size));
}

/* Any alignment will do here, and is raised to a power of two; where there is none, EINVAL. */
MMI_HEAP_NAME void *memalign(size_t alignment, size_t size) MMI_HEAP_NOTHROW
{
    return MMI_HEAP_NOTED(
        mm_heap_aligned_alloc(mm_size_pow2(alignment != 0 ? alignment : 1), size));
}

static size_t mmi_heap_system_page(void)
{
    long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? (size_t)page : 4096;
}

MMI_HEAP_NAME void *valloc(size_t size) MMI_HEAP_NOTHROW
{
    return MMI_HEAP_NOTED(mm_heap_aligned_alloc(mmi_heap_system_page(), size));
}

/* The size is rounded up to whole pages, 0 to one as well. */
MMI_HEAP_NAME void *pvalloc(size_t size) MMI_HEAP_NOTHROW
{
    size_t page = mmi_heap_system_page(), whole;
    if (!mm_size_add(size != 0 ? size : 1, page - 1, &whole)) return mmi_heap_refuse(ENOMEM);
    return MMI_HEAP_NOTED(mm_heap_aligned_alloc(page, whole & ~(page - 1)));
}

MMI_HEAP_NAME size_t malloc_usable_size(void *ptr) MMI_HEAP_NOTHROW
{
    return mm_heap_usable_size(ptr);
}

/* Whether anything was given back, be it pages of a mapping that stays. The pad is glibc's
   affair. */
MMI_HEAP_NAME int malloc_trim(size_t pad) MMI_HEAP_NOTHROW
{
    size_t before = mmi_atomic_load(&mmi_heap_here.returned);
    (void)pad;
    mm_heap_trim();
    return mmi_atomic_load(&mmi_heap_here.returned) != before;
}

#if defined(__GLIBC__) && defined(__GLIBC_MINOR__) && __GLIBC__ == 2 && __GLIBC_MINOR__ < 26
void cfree(void *ptr) MMI_HEAP_NOTHROW;
MMI_HEAP_NAME void cfree(void *ptr) MMI_HEAP_NOTHROW /* later ones have it no more */
{
    MMI_HEAP_FREE(ptr);
}
#endif

#ifdef __cplusplus
}
#endif
#endif /* __ELF__ */

#ifdef __cplusplus
#include <new>      /* bad_alloc, nothrow, align_val_t, get_new_handler */
#include <stdlib.h> /* abort */

/* Asks the new-handler for memory until there is some, or it throws or is none. */
static MM_COLD void *mmi_heap_new_slow(size_t size, size_t alignment)
{
    for (;;) {
        std::new_handler handler = std::get_new_handler();
        void *block;
        if (handler == NULL) break;
        handler();
        block = MMI_HEAP_NOTED(mm_heap_aligned_alloc(alignment, size));
        if (block != NULL) return block;
    }
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
    throw std::bad_alloc();
#else
    abort(); /* who calls this cannot be told otherwise */
#endif
}

static MM_COLD void *mmi_heap_new_or_null(size_t size, size_t alignment) noexcept
{
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
    try {
        return mmi_heap_new_slow(size, alignment);
    } catch (...) {
        return NULL;
    }
#else
    return std::get_new_handler() == NULL ? NULL : mmi_heap_new_slow(size, alignment);
#endif
}

static inline void *mmi_heap_new_aligned(size_t size, std::align_val_t alignment)
{
    void *block = MMI_HEAP_NOTED(mm_heap_aligned_alloc((size_t)alignment, size));
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_slow(size, (size_t)alignment);
}

static inline void *mmi_heap_new_aligned_or_null(size_t size, std::align_val_t alignment) noexcept
{
    void *block = MMI_HEAP_NOTED(mm_heap_aligned_alloc((size_t)alignment, size));
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_or_null(size, (size_t)alignment);
}

MMI_HEAP_HOT void *operator new(size_t size)
{
    void *block = MMI_HEAP_NOTED(mm_heap_alloc(size));
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_slow(size, 1);
}

MMI_HEAP_HOT void *operator new[](size_t size)
{
    void *block = MMI_HEAP_NOTED(mm_heap_alloc(size));
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_slow(size, 1);
}

MMI_HEAP_NAME void *operator new(size_t size, const std::nothrow_t &) noexcept
{
    void *block = MMI_HEAP_NOTED(mm_heap_alloc(size));
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_or_null(size, 1);
}

MMI_HEAP_NAME void *operator new[](size_t size, const std::nothrow_t &) noexcept
{
    void *block = MMI_HEAP_NOTED(mm_heap_alloc(size));
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_or_null(size, 1);
}

MMI_HEAP_NAME void *operator new(size_t size, std::align_val_t alignment)
{
    return mmi_heap_new_aligned(size, alignment);
}

MMI_HEAP_NAME void *operator new[](size_t size, std::align_val_t alignment)
{
    return mmi_heap_new_aligned(size, alignment);
}

MMI_HEAP_NAME void *operator new(size_t size, std::align_val_t alignment,
                                 const std::nothrow_t &) noexcept
{
    return mmi_heap_new_aligned_or_null(size, alignment);
}

MMI_HEAP_NAME void *operator new[](size_t size, std::align_val_t alignment,
                                   const std::nothrow_t &) noexcept
{
    return mmi_heap_new_aligned_or_null(size, alignment);
}

/* All forms of delete are the same: blocks know their size and alignment. clang without
   -fsized-deallocation has not heard of some, so each is declared. */
#define MMI_HEAP_DELETE(attributes, ...) \
    void operator delete(__VA_ARGS__) noexcept; \
    void operator delete[](__VA_ARGS__) noexcept; \
    attributes void operator delete(__VA_ARGS__) noexcept \
    { \
        MMI_HEAP_FREE(ptr); \
    } \
    attributes void operator delete[](__VA_ARGS__) noexcept \
    { \
        MMI_HEAP_FREE(ptr); \
    }

MMI_HEAP_DELETE(MMI_HEAP_HOT, void *ptr)
MMI_HEAP_DELETE(MMI_HEAP_HOT, void *ptr, size_t)
MMI_HEAP_DELETE(MMI_HEAP_NAME, void *ptr, const std::nothrow_t &)
MMI_HEAP_DELETE(MMI_HEAP_NAME, void *ptr, std::align_val_t)
MMI_HEAP_DELETE(MMI_HEAP_NAME, void *ptr, size_t, std::align_val_t)
MMI_HEAP_DELETE(MMI_HEAP_NAME, void *ptr, std::align_val_t, const std::nothrow_t &)

#elif defined(MM_HEAP_PRELOAD) && defined(__ELF__)
#include <dlfcn.h>  /* dlsym, for the C++ library's own operator new */
#include <stdlib.h> /* abort */

/* In C, by the names that C++ compilers give them (a size_t is an m or a j), so that the library
   needs no C++ library and works with any. A block costs one jump less than by the C++ library's
   operators, which call malloc and free; all forms that are missing here lead to these by way of
   them. The others call new and delete by their names, as the standard demands of a default: a
   program may have replaced these two only. */
#if SIZE_MAX > 0xffffffffu
#define mmi_heap_new _Znwm
#define mmi_heap_new_array _Znam
#define mmi_heap_delete_size _ZdlPvm
#define mmi_heap_delete_array_size _ZdaPvm
#define MMI_HEAP_NEW "_Znwm"
#else
#define mmi_heap_new _Znwj
#define mmi_heap_new_array _Znaj
#define mmi_heap_delete_size _ZdlPvj
#define mmi_heap_delete_array_size _ZdaPvj
#define MMI_HEAP_NEW "_Znwj"
#endif
#define mmi_heap_delete _ZdlPv
#define mmi_heap_delete_array _ZdaPv
#ifndef RTLD_NEXT
#define RTLD_NEXT ((void *)-1) /* strict C hides it */
#endif

void *mmi_heap_new(size_t size);
void *mmi_heap_new_array(size_t size);
void mmi_heap_delete(void *ptr);
void mmi_heap_delete_size(void *ptr, size_t size);
void mmi_heap_delete_array(void *ptr);
void mmi_heap_delete_array_size(void *ptr, size_t size);

/* There is no memory. The C++ library's operator will ask for it too, and knows the new-handler and
   how to throw. Only C++ calls this, so there is a C++ library. */
static MM_COLD void *mmi_heap_new_next(size_t size)
{
    union {
        void *found;
        void *(*call)(size_t size);
    } next;
    next.found = dlsym(RTLD_NEXT, MMI_HEAP_NEW);
    if (next.found == NULL) abort();
    return next.call(size);
}

MMI_HEAP_HOT void *mmi_heap_new(size_t size)
{
    void *block = MMI_HEAP_NOTED(mm_heap_alloc(size));
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_next(size);
}

MMI_HEAP_NAME void *mmi_heap_new_array(size_t size)
{
    return mmi_heap_new(size);
}

MMI_HEAP_HOT void mmi_heap_delete(void *ptr)
{
    MMI_HEAP_FREE(ptr);
}

MMI_HEAP_NAME void mmi_heap_delete_size(void *ptr, size_t size)
{
    (void)size;
    mmi_heap_delete(ptr);
}

MMI_HEAP_NAME void mmi_heap_delete_array(void *ptr)
{
    mmi_heap_delete(ptr);
}

MMI_HEAP_NAME void mmi_heap_delete_array_size(void *ptr, size_t size)
{
    (void)size;
    mmi_heap_delete_array(ptr);
}

#ifdef MM_HEAP_DEBUG
static void mmi_heap_print_leak(const mm_heap_leak *leak, void *user_data)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), "mm_heap: live: %zu blocks, %zu bytes", leak->blocks,
                   leak->bytes);
    mmi_heap_put_site(text, sizeof(text), ", allocated at ", leak);
    mmi_heap_put(text, sizeof(text), "\n");
    mmi_heap_print(text);
    (void)user_data;
}

/* A library is unloaded after what the program does at its end. */
__attribute__((destructor)) static void mmi_heap_preload_end(void)
{
    if (getenv("MM_HEAP_LEAKS") != NULL) (void)mm_heap_leaks(mmi_heap_print_leak, NULL);
}
#endif
#endif
#endif /* MM_HEAP_OVERRIDE */
#endif /* MM_HEAP_IMPLEMENTATION */

/* With MM_HEAP_DEBUG the place of a call goes along. Functions of these names remain, and know the
   address that they return to. */
#if defined(MM_HEAP_DEBUG) && !defined(mm_heap_alloc)
#define MMI_HEAP_AT(ptr) mmi_heap_at((ptr), __FILE__, __LINE__)
#define mm_heap_alloc(size) MMI_HEAP_AT(mm_heap_alloc(size))
#define mm_heap_calloc(count, size) MMI_HEAP_AT(mm_heap_calloc((count), (size)))
#define mm_heap_aligned_alloc(alignment, size) \
    MMI_HEAP_AT(mm_heap_aligned_alloc((alignment), (size)))
#define mm_heap_alloc_add(a, b) MMI_HEAP_AT(mm_heap_alloc_add((a), (b)))
#define mm_heap_alloc_mul(a, b) MMI_HEAP_AT(mm_heap_alloc_mul((a), (b)))
#define mm_heap_strdup(text) ((char *)MMI_HEAP_AT(mm_heap_strdup(text)))
#define mm_heap_strndup(text, size) ((char *)MMI_HEAP_AT(mm_heap_strndup((text), (size))))
#define mm_heap_format(...) ((char *)MMI_HEAP_AT(mm_heap_format(__VA_ARGS__)))
#define mm_heap_vformat(format, arguments) \
    ((char *)MMI_HEAP_AT(mm_heap_vformat((format), (arguments))))
#define mm_heap_xalloc(size) MMI_HEAP_AT(mm_heap_xalloc(size))
#define mm_heap_xcalloc(count, size) MMI_HEAP_AT(mm_heap_xcalloc((count), (size)))
#define mm_heap_xstrdup(text) ((char *)MMI_HEAP_AT(mm_heap_xstrdup(text)))
#define mm_heap_realloc(ptr, size) mmi_heap_realloc_from((ptr), (size), __FILE__, __LINE__)
#define mm_heap_reallocarray(ptr, count, size) \
    mmi_heap_realloc_from((ptr), mmi_heap_product((count), (size)), __FILE__, __LINE__)
#define mm_heap_xrealloc(ptr, size) mmi_heap_xrealloc_from((ptr), (size), __FILE__, __LINE__)
#define mm_heap_free(ptr) mmi_heap_free_from((ptr), __FILE__, __LINE__)
#define mm_heap_free_sized(ptr, size) mmi_heap_free_sized_from((ptr), (size), __FILE__, __LINE__)
#define mm_heap_alloc_in(heap, size) MMI_HEAP_AT(mm_heap_alloc_in((heap), (size)))
#define mm_heap_calloc_in(heap, count, size) MMI_HEAP_AT(mm_heap_calloc_in((heap), (count), (size)))
#define mm_heap_aligned_alloc_in(heap, alignment, size) \
    MMI_HEAP_AT(mm_heap_aligned_alloc_in((heap), (alignment), (size)))
#define mm_heap_realloc_in(heap, ptr, size) \
    mmi_heap_realloc_in_from((heap), (ptr), (size), __FILE__, __LINE__)
#define mm_heap_free_in(heap, ptr) mmi_heap_free_in_from((heap), (ptr), __FILE__, __LINE__)
#define mm_heap_reset(heap) mmi_heap_reset_from((heap), __FILE__, __LINE__)
#define mm_heap_destroy(heap) mmi_heap_destroy_from((heap), __FILE__, __LINE__)
#endif

/*
------------------------------------------------------------------------------
This software is available under two licences; choose the one you prefer.
------------------------------------------------------------------------------
ALTERNATIVE A - MIT License
Copyright (c) 2026 the mm authors
Permission is hereby granted, free of charge, to any person obtaining a copy of
this software and associated documentation files (the "Software"), to deal in
the Software without restriction, including without limitation the rights to
use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies
of the Software, and to permit persons to whom the Software is furnished to do
so, subject to the following conditions:
The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
------------------------------------------------------------------------------
ALTERNATIVE B - Public Domain (www.unlicense.org)
This is free and unencumbered software released into the public domain.
Anyone is free to copy, modify, publish, use, compile, sell, or distribute this
software, either in source code form or as a compiled binary, for any purpose,
commercial or non-commercial, and by any means.
In jurisdictions that recognize copyright laws, the author or authors of this
software dedicate any and all copyright interest in the software to the public
domain. We make this dedication for the benefit of the public at large and to
the detriment of our heirs and successors. We intend this dedication to be an
overt act of relinquishment in perpetuity of all present and future rights to
this software under copyright law.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
------------------------------------------------------------------------------
*/
