/* mm_pool.h - v0.1.0 - objects, handles, buffers, budgets - MIT or public domain */
#if defined(MM_IMPLEMENTATION) && !defined(MM_POOL_IMPLEMENTATION)
#define MM_POOL_IMPLEMENTATION
#endif
#ifndef MM_POOL_H_
#define MM_POOL_H_
/*
NEEDS
    nothing but the C library

DO THIS
    Copy this file into your project and, in exactly one C or C++ file, write
        #define MM_IMPLEMENTATION
        #include "mm_pool.h"
    Everywhere else include it without the define.

OPTIONAL DEFINES (before the first include, alike in every file)
    MM_STATIC                        all functions private to the including file
    MM_DEBUG                         pools find double and foreign puts, with a search in each
    MM_ASSERT(condition)             programmer errors; default: assert()
    MM_MALLOC, MM_REALLOC, MM_FREE   default memory; define all three or none
    MM_VALGRIND                      tell Valgrind which bytes may be used (needs its headers);
                                     AddressSanitizer is told without any define

OVERVIEW
    mm_pool     objects of one size, for one type that comes and goes. A get pops the object put
                last, a put pushes; memory is fetched a segment at a time and kept until deinit.
    mm_slab     objects behind handles. A handle is 64 bits, { generation, index + 1 }, and fits
                an event's user data; once its object is removed it is stale for ever, and a stale
                handle is always told from a live one, in release builds too. Objects never move.
    mm_tier     buffers of a few sizes (4, 16 and 64 KiB by default), a bounded number of each
                kept for the next user. Larger requests are served exactly and never kept.
                The 16 KiB class holds the payload of a TLS record; a record as it lies on the
                wire has up to 18437 bytes: give it a class of its own if you pool those.
    mm_budget   a tree of accounts (process > worker > connection) that counts bytes and refuses
                to go over its limits; mm_budget_percent says how near they are.

    Each takes an mm_allocator in its desc, and pool, tier and budget are one in turn, so they
    stack: a slab or a tier that is given mm_budget_allocator() is charged for all that it holds.
    In every desc, zero means the default. A pool, slab, tier or budget of all zero bytes is safe
    to pass to any function: pool and slab refuse, the tier passes all on to malloc, the budget
    counts without limit (but its allocator is then malloc itself, uncounted).

EXAMPLE
    ---8<---
    #define MM_IMPLEMENTATION
    #include "mm_pool.h"
    int main(void)
    {
        mm_budget budget;
        mm_slab slab;
        void *connection;
        mm_budget_init(&budget, &(mm_budget_desc){.name = "worker", .limit = 1 << 20});
        mm_slab_desc desc = {.size = 128, .allocator = mm_budget_allocator(&budget)};
        if (mm_slab_init(&slab, &desc) != MM_STATUS_OK) return 1;
        mm_handle handle = mm_slab_insert(&slab, &connection); // for the event's user data
        if (mm_slab_remove(&slab, handle) != MM_STATUS_OK) return 1;
        if (mm_slab_get(&slab, handle) != NULL) return 1; // an event that came too late
        return mm_slab_deinit(&slab), mm_budget_deinit(&budget) != 0;
    }
    --->8---

COMPLEXITY AND STABILITY
    Pool and slab: get, put, insert, remove, lookup O(1), plus one allocation of a segment when
    none is free. mm_slab_next: O(slots passed). Tier: O(classes), at most 8. Budget: O(depth).
    The check functions are O(size), or worse: for tests. Objects keep their address until they
    are put or removed. A slab costs 8 bytes per slot beyond the object. Segments are returned
    only by deinit. The structs themselves must not move once their allocator has been handed out;
    a budget must not move at all.

THREADS
    A pool, slab or tier belongs to one thread. Budgets are thread-safe, init and deinit aside:
    charges are exact, no two threads can together pass a limit. While one thread's charge is
    being refused by an ancestor, a charge of another on the same budget can be refused as well.

MEMORY
    Free objects and cached buffers are poisoned: ASan, and Valgrind with MM_VALGRIND, report an
    access after the put, to the byte where the tool can. A block belongs to whoever got it until
    it is given back to the place it came from. deinit frees every segment and cached buffer, and
    returns how much was still out; buffers of a tier that are out are then nobody's.

ERRORS
    Memory refused: NULL, the handle 0, or a status; everything stays as it was, and a counter of
    failures tells. A wrong desc: MM_STATUS_INVALID, or TOO_LARGE where sizes overflow; the object
    is then all zero. Misuse of pool, tier and budget is MM_ASSERT; stale handles are no misuse,
    they are looked up in vain.

LICENSE
    MIT or public domain, as you like: see the end of this file.
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

/* Makes the link inside a free object readable: like MM_TRACK_UNPOISON, but the bytes have a value,
   which only Valgrind distinguishes. */
#ifdef VALGRIND_MAKE_MEM_DEFINED
#define MMI_POOL_REVEAL(ptr, size) (void)VALGRIND_MAKE_MEM_DEFINED(ptr, size)
#else
#define MMI_POOL_REVEAL(ptr, size) MM_TRACK_UNPOISON(ptr, size)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a pool, a slab or one class of a tier holds. live + cached objects take up bytes. */
typedef struct mm_pool_stats {
    size_t size;     /* bytes of one object; 0 for what a tier serves directly */
    size_t live;     /* objects out with users */
    size_t cached;   /* objects held and ready for the next get */
    size_t peak;     /* most that were live at a time */
    size_t failures; /* requests refused */
    size_t bytes;    /* bytes held from the allocator, live, cached and overhead */
} mm_pool_stats;

/* ---- objects of one size ---- */

typedef struct mm_pool_desc {
    size_t size;                   /* bytes of an object; at least 1 */
    size_t alignment;              /* power of two; 0: as malloc, two pointers' size */
    size_t segment_objects;        /* objects fetched at a time, 8 at least; 0: 16 KiB of them */
    const mm_allocator *allocator; /* where segments come from; NULL: MM_MALLOC */
} mm_pool_desc;

typedef struct mm_pool {
    void *free_list;        /* the object put last; a free object begins with the next's address */
    size_t live;            /* objects out */
    size_t peak;            /* most that were out at a time */
    size_t size;            /* bytes of an object that are the user's */
    size_t stride;          /* bytes from one object to the next; a multiple of alignment */
    size_t alignment;       /* power of two, at least a pointer's size */
    size_t segment_objects; /* objects in each segment */
    size_t segment_bytes;   /* size of each segment's block; 0: not initialised, get fails */
    size_t segment_count;   /* segments held */
    struct mmi_pool_segment *segments; /* all of them; the newest first */
    unsigned char *fresh;              /* next object of the newest segment that was never out */
    size_t fresh_count;                /* how many such there are */
    size_t failures;                   /* gets refused */
    const mm_allocator *allocator;     /* as in the desc */
    mm_allocator as_allocator;         /* what mm_pool_allocator returns */
} mm_pool;

/* Makes an empty pool; allocates nothing. INVALID: size 0, or an alignment that is not a power of
   two. TOO_LARGE: a segment would not fit in the address space. Then the pool is all zero. */
MM_API MM_NODISCARD mm_status mm_pool_init(mm_pool *pool, const mm_pool_desc *desc) MM_NONNULL_ALL;

/* Frees all segments, and so all objects, and returns how many were still out: 0 unless the caller
   leaked or meant to drop them together. The pool is then all zero. */
MM_API size_t mm_pool_deinit(mm_pool *pool) MM_NONNULL_ALL;

/* An object of indeterminate content, valid until it is put; NULL when memory is refused. */
MM_NODISCARD MM_INLINE void *mm_pool_get(mm_pool *pool) MM_NONNULL_ALL;

/* Gives back an object that this pool handed out; it is the next that get returns. */
MM_INLINE void mm_pool_put(mm_pool *pool, void *object) MM_NONNULL_ALL;

MM_API void mm_pool_get_stats(const mm_pool *pool, mm_pool_stats *stats) MM_NONNULL_ALL;

/* Whether the pool is in order: every free object is its own and there once, the counts add up. */
MM_API bool mm_pool_check(const mm_pool *pool) MM_NONNULL_ALL;

/* The pool as an allocator: any request up to the object size gets an object, a larger one NULL.
   Blocks are aligned as the pool's objects, so leave the desc's alignment 0 for a pool used in
   this way. Valid as long as the pool is, and does not move. */
MM_API const mm_allocator *mm_pool_allocator(mm_pool *pool) MM_NONNULL_ALL;

/* ---- objects behind handles ---- */

/* generation << 32 | index + 1. The generation begins at 1, so 0 and all other values below 2^32
   are never handles: free for other marks in the same event data. */
typedef uint64_t mm_handle;

typedef struct mm_slab_desc {
    size_t size;                   /* bytes of an object; at least 1 */
    size_t alignment;              /* power of two; 0: as malloc, two pointers' size */
    uint32_t capacity;             /* most objects live at a time; 0: 2^32 - 1 */
    uint32_t segment_objects;      /* objects fetched at a time, rounded up to a power of two, 8 at
                                      least; 0: 16 KiB of them, no more than the capacity needs */
    const mm_allocator *allocator; /* where segments come from; NULL: MM_MALLOC */
} mm_slab_desc;

/* A slot is one word. Live: the handle of its object. Free: generation of its next handle << 32 |
   index + 1 of the next free slot, or 0. As no free slot is followed by itself, a slot equals a
   handle with its own index only while that handle is live: one comparison tells all. */
typedef struct mmi_slab_segment {
    uint64_t *slots;        /* the block: one slot per object, then the objects */
    unsigned char *objects; /* the first object, aligned */
} mmi_slab_segment;

typedef struct mm_slab {
    mmi_slab_segment *segments;    /* directory; it may move, the segments never do */
    size_t stride;                 /* bytes from one object to the next */
    uint32_t shift;                /* a segment has 1 << shift objects */
    uint32_t used;                 /* slots that were ever live: their indices are below this */
    uint32_t free_slot;            /* index + 1 of the slot freed last; 0: none */
    uint32_t count;                /* objects live */
    uint32_t peak;                 /* most that were live at a time */
    uint32_t retired;              /* slots out of generations, never used again */
    uint32_t capacity;             /* most that may be live; 0: not initialised, insert fails */
    uint32_t segment_count;        /* segments held */
    uint32_t segment_room;         /* entries that the directory has room for */
    size_t segment_bytes;          /* size of each segment's block */
    size_t size;                   /* bytes of an object that are the user's */
    size_t alignment;              /* power of two, at least a pointer's size */
    size_t failures;               /* inserts refused */
    const mm_allocator *allocator; /* as in the desc */
} mm_slab;

/* Makes an empty slab; allocates nothing. INVALID: size 0, or an alignment that is not a power of
   two. TOO_LARGE: a segment would not fit in the address space, or more than 2^31 objects in one.
   Then the slab is all zero. */
MM_API MM_NODISCARD mm_status mm_slab_init(mm_slab *slab, const mm_slab_desc *desc) MM_NONNULL_ALL;

/* Frees everything, live objects included. The slab is then all zero. */
MM_API void mm_slab_deinit(mm_slab *slab) MM_NONNULL_ALL;

/* A new object, zeroed, in *object, and its handle; 0 and NULL when the slab is full or memory is
   refused. The object stays where it is until it is removed. */
MM_API MM_NODISCARD mm_handle mm_slab_insert(mm_slab *slab, void **object) MM_NONNULL_ALL;

/* The object of a handle; NULL when it was removed, or the handle is not one of this slab's live
   ones. A handle of another slab can be mistaken for a live one only if index and generation
   agree by chance. */
MM_INLINE void *mm_slab_get(const mm_slab *slab, mm_handle handle) MM_NONNULL_ALL;

/* Removes the object; its handle is stale from now on. NOT_FOUND when it was stale already: a
   second remove is harmless. */
MM_API mm_status mm_slab_remove(mm_slab *slab, mm_handle handle) MM_NONNULL_ALL;

/* The live handle that follows this one in the order of the slots; 0 after the last. Begin with 0.
   Any object may be removed on the way, the current one too; one that is inserted on the way may or
   may not be met:  for (h = mm_slab_next(slab, 0); h != 0; h = mm_slab_next(slab, h)) ...  */
MM_API mm_handle mm_slab_next(const mm_slab *slab, mm_handle handle) MM_NONNULL_ALL;

/* The number of live objects. */
MM_INLINE uint32_t mm_slab_count(const mm_slab *slab) MM_NONNULL_ALL;

MM_API void mm_slab_get_stats(const mm_slab *slab, mm_pool_stats *stats) MM_NONNULL_ALL;

/* Whether every slot is live, free and linked once, or retired, and the counts add up. */
MM_API bool mm_slab_check(const mm_slab *slab) MM_NONNULL_ALL;

/* ---- buffers of a few sizes ---- */

#define MM_TIER_CLASSES_MAX 8        /* size classes at most */
#define MM_TIER_KEEP_NONE UINT32_MAX /* for class_keep: this class caches nothing */

typedef struct mm_tier_desc {
    size_t class_size[MM_TIER_CLASSES_MAX];   /* bytes, ascending, then 0; each at least a pointer's
                                                 size; all 0: 4096, 16384, 65536 */
    uint32_t class_keep[MM_TIER_CLASSES_MAX]; /* most buffers cached; 0: 1 MiB of them, or 1 */
    const mm_allocator *allocator;            /* where buffers come from; NULL: MM_MALLOC */
    bool wipe;                                /* put zeroes the dirty bytes, for privacy */
} mm_tier_desc;

typedef struct mmi_tier_class {
    void *free_list; /* cached buffers, the one put last first, each beginning with a link */
    size_t size;     /* bytes of a buffer; 0 in the row of those served directly */
    uint32_t keep;   /* most buffers cached */
    uint32_t cached; /* buffers cached now */
    size_t live;     /* buffers out */
    size_t peak;     /* most that were out at a time */
    size_t failures; /* requests refused */
} mmi_tier_class;

typedef struct mm_tier {
    mmi_tier_class classes[MM_TIER_CLASSES_MAX + 1]; /* after the last class: served directly */
    size_t class_count;                              /* classes in use, without that row */
    size_t direct_bytes;                             /* bytes out that were served directly */
    const mm_allocator *allocator;                   /* as in the desc */
    mm_allocator as_allocator;                       /* what mm_tier_allocator returns */
    bool wipe;                                       /* as in the desc */
} mm_tier;

/* Makes an empty tier; allocates nothing. INVALID: class sizes that do not ascend, have a gap, or
   are too small for a pointer. Then the tier is all zero. */
MM_API MM_NODISCARD mm_status mm_tier_init(mm_tier *tier, const mm_tier_desc *desc) MM_NONNULL_ALL;

/* Frees what is cached and returns how many buffers are still out. Those can no longer be put: give
   them back before. The tier is then all zero. */
MM_API size_t mm_tier_deinit(mm_tier *tier) MM_NONNULL_ALL;

/* A buffer of at least min_size bytes, its true capacity in *size: the smallest class that fits, or
   exactly min_size above the largest class. The content is indeterminate. When memory is refused
   everything cached is freed and the request tried once more; then NULL and 0. */
MM_API MM_NODISCARD void *mm_tier_get(mm_tier *tier, size_t min_size, size_t *size) MM_NONNULL_ALL;

/* Gives a buffer back with the size that get gave. dirty: how many bytes, from its start, may have
   been written; they are zeroed if the desc says wipe. More than size counts as size. */
MM_API void mm_tier_put(mm_tier *tier, void *ptr, size_t size, size_t dirty) MM_NONNULL_ALL;

/* Shrinks what each class has cached to percent of what it is now, rounded down: 0 frees all. Those
   unused for longest go first. */
MM_API void mm_tier_trim(mm_tier *tier, unsigned percent) MM_NONNULL_ALL;

/* The number of size classes. */
MM_INLINE size_t mm_tier_class_count(const mm_tier *tier) MM_NONNULL_ALL;

/* The figures of one class; index mm_tier_class_count() is all that was served directly. */
MM_API void mm_tier_get_stats(const mm_tier *tier, size_t index, mm_pool_stats *stats)
    MM_NONNULL_ALL;

/* Whether lists and counts agree and no class holds more than it may keep. */
MM_API bool mm_tier_check(const mm_tier *tier) MM_NONNULL_ALL;

/* The tier as an allocator. A size that fills at least half of the smallest class that holds it
   gets a buffer of that class (by default 2-4, 8-16, 32-64 KiB); others go to the tier's allocator.
   Blocks have no header: the size given on free tells. With wipe, all of a freed block is zeroed.
   Valid as long as the tier is, and does not move. Not to be mixed with mm_tier_get and put. */
MM_API const mm_allocator *mm_tier_allocator(mm_tier *tier) MM_NONNULL_ALL;

/* ---- budgets ---- */

typedef struct mm_budget mm_budget;

typedef struct mm_budget_desc {
    const char *name;              /* for reports; not copied; may be NULL */
    size_t limit;                  /* most bytes charged at a time; 0: unlimited */
    mm_budget *parent;             /* charged as well; must outlive this one; NULL: a root */
    const mm_allocator *allocator; /* where memory really comes from; NULL: as the parent, or
                                      MM_MALLOC; never a budget above: it would be charged twice */
} mm_budget_desc;

typedef struct mm_budget_stats {
    size_t live;     /* bytes charged, those of budgets below included */
    size_t peak;     /* most that were charged at a time */
    size_t failures; /* charges refused here, or memory that could not be had */
    size_t limit;    /* as set; 0: unlimited */
} mm_budget_stats;

struct mm_budget {
    size_t live;                   /* atomic: bytes charged */
    size_t limit;                  /* atomic: 0 is unlimited */
    size_t peak;                   /* atomic: most that live was after a charge */
    size_t failures;               /* atomic: see mm_budget_stats */
    mm_budget *parent;             /* fixed by init, as the rest */
    const char *name;              /* as in the desc */
    const mm_allocator *allocator; /* where memory comes from, the parent's inherited */
    mm_allocator as_allocator;     /* what mm_budget_allocator returns */
};

/* Makes a budget with nothing charged. It must not move afterwards. */
MM_API void mm_budget_init(mm_budget *budget, const mm_budget_desc *desc) MM_NONNULL_ALL;

/* Returns the bytes still charged. They stay charged on the budgets above, as what they stand for
   is still out. No thread may use the budget any more, nor any budget below it. */
MM_API size_t mm_budget_deinit(mm_budget *budget) MM_NONNULL_ALL;

/* Charges the budget and all above it, or none: LIMIT when one of them would go over its limit,
   TOO_LARGE when a count would overflow. A charge of 0 is always granted. */
MM_API MM_NODISCARD mm_status mm_budget_charge(mm_budget *budget, size_t size) MM_NONNULL_ALL;

/* Takes back what was charged, in any portions. */
MM_API void mm_budget_release(mm_budget *budget, size_t size) MM_NONNULL_ALL;

/* A new limit, 0 for none. Below what is charged, all charges fail until enough is released. */
MM_API void mm_budget_set_limit(mm_budget *budget, size_t limit) MM_NONNULL_ALL;

MM_INLINE size_t mm_budget_live(const mm_budget *budget) MM_NONNULL_ALL;
MM_INLINE size_t mm_budget_peak(const mm_budget *budget) MM_NONNULL_ALL;
MM_INLINE size_t mm_budget_limit(const mm_budget *budget) MM_NONNULL_ALL;

/* live in percent of the limit, rounded down; 0 when unlimited. Above 100 after the limit was set
   below what is charged. */
MM_API unsigned mm_budget_percent(const mm_budget *budget) MM_NONNULL_ALL;

/* Each figure is exact; several threads may change one between the reading of two. */
MM_API void mm_budget_get_stats(const mm_budget *budget, mm_budget_stats *stats) MM_NONNULL_ALL;

/* An allocator that charges what it hands out and refuses what would go over. Thread-safe if the
   allocator below it is. Valid until deinit. */
MM_API const mm_allocator *mm_budget_allocator(mm_budget *budget) MM_NONNULL_ALL;

/* ---- inline ---- */

MM_API void *mmi_pool_get_slow(mm_pool *pool) MM_COLD MM_NONNULL_ALL;
#ifdef MM_DEBUG
MM_API bool mmi_pool_mark(mm_pool *pool, const void *object, bool out) MM_NONNULL_ALL;
#endif

/* A free object begins with a link to the next. Copied, not cast: users' types lie there too. */
MM_INLINE void *mmi_pool_link(void *object)
{
    void *next;
    MMI_POOL_REVEAL(object, sizeof(next));
    MM_MEMCPY(&next, object, sizeof(next));
    return next;
}

/* Makes size bytes at object a free object. */
MM_INLINE void mmi_pool_set_link(void *object, void *next, size_t size)
{
    MMI_POOL_REVEAL(object, sizeof(next));
    MM_MEMCPY(object, &next, sizeof(next));
    MM_TRACK_POISON(object, size);
}

MM_INLINE void *mm_pool_get(mm_pool *pool)
{
    void *object = pool->free_list;
    if (MM_UNLIKELY(object == NULL)) return mmi_pool_get_slow(pool);
    pool->free_list = mmi_pool_link(object);
    if (++pool->live > pool->peak) pool->peak = pool->live;
    MM_TRACK_POISON(object, pool->stride); /* the link can be longer than the object */
    MM_TRACK_UNPOISON(object, pool->size);
#ifdef MM_DEBUG
    (void)mmi_pool_mark(pool, object, true);
#endif
    return object;
}

MM_INLINE void mm_pool_put(mm_pool *pool, void *object)
{
#ifdef MM_DEBUG
    if (!mmi_pool_mark(pool, object, false)) return;
#endif
    mmi_pool_set_link(object, pool->free_list, pool->stride);
    pool->free_list = object;
    pool->live--;
}

MM_INLINE void *mm_slab_get(const mm_slab *slab, mm_handle handle)
{
    uint32_t index = (uint32_t)handle - 1; /* 0 becomes the largest, which is never used */
    uint32_t place = index & ((1u << slab->shift) - 1);
    const mmi_slab_segment *segment;
    if (index >= slab->used) return NULL;
    segment = &slab->segments[index >> slab->shift];
    return segment->slots[place] == handle ? segment->objects + place * slab->stride : NULL;
}

MM_INLINE uint32_t mm_slab_count(const mm_slab *slab)
{
    return slab->count;
}

MM_INLINE size_t mm_tier_class_count(const mm_tier *tier)
{
    return tier->class_count;
}

MM_INLINE size_t mm_budget_live(const mm_budget *budget)
{
    return mmi_atomic_load(&budget->live);
}

MM_INLINE size_t mm_budget_peak(const mm_budget *budget)
{
    return mmi_atomic_load(&budget->peak);
}

MM_INLINE size_t mm_budget_limit(const mm_budget *budget)
{
    return mmi_atomic_load(&budget->limit);
}

#ifdef __cplusplus
}
#endif
#endif /* MM_POOL_H_ */

#if defined(MM_POOL_IMPLEMENTATION) && !defined(MMI_POOL_IMPLEMENTED)
#define MMI_POOL_IMPLEMENTED
#ifdef MMI_LIBC_ASSERT
#include <assert.h> /* MM_ASSERT */
#endif
#ifdef MMI_LIBC_MALLOC
#include <stdlib.h> /* MM_MALLOC, MM_REALLOC, MM_FREE */
#endif
#include <string.h> /* memset */

#ifdef __cplusplus
extern "C" {
#endif

// >>layout: what pool and slab share

#define MMI_POOL_ALIGN (2 * sizeof(void *)) /* what malloc and every mm_allocator gives */
#define MMI_POOL_OBJECTS_MIN 8u             /* objects in the smallest segment */
#define MMI_POOL_SEGMENT 16384u             /* bytes of a default segment */
#define MMI_POOL_BATCH 4096u                /* bytes of fresh objects that are linked at a time */

/* The alignment and distance of objects, 0 made the default; a free object must hold a pointer. */
static mm_status mmi_pool_layout(size_t size, size_t *alignment, size_t *stride)
{
    size_t align = *alignment == 0 ? MMI_POOL_ALIGN : *alignment;
    if (size == 0 || (align & (align - 1)) != 0) return MM_STATUS_INVALID;
    if (align < sizeof(void *)) align = sizeof(void *);
    if (!mm_size_add(size, align - 1, stride)) return MM_STATUS_TOO_LARGE;
    *stride &= ~(align - 1);
    *alignment = align;
    return MM_STATUS_OK;
}

/* What may be lost in front of the first object of a block. */
static size_t mmi_pool_slack(size_t alignment)
{
    return alignment > MMI_POOL_ALIGN ? alignment - MMI_POOL_ALIGN : 0;
}

static unsigned char *mmi_pool_align(unsigned char *ptr, size_t alignment)
{
    return ptr + (((size_t)0 - (uintptr_t)ptr) & (alignment - 1));
}

/* The size of a block of count objects behind head bytes; false when it overflows. */
static bool mmi_pool_block_size(size_t head, size_t alignment, size_t stride, size_t count,
                                size_t *bytes)
{
    size_t objects;
    return mm_size_mul(count, stride, &objects) &&
           mm_size_add(objects, mmi_pool_slack(alignment), &objects) &&
           mm_size_add(objects, head, bytes);
}

/* The next of a free object of size bytes, which stays free. */
static void *mmi_pool_peek(void *object, size_t size)
{
    void *next = mmi_pool_link(object);
    MM_TRACK_POISON(object, size);
    return next;
}

// >>pool: objects of one size

/* Its size is a multiple of MMI_POOL_ALIGN, so that no slack is needed for the default. */
typedef struct mmi_pool_segment {
    struct mmi_pool_segment *next; /* the one fetched before */
    unsigned char *objects;        /* the first object */
} mmi_pool_segment;

/* With MM_DEBUG a segment ends with one bit per object: set while it is out. */
#ifdef MM_DEBUG
#define MMI_POOL_MARKS(objects) ((objects) / 8 + 1)
#else
#define MMI_POOL_MARKS(objects) 0u
#endif

static size_t mmi_pool_default_objects(size_t alignment, size_t stride)
{
    size_t head = sizeof(mmi_pool_segment) + mmi_pool_slack(alignment);
    return head < MMI_POOL_SEGMENT ? (MMI_POOL_SEGMENT - head) / stride : 0;
}

MM_API mm_status mm_pool_init(mm_pool *pool, const mm_pool_desc *desc)
{
    size_t alignment = desc->alignment, objects = desc->segment_objects, stride, bytes;
    mm_status status = mmi_pool_layout(desc->size, &alignment, &stride);
    memset(pool, 0, sizeof(*pool));
    if (status != MM_STATUS_OK) return status;
    if (objects == 0) objects = mmi_pool_default_objects(alignment, stride);
    if (objects < MMI_POOL_OBJECTS_MIN) objects = MMI_POOL_OBJECTS_MIN;
    if (!mmi_pool_block_size(sizeof(mmi_pool_segment) + MMI_POOL_MARKS(objects), alignment, stride,
                             objects, &bytes)) {
        return MM_STATUS_TOO_LARGE;
    }
    pool->size = desc->size;
    pool->stride = stride;
    pool->alignment = alignment;
    pool->segment_objects = objects;
    pool->segment_bytes = bytes;
    pool->allocator = desc->allocator;
    return MM_STATUS_OK;
}

MM_API size_t mm_pool_deinit(mm_pool *pool)
{
    size_t live = pool->live;
    mmi_pool_segment *segment = pool->segments;
    while (segment != NULL) {
        mmi_pool_segment *next = segment->next;
        MM_TRACK_UNPOISON(segment, pool->segment_bytes);
        mmi_free(pool->allocator, segment, pool->segment_bytes);
        segment = next;
    }
    memset(pool, 0, sizeof(*pool));
    return live;
}

static bool mmi_pool_add_segment(mm_pool *pool)
{
    void *block;
    mmi_pool_segment *segment;
    if (pool->segment_bytes == 0) return false;
    block = mmi_alloc(pool->allocator, pool->segment_bytes);
    if (block == NULL) return false;
    segment = (mmi_pool_segment *)block;
    segment->next = pool->segments;
    segment->objects = mmi_pool_align((unsigned char *)(segment + 1), pool->alignment);
#ifdef MM_DEBUG
    memset(segment->objects + pool->segment_objects * pool->stride, 0,
           MMI_POOL_MARKS(pool->segment_objects));
#endif
    MM_TRACK_POISON(segment->objects, pool->segment_objects * pool->stride);
    pool->segments = segment;
    pool->segment_count++;
    pool->fresh = segment->objects;
    pool->fresh_count = pool->segment_objects;
    return true;
}

/* Once per segment, and once per 4 KiB of it: memory is not touched long before it is needed. */
MM_API void *mmi_pool_get_slow(mm_pool *pool)
{
    size_t batch, i;
    MM_ASSERT(pool->free_list == NULL);
    if (pool->fresh_count == 0 && !mmi_pool_add_segment(pool)) {
        pool->failures++;
        return NULL;
    }
    batch = MMI_POOL_BATCH / pool->stride;
    if (batch == 0) batch = 1;
    if (batch > pool->fresh_count) batch = pool->fresh_count;
    for (i = batch; i-- > 0;) { /* downwards, so that gets walk upwards */
        void *object = pool->fresh + i * pool->stride;
        mmi_pool_set_link(object, pool->free_list, pool->stride);
        pool->free_list = object;
    }
    pool->fresh += batch * pool->stride;
    pool->fresh_count -= batch;
    return mm_pool_get(pool);
}

/* The segment in which this is the address of an object, and which; NULL: not one of ours. */
static mmi_pool_segment *mmi_pool_find(const mm_pool *pool, const void *object, size_t *index)
{
    mmi_pool_segment *segment;
    for (segment = pool->segments; segment != NULL; segment = segment->next) {
        uintptr_t offset = (uintptr_t)object - (uintptr_t)segment->objects;
        if (offset >= pool->segment_objects * pool->stride) continue;
        *index = offset / pool->stride;
        return offset % pool->stride == 0 ? segment : NULL;
    }
    return NULL;
}

#ifdef MM_DEBUG
/* Notes that the object goes out or comes back; false when it is not ours or was there already. */
MM_API bool mmi_pool_mark(mm_pool *pool, const void *object, bool out)
{
    size_t index = 0;
    mmi_pool_segment *segment = mmi_pool_find(pool, object, &index);
    unsigned char *marks, bit = (unsigned char)(1u << (index % 8));
    bool was_out;
    MM_ASSERT(segment != NULL); /* put to the wrong pool, or not an object of any */
    if (segment == NULL) return false;
    marks = segment->objects + pool->segment_objects * pool->stride + index / 8;
    was_out = (*marks & bit) != 0;
    MM_ASSERT(was_out != out); /* put twice, or written to after the put */
    if (was_out == out) return false;
    *marks ^= bit;
    return true;
}
#endif

MM_API void mm_pool_get_stats(const mm_pool *pool, mm_pool_stats *stats)
{
    stats->size = pool->size;
    stats->live = pool->live;
    stats->cached = pool->segment_count * pool->segment_objects - pool->live;
    stats->peak = pool->peak;
    stats->failures = pool->failures;
    stats->bytes = pool->segment_count * pool->segment_bytes;
}

/* Whether a link leads to an object that can be free: ours, and not among those never out. */
static bool mmi_pool_check_link(const mm_pool *pool, const void *object)
{
    size_t index;
    uintptr_t fresh = (uintptr_t)object - (uintptr_t)pool->fresh;
    return mmi_pool_find(pool, object, &index) != NULL && fresh >= pool->fresh_count * pool->stride;
}

MM_API bool mm_pool_check(const mm_pool *pool)
{
    size_t segments = 0, free_count = 0, seen = 0;
    const mmi_pool_segment *segment;
    void *object, *next;
    for (segment = pool->segments; segment != NULL; segment = segment->next) {
        if (segments++ == pool->segment_count) return false;
    }
    free_count = segments * pool->segment_objects - pool->fresh_count;
    if (segments != pool->segment_count || pool->live > free_count) return false;
    if (pool->peak < pool->live) return false;
    free_count -= pool->live;
    for (object = pool->free_list; object != NULL; object = next) {
        if (seen++ == free_count || !mmi_pool_check_link(pool, object)) return false;
        next = mmi_pool_peek(object, pool->stride);
    }
    return seen == free_count;
}

static void *mmi_pool_alloc_fn(size_t size, void *user_data)
{
    mm_pool *pool = (mm_pool *)user_data;
    if (size <= pool->size) return mm_pool_get(pool);
    pool->failures++;
    return NULL;
}

static void *mmi_pool_realloc_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    mm_pool *pool = (mm_pool *)user_data;
    (void)old_size;
    if (ptr == NULL) return mmi_pool_alloc_fn(new_size, pool);
    if (new_size <= pool->size) return ptr;
    pool->failures++;
    return NULL;
}

static void mmi_pool_free_fn(void *ptr, size_t size, void *user_data)
{
    mm_pool *pool = (mm_pool *)user_data;
    MM_ASSERT(size <= pool->size);
    (void)size;
    mm_pool_put(pool, ptr);
}

MM_API const mm_allocator *mm_pool_allocator(mm_pool *pool)
{
    pool->as_allocator.alloc_fn = mmi_pool_alloc_fn;
    pool->as_allocator.realloc_fn = mmi_pool_realloc_fn;
    pool->as_allocator.free_fn = mmi_pool_free_fn;
    pool->as_allocator.user_data = pool;
    return &pool->as_allocator;
}

// >>slab: objects behind handles

/* The default is the largest power of two that fits in a segment, and not more than the capacity
   needs. */
static uint32_t mmi_slab_shift(const mm_slab_desc *desc, size_t stride)
{
    uint32_t shift = 3; /* MMI_POOL_OBJECTS_MIN */
    if (desc->segment_objects != 0) {
        while (((size_t)1 << shift) < desc->segment_objects) shift++;
        return shift;
    }
    while ((MMI_POOL_SEGMENT >> (shift + 1)) >= stride + sizeof(uint64_t)) {
        if (desc->capacity != 0 && ((size_t)1 << shift) >= desc->capacity) break;
        shift++;
    }
    return shift;
}

MM_API mm_status mm_slab_init(mm_slab *slab, const mm_slab_desc *desc)
{
    size_t alignment = desc->alignment, stride, objects, bytes;
    uint32_t shift;
    mm_status status = mmi_pool_layout(desc->size, &alignment, &stride);
    memset(slab, 0, sizeof(*slab));
    if (status != MM_STATUS_OK) return status;
    if (desc->segment_objects > (uint32_t)1 << 31) return MM_STATUS_TOO_LARGE;
    shift = mmi_slab_shift(desc, stride);
    objects = (size_t)1 << shift;
    if (!mm_size_mul(objects, sizeof(uint64_t), &bytes) ||
        !mmi_pool_block_size(bytes, alignment, stride, objects, &bytes)) {
        return MM_STATUS_TOO_LARGE;
    }
    slab->stride = stride;
    slab->shift = shift;
    slab->capacity = desc->capacity == 0 ? UINT32_MAX : desc->capacity;
    slab->segment_bytes = bytes;
    slab->size = desc->size;
    slab->alignment = alignment;
    slab->allocator = desc->allocator;
    return MM_STATUS_OK;
}

MM_API void mm_slab_deinit(mm_slab *slab)
{
    uint32_t i;
    for (i = 0; i < slab->segment_count; i++) {
        MM_TRACK_UNPOISON(slab->segments[i].slots, slab->segment_bytes);
        mmi_free(slab->allocator, slab->segments[i].slots, slab->segment_bytes);
    }
    if (slab->segments != NULL) {
        mmi_free(slab->allocator, slab->segments, slab->segment_room * sizeof(*slab->segments));
    }
    memset(slab, 0, sizeof(*slab));
}

/* Room in the directory for one segment more. */
static bool mmi_slab_widen(mm_slab *slab)
{
    size_t room = slab->segment_room == 0 ? 8 : (size_t)slab->segment_room * 2;
    size_t old_bytes = slab->segment_room * sizeof(mmi_slab_segment), bytes;
    void *moved;
    if (slab->segment_count < slab->segment_room) return true;
    if (!mm_size_mul(room, sizeof(mmi_slab_segment), &bytes)) return false;
    moved = mmi_realloc(slab->allocator, slab->segments, old_bytes, bytes);
    if (moved == NULL) return false;
    slab->segments = (mmi_slab_segment *)moved;
    slab->segment_room = (uint32_t)room;
    return true;
}

/* A directory that was widened in vain stays so: the next insert finds the room. */
static bool mmi_slab_add_segment(mm_slab *slab)
{
    void *block;
    mmi_slab_segment *segment;
    size_t objects = (size_t)1 << slab->shift;
    if (!mmi_slab_widen(slab)) return false;
    block = mmi_alloc(slab->allocator, slab->segment_bytes);
    if (block == NULL) return false;
    segment = &slab->segments[slab->segment_count++];
    segment->slots = (uint64_t *)block;
    segment->objects = mmi_pool_align((unsigned char *)(segment->slots + objects), slab->alignment);
    MM_TRACK_POISON(segment->objects, objects * slab->stride);
    return true;
}

static uint64_t *mmi_slab_slot(const mm_slab *slab, uint32_t index)
{
    return &slab->segments[index >> slab->shift].slots[index & ((1u << slab->shift) - 1)];
}

/* Takes a slot off the free list, or one never used; false when memory is refused. *handle is what
   the slot will hold. */
static bool mmi_slab_take(mm_slab *slab, mm_handle *handle)
{
    uint32_t index = slab->used;
    if (slab->free_slot != 0) {
        uint64_t slot = *mmi_slab_slot(slab, slab->free_slot - 1);
        *handle = (slot & ~(uint64_t)UINT32_MAX) | slab->free_slot;
        slab->free_slot = (uint32_t)slot;
        return true;
    }
    if (index == UINT32_MAX) return false; /* index + 1 must fit 32 bits */
    if (index >> slab->shift == slab->segment_count && !mmi_slab_add_segment(slab)) return false;
    slab->used = index + 1;
    *handle = (uint64_t)1 << 32 | slab->used;
    return true;
}

MM_API mm_handle mm_slab_insert(mm_slab *slab, void **object)
{
    mm_handle handle;
    *object = NULL;
    if (slab->count >= slab->capacity || !mmi_slab_take(slab, &handle)) {
        slab->failures++;
        return 0;
    }
    *mmi_slab_slot(slab, (uint32_t)handle - 1) = handle;
    if (++slab->count > slab->peak) slab->peak = slab->count;
    *object = mm_slab_get(slab, handle);
    MM_TRACK_UNPOISON(*object, slab->size);
    memset(*object, 0, slab->size);
    return handle;
}

MM_API mm_status mm_slab_remove(mm_slab *slab, mm_handle handle)
{
    void *object = mm_slab_get(slab, handle);
    uint32_t generation = (uint32_t)(handle >> 32);
    uint64_t *slot;
    if (object == NULL) return MM_STATUS_NOT_FOUND;
    MM_TRACK_POISON(object, slab->stride);
    slot = mmi_slab_slot(slab, (uint32_t)handle - 1);
    if (generation == UINT32_MAX) { /* a further generation would make old handles live again */
        *slot = 0;
        slab->retired++;
    } else {
        *slot = (uint64_t)(generation + 1) << 32 | slab->free_slot;
        slab->free_slot = (uint32_t)handle;
    }
    slab->count--;
    return MM_STATUS_OK;
}

MM_API mm_handle mm_slab_next(const mm_slab *slab, mm_handle handle)
{
    uint32_t index;
    for (index = (uint32_t)handle; index < slab->used; index++) {
        uint64_t slot = *mmi_slab_slot(slab, index);
        if ((uint32_t)slot == index + 1) return slot;
    }
    return 0;
}

MM_API void mm_slab_get_stats(const mm_slab *slab, mm_pool_stats *stats)
{
    size_t slots = (size_t)slab->segment_count << slab->shift;
    stats->size = slab->size;
    stats->live = slab->count;
    stats->cached = slots - slab->count - slab->retired;
    stats->peak = slab->peak;
    stats->failures = slab->failures;
    stats->bytes =
        slab->segment_count * slab->segment_bytes + slab->segment_room * sizeof(mmi_slab_segment);
}

MM_API bool mm_slab_check(const mm_slab *slab)
{
    uint32_t index, link, live = 0, idle = 0, linked = 0;
    if (slab->segment_count > slab->segment_room || slab->count > slab->peak) return false;
    if (slab->used > (uint64_t)slab->segment_count << slab->shift) return false;
    for (index = 0; index < slab->used; index++) {
        uint64_t slot = *mmi_slab_slot(slab, index);
        bool is_live = (uint32_t)slot == index + 1;
        if (is_live) live++;
        else idle++;
        if (is_live && slot >> 32 == 0) return false;
    }
    for (link = slab->free_slot; link != 0; linked++) {
        uint64_t slot;
        if (link > slab->used || linked == idle) return false;
        slot = *mmi_slab_slot(slab, link - 1);
        if ((uint32_t)slot == link || slot >> 32 == 0) return false;
        link = (uint32_t)slot;
    }
    return live == slab->count && linked + slab->retired == idle;
}

// >>tier: buffers of a few sizes

#define MMI_TIER_KEEP_BYTES 1048576u /* what a class may cache by default */

static uint32_t mmi_tier_keep(size_t size, uint32_t keep)
{
    if (keep == MM_TIER_KEEP_NONE) return 0;
    if (keep != 0) return keep;
    return size < MMI_TIER_KEEP_BYTES ? (uint32_t)(MMI_TIER_KEEP_BYTES / size) : 1;
}

MM_API mm_status mm_tier_init(mm_tier *tier, const mm_tier_desc *desc)
{
    static const size_t standard[MM_TIER_CLASSES_MAX] = {4096, 16384, 65536, 0, 0, 0, 0, 0};
    const size_t *sizes = desc->class_size;
    size_t i, count = 0, last = 0;
    memset(tier, 0, sizeof(*tier));
    for (i = 0; i < MM_TIER_CLASSES_MAX; i++) last |= sizes[i];
    if (last == 0) sizes = standard;
    while (count < MM_TIER_CLASSES_MAX && sizes[count] != 0) count++;
    last = sizeof(void *) - 1; /* the least that is too small: a link must fit */
    for (i = 0; i < MM_TIER_CLASSES_MAX; i++) {
        if (i < count ? sizes[i] <= last : sizes[i] != 0) return MM_STATUS_INVALID;
        last = sizes[i];
    }
    for (i = 0; i < count; i++) {
        tier->classes[i].size = sizes[i];
        tier->classes[i].keep = mmi_tier_keep(sizes[i], desc->class_keep[i]);
    }
    tier->class_count = count;
    tier->allocator = desc->allocator;
    tier->wipe = desc->wipe;
    return MM_STATUS_OK;
}

/* Frees all but the first `keep` cached buffers of a class, and says how many that were. */
static size_t mmi_tier_shrink_class(mm_tier *tier, mmi_tier_class *row, uint32_t keep)
{
    void *last = NULL, *doomed = row->free_list, *next;
    uint32_t i, excess = row->cached > keep ? row->cached - keep : 0;
    if (excess == 0) return 0;
    for (i = 0; i < keep; i++) {
        last = doomed;
        doomed = mmi_pool_peek(last, row->size);
    }
    if (last == NULL) row->free_list = NULL;
    else mmi_pool_set_link(last, NULL, row->size);
    for (; doomed != NULL; doomed = next) {
        next = mmi_pool_link(doomed);
        MM_TRACK_UNPOISON(doomed, row->size);
        mmi_free(tier->allocator, doomed, row->size);
    }
    row->cached = keep;
    return excess;
}

static size_t mmi_tier_shrink(mm_tier *tier, unsigned percent)
{
    size_t i, freed = 0;
    if (percent >= 100) return 0;
    for (i = 0; i < tier->class_count; i++) {
        mmi_tier_class *row = &tier->classes[i];
        uint32_t keep = (uint32_t)((uint64_t)row->cached * percent / 100);
        freed += mmi_tier_shrink_class(tier, row, keep);
    }
    return freed;
}

MM_API void mm_tier_trim(mm_tier *tier, unsigned percent)
{
    (void)mmi_tier_shrink(tier, percent);
}

MM_API size_t mm_tier_deinit(mm_tier *tier)
{
    size_t i, live = 0;
    (void)mmi_tier_shrink(tier, 0);
    for (i = 0; i <= tier->class_count; i++) live += tier->classes[i].live;
    memset(tier, 0, sizeof(*tier));
    return live;
}

/* The smallest class that holds size bytes; the row after the last when there is none. */
static mmi_tier_class *mmi_tier_find(mm_tier *tier, size_t size)
{
    size_t i = 0;
    while (i < tier->class_count && tier->classes[i].size < size) i++;
    return &tier->classes[i];
}

/* The class from which the allocator serves a size; the row after the last: none is near enough. */
static mmi_tier_class *mmi_tier_near(mm_tier *tier, size_t size)
{
    mmi_tier_class *row = mmi_tier_find(tier, size);
    return row->size != 0 && row->size - size > size ? &tier->classes[tier->class_count] : row;
}

static bool mmi_tier_is_direct(const mmi_tier_class *row)
{
    return row->size == 0;
}

static void *mmi_tier_pop(const mm_tier *tier, mmi_tier_class *row)
{
    void *buffer = row->free_list;
    row->free_list = mmi_pool_link(buffer);
    row->cached--;
    if (tier->wipe) memset(buffer, 0, sizeof(void *)); /* an address is worth hiding as well */
    MM_TRACK_UNPOISON(buffer, row->size);
    return buffer;
}

/* A buffer of a class, or size bytes for the row served directly; what is cached makes room before
   the request fails. */
static void *mmi_tier_take(mm_tier *tier, mmi_tier_class *row, size_t size)
{
    size_t bytes = mmi_tier_is_direct(row) ? size : row->size;
    void *buffer;
    if (row->cached != 0) {
        buffer = mmi_tier_pop(tier, row);
    } else {
        buffer = mmi_alloc(tier->allocator, bytes);
        if (buffer == NULL && mmi_tier_shrink(tier, 0) != 0) {
            buffer = mmi_alloc(tier->allocator, bytes);
        }
    }
    if (buffer == NULL) {
        row->failures++;
        return NULL;
    }
    if (mmi_tier_is_direct(row)) tier->direct_bytes += size;
    if (++row->live > row->peak) row->peak = row->live;
    return buffer;
}

/* Not memset by name: a compiler may drop that in front of a free. */
static void mmi_tier_wipe(void *ptr, size_t size)
{
    static void *(*const volatile wipe)(void *, int, size_t) = memset;
    (void)wipe(ptr, 0, size);
}

static void mmi_tier_give(mm_tier *tier, mmi_tier_class *row, void *ptr, size_t size, size_t dirty)
{
    MM_ASSERT(row->live > 0); /* put twice, or not from this tier */
    if (tier->wipe) mmi_tier_wipe(ptr, dirty < size ? dirty : size);
    row->live--;
    if (mmi_tier_is_direct(row)) {
        tier->direct_bytes -= size;
        mmi_free(tier->allocator, ptr, size);
        return;
    }
    if (row->cached >= row->keep) {
        mmi_free(tier->allocator, ptr, row->size);
        return;
    }
    mmi_pool_set_link(ptr, row->free_list, row->size);
    row->free_list = ptr;
    row->cached++;
}

MM_API void *mm_tier_get(mm_tier *tier, size_t min_size, size_t *size)
{
    mmi_tier_class *row = mmi_tier_find(tier, min_size);
    size_t bytes = row->size;
    void *buffer;
    if (mmi_tier_is_direct(row)) bytes = min_size == 0 ? 1 : min_size; /* 0: a tier of all zero */
    buffer = mmi_tier_take(tier, row, bytes);
    *size = buffer == NULL ? 0 : bytes;
    return buffer;
}

MM_API void mm_tier_put(mm_tier *tier, void *ptr, size_t size, size_t dirty)
{
    mmi_tier_class *row = mmi_tier_find(tier, size);
    MM_ASSERT(mmi_tier_is_direct(row) || row->size == size); /* the size that get gave */
    mmi_tier_give(tier, row, ptr, size, dirty);
}

MM_API void mm_tier_get_stats(const mm_tier *tier, size_t index, mm_pool_stats *stats)
{
    const mmi_tier_class *row;
    MM_ASSERT(index <= tier->class_count);
    row = &tier->classes[index];
    stats->size = row->size;
    stats->live = row->live;
    stats->cached = row->cached;
    stats->peak = row->peak;
    stats->failures = row->failures;
    stats->bytes =
        mmi_tier_is_direct(row) ? tier->direct_bytes : (row->live + row->cached) * row->size;
}

MM_API bool mm_tier_check(const mm_tier *tier)
{
    size_t i, last = 0;
    if (tier->class_count > MM_TIER_CLASSES_MAX) return false;
    for (i = 0; i < tier->class_count; i++) {
        const mmi_tier_class *row = &tier->classes[i];
        void *buffer, *next;
        uint32_t seen = 0;
        if (row->size <= last || row->cached > row->keep || row->live > row->peak) return false;
        last = row->size;
        for (buffer = row->free_list; buffer != NULL; buffer = next) {
            if (seen++ == row->cached) return false;
            next = mmi_pool_peek(buffer, row->size);
        }
        if (seen != row->cached) return false;
    }
    return tier->classes[i].size == 0 && tier->classes[i].cached == 0 &&
           tier->classes[i].live <= tier->direct_bytes;
}

/* Leaves a block of a class to the byte that was asked for. */
static void mmi_tier_fence(const mmi_tier_class *row, void *ptr, size_t size)
{
    if (mmi_tier_is_direct(row)) return;
    MM_TRACK_POISON((unsigned char *)ptr + size, row->size - size);
}

static void *mmi_tier_alloc_fn(size_t size, void *user_data)
{
    mm_tier *tier = (mm_tier *)user_data;
    mmi_tier_class *row = mmi_tier_near(tier, size);
    void *block = mmi_tier_take(tier, row, size);
    if (block != NULL) mmi_tier_fence(row, block, size);
    return block;
}

static void mmi_tier_free_fn(void *ptr, size_t size, void *user_data)
{
    mm_tier *tier = (mm_tier *)user_data;
    mmi_tier_class *row = mmi_tier_near(tier, size);
    if (!mmi_tier_is_direct(row)) {
        MM_TRACK_UNPOISON((unsigned char *)ptr + size, row->size - size);
    }
    mmi_tier_give(tier, row, ptr, size, size);
}

static void *mmi_tier_realloc_direct(mm_tier *tier, void *ptr, size_t old_size, size_t new_size)
{
    mmi_tier_class *row = &tier->classes[tier->class_count];
    void *block = mmi_realloc(tier->allocator, ptr, old_size, new_size);
    if (block == NULL && mmi_tier_shrink(tier, 0) != 0) {
        block = mmi_realloc(tier->allocator, ptr, old_size, new_size);
    }
    if (block == NULL) row->failures++;
    else tier->direct_bytes += new_size - old_size; /* either sign: unsigned wraps */
    return block;
}

static void *mmi_tier_realloc_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    mm_tier *tier = (mm_tier *)user_data;
    mmi_tier_class *from = mmi_tier_near(tier, old_size), *to = mmi_tier_near(tier, new_size);
    void *block;
    if (ptr == NULL) return mmi_tier_alloc_fn(new_size, tier);
    if (from == to && mmi_tier_is_direct(to)) {
        return mmi_tier_realloc_direct(tier, ptr, old_size, new_size);
    }
    if (from == to) {
        if (new_size > old_size) {
            MM_TRACK_UNPOISON((unsigned char *)ptr + old_size, new_size - old_size);
        }
        mmi_tier_fence(to, ptr, new_size);
        return ptr;
    }
    block = mmi_tier_alloc_fn(new_size, tier);
    if (block == NULL) return NULL;
    MM_MEMCPY(block, ptr, old_size < new_size ? old_size : new_size);
    mmi_tier_free_fn(ptr, old_size, tier);
    return block;
}

MM_API const mm_allocator *mm_tier_allocator(mm_tier *tier)
{
    tier->as_allocator.alloc_fn = mmi_tier_alloc_fn;
    tier->as_allocator.realloc_fn = mmi_tier_realloc_fn;
    tier->as_allocator.free_fn = mmi_tier_free_fn;
    tier->as_allocator.user_data = tier;
    return &tier->as_allocator;
}

// >>budget: a tree of accounts

/* Reserves by compare-and-swap: unlike an addition that is undone, a refused charge never shows on
   the level that refuses, and so cannot make it refuse others. */
static mm_status mmi_budget_reserve(mm_budget *budget, size_t size)
{
    size_t live = mmi_atomic_load(&budget->live), after = 0;
    do {
        size_t limit = mmi_atomic_load(&budget->limit);
        if (!mm_size_add(live, size, &after)) return MM_STATUS_TOO_LARGE;
        if (limit != 0 && after > limit) return MM_STATUS_LIMIT;
    } while (!mmi_atomic_cas(&budget->live, &live, after));
    return MM_STATUS_OK;
}

/* Releases on every level from budget up to, and without, end. */
static void mmi_budget_release_until(mm_budget *budget, const mm_budget *end, size_t size)
{
    for (; budget != end; budget = budget->parent) {
        size_t before = mmi_atomic_add(&budget->live, (size_t)0 - size);
        MM_ASSERT(before >= size); /* more released than was charged */
        (void)before;
    }
}

static void mmi_budget_note_peak(mm_budget *budget)
{
    size_t live = mmi_atomic_load(&budget->live), peak = mmi_atomic_load(&budget->peak);
    while (live > peak && !mmi_atomic_cas(&budget->peak, &peak, live)) continue;
}

MM_API mm_status mm_budget_charge(mm_budget *budget, size_t size)
{
    mm_budget *level;
    if (size == 0) return MM_STATUS_OK;
    for (level = budget; level != NULL; level = level->parent) {
        mm_status status = mmi_budget_reserve(level, size);
        if (status != MM_STATUS_OK) {
            (void)mmi_atomic_add(&level->failures, 1);
            mmi_budget_release_until(budget, level, size);
            return status;
        }
    }
    /* Only now: what an ancestor refuses is no peak of the levels below it. */
    for (level = budget; level != NULL; level = level->parent) mmi_budget_note_peak(level);
    return MM_STATUS_OK;
}

MM_API void mm_budget_release(mm_budget *budget, size_t size)
{
    mmi_budget_release_until(budget, NULL, size);
}

MM_API void mm_budget_set_limit(mm_budget *budget, size_t limit)
{
    mmi_atomic_store(&budget->limit, limit);
}

MM_API unsigned mm_budget_percent(const mm_budget *budget)
{
    uint64_t live = mm_budget_live(budget), limit = mm_budget_limit(budget), whole, part;
    if (limit == 0) return 0;
    whole = live / limit;
    part = live % limit;
    if (whole >= UINT32_MAX / 100) return UINT32_MAX;
    if (part <= UINT64_MAX / 100) part = part * 100 / limit;
    else part /= limit / 100 + 1; /* beyond 2^57 bytes one percent more or less is no matter */
    return (unsigned)(whole * 100 + part);
}

MM_API void mm_budget_get_stats(const mm_budget *budget, mm_budget_stats *stats)
{
    stats->live = mmi_atomic_load(&budget->live);
    stats->peak = mmi_atomic_load(&budget->peak);
    stats->failures = mmi_atomic_load(&budget->failures);
    stats->limit = mmi_atomic_load(&budget->limit);
}

static void *mmi_budget_alloc_fn(size_t size, void *user_data)
{
    mm_budget *budget = (mm_budget *)user_data;
    void *block;
    if (mm_budget_charge(budget, size) != MM_STATUS_OK) return NULL;
    block = mmi_alloc(budget->allocator, size);
    if (block == NULL) {
        mm_budget_release(budget, size);
        (void)mmi_atomic_add(&budget->failures, 1);
    }
    return block;
}

/* Growth is charged before, a shrink released after: the count is never below what is out. */
static void *mmi_budget_realloc_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    mm_budget *budget = (mm_budget *)user_data;
    size_t growth = new_size > old_size ? new_size - old_size : 0;
    void *block;
    if (mm_budget_charge(budget, growth) != MM_STATUS_OK) return NULL;
    block = mmi_realloc(budget->allocator, ptr, old_size, new_size);
    if (block == NULL) {
        mm_budget_release(budget, growth);
        (void)mmi_atomic_add(&budget->failures, 1);
        return NULL;
    }
    if (new_size < old_size) mm_budget_release(budget, old_size - new_size);
    return block;
}

/* Freed before it is released, for the same reason. */
static void mmi_budget_free_fn(void *ptr, size_t size, void *user_data)
{
    mm_budget *budget = (mm_budget *)user_data;
    mmi_free(budget->allocator, ptr, size);
    mm_budget_release(budget, size);
}

MM_API void mm_budget_init(mm_budget *budget, const mm_budget_desc *desc)
{
    memset(budget, 0, sizeof(*budget));
    budget->limit = desc->limit;
    budget->parent = desc->parent;
    budget->name = desc->name;
    budget->allocator = desc->allocator;
    if (desc->allocator == NULL && desc->parent != NULL) {
        budget->allocator = desc->parent->allocator;
    }
    budget->as_allocator.alloc_fn = mmi_budget_alloc_fn;
    budget->as_allocator.realloc_fn = mmi_budget_realloc_fn;
    budget->as_allocator.free_fn = mmi_budget_free_fn;
    budget->as_allocator.user_data = budget;
}

MM_API size_t mm_budget_deinit(mm_budget *budget)
{
    size_t live = mm_budget_live(budget);
    memset(budget, 0, sizeof(*budget));
    return live;
}

/* Filled by init, not here: several threads may ask at once. */
MM_API const mm_allocator *mm_budget_allocator(mm_budget *budget)
{
    return &budget->as_allocator;
}

#ifdef __cplusplus
}
#endif
#endif /* MM_POOL_IMPLEMENTATION */

/*
This software is available under two licences; choose whichever you prefer.
-------------------------------------------------------------------------------
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
-------------------------------------------------------------------------------
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
*/
