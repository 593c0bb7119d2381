/* mm_buffer.h - v0.1.0 - growable byte strings - MIT or public domain */
#if defined(MM_IMPLEMENTATION) && !defined(MM_BUFFER_IMPLEMENTATION)
#define MM_BUFFER_IMPLEMENTATION
#endif
#ifndef MM_BUFFER_H_
#define MM_BUFFER_H_
/*
NEEDS
    nothing but the C library

DO THIS
    Copy this file into your project and, in exactly one C or C++ file, write
        #define MM_IMPLEMENTATION
        #include "mm_buffer.h"
    Everywhere else include it without the define.

OPTIONAL DEFINES (before the first include, alike in every file)
    MM_STATIC                        all functions private to the including file
    MM_ASSERT(condition)             programmer errors; default: assert()
    MM_MALLOC, MM_REALLOC, MM_FREE   default memory; define all three or none
    MM_BUFFER_NO_TEXT                leaves out the text functions: encodings, escaping, paths
    MM_BUFFER_NO_SIMD                text is scanned by words, though the machine has SSE2
    MM_VALGRIND                      tell Valgrind which bytes may be used (needs its headers);
                                     AddressSanitizer is told without being asked

OVERVIEW
    An mm_buffer owns a run of bytes that grows. It can hold text or binary data; a NUL always
    stands behind the last byte, so a buffer without NULs inside is a C string at any time.
    `mm_buffer b = {0};` is an empty buffer, ready for use. "Unset" (nothing was ever stored) and
    "blank" (length 0) are different: a cleared buffer with memory is blank, but not unset.

    Append without looking: after a failure (out of memory, too large) the content is as it was,
    and all following appends do nothing and return that same status, until mm_buffer_clear or
    mm_buffer_reset, or a copy, starts anew. So a run of appends needs one check at its end.

    A buffer can begin in memory of the caller's, such as an array on the stack, and allocates only
    when it outgrows that: mm_buffer_init_memory, or MM_BUFFER_INIT_ARRAY(array).

    To write in place: mm_buffer_prepare_append(&b, n), store up to n bytes, mm_buffer_commit.

    An mm_slice names bytes of somebody else's: functions that compare, search and cut (mm_tokens)
    take slices, allocate nothing, and go by lengths, so that a NUL is a byte like any other.

    The text functions append what becomes of a slice: URLs, HTML, XML, JSON, C escapes, hexadecimal
    digits, base 64. Each grows the buffer once, by the exact size; input that is not what it should
    be appends nothing and makes the status INVALID.

    mm_array(T) and mm_ring(T) are a growing array and a growing queue of any type that bytes copy.

    An mm_shared holds bytes that many keep and none changes, on any thread: a reference count.

EXAMPLE
    ---8<---
    #define MM_IMPLEMENTATION
    #include "mm_buffer.h"
    #include <stdio.h>

    int main(void)
    {
        mm_buffer b = {0};
        mm_buffer_append_string(&b, "answer=");
        mm_buffer_append_int(&b, 42);
        mm_buffer_append_format(&b, ", %d%% sure: ", 100);
        mm_buffer_append_html_escaped(&b, mm_slice_from_string("6 * 7 > 41"));
        if (mm_buffer_status(&b) != MM_STATUS_OK) return 1;
        printf("%s (%zu bytes)\n", mm_buffer_string(&b), mm_buffer_length(&b));
        mm_buffer_deinit(&b);
        return 0;
    }
    --->8---

COMPLEXITY AND STABILITY
    Capacities are powers of two and count the NUL, so 8191 bytes fit into 8 KiB; a buffer that is
    full doubles, so n appended bytes cost O(n). Pointers into a buffer hold until the next call
    that may grow, move or free it: any but a question, a clear, a commit or a truncation.
    Bytes given to an append or copy may lie in the buffer's own content.
    Nothing shrinks by itself; mm_buffer_shrink and mm_buffer_reset give memory back.

THREADS
    A buffer belongs to one thread at a time. There are no globals. An mm_shared may be retained,
    read and released by any thread that holds it.

MEMORY
    The buffer owns its bytes; they come from the allocator given to mm_buffer_init (NULL: the
    default) and go back with mm_buffer_deinit. Nothing is allocated before it is needed. Memory of
    the caller's is used while it suffices, and never freed.
    Under AddressSanitizer and Valgrind the memory behind the NUL is poisoned to the byte, so that a
    read or write beyond the content is reported, and one beyond what was prepared. That holds for
    memory of the caller's too, until the buffer has outgrown it or is deinitialised: do not leave
    the function that an array lives in without one.

ERRORS
    MM_STATUS_NO_MEMORY   the allocator refused; the content is as before
    MM_STATUS_TOO_LARGE   the content would exceed MM_BUFFER_LENGTH_MAX (2^32 - 2) bytes
    MM_STATUS_INVALID     a commit beyond the prepared room, a place beyond the length, a format
                          that is rejected, text that does not decode

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

#define MM_BUFFER_LENGTH_MAX 4294967294u /* bytes of content, the NUL aside: 2^32 - 2 */

typedef struct mm_buffer {
    char *ptr;                     /* the bytes, then a NUL; NULL while nothing is allocated */
    uint32_t used;                 /* bytes in use including the NUL; 0: unset; <= size */
    uint32_t size;                 /* capacity in bytes including the NUL; 0 or a power of two,
                                      or UINT32_MAX, or what the caller's memory has */
    const mm_allocator *allocator; /* where ptr comes from; NULL: the default */
    mm_status status;              /* what the first failed append returned: sticky */
    bool is_borrowed;              /* ptr is the caller's memory: read and written, never freed */
} mm_buffer;

/* Initialisers for static and automatic objects: an empty buffer on an allocator (NULL: the
   default), and one that begins in a char array of 1 to UINT32_MAX bytes. */
#define MM_BUFFER_INIT(allocator) \
    { \
        NULL, 0, 0, (allocator), MM_STATUS_OK, false \
    }
#define MM_BUFFER_INIT_ARRAY(array) \
    { \
        (array), 0, (uint32_t)sizeof(array), NULL, MM_STATUS_OK, true \
    }

typedef struct mm_slice { /* bytes that belong to someone else; no NUL is promised behind them */
    const char *ptr;      /* may be NULL when len is 0 */
    size_t len;           /* in bytes */
} mm_slice;

#define MM_SLICE_NONE SIZE_MAX /* where a search has found nothing */

typedef enum mm_token_flags { /* how tokens are cut; to be or-ed */
    MM_TOKENS_PLAIN = 0,      /* every separator separates, and tokens may be empty */
    MM_TOKENS_TRIM = 1,       /* white space around a token is not part of it */
    MM_TOKENS_SKIP_EMPTY = 2, /* empty tokens are passed over; "" in quotes is not empty */
    MM_TOKENS_QUOTED = 4      /* "..." hides separators and white space, in it \ the next byte */
} mm_token_flags;

typedef struct mm_tokens { /* a walk over the tokens of a slice */
    mm_slice rest;         /* what has not been looked at; ptr NULL: the end was reached */
    uint32_t set[8];       /* the separators: one bit for each byte value */
    unsigned flags;        /* mm_token_flags */
    bool is_quoted;        /* whether the last token stood in quotes (which are not part of it) */
    mm_status status;      /* INVALID after a quote that nothing closes: the walk ends before it */
} mm_tokens;

typedef struct mm_shared {         /* bytes that many hold and none changes */
    size_t refs;                   /* how many hold it; from SIZE_MAX / 2 on it is never freed */
    const char *ptr;               /* the bytes, never NULL; a NUL follows, unless adopted */
    size_t len;                    /* in bytes */
    size_t size;                   /* of the buffer's block at ptr, for the allocator; 0: none */
    const mm_allocator *allocator; /* where this object, and that block, come from */
    bool is_adopted;               /* ptr is somebody else's, and not to be written to */
    void (*free_fn)(void *ptr, size_t len, void *user_data); /* for adopted bytes; may be NULL */
    void *user_data;                                         /* for free_fn */
} mm_shared;

/* ---- life cycle ---- */

/* Makes an empty buffer whose memory comes from `allocator` (NULL: the default), which must outlive
   it. Allocates nothing. Not needed for a zeroed buffer on default memory. */
MM_API void mm_buffer_init(mm_buffer *b, const mm_allocator *allocator) MM_NONNULL(1);

/* The same, but the content lies in the caller's `memory` of `size` bytes, the NUL counted, until
   it outgrows them; only then is anything allocated. The memory is never freed, and must live as
   long as the buffer uses it: until it has grown, or mm_buffer_deinit. NULL or size 0: as init;
   what is beyond UINT32_MAX bytes is not used. */
MM_API void mm_buffer_init_memory(mm_buffer *b, char *memory, size_t size,
                                  const mm_allocator *allocator) MM_NONNULL(1);

/* Frees the memory; the buffer is empty again and can be used again, with the same allocator. */
MM_API void mm_buffer_deinit(mm_buffer *b) MM_NONNULL_ALL;

/* Length 0 with the memory kept, status OK. An unset buffer stays unset. O(1). */
MM_INLINE void mm_buffer_clear(mm_buffer *b);

/* Unset, status OK; memory beyond `keep` bytes of capacity is freed, smaller is kept for reuse, and
   so is memory of the caller's, whatever its size. */
MM_API void mm_buffer_reset(mm_buffer *b, size_t keep) MM_NONNULL_ALL;

/* Exchanges two buffers, allocators included. Never fails. */
MM_API void mm_buffer_swap(mm_buffer *a, mm_buffer *b) MM_NONNULL_ALL;

/* `to` gets the content, the memory, the allocator and the status of `from`, which is unset and OK
   afterwards and has what `to` had, for reuse. Copies no bytes and never fails; to == from is
   allowed, and does nothing. */
MM_API void mm_buffer_move(mm_buffer *to, mm_buffer *from) MM_NONNULL_ALL;

/* Gives back the memory that the content does not need: the capacity is afterwards the smallest
   that an append of that content would have made; an unset buffer has none. Memory of the caller's
   stays. NO_MEMORY (not sticky) when the allocator cannot do it: nothing has changed. */
MM_API mm_status mm_buffer_shrink(mm_buffer *b) MM_NONNULL_ALL;

/* Hands the content to the caller, who frees `*size` bytes with this buffer's allocator (or free()
   for the default one). `length` and `size` may be NULL. The text is never NULL but when out of
   memory, which can be when the buffer is unset (it gives "") or in memory of the caller's (it
   gives a copy); then nothing has changed. The buffer is empty afterwards. A sticky status
   stays. */
MM_NODISCARD MM_API char *mm_buffer_detach(mm_buffer *b, size_t *length, size_t *size)
    MM_NONNULL(1);

/* Takes over `ptr`, a block of `size` bytes from this buffer's allocator whose first `length` bytes
   are the content; what the buffer held is freed, the status is OK again. INVALID when length >=
   size or ptr is NULL, TOO_LARGE when size exceeds UINT32_MAX: then nothing has happened and the
   block still belongs to the caller. */
MM_NODISCARD MM_API mm_status mm_buffer_adopt(mm_buffer *b, char *ptr, size_t length, size_t size)
    MM_NONNULL(1);

/* ---- questions; all O(1) but the comparisons ---- */

MM_INLINE size_t mm_buffer_length(const mm_buffer *b);         /* in bytes, without the NUL */
MM_INLINE size_t mm_buffer_space(const mm_buffer *b);          /* bytes that fit without growing */
MM_INLINE size_t mm_buffer_capacity(const mm_buffer *b);       /* bytes held, the NUL counted */
MM_INLINE bool mm_buffer_is_unset(const mm_buffer *b);         /* nothing stored since the start */
MM_INLINE bool mm_buffer_is_blank(const mm_buffer *b);         /* length 0, unset or not */
MM_INLINE mm_status mm_buffer_status(const mm_buffer *b);      /* OK, or the first failure */
MM_INLINE const char *mm_buffer_string(const mm_buffer *b);    /* NUL-terminated, never NULL */
MM_INLINE mm_slice mm_buffer_slice(const mm_buffer *b);        /* content as a slice */
MM_INLINE bool mm_buffer_equal(const mm_buffer *a, const mm_buffer *b); /* the same bytes */

MM_INLINE mm_slice mm_slice_make(const char *ptr, size_t len); /* a slice of given bytes */
MM_API mm_slice mm_slice_from_string(const char *text);        /* up to the NUL; NULL: empty */
MM_API bool mm_slice_equal(mm_slice a, mm_slice b);            /* the same bytes */
MM_API bool mm_slice_equal_nocase(mm_slice a, mm_slice b);     /* ASCII letters fold, none else */

/* The same bytes, in a time that depends on the lengths alone; for passwords and signatures. */
MM_API bool mm_slice_equal_secret(mm_slice a, mm_slice b);

/* Negative, 0 or positive: the order of the bytes as unsigned numbers, a prefix first. */
MM_API int mm_slice_compare(mm_slice a, mm_slice b);

MM_API bool mm_slice_starts_with(mm_slice slice, mm_slice prefix);
MM_API bool mm_slice_starts_with_nocase(mm_slice slice, mm_slice prefix);
MM_API bool mm_slice_ends_with(mm_slice slice, mm_slice suffix);

/* The index of the first (find) or last (rfind) byte `c`, or of the first occurrence of `bytes`, at
   or after index `from`; MM_SLICE_NONE when there is none. Empty bytes are found at `from`, when
   that is not beyond the end. O(slice.len), mm_slice_find O(slice.len + bytes.len). */
MM_API size_t mm_slice_find_byte(mm_slice slice, char c, size_t from);
MM_API size_t mm_slice_rfind_byte(mm_slice slice, char c);
MM_API size_t mm_slice_find(mm_slice slice, mm_slice bytes, size_t from);

/* The part of at most `len` bytes from index `from`; what lies beyond the slice is cut off. */
MM_API mm_slice mm_slice_sub(mm_slice slice, size_t from, size_t len);

/* Without the ASCII white space (blank, \t \n \v \f \r) at both ends. */
MM_API mm_slice mm_slice_trim(mm_slice slice);

/* Walks over the tokens between bytes of the string `separators`; allocates nothing:
       mm_tokens_init(&t, slice, ",;", MM_TOKENS_TRIM | MM_TOKENS_SKIP_EMPTY);
       while (mm_tokens_next(&t, &token)) ...;
   n separators make n + 1 tokens, so that an empty slice is one empty token, unless empty ones are
   skipped. A token that is quoted as a whole comes without its quotes, but with its backslashes
   (mm_buffer_append_unescaped drops them); one that is quoted in part comes as it is. Tokens are
   parts of the slice, valid as long as its bytes. */
MM_API void mm_tokens_init(mm_tokens *t, mm_slice slice, const char *separators, unsigned flags)
    MM_NONNULL(1) MM_NONNULL(3);
MM_API bool mm_tokens_next(mm_tokens *t, mm_slice *token) MM_NONNULL_ALL;

/* ---- writing in place ---- */

/* Room for `n` more bytes behind the content (and a NUL): a pointer to where they go, or NULL when
   the append would fail (the status tells why). The bytes are indeterminate until written. */
MM_NODISCARD MM_API char *mm_buffer_prepare_append(mm_buffer *b, size_t n) MM_NONNULL_ALL;

/* As above for `n` bytes that replace the content: the old content is dropped and not copied when
   the memory must grow. On failure NULL, and the old content is still there. */
MM_NODISCARD MM_API char *mm_buffer_prepare_copy(mm_buffer *b, size_t n) MM_NONNULL_ALL;

/* Adds `n` bytes written at the prepared place to the length, and puts the NUL behind them (who has
   written there and wants none of it commits 0). INVALID, and nothing changes, when n exceeds the
   room. */
MM_NODISCARD MM_API mm_status mm_buffer_commit(mm_buffer *b, size_t n) MM_NONNULL_ALL;

/* Both at once, where the number is known: `n` bytes more, indeterminate until the caller writes to
   the place that comes back. NULL as from mm_buffer_prepare_append. */
MM_NODISCARD MM_API char *mm_buffer_extend(mm_buffer *b, size_t n) MM_NONNULL_ALL;

/* Shortens the content to `length` bytes. INVALID when it is shorter already. */
MM_NODISCARD MM_API mm_status mm_buffer_truncate(mm_buffer *b, size_t length) MM_NONNULL_ALL;

/* Drops the first `n` bytes; those behind move down, in O(their number). INVALID when there are not
   that many. */
MM_NODISCARD MM_API mm_status mm_buffer_remove_prefix(mm_buffer *b, size_t n) MM_NONNULL_ALL;

/* ---- content; a copy replaces it and starts anew after a failure; an append is sticky ---- */

MM_API mm_status mm_buffer_copy(mm_buffer *b, const void *bytes, size_t n) MM_NONNULL(1);
MM_API mm_status mm_buffer_copy_string(mm_buffer *b, const char *text) MM_NONNULL(1);

/* `bytes` may be NULL when n is 0, and may lie within the buffer's own content. */
MM_INLINE mm_status mm_buffer_append(mm_buffer *b, const void *bytes, size_t n);
MM_INLINE mm_status mm_buffer_append_char(mm_buffer *b, char c);
MM_API mm_status mm_buffer_append_string(mm_buffer *b, const char *text) MM_NONNULL(1);
MM_INLINE mm_status mm_buffer_append_slice(mm_buffer *b, mm_slice slice);

/* Fails with the status of `other` when that is not OK: its content is not whole. */
MM_INLINE mm_status mm_buffer_append_buffer(mm_buffer *b, const mm_buffer *other);

/* All `count` parts one after the other, in one growth: either all of them are appended or none. */
MM_API mm_status mm_buffer_append_slices(mm_buffer *b, const mm_slice *parts, size_t count)
    MM_NONNULL(1);

/* The same with `separator` between each two, as in "a, b, c". */
MM_API mm_status mm_buffer_append_joined(mm_buffer *b, const mm_slice *parts, size_t count,
                                         mm_slice separator) MM_NONNULL(1);

/* The slice without its backslashes: of each pair of \ and a byte only the byte. INVALID when a
   single backslash ends it. */
MM_API mm_status mm_buffer_append_unescaped(mm_buffer *b, mm_slice slice) MM_NONNULL_ALL;

/* Puts `n` bytes before the byte at `offset` (the length: behind the last), or in the place of the
   `count` bytes from there. INVALID when that is beyond the content. Sticky, as an append is.
   `bytes` may be NULL when n is 0, and may lie within the buffer's own content. O(n + bytes
   behind). */
MM_API mm_status mm_buffer_insert(mm_buffer *b, size_t offset, const void *bytes, size_t n)
    MM_NONNULL(1);
MM_API mm_status mm_buffer_replace(mm_buffer *b, size_t offset, size_t count, const void *bytes,
                                   size_t n) MM_NONNULL(1);

/* Decimal, without leading zeros; all values of the type. */
MM_API mm_status mm_buffer_append_int(mm_buffer *b, int64_t value) MM_NONNULL_ALL;
MM_API mm_status mm_buffer_append_uint(mm_buffer *b, uint64_t value) MM_NONNULL_ALL;

/* Lower-case hexadecimal, at least `digits` (0 to 16) of them, no more than needed beyond that. */
MM_API mm_status mm_buffer_append_hex(mm_buffer *b, uint64_t value, unsigned digits) MM_NONNULL_ALL;

/* printf's common subset, without its cost: %s %.*s %c %% and, with l, ll or z as well, %d %u %x.
   No width, no flags, no locale. A NULL string is empty; what %s and %.*s name may lie in the
   buffer's own content, and then ends with it; the format must not. INVALID, and nothing is
   appended, for any other conversion. */
MM_API mm_status mm_buffer_append_quick(mm_buffer *b, const char *format, ...) MM_FORMAT(2, 3)
    MM_NONNULL(1) MM_NONNULL(2);
MM_API mm_status mm_buffer_append_vquick(mm_buffer *b, const char *format, va_list args)
    MM_FORMAT(2, 0) MM_NONNULL(1) MM_NONNULL(2);

/* printf. INVALID when the C library rejects the format, or makes more than INT_MAX bytes of it.
   What becomes 256 bytes or more is printed twice. */
MM_API mm_status mm_buffer_append_format(mm_buffer *b, const char *format, ...) MM_FORMAT(2, 3)
    MM_NONNULL(1) MM_NONNULL(2);
MM_API mm_status mm_buffer_append_vformat(mm_buffer *b, const char *format, va_list args)
    MM_FORMAT(2, 0) MM_NONNULL(1) MM_NONNULL(2);

/* ---- shared bytes: the count is atomic, so any thread may retain, read and release ---- */

/* A copy of the bytes with a NUL behind it, in one block from `allocator` (NULL: the default; it
   must allow frees by any thread that releases). Who makes it holds it. NULL when out of memory. */
MM_NODISCARD MM_API mm_shared *mm_shared_new(mm_slice bytes, const mm_allocator *allocator);

/* Without copying: bytes that stay where they are, until free_fn (NULL: nobody) is called with them
   by the last release. NULL when out of memory: then the bytes are still the caller's. */
MM_NODISCARD MM_API mm_shared *mm_shared_adopt(const void *ptr, size_t len,
                                               void (*free_fn)(void *ptr, size_t len,
                                                               void *user_data),
                                               void *user_data, const mm_allocator *allocator)
    MM_NONNULL(1);

/* Takes the memory of the buffer over, which is empty afterwards; memory of the caller's is copied.
   The object comes from the buffer's allocator. NULL when out of memory, or when the buffer's
   status is not OK: then it has not changed. */
MM_NODISCARD MM_API mm_shared *mm_shared_from_buffer(mm_buffer *b) MM_NONNULL_ALL;

/* One holder more; returns `s`, which may be NULL. A count that would overflow stays where it is
   for ever: such bytes are leaked, and never freed under somebody's hands. */
MM_API mm_shared *mm_shared_retain(mm_shared *s);

/* One holder less; the last one frees. NULL is allowed. Returns whether this was the last. */
MM_API bool mm_shared_release(mm_shared *s);

/* The bytes, valid as long as the caller holds the object; NULL: empty. */
MM_INLINE mm_slice mm_shared_slice(const mm_shared *s);

/* Whether the caller is the only holder. */
MM_API bool mm_shared_is_unique(mm_shared *s) MM_NONNULL_ALL;

/* The bytes for writing, len of them. When others hold them too, or they are adopted, *s becomes a
   copy that the caller alone holds, in place of its hold on the old one. NULL when out of memory:
   *s is as it was. */
MM_NODISCARD MM_API char *mm_shared_make_writable(mm_shared **s) MM_NONNULL_ALL;

/* ---- typed arrays and rings: macros that evaluate the array or ring more than once ---- */

/* A growing array of T on an allocator, all zero when empty:
       mm_array(int) a = {0};
       mm_array_push(&a, 7);
       for (i = 0; i < a.count; i++) use(a.items[i]);
   Pushes and appends are sticky, as a buffer's are: after a failure the items are as they were, and
   the following ones do nothing until mm_array_clear. Items move in memory when the array grows, by
   doubling, and are copied as bytes. In C each use of mm_array(T) is a type of its own: typedef it
   to pass arrays on. */
#define mm_array(T) \
    struct { \
        T *items;                      /* NULL while nothing is allocated */ \
        size_t count;                  /* items in use; <= capacity */ \
        size_t capacity;               /* items that fit without growing */ \
        const mm_allocator *allocator; /* where items comes from; NULL: the default */ \
        mm_status status;              /* what the first failed push returned */ \
    }

/* Makes room for n more items (void); a.status tells whether there is. */
#define mm_array_reserve(a, n) \
    ((void)mmi_array_reserve(&(a)->items, sizeof(*(a)->items), (a)->count, (n), &(a)->capacity, \
                             (a)->allocator, &(a)->status))

/* Adds one item: its status. It may be one of the array's own, by a.items[i], but not by a pointer
   from before, as the items may have moved when the item is read: that is for mm_array_append. */
#define mm_array_push(a, item) \
    mmi_array_status( \
        mmi_array_reserve(&(a)->items, sizeof(*(a)->items), (a)->count, 1, &(a)->capacity, \
                          (a)->allocator, &(a)->status) \
            ? ((void)((a)->items[(a)->count] = (item)), (void)(a)->count++, true) \
            : false, \
        &(a)->status)

/* Adds one item before the one at `index` (the count: behind the last): its status. It may be one
   of the array's own, as above. O(items behind). */
#define mm_array_insert(a, index, item) \
    mmi_array_status( \
        mmi_array_reserve(&(a)->items, sizeof(*(a)->items), (a)->count, 1, &(a)->capacity, \
                          (a)->allocator, &(a)->status) \
            ? ((void)((a)->items[(a)->count] = (item)), \
               mmi_array_sink((a)->items, sizeof(*(a)->items), &(a)->count, (index)), true) \
            : false, \
        &(a)->status)

/* Adds n items from a pointer to the first, which may be one of the array's own, or NULL when n is
   0: their status, and either all are added or none. */
#define mm_array_append(a, from, n) \
    ((void)sizeof((from) == (a)->items), /* warns when the types differ */ \
     mmi_array_append(&(a)->items, sizeof(*(a)->items), &(a)->count, (from), (n), &(a)->capacity, \
                      (a)->allocator, &(a)->status))

/* The last item, which leaves the array; it must not be empty. */
#define mm_array_pop(a) ((a)->items[--(a)->count])

/* Takes the item at an index below count out; those behind it move down, in O(their number). */
#define mm_array_remove(a, index) \
    (mmi_array_remove((a)->items, sizeof(*(a)->items), (a)->count, (index)), (void)(a)->count--)

/* No items and status OK, with the memory kept, or with it freed. */
#define mm_array_clear(a) ((void)((a)->count = 0), (void)((a)->status = MM_STATUS_OK))
#define mm_array_deinit(a) \
    (mmi_array_free(&(a)->items, sizeof(*(a)->items), &(a)->capacity, (a)->allocator), \
     mm_array_clear(a))

/* A queue of T, first in first out, that grows by doubling; all zero when empty. Count and capacity
   are apart, so that a full ring differs from an empty one. */
#define mm_ring(T) \
    struct { \
        T *items;                      /* NULL while nothing is allocated */ \
        size_t first;                  /* index of the oldest item */ \
        size_t count;                  /* items in use; <= capacity */ \
        size_t capacity;               /* items that fit without growing: 0 or a power of two */ \
        size_t limit;                  /* most items there may be; 0: no limit */ \
        const mm_allocator *allocator; /* where items comes from; NULL: the default */ \
        mm_status failure;             /* why the last push that failed did */ \
    }

/* Adds an item behind the newest: OK; LIMIT, NO_MEMORY or TOO_LARGE: the ring is as it was. Not
   sticky: there may be room later. The item may be one of the ring's own, by mm_ring_at. */
#define mm_ring_push(r, item) \
    mmi_array_status( \
        mmi_ring_reserve(&(r)->items, sizeof(*(r)->items), &(r)->first, (r)->count, \
                         &(r)->capacity, (r)->limit, (r)->allocator, &(r)->failure) \
            ? ((void)(mm_ring_at(r, (r)->count) = (item)), (void)(r)->count++, true) \
            : false, \
        &(r)->failure)

/* The i-th oldest item, to read and write; i must be below count. */
#define mm_ring_at(r, i) ((r)->items[((r)->first + (i)) & ((r)->capacity - 1)])

/* The oldest item, which leaves the ring; it must not be empty. */
#define mm_ring_pop(r) ((r)->count--, (r)->items[mmi_ring_step(&(r)->first, (r)->capacity)])

/* No items, with the memory kept, or with it freed. */
#define mm_ring_clear(r) ((void)((r)->first = 0), (void)((r)->count = 0))
#define mm_ring_deinit(r) \
    (mmi_array_free(&(r)->items, sizeof(*(r)->items), &(r)->capacity, (r)->allocator), \
     mm_ring_clear(r))

/* What the macros call; `items` is the address of a pointer to items of that size. */
MM_API bool mmi_array_reserve(void *items, size_t size, size_t count, size_t more,
                              size_t *capacity, const mm_allocator *allocator, mm_status *status);
MM_API mm_status mmi_array_append(void *items, size_t size, size_t *count, const void *from,
                                  size_t n, size_t *capacity, const mm_allocator *allocator,
                                  mm_status *status);
MM_API void mmi_array_sink(void *items, size_t size, size_t *count, size_t index);
MM_API void mmi_array_remove(void *items, size_t size, size_t count, size_t index);
MM_API void mmi_array_free(void *items, size_t size, size_t *capacity,
                           const mm_allocator *allocator);
MM_API bool mmi_ring_reserve(void *items, size_t size, size_t *first, size_t count,
                             size_t *capacity, size_t limit, const mm_allocator *allocator,
                             mm_status *failure);
MM_INLINE mm_status mmi_array_status(bool is_done, const mm_status *failure)
{
    return is_done ? MM_STATUS_OK : *failure;
}

MM_INLINE size_t mmi_ring_step(size_t *first, size_t capacity)
{
    size_t old = *first;
    *first = (old + 1) & (capacity - 1);
    return old;
}

#ifndef MM_BUFFER_NO_TEXT
/* ---- text; slices may lie in the buffer's own content, invalid ones append nothing ---- */

/* Percent-encodes (RFC 3986) all bytes but letters, digits and - . _ ~; a path keeps its slashes,
   and a segment has none. The result stands for the same bytes in every part of a URL. */
MM_API mm_status mm_buffer_append_url_path(mm_buffer *b, mm_slice path) MM_NONNULL_ALL;
MM_API mm_status mm_buffer_append_url_segment(mm_buffer *b, mm_slice segment) MM_NONNULL_ALL;

/* Undoes percent-encoding. INVALID when a % lacks its two hexadecimal digits, and for a NUL,
   encoded or not. A + stays a +. */
MM_API mm_status mm_buffer_append_url_decoded(mm_buffer *b, mm_slice url) MM_NONNULL_ALL;

/* Text for the content and the quoted attributes of HTML (& < > " ' become references) or of XML
   1.0 (a carriage return as well), and for between the quotes of a JSON string (RFC 8259). UTF-8
   stays whole. What cannot be there, each byte that is not UTF-8, a NUL in HTML and the characters
   that XML forbids, becomes U+FFFD; so the result is always well-formed. */
MM_API mm_status mm_buffer_append_html_escaped(mm_buffer *b, mm_slice text) MM_NONNULL_ALL;
MM_API mm_status mm_buffer_append_xml_escaped(mm_buffer *b, mm_slice text) MM_NONNULL_ALL;
MM_API mm_status mm_buffer_append_json_escaped(mm_buffer *b, mm_slice text) MM_NONNULL_ALL;

/* For logs: \" \\ \n \r \t, and \xhh, always two digits, for other control characters and for bytes
   that are not UTF-8. So every line stays one line, and the bytes can be told from it. */
MM_API mm_status mm_buffer_append_c_escaped(mm_buffer *b, mm_slice bytes) MM_NONNULL_ALL;

/* Two lower-case hexadecimal digits a byte, and back (either case). INVALID for an odd number of
   digits, or anything else among them. */
MM_API mm_status mm_buffer_append_hex_bytes(mm_buffer *b, mm_slice bytes) MM_NONNULL_ALL;
MM_API mm_status mm_buffer_append_hex_decoded(mm_buffer *b, mm_slice digits) MM_NONNULL_ALL;

/* Base 64 (RFC 4648) with its padding, and back. INVALID for all that an encoder with the same
   flags would not write: other characters, white space too, a wrong length or padding, spare bits
   that are not 0. */
typedef enum mm_base64_flags { /* to be or-ed */
    MM_BASE64_STANDARD = 0,    /* the alphabet with + and /, padded with = to a multiple of 4 */
    MM_BASE64_URL = 1,         /* the alphabet with - and _ instead */
    MM_BASE64_NO_PAD = 2       /* no padding */
} mm_base64_flags;
MM_API mm_status mm_buffer_append_base64(mm_buffer *b, mm_slice bytes, unsigned flags)
    MM_NONNULL(1);
MM_API mm_status mm_buffer_append_base64_decoded(mm_buffer *b, mm_slice text, unsigned flags)
    MM_NONNULL(1);

/* Changes ASCII letters in the content, and no other byte. */
MM_API void mm_buffer_to_lower(mm_buffer *b) MM_NONNULL_ALL;
MM_API void mm_buffer_to_upper(mm_buffer *b) MM_NONNULL_ALL;

/* Whether all of it is UTF-8 (RFC 3629): no surrogates, no overlong forms. A NUL is a character. */
MM_API bool mm_slice_is_utf8(mm_slice slice);

/* Takes "." and ".." segments and double slashes out of the content. What begins with a slash still
   does, and nothing else does; a ".." never leads above the start; a slash stays at the end, also
   where "." or ".." stood last. Doing it twice changes nothing more. Not a jail: the file system
   may have links. O(length). */
MM_API void mm_buffer_simplify_path(mm_buffer *b) MM_NONNULL_ALL;

/* Joins: behind the content, with exactly one slash between the two, however many there were on
   either side. Behind an empty content the path goes as it is, and an empty path adds nothing. */
MM_API mm_status mm_buffer_append_path(mm_buffer *b, mm_slice path) MM_NONNULL_ALL;
#endif /* MM_BUFFER_NO_TEXT */

/* Whether the structure is sound; for tests and assertions. O(1). */
MM_API bool mm_buffer_check(const mm_buffer *b) MM_NONNULL_ALL;

/* ---- inline bodies ---- */

/* What an append does when the bytes do not fit as they stand, or the status is not OK. */
MM_API mm_status mmi_buffer_append_slow(mm_buffer *b, const void *bytes, size_t n) MM_COLD;

MM_INLINE size_t mm_buffer_length(const mm_buffer *b)
{
    return b->used - (size_t)(b->used != 0);
}

MM_INLINE size_t mm_buffer_space(const mm_buffer *b)
{
    return b->size == 0 ? 0 : b->size - mm_buffer_length(b) - 1;
}

MM_INLINE size_t mm_buffer_capacity(const mm_buffer *b)
{
    return b->size;
}

MM_INLINE bool mm_buffer_is_unset(const mm_buffer *b)
{
    return b->used == 0;
}

MM_INLINE bool mm_buffer_is_blank(const mm_buffer *b)
{
    return b->used <= 1;
}

MM_INLINE mm_status mm_buffer_status(const mm_buffer *b)
{
    return b->status;
}

MM_INLINE const char *mm_buffer_string(const mm_buffer *b)
{
    return b->used == 0 ? "" : b->ptr;
}

MM_INLINE mm_slice mm_slice_make(const char *ptr, size_t len)
{
    mm_slice slice;
    slice.ptr = ptr;
    slice.len = len;
    return slice;
}

MM_INLINE mm_slice mm_shared_slice(const mm_shared *s)
{
    return s == NULL ? mm_slice_make("", 0) : mm_slice_make(s->ptr, s->len);
}

MM_INLINE mm_slice mm_buffer_slice(const mm_buffer *b)
{
    return mm_slice_make(mm_buffer_string(b), mm_buffer_length(b));
}

MM_INLINE bool mm_buffer_equal(const mm_buffer *a, const mm_buffer *b)
{
    return mm_slice_equal(mm_buffer_slice(a), mm_buffer_slice(b));
}

/* What a memory checker is told: the bytes in use may be used, and those behind them may not. Then
   `n` more and their NUL may be written; and then all of the memory may be used. */
MM_INLINE void mmi_buffer_conceal(mm_buffer *b)
{
    if (b->ptr != NULL) MM_TRACK_POISON(b->ptr + b->used, (size_t)b->size - b->used);
}

MM_INLINE void mmi_buffer_open(mm_buffer *b, size_t n)
{
    if (b->ptr == NULL) return;
    if (b->used == 0) mmi_buffer_conceal(b); /* the first use: nobody has told it yet */
    MM_TRACK_UNPOISON(b->ptr + b->used, n + (b->used == 0));
}

MM_INLINE void mmi_buffer_reveal(mm_buffer *b)
{
    if (b->ptr != NULL) MM_TRACK_UNPOISON(b->ptr + b->used, (size_t)b->size - b->used);
}

MM_INLINE void mm_buffer_clear(mm_buffer *b)
{
    b->status = MM_STATUS_OK;
    if (b->used == 0) return;
    b->used = 1;
    b->ptr[0] = '\0';
    mmi_buffer_conceal(b);
}

MM_INLINE mm_status mm_buffer_append(mm_buffer *b, const void *bytes, size_t n)
{
    size_t length = mm_buffer_length(b);
    if (MM_LIKELY(n < b->size - length && b->status == MM_STATUS_OK && n != 0)) {
        mmi_buffer_open(b, n);
        MM_MEMCPY(b->ptr + length, bytes, n);
        b->ptr[length + n] = '\0';
        b->used = (uint32_t)(length + n + 1);
        return MM_STATUS_OK;
    }
    return mmi_buffer_append_slow(b, bytes, n);
}

MM_INLINE mm_status mm_buffer_append_char(mm_buffer *b, char c)
{
    return mm_buffer_append(b, &c, 1);
}

MM_INLINE mm_status mm_buffer_append_slice(mm_buffer *b, mm_slice slice)
{
    return mm_buffer_append(b, slice.ptr, slice.len);
}

MM_INLINE mm_status mm_buffer_append_buffer(mm_buffer *b, const mm_buffer *other)
{
    if (MM_UNLIKELY(other->status != MM_STATUS_OK) && b->status == MM_STATUS_OK)
        b->status = other->status;
    return mm_buffer_append(b, mm_buffer_string(other), mm_buffer_length(other));
}

#ifdef __cplusplus
}
#endif
#endif /* MM_BUFFER_H_ */

#if defined(MM_BUFFER_IMPLEMENTATION) && !defined(MMI_BUFFER_IMPLEMENTED)
#define MMI_BUFFER_IMPLEMENTED
#ifdef MMI_LIBC_ASSERT
#include <assert.h> /* assert, for MM_ASSERT */
#endif
#ifdef MMI_LIBC_MALLOC
#include <stdlib.h> /* malloc, realloc, free */
#endif
#include <limits.h> /* INT_MAX */
#include <stdio.h>  /* vsnprintf */
#include <string.h> /* memcmp, memmove, strlen */
#if defined(__SSE2__) && !defined(MM_BUFFER_NO_TEXT) && !defined(MM_BUFFER_NO_SIMD)
#include <emmintrin.h> /* text is scanned by 16 bytes */
#define MMI_SSE2
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MMI_BUFFER_SIZE_MIN 32 /* the first allocation, in bytes: two malloc granules */

// >>grow

/* The capacity that holds `length` bytes and the NUL; 0 when none can. */
static size_t mmi_buffer_capacity(size_t length)
{
    if (length > MM_BUFFER_LENGTH_MAX) return 0;
    if (length >= (size_t)1 << 31) return UINT32_MAX;
    if (length < MMI_BUFFER_SIZE_MIN) return MMI_BUFFER_SIZE_MIN;
    return mm_size_pow2(length + 1);
}

/* Gives the buffer `size` bytes of its allocator's, which hold the content; false: unchanged. */
static bool mmi_buffer_resize(mm_buffer *b, size_t size)
{
    char *ptr;
    mmi_buffer_reveal(b); /* an allocator may read and write all of a block that it gets back */
    if (b->ptr == NULL || b->is_borrowed) ptr = (char *)mmi_alloc(b->allocator, size);
    else ptr = (char *)mmi_realloc(b->allocator, b->ptr, b->size, size);
    if (ptr != NULL) {
        if (b->is_borrowed) memcpy(ptr, b->ptr, b->used);
        b->is_borrowed = false;
        b->ptr = ptr;
        b->size = (uint32_t)size;
    }
    mmi_buffer_conceal(b);
    return ptr != NULL;
}

/* Room for `length` bytes and the NUL in all, content kept. Powers of two make this double: the
   smallest one above a full capacity is twice that capacity. Sets the sticky status on failure. */
static bool mmi_buffer_reserve(mm_buffer *b, size_t length)
{
    if (b->status != MM_STATUS_OK) return false;
    if (length >= b->size) {
        size_t size = mmi_buffer_capacity(length);
        if (size == 0) b->status = MM_STATUS_TOO_LARGE;
        else if (!mmi_buffer_resize(b, size)) b->status = MM_STATUS_NO_MEMORY;
        if (b->status != MM_STATUS_OK) return false;
    }
    mmi_buffer_open(b, length - mm_buffer_length(b));
    return true;
}

/* The NUL and the bytes before it can be written: they are content already, or were opened. */
static void mmi_buffer_set_length(mm_buffer *b, size_t length)
{
    b->ptr[length] = '\0';
    b->used = (uint32_t)(length + 1);
    mmi_buffer_conceal(b);
}

/* Takes back what was written behind the content. */
static void mmi_buffer_undo(mm_buffer *b)
{
    if (b->used != 0) b->ptr[b->used - 1] = '\0';
    mmi_buffer_conceal(b);
}

/* Whether `bytes` lie in the memory that began at `base` and has `size` bytes. (Addresses as
   numbers: the memory may have moved since, and pointers into two objects do not compare.) */
static bool mmi_buffer_owns(uintptr_t base, size_t size, const void *bytes)
{
    return (uintptr_t)bytes - base < size;
}

/* Makes room for `n` more bytes behind the content. `*bytes`, when it lies in the buffer, moves
   with the memory. */
static bool mmi_buffer_make_room(mm_buffer *b, size_t n, const char **bytes)
{
    size_t total, base = (uintptr_t)b->ptr, own_offset = (uintptr_t)*bytes - base;
    bool own = mmi_buffer_owns(base, b->size, *bytes);
    if (!mm_size_add(mm_buffer_length(b), n, &total)) total = SIZE_MAX;
    if (!mmi_buffer_reserve(b, total)) return false;
    if (own) *bytes = b->ptr + own_offset;
    return true;
}

MM_API mm_status mmi_buffer_append_slow(mm_buffer *b, const void *bytes, size_t n)
{
    const char *from = (const char *)bytes;
    size_t length = mm_buffer_length(b);
    if (!mmi_buffer_make_room(b, n, &from)) return b->status;
    if (n > 0) memmove(b->ptr + length, from, n);
    mmi_buffer_set_length(b, length + n);
    return MM_STATUS_OK;
}

// >>life

MM_API void mm_buffer_init(mm_buffer *b, const mm_allocator *allocator)
{
    memset(b, 0, sizeof(*b));
    b->allocator = allocator;
}

MM_API void mm_buffer_init_memory(mm_buffer *b, char *memory, size_t size,
                                  const mm_allocator *allocator)
{
    mm_buffer_init(b, allocator);
    if (memory == NULL || size == 0) return;
    b->ptr = memory;
    b->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    b->is_borrowed = true;
    mmi_buffer_conceal(b);
}

MM_API void mm_buffer_deinit(mm_buffer *b)
{
    mmi_buffer_reveal(b);
    if (b->ptr != NULL && !b->is_borrowed) mmi_free(b->allocator, b->ptr, b->size);
    mm_buffer_init(b, b->allocator);
}

MM_API void mm_buffer_reset(mm_buffer *b, size_t keep)
{
    if (b->size > keep && !b->is_borrowed) mm_buffer_deinit(b);
    b->used = 0;
    b->status = MM_STATUS_OK;
    mmi_buffer_conceal(b);
}

MM_API void mm_buffer_swap(mm_buffer *a, mm_buffer *b)
{
    mm_buffer other = *a;
    *a = *b;
    *b = other;
}

MM_API void mm_buffer_move(mm_buffer *to, mm_buffer *from)
{
    if (to == from) return;
    mm_buffer_swap(to, from);
    mm_buffer_reset(from, SIZE_MAX);
}

MM_API mm_status mm_buffer_shrink(mm_buffer *b)
{
    size_t size = mmi_buffer_capacity(mm_buffer_length(b));
    mm_status status = b->status;
    if (b->is_borrowed) return MM_STATUS_OK;
    if (b->used == 0) {
        mm_buffer_deinit(b);
        b->status = status;
        return MM_STATUS_OK;
    }
    if (size >= b->size || mmi_buffer_resize(b, size)) return MM_STATUS_OK;
    return MM_STATUS_NO_MEMORY;
}

MM_API char *mm_buffer_detach(mm_buffer *b, size_t *length, size_t *size)
{
    mm_status status = b->status;
    char *ptr;
    if (b->ptr == NULL || b->is_borrowed) { /* what is handed over is a block of its own */
        if (!mmi_buffer_resize(b, mmi_buffer_capacity(mm_buffer_length(b)))) return NULL;
    }
    mmi_buffer_reveal(b);
    if (b->used == 0) b->ptr[b->used++] = '\0';
    ptr = b->ptr;
    if (length != NULL) *length = mm_buffer_length(b);
    if (size != NULL) *size = b->size;
    mm_buffer_init(b, b->allocator);
    b->status = status;
    return ptr;
}

MM_API mm_status mm_buffer_adopt(mm_buffer *b, char *ptr, size_t length, size_t size)
{
    if (ptr == NULL || length >= size) return MM_STATUS_INVALID;
    if (size > UINT32_MAX) return MM_STATUS_TOO_LARGE;
    mm_buffer_deinit(b);
    b->ptr = ptr;
    b->size = (uint32_t)size;
    mmi_buffer_set_length(b, length);
    return MM_STATUS_OK;
}

// >>words

#define MMI_EACH(byte) ((size_t)-1 / 255 * (size_t)(byte)) /* a word full of that byte */

static size_t mmi_word_load(const char *from)
{
    size_t word;
    MM_MEMCPY(&word, from, sizeof(word));
    return word;
}

/* 0x80 in each byte of the word that is from `low` to `high`, which are ASCII; 0 in the others. No
   sum here carries into the next byte, so it is exact. */
static size_t mmi_word_within(size_t word, unsigned low, unsigned high)
{
    size_t ascii = word & MMI_EACH(0x7F);
    size_t from_low = ascii + MMI_EACH(0x80 - low), above = ascii + MMI_EACH(0x7F - high);
    return from_low & ~above & ~word & MMI_EACH(0x80);
}

static size_t mmi_word_lower(size_t word)
{
    return word | mmi_word_within(word, 'A', 'Z') >> 2; /* 0x80 >> 2 is 'a' - 'A' */
}

// >>slices

MM_API mm_slice mm_slice_from_string(const char *text)
{
    return mm_slice_make(text, text == NULL ? 0 : strlen(text));
}

MM_API bool mm_slice_equal(mm_slice a, mm_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static unsigned mmi_ascii_lower(char c)
{
    unsigned value = (unsigned char)c;
    return value - 'A' < 26 ? value + ('a' - 'A') : value;
}

static bool mmi_equal_nocase(const char *a, const char *b, size_t n)
{
    size_t i = 0;
    for (; n - i >= sizeof(size_t); i += sizeof(size_t)) {
        size_t x = mmi_word_load(a + i), y = mmi_word_load(b + i);
        if (x != y && mmi_word_lower(x) != mmi_word_lower(y)) return false;
    }
    for (; i < n; i++)
        if (mmi_ascii_lower(a[i]) != mmi_ascii_lower(b[i])) return false;
    return true;
}

MM_API bool mm_slice_equal_nocase(mm_slice a, mm_slice b)
{
    return a.len == b.len && mmi_equal_nocase(a.ptr, b.ptr, a.len);
}

MM_API bool mm_slice_equal_secret(mm_slice a, mm_slice b)
{
    volatile unsigned char difference = 0; /* volatile: no early end may be made of the loop */
    size_t i;
    if (a.len != b.len) return false;
    for (i = 0; i < a.len; i++)
        difference = (unsigned char)(difference | (unsigned char)(a.ptr[i] ^ b.ptr[i]));
    return difference == 0;
}

MM_API int mm_slice_compare(mm_slice a, mm_slice b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.ptr, b.ptr, shorter);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

MM_API bool mm_slice_starts_with(mm_slice slice, mm_slice prefix)
{
    return prefix.len <= slice.len && mm_slice_equal(mm_slice_make(slice.ptr, prefix.len), prefix);
}

MM_API bool mm_slice_starts_with_nocase(mm_slice slice, mm_slice prefix)
{
    return prefix.len <= slice.len && mmi_equal_nocase(slice.ptr, prefix.ptr, prefix.len);
}

MM_API bool mm_slice_ends_with(mm_slice slice, mm_slice suffix)
{
    if (suffix.len > slice.len) return false;
    return mm_slice_equal(mm_slice_sub(slice, slice.len - suffix.len, suffix.len), suffix);
}

MM_API size_t mm_slice_find_byte(mm_slice slice, char c, size_t from)
{
    const char *found;
    if (from >= slice.len) return MM_SLICE_NONE;
    found = (const char *)memchr(slice.ptr + from, (unsigned char)c, slice.len - from);
    return found == NULL ? MM_SLICE_NONE : (size_t)(found - slice.ptr);
}

MM_API size_t mm_slice_rfind_byte(mm_slice slice, char c)
{
    size_t i = slice.len;
    while (i > 0)
        if (slice.ptr[--i] == c) return i;
    return MM_SLICE_NONE;
}

/* Where the last of all suffixes in the order of the bytes (or in the reverse order) begins, and
   the length after which it repeats itself. M. Crochemore and D. Perrin, Two-way string matching
   (1991): the later of the two beginnings is a critical one, where no shift shorter than the period
   of the whole agrees with the bytes on both sides. */
static size_t mmi_last_suffix(mm_slice bytes, bool reverse, size_t *period)
{
    const unsigned char *x = (const unsigned char *)bytes.ptr;
    size_t suffix = 0, other = 1, k = 0; /* equal so far: k bytes of each */
    *period = 1;
    while (other + k < bytes.len) {
        unsigned a = x[other + k], b = x[suffix + k];
        if (a == b) {
            if (++k == *period) other += k, k = 0;
        } else if ((a < b) != reverse) { /* the other is none, nor is one that begins inside it */
            other += k + 1;
            k = 0;
            *period = other - suffix;
        } else {
            suffix = other++;
            k = 0;
            *period = 1;
        }
    }
    return suffix;
}

/* In O(slice.len + bytes.len), whatever they are. */
static size_t mmi_find_two_way(mm_slice slice, mm_slice bytes, size_t from)
{
    const char *x = bytes.ptr;
    size_t period, other_period, i, known = 0; /* bytes known to be equal, from the first */
    size_t middle = mmi_last_suffix(bytes, false, &period);
    size_t other = mmi_last_suffix(bytes, true, &other_period);
    bool repeats;
    if (other > middle) middle = other, period = other_period;
    repeats = memcmp(x, x + period, middle) == 0;
    if (!repeats) period = (middle > bytes.len - middle ? middle : bytes.len - middle) + 1;
    while (from <= slice.len - bytes.len) {
        const char *y = slice.ptr + from;
        for (i = middle > known ? middle : known; i < bytes.len && x[i] == y[i]; i++) continue;
        if (i < bytes.len) {
            from += i - middle + 1;
            known = 0;
            continue;
        }
        for (i = middle; i > known && x[i - 1] == y[i - 1]; i--) continue;
        if (i <= known) return from;
        from += period;
        known = repeats ? bytes.len - period : 0;
    }
    return MM_SLICE_NONE;
}

/* From one place where the first byte is to the next is the fastest way as long as these are few. A
   place counts as 8 bytes looked at, or as all of them when it begins well; who has spent more than
   was passed over turns to the way that is never slow. */
MM_API size_t mm_slice_find(mm_slice slice, mm_slice bytes, size_t from)
{
    size_t begin = from, spent = 0, head = bytes.len < 16 ? bytes.len : 16;
    mm_slice starts;
    if (from > slice.len || bytes.len > slice.len - from) return MM_SLICE_NONE;
    if (bytes.len == 0) return from;
    starts = mm_slice_make(slice.ptr, slice.len - bytes.len + 1);
    while ((from = mm_slice_find_byte(starts, bytes.ptr[0], from)) != MM_SLICE_NONE) {
        spent += 8;
        if (memcmp(slice.ptr + from, bytes.ptr, head) == 0) {
            if (memcmp(slice.ptr + from, bytes.ptr, bytes.len) == 0) return from;
            spent += bytes.len;
        }
        from++;
        if (spent > from - begin + 2 * bytes.len + 256)
            return mmi_find_two_way(slice, bytes, from);
    }
    return MM_SLICE_NONE;
}

MM_API mm_slice mm_slice_sub(mm_slice slice, size_t from, size_t len)
{
    if (from >= slice.len) return mm_slice_make(slice.len == 0 ? "" : slice.ptr + slice.len, 0);
    return mm_slice_make(slice.ptr + from, len < slice.len - from ? len : slice.len - from);
}

static bool mmi_is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

MM_API mm_slice mm_slice_trim(mm_slice slice)
{
    while (slice.len > 0 && mmi_is_white(slice.ptr[slice.len - 1])) slice.len--;
    while (slice.len > 0 && mmi_is_white(slice.ptr[0])) slice.ptr++, slice.len--;
    return slice;
}

// >>tokens

MM_API void mm_tokens_init(mm_tokens *t, mm_slice slice, const char *separators, unsigned flags)
{
    memset(t, 0, sizeof(*t));
    t->rest = slice;
    if (slice.ptr == NULL) t->rest = mm_slice_make("", 0);
    t->flags = flags;
    for (; *separators != '\0'; separators++) {
        unsigned c = (unsigned char)*separators;
        t->set[c / 32] |= (uint32_t)1 << c % 32;
    }
}

/* The index behind the quoted string that begins at `at`; MM_SLICE_NONE when it does not end. */
static size_t mmi_quoted_end(mm_slice slice, size_t at)
{
    for (at++; at < slice.len; at++) {
        if (slice.ptr[at] == '"') return at + 1;
        if (slice.ptr[at] == '\\') at++;
    }
    return MM_SLICE_NONE;
}

/* Where the token at the start of the rest ends; MM_SLICE_NONE when a quote in it does not. */
static size_t mmi_token_end(const mm_tokens *t)
{
    size_t at = 0;
    while (at < t->rest.len) {
        unsigned c = (unsigned char)t->rest.ptr[at];
        if ((t->set[c / 32] >> c % 32 & 1) != 0) return at;
        if (c == '"' && (t->flags & MM_TOKENS_QUOTED) != 0) at = mmi_quoted_end(t->rest, at);
        else at++;
    }
    return at;
}

MM_API bool mm_tokens_next(mm_tokens *t, mm_slice *token)
{
    while (t->rest.ptr != NULL) {
        size_t end = mmi_token_end(t);
        if (end == MM_SLICE_NONE) {
            t->status = MM_STATUS_INVALID;
            break;
        }
        *token = mm_slice_make(t->rest.ptr, end);
        if (end == t->rest.len) t->rest = mm_slice_make(NULL, 0);
        else t->rest = mm_slice_make(t->rest.ptr + end + 1, t->rest.len - end - 1);
        if ((t->flags & MM_TOKENS_TRIM) != 0) *token = mm_slice_trim(*token);
        t->is_quoted = (t->flags & MM_TOKENS_QUOTED) != 0 && token->len > 0 &&
                       token->ptr[0] == '"' && mmi_quoted_end(*token, 0) == token->len;
        if (t->is_quoted) *token = mm_slice_make(token->ptr + 1, token->len - 2);
        else if (token->len == 0 && (t->flags & MM_TOKENS_SKIP_EMPTY) != 0) continue;
        return true;
    }
    t->rest = mm_slice_make(NULL, 0);
    return false;
}

// >>in place

MM_API char *mm_buffer_prepare_append(mm_buffer *b, size_t n)
{
    size_t total;
    if (!mm_size_add(mm_buffer_length(b), n, &total)) total = SIZE_MAX;
    if (!mmi_buffer_reserve(b, total)) return NULL;
    if (b->used == 0) b->ptr[b->used++] = '\0';
    return b->ptr + (b->used - 1);
}

MM_API char *mm_buffer_prepare_copy(mm_buffer *b, size_t n)
{
    mm_buffer fresh;
    b->status = MM_STATUS_OK;
    if (n >= b->size) {
        mm_buffer_init(&fresh, b->allocator);
        if (!mmi_buffer_reserve(&fresh, n)) {
            b->status = fresh.status;
            return NULL;
        }
        mm_buffer_deinit(b);
        *b = fresh;
    }
    if (b->used == 0) mmi_buffer_open(b, 0);
    mmi_buffer_set_length(b, 0);
    mmi_buffer_open(b, n);
    return b->ptr;
}

MM_API mm_status mm_buffer_commit(mm_buffer *b, size_t n)
{
    if (n > mm_buffer_space(b)) return MM_STATUS_INVALID;
    if (n > 0 || b->used != 0) mmi_buffer_set_length(b, mm_buffer_length(b) + n);
    return MM_STATUS_OK;
}

MM_API char *mm_buffer_extend(mm_buffer *b, size_t n)
{
    char *to = mm_buffer_prepare_append(b, n);
    if (to != NULL) mmi_buffer_set_length(b, mm_buffer_length(b) + n);
    return to;
}

MM_API mm_status mm_buffer_truncate(mm_buffer *b, size_t length)
{
    if (length > mm_buffer_length(b)) return MM_STATUS_INVALID;
    if (b->used != 0) mmi_buffer_set_length(b, length);
    return MM_STATUS_OK;
}

MM_API mm_status mm_buffer_remove_prefix(mm_buffer *b, size_t n)
{
    size_t length = mm_buffer_length(b);
    if (n > length) return MM_STATUS_INVALID;
    if (n == 0) return MM_STATUS_OK;
    memmove(b->ptr, b->ptr + n, length - n);
    mmi_buffer_set_length(b, length - n);
    return MM_STATUS_OK;
}

// >>content

MM_API mm_status mm_buffer_copy(mm_buffer *b, const void *bytes, size_t n)
{
    b->status = MM_STATUS_OK;
    if (n >= b->size) { /* bytes of its own cannot be that many */
        if (mm_buffer_prepare_copy(b, n) == NULL) return b->status;
    }
    if (b->used <= n) mmi_buffer_open(b, n - mm_buffer_length(b));
    if (n > 0) memmove(b->ptr, bytes, n);
    mmi_buffer_set_length(b, n);
    return MM_STATUS_OK;
}

MM_API mm_status mm_buffer_copy_string(mm_buffer *b, const char *text)
{
    return mm_buffer_copy(b, text, text == NULL ? 0 : strlen(text));
}

MM_API mm_status mm_buffer_append_string(mm_buffer *b, const char *text)
{
    return mm_buffer_append(b, text, text == NULL ? 0 : strlen(text));
}

MM_API mm_status mm_buffer_append_slices(mm_buffer *b, const mm_slice *parts, size_t count)
{
    return mm_buffer_append_joined(b, parts, count, mm_slice_make(NULL, 0));
}

/* Copies a slice, which may lie in what was the content at `base` before the buffer grew. */
static char *mmi_buffer_put_part(const mm_buffer *b, uintptr_t base, size_t size, mm_slice part,
                                 char *to)
{
    if (part.len == 0) return to;
    if (mmi_buffer_owns(base, size, part.ptr)) part.ptr = b->ptr + ((uintptr_t)part.ptr - base);
    memcpy(to, part.ptr, part.len); /* from the content to behind it: apart */
    return to + part.len;
}

MM_API mm_status mm_buffer_append_joined(mm_buffer *b, const mm_slice *parts, size_t count,
                                         mm_slice separator)
{
    uintptr_t base = (uintptr_t)b->ptr;
    size_t i, size = b->size, total = 0;
    char *to;
    bool fits = mm_size_mul(separator.len, count - (size_t)(count != 0), &total) &&
                mm_size_add(total, mm_buffer_length(b), &total);
    for (i = 0; fits && i < count; i++) fits = mm_size_add(total, parts[i].len, &total);
    if (!mmi_buffer_reserve(b, fits ? total : SIZE_MAX)) return b->status;
    to = b->ptr + mm_buffer_length(b);
    for (i = 0; i < count; i++) {
        if (i > 0) to = mmi_buffer_put_part(b, base, size, separator, to);
        to = mmi_buffer_put_part(b, base, size, parts[i], to);
    }
    mmi_buffer_set_length(b, total);
    return MM_STATUS_OK;
}

/* Where bytes go that are made one after the other: what fits is written, the rest is counted, so
   that most often one run suffices, and a second one knows the size. */
typedef struct mmi_out {
    char *to;     /* NULL when room is 0 */
    size_t room;  /* bytes that fit there */
    size_t total; /* bytes so far; SIZE_MAX when that overflows */
} mmi_out;

/* Where the next n bytes go; NULL when they do not fit. */
static char *mmi_out_take(mmi_out *out, size_t n)
{
    size_t at = out->total;
    out->total = n <= SIZE_MAX - at ? at + n : SIZE_MAX;
    return out->total <= out->room && n > 0 ? out->to + at : NULL;
}

/* Most pieces are short, and then a call of memcpy costs more than what it does. */
static void mmi_out_put(mmi_out *out, const char *bytes, size_t n)
{
    char *to = mmi_out_take(out, n);
    if (to == NULL) return;
    if (n > 16) {
        memcpy(to, bytes, n);
    } else if (n >= 8) { /* the two halves may overlap */
        MM_MEMCPY(to, bytes, 8);
        MM_MEMCPY(to + n - 8, bytes + n - 8, 8);
    } else if (n >= 4) {
        MM_MEMCPY(to, bytes, 4);
        MM_MEMCPY(to + n - 4, bytes + n - 4, 4);
    } else {
        to[0] = bytes[0];
        to[n / 2] = bytes[n / 2];
        to[n - 1] = bytes[n - 1];
    }
}

/* Begins with all the room that there is behind the content. */
static mmi_out mmi_out_begin(mm_buffer *b)
{
    mmi_out out;
    out.room = mm_buffer_space(b);
    out.to = out.room == 0 ? NULL : b->ptr + mm_buffer_length(b);
    out.total = 0;
    mmi_buffer_open(b, out.room);
    return out;
}

/* Puts what becomes of `n` bytes; false when the input is not what it should be, which it need not
   find out as long as there is no room. At most 8 times as many come out. */
typedef bool (*mmi_text_function)(mmi_out *out, const char *from, size_t n, unsigned flags);

/* Appends what `function` makes of the slice, which may lie in the content: whole or not at all,
   and in one growth of exactly that size. */
static mm_status mmi_buffer_append_text(mm_buffer *b, mm_slice slice, mmi_text_function function,
                                        unsigned flags)
{
    size_t length = mm_buffer_length(b);
    mmi_out out;
    bool is_good;
    if (b->status != MM_STATUS_OK) return b->status;
    if (slice.len > SIZE_MAX / 8) return b->status = MM_STATUS_TOO_LARGE; /* `total` cannot wrap */
    out = mmi_out_begin(b);
    is_good = function(&out, slice.ptr, slice.len, flags);
    if (is_good && (out.total > out.room || b->ptr == NULL)) {
        mmi_buffer_undo(b);
        if (!mmi_buffer_make_room(b, out.total, &slice.ptr)) return b->status;
        out.to = b->ptr + length;
        out.room = out.total;
        out.total = 0;
        is_good = function(&out, slice.ptr, slice.len, flags);
    }
    if (!is_good) {
        mmi_buffer_undo(b);
        return b->status = MM_STATUS_INVALID;
    }
    mmi_buffer_set_length(b, length + out.total);
    return MM_STATUS_OK;
}

static bool mmi_text_unescape(mmi_out *out, const char *from, size_t n, unsigned flags)
{
    (void)flags;
    while (n > 0) {
        const char *found = (const char *)memchr(from, '\\', n);
        size_t run = found == NULL ? n : (size_t)(found - from);
        mmi_out_put(out, from, run);
        if (run == n) break;
        if (run + 1 == n) return false;
        mmi_out_put(out, from + run + 1, 1);
        from += run + 2;
        n -= run + 2;
    }
    return true;
}

MM_API mm_status mm_buffer_append_unescaped(mm_buffer *b, mm_slice slice)
{
    return mmi_buffer_append_text(b, slice, mmi_text_unescape, 0);
}

/* Puts n bytes in the place of `count` at `at`, which has `behind` bytes behind those and, when n >
   count, room for the rest. `from` may lie in the content. */
static void mmi_buffer_splice(char *at, size_t count, size_t behind, const char *from, size_t n)
{
    uintptr_t tail = (uintptr_t)(at + count), begin = (uintptr_t)from;
    size_t staying = n, moved = n - count;
    if (n <= count) {
        if (n > 0) memmove(at, from, n);
        memmove(at + n, at + count, behind);
        return;
    }
    /* The bytes behind give way first, and of `from` all that lies in them goes with them. It goes
       behind all that is written here; so the part that stays is written first. */
    memmove(at + n, at + count, behind);
    if (begin - tail < behind) staying = 0;
    else if (begin < tail && n > tail - begin && behind > 0 &&
             begin + n <= tail + behind) staying = tail - begin;
    memmove(at, from, staying);
    if (staying < n) memcpy(at + staying, from + staying + moved, n - staying);
}

MM_API mm_status mm_buffer_replace(mm_buffer *b, size_t offset, size_t count, const void *bytes,
                                   size_t n)
{
    const char *from = (const char *)bytes;
    size_t length = mm_buffer_length(b);
    if (b->status != MM_STATUS_OK) return b->status;
    if (offset > length || count > length - offset) return b->status = MM_STATUS_INVALID;
    if (!mmi_buffer_make_room(b, n > count ? n - count : 0, &from)) return b->status;
    mmi_buffer_splice(b->ptr + offset, count, length - offset - count, from, n);
    mmi_buffer_set_length(b, length - count + n);
    return MM_STATUS_OK;
}

MM_API mm_status mm_buffer_insert(mm_buffer *b, size_t offset, const void *bytes, size_t n)
{
    return mm_buffer_replace(b, offset, 0, bytes, n);
}

static size_t mmi_decimal_size(uint64_t value)
{
    size_t size = 1;
    for (; value >= 10000; value /= 10000) size += 4;
    if (value < 100) return size + (value >= 10);
    return size + 2 + (value >= 1000);
}

/* Writes the digits of `value`, which end before `end`. */
MM_INLINE void mmi_decimal_write(char *end, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    uint32_t low; /* half the instructions per pair of what 64 bits take */
    for (; value > UINT32_MAX; value /= 100) MM_MEMCPY(end -= 2, pairs + value % 100 * 2, 2);
    for (low = (uint32_t)value; low >= 100; low /= 100)
        MM_MEMCPY(end -= 2, pairs + low % 100 * 2, 2);
    if (low >= 10) MM_MEMCPY(end - 2, pairs + low * 2, 2);
    else end[-1] = (char)('0' + low);
}

static size_t mmi_hex_size(uint64_t value)
{
    size_t size = 1;
    while ((value >>= 4) != 0) size++;
    return size;
}

static void mmi_hex_write(char *end, uint64_t value, size_t digits)
{
    for (; digits > 0; digits--, value >>= 4) *--end = "0123456789abcdef"[value & 15];
}

static mm_status mmi_buffer_append_decimal(mm_buffer *b, uint64_t magnitude, bool is_negative);

static MM_COLD mm_status mmi_buffer_append_decimal_slow(mm_buffer *b, uint64_t magnitude,
                                                        bool is_negative)
{
    size_t size = mmi_decimal_size(magnitude) + is_negative;
    if (mm_buffer_prepare_append(b, size) == NULL) return b->status;
    return mmi_buffer_append_decimal(b, magnitude, is_negative); /* it fits now */
}

static mm_status mmi_buffer_append_decimal(mm_buffer *b, uint64_t magnitude, bool is_negative)
{
    size_t used = b->used, size = mmi_decimal_size(magnitude) + is_negative;
    char *end;
    if (MM_UNLIKELY(size > b->size - used || used == 0 || b->status != MM_STATUS_OK))
        return mmi_buffer_append_decimal_slow(b, magnitude, is_negative);
    mmi_buffer_open(b, size);
    end = b->ptr + used - 1 + size;
    b->used = (uint32_t)(used + size);
    *end = '\0';
    if (is_negative) *(end - size) = '-';
    mmi_decimal_write(end, magnitude);
    return MM_STATUS_OK;
}

MM_API mm_status mm_buffer_append_uint(mm_buffer *b, uint64_t value)
{
    return mmi_buffer_append_decimal(b, value, false);
}

MM_API mm_status mm_buffer_append_int(mm_buffer *b, int64_t value)
{
    return mmi_buffer_append_decimal(b, value < 0 ? 0 - (uint64_t)value : (uint64_t)value,
                                     value < 0);
}

MM_API mm_status mm_buffer_append_hex(mm_buffer *b, uint64_t value, unsigned digits)
{
    size_t size = mmi_hex_size(value);
    char *to;
    MM_ASSERT(digits <= 16);
    if (size < digits) size = digits;
    to = mm_buffer_prepare_append(b, size);
    if (to == NULL) return b->status;
    mmi_hex_write(to + size, value, size);
    mmi_buffer_set_length(b, mm_buffer_length(b) + size);
    return MM_STATUS_OK;
}

static mm_status mmi_buffer_format_behind(mm_buffer *b, size_t n, const char *format, va_list args)
    MM_FORMAT(3, 0);
static mm_status mmi_buffer_format_apart(mm_buffer *b, size_t n, const char *format, va_list args)
    MM_FORMAT(3, 0);

/* Prints behind the NUL, so that arguments in the content are whole, and moves the text up. */
static mm_status mmi_buffer_format_behind(mm_buffer *b, size_t n, const char *format, va_list args)
{
    size_t length = mm_buffer_length(b);
    int made;
    mmi_buffer_open(b, mm_buffer_space(b));
    made = vsnprintf(b->ptr + b->used, n + 1, format, args);
    if (made < 0) {
        mmi_buffer_conceal(b);
        return b->status = MM_STATUS_INVALID;
    }
    if ((size_t)made < n) n = (size_t)made; /* an argument has changed since n was found */
    memmove(b->ptr + length, b->ptr + b->used, n);
    mmi_buffer_set_length(b, length + n);
    return MM_STATUS_OK;
}

/* Prints to a block of its own, where there is no room for that. */
static mm_status mmi_buffer_format_apart(mm_buffer *b, size_t n, const char *format, va_list args)
{
    char *text = (char *)mmi_alloc(b->allocator, n + 1);
    int made;
    if (text == NULL) return b->status = MM_STATUS_NO_MEMORY;
    made = vsnprintf(text, n + 1, format, args);
    if (made < 0) b->status = MM_STATUS_INVALID;
    else mm_buffer_append(b, text, (size_t)made < n ? (size_t)made : n);
    mmi_free(b->allocator, text, n + 1);
    return b->status;
}

MM_API mm_status mm_buffer_append_vformat(mm_buffer *b, const char *format, va_list args)
{
    char text[256]; /* as arguments may lie where the result goes; more than that is rare */
    va_list again;
    int n;
    if (b->status != MM_STATUS_OK) return b->status;
    va_copy(again, args);
    n = vsnprintf(text, sizeof(text), format, again);
    va_end(again);
    if (n < 0) return b->status = MM_STATUS_INVALID;
    if ((size_t)n < sizeof(text)) return mm_buffer_append(b, text, (size_t)n);
    if ((size_t)n > MM_BUFFER_LENGTH_MAX - mm_buffer_length(b))
        return b->status = MM_STATUS_TOO_LARGE;
    if ((size_t)n < (size_t)b->size - b->used)
        return mmi_buffer_format_behind(b, (size_t)n, format, args);
    return mmi_buffer_format_apart(b, (size_t)n, format, args);
}

MM_API mm_status mm_buffer_append_format(mm_buffer *b, const char *format, ...)
{
    va_list args;
    mm_status status;
    va_start(args, format);
    status = mm_buffer_append_vformat(b, format, args);
    va_end(args);
    return status;
}

// >>quick format

typedef struct mmi_quick { /* a run over a format */
    mmi_out out;
    char *content;  /* the buffer's content now, and where it was before it moved */
    uintptr_t base;
    size_t length;  /* of that content */
} mmi_quick;

static void mmi_quick_string(mmi_quick *q, const char *text, int precision)
{
    size_t most = precision < 0 ? SIZE_MAX : (size_t)precision;
    const char *end;
    if (text == NULL || most == 0) return;
    if (mmi_buffer_owns(q->base, q->length + 1, text)) { /* its NUL is being written over */
        size_t offset = (size_t)((uintptr_t)text - q->base);
        if (most > q->length - offset) most = q->length - offset;
        text = q->content + offset;
    }
    if (most == SIZE_MAX) {
        mmi_out_put(&q->out, text, strlen(text));
        return;
    }
    end = (const char *)memchr(text, '\0', most);
    mmi_out_put(&q->out, text, end == NULL ? most : (size_t)(end - text));
}

static void mmi_quick_decimal(mmi_quick *q, uint64_t magnitude, bool is_negative)
{
    size_t size = mmi_decimal_size(magnitude) + is_negative;
    char *to = mmi_out_take(&q->out, size);
    if (to == NULL) return;
    if (is_negative) *to = '-';
    mmi_decimal_write(to + size, magnitude);
}

static void mmi_quick_hex(mmi_quick *q, uint64_t value)
{
    size_t size = mmi_hex_size(value);
    char *to = mmi_out_take(&q->out, size);
    if (to != NULL) mmi_hex_write(to + size, value, size);
}

typedef struct mmi_arguments { /* a va_list can be handed on by address only when wrapped */
    va_list list;
} mmi_arguments;

/* The number for the conversion d, u or x with a length of 'i' (int), 'l', 'L' (ll) or 'z'. */
static void mmi_quick_integer(mmi_quick *q, char conversion, char length, mmi_arguments *a)
{
    int64_t number;
    uint64_t value;
    if (conversion == 'd') {
        if (length == 'l') number = va_arg(a->list, long);
        else if (length == 'L') number = va_arg(a->list, long long);
        else if (length == 'z') number = va_arg(a->list, ptrdiff_t);
        else number = va_arg(a->list, int);
        mmi_quick_decimal(q, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, number < 0);
        return;
    }
    if (length == 'l') value = va_arg(a->list, unsigned long);
    else if (length == 'L') value = va_arg(a->list, unsigned long long);
    else if (length == 'z') value = va_arg(a->list, size_t);
    else value = va_arg(a->list, unsigned);
    if (conversion == 'u') mmi_quick_decimal(q, value, false);
    else mmi_quick_hex(q, value);
}

/* One conversion, `at` is behind its '%'. Returns where it ends, NULL when it is none of ours. */
static const char *mmi_quick_convert(mmi_quick *q, const char *at, mmi_arguments *a)
{
    char length = 'i', c;
    if (at[0] == '.' && at[1] == '*' && at[2] == 's') {
        int precision = va_arg(a->list, int);
        mmi_quick_string(q, va_arg(a->list, const char *), precision);
        return at + 3;
    }
    if (*at == 's') {
        mmi_quick_string(q, va_arg(a->list, const char *), -1);
        return at + 1;
    }
    if (*at == 'c' || *at == '%') {
        c = *at == 'c' ? (char)va_arg(a->list, int) : '%';
        mmi_out_put(&q->out, &c, 1);
        return at + 1;
    }
    if (*at == 'l' || *at == 'z') length = *at++;
    if (length == 'l' && *at == 'l') length = 'L', at++;
    if (*at != 'd' && *at != 'u' && *at != 'x') return NULL;
    mmi_quick_integer(q, *at, length, a);
    return at + 1;
}

static bool mmi_quick_run(mmi_quick *q, const char *format, mmi_arguments *a)
{
    q->out.total = 0;
    while (*format != '\0') {
        const char *begin = format;
        while (*format != '%' && *format != '\0') format++;
        mmi_out_put(&q->out, begin, (size_t)(format - begin));
        if (*format == '\0') break;
        format = mmi_quick_convert(q, format + 1, a);
        if (format == NULL) return false;
    }
    return true;
}

/* Runs over the format once more, after a run that has counted more than there was room for. */
static bool mmi_quick_again(mmi_quick *q, mm_buffer *b, const char *format, va_list args)
{
    mmi_arguments a;
    size_t most = q->out.total;
    q->out.to = mm_buffer_prepare_append(b, most);
    if (q->out.to == NULL) return false;
    q->content = b->ptr;
    q->out.room = most;
    va_copy(a.list, args);
    (void)mmi_quick_run(q, format, &a);
    va_end(a.list);
    if (q->out.total > most) q->out.total = most; /* an argument has changed between the two */
    return true;
}

MM_API mm_status mm_buffer_append_vquick(mm_buffer *b, const char *format, va_list args)
{
    size_t length = mm_buffer_length(b);
    mmi_arguments a;
    mmi_quick q;
    bool is_good;
    if (b->status != MM_STATUS_OK) return b->status;
    q.content = b->ptr;
    q.base = (uintptr_t)b->ptr;
    q.length = length;
    q.out = mmi_out_begin(b);
    va_copy(a.list, args);
    is_good = mmi_quick_run(&q, format, &a); /* most often it fits as it stands */
    va_end(a.list);
    if (!is_good) b->status = MM_STATUS_INVALID;
    else if (q.out.total > q.out.room || b->ptr == NULL)
        is_good = mmi_quick_again(&q, b, format, args);
    if (!is_good) {
        mmi_buffer_undo(b);
        return b->status;
    }
    mmi_buffer_set_length(b, length + q.out.total);
    return MM_STATUS_OK;
}

MM_API mm_status mm_buffer_append_quick(mm_buffer *b, const char *format, ...)
{
    va_list args;
    mm_status status;
    va_start(args, format);
    status = mm_buffer_append_vquick(b, format, args);
    va_end(args);
    return status;
}

#ifndef MM_BUFFER_NO_TEXT
// >>utf8

enum { MMI_HTML, MMI_XML, MMI_JSON, MMI_C, MMI_URL_SEGMENT, MMI_URL_PATH, MMI_UNURL, MMI_ASCII };

/* For a function whose `kind` is to be a constant in it. */
#if defined(__GNUC__) || defined(__clang__)
#define MMI_TEXT_INLINE MM_INLINE __attribute__((always_inline))
#else
#define MMI_TEXT_INLINE MM_INLINE
#endif

/* Blocks: several bytes at once, 16 where the machine has SSE2, a word otherwise. A mark in a block
   is a byte that is not 0; which one it is only the macros here know. */
#ifdef MMI_SSE2
typedef __m128i mmi_block;
#define mmi_block_load(from) _mm_loadu_si128((const __m128i *)(const void *)(from))
#define mmi_block_of(byte) _mm_set1_epi8((char)(byte))
#define mmi_block_or(a, b) _mm_or_si128(a, b)
#define mmi_block_not(marks) _mm_cmpeq_epi8(marks, _mm_setzero_si128())
#define mmi_block_is(block, byte) _mm_cmpeq_epi8(block, mmi_block_of(byte))
#define mmi_block_within(block, low, high) \
    _mm_cmpeq_epi8(_mm_subs_epu8(_mm_sub_epi8(block, mmi_block_of(low)), \
                                 mmi_block_of((high) - (low))), _mm_setzero_si128())
#define mmi_block_high(block) (block) /* marks what is not ASCII: the top bit is what counts */
#define mmi_block_marks(marks) ((unsigned)_mm_movemask_epi8(marks))
#define mmi_block_first(marks) ((size_t)__builtin_ctz(marks))
#else
typedef size_t mmi_block;
#define mmi_block_load(from) mmi_word_load(from)
#define mmi_block_of(byte) MMI_EACH(byte)
#define mmi_block_or(a, b) ((a) | (b))
#define mmi_block_not(marks) (~(marks) & MMI_EACH(0x80))
#define mmi_block_is(block, byte) mmi_word_within(block, byte, byte)
#define mmi_block_within(block, low, high) mmi_word_within(block, low, high)
#define mmi_block_high(block) ((block) & MMI_EACH(0x80))
#define mmi_block_marks(marks) (marks)
#define mmi_block_first(marks) ((size_t)0 * (marks)) /* or later: bytes are looked at next */
#endif

/* Marks the bytes that are not plain. */
MMI_TEXT_INLINE mmi_block mmi_block_special(mmi_block block, unsigned kind)
{
    mmi_block odd = mmi_block_or(mmi_block_high(block), mmi_block_is(block, '"'));
    mmi_block plain;
    switch (kind) {
    case MMI_HTML:
    case MMI_XML:
        odd = mmi_block_or(odd, kind == MMI_HTML ? mmi_block_is(block, 0)
                                                 : mmi_block_within(block, 0, 0x1F));
        odd = mmi_block_or(odd, mmi_block_within(block, '&', '\''));
        return mmi_block_or(odd, mmi_block_is(mmi_block_or(block, mmi_block_of(2)), '>'));
    case MMI_JSON:
    case MMI_C:
        odd = mmi_block_or(odd, mmi_block_within(block, 0, 0x1F));
        if (kind == MMI_C) odd = mmi_block_or(odd, mmi_block_is(block, 0x7F));
        return mmi_block_or(odd, mmi_block_is(block, '\\'));
    case MMI_URL_SEGMENT:
    case MMI_URL_PATH:
        plain = mmi_block_within(mmi_block_or(block, mmi_block_of(0x20)), 'a', 'z');
        plain = mmi_block_or(plain, mmi_block_within(block, '-', '9'));
        plain = mmi_block_or(plain, mmi_block_is(block, '_'));
        plain = mmi_block_not(mmi_block_or(plain, mmi_block_is(block, '~')));
        return kind == MMI_URL_PATH ? plain : mmi_block_or(plain, mmi_block_is(block, '/'));
    case MMI_UNURL: return mmi_block_or(mmi_block_is(block, '%'), mmi_block_is(block, 0));
    default: return mmi_block_high(block);
    }
}

/* The same for one byte: a bit for each ASCII character that comes through as it is. */
static bool mmi_text_is_plain(char byte, unsigned kind)
{
    static const uint32_t plain[][4] = {
        {0xFFFFFFFE, 0xAFFFFF3B, 0xFFFFFFFF, 0xFFFFFFFF}, /* HTML: not NUL " & ' < > */
        {0, 0xAFFFFF3B, 0xFFFFFFFF, 0xFFFFFFFF},          /* XML: nor controls */
        {0, 0xFFFFFFFB, 0xEFFFFFFF, 0xFFFFFFFF},          /* JSON: not controls " \ */
        {0, 0xFFFFFFFB, 0xEFFFFFFF, 0x7FFFFFFF},          /* C: nor DEL */
        {0, 0x03FF6000, 0x87FFFFFE, 0x47FFFFFE},          /* a segment: A-Z a-z 0-9 - . _ ~ */
        {0, 0x03FFE000, 0x87FFFFFE, 0x47FFFFFE},          /* a path: and the slash */
        {0xFFFFFFFE, 0xFFFFFFDF, 0xFFFFFFFF, 0xFFFFFFFF}, /* an encoded URL: not NUL % */
        {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}};
    unsigned c = (unsigned char)byte;
    return c < 0x80 ? (plain[kind][c / 32] >> c % 32 & 1) != 0 : kind == MMI_UNURL;
}

/* How many bytes from the first are in plain blocks, or before the first that is not. */
MMI_TEXT_INLINE size_t mmi_text_plain_blocks(const char *from, size_t n, unsigned kind)
{
    size_t i = 0;
    for (; n - i >= sizeof(mmi_block); i += sizeof(mmi_block)) {
        mmi_block special = mmi_block_special(mmi_block_load(from + i), kind);
        if (mmi_block_marks(special) == 0) continue;
        return i + mmi_block_first(mmi_block_marks(special));
    }
    return i;
}

/* How many bytes from the first are plain. */
static size_t mmi_text_plain_run(const char *from, size_t n, unsigned kind)
{
    size_t i;
    switch (kind) { /* out here, so that each loop has its own tests alone */
    case MMI_HTML: i = mmi_text_plain_blocks(from, n, MMI_HTML); break;
    case MMI_XML: i = mmi_text_plain_blocks(from, n, MMI_XML); break;
    case MMI_JSON: i = mmi_text_plain_blocks(from, n, MMI_JSON); break;
    case MMI_C: i = mmi_text_plain_blocks(from, n, MMI_C); break;
    case MMI_URL_SEGMENT: i = mmi_text_plain_blocks(from, n, MMI_URL_SEGMENT); break;
    case MMI_URL_PATH: i = mmi_text_plain_blocks(from, n, MMI_URL_PATH); break;
    case MMI_UNURL: i = mmi_text_plain_blocks(from, n, MMI_UNURL); break;
    default: i = mmi_text_plain_blocks(from, n, MMI_ASCII); break;
    }
    while (i < n && mmi_text_is_plain(from[i], kind)) i++;
    return i;
}

/* The length of the well-formed UTF-8 sequence of a non-ASCII character that begins at `from`, of
   which n (at least 1) bytes can be read; 0 when there is none. RFC 3629, section 4. */
static size_t mmi_utf8_size(const char *from, size_t n)
{
    const unsigned char *c = (const unsigned char *)from;
    size_t i, size = c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : 4;
    unsigned low = 0x80, high = 0xBF; /* of the second byte */
    if (c[0] < 0xC2 || c[0] > 0xF4 || n < size) return 0;
    if (c[0] == 0xE0) low = 0xA0;       /* below: overlong */
    else if (c[0] == 0xED) high = 0x9F; /* above: surrogates */
    else if (c[0] == 0xF0) low = 0x90;  /* below: overlong */
    else if (c[0] == 0xF4) high = 0x8F; /* above: beyond U+10FFFF */
    if (c[1] < low || c[1] > high) return 0;
    for (i = 2; i < size; i++)
        if (c[i] < 0x80 || c[i] > 0xBF) return 0;
    return size;
}

MM_API bool mm_slice_is_utf8(mm_slice slice)
{
    const char *at = slice.ptr;
    size_t n = slice.len;
    while (n > 0) {
        size_t size = mmi_text_plain_run(at, n, MMI_ASCII);
        for (at += size, n -= size; n > 0 && (unsigned char)*at >= 0x80; at += size, n -= size) {
            size = mmi_utf8_size(at, n);
            if (size == 0) return false;
        }
    }
    return true;
}

// >>escape

#define MMI_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* What stands for an ASCII character that is not plain. */
static mm_slice mmi_escape_markup(unsigned char c)
{
    switch (c) {
    case '&': return mm_slice_make("&amp;", 5);
    case '<': return mm_slice_make("&lt;", 4);
    case '>': return mm_slice_make("&gt;", 4);
    case '"': return mm_slice_make("&quot;", 6);
    case '\'': return mm_slice_make("&#39;", 5);
    case '\t': return mm_slice_make("\t", 1);
    case '\n': return mm_slice_make("\n", 1);
    case '\r': return mm_slice_make("&#13;", 5); /* in XML: it is plain in HTML */
    default: return mm_slice_make(MMI_REPLACEMENT, 3);
    }
}

/* As above; `text` is room for it. Also for bytes that are not UTF-8, in the escaping for C. */
static mm_slice mmi_escape_backslash(unsigned char c, unsigned kind, char text[8])
{
    static const char letters[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    size_t i, size = 0, count = kind == MMI_JSON ? 14 : 10; /* \b and \f are for JSON alone */
    text[size++] = '\\';
    for (i = 0; i < count; i += 2) {
        if (letters[i] != (char)c) continue;
        text[size++] = letters[i + 1];
        return mm_slice_make(text, size);
    }
    text[size++] = kind == MMI_JSON ? 'u' : 'x';
    if (kind == MMI_JSON) text[size++] = '0', text[size++] = '0';
    mmi_hex_write(text + size + 2, c, 2);
    return mm_slice_make(text, size + 2);
}

/* Whether the UTF-8 sequence may stand as it is: not the C1 controls in a log, nor U+FFFE and
   U+FFFF in XML. */
static bool mmi_escape_allows(const char *from, size_t size, unsigned kind)
{
    if (kind == MMI_C) return size != 2 || memcmp(from, "\xC2\xA0", 2) >= 0;
    return kind != MMI_XML || size != 3 || memcmp(from, "\xEF\xBF\xBE", 3) < 0;
}

/* How many bytes from the first come through as they are: plain ones, and UTF-8. */
static size_t mmi_escape_run(const char *from, size_t n, unsigned kind)
{
    size_t i = 0;
    do {
        i += mmi_text_plain_run(from + i, n - i, kind);
        while (i < n && (unsigned char)from[i] >= 0x80) {
            size_t size = mmi_utf8_size(from + i, n - i);
            if (size == 0 || !mmi_escape_allows(from + i, size, kind)) return i;
            i += size;
        }
    } while (i < n && mmi_text_is_plain(from[i], kind));
    return i;
}

static bool mmi_text_escape(mmi_out *out, const char *from, size_t n, unsigned kind)
{
    while (n > 0) {
        size_t taken = mmi_escape_run(from, n, kind);
        mm_slice instead;
        char text[8];
        mmi_out_put(out, from, taken);
        from += taken;
        n -= taken;
        if (n == 0) break;
        taken = 1;
        if (kind == MMI_C || (kind == MMI_JSON && (unsigned char)*from < 0x80)) {
            instead = mmi_escape_backslash((unsigned char)*from, kind, text);
        } else {
            instead = mmi_escape_markup((unsigned char)*from);
            if ((unsigned char)*from >= 0x80 && mmi_utf8_size(from, n) != 0) taken = 3; /* U+FFFE */
        }
        mmi_out_put(out, instead.ptr, instead.len);
        from += taken;
        n -= taken;
    }
    return true;
}

MM_API mm_status mm_buffer_append_html_escaped(mm_buffer *b, mm_slice text)
{
    return mmi_buffer_append_text(b, text, mmi_text_escape, MMI_HTML);
}

MM_API mm_status mm_buffer_append_xml_escaped(mm_buffer *b, mm_slice text)
{
    return mmi_buffer_append_text(b, text, mmi_text_escape, MMI_XML);
}

MM_API mm_status mm_buffer_append_json_escaped(mm_buffer *b, mm_slice text)
{
    return mmi_buffer_append_text(b, text, mmi_text_escape, MMI_JSON);
}

MM_API mm_status mm_buffer_append_c_escaped(mm_buffer *b, mm_slice bytes)
{
    return mmi_buffer_append_text(b, bytes, mmi_text_escape, MMI_C);
}

// >>hex and url

/* 0 to 15, or 16 for what is no hexadecimal digit. */
static unsigned mmi_hex_value(char c)
{
    static const unsigned char values[] = { /* from '0' to 'f' */
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 16, 16, 16, 16, 16, 16, 10, 11, 12, 13, 14, 15, 16, 16,
        16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
        16, 10, 11, 12, 13, 14, 15};
    unsigned index = (unsigned)(unsigned char)c - '0';
    return index < sizeof(values) ? values[index] : 16;
}

static bool mmi_text_hex(mmi_out *out, const char *from, size_t n, unsigned flags)
{
    char *to = mmi_out_take(out, 2 * n);
    size_t i;
    (void)flags;
    for (i = 0; i < n && to != NULL; i++) {
        to[2 * i] = "0123456789abcdef"[(unsigned char)from[i] >> 4];
        to[2 * i + 1] = "0123456789abcdef"[(unsigned char)from[i] & 15];
    }
    return true;
}

static bool mmi_text_unhex(mmi_out *out, const char *from, size_t n, unsigned flags)
{
    char *to = mmi_out_take(out, n / 2);
    unsigned wrong = 0; /* looked at in the end: there is no branch on each digit */
    size_t i;
    (void)flags;
    for (i = 0; i < n / 2 && to != NULL; i++) {
        unsigned high = mmi_hex_value(from[2 * i]), low = mmi_hex_value(from[2 * i + 1]);
        wrong |= high | low;
        to[i] = (char)(high << 4 | low);
    }
    return n % 2 == 0 && wrong < 16;
}

static bool mmi_text_url(mmi_out *out, const char *from, size_t n, unsigned kind)
{
    while (n > 0) {
        size_t run = mmi_text_plain_run(from, n, kind);
        char *to;
        mmi_out_put(out, from, run);
        if (run == n) break;
        to = mmi_out_take(out, 3);
        if (to != NULL) {
            to[0] = '%';
            to[1] = "0123456789ABCDEF"[(unsigned char)from[run] >> 4];
            to[2] = "0123456789ABCDEF"[(unsigned char)from[run] & 15];
        }
        from += run + 1;
        n -= run + 1;
    }
    return true;
}

static bool mmi_text_unurl(mmi_out *out, const char *from, size_t n, unsigned flags)
{
    (void)flags;
    while (n > 0) {
        size_t run = mmi_text_plain_run(from, n, MMI_UNURL);
        unsigned high, low;
        char *to;
        mmi_out_put(out, from, run);
        from += run;
        n -= run;
        if (n == 0) break;
        if (from[0] != '%' || n < 3) return false; /* a NUL, or cut off */
        high = mmi_hex_value(from[1]);
        low = mmi_hex_value(from[2]);
        if ((high | low) > 15 || (high | low) == 0) return false;
        to = mmi_out_take(out, 1);
        if (to != NULL) *to = (char)(high << 4 | low);
        from += 3;
        n -= 3;
    }
    return true;
}

MM_API mm_status mm_buffer_append_hex_bytes(mm_buffer *b, mm_slice bytes)
{
    return mmi_buffer_append_text(b, bytes, mmi_text_hex, 0);
}

MM_API mm_status mm_buffer_append_hex_decoded(mm_buffer *b, mm_slice digits)
{
    return mmi_buffer_append_text(b, digits, mmi_text_unhex, 0);
}

MM_API mm_status mm_buffer_append_url_path(mm_buffer *b, mm_slice path)
{
    return mmi_buffer_append_text(b, path, mmi_text_url, MMI_URL_PATH);
}

MM_API mm_status mm_buffer_append_url_segment(mm_buffer *b, mm_slice segment)
{
    return mmi_buffer_append_text(b, segment, mmi_text_url, MMI_URL_SEGMENT);
}

MM_API mm_status mm_buffer_append_url_decoded(mm_buffer *b, mm_slice url)
{
    return mmi_buffer_append_text(b, url, mmi_text_unurl, 0);
}

// >>base64

/* 0 to 63, with a 64 where only the standard alphabet has it, a 128 where only that for URLs has
   it, and both for what is in neither. */
static unsigned mmi_base64_value(char c)
{
    static const unsigned char values[] = { /* from '+' to 'z' */
        126, 255, 190, 255, 127, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 255, 255, 255, 255, 255,
        255, 255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
        23, 24, 25, 255, 255, 255, 255, 191, 255, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37,
        38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51};
    unsigned index = (unsigned)(unsigned char)c - '+';
    return index < sizeof(values) ? values[index] : 255;
}

static bool mmi_text_base64(mmi_out *out, const char *from, size_t n, unsigned flags)
{
    const char *digits = (flags & MM_BASE64_URL) != 0
        ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t tail = n % 3, padding = tail == 0 || (flags & MM_BASE64_NO_PAD) != 0 ? 0 : 3 - tail;
    const unsigned char *at = (const unsigned char *)from;
    char *to = mmi_out_take(out, n / 3 * 4 + (tail == 0 ? 0 : tail + 1) + padding);
    if (to == NULL) return true;
    for (; n >= 3; n -= 3, at += 3, to += 4) {
        uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        to[0] = digits[bits >> 18];
        to[1] = digits[bits >> 12 & 63];
        to[2] = digits[bits >> 6 & 63];
        to[3] = digits[bits & 63];
    }
    if (tail == 0) return true;
    *to++ = digits[at[0] >> 2];
    *to++ = digits[(at[0] << 4 & 63) | (tail == 2 ? at[1] >> 4 : 0)];
    if (tail == 2) *to++ = digits[at[1] << 2 & 63];
    for (; padding > 0; padding--) *to++ = '=';
    return true;
}

static bool mmi_text_unbase64(mmi_out *out, const char *from, size_t n, unsigned flags)
{
    unsigned wrong = 0, foreign = (flags & MM_BASE64_URL) != 0 ? 64 : 128;
    uint32_t bits = 0;
    size_t i, padding = 0;
    char *to;
    if ((flags & MM_BASE64_NO_PAD) == 0) {
        if (n % 4 != 0) return false;
        while (padding < 2 && padding < n && from[n - 1 - padding] == '=') padding++;
        n -= padding;
    }
    if (n % 4 == 1) return false;
    to = mmi_out_take(out, n / 4 * 3 + (n % 4 == 0 ? 0 : n % 4 - 1));
    if (to == NULL) return true;
    for (; n >= 4; n -= 4, from += 4, to += 3) {
        unsigned a = mmi_base64_value(from[0]), b = mmi_base64_value(from[1]);
        unsigned c = mmi_base64_value(from[2]), d = mmi_base64_value(from[3]);
        wrong |= a | b | c | d; /* looked at in the end: there is no branch on each digit */
        bits = (uint32_t)a << 18 | (uint32_t)(b & 63) << 12 | (uint32_t)(c & 63) << 6 | (d & 63);
        to[0] = (char)(bits >> 16 & 0xFF);
        to[1] = (char)(bits >> 8 & 0xFF);
        to[2] = (char)(bits & 0xFF);
    }
    if (n > 0) { /* two digits are a byte and four spare bits, three are two bytes and two */
        for (bits = 0, i = 0; i < n; i++) {
            unsigned value = mmi_base64_value(from[i]);
            wrong |= value;
            bits = bits << 6 | (value & 63);
        }
        bits <<= 6 * (4 - n);
        to[0] = (char)(bits >> 16 & 0xFF);
        if (n == 3) to[1] = (char)(bits >> 8 & 0xFF);
        if ((bits & (n == 2 ? 0xFFFF : 0xFF)) != 0) return false;
    }
    return (wrong & foreign) == 0;
}

MM_API mm_status mm_buffer_append_base64(mm_buffer *b, mm_slice bytes, unsigned flags)
{
    return mmi_buffer_append_text(b, bytes, mmi_text_base64, flags);
}

MM_API mm_status mm_buffer_append_base64_decoded(mm_buffer *b, mm_slice text, unsigned flags)
{
    return mmi_buffer_append_text(b, text, mmi_text_unbase64, flags);
}

// >>in place

/* Flips the bit between upper and lower case in all letters from `first` to `last`. */
static void mmi_flip_case(char *at, size_t n, unsigned first, unsigned last)
{
    for (; n >= sizeof(size_t); n -= sizeof(size_t), at += sizeof(size_t)) {
        size_t word = mmi_word_load(at);
        word ^= mmi_word_within(word, first, last) >> 2; /* 0x80 >> 2 is 'a' - 'A' */
        MM_MEMCPY(at, &word, sizeof(word));
    }
    for (; n > 0; n--, at++)
        if ((unsigned char)*at - first <= last - first) *at = (char)(*at ^ ('a' - 'A'));
}

MM_API void mm_buffer_to_lower(mm_buffer *b)
{
    mmi_flip_case(b->ptr, mm_buffer_length(b), 'A', 'Z');
}

MM_API void mm_buffer_to_upper(mm_buffer *b)
{
    mmi_flip_case(b->ptr, mm_buffer_length(b), 'a', 'z');
}

MM_API void mm_buffer_simplify_path(mm_buffer *b)
{
    size_t length = mm_buffer_length(b), root = length > 0 && b->ptr[0] == '/';
    size_t from = root, to = root; /* what is before `to` is done: empty, or it ends with a slash */
    while (from < length) {
        mm_slice path = mm_slice_make(b->ptr, length);
        size_t end = mm_slice_find_byte(path, '/', from), size;
        if (end == MM_SLICE_NONE) end = length;
        size = end - from;
        if (size == 2 && b->ptr[from] == '.' && b->ptr[from + 1] == '.') {
            if (to > root) to--; /* the slash, and the segment before it */
            while (to > root && b->ptr[to - 1] != '/') to--;
        } else if (size > 1 || (size == 1 && b->ptr[from] != '.')) {
            if (end < length) size++; /* with its slash */
            memmove(b->ptr + to, b->ptr + from, size);
            to += size;
        }
        from = end + 1;
    }
    if (length > 0) mmi_buffer_set_length(b, to);
}

MM_API mm_status mm_buffer_append_path(mm_buffer *b, mm_slice path)
{
    size_t length = mm_buffer_length(b), kept = length, more;
    if (length == 0 || path.len == 0 || path.len > MM_BUFFER_LENGTH_MAX) /* which is refused */
        return mm_buffer_append_slice(b, path);
    while (path.len > 0 && path.ptr[0] == '/') path.ptr++, path.len--;
    while (kept > 0 && b->ptr[kept - 1] == '/') kept--;
    more = path.len + 1; /* the path and a slash, in the place of those at the end */
    more -= more < length - kept ? more : length - kept;
    if (!mmi_buffer_make_room(b, more, &path.ptr)) return b->status;
    if (path.len > 0) memmove(b->ptr + kept + 1, path.ptr, path.len);
    b->ptr[kept] = '/';
    mmi_buffer_set_length(b, kept + 1 + path.len);
    return MM_STATUS_OK;
}
#endif /* MM_BUFFER_NO_TEXT */

// >>shared

#define MMI_SHARED_PINNED (SIZE_MAX / 2) /* from here on the count neither rises nor falls */

static mm_shared *mmi_shared_make(const char *ptr, size_t len, size_t block,
                                  const mm_allocator *allocator)
{
    mm_shared *s = (mm_shared *)mmi_alloc(allocator, block);
    if (s == NULL) return NULL;
    memset(s, 0, sizeof(*s));
    s->refs = 1;
    s->ptr = ptr;
    s->len = len;
    s->allocator = allocator;
    return s;
}

MM_API mm_shared *mm_shared_new(mm_slice bytes, const mm_allocator *allocator)
{
    mm_shared *s;
    char *copy;
    size_t block;
    if (!mm_size_add(bytes.len, sizeof(*s) + 1, &block)) return NULL;
    s = mmi_shared_make(NULL, bytes.len, block, allocator);
    if (s == NULL) return NULL;
    s->ptr = copy = (char *)(s + 1);
    if (bytes.len > 0) memcpy(copy, bytes.ptr, bytes.len);
    copy[bytes.len] = '\0';
    return s;
}

MM_API mm_shared *mm_shared_adopt(const void *ptr, size_t len,
                                  void (*free_fn)(void *ptr, size_t len, void *user_data),
                                  void *user_data, const mm_allocator *allocator)
{
    mm_shared *s = mmi_shared_make((const char *)ptr, len, sizeof(*s), allocator);
    if (s == NULL) return NULL;
    s->is_adopted = true;
    s->free_fn = free_fn;
    s->user_data = user_data;
    return s;
}

MM_API mm_shared *mm_shared_from_buffer(mm_buffer *b)
{
    mm_shared *s;
    size_t len, size;
    char *ptr;
    if (b->status != MM_STATUS_OK) return NULL;
    s = mmi_shared_make(NULL, 0, sizeof(*s), b->allocator);
    if (s == NULL) return NULL;
    ptr = mm_buffer_detach(b, &len, &size);
    if (ptr == NULL) {
        mmi_free(b->allocator, s, sizeof(*s));
        return NULL;
    }
    s->ptr = ptr;
    s->len = len;
    s->size = size;
    MM_TRACK_POISON(ptr + len + 1, size - len - 1); /* as in the buffer */
    return s;
}

MM_API mm_shared *mm_shared_retain(mm_shared *s)
{
    size_t refs;
    if (s == NULL) return NULL;
    refs = mmi_atomic_load(&s->refs);
    MM_ASSERT(refs != 0);
    while (refs < MMI_SHARED_PINNED && !mmi_atomic_cas(&s->refs, &refs, refs + 1)) continue;
    return s;
}

static void mmi_shared_free(mm_shared *s)
{
    const mm_allocator *allocator = s->allocator;
    void *bytes = (void *)(uintptr_t)s->ptr; /* whoever gave them can free them, const or not */
    bool is_inside = !s->is_adopted && s->size == 0;
    if (s->is_adopted && s->free_fn != NULL) s->free_fn(bytes, s->len, s->user_data);
    if (s->size != 0) {
        MM_TRACK_UNPOISON(bytes, s->size);
        mmi_free(allocator, bytes, s->size);
    }
    mmi_free(allocator, s, is_inside ? sizeof(*s) + s->len + 1 : sizeof(*s));
}

MM_API bool mm_shared_release(mm_shared *s)
{
    size_t refs;
    if (s == NULL) return false;
    refs = mmi_atomic_load(&s->refs);
    MM_ASSERT(refs != 0);
    do {
        if (refs >= MMI_SHARED_PINNED) return false;
    } while (!mmi_atomic_cas(&s->refs, &refs, refs - 1));
    if (refs != 1) return false;
    mmi_shared_free(s);
    return true;
}

MM_API bool mm_shared_is_unique(mm_shared *s)
{
    return mmi_atomic_load(&s->refs) == 1;
}

MM_API char *mm_shared_make_writable(mm_shared **s)
{
    if ((*s)->is_adopted || !mm_shared_is_unique(*s)) {
        mm_shared *copy = mm_shared_new(mm_shared_slice(*s), (*s)->allocator);
        if (copy == NULL) return NULL;
        (void)mm_shared_release(*s);
        *s = copy;
    }
    return (char *)(uintptr_t)(*s)->ptr;
}

// >>arrays

/* The pointer at `items`, whatever it points to. Copied as bytes: it is not a void pointer. */
static void *mmi_items_load(const void *items)
{
    void *ptr;
    memcpy(&ptr, items, sizeof(ptr));
    return ptr;
}

/* A capacity that holds `need` items, and is a power of two; 0 when its bytes overflow. */
static size_t mmi_array_capacity(size_t need, size_t size)
{
    size_t capacity = mm_size_pow2(need < 4 ? 4 : need), bytes;
    return mm_size_mul(capacity, size, &bytes) ? capacity : 0;
}

MM_API bool mmi_array_reserve(void *items, size_t size, size_t count, size_t more,
                              size_t *capacity, const mm_allocator *allocator, mm_status *status)
{
    size_t need, next;
    void *ptr = mmi_items_load(items);
    if (*status != MM_STATUS_OK) return false;
    if (more <= *capacity - count) return true;
    next = mm_size_add(count, more, &need) ? mmi_array_capacity(need, size) : 0;
    if (next == 0) {
        *status = MM_STATUS_TOO_LARGE;
        return false;
    }
    ptr = ptr == NULL ? mmi_alloc(allocator, next * size)
                      : mmi_realloc(allocator, ptr, *capacity * size, next * size);
    if (ptr == NULL) {
        *status = MM_STATUS_NO_MEMORY;
        return false;
    }
    memcpy(items, &ptr, sizeof(ptr));
    *capacity = next;
    return true;
}

MM_API mm_status mmi_array_append(void *items, size_t size, size_t *count, const void *from,
                                  size_t n, size_t *capacity, const mm_allocator *allocator,
                                  mm_status *status)
{
    uintptr_t base = (uintptr_t)mmi_items_load(items), offset = (uintptr_t)from - base;
    char *at;
    bool is_own = base != 0 && offset < *count * size;
    if (!mmi_array_reserve(items, size, *count, n, capacity, allocator, status)) return *status;
    at = (char *)mmi_items_load(items);
    if (n > 0) memcpy(at + *count * size, is_own ? at + offset : (const char *)from, n * size);
    *count += n;
    return MM_STATUS_OK;
}

/* Counts the item behind the last in, and brings it before the one at the index: turns the bytes
   between the two round, by as much at a time as a small array holds. */
MM_API void mmi_array_sink(void *items, size_t size, size_t *count, size_t index)
{
    char part[64], *from = (char *)items + index * size;
    size_t n = (++*count - index) * size, moved;
    MM_ASSERT(index < *count);
    for (moved = 0; moved < size && n > size; moved += sizeof(part)) {
        size_t step = size - moved < sizeof(part) ? size - moved : sizeof(part);
        memcpy(part, from + n - step, step);
        memmove(from + step, from, n - step);
        memcpy(from, part, step);
    }
}

MM_API void mmi_array_remove(void *items, size_t size, size_t count, size_t index)
{
    char *at = (char *)items + index * size;
    MM_ASSERT(index < count);
    memmove(at, at + size, (count - index - 1) * size);
}

MM_API void mmi_array_free(void *items, size_t size, size_t *capacity,
                           const mm_allocator *allocator)
{
    void *ptr = mmi_items_load(items);
    if (ptr != NULL) mmi_free(allocator, ptr, *capacity * size);
    ptr = NULL;
    memcpy(items, &ptr, sizeof(ptr));
    *capacity = 0;
}

MM_API bool mmi_ring_reserve(void *items, size_t size, size_t *first, size_t count,
                             size_t *capacity, size_t limit, const mm_allocator *allocator,
                             mm_status *failure)
{
    size_t before = *capacity - *first; /* what lies before the end of the memory is the older */
    mm_status status = MM_STATUS_OK;
    char *ptr;
    if (limit != 0 && count >= limit) {
        *failure = MM_STATUS_LIMIT;
        return false;
    }
    if (count < *capacity) return true;
    if (!mmi_array_reserve(items, size, count, 1, capacity, allocator, &status)) {
        *failure = status;
        return false;
    }
    /* It was full, so it is at least twice as large now: the younger part, which lay at the start
       of the memory, goes behind the older. */
    ptr = (char *)mmi_items_load(items);
    if (count > 0) memcpy(ptr + count * size, ptr, (count - before) * size);
    return true;
}

// >>check

MM_API bool mm_buffer_check(const mm_buffer *b)
{
    if (b->ptr == NULL) return b->used == 0 && b->size == 0 && !b->is_borrowed;
    if (b->size == 0 || b->used > b->size) return false;
    return b->used == 0 || b->ptr[b->used - 1] == '\0';
}

#ifdef __cplusplus
}
#endif
#endif /* MM_BUFFER_IMPLEMENTATION */

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
