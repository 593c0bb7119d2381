/* What the files of mm_chunk.h have to do on every system, with nothing but the calls that the
   header itself makes: this runs on Windows too. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_chunk.h"

#include <dirent.h>

#include "../harness.h"

#ifdef _WIN32
#include <direct.h>
#define make_dir(path) _mkdir(path)
#else
#define make_dir(path) mkdir(path, 0700)
#endif

#define WRITE_FLAGS (O_RDWR | O_CREAT | O_TRUNC | MMI_O_CLOEXEC)

static char dir[200], missing[256], path[256];
static mm_chunk_pool pool;
static mm_chunkqueue q;

static void remove_dir(void)
{
    if (rmdir(dir) != 0) perror(dir);
}

static mm_status start(void)
{
    const char *dirs[2], *base = getenv(MMI_TEMP_VARIABLE);
    mm_chunk_pool_desc desc;
    if (dir[0] == '\0') {
        snprintf(dir, sizeof(dir), "%.100s/mm-test-files-%ld", base != NULL ? base : "/tmp",
                 (long)getpid());
        if (make_dir(dir) != 0 || atexit(remove_dir) != 0) perror(dir);
        snprintf(missing, sizeof(missing), "%s/missing", dir);
        snprintf(path, sizeof(path), "%s/file", dir);
    }
    dirs[0] = missing;
    dirs[1] = dir;
    memset(&desc, 0, sizeof(desc));
    desc.temp_dirs = dirs;
    desc.temp_dir_count = 2;
    mm_chunkqueue_init(&q, &pool);
    return mm_chunk_pool_init(&pool, &desc);
}

static void finish(void)
{
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(pool.stats.temp_files, 0);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
}

static int names_in_dir(void)
{
    DIR *list = opendir(dir);
    struct dirent *entry;
    int count = 0;
    if (list == NULL) return -1;
    while ((entry = readdir(list)) != NULL) count += entry->d_name[0] != '.';
    closedir(list);
    return count;
}

static bool reads(const char *expected, size_t size)
{
    char bytes[64];
    return size <= sizeof(bytes) && mm_chunkqueue_read(&q, bytes, size) == MM_STATUS_OK &&
           memcmp(bytes, expected, size) == 0;
}

/* Bytes that a text mode would change, or take for the end. */
static const char bytes[] = "a\r\nb\nc\r\x1a\0d\n\r";

TEST(files_by_name_and_descriptor)
{
    int fd, refs = 0;
    CHECK_EQ(start(), MM_STATUS_OK);
    fd = MM_SYS_OPEN(path, WRITE_FLAGS, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(MM_SYS_PWRITE(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
    CHECK_EQ(mm_chunkqueue_append_file(&q, path, 1, sizeof(bytes) - 1), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_fd(&q, fd, 0, sizeof(bytes)), MM_STATUS_OK);
    CHECK(reads(bytes + 1, sizeof(bytes) - 1) && reads(bytes, sizeof(bytes)));
    CHECK(mm_chunkqueue_is_empty(&q));
    CHECK_EQ(mm_chunkqueue_append_file(&q, path, 0, sizeof(bytes) + 1), MM_STATUS_OK);
    CHECK(!reads(bytes, sizeof(bytes) + 1));
    mm_chunkqueue_reset(&q);
    fd = MM_SYS_OPEN(path, O_RDONLY | MMI_O_CLOEXEC, 0);
    CHECK_EQ(mm_chunkqueue_append_fd_ref(&q, fd, 5, 100, NULL, &refs), MM_STATUS_OK);
    CHECK(reads(bytes + 5, sizeof(bytes) - 5)); /* all that there is, */
    {
        char more[8];
        CHECK_EQ(mm_chunkqueue_read(&q, more, 1), MM_STATUS_TRUNCATED); /* and it says so */
    }
    CHECK_SUB(finish());
    CHECK_EQ(MM_SYS_UNLINK(path), 0);
}

TEST(files_that_are_none)
{
    char byte;
    CHECK_EQ(start(), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_file(&q, missing, 0, 1), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_read(&q, &byte, 1), MM_STATUS_NOT_FOUND);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(mm_chunkqueue_append_file(&q, dir, 0, 1), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_read(&q, &byte, 1), MM_STATUS_DENIED);
    CHECK_SUB(finish());
}

/* The file has a hole, where the file system can have one. */
TEST(offsets_beyond_4_gib)
{
    int64_t distant = (INT64_C(5) << 30) + 7;
    mmi_stat st;
    int fd;
    if (sizeof(mmi_off) < 8) return; /* nothing is that far off, here */
    CHECK_EQ(start(), MM_STATUS_OK);
    fd = MM_SYS_OPEN(path, WRITE_FLAGS, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(MM_SYS_PWRITE(fd, bytes, sizeof(bytes), (mmi_off)distant), sizeof(bytes));
    CHECK_EQ(mm_chunkqueue_append_file(&q, path, distant, sizeof(bytes)), MM_STATUS_OK);
    CHECK_EQ(mm_chunkqueue_append_file(&q, path, 0, distant), MM_STATUS_OK);
    CHECK(reads(bytes, sizeof(bytes)) && reads("\0\0\0\0", 4));
    CHECK_EQ(mm_chunkqueue_length(&q), distant - 4);
    mm_chunkqueue_reset(&q);
    CHECK_EQ(MM_SYS_FTRUNCATE(fd, 3), 0);
    CHECK(MM_SYS_FSTAT(fd, &st) == 0 && st.st_size == 3);
    MM_SYS_CLOSE(fd);
    CHECK_SUB(finish());
    CHECK_EQ(MM_SYS_UNLINK(path), 0);
}

/* Into the second directory, for the first is not there; and nothing stays in it. */
TEST(temp_files_leave_no_name)
{
    static char large[100000], back[100000];
    mm_chunkqueue other;
    size_t i;
    CHECK_EQ(start(), MM_STATUS_OK);
    mm_chunkqueue_init(&other, &pool);
    for (i = 0; i < sizeof(large); i++) large[i] = (char)(i * 31 + i / 256);
    mm_chunkqueue_set_spill(&q, 1000);
    for (i = 0; i < sizeof(large); i += 1000) {
        CHECK_EQ(mm_chunkqueue_append_mem(&q, large + i, 1000), MM_STATUS_OK);
        CHECK(mm_chunkqueue_check(&q));
    }
    CHECK(pool.stats.temp_files >= 1 && q.memory <= 1000);
    CHECK_EQ(mm_chunkqueue_steal(&other, &q, 1), MM_STATUS_OK); /* shares the file */
    CHECK_EQ(mm_chunkqueue_read(&q, back, sizeof(large) - 1), MM_STATUS_OK);
    CHECK(memcmp(back, large + 1, sizeof(large) - 1) == 0);
    CHECK_EQ(pool.stats.temp_files, 1);
    CHECK_EQ(mm_chunkqueue_read(&other, back, 1), MM_STATUS_OK);
    CHECK_EQ(back[0], large[0]);
    CHECK_SUB(finish());
    CHECK_EQ(names_in_dir(), 0);
}

TEST_MAIN(T(files_by_name_and_descriptor), T(files_that_are_none), T(offsets_beyond_4_gib),
          T(temp_files_leave_no_name))
