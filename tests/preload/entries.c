/* Every name that mm_heap.h takes from the C library, called as any program calls it: this one
 * knows nothing of the heap. entries runs with libmm_heap.so preloaded, entries_inside has the heap
 * built in by MM_HEAP_OVERRIDE. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr, reallocarray, memalign, pvalloc */
#endif
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MM_VERSION
typedef struct mm_allocator { /* harness.h brings a test allocator that nobody needs here */
    void *(*alloc_fn)(size_t size, void *user_data);
    void *(*realloc_fn)(void *ptr, size_t old_size, size_t new_size, void *user_data);
    void (*free_fn)(void *ptr, size_t size, void *user_data);
    void *user_data;
} mm_allocator;
#endif
#include "../harness.h"

#define ALIGNMENT_MOST ((size_t)1 << 20)
#define LIVE 512

static char *early; /* made by a constructor */
static uint64_t seed = 1;

__attribute__((constructor)) static void before_main(void)
{
    early = (char *)malloc(100);
    if (early != NULL) strcpy(early, "before main");
    early = (char *)realloc(early, 100000);
}

/* Hides where a value comes from, as compilers warn of sizes and alignments that cannot be. */
static size_t any(size_t value)
{
    volatile size_t hidden = value;
    return hidden;
}

static void *hide(void *ptr)
{
    void *volatile hidden = ptr;
    return hidden;
}

/* Runs a function in a child; its exit status, or 1000 and the signal that ended it. */
static int in_child(void (*function)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        function();
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* ---- whose they are ---- */

#define NAME(function) \
    { \
#function, (uintptr_t)function \
    }

TEST(all_names_are_ours)
{
    static const struct {
        const char *name;
        uintptr_t address;
    } names[] = {
        NAME(malloc),
        NAME(calloc),
        NAME(realloc),
        NAME(reallocarray),
        NAME(free),
        NAME(posix_memalign),
        NAME(aligned_alloc),
        NAME(memalign),
        NAME(valloc),
        NAME(pvalloc),
        NAME(malloc_usable_size),
        NAME(malloc_trim),
    };
    size_t i;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        Dl_info library, program;
        bool ours;
        CHECK(dladdr((void *)names[i].address, &library) != 0);
        CHECK(dladdr(&seed, &program) != 0);
        ours = strstr(library.dli_fname, "libmm_heap.so") != NULL;
#ifdef ENTRIES_INSIDE
        ours = library.dli_fbase == program.dli_fbase;
#endif
        if (!ours) printf("      %s is of %s\n", names[i].name, library.dli_fname);
        CHECK(ours);
    }
}

/* ---- all alignments with all sizes ---- */

typedef struct block {
    unsigned char *ptr;
    size_t size;
    unsigned char byte;
} block;

static block live[LIVE];
static size_t next_live;
static bool stands(const block *b)
{
    size_t i;
    for (i = 0; i < b->size; i++) {
        if (b->ptr[i] != b->byte) return false;
    }
    return true;
}

/* Keeps a new block, written to its last usable byte, in the place of an old one, which has to be
   as it was left. */
static bool keep(void *ptr, size_t usable)
{
    block *b = &live[next_live++ % LIVE];
    bool stood = b->ptr == NULL || stands(b);
    free(b->ptr);
    b->ptr = (unsigned char *)ptr;
    b->size = usable < 300000 ? usable : 300000;
    b->byte = (unsigned char)test_random(&seed);
    memset(b->ptr, b->byte, b->size);
    if (usable > b->size) b->ptr[usable - 1] = 1;
    return stood;
}

static bool keep_no_more(void)
{
    bool stood = true;
    for (next_live = 0; next_live < LIVE; next_live++) {
        block *b = &live[next_live];
        stood = stood && (b->ptr == NULL || stands(b));
        free(b->ptr);
        b->ptr = NULL;
    }
    next_live = 0;
    return stood;
}

/* Two of three blocks of all sizes are freed, so that what comes next lies between. */
static void fragment(void **blocks, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        uint64_t random = test_random(&seed);
        blocks[i] = malloc(random >> 40 & (((size_t)16 << random % 12) - 1));
    }
    for (i = 0; i < count; i++) {
        if (test_random(&seed) % 3 == 0) continue;
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

static void *posix_memalign_or_null(size_t alignment, size_t size)
{
    void *ptr = NULL;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    return posix_memalign(&ptr, alignment, size) == 0 ? ptr : NULL;
}

static void one_alignment(void *(*alloc)(size_t, size_t), size_t alignment)
{
    size_t size;
    for (size = 0; size <= (size_t)1 << 20; size += 1 + (size > 64) * (size / 37)) {
        void *ptr = alloc(alignment, size), *moved;
        size_t usable = malloc_usable_size(ptr);
        CHECK(ptr != NULL);
        CHECK_EQ((uintptr_t)ptr % alignment, 0);
        CHECK(usable >= size);
        CHECK(keep(ptr, usable));
        if (size % 8 != 0) continue;
        ptr = alloc(alignment, size + 1); /* realloc keeps what is in an aligned block */
        CHECK(ptr != NULL);
        memset(ptr, 0x5A, size + 1);
        moved = realloc(ptr, size * 2 + 1);
        CHECK(moved != NULL);
        CHECK_EQ(((unsigned char *)moved)[0], 0x5A);
        CHECK_EQ(((unsigned char *)moved)[size], 0x5A);
        free(moved);
    }
}

TEST(alignments_and_sizes_on_a_fragmented_heap)
{
    static void *blocks[30000];
    void *(*const functions[])(size_t, size_t) = {posix_memalign_or_null, aligned_alloc, memalign};
    size_t alignment, i;
    fragment(blocks, 30000);
    for (i = 0; i < 3; i++) {
        for (alignment = 1; alignment <= ALIGNMENT_MOST; alignment *= 2) {
            CHECK_SUB(one_alignment(functions[i], alignment));
        }
    }
    CHECK(keep_no_more());
    for (i = 0; i < 30000; i++) free(blocks[i]);
}

TEST(plain_blocks_suit_every_object)
{
    size_t size;
    for (size = 0; size < 70000; size += 1 + size / 100) {
        void *ptr = malloc(size);
        CHECK(ptr != NULL);
        CHECK_EQ((uintptr_t)ptr % _Alignof(max_align_t), 0);
        CHECK(malloc_usable_size(ptr) >= size);
        CHECK(keep(ptr, malloc_usable_size(ptr)));
    }
    CHECK(keep_no_more());
    CHECK_EQ(malloc_usable_size(NULL), 0);
}

TEST(pages)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
    for (size = 0; size < 10 * page; size += 100) {
        void *v = valloc(size), *p = pvalloc(size);
        CHECK(v != NULL && p != NULL);
        CHECK_EQ((uintptr_t)v % page, 0);
        CHECK_EQ((uintptr_t)p % page, 0);
        CHECK(malloc_usable_size(v) >= size);
        CHECK(malloc_usable_size(p) >= (size + (size == 0) + page - 1) / page * page);
        free(v);
        free(p);
    }
    errno = 0;
    CHECK(pvalloc(any(SIZE_MAX)) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(valloc(any(SIZE_MAX)) == NULL);
    CHECK_EQ(errno, ENOMEM);
}

/* ---- errors ---- */

TEST(posix_memalign_says_what_is_wrong)
{
    const size_t wrong[] = {0, 1, 2, 3, sizeof(void *) / 2, 24, 100, 4095, SIZE_MAX};
    const size_t large[] = {SIZE_MAX, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX,
                            PTRDIFF_MAX + (size_t)1};
    void *before = (void *)&seed, *ptr = before;
    size_t i;
    errno = 77;
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_EQ(posix_memalign(&ptr, any(wrong[i]), 100), EINVAL);
    }
    for (i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        CHECK_EQ(posix_memalign(&ptr, 64, any(large[i])), ENOMEM);
    }
    CHECK_EQ(posix_memalign(&ptr, any(SIZE_MAX / 2 + 1), 100), ENOMEM);
    CHECK(ptr == before);
    CHECK_EQ(errno, 77);
    CHECK_EQ(posix_memalign(&ptr, 4096, 0), 0);
    CHECK(ptr != NULL && ptr != before);
    CHECK_EQ((uintptr_t)ptr % 4096, 0);
    free(ptr);
}

TEST(other_alignments)
{
    void *ptr = memalign(any(0), 10);
    CHECK(ptr != NULL);
    free(ptr);
    ptr = memalign(any(48), 10); /* as 64 */
    CHECK(ptr != NULL);
    CHECK_EQ((uintptr_t)ptr % 64, 0);
    free(ptr);
    errno = 0;
    CHECK(memalign(any(SIZE_MAX / 2 + 2), 10) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(aligned_alloc(any(24), 48) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(aligned_alloc(64, any(SIZE_MAX - 63)) == NULL);
    CHECK_EQ(errno, ENOMEM);
}

#define REFUSED(call) \
    do { \
        errno = 0; \
        CHECK((call) == NULL); \
        CHECK_EQ(errno, ENOMEM); \
    } while (0)

TEST(too_large)
{
    const size_t half = (SIZE_MAX >> (sizeof(size_t) * 4)) + 1; /* its square is 2^bits */
    char *ptr = strdup("as before");
    REFUSED(malloc(any(SIZE_MAX)));
    REFUSED(malloc(any(PTRDIFF_MAX + (size_t)1)));
    REFUSED(calloc(1, any(SIZE_MAX)));
    REFUSED(calloc(any(half), any(half)));
    REFUSED(calloc(any(SIZE_MAX), any(SIZE_MAX)));
    REFUSED(realloc(ptr, any(SIZE_MAX)));
    REFUSED(realloc(NULL, any(SIZE_MAX)));
    REFUSED(reallocarray(ptr, any(half), any(half)));
    REFUSED(reallocarray(ptr, any(half), any(half) + 1));
    REFUSED(reallocarray(NULL, any(SIZE_MAX), 1));
    CHECK_STR(ptr, "as before");
    free(ptr);
}

/* ---- what is promised ---- */

TEST(size_0)
{
    void *a = malloc(0), *b = malloc(0), *c = calloc(0, 10), *d = realloc(NULL, 0);
    CHECK(a != NULL && b != NULL && c != NULL && d != NULL);
    CHECK(a != b && a != c && a != d && b != c && b != d && c != d);
    free(a);
    free(b);
    free(c);
    errno = 77;
    CHECK(realloc(d, any(0)) == NULL); /* which frees it, as glibc's does */
    free(NULL);
    CHECK_EQ(errno, 77);
    d = reallocarray(NULL, 0, 5);
    CHECK(d != NULL);
    CHECK(reallocarray(d, any(0), 5) == NULL);
}

TEST(calloc_is_zero_where_others_wrote)
{
    size_t size, i;
    for (size = 1; size < 3000000; size += 1 + size / 3) {
        unsigned char *ptr = (unsigned char *)malloc(size);
        CHECK(ptr != NULL);
        memset(ptr, 0xFF, size);
        free(ptr);
        ptr = (unsigned char *)calloc(size, 1);
        CHECK(ptr != NULL);
        for (i = 0; i < size; i++) CHECK(ptr[i] == 0);
        free(ptr);
    }
}

TEST(realloc_keeps_what_fits)
{
    size_t size = 0, i;
    unsigned char *ptr = NULL;
    for (i = 0; i < 2000; i++) {
        size_t to = 1 + (test_random(&seed) & (((size_t)16 << i % 16) - 1)), j;
        ptr = (unsigned char *)(i % 2 != 0 ? realloc(ptr, to) : reallocarray(ptr, to, 1));
        CHECK(ptr != NULL);
        for (j = 0; j < size && j < to; j++) CHECK(ptr[j] == (unsigned char)(j * 7));
        for (j = 0; j < to; j++) ptr[j] = (unsigned char)(j * 7);
        size = to;
    }
    free(ptr);
}

TEST(usable_size_is_usable)
{
    size_t size;
    for (size = 1; size < 500000; size += 1 + size / 7) {
        char *ptr = (char *)malloc(size);
        size_t usable = malloc_usable_size(ptr);
        memset((char *)hide(ptr), 'x', usable);
        ptr = (char *)realloc(ptr, usable);
        CHECK(ptr != NULL);
        CHECK(ptr[0] == 'x' && ptr[usable - 1] == 'x');
        free(ptr);
    }
}

TEST(trim)
{
    int done, again;
    CHECK(keep(malloc(100000000), 100000000));
    CHECK(keep_no_more());
    done = malloc_trim(0);
    again = malloc_trim(0);
    CHECK(done == 0 || done == 1);
    CHECK_EQ(again, 0);
}

TEST(what_the_library_allocates_is_ours)
{
    char *text = strdup("twelve bytes"), *line = NULL, *printed = NULL, *buffer = NULL, *real;
    size_t size = 0, length = 0;
    FILE *stream = open_memstream(&buffer, &length);
    DIR *folder = opendir("/");
    CHECK(text != NULL && malloc_usable_size(text) >= 13);
    CHECK(stream != NULL && folder != NULL);
    CHECK(asprintf(&printed, "%1000d", 5) == 1000);
    CHECK(malloc_usable_size(printed) >= 1001);
    CHECK(fprintf(stream, "%5000s", text) == 5000);
    CHECK(fclose(stream) == 0 && length == 5000);
    CHECK(malloc_usable_size(buffer) >= 5001);
    CHECK(setenv("ENTRIES", buffer, 1) == 0 && unsetenv("ENTRIES") == 0);
    stream = fopen("/proc/self/status", "r");
    if (stream != NULL) {
        CHECK(getline(&line, &size, stream) > 0);
        CHECK(malloc_usable_size(line) >= size);
        fclose(stream);
    }
    real = realpath("/", NULL);
    CHECK_STR(real, "/");
    closedir(folder);
    free(real);
    free(line);
    free(buffer);
    free(printed);
    free(text);
}

TEST(before_main_and_after)
{
    CHECK_STR(early, "before main");
    free(early);
    early = NULL;
}

static void late(void)
{
    char *ptr = strdup("late");
    if (ptr != NULL) ptr = (char *)realloc(ptr, 10000);
    if (ptr != NULL && strcmp(ptr, "late") == 0) {
        free(ptr);
        _exit(7);
    }
}

static void exits(void)
{
    if (atexit(late) == 0) exit(0);
}

TEST(in_exit_handlers)
{
    CHECK_EQ(in_child(exits), 7);
}

static volatile sig_atomic_t handled;

static void handler(int number)
{
    void *ptr = malloc(1000);
    (void)number;
    handled = ptr != NULL;
    free(ptr);
}

TEST(in_a_signal_handler_that_interrupts_no_malloc)
{
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
    CHECK(handled);
}

/* ---- threads and forks ---- */

static int stop; /* atomic */
static pthread_key_t key;

static void key_end(void *value)
{
    void *ptr = malloc(100); /* the thread is almost gone */
    free(value);
    free(ptr);
}

static void *churn(void *argument)
{
    static void *shared[64]; /* freed by whoever comes next: atomic */
    uint64_t random = (uint64_t)(uintptr_t)argument;
    pthread_setspecific(key, malloc(200));
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        void *ptr = malloc(test_random(&random) % 5000);
        free(__atomic_exchange_n(&shared[random % 64], ptr, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

static void uses_all_sizes(void)
{
    size_t size;
    for (size = 1; size < 2000000; size += size / 3 + 1) {
        char *ptr = (char *)malloc(size);
        if (ptr == NULL) _exit(1);
        memset(ptr, 1, size);
        ptr = (char *)realloc(ptr, size * 2);
        if (ptr == NULL || ptr[size - 1] != 1) _exit(2);
        free(ptr);
    }
}

TEST(forks_while_threads_allocate)
{
    pthread_t threads[4];
    size_t i, bad = 0;
    CHECK_EQ(pthread_key_create(&key, key_end), 0);
    for (i = 0; i < 4; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(i + 1)), 0);
    }
    for (i = 0; i < 100; i++) bad += in_child(uses_all_sizes) != 0;
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(bad, 0);
}

static void *short_lived(void *argument)
{
    void *ptr = realloc(argument, 300);
    pthread_setspecific(key, malloc(200));
    return ptr;
}

TEST(threads_come_and_go)
{
    void *ptr = NULL;
    size_t i;
    for (i = 0; i < 2000; i++) {
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, short_lived, ptr), 0);
        CHECK_EQ(pthread_join(thread, &ptr), 0);
        CHECK(ptr != NULL);
    }
    free(ptr);
}

/* ---- wrong programs ---- */

static void frees_twice(void)
{
    void *ptr = malloc(100), *same = hide(ptr);
    close(STDERR_FILENO);
    free(ptr);
    free(same);
}

static void frees_what_is_not_on_the_heap(void)
{
    close(STDERR_FILENO);
    free(hide(&seed));
}

TEST(wrong_frees_end_the_program)
{
    CHECK_EQ(in_child(frees_twice), 1000 + SIGABRT);
    CHECK_EQ(in_child(frees_what_is_not_on_the_heap), 1000 + SIGABRT);
}

TEST_MAIN(T(all_names_are_ours), T(alignments_and_sizes_on_a_fragmented_heap),
          T(plain_blocks_suit_every_object), T(pages), T(posix_memalign_says_what_is_wrong),
          T(other_alignments), T(too_large), T(size_0), T(calloc_is_zero_where_others_wrote),
          T(realloc_keeps_what_fits), T(usable_size_is_usable), T(trim),
          T(what_the_library_allocates_is_ours), T(before_main_and_after), T(in_exit_handlers),
          T(in_a_signal_handler_that_interrupts_no_malloc), T(forks_while_threads_allocate),
          T(threads_come_and_go), T(wrong_frees_end_the_program))
