/* What the tests and the fuzz target of mm_chunk.h share: a shim over the system calls, which makes
   any of them fail or fall short, and a model: queues beside flat byte strings, on which all
   operations are done that a source of numbers asks for. */
#ifndef TESTS_CHUNK_MODEL_H
#define TESTS_CHUNK_MODEL_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mount.h>
#endif
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The system calls under test go through here: the n-th can fail, and transfers can be cut
   short. */
static struct shim {
    size_t calls, fail_at;
    int for_ever, error;
    size_t most; /* bytes that a pread or pwrite moves at most; 0: any */
    int open_fds, no_tmpfile, truncated;
    uint64_t dirs;    /* descriptors of folders, which open_fds does not count */
    int64_t clock;    /* seconds */
    int cold;         /* errno of a read that must not wait, or -1: returns 0; 0: reads */
    size_t cold_at;   /* from this offset on */
    int64_t disk;     /* bytes that can be written before the disk is full; < 0: any */
    int writes;       /* system calls that wrote */
    const char *bad;  /* a folder in which no file can be made */
    int bad_opens;    /* how often that was tried */
    int maps;         /* windows that are mapped */
} shim;

static int shim_fails(void);
static int shim_open(const char *path, int flags, unsigned mode);
static int shim_close(int fd);
#ifndef MM_CHUNK_NO_DIRS
static int shim_open_temp(int at, const char *name, int flags, unsigned mode);
#endif
static int shim_fstat(int fd, struct stat *st);
static ssize_t shim_pread(int fd, void *bytes, size_t size, off_t offset);
static ssize_t shim_pwrite(int fd, const void *bytes, size_t size, off_t offset);
#ifndef MM_CHUNK_NO_PWRITEV
static ssize_t shim_pwritev(int fd, const struct iovec *iov, int count, int64_t offset);
#endif
#ifndef MM_CHUNK_NO_NOWAIT
static ssize_t shim_pread_nowait(int fd, char *bytes, size_t size, int64_t offset);
#endif
static int64_t shim_time(void);
static int shim_ftruncate(int fd, off_t size);
#ifdef MM_CHUNK_VIEWS
static void *shim_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
static int shim_munmap(void *at, size_t size);
#endif

#define MM_SYS_OPEN(path, flags, mode) shim_open(path, flags, mode)
#define MM_SYS_CLOSE(fd) shim_close(fd)
#define MM_SYS_OPEN_TEMP(dir, name, flags, mode) shim_open_temp(dir, name, flags, mode)
#define MM_SYS_FSTAT(fd, st) shim_fstat(fd, st)
#define MM_SYS_PREAD(fd, bytes, size, offset) shim_pread(fd, bytes, size, offset)
#define MM_SYS_PWRITE(fd, bytes, size, offset) shim_pwrite(fd, bytes, size, offset)
#define MM_SYS_PWRITEV(fd, iov, count, offset) shim_pwritev(fd, iov, count, offset)
#define MM_SYS_PREAD_NOWAIT(fd, bytes, size, offset) shim_pread_nowait(fd, bytes, size, offset)
#define MM_SYS_TIME() shim_time()
#define MM_SYS_FTRUNCATE(fd, size) shim_ftruncate(fd, size)
#define MM_SYS_MMAP_FILE(at, size, prot, flags, fd, offset) \
    shim_mmap(at, size, prot, flags, fd, offset)
#define MM_SYS_MUNMAP_FILE(at, size) shim_munmap(at, size)
#define MM_IMPLEMENTATION
#include "../mm_chunk.h"

#include "harness.h"

/* Counts for several threads: only without faults. */
static int shim_fails(void)
{
    size_t calls = __atomic_add_fetch(&shim.calls, 1, __ATOMIC_RELAXED);
    if (shim.fail_at == 0 || calls < shim.fail_at) return 0;
    if (calls > shim.fail_at && !shim.for_ever) return 0;
    errno = shim.error;
    return 1;
}

static int shim_is_bad(const char *path)
{
    if (shim.bad == NULL || strncmp(path, shim.bad, strlen(shim.bad)) != 0) return 0;
    shim.bad_opens++;
    errno = ENOSPC;
    return 1;
}

static int shim_open(const char *path, int flags, unsigned mode)
{
    int fd;
    if (shim_fails() || shim_is_bad(path)) return -1;
    fd = open(path, flags, (mode_t)mode);
    if (fd >= 0 && (flags & O_TMPFILE) == O_DIRECTORY && fd < 64) shim.dirs |= (uint64_t)1 << fd;
    else if (fd >= 0) shim.open_fds++;
    return fd;
}

#ifdef MMI_DIRS
static int shim_open_temp(int at, const char *name, int flags, unsigned mode)
{
    char link[40], path[200];
    ssize_t length;
    int fd;
    if (shim_fails()) return -1;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
    length = readlink(link, path, sizeof(path) - 1);
    path[length < 0 ? 0 : length] = '\0';
    if (shim_is_bad(path)) return -1;
    if (shim.no_tmpfile && !(flags & O_CREAT)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    fd = openat(at, name, flags, (mode_t)mode);
    if (fd >= 0) shim.open_fds++;
    return fd;
}
#endif

static int shim_close(int fd)
{
    if (fd < 64 && (shim.dirs >> fd & 1) != 0) shim.dirs &= ~((uint64_t)1 << fd);
    else __atomic_sub_fetch(&shim.open_fds, 1, __ATOMIC_RELAXED);
    return close(fd); /* never fails in a way that matters: the descriptor is gone */
}

static int shim_ftruncate(int fd, off_t size)
{
    shim.truncated++;
    return ftruncate(fd, size);
}

static int shim_fstat(int fd, struct stat *st)
{
    return shim_fails() ? -1 : fstat(fd, st);
}

static size_t shim_short(size_t size)
{
    return shim.most != 0 && size > shim.most ? shim.most : size;
}

static ssize_t shim_pread(int fd, void *bytes, size_t size, off_t offset)
{
    return shim_fails() ? -1 : pread(fd, bytes, shim_short(size), offset);
}

/* What of `size` bytes the disk takes. */
static size_t shim_disk(size_t size)
{
    size = shim_short(size);
    if (shim.disk >= 0 && (int64_t)size > shim.disk) size = (size_t)shim.disk;
    if (shim.disk >= 0) shim.disk -= (int64_t)size;
    shim.writes++;
    return size;
}

MM_UNUSED static ssize_t shim_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    size_t most;
    if (shim_fails()) return -1;
    most = shim_disk(size);
    errno = ENOSPC;
    return most == 0 ? -1 : pwrite(fd, bytes, most, offset);
}

#ifdef MMI_PWRITEV
static ssize_t shim_pwritev(int fd, const struct iovec *iov, int count, int64_t offset)
{
    struct iovec cut[MMI_CHUNK_IOV];
    size_t size = 0, most;
    int i;
    if (shim_fails()) return -1;
    if (count < 1 || count > MMI_CHUNK_IOV) abort();
    for (i = 0; i < count; i++) size += iov[i].iov_len;
    most = shim_disk(size);
    errno = ENOSPC;
    if (most == 0) return -1;
    for (i = 0; most > 0; most -= cut[i++].iov_len) {
        cut[i] = iov[i];
        if (cut[i].iov_len > most) cut[i].iov_len = most;
    }
    return mmi_pwritev(fd, cut, i, offset);
}
#endif

#ifdef MMI_NOWAIT
static ssize_t shim_pread_nowait(int fd, char *bytes, size_t size, int64_t offset)
{
    if (shim_fails()) return -1;
    if (shim.cold != 0 && (size_t)offset >= shim.cold_at) {
        if (shim.cold > 0) errno = shim.cold;
        return shim.cold > 0 ? -1 : 0;
    }
    if (shim.cold != 0 && size > shim.cold_at - (size_t)offset)
        size = shim.cold_at - (size_t)offset;
    return mmi_pread_nowait(fd, bytes, shim_short(size), offset);
}
#endif

#ifdef MM_CHUNK_VIEWS
static void *shim_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    void *base = shim_fails() ? MAP_FAILED : mmap(at, size, prot, flags, fd, offset);
    if (base != MAP_FAILED) __atomic_add_fetch(&shim.maps, 1, __ATOMIC_RELAXED);
    return base;
}

static int shim_munmap(void *at, size_t size)
{
    __atomic_sub_fetch(&shim.maps, 1, __ATOMIC_RELAXED);
    return munmap(at, size);
}
#endif

static int64_t shim_time(void)
{
    return shim.clock;
}

static void shim_reset(void)
{
    uint64_t dirs = shim.dirs;
    memset(&shim, 0, sizeof(shim));
    shim.disk = -1;
    shim.dirs = dirs;
}

static void shim_fail(size_t n, int for_ever, int error)
{
    shim.calls = 0;
    shim.fail_at = n;
    shim.for_ever = for_ever;
    shim.error = error;
}

/* ---- fixtures ---- */

enum { FILE_SIZE = 20000 };
static char dir[] = "/tmp/mm-test-chunk-XXXXXX";
static char file_path[64];
static char file_bytes[FILE_SIZE];

static void fixture_remove(void)
{
    if (file_path[0] == '\0') return;
    unlink(file_path);
    rmdir(dir);
}

/* A folder, removed at the end of the process, with a file in it. */
static void fixture(void)
{
    static int is_registered;
    uint64_t seed = 42;
    int fd;
    size_t i;
    if (file_path[0] != '\0') return;
    if (!is_registered++) atexit(fixture_remove);
    if (mkdtemp(dir) == NULL) abort();
    for (i = 0; i < FILE_SIZE; i++) file_bytes[i] = (char)test_random(&seed);
    snprintf(file_path, sizeof(file_path), "%s/file", dir);
    fd = open(file_path, O_CREAT | O_RDWR, 0600);
    if (fd < 0 || write(fd, file_bytes, FILE_SIZE) != FILE_SIZE) abort();
    close(fd);
}

/* The whole content equals `bytes`. */
static void check_content(mm_chunkqueue *q, const char *bytes, size_t size)
{
    char *scratch = malloc(size + 1);
    const char *data;
    size_t got = 0;
    mm_status status;
    CHECK(scratch != NULL);
    status = mm_chunkqueue_peek(q, scratch, size + 1, &data, &got);
    if (status != MM_STATUS_OK || got != size || (size > 0 && memcmp(data, bytes, size) != 0))
        test_fail(__FILE__, __LINE__, "content");
    free(scratch);
}

/* ---- the model ---- */

enum { MODEL_QUEUES = 3, MODEL_MAX = 12000 };

typedef struct model {
    mm_chunk_pool pool;
    test_allocator memory;
    mm_budget disk;
    mm_chunkqueue q[MODEL_QUEUES];
    char bytes[MODEL_QUEUES][2 * MODEL_MAX]; /* what each holds */
    size_t length[MODEL_QUEUES];
    int told[MODEL_QUEUES];                  /* the last edge that each queue's callback heard of */
    int borrowed, referenced;                /* descriptors and bytes of ours that are in use */
    mm_shared *shared;
    size_t (*next)(struct model *m, size_t below); /* the source of numbers */
    uint64_t random;
    const uint8_t *input;
    size_t left; /* bytes of input */
} model;

static void model_require(int is_so, int line, const char *what)
{
    if (!is_so) test_fail(__FILE__, line, what);
}

#define MODEL_CHECK(condition) model_require(condition, __LINE__, #condition)

static void model_flow(mm_chunkqueue *q, bool is_high, void *user_data)
{
    int *told = (int *)user_data;
    MODEL_CHECK(*told != (int)is_high && q->is_high == is_high);
    *told = (int)is_high;
}

static void model_refchg(void *ref, int change)
{
    model *m = (model *)ref;
    m->borrowed += change;
    MODEL_CHECK(m->borrowed >= 0);
}

static void model_release(const void *bytes, int64_t size, void *user_data)
{
    model *m = (model *)user_data;
    const char *at = (const char *)bytes;
    MODEL_CHECK(at >= file_bytes && at + size <= file_bytes + FILE_SIZE);
    m->referenced--;
    MODEL_CHECK(m->referenced >= 0);
}

static void model_add(model *m, size_t i, const char *bytes, size_t size)
{
    memmove(m->bytes[i] + m->length[i], bytes, size);
    m->length[i] += size;
}

static void model_add_front(model *m, size_t i, const char *bytes, size_t size)
{
    memmove(m->bytes[i] + size, m->bytes[i], m->length[i]);
    memmove(m->bytes[i], bytes, size);
    m->length[i] += size;
}

static void model_drop(model *m, size_t i, size_t size)
{
    m->length[i] -= size;
    memmove(m->bytes[i], m->bytes[i] + size, m->length[i]);
}

static mm_status model_append_buffer(model *m, mm_chunkqueue *q, const char *bytes, size_t size)
{
    mm_buffer b = {0};
    mm_status status = MM_STATUS_OK;
    size_t kind = m->next(m, 3);
    if (kind == 1) mm_buffer_init(&b, &m->memory.base);
    if (kind == 2) status = mm_chunk_buffer_acquire(&m->pool, &b, size);
    if (status != MM_STATUS_OK) return status;
    if (mm_buffer_append(&b, bytes, size) == MM_STATUS_OK && kind == 2)
        mm_chunk_buffer_yield(&m->pool, &b);
    status = mm_chunkqueue_append_buffer(q, &b);
    if (status == MM_STATUS_OK) MODEL_CHECK(mm_buffer_length(&b) == 0);
    if (kind == 2) mm_chunk_buffer_release(&m->pool, &b);
    else mm_buffer_deinit(&b);
    return status;
}

static mm_status model_append_spans(model *m, mm_chunkqueue *q, const char *bytes, size_t *size)
{
    mm_chunk_span spans[4];
    size_t max = 1 + m->next(m, 4), count, i, total = 0, done = 0;
    count = mm_chunkqueue_get_spans(q, m->next(m, 4000), spans, max);
    if (count == 0) return MM_STATUS_NO_MEMORY;
    for (i = 0; i < count; i++) total += spans[i].size;
    if (*size > total) *size = total;
    for (i = 0; i < count && done < *size; i++) {
        size_t n = *size - done < spans[i].size ? *size - done : spans[i].size;
        memcpy(spans[i].ptr, bytes + done, n);
        done += n;
    }
    mm_chunkqueue_use_memory(q, *size);
    return MM_STATUS_OK;
}

static mm_status model_open(model *m, mm_chunkqueue *q, const char *bytes, size_t size, bool front)
{
    size_t least = m->next(m, 3000), half = size / 2;
    mm_buffer *b = front ? mm_chunkqueue_prepend_open(q, least)
                         : mm_chunkqueue_append_open(q, least);
    if (b == NULL) return MM_STATUS_NO_MEMORY;
    mm_buffer_append(b, bytes, half);
    mm_buffer_append(b, bytes + half, size - half);
    if (m->next(m, 8) == 0) {
        mm_chunkqueue_use_memory(q, 0);
        return MM_STATUS_AGAIN;
    }
    return front ? mm_chunkqueue_prepend_commit(q) : mm_chunkqueue_append_commit(q);
}

static mm_status model_append_fd(model *m, mm_chunkqueue *q, size_t at, size_t size, int borrowed)
{
    static int fd = -1; /* the borrowed one */
    mm_status status;
    int own;
    if (borrowed) {
        if (fd < 0) fd = open(file_path, O_RDONLY | O_CLOEXEC);
        return mm_chunkqueue_append_fd_ref(q, fd, (int64_t)at, (int64_t)size, model_refchg, m);
    }
    own = open(file_path, O_RDONLY | O_CLOEXEC);
    shim.open_fds++;
    status = mm_chunkqueue_append_fd(q, own, (int64_t)at, (int64_t)size);
    if (status != MM_STATUS_OK) shim_close(own);
    return status;
}

static mm_status model_append_temp(mm_chunkqueue *q, const char *bytes, size_t *size)
{
    int64_t at, room;
    mm_status status;
    int fd = mm_chunkqueue_get_temp(q, &at, &room, &status);
    MODEL_CHECK((fd >= 0) == (status == MM_STATUS_OK));
    if (fd < 0) return status;
    if ((int64_t)*size > room) *size = (size_t)room;
    if (pwrite(fd, bytes, *size, (off_t)at) != (ssize_t)*size) *size = 0;
    return mm_chunkqueue_use_temp(q, (int64_t)*size);
}

static void model_append(model *m, size_t i)
{
    mm_chunkqueue *q = &m->q[i];
    size_t kind = m->next(m, 15), at = m->next(m, 10000), size = m->next(m, 3000);
    const char *bytes = file_bytes + at;
    mm_status status = MM_STATUS_OK;
    bool front = false;
    switch (kind) {
    case 0: status = mm_chunkqueue_append_mem(q, bytes, size); break;
    case 1: status = model_append_buffer(m, q, bytes, size); break;
    case 2: status = mm_chunkqueue_append_file(q, file_path, (int64_t)at, (int64_t)size); break;
    case 3: status = model_append_fd(m, q, at, size, 0); break;
    case 4: status = model_append_fd(m, q, at, size, 1); break;
    case 5: status = mm_chunkqueue_append_mem(q, bytes, size %= 20); break;
    case 6: status = mm_chunkqueue_append_exact(q, bytes, size); break;
    case 7:
        m->referenced++;
        status = mm_chunkqueue_append_reference(q, bytes, (int64_t)size, model_release, m);
        if (status != MM_STATUS_OK) m->referenced--;
        break;
    case 8:
        bytes = mm_shared_slice(m->shared).ptr;
        size = mm_shared_slice(m->shared).len;
        status = mm_chunkqueue_append_shared(q, m->shared);
        break;
    case 9: status = model_open(m, q, bytes, size, false); break;
    case 10: status = model_open(m, q, bytes, size, front = true); break;
    case 11: status = mm_chunkqueue_prepend_mem(q, bytes, size /= 4); front = true; break;
    case 12: status = model_append_temp(q, bytes, &size); break;
    default: status = model_append_spans(m, q, bytes, &size); break;
    }
    if (status != MM_STATUS_OK) return;
    if (front) model_add_front(m, i, bytes, size);
    else model_add(m, i, bytes, size);
}

static mm_status model_frame_fd(mm_chunkqueue *q, size_t at, size_t size)
{
    mm_status status;
    int own = open(file_path, O_RDONLY | O_CLOEXEC);
    shim.open_fds++;
    status = mm_chunked_append_fd(q, own, (int64_t)at, (int64_t)size);
    if (status != MM_STATUS_OK) shim_close(own);
    return status;
}

static mm_status model_frame_buffer(mm_chunkqueue *q, const char *bytes, size_t size)
{
    mm_buffer b = {0};
    mm_status status;
    mm_buffer_append(&b, bytes, size);
    status = mm_chunked_append_buffer(q, &b);
    MODEL_CHECK(status != MM_STATUS_OK || mm_buffer_length(&b) == 0);
    mm_buffer_deinit(&b);
    return status;
}

/* A chunk of the coding, whole or not at all, and never beyond a limit. */
static void model_frame(model *m, size_t i)
{
    static char frame[MODEL_MAX + 3000 + 40];
    size_t kind = m->next(m, 6), at = m->next(m, 10000), size = m->next(m, 3000), head;
    size_t other = (i + 1) % MODEL_QUEUES;
    mm_chunkqueue *q = &m->q[i];
    int64_t memory = q->memory, disk = q->disk;
    const char *bytes = file_bytes + at;
    mm_status status;
    if (kind == 0) bytes = m->bytes[other], size = m->length[other];
    if (kind == 1) size %= 20;
    if (m->length[i] + size + 40 > MODEL_MAX) return;
    head = size == 0 && kind != 5 ? 0 : (size_t)sprintf(frame, "%zx\r\n", kind == 5 ? 0 : size);
    if (kind == 5) size = 0;
    memcpy(frame + head, bytes, size);
    memcpy(frame + head + size, "\r\n", 2);
    switch (kind) {
    case 0: status = mm_chunked_append_queue(q, &m->q[other]); break;
    case 1:
    case 2: status = mm_chunked_append_mem(q, bytes, size); break;
    case 3: status = model_frame_buffer(q, bytes, size); break;
    case 4: status = model_frame_fd(q, at, size); break;
    default: status = mm_chunked_append_last(q, mm_slice_make(NULL, 0)); break;
    }
    MODEL_CHECK(q->memory <= memory || q->memory <= q->memory_limit);
    MODEL_CHECK(q->disk <= disk || q->disk <= q->disk_limit);
    if (status != MM_STATUS_OK || head == 0) return;
    model_add(m, i, frame, head + size + 2);
    if (kind == 0) m->length[other] = 0;
}

/* From queue to queue. */
static void model_move(model *m, size_t i)
{
    size_t other = (i + 1 + m->next(m, MODEL_QUEUES - 1)) % MODEL_QUEUES, kind = m->next(m, 5);
    size_t size = m->next(m, m->length[i] + 1), offset;
    mm_chunkqueue *q = &m->q[i], *to = &m->q[other];
    mm_status status;
    if (kind == 2 || kind == 3) size = m->length[i];
    offset = m->next(m, m->length[i] - size + 1);
    if (kind == 4 && m->next(m, 3) == 0) to = &m->q[other = i];
    if (m->length[other] + size > MODEL_MAX) return;
    switch (kind) {
    case 0: status = mm_chunkqueue_steal(to, q, (int64_t)size); break;
    case 1: status = mm_chunkqueue_steal_spilled(to, q, (int64_t)size); break;
    case 2: status = mm_chunkqueue_append_queue(to, q); break;
    case 3: status = mm_chunkqueue_prepend_queue(to, q); break;
    default:
        status = mm_chunkqueue_append_range(to, q, (int64_t)offset, (int64_t)size);
        if (status == MM_STATUS_OK) model_add(m, other, m->bytes[i] + offset, size);
        return;
    }
    if (status != MM_STATUS_OK) return;
    if (kind == 3) model_add_front(m, other, m->bytes[i], size);
    else model_add(m, other, m->bytes[i], size);
    model_drop(m, i, size);
}

static void model_find(model *m, size_t i, char byte)
{
    size_t from = m->next(m, m->length[i] + 2);
    const char *hit = NULL;
    int64_t at, expected = -1;
    if (from < m->length[i])
        hit = (const char *)memchr(m->bytes[i] + from, byte, m->length[i] - from);
    if (hit != NULL) expected = hit - m->bytes[i];
    if (mm_chunkqueue_find_byte(&m->q[i], byte, (int64_t)from, &at) == MM_STATUS_OK)
        MODEL_CHECK(at == expected);
}

static void model_line(model *m, size_t i)
{
    size_t most = m->next(m, 600), end, length;
    const char *lf = (const char *)memchr(m->bytes[i], '\n', m->length[i]);
    mm_buffer line = {0};
    mm_status status;
    mm_buffer_append_string(&line, "kept");
    status = mm_chunkqueue_read_line(&m->q[i], &line, most);
    length = end = lf == NULL ? m->length[i] : (size_t)(lf - m->bytes[i]);
    if (length > 0 && lf != NULL && lf[-1] == '\r') length--;
    if (status == MM_STATUS_OK) {
        MODEL_CHECK(lf != NULL && length <= most && mm_buffer_length(&line) == 4 + length);
        MODEL_CHECK(memcmp(line.ptr + 4, m->bytes[i], length) == 0);
        model_drop(m, i, end + 1);
    } else {
        MODEL_CHECK(strcmp(mm_buffer_string(&line), "kept") == 0);
        if (status == MM_STATUS_LIMIT) MODEL_CHECK(length > most);
        if (status == MM_STATUS_AGAIN) MODEL_CHECK(lf == NULL && m->length[i] < most + 2);
    }
    mm_buffer_deinit(&line);
}

static void model_read(model *m, size_t i)
{
    static char bytes[2 * MODEL_MAX];
    mm_chunkqueue *q = &m->q[i];
    size_t kind = m->next(m, 5), size = m->next(m, m->length[i] + 1), got;
    const char *data;
    mm_status status;
    switch (kind) {
    case 0:
        status = mm_chunkqueue_mark_written(q, (int64_t)size);
        MODEL_CHECK(status == MM_STATUS_OK);
        model_drop(m, i, size);
        break;
    case 1:
        if (mm_chunkqueue_read(q, bytes, size) != MM_STATUS_OK) break;
        MODEL_CHECK(memcmp(bytes, m->bytes[i], size) == 0);
        model_drop(m, i, size);
        break;
    case 2:
        shim.cold = m->next(m, 2) == 0 ? EAGAIN : 0;
        shim.cold_at = m->next(m, 20000);
        status = mm_chunkqueue_peek_nowait(q, bytes, size, &data, &got);
        shim.cold = 0;
        MODEL_CHECK(got <= size && memcmp(data, m->bytes[i], got) == 0);
        if (status == MM_STATUS_AGAIN) MODEL_CHECK(got == 0 && q->first->busy);
        break;
    case 3: model_line(m, i); break;
    default: model_find(m, i, (char)m->next(m, 256)); break;
    }
}

/* What changes where the bytes lie, and not the bytes. */
static void model_arrange(model *m, size_t i)
{
    mm_chunkqueue *q = &m->q[i];
    size_t kind = m->next(m, 8), size = m->next(m, m->length[i] + 1);
    mm_slice slices[4];
    const char *whole;
    mm_status status = MM_STATUS_OK;
    switch (kind) {
    case 0:
        whole = mm_chunkqueue_contiguous(q, size, &status);
        MODEL_CHECK((whole != NULL) == (status == MM_STATUS_OK));
        if (whole != NULL) MODEL_CHECK(memcmp(whole, m->bytes[i], size) == 0);
        break;
    case 1: status = mm_chunkqueue_squash(q); break;
    case 2: status = mm_chunkqueue_join(q, (int64_t)size); break;
    case 3: status = mm_chunkqueue_spill(q); break;
    case 4: (void)mm_chunk_pool_decay(&m->pool); break;
    case 5: mm_chunk_pool_trim(&m->pool, m->next(m, 60000)); break;
    case 6:
        size = mm_chunkqueue_peek_memory(q, slices, 4);
        if (size > 0) MODEL_CHECK(memcmp(slices[0].ptr, m->bytes[i], slices[0].len) == 0);
        break;
    default:
        if (q->first != NULL) status = mm_chunk_verify(q->first);
        MODEL_CHECK(status != MM_STATUS_INVALID && status != MM_STATUS_TRUNCATED);
        break;
    }
}

static void model_settings(model *m, size_t i)
{
    mm_chunkqueue *q = &m->q[i];
    int64_t low = (int64_t)m->next(m, 3000);
    switch (m->next(m, 6)) {
    case 0: mm_chunkqueue_set_limits(q, (int64_t)m->next(m, 12000), INT64_MAX); break;
    case 1: mm_chunkqueue_set_limits(q, INT64_MAX, (int64_t)m->next(m, 12000)); break;
    case 2: mm_chunkqueue_set_limits(q, INT64_MAX, INT64_MAX); break;
    case 3: mm_chunkqueue_set_spill(q, i == 0 ? INT64_MAX : (int64_t)m->next(m, 4000)); break;
    case 4:
        mm_chunkqueue_set_flow(q, low, low + 1 + (int64_t)m->next(m, 3000), model_flow,
                               &m->told[i]);
        break;
    default:
        if (m->next(m, 4) != 0) break;
        mm_chunkqueue_reset(q);
        m->length[i] = 0;
    }
}

static void model_faults(model *m)
{
    static const int errors[] = {ENOSPC, EINTR, EIO, EMFILE};
    size_t kind = m->next(m, 4);
    if (kind == 1) shim_fail(1 + m->next(m, 8), 0, errors[m->next(m, 4)]);
    if (kind == 2) test_allocator_fail(&m->memory, 1 + m->next(m, 8), (int)m->next(m, 2));
    if (kind == 3) shim.disk = (int64_t)m->next(m, 5000);
}

static void model_check(model *m)
{
    size_t i;
    shim_fail(0, 0, 0);
    shim.disk = -1;
    test_allocator_fail(&m->memory, 0, 0);
    MODEL_CHECK(mm_chunk_pool_check(&m->pool));
    MODEL_CHECK(mm_budget_live(&m->disk) == (size_t)m->pool.stats.temp_live);
    for (i = 0; i < MODEL_QUEUES; i++) {
        mm_chunkqueue *q = &m->q[i];
        mm_chunkqueue_clear_status(q);
        MODEL_CHECK(mm_chunkqueue_check(q));
        MODEL_CHECK(mm_chunkqueue_length(q) == (int64_t)m->length[i]);
        MODEL_CHECK(q->is_high ? (int64_t)m->length[i] > q->low : (int64_t)m->length[i] < q->high);
        MODEL_CHECK(q->flow == NULL || q->is_high == m->told[i]);
        if (!test_failed) check_content(q, m->bytes[i], m->length[i]);
        if (test_failed) return;
    }
}

static void model_step(model *m, int faults)
{
    size_t i = m->next(m, MODEL_QUEUES), kind = m->next(m, 11);
    if (faults) model_faults(m);
    shim.clock += (int64_t)m->next(m, 3);
    if (kind < 4 && m->length[i] < MODEL_MAX - 3000) model_append(m, i);
    else if (kind < 6) model_move(m, i);
    else if (kind < 8) model_read(m, i);
    else if (kind < 9) model_arrange(m, i);
    else if (kind < 10) model_settings(m, i);
    else model_frame(m, i);
    model_check(m);
}

static void model_begin(model *m)
{
    mm_budget_desc budget;
    mm_chunk_pool_desc desc;
    const char *dirs[2];
    size_t i;
    fixture();
    shim_reset();
    memset(m, 0, sizeof(*m));
    memset(&desc, 0, sizeof(desc));
    memset(&budget, 0, sizeof(budget));
    test_allocator_init(&m->memory);
    budget.limit = 60000;
    mm_budget_init(&m->disk, &budget);
    dirs[0] = dirs[1] = dir;
    desc.chunk_size = 1024;
    desc.keep = desc.keep_oversized = 20000;
    desc.keep_files = 3000;
    desc.temp_dirs = dirs;
    desc.temp_dir_count = 2;
    desc.temp_file_size = 5000;
    desc.temp_quota = 50000;
    desc.temp_budget = &m->disk;
    desc.allocator = &m->memory.base;
    MODEL_CHECK(mm_chunk_pool_init(&m->pool, &desc) == MM_STATUS_OK);
    m->shared = mm_shared_new(mm_slice_make(file_bytes + 77, 777), NULL);
    for (i = 0; i < MODEL_QUEUES; i++) {
        mm_chunkqueue_init(&m->q[i], &m->pool);
        mm_chunkqueue_set_spill(&m->q[i], i == 0 ? INT64_MAX : (int64_t)i * 1500);
    }
}

/* Nothing is left: no byte, no descriptor, no charge. */
static void model_end(model *m)
{
    size_t i;
    for (i = 0; i < MODEL_QUEUES; i++) mm_chunkqueue_deinit(&m->q[i]);
    MODEL_CHECK(m->pool.stats.memory == 0 && m->pool.stats.temp_live == 0);
    MODEL_CHECK(m->pool.stats.temp_files == 0 && m->pool.stats.loans == 0);
    MODEL_CHECK(mm_chunk_pool_deinit(&m->pool) == 0);
    MODEL_CHECK(m->memory.live_blocks == 0 && m->memory.bad_sizes == 0);
    MODEL_CHECK(shim.open_fds == 0 && shim.dirs == 0 && m->borrowed == 0 && m->referenced == 0);
    MODEL_CHECK(mm_budget_deinit(&m->disk) == 0);
    MODEL_CHECK(mm_shared_release(m->shared));
}
#endif
