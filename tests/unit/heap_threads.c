/* mm_heap: threads that come and go by the ten thousand and leave blocks behind, caches that nobody
 * has any more, threads that end in every way, and fork while others allocate. */
#define _POSIX_C_SOURCE 200809L /* barriers */
#define MM_IMPLEMENTATION
#include "../../mm_heap.h"
#include "../heap_tools.h"
#include <sys/wait.h>
#include <unistd.h>

/* KiB of this process that are in memory; 0: unknown. */
static size_t resident_now(void)
{
    unsigned long all, here = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%lu %lu", &all, &here) != 2) here = 0;
    fclose(file);
    return (size_t)here * ((size_t)sysconf(_SC_PAGESIZE) / 1024);
}

// ---- threads that come and go ----

#define BATCH 8 /* threads at a time */
#define LEFT 12 /* blocks that each leaves behind */

static unsigned char *left[BATCH][LEFT];
static size_t left_size[BATCH][LEFT];

static size_t left_of(uint64_t *random, size_t i)
{
    return i == 0 ? 30000 + random_size(random, 16) : random_size(random, 12);
}

/* Uses the heap a little, frees what the thread before left in this place, and leaves as much. */
static void *churn_run(void *value)
{
    size_t place = (size_t)(uintptr_t)value % BATCH, i;
    uint64_t random = (uint64_t)(uintptr_t)value * 977 + 1;
    void *own[8];
    for (i = 0; i < 8; i++) EXPECT((own[i] = mm_heap_alloc(random_size(&random, 13))) != NULL);
    for (i = 0; i < LEFT; i++) {
        if (left[place][i] != NULL) {
            EXPECT(is_filled(left[place][i], (int)i + 1, left_size[place][i]));
            mm_heap_free(left[place][i]);
        }
        left_size[place][i] = left_of(&random, i);
        left[place][i] = (unsigned char *)mm_heap_alloc(left_size[place][i]);
        EXPECT(left[place][i] != NULL);
        if (left[place][i] != NULL) memset(left[place][i], (int)i + 1, left_size[place][i]);
    }
    for (i = 0; i < 8; i++) mm_heap_free(own[i]);
    return NULL;
}

static void churn_end(void)
{
    size_t place, i;
    for (place = 0; place < BATCH; place++) {
        for (i = 0; i < LEFT; i++) {
            mm_heap_free(left[place][i]);
            left[place][i] = NULL;
        }
    }
}

/* What the first tenth of all threads took at most, the others must find enough, for there
 * are never more blocks than at first; more threads at a time than before may need a cache more
 * each. 1 KiB that each thread leaves would be 100 MiB. */
static void check_churn(size_t total, size_t at_a_time)
{
    mm_heap_stats early = {0}, late;
    size_t resident = 0, caches = stats_now().caches, made, i;
    pthread_t threads[BATCH];
    for (made = 0; made < total; made += at_a_time) {
        for (i = 0; i < at_a_time; i++) start(&threads[i], churn_run, (void *)(made + i));
        for (i = 0; i < at_a_time; i++) join(threads[i]);
        if (made < total / 10) {
            size_t committed = early.committed;
            early = stats_now();
            if (early.committed < committed) early.committed = committed;
            resident = resident_now();
        }
        if (made % (total / 50) == 0) CHECK(mm_heap_check());
        CHECK_EQ(errors, 0);
    }
    late = stats_now();
    CHECK(late.committed <= early.committed + (at_a_time + 1) * MMI_HEAP_SPAN_SIZE);
    CHECK(late.metadata <= early.metadata + MMI_HEAP_META_CHUNK);
    CHECK(late.caches <= (caches > at_a_time ? caches : at_a_time + 1)); /* and the main thread */
    CHECK(resident_now() <= resident + FEWER(16, 64, 64) * 1024);
    churn_end();
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
}

TEST(threads_come_and_go_in_a_row)
{
    CHECK_SUB(check_churn(FEWER(100000, 4000, 400), 1));
}

TEST(threads_come_and_go_in_batches)
{
    CHECK_SUB(check_churn(FEWER(40000, 4000, 400), BATCH));
}

// ---- caches that nobody has any more ----

#define GONE 30 /* threads that end */
#define KEPT 40 /* blocks that each leaves live, of */
#define EACH 400

static struct {
    unsigned char *small[KEPT], *chunk[3], *huge;
} gone[GONE];
static pthread_barrier_t gone_barrier;

/* Leaves every tenth small block, each on a page with free ones, every other chunk, and a mapping.
 * All end together, so that each has a cache of its own. */
static void *gone_run(void *value)
{
    size_t me = (size_t)(uintptr_t)value, i;
    void *blocks[EACH], *chunks[6];
    pthread_barrier_wait(&gone_barrier);
    for (i = 0; i < EACH; i++) EXPECT((blocks[i] = mm_heap_alloc(500)) != NULL);
    for (i = 0; i < 6; i++) EXPECT((chunks[i] = mm_heap_alloc(100000)) != NULL);
    gone[me].huge = (unsigned char *)mm_heap_alloc(MM_HEAP_HUGE + 1);
    EXPECT(gone[me].huge != NULL);
    gone[me].huge[0] = gone[me].huge[MM_HEAP_HUGE] = (unsigned char)me;
    for (i = 0; i < EACH; i++) {
        if (i % 10 != 0) mm_heap_free(blocks[i]);
        else memset(gone[me].small[i / 10] = (unsigned char *)blocks[i], (int)me, 500);
    }
    for (i = 0; i < 6; i++) {
        if (i % 2 != 0) mm_heap_free(chunks[i]);
        else memset(gone[me].chunk[i / 2] = (unsigned char *)chunks[i], (int)me, 100000);
    }
    pthread_barrier_wait(&gone_barrier);
    return NULL;
}

static void gone_start(void)
{
    pthread_t threads[GONE];
    size_t i;
    CHECK_EQ(pthread_barrier_init(&gone_barrier, NULL, GONE), 0);
    for (i = 0; i < GONE; i++) start(&threads[i], gone_run, (void *)i);
    for (i = 0; i < GONE; i++) join(threads[i]);
    pthread_barrier_destroy(&gone_barrier);
    CHECK_EQ(errors, 0);
    CHECK(stats_now().caches >= GONE && mm_heap_check());
}

static void gone_free(size_t me)
{
    size_t i;
    for (i = 0; i < KEPT; i++) {
        CHECK(is_filled(gone[me].small[i], (int)me, 500));
        mm_heap_free(gone[me].small[i]);
    }
    for (i = 0; i < 3; i++) {
        CHECK(is_filled(gone[me].chunk[i], (int)me, 100000));
        mm_heap_free(gone[me].chunk[i]);
    }
    CHECK(gone[me].huge[0] == me && gone[me].huge[MM_HEAP_HUGE] == me);
    mm_heap_free(gone[me].huge);
}

/* Whose blocks may go home to a cache without a thread. */
static void *gone_free_run(void *value)
{
    size_t i;
    for (i = (size_t)(uintptr_t)value; i < GONE; i += 2) gone_free(i);
    return NULL;
}

static void gone_free_by_two(void)
{
    pthread_t threads[2];
    size_t i;
    for (i = 0; i < 2; i++) start(&threads[i], gone_free_run, (void *)i);
    for (i = 0; i < 2; i++) join(threads[i]);
}

TEST(what_ended_threads_left_is_used_up)
{
    static void *blocks[GONE * EACH];
    size_t reserved, i, count = GONE * (EACH - KEPT) * 3 / 4;
    mm_heap_trim();
    CHECK_SUB(gone_start());
    reserved = stats_now().reserved;
    for (i = 0; i < count; i++) CHECK((blocks[i] = mm_heap_alloc(500)) != NULL);
    CHECK(stats_now().reserved <= reserved + MMI_HEAP_SPAN_SIZE);
    CHECK(mm_heap_check());
    CHECK_SUB(gone_free_by_two());
    for (i = 0; i < count; i++) mm_heap_free(blocks[i]);
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
}

TEST(chunks_that_ended_threads_left_are_used_up)
{
    void *blocks[GONE * 2];
    size_t reserved, i;
    CHECK_SUB(gone_start());
    reserved = stats_now().reserved;
    for (i = 0; i < GONE * 2; i++) CHECK((blocks[i] = mm_heap_alloc(100000)) != NULL);
    CHECK(stats_now().reserved <= reserved + MMI_HEAP_SPAN_SIZE);
    CHECK_SUB(gone_free_by_two());
    for (i = 0; i < GONE * 2; i++) mm_heap_free(blocks[i]);
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
}

TEST(what_ended_threads_left_goes_back)
{
    CHECK_SUB(gone_start());
    CHECK_SUB(gone_free_by_two());
    CHECK_QUIET();
    mm_heap_trim();
    CHECK_EQ(stats_now().committed, stats_now().metadata);
}

/* Allocates until there is no memory, and once more; how many blocks there were, all free again. */
static size_t fill_up(mm_heap *heap)
{
    void **chain = NULL, **block;
    size_t count = 0;
    while ((block = (void **)mm_heap_alloc_in(heap, 500)) != NULL) {
        *block = (void *)chain;
        chain = block;
        count++;
    }
    EXPECT(mm_heap_alloc_in(heap, 500) == NULL);
    for (; chain != NULL; chain = block) {
        block = (void **)*chain;
        mm_heap_free(chain);
    }
    return count;
}

/* A limit is reached again and again: a heap with one of its own brings nothing home of what ended
 * threads left, for it has no use for that, and the process brings it home once. */
TEST(limits_make_short_work_of_ended_threads)
{
    mm_heap_desc desc = {"limited", (size_t)1 << 20, false};
    mm_heap *heap = mm_heap_create(&desc);
    mmi_heap_cache *cache;
    size_t i, count;
    CHECK(heap != NULL);
    CHECK_SUB(gone_start());
    cache = mmi_heap_owner(mmi_heap_page_at(gone[0].small[0]));
    CHECK_SUB(gone_free(0));
    mmi_heap_collect(mmi_heap_mine); /* sends the parcels */
    CHECK(cache->home && mmi_atomic_load(&cache->remote) != 0);
    count = fill_up(heap);
    CHECK(count > 1000);
    CHECK_EQ(fill_up(heap), count);
    CHECK(mmi_atomic_load(&cache->remote) != 0);
    CHECK(!mmi_heap_shelf_is_home());
    mm_heap_set_limit(stats_now().committed);
    CHECK(fill_up(NULL) > 1000);
    CHECK(mmi_heap_shelf_is_home());
    mm_heap_set_limit(0);
    for (i = 1; i < GONE; i++) CHECK_SUB(gone_free(i));
    mm_heap_destroy(heap);
    CHECK_QUIET();
    mm_heap_trim();
    CHECK(mmi_heap_shelf_is_home() && mm_heap_check());
    CHECK_EQ(stats_now().committed, stats_now().metadata);
}

// ---- the ends of threads ----

static void *ends_run(void *value)
{
    void **block = (void **)value;
    mm_heap_free(*block); /* the main thread's */
    *block = mm_heap_alloc(3000);
    EXPECT(*block != NULL);
    mm_heap_free(mm_heap_alloc(70000));
    return value;
}

static void *ends_exit(void *value)
{
    pthread_exit(ends_run(value));
}

static void *ends_cancelled(void *value)
{
    ends_run(value);
    for (;;) {
        pthread_testcancel();
        sched_yield();
    }
    return NULL; /* which not all compilers know to be out of reach */
}

/* Only frees, and so never gets a cache. */
static void *ends_freeing(void *value)
{
    void **block = (void **)value;
    mm_heap_free(*block);
    *block = NULL;
    return value;
}

static size_t trimming; /* atomic */

static void *trim_run(void *value)
{
    (void)value;
    while (mmi_atomic_load(&trimming) != 0) mm_heap_trim();
    return NULL;
}

static void *wait_and_use_run(void *value)
{
    pthread_barrier_t *barrier = (pthread_barrier_t *)value;
    size_t size;
    void *ptr;
    for (size = 16; size <= 4096; size *= 2) {
        EXPECT((ptr = mm_heap_alloc(size)) != NULL);
        mm_heap_free(ptr);
    }
    if (barrier != NULL) pthread_barrier_wait(barrier);
    return NULL;
}

/* A thread that begins while another looks through the shelf is to find a cache there. */
TEST(shelf_is_there_while_it_is_trimmed)
{
    pthread_barrier_t barrier;
    pthread_t threads[BATCH], trimmer;
    size_t caches, i;
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, BATCH), 0);
    for (i = 0; i < BATCH; i++) start(&threads[i], wait_and_use_run, &barrier);
    for (i = 0; i < BATCH; i++) join(threads[i]);
    pthread_barrier_destroy(&barrier);
    caches = stats_now().caches;
    mmi_atomic_store(&trimming, (size_t)1);
    start(&trimmer, trim_run, NULL);
    for (i = 0; i < FEWER(2000, 500, 100); i++) {
        start(&threads[0], wait_and_use_run, NULL);
        join(threads[0]);
    }
    mmi_atomic_store(&trimming, (size_t)0);
    join(trimmer);
    CHECK_EQ(stats_now().caches, caches);
    CHECK_EQ(errors, 0);
}

TEST(threads_end_in_every_way)
{
    static void *(*const ways[])(void *) = {ends_run, ends_exit, ends_cancelled, ends_freeing};
    size_t round, caches = 0;
    pthread_t thread;
    for (round = 0; round < 400; round++) {
        void *block = mm_heap_alloc(round * 7), *result;
        start(&thread, ways[round % 4], &block);
        if (round % 4 == 2) pthread_cancel(thread);
        CHECK_EQ(pthread_join(thread, &result), 0);
        mm_heap_free(block);
        if (round == 10) caches = stats_now().caches;
    }
    CHECK_EQ(stats_now().caches, caches);
    CHECK_QUIET();
}

// ---- fork ----

#define STORM 3
#define STORM_SLOTS 200

static size_t storm_over;
static struct {
    unsigned char *ptr;
    size_t size;
} storm[STORM][STORM_SLOTS];

/* Allocates and frees at random, for so many steps or until the storm is over. */
static void storm_steps(size_t me, uint64_t random, size_t steps)
{
    for (; steps > 0 && mmi_atomic_load(&storm_over) == 0; steps--) {
        size_t i = (size_t)(test_random(&random) >> 32) % STORM_SLOTS;
        size_t size = random_size(&random, test_random(&random) >> 60 == 0 ? 19 : 11);
        EXPECT(storm[me][i].ptr == NULL ||
               is_filled(storm[me][i].ptr, (int)(storm[me][i].size % 251), storm[me][i].size));
        mm_heap_free(storm[me][i].ptr);
        storm[me][i].ptr = (unsigned char *)mm_heap_alloc(size);
        storm[me][i].size = size;
        EXPECT(storm[me][i].ptr != NULL);
        if (storm[me][i].ptr != NULL) memset(storm[me][i].ptr, (int)(size % 251), size);
    }
}

static void storm_free(size_t me)
{
    size_t i;
    for (i = 0; i < STORM_SLOTS; i++) {
        mm_heap_free(storm[me][i].ptr);
        storm[me][i].ptr = NULL;
    }
}

static void *storm_run(void *value)
{
    storm_steps((size_t)(uintptr_t)value, (uint64_t)(uintptr_t)value + 5, SIZE_MAX);
    return NULL;
}

/* In the child, which has none of these threads: what they had is lost to it, and the slots are for
 * new blocks of its own. */
static void *child_thread(void *value)
{
    size_t me = (size_t)(uintptr_t)value;
    memset(storm[me], 0, sizeof(storm[me]));
    storm_steps(me, me + 99, FEWER(3000, 500, 200));
    storm_free(me);
    return NULL;
}

/* TSan allows a child no threads, and ASan's own locks may be held in it for ever. */
#ifdef MMI_ASAN
#define CHILD_HAS_THREADS false
#else
#define CHILD_HAS_THREADS (!UNDER_TSAN)
#endif

/* Children allocate and free on threads of their own, free what the parent's main thread had, and
 * have children in turn. */
static int child_run(void **parents, size_t count, int depth)
{
    pthread_t threads[STORM];
    int status = 0;
    pid_t child;
    size_t i;
    alarm(60); /* a deadlock is a failure */
    storm_over = errors = 0;
    for (i = 0; i < count / 2; i++) mm_heap_free(parents[i]);
    for (i = 0; i < STORM && CHILD_HAS_THREADS; i++) start(&threads[i], child_thread, (void *)i);
    for (i = 0; i < STORM && !CHILD_HAS_THREADS; i++) child_thread((void *)i);
    if (depth > 0) {
        child = fork();
        if (child == 0) _exit(child_run(parents + count / 2, count - count / 2, depth - 1));
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 5;
    }
    for (i = 0; i < STORM && CHILD_HAS_THREADS; i++) join(threads[i]);
    for (i = count / 2; i < count; i++) mm_heap_free(parents[i]);
    mm_heap_trim();
    if (errors != 0) return 6;
    return mm_heap_check() ? 0 : 7;
}

/* Forks with some blocks live; the child's status, or -1. */
static int fork_once(void)
{
    void *mine[30];
    int status = -1;
    pid_t child;
    size_t k;
    for (k = 0; k < 30; k++) EXPECT((mine[k] = mm_heap_alloc(k * k * 400)) != NULL);
    child = fork();
    if (child == 0) _exit(child_run(mine, 30, 1));
    if (child < 0 || waitpid(child, &status, 0) != child) status = -1;
    for (k = 0; k < 30; k++) mm_heap_free(mine[k]);
    return status;
}

TEST(children_of_a_fork_have_threads_again)
{
    pthread_t threads[STORM];
    size_t i;
    int status = 0;
    storm_over = 0;
    for (i = 0; i < STORM; i++) start(&threads[i], storm_run, (void *)i);
    for (i = 0; i < FEWER(30, 10, 4) && status == 0; i++) status = fork_once();
    mmi_atomic_store(&storm_over, (size_t)1);
    for (i = 0; i < STORM; i++) join(threads[i]);
    CHECK_EQ(status, 0);
    for (i = 0; i < STORM; i++) storm_free(i);
    CHECK_QUIET();
}

/* Valgrind takes for lost, in the child of one thread, what it has of the others; a program that
   comes in its place has nothing. */
static void end_child(bool ok)
{
#ifdef MM_VALGRIND
    if (ok) execl("/bin/true", "true", (char *)NULL);
#endif
    _exit(ok ? 0 : 1);
}

static void *fork_run(void *value)
{
    size_t i;
    for (i = 0; i < FEWER(25, 5, 2); i++) {
        pid_t child = fork();
        int status = -1;
        if (child == 0) {
            void *ptr;
            alarm(60);
            ptr = mm_heap_alloc(i * 5000);
            mm_heap_free(ptr);
            end_child(ptr != NULL && mm_heap_check());
        }
        EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    return value;
}

/* Several threads fork at a time. */
TEST(threads_fork_at_the_same_time)
{
    pthread_t threads[3], storms[STORM];
    size_t i;
    storm_over = 0;
    for (i = 0; i < STORM; i++) start(&storms[i], storm_run, (void *)i);
    for (i = 0; i < 3; i++) start(&threads[i], fork_run, NULL);
    for (i = 0; i < 3; i++) join(threads[i]);
    mmi_atomic_store(&storm_over, (size_t)1);
    for (i = 0; i < STORM; i++) join(storms[i]);
    for (i = 0; i < STORM; i++) storm_free(i);
    CHECK_QUIET();
}

TEST_MAIN(T(threads_come_and_go_in_a_row), T(threads_come_and_go_in_batches),
          T(shelf_is_there_while_it_is_trimmed), T(what_ended_threads_left_is_used_up),
          T(chunks_that_ended_threads_left_are_used_up),
          T(what_ended_threads_left_goes_back),
          T(limits_make_short_work_of_ended_threads), T(threads_end_in_every_way),
          T(children_of_a_fork_have_threads_again), T(threads_fork_at_the_same_time))
