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

    Before the implementation:
    MM_HEAP_HUGE          requests above this many bytes get a mapping of their own; a plain number
                          from 4096 to 2097152, default 262144
    MM_SYS_MMAP(size)     size bytes of zeroed memory, aligned to 4096 or more; NULL: there is none
    MM_SYS_MUNMAP(p, n)   gives back one whole mapping that MM_SYS_MMAP made; define both or none
    MM_THREAD_LOCAL       default _Thread_local, thread_local. In a library that is preloaded,
                          add __attribute__((tls_model("initial-exec")))
    MM_HEAP_OVERRIDE      malloc and all its kind, and operator new and delete, become this heap:
                          see REPLACING MALLOC
    MM_HEAP_PRELOAD       with it, in a C file that becomes a library to preload: the plain forms of
                          operator new and delete too (they need dlsym, but no C++ library)
    MM_HEAP_SECURE        check each pointer that is freed, at half the speed: see ERRORS
    MM_HEAP_FATAL(message, ptr)
                          a pointer was passed that is no live block of the heap; default: a failed
                          MM_ASSERT, with MM_HEAP_OVERRIDE a line to stderr and abort(), as in the
                          C library. It may not return; when it does, the call has no effect, and
                          mm_heap_stats.misuses counts it. Builds with NDEBUG should define it: a
                          double free that is only counted is still a bug. No lock is held then.

OVERVIEW
    malloc for a whole process, as functions of its own: nothing is replaced behind your back.
    Layers, bottom up, each a section of the implementation:

        operating system   zeroed mappings, through two macros
        page heap          spans of 4 MiB, cut into granules of 64 KiB; a page is a run of granules
                           that holds blocks of one size; the page map finds an address's page
        frontend cache     one for each thread: for each of 44 sizes a list of blocks ready to be
                           handed out, and the pages that these came from
        large blocks       above 64 KiB a page each; above MM_HEAP_HUGE a mapping each

    Blocks have no header. To allocate is to find the size's class and pop a block off a list of
    the calling thread's, without lock or atomic operation; to free is to look the address up in
    the page map and to push. A block freed by another thread goes home to its page's owner
    through a lock-free list, in parcels of up to 32. When a thread ends its cache is put on a
    shelf, where the next thread finds it, and others take pages from it.

    What is thin in this version: blocks above 64 KiB take a lock; freed mappings are not kept for
    the next huge block; realloc never moves pages about, it copies; empty pages inside a span
    that is in use stay resident; mm_heap_trim does not reach into the caches of other threads
    that run, and what others free of theirs waits until they allocate again; free lists are not
    mangled, and a write after free is not noticed.

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
        printf("%zu bytes live of %zu mapped\n", stats.live, stats.committed);
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
    a foreign pointer or a second free ends the program with a message. What the C library builds
    upon malloc (strdup, getline, ...) is served as well. mallopt, mallinfo and malloc_info are the
    C library's still, and say nothing about this heap.
    The C names are replaced on systems with ELF (Linux, the BSDs); on others, operator new and
    delete from a C++ file only. Not together with a sanitizer, which replaces them itself.

COMPLEXITY AND STABILITY
    Allocating and freeing up to 64 KiB is O(1) and rarely takes a lock (amortised: lists are
    refilled and flushed some blocks at a time). A block never moves, except by mm_heap_realloc.
    Sizes are rounded up to a class, four to each power of two: less than 25 % is lost (blocks up
    to 128 bytes: to a multiple of 16), above 64 KiB to a multiple of 64 KiB, whose untouched
    end costs address space alone. Every block is aligned to 16 bytes.

THREADS
    All functions may be called by all threads at any time, before main and in constructors, after
    main, and in destructors of thread-specific data. Not in signal handlers.
    After fork the child has the heap as it was; the caches of the threads that it lacks stay as
    they are: their blocks can be freed, but the memory is not used again by the child.
    A C library function that the heap calls may itself be built upon this heap.

MEMORY
    The heap is the one object in mm that belongs to the process. It gives back: a huge block at
    once, a span when it is empty (one empty span is kept), all empty spans with mm_heap_trim.
    Records about spans and threads (some 0.2 %) are never given back, only used again.

ERRORS
    Out of memory, and sizes above PTRDIFF_MAX: NULL and errno ENOMEM; nothing else has changed.
    An alignment that is no power of two: NULL and errno EINVAL.
    A foreign pointer: MM_HEAP_FATAL. Foreign are pointers that the page map does not know, those
    to free pages included. A pointer into the middle of a block, a second free: the same under
    MM_HEAP_SECURE; without it always for blocks above 64 KiB, for smaller ones where it costs
    nothing to see. A second free is caught by a mark in the free block, unless the block has been
    handed out again, or two threads do it at the very same time.

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

/* A heap. There is one for now, the process's own, and NULL stands for it. */
typedef struct mm_heap mm_heap;

/* What the heap holds, in bytes unless said otherwise. Exact when no other thread is inside the
   heap; otherwise each figure is near the truth. live + cached + metadata = committed. */
typedef struct mm_heap_stats {
    size_t live;        /* in blocks that are handed out, by the size of the block */
    size_t live_blocks; /* number of those blocks */
    size_t huge;        /* the part of live in blocks with a mapping of their own */
    size_t cached;      /* mapped for blocks and not live; of this, what was never touched costs
                           address space only */
    size_t metadata;    /* mapped for the heap's own records */
    size_t committed;   /* mapped from the system in all */
    size_t peak;        /* highest value of committed so far */
    size_t spans;       /* number of spans */
    size_t caches;      /* number of frontend caches: about the most threads at a time so far */
    size_t failures;    /* number of requests that were refused */
    size_t misuses;     /* number of calls with a pointer that was no live block */
} mm_heap_stats;

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

/* The same for a caller who knows the size that was asked for, or any up to the usable size;
   a larger one is a programmer error (asserted). */
MM_API void mm_heap_free_sized(void *ptr, size_t size);

/* As mm_heap_alloc, at a multiple of alignment: any power of two, else NULL with errno EINVAL.
   Size need not be a multiple of it. Above 64 KiB of alignment each block is a mapping. */
MM_NODISCARD MM_MALLOC_LIKE MM_ALLOC_SIZE(2)
    MM_API void *mm_heap_aligned_alloc(size_t alignment, size_t size);

/* Sizes -------------------------------------------------------------------------------------- */

/* The size of a live block, >= what was asked for; all of it may be used. NULL: 0. A compiler that
   checks object sizes (_FORTIFY_SOURCE) knows the size asked for only: ask for a good size first
   where that is in the way. */
MM_API size_t mm_heap_usable_size(const void *ptr);

/* The size of the block that mm_heap_alloc(size) would return; size itself when it is too large. */
MM_API size_t mm_heap_good_size(size_t size);

/* As an allocator ---------------------------------------------------------------------------- */

/* The heap for everything in mm that takes an allocator; valid for ever. heap: NULL, the
   process's own (asserted). Its functions may be called by all threads. */
MM_API const mm_allocator *mm_heap_allocator(mm_heap *heap);

/* Looking after it --------------------------------------------------------------------------- */

/* Gives empty spans back to the system: flushes the caches of the calling thread and of those that
   ended, then unmaps. O(blocks in these caches + spans). */
MM_API void mm_heap_trim(void);

/* Fills *stats. O(granules + blocks that wait to go home); takes the page heap's lock. */
MM_NONNULL_ALL MM_API void mm_heap_get_stats(mm_heap_stats *stats);

/* Whether the page heap, the calling thread's cache and the caches of ended threads are sound.
   O(granules + free blocks in these); for tests and for finding out who wrote where he should not.
   False: memory is damaged, trust nothing. */
MM_NODISCARD MM_API bool mm_heap_check(void);

#ifdef __cplusplus
}
#endif
#endif /* MM_HEAP_H_ */

#if defined(MM_HEAP_IMPLEMENTATION) && !defined(MMI_HEAP_IMPLEMENTED)
#define MMI_HEAP_IMPLEMENTED

#ifdef MMI_LIBC_ASSERT
#include <assert.h> /* MM_ASSERT */
#endif
#include <errno.h>  /* ENOMEM, EINVAL */
#include <string.h> /* memset, memcpy */
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
#include <sys/mman.h> /* mmap */
#endif

#ifndef MM_HEAP_HUGE
#define MM_HEAP_HUGE 262144
#endif
#if MM_HEAP_HUGE < 4096 || MM_HEAP_HUGE > 2097152
#error "MM_HEAP_HUGE is to be a number from 4096 to 2097152"
#endif
#if defined(MM_HEAP_OVERRIDE) && !defined(MM_HEAP_FATAL) && !defined(_WIN32)
#include <stdlib.h> /* abort */
#include <unistd.h> /* write, as a stream would allocate */
#define MM_HEAP_FATAL(message, ptr) mmi_heap_die(message)
static MM_COLD void mmi_heap_die(const char *message)
{
    ssize_t written = write(STDERR_FILENO, message, strlen(message));
    written += write(STDERR_FILENO, "\n", 1);
    (void)written;
    abort();
}
#endif
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
#define MMI_HEAP_KEEP_EMPTY 1 /* empty spans that wait for their next use */
#define MMI_HEAP_META_CHUNK ((size_t)256 << 10)

#define MMI_HEAP_ALIGN 16
#define MMI_HEAP_CLASSES 44
#define MMI_HEAP_CLASS_MAX ((size_t)65536)     /* the size of the last class */
#define MMI_HEAP_SMALL_MAX ((size_t)8192)      /* a page of up to this block size is one granule */
#define MMI_HEAP_MEDIUM_GRANULES 8             /* above, at least eight blocks fit as well */
#define MMI_HEAP_RUN MMI_HEAP_CLASSES          /* page.index of a single block in a span */
#define MMI_HEAP_DIRECT (MMI_HEAP_CLASSES + 1) /* page.index of a mapping of its own */
#define MMI_HEAP_FAST_BYTES ((size_t)65536) /* a cache's list of one size is flushed above this, */
#define MMI_HEAP_FAST_MIN 4                 /* or above this many blocks if that is more, */
#define MMI_HEAP_FAST_MAX 1024              /* and always above this many */
#define MMI_HEAP_PARCELS 8           /* owners at a time for whom a thread collects blocks, */
#define MMI_HEAP_PARCEL_COUNT 32     /* this many at most, so that an atomic operation is shared */
#define MMI_HEAP_PARCEL_BYTES 32768u /* by many, and no more than these wait */
#define MMI_HEAP_CARVE_BYTES 4096 /* cut off a page at a time: untouched stays untouched */

#if defined(__GNUC__) || defined(__clang__)
#define MMI_HEAP_NOINLINE __attribute__((noinline))
#else
#define MMI_HEAP_NOINLINE
#endif

#ifdef MM_HEAP_SECURE
#define MMI_HEAP_CHECKED 1
#else
#define MMI_HEAP_CHECKED 0
#endif

/* The start of a free block. */
typedef struct mmi_heap_block {
    struct mmi_heap_block *next;
    uint64_t key; /* MM_HEAP_SECURE: mmi_heap_key_of() while free, something else while live */
} mmi_heap_block;

/* What MM_SYS_MMAP returned, to be unmapped whole. */
typedef struct mmi_heap_mapping {
    void *base;
    size_t size;
} mmi_heap_mapping;

/* A run of granules. Fields are fixed while blocks of it are live, unless they say who writes.
   "atomic": others read it at any time, so it is only read and written with peek and poke. */
typedef struct mmi_heap_page {
    size_t owner;         /* the mmi_heap_cache, 0 above 64 KiB; atomic: changes by adoption */
    struct mmi_heap_fast *fast; /* the owner's list of its class; owner only */
    char *start;          /* the first block */
    size_t block_size;    /* bytes, a multiple of 16 */
    uint64_t inverse;     /* 2^32 / units, rounded up; 0 when there is one block only */
    size_t units;         /* block_size / 16; 0 when there is one block only */
    size_t index;         /* class, MMI_HEAP_RUN or MMI_HEAP_DIRECT */
    size_t granules;      /* length; 0: no page starts here */
    size_t capacity;      /* number of blocks that fit */
    size_t carved;        /* blocks that were ever made; owner writes, atomic */
    size_t used;          /* carved blocks that are not in free; owner writes, atomic */
    mmi_heap_block *free; /* blocks that came home; owner only */
    struct mmi_heap_page *prev, *next; /* in the owner's list of its class, or of huge blocks */
    struct mmi_heap_span *span;        /* NULL for a huge block */
    bool listed;                       /* in its owner's list: it has blocks to give; owner only */
} mmi_heap_page;

/* A mapping that is cut into pages. All fields belong to the page heap's lock. */
typedef struct mmi_heap_span {
    mmi_heap_mapping mapping;
    char *start;                       /* the first granule */
    uint64_t free;                     /* a bit for each free granule */
    size_t longest;                    /* longest run of free granules; the bin it lies in */
    struct mmi_heap_span *prev, *next; /* all spans; next also chains spare records */
    struct mmi_heap_span *bin_prev, *bin_next;
    mmi_heap_page pages[MMI_HEAP_SPAN_GRANULES]; /* by their first granule */
} mmi_heap_span;

/* A block with a mapping of its own. */
typedef struct mmi_heap_huge {
    mmi_heap_page page; /* first: the page map points here */
    mmi_heap_mapping mapping;
} mmi_heap_huge;

/* The fast cache of one class. */
typedef struct mmi_heap_fast {
    mmi_heap_block *list; /* last in, first out */
    size_t room;          /* what it may take until a free flushes the older half; atomic */
} mmi_heap_fast;

/* Blocks that this thread freed and another one owns, until there are enough for one push. */
typedef struct mmi_heap_parcel {
    struct mmi_heap_cache *owner;
    mmi_heap_block *first, *last;
    size_t count, bytes; /* atomic */
} mmi_heap_parcel;

/* The frontend cache of one thread, or of none: then it lies on the shelf. Never freed. */
typedef struct mmi_heap_cache {
    mmi_heap_fast fast[MMI_HEAP_CLASSES];
    mmi_heap_parcel parcels[MMI_HEAP_PARCELS]; /* by the owner's number */
    size_t number;                             /* how many caches were made before */
    mmi_heap_page *partial[MMI_HEAP_CLASSES]; /* own pages that have blocks to give */
    struct mmi_heap_cache *next;              /* all caches, under the lock */
    struct mmi_heap_cache *shelf_next;        /* under the lock */
    char apart[64]; /* what others write is to lie in another cache line than the lists */
    size_t remote;  /* list of blocks that other threads freed; atomic, see remote_push */
} mmi_heap_cache;

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
    mmi_heap_page *spare_huge;                   /* records for the next one, by next */
    mmi_heap_cache *caches;
    mmi_heap_cache *shelf, *shelf_last; /* caches without a thread; taken first, put last */
    char *meta;                         /* rest of the newest chunk of records */
    size_t meta_left;
    size_t committed, peak, metadata; /* bytes */
    size_t huge_bytes, huge_blocks;
    size_t failures, misuses; /* atomic, not under the lock */
    uint64_t secret;          /* not 0; set before there is the first block */
    size_t started;           /* see mmi_heap_start; atomic */
    bool key_works;           /* set before started is */
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

static void mmi_heap_before_fork(void)
{
    mmi_heap_lock();
    mmi_heap_forking = true;
}

static void mmi_heap_after_fork(void)
{
    mmi_heap_forking = false;
    mmi_heap_unlock();
}
#endif

#ifndef MM_SYS_MMAP
#define MM_SYS_MMAP(size) mmi_heap_mmap(size)
#define MM_SYS_MUNMAP(ptr, size) mmi_heap_munmap((ptr), (size))
#endif

/* Maps size bytes at a multiple of alignment (a power of two >= the granule); fills *mapping and
   returns where they start, or NULL. Mostly the first try is aligned, as all sizes are multiples
   of the granule and systems place one mapping next to the other. Slack is kept, not trimmed off,
   for there are systems that can unmap only as a whole; it is never touched. */
static char *mmi_heap_map(size_t size, size_t alignment, mmi_heap_mapping *mapping)
{
    uintptr_t start;
    mapping->size = size;
    mapping->base = MM_SYS_MMAP(size);
    if (mapping->base != NULL && (uintptr_t)mapping->base % alignment != 0) {
        MM_SYS_MUNMAP(mapping->base, size);
        if (!mm_size_add(size, alignment, &mapping->size)) return NULL;
        mapping->base = MM_SYS_MMAP(mapping->size);
    }
    if (mapping->base == NULL) return NULL;
    start = ((uintptr_t)mapping->base + alignment - 1) & ~(uintptr_t)(alignment - 1);
    if (((uint64_t)start + (size - 1)) >> MMI_HEAP_ADDRESS_BITS != 0) { /* not in the page map */
        MM_SYS_MUNMAP(mapping->base, mapping->size);
        return NULL;
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
    mmi_heap_here.committed += size;
    if (mmi_heap_here.committed > mmi_heap_here.peak) mmi_heap_here.peak = mmi_heap_here.committed;
}

/* Memory for a record, zeroed, for ever; NULL when there is none. Lock held. Records lie apart
   from the blocks, so that a write beyond a block does not reach them first. */
static void *mmi_heap_record(size_t size)
{
    mmi_heap_central *h = &mmi_heap_here;
    char *record;
    size = (size + 63) & ~(size_t)63;
    if (h->meta_left < size) {
        char *chunk = (char *)MM_SYS_MMAP(MMI_HEAP_META_CHUNK);
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
    leaf = MM_SYS_MMAP(MMI_HEAP_LEAF_SIZE);
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

/* Bits where a run of at least length ones begins: each step takes the last one off every run. */
static uint64_t mmi_heap_runs(uint64_t mask, size_t length)
{
    while (--length > 0) mask &= mask >> 1;
    return mask;
}

static size_t mmi_heap_longest(uint64_t mask)
{
    size_t length = 0;
    for (; mask != 0; mask &= mask >> 1) length++;
    return length;
}

static size_t mmi_heap_lowest(uint64_t mask)
{
    size_t bit = 0;
    while ((mask >> bit & 1) == 0) bit++;
    return bit;
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
    h->empty--;
    h->committed -= span->mapping.size;
    mmi_heap_unmap(&span->mapping);
    span->next = h->spare_spans;
    h->spare_spans = span;
}

/* Takes a run of granules off the span whose longest run fits best; NULL when there is no memory.
   The caller fills in what the page is for. */
static mmi_heap_page *mmi_heap_page_take(size_t granules)
{
    mmi_heap_central *h = &mmi_heap_here;
    uint64_t bits = h->bin_bits >> (granules - 1);
    mmi_heap_span *span;
    mmi_heap_page *page;
    size_t first;
    if (bits != 0) span = h->bins[granules - 1 + mmi_heap_lowest(bits)];
    else span = mmi_heap_span_new();
    if (span == NULL) return NULL;
    if (span->free == MMI_HEAP_ALL_FREE) h->empty--;
    first = mmi_heap_lowest(mmi_heap_runs(span->free, granules));
    mmi_heap_span_unfile(span);
    span->free &= ~((((uint64_t)1 << granules) - 1) << first);
    mmi_heap_span_file(span);
    page = &span->pages[first];
    memset(page, 0, sizeof(*page));
    page->span = span;
    page->granules = granules;
    page->start = span->start + first * MMI_HEAP_GRANULE;
    return page;
}

static void mmi_heap_page_give(mmi_heap_page *page)
{
    mmi_heap_span *span = page->span;
    size_t first = (size_t)(page - span->pages);
    mmi_heap_enter(page->start, page->granules, NULL);
    mmi_heap_span_unfile(span);
    span->free |= (((uint64_t)1 << page->granules) - 1) << first;
    mmi_heap_span_file(span);
    page->granules = 0;
    if (span->free != MMI_HEAP_ALL_FREE) return;
    mmi_heap_here.empty++;
    if (mmi_heap_here.empty > MMI_HEAP_KEEP_EMPTY) mmi_heap_span_release(span);
}

static void mmi_heap_release_empty(void)
{
    while (mmi_heap_here.bins[MMI_HEAP_SPAN_GRANULES - 1] != NULL) {
        mmi_heap_span_release(mmi_heap_here.bins[MMI_HEAP_SPAN_GRANULES - 1]);
    }
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

/* How long a cache's list of a class may be. */
static size_t mmi_heap_class_limit(size_t index)
{
    size_t limit = MMI_HEAP_FAST_BYTES / mmi_heap_class_size(index);
    if (limit < MMI_HEAP_FAST_MIN) return MMI_HEAP_FAST_MIN;
    return limit < MMI_HEAP_FAST_MAX ? limit : MMI_HEAP_FAST_MAX;
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

static inline mmi_heap_block *mmi_heap_block_next(mmi_heap_block *block)
{
    mmi_heap_block *next;
    mmi_heap_block_open(block);
    next = block->next;
    MM_TRACK_POISON(block, sizeof(*block));
    return next;
}

static inline void mmi_heap_block_link(mmi_heap_block *block, mmi_heap_block *next)
{
    mmi_heap_block_open(block);
    block->next = next;
    MM_TRACK_POISON(block, sizeof(*block));
}

/* A value that no program writes at that address by chance. */
static inline uint64_t mmi_heap_key_of(const mmi_heap_block *block)
{
    return mmi_heap_here.secret ^ (uint64_t)(uintptr_t)block;
}

static inline void mmi_heap_block_close(mmi_heap_block *block, mmi_heap_block *next, size_t size)
{
    block->next = next;
    if (MMI_HEAP_CHECKED) block->key = mmi_heap_key_of(block);
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

// >>cache

static inline mmi_heap_cache *mmi_heap_owner(mmi_heap_page *page)
{
    return (mmi_heap_cache *)mmi_heap_peek(&page->owner);
}

/* Pushes a block; false when the list has become too long. */
static inline bool mmi_heap_fast_push(mmi_heap_fast *fast, mmi_heap_block *block, size_t size)
{
    size_t room = mmi_heap_peek(&fast->room);
    mmi_heap_block_close(block, fast->list, size);
    fast->list = block;
    mmi_heap_poke(&fast->room, room - 1);
    return room != 0;
}

/* Pops a block, which there is. */
static inline void *mmi_heap_fast_pop(mmi_heap_fast *fast, size_t index)
{
    mmi_heap_block *block = fast->list;
    mmi_heap_block_open(block);
    fast->list = block->next;
    if (MMI_HEAP_CHECKED) block->key = 0;
    mmi_heap_poke(&fast->room, mmi_heap_peek(&fast->room) + 1);
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
    page->listed = true;
    page->fast = &cache->fast[page->index];
}

static void mmi_heap_unlist(mmi_heap_cache *cache, mmi_heap_page *page)
{
    if (page->next != NULL) page->next->prev = page->prev;
    if (page->prev != NULL) page->prev->next = page->next;
    else cache->partial[page->index] = page->next;
    page->listed = false;
}

/* A free block, closed, comes home to its page. The last one takes the page to the page heap. */
static void mmi_heap_page_put(mmi_heap_cache *cache, mmi_heap_page *page, mmi_heap_block *block)
{
    size_t used = mmi_heap_peek(&page->used) - 1;
    mmi_heap_block_link(block, page->free);
    page->free = block;
    mmi_heap_poke(&page->used, used);
    if (used == 0) {
        if (page->listed) mmi_heap_unlist(cache, page);
        mmi_heap_lock();
        mmi_heap_page_give(page);
        mmi_heap_unlock();
    } else if (!page->listed) {
        mmi_heap_list(cache, page);
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

/* Returns all blocks of a list to their pages (or, for use at once, to the fast cache as long as
   that has room); those whose page was adopted meanwhile travel on. A link that was overwritten is
   noticed here if it leads out of the heap; the rest is lost. */
static void mmi_heap_return_all(mmi_heap_cache *cache, mmi_heap_block *block, bool for_use)
{
    while (block != NULL) {
        mmi_heap_page *page = mmi_heap_page_at(block);
        mmi_heap_cache *owner = page == NULL ? NULL : mmi_heap_owner(page);
        mmi_heap_block *next;
        if (owner == NULL || !mmi_heap_is_block(page, block)) {
            mmi_heap_misuse("mm_heap: a free block was written to", block);
            return;
        }
        next = mmi_heap_block_next(block);
        if (owner != cache) {
            mmi_heap_remote_push(owner, block, block);
        } else if (for_use && mmi_heap_peek(&page->fast->room) != 0) {
            mmi_heap_block_open(block);
            (void)mmi_heap_fast_push(page->fast, block, sizeof(*block));
        } else {
            mmi_heap_page_put(cache, page, block);
        }
        block = next;
    }
}

/* Keeps the blocks that were freed last and sends the others back to their pages. */
static MM_COLD void mmi_heap_fast_flush(mmi_heap_cache *cache, size_t index, size_t keep)
{
    mmi_heap_fast *fast = &cache->fast[index];
    mmi_heap_block *block = fast->list, *next;
    size_t i;
    mmi_heap_poke(&fast->room, mmi_heap_class_limit(index) - keep);
    if (keep == 0) {
        fast->list = NULL;
        mmi_heap_return_all(cache, block, false);
        return;
    }
    for (i = 1; i < keep; i++) block = mmi_heap_block_next(block);
    next = mmi_heap_block_next(block);
    mmi_heap_block_link(block, NULL);
    mmi_heap_return_all(cache, next, false);
}

/* Brings all free blocks of a cache home; empty pages go to the page heap. */
static void mmi_heap_collect(mmi_heap_cache *cache)
{
    size_t index;
    for (index = 0; index < MMI_HEAP_PARCELS; index++) {
        mmi_heap_parcel_send(&cache->parcels[index]);
    }
    mmi_heap_return_all(cache, mmi_heap_remote_take(cache), false);
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        if (cache->fast[index].list != NULL) mmi_heap_fast_flush(cache, index, 0);
    }
}

/* Cuts up to count blocks off the part of the page that was never used; the list of them. */
static mmi_heap_block *mmi_heap_carve(mmi_heap_page *page, size_t *count)
{
    size_t size = page->block_size, carved = mmi_heap_peek(&page->carved), i;
    size_t most = MMI_HEAP_CARVE_BYTES / size + 1;
    char *at = page->start + carved * size;
    mmi_heap_block *list = NULL;
    if (*count > most) *count = most;
    if (*count > page->capacity - carved) *count = page->capacity - carved;
    for (i = *count; i > 0; i--) { /* from the end, so that the list ascends */
        mmi_heap_block *block = (mmi_heap_block *)(void *)(at + (i - 1) * size);
        mmi_heap_block_open(block);
        mmi_heap_block_close(block, list, size);
        list = block;
    }
    mmi_heap_poke(&page->carved, carved + *count);
    return list;
}

/* Takes up to count blocks off the page's free list, which is not empty. */
static mmi_heap_block *mmi_heap_lend(mmi_heap_page *page, size_t *count)
{
    mmi_heap_block *list = page->free, *last = list, *next = mmi_heap_block_next(last);
    size_t taken = 1;
    for (; taken < *count && next != NULL; taken++) {
        last = next;
        next = mmi_heap_block_next(last);
    }
    page->free = next;
    mmi_heap_block_link(last, NULL);
    *count = taken;
    return list;
}

/* A page for a class straight from the page heap, or NULL. */
static mmi_heap_page *mmi_heap_page_new(mmi_heap_cache *cache, size_t index)
{
    size_t size = mmi_heap_class_size(index);
    mmi_heap_page *page;
    mmi_heap_lock();
    page = mmi_heap_page_take(size <= MMI_HEAP_SMALL_MAX ? 1 : MMI_HEAP_MEDIUM_GRANULES);
    if (page != NULL) {
        page->index = index;
        page->block_size = size;
        page->units = size / MMI_HEAP_ALIGN;
        page->inverse = (((uint64_t)1 << 32) + page->units - 1) / page->units;
        page->capacity = page->granules * MMI_HEAP_GRANULE / size;
        page->owner = (size_t)cache;
        mmi_heap_enter(page->start, page->granules, page);
    }
    mmi_heap_unlock();
    if (page != NULL) mmi_heap_list(cache, page);
    return page;
}

// >>threads

static mmi_heap_cache *mmi_heap_cache_record(void)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_cache *cache = (mmi_heap_cache *)mmi_heap_record(sizeof(*cache));
    size_t index;
    if (cache == NULL) return NULL;
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        cache->fast[index].room = mmi_heap_class_limit(index);
    }
    cache->number = h->caches == NULL ? 0 : h->caches->number + 1;
    cache->next = h->caches;
    h->caches = cache;
    if (h->secret == 0) { /* where things lie differs from run to run */
        h->secret = (uint64_t)(uintptr_t)cache * 0x9e3779b97f4a7c15u +
                    (uint64_t)(uintptr_t)&index * 0xc2b2ae3d27d4eb4fu;
        h->secret |= 1;
    }
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
    mmi_heap_lock();
    cache->shelf_next = NULL;
    if (h->shelf == NULL) h->shelf = cache;
    else h->shelf_last->shelf_next = cache;
    h->shelf_last = cache;
    mmi_heap_unlock();
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
    mmi_heap_cache *other = mmi_heap_shelf_take(false);
    mmi_heap_page *page;
    if (other == NULL) return NULL;
    mmi_heap_collect(other);
    page = other->partial[index];
    if (page != NULL) {
        mmi_heap_unlist(other, page);
        mmi_heap_poke(&page->owner, (size_t)cache);
        mmi_heap_list(cache, page);
    }
    mmi_heap_shelf_put(other);
    return page;
}

static void mmi_heap_collect_shelf(void)
{
    mmi_heap_cache *shelf, *next;
    mmi_heap_lock();
    shelf = mmi_heap_here.shelf;
    mmi_heap_here.shelf = NULL;
    mmi_heap_unlock();
    for (; shelf != NULL; shelf = next) {
        next = shelf->shelf_next;
        mmi_heap_collect(shelf);
        mmi_heap_shelf_put(shelf);
    }
}

/* Brings home what the cache and the caches on the shelf hold: twice, as a block whose page was
   adopted travels on, and may reach a cache that was there already. */
static void mmi_heap_collect_all(mmi_heap_cache *cache)
{
    size_t pass;
    for (pass = 0; pass < 2; pass++) {
        if (!mmi_heap_has_none(cache)) mmi_heap_collect(cache);
        mmi_heap_collect_shelf();
    }
    if (!mmi_heap_has_none(cache)) mmi_heap_collect(cache);
}

/* A page of a class that has blocks to give, from wherever it costs least; or NULL. */
static mmi_heap_page *mmi_heap_page_find(mmi_heap_cache *cache, size_t index)
{
    mmi_heap_page *page;
    if (cache->partial[index] != NULL) return cache->partial[index];
    if ((page = mmi_heap_adopt(cache, index)) != NULL) return page;
    if ((page = mmi_heap_page_new(cache, index)) != NULL) return page;
    mmi_heap_collect_all(cache); /* the system has no memory: use what other classes hold */
    if (cache->partial[index] != NULL) return cache->partial[index];
    return mmi_heap_page_new(cache, index);
}

/* Fills an empty list, by what others freed or to half its limit at most; false when there is no
   memory. */
static bool mmi_heap_refill(mmi_heap_cache *cache, size_t index)
{
    mmi_heap_fast *fast = &cache->fast[index];
    size_t limit = mmi_heap_class_limit(index), count = limit / 2;
    mmi_heap_page *page;
    mmi_heap_return_all(cache, mmi_heap_remote_take(cache), true);
    if (fast->list != NULL) return true;
    page = mmi_heap_page_find(cache, index);
    if (page == NULL) return false;
    fast->list = page->free != NULL ? mmi_heap_lend(page, &count) : mmi_heap_carve(page, &count);
    mmi_heap_poke(&fast->room, limit - count);
    mmi_heap_poke(&page->used, mmi_heap_peek(&page->used) + count);
    if (page->free == NULL && mmi_heap_peek(&page->carved) == page->capacity) {
        mmi_heap_unlist(cache, page);
    }
    return true;
}

/* The list of the class is empty, or the thread has no cache. */
static MM_COLD void *mmi_heap_alloc_slow(size_t index)
{
    mmi_heap_cache *cache = mmi_heap_mine;
    bool borrowed = false;
    void *block = NULL;
    if (mmi_heap_has_none(cache)) cache = mmi_heap_cache_get(&borrowed);
    if (cache == NULL) return mmi_heap_refuse(ENOMEM);
    if (cache->fast[index].list != NULL || mmi_heap_refill(cache, index)) {
        block = mmi_heap_fast_pop(&cache->fast[index], index);
    }
    if (borrowed) mmi_heap_shelf_put(cache);
    return block != NULL ? block : mmi_heap_refuse(ENOMEM);
}

static inline void *mmi_heap_alloc_class(size_t index)
{
    mmi_heap_fast *fast = &mmi_heap_mine->fast[index];
    if (MM_LIKELY(fast->list != NULL)) return mmi_heap_fast_pop(fast, index);
    return mmi_heap_alloc_slow(index);
}

// >>large

/* A block that is a page of a span: size is a multiple of the granule. */
static void *mmi_heap_run_new(size_t size)
{
    mmi_heap_page *page;
    mmi_heap_lock();
    page = mmi_heap_page_take(size / MMI_HEAP_GRANULE);
    if (page != NULL) {
        page->index = MMI_HEAP_RUN;
        page->block_size = size;
        page->capacity = page->carved = page->used = 1;
        mmi_heap_enter(page->start, 1, page); /* of the others no block starts in any */
    }
    mmi_heap_unlock();
    if (page == NULL) return NULL;
    MM_TRACK_UNPOISON(page->start, size);
    return page->start;
}

static mmi_heap_huge *mmi_heap_huge_record(void)
{
    mmi_heap_page *page = mmi_heap_here.spare_huge;
    if (page == NULL) return (mmi_heap_huge *)mmi_heap_record(sizeof(mmi_heap_huge));
    mmi_heap_here.spare_huge = page->next;
    return (mmi_heap_huge *)(void *)page;
}

static void mmi_heap_huge_enter(mmi_heap_huge *huge, char *start, size_t size)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_page *page = &huge->page;
    memset(page, 0, sizeof(*page));
    page->index = MMI_HEAP_DIRECT;
    page->start = start;
    page->block_size = size;
    page->granules = size / MMI_HEAP_GRANULE;
    page->capacity = page->carved = page->used = 1;
    page->next = h->huge;
    if (h->huge != NULL) h->huge->prev = page;
    h->huge = page;
    h->huge_bytes += size;
    h->huge_blocks++;
    mmi_heap_commit(huge->mapping.size);
    mmi_heap_enter(start, 1, page);
}

/* A block that is a mapping; the mapping is made and unmade outside the lock. */
static void *mmi_heap_huge_new(size_t size, size_t alignment)
{
    mmi_heap_mapping mapping;
    mmi_heap_huge *huge = NULL;
    char *start = mmi_heap_map(size, alignment, &mapping);
    if (start == NULL) return NULL;
    mmi_heap_lock();
    if (mmi_heap_leaf_make(start)) huge = mmi_heap_huge_record();
    if (huge != NULL) {
        huge->mapping = mapping;
        mmi_heap_huge_enter(huge, start, size);
    }
    mmi_heap_unlock();
    if (huge != NULL) return start;
    mmi_heap_unmap(&mapping);
    return NULL;
}

static MM_COLD void *mmi_heap_alloc_large(size_t size, size_t alignment)
{
    bool huge = size > MM_HEAP_HUGE || alignment > MMI_HEAP_GRANULE;
    size_t whole, slack = alignment + MMI_HEAP_GRANULE;
    void *ptr;
    if (alignment > PTRDIFF_MAX / 2 || size > PTRDIFF_MAX - slack) return mmi_heap_refuse(ENOMEM);
    mmi_heap_start();
    whole = (size + (size == 0) + MMI_HEAP_GRANULE - 1) & ~(MMI_HEAP_GRANULE - 1);
    ptr = huge ? mmi_heap_huge_new(whole, alignment) : mmi_heap_run_new(whole);
    if (ptr == NULL) { /* it may do when empty spans are given back */
        mm_heap_trim();
        ptr = huge ? mmi_heap_huge_new(whole, alignment) : mmi_heap_run_new(whole);
    }
    return ptr != NULL ? ptr : mmi_heap_refuse(ENOMEM);
}

/* Takes the record of a huge block out of everything. Lock held. */
static void mmi_heap_huge_remove(mmi_heap_page *page, mmi_heap_mapping *mapping)
{
    mmi_heap_central *h = &mmi_heap_here;
    *mapping = ((mmi_heap_huge *)(void *)page)->mapping;
    mmi_heap_enter(page->start, 1, NULL);
    if (page->next != NULL) page->next->prev = page->prev;
    if (page->prev != NULL) page->prev->next = page->next;
    else h->huge = page->next;
    page->next = h->spare_huge;
    h->spare_huge = page;
    h->huge_bytes -= page->block_size;
    h->huge_blocks--;
    h->committed -= mapping->size;
}

static void mmi_heap_free_large(void *ptr)
{
    mmi_heap_mapping mapping = {NULL, 0};
    mmi_heap_page *page;
    bool ours;
    mmi_heap_lock();
    page = mmi_heap_page_at(ptr); /* again: another thread may have freed it just now */
    ours = page != NULL && page->index >= MMI_HEAP_CLASSES && ptr == page->start;
    if (ours && page->index == MMI_HEAP_DIRECT) {
        mmi_heap_huge_remove(page, &mapping);
    } else if (ours) {
        MM_TRACK_POISON(page->start, page->block_size);
        mmi_heap_page_give(page);
    }
    mmi_heap_unlock();
    if (mapping.base != NULL) mmi_heap_unmap(&mapping);
    if (!ours) mmi_heap_misuse("mm_heap: not the start of a live block", ptr);
}

// >>free

/* Whether a block of a class may be freed; says so if not. */
static bool mmi_heap_may_free(mmi_heap_page *page, mmi_heap_block *block)
{
    if (MM_UNLIKELY(!mmi_heap_is_block(page, block))) {
        mmi_heap_misuse("mm_heap: not the start of a block", block);
        return false;
    }
    if (!MMI_HEAP_CHECKED) return true;
    mmi_heap_block_open(block);
    if (MM_LIKELY(block->key != mmi_heap_key_of(block))) return true;
    MM_TRACK_POISON(block, sizeof(*block));
    mmi_heap_misuse("mm_heap: block freed twice", block);
    return false;
}

/* The block is not of the calling thread's pages. Needs no cache, so a thread that only frees
   has none. */
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
        mmi_heap_free_large(ptr);
    } else if (mmi_heap_may_free(page, block)) {
        mmi_heap_block_close(block, NULL, page->block_size);
        if (mmi_heap_has_none(cache)) mmi_heap_remote_push(owner, block, block);
        else mmi_heap_parcel_put(cache, owner, block, page->block_size);
    }
}

// >>api

/* Up to 1024 bytes, the list not empty: 22 instructions, 3 of them branches (not taken). */
MM_API void *mm_heap_alloc(size_t size)
{
    if (MM_LIKELY(mmi_heap_has_class(size))) return mmi_heap_alloc_class(mmi_heap_class_of(size));
    return mmi_heap_alloc_large(size, MMI_HEAP_GRANULE);
}

/* Up to 64 KiB, the thread's own page, the list not full: 30 instructions, 6 of them branches (not
   taken). Without MM_HEAP_SECURE one second free is caught for nothing: that of the block which
   was freed last. */
MM_API void mm_heap_free(void *ptr)
{
    mmi_heap_cache *cache = mmi_heap_mine;
    mmi_heap_page *page = mmi_heap_page_at(ptr);
    mmi_heap_block *block = (mmi_heap_block *)ptr;
    mmi_heap_fast *fast;
    if (MM_UNLIKELY(page == NULL || mmi_heap_owner(page) != cache)) {
        mmi_heap_free_slow(ptr, page);
        return;
    }
    fast = page->fast;
    if (MMI_HEAP_CHECKED && !mmi_heap_may_free(page, block)) return;
    if (MM_UNLIKELY(fast->list == block)) {
        mmi_heap_misuse("mm_heap: block freed twice", block);
        return;
    }
    if (MM_UNLIKELY(!mmi_heap_fast_push(fast, block, page->block_size))) {
        mmi_heap_fast_flush(cache, page->index, mmi_heap_class_limit(page->index) / 2);
    }
}

MM_API void mm_heap_free_sized(void *ptr, size_t size)
{
    MM_ASSERT(ptr == NULL || size <= mm_heap_usable_size(ptr));
    (void)size;
    mm_heap_free(ptr);
}

MM_API void *mm_heap_calloc(size_t count, size_t size)
{
    size_t total;
    void *ptr;
    if (!mm_size_mul(count, size, &total)) return mmi_heap_refuse(ENOMEM);
    ptr = mm_heap_alloc(total);
    /* a mapping of its own is always a new one, and zero */
    if (ptr != NULL && total <= MM_HEAP_HUGE) memset(ptr, 0, total);
    return ptr;
}

/* The page of a block, or NULL after telling that ptr is none. */
static mmi_heap_page *mmi_heap_page_of(const void *ptr)
{
    mmi_heap_page *page = mmi_heap_page_at(ptr);
    if (MM_LIKELY(page != NULL && mmi_heap_is_block(page, ptr))) return page;
    mmi_heap_misuse("mm_heap: not the start of a live block", ptr);
    return NULL;
}

MM_API void *mm_heap_realloc(void *ptr, size_t size)
{
    mmi_heap_page *page;
    size_t usable;
    void *moved;
    if (ptr == NULL) return mm_heap_alloc(size);
    page = mmi_heap_page_of(ptr);
    if (page == NULL) return mmi_heap_refuse(EINVAL);
    usable = page->block_size;
    if (size <= usable && (size >= usable / 2 || usable == MMI_HEAP_ALIGN)) return ptr;
    moved = mm_heap_alloc(size);
    if (moved == NULL) return size <= usable ? ptr : NULL;
    memcpy(moved, ptr, size < usable ? size : usable);
    mm_heap_free(ptr);
    return moved;
}

MM_API void *mm_heap_aligned_alloc(size_t alignment, size_t size)
{
    size_t whole = alignment < MMI_HEAP_GRANULE ? MMI_HEAP_GRANULE : alignment, index;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) return mmi_heap_refuse(EINVAL);
    if (alignment <= MMI_HEAP_ALIGN) return mm_heap_alloc(size);
    if (alignment > MMI_HEAP_GRANULE || !mmi_heap_has_class(size)) {
        return mmi_heap_alloc_large(size, whole);
    }
    /* Pages start at a multiple of 64 KiB, so blocks of a multiple of the alignment do. The search
       ends: the last class is a multiple of all alignments up to a granule. */
    index = mmi_heap_class_of(size > alignment ? size : alignment);
    while ((mmi_heap_class_size(index) & (alignment - 1)) != 0) index++;
    return mmi_heap_alloc_class(index);
}

MM_API size_t mm_heap_usable_size(const void *ptr)
{
    const mmi_heap_page *page = ptr == NULL ? NULL : mmi_heap_page_of(ptr);
    return page == NULL ? 0 : page->block_size;
}

MM_API size_t mm_heap_good_size(size_t size)
{
    if (mmi_heap_has_class(size)) return mmi_heap_class_size(mmi_heap_class_of(size));
    if (size > PTRDIFF_MAX - 2 * MMI_HEAP_GRANULE) return size;
    return (size + MMI_HEAP_GRANULE - 1) & ~(MMI_HEAP_GRANULE - 1);
}

static void *mmi_heap_alloc_fn(size_t size, void *user_data)
{
    (void)user_data;
    return mm_heap_alloc(size);
}

static void *mmi_heap_realloc_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    (void)old_size, (void)user_data;
    return mm_heap_realloc(ptr, new_size);
}

static void mmi_heap_free_fn(void *ptr, size_t size, void *user_data)
{
    (void)user_data;
    mm_heap_free_sized(ptr, size);
}

MM_API const mm_allocator *mm_heap_allocator(mm_heap *heap)
{
    static const mm_allocator allocator = {mmi_heap_alloc_fn, mmi_heap_realloc_fn, mmi_heap_free_fn,
                                           NULL};
    MM_ASSERT(heap == NULL);
    (void)heap;
    return &allocator;
}

MM_API void mm_heap_trim(void)
{
    mmi_heap_collect_all(mmi_heap_mine);
    mmi_heap_lock();
    mmi_heap_release_empty();
    mmi_heap_unlock();
}

// >>stats

/* Adds up the blocks that are not in their pages but not live either: in the list and on the way
   home. The latter's list is taken off for the while, so that no block of it can vanish. */
static size_t mmi_heap_idle(mmi_heap_cache *cache, size_t *blocks)
{
    mmi_heap_block *first = mmi_heap_remote_take(cache), *last = NULL, *block;
    size_t bytes = 0, index;
    for (block = first; block != NULL; block = mmi_heap_block_next(block)) {
        mmi_heap_page *page = mmi_heap_page_at(block);
        if (page == NULL) break; /* damaged: cut off */
        bytes += page->block_size;
        ++*blocks;
        last = block;
    }
    if (last != NULL) mmi_heap_remote_push(cache, first, last);
    for (index = 0; index < MMI_HEAP_PARCELS; index++) {
        bytes += mmi_heap_peek(&cache->parcels[index].bytes);
        *blocks += mmi_heap_peek(&cache->parcels[index].count);
    }
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        size_t count = mmi_heap_class_limit(index) - mmi_heap_peek(&cache->fast[index].room);
        bytes += count * mmi_heap_class_size(index);
        *blocks += count;
    }
    return bytes;
}

static size_t mmi_heap_span_used(mmi_heap_span *span, size_t *blocks)
{
    size_t bytes = 0, i;
    for (i = 0; i < MMI_HEAP_SPAN_GRANULES; i++) {
        size_t used = mmi_heap_peek(&span->pages[i].used);
        if (span->pages[i].granules == 0) continue;
        bytes += used * span->pages[i].block_size;
        *blocks += used;
    }
    return bytes;
}

MM_API void mm_heap_get_stats(mm_heap_stats *stats)
{
    mmi_heap_central *h = &mmi_heap_here;
    mmi_heap_cache *cache;
    mmi_heap_span *span;
    size_t used = 0, used_blocks = 0, idle = 0, idle_blocks = 0;
    memset(stats, 0, sizeof(*stats));
    mmi_heap_lock();
    for (cache = h->caches; cache != NULL; cache = cache->next, stats->caches++) {
        idle += mmi_heap_idle(cache, &idle_blocks);
    }
    for (span = h->spans; span != NULL; span = span->next, stats->spans++) {
        used += mmi_heap_span_used(span, &used_blocks);
    }
    stats->live = (used > idle ? used - idle : 0) + h->huge_bytes;
    stats->live_blocks = used_blocks > idle_blocks ? used_blocks - idle_blocks : 0;
    stats->live_blocks += h->huge_blocks;
    stats->huge = h->huge_bytes;
    stats->metadata = h->metadata;
    stats->committed = h->committed;
    stats->cached = h->committed - h->metadata;
    stats->cached -= stats->live < stats->cached ? stats->live : stats->cached;
    stats->peak = h->peak;
    mmi_heap_unlock();
    stats->failures = mmi_atomic_load(&h->failures);
    stats->misuses = mmi_atomic_load(&h->misuses);
}

// >>check

static bool mmi_heap_check_list(mmi_heap_block *block, size_t count, size_t index,
                                const mmi_heap_page *only)
{
    for (; count > 0; count--) {
        mmi_heap_page *page = block == NULL ? NULL : mmi_heap_page_at(block);
        mmi_heap_block *next;
        uint64_t key;
        if (page == NULL || page->index != index || (only != NULL && page != only)) return false;
        if (!mmi_heap_is_block(page, block)) return false;
        mmi_heap_block_open(block);
        key = block->key;
        next = block->next;
        MM_TRACK_POISON(block, sizeof(*block));
        if (MMI_HEAP_CHECKED && key != mmi_heap_key_of(block)) return false;
        block = next;
    }
    return block == NULL;
}

static bool mmi_heap_check_cache(mmi_heap_cache *cache)
{
    size_t index;
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        mmi_heap_page *page, *prev = NULL;
        mmi_heap_fast *fast = &cache->fast[index];
        size_t count = mmi_heap_class_limit(index) - mmi_heap_peek(&fast->room);
        if (!mmi_heap_check_list(fast->list, count, index, NULL)) return false;
        for (page = cache->partial[index]; page != NULL; prev = page, page = page->next) {
            size_t free = mmi_heap_peek(&page->carved) - mmi_heap_peek(&page->used);
            if (page->prev != prev || !page->listed || page->index != index) return false;
            if (mmi_heap_owner(page) != cache) return false;
            if (free == 0 && mmi_heap_peek(&page->carved) == page->capacity) return false;
            if (!mmi_heap_check_list(page->free, free, index, page)) return false;
        }
    }
    return true;
}

static bool mmi_heap_check_page(mmi_heap_page *page)
{
    size_t used = mmi_heap_peek(&page->used), carved = mmi_heap_peek(&page->carved);
    bool owned = mmi_heap_owner(page) != NULL;
    if (mmi_heap_page_at(page->start) != page || page->index > MMI_HEAP_DIRECT) return false;
    if (owned != (page->index < MMI_HEAP_CLASSES)) return false;
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
    size_t empty = 0, huge = 0;
    for (span = h->spans; span != NULL; span = span->next) {
        if (!mmi_heap_check_span(span)) return false;
        if (span->free == MMI_HEAP_ALL_FREE) empty++;
    }
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
    return sound;
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
    return mm_heap_alloc(size);
}

MMI_HEAP_HOT void free(void *ptr) MMI_HEAP_NOTHROW
{
    mm_heap_free(ptr);
}

MMI_HEAP_NAME void *calloc(size_t count, size_t size) MMI_HEAP_NOTHROW
{
    return mm_heap_calloc(count, size);
}

/* To size 0 it frees and returns NULL, as glibc's does: who counts on it would leak otherwise. */
MMI_HEAP_NAME void *realloc(void *ptr, size_t size) MMI_HEAP_NOTHROW
{
    if (MM_LIKELY(size != 0 || ptr == NULL)) return mm_heap_realloc(ptr, size);
    mm_heap_free(ptr);
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
    block = mm_heap_aligned_alloc(alignment, size);
    errno = error;
    if (block == NULL) return ENOMEM;
    *ptr = block;
    return 0;
}

MMI_HEAP_NAME void *aligned_alloc(size_t alignment, size_t size) MMI_HEAP_NOTHROW
{
    return mm_heap_aligned_alloc(alignment, size);
}

/* Any alignment will do here, and is raised to a power of two; where there is none, EINVAL. */
MMI_HEAP_NAME void *memalign(size_t alignment, size_t size) MMI_HEAP_NOTHROW
{
    return mm_heap_aligned_alloc(mm_size_pow2(alignment != 0 ? alignment : 1), size);
}

static size_t mmi_heap_system_page(void)
{
    long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? (size_t)page : 4096;
}

MMI_HEAP_NAME void *valloc(size_t size) MMI_HEAP_NOTHROW
{
    return mm_heap_aligned_alloc(mmi_heap_system_page(), size);
}

/* The size is rounded up to whole pages, 0 to one as well. */
MMI_HEAP_NAME void *pvalloc(size_t size) MMI_HEAP_NOTHROW
{
    size_t page = mmi_heap_system_page(), whole;
    if (!mm_size_add(size != 0 ? size : 1, page - 1, &whole)) return mmi_heap_refuse(ENOMEM);
    return mm_heap_aligned_alloc(page, whole & ~(page - 1));
}

MMI_HEAP_NAME size_t malloc_usable_size(void *ptr) MMI_HEAP_NOTHROW
{
    return mm_heap_usable_size(ptr);
}

/* Whether anything was given back. The pad is glibc's affair. */
MMI_HEAP_NAME int malloc_trim(size_t pad) MMI_HEAP_NOTHROW
{
    mm_heap_stats before, after;
    (void)pad;
    mm_heap_get_stats(&before);
    mm_heap_trim();
    mm_heap_get_stats(&after);
    return after.committed < before.committed;
}

#if defined(__GLIBC__) && defined(__GLIBC_MINOR__) && __GLIBC__ == 2 && __GLIBC_MINOR__ < 26
void cfree(void *ptr) MMI_HEAP_NOTHROW;
MMI_HEAP_NAME void cfree(void *ptr) MMI_HEAP_NOTHROW /* later ones have it no more */
{
    mm_heap_free(ptr);
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
        block = mm_heap_aligned_alloc(alignment, size);
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
    void *block = mm_heap_aligned_alloc((size_t)alignment, size);
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_slow(size, (size_t)alignment);
}

static inline void *mmi_heap_new_aligned_or_null(size_t size, std::align_val_t alignment) noexcept
{
    void *block = mm_heap_aligned_alloc((size_t)alignment, size);
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_or_null(size, (size_t)alignment);
}

MMI_HEAP_HOT void *operator new(size_t size)
{
    void *block = mm_heap_alloc(size);
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_slow(size, 1);
}

MMI_HEAP_HOT void *operator new[](size_t size)
{
    void *block = mm_heap_alloc(size);
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_slow(size, 1);
}

MMI_HEAP_NAME void *operator new(size_t size, const std::nothrow_t &) noexcept
{
    void *block = mm_heap_alloc(size);
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_or_null(size, 1);
}

MMI_HEAP_NAME void *operator new[](size_t size, const std::nothrow_t &) noexcept
{
    void *block = mm_heap_alloc(size);
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
        mm_heap_free(ptr); \
    } \
    attributes void operator delete[](__VA_ARGS__) noexcept \
    { \
        mm_heap_free(ptr); \
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
    void *block = mm_heap_alloc(size);
    return MM_LIKELY(block != NULL) ? block : mmi_heap_new_next(size);
}

MMI_HEAP_NAME void *mmi_heap_new_array(size_t size)
{
    return mmi_heap_new(size);
}

MMI_HEAP_HOT void mmi_heap_delete(void *ptr)
{
    mm_heap_free(ptr);
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
#endif
#endif /* MM_HEAP_OVERRIDE */
#endif /* MM_HEAP_IMPLEMENTATION */

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
