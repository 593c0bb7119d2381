/* mm_chunk.h: a model test against flat byte strings, every call and allocation failing, and the
   defects of other chunk queues as cases. */
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
    char bytes[8191];
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
    CHECK_EQ(make_pool(&pool, &a, 1024, 0), MM_STATUS_OK);
    pool.regular.keep = 10000;
    mm_chunkqueue_init(&q, &pool);
    mm_chunkqueue_append_mem(&q, bytes, sizeof(bytes));
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_chunk_pool_get_stats(&pool).cached, 9 * 1024);
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
    fixture_remove();
}

TEST_MAIN(T(empty_queue), T(pool_desc_is_checked), T(one_byte_a_million_times),
          T(pooled_chunk_stays_its_size), T(free_memory_is_bounded), T(buffers_move_or_copy),
          T(split_shares_the_bytes), T(steal_nothing), T(file_ranges_and_ownership),
          T(file_by_name_fails_when_it_is_needed), T(peek_never_skips), T(spill_keeps_the_order),
          T(named_temp_files_leave_no_name), T(full_directory_falls_over_to_the_next),
          T(refused_spill_gives_the_disk_back), T(full_disk_is_what_is_told),
          T(half_a_buffer_is_not_appended),
          T(every_call_of_a_spill_fails), T(every_allocation_of_a_spill_fails), T(model_holds),
          T(deinit_refuses_while_chunks_are_out))
