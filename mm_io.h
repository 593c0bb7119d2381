/* mm_io.h - v0.1.0 - byte queues to files, sockets and TLS - MIT or public domain
   needs mm_chunk.h, mm_buffer.h and mm_pool.h beside it */
#if defined(MM_IMPLEMENTATION) && !defined(MM_IO_IMPLEMENTATION)
#define MM_IO_IMPLEMENTATION
#endif
#include "mm_chunk.h" /* outside the guard: the implementation may be asked for later */
#ifndef MM_IO_H_
#define MM_IO_H_
/*
NEEDS
    mm_chunk.h, mm_buffer.h and mm_pool.h in the same folder; POSIX; OpenSSL 1.1.1 or 3 with
    MM_IO_OPENSSL

DO THIS
    Copy the four files into your project and, in exactly one C or C++ file, write
        #define MM_IMPLEMENTATION
        #include "mm_io.h"
    which implements the other three as well. Elsewhere include it without the define.

OPTIONAL DEFINES (before the first include, alike in every file)
    MM_STATIC, MM_ASSERT, MM_MALLOC, MM_REALLOC, MM_FREE   as in mm_buffer.h
    MM_IO_OPENSSL        adds what is called mm_io_tls_, TLS sessions and tickets;
                         includes <openssl/ssl.h>
    MM_CHUNK_VIEWS       adds mm_mapcache; see mm_chunk.h
  (only where the implementation is)
    MM_IO_NO_SENDFILE    files are sent by pread and write; the way of systems without sendfile
    MM_IO_SIGPIPE_IGNORED  the program ignores SIGPIPE: nothing is done to keep it away
    MM_IO_NO_SPLICE      uploads are read and written, not spliced
    MM_IO_NO_OPENAT2     files are opened component by component; the way of older kernels
    MM_IO_OPENSSL_1_1    the ticket callback of OpenSSL 1.1.1 also where 3 has its successor
    MM_SYS_READ(fd, bytes, size), MM_SYS_WRITEV(fd, iov, count), MM_SYS_SENDMSG(fd, msg, flags),
    MM_SYS_SENDFILE(to, from, offset, size), MM_SYS_OPENAT(dir, path, flags),
    MM_SYS_READV(fd, iov, count), MM_SYS_PIPE2(fds, flags),
    MM_SYS_SPLICE(from, to, at, size, flags), MM_SYS_FADVISE_WILLNEED(fd, offset, size),
    MM_SYS_SETSOCKOPT(fd, level, name, value, size),
    MM_SYS_SIGPROCMASK(how, set, old, size), MM_SYS_SIGPENDING(set, size),
    MM_SYS_SIGTIMEDWAIT(set, timeout, size),
    MM_SYS_OPENAT2(dir, path, flags, resolve), MM_SYS_ACCEPT(fd),
    MM_SYS_GETRLIMIT(what, limit), MM_SYS_SETRLIMIT(what, limit),
    MM_SYS_KTLS_SENDS(ssl), MM_SYS_SSL_SENDFILE(ssl, fd, offset, size), and those of mm_chunk.h
                         the system calls, for tests and sandboxes

OVERVIEW
    mm_io_write sends a chunk queue to a descriptor: memory by writev, files by sendfile, headers
    and the file behind them in one segment. It says why it stopped: done, not ready, enough for
    now (so that one fast peer cannot starve the others), peer gone, file cut short, error.
    mm_io_read fills a queue from a descriptor, into memory that the queue already has;
    mm_io_read_all takes all that is there, with room that adapts; mm_io_splice moves an upload to
    disk past the program. mm_io_tls_write and mm_io_tls_read do the same through an SSL object that
    mm_io_tls_attach has prepared, a request by one call each way; mm_io_tls_set_allocator puts
    OpenSSL's memory on a budget.

    An mm_filecache opens files beneath a root folder and keeps them open: an entry is one
    descriptor and its fstat, so that size, times and ETag belong to the file that the descriptor
    reads, whatever its path leads to by now. A file that is rewritten, replaced or removed is
    noticed at the next lookup, a change above it (a folder renamed) after `valid_ms`. Entries are
    counted: none is closed under a reader. Paths never leave the root unless `follow` is set;
    FIFOs, sockets and devices are refused without blocking. Where the kernel has no openat2,
    links are refused altogether, also those that stay beneath the root. Entries are few and
    precious: a scan of many paths can be kept from filling the cache (`min_uses`), paths that
    fail can be remembered (`negative_ms`), what nobody asks for is closed (`inactive_ms`).

    An mm_respcache has small files with their headers ready in memory, each bound to the mm_file
    that it was made of: get the file first, then the response. An mm_mapcache keeps large files
    mapped. mm_file_append puts a range of a file into a queue, read or to be sent from the file.

    An mm_fd_budget counts descriptors, from several threads, against one limit, and an mm_fd_spare
    is the one descriptor that is left to hang up with when all others are taken.

    mm_tls_sessions and mm_tls_tickets let clients resume TLS sessions, on all threads: those that
    take tickets at no cost, the others within a bound of entries and bytes.

    All of them shrink on demand (mm_pressure_trim_...), as mm_pressure of mm_pool.h does it, and
    mm_metrics_write tells their figures, with those of mm_pool.h and the user's own.

EXAMPLE
    ---8<---
    #define MM_IMPLEMENTATION
    #include "mm_io.h"

    int main(void)
    {
        mm_chunk_pool pool;
        mm_chunkqueue q;
        mm_status status;
        int64_t sent;
        if (mm_chunk_pool_init(&pool, NULL) != MM_STATUS_OK) return 1;
        mm_chunkqueue_init(&q, &pool);
        mm_chunkqueue_append_mem(&q, "header\n", 7);
        mm_chunkqueue_append_file(&q, "/etc/passwd", 0, 5);
        do status = mm_io_write(&q, 1, 0, &sent);
        while (status == MM_STATUS_YIELD); // a server would serve others meanwhile
        mm_chunkqueue_deinit(&q);
        return status != MM_STATUS_OK || mm_chunk_pool_deinit(&pool) != MM_STATUS_OK;
    }
    --->8---

COMPLEXITY AND STABILITY
    Reads and writes are O(bytes) with O(1) memory of their own (16 KiB of stack where a file must
    be copied). A lookup in any cache but mm_mapcache is O(1) on average whatever the paths are
    (seeded hash), and so is making room, however much is in use. An mm_file, an mm_response and a
    look at a map hold until they are released. Caches must not move while anything of them is used.

THREADS
    Queues, caches of files, responses and maps, and an mm_fd_spare belong to one thread;
    mm_fd_budget, mm_tls_sessions and mm_tls_tickets are for all, but for init and deinit.

MEMORY
    A cache allocates from its desc's allocator: one block per entry and the tables. What it hands
    out is its own and stays until the last user has released it, in the table or not. A budget's
    reclaim function may trim a cache while that very cache asks for memory. Sessions and keys are
    wiped when they go.

ERRORS
    As in mm_chunk.h, and
    MM_STATUS_AGAIN    the descriptor is not ready; for TLS, SSL_want() says for what
    MM_STATUS_YIELD    `most` bytes have moved, or the disk is busy; there is more to do
    MM_STATUS_CLOSED   the peer has gone (or, reading, has sent its last byte)
    MM_STATUS_DENIED   a path that leaves the root, no permission, or not a file or folder
    MM_STATUS_LIMIT    caches: too large, or no room but for what is in use; do without
    MM_STATUS_TRUNCATED  the file is another by now: what was read of it must not be sent
    MM_STATUS_INVALID  a file was written to while it was sent
    SIGPIPE is not raised on Linux: sockets are told not to, and around sendfile and writes to pipes
    it is blocked for the thread, and taken away (two more system calls for each; a program that
    ignores the signal spares them by MM_IO_SIGPIPE_IGNORED). Other systems raise it for pipes, and
    an SSL object without mm_io_tls_attach does anywhere: ignore it there.

LICENSE
    See the end of this file.
*/
#ifdef MM_IO_OPENSSL
#include <openssl/ssl.h> /* SSL */
#endif

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

/* ---- reading and writing ---- */

/* Sends the queue to `fd`, non-blocking as a rule, and drains what was taken; *written says how
   many bytes, also when it ends with an error. `most` is the caller's share for this call in bytes,
   0 meaning 256 KiB (lighttpd's measure of fairness), of a file up to the end of the page. Says why
   it stopped:
   OK          all has been sent
   AGAIN       `fd` takes no more: go on when it is ready to be written to
   YIELD       `most` bytes have been sent, or a file is not in the system's cache and the disk was
               told to read it (mm_io_waits_for_disk): let others have their turn, then call again,
               whatever `fd` is. The second time, the disk is waited for
   CLOSED      the peer has gone
   TRUNCATED   a file has become shorter than what was queued of it
   INVALID     a file was written to since its first bytes left (where they did not all leave at
               once). Neither the rest nor what was sent can be trusted: close the connection
   NO_SPACE    `fd` is a file itself, and its disk is full
   and others of a file that cannot be opened or read (NOT_FOUND, DENIED, NO_FILES, IO), IO too when
   `fd` fails. What was not sent is still in the queue. Memory and the file behind it share
   segments; nothing stays behind in the kernel, however the call ends (a TCP_CORK of the caller's
   may come off by that). A small file leaves with the headers before it in one call. What sendfile
   has handed to TCP are pages, not copies: a file that is rewritten in place, not replaced by
   rename, can still change until the peer has taken it. */
MM_NODISCARD MM_API mm_status mm_io_write(mm_chunkqueue *q, int fd, int64_t most, int64_t *written)
    MM_NONNULL_ALL;

/* After YIELD: whether it was for a file that the disk has yet to read. */
MM_NODISCARD MM_API bool mm_io_waits_for_disk(const mm_chunkqueue *q) MM_NONNULL_ALL;

/* One read from `fd` into the queue's memory, of whatever is there up to the room left in its last
   chunk, which is at least `least` bytes (0: 2 KiB). OK: *got > 0 bytes were added. CLOSED at the
   end. The status of the queue, when an append to it has failed, and LIMIT when its memory limit
   is reached: drain it first. Beyond the queue's spill threshold
   its content goes to disk; if that fails, the bytes are in the queue nevertheless and the status
   is the reason. */
MM_NODISCARD MM_API mm_status mm_io_read(mm_chunkqueue *q, int fd, size_t least, size_t *got)
    MM_NONNULL_ALL;

typedef struct mm_io_pace { /* of a descriptor that is read; all zero at its beginning */
    size_t size;            /* bytes that the next read makes room for */
} mm_io_pace;

/* Reads all that is there, up to `most` bytes (0: 256 KiB), into chunks of the regular size, mostly
   by one call: the room for it doubles, up to 64 KiB, when a call fills it, and halves when little
   comes; and a call that has not filled its room has emptied the descriptor. OK: it is empty, and
   *got > 0. YIELD: there may be more. Otherwise as mm_io_read; CLOSED and errors may come with
   *got > 0. */
MM_NODISCARD MM_API mm_status mm_io_read_all(mm_chunkqueue *q, int fd, mm_io_pace *pace,
                                             int64_t most, int64_t *got) MM_NONNULL_ALL;

typedef struct mm_io_pipe { /* what mm_io_splice moves bytes through; one serves a thread */
    int fds[2];             /* its ends; empty between the calls */
} mm_io_pipe;

/* Makes a pipe. NO_FILES, NO_MEMORY; INVALID where the system has no splice. */
MM_NODISCARD MM_API mm_status mm_io_pipe_init(mm_io_pipe *pipe) MM_NONNULL_ALL;
MM_API void mm_io_pipe_deinit(mm_io_pipe *pipe) MM_NONNULL_ALL;

/* Moves what is there at the socket `fd`, up to `most` bytes (0: 256 KiB), to a temp file at the
   end of the queue, without a copy in the program: for uploads that are to be on disk anyway. What
   the queue has in memory goes to disk before. OK: *got > 0 bytes were added. YIELD: there may be
   more. AGAIN, CLOSED as mm_io_read; NO_SPACE and others of the disk, with every byte that had left
   the socket in the queue, in memory if there is no other place; or else, without memory or by the
   temp_budget, lost: then the queue's status is that too, and stays. What cannot be spliced is
   read. */
MM_NODISCARD MM_API mm_status mm_io_splice(mm_chunkqueue *q, int fd, const mm_io_pipe *pipe,
                                           int64_t most, int64_t *got) MM_NONNULL_ALL;

#ifdef MM_IO_OPENSSL
/* ---- TLS ---- */

/* Makes `ssl` read and write `fd` by calls that raise no SIGPIPE, and sets the modes that
   mm_io_tls_write and mm_io_tls_read need: partial writes, moving buffers, buffers released when
   they are empty, and no retries by OpenSSL itself, since a peer that sends records without data
   would keep them from returning. Without this they work on any SSL object that has the first two
   modes, with two system calls for each record read in place of one. The descriptor stays the
   caller's. NO_MEMORY.
   `ktls`: the kernel encrypts, if mm_io_ktls_is_there, and the two ends agree on what it knows;
   files are then sent without copies. Off is the better choice where that is not measured, and the
   kernel's part is one that our tests have a stand-in for.
   Take a new object for each connection. A pool of them is not worth it: SSL_clear in place of
   SSL_free and SSL_new spares 0.6 us of the 260 to 440 that a handshake takes (bench io_tls), and
   keeps what the last peer's handshake has set, such as the context that SNI chose. */
MM_NODISCARD MM_API mm_status mm_io_tls_attach(SSL *ssl, int fd, bool ktls) MM_NONNULL_ALL;

/* Whether OpenSSL and the kernel can do TLS in the kernel: asked anew with each call, of a socket
   made for that. */
MM_NODISCARD MM_API bool mm_io_ktls_is_there(void);

/* As mm_io_write, through TLS, in records of 16 KiB where there is that much, the last of which may
   go beyond `most`: headers and the body behind them are in one record, and leave in one call. When
   there is more than one, the first has 4 KiB, which the peer can decrypt after three packets. The
   handshake goes on where it must: AGAIN then is for what SSL_want() says. The file's bytes are
   compared with what they were before the last of them is out; they are copies, so that here no
   mixture is ever sent as a whole. A protocol error is IO, with OpenSSL's error queue telling
   more. After AGAIN, the queue's first 16 KiB must stay what they are. */
MM_NODISCARD MM_API mm_status mm_io_tls_write(mm_chunkqueue *q, SSL *ssl, int64_t most,
                                              int64_t *written) MM_NONNULL_ALL;

/* As mm_io_read, through TLS: what the next record has, or the part of it that there is room for.
   On an attached object one system call reads all that there is, up to 16 KiB, and
   YIELD       a record without data was taken, and there may be more in memory: let others have
               their turn, then call again, whatever the descriptor is */
MM_NODISCARD MM_API mm_status mm_io_tls_read(mm_chunkqueue *q, SSL *ssl, size_t least, size_t *got)
    MM_NONNULL_ALL;

/* Whether bytes have been read of which the descriptor does not tell any more: call mm_io_tls_read
   again before waiting for it. */
MM_NODISCARD MM_API bool mm_io_tls_has_pending(SSL *ssl) MM_NONNULL_ALL;

/* For a connection that becomes idle: gives back what buffers OpenSSL still has, if they are
   empty. */
MM_API void mm_io_tls_rest(SSL *ssl) MM_NONNULL_ALL;

typedef struct mm_io_tls_memory { /* of all of OpenSSL, in all threads */
    size_t bytes;                 /* in use now, as OpenSSL asked for them */
    size_t blocks;                /* in how many pieces */
    size_t failures;              /* requests that the allocator refused */
} mm_io_tls_memory;

/* From now on OpenSSL takes all of its memory from `allocator`: a budget's over a heap, so that it
   is bounded and seen. For all of the process, and for good: the allocator must serve any thread
   and never go away, as OpenSSL gives back the last of it when the process ends. INVALID: too late,
   OpenSSL has memory already, and nothing has changed; call it first in main, and once. */
MM_NODISCARD MM_API mm_status mm_io_tls_set_allocator(const mm_allocator *allocator);

/* What OpenSSL has by that; all 0 when it was not called. */
MM_NODISCARD MM_API mm_io_tls_memory mm_io_tls_get_memory(void);
#endif

/* ---- descriptors ---- */

typedef enum mm_fd_use { /* what a descriptor is for */
    MM_FD_OTHER = 0,     /* anything: what mm_fd_budget_take counts */
    MM_FD_CONNECTION,    /* a client */
    MM_FD_FILE,          /* an open file: what an mm_filecache counts */
    MM_FD_TEMP,          /* a temp file */
    MM_FD_USES
} mm_fd_use;

typedef struct mm_fd_budget {  /* descriptors of all kinds against one limit; for all threads */
    size_t limit;              /* most that may be taken; set before it is shared */
    size_t taken;              /* atomic: taken now */
    size_t peak;               /* atomic: most that were */
    size_t refused;            /* atomic: takes that failed */
    size_t most[MM_FD_USES];   /* most for each use, for example what leaves files to clients; 0:
                                  the limit; set before it is shared */
    size_t by_use[MM_FD_USES]; /* atomic: of taken, those for each use */
} mm_fd_budget;

typedef struct mm_fd_budget_desc {
    size_t cap;              /* see mm_fd_limit_raise */
    size_t reserve;          /* left for what is not counted: log, listeners, libraries; 0: 128 */
    size_t most[MM_FD_USES]; /* as in mm_fd_budget */
} mm_fd_budget_desc;

/* Raises the soft limit of open descriptors to the hard one, but to no more than `cap` (0:
   1,048,576: hard limits of 10^9 exist, and nothing should be sized by one), and stores how many
   may be open, at most `cap`. */
MM_NODISCARD MM_API mm_status mm_fd_limit_raise(size_t cap, size_t *limit) MM_NONNULL_ALL;

/* A budget of all that may be open after mm_fd_limit_raise, less the reserve. NO_FILES when nothing
   is left then, IO. (One of all zero bytes but for its limit is good, too.) */
MM_NODISCARD MM_API mm_status mm_fd_budget_init(mm_fd_budget *budget, const mm_fd_budget_desc *desc)
    MM_NONNULL_ALL;

/* Takes one descriptor off the budget, for a use; false when none is left. NULL counts nothing. */
MM_NODISCARD MM_API bool mm_fd_budget_take(mm_fd_budget *budget);
MM_NODISCARD MM_API bool mm_fd_budget_take_for(mm_fd_budget *budget, mm_fd_use use);

/* How many are taken now. */
MM_NODISCARD MM_API size_t mm_fd_budget_taken(const mm_fd_budget *budget) MM_NONNULL_ALL;

/* Gives one back, for the use that it was taken for. */
MM_API void mm_fd_budget_give(mm_fd_budget *budget);
MM_API void mm_fd_budget_give_for(mm_fd_budget *budget, mm_fd_use use);

/* For what cannot ask before it opens, as an mm_chunk_pool with its temp files: makes what is taken
   for that follow from `*held`, which the caller keeps (0 at first), to `now`, also over the limit,
   and sets *held to that. Called in each turn of a loop, say. */
MM_API void mm_fd_budget_follow(mm_fd_budget *budget, mm_fd_use use, size_t *held, size_t now)
    MM_NONNULL(3);

/* A descriptor that is kept for the moment when there is no other: at the limit accept fails, the
   client stays in the queue of the listener, and poll says at once that there is something to
   accept, again and again. Of one thread, on no budget. */
typedef struct mm_fd_spare {
    int fd; /* of /dev/null, as a rule; -1: it has yet to come back */
} mm_fd_spare;

MM_NODISCARD MM_API mm_status mm_fd_spare_init(mm_fd_spare *spare) MM_NONNULL_ALL;
MM_API void mm_fd_spare_deinit(mm_fd_spare *spare) MM_NONNULL_ALL;

/* When accept has failed for want of a descriptor (NO_FILES): accepts one client on the listener,
   which does not block, with the spare one, and hangs up. OK: one client less waits. AGAIN: none
   waits. NO_FILES: another thread was faster; wait a moment. CLOSED: the client had gone. IO. */
MM_NODISCARD MM_API mm_status mm_fd_spare_shed(mm_fd_spare *spare, int listener) MM_NONNULL_ALL;

/* ---- open files ---- */

struct mm_filecache;

typedef struct mm_file {        /* an open file or folder, and what fstat said when it was opened */
    /* the cache's own, first so that a lookup meets few cache lines: */
    struct mm_file *next;       /* in its bucket */
    struct mm_file *newer;      /* towards the most recently used, */
    struct mm_file *older;      /* towards the least: while nobody uses it, or it is a note */
    uint64_t hash;              /* of the path */
    size_t path_size;           /* bytes of the path */
    const char *path;           /* behind this structure; no NUL */
    size_t refs;                /* users, and one while it is in the table */
    /* the user's to read: */
    int fd;                     /* open for reading; use pread, the position is shared */
    bool is_directory;          /* a folder, to be listed */
    bool cached;                /* it is in the table */
    uint64_t uses;              /* lookups that were answered with it, or counted before it */
    int64_t used;               /* when it was asked for last; ms */
    int64_t looked;             /* when fstat was asked last; ms */
    int64_t checked;            /* when the path was looked up last; ms */
    mm_status status;           /* of a note (fd < 0): the answer; OK: lookups are counted only */
    int64_t size;               /* in bytes */
    const char *type;           /* what the desc's type_fn answered: a MIME type; or NULL */
    struct mm_filecache *cache; /* where it was opened */
    int64_t mtime;              /* last change of content, seconds since 1970 */
    int64_t mtime_ns;           /* and its nanoseconds */
    int64_t ctime;              /* last change of content or attributes, seconds since 1970 */
    int64_t ctime_ns;           /* and its nanoseconds */
    uint64_t dev;               /* device, */
    uint64_t ino;               /* and number of the file on it */
    char etag[72];              /* validator of RFC 9110, 8.8.3, quotes included: of number, size,
                                   mtime and ctime */
} mm_file;

/* The MIME type, or what the user likes to remember, of a path beneath the root; asked once for
   each file that is opened. What it returns must outlive the cache. */
typedef const char *(*mm_file_type)(mm_slice path, void *user_data);

typedef struct mm_filecache_desc {
    const char *root;              /* folder that all paths are beneath; needed */
    bool follow;                   /* symbolic links may leave the root */
    size_t max_entries;            /* files kept open when nobody uses them; 0: 1024 */
    size_t max_notes;              /* paths remembered without a descriptor: those that failed, and
                                      those looked up less than min_uses times; 0: max_entries */
    uint32_t min_uses;             /* lookups, each within inactive_ms of the one before, until a
                                      file is kept open; 0 and 1: at the first */
    int64_t valid_ms;              /* the path of an entry is looked up again when the last time is
                                      longer ago; 0: 1000; negative: every time */
    int64_t stat_ms;               /* likewise, fstat is asked whether the file has changed; 0:
                                      every time, which is a system call in each lookup. More is
                                      faster, and sizes, times and ETag may be as old as that */
    int64_t inactive_ms;           /* what was not asked for so long is closed or forgotten; 0:
                                      60000; negative: never */
    int64_t negative_ms;           /* NOT_FOUND and DENIED are remembered so long; 0: not at all */
    mm_file_type type_fn;          /* gives mm_file.type; NULL: none */
    void *type_data;               /* its user_data */
    mm_fd_budget *fds;             /* counts the cache's descriptors; NULL: nobody does */
    const mm_allocator *allocator; /* NULL: the default */
} mm_filecache_desc;

typedef struct mm_filecache_stats {
    size_t entries;     /* files in the table */
    size_t idle;        /* of these, files that nobody uses: what can be closed */
    size_t notes;       /* paths remembered without a descriptor */
    size_t open;        /* descriptors, those of replaced entries still in use included */
    uint64_t hits;      /* lookups answered without opening */
    uint64_t negative;  /* lookups refused from memory */
    uint64_t misses;    /* lookups that opened or failed */
    uint64_t evictions; /* files closed to make room or to free descriptors */
    uint64_t expired;   /* files and notes that nobody asked for in time */
    uint64_t changed;   /* files found to be others by now */
} mm_filecache_stats;

typedef struct mm_filecache_list { /* by time of use */
    mm_file *newest;               /* used last */
    mm_file *oldest;               /* to go first */
} mm_filecache_list;

typedef struct mm_filecache {
    const mm_allocator *allocator; /* of entries and table */
    mm_fd_budget *fds;             /* or NULL */
    mm_file **buckets;             /* heads of lists; bucket_count of them */
    size_t bucket_count;           /* a power of two >= max_entries + max_notes */
    size_t max_entries;            /* of the desc, as the next seven, defaults filled in */
    size_t max_notes;
    uint32_t min_uses;
    int64_t valid_ms;
    int64_t stat_ms;
    int64_t inactive_ms;
    int64_t negative_ms;
    mm_file_type type_fn;
    void *type_data;               /* of the desc */
    mm_filecache_list idle;        /* open files that nobody uses: those in use are in no list */
    mm_filecache_list notes;       /* what has no descriptor */
    int64_t now;                   /* the latest that was told */
    uint64_t key[2];               /* random, of the hash */
    int root_fd;                   /* the root folder */
    bool follow;                   /* of the desc */
    bool no_openat2;               /* it does not work here */
    mm_filecache_stats stats;      /* as they stand */
} mm_filecache;

/* Opens the root. NOT_FOUND or DENIED when it is no folder that can be read; NO_MEMORY. */
MM_NODISCARD MM_API mm_status mm_filecache_init(mm_filecache *cache, const mm_filecache_desc *desc)
    MM_NONNULL_ALL;

/* Closes what nobody uses, and the root. Returns the number of files still in use: with any the
   cache is otherwise still whole, and this is to be called again when they are released. */
MM_API size_t mm_filecache_deinit(mm_filecache *cache) MM_NONNULL_ALL;

/* The file or folder at `path`, relative to the root, without a leading slash; "" is the root
   itself. `now` is a clock in milliseconds that never goes back. On OK *file is the caller's until
   mm_file_release; it need not be one that is kept open after that. NOT_FOUND, DENIED, NO_FILES
   (after closing unused entries), NO_MEMORY, IO; INVALID for a path with a NUL, an empty or dot
   component, or longer than 4095 bytes. */
MM_NODISCARD MM_API mm_status mm_filecache_open(mm_filecache *cache, mm_slice path, int64_t now,
                                                mm_file **file) MM_NONNULL_ALL;

/* Closes unused entries, oldest first, until at most `entries` are in the table, and forgets notes
   until there are no more of them than that either. O(what goes), however much is in use. */
MM_API void mm_filecache_trim(mm_filecache *cache, size_t entries) MM_NONNULL_ALL;

/* Closes and forgets what nobody has asked for within inactive_ms. Lookups do a little of that
   themselves, so it is for timers, where no lookups come. */
MM_API void mm_filecache_expire(mm_filecache *cache, int64_t now) MM_NONNULL_ALL;

/* Drops what is remembered of a path: it is known to have changed. Readers keep their file. */
MM_API void mm_filecache_forget(mm_filecache *cache, mm_slice path) MM_NONNULL_ALL;

/* For an mm_pressure_action with the cache as user data: on entering, trims it to percent. */
MM_API void mm_pressure_trim_files(const mm_pressure_action *action, bool entering) MM_NONNULL_ALL;

/* One more user; one user less. */
MM_API void mm_file_retain(mm_file *file) MM_NONNULL_ALL;
MM_API void mm_file_release(mm_file *file) MM_NONNULL_ALL;

/* retain and release as mm_chunkqueue_append_fd_ref wants them: `file` is an mm_file. */
MM_API void mm_file_refchg(void *file, int change) MM_NONNULL_ALL;

/* Whether the structure is sound. O(entries); for tests and assertions. */
MM_API bool mm_filecache_check(const mm_filecache *cache) MM_NONNULL_ALL;

/* Reads `size` bytes at `offset` of the file and makes sure that they are its, and whole. TRUNCATED
   when the file is another by now than `file` says (bytes then are garbage), IO. */
MM_NODISCARD MM_API mm_status mm_file_read(const mm_file *file, char *bytes, size_t size,
                                           int64_t offset) MM_NONNULL_ALL;

/* Adds `length` bytes at `offset` of the file to a queue: up to `most` of them are read into its
   memory, so that they leave with the headers in one call and one segment; more are left to
   sendfile, with a reference to the file. most 0: 32 KiB, up to where reading took no longer in
   tests/bench/io_cache.c. TRUNCATED: see mm_file_read; INVALID: a range that the file does not
   have, or a folder. The queue is unchanged unless OK. */
MM_NODISCARD MM_API mm_status mm_file_append(mm_chunkqueue *q, mm_file *file, int64_t offset,
                                             int64_t length, size_t most) MM_NONNULL_ALL;

/* ---- responses that are ready to send ---- */

/* Small files with their headers, in memory. An entry belongs to a key of the user's (the path, and
   what else chose the representation) and to the mm_file that it was made of: another file at the
   same path, or another content of it, is not answered with it.

   What stays is decided by S3-FIFO (Yang et al., SOSP 2023): new entries pass through a queue of a
   tenth of the bytes, from which those asked for twice go on to the main one, and a list of hashes
   lets what comes back soon after it was evicted go there at once. So a scan of all files (a
   crawler) passes by what is in demand; and a hit changes one counter and moves no list, which LRU,
   2Q and SLRU do each time. */

struct mm_respcache;

typedef struct mm_response {        /* an entry; head and body lie behind one another */
    mm_slice head;                  /* status line and fields, as given */
    mm_slice body;                  /* content of the file */
    /* the cache's own: */
    struct mm_respcache *cache;     /* where it was made */
    struct mm_response *next;       /* in its bucket */
    struct mm_response *newer;      /* towards what was added last to its queue */
    struct mm_response *older;      /* towards what goes first */
    mm_slice key;                   /* a copy */
    uint64_t hash;                  /* of the key */
    uint64_t file[7];               /* device, number, size, and times of the file */
    size_t bytes;                   /* of this block, all included */
    size_t refs;                    /* users, and one while it is in the table */
    unsigned char hits;             /* since it was looked at last, 3 at most */
    bool in_main;                   /* which queue */
    bool cached;                    /* it is in the table */
} mm_response;

typedef struct mm_respcache_desc {
    size_t max_bytes;              /* of all entries, those that left the table but are being sent
                                      included; 0: 16 MiB */
    size_t max_entries;            /* 0: one for every 512 of max_bytes */
    size_t max_body;               /* larger bodies are refused; 0: 64 KiB, a sixteenth of max_bytes
                                      if that is less */
    unsigned high_percent;         /* of max_bytes: an entry that would go beyond it makes others
                                      leave; 0: 90 */
    unsigned low_percent;          /* until there are no more than this; 0: 70 */
    mm_budget *budget;             /* told how many bytes are cached (mm_budget_note); NULL: none */
    const mm_allocator *allocator; /* of entries and tables, mm_budget_allocator() as a rule; NULL:
                                      the default */
} mm_respcache_desc;

typedef struct mm_respcache_stats {
    size_t entries;     /* in the table */
    size_t bytes;       /* of these */
    size_t leaving;     /* bytes of entries that left the table and are still being sent */
    size_t peak;        /* most bytes of both at a time */
    uint64_t hits;      /* lookups answered */
    uint64_t misses;    /* lookups not answered */
    uint64_t changed;   /* of the misses: the file was another by now */
    uint64_t inserted;  /* entries added */
    uint64_t returned;  /* of these, such as were evicted not long ago */
    uint64_t evictions; /* entries that made room */
    uint64_t refused;   /* entries not added: too large, no room, no memory */
} mm_respcache_stats;

typedef struct mm_respcache_queue { /* first in, first out */
    mm_response *newest;            /* added last */
    mm_response *oldest;            /* to be looked at first */
    size_t bytes;                   /* of its entries */
} mm_respcache_queue;

typedef struct mm_respcache {
    const mm_allocator *allocator; /* of the desc, as the next three */
    mm_budget *budget;
    size_t max_bytes;
    size_t max_entries;
    size_t max_body;
    size_t high, low;              /* the marks in bytes */
    mm_response **buckets;         /* heads of lists; bucket_count of them */
    size_t bucket_count;           /* a power of two >= max_entries */
    uint64_t *ghosts;              /* hashes of what was evicted, each at its place or overwritten;
                                      as many as buckets */
    mm_respcache_queue small_queue; /* what is new */
    mm_respcache_queue main_queue; /* what was asked for again */
    uint64_t key[2];               /* random, of the hash */
    bool paused;                   /* nothing is added */
    mm_respcache_stats stats;      /* as they stand */
} mm_respcache;

/* Allocates the tables. INVALID: marks above 100 or low above high; TOO_LARGE; NO_MEMORY. */
MM_NODISCARD MM_API mm_status mm_respcache_init(mm_respcache *cache, const mm_respcache_desc *desc)
    MM_NONNULL_ALL;

/* Frees what nobody uses. Returns the number of bytes still being sent: with any the cache is whole
   but empty, and this is to be called again when they are released. */
MM_API size_t mm_respcache_deinit(mm_respcache *cache) MM_NONNULL_ALL;

/* The response for a key, with a reference for the caller, if it was made of the file as it is in
   `file`, which mm_filecache_open has just returned; else NULL, and an entry of another file is
   dropped. O(1), no system call. */
MM_NODISCARD MM_API mm_response *mm_respcache_get(mm_respcache *cache, mm_slice key,
                                                  const mm_file *file) MM_NONNULL_ALL;

/* Makes a response of `head` and `body`, or of the file's content when `body` is NULL, in the place
   of what the key has. On OK *response is the caller's until mm_response_release. LIMIT: too large,
   or all is full of what is being sent, or paused: send it another way. TRUNCATED: the file is
   another by now. INVALID: a folder. NO_MEMORY, IO. */
MM_NODISCARD MM_API mm_status mm_respcache_put(mm_respcache *cache, mm_slice key,
                                               const mm_file *file, mm_slice head,
                                               const mm_slice *body, mm_response **response)
    MM_NONNULL(1) MM_NONNULL(3) MM_NONNULL(6);

/* Drops what a key has, if anything. Who sends it still has it. */
MM_API void mm_respcache_forget(mm_respcache *cache, mm_slice key) MM_NONNULL_ALL;

/* Drops entries until their bytes are percent of what they are now; 0: all. */
MM_API void mm_respcache_trim(mm_respcache *cache, unsigned percent) MM_NONNULL_ALL;

/* For mm_budget_desc.reclaim_fn, with the cache as user data: drops entries until `wanted` bytes
   are free, returns how many are. For a budget that this thread alone charges. */
MM_API size_t mm_respcache_reclaim(size_t wanted, void *cache) MM_NONNULL_ALL;

/* For an mm_pressure_action with the cache as user data: on entering, trims it to percent; with
   percent 0, nothing is added until the level is left. */
MM_API void mm_pressure_trim_responses(const mm_pressure_action *action, bool entering)
    MM_NONNULL_ALL;

/* One more user; one user less. */
MM_API void mm_response_retain(mm_response *response) MM_NONNULL_ALL;
MM_API void mm_response_release(mm_response *response) MM_NONNULL_ALL;

/* Appends head and body (or the head alone) to a queue without copying them: the response has one
   user more until they have left. On failure as mm_chunkqueue_append_reference. */
MM_API mm_status mm_response_append(mm_response *response, mm_chunkqueue *q, bool with_body)
    MM_NONNULL_ALL;

/* Whether the structure is sound. O(entries); for tests and assertions. */
MM_API bool mm_respcache_check(const mm_respcache *cache) MM_NONNULL_ALL;

#ifdef MM_CHUNK_VIEWS
/* ---- files mapped into memory ---- */

/* Windows onto whole files that stay mapped while they are in demand, for programs that look into
   files (to compress or hash them); for sending, sendfile is as fast and costs no address space.
   mm_chunk_views_begin must have been called: it is what makes a file that shrinks safe to read. */

struct mm_mapcache;

typedef struct mm_mapcache_entry {   /* a mapped file */
    mm_chunkqueue queue;             /* has the file as its one chunk, and that the window */
    mm_file *file;                   /* a reference is the queue's */
    size_t users;                    /* looks at it */
    struct mm_mapcache_entry *newer; /* by time of use */
    struct mm_mapcache_entry *older;
} mm_mapcache_entry;

typedef struct mm_mapcache_desc {
    mm_chunk_pool *pool; /* of the windows; needed */
    int64_t max_total;   /* most bytes mapped; 0: 256 MiB */
    int64_t max_file;    /* larger files are refused; 0: 16 MiB */
    int64_t min_file;    /* smaller ones, too; 0: 128 KiB, below which reading is faster */
    size_t max_count;    /* most files mapped; 0: 64; a process can have 256 */
} mm_mapcache_desc;

typedef struct mm_mapcache_stats {
    size_t entries;     /* files mapped */
    int64_t bytes;      /* of them */
    uint64_t hits;      /* looks at what was mapped */
    uint64_t misses;    /* looks for which a file was mapped, or could not be */
    uint64_t evictions; /* files unmapped to make room, or because they had changed */
} mm_mapcache_stats;

typedef struct mm_mapcache {
    mm_mapcache_desc desc;              /* defaults filled in */
    mm_mapcache_entry *newest, *oldest; /* all entries */
    mm_mapcache_stats stats;            /* as they stand */
} mm_mapcache;

typedef struct mm_filemap {   /* a look at a file */
    mm_slice bytes;           /* all of the file; until put */
    mm_chunk_view *view;      /* the window */
    mm_mapcache_entry *entry; /* where it belongs */
} mm_filemap;

/* INVALID when a limit is negative or min_file above max_file. */
MM_NODISCARD MM_API mm_status mm_mapcache_init(mm_mapcache *cache, const mm_mapcache_desc *desc)
    MM_NONNULL_ALL;

/* Unmaps what nobody looks at; returns how many looks there still are: then it is to be called
   again. The files' cache must still be there. */
MM_API size_t mm_mapcache_deinit(mm_mapcache *cache) MM_NONNULL_ALL;

/* All of a file, mapped. LIMIT: the file is too small or too large, or there is no room for what
   nobody else looks at; TRUNCATED: it is another by now; others where mapping fails. Then read it.
   An entry keeps its file open; one whose file is another by now goes when room is looked for.
   O(entries). */
MM_NODISCARD MM_API mm_status mm_mapcache_get(mm_mapcache *cache, mm_file *file, mm_filemap *map)
    MM_NONNULL_ALL;

/* Ends a look. TRUNCATED: the file was cut short meanwhile, zeros may have stood for what was gone,
   and what was made of the bytes must not be used. */
MM_NODISCARD MM_API mm_status mm_mapcache_put(mm_mapcache *cache, mm_filemap *map) MM_NONNULL_ALL;

/* Unmaps what nobody looks at, oldest first, until at most `count` files are mapped. */
MM_API void mm_mapcache_trim(mm_mapcache *cache, size_t count) MM_NONNULL_ALL;
#endif

#ifdef MM_IO_OPENSSL
/* ---- TLS sessions ---- */

/* Sessions of clients that come back, for all threads and all SSL_CTX of a process. Each is kept as
   its DER form, so that its bytes are known, belong to one allocator, and are wiped when it goes.
   Clients that take tickets cost nothing here. Sessions are spread over shards by their ids, each
   with a lock, a table and an LRU list of its own. */

typedef struct mm_tls_session {    /* internal: an entry, its DER form behind it */
    struct mm_tls_session *next;   /* in its bucket */
    struct mm_tls_session *newer;  /* by time of use */
    struct mm_tls_session *older;
    uint64_t hash;                 /* of the id */
    int64_t made;                  /* when it was put; seconds */
    size_t size;                   /* bytes of the DER form */
    size_t id_size;                /* bytes of the id */
    unsigned char id[32];          /* as long as one can be */
} mm_tls_session;

typedef struct mm_tls_sessions_stats {
    size_t entries;     /* sessions held */
    size_t bytes;       /* of them, all included */
    uint64_t hits;      /* lookups answered */
    uint64_t misses;    /* lookups not answered */
    uint64_t inserted;  /* sessions put */
    uint64_t evictions; /* sessions that made room */
    uint64_t expired;   /* sessions whose time was over */
    uint64_t refused;   /* sessions too large, or without memory */
} mm_tls_sessions_stats;

typedef struct mm_tls_sessions_shard {
    size_t lock;                     /* atomic: guards what follows */
    mm_tls_session **buckets;        /* heads of lists */
    mm_tls_session *newest, *oldest; /* by time of use */
    mm_tls_sessions_stats stats;     /* of this shard */
    char padding[64];                /* the next one's lock lies on another cache line */
} mm_tls_sessions_shard;

typedef struct mm_tls_sessions_desc {
    size_t max_entries;               /* 0: 10240 */
    size_t max_bytes;                 /* 0: 1 KiB for each of max_entries */
    size_t max_session;               /* bytes of a DER form; larger ones, of clients with large
                                         certificates, are not kept; 0 and at most: 4096 */
    int64_t timeout;                  /* seconds that a session can be resumed; 0: 7200 */
    size_t shards;                    /* a power of two; 0: 16, or less when that would leave fewer
                                         than 64 entries in each */
    int64_t (*now_fn)(void *user_data); /* seconds of any clock; NULL: time() */
    void *now_data;                   /* its user_data */
    const mm_allocator *allocator;    /* of all memory, safe on any thread; NULL: the default */
} mm_tls_sessions_desc;

typedef struct mm_tls_sessions {
    mm_tls_sessions_desc desc;      /* defaults filled in */
    mm_tls_sessions_shard *shards;  /* desc.shards of them */
    size_t bucket_count;            /* of each shard, a power of two */
    size_t shard_entries;           /* most in a shard: max_entries / shards, */
    size_t shard_bytes;             /* and their bytes */
    uint64_t key[2];                /* random, of the hash */
} mm_tls_sessions;

/* Allocates the tables. INVALID: shards no power of two or above max_entries; timeout negative;
   TOO_LARGE; NO_MEMORY. It must not move while it is attached. */
MM_NODISCARD MM_API mm_status mm_tls_sessions_init(mm_tls_sessions *sessions,
                                                   const mm_tls_sessions_desc *desc) MM_NONNULL_ALL;

/* Wipes and frees all. Every SSL_CTX that it is attached to must have gone. */
MM_API void mm_tls_sessions_deinit(mm_tls_sessions *sessions) MM_NONNULL_ALL;

/* Lets a server's context use it instead of OpenSSL's own cache, with its timeout, and without
   early data, which could be replayed. To be called for every context that SNI can choose, before
   the first handshake. The context needs SSL_CTX_set_session_id_context when it asks clients for
   certificates. NO_MEMORY when OpenSSL has none. */
MM_NODISCARD MM_API mm_status mm_tls_sessions_attach(mm_tls_sessions *sessions, SSL_CTX *context)
    MM_NONNULL_ALL;

/* What the callbacks do, for those who have callbacks of their own. put: INVALID for an id of 0 or
   more than 32 bytes, LIMIT for a session that is too large, NO_MEMORY. get: the DER form goes to
   `der`, which has room for max_session bytes; NOT_FOUND. Any thread. */
MM_NODISCARD MM_API mm_status mm_tls_sessions_put(mm_tls_sessions *sessions, mm_slice id,
                                                  mm_slice der) MM_NONNULL_ALL;
MM_NODISCARD MM_API mm_status mm_tls_sessions_get(mm_tls_sessions *sessions, mm_slice id,
                                                  unsigned char *der, size_t *size) MM_NONNULL_ALL;
MM_API void mm_tls_sessions_remove(mm_tls_sessions *sessions, mm_slice id) MM_NONNULL_ALL;

/* Wipes and frees, in each shard, the sessions used least recently until percent of their number is
   left; 0: all. Any thread. */
MM_API void mm_tls_sessions_trim(mm_tls_sessions *sessions, unsigned percent) MM_NONNULL_ALL;

/* Wipes and frees those whose time is over: for a timer. O(sessions), a shard locked at a time. */
MM_API void mm_tls_sessions_expire(mm_tls_sessions *sessions) MM_NONNULL_ALL;

/* For an mm_pressure_action with the sessions as user data: on entering, trims to percent. */
MM_API void mm_pressure_trim_sessions(const mm_pressure_action *action, bool entering)
    MM_NONNULL_ALL;

/* The sums over all shards. Any thread. */
MM_API mm_tls_sessions_stats mm_tls_sessions_get_stats(mm_tls_sessions *sessions) MM_NONNULL_ALL;

/* Whether the structure is sound, when no other thread uses it; for tests. */
MM_API bool mm_tls_sessions_check(mm_tls_sessions *sessions) MM_NONNULL_ALL;

/* ---- session tickets (RFC 5077; RFC 8446, 4.6.1) ---- */

/* Who knows a ticket key can read what was sent under it in TLS 1.2, and resume sessions: so they
   change. Keys of our own are made anew by mm_tls_tickets_rotate; those of a file, which several
   machines share, are its owner's to change. Tickets are sealed with AES-256-CBC and HMAC-SHA-256
   by the first key, and opened by any. For all threads. */

#define MM_TLS_TICKET_KEYS 8 /* most at a time */

typedef struct mm_tls_ticket_key { /* 80 random bytes, as they are in a file */
    unsigned char name[16];
    unsigned char hmac[32];
    unsigned char aes[32];
} mm_tls_ticket_key;

typedef struct mm_tls_tickets_desc {
    const char *file; /* of 1 to 8 keys; not copied; NULL: keys of our own */
    int64_t rotate;   /* seconds until our own key is replaced; 0: 3600 */
    int64_t lifetime; /* seconds that a ticket can be used; 0: 7200; at most 7 times rotate */
} mm_tls_tickets_desc;

typedef struct mm_tls_tickets {
    mm_tls_tickets_desc desc;                   /* defaults filled in */
    size_t lock;                                /* atomic: guards what follows */
    mm_tls_ticket_key keys[MM_TLS_TICKET_KEYS]; /* the first seals, all open */
    size_t count;                               /* of them; 0: not initialised */
    int64_t made;                               /* when the first was, if it is our own */
    size_t exposed;                             /* atomic: others could read the file */
} mm_tls_tickets;

/* Makes or reads the keys. `now`: seconds of a clock that does not go back. INVALID: a lifetime for
   which there would be too many keys, or a file that is none, or not 1 to 8 keys of 80 bytes;
   NOT_FOUND, DENIED, NO_FILES, IO with errno; IO with errno 0 when there is no randomness. */
MM_NODISCARD MM_API mm_status mm_tls_tickets_init(mm_tls_tickets *tickets,
                                                  const mm_tls_tickets_desc *desc, int64_t now)
    MM_NONNULL_ALL;

/* Wipes the keys. Every SSL_CTX that they are attached to must have gone. */
MM_API void mm_tls_tickets_deinit(mm_tls_tickets *tickets) MM_NONNULL_ALL;

/* Reads the file again, if there is one; when it is bad the keys stay as they were. */
MM_NODISCARD MM_API mm_status mm_tls_tickets_reload(mm_tls_tickets *tickets) MM_NONNULL_ALL;

/* Replaces a key of our own whose time is over; those before it live as long as their tickets.
   Without randomness the old one stays. For a timer. */
MM_API void mm_tls_tickets_rotate(mm_tls_tickets *tickets, int64_t now) MM_NONNULL_ALL;

/* Whether others than its owner could read the file when it was read last. */
MM_API bool mm_tls_tickets_exposed(const mm_tls_tickets *tickets) MM_NONNULL_ALL;

/* Seals and opens the tickets of a context, and sets its timeout to their lifetime. */
MM_NODISCARD MM_API mm_status mm_tls_tickets_attach(mm_tls_tickets *tickets, SSL_CTX *context)
    MM_NONNULL_ALL;
#endif

/* ---- metrics of everything ---- */

typedef enum mm_metrics_kind { /* what a source points to */
    MM_METRICS_FILES,          /* mm_filecache */
    MM_METRICS_RESPONSES,      /* mm_respcache */
    MM_METRICS_MAPS,           /* mm_mapcache; needs MM_CHUNK_VIEWS */
    MM_METRICS_SESSIONS,       /* mm_tls_sessions; needs MM_IO_OPENSSL */
    MM_METRICS_CHUNKS,         /* mm_chunk_pool */
    MM_METRICS_DESCRIPTORS     /* mm_fd_budget */
} mm_metrics_kind;

typedef struct mm_metrics_source {
    mm_metrics_kind kind; /* the type of object */
    const char *name;     /* label, UTF-8; NULL: empty. Within a kind no two may be alike */
    void *object;         /* not NULL */
} mm_metrics_source;

typedef struct mm_metrics_value {        /* a figure of the user's own */
    const char *metric;                  /* name by Prometheus' rules: "my_requests_total" */
    const char *help;                    /* one line */
    bool is_counter;                     /* never goes down; its name ends in _total */
    const char *label;                   /* name of its label; NULL: none. Values that differ in the
                                            label alone stand next to each other */
    const char *label_value;             /* UTF-8 */
    uint64_t (*read_fn)(void *user_data); /* the figure as it is now */
    void *user_data;                     /* for read_fn */
} mm_metrics_value;

/* What is to be told. All zero: only the memory of the process. */
typedef struct mm_metrics {
    const mm_stats_source *stats;     /* of mm_pool.h: pools, slabs, tiers, budgets, pressures */
    size_t stats_count;
    const mm_metrics_source *sources; /* of mm_chunk.h and this header */
    size_t source_count;
    const mm_metrics_value *values;   /* anything else */
    size_t value_count;
    uint64_t (*heap_fn)(void *user_data); /* bytes in use of the heap, mm_heap's for example; NULL:
                                             unknown */
    void *heap_data;                  /* its user_data */
    const size_t *active;             /* atomic: connections with a request; NULL: unknown */
    const size_t *idle;               /* atomic: connections without; NULL: unknown */
} mm_metrics;

/* Writes all figures through the sink, in pieces of up to some 500 bytes; allocates nothing. As
   Prometheus text, first the ten that dashboards for web servers know, each left out when nothing
   tells it:
     webserver_memory_total_bytes, resident (Linux, where /proc can be read);
     webserver_memory_heap_bytes;
     webserver_buffer_pool_allocated{pool,size} and webserver_buffer_pool_available{pool,size}, of
       each tier in `stats`;
     webserver_connections_active, webserver_connections_idle;
     webserver_open_file_cache_entries, webserver_response_cache_bytes,
       webserver_tls_session_cache_entries: the sums over the sources;
     webserver_memory_pressure, 0 to 3: the highest in `stats`;
   then those of each part, named mm_..., the user's, and what mm_stats_write has. As JSON an object
   with the members webserver (the ten), an array for each kind of source (files, responses, maps,
   sessions, chunks, descriptors), values, and memory (what mm_stats_write has).
   Each source has to be readable by this thread: sessions and descriptors are from any, the others
   belong to theirs. Returns OK, what the sink returned if not that, or INVALID, nothing written: an
   unknown format or kind, an object or read_fn of NULL, a bad name of a metric or label. */
MM_NODISCARD MM_API mm_status mm_metrics_write(const mm_metrics *metrics, mm_stats_format format,
                                               mm_stats_sink sink, void *user_data)
    MM_NONNULL(1) MM_NONNULL(3);

#ifdef __cplusplus
}
#endif
#endif /* MM_IO_H_ */

#if defined(MM_IO_IMPLEMENTATION) && !defined(MMI_IO_IMPLEMENTED)
#define MMI_IO_IMPLEMENTED
#ifdef MMI_LIBC_ASSERT
#include <assert.h> /* assert, for MM_ASSERT */
#endif
#ifdef MMI_LIBC_MALLOC
#include <stdlib.h> /* malloc, free */
#endif
#include <errno.h>        /* errno and its values */
#include <fcntl.h>        /* openat */
#include <netinet/in.h>   /* IPPROTO_TCP */
#include <netinet/tcp.h>  /* TCP_CORK */
#include <string.h>       /* memchr, memcpy, memset */
#include <sys/resource.h> /* getrlimit, setrlimit */
#include <sys/socket.h>   /* sendmsg */
#include <sys/stat.h>     /* fstat */
#include <sys/uio.h>      /* struct iovec, writev */
#include <time.h>         /* time, when there is no better seed */
#include <unistd.h>       /* read */
#ifdef __linux__
#include <signal.h>       /* SIGPIPE */
#include <sys/sendfile.h> /* sendfile */
#include <sys/syscall.h>  /* SYS_openat2 and others that the C library hides or lacks */
#endif
#ifdef MM_IO_OPENSSL
#include <openssl/bio.h>    /* BIO_meth_new */
#include <openssl/crypto.h> /* OPENSSL_cleanse, CRYPTO_set_mem_functions */
#include <openssl/err.h>    /* ERR_clear_error */
#include <openssl/evp.h>    /* EVP_aes_256_cbc */
#include <openssl/rand.h>   /* RAND_bytes */
#include <sched.h>          /* sched_yield, while another thread has a shard's lock */
#if OPENSSL_VERSION_NUMBER < 0x30000000L || defined(MM_IO_OPENSSL_1_1)
#include <openssl/hmac.h> /* HMAC_Init_ex */
#else
#include <openssl/core_names.h> /* OSSL_MAC_PARAM_DIGEST */
#include <openssl/params.h>     /* OSSL_PARAM_construct_end */
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifdef MMI_STRICT_GLIBC /* see mm_chunk.h */
extern int MMI_FILE(openat)(int dir, const char *path, int flags, ...);
extern int MMI_FILE(posix_fadvise)(int fd, off_t offset, off_t size, int advice);
#endif
#if defined(__linux__) && !defined(__cplusplus)
extern long syscall(long number, ...); /* hidden by -std=c11; otherwise said twice */
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
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef MSG_MORE
#define MSG_MORE 0
#endif

#ifndef MM_SYS_READ
#define MM_SYS_READ(fd, bytes, size) read(fd, bytes, size)
#endif
#ifndef MM_SYS_WRITEV
#define MM_SYS_WRITEV(fd, iov, count) writev(fd, iov, count)
#endif
#ifndef MM_SYS_SENDMSG
#define MM_SYS_SENDMSG(fd, msg, flags) sendmsg(fd, msg, flags)
#endif
#ifndef MM_SYS_SENDFILE
#define MM_SYS_SENDFILE(to, from, offset, size) sendfile(to, from, offset, size)
#endif
#ifndef MM_SYS_READV
#define MM_SYS_READV(fd, iov, count) readv(fd, iov, count)
#endif
#ifndef MM_SYS_PIPE2
#define MM_SYS_PIPE2(fds, flags) syscall(SYS_pipe2, fds, flags)
#endif
#ifndef MM_SYS_SPLICE /* `at`: where in `to`, or NULL */
#define MM_SYS_SPLICE(from, to, at, size, flags) \
    syscall(SYS_splice, from, (void *)NULL, to, at, size, flags)
#endif
#ifndef MM_SYS_FADVISE_WILLNEED
#define MM_SYS_FADVISE_WILLNEED(fd, offset, size) \
    MMI_FILE(posix_fadvise)(fd, (off_t)(offset), (off_t)(size), 3) /* POSIX_FADV_WILLNEED */
#endif
#ifndef MM_SYS_SETSOCKOPT
#define MM_SYS_SETSOCKOPT(fd, level, name, value, size) setsockopt(fd, level, name, value, size)
#endif
#ifndef MM_SYS_SIGPROCMASK
#define MM_SYS_SIGPROCMASK(how, set, old, size) syscall(SYS_rt_sigprocmask, how, set, old, size)
#endif
#ifndef MM_SYS_SIGPENDING
#define MM_SYS_SIGPENDING(set, size) syscall(SYS_rt_sigpending, set, size)
#endif
#ifndef MM_SYS_SIGTIMEDWAIT
#define MM_SYS_SIGTIMEDWAIT(set, timeout, size) \
    syscall(SYS_rt_sigtimedwait, set, (void *)NULL, timeout, size)
#endif
#ifndef MM_SYS_OPENAT
#define MM_SYS_OPENAT(dir, path, flags) MMI_FILE(openat)(dir, path, flags)
#endif
#ifndef MM_SYS_OPENAT2
#define MM_SYS_OPENAT2(dir, path, flags, resolve) mmi_openat2(dir, path, flags, resolve)
#endif
#ifndef MM_SYS_ACCEPT
#define MM_SYS_ACCEPT(fd) accept(fd, NULL, NULL)
#endif
#ifndef MM_SYS_KTLS_SENDS /* whether the kernel encrypts what the SSL object sends */
#define MM_SYS_KTLS_SENDS(ssl) (BIO_get_ktls_send(SSL_get_wbio(ssl)) != 0)
#endif
#ifndef MM_SYS_SSL_SENDFILE
#define MM_SYS_SSL_SENDFILE(ssl, fd, offset, size) SSL_sendfile(ssl, fd, offset, size, 0)
#endif
#ifndef MM_SYS_GETRLIMIT
#define MM_SYS_GETRLIMIT(what, limit) getrlimit(what, limit)
#endif
#ifndef MM_SYS_SETRLIMIT
#define MM_SYS_SETRLIMIT(what, limit) setrlimit(what, limit)
#endif

#define MMI_IO_MOST ((int64_t)256 * 1024) /* lighttpd's MAX_WRITE_LIMIT */
#define MMI_IO_LEAST 2048                 /* below it a new chunk is begun: 1/4 of a regular one */
/* Scratch that is written before it is read: compilers that are told to clear all variables leave
   it alone, for 16 KiB of zeros cost as much as the rest of a small request. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define MMI_IO_RAW __attribute__((uninitialized))
#endif
#endif
#ifndef MMI_IO_RAW
#define MMI_IO_RAW
#endif
#define MMI_IO_IOV 128                    /* chunks per writev: 2 KiB of stack */
#define MMI_IO_SENDFILE 0x7ffff000        /* what one call takes at most: sendfile(2) */
#define MMI_IO_SPANS 8                    /* chunks per readv: 64 KiB of regular ones */
#define MMI_IO_PACE ((size_t)65536)       /* most bytes of a read */
#define MMI_IO_PIPE (256 * 1024)          /* bytes in a pipe: as many as a call moves */
#define MMI_F_SETPIPE_SZ 1031             /* <fcntl.h> hides it under -std=c11, */
#define MMI_SPLICE_MOVE 1                 /* and this, */
#define MMI_SPLICE_NONBLOCK 2             /* and this */
#define MMI_IO_PAGE 4096                  /* sendfile's pieces end with one: see bench io */
#define MMI_IO_OPENS 8                    /* tries when a rename races with the check of a path */
#define MMI_IO_COPY 16384                 /* bytes of stack for copies; the largest TLS record */
#define MMI_IO_APPEND 32768               /* bytes: up to here reading took no longer; io_cache.c */
#define MMI_IO_EXPIRE 2                   /* dropped per lookup: twice what a lookup can add */
#define MMI_IO_PATH_MAX 4095              /* PATH_MAX of Linux without the NUL */

#if defined(__linux__) && !defined(MM_IO_NO_SENDFILE)
#define MMI_IO_CAN_SENDFILE
#endif
#if defined(MM_IO_OPENSSL) && OPENSSL_VERSION_NUMBER >= 0x30000000L && \
    defined(SSL_OP_ENABLE_KTLS) && !defined(OPENSSL_NO_KTLS) && defined(MMI_IO_CAN_SENDFILE)
#define MMI_KTLS
#define MMI_TCP_ULP 31 /* <netinet/tcp.h> of newer systems */
#endif
/* Where SIGPIPE is kept from the program, and the numbers that <signal.h> hides under -std=c11. */
#if defined(SYS_rt_sigtimedwait) && !defined(MM_IO_SIGPIPE_IGNORED) && !defined(__mips__) && \
    !defined(__alpha__) && !defined(__sparc__)
#define MMI_IO_GUARD
#define MMI_SIG_BLOCK 0
#define MMI_SIG_SETMASK 2
#endif

// >>status

/* What the errno of a call on a socket or pipe means to a caller. */
static mm_status mmi_io_status(int error)
{
    switch (error) {
    case EAGAIN:
#if EWOULDBLOCK != EAGAIN
    case EWOULDBLOCK:
#endif
        return MM_STATUS_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ETIMEDOUT: return MM_STATUS_CLOSED;
    default: return mm_status_from_errno(error);
    }
}

// >>write

/* Lets go what an earlier MSG_MORE holds back, now that nothing follows it: by itself that takes
   the kernel 200 ms. What is no TCP socket refuses, and holds nothing back. */
static void mmi_io_push(int fd)
{
#ifdef TCP_CORK
    int off = 0, error = errno;
    (void)MM_SYS_SETSOCKOPT(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
    errno = error;
#else
    (void)fd;
#endif
}

#ifdef MMI_IO_GUARD
typedef struct mmi_sigset {
    unsigned long words[8 / sizeof(unsigned long)]; /* as the kernel has it; signal 1 is bit 0 */
} mmi_sigset;

typedef struct mmi_guard { /* what to undo after a call that may raise SIGPIPE */
    mmi_sigset old;        /* the thread's mask before */
    bool is_set;           /* the mask is changed */
    bool keeps;            /* a SIGPIPE was waiting already, which is not ours */
} mmi_guard;

#define MMI_SIGPIPE_BIT (1ul << (SIGPIPE - 1))

static void mmi_guard_begin(mmi_guard *guard)
{
    mmi_sigset set, waiting;
    memset(&set, 0, sizeof(set));
    memset(&waiting, 0, sizeof(waiting));
    set.words[0] = MMI_SIGPIPE_BIT;
    guard->keeps = false;
    guard->is_set = MM_SYS_SIGPROCMASK(MMI_SIG_BLOCK, &set, &guard->old, sizeof(set)) == 0;
    if (!guard->is_set || (guard->old.words[0] & MMI_SIGPIPE_BIT) == 0) return;
    guard->is_set = false;
    guard->keeps = MM_SYS_SIGPENDING(&waiting, sizeof(waiting)) != 0 ||
                   (waiting.words[0] & MMI_SIGPIPE_BIT) != 0;
}

/* Takes away the signal that a call which failed with errno has left. */
static void mmi_guard_end(const mmi_guard *guard, bool failed)
{
    int error = errno;
    if (failed && error == EPIPE && !guard->keeps) {
        uint64_t now[2] = {0, 0}; /* a time of 0 in either layout */
        mmi_sigset set;
        memset(&set, 0, sizeof(set));
        set.words[0] = MMI_SIGPIPE_BIT;
        (void)MM_SYS_SIGTIMEDWAIT(&set, now, sizeof(set));
    }
    if (guard->is_set)
        (void)MM_SYS_SIGPROCMASK(MMI_SIG_SETMASK, &guard->old, (void *)NULL, sizeof(guard->old));
    errno = error;
}
#else
typedef char mmi_guard;
#define mmi_guard_begin(guard) ((void)(guard))
#define mmi_guard_end(guard, failed) ((void)(guard), (void)(failed))
#endif

/* The same for what is no socket: it has no MSG_NOSIGNAL. */
static ssize_t mmi_io_writev(int fd, struct iovec *iov, unsigned short count)
{
    mmi_guard guard;
    ssize_t n;
    mmi_guard_begin(&guard);
    n = MM_SYS_WRITEV(fd, iov, count);
    mmi_guard_end(&guard, n < 0);
    return n;
}

/* One attempt to write `count` pieces; `more` follows at once. Retried when interrupted.
   *is_socket: `fd` is one, which takes less than it was given only when it has no room. */
static ssize_t mmi_io_send(int fd, struct iovec *iov, unsigned short count, bool more,
                           bool *is_socket)
{
    struct msghdr msg;
    ssize_t n;
    *is_socket = true;
    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = iov;
    msg.msg_iovlen = count; /* size_t or int, by the C library */
    do {
        n = MM_SYS_SENDMSG(fd, &msg, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (n >= 0 || errno != ENOTSOCK) continue;
        *is_socket = false;
        n = mmi_io_writev(fd, iov, count);
    } while (n < 0 && errno == EINTR);
    return n;
}

typedef struct mmi_io_step { /* one call of the system, on its way */
    mm_chunkqueue *q;
    int fd;
    bool held;     /* the last bytes wait in the kernel for what follows them */
    bool is_full;  /* it is a socket that has taken a part: asking it for more would be in vain */
    bool is_loose; /* the caller named no share: that may end with a page */
    int64_t most;  /* bytes that may still be sent */
    int64_t asked; /* bytes that the call was to take */
    int64_t done;  /* bytes that it took */
} mmi_io_step;

/* What a call that was to take `asked` bytes has said. One that takes less than that pushes. */
static mm_status mmi_io_stepped(mmi_io_step *step, int64_t asked, bool more, ssize_t n)
{
    if (n < 0) return mmi_io_status(errno);
    step->asked = asked;
    step->done = n;
    step->held = more && n == asked;
    return n == 0 ? MM_STATUS_IO : MM_STATUS_OK; /* no progress, no reason */
}

/* Sends what is in memory, of which `asked` bytes. */
static mm_status mmi_io_send_step(mmi_io_step *step, struct iovec *iov, unsigned short count,
                                  int64_t asked, bool more)
{
    bool is_socket;
    ssize_t n = mmi_io_send(step->fd, iov, count, more, &is_socket);
    step->is_full = is_socket && n > 0 && n < asked;
    return mmi_io_stepped(step, asked, more, n);
}

/* Writes the MEM chunks at the front. */
static mm_status mmi_io_write_memory(mmi_io_step *step)
{
    MMI_IO_RAW struct iovec iov[MMI_IO_IOV];
    const mm_chunk *c;
    unsigned short count = 0;
    int64_t asked = 0;
    bool more;
    for (c = step->q->first; c != NULL && c->type == MM_CHUNK_MEM && asked < step->most &&
                             count < MMI_IO_IOV;
         c = c->next) {
        int64_t size = c->end - c->offset;
        if (size > step->most - asked) size = step->most - asked;
        iov[count].iov_base = (void *)(uintptr_t)mm_chunk_bytes(c);
        iov[count].iov_len = (size_t)size;
        count++;
        asked += size;
    }
    more = c != NULL && asked < step->most;
    return mmi_io_send_step(step, iov, count, asked, more);
}

/* Whether the bytes of the chunk's file are those that they were at the first call. A change that
   leaves their time as it was is one of attributes, as a rename over the file's name makes; a file
   that has grown is taken for one that is appended to, such as a log, and compared as it now is. */
static mm_status mmi_io_verify(mm_chunk *c)
{
    mm_chunk_identity was = c->source->identity, *is = &c->source->identity;
    mm_status status = mm_chunk_verify(c);
    if (status != MM_STATUS_INVALID) return status;
    c->source->has_identity = false;
    status = mm_chunk_verify(c);
    if (status == MM_STATUS_OK && is->dev == was.dev && is->ino == was.ino &&
        (is->size > was.size || (is->size == was.size && is->mtime == was.mtime)))
        return MM_STATUS_OK;
    *is = was;
    c->source->has_identity = true;
    return status == MM_STATUS_OK ? MM_STATUS_INVALID : status;
}

/* The same of one that has not left in one piece: there is nothing that such a piece could not
   fit. */
static mm_status mmi_io_verify_begun(mm_chunk *c)
{
    if (c->type == MM_CHUNK_MEM || !c->source->has_identity) return MM_STATUS_OK;
    return mmi_io_verify(c);
}

/* What the status of a file means to one who writes to a descriptor: that is ready. */
static mm_status mmi_io_of_file(mm_status status)
{
    return status == MM_STATUS_AGAIN ? MM_STATUS_YIELD : status;
}

/* Writes what a peek has brought: all of the queue, or a part of its first chunk. */
static mm_status mmi_io_write_peeked(mmi_io_step *step, const char *bytes, size_t size)
{
    struct iovec iov;
    mm_chunk *c;
    int64_t end = (int64_t)size;
    bool more = end < mm_chunkqueue_length(step->q) && end < step->most;
    for (c = step->q->first; c != NULL && end > 0; c = c->next) {
        mm_status status = mmi_io_verify_begun(c); /* after the read, before the bytes are out */
        if (status != MM_STATUS_OK) return status;
        end -= c->end - c->offset;
    }
    iov.iov_base = (void *)(uintptr_t)bytes;
    iov.iov_len = size;
    return mmi_io_send_step(step, &iov, 1, (int64_t)size, more);
}

/* Whether all of the queue fits into one piece, the file behind the header, too. */
static bool mmi_io_is_small(const mmi_io_step *step)
{
    const mm_chunk *c = step->q->first;
    int64_t length = mm_chunkqueue_length(step->q);
    return c->next != NULL && c->next->type == MM_CHUNK_FILE && length <= MMI_IO_COPY &&
           length <= step->most;
}

/* Whether the byte at the position `at` is one that was not to be had without waiting. */
static bool mmi_io_is_busy(const mm_chunkqueue *q, int64_t at)
{
    const mm_chunk *c = q->first;
    for (; c != NULL && at >= c->end - c->offset; c = c->next) at -= c->end - c->offset;
    return c != NULL && c->busy;
}

/* Writes the whole small queue in one call, with no memory but the stack. */
static mm_status mmi_io_write_small(mmi_io_step *step)
{
    MMI_IO_RAW char scratch[MMI_IO_COPY];
    const char *bytes;
    size_t size;
    mm_status status = mm_chunkqueue_peek_nowait(step->q, scratch, sizeof(scratch), &bytes, &size);
    if (status != MM_STATUS_OK) return mmi_io_of_file(status);
    if (mmi_io_is_busy(step->q, (int64_t)size)) return MM_STATUS_YIELD;
    return mmi_io_write_peeked(step, bytes, size);
}

/* Writes a part of the FILE chunk at the front through memory. `probed`: the disk has been asked
   and had its time, and is waited for. */
static mm_status mmi_io_copy_file(mmi_io_step *step, bool probed)
{
    MMI_IO_RAW char scratch[MMI_IO_COPY];
    mm_chunk *c = step->q->first;
    const char *bytes;
    int64_t left = c->end - c->offset;
    size_t size = left < MMI_IO_COPY ? (size_t)left : MMI_IO_COPY;
    mm_status status = MM_STATUS_OK;
    if (step->most < (int64_t)size) size = (size_t)step->most;
    if ((int64_t)size < left && !c->source->has_identity) status = mmi_io_verify(c);
    if (status == MM_STATUS_OK && probed)
        status = mm_chunkqueue_peek(step->q, scratch, size, &bytes, &size);
    else if (status == MM_STATUS_OK)
        status = mm_chunkqueue_peek_nowait(step->q, scratch, size, &bytes, &size);
    if (status != MM_STATUS_OK) return mmi_io_of_file(status);
    return mmi_io_write_peeked(step, bytes, size);
}

#ifdef MMI_IO_CAN_SENDFILE
/* Whether the file is in the system's cache where it is to be read: YIELD when not, and the disk is
   told to read it meanwhile. The next time it is waited for. */
static mm_status mmi_io_probe(mm_chunkqueue *q, int64_t size)
{
#ifdef MMI_NOWAIT
    char byte;
    const char *bytes;
    size_t got;
    mm_chunk *c = q->first;
    mm_status status;
    if (c->source->waits) return MM_STATUS_OK;
    status = mm_chunkqueue_peek_nowait(q, &byte, 1, &bytes, &got);
    if (status != MM_STATUS_AGAIN) return status;
    (void)MM_SYS_FADVISE_WILLNEED(c->source->fd, c->offset, size);
    return MM_STATUS_YIELD;
#else
    (void)q, (void)size;
    return MM_STATUS_OK;
#endif
}

/* Has the system send `size` bytes of the file; *is_unable: it cannot. */
static mm_status mmi_io_send_file(mmi_io_step *step, int64_t size, bool *is_unable)
{
    const mm_chunk *c = step->q->first;
    off_t at = (off_t)c->offset;
    ssize_t n = -1;
    mmi_guard guard;
    errno = EOVERFLOW; /* for a 32-bit off_t that cannot hold the offset */
    mmi_guard_begin(&guard);
    if ((int64_t)at == c->offset) {
        do {
            n = MM_SYS_SENDFILE(step->fd, c->source->fd, &at, (size_t)size);
        } while (n < 0 && errno == EINTR);
    }
    mmi_guard_end(&guard, n < 0);
    *is_unable = n < 0 && (errno == EINVAL || errno == ENOSYS || errno == EOVERFLOW);
    return n == 0 ? MM_STATUS_TRUNCATED : mmi_io_stepped(step, size, false, n);
}

/* `size`, or less, so that it ends with a page if it holds the end of one. */
static int64_t mmi_io_to_page(int64_t offset, int64_t size)
{
    int64_t odd = (offset + size) % MMI_IO_PAGE;
    return size > odd ? size - odd : size;
}

/* The same of a bounded part, when it is what it was, and in the system's cache. */
static mm_status mmi_io_try_file(mmi_io_step *step, bool *is_unable)
{
    mm_chunk *c = step->q->first;
    int64_t left = c->end - c->offset, size = left;
    int64_t most = step->is_loose ? step->most + MMI_IO_PAGE - 1 : step->most;
    mm_status status = MM_STATUS_OK;
    if (size > most) size = mmi_io_to_page(c->offset, most);
    if (size > MMI_IO_SENDFILE) size = MMI_IO_SENDFILE;
    if (c->source->has_identity ? size == left : size < left) /* the last piece, or the first */
        status = mmi_io_verify(c);
    if (status == MM_STATUS_OK) status = mmi_io_probe(step->q, size);
    if (status == MM_STATUS_OK) status = mmi_io_send_file(step, size, is_unable);
    return status;
}
#endif

/* Writes a part of the FILE chunk at the front. */
static mm_status mmi_io_write_file(mmi_io_step *step)
{
    mm_status status = mm_chunk_open(step->q->first);
    if (status != MM_STATUS_OK) return mmi_io_of_file(status);
#ifdef MMI_IO_CAN_SENDFILE
    {
        bool is_unable = false;
        status = mmi_io_try_file(step, &is_unable);
        return is_unable ? mmi_io_copy_file(step, true) : status;
    }
#else
    return mmi_io_copy_file(step, false);
#endif
}

/* Drains what was taken. Of a file that has now left in part, its identity is noted. */
static mm_status mmi_io_took_step(mmi_io_step *step)
{
    mm_chunkqueue *q = step->q;
    mm_status status = mm_chunkqueue_mark_written(q, step->done);
    if (status != MM_STATUS_OK || step->done == step->asked || q->first == NULL) return status;
    if (q->first->type == MM_CHUNK_MEM || q->first->source->has_identity) return MM_STATUS_OK;
    return mm_chunk_verify(q->first);
}

/* Whether a file goes on that has had its share of this call: less than a page of it is a page that
   two calls have to send. */
static bool mmi_io_wants_page(const mm_chunkqueue *q, int64_t written)
{
    const mm_chunk *c = q->first;
    return c->type == MM_CHUNK_FILE && written >= MMI_IO_PAGE && c->end - c->offset >= MMI_IO_PAGE;
}

MM_API mm_status mm_io_write(mm_chunkqueue *q, int fd, int64_t most, int64_t *written)
{
    mmi_io_step step;
    mm_status status = MM_STATUS_OK;
    *written = 0;
    memset(&step, 0, sizeof(step));
    step.q = q;
    step.fd = fd;
    step.is_loose = most <= 0;
    if (most <= 0) most = MMI_IO_MOST;
    while (status == MM_STATUS_OK && !mm_chunkqueue_is_empty(q)) {
        step.most = most - *written;
        step.done = 0;
        step.is_full = false;
        if (step.most <= 0 || (step.most < MMI_IO_PAGE && mmi_io_wants_page(q, *written)))
            status = MM_STATUS_YIELD;
        else if (q->first->type == MM_CHUNK_FILE) status = mmi_io_write_file(&step);
        else if (mmi_io_is_small(&step)) status = mmi_io_write_small(&step);
        else status = mmi_io_write_memory(&step);
        *written += step.done;
        if (step.done > 0) status = mmi_io_took_step(&step);
        if (step.is_full && status == MM_STATUS_OK) status = MM_STATUS_AGAIN;
    }
    if (step.held) mmi_io_push(fd);
    return status;
}

MM_API bool mm_io_waits_for_disk(const mm_chunkqueue *q)
{
    const mm_chunk *c;
    int64_t before = 0;
    for (c = q->first; c != NULL && before < MMI_IO_COPY; before += c->end - c->offset, c = c->next)
        if (c->busy) return true;
    return false;
}

// >>read

/* Takes the `n` bytes that were read into the queue, and enforces its spill threshold. */
static mm_status mmi_io_took(mm_chunkqueue *q, size_t n)
{
    mm_chunkqueue_use_memory(q, n);
    return q->memory > q->spill_at ? mm_chunkqueue_spill(q) : MM_STATUS_OK;
}

/* Why there is no place to read to. */
static mm_status mmi_io_no_place(const mm_chunkqueue *q)
{
    if (q->status != MM_STATUS_OK) return q->status;
    return mm_chunkqueue_room(q) == 0 ? MM_STATUS_LIMIT : MM_STATUS_NO_MEMORY;
}

MM_API mm_status mm_io_read(mm_chunkqueue *q, int fd, size_t least, size_t *got)
{
    size_t size;
    ssize_t n;
    char *to = mm_chunkqueue_get_memory(q, least == 0 ? MMI_IO_LEAST : least, &size);
    *got = 0;
    if (to == NULL) return mmi_io_no_place(q);
    do {
        n = MM_SYS_READ(fd, to, size);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        mm_status status = n == 0 ? MM_STATUS_CLOSED : mmi_io_status(errno);
        mm_chunkqueue_use_memory(q, 0);
        return status;
    }
    *got = (size_t)n;
    return mmi_io_took(q, (size_t)n);
}

/* One call for as much as the pace says, or `most`. *room: what it could have brought. */
static mm_status mmi_io_read_paced(mm_chunkqueue *q, int fd, size_t pace, int64_t most,
                                   size_t *room, size_t *got)
{
    MMI_IO_RAW mm_chunk_span spans[MMI_IO_SPANS];
    MMI_IO_RAW struct iovec iov[MMI_IO_SPANS];
    size_t max = pace / q->pool->chunk_size + 1, count, i;
    ssize_t n;
    if (max > MMI_IO_SPANS) max = MMI_IO_SPANS;
    count = mm_chunkqueue_get_spans(q, pace < MMI_IO_LEAST ? MMI_IO_LEAST : pace, spans, max);
    *room = *got = 0;
    if (count == 0) return mmi_io_no_place(q);
    for (i = 0; i < count && *room < (uint64_t)most; i++) {
        size_t size = spans[i].size;
        if (size > (uint64_t)most - *room) size = (size_t)((uint64_t)most - *room);
        iov[i].iov_base = spans[i].ptr;
        iov[i].iov_len = size;
        *room += size;
    }
    do {
        n = MM_SYS_READV(fd, iov, (int)i);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        mm_status status = n == 0 ? MM_STATUS_CLOSED : mmi_io_status(errno);
        mm_chunkqueue_use_memory(q, 0);
        return status;
    }
    *got = (size_t)n;
    return mmi_io_took(q, (size_t)n);
}

MM_API mm_status mm_io_read_all(mm_chunkqueue *q, int fd, mm_io_pace *pace, int64_t most,
                                int64_t *got)
{
    *got = 0;
    if (most <= 0) most = MMI_IO_MOST;
    while (*got < most) {
        size_t room, n;
        mm_status status = mmi_io_read_paced(q, fd, pace->size, most - *got, &room, &n);
        *got += (int64_t)n;
        if (status == MM_STATUS_AGAIN && *got > 0) return MM_STATUS_OK;
        if (status != MM_STATUS_OK) return status;
        if (n == room) pace->size = room < MMI_IO_PACE / 2 ? room * 2 : MMI_IO_PACE;
        else if (n < pace->size / 4) pace->size /= 2;
        if (n < room) return MM_STATUS_OK;
    }
    return MM_STATUS_YIELD;
}

// >>splice

#if defined(__linux__) && defined(SYS_splice) && defined(SYS_pipe2) && !defined(MM_IO_NO_SPLICE)
#define MMI_IO_CAN_SPLICE
#endif

MM_API mm_status mm_io_pipe_init(mm_io_pipe *pipe)
{
    pipe->fds[0] = pipe->fds[1] = -1;
#ifdef MMI_IO_CAN_SPLICE
    if (MM_SYS_PIPE2(pipe->fds, O_NONBLOCK | MMI_O_CLOEXEC) != 0) {
        pipe->fds[0] = pipe->fds[1] = -1;
        return mm_status_from_errno(errno);
    }
    (void)fcntl(pipe->fds[1], MMI_F_SETPIPE_SZ, MMI_IO_PIPE); /* without, it takes more calls */
    return MM_STATUS_OK;
#else
    return MM_STATUS_INVALID;
#endif
}

MM_API void mm_io_pipe_deinit(mm_io_pipe *pipe)
{
    int i;
    for (i = 0; i < 2; i++) {
        if (pipe->fds[i] >= 0) (void)MM_SYS_CLOSE(pipe->fds[i]);
        pipe->fds[i] = -1;
    }
}

#ifdef MMI_IO_CAN_SPLICE
/* Takes `left` bytes that the disk did not out of the pipe, into memory; LIMIT or NO_MEMORY: they
   are lost. The pipe is empty afterwards. */
static mm_status mmi_splice_rescue(mm_chunkqueue *q, int from, int64_t left)
{
    mm_status status = MM_STATUS_OK;
    char nowhere[4096];
    while (left > 0) {
        size_t size = sizeof(nowhere);
        char *to = status == MM_STATUS_OK ? mm_chunkqueue_get_memory(q, 0, &size) : NULL;
        ssize_t n;
        if (to == NULL && status == MM_STATUS_OK) status = mmi_io_no_place(q);
        if (to == NULL) size = sizeof(nowhere);
        if ((uint64_t)left < size) size = (size_t)left;
        n = MM_SYS_READ(from, to != NULL ? to : nowhere, size);
        if (to != NULL) mm_chunkqueue_use_memory(q, n > 0 ? (size_t)n : 0);
        if (n == 0 || (n < 0 && errno != EINTR)) break; /* not of a pipe that has them */
        if (n > 0) left -= n;
    }
    if (left > 0 && status == MM_STATUS_OK) status = MM_STATUS_IO;
    if (status != MM_STATUS_OK) q->status = status;
    return status;
}

/* Moves the `n` bytes in the pipe to the file. */
static mm_status mmi_splice_store(mm_chunkqueue *q, int from, int to, int64_t at, int64_t n)
{
    int64_t stored = 0;
    mm_status why = MM_STATUS_OK, status;
    while (stored < n && why == MM_STATUS_OK) {
        int64_t place = at + stored;
        long m = (long)MM_SYS_SPLICE(from, to, &place, (size_t)(n - stored), MMI_SPLICE_MOVE);
        if (m > 0) stored += m;
        else if (m == 0) why = MM_STATUS_IO;
        else if (errno != EINTR) why = mm_status_from_errno(errno);
    }
    status = mm_chunkqueue_use_temp(q, stored);
    if (status != MM_STATUS_OK) q->status = status; /* the file was cut: these are lost */
    if (stored == n) return status;
    if (status == MM_STATUS_OK) status = mmi_splice_rescue(q, from, n - stored);
    else (void)mmi_splice_rescue(q, from, n - stored);
    return status == MM_STATUS_OK ? why : status;
}

/* One piece. *is_unable: not from this descriptor. */
static mm_status mmi_splice_piece(mm_chunkqueue *q, int fd, const mm_io_pipe *pipe, int64_t most,
                                  int64_t *got, bool *is_unable)
{
    int64_t at, room;
    mm_status status;
    long n;
    int to = mm_chunkqueue_get_temp(q, &at, &room, &status);
    if (to < 0) return status;
    if (room > most) room = most;
    do {
        n = (long)MM_SYS_SPLICE(fd, pipe->fds[1], (int64_t *)NULL, (size_t)room,
                                MMI_SPLICE_MOVE | MMI_SPLICE_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    *is_unable = n < 0 && (errno == EINVAL || errno == ENOSYS || errno == EBADF);
    status = n == 0 ? MM_STATUS_CLOSED : n < 0 ? mmi_io_status(errno) : MM_STATUS_OK;
    if (n <= 0) (void)mm_chunkqueue_use_temp(q, 0);
    if (n <= 0) return status;
    *got += n;
    return mmi_splice_store(q, pipe->fds[0], to, at, n);
}
#endif

MM_API mm_status mm_io_splice(mm_chunkqueue *q, int fd, const mm_io_pipe *pipe, int64_t most,
                              int64_t *got)
{
    mm_status status = MM_STATUS_OK;
    bool is_unable = true;
    *got = 0;
    if (most <= 0) most = MMI_IO_MOST;
#ifdef MMI_IO_CAN_SPLICE
    while (status == MM_STATUS_OK && *got < most)
        status = mmi_splice_piece(q, fd, pipe, most - *got, got, &is_unable);
#else
    (void)pipe;
#endif
    if (is_unable) {
        size_t n;
        status = mm_io_read(q, fd, 0, &n);
        *got += (int64_t)n;
        return status == MM_STATUS_OK ? mm_chunkqueue_spill(q) : status;
    }
    if (status == MM_STATUS_AGAIN && *got > 0) return MM_STATUS_OK;
    return status == MM_STATUS_OK ? MM_STATUS_YIELD : status;
}

// >>tls

#ifdef MM_IO_OPENSSL
#define MMI_TLS_RECORD 16384 /* most bytes of content: RFC 8446, 5.1 */
#define MMI_TLS_FIRST 4096   /* fits in three packets, and ten may leave at once (RFC 6928) */

typedef struct mmi_tls_bio { /* between an SSL object and its descriptor */
    int fd;
    int error;               /* errno of the last call that failed */
    bool is_full;            /* it has taken a part of what it was given, and nothing since: OpenSSL
                                tries the rest at once, in vain */
    bool starved;            /* the descriptor had nothing to read when it was last asked */
    bool ended;              /* the peer has sent its last byte */
    bool more;               /* what is written now is followed by more at once */
    bool held;               /* the last bytes wait in the kernel for that */
    bool flows;              /* the first record of what is being sent has left */
    size_t pending;          /* bytes of a record that was not taken: it must be offered again */
} mmi_tls_bio;

static mmi_tls_bio *mmi_tls_bio_of(BIO *bio)
{
    return (mmi_tls_bio *)BIO_get_data(bio);
}

static int mmi_tls_bio_read(BIO *bio, char *to, int size)
{
    mmi_tls_bio *b = mmi_tls_bio_of(bio);
    ssize_t n;
    BIO_clear_retry_flags(bio);
    b->starved = false;
    do {
        n = MM_SYS_READ(b->fd, to, (size_t)size);
    } while (n < 0 && errno == EINTR);
    if (n == 0) b->ended = true;
    if (n >= 0) return (int)n;
    b->error = errno;
    b->starved = mmi_io_status(b->error) == MM_STATUS_AGAIN;
    if (b->starved) BIO_set_retry_read(bio);
    return -1;
}

static int mmi_tls_bio_write(BIO *bio, const char *bytes, int size)
{
    mmi_tls_bio *b = mmi_tls_bio_of(bio);
    struct iovec iov;
    bool is_socket;
    ssize_t n = -1;
    BIO_clear_retry_flags(bio);
    iov.iov_base = (void *)(uintptr_t)bytes;
    iov.iov_len = (size_t)size;
    errno = EAGAIN;
    if (!b->is_full) n = mmi_io_send(b->fd, &iov, 1, b->more, &is_socket);
    b->is_full = n > 0 && n < size && is_socket;
    if (n > 0) b->held = b->more && n == size;
    if (n >= 0) return (int)n;
    b->error = errno;
    if (mmi_io_status(b->error) == MM_STATUS_AGAIN) BIO_set_retry_write(bio);
    return -1;
}

static long mmi_tls_bio_control(BIO *bio, int what, long number, void *pointer)
{
    mmi_tls_bio *b = mmi_tls_bio_of(bio);
    (void)number;
    switch (what) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return b->ended;
    case BIO_C_GET_FD:
        if (pointer != NULL) *(int *)pointer = b->fd;
        return b->fd;
    default: return 0;
    }
}

static int mmi_tls_bio_free(BIO *bio)
{
    OPENSSL_free(BIO_get_data(bio));
    BIO_set_data(bio, NULL);
    return 1;
}

/* Made by the first who needs them, and kept; atomic. */
static size_t mmi_tls_type;   /* of a BIO that is ours */
static size_t mmi_tls_method; /* the BIO_METHOD */

/* The type is settled before the method is, so that whoever sees the one can rely on the other. */
static int mmi_tls_bio_type(void)
{
    size_t type = mmi_atomic_load(&mmi_tls_type);
    if (type == 0) {
        int made = BIO_get_new_index();
        if (made <= 0) return 0;
        if (mmi_atomic_cas(&mmi_tls_type, &type, (size_t)made)) type = (size_t)made;
    }
    return (int)type | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR;
}

/* Called by OpenSSL when it cleans up. */
static void mmi_tls_forget(void)
{
    BIO_METHOD *made = (BIO_METHOD *)(uintptr_t)mmi_atomic_load(&mmi_tls_method);
    mmi_atomic_store(&mmi_tls_method, (size_t)0);
    BIO_meth_free(made);
}

static BIO_METHOD *mmi_tls_bio_method(void)
{
    size_t none = 0;
    BIO_METHOD *made = (BIO_METHOD *)(uintptr_t)mmi_atomic_load(&mmi_tls_method);
    int type = made == NULL ? mmi_tls_bio_type() : 0;
    if (made != NULL || type == 0) return made;
    made = BIO_meth_new(type, "mm_io");
    if (made == NULL) return NULL;
    if (BIO_meth_set_read(made, mmi_tls_bio_read) == 1 &&
        BIO_meth_set_write(made, mmi_tls_bio_write) == 1 &&
        BIO_meth_set_ctrl(made, mmi_tls_bio_control) == 1 &&
        BIO_meth_set_destroy(made, mmi_tls_bio_free) == 1 &&
        mmi_atomic_cas(&mmi_tls_method, &none, (size_t)(uintptr_t)made)) {
        (void)OPENSSL_atexit(mmi_tls_forget); /* without it, it stays until the process ends */
        return made;
    }
    BIO_meth_free(made);
    return (BIO_METHOD *)(uintptr_t)mmi_atomic_load(&mmi_tls_method);
}

/* What is between the object and its descriptor, if it is ours. */
static mmi_tls_bio *mmi_tls_bio_find(const SSL *ssl)
{
    BIO *bio = SSL_get_wbio(ssl);
    if (bio == NULL || mmi_atomic_load(&mmi_tls_method) == 0) return NULL;
    return BIO_method_type(bio) == mmi_tls_bio_type() ? mmi_tls_bio_of(bio) : NULL;
}

static mm_status mmi_tls_attach_bio(SSL *ssl, int fd)
{
    BIO_METHOD *method = mmi_tls_bio_method();
    BIO *bio = method == NULL ? NULL : BIO_new(method);
    mmi_tls_bio *b = bio == NULL ? NULL : (mmi_tls_bio *)OPENSSL_zalloc(sizeof(*b));
    if (b == NULL) {
        BIO_free(bio);
        return MM_STATUS_NO_MEMORY;
    }
    b->fd = fd;
    BIO_set_data(bio, b);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return MM_STATUS_OK;
}

MM_API mm_status mm_io_tls_attach(SSL *ssl, int fd, bool ktls)
{
    mm_status status = MM_STATUS_OK;
    ERR_clear_error();
#ifdef MMI_KTLS
    if (ktls) {
        if (SSL_set_fd(ssl, fd) != 1) status = MM_STATUS_NO_MEMORY;
        else (void)SSL_set_options(ssl, SSL_OP_ENABLE_KTLS);
    } else
#else
    (void)ktls;
#endif
        status = mmi_tls_attach_bio(ssl, fd);
    if (status != MM_STATUS_OK) return status;
    (void)SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    return MM_STATUS_OK;
}

MM_API bool mm_io_ktls_is_there(void)
{
    bool is_there = false;
#if defined(MMI_KTLS) && defined(__linux__)
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    /* one that is not connected is refused for that, when there is such a protocol at all */
    is_there = fd >= 0 && MM_SYS_SETSOCKOPT(fd, IPPROTO_TCP, MMI_TCP_ULP, "tls", 3) != 0 &&
               errno == ENOTCONN;
    if (fd >= 0) (void)MM_SYS_CLOSE(fd);
#endif
    return is_there;
}

static mm_status mmi_tls_status(SSL *ssl, int result)
{
    mmi_tls_bio *b = mmi_tls_bio_find(ssl);
    int error = b == NULL ? errno : b->error;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ: /* not because of the descriptor, if it has not been asked */
        return b == NULL || b->starved ? MM_STATUS_AGAIN : MM_STATUS_YIELD;
    case SSL_ERROR_WANT_WRITE: return MM_STATUS_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return MM_STATUS_CLOSED;
    case SSL_ERROR_SYSCALL: return error == 0 ? MM_STATUS_CLOSED : mmi_io_status(error);
    default: break;
    }
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING /* OpenSSL 3: gone without a goodbye */
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return MM_STATUS_CLOSED;
#endif
    return ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE ? MM_STATUS_NO_MEMORY
                                                                    : MM_STATUS_IO;
}

static void mmi_tls_begin(mmi_tls_bio *b)
{
    if (ERR_peek_error() != 0) ERR_clear_error(); /* clearing goes through all its places */
    errno = 0;
    if (b == NULL) return;
    b->error = 0;
    b->is_full = false;
}

/* Takes the identity of a file of which only a part is in the next `size` bytes (`before` they are
   read), or looks whether it still is that of one which ends in them. */
static mm_status mmi_tls_verify(const mm_chunkqueue *q, size_t size, bool before)
{
    int64_t left = (int64_t)size;
    mm_status status = MM_STATUS_OK;
    mm_chunk *c;
    for (c = q->first; c != NULL && left > 0 && status == MM_STATUS_OK; c = c->next) {
        int64_t length = c->end - c->offset;
        if (c->type == MM_CHUNK_FILE && !before && length <= left) status = mmi_io_verify_begun(c);
        if (c->type == MM_CHUNK_FILE && before && length > left && !c->source->has_identity)
            status = mmi_io_verify(c);
        left -= length;
    }
    return status;
}

/* The next record's bytes: as many as a record has, all that was offered before if it was not
   taken. Disks are not waited for, unless there is no other way. */
static mm_status mmi_tls_peek(mm_chunkqueue *q, const mmi_tls_bio *b, char *scratch,
                              const char **bytes, size_t *size)
{
    size_t want = MMI_TLS_RECORD;
    mm_status status;
    if (b != NULL && b->pending > 0) want = b->pending;
    else if (b != NULL && !b->flows && mm_chunkqueue_length(q) > MMI_TLS_RECORD)
        want = MMI_TLS_FIRST;
    status = mmi_tls_verify(q, want, true);
    if (status != MM_STATUS_OK) return status;
    if (b == NULL || b->pending > 0) status = mm_chunkqueue_peek(q, scratch, want, bytes, size);
    else status = mm_chunkqueue_peek_nowait(q, scratch, want, bytes, size);
    if (status == MM_STATUS_OK) status = mmi_tls_verify(q, *size, false);
    return status;
}

/* Sends one record; *done says how many bytes that were. */
static mm_status mmi_tls_write_record(mm_chunkqueue *q, SSL *ssl, mmi_tls_bio *b, int64_t most,
                                      int64_t *done)
{
    MMI_IO_RAW char scratch[MMI_TLS_RECORD];
    const char *bytes;
    size_t size;
    int n;
    mm_status status = mmi_tls_peek(q, b, scratch, &bytes, &size);
    if (status != MM_STATUS_OK) return mmi_io_of_file(status);
    mmi_tls_begin(b);
    if (b != NULL)
        b->more = (int64_t)size < most && (int64_t)size < mm_chunkqueue_length(q);
    n = SSL_write(ssl, bytes, (int)size);
    if (b != NULL) {
        b->more = false;
        b->pending = n > 0 ? 0 : size;
        b->flows = b->flows || n > 0;
    }
    if (n <= 0) return mmi_tls_status(ssl, n);
    *done = n;
    return mm_chunkqueue_mark_written(q, n);
}

#ifdef MMI_KTLS
/* Whether the kernel encrypts, and a file comes next. */
static bool mmi_tls_can_send_file(const mm_chunkqueue *q, SSL *ssl)
{
    return q->first->type == MM_CHUNK_FILE && MM_SYS_KTLS_SENDS(ssl);
}

/* Why SSL_sendfile has sent nothing: what the system said, as OpenSSL calls it an error of its own,
   or that bytes from before have yet to leave. */
static mm_status mmi_tls_file_failed(SSL *ssl, int n)
{
    switch (errno) {
    case 0: return mmi_tls_status(ssl, n);
    case EBUSY: return MM_STATUS_AGAIN;
    default: return mmi_io_status(errno);
    }
}

/* Has the kernel encrypt and send a part of a file; *is_unable: not this one. */
static mm_status mmi_tls_send_file(mm_chunkqueue *q, SSL *ssl, int64_t most, int64_t *done,
                                   bool *is_unable)
{
    mm_chunk *c = q->first;
    int64_t left = c->end - c->offset, size = left < most ? left : most;
    off_t at = (off_t)c->offset;
    ossl_ssize_t n;
    mmi_guard guard;
    mm_status status = mmi_io_verify(c);
    if (status == MM_STATUS_OK) status = mmi_io_probe(q, size);
    if (status != MM_STATUS_OK) return mmi_io_of_file(status);
    *is_unable = (int64_t)at != c->offset; /* a 32-bit off_t */
    if (*is_unable) return MM_STATUS_OK;
    mmi_guard_begin(&guard);
    do {
        mmi_tls_begin(NULL);
        n = MM_SYS_SSL_SENDFILE(ssl, c->source->fd, at, (size_t)size);
    } while (n < 0 && errno == EINTR);
    mmi_guard_end(&guard, n < 0);
    *is_unable = n < 0 && (errno == EINVAL || errno == ENOSYS || errno == EOVERFLOW);
    if (*is_unable) return MM_STATUS_OK;
    if (n < 0) return mmi_tls_file_failed(ssl, (int)n);
    if (n == 0) return MM_STATUS_TRUNCATED;
    *done = (int64_t)n;
    return mm_chunkqueue_mark_written(q, *done);
}
#endif

MM_API mm_status mm_io_tls_write(mm_chunkqueue *q, SSL *ssl, int64_t most, int64_t *written)
{
    mmi_tls_bio *b = mmi_tls_bio_find(ssl);
    mm_status status = MM_STATUS_OK;
    *written = 0;
    if (most <= 0) most = MMI_IO_MOST;
    while (status == MM_STATUS_OK && !mm_chunkqueue_is_empty(q)) {
        int64_t done = 0;
        bool as_record = true;
        if (*written >= most) {
            status = MM_STATUS_YIELD;
            break;
        }
#ifdef MMI_KTLS
        if (mmi_tls_can_send_file(q, ssl)) {
            as_record = false;
            status = mmi_tls_send_file(q, ssl, most - *written, &done, &as_record);
        }
#endif
        if (as_record) status = mmi_tls_write_record(q, ssl, b, most - *written, &done);
        *written += done;
    }
    if (b == NULL) return status;
    if (b->held) mmi_io_push(b->fd);
    b->held = false;
    if (status == MM_STATUS_OK) b->flows = false;
    return status;
}

MM_API mm_status mm_io_tls_read(mm_chunkqueue *q, SSL *ssl, size_t least, size_t *got)
{
    mmi_tls_bio *b = mmi_tls_bio_find(ssl);
    size_t size;
    int n;
    char *to = mm_chunkqueue_get_memory(q, least == 0 ? MMI_IO_LEAST : least, &size);
    *got = 0;
    if (to == NULL) return mmi_io_no_place(q);
    /* not in the handshake: whoever began with something else may want to see it */
    if (b != NULL && !SSL_get_read_ahead(ssl) && SSL_is_init_finished(ssl))
        SSL_set_read_ahead(ssl, 1);
    mmi_tls_begin(b);
    n = SSL_read(ssl, to, size > INT32_MAX ? INT32_MAX : (int)size);
    if (n <= 0) {
        mm_status status = mmi_tls_status(ssl, n);
        mm_chunkqueue_use_memory(q, 0);
        return status;
    }
    *got = (size_t)n;
    return mmi_io_took(q, (size_t)n);
}

MM_API bool mm_io_tls_has_pending(SSL *ssl)
{
    const mmi_tls_bio *b = mmi_tls_bio_find(ssl);
    return SSL_pending(ssl) > 0 || (b != NULL && !b->starved && SSL_has_pending(ssl));
}

MM_API void mm_io_tls_rest(SSL *ssl)
{
    if (!SSL_has_pending(ssl)) (void)SSL_free_buffers(ssl);
}

// >>tls memory

#define MMI_TLS_HEADER 16 /* bytes before a block, for its size: OpenSSL does not say it */

static struct {
    const mm_allocator *allocator;
    size_t bytes, blocks, failures; /* atomic */
} mmi_tls_memory;

static void *mmi_openssl_block(void *block, size_t size)
{
    MM_MEMCPY(block, &size, sizeof(size));
    return (char *)block + MMI_TLS_HEADER;
}

static size_t mmi_openssl_block_size(const void *ptr)
{
    size_t size;
    MM_MEMCPY(&size, (const char *)ptr - MMI_TLS_HEADER, sizeof(size));
    return size;
}

static void *mmi_openssl_refused(void)
{
    (void)mmi_atomic_add(&mmi_tls_memory.failures, 1);
    return NULL;
}

static void *mmi_openssl_alloc(size_t size, const char *file, int line)
{
    const mm_allocator *a = mmi_tls_memory.allocator;
    size_t whole;
    void *block;
    (void)file, (void)line;
    if (size == 0) return NULL; /* as OpenSSL's own does it */
    if (!mm_size_add(size, MMI_TLS_HEADER, &whole)) return mmi_openssl_refused();
    block = mmi_alloc(a, whole);
    if (block == NULL) return mmi_openssl_refused();
    (void)mmi_atomic_add(&mmi_tls_memory.bytes, size);
    (void)mmi_atomic_add(&mmi_tls_memory.blocks, 1);
    return mmi_openssl_block(block, size);
}

static void mmi_openssl_free(void *ptr, const char *file, int line)
{
    const mm_allocator *a = mmi_tls_memory.allocator;
    size_t size;
    (void)file, (void)line;
    if (ptr == NULL) return;
    size = mmi_openssl_block_size(ptr);
    (void)mmi_atomic_add(&mmi_tls_memory.bytes, (size_t)0 - size);
    (void)mmi_atomic_add(&mmi_tls_memory.blocks, (size_t)-1);
    mmi_free(a, (char *)ptr - MMI_TLS_HEADER, size + MMI_TLS_HEADER);
}

static void *mmi_openssl_realloc(void *ptr, size_t size, const char *file, int line)
{
    const mm_allocator *a = mmi_tls_memory.allocator;
    size_t old, whole;
    void *block;
    if (ptr == NULL) return mmi_openssl_alloc(size, file, line);
    if (size == 0) {
        mmi_openssl_free(ptr, file, line);
        return NULL;
    }
    old = mmi_openssl_block_size(ptr);
    if (!mm_size_add(size, MMI_TLS_HEADER, &whole)) return mmi_openssl_refused();
    block = mmi_realloc(a, (void *)((char *)ptr - MMI_TLS_HEADER), old + MMI_TLS_HEADER, whole);
    if (block == NULL) return mmi_openssl_refused();
    (void)mmi_atomic_add(&mmi_tls_memory.bytes, size - old);
    return mmi_openssl_block(block, size);
}

MM_API mm_status mm_io_tls_set_allocator(const mm_allocator *allocator)
{
    const mm_allocator *before = mmi_tls_memory.allocator;
    mmi_tls_memory.allocator = allocator; /* before it is needed */
    if (before == NULL &&
        CRYPTO_set_mem_functions(mmi_openssl_alloc, mmi_openssl_realloc, mmi_openssl_free) == 1)
        return MM_STATUS_OK;
    mmi_tls_memory.allocator = before;
    return MM_STATUS_INVALID;
}

MM_API mm_io_tls_memory mm_io_tls_get_memory(void)
{
    mm_io_tls_memory now;
    now.bytes = mmi_atomic_load(&mmi_tls_memory.bytes);
    now.blocks = mmi_atomic_load(&mmi_tls_memory.blocks);
    now.failures = mmi_atomic_load(&mmi_tls_memory.failures);
    return now;
}
#endif

// >>descriptors

MM_API mm_status mm_fd_limit_raise(size_t cap, size_t *limit)
{
    struct rlimit r;
    rlim_t want;
    *limit = 0;
    if (cap == 0) cap = 1048576;
    if (MM_SYS_GETRLIMIT(RLIMIT_NOFILE, &r) != 0) return mmi_io_status(errno);
    want = r.rlim_max == RLIM_INFINITY || r.rlim_max > cap ? (rlim_t)cap : r.rlim_max;
    if (r.rlim_cur != RLIM_INFINITY && r.rlim_cur < want) {
        rlim_t soft = r.rlim_cur;
        r.rlim_cur = want;
        if (MM_SYS_SETRLIMIT(RLIMIT_NOFILE, &r) != 0) r.rlim_cur = soft;
    }
    *limit = r.rlim_cur == RLIM_INFINITY || r.rlim_cur > cap ? cap : (size_t)r.rlim_cur;
    return MM_STATUS_OK;
}

MM_API mm_status mm_fd_budget_init(mm_fd_budget *budget, const mm_fd_budget_desc *desc)
{
    size_t limit, reserve = desc->reserve == 0 ? 128 : desc->reserve;
    mm_status status;
    memset(budget, 0, sizeof(*budget));
    status = mm_fd_limit_raise(desc->cap, &limit);
    if (status != MM_STATUS_OK) return status;
    if (limit <= reserve) return MM_STATUS_NO_FILES;
    budget->limit = limit - reserve;
    memcpy(budget->most, desc->most, sizeof(budget->most));
    return MM_STATUS_OK;
}

/* Adds one to the count unless it has come to `most`. */
static bool mmi_fd_count(size_t *count, size_t most, size_t *after)
{
    size_t now = mmi_atomic_load(count);
    while (now < most)
        if (mmi_atomic_cas(count, &now, now + 1)) {
            *after = now + 1;
            return true;
        }
    return false;
}

static void mmi_fd_raise_peak(mm_fd_budget *budget, size_t taken)
{
    size_t peak = mmi_atomic_load(&budget->peak);
    while (peak < taken && !mmi_atomic_cas(&budget->peak, &peak, taken)) continue;
}

MM_API bool mm_fd_budget_take_for(mm_fd_budget *budget, mm_fd_use use)
{
    size_t most, after;
    if (budget == NULL) return true;
    MM_ASSERT((size_t)use < MM_FD_USES);
    most = budget->most[use] == 0 ? SIZE_MAX : budget->most[use];
    if (mmi_fd_count(&budget->by_use[use], most, &after)) {
        if (mmi_fd_count(&budget->taken, budget->limit, &after)) {
            mmi_fd_raise_peak(budget, after);
            return true;
        }
        (void)mmi_atomic_add(&budget->by_use[use], (size_t)-1);
    }
    (void)mmi_atomic_add(&budget->refused, (size_t)1);
    return false;
}

MM_API bool mm_fd_budget_take(mm_fd_budget *budget)
{
    return mm_fd_budget_take_for(budget, MM_FD_OTHER);
}

MM_API size_t mm_fd_budget_taken(const mm_fd_budget *budget)
{
    return mmi_atomic_load(&budget->taken);
}

MM_API void mm_fd_budget_give_for(mm_fd_budget *budget, mm_fd_use use)
{
    if (budget == NULL) return;
    MM_ASSERT((size_t)use < MM_FD_USES && mmi_atomic_load(&budget->by_use[use]) > 0);
    (void)mmi_atomic_add(&budget->taken, (size_t)-1);
    (void)mmi_atomic_add(&budget->by_use[use], (size_t)-1);
}

MM_API void mm_fd_budget_give(mm_fd_budget *budget)
{
    mm_fd_budget_give_for(budget, MM_FD_OTHER);
}

MM_API void mm_fd_budget_follow(mm_fd_budget *budget, mm_fd_use use, size_t *held, size_t now)
{
    size_t change = now - *held;
    MM_ASSERT((size_t)use < MM_FD_USES);
    *held = now;
    if (budget == NULL || change == 0) return;
    (void)mmi_atomic_add(&budget->by_use[use], change);
    mmi_fd_raise_peak(budget, mmi_atomic_add(&budget->taken, change) + change);
}

/* Where that file cannot be opened (in a chroot or sandbox, entered since), any descriptor will do
   that needs no file. */
static void mmi_fd_spare_open(mm_fd_spare *spare)
{
    do {
        spare->fd = MM_SYS_OPEN("/dev/null", O_RDONLY | MMI_O_CLOEXEC, 0);
    } while (spare->fd < 0 && errno == EINTR);
#if defined(__linux__) && defined(SYS_eventfd2)
    if (spare->fd < 0 && (errno == EACCES || errno == ENOENT || errno == EPERM))
        spare->fd = (int)syscall(SYS_eventfd2, 0, MMI_O_CLOEXEC);
#endif
}

MM_API mm_status mm_fd_spare_init(mm_fd_spare *spare)
{
    mmi_fd_spare_open(spare);
    return spare->fd < 0 ? mm_status_from_errno(errno) : MM_STATUS_OK;
}

MM_API void mm_fd_spare_deinit(mm_fd_spare *spare)
{
    if (spare->fd >= 0) (void)MM_SYS_CLOSE(spare->fd);
    spare->fd = -1;
}

MM_API mm_status mm_fd_spare_shed(mm_fd_spare *spare, int listener)
{
    int client, error;
    mm_fd_spare_deinit(spare);
    do {
        client = MM_SYS_ACCEPT(listener);
    } while (client < 0 && errno == EINTR);
    error = errno;
    if (client >= 0) (void)MM_SYS_CLOSE(client);
    mmi_fd_spare_open(spare);
    errno = error;
    return client < 0 ? mmi_io_status(error) : MM_STATUS_OK;
}

// >>hash

#define MMI_ROTATE(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))

static void mmi_sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = MMI_ROTATE(v[1], 13) ^ v[0];
    v[3] = MMI_ROTATE(v[3], 16) ^ v[2];
    v[0] = MMI_ROTATE(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = MMI_ROTATE(v[1], 17) ^ v[2];
    v[3] = MMI_ROTATE(v[3], 21) ^ v[0];
    v[2] = MMI_ROTATE(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012): nobody without the key can make paths collide. */
static uint64_t mmi_hash(const uint64_t key[2], const char *bytes, size_t size)
{
    uint64_t v[4], last = (uint64_t)size << 56;
    size_t i, left;
    v[0] = key[0] ^ 0x736f6d6570736575u;
    v[1] = key[1] ^ 0x646f72616e646f6du;
    v[2] = key[0] ^ 0x6c7967656e657261u;
    v[3] = key[1] ^ 0x7465646279746573u;
    for (left = size; left >= 8; left -= 8, bytes += 8) {
        uint64_t word;
        MM_MEMCPY(&word, bytes, sizeof(word));
        v[3] ^= word;
        mmi_sip_round(v);
        v[0] ^= word;
    }
    for (i = 0; i < left; i++) last |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
    v[3] ^= last;
    mmi_sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (i = 0; i < 3; i++) mmi_sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void mmi_hash_key(uint64_t key[2])
{
    int fd = MM_SYS_OPEN("/dev/urandom", O_RDONLY | MMI_O_CLOEXEC, 0);
    key[0] = (uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)key;
    key[1] = (uint64_t)(uintptr_t)&mmi_hash_key;
    if (fd < 0) return; /* a weak key is better than no cache */
    (void)!MM_SYS_READ(fd, key, 2 * sizeof(key[0]));
    (void)MM_SYS_CLOSE(fd);
}

// >>open

#if defined(__linux__) && defined(SYS_openat2) && !defined(MM_IO_NO_OPENAT2)
#define MMI_HAVE_OPENAT2
#if defined(__O_LARGEFILE) /* what the C library adds for open, and nobody for a bare system call */
#define MMI_O_LARGEFILE __O_LARGEFILE
#elif defined(O_LARGEFILE)
#define MMI_O_LARGEFILE O_LARGEFILE
#else
#define MMI_O_LARGEFILE 0
#endif
#define MMI_RESOLVE_BENEATH 0x08       /* <linux/openat2.h>, which older systems lack */
#define MMI_RESOLVE_NO_MAGICLINKS 0x02 /* likewise */
MM_UNUSED static int mmi_openat2(int dir, const char *path, int flags, uint64_t resolve)
{
    uint64_t how[3]; /* struct open_how: flags, mode, resolve */
    how[0] = (uint64_t)(flags | MMI_O_LARGEFILE);
    how[1] = 0;
    how[2] = resolve;
    return (int)syscall(SYS_openat2, dir, path, how, sizeof(how));
}
#endif

static int mmi_openat(int dir, const char *path, int flags)
{
    int fd;
    do {
        fd = MM_SYS_OPENAT(dir, path, flags);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* Opens `path` beneath `dir` one component at a time, refusing every symbolic link. */
static int mmi_open_components(int dir, char *path, int flags)
{
    int at = dir;
    char *slash;
    while ((slash = strchr(path, '/')) != NULL) {
        int next;
        *slash = '\0';
        next = mmi_openat(at, path, O_RDONLY | O_NONBLOCK | MMI_O_DIRECTORY | MMI_O_NOFOLLOW |
                                        MMI_O_CLOEXEC);
        *slash = '/';
        if (at != dir) {
            int error = errno;
            (void)MM_SYS_CLOSE(at);
            errno = error;
        }
        if (next < 0) return -1;
        at = next;
        path = slash + 1;
    }
    {
        int fd = mmi_openat(at, path, flags | MMI_O_NOFOLLOW), error = errno;
        if (at != dir) (void)MM_SYS_CLOSE(at);
        errno = error;
        return fd;
    }
}

/* Opens a NUL-terminated path beneath the root by the cache's rules. */
static int mmi_open_beneath(mm_filecache *cache, char *path)
{
    int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | MMI_O_CLOEXEC;
    if (path[0] == '\0') return mmi_openat(cache->root_fd, ".", flags);
    if (cache->follow) return mmi_openat(cache->root_fd, path, flags);
#ifdef MMI_HAVE_OPENAT2
    if (!cache->no_openat2) {
        int fd = -1, tries;
        for (tries = 0; tries < MMI_IO_OPENS; tries++) {
            fd = MM_SYS_OPENAT2(cache->root_fd, path, flags,
                                MMI_RESOLVE_BENEATH | MMI_RESOLVE_NO_MAGICLINKS);
            if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) break;
        }
        return fd;
    }
#endif
    return mmi_open_components(cache->root_fd, path, flags);
}

/* Copies the path with a NUL; INVALID when it is no plain relative path. */
static mm_status mmi_path_copy(mm_slice path, char *to)
{
    size_t i, begin = 0;
    if (path.len > MMI_IO_PATH_MAX) return MM_STATUS_INVALID;
    if (path.len > 0) memcpy(to, path.ptr, path.len);
    to[path.len] = '\0';
    if (path.len == 0) return MM_STATUS_OK;
    if (memchr(to, '\0', path.len) != NULL) return MM_STATUS_INVALID;
    for (i = 0; i <= path.len; i++) {
        const char *part = to + begin;
        if (to[i] != '/' && to[i] != '\0') continue;
        if (i == begin || (part[0] == '.' && i == begin + 1)) return MM_STATUS_INVALID;
        if (part[0] == '.' && part[1] == '.' && i == begin + 2) return MM_STATUS_INVALID;
        begin = i + 1;
    }
    return MM_STATUS_OK;
}

// >>files

#if defined(__APPLE__)
#define MMI_MTIME_NS(st) ((st)->st_mtimespec.tv_nsec)
#define MMI_CTIME_NS(st) ((st)->st_ctimespec.tv_nsec)
#elif defined(MMI_STRICT_GLIBC)
#define MMI_MTIME_NS(st) ((st)->st_mtimensec)
#define MMI_CTIME_NS(st) ((st)->st_ctimensec)
#else
#define MMI_MTIME_NS(st) ((st)->st_mtim.tv_nsec)
#define MMI_CTIME_NS(st) ((st)->st_ctim.tv_nsec)
#endif

/* Takes over what fstat has said of `file->fd`. */
static void mmi_file_identify(mm_file *file, const struct stat *st)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t parts[4];
    char *to = file->etag;
    int i, shift;
    file->is_directory = S_ISDIR(st->st_mode);
    file->size = (int64_t)st->st_size;
    file->mtime = (int64_t)st->st_mtime;
    file->mtime_ns = (int64_t)MMI_MTIME_NS(st);
    file->ctime = (int64_t)st->st_ctime;
    file->ctime_ns = (int64_t)MMI_CTIME_NS(st);
    file->dev = (uint64_t)st->st_dev;
    file->ino = (uint64_t)st->st_ino;
    parts[0] = file->ino;
    parts[1] = (uint64_t)file->size;
    parts[2] = (uint64_t)file->mtime * 1000000000u + (uint64_t)file->mtime_ns;
    parts[3] = (uint64_t)file->ctime * 1000000000u + (uint64_t)file->ctime_ns;
    *to++ = '"';
    for (i = 0; i < 4; i++) {
        if (i > 0) *to++ = '-';
        for (shift = 60; shift > 0 && (parts[i] >> shift) == 0; shift -= 4) continue;
        for (; shift >= 0; shift -= 4) *to++ = digits[parts[i] >> shift & 15];
    }
    *to++ = '"';
    *to = '\0';
}

static bool mmi_file_is(const mm_file *file, const struct stat *st)
{
    return file->ino == (uint64_t)st->st_ino && file->dev == (uint64_t)st->st_dev &&
           file->size == (int64_t)st->st_size && file->mtime == (int64_t)st->st_mtime &&
           file->mtime_ns == (int64_t)MMI_MTIME_NS(st) && file->ctime == (int64_t)st->st_ctime &&
           file->ctime_ns == (int64_t)MMI_CTIME_NS(st);
}

/* Whether the bytes are still those of then. Once the file is renamed over or removed its ctime is
   another, while its bytes can be kept by those who have it open: then mtime alone has to do. */
static bool mmi_file_has(const mm_file *file, const struct stat *st)
{
    if (mmi_file_is(file, st)) return true;
    return st->st_nlink == 0 && file->size == (int64_t)st->st_size &&
           file->mtime == (int64_t)st->st_mtime && file->mtime_ns == (int64_t)MMI_MTIME_NS(st);
}

static size_t mmi_file_bytes(const mm_file *file)
{
    return sizeof(mm_file) + file->path_size;
}

static void mmi_filelist_unlink(mm_filecache_list *list, mm_file *file)
{
    if (file->newer != NULL) file->newer->older = file->older;
    else list->newest = file->older;
    if (file->older != NULL) file->older->newer = file->newer;
    else list->oldest = file->newer;
    file->newer = file->older = NULL;
}

static void mmi_filelist_link(mm_filecache_list *list, mm_file *file)
{
    file->newer = NULL;
    file->older = list->newest;
    if (list->newest != NULL) list->newest->newer = file;
    else list->oldest = file;
    list->newest = file;
}

/* What the table alone refers to is in the list of idle files, from where it can be evicted
   without meeting one in use on the way. */
static void mmi_file_idle(mm_file *file, bool idle)
{
    mm_filecache *cache = file->cache;
    if (idle) mmi_filelist_link(&cache->idle, file);
    else mmi_filelist_unlink(&cache->idle, file);
    cache->stats.idle += idle ? 1 : (size_t)-1;
}

MM_API void mm_file_retain(mm_file *file)
{
    if (file->refs++ == 1 && file->cached) mmi_file_idle(file, false);
}

MM_API void mm_file_release(mm_file *file)
{
    mm_filecache *cache = file->cache;
    MM_ASSERT(file->refs > 0);
    if (--file->refs > 0) {
        if (file->refs == 1 && file->cached) mmi_file_idle(file, true);
        return;
    }
    (void)MM_SYS_CLOSE(file->fd);
    mm_fd_budget_give_for(cache->fds, MM_FD_FILE);
    cache->stats.open--;
    mmi_free(cache->allocator, file, mmi_file_bytes(file));
}

MM_API void mm_file_refchg(void *file, int change)
{
    if (change > 0) mm_file_retain((mm_file *)file);
    else mm_file_release((mm_file *)file);
}

// >>cache

static mm_file **mmi_cache_bucket(const mm_filecache *cache, uint64_t hash)
{
    MM_ASSERT(cache->buckets != NULL); /* init has failed, or deinit has been called */
    return &cache->buckets[hash & (cache->bucket_count - 1)];
}

/* Takes an entry out of the table; whoever uses it keeps it alive. */
static void mmi_cache_remove(mm_filecache *cache, mm_file *file)
{
    mm_file **link = mmi_cache_bucket(cache, file->hash);
    while (*link != file) link = &(*link)->next;
    *link = file->next;
    if (file->fd < 0) {
        mmi_filelist_unlink(&cache->notes, file);
        cache->stats.notes--;
        mmi_free(cache->allocator, file, mmi_file_bytes(file));
        return;
    }
    if (file->refs == 1) mmi_file_idle(file, false);
    file->cached = false;
    cache->stats.entries--;
    mm_file_release(file);
}

/* Puts it into the table, which has room: a file with a user, or a note. */
static void mmi_cache_add(mm_filecache *cache, mm_file *file)
{
    mm_file **bucket = mmi_cache_bucket(cache, file->hash);
    file->next = *bucket;
    *bucket = file;
    file->cached = true;
    if (file->fd < 0) {
        mmi_filelist_link(&cache->notes, file);
        cache->stats.notes++;
        return;
    }
    file->refs++;
    cache->stats.entries++;
}

/* Drops the least recently used entries that nobody uses, `count` of them at most. */
static size_t mmi_cache_evict(mm_filecache *cache, size_t count)
{
    size_t dropped = 0;
    for (; cache->idle.oldest != NULL && dropped < count; dropped++)
        mmi_cache_remove(cache, cache->idle.oldest);
    cache->stats.evictions += dropped;
    return dropped;
}

static void mmi_cache_trim_notes(mm_filecache *cache, size_t notes)
{
    while (cache->stats.notes > notes) mmi_cache_remove(cache, cache->notes.oldest);
}

MM_API void mm_filecache_trim(mm_filecache *cache, size_t entries)
{
    if (cache->stats.entries > entries) mmi_cache_evict(cache, cache->stats.entries - entries);
    mmi_cache_trim_notes(cache, entries);
}

MM_API void mm_pressure_trim_files(const mm_pressure_action *action, bool entering)
{
    mm_filecache *cache = (mm_filecache *)action->user_data;
    if (!entering) return;
    mm_filecache_trim(cache, cache->stats.entries / 100 * action->percent +
                                 cache->stats.entries % 100 * action->percent / 100);
}

/* How long ago that was; a clock that has gone back counts as one that stands. */
static int64_t mmi_elapsed(int64_t now, int64_t then)
{
    uint64_t elapsed = (uint64_t)now - (uint64_t)then;
    if (now < then) return 0;
    return elapsed > INT64_MAX ? INT64_MAX : (int64_t)elapsed;
}

static bool mmi_cache_is_stale(const mm_filecache *cache, const mm_file *file)
{
    return cache->inactive_ms >= 0 && mmi_elapsed(cache->now, file->used) > cache->inactive_ms;
}

/* Drops up to `most` files and as many notes whose time is over. */
static void mmi_cache_expire(mm_filecache *cache, int64_t now, size_t most)
{
    size_t i;
    if (now > cache->now) cache->now = now;
    for (i = 0; i < most && cache->idle.oldest != NULL; i++, cache->stats.expired++) {
        if (!mmi_cache_is_stale(cache, cache->idle.oldest)) break;
        mmi_cache_remove(cache, cache->idle.oldest);
    }
    for (i = 0; i < most && cache->notes.oldest != NULL; i++, cache->stats.expired++) {
        if (!mmi_cache_is_stale(cache, cache->notes.oldest)) break;
        mmi_cache_remove(cache, cache->notes.oldest);
    }
}

MM_API void mm_filecache_expire(mm_filecache *cache, int64_t now)
{
    mmi_cache_expire(cache, now, SIZE_MAX);
}

static mm_file *mmi_cache_find(mm_filecache *cache, uint64_t hash, mm_slice path)
{
    mm_file *file = *mmi_cache_bucket(cache, hash);
    for (; file != NULL; file = file->next)
        if (file->hash == hash &&
            mm_slice_equal(mm_slice_make(file->path, file->path_size), path))
            break;
    return file;
}

/* Opens the path; when descriptors run out, unused entries make room, once. */
static mm_status mmi_cache_open_fd(mm_filecache *cache, char *path, int *fd)
{
    int tries;
    for (tries = 0; tries < 2; tries++) {
        int error = EMFILE;
        *fd = -1;
        if (mm_fd_budget_take_for(cache->fds, MM_FD_FILE)) {
            *fd = mmi_open_beneath(cache, path);
            error = errno;
            if (*fd >= 0) return MM_STATUS_OK;
            mm_fd_budget_give_for(cache->fds, MM_FD_FILE);
        }
        if (error != EMFILE && error != ENFILE) return mm_status_from_errno(error);
        if (mmi_cache_evict(cache, 1 + cache->stats.entries / 8) == 0) break;
    }
    return MM_STATUS_NO_FILES;
}

/* An entry that is a note so far: nothing but the path. */
static mm_file *mmi_cache_blank(mm_filecache *cache, mm_slice path, uint64_t hash)
{
    mm_file *file = (mm_file *)mmi_alloc(cache->allocator, sizeof(mm_file) + path.len);
    if (file == NULL) return NULL;
    memset(file, 0, sizeof(*file));
    file->fd = -1;
    file->cache = cache;
    file->hash = hash;
    file->used = file->checked = file->looked = cache->now;
    file->uses = 1;
    file->path_size = path.len;
    file->path = (char *)file + sizeof(*file);
    if (path.len > 0) memcpy((char *)file + sizeof(*file), path.ptr, path.len);
    return file;
}

/* Opens the path and makes an entry, with one reference for the caller, not yet in the table. */
static mm_status mmi_cache_new(mm_filecache *cache, mm_slice path, uint64_t hash, char *path_z,
                               mm_file **made)
{
    struct stat st;
    mm_status status;
    mm_file *file = mmi_cache_blank(cache, path, hash);
    if (file == NULL) return MM_STATUS_NO_MEMORY;
    file->refs = 1;
    status = mmi_cache_open_fd(cache, path_z, &file->fd);
    if (status != MM_STATUS_OK) {
        mmi_free(cache->allocator, file, mmi_file_bytes(file));
        return status;
    }
    cache->stats.open++;
    if (MM_SYS_FSTAT(file->fd, &st) != 0) status = mm_status_from_errno(errno);
    else if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) status = MM_STATUS_DENIED;
    else mmi_file_identify(file, &st);
    if (status == MM_STATUS_OK) {
        if (cache->type_fn != NULL) file->type = cache->type_fn(path, cache->type_data);
        *made = file;
    } else {
        mm_file_release(file);
    }
    return status;
}

/* Whether the file may be used: not when it has been rewritten in place; and when it is time, opens
   the path again, by the same rules, since it may lead out of the root by now, and compares.
   Without a descriptor for that, which is open for the moment only and on no budget, the entry is
   as good as it was. */
static bool mmi_cache_valid(mm_filecache *cache, mm_file *file)
{
    MMI_IO_RAW char path[MMI_IO_PATH_MAX + 1];
    struct stat st;
    bool same;
    int fd;
    if (cache->stat_ms <= 0 || mmi_elapsed(cache->now, file->looked) > cache->stat_ms) {
        if (MM_SYS_FSTAT(file->fd, &st) != 0 || !mmi_file_is(file, &st)) return false;
        file->looked = cache->now;
    }
    if (cache->valid_ms >= 0 && mmi_elapsed(cache->now, file->checked) <= cache->valid_ms)
        return true;
    if (mmi_path_copy(mm_slice_make(file->path, file->path_size), path) != MM_STATUS_OK)
        return false;
    fd = mmi_open_beneath(cache, path);
    if (fd < 0) return errno == EMFILE || errno == ENFILE;
    same = MM_SYS_FSTAT(fd, &st) == 0 && mmi_file_is(file, &st);
    (void)MM_SYS_CLOSE(fd);
    if (same) file->checked = file->looked = cache->now;
    return same;
}

/* Whether openat2 works here; an old kernel lacks it, a sandbox may refuse it. */
static void mmi_cache_probe(mm_filecache *cache)
{
    int fd = -1;
#ifdef MMI_HAVE_OPENAT2
    fd = MM_SYS_OPENAT2(cache->root_fd, ".", O_RDONLY | MMI_O_CLOEXEC, MMI_RESOLVE_BENEATH);
#endif
    cache->no_openat2 = fd < 0;
    if (fd >= 0) (void)MM_SYS_CLOSE(fd);
}

/* What the table has of a path and may still be used; what may not has gone from it. */
static mm_file *mmi_cache_lookup(mm_filecache *cache, uint64_t hash, mm_slice path)
{
    mm_file *found = mmi_cache_find(cache, hash, path);
    if (found == NULL) return NULL;
    if (found->fd >= 0) {
        if (mmi_cache_valid(cache, found)) return found;
        cache->stats.changed++;
    } else if (mmi_cache_is_stale(cache, found)) {
        cache->stats.expired++;
    } else if (found->status == MM_STATUS_OK ||
               mmi_elapsed(cache->now, found->checked) <= cache->negative_ms) {
        return found;
    }
    mmi_cache_remove(cache, found);
    return NULL;
}

/* Remembers the path of a lookup without its descriptor: that it failed, or how often it was asked
   for. `note` is what there is already, or NULL. Without memory nothing is remembered. */
static void mmi_cache_note(mm_filecache *cache, mm_file *note, mm_slice path, uint64_t hash,
                           mm_status status)
{
    if (note != NULL) {
        mmi_filelist_unlink(&cache->notes, note);
        mmi_filelist_link(&cache->notes, note);
        note->uses++;
        note->used = note->checked = cache->now;
        note->status = status;
        return;
    }
    mmi_cache_trim_notes(cache, cache->max_notes - 1);
    note = mmi_cache_blank(cache, path, hash);
    if (note == NULL) return;
    note->status = status;
    mmi_cache_add(cache, note);
}

/* Answers a lookup by opening the path. A note of it is looked for when that is done: to find
   memory, a budget may have had the cache trimmed. */
static mm_status mmi_cache_miss(mm_filecache *cache, mm_slice path, uint64_t hash, mm_file **file)
{
    MMI_IO_RAW char path_z[MMI_IO_PATH_MAX + 1];
    mm_file *made = NULL, *note;
    mm_status status = mmi_path_copy(path, path_z);
    if (status != MM_STATUS_OK) return status;
    status = mmi_cache_new(cache, path, hash, path_z, &made);
    note = mmi_cache_find(cache, hash, path);
    cache->stats.misses++;
    if (status != MM_STATUS_OK) {
        bool lasting = status == MM_STATUS_NOT_FOUND || status == MM_STATUS_DENIED;
        if (lasting && cache->negative_ms > 0) mmi_cache_note(cache, note, path, hash, status);
        return status;
    }
    *file = made;
    if (note != NULL) made->uses = note->uses + 1;
    if (made->uses < cache->min_uses) {
        mmi_cache_note(cache, note, path, hash, MM_STATUS_OK);
        return MM_STATUS_OK;
    }
    if (note != NULL) mmi_cache_remove(cache, note);
    if (cache->stats.entries >= cache->max_entries)
        mmi_cache_evict(cache, cache->stats.entries - cache->max_entries + 1);
    if (cache->stats.entries < cache->max_entries) mmi_cache_add(cache, made);
    return MM_STATUS_OK;
}

MM_API mm_status mm_filecache_open(mm_filecache *cache, mm_slice path, int64_t now, mm_file **file)
{
    uint64_t hash;
    mm_file *found;
    *file = NULL;
    if (path.len > MMI_IO_PATH_MAX) return MM_STATUS_INVALID;
    hash = mmi_hash(cache->key, path.ptr, path.len);
    mmi_cache_expire(cache, now, MMI_IO_EXPIRE);
    found = mmi_cache_lookup(cache, hash, path); /* what is in the table is a good path */
    if (found == NULL || (found->fd < 0 && found->status == MM_STATUS_OK))
        return mmi_cache_miss(cache, path, hash, file);
    found->used = cache->now;
    found->uses++;
    if (found->fd < 0) {
        mmi_filelist_unlink(&cache->notes, found);
        mmi_filelist_link(&cache->notes, found);
        cache->stats.negative++;
        return found->status;
    }
    mm_file_retain(found);
    cache->stats.hits++;
    *file = found;
    return MM_STATUS_OK;
}

MM_API void mm_filecache_forget(mm_filecache *cache, mm_slice path)
{
    mm_file *found = mmi_cache_find(cache, mmi_hash(cache->key, path.ptr, path.len), path);
    if (found != NULL) mmi_cache_remove(cache, found);
}

static void mmi_cache_configure(mm_filecache *cache, const mm_filecache_desc *desc)
{
    memset(cache, 0, sizeof(*cache));
    cache->allocator = desc->allocator;
    cache->fds = desc->fds;
    cache->follow = desc->follow;
    cache->max_entries = desc->max_entries == 0 ? 1024 : desc->max_entries;
    cache->max_notes = desc->max_notes == 0 ? cache->max_entries : desc->max_notes;
    cache->min_uses = desc->min_uses;
    cache->valid_ms = desc->valid_ms == 0 ? 1000 : desc->valid_ms;
    cache->stat_ms = desc->stat_ms;
    cache->inactive_ms = desc->inactive_ms == 0 ? 60000 : desc->inactive_ms;
    cache->negative_ms = desc->negative_ms;
    cache->type_fn = desc->type_fn;
    cache->type_data = desc->type_data;
    cache->now = INT64_MIN;
}

MM_API mm_status mm_filecache_init(mm_filecache *cache, const mm_filecache_desc *desc)
{
    size_t bytes, count;
    MM_ASSERT(desc->root != NULL);
    mmi_cache_configure(cache, desc);
    if (!mm_size_add(cache->max_entries, cache->max_notes, &count)) return MM_STATUS_TOO_LARGE;
    cache->bucket_count = mm_size_pow2(count);
    if (cache->bucket_count == 0 ||
        !mm_size_mul(cache->bucket_count, sizeof(mm_file *), &bytes))
        return MM_STATUS_TOO_LARGE;
    do {
        cache->root_fd = MM_SYS_OPEN(desc->root, O_RDONLY | MMI_O_DIRECTORY | MMI_O_CLOEXEC, 0);
    } while (cache->root_fd < 0 && errno == EINTR);
    if (cache->root_fd < 0) return mm_status_from_errno(errno);
    cache->buckets = (mm_file **)mmi_alloc(cache->allocator, bytes);
    if (cache->buckets == NULL) {
        (void)MM_SYS_CLOSE(cache->root_fd);
        return MM_STATUS_NO_MEMORY;
    }
    memset(cache->buckets, 0, bytes);
    mmi_cache_probe(cache);
    mmi_hash_key(cache->key);
    return MM_STATUS_OK;
}

MM_API size_t mm_filecache_deinit(mm_filecache *cache)
{
    size_t i;
    if (cache->buckets == NULL) return 0;
    for (i = 0; i < cache->bucket_count; i++)
        while (cache->buckets[i] != NULL) mmi_cache_remove(cache, cache->buckets[i]);
    if (cache->stats.open > 0) return cache->stats.open;
    mmi_free(cache->allocator, cache->buckets, cache->bucket_count * sizeof(mm_file *));
    cache->buckets = NULL;
    (void)MM_SYS_CLOSE(cache->root_fd);
    cache->root_fd = -1;
    return 0;
}

// >>check

/* The entries of a list, when all are as those of that list have to be; else SIZE_MAX. */
static size_t mmi_filelist_check(const mm_filecache *cache, const mm_filecache_list *list,
                                 bool notes)
{
    const mm_file *file, *newer = NULL;
    size_t count = 0;
    for (file = list->newest; file != NULL; newer = file, file = file->older, count++) {
        if (file->newer != newer || file->cache != cache || !file->cached) return SIZE_MAX;
        if (notes ? file->fd >= 0 : file->fd < 0 || file->refs != 1) return SIZE_MAX;
    }
    return newer == list->oldest ? count : SIZE_MAX;
}

MM_API bool mm_filecache_check(const mm_filecache *cache)
{
    const mm_file *file;
    size_t files = 0, notes = 0, idle = 0, i;
    for (i = 0; i < cache->bucket_count; i++)
        for (file = cache->buckets[i]; file != NULL; file = file->next) {
            if ((file->hash & (cache->bucket_count - 1)) != i || !file->cached) return false;
            if (file->fd < 0) notes++;
            else files++;
            if (file->fd >= 0 && file->refs == 0) return false;
            if (file->fd >= 0 && file->refs == 1) idle++;
        }
    return mmi_filelist_check(cache, &cache->idle, false) == idle && idle == cache->stats.idle &&
           mmi_filelist_check(cache, &cache->notes, true) == notes && notes == cache->stats.notes &&
           files == cache->stats.entries && files <= cache->stats.open &&
           files <= cache->max_entries && notes <= cache->max_notes;
}

// >>content

MM_API mm_status mm_file_read(const mm_file *file, char *bytes, size_t size, int64_t offset)
{
    struct stat st;
    size_t done = 0;
    while (done < size) {
        off_t at = (off_t)(offset + (int64_t)done);
        ssize_t n;
        if ((int64_t)at != offset + (int64_t)done) return MM_STATUS_TOO_LARGE;
        n = MM_SYS_PREAD(file->fd, bytes + done, size - done, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mm_status_from_errno(errno);
        if (n == 0) return MM_STATUS_TRUNCATED;
        done += (size_t)n;
    }
    if (MM_SYS_FSTAT(file->fd, &st) != 0) return mm_status_from_errno(errno);
    return mmi_file_has(file, &st) ? MM_STATUS_OK : MM_STATUS_TRUNCATED;
}

MM_API mm_status mm_file_append(mm_chunkqueue *q, mm_file *file, int64_t offset, int64_t length,
                                size_t most)
{
    size_t room;
    char *to;
    mm_status status = mm_chunkqueue_status(q);
    if (status != MM_STATUS_OK) return status;
    if (file->is_directory || offset < 0 || length < 0 || offset > file->size ||
        length > file->size - offset)
        return MM_STATUS_INVALID;
    if (length == 0) return MM_STATUS_OK;
    if ((uint64_t)length > (most == 0 ? (size_t)MMI_IO_APPEND : most))
        return mm_chunkqueue_append_fd_ref(q, file->fd, offset, length, mm_file_refchg, file);
    if (length > mm_chunkqueue_room(q)) return MM_STATUS_LIMIT;
    to = mm_chunkqueue_get_memory(q, (size_t)length, &room);
    if (to == NULL) return mmi_io_no_place(q);
    status = room < (size_t)length ? MM_STATUS_LIMIT
                                   : mm_file_read(file, to, (size_t)length, offset);
    mm_chunkqueue_use_memory(q, status == MM_STATUS_OK ? (size_t)length : 0);
    return status;
}

// >>responses

static void mmi_response_identify(uint64_t to[7], const mm_file *file)
{
    to[0] = file->dev;
    to[1] = file->ino;
    to[2] = (uint64_t)file->size;
    to[3] = (uint64_t)file->mtime;
    to[4] = (uint64_t)file->mtime_ns;
    to[5] = (uint64_t)file->ctime;
    to[6] = (uint64_t)file->ctime_ns;
}

static bool mmi_response_is_of(const mm_response *response, const mm_file *file)
{
    uint64_t now[7];
    mmi_response_identify(now, file);
    return memcmp(now, response->file, sizeof(now)) == 0;
}

static mm_respcache_queue *mmi_response_queue(const mm_response *response)
{
    mm_respcache *cache = response->cache;
    return response->in_main ? &cache->main_queue : &cache->small_queue;
}

static void mmi_response_unlink(mm_response *response)
{
    mm_respcache_queue *queue = mmi_response_queue(response);
    if (response->newer != NULL) response->newer->older = response->older;
    else queue->newest = response->older;
    if (response->older != NULL) response->older->newer = response->newer;
    else queue->oldest = response->newer;
    queue->bytes -= response->bytes;
}

static void mmi_response_link(mm_response *response, bool in_main)
{
    mm_respcache_queue *queue;
    response->in_main = in_main;
    queue = mmi_response_queue(response);
    response->newer = NULL;
    response->older = queue->newest;
    if (queue->newest != NULL) queue->newest->newer = response;
    else queue->oldest = response;
    queue->newest = response;
    queue->bytes += response->bytes;
}

static mm_response **mmi_respcache_bucket(const mm_respcache *cache, uint64_t hash)
{
    MM_ASSERT(cache->buckets != NULL);
    return &cache->buckets[hash & (cache->bucket_count - 1)];
}

/* Where the hash is remembered; the place is chosen by other bits than the bucket. */
static uint64_t *mmi_respcache_ghost(const mm_respcache *cache, uint64_t hash)
{
    return &cache->ghosts[hash >> 32 & (cache->bucket_count - 1)];
}

static void mmi_respcache_note(mm_respcache *cache, size_t bytes, bool more)
{
    if (cache->budget == NULL) return;
    mm_budget_note(cache->budget, more ? (ptrdiff_t)bytes : -(ptrdiff_t)bytes, 0);
}

MM_API void mm_response_retain(mm_response *response)
{
    response->refs++;
}

MM_API void mm_response_release(mm_response *response)
{
    mm_respcache *cache = response->cache;
    MM_ASSERT(response->refs > 0);
    if (--response->refs > 0) return;
    cache->stats.leaving -= response->bytes;
    mmi_free(cache->allocator, response, response->bytes);
}

/* Takes an entry out of the table; whoever sends it keeps it alive. */
static void mmi_respcache_remove(mm_respcache *cache, mm_response *response)
{
    mm_response **link = mmi_respcache_bucket(cache, response->hash);
    while (*link != response) link = &(*link)->next;
    *link = response->next;
    mmi_response_unlink(response);
    response->cached = false;
    cache->stats.entries--;
    cache->stats.bytes -= response->bytes;
    cache->stats.leaving += response->bytes;
    mmi_respcache_note(cache, response->bytes, false);
    mm_response_release(response);
}

static mm_response *mmi_respcache_find(const mm_respcache *cache, uint64_t hash, mm_slice key)
{
    mm_response *response = *mmi_respcache_bucket(cache, hash);
    while (response != NULL && (response->hash != hash || !mm_slice_equal(response->key, key)))
        response = response->next;
    return response;
}

/* Evicts one entry, unless there is none. What is passed over has its hits taken: each is met four
   times at most before it goes. */
static void mmi_respcache_evict(mm_respcache *cache)
{
    for (;;) {
        bool small = cache->small_queue.bytes > cache->max_bytes / 10 ||
                     cache->main_queue.oldest == NULL;
        mm_response *response = small ? cache->small_queue.oldest : cache->main_queue.oldest;
        if (response == NULL) return;
        if (small ? response->hits <= 1 : response->hits == 0) {
            if (small) *mmi_respcache_ghost(cache, response->hash) = response->hash;
            mmi_respcache_remove(cache, response);
            cache->stats.evictions++;
            return;
        }
        response->hits = small ? 0 : (unsigned char)(response->hits - 1);
        mmi_response_unlink(response);
        mmi_response_link(response, true);
    }
}

static void mmi_respcache_evict_to(mm_respcache *cache, size_t bytes)
{
    while (cache->stats.entries > 0 && cache->stats.bytes > bytes) mmi_respcache_evict(cache);
}

/* Makes room for an entry by the marks; false: there is none, for what is being sent has it. */
static bool mmi_respcache_room(mm_respcache *cache, size_t bytes)
{
    size_t held = cache->stats.leaving;
    if (held > cache->max_bytes || bytes > cache->max_bytes - held) return false;
    held += bytes;
    if (held > cache->high || cache->stats.bytes > cache->high - held)
        mmi_respcache_evict_to(cache, held > cache->low ? 0 : cache->low - held);
    while (cache->stats.entries >= cache->max_entries) mmi_respcache_evict(cache);
    held = cache->stats.leaving + bytes; /* what was evicted may still be on its way */
    return held <= cache->max_bytes && cache->stats.bytes <= cache->max_bytes - held;
}

MM_API mm_response *mm_respcache_get(mm_respcache *cache, mm_slice key, const mm_file *file)
{
    mm_response *response = mmi_respcache_find(cache, mmi_hash(cache->key, key.ptr, key.len), key);
    if (response != NULL && !mmi_response_is_of(response, file)) {
        mmi_respcache_remove(cache, response);
        cache->stats.changed++;
        response = NULL;
    }
    if (response == NULL) {
        cache->stats.misses++;
        return NULL;
    }
    if (response->hits < 3) response->hits++;
    response->refs++;
    cache->stats.hits++;
    return response;
}

/* A block with key, head and room for the body, of no table yet. */
static mm_response *mmi_response_new(mm_respcache *cache, size_t bytes, mm_slice key, mm_slice head,
                                     size_t body)
{
    mm_response *response = (mm_response *)mmi_alloc(cache->allocator, bytes);
    char *at;
    if (response == NULL) return NULL;
    memset(response, 0, sizeof(*response));
    at = (char *)response + sizeof(*response);
    if (key.len > 0) memcpy(at, key.ptr, key.len);
    response->key = mm_slice_make(at, key.len);
    at += key.len;
    if (head.len > 0) memcpy(at, head.ptr, head.len);
    response->head = mm_slice_make(at, head.len);
    response->body = mm_slice_make(at + head.len, body);
    response->cache = cache;
    response->bytes = bytes;
    response->refs = 1;
    return response;
}

static mm_status mmi_response_fill(mm_response *response, const mm_file *file, const mm_slice *body)
{
    char *to = (char *)response + (response->body.ptr - (const char *)response);
    if (body == NULL) return mm_file_read(file, to, response->body.len, 0);
    if (body->len > 0) memcpy(to, body->ptr, body->len);
    return MM_STATUS_OK;
}

/* In the table, with a reference of the table's. */
static void mmi_respcache_add(mm_respcache *cache, mm_response *response)
{
    uint64_t *ghost = mmi_respcache_ghost(cache, response->hash);
    mm_response **bucket = mmi_respcache_bucket(cache, response->hash);
    bool returned = *ghost == response->hash && response->hash != 0;
    if (returned) *ghost = 0;
    response->next = *bucket;
    *bucket = response;
    response->refs++;
    response->cached = true;
    mmi_response_link(response, returned);
    cache->stats.returned += returned;
    cache->stats.inserted++;
    cache->stats.entries++;
    cache->stats.bytes += response->bytes;
    if (cache->stats.bytes + cache->stats.leaving > cache->stats.peak)
        cache->stats.peak = cache->stats.bytes + cache->stats.leaving;
    mmi_respcache_note(cache, response->bytes, true);
}

/* The bytes of an entry, or why there cannot be one. */
static mm_status mmi_response_size(const mm_respcache *cache, mm_slice key, mm_slice head,
                                   uint64_t body, size_t *bytes)
{
    if (cache->paused || body > cache->max_body) return MM_STATUS_LIMIT;
    if (!mm_size_add(sizeof(mm_response), key.len, bytes) ||
        !mm_size_add(*bytes, head.len, bytes) || !mm_size_add(*bytes, (size_t)body, bytes))
        return MM_STATUS_LIMIT;
    return *bytes > cache->high ? MM_STATUS_LIMIT : MM_STATUS_OK;
}

MM_API mm_status mm_respcache_put(mm_respcache *cache, mm_slice key, const mm_file *file,
                                  mm_slice head, const mm_slice *body, mm_response **response)
{
    uint64_t size = body != NULL ? body->len : (uint64_t)file->size;
    size_t bytes;
    mm_response *made = NULL, *old;
    mm_status status = mmi_response_size(cache, key, head, size, &bytes);
    *response = NULL;
    if (file->is_directory) return MM_STATUS_INVALID;
    if (status == MM_STATUS_OK && !mmi_respcache_room(cache, bytes)) status = MM_STATUS_LIMIT;
    if (status == MM_STATUS_OK) {
        made = mmi_response_new(cache, bytes, key, head, (size_t)size);
        status = made == NULL ? MM_STATUS_NO_MEMORY : mmi_response_fill(made, file, body);
    }
    if (status != MM_STATUS_OK) {
        if (made != NULL) mmi_free(cache->allocator, made, bytes);
        cache->stats.refused++;
        return status;
    }
    made->hash = mmi_hash(cache->key, key.ptr, key.len);
    mmi_response_identify(made->file, file);
    old = mmi_respcache_find(cache, made->hash, key);
    if (old != NULL) mmi_respcache_remove(cache, old);
    mmi_respcache_add(cache, made);
    *response = made;
    return MM_STATUS_OK;
}

MM_API void mm_respcache_forget(mm_respcache *cache, mm_slice key)
{
    mm_response *response = mmi_respcache_find(cache, mmi_hash(cache->key, key.ptr, key.len), key);
    if (response != NULL) mmi_respcache_remove(cache, response);
}

MM_API void mm_respcache_trim(mm_respcache *cache, unsigned percent)
{
    size_t bytes = cache->stats.bytes;
    if (percent >= 100) return;
    mmi_respcache_evict_to(cache, bytes / 100 * percent + bytes % 100 * percent / 100);
}

MM_API size_t mm_respcache_reclaim(size_t wanted, void *user_data)
{
    mm_respcache *cache = (mm_respcache *)user_data;
    size_t before = cache->stats.bytes + cache->stats.leaving, freed = 0;
    while (cache->stats.entries > 0 && freed < wanted) {
        mmi_respcache_evict(cache);
        freed = before - (cache->stats.bytes + cache->stats.leaving);
    }
    return freed;
}

MM_API void mm_pressure_trim_responses(const mm_pressure_action *action, bool entering)
{
    mm_respcache *cache = (mm_respcache *)action->user_data;
    if (action->percent == 0) cache->paused = entering;
    if (entering) mm_respcache_trim(cache, action->percent);
}

static void mmi_response_sent(const void *bytes, int64_t size, void *user_data)
{
    (void)bytes;
    (void)size;
    mm_response_release((mm_response *)user_data);
}

MM_API mm_status mm_response_append(mm_response *response, mm_chunkqueue *q, bool with_body)
{
    size_t size = response->head.len + (with_body ? response->body.len : 0);
    mm_status status;
    mm_response_retain(response);
    status = mm_chunkqueue_append_reference(q, response->head.ptr, (int64_t)size, mmi_response_sent,
                                            response);
    if (status != MM_STATUS_OK) mm_response_release(response);
    return status;
}

static mm_status mmi_respcache_configure(mm_respcache *cache, const mm_respcache_desc *desc)
{
    unsigned high = desc->high_percent == 0 ? 90 : desc->high_percent;
    unsigned low = desc->low_percent == 0 ? 70 : desc->low_percent;
    memset(cache, 0, sizeof(*cache));
    if (high > 100 || low > high) return MM_STATUS_INVALID;
    cache->allocator = desc->allocator;
    cache->budget = desc->budget;
    cache->max_bytes = desc->max_bytes == 0 ? (size_t)16 << 20 : desc->max_bytes;
    cache->max_entries = desc->max_entries;
    if (cache->max_entries == 0) cache->max_entries = cache->max_bytes / 512 + 1;
    cache->max_body = desc->max_body;
    if (cache->max_body == 0)
        cache->max_body = cache->max_bytes / 16 < 65536 ? cache->max_bytes / 16 : 65536;
    cache->high = cache->max_bytes / 100 * high + cache->max_bytes % 100 * high / 100;
    cache->low = cache->max_bytes / 100 * low + cache->max_bytes % 100 * low / 100;
    cache->bucket_count = mm_size_pow2(cache->max_entries);
    return MM_STATUS_OK;
}

MM_API mm_status mm_respcache_init(mm_respcache *cache, const mm_respcache_desc *desc)
{
    size_t table, ghosts;
    mm_status status = mmi_respcache_configure(cache, desc);
    if (status != MM_STATUS_OK) return status;
    if (cache->bucket_count == 0 ||
        !mm_size_mul(cache->bucket_count, sizeof(mm_response *), &table) ||
        !mm_size_mul(cache->bucket_count, sizeof(uint64_t), &ghosts))
        return MM_STATUS_TOO_LARGE;
    cache->buckets = (mm_response **)mmi_alloc(cache->allocator, table);
    if (cache->buckets == NULL) return MM_STATUS_NO_MEMORY;
    cache->ghosts = (uint64_t *)mmi_alloc(cache->allocator, ghosts);
    if (cache->ghosts == NULL) {
        mmi_free(cache->allocator, cache->buckets, table);
        cache->buckets = NULL;
        return MM_STATUS_NO_MEMORY;
    }
    memset(cache->buckets, 0, table);
    memset(cache->ghosts, 0, ghosts);
    mmi_hash_key(cache->key);
    return MM_STATUS_OK;
}

MM_API size_t mm_respcache_deinit(mm_respcache *cache)
{
    if (cache->buckets == NULL) return 0;
    mmi_respcache_evict_to(cache, 0);
    if (cache->stats.leaving > 0) return cache->stats.leaving;
    mmi_free(cache->allocator, cache->buckets, cache->bucket_count * sizeof(mm_response *));
    mmi_free(cache->allocator, cache->ghosts, cache->bucket_count * sizeof(uint64_t));
    cache->buckets = NULL;
    cache->ghosts = NULL;
    return 0;
}

static bool mmi_response_queue_check(const mm_respcache *cache, const mm_respcache_queue *queue,
                                     bool in_main, size_t *count)
{
    const mm_response *response, *newer = NULL;
    size_t bytes = 0;
    for (response = queue->newest; response != NULL; newer = response, response = response->older) {
        if (response->newer != newer || response->in_main != in_main || !response->cached)
            return false;
        if (response->cache != cache || response->refs == 0 || response->hits > 3) return false;
        if (mmi_respcache_find(cache, response->hash, response->key) != response) return false;
        bytes += response->bytes;
        ++*count;
    }
    return newer == queue->oldest && bytes == queue->bytes;
}

MM_API bool mm_respcache_check(const mm_respcache *cache)
{
    size_t count = 0;
    return mmi_response_queue_check(cache, &cache->small_queue, false, &count) &&
           mmi_response_queue_check(cache, &cache->main_queue, true, &count) &&
           count == cache->stats.entries && count <= cache->max_entries &&
           cache->small_queue.bytes + cache->main_queue.bytes == cache->stats.bytes &&
           cache->stats.bytes + cache->stats.leaving <= cache->max_bytes;
}

#ifdef MM_CHUNK_VIEWS
// >>maps

MM_API mm_status mm_mapcache_init(mm_mapcache *cache, const mm_mapcache_desc *desc)
{
    memset(cache, 0, sizeof(*cache));
    MM_ASSERT(desc->pool != NULL);
    cache->desc = *desc;
    if (desc->max_total == 0) cache->desc.max_total = (int64_t)256 << 20;
    if (desc->max_file == 0) cache->desc.max_file = (int64_t)16 << 20;
    if (desc->min_file == 0) cache->desc.min_file = (int64_t)128 << 10;
    if (desc->max_count == 0) cache->desc.max_count = 64;
    if (desc->max_total < 0 || desc->min_file < 0) return MM_STATUS_INVALID;
    return cache->desc.min_file > cache->desc.max_file ? MM_STATUS_INVALID : MM_STATUS_OK;
}

static void mmi_mapcache_unlink(mm_mapcache *cache, mm_mapcache_entry *entry)
{
    if (entry->newer != NULL) entry->newer->older = entry->older;
    else cache->newest = entry->older;
    if (entry->older != NULL) entry->older->newer = entry->newer;
    else cache->oldest = entry->newer;
}

static void mmi_mapcache_link(mm_mapcache *cache, mm_mapcache_entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    if (cache->newest != NULL) cache->newest->newer = entry;
    else cache->oldest = entry;
    cache->newest = entry;
}

static void mmi_mapcache_free(mm_mapcache *cache, mm_mapcache_entry *entry)
{
    mm_chunkqueue_deinit(&entry->queue); /* unmaps, and releases the file */
    mmi_free(cache->desc.pool->allocator, entry, sizeof(*entry));
}

static void mmi_mapcache_remove(mm_mapcache *cache, mm_mapcache_entry *entry)
{
    mmi_mapcache_unlink(cache, entry);
    cache->stats.entries--;
    cache->stats.bytes -= entry->file->size;
    cache->stats.evictions++;
    mmi_mapcache_free(cache, entry);
}

/* Unmaps from the oldest on, what nobody looks at: what has changed; and the rest until there are
   at most `count`, of `bytes` or less. */
static void mmi_mapcache_shrink(mm_mapcache *cache, size_t count, int64_t bytes)
{
    mm_mapcache_entry *entry = cache->oldest;
    while (entry != NULL) {
        mm_mapcache_entry *newer = entry->newer;
        bool full = cache->stats.entries > count || cache->stats.bytes > bytes;
        if (entry->users == 0 && (full || !entry->file->cached)) mmi_mapcache_remove(cache, entry);
        entry = newer;
    }
}

MM_API void mm_mapcache_trim(mm_mapcache *cache, size_t count)
{
    mmi_mapcache_shrink(cache, count, INT64_MAX);
}

MM_API size_t mm_mapcache_deinit(mm_mapcache *cache)
{
    const mm_mapcache_entry *entry;
    size_t users = 0;
    mm_mapcache_trim(cache, 0);
    for (entry = cache->oldest; entry != NULL; entry = entry->newer) users += entry->users;
    return users;
}

static mm_status mmi_mapcache_look(mm_mapcache *cache, mm_mapcache_entry *entry, mm_filemap *map)
{
    mm_status status = mm_chunk_view_get(cache->desc.pool, entry->queue.first,
                                         (size_t)entry->file->size, &map->view, &map->bytes);
    if (status != MM_STATUS_OK) return status;
    map->entry = entry;
    entry->users++;
    return MM_STATUS_OK;
}

/* Maps a file that there is room for. */
static mm_status mmi_mapcache_map(mm_mapcache *cache, mm_file *file, mm_filemap *map)
{
    mm_chunk_pool *pool = cache->desc.pool;
    mm_mapcache_entry *entry = (mm_mapcache_entry *)mmi_alloc(pool->allocator, sizeof(*entry));
    mm_status status;
    if (entry == NULL) return MM_STATUS_NO_MEMORY;
    memset(entry, 0, sizeof(*entry));
    mm_chunkqueue_init(&entry->queue, pool);
    entry->file = file;
    status = mm_chunkqueue_append_fd_ref(&entry->queue, file->fd, 0, file->size, mm_file_refchg,
                                         file);
    if (status == MM_STATUS_OK) status = mmi_mapcache_look(cache, entry, map);
    if (status != MM_STATUS_OK) {
        mmi_mapcache_free(cache, entry);
        return status;
    }
    mmi_mapcache_link(cache, entry);
    cache->stats.entries++;
    cache->stats.bytes += file->size;
    return MM_STATUS_OK;
}

MM_API mm_status mm_mapcache_get(mm_mapcache *cache, mm_file *file, mm_filemap *map)
{
    const mm_mapcache_desc *desc = &cache->desc;
    mm_mapcache_entry *entry = cache->newest;
    memset(map, 0, sizeof(*map));
    if (file->is_directory || file->size < desc->min_file || file->size > desc->max_file ||
        file->size > desc->max_total || (uint64_t)file->size > SIZE_MAX)
        return MM_STATUS_LIMIT;
    while (entry != NULL && entry->file != file) entry = entry->older;
    if (entry != NULL) {
        mm_status status = mmi_mapcache_look(cache, entry, map);
        if (status != MM_STATUS_OK) return status;
        mmi_mapcache_unlink(cache, entry);
        mmi_mapcache_link(cache, entry);
        cache->stats.hits++;
        return MM_STATUS_OK;
    }
    cache->stats.misses++;
    mmi_mapcache_shrink(cache, desc->max_count - 1, desc->max_total - file->size);
    if (cache->stats.entries >= desc->max_count ||
        cache->stats.bytes > desc->max_total - file->size)
        return MM_STATUS_LIMIT;
    return mmi_mapcache_map(cache, file, map);
}

MM_API mm_status mm_mapcache_put(mm_mapcache *cache, mm_filemap *map)
{
    mm_mapcache_entry *entry = map->entry;
    mm_status status = mm_chunk_view_put(cache->desc.pool, entry->queue.first, map->view);
    MM_ASSERT(entry->users > 0);
    entry->users--;
    memset(map, 0, sizeof(*map));
    return status;
}
#endif

#ifdef MM_IO_OPENSSL
// >>sessions

#define MMI_TLS_LOOKS 200    /* at a lock before its owner is let run; io_cache.c, two threads */
#define MMI_TLS_SESSION 4096 /* bytes of stack for a DER form: ten times what one has without a
                                client's certificate */

/* Held for some tens of nanoseconds, so that to wait for it in the kernel costs more; unless who
   has it does not run just now. */
static void mmi_tls_lock(size_t *lock)
{
    size_t expected = 0, looks;
    while (!mmi_atomic_cas(lock, &expected, (size_t)1)) {
        expected = 0;
        for (looks = 0; looks < MMI_TLS_LOOKS && mmi_atomic_load(lock) != 0; looks++) continue;
        if (looks == MMI_TLS_LOOKS) (void)sched_yield();
    }
}

static void mmi_tls_unlock(size_t *lock)
{
    mmi_atomic_store(lock, (size_t)0);
}

/* Where OpenSSL keeps our pointer in a context: one index for the process, made once. */
static int mmi_tls_index(size_t *place)
{
    size_t known = mmi_atomic_load(place);
    if (known == 0) {
        int made = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
        if (made < 0) return -1;
        if (mmi_atomic_cas(place, &known, (size_t)made + 1)) return made;
    }
    return (int)known - 1;
}

static size_t mmi_tls_sessions_index; /* and one */
static size_t mmi_tls_tickets_index;

static int64_t mmi_tls_now(const mm_tls_sessions *sessions)
{
    const mm_tls_sessions_desc *desc = &sessions->desc;
    return desc->now_fn != NULL ? desc->now_fn(desc->now_data) : (int64_t)MM_SYS_TIME();
}

/* A clock that was put back ends sessions, too. */
static bool mmi_tls_is_over(const mm_tls_sessions *sessions, const mm_tls_session *session,
                            int64_t now)
{
    return now < session->made ||
           (uint64_t)now - (uint64_t)session->made >= (uint64_t)sessions->desc.timeout;
}

/* The shard by other bits than the bucket. */
static mm_tls_sessions_shard *mmi_tls_shard(const mm_tls_sessions *sessions, uint64_t hash)
{
    return &sessions->shards[hash >> 32 & (sessions->desc.shards - 1)];
}

static mm_tls_session **mmi_tls_find(const mm_tls_sessions *sessions,
                                     const mm_tls_sessions_shard *shard, uint64_t hash, mm_slice id)
{
    mm_tls_session **link = &shard->buckets[hash & (sessions->bucket_count - 1)];
    for (; *link != NULL; link = &(*link)->next)
        if ((*link)->hash == hash && (*link)->id_size == id.len &&
            memcmp((*link)->id, id.ptr, id.len) == 0)
            break;
    return link;
}

static void mmi_tls_unlink_age(mm_tls_sessions_shard *shard, mm_tls_session *session)
{
    if (session->newer != NULL) session->newer->older = session->older;
    else shard->newest = session->older;
    if (session->older != NULL) session->older->newer = session->newer;
    else shard->oldest = session->newer;
}

static void mmi_tls_link_newest(mm_tls_sessions_shard *shard, mm_tls_session *session)
{
    session->newer = NULL;
    session->older = shard->newest;
    if (shard->newest != NULL) shard->newest->newer = session;
    else shard->oldest = session;
    shard->newest = session;
}

/* Takes the session that `link` leads to out of the shard and puts it on a list of such, which are
   wiped and freed when the lock is not held any more. */
static void mmi_tls_take(mm_tls_sessions_shard *shard, mm_tls_session **link,
                         mm_tls_session **taken)
{
    mm_tls_session *session = *link;
    *link = session->next;
    mmi_tls_unlink_age(shard, session);
    shard->stats.entries--;
    shard->stats.bytes -= sizeof(*session) + session->size;
    session->next = *taken;
    *taken = session;
}

static void mmi_tls_take_session(const mm_tls_sessions *sessions, mm_tls_sessions_shard *shard,
                                 const mm_tls_session *session, mm_tls_session **taken)
{
    mm_tls_session **link = &shard->buckets[session->hash & (sessions->bucket_count - 1)];
    while (*link != session) link = &(*link)->next;
    mmi_tls_take(shard, link, taken);
}

static void mmi_tls_free(const mm_tls_sessions *sessions, mm_tls_session *taken)
{
    while (taken != NULL) {
        mm_tls_session *next = taken->next;
        size_t bytes = sizeof(*taken) + taken->size;
        OPENSSL_cleanse(taken, bytes);
        mmi_free(sessions->desc.allocator, taken, bytes);
        taken = next;
    }
}

static bool mmi_tls_id_is_good(mm_slice id)
{
    return id.len > 0 && id.len <= sizeof(((mm_tls_session *)NULL)->id);
}

/* Adds the session to its shard in the place of one with the same id, and takes what is too much
   then. */
static void mmi_tls_insert(const mm_tls_sessions *sessions, mm_tls_session *session,
                           mm_tls_session **taken)
{
    mm_tls_sessions_shard *shard = mmi_tls_shard(sessions, session->hash);
    size_t bytes = sizeof(*session) + session->size;
    mm_tls_session **link;
    mmi_tls_lock(&shard->lock);
    link = mmi_tls_find(sessions, shard, session->hash,
                        mm_slice_make((const char *)session->id, session->id_size));
    if (*link != NULL) mmi_tls_take(shard, link, taken);
    while (shard->oldest != NULL && (shard->stats.entries >= sessions->shard_entries ||
                                     shard->stats.bytes + bytes > sessions->shard_bytes)) {
        mmi_tls_take_session(sessions, shard, shard->oldest, taken);
        shard->stats.evictions++;
    }
    link = &shard->buckets[session->hash & (sessions->bucket_count - 1)];
    session->next = *link;
    *link = session;
    mmi_tls_link_newest(shard, session);
    shard->stats.entries++;
    shard->stats.bytes += bytes;
    shard->stats.inserted++;
    mmi_tls_unlock(&shard->lock);
}

MM_API mm_status mm_tls_sessions_put(mm_tls_sessions *sessions, mm_slice id, mm_slice der)
{
    mm_tls_session *session = NULL, *taken = NULL;
    mm_tls_sessions_shard *shard;
    uint64_t hash;
    bool fits = der.len <= sessions->desc.max_session &&
                sizeof(*session) + der.len <= sessions->shard_bytes;
    if (!mmi_tls_id_is_good(id)) return MM_STATUS_INVALID;
    hash = mmi_hash(sessions->key, id.ptr, id.len);
    if (fits)
        session = (mm_tls_session *)mmi_alloc(sessions->desc.allocator, sizeof(*session) + der.len);
    if (session == NULL) {
        shard = mmi_tls_shard(sessions, hash);
        mmi_tls_lock(&shard->lock);
        shard->stats.refused++;
        mmi_tls_unlock(&shard->lock);
        return fits ? MM_STATUS_NO_MEMORY : MM_STATUS_LIMIT;
    }
    memset(session, 0, sizeof(*session));
    session->hash = hash;
    session->made = mmi_tls_now(sessions);
    session->size = der.len;
    session->id_size = id.len;
    memcpy(session->id, id.ptr, id.len);
    if (der.len > 0) memcpy((char *)session + sizeof(*session), der.ptr, der.len);
    mmi_tls_insert(sessions, session, &taken);
    mmi_tls_free(sessions, taken);
    return MM_STATUS_OK;
}

MM_API mm_status mm_tls_sessions_get(mm_tls_sessions *sessions, mm_slice id, unsigned char *der,
                                     size_t *size)
{
    mm_tls_session *taken = NULL, **link;
    mm_tls_sessions_shard *shard;
    int64_t now = mmi_tls_now(sessions);
    uint64_t hash;
    bool found;
    *size = 0;
    if (!mmi_tls_id_is_good(id)) return MM_STATUS_NOT_FOUND;
    hash = mmi_hash(sessions->key, id.ptr, id.len);
    shard = mmi_tls_shard(sessions, hash);
    mmi_tls_lock(&shard->lock);
    link = mmi_tls_find(sessions, shard, hash, id);
    found = *link != NULL;
    if (found && mmi_tls_is_over(sessions, *link, now)) {
        mmi_tls_take(shard, link, &taken);
        shard->stats.expired++;
        found = false;
    }
    if (found) {
        mm_tls_session *session = *link;
        *size = session->size;
        memcpy(der, (const char *)session + sizeof(*session), session->size);
        mmi_tls_unlink_age(shard, session);
        mmi_tls_link_newest(shard, session);
    }
    shard->stats.hits += found;
    shard->stats.misses += !found;
    mmi_tls_unlock(&shard->lock);
    mmi_tls_free(sessions, taken);
    return found ? MM_STATUS_OK : MM_STATUS_NOT_FOUND;
}

MM_API void mm_tls_sessions_remove(mm_tls_sessions *sessions, mm_slice id)
{
    mm_tls_session *taken = NULL, **link;
    mm_tls_sessions_shard *shard;
    uint64_t hash;
    if (!mmi_tls_id_is_good(id)) return;
    hash = mmi_hash(sessions->key, id.ptr, id.len);
    shard = mmi_tls_shard(sessions, hash);
    mmi_tls_lock(&shard->lock);
    link = mmi_tls_find(sessions, shard, hash, id);
    if (*link != NULL) mmi_tls_take(shard, link, &taken);
    mmi_tls_unlock(&shard->lock);
    mmi_tls_free(sessions, taken);
}

MM_API void mm_tls_sessions_trim(mm_tls_sessions *sessions, unsigned percent)
{
    size_t i, left;
    if (sessions->shards == NULL || percent >= 100) return;
    for (i = 0; i < sessions->desc.shards; i++) {
        mm_tls_sessions_shard *shard = &sessions->shards[i];
        mm_tls_session *taken = NULL;
        mmi_tls_lock(&shard->lock);
        left = shard->stats.entries;
        left = left / 100 * percent + left % 100 * percent / 100;
        while (shard->stats.entries > left)
            mmi_tls_take_session(sessions, shard, shard->oldest, &taken);
        mmi_tls_unlock(&shard->lock);
        mmi_tls_free(sessions, taken);
    }
}

MM_API void mm_tls_sessions_expire(mm_tls_sessions *sessions)
{
    int64_t now = mmi_tls_now(sessions);
    size_t i;
    for (i = 0; sessions->shards != NULL && i < sessions->desc.shards; i++) {
        mm_tls_sessions_shard *shard = &sessions->shards[i];
        mm_tls_session *session, *newer, *taken = NULL;
        mmi_tls_lock(&shard->lock);
        for (session = shard->oldest; session != NULL; session = newer) {
            newer = session->newer;
            if (!mmi_tls_is_over(sessions, session, now)) continue;
            mmi_tls_take_session(sessions, shard, session, &taken);
            shard->stats.expired++;
        }
        mmi_tls_unlock(&shard->lock);
        mmi_tls_free(sessions, taken);
    }
}

MM_API void mm_pressure_trim_sessions(const mm_pressure_action *action, bool entering)
{
    if (entering) mm_tls_sessions_trim((mm_tls_sessions *)action->user_data, action->percent);
}

MM_API mm_tls_sessions_stats mm_tls_sessions_get_stats(mm_tls_sessions *sessions)
{
    mm_tls_sessions_stats sum;
    size_t i;
    memset(&sum, 0, sizeof(sum));
    for (i = 0; sessions->shards != NULL && i < sessions->desc.shards; i++) {
        mm_tls_sessions_shard *shard = &sessions->shards[i];
        mmi_tls_lock(&shard->lock);
        sum.entries += shard->stats.entries;
        sum.bytes += shard->stats.bytes;
        sum.hits += shard->stats.hits;
        sum.misses += shard->stats.misses;
        sum.inserted += shard->stats.inserted;
        sum.evictions += shard->stats.evictions;
        sum.expired += shard->stats.expired;
        sum.refused += shard->stats.refused;
        mmi_tls_unlock(&shard->lock);
    }
    return sum;
}

static mm_status mmi_tls_sessions_configure(mm_tls_sessions *sessions,
                                            const mm_tls_sessions_desc *desc)
{
    mm_tls_sessions_desc *own = &sessions->desc;
    *own = *desc;
    if (own->max_entries == 0) own->max_entries = 10240;
    if (own->max_bytes == 0 && !mm_size_mul(own->max_entries, 1024, &own->max_bytes))
        return MM_STATUS_TOO_LARGE;
    if (own->max_session == 0 || own->max_session > MMI_TLS_SESSION)
        own->max_session = MMI_TLS_SESSION;
    if (own->timeout == 0) own->timeout = 7200;
    if (own->shards == 0)
        for (own->shards = 16; own->shards > 1 && own->max_entries / own->shards < 64;)
            own->shards /= 2;
    if ((own->shards & (own->shards - 1)) != 0 || own->shards > own->max_entries ||
        own->timeout < 0)
        return MM_STATUS_INVALID;
    sessions->shard_entries = own->max_entries / own->shards;
    sessions->shard_bytes = own->max_bytes / own->shards;
    sessions->bucket_count = mm_size_pow2(sessions->shard_entries);
    return sessions->bucket_count == 0 ? MM_STATUS_TOO_LARGE : MM_STATUS_OK;
}

MM_API mm_status mm_tls_sessions_init(mm_tls_sessions *sessions, const mm_tls_sessions_desc *desc)
{
    size_t table, tables, bytes, i;
    char *block;
    mm_status status;
    memset(sessions, 0, sizeof(*sessions));
    status = mmi_tls_sessions_configure(sessions, desc);
    if (status != MM_STATUS_OK) return status;
    if (!mm_size_mul(sessions->bucket_count, sizeof(mm_tls_session *), &table) ||
        !mm_size_mul(table, sessions->desc.shards, &tables) ||
        !mm_size_mul(sizeof(mm_tls_sessions_shard), sessions->desc.shards, &bytes) ||
        !mm_size_add(bytes, tables, &bytes))
        return MM_STATUS_TOO_LARGE;
    block = (char *)mmi_alloc(sessions->desc.allocator, bytes);
    if (block == NULL) return MM_STATUS_NO_MEMORY;
    memset(block, 0, bytes);
    sessions->shards = (mm_tls_sessions_shard *)(void *)block;
    block += sizeof(mm_tls_sessions_shard) * sessions->desc.shards;
    for (i = 0; i < sessions->desc.shards; i++)
        sessions->shards[i].buckets = (mm_tls_session **)(void *)(block + i * table);
    mmi_hash_key(sessions->key);
    return MM_STATUS_OK;
}

MM_API void mm_tls_sessions_deinit(mm_tls_sessions *sessions)
{
    size_t shards = sessions->desc.shards;
    if (sessions->shards == NULL) return;
    mm_tls_sessions_trim(sessions, 0);
    mmi_free(sessions->desc.allocator, sessions->shards,
             shards * (sizeof(mm_tls_sessions_shard) +
                       sessions->bucket_count * sizeof(mm_tls_session *)));
    sessions->shards = NULL;
}

MM_API bool mm_tls_sessions_check(mm_tls_sessions *sessions)
{
    size_t i, b;
    for (i = 0; sessions->shards != NULL && i < sessions->desc.shards; i++) {
        const mm_tls_sessions_shard *shard = &sessions->shards[i];
        const mm_tls_session *session, *newer = NULL;
        size_t count = 0, chained = 0, bytes = 0;
        for (session = shard->newest; session != NULL; newer = session, session = session->older) {
            if (session->newer != newer || mmi_tls_shard(sessions, session->hash) != shard)
                return false;
            bytes += sizeof(*session) + session->size;
            count++;
        }
        for (b = 0; b < sessions->bucket_count; b++)
            for (session = shard->buckets[b]; session != NULL; session = session->next) chained++;
        if (newer != shard->oldest || count != chained) return false;
        if (count != shard->stats.entries || count > sessions->shard_entries) return false;
        if (bytes != shard->stats.bytes || bytes > sessions->shard_bytes) return false;
    }
    return true;
}

static mm_tls_sessions *mmi_tls_sessions_of(const SSL_CTX *context)
{
    return (mm_tls_sessions *)SSL_CTX_get_ex_data(context, mmi_tls_index(&mmi_tls_sessions_index));
}

static mm_slice mmi_tls_session_id(const SSL_SESSION *session)
{
    unsigned size = 0;
    const unsigned char *id = SSL_SESSION_get_id(session, &size);
    return mm_slice_make((const char *)id, size);
}

/* OpenSSL has made a session. It asks in TLS 1.3 also when the client gets a ticket, and then there
   is nothing to remember. Returns 0: we have not kept the object. */
static int mmi_tls_new_session(SSL *ssl, SSL_SESSION *session)
{
    mm_tls_sessions *sessions = mmi_tls_sessions_of(SSL_get_SSL_CTX(ssl));
    unsigned char der[MMI_TLS_SESSION], *end = der;
    int size = i2d_SSL_SESSION(session, NULL);
    bool stateless = SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION &&
                     (SSL_get_options(ssl) & SSL_OP_NO_TICKET) == 0;
    if (sessions == NULL || stateless || size <= 0) return 0;
    if ((size_t)size <= sizeof(der)) size = i2d_SSL_SESSION(session, &end);
    (void)!mm_tls_sessions_put(sessions, mmi_tls_session_id(session),
                               mm_slice_make((const char *)der, (size_t)size));
    OPENSSL_cleanse(der, (size_t)(end - der));
    return 0;
}

static SSL_SESSION *mmi_tls_get_session(SSL *ssl, const unsigned char *id, int id_size, int *copy)
{
    mm_tls_sessions *sessions = mmi_tls_sessions_of(SSL_get_SSL_CTX(ssl));
    unsigned char der[MMI_TLS_SESSION];
    const unsigned char *at = der;
    SSL_SESSION *session;
    size_t size;
    *copy = 0; /* the reference is OpenSSL's */
    if (sessions == NULL || id_size < 0) return NULL;
    if (mm_tls_sessions_get(sessions, mm_slice_make((const char *)id, (size_t)id_size), der,
                            &size) != MM_STATUS_OK)
        return NULL;
    session = d2i_SSL_SESSION(NULL, &at, (long)size);
    OPENSSL_cleanse(der, size);
    return session;
}

static void mmi_tls_remove_session(SSL_CTX *context, SSL_SESSION *session)
{
    mm_tls_sessions *sessions = mmi_tls_sessions_of(context);
    if (sessions != NULL) mm_tls_sessions_remove(sessions, mmi_tls_session_id(session));
}

MM_API mm_status mm_tls_sessions_attach(mm_tls_sessions *sessions, SSL_CTX *context)
{
    int64_t timeout = sessions->desc.timeout > INT32_MAX ? INT32_MAX : sessions->desc.timeout;
    int index = mmi_tls_index(&mmi_tls_sessions_index);
    if (index < 0 || SSL_CTX_set_ex_data(context, index, sessions) != 1) return MM_STATUS_NO_MEMORY;
    SSL_CTX_sess_set_new_cb(context, mmi_tls_new_session);
    SSL_CTX_sess_set_get_cb(context, mmi_tls_get_session);
    SSL_CTX_sess_set_remove_cb(context, mmi_tls_remove_session);
    (void)SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    (void)SSL_CTX_set_timeout(context, (long)timeout);
    (void)SSL_CTX_set_max_early_data(context, 0);
    return MM_STATUS_OK;
}

// >>tickets

/* Reads the whole file, if it is one: up to `capacity` bytes. */
static mm_status mmi_tickets_read(const char *file, unsigned char *bytes, size_t capacity,
                                  size_t *size, bool *exposed)
{
    struct stat st;
    mm_status status = MM_STATUS_OK;
    int error, fd;
    *size = 0;
    do {
        fd = MM_SYS_OPEN(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | MMI_O_CLOEXEC, 0);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return mm_status_from_errno(errno);
    if (MM_SYS_FSTAT(fd, &st) != 0) status = mm_status_from_errno(errno);
    else if (!S_ISREG(st.st_mode)) status = MM_STATUS_INVALID;
    else *exposed = (st.st_mode & (S_IRWXG | S_IRWXO)) != 0;
    while (status == MM_STATUS_OK && *size < capacity) {
        ssize_t n = MM_SYS_READ(fd, bytes + *size, capacity - *size);
        if (n == 0) break;
        if (n > 0) *size += (size_t)n;
        else if (errno != EINTR) status = mm_status_from_errno(errno);
    }
    error = errno;
    (void)MM_SYS_CLOSE(fd);
    errno = error;
    return status;
}

MM_API mm_status mm_tls_tickets_reload(mm_tls_tickets *tickets)
{
    unsigned char bytes[sizeof(tickets->keys) + 1];
    size_t size;
    bool exposed = false;
    mm_status status;
    if (tickets->desc.file == NULL) return MM_STATUS_OK;
    status = mmi_tickets_read(tickets->desc.file, bytes, sizeof(bytes), &size, &exposed);
    if (status == MM_STATUS_OK &&
        (size == 0 || size == sizeof(bytes) || size % sizeof(mm_tls_ticket_key) != 0))
        status = MM_STATUS_INVALID;
    if (status == MM_STATUS_OK) {
        mmi_tls_lock(&tickets->lock);
        OPENSSL_cleanse(tickets->keys, sizeof(tickets->keys));
        memcpy(tickets->keys, bytes, size);
        tickets->count = size / sizeof(mm_tls_ticket_key);
        mmi_tls_unlock(&tickets->lock);
        mmi_atomic_store(&tickets->exposed, (size_t)exposed);
    }
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return status;
}

MM_API void mm_tls_tickets_rotate(mm_tls_tickets *tickets, int64_t now)
{
    const mm_tls_tickets_desc *desc = &tickets->desc;
    size_t own = 1 + (size_t)((desc->lifetime + desc->rotate - 1) / desc->rotate);
    mm_tls_ticket_key key;
    if (desc->file != NULL) return;
    if (RAND_priv_bytes((unsigned char *)&key, sizeof(key)) != 1) return;
    mmi_tls_lock(&tickets->lock);
    if (tickets->count == 0 || mmi_elapsed(now, tickets->made) >= desc->rotate) {
        if (tickets->count < own) tickets->count++;
        memmove(tickets->keys + 1, tickets->keys, (tickets->count - 1) * sizeof(key));
        tickets->keys[0] = key;
        tickets->made = now;
    }
    mmi_tls_unlock(&tickets->lock);
    OPENSSL_cleanse(&key, sizeof(key));
}

MM_API mm_status mm_tls_tickets_init(mm_tls_tickets *tickets, const mm_tls_tickets_desc *desc,
                                     int64_t now)
{
    memset(tickets, 0, sizeof(*tickets));
    tickets->desc = *desc;
    if (desc->rotate == 0) tickets->desc.rotate = 3600;
    if (desc->lifetime == 0) tickets->desc.lifetime = 7200;
    if (tickets->desc.rotate < 0 || tickets->desc.lifetime < 0) return MM_STATUS_INVALID;
    if (tickets->desc.lifetime > INT32_MAX || tickets->desc.rotate > INT32_MAX ||
        tickets->desc.lifetime > tickets->desc.rotate * (MM_TLS_TICKET_KEYS - 1))
        return MM_STATUS_INVALID;
    if (desc->file != NULL) return mm_tls_tickets_reload(tickets);
    mm_tls_tickets_rotate(tickets, now);
    if (tickets->count > 0) return MM_STATUS_OK;
    errno = 0;
    return MM_STATUS_IO;
}

MM_API void mm_tls_tickets_deinit(mm_tls_tickets *tickets)
{
    OPENSSL_cleanse(tickets->keys, sizeof(tickets->keys));
    tickets->count = 0;
}

MM_API bool mm_tls_tickets_exposed(const mm_tls_tickets *tickets)
{
    return mmi_atomic_load(&tickets->exposed) != 0;
}

/* Copies the key of that name, or the one that seals when `name` is NULL. */
static bool mmi_tickets_find(mm_tls_tickets *tickets, const unsigned char *name,
                             mm_tls_ticket_key *key, bool *first)
{
    size_t i;
    bool found = false;
    mmi_tls_lock(&tickets->lock);
    for (i = 0; i < tickets->count && !found; i++) {
        const mm_tls_ticket_key *each = &tickets->keys[i];
        found = name == NULL || memcmp(each->name, name, sizeof(each->name)) == 0;
        if (found) *key = *each;
        if (found) *first = i == 0;
    }
    mmi_tls_unlock(&tickets->lock);
    return found;
}

#if OPENSSL_VERSION_NUMBER < 0x30000000L || defined(MM_IO_OPENSSL_1_1)
typedef HMAC_CTX mmi_tickets_mac;
#define mmi_tickets_set_callback(context, fn) SSL_CTX_set_tlsext_ticket_key_cb(context, fn)

static bool mmi_tickets_start_mac(HMAC_CTX *mac, const mm_tls_ticket_key *key)
{
    return HMAC_Init_ex(mac, key->hmac, (int)sizeof(key->hmac), EVP_sha256(), NULL) == 1;
}
#else
typedef EVP_MAC_CTX mmi_tickets_mac;
#define mmi_tickets_set_callback(context, fn) SSL_CTX_set_tlsext_ticket_key_evp_cb(context, fn)

static bool mmi_tickets_start_mac(EVP_MAC_CTX *mac, const mm_tls_ticket_key *key)
{
    static char digest[] = "SHA256";
    OSSL_PARAM params[2];
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[1] = OSSL_PARAM_construct_end();
    return EVP_MAC_init(mac, key->hmac, sizeof(key->hmac), params) == 1;
}
#endif

/* OpenSSL's question for a key. 1: here it is; 2: and the ticket is to be replaced; 0: no such key,
   so the handshake is a full one; -1: failed. */
static int mmi_tickets_use(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                           mmi_tickets_mac *mac, int seal)
{
    mm_tls_tickets *tickets = (mm_tls_tickets *)SSL_CTX_get_ex_data(
        SSL_get_SSL_CTX(ssl), mmi_tls_index(&mmi_tls_tickets_index));
    mm_tls_ticket_key key;
    bool ok, first = true;
    if (tickets == NULL || !mmi_tickets_find(tickets, seal ? NULL : name, &key, &first)) return 0;
    if (seal) {
        memcpy(name, key.name, sizeof(key.name));
        ok = RAND_bytes(iv, 16) == 1 &&
             EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;
    } else {
        ok = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;
    }
    ok = ok && mmi_tickets_start_mac(mac, &key);
    OPENSSL_cleanse(&key, sizeof(key));
    if (!ok) return -1;
    return first ? 1 : 2;
}

MM_API mm_status mm_tls_tickets_attach(mm_tls_tickets *tickets, SSL_CTX *context)
{
    int index = mmi_tls_index(&mmi_tls_tickets_index);
    if (index < 0 || SSL_CTX_set_ex_data(context, index, tickets) != 1) return MM_STATUS_NO_MEMORY;
    if (mmi_tickets_set_callback(context, mmi_tickets_use) != 1) return MM_STATUS_NO_MEMORY;
    (void)SSL_CTX_set_timeout(context, (long)tickets->desc.lifetime);
    return MM_STATUS_OK;
}
#endif

// >>metrics

typedef struct mmi_metrics_out { /* what is on its way to the sink */
    mmi_stats_out to;
    mm_stats_format format;
    bool comma; /* JSON: the next member is not the first */
} mmi_metrics_out;

/* JSON: `"key":`, after a comma if it is not the first member. */
static void mmi_metrics_key(mmi_metrics_out *out, const char *key)
{
    if (out->comma) mmi_stats_text(&out->to, ",");
    out->comma = true;
    mmi_stats_string(&out->to, key, out->format);
    mmi_stats_text(&out->to, ":");
}

/* JSON: a bracket that opens an object or array. */
static void mmi_metrics_open(mmi_metrics_out *out, const char *bracket)
{
    mmi_stats_text(&out->to, bracket);
    out->comma = false;
}

static void mmi_metrics_close(mmi_metrics_out *out, const char *bracket)
{
    mmi_stats_text(&out->to, bracket);
    out->comma = true;
}

static void mmi_metrics_help(mmi_metrics_out *out, const char *metric, const char *help,
                             bool is_counter)
{
    mmi_stats_text(&out->to, "# HELP ");
    mmi_stats_text(&out->to, metric);
    mmi_stats_text(&out->to, " ");
    for (; *help != '\0'; help++) {
        if (*help == '\n') mmi_stats_text(&out->to, "\\n");
        else if (*help == '\\') mmi_stats_text(&out->to, "\\\\");
        else mmi_stats_bytes(&out->to, help, 1);
    }
    mmi_stats_text(&out->to, "\n# TYPE ");
    mmi_stats_text(&out->to, metric);
    mmi_stats_text(&out->to, is_counter ? " counter\n" : " gauge\n");
}

/* Prometheus: `name{label="value"} number`; no braces without a label. */
static void mmi_metrics_line(mmi_metrics_out *out, const char *metric, const char *label,
                             const char *label_value, uint64_t number)
{
    mmi_stats_text(&out->to, metric);
    if (label != NULL) {
        mmi_stats_text(&out->to, "{");
        mmi_stats_text(&out->to, label);
        mmi_stats_text(&out->to, "=");
        mmi_stats_string(&out->to, label_value, out->format);
        mmi_stats_text(&out->to, "}");
    }
    mmi_stats_text(&out->to, " ");
    mmi_stats_number(&out->to, number);
    mmi_stats_text(&out->to, "\n");
}

// >>parts

typedef struct mmi_metrics_family { /* a figure of a kind */
    const char *key;                /* in JSON, */
    const char *metric;             /* in Prometheus; a counter when it ends in _total */
    const char *help;
} mmi_metrics_family;

static const mmi_metrics_family mmi_metrics_files[] = {
    {"entries", "mm_file_cache_entries", "Open files that are kept."},
    {"idle", "mm_file_cache_idle", "Of these, files that nobody uses."},
    {"notes", "mm_file_cache_notes", "Paths remembered without a descriptor."},
    {"open", "mm_file_cache_open", "Descriptors, of entries and of what replaced ones left."},
    {"hits", "mm_file_cache_hits_total", "Lookups answered without opening."},
    {"negative", "mm_file_cache_negative_total", "Lookups refused from memory."},
    {"misses", "mm_file_cache_misses_total", "Lookups that opened or failed."},
    {"evictions", "mm_file_cache_evictions_total", "Files closed to make room."},
    {"expired", "mm_file_cache_expired_total", "Entries that nobody asked for in time."},
    {"changed", "mm_file_cache_changed_total", "Files found to be others by now."}};

static const mmi_metrics_family mmi_metrics_responses[] = {
    {"entries", "mm_response_cache_entries", "Responses ready to send."},
    {"bytes", "mm_response_cache_bytes", "Bytes of these."},
    {"leaving", "mm_response_cache_leaving_bytes", "Bytes dropped but still being sent."},
    {"peak", "mm_response_cache_peak_bytes", "Most bytes of both at a time."},
    {"hits", "mm_response_cache_hits_total", "Lookups answered."},
    {"misses", "mm_response_cache_misses_total", "Lookups not answered."},
    {"changed", "mm_response_cache_changed_total", "Misses because the file had changed."},
    {"inserted", "mm_response_cache_inserted_total", "Responses added."},
    {"returned", "mm_response_cache_returned_total", "Of these, evicted not long before."},
    {"evictions", "mm_response_cache_evictions_total", "Responses dropped to make room."},
    {"refused", "mm_response_cache_refused_total", "Responses not added."}};

static const mmi_metrics_family mmi_metrics_maps[] = {
    {"entries", "mm_map_cache_entries", "Files mapped."},
    {"bytes", "mm_map_cache_bytes", "Bytes mapped."},
    {"hits", "mm_map_cache_hits_total", "Looks at what was mapped."},
    {"misses", "mm_map_cache_misses_total", "Looks at what was not."},
    {"evictions", "mm_map_cache_evictions_total", "Files unmapped to make room."}};

static const mmi_metrics_family mmi_metrics_sessions[] = {
    {"entries", "mm_tls_session_cache_entries", "TLS sessions held."},
    {"bytes", "mm_tls_session_cache_bytes", "Bytes of these."},
    {"hits", "mm_tls_session_cache_hits_total", "Lookups answered."},
    {"misses", "mm_tls_session_cache_misses_total", "Lookups not answered."},
    {"inserted", "mm_tls_session_cache_inserted_total", "Sessions added."},
    {"evictions", "mm_tls_session_cache_evictions_total", "Sessions dropped to make room."},
    {"expired", "mm_tls_session_cache_expired_total", "Sessions whose time was over."},
    {"refused", "mm_tls_session_cache_refused_total", "Sessions not added."}};

static const mmi_metrics_family mmi_metrics_chunks[] = {
    {"chunks", "mm_chunks", "Chunks in queues."},
    {"memory", "mm_chunk_memory_bytes", "Bytes of chunk memory in queues."},
    {"memory_peak", "mm_chunk_memory_peak_bytes", "Most there were at a time."},
    {"cached", "mm_chunk_cached_bytes", "Bytes of chunk memory kept for reuse."},
    {"loans", "mm_chunk_loans", "Buffers lent out."},
    {"failures", "mm_chunk_failures_total", "Requests for memory refused."},
    {"copied", "mm_chunk_copied_bytes_total", "Bytes copied from memory to memory."},
    {"temp_files", "mm_chunk_temp_files", "Temp files open."},
    {"temp_live", "mm_chunk_temp_bytes", "Bytes in temp files."},
    {"temp_opened", "mm_chunk_temp_files_total", "Temp files created."},
    {"temp_bytes", "mm_chunk_temp_written_bytes_total", "Bytes written to temp files."},
    {"temp_failed", "mm_chunk_temp_failures_total", "Times a temp directory refused."}};

static const mmi_metrics_family mmi_metrics_descriptors[] = {
    {"limit", "mm_descriptors_limit", "Descriptors that may be taken."},
    {"taken", "mm_descriptors_taken", "Descriptors taken."},
    {"peak", "mm_descriptors_peak", "Most taken at a time."},
    {"refused", "mm_descriptors_refused_total", "Descriptors refused."},
    {"other", "mm_descriptors_other", "Taken for no special use."},
    {"connections", "mm_descriptors_connections", "Taken for connections."},
    {"files", "mm_descriptors_files", "Taken for open files."},
    {"temp_files", "mm_descriptors_temp_files", "Taken for temp files."}};

#define MMI_METRICS_FIGURES 12 /* most of a kind */
#define MMI_METRICS_KINDS 6
#define MMI_METRICS_KIND(name) \
    { \
        #name, mmi_metrics_##name, sizeof(mmi_metrics_##name) / sizeof(mmi_metrics_##name[0]) \
    }

static const struct {
    const char *key; /* of the array in JSON */
    const mmi_metrics_family *families;
    size_t count;    /* of families */
} mmi_metrics_kinds[MMI_METRICS_KINDS] = {
    MMI_METRICS_KIND(files),    MMI_METRICS_KIND(responses), MMI_METRICS_KIND(maps),
    MMI_METRICS_KIND(sessions), MMI_METRICS_KIND(chunks),    MMI_METRICS_KIND(descriptors)};

static void mmi_metrics_of_files(const mm_filecache_stats *stats, uint64_t *figures)
{
    figures[0] = stats->entries;
    figures[1] = stats->idle;
    figures[2] = stats->notes;
    figures[3] = stats->open;
    figures[4] = stats->hits;
    figures[5] = stats->negative;
    figures[6] = stats->misses;
    figures[7] = stats->evictions;
    figures[8] = stats->expired;
    figures[9] = stats->changed;
}

static void mmi_metrics_of_responses(const mm_respcache_stats *stats, uint64_t *figures)
{
    figures[0] = stats->entries;
    figures[1] = stats->bytes;
    figures[2] = stats->leaving;
    figures[3] = stats->peak;
    figures[4] = stats->hits;
    figures[5] = stats->misses;
    figures[6] = stats->changed;
    figures[7] = stats->inserted;
    figures[8] = stats->returned;
    figures[9] = stats->evictions;
    figures[10] = stats->refused;
}

static void mmi_metrics_of_chunks(const mm_chunk_pool *pool, uint64_t *figures)
{
    mm_chunk_pool_stats stats = mm_chunk_pool_get_stats(pool);
    figures[0] = stats.chunks;
    figures[1] = stats.memory;
    figures[2] = stats.memory_peak;
    figures[3] = stats.cached;
    figures[4] = stats.loans;
    figures[5] = stats.failures;
    figures[6] = stats.copied;
    figures[7] = stats.temp_files;
    figures[8] = (uint64_t)stats.temp_live;
    figures[9] = stats.temp_opened;
    figures[10] = (uint64_t)stats.temp_bytes;
    figures[11] = stats.temp_failed;
}

static void mmi_metrics_of_descriptors(const mm_fd_budget *budget, uint64_t *figures)
{
    figures[0] = budget->limit;
    figures[1] = mmi_atomic_load(&budget->taken);
    figures[2] = mmi_atomic_load(&budget->peak);
    figures[3] = mmi_atomic_load(&budget->refused);
    figures[4] = mmi_atomic_load(&budget->by_use[MM_FD_OTHER]);
    figures[5] = mmi_atomic_load(&budget->by_use[MM_FD_CONNECTION]);
    figures[6] = mmi_atomic_load(&budget->by_use[MM_FD_FILE]);
    figures[7] = mmi_atomic_load(&budget->by_use[MM_FD_TEMP]);
}

#ifdef MM_IO_OPENSSL
static void mmi_metrics_of_sessions(mm_tls_sessions *sessions, uint64_t *figures)
{
    mm_tls_sessions_stats stats = mm_tls_sessions_get_stats(sessions);
    figures[0] = stats.entries;
    figures[1] = stats.bytes;
    figures[2] = stats.hits;
    figures[3] = stats.misses;
    figures[4] = stats.inserted;
    figures[5] = stats.evictions;
    figures[6] = stats.expired;
    figures[7] = stats.refused;
}
#endif

#ifdef MM_CHUNK_VIEWS
static void mmi_metrics_of_maps(const mm_mapcache_stats *stats, uint64_t *figures)
{
    figures[0] = stats->entries;
    figures[1] = (uint64_t)stats->bytes;
    figures[2] = stats->hits;
    figures[3] = stats->misses;
    figures[4] = stats->evictions;
}
#endif

/* The figures of a source, in the order of its families; false: its kind is none here. */
static bool mmi_metrics_read(const mm_metrics_source *source, uint64_t *figures)
{
    void *object = source->object;
    if (object == NULL) return false;
    switch (source->kind) {
    case MM_METRICS_FILES: mmi_metrics_of_files(&((mm_filecache *)object)->stats, figures); break;
    case MM_METRICS_RESPONSES:
        mmi_metrics_of_responses(&((mm_respcache *)object)->stats, figures);
        break;
    case MM_METRICS_CHUNKS: mmi_metrics_of_chunks((mm_chunk_pool *)object, figures); break;
    case MM_METRICS_DESCRIPTORS: mmi_metrics_of_descriptors((mm_fd_budget *)object, figures); break;
#ifdef MM_IO_OPENSSL
    case MM_METRICS_SESSIONS: mmi_metrics_of_sessions((mm_tls_sessions *)object, figures); break;
#else
    case MM_METRICS_SESSIONS: return false;
#endif
#ifdef MM_CHUNK_VIEWS
    case MM_METRICS_MAPS: mmi_metrics_of_maps(&((mm_mapcache *)object)->stats, figures); break;
#else
    case MM_METRICS_MAPS: return false;
#endif
    default: return false;
    }
    return true;
}

static bool mmi_metrics_is_total(const char *metric)
{
    size_t size = strlen(metric);
    return size > 6 && memcmp(metric + size - 6, "_total", 6) == 0;
}

/* Prometheus: one figure of all sources of a kind. A family of no rows is left out. */
static void mmi_metrics_family_out(mmi_metrics_out *out, const mm_metrics *m, size_t kind,
                                   size_t figure)
{
    const mmi_metrics_family *family = &mmi_metrics_kinds[kind].families[figure];
    uint64_t figures[MMI_METRICS_FIGURES];
    bool begun = false;
    size_t i;
    for (i = 0; i < m->source_count; i++) {
        if ((size_t)m->sources[i].kind != kind || !mmi_metrics_read(&m->sources[i], figures))
            continue;
        if (!begun)
            mmi_metrics_help(out, family->metric, family->help,
                             mmi_metrics_is_total(family->metric));
        begun = true;
        mmi_metrics_line(out, family->metric, "name", m->sources[i].name, figures[figure]);
    }
}

static void mmi_metrics_array_out(mmi_metrics_out *out, const mm_metrics *m, size_t kind)
{
    const mmi_metrics_family *families = mmi_metrics_kinds[kind].families;
    uint64_t figures[MMI_METRICS_FIGURES];
    size_t i, f;
    mmi_metrics_key(out, mmi_metrics_kinds[kind].key);
    mmi_metrics_open(out, "[");
    for (i = 0; i < m->source_count; i++) {
        if ((size_t)m->sources[i].kind != kind || !mmi_metrics_read(&m->sources[i], figures))
            continue;
        if (out->comma) mmi_stats_text(&out->to, ",");
        mmi_metrics_open(out, "{");
        mmi_metrics_key(out, "name");
        mmi_stats_string(&out->to, m->sources[i].name, out->format);
        for (f = 0; f < mmi_metrics_kinds[kind].count; f++) {
            mmi_metrics_key(out, families[f].key);
            mmi_stats_number(&out->to, figures[f]);
        }
        mmi_metrics_close(out, "}");
    }
    mmi_metrics_close(out, "]");
}

static void mmi_metrics_sources_out(mmi_metrics_out *out, const mm_metrics *m)
{
    size_t kind, f;
    for (kind = 0; kind < MMI_METRICS_KINDS; kind++) {
        if (out->format == MM_STATS_JSON) {
            mmi_metrics_array_out(out, m, kind);
            continue;
        }
        for (f = 0; f < mmi_metrics_kinds[kind].count; f++)
            mmi_metrics_family_out(out, m, kind, f);
    }
}

static void mmi_metrics_value_object(mmi_metrics_out *out, const mm_metrics_value *value,
                                     uint64_t number)
{
    if (out->comma) mmi_stats_text(&out->to, ",");
    mmi_metrics_open(out, "{");
    mmi_metrics_key(out, "metric");
    mmi_stats_string(&out->to, value->metric, out->format);
    if (value->label != NULL) {
        mmi_metrics_key(out, "labels");
        mmi_metrics_open(out, "{");
        mmi_metrics_key(out, value->label);
        mmi_stats_string(&out->to, value->label_value, out->format);
        mmi_metrics_close(out, "}");
    }
    mmi_metrics_key(out, "value");
    mmi_stats_number(&out->to, number);
    mmi_metrics_close(out, "}");
}

static void mmi_metrics_values_out(mmi_metrics_out *out, const mm_metrics *m)
{
    const char *before = "";
    size_t i;
    if (out->format == MM_STATS_JSON) {
        mmi_metrics_key(out, "values");
        mmi_metrics_open(out, "[");
    }
    for (i = 0; i < m->value_count; i++) {
        const mm_metrics_value *value = &m->values[i];
        uint64_t number = value->read_fn(value->user_data);
        if (out->format == MM_STATS_JSON) {
            mmi_metrics_value_object(out, value, number);
            continue;
        }
        if (strcmp(before, value->metric) != 0)
            mmi_metrics_help(out, value->metric, value->help == NULL ? "" : value->help,
                             value->is_counter);
        before = value->metric;
        mmi_metrics_line(out, value->metric, value->label, value->label_value, number);
    }
    if (out->format == MM_STATS_JSON) mmi_metrics_close(out, "]");
}

// >>webserver: the ten figures

/* A gauge without labels: `webserver_` and the key are its name. */
static void mmi_metrics_gauge(mmi_metrics_out *out, const char *key, const char *help,
                              uint64_t number)
{
    char metric[64] = "webserver_";
    if (out->format == MM_STATS_JSON) {
        mmi_metrics_key(out, key);
        mmi_stats_number(&out->to, number);
        return;
    }
    memcpy(metric + 10, key, strlen(key) + 1);
    mmi_metrics_help(out, metric, help, false);
    mmi_metrics_line(out, metric, NULL, NULL, number);
}

/* Bytes of this process that are in memory; false where the system does not tell. */
static bool mmi_metrics_resident(uint64_t *bytes)
{
    char text[64];
    ssize_t n = -1, i = 0;
    long page = sysconf(_SC_PAGESIZE);
    int fd = MM_SYS_OPEN("/proc/self/statm", O_RDONLY | MMI_O_CLOEXEC, 0);
    if (fd < 0) return false;
    do {
        n = MM_SYS_READ(fd, text, sizeof(text));
    } while (n < 0 && errno == EINTR);
    (void)MM_SYS_CLOSE(fd);
    while (i < n && text[i] != ' ') i++;
    if (i + 1 >= n || page <= 0) return false;
    *bytes = 0;
    for (i++; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        *bytes = *bytes * 10 + (uint64_t)(text[i] - '0');
    *bytes *= (uint64_t)page;
    return true;
}

/* One row of a tier: which of its figures, under the name of the metric. */
static void mmi_metrics_buffers_row(mmi_metrics_out *out, const char *metric, const char *pool,
                                    const mm_tier_stats *stats, uint64_t number)
{
    mmi_stats_text(&out->to, metric);
    mmi_stats_text(&out->to, "{pool=");
    mmi_stats_string(&out->to, pool, out->format);
    mmi_stats_text(&out->to, ",size=\"");
    if (stats->size == 0) mmi_stats_text(&out->to, "direct");
    else mmi_stats_number(&out->to, stats->size);
    mmi_stats_text(&out->to, "\"} ");
    mmi_stats_number(&out->to, number);
    mmi_stats_text(&out->to, "\n");
}

static void mmi_metrics_buffers_object(mmi_metrics_out *out, const char *pool,
                                       const mm_tier_stats *stats)
{
    if (out->comma) mmi_stats_text(&out->to, ",");
    mmi_metrics_open(out, "{");
    mmi_metrics_key(out, "pool");
    mmi_stats_string(&out->to, pool, out->format);
    mmi_metrics_key(out, "size");
    mmi_stats_number(&out->to, stats->size);
    mmi_metrics_key(out, "allocated");
    mmi_stats_number(&out->to, stats->live);
    mmi_metrics_key(out, "available");
    mmi_stats_number(&out->to, stats->cached);
    mmi_metrics_close(out, "}");
}

/* Buffers in use, or those kept, of all tiers; both in an object each as JSON. */
static void mmi_metrics_buffers_out(mmi_metrics_out *out, const mm_metrics *m, const char *metric,
                                    const char *help, bool available)
{
    bool begun = false;
    size_t i, row;
    for (i = 0; i < m->stats_count; i++) {
        mm_tier *tier = (mm_tier *)m->stats[i].object;
        if (m->stats[i].kind != MM_STATS_TIER) continue;
        if (!begun && out->format != MM_STATS_JSON) mmi_metrics_help(out, metric, help, false);
        begun = true;
        for (row = 0; row <= mm_tier_class_count(tier); row++) {
            mm_tier_stats stats;
            mm_tier_get_stats(tier, row, &stats);
            if (row == mm_tier_class_count(tier)) stats.size = 0;
            if (out->format == MM_STATS_JSON)
                mmi_metrics_buffers_object(out, m->stats[i].name, &stats);
            else
                mmi_metrics_buffers_row(out, metric, m->stats[i].name, &stats,
                                        available ? stats.cached : stats.live);
        }
    }
}

/* The sum of one figure over the sources of a kind; false: there are none. */
static bool mmi_metrics_sum(const mm_metrics *m, mm_metrics_kind kind, size_t figure, uint64_t *sum)
{
    uint64_t figures[MMI_METRICS_FIGURES];
    bool found = false;
    size_t i;
    *sum = 0;
    for (i = 0; i < m->source_count; i++) {
        if (m->sources[i].kind != kind || !mmi_metrics_read(&m->sources[i], figures)) continue;
        *sum += figures[figure];
        found = true;
    }
    return found;
}

static void mmi_metrics_caches_out(mmi_metrics_out *out, const mm_metrics *m)
{
    uint64_t number, level = 0;
    bool found = false;
    size_t i;
    if (mmi_metrics_sum(m, MM_METRICS_FILES, 0, &number))
        mmi_metrics_gauge(out, "open_file_cache_entries", "Cached file descriptors.", number);
    if (mmi_metrics_sum(m, MM_METRICS_RESPONSES, 1, &number))
        mmi_metrics_gauge(out, "response_cache_bytes", "Response cache memory.", number);
    if (mmi_metrics_sum(m, MM_METRICS_SESSIONS, 0, &number))
        mmi_metrics_gauge(out, "tls_session_cache_entries", "TLS session cache size.", number);
    for (i = 0; i < m->stats_count; i++) {
        if (m->stats[i].kind != MM_STATS_PRESSURE) continue;
        number = (uint64_t)mm_pressure_get((const mm_pressure *)m->stats[i].object);
        if (number > level) level = number;
        found = true;
    }
    if (found)
        mmi_metrics_gauge(out, "memory_pressure", "0 normal, 1 elevated, 2 high, 3 critical.",
                          level);
}

static void mmi_metrics_webserver_out(mmi_metrics_out *out, const mm_metrics *m)
{
    uint64_t number;
    if (mmi_metrics_resident(&number))
        mmi_metrics_gauge(out, "memory_total_bytes", "Memory of the process, resident.", number);
    if (m->heap_fn != NULL)
        mmi_metrics_gauge(out, "memory_heap_bytes", "Heap usage.", m->heap_fn(m->heap_data));
    if (out->format == MM_STATS_JSON) {
        mmi_metrics_key(out, "buffer_pool");
        mmi_metrics_open(out, "[");
        mmi_metrics_buffers_out(out, m, "", "", false);
        mmi_metrics_close(out, "]");
    } else {
        mmi_metrics_buffers_out(out, m, "webserver_buffer_pool_allocated",
                                "Buffers currently in use.", false);
        mmi_metrics_buffers_out(out, m, "webserver_buffer_pool_available",
                                "Buffers available in pool.", true);
    }
    if (m->active != NULL)
        mmi_metrics_gauge(out, "connections_active", "Current active connections.",
                          mmi_atomic_load(m->active));
    if (m->idle != NULL)
        mmi_metrics_gauge(out, "connections_idle", "Keep-alive idle connections.",
                          mmi_atomic_load(m->idle));
    mmi_metrics_caches_out(out, m);
}

/* [a-zA-Z_:][a-zA-Z0-9_:]*, for labels without colons. */
static bool mmi_metrics_name_is_good(const char *name, bool is_label)
{
    const char *at = name;
    if (name == NULL || *name == '\0' || (*name >= '0' && *name <= '9')) return false;
    for (; *at != '\0'; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_';
        if (!letter && !(*at >= '0' && *at <= '9') && (is_label || *at != ':')) return false;
    }
    return true;
}

static bool mmi_metrics_is_good(const mm_metrics *m)
{
    uint64_t figures[MMI_METRICS_FIGURES];
    size_t i;
    for (i = 0; i < m->stats_count; i++)
        if (m->stats[i].object == NULL || m->stats[i].kind > MM_STATS_PRESSURE) return false;
    for (i = 0; i < m->source_count; i++)
        if (!mmi_metrics_read(&m->sources[i], figures)) return false;
    for (i = 0; i < m->value_count; i++) {
        const mm_metrics_value *value = &m->values[i];
        if (value->read_fn == NULL || !mmi_metrics_name_is_good(value->metric, false)) return false;
        if (value->label != NULL && !mmi_metrics_name_is_good(value->label, true)) return false;
    }
    return true;
}

MM_API mm_status mm_metrics_write(const mm_metrics *metrics, mm_stats_format format,
                                  mm_stats_sink sink, void *user_data)
{
    mmi_metrics_out out;
    bool json = format == MM_STATS_JSON;
    if ((!json && format != MM_STATS_PROMETHEUS) || !mmi_metrics_is_good(metrics))
        return MM_STATUS_INVALID;
    out.to.sink = sink;
    out.to.user_data = user_data;
    out.format = format;
    out.to.status = MM_STATUS_OK;
    out.comma = false;
    out.to.used = 0;
    if (json) {
        mmi_metrics_open(&out, "{");
        mmi_metrics_key(&out, "webserver");
        mmi_metrics_open(&out, "{");
    }
    mmi_metrics_webserver_out(&out, metrics);
    if (json) mmi_metrics_close(&out, "}");
    mmi_metrics_sources_out(&out, metrics);
    mmi_metrics_values_out(&out, metrics);
    if (json) mmi_metrics_key(&out, "memory");
    mmi_stats_flush(&out.to);
    if (out.to.status == MM_STATUS_OK)
        out.to.status = mm_stats_write(metrics->stats, metrics->stats_count, format, sink,
                                       user_data);
    if (json) mmi_stats_text(&out.to, "}\n");
    mmi_stats_flush(&out.to);
    return out.to.status;
}

#ifdef __cplusplus
}
#endif
#endif /* MM_IO_IMPLEMENTATION */

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
