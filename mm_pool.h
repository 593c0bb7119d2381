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
    MM_DEBUG                         pools find double and foreign puts, and writes after a put, and
                                     tell the lines of the calls (mm_pool_misuse); 80 bytes and a
                                     fill for each object, but no search
    MM_ASSERT(condition)             programmer errors; default: assert()
    MM_MALLOC, MM_REALLOC, MM_FREE   default memory; define all three or none
    MM_VALGRIND                      tell Valgrind which bytes may be used (needs its headers);
                                     AddressSanitizer is told without any define
    MM_SYS_MADVISE(ptr, size, advice)
                                     keeps the pages of secrets out of core dumps (advice 16) and
                                     lets them in again (17); default: Linux's madvise, elsewhere
                                     nothing does

OVERVIEW
    mm_pool     objects of one size, for one type that comes and goes. A get pops the object put
                last, a put pushes; memory is fetched a segment at a time and kept until it is
                trimmed. Other threads may put as well.
    mm_object   how an object begins that is counted: it goes home to its pool when nobody holds
                it any more, whichever thread is the last. mm_ref is the count by itself.
    mm_cleanup  what is to be undone, the last first, on every way out of a piece of work.
    mm_slab     objects behind handles. A handle is 64 bits, { generation, index + 1 }, and fits
                an event's user data; once its object is removed it is stale for ever, and a stale
                handle is always told from a live one, in release builds too. Objects never move.
    mm_tier     buffers of a few sizes (by default 4, 16 and 64 KiB, and 17 KiB for a TLS record
                as it lies on the wire), a bounded number of each kept for the next user. Larger
                requests are served exactly and never kept. One thread uses the tier itself; more
                attach an mm_tier_cache each and trade batches through the tier's central list,
                without a lock. mm_tier_maintain on a timer gives back what is not needed.
    mm_budget   a tree of accounts (process > worker > connection) that counts bytes and refuses
                to go over its limits, after it has asked a reclaim function to make room.
    mm_pressure levels read off a budget, with hysteresis: your actions are called when one is
                entered and when it is left.
    mm_stats_write tells the figures of all these as Prometheus text or JSON; mm_profile_get has
                the settings of three sizes of server.

    Each takes an mm_allocator in its desc, and pool, tier and budget are one in turn, so they
    stack: a slab or a tier that is given mm_budget_allocator() is charged for all that it holds.
    In every desc, zero means the default. A pool, slab, tier or budget of all zero bytes is safe
    to pass to any function: pool and slab refuse, the tier passes all on to malloc, the budget
    counts without limit (but its allocator is then malloc itself, uncounted).

    A pool's get and put are a handful of instructions in your code; what they do not do, the desc
    asks for: memory of yours, first or only; objects that are zeroed when they are got or put, or
    kept as secrets; a capacity. mm_pool_decay, on a timer, gives back what a falling load leaves.
    mm_pool_walk shows what is out. Under ASan and Valgrind each object is an allocation of its own,
    so that a report says where it came from and where it was put.

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
    none is free. mm_slab_next: O(slots passed). Tier: O(classes), at most 8, plus a batch of
    O(class_keep / 4) buffers from or to the central list, or one allocation, when the lists of the
    thread are empty or full. mm_tier_maintain: O(class_keep / 4 + buffers freed). Budget: O(depth).
    The check functions are O(size), or worse: for tests. Objects keep their address until they
    are put or removed. A slab costs 8 bytes per slot beyond the object and keeps its segments until
    deinit. Pools count in O(objects put since the last time), and trim and walk in O(cached * log
    cached); they must not move while objects are out. The structs themselves must not move once
    their allocator has been handed out; a budget must not move at all.

THREADS
    A pool, slab, tier or mm_cleanup belongs to one thread. Others may give objects back to a pool
    while its owner uses it, without a lock: mm_pool_put_remote, mm_pool_put_batched with a batch
    for each thread, mm_object_release; the owner frees, walks and counts as ever. mm_ref is for all
    threads, as are retain and release of an mm_object.
    A tier's central list is shared: each further thread has an mm_tier_cache; buffers may be put on
    another thread than they were got on. The tier's allocator must then be thread-safe, as mm_heap
    and malloc are. A thread that ends first flushes its batches and deinitialises its caches.
    Budgets are thread-safe, init and deinit aside: charges are exact, no two threads can together
    pass a limit. All levels are asked before anything is reserved. Only when an ancestor fills up
    between the two, a charge that it refuses can make that of another thread, on the same budget
    below, be refused as well. An mm_pressure belongs to one thread, its level can be read by all.

MEMORY
    Free objects and cached buffers are poisoned: ASan, and Valgrind with MM_VALGRIND, report an
    access after the put, to the byte where the tool can. A block belongs to whoever got it until
    it is given back to the place it came from (a tier: to any of its caches).
    deinit frees every segment and cached buffer, and returns how much was still out; buffers of a
    tier that are out are then nobody's.

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

/* Makes the link inside a free object or buffer readable: like MM_TRACK_UNPOISON, but the bytes
   have a value, which only Valgrind distinguishes. */
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
    size_t waste;    /* those of them that no object can use: rounding, headers */
} mm_pool_stats;

/* ---- objects of one size ---- */

typedef enum mm_pool_zero {   /* what becomes of an object's bytes */
    MM_POOL_ZERO_NONE = 0,    /* nothing: a got object is of indeterminate content */
    MM_POOL_ZERO_ON_GET,      /* get returns zeroed objects */
    MM_POOL_ZERO_ON_PUT,      /* so too, but put wipes: nothing outlives its owner for long */
    MM_POOL_ZERO_SECRET       /* so too, with a wipe that no compiler leaves out, at deinit as well;
                                 objects lie in whole pages that no core dump contains (on Linux;
                                 elsewhere, where they are kept separate, and in those pages of the
                                 caller's memory that are not all the pool's, they are wiped) */
} mm_pool_zero;

typedef enum mm_pool_mode {   /* where objects lie */
    MM_POOL_MODE_DEFAULT = 0, /* in segments; separate under ASan and Valgrind, if not in memory of
                                 the caller's */
    MM_POOL_MODE_SEGMENTS,    /* in segments; memory checkers still see what is free */
    MM_POOL_MODE_SEPARATE     /* an allocation for each, freed at its put: checkers know both */
} mm_pool_mode;

typedef struct mm_pool mm_pool;

typedef struct mm_pool_misuse { /* a put or get that must not be; lines are 0 where unknown */
    const char *what;           /* in English */
    mm_pool *pool;              /* the one that noticed */
    const void *object;         /* the object, or what was taken for one */
    const char *file;           /* where the call was that noticed; NULL: unknown, as below */
    const char *get_file;       /* where the object was got last */
    const char *put_file;       /* where it was put before */
    int line;
    int get_line;
    int put_line;
} mm_pool_misuse;

typedef void (*mm_pool_misuse_fn)(const mm_pool_misuse *misuse, void *user_data);

typedef struct mm_pool_desc {
    size_t size;                   /* bytes of an object; at least 1 */
    size_t alignment;              /* power of two; 0: as malloc, two pointers' size */
    size_t segment_objects;        /* objects fetched at a time, 8 at least; 0: 16 KiB of them */
    const mm_allocator *allocator; /* where segments come from; NULL: MM_MALLOC */
    size_t capacity;               /* most objects out at a time; 0: as many as there is memory */
    void *memory;                  /* the caller's, used first; it must outlive the pool; or NULL */
    size_t memory_size;            /* bytes of it; see mm_pool_bytes_needed */
    bool fixed;                    /* nothing but that memory is ever used */
    mm_pool_zero zero;             /* what becomes of an object's bytes */
    mm_pool_mode mode;             /* where objects lie */
    mm_pool_misuse_fn misuse_fn;   /* told what MM_DEBUG finds, which then does nothing; NULL:
                                      MM_ASSERT */
    void *misuse_data;             /* for misuse_fn */
} mm_pool_desc;

/* In the order of who writes them: the fields that each get and put write, those that only the
   owner needs, those that never change, and last what other threads write. A cache line is between
   the first and the third, and the third and the last. */
struct mm_pool {
    void *free_list;   /* the object put last, which begins with a link to the next; NULL when get
                          has more to do than to pop it */
    size_t slow;       /* nonzero: put has more to do than to push */
    void *held;        /* below free_list: what was free when it was last counted and not needed
                          since; where get and put have more to do, all that is free */
    size_t held_count; /* objects in there */
    size_t held_low;   /* the least that these were since the last mm_pool_decay */
    unsigned char *fresh;              /* next object that was never out */
    size_t fresh_count;                /* how many such there are */
    struct mmi_pool_segment *segments; /* all of them; the newest first, or by address */
    struct mmi_pool_segment *borrowed; /* the one in the caller's memory; NULL: none */
    struct mmi_pool_head *newest;      /* objects with a head: those out, the newest first */
    size_t segment_count;              /* segments held */
    size_t objects;                    /* objects in all segments; out, free, or fresh */
    size_t bytes;                      /* bytes of all segments, or of the objects kept separate */
    size_t peak;                       /* most that were out at a time, before the last trim */
    size_t failures;                   /* gets refused */
    mm_allocator as_allocator;         /* what mm_pool_allocator returns */

    size_t special;                /* what slow is, for other threads to read */
    size_t size;                   /* bytes of an object that are the user's */
    size_t stride;                 /* bytes from one object to the next; a multiple of alignment */
    size_t front;                  /* bytes before each object: its head and more; 0: it has none */
    mm_pool_zero zero;             /* as in the desc */
    bool separate;                 /* each object is an allocation of its own */
    bool fixed;                    /* as in the desc */
    size_t alignment;              /* power of two, at least a pointer's size */
    size_t segment_objects;        /* objects in a segment that is fetched */
    size_t segment_bytes;          /* size of its block; 0: not initialised, get fails */
    size_t capacity;               /* as in the desc, 0 made the largest */
    const mm_allocator *allocator; /* as in the desc */
    mm_pool_misuse_fn misuse_fn;   /* as in the desc */
    void *misuse_data;             /* as in the desc */

    size_t remote; /* atomic: the object that another thread put last, linked as free ones are */
    size_t gap[7]; /* keeps the next object in memory off that cache line */
};

/* Makes an empty pool; allocates nothing. INVALID: size 0, an alignment that is not a power of two,
   an unknown mode or way to zero, memory that cannot hold an object or is to be separate, or fixed
   without memory. TOO_LARGE: a segment would not fit in the address space. Then the pool is all
   zero. */
MM_API MM_NODISCARD mm_status mm_pool_init(mm_pool *pool, const mm_pool_desc *desc) MM_NONNULL_ALL;

/* Frees all segments, and so all objects, and returns how many were still out: 0 unless the caller
   leaked or meant to drop them together. The pool is then all zero. No other thread may put any
   more. */
MM_API size_t mm_pool_deinit(mm_pool *pool) MM_NONNULL_ALL;

/* A pool in memory of its own, from the desc's allocator; NULL: memory is refused, or the desc is
   wrong. mm_pool_destroy is its deinit and frees it. */
MM_API MM_NODISCARD mm_pool *mm_pool_create(const mm_pool_desc *desc) MM_NONNULL_ALL;
MM_API size_t mm_pool_destroy(mm_pool *pool) MM_NONNULL_ALL;

/* How large desc.memory has to be for that many objects, wherever it begins; 0 when it overflows or
   the desc is wrong. The memory fields of the desc are not looked at. */
MM_API size_t mm_pool_bytes_needed(const mm_pool_desc *desc, size_t objects) MM_NONNULL_ALL;

/* An object, valid until it is put; its content is as desc.zero says. NULL when memory is refused
   or the capacity reached. */
MM_NODISCARD MM_INLINE void *mm_pool_get(mm_pool *pool) MM_NONNULL_ALL;

/* Gives back an object that this pool handed out; it is the next that get returns. */
MM_INLINE void mm_pool_put(mm_pool *pool, void *object) MM_NONNULL_ALL;

/* The same from any thread, without a lock, also while the owner uses the pool: the object goes
   home when the owner has no other free one left. What the thread did with the object is done
   before the owner gets it again. The pool must outlive the call. */
MM_API void mm_pool_put_remote(mm_pool *pool, void *object) MM_NONNULL_ALL;

/* The same for a thread that gives back many: they wait in a batch of its own, {0} at first, and go
   home MM_POOL_BATCH at a time. Who is done, or has nothing to do for a while, flushes: until then
   what waits is out. A batch is for one pool. */
#define MM_POOL_BATCH 64
typedef struct mm_pool_batch {
    void *first;  /* put last */
    void *last;   /* put first */
    size_t count; /* how many wait */
} mm_pool_batch;
MM_INLINE void mm_pool_put_batched(mm_pool *pool, mm_pool_batch *batch, void *object)
    MM_NONNULL_ALL;
MM_API void mm_pool_batch_flush(mm_pool *pool, mm_pool_batch *batch) MM_NONNULL_ALL;

/* Fetches now what other threads put, and returns how many that were. O(their number). */
MM_API size_t mm_pool_collect(mm_pool *pool) MM_NONNULL_ALL;

/* The number of objects out; those that another thread has put are not. Get and put keep no count:
   this counts what was put since it, or mm_pool_get_stats, was last called and is still free. */
MM_API size_t mm_pool_live(const mm_pool *pool) MM_NONNULL_ALL;

/* Frees segments that no object is out of, until no more than percent of the objects now cached are
   left, as far as whole segments allow. Returns the bytes freed. Orders what is free by address, in
   O(cached * log cached). */
MM_API size_t mm_pool_trim(mm_pool *pool, unsigned percent) MM_NONNULL_ALL;

/* For a timer, each second say: frees half of what was free ever since the last call (a segment at
   least), and so follows a falling load without a stall. O(cached), or as trim when it frees.
   Returns the bytes freed. */
MM_API size_t mm_pool_decay(mm_pool *pool) MM_NONNULL_ALL;

/* Calls walk_fn with each object that is out, and where it was got (MM_DEBUG; else NULL and 0), and
   returns how many. It may put the object it is given, and use no other function of the pool. What
   another thread puts meanwhile may or may not be met, and its bytes are then nobody's. Nothing is
   allocated, but what is free is ordered as by mm_pool_trim. */
typedef void (*mm_pool_walk_fn)(void *object, const char *file, int line, void *user_data);
MM_API size_t mm_pool_walk(mm_pool *pool, mm_pool_walk_fn walk_fn, void *user_data) MM_NONNULL(1)
    MM_NONNULL(2);

/* For the owner, as all but mm_pool_put_remote. Costs what mm_pool_live does. */
MM_API void mm_pool_get_stats(const mm_pool *pool, mm_pool_stats *stats) MM_NONNULL_ALL;

/* Whether the pool is in order: every free object is its own and there once, and there are not more
   than can be free. No other thread may put at the same time. */
MM_API bool mm_pool_check(const mm_pool *pool) MM_NONNULL_ALL;

/* The pool as an allocator: any request up to the object size gets an object, a larger one NULL.
   Blocks are aligned as the pool's objects, so leave the desc's alignment 0 for a pool used in
   this way. Valid as long as the pool is, and does not move. */
MM_API const mm_allocator *mm_pool_allocator(mm_pool *pool) MM_NONNULL_ALL;

/* ---- reference counts ---- */

/* How many hold an object. Any thread may retain and release. A count that would pass half of
   SIZE_MAX, or fall below 0, stays up there for ever: the object leaks, and is not freed too early.
   Under 32 bits that can happen; a release too many is MM_ASSERT besides. */
typedef struct mm_ref {
    size_t count; /* atomic */
} mm_ref;

/* One holder: who made it. */
MM_INLINE void mm_ref_init(mm_ref *ref) MM_NONNULL_ALL;

/* One holder more. The caller is one, or keeps one from releasing: the count is not 0. */
MM_INLINE void mm_ref_retain(mm_ref *ref) MM_NONNULL_ALL;

/* One holder more unless there is none; false: the object is going. For a cache that finds objects
   without holding them; it must keep the memory from going meanwhile, by a lock that the last
   holder takes as well before it frees. */
MM_INLINE MM_NODISCARD bool mm_ref_retain_unless_zero(mm_ref *ref) MM_NONNULL_ALL;

/* One holder less; true for the last one, who frees the object: all that the others did with it
   before they released it is done and seen then. */
MM_INLINE MM_NODISCARD bool mm_ref_release(mm_ref *ref) MM_NONNULL_ALL;

/* The holders at this moment; 1, asked by a holder, means that nobody else has the object. */
MM_INLINE size_t mm_ref_count(const mm_ref *ref) MM_NONNULL_ALL;

/* What an object begins with that is counted, and goes back to its pool when nobody holds it:
       typedef struct event { mm_object object; int type; ... } event;
   from a pool with desc.size = sizeof(event), of ordinary alignment. */
typedef struct mm_object {
    mm_ref ref;                       /* its holders */
    mm_pool *pool;                    /* where it goes home to */
    void (*destroy_fn)(void *object); /* runs when nobody holds it any more; NULL: nothing does */
} mm_object;

/* An object with one holder, from the pool, by the thread that owns it; NULL when that fails. What
   follows the mm_object is as mm_pool_get gives it. */
MM_API MM_NODISCARD void *mm_object_new(mm_pool *pool, void (*destroy_fn)(void *object))
    MM_NONNULL(1);

/* As for mm_ref, with the object, which begins with an mm_object. Any thread may call them. */
MM_INLINE void mm_object_retain(void *object) MM_NONNULL_ALL;
MM_INLINE MM_NODISCARD bool mm_object_retain_unless_zero(void *object) MM_NONNULL_ALL;

/* One holder less. For the last, destroy_fn runs and the object goes home; true. From any thread;
   the one that owns the pool has a cheaper way in mm_object_release_local. */
MM_INLINE bool mm_object_release(void *object) MM_NONNULL_ALL;
MM_INLINE bool mm_object_release_local(void *object) MM_NONNULL_ALL;

/* ---- cleanup: what is to be undone, the last first ---- */

typedef void (*mm_cleanup_fn)(void *user_data);

typedef struct mm_cleanup_entry {
    struct mm_cleanup_entry *newer; /* registered after this one; NULL for the newest */
    struct mm_cleanup_entry *older; /* registered before it; NULL for the oldest */
    mm_cleanup_fn function;         /* what runs */
    void *user_data;                /* with this */
} mm_cleanup_entry;

/* All zero is an empty one, which takes memory from MM_MALLOC, 16 entries and more at a time. */
typedef struct mm_cleanup {
    mm_cleanup_entry *newest; /* runs first */
    size_t count;             /* registered and not yet run */
    mm_pool entries;          /* where they come from */
} mm_cleanup;

/* For another allocator (NULL: MM_MALLOC), or with the caller's memory, which is used first (NULL
   and 0: none). INVALID: the memory cannot hold an entry; it is then all zero. */
MM_API MM_NODISCARD mm_status mm_cleanup_init(mm_cleanup *cleanup, const mm_allocator *allocator,
                                              void *memory, size_t memory_size) MM_NONNULL(1);

/* How large that memory has to be for so many entries, wherever it begins: 32 bytes for each and 47
   more where pointers have 64 bits, and with MM_DEBUG 112 for each. 0 when it overflows. */
MM_API size_t mm_cleanup_bytes_needed(size_t entries);

/* Runs what is registered and frees all memory. The object is then all zero. */
MM_API void mm_cleanup_deinit(mm_cleanup *cleanup) MM_NONNULL_ALL;

/* Registers function(user_data). NULL: memory is refused, and nothing is registered: undo now what
   was to be undone later. The entry is valid until it is cancelled or runs. */
MM_API MM_NODISCARD mm_cleanup_entry *mm_cleanup_add(mm_cleanup *cleanup, mm_cleanup_fn function,
                                                     void *user_data) MM_NONNULL(1) MM_NONNULL(2);

/* Forgets an entry without running it, or runs it now instead of later. O(1). */
MM_API void mm_cleanup_cancel(mm_cleanup *cleanup, mm_cleanup_entry *entry) MM_NONNULL_ALL;
MM_API void mm_cleanup_run(mm_cleanup *cleanup, mm_cleanup_entry *entry) MM_NONNULL_ALL;

/* Runs everything, the last registered first, and returns how many ran. A function that runs may
   register others, which run next, and cancel any but itself. */
MM_API size_t mm_cleanup_run_all(mm_cleanup *cleanup) MM_NONNULL_ALL;

/* Forgets everything without running it: all went well, and what was made is to stay. */
MM_API void mm_cleanup_cancel_all(mm_cleanup *cleanup) MM_NONNULL_ALL;

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
    void *memory;                  /* the caller's, for all of the slab, which then never allocates;
                                      it must outlive the slab; or NULL */
    size_t memory_size;            /* bytes of it: see mm_slab_bytes_needed; a capacity of 0 becomes
                                      what they hold */
} mm_slab_desc;

/* A slot is one word. Live: the handle of its object. Free: generation of its next handle << 32 |
   index + 1 of the next free slot, or 0. As no free slot is followed by itself, a slot equals a
   handle with its own index only while that handle is live: one comparison tells all. */
typedef struct mmi_slab_segment {
    unsigned char *objects; /* the first object; before each lies its slot */
    void *block;            /* what the allocator gave */
} mmi_slab_segment;

typedef struct mm_slab {
    mmi_slab_segment *segments;    /* directory; it may move, the segments never do */
    size_t stride;                 /* bytes from one object to the next */
    uint32_t used;                 /* slots that were ever live: their indices are below this */
    uint32_t mask;                 /* (1 << shift) - 1 */
    uint32_t shift;                /* a segment has 1 << shift objects */
    uint32_t free_slot;            /* index + 1 of the slot freed last; 0: none */
    uint32_t count;                /* objects live */
    uint32_t peak;                 /* most that were live at a time */
    uint32_t retired;              /* slots out of generations, never used again */
    uint32_t capacity;             /* most that may be live; 0: not initialised, insert fails */
    uint32_t segment_count;        /* segments held */
    uint32_t segment_room;         /* entries that the directory has room for; 0 too when all is in
                                      the caller's memory */
    size_t slots;                  /* slots in all segments */
    size_t segment_bytes;          /* size of each segment's block */
    size_t size;                   /* bytes of an object that are the user's */
    size_t alignment;              /* power of two, at least a pointer's size */
    size_t failures;               /* inserts refused */
    const mm_allocator *allocator; /* as in the desc */
} mm_slab;

/* Makes an empty slab; allocates nothing. INVALID: size 0, an alignment that is not a power of two,
   or memory that cannot hold the capacity. TOO_LARGE: a segment would not fit in the address space,
   or more than 2^31 objects in one. Then the slab is all zero. */
MM_API MM_NODISCARD mm_status mm_slab_init(mm_slab *slab, const mm_slab_desc *desc) MM_NONNULL_ALL;

/* Frees everything, live objects included, and returns how many were live. The slab is then all
   zero. */
MM_API uint32_t mm_slab_deinit(mm_slab *slab) MM_NONNULL_ALL;

/* How large desc.memory has to be for desc.capacity objects, wherever it begins; 0 when that
   overflows or the desc is wrong. */
MM_API size_t mm_slab_bytes_needed(const mm_slab_desc *desc) MM_NONNULL_ALL;

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

typedef struct mm_budget mm_budget;

#define MM_TIER_CLASSES_MAX 8                  /* size classes at most */
#define MM_TIER_CLASS_MIN (4 * sizeof(void *)) /* the smallest class: cached buffers hold links */
#define MM_TIER_KEEP_NONE UINT32_MAX           /* for class_keep and class_central: nothing */

/* A TLS record as it lies on the wire: 5 bytes of header, 16384 of payload and 256 of type, padding
   and tag (RFC 8446, 5.2), rounded up to 17 KiB. That is room, too, for what OpenSSL 3 reads into
   (16384 + 320 + 5 bytes and alignment). TLS 1.2 allows 18437 bytes (RFC 5246, 6.2.3). */
#define MM_TIER_TLS_RECORD 17408

typedef enum mm_tier_wipe { /* what a put does with the bytes that were written */
    MM_TIER_WIPE_NONE = 0,  /* nothing: the next user may see them */
    MM_TIER_WIPE_ON_PUT,    /* zeroes the dirty ones */
    MM_TIER_WIPE_SECRET     /* that, zeroes all of a buffer before it goes back to the allocator,
                               and keeps its pages out of core dumps (Linux; a system call when a
                               buffer is fetched and when it is freed) */
} mm_tier_wipe;

typedef struct mm_tier_desc {
    size_t class_size[MM_TIER_CLASSES_MAX];      /* bytes, ascending, then 0; MM_TIER_CLASS_MIN at
                                                    least; all 0: 4096, 16384, MM_TIER_TLS_RECORD,
                                                    65536 */
    uint32_t class_keep[MM_TIER_CLASSES_MAX];    /* most buffers that a thread has cached; 0: 1 MiB
                                                    of them, or 1 */
    uint32_t class_central[MM_TIER_CLASSES_MAX]; /* most in the central list, which threads share,
                                                    up to 32 times class_keep; 0: 4 times */
    const mm_allocator *allocator;               /* where buffers come from; NULL: MM_MALLOC; is
                                                    thread-safe if other threads attach caches */
    mm_budget *budget;                           /* told by maintain, trim and deinit how many bytes
                                                    are cached and wasted; charged is, and only,
                                                    what the allocator charges. NULL: nobody */
    mm_tier_wipe wipe;                           /* for privacy */
} mm_tier_desc;

typedef struct mm_tier_stats { /* one class, over all threads */
    size_t size;               /* bytes of a buffer; 0 for what was served directly */
    size_t live;               /* buffers out with users */
    size_t cached;             /* buffers held for the next get, the central list included */
    size_t central;            /* buffers in the central list */
    size_t peak;               /* most that were out at a time; see mm_tier_get_stats */
    size_t failures;           /* requests refused */
    size_t waste;              /* bytes that live buffers have beyond what was asked for: live times
                                  the mean of the requests that found the front list empty */
    size_t bytes;              /* bytes held from the allocator, live and cached */
} mm_tier_stats;

#define MMI_TIER_FRONT 32 /* half of it is linked, or unlinked, at a time: for 16 it is worth it */

/* One class in one cache. Its thread alone writes the numbers, others read them for statistics.
   Buffers that are out are not counted: they are owned - stored - count. */
typedef struct mmi_tier_row {
    size_t count;                /* buffers in front, which are cached without touching them */
    size_t floor;                /* what count goes below by the long way only: less would then be
                                    cached than low, or none is in front */
    size_t room;                 /* most that count may be after a put by the short way */
    size_t size;                 /* bytes of a buffer; 0 in the row of those served directly */
    void *front[MMI_TIER_FRONT]; /* the one put last, last */
    void *head;                  /* behind: the magazine in use, linked, the one put last first */
    size_t listed;               /* buffers in it */
    void *batches;               /* behind that: full magazines, the one filled last first */
    size_t stored;               /* buffers in both */
    size_t owned;                /* buffers that came into this cache less those that left it for
                                    good; wraps */
    size_t low;                  /* least that was cached since that was last forgotten */
    size_t idle;                 /* least that was cached since a maintain, as far as noted */
    size_t peak;                 /* most that were out at a time, as far as noted */
    size_t failures;             /* requests refused */
    size_t samples;              /* requests that found nothing in front */
    size_t slack;                /* bytes that these got beyond what they asked for */
    size_t keep;                 /* most that may be cached */
    size_t batch;                /* buffers in a full magazine */
    size_t wipe;                 /* mm_tier_wipe; if any, room is 0: all puts take the slow path */
} mmi_tier_row;

typedef struct mm_tier_cache mm_tier_cache;
typedef struct mm_tier mm_tier;

#define MMI_TIER_BUCKETS 256 /* of MMI_TIER_BUCKET bytes: to 64 KiB, and from there again */
#define MMI_TIER_BUCKET 256

struct mm_tier_cache {                          /* a thread's part of a tier */
    uint16_t buckets[MMI_TIER_BUCKETS];         /* the first class that holds any size of a bucket,
                                                   as its distance from rows in bytes */
    size_t wipe;                                /* mm_tier_wipe */
    mmi_tier_row rows[MM_TIER_CLASSES_MAX + 1]; /* after the last class: served directly */
    size_t class_count;                         /* classes in use, without that row */
    size_t direct_bytes;                        /* bytes out that were served directly; wraps */
    size_t obeyed;                              /* the tier's last order that was followed */
    const mm_allocator *allocator;              /* the tier's */
    mm_tier *tier;                              /* attached to it; NULL: a tier's own, or none */
    mm_tier_cache *next;                        /* the tier's next cache, under its lock */
    bool is_own;                                /* the first member of an mm_tier */
    mm_allocator as_allocator;                  /* what mm_tier_cache_allocator returns */
};

#define MMI_TIER_SLOTS 32 /* twice what 4 * keep takes in batches of keep / 4 */

/* One class of the central list: an array of batches, each taken and left by one compare-and-swap.
   No lists, hence no ABA: who has swapped a slot owns what was in it, whatever it was before. */
typedef struct mmi_tier_shelf {
    size_t slots[MMI_TIER_SLOTS]; /* atomic: the first buffer of a batch, or 0 */
    size_t used;                  /* slots that the limit allows; fixed */
    size_t count;                 /* atomic: buffers in the slots, or on their way in */
    size_t idle;                  /* atomic: least that count was since the last maintain */
} mmi_tier_shelf;

struct mm_tier {
    mm_tier_cache own;                           /* first; of the thread that uses the tier */
    mmi_tier_shelf shelves[MM_TIER_CLASSES_MAX]; /* the central list */
    size_t shared;                               /* atomic: a cache has been attached, some time */
    size_t orders;                               /* atomic: trims, for the caches to follow */
    size_t order_percent;                        /* atomic: what the last one said */
    size_t lock;                                 /* atomic: guards what follows */
    mm_tier_cache *caches;                       /* attached now */
    size_t gone_owned[MM_TIER_CLASSES_MAX + 1];  /* sums of caches that have been detached */
    size_t gone_failures[MM_TIER_CLASSES_MAX + 1];
    size_t gone_samples[MM_TIER_CLASSES_MAX + 1];
    size_t gone_slack[MM_TIER_CLASSES_MAX + 1];
    size_t gone_bytes;                           /* their direct_bytes */
    size_t peaks[MM_TIER_CLASSES_MAX + 1];       /* most live that was seen, once shared */
    mm_budget *budget;                           /* as in the desc */
    size_t told_cached;                          /* what the budget was told */
    size_t told_waste;
};

/* Makes an empty tier; allocates nothing. INVALID: class sizes that do not ascend, have a gap, or
   are too small; an unknown way to wipe. Then the tier is all zero. */
MM_API MM_NODISCARD mm_status mm_tier_init(mm_tier *tier, const mm_tier_desc *desc) MM_NONNULL_ALL;

/* Frees what is cached, by every thread, and returns how many buffers are still out. Those can no
   longer be put: give them back before. Tier and attached caches are then all zero, and a
   mm_tier_cache_deinit that comes later does nothing. No other thread may use them meanwhile. */
MM_API size_t mm_tier_deinit(mm_tier *tier) MM_NONNULL_ALL;

/* A buffer of at least min_size bytes, its true capacity in *size: the smallest class that fits, or
   exactly min_size above the largest class. The content is indeterminate. When memory is refused
   everything cached here and centrally is freed and the request tried once more; then NULL, 0. */
MM_NODISCARD MM_INLINE void *mm_tier_get(mm_tier *tier, size_t min_size, size_t *size)
    MM_NONNULL_ALL;

/* Gives a buffer back with the size that get gave. dirty: how many bytes, from its start, may have
   been written; they are zeroed if the desc says wipe. More than size counts as size. With MM_DEBUG
   a second put is found, by a search through what is cached. */
MM_INLINE void mm_tier_put(mm_tier *tier, void *ptr, size_t size, size_t dirty) MM_NONNULL_ALL;

/* Shrinks at once what each class has cached, by the tier's own thread and centrally, to percent
   of what it is now, rounded down: 0 frees all. Those unused for longest go first. Attached caches
   follow when they next look beyond their front lists, or are maintained; of several trims since
   then the last counts. */
MM_API void mm_tier_trim(mm_tier *tier, unsigned percent) MM_NONNULL_ALL;

/* For a timer: frees half of what each class had cached all the time since the last call, the
   largest first, but at most `most` buffers (0: 16); the rest waits for the next call. An idle tier
   empties by and by, a busy one keeps what it needs. Returns how many buffers were freed. */
MM_API size_t mm_tier_maintain(mm_tier *tier, size_t most) MM_NONNULL_ALL;

/* The number of size classes. */
MM_INLINE size_t mm_tier_class_count(const mm_tier *tier) MM_NONNULL_ALL;

/* The figures of one class; index mm_tier_class_count() is all that was served directly. From any
   thread; takes a short lock. Exact when no other thread is within a call, else off by the batches
   that are on their way. peak is exact as long as no cache was ever attached; then the largest sum
   seen when a class fetched new memory, and by this function. */
MM_API void mm_tier_get_stats(mm_tier *tier, size_t index, mm_tier_stats *stats) MM_NONNULL_ALL;

/* Whether lists and counts agree and nothing holds more than it may. No other thread may use the
   tier meanwhile. */
MM_API bool mm_tier_check(const mm_tier *tier) MM_NONNULL_ALL;

/* The most bytes that a tier of this desc can have cached on so many threads, its own one of them,
   and centrally; 0 for a wrong desc, UINT64_MAX for more than that. */
MM_API uint64_t mm_tier_cached_max(const mm_tier_desc *desc, uint32_t threads) MM_NONNULL_ALL;

/* The tier as an allocator. A size that fills at least half of the smallest class that holds it
   gets a buffer of that class (by default 2-4, 8-17, 32-64 KiB); others go to the tier's allocator.
   Blocks have no header: the size given on free tells. With wipe, all of a freed block is zeroed.
   Valid as long as the tier is, and does not move. Not to be mixed with mm_tier_get and put. */
MM_API const mm_allocator *mm_tier_allocator(mm_tier *tier) MM_NONNULL_ALL;

/* For mm_budget_desc.reclaim_fn, with the tier as user data: frees cached buffers, the largest
   first, until `wanted` bytes are free, and returns how many are. For a budget that only the tier's
   own thread charges. */
MM_API size_t mm_tier_reclaim(size_t wanted, void *tier) MM_NONNULL_ALL;

/* ---- a tier on several threads: each has a cache, the central list is between them ---- */

/* Attaches a cache to the tier, for one thread:

       mm_tier_cache cache;
       mm_tier_cache_init(&cache, &server->tier);
       while (work(&cache)) mm_tier_cache_maintain(&cache, 0);
       mm_tier_cache_deinit(&cache);

   Allocates nothing. A cache must not move, and be deinitialised before its memory goes. */
MM_API void mm_tier_cache_init(mm_tier_cache *cache, mm_tier *tier) MM_NONNULL_ALL;

/* Hands everything that is cached back, for the other threads, and detaches the cache: what a
   thread does when it ends. Buffers that it still has out are anybody's to put. Does nothing to a
   cache of all zero, nor when the tier has been deinitialised before. */
MM_API void mm_tier_cache_deinit(mm_tier_cache *cache) MM_NONNULL_ALL;

/* As mm_tier_get and mm_tier_put. A buffer may be put to another cache than it came from. */
MM_NODISCARD MM_INLINE void *mm_tier_cache_get(mm_tier_cache *cache, size_t min_size, size_t *size)
    MM_NONNULL_ALL;
MM_INLINE void mm_tier_cache_put(mm_tier_cache *cache, void *ptr, size_t size, size_t dirty)
    MM_NONNULL_ALL;

/* As mm_tier_trim and mm_tier_maintain, for what this cache holds alone. */
MM_API void mm_tier_cache_trim(mm_tier_cache *cache, unsigned percent) MM_NONNULL_ALL;
MM_API size_t mm_tier_cache_maintain(mm_tier_cache *cache, size_t most) MM_NONNULL_ALL;

/* As mm_tier_allocator. */
MM_API const mm_allocator *mm_tier_cache_allocator(mm_tier_cache *cache) MM_NONNULL_ALL;

/* ---- budgets ---- */

/* Asked to free `wanted` bytes or more of what is charged, on the thread whose charge needs them;
   returns how many it freed, for the statistics. It may release and charge, on any budget, and give
   back, trim and remove where the charge comes from: the pool, slab or tier that is about to grow
   uses what comes back if it still gets no memory. It must not insert into a slab that grows. */
typedef size_t (*mm_reclaim_fn)(size_t wanted, void *user_data);

typedef struct mm_budget_desc {
    const char *name;              /* for reports; not copied; may be NULL */
    size_t limit;                  /* most bytes charged at a time; 0: unlimited */
    size_t soft_limit;             /* beyond it charges are granted, reclaim_fn asked; 0: none */
    mm_budget *parent;             /* charged as well; must outlive this one; NULL: a root */
    const mm_allocator *allocator; /* where memory really comes from; NULL: as the parent, or
                                      MM_MALLOC; never a budget above: it would be charged twice */
    mm_reclaim_fn reclaim_fn;      /* asked before a charge fails; NULL: nobody is */
    void *reclaim_data;            /* its user_data */
} mm_budget_desc;

typedef struct mm_budget_stats {
    size_t live;       /* bytes charged, those of budgets below included */
    size_t cached;     /* of these, bytes in caches: what mm_budget_note was told */
    size_t peak;       /* most that were charged at a time */
    size_t failures;   /* charges refused here, or memory that could not be had */
    size_t waste;      /* of live, bytes that nobody asked for: what mm_budget_note was told */
    size_t limit;      /* as set; 0: unlimited */
    size_t soft_limit; /* as set; 0: none */
    size_t crossings;  /* how often a charge went over the soft limit */
    size_t reclaims;   /* how often reclaim_fn was asked */
    size_t reclaimed;  /* bytes that it said it freed */
} mm_budget_stats;

struct mm_budget {
    size_t live;                   /* atomic: bytes charged */
    size_t limit;                  /* atomic: 0 is unlimited */
    size_t soft_limit;             /* atomic: 0 is none */
    size_t peak;                   /* atomic: most that live was after a charge */
    size_t failures;               /* atomic, as all up to reclaimed: see mm_budget_stats */
    size_t cached;
    size_t waste;
    size_t crossings;
    size_t reclaims;
    size_t reclaimed;
    size_t reclaiming;             /* atomic: reclaim_fn is running */
    mm_budget *parent;             /* fixed by init, as the rest */
    const char *name;              /* as in the desc */
    const mm_allocator *allocator; /* where memory comes from, the parent's inherited */
    mm_reclaim_fn reclaim_fn;      /* as in the desc */
    void *reclaim_data;            /* as in the desc */
    mm_allocator as_allocator;     /* what mm_budget_allocator returns */
};

/* Makes a budget with nothing charged. It must not move afterwards. */
MM_API void mm_budget_init(mm_budget *budget, const mm_budget_desc *desc) MM_NONNULL_ALL;

/* Returns the bytes still charged. They stay charged on the budgets above, as what they stand for
   is still out. No thread may use the budget any more, nor any budget below it. */
MM_API size_t mm_budget_deinit(mm_budget *budget) MM_NONNULL_ALL;

/* Charges the budget and all above it, or none: LIMIT when one of them would go over its limit,
   TOO_LARGE when a count would overflow. Before LIMIT the reclaim functions are asked, from the
   budget up to the one that refuses, but not one that is running; then it tries once more. A charge
   of 0 is always granted. */
MM_API MM_NODISCARD mm_status mm_budget_charge(mm_budget *budget, size_t size) MM_NONNULL_ALL;

/* Takes back what was charged, in any portions. */
MM_API void mm_budget_release(mm_budget *budget, size_t size) MM_NONNULL_ALL;

/* A new limit, 0 for none. Below what is charged, all charges fail until enough is released. */
MM_API void mm_budget_set_limit(mm_budget *budget, size_t limit) MM_NONNULL_ALL;

/* A new soft limit, 0 for none. Nobody is asked until a charge goes over it. */
MM_API void mm_budget_set_soft_limit(mm_budget *budget, size_t limit) MM_NONNULL_ALL;

/* Who is asked before a charge fails; NULL: nobody. Not while other threads use the budget. */
MM_API void mm_budget_set_reclaim(mm_budget *budget, mm_reclaim_fn reclaim_fn, void *user_data)
    MM_NONNULL(1);

/* Changes, on the budget and all above it, what the statistics call cached and waste: for owners of
   caches that are charged here. Either may be negative. */
MM_API void mm_budget_note(mm_budget *budget, ptrdiff_t cached, ptrdiff_t waste) MM_NONNULL_ALL;

MM_INLINE size_t mm_budget_live(const mm_budget *budget) MM_NONNULL_ALL;
MM_INLINE size_t mm_budget_peak(const mm_budget *budget) MM_NONNULL_ALL;
MM_INLINE size_t mm_budget_limit(const mm_budget *budget) MM_NONNULL_ALL;
MM_INLINE size_t mm_budget_soft_limit(const mm_budget *budget) MM_NONNULL_ALL;

/* live in percent of the limit, rounded down; 0 when unlimited. Above 100 after the limit was set
   below what is charged. */
MM_API unsigned mm_budget_percent(const mm_budget *budget) MM_NONNULL_ALL;

/* Each figure is exact; several threads may change one between the reading of two. */
MM_API void mm_budget_get_stats(const mm_budget *budget, mm_budget_stats *stats) MM_NONNULL_ALL;

/* An allocator that charges what it hands out and refuses what would go over. When the allocator
   below it fails, reclaim is asked on all levels and the request tried once more. Thread-safe if
   the allocator below it is. Valid until deinit. */
MM_API const mm_allocator *mm_budget_allocator(mm_budget *budget) MM_NONNULL_ALL;

/* ---- pressure ---- */

typedef enum mm_pressure_level { /* how near a budget is to its limit, and by default: */
    MM_PRESSURE_NORMAL = 0,      /* below 70 % */
    MM_PRESSURE_ELEVATED,        /* 70 to 85 %: make caches smaller */
    MM_PRESSURE_HIGH,            /* 85 to 95 %: empty caches, close what is idle */
    MM_PRESSURE_CRITICAL         /* above 95 %: take nothing new */
} mm_pressure_level;

#define MM_PRESSURE_NO_DWELL UINT64_MAX /* for dwell: levels may be left at once */

typedef struct mm_pressure_action mm_pressure_action;

/* Called once when the action's level is entered, and once when it is left. */
typedef void (*mm_pressure_fn)(const mm_pressure_action *action, bool entering);

struct mm_pressure_action {   /* the caller's; it must stay where it is until deinit */
    mm_pressure_level level;  /* not NORMAL */
    mm_pressure_fn fn;        /* what to do */
    void *user_data;          /* for fn: the tier, for example */
    unsigned percent;         /* for fn: what to shrink to, for example */
    mm_pressure_action *next; /* set by mm_pressure_add */
};

typedef struct mm_pressure_desc {
    const mm_budget *budget; /* whose live bytes count; must outlive the object */
    unsigned enter[3];       /* percent at which ELEVATED and HIGH, above which CRITICAL, begin,
                                ascending; all 0: 70, 85, 95 */
    unsigned leave[3];       /* percent below which they end, ascending; not above enter; 0: 5 below
                                it, or 1, 2, 3 where that is too little */
    uint64_t dwell;          /* least time from a change to one downwards, in the unit of update's
                                now; 0: 1000, a second in milliseconds */
} mm_pressure_desc;

typedef struct mm_pressure {
    const mm_budget *budget;     /* as in the desc, defaults filled in, as the next three */
    unsigned enter[3];
    unsigned leave[3];
    uint64_t dwell;
    uint64_t since;              /* when the level changed last */
    size_t level;                /* atomic: mm_pressure_level */
    size_t changes;              /* atomic: steps, up or down */
    mm_pressure_action *actions; /* in the order they were added */
    bool updating;               /* an action is running */
} mm_pressure;

/* NORMAL, with no actions. INVALID: thresholds that do not ascend or are above 100, leave above
   enter. Then the object is all zero, and remains NORMAL for ever. */
MM_API MM_NODISCARD mm_status mm_pressure_init(mm_pressure *pressure, const mm_pressure_desc *desc)
    MM_NONNULL_ALL;

/* Calls the actions of all levels that are left by this, the highest first. */
MM_API void mm_pressure_deinit(mm_pressure *pressure) MM_NONNULL_ALL;

/* Adds an action; those of a level are called in the order they were added, on leaving backwards.
   If the level holds already it is entered, for this action, now. An action may add others. */
MM_API void mm_pressure_add(mm_pressure *pressure, mm_pressure_action *action) MM_NONNULL_ALL;

/* Reads the budget and takes the steps that follow. Upwards at once, one level after the other, and
   no further when the actions of one have helped. Downwards when the last change is dwell ago, as
   far as live is below the leave thresholds. now: any clock that does not go back (an earlier now
   than before counts as no time passed). An unlimited budget is NORMAL at once. Within an action:
   changes nothing. Returns the level. */
MM_API mm_pressure_level mm_pressure_update(mm_pressure *pressure, uint64_t now) MM_NONNULL_ALL;

/* The level as of the last update; from any thread. */
MM_INLINE mm_pressure_level mm_pressure_get(const mm_pressure *pressure) MM_NONNULL_ALL;

/* Ready-made actions: on entering, trim the tier or cache in user_data to percent (0: clear it). */
MM_API void mm_pressure_trim_tier(const mm_pressure_action *action, bool entering) MM_NONNULL_ALL;
MM_API void mm_pressure_trim_cache(const mm_pressure_action *action, bool entering) MM_NONNULL_ALL;

/* "normal", "elevated", "high", "critical". */
MM_API const char *mm_pressure_string(mm_pressure_level level);

/* ---- statistics of everything ---- */

/* Takes the next size bytes of a report; anything but OK ends it. */
typedef mm_status (*mm_stats_sink)(void *user_data, const char *bytes, size_t size);

typedef enum mm_stats_format {
    MM_STATS_PROMETHEUS, /* text exposition format 0.0.4: text/plain; version=0.0.4 */
    MM_STATS_JSON        /* one object with the arrays objects, budgets, pressures: RFC 8259 */
} mm_stats_format;

typedef enum mm_stats_kind { /* what a source points to */
    MM_STATS_POOL,           /* mm_pool */
    MM_STATS_SLAB,           /* mm_slab */
    MM_STATS_TIER,           /* mm_tier: a row for each class, one for what was served directly */
    MM_STATS_BUDGET,         /* mm_budget */
    MM_STATS_PRESSURE        /* mm_pressure */
} mm_stats_kind;

typedef struct mm_stats_source {
    mm_stats_kind kind; /* the type of object */
    const char *name;   /* label, UTF-8; NULL: a budget's own name, or empty. Within a kind no two
                           may be alike: Prometheus would take them for one */
    void *object;       /* not NULL */
} mm_stats_source;

/* Writes the figures of all sources through the sink, in pieces of up to some 500 bytes; allocates
   nothing. Names are escaped, bytes that are no UTF-8 become U+FFFD. Each source has to be readable
   by this thread: tiers, budgets and levels are from any, pools and slabs are not. Returns OK, what
   the sink returned if not that, or INVALID for an unknown format or kind, nothing written. */
MM_API MM_NODISCARD mm_status mm_stats_write(const mm_stats_source *sources, size_t count,
                                             mm_stats_format format, mm_stats_sink sink,
                                             void *user_data) MM_NONNULL(4);

typedef struct mmi_stats_out { /* what is on its way to a sink; mm_metrics_write has one, too */
    mm_stats_sink sink;
    void *user_data;  /* of the sink */
    mm_status status; /* the first that was not OK; nothing is passed on after it */
    size_t used;      /* bytes in text */
    char text[512];
} mmi_stats_out;

/* Pass on what is ready; add bytes, a text, a number; a string in quotes, escaped, NULL as "". */
MM_API void mmi_stats_flush(mmi_stats_out *out) MM_NONNULL_ALL;
MM_API void mmi_stats_bytes(mmi_stats_out *out, const char *bytes, size_t size) MM_NONNULL_ALL;
MM_API void mmi_stats_text(mmi_stats_out *out, const char *text) MM_NONNULL_ALL;
MM_API void mmi_stats_number(mmi_stats_out *out, uint64_t number) MM_NONNULL_ALL;
MM_API void mmi_stats_string(mmi_stats_out *out, const char *string, mm_stats_format format)
    MM_NONNULL(1);

/* ---- deployment sizes ---- */

typedef enum mm_profile_size {
    MM_PROFILE_SMALL,  /* below 1,000 connections, 2 GiB */
    MM_PROFILE_MEDIUM, /* below 10,000 connections, 8 GiB */
    MM_PROFILE_LARGE   /* below 100,000 connections, 32 GiB */
} mm_profile_size;

typedef struct mm_profile {   /* a ready set of descs; copy it and change what differs */
    const char *name;         /* "small", "medium", "large" */
    uint64_t memory;          /* bytes of the machine it is meant for */
    uint32_t connections;     /* of the process */
    uint32_t worker_connections; /* of one worker: a slab's capacity */
    uint32_t workers;         /* that the totals are meant for */
    uint32_t open_files;      /* entries of the open-file cache */
    uint64_t response_cache;  /* bytes */
    uint64_t session_cache;   /* bytes, of TLS sessions */
    mm_budget_desc budget;    /* of the process: half of memory; soft limit where pressure begins.
                                 At most SIZE_MAX where that is less */
    mm_tier_desc tier;        /* of the process, a cache for each worker: classes and limits */
    mm_pressure_desc pressure; /* thresholds and dwell, in milliseconds */
} mm_profile;

/* The constants of a size; an unknown one is SMALL. */
MM_API const mm_profile *mm_profile_get(mm_profile_size size);

/* ---- inline ---- */

MM_API void *mmi_pool_get_slow(mm_pool *pool) MM_COLD MM_NONNULL_ALL;
MM_API MM_NODISCARD void *mmi_pool_get_at(mm_pool *pool, const char *file, int line) MM_NONNULL(1);
MM_API void mmi_pool_put_at(mm_pool *pool, void *object, const char *file, int line) MM_NONNULL(1)
    MM_NONNULL(2);
MM_API void mmi_pool_put_remote_at(mm_pool *pool, void *object, const char *file, int line)
    MM_NONNULL(1) MM_NONNULL(2);
MM_API void mmi_ref_saturate(mm_ref *ref, size_t before) MM_COLD MM_NONNULL_ALL;
MM_API MM_NODISCARD void *mmi_object_new_at(mm_pool *pool, void (*destroy_fn)(void *object),
                                            const char *file, int line) MM_NONNULL(1);
MM_API void mmi_object_end(void *object, bool local, const char *file, int line) MM_NONNULL(1);

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

/* No memory checker is told of anything here: under one, free_list is NULL and slow is set. */
MM_INLINE void *mm_pool_get(mm_pool *pool)
{
    void *object = pool->free_list;
    if (MM_UNLIKELY(object == NULL)) return mmi_pool_get_slow(pool);
    MM_MEMCPY(&pool->free_list, object, sizeof(pool->free_list));
    return object;
}

MM_INLINE void mm_pool_put(mm_pool *pool, void *object)
{
    if (MM_UNLIKELY(pool->slow != 0)) {
        mmi_pool_put_at(pool, object, NULL, 0);
        return;
    }
    MM_MEMCPY(object, &pool->free_list, sizeof(pool->free_list));
    pool->free_list = object;
}

/* A pool that has more to do with its objects gets them one by one. */
MM_INLINE void mm_pool_put_batched(mm_pool *pool, mm_pool_batch *batch, void *object)
{
    if (MM_UNLIKELY(pool->special != 0)) {
        mmi_pool_put_remote_at(pool, object, NULL, 0);
        return;
    }
    if (batch->first == NULL) batch->last = object;
    MM_MEMCPY(object, &batch->first, sizeof(batch->first));
    batch->first = object;
    if (MM_UNLIKELY(++batch->count >= MM_POOL_BATCH)) mm_pool_batch_flush(pool, batch);
}

/* With MM_DEBUG the place of the call goes along. Functions of these names remain. */
#ifdef MM_DEBUG
#define mm_pool_get(pool) mmi_pool_get_at((pool), __FILE__, __LINE__)
#define mm_pool_put(pool, object) mmi_pool_put_at((pool), (object), __FILE__, __LINE__)
#define mm_pool_put_remote(pool, object) \
    mmi_pool_put_remote_at((pool), (object), __FILE__, __LINE__)
#define mm_pool_put_batched(pool, batch, object) \
    ((void)(batch), mmi_pool_put_remote_at((pool), (object), __FILE__, __LINE__))
#endif

#define MMI_REF_MAX (SIZE_MAX / 2)

MM_INLINE void mm_ref_init(mm_ref *ref)
{
    mmi_atomic_store(&ref->count, 1);
}

MM_INLINE void mm_ref_retain(mm_ref *ref)
{
    size_t before = mmi_atomic_add(&ref->count, 1);
    if (MM_UNLIKELY(before - 1 >= MMI_REF_MAX)) mmi_ref_saturate(ref, before); /* 0 as well */
}

MM_INLINE bool mm_ref_retain_unless_zero(mm_ref *ref)
{
    size_t count = mmi_atomic_load(&ref->count);
    do {
        if (count == 0) return false;
        if (MM_UNLIKELY(count > MMI_REF_MAX)) return true;
    } while (!mmi_atomic_cas(&ref->count, &count, count + 1));
    return true;
}

MM_INLINE bool mm_ref_release(mm_ref *ref)
{
    size_t before = mmi_atomic_add(&ref->count, (size_t)0 - 1);
    if (MM_UNLIKELY(before - 1 >= MMI_REF_MAX)) mmi_ref_saturate(ref, before);
    return before == 1;
}

MM_INLINE size_t mm_ref_count(const mm_ref *ref)
{
    return mmi_atomic_load(&ref->count);
}

MM_INLINE void mm_object_retain(void *object)
{
    mm_ref_retain(&((mm_object *)object)->ref);
}

MM_INLINE bool mm_object_retain_unless_zero(void *object)
{
    return mm_ref_retain_unless_zero(&((mm_object *)object)->ref);
}

MM_INLINE bool mmi_object_release_at(void *object, bool local, const char *file, int line)
{
    if (!mm_ref_release(&((mm_object *)object)->ref)) return false;
    mmi_object_end(object, local, file, line);
    return true;
}

MM_INLINE bool mm_object_release(void *object)
{
    return mmi_object_release_at(object, false, NULL, 0);
}

MM_INLINE bool mm_object_release_local(void *object)
{
    return mmi_object_release_at(object, true, NULL, 0);
}

#ifdef MM_DEBUG /* as above */
#define mm_object_new(pool, destroy_fn) \
    mmi_object_new_at((pool), (destroy_fn), __FILE__, __LINE__)
#define mm_object_release(object) mmi_object_release_at((object), false, __FILE__, __LINE__)
#define mm_object_release_local(object) mmi_object_release_at((object), true, __FILE__, __LINE__)
#endif

MM_INLINE unsigned char *mmi_slab_object(const mm_slab *slab, uint32_t index)
{
    return slab->segments[index >> slab->shift].objects + (index & slab->mask) * slab->stride;
}

MM_INLINE uint64_t *mmi_slab_slot(unsigned char *object)
{
    return (uint64_t *)(void *)(object - sizeof(uint64_t));
}

MM_INLINE void *mm_slab_get(const mm_slab *slab, mm_handle handle)
{
    uint32_t index = (uint32_t)handle - 1; /* 0 becomes the largest, which is never used */
    unsigned char *object;
    if (index >= slab->used) return NULL;
    object = mmi_slab_object(slab, index);
    return *mmi_slab_slot(object) == handle ? object : NULL;
}

MM_INLINE uint32_t mm_slab_count(const mm_slab *slab)
{
    return slab->count;
}

/* Figures that one thread writes and others may read. */
#if defined(_MSC_VER) && !defined(__clang__)
#define mmi_tier_read(p) (*(const volatile size_t *)(p))
#define mmi_tier_write(p, v) ((void)(*(volatile size_t *)(p) = (v)))
#else
#define mmi_tier_read(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define mmi_tier_write(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#endif

/* What a cached buffer behind the front begins with; the second and third only the first buffer of
   a magazine that is not in use. Copied, not cast: users' types lie there too. */
typedef struct mmi_tier_words {
    void *next;   /* buffer of the same magazine */
    void *batch;  /* the next magazine */
    size_t count; /* buffers in this one */
} mmi_tier_words;

MM_API void *mmi_tier_get_slow(mm_tier_cache *cache, size_t asked, size_t *size) MM_COLD
    MM_NONNULL_ALL;
MM_API void mmi_tier_put_slow(mm_tier_cache *cache, void *ptr, size_t size, size_t dirty)
    MM_COLD MM_NONNULL_ALL;

/* Where to begin to look for the class of a size other than 0, and where to end unless its bucket
   has sizes of several classes: the row is the right one or holds less than size. That is so beyond
   64 KiB as well, where the buckets come round again, hence no bound need be checked. Sizes change
   from call to call, so that a search through the classes is mispredicted: 20 ns instead of 6 in
   the row "2 to 64 KiB" of tests/bench/tier.c. */
MM_INLINE mmi_tier_row *mmi_tier_guess(mm_tier_cache *cache, size_t size)
{
    size_t bucket = (uint8_t)((size - 1) / MMI_TIER_BUCKET);
    return (mmi_tier_row *)(void *)((unsigned char *)cache->rows + cache->buckets[bucket]);
}

/* The row of a standard class, if the tier has the standard classes. A size that the compiler knows
   needs no lookup then: its row is at a fixed distance from the cache. "16 KiB, 8 out" takes 1.1 ns
   in tests/bench/tier.c, with "size in a variable" 1.4, and 0.8 with a mere array as a stack. */
MM_INLINE mmi_tier_row *mmi_tier_standard(mm_tier_cache *cache, size_t size)
{
    return &cache->rows[size <= 4096 ? 0 : size <= 16384 ? 1 : size <= MM_TIER_TLS_RECORD ? 2 : 3];
}

#ifdef __GNUC__
#define MMI_TIER_IS_KNOWN(size) __builtin_constant_p(size)
#else
#define MMI_TIER_IS_KNOWN(size) 0
#endif

/* Takes the last buffer in front out of a row that has one. */
MM_INLINE void *mmi_tier_pop(mmi_tier_row *row, size_t size)
{
    size_t count = row->count - 1;
    void *buffer = row->front[count];
    mmi_tier_write(&row->count, count);
    MM_TRACK_UNPOISON(buffer, size);
    (void)size;
    return buffer;
}

MM_INLINE void mmi_tier_push(mmi_tier_row *row, void *buffer, size_t size)
{
    size_t count = row->count;
    MM_TRACK_POISON(buffer, size);
    (void)size;
    row->front[count] = buffer;
    mmi_tier_write(&row->count, count + 1);
}

MM_NODISCARD MM_INLINE void *mm_tier_cache_get(mm_tier_cache *cache, size_t min_size, size_t *size)
{
    mmi_tier_row *row;
    if (MMI_TIER_IS_KNOWN(min_size)) {
        row = mmi_tier_standard(cache, min_size);
        if (MM_LIKELY(row->size == min_size && row->count != row->floor)) {
            *size = min_size;
            return mmi_tier_pop(row, min_size);
        }
    }
    row = mmi_tier_guess(cache, min_size);
    if (MM_UNLIKELY(min_size - 1 >= row->size || row->count == row->floor)) { /* 0 wraps, as well */
        return mmi_tier_get_slow(cache, min_size, size);
    }
    *size = row->size;
    return mmi_tier_pop(row, row->size);
}

MM_INLINE void mm_tier_cache_put(mm_tier_cache *cache, void *ptr, size_t size, size_t dirty)
{
#ifndef MM_DEBUG /* where every put is looked at */
    mmi_tier_row *row;
    if (MMI_TIER_IS_KNOWN(size)) {
        row = mmi_tier_standard(cache, size);
        if (MM_LIKELY(row->size == size && row->count < row->room)) {
            mmi_tier_push(row, ptr, size);
            return;
        }
    }
    row = mmi_tier_guess(cache, size);
    if (MM_LIKELY(row->size == size && row->count < row->room)) {
        mmi_tier_push(row, ptr, size);
        return;
    }
#endif
    mmi_tier_put_slow(cache, ptr, size, dirty);
}

MM_NODISCARD MM_INLINE void *mm_tier_get(mm_tier *tier, size_t min_size, size_t *size)
{
    return mm_tier_cache_get(&tier->own, min_size, size);
}

MM_INLINE void mm_tier_put(mm_tier *tier, void *ptr, size_t size, size_t dirty)
{
    mm_tier_cache_put(&tier->own, ptr, size, dirty);
}

MM_INLINE size_t mm_tier_class_count(const mm_tier *tier)
{
    return tier->own.class_count;
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

MM_INLINE size_t mm_budget_soft_limit(const mm_budget *budget)
{
    return mmi_atomic_load(&budget->soft_limit);
}

MM_INLINE mm_pressure_level mm_pressure_get(const mm_pressure *pressure)
{
    return (mm_pressure_level)mmi_atomic_load(&pressure->level);
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
#if defined(__linux__) && defined(__GNUC__) && !defined(__hppa__) && !defined(MM_SYS_MADVISE)
#define MMI_LIBC_MADVISE /* declared below */
#define MM_SYS_MADVISE(ptr, size, advice) mmi_pool_madvise(ptr, size, advice)
#endif
#ifdef MM_SYS_MADVISE
#include <unistd.h> /* sysconf, for the size of a page */
#endif

#ifdef __cplusplus
extern "C" {
#endif

// >>secret: what pool and tier share to leave none behind

/* Not memset by name: a compiler may drop that in front of a free. */
static void mmi_pool_wipe(void *ptr, size_t size)
{
    static void *(*const volatile wipe)(void *, int, size_t) = memset;
    (void)wipe(ptr, 0, size);
}

#ifdef MM_SYS_MADVISE
#define MMI_POOL_DO_NOT_DUMP 16 /* MADV_DONTDUMP and MADV_DODUMP of Linux, which hides them too */
#define MMI_POOL_DUMP 17
#ifdef MMI_LIBC_MADVISE
/* <sys/mman.h> hides it from strict C programs, hence under a name of our own. */
extern int mmi_pool_madvise(void *address, size_t size, int advice) __asm__("madvise");
#endif

static size_t mmi_pool_page_size(void)
{
    long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? (size_t)page : 1;
}

/* Whole pages. Advice that is refused (before Linux 3.4) costs secrecy in a core dump, which
   nothing here can mend. */
static void mmi_pool_hide_pages(uintptr_t begin, uintptr_t end, bool hide)
{
    if (begin >= end || mmi_pool_page_size() == 1) return;
    (void)MM_SYS_MADVISE((void *)begin, end - begin, hide ? MMI_POOL_DO_NOT_DUMP : MMI_POOL_DUMP);
}
#else
static size_t mmi_pool_page_size(void)
{
    return 1;
}

static void mmi_pool_hide_pages(uintptr_t begin, uintptr_t end, bool hide)
{
    (void)begin, (void)end, (void)hide;
}
#endif

// >>layout: what pool and slab share

#define MMI_POOL_ALIGN (2 * sizeof(void *)) /* what malloc and every mm_allocator gives */
#define MMI_POOL_OBJECTS_MIN 8u             /* objects in the smallest segment */
#define MMI_POOL_SEGMENT 16384u             /* bytes of a default segment */

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

/* The next of a free object of size bytes, which stays free. */
static void *mmi_pool_peek(void *object, size_t size)
{
    void *next = mmi_pool_link(object);
    MM_TRACK_POISON(object, size);
    return next;
}

// >>pool: objects of one size

#define MMI_POOL_UNHOLD 32u          /* objects that go from held to free_list in a cold call */
#define MMI_POOL_FILL 0xDB           /* in free objects that have a head: late writes show */
#define MMI_POOL_ZONE MMI_POOL_ALIGN /* out of bounds between a head and its object */

/* Its size is a multiple of MMI_POOL_ALIGN, so that no slack is needed for the default. */
typedef struct mmi_pool_segment {
    struct mmi_pool_segment *next; /* begins with the link, as free objects do: see mmi_pool_sort */
    unsigned char *objects;        /* the first object */
    size_t count;                  /* objects */
    size_t bytes;                  /* size of the block */
} mmi_pool_segment;

/* Before each object, with MM_DEBUG and where objects are kept separate. */
typedef struct mmi_pool_head {
    struct mmi_pool_head *newer; /* among those out: got after this one */
    struct mmi_pool_head *older; /* and before it */
    void *link;                  /* free: the next object, instead of a link inside this one */
    void *block;                 /* separate: what the allocator gave */
    size_t guard;                /* atomic: mmi_pool_guard while out; its complement while free */
    const char *get_file;        /* where it was got last */
    const char *put_file;        /* and put */
    int get_line;
    int put_line;
} mmi_pool_head;

static mmi_pool_head *mmi_pool_head_of(const void *object)
{
    return (mmi_pool_head *)((uintptr_t)object - MMI_POOL_ZONE) - 1;
}

static void *mmi_pool_object_of(const mmi_pool_head *head)
{
    return (void *)((uintptr_t)(head + 1) + MMI_POOL_ZONE);
}

/* Nothing else in memory has this value by chance, nor the same object of another pool. */
static size_t mmi_pool_guard(const mm_pool *pool, const void *object)
{
    size_t value = (size_t)(uintptr_t)object ^ ((size_t)(uintptr_t)pool << 1);
    return (value ^ value >> 7) * (size_t)0x9E3779B97F4A7C15u | 1;
}

/* The guard of what may be no object at all, so that a memory checker is not to look. */
#if defined(__GNUC__) || defined(__clang__)
#define MMI_POOL_UNCHECKED __attribute__((noinline, no_sanitize_address))
#else
#define MMI_POOL_UNCHECKED
#endif
static MMI_POOL_UNCHECKED size_t mmi_pool_read_guard(const void *object)
{
    size_t guard;
#ifdef VALGRIND_DISABLE_ERROR_REPORTING
    VALGRIND_DISABLE_ERROR_REPORTING;
#endif
    guard = mmi_atomic_load(&mmi_pool_head_of(object)->guard);
#ifdef VALGRIND_DISABLE_ERROR_REPORTING
    (void)VALGRIND_MAKE_MEM_DEFINED(&guard, sizeof(guard));
    VALGRIND_ENABLE_ERROR_REPORTING;
#endif
    return guard;
}

/* Whether a memory checker looks on, which is to see each object by itself. */
static bool mmi_pool_is_watched(void)
{
#if defined(MMI_ASAN)
    return true;
#elif defined(RUNNING_ON_VALGRIND)
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}

// >>pool links

static void *mmi_pool_next(const mm_pool *pool, void *object)
{
    return pool->front != 0 ? mmi_pool_head_of(object)->link
                            : mmi_pool_peek(object, sizeof(void *));
}

static void mmi_pool_set_next(const mm_pool *pool, void *object, void *next)
{
    if (pool->front != 0) mmi_pool_head_of(object)->link = next;
    else mmi_pool_set_link(object, next, sizeof(void *));
}

/* A list node's link, bytes back from where the node begins. */
static void *mmi_pool_raw_next(const void *node, size_t back)
{
    void *next;
    MM_MEMCPY(&next, (const unsigned char *)node - back, sizeof(next));
    return next;
}

static void mmi_pool_raw_set(void *node, void *next, size_t back)
{
    MM_MEMCPY((unsigned char *)node - back, &next, sizeof(next));
}

static void *mmi_pool_merge(void *a, void *b, size_t back)
{
    void *first = NULL, *last = NULL;
    while (a != NULL && b != NULL) {
        void *node = (uintptr_t)a < (uintptr_t)b ? a : b;
        if (node == a) a = mmi_pool_raw_next(a, back);
        else b = mmi_pool_raw_next(b, back);
        if (last == NULL) first = node;
        else mmi_pool_raw_set(last, node, back);
        last = node;
    }
    if (last == NULL) return a != NULL ? a : b;
    mmi_pool_raw_set(last, a != NULL ? a : b, back);
    return first;
}

/* Orders a list by address, in place: runs[i] is NULL or ordered, with 2^i nodes. */
static void *mmi_pool_sort(void *list, size_t back)
{
    void *runs[sizeof(size_t) * 8] = {NULL};
    size_t i;
    while (list != NULL) {
        void *run = list;
        list = mmi_pool_raw_next(list, back);
        mmi_pool_raw_set(run, NULL, back);
        for (i = 0; runs[i] != NULL; i++) {
            run = mmi_pool_merge(runs[i], run, back);
            runs[i] = NULL;
        }
        runs[i] = run;
    }
    for (i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        list = mmi_pool_merge(runs[i], list, back);
    }
    return list;
}

// >>pool segments

/* SECRET: the pages of a segment are its own, to be kept out of core dumps. */
static size_t mmi_pool_page(const mm_pool *pool)
{
    return pool->zero == MM_POOL_ZERO_SECRET ? mmi_pool_page_size() : 1;
}

/* From the first cell on: what a segment has that is not its header. */
static void mmi_pool_keep_out_of_dumps(const mm_pool *pool, const mmi_pool_segment *segment,
                                       bool keep_out)
{
    size_t page = mmi_pool_page(pool);
    unsigned char *from = mmi_pool_align(segment->objects - pool->front, page);
    uintptr_t end = ((uintptr_t)segment + segment->bytes) & ~((uintptr_t)page - 1);
    if (page != 1) mmi_pool_hide_pages((uintptr_t)from, end, keep_out);
}

static size_t mmi_pool_round_up(size_t size, size_t page)
{
    return (size + page - 1) & ~(page - 1);
}

/* The size of a segment's block; false when it overflows. */
static bool mmi_pool_measure(const mm_pool *pool, size_t page, size_t count, size_t *bytes)
{
    size_t base = page > pool->alignment ? page : pool->alignment, objects;
    if (!mm_size_mul(count, pool->stride, &objects) || objects > SIZE_MAX - page) return false;
    objects = mmi_pool_round_up(objects, page);
    return mm_size_add(objects, mmi_pool_slack(base), &objects) &&
           mm_size_add(objects, sizeof(mmi_pool_segment), bytes);
}

static size_t mmi_pool_default_objects(size_t alignment, size_t stride)
{
    size_t head = sizeof(mmi_pool_segment) + mmi_pool_slack(alignment);
    return head < MMI_POOL_SEGMENT ? (MMI_POOL_SEGMENT - head) / stride : 0;
}

/* Makes the block a segment whose objects are all fresh. It must not have fresh ones elsewhere. */
static void mmi_pool_add_block(mm_pool *pool, void *block, size_t page, size_t count, size_t bytes)
{
    mmi_pool_segment *segment = (mmi_pool_segment *)block;
    size_t base = page > pool->alignment ? page : pool->alignment, i;
    segment->next = pool->segments;
    segment->objects = mmi_pool_align((unsigned char *)(segment + 1), base) + pool->front;
    segment->count = count;
    segment->bytes = bytes;
    MM_TRACK_POISON(segment->objects - pool->front, count * pool->stride);
    for (i = 0; pool->front != 0 && i < count; i++) { /* a guard of an earlier pool may lie there */
        mmi_pool_head *head = mmi_pool_head_of(segment->objects + i * pool->stride);
        MM_TRACK_UNPOISON(head, sizeof(*head));
        memset(head, 0, sizeof(*head));
    }
    mmi_pool_keep_out_of_dumps(pool, segment, true);
    pool->segments = segment;
    pool->segment_count++;
    pool->objects += count;
    pool->bytes += bytes;
    pool->fresh = segment->objects;
    pool->fresh_count = count;
}

static void mmi_pool_add_segment(mm_pool *pool)
{
    void *block;
    if (pool->segment_bytes == 0 || pool->fixed) return;
    block = mmi_alloc(pool->allocator, pool->segment_bytes);
    if (block == NULL) return;
    if (pool->fresh_count != 0) { /* a reclaim function has got objects */
        mmi_free(pool->allocator, block, pool->segment_bytes);
        return;
    }
    mmi_pool_add_block(pool, block, mmi_pool_page(pool), pool->segment_objects,
                       pool->segment_bytes);
}

/* The caller's memory is a segment like others, only that nobody frees it. */
static mm_status mmi_pool_add_memory(mm_pool *pool, const mm_pool_desc *desc)
{
    unsigned char *block = mmi_pool_align((unsigned char *)desc->memory, MMI_POOL_ALIGN);
    size_t lost = (size_t)(block - (unsigned char *)desc->memory);
    size_t lead = lost + sizeof(mmi_pool_segment);
    lead += ((size_t)0 - ((uintptr_t)desc->memory + lead)) & (pool->alignment - 1);
    if (desc->memory_size < lead || desc->memory_size - lead < pool->stride) {
        return MM_STATUS_INVALID;
    }
    mmi_pool_add_block(pool, block, 1, (desc->memory_size - lead) / pool->stride,
                       desc->memory_size - lost);
    pool->borrowed = pool->segments;
    return MM_STATUS_OK;
}

/* The segment is in no list any more. */
static void mmi_pool_free_segment(mm_pool *pool, mmi_pool_segment *segment)
{
    unsigned char *objects = segment->objects - pool->front;
    size_t bytes = segment->bytes;
    MM_TRACK_UNPOISON(objects, (uintptr_t)segment + bytes - (uintptr_t)objects);
    if (pool->zero == MM_POOL_ZERO_SECRET) {
        mmi_pool_wipe(objects, segment->count * pool->stride);
        mmi_pool_keep_out_of_dumps(pool, segment, false);
    }
    pool->segment_count--;
    pool->objects -= segment->count;
    pool->bytes -= bytes;
    if (segment != pool->borrowed) mmi_free(pool->allocator, segment, bytes);
}

/* How many objects at the end of a segment were never out. */
static size_t mmi_pool_fresh_in(const mm_pool *pool, const mmi_pool_segment *segment)
{
    uintptr_t offset = (uintptr_t)pool->fresh - (uintptr_t)segment->objects;
    return offset < segment->count * pool->stride ? pool->fresh_count : 0;
}

/* The objects that were out at some time, most of which may be free again. */
static size_t mmi_pool_carved(const mm_pool *pool)
{
    return pool->objects - pool->fresh_count;
}

/* Whether an object can be had, where none is free: a fresh one, or one that came back while memory
   was fetched, as a reclaim function may put. */
static bool mmi_pool_has_room(mm_pool *pool)
{
    if (mmi_pool_carved(pool) >= pool->capacity) return false;
    if (pool->fresh_count == 0) mmi_pool_add_segment(pool);
    return pool->fresh_count != 0 || pool->free_list != NULL || pool->held != NULL;
}

/* The first use of an object. Only where nothing else is free, so that all that was carved is out:
   that is how the capacity is kept and the peak known without counting. */
static void *mmi_pool_carve(mm_pool *pool)
{
    void *object = pool->fresh;
    pool->fresh_count--;
    if (pool->fresh_count != 0) pool->fresh += pool->stride;
    return object;
}

static size_t mmi_pool_peak(const mm_pool *pool)
{
    size_t carved = mmi_pool_carved(pool);
    return carved > pool->peak ? carved : pool->peak;
}

// >>pool init

static bool mmi_pool_is_separate(const mm_pool_desc *desc)
{
    if (desc->mode != MM_POOL_MODE_DEFAULT) return desc->mode == MM_POOL_MODE_SEPARATE;
    return desc->memory == NULL && mmi_pool_is_watched();
}

static bool mmi_pool_is_debugged(void)
{
#ifdef MM_DEBUG
    return true;
#else
    return false;
#endif
}

/* How many objects a segment has, and its size; false when that overflows. */
static bool mmi_pool_plan_segment(mm_pool *pool, size_t objects)
{
    size_t page = mmi_pool_page(pool);
    if (objects == 0) objects = mmi_pool_default_objects(pool->alignment, pool->stride);
    if (objects > pool->capacity) objects = pool->capacity;
    if (objects < MMI_POOL_OBJECTS_MIN) objects = MMI_POOL_OBJECTS_MIN;
    if (!mmi_pool_measure(pool, page, objects, &pool->segment_bytes)) return false;
    pool->segment_objects = objects;
    if (page > 1) { /* as many as the pages hold */
        pool->segment_objects = mmi_pool_round_up(objects * pool->stride, page) / pool->stride;
    }
    return true;
}

/* What the desc comes to, before there is memory. */
static mm_status mmi_pool_plan(mm_pool *pool, const mm_pool_desc *desc)
{
    size_t alignment = desc->alignment, stride;
    mm_status status;
    memset(pool, 0, sizeof(*pool));
    if (mmi_pool_is_watched() && (alignment == 1 || alignment == 2 || alignment == 4)) {
        alignment = 8; /* what ASan can tell apart */
    }
    status = mmi_pool_layout(desc->size, &alignment, &stride);
    if (status != MM_STATUS_OK) return status;
    pool->size = desc->size;
    pool->alignment = alignment;
    pool->zero = desc->zero;
    pool->capacity = desc->capacity == 0 ? SIZE_MAX : desc->capacity;
    pool->separate = mmi_pool_is_separate(desc);
    if (pool->separate || mmi_pool_is_debugged()) {
        pool->front = mmi_pool_round_up(sizeof(mmi_pool_head) + MMI_POOL_ZONE, alignment);
    }
    pool->special = pool->front != 0 || pool->zero != MM_POOL_ZERO_NONE || mmi_pool_is_watched();
    pool->slow = pool->special;
    if (!mm_size_add(stride, pool->front, &pool->stride)) return MM_STATUS_TOO_LARGE;
    if (pool->separate) {
        size_t lead = pool->front + mmi_pool_slack(alignment);
        if (!mm_size_add(lead, desc->size, &pool->segment_bytes)) return MM_STATUS_TOO_LARGE;
        return MM_STATUS_OK;
    }
    if (!mmi_pool_plan_segment(pool, desc->segment_objects)) return MM_STATUS_TOO_LARGE;
    return MM_STATUS_OK;
}

MM_API mm_status mm_pool_init(mm_pool *pool, const mm_pool_desc *desc)
{
    mm_status status = mmi_pool_plan(pool, desc);
    if (desc->memory == NULL ? desc->fixed : desc->mode == MM_POOL_MODE_SEPARATE) {
        status = MM_STATUS_INVALID;
    }
    if (desc->zero > MM_POOL_ZERO_SECRET || desc->mode > MM_POOL_MODE_SEPARATE) {
        status = MM_STATUS_INVALID;
    }
    pool->allocator = desc->allocator;
    pool->fixed = desc->fixed;
    pool->misuse_fn = desc->misuse_fn;
    pool->misuse_data = desc->misuse_data;
    if (status == MM_STATUS_OK && desc->memory != NULL) status = mmi_pool_add_memory(pool, desc);
    if (status != MM_STATUS_OK) memset(pool, 0, sizeof(*pool));
    return status;
}

MM_API size_t mm_pool_bytes_needed(const mm_pool_desc *desc, size_t objects)
{
    mm_pool_desc segments = *desc;
    mm_pool pool;
    size_t bytes;
    segments.mode = MM_POOL_MODE_SEGMENTS;
    if (mmi_pool_plan(&pool, &segments) != MM_STATUS_OK) return 0;
    if (!mmi_pool_measure(&pool, 1, objects, &bytes)) return 0;
    return mm_size_add(bytes, MMI_POOL_ALIGN - 1, &bytes) ? bytes : 0;
}

MM_API mm_pool *mm_pool_create(const mm_pool_desc *desc)
{
    void *block = mmi_alloc(desc->allocator, sizeof(mm_pool));
    mm_pool *pool = (mm_pool *)block;
    if (pool == NULL || mm_pool_init(pool, desc) == MM_STATUS_OK) return pool;
    mmi_free(desc->allocator, block, sizeof(mm_pool));
    return NULL;
}

MM_API size_t mm_pool_destroy(mm_pool *pool)
{
    const mm_allocator *allocator = pool->allocator;
    size_t live = mm_pool_deinit(pool);
    mmi_free(allocator, pool, sizeof(*pool));
    return live;
}

// >>pool heads

static void mmi_pool_misused(mm_pool *pool, const char *what, const void *object, bool has_head,
                             const char *file, int line)
{
    mm_pool_misuse misuse;
    memset(&misuse, 0, sizeof(misuse));
    misuse.what = what;
    misuse.pool = pool;
    misuse.object = object;
    misuse.file = file;
    misuse.line = line;
    if (has_head) {
        const mmi_pool_head *head = mmi_pool_head_of(object);
        misuse.get_file = head->get_file;
        misuse.get_line = head->get_line;
        misuse.put_file = head->put_file;
        misuse.put_line = head->put_line;
    }
    if (pool->misuse_fn != NULL) pool->misuse_fn(&misuse, pool->misuse_data);
    else MM_ASSERT(misuse.what == NULL); /* misuse says what, and where */
}

/* Decides, against other threads too, that this put is the one that gives the object back. */
static bool mmi_pool_claim(mm_pool *pool, void *object, const char *file, int line)
{
    mmi_pool_head *head = mmi_pool_head_of(object);
    size_t out = mmi_pool_guard(pool, object), seen = 0;
    if (((uintptr_t)object & (pool->alignment - 1)) == 0) seen = mmi_pool_read_guard(object);
    if (seen == out && mmi_atomic_cas(&head->guard, &seen, ~out)) {
        head->put_file = file;
        head->put_line = line;
        return true;
    }
    mmi_pool_misused(pool, seen == ~out ? "put twice" : "put of what this pool did not hand out",
                     object, seen == ~out, file, line);
    return false;
}

static void mmi_pool_link_head(mm_pool *pool, mmi_pool_head *head)
{
    head->newer = NULL;
    head->older = pool->newest;
    if (pool->newest != NULL) pool->newest->newer = head;
    pool->newest = head;
}

static void mmi_pool_unlink_head(mm_pool *pool, mmi_pool_head *head)
{
    if (head->newer != NULL) head->newer->older = head->older;
    else pool->newest = head->older;
    if (head->older != NULL) head->older->newer = head->newer;
}

static bool mmi_pool_is_filled(const mm_pool *pool, const void *object)
{
    const unsigned char *bytes = (const unsigned char *)object;
    unsigned char with = pool->zero >= MM_POOL_ZERO_ON_PUT ? 0 : MMI_POOL_FILL;
    size_t i;
    for (i = 0; i < pool->size; i++) {
        if (bytes[i] != with) return false;
    }
    return true;
}

/* An object with a head goes out. */
static void mmi_pool_check_out(mm_pool *pool, void *object, bool fresh, const char *file, int line)
{
    mmi_pool_head *head = mmi_pool_head_of(object);
    size_t out = mmi_pool_guard(pool, object);
    if (!fresh && (mmi_atomic_load(&head->guard) != ~out || !mmi_pool_is_filled(pool, object))) {
        mmi_pool_misused(pool, "written to after its put", object, true, file, line);
    }
    head->get_file = file;
    head->get_line = line;
    mmi_atomic_store(&head->guard, out);
    mmi_pool_link_head(pool, head);
}

/* Objects kept separate: those out, and what other threads have put. */
static size_t mmi_pool_allocated(const mm_pool *pool)
{
    return pool->bytes == 0 ? 0 : pool->bytes / pool->segment_bytes;
}

static void *mmi_pool_alloc_separate(mm_pool *pool)
{
    void *block, *object;
    mmi_pool_head *head;
    if (mmi_pool_allocated(pool) >= pool->capacity) return NULL;
    block = mmi_alloc(pool->allocator, pool->segment_bytes);
    if (block == NULL) return NULL;
    object = mmi_pool_align((unsigned char *)block, pool->alignment) + pool->front;
    head = mmi_pool_head_of(object);
    memset(head, 0, sizeof(*head));
    head->block = block;
    MM_TRACK_POISON(head + 1, MMI_POOL_ZONE);
    pool->bytes += pool->segment_bytes;
    if (mmi_pool_allocated(pool) > pool->peak) pool->peak = mmi_pool_allocated(pool);
    return object;
}

static void mmi_pool_free_separate(mm_pool *pool, void *object)
{
    void *block = mmi_pool_head_of(object)->block;
    MM_TRACK_UNPOISON(mmi_pool_head_of(object) + 1, MMI_POOL_ZONE + pool->size);
    if (pool->zero == MM_POOL_ZERO_SECRET) mmi_pool_wipe(object, pool->size);
    pool->bytes -= pool->segment_bytes;
    mmi_free(pool->allocator, block, pool->segment_bytes);
}

// >>pool get and put

/* All that other threads have put, the last one first. Nothing is taken off by itself, so that no
   node can come back in between. */
static void *mmi_pool_take_remote(mm_pool *pool)
{
    size_t first = mmi_atomic_load(&pool->remote);
    while (first != 0 && !mmi_atomic_cas(&pool->remote, &first, 0)) continue;
    return (void *)(uintptr_t)first;
}

/* An object that is free comes home, where get and put have more to do. */
static void mmi_pool_home(mm_pool *pool, void *object)
{
    if (pool->front != 0) mmi_pool_unlink_head(pool, mmi_pool_head_of(object));
    if (pool->separate) {
        mmi_pool_free_separate(pool, object);
        return;
    }
    mmi_pool_set_next(pool, object, pool->held);
    pool->held = object;
    pool->held_count++;
}

MM_API size_t mm_pool_collect(mm_pool *pool)
{
    void *object = mmi_pool_take_remote(pool), *next;
    size_t count = 0;
    for (; object != NULL; object = next, count++) {
        next = mmi_pool_next(pool, object);
        if (pool->slow != 0) {
            mmi_pool_home(pool, object);
        } else {
            mmi_pool_set_next(pool, object, pool->free_list);
            pool->free_list = object;
        }
    }
    return count;
}

static void mmi_pool_note_low(mm_pool *pool)
{
    if (pool->held_count < pool->held_low) pool->held_low = pool->held_count;
}

/* Gives some of held back to free_list, in the same order. */
static void mmi_pool_unhold(mm_pool *pool)
{
    void *last = pool->held, *next = mmi_pool_next(pool, last);
    size_t count = 1;
    for (; count < MMI_POOL_UNHOLD && next != NULL; count++) {
        last = next;
        next = mmi_pool_next(pool, last);
    }
    mmi_pool_set_next(pool, last, NULL);
    pool->free_list = pool->held;
    pool->held = next;
    pool->held_count -= count;
    mmi_pool_note_low(pool);
}

MM_API void *mmi_pool_get_slow(mm_pool *pool)
{
    if (pool->slow != 0) return mmi_pool_get_at(pool, NULL, 0);
    if (pool->held != NULL) mmi_pool_unhold(pool);
    else pool->free_list = mmi_pool_take_remote(pool);
    if (pool->free_list == NULL && !mmi_pool_has_room(pool)) {
        pool->failures++;
        return NULL;
    }
    if (pool->free_list != NULL || pool->held != NULL) return (mm_pool_get)(pool);
    return mmi_pool_carve(pool);
}

/* An object for where get has more to do, or NULL; *fresh: it was never out. */
static void *mmi_pool_take(mm_pool *pool, bool *fresh)
{
    void *object;
    if (pool->held == NULL) (void)mm_pool_collect(pool);
    if (pool->held == NULL && !pool->separate && !mmi_pool_has_room(pool)) return NULL;
    object = pool->held;
    *fresh = object == NULL;
    if (*fresh) return pool->separate ? mmi_pool_alloc_separate(pool) : mmi_pool_carve(pool);
    pool->held = mmi_pool_next(pool, object);
    pool->held_count--;
    mmi_pool_note_low(pool);
    return object;
}

MM_API void *mmi_pool_get_at(mm_pool *pool, const char *file, int line)
{
    bool fresh;
    void *object;
    if (pool->slow == 0) return (mm_pool_get)(pool);
    object = mmi_pool_take(pool, &fresh);
    if (object == NULL) {
        pool->failures++;
        return NULL;
    }
    MMI_POOL_REVEAL(object, pool->size);
    if (pool->front != 0) mmi_pool_check_out(pool, object, fresh, file, line);
    if (pool->zero == MM_POOL_ZERO_NONE) {
        MM_TRACK_UNPOISON(object, pool->size);
    } else if (fresh || pool->zero == MM_POOL_ZERO_ON_GET) {
        memset(object, 0, pool->size);
    } else if (pool->front == 0) { /* the rest is wiped: the link is what is left */
        memset(object, 0, pool->size < sizeof(void *) ? pool->size : sizeof(void *));
    }
    return object;
}

/* By the thread that puts, whichever it is. */
static void mmi_pool_leave(const mm_pool *pool, void *object)
{
    if (pool->zero == MM_POOL_ZERO_SECRET) mmi_pool_wipe(object, pool->size);
    else if (pool->zero == MM_POOL_ZERO_ON_PUT) memset(object, 0, pool->size);
    else if (pool->front != 0) memset(object, MMI_POOL_FILL, pool->size);
    MM_TRACK_POISON(object, pool->size);
}

/* Lets a memory checker find a second put first: it knows where the object was freed. */
static void mmi_pool_touch(const mm_pool *pool, const void *object)
{
#if defined(MMI_ASAN) || defined(RUNNING_ON_VALGRIND)
    if (pool->separate) (void)*(const volatile unsigned char *)object;
#else
    (void)pool;
    (void)object;
#endif
}

MM_API void mmi_pool_put_at(mm_pool *pool, void *object, const char *file, int line)
{
    if (pool->slow == 0) {
        (mm_pool_put)(pool, object);
        return;
    }
    mmi_pool_touch(pool, object);
    if (pool->front != 0 && !mmi_pool_claim(pool, object, file, line)) return;
    mmi_pool_leave(pool, object);
    mmi_pool_home(pool, object);
}

/* Puts a list in front of what others have put. */
static void mmi_pool_push_remote(mm_pool *pool, void *first, void *last)
{
    size_t next = mmi_atomic_load(&pool->remote);
    do {
        mmi_pool_set_next(pool, last, (void *)(uintptr_t)next);
    } while (!mmi_atomic_cas(&pool->remote, &next, (size_t)(uintptr_t)first));
}

MM_API void mmi_pool_put_remote_at(mm_pool *pool, void *object, const char *file, int line)
{
    if (pool->special != 0) {
        mmi_pool_touch(pool, object);
        if (pool->front != 0 && !mmi_pool_claim(pool, object, file, line)) return;
        mmi_pool_leave(pool, object);
    }
    mmi_pool_push_remote(pool, object, object);
}

MM_API void mm_pool_batch_flush(mm_pool *pool, mm_pool_batch *batch)
{
    if (batch->first != NULL) mmi_pool_push_remote(pool, batch->first, batch->last);
    memset(batch, 0, sizeof(*batch));
}

MM_API void(mm_pool_put_remote)(mm_pool *pool, void *object)
{
    mmi_pool_put_remote_at(pool, object, NULL, 0);
}

// >>pool trim and walk

/* Brings all that is free together in held. */
static void mmi_pool_gather(mm_pool *pool)
{
    void *last = NULL, *object;
    if (mmi_atomic_load(&pool->remote) != 0) (void)mm_pool_collect(pool);
    for (object = pool->free_list; object != NULL; object = mmi_pool_next(pool, object)) {
        MM_ASSERT(pool->held_count < mmi_pool_carved(pool)); /* put twice: the list is a circle */
        if (pool->held_count == mmi_pool_carved(pool)) break;
        last = object;
        pool->held_count++;
    }
    if (last == NULL) return;
    mmi_pool_set_next(pool, last, pool->held);
    pool->held = pool->free_list;
    pool->free_list = NULL;
}

/* Held keeps its order, so it is no matter to others when that happens: it counts as reading. */
MM_API size_t mm_pool_live(const mm_pool *pool)
{
    mm_pool *own = (mm_pool *)(uintptr_t)pool;
    mmi_pool_gather(own);
    return own->separate ? mmi_pool_allocated(own) : mmi_pool_carved(own) - own->held_count;
}

/* Orders segments, and what is free in them, by address. The sort knows nothing of checkers, so
   links inside objects are laid open for it. */
static void mmi_pool_order(mm_pool *pool)
{
    bool covered = pool->front == 0 && mmi_pool_is_watched();
    size_t back = MMI_POOL_ZONE + sizeof(mmi_pool_head) - offsetof(mmi_pool_head, link);
    void *object;
    if (pool->front == 0) back = 0;
    mmi_pool_gather(pool);
    for (object = pool->held; covered && object != NULL; object = mmi_pool_raw_next(object, 0)) {
        MMI_POOL_REVEAL(object, sizeof(object));
    }
    pool->held = mmi_pool_sort(pool->held, back);
    pool->segments = (mmi_pool_segment *)mmi_pool_sort(pool->segments, 0);
    for (object = pool->held; covered && object != NULL;) object = mmi_pool_next(pool, object);
}

static bool mmi_pool_is_in(const mm_pool *pool, const mmi_pool_segment *segment, const void *object)
{
    return (uintptr_t)object - (uintptr_t)segment->objects < segment->count * pool->stride;
}

/* Frees segments without an object out, of no more than `most` objects in all. Returns the bytes.
   Both lists are in order, so that what is free in a segment is a run. */
static size_t mmi_pool_release(mm_pool *pool, size_t most)
{
    size_t before = pool->bytes;
    mmi_pool_segment *segment, **link = &pool->segments;
    void *object, *kept = NULL;
    pool->peak = mmi_pool_peak(pool);
    mmi_pool_order(pool);
    object = pool->held;
    while ((segment = *link) != NULL) {
        size_t fresh = mmi_pool_fresh_in(pool, segment), count = 0;
        void *last = kept;
        for (; object != NULL && mmi_pool_is_in(pool, segment, object); count++) {
            last = object;
            object = mmi_pool_next(pool, object);
        }
        if (count + fresh < segment->count || segment->count > most || segment == pool->borrowed) {
            kept = last;
            link = &segment->next;
            continue;
        }
        *link = segment->next;
        most -= segment->count;
        pool->held_count -= count;
        if (fresh != 0) pool->fresh_count = 0;
        if (kept != NULL) mmi_pool_set_next(pool, kept, object);
        else pool->held = object;
        mmi_pool_free_segment(pool, segment);
    }
    mmi_pool_note_low(pool);
    return before - pool->bytes;
}

MM_API size_t mm_pool_trim(mm_pool *pool, unsigned percent)
{
    size_t cached, keep;
    mmi_pool_gather(pool);
    if (percent >= 100 || pool->separate) return 0;
    cached = pool->held_count + pool->fresh_count;
    keep = cached / 100 * percent + cached % 100 * percent / 100;
    return mmi_pool_release(pool, cached - keep);
}

MM_API size_t mm_pool_decay(mm_pool *pool)
{
    size_t idle = pool->held_low, freed = 0;
    if (pool->separate) return 0;
    if (idle != 0 && idle >= pool->segment_objects) {
        idle = idle / 2 > pool->segment_objects ? idle / 2 : pool->segment_objects;
        freed = mmi_pool_release(pool, idle);
    }
    mmi_pool_gather(pool);
    pool->held_low = pool->held_count;
    return freed;
}

static size_t mmi_pool_walk_heads(mm_pool *pool, mm_pool_walk_fn walk_fn, void *user_data)
{
    mmi_pool_head *head, *older;
    size_t count = 0;
    for (head = pool->newest; head != NULL; head = older, count++) {
        older = head->older;
        walk_fn(mmi_pool_object_of(head), head->get_file, head->get_line, user_data);
    }
    return count;
}

MM_API size_t mm_pool_walk(mm_pool *pool, mm_pool_walk_fn walk_fn, void *user_data)
{
    const mmi_pool_segment *segment;
    size_t count = 0, i;
    void *next_free;
    (void)mm_pool_collect(pool);
    if (pool->front != 0) return mmi_pool_walk_heads(pool, walk_fn, user_data);
    mmi_pool_order(pool);
    next_free = pool->held;
    for (segment = pool->segments; segment != NULL; segment = segment->next) {
        size_t carved = segment->count - mmi_pool_fresh_in(pool, segment);
        for (i = 0; i < carved; i++) {
            void *object = segment->objects + i * pool->stride;
            if (object == next_free) {
                next_free = mmi_pool_next(pool, object);
                continue;
            }
            walk_fn(object, NULL, 0, user_data);
            count++;
        }
    }
    return count;
}

MM_API size_t mm_pool_deinit(mm_pool *pool)
{
    mmi_pool_segment *segment, *next;
    size_t live = mm_pool_live(pool);
    while (pool->separate && pool->newest != NULL) {
        mmi_pool_head *head = pool->newest;
        pool->newest = head->older;
        mmi_pool_free_separate(pool, mmi_pool_object_of(head));
    }
    for (segment = pool->segments; segment != NULL; segment = next) {
        next = segment->next;
        mmi_pool_free_segment(pool, segment);
    }
    memset(pool, 0, sizeof(*pool));
    return live;
}

// >>pool figures

MM_API void mm_pool_get_stats(const mm_pool *pool, mm_pool_stats *stats)
{
    stats->size = pool->size;
    stats->live = mm_pool_live(pool);
    stats->cached = pool->separate ? 0 : pool->objects - stats->live;
    stats->peak = mmi_pool_peak(pool);
    stats->failures = pool->failures;
    stats->bytes = pool->bytes;
    stats->waste = pool->bytes - (stats->live + stats->cached) * pool->size;
}

/* The segment in which this is the address of an object, and which; NULL: not one of ours. */
static mmi_pool_segment *mmi_pool_find(const mm_pool *pool, const void *object, size_t *index)
{
    mmi_pool_segment *segment;
    for (segment = pool->segments; segment != NULL; segment = segment->next) {
        uintptr_t offset = (uintptr_t)object - (uintptr_t)segment->objects;
        if (!mmi_pool_is_in(pool, segment, object)) continue;
        *index = offset / pool->stride;
        return offset % pool->stride == 0 ? segment : NULL;
    }
    return NULL;
}

/* Whether a list has at most *left objects, all ours and not fresh; takes them off *left. */
static bool mmi_pool_check_list(const mm_pool *pool, void *object, size_t *left)
{
    for (; object != NULL; object = mmi_pool_next(pool, object)) {
        size_t index;
        const mmi_pool_segment *segment = mmi_pool_find(pool, object, &index);
        if (segment == NULL || (*left)-- == 0) return false;
        if (index >= segment->count - mmi_pool_fresh_in(pool, segment)) return false;
        if (pool->front != 0 && mmi_pool_read_guard(object) != ~mmi_pool_guard(pool, object)) {
            return false;
        }
    }
    return true;
}

/* Those out, and those of other threads that are to come home, have heads that are linked. */
static bool mmi_pool_check_heads(const mm_pool *pool)
{
    size_t pending = 0, linked = 0, all = mmi_pool_carved(pool) - pool->held_count;
    const mmi_pool_head *head, *newer = NULL;
    void *object = (void *)(uintptr_t)mmi_atomic_load(&pool->remote);
    if (pool->separate) all = mmi_pool_allocated(pool);
    for (; object != NULL; object = mmi_pool_next(pool, object)) {
        if (pending++ == all) return false;
    }
    for (head = pool->newest; head != NULL; newer = head, head = head->older) {
        size_t out = mmi_pool_guard(pool, mmi_pool_object_of(head));
        if (head->newer != newer || linked++ == all) return false;
        if (head->guard == out) continue;
        if (head->guard != ~out || pending-- == 0) return false;
    }
    return linked == all && pending == 0;
}

MM_API bool mm_pool_check(const mm_pool *pool)
{
    size_t segments = 0, objects = 0, left;
    const mmi_pool_segment *segment;
    for (segment = pool->segments; segment != NULL; segment = segment->next) {
        if (segments++ == pool->segment_count) return false;
        objects += segment->count;
    }
    if (segments != pool->segment_count || objects != pool->objects) return false;
    if (pool->front != 0 && !mmi_pool_check_heads(pool)) return false;
    if (pool->separate) return segments == 0 && pool->held == NULL;
    if (pool->fresh_count > objects || pool->held_low > pool->held_count) return false;
    left = pool->held_count;
    if (!mmi_pool_check_list(pool, pool->held, &left) || left != 0) return false;
    if (pool->held_count > mmi_pool_carved(pool)) return false;
    left = mmi_pool_carved(pool) - pool->held_count; /* the rest may be out */
    return mmi_pool_check_list(pool, pool->free_list, &left) &&
           mmi_pool_check_list(pool, (void *)(uintptr_t)mmi_atomic_load(&pool->remote), &left);
}

static void *mmi_pool_alloc_fn(size_t size, void *user_data)
{
    mm_pool *pool = (mm_pool *)user_data;
    if (size <= pool->size) return (mm_pool_get)(pool); /* no line of a caller is known */
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
    (mm_pool_put)(pool, ptr);
}

MM_API const mm_allocator *mm_pool_allocator(mm_pool *pool)
{
    pool->as_allocator.alloc_fn = mmi_pool_alloc_fn;
    pool->as_allocator.realloc_fn = mmi_pool_realloc_fn;
    pool->as_allocator.free_fn = mmi_pool_free_fn;
    pool->as_allocator.user_data = pool;
    return &pool->as_allocator;
}

// >>ref: counts, and objects that go home

MM_API void mmi_ref_saturate(mm_ref *ref, size_t before)
{
    MM_ASSERT(before != 0); /* released once too often, or retained when it was gone */
    (void)before;
    mmi_atomic_store(&ref->count, MMI_REF_MAX + MMI_REF_MAX / 2); /* far from either end */
}

MM_API void *mmi_object_new_at(mm_pool *pool, void (*destroy_fn)(void *object), const char *file,
                               int line)
{
    mm_object *object;
    MM_ASSERT(pool->size >= sizeof(mm_object));
    object = (mm_object *)mmi_pool_get_at(pool, file, line);
    if (object == NULL) return NULL;
    mm_ref_init(&object->ref);
    object->pool = pool;
    object->destroy_fn = destroy_fn;
    return object;
}

MM_API void *(mm_object_new)(mm_pool *pool, void (*destroy_fn)(void *object))
{
    return mmi_object_new_at(pool, destroy_fn, NULL, 0);
}

/* Nobody holds the object any more. */
MM_API void mmi_object_end(void *object, bool local, const char *file, int line)
{
    mm_pool *pool = ((mm_object *)object)->pool;
    void (*destroy_fn)(void *object) = ((mm_object *)object)->destroy_fn;
    if (destroy_fn != NULL) destroy_fn(object);
    if (local) mmi_pool_put_at(pool, object, file, line);
    else mmi_pool_put_remote_at(pool, object, file, line);
}

// >>cleanup: what is to be undone

#define MMI_CLEANUP_ENTRIES 32u /* fetched at a time: 1 KiB */

static mm_pool_desc mmi_cleanup_desc(void)
{
    mm_pool_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.size = sizeof(mm_cleanup_entry);
    desc.segment_objects = MMI_CLEANUP_ENTRIES;
    return desc;
}

MM_API size_t mm_cleanup_bytes_needed(size_t entries)
{
    mm_pool_desc desc = mmi_cleanup_desc();
    return mm_pool_bytes_needed(&desc, entries);
}

MM_API mm_status mm_cleanup_init(mm_cleanup *cleanup, const mm_allocator *allocator, void *memory,
                                 size_t memory_size)
{
    mm_pool_desc desc = mmi_cleanup_desc();
    memset(cleanup, 0, sizeof(*cleanup));
    desc.allocator = allocator;
    desc.memory = memory;
    desc.memory_size = memory_size;
    return mm_pool_init(&cleanup->entries, &desc);
}

MM_API void mm_cleanup_deinit(mm_cleanup *cleanup)
{
    (void)mm_cleanup_run_all(cleanup);
    (void)mm_pool_deinit(&cleanup->entries);
}

MM_API mm_cleanup_entry *mm_cleanup_add(mm_cleanup *cleanup, mm_cleanup_fn function,
                                        void *user_data)
{
    mm_cleanup_entry *entry;
    if (cleanup->entries.size == 0 && mm_cleanup_init(cleanup, NULL, NULL, 0) != MM_STATUS_OK) {
        return NULL;
    }
    entry = (mm_cleanup_entry *)mm_pool_get(&cleanup->entries);
    if (entry == NULL) return NULL;
    entry->newer = NULL;
    entry->older = cleanup->newest;
    entry->function = function;
    entry->user_data = user_data;
    if (cleanup->newest != NULL) cleanup->newest->newer = entry;
    cleanup->newest = entry;
    cleanup->count++;
    return entry;
}

MM_API void mm_cleanup_cancel(mm_cleanup *cleanup, mm_cleanup_entry *entry)
{
    MM_ASSERT(cleanup->count > 0 && entry->function != NULL); /* else it ran or was cancelled */
    entry->function = NULL;
    if (entry->newer != NULL) entry->newer->older = entry->older;
    else cleanup->newest = entry->older;
    if (entry->older != NULL) entry->older->newer = entry->newer;
    cleanup->count--;
    mm_pool_put(&cleanup->entries, entry);
}

MM_API void mm_cleanup_run(mm_cleanup *cleanup, mm_cleanup_entry *entry)
{
    mm_cleanup_fn function = entry->function;
    void *user_data = entry->user_data;
    mm_cleanup_cancel(cleanup, entry); /* first: the function may register and cancel */
    function(user_data);
}

MM_API size_t mm_cleanup_run_all(mm_cleanup *cleanup)
{
    size_t count = 0;
    for (; cleanup->newest != NULL; count++) mm_cleanup_run(cleanup, cleanup->newest);
    return count;
}

MM_API void mm_cleanup_cancel_all(mm_cleanup *cleanup)
{
    while (cleanup->newest != NULL) mm_cleanup_cancel(cleanup, cleanup->newest);
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
    while ((MMI_POOL_SEGMENT >> (shift + 1)) >= stride) {
        if (desc->capacity != 0 && ((size_t)1 << shift) >= desc->capacity) break;
        shift++;
    }
    return shift;
}

/* Objects are apart by their size and a slot. */
static mm_status mmi_slab_layout(const mm_slab_desc *desc, size_t *alignment, size_t *stride)
{
    size_t size;
    *alignment = desc->alignment;
    if (desc->size == 0) return MM_STATUS_INVALID;
    if (!mm_size_add(desc->size, sizeof(uint64_t), &size)) return MM_STATUS_TOO_LARGE;
    if (*alignment == 1 || *alignment == 2 || *alignment == 4) *alignment = sizeof(uint64_t);
    return mmi_pool_layout(size, alignment, stride);
}

/* The size of a segment's block; false when it overflows. From any block to the first object are no
   more bytes than its alignment, with room for its slot. */
static bool mmi_slab_measure(size_t alignment, size_t stride, size_t objects, size_t *bytes)
{
    size_t all;
    return mm_size_mul(objects, stride, &all) && mm_size_add(all, alignment, bytes);
}

static void mmi_slab_add_block(mm_slab *slab, void *block, size_t objects)
{
    mmi_slab_segment *segment = &slab->segments[slab->segment_count++];
    unsigned char *first = (unsigned char *)block + sizeof(uint64_t);
    size_t i;
    segment->block = block;
    segment->objects = mmi_pool_align(first, slab->alignment);
    slab->slots += objects;
    for (i = 0; i < objects; i++) { /* nothing is left of this where no memory checker runs */
        MM_TRACK_POISON(segment->objects + i * slab->stride, slab->stride - sizeof(uint64_t));
    }
}

/* The directory's one entry, the slots, and the objects, in a block of the caller's. Takes the
   capacity down to what fits when that was left open. */
static mm_status mmi_slab_add_memory(mm_slab *slab, const mm_slab_desc *desc)
{
    unsigned char *block = mmi_pool_align((unsigned char *)desc->memory, MMI_POOL_ALIGN);
    size_t head = (size_t)(block - (unsigned char *)desc->memory) + sizeof(mmi_slab_segment);
    size_t lead = head + slab->alignment, room, bytes;
    if (desc->memory_size < lead) return MM_STATUS_INVALID;
    room = (desc->memory_size - lead) / slab->stride;
    if (room > (uint32_t)1 << 31) room = (uint32_t)1 << 31;
    if (desc->capacity != 0 ? room < desc->capacity : room == 0) return MM_STATUS_INVALID;
    if (desc->capacity == 0) slab->capacity = (uint32_t)room;
    if (!mmi_slab_measure(slab->alignment, slab->stride, slab->capacity, &bytes)) {
        return MM_STATUS_TOO_LARGE;
    }
    while (((size_t)1 << slab->shift) < slab->capacity) slab->shift++;
    slab->segments = (mmi_slab_segment *)(void *)block;
    slab->segment_bytes = bytes;
    mmi_slab_add_block(slab, block + sizeof(mmi_slab_segment), slab->capacity);
    return MM_STATUS_OK;
}

MM_API mm_status mm_slab_init(mm_slab *slab, const mm_slab_desc *desc)
{
    size_t alignment, stride, bytes;
    uint32_t shift;
    mm_status status = mmi_slab_layout(desc, &alignment, &stride);
    memset(slab, 0, sizeof(*slab));
    if (status != MM_STATUS_OK) return status;
    if (desc->segment_objects > (uint32_t)1 << 31) return MM_STATUS_TOO_LARGE;
    shift = mmi_slab_shift(desc, stride);
    if (!mmi_slab_measure(alignment, stride, (size_t)1 << shift, &bytes)) {
        return MM_STATUS_TOO_LARGE;
    }
    slab->stride = stride;
    slab->shift = shift;
    slab->capacity = desc->capacity == 0 ? UINT32_MAX : desc->capacity;
    slab->segment_bytes = bytes;
    slab->size = desc->size;
    slab->alignment = alignment;
    slab->allocator = desc->allocator;
    if (desc->memory != NULL) status = mmi_slab_add_memory(slab, desc);
    if (status != MM_STATUS_OK) memset(slab, 0, sizeof(*slab));
    else slab->mask = ((uint32_t)1 << slab->shift) - 1;
    return status;
}

MM_API size_t mm_slab_bytes_needed(const mm_slab_desc *desc)
{
    size_t alignment, stride, bytes;
    if (mmi_slab_layout(desc, &alignment, &stride) != MM_STATUS_OK) return 0;
    if (desc->capacity == 0 || desc->capacity > (uint32_t)1 << 31) return 0;
    if (!mmi_slab_measure(alignment, stride, desc->capacity, &bytes)) return 0;
    return mm_size_add(bytes, sizeof(mmi_slab_segment) + MMI_POOL_ALIGN - 1, &bytes) ? bytes : 0;
}

MM_API uint32_t mm_slab_deinit(mm_slab *slab)
{
    uint32_t live = slab->count, i;
    for (i = 0; i < slab->segment_count; i++) {
        MM_TRACK_UNPOISON(slab->segments[i].block, slab->segment_bytes);
        if (slab->segment_room == 0) break; /* the caller's memory */
        mmi_free(slab->allocator, slab->segments[i].block, slab->segment_bytes);
    }
    if (slab->segment_room != 0) {
        mmi_free(slab->allocator, slab->segments, slab->segment_room * sizeof(*slab->segments));
    }
    memset(slab, 0, sizeof(*slab));
    return live;
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
static MM_COLD void mmi_slab_add_segment(mm_slab *slab)
{
    void *block;
    if (slab->segment_room == 0 && slab->segment_count != 0) return; /* the caller's memory */
    if (slab->used == UINT32_MAX) return; /* index + 1 must fit 32 bits */
    if (!mmi_slab_widen(slab)) return;
    block = mmi_alloc(slab->allocator, slab->segment_bytes);
    if (block != NULL) mmi_slab_add_block(slab, block, (size_t)1 << slab->shift);
}

static uint64_t *mmi_slab_slot_at(const mm_slab *slab, uint32_t index)
{
    return mmi_slab_slot(mmi_slab_object(slab, index));
}

/* An object off the free list, or one never used; NULL when memory is refused. *handle is what its
   slot will hold. */
static unsigned char *mmi_slab_take(mm_slab *slab, mm_handle *handle)
{
    if (MM_UNLIKELY(slab->free_slot == 0 && slab->used >= slab->slots)) {
        mmi_slab_add_segment(slab);
    }
    if (MM_LIKELY(slab->free_slot != 0)) { /* also what a reclaim function has removed just now */
        unsigned char *object = mmi_slab_object(slab, slab->free_slot - 1);
        uint64_t slot = *mmi_slab_slot(object);
        *handle = (slot & ~(uint64_t)UINT32_MAX) | slab->free_slot;
        slab->free_slot = (uint32_t)slot;
        return object;
    }
    if (slab->used >= slab->slots || slab->used == UINT32_MAX) return NULL;
    *handle = (uint64_t)1 << 32 | ++slab->used;
    return mmi_slab_object(slab, slab->used - 1);
}

MM_API mm_handle mm_slab_insert(mm_slab *slab, void **object)
{
    mm_handle handle;
    unsigned char *place = NULL;
    if (MM_LIKELY(slab->count < slab->capacity)) place = mmi_slab_take(slab, &handle);
    *object = place;
    if (MM_UNLIKELY(place == NULL)) {
        slab->failures++;
        return 0;
    }
    *mmi_slab_slot(place) = handle;
    if (++slab->count > slab->peak) slab->peak = slab->count;
    MM_TRACK_UNPOISON(place, slab->size);
    memset(place, 0, slab->size);
    return handle;
}

MM_API mm_status mm_slab_remove(mm_slab *slab, mm_handle handle)
{
    void *object = mm_slab_get(slab, handle);
    uint32_t generation = (uint32_t)(handle >> 32);
    uint64_t *slot;
    if (object == NULL) return MM_STATUS_NOT_FOUND;
    MM_TRACK_POISON(object, slab->stride - sizeof(uint64_t));
    slot = mmi_slab_slot((unsigned char *)object);
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
        uint64_t slot = *mmi_slab_slot_at(slab, index);
        if ((uint32_t)slot == index + 1) return slot;
    }
    return 0;
}

MM_API void mm_slab_get_stats(const mm_slab *slab, mm_pool_stats *stats)
{
    stats->size = slab->size;
    stats->live = slab->count;
    stats->cached = slab->slots - slab->count - slab->retired;
    stats->peak = slab->peak;
    stats->failures = slab->failures;
    stats->bytes =
        slab->segment_count * slab->segment_bytes + slab->segment_room * sizeof(mmi_slab_segment);
    stats->waste = stats->bytes - (stats->live + stats->cached) * slab->size;
}

MM_API bool mm_slab_check(const mm_slab *slab)
{
    uint32_t index, link, live = 0, idle = 0, linked = 0;
    if (slab->segment_room != 0 && slab->segment_count > slab->segment_room) return false;
    if (slab->count > slab->peak || slab->used > slab->slots) return false;
    if (slab->slots > (uint64_t)slab->segment_count << slab->shift) return false;
    for (index = 0; index < slab->used; index++) {
        uint64_t slot = *mmi_slab_slot_at(slab, index);
        bool is_live = (uint32_t)slot == index + 1;
        if (is_live) live++;
        else idle++;
        if (is_live && slot >> 32 == 0) return false;
    }
    for (link = slab->free_slot; link != 0; linked++) {
        uint64_t slot;
        if (link > slab->used || linked == idle) return false;
        slot = *mmi_slab_slot_at(slab, link - 1);
        if ((uint32_t)slot == link || slot >> 32 == 0) return false;
        link = (uint32_t)slot;
    }
    return live == slab->count && linked + slab->retired == idle;
}

// >>tier: buffers of a few sizes

#if defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifdef __cplusplus
}
#endif
#include <windows.h> /* SwitchToThread */
#ifdef __cplusplus
extern "C" {
#endif
#define MMI_TIER_YIELD() ((void)SwitchToThread())
#elif defined(__unix__) || defined(__APPLE__)
#ifdef __cplusplus
}
#endif
#include <sched.h> /* sched_yield, while another thread has the tier's lock */
#ifdef __cplusplus
extern "C" {
#endif
#define MMI_TIER_YIELD() ((void)sched_yield())
#else
#define MMI_TIER_YIELD() ((void)0)
#endif

#define MMI_TIER_KEEP_BYTES 1048576u /* what a class may cache by default */
#define MMI_TIER_BATCH_MIN 8u        /* buffers that are worth a change of magazines */
#define MMI_TIER_MAINTAIN 16u        /* buffers freed by a call of maintain, by default */
#define MMI_TIER_SAMPLES 1024u       /* after so many the older half of the mean is forgotten */

typedef char mmi_tier_rows_size[sizeof(mmi_tier_row) * MM_TIER_CLASSES_MAX <= 65535 ? 1 : -1];
typedef char mmi_tier_words_size[sizeof(mmi_tier_words) <= MM_TIER_CLASS_MIN ? 1 : -1];

static size_t mmi_tier_keep(size_t size, uint32_t keep)
{
    if (keep == MM_TIER_KEEP_NONE) return 0;
    if (keep != 0) return keep;
    return size < MMI_TIER_KEEP_BYTES ? MMI_TIER_KEEP_BYTES / size : 1;
}

/* Most buffers in the central list, not yet rounded down to batches. */
static size_t mmi_tier_central_keep(size_t keep, uint32_t central)
{
    if (central == MM_TIER_KEEP_NONE) return 0;
    if (central != 0) return central;
    return keep > SIZE_MAX / 4 ? SIZE_MAX : keep * 4;
}

/* Four batches to a cache, of eight buffers or more, so that the central list is rarely asked.
   Larger where its slots would not hold its limit. */
static size_t mmi_tier_batch(size_t keep, size_t central)
{
    size_t batch = keep / 4, least = central / MMI_TIER_SLOTS;
    if (central % MMI_TIER_SLOTS != 0) least++;
    if (batch < MMI_TIER_BATCH_MIN) batch = MMI_TIER_BATCH_MIN;
    if (batch < least) batch = least;
    if (central != 0 && batch > central) batch = central;
    return batch < keep ? batch : keep;
}

static void mmi_tier_set_up_class(mm_tier *tier, size_t i, size_t size, uint32_t keep,
                                  uint32_t central)
{
    mmi_tier_row *row = &tier->own.rows[i];
    mmi_tier_shelf *shelf = &tier->shelves[i];
    size_t most;
    row->size = size;
    row->wipe = tier->own.wipe;
    row->keep = mmi_tier_keep(size, keep);
    most = mmi_tier_central_keep(row->keep, central);
    row->batch = mmi_tier_batch(row->keep, most);
    shelf->used = row->batch == 0 ? 0 : most / row->batch;
    if (shelf->used > MMI_TIER_SLOTS) shelf->used = MMI_TIER_SLOTS;
}

/* Bucket n has the sizes above n * 256, up to those of the next. */
static void mmi_tier_fill_buckets(mm_tier_cache *cache)
{
    size_t bucket, i = 0;
    for (bucket = 0; bucket < MMI_TIER_BUCKETS; bucket++) {
        while (i < cache->class_count && cache->rows[i].size <= bucket * MMI_TIER_BUCKET) i++;
        cache->buckets[bucket] = (uint16_t)(i * sizeof(mmi_tier_row));
    }
}

/* The classes of a desc, and how many they are; SIZE_MAX: wrong. */
static size_t mmi_tier_classes(const mm_tier_desc *desc, const size_t **sizes)
{
    static const size_t standard[MM_TIER_CLASSES_MAX] = {
        4096, 16384, MM_TIER_TLS_RECORD, 65536, 0, 0, 0, 0};
    size_t i, count = 0, last = 0;
    for (i = 0; i < MM_TIER_CLASSES_MAX; i++) last |= desc->class_size[i];
    *sizes = last == 0 ? standard : desc->class_size;
    while (count < MM_TIER_CLASSES_MAX && (*sizes)[count] != 0) count++;
    last = MM_TIER_CLASS_MIN - 1;
    for (i = 0; i < MM_TIER_CLASSES_MAX; i++) {
        if (i < count ? (*sizes)[i] <= last : (*sizes)[i] != 0) return SIZE_MAX;
        last = (*sizes)[i];
    }
    return count;
}

MM_API mm_status mm_tier_init(mm_tier *tier, const mm_tier_desc *desc)
{
    const size_t *sizes;
    size_t i, count = mmi_tier_classes(desc, &sizes);
    memset(tier, 0, sizeof(*tier));
    if (count == SIZE_MAX || desc->wipe > MM_TIER_WIPE_SECRET) return MM_STATUS_INVALID;
    tier->own.wipe = (size_t)desc->wipe;
    for (i = 0; i < count; i++) {
        mmi_tier_set_up_class(tier, i, sizes[i], desc->class_keep[i], desc->class_central[i]);
    }
    tier->own.class_count = count;
    tier->own.allocator = desc->allocator;
    tier->own.is_own = true;
    mmi_tier_fill_buckets(&tier->own);
    tier->budget = desc->budget;
    return MM_STATUS_OK;
}

MM_API uint64_t mm_tier_cached_max(const mm_tier_desc *desc, uint32_t threads)
{
    const size_t *sizes;
    size_t i, count = mmi_tier_classes(desc, &sizes);
    uint64_t bytes = 0;
    if (count == SIZE_MAX) return 0;
    for (i = 0; i < count; i++) {
        uint64_t keep = mmi_tier_keep(sizes[i], desc->class_keep[i]);
        uint64_t central = mmi_tier_central_keep((size_t)keep, desc->class_central[i]);
        if (central > keep * MMI_TIER_SLOTS) central = keep * MMI_TIER_SLOTS;
        if (threads < 2) central = 0;
        keep *= threads; /* below 2^32 both */
        if (keep > UINT64_MAX - central) return UINT64_MAX;
        if (keep + central > (UINT64_MAX - bytes) / sizes[i]) return UINT64_MAX;
        bytes += (keep + central) * sizes[i];
    }
    return bytes;
}

// >>tier-lists: magazines, and the central list of them

static mmi_tier_words mmi_tier_peek(void *buffer, size_t size)
{
    mmi_tier_words words;
    MMI_POOL_REVEAL(buffer, sizeof(words));
    MM_MEMCPY(&words, buffer, sizeof(words));
    MM_TRACK_POISON(buffer, size);
    return words;
}

static void mmi_tier_seal(void *buffer, void *next, void *batch, size_t count, size_t size)
{
    mmi_tier_words words;
    words.next = next;
    words.batch = batch;
    words.count = count;
    MM_TRACK_UNPOISON(buffer, sizeof(words));
    MM_MEMCPY(buffer, &words, sizeof(words));
    MM_TRACK_POISON(buffer, size);
}

/* The next of a buffer; the other two words may hold anything. */
static void *mmi_tier_next(void *buffer, size_t size)
{
    void *next;
    MMI_POOL_REVEAL(buffer, sizeof(next));
    MM_MEMCPY(&next, buffer, sizeof(next));
    MM_TRACK_POISON(buffer, size);
    return next;
}

/* Keeps the first `keep` buffers of a list, and returns the others. */
static void *mmi_tier_split(void **head, size_t keep, size_t size)
{
    void *last = NULL, *rest = *head, *nothing = NULL;
    for (; keep > 0; keep--) {
        last = rest;
        rest = mmi_tier_next(last, size);
    }
    if (last == NULL) {
        *head = NULL;
    } else {
        MM_TRACK_UNPOISON(last, sizeof(nothing));
        MM_MEMCPY(last, &nothing, sizeof(nothing));
        MM_TRACK_POISON(last, size);
    }
    return rest;
}

/* Puts a sealed batch in a free slot; false when there is none. */
static bool mmi_tier_shelf_put(mmi_tier_shelf *shelf, void *batch, size_t count)
{
    size_t i;
    (void)mmi_atomic_add(&shelf->count, count); /* before it can be taken: never below zero */
    for (i = 0; i < shelf->used; i++) {
        size_t empty = 0;
        if (mmi_tier_read(&shelf->slots[i]) != 0) continue;
        if (mmi_atomic_cas(&shelf->slots[i], &empty, (size_t)(uintptr_t)batch)) return true;
    }
    (void)mmi_atomic_add(&shelf->count, (size_t)0 - count);
    return false;
}

static void mmi_tier_shelf_note(mmi_tier_shelf *shelf, size_t count)
{
    size_t idle = mmi_atomic_load(&shelf->idle);
    while (count < idle && !mmi_atomic_cas(&shelf->idle, &idle, count)) continue;
}

/* Takes a batch out of a slot; NULL when all are empty. */
static void *mmi_tier_shelf_take(mmi_tier_shelf *shelf, size_t size, size_t *count)
{
    size_t i;
    if (mmi_atomic_load(&shelf->count) == 0) return NULL;
    for (i = 0; i < shelf->used; i++) {
        size_t seen = mmi_tier_read(&shelf->slots[i]);
        void *batch;
        if (seen == 0 || !mmi_atomic_cas(&shelf->slots[i], &seen, (size_t)0)) continue;
        batch = (void *)(uintptr_t)seen;
        *count = mmi_tier_peek(batch, size).count;
        mmi_tier_shelf_note(shelf, mmi_atomic_add(&shelf->count, (size_t)0 - *count) - *count);
        return batch;
    }
    return NULL;
}

// >>tier-rows: a class in a cache

/* The tier whose central list is in use; NULL: the cache is all there is. */
static mm_tier *mmi_tier_central(mm_tier_cache *cache)
{
    mm_tier *tier = cache->tier;
    if (tier == NULL && cache->is_own) tier = (mm_tier *)(void *)cache; /* its first member */
    return tier != NULL && mmi_atomic_load(&tier->shared) != 0 ? tier : NULL;
}

static bool mmi_tier_is_direct(const mmi_tier_row *row)
{
    return row->size == 0;
}

static size_t mmi_tier_live(const mmi_tier_row *row)
{
    return mmi_tier_read(&row->owned) - mmi_tier_read(&row->stored) - mmi_tier_read(&row->count);
}

static size_t mmi_tier_cached(const mmi_tier_row *row)
{
    return row->stored + row->count;
}

/* Most that were live: most were out when least was cached, as buffers are fetched only when none
   is. A cache to which others' buffers are put can be below zero. */
static size_t mmi_tier_row_peak(const mmi_tier_row *row)
{
    size_t peak = mmi_tier_read(&row->peak);
    size_t live = mmi_tier_read(&row->owned) - mmi_tier_read(&row->low);
    return live <= SIZE_MAX / 2 && live > peak ? live : peak;
}

/* Before fewer are owned, and before low is forgotten. */
static void mmi_tier_note(mmi_tier_row *row)
{
    mmi_tier_write(&row->peak, mmi_tier_row_peak(row));
    if (row->low < row->idle) row->idle = row->low;
}

/* After stored or owned, or count otherwise than by get and put have been changed. A cache that is
   alone knows how many can come back: one more is a mistake, and must not take the short way. */
static void mmi_tier_mark(mmi_tier_row *row, bool alone)
{
    size_t room = row->keep - row->stored, home = row->owned - row->stored;
    if (room > MMI_TIER_FRONT) room = MMI_TIER_FRONT;
    if (alone && room > home) room = home;
    row->room = row->wipe != MM_TIER_WIPE_NONE ? 0 : room;
    if (row->low > mmi_tier_cached(row)) mmi_tier_write(&row->low, mmi_tier_cached(row));
    row->floor = row->low > row->stored ? row->low - row->stored : 0;
}

static void mmi_tier_set(mmi_tier_row *row, size_t count, size_t stored, size_t owned)
{
    mmi_tier_write(&row->count, count);
    mmi_tier_write(&row->stored, stored);
    mmi_tier_write(&row->owned, owned);
}

/* The magazine in use joins the full ones. */
static void mmi_tier_store(mmi_tier_row *row)
{
    void *next = mmi_tier_next(row->head, row->size);
    mmi_tier_seal(row->head, next, row->batches, row->listed, row->size);
    row->batches = row->head;
    row->head = NULL;
    row->listed = 0;
}

/* Links the first `count` buffers in front, those put first, into magazines. */
static void mmi_tier_flush(mmi_tier_row *row, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        void *buffer = row->front[i];
        if (row->listed >= row->batch) mmi_tier_store(row);
        MM_TRACK_UNPOISON(buffer, sizeof(row->head));
        MM_MEMCPY(buffer, &row->head, sizeof(row->head));
        MM_TRACK_POISON(buffer, row->size);
        row->head = buffer;
        row->listed++;
    }
    memmove(row->front, row->front + count, (row->count - count) * sizeof(row->front[0]));
    mmi_tier_set(row, row->count - count, row->stored + count, row->owned);
}

/* Makes a batch, of the row or of the central list, its magazine in use. */
static void mmi_tier_open(mmi_tier_row *row, void *batch)
{
    mmi_tier_words words = mmi_tier_peek(batch, row->size);
    row->head = batch;
    row->listed = words.count;
}

/* Takes up to half a front out of the magazine in use. A link is an address, and worth hiding. */
static void mmi_tier_unlink(mmi_tier_row *row)
{
    static const mmi_tier_words none = {NULL, NULL, 0};
    size_t count = row->listed < MMI_TIER_FRONT / 2 ? row->listed : MMI_TIER_FRONT / 2, i;
    for (i = count; i-- > 0;) {
        void *buffer = row->head;
        row->head = mmi_tier_next(buffer, row->size);
        if (row->wipe != MM_TIER_WIPE_NONE) {
            MM_TRACK_UNPOISON(buffer, sizeof(none));
            MM_MEMCPY(buffer, &none, sizeof(none));
            MM_TRACK_POISON(buffer, row->size);
        }
        row->front[i] = buffer;
    }
    row->listed -= count;
    mmi_tier_set(row, count, row->stored - count, row->owned);
}

/* Buffers for an empty front: of the magazine in use, or the last one stored, or one of the central
   list. */
static bool mmi_tier_refill(mm_tier *central, mm_tier_cache *cache, mmi_tier_row *row)
{
    size_t count = 0;
    void *batch = row->batches;
    if (row->listed == 0 && batch != NULL) {
        row->batches = mmi_tier_peek(batch, row->size).batch;
        mmi_tier_open(row, batch);
    } else if (row->listed == 0) {
        if (central == NULL) return false;
        batch = mmi_tier_shelf_take(&central->shelves[row - cache->rows], row->size, &count);
        if (batch == NULL) return false;
        mmi_tier_open(row, batch);
        mmi_tier_set(row, 0, count, row->owned + count);
    }
    mmi_tier_unlink(row);
    mmi_tier_mark(row, central == NULL);
    return true;
}

/* A buffer of a front that has one, beyond the floor as well: that goes with the least. */
static void *mmi_tier_pop_least(mmi_tier_row *row)
{
    void *buffer = mmi_tier_pop(row, row->size);
    if (mmi_tier_cached(row) < row->low) {
        mmi_tier_write(&row->low, mmi_tier_cached(row));
        row->floor = row->count;
    }
    return buffer;
}

/* Gives the magazine that has been idle longest to the central list; false when that is full. It is
   not touched any more once it is there. */
static bool mmi_tier_hand_over(mm_tier *central, mm_tier_cache *cache, mmi_tier_row *row)
{
    mmi_tier_shelf *shelf = &central->shelves[row - cache->rows];
    void *above = NULL, *oldest = row->batches;
    mmi_tier_words words = {NULL, NULL, 0};
    if (oldest == NULL && row->listed < row->batch) {
        size_t more = row->batch - row->listed;
        mmi_tier_flush(row, more < row->count ? more : row->count);
        mmi_tier_mark(row, false);
    }
    if (oldest == NULL && row->head == NULL) return false;
    for (; oldest != NULL; above = oldest, oldest = words.batch) {
        words = mmi_tier_peek(oldest, row->size);
        if (words.batch == NULL) break;
    }
    if (oldest == NULL) { /* the magazine in use is all */
        words.count = row->listed;
        mmi_tier_seal(row->head, mmi_tier_next(row->head, row->size), NULL, words.count, row->size);
    }
    if (!mmi_tier_shelf_put(shelf, oldest == NULL ? row->head : oldest, words.count)) return false;
    mmi_tier_note(row);
    if (oldest == NULL) {
        row->head = NULL;
        row->listed = 0;
    } else if (above == NULL) {
        row->batches = NULL;
    } else {
        mmi_tier_words upper = mmi_tier_peek(above, row->size);
        mmi_tier_seal(above, upper.next, NULL, upper.count, row->size);
    }
    mmi_tier_set(row, row->count, row->stored - words.count, row->owned - words.count);
    mmi_tier_mark(row, false);
    return true;
}

// >>tier-memory: from and to the allocator

/* Every page with a byte of the buffer stays out of core dumps; those that are wholly its own come
   back when it is freed. */
static void mmi_tier_hide(void *ptr, size_t size, bool hide)
{
    uintptr_t page = mmi_pool_page_size(), begin = (uintptr_t)ptr, end = begin + size;
    if (hide) end += page - 1;
    else begin += page - 1;
    mmi_pool_hide_pages(begin & ~(page - 1), end & ~(page - 1), hide);
}

static void *mmi_tier_fetch(const mm_tier_cache *cache, size_t size)
{
    void *buffer = mmi_alloc(cache->allocator, size);
    if (buffer != NULL && cache->wipe == MM_TIER_WIPE_SECRET) mmi_tier_hide(buffer, size, true);
    return buffer;
}

static void mmi_tier_drop(const mm_tier_cache *cache, void *buffer, size_t size)
{
    MM_TRACK_UNPOISON(buffer, size);
    if (cache->wipe == MM_TIER_WIPE_SECRET) {
        mmi_pool_wipe(buffer, size);
        mmi_tier_hide(buffer, size, false);
    }
    mmi_free(cache->allocator, buffer, size);
}

static void mmi_tier_drop_list(const mm_tier_cache *cache, void *buffer, size_t size)
{
    while (buffer != NULL) {
        void *next = mmi_tier_next(buffer, size);
        mmi_tier_drop(cache, buffer, size);
        buffer = next;
    }
}

static void mmi_tier_drop_batches(const mm_tier_cache *cache, void *batch, size_t size)
{
    while (batch != NULL) {
        void *next = mmi_tier_peek(batch, size).batch;
        mmi_tier_drop_list(cache, batch, size);
        batch = next;
    }
}

/* Takes all but the first `keep` buffers out of the full magazines: whole ones, returned, and the
   end of one, in *tail. */
static void *mmi_tier_cut_batches(mmi_tier_row *row, size_t keep, void **tail)
{
    void *above = NULL, *at = row->batches;
    mmi_tier_words words = mmi_tier_peek(at, row->size), upper;
    while (words.count <= keep) { /* ends: fewer are kept than there are */
        keep -= words.count;
        above = at;
        at = words.batch;
        words = mmi_tier_peek(at, row->size);
    }
    if (keep > 0) {
        *tail = mmi_tier_split(&at, keep, row->size);
        mmi_tier_seal(at, mmi_tier_next(at, row->size), NULL, keep, row->size);
        return words.batch;
    }
    if (above == NULL) {
        row->batches = NULL;
    } else {
        upper = mmi_tier_peek(above, row->size);
        mmi_tier_seal(above, upper.next, NULL, upper.count, row->size);
    }
    return at;
}

/* Frees all but `keep` cached buffers of a row, those put first before others, and says how many.
   Freed last: the allocator may come back to the tier. */
static size_t mmi_tier_cut(mm_tier_cache *cache, mmi_tier_row *row, size_t keep)
{
    size_t cached = mmi_tier_cached(row);
    void *tail = NULL, *batches;
    if (cached <= keep) return 0;
    mmi_tier_note(row);
    mmi_tier_flush(row, row->count);
    if (keep < row->listed) {
        tail = mmi_tier_split(&row->head, keep, row->size);
        batches = row->batches;
        row->batches = NULL;
        row->listed = keep;
    } else {
        batches = mmi_tier_cut_batches(row, keep - row->listed, &tail);
    }
    mmi_tier_set(row, 0, keep, row->owned - (cached - keep));
    if (row->idle > keep) row->idle = keep;
    mmi_tier_mark(row, mmi_tier_central(cache) == NULL);
    mmi_tier_drop_list(cache, tail, row->size);
    mmi_tier_drop_batches(cache, batches, row->size);
    return cached - keep;
}

/* Frees up to count buffers of the central list. */
static size_t mmi_tier_cut_shelf(mm_tier *tier, size_t index, size_t count)
{
    mmi_tier_shelf *shelf = &tier->shelves[index];
    size_t freed = 0, size = tier->own.rows[index].size, have;
    while (freed < count) {
        void *batch = mmi_tier_shelf_take(shelf, size, &have), *rest = NULL;
        if (batch == NULL) break;
        if (have > count - freed) { /* a part of it goes back */
            rest = mmi_tier_split(&batch, count - freed, size);
            have -= count - freed;
            mmi_tier_seal(rest, mmi_tier_next(rest, size), NULL, have, size);
            freed = count;
            if (!mmi_tier_shelf_put(shelf, rest, have)) { /* another thread took the slot */
                mmi_tier_drop_list(&tier->own, rest, size);
                freed += have;
            }
        } else {
            freed += have;
        }
        mmi_tier_drop_list(&tier->own, batch, size);
    }
    return freed;
}

static size_t mmi_tier_percent(size_t count, unsigned percent)
{
    return count / 100 * percent + count % 100 * percent / 100;
}

static size_t mmi_tier_shrink(mm_tier_cache *cache, unsigned percent)
{
    size_t i, freed = 0;
    if (percent >= 100) return 0;
    for (i = 0; i < cache->class_count; i++) {
        mmi_tier_row *row = &cache->rows[i];
        freed += mmi_tier_cut(cache, row, mmi_tier_percent(mmi_tier_cached(row), percent));
    }
    return freed;
}

static size_t mmi_tier_shrink_shelves(mm_tier *tier, unsigned percent)
{
    size_t i, freed = 0;
    if (percent >= 100) return 0;
    for (i = 0; i < tier->own.class_count; i++) {
        size_t count = mmi_atomic_load(&tier->shelves[i].count);
        freed += mmi_tier_cut_shelf(tier, i, count - mmi_tier_percent(count, percent));
    }
    return freed;
}

/* All that this thread can free, when memory was refused. */
static bool mmi_tier_give_way(mm_tier_cache *cache)
{
    mm_tier *central = mmi_tier_central(cache);
    size_t freed = mmi_tier_shrink(cache, 0);
    if (central != NULL) freed += mmi_tier_shrink_shelves(central, 0);
    return freed != 0;
}

/* Follows an order to trim that another thread gave. The tier's own cache was trimmed by it. */
static void mmi_tier_obey(const mm_tier *central, mm_tier_cache *cache)
{
    size_t orders;
    if (central == NULL || cache->tier == NULL) return;
    orders = mmi_atomic_load(&central->orders);
    if (orders == cache->obeyed) return;
    cache->obeyed = orders;
    (void)mmi_tier_shrink(cache, (unsigned)mmi_atomic_load(&central->order_percent));
}

// >>tier-sums: over all caches, under a lock; get takes it only when it has fetched new memory

static void mmi_tier_lock(mm_tier *tier)
{
    size_t expected = 0;
    while (!mmi_atomic_cas(&tier->lock, &expected, (size_t)1)) {
        expected = 0;
        MMI_TIER_YIELD();
    }
}

static void mmi_tier_unlock(mm_tier *tier)
{
    mmi_atomic_store(&tier->lock, (size_t)0);
}

/* Buffers out of a class, over all threads; 0 when moving ones make it look like less. */
static size_t mmi_tier_sum_live(const mm_tier *tier, size_t index)
{
    const mm_tier_cache *cache;
    size_t live = tier->gone_owned[index] + mmi_tier_live(&tier->own.rows[index]);
    for (cache = tier->caches; cache != NULL; cache = cache->next) {
        live += mmi_tier_live(&cache->rows[index]);
    }
    return live <= SIZE_MAX / 2 ? live : 0;
}

static void mmi_tier_sample(mm_tier *tier, size_t index)
{
    size_t live;
    mmi_tier_lock(tier);
    live = mmi_tier_sum_live(tier, index);
    if (live > tier->peaks[index]) tier->peaks[index] = live;
    mmi_tier_unlock(tier);
}

/* live times the mean of what requests got beyond their size. */
static size_t mmi_tier_waste(size_t live, size_t slack, size_t samples)
{
    if (samples == 0) return 0;
    return (size_t)((double)slack / (double)samples * (double)live);
}

static void mmi_tier_add_row(const mm_tier_cache *cache, size_t index, mm_tier_stats *stats,
                             size_t *slack, size_t *samples)
{
    const mmi_tier_row *row = &cache->rows[index];
    stats->cached += mmi_tier_read(&row->stored) + mmi_tier_read(&row->count);
    stats->failures += mmi_tier_read(&row->failures);
    *slack += mmi_tier_read(&row->slack);
    *samples += mmi_tier_read(&row->samples);
    if (mmi_tier_is_direct(row)) stats->bytes += mmi_tier_read(&cache->direct_bytes);
}

MM_API void mm_tier_get_stats(mm_tier *tier, size_t index, mm_tier_stats *stats)
{
    const mm_tier_cache *cache;
    size_t slack, samples;
    MM_ASSERT(index <= tier->own.class_count);
    memset(stats, 0, sizeof(*stats));
    stats->size = tier->own.rows[index].size;
    mmi_tier_lock(tier);
    stats->failures = tier->gone_failures[index];
    slack = tier->gone_slack[index];
    samples = tier->gone_samples[index];
    if (stats->size == 0) stats->bytes = tier->gone_bytes;
    mmi_tier_add_row(&tier->own, index, stats, &slack, &samples);
    for (cache = tier->caches; cache != NULL; cache = cache->next) {
        mmi_tier_add_row(cache, index, stats, &slack, &samples);
    }
    stats->live = mmi_tier_sum_live(tier, index);
    stats->peak = tier->peaks[index];
    if (mmi_atomic_load(&tier->shared) == 0) {
        stats->peak = mmi_tier_row_peak(&tier->own.rows[index]);
    }
    if (stats->peak < stats->live) stats->peak = tier->peaks[index] = stats->live;
    mmi_tier_unlock(tier);
    if (stats->bytes > SIZE_MAX / 2) stats->bytes = 0; /* as live: a block on its way */
    if (index < MM_TIER_CLASSES_MAX) stats->central = mmi_atomic_load(&tier->shelves[index].count);
    stats->cached += stats->central;
    if (stats->size != 0) stats->bytes = (stats->live + stats->cached) * stats->size;
    stats->waste = mmi_tier_waste(stats->live, slack, samples);
}

/* Tells the budget what has changed since it was told last. */
static void mmi_tier_tell(mm_tier *tier)
{
    size_t i, cached = 0, waste = 0;
    if (tier->budget == NULL) return;
    for (i = 0; i < tier->own.class_count; i++) {
        mm_tier_stats stats;
        mm_tier_get_stats(tier, i, &stats);
        cached += stats.cached * stats.size;
        waste += stats.waste;
    }
    mm_budget_note(tier->budget, (ptrdiff_t)(cached - tier->told_cached),
                   (ptrdiff_t)(waste - tier->told_waste));
    tier->told_cached = cached;
    tier->told_waste = waste;
}

MM_API void mm_tier_trim(mm_tier *tier, unsigned percent)
{
    (void)mmi_tier_shrink(&tier->own, percent);
    (void)mmi_tier_shrink_shelves(tier, percent);
    if (percent < 100) {
        mmi_atomic_store(&tier->order_percent, (size_t)percent);
        (void)mmi_atomic_add(&tier->orders, 1);
    }
    mmi_tier_tell(tier);
}

MM_API void mm_tier_cache_trim(mm_tier_cache *cache, unsigned percent)
{
    (void)mmi_tier_shrink(cache, percent);
}

static size_t mmi_tier_maintain_row(mm_tier_cache *cache, mmi_tier_row *row, size_t most)
{
    size_t freed = 0, spare;
    mmi_tier_note(row);
    spare = row->idle - row->idle / 2;
    if (spare > most) spare = most;
    if (spare > 0) freed = mmi_tier_cut(cache, row, mmi_tier_cached(row) - spare);
    row->idle = mmi_tier_cached(row);
    mmi_tier_write(&row->low, row->idle);
    mmi_tier_mark(row, mmi_tier_central(cache) == NULL);
    return freed;
}

MM_API size_t mm_tier_cache_maintain(mm_tier_cache *cache, size_t most)
{
    size_t i, left = most == 0 ? MMI_TIER_MAINTAIN : most, all = left;
    mmi_tier_obey(mmi_tier_central(cache), cache);
    for (i = cache->class_count; i-- > 0 && left > 0;) {
        left -= mmi_tier_maintain_row(cache, &cache->rows[i], left);
    }
    return all - left;
}

MM_API size_t mm_tier_maintain(mm_tier *tier, size_t most)
{
    size_t i, all = most == 0 ? MMI_TIER_MAINTAIN : most, left;
    left = all - mm_tier_cache_maintain(&tier->own, all);
    for (i = tier->own.class_count; i-- > 0 && left > 0;) {
        mmi_tier_shelf *shelf = &tier->shelves[i];
        size_t idle = mmi_atomic_load(&shelf->idle), spare = idle - idle / 2, freed;
        freed = spare == 0 ? 0 : mmi_tier_cut_shelf(tier, i, spare < left ? spare : left);
        left -= freed < left ? freed : left; /* more, where a slot was lost to another thread */
        mmi_atomic_store(&shelf->idle, mmi_atomic_load(&shelf->count));
    }
    mmi_tier_tell(tier);
    return all - left;
}

MM_API size_t mm_tier_reclaim(size_t wanted, void *user_data)
{
    mm_tier *tier = (mm_tier *)user_data;
    size_t i, freed = 0;
    for (i = tier->own.class_count; i-- > 0 && freed < wanted;) {
        mmi_tier_row *row = &tier->own.rows[i];
        size_t count = (wanted - freed - 1) / row->size + 1, cached = mmi_tier_cached(row);
        freed += mmi_tier_cut(&tier->own, row, cached > count ? cached - count : 0) * row->size;
        if (freed >= wanted) break;
        count = (wanted - freed - 1) / row->size + 1;
        freed += mmi_tier_cut_shelf(tier, i, count) * row->size;
    }
    return freed;
}

// >>tier-get: the ways beyond the front list

static void mmi_tier_add_sample(mmi_tier_row *row, size_t slack)
{
    if (row->samples >= MMI_TIER_SAMPLES) {
        mmi_tier_write(&row->samples, row->samples / 2);
        mmi_tier_write(&row->slack, row->slack / 2);
    }
    mmi_tier_write(&row->samples, row->samples + 1);
    mmi_tier_write(&row->slack, row->slack + slack);
}

/* One buffer more, or less, that is no business of the lists. */
static void mmi_tier_count(mm_tier_cache *cache, mmi_tier_row *row, size_t owned, size_t direct)
{
    mmi_tier_note(row);
    mmi_tier_write(&row->owned, row->owned + owned);
    mmi_tier_write(&cache->direct_bytes, cache->direct_bytes + direct);
    if (owned == 1) mmi_tier_write(&row->low, mmi_tier_cached(row)); /* 0, but after a reclaim */
    mmi_tier_mark(row, mmi_tier_central(cache) == NULL);
}

/* A buffer where none is in front, or bytes for the row served directly; what is cached makes room
   before the request fails. During an allocation the lists are in order: a reclaim function may
   get, put and trim. */
static void *mmi_tier_take_slow(mm_tier_cache *cache, mmi_tier_row *row, size_t asked, size_t bytes)
{
    mm_tier *central = mmi_tier_central(cache);
    void *buffer;
    mmi_tier_obey(central, cache);
    if (!mmi_tier_is_direct(row)) mmi_tier_add_sample(row, bytes - asked);
    if (!mmi_tier_is_direct(row) && mmi_tier_refill(central, cache, row)) {
        return mmi_tier_pop_least(row);
    }
    buffer = mmi_tier_fetch(cache, bytes);
    if (buffer == NULL && mmi_tier_give_way(cache)) buffer = mmi_tier_fetch(cache, bytes);
    if (buffer == NULL) {
        mmi_tier_write(&row->failures, row->failures + 1);
        return NULL;
    }
    mmi_tier_count(cache, row, 1, mmi_tier_is_direct(row) ? bytes : 0);
    if (central != NULL) mmi_tier_sample(central, (size_t)(row - cache->rows));
    return buffer;
}

/* The smallest class that holds size bytes; the row after the last when there is none. */
static mmi_tier_row *mmi_tier_find(mm_tier_cache *cache, size_t size)
{
    mmi_tier_row *row = mmi_tier_guess(cache, size != 0 ? size : 1);
    while (size > row->size && row->size != 0) row++;
    return row;
}

static void *mmi_tier_take(mm_tier_cache *cache, mmi_tier_row *row, size_t size)
{
    if (MM_LIKELY(row->count != 0)) return mmi_tier_pop_least(row);
    return mmi_tier_take_slow(cache, row, size, mmi_tier_is_direct(row) ? size : row->size);
}

MM_API void *mmi_tier_get_slow(mm_tier_cache *cache, size_t asked, size_t *size)
{
    mmi_tier_row *row = mmi_tier_find(cache, asked);
    size_t bytes = mmi_tier_is_direct(row) ? asked : row->size;
    void *buffer;
    if (bytes == 0) bytes = 1; /* a tier of all zero */
    if (row->count != 0) buffer = mmi_tier_pop_least(row);
    else buffer = mmi_tier_take_slow(cache, row, asked, bytes);
    *size = buffer == NULL ? 0 : bytes;
    return buffer;
}

/* Whether the buffer is in no list of the row: looked up with MM_DEBUG only. */
static MM_UNUSED bool mmi_tier_is_absent(const mmi_tier_row *row, const void *ptr)
{
#ifdef MM_DEBUG
    void *buffer, *batch;
    size_t i;
    for (i = 0; i < row->count; i++) {
        if (row->front[i] == ptr) return false;
    }
    for (buffer = row->head; buffer != NULL; buffer = mmi_tier_next(buffer, row->size)) {
        if (buffer == ptr) return false;
    }
    for (batch = row->batches; batch != NULL; batch = mmi_tier_peek(batch, row->size).batch) {
        for (buffer = batch; buffer != NULL; buffer = mmi_tier_next(buffer, row->size)) {
            if (buffer == ptr) return false;
        }
    }
#else
    (void)row, (void)ptr;
#endif
    return true;
}

/* A buffer, already wiped, where the short way is barred: the magazine is full, or the cache is, or
   the tier has since been shared, or there is debugging or wiping to do. */
static void mmi_tier_give(mm_tier_cache *cache, mmi_tier_row *row, void *ptr, size_t size)
{
    mm_tier *central = mmi_tier_central(cache);
    MM_ASSERT(central != NULL || mmi_tier_live(row) > 0); /* put twice, or not from this tier */
    MM_ASSERT(mmi_tier_is_absent(row, ptr));              /* put twice */
    if (mmi_tier_is_direct(row)) {
        mmi_tier_count(cache, row, SIZE_MAX, (size_t)0 - size);
        mmi_tier_drop(cache, ptr, size);
        return;
    }
    mmi_tier_obey(central, cache);
    if (mmi_tier_cached(row) >= row->keep &&
        (central == NULL || !mmi_tier_hand_over(central, cache, row))) {
        mmi_tier_count(cache, row, SIZE_MAX, 0);
        mmi_tier_drop(cache, ptr, row->size);
        return;
    }
    if (row->count >= MMI_TIER_FRONT) mmi_tier_flush(row, MMI_TIER_FRONT / 2);
    mmi_tier_mark(row, central == NULL);
    mmi_tier_push(row, ptr, row->size);
}

MM_API void mmi_tier_put_slow(mm_tier_cache *cache, void *ptr, size_t size, size_t dirty)
{
    mmi_tier_row *row = mmi_tier_find(cache, size);
    MM_ASSERT(mmi_tier_is_direct(row) || row->size == size); /* the size that get gave */
    if (cache->wipe != MM_TIER_WIPE_NONE) mmi_pool_wipe(ptr, dirty < size ? dirty : size);
    mmi_tier_give(cache, row, ptr, size);
}

// >>tier-caches: threads that come and go

/* A cache that is attached twice would be its own next. */
static MM_UNUSED bool mmi_tier_is_attached(mm_tier *tier, const mm_tier_cache *cache)
{
    const mm_tier_cache *other;
    mmi_tier_lock(tier);
    for (other = tier->caches; other != NULL && other != cache;) other = other->next;
    mmi_tier_unlock(tier);
    return other != NULL;
}

MM_API void mm_tier_cache_init(mm_tier_cache *cache, mm_tier *tier)
{
    size_t i;
    MM_ASSERT(!mmi_tier_is_attached(tier, cache)); /* initialised twice, or gone without deinit */
    memset(cache, 0, sizeof(*cache));
    cache->class_count = tier->own.class_count;
    cache->allocator = tier->own.allocator;
    cache->wipe = tier->own.wipe;
    cache->tier = tier;
    cache->obeyed = mmi_atomic_load(&tier->orders);
    for (i = 0; i < cache->class_count; i++) {
        cache->rows[i].size = tier->own.rows[i].size;
        cache->rows[i].wipe = tier->own.wipe;
        cache->rows[i].keep = tier->own.rows[i].keep;
        cache->rows[i].batch = tier->own.rows[i].batch;
        mmi_tier_mark(&cache->rows[i], false);
    }
    mmi_tier_fill_buckets(cache);
    mmi_tier_lock(tier);
    for (i = 0; i <= cache->class_count && mmi_atomic_load(&tier->shared) == 0; i++) {
        tier->peaks[i] = mmi_tier_row_peak(&tier->own.rows[i]);
    }
    cache->next = tier->caches;
    tier->caches = cache;
    mmi_atomic_store(&tier->shared, (size_t)1);
    mmi_tier_unlock(tier);
}

/* Everything to the central list, and what that has no room for to the allocator. */
static void mmi_tier_hand_back(mm_tier *tier, mm_tier_cache *cache)
{
    size_t i;
    for (i = 0; i < cache->class_count; i++) {
        while (mmi_tier_hand_over(tier, cache, &cache->rows[i])) continue;
    }
    (void)mmi_tier_shrink(cache, 0);
}

MM_API void mm_tier_cache_deinit(mm_tier_cache *cache)
{
    mm_tier *tier = cache->tier;
    mm_tier_cache **link;
    size_t i;
    if (tier == NULL) return;
    mmi_tier_hand_back(tier, cache);
    mmi_tier_lock(tier);
    for (link = &tier->caches; *link != cache; link = &(*link)->next) MM_ASSERT(*link != NULL);
    *link = cache->next;
    for (i = 0; i <= cache->class_count; i++) {
        tier->gone_owned[i] += cache->rows[i].owned;
        tier->gone_failures[i] += cache->rows[i].failures;
        tier->gone_samples[i] += cache->rows[i].samples;
        tier->gone_slack[i] += cache->rows[i].slack;
    }
    tier->gone_bytes += cache->direct_bytes;
    mmi_tier_unlock(tier);
    memset(cache, 0, sizeof(*cache));
}

MM_API size_t mm_tier_deinit(mm_tier *tier)
{
    size_t i, live = 0;
    for (i = 0; i <= tier->own.class_count; i++) live += mmi_tier_sum_live(tier, i);
    while (tier->caches != NULL) {
        mm_tier_cache *cache = tier->caches;
        tier->caches = cache->next;
        (void)mmi_tier_shrink(cache, 0);
        memset(cache, 0, sizeof(*cache));
    }
    (void)mmi_tier_shrink(&tier->own, 0);
    (void)mmi_tier_shrink_shelves(tier, 0);
    if (tier->budget != NULL) {
        mm_budget_note(tier->budget, (ptrdiff_t)((size_t)0 - tier->told_cached),
                       (ptrdiff_t)((size_t)0 - tier->told_waste));
    }
    memset(tier, 0, sizeof(*tier));
    return live;
}

// >>tier-check

/* Whether a list has as many buffers as it should. */
static bool mmi_tier_check_list(void *buffer, size_t count, size_t size)
{
    for (; buffer != NULL && count > 0; count--) buffer = mmi_tier_next(buffer, size);
    return buffer == NULL && count == 0;
}

static bool mmi_tier_check_row(const mmi_tier_row *row)
{
    size_t stored = row->listed;
    void *batch = row->batches;
    if (mmi_tier_cached(row) > row->keep || row->listed > row->batch) return false;
    if (row->count > MMI_TIER_FRONT || row->room > MMI_TIER_FRONT) return false;
    if (row->low > mmi_tier_cached(row) || row->floor > row->count) return false;
    if (row->stored < stored) return false;
    if (!mmi_tier_check_list(row->head, row->listed, row->size)) return false;
    while (batch != NULL) {
        mmi_tier_words words = mmi_tier_peek(batch, row->size);
        if (words.count == 0 || words.count > row->stored - stored) return false;
        if (!mmi_tier_check_list(batch, words.count, row->size)) return false;
        stored += words.count;
        batch = words.batch;
    }
    return stored == row->stored;
}

static bool mmi_tier_check_shelf(const mmi_tier_shelf *shelf, const mmi_tier_row *row)
{
    size_t i, count = 0;
    for (i = 0; i < MMI_TIER_SLOTS; i++) {
        void *batch = (void *)(uintptr_t)shelf->slots[i];
        size_t have;
        if (batch == NULL) continue;
        have = mmi_tier_peek(batch, row->size).count;
        if (i >= shelf->used || have == 0 || have > row->batch) return false;
        if (!mmi_tier_check_list(batch, have, row->size)) return false;
        count += have;
    }
    return count == shelf->count;
}

static bool mmi_tier_check_cache(const mm_tier_cache *cache, const mm_tier *tier)
{
    size_t i, last = 0;
    if (cache->class_count > MM_TIER_CLASSES_MAX) return false;
    if (cache->class_count != tier->own.class_count) return false;
    for (i = 0; i < cache->class_count; i++) {
        const mmi_tier_row *row = &cache->rows[i];
        if (row->size <= last) return false;
        if (!mmi_tier_check_row(row)) return false;
        last = row->size;
    }
    return cache->rows[i].size == 0 && cache->rows[i].count == 0;
}

MM_API bool mm_tier_check(const mm_tier *tier)
{
    const mm_tier_cache *cache;
    size_t i;
    if (!mmi_tier_check_cache(&tier->own, tier)) return false;
    for (i = 0; i < tier->own.class_count; i++) {
        const mmi_tier_row *row = &tier->own.rows[i];
        if (!mmi_tier_check_shelf(&tier->shelves[i], row)) return false;
        if (tier->shared == 0 && row->owned < mmi_tier_cached(row)) return false;
    }
    for (cache = tier->caches; cache != NULL; cache = cache->next) {
        if (cache->tier != tier || !mmi_tier_check_cache(cache, tier)) return false;
    }
    return tier->shared != 0 || tier->own.rows[i].owned <= tier->own.direct_bytes;
}

// >>tier-allocator

/* The class from which the allocator serves a size; the row after the last: none is near enough. */
static mmi_tier_row *mmi_tier_near(mm_tier_cache *cache, size_t size)
{
    mmi_tier_row *row = mmi_tier_find(cache, size);
    return row->size != 0 && row->size - size > size ? &cache->rows[cache->class_count] : row;
}

/* Leaves a block of a class to the byte that was asked for. */
static void mmi_tier_fence(const mmi_tier_row *row, void *ptr, size_t size)
{
    if (mmi_tier_is_direct(row)) return;
    MM_TRACK_POISON((unsigned char *)ptr + size, row->size - size);
}

static void *mmi_tier_alloc_fn(size_t size, void *user_data)
{
    mm_tier_cache *cache = (mm_tier_cache *)user_data;
    mmi_tier_row *row = mmi_tier_near(cache, size);
    void *block = mmi_tier_take(cache, row, size);
    if (block != NULL) mmi_tier_fence(row, block, size);
    return block;
}

static void mmi_tier_free_fn(void *ptr, size_t size, void *user_data)
{
    mm_tier_cache *cache = (mm_tier_cache *)user_data;
    mmi_tier_row *row = mmi_tier_near(cache, size);
    if (!mmi_tier_is_direct(row)) {
        MM_TRACK_UNPOISON((unsigned char *)ptr + size, row->size - size);
    }
    if (cache->wipe != MM_TIER_WIPE_NONE) mmi_pool_wipe(ptr, size);
    mmi_tier_give(cache, row, ptr, size);
}

/* Not with wiping: a realloc that moves leaves a copy behind. */
static void *mmi_tier_realloc_direct(mm_tier_cache *cache, void *ptr, size_t old_size,
                                     size_t new_size)
{
    mmi_tier_row *row = &cache->rows[cache->class_count];
    void *block = mmi_realloc(cache->allocator, ptr, old_size, new_size);
    if (block == NULL && mmi_tier_give_way(cache)) {
        block = mmi_realloc(cache->allocator, ptr, old_size, new_size);
    }
    if (block == NULL) mmi_tier_write(&row->failures, row->failures + 1);
    else mmi_tier_count(cache, row, 0, new_size - old_size); /* either sign: unsigned wraps */
    return block;
}

/* The same buffer for another size. */
static void *mmi_tier_resize(const mm_tier_cache *cache, const mmi_tier_row *row, void *ptr,
                             size_t old_size, size_t new_size)
{
    unsigned char *bytes = (unsigned char *)ptr;
    if (new_size > old_size) MM_TRACK_UNPOISON(bytes + old_size, new_size - old_size);
    else if (cache->wipe != MM_TIER_WIPE_NONE) mmi_pool_wipe(bytes + new_size, old_size - new_size);
    mmi_tier_fence(row, ptr, new_size);
    return ptr;
}

static void *mmi_tier_realloc_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    mm_tier_cache *cache = (mm_tier_cache *)user_data;
    mmi_tier_row *from, *to = mmi_tier_near(cache, new_size);
    void *block;
    if (ptr == NULL) return mmi_tier_alloc_fn(new_size, cache);
    from = mmi_tier_near(cache, old_size);
    if (from == to && !mmi_tier_is_direct(to)) {
        return mmi_tier_resize(cache, to, ptr, old_size, new_size);
    }
    if (from == to && cache->wipe == MM_TIER_WIPE_NONE) {
        return mmi_tier_realloc_direct(cache, ptr, old_size, new_size);
    }
    block = mmi_tier_alloc_fn(new_size, cache);
    if (block == NULL) return NULL;
    MM_MEMCPY(block, ptr, old_size < new_size ? old_size : new_size);
    mmi_tier_free_fn(ptr, old_size, cache);
    return block;
}

MM_API const mm_allocator *mm_tier_cache_allocator(mm_tier_cache *cache)
{
    cache->as_allocator.alloc_fn = mmi_tier_alloc_fn;
    cache->as_allocator.realloc_fn = mmi_tier_realloc_fn;
    cache->as_allocator.free_fn = mmi_tier_free_fn;
    cache->as_allocator.user_data = cache;
    return &cache->as_allocator;
}

MM_API const mm_allocator *mm_tier_allocator(mm_tier *tier)
{
    return mm_tier_cache_allocator(&tier->own);
}

// >>budget: a tree of accounts

#define MMI_BUDGET_DEPTH 8 /* levels whose peak is exact under threads; deeper ones read it late */

/* What the level would say to the charge now; *after is what live would be. */
static mm_status mmi_budget_judge(const mm_budget *level, size_t live, size_t size, size_t *after)
{
    size_t limit = mmi_atomic_load(&level->limit);
    if (!mm_size_add(live, size, after)) return MM_STATUS_TOO_LARGE;
    return limit != 0 && *after > limit ? MM_STATUS_LIMIT : MM_STATUS_OK;
}

/* Reserves by compare-and-swap: unlike an addition that is undone, a refused charge never shows on
   the level that refuses, and so cannot make it refuse others. */
static mm_status mmi_budget_reserve(mm_budget *level, size_t size, size_t *after)
{
    size_t live = mmi_atomic_load(&level->live);
    do {
        mm_status status = mmi_budget_judge(level, live, size, after);
        if (status != MM_STATUS_OK) return status;
    } while (!mmi_atomic_cas(&level->live, &live, *after));
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

/* The budgets that reclaim are asked once, unless that is under way: on this thread it is the
   callback itself that charges, on another the answer would have to be waited for. */
static bool mmi_budget_ask(mm_budget *level, size_t wanted)
{
    size_t idle = 0;
    if (level->reclaim_fn == NULL) return false;
    if (!mmi_atomic_cas(&level->reclaiming, &idle, (size_t)1)) return false;
    (void)mmi_atomic_add(&level->reclaims, 1);
    (void)mmi_atomic_add(&level->reclaimed, level->reclaim_fn(wanted, level->reclaim_data));
    mmi_atomic_store(&level->reclaiming, (size_t)0);
    return true;
}

/* Asks from budget up to last, NULL: to the root; true when anybody could be asked. */
static bool mmi_budget_ask_until(mm_budget *budget, const mm_budget *last, size_t wanted)
{
    bool asked = false;
    for (; budget != NULL; budget = budget->parent) {
        if (mmi_budget_ask(budget, wanted)) asked = true;
        if (budget == last) break;
    }
    return asked;
}

static void mmi_budget_raise_peak(mm_budget *level, size_t live)
{
    size_t peak = mmi_atomic_load(&level->peak);
    while (live > peak && !mmi_atomic_cas(&level->peak, &peak, live)) continue;
}

/* After all levels have granted: what an ancestor refuses is no peak of the levels below it. */
static void mmi_budget_granted(mm_budget *budget, size_t size, const size_t *after)
{
    mm_budget *level;
    size_t depth = 0;
    for (level = budget; level != NULL; level = level->parent, depth++) {
        size_t live = depth < MMI_BUDGET_DEPTH ? after[depth] : mmi_atomic_load(&level->live);
        size_t soft = mmi_atomic_load(&level->soft_limit);
        mmi_budget_raise_peak(level, live);
        if (MM_LIKELY(soft == 0 || live <= soft || live - size > soft)) continue;
        (void)mmi_atomic_add(&level->crossings, 1); /* by this charge, and no other */
        (void)mmi_budget_ask(level, live - soft);
    }
}

/* One try; *refused is the level that said no. Looks at all levels before it reserves on any: a
   charge that is refused in the end then hardly ever shows on the levels below, where it could
   make another one fail. What remains is an ancestor that fills up between the two. */
static mm_status mmi_budget_try(mm_budget *budget, size_t size, mm_budget **refused)
{
    size_t after[MMI_BUDGET_DEPTH], ignored, depth = 0;
    mm_budget *level;
    mm_status status;
    for (level = budget; budget->parent != NULL && level != NULL; level = level->parent) {
        *refused = level;
        status = mmi_budget_judge(level, mmi_atomic_load(&level->live), size, &ignored);
        if (MM_UNLIKELY(status != MM_STATUS_OK)) return status;
    }
    for (level = budget; level != NULL; level = level->parent, depth++) {
        size_t *live = depth < MMI_BUDGET_DEPTH ? &after[depth] : &ignored;
        status = mmi_budget_reserve(level, size, live);
        if (MM_UNLIKELY(status != MM_STATUS_OK)) {
            *refused = level;
            mmi_budget_release_until(budget, level, size);
            return status;
        }
    }
    mmi_budget_granted(budget, size, after);
    return MM_STATUS_OK;
}

/* How much too much a charge would be. */
static size_t mmi_budget_excess(const mm_budget *level, size_t size)
{
    size_t live = mm_budget_live(level), limit = mm_budget_limit(level), after;
    if (!mm_size_add(live, size, &after)) return size;
    return limit != 0 && after > limit ? after - limit : 1; /* released meanwhile: a little */
}

MM_API mm_status mm_budget_charge(mm_budget *budget, size_t size)
{
    mm_budget *refused = budget;
    mm_status status;
    if (size == 0) return MM_STATUS_OK;
    status = mmi_budget_try(budget, size, &refused);
    if (MM_LIKELY(status == MM_STATUS_OK)) return status;
    if (status == MM_STATUS_LIMIT &&
        mmi_budget_ask_until(budget, refused, mmi_budget_excess(refused, size))) {
        status = mmi_budget_try(budget, size, &refused);
        if (status == MM_STATUS_OK) return status;
    }
    (void)mmi_atomic_add(&refused->failures, 1);
    return status;
}

MM_API void mm_budget_release(mm_budget *budget, size_t size)
{
    mmi_budget_release_until(budget, NULL, size);
}

MM_API void mm_budget_set_limit(mm_budget *budget, size_t limit)
{
    mmi_atomic_store(&budget->limit, limit);
}

MM_API void mm_budget_set_soft_limit(mm_budget *budget, size_t limit)
{
    mmi_atomic_store(&budget->soft_limit, limit);
}

MM_API void mm_budget_set_reclaim(mm_budget *budget, mm_reclaim_fn reclaim_fn, void *user_data)
{
    budget->reclaim_fn = reclaim_fn;
    budget->reclaim_data = user_data;
}

MM_API void mm_budget_note(mm_budget *budget, ptrdiff_t cached, ptrdiff_t waste)
{
    mm_budget *level;
    for (level = budget; level != NULL; level = level->parent) {
        if (cached != 0) (void)mmi_atomic_add(&level->cached, (size_t)cached);
        if (waste != 0) (void)mmi_atomic_add(&level->waste, (size_t)waste);
    }
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
    stats->cached = mmi_atomic_load(&budget->cached);
    stats->peak = mmi_atomic_load(&budget->peak);
    stats->failures = mmi_atomic_load(&budget->failures);
    stats->waste = mmi_atomic_load(&budget->waste);
    stats->limit = mmi_atomic_load(&budget->limit);
    stats->soft_limit = mmi_atomic_load(&budget->soft_limit);
    stats->crossings = mmi_atomic_load(&budget->crossings);
    stats->reclaims = mmi_atomic_load(&budget->reclaims);
    stats->reclaimed = mmi_atomic_load(&budget->reclaimed);
}

/* Memory that was charged and could not be had. */
static void mmi_budget_no_memory(mm_budget *budget, size_t size)
{
    mm_budget_release(budget, size);
    (void)mmi_atomic_add(&budget->failures, 1);
}

/* Charges growth for a block of that size. None has more than half of the address space: it is not
   charged even for a moment, as that would be the peak for ever, and make other threads fail. */
static bool mmi_budget_admit(mm_budget *budget, size_t size, size_t growth)
{
    if (size <= SIZE_MAX / 2) return mm_budget_charge(budget, growth) == MM_STATUS_OK;
    (void)mmi_atomic_add(&budget->failures, 1);
    return false;
}

static void *mmi_budget_alloc_fn(size_t size, void *user_data)
{
    mm_budget *budget = (mm_budget *)user_data;
    void *block;
    if (!mmi_budget_admit(budget, size, size)) return NULL;
    block = mmi_alloc(budget->allocator, size);
    if (MM_UNLIKELY(block == NULL) && mmi_budget_ask_until(budget, NULL, size)) {
        block = mmi_alloc(budget->allocator, size);
    }
    if (MM_UNLIKELY(block == NULL)) mmi_budget_no_memory(budget, size);
    return block;
}

/* Growth is charged before, a shrink released after: the count is never below what is out. */
static void *mmi_budget_realloc_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    mm_budget *budget = (mm_budget *)user_data;
    size_t growth = new_size > old_size ? new_size - old_size : 0;
    void *block;
    if (!mmi_budget_admit(budget, new_size, growth)) return NULL;
    block = mmi_realloc(budget->allocator, ptr, old_size, new_size);
    if (MM_UNLIKELY(block == NULL) && mmi_budget_ask_until(budget, NULL, new_size)) {
        block = mmi_realloc(budget->allocator, ptr, old_size, new_size);
    }
    if (MM_UNLIKELY(block == NULL)) mmi_budget_no_memory(budget, growth);
    else if (new_size < old_size) mm_budget_release(budget, old_size - new_size);
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
    budget->soft_limit = desc->soft_limit;
    budget->parent = desc->parent;
    budget->name = desc->name;
    budget->reclaim_fn = desc->reclaim_fn;
    budget->reclaim_data = desc->reclaim_data;
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

// >>pressure: levels of a budget

static const unsigned mmi_pressure_enter[3] = {70, 85, 95}; /* of the limit: seed values */
#define MMI_PRESSURE_GAP 5u                                 /* percent between entering, leaving */
#define MMI_PRESSURE_DWELL 1000u                            /* a second in milliseconds */

MM_API mm_status mm_pressure_init(mm_pressure *pressure, const mm_pressure_desc *desc)
{
    const unsigned *enter = desc->enter;
    unsigned i;
    memset(pressure, 0, sizeof(*pressure));
    if ((enter[0] | enter[1] | enter[2]) == 0) enter = mmi_pressure_enter;
    for (i = 0; i < 3; i++) {
        unsigned leave = desc->leave[i];
        if (leave == 0) leave = i + 1;
        if (desc->leave[i] == 0 && enter[i] > MMI_PRESSURE_GAP + i) {
            leave = enter[i] - MMI_PRESSURE_GAP;
        }
        pressure->enter[i] = enter[i];
        pressure->leave[i] = leave;
        if (enter[i] > 100 || leave > enter[i]) break;
        if (i > 0 && (enter[i] <= enter[i - 1] || leave <= pressure->leave[i - 1])) break;
    }
    if (i < 3) {
        memset(pressure, 0, sizeof(*pressure));
        return MM_STATUS_INVALID;
    }
    pressure->budget = desc->budget;
    pressure->dwell = desc->dwell == 0 ? MMI_PRESSURE_DWELL : desc->dwell;
    if (desc->dwell == MM_PRESSURE_NO_DWELL) pressure->dwell = 0;
    return MM_STATUS_OK;
}

/* percent of the limit, rounded down, and whether that is exact. */
static size_t mmi_pressure_share(size_t limit, unsigned percent, bool *exact)
{
    *exact = limit % 100 * percent % 100 == 0;
    return limit / 100 * percent + limit % 100 * percent / 100;
}

/* Whether what is live calls for the level: at its threshold, or above it for the last one. */
static bool mmi_pressure_enters(const mm_pressure *pressure, size_t level)
{
    size_t live = mm_budget_live(pressure->budget), limit = mm_budget_limit(pressure->budget);
    bool exact;
    size_t share = mmi_pressure_share(limit, pressure->enter[level - 1], &exact);
    if (limit == 0) return false;
    return live > share || (live == share && exact && level != MM_PRESSURE_CRITICAL);
}

static bool mmi_pressure_leaves(const mm_pressure *pressure, size_t level)
{
    size_t live = mm_budget_live(pressure->budget), limit = mm_budget_limit(pressure->budget);
    bool exact;
    size_t share = mmi_pressure_share(limit, pressure->leave[level - 1], &exact);
    return limit == 0 || live < share || (live == share && !exact);
}

/* The last action before end. */
static const mm_pressure_action *mmi_pressure_last(const mm_pressure *pressure,
                                                   const mm_pressure_action *end)
{
    const mm_pressure_action *action, *last = NULL;
    for (action = pressure->actions; action != end; action = action->next) last = action;
    return last;
}

/* Without those that are added meanwhile: mm_pressure_add calls them, where the level holds. */
static void mmi_pressure_call(const mm_pressure *pressure, size_t level, bool entering)
{
    const mm_pressure_action *last = mmi_pressure_last(pressure, NULL), *action;
    if (last == NULL) return;
    for (action = pressure->actions; entering; action = action->next) {
        if ((size_t)action->level == level) action->fn(action, true);
        if (action == last) return;
    }
    for (; last != NULL; last = mmi_pressure_last(pressure, last)) { /* the lists are short */
        if ((size_t)last->level == level) last->fn(last, false);
    }
}

static void mmi_pressure_step(mm_pressure *pressure, size_t level, bool entering, uint64_t now)
{
    mmi_atomic_store(&pressure->level, entering ? level : level - 1);
    (void)mmi_atomic_add(&pressure->changes, 1);
    pressure->since = now;
    mmi_pressure_call(pressure, level, entering);
}

MM_API mm_pressure_level mm_pressure_update(mm_pressure *pressure, uint64_t now)
{
    size_t level = pressure->level;
    bool rested = now >= pressure->since && now - pressure->since >= pressure->dwell;
    if (pressure->updating || pressure->budget == NULL) return (mm_pressure_level)level;
    if (mm_budget_limit(pressure->budget) == 0) rested = true;
    pressure->updating = true;
    if (level < MM_PRESSURE_CRITICAL && mmi_pressure_enters(pressure, level + 1)) {
        do {
            mmi_pressure_step(pressure, ++level, true, now);
        } while (level < MM_PRESSURE_CRITICAL && mmi_pressure_enters(pressure, level + 1));
    } else {
        for (; rested && level > 0 && mmi_pressure_leaves(pressure, level); level--) {
            mmi_pressure_step(pressure, level, false, now);
        }
    }
    pressure->updating = false;
    return (mm_pressure_level)level;
}

MM_API void mm_pressure_add(mm_pressure *pressure, mm_pressure_action *action)
{
    mm_pressure_action **link = &pressure->actions;
    MM_ASSERT(action->level > MM_PRESSURE_NORMAL && action->level <= MM_PRESSURE_CRITICAL);
    while (*link != NULL) link = &(*link)->next;
    *link = action;
    action->next = NULL;
    if ((size_t)action->level <= pressure->level) {
        bool updating = pressure->updating;
        pressure->updating = true;
        action->fn(action, true);
        pressure->updating = updating;
    }
}

MM_API void mm_pressure_deinit(mm_pressure *pressure)
{
    size_t level = pressure->level;
    pressure->updating = true;
    for (; level > 0; level--) mmi_pressure_step(pressure, level, false, pressure->since);
    memset(pressure, 0, sizeof(*pressure));
}

MM_API void mm_pressure_trim_tier(const mm_pressure_action *action, bool entering)
{
    if (entering) mm_tier_trim((mm_tier *)action->user_data, action->percent);
}

MM_API void mm_pressure_trim_cache(const mm_pressure_action *action, bool entering)
{
    if (entering) mm_tier_cache_trim((mm_tier_cache *)action->user_data, action->percent);
}

MM_API const char *mm_pressure_string(mm_pressure_level level)
{
    static const char *const text[] = {"normal", "elevated", "high", "critical"};
    size_t index = (size_t)level;
    return index < sizeof(text) / sizeof(text[0]) ? text[index] : "unknown";
}

// >>stats: one call for everything

MM_API void mmi_stats_flush(mmi_stats_out *out)
{
    if (out->used != 0 && out->status == MM_STATUS_OK) {
        out->status = out->sink(out->user_data, out->text, out->used);
    }
    out->used = 0;
}

MM_API void mmi_stats_bytes(mmi_stats_out *out, const char *bytes, size_t size)
{
    for (; size > 0; size--) {
        if (out->used == sizeof(out->text)) mmi_stats_flush(out);
        out->text[out->used++] = *bytes++;
    }
}

MM_API void mmi_stats_text(mmi_stats_out *out, const char *text)
{
    mmi_stats_bytes(out, text, strlen(text));
}

MM_API void mmi_stats_number(mmi_stats_out *out, uint64_t number)
{
    char digits[24], *at = digits + sizeof(digits);
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    mmi_stats_bytes(out, at, (size_t)(digits + sizeof(digits) - at));
}

/* The length of the UTF-8 sequence that begins here (RFC 3629); 0: none does. */
static size_t mmi_stats_sequence(const unsigned char *at)
{
    unsigned char first = at[0], low = 0x80, high = 0xBF;
    size_t i, length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (length > 1 && (first < 0xC2 || first > 0xF4)) return 0;
    if (first == 0xE0) low = 0xA0; /* overlong */
    if (first == 0xED) high = 0x9F; /* surrogates */
    if (first == 0xF0) low = 0x90; /* overlong */
    if (first == 0xF4) high = 0x8F; /* above U+10FFFF */
    for (i = 1; i < length; i++) {
        if (at[i] < low || at[i] > high) return 0; /* the end of the string as well */
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

/* A control character in JSON is \u00XX; a label of Prometheus escapes line feeds alone. */
static void mmi_stats_control(mmi_stats_out *out, unsigned char byte, mm_stats_format format)
{
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', '0', '0'};
    if (byte == '\n') {
        mmi_stats_bytes(out, "\\n", 2);
    } else if (format == MM_STATS_JSON) {
        text[4] = digits[byte >> 4];
        text[5] = digits[byte & 15];
        mmi_stats_bytes(out, text, sizeof(text));
    } else {
        text[0] = (char)byte;
        mmi_stats_bytes(out, text, 1);
    }
}

MM_API void mmi_stats_string(mmi_stats_out *out, const char *string, mm_stats_format format)
{
    const unsigned char *at = (const unsigned char *)(string == NULL ? "" : string);
    mmi_stats_bytes(out, "\"", 1);
    while (*at != '\0') {
        size_t length = mmi_stats_sequence(at);
        if (length == 0) {
            mmi_stats_text(out, "\xEF\xBF\xBD"); /* U+FFFD for each byte that is none */
            length = 1;
        } else if (*at < 0x20 || *at == 0x7F) {
            mmi_stats_control(out, *at, format);
        } else {
            if (*at == '"' || *at == '\\') mmi_stats_bytes(out, "\\", 1);
            mmi_stats_bytes(out, (const char *)at, length);
        }
        at += length;
    }
    mmi_stats_bytes(out, "\"", 1);
}

typedef struct mmi_stats_family { /* a figure: in JSON by its key, in Prometheus with the rest */
    const char *key;
    const char *metric;
    const char *type;
    const char *help;
} mmi_stats_family;

#define MMI_STATS_OBJECT_FIGURES 7
static const mmi_stats_family mmi_stats_object_families[MMI_STATS_OBJECT_FIGURES] = {
    {"size", "mm_object_size_bytes", "gauge", "Bytes of one object; 0: of different sizes."},
    {"live", "mm_objects_live", "gauge", "Objects out with users."},
    {"cached", "mm_objects_cached", "gauge", "Objects held for the next user."},
    {"peak", "mm_objects_peak", "gauge", "Most objects that were live at a time."},
    {"failures", "mm_object_failures_total", "counter", "Requests refused."},
    {"waste", "mm_object_waste_bytes", "gauge", "Bytes held that nobody asked for."},
    {"bytes", "mm_object_held_bytes", "gauge", "Bytes held from the allocator."}};

#define MMI_STATS_BUDGET_FIGURES 10
static const mmi_stats_family mmi_stats_budget_families[MMI_STATS_BUDGET_FIGURES] = {
    {"live", "mm_budget_live_bytes", "gauge", "Bytes charged."},
    {"cached", "mm_budget_cached_bytes", "gauge", "Bytes charged that lie in caches."},
    {"peak", "mm_budget_peak_bytes", "gauge", "Most bytes charged at a time."},
    {"failures", "mm_budget_failures_total", "counter", "Charges refused."},
    {"waste", "mm_budget_waste_bytes", "gauge", "Bytes charged that nobody asked for."},
    {"limit", "mm_budget_limit_bytes", "gauge", "Most bytes allowed; 0: unlimited."},
    {"soft_limit", "mm_budget_soft_limit_bytes", "gauge", "Where reclaim begins; 0: nowhere."},
    {"crossings", "mm_budget_crossings_total", "counter", "Charges over the soft limit."},
    {"reclaims", "mm_budget_reclaims_total", "counter", "Times that reclaim was asked."},
    {"reclaimed", "mm_budget_reclaimed_bytes_total", "counter", "Bytes that reclaim freed."}};

#define MMI_STATS_PRESSURE_FIGURES 2
static const mmi_stats_family mmi_stats_pressure_families[MMI_STATS_PRESSURE_FIGURES] = {
    {"level", "mm_pressure_level", "gauge", "0 normal, 1 elevated, 2 high, 3 critical."},
    {"changes", "mm_pressure_changes_total", "counter", "Levels entered and left."}};

typedef enum mmi_stats_group { /* kinds that share their families */
    MMI_STATS_OBJECTS,
    MMI_STATS_BUDGETS,
    MMI_STATS_PRESSURES,
    MMI_STATS_GROUPS
} mmi_stats_group;

static const struct {
    const char *key; /* of the array in JSON */
    const mmi_stats_family *families;
    size_t count;
} mmi_stats_groups[MMI_STATS_GROUPS] = {
    {"objects", mmi_stats_object_families, MMI_STATS_OBJECT_FIGURES},
    {"budgets", mmi_stats_budget_families, MMI_STATS_BUDGET_FIGURES},
    {"pressures", mmi_stats_pressure_families, MMI_STATS_PRESSURE_FIGURES}};

static mmi_stats_group mmi_stats_group_of(mm_stats_kind kind)
{
    if (kind == MM_STATS_BUDGET) return MMI_STATS_BUDGETS;
    return kind == MM_STATS_PRESSURE ? MMI_STATS_PRESSURES : MMI_STATS_OBJECTS;
}

/* Rows of a source: a tier has one for each class, and one more. */
static size_t mmi_stats_rows(const mm_stats_source *source)
{
    if (source->kind != MM_STATS_TIER) return 1;
    return mm_tier_class_count((const mm_tier *)source->object) + 1;
}

static void mmi_stats_read_object(const mm_stats_source *source, size_t *figures)
{
    mm_pool_stats stats;
    memset(&stats, 0, sizeof(stats));
    if (source->kind == MM_STATS_POOL) {
        mm_pool_get_stats((const mm_pool *)source->object, &stats);
    } else {
        mm_slab_get_stats((const mm_slab *)source->object, &stats);
    }
    figures[0] = stats.size;
    figures[1] = stats.live;
    figures[2] = stats.cached;
    figures[3] = stats.peak;
    figures[4] = stats.failures;
    figures[5] = stats.waste;
    figures[6] = stats.bytes;
}

static void mmi_stats_read_tier(mm_tier *tier, size_t row, size_t *figures)
{
    mm_tier_stats stats;
    mm_tier_get_stats(tier, row, &stats);
    figures[0] = stats.size;
    figures[1] = stats.live;
    figures[2] = stats.cached;
    figures[3] = stats.peak;
    figures[4] = stats.failures;
    figures[5] = stats.waste;
    figures[6] = stats.bytes;
}

static void mmi_stats_read_budget(const mm_budget *budget, size_t *figures)
{
    mm_budget_stats stats;
    mm_budget_get_stats(budget, &stats);
    figures[0] = stats.live;
    figures[1] = stats.cached;
    figures[2] = stats.peak;
    figures[3] = stats.failures;
    figures[4] = stats.waste;
    figures[5] = stats.limit;
    figures[6] = stats.soft_limit;
    figures[7] = stats.crossings;
    figures[8] = stats.reclaims;
    figures[9] = stats.reclaimed;
}

/* The figures of a row, in the order of their families. */
static void mmi_stats_read(const mm_stats_source *source, size_t row, size_t *figures)
{
    if (source->kind == MM_STATS_TIER) {
        mmi_stats_read_tier((mm_tier *)source->object, row, figures);
    } else if (source->kind == MM_STATS_BUDGET) {
        mmi_stats_read_budget((const mm_budget *)source->object, figures);
    } else if (source->kind == MM_STATS_PRESSURE) {
        const mm_pressure *pressure = (const mm_pressure *)source->object;
        figures[0] = mmi_atomic_load(&pressure->level);
        figures[1] = mmi_atomic_load(&pressure->changes);
    } else {
        mmi_stats_read_object(source, figures);
    }
}

static void mmi_stats_label(mmi_stats_out *out, mm_stats_format format, const char *key)
{
    if (format == MM_STATS_JSON) mmi_stats_string(out, key, format);
    else mmi_stats_text(out, key);
    mmi_stats_bytes(out, format == MM_STATS_JSON ? ":" : "=", 1);
}

/* Which row this is: kind="tier",name="worker 1",class="4096". */
static void mmi_stats_labels(mmi_stats_out *out, const mm_stats_source *source, size_t row,
                             mm_stats_format format)
{
    static const char *const kinds[] = {"pool", "slab", "tier", "budget", "pressure"};
    const char *name = source->name;
    if (name == NULL && source->kind == MM_STATS_BUDGET) {
        name = ((const mm_budget *)source->object)->name;
    }
    if (mmi_stats_group_of(source->kind) == MMI_STATS_OBJECTS) {
        mmi_stats_label(out, format, "kind");
        mmi_stats_string(out, kinds[source->kind], format);
        mmi_stats_bytes(out, ",", 1);
    }
    mmi_stats_label(out, format, "name");
    mmi_stats_string(out, name, format);
    if (source->kind != MM_STATS_TIER) return;
    mmi_stats_bytes(out, ",", 1);
    mmi_stats_label(out, format, "class");
    if (row + 1 == mmi_stats_rows(source)) {
        mmi_stats_string(out, "direct", format);
    } else {
        mmi_stats_bytes(out, "\"", 1);
        mmi_stats_number(out, ((const mm_tier *)source->object)->own.rows[row].size);
        mmi_stats_bytes(out, "\"", 1);
    }
}

static void mmi_stats_help(mmi_stats_out *out, const mmi_stats_family *family)
{
    mmi_stats_text(out, "# HELP ");
    mmi_stats_text(out, family->metric);
    mmi_stats_bytes(out, " ", 1);
    mmi_stats_text(out, family->help);
    mmi_stats_text(out, "\n# TYPE ");
    mmi_stats_text(out, family->metric);
    mmi_stats_bytes(out, " ", 1);
    mmi_stats_text(out, family->type);
    mmi_stats_bytes(out, "\n", 1);
}

/* All rows of one figure together, as the format demands. A family of no rows is left out. */
static void mmi_stats_family_out(mmi_stats_out *out, const mm_stats_source *sources, size_t count,
                                 mmi_stats_group group, size_t figure)
{
    const mmi_stats_family *family = &mmi_stats_groups[group].families[figure];
    size_t figures[MMI_STATS_BUDGET_FIGURES], i, row;
    bool begun = false;
    for (i = 0; i < count && out->status == MM_STATUS_OK; i++) {
        if (mmi_stats_group_of(sources[i].kind) != group) continue;
        if (!begun) mmi_stats_help(out, family);
        begun = true;
        for (row = 0; row < mmi_stats_rows(&sources[i]); row++) {
            mmi_stats_read(&sources[i], row, figures);
            mmi_stats_text(out, family->metric);
            mmi_stats_bytes(out, "{", 1);
            mmi_stats_labels(out, &sources[i], row, MM_STATS_PROMETHEUS);
            mmi_stats_text(out, "} ");
            mmi_stats_number(out, figures[figure]);
            mmi_stats_bytes(out, "\n", 1);
        }
    }
}

static void mmi_stats_object_out(mmi_stats_out *out, const mm_stats_source *source, size_t row)
{
    mmi_stats_group group = mmi_stats_group_of(source->kind);
    size_t figures[MMI_STATS_BUDGET_FIGURES], i;
    mmi_stats_read(source, row, figures);
    mmi_stats_bytes(out, "{", 1);
    mmi_stats_labels(out, source, row, MM_STATS_JSON);
    for (i = 0; i < mmi_stats_groups[group].count; i++) {
        mmi_stats_bytes(out, ",", 1);
        mmi_stats_label(out, MM_STATS_JSON, mmi_stats_groups[group].families[i].key);
        mmi_stats_number(out, figures[i]);
    }
    mmi_stats_bytes(out, "}", 1);
}

static void mmi_stats_group_out(mmi_stats_out *out, const mm_stats_source *sources, size_t count,
                                mmi_stats_group group)
{
    size_t i, row, rows = 0;
    mmi_stats_label(out, MM_STATS_JSON, mmi_stats_groups[group].key);
    mmi_stats_bytes(out, "[", 1);
    for (i = 0; i < count && out->status == MM_STATUS_OK; i++) {
        if (mmi_stats_group_of(sources[i].kind) != group) continue;
        for (row = 0; row < mmi_stats_rows(&sources[i]); row++) {
            if (rows++ != 0) mmi_stats_bytes(out, ",", 1);
            mmi_stats_object_out(out, &sources[i], row);
        }
    }
    mmi_stats_bytes(out, "]", 1);
}

MM_API mm_status mm_stats_write(const mm_stats_source *sources, size_t count,
                                mm_stats_format format, mm_stats_sink sink, void *user_data)
{
    mmi_stats_out out;
    size_t i, group;
    if (format != MM_STATS_PROMETHEUS && format != MM_STATS_JSON) return MM_STATUS_INVALID;
    for (i = 0; i < count; i++) {
        if ((size_t)sources[i].kind > MM_STATS_PRESSURE) return MM_STATUS_INVALID;
        if (sources[i].object == NULL) return MM_STATUS_INVALID;
    }
    out.sink = sink;
    out.user_data = user_data;
    out.status = MM_STATUS_OK;
    out.used = 0;
    for (group = 0; group < MMI_STATS_GROUPS; group++) {
        if (format == MM_STATS_JSON) {
            mmi_stats_bytes(&out, group == 0 ? "{" : ",", 1);
            mmi_stats_group_out(&out, sources, count, (mmi_stats_group)group);
            continue;
        }
        for (i = 0; i < mmi_stats_groups[group].count; i++) {
            mmi_stats_family_out(&out, sources, count, (mmi_stats_group)group, i);
        }
    }
    if (format == MM_STATS_JSON) mmi_stats_text(&out, "}\n");
    mmi_stats_flush(&out);
    return out.status;
}

// >>profiles: deployment sizes

#define MMI_MIB(count) ((uint64_t)(count) << 20)
#define MMI_PROFILE_SIZE(bytes) ((bytes) > SIZE_MAX ? SIZE_MAX : (size_t)(bytes))

/* Buffers of a thread, the same bytes in each class; four times that in the central list. */
#define MMI_PROFILE_TIER(mib) \
    { \
        {4096, 16384, MM_TIER_TLS_RECORD, 65536, 0, 0, 0, 0}, \
            {(mib) * 256, (mib) * 64, (mib) * 60, (mib) * 16, 0, 0, 0, 0}, \
            {(mib) * 1024, (mib) * 256, (mib) * 240, (mib) * 64, 0, 0, 0, 0}, NULL, NULL, \
            MM_TIER_WIPE_NONE \
    }
/* Half of the machine's memory for the process, and the soft limit where pressure begins. */
#define MMI_PROFILE_BUDGET(bytes) \
    { \
        "process", MMI_PROFILE_SIZE((bytes) / 2), MMI_PROFILE_SIZE((bytes) / 200 * 70), NULL, \
            NULL, NULL, NULL \
    }
#define MMI_PROFILE_PRESSURE {NULL, {70, 85, 95}, {65, 80, 90}, 1000}

MM_API const mm_profile *mm_profile_get(mm_profile_size size)
{
    static const mm_profile profiles[] = {
        {"small", MMI_MIB(2048), 1000, 1024, 2, 1000, MMI_MIB(64), MMI_MIB(5),
         MMI_PROFILE_BUDGET(MMI_MIB(2048)), MMI_PROFILE_TIER(1), MMI_PROFILE_PRESSURE},
        {"medium", MMI_MIB(8192), 10000, 4096, 4, 10000, MMI_MIB(512), MMI_MIB(50),
         MMI_PROFILE_BUDGET(MMI_MIB(8192)), MMI_PROFILE_TIER(4), MMI_PROFILE_PRESSURE},
        {"large", MMI_MIB(32768), 100000, 32768, 8, 100000, MMI_MIB(4096), MMI_MIB(500),
         MMI_PROFILE_BUDGET(MMI_MIB(32768)), MMI_PROFILE_TIER(16), MMI_PROFILE_PRESSURE}};
    size_t index = (size_t)size;
    return &profiles[index < sizeof(profiles) / sizeof(profiles[0]) ? index : 0];
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
