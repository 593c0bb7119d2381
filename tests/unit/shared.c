/* mm_shared on several threads: every reader sees the bytes whole, and the last one frees, once. */
#define MM_IMPLEMENTATION
#include "../../mm_buffer.h"

#include <pthread.h>

#include "../harness.h"

enum { THREADS = 4, ROUNDS = 50000 };
static const char text[] = "bytes that many hold and none changes";
static test_allocator memory;

typedef struct reader {
    pthread_t thread;
    mm_shared *shared; /* one reference, which the reader gives back */
    size_t wrong, lasts;
} reader;

static void *read_shared(void *argument)
{
    reader *r = (reader *)argument;
    int i;
    for (i = 0; i < ROUNDS; i++) {
        mm_shared *again = mm_shared_retain(r->shared);
        mm_slice bytes = mm_shared_slice(again);
        if (bytes.len != sizeof(text) - 1 || memcmp(bytes.ptr, text, bytes.len) != 0) r->wrong++;
        if (mm_shared_release(again)) r->lasts++; /* never: the reader's own is still there */
    }
    if (mm_shared_release(r->shared)) r->lasts++;
    return NULL;
}

TEST(last_of_many_threads_frees)
{
    static reader readers[THREADS];
    mm_shared *shared;
    size_t i, wrong = 0, lasts = 0;
    test_allocator_init(&memory);
    shared = mm_shared_new(mm_slice_from_string(text), &memory.base);
    CHECK(shared != NULL);
    for (i = 0; i < THREADS; i++) {
        readers[i].shared = mm_shared_retain(shared);
        CHECK_EQ(pthread_create(&readers[i].thread, NULL, read_shared, &readers[i]), 0);
    }
    lasts += mm_shared_release(shared);
    for (i = 0; i < THREADS; i++) {
        pthread_join(readers[i].thread, NULL);
        wrong += readers[i].wrong;
        lasts += readers[i].lasts;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(lasts, 1);
    CHECK_EQ(memory.live_blocks, 0);
}

TEST_MAIN(T(last_of_many_threads_frees))
