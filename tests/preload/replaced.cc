/* A program that replaces operator new and delete, but not their other forms: by the standard those
 * call the program's, under a preloaded library as well, whose own would find a foreign pointer. */
#include <cstddef>
#include <new>

#ifndef __clang__
#pragma GCC diagnostic ignored "-Wsized-deallocation" /* what it warns of is what is tested */
#endif

struct mm_allocator { /* harness.h brings a test allocator that nobody needs here */
    void *(*alloc_fn)(size_t size, void *user_data);
    void *(*realloc_fn)(void *ptr, size_t old_size, size_t new_size, void *user_data);
    void (*free_fn)(void *ptr, size_t size, void *user_data);
    void *user_data;
};
#include "../harness.h"

static char region[65536];
static size_t used, live;

void *operator new(size_t size)
{
    void *block = region + used;
    used += (size + 15) / 16 * 16;
    if (used > sizeof(region)) throw std::bad_alloc();
    live++;
    return block;
}

void operator delete(void *ptr) noexcept
{
    if (ptr != nullptr) live--;
}

static void *keep(void *ptr)
{
    void *volatile hidden = ptr;
    return hidden;
}

TEST(other_forms_lead_to_the_program)
{
    live = 0;
    void *a = keep(operator new(100)), *b = keep(operator new[](100));
    void *c = keep(operator new(100, std::nothrow)), *d = keep(operator new[](100, std::nothrow));
    CHECK_EQ(live, 4);
    operator delete(a, (size_t)100);
    operator delete[](b);
    operator delete(c, std::nothrow);
    operator delete[](d, (size_t)100);
    CHECK_EQ(live, 0);
    CHECK(keep(operator new(sizeof(region), std::nothrow)) == nullptr);
}

TEST_MAIN(T(other_forms_lead_to_the_program))
