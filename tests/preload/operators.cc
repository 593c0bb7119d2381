/* Every form of operator new and delete, from a program that knows nothing of the heap. operators
 * runs with libmm_heap.so preloaded, operators_inside has the heap built in by MM_HEAP_OVERRIDE. */
#include <cerrno>
#include <cstdint>
#include <malloc.h>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

#ifndef MM_VERSION
struct mm_allocator { /* harness.h brings a test allocator that nobody needs here */
    void *(*alloc_fn)(size_t size, void *user_data);
    void *(*realloc_fn)(void *ptr, size_t old_size, size_t new_size, void *user_data);
    void (*free_fn)(void *ptr, size_t size, void *user_data);
    void *user_data;
};
#endif
#include "../harness.h"

/* Hides a size or a pointer, as compilers may leave out a new with its delete. */
static size_t any(size_t size)
{
    volatile size_t hidden = size;
    return hidden;
}

static void *keep(void *ptr)
{
    void *volatile hidden = ptr;
    return hidden;
}

static bool good(void *ptr, size_t size, size_t alignment)
{
    if (ptr == nullptr || (uintptr_t)ptr % alignment != 0) return false;
    if (malloc_usable_size(ptr) < size) return false;
    memset(keep(ptr), 1, size);
    return true;
}

TEST(plain_forms)
{
    for (size_t size = 0; size < 1000000; size += 1 + size / 3) {
        void *a = operator new(any(size)), *b = operator new[](any(size));
        void *c = operator new(any(size), std::nothrow), *d = operator new[](size, std::nothrow);
        CHECK(good(a, size, 16) && good(b, size, 16) && good(c, size, 16) && good(d, size, 16));
        CHECK(a != b && b != c && c != d);
        if (size % 2 == 0) {
            operator delete(a);
            operator delete[](b);
            operator delete(c, std::nothrow);
            operator delete[](d, std::nothrow);
        } else {
            operator delete(a, size);
            operator delete[](b, size);
            operator delete(c);
            operator delete[](d);
        }
    }
    operator delete(nullptr);
    operator delete[](nullptr);
}

TEST(aligned_forms)
{
    for (size_t alignment = 1; alignment <= 65536; alignment *= 2) {
        const std::align_val_t as = std::align_val_t(alignment);
        for (size_t size = 0; size < 300000; size += 1 + size / 2) {
            void *a = operator new(any(size), as), *b = operator new[](any(size), as);
            void *c = operator new(any(size), as, std::nothrow);
            void *d = operator new[](any(size), as, std::nothrow);
            CHECK(good(a, size, alignment) && good(b, size, alignment));
            CHECK(good(c, size, alignment) && good(d, size, alignment));
            if (size % 2 == 0) {
                operator delete(a, as);
                operator delete[](b, as);
                operator delete(c, as, std::nothrow);
                operator delete[](d, as, std::nothrow);
            } else {
                operator delete(a, size, as);
                operator delete[](b, size, as);
                operator delete(c, as);
                operator delete[](d, as);
            }
        }
    }
}

struct alignas(256) wide {
    char bytes[300];
};

TEST(expressions_and_containers)
{
    std::vector<std::unique_ptr<wide>> all;
    std::map<std::string, std::vector<int>> map;
    for (int i = 0; i < 2000; i++) {
        all.push_back(std::make_unique<wide>());
        CHECK((uintptr_t)all.back().get() % 256 == 0);
        map["a key that does not fit inside of a string, " + std::to_string(i % 500)].push_back(i);
    }
    wide *array = new wide[7];
    CHECK((uintptr_t)array % 256 == 0);
    delete[] array;
    std::thread other([&] {
        all.clear();
        map.clear();
    });
    other.join();
    CHECK(all.empty() && map.empty());
}

/* ---- no memory ---- */

template <typename function> static bool throws_bad_alloc(function f)
{
    try {
        keep(f());
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static const size_t too_much = SIZE_MAX / 2 + 1000;

TEST(bad_alloc)
{
    const std::align_val_t as = std::align_val_t(64);
    CHECK(throws_bad_alloc([] { return operator new(any(too_much)); }));
    CHECK(throws_bad_alloc([] { return operator new[](any(too_much)); }));
    CHECK(throws_bad_alloc([=] { return operator new(any(too_much), as); }));
    CHECK(throws_bad_alloc([=] { return operator new[](any(too_much), as); }));
    CHECK(throws_bad_alloc([] { return new char[any(too_much)]; }));
    CHECK(operator new(any(too_much), std::nothrow) == nullptr);
    CHECK(operator new[](any(too_much), std::nothrow) == nullptr);
    CHECK(operator new(any(too_much), as, std::nothrow) == nullptr);
    CHECK(operator new[](any(too_much), as, std::nothrow) == nullptr);
    CHECK(new (std::nothrow) char[any(too_much)] == nullptr);
}

static int handled;

static void gives_up_the_third_time()
{
    if (++handled == 3) std::set_new_handler(nullptr);
}

static void throws_something_else()
{
    throw std::runtime_error("of the handler's");
}

TEST(new_handler)
{
    const std::align_val_t as = std::align_val_t(64);
    handled = 0;
    std::set_new_handler(gives_up_the_third_time);
    CHECK(throws_bad_alloc([] { return operator new(any(too_much)); }));
    CHECK_EQ(handled, 3);
    handled = 0;
    std::set_new_handler(gives_up_the_third_time);
    CHECK(throws_bad_alloc([=] { return operator new[](any(too_much), as); }));
    CHECK_EQ(handled, 3);
    handled = 0;
    std::set_new_handler(gives_up_the_third_time);
    CHECK(operator new(any(too_much), std::nothrow) == nullptr);
    CHECK_EQ(handled, 3);
}

TEST(new_handler_that_throws)
{
    bool caught = false;
    std::set_new_handler(throws_something_else);
    try {
        keep(operator new[](any(too_much)));
    } catch (const std::runtime_error &) {
        caught = true;
    }
    CHECK(caught);
    CHECK(operator new[](any(too_much), std::nothrow) == nullptr);
    std::set_new_handler(nullptr);
}

static struct rlimit before;

static void finds_memory()
{
    handled++;
    setrlimit(RLIMIT_AS, &before);
}

TEST(new_handler_that_finds_memory)
{
    const size_t size = (size_t)1 << 30;
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)size; /* less than a block of that size with the program */
    handled = 0;
    std::set_new_handler(finds_memory);
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    char *ptr = new char[any(size)];
    std::set_new_handler(nullptr);
    CHECK_EQ(handled, 1);
    CHECK(ptr != nullptr);
    ptr[size - 1] = 1;
    delete[] ptr;
}

TEST_MAIN(T(plain_forms), T(aligned_forms), T(expressions_and_containers), T(bad_alloc),
          T(new_handler), T(new_handler_that_throws), T(new_handler_that_finds_memory))
