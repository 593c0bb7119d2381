/* mm_buffer.h: each function, each failure, and a model test against a plain byte array. */
#define MM_IMPLEMENTATION
#include "../../mm_buffer.h"

#include "../harness.h"

TEST(zeroed_buffer_is_empty)
{
    mm_buffer b = {0};
    CHECK(mm_buffer_is_unset(&b) && mm_buffer_is_blank(&b));
    CHECK_EQ(mm_buffer_length(&b), 0);
    CHECK_EQ(mm_buffer_space(&b), 0);
    CHECK_STR(mm_buffer_string(&b), "");
    CHECK(mm_buffer_check(&b));
    mm_buffer_clear(&b);
    CHECK(mm_buffer_is_unset(&b));
    mm_buffer_reset(&b, 0);
    mm_buffer_deinit(&b);
    mm_buffer_deinit(&b);
}

TEST(unset_differs_from_blank)
{
    mm_buffer b = {0};
    CHECK_EQ(mm_buffer_append(&b, NULL, 0), MM_STATUS_OK);
    CHECK(!mm_buffer_is_unset(&b) && mm_buffer_is_blank(&b));
    mm_buffer_append_string(&b, "x");
    mm_buffer_clear(&b);
    CHECK(!mm_buffer_is_unset(&b) && mm_buffer_is_blank(&b));
    mm_buffer_reset(&b, SIZE_MAX);
    CHECK(mm_buffer_is_unset(&b) && b.size != 0);
    mm_buffer_reset(&b, b.size - 1);
    CHECK(b.size == 0 && b.ptr == NULL);
    mm_buffer_append_format(&b, "%s", "");
    CHECK(!mm_buffer_is_unset(&b));
    mm_buffer_deinit(&b);
}

TEST(capacity_is_a_power_of_two_with_the_nul)
{
    static const size_t lengths[] = {0, 31, 32, 8191, 8192, 65535, 65536};
    static const size_t sizes[] = {32, 32, 64, 8192, 16384, 65536, 131072};
    size_t i;
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        mm_buffer b = {0};
        CHECK(mm_buffer_prepare_append(&b, lengths[i]) != NULL);
        CHECK_EQ(b.size, sizes[i]);
        CHECK_EQ(mm_buffer_space(&b), sizes[i] - 1);
        mm_buffer_deinit(&b);
    }
    CHECK_EQ(mmi_buffer_capacity(MM_BUFFER_LENGTH_MAX), UINT32_MAX);
    CHECK_EQ(mmi_buffer_capacity((size_t)1 << 31), UINT32_MAX);
    CHECK_EQ(mmi_buffer_capacity(((size_t)1 << 31) - 1), (size_t)1 << 31);
}

TEST(numbers_at_their_limits)
{
    mm_buffer b = {0};
    mm_buffer_append_int(&b, INT64_MIN);
    mm_buffer_append_char(&b, ' ');
    mm_buffer_append_int(&b, INT64_MAX);
    mm_buffer_append_char(&b, ' ');
    mm_buffer_append_uint(&b, UINT64_MAX);
    mm_buffer_append_char(&b, ' ');
    mm_buffer_append_uint(&b, 0);
    CHECK_STR(mm_buffer_string(&b),
              "-9223372036854775808 9223372036854775807 18446744073709551615 0");
    mm_buffer_clear(&b);
    mm_buffer_append_hex(&b, 0, 0);
    mm_buffer_append_hex(&b, 0x123, 0);
    mm_buffer_append_hex(&b, 0x123, 5);
    mm_buffer_append_hex(&b, UINT64_MAX, 16);
    mm_buffer_append_hex(&b, 1, 16);
    CHECK_STR(mm_buffer_string(&b), "012300123ffffffffffffffff0000000000000001");
    mm_buffer_deinit(&b);
}

TEST(format_fits_exactly_grows_and_fails)
{
    char long_text[300];
    mm_buffer b = {0};
    memset(long_text, 'y', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    mm_buffer_append_format(&b, "%031d", 7);
    CHECK_EQ(b.size, 32);
    CHECK_EQ(mm_buffer_length(&b), 31);
    mm_buffer_append_format(&b, "%c", 'z');
    CHECK_EQ(b.size, 64);
    mm_buffer_clear(&b);
    mm_buffer_append_format(&b, "<%s|%d>", long_text, -5);
    CHECK_EQ(mm_buffer_length(&b), 1 + 299 + 1 + 2 + 1);
    CHECK(strncmp(b.ptr + 300, "|-5>", 5) == 0);
    mm_buffer_deinit(&b);
}

TEST(prepare_commit_truncate)
{
    mm_buffer b = {0};
    char *at = mm_buffer_prepare_append(&b, 10);
    CHECK(at != NULL);
    memcpy(at, "0123456789", 10);
    CHECK_EQ(mm_buffer_commit(&b, 10), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "0123456789");
    CHECK_EQ(mm_buffer_commit(&b, mm_buffer_space(&b) + 1), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_commit(&b, SIZE_MAX), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_truncate(&b, 11), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_truncate(&b, 4), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "0123");
    at = mm_buffer_prepare_copy(&b, 100);
    CHECK(at != NULL && mm_buffer_length(&b) == 0);
    at[0] = 'q';
    CHECK_EQ(mm_buffer_commit(&b, 1), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "q");
    at = mm_buffer_prepare_append(&b, 3);
    CHECK(at != NULL);
    memcpy(at, "rst", 3);
    CHECK_EQ(mm_buffer_commit(&b, 0), MM_STATUS_OK); /* the NUL is back */
    CHECK_STR(mm_buffer_string(&b), "q");
    mm_buffer_deinit(&b);
    CHECK_EQ(mm_buffer_commit(&b, 0), MM_STATUS_OK);
    CHECK_EQ(mm_buffer_commit(&b, 1), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_truncate(&b, 0), MM_STATUS_OK);
}

TEST(failure_is_sticky_and_loses_nothing)
{
    test_allocator a;
    mm_buffer b;
    test_allocator_init(&a);
    mm_buffer_init(&b, &a.base);
    mm_buffer_append_string(&b, "kept");
    test_allocator_fail(&a, 1, 0);
    CHECK_EQ(mm_buffer_append(&b, "0123456789012345678901234567890123456789", 40),
             MM_STATUS_NO_MEMORY);
    CHECK_EQ(mm_buffer_append_char(&b, 'x'), MM_STATUS_NO_MEMORY); /* would fit */
    CHECK_EQ(mm_buffer_append_int(&b, 1), MM_STATUS_NO_MEMORY);
    CHECK_EQ(mm_buffer_append_format(&b, "%d", 1), MM_STATUS_NO_MEMORY);
    CHECK(mm_buffer_prepare_append(&b, 1) == NULL);
    CHECK_EQ(mm_buffer_append(&b, NULL, 0), MM_STATUS_NO_MEMORY);
    CHECK_STR(mm_buffer_string(&b), "kept");
    CHECK_EQ(mm_buffer_status(&b), MM_STATUS_NO_MEMORY);
    mm_buffer_clear(&b);
    CHECK_EQ(mm_buffer_append_char(&b, 'y'), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "y");
    mm_buffer_deinit(&b);
    CHECK_EQ(a.live_blocks, 0);
    CHECK_EQ(a.bad_sizes, 0);
}

TEST(failed_copy_and_format_keep_the_old_content)
{
    test_allocator a;
    mm_buffer b;
    test_allocator_init(&a);
    mm_buffer_init(&b, &a.base);
    mm_buffer_copy_string(&b, "old");
    test_allocator_fail(&a, 1, 1);
    CHECK_EQ(mm_buffer_copy(&b, "0123456789012345678901234567890123456789", 40),
             MM_STATUS_NO_MEMORY);
    CHECK_STR(mm_buffer_string(&b), "old");
    mm_buffer_clear(&b);
    mm_buffer_append_string(&b, "old");
    CHECK_EQ(mm_buffer_append_format(&b, "%60d", 1), MM_STATUS_NO_MEMORY);
    CHECK_STR(mm_buffer_string(&b), "old");
    CHECK_EQ(mm_buffer_copy_string(&b, "new"), MM_STATUS_OK); /* fits; starts anew */
    CHECK_EQ(mm_buffer_status(&b), MM_STATUS_OK);
    mm_buffer_deinit(&b);
    CHECK(mm_buffer_prepare_copy(&b, 1) == NULL);
    mm_buffer_clear(&b);
    CHECK(mm_buffer_detach(&b, NULL, NULL) == NULL);
    CHECK_EQ(mm_buffer_status(&b), MM_STATUS_OK); /* nothing was to be appended */
    CHECK_EQ(a.live_blocks, 0);
}

TEST(beyond_the_limit_is_too_large)
{
    mm_buffer b = {0};
    mm_buffer_append_string(&b, "abc");
    CHECK_EQ(mm_buffer_append(&b, "x", SIZE_MAX), MM_STATUS_TOO_LARGE);
    CHECK_STR(mm_buffer_string(&b), "abc");
    mm_buffer_clear(&b);
    CHECK(mm_buffer_prepare_append(&b, SIZE_MAX) == NULL);
    CHECK_EQ(mm_buffer_status(&b), MM_STATUS_TOO_LARGE);
    mm_buffer_clear(&b);
    CHECK(mm_buffer_prepare_append(&b, (size_t)MM_BUFFER_LENGTH_MAX + 1) == NULL);
    CHECK_EQ(mm_buffer_status(&b), MM_STATUS_TOO_LARGE);
    CHECK(mm_buffer_prepare_copy(&b, SIZE_MAX) == NULL);
    CHECK(b.ptr != NULL && mm_buffer_check(&b));
    mm_buffer_deinit(&b);
}

TEST(detach_and_adopt_move_ownership)
{
    test_allocator a;
    mm_buffer b;
    char *text;
    size_t length = 0, size = 0;
    test_allocator_init(&a);
    mm_buffer_init(&b, &a.base);
    mm_buffer_append_string(&b, "owned");
    text = mm_buffer_detach(&b, &length, &size);
    CHECK_STR(text, "owned");
    CHECK(length == 5 && size == 32 && b.ptr == NULL && b.allocator == &a.base);
    CHECK_EQ(mm_buffer_adopt(&b, text, 32, 32), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_adopt(&b, NULL, 0, 1), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_adopt(&b, text, 0, SIZE_MAX), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_buffer_adopt(&b, text, 2, size), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "ow");
    mm_buffer_append_string(&b, "l");
    CHECK_STR(mm_buffer_string(&b), "owl");
    mm_buffer_deinit(&b);
    text = mm_buffer_detach(&b, &length, &size);
    CHECK_STR(text, "");
    test_free(text, size, &a);
    CHECK_EQ(a.live_blocks, 0);
    CHECK_EQ(a.bad_sizes, 0);
}

TEST(memory_of_the_callers)
{
    static char array[8];
    static mm_buffer fixed = MM_BUFFER_INIT_ARRAY(array);
    test_allocator a;
    mm_buffer b;
    char memory[16], *text;
    size_t length, size;
    test_allocator_init(&a);
    mm_buffer_init_memory(&b, memory, sizeof(memory), &a.base);
    CHECK(mm_buffer_check(&b) && mm_buffer_is_unset(&b) && mm_buffer_space(&b) == 15);
    mm_buffer_append_string(&b, "0123456789abcde");
    CHECK(b.ptr == memory && a.calls == 0 && b.is_borrowed);
    CHECK_EQ(mm_buffer_shrink(&b), MM_STATUS_OK);
    CHECK(b.ptr == memory);
    test_allocator_fail(&a, 1, 0);
    CHECK_EQ(mm_buffer_append_char(&b, 'f'), MM_STATUS_NO_MEMORY);
    CHECK(b.ptr == memory && strcmp(memory, "0123456789abcde") == 0);
    test_allocator_fail(&a, 1, 0);
    CHECK(mm_buffer_detach(&b, &length, &size) == NULL && b.ptr == memory);
    CHECK_EQ(mm_buffer_status(&b), MM_STATUS_NO_MEMORY);
    mm_buffer_reset(&b, 0); /* there is nothing to give back */
    CHECK(b.ptr == memory && mm_buffer_is_unset(&b));
    mm_buffer_append_string(&b, "0123456789abcde");
    CHECK_EQ(mm_buffer_append(&b, b.ptr, 15), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "0123456789abcde0123456789abcde");
    CHECK(!b.is_borrowed && b.size == 32 && a.live_blocks == 1);
    mm_buffer_deinit(&b);
    mm_buffer_init_memory(&b, memory, sizeof(memory), &a.base);
    mm_buffer_append_string(&b, "mine");
    text = mm_buffer_detach(&b, &length, &size);
    CHECK_STR(text, "mine");
    CHECK(text != memory && length == 4 && size == 32 && b.ptr == NULL && mm_buffer_check(&b));
    test_free(text, size, &a);
    mm_buffer_init_memory(&b, memory, sizeof(memory), &a.base);
    CHECK(mm_buffer_prepare_copy(&b, 16) != NULL && !b.is_borrowed);
    mm_buffer_deinit(&b);
    mm_buffer_init_memory(&b, memory, 0, &a.base);
    CHECK(b.ptr == NULL && mm_buffer_check(&b));
    mm_buffer_append_format(&fixed, "%d", 1234567);
    CHECK(fixed.ptr == array && fixed.used == 8);
    mm_buffer_append_format(&fixed, "%d", 8);
    CHECK_STR(mm_buffer_string(&fixed), "12345678");
    CHECK(fixed.ptr != array);
    mm_buffer_deinit(&fixed);
    CHECK_EQ(a.live_blocks, 0);
    CHECK_EQ(a.bad_sizes, 0);
}

TEST(move_leaves_the_old_memory_behind)
{
    test_allocator a;
    mm_buffer from, to = MM_BUFFER_INIT(NULL);
    char *old;
    test_allocator_init(&a);
    mm_buffer_init(&from, &a.base);
    mm_buffer_append_string(&from, "content");
    mm_buffer_append_string(&to, "other");
    from.status = MM_STATUS_LIMIT;
    old = to.ptr;
    mm_buffer_move(&to, &from);
    CHECK_STR(mm_buffer_string(&to), "content");
    CHECK(to.allocator == &a.base && to.status == MM_STATUS_LIMIT);
    CHECK(from.ptr == old && mm_buffer_is_unset(&from) && from.status == MM_STATUS_OK);
    mm_buffer_move(&to, &to);
    CHECK_STR(mm_buffer_string(&to), "content");
    mm_buffer_deinit(&to);
    mm_buffer_deinit(&from);
    CHECK_EQ(a.live_blocks, 0);
}

TEST(shrink_to_the_class_of_the_content)
{
    static const size_t lengths[] = {0, 1, 31, 32, 63, 64, 4095};
    static const size_t sizes[] = {32, 32, 32, 64, 64, 128, 4096};
    test_allocator a;
    mm_buffer b;
    size_t i;
    test_allocator_init(&a);
    mm_buffer_init(&b, &a.base);
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        char *at = mm_buffer_prepare_copy(&b, 8000);
        CHECK(at != NULL);
        memset(at, 'x', 8000);
        CHECK_EQ(mm_buffer_commit(&b, lengths[i]), MM_STATUS_OK);
        test_allocator_fail(&a, 1, 0);
        CHECK_EQ(mm_buffer_shrink(&b), MM_STATUS_NO_MEMORY);
        CHECK(b.size == 8192 && b.status == MM_STATUS_OK);
        CHECK_EQ(mm_buffer_shrink(&b), MM_STATUS_OK);
        CHECK_EQ(b.size, sizes[i]);
        CHECK_EQ(mm_buffer_length(&b), lengths[i]);
        CHECK(mm_buffer_check(&b));
        CHECK(lengths[i] == 0 || (b.ptr[0] == 'x' && b.ptr[lengths[i] - 1] == 'x'));
    }
    mm_buffer_reset(&b, SIZE_MAX);
    CHECK_EQ(mm_buffer_shrink(&b), MM_STATUS_OK);
    CHECK(b.ptr == NULL && a.live_blocks == 0 && a.bad_sizes == 0);
}

TEST(swap_and_equality)
{
    mm_buffer a = {0}, b = {0};
    mm_buffer_append_string(&a, "one");
    mm_buffer_swap(&a, &b);
    CHECK(mm_buffer_is_unset(&a));
    CHECK_STR(mm_buffer_string(&b), "one");
    CHECK(!mm_buffer_equal(&a, &b) && mm_buffer_equal(&b, &b));
    mm_buffer_append_buffer(&a, &b);
    CHECK(mm_buffer_equal(&a, &b));
    b.status = MM_STATUS_NO_MEMORY; /* its content is not whole */
    CHECK_EQ(mm_buffer_append_buffer(&a, &b), MM_STATUS_NO_MEMORY);
    CHECK_STR(mm_buffer_string(&a), "one");
    mm_buffer_clear(&a);
    mm_buffer_copy_string(&a, "one");
    b.status = MM_STATUS_OK;
    mm_buffer_append(&a, "\0x", 2);
    mm_buffer_append(&b, "\0y", 2);
    CHECK(!mm_buffer_equal(&a, &b)); /* bytes, not strings */
    CHECK(mm_slice_equal_nocase(mm_slice_from_string("aZ-@["), mm_slice_from_string("Az-@[")));
    CHECK(!mm_slice_equal_nocase(mm_slice_from_string("@"), mm_slice_from_string("`")));
    CHECK(!mm_slice_equal_nocase(mm_slice_from_string("\xC4"), mm_slice_from_string("\xE4")));
    CHECK(mm_slice_equal(mm_slice_from_string(NULL), mm_slice_from_string("")));
    mm_buffer_deinit(&a);
    mm_buffer_deinit(&b);
}

/* One random operation on `b` and on the model (`bytes`, `*length`); some arguments lie in `b`. */
static void model_step(mm_buffer *b, unsigned char *bytes, size_t *length, uint64_t *random)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = test_random(random) % 60, from = 0;
    unsigned char before[4096];
    size_t old = *length;
    mm_status status = MM_STATUS_OK;
    memcpy(before, bytes, old);
    switch (test_random(random) % 7) {
    case 0:
        status = mm_buffer_append(b, alphabet, n);
        memcpy(bytes + *length, alphabet, n);
        *length += n;
        break;
    case 1: /* a part of itself */
        if (old == 0) break;
        from = test_random(random) % old;
        if (n > old - from) n = old - from;
        status = mm_buffer_append(b, b->ptr + from, n);
        memcpy(bytes + *length, before + from, n);
        *length += n;
        break;
    case 2:
        status = mm_buffer_append_format(b, "%.*s", (int)n, alphabet);
        memcpy(bytes + *length, alphabet, n);
        *length += n;
        break;
    case 3: /* becomes a part of itself */
        if (old == 0) break;
        from = test_random(random) % old;
        status = mm_buffer_copy(b, b->ptr + from, old - from);
        memmove(bytes, before + from, old - from);
        *length = old - from;
        break;
    case 4:
        *length = old == 0 ? 0 : test_random(random) % (old + 1);
        if (mm_buffer_truncate(b, *length) != MM_STATUS_OK)
            test_fail(__FILE__, __LINE__, "truncate");
        break;
    case 5:
        status = mm_buffer_append_char(b, 'c');
        bytes[(*length)++] = 'c';
        break;
    default:
        if (old > 3000) mm_buffer_reset(b, 64), *length = 0;
        break;
    }
    if (status == MM_STATUS_OK) return;
    memcpy(bytes, before, old); /* refused: the model goes back */
    *length = old;
    b->status = MM_STATUS_OK;
}

static void model_run(uint64_t seed, size_t fail_every)
{
    unsigned char bytes[8192];
    size_t length = 0, step;
    char memory[40];
    test_allocator a;
    mm_buffer b;
    test_allocator_init(&a);
    mm_buffer_init_memory(&b, memory, test_random(&seed) % sizeof(memory), &a.base);
    for (step = 0; step < 20000; step++) {
        if (fail_every != 0) test_allocator_fail(&a, 1 + test_random(&seed) % fail_every, 0);
        model_step(&b, bytes, &length, &seed);
        CHECK(mm_buffer_check(&b));
        CHECK_EQ(mm_buffer_length(&b), length);
        CHECK(length == 0 || memcmp(b.ptr, bytes, length) == 0);
    }
    mm_buffer_deinit(&b);
    CHECK_EQ(a.live_blocks, 0);
    CHECK_EQ(a.bad_sizes, 0);
}

TEST(model)
{
    uint64_t seed;
    for (seed = 1; seed <= 10; seed++) CHECK_SUB(model_run(seed * 7919, 0));
    for (seed = 1; seed <= 10; seed++) CHECK_SUB(model_run(seed * 104729, 2));
}

TEST(status_strings)
{
    int status;
    for (status = MM_STATUS_OK; status <= MM_STATUS_IO; status++)
        CHECK(strcmp(mm_status_string((mm_status)status), "unknown status") != 0);
    CHECK_STR(mm_status_string((mm_status)(MM_STATUS_IO + 1)), "unknown status");
}

TEST(checked_sizes)
{
    size_t result = 7;
    CHECK(!mm_size_add(SIZE_MAX, 1, &result) && result == 7);
    CHECK(mm_size_add(SIZE_MAX - 1, 1, &result) && result == SIZE_MAX);
    CHECK(!mm_size_mul(SIZE_MAX / 2 + 1, 2, &result));
    CHECK(mm_size_mul(SIZE_MAX / 3, 3, &result) && result == SIZE_MAX / 3 * 3);
    CHECK(mm_size_mul(SIZE_MAX, 0, &result) && result == 0);
    CHECK_EQ(mm_size_pow2(0), 1);
    CHECK_EQ(mm_size_pow2(4096), 4096);
    CHECK_EQ(mm_size_pow2(4097), 8192);
    CHECK_EQ(mm_size_pow2(SIZE_MAX), 0);
}

TEST_MAIN(T(zeroed_buffer_is_empty), T(unset_differs_from_blank),
          T(capacity_is_a_power_of_two_with_the_nul), T(numbers_at_their_limits),
          T(format_fits_exactly_grows_and_fails), T(prepare_commit_truncate),
          T(failure_is_sticky_and_loses_nothing), T(failed_copy_and_format_keep_the_old_content),
          T(beyond_the_limit_is_too_large), T(detach_and_adopt_move_ownership),
          T(memory_of_the_callers), T(move_leaves_the_old_memory_behind),
          T(shrink_to_the_class_of_the_content), T(swap_and_equality), T(model),
          T(status_strings), T(checked_sizes))
