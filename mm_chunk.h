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
    mm_buffer.h and mm_pool.h in the same folder; POSIX files, or Windows (mingw)

DO THIS
    Copy the three files into your project and, in exactly one C or C++ file, write
        #define MM_IMPLEMENTATION
        #include "mm_chunk.h"
    which implements mm_buffer.h and mm_pool.h as well. Elsewhere include it without the define.

OPTIONAL DEFINES (before the first include; the MM_SYS_ ones only where the implementation is)
    MM_STATIC, MM_ASSERT, MM_MALLOC, MM_REALLOC, MM_FREE   as in mm_buffer.h
    MM_SYS_OPEN(path, flags, mode)                  open
    MM_SYS_CLOSE(fd)                                close
    MM_SYS_OPEN_TEMP(dir, name, flags, mode)        openat, for temp files
    MM_SYS_UNLINK_TEMP(dir, name)                   unlinkat, likewise
    MM_SYS_FSTAT(fd, stat)                          fstat
    MM_SYS_PREAD(fd, bytes, size, offset)           pread
    MM_SYS_PREAD_NOWAIT(fd, bytes, size, offset)    preadv2 with RWF_NOWAIT
    MM_SYS_PWRITE(fd, bytes, size, offset)          pwrite
    MM_SYS_PWRITEV(fd, iov, count, offset)          pwritev
    MM_SYS_FTRUNCATE(fd, size)                      ftruncate
    MM_SYS_TIME()                                   time(NULL), in seconds
    MM_CHUNK_NO_TMPFILE                             never use O_TMPFILE
    MM_CHUNK_NO_DIRS                                temp files by their paths, with MM_SYS_OPEN and
                                                    MM_SYS_UNLINK(path); always on Windows
    MM_CHUNK_NO_PWRITEV                             pwrite in its place; only Linux has the other
    MM_CHUNK_NO_NOWAIT                              no preadv2: reads that would wait do
    MM_CHUNK_VIEWS                                  adds mm_chunk_view_get: files mapped into memory
                                                    (alike in all files; a system with mmap; with
                                                    musl under -std=c11, define _DEFAULT_SOURCE)
    MM_SYS_MMAP_FILE(at, size, prot, flags, fd, offset)  mmap
    MM_SYS_MUNMAP_FILE(at, size)                         munmap

OVERVIEW
    A chunk is a run of bytes, in memory (MM_CHUNK_MEM) or in a file (MM_CHUNK_FILE). A chunkqueue
    is a list of chunks that is filled at its end and drained at its front; its length is known in
    O(1). What the chunks refer to, a block of memory or an open file, is counted: to split a chunk,
    to move a part of a queue or to put the same bytes into many queues never copies bytes and
    never duplicates a descriptor, and a file is closed when the last chunk of it has gone.

    All queues of one thread share a chunk pool. It recycles chunk memory by way of three lists
    (blocks of the regular size, larger ones, and the structures of chunks), each bounded in bytes;
    mm_chunk_pool_decay, called now and then, gives back half of what was not needed since the last
    time. And it knows the folders for temp files: one that is full or broken is left for the next,
    and all queues pass it by for a while. Each is opened once, when it is needed first or by
    mm_chunk_pool_open_dirs, so that a chroot, a rename or a link in its place does not matter.

    A queue with a spill threshold keeps at most that many bytes in memory: beyond it, what is in
    memory and then what is added goes to a temp file that has no name, so nothing is left behind
    even by kill -9. (On Windows it has one until it is closed, as every file is when its process
    ends.) A memory limit and a disk limit bound a queue for good, and a high and a low
    watermark tell a producer when to pause and when to go on.

    With MM_CHUNK_VIEWS, a file's bytes can be looked at without copying them, through a counted
    window. A file that is cut short meanwhile makes such a look fail, and not the process: while
    the trap is set (mm_chunk_views_begin), pages that are gone read as zeros, and the window says
    so when it is given back. No jump leaves a function of yours, on no thread.

    Read into a queue: get_memory (or get_spans), read(2), use_memory. Write out of one: mm_io.h,
    or peek and mark_written. Appends are sticky: after a failure they do nothing and return the
    same status until mm_chunkqueue_reset; what was in the queue stays.

    mm_chunked_append_* frame what they append in the chunked transfer coding of HTTP/1.1, and an
    mm_chunked_decoder takes it apart again, from slices or from one queue into another.

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
    Appends, mark_written and steal are O(chunks touched); append_queue, prepend_queue and length
    are O(1). One byte appended a million times fills chunk after chunk: memory is O(bytes). Copied
    bytes go to regular chunks, and to larger ones of up to four times that where they fill them, or
    where a queue grows and a quarter of it is as much.
    How often a byte is copied in memory:
        append_mem, append_exact, prepend_mem    once (and when append_mem goes to a temp file, not
                                                 at all from 16 KiB on)
        get_memory, use_memory                   never, but for a read of at most 1 KiB that fits
                                                 behind the chunk before: once
        append_buffer                            never from 1 KiB on, once below
        append_reference, _shared, _file, _fd    never
        append_queue, append_range, steal        never
        spill, steal_spilled                     never: written from where they lie
        peek                                     never in the first chunk, once across chunks
        read, contiguous, squash                 once; contiguous never when they lie so
    So a body from read(2) through any number of queues to writev(2) or sendfile(2) is not copied.
    mm_chunk_pool_stats.copied counts them.
    Pointers from get_memory hold until the next call on that queue; from peek and contiguous, until
    the next call that drains, compacts or spills it, which an append beyond the threshold does.

THREADS
    A pool and its queues belong to one thread. There are no globals, but for the trap of
    MM_CHUNK_VIEWS: signals are the process's, and so is a table of windows, which threads share
    without locks.

MEMORY
    Chunk structures and memory come from the pool's allocator: give it a budget's, and the budget
    bounds them. When it refuses, what the lists keep is given back and the request tried again.
    Everything must have been reset before mm_chunk_pool_deinit, which returns how many chunks were
    not. The callbacks (refchg, release, flow) run in the middle of a call on a queue; refchg and
    release must not call for that queue, flow may.

ERRORS
    MM_STATUS_NO_MEMORY   the allocator refused
    MM_STATUS_NO_SPACE    no temp directory has room: disk full, quota, file size limit
    MM_STATUS_LIMIT       the queue's memory limit or disk limit; a line that is too long
                          (a decoder's limits are TOO_LARGE and INVALID: see mm_chunked_decode)
    MM_STATUS_NO_FILES    no descriptor left to open a file
    MM_STATUS_NOT_FOUND, MM_STATUS_DENIED   a file by name cannot be opened
    MM_STATUS_TRUNCATED   a file is shorter than what was queued of it
    MM_STATUS_INVALID     negative lengths, more marked written than there is, a file that changed
    MM_STATUS_TOO_LARGE   the queue would count beyond INT64_MAX, one block beyond 4 GiB; a body,
                          its extensions, trailers or small chunks beyond a decoder's limits
    MM_STATUS_AGAIN       a file by name is held by a lease of its writer; a read would have to wait
                          for the disk; no whole line yet
    MM_STATUS_IO          another system error, in errno
    Each leaves the queue with exactly the bytes that it had. (One exception is marked: to claim
    more bytes written than there are drains the queue, and is INVALID.) A process that limits its
    files' sizes ignores SIGXFSZ.

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

/* Called once, when no chunk refers to the `size` borrowed bytes any more. */
typedef void (*mm_chunk_release)(const void *bytes, int64_t size, void *user_data);

typedef struct mm_chunk_identity { /* what fstat says of an open file */
    uint64_t dev;                  /* device */
    uint64_t ino;                  /* number on the device */
    int64_t size;                  /* bytes */
    uint64_t mtime;                /* last change of the bytes, ns since 1970, modulo 2^64 */
    uint64_t ctime;                /* last change of anything, likewise */
} mm_chunk_identity;

typedef struct mm_chunk_source { /* bytes that one or more chunks refer to */
    size_t refs;                 /* chunks that refer to it; 0: not in use */
    struct mm_chunk *holder;     /* the structure that this is a part of */
    const char *bytes;           /* MEM: the first one */
    int64_t length;              /* MEM, temp file: bytes in it; whose end is there may add some */
    int64_t limit;               /* MEM: what length may become, >= length; FILE: 0 */
    size_t charged;              /* MEM: what of mem is in the pool's statistics, in bytes */
    mm_buffer mem;               /* MEM: whose the bytes are, unset but for the block, or without
                                    one when they are borrowed; FILE by name: the path */
    int fd;                      /* FILE: the descriptor; -1: MEM, or not opened yet */
    bool is_temp;                /* FILE: a temp file of ours, that can be appended to */
    bool has_identity;           /* FILE: identity is known */
    bool waits;                  /* FILE: its file system cannot read without waiting */
    mm_chunk_refchg refchg;      /* FILE: whom to tell when a borrowed fd is free; NULL: ours */
    mm_chunk_release release;    /* MEM borrowed: whom to tell; NULL: nobody */
    void *ref;                   /* the argument of refchg or release */
    struct mm_chunk_view *view;  /* FILE: its last window, with a reference; or NULL */
    mm_chunk_identity identity;  /* FILE: as it was when it was looked at first */
} mm_chunk_source;

typedef struct mm_chunk {    /* a part of a source, in a queue */
    struct mm_chunk *next;   /* towards the end of the queue */
    mm_chunk_source *source; /* what the positions refer to: own, or that of another chunk */
    int64_t offset;          /* position of the next byte in the memory or file */
    int64_t end;             /* position behind the last byte; >= offset */
    mm_chunk_type type;      /* MEM or FILE */
    bool busy;               /* FILE: the last look without waiting found nothing in the cache */
    mm_chunk_source own;     /* in use while refs > 0, which can be longer than the chunk is */
} mm_chunk;

typedef struct mm_chunk_span { /* a place to write to */
    char *ptr;                 /* its first byte */
    size_t size;               /* in bytes */
} mm_chunk_span;

typedef struct mm_chunk_pool_desc {
    size_t chunk_size;             /* bytes of a memory chunk; rounded up to a power of two from
                                      1 KiB to 1 GiB; 0: 8 KiB */
    size_t keep;                   /* bytes of regular chunk memory kept for reuse, to which a
                                      structure for each block can come; 0: 1 MiB */
    size_t keep_oversized;         /* the same of larger blocks; 0: 1 MiB */
    size_t keep_files;             /* the same of chunk structures, which file chunks are;
                                      0: 64 KiB */
    bool wipe;                     /* memory is zeroed when its last chunk or its loan ends, for
                                      privacy: 8 KiB in 0.1 us; what a buffer outgrew is not */
    const char *const *temp_dirs;  /* where temp files go, tried in order; copied; NULL: $TMPDIR or
                                      /var/tmp, then /tmp */
    size_t temp_dir_count;         /* entries of temp_dirs */
    int64_t temp_file_size;        /* most bytes of a temp file: then a new one is begun; 0: 1 GiB.
                                      Disk space comes back file by file, each takes a descriptor */
    int64_t temp_quota;            /* most bytes in temp files at a time; 0: any */
    mm_budget *temp_budget;        /* charged with them as well, shared by pools; NULL: none */
    int64_t spill_at;              /* what queues begin with, see set_spill; 0: INT64_MAX */
    const mm_allocator *allocator; /* of all memory; NULL: the default */
} mm_chunk_pool_desc;

typedef struct mm_chunk_pool_stats {
    size_t chunks;        /* chunks in queues */
    size_t chunks_peak;   /* most that there were */
    size_t memory;        /* bytes of chunk memory in queues, by capacity, borrowed ones aside */
    size_t memory_peak;   /* most that there were */
    size_t cached;        /* bytes of chunk memory kept for reuse, regular and oversized */
    size_t cached_files;  /* bytes of chunk structures kept for reuse */
    size_t loans;         /* buffers acquired and not released */
    size_t failures;      /* requests for memory that the allocator refused */
    uint64_t copied;      /* bytes ever copied from memory to memory */
    size_t temp_files;    /* temp files open now */
    uint64_t temp_opened; /* temp files ever created */
    int64_t temp_live;    /* bytes in temp files now */
    int64_t temp_bytes;   /* bytes ever written to temp files */
    uint64_t temp_failed; /* times that a temp directory refused */
} mm_chunk_pool_stats;

typedef struct mm_chunk_list { /* unused blocks or structures */
    void *first;               /* the one put last; each begins with a link and its size */
    size_t bytes;              /* of all of them */
    size_t keep;               /* most bytes */
    size_t low;                /* fewest bytes since the last decay: what nobody needed */
    size_t puts;               /* since the last decay */
} mm_chunk_list;

typedef struct mm_chunk_dir { /* a folder for temp files */
    char *path;               /* a copy */
    size_t path_size;         /* bytes of it, the NUL included */
    int fd;                   /* of it, from the first use on; -1: not open */
    bool was_open;            /* so it is opened anew only when it is gone */
    bool is_link;             /* the path was one at the first time, and may be one again */
    bool is_bad;              /* it refused when it was last tried: */
    int64_t bad_at;           /* when, in seconds */
    uint64_t attempt;         /* the last attempt that it was tried in */
} mm_chunk_dir;

typedef struct mm_chunk_pool {     /* what the queues of a thread share */
    const mm_allocator *allocator; /* of chunk memory and structures */
    size_t chunk_size;             /* capacity of a regular chunk, in bytes */
    mm_chunk_list regular;         /* blocks of chunk_size */
    mm_chunk_list oversized;       /* larger blocks */
    mm_chunk_list files;           /* structures, each a mm_chunk */
    bool wipe;                     /* as in the desc */
    size_t held;                   /* structures that lie ready with blocks of these lists */
    mm_chunk_dir *temp_dirs;       /* in the order of the desc */
    size_t temp_dir_count;         /* entries of temp_dirs; >= 1 */
    int64_t temp_file_size;        /* most bytes of a temp file */
    int64_t temp_quota;            /* most bytes in temp files at a time */
    mm_budget *temp_budget;        /* as in the desc */
    uint64_t temp_attempts;        /* searches for a directory */
    uint64_t temp_name;            /* of the next temp file that must have a name */
    int64_t spill_at;              /* what queues begin with */
    mm_chunk_pool_stats stats;     /* as they stand; the cached ones are filled in when asked for */
} mm_chunk_pool;

struct mm_chunkqueue;

/* Called with true when the length has come up to the high watermark, with false when it has gone
   down to the low one after that. Each edge is told once. It runs at the end of the call that
   crossed the mark, when the queue is whole: a framed append is in it with all of its frame. So it
   may call for the queue, write it out or append to it, and be called again from within. For other
   queues and decoders of that call it must not. */
typedef void (*mm_chunkqueue_flow)(struct mm_chunkqueue *q, bool is_high, void *user_data);

typedef struct mm_chunkqueue {
    mm_chunk *first;         /* the next byte to leave is here; NULL: empty */
    mm_chunk *last;          /* appends go here; NULL: empty */
    mm_chunk *reserved;      /* hold memory that was handed out; not in the list; or NULL */
    size_t tail_room;        /* bytes behind the last chunk that were handed out */
    mm_chunk_pool *pool;     /* where chunks come from and go to */
    int64_t bytes_in;        /* bytes ever added */
    int64_t bytes_out;       /* bytes ever taken out; length = bytes_in - bytes_out */
    int64_t memory;          /* bytes of the content that are in memory */
    int64_t disk;            /* bytes of the content that are in temp files */
    int64_t spill_at;        /* most bytes of content in memory; INT64_MAX: any */
    int64_t memory_limit;    /* an append that would keep more in memory is LIMIT; INT64_MAX: any */
    int64_t disk_limit;      /* a spill that would make more of disk is LIMIT; INT64_MAX: any */
    int64_t high;            /* length that makes is_high true */
    int64_t low;             /* length that makes it false; < high */
    mm_chunkqueue_flow flow; /* whom to tell; NULL: nobody */
    void *user_data;         /* for flow */
    mm_status status;        /* what the first failed append returned: sticky */
    bool is_high;            /* which watermark was crossed last */
} mm_chunkqueue;

/* ---- pool ---- */

/* `desc` may be NULL. NO_MEMORY, or INVALID for a size out of range; then there is nothing to undo.
   No directory is touched before the first spill. */
MM_NODISCARD MM_API mm_status mm_chunk_pool_init(mm_chunk_pool *pool,
                                                 const mm_chunk_pool_desc *desc) MM_NONNULL(1);

/* Opens the folders for temp files that are not open yet, for a process that is about to chroot, to
   lock itself in or to run out of descriptors; otherwise the first spill does. Each takes a
   descriptor. OK when one of them at least is open; else why the last one is not. On Windows, where
   they are not opened, OK. */
MM_NODISCARD MM_API mm_status mm_chunk_pool_open_dirs(mm_chunk_pool *pool) MM_NONNULL_ALL;

/* Gives all memory back and returns the number of chunks still in queues, which is 0 when every
   queue was reset: with others the pool must not go away, and does not. */
MM_API size_t mm_chunk_pool_deinit(mm_chunk_pool *pool) MM_NONNULL_ALL;

/* Frees kept memory until at most `bytes` of it remain, regular blocks last. O(blocks freed). */
MM_API void mm_chunk_pool_trim(mm_chunk_pool *pool, size_t bytes) MM_NONNULL_ALL;

/* Gives back half of what each list has kept and nobody has needed since the last decay, at most
   64 pieces of each, and returns how many bytes that were. For a timer, once a second or so; it
   also happens by itself each 4096 times that something is put on a list, but where nothing happens
   any more, only a timer gives the memory of a peak back:
       (void)mm_chunk_pool_decay(&worker->chunks);  (in the tick of each second) */
MM_API size_t mm_chunk_pool_decay(mm_chunk_pool *pool) MM_NONNULL_ALL;

/* For mm_budget_desc.reclaim_fn, with the pool as user data: frees `wanted` bytes of what is kept,
   if there are so many, and returns how many those were. The budget, and those below it, must then
   be charged by the pool's thread alone. */
MM_API size_t mm_chunk_pool_reclaim(size_t wanted, void *pool) MM_NONNULL_ALL;

/* What the pool holds now. */
MM_API mm_chunk_pool_stats mm_chunk_pool_get_stats(const mm_chunk_pool *pool) MM_NONNULL_ALL;

/* Lends the pool's memory to `b`, an empty buffer, with room for `least` bytes (0: a regular block)
   and blank. NO_MEMORY or TOO_LARGE: `b` is as before. The buffer is an ordinary one: it may grow,
   and be appended to a queue, which takes the memory. */
MM_NODISCARD MM_API mm_status mm_chunk_buffer_acquire(mm_chunk_pool *pool, mm_buffer *b,
                                                      size_t least) MM_NONNULL_ALL;

/* Ends the loan: what memory the buffer has goes to the pool's lists, and it is empty. */
MM_API void mm_chunk_buffer_release(mm_chunk_pool *pool, mm_buffer *b) MM_NONNULL_ALL;

/* Replaces a block larger than a regular one by a regular one, for a buffer that will be idle; the
   content must fit into it or nothing happens, as when the memory for it is refused. */
MM_API void mm_chunk_buffer_yield(mm_chunk_pool *pool, mm_buffer *b) MM_NONNULL_ALL;

/* ---- queue ---- */

/* An empty queue whose chunks come from `pool`. Allocates nothing. */
MM_API void mm_chunkqueue_init(mm_chunkqueue *q, mm_chunk_pool *pool) MM_NONNULL_ALL;

/* Drops all bytes and counts, closes what the queue owns, clears the status. Keeps the limits and
   watermarks; a queue that was high tells that it no longer is. */
MM_API void mm_chunkqueue_reset(mm_chunkqueue *q) MM_NONNULL_ALL;

/* As reset, without telling; the queue is then as after init. */
MM_API void mm_chunkqueue_deinit(mm_chunkqueue *q) MM_NONNULL_ALL;

/* From now on at most `bytes` of content stay in memory; what exceeds it goes to a temp file when
   the next bytes are added. 0 (or less): everything goes to disk; INT64_MAX: nothing. */
MM_INLINE void mm_chunkqueue_set_spill(mm_chunkqueue *q, int64_t bytes);

/* What the content may take up in memory and in temp files; beyond it an append fails with LIMIT.
   INT64_MAX: any. A queue that spills needs a memory limit that is not below its threshold. */
MM_INLINE void mm_chunkqueue_set_limits(mm_chunkqueue *q, int64_t memory, int64_t disk);

/* Watermarks: see mm_chunkqueue_flow. 0 <= low < high. A length that is already there is told at
   once. NULL for `flow`: is_high only; high INT64_MAX: no watermarks. */
MM_API void mm_chunkqueue_set_flow(mm_chunkqueue *q, int64_t low, int64_t high,
                                   mm_chunkqueue_flow flow, void *user_data) MM_NONNULL(1);

MM_INLINE int64_t mm_chunkqueue_length(const mm_chunkqueue *q);   /* bytes in the queue; O(1) */
MM_INLINE bool mm_chunkqueue_is_empty(const mm_chunkqueue *q);    /* length 0 */
MM_INLINE bool mm_chunkqueue_is_high(const mm_chunkqueue *q);     /* the producer should pause */
MM_INLINE mm_status mm_chunkqueue_status(const mm_chunkqueue *q); /* OK, or the first failure */
MM_INLINE int64_t mm_chunkqueue_room(const mm_chunkqueue *q);     /* bytes up to the memory limit */
MM_INLINE void mm_chunkqueue_clear_status(mm_chunkqueue *q);      /* appends work again */

/* ---- appending; sticky ---- */

/* Copies `size` bytes: fills the last chunk, then pooled ones; spills by the threshold. The bytes
   must not lie in the queue itself, unless it never spills. Inline where they fit behind the last
   chunk. */
MM_INLINE mm_status mm_chunkqueue_append_mem(mm_chunkqueue *q, const void *bytes, size_t size)
    MM_NONNULL(1);

/* The same into one chunk that has exactly that size, for bytes that stay for long. TOO_LARGE from
   4 GiB on. */
MM_API mm_status mm_chunkqueue_append_exact(mm_chunkqueue *q, const void *bytes, size_t size)
    MM_NONNULL(1);

/* Appends the buffer's content and leaves the buffer empty: the memory is moved when there is 1 KiB
   or more, copied otherwise. A buffer on the pool's allocator gets a pooled block in exchange, if
   one is free. On failure the buffer is untouched. A buffer whose status is not OK is not whole:
   the append fails with that status. */
MM_API mm_status mm_chunkqueue_append_buffer(mm_chunkqueue *q, mm_buffer *b) MM_NONNULL_ALL;

/* Appends bytes that stay where they are, unchanged, until `release` (or NULL) is called, which is
   when the last chunk that refers to them has gone: at once when they are spilled or `size` is 0.
   On failure it is not called. */
MM_API mm_status mm_chunkqueue_append_reference(mm_chunkqueue *q, const void *bytes, int64_t size,
                                                mm_chunk_release release, void *user_data)
    MM_NONNULL(1);

/* Appends the bytes of `shared`, which is retained for as long; NULL has none. */
MM_API mm_status mm_chunkqueue_append_shared(mm_chunkqueue *q, mm_shared *shared) MM_NONNULL(1);

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

/* Moves all bytes of `from`, another queue of the same pool, to the end of `to`. O(1), and cannot
   fail for lack of memory, unless `to` must spill: then as steal_spilled. `from` keeps its counts
   with bytes_out = bytes_in. */
MM_INLINE mm_status mm_chunkqueue_append_queue(mm_chunkqueue *to, mm_chunkqueue *from)
    MM_NONNULL_ALL;

/* Appends `length` bytes at `offset` of the content of `from`, which keeps them; of the same pool,
   and may be `to`. Shares the bytes, copies none. INVALID when there are not that many. */
MM_API mm_status mm_chunkqueue_append_range(mm_chunkqueue *to, const mm_chunkqueue *from,
                                            int64_t offset, int64_t length) MM_NONNULL_ALL;

/* A place for at least `least` bytes (0: whatever the last chunk has left, or else a new chunk)
   behind the content, less only where the memory limit is; *size says how many. NULL when an append
   has failed before (the status tells), when the queue would count too far, when its memory limit
   is reached (mm_chunkqueue_room is 0), or when out of memory; the last two are not sticky: nothing
   is lost. Nothing is in the queue until mm_chunkqueue_use_memory, which must follow; one place at
   a time. */
MM_NODISCARD MM_API char *mm_chunkqueue_get_memory(mm_chunkqueue *q, size_t least, size_t *size)
    MM_NONNULL_ALL;

/* The same in up to `max` places for one readv: what the last chunk has left, then new regular
   chunks, the last one larger when `least` asks for it. Returns how many; 0 as NULL above. */
MM_NODISCARD MM_API size_t mm_chunkqueue_get_spans(mm_chunkqueue *q, size_t least,
                                                   mm_chunk_span *spans, size_t max)
    MM_NONNULL_ALL;

/* Takes the first `n` bytes of the place into the queue; 0 gives the place back. Not spilled: see
   mm_chunkqueue_spill. */
MM_API void mm_chunkqueue_use_memory(mm_chunkqueue *q, size_t n) MM_NONNULL_ALL;

/* A blank buffer of the pool's memory, with room for `least` bytes, that becomes the end (prepend:
   the beginning) of the queue at the commit which must follow. Any mm_buffer_append may be used on
   it. NULL as get_memory. */
MM_NODISCARD MM_API mm_buffer *mm_chunkqueue_append_open(mm_chunkqueue *q, size_t least)
    MM_NONNULL_ALL;
MM_NODISCARD MM_API mm_buffer *mm_chunkqueue_prepend_open(mm_chunkqueue *q, size_t least)
    MM_NONNULL_ALL;

/* Takes all of the open buffer into the queue, nothing when it is blank. On failure, the buffer's
   own included, none of it. mm_chunkqueue_use_memory(q, 0) in its place drops the buffer. Memory
   that is prepended does not spill. */
MM_API mm_status mm_chunkqueue_append_commit(mm_chunkqueue *q) MM_NONNULL_ALL;
MM_API mm_status mm_chunkqueue_prepend_commit(mm_chunkqueue *q) MM_NONNULL_ALL;

/* Copies `size` bytes to the front of the queue. */
MM_API mm_status mm_chunkqueue_prepend_mem(mm_chunkqueue *q, const void *bytes, size_t size)
    MM_NONNULL(1);

/* Moves all bytes of `from`, another queue of the same pool, to the front of `to`. O(1). */
MM_API mm_status mm_chunkqueue_prepend_queue(mm_chunkqueue *to, mm_chunkqueue *from) MM_NONNULL_ALL;

/* Moves all content that is in memory to temp files now. On failure every byte is still in the
   queue, in order, part of it perhaps on disk. Not sticky. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_spill(mm_chunkqueue *q) MM_NONNULL_ALL;

/* A place at the end of the queue in a temp file, for a caller that writes there by itself, as with
   splice(2): up to *room bytes at *at of the descriptor returned, which stays the queue's. What is
   in memory is spilled before. -1 with *status: sticky as an append. use_temp must follow. */
MM_NODISCARD MM_API int mm_chunkqueue_get_temp(mm_chunkqueue *q, int64_t *at, int64_t *room,
                                               mm_status *status) MM_NONNULL_ALL;

/* Takes the first `n` bytes that are now there into the queue; 0: none. INVALID beyond the room,
   NO_SPACE when the temp_budget refuses: then none, and the file is cut. */
MM_API mm_status mm_chunkqueue_use_temp(mm_chunkqueue *q, int64_t n) MM_NONNULL_ALL;

/* ---- draining ---- */

/* Drops the first `n` bytes. INVALID when n < 0, and nothing happens; or when there are fewer: then
   all are dropped, as whoever claims to have written more has written these. */
MM_NODISCARD MM_INLINE mm_status mm_chunkqueue_mark_written(mm_chunkqueue *q, int64_t n)
    MM_NONNULL_ALL;

/* Moves the first `n` bytes of `from` to the end of `to`, both of the same pool. Nothing is copied,
   unless `to` must spill: then as steal_spilled. INVALID when there are fewer; on any failure both
   are unchanged. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_steal(mm_chunkqueue *to, mm_chunkqueue *from, int64_t n)
    MM_NONNULL_ALL;

/* The same, with all that is in memory, in `to` and then in the moved part, put into temp files. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_steal_spilled(mm_chunkqueue *to, mm_chunkqueue *from,
                                                          int64_t n) MM_NONNULL_ALL;

/* The next bytes, up to `size`, without draining them: *data points into the queue when the first
   chunk alone has them in memory, else to `scratch` (of `size` bytes), filled from as many chunks
   as needed. *length is less than `size` at the end of the queue, or in front of a place that
   cannot be read: the error comes when that place is the first. OK with *length 0: the queue is
   empty. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_peek(mm_chunkqueue *q, char *scratch, size_t size,
                                                 const char **data, size_t *length) MM_NONNULL_ALL;

/* The same without waiting for a disk: where a file's page is not in the system's cache it stops,
   and when that is the first byte the status is AGAIN and the chunk is `busy`: let others have
   their turn. The next peek of a busy chunk waits, so that there is progress. Where the system
   cannot tell, as peek. In a writer:
       status = mm_chunkqueue_peek_nowait(q, scratch, sizeof(scratch), &data, &length);
       if (status == MM_STATUS_AGAIN) return later(connection);  (in the next turn, not at POLLOUT)
       sent = status == MM_STATUS_OK ? send(fd, data, length, 0) : -1;
       if (sent > 0) status = mm_chunkqueue_mark_written(q, sent); */
MM_NODISCARD MM_API mm_status mm_chunkqueue_peek_nowait(mm_chunkqueue *q, char *scratch,
                                                        size_t size, const char **data,
                                                        size_t *length) MM_NONNULL_ALL;

/* The chunks in memory at the front, up to `max` of them, for one writev: nothing is copied.
   Returns how many; 0: the queue is empty or begins with a file. */
MM_API size_t mm_chunkqueue_peek_memory(const mm_chunkqueue *q, mm_slice *slices, size_t max)
    MM_NONNULL_ALL;

/* Copies exactly `size` bytes out and drains them; INVALID when there are fewer. On failure the
   queue is unchanged and `to` indeterminate. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_read(mm_chunkqueue *q, void *to, size_t size)
    MM_NONNULL_ALL;

/* Where the first byte `c` at or behind the position `from` is, counted from the front; *at -1:
   nowhere. Reads through files. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_find_byte(mm_chunkqueue *q, char c, int64_t from,
                                                      int64_t *at) MM_NONNULL_ALL;

/* Appends the next line to `line`, without its end (LF or CR LF), and drains it with its end.
   AGAIN: no line end yet. LIMIT: it is longer than `most` bytes, the end aside. On failure both are
   unchanged, but for the buffer's own failure, which is sticky there. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_read_line(mm_chunkqueue *q, mm_buffer *line,
                                                      size_t most) MM_NONNULL_ALL;

/* Makes the first `n` bytes lie in one piece of memory and returns it; NULL with *status set when
   there are fewer, or on failure, the queue unchanged. Copies only when they do not lie so, and
   then, where the first chunk has room behind it, only what is missing. */
MM_NODISCARD MM_API const char *mm_chunkqueue_contiguous(mm_chunkqueue *q, size_t n,
                                                         mm_status *status) MM_NONNULL_ALL;

/* Makes all content one chunk in memory. TOO_LARGE from 4 GiB on. */
MM_NODISCARD MM_API mm_status mm_chunkqueue_squash(mm_chunkqueue *q) MM_NONNULL_ALL;

/* Reads files into memory when the queue has memory and at most `most` bytes (0: 16 KiB) of files,
   so that a small body leaves in one write with the headers before it. Otherwise, and where the
   memory limit is in the way, does nothing. A file that cannot be read is an error, and stays. When
   a response is whole, and before it is written:
       mm_chunkqueue_append_fd_ref(q, entry->fd, 0, entry->size, entry_ref, entry);
       status = mm_chunkqueue_join(q, 0);  (frames of the chunked coding: 32768) */
MM_NODISCARD MM_API mm_status mm_chunkqueue_join(mm_chunkqueue *q, int64_t most) MM_NONNULL_ALL;

/* ---- chunks, for those who write them out themselves ---- */

/* The next byte of a MEM chunk. */
MM_INLINE const char *mm_chunk_bytes(const mm_chunk *chunk);

/* Opens the file of a FILE chunk that was appended by name, if that has not happened yet. */
MM_NODISCARD MM_API mm_status mm_chunk_open(mm_chunk *chunk) MM_NONNULL_ALL;

/* Whether the file of a FILE chunk is what it was: the first call, or opening it by name, takes its
   identity, and later ones compare. TRUNCATED: it ends before the chunk does. INVALID: it was
   written to or replaced, so what is sent of it may be a mixture. OK for memory and temp files. */
MM_NODISCARD MM_API mm_status mm_chunk_verify(mm_chunk *chunk) MM_NONNULL_ALL;

#ifdef MM_CHUNK_VIEWS
typedef struct mm_chunk_view { /* a window onto a file */
    size_t refs;               /* who uses it: callers, and a source for its next caller */
    char *base;                /* where it is mapped */
    size_t size;               /* bytes mapped */
    int64_t at;                /* position in the file, of a page */
    size_t slot;               /* in the table of the trap */
} mm_chunk_view;

/* Sets the trap for SIGBUS in windows; to be called before the first window is wanted, by one
   thread. A SIGBUS anywhere else goes to whoever had the signal before. The calls are counted.
   With MM_STATIC, views are for one file of the program: each would have a trap of its own. */
MM_NODISCARD MM_API mm_status mm_chunk_views_begin(void);

/* Ends that, when it is called as often. No window may be in use. */
MM_API void mm_chunk_views_end(void);

/* A look at the first bytes of a chunk where they are: *bytes are all that one piece has, at least
   `least` of them (clipped to the chunk). For a FILE chunk *view is a window onto 512 KiB or
   `least`, shared with others who look there; for memory it is NULL. The bytes hold until put, or
   for memory until the chunk is drained. A window for a large file only pays: below 128 KiB
   mm_chunkqueue_peek is faster. LIMIT: 256 windows are in use. TRUNCATED: the file ends before the
   bytes do. NO_MEMORY and others where mapping fails: peek instead. */
MM_NODISCARD MM_API mm_status mm_chunk_view_get(mm_chunk_pool *pool, mm_chunk *chunk, size_t least,
                                                mm_chunk_view **view, mm_slice *bytes)
    MM_NONNULL_ALL;

/* Ends the look. TRUNCATED: the file has become shorter than what the chunk refers to, and zeros
   may have stood for what was missing; whoever was given those bytes must not think them whole.
   `view` may be NULL. */
MM_NODISCARD MM_API mm_status mm_chunk_view_put(mm_chunk_pool *pool, mm_chunk *chunk,
                                                mm_chunk_view *view) MM_NONNULL(1) MM_NONNULL(2);
#endif

/* What the errno of a file operation means to a caller. */
MM_API mm_status mm_status_from_errno(int error);

/* Reads up to `size` bytes at the front of a FILE chunk. Stops early only at the end of the file or
   at an error; *got says where, and TRUNCATED or the error why. For mm_io.h. */
MM_NODISCARD MM_API mm_status mmi_chunk_pread(mm_chunk *c, char *to, size_t size, size_t *got)
    MM_NONNULL_ALL;

/* Whether the whole structure is sound. O(chunks); for tests and assertions. */
MM_API bool mm_chunkqueue_check(const mm_chunkqueue *q) MM_NONNULL_ALL;

/* The same of the pool's lists and counts. */
MM_API bool mm_chunk_pool_check(const mm_chunk_pool *pool) MM_NONNULL_ALL;

/* What the inline bodies leave to others: whatever is not the common case. */
MM_API mm_status mmi_chunkqueue_append(mm_chunkqueue *q, const void *bytes, size_t size)
    MM_NONNULL(1);
MM_API mm_status mmi_chunkqueue_append_all(mm_chunkqueue *to, mm_chunkqueue *from) MM_NONNULL_ALL;
MM_NODISCARD MM_API mm_status mmi_chunkqueue_drain(mm_chunkqueue *q, int64_t n) MM_NONNULL_ALL;

/* ---- inline bodies ---- */

MM_INLINE void mm_chunkqueue_set_spill(mm_chunkqueue *q, int64_t bytes)
{
    q->spill_at = bytes > 0 ? bytes : 0;
}

MM_INLINE void mm_chunkqueue_set_limits(mm_chunkqueue *q, int64_t memory, int64_t disk)
{
    q->memory_limit = memory > 0 ? memory : 0;
    q->disk_limit = disk > 0 ? disk : 0;
}

MM_INLINE int64_t mm_chunkqueue_length(const mm_chunkqueue *q)
{
    return q->bytes_in - q->bytes_out;
}

MM_INLINE bool mm_chunkqueue_is_empty(const mm_chunkqueue *q)
{
    return q->bytes_in == q->bytes_out;
}

MM_INLINE bool mm_chunkqueue_is_high(const mm_chunkqueue *q)
{
    return q->is_high;
}

MM_INLINE mm_status mm_chunkqueue_status(const mm_chunkqueue *q)
{
    return q->status;
}

MM_INLINE void mm_chunkqueue_clear_status(mm_chunkqueue *q)
{
    q->status = MM_STATUS_OK;
}

MM_INLINE int64_t mm_chunkqueue_room(const mm_chunkqueue *q)
{
    return q->memory < q->memory_limit ? q->memory_limit - q->memory : 0;
}

MM_INLINE const char *mm_chunk_bytes(const mm_chunk *chunk)
{
    return chunk->source->bytes + chunk->offset;
}

/* Most appends are small and fit behind the last one, within all limits and below the high
   watermark. (No sum overflows: what is in memory, and the length, are no more than bytes_in.) */
MM_INLINE mm_status mm_chunkqueue_append_mem(mm_chunkqueue *q, const void *bytes, size_t size)
{
    mm_chunk *tail = q->last;
    mm_chunk_source *source = tail == NULL ? NULL : tail->source;
    int64_t n = (int64_t)size;
    if (source == NULL || tail->type != MM_CHUNK_MEM || tail->end != source->length ||
        size - 1 >= (uint32_t)(source->limit - tail->end) || /* 0 is not */
        n > INT64_MAX - q->bytes_in || q->memory + n > q->spill_at ||
        q->memory + n > q->memory_limit || mm_chunkqueue_length(q) + n >= q->high ||
        q->status != MM_STATUS_OK)
        return mmi_chunkqueue_append(q, bytes, size);
    MM_TRACK_UNPOISON(source->mem.ptr + tail->end, size);
    MM_MEMCPY(source->mem.ptr + tail->end, bytes, size);
    source->length = tail->end += n;
    q->memory += n;
    q->bytes_in += n;
    q->pool->stats.copied += size;
    return MM_STATUS_OK;
}

/* The list is linked to the other in one step, where no limit and no watermark is near. */
MM_INLINE mm_status mm_chunkqueue_append_queue(mm_chunkqueue *to, mm_chunkqueue *from)
{
    int64_t n = mm_chunkqueue_length(from);
    if (to == from || to->pool != from->pool || from->first == NULL || from->is_high ||
        to->status != MM_STATUS_OK || n > INT64_MAX - to->bytes_in ||
        from->memory > to->spill_at - to->memory ||
        from->memory > to->memory_limit - to->memory || from->disk > to->disk_limit - to->disk ||
        mm_chunkqueue_length(to) + n >= to->high)
        return mmi_chunkqueue_append_all(to, from);
    if (to->last == NULL) to->first = from->first;
    else to->last->next = from->first;
    to->last = from->last;
    from->first = from->last = NULL;
    to->memory += from->memory;
    to->disk += from->disk;
    from->memory = from->disk = 0;
    to->bytes_in += n;
    from->bytes_out += n;
    return MM_STATUS_OK;
}

/* Mostly, a part of the first chunk has been written. */
MM_INLINE mm_status mm_chunkqueue_mark_written(mm_chunkqueue *q, int64_t n)
{
    mm_chunk *c = q->first;
    if (c == NULL || c->type != MM_CHUNK_MEM || q->is_high ||
        (uint64_t)n >= (uint64_t)(c->end - c->offset))
        return mmi_chunkqueue_drain(q, n);
    c->offset += n;
    q->memory -= n;
    q->bytes_out += n;
    return MM_STATUS_OK;
}

/* ---- chunked transfer coding: RFC 9112, 7.1 ---- */

typedef struct mm_chunked_limits { /* what a decoder accepts; 0 is the default everywhere */
    int64_t body;                  /* bytes of content; 0: INT64_MAX */
    uint32_t line;                 /* bytes of blanks and extensions behind one chunk size, at
                                      most; 0: 256 */
    uint32_t extensions;           /* such bytes in the whole body; 0: 16 KiB */
    uint32_t trailers;             /* bytes of all trailer lines; 0: 8 KiB */
    uint32_t small_chunks;         /* chunks in a row that carry fewer bytes than their framing
                                      has; 0: 65,536 */
} mm_chunked_limits;

typedef struct mm_chunked_decoder {  /* of one body; all zero: at its start, default limits */
    const mm_chunked_limits *limits; /* NULL: all default; must outlive the decoder */
    mm_buffer *trailers;             /* the trailer lines are appended to it; NULL: dropped */
    int64_t body;                    /* bytes of content so far */
    int64_t left;                    /* bytes that the current chunk still has to come */
    uint32_t line;                   /* bytes of the current part of the framing */
    uint32_t extensions;             /* bytes of all blanks and extensions so far */
    uint32_t small_chunks;           /* in a row, up to now */
    mm_status status;                /* what ended it, or OK */
    uint8_t digits;                  /* of the current chunk size */
    uint8_t state;                   /* where in the coding the next byte belongs */
} mm_chunked_decoder;

/* Append a chunk of the coding - size line, data, line end - to a queue in one step: sticky as the
   appends of the same names above, and on failure nothing of it is in the queue. Of no bytes
   nothing is appended: an empty chunk would be the last one. Data from memory is copied once, to a
   place together with its frame when there is less than 1 KiB of it; large buffers, files and
   queues are moved. */
MM_API mm_status mm_chunked_append_mem(mm_chunkqueue *q, const void *bytes, size_t size)
    MM_NONNULL(1);
MM_API mm_status mm_chunked_append_buffer(mm_chunkqueue *q, mm_buffer *b) MM_NONNULL_ALL;
MM_API mm_status mm_chunked_append_file(mm_chunkqueue *q, const char *path, int64_t offset,
                                        int64_t length) MM_NONNULL_ALL;
MM_API mm_status mm_chunked_append_fd(mm_chunkqueue *q, int fd, int64_t offset, int64_t length)
    MM_NONNULL(1);
MM_API mm_status mm_chunked_append_fd_ref(mm_chunkqueue *q, int fd, int64_t offset, int64_t length,
                                          mm_chunk_refchg refchg, void *ref) MM_NONNULL(1);
MM_API mm_status mm_chunked_append_queue(mm_chunkqueue *q, mm_chunkqueue *from) MM_NONNULL_ALL;

/* Appends the end of the body: the last chunk, and the trailer lines, each ended by CRLF ("" or
   NULL of length 0: none). INVALID when they are not whole lines of text, or one is empty. */
MM_API mm_status mm_chunked_append_last(mm_chunkqueue *q, mm_slice trailers) MM_NONNULL_ALL;

/* Sets a decoder to the start of a body. `limits` may be NULL. Allocates nothing; no deinit. */
MM_API void mm_chunked_decoder_init(mm_chunked_decoder *d, const mm_chunked_limits *limits)
    MM_NONNULL(1);

/* Decodes from the front of *input, which afterwards is what is left of it. Returns
   AGAIN      the body goes on: *data is the next piece of content, a part of the input; when it is
              empty, the input is used up and more is needed
   OK         the body is complete; the input is what follows it
   INVALID    this is not the coding: a byte that must not be there (a bare LF, a sign, a control
              character), a size of more than 16 digits, a size line beyond limits.line
   TOO_LARGE  a chunk size beyond INT64_MAX, or any other of the limits
   or what has stopped the buffer for the trailers. All but AGAIN are final: the same is returned
   from then on, and nothing used. Extensions are skipped, and of trailer lines only the bounds are
   looked at: each begins with neither a blank nor a colon, and has no control character.
       while ((status = mm_chunked_decode(&d, &input, &data)) == MM_STATUS_AGAIN && data.len > 0)
           use(data); */
MM_NODISCARD MM_API mm_status mm_chunked_decode(mm_chunked_decoder *d, mm_slice *input,
                                                mm_slice *data) MM_NONNULL_ALL;

/* Decodes all that `from` has and moves the content to the end of `to`, a queue of the same pool,
   or drops it when `to` is NULL. Returns as above, AGAIN with `from` empty; or what a queue failed
   with (AGAIN, too, with `from` not empty, when a file is not ready), which is not final: what has
   been decoded is in `to`, the rest in `from`, and a later call goes on there. Pieces of half a
   chunk's memory and more are moved, smaller ones may be copied instead, once, so that they do not
   each hold a block. When `to` is beyond its spill threshold, it spills. */
MM_NODISCARD MM_API mm_status mm_chunked_decode_queue(mm_chunked_decoder *d, mm_chunkqueue *from,
                                                      mm_chunkqueue *to) MM_NONNULL(1)
    MM_NONNULL(2);

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
#include <string.h>   /* memchr, memcpy, memset, strlen */
#include <sys/stat.h> /* fstat */
#include <time.h>     /* time, for the names of temp files and the rest of bad directories */
#include <unistd.h>   /* close, getpid, pread, pwrite, unlink */
#ifdef MM_CHUNK_VIEWS
#include <signal.h>   /* sigaction */
#include <sys/mman.h> /* mmap */
#endif
#ifdef __linux__
#include <sys/syscall.h> /* SYS_preadv2, SYS_pwritev: the C library hides or lacks its own */
#include <sys/uio.h>     /* struct iovec */
#endif

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <io.h>      /* the C runtime's descriptors */
#include <windows.h> /* ReadFile and WriteFile, which take an offset, and what they fail with */
typedef int64_t mmi_off;        /* off_t may have 32 bits */
typedef struct _stat64 mmi_stat; /* and so may st_size */

static MM_UNUSED void mmi_file_set_errno(DWORD error)
{
    switch (error) {
    case ERROR_HANDLE_DISK_FULL:
    case ERROR_DISK_FULL:
    case 1295 /* ERROR_DISK_QUOTA_EXCEEDED, which old headers lack */: errno = ENOSPC; break;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES: errno = ENOMEM; break;
    case ERROR_INVALID_HANDLE: errno = EBADF; break;
    case ERROR_ACCESS_DENIED: errno = EACCES; break;
    default: errno = EIO;
    }
}

/* Where a transfer begins, and how much of it one call can do. */
static MM_UNUSED DWORD mmi_file_prepare(OVERLAPPED *at, size_t size, mmi_off offset)
{
    memset(at, 0, sizeof(*at));
    at->Offset = (DWORD)((uint64_t)offset & 0xFFFFFFFFu);
    at->OffsetHigh = (DWORD)((uint64_t)offset >> 32);
    return size > (size_t)1 << 30 ? (DWORD)1 << 30 : (DWORD)size;
}

/* As pread and pwrite, but that the descriptor's own position moves as well. */
static MM_UNUSED ssize_t mmi_file_pread(int fd, void *bytes, size_t size, mmi_off offset)
{
    OVERLAPPED at;
    DWORD n = mmi_file_prepare(&at, size, offset), got = 0;
    if (ReadFile((HANDLE)_get_osfhandle(fd), bytes, n, &got, &at)) return (ssize_t)got;
    if (GetLastError() == ERROR_HANDLE_EOF) return 0;
    mmi_file_set_errno(GetLastError());
    return -1;
}

static MM_UNUSED ssize_t mmi_file_pwrite(int fd, const void *bytes, size_t size, mmi_off offset)
{
    OVERLAPPED at;
    DWORD n = mmi_file_prepare(&at, size, offset), done = 0;
    if (WriteFile((HANDLE)_get_osfhandle(fd), bytes, n, &done, &at)) return (ssize_t)done;
    mmi_file_set_errno(GetLastError());
    return -1;
}

static MM_UNUSED int mmi_file_truncate(int fd, mmi_off size)
{
    int error = (int)_chsize_s(fd, size);
    if (error == 0) return 0;
    errno = error;
    return -1;
}

#define MMI_O_CLOEXEC (_O_NOINHERIT | _O_BINARY)
#define MMI_O_REGULAR 0            /* to open what is no regular file does not block */
#define MMI_O_TEMPORARY (_O_TEMPORARY | _O_SHORT_LIVED) /* gone when closed; kept in memory */
#define MMI_TEMP_VARIABLE "TEMP"
#define MMI_TEMP_DIR "C:\\Windows\\Temp"
#define MMI_TEMP_DIR_LAST "."
#ifndef MM_SYS_FSTAT
#define MM_SYS_FSTAT(fd, st) _fstat64(fd, st)
#endif
#ifndef MM_SYS_PREAD
#define MM_SYS_PREAD(fd, bytes, size, offset) mmi_file_pread(fd, bytes, size, offset)
#endif
#ifndef MM_SYS_PWRITE
#define MM_SYS_PWRITE(fd, bytes, size, offset) mmi_file_pwrite(fd, bytes, size, offset)
#endif
#ifndef MM_SYS_FTRUNCATE
#define MM_SYS_FTRUNCATE(fd, size) mmi_file_truncate(fd, size)
#endif
#else
typedef off_t mmi_off;
typedef struct stat mmi_stat;
#define MMI_O_REGULAR (O_NONBLOCK | O_NOCTTY) /* what is none must not block, or be our terminal */
#define MMI_O_TEMPORARY 0                     /* unlinked at once instead */
#define MMI_TEMP_VARIABLE "TMPDIR"
#define MMI_TEMP_DIR "/var/tmp"
#define MMI_TEMP_DIR_LAST "/tmp"
#endif

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
extern int MMI_FILE(openat)(int dir, const char *path, int flags, ...);
extern int unlinkat(int dir, const char *path, int flags);
#else
#define MMI_FILE(name) name
#endif
#if defined(__linux__) && !defined(__cplusplus)
extern long syscall(long number, ...); /* hidden by -std=c11; otherwise said twice */
#endif
#if defined(MMI_O_CLOEXEC)
#elif defined(O_CLOEXEC)
#define MMI_O_CLOEXEC O_CLOEXEC
#elif defined(__O_CLOEXEC) /* glibc under -std=c11 */
#define MMI_O_CLOEXEC __O_CLOEXEC
#else
#define MMI_O_CLOEXEC 0
#endif
#if defined(O_DIRECTORY)
#define MMI_O_DIRECTORY O_DIRECTORY
#elif defined(__O_DIRECTORY)
#define MMI_O_DIRECTORY __O_DIRECTORY
#endif
#if defined(O_NOFOLLOW)
#define MMI_O_NOFOLLOW O_NOFOLLOW
#elif defined(__O_NOFOLLOW)
#define MMI_O_NOFOLLOW __O_NOFOLLOW
#endif
#if defined(O_PATH) /* a folder that need not be readable */
#define MMI_O_PATH O_PATH
#elif defined(__O_PATH)
#define MMI_O_PATH __O_PATH
#elif defined(O_SEARCH)
#define MMI_O_PATH O_SEARCH
#else
#define MMI_O_PATH O_RDONLY
#endif
#if defined(MMI_O_DIRECTORY) && defined(MMI_O_NOFOLLOW) && !defined(_WIN32) && \
    !defined(MM_CHUNK_NO_DIRS)
#define MMI_DIRS
#endif
#if defined(MM_CHUNK_NO_TMPFILE)
#elif defined(O_TMPFILE)
#define MMI_O_TMPFILE O_TMPFILE
#elif defined(__O_TMPFILE)
#define MMI_O_TMPFILE __O_TMPFILE
#endif
#if defined(__linux__) && defined(SYS_pwritev) && !defined(MM_CHUNK_NO_PWRITEV)
#define MMI_PWRITEV
#endif
#if defined(__linux__) && defined(SYS_preadv2) && !defined(MM_CHUNK_NO_NOWAIT)
#define MMI_NOWAIT 0x08 /* RWF_NOWAIT of <linux/fs.h>, which older systems lack */
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
#ifndef MM_SYS_OPEN_TEMP
#define MM_SYS_OPEN_TEMP(dir, name, flags, mode) MMI_FILE(openat)(dir, name, flags, mode)
#endif
#ifndef MM_SYS_UNLINK_TEMP
#define MM_SYS_UNLINK_TEMP(dir, name) unlinkat(dir, name, 0)
#endif
#ifndef MM_SYS_FSTAT
#define MM_SYS_FSTAT(fd, st) fstat(fd, st)
#endif
#ifndef MM_SYS_PREAD
#define MM_SYS_PREAD(fd, bytes, size, offset) MMI_FILE(pread)(fd, bytes, size, offset)
#endif
#ifndef MM_SYS_PREAD_NOWAIT
#define MM_SYS_PREAD_NOWAIT(fd, bytes, size, offset) mmi_pread_nowait(fd, bytes, size, offset)
#endif
#ifndef MM_SYS_PWRITE
#define MM_SYS_PWRITE(fd, bytes, size, offset) MMI_FILE(pwrite)(fd, bytes, size, offset)
#endif
#ifndef MM_SYS_PWRITEV
#define MM_SYS_PWRITEV(fd, iov, count, offset) mmi_pwritev(fd, iov, count, offset)
#endif
#ifndef MM_SYS_FTRUNCATE
#define MM_SYS_FTRUNCATE(fd, size) MMI_FILE(ftruncate)(fd, size)
#endif
#ifndef MM_SYS_TIME
#define MM_SYS_TIME() time(NULL)
#endif
#ifndef MM_SYS_MMAP_FILE
#define MM_SYS_MMAP_FILE(at, size, prot, flags, fd, offset) mmap(at, size, prot, flags, fd, offset)
#endif
#ifndef MM_SYS_MUNMAP_FILE
#define MM_SYS_MUNMAP_FILE(at, size) munmap(at, size)
#endif
#endif /* MMI_SYSTEM */

#if defined(MM_CHUNK_IMPLEMENTATION) && !defined(MMI_CHUNK_IMPLEMENTED)
#define MMI_CHUNK_IMPLEMENTED

#ifdef __cplusplus
extern "C" {
#endif

#define MMI_CHUNK_KEEP ((size_t)1 << 20)            /* 128 regular chunks for each worker */
#define MMI_CHUNK_KEEP_FILES ((size_t)64 << 10)     /* some 300 structures of chunks */
#define MMI_CHUNK_MOVE 1024                         /* lighttpd's border between copy and move */
#define MMI_CHUNK_LARGE ((size_t)4)                 /* regular chunks in a block, at most: 16 KiB at
                                                       a time took 1.1x evbuffer's time without */
#define MMI_CHUNK_SEARCH 16                         /* large blocks that are looked at for a fit */
#define MMI_CHUNK_DECAY 64                          /* pieces freed at a time: microseconds */
#define MMI_CHUNK_DECAY_PUTS 4096                   /* then a list decays unasked */
#define MMI_CHUNK_TEMP_FILE_SIZE ((int64_t)1 << 30) /* one descriptor for most uploads */
#define MMI_CHUNK_TEMP_NAMES 64                     /* tried before giving up on a directory */
#define MMI_CHUNK_REST 10                           /* seconds that a bad directory is passed by */
#define MMI_CHUNK_DIRECT 16384                      /* 64 KiB at a time: 1.03x write(2), not 1.3x */
#define MMI_CHUNK_IOV 64                            /* chunks in one write: 512 KiB of them */
#define MMI_CHUNK_JOIN 16384                        /* lighttpd's border for a small body */
#define MMI_CHUNK_SCAN 4096                         /* bytes of stack to look through a file */
#define MMI_VIEW_SIZE ((size_t)512 << 10)           /* lighttpd's window */
#define MMI_VIEW_SLOTS 256                          /* windows in use in a process at a time */

// >>errors

MM_API mm_status mm_status_from_errno(int error)
{
    switch (error) {
#ifdef EDQUOT
    case EDQUOT:
#endif
    case ENOSPC:
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

// >>lists: what is free

/* What a free block or structure begins with. The rest is poisoned. Most free blocks still have the
   structure of the chunk that they were: that is on the list then, and nobody looks at the block,
   which has left the processor's cache long ago. */
typedef struct mmi_unused {
    struct mmi_unused *next;
    size_t size; /* in bytes: of the block, or of all of the structure when it has none */
    char *block; /* structure of a memory chunk: its block, all poisoned; otherwise NULL */
} mmi_unused;

/* Takes a piece off. *block is the block that a structure has; NULL: none. */
static void *mmi_list_take(mm_chunk_pool *pool, mm_chunk_list *list, mmi_unused **link,
                           char **block)
{
    mmi_unused *taken = *link;
    size_t size = taken->size;
    *link = taken->next;
    *block = taken->block;
    list->bytes -= size;
    if (list->bytes < list->low) list->low = list->bytes;
    if (*block != NULL) {
        MM_TRACK_UNPOISON(*block, size);
        size = sizeof(mm_chunk);
        pool->held--;
    }
    MM_TRACK_UNPOISON(taken, size);
    return taken;
}

/* The one put last; NULL: empty. */
static void *mmi_list_pop(mm_chunk_pool *pool, mm_chunk_list *list, char **block)
{
    mmi_unused *first = (mmi_unused *)list->first;
    void *taken;
    *block = NULL;
    if (first == NULL) return NULL;
    taken = mmi_list_take(pool, list, &first, block);
    list->first = first;
    return taken;
}

/* The first one of at least `least` bytes and not above twice that. *size is its own. */
static void *mmi_list_find(mm_chunk_pool *pool, mm_chunk_list *list, size_t least, size_t *size,
                           char **block)
{
    mmi_unused *first = (mmi_unused *)list->first, **link = &first;
    int i;
    *block = NULL;
    for (i = 0; i < MMI_CHUNK_SEARCH && *link != NULL; i++, link = &(*link)->next) {
        void *taken;
        if ((*link)->size < least || (*link)->size / 2 > least) continue;
        *size = (*link)->size;
        taken = mmi_list_take(pool, list, link, block);
        list->first = first;
        return taken;
    }
    return NULL;
}

/* Frees until at most `bytes` remain or `most` pieces are gone. Returns the bytes freed. */
static size_t mmi_list_trim(mm_chunk_pool *pool, mm_chunk_list *list, size_t bytes, size_t most)
{
    size_t freed = 0;
    for (; list->bytes > bytes && most > 0; most--) {
        size_t size = ((mmi_unused *)list->first)->size;
        char *block;
        void *taken = mmi_list_pop(pool, list, &block);
        freed += size;
        if (block != NULL) {
            mmi_free(pool->allocator, block, size);
            freed += size = sizeof(mm_chunk);
        }
        mmi_free(pool->allocator, taken, size);
    }
    return freed;
}

static void mmi_unused_set(void *ptr, size_t size, char *block, mmi_unused *next)
{
    mmi_unused *unused = (mmi_unused *)ptr;
    unused->next = next;
    unused->size = size;
    unused->block = block;
    if (block != NULL) {
        MM_TRACK_POISON(block, size);
        size = sizeof(mm_chunk);
    }
    MM_TRACK_POISON((char *)ptr + sizeof(*unused), size - sizeof(*unused));
}

/* Frees the structures that have blocks until they are at most `bytes`; the blocks stay. */
static void mmi_holders_trim(mm_chunk_pool *pool, mm_chunk_list *list, size_t bytes)
{
    mmi_unused *first = (mmi_unused *)list->first, **link = &first;
    for (; pool->held * sizeof(mm_chunk) > bytes && *link != NULL; link = &(*link)->next) {
        mmi_unused *holder = *link;
        char *block = holder->block;
        if (block == NULL) continue;
        MM_TRACK_UNPOISON(block, sizeof(*holder));
        mmi_unused_set(block, holder->size, NULL, holder->next);
        *link = (mmi_unused *)(void *)block;
        MM_TRACK_UNPOISON(holder, sizeof(mm_chunk));
        mmi_free(pool->allocator, holder, sizeof(mm_chunk));
        pool->held--;
    }
    list->first = first;
}

/* Half of what nobody needed goes: after a peak a list is down to a thousandth in ten decays. */
static size_t mmi_list_decay(mm_chunk_pool *pool, mm_chunk_list *list)
{
    size_t freed = mmi_list_trim(pool, list, list->bytes - (list->low - list->low / 2),
                                 MMI_CHUNK_DECAY);
    list->low = list->bytes;
    list->puts = 0;
    return freed;
}

static bool mmi_list_has_room(const mm_chunk_list *list, size_t size)
{
    return size <= list->keep && list->bytes <= list->keep - size;
}

/* Puts a piece for which there is room onto the list. */
static void mmi_list_put(mm_chunk_pool *pool, mm_chunk_list *list, void *ptr, size_t size,
                         char *block)
{
    mmi_unused_set(ptr, size, block, (mmi_unused *)list->first);
    if (block != NULL) pool->held++;
    list->first = ptr;
    list->bytes += size;
    if (++list->puts >= MMI_CHUNK_DECAY_PUTS) (void)mmi_list_decay(pool, list);
}

static void mmi_list_push(mm_chunk_pool *pool, mm_chunk_list *list, void *ptr, size_t size)
{
    if (mmi_list_has_room(list, size)) mmi_list_put(pool, list, ptr, size, NULL);
    else mmi_free(pool->allocator, ptr, size);
}

static size_t mmi_pool_cached(const mm_chunk_pool *pool)
{
    return pool->regular.bytes + pool->oversized.bytes + pool->files.bytes +
           pool->held * sizeof(mm_chunk);
}

/* Memory from the allocator; what is kept for reuse goes first when it refuses. */
static void *mmi_chunk_alloc(mm_chunk_pool *pool, size_t size)
{
    void *ptr = mmi_alloc(pool->allocator, size);
    if (MM_LIKELY(ptr != NULL)) return ptr;
    if (mmi_pool_cached(pool) > 0) {
        mm_chunk_pool_trim(pool, 0);
        ptr = mmi_alloc(pool->allocator, size);
    }
    if (ptr == NULL) pool->stats.failures++;
    return ptr;
}

// >>blocks

/* A block of at least `least` bytes, up to UINT32_MAX; *size is what it has. NULL: out of memory.
   *holder is a structure that lay ready with it, or NULL. */
static char *mmi_block_take(mm_chunk_pool *pool, size_t least, size_t *size, mm_chunk **holder)
{
    void *ptr;
    char *block;
    *size = pool->chunk_size;
    *holder = NULL;
    if (least <= *size) ptr = mmi_list_pop(pool, &pool->regular, &block);
    else {
        if (least > (size_t)1 << 31) *size = UINT32_MAX;
        else *size = (least & (least - 1)) == 0 ? least : mm_size_pow2(least);
        ptr = mmi_list_find(pool, &pool->oversized, *size, size, &block);
    }
    if (block != NULL) {
        *holder = (mm_chunk *)ptr;
        return block;
    }
    return (char *)(ptr == NULL ? mmi_chunk_alloc(pool, *size) : ptr);
}

/* Makes an unset buffer with a block a blank one. */
static void mmi_block_open(mm_buffer *mem)
{
    MM_TRACK_UNPOISON(mem->ptr, 1);
    mem->ptr[0] = '\0';
    mem->used = 1;
    MM_TRACK_POISON(mem->ptr + 1, (size_t)mem->size - 1); /* as buffers do */
}

/* Gives an empty buffer a block for `least` bytes and the NUL. TOO_LARGE, NO_MEMORY. */
static mm_status mmi_block_get(mm_chunk_pool *pool, mm_buffer *mem, size_t least)
{
    size_t size;
    char *ptr;
    mm_chunk *holder;
    if (least > MM_BUFFER_LENGTH_MAX) return MM_STATUS_TOO_LARGE;
    ptr = mmi_block_take(pool, least + 1, &size, &holder);
    if (ptr == NULL) return MM_STATUS_NO_MEMORY;
    if (holder != NULL) mmi_list_push(pool, &pool->files, holder, sizeof(*holder));
    mm_buffer_init(mem, pool->allocator);
    mem->ptr = ptr;
    mem->size = (uint32_t)size;
    mmi_block_open(mem);
    return MM_STATUS_OK;
}

/* All of the block: a read may have written more than was taken of it. By way of a pointer that may
   have changed, so that no compiler leaves it out in front of a free. */
static void mmi_block_wipe(void *ptr, size_t size)
{
    static void *(*const volatile wipe)(void *, int, size_t) = memset;
    MM_TRACK_UNPOISON(ptr, size);
    (void)wipe(ptr, 0, size);
}

/* Takes the buffer's memory back; the buffer is empty. */
static void mmi_block_put(mm_chunk_pool *pool, mm_buffer *mem)
{
    mm_chunk_list *list = mem->size == pool->chunk_size ? &pool->regular : &pool->oversized;
    if (mem->ptr == NULL) return;
    mmi_buffer_reveal(mem);
    if (pool->wipe && !mem->is_borrowed) mmi_block_wipe(mem->ptr, mem->size);
    if (mem->is_borrowed || mem->allocator != pool->allocator || mem->size < pool->chunk_size)
        mm_buffer_deinit(mem);
    else mmi_list_push(pool, list, mem->ptr, mem->size);
    mm_buffer_init(mem, pool->allocator);
}

MM_API mm_status mm_chunk_buffer_acquire(mm_chunk_pool *pool, mm_buffer *b, size_t least)
{
    mm_status status;
    MM_ASSERT(b->ptr == NULL);
    status = mmi_block_get(pool, b, least);
    if (status == MM_STATUS_OK) pool->stats.loans++;
    return status;
}

MM_API void mm_chunk_buffer_release(mm_chunk_pool *pool, mm_buffer *b)
{
    MM_ASSERT(pool->stats.loans > 0);
    pool->stats.loans--;
    mmi_block_put(pool, b);
    mm_buffer_init(b, pool->allocator);
}

MM_API void mm_chunk_buffer_yield(mm_chunk_pool *pool, mm_buffer *b)
{
    mm_buffer regular;
    size_t length = mm_buffer_length(b);
    mm_status status = mm_buffer_status(b);
    if (b->size <= pool->chunk_size || length >= pool->chunk_size) return;
    if (mmi_block_get(pool, &regular, 0) != MM_STATUS_OK) return;
    mm_buffer_append(&regular, mm_buffer_string(b), length); /* fits: it cannot fail */
    mmi_block_put(pool, b);
    *b = regular;
    b->status = status;
}

// >>chunks

static mm_chunk *mmi_chunk_take(mm_chunk_pool *pool)
{
    char *block;
    mm_chunk *c = (mm_chunk *)mmi_list_pop(pool, &pool->files, &block);
    return c != NULL ? c : (mm_chunk *)mmi_chunk_alloc(pool, sizeof(mm_chunk));
}

static void mmi_chunk_count(mm_chunk_pool *pool)
{
    if (++pool->stats.chunks > pool->stats.chunks_peak)
        pool->stats.chunks_peak = pool->stats.chunks;
}

/* A chunk with a source of its own that refers to nothing yet. */
static mm_chunk *mmi_chunk_new(mm_chunk_pool *pool, mm_chunk_type type)
{
    mm_chunk_source *source;
    mm_chunk *c = mmi_chunk_take(pool);
    if (c == NULL) return NULL;
    source = &c->own;
    memset(c, 0, sizeof(*c) - sizeof(source->identity));
    c->source = source;
    c->type = type;
    source->refs = 1;
    source->holder = c;
    source->fd = -1;
    source->mem.allocator = pool->allocator;
    mmi_chunk_count(pool);
    return c;
}

/* A chunk that shares the source of another. */
static mm_chunk *mmi_chunk_share(mm_chunk_pool *pool, mm_chunk_source *source, mm_chunk_type type,
                                 int64_t offset, int64_t end)
{
    mm_chunk *c = mmi_chunk_take(pool);
    if (c == NULL) return NULL;
    c->own.refs = 0; /* and the rest of it stays what it was */
    c->next = NULL;
    c->source = source;
    c->offset = offset;
    c->end = end;
    c->type = type;
    c->busy = false;
    source->refs++;
    mmi_chunk_count(pool);
    return c;
}

static void mmi_source_charge(mm_chunk_pool *pool, mm_chunk_source *source)
{
    size_t size = source->mem.is_borrowed ? 0 : source->mem.size;
    pool->stats.memory += size - source->charged;
    source->charged = size;
    if (pool->stats.memory > pool->stats.memory_peak) pool->stats.memory_peak = pool->stats.memory;
}

static void mmi_disk_release(mm_chunk_pool *pool, int64_t size)
{
    pool->stats.temp_live -= size;
    if (pool->temp_budget != NULL) mm_budget_release(pool->temp_budget, (size_t)size);
}

#ifdef MM_CHUNK_VIEWS
static void mmi_view_release(mm_chunk_pool *pool, mm_chunk_view *view);
#endif

static void mmi_source_free_file(mm_chunk_pool *pool, mm_chunk_source *source)
{
#ifdef MM_CHUNK_VIEWS
    if (source->view != NULL) mmi_view_release(pool, source->view);
#endif
    if (source->refchg != NULL) source->refchg(source->ref, -1);
    else if (source->fd >= 0) (void)MM_SYS_CLOSE(source->fd);
    mm_buffer_deinit(&source->mem);
    if (!source->is_temp) return;
    pool->stats.temp_files--;
    mmi_disk_release(pool, source->length);
}

/* The structure and its block stay together, for the next chunk like this one; false: no such
   block, or the list is full. */
static bool mmi_source_keep(mm_chunk_pool *pool, mm_chunk_source *source)
{
    size_t size = source->mem.size;
    mm_chunk_list *list = size == pool->chunk_size ? &pool->regular : &pool->oversized;
    if (size < pool->chunk_size || source->mem.allocator != pool->allocator ||
        source->mem.is_borrowed || !mmi_list_has_room(list, size))
        return false;
    if (MM_UNLIKELY(pool->wipe)) mmi_block_wipe(source->mem.ptr, size);
    mmi_list_put(pool, list, source->holder, size, source->mem.ptr);
    return true;
}

static void mmi_source_release(mm_chunk_pool *pool, mm_chunk_source *source, mm_chunk_type type)
{
    MM_ASSERT(source->refs > 0);
    if (--source->refs > 0) return;
    if (type == MM_CHUNK_FILE) mmi_source_free_file(pool, source);
    else {
        pool->stats.memory -= source->charged;
        if (source->mem.ptr != NULL) {
            if (mmi_source_keep(pool, source)) return;
            mmi_block_put(pool, &source->mem);
        }
        if (source->release != NULL) source->release(source->bytes, source->length, source->ref);
    }
    mmi_list_push(pool, &pool->files, source->holder, sizeof(mm_chunk));
}

static void mmi_chunk_free(mm_chunk_pool *pool, mm_chunk *c)
{
    mm_chunk_source *source = c->source;
    mm_chunk_type type = c->type;
    pool->stats.chunks--;
    if (source != &c->own) mmi_list_push(pool, &pool->files, c, sizeof(mm_chunk));
    mmi_source_release(pool, source, type);
}

static void mmi_chunks_free(mm_chunk_pool *pool, mm_chunk *c)
{
    while (c != NULL) {
        mm_chunk *next = c->next;
        mmi_chunk_free(pool, c);
        c = next;
    }
}

/* Makes a structure an empty chunk with a block. Field by field: it is half of what a chunk of
   memory costs, and most of the rest of the structure is for files. */
static void mmi_chunk_set_memory(mm_chunk_pool *pool, mm_chunk *c, char *ptr, size_t size)
{
    mm_chunk_source *source = &c->own;
    c->next = NULL;
    c->source = source;
    c->offset = c->end = 0;
    c->type = MM_CHUNK_MEM;
    c->busy = false;
    source->refs = 1;
    source->holder = c;
    source->bytes = source->mem.ptr = ptr;
    source->length = 0;
    source->limit = (int64_t)size;
    source->charged = size;
    source->mem.used = 0;
    source->mem.size = (uint32_t)size;
    source->mem.allocator = pool->allocator;
    source->mem.status = MM_STATUS_OK;
    source->mem.is_borrowed = false;
    source->fd = -1;
    source->is_temp = false;
    source->release = NULL;
    MM_TRACK_POISON(ptr, size);
}

/* An empty chunk with memory of its own for `least` bytes; NULL when there is none. */
static mm_chunk *mmi_chunk_memory(mm_chunk_pool *pool, size_t least)
{
    mm_chunk *c;
    char *ptr;
    size_t size;
    if (least > UINT32_MAX) return NULL;
    ptr = mmi_block_take(pool, least, &size, &c);
    if (ptr == NULL) return NULL;
    if (c == NULL) c = mmi_chunk_take(pool);
    if (c == NULL) {
        mmi_free(pool->allocator, ptr, size);
        return NULL;
    }
    mmi_chunk_set_memory(pool, c, ptr, size);
    mmi_chunk_count(pool);
    pool->stats.memory += size;
    if (pool->stats.memory > pool->stats.memory_peak) pool->stats.memory_peak = pool->stats.memory;
    return c;
}

/* Bytes that can be added behind the chunk in its own memory: none when somebody else has. */
static size_t mmi_chunk_room(const mm_chunk *c)
{
    const mm_chunk_source *source = c->source;
    if (c->type != MM_CHUNK_MEM || c->end != source->length) return 0;
    return (size_t)(source->limit - source->length);
}

/* Where `n` of those bytes go: to be written to. */
static char *mmi_chunk_tail(const mm_chunk *c, size_t n)
{
    char *tail = c->source->mem.ptr + c->end;
    MM_TRACK_UNPOISON(tail, n);
    return tail;
}

/* Takes `n` bytes that were written there into the chunk; what is left is nobody's again. */
static void mmi_chunk_grow(mm_chunk *c, size_t n)
{
    mm_chunk_source *source = c->source;
    source->length = c->end += (int64_t)n;
    MM_TRACK_POISON(source->mem.ptr + c->end, (size_t)(source->limit - c->end));
}

/* Copies bytes, for which there is room, behind the chunk's own. */
static void mmi_chunk_add(mm_chunk_pool *pool, mm_chunk *c, const void *bytes, size_t size)
{
    memcpy(mmi_chunk_tail(c, size), bytes, size);
    mmi_chunk_grow(c, size);
    pool->stats.copied += size;
}

/* Copies what fits of them. */
static size_t mmi_chunk_fill(mm_chunk_pool *pool, mm_chunk *c, const char *bytes, size_t size)
{
    size_t room = mmi_chunk_room(c);
    if (size > room) size = room;
    if (size > 0) mmi_chunk_add(pool, c, bytes, size);
    return size;
}

// >>files

#ifdef MMI_STRICT_GLIBC /* its struct stat has other names then */
#define MMI_CHUNK_NS(st, which) ((st)->st_##which##ensec)
#elif defined(_WIN32)
#define MMI_CHUNK_NS(st, which) 0 /* seconds only */
#elif defined(__APPLE__)
#define MMI_CHUNK_NS(st, which) ((st)->st_##which##espec.tv_nsec)
#else
#define MMI_CHUNK_NS(st, which) ((st)->st_##which.tv_nsec)
#endif

static mm_chunk_identity mmi_chunk_identify(const mmi_stat *st)
{
    mm_chunk_identity id;
    id.dev = (uint64_t)st->st_dev;
    id.ino = (uint64_t)st->st_ino;
    id.size = (int64_t)st->st_size;
    id.mtime = (uint64_t)st->st_mtime * 1000000000u + (uint64_t)MMI_CHUNK_NS(st, mtim);
    id.ctime = (uint64_t)st->st_ctime * 1000000000u + (uint64_t)MMI_CHUNK_NS(st, ctim);
    return id;
}

MM_API mm_status mm_chunk_open(mm_chunk *chunk)
{
    mm_chunk_source *source = chunk->source;
    mmi_stat st;
    mm_status status = MM_STATUS_OK;
    int fd;
    if (chunk->type == MM_CHUNK_MEM || source->fd >= 0) return MM_STATUS_OK;
    do {
        fd = MM_SYS_OPEN(mm_buffer_string(&source->mem),
                         O_RDONLY | MMI_O_REGULAR | MMI_O_CLOEXEC, 0);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return mm_status_from_errno(errno);
    if (MM_SYS_FSTAT(fd, &st) != 0) status = mm_status_from_errno(errno);
    else if (!S_ISREG(st.st_mode)) status = MM_STATUS_DENIED;
    else if ((int64_t)st.st_size < chunk->end) status = MM_STATUS_TRUNCATED;
    if (status != MM_STATUS_OK) {
        (void)MM_SYS_CLOSE(fd);
        return status;
    }
    source->fd = fd;
    source->identity = mmi_chunk_identify(&st);
    source->has_identity = true;
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunk_verify(mm_chunk *chunk)
{
    mm_chunk_source *source = chunk->source;
    mm_chunk_identity *was = &source->identity, is;
    mmi_stat st;
    mm_status status = mm_chunk_open(chunk);
    if (status != MM_STATUS_OK || chunk->type == MM_CHUNK_MEM || source->is_temp) return status;
    if (MM_SYS_FSTAT(source->fd, &st) != 0) return mm_status_from_errno(errno);
    is = mmi_chunk_identify(&st);
    if (is.size < chunk->end) return MM_STATUS_TRUNCATED;
    if (!source->has_identity) *was = is;
    source->has_identity = true;
    return is.dev == was->dev && is.ino == was->ino && is.size == was->size &&
                   is.mtime == was->mtime && is.ctime == was->ctime
               ? MM_STATUS_OK
               : MM_STATUS_INVALID;
}

#ifdef MMI_NOWAIT
MM_UNUSED static ssize_t mmi_pread_nowait(int fd, char *bytes, size_t size, int64_t offset)
{
    struct iovec iov;
    iov.iov_base = bytes;
    iov.iov_len = size;
    /* the offset in two longs; the kernel wants all of it in the first where a long holds it */
    return (ssize_t)syscall(SYS_preadv2, fd, &iov, 1ul, (long)offset,
                            (long)(offset >> (sizeof(long) * 4) >> (sizeof(long) * 4)),
                            MMI_NOWAIT);
}

/* Reads what is in the system's cache. false: the file system cannot tell. */
static bool mmi_chunk_read_cached(mm_chunk *c, char *to, size_t size, int64_t at, size_t *got,
                                  mm_status *status)
{
    ssize_t n;
    if (c->source->waits) return false;
    do {
        n = MM_SYS_PREAD_NOWAIT(c->source->fd, to, size, at);
    } while (n < 0 && errno == EINTR);
    if (n == 0) return false; /* the end, or Linux 5.9, which says so in front of a cold page */
    if (n < 0 && errno != EAGAIN) c->source->waits = true;
    if (c->source->waits) return false;
    *got = n < 0 ? 0 : (size_t)n;
    *status = n < 0 ? MM_STATUS_AGAIN : MM_STATUS_OK;
    return true;
}
#endif

/* Reads once, up to `size` bytes at `skip` bytes from the chunk's front, without waiting if so
   wanted. */
static mm_status mmi_chunk_read_some(mm_chunk *c, int64_t skip, char *to, size_t size, bool nowait,
                                     size_t *got)
{
    int64_t at = c->offset + skip;
    ssize_t n;
    *got = 0;
#ifdef MMI_NOWAIT
    {
        mm_status status;
        if (nowait && mmi_chunk_read_cached(c, to, size, at, got, &status)) return status;
    }
#else
    (void)nowait;
#endif
    do {
        n = -1;
        errno = EOVERFLOW; /* for a 32-bit off_t */
        if ((int64_t)(mmi_off)at == at) n = MM_SYS_PREAD(c->source->fd, to, size, (mmi_off)at);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return mm_status_from_errno(errno);
    *got = (size_t)n;
    return n == 0 ? MM_STATUS_TRUNCATED : MM_STATUS_OK;
}

/* Reads `size` bytes at `skip` bytes from the chunk's front. *got is less only with an error. */
static mm_status mmi_chunk_read(mm_chunk *c, int64_t skip, char *to, size_t size, bool nowait,
                                size_t *got)
{
    mm_status status = mm_chunk_open(c);
    bool was_busy = c->busy;
    *got = 0;
    c->busy = false;
    while (status == MM_STATUS_OK && *got < size) {
        size_t n;
        status = mmi_chunk_read_some(c, skip + (int64_t)*got, to + *got, size - *got,
                                     nowait && !was_busy, &n);
        *got += n;
    }
    if (nowait && status == MM_STATUS_AGAIN && c->source->fd >= 0) c->busy = true;
    return status;
}

MM_API mm_status mmi_chunk_pread(mm_chunk *c, char *to, size_t size, size_t *got)
{
    return mmi_chunk_read(c, 0, to, size, false, got);
}

// >>views

#ifdef MM_CHUNK_VIEWS
typedef struct mmi_view_slot { /* what the trap knows of a window; words, for all threads */
    size_t base;               /* address; 0: free; 1: being taken */
    size_t size;               /* in bytes */
    size_t torn;               /* pages of it were gone */
} mmi_view_slot;

#if defined(MAP_ANONYMOUS)
#define MMI_VIEW_ANONYMOUS MAP_ANONYMOUS
#elif defined(MAP_ANON)
#define MMI_VIEW_ANONYMOUS MAP_ANON
#elif defined(__linux__) && (defined(__mips__) || defined(__xtensa__))
#define MMI_VIEW_ANONYMOUS 0x800 /* glibc hides the name from strict ISO C */
#elif defined(__linux__) && (defined(__alpha__) || defined(__hppa__))
#define MMI_VIEW_ANONYMOUS 0x10
#elif defined(__linux__)
#define MMI_VIEW_ANONYMOUS 0x20
#endif
#ifdef SA_SIGINFO
#define mmi_sigaction_set(action, handler) ((action)->sa_sigaction = (handler))
#define mmi_sigaction_clear_mask(action) ((void)sigemptyset(&(action)->sa_mask))
#else /* glibc hides these from strict ISO C; its inner headers have all but the prototype */
#ifndef __GLIBC__
#error "no SA_SIGINFO: define _DEFAULT_SOURCE for MM_CHUNK_VIEWS"
#endif
#include <bits/types/__sigset_t.h>
#include <bits/types/siginfo_t.h>
#include <bits/sigaction.h>
#define mmi_sigaction_set(action, handler) \
    ((action)->sa_handler = (void (*)(int))(void (*)(void))(handler)) /* a union elsewhere */
#define mmi_sigaction_clear_mask(action) ((void)(action)) /* zeros are an empty one */
extern int sigaction(int number, const struct sigaction *action, struct sigaction *old);
#endif

static mmi_view_slot mmi_view_slots[MMI_VIEW_SLOTS];
static size_t mmi_view_page;         /* bytes of a page */
static size_t mmi_view_users;        /* begins without end */
static struct sigaction mmi_view_old; /* who had the signal before */

/* Where the fault is in a window, zeros take the place of what is left of it; the instruction is
   then done again. A window cannot go away meanwhile: the thread that faulted holds it. mmap is a
   system call, and safe here, though POSIX does not say so. */
static void mmi_view_fault(int number, siginfo_t *info, void *context)
{
    size_t at = (size_t)(uintptr_t)info->si_addr, i;
    int error = errno;
    (void)context;
    for (i = 0; i < MMI_VIEW_SLOTS; i++) {
        mmi_view_slot *slot = &mmi_view_slots[i];
        size_t base = mmi_atomic_load(&slot->base), size = mmi_atomic_load(&slot->size), from;
        if (base <= 1 || at < base || at - base >= size) continue;
        from = at - (at - base) % mmi_view_page;
        mmi_atomic_store(&slot->torn, 1);
        if (mmap((void *)(uintptr_t)from, size - (from - base), PROT_READ,
                 MAP_PRIVATE | MAP_FIXED | MMI_VIEW_ANONYMOUS, -1, 0) == MAP_FAILED)
            break;
        errno = error;
        return;
    }
    (void)sigaction(number, &mmi_view_old, NULL); /* done again, and no longer ours */
    errno = error;
}

MM_API mm_status mm_chunk_views_begin(void)
{
    struct sigaction action;
    if (mmi_view_users > 0) {
        mmi_view_users++;
        return MM_STATUS_OK;
    }
    memset(&action, 0, sizeof(action));
    mmi_sigaction_set(&action, mmi_view_fault);
    action.sa_flags = SA_SIGINFO;
    mmi_sigaction_clear_mask(&action);
    mmi_view_page = (size_t)sysconf(_SC_PAGESIZE);
    if (sigaction(SIGBUS, &action, &mmi_view_old) != 0) return mm_status_from_errno(errno);
    mmi_view_users++;
    return MM_STATUS_OK;
}

MM_API void mm_chunk_views_end(void)
{
    MM_ASSERT(mmi_view_users > 0);
    if (--mmi_view_users == 0) (void)sigaction(SIGBUS, &mmi_view_old, NULL);
}

/* A free slot, marked as taken; MMI_VIEW_SLOTS: there is none. */
static size_t mmi_view_slot_take(void)
{
    size_t i;
    for (i = 0; i < MMI_VIEW_SLOTS; i++) {
        size_t none = 0;
        if (mmi_atomic_load(&mmi_view_slots[i].base) != 0) continue;
        if (mmi_atomic_cas(&mmi_view_slots[i].base, &none, 1)) break;
    }
    return i;
}

static void mmi_view_release(mm_chunk_pool *pool, mm_chunk_view *view)
{
    if (--view->refs > 0) return;
    mmi_atomic_store(&mmi_view_slots[view->slot].base, 0);
    (void)MM_SYS_MUNMAP_FILE(view->base, view->size);
    mmi_free(pool->allocator, view, sizeof(*view));
}

/* Maps `size` bytes at `at` of the file. */
static mm_status mmi_view_map(mm_chunk_pool *pool, int fd, int64_t at, size_t size,
                              mm_chunk_view **made)
{
    mm_chunk_view *view;
    mmi_view_slot *slot;
    void *base = MAP_FAILED;
    if ((int64_t)(mmi_off)at != at) return MM_STATUS_TOO_LARGE;
    view = (mm_chunk_view *)mmi_chunk_alloc(pool, sizeof(*view));
    if (view == NULL) return MM_STATUS_NO_MEMORY;
    view->slot = mmi_view_slot_take();
    if (view->slot == MMI_VIEW_SLOTS) {
        mmi_free(pool->allocator, view, sizeof(*view));
        return MM_STATUS_LIMIT;
    }
    slot = &mmi_view_slots[view->slot];
    base = MM_SYS_MMAP_FILE(NULL, size, PROT_READ, MAP_SHARED, fd, (mmi_off)at);
    if (base == MAP_FAILED && (errno == EINVAL || errno == ENODEV)) /* file systems that cannot */
        base = MM_SYS_MMAP_FILE(NULL, size, PROT_READ, MAP_PRIVATE, fd, (mmi_off)at);
    if (base == MAP_FAILED) {
        mm_status status = mm_status_from_errno(errno);
        mmi_atomic_store(&slot->base, 0);
        mmi_free(pool->allocator, view, sizeof(*view));
        return status;
    }
    view->refs = 1;
    view->base = (char *)base;
    view->size = size;
    view->at = at;
    mmi_atomic_store(&slot->torn, 0);
    mmi_atomic_store(&slot->size, size);
    mmi_atomic_store(&slot->base, (size_t)(uintptr_t)base); /* last: now the trap looks at it */
    *made = view;
    return MM_STATUS_OK;
}

/* OK when the file has all that the chunk refers to. */
static mm_status mmi_view_check(const mm_chunk *c)
{
    mmi_stat st;
    if (MM_SYS_FSTAT(c->source->fd, &st) != 0) return mm_status_from_errno(errno);
    return (int64_t)st.st_size < c->end ? MM_STATUS_TRUNCATED : MM_STATUS_OK;
}

/* Makes the source's window one that has `least` bytes at the front of the chunk. */
static mm_status mmi_view_move(mm_chunk_pool *pool, mm_chunk *c, size_t least)
{
    mm_chunk_source *source = c->source;
    mm_chunk_view *view = source->view, *made = NULL;
    int64_t at = c->offset - c->offset % (int64_t)mmi_view_page;
    size_t size = MMI_VIEW_SIZE, skip = (size_t)(c->offset - at);
    mm_status status;
    if (view != NULL && view->at <= c->offset &&
        (uint64_t)(c->offset - view->at) + least <= view->size &&
        mmi_atomic_load(&mmi_view_slots[view->slot].torn) == 0)
        return MM_STATUS_OK;
    if (!mm_size_add(least, skip, &least)) return MM_STATUS_TOO_LARGE;
    if (size < least) size = least;
    if ((uint64_t)size > (uint64_t)(c->end - at)) size = (size_t)(c->end - at);
    status = mmi_view_map(pool, source->fd, at, size, &made);
    if (status != MM_STATUS_OK) return status;
    if (view != NULL) mmi_view_release(pool, view);
    source->view = made;
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunk_view_get(mm_chunk_pool *pool, mm_chunk *chunk, size_t least,
                                   mm_chunk_view **view, mm_slice *bytes)
{
    uint64_t size = (uint64_t)(chunk->end - chunk->offset);
    mm_chunk_view *window;
    mm_status status;
    MM_ASSERT(mmi_view_users > 0);
    *view = NULL;
    *bytes = mm_slice_make(NULL, 0);
    if (chunk->type == MM_CHUNK_MEM) {
        *bytes = mm_slice_make(mm_chunk_bytes(chunk), (size_t)size);
        return MM_STATUS_OK;
    }
    status = mm_chunk_open(chunk);
    if (status == MM_STATUS_OK) status = mmi_view_check(chunk);
    if (status != MM_STATUS_OK) return status;
    if (least == 0) least = 1;
    if (least > size) least = (size_t)size;
    status = mmi_view_move(pool, chunk, least);
    if (status != MM_STATUS_OK) return status;
    window = *view = chunk->source->view;
    window->refs++;
    bytes->ptr = window->base + (chunk->offset - window->at);
    bytes->len = window->size - (size_t)(chunk->offset - window->at);
    if (bytes->len > size) bytes->len = (size_t)size;
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunk_view_put(mm_chunk_pool *pool, mm_chunk *chunk, mm_chunk_view *view)
{
    bool torn;
    if (view == NULL) return MM_STATUS_OK;
    torn = mmi_atomic_load(&mmi_view_slots[view->slot].torn) != 0;
    mmi_view_release(pool, view);
    return torn ? MM_STATUS_TRUNCATED : mmi_view_check(chunk);
}
#endif

// >>pool

static void mmi_dir_close(mm_chunk_dir *dir)
{
    if (dir->fd >= 0) (void)MM_SYS_CLOSE(dir->fd);
    dir->fd = -1;
}

/* Opens the folder unless it is open; false: errno. Through a link the first time only, or when it
   was one then: who removed a folder may have put another one's link there. */
static bool mmi_dir_open(mm_chunk_dir *dir)
{
#ifdef MMI_DIRS
    const int flags = MMI_O_PATH | MMI_O_DIRECTORY | MMI_O_CLOEXEC;
    while (dir->fd < 0) {
        dir->fd = MM_SYS_OPEN(dir->path, dir->is_link ? flags : flags | MMI_O_NOFOLLOW, 0);
        if (dir->fd >= 0 || errno == EINTR) continue;
        if (dir->was_open) return false;
        dir->is_link = !dir->is_link && (errno == ENOTDIR || errno == ELOOP || errno == EMLINK);
        if (!dir->is_link) return false; /* neither way */
    }
    dir->was_open = true;
#else
    (void)dir;
#endif
    return true;
}

MM_API mm_status mm_chunk_pool_open_dirs(mm_chunk_pool *pool)
{
    mm_status status = MM_STATUS_OK;
    size_t i, count = 0;
    for (i = 0; i < pool->temp_dir_count; i++) {
        if (mmi_dir_open(&pool->temp_dirs[i])) count++;
        else status = mm_status_from_errno(errno);
    }
    return count > 0 ? MM_STATUS_OK : status;
}

static void mmi_temp_dirs_free(mm_chunk_pool *pool, size_t room)
{
    size_t i;
    for (i = 0; i < pool->temp_dir_count; i++) {
        mmi_dir_close(&pool->temp_dirs[i]);
        mmi_free(pool->allocator, pool->temp_dirs[i].path, pool->temp_dirs[i].path_size);
    }
    if (pool->temp_dirs != NULL)
        mmi_free(pool->allocator, pool->temp_dirs, room * sizeof(mm_chunk_dir));
    pool->temp_dirs = NULL;
    pool->temp_dir_count = 0;
}

static mm_status mmi_temp_dirs_copy(mm_chunk_pool *pool, const char *const *dirs, size_t count)
{
    size_t i, bytes;
    if (!mm_size_mul(count, sizeof(mm_chunk_dir), &bytes)) return MM_STATUS_TOO_LARGE;
    pool->temp_dirs = (mm_chunk_dir *)mmi_alloc(pool->allocator, bytes);
    if (pool->temp_dirs == NULL) return MM_STATUS_NO_MEMORY;
    memset(pool->temp_dirs, 0, bytes);
    for (i = 0; i < count; i++) {
        mm_chunk_dir *dir = &pool->temp_dirs[i];
        dir->fd = -1;
        dir->path_size = strlen(dirs[i]) + 1;
        dir->path = (char *)mmi_alloc(pool->allocator, dir->path_size);
        if (dir->path == NULL) {
            mmi_temp_dirs_free(pool, count);
            return MM_STATUS_NO_MEMORY;
        }
        memcpy(dir->path, dirs[i], dir->path_size);
        pool->temp_dir_count++;
    }
    return MM_STATUS_OK;
}

static mm_status mmi_temp_dirs_init(mm_chunk_pool *pool, const mm_chunk_pool_desc *desc)
{
    const char *fallback[2];
    if (desc->temp_dir_count > 0)
        return mmi_temp_dirs_copy(pool, desc->temp_dirs, desc->temp_dir_count);
    fallback[0] = getenv(MMI_TEMP_VARIABLE);
    if (fallback[0] == NULL || fallback[0][0] == '\0') fallback[0] = MMI_TEMP_DIR;
    fallback[1] = MMI_TEMP_DIR_LAST;
    return mmi_temp_dirs_copy(pool, fallback, 2);
}

MM_API mm_status mm_chunk_pool_init(mm_chunk_pool *pool, const mm_chunk_pool_desc *desc)
{
    mm_chunk_pool_desc defaults;
    memset(&defaults, 0, sizeof(defaults));
    if (desc == NULL) desc = &defaults;
    if (desc->chunk_size > (size_t)1 << 30 || desc->temp_file_size < 0 || desc->temp_quota < 0 ||
        desc->spill_at < 0)
        return MM_STATUS_INVALID;
    memset(pool, 0, sizeof(*pool));
    pool->allocator = desc->allocator;
    pool->chunk_size = desc->chunk_size == 0 ? MM_CHUNK_SIZE_DEFAULT
                                             : mm_size_pow2(desc->chunk_size);
    if (pool->chunk_size < 1024) pool->chunk_size = 1024;
    pool->regular.keep = desc->keep == 0 ? MMI_CHUNK_KEEP : desc->keep;
    pool->oversized.keep = desc->keep_oversized == 0 ? MMI_CHUNK_KEEP : desc->keep_oversized;
    pool->files.keep = desc->keep_files == 0 ? MMI_CHUNK_KEEP_FILES : desc->keep_files;
    pool->temp_file_size = desc->temp_file_size == 0 ? MMI_CHUNK_TEMP_FILE_SIZE
                                                     : desc->temp_file_size;
    pool->temp_quota = desc->temp_quota == 0 ? INT64_MAX : desc->temp_quota;
    pool->temp_budget = desc->temp_budget;
    pool->wipe = desc->wipe;
    pool->spill_at = desc->spill_at == 0 ? INT64_MAX : desc->spill_at;
    return mmi_temp_dirs_init(pool, desc);
}

MM_API void mm_chunk_pool_trim(mm_chunk_pool *pool, size_t bytes)
{
    mm_chunk_list *lists[3];
    size_t i, others;
    lists[0] = &pool->oversized;
    lists[1] = &pool->files;
    lists[2] = &pool->regular;
    for (i = 0; i < 3; i++) {
        others = mmi_pool_cached(pool) - pool->held * sizeof(mm_chunk);
        mmi_holders_trim(pool, lists[i], bytes > others ? bytes - others : 0);
        others = mmi_pool_cached(pool) - lists[i]->bytes;
        (void)mmi_list_trim(pool, lists[i], bytes > others ? bytes - others : 0, SIZE_MAX);
    }
}

MM_API size_t mm_chunk_pool_reclaim(size_t wanted, void *user_data)
{
    mm_chunk_pool *pool = (mm_chunk_pool *)user_data;
    size_t cached = mmi_pool_cached(pool);
    mm_chunk_pool_trim(pool, wanted < cached ? cached - wanted : 0);
    return cached - mmi_pool_cached(pool);
}

MM_API size_t mm_chunk_pool_decay(mm_chunk_pool *pool)
{
    return mmi_list_decay(pool, &pool->oversized) + mmi_list_decay(pool, &pool->regular) +
           mmi_list_decay(pool, &pool->files);
}

MM_API size_t mm_chunk_pool_deinit(mm_chunk_pool *pool)
{
    if (pool->stats.chunks > 0) return pool->stats.chunks;
    mm_chunk_pool_trim(pool, 0);
    mmi_temp_dirs_free(pool, pool->temp_dir_count);
    return 0;
}

MM_API mm_chunk_pool_stats mm_chunk_pool_get_stats(const mm_chunk_pool *pool)
{
    mm_chunk_pool_stats stats = pool->stats;
    stats.cached = pool->regular.bytes + pool->oversized.bytes;
    stats.cached_files = pool->files.bytes + pool->held * sizeof(mm_chunk);
    return stats;
}

// >>list: the chunks of a queue

/* Counts bytes of a chunk in (sign 1) or out (-1) of what the queue has in memory or on disk. */
static void mmi_queue_account(mm_chunkqueue *q, const mm_chunk *c, int64_t size, int sign)
{
    if (c->type == MM_CHUNK_MEM) q->memory += sign * size;
    else if (c->source->is_temp) q->disk += sign * size;
}

/* Puts the chunk behind `before`, or to the front when that is NULL. */
static void mmi_queue_insert(mm_chunkqueue *q, mm_chunk *before, mm_chunk *c)
{
    mm_chunk **link = before == NULL ? &q->first : &before->next;
    c->next = *link;
    *link = c;
    if (q->last == before) q->last = c;
    mmi_queue_account(q, c, c->end - c->offset, 1);
}

static mm_chunk *mmi_queue_remove(mm_chunkqueue *q, mm_chunk *before)
{
    mm_chunk **link = before == NULL ? &q->first : &before->next, *c = *link;
    *link = c->next;
    if (q->last == c) q->last = before;
    mmi_queue_account(q, c, c->end - c->offset, -1);
    return c;
}

/* Makes one of `c` and the next chunk when they are neighbours in the same file. */
static bool mmi_queue_merge_next(mm_chunkqueue *q, mm_chunk *c)
{
    mm_chunk *next = c == NULL ? NULL : c->next;
    if (next == NULL || c->type != MM_CHUNK_FILE || next->type != MM_CHUNK_FILE) return false;
    if (c->source != next->source || c->end != next->offset) return false;
    (void)mmi_queue_remove(q, c);
    mmi_queue_account(q, c, next->end - next->offset, 1);
    c->end = next->end;
    mmi_chunk_free(q->pool, next);
    return true;
}

/* Moves all chunks of `from` behind `before` in `to` (NULL: to the front). Counts of bytes moved in
   and out are the caller's. */
static void mmi_queue_splice(mm_chunkqueue *to, mm_chunk *before, mm_chunkqueue *from)
{
    mm_chunk **link = before == NULL ? &to->first : &before->next;
    if (from->first == NULL) return;
    from->last->next = *link;
    *link = from->first;
    if (to->last == before) to->last = from->last;
    to->memory += from->memory;
    to->disk += from->disk;
    from->first = from->last = NULL;
    from->memory = from->disk = 0;
}

/* Takes `n` bytes off behind `before` without counting them out. There are that many. */
static void mmi_queue_drop(mm_chunkqueue *q, mm_chunk *before, int64_t n)
{
    mm_chunk **link = before == NULL ? &q->first : &before->next, *c = *link;
    while (n > 0) {
        mm_chunk *next = c->next;
        int64_t size = c->end - c->offset;
        if (size > n) {
            c->offset += n;
            mmi_queue_account(q, c, n, -1);
            break;
        }
        mmi_queue_account(q, c, size, -1);
        mmi_chunk_free(q->pool, c);
        n -= size;
        c = next;
    }
    *link = c;
    if (c == NULL) q->last = before;
}

/* Tells of a watermark that was crossed. At the end of a call: the callback may call for the
   queue. */
static void mmi_queue_flow(mm_chunkqueue *q)
{
    int64_t length = mm_chunkqueue_length(q);
    if (!q->is_high && q->high == INT64_MAX) return;
    if (q->is_high ? length > q->low : length < q->high) return;
    q->is_high = !q->is_high;
    if (q->flow != NULL) q->flow(q, q->is_high, q->user_data);
}

/* Counts `size` more bytes that the list has. */
static void mmi_queue_came(mm_chunkqueue *q, int64_t size)
{
    q->bytes_in += size;
    if (MM_UNLIKELY(mm_chunkqueue_length(q) >= q->high)) mmi_queue_flow(q);
}

static void mmi_queue_left(mm_chunkqueue *q, int64_t size)
{
    q->bytes_out += size;
    if (MM_UNLIKELY(q->is_high)) mmi_queue_flow(q);
}

/* Whether `size` more bytes may be appended: the sticky status, or TOO_LARGE. */
static mm_status mmi_queue_admit(mm_chunkqueue *q, uint64_t size)
{
    if (q->status == MM_STATUS_OK && size > (uint64_t)(INT64_MAX - q->bytes_in))
        q->status = MM_STATUS_TOO_LARGE;
    return q->status;
}

/* Whether `size` more bytes in memory make the queue spill. */
static bool mmi_queue_must_spill(const mm_chunkqueue *q, uint64_t size)
{
    if (size == 0 || q->spill_at == INT64_MAX) return false;
    return q->memory > q->spill_at || size > (uint64_t)(q->spill_at - q->memory);
}

/* Bytes of content that may still go to temp files. */
static int64_t mmi_queue_disk_room(const mm_chunkqueue *q)
{
    return q->disk < q->disk_limit ? q->disk_limit - q->disk : 0;
}

/* Whether `size` more bytes may be appended and stay in memory: as above, or LIMIT. */
static mm_status mmi_queue_admit_memory(mm_chunkqueue *q, uint64_t size)
{
    mm_status status = mmi_queue_admit(q, size);
    if (status == MM_STATUS_OK && size > (uint64_t)mm_chunkqueue_room(q) && size > 0)
        status = q->status = MM_STATUS_LIMIT;
    return status;
}

// >>queue

MM_API void mm_chunkqueue_init(mm_chunkqueue *q, mm_chunk_pool *pool)
{
    memset(q, 0, sizeof(*q));
    q->pool = pool;
    q->spill_at = pool->spill_at;
    q->memory_limit = q->disk_limit = q->high = INT64_MAX;
}

static void mmi_queue_clear(mm_chunkqueue *q)
{
    mmi_chunks_free(q->pool, q->first);
    mmi_chunks_free(q->pool, q->reserved);
    q->first = q->last = q->reserved = NULL;
    q->tail_room = 0;
    q->bytes_in = q->bytes_out = q->memory = q->disk = 0;
    q->status = MM_STATUS_OK;
}

MM_API void mm_chunkqueue_reset(mm_chunkqueue *q)
{
    mmi_queue_clear(q);
    mmi_queue_flow(q);
}

MM_API void mm_chunkqueue_deinit(mm_chunkqueue *q)
{
    mmi_queue_clear(q);
    mm_chunkqueue_init(q, q->pool);
}

MM_API void mm_chunkqueue_set_flow(mm_chunkqueue *q, int64_t low, int64_t high,
                                   mm_chunkqueue_flow flow, void *user_data)
{
    MM_ASSERT(low >= 0 && low < high);
    q->low = low;
    q->high = high;
    q->flow = flow;
    q->user_data = user_data;
    mmi_queue_flow(q);
}

/* The block for the next of `size` bytes: larger than a regular one when they fill it, or when that
   is at most twice `grow`. */
static size_t mmi_chunk_fitting(const mm_chunk_pool *pool, size_t size, size_t grow)
{
    size_t fitting = pool->chunk_size, most = fitting * MMI_CHUNK_LARGE;
    if (grow < size / 2) grow = size / 2;
    while (fitting <= grow && fitting < most && fitting < (size_t)1 << 30) /* sizes have 32 bits */
        fitting *= 2;
    return fitting;
}

/* How large half of the next block may be: where small appends go on filling block after block, it
   is up to a quarter of all, and so is what it can waste. The last one has `room` left, which is
   about to be filled. */
static size_t mmi_queue_grow(const mm_chunkqueue *q, size_t room)
{
    const mm_chunk_source *source = q->last->source;
    if (q->last->end + (int64_t)room != source->limit) return 0;
    return q->memory / 8 < (int64_t)source->mem.size ? (size_t)(q->memory / 8) : source->mem.size;
}

/* A list of chunks with a copy of `size` > 0 bytes, up to *last. NULL: out of memory. */
static mm_chunk *mmi_chunks_copy(mm_chunk_pool *pool, const char *bytes, size_t size, size_t grow,
                                 mm_chunk **last)
{
    mm_chunk *first = NULL, **link = &first;
    while (size > 0) {
        mm_chunk *c = mmi_chunk_memory(pool, mmi_chunk_fitting(pool, size, grow));
        size_t n = size;
        if (c == NULL) {
            mmi_chunks_free(pool, first);
            return NULL;
        }
        if (n > (size_t)c->own.limit) n = (size_t)c->own.limit;
        mmi_chunk_add(pool, c, bytes, n);
        bytes += n;
        size -= n;
        *link = *last = c;
        link = &c->next;
    }
    return first;
}

/* Appends what stays in memory. */
static mm_status mmi_queue_append_copy(mm_chunkqueue *q, const char *bytes, size_t size)
{
    mm_chunk *tail = q->last, *made = NULL, *last = NULL;
    size_t room = tail == NULL ? 0 : mmi_chunk_room(tail), part = size < room ? size : room;
    mm_status status = mmi_queue_admit_memory(q, size);
    if (status != MM_STATUS_OK || size == 0) return status;
    if (size > part) {
        size_t grow = tail == NULL ? 0 : mmi_queue_grow(q, part);
        made = mmi_chunks_copy(q->pool, bytes + part, size - part, grow, &last);
        if (made == NULL) return q->status = MM_STATUS_NO_MEMORY;
    }
    if (part > 0) mmi_chunk_add(q->pool, tail, bytes, part);
    if (made != NULL) {
        if (tail == NULL) q->first = made;
        else tail->next = made;
        q->last = last;
    }
    q->memory += (int64_t)size;
    mmi_queue_came(q, (int64_t)size);
    return MM_STATUS_OK;
}

static mm_status mmi_queue_append_spilled(mm_chunkqueue *q, const char *bytes, uint64_t size);

/* Whether bytes had better go straight to the temp file that the queue ends in: to copy them to
   memory, from where they would soon follow, pays only while they are few. */
static bool mmi_queue_spills_on(const mm_chunkqueue *q, size_t size)
{
    const mm_chunk *c = q->last;
    return size >= MMI_CHUNK_DIRECT && q->memory == 0 && c != NULL && c->type == MM_CHUNK_FILE &&
           c->source->is_temp;
}

MM_API mm_status mmi_chunkqueue_append(mm_chunkqueue *q, const void *bytes, size_t size)
{
    if (q->spill_at != INT64_MAX &&
        (mmi_queue_must_spill(q, size) || mmi_queue_spills_on(q, size)))
        return mmi_queue_append_spilled(q, (const char *)bytes, size);
    return mmi_queue_append_copy(q, (const char *)bytes, size);
}

MM_API mm_status mm_chunkqueue_append_exact(mm_chunkqueue *q, const void *bytes, size_t size)
{
    mm_chunk *c;
    char *ptr;
    mm_status status;
    if (mmi_queue_must_spill(q, size))
        return mmi_queue_append_spilled(q, (const char *)bytes, size);
    status = mmi_queue_admit_memory(q, size);
    if (status != MM_STATUS_OK || size == 0) return status;
    if (size > MM_BUFFER_LENGTH_MAX) return q->status = MM_STATUS_TOO_LARGE;
    c = mmi_chunk_new(q->pool, MM_CHUNK_MEM);
    ptr = c == NULL ? NULL : (char *)mmi_chunk_alloc(q->pool, size);
    if (ptr == NULL) {
        if (c != NULL) mmi_chunk_free(q->pool, c);
        return q->status = MM_STATUS_NO_MEMORY;
    }
    mmi_chunk_set_memory(q->pool, c, ptr, size);
    c->own.charged = 0;
    mmi_source_charge(q->pool, &c->own);
    mmi_chunk_add(q->pool, c, bytes, size);
    mmi_queue_insert(q, q->last, c);
    mmi_queue_came(q, (int64_t)size);
    return status;
}

/* Makes what the chunk's buffer has the chunk's content. */
static void mmi_chunk_close(mm_chunk_pool *pool, mm_chunk *c)
{
    mm_chunk_source *source = &c->own;
    source->bytes = source->mem.ptr;
    c->end = (int64_t)mm_buffer_length(&source->mem);
    source->limit = (int64_t)source->mem.size;
    source->mem.used = 0;
    if (source->mem.ptr != NULL) mmi_chunk_grow(c, 0);
    mmi_source_charge(pool, source);
}

/* Moves the buffer's memory into a chunk, and gives it a pooled block that is free. */
static mm_status mmi_queue_append_moved(mm_chunkqueue *q, mm_buffer *b)
{
    mm_chunk_pool *pool = q->pool;
    mm_chunk *c = mmi_chunk_new(pool, MM_CHUNK_MEM);
    if (c == NULL) return q->status = MM_STATUS_NO_MEMORY;
    c->own.mem = *b;
    mmi_chunk_close(pool, c);
    mm_buffer_init(b, c->own.mem.allocator);
    if (b->allocator == pool->allocator && pool->regular.first != NULL)
        (void)!mmi_block_get(pool, b, 0);
    mmi_queue_insert(q, q->last, c);
    mmi_queue_came(q, c->end);
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_append_buffer(mm_chunkqueue *q, mm_buffer *b)
{
    size_t length = mm_buffer_length(b);
    mm_status status = q->status;
    if (status == MM_STATUS_OK) status = q->status = mm_buffer_status(b);
    if (status != MM_STATUS_OK) return status;
    if (length >= MMI_CHUNK_MOVE && !b->is_borrowed && !mmi_queue_must_spill(q, length)) {
        status = mmi_queue_admit_memory(q, length);
        return status == MM_STATUS_OK ? mmi_queue_append_moved(q, b) : status;
    }
    status = mm_chunkqueue_append_mem(q, mm_buffer_string(b), length);
    if (status == MM_STATUS_OK) mm_buffer_clear(b);
    return status;
}

MM_API mm_status mm_chunkqueue_append_reference(mm_chunkqueue *q, const void *bytes, int64_t size,
                                                mm_chunk_release release, void *user_data)
{
    mm_chunk *c;
    mm_status status = size < 0 && q->status == MM_STATUS_OK ? q->status = MM_STATUS_INVALID
                                                             : q->status;
    if (status != MM_STATUS_OK) return status;
    if (size == 0 || mmi_queue_must_spill(q, (uint64_t)size)) {
        if (size > 0) status = mmi_queue_append_spilled(q, (const char *)bytes, (uint64_t)size);
        if (status == MM_STATUS_OK && release != NULL) release(bytes, size, user_data);
        return status;
    }
    status = mmi_queue_admit_memory(q, (uint64_t)size);
    if (status != MM_STATUS_OK) return status;
    c = mmi_chunk_new(q->pool, MM_CHUNK_MEM);
    if (c == NULL) return q->status = MM_STATUS_NO_MEMORY;
    c->own.bytes = (const char *)bytes;
    c->own.length = c->own.limit = c->end = size;
    c->own.release = release;
    c->own.ref = user_data;
    mmi_queue_insert(q, q->last, c);
    mmi_queue_came(q, size);
    return MM_STATUS_OK;
}

static void mmi_shared_release(const void *bytes, int64_t size, void *user_data)
{
    (void)bytes;
    (void)size;
    (void)mm_shared_release((mm_shared *)user_data);
}

MM_API mm_status mm_chunkqueue_append_shared(mm_chunkqueue *q, mm_shared *shared)
{
    mm_slice bytes = mm_shared_slice(shared);
    mm_status status = mmi_queue_admit(q, bytes.len);
    if (status != MM_STATUS_OK || bytes.len == 0) return status;
    (void)mm_shared_retain(shared);
    status = mm_chunkqueue_append_reference(q, bytes.ptr, (int64_t)bytes.len, mmi_shared_release,
                                            shared);
    if (status != MM_STATUS_OK) (void)mm_shared_release(shared);
    return status;
}

static mm_status mmi_queue_admit_range(mm_chunkqueue *q, int64_t offset, int64_t length)
{
    if (q->status != MM_STATUS_OK) return q->status;
    if (offset < 0 || length < 0) return q->status = MM_STATUS_INVALID;
    if (length > INT64_MAX - offset) return q->status = MM_STATUS_TOO_LARGE;
    return mmi_queue_admit(q, (uint64_t)length);
}

/* Links a FILE chunk whose range has been admitted. */
static mm_status mmi_queue_append_range(mm_chunkqueue *q, mm_chunk *c, int64_t offset,
                                        int64_t length)
{
    c->offset = offset;
    c->end = offset + length;
    mmi_queue_insert(q, q->last, c);
    mmi_queue_came(q, length);
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_append_file(mm_chunkqueue *q, const char *path, int64_t offset,
                                           int64_t length)
{
    mm_chunk *c;
    mm_status status = mmi_queue_admit_range(q, offset, length);
    if (status != MM_STATUS_OK || length == 0) return status;
    c = mmi_chunk_new(q->pool, MM_CHUNK_FILE);
    if (c == NULL) return q->status = MM_STATUS_NO_MEMORY;
    status = mm_buffer_copy_string(&c->own.mem, path);
    if (status == MM_STATUS_OK) return mmi_queue_append_range(q, c, offset, length);
    mmi_chunk_free(q->pool, c);
    return q->status = status;
}

MM_API mm_status mm_chunkqueue_append_fd_ref(mm_chunkqueue *q, int fd, int64_t offset,
                                             int64_t length, mm_chunk_refchg refchg, void *ref)
{
    mm_chunk *c;
    mm_status status = mmi_queue_admit_range(q, offset, length);
    MM_ASSERT(fd >= 0);
    if (status != MM_STATUS_OK || length == 0) return status;
    c = mmi_chunk_new(q->pool, MM_CHUNK_FILE);
    if (c == NULL) return q->status = MM_STATUS_NO_MEMORY;
    c->own.fd = fd;
    c->own.refchg = refchg;
    c->own.ref = ref;
    if (refchg != NULL) refchg(ref, 1);
    return mmi_queue_append_range(q, c, offset, length);
}

MM_API mm_status mm_chunkqueue_append_fd(mm_chunkqueue *q, int fd, int64_t offset, int64_t length)
{
    mm_status status = mm_chunkqueue_append_fd_ref(q, fd, offset, length, NULL, NULL);
    if (status == MM_STATUS_OK && length == 0) (void)MM_SYS_CLOSE(fd);
    return status;
}

// >>in place

MM_API size_t mm_chunkqueue_get_spans(mm_chunkqueue *q, size_t least, mm_chunk_span *spans,
                                      size_t max)
{
    mm_chunk *tail = q->last;
    size_t room = 0, count = 0, had = 0;
    int64_t limit = mm_chunkqueue_room(q);
    MM_ASSERT(q->reserved == NULL && q->tail_room == 0 && max > 0);
    if (limit > INT64_MAX - q->bytes_in) limit = INT64_MAX - q->bytes_in;
    if (q->bytes_in == INT64_MAX && q->status == MM_STATUS_OK) q->status = MM_STATUS_TOO_LARGE;
    if (q->status != MM_STATUS_OK || limit == 0) return 0;
    if ((uint64_t)least > (uint64_t)limit) least = (size_t)limit;
    if (tail != NULL && tail->source->refs == 1) room = mmi_chunk_room(tail);
    if (room > 0 && (max > 1 || room >= least)) {
        spans[0].ptr = mmi_chunk_tail(tail, room);
        spans[0].size = q->tail_room = room;
        had = room;
        count = 1;
    }
    while (count < max && (count == 0 || had < least)) {
        size_t want = count + 1 == max && least > had ? least - had : 0;
        mm_chunk *c = mmi_chunk_memory(q->pool, want);
        if (c == NULL) {
            mm_chunkqueue_use_memory(q, 0);
            return 0;
        }
        c->next = q->reserved; /* the last one first: turned round when they are used */
        q->reserved = c;
        spans[count].size = mmi_chunk_room(c);
        spans[count].ptr = mmi_chunk_tail(c, spans[count].size);
        had += spans[count++].size;
    }
    if ((uint64_t)had > (uint64_t)limit) /* only the last place goes beyond it */
        spans[count - 1].size -= had - (size_t)limit;
    return count;
}

MM_API char *mm_chunkqueue_get_memory(mm_chunkqueue *q, size_t least, size_t *size)
{
    mm_chunk_span span;
    size_t count = mm_chunkqueue_get_spans(q, least, &span, 1);
    *size = count == 0 ? 0 : span.size;
    return count == 0 ? NULL : span.ptr;
}

/* The chunks that hold what was handed out, the first one first. */
static mm_chunk *mmi_queue_take_reserved(mm_chunkqueue *q)
{
    mm_chunk *c = q->reserved, *first = NULL;
    while (c != NULL) {
        mm_chunk *next = c->next;
        c->next = first;
        first = c;
        c = next;
    }
    q->reserved = NULL;
    return first;
}

MM_API void mm_chunkqueue_use_memory(mm_chunkqueue *q, size_t n)
{
    mm_chunk *c = mmi_queue_take_reserved(q);
    size_t part = n < q->tail_room ? n : q->tail_room, left = n - part;
    if (q->tail_room > 0) {
        mmi_chunk_grow(q->last, part);
        q->memory += (int64_t)part;
    }
    q->tail_room = 0;
    if (part == 0 && left > 0 && left <= MMI_CHUNK_MOVE && q->last != NULL &&
        mmi_chunk_room(q->last) >= left) { /* a few bytes do not need a chunk */
        q->memory += (int64_t)mmi_chunk_fill(q->pool, q->last, c->own.bytes, left);
        left = 0;
    }
    while (c != NULL && left > 0) {
        mm_chunk *next = c->next;
        size_t room = mmi_chunk_room(c), size = left < room ? left : room;
        mmi_chunk_grow(c, size);
        mmi_queue_insert(q, q->last, c);
        left -= size;
        c = next;
    }
    MM_ASSERT(left == 0);
    mmi_chunks_free(q->pool, c);
    if (n > left) mmi_queue_came(q, (int64_t)(n - left));
}

MM_API mm_buffer *mm_chunkqueue_append_open(mm_chunkqueue *q, size_t least)
{
    MM_ASSERT(q->reserved == NULL && q->tail_room == 0);
    if (mmi_queue_admit(q, 1) != MM_STATUS_OK || mm_chunkqueue_room(q) == 0) return NULL;
    if (least > MM_BUFFER_LENGTH_MAX) return NULL;
    q->reserved = mmi_chunk_memory(q->pool, least + 1);
    if (q->reserved == NULL) return NULL;
    mmi_block_open(&q->reserved->own.mem);
    return &q->reserved->own.mem;
}

MM_API mm_buffer *mm_chunkqueue_prepend_open(mm_chunkqueue *q, size_t least)
{
    return mm_chunkqueue_append_open(q, least);
}

/* Closes the open buffer: the chunk with its content in *c; NULL when there is nothing to add. */
static mm_status mmi_queue_close(mm_chunkqueue *q, bool may_spill, mm_chunk **c)
{
    mm_chunk *made = q->reserved;
    mm_buffer *mem = &made->own.mem;
    size_t length = mm_buffer_length(mem);
    mm_status status = mm_buffer_status(mem);
    MM_ASSERT(made->next == NULL);
    q->reserved = NULL;
    *c = NULL;
    mmi_chunk_close(q->pool, made);
    if (status != MM_STATUS_OK) q->status = status;
    else if (may_spill && mmi_queue_must_spill(q, length))
        status = mmi_queue_append_spilled(q, mem->ptr, length);
    else {
        status = mmi_queue_admit_memory(q, length);
        if (status == MM_STATUS_OK && length > 0) {
            *c = made;
            return MM_STATUS_OK;
        }
    }
    mmi_chunk_free(q->pool, made);
    return status;
}

MM_API mm_status mm_chunkqueue_append_commit(mm_chunkqueue *q)
{
    mm_chunk *c;
    mm_status status = mmi_queue_close(q, true, &c);
    int64_t size;
    if (c == NULL) return status;
    size = c->end;
    if (size <= MMI_CHUNK_MOVE && q->last != NULL && (int64_t)mmi_chunk_room(q->last) >= size) {
        q->memory += (int64_t)mmi_chunk_fill(q->pool, q->last, c->own.bytes, (size_t)size);
        mmi_chunk_free(q->pool, c);
    } else mmi_queue_insert(q, q->last, c);
    mmi_queue_came(q, size);
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_prepend_commit(mm_chunkqueue *q)
{
    mm_chunk *c;
    mm_status status = mmi_queue_close(q, false, &c);
    if (c == NULL) return status;
    mmi_queue_insert(q, NULL, c);
    mmi_queue_came(q, c->end);
    return MM_STATUS_OK;
}

/* Bytes in front of the chunk that were drained, and are nobody else's. */
static size_t mmi_chunk_gap(const mm_chunk *c)
{
    if (c == NULL || c->type != MM_CHUNK_MEM || c->source->refs > 1 || c->source->mem.ptr == NULL)
        return 0;
    return (size_t)c->offset;
}

MM_API mm_status mm_chunkqueue_prepend_mem(mm_chunkqueue *q, const void *bytes, size_t size)
{
    mm_chunk *made, *last = NULL;
    mm_status status = mmi_queue_admit_memory(q, size);
    if (status != MM_STATUS_OK || size == 0) return status;
    if (mmi_chunk_gap(q->first) >= size) {
        q->first->offset -= (int64_t)size;
        memcpy(q->first->source->mem.ptr + q->first->offset, bytes, size);
        q->pool->stats.copied += size;
    } else {
        made = mmi_chunks_copy(q->pool, (const char *)bytes, size, 0, &last);
        if (made == NULL) return q->status = MM_STATUS_NO_MEMORY;
        last->next = q->first;
        q->first = made;
        if (q->last == NULL) q->last = last;
    }
    q->memory += (int64_t)size;
    mmi_queue_came(q, (int64_t)size);
    return MM_STATUS_OK;
}

// >>temp files

/* Counts bytes that are to go to temp files; NO_SPACE when the quota or the budget has none. */
static mm_status mmi_disk_charge(mm_chunk_pool *pool, int64_t size)
{
    if (size > pool->temp_quota - pool->stats.temp_live) return MM_STATUS_NO_SPACE;
    if (pool->temp_budget != NULL) {
        if ((uint64_t)size > SIZE_MAX) return MM_STATUS_NO_SPACE;
        if (mm_budget_charge(pool->temp_budget, (size_t)size) != MM_STATUS_OK)
            return MM_STATUS_NO_SPACE;
    }
    pool->stats.temp_live += size;
    return MM_STATUS_OK;
}

#ifdef MMI_PWRITEV
MM_UNUSED static ssize_t mmi_pwritev(int fd, const struct iovec *iov, int count, int64_t offset)
{
    return (ssize_t)syscall(SYS_pwritev, fd, iov, (unsigned long)count, (long)offset,
                            (long)(offset >> (sizeof(long) * 4) >> (sizeof(long) * 4)));
}
#endif

/* One write of up to `size` bytes that lie `skip` bytes into the slices. */
static ssize_t mmi_temp_write_some(int fd, const mm_slice *slices, uint64_t skip, uint64_t size,
                                   int64_t at)
{
    for (; skip >= slices->len; slices++) skip -= slices->len;
#ifdef MMI_PWRITEV
    {
        struct iovec iov[MMI_CHUNK_IOV];
        int count = 0;
        while (size > 0 && count < MMI_CHUNK_IOV) {
            size_t n = slices->len - (size_t)skip;
            if (n > size) n = (size_t)size;
            iov[count].iov_base = (void *)(uintptr_t)(slices->ptr + skip);
            iov[count++].iov_len = n;
            size -= n;
            skip = 0;
            slices++;
        }
        return MM_SYS_PWRITEV(fd, iov, count, at);
    }
#else
    {
        size_t n = slices->len - (size_t)skip;
        if (n > size) n = (size_t)size;
        errno = EFBIG; /* for a 32-bit off_t */
        if ((int64_t)(mmi_off)at != at) return -1;
        return MM_SYS_PWRITE(fd, slices->ptr + skip, n, (mmi_off)at);
    }
#endif
}

/* Writes `size` bytes that lie `skip` bytes into the slices behind what the temp file has. On
   failure that is still its end, and what fitted is given back: the disk may be full because of
   it. */
static mm_status mmi_temp_append(mm_chunk_pool *pool, mm_chunk_source *temp, const mm_slice *slices,
                                 uint64_t skip, int64_t size)
{
    int64_t done = 0;
    while (done < size) {
        ssize_t n = mmi_temp_write_some(temp->fd, slices, skip + (uint64_t)done,
                                        (uint64_t)(size - done), temp->length + done);
        if (n > 0) done += n;
        else if (n == 0 || errno != EINTR) {
            int error = errno;
            mm_status status = n == 0 ? MM_STATUS_NO_SPACE : mm_status_from_errno(error);
            if (done > 0) (void)!MM_SYS_FTRUNCATE(temp->fd, (mmi_off)temp->length);
            errno = error;
            return status;
        }
    }
    temp->length += size;
    pool->stats.temp_bytes += size;
    return MM_STATUS_OK;
}

/* Takes back what was appended to the file since it had `length` bytes. */
static void mmi_temp_cut(mm_chunk_pool *pool, mm_chunk_source *temp, int64_t length)
{
    int error = errno;
    if (temp->length > length) {
        (void)!MM_SYS_FTRUNCATE(temp->fd, (mmi_off)length);
        mmi_disk_release(pool, temp->length - length);
        temp->length = length;
    }
    errno = error;
}

#ifndef MMI_DIRS /* paths, and the calls that take one */
#define MMI_TEMP_OPEN(dir, name, flags) MM_SYS_OPEN(name, flags, 0600)
#define MMI_TEMP_UNLINK(dir, name) MM_SYS_UNLINK(name)
#else
#define MMI_TEMP_OPEN(dir, name, flags) MM_SYS_OPEN_TEMP((dir)->fd, name, flags, 0600)
#define MMI_TEMP_UNLINK(dir, name) MM_SYS_UNLINK_TEMP((dir)->fd, name)
#endif

/* Opens a file that has a name only for as long as it takes to unlink it. */
static int mmi_temp_open_named(mm_chunk_pool *pool, const mm_chunk_dir *dir)
{
    mm_buffer name;
    int fd = -1, tries;
    mm_buffer_init(&name, pool->allocator);
    for (tries = 0; tries < MMI_CHUNK_TEMP_NAMES; tries++) {
        mm_buffer_clear(&name);
#ifndef MMI_DIRS
        mm_buffer_append_string(&name, dir->path);
        mm_buffer_append_char(&name, '/');
#endif
        mm_buffer_append_string(&name, "mm-");
        mm_buffer_append_uint(&name, (uint64_t)getpid());
        mm_buffer_append_char(&name, '-');
        mm_buffer_append_hex(&name, (uint64_t)time(NULL), 0);
        mm_buffer_append_char(&name, '-');
        mm_buffer_append_hex(&name, pool->temp_name++ + ((uint64_t)(uintptr_t)pool << 8), 0);
        errno = ENOMEM;
        if (mm_buffer_status(&name) != MM_STATUS_OK) break;
        fd = MMI_TEMP_OPEN(dir, mm_buffer_string(&name),
                           O_RDWR | O_CREAT | O_EXCL | MMI_O_TEMPORARY | MMI_O_CLOEXEC);
        if (fd >= 0 || (errno != EEXIST && errno != EINTR)) break;
    }
    if (fd >= 0 && MMI_O_TEMPORARY == 0) (void)MMI_TEMP_UNLINK(dir, mm_buffer_string(&name));
    mm_buffer_deinit(&name);
    return fd;
}

static int mmi_temp_open_in(mm_chunk_pool *pool, const mm_chunk_dir *dir)
{
#ifdef MMI_O_TMPFILE
#ifdef MMI_DIRS
    const char *here = ".";
#else
    const char *here = dir->path;
#endif
    int fd;
    do {
        fd = MMI_TEMP_OPEN(dir, here, MMI_O_TMPFILE | O_RDWR | O_EXCL | MMI_O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
#endif
    return mmi_temp_open_named(pool, dir);
}

/* Whether the folder was removed after it was opened. Systems refuse a file there for reasons that
   differ (Linux 6: EPERM), but it has lost its links. */
static bool mmi_dir_is_gone(const mm_chunk_dir *dir)
{
    int error = errno;
    mmi_stat st;
    bool is_gone = dir->fd >= 0 && error != ENOSPC && error != EMFILE && error != ENFILE &&
                   (error == ENOENT || MM_SYS_FSTAT(dir->fd, &st) != 0 || st.st_nlink == 0);
    errno = error;
    return is_gone;
}

/* A new temp file in the folder; -1: errno. In a folder that was removed there can be none: perhaps
   it was made anew. */
static int mmi_temp_open(mm_chunk_pool *pool, mm_chunk_dir *dir)
{
    int fd = mmi_dir_open(dir) ? mmi_temp_open_in(pool, dir) : -1;
    if (fd >= 0 || !mmi_dir_is_gone(dir)) return fd;
    mmi_dir_close(dir);
    return mmi_dir_open(dir) ? mmi_temp_open_in(pool, dir) : -1;
}

/* What to say when no directory would do: that one is full rather than that another is missing, and
   never NOT_FOUND, which would be about a file of the caller's. */
static mm_status mmi_temp_worse(mm_status a, mm_status b)
{
    if (b == MM_STATUS_NOT_FOUND) b = MM_STATUS_IO;
    return a == MM_STATUS_NO_SPACE ? a : b;
}

/* Whether the directory failed so lately that others come first. A clock that was set back does not
   make that longer. */
static bool mmi_dir_rests(const mm_chunk_dir *dir, int64_t now)
{
    return dir->is_bad && now >= dir->bad_at && now - dir->bad_at < MMI_CHUNK_REST;
}

/* The next directory to try; those that rest come when all others have failed. NULL: none left. */
static mm_chunk_dir *mmi_dir_next(mm_chunk_pool *pool, uint64_t attempt, int64_t now)
{
    mm_chunk_dir *resting = NULL;
    size_t i;
    for (i = 0; i < pool->temp_dir_count; i++) {
        mm_chunk_dir *dir = &pool->temp_dirs[i];
        if (dir->attempt == attempt) continue;
        if (!mmi_dir_rests(dir, now)) return dir;
        if (resting == NULL) resting = dir;
    }
    return resting;
}

/* Makes `source` a new temp file that holds the bytes, in the first directory that takes them. On
   failure it is as before, and *status is worse. */
static mm_status mmi_temp_begin(mm_chunk_pool *pool, mm_chunk_source *source,
                                const mm_slice *slices, uint64_t skip, int64_t size,
                                mm_status result)
{
    uint64_t attempt = ++pool->temp_attempts;
    int64_t now = (int64_t)MM_SYS_TIME();
    mm_chunk_dir *dir;
    while ((dir = mmi_dir_next(pool, attempt, now)) != NULL) {
        mm_status status;
        dir->attempt = attempt;
        source->fd = mmi_temp_open(pool, dir);
        status = source->fd < 0 ? mm_status_from_errno(errno)
                                : mmi_temp_append(pool, source, slices, skip, size);
        if (status == MM_STATUS_OK) {
            dir->is_bad = false;
            source->is_temp = true;
            pool->stats.temp_files++;
            pool->stats.temp_opened++;
            return MM_STATUS_OK;
        }
        if (source->fd >= 0) (void)MM_SYS_CLOSE(source->fd);
        source->fd = -1;
        pool->stats.temp_failed++;
        result = mmi_temp_worse(result, status);
        if (status == MM_STATUS_NO_FILES || status == MM_STATUS_NO_MEMORY) continue;
        dir->is_bad = true; /* the above are not the directory's fault */
        dir->bad_at = now;
    }
    return result;
}

// >>spill

/* A chunk with the next of the bytes, in the temp file `temp` if that is there, not too long and
   works, else in a new one. NULL: *status. */
static mm_chunk *mmi_spill_piece(mm_chunk_pool *pool, mm_chunk_source *temp, const mm_slice *slices,
                                 uint64_t skip, int64_t size, mm_status *status)
{
    mm_status result = MM_STATUS_IO;
    mm_chunk *c = mmi_chunk_new(pool, MM_CHUNK_FILE);
    *status = MM_STATUS_NO_MEMORY;
    if (c == NULL) return NULL;
    if (temp != NULL && temp->length < pool->temp_file_size) {
        int64_t room = pool->temp_file_size - temp->length, n = size < room ? size : room;
        *status = result = mmi_temp_append(pool, temp, slices, skip, n);
        if (result == MM_STATUS_OK) {
            c->own.refs = 0;
            c->source = temp;
            temp->refs++;
            c->end = temp->length;
            c->offset = c->end - n;
            return c;
        }
    }
    if (size > pool->temp_file_size) size = pool->temp_file_size;
    *status = mmi_temp_begin(pool, &c->own, slices, skip, size, result);
    c->end = size;
    if (*status == MM_STATUS_OK) return c;
    mmi_chunk_free(pool, c);
    return NULL;
}

/* Writes `size` > 0 bytes, those of the slices, to temp files and puts the chunks into the empty
   queue `made`. *temp (or NULL) is the file to go on with, and becomes the one written last; the
   caller holds a reference to it. On failure nothing has changed. */
static mm_status mmi_spill_write(mm_chunkqueue *made, mm_chunk_source **temp,
                                 const mm_slice *slices, uint64_t size)
{
    mm_chunk_pool *pool = made->pool;
    mm_chunk_source *now = *temp;
    int64_t mark = now == NULL ? 0 : now->length;
    uint64_t done = 0;
    mm_status status = mmi_disk_charge(pool, (int64_t)size);
    if (status != MM_STATUS_OK) return status;
    while (done < size) {
        mm_chunk *c = mmi_spill_piece(pool, now, slices, done, (int64_t)(size - done), &status);
        if (c == NULL) {
            mmi_disk_release(pool, (int64_t)(size - done));
            mmi_queue_clear(made);
            if (*temp != NULL) mmi_temp_cut(pool, *temp, mark);
            return status;
        }
        now = c->source;
        done += (uint64_t)(c->end - c->offset);
        mmi_queue_insert(made, made->last, c);
    }
    now->refs++;
    if (*temp != NULL) mmi_source_release(pool, *temp, MM_CHUNK_FILE);
    *temp = now;
    return MM_STATUS_OK;
}

static void mmi_temp_follow(mm_chunk_pool *pool, mm_chunk_source **temp, mm_chunk_source *source)
{
    if (source == *temp) return;
    if (*temp != NULL) mmi_source_release(pool, *temp, MM_CHUNK_FILE);
    *temp = source;
    source->refs++;
}

/* Spills the MEM chunks behind `before` (NULL: from the front), as many as one write takes.
   Returns the chunk that is last in their place, or NULL: *status. */
static mm_chunk *mmi_queue_spill_run(mm_chunkqueue *q, mm_chunk *before, mm_chunk_source **temp,
                                     mm_status *status)
{
    mm_chunkqueue made;
    mm_slice slices[MMI_CHUNK_IOV];
    mm_chunk *c = before == NULL ? q->first : before->next, *last;
    uint64_t size = 0;
    size_t count = 0;
    bool is_one;
    do {
        slices[count].ptr = mm_chunk_bytes(c);
        slices[count].len = (size_t)(c->end - c->offset);
        size += slices[count++].len;
        c = c->next;
    } while (c != NULL && c->type == MM_CHUNK_MEM && count < MMI_CHUNK_IOV);
    mm_chunkqueue_init(&made, q->pool);
    *status = mmi_spill_write(&made, temp, slices, size);
    if (*status != MM_STATUS_OK) return NULL;
    for (; count > 0; count--) mmi_chunk_free(q->pool, mmi_queue_remove(q, before));
    last = made.last;
    is_one = made.first == last;
    mmi_queue_splice(q, before, &made);
    return mmi_queue_merge_next(q, before) && is_one ? before : last;
}

/* Spills all memory of the queue. *temp is the file that was written last, with a reference; at the
   beginning, what to go on with, or NULL. */
static mm_status mmi_queue_spill(mm_chunkqueue *q, mm_chunk_source **temp)
{
    mm_chunk *before = NULL;
    mm_status status = MM_STATUS_OK;
    if (q->memory > mmi_queue_disk_room(q)) return MM_STATUS_LIMIT;
    while (q->memory > 0) {
        mm_chunk *c = before == NULL ? q->first : before->next;
        if (c->type == MM_CHUNK_MEM) c = mmi_queue_spill_run(q, before, temp, &status);
        else if (c->source->is_temp) mmi_temp_follow(q->pool, temp, c->source);
        if (c == NULL) return status;
        before = c;
    }
    if (q->last != NULL && q->last->type == MM_CHUNK_FILE && q->last->source->is_temp)
        mmi_temp_follow(q->pool, temp, q->last->source);
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_spill(mm_chunkqueue *q)
{
    mm_chunk_source *temp = NULL;
    mm_status status = mmi_queue_spill(q, &temp);
    if (temp != NULL) mmi_source_release(q->pool, temp, MM_CHUNK_FILE);
    return status;
}

/* Appends bytes by way of a temp file: first what is in memory, so that the order stays. */
static mm_status mmi_queue_append_spilled(mm_chunkqueue *q, const char *bytes, uint64_t size)
{
    mm_chunkqueue made;
    mm_chunk_source *temp = NULL;
    mm_slice slice;
    mm_chunk *before;
    mm_status status = mmi_queue_admit(q, size);
    if (status != MM_STATUS_OK) return status;
    slice.ptr = bytes;
    slice.len = (size_t)size; /* the bytes are in memory, so they can be counted */
    mm_chunkqueue_init(&made, q->pool);
    if (size > (uint64_t)mmi_queue_disk_room(q)) status = MM_STATUS_LIMIT;
    if (status == MM_STATUS_OK) status = mmi_queue_spill(q, &temp);
    if (status == MM_STATUS_OK && size > (uint64_t)mmi_queue_disk_room(q))
        status = MM_STATUS_LIMIT;
    if (status == MM_STATUS_OK) status = mmi_spill_write(&made, &temp, &slice, size);
    if (temp != NULL) mmi_source_release(q->pool, temp, MM_CHUNK_FILE);
    if (status != MM_STATUS_OK) return q->status = status;
    before = q->last;
    mmi_queue_splice(q, before, &made);
    (void)mmi_queue_merge_next(q, before);
    mmi_queue_came(q, (int64_t)size);
    return MM_STATUS_OK;
}

/* A chunk without bytes at the end of a temp file that only this queue writes to. */
static mm_chunk *mmi_spill_open(mm_chunkqueue *q, mm_chunk_source *temp, mm_status *status)
{
    mm_slice none;
    mm_chunk *c;
    if (temp != NULL && temp->refs == 2 && temp->length < q->pool->temp_file_size) {
        c = mmi_chunk_share(q->pool, temp, MM_CHUNK_FILE, temp->length, temp->length);
        *status = c == NULL ? MM_STATUS_NO_MEMORY : MM_STATUS_OK;
        return c;
    }
    c = mmi_chunk_new(q->pool, MM_CHUNK_FILE);
    *status = MM_STATUS_NO_MEMORY;
    if (c == NULL) return NULL;
    none = mm_slice_make("", 0);
    *status = mmi_temp_begin(q->pool, &c->own, &none, 0, 0, MM_STATUS_IO);
    if (*status == MM_STATUS_OK) return c;
    mmi_chunk_free(q->pool, c);
    return NULL;
}

/* The bytes that may still go to the temp file of the chunk. */
static int64_t mmi_temp_room(const mm_chunkqueue *q, const mm_chunk *c)
{
    int64_t room = q->pool->temp_file_size - c->source->length;
    if (room > q->pool->temp_quota - q->pool->stats.temp_live)
        room = q->pool->temp_quota - q->pool->stats.temp_live;
    if (room > mmi_queue_disk_room(q)) room = mmi_queue_disk_room(q);
    if (room > INT64_MAX - q->bytes_in) room = INT64_MAX - q->bytes_in;
    return room < 0 ? 0 : room;
}

MM_API int mm_chunkqueue_get_temp(mm_chunkqueue *q, int64_t *at, int64_t *room, mm_status *status)
{
    mm_chunk_source *temp = NULL;
    mm_chunk *c = NULL;
    MM_ASSERT(q->reserved == NULL && q->tail_room == 0);
    *at = *room = 0;
    *status = mmi_queue_admit(q, 1);
    if (*status != MM_STATUS_OK) return -1;
    *status = mmi_queue_spill(q, &temp);
    if (*status == MM_STATUS_OK) c = mmi_spill_open(q, temp, status);
    if (temp != NULL) mmi_source_release(q->pool, temp, MM_CHUNK_FILE);
    q->status = *status;
    if (c == NULL) return -1;
    *room = mmi_temp_room(q, c);
    if (*room == 0) {
        mmi_chunk_free(q->pool, c);
        *status = q->status = q->disk >= q->disk_limit ? MM_STATUS_LIMIT : MM_STATUS_NO_SPACE;
        return -1;
    }
    *at = c->source->length;
    q->reserved = c;
    return c->source->fd;
}

MM_API mm_status mm_chunkqueue_use_temp(mm_chunkqueue *q, int64_t n)
{
    mm_chunk *c = q->reserved, *before = q->last;
    mm_status status = n < 0 || n > mmi_temp_room(q, c) ? MM_STATUS_INVALID : MM_STATUS_OK;
    q->reserved = NULL;
    if (status == MM_STATUS_OK) status = mmi_disk_charge(q->pool, n);
    if (status != MM_STATUS_OK || n == 0) {
        (void)!MM_SYS_FTRUNCATE(c->source->fd, (mmi_off)c->source->length);
        mmi_chunk_free(q->pool, c);
        return status;
    }
    c->source->length += n;
    c->end = c->source->length;
    c->offset = c->end - n;
    q->pool->stats.temp_bytes += n;
    mmi_queue_insert(q, before, c);
    (void)mmi_queue_merge_next(q, before);
    mmi_queue_came(q, n);
    return MM_STATUS_OK;
}

// >>move: from queue to queue

/* Shares `n` bytes at `offset` of `from` into the empty queue `made`; there are that many. */
static bool mmi_queue_share(mm_chunkqueue *made, const mm_chunkqueue *from, int64_t offset,
                            int64_t n)
{
    const mm_chunk *c = from->first;
    for (; n > 0; c = c->next) {
        int64_t size = c->end - c->offset - offset;
        mm_chunk *part;
        if (size <= 0) {
            offset = -size;
            continue;
        }
        if (size > n) size = n;
        part = mmi_chunk_share(made->pool, c->source, c->type, c->offset + offset,
                               c->offset + offset + size);
        if (part == NULL) {
            mmi_queue_clear(made);
            return false;
        }
        mmi_queue_insert(made, made->last, part);
        offset = 0;
        n -= size;
    }
    return true;
}

/* Puts the memory of `to` and then that of `part` into temp files. On failure `part` is empty and
   `to` has the content that it had. */
static mm_status mmi_queue_spill_part(mm_chunkqueue *to, mm_chunkqueue *part)
{
    mm_chunk_source *temp = NULL, *first;
    int64_t mark;
    mm_status status = MM_STATUS_OK;
    if (part->memory + part->disk > mmi_queue_disk_room(to) ||
        to->memory > mmi_queue_disk_room(to) - part->memory - part->disk)
        status = MM_STATUS_LIMIT;
    if (status == MM_STATUS_OK) status = mmi_queue_spill(to, &temp);
    first = temp;
    mark = first == NULL ? 0 : first->length;
    if (first != NULL) first->refs++;
    if (status == MM_STATUS_OK) status = mmi_queue_spill(part, &temp);
    if (status != MM_STATUS_OK) {
        mmi_queue_clear(part);
        if (first != NULL) mmi_temp_cut(to->pool, first, mark);
    }
    if (first != NULL) mmi_source_release(to->pool, first, MM_CHUNK_FILE);
    if (temp != NULL) mmi_source_release(to->pool, temp, MM_CHUNK_FILE);
    return status;
}

/* Appends `n` bytes at `offset` of `from` to `to`, by way of a temp file if that is `spilled`. */
static mm_status mmi_queue_append_shared(mm_chunkqueue *to, const mm_chunkqueue *from,
                                         int64_t offset, int64_t n, bool spilled)
{
    mm_chunkqueue part;
    mm_chunk *before;
    mm_status status = mmi_queue_admit(to, (uint64_t)n);
    if (status != MM_STATUS_OK || n == 0) return status;
    mm_chunkqueue_init(&part, to->pool);
    if (!mmi_queue_share(&part, from, offset, n)) return MM_STATUS_NO_MEMORY;
    if (spilled || mmi_queue_must_spill(to, (uint64_t)part.memory))
        status = mmi_queue_spill_part(to, &part);
    else if (part.memory > mm_chunkqueue_room(to) || part.disk > mmi_queue_disk_room(to))
        status = MM_STATUS_LIMIT;
    if (status != MM_STATUS_OK) {
        mmi_queue_clear(&part);
        return status;
    }
    before = to->last;
    mmi_queue_splice(to, before, &part);
    (void)mmi_queue_merge_next(to, before);
    mmi_queue_came(to, n);
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_append_range(mm_chunkqueue *to, const mm_chunkqueue *from,
                                            int64_t offset, int64_t length)
{
    mm_status status;
    MM_ASSERT(to->pool == from->pool);
    if (to->status != MM_STATUS_OK) return to->status;
    if (offset < 0 || length < 0 || offset > mm_chunkqueue_length(from) ||
        length > mm_chunkqueue_length(from) - offset)
        return to->status = MM_STATUS_INVALID;
    status = mmi_queue_append_shared(to, from, offset, length, false);
    return to->status = status;
}

MM_API mm_status mm_chunkqueue_steal_spilled(mm_chunkqueue *to, mm_chunkqueue *from, int64_t n)
{
    mm_status status;
    MM_ASSERT(to != from && to->pool == from->pool);
    if (n < 0 || n > mm_chunkqueue_length(from)) return MM_STATUS_INVALID;
    status = mmi_queue_append_shared(to, from, 0, n, true);
    if (status != MM_STATUS_OK || n == 0) return status;
    mmi_queue_drop(from, NULL, n);
    mmi_queue_left(from, n);
    return MM_STATUS_OK;
}

/* The chunks that the first bytes of a queue are. */
typedef struct mmi_prefix {
    mm_chunk *last; /* the last one that is part of it as a whole; NULL: none is */
    mm_chunk *next; /* the one behind that; NULL: the queue ends there */
    int64_t left;   /* bytes of that one which are part of it too */
    int64_t memory; /* bytes that are in memory */
    int64_t disk;   /* bytes that are in temp files */
} mmi_prefix;

static mmi_prefix mmi_queue_measure(const mm_chunkqueue *q, int64_t n)
{
    mmi_prefix prefix;
    mm_chunk *c = q->first;
    memset(&prefix, 0, sizeof(prefix));
    for (; n > 0; c = c->next) {
        int64_t size = c->end - c->offset;
        bool is_part = size > n;
        if (is_part) size = n;
        if (c->type == MM_CHUNK_MEM) prefix.memory += size;
        else if (c->source->is_temp) prefix.disk += size;
        if (is_part) {
            prefix.left = n;
            break;
        }
        prefix.last = c;
        n -= size;
    }
    prefix.next = c;
    return prefix;
}

/* Moves whole chunks, all at once, and shares the one that is split. */
static mm_status mmi_queue_steal(mm_chunkqueue *to, mm_chunkqueue *from, const mmi_prefix *prefix)
{
    mm_chunk *c = prefix->next, *part = NULL, *first = from->first, *last = prefix->last;
    int64_t left = prefix->left;
    if (left > 0) { /* the split comes first: it is all that can fail */
        part = mmi_chunk_share(to->pool, c->source, c->type, c->offset, c->offset + left);
        if (part == NULL) return MM_STATUS_NO_MEMORY;
        part->next = NULL;
        c->offset += left;
        if (last == NULL) first = part;
        else last->next = part;
        last = part;
    } else last->next = NULL;
    if (to->last == NULL) to->first = first;
    else to->last->next = first;
    to->last = last;
    from->first = c;
    if (c == NULL) from->last = NULL;
    to->memory += prefix->memory;
    to->disk += prefix->disk;
    from->memory -= prefix->memory;
    from->disk -= prefix->disk;
    return MM_STATUS_OK;
}

static mm_status mmi_queue_move(mm_chunkqueue *to, mm_chunkqueue *from, bool to_front);

MM_API mm_status mm_chunkqueue_steal(mm_chunkqueue *to, mm_chunkqueue *from, int64_t n)
{
    mmi_prefix prefix;
    mm_status status;
    MM_ASSERT(to != from && to->pool == from->pool);
    if (n < 0 || n > mm_chunkqueue_length(from)) return MM_STATUS_INVALID;
    status = mmi_queue_admit(to, (uint64_t)n);
    if (status != MM_STATUS_OK || n == 0) return status;
    if (n == mm_chunkqueue_length(from)) return mmi_queue_move(to, from, false);
    prefix = mmi_queue_measure(from, n);
    if (mmi_queue_must_spill(to, (uint64_t)prefix.memory))
        return mm_chunkqueue_steal_spilled(to, from, n);
    if (prefix.memory > mm_chunkqueue_room(to) || prefix.disk > mmi_queue_disk_room(to))
        return MM_STATUS_LIMIT;
    status = mmi_queue_steal(to, from, &prefix);
    if (status != MM_STATUS_OK) return status;
    to->bytes_in += n;
    from->bytes_out += n;
    mmi_queue_flow(to);
    mmi_queue_flow(from);
    return MM_STATUS_OK;
}

/* Moves everything to the end or the front of `to`. The watermarks are told of when all is done. */
static mm_status mmi_queue_move(mm_chunkqueue *to, mm_chunkqueue *from, bool to_front)
{
    int64_t length = mm_chunkqueue_length(from);
    if (!to_front && mmi_queue_must_spill(to, (uint64_t)from->memory))
        return mm_chunkqueue_steal_spilled(to, from, length);
    if (from->memory > mm_chunkqueue_room(to) || from->disk > mmi_queue_disk_room(to))
        return MM_STATUS_LIMIT;
    mmi_queue_splice(to, to_front ? NULL : to->last, from);
    to->bytes_in += length;
    from->bytes_out += length;
    mmi_queue_flow(to);
    mmi_queue_flow(from);
    return MM_STATUS_OK;
}

/* The same, sticky. */
static mm_status mmi_queue_move_all(mm_chunkqueue *to, mm_chunkqueue *from, bool to_front)
{
    int64_t length = mm_chunkqueue_length(from);
    mm_status status = mmi_queue_admit(to, (uint64_t)length);
    MM_ASSERT(to != from && to->pool == from->pool);
    if (status != MM_STATUS_OK || length == 0 || to == from) return status;
    return to->status = mmi_queue_move(to, from, to_front);
}

MM_API mm_status mmi_chunkqueue_append_all(mm_chunkqueue *to, mm_chunkqueue *from)
{
    return mmi_queue_move_all(to, from, false);
}

MM_API mm_status mm_chunkqueue_prepend_queue(mm_chunkqueue *to, mm_chunkqueue *from)
{
    return mmi_queue_move_all(to, from, true);
}

// >>drain

MM_API mm_status mmi_chunkqueue_drain(mm_chunkqueue *q, int64_t n)
{
    int64_t length = mm_chunkqueue_length(q), most = n < length ? n : length;
    if (n < 0) return MM_STATUS_INVALID;
    mmi_queue_drop(q, NULL, most);
    mmi_queue_left(q, most);
    return n > length ? MM_STATUS_INVALID : MM_STATUS_OK;
}

/* Copies up to `size` bytes from `c` on. *got is less at the end of the queue (OK) or at a place
   that cannot be read (its status). Never skips a byte. */
static mm_status mmi_queue_gather(mm_chunkqueue *q, mm_chunk *c, char *to, size_t size, bool nowait,
                                  size_t *got)
{
    mm_status status = MM_STATUS_OK;
    *got = 0;
    for (; c != NULL && *got < size && status == MM_STATUS_OK; c = c->next) {
        uint64_t have = (uint64_t)(c->end - c->offset);
        size_t want = size - *got, n = 0;
        if (want > have) want = (size_t)have;
        if (c->type == MM_CHUNK_FILE) status = mmi_chunk_read(c, 0, to + *got, want, nowait, &n);
        else {
            memcpy(to + *got, mm_chunk_bytes(c), want);
            q->pool->stats.copied += n = want;
        }
        *got += n;
    }
    return status;
}

static mm_status mmi_queue_peek(mm_chunkqueue *q, char *scratch, size_t size, const char **data,
                                size_t *length, bool nowait)
{
    const mm_chunk *c = q->first;
    mm_status status;
    *data = scratch;
    *length = 0;
    if (c == NULL) return MM_STATUS_OK;
    if (c->type == MM_CHUNK_MEM && (c->next == NULL || (uint64_t)(c->end - c->offset) >= size)) {
        uint64_t have = (uint64_t)(c->end - c->offset);
        *data = mm_chunk_bytes(c);
        *length = have < size ? (size_t)have : size;
        return MM_STATUS_OK;
    }
    status = mmi_queue_gather(q, q->first, scratch, size, nowait, length);
    return *length > 0 ? MM_STATUS_OK : status;
}

MM_API mm_status mm_chunkqueue_peek(mm_chunkqueue *q, char *scratch, size_t size, const char **data,
                                    size_t *length)
{
    return mmi_queue_peek(q, scratch, size, data, length, false);
}

MM_API mm_status mm_chunkqueue_peek_nowait(mm_chunkqueue *q, char *scratch, size_t size,
                                           const char **data, size_t *length)
{
    return mmi_queue_peek(q, scratch, size, data, length, true);
}

MM_API size_t mm_chunkqueue_peek_memory(const mm_chunkqueue *q, mm_slice *slices, size_t max)
{
    const mm_chunk *c = q->first;
    size_t count = 0;
    for (; c != NULL && c->type == MM_CHUNK_MEM && count < max; c = c->next, count++) {
        slices[count].ptr = mm_chunk_bytes(c);
        slices[count].len = (size_t)(c->end - c->offset);
    }
    return count;
}

MM_API mm_status mm_chunkqueue_read(mm_chunkqueue *q, void *to, size_t size)
{
    size_t got;
    mm_status status;
    if ((uint64_t)size > (uint64_t)mm_chunkqueue_length(q)) return MM_STATUS_INVALID;
    status = mmi_queue_gather(q, q->first, (char *)to, size, false, &got);
    if (status != MM_STATUS_OK) return status;
    return mm_chunkqueue_mark_written(q, (int64_t)size);
}

/* Where the byte is in the first `size` bytes of a FILE chunk, at or behind `skip`; -1: nowhere. */
static mm_status mmi_chunk_find(mm_chunk *c, char byte, int64_t skip, int64_t size, int64_t *at)
{
    char bytes[MMI_CHUNK_SCAN];
    mm_status status = MM_STATUS_OK;
    for (*at = -1; skip < size && status == MM_STATUS_OK;) {
        size_t want = size - skip < MMI_CHUNK_SCAN ? (size_t)(size - skip) : MMI_CHUNK_SCAN, got;
        const char *found;
        status = mmi_chunk_read(c, skip, bytes, want, false, &got);
        found = (const char *)memchr(bytes, byte, got);
        if (found != NULL) {
            *at = skip + (found - bytes);
            return MM_STATUS_OK;
        }
        skip += (int64_t)got;
    }
    return status;
}

/* The same in the first `until` bytes of the queue. */
static mm_status mmi_queue_find(mm_chunkqueue *q, char byte, int64_t from, int64_t until,
                                int64_t *at)
{
    mm_chunk *c;
    int64_t start = 0, size, next;
    mm_status status = MM_STATUS_OK;
    *at = -1;
    for (c = q->first; c != NULL && start < until && status == MM_STATUS_OK; c = c->next) {
        int64_t skip = from > start ? from - start : 0, found = -1;
        size = c->end - c->offset;
        next = start + size;
        if (size > until - start) size = until - start;
        if (c->type == MM_CHUNK_FILE) status = mmi_chunk_find(c, byte, skip, size, &found);
        else if (skip < size) {
            const char *bytes = mm_chunk_bytes(c);
            const char *hit = (const char *)memchr(bytes + skip, byte, (size_t)(size - skip));
            if (hit != NULL) found = hit - bytes;
        }
        if (found >= 0) {
            *at = start + found;
            return MM_STATUS_OK;
        }
        start = next;
    }
    return status;
}

MM_API mm_status mm_chunkqueue_find_byte(mm_chunkqueue *q, char c, int64_t from, int64_t *at)
{
    *at = -1;
    return from < 0 ? MM_STATUS_INVALID : mmi_queue_find(q, c, from, INT64_MAX, at);
}

MM_API mm_status mm_chunkqueue_read_line(mm_chunkqueue *q, mm_buffer *line, size_t most)
{
    int64_t at, until = (uint64_t)most > INT64_MAX - 2 ? INT64_MAX : (int64_t)most + 2;
    size_t got;
    char *to;
    mm_status status = mmi_queue_find(q, '\n', 0, until, &at);
    if (status != MM_STATUS_OK) return status;
    if (at < 0) return mm_chunkqueue_length(q) >= until ? MM_STATUS_LIMIT : MM_STATUS_AGAIN;
    if ((uint64_t)at > SIZE_MAX) return MM_STATUS_LIMIT;
    to = mm_buffer_prepare_append(line, (size_t)at);
    if (to == NULL) return mm_buffer_status(line);
    status = mmi_queue_gather(q, q->first, to, (size_t)at, false, &got);
    if (status == MM_STATUS_OK) {
        if (got > 0 && to[got - 1] == '\r') got--;
        if (got > most) status = MM_STATUS_LIMIT;
    }
    to[0] = status == MM_STATUS_OK && got > 0 ? to[0] : '\0'; /* the end of what was there */
    if (status != MM_STATUS_OK) return status;
    status = mm_buffer_commit(line, got);
    MM_ASSERT(status == MM_STATUS_OK);
    return mm_chunkqueue_mark_written(q, at + 1);
}

// >>whole

/* Brings `more` bytes that follow the first chunk to the end of its own memory, which has room. */
static mm_status mmi_queue_pull(mm_chunkqueue *q, size_t more)
{
    mm_chunk *c = q->first;
    char *to = mmi_chunk_tail(c, more);
    size_t got;
    mm_status status = mmi_queue_gather(q, c->next, to, more, false, &got);
    if (status != MM_STATUS_OK) {
        mmi_chunk_grow(c, 0);
        return status;
    }
    mmi_queue_drop(q, c, (int64_t)more);
    mmi_chunk_grow(c, more);
    q->memory += (int64_t)more;
    return MM_STATUS_OK;
}

/* Copies the first `n` bytes to a new chunk. */
static mm_status mmi_queue_gather_first(mm_chunkqueue *q, size_t n)
{
    size_t got;
    mm_status status;
    mm_chunk *c;
    if (n > MM_BUFFER_LENGTH_MAX) return MM_STATUS_TOO_LARGE;
    c = mmi_chunk_memory(q->pool, n);
    if (c == NULL) return MM_STATUS_NO_MEMORY;
    status = mmi_queue_gather(q, q->first, mmi_chunk_tail(c, n), n, false, &got);
    if (status != MM_STATUS_OK) {
        mmi_chunk_free(q->pool, c);
        return status;
    }
    mmi_queue_drop(q, NULL, (int64_t)n);
    mmi_chunk_grow(c, n);
    mmi_queue_insert(q, NULL, c);
    return MM_STATUS_OK;
}

MM_API const char *mm_chunkqueue_contiguous(mm_chunkqueue *q, size_t n, mm_status *status)
{
    mm_chunk *c = q->first;
    size_t have;
    *status = MM_STATUS_INVALID;
    if ((uint64_t)n > (uint64_t)mm_chunkqueue_length(q)) return NULL;
    *status = MM_STATUS_OK;
    if (n == 0) return "";
    have = c->type == MM_CHUNK_MEM && (uint64_t)(c->end - c->offset) < n
               ? (size_t)(c->end - c->offset)
               : 0;
    if (have == 0 && c->type == MM_CHUNK_MEM) return mm_chunk_bytes(c);
    if (have > 0 && n - have <= mmi_chunk_room(c)) *status = mmi_queue_pull(q, n - have);
    else *status = mmi_queue_gather_first(q, n);
    return *status == MM_STATUS_OK ? mm_chunk_bytes(q->first) : NULL;
}

MM_API mm_status mm_chunkqueue_squash(mm_chunkqueue *q)
{
    mm_status status;
    if ((uint64_t)mm_chunkqueue_length(q) > SIZE_MAX) return MM_STATUS_TOO_LARGE;
    return mm_chunkqueue_contiguous(q, (size_t)mm_chunkqueue_length(q), &status) == NULL
               ? status
               : MM_STATUS_OK;
}

/* Reads the FILE chunk behind `before` into memory: what fits behind that one, then new chunks. */
static mm_status mmi_queue_load(mm_chunkqueue *q, mm_chunk *before)
{
    mm_chunk *c = before->next;
    size_t size = (size_t)(c->end - c->offset), first = mmi_chunk_room(before), done, got;
    char *tail = NULL;
    mm_chunkqueue made;
    mm_status status = MM_STATUS_OK;
    mm_chunkqueue_init(&made, q->pool);
    if (first > size) first = size;
    if (first > 0) tail = mmi_chunk_tail(before, first);
    for (done = first; done < size && status == MM_STATUS_OK; done += got) {
        mm_chunk *part = mmi_chunk_memory(q->pool, 0);
        size_t room = part == NULL ? 0 : mmi_chunk_room(part);
        got = 0;
        if (part == NULL) status = MM_STATUS_NO_MEMORY;
        else {
            if (room > size - done) room = size - done;
            status = mmi_chunk_read(c, (int64_t)done, mmi_chunk_tail(part, room), room, false,
                                    &got);
            mmi_chunk_grow(part, got);
            mmi_queue_insert(&made, made.last, part);
        }
    }
    if (status == MM_STATUS_OK && first > 0)
        status = mmi_chunk_read(c, 0, tail, first, false, &got);
    if (status != MM_STATUS_OK) {
        if (first > 0) mmi_chunk_grow(before, 0);
        mmi_queue_clear(&made);
        return status;
    }
    mmi_chunk_free(q->pool, mmi_queue_remove(q, before));
    if (first > 0) mmi_chunk_grow(before, first);
    q->memory += (int64_t)first;
    mmi_queue_splice(q, before, &made);
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunkqueue_join(mm_chunkqueue *q, int64_t most)
{
    int64_t files = mm_chunkqueue_length(q) - q->memory;
    mm_chunk *c = q->first;
    if (files == 0 || q->memory == 0 || files > mm_chunkqueue_room(q) || c->type != MM_CHUNK_MEM ||
        files > (most == 0 ? MMI_CHUNK_JOIN : most) || mmi_queue_must_spill(q, (uint64_t)files))
        return MM_STATUS_OK;
    while (c->next != NULL) { /* c is in memory: all of a file, or of several, may fit behind it */
        mm_status status;
        if (c->next->type == MM_CHUNK_MEM) {
            c = c->next;
            continue;
        }
        status = mmi_queue_load(q, c);
        if (status != MM_STATUS_OK) return status;
    }
    return MM_STATUS_OK;
}

// >>check

static bool mmi_chunk_check(const mm_chunk *c, size_t *capacity)
{
    const mm_chunk_source *source = c->source;
    if (source->refs == 0 || c->offset < 0 || c->end <= c->offset) return false;
    if (source != &source->holder->own || (source != &c->own && c->own.refs > 0)) return false;
    if (source->is_temp && (c->type == MM_CHUNK_MEM || c->end > source->length)) return false;
    if (!mm_buffer_check(&source->mem)) return false;
    if (c->type == MM_CHUNK_FILE) return source->limit == 0;
    *capacity += source->refs == 1 ? source->charged : 0;
    if (c->end > source->length || source->length > source->limit) return false;
    if (source->mem.ptr == NULL) return source->bytes != NULL && source->length == source->limit;
    return source->bytes == source->mem.ptr && source->limit == (int64_t)source->mem.size;
}

MM_API bool mm_chunkqueue_check(const mm_chunkqueue *q)
{
    const mm_chunk *c, *last = NULL;
    int64_t length = 0, memory = 0, disk = 0;
    size_t capacity = 0;
    for (c = q->first; c != NULL; last = c, c = c->next) {
        if (!mmi_chunk_check(c, &capacity)) return false;
        length += c->end - c->offset;
        if (c->type == MM_CHUNK_MEM) memory += c->end - c->offset;
        else if (c->source->is_temp) disk += c->end - c->offset;
    }
    if (q->bytes_out < 0 || q->bytes_in < q->bytes_out || capacity > q->pool->stats.memory)
        return false;
    return last == q->last && length == mm_chunkqueue_length(q) && memory == q->memory &&
           disk == q->disk;
}

static bool mmi_list_check(const mm_chunk_list *list, size_t *held)
{
    const mmi_unused *unused;
    size_t bytes = 0;
    for (unused = (const mmi_unused *)list->first; unused != NULL; unused = unused->next) {
        bytes += unused->size;
        *held += unused->block != NULL;
    }
    return bytes == list->bytes && bytes <= list->keep && list->low <= bytes;
}

MM_API bool mm_chunk_pool_check(const mm_chunk_pool *pool)
{
    const mm_chunk_pool_stats *stats = &pool->stats;
    size_t held = 0;
    return mmi_list_check(&pool->regular, &held) && mmi_list_check(&pool->oversized, &held) &&
           mmi_list_check(&pool->files, &held) && held == pool->held && stats->temp_live >= 0 &&
           stats->temp_live <= pool->temp_quota && stats->chunks <= stats->chunks_peak &&
           stats->memory <= stats->memory_peak && (stats->chunks > 0 || stats->memory == 0) &&
           (stats->temp_files > 0 || stats->temp_live == 0);
}

// >>chunked: the transfer coding of RFC 9112, 7.1

#define MMI_CHUNKED_FRAME 1024 /* most bytes of a frame that is put together in one place; not more
                                  than an eighth of a chunk either, which is what that can waste */
#define MMI_CHUNKED_HEAD 18    /* most bytes of a size line */
#define MMI_CHUNKED_DIGITS 16  /* most digits of a size, leading zeros included: INT64_MAX has 16 */
#define MMI_CHUNKED_COPY 256   /* most bytes that are read out of a file rather than moved */
#define MMI_CHUNKED_PEEK 64    /* framing that lies across chunks is looked at in such pieces */
/* The default limits: a few names and values; as much as a large request head; as much as a common
   one; half a megabyte that carries 64 KiB. */
#define MMI_CHUNKED_MAX_LINE 256
#define MMI_CHUNKED_MAX_EXTENSIONS 16384
#define MMI_CHUNKED_MAX_TRAILERS 8192
#define MMI_CHUNKED_MAX_SMALL 65536

/* Takes the last `n` bytes off again, which have just been appended: nobody else has them. */
static void mmi_queue_cut(mm_chunkqueue *q, int64_t n)
{
    int64_t keep = mm_chunkqueue_length(q) - n;
    mm_chunk *c = q->first, *last = NULL;
    while (c != NULL && keep >= c->end - c->offset) {
        keep -= c->end - c->offset;
        last = c;
        c = c->next;
    }
    if (keep > 0) { /* of this chunk */
        mmi_queue_account(q, c, c->end - c->offset - keep, -1);
        c->end = c->offset + keep;
        if (c->type == MM_CHUNK_MEM && c->source->mem.ptr != NULL) mmi_chunk_grow(c, 0);
        last = c;
    }
    while (q->last != last) mmi_chunk_free(q->pool, mmi_queue_remove(q, last));
    q->bytes_in -= n;
}

typedef struct mmi_chunked_frame { /* an append of several parts, which is seen as one */
    int64_t before;                /* bytes_in */
    int64_t high;                  /* the queue's, which tells nobody of its watermarks meanwhile */
    bool is_high;                  /* the same */
    int64_t spill_at;              /* the queue's as well: the line end counts for them */
    int64_t memory_limit;
    int64_t disk_limit;
    mm_chunk *end;                 /* the line end behind the data; not in the list */
} mmi_chunked_frame;

static void mmi_chunked_open(mm_chunkqueue *q, mmi_chunked_frame *frame)
{
    frame->before = q->bytes_in;
    frame->high = q->high;
    frame->is_high = q->is_high;
    frame->spill_at = q->spill_at;
    frame->memory_limit = q->memory_limit;
    frame->disk_limit = q->disk_limit;
    frame->end = NULL;
    q->high = INT64_MAX;
    q->is_high = false;
}

/* All of it stays, or nothing. */
static mm_status mmi_chunked_close(mm_chunkqueue *q, mmi_chunked_frame *frame, mm_status status)
{
    mm_chunk *c = frame->end;
    while (c != NULL && status == MM_STATUS_OK) {
        mm_chunk *next = c->next;
        q->bytes_in += c->end - c->offset;
        mmi_queue_insert(q, q->last, c);
        c = next;
    }
    mmi_chunks_free(q->pool, c);
    if (status != MM_STATUS_OK) mmi_queue_cut(q, q->bytes_in - frame->before);
    q->high = frame->high;
    q->is_high = frame->is_high;
    q->spill_at = frame->spill_at;
    q->memory_limit = frame->memory_limit;
    q->disk_limit = frame->disk_limit;
    mmi_queue_flow(q);
    return status;
}

static size_t mmi_chunked_head(char *to, uint64_t size)
{
    size_t n = 0;
    int shift = 60;
    while (shift > 0 && size >> shift == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) to[n++] = "0123456789abcdef"[size >> shift & 15];
    to[n++] = '\r';
    to[n++] = '\n';
    return n;
}

static void mmi_chunked_write(char *to, mm_slice head, const char *bytes, size_t size)
{
    memcpy(to, head.ptr, head.len);
    if (size > 0) memcpy(to + head.len, bytes, size);
    memcpy(to + head.len + size, "\r\n", 2);
}

/* Appends head, bytes and a line end that are `total` bytes together, so that they lie together. */
static mm_status mmi_chunked_append_small(mm_chunkqueue *q, mm_slice head, const char *bytes,
                                          size_t size, size_t total)
{
    char frame[MMI_CHUNKED_FRAME], *to;
    size_t room;
    mm_status status;
    if (mmi_queue_must_spill(q, total)) {
        mmi_chunked_write(frame, head, bytes, size);
        return mm_chunkqueue_append_mem(q, frame, total);
    }
    status = mmi_queue_admit_memory(q, total); /* with that, the place is not smaller */
    if (status != MM_STATUS_OK) return status;
    to = mm_chunkqueue_get_memory(q, total, &room);
    if (to == NULL) return q->status = MM_STATUS_NO_MEMORY;
    mmi_chunked_write(to, head, bytes, size);
    mm_chunkqueue_use_memory(q, total);
    return MM_STATUS_OK;
}

/* Appends head, bytes and a line end: all of it, or nothing. */
static mm_status mmi_chunked_append(mm_chunkqueue *q, mm_slice head, const char *bytes, size_t size)
{
    mmi_chunked_frame frame;
    size_t limit = q->pool->chunk_size / 8;
    mm_status status;
    if (limit > MMI_CHUNKED_FRAME) limit = MMI_CHUNKED_FRAME;
    if (size <= limit - head.len - 2)
        return mmi_chunked_append_small(q, head, bytes, size, head.len + size + 2);
    mmi_chunked_open(q, &frame);
    status = mm_chunkqueue_append_mem(q, head.ptr, head.len);
    if (status == MM_STATUS_OK) status = mm_chunkqueue_append_mem(q, bytes, size);
    if (status == MM_STATUS_OK) status = mm_chunkqueue_append_mem(q, "\r\n", 2);
    return mmi_chunked_close(q, &frame, status);
}

MM_API mm_status mm_chunked_append_mem(mm_chunkqueue *q, const void *bytes, size_t size)
{
    char head[MMI_CHUNKED_HEAD];
    if (q->status != MM_STATUS_OK || size == 0) return q->status;
    return mmi_chunked_append(q, mm_slice_make(head, mmi_chunked_head(head, size)),
                              (const char *)bytes, size);
}

/* Takes the line end off that the queue ends with. NULL: out of memory, and it is still there. */
static mm_chunk *mmi_chunked_take_end(mm_chunkqueue *q)
{
    mm_chunkqueue end;
    mm_chunk *last = q->last;
    if (last->end - last->offset > 2) {
        mm_chunk *c = mmi_chunk_share(q->pool, last->source, last->type, last->end - 2, last->end);
        if (c == NULL) return NULL;
        mmi_queue_account(q, last, 2, -1);
        last->end -= 2;
        q->bytes_in -= 2;
        return c;
    }
    mm_chunkqueue_init(&end, q->pool); /* a temp file was full in the middle of the frame */
    if (!mmi_queue_share(&end, q, mm_chunkqueue_length(q) - 2, 2)) return NULL;
    mmi_queue_cut(q, 2);
    return end.first;
}

/* Appends the size line of data that is then linked in, and keeps what follows it: the line end,
   which lies in the same memory, so that many frames share a block. Closed on failure. */
static mm_status mmi_chunked_begin(mm_chunkqueue *q, int64_t size, mmi_chunked_frame *frame)
{
    char head[MMI_CHUNKED_HEAD];
    mm_slice line = mm_slice_make(head, mmi_chunked_head(head, (uint64_t)size));
    mm_status status = mmi_queue_admit(q, (uint64_t)size + MMI_CHUNKED_HEAD + 2);
    if (status != MM_STATUS_OK) return status;
    mmi_chunked_open(q, frame);
    status = mmi_chunked_append(q, line, "", 0);
    if (status != MM_STATUS_OK) return mmi_chunked_close(q, frame, status);
    frame->end = mmi_chunked_take_end(q);
    if (frame->end == NULL)
        return mmi_chunked_close(q, frame, q->status = MM_STATUS_NO_MEMORY);
    if (frame->end->type == MM_CHUNK_FILE) q->disk_limit -= 2; /* it comes back at the end */
    else {
        q->memory_limit -= 2;
        if (q->spill_at != INT64_MAX) q->spill_at -= 2;
    }
    return MM_STATUS_OK;
}

MM_API mm_status mm_chunked_append_buffer(mm_chunkqueue *q, mm_buffer *b)
{
    mmi_chunked_frame frame;
    size_t length = mm_buffer_length(b);
    mm_status status;
    if (length == 0 || mm_buffer_status(b) != MM_STATUS_OK)
        return mm_chunkqueue_append_buffer(q, b);
    if (length < MMI_CHUNK_MOVE || b->is_borrowed || mmi_queue_must_spill(q, length)) {
        status = mm_chunked_append_mem(q, b->ptr, length);
        if (status == MM_STATUS_OK) mm_buffer_clear(b);
        return status;
    }
    status = mmi_chunked_begin(q, (int64_t)length, &frame);
    if (status != MM_STATUS_OK) return status;
    return mmi_chunked_close(q, &frame, mm_chunkqueue_append_buffer(q, b));
}

MM_API mm_status mm_chunked_append_file(mm_chunkqueue *q, const char *path, int64_t offset,
                                        int64_t length)
{
    mmi_chunked_frame frame;
    mm_status status = mmi_queue_admit_range(q, offset, length);
    if (status == MM_STATUS_OK && length > 0) status = mmi_chunked_begin(q, length, &frame);
    if (status != MM_STATUS_OK || length == 0) return status;
    return mmi_chunked_close(q, &frame, mm_chunkqueue_append_file(q, path, offset, length));
}

MM_API mm_status mm_chunked_append_fd_ref(mm_chunkqueue *q, int fd, int64_t offset, int64_t length,
                                          mm_chunk_refchg refchg, void *ref)
{
    mmi_chunked_frame frame;
    mm_status status = mmi_queue_admit_range(q, offset, length);
    if (status == MM_STATUS_OK && length > 0) status = mmi_chunked_begin(q, length, &frame);
    if (status != MM_STATUS_OK || length == 0) return status;
    status = mm_chunkqueue_append_fd_ref(q, fd, offset, length, refchg, ref);
    return mmi_chunked_close(q, &frame, status);
}

MM_API mm_status mm_chunked_append_fd(mm_chunkqueue *q, int fd, int64_t offset, int64_t length)
{
    if (length == 0) return mm_chunkqueue_append_fd(q, fd, offset, length); /* closes it */
    return mm_chunked_append_fd_ref(q, fd, offset, length, NULL, NULL);
}

MM_API mm_status mm_chunked_append_queue(mm_chunkqueue *q, mm_chunkqueue *from)
{
    mmi_chunked_frame frame;
    int64_t length = mm_chunkqueue_length(from), high = from->high;
    bool is_high = from->is_high;
    mm_status status = q->status;
    MM_ASSERT(q != from && q->pool == from->pool);
    if (status == MM_STATUS_OK && length > 0) status = mmi_chunked_begin(q, length, &frame);
    if (status != MM_STATUS_OK || length == 0) return status;
    from->high = INT64_MAX; /* its watermarks are told of when the frame is whole */
    from->is_high = false;
    status = mm_chunkqueue_append_queue(q, from);
    from->high = high;
    from->is_high = is_high;
    status = mmi_chunked_close(q, &frame, status);
    mmi_queue_flow(from);
    return status;
}

static bool mmi_chunked_is_text(char c)
{
    return (unsigned char)c >= ' ' ? c != 0x7F : c == '\t';
}

/* Whether they are lines that a decoder takes for trailers, and not for the end of the body. */
static bool mmi_chunked_are_lines(mm_slice lines)
{
    size_t i = 0, begin = 0;
    while (i < lines.len) {
        if (mmi_chunked_is_text(lines.ptr[i])) {
            char c = lines.ptr[i];
            if (i == begin && (c == ' ' || c == '\t' || c == ':')) return false;
            i++;
            continue;
        }
        if (i == begin || lines.ptr[i] != '\r') return false;
        if (i + 1 == lines.len || lines.ptr[i + 1] != '\n') return false;
        begin = i += 2;
    }
    return begin == lines.len;
}

MM_API mm_status mm_chunked_append_last(mm_chunkqueue *q, mm_slice trailers)
{
    if (q->status == MM_STATUS_OK && !mmi_chunked_are_lines(trailers))
        q->status = MM_STATUS_INVALID;
    if (q->status != MM_STATUS_OK) return q->status;
    return mmi_chunked_append(q, mm_slice_make("0\r\n", 3), trailers.ptr, trailers.len);
}

/* Where in the coding the next byte belongs. */
enum {
    MMI_CHUNKED_SIZE,       /* the size of a chunk: a digit, or what follows the digits */
    MMI_CHUNKED_BLANK,      /* blanks in front of an extension */
    MMI_CHUNKED_EXTENSION,
    MMI_CHUNKED_QUOTED,     /* in a quoted string of an extension, */
    MMI_CHUNKED_ESCAPED,    /* and behind a backslash in it */
    MMI_CHUNKED_SIZE_LF,    /* the end of the size line */
    MMI_CHUNKED_DATA,
    MMI_CHUNKED_DATA_CR,
    MMI_CHUNKED_DATA_LF,
    MMI_CHUNKED_TRAILERS,   /* the start of a trailer line, or of the empty one at the end */
    MMI_CHUNKED_TRAILER,    /* in a trailer line */
    MMI_CHUNKED_TRAILER_LF,
    MMI_CHUNKED_LAST_LF,    /* of the empty line */
    MMI_CHUNKED_DONE
};

static uint32_t mmi_chunked_limit(uint32_t limit, uint32_t fallback)
{
    return limit == 0 ? fallback : limit;
}

static mm_status mmi_chunked_go(mm_chunked_decoder *d, int state)
{
    d->state = (uint8_t)state;
    return MM_STATUS_AGAIN;
}

/* A byte must be this one. */
static mm_status mmi_chunked_expect(mm_chunked_decoder *d, char c, char expected, int state)
{
    return c == expected ? mmi_chunked_go(d, state) : MM_STATUS_INVALID;
}

static int mmi_chunked_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A digit of the size: left is the size up to it. */
static mm_status mmi_chunked_take_digit(mm_chunked_decoder *d, const mm_chunked_limits *limits,
                                        int digit)
{
    int64_t body = limits->body == 0 ? INT64_MAX : limits->body;
    if (++d->digits > MMI_CHUNKED_DIGITS) return MM_STATUS_INVALID;
    if (d->left > (INT64_MAX - digit) / 16) return MM_STATUS_TOO_LARGE;
    d->left = d->left * 16 + digit;
    return d->left > body - d->body ? MM_STATUS_TOO_LARGE : MM_STATUS_AGAIN;
}

/* A byte behind the digits, up to the line end, is counted: extensions must not be a way to send
   for ever. */
static mm_status mmi_chunked_count(mm_chunked_decoder *d, const mm_chunked_limits *limits,
                                   int state)
{
    if (++d->line > mmi_chunked_limit(limits->line, MMI_CHUNKED_MAX_LINE)) return MM_STATUS_INVALID;
    if (++d->extensions > mmi_chunked_limit(limits->extensions, MMI_CHUNKED_MAX_EXTENSIONS))
        return MM_STATUS_TOO_LARGE;
    return mmi_chunked_go(d, state);
}

static mm_status mmi_chunked_size(mm_chunked_decoder *d, const mm_chunked_limits *limits, char c)
{
    int digit = mmi_chunked_digit(c);
    if (digit >= 0 && d->state == MMI_CHUNKED_SIZE)
        return mmi_chunked_take_digit(d, limits, digit);
    if (d->digits == 0) return MM_STATUS_INVALID;
    if (c == '\r' && d->state == MMI_CHUNKED_SIZE) return mmi_chunked_go(d, MMI_CHUNKED_SIZE_LF);
    if (c == ' ' || c == '\t') return mmi_chunked_count(d, limits, MMI_CHUNKED_BLANK);
    return mmi_chunked_expect(d, c, ';', MMI_CHUNKED_EXTENSION);
}

static mm_status mmi_chunked_extension(mm_chunked_decoder *d, const mm_chunked_limits *limits,
                                       char c)
{
    int state = d->state;
    if (c == '\r' && state == MMI_CHUNKED_EXTENSION)
        return mmi_chunked_go(d, MMI_CHUNKED_SIZE_LF);
    if (!mmi_chunked_is_text(c)) return MM_STATUS_INVALID;
    if (state == MMI_CHUNKED_ESCAPED) state = MMI_CHUNKED_QUOTED;
    else if (c == '"')
        state = state == MMI_CHUNKED_QUOTED ? MMI_CHUNKED_EXTENSION : MMI_CHUNKED_QUOTED;
    else if (c == '\\' && state == MMI_CHUNKED_QUOTED) state = MMI_CHUNKED_ESCAPED;
    return mmi_chunked_count(d, limits, state);
}

/* The end of a size line. */
static mm_status mmi_chunked_begin_data(mm_chunked_decoder *d, const mm_chunked_limits *limits,
                                        char c)
{
    uint32_t most = mmi_chunked_limit(limits->small_chunks, MMI_CHUNKED_MAX_SMALL);
    bool is_small = d->left < (int64_t)d->digits + d->line + 4; /* with its two line ends */
    if (c != '\n') return MM_STATUS_INVALID;
    d->digits = 0;
    d->line = 0;
    if (d->left == 0) return mmi_chunked_go(d, MMI_CHUNKED_TRAILERS);
    d->small_chunks = is_small ? d->small_chunks + 1 : 0;
    if (d->small_chunks > most) return MM_STATUS_TOO_LARGE;
    return mmi_chunked_go(d, MMI_CHUNKED_DATA);
}

/* A byte of a trailer line, its line end included, or the CR of the empty one. */
static mm_status mmi_chunked_trailer(mm_chunked_decoder *d, const mm_chunked_limits *limits, char c)
{
    int state = d->state;
    if (c == '\r' && state == MMI_CHUNKED_TRAILERS)
        return mmi_chunked_go(d, MMI_CHUNKED_LAST_LF);
    if (++d->line > mmi_chunked_limit(limits->trailers, MMI_CHUNKED_MAX_TRAILERS))
        return MM_STATUS_TOO_LARGE;
    if (state == MMI_CHUNKED_TRAILER_LF) {
        if (c != '\n') return MM_STATUS_INVALID;
        state = MMI_CHUNKED_TRAILERS;
    } else if (c == '\r') {
        state = MMI_CHUNKED_TRAILER_LF;
    } else {
        if (!mmi_chunked_is_text(c)) return MM_STATUS_INVALID;
        if (state == MMI_CHUNKED_TRAILERS && (c == ' ' || c == '\t' || c == ':'))
            return MM_STATUS_INVALID;
        state = MMI_CHUNKED_TRAILER;
    }
    if (d->trailers != NULL) mm_buffer_append_char(d->trailers, c);
    return mmi_chunked_go(d, state);
}

static mm_status mmi_chunked_finish(mm_chunked_decoder *d, char c)
{
    if (c != '\n') return MM_STATUS_INVALID;
    d->state = MMI_CHUNKED_DONE;
    return d->trailers == NULL ? MM_STATUS_OK : mm_buffer_status(d->trailers);
}

/* A byte that is not data: AGAIN, or what has ended the body with it. */
static mm_status mmi_chunked_framing(mm_chunked_decoder *d, char c)
{
    static const mm_chunked_limits defaults = {0, 0, 0, 0, 0};
    const mm_chunked_limits *limits = d->limits == NULL ? &defaults : d->limits;
    switch (d->state) {
    case MMI_CHUNKED_SIZE:
    case MMI_CHUNKED_BLANK: return mmi_chunked_size(d, limits, c);
    case MMI_CHUNKED_EXTENSION:
    case MMI_CHUNKED_QUOTED:
    case MMI_CHUNKED_ESCAPED: return mmi_chunked_extension(d, limits, c);
    case MMI_CHUNKED_SIZE_LF: return mmi_chunked_begin_data(d, limits, c);
    case MMI_CHUNKED_DATA_CR: return mmi_chunked_expect(d, c, '\r', MMI_CHUNKED_DATA_LF);
    case MMI_CHUNKED_DATA_LF: return mmi_chunked_expect(d, c, '\n', MMI_CHUNKED_SIZE);
    case MMI_CHUNKED_TRAILERS:
    case MMI_CHUNKED_TRAILER:
    case MMI_CHUNKED_TRAILER_LF: return mmi_chunked_trailer(d, limits, c);
    default: return mmi_chunked_finish(d, c); /* MMI_CHUNKED_LAST_LF */
    }
}

/* The framing at the front of the bytes, up to data, the end, or all of them. */
static mm_status mmi_chunked_read_frame(mm_chunked_decoder *d, const char *bytes, size_t size,
                                   size_t *used)
{
    mm_status status = MM_STATUS_AGAIN;
    *used = 0;
    if (d->status != MM_STATUS_OK) return d->status;
    if (d->state == MMI_CHUNKED_DONE) return MM_STATUS_OK;
    while (*used < size && status == MM_STATUS_AGAIN && d->state != MMI_CHUNKED_DATA)
        status = mmi_chunked_framing(d, bytes[(*used)++]);
    if (status != MM_STATUS_AGAIN) d->status = status;
    return status;
}

static void mmi_chunked_passed(mm_chunked_decoder *d, int64_t n)
{
    d->left -= n;
    d->body += n;
    if (d->left == 0) d->state = MMI_CHUNKED_DATA_CR;
}

MM_API void mm_chunked_decoder_init(mm_chunked_decoder *d, const mm_chunked_limits *limits)
{
    memset(d, 0, sizeof(*d));
    d->limits = limits;
}

MM_API mm_status mm_chunked_decode(mm_chunked_decoder *d, mm_slice *input, mm_slice *data)
{
    size_t n;
    mm_status status = mmi_chunked_read_frame(d, input->ptr, input->len, &n);
    *input = mm_slice_sub(*input, n, SIZE_MAX);
    *data = mm_slice_sub(*input, 0, 0);
    if (status != MM_STATUS_AGAIN || input->len == 0) return status;
    *data = mm_slice_sub(*input, 0, (uint64_t)d->left < input->len ? (size_t)d->left : input->len);
    *input = mm_slice_sub(*input, data->len, SIZE_MAX);
    mmi_chunked_passed(d, (int64_t)data->len);
    return MM_STATUS_AGAIN;
}

/* Whether to copy `n` bytes to the end of `to` rather than to move them. A moved piece keeps its
   whole block from being used anew, so it has to be a good part of one: no sequence of chunks and
   of packets makes a queue hold more than some times its length. */
static bool mmi_chunked_should_copy(const mm_chunkqueue *from, const mm_chunkqueue *to, int64_t n)
{
    const mm_chunk *c = from->first;
    int64_t room = to->last == NULL ? 0 : (int64_t)mmi_chunk_room(to->last);
    int64_t block = (int64_t)to->pool->chunk_size;
    if (c->type == MM_CHUNK_FILE) return n <= MMI_CHUNKED_COPY;
    if (!c->source->mem.is_borrowed && c->source->mem.size > 0 &&
        block > (int64_t)c->source->mem.size)
        block = (int64_t)c->source->mem.size;
    if (n < block / 4) return true;
    return n < block / 2 && n <= room;
}

/* Passes up to *n bytes of content on; *n is then how many. */
static mm_status mmi_chunked_pass(mm_chunkqueue *from, mm_chunkqueue *to, int64_t *n)
{
    char scratch[MMI_CHUNKED_COPY];
    const mm_chunk *c = from->first;
    const char *bytes;
    size_t size;
    mm_status status;
    if (to == NULL) return mm_chunkqueue_mark_written(from, *n);
    if (!mmi_chunked_should_copy(from, to, *n)) return mm_chunkqueue_steal(to, from, *n);
    if (c->type == MM_CHUNK_MEM && *n > c->end - c->offset) *n = c->end - c->offset;
    status = mm_chunkqueue_peek(from, scratch, (size_t)*n, &bytes, &size);
    if (status == MM_STATUS_OK) status = mm_chunkqueue_append_mem(to, bytes, size);
    if (status != MM_STATUS_OK) return status;
    *n = (int64_t)size;
    return mm_chunkqueue_mark_written(from, *n);
}

/* One step of decoding: a piece of content, or framing up to the next, with the decoder's status in
   *result. Returns what a queue failed with. */
static mm_status mmi_chunked_step(mm_chunked_decoder *d, mm_chunkqueue *from, mm_chunkqueue *to,
                                  mm_status *result)
{
    char scratch[MMI_CHUNKED_PEEK];
    const char *bytes;
    size_t size, used;
    int64_t n = mm_chunkqueue_length(from);
    mm_status status;
    *result = MM_STATUS_AGAIN;
    if (d->state == MMI_CHUNKED_DATA && d->status == MM_STATUS_OK) {
        if (n > d->left) n = d->left;
        status = n == 0 ? MM_STATUS_OK : mmi_chunked_pass(from, to, &n);
        if (status == MM_STATUS_OK) mmi_chunked_passed(d, n);
        return status;
    }
    status = mm_chunkqueue_peek(from, scratch, sizeof(scratch), &bytes, &size);
    if (status != MM_STATUS_OK) return status;
    *result = mmi_chunked_read_frame(d, bytes, size, &used);
    return mm_chunkqueue_mark_written(from, (int64_t)used);
}

MM_API mm_status mm_chunked_decode_queue(mm_chunked_decoder *d, mm_chunkqueue *from,
                                         mm_chunkqueue *to)
{
    mm_status status, result;
    MM_ASSERT(from != to);
    do {
        status = mmi_chunked_step(d, from, to, &result);
    } while (status == MM_STATUS_OK && result == MM_STATUS_AGAIN && !mm_chunkqueue_is_empty(from));
    if (status == MM_STATUS_OK && to != NULL && to->memory > to->spill_at)
        status = mm_chunkqueue_spill(to);
    return status == MM_STATUS_OK ? result : status;
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
