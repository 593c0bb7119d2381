/* mm_io.h: the contents of files in memory: read into queues, as ready responses, mapped. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_CHUNK_VIEWS
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The n-th system call fails; a read brings `most` bytes at a time. */
static struct shim {
    size_t calls, fail_at, most;
    int error;
    const char *cut; /* a file to be cut short between the read and the check */
} shim;

static int shim_fails(void)
{
    shim.calls++;
    if (shim.fail_at == 0 || shim.calls != shim.fail_at) return 0;
    errno = shim.error;
    return 1;
}

static ssize_t shim_pread(int fd, void *bytes, size_t size, off_t at)
{
    ssize_t n;
    if (shim_fails()) return -1;
    if (shim.most != 0 && size > shim.most) size = shim.most;
    n = pread(fd, bytes, size, at);
    if (shim.cut != NULL && truncate(shim.cut, 3) != 0) abort();
    return n;
}

#define MM_SYS_FSTAT(fd, st) (shim_fails() ? -1 : fstat(fd, st))
#define MM_SYS_PREAD(fd, bytes, size, at) shim_pread(fd, bytes, size, at)
#define MM_SYS_MMAP_FILE(at, size, prot, flags, fd, offset) \
    (shim_fails() ? MAP_FAILED : mmap(at, size, prot, flags, fd, offset))
#define MM_IMPLEMENTATION
#include "../../mm_io.h"

#include "../harness.h"

#ifdef MM_VALGRIND
enum { STEPS = 3000 };
#else
enum { STEPS = 60000 };
#endif

/* ---- fixtures ---- */

static char root[] = "/tmp/mm-test-responses-XXXXXX";
static test_allocator memory;
static mm_filecache files;
static mm_chunk_pool pool;
static mm_chunkqueue q;
static mm_budget budget;
static mm_respcache cache;
static mm_respcache_desc desc;

static const char *in_root(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static void put_file(const char *name, char byte, size_t size)
{
    char *bytes = malloc(size + 1);
    int fd = open(in_root(name), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (bytes == NULL || fd < 0) abort();
    memset(bytes, byte, size);
    if (write(fd, bytes, size) != (ssize_t)size) abort();
    close(fd);
    free(bytes);
}

static void begin(void)
{
    static bool made;
    mm_filecache_desc of_files;
    mm_chunk_pool_desc of_pool;
    mm_budget_desc of_budget;
    if (!made && mkdtemp(root) == NULL) abort();
    made = true;
    memset(&shim, 0, sizeof(shim));
    memset(&of_files, 0, sizeof(of_files));
    memset(&of_pool, 0, sizeof(of_pool));
    memset(&of_budget, 0, sizeof(of_budget));
    memset(&desc, 0, sizeof(desc));
    test_allocator_init(&memory);
    of_files.root = root;
    of_budget.allocator = of_pool.allocator = &memory.base;
    mm_budget_init(&budget, &of_budget);
    if (mm_filecache_init(&files, &of_files) != MM_STATUS_OK) abort();
    if (mm_chunk_pool_init(&pool, &of_pool) != MM_STATUS_OK) abort();
    mm_chunkqueue_init(&q, &pool);
    desc.allocator = mm_budget_allocator(&budget);
    desc.budget = &budget;
}

static void end(void)
{
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(mm_filecache_deinit(&files), 0);
    CHECK_EQ(budget.cached, 0);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
}

static void clean_up(void)
{
    static const char *const left[] = {"file", "page", "large", "empty", "tmp", "new"};
    char name[24];
    size_t i;
    for (i = 0; i < sizeof(left) / sizeof(left[0]); i++) unlink(in_root(left[i]));
    for (i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "m%d", (int)i);
        unlink(in_root(name));
    }
    CHECK_EQ(rmdir(root), 0);
}

static mm_file *open_file(const char *name)
{
    mm_file *file;
    mm_status status = mm_filecache_open(&files, mm_slice_from_string(name), 0, &file);
    if (status != MM_STATUS_OK) test_fail(__FILE__, __LINE__, mm_status_string(status));
    return file;
}

/* Whether the queue holds `head`, then `count` times the byte. */
static bool queue_is(const char *head, char byte, size_t count)
{
    mm_status status;
    size_t size = strlen(head), i;
    const char *bytes;
    if (mm_chunkqueue_length(&q) != (int64_t)(size + count)) return false;
    bytes = mm_chunkqueue_contiguous(&q, size + count, &status);
    if (bytes == NULL || memcmp(bytes, head, size) != 0) return false;
    for (i = 0; i < count; i++)
        if (bytes[size + i] != byte) return false;
    return true;
}

/* ---- read into a queue ---- */

TEST(small_ranges_are_read_large_ones_referred_to)
{
    mm_file *file;
    begin();
    put_file("file", 'x', 100000);
    file = open_file("file");
    mm_chunkqueue_append_mem(&q, "head", 4);
    shim.most = 700;
    CHECK_EQ(mm_file_append(&q, file, 0, 16000, 0), MM_STATUS_OK);
    CHECK(file->refs == 2 && mm_chunkqueue_check(&q) && queue_is("head", 'x', 16000));
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_file_append(&q, file, 100, 99900, 0), MM_STATUS_OK);
    CHECK(file->refs == 3 && mm_chunkqueue_length(&q) == 99900);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_file_append(&q, file, 0, 100000, 100000), MM_STATUS_OK);
    CHECK(file->refs == 2 && queue_is("", 'x', 100000));
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_file_append(&q, file, 100000, 0, 0), MM_STATUS_OK);
    CHECK_EQ(mm_file_append(&q, file, 100000, 1, 0), MM_STATUS_INVALID);
    CHECK_EQ(mm_file_append(&q, file, -1, 1, 0), MM_STATUS_INVALID);
    CHECK_EQ(mm_file_append(&q, file, 0, -1, 0), MM_STATUS_INVALID);
    CHECK_EQ(mm_file_append(&q, file, INT64_MAX, INT64_MAX, 0), MM_STATUS_INVALID);
    CHECK(mm_chunkqueue_is_empty(&q) && mm_chunkqueue_check(&q));
    mm_chunkqueue_set_limits(&q, 5000, INT64_MAX);
    CHECK_EQ(mm_file_append(&q, file, 0, 5001, 0), MM_STATUS_LIMIT);
    mm_chunkqueue_set_limits(&q, INT64_MAX, INT64_MAX);
    mm_file_release(file);
    file = open_file("");
    CHECK_EQ(mm_file_append(&q, file, 0, 0, 0), MM_STATUS_INVALID);
    mm_file_release(file);
    CHECK_SUB(end());
}

TEST(a_file_that_changes_is_not_read_as_whole)
{
    mm_file *file;
    char path[256], bytes[10];
    begin();
    put_file("page", 'a', 10);
    file = open_file("page");
    snprintf(path, sizeof(path), "%s", in_root("page"));
    CHECK_EQ(truncate(path, 5), 0); /* shorter */
    CHECK_EQ(mm_file_append(&q, file, 0, 10, 0), MM_STATUS_TRUNCATED);
    mm_file_release(file);
    put_file("page", 'a', 10);
    file = open_file("page");
    shim.cut = path; /* rewritten behind our back: the bytes came, and are nobody's */
    CHECK_EQ(mm_file_append(&q, file, 0, 10, 0), MM_STATUS_TRUNCATED);
    shim.cut = NULL;
    CHECK(mm_chunkqueue_is_empty(&q) && mm_chunkqueue_check(&q));
    CHECK_EQ(mm_chunkqueue_status(&q), MM_STATUS_OK);
    mm_file_release(file);
    put_file("page", 'a', 10);
    file = open_file("page");
    put_file("new", 'b', 12);
    CHECK_EQ(rename(in_root("new"), path), 0); /* replaced: the old one is still whole */
    CHECK_EQ(mm_file_read(file, bytes, 10, 0), MM_STATUS_OK);
    CHECK(memcmp(bytes, "aaaaaaaaaa", 10) == 0);
    mm_file_release(file);
    unlink(path);
    CHECK_SUB(end());
}

TEST(every_fault_of_a_read)
{
    static const int errors[] = {EIO, EINTR};
    size_t e, n, before;
    mm_file *file;
    begin();
    put_file("file", 'x', 1000);
    file = open_file("file");
    for (e = 0; e < 2; e++)
        for (n = 1; n < 8; n++) {
            mm_status status;
            shim.calls = 0;
            shim.most = 300;
            shim.fail_at = n;
            shim.error = errors[e];
            status = mm_file_append(&q, file, 0, 1000, 0);
            if (n > 5 || (e == 1 && n < 5)) CHECK_EQ(status, MM_STATUS_OK);
            if (e == 0 && n <= 5) CHECK_EQ(status, MM_STATUS_IO);
            CHECK_EQ(mm_chunkqueue_length(&q), status == MM_STATUS_OK ? 1000 : 0);
            CHECK(mm_chunkqueue_check(&q));
            mm_chunkqueue_reset(&q);
        }
    shim.fail_at = 0;
    mm_chunk_pool_trim(&pool, 0);
    before = memory.live_blocks;
    test_allocator_fail(&memory, 1, 1);
    CHECK_EQ(mm_file_append(&q, file, 0, 1000, 0), MM_STATUS_NO_MEMORY);
    CHECK_EQ(mm_file_append(&q, file, 0, 1000, 10), MM_STATUS_NO_MEMORY);
    CHECK_EQ(memory.live_blocks, before);
    test_allocator_fail(&memory, 0, 0);
    mm_chunkqueue_clear_status(&q);
    mm_file_release(file);
    CHECK_SUB(end());
}

/* ---- responses ---- */

static void open_cache(void)
{
    CHECK_EQ(mm_respcache_init(&cache, &desc), MM_STATUS_OK);
}

static void end_cache(void)
{
    CHECK(mm_respcache_check(&cache));
    CHECK_EQ(mm_respcache_deinit(&cache), 0);
    CHECK_EQ(mm_respcache_deinit(&cache), 0);
    CHECK_SUB(end());
}

static mm_status put(const char *key, const mm_file *file, const char *head)
{
    mm_response *response;
    mm_status status = mm_respcache_put(&cache, mm_slice_from_string(key), file,
                                        mm_slice_from_string(head), NULL, &response);
    if (!mm_respcache_check(&cache)) test_fail(__FILE__, __LINE__, "cache check");
    if (status == MM_STATUS_OK) mm_response_release(response);
    return status;
}

static bool has(const char *key, const mm_file *file)
{
    mm_response *response = mm_respcache_get(&cache, mm_slice_from_string(key), file);
    if (response != NULL) mm_response_release(response);
    return response != NULL;
}

TEST(a_response_is_sent_without_a_copy)
{
    mm_file *file;
    mm_response *response;
    size_t bytes;
    begin();
    CHECK_SUB(open_cache());
    put_file("page", 'p', 3000);
    file = open_file("page");
    CHECK(mm_respcache_get(&cache, mm_slice_from_string("page"), file) == NULL);
    CHECK_EQ(put("page", file, "head\r\n"), MM_STATUS_OK);
    response = mm_respcache_get(&cache, mm_slice_from_string("page"), file);
    CHECK(response != NULL && response->body.len == 3000 && response->head.len == 6);
    bytes = response->bytes;
    CHECK(cache.stats.bytes == bytes && budget.cached == bytes);
    CHECK_EQ(mm_response_append(response, &q, true), MM_STATUS_OK);
    CHECK_EQ(mm_response_append(response, &q, false), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_length(&q), 3012);
    CHECK(mm_chunk_bytes(q.first) == response->head.ptr);
    mm_response_release(response);
    mm_respcache_trim(&cache, 0); /* out of the table, and alive while it is sent */
    CHECK(cache.stats.entries == 0 && cache.stats.leaving == bytes && budget.cached == 0);
    CHECK_EQ(mm_respcache_deinit(&cache), bytes);
    CHECK(mm_respcache_check(&cache));
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 6), MM_STATUS_OK);
    CHECK(mm_chunk_bytes(q.first)[0] == 'p');
    mm_chunkqueue_reset(&q);
    CHECK_EQ(cache.stats.leaving, 0);
    mm_file_release(file);
    CHECK_SUB(end_cache());
}

TEST(a_response_of_another_file_is_none)
{
    mm_file *old, *fresh;
    mm_slice body = {"other bytes", 11};
    mm_response *response;
    begin();
    CHECK_SUB(open_cache());
    put_file("page", 'o', 100);
    old = open_file("page");
    CHECK_EQ(put("page", old, "head"), MM_STATUS_OK);
    put_file("page", 'n', 200); /* rewritten in place */
    fresh = open_file("page");
    CHECK(fresh != old && !has("page", fresh));
    CHECK(cache.stats.changed == 1 && cache.stats.entries == 0);
    CHECK_EQ(put("page", old, "head"), MM_STATUS_TRUNCATED); /* never old headers, new bytes */
    CHECK_EQ(put("page", fresh, "head"), MM_STATUS_OK);
    CHECK(has("page", fresh));
    CHECK_EQ(mm_respcache_put(&cache, mm_slice_from_string("page"), fresh, mm_slice_make(NULL, 0),
                              &body, &response), MM_STATUS_OK);
    CHECK(cache.stats.entries == 1 && response->body.len == 11 && response->head.len == 0);
    mm_response_release(response);
    mm_respcache_forget(&cache, mm_slice_from_string("page"));
    mm_respcache_forget(&cache, mm_slice_from_string("page"));
    CHECK(!has("page", fresh));
    mm_file_release(old);
    mm_file_release(fresh);
    CHECK_SUB(end_cache());
}

TEST(what_is_too_large_is_refused)
{
    mm_file *file, *folder;
    mm_slice huge = {"", SIZE_MAX};
    mm_response *response;
    begin();
    desc.max_bytes = 10000;
    desc.max_body = 9000;
    CHECK_SUB(open_cache());
    put_file("page", 'x', 9001);
    file = open_file("page");
    folder = open_file("");
    CHECK_EQ(put("page", file, "head"), MM_STATUS_LIMIT);
    CHECK_EQ(put("folder", folder, "head"), MM_STATUS_INVALID);
    CHECK_EQ(mm_respcache_put(&cache, huge, file, huge, &huge, &response), MM_STATUS_LIMIT);
    CHECK_EQ(mm_respcache_put(&cache, huge, file, huge, NULL, &response), MM_STATUS_LIMIT);
    mm_file_release(file);
    put_file("page", 'x', 8990);
    file = open_file("page");
    CHECK_EQ(put("page", file, "head"), MM_STATUS_LIMIT); /* above the mark with what it needs */
    CHECK_EQ(cache.stats.entries, 0);
    mm_file_release(file);
    mm_file_release(folder);
    CHECK_SUB(end_cache());
    begin();
    desc.high_percent = 101;
    CHECK_EQ(mm_respcache_init(&cache, &desc), MM_STATUS_INVALID);
    CHECK_EQ(mm_respcache_deinit(&cache), 0);
    desc.high_percent = 50;
    CHECK_EQ(mm_respcache_init(&cache, &desc), MM_STATUS_INVALID);
    desc.high_percent = 0;
    desc.max_entries = SIZE_MAX;
    CHECK_EQ(mm_respcache_init(&cache, &desc), MM_STATUS_TOO_LARGE);
    desc.max_entries = SIZE_MAX / 8;
    CHECK_EQ(mm_respcache_init(&cache, &desc), MM_STATUS_TOO_LARGE);
    CHECK_SUB(end());
}

TEST(the_marks_are_kept_to)
{
    mm_file *file;
    char key[24];
    size_t most = 0, least = SIZE_MAX;
    int i;
    begin();
    desc.max_bytes = 100000;
    CHECK_SUB(open_cache());
    put_file("page", 'x', 500);
    file = open_file("page");
    for (i = 0; i < 2000; i++) {
        size_t before = cache.stats.bytes;
        snprintf(key, sizeof(key), "%d", i);
        CHECK_EQ(put(key, file, "head"), MM_STATUS_OK);
        if (cache.stats.bytes > most) most = cache.stats.bytes;
        if (cache.stats.bytes < before && cache.stats.bytes < least) least = cache.stats.bytes;
    }
    CHECK(most <= 90000 && most > 88000);   /* 90 % */
    CHECK(least <= 70000 && least > 68000); /* 70 % */
    CHECK(cache.stats.evictions > 1000 && cache.stats.peak == most);
    CHECK_EQ(budget.cached, cache.stats.bytes);
    mm_file_release(file);
    CHECK_SUB(end_cache());
}

/* Eight pages in demand, and a crawler that asks for everything once. */
TEST(a_scan_passes_by_what_is_in_demand)
{
    mm_file *file;
    char key[24];
    int i, hits = 0, asked = 0;
    begin();
    desc.max_bytes = 100000;
    CHECK_SUB(open_cache());
    put_file("page", 'x', 1000);
    file = open_file("page");
    for (i = 0; i < 20000; i++) {
        bool hot = i % 20 == 0;
        snprintf(key, sizeof(key), hot ? "hot %d" : "scan %d", hot ? i / 20 % 8 : i);
        if (hot && i > 5000) {
            asked++;
            hits += has(key, file);
        }
        if (!has(key, file)) CHECK_EQ(put(key, file, "head"), MM_STATUS_OK);
        else if (hot) (void)has(key, file);
    }
    CHECK(asked > 100 && hits >= asked - 2); /* LRU would have none: 152 others come between */
    CHECK(cache.stats.returned > 0);
    mm_file_release(file);
    CHECK_SUB(end_cache());
}

TEST(pressure_and_budgets_make_it_smaller)
{
    mm_pressure_action action;
    mm_file *file;
    char key[24];
    size_t bytes, one;
    int i;
    begin();
    CHECK_SUB(open_cache());
    put_file("page", 'x', 1000);
    file = open_file("page");
    for (i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "%d", i);
        CHECK_EQ(put(key, file, "head"), MM_STATUS_OK);
    }
    memset(&action, 0, sizeof(action));
    action.user_data = &cache;
    action.percent = 70;
    bytes = cache.stats.bytes;
    one = bytes / 100;
    mm_pressure_trim_responses(&action, true);
    CHECK(cache.stats.bytes <= bytes / 100 * 70 && cache.stats.bytes > bytes / 100 * 67);
    mm_pressure_trim_responses(&action, false);
    bytes = cache.stats.bytes;
    CHECK(mm_respcache_reclaim(5000, &cache) >= 5000);
    CHECK(cache.stats.bytes <= bytes - 5000);
    mm_respcache_trim(&cache, 100);
    mm_respcache_trim(&cache, UINT32_MAX);
    CHECK(cache.stats.entries > 10);
    mm_budget_set_limit(&budget, mm_budget_live(&budget) + one / 2);
    mm_budget_set_reclaim(&budget, mm_respcache_reclaim, &cache);
    for (i = 0; i < 100; i++) { /* each makes the budget ask this very cache */
        snprintf(key, sizeof(key), "new %d", i);
        CHECK_EQ(put(key, file, "head"), MM_STATUS_OK);
    }
    mm_budget_set_limit(&budget, 0);
    action.percent = 0;
    mm_pressure_trim_responses(&action, true);
    CHECK_EQ(cache.stats.entries, 0);
    CHECK_EQ(put("page", file, "head"), MM_STATUS_LIMIT);
    mm_pressure_trim_responses(&action, false);
    CHECK_EQ(put("page", file, "head"), MM_STATUS_OK);
    CHECK_EQ(mm_respcache_reclaim(SIZE_MAX, &cache) > 0, 1);
    CHECK_EQ(cache.stats.entries, 0);
    mm_file_release(file);
    CHECK_SUB(end_cache());
}

TEST(every_allocation_and_call_of_a_response_fails)
{
    mm_file *file;
    size_t n;
    begin();
    put_file("page", 'x', 1000);
    file = open_file("page");
    for (n = 1; n < 3; n++) {
        test_allocator_fail(&memory, n, 0);
        CHECK_EQ(mm_respcache_init(&cache, &desc), MM_STATUS_NO_MEMORY);
        CHECK_EQ(mm_respcache_deinit(&cache), 0);
    }
    test_allocator_fail(&memory, 0, 0);
    CHECK_SUB(open_cache());
    CHECK_EQ(put("page", file, "old"), MM_STATUS_OK);
    test_allocator_fail(&memory, 1, 0);
    CHECK_EQ(put("page", file, "new"), MM_STATUS_NO_MEMORY);
    test_allocator_fail(&memory, 0, 0);
    for (n = 1; n < 3; n++) {
        shim.calls = 0;
        shim.fail_at = n;
        shim.error = EIO;
        CHECK_EQ(put("page", file, "new"), MM_STATUS_IO);
    }
    shim.fail_at = 0;
    CHECK(has("page", file) && cache.stats.refused == 3); /* what was there has stayed */
    mm_file_release(file);
    CHECK_SUB(end_cache());
}

/* Random operations on few keys and files that change: what is answered is always what the file
   had when it was opened, and what is held never goes. */
TEST(responses_against_the_files)
{
    enum { KEYS = 40, HOLDS = 12 };
    static const size_t sizes[] = {0, 1, 100, 900, 4000};
    struct { mm_response *response; char byte; size_t size; } holds[HOLDS] = {{0}};
    char byte[KEYS];
    size_t size[KEYS];
    uint64_t seed = 77;
    int i, step;
    begin();
    desc.max_bytes = 30000;
    desc.max_entries = 16;
    CHECK_SUB(open_cache());
    for (i = 0; i < KEYS; i++) {
        char name[24];
        snprintf(name, sizeof(name), "f%d", i);
        byte[i] = 'a';
        size[i] = sizes[i % 5];
        put_file(name, byte[i], size[i]);
    }
    for (step = 0; step < STEPS; step++) {
        char name[24];
        mm_file *file;
        mm_response *response;
        int slot = (int)(test_random(&seed) % HOLDS);
        size_t at;
        i = (int)(test_random(&seed) % KEYS);
        if (i > 4) i = (int)(test_random(&seed) % KEYS); /* some are in demand */
        snprintf(name, sizeof(name), "f%d", i);
        if (test_random(&seed) % 16 == 0) {
            byte[i] = (char)('a' + test_random(&seed) % 26);
            size[i] = sizes[test_random(&seed) % 5];
            put_file("tmp", byte[i], size[i]);
            CHECK_EQ(renameat2(AT_FDCWD, in_root("tmp"), files.root_fd, name, 0), 0);
        }
        if (test_random(&seed) % 500 == 0)
            mm_respcache_trim(&cache, (unsigned)(test_random(&seed) % 100));
        if (test_random(&seed) % 100 == 0) mm_respcache_forget(&cache, mm_slice_from_string(name));
        file = open_file(name);
        response = mm_respcache_get(&cache, mm_slice_from_string(name), file);
        if (response == NULL) {
            mm_status status = mm_respcache_put(&cache, mm_slice_from_string(name), file,
                                                mm_slice_from_string("h"), NULL, &response);
            CHECK(status == MM_STATUS_OK || (status == MM_STATUS_LIMIT && response == NULL));
        }
        mm_file_release(file);
        if (response == NULL) continue;
        if (holds[slot].response != NULL) {
            for (at = 0; at < holds[slot].size; at++)
                CHECK(holds[slot].response->body.ptr[at] == holds[slot].byte);
            mm_response_release(holds[slot].response);
        }
        CHECK_EQ(response->body.len, size[i]);
        CHECK(size[i] == 0 || response->body.ptr[size[i] - 1] == byte[i]);
        holds[slot].response = response;
        holds[slot].byte = byte[i];
        holds[slot].size = size[i];
        if (step % 8 == 0) CHECK(mm_respcache_check(&cache));
    }
    CHECK(cache.stats.hits > STEPS / 10 && cache.stats.changed > STEPS / 200);
    for (i = 0; i < HOLDS; i++)
        if (holds[i].response != NULL) mm_response_release(holds[i].response);
    for (i = 0; i < KEYS; i++) {
        char name[24];
        snprintf(name, sizeof(name), "f%d", i);
        unlink(in_root(name));
    }
    CHECK_SUB(end_cache());
}

/* ---- maps ---- */

static mm_mapcache maps;

static void begin_maps(int64_t max_total, int64_t max_file, size_t max_count)
{
    mm_mapcache_desc of_maps;
    begin();
    memset(&of_maps, 0, sizeof(of_maps));
    of_maps.pool = &pool;
    of_maps.max_total = max_total;
    of_maps.max_file = max_file;
    of_maps.min_file = 1;
    of_maps.max_count = max_count;
    CHECK_EQ(mm_chunk_views_begin(), MM_STATUS_OK);
    CHECK_EQ(mm_mapcache_init(&maps, &of_maps), MM_STATUS_OK);
}

static void end_maps(void)
{
    CHECK_EQ(mm_mapcache_deinit(&maps), 0);
    mm_chunk_views_end();
    CHECK_SUB(end());
}

static mm_status map_once(const char *name)
{
    mm_file *file = open_file(name);
    mm_filemap map;
    mm_status status = mm_mapcache_get(&maps, file, &map);
    mm_file_release(file);
    if (status != MM_STATUS_OK) return status;
    if (map.bytes.ptr[map.bytes.len - 1] != 'm') test_fail(__FILE__, __LINE__, "byte");
    return mm_mapcache_put(&maps, &map);
}

TEST(maps_are_bounded_and_shared)
{
    mm_file *file;
    mm_filemap one, two, three;
    char name[24];
    int i;
    CHECK_SUB(begin_maps(50000, 20000, 4));
    for (i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        put_file(name, 'm', 10000);
    }
    put_file("large", 'm', 20001);
    put_file("empty", 'm', 0);
    CHECK_EQ(map_once("large"), MM_STATUS_LIMIT);
    CHECK_EQ(map_once("empty"), MM_STATUS_LIMIT);
    CHECK_EQ(map_once(""), MM_STATUS_LIMIT);
    file = open_file("m0");
    CHECK_EQ(mm_mapcache_get(&maps, file, &one), MM_STATUS_OK);
    CHECK_EQ(mm_mapcache_get(&maps, file, &two), MM_STATUS_OK);
    CHECK(one.bytes.ptr == two.bytes.ptr && one.bytes.len == 10000 && maps.stats.hits == 1);
    mm_file_release(file);
    for (i = 1; i < 10; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        CHECK_EQ(map_once(name), MM_STATUS_OK);
        CHECK(maps.stats.entries <= 4 && maps.stats.bytes <= 50000);
    }
    CHECK_EQ(mm_mapcache_put(&maps, &two), MM_STATUS_OK);
    mm_mapcache_trim(&maps, 0);
    CHECK_EQ(maps.stats.entries, 1); /* what is looked at stays */
    CHECK_EQ(mm_mapcache_deinit(&maps), 1);
    CHECK(one.bytes.ptr[9999] == 'm');
    CHECK_EQ(mm_mapcache_put(&maps, &one), MM_STATUS_OK);
    put_file("m1", 'm', 20000);
    put_file("m2", 'm', 20000);
    put_file("m3", 'm', 20000);
    file = open_file("m1");
    CHECK_EQ(mm_mapcache_get(&maps, file, &one), MM_STATUS_OK);
    mm_file_release(file);
    file = open_file("m2");
    CHECK_EQ(mm_mapcache_get(&maps, file, &two), MM_STATUS_OK);
    mm_file_release(file);
    file = open_file("m3");
    CHECK_EQ(mm_mapcache_get(&maps, file, &three), MM_STATUS_LIMIT); /* 60,000 */
    mm_file_release(file);
    CHECK_EQ(mm_mapcache_put(&maps, &one), MM_STATUS_OK);
    CHECK_EQ(map_once("m3"), MM_STATUS_OK);
    CHECK_EQ(mm_mapcache_put(&maps, &two), MM_STATUS_OK);
    CHECK_SUB(end_maps());
}

TEST(a_mapped_file_may_shrink)
{
    mm_file *file;
    mm_filemap map;
    CHECK_SUB(begin_maps(0, 0, 0));
    put_file("page", 'm', 100000);
    file = open_file("page");
    CHECK_EQ(mm_mapcache_get(&maps, file, &map), MM_STATUS_OK);
    CHECK_EQ(truncate(in_root("page"), 10), 0);
    CHECK_EQ(map.bytes.ptr[99999], 0); /* no SIGBUS */
    CHECK_EQ(mm_mapcache_put(&maps, &map), MM_STATUS_TRUNCATED);
    CHECK_EQ(mm_mapcache_get(&maps, file, &map), MM_STATUS_TRUNCATED);
    mm_file_release(file);
    put_file("page", 'm', 200000);
    CHECK_EQ(map_once("page"), MM_STATUS_OK);
    CHECK(maps.stats.entries == 1 && files.stats.open == 1); /* the old one has gone */
    CHECK_SUB(end_maps());
}

TEST(every_fault_of_a_map)
{
    size_t n;
    put_file("page", 'm', 100000);
    for (n = 1; n < 6; n++) {
        CHECK_SUB(begin_maps(0, 0, 0));
        test_allocator_fail(&memory, n, 1);
        if (map_once("page") != MM_STATUS_OK) CHECK_EQ(maps.stats.entries, 0);
        test_allocator_fail(&memory, 0, 0);
        CHECK_EQ(map_once("page"), MM_STATUS_OK);
        CHECK_SUB(end_maps());
        CHECK_SUB(begin_maps(0, 0, 0));
        CHECK_EQ(map_once("page"), MM_STATUS_OK);
        mm_mapcache_trim(&maps, 0);
        shim.calls = 0;
        shim.error = n == 3 ? ENOMEM : EIO;
        shim.fail_at = n;
        (void)map_once("page");
        shim.fail_at = 0;
        CHECK_EQ(map_once("page"), MM_STATUS_OK);
        CHECK_SUB(end_maps());
    }
    {
        mm_mapcache_desc bad;
        memset(&bad, 0, sizeof(bad));
        bad.pool = &pool;
        bad.max_total = -1;
        CHECK_EQ(mm_mapcache_init(&maps, &bad), MM_STATUS_INVALID);
        bad.max_total = 0;
        bad.max_file = INT64_MIN;
        CHECK_EQ(mm_mapcache_init(&maps, &bad), MM_STATUS_INVALID);
    }
    clean_up();
}

TEST_MAIN(T(small_ranges_are_read_large_ones_referred_to),
          T(a_file_that_changes_is_not_read_as_whole), T(every_fault_of_a_read),
          T(a_response_is_sent_without_a_copy), T(a_response_of_another_file_is_none),
          T(what_is_too_large_is_refused), T(the_marks_are_kept_to),
          T(a_scan_passes_by_what_is_in_demand), T(pressure_and_budgets_make_it_smaller),
          T(every_allocation_and_call_of_a_response_fails), T(responses_against_the_files),
          T(maps_are_bounded_and_shared), T(a_mapped_file_may_shrink), T(every_fault_of_a_map))
