/* mm_chunk.h - v0.1.0 - byte queues of memory and files - MIT or public domain
   needs mm_buffer.h and mm_pool.h beside it */
#if defined(MM_IMPLEMENTATION) && !defined(MM_CHUNK_IMPLEMENTATION)
#define MM_CHUNK_IMPLEMENTATION
#endif
#include "mm_buffer.h" /* outside the guard: the implementation may be asked for later */
#include "mm_pool.h"
#ifndef MM_CHUNK_H_
#define MM_CHUNK_H_
/*
NEEDS
    mm_buffer.h and mm_pool.h in the same folder; POSIX files

DO THIS
    Copy the three files into your project and, in exactly one C or C++ file, write
        #define MM_IMPLEMENTATION
        #include "mm_chunk.h"
    which implements mm_buffer.h and mm_pool.h as well. Elsewhere include it without the define.

OPTIONAL DEFINES (before the first include; the MM_SYS_ ones only where the implementation is)
    MM_STATIC, MM_ASSERT, MM_MALLOC, MM_REALLOC, MM_FREE   as in mm_buffer.h
    MM_SYS_OPEN(path, flags, mode)          open
    MM_SYS_CLOSE(fd)                        close
    MM_SYS_UNLINK(path)                     unlink
    MM_SYS_FSTAT(fd, stat)                  fstat
    MM_SYS_PREAD(fd, bytes, size, offset)   pread
    MM_SYS_PWRITE(fd, bytes, size, offset)  pwrite
    MM_SYS_FTRUNCATE(fd, size)              ftruncate
    MM_CHUNK_NO_TMPFILE                     never use O_TMPFILE

OVERVIEW
    A chunk is a run of bytes, in memory (MM_CHUNK_MEM) or in a file (MM_CHUNK_FILE). A chunkqueue
    is a list of chunks that is filled at its end and drained at its front; its length is known in
    O(1). What the chunks refer to, a block of memory or an open file, is counted: to split or
    share a chunk never copies bytes and never duplicates a descriptor.

    All queues of one thread share a chunk pool, which recycles chunk memory and knows where temp
    files go. A queue with a spill threshold keeps at most that many bytes in memory: beyond it,
    what is in memory and then what is appended goes to a temp file that has no name, so nothing
    is left behind even by kill -9.

    Read into a queue: get_memory, read(2), use_memory. Write out of one: mm_io.h, or peek and
    mark_written. Appends are sticky: after a failure they do nothing and return the same status
    until mm_chunkqueue_reset; what was in the queue stays.

EXAMPLE
    ---8<---
    #define MM_IMPLEMENTATION
    #include "mm_chunk.h"
    #include <stdio.h>

    int main(void)
    {
        mm_chunk_pool pool;
        mm_chunkqueue q;
        char text[16] = "";
        if (mm_chunk_pool_init(&pool, NULL) != MM_STATUS_OK) return 1;
        mm_chunkqueue_init(&q, &pool);
        mm_chunkqueue_append_mem(&q, "hello, ", 7);
        mm_chunkqueue_append_mem(&q, "queue", 5);
        if (mm_chunkqueue_read(&q, text, 12) == MM_STATUS_OK) puts(text);
        mm_chunkqueue_deinit(&q);
        return (int)mm_chunk_pool_deinit(&pool);
    }
    --->8---

COMPLEXITY AND STABILITY
    Appends, mark_written and steal are O(chunks touched); append_queue and length are O(1). One
    byte appended a million times fills chunk after chunk: memory is O(bytes). Pointers from
    get_memory hold until the next call on that queue; from peek and contiguous, until the next
    call that drains, compacts or spills it, which an append beyond the threshold does.

THREADS
    A pool and its queues belong to one thread. There are no globals.

MEMORY
    Chunk structures and memory come from the pool's allocator. Free chunk memory is kept up to
    the pool's `keep`. Everything must have been reset before mm_chunk_pool_deinit, which returns
    how many chunks were not.

ERRORS
    MM_STATUS_NO_MEMORY   the allocator refused
    MM_STATUS_NO_SPACE    no temp directory has room: disk full, quota, file size limit
    MM_STATUS_NO_FILES    no descriptor left to open a file
    MM_STATUS_NOT_FOUND, MM_STATUS_DENIED   a file by name cannot be opened
    MM_STATUS_TRUNCATED   a file is shorter than what was queued of it
    MM_STATUS_INVALID     negative lengths, more marked written than there is
    MM_STATUS_TOO_LARGE   the queue would count beyond INT64_MAX
    MM_STATUS_AGAIN       a file by name is held by a lease of its writer
    MM_STATUS_IO          another system error, in errno
    Each leaves the queue with exactly the bytes that it had.

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

#define MM_CHUNK_SIZE_DEFAULT 8192 /* bytes: what lighttpd has settled on; a header block fits */

typedef enum mm_chunk_type { /* where the bytes of a chunk lie */
    MM_CHUNK_MEM,            /* in memory */
    MM_CHUNK_FILE            /* in a file */
} mm_chunk_type;

/* Called with +1 when a queue starts to use a borrowed descriptor, with -1 when it has finished. */
typedef void (*mm_chunk_refchg)(void *ref, int change);

typedef struct mm_chunk_source { /* bytes that one or more chunks refer to */
    size_t refs;                 /* chunks that refer to it */
    mm_buffer mem;               /* MEM: the bytes; FILE by name: the path until it is opened */
    int64_t written;             /* temp file: bytes in it; where the next ones go */
    int fd;                      /* FILE: the descriptor; -1: MEM, or not opened yet */
    bool is_temp;                /* FILE: a temp file of ours, that can be appended to */
    mm_chunk_refchg refchg;      /* FILE: whom to tell when a borrowed fd is free; NULL: ours */
    void *ref;                   /* FILE: the argument of refchg */
    struct mm_chunk_source *next_free; /* in the pool's list while unused */
} mm_chunk_source;

typedef struct mm_chunk {    /* a part of a source, in a queue */
    struct mm_chunk *next;   /* towards the end of the queue */
    mm_chunk_source *source; /* what the positions refer to */
    int64_t offset;          /* position of the next byte in the memory or file */
    int64_t end;             /* position behind the last byte; >= offset */
    mm_chunk_type type;      /* MEM or FILE */
} mm_chunk;

typedef struct mm_chunk_pool_desc {
    size_t chunk_size;             /* bytes of a memory chunk, its NUL included; rounded up to a
                                      power of two from 1 KiB to 1 GiB; 0: 8 KiB */
    size_t keep;                   /* bytes of free chunk memory kept for reuse; 0: 1 MiB */
    const char *const *temp_dirs;  /* where temp files go, tried in order; copied; NULL: $TMPDIR or
                                      /var/tmp, then /tmp */
    size_t temp_dir_count;         /* entries of temp_dirs */
    int64_t temp_file_size;        /* bytes after which a new temp file is begun; 0: 1 GiB */
    const mm_allocator *allocator; /* of all memory; NULL: the default */
} mm_chunk_pool_desc;

typedef struct mm_chunk_pool_stats {
    size_t chunks;        /* chunks in queues */
    size_t memory;        /* bytes of chunk memory in queues, by capacity */
    size_t cached;        /* bytes of chunk memory kept for reuse */
    size_t temp_files;    /* temp files open now */
    uint64_t temp_opened; /* temp files ever created */
    int64_t temp_bytes;   /* bytes ever written to temp files */
} mm_chunk_pool_stats;

typedef struct mm_chunk_pool {     /* what the queues of a thread share */
    const mm_allocator *allocator; /* of chunk memory and structures */
    size_t chunk_size;             /* capacity of a regular chunk, in bytes */
    size_t keep;                   /* most bytes of chunk memory in free_memory */
    int64_t temp_file_size;        /* bytes after which a new temp file is begun */
    char **temp_dirs;              /* copies */
    size_t temp_dir_count;         /* entries of temp_dirs; >= 1 */
    mm_pool chunks;                /* mm_chunk */
    mm_pool sources;               /* mm_chunk_source */
    mm_chunk_source *free_memory;  /* unused sources that still own a regular block */
    mm_chunk_pool_stats stats;     /* as they stand */
    uint64_t temp_name;            /* of the next temp file that must have a name */
} mm_chunk_pool;

typedef struct mm_chunkqueue {
    mm_chunk *first;      /* the next byte to leave is here; NULL: empty */
    mm_chunk *last;       /* appends go here; NULL: empty */
    mm_chunk *reserved;   /* holds memory handed out by get_memory; not in the list; or NULL */
    mm_chunk_pool *pool;  /* where chunks come from and go to */
    int64_t bytes_in;     /* bytes ever appended */
    int64_t bytes_out;    /* bytes ever marked written; length = bytes_in - bytes_out */
    int64_t memory;       /* bytes of the content that are in memory */
    int64_t spill_at;     /* most bytes of content in memory; INT64_MAX: any */
    mm_status status;     /* what the first failed append returned: sticky */
} mm_chunkqueue;

/* ---- pool ---- */

/* `desc` may be NULL. NO_MEMORY, or INVALID for a size out of range; then there is nothing to undo.
   No directory is touched before the first spill. */
MM_NODISCARD MM_API mm_status mm_chunk_pool_init(mm_chunk_pool *pool,
                                                 const mm_chunk_pool_desc *desc) MM_NONNULL(1);

/* Gives all memory back and returns the number of chunks still in queues, which is 0 when every
   queue was reset: with others the pool must not go away, and does not. */
MM_API size_t mm_chunk_pool_deinit(mm_chunk_pool *pool) MM_NONNULL_ALL;

/* Frees kept chunk memory until at most `bytes` of it remain. O(blocks freed). */
MM_API void mm_chunk_pool_trim(mm_chunk_pool *pool, size_t bytes) MM_NONNULL_ALL;

/* What the pool holds now. */
MM_API mm_chunk_pool_stats mm_chunk_pool_get_stats(const mm_chunk_pool *pool) MM_NONNULL_ALL;

/* ---- queue ---- */

/* An empty queue whose chunks come from `pool`. Allocates nothing. */
MM_API void mm_chunkqueue_init(mm_chunkqueue *q, mm_chunk_pool *pool) MM_NONNULL_ALL;

/* Drops all bytes and counts, closes what the queue owns, clears the status. Keeps spill_at. */
MM_API void mm_chunkqueue_reset(mm_chunkqueue *q) MM_NONNULL_ALL;

/* As reset; the queue is then as after init. */
MM_API void mm_chunkqueue_deinit(mm_chunkqueue *q) MM_NONNULL_ALL;

/* From now on at most `bytes` of content stay in memory; what exceeds it goes to a temp file when
   the next bytes are appended. 0: everything goes to disk; INT64_MAX: nothing. */
MM_INLINE void mm_chunkqueue_set_spill(mm_chunkqueue *q, int64_t bytes);

MM_INLINE int64_t mm_chunkqueue_length(const mm_chunkqueue *q);   /* bytes in the queue; O(1) */
MM_INLINE bool mm_chunkqueue_is_empty(const mm_chunkqueue *q);    /* length 0 */
MM_INLINE mm_status mm_chunkqueue_status(const mm_chunkqueue *q); /* OK, or the first failure */

/* ---- appending; sticky ---- */

/* Copies `size` bytes: fills the last chunk, then pooled ones; spills by the threshold. The bytes
   must not lie in the queue itself, unless it never spills. */
MM_API mm_status mm_chunkqueue_append_mem(mm_chunkqueue *q, const void *bytes, size_t size)
    MM_NONNULL(1);

/* Appends the buffer's content and leaves the buffer empty: the memory is moved when there is 1 KiB
   or more, copied otherwise. On failure the buffer is untouched. A buffer whose status is not OK is
   not whole: the append fails with that status. */
MM_API mm_status mm_chunkqueue_append_buffer(mm_chunkqueue *q, mm_buffer *b) MM_NONNULL_ALL;

/* Appends `length` bytes at `offset` of the file `path` (copied), which is opened when its bytes
   are first needed. A length of 0 appends nothing. */
MM_API mm_status mm_chunkqueue_append_file(mm_chunkqueue *q, const char *path, int64_t offset,
                                           int64_t length) MM_NONNULL_ALL;

/* The same of an open file. On OK the queue owns `fd` and closes it when the bytes have left (at
   once for a length of 0); otherwise it is still the caller's. */
MM_API mm_status mm_chunkqueue_append_fd(mm_chunkqueue *q, int fd, int64_t offset, int64_t length)
    MM_NONNULL(1);

/* The same of a borrowed descriptor: refchg(ref, +1) is called now and refchg(ref, -1) when the
   bytes have left; the owner keeps `fd` open between the two. Not called for a length of 0. */
MM_API mm_status mm_chunkqueue_append_fd_ref(mm_chunkqueue *q, int fd, int64_t offset,
                                             int64_t length, mm_chunk_refchg refchg, void *ref)
    MM_NONNULL(1);

/* Moves all bytes of `from`, a queue of the same pool, to the end of `to`. O(1), cannot fail for
   lack of memory; no spill. `from` keeps its counts with bytes_out = bytes_in. */
MM_API mm_status mm_chunkqueue_append_queue(mm_chunkqueue *to, mm_chunkqueue *from) MM_NONNULL_ALL;

/* A place for at least `least` bytes (0: whatever the last chunk has left, or else a new chunk)
   behind the content; *size says how many. NULL when an append has failed before (the status
   tells), when the queue would count too far, or when out of memory (which is not sticky: nothing
   is lost). Nothing is in the queue until mm_chunkqueue_use_memory, which must follow; one place at
   a time. */
MM_NODISCARD MM_API char *mm_chunkqueue_get_memory(mm_chunkqueue *q, size_t least, size_t *size)
    MM_NONNULL_ALL;

/* Takes the first `n` bytes of the place into the queue; 0 gives the place back. Not spilled: see
   mm_chunkqueue_spill. */
MM_API void mm_chunkqueue_use_memory(mm_chunkqueue *q, size_t n) MM_NONNULL_ALL;

/* Moves all content that is in memory to temp files now. On failure every byte is still in the
   queue, in order, part of it perhaps on disk. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_spill(mm_chunkqueue *q) MM_NONNULL_ALL;

/* ---- draining ---- */

/* Drops the first `n` bytes; INVALID, and nothing happens, when there are fewer. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_mark_written(mm_chunkqueue *q, int64_t n)
    MM_NONNULL_ALL;

/* Moves the first `n` bytes of `from` to the end of `to`, both of the same pool. Nothing is copied.
   INVALID when there are fewer; on any failure both are unchanged. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_steal(mm_chunkqueue *to, mm_chunkqueue *from, int64_t n)
    MM_NONNULL_ALL;

/* The next bytes, up to `size`, without draining them: *data points into the queue when the first
   chunk alone has them in memory, else to `scratch` (of `size` bytes), filled from as many chunks
   as needed. *length is less than `size` at the end of the queue, or in front of a place that
   cannot be read: the error comes when that place is the first. OK with *length 0: the queue is
   empty. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_peek(mm_chunkqueue *q, char *scratch, size_t size,
                                                 const char **data, size_t *length) MM_NONNULL_ALL;

/* Copies exactly `size` bytes out and drains them; INVALID when there are fewer. On failure the
   queue is unchanged and `to` indeterminate. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_read(mm_chunkqueue *q, void *to, size_t size)
    MM_NONNULL_ALL;

/* Makes the first `n` bytes lie in one piece of memory and returns it; NULL with *status set when
   there are fewer, or on failure, the queue unchanged. Copies only when they do not lie so. */
MM_NODISCARD MM_API const char *mm_chunkqueue_contiguous(mm_chunkqueue *q, size_t n,
                                                         mm_status *status) MM_NONNULL_ALL;

/* Opens the file of a FILE chunk that was appended by name, if that has not happened yet. For those
   who write chunks out themselves. */
MM_NODISCARD MM_API mm_status mm_chunk_open(mm_chunk *chunk) MM_NONNULL_ALL;

/* What the errno of a file operation means to a caller. */
MM_API mm_status mm_status_from_errno(int error);

/* Reads up to `size` bytes at the front of a FILE chunk. Stops early only at the end of the file or
   at an error; *got says where, and TRUNCATED or the error why. For mm_io.h. */
MM_NODISCARD MM_API mm_status mmi_chunk_pread(mm_chunk *c, char *to, size_t size, size_t *got)
    MM_NONNULL_ALL;

/* Whether the whole structure is sound. O(chunks); for tests and assertions. */
MM_API bool mm_chunkqueue_check(const mm_chunkqueue *q) MM_NONNULL_ALL;

/* ---- inline bodies ---- */

MM_INLINE void mm_chunkqueue_set_spill(mm_chunkqueue *q, int64_t bytes)
{
    q->spill_at = bytes;
}

MM_INLINE int64_t mm_chunkqueue_length(const mm_chunkqueue *q)
{
    return q->bytes_in - q->bytes_out;
}

MM_INLINE bool mm_chunkqueue_is_empty(const mm_chunkqueue *q)
{
    return q->bytes_in == q->bytes_out;
}

MM_INLINE mm_status mm_chunkqueue_status(const mm_chunkqueue *q)
{
    return q->status;
}

#ifdef __cplusplus
}
#endif
#endif /* MM_CHUNK_H_ */

// >>system: the seams, for the implementations of this header and of mm_io.h

#if (defined(MM_CHUNK_IMPLEMENTATION) || defined(MM_IO_IMPLEMENTATION)) && !defined(MMI_SYSTEM)
#define MMI_SYSTEM
#ifdef MMI_LIBC_ASSERT
#include <assert.h> /* assert, for MM_ASSERT */
#endif
#include <errno.h>    /* errno and its values */
#include <fcntl.h>    /* open */
#include <stdlib.h>   /* getenv; malloc, realloc, free by default */
#include <string.h>   /* memcpy, memset, strlen */
#include <sys/stat.h> /* fstat */
#include <time.h>     /* time, for the names of temp files */
#include <unistd.h>   /* close, getpid, pread, pwrite, unlink */

#if defined(__GLIBC__) && !defined(__USE_XOPEN2K8) && !defined(__cplusplus)
#define MMI_STRICT_GLIBC /* -std=c11 hides these, and what mm_io.h needs */
#ifdef __USE_FILE_OFFSET64
#define MMI_FILE(name) name##64
#else
#define MMI_FILE(name) name
#endif
extern ssize_t MMI_FILE(pread)(int fd, void *bytes, size_t size, off_t offset);
extern ssize_t MMI_FILE(pwrite)(int fd, const void *bytes, size_t size, off_t offset);
extern int MMI_FILE(ftruncate)(int fd, off_t size);
#else
#define MMI_FILE(name) name
#endif
#if defined(O_CLOEXEC)
#define MMI_O_CLOEXEC O_CLOEXEC
#elif defined(__O_CLOEXEC) /* glibc under -std=c11 */
#define MMI_O_CLOEXEC __O_CLOEXEC
#else
#define MMI_O_CLOEXEC 0
#endif
#if defined(MM_CHUNK_NO_TMPFILE)
#elif defined(O_TMPFILE)
#define MMI_O_TMPFILE O_TMPFILE
#elif defined(__O_TMPFILE)
#define MMI_O_TMPFILE __O_TMPFILE
#endif

#ifndef MM_SYS_OPEN
#define MM_SYS_OPEN(path, flags, mode) open(path, flags, mode)
#endif
#ifndef MM_SYS_CLOSE
#define MM_SYS_CLOSE(fd) close(fd)
#endif
#ifndef MM_SYS_UNLINK
#define MM_SYS_UNLINK(path) unlink(path)
#endif
#ifndef MM_SYS_FSTAT
#define MM_SYS_FSTAT(fd, st) fstat(fd, st)
#endif
#ifndef MM_SYS_PREAD
#define MM_SYS_PREAD(fd, bytes, size, offset) MMI_FILE(pread)(fd, bytes, size, offset)
#endif
#ifndef MM_SYS_PWRITE
#define MM_SYS_PWRITE(fd, bytes, size, offset) MMI_FILE(pwrite)(fd, bytes, size, offset)
#endif
#ifndef MM_SYS_FTRUNCATE
#define MM_SYS_FTRUNCATE(fd, size) MMI_FILE(ftruncate)(fd, size)
#endif
#endif /* MMI_SYSTEM */

#if defined(MM_CHUNK_IMPLEMENTATION) && !defined(MMI_CHUNK_IMPLEMENTED)
#define MMI_CHUNK_IMPLEMENTED

#ifdef __cplusplus
extern "C" {
#endif

#define MMI_CHUNK_KEEP ((size_t)1 << 20)           /* 128 regular chunks for each worker */
#define MMI_CHUNK_MOVE 1024                        /* lighttpd's border between copy and move */
#define MMI_CHUNK_TEMP_FILE_SIZE ((int64_t)1 << 30) /* disk space comes back in steps of this */
#define MMI_CHUNK_TEMP_NAMES 64                    /* names tried before giving up on a directory */

// >>errors

MM_API mm_status mm_status_from_errno(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return MM_STATUS_NO_SPACE;
    case EMFILE:
    case ENFILE: return MM_STATUS_NO_FILES;
    case ENOMEM: return MM_STATUS_NO_MEMORY;
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG: return MM_STATUS_NOT_FOUND;
    case EAGAIN: return MM_STATUS_AGAIN;
    case EXDEV: /* a path that leaves its root */
    case ENXIO: /* a socket, or a device without a driver */
    case ENODEV:
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP: return MM_STATUS_DENIED;
    default: return MM_STATUS_IO;
    }
}

// >>sources

static mm_chunk_source *mmi_source_new(mm_chunk_pool *pool)
{
    mm_chunk_source *source = (mm_chunk_source *)mm_pool_get(&pool->sources);
    if (source == NULL) return NULL;
    memset(source, 0, sizeof(*source));
    mm_buffer_init(&source->mem, pool->allocator);
    source->fd = -1;
    return source;
}

/* A source of memory with room for `least` bytes, not yet referred to. */
static mm_chunk_source *mmi_source_memory(mm_chunk_pool *pool, size_t least)
{
    mm_chunk_source *source = pool->free_memory;
    if (source != NULL && least < pool->chunk_size) {
        pool->free_memory = source->next_free;
        pool->stats.cached -= source->mem.size;
    } else {
        source = mmi_source_new(pool);
        if (source == NULL) return NULL;
        if (least < pool->chunk_size) least = pool->chunk_size - 1;
        if (mm_buffer_prepare_append(&source->mem, least) == NULL) {
            mm_pool_put(&pool->sources, source);
            return NULL;
        }
    }
    pool->stats.memory += source->mem.size;
    return source;
}

static void mmi_source_free_memory(mm_chunk_pool *pool, mm_chunk_source *source)
{
    mm_buffer *mem = &source->mem;
    pool->stats.memory -= mem->size;
    if (mem->size != pool->chunk_size || mem->allocator != pool->allocator ||
        pool->stats.cached + mem->size > pool->keep) {
        mm_buffer_deinit(mem);
        mm_pool_put(&pool->sources, source);
        return;
    }
    mm_buffer_clear(mem);
    source->next_free = pool->free_memory;
    pool->free_memory = source;
    pool->stats.cached += mem->size;
}

static void mmi_source_free_file(mm_chunk_pool *pool, mm_chunk_source *source)
{
    if (source->refchg != NULL) source->refchg(source->ref, -1);
    else if (source->fd >= 0) (void)MM_SYS_CLOSE(source->fd);
    if (source->is_temp) pool->stats.temp_files--;
    mm_buffer_deinit(&source->mem);
    mm_pool_put(&pool->sources, source);
}

// >>chunks

static mm_chunk *mmi_chunk_new(mm_chunk_pool *pool, mm_chunk_source *source, mm_chunk_type type,
                               int64_t offset, int64_t end)
{
    mm_chunk *c = (mm_chunk *)mm_pool_get(&pool->chunks);
    if (c == NULL) return NULL;
    c->next = NULL;
    c->source = source;
    c->offset = offset;
    c->end = end;
    c->type = type;
    source->refs++;
    pool->stats.chunks++;
    return c;
}

static void mmi_source_release(mm_chunk_pool *pool, mm_chunk_source *source, mm_chunk_type type)
{
    MM_ASSERT(source->refs > 0);
    if (--source->refs > 0) return;
    if (type == MM_CHUNK_MEM) mmi_source_free_memory(pool, source);
    else mmi_source_free_file(pool, source);
}

static void mmi_chunk_free(mm_chunk_pool *pool, mm_chunk *c)
{
    mmi_source_release(pool, c->source, c->type);
    mm_pool_put(&pool->chunks, c);
    pool->stats.chunks--;
}

/* An empty chunk with memory of its own for `least` bytes. */
static mm_chunk *mmi_chunk_memory(mm_chunk_pool *pool, size_t least)
{
    mm_chunk *c;
    mm_chunk_source *source = mmi_source_memory(pool, least);
    if (source == NULL) return NULL;
    c = mmi_chunk_new(pool, source, MM_CHUNK_MEM, 0, 0);
    if (c == NULL) mmi_source_free_memory(pool, source);
    return c;
}

/* Copies what fits of the bytes behind the chunk's memory, which it alone ends at. */
static size_t mmi_chunk_fill(mm_chunk *c, const char *bytes, size_t size)
{
    size_t room = mm_buffer_space(&c->source->mem);
    if (size > room) size = room;
    mm_buffer_append(&c->source->mem, bytes, size);
    c->end += (int64_t)size;
    return size;
}

static const char *mmi_chunk_bytes(const mm_chunk *c)
{
    return c->source->mem.ptr + c->offset;
}

MM_API mm_status mm_chunk_open(mm_chunk *chunk)
{
    mm_chunk_source *source = chunk->source;
    struct stat st;
    mm_status status = MM_STATUS_OK;
    int fd;
    if (chunk->type == MM_CHUNK_MEM || source->fd >= 0) return MM_STATUS_OK;
    do {
        fd = MM_SYS_OPEN(mm_buffer_string(&source->mem),
                         O_RDONLY | O_NONBLOCK | O_NOCTTY | MMI_O_CLOEXEC, 0);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return mm_status_from_errno(errno);
    if (MM_SYS_FSTAT(fd, &st) != 0) status = mm_status_from_errno(errno);
    else if (!S_ISREG(st.st_mode)) status = MM_STATUS_DENIED;
    else if ((int64_t)st.st_size < chunk->end) status = MM_STATUS_TRUNCATED;
    if (status == MM_STATUS_OK) source->fd = fd;
    else (void)MM_SYS_CLOSE(fd);
    return status;
}

MM_API mm_status mmi_chunk_pread(mm_chunk *c, char *to, size_t size, size_t *got)
{
    mm_status status = mm_chunk_open(c);
    *got = 0;
    while (status == MM_STATUS_OK && *got < size) {
        int64_t at = c->offset + (int64_t)*got;
        ssize_t n = -1;
        errno = EOVERFLOW; /* for a 32-bit off_t */
        if ((int64_t)(off_t)at == at)
            n = MM_SYS_PREAD(c->source->fd, to + *got, size - *got, (off_t)at);
        if (n > 0) *got += (size_t)n;
        else if (n == 0) status = MM_STATUS_TRUNCATED;
        else if (errno != EINTR) status = mm_status_from_errno(errno);
    }
    return status;
}

// >>pool

static void mmi_temp_dirs_free(mm_chunk_pool *pool)
{
    size_t i;
    for (i = 0; i < pool->temp_dir_count; i++)
        mmi_free(pool->allocator, pool->temp_dirs[i], strlen(pool->temp_dirs[i]) + 1);
    if (pool->temp_dirs != NULL)
        mmi_free(pool->allocator, pool->temp_dirs, pool->temp_dir_count * sizeof(char *));
    pool->temp_dirs = NULL;
    pool->temp_dir_count = 0;
}

static mm_status mmi_temp_dirs_copy(mm_chunk_pool *pool, const char *const *dirs, size_t count)
{
    size_t i, bytes;
    if (!mm_size_mul(count, sizeof(char *), &bytes)) return MM_STATUS_TOO_LARGE;
    pool->temp_dirs = (char **)mmi_alloc(pool->allocator, bytes);
    if (pool->temp_dirs == NULL) return MM_STATUS_NO_MEMORY;
    for (i = 0; i < count; i++) {
        size_t size = strlen(dirs[i]) + 1;
        char *copy = (char *)mmi_alloc(pool->allocator, size);
        if (copy == NULL) break;
        memcpy(copy, dirs[i], size);
        pool->temp_dirs[i] = copy;
    }
    pool->temp_dir_count = i;
    if (i == count) return MM_STATUS_OK;
    while (pool->temp_dir_count > 0) { /* the array has its full size still: not as above */
        char *copy = pool->temp_dirs[--pool->temp_dir_count];
        mmi_free(pool->allocator, copy, strlen(copy) + 1);
    }
    mmi_free(pool->allocator, pool->temp_dirs, bytes);
    pool->temp_dirs = NULL;
    return MM_STATUS_NO_MEMORY;
}

static mm_status mmi_chunk_pools_init(mm_chunk_pool *pool)
{
    mm_pool_desc desc;
    mm_status status;
    memset(&desc, 0, sizeof(desc));
    desc.allocator = pool->allocator;
    desc.size = sizeof(mm_chunk);
    status = mm_pool_init(&pool->chunks, &desc);
    if (status != MM_STATUS_OK) return status;
    desc.size = sizeof(mm_chunk_source);
    return mm_pool_init(&pool->sources, &desc);
}

MM_API mm_status mm_chunk_pool_init(mm_chunk_pool *pool, const mm_chunk_pool_desc *desc)
{
    static const mm_chunk_pool_desc defaults = {0, 0, NULL, 0, 0, NULL};
    const char *fallback[2];
    size_t size;
    mm_status status;
    if (desc == NULL) desc = &defaults;
    size = desc->chunk_size == 0 ? MM_CHUNK_SIZE_DEFAULT : mm_size_pow2(desc->chunk_size);
    if (size < 1024) size = 1024;
    if (desc->chunk_size > (size_t)1 << 30 || desc->temp_file_size < 0) return MM_STATUS_INVALID;
    memset(pool, 0, sizeof(*pool));
    pool->allocator = desc->allocator;
    pool->chunk_size = size;
    pool->keep = desc->keep == 0 ? MMI_CHUNK_KEEP : desc->keep;
    pool->temp_file_size = desc->temp_file_size == 0 ? MMI_CHUNK_TEMP_FILE_SIZE
                                                     : desc->temp_file_size;
    status = mmi_chunk_pools_init(pool);
    if (status != MM_STATUS_OK) return status;
    if (desc->temp_dir_count > 0)
        return mmi_temp_dirs_copy(pool, desc->temp_dirs, desc->temp_dir_count);
    fallback[0] = getenv("TMPDIR");
    if (fallback[0] == NULL || fallback[0][0] == '\0') fallback[0] = "/var/tmp";
    fallback[1] = "/tmp";
    return mmi_temp_dirs_copy(pool, fallback, 2);
}

MM_API void mm_chunk_pool_trim(mm_chunk_pool *pool, size_t bytes)
{
    while (pool->stats.cached > bytes) {
        mm_chunk_source *source = pool->free_memory;
        pool->free_memory = source->next_free;
        pool->stats.cached -= source->mem.size;
        mm_buffer_deinit(&source->mem);
        mm_pool_put(&pool->sources, source);
    }
}

MM_API size_t mm_chunk_pool_deinit(mm_chunk_pool *pool)
{
    if (pool->stats.chunks > 0) return pool->stats.chunks;
    mm_chunk_pool_trim(pool, 0);
    mmi_temp_dirs_free(pool);
    (void)mm_pool_deinit(&pool->chunks);
    (void)mm_pool_deinit(&pool->sources);
    return 0;
}

MM_API mm_chunk_pool_stats mm_chunk_pool_get_stats(const mm_chunk_pool *pool)
{
    return pool->stats;
}

// >>list

/* Counts the bytes of a chunk in (sign 1) or out (-1) of what the queue has in memory. */
static void mmi_queue_account(mm_chunkqueue *q, const mm_chunk *c, int64_t size, int sign)
{
    if (c->type == MM_CHUNK_MEM) q->memory += sign * size;
}

static void mmi_queue_link(mm_chunkqueue *q, mm_chunk *c)
{
    if (q->last == NULL) q->first = c;
    else q->last->next = c;
    q->last = c;
    c->next = NULL;
    mmi_queue_account(q, c, c->end - c->offset, 1);
}

static mm_chunk *mmi_queue_unlink_first(mm_chunkqueue *q)
{
    mm_chunk *c = q->first;
    q->first = c->next;
    if (q->first == NULL) q->last = NULL;
    mmi_queue_account(q, c, c->end - c->offset, -1);
    return c;
}

static void mmi_chunks_free(mm_chunk_pool *pool, mm_chunk *c)
{
    while (c != NULL) {
        mm_chunk *next = c->next;
        mmi_chunk_free(pool, c);
        c = next;
    }
}

/* Takes `n` bytes off the front without counting them out. There are that many. */
static void mmi_queue_drop(mm_chunkqueue *q, int64_t n)
{
    while (n > 0) {
        mm_chunk *c = q->first;
        int64_t size = c->end - c->offset;
        if (size > n) {
            c->offset += n;
            mmi_queue_account(q, c, n, -1);
            return;
        }
        mmi_chunk_free(q->pool, mmi_queue_unlink_first(q));
        n -= size;
    }
}

/* Whether `size` more bytes may be appended: the sticky status, or TOO_LARGE. */
static mm_status mmi_queue_admit(mm_chunkqueue *q, uint64_t size)
{
    if (q->status == MM_STATUS_OK && size > (uint64_t)(INT64_MAX - q->bytes_in))
        q->status = MM_STATUS_TOO_LARGE;
    return q->status;
}

/* The last chunk if bytes can be added behind it in its own memory: nobody has, so far. */
static mm_chunk *mmi_queue_open_tail(const mm_chunkqueue *q)
{
    mm_chunk *c = q->last;
    if (c == NULL || c->type != MM_CHUNK_MEM) return NULL;
    return c->end == (int64_t)mm_buffer_length(&c->source->mem) ? c : NULL;
}

// >>queue

MM_API void mm_chunkqueue_init(mm_chunkqueue *q, mm_chunk_pool *pool)
{
    memset(q, 0, sizeof(*q));
    q->pool = pool;
    q->spill_at = INT64_MAX;
}

MM_API void mm_chunkqueue_reset(mm_chunkqueue *q)
{
    int64_t spill_at = q->spill_at;
    mm_chunk_pool *pool = q->pool;
    mmi_chunks_free(pool, q->first);
    mmi_chunks_free(pool, q->reserved);
    mm_chunkqueue_init(q, pool);
    q->spill_at = spill_at;
}

MM_API void mm_chunkqueue_deinit(mm_chunkqueue *q)
{
    mm_chunkqueue_reset(q);
    mm_chunkqueue_init(q, q->pool);
}

/* Chunks for `size` bytes at `bytes`, linked; NULL when out of memory. */
static mm_chunk *mmi_chunks_copy(mm_chunk_pool *pool, const char *bytes, size_t size)
{
    mm_chunk *first = NULL, **link = &first;
    while (size > 0) {
        mm_chunk *c = mmi_chunk_memory(pool, 0);
        size_t n;
        if (c == NULL) {
            mmi_chunks_free(pool, first);
            return NULL;
        }
        n = mmi_chunk_fill(c, bytes, size);
        bytes += n;
        size -= n;
        *link = c;
        link = &c->next;
    }
    return first;
}

static mm_status mmi_queue_append_copy(mm_chunkqueue *q, const char *bytes, size_t size)
{
    mm_chunk *tail = mmi_queue_open_tail(q), *more;
    size_t room = tail == NULL ? 0 : mm_buffer_space(&tail->source->mem);
    size_t first = size < room ? size : room;
    more = mmi_chunks_copy(q->pool, bytes + first, size - first);
    if (more == NULL && size > first) return q->status = MM_STATUS_NO_MEMORY;
    if (first > 0) {
        mmi_chunk_fill(tail, bytes, first);
        q->memory += (int64_t)first;
    }
    while (more != NULL) {
        mm_chunk *next = more->next;
        mmi_queue_link(q, more);
        more = next;
    }
    q->bytes_in += (int64_t)size;
    return MM_STATUS_OK;
}

static mm_status mmi_queue_append_spilled(mm_chunkqueue *q, const char *bytes, size_t size);

MM_API mm_status mm_chunkqueue_append_mem(mm_chunkqueue *q, const void *bytes, size_t size)
{
    mm_status status = mmi_queue_admit(q, size);
    if (status != MM_STATUS_OK || size == 0) return status;
    if (q->memory > q->spill_at || (uint64_t)size > (uint64_t)(q->spill_at - q->memory))
        return mmi_queue_append_spilled(q, (const char *)bytes, size);
    return mmi_queue_append_copy(q, (const char *)bytes, size);
}

/* Moves the buffer's memory into a chunk. */
static mm_status mmi_queue_append_moved(mm_chunkqueue *q, mm_buffer *b)
{
    mm_chunk *c;
    mm_chunk_source *source = mmi_source_new(q->pool);
    int64_t length = (int64_t)mm_buffer_length(b);
    if (source == NULL) return q->status = MM_STATUS_NO_MEMORY;
    c = mmi_chunk_new(q->pool, source, MM_CHUNK_MEM, 0, length);
    if (c == NULL) {
        mm_pool_put(&q->pool->sources, source);
        return q->status = MM_STATUS_NO_MEMORY;
    }
    source->mem = *b;
    source->mem.status = MM_STATUS_OK;
    mm_buffer_init(b, source->mem.allocator);
    q->pool->stats.memory += source->mem.size;
    mmi_queue_link(q, c);
    q->bytes_in += length;
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_append_buffer(mm_chunkqueue *q, mm_buffer *b)
{
    size_t length = mm_buffer_length(b);
    mm_status status = mmi_queue_admit(q, length);
    if (status == MM_STATUS_OK) status = q->status = mm_buffer_status(b);
    if (status != MM_STATUS_OK) return status;
    if (length >= MMI_CHUNK_MOVE && !b->is_borrowed && q->memory <= q->spill_at &&
        (int64_t)length <= q->spill_at - q->memory)
        return mmi_queue_append_moved(q, b);
    status = mm_chunkqueue_append_mem(q, mm_buffer_string(b), length);
    if (status == MM_STATUS_OK) mm_buffer_clear(b);
    return status;
}

/* Links a chunk of the file `source`, whose range has been admitted. */
static mm_status mmi_queue_append_range(mm_chunkqueue *q, mm_chunk_source *source, int64_t offset,
                                        int64_t length)
{
    mm_chunk *c = mmi_chunk_new(q->pool, source, MM_CHUNK_FILE, offset, offset + length);
    if (c == NULL) return q->status = MM_STATUS_NO_MEMORY;
    mmi_queue_link(q, c);
    q->bytes_in += length;
    return MM_STATUS_OK;
}

static mm_status mmi_queue_admit_range(mm_chunkqueue *q, int64_t offset, int64_t length)
{
    if (q->status != MM_STATUS_OK) return q->status;
    if (offset < 0 || length < 0) return q->status = MM_STATUS_INVALID;
    if (length > INT64_MAX - offset) return q->status = MM_STATUS_TOO_LARGE;
    return mmi_queue_admit(q, (uint64_t)length);
}

MM_API mm_status mm_chunkqueue_append_file(mm_chunkqueue *q, const char *path, int64_t offset,
                                           int64_t length)
{
    mm_chunk_source *source;
    mm_status status = mmi_queue_admit_range(q, offset, length);
    if (status != MM_STATUS_OK || length == 0) return status;
    source = mmi_source_new(q->pool);
    if (source == NULL) return q->status = MM_STATUS_NO_MEMORY;
    status = q->status = mm_buffer_copy_string(&source->mem, path);
    if (status == MM_STATUS_OK) status = mmi_queue_append_range(q, source, offset, length);
    if (status != MM_STATUS_OK) mmi_source_free_file(q->pool, source);
    return status;
}

MM_API mm_status mm_chunkqueue_append_fd_ref(mm_chunkqueue *q, int fd, int64_t offset,
                                             int64_t length, mm_chunk_refchg refchg, void *ref)
{
    mm_chunk_source *source;
    mm_status status = mmi_queue_admit_range(q, offset, length);
    MM_ASSERT(fd >= 0);
    if (status != MM_STATUS_OK || length == 0) return status;
    source = mmi_source_new(q->pool);
    if (source == NULL) return q->status = MM_STATUS_NO_MEMORY;
    status = mmi_queue_append_range(q, source, offset, length);
    if (status != MM_STATUS_OK) {
        mm_pool_put(&q->pool->sources, source);
        return status;
    }
    source->fd = fd;
    source->refchg = refchg;
    source->ref = ref;
    if (refchg != NULL) refchg(ref, 1);
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_append_fd(mm_chunkqueue *q, int fd, int64_t offset, int64_t length)
{
    mm_status status = mm_chunkqueue_append_fd_ref(q, fd, offset, length, NULL, NULL);
    if (status == MM_STATUS_OK && length == 0) (void)MM_SYS_CLOSE(fd);
    return status;
}

MM_API mm_status mm_chunkqueue_append_queue(mm_chunkqueue *to, mm_chunkqueue *from)
{
    int64_t length = mm_chunkqueue_length(from);
    mm_status status = mmi_queue_admit(to, (uint64_t)length);
    MM_ASSERT(to != from && to->pool == from->pool);
    if (status != MM_STATUS_OK || length == 0) return status;
    if (to->last == NULL) to->first = from->first;
    else to->last->next = from->first;
    to->last = from->last;
    to->memory += from->memory;
    to->bytes_in += length;
    from->first = from->last = NULL;
    from->memory = 0;
    from->bytes_out = from->bytes_in;
    return MM_STATUS_OK;
}

MM_API char *mm_chunkqueue_get_memory(mm_chunkqueue *q, size_t least, size_t *size)
{
    mm_chunk *c = mmi_queue_open_tail(q);
    MM_ASSERT(q->reserved == NULL);
    *size = 0;
    if (mmi_queue_admit(q, UINT32_MAX) != MM_STATUS_OK) return NULL; /* no buffer has more room */
    if (c == NULL || mm_buffer_space(&c->source->mem) < (least > 0 ? least : 1)) {
        c = q->reserved = mmi_chunk_memory(q->pool, least);
        if (c == NULL) return NULL;
    }
    *size = mm_buffer_space(&c->source->mem);
    return mm_buffer_prepare_append(&c->source->mem, *size); /* cannot fail: there is room */
}

MM_API void mm_chunkqueue_use_memory(mm_chunkqueue *q, size_t n)
{
    mm_chunk *c = q->reserved;
    mm_status status;
    q->reserved = NULL;
    if (n == 0) {
        mmi_chunks_free(q->pool, c);
        return;
    }
    if (c != NULL) mmi_queue_link(q, c);
    c = q->last;
    MM_ASSERT(c != NULL && n <= mm_buffer_space(&c->source->mem));
    status = mm_buffer_commit(&c->source->mem, n);
    if (status != MM_STATUS_OK) return; /* more than the place had: asserted above */
    c->end += (int64_t)n;
    q->memory += (int64_t)n;
    q->bytes_in += (int64_t)n;
}

// >>spill

/* Writes all of the bytes behind what the temp file has. On failure that is still its end, and what
   fitted is given back: the disk may be full because of it. */
static mm_status mmi_temp_append(mm_chunk_pool *pool, mm_chunk_source *temp, const char *bytes,
                                 size_t size)
{
    size_t done = 0;
    while (done < size) {
        int64_t at = temp->written + (int64_t)done;
        ssize_t n = MM_SYS_PWRITE(temp->fd, bytes + done, size - done, (off_t)at);
        if (n > 0) done += (size_t)n;
        else if (n == 0 || errno != EINTR) {
            mm_status status = n == 0 ? MM_STATUS_NO_SPACE : mm_status_from_errno(errno);
            int error = errno;
            if (done > 0) (void)!MM_SYS_FTRUNCATE(temp->fd, (off_t)temp->written);
            errno = error;
            return status;
        }
    }
    temp->written += (int64_t)size;
    pool->stats.temp_bytes += (int64_t)size;
    return MM_STATUS_OK;
}

/* Opens a file that has a name only for as long as it takes to unlink it. */
static int mmi_temp_open_named(mm_chunk_pool *pool, const char *dir)
{
    mm_buffer path;
    int fd = -1, tries;
    mm_buffer_init(&path, pool->allocator);
    for (tries = 0; tries < MMI_CHUNK_TEMP_NAMES; tries++) {
        mm_buffer_clear(&path);
        mm_buffer_append_string(&path, dir);
        mm_buffer_append_string(&path, "/mm-");
        mm_buffer_append_uint(&path, (uint64_t)getpid());
        mm_buffer_append_char(&path, '-');
        mm_buffer_append_hex(&path, (uint64_t)time(NULL), 0);
        mm_buffer_append_char(&path, '-');
        mm_buffer_append_hex(&path, pool->temp_name++ + ((uint64_t)(uintptr_t)pool << 8), 0);
        errno = ENOMEM;
        if (mm_buffer_status(&path) != MM_STATUS_OK) break;
        fd = MM_SYS_OPEN(mm_buffer_string(&path), O_RDWR | O_CREAT | O_EXCL | MMI_O_CLOEXEC, 0600);
        if (fd >= 0 || (errno != EEXIST && errno != EINTR)) break;
    }
    if (fd >= 0) (void)MM_SYS_UNLINK(mm_buffer_string(&path));
    mm_buffer_deinit(&path);
    return fd;
}

static int mmi_temp_open_fd(mm_chunk_pool *pool, const char *dir)
{
#ifdef MMI_O_TMPFILE
    int fd;
    do {
        fd = MM_SYS_OPEN(dir, MMI_O_TMPFILE | O_RDWR | O_EXCL | MMI_O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
#endif
    return mmi_temp_open_named(pool, dir);
}

/* A new, empty temp file in `dir`, with one reference for the caller. */
static mm_chunk_source *mmi_temp_open(mm_chunk_pool *pool, const char *dir, mm_status *status)
{
    mm_chunk_source *temp = mmi_source_new(pool);
    *status = temp == NULL ? MM_STATUS_NO_MEMORY : MM_STATUS_OK;
    if (temp == NULL) return NULL;
    temp->fd = mmi_temp_open_fd(pool, dir);
    if (temp->fd < 0) {
        *status = mm_status_from_errno(errno);
        mm_pool_put(&pool->sources, temp);
        return NULL;
    }
    temp->is_temp = true;
    temp->refs = 1;
    pool->stats.temp_files++;
    pool->stats.temp_opened++;
    return temp;
}

/* What to say when no directory would do: that one is full rather than that another is missing, and
   never NOT_FOUND, which would be about a file of the caller's. */
static mm_status mmi_temp_worse(mm_status a, mm_status b)
{
    if (b == MM_STATUS_NOT_FOUND) b = MM_STATUS_IO;
    return a == MM_STATUS_NO_SPACE ? a : b;
}

/* Writes the bytes to the end of *temp, or, when that is NULL, long enough or failing, to a new
   file in the first directory that takes them; *temp is then that file. *temp holds a reference. */
static mm_status mmi_temp_write(mm_chunk_pool *pool, mm_chunk_source **temp, const char *bytes,
                                size_t size)
{
    mm_status status, result = MM_STATUS_IO;
    size_t i;
    if (*temp != NULL && (*temp)->written < pool->temp_file_size) {
        result = mmi_temp_append(pool, *temp, bytes, size);
        if (result == MM_STATUS_OK) return MM_STATUS_OK;
    }
    for (i = 0; i < pool->temp_dir_count; i++) {
        mm_chunk_source *fresh = mmi_temp_open(pool, pool->temp_dirs[i], &status);
        if (fresh != NULL) status = mmi_temp_append(pool, fresh, bytes, size);
        if (status == MM_STATUS_OK) {
            if (*temp != NULL) mmi_source_release(pool, *temp, MM_CHUNK_FILE);
            *temp = fresh;
            return MM_STATUS_OK;
        }
        if (fresh != NULL) mmi_source_release(pool, fresh, MM_CHUNK_FILE);
        result = mmi_temp_worse(result, status);
    }
    return result;
}

/* Moves the bytes of a MEM chunk to the temp file, in place in the queue. */
static mm_status mmi_chunk_spill(mm_chunkqueue *q, mm_chunk *c, mm_chunk_source **temp)
{
    int64_t size = c->end - c->offset;
    mm_status status = mmi_temp_write(q->pool, temp, mmi_chunk_bytes(c), (size_t)size);
    if (status != MM_STATUS_OK) return status;
    mmi_source_release(q->pool, c->source, MM_CHUNK_MEM);
    c->source = *temp;
    c->source->refs++;
    c->type = MM_CHUNK_FILE;
    c->end = c->source->written;
    c->offset = c->end - size;
    q->memory -= size;
    return MM_STATUS_OK;
}

/* Makes one of `c` and the next chunk when they are neighbours in the same file. */
static bool mmi_queue_merge_next(mm_chunkqueue *q, mm_chunk *c)
{
    mm_chunk *next = c->next;
    if (next == NULL || c->type != MM_CHUNK_FILE || next->type != MM_CHUNK_FILE) return false;
    if (c->source != next->source || c->end != next->offset) return false;
    c->end = next->end;
    c->next = next->next;
    if (q->last == next) q->last = c;
    mmi_chunk_free(q->pool, next);
    return true;
}

/* Spills all memory of the queue. *temp is the file that was written last, with a reference. */
static mm_status mmi_queue_spill(mm_chunkqueue *q, mm_chunk_source **temp)
{
    mm_status status = MM_STATUS_OK;
    mm_chunk *c, *before = NULL;
    for (c = q->first; c != NULL; before = c, c = c->next) {
        if (c->type == MM_CHUNK_MEM) status = mmi_chunk_spill(q, c, temp);
        else if (c->source->is_temp && c->source != *temp) {
            if (*temp != NULL) mmi_source_release(q->pool, *temp, MM_CHUNK_FILE);
            *temp = c->source;
            c->source->refs++;
        }
        if (status != MM_STATUS_OK) break;
        if (before != NULL && mmi_queue_merge_next(q, before)) c = before;
    }
    return status;
}

MM_API mm_status mm_chunkqueue_spill(mm_chunkqueue *q)
{
    mm_chunk_source *temp = NULL;
    mm_status status = mmi_queue_spill(q, &temp);
    if (temp != NULL) mmi_source_release(q->pool, temp, MM_CHUNK_FILE);
    return status;
}

/* Appends bytes by way of a temp file: first what is in memory, so that the order stays. */
static mm_status mmi_queue_append_spilled(mm_chunkqueue *q, const char *bytes, size_t size)
{
    mm_chunk_source *temp = NULL;
    mm_chunk *c = NULL;
    mm_status status = mmi_queue_spill(q, &temp);
    if (status == MM_STATUS_OK) status = mmi_temp_write(q->pool, &temp, bytes, size);
    if (status == MM_STATUS_OK) {
        c = mmi_chunk_new(q->pool, temp, MM_CHUNK_FILE, temp->written - (int64_t)size,
                          temp->written);
        if (c == NULL) status = MM_STATUS_NO_MEMORY;
    }
    if (status == MM_STATUS_OK) {
        mm_chunk *before = q->last;
        mmi_queue_link(q, c);
        q->bytes_in += (int64_t)size;
        if (before != NULL) mmi_queue_merge_next(q, before);
    }
    if (temp != NULL) mmi_source_release(q->pool, temp, MM_CHUNK_FILE);
    return q->status = status;
}

// >>drain

MM_API mm_status mm_chunkqueue_mark_written(mm_chunkqueue *q, int64_t n)
{
    if (n < 0 || n > mm_chunkqueue_length(q)) return MM_STATUS_INVALID;
    mmi_queue_drop(q, n);
    q->bytes_out += n;
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_steal(mm_chunkqueue *to, mm_chunkqueue *from, int64_t n)
{
    mm_chunk *c, *part = NULL;
    int64_t left = n;
    mm_status status;
    MM_ASSERT(to != from && to->pool == from->pool);
    if (n < 0 || n > mm_chunkqueue_length(from)) return MM_STATUS_INVALID;
    status = mmi_queue_admit(to, (uint64_t)n);
    if (status != MM_STATUS_OK || n == 0) return status;
    for (c = from->first; c != NULL && left >= c->end - c->offset; c = c->next)
        left -= c->end - c->offset;
    if (left > 0) { /* the split comes first: it is all that can fail */
        part = mmi_chunk_new(to->pool, c->source, c->type, c->offset, c->offset + left);
        if (part == NULL) return MM_STATUS_NO_MEMORY;
    }
    while (from->first != c) mmi_queue_link(to, mmi_queue_unlink_first(from));
    if (part != NULL) {
        c->offset += left;
        mmi_queue_account(from, c, left, -1);
        mmi_queue_link(to, part);
    }
    to->bytes_in += n;
    from->bytes_out += n;
    return MM_STATUS_OK;
}

/* Copies up to `size` bytes from the front. *got is less at the end of the queue (OK) or at a place
   that cannot be read (its status). Never skips a byte. */
static mm_status mmi_queue_gather(mm_chunkqueue *q, char *to, size_t size, size_t *got)
{
    mm_chunk *c;
    mm_status status = MM_STATUS_OK;
    *got = 0;
    for (c = q->first; c != NULL && *got < size && status == MM_STATUS_OK; c = c->next) {
        uint64_t have = (uint64_t)(c->end - c->offset);
        size_t want = size - *got, n;
        if (want > have) want = (size_t)have;
        if (c->type == MM_CHUNK_MEM) memcpy(to + *got, mmi_chunk_bytes(c), n = want);
        else status = mmi_chunk_pread(c, to + *got, want, &n);
        *got += n;
    }
    return status;
}

MM_API mm_status mm_chunkqueue_peek(mm_chunkqueue *q, char *scratch, size_t size, const char **data,
                                    size_t *length)
{
    const mm_chunk *c = q->first;
    mm_status status;
    *data = scratch;
    *length = 0;
    if (c == NULL) return MM_STATUS_OK;
    if (c->type == MM_CHUNK_MEM && (c->next == NULL || (uint64_t)(c->end - c->offset) >= size)) {
        uint64_t have = (uint64_t)(c->end - c->offset);
        *data = mmi_chunk_bytes(c);
        *length = have < size ? (size_t)have : size;
        return MM_STATUS_OK;
    }
    status = mmi_queue_gather(q, scratch, size, length);
    return *length > 0 ? MM_STATUS_OK : status;
}

MM_API mm_status mm_chunkqueue_read(mm_chunkqueue *q, void *to, size_t size)
{
    size_t got;
    mm_status status;
    if ((uint64_t)size > (uint64_t)mm_chunkqueue_length(q)) return MM_STATUS_INVALID;
    status = mmi_queue_gather(q, (char *)to, size, &got);
    if (status != MM_STATUS_OK) return status;
    return mm_chunkqueue_mark_written(q, (int64_t)size);
}

MM_API const char *mm_chunkqueue_contiguous(mm_chunkqueue *q, size_t n, mm_status *status)
{
    mm_chunk *c = q->first;
    size_t got;
    char *to;
    *status = MM_STATUS_INVALID;
    if ((uint64_t)n > (uint64_t)mm_chunkqueue_length(q)) return NULL;
    *status = MM_STATUS_OK;
    if (n == 0) return "";
    if (c->type == MM_CHUNK_MEM && (uint64_t)(c->end - c->offset) >= n) return mmi_chunk_bytes(c);
    *status = MM_STATUS_NO_MEMORY;
    c = mmi_chunk_memory(q->pool, n);
    if (c == NULL) return NULL;
    to = mm_buffer_prepare_append(&c->source->mem, n); /* cannot fail: there is room */
    *status = mmi_queue_gather(q, to, n, &got);
    if (*status == MM_STATUS_OK) *status = mm_buffer_commit(&c->source->mem, n);
    if (*status != MM_STATUS_OK) {
        mmi_chunk_free(q->pool, c);
        return NULL;
    }
    mmi_queue_drop(q, (int64_t)n);
    c->end = (int64_t)n;
    c->next = q->first;
    q->first = c;
    if (q->last == NULL) q->last = c;
    q->memory += (int64_t)n;
    return mmi_chunk_bytes(c);
}

// >>check

static bool mmi_chunk_check(const mm_chunk *c)
{
    const mm_chunk_source *source = c->source;
    if (source->refs == 0 || c->offset < 0 || c->end <= c->offset) return false;
    if (source->is_temp && (c->type == MM_CHUNK_MEM || c->end > source->written)) return false;
    if (!mm_buffer_check(&source->mem)) return false;
    return c->type == MM_CHUNK_FILE || c->end <= (int64_t)mm_buffer_length(&source->mem);
}

MM_API bool mm_chunkqueue_check(const mm_chunkqueue *q)
{
    const mm_chunk *c, *last = NULL;
    int64_t length = 0, memory = 0;
    for (c = q->first; c != NULL; last = c, c = c->next) {
        if (!mmi_chunk_check(c)) return false;
        length += c->end - c->offset;
        if (c->type == MM_CHUNK_MEM) memory += c->end - c->offset;
    }
    return last == q->last && length == mm_chunkqueue_length(q) && memory == q->memory;
}

#ifdef __cplusplus
}
#endif
#endif /* MM_CHUNK_IMPLEMENTATION */

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
