/* mm_chunk.h: a model test against flat byte strings, every call and allocation failing, and the
   defects of other chunk queues as cases. */
#ifndef MM_CHUNK_NO_NOWAIT /* chunk_portable.c has no views either */
#define MM_CHUNK_VIEWS
#endif
#include "../chunk_model.h"

/* ---- cases ---- */

static mm_status make_pool(mm_chunk_pool *pool, test_allocator *a, size_t chunk_size,
                           int64_t file_size)
{
    const char *dirs[1];
    mm_chunk_pool_desc desc;
    fixture();
    shim_reset();
    dirs[0] = dir;
    memset(&desc, 0, sizeof(desc));
    desc.chunk_size = chunk_size;
    desc.temp_dirs = dirs;
    desc.temp_dir_count = 1;
    desc.temp_file_size = file_size;
    if (a != NULL) {
        test_allocator_init(a);
        desc.allocator = &a->base;
    }
    return mm_chunk_pool_init(pool, &desc);
}

TEST(empty_queue)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    const char *data;
    char scratch[4];
    size_t got = 9;
    mm_status status;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    CHECK(mm_chunkqueue_is_empty(&q) && mm_chunkqueue_check(&q));
    CHECK_EQ(mm_chunkqueue_append_mem(&q, NULL, 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 1), MM_STATUS_INVALID);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, -1), MM_STATUS_INVALID);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_peek(&q, scratch, 4, &data, &got), MM_STATUS_OK);
    CHECK_EQ(got, 0);
    CHECK_EQ(mm_chunkqueue_read(&q, scratch, 1), MM_STATUS_INVALID);
    CHECK_STR(mm_chunkqueue_contiguous(&q, 0, &status), "");
    CHECK(mm_chunkqueue_contiguous(&q, 1, &status) == NULL && status == MM_STATUS_INVALID);
    CHECK_EQ(mm_chunkqueue_spill(&q), MM_STATUS_OK);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

TEST(pool_desc_is_checked)
{
    mm_chunk_pool pool;
    mm_chunk_pool_desc desc;
    test_allocator a;
    memset(&desc, 0, sizeof(desc));
    desc.chunk_size = ((size_t)1 << 30) + 1;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_INVALID);
    desc.chunk_size = SIZE_MAX;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_INVALID);
    desc.chunk_size = 1;
    desc.temp_file_size = -1;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_INVALID);
    desc.temp_file_size = 0;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_OK);
    CHECK_EQ(pool.chunk_size, 1024);
    CHECK(pool.temp_dir_count >= 2);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    test_allocator_init(&a);
    desc.allocator = &a.base;
    for (test_allocator_fail(&a, 1, 0); mm_chunk_pool_init(&pool, &desc) != MM_STATUS_OK;
         test_allocator_fail(&a, a.fail_at + 1, 0)) {
        CHECK_EQ(a.live_blocks, 0);
        CHECK(a.fail_at < 20);
    }
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(a.live_blocks, 0);
    CHECK_EQ(a.bad_sizes, 0);
}

/* CVE-2010-0295: every byte that arrived alone took a chunk of its own. */
TEST(one_byte_a_million_times)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    test_allocator a;
    int i;
    CHECK_EQ(make_pool(&pool, &a, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    for (i = 0; i < 1000000; i++) mm_chunkqueue_append_mem(&q, "x", 1);
    CHECK_EQ(mm_chunkqueue_length(&q), 1000000);
    CHECK(a.live_bytes < 1000000 + 100000);
    mm_chunkqueue_reset(&q);
    mm_chunk_pool_trim(&pool, 0);
    for (i = 0; i < 1000000; i++) {
        size_t size;
        char *to = mm_chunkqueue_get_memory(&q, 2048, &size);
        CHECK(to != NULL && size >= 2048);
        to[0] = 'x';
        mm_chunkqueue_use_memory(&q, 1);
    }
    CHECK_EQ(mm_chunkqueue_length(&q), 1000000);
    CHECK(a.live_bytes < 1500000); /* each chunk at least three quarters full */
    CHECK(mm_chunkqueue_check(&q));
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(a.live_blocks, 0);
}

TEST(pooled_chunk_stays_its_size)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    char bytes[8192];
    memset(bytes, 'b', sizeof(bytes));
    CHECK_EQ(make_pool(&pool, NULL, 8192, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_append_mem(&q, bytes, sizeof(bytes));
    CHECK_EQ(pool.stats.memory, 8192);
    mm_chunkqueue_append_mem(&q, bytes, 1);
    CHECK_EQ(pool.stats.memory, 16384);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(pool.stats.memory, 0);
    CHECK_EQ(mm_chunk_pool_get_stats(&pool).cached, 16384);
    mm_chunk_pool_trim(&pool, 8192);
    CHECK_EQ(mm_chunk_pool_get_stats(&pool).cached, 8192);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

TEST(free_memory_is_bounded)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    test_allocator a;
    static char bytes[1 << 20];
    int i;
    CHECK_EQ(make_pool(&pool, &a, 1024, 0), MM_STATUS_OK);
    pool.regular.keep = 10000;
    pool.oversized.keep = 9000;
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_append_mem(&q, bytes, sizeof(bytes));
    for (i = 0; i < 1000; i++) mm_chunkqueue_append_exact(&q, bytes, 1024);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(pool.oversized.bytes, 2 * 4096);
    CHECK_EQ(pool.regular.bytes, 9 * 1024);
    CHECK_EQ(mm_chunk_pool_get_stats(&pool).cached, 2 * 4096 + 9 * 1024);
    CHECK(a.live_bytes < 2 * 4096 + 9 * 1024 + 16384 + pool.files.keep);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(a.live_blocks, 0);
}

TEST(buffers_move_or_copy)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    mm_buffer b = {0};
    char on_stack[4096];
    const char *memory;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_buffer_append_string(&b, "small");
    memory = b.ptr;
    CHECK_EQ(mm_chunkqueue_append_buffer(&q, &b), MM_STATUS_OK);
    CHECK(b.ptr == memory && mm_buffer_is_blank(&b));
    mm_buffer_append(&b, file_bytes, 3000);
    memory = b.ptr;
    CHECK_EQ(mm_chunkqueue_append_buffer(&q, &b), MM_STATUS_OK);
    CHECK(b.ptr == NULL && q.last->source->mem.ptr == memory);
    CHECK_EQ(mm_chunkqueue_length(&q), 3005);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "tail", 4), MM_STATUS_OK); /* fills the moved block */
    CHECK(q.last->source->mem.ptr == memory);
    mm_buffer_init_memory(&b, on_stack, sizeof(on_stack), NULL);
    mm_buffer_append(&b, file_bytes, 3000);
    CHECK_EQ(mm_chunkqueue_append_buffer(&q, &b), MM_STATUS_OK); /* not the queue's to keep */
    CHECK(b.ptr == on_stack && mm_buffer_is_blank(&b));
    CHECK_EQ(mm_chunkqueue_length(&q), 6009);
    CHECK(mm_chunkqueue_check(&q));
    mm_buffer_deinit(&b);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

/* lighttpd copies the memory of a chunk that is split, and dups its descriptor. */
TEST(split_shares_the_bytes)
{
    mm_chunk_pool pool;
    mm_chunkqueue a, b;
    int fd;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&a, &pool);
    mm_chunkqueue_init(&b, &pool);
    mm_chunkqueue_append_mem(&a, "0123456789", 10);
    CHECK_EQ(mm_chunkqueue_steal(&b, &a, 4), MM_STATUS_OK);
    CHECK(a.first->source == b.first->source && a.first->source->refs == 2);
    CHECK_EQ(mm_chunkqueue_append_mem(&b, "bb", 2), MM_STATUS_OK); /* must not overwrite '4' */
    CHECK_EQ(mm_chunkqueue_append_mem(&a, "aa", 2), MM_STATUS_OK);
    CHECK_SUB(check_content(&b, "0123bb", 6));
    CHECK_SUB(check_content(&a, "456789aa", 8));
    fd = shim_open(file_path, O_RDONLY, 0);
    CHECK_EQ(mm_chunkqueue_append_fd(&a, fd, 0, 100), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_steal(&b, &a, 50), MM_STATUS_OK);
    CHECK_EQ(shim.open_fds, 1);
    mm_chunkqueue_reset(&b);
    CHECK_EQ(shim.open_fds, 1);
    CHECK_SUB(check_content(&a, file_bytes + 42, 58));
    mm_chunkqueue_reset(&a);
    CHECK_EQ(shim.open_fds, 0);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

/* lighttpd's steal of 0 bytes with a file at the head corrupts the destination. */
TEST(steal_nothing)
{
    mm_chunk_pool pool;
    mm_chunkqueue a, b;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&a, &pool);
    mm_chunkqueue_init(&b, &pool);
    mm_chunkqueue_append_file(&a, file_path, 10, 20);
    CHECK_EQ(mm_chunkqueue_steal(&b, &a, 0), MM_STATUS_OK);
    CHECK(b.first == NULL && b.last == NULL && mm_chunkqueue_check(&a));
    CHECK_EQ(mm_chunkqueue_steal(&b, &a, 21), MM_STATUS_INVALID);
    CHECK_EQ(mm_chunkqueue_steal(&b, &a, -1), MM_STATUS_INVALID);
    CHECK_EQ(mm_chunkqueue_steal(&b, &a, 20), MM_STATUS_OK);
    CHECK(a.first == NULL && a.last == NULL);
    CHECK_SUB(check_content(&b, file_bytes + 10, 20));
    mm_chunkqueue_deinit(&b);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

static int ref_count;
static void count_refs(void *ref, int change)
{
    *(int *)ref += change;
}

TEST(file_ranges_and_ownership)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    int fd;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    fd = shim_open(file_path, O_RDONLY, 0);
    CHECK_EQ(mm_chunkqueue_append_fd_ref(&q, fd, 5, 0, count_refs, &ref_count), MM_STATUS_OK);
    CHECK_EQ(ref_count, 0);
    CHECK_EQ(mm_chunkqueue_append_fd_ref(&q, fd, 5, 7, count_refs, &ref_count), MM_STATUS_OK);
    CHECK_EQ(ref_count, 1);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 7), MM_STATUS_OK);
    CHECK_EQ(ref_count, 0);
    CHECK_EQ(mm_chunkqueue_append_fd(&q, fd, -1, 7), MM_STATUS_INVALID);
    q.status = MM_STATUS_OK;
    CHECK_EQ(mm_chunkqueue_append_fd(&q, fd, 1, INT64_MAX), MM_STATUS_TOO_LARGE);
    q.status = MM_STATUS_OK;
    CHECK_EQ(shim.open_fds, 1); /* still ours after a failure */
    CHECK_EQ(mm_chunkqueue_append_fd(&q, fd, 0, 0), MM_STATUS_OK);
    CHECK_EQ(shim.open_fds, 0);
    CHECK(mm_chunkqueue_is_empty(&q));
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "x", 1), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_file(&q, file_path, 0, INT64_MAX - 7), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "y", 1), MM_STATUS_TOO_LARGE); /* sticky */
    CHECK_EQ(mm_chunkqueue_length(&q), 1);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

TEST(file_by_name_fails_when_it_is_needed)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    char bytes[8];
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_append_file(&q, "/nowhere/at/all", 0, 5);
    CHECK_EQ(mm_chunkqueue_read(&q, bytes, 5), MM_STATUS_NOT_FOUND);
    CHECK_EQ(mm_chunkqueue_length(&q), 5);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_append_file(&q, dir, 0, 5);
    CHECK_EQ(mm_chunkqueue_read(&q, bytes, 5), MM_STATUS_DENIED);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_append_file(&q, file_path, FILE_SIZE - 4, 5);
    CHECK_EQ(mm_chunkqueue_read(&q, bytes, 5), MM_STATUS_TRUNCATED);
    mm_chunkqueue_reset(&q);
    shim_fail(1, 0, EMFILE);
    mm_chunkqueue_append_file(&q, file_path, 0, 5);
    CHECK_EQ(mm_chunkqueue_read(&q, bytes, 5), MM_STATUS_NO_FILES);
    CHECK_EQ(mm_chunkqueue_read(&q, bytes, 5), MM_STATUS_OK); /* tried again */
    CHECK(memcmp(bytes, file_bytes, 5) == 0);
    CHECK_EQ(shim.open_fds, 0);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

/* lighttpd's peek goes on with the next chunk after a short read, shifting the bytes. */
TEST(peek_never_skips)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    char path[80], scratch[64];
    const char *data;
    size_t got;
    int fd;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    snprintf(path, sizeof(path), "%s/short", dir);
    fd = open(path, O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10);
    unlink(path);
    shim.open_fds++;
    mm_chunkqueue_append_mem(&q, "<", 1);
    CHECK_EQ(mm_chunkqueue_append_fd(&q, fd, 0, 10), MM_STATUS_OK);
    mm_chunkqueue_append_mem(&q, ">", 1);
    shim.most = 3;
    CHECK_SUB(check_content(&q, "<0123456789>", 12));
    CHECK_EQ(ftruncate(fd, 4), 0);
    CHECK_EQ(mm_chunkqueue_peek(&q, scratch, sizeof(scratch), &data, &got), MM_STATUS_OK);
    CHECK(got == 5 && memcmp(data, "<0123", 5) == 0);
    CHECK_EQ(mm_chunkqueue_read(&q, scratch, 12), MM_STATUS_TRUNCATED);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 5), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_peek(&q, scratch, sizeof(scratch), &data, &got), MM_STATUS_TRUNCATED);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(shim.open_fds, 0);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

TEST(spill_keeps_the_order)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    char expected[6000];
    size_t i, length = 0;
    CHECK_EQ(make_pool(&pool, NULL, 1024, 2500), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_set_spill(&q, 700);
    for (i = 0; i < 60; i++) {
        CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes + i * 90, 90), MM_STATUS_OK);
        memcpy(expected + length, file_bytes + i * 90, 90);
        length += 90;
        CHECK(q.memory <= 700 && mm_chunkqueue_check(&q));
    }
    CHECK_SUB(check_content(&q, expected, length));
    CHECK(pool.stats.temp_opened >= 2); /* a new file each 2500 bytes */
    CHECK(pool.stats.chunks < 8);       /* neighbours have become one */
    CHECK_EQ(shim.open_fds, (int)pool.stats.temp_files);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(shim.open_fds, 0);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

TEST(named_temp_files_leave_no_name)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    shim.no_tmpfile = 1;
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_set_spill(&q, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "on disk", 7), MM_STATUS_OK);
    CHECK_EQ(q.memory, 0);
    CHECK_SUB(check_content(&q, "on disk", 7));
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(unlink(file_path), 0);
    CHECK_EQ(rmdir(dir), 0); /* nothing is in it */
    file_path[0] = '\0';
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
}

TEST(full_directory_falls_over_to_the_next)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    mm_chunk_pool_desc desc;
    const char *dirs[2] = {"/nowhere/at/all", NULL};
    fixture();
    shim_reset();
    dirs[1] = dir;
    memset(&desc, 0, sizeof(desc));
    desc.temp_dirs = dirs;
    desc.temp_dir_count = 2;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_set_spill(&q, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "abc", 3), MM_STATUS_OK);
    shim_fail(1, 0, ENOSPC); /* the file that is open is full; a new one takes it */
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "def", 3), MM_STATUS_OK);
    CHECK_EQ(pool.stats.temp_files, 2);
    CHECK_SUB(check_content(&q, "abcdef", 6));
    shim_fail(1, 1, ENOSPC);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "ghi", 3), MM_STATUS_NO_SPACE);
    shim_reset();
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "ghi", 3), MM_STATUS_NO_SPACE); /* sticky */
    CHECK_SUB(check_content(&q, "abcdef", 6));
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

/* What fitted of a refused spill must not keep the disk full. */
TEST(refused_spill_gives_the_disk_back)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    struct stat st;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_set_spill(&q, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 100), MM_STATUS_OK);
    shim.most = 1000;
    shim_fail(3, 1, ENOSPC);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 5000), MM_STATUS_NO_SPACE);
    CHECK_EQ(shim.truncated, 1);
    CHECK_EQ(fstat(q.first->source->fd, &st), 0);
    CHECK_EQ(st.st_size, 100);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

/* A full disk is what the caller can do something about, not the folder that is missing behind
   it. */
TEST(full_disk_is_what_is_told)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    mm_chunk_pool_desc desc;
    const char *dirs[2] = {NULL, "/nowhere/at/all"};
    fixture();
    shim_reset();
    dirs[0] = dir;
    memset(&desc, 0, sizeof(desc));
    desc.temp_dirs = dirs;
    desc.temp_dir_count = 2;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_set_spill(&q, 0);
    shim_fail(2, 0, ENOSPC);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "abc", 3), MM_STATUS_NO_SPACE);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    desc.temp_dirs = dirs + 1;
    desc.temp_dir_count = 1;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_set_spill(&q, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "abc", 3), MM_STATUS_IO);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

TEST(half_a_buffer_is_not_appended)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    mm_buffer b = {0};
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_buffer_append_string(&b, "the first half");
    CHECK_EQ(mm_buffer_append(&b, "", SIZE_MAX), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_chunkqueue_append_buffer(&q, &b), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_chunkqueue_status(&q), MM_STATUS_TOO_LARGE);
    CHECK(mm_chunkqueue_is_empty(&q) && mm_buffer_length(&b) == 14);
    mm_buffer_deinit(&b);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

/* ---- sweeps: the n-th allocation or call fails, for all n, once and for ever ---- */

/* Appends and spills; the queue must hold exactly what the calls that succeeded have appended. */
static void spill_scenario(mm_chunkqueue *q, char *expected, size_t *length)
{
    size_t i;
    mm_chunkqueue_set_spill(q, 2000);
    for (i = 0; i < 20; i++) {
        size_t size = 100 + i * 67;
        if (mm_chunkqueue_append_mem(q, file_bytes + *length, size) == MM_STATUS_OK)
            *length += size;
        q->status = MM_STATUS_OK;
        memcpy(expected, file_bytes, *length);
        CHECK(mm_chunkqueue_check(q));
        CHECK_EQ(mm_chunkqueue_length(q), *length);
    }
}

static void sweep_once(size_t n, int for_ever, int error, int memory, int *faults)
{
    static char expected[FILE_SIZE];
    mm_chunk_pool pool;
    mm_chunkqueue q;
    test_allocator a;
    size_t length = 0;
    CHECK_EQ(make_pool(&pool, &a, 1024, 3000), MM_STATUS_OK);
    pool.regular.keep = 0;   /* every chunk is allocated anew */
    shim.most = 333; /* several writes for each spill */
    mm_chunkqueue_init(&q, &pool);
    if (memory) test_allocator_fail(&a, n, for_ever);
    else shim_fail(n, for_ever, error);
    CHECK_SUB(spill_scenario(&q, expected, &length));
    *faults = memory ? a.failures > 0 : shim.calls >= n;
    shim_fail(0, 0, 0);
    test_allocator_fail(&a, 0, 0);
    CHECK_SUB(check_content(&q, expected, length));
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "works again", 11), MM_STATUS_OK);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(a.live_blocks, 0);
    CHECK_EQ(a.bad_sizes, 0);
    CHECK_EQ(shim.open_fds, 0);
}

TEST(every_call_of_a_spill_fails)
{
    static const int errors[] = {ENOSPC, EIO, EMFILE, EINTR, EDQUOT, EACCES};
    size_t e, n, points = 0;
    int for_ever, faults;
    for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++)
        for (for_ever = 0; for_ever < (errors[e] == EINTR ? 1 : 2); for_ever++)
            for (n = 1, faults = 1; faults; n++, points++)
                CHECK_SUB(sweep_once(n, for_ever, errors[e], 0, &faults));
    CHECK(points > 500);
}

TEST(every_allocation_of_a_spill_fails)
{
    size_t n, points = 0;
    int for_ever, faults;
    for (for_ever = 0; for_ever < 2; for_ever++)
        for (n = 1, faults = 1; faults; n++, points++)
            CHECK_SUB(sweep_once(n, for_ever, 0, 1, &faults));
    CHECK(points > 20);
}

/* ---- model ---- */

static size_t model_random(model *m, size_t below)
{
    return (size_t)(test_random(&m->random) % below);
}

static void model_run(uint64_t seed, int faults)
{
    static model m;
    size_t step;
    CHECK_SUB(model_begin(&m));
    m.next = model_random;
    m.random = seed;
    shim.most = 1 + (size_t)(seed % 700);
    for (step = 0; step < 3000; step++) CHECK_SUB(model_step(&m, faults));
    CHECK_SUB(model_end(&m));
}

TEST(model_holds)
{
    uint64_t seed;
    for (seed = 1; seed <= 4; seed++) CHECK_SUB(model_run(seed * 7919, 0));
    for (seed = 1; seed <= 8; seed++) CHECK_SUB(model_run(seed * 104729, 1));
}

TEST(deinit_refuses_while_chunks_are_out)
{
    mm_chunk_pool pool;
    mm_chunkqueue q;
    CHECK_EQ(make_pool(&pool, NULL, 0, 0), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_append_mem(&q, "x", 1);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 1);
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

/* ---- the pool ---- */

static mm_chunk_pool pool;
static mm_chunkqueue q, q2;
static test_allocator memory;

/* A pool and two queues, to be ended by end(). */
static void begin(size_t chunk_size, int64_t file_size)
{
    if (make_pool(&pool, &memory, chunk_size, file_size) != MM_STATUS_OK) abort();
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_init(&q2, &pool);
}

static void end(void)
{
    CHECK(mm_chunkqueue_check(&q) && mm_chunkqueue_check(&q2) && mm_chunk_pool_check(&pool));
    mm_chunkqueue_deinit(&q);
    mm_chunkqueue_deinit(&q2);
    CHECK_EQ(pool.stats.memory, 0);
    CHECK_EQ(pool.stats.temp_live, 0);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    CHECK_EQ(shim.open_fds, 0);
    CHECK_EQ(shim.dirs, 0);
}

/* Fills n regular blocks and drains them. */
static void use_regular(size_t n)
{
    static mm_chunk_span spans[256];
    CHECK_EQ(mm_chunkqueue_get_spans(&q, n * pool.chunk_size, spans, 256), n);
    mm_chunkqueue_use_memory(&q, n * pool.chunk_size);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, (int64_t)(n * pool.chunk_size)), MM_STATUS_OK);
}

/* What an append fills, or a growing queue fills in time, is not cut into regular chunks. */
TEST(large_appends_take_large_blocks)
{
    static char bytes[70000];
    mm_chunk_pool huge;
    int i;
    begin(8192, 0);
    mm_chunkqueue_append_mem(&q, bytes, 16384);
    CHECK(q.first == q.last && pool.stats.memory == 16384);
    mm_chunkqueue_append_mem(&q, bytes, 16384 + 8192);
    CHECK_EQ(pool.stats.memory, 16384 + 16384 + 8192);
    mm_chunkqueue_append_mem(&q, bytes, 70000);
    CHECK(mm_chunkqueue_check(&q));
    mm_chunkqueue_reset(&q);
    CHECK_EQ(pool.held, pool.stats.chunks_peak);
    CHECK(mm_chunk_pool_check(&pool));
    mm_chunk_pool_trim(&pool, 0);
    for (i = 0; i < 1024; i++) {
        mm_chunkqueue_append_mem(&q, bytes, 1024);
        CHECK((int64_t)pool.stats.memory <= 8192 + mm_chunkqueue_length(&q) * 5 / 4);
    }
    CHECK(pool.stats.chunks < 45 && mm_chunkqueue_check(&q));
    mm_chunkqueue_reset(&q);
    for (i = 0; i < 100; i++) { /* nothing grows between the chunks of others */
        mm_chunkqueue_append_mem(&q, "header", 6);
        mm_chunkqueue_append_file(&q, file_path, 0, 1000);
        mm_chunkqueue_append_reference(&q, bytes, 20000, NULL, NULL);
    }
    CHECK_EQ(pool.stats.memory, 100 * 8192);
    mm_chunkqueue_reset(&q);
    memset(&huge, 0, sizeof(huge));
    huge.chunk_size = (size_t)1 << 30;
    CHECK_EQ(mmi_chunk_fitting(&huge, SIZE_MAX, 0), huge.chunk_size);
    huge.chunk_size = (size_t)1 << 28;
    CHECK_EQ(mmi_chunk_fitting(&huge, SIZE_MAX, 0), (size_t)1 << 30);
    CHECK_SUB(end());
}

/* A block and its structure lie ready together, and part where only one of them is wanted. */
TEST(structures_lie_ready_with_blocks)
{
    mm_chunk_pool_stats stats;
    mm_buffer b = {0};
    begin(1024, 0);
    CHECK_SUB(use_regular(3));
    CHECK_EQ(pool.held, 3);
    stats = mm_chunk_pool_get_stats(&pool);
    CHECK(stats.cached == 3 * 1024 && stats.cached_files == 3 * sizeof(mm_chunk));
    CHECK_EQ(mm_chunk_buffer_acquire(&pool, &b, 100), MM_STATUS_OK); /* only the block */
    CHECK(pool.held == 2 && pool.files.bytes == sizeof(mm_chunk));
    mm_chunkqueue_append_file(&q, file_path, 0, 10); /* only the structure */
    CHECK(pool.held == 2 && pool.files.bytes == 0);
    mm_chunkqueue_append_mem(&q, "both", 4);
    CHECK(pool.held == 1 && mm_chunk_pool_check(&pool));
    mm_chunk_buffer_release(&pool, &b);
    CHECK(pool.held == 1 && pool.regular.bytes == 2 * 1024);
    mm_chunk_pool_trim(&pool, 2 * 1024); /* structures go first */
    CHECK(pool.held == 0 && pool.regular.bytes == 2 * 1024 && mm_chunk_pool_check(&pool));
    mm_chunkqueue_reset(&q);
    CHECK(pool.held == 1 && pool.regular.bytes == 3 * 1024);
    CHECK_EQ(mm_chunk_pool_reclaim(1, &pool), sizeof(mm_chunk));
    CHECK_EQ(mm_chunk_pool_reclaim(SIZE_MAX, &pool), 3 * 1024 + sizeof(mm_chunk));
    CHECK_SUB(end());
}

/* What one connection had in memory, the next one does not find there. */
TEST(memory_is_wiped_on_request)
{
    mm_chunk_pool_desc desc;
    mm_buffer b = {0};
    size_t size, i;
    char *to;
    memset(&desc, 0, sizeof(desc));
    desc.wipe = true;
    test_allocator_init(&memory);
    desc.allocator = &memory.base;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_init(&q2, &pool);
    to = mm_chunkqueue_get_memory(&q, 8192, &size);
    CHECK(to != NULL && size == 8192);
    memset(to, 's', size);
    mm_chunkqueue_use_memory(&q, 100); /* more than that was written */
    mm_chunkqueue_append_exact(&q, file_bytes, 500); /* freed, not kept */
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_chunk_buffer_acquire(&pool, &b, 100), MM_STATUS_OK);
#ifndef MM_VALGRIND /* to which the bytes are undefined */
    to = b.ptr;
    MM_TRACK_UNPOISON(to, b.size);
    for (i = 0; i < b.size; i++) CHECK(i < sizeof(mmi_unused) || to[i] == 0);
#endif
    mm_buffer_clear(&b);
    mm_buffer_append(&b, file_bytes, 8000);
    mm_chunk_buffer_release(&pool, &b);
    to = mm_chunkqueue_get_memory(&q, 8192, &size);
    CHECK(to != NULL);
#ifndef MM_VALGRIND
    for (i = 0; i < size; i++) CHECK(i < sizeof(mmi_unused) || to[i] == 0);
#else
    (void)i;
#endif
    mm_chunkqueue_use_memory(&q, 0);
    CHECK_SUB(end());
}

/* The counts that the header states, in bytes per byte. */
TEST(copies_are_what_the_header_says)
{
    static char to[20000];
    mm_buffer b = {0};
    mm_status status;
    size_t size;
    uint64_t before;
    begin(8192, 0);
    mm_chunkqueue_append_mem(&q, file_bytes, 1000);
    CHECK_EQ(pool.stats.copied, 1000);
    mm_chunkqueue_append_exact(&q, file_bytes, 1000);
    CHECK_EQ(pool.stats.copied, 2000);
    mm_buffer_append(&b, file_bytes, 3000);
    mm_chunkqueue_append_buffer(&q, &b);
    mm_chunkqueue_append_reference(&q, file_bytes, 5000, NULL, NULL);
    mm_chunkqueue_append_file(&q, file_path, 0, 1000);
    CHECK(mm_chunkqueue_get_memory(&q, 2000, &size) != NULL);
    memset(q.reserved->own.mem.ptr, 'r', 2000);
    mm_chunkqueue_use_memory(&q, 2000);
    mm_chunkqueue_append_queue(&q2, &q);
    CHECK_EQ(mm_chunkqueue_steal(&q, &q2, 7777), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q, &q2, 100, 900), MM_STATUS_OK);
    mm_chunkqueue_append_queue(&q, &q2);
    CHECK_EQ(pool.stats.copied, 2000); /* no more, up to here */
    CHECK_EQ(mm_chunkqueue_spill(&q), MM_STATUS_OK);
    CHECK_EQ(pool.stats.copied, 2000);
    mm_chunkqueue_set_spill(&q, 4000);
    mm_chunkqueue_append_mem(&q, file_bytes, 16384);
    CHECK(pool.stats.copied == 2000 && q.memory == 0);
    mm_chunkqueue_set_spill(&q, INT64_MAX);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_append_mem(&q, file_bytes, 9000);
    before = pool.stats.copied;
    CHECK(mm_chunkqueue_contiguous(&q, 8000, &status) != NULL);
    CHECK_EQ(pool.stats.copied, before);
    CHECK_EQ(mm_chunkqueue_read(&q, to, 9000), MM_STATUS_OK);
    CHECK_EQ(pool.stats.copied, before + 9000);
    CHECK_SUB(end());
}

/* lighttpd's list of regular chunks has no bound, and all lists are dropped once a minute. */
TEST(kept_memory_decays)
{
    size_t size;
    int i;
    begin(1024, 0);
    CHECK_SUB(use_regular(100));
    CHECK_EQ(pool.regular.bytes, 100 * 1024);
    CHECK_EQ(pool.held, 100); /* each with its structure */
    CHECK_EQ(mm_chunk_pool_decay(&pool), 0); /* all of it was in use since the last time */
    for (i = 0; i < 20; i++) {
        size_t before = pool.regular.bytes;
        CHECK_SUB(use_regular(4)); /* the rest is not needed */
        (void)mm_chunk_pool_decay(&pool);
        CHECK(pool.regular.bytes <= before && pool.regular.bytes >= 4 * 1024);
        CHECK(mm_chunk_pool_check(&pool));
    }
    CHECK_EQ(pool.regular.bytes, 4 * 1024);
    for (i = 0; i < 20; i++) (void)mm_chunk_pool_decay(&pool);
    CHECK_EQ(mm_chunk_pool_get_stats(&pool).cached, 0);
    CHECK(mm_chunkqueue_get_memory(&q, 9000, &size) != NULL);
    mm_chunkqueue_use_memory(&q, 0);
    CHECK_EQ(pool.oversized.bytes, 16384);
    CHECK(mm_chunkqueue_get_memory(&q, 6000, &size) != NULL); /* found there */
    CHECK(size == 16384 && pool.oversized.bytes == 0);
    mm_chunkqueue_use_memory(&q, 0);
    CHECK(mm_chunkqueue_get_memory(&q, 2000, &size) != NULL); /* not worth so much */
    CHECK(size == 2048 && pool.oversized.bytes == 16384);
    mm_chunkqueue_use_memory(&q, 0);
    pool.oversized.keep = 20000;
    CHECK(mm_chunkqueue_get_memory(&q, 30000, &size) != NULL);
    mm_chunkqueue_use_memory(&q, 0);
    CHECK_EQ(pool.oversized.bytes, 16384 + 2048);
    CHECK_SUB(end());
}

/* After thousands of uses a list shrinks without being asked. */
TEST(kept_memory_decays_unasked)
{
    int i;
    begin(1024, 0);
    CHECK_SUB(use_regular(200));
    CHECK_EQ(pool.regular.bytes, 200 * 1024);
    for (i = 0; i < 4 * MMI_CHUNK_DECAY_PUTS; i++) {
        mm_chunkqueue_append_mem(&q, file_bytes, 10);
        mm_chunkqueue_reset(&q);
    }
    CHECK(pool.regular.bytes < 100 * 1024 && mm_chunk_pool_check(&pool));
    CHECK(pool.files.bytes <= pool.files.keep);
    CHECK_SUB(end());
}

/* What is kept for reuse must not be what the budget lacks. */
TEST(refused_memory_is_taken_from_what_is_kept)
{
    static char bytes[50 * 1024];
    size_t size;
    begin(1024, 0);
    mm_chunkqueue_append_mem(&q, bytes, sizeof(bytes));
    mm_chunkqueue_reset(&q);
    CHECK(mm_chunk_pool_get_stats(&pool).cached > 0);
    test_allocator_fail(&memory, 1, 0);
    CHECK(mm_chunkqueue_get_memory(&q, 5000, &size) != NULL);
    CHECK_EQ(mm_chunk_pool_get_stats(&pool).cached, 0);
    CHECK_EQ(pool.held, 0);
    mm_chunkqueue_use_memory(&q, 0);
    CHECK_EQ(pool.stats.failures, 0);
    mm_chunk_pool_trim(&pool, 0);
    test_allocator_fail(&memory, 1, 1);
    CHECK(mm_chunkqueue_get_memory(&q, 5000, &size) == NULL);
    CHECK_EQ(mm_chunkqueue_status(&q), MM_STATUS_OK);
    CHECK_EQ(pool.stats.failures, 1);
    test_allocator_fail(&memory, 0, 0);
    CHECK_SUB(end());
}

/* What others of the same budget lack, the lists give back. */
TEST(kept_memory_is_reclaimed)
{
    mm_budget budget;
    mm_budget_desc desc;
    mm_chunk_pool_desc pool_desc;
    const mm_allocator *charged;
    void *block;
    fixture();
    shim_reset();
    memset(&desc, 0, sizeof(desc));
    test_allocator_init(&memory);
    desc.limit = 40000;
    desc.allocator = &memory.base;
    desc.reclaim_fn = mm_chunk_pool_reclaim;
    desc.reclaim_data = &pool;
    mm_budget_init(&budget, &desc);
    charged = mm_budget_allocator(&budget);
    memset(&pool_desc, 0, sizeof(pool_desc));
    pool_desc.allocator = charged;
    CHECK_EQ(mm_chunk_pool_init(&pool, &pool_desc), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_init(&q2, &pool);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, FILE_SIZE), MM_STATUS_OK);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(pool.regular.bytes + pool.oversized.bytes, 3 * 8192);
    block = charged->alloc_fn(20000, charged->user_data);
    CHECK(block != NULL && pool.regular.bytes == 8192 && pool.oversized.bytes == 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, FILE_SIZE), MM_STATUS_NO_MEMORY);
    CHECK(mm_chunkqueue_is_empty(&q) && mm_chunk_pool_check(&pool));
    charged->free_fn(block, 20000, charged->user_data);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, FILE_SIZE), MM_STATUS_OK);
    CHECK_SUB(check_content(&q, file_bytes, FILE_SIZE));
    CHECK_SUB(end());
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

TEST(buffers_on_loan)
{
    mm_buffer b = {0}, c = {0};
    const char *block;
    begin(1024, 0);
    CHECK_EQ(mm_chunk_buffer_acquire(&pool, &b, 0), MM_STATUS_OK);
    CHECK(b.size == 1024 && mm_buffer_is_blank(&b) && !mm_buffer_is_unset(&b));
    CHECK_EQ(mm_chunk_buffer_acquire(&pool, &c, 5000), MM_STATUS_OK);
    CHECK(c.size == 8192 && pool.stats.loans == 2);
    mm_buffer_append(&c, file_bytes, 1024);
    mm_chunk_buffer_yield(&pool, &c); /* would not fit */
    CHECK_EQ(c.size, 8192);
    CHECK_EQ(mm_buffer_truncate(&c, 1023), MM_STATUS_OK);
    test_allocator_fail(&memory, 1, 1);
    mm_chunk_buffer_yield(&pool, &c); /* stays when there is no other memory */
    CHECK_EQ(c.size, 8192);
    test_allocator_fail(&memory, 0, 0);
    mm_chunk_buffer_yield(&pool, &c);
    CHECK(c.size == 1024 && memcmp(c.ptr, file_bytes, 1023) == 0 && mm_buffer_check(&c));
    CHECK_EQ(pool.oversized.bytes, 8192);
    mm_chunk_buffer_yield(&pool, &c); /* nothing to do */
    block = b.ptr;
    mm_chunk_buffer_release(&pool, &b);
    CHECK(b.ptr == NULL && pool.regular.bytes == 1024);
    CHECK_EQ(mm_chunkqueue_append_buffer(&q, &c), MM_STATUS_OK); /* less than 1 KiB: copied */
    CHECK(c.size == 1024 && mm_buffer_is_blank(&c));
    mm_chunk_buffer_release(&pool, &c);
    CHECK_EQ(mm_chunk_buffer_acquire(&pool, &b, 1500), MM_STATUS_OK);
    mm_buffer_append(&b, file_bytes, 1500);
    CHECK(pool.regular.bytes > 0);
    CHECK_EQ(mm_chunkqueue_append_buffer(&q, &b), MM_STATUS_OK); /* moved, against a pooled one */
    CHECK(b.size == 1024 && b.allocator == pool.allocator);
    mm_chunk_buffer_release(&pool, &b);
    CHECK_EQ(pool.stats.loans, 0);
    (void)block;
    CHECK_EQ(mm_chunk_buffer_acquire(&pool, &b, SIZE_MAX), MM_STATUS_TOO_LARGE);
    test_allocator_fail(&memory, 1, 1);
    CHECK_EQ(mm_chunk_buffer_acquire(&pool, &b, 100000), MM_STATUS_NO_MEMORY);
    CHECK(b.ptr == NULL && pool.stats.loans == 0);
    test_allocator_fail(&memory, 0, 0);
    CHECK_SUB(end());
}

/* ---- appends ---- */

static int released;
static void count_release(const void *bytes, int64_t size, void *user_data)
{
    released += bytes == user_data ? (int)size : 1000000;
}

TEST(references_are_released_once)
{
    begin(1024, 0);
    released = 0;
    CHECK_EQ(mm_chunkqueue_append_reference(&q, file_bytes, 500, count_release, file_bytes),
             MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "tail", 4), MM_STATUS_OK); /* must not write behind it */
    CHECK(mm_chunk_bytes(q.first) == file_bytes && pool.stats.copied == 4);
    CHECK_EQ(mm_chunkqueue_steal(&q2, &q, 200), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, 100, 100), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_prepend_mem(&q, "head", 4), MM_STATUS_OK); /* nor in front of it */
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_chunkqueue_mark_written(&q2, 299), MM_STATUS_OK);
    CHECK_EQ(released, 0);
    CHECK_SUB(check_content(&q2, file_bytes + 399, 1));
    CHECK_EQ(mm_chunkqueue_mark_written(&q2, 1), MM_STATUS_OK);
    CHECK_EQ(released, 500);
    CHECK_EQ(mm_chunkqueue_append_reference(&q, file_bytes, 0, count_release, file_bytes),
             MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_reference(&q, file_bytes, -1, count_release, file_bytes),
             MM_STATUS_INVALID);
    mm_chunkqueue_clear_status(&q);
    mm_chunkqueue_set_spill(&q, 10);
    CHECK_EQ(mm_chunkqueue_append_reference(&q, file_bytes, 11, count_release, file_bytes),
             MM_STATUS_OK); /* to disk, and done with */
    CHECK(released == 511 && q.memory == 0 && q.disk == 11);
    test_allocator_fail(&memory, 1, 1);
    mm_chunk_pool_trim(&pool, 0);
    CHECK_EQ(mm_chunkqueue_append_reference(&q, file_bytes, 5, count_release, file_bytes),
             MM_STATUS_NO_MEMORY);
    CHECK_EQ(released, 511);
    test_allocator_fail(&memory, 0, 0);
    CHECK_SUB(end());
}

TEST(shared_bytes_are_shared)
{
    mm_shared *shared = mm_shared_new(mm_slice_from_string("multicast"), NULL);
    int i;
    begin(0, 0);
    for (i = 0; i < 5; i++) CHECK_EQ(mm_chunkqueue_append_shared(&q, shared), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_shared(&q2, shared), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_shared(&q2, NULL), MM_STATUS_OK);
    CHECK_EQ(shared->refs, 7);
    CHECK(pool.stats.memory == 0 && pool.stats.copied == 0);
    CHECK_SUB(check_content(&q2, "multicast", 9));
    CHECK_SUB(end());
    CHECK(mm_shared_release(shared));
}

TEST(exact_chunks_waste_nothing)
{
    begin(0, 0);
    CHECK_EQ(mm_chunkqueue_append_exact(&q, file_bytes, 1500), MM_STATUS_OK);
    CHECK_EQ(pool.stats.memory, 1500);
    CHECK_EQ(mm_chunkqueue_append_exact(&q, "", 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "x", 1), MM_STATUS_OK);
    CHECK_EQ(pool.stats.memory, 1500 + 8192);
    CHECK_EQ(mm_chunkqueue_append_exact(&q, file_bytes, SIZE_MAX / 2 - 3000),
             MM_STATUS_TOO_LARGE);
    CHECK_SUB(end());
}

TEST(open_buffers)
{
    mm_buffer *b;
    begin(1024, 0);
    b = mm_chunkqueue_append_open(&q, 100);
    CHECK(b != NULL && b->size == 1024);
    mm_buffer_append_format(b, "%d bytes", 42);
    CHECK_EQ(mm_chunkqueue_length(&q), 0);
    CHECK_EQ(mm_chunkqueue_append_commit(&q), MM_STATUS_OK);
    b = mm_chunkqueue_prepend_open(&q, 0);
    CHECK(b != NULL);
    mm_buffer_append(b, file_bytes, 5000); /* grows beyond its block */
    CHECK_EQ(mm_chunkqueue_prepend_commit(&q), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_length(&q), 5008);
    CHECK_EQ(pool.stats.memory, 8192 + 1024);
    b = mm_chunkqueue_append_open(&q, 0);
    CHECK(b != NULL);
    mm_buffer_append_string(b, " more");
    CHECK_EQ(mm_chunkqueue_append_commit(&q), MM_STATUS_OK); /* joins the chunk before it */
    CHECK_EQ(pool.stats.memory, 8192 + 1024);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 5000), MM_STATUS_OK);
    CHECK_SUB(check_content(&q, "42 bytes more", 13));
    CHECK(mm_chunkqueue_append_open(&q, 0) != NULL);
    CHECK_EQ(mm_chunkqueue_append_commit(&q), MM_STATUS_OK); /* blank: nothing */
    CHECK(mm_chunkqueue_prepend_open(&q, 3000) != NULL);
    mm_chunkqueue_use_memory(&q, 0);
    b = mm_chunkqueue_append_open(&q, 0);
    CHECK(b != NULL);
    mm_buffer_append_string(b, "half of ");
    test_allocator_fail(&memory, 1, 1);
    mm_buffer_append(b, file_bytes, 3000);
    test_allocator_fail(&memory, 0, 0);
    CHECK_EQ(mm_chunkqueue_append_commit(&q), MM_STATUS_NO_MEMORY); /* not whole: not at all */
    CHECK_EQ(mm_chunkqueue_status(&q), MM_STATUS_NO_MEMORY);
    CHECK(mm_chunkqueue_append_open(&q, 0) == NULL);
    CHECK_SUB(check_content(&q, "42 bytes more", 13));
    CHECK_SUB(end());
}

TEST(prepends)
{
    begin(1024, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "0123456789", 10), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 5), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_prepend_mem(&q, "abc", 3), MM_STATUS_OK); /* where 234 were */
    CHECK(q.first == q.last && q.first->offset == 2);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, 0, 8), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_prepend_mem(&q, "<", 1), MM_STATUS_OK); /* not in shared memory */
    CHECK_EQ(mm_chunkqueue_prepend_mem(&q, "", 0), MM_STATUS_OK);
    CHECK_SUB(check_content(&q, "<abc56789", 9));
    CHECK_SUB(check_content(&q2, "abc56789", 8));
    CHECK_EQ(mm_chunkqueue_prepend_queue(&q, &q2), MM_STATUS_OK);
    CHECK_SUB(check_content(&q, "abc56789<abc56789", 17));
    CHECK(mm_chunkqueue_is_empty(&q2) && q2.bytes_out == 8);
    CHECK_EQ(mm_chunkqueue_prepend_mem(&q, file_bytes, 5000), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, ">", 1), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 5000), MM_STATUS_OK);
    CHECK_SUB(check_content(&q, "abc56789<abc56789>", 18));
    CHECK_SUB(end());
}

TEST(spans_for_readv)
{
    mm_chunk_span spans[4];
    begin(1024, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 1000), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_get_spans(&q, 2000, spans, 4), 3);
    CHECK(spans[0].size == 24 && spans[1].size == 1024 && spans[2].size == 1024);
    memcpy(spans[0].ptr, file_bytes + 1000, 24);
    memcpy(spans[1].ptr, file_bytes + 1024, 1024);
    memcpy(spans[2].ptr, file_bytes + 2048, 52);
    mm_chunkqueue_use_memory(&q, 1100);
    CHECK_SUB(check_content(&q, file_bytes, 2100));
    CHECK_EQ(mm_chunkqueue_get_spans(&q, 9000, spans, 2), 2);
    CHECK(spans[0].size == 972 && spans[1].size >= 9000 - 972);
    mm_chunkqueue_use_memory(&q, 0);
    CHECK_EQ(mm_chunkqueue_get_spans(&q, 9000, spans, 1), 1);
    CHECK(spans[0].size >= 9000);
    mm_chunkqueue_use_memory(&q, 0);
    CHECK_EQ(mm_chunkqueue_get_spans(&q, 0, spans, 4), 1); /* what is left of the last chunk */
    CHECK_EQ(spans[0].size, 972);
    mm_chunkqueue_use_memory(&q, 0);
    mm_chunkqueue_set_limits(&q, 2100 + 1000, INT64_MAX);
    CHECK_EQ(mm_chunkqueue_get_spans(&q, 5000, spans, 4), 2);
    CHECK(spans[0].size == 972 && spans[1].size == 28);
    mm_chunkqueue_use_memory(&q, 1000);
    CHECK_EQ(mm_chunkqueue_room(&q), 0);
    CHECK_EQ(mm_chunkqueue_get_spans(&q, 1, spans, 4), 0);
    CHECK_EQ(mm_chunkqueue_status(&q), MM_STATUS_OK); /* a pause, not a failure */
    CHECK_SUB(end());
}

/* Two queues that end in the same block must not both be given what is behind it. */
TEST(places_are_not_shared)
{
    size_t size;
    char *a, *b;
    begin(1024, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "same", 4), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, 0, 4), MM_STATUS_OK);
    a = mm_chunkqueue_get_memory(&q, 0, &size);
    b = mm_chunkqueue_get_memory(&q2, 0, &size);
    CHECK(a != NULL && b != NULL && a != b);
    memcpy(a, "-a", 2);
    memcpy(b, "-b", 2);
    mm_chunkqueue_use_memory(&q, 2);
    mm_chunkqueue_use_memory(&q2, 2);
    CHECK_SUB(check_content(&q, "same-a", 6));
    CHECK_SUB(check_content(&q2, "same-b", 6));
    CHECK_SUB(end());
}

/* ---- moves ---- */

/* lighttpd unlinks a temp file while another range of it is still to be sent. */
TEST(ranges_keep_their_bytes)
{
    begin(1024, 0);
    mm_chunkqueue_set_spill(&q, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 1000), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_file(&q, file_path, 0, 500), MM_STATUS_OK);
    mm_chunkqueue_set_spill(&q, INT64_MAX);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "memory", 6), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, 900, 200), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, 0, 10), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, 1500, 6), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q2, 0, 216), MM_STATUS_OK); /* of itself */
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, 1506, 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, 1506, 1), MM_STATUS_INVALID);
    mm_chunkqueue_clear_status(&q2);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, INT64_MAX, INT64_MAX), MM_STATUS_INVALID);
    mm_chunkqueue_clear_status(&q2);
    CHECK_EQ(mm_chunkqueue_append_range(&q2, &q, -1, 1), MM_STATUS_INVALID);
    mm_chunkqueue_clear_status(&q2);
    CHECK(mm_chunkqueue_check(&q2));
    mm_chunkqueue_reset(&q);
    CHECK_EQ(shim.open_fds, 1); /* the temp file; the other one is opened when it is read */
    {
        char bytes[216];
        int i;
        for (i = 0; i < 2; i++) {
            CHECK_EQ(mm_chunkqueue_read(&q2, bytes, 216), MM_STATUS_OK);
            CHECK(memcmp(bytes, file_bytes + 900, 100) == 0);
            CHECK(memcmp(bytes + 100, file_bytes, 100) == 0);
            CHECK(memcmp(bytes + 200, file_bytes, 10) == 0);
            CHECK(memcmp(bytes + 210, "memory", 6) == 0);
        }
    }
    CHECK_EQ(shim.open_fds, 0);
    CHECK_SUB(end());
}

/* What the issue of copies per byte says: one by append_mem, none by moving. */
TEST(bytes_are_copied_once)
{
    mm_chunkqueue third;
    int64_t left = FILE_SIZE;
    begin(0, 0);
    mm_chunkqueue_init(&third, &pool);
    mm_chunkqueue_append_mem(&q, file_bytes, FILE_SIZE);
    CHECK_EQ(pool.stats.copied, FILE_SIZE);
    while (left > 0) {
        int64_t n = left < 777 ? left : 777;
        CHECK_EQ(mm_chunkqueue_steal(&q2, &q, n), MM_STATUS_OK);
        CHECK_EQ(mm_chunkqueue_steal(&third, &q2, n), MM_STATUS_OK);
        left -= n;
    }
    CHECK_EQ(mm_chunkqueue_append_queue(&q, &third), MM_STATUS_OK);
    CHECK_EQ(pool.stats.copied, FILE_SIZE);
    CHECK_SUB(check_content(&q, file_bytes, FILE_SIZE));
    mm_chunkqueue_deinit(&third);
    CHECK_SUB(end());
}

TEST(steal_into_temp_files)
{
    begin(1024, 3000);
    CHECK_EQ(mm_chunkqueue_append_mem(&q2, "begin ", 6), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 8000), MM_STATUS_OK);
    shim.disk = 5000;
    CHECK_EQ(mm_chunkqueue_steal_spilled(&q2, &q, 7000), MM_STATUS_NO_SPACE);
    CHECK_EQ(mm_chunkqueue_length(&q), 8000);
    CHECK_SUB(check_content(&q, file_bytes, 8000));
    CHECK_SUB(check_content(&q2, "begin ", 6));
    CHECK(pool.stats.temp_live <= 6); /* what had been written is given back */
    shim.disk = -1;
    CHECK_EQ(mm_chunkqueue_steal_spilled(&q2, &q, 7000), MM_STATUS_OK);
    CHECK(q2.memory == 0 && q2.disk == 7006 && q.memory == 1000);
    CHECK_SUB(check_content(&q, file_bytes + 7000, 1000));
    CHECK_EQ(mm_chunkqueue_mark_written(&q2, 6), MM_STATUS_OK);
    CHECK_SUB(check_content(&q2, file_bytes, 7000));
    mm_chunkqueue_set_spill(&q2, 500);
    CHECK_EQ(mm_chunkqueue_steal(&q2, &q, 501), MM_STATUS_OK); /* its own policy */
    CHECK_EQ(q2.memory, 0);
    CHECK_EQ(mm_chunkqueue_steal(&q2, &q, 300), MM_STATUS_OK);
    CHECK_EQ(q2.memory, 300);
    CHECK_EQ(mm_chunkqueue_append_queue(&q2, &q), MM_STATUS_OK);
    CHECK_EQ(q2.memory, 499);
    CHECK_SUB(check_content(&q2, file_bytes, 8000));
    CHECK_SUB(end());
}

/* ---- limits ---- */

TEST(limits_below_nothing_are_nothing)
{
    begin(1024, 0);
    mm_chunkqueue_set_limits(&q, INT64_MIN, INT64_MIN);
    CHECK_EQ(mm_chunkqueue_room(&q), 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q2, file_bytes, 10), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_queue(&q, &q2), MM_STATUS_LIMIT);
    mm_chunkqueue_clear_status(&q);
    mm_chunkqueue_set_limits(&q, INT64_MAX, INT64_MAX);
    mm_chunkqueue_set_spill(&q, INT64_MIN);
    CHECK_EQ(mm_chunkqueue_append_queue(&q, &q2), MM_STATUS_OK);
    CHECK_EQ(q.disk, 10);
    end();
}

TEST(limits_of_a_queue)
{
    mm_buffer b = {0};
    begin(1024, 0);
    mm_chunkqueue_set_limits(&q, 2000, 3000);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 1990), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 11), MM_STATUS_LIMIT);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 1), MM_STATUS_LIMIT); /* sticky */
    mm_chunkqueue_clear_status(&q);
    mm_buffer_append(&b, file_bytes, 1500);
    CHECK_EQ(mm_chunkqueue_append_buffer(&q, &b), MM_STATUS_LIMIT);
    CHECK_EQ(mm_buffer_length(&b), 1500);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_append_reference(&q, file_bytes, 11, NULL, NULL), MM_STATUS_LIMIT);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_prepend_mem(&q, file_bytes, 11), MM_STATUS_LIMIT);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_append_mem(&q2, file_bytes, 3000), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_range(&q, &q2, 0, 11), MM_STATUS_LIMIT);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_steal(&q, &q2, 11), MM_STATUS_LIMIT);
    CHECK_EQ(mm_chunkqueue_append_queue(&q, &q2), MM_STATUS_LIMIT);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_append_file(&q, file_path, 0, 5000), MM_STATUS_OK); /* not memory */
    CHECK_EQ(mm_chunkqueue_steal(&q, &q2, 10), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 100), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_room(&q), 100); /* drained, so that there is room again */
    CHECK_EQ(mm_chunkqueue_spill(&q), MM_STATUS_OK);
    CHECK_EQ(q.disk, 1900);
    mm_chunkqueue_set_spill(&q, 1000);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 1101), MM_STATUS_LIMIT);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 1100), MM_STATUS_OK);
    CHECK_EQ(q.disk, 3000);
    CHECK_EQ(mm_chunkqueue_steal_spilled(&q, &q2, 1), MM_STATUS_LIMIT);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 1), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_steal_spilled(&q, &q2, 1), MM_STATUS_OK);
    mm_chunkqueue_set_limits(&q, 10, 2000); /* below what there is: no more, and nothing lost */
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 1001), MM_STATUS_LIMIT);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 11), MM_STATUS_LIMIT);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_steal_spilled(&q, &q2, 1), MM_STATUS_LIMIT);
    CHECK(q.disk == 3000 && mm_chunkqueue_check(&q));
    mm_buffer_deinit(&b);
    CHECK_SUB(end());
}

TEST(quota_of_all_queues)
{
    mm_budget disk;
    mm_budget_desc budget;
    memset(&budget, 0, sizeof(budget));
    budget.limit = 4000;
    mm_budget_init(&disk, &budget);
    begin(1024, 0);
    pool.temp_quota = 5000;
    mm_chunkqueue_set_spill(&q, 0);
    mm_chunkqueue_set_spill(&q2, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 3000), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_mem(&q2, file_bytes, 2001), MM_STATUS_NO_SPACE);
    CHECK(pool.stats.temp_failed == 0); /* not the directory's fault */
    mm_chunkqueue_clear_status(&q2);
    CHECK_EQ(mm_chunkqueue_append_mem(&q2, file_bytes, 2000), MM_STATUS_OK);
    CHECK_EQ(pool.stats.temp_live, 5000);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_reset(&q2);
    CHECK_EQ(pool.stats.temp_live, 0);
    pool.temp_budget = &disk;
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 4001), MM_STATUS_NO_SPACE);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 4000), MM_STATUS_OK);
    CHECK_EQ(mm_budget_live(&disk), 4000);
    CHECK_SUB(end());
    CHECK_EQ(mm_budget_deinit(&disk), 0);
}

static int edges[2];
static void count_edges(mm_chunkqueue *queue, bool is_high, void *user_data)
{
    edges[is_high]++;
    if (is_high && user_data != NULL) (void)!mm_chunkqueue_mark_written(queue, *(int *)user_data);
}

TEST(watermarks_are_told_once)
{
    int drain = 90;
    begin(0, 0);
    edges[0] = edges[1] = 0;
    mm_chunkqueue_set_flow(&q, 20, 100, count_edges, NULL);
    mm_chunkqueue_append_mem(&q, file_bytes, 99);
    CHECK(edges[1] == 0 && !mm_chunkqueue_is_high(&q));
    mm_chunkqueue_append_mem(&q, "x", 1);
    mm_chunkqueue_append_mem(&q, "x", 1);
    CHECK(edges[1] == 1 && mm_chunkqueue_is_high(&q));
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 80), MM_STATUS_OK); /* 21 left */
    CHECK(edges[0] == 0 && mm_chunkqueue_is_high(&q));
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 1), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 1), MM_STATUS_OK);
    CHECK(edges[0] == 1 && !mm_chunkqueue_is_high(&q));
    mm_chunkqueue_append_mem(&q, file_bytes, 200);
    mm_chunkqueue_reset(&q); /* a producer that waits must be told */
    CHECK(edges[0] == 2 && edges[1] == 2);
    mm_chunkqueue_append_mem(&q2, file_bytes, 150);
    mm_chunkqueue_set_flow(&q2, 20, 100, count_edges, NULL); /* there already */
    CHECK_EQ(edges[1], 3);
    CHECK_EQ(mm_chunkqueue_append_queue(&q, &q2), MM_STATUS_OK); /* both edges at once */
    CHECK(edges[0] == 3 && edges[1] == 4);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_set_flow(&q, 20, 100, count_edges, &drain); /* drains in the callback */
    mm_chunkqueue_append_mem(&q, file_bytes, 100);
    CHECK(mm_chunkqueue_length(&q) == 10 && !mm_chunkqueue_is_high(&q));
    CHECK(edges[0] == 5 && edges[1] == 5);
    CHECK_SUB(end());
}

/* ---- temp files ---- */

TEST(temp_files_have_no_name_and_a_size)
{
    const mm_chunk *c;
    begin(1024, 4096);
    mm_chunkqueue_set_spill(&q, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 10000), MM_STATUS_OK);
    CHECK_EQ(pool.stats.temp_files, 3);
    for (c = q.first; c != NULL; c = c->next) {
        struct stat st;
        CHECK_EQ(fstat(c->source->fd, &st), 0);
        CHECK(st.st_nlink == 0 && st.st_size <= 4096 && (st.st_mode & 0777) == 0600);
        CHECK((fcntl(c->source->fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK_SUB(check_content(&q, file_bytes, 10000));
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 4096), MM_STATUS_OK);
    CHECK(pool.stats.temp_files == 2 && pool.stats.temp_live == 10000 - 4096);
    CHECK_SUB(end());
}

/* One write for many chunks, where the system can. */
TEST(spill_writes_chunks_together)
{
    begin(1024, 0);
    mm_chunkqueue_append_mem(&q, file_bytes, 19000);
    CHECK_EQ(mm_chunkqueue_spill(&q), MM_STATUS_OK);
#ifdef MMI_PWRITEV
    CHECK_EQ(shim.writes, 1);
#endif
    CHECK(q.first == q.last && pool.stats.memory == 0);
    CHECK_SUB(check_content(&q, file_bytes, 19000));
    CHECK_SUB(end());
}

/* Bytes that come to the file by another way than through memory. */
TEST(temp_file_that_others_write)
{
    mm_budget disk;
    mm_budget_desc budget;
    mm_status status;
    int64_t at, room;
    int fd, i;
    begin(1024, 4000);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 1500), MM_STATUS_OK);
    for (i = 0; i < 4; i++) { /* 1000, 1000, 500 to the end of the file, 1000 */
        int64_t length = mm_chunkqueue_length(&q), n;
        fd = mm_chunkqueue_get_temp(&q, &at, &room, &status);
        CHECK(fd >= 0 && room == 4000 - at && q.memory == 0);
        n = room < 1000 ? room : 1000;
        CHECK_EQ(pwrite(fd, file_bytes + length, (size_t)n, (off_t)at), n);
        CHECK_EQ(mm_chunkqueue_use_temp(&q, n), MM_STATUS_OK);
        CHECK(mm_chunkqueue_check(&q));
    }
    CHECK_SUB(check_content(&q, file_bytes, 5000));
    CHECK(q.first->next == q.last && pool.stats.temp_files == 2);
    CHECK_EQ(mm_chunkqueue_steal(&q2, &q, 4500), MM_STATUS_OK);
    fd = mm_chunkqueue_get_temp(&q2, &at, &room, &status); /* not where the other one writes */
    CHECK(fd >= 0 && fd != q.last->source->fd);
    CHECK_EQ(mm_chunkqueue_use_temp(&q2, 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes + 5000, 100), MM_STATUS_OK);
    CHECK_SUB(check_content(&q2, file_bytes, 4500));
    CHECK_SUB(check_content(&q, file_bytes + 4500, 600));
    fd = mm_chunkqueue_get_temp(&q, &at, &room, &status);
    CHECK(fd >= 0);
    CHECK_EQ(mm_chunkqueue_use_temp(&q, room + 1), MM_STATUS_INVALID);
    memset(&budget, 0, sizeof(budget));
    budget.limit = 10;
    mm_budget_init(&disk, &budget);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_reset(&q2);
    pool.temp_budget = &disk;
    fd = mm_chunkqueue_get_temp(&q, &at, &room, &status);
    CHECK(fd >= 0);
    CHECK_EQ(mm_chunkqueue_use_temp(&q, 11), MM_STATUS_NO_SPACE);
    CHECK_EQ(pool.stats.temp_live, 0);
    pool.temp_budget = NULL;
    mm_chunkqueue_set_limits(&q, INT64_MAX, 0);
    CHECK_EQ(mm_chunkqueue_get_temp(&q, &at, &room, &status), -1);
    CHECK_EQ(status, MM_STATUS_LIMIT);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_set_limits(&q, INT64_MAX, INT64_MAX);
    shim_fail(1, 1, EACCES);
    CHECK_EQ(mm_chunkqueue_get_temp(&q, &at, &room, &status), -1);
    CHECK(status == MM_STATUS_DENIED && mm_chunkqueue_status(&q) == MM_STATUS_DENIED);
    CHECK(mm_chunkqueue_is_empty(&q));
    shim_fail(0, 0, 0);
    CHECK_SUB(end());
    CHECK_EQ(mm_budget_deinit(&disk), 0);
}

static char second_dir[] = "/tmp/mm-test-chunk-2-XXXXXX";

/* A pool and two queues that spill everything to second_dir (and the usual one, of two). */
static void begin_second_dir(size_t count)
{
    const char *dirs[2];
    mm_chunk_pool_desc desc;
    fixture();
    shim_reset();
    memcpy(second_dir + sizeof(second_dir) - 7, "XXXXXX", 6);
    CHECK(mkdtemp(second_dir) != NULL);
    dirs[0] = second_dir;
    dirs[1] = dir;
    memset(&desc, 0, sizeof(desc));
    test_allocator_init(&memory);
    desc.allocator = &memory.base;
    desc.temp_dirs = dirs;
    desc.temp_dir_count = count;
    CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_init(&q2, &pool);
    mm_chunkqueue_set_spill(&q, 0);
    mm_chunkqueue_set_spill(&q2, 0);
}

/* A directory that refused is not tried again by any queue for a while, and then it is. */
TEST(bad_directory_rests)
{
    CHECK_SUB(begin_second_dir(2));
    shim.bad = second_dir;
    shim.clock = 1000;
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "a", 1), MM_STATUS_OK);
    CHECK_EQ(shim.bad_opens, 1);
    shim.clock += MMI_CHUNK_REST - 1;
    CHECK_EQ(mm_chunkqueue_append_mem(&q2, "b", 1), MM_STATUS_OK);
    CHECK_EQ(shim.bad_opens, 1);
    mm_chunkqueue_reset(&q2);
    shim.clock -= 100; /* a clock that was set back does not prolong it */
    CHECK_EQ(mm_chunkqueue_append_mem(&q2, "b", 1), MM_STATUS_OK);
    CHECK_EQ(shim.bad_opens, 2);
    mm_chunkqueue_reset(&q2);
    shim.bad = dir; /* now the other way round: what rests is still the last resort */
    CHECK_EQ(mm_chunkqueue_append_mem(&q2, "c", 1), MM_STATUS_OK);
    CHECK_EQ(shim.bad_opens, 3);
    CHECK(!pool.temp_dirs[0].is_bad && pool.temp_dirs[1].is_bad);
    CHECK_EQ(mm_chunk_pool_get_stats(&pool).temp_failed, 3);
    CHECK_SUB(end());
    CHECK_EQ(rmdir(second_dir), 0);
    memcpy(second_dir + sizeof(second_dir) - 7, "XXXXXX", 6);
}

/* A folder that was removed, is a pipe, a file, or not ours to write to. */
TEST(directories_that_are_none)
{
    static const char *const names[] = {"/fifo", "/file", "/gone", "/proc"};
    mm_chunk_pool_desc desc;
    char path[80];
    const char *dirs[1];
    size_t i;
    for (i = 0; i < 4; i++) {
        fixture();
        shim_reset();
        snprintf(path, sizeof(path), "%s%s", i == 3 ? "" : dir, names[i]);
        if (i == 0) CHECK_EQ(mkfifo(path, 0600), 0);
        memset(&desc, 0, sizeof(desc));
        test_allocator_init(&memory);
        desc.allocator = &memory.base;
        dirs[0] = path;
        desc.temp_dirs = dirs;
        desc.temp_dir_count = 1;
        CHECK_EQ(mm_chunk_pool_init(&pool, &desc), MM_STATUS_OK);
        mm_chunkqueue_init(&q, &pool);
        mm_chunkqueue_init(&q2, &pool);
        mm_chunkqueue_set_spill(&q, 3);
        mm_chunkqueue_append_mem(&q, "abc", 3);
        CHECK(mm_chunkqueue_append_mem(&q, "d", 1) != MM_STATUS_OK);
        CHECK(mm_chunkqueue_status(&q) == MM_STATUS_IO ||
              mm_chunkqueue_status(&q) == MM_STATUS_DENIED);
        CHECK_SUB(check_content(&q, "abc", 3));
        CHECK_SUB(end());
        if (i == 0) unlink(path);
    }
}

#ifdef MMI_DIRS
/* Whether a fresh queue can spill: the status when not. */
static mm_status spills(void)
{
    mm_status status;
    mm_chunkqueue_reset(&q2);
    status = mm_chunkqueue_append_mem(&q2, "on disk", 7);
    mm_chunkqueue_reset(&q2);
    return status;
}

/* What is at its path later does not matter. */
TEST(directories_are_opened_once)
{
    char moved[sizeof(second_dir) + 8];
    CHECK_SUB(begin_second_dir(1));
    CHECK_EQ(mm_chunk_pool_open_dirs(&pool), MM_STATUS_OK);
    CHECK(pool.temp_dirs[0].fd >= 0 && shim.calls == 1);
    CHECK_EQ(mm_chunk_pool_open_dirs(&pool), MM_STATUS_OK);
    CHECK((fcntl(pool.temp_dirs[0].fd, F_GETFD) & FD_CLOEXEC) != 0 && shim.calls == 1);
    snprintf(moved, sizeof(moved), "%s-moved", second_dir);
    CHECK_EQ(rename(second_dir, moved), 0);
    CHECK_EQ(spills(), MM_STATUS_OK);
    CHECK_EQ(symlink("/nowhere/at/all", second_dir), 0);
    CHECK_EQ(spills(), MM_STATUS_OK);
    shim.no_tmpfile = 1;
    CHECK_EQ(spills(), MM_STATUS_OK);
    CHECK_EQ(unlink(second_dir), 0);
    CHECK_EQ(rmdir(moved), 0); /* nothing is in it */
    CHECK_SUB(end());
}

/* A folder that is gone is opened anew when it is there again, but not through a link. */
TEST(directories_that_come_back)
{
    char other[sizeof(second_dir) + 8];
    CHECK_SUB(begin_second_dir(1));
    snprintf(other, sizeof(other), "%s-other", second_dir);
    CHECK_EQ(mkdir(other, 0700), 0);
    shim_fail(1, 0, EMFILE);
    CHECK_EQ(spills(), MM_STATUS_NO_FILES);
    CHECK(!pool.temp_dirs[0].is_bad);
    CHECK_EQ(spills(), MM_STATUS_OK); /* opened by the first spill */
    CHECK_EQ(rmdir(second_dir), 0);
    CHECK_EQ(spills(), MM_STATUS_IO);
    CHECK_EQ(mm_chunk_pool_open_dirs(&pool), MM_STATUS_NOT_FOUND);
    CHECK_EQ(symlink(other, second_dir), 0);
    CHECK(spills() != MM_STATUS_OK);
    CHECK(mm_chunk_pool_open_dirs(&pool) != MM_STATUS_OK);
    CHECK_EQ(unlink(second_dir), 0);
    CHECK_EQ(mkdir(second_dir, 0700), 0);
    CHECK_EQ(spills(), MM_STATUS_OK);
    CHECK_EQ(rmdir(second_dir), 0);
    CHECK_EQ(mkdir(second_dir, 0700), 0);
    CHECK_EQ(spills(), MM_STATUS_OK); /* within the same attempt */
    CHECK_EQ(rmdir(second_dir), 0);
    CHECK_EQ(rmdir(other), 0);
    CHECK_SUB(end());
}

/* Where the path that was given is a link, it may be made anew as well. */
TEST(directories_behind_links)
{
    char other[sizeof(second_dir) + 8];
    CHECK_SUB(begin_second_dir(1));
    snprintf(other, sizeof(other), "%s-other", second_dir);
    CHECK_EQ(rename(second_dir, other), 0);
    CHECK_EQ(symlink(other, second_dir), 0);
    shim_fail(2, 0, EMFILE); /* the second try, which follows it */
    CHECK_EQ(spills(), MM_STATUS_NO_FILES);
    CHECK_EQ(spills(), MM_STATUS_OK);
    CHECK_EQ(rmdir(other), 0);
    CHECK_EQ(spills(), MM_STATUS_IO);
    CHECK_EQ(mkdir(other, 0700), 0);
    CHECK_EQ(spills(), MM_STATUS_OK);
    CHECK_EQ(unlink(second_dir), 0);
    CHECK_EQ(rmdir(other), 0);
    CHECK_SUB(end());
}

/* In a child process, which stays there. */
static int spills_in_chroot(void)
{
    if (mm_chunk_pool_open_dirs(&pool) != MM_STATUS_OK) return 1;
    if (chroot(dir) != 0 || chdir("/") != 0) return 2;
    return access(second_dir, F_OK) == 0 || spills() != MM_STATUS_OK ? 1 : 0;
}

TEST(directories_outlive_a_chroot)
{
    int status = 0;
    pid_t child;
    CHECK_SUB(begin_second_dir(1));
    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(spills_in_chroot());
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 1);
    if (WEXITSTATUS(status) == 2) printf("      only root may chroot: skipped\n");
    CHECK_EQ(rmdir(second_dir), 0);
    CHECK_SUB(end());
}

#define DIR_TESTS T(directories_are_opened_once), T(directories_that_come_back), \
    T(directories_behind_links), T(directories_outlive_a_chroot),
#else
#define DIR_TESTS
#endif

/* The disk is full after each number of bytes: what the queue held it holds, and it goes on when
   there is space again. */
TEST(disk_full_at_every_byte)
{
    int64_t room;
    for (room = 0; room < 3600; room += 1 + room % 7) {
        begin(1024, 1500);
        mm_chunkqueue_set_spill(&q, 1200);
        CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes, 900), MM_STATUS_OK);
        CHECK_EQ(mm_chunkqueue_append_file(&q, file_path, 900, 100), MM_STATUS_OK);
        CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes + 1000, 300), MM_STATUS_OK);
        shim.disk = room;
        shim.most = room % 3 == 0 ? 100 : 0;
        if (mm_chunkqueue_append_mem(&q, file_bytes + 1300, 2500) != MM_STATUS_OK) {
            CHECK_EQ(mm_chunkqueue_status(&q), MM_STATUS_NO_SPACE);
            CHECK(mm_chunkqueue_check(&q) && mm_chunk_pool_check(&pool));
            CHECK_SUB(check_content(&q, file_bytes, 1300));
            shim.disk = -1;
            mm_chunkqueue_clear_status(&q);
            CHECK_EQ(mm_chunkqueue_append_mem(&q, file_bytes + 1300, 2500), MM_STATUS_OK);
        }
        CHECK_SUB(check_content(&q, file_bytes, 3800));
        CHECK_SUB(end());
    }
}

/* Runs in a child process, whose limits and mounts are its own. */
static void in_child(int (*run)(void))
{
    int status = 0;
    pid_t child;
    fixture();
    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(run());
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

/* Fills what is there, and says how many bytes that took. -1: something is wrong. */
static int64_t fill_up(void)
{
    static char bytes[3000000];
    int64_t length = 0;
    size_t i;
    for (i = 0; i < sizeof(bytes); i++) bytes[i] = (char)(i * 7 + i / 256);
    begin(0, 0);
    mm_chunkqueue_set_spill(&q, 10000);
    while (length < (int64_t)sizeof(bytes) - 7777 &&
           mm_chunkqueue_append_mem(&q, bytes + length, 7777) == MM_STATUS_OK)
        length += 7777;
    if (mm_chunkqueue_status(&q) != MM_STATUS_NO_SPACE) return -1;
    check_content(&q, bytes, (size_t)length);
    mm_chunkqueue_clear_status(&q);
    if (mm_chunkqueue_mark_written(&q, length) != MM_STATUS_OK) return -1; /* space again */
    if (mm_chunkqueue_append_mem(&q, bytes, 20000) != MM_STATUS_OK) return -1;
    check_content(&q, bytes, 20000);
    end();
    return test_failed ? -1 : length;
}

static int small_files_only(void)
{
    struct rlimit limit;
    int64_t length;
    limit.rlim_cur = limit.rlim_max = 100000;
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    begin(0, 0); /* a file that can grow no more is followed by another */
    mm_chunkqueue_set_spill(&q, 0);
    for (length = 0; length < 300000; length += FILE_SIZE)
        if (mm_chunkqueue_append_mem(&q, file_bytes, FILE_SIZE) != MM_STATUS_OK) return 2;
    if (pool.stats.temp_files != 3) return 3;
    if (mm_chunkqueue_spill(&q) != MM_STATUS_OK) return 4;
    end();
    return test_failed;
}

TEST(file_size_limit)
{
    CHECK_SUB(in_child(small_files_only));
}

/* A real file system of 1 MiB, where one may be mounted. */
static int small_disk(void)
{
#ifdef __linux__
    char *saved = dir;
    int64_t length;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", saved, "tmpfs", 0, "size=1m") != 0) {
        printf("      no file system can be mounted: skipped\n");
        return 0;
    }
    length = fill_up();
    umount(saved);
    return length < 900000 || length > 1100000;
#else
    return 0;
#endif
}

TEST(small_disk_fills_up)
{
    CHECK_SUB(in_child(small_disk));
}

/* ---- draining ---- */

/* lighttpd's length becomes negative. */
TEST(written_more_than_there_is)
{
    begin(0, 0);
    mm_chunkqueue_append_mem(&q, "abc", 3);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, -1), MM_STATUS_INVALID);
    CHECK_EQ(mm_chunkqueue_length(&q), 3);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, INT64_MAX), MM_STATUS_INVALID);
    CHECK(mm_chunkqueue_is_empty(&q) && q.bytes_out == 3);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "d", 1), MM_STATUS_OK);
    CHECK_SUB(check_content(&q, "d", 1));
    CHECK_SUB(end());
}

TEST(contiguous_copies_what_is_missing)
{
    mm_status status;
    uint64_t copied;
    begin(1024, 0);
    mm_chunkqueue_append_mem(&q, file_bytes, 500);
    mm_chunkqueue_append_exact(&q, file_bytes + 500, 500);
    copied = pool.stats.copied;
    CHECK(memcmp(mm_chunkqueue_contiguous(&q, 700, &status), file_bytes, 700) == 0);
    CHECK_EQ(pool.stats.copied - copied, 200);
    CHECK(memcmp(mm_chunkqueue_contiguous(&q, 1000, &status), file_bytes, 1000) == 0);
    CHECK(q.first == q.last && pool.stats.memory == 1024);
    mm_chunkqueue_append_file(&q, "/nowhere/at/all", 0, 5);
    CHECK(mm_chunkqueue_contiguous(&q, 1005, &status) == NULL && status == MM_STATUS_NOT_FOUND);
    CHECK(mm_buffer_check(&q.first->source->mem));
    CHECK_EQ(mm_chunkqueue_squash(&q), MM_STATUS_NOT_FOUND);
    CHECK_EQ(mm_chunkqueue_length(&q), 1005);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_append_mem(&q, file_bytes, 5000);
    mm_chunkqueue_append_file(&q, file_path, 5000, 5000);
    CHECK_EQ(mm_chunkqueue_squash(&q), MM_STATUS_OK);
    CHECK(q.first == q.last && q.memory == 10000);
    CHECK_SUB(check_content(&q, file_bytes, 10000));
    CHECK_EQ(mm_chunkqueue_append_file(&q, file_path, 0, (int64_t)1 << 33), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_squash(&q), MM_STATUS_TOO_LARGE);
    CHECK_SUB(end());
}

TEST(bytes_and_lines_are_found)
{
    mm_buffer line = {0};
    int64_t at;
    begin(1024, 0);
    CHECK_EQ(mm_chunkqueue_find_byte(&q, 'x', 0, &at), MM_STATUS_OK);
    CHECK_EQ(at, -1);
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, 100), MM_STATUS_AGAIN);
    mm_chunkqueue_append_mem(&q, "one\r", 4);
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, 3), MM_STATUS_AGAIN);
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, 2), MM_STATUS_LIMIT);
    mm_chunkqueue_append_reference(&q, "\n\n\r\ntwo", 7, NULL, NULL);
    mm_chunkqueue_append_reference(&q, "\n\0z", 3, NULL, NULL);
    CHECK_EQ(mm_chunkqueue_find_byte(&q, '\n', 0, &at), MM_STATUS_OK);
    CHECK_EQ(at, 4);
    CHECK_EQ(mm_chunkqueue_find_byte(&q, '\n', 8, &at), MM_STATUS_OK);
    CHECK_EQ(at, 11);
    CHECK_EQ(mm_chunkqueue_find_byte(&q, '\0', 0, &at), MM_STATUS_OK);
    CHECK_EQ(at, 12);
    CHECK_EQ(mm_chunkqueue_find_byte(&q, 'z', 13, &at), MM_STATUS_OK);
    CHECK_EQ(at, 13);
    CHECK_EQ(mm_chunkqueue_find_byte(&q, 'z', 14, &at), MM_STATUS_OK);
    CHECK_EQ(at, -1);
    CHECK_EQ(mm_chunkqueue_find_byte(&q, 'z', -1, &at), MM_STATUS_INVALID);
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, 3), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&line), "one");
    mm_buffer_clear(&line);
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, 0), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, 0), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&line), "");
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, 2), MM_STATUS_LIMIT);
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, SIZE_MAX), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&line), "two");
    CHECK_EQ(mm_chunkqueue_length(&q), 2);
    mm_chunkqueue_append_file(&q, "/nowhere/at/all", 0, 5); /* is not the same as no line */
    CHECK_EQ(mm_chunkqueue_read_line(&q, &line, 100), MM_STATUS_NOT_FOUND);
    CHECK_EQ(mm_chunkqueue_find_byte(&q, '\n', 0, &at), MM_STATUS_NOT_FOUND);
    mm_buffer_deinit(&line);
    CHECK_SUB(end());
}

TEST(small_body_joins_its_headers)
{
    mm_slice slices[8];
    begin(0, 0);
    mm_chunkqueue_append_mem(&q, "headers", 7);
    mm_chunkqueue_append_file(&q, file_path, 0, 1000);
    CHECK_EQ(mm_chunkqueue_join(&q, 999), MM_STATUS_OK); /* too large: left alone */
    CHECK_EQ(mm_chunkqueue_peek_memory(&q, slices, 8), 1);
    CHECK_EQ(mm_chunkqueue_join(&q, 0), MM_STATUS_OK);
    CHECK(q.first == q.last && q.memory == 1007); /* one write, one piece */
    CHECK_EQ(shim.open_fds, 0);
    mm_chunkqueue_append_file(&q, file_path, 1000, 15000);
    mm_chunkqueue_append_mem(&q, "trailer", 7);
    CHECK_EQ(mm_chunkqueue_join(&q, 0), MM_STATUS_OK);
    CHECK_EQ(q.memory, 7 + 16000 + 7);
    CHECK(mm_chunkqueue_peek_memory(&q, slices, 8) <= 4);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 7), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_peek_memory(&q, slices, 1), 1);
    CHECK(memcmp(slices[0].ptr, file_bytes, slices[0].len) == 0);
    mm_chunkqueue_append_file(&q, file_path, FILE_SIZE - 5, 10);
    CHECK_EQ(mm_chunkqueue_join(&q, 0), MM_STATUS_TRUNCATED);
    CHECK_EQ(mm_chunkqueue_length(&q), 16000 + 7 + 10);
    CHECK(mm_chunkqueue_check(&q));
    mm_chunkqueue_append_file(&q2, file_path, 0, 10);
    CHECK_EQ(mm_chunkqueue_join(&q2, 0), MM_STATUS_OK); /* nothing to be joined to */
    CHECK_EQ(q2.memory, 0);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_append_mem(&q, "headers", 7); /* several files in a row */
    mm_chunkqueue_append_file(&q, file_path, 0, 10);
    mm_chunkqueue_append_file(&q, file_path, 0, 20);
    mm_chunkqueue_append_file(&q, file_path, 0, 9000);
    mm_chunkqueue_append_file(&q, file_path, 0, 30);
    CHECK_EQ(mm_chunkqueue_join(&q, 0), MM_STATUS_OK);
    CHECK(q.memory == 7 + 10 + 20 + 9000 + 30 && mm_chunkqueue_check(&q));
    CHECK_SUB(end());
}

/* ---- files ---- */

static int scratch_file(char *path, size_t size, const char *bytes, size_t length)
{
    int fd;
    snprintf(path, size, "%s/scratch", dir);
    fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length) abort();
    return fd;
}

TEST(changed_files_are_noticed)
{
    struct timespec times[2];
    char path[80];
    int fd;
    begin(0, 0);
    fd = scratch_file(path, sizeof(path), "0123456789", 10);
    mm_chunkqueue_append_file(&q, path, 0, 10);
    CHECK_EQ(mm_chunkqueue_append_fd_ref(&q2, fd, 2, 6, NULL, NULL), MM_STATUS_OK);
    shim.open_fds++; /* owned */
    CHECK_EQ(mm_chunk_verify(q.first), MM_STATUS_OK);
    CHECK_EQ(mm_chunk_verify(q2.first), MM_STATUS_OK);
    CHECK_EQ(mm_chunk_verify(q2.first), MM_STATUS_OK);
    CHECK_EQ(q2.first->source->identity.size, 10);
    memset(times, 0, sizeof(times));
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_sec = 1000000000; /* a time that it did not have */
    times[1].tv_nsec = 1;
    CHECK_EQ(futimens(fd, times), 0);
    CHECK_EQ(mm_chunk_verify(q.first), MM_STATUS_INVALID);
    CHECK_EQ(mm_chunk_verify(q2.first), MM_STATUS_INVALID);
    CHECK_EQ(ftruncate(fd, 7), 0);
    CHECK_EQ(mm_chunk_verify(q.first), MM_STATUS_TRUNCATED);
    CHECK_EQ(mm_chunk_verify(q2.first), MM_STATUS_TRUNCATED);
    shim_fail(1, 0, EIO);
    CHECK_EQ(mm_chunk_verify(q2.first), MM_STATUS_IO);
    unlink(path);
    mm_chunkqueue_append_mem(&q2, "m", 1);
    CHECK_EQ(mm_chunk_verify(q2.last), MM_STATUS_OK);
    CHECK_SUB(end());
}

#ifdef MMI_NOWAIT
TEST(reads_that_would_wait)
{
    char scratch[64];
    const char *data;
    size_t got;
    begin(0, 0);
    mm_chunkqueue_append_mem(&q, "<", 1);
    mm_chunkqueue_append_file(&q, file_path, 0, 20);
    shim.cold = EAGAIN;
    shim.cold_at = 5;
    CHECK_EQ(mm_chunkqueue_peek_nowait(&q, scratch, 64, &data, &got), MM_STATUS_OK);
    CHECK(got == 6 && memcmp(data + 1, file_bytes, 5) == 0); /* what is there */
    CHECK(q.last->busy);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 6), MM_STATUS_OK);
    q.first->busy = false;
    CHECK_EQ(mm_chunkqueue_peek_nowait(&q, scratch, 64, &data, &got), MM_STATUS_AGAIN);
    CHECK(q.first->busy && got == 0);
    CHECK_EQ(mm_chunkqueue_peek_nowait(&q, scratch, 64, &data, &got), MM_STATUS_OK);
    CHECK(got == 15 && !q.first->busy && memcmp(data, file_bytes + 5, 15) == 0); /* waited */
    shim.cold = -1; /* a kernel that says "end of file" where it means "not yet" */
    CHECK_EQ(mm_chunkqueue_peek_nowait(&q, scratch, 64, &data, &got), MM_STATUS_OK);
    CHECK(got == 15 && memcmp(data, file_bytes + 5, 15) == 0);
    shim.cold = EOPNOTSUPP; /* a file system that cannot tell is asked once */
    CHECK_EQ(mm_chunkqueue_peek_nowait(&q, scratch, 64, &data, &got), MM_STATUS_OK);
    CHECK(got == 15 && q.first->source->waits);
    shim.cold = 0;
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_append_file(&q, file_path, FILE_SIZE - 3, 3);
    CHECK_EQ(mm_chunkqueue_peek_nowait(&q, scratch, 64, &data, &got), MM_STATUS_OK);
    CHECK(got == 3 && memcmp(data, file_bytes + FILE_SIZE - 3, 3) == 0);
    mm_chunkqueue_append_file(&q, "/nowhere/at/all", 0, 1);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 3), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_peek_nowait(&q, scratch, 64, &data, &got), MM_STATUS_NOT_FOUND);
    CHECK_SUB(end());
}
#endif

/* Beyond 4 GiB, in a file with a hole. */
TEST(large_offsets)
{
    const int64_t border = (int64_t)1 << 32;
    char path[80], bytes[8];
    int fd;
    begin(0, 0);
    fd = scratch_file(path, sizeof(path), "", 0);
    unlink(path);
    shim.open_fds++;
    if (ftruncate(fd, 5 * ((off_t)1 << 30)) == 0 &&
        pwrite(fd, "abcd", 4, (off_t)(border - 2)) == 4) {
        CHECK_EQ(mm_chunkqueue_append_fd_ref(&q, fd, border - 3, 6, NULL, NULL), MM_STATUS_OK);
        CHECK_EQ(mm_chunkqueue_steal(&q2, &q, 3), MM_STATUS_OK);
        CHECK_EQ(mm_chunkqueue_read(&q2, bytes, 3), MM_STATUS_OK);
        CHECK(memcmp(bytes, "\0ab", 3) == 0);
        CHECK_EQ(mm_chunkqueue_read(&q, bytes, 3), MM_STATUS_OK);
        CHECK(memcmp(bytes, "cd\0", 3) == 0);
    } else shim_close(fd);
    mm_chunkqueue_append_file(&q, file_path, INT64_MAX - 20, 20);
    CHECK_EQ(mm_chunkqueue_read(&q, bytes, 3), MM_STATUS_TRUNCATED);
    CHECK_SUB(end());
}

/* A queue of very many chunks is as good as a short one. */
TEST(very_many_chunks)
{
    enum { CHUNKS = 100000 };
    int64_t i, left = CHUNKS * 3;
    begin(0, 0);
    for (i = 0; i < CHUNKS; i++)
        CHECK_EQ(mm_chunkqueue_append_reference(&q, file_bytes + i % 1000, 3, NULL, NULL),
                 MM_STATUS_OK);
    CHECK_EQ(pool.stats.chunks, CHUNKS);
    for (i = 1; left > 0; i++) { /* at each kind of border */
        int64_t n = i % 1000 < left ? i % 1000 : left;
        CHECK_EQ(mm_chunkqueue_steal(&q2, &q, n), MM_STATUS_OK);
        left -= n;
    }
    CHECK(mm_chunkqueue_check(&q2));
    mm_chunkqueue_reset(&q2);
    CHECK(mm_chunk_pool_get_stats(&pool).cached_files <= pool.files.keep);
    CHECK_SUB(end());
}

TEST(counts_end_at_the_largest)
{
    size_t size;
    begin(0, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "", SIZE_MAX), MM_STATUS_TOO_LARGE);
    mm_chunkqueue_clear_status(&q);
    CHECK(mm_chunkqueue_get_memory(&q, SIZE_MAX, &size) == NULL);
    CHECK(mm_chunkqueue_append_open(&q, SIZE_MAX) == NULL);
    CHECK_EQ(mm_chunkqueue_status(&q), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_file(&q, file_path, 0, INT64_MAX - 10), MM_STATUS_OK);
    CHECK(mm_chunkqueue_get_memory(&q, 0, &size) != NULL);
    CHECK_EQ(size, 10);
    mm_chunkqueue_use_memory(&q, 10);
    CHECK_EQ(mm_chunkqueue_length(&q), INT64_MAX);
    CHECK(mm_chunkqueue_check(&q));
    CHECK_EQ(mm_chunkqueue_append_mem(&q, "x", 1), MM_STATUS_TOO_LARGE);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_prepend_mem(&q, "x", 1), MM_STATUS_TOO_LARGE);
    mm_chunkqueue_clear_status(&q);
    CHECK(mm_chunkqueue_get_memory(&q, 0, &size) == NULL);
    mm_chunkqueue_append_mem(&q2, "y", 1);
    mm_chunkqueue_clear_status(&q);
    CHECK_EQ(mm_chunkqueue_steal(&q, &q2, 1), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_chunkqueue_append_queue(&q, &q2), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_chunkqueue_length(&q2), 1);
    CHECK_EQ(mm_chunkqueue_steal(&q2, &q, INT64_MAX - 12), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_mark_written(&q, 2), MM_STATUS_OK);
    CHECK_EQ(q.first->type, MM_CHUNK_MEM);
    CHECK_SUB(end());
}

/* ---- views ---- */

#ifdef MM_CHUNK_VIEWS
enum { VIEW_FILE = 2000000 };

static unsigned char view_byte(int64_t at)
{
    return (unsigned char)(at % 251 + at / 4096 % 7);
}

/* An open file whose bytes view_byte knows. Nameless. */
static int view_file(void)
{
    static char bytes[VIEW_FILE];
    char path[80];
    int64_t i;
    int fd;
    for (i = 0; i < VIEW_FILE; i++) bytes[i] = (char)view_byte(i);
    fd = scratch_file(path, sizeof(path), bytes, sizeof(bytes));
    unlink(path);
    return fd;
}

static int is_view_of(mm_slice bytes, int64_t at)
{
    size_t i;
    for (i = 0; i < bytes.len; i++)
        if ((unsigned char)bytes.ptr[i] != view_byte(at + (int64_t)i)) return 0;
    return 1;
}

TEST(views_are_windows)
{
    mm_chunk_view *a, *b, *none;
    mm_slice bytes, other;
    int fd;
    begin(0, 0);
    fd = view_file();
    shim.open_fds++;
    CHECK_EQ(mm_chunk_views_begin(), MM_STATUS_OK);
    CHECK_EQ(mm_chunk_views_begin(), MM_STATUS_OK);
    mm_chunk_views_end();
    CHECK_EQ(mm_chunkqueue_append_fd(&q, fd, 5000, VIEW_FILE - 5000), MM_STATUS_OK);
    CHECK_EQ(mm_chunk_view_get(&pool, q.first, 0, &a, &bytes), MM_STATUS_OK);
    CHECK(bytes.len == MMI_VIEW_SIZE - 5000 % mmi_view_page && is_view_of(bytes, 5000));
    CHECK_EQ(mm_chunkqueue_steal(&q2, &q, 100000), MM_STATUS_OK); /* both parts see one window */
    CHECK_EQ(mm_chunk_view_get(&pool, q.first, 1000, &b, &other), MM_STATUS_OK);
    CHECK(a == b && shim.maps == 1 && is_view_of(other, 105000));
    CHECK_EQ(mm_chunk_view_put(&pool, q.first, b), MM_STATUS_OK);
    CHECK_EQ(mm_chunk_view_get(&pool, q.first, 1000000, &b, &other), MM_STATUS_OK);
    CHECK(other.len >= 1000000 && shim.maps == 2 && is_view_of(other, 105000));
    CHECK(is_view_of(bytes, 5000)); /* another window does not move the ones in use */
    CHECK_EQ(mm_chunk_view_put(&pool, q2.first, a), MM_STATUS_OK);
    CHECK_EQ(shim.maps, 1);
    CHECK_EQ(mm_chunk_view_put(&pool, q.first, b), MM_STATUS_OK);
    CHECK_EQ(mm_chunk_view_get(&pool, q2.first, SIZE_MAX, &a, &bytes), MM_STATUS_OK);
    CHECK(bytes.len == 100000 && is_view_of(bytes, 5000));
    CHECK_EQ(mm_chunk_view_put(&pool, q2.first, a), MM_STATUS_OK);
    mm_chunkqueue_append_mem(&q2, "memory", 6);
    CHECK_EQ(mm_chunk_view_get(&pool, q2.last, 0, &none, &bytes), MM_STATUS_OK);
    CHECK(none == NULL && bytes.len == 6 && memcmp(bytes.ptr, "memory", 6) == 0);
    CHECK_EQ(mm_chunk_view_put(&pool, q2.last, none), MM_STATUS_OK);
    mm_chunkqueue_reset(&q);
    mm_chunkqueue_reset(&q2);
    CHECK_EQ(shim.maps, 0);
    mm_chunk_views_end();
    CHECK_SUB(end());
}

TEST(views_that_cannot_be)
{
    mm_chunk_view *view;
    mm_slice bytes;
    size_t n, i;
    begin(0, 0);
    CHECK_EQ(mm_chunk_views_begin(), MM_STATUS_OK);
    mm_chunkqueue_append_file(&q, "/nowhere/at/all", 0, 5);
    CHECK_EQ(mm_chunk_view_get(&pool, q.first, 0, &view, &bytes), MM_STATUS_NOT_FOUND);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_chunkqueue_append_file(&q, file_path, 0, 100), MM_STATUS_OK);
    for (n = 1; n <= 4; n++) { /* open, fstat, fstat, mmap */
        shim_fail(n, 0, ENOMEM);
        CHECK_EQ(mm_chunk_view_get(&pool, q.first, 0, &view, &bytes), MM_STATUS_NO_MEMORY);
        CHECK(view == NULL && shim.maps == 0);
        shim_fail(0, 0, 0);
        mm_chunkqueue_reset(&q);
        CHECK_EQ(mm_chunkqueue_append_file(&q, file_path, 0, 100), MM_STATUS_OK);
    }
    mm_chunk_pool_trim(&pool, 0);
    test_allocator_fail(&memory, 1, 0);
    CHECK_EQ(mm_chunk_view_get(&pool, q.first, 0, &view, &bytes), MM_STATUS_NO_MEMORY);
    for (i = 0; i < MMI_VIEW_SLOTS; i++) mmi_view_slots[i].base = 1;
    CHECK_EQ(mm_chunk_view_get(&pool, q.first, 0, &view, &bytes), MM_STATUS_LIMIT);
    for (i = 0; i < MMI_VIEW_SLOTS; i++) mmi_view_slots[i].base = 0;
    shim_fail(2, 0, EINVAL); /* a file system that shares no pages, but maps */
    CHECK_EQ(mm_chunk_view_get(&pool, q.first, 0, &view, &bytes), MM_STATUS_OK);
    CHECK_EQ(mm_chunk_view_put(&pool, q.first, view), MM_STATUS_OK);
    mm_chunkqueue_reset(&q);
    mm_chunk_views_end();
    CHECK_SUB(end());
}

/* One thread: a pool of its own, a file that is cut short while it is being looked at. */
static void *look_at_cut_file(void *result)
{
    mm_chunk_pool own;
    mm_chunkqueue queue;
    mm_chunk_view *view;
    mm_slice bytes;
    int fd, *passed = (int *)result;
    static const char page[4096] = {1};
    char path[80];
    size_t i, sum = 0;
    snprintf(path, sizeof(path), "%s/cut-XXXXXX", dir);
    fd = mkstemp(path);
    unlink(path);
    for (i = 0; i < 100; i++)
        if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page)) return NULL;
    if (mm_chunk_pool_init(&own, NULL) != MM_STATUS_OK) return NULL;
    mm_chunkqueue_init(&queue, &own);
    if (mm_chunkqueue_append_fd(&queue, fd, 0, 409600) != MM_STATUS_OK) return NULL;
    if (mm_chunk_view_get(&own, queue.first, 0, &view, &bytes) != MM_STATUS_OK) return NULL;
    for (i = 0; i < 50; i++) sum += (size_t)bytes.ptr[i * 4096];
    if (ftruncate(fd, 5000) != 0) return NULL;
    for (i = 0; i < bytes.len; i += 4096) sum += (size_t)bytes.ptr[i];
    if (sum == 52 && mm_chunk_view_put(&own, queue.first, view) == MM_STATUS_TRUNCATED)
        *passed = 1;
    if (mm_chunk_view_get(&own, queue.first, 0, &view, &bytes) != MM_STATUS_TRUNCATED) *passed = 0;
    mm_chunkqueue_deinit(&queue);
    if (mm_chunk_pool_deinit(&own) != 0) *passed = 0;
    return NULL;
}

static int four_threads(void)
{
    pthread_t threads[4];
    int passed[4] = {0, 0, 0, 0}, i;
    if (mm_chunk_views_begin() != MM_STATUS_OK) return 1;
    shim_reset();
    for (i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, look_at_cut_file, &passed[i]) != 0) return 2;
    for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    mm_chunk_views_end();
    return !(passed[0] && passed[1] && passed[2] && passed[3]);
}

TEST(files_cut_short_in_four_threads)
{
    CHECK_SUB(in_child(four_threads));
}

/* A fault that is not in a window must end the process, as it would without us. */
static int fault_elsewhere(void)
{
    volatile char *map;
    char path[80];
    int fd = scratch_file(path, sizeof(path), "x", 1);
    unlink(path);
    if (mm_chunk_views_begin() != MM_STATUS_OK) return 0;
    signal(SIGALRM, SIG_DFL);
    map = (volatile char *)mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || freopen("/dev/null", "w", stderr) == NULL) return 0;
    return map[4096]; /* not there: 0 would be a pass that must not be */
}

TEST(faults_elsewhere_are_not_hidden)
{
    int status = 0;
    pid_t child;
    fixture();
    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(fault_elsewhere());
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(status != 0);
}

#define VIEW_TESTS T(views_are_windows), T(views_that_cannot_be), \
    T(files_cut_short_in_four_threads), T(faults_elsewhere_are_not_hidden),
#else
#define VIEW_TESTS
#endif

#ifdef MMI_NOWAIT
#define NOWAIT_TESTS T(reads_that_would_wait),
#else
#define NOWAIT_TESTS
#endif

TEST_MAIN(VIEW_TESTS NOWAIT_TESTS DIR_TESTS T(empty_queue), T(pool_desc_is_checked),
          T(one_byte_a_million_times), T(pooled_chunk_stays_its_size), T(free_memory_is_bounded),
          T(buffers_move_or_copy), T(split_shares_the_bytes), T(steal_nothing),
          T(file_ranges_and_ownership), T(file_by_name_fails_when_it_is_needed),
          T(peek_never_skips), T(spill_keeps_the_order), T(named_temp_files_leave_no_name),
          T(full_directory_falls_over_to_the_next), T(refused_spill_gives_the_disk_back),
          T(full_disk_is_what_is_told), T(half_a_buffer_is_not_appended),
          T(every_call_of_a_spill_fails), T(every_allocation_of_a_spill_fails), T(model_holds),
          T(large_appends_take_large_blocks), T(structures_lie_ready_with_blocks),
          T(copies_are_what_the_header_says), T(memory_is_wiped_on_request),
          T(kept_memory_decays), T(kept_memory_decays_unasked),
          T(refused_memory_is_taken_from_what_is_kept), T(kept_memory_is_reclaimed),
          T(buffers_on_loan), T(references_are_released_once), T(shared_bytes_are_shared),
          T(exact_chunks_waste_nothing), T(open_buffers), T(prepends), T(spans_for_readv),
          T(places_are_not_shared), T(ranges_keep_their_bytes), T(bytes_are_copied_once),
          T(steal_into_temp_files), T(limits_of_a_queue), T(limits_below_nothing_are_nothing),
          T(quota_of_all_queues),
          T(watermarks_are_told_once), T(temp_files_have_no_name_and_a_size),
          T(spill_writes_chunks_together), T(temp_file_that_others_write), T(very_many_chunks),
          T(bad_directory_rests), T(directories_that_are_none), T(disk_full_at_every_byte),
          T(file_size_limit), T(small_disk_fills_up), T(written_more_than_there_is),
          T(contiguous_copies_what_is_missing), T(bytes_and_lines_are_found),
          T(small_body_joins_its_headers), T(changed_files_are_noticed), T(large_offsets),
          T(counts_end_at_the_largest), T(deinit_refuses_while_chunks_are_out))
