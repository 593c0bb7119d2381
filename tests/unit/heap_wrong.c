/* Programs that are wrong on purpose, each in a process of its own, which the heap has to end with
 * a line that says why: here with MM_HEAP_SECURE, by heap_wrong_debug.c with MM_HEAP_DEBUG. Nothing
 * is told what to do about misuse, so that the defaults are seen too. Each is wrong with blocks of
 * the process's heap, and with those of heaps of its own. */
#ifndef WRONG_DEBUG
#define MM_HEAP_SECURE
#endif
#ifndef NDEBUG
#define NDEBUG /* which must not keep anything from being found */
#endif
#define MM_IMPLEMENTATION
#include "../../mm_heap.h"
#include "../harness.h"
#include "../poison.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef WRONG_DEBUG
#define DEBUGGED 1
#else
#define DEBUGGED 0
#endif
#define HUGE_SIZE ((size_t)MM_HEAP_HUGE + 600000)

static const size_t sizes[] = {1, 100, 5000, 40000, 300000, HUGE_SIZE};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))
static size_t size; /* that a wrong program is to try it with */

/* Whose blocks it uses, and how it frees them. */
typedef enum kind { PROCESS, SHARED, UNSHARED, FREED_AS_ANY, KINDS } kind;
static size_t of_kind;
static mm_heap *heap, *other_heap; /* NULL: the process's */

/* Hides from the compiler where a pointer comes from, as it would warn of all below. */
static char *hide(const void *ptr)
{
    volatile uintptr_t address = (uintptr_t)ptr;
    return (char *)address;
}

/* Changes a byte, though nobody will look at it. */
static void poke(volatile char *at)
{
    *at ^= 1;
}

static char *make(size_t bytes)
{
    char *ptr = (char *)mm_heap_alloc_in(heap, bytes);
    if (ptr == NULL) _exit(3);
    return ptr;
}

static void release(void *ptr)
{
    if (of_kind == PROCESS || of_kind == FREED_AS_ANY) mm_heap_free(ptr);
    else mm_heap_free_in(heap, ptr);
}

static void make_heaps(void)
{
    mm_heap_desc desc = {0};
    desc.unshared = of_kind == UNSHARED;
    if (of_kind == PROCESS) return;
    heap = mm_heap_create(&desc);
    other_heap = mm_heap_create(&desc);
    if (heap == NULL || other_heap == NULL) _exit(3);
}

// ---- the programs ----

static void free_twice(void)
{
    char *ptr = make(size);
    release(ptr);
    release(hide(ptr));
}

static void free_twice_after_others(void)
{
    char *blocks[100];
    size_t i;
    for (i = 0; i < 100; i++) blocks[i] = make(size < 100000 ? size : 100);
    blocks[0] = make(size);
    for (i = 0; i < 100; i++) release(blocks[i]);
    release(hide(blocks[0]));
}

static void free_after_realloc(void)
{
    char *ptr = make(size), *moved = (char *)mm_heap_realloc_in(heap, ptr, size * 40);
    if (moved == hide(ptr)) free_twice(); /* large blocks may stay where they are */
    release(hide(ptr));
}

static void free_on_the_stack(void)
{
    char local[100];
    release(hide(local) + size % 50);
}

static void free_of_another_heap(void)
{
    char *ptr = (char *)malloc(size);
    release(ptr);
}

static void free_into_another(void)
{
    mm_heap_free_in(other_heap, make(size));
}

static void realloc_in_another(void)
{
    if (mm_heap_realloc_in(other_heap, make(size), 10) != NULL) _exit(4);
}

static void free_by_the_allocator_of_another(void)
{
    mm_heap_allocator(other_heap)->free_fn(make(size), size, other_heap);
}

static void use_of_a_destroyed_heap(void)
{
    char *ptr = make(size);
    mm_heap_destroy(heap);
    release(ptr);
}

static void free_inside(void)
{
    char *ptr = make(size + 64);
    release(hide(ptr) + 16);
}

static void free_at_an_odd_address(void)
{
    char *ptr = make(size);
    release(hide(ptr) + 1);
}

static void realloc_inside(void)
{
    char *ptr = make(size + 64);
    if (mm_heap_realloc_in(heap, hide(ptr) + 16, 10) != NULL) _exit(4);
}

static void free_as_more(void)
{
    char *ptr = make(size);
    mm_heap_free_sized(ptr, mm_heap_usable_size(ptr) + 1);
}

/* Of free memory the secure heap looks at what it has written into it itself. */
static void write_after_free(void)
{
    char *ptr = make(size), *stale = hide(ptr);
    size_t i;
    release(ptr);
    for (i = 0; i < 16 && i < (DEBUGGED ? size : 16); i++) stale[i] = (char)~stale[i];
    mm_heap_trim_in(heap);
}

static void write_after_free_and_allocate(void)
{
    char *blocks[64];
    size_t i, at;
    for (i = 0; i < 64; i++) blocks[i] = make(size);
    for (i = 0; i < 64; i++) release(blocks[i]);
    for (i = 0; i < 64; i++) {
        for (at = 0; at < (size < 16 ? size : 16); at++) hide(blocks[i])[at] ^= 0x55;
    }
    for (i = 0; i < 64; i++) (void)make(size);
    if (DEBUGGED) mm_heap_trim_in(heap);
}

/* A free chunk that lies between live ones, in the list of its size. */
static char *make_sorted(void)
{
    char *ptr = make(40000), *before, *behind;
    release(ptr);
    before = make(100000), ptr = make(100000), behind = make(100000);
    (void)before, (void)behind;
    release(ptr);
    mmi_heap_unsorted_flush(mmi_heap_mine);
    return hide(ptr);
}

static void write_to_a_free_chunk_and_allocate(void)
{
    memset(make_sorted(), 0x55, 16);
    (void)make(100000);
}

/* What made a heap write an address of the attacker's choice where he wanted it. */
static void forge_links_and_join(void)
{
    static mmi_heap_chunk target;
    char *ptr = make_sorted();
    mmi_heap_chunk *next = &target;
    memcpy(ptr, &next, sizeof(next));
    memcpy(ptr + sizeof(next), &next, sizeof(next));
    release(mmi_heap_chunk_block(
        mmi_heap_chunk_at(mmi_heap_chunk_of(ptr), mmi_heap_chunk_size(mmi_heap_chunk_of(ptr)))));
    mmi_heap_unsorted_flush(mmi_heap_mine);
}

/* By one byte, into a neighbour that is free, and nothing else is wrong. */
static void write_beyond_into_free(void)
{
    char *blocks[64];
    size_t i, usable;
    for (i = 0; i < 64; i++) blocks[i] = make(size);
    usable = mm_heap_usable_size(blocks[0]);
    for (i = 0; i < 64; i += 2) release(blocks[i]);
    for (i = 1; i < 64; i += 2) poke(&hide(blocks[i])[usable]);
    for (i = 0; !DEBUGGED && i < 200; i++) (void)make(size);
    for (i = 1; i < 64; i += 2) release(blocks[i]);
}

static void write_beyond(void)
{
    char *ptr = make(size);
    poke(&hide(ptr)[size]);
    release(ptr);
}

/* How a block is aligned, and which byte behind it is written to: changed, or made 0. */
static size_t alignment, at;
static bool ends_as_text;

static char *make_overflown(void)
{
    char *ptr = (char *)mm_heap_aligned_alloc_in(heap, alignment, size);
    if (ptr == NULL) _exit(3);
    if (ends_as_text) *(volatile char *)&hide(ptr)[size + at] = 0;
    else poke(&hide(ptr)[size + at]);
    return ptr;
}

static void overflow_and_free(void)
{
    release(make_overflown());
}

static void overflow_and_free_sized(void)
{
    mm_heap_free_sized(make_overflown(), size);
}

static void overflow_and_realloc(void)
{
    if (mm_heap_realloc_in(heap, make_overflown(), size + 1) != NULL) _exit(4);
}

static void overflow_and_expand(void)
{
    if (mm_heap_expand(make_overflown(), size + 1)) _exit(4);
}

static void overflow_and_ask(void)
{
    if (mm_heap_usable_size(make_overflown()) != 0) _exit(4);
}

static bool visit_all(const mm_heap_block *block, void *user_data)
{
    (void)block, (void)user_data;
    return true;
}

static void overflow_and_walk(void)
{
    (void)make_overflown();
    (void)mm_heap_walk(NULL, visit_all, NULL);
}

static void *free_in_thread(void *ptr)
{
    mm_heap_free(ptr);
    return NULL;
}

static void overflow_and_free_elsewhere(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, free_in_thread, make_overflown()) != 0) _exit(3);
    pthread_join(thread, NULL);
}

/* The end moves with what a block is resized to: where it is, and where it moves. */
static void overflow_after_resizes(void)
{
    char *ptr = (char *)mm_heap_aligned_alloc_in(heap, alignment, size);
    ptr = (char *)mm_heap_realloc_in(heap, ptr, size + 3);
    ptr = (char *)mm_heap_realloc_in(heap, ptr, size);
    if (ptr == NULL || mm_heap_usable_size(ptr) != size) _exit(3);
    (void)!mm_heap_expand(ptr, size + 1);
    poke(&hide(ptr)[mm_heap_usable_size(ptr)]);
    release(ptr);
}

static void write_before(void)
{
    char *ptr = make(size);
    poke(&hide(ptr)[-1]);
    release(ptr);
}

static void write_beyond_a_mapping(void)
{
    char *ptr = make(HUGE_SIZE);
    poke(&hide(mmi_heap_page_at(ptr)->start)[mmi_heap_page_at(ptr)->block_size]);
}

static void write_before_a_mapping(void)
{
    char *ptr = make(HUGE_SIZE);
    poke(&hide(mmi_heap_page_at(ptr)->start)[-1]);
}

static void write_beyond_a_span(void)
{
    char *ptr = make(16);
    poke(&hide(mmi_heap_page_at(ptr)->span->start)[MMI_HEAP_SPAN_SIZE]);
}

// ---- how they end ----

/* Runs one; what it wrote to stderr is in said. The signal that ended it, or less: its status. */
static char said[4096];
static int run(void (*program)(void))
{
    int ends[2], status = -1;
    size_t used = 0;
    ssize_t got;
    pid_t child;
    if (pipe(ends) != 0) return -1000;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        (void)dup2(ends[1], 2);
        signal(SIGSEGV, SIG_DFL); /* sanitizers have handlers of their own */
        signal(SIGABRT, SIG_DFL);
        make_heaps();
        program();
        _exit(0);
    }
    close(ends[1]);
    while ((got = read(ends[0], said + used, sizeof(said) - 1 - used)) > 0) used += (size_t)got;
    said[used] = 0;
    close(ends[0]);
    if (waitpid(child, &status, 0) != child) return -1000;
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

#define CHECK_CAUGHT(program, text) CHECK_SUB(check_caught((program), #program, (text)))

static void check_caught(void (*program)(void), const char *name, const char *text)
{
    int ended = run(program);
    if (ended != SIGABRT || strstr(said, text) == NULL) {
        printf("      %s with %zu bytes, heap %zu: ended %d, said \"%s\"\n", name, size, of_kind,
               ended, said);
    }
    CHECK_EQ(ended, SIGABRT);
    CHECK(strstr(said, text) != NULL);
}

TEST(second_frees_end_the_program)
{
    const char *text = DEBUGGED ? "used after it was freed: " : "mm_heap: ";
    size_t i;
    for (i = 0; i < SIZES * KINDS; i++) {
        size = sizes[i % SIZES];
        of_kind = i / SIZES;
        CHECK_CAUGHT(free_twice, text);
        CHECK_CAUGHT(free_twice_after_others, text);
        CHECK_CAUGHT(free_after_realloc, text);
        if (DEBUGGED) CHECK(strstr(said, "allocated at ") != NULL);
        if (DEBUGGED) CHECK(strstr(said, ", freed at ") != NULL);
        if (DEBUGGED) CHECK(strstr(said, "; now at ") != NULL);
    }
}

TEST(foreign_pointers_end_the_program)
{
    const char *text = DEBUGGED ? "pointer to no block of the heap" : "no block of the heap";
    size_t i;
    for (i = 0; i < SIZES * KINDS; i++) {
        size = sizes[i % SIZES];
        of_kind = i / SIZES;
        CHECK_CAUGHT(free_on_the_stack, text);
        CHECK_CAUGHT(free_of_another_heap, text);
        CHECK_CAUGHT(free_inside, DEBUGGED ? "pointer into a block" : "not the start of a");
        CHECK_CAUGHT(free_at_an_odd_address, DEBUGGED ? "pointer into a block" : "not the start");
        CHECK_CAUGHT(realloc_inside, DEBUGGED ? "pointer into a block" : "not the start of a");
        CHECK_CAUGHT(free_as_more, DEBUGGED ? "freed as one of " : "smaller than its owner says");
    }
    of_kind = PROCESS;
}

TEST(blocks_of_another_heap_end_the_program)
{
    const char *text = DEBUGGED ? " passed to the heap " : "block of another heap";
    size_t i;
    for (i = SIZES; i < SIZES * KINDS; i++) {
        size = sizes[i % SIZES];
        of_kind = i / SIZES;
        CHECK_CAUGHT(free_into_another, text);
        CHECK_CAUGHT(realloc_in_another, text);
        CHECK_CAUGHT(free_by_the_allocator_of_another, text);
        CHECK_CAUGHT(use_of_a_destroyed_heap, DEBUGGED ? "freed at " : "no block of the heap");
    }
    of_kind = PROCESS;
}

TEST(writes_after_a_free_end_the_program)
{
    size_t i;
    if (TRACKED) return; /* the checker sees the write itself */
    for (of_kind = 0; of_kind < KINDS; of_kind++) {
        for (i = 0; i < 3; i++) {
            size = sizes[i];
            CHECK_CAUGHT(write_after_free_and_allocate, "written to");
            CHECK_CAUGHT(write_after_free, "written to");
        }
    }
    of_kind = PROCESS;
}

/* In the secure heap: a neighbour's mark, or the size behind a chunk, or what cannot be touched. */
TEST(one_byte_too_many_ends_the_program)
{
    size_t i;
    if (TRACKED) return;
    for (of_kind = 0; of_kind < KINDS; of_kind++) {
        for (i = 0; i < 4; i++) {
            size = sizes[i];
            CHECK_CAUGHT(write_beyond_into_free, DEBUGGED       ? "written to beyond its end"
                                                 : size < 40000 ? "written to"
                                                                : "mm_heap: ");
        }
    }
    of_kind = PROCESS;
}

#ifdef WRONG_DEBUG
TEST(writes_beyond_a_block_end_the_program)
{
    size_t i;
    if (TRACKED) return;
    for (i = 0; i < SIZES * KINDS; i++) {
        size = sizes[i % SIZES];
        of_kind = i / SIZES;
        CHECK_CAUGHT(write_beyond, "written to beyond its end");
        CHECK_CAUGHT(write_before, "written to before its start");
    }
    of_kind = PROCESS;
    for (size = 0; size < 200; size++) CHECK_CAUGHT(write_beyond, "written to beyond its end");
    (void)write_beyond_a_mapping, (void)write_before_a_mapping, (void)write_beyond_a_span;
    (void)write_to_a_free_chunk_and_allocate, (void)forge_links_and_join;
    (void)overflow_and_free, (void)overflow_and_free_sized, (void)overflow_and_realloc;
    (void)overflow_and_expand, (void)overflow_and_ask, (void)overflow_and_walk;
    (void)overflow_and_free_elsewhere, (void)overflow_after_resizes;
}
#define TESTS_OF_MODE T(writes_beyond_a_block_end_the_program)
#else
/* Sizes that fill their class, or what else they get, to the last byte before the seal, and those
 * that leave one byte, few, or as many as they can. */
static size_t size_near(size_t good, size_t less)
{
    return good > less ? good - less : 0;
}

static void check_overflow(size_t bytes, size_t align)
{
    const char *text = "written to beyond its end";
    size = bytes;
    alignment = align;
    CHECK_CAUGHT(overflow_and_free, text);
}

TEST(one_byte_beyond_any_size_ends_the_program)
{
    static const size_t less[] = {0, 1, 7, 8, 9, 15};
    size_t index, i, next;
    if (TRACKED) return; /* a process each: long */
    for (index = 0; index < MMI_HEAP_CLASSES; index++) {
        size_t good = mmi_heap_class_size(index) - MMI_HEAP_SEAL;
        CHECK_EQ(mm_heap_good_size(good), good);
        next = index == 0 ? 0 : mmi_heap_class_size(index - 1) - MMI_HEAP_SEAL + 1;
        CHECK_SUB(check_overflow(next, 1)); /* the smallest of the class */
        for (i = 0; i < sizeof(less) / sizeof(less[0]); i++) {
            CHECK_SUB(check_overflow(size_near(good, less[i]), 1));
        }
    }
    for (size = 0; size < 200; size++) CHECK_SUB(check_overflow(size, 1));
}

TEST(one_byte_beyond_any_kind_of_block_ends_the_program)
{
    static const size_t each[] = {0, 24, 100, 104, 5000, 40000, 300000, HUGE_SIZE, HUGE_SIZE + 7};
    const char *text = "written to beyond its end";
    size_t i;
    if (TRACKED) return;
    for (i = 0; i < sizeof(each) / sizeof(each[0]) * KINDS; i++) {
        size = each[i / KINDS];
        of_kind = i % KINDS;
        alignment = 1;
        CHECK_CAUGHT(overflow_and_free, text);
        CHECK_CAUGHT(overflow_and_free_sized, text);
        CHECK_CAUGHT(overflow_and_realloc, text);
        CHECK_CAUGHT(overflow_and_expand, text);
        CHECK_CAUGHT(overflow_and_ask, text);
        CHECK_CAUGHT(overflow_and_walk, text);
        CHECK_CAUGHT(overflow_and_free_elsewhere, text);
        CHECK_CAUGHT(overflow_after_resizes, text);
        size = mm_heap_good_size(size); /* and the same where no byte is to spare */
        if (size % 65536 != 65536 - MMI_HEAP_SEAL) CHECK_CAUGHT(overflow_and_free_elsewhere, text);
        CHECK_CAUGHT(overflow_and_free, text);
        for (alignment = 32; alignment <= (size_t)2 << 20; alignment *= 4) {
            CHECK_SUB(check_overflow(each[i / KINDS], alignment));
        }
    }
    of_kind = PROCESS;
}

/* Any of the eight bytes behind, changed in any one bit or to what ends a string. */
TEST(any_byte_of_a_seal_ends_the_program)
{
    static const size_t each[] = {8, 15, 24, 20, 100, 33000, HUGE_SIZE};
    size_t i;
    if (TRACKED) return;
    of_kind = PROCESS;
    alignment = 1;
    for (i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        size = each[i];
        for (at = 0; at < 8; at++) CHECK_CAUGHT(overflow_and_free, "written to beyond its end");
        at = 0;
        ends_as_text = true;
        CHECK_CAUGHT(overflow_and_free, "written to beyond its end");
        ends_as_text = false;
    }
}

/* No change of one byte of the word at a block's end makes another size of it. */
TEST(seals_cannot_be_changed_by_one_byte)
{
    size_t asked, room, i, change;
    char *ptr = hide(make(4000));
    unsigned char *end;
    if (TRACKED) return;
    for (asked = 3500; asked <= 4000; asked += 50) {
        room = 4096;
        end = (unsigned char *)ptr + room - 8;
        mmi_heap_seal_room(ptr, room, asked);
        for (i = 0; i < 8; i++) {
            for (change = 1; change < 256; change++) {
                size_t found = 0;
                end[i] = (unsigned char)(end[i] ^ change);
                CHECK(!mmi_heap_seal_read(ptr, room, &found));
                end[i] = (unsigned char)(end[i] ^ change);
                if (change == 1) CHECK(mmi_heap_seal_read(ptr, room, &found) && found == asked);
            }
        }
    }
    for (i = 0; i < 2000; i++) { /* nor is the first byte behind ever 0 */
        asked = i % 12;
        mmi_heap_seal_room(ptr + i, 20, asked);
        CHECK(ptr[i + asked] != 0);
    }
    mmi_heap_seal(ptr, 4000);
    mm_heap_free(ptr);
    CHECK(mm_heap_check());
}

/* What is in a heap of one's own is looked at by its check, too: chunks and huge blocks. */
TEST(check_finds_what_was_written_beyond_a_chunk)
{
    static const size_t each[] = {40000, 300000, HUGE_SIZE};
    size_t i;
    if (TRACKED) return;
    for (of_kind = SHARED; of_kind < KINDS; of_kind++) {
        make_heaps();
        for (i = 0; i < 3; i++) {
            char *ptr = make(each[i]);
            CHECK(mm_heap_check_in(heap));
            poke(&hide(ptr)[each[i]]);
            CHECK(!mm_heap_check_in(heap));
            poke(&hide(ptr)[each[i]]);
            CHECK(mm_heap_check_in(heap));
        }
        mm_heap_destroy(heap);
        mm_heap_destroy(other_heap);
    }
    of_kind = PROCESS;
    heap = other_heap = NULL;
}

TEST(sizes_are_what_was_asked_for)
{
    size_t i, good;
    for (i = 0; i < 70000; i += i < 300 ? 1 : 977) {
        char *ptr = make(i);
        CHECK_EQ(mm_heap_usable_size(ptr), i);
        good = mm_heap_good_size(i);
        CHECK(good >= i && mm_heap_good_size(good) == good);
        CHECK(mmi_heap_block_size(mmi_heap_page_at(ptr), ptr) >= good + MMI_HEAP_SEAL);
        CHECK(mm_heap_expand(ptr, good) && mm_heap_usable_size(ptr) == good);
        CHECK(mm_heap_expand(ptr, i / 2) && mm_heap_usable_size(ptr) == good);
        ptr = (char *)mm_heap_realloc(ptr, i / 2 + 1);
        CHECK(ptr != NULL && mm_heap_usable_size(ptr) == i / 2 + 1);
        mm_heap_free_sized(ptr, i / 2 + 1);
    }
    CHECK(mm_heap_check());
}

TEST(fences_end_the_program)
{
    if (TRACKED) return;
    CHECK_EQ(run(write_beyond_a_mapping), SIGSEGV);
    CHECK_EQ(run(write_before_a_mapping), SIGSEGV);
    CHECK_EQ(run(write_beyond_a_span), SIGSEGV);
    (void)write_beyond, (void)write_before;
}

TEST(forged_links_of_chunks_end_the_program)
{
    char *ptr;
    mmi_heap_chunk *chunk, *raw;
    if (TRACKED) return;
    CHECK_CAUGHT(write_to_a_free_chunk_and_allocate, "written to");
    CHECK_CAUGHT(forge_links_and_join, "written to");
    ptr = make_sorted();
    chunk = mmi_heap_chunk_of(ptr);
    memcpy(&raw, ptr, sizeof(raw));
    CHECK(mmi_heap_chunk_sorted(chunk) && raw != NULL && mmi_heap_page_at(raw) == NULL);
    CHECK(mm_heap_check());
}

/* A free block tells neither where another lies, nor twice the same. */
TEST(links_are_encoded)
{
    char *a = make(3000), *b = make(3000), *far = make(100);
    mmi_heap_page *page = mmi_heap_page_at(a), *other = mmi_heap_page_at(far);
    CHECK(page->key != other->key && page->key != 0 && other->key != 0);
    mm_heap_free(a);
    mm_heap_free(b);
    mm_heap_trim(); /* from where they wait to the page's list */
    page = mmi_heap_page_at(b);
    if (page != NULL && page->index < MMI_HEAP_CLASSES && page->free != NULL) {
        mmi_heap_block *block = page->free;
        uintptr_t raw;
        mmi_heap_block_open(block);
        raw = (uintptr_t)block->next;
        CHECK(mmi_heap_block_next(block) == mmi_heap_code(page, (mmi_heap_block *)raw));
        CHECK(raw >> 20 != (uintptr_t)block >> 20 && raw != 0);
    }
    mm_heap_free(far);
    CHECK(mm_heap_check());
}

TEST(new_blocks_come_in_no_order)
{
    char *blocks[100];
    size_t i, up = 0, next = 0;
    for (i = 0; i < 100; i++) blocks[i] = make(48);
    for (i = 1; i < 100; i++) {
        up += blocks[i] > blocks[i - 1];
        next += blocks[i] == blocks[i - 1] + 48;
    }
    CHECK(up > 20 && up < 80 && next < 20);
    for (i = 0; i < 100; i++) mm_heap_free(blocks[i]);
    CHECK(mm_heap_check());
}

TEST(freed_blocks_wait)
{
    static const size_t each[] = {16, 48, 1000, 8192, 32768, 40000, 100000, HUGE_SIZE};
    size_t i, round;
    for (i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        for (round = 0; round < 50; round++) {
            char *ptr = make(each[i]), *next;
            release(ptr);
            next = make(each[i]);
            CHECK(next != hide(ptr));
            release(next);
        }
    }
    CHECK(mm_heap_check());
}

TEST(blocks_of_heaps_wait_and_what_others_freed)
{
    size_t index;
    for (of_kind = SHARED; of_kind < KINDS; of_kind++) {
        char *ptr;
        make_heaps();
        /* of several that come home at a time one may take another's place */
        if (of_kind != FREED_AS_ANY) CHECK_SUB(freed_blocks_wait());
        CHECK(mm_heap_check_in(heap));
        mm_heap_reset(heap);
        ptr = make(100);
        index = mmi_heap_page_at(ptr)->index;
        CHECK_EQ(heap->cache.delayed_count[index], 0);
        mm_heap_free(ptr); /* goes home by way of the list of those that others freed */
        mmi_heap_return_all(&heap->cache, mmi_heap_remote_take(&heap->cache), true);
        CHECK_EQ(heap->cache.delayed_count[index], 1);
        CHECK(mm_heap_check_in(heap));
        mm_heap_trim_in(heap);
        CHECK_EQ(heap->cache.delayed_count[index], 0);
        CHECK(mm_heap_check_in(heap));
        mm_heap_destroy(heap);
        mm_heap_destroy(other_heap);
    }
    of_kind = PROCESS;
    heap = other_heap = NULL;
}
#define TESTS_OF_MODE \
    T(one_byte_beyond_any_size_ends_the_program), \
        T(one_byte_beyond_any_kind_of_block_ends_the_program), \
        T(any_byte_of_a_seal_ends_the_program), T(fences_end_the_program), \
        T(forged_links_of_chunks_end_the_program), T(links_are_encoded), \
        T(new_blocks_come_in_no_order), T(freed_blocks_wait), \
        T(blocks_of_heaps_wait_and_what_others_freed), T(seals_cannot_be_changed_by_one_byte), \
        T(check_finds_what_was_written_beyond_a_chunk), T(sizes_are_what_was_asked_for)
#endif

TEST_MAIN(T(second_frees_end_the_program), T(foreign_pointers_end_the_program),
          T(blocks_of_another_heap_end_the_program), T(writes_after_a_free_end_the_program),
          T(one_byte_too_many_ends_the_program), TESTS_OF_MODE)
