/* Windows onto files, where strict ISO C hides what they need of the C library; and the file that
   shrinks, so that the trap that was set by hand is the one that is told. */
#ifndef _WIN32
#define MM_CHUNK_VIEWS
#endif
#define MM_IMPLEMENTATION
#include "../../mm_chunk.h"

#include "../harness.h"

TEST(truncation_is_survived)
{
#ifndef _WIN32
    enum { SIZE = 65536 };
    static char bytes[SIZE];
    mm_chunk_pool pool;
    mm_chunkqueue q;
    mm_chunk_view *view;
    mm_slice seen;
    CHECK_EQ(mm_chunk_pool_init(&pool, NULL), MM_STATUS_OK);
    mm_chunkqueue_init(&q, &pool);
    CHECK_EQ(mm_chunk_views_begin(), MM_STATUS_OK);
    memset(bytes, 'x', SIZE);
    mm_chunkqueue_set_spill(&q, 0);
    CHECK_EQ(mm_chunkqueue_append_mem(&q, bytes, SIZE), MM_STATUS_OK);
    CHECK_EQ(mm_chunk_view_get(&pool, q.first, SIZE, &view, &seen), MM_STATUS_OK);
    CHECK(seen.len == SIZE && seen.ptr[0] == 'x');
    CHECK_EQ(MM_SYS_FTRUNCATE(q.first->source->fd, 0), 0);
    CHECK_EQ(seen.ptr[SIZE - 1], '\0');
    CHECK_EQ(mm_chunk_view_put(&pool, q.first, view), MM_STATUS_TRUNCATED);
    mm_chunk_views_end();
    mm_chunkqueue_deinit(&q);
    CHECK_EQ(mm_chunk_pool_deinit(&pool), 0);
#endif
}

TEST_MAIN(T(truncation_is_survived))
