/* 1,000 allocations, then all taken back at once: an arena beside what else does that.
 *
 * Each object begins with a pointer to the one before it and ends with its number, so the memory is
 * touched at both ends, malloc's objects can be freed, and a check finds every object again. Where
 * a row says "written", every byte in between is set as well. Sizes come from a table for all, even
 * in rows where they are equal. */
#include "bench.h"
#include "../../mm_arena.h"
#include <apr_general.h> /* apr_initialize */
#include <apr_pools.h>
#include <obstack.h>

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

#define OBJECTS 1000              /* in a cycle */
#define MOST 256                  /* bytes of an object */
#define BLOCK ((size_t)64 * 1024) /* what the arena takes at a time; obstack gets the same */

typedef struct object { /* how each allocation begins */
    struct object *previous;
} object;

typedef struct job {
    size_t sizes[OBJECTS];
    bool written;       /* all of each object, not its ends only */
    unsigned char seed; /* another one for each row */
} job;

typedef struct result { /* what a cycle leaves */
    object *newest;
    unsigned char seed; /* of the job that it was made for */
} result;

/* ---- what is done with the memory ---- */

static unsigned char *last_byte(object *o, size_t size)
{
    return (unsigned char *)o + size - 1;
}

BENCH_INLINE object *touch(void *memory, size_t size, object *previous, size_t number)
{
    object *o = (object *)memory;
    o->previous = previous;
    *last_byte(o, size) = (unsigned char)number;
    BENCH_KEEP(o);
    return o;
}

BENCH_INLINE result fill_all(const job *j, void *(*alloc)(size_t), bool written)
{
    result made = {NULL, j->seed};
    size_t i;
    for (i = 0; i < OBJECTS; i++) {
        size_t size = j->sizes[i];
        void *memory = alloc(size);
        if (written) memset(memory, 0, size);
        made.newest = touch(memory, size, made.newest, i + made.seed);
    }
    return made;
}

BENCH_INLINE result fill(const job *j, void *(*alloc)(size_t))
{
    return j->written ? fill_all(j, alloc, true) : fill_all(j, alloc, false);
}

/* Collects the objects, newest first; false when one is not where, or what, it has to be. */
static bool collect(const job *j, result made, object **objects)
{
    object *newest = made.newest;
    size_t i;
    if (made.seed != j->seed) return false; /* of another row, whose objects are not as large */
    for (i = OBJECTS; i-- > 0; newest = newest->previous) {
        if (newest == NULL) return false;
        if (*last_byte(newest, j->sizes[i]) != (unsigned char)(i + j->seed)) return false;
        objects[i] = newest;
    }
    return newest == NULL;
}

/* Writes every byte of every object, which shows whether two overlap, and then puts the links and
   numbers back. Aligned for any object: to 8 bytes at least, as APR does it. */
static bool stands(const job *j, result made)
{
    static object *objects[OBJECTS];
    bool apart = true;
    size_t i, k;
    if (!collect(j, made, objects)) return false;
    for (i = 0; i < OBJECTS; i++) memset(objects[i], (int)(i * 7 % 251), j->sizes[i]);
    for (i = 0; i < OBJECTS; i++) {
        const unsigned char *bytes = (const unsigned char *)objects[i];
        apart = apart && (uintptr_t)bytes % 8 == 0;
        for (k = 0; k < j->sizes[i]; k++) apart = apart && bytes[k] == i * 7 % 251;
    }
    for (i = 0; i < OBJECTS; i++) {
        touch(objects[i], j->sizes[i], i > 0 ? objects[i - 1] : NULL, i + j->seed);
    }
    return apart;
}

/* ---- the contestants: take all back, allocate all ---- */

static mm_arena arena;
static result arena_result;

BENCH_INLINE void *alloc_arena(size_t size)
{
    return mm_arena_alloc(&arena, size);
}

static void run_arena(const void *work, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        mm_arena_reset(&arena);
        arena_result = fill((const job *)work, alloc_arena);
    }
}

static bool check_arena(const void *work)
{
    return stands((const job *)work, arena_result);
}

static unsigned char *bump_block; /* large enough for all, so nothing asks whether it is full */
static unsigned char *bump_cursor;
static result bump_result, local_result;

BENCH_INLINE size_t rounded(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

BENCH_INLINE void *alloc_bump(size_t size)
{
    void *memory = bump_cursor;
    bump_cursor += rounded(size);
    return memory;
}

static void run_bump(const void *work, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        bump_cursor = bump_block;
        bump_result = fill((const job *)work, alloc_bump);
    }
}

static bool check_bump(const void *work)
{
    return stands((const job *)work, bump_result);
}

/* The cursor in a register: what nobody gets who allocates in more than one function. */
BENCH_INLINE result fill_local(const job *j, bool written)
{
    unsigned char *cursor = bump_block;
    result made = {NULL, j->seed};
    size_t i;
    for (i = 0; i < OBJECTS; i++) {
        size_t size = j->sizes[i];
        if (written) memset(cursor, 0, size);
        made.newest = touch(cursor, size, made.newest, i + made.seed);
        cursor += rounded(size);
    }
    return made;
}

static void run_local(const void *work, size_t cycles)
{
    const job *j = (const job *)work;
    for (; cycles > 0; cycles--) {
        local_result = j->written ? fill_local(j, true) : fill_local(j, false);
    }
}

static bool check_local(const void *work)
{
    return stands((const job *)work, local_result);
}

static struct obstack obstack;
static void *obstack_first; /* to free it is to free all */
static result obstack_result;

BENCH_INLINE void *alloc_obstack(size_t size)
{
    return obstack_alloc(&obstack, (int)size);
}

static void run_obstack(const void *work, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        obstack_free(&obstack, obstack_first);
        obstack_first = obstack_alloc(&obstack, 0);
        obstack_result = fill((const job *)work, alloc_obstack);
    }
}

static bool check_obstack(const void *work)
{
    return stands((const job *)work, obstack_result);
}

static apr_pool_t *pool;
static result pool_result;

BENCH_INLINE void *alloc_pool(size_t size)
{
    return apr_palloc(pool, size);
}

static void run_pool(const void *work, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        apr_pool_clear(pool);
        pool_result = fill((const job *)work, alloc_pool);
    }
}

static bool check_pool(const void *work)
{
    return stands((const job *)work, pool_result);
}

static result malloc_result;

static void run_malloc(const void *work, size_t cycles)
{
    for (; cycles > 0; cycles--) {
        while (malloc_result.newest != NULL) {
            object *o = malloc_result.newest;
            malloc_result.newest = o->previous;
            free(o);
        }
        malloc_result = fill((const job *)work, malloc);
    }
}

static bool check_malloc(const void *work)
{
    return stands((const job *)work, malloc_result);
}

/* ---- the rows ---- */

static const bench_contestant contestants[] = {
    {"mm_arena", run_arena, check_arena},
    {"bump pointer (limit)", run_bump, check_bump},
    {"bump pointer in a register", run_local, check_local},
    {"obstack", run_obstack, check_obstack},
    {"APR pool", run_pool, check_pool},
    {"malloc and free", run_malloc, check_malloc},
};

static void row(const char *title, size_t least, size_t most, bool written)
{
    static job j;
    static uint64_t seed = 1;
    size_t i;
    j.seed++;
    j.written = written;
    for (i = 0; i < OBJECTS; i++) j.sizes[i] = least + bench_random(&seed) % (most - least + 1);
    BENCH(title, &j, OBJECTS, contestants);
}

int main(int argc, char **argv)
{
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) return 1;
    bump_block = (unsigned char *)malloc(OBJECTS * MOST);
    if (bump_block == NULL) return 1;
    obstack_begin(&obstack, BLOCK - 64); /* less what malloc and obstack put before a chunk */
    obstack_first = obstack_alloc(&obstack, 0);
    bench_begin(argc, argv, "mm_arena.h: 1,000 allocations and a reset");
    row("alloc 16 bytes", 16, 16, false);
    row("alloc 32 bytes", 32, 32, false);
    row("alloc 64 bytes", 64, 64, false);
    row("alloc 128 bytes", 128, 128, false);
    row("alloc 256 bytes", MOST, MOST, false);
    row("alloc 16 to 64 bytes", 16, 64, false);
    row("alloc 16 to 256 bytes", 16, MOST, false);
    row("alloc 64 bytes, written", 64, 64, true);
    row("alloc 16 to 256 bytes, written", 16, MOST, true);
    return bench_end();
}
