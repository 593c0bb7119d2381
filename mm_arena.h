/* mm_arena.h - v0.1.0 - all memory of a request, freed at once - MIT or public domain */
#if defined(MM_IMPLEMENTATION) && !defined(MM_ARENA_IMPLEMENTATION)
#define MM_ARENA_IMPLEMENTATION
#endif
#ifndef MM_ARENA_H_
#define MM_ARENA_H_
/*
NEEDS
    nothing but the C library

DO THIS
    Copy this file into your project and, in exactly one C or C++ file, write
        #define MM_IMPLEMENTATION
        #include "mm_arena.h"
    Everywhere else include it without the define.

OPTIONAL DEFINES (before the first include, alike in every file)
    MM_STATIC                        all functions private to the including file
    MM_ASSERT(condition)             programmer errors; default: assert()
    MM_MALLOC, MM_REALLOC, MM_FREE   default memory; define all three or none
    MM_DEBUG                         assert that an arena stays on its thread, that marks are still
                                     valid, and at each reset and rewind that all is consistent
    MM_ARENA_RED_ZONE                bytes out of bounds behind each allocation, for writes that
                                     miss by more than the rounding; under a memory checker only
    MM_VALGRIND                      tell Valgrind which bytes may be used (needs its headers);
                                     AddressSanitizer is told without any define

OVERVIEW
    An arena hands out memory by moving a cursor through a block, and takes all of it back in one
    step. What is built for one request (strings, tables, the parsed head) comes from one arena;
    when the request is over, mm_arena_reset makes the arena empty and nobody frees the parts.

        blocks -> [#######.] -> [####....] -> [........] -> NULL       # handed out   . free
                   filled        current       kept by the last reset
                                     ^cursor ^end
        large  -> [############] -> [######] -> NULL                   one request in each

    `mm_arena arena = {0};` is an empty arena with the defaults, ready for use; mm_arena_init sets
    the block size and its growth, a hard limit, how much a reset keeps, and where blocks come
    from. Nothing is allocated before it is needed. What does not fit the current block and would
    take more than a quarter of the next one gets a block of its own, so that the current one is
    filled further.

    The first block may be the caller's: an array on the stack, or a static one that is also the
    limit, where malloc must not be called at all. An arena that mm_arena_create makes can have its
    first block in the same allocation.

    A reset keeps some blocks and the next cycle fills the same ones again: cycles of the same
    shape call the allocator for their large requests only. What is above desc.keep goes back at
    once, and what a while of cycles did not need goes back bit by bit, so that neither one giant
    request nor a busy hour stays in memory for ever. mm_arena_trim gives all of it back now.

    A part of a cycle can be taken back alone:
        mm_arena_mark mark = mm_arena_get_mark(&arena);
        ... try something that allocates ...
        mm_arena_rewind(&arena, &mark);
    or the newest allocation by itself, with mm_arena_resize and mm_arena_free. So a string of
    unknown length is built by asking for much and giving the rest back.

    What the arena cannot free, a file or a reference, is given up by a cleanup: a function that
    runs before the memory goes, the last registered first. A child arena (desc.parent) ends in the
    same order as if it were a cleanup: work that may end sooner than the request gets one, and
    nobody has to remember it when the request ends first. What a child holds does not count
    towards its parent's limit, unless its blocks come from mm_arena_allocator(parent).

    mm_arena_allocator makes an arena the allocator of any other part, a growing buffer say: it
    grows in place while it is the newest thing in the arena.

EXAMPLE
    ---8<---
    #define MM_IMPLEMENTATION
    #include "mm_arena.h"
    #include <stdio.h>

    static void close_file(void *file) { fclose((FILE *)file); }

    int main(void)
    {
        mm_arena arena = {0};
        for (int number = 1; number <= 3; number++) {
            FILE *file = tmpfile();
            char *line = mm_arena_printf(&arena, "request %d", number);
            if (file != NULL && !mm_arena_cleanup_add(&arena, close_file, file)) fclose(file);
            if (line != NULL) puts(line);
            mm_arena_reset(&arena); // closes the file; line is gone
        }
        mm_arena_deinit(&arena);
        return 0;
    }
    --->8---

COMPLEXITY AND STABILITY
    An allocation is a test and an addition; a new block costs one call of the allocator. A reset,
    a rewind and a deinit cost O(blocks) and what the cleanups and children cost that they end
    (under a memory checker O(bytes)); a mark, cancelling a cleanup, and the figures O(1).
    What was handed out stays where it is until mm_arena_reset, mm_arena_deinit or
    mm_arena_destroy, or mm_arena_rewind to an older mark. An mm_arena may be moved in memory as a
    struct, unless it has a parent or children; mm_arena_allocator has to be asked again then.
    Memory is aligned for any object (to 16 bytes); mm_arena_alloc_aligned gives more.
    Sizes are rounded up to 16, so an arena full of tiny objects wastes the difference.

THREADS
    Not thread-safe: an arena belongs to one thread at a time, and its parent and children to the
    same. There are no globals. MM_DEBUG asserts that the thread is always the one that used the
    arena first; mm_arena_disown lets it be handed on.

MEMORY
    The arena owns its blocks; they come from the allocator of its desc (NULL: the parent's, or the
    default) and all go back with mm_arena_deinit. Never pass what an arena handed out to free().
    The caller's first block is the arena's until then: it has to outlive the arena, and under a
    memory checker it is out of bounds to everybody else.
    Fresh memory is indeterminate, mm_arena_calloc aside. Under AddressSanitizer and Valgrind all
    that is not handed out is out of bounds to the exact byte: reading a string after a reset or a
    rewind, or behind its end where the rounding left room, is reported.

ERRORS
    NULL when the allocator or the limit refuses, or when a size does not fit a size_t. All that
    was handed out before is untouched and the arena is as usable as before; blocks that a reset
    had kept empty may have been given back, which is tried before anything is refused.
    Every such refusal counts in mm_arena_stats.failures.

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

/* What starts each block; the rest of it is for the user. */
typedef struct mmi_arena_block {
    struct mmi_arena_block *next; /* in blocks: the next to be filled; in large: the one before */
    size_t size;                  /* bytes that the allocator gave, this struct included */
    uint64_t serial;              /* in large: when it was made, as mm_arena.serial */
} mmi_arena_block;

typedef struct mm_arena mm_arena;

/* A function that runs when the arena is reset or ends, or is rewound past its registration. */
typedef void (*mm_arena_cleanup_fn)(void *user_data);

/* A registered one. The fields are the arena's. */
typedef struct mm_arena_cleanup {
    struct mm_arena_cleanup *newer; /* registered after this one; NULL for the newest */
    struct mm_arena_cleanup *older; /* registered before it; NULL for the oldest */
    mm_arena_cleanup_fn function;   /* what runs; NULL in one that is not registered any more */
    void *user_data;                /* its argument */
    uint64_t serial;                /* when it was registered, as mm_arena.serial */
} mm_arena_cleanup;

/* A place in the life of an arena, to go back to. The fields are the arena's. */
typedef struct mm_arena_mark {
    mmi_arena_block *block; /* the current block then; NULL: nothing in any block yet */
    unsigned char *cursor;  /* as mm_arena.cursor then */
    size_t used_before;     /* as mm_arena.used_before then */
    size_t waste;           /* as mm_arena.waste then */
    uint64_t serial;        /* as mm_arena.serial then: what has a greater one is newer */
} mm_arena_mark;

/* How an arena is to behave; zero means the default. Copied by mm_arena_init. */
typedef struct mm_arena_desc {
    size_t block_size;             /* bytes of a block, administration included; default 64 KiB */
    size_t block_max;              /* each new block is twice the last up to this; default: no */
    size_t limit;                  /* most bytes held, first included; default no limit */
    size_t keep;                   /* most bytes that a reset keeps; default 4 blocks, 1: none */
    void *first;                   /* memory of the caller's for the first block; default none */
    size_t first_size;             /* its bytes; without first, mm_arena_create allocates them */
    const mm_allocator *allocator; /* source of blocks, outlives the arena; default: the parent's,
                                      or MM_MALLOC */
    mm_arena *parent;              /* ends this arena when it is reset or ends; default none */
    const char *tag;               /* a name for figures and debuggers, not copied; default NULL */
} mm_arena_desc;

/* An arena; all zero is a valid empty one. The fields are for reading in a debugger only. */
struct mm_arena {
    unsigned char *cursor;         /* first free byte of the current block, aligned to 16 */
    unsigned char *end;            /* behind its last usable byte, aligned to 16; never < cursor */
    mmi_arena_block *current;      /* the block being filled; NULL only when blocks is */
    mmi_arena_block *blocks;       /* filled ones, then current, then empty ones of full size */
    mmi_arena_block *first;        /* head of blocks if it is not the allocator's; else NULL */
    mmi_arena_block *large;        /* blocks of one request each, newest first */
    size_t used_before;            /* bytes handed out of filled blocks */
    size_t waste;                  /* bytes of filled and current blocks that nobody gets */
    size_t large_used;             /* usable bytes of large blocks: all count as handed out */
    size_t large_total;            /* bytes of large blocks */
    size_t total;                  /* bytes held: all blocks */
    size_t peak;                   /* largest total so far */
    size_t failures;               /* requests that came back NULL for want of memory */
    size_t reached;                /* bytes of the blocks entered since the last reset, without what
                                      is still entered */
    size_t idle;                   /* fewest bytes of blocks left empty in the last few cycles */
    size_t cycles;                 /* how many cycles idle speaks of */
    size_t block_size;             /* as in mm_arena_desc, 0 for the default */
    size_t block_max;              /* as in mm_arena_desc, 0 for the default */
    size_t limit;                  /* as in mm_arena_desc, 0 for none */
    size_t keep;                   /* as in mm_arena_desc, 0 for the default */
    uint64_t serial;               /* counts cleanups and large blocks: the newest one's */
    mm_arena_cleanup *cleanups;    /* newest first; the links of children are among them */
    mm_arena *parent;              /* as in mm_arena_desc */
    mm_arena_cleanup link;         /* in the cleanups of the parent, if there is one */
    size_t marked;                 /* not 0: a mark may point into the head of blocks */
    uint64_t era;                  /* serial of the last reset: older marks are not valid */
    const void *owner;             /* under MM_DEBUG: identity of the thread that uses it */
    size_t created;                /* not 0: by mm_arena_create, so it ends by mm_arena_destroy */
    size_t inline_size;            /* bytes that mm_arena_create took behind this struct */
    const mm_allocator *allocator; /* as in mm_arena_desc, NULL for the default */
    const char *tag;               /* as in mm_arena_desc */
    mm_allocator self;             /* the arena as one, filled in by mm_arena_allocator */
};

/* What an arena holds. total - used - waste is free for the next requests. */
typedef struct mm_arena_stats {
    size_t used;     /* bytes handed out since the last reset, rounding and alignment included */
    size_t total;    /* bytes held, the caller's first block included */
    size_t peak;     /* largest total since mm_arena_init */
    size_t waste;    /* bytes lost until the next reset: ends of filled blocks, administration */
    size_t failures; /* requests refused since mm_arena_init */
    const char *tag; /* as in mm_arena_desc */
} mm_arena_stats;

/* ---- life ---- */

/* An empty arena with the settings of desc (NULL: the defaults). Cannot fail: the first block is
   allocated when it is needed. The content of *arena before does not matter. desc->first is the
   arena's until mm_arena_deinit and is filled before the allocator is asked; too small for a block
   (less than some 64 bytes) it is not used. With limit equal to first_size no other memory is. */
MM_API void mm_arena_init(mm_arena *arena, const mm_arena_desc *desc) MM_NONNULL(1);

/* Runs the cleanups, ends the children, gives all memory back and leaves {0}: an empty arena with
   the default settings, and no child of another any more. */
MM_API void mm_arena_deinit(mm_arena *arena) MM_NONNULL_ALL;

/* An arena that itself lies in memory of desc->allocator, outside its limit; NULL when that is
   refused. With a first_size and no first its first block lies behind it, in the same allocation.
   To be given back with mm_arena_destroy, which does all that mm_arena_deinit does and may be
   called with NULL; a created child also ends in this way with its parent. */
MM_API mm_arena *mm_arena_create(const mm_arena_desc *desc) MM_NODISCARD;
MM_API void mm_arena_destroy(mm_arena *arena);

/* Runs the cleanups, ends the children and takes back everything that was handed out: no pointer
   into the arena is valid any more. A child that is reset stays its parent's child. Keeps
   blocks of up to desc.keep bytes for the next cycle, and the first if it was the caller's; frees
   the others and all large ones. Of kept blocks that none of the last 16 cycles filled, half go
   back as well, so what a peak left behind is gone after a few dozen cycles without one. */
MM_API void mm_arena_reset(mm_arena *arena) MM_NONNULL_ALL;

/* Gives the blocks back that hold nothing, when memory is short or the arena will rest; returns
   their bytes. What was handed out stays. */
MM_API size_t mm_arena_trim(mm_arena *arena) MM_NONNULL_ALL;

/* ---- memory: valid until the next reset or deinit; NULL, and nothing changed, on failure ---- */

/* size bytes, indeterminate, aligned to 16. Size 0 gives a pointer like no other. */
MM_INLINE void *mm_arena_alloc(mm_arena *arena, size_t size)
    MM_NODISCARD MM_NONNULL_ALL MM_MALLOC_LIKE MM_ALLOC_SIZE(2);

/* The same at an address that is a multiple of alignment, any power of two; NULL for others. May
   take up to alignment bytes more. */
MM_API void *mm_arena_alloc_aligned(mm_arena *arena, size_t size, size_t alignment)
    MM_NODISCARD MM_NONNULL_ALL MM_MALLOC_LIKE MM_ALLOC_SIZE(2);

/* count * size bytes, indeterminate or all zero; NULL when the product does not fit a size_t. */
MM_API void *mm_arena_array(mm_arena *arena, size_t count, size_t size)
    MM_NODISCARD MM_NONNULL_ALL MM_MALLOC_LIKE MM_ALLOC_SIZE2(2, 3);
MM_API void *mm_arena_calloc(mm_arena *arena, size_t count, size_t size)
    MM_NODISCARD MM_NONNULL_ALL MM_MALLOC_LIKE MM_ALLOC_SIZE2(2, 3);

/* The same with the type of the elements: int *squares = MM_ARENA_ARRAY(&arena, 100, int). For
   types that are aligned to 16 or less. */
#define MM_ARENA_ARRAY(arena, count, type) ((type *)mm_arena_array((arena), (count), sizeof(type)))

/* A copy of size bytes; source may be NULL when size is 0. */
MM_API void *mm_arena_memdup(mm_arena *arena, const void *source, size_t size)
    MM_NODISCARD MM_NONNULL(1) MM_ALLOC_SIZE(3);

/* A copy of a string; NULL for NULL, which is not a failure. */
MM_API char *mm_arena_strdup(mm_arena *arena, const char *text) MM_NODISCARD MM_NONNULL(1);

/* A copy of the first `most` bytes of a string, fewer when it ends before, and a NUL. Never reads
   text[most] or behind its NUL. NULL for NULL. */
MM_API char *mm_arena_strndup(mm_arena *arena, const char *text, size_t most)
    MM_NODISCARD MM_NONNULL(1);

/* The parts (none NULL) one after the other, the separator between each two; "" for no parts. NULL
   too when the length does not fit a size_t. */
MM_API char *mm_arena_join(mm_arena *arena, const char *separator, const char *const *parts,
                           size_t count) MM_NODISCARD MM_NONNULL(1) MM_NONNULL(2);

/* A formatted string of its exact length. Arguments may lie in the arena. NULL too when the C
   library rejects the format or an argument. args is used up, as by vsnprintf. */
MM_API char *mm_arena_printf(mm_arena *arena, const char *format, ...)
    MM_NODISCARD MM_NONNULL(1) MM_NONNULL(2) MM_FORMAT(2, 3);
MM_API char *mm_arena_vprintf(mm_arena *arena, const char *format, va_list args)
    MM_NODISCARD MM_NONNULL(1) MM_NONNULL(2) MM_FORMAT(2, 0);

/* ---- changing what was handed out; old_size, size: as last asked for ---- */

/* A new size where ptr lies, content kept. The newest allocation grows while there is room behind
   it and makes room when it shrinks; any other one has the room of its rounding. Shrinking never
   fails. False, and nothing changed, when new_size does not fit here. */
MM_API bool mm_arena_resize(mm_arena *arena, void *ptr, size_t old_size, size_t new_size)
    MM_NODISCARD MM_NONNULL_ALL;

/* The same, and moved where that does not suffice; aligned to 16. ptr may be NULL with old_size 0.
   NULL on failure: ptr is as it was. The newest large allocation is resized by the arena's own
   allocator, so that its old place does not stay behind. */
MM_API void *mm_arena_realloc(mm_arena *arena, void *ptr, size_t old_size, size_t new_size)
    MM_NODISCARD MM_NONNULL(1);

/* Makes the room of the newest allocation free again, so stacks of allocations unwind (not past one
   that lost bytes to an alignment above 16), and gives the newest large one back. Any other stays
   taken until the next reset. ptr may be NULL. */
MM_API void mm_arena_free(mm_arena *arena, void *ptr, size_t size) MM_NONNULL(1);

/* ---- going back a part of the way ---- */

/* The place where the arena is now. Marks nest: of several, rewind to the newest first or leave it
   out. A mark is valid until the arena is reset, ends, or is rewound to an older mark; one mark may
   be rewound to again and again. */
MM_API mm_arena_mark mm_arena_get_mark(mm_arena *arena) MM_NODISCARD MM_NONNULL_ALL;

/* Runs the cleanups and ends the children that were registered since the mark, and takes back what
   was handed out since: allocations, growth of older ones, and the new place of one that
   mm_arena_realloc has moved. Blocks are kept for what comes next, large ones go back. What is
   older stays, unless it was freed. Whatever else took memory of this arena since (a buffer or an
   arena on mm_arena_allocator) must not use it any more. */
MM_API void mm_arena_rewind(mm_arena *arena, const mm_arena_mark *mark) MM_NONNULL_ALL;

/* ---- cleanups: for what the arena cannot free, such as files and references ---- */

/* Has function(user_data) called before the memory goes away, at a reset, a rewind past this call
   or the end; the last registered runs first, and children end in the same order. It may use this
   arena and register more, but not reset, rewind or end it. NULL without memory: not registered.
   The handle is valid until function runs or it is cancelled. */
MM_API mm_arena_cleanup *mm_arena_cleanup_add(mm_arena *arena, mm_arena_cleanup_fn function,
                                              void *user_data) MM_NODISCARD MM_NONNULL(1)
    MM_NONNULL(2);

/* Forgets a cleanup without running it, O(1), or runs it now instead of later. Its few bytes are
   free again if nothing was allocated since, as with mm_arena_free. */
MM_API void mm_arena_cleanup_cancel(mm_arena *arena, mm_arena_cleanup *cleanup) MM_NONNULL_ALL;
MM_API void mm_arena_cleanup_run(mm_arena *arena, mm_arena_cleanup *cleanup) MM_NONNULL_ALL;

/* ---- threads ---- */

/* The next thread that uses the arena becomes its owner, which MM_DEBUG asserts: call it where an
   arena is handed to another thread. Without MM_DEBUG it does nothing of effect. */
MM_API void mm_arena_disown(mm_arena *arena) MM_NONNULL_ALL;

/* ---- the arena as an allocator ---- */

/* For the desc of another part: the functions are mm_arena_alloc, mm_arena_realloc and
   mm_arena_free. The pointer is valid while *arena stays where it is and until
   mm_arena_deinit. */
MM_API const mm_allocator *mm_arena_allocator(mm_arena *arena) MM_NONNULL_ALL;

/* ---- looking at it ---- */

/* Bytes handed out since the last reset, rounding and alignment padding included. O(1). */
MM_API size_t mm_arena_used(const mm_arena *arena) MM_PURE MM_NONNULL_ALL;

/* Bytes held, handed out or not. O(1). */
MM_API size_t mm_arena_total(const mm_arena *arena) MM_PURE MM_NONNULL_ALL;

/* All figures at once. O(1). */
MM_API void mm_arena_get_stats(const mm_arena *arena, mm_arena_stats *stats) MM_NONNULL_ALL;

/* Whether the whole structure is consistent; for tests and debugging. O(blocks + cleanups). */
MM_API bool mm_arena_check(const mm_arena *arena) MM_NODISCARD MM_NONNULL_ALL;

/* ---- inline ---- */

/* Enough for max_align_t and for SSE on every platform; the implementation checks the former. */
#define MMI_ARENA_ALIGN ((size_t)16)

/* Bytes behind each allocation that stay out of bounds. */
#if defined(MM_ARENA_RED_ZONE) && (defined(MMI_ASAN) || defined(MM_VALGRIND))
#define MMI_ARENA_ZONE (((size_t)(MM_ARENA_RED_ZONE) + 15) & ~(size_t)15)
#else
#define MMI_ARENA_ZONE ((size_t)0)
#endif

#ifdef MM_DEBUG /* asserts that this thread is the one that uses the arena */
MM_API void mmi_arena_own(mm_arena *arena);
#else
#define mmi_arena_own(arena) ((void)0)
#endif

/* Size 0, special alignments, and what does not fit: goes on to a block that the last reset kept,
   or calls the allocator. Alignment is a power of two, at least 16. */
MM_API MM_COLD void *mmi_arena_alloc_slow(mm_arena *arena, size_t size, size_t alignment)
    MM_NODISCARD MM_NONNULL_ALL;

/* Bytes left in the current block, a multiple of 16. */
MM_INLINE size_t mmi_arena_room(const mm_arena *arena)
{
    return (size_t)((uintptr_t)arena->end - (uintptr_t)arena->cursor); /* both may be NULL */
}

/* Room is a multiple of 16, so a size that is not above it fits after rounding as well and the
   rounding cannot overflow. Size 0 takes a place too, but need not be fast: less one it is above
   any room, so that one test finds both. */
MM_INLINE void *mm_arena_alloc(mm_arena *arena, size_t size)
{
    unsigned char *ptr = arena->cursor;
    size_t last = size - 1;
    mmi_arena_own(arena);
    if (MM_UNLIKELY(MMI_ARENA_ZONE != 0 || last >= mmi_arena_room(arena))) {
        return mmi_arena_alloc_slow(arena, size, MMI_ARENA_ALIGN);
    }
    arena->cursor = ptr + (last | (MMI_ARENA_ALIGN - 1)) + 1;
    MM_TRACK_UNPOISON(ptr, size);
    return ptr;
}

#ifdef __cplusplus
}
#endif
#endif /* MM_ARENA_H_ */

#if defined(MM_ARENA_IMPLEMENTATION) && !defined(MMI_ARENA_IMPLEMENTED)
#define MMI_ARENA_IMPLEMENTED
#ifdef MMI_LIBC_ASSERT
#include <assert.h> /* assert, for MM_ASSERT */
#endif
#ifdef MMI_LIBC_MALLOC
#include <stdlib.h> /* malloc, realloc, free */
#endif
#include <limits.h> /* INT_MAX, the most that vsnprintf can count */
#include <stdio.h>  /* vsnprintf */
#include <string.h> /* memset, memmove, memchr, strlen */

#ifdef __cplusplus
extern "C" {
#endif

/* One block serves a usual request of a web server: head, parsed fields, paths, a listing. */
#define MMI_ARENA_BLOCK_SIZE ((size_t)64 * 1024)
/* Requests of two to four blocks are common enough to be served without the allocator; ten times
   that is the exception that should not stay. In blocks, so that large ones are kept as well. */
#define MMI_ARENA_KEEP_BLOCKS ((size_t)4)
/* Resets between two decisions on idle blocks: often enough to follow the load, and seldom enough
   that a request in twenty which needs more does not cost the allocator's time. */
#define MMI_ARENA_CYCLES ((size_t)16)

typedef struct mmi_arena_strictest {
    char first;
    union {
        long double number;
        long long integer;
        void *pointer;
        void (*function)(void);
    } object;
} mmi_arena_strictest;
typedef char mmi_arena_align_suffices
    [offsetof(mmi_arena_strictest, object) <= MMI_ARENA_ALIGN ? 1 : -1];

// >>blocks

/* The bytes that an object takes: a multiple of 16, never 0. mmi_arena_bytes_for checks for
   overflow. */
static size_t mmi_arena_round(size_t size)
{
    size += (size_t)(size == 0) + (MMI_ARENA_ALIGN - 1);
    return (size & ~(MMI_ARENA_ALIGN - 1)) + MMI_ARENA_ZONE;
}

/* Bytes from ptr to the next multiple of alignment. */
static size_t mmi_arena_padding(const unsigned char *ptr, size_t alignment)
{
    return (alignment - ((size_t)(uintptr_t)ptr & (alignment - 1))) & (alignment - 1);
}

/* The usable part of a block runs from its first to its last address that is a multiple of 16,
   wherever the allocator put the block. */
static unsigned char *mmi_arena_begin(mmi_arena_block *block)
{
    unsigned char *begin = (unsigned char *)(block + 1);
    return begin + mmi_arena_padding(begin, MMI_ARENA_ALIGN);
}

static unsigned char *mmi_arena_end(mmi_arena_block *block)
{
    unsigned char *end = (unsigned char *)block + block->size;
    return end - ((uintptr_t)end & (MMI_ARENA_ALIGN - 1));
}

static size_t mmi_arena_capacity(mmi_arena_block *block)
{
    return (size_t)(mmi_arena_end(block) - mmi_arena_begin(block));
}

/* Bytes of a block that hold size bytes at any alignment, wherever the block lies. */
static bool mmi_arena_bytes_for(size_t size, size_t alignment, size_t *bytes)
{
    if (size > SIZE_MAX - MMI_ARENA_ALIGN - MMI_ARENA_ZONE) return false;
    return mm_size_add(mmi_arena_round(size), alignment - 1 + sizeof(mmi_arena_block), bytes);
}

/* The limit caps the block size, or nothing at all would fit a limit below one block. */
static size_t mmi_arena_block_size(const mm_arena *arena)
{
    size_t size = arena->block_size != 0 ? arena->block_size : MMI_ARENA_BLOCK_SIZE;
    return arena->limit != 0 && arena->limit < size ? arena->limit : size;
}

/* The block after the current one: one that is there, or the next to be asked for. */
static size_t mmi_arena_next_size(const mm_arena *arena)
{
    size_t least = mmi_arena_block_size(arena), most = arena->block_max, size;
    if (arena->current == NULL) return least;
    if (arena->current->next != NULL) return arena->current->next->size;
    if (most <= least) return least;
    size = arena->current->size;
    size = size > most / 2 ? most : size * 2;
    return size > least ? size : least;
}

static size_t mmi_arena_keep(const mm_arena *arena)
{
    size_t keep = mmi_arena_block_size(arena);
    if (arena->keep != 0) return arena->keep;
    if (keep < arena->block_max) keep = arena->block_max;
    return mm_size_mul(keep, MMI_ARENA_KEEP_BLOCKS, &keep) ? keep : SIZE_MAX;
}

/* How many bytes more may be asked of the allocator. */
static size_t mmi_arena_allowance(const mm_arena *arena)
{
    return (arena->limit != 0 ? arena->limit : SIZE_MAX) - arena->total;
}

static void mmi_arena_release(mm_arena *arena, mmi_arena_block *block)
{
    size_t size = block->size;
    MM_TRACK_UNPOISON(block + 1, size - sizeof(*block));
    arena->total -= size;
    if (block != arena->first) mmi_free(arena->allocator, block, size);
}

static void mmi_arena_release_list(mm_arena *arena, mmi_arena_block **list)
{
    while (*list != NULL) {
        mmi_arena_block *block = *list;
        *list = block->next;
        mmi_arena_release(arena, block);
    }
}

static void mmi_arena_leave(mm_arena *arena)
{
    if (arena->current == NULL) return;
    arena->used_before += (size_t)(arena->cursor - mmi_arena_begin(arena->current));
    arena->waste += mmi_arena_room(arena);
}

/* Makes a block the current one; NULL: there is none. */
static void mmi_arena_enter(mm_arena *arena, mmi_arena_block *block)
{
    arena->current = block;
    arena->cursor = arena->end = NULL;
    if (block == NULL) return;
    arena->cursor = mmi_arena_begin(block);
    arena->end = mmi_arena_end(block);
    arena->waste += block->size - mmi_arena_capacity(block);
}

/* Gives back the empty blocks: those ahead of the current one, and the current one if it is the
   head and untouched. */
static void mmi_arena_release_empty(mm_arena *arena)
{
    mmi_arena_block *head = arena->blocks;
    if (head == NULL) return;
    mmi_arena_release_list(arena, &arena->current->next);
    if (head != arena->current || head == arena->first || arena->marked != 0) return;
    if (arena->cursor != mmi_arena_begin(head)) return;
    mmi_arena_release_list(arena, &arena->blocks);
    arena->waste = 0;
    mmi_arena_enter(arena, NULL);
}

/* Asks the allocator, within the limit, and once more after the empty blocks have gone back. */
static mmi_arena_block *mmi_arena_ask(mm_arena *arena, mmi_arena_block *old, size_t bytes)
{
    size_t old_bytes = old != NULL ? old->size : 0;
    void *memory = NULL;
    do {
        if (bytes - old_bytes <= mmi_arena_allowance(arena)) {
            memory = old != NULL ? mmi_realloc(arena->allocator, old, old_bytes, bytes)
                                 : mmi_alloc(arena->allocator, bytes);
        }
    } while (memory == NULL && mm_arena_trim(arena) != 0);
    return (mmi_arena_block *)memory;
}

/* A block in no list yet, its usable part out of bounds; or `old` made larger, by moving it as a
   rule, its usable part as the allocator left it. NULL: refused, and old is as it was. */
static mmi_arena_block *mmi_arena_obtain(mm_arena *arena, mmi_arena_block *old, size_t bytes)
{
    size_t added = bytes - (old != NULL ? old->size : 0);
    mmi_arena_block *block = mmi_arena_ask(arena, old, bytes);
    if (block == NULL) return NULL;
    block->next = NULL;
    block->size = bytes;
    arena->total += added;
    if (arena->peak < arena->total) arena->peak = arena->total;
    if (added == bytes) MM_TRACK_POISON(block + 1, bytes - sizeof(*block));
    return block;
}

// >>alloc

/* size bytes of the current block, or NULL; rounding must not overflow. */
static void *mmi_arena_bump(mm_arena *arena, size_t size, size_t alignment)
{
    size_t room = mmi_arena_room(arena), padding;
    unsigned char *ptr = arena->cursor;
    if (room == 0) return NULL;
    padding = mmi_arena_padding(ptr, alignment);
    if (padding > room || mmi_arena_round(size) > room - padding) return NULL;
    ptr += padding;
    arena->cursor = ptr + mmi_arena_round(size);
    MM_TRACK_UNPOISON(ptr, size);
    return ptr;
}

/* Goes on to the next block: one that the last reset kept, which is of full size, or a new one.
   Near the limit a new one is smaller if it still takes `least` bytes. */
static bool mmi_arena_advance(mm_arena *arena, size_t least)
{
    mmi_arena_block *block = arena->current != NULL ? arena->current->next : NULL;
    if (block == NULL) {
        size_t bytes = mmi_arena_next_size(arena), allowance = mmi_arena_allowance(arena);
        if (bytes > allowance) bytes = allowance;
        if (bytes < least) return false;
        block = mmi_arena_obtain(arena, NULL, bytes);
        if (block == NULL) return false;
        if (arena->current != NULL) arena->current->next = block;
        else arena->blocks = block;
    }
    mmi_arena_leave(arena);
    mmi_arena_enter(arena, block);
    return true;
}

/* All of a large block counts as handed out: nobody else gets the bytes behind the object. */
static void mmi_arena_push_large(mm_arena *arena, mmi_arena_block *block)
{
    block->next = arena->large;
    arena->large = block;
    arena->large_used += mmi_arena_capacity(block);
    arena->large_total += block->size;
}

static mmi_arena_block *mmi_arena_pop_large(mm_arena *arena)
{
    mmi_arena_block *block = arena->large;
    arena->large = block->next;
    arena->large_used -= mmi_arena_capacity(block);
    arena->large_total -= block->size;
    return block;
}

static void *mmi_arena_alloc_large(mm_arena *arena, size_t size, size_t alignment, size_t bytes)
{
    mmi_arena_block *block = mmi_arena_obtain(arena, NULL, bytes);
    unsigned char *ptr;
    if (block == NULL) return NULL;
    block->serial = ++arena->serial;
    mmi_arena_push_large(arena, block);
    ptr = mmi_arena_begin(block);
    ptr += mmi_arena_padding(ptr, alignment);
    MM_TRACK_UNPOISON(ptr, size);
    return ptr;
}

/* Whether what does not fit the current block gets one of its own. To go on to the next block for
   it would lose the rest of the current one; a quarter of a block is the most that may be lost. */
static bool mmi_arena_is_large(const mm_arena *arena, size_t bytes)
{
    size_t next_size = mmi_arena_next_size(arena);
    if (bytes > next_size) return true;
    return arena->current != NULL && bytes - sizeof(mmi_arena_block) > next_size / 4;
}

MM_API void *mmi_arena_alloc_slow(mm_arena *arena, size_t size, size_t alignment)
{
    void *ptr = NULL;
    size_t bytes;
    mmi_arena_own(arena);
    if (mmi_arena_bytes_for(size, alignment, &bytes)) {
        ptr = mmi_arena_bump(arena, size, alignment);
        if (ptr != NULL) return ptr;
        if (mmi_arena_is_large(arena, bytes)) {
            ptr = mmi_arena_alloc_large(arena, size, alignment, bytes);
        } else if (mmi_arena_advance(arena, bytes)) {
            ptr = mmi_arena_bump(arena, size, alignment);
            MM_ASSERT(ptr != NULL);
        }
    }
    if (ptr == NULL) arena->failures++;
    return ptr;
}

MM_API void *mm_arena_alloc_aligned(mm_arena *arena, size_t size, size_t alignment)
{
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) return NULL;
    if (alignment <= MMI_ARENA_ALIGN) return mm_arena_alloc(arena, size);
    return mmi_arena_alloc_slow(arena, size, alignment);
}

MM_API void *mm_arena_array(mm_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (mm_size_mul(count, size, &bytes)) return mm_arena_alloc(arena, bytes);
    arena->failures++;
    return NULL;
}

MM_API void *mm_arena_calloc(mm_arena *arena, size_t count, size_t size)
{
    void *ptr = mm_arena_array(arena, count, size);
    return ptr != NULL ? memset(ptr, 0, count * size) : NULL;
}

// >>copies

MM_API void *mm_arena_memdup(mm_arena *arena, const void *source, size_t size)
{
    void *copy;
    MM_ASSERT(source != NULL || size == 0);
    copy = mm_arena_alloc(arena, size);
    if (copy != NULL && size != 0) MM_MEMCPY(copy, source, size);
    return copy;
}

MM_API char *mm_arena_strdup(mm_arena *arena, const char *text)
{
    return text != NULL ? (char *)mm_arena_memdup(arena, text, strlen(text) + 1) : NULL;
}

MM_API char *mm_arena_strndup(mm_arena *arena, const char *text, size_t most)
{
    const char *nul;
    size_t length;
    char *copy;
    if (text == NULL) return NULL;
    nul = most != 0 ? (const char *)memchr(text, '\0', most) : NULL;
    length = nul != NULL ? (size_t)(nul - text) : most;
    /* SIZE_MAX bytes without a NUL cannot exist, so length + 1 does not overflow. */
    copy = (char *)mm_arena_alloc(arena, length + 1);
    if (copy == NULL) return NULL;
    MM_MEMCPY(copy, text, length);
    copy[length] = '\0';
    return copy;
}

/* The bytes of the joined string, its NUL included. */
static bool mmi_arena_joined_size(size_t separator, const char *const *parts, size_t count,
                                  size_t *size)
{
    size_t i, total;
    if (!mm_size_mul(separator, count != 0 ? count - 1 : 0, &total)) return false;
    for (i = 0; i < count; i++) {
        MM_ASSERT(parts[i] != NULL);
        if (!mm_size_add(total, strlen(parts[i]), &total)) return false;
    }
    return mm_size_add(total, 1, size);
}

static char *mmi_arena_put(char *to, const char *text, size_t length)
{
    if (length != 0) MM_MEMCPY(to, text, length);
    return to + length;
}

MM_API char *mm_arena_join(mm_arena *arena, const char *separator, const char *const *parts,
                           size_t count)
{
    size_t between = strlen(separator), size, i;
    char *text, *to;
    MM_ASSERT(parts != NULL || count == 0);
    if (!mmi_arena_joined_size(between, parts, count, &size)) {
        arena->failures++;
        return NULL;
    }
    text = to = (char *)mm_arena_alloc(arena, size);
    if (text == NULL) return NULL;
    for (i = 0; i < count; i++) {
        if (i != 0) to = mmi_arena_put(to, separator, between);
        to = mmi_arena_put(to, parts[i], strlen(parts[i]));
    }
    *to = '\0';
    return text;
}

/* The first attempt writes into the room that is left, which nearly always suffices. */
MM_API char *mm_arena_vprintf(mm_arena *arena, const char *format, va_list args)
{
    size_t room = mmi_arena_room(arena), size;
    char *text = (char *)arena->cursor;
    va_list again;
    int length;
    mmi_arena_own(arena);
    room = room > MMI_ARENA_ZONE ? room - MMI_ARENA_ZONE : 0;
    if (room > INT_MAX) room = INT_MAX; /* POSIX lets vsnprintf refuse more */
    va_copy(again, args);
    MM_TRACK_UNPOISON(text, room);
    length = vsnprintf(text, room, format, args);
    size = length < 0 ? 0 : (size_t)length + 1;
    if (size != 0 && size <= room) {
        arena->cursor += mmi_arena_round(size);
        MM_TRACK_POISON(text + size, room - size);
    } else {
        MM_TRACK_POISON(text, room);
        text = size != 0 ? (char *)mm_arena_alloc(arena, size) : NULL;
        if (text != NULL && vsnprintf(text, size, format, again) < 0) text = NULL;
    }
    va_end(again);
    return text;
}

MM_API char *mm_arena_printf(mm_arena *arena, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    text = mm_arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

// >>resize

/* Sizes come back with every pointer, so "the last in the current block" needs no field. Blocks
   start with their administration, so nothing in another block ends at the cursor. */
static bool mmi_arena_is_last(const mm_arena *arena, const void *ptr, size_t size)
{
    return (uintptr_t)ptr + mmi_arena_round(size) == (uintptr_t)arena->cursor;
}

/* Anywhere in the block: an alignment above 16 may have moved it from the start. */
static bool mmi_arena_is_newest_large(const mm_arena *arena, const void *ptr)
{
    mmi_arena_block *block = arena->large;
    if (block == NULL) return false;
    return (uintptr_t)ptr - (uintptr_t)mmi_arena_begin(block) < mmi_arena_capacity(block);
}

/* Tells the memory checkers that ptr has a new size where it lies. */
static void mmi_arena_track_resize(void *ptr, size_t old_size, size_t new_size)
{
    unsigned char *bytes = (unsigned char *)ptr;
    if (new_size > old_size) MM_TRACK_UNPOISON(bytes + old_size, new_size - old_size);
    if (new_size < old_size) MM_TRACK_POISON(bytes + new_size, old_size - new_size);
}

/* All of a block but its user's bytes: open for the allocator to copy, or out of bounds again. */
static void mmi_arena_track_open(mmi_arena_block *block, size_t offset, size_t size)
{
    MM_TRACK_UNPOISON(block + 1, offset - sizeof(*block));
    MM_TRACK_UNPOISON((unsigned char *)block + offset + size, block->size - offset - size);
}

static void mmi_arena_track_close(mmi_arena_block *block, size_t offset, size_t size)
{
    MM_TRACK_POISON(block + 1, offset - sizeof(*block));
    MM_TRACK_POISON((unsigned char *)block + offset + size, block->size - offset - size);
}

static size_t mmi_arena_offset(mmi_arena_block *block)
{
    return (size_t)(mmi_arena_begin(block) - (unsigned char *)block);
}

/* Lets the arena's allocator enlarge the newest large block, if moving the object to its start does
   not suffice. Where an allocator aligns to less than 16, the object may start at another offset of
   the moved block than of the old one. */
static void *mmi_arena_extend_large(mm_arena *arena, void *ptr, size_t old_size, size_t new_size)
{
    mmi_arena_block *old = mmi_arena_pop_large(arena), *block = NULL;
    size_t offset = (size_t)((unsigned char *)ptr - (unsigned char *)old), bytes;
    mmi_arena_track_open(old, offset, old_size);
    if (mmi_arena_bytes_for(new_size, MMI_ARENA_ALIGN, &bytes)) {
        block = bytes > old->size ? mmi_arena_obtain(arena, old, bytes) : old;
    }
    if (block == NULL) {
        mmi_arena_track_close(old, offset, old_size);
        mmi_arena_push_large(arena, old);
        arena->failures++;
        return NULL;
    }
    if (offset != mmi_arena_offset(block)) {
        memmove(mmi_arena_begin(block), (unsigned char *)block + offset, old_size);
    }
    mmi_arena_push_large(arena, block);
    mmi_arena_track_close(block, mmi_arena_offset(block), new_size);
    return mmi_arena_begin(block);
}

/* The bytes that ptr may take without moving. */
static size_t mmi_arena_reach(mm_arena *arena, void *ptr, size_t size)
{
    size_t bytes = mmi_arena_round(size);
    if (mmi_arena_is_last(arena, ptr, size)) bytes += mmi_arena_room(arena);
    else if (mmi_arena_is_newest_large(arena, ptr))
        bytes = (size_t)(mmi_arena_end(arena->large) - (unsigned char *)ptr);
    return bytes - MMI_ARENA_ZONE;
}

MM_API bool mm_arena_resize(mm_arena *arena, void *ptr, size_t old_size, size_t new_size)
{
    mmi_arena_own(arena);
    if (new_size > mmi_arena_reach(arena, ptr, old_size)) return false;
    if (mmi_arena_is_last(arena, ptr, old_size)) {
        arena->cursor = (unsigned char *)ptr + mmi_arena_round(new_size);
    }
    mmi_arena_track_resize(ptr, old_size, new_size);
    return true;
}

MM_API void *mm_arena_realloc(mm_arena *arena, void *ptr, size_t old_size, size_t new_size)
{
    void *moved;
    if (ptr == NULL) return mm_arena_alloc(arena, new_size);
    if (mm_arena_resize(arena, ptr, old_size, new_size)) return ptr;
    if (mmi_arena_is_newest_large(arena, ptr)) {
        return mmi_arena_extend_large(arena, ptr, old_size, new_size);
    }
    moved = mm_arena_alloc(arena, new_size);
    if (moved == NULL) return NULL;
    MM_MEMCPY(moved, ptr, old_size);
    mm_arena_free(arena, ptr, old_size);
    return moved;
}

MM_API void mm_arena_free(mm_arena *arena, void *ptr, size_t size)
{
    mmi_arena_own(arena);
    if (ptr == NULL) return;
    if (mmi_arena_is_newest_large(arena, ptr)) {
        mmi_arena_release(arena, mmi_arena_pop_large(arena));
        return;
    }
    if (mmi_arena_is_last(arena, ptr, size)) arena->cursor = (unsigned char *)ptr;
    MM_TRACK_POISON(ptr, size);
}

// >>allocator

static void *mmi_arena_self_alloc(size_t size, void *user_data)
{
    return mm_arena_alloc((mm_arena *)user_data, size);
}

static void *mmi_arena_self_realloc(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    return mm_arena_realloc((mm_arena *)user_data, ptr, old_size, new_size);
}

static void mmi_arena_self_free(void *ptr, size_t size, void *user_data)
{
    mm_arena_free((mm_arena *)user_data, ptr, size);
}

MM_API const mm_allocator *mm_arena_allocator(mm_arena *arena)
{
    arena->self.alloc_fn = mmi_arena_self_alloc;
    arena->self.realloc_fn = mmi_arena_self_realloc;
    arena->self.free_fn = mmi_arena_self_free;
    arena->self.user_data = arena;
    return &arena->self;
}

// >>cleanups

static void mmi_arena_link(mm_arena *arena, mm_arena_cleanup *cleanup,
                           mm_arena_cleanup_fn function, void *user_data)
{
    mmi_arena_own(arena);
    cleanup->newer = NULL;
    cleanup->older = arena->cleanups;
    cleanup->function = function;
    cleanup->user_data = user_data;
    cleanup->serial = ++arena->serial;
    if (arena->cleanups != NULL) arena->cleanups->newer = cleanup;
    arena->cleanups = cleanup;
}

static void mmi_arena_unlink(mm_arena *arena, mm_arena_cleanup *cleanup)
{
    mmi_arena_own(arena);
    MM_ASSERT(cleanup->function != NULL); /* NULL: it has run or was cancelled */
    cleanup->function = NULL;
    if (cleanup->older != NULL) cleanup->older->newer = cleanup->newer;
    if (cleanup->newer != NULL) cleanup->newer->older = cleanup->older;
    else arena->cleanups = cleanup->older;
}

/* Runs those that are newer than `serial`, including any that they register themselves. */
static void mmi_arena_clean(mm_arena *arena, uint64_t serial)
{
    while (arena->cleanups != NULL && arena->cleanups->serial > serial) {
        mm_arena_cleanup *cleanup = arena->cleanups;
        mm_arena_cleanup_fn function = cleanup->function;
        mmi_arena_unlink(arena, cleanup);
        function(cleanup->user_data);
    }
}

MM_API mm_arena_cleanup *mm_arena_cleanup_add(mm_arena *arena, mm_arena_cleanup_fn function,
                                              void *user_data)
{
    mm_arena_cleanup *cleanup = (mm_arena_cleanup *)mm_arena_alloc(arena, sizeof(*cleanup));
    if (cleanup != NULL) mmi_arena_link(arena, cleanup, function, user_data);
    return cleanup;
}

MM_API void mm_arena_cleanup_cancel(mm_arena *arena, mm_arena_cleanup *cleanup)
{
    mmi_arena_unlink(arena, cleanup);
    mm_arena_free(arena, cleanup, sizeof(*cleanup));
}

MM_API void mm_arena_cleanup_run(mm_arena *arena, mm_arena_cleanup *cleanup)
{
    mm_arena_cleanup_fn function = cleanup->function;
    void *user_data = cleanup->user_data;
    mm_arena_cleanup_cancel(arena, cleanup);
    function(user_data);
}

// >>life

/* Memory that is not the allocator's becomes the first block; too small, it is left alone. */
static void mmi_arena_use_first(mm_arena *arena, void *memory, size_t size)
{
    unsigned char *bytes = (unsigned char *)memory;
    size_t padding = mmi_arena_padding(bytes, MMI_ARENA_ALIGN);
    mmi_arena_block *block = (mmi_arena_block *)(void *)(bytes + padding);
    if (arena->limit != 0 && size > arena->limit) size = arena->limit;
    if (size < padding + mmi_arena_round(sizeof(*block)) + MMI_ARENA_ALIGN) return;
    block->next = NULL;
    block->size = size - padding;
    MM_TRACK_POISON(block + 1, block->size - sizeof(*block));
    arena->first = arena->blocks = block;
    arena->total = arena->peak = block->size;
    mmi_arena_enter(arena, block);
}

static void mmi_arena_end_child(void *user_data)
{
    mm_arena *child = (mm_arena *)user_data;
    child->parent = NULL;
    if (child->created != 0) mm_arena_destroy(child);
    else mm_arena_deinit(child);
}

static const mm_allocator *mmi_arena_source(const mm_arena_desc *desc)
{
    if (desc == NULL) return NULL;
    if (desc->allocator != NULL || desc->parent == NULL) return desc->allocator;
    return desc->parent->allocator;
}

MM_API void mm_arena_init(mm_arena *arena, const mm_arena_desc *desc)
{
    memset(arena, 0, sizeof(*arena));
    if (desc == NULL) return;
    arena->block_size = desc->block_size;
    arena->block_max = desc->block_max;
    arena->limit = desc->limit;
    arena->keep = desc->keep;
    arena->allocator = mmi_arena_source(desc);
    arena->tag = desc->tag;
    arena->parent = desc->parent;
    if (desc->first != NULL) mmi_arena_use_first(arena, desc->first, desc->first_size);
    if (arena->parent == NULL) return;
    mmi_arena_link(arena->parent, &arena->link, mmi_arena_end_child, arena);
}

MM_API void mm_arena_deinit(mm_arena *arena)
{
    mmi_arena_own(arena);
    mmi_arena_clean(arena, 0);
    if (arena->parent != NULL) mmi_arena_unlink(arena->parent, &arena->link);
    mmi_arena_release_list(arena, &arena->blocks);
    mmi_arena_release_list(arena, &arena->large);
    memset(arena, 0, sizeof(*arena));
}

MM_API mm_arena *mm_arena_create(const mm_arena_desc *desc)
{
    const mm_allocator *allocator = mmi_arena_source(desc);
    size_t first = desc != NULL && desc->first == NULL ? desc->first_size : 0, bytes;
    mm_arena *arena;
    if (!mm_size_add(sizeof(*arena), first, &bytes)) return NULL;
    arena = (mm_arena *)mmi_alloc(allocator, bytes);
    if (arena == NULL) return NULL;
    mm_arena_init(arena, desc);
    arena->created = 1;
    arena->inline_size = first;
    if (first != 0) mmi_arena_use_first(arena, arena + 1, first);
    return arena;
}

MM_API void mm_arena_destroy(mm_arena *arena)
{
    const mm_allocator *allocator;
    size_t bytes;
    if (arena == NULL) return;
    allocator = arena->allocator;
    bytes = sizeof(*arena) + arena->inline_size;
    mm_arena_deinit(arena);
    mmi_free(allocator, arena, bytes);
}

// >>reset

/* Remembers how far into the blocks this cycle has come, before it goes back. */
static void mmi_arena_note_reached(mm_arena *arena)
{
    size_t entered = arena->used_before + arena->waste;
    if (arena->current != NULL) entered += mmi_arena_capacity(arena->current);
    if (arena->reached < entered) arena->reached = entered;
}

/* How many bytes of blocks go on to the next cycle, the first of the caller's aside. Blocks that no
   cycle of a while has entered are surplus; half of them go, so that a load which comes back soon
   finds the rest. */
static size_t mmi_arena_decide_keep(mm_arena *arena)
{
    size_t keep = mmi_arena_keep(arena), held = arena->total - arena->large_total;
    size_t spare = held > arena->reached ? held - arena->reached : 0;
    if (arena->cycles == 0 || arena->idle > spare) arena->idle = spare;
    if (++arena->cycles == MMI_ARENA_CYCLES) {
        held -= arena->idle - arena->idle / 2;
        arena->cycles = 0;
    }
    arena->reached = 0;
    if (arena->first != NULL) held -= arena->first->size;
    return held < keep ? held : keep;
}

/* Out of bounds from here to the cursor. */
static void mmi_arena_hide(mm_arena *arena, mmi_arena_block *block, unsigned char *from)
{
    for (; block != arena->current; from = mmi_arena_begin(block)) {
        MM_TRACK_POISON(from, (size_t)(mmi_arena_end(block) - from));
        block = block->next;
    }
    MM_TRACK_POISON(from, (size_t)(arena->cursor - from));
}

/* Keeps a run of blocks of up to `keep` bytes. Smaller ones than usual, made near the limit, never
   stay: too much would not fit one. */
static void mmi_arena_drop(mm_arena *arena, mmi_arena_block **link, size_t keep)
{
    size_t least = mmi_arena_block_size(arena);
    while (*link != NULL) {
        mmi_arena_block *block = *link;
        if (block == arena->first || (block->size >= least && block->size <= keep)) {
            if (block != arena->first) keep -= block->size;
            link = &block->next;
        } else {
            if (block->size >= least) keep = 0;
            *link = block->next;
            mmi_arena_release(arena, block);
        }
    }
}

/* Empties all blocks and keeps some. */
static void mmi_arena_restart(mm_arena *arena, size_t keep)
{
    if (arena->blocks == NULL) return;
    mmi_arena_hide(arena, arena->blocks, mmi_arena_begin(arena->blocks));
    mmi_arena_drop(arena, &arena->blocks, keep);
    arena->used_before = arena->waste = 0;
    arena->marked = 0;
    mmi_arena_enter(arena, arena->blocks);
}

static void mmi_arena_release_large(mm_arena *arena, uint64_t serial)
{
    while (arena->large != NULL && arena->large->serial > serial) {
        mmi_arena_release(arena, mmi_arena_pop_large(arena));
    }
}

MM_API mm_arena_mark mm_arena_get_mark(mm_arena *arena)
{
    mm_arena_mark mark;
    mmi_arena_own(arena);
    mark.block = arena->current;
    mark.cursor = arena->cursor;
    mark.used_before = arena->used_before;
    mark.waste = arena->waste;
    mark.serial = arena->serial;
    if (mark.block == NULL) return mark;
    if (mark.block == arena->blocks && mark.cursor == mmi_arena_begin(mark.block)) {
        mark.block = NULL; /* an untouched head may go back to the allocator */
    } else {
        arena->marked = 1;
    }
    return mark;
}

#ifdef MM_DEBUG
static MM_UNUSED bool mmi_arena_has_mark(const mm_arena *arena, const mm_arena_mark *mark)
{
    const mmi_arena_block *block = arena->blocks;
    if (mark->block == NULL || mark->block == arena->current) return true;
    while (block != arena->current && block != mark->block) block = block->next;
    return block != arena->current;
}
#endif

/* Asserts what every reset and rewind relies on. */
static void mmi_arena_inspect(mm_arena *arena, const mm_arena_mark *mark)
{
    (void)arena, (void)mark;
    mmi_arena_own(arena);
    MM_ASSERT(mark == NULL || (mark->serial >= arena->era && mark->serial <= arena->serial));
#ifdef MM_DEBUG
    MM_ASSERT(mark == NULL || mmi_arena_has_mark(arena, mark));
    MM_ASSERT(mm_arena_check(arena));
#endif
}

/* Older memory that was freed since the mark stays free while the block is the same. */
static void mmi_arena_go_back(mm_arena *arena, const mm_arena_mark *mark)
{
    if (arena->current == mark->block && arena->cursor <= mark->cursor) return;
    mmi_arena_hide(arena, mark->block, mark->cursor);
    arena->used_before = mark->used_before;
    arena->waste = mark->waste;
    arena->current = mark->block;
    arena->cursor = mark->cursor;
    arena->end = mmi_arena_end(mark->block);
    mmi_arena_drop(arena, &mark->block->next, SIZE_MAX);
}

MM_API void mm_arena_rewind(mm_arena *arena, const mm_arena_mark *mark)
{
    mm_arena_mark place = *mark; /* which may itself lie in what goes */
    mmi_arena_inspect(arena, mark);
    mmi_arena_clean(arena, place.serial);
    mmi_arena_release_large(arena, place.serial);
    mmi_arena_note_reached(arena);
    if (place.block != NULL) mmi_arena_go_back(arena, &place);
    else mmi_arena_restart(arena, SIZE_MAX);
}

MM_API void mm_arena_reset(mm_arena *arena)
{
    mmi_arena_inspect(arena, NULL);
    mmi_arena_clean(arena, 0);
    mmi_arena_release_large(arena, 0);
    arena->era = ++arena->serial;
    mmi_arena_note_reached(arena);
    mmi_arena_restart(arena, mmi_arena_decide_keep(arena));
}

MM_API size_t mm_arena_trim(mm_arena *arena)
{
    size_t before = arena->total;
    mmi_arena_own(arena);
    mmi_arena_release_empty(arena);
    return before - arena->total;
}

// >>threads

MM_API void mm_arena_disown(mm_arena *arena)
{
    arena->owner = NULL;
}

#ifdef MM_DEBUG
#ifdef __cplusplus
#define MMI_ARENA_THREAD_LOCAL thread_local
#else
#define MMI_ARENA_THREAD_LOCAL _Thread_local
#endif

/* Each thread has an object of its own at an address of its own: an identity without a library. */
MM_API void mmi_arena_own(mm_arena *arena)
{
    static MMI_ARENA_THREAD_LOCAL char here;
    if (arena->owner == NULL) arena->owner = &here;
    MM_ASSERT(arena->owner == &here);
}
#endif

// >>stats

MM_API size_t mm_arena_used(const mm_arena *arena)
{
    size_t used = arena->used_before + arena->large_used;
    if (arena->current == NULL) return used;
    return used + (size_t)(arena->cursor - mmi_arena_begin(arena->current));
}

MM_API size_t mm_arena_total(const mm_arena *arena)
{
    return arena->total;
}

MM_API void mm_arena_get_stats(const mm_arena *arena, mm_arena_stats *stats)
{
    stats->used = mm_arena_used(arena);
    stats->total = arena->total;
    stats->peak = arena->peak;
    stats->waste = arena->waste + (arena->large_total - arena->large_used);
    stats->failures = arena->failures;
    stats->tag = arena->tag;
}

// >>check

/* Adds up a list as far as `stop`; false when it does not lead there within `bound` bytes. */
static bool mmi_arena_sum(const mmi_arena_block *block, const mmi_arena_block *stop, size_t bound,
                          size_t *sum)
{
    for (; block != stop; block = block->next) {
        if (block == NULL || block->size <= sizeof(*block)) return false;
        if (block->size > bound - *sum) return false;
        *sum += block->size;
    }
    return true;
}

static bool mmi_arena_check_current(const mm_arena *arena)
{
    mmi_arena_block *block = arena->current;
    if (block == NULL) {
        return arena->blocks == NULL && arena->cursor == NULL && arena->end == NULL;
    }
    if (arena->end != mmi_arena_end(block) || arena->cursor > arena->end) return false;
    if (arena->cursor < mmi_arena_begin(block)) return false;
    if (mmi_arena_padding(arena->cursor, MMI_ARENA_ALIGN) != 0) return false;
    while ((block = block->next) != NULL) {
        if (block->size < mmi_arena_block_size(arena)) return false;
    }
    return true;
}

/* Serials fall from the newest to the oldest, so the list has no circle. */
static bool mmi_arena_check_cleanups(const mm_arena *arena)
{
    const mm_arena_cleanup *newer = NULL, *cleanup = arena->cleanups;
    uint64_t serial = arena->serial;
    for (; cleanup != NULL; newer = cleanup, cleanup = cleanup->older) {
        if (cleanup->newer != newer || cleanup->function == NULL) return false;
        if (cleanup->serial > serial || cleanup->serial == 0) return false;
        serial = cleanup->serial - 1;
    }
    return arena->parent == NULL || arena->link.user_data == arena;
}

MM_API bool mm_arena_check(const mm_arena *arena)
{
    size_t entered = 0, large = 0, sum;
    mmi_arena_block *current = arena->current;
    if (!mmi_arena_check_cleanups(arena)) return false;
    if (arena->total > arena->peak) return false;
    if (arena->limit != 0 && arena->total > arena->limit) return false;
    if (arena->first != NULL && arena->first != arena->blocks) return false;
    if (!mmi_arena_sum(arena->large, NULL, arena->total, &large)) return false;
    if (large != arena->large_total || arena->large_used > large) return false;
    if (!mmi_arena_sum(arena->blocks, current, arena->total - large, &entered)) return false;
    sum = entered;
    if (!mmi_arena_sum(current, NULL, arena->total - large, &sum)) return false;
    if (sum + large != arena->total || !mmi_arena_check_current(arena)) return false;
    if (current != NULL) entered += current->size - mmi_arena_capacity(current);
    return arena->used_before + arena->waste == entered;
}

#ifdef __cplusplus
}
#endif
#endif /* MM_ARENA_IMPLEMENTATION */

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
