/* mm_buffer.h: each function, each failure, and a model test against a plain byte array. */
#define MM_IMPLEMENTATION
#include "../../mm_arena.h" /* buffers on allocators that poison */
#include "../../mm_buffer.h"
#include "../../mm_pool.h"

#include "../harness.h"
#include "../poison.h"

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

/* Arguments and format in the content: in the room that there is, when it fits to the byte, and
   when the buffer grows, with each allocation failing. */
TEST(format_of_its_own_content)
{
    mm_status (*unchecked)(mm_buffer *b, const char *format, ...) = mm_buffer_append_format;
    test_allocator a;
    size_t n, room, from;
    test_allocator_init(&a);
    for (n = 1; n < 600; n += n < 250 || n > 260 ? 83 : 1)
        for (room = 0; room < 4 * n + 20; room += room > 2 * n && room < 2 * n + 5 ? 1 : n)
            for (from = 1; from <= 3; from++) {
                char *memory = (char *)malloc(n + 1 + room);
                mm_buffer b;
                mm_status status;
                CHECK(memory != NULL);
                mm_buffer_init_memory(&b, memory, n + 1 + room, &a.base);
                while (mm_buffer_length(&b) < n - 1) mm_buffer_append_char(&b, 'x');
                mm_buffer_append_char(&b, 'z');
                test_allocator_fail(&a, from, 1);
                status = mm_buffer_append_format(&b, "%s|%s", b.ptr, b.ptr + n - 1);
                if (status == MM_STATUS_NO_MEMORY) CHECK_EQ(mm_buffer_length(&b), n);
                else CHECK_EQ(mm_buffer_length(&b), 2 * n + 2);
                if (status == MM_STATUS_OK) {
                    CHECK(memcmp(b.ptr, b.ptr + n, n) == 0);
                    CHECK_STR(b.ptr + 2 * n, "|z");
                }
                CHECK(mm_buffer_check(&b) && (status == MM_STATUS_OK || a.failures > 0));
                test_allocator_fail(&a, 0, 0);
                mm_buffer_clear(&b);
                mm_buffer_append_string(&b, "%s%%%s");
                CHECK_EQ(unchecked(&b, b.ptr, b.ptr, "y"), MM_STATUS_OK);
                CHECK_STR(b.ptr, "%s%%%s%s%%%s%y");
                mm_buffer_deinit(&b);
                free(memory);
            }
    CHECK(a.live_blocks == 0 && a.bad_sizes == 0);
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

TEST(extend_prepares_and_commits)
{
    mm_buffer b = {0};
    char *to;
    CHECK_EQ(mm_buffer_capacity(&b), 0);
    to = mm_buffer_extend(&b, 31);
    CHECK(to != NULL && mm_buffer_length(&b) == 31 && to[31] == '\0' && mm_buffer_check(&b));
    memset(to, 'a', 31);
    CHECK_EQ(mm_buffer_capacity(&b), 32);
    to = mm_buffer_extend(&b, 2);
    CHECK(to == b.ptr + 31 && to[2] == '\0' && mm_buffer_capacity(&b) == 64);
    memcpy(to, "bc", 2);
    CHECK_STR(mm_buffer_string(&b) + 29, "aabc");
    CHECK(mm_buffer_extend(&b, 0) == b.ptr + 33 && mm_buffer_length(&b) == 33);
    CHECK(mm_buffer_extend(&b, SIZE_MAX) == NULL && mm_buffer_extend(&b, 1) == NULL);
    CHECK(mm_buffer_status(&b) == MM_STATUS_TOO_LARGE && mm_buffer_length(&b) == 33);
    mm_buffer_deinit(&b);
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
    if (SIZE_MAX > UINT32_MAX) /* else there is no size that is too large */
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

TEST(parts_in_one_growth)
{
    test_allocator a;
    mm_buffer b;
    mm_slice parts[4];
    test_allocator_init(&a);
    mm_buffer_init(&b, &a.base);
    CHECK_EQ(mm_buffer_append_slices(&b, NULL, 0), MM_STATUS_OK);
    CHECK(mm_buffer_is_blank(&b) && !mm_buffer_is_unset(&b));
    mm_buffer_append_string(&b, "0123456789");
    parts[0] = mm_slice_make(b.ptr + 2, 8);
    parts[1] = mm_slice_make(NULL, 0);
    parts[2] = mm_slice_from_string("<a part from elsewhere>");
    parts[3] = mm_slice_make(b.ptr, 3);
    a.calls = 0;
    CHECK_EQ(mm_buffer_append_slices(&b, parts, 4), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "012345678923456789<a part from elsewhere>012");
    CHECK_EQ(a.calls, 1);
    parts[0] = mm_slice_make(b.ptr, 40);
    parts[1].len = SIZE_MAX;
    CHECK_EQ(mm_buffer_append_slices(&b, parts, 2), MM_STATUS_TOO_LARGE);
    CHECK_EQ(mm_buffer_append_slices(&b, parts, 1), MM_STATUS_TOO_LARGE); /* sticky */
    b.status = MM_STATUS_OK;
    test_allocator_fail(&a, 1, 0);
    CHECK_EQ(mm_buffer_append_slices(&b, parts, 1), MM_STATUS_NO_MEMORY);
    CHECK_STR(mm_buffer_string(&b), "012345678923456789<a part from elsewhere>012");
    mm_buffer_deinit(&b);
    CHECK_EQ(a.live_blocks, 0);
}

TEST(joined)
{
    test_allocator a;
    mm_buffer b;
    mm_slice parts[3], comma = mm_slice_make(", ", 2);
    test_allocator_init(&a);
    mm_buffer_init(&b, &a.base);
    CHECK_EQ(mm_buffer_append_joined(&b, NULL, 0, comma), MM_STATUS_OK);
    CHECK(mm_buffer_is_blank(&b) && !mm_buffer_is_unset(&b));
    parts[0] = mm_slice_make("a", 1);
    parts[1] = mm_slice_make(NULL, 0);
    parts[2] = mm_slice_make("bc", 2);
    CHECK_EQ(mm_buffer_append_joined(&b, parts, 1, comma), MM_STATUS_OK);
    CHECK_EQ(mm_buffer_append_joined(&b, parts, 3, comma), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "aa, , bc");
    parts[1] = mm_slice_make(b.ptr, 8); /* with what the buffer holds, and it grows */
    CHECK_EQ(mm_buffer_append_joined(&b, parts, 3, mm_slice_make(b.ptr + 2, 3)), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "aa, , bca, ,aa, , bc, ,bc");
    comma.len = SIZE_MAX / 2;
    CHECK_EQ(mm_buffer_append_joined(&b, parts, 3, comma), MM_STATUS_TOO_LARGE);
    b.status = MM_STATUS_OK;
    CHECK_EQ(mm_buffer_append_joined(&b, parts, SIZE_MAX, comma), MM_STATUS_TOO_LARGE);
    CHECK_STR(mm_buffer_string(&b), "aa, , bca, ,aa, , bc, ,bc");
    mm_buffer_deinit(&b);
    CHECK(a.live_blocks == 0 && a.bad_sizes == 0);
}

TEST(insert_replace_remove)
{
    test_allocator a;
    mm_buffer b;
    test_allocator_init(&a);
    mm_buffer_init(&b, &a.base);
    CHECK_EQ(mm_buffer_insert(&b, 0, "world", 5), MM_STATUS_OK);
    CHECK_EQ(mm_buffer_insert(&b, 0, "hello ", 6), MM_STATUS_OK);
    CHECK_EQ(mm_buffer_insert(&b, 11, "!", 1), MM_STATUS_OK);
    CHECK_EQ(mm_buffer_replace(&b, 0, 5, "good bye", 8), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "good bye world!");
    CHECK_EQ(mm_buffer_replace(&b, 4, 4, NULL, 0), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "good world!");
    CHECK_EQ(mm_buffer_insert(&b, 12, "x", 1), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_append_char(&b, 'x'), MM_STATUS_INVALID); /* sticky */
    b.status = MM_STATUS_OK;
    CHECK_EQ(mm_buffer_replace(&b, 1, SIZE_MAX, "x", 1), MM_STATUS_INVALID);
    b.status = MM_STATUS_OK;
    CHECK_EQ(mm_buffer_replace(&b, 1, 11, "x", 1), MM_STATUS_INVALID);
    b.status = MM_STATUS_OK;
    CHECK_EQ(mm_buffer_insert(&b, 1, "x", SIZE_MAX), MM_STATUS_TOO_LARGE);
    b.status = MM_STATUS_OK;
    test_allocator_fail(&a, 1, 0);
    CHECK_EQ(mm_buffer_insert(&b, 4, "012345678901234567890123456789", 30), MM_STATUS_NO_MEMORY);
    CHECK_STR(mm_buffer_string(&b), "good world!");
    CHECK_EQ(mm_buffer_remove_prefix(&b, 12), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_remove_prefix(&b, 5), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "world!");
    CHECK_EQ(mm_buffer_remove_prefix(&b, 6), MM_STATUS_OK);
    CHECK(mm_buffer_is_blank(&b) && !mm_buffer_is_unset(&b));
    mm_buffer_deinit(&b);
    CHECK_EQ(mm_buffer_remove_prefix(&b, 0), MM_STATUS_OK);
    CHECK_EQ(mm_buffer_remove_prefix(&b, 1), MM_STATUS_INVALID);
    CHECK_EQ(a.live_blocks, 0);
}

/* Every way in which a part of a short content can replace another part of it. */
TEST(replace_by_a_part_of_itself)
{
    static const char text[] = "abcdefg";
    size_t at, count, from, n, length = 7;
    for (at = 0; at <= length; at++)
        for (count = 0; count <= length - at; count++)
            for (from = 0; from <= length; from++)
                for (n = 0; n <= length - from; n++) {
                    char expected[32], small[9];
                    mm_buffer b = {0}, c;
                    snprintf(expected, sizeof(expected), "%.*s%.*s%s", (int)at, text, (int)n,
                             text + from, text + at + count);
                    mm_buffer_append_string(&b, text);
                    CHECK_EQ(mm_buffer_replace(&b, at, count, b.ptr + from, n), MM_STATUS_OK);
                    CHECK_STR(mm_buffer_string(&b), expected);
                    mm_buffer_deinit(&b);
                    mm_buffer_init_memory(&c, small, sizeof(small), NULL); /* has to grow */
                    mm_buffer_append_string(&c, text);
                    CHECK_EQ(mm_buffer_replace(&c, at, count, c.ptr + from, n), MM_STATUS_OK);
                    CHECK_STR(mm_buffer_string(&c), expected);
                    mm_buffer_deinit(&c);
                }
}

/* The same arguments to printf and to its quick sister. */
#define CHECK_QUICK(...) \
    do { \
        char expected[256]; \
        mm_buffer b = {0}; \
        snprintf(expected, sizeof(expected), __VA_ARGS__); \
        mm_buffer_append_string(&b, "0123456789"); \
        CHECK_EQ(mm_buffer_append_quick(&b, __VA_ARGS__), MM_STATUS_OK); \
        CHECK_STR(mm_buffer_string(&b) + 10, expected); \
        CHECK_EQ(mm_buffer_append_quick(&b, __VA_ARGS__), MM_STATUS_OK); \
        CHECK_STR(mm_buffer_string(&b) + 10 + strlen(expected), expected); \
        mm_buffer_deinit(&b); \
    } while (0)

TEST(quick_format_is_as_printf)
{
    CHECK_QUICK("plain");
    CHECK_QUICK("%s", "");
    CHECK_QUICK("100%% of %s and %c%c", "all", 'x', 'y');
    CHECK_QUICK("%d %d %d %d", 0, -1, INT32_MIN, INT32_MAX);
    CHECK_QUICK("%u %x %u %x", 0u, 0u, UINT32_MAX, UINT32_MAX);
    CHECK_QUICK("%ld %lu %lx", -5L, 5UL, 255UL);
    CHECK_QUICK("%lld %lld %llu %llx", (long long)INT64_MIN, (long long)INT64_MAX,
                (unsigned long long)UINT64_MAX, (unsigned long long)UINT64_MAX);
    CHECK_QUICK("%zu %zx %zd", SIZE_MAX, SIZE_MAX, (ptrdiff_t)-1);
    CHECK_QUICK("%.*s|%.*s|%.*s|%.*s", 3, "abcdef", 0, "x", 9, "short", -1, "whole");
    CHECK_QUICK("%s: %s %.*s %d%%, %s", "a somewhat longer text", "to be written", 20,
                "with many pieces in it", 100, "so that it grows once or twice");
}

/* Formats that the compiler would warn about, and arguments in the buffer itself. */
static mm_status quick(mm_buffer *b, const char *format, ...)
{
    mm_status (*append)(mm_buffer *, const char *, va_list) = mm_buffer_append_vquick;
    mm_status status;
    va_list args;
    va_start(args, format);
    status = append(b, format, args);
    va_end(args);
    return status;
}

TEST(quick_format_fails_cleanly)
{
    static const char *const bad[] = {"abc%", "abc%5d", "abc%f", "abc%lld%l", "abc%ls", "abc%.3s"};
    const char three[3] = {'a', 'b', 'c'};
    size_t i;
    test_allocator a;
    mm_buffer b;
    test_allocator_init(&a);
    mm_buffer_init(&b, &a.base);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_EQ(quick(&b, bad[i], 1LL, 2LL), MM_STATUS_INVALID);
        CHECK(mm_buffer_is_unset(&b));
        b.status = MM_STATUS_OK;
    }
    CHECK_EQ(quick(&b, "%s%s", (char *)NULL, ""), MM_STATUS_OK);
    CHECK(mm_buffer_is_blank(&b) && !mm_buffer_is_unset(&b));
    mm_buffer_append_string(&b, "old");
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_EQ(quick(&b, bad[i], 1LL, 2LL), MM_STATUS_INVALID);
        CHECK_STR(mm_buffer_string(&b), "old");
        CHECK_EQ(quick(&b, "x"), MM_STATUS_INVALID); /* sticky */
        b.status = MM_STATUS_OK;
    }
    test_allocator_fail(&a, 1, 0);
    CHECK_EQ(quick(&b, "%d %s", 1, "0123456789012345678901234567890"), MM_STATUS_NO_MEMORY);
    CHECK_STR(mm_buffer_string(&b), "old");
    mm_buffer_copy(&b, three, 3);
    CHECK_EQ(quick(&b, "<%.*s>", 3, three), MM_STATUS_OK); /* needs no NUL there */
    CHECK_STR(mm_buffer_string(&b), "abc<abc>");
    CHECK_EQ(quick(&b, "[%s|%s|%.*s|%s]", b.ptr, b.ptr + 3, 2, b.ptr + 1, b.ptr + 8), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "abc<abc>[abc<abc>|<abc>|bc|]");
    CHECK_EQ(quick(&b, "%s%s", b.ptr, b.ptr + 26), MM_STATUS_OK); /* grows */
    CHECK_STR(mm_buffer_string(&b), "abc<abc>[abc<abc>|<abc>|bc|]abc<abc>[abc<abc>|<abc>|bc|]|]");
    mm_buffer_deinit(&b);
    CHECK_EQ(a.live_blocks, 0);
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

static mm_slice slice(const char *text)
{
    return mm_slice_from_string(text);
}

TEST(slices_compare)
{
    mm_slice none = mm_slice_make(NULL, 0);
    CHECK(mm_slice_compare(slice("abc"), slice("abc")) == 0);
    CHECK(mm_slice_compare(slice("abc"), slice("abd")) < 0);
    CHECK(mm_slice_compare(slice("abc"), slice("ab")) > 0);
    CHECK(mm_slice_compare(none, slice("")) == 0 && mm_slice_compare(none, slice("a")) < 0);
    CHECK(mm_slice_compare(slice("\x80"), slice("\x7F")) > 0);
    CHECK(mm_slice_compare(mm_slice_make("a\0b", 3), mm_slice_make("a\0c", 3)) < 0);
    CHECK(mm_slice_equal_secret(slice("secret"), slice("secret")));
    CHECK(!mm_slice_equal_secret(slice("secret"), slice("Secret")));
    CHECK(!mm_slice_equal_secret(slice("secret"), slice("secreT")));
    CHECK(!mm_slice_equal_secret(slice("secret"), slice("secre")));
    CHECK(mm_slice_equal_secret(none, slice("")));
    CHECK(mm_slice_starts_with(slice("abc"), slice("ab")) && mm_slice_starts_with(none, none));
    CHECK(!mm_slice_starts_with(slice("abc"), slice("abcd")));
    CHECK(!mm_slice_starts_with(slice("abc"), slice("b")));
    CHECK(mm_slice_starts_with_nocase(slice("Bearer x"), slice("bEARER ")));
    CHECK(!mm_slice_starts_with_nocase(slice("Bearer"), slice("bearer ")));
    CHECK(mm_slice_ends_with(slice("a.html"), slice(".html")) && mm_slice_ends_with(none, none));
    CHECK(!mm_slice_ends_with(slice("html"), slice(".html")));
    CHECK(!mm_slice_ends_with(slice("a.htm"), slice(".html")));
}

TEST(slices_search)
{
    mm_slice none = mm_slice_make(NULL, 0), text = slice("abracadabra");
    CHECK_EQ(mm_slice_find_byte(text, 'a', 1), 3);
    CHECK_EQ(mm_slice_find_byte(text, 'x', 0), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_find_byte(text, 'a', 11), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_find_byte(none, 'a', 0), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_find_byte(slice("x\xFFy"), '\xFF', 0), 1);
    CHECK_EQ(mm_slice_rfind_byte(text, 'b'), 8);
    CHECK_EQ(mm_slice_rfind_byte(text, 'x'), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_rfind_byte(none, 'x'), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_find(text, slice("abra"), 0), 0);
    CHECK_EQ(mm_slice_find(text, slice("abra"), 1), 7);
    CHECK_EQ(mm_slice_find(text, slice("abra"), 8), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_find(text, slice("abrac\1"), 0), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_find(text, slice("abracadabrax"), 0), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_find(text, none, 11), 11);
    CHECK_EQ(mm_slice_find(text, none, 12), MM_SLICE_NONE);
    CHECK_EQ(mm_slice_find(none, none, 0), 0);
    CHECK_EQ(mm_slice_find(mm_slice_make("a\0b\0c", 5), mm_slice_make("\0c", 2), 0), 3);
    CHECK(mm_slice_equal(mm_slice_sub(text, 4, 3), slice("cad")));
    CHECK(mm_slice_equal(mm_slice_sub(text, 9, SIZE_MAX), slice("ra")));
    CHECK_EQ(mm_slice_sub(text, 12, 1).len, 0);
    CHECK_EQ(mm_slice_sub(none, 0, 1).len, 0);
    CHECK(mm_slice_equal(mm_slice_trim(slice(" \t\r\n\v\fa b ")), slice("a b")));
    CHECK_EQ(mm_slice_trim(slice(" \t ")).len, 0);
    CHECK_EQ(mm_slice_trim(none).len, 0);
}

/* The tokens, each in <> or, when quoted, in "", and a ! when the walk ended with an error. */
static const char *tokens_of(const char *text, unsigned flags)
{
    static char result[256];
    mm_tokens t;
    mm_slice token;
    size_t n = 0;
    mm_tokens_init(&t, text == NULL ? mm_slice_make(NULL, 0) : slice(text), ",;", flags);
    while (mm_tokens_next(&t, &token))
        n += (size_t)snprintf(result + n, sizeof(result) - n, t.is_quoted ? "\"%.*s\"" : "<%.*s>",
                              (int)token.len, token.ptr);
    if (mm_tokens_next(&t, &token)) return "not at its end";
    snprintf(result + n, sizeof(result) - n, "%s", t.status == MM_STATUS_OK ? "" : "!");
    return result;
}

static size_t find_plainly(mm_slice slice, mm_slice bytes, size_t from)
{
    for (; from + bytes.len <= slice.len; from++)
        if (memcmp(slice.ptr + from, bytes.ptr, bytes.len) == 0) return from;
    return MM_SLICE_NONE;
}

/* Texts of few letters, so that much begins well and little ends so; bytes that repeat themselves
   and that do not. */
TEST(find_model)
{
    char text[400], wanted[90];
    uint64_t seed = 17;
    size_t step, i, found = 0;
    for (step = 0; step < 30000; step++) {
        size_t letters = 1 + test_random(&seed) % 3, n = test_random(&seed) % sizeof(text);
        size_t most = step % 2 == 0 ? 8 : sizeof(wanted), m = 1 + test_random(&seed) % (most - 1);
        size_t period = 1 + test_random(&seed) % m, from = test_random(&seed) % 5, expected;
        mm_slice slice = mm_slice_make(text, n), bytes = mm_slice_make(wanted, m);
        for (i = 0; i < n; i++) text[i] = (char)('a' + test_random(&seed) % letters);
        for (i = 0; i < m; i++)
            wanted[i] = (char)(i < period ? 'a' + (int)(test_random(&seed) % letters)
                                          : wanted[i - period]);
        for (i = 0; i < n && step % 3 != 0; i++) /* mostly the bytes again and again, but one */
            text[i] = test_random(&seed) % 64 == 0 ? 'z' : wanted[i % (step % 3 == 1 ? period : m)];
        expected = find_plainly(slice, bytes, from);
        CHECK_EQ(mm_slice_find(slice, bytes, from), expected);
        if (from + m <= n) CHECK_EQ(mmi_find_two_way(slice, bytes, from), expected);
        found += expected != MM_SLICE_NONE;
    }
    CHECK(found > 3000 && found < 27000);
}

TEST(equal_nocase_at_every_place)
{
    char a[71], b[71];
    size_t n, at;
    unsigned value, other;
    for (value = 0; value < 256; value++)
        for (other = 0; other < 256; other++) {
            bool letter = (value | 32) - 'a' < 26;
            n = 1 + (value + other) % 70;
            at = other % n;
            memset(a, 'Q', sizeof(a));
            memset(b, 'q', sizeof(b));
            a[at] = (char)value;
            b[at] = (char)other;
            CHECK_EQ(mm_slice_equal_nocase(mm_slice_make(a, n), mm_slice_make(b, n)),
                     value == other || (letter && (value ^ other) == 32));
        }
}

TEST(tokens)
{
    const unsigned list = MM_TOKENS_TRIM | MM_TOKENS_SKIP_EMPTY, quoted = MM_TOKENS_QUOTED;
    CHECK_STR(tokens_of("a,b;c", 0), "<a><b><c>");
    CHECK_STR(tokens_of(",a,,b,", 0), "<><a><><b><>");
    CHECK_STR(tokens_of("", 0), "<>");
    CHECK_STR(tokens_of(NULL, 0), "<>");
    CHECK_STR(tokens_of("", list), "");
    CHECK_STR(tokens_of(" a b ,\t, c", MM_TOKENS_TRIM), "<a b><><c>");
    CHECK_STR(tokens_of(" a b ,\t, c, ", list), "<a b><c>");
    CHECK_STR(tokens_of("a,\"b,c\",d", 0), "<a><\"b><c\"><d>");
    CHECK_STR(tokens_of("a, \"b,c\" ,d", list | quoted), "<a>\"b,c\"<d>");
    CHECK_STR(tokens_of("x=\"b,c\";y", quoted), "<x=\"b,c\"><y>");
    CHECK_STR(tokens_of("\"\",,", list | quoted), "\"\"");
    CHECK_STR(tokens_of("\"a\\\",b\",c", quoted), "\"a\\\",b\"<c>");
    CHECK_STR(tokens_of("\"a\"\"b\"", quoted), "<\"a\"\"b\">");
    CHECK_STR(tokens_of("a,\"b,c", quoted), "<a>!");
    CHECK_STR(tokens_of("a,\"b\\\"", quoted), "<a>!");
    CHECK_STR(tokens_of("a,\"b\\", quoted), "<a>!");
}

TEST(unescaped)
{
    mm_buffer b = {0};
    CHECK_EQ(mm_buffer_append_unescaped(&b, slice("a\\\"b\\\\c")), MM_STATUS_OK);
    CHECK_STR(mm_buffer_string(&b), "a\"b\\c");
    CHECK_EQ(mm_buffer_append_unescaped(&b, slice("x\\")), MM_STATUS_INVALID);
    CHECK_EQ(mm_buffer_append_unescaped(&b, slice("x")), MM_STATUS_INVALID);
    CHECK_STR(mm_buffer_string(&b), "a\"b\\c");
    b.status = MM_STATUS_OK;
    CHECK_EQ(mm_buffer_append_unescaped(&b, mm_slice_make("x", SIZE_MAX)), MM_STATUS_TOO_LARGE);
    mm_buffer_deinit(&b);
}

static void count_frees(void *ptr, size_t len, void *user_data)
{
    *(size_t *)user_data += len;
    if (ptr != user_data) free(ptr);
}

TEST(shared_bytes)
{
    test_allocator a;
    mm_shared *s, *other;
    char *bytes;
    test_allocator_init(&a);
    s = mm_shared_new(mm_slice_make("ab\0c", 4), &a.base);
    CHECK(s != NULL && s->len == 4 && memcmp(s->ptr, "ab\0c", 5) == 0 && a.live_blocks == 1);
    CHECK(mm_shared_is_unique(s));
    bytes = mm_shared_make_writable(&s);
    CHECK(bytes == s->ptr);
    bytes[0] = 'A';
    other = mm_shared_retain(s);
    CHECK(other == s && !mm_shared_is_unique(s));
    test_allocator_fail(&a, 1, 0);
    CHECK(mm_shared_make_writable(&other) == NULL && other == s);
    bytes = mm_shared_make_writable(&other);
    CHECK(bytes != NULL && other != s && mm_shared_is_unique(s) && mm_shared_is_unique(other));
    bytes[0] = 'x';
    CHECK(mm_slice_equal(mm_shared_slice(s), mm_slice_make("Ab\0c", 4)));
    CHECK(mm_slice_equal(mm_shared_slice(other), mm_slice_make("xb\0c", 4)));
    CHECK(mm_shared_release(other));
    (void)mm_shared_retain(s);
    CHECK(!mm_shared_release(s) && mm_shared_release(s));
    CHECK(mm_shared_retain(NULL) == NULL && !mm_shared_release(NULL));
    CHECK_EQ(mm_shared_slice(NULL).len, 0);
    test_allocator_fail(&a, 1, 1);
    CHECK(mm_shared_new(slice("x"), &a.base) == NULL);
    CHECK(mm_shared_new(mm_slice_make("x", SIZE_MAX), &a.base) == NULL);
    test_allocator_fail(&a, 0, 0);
    s = mm_shared_new(mm_slice_make(NULL, 0), &a.base);
    CHECK(s != NULL);
    CHECK_STR(s->ptr, "");
    CHECK(mm_shared_release(s));
    CHECK(a.live_blocks == 0 && a.bad_sizes == 0);
}

TEST(shared_count_saturates)
{
    mm_shared *s = mm_shared_new(slice("for ever"), NULL);
    CHECK(s != NULL);
    s->refs = MMI_SHARED_PINNED - 1;
    CHECK(!mm_shared_release(mm_shared_retain(s))); /* has come to the top, and stays */
    CHECK_EQ(s->refs, MMI_SHARED_PINNED);
    (void)mm_shared_retain(s);
    CHECK(!mm_shared_release(s) && !mm_shared_release(s));
    CHECK_EQ(s->refs, MMI_SHARED_PINNED);
    s->refs = 1;
    CHECK(mm_shared_release(s));
}

TEST(shared_adoption)
{
    test_allocator a;
    mm_buffer b;
    mm_shared *s;
    char *block = (char *)malloc(3), memory[8];
    const char *ptr;
    size_t freed = 0;
    CHECK(block != NULL);
    memcpy(block, "xyz", 3);
    test_allocator_init(&a);
    test_allocator_fail(&a, 1, 0);
    CHECK(mm_shared_adopt(block, 3, count_frees, &freed, &a.base) == NULL && freed == 0);
    s = mm_shared_adopt(block, 3, count_frees, &freed, &a.base);
    CHECK(s != NULL && s->ptr == block);
    CHECK(mm_shared_make_writable(&s) != block && freed == 3); /* a copy; the bytes went back */
    CHECK(mm_shared_make_writable(&s) == s->ptr);
    CHECK(mm_shared_release(s));
    s = mm_shared_adopt("static", 6, NULL, NULL, &a.base);
    CHECK(s != NULL && mm_shared_release(s));
    mm_buffer_init(&b, &a.base);
    mm_buffer_append_string(&b, "taken over");
    ptr = b.ptr;
    test_allocator_fail(&a, 1, 0);
    CHECK(mm_shared_from_buffer(&b) == NULL && b.ptr == ptr);
    s = mm_shared_from_buffer(&b);
    CHECK(s != NULL && s->ptr == ptr && s->len == 10 && mm_buffer_is_unset(&b));
    CHECK(mm_shared_make_writable(&s) == ptr && mm_shared_release(s));
    mm_buffer_init_memory(&b, memory, sizeof(memory), &a.base);
    mm_buffer_append_string(&b, "short");
    test_allocator_fail(&a, 2, 0);
    CHECK(mm_shared_from_buffer(&b) == NULL && b.ptr == memory && a.live_blocks == 0);
    s = mm_shared_from_buffer(&b);
    CHECK(s != NULL && s->ptr != memory);
    CHECK_STR(s->ptr, "short");
    CHECK(mm_shared_release(s));
    b.status = MM_STATUS_LIMIT;
    CHECK(mm_shared_from_buffer(&b) == NULL);
    CHECK(a.live_blocks == 0 && a.bad_sizes == 0);
}

typedef struct item {
    char text[20];
    int number;
} item;

TEST(typed_array)
{
    mm_array(int) numbers = {0};
    mm_array(item) items = {0};
    item one = {"one", 1};
    test_allocator a;
    int i;
    test_allocator_init(&a);
    numbers.allocator = &a.base;
    for (i = 0; i < 100; i++) CHECK_EQ(mm_array_push(&numbers, i), MM_STATUS_OK);
    CHECK(numbers.count == 100 && numbers.capacity == 128 && numbers.items[99] == 99);
    mm_array_remove(&numbers, 0);
    mm_array_remove(&numbers, 98);
    CHECK(numbers.count == 98 && numbers.items[0] == 1 && numbers.items[97] == 98);
    CHECK_EQ(mm_array_pop(&numbers), 98);
    while (numbers.count < numbers.capacity) mm_array_push(&numbers, -1);
    test_allocator_fail(&a, 1, 0);
    CHECK_EQ(mm_array_push(&numbers, 5), MM_STATUS_NO_MEMORY);
    CHECK_EQ(mm_array_push(&numbers, 5), MM_STATUS_NO_MEMORY); /* sticky */
    CHECK(numbers.count == 128 && numbers.items[0] == 1);
    numbers.status = MM_STATUS_OK;
    CHECK_EQ(mm_array_push(&numbers, numbers.items[0]), MM_STATUS_OK); /* its own, and it grows */
    CHECK_EQ(numbers.items[128], 1);
    mm_array_push(&numbers, numbers.items[numbers.count - 1]); /* by the count from before */
    mm_array_push(&numbers, (int)numbers.count);
    CHECK(numbers.items[129] == 1 && numbers.items[130] == 130 && numbers.count == 131);
    mm_array_reserve(&numbers, SIZE_MAX);
    CHECK_EQ(numbers.status, MM_STATUS_TOO_LARGE);
    mm_array_clear(&numbers);
    mm_array_reserve(&numbers, SIZE_MAX / 4);
    CHECK_EQ(numbers.status, MM_STATUS_TOO_LARGE);
    mm_array_deinit(&numbers);
    CHECK(numbers.items == NULL && numbers.capacity == 0 && numbers.status == MM_STATUS_OK);
    mm_array_push(&items, one);
    mm_array_push(&items, items.items[0]);
    CHECK_STR(items.items[1].text, "one");
    mm_array_deinit(&items);
    mm_array_deinit(&items);
    CHECK(a.live_blocks == 0 && a.bad_sizes == 0);
}

typedef struct large_item { /* more than one part of what is moved at a time */
    int number;
    char rest[146];
} large_item;

TEST(typed_array_in_the_middle)
{
    static const int more[] = {7, 8, 9};
    mm_array(int) numbers = {0};
    mm_array(large_item) items = {0};
    large_item one = {0};
    test_allocator a;
    int i;
    test_allocator_init(&a);
    numbers.allocator = items.allocator = &a.base;
    CHECK_EQ(mm_array_append(&numbers, more, 0), MM_STATUS_OK);
    CHECK_EQ(mm_array_append(&numbers, (const int *)NULL, 0), MM_STATUS_OK);
    CHECK_EQ(mm_array_append(&numbers, more, 3), MM_STATUS_OK);
    CHECK_EQ(mm_array_insert(&numbers, 0, 5), MM_STATUS_OK);
    CHECK_EQ(mm_array_insert(&numbers, 1, 6), MM_STATUS_OK);
    CHECK_EQ(mm_array_insert(&numbers, 5, numbers.items[0]), MM_STATUS_OK);
    while (numbers.count < numbers.capacity) mm_array_insert(&numbers, 3, 0);
    test_allocator_fail(&a, 1, 0);
    CHECK_EQ(mm_array_append(&numbers, numbers.items + 1, 2), MM_STATUS_NO_MEMORY);
    CHECK_EQ(mm_array_insert(&numbers, 0, 1), MM_STATUS_NO_MEMORY); /* sticky */
    CHECK_EQ(numbers.count, 8);
    numbers.status = MM_STATUS_OK;
    CHECK_EQ(mm_array_append(&numbers, numbers.items, numbers.count), MM_STATUS_OK); /* its own */
    for (i = 0; i < 16; i++) CHECK_EQ(numbers.items[i], "\5\6\7\0\0\10\11\5"[i % 8]);
    CHECK_EQ(mm_array_append(&numbers, more, SIZE_MAX), MM_STATUS_TOO_LARGE);
    for (i = 0; i < 50; i++) {
        memset(one.rest, i, sizeof(one.rest));
        one.number = i;
        CHECK_EQ(mm_array_insert(&items, i % 2 ? 0 : items.count, one), MM_STATUS_OK);
    }
    for (i = 0; i < 50; i++) {
        CHECK_EQ(items.items[i].number, i < 25 ? 49 - 2 * i : 2 * (i - 25));
        CHECK_EQ(items.items[i].rest[0], items.items[i].number);
        CHECK_EQ(items.items[i].rest[145], items.items[i].number);
    }
    mm_array_deinit(&numbers);
    mm_array_deinit(&items);
    CHECK(a.live_blocks == 0 && a.bad_sizes == 0);
}

/* A ring of numbers in order: what comes out must be the next one. */
static void ring_run(uint64_t seed, size_t limit, size_t fail_every)
{
    mm_ring(uint32_t) ring = {0};
    uint32_t in = 0, out = 0, i;
    size_t step;
    test_allocator a;
    test_allocator_init(&a);
    ring.allocator = &a.base;
    ring.limit = limit;
    for (step = 0; step < 20000; step++) {
        if (fail_every != 0) test_allocator_fail(&a, 1 + test_random(&seed) % fail_every, 0);
        if (test_random(&seed) % 8 < (step / 1000 % 2 == 0 ? 5 : 3)) {
            mm_status status = mm_ring_push(&ring, in);
            CHECK_EQ(status, limit != 0 && in - out == limit ? MM_STATUS_LIMIT
                             : a.failures != 0               ? MM_STATUS_NO_MEMORY
                                                             : MM_STATUS_OK);
            in += status == MM_STATUS_OK;
        } else if (ring.count > 0) {
            CHECK_EQ(mm_ring_pop(&ring), out);
            out++;
        }
        CHECK_EQ(ring.count, in - out);
        for (i = out; i < in && step % 64 == 0; i++) CHECK_EQ(mm_ring_at(&ring, i - out), i);
    }
    mm_ring_deinit(&ring);
    CHECK(ring.count == 0 && a.live_blocks == 0 && a.bad_sizes == 0);
}

TEST(typed_ring)
{
    mm_ring(int) own = {0};
    int i;
    for (i = 0; i < 6; i++) mm_ring_push(&own, i);
    CHECK_EQ(mm_ring_pop(&own), 0);
    while (own.count < own.capacity) mm_ring_push(&own, 9); /* full, and wrapped around */
    CHECK_EQ(own.capacity, 8);
    CHECK_EQ(mm_ring_push(&own, mm_ring_at(&own, 0)), MM_STATUS_OK);
    CHECK(mm_ring_at(&own, 0) == 1 && mm_ring_at(&own, 8) == 1 && mm_ring_at(&own, 7) == 9);
    mm_ring_deinit(&own);
    CHECK_SUB(ring_run(1, 0, 0));
    CHECK_SUB(ring_run(2, 5, 0));
    CHECK_SUB(ring_run(3, 1, 0));
    CHECK_SUB(ring_run(4, 0, 1));
    CHECK_SUB(ring_run(5, 0, 2));
}

// >>poison

static bool all_hidden(const char *ptr, size_t size, bool hidden)
{
    size_t i;
    for (i = 0; i < size; i++)
        if (TRACKED && HIDDEN(ptr + i) != hidden) return false;
    return true;
}

/* Content and NUL may be used, with what was prepared; what is behind may not, but for the last
   granule of ASan's, which memory of the caller's can share with somebody. */
static bool is_exact(const mm_buffer *b, size_t prepared)
{
    size_t used = b->used + prepared, last = b->is_borrowed ? (uintptr_t)(b->ptr + b->size) % 8 : 0;
    if (b->ptr == NULL) return true;
    if (used + last > b->size) last = b->size - used;
    return all_hidden(b->ptr, used, false) &&
           all_hidden(b->ptr + used, b->size - used - last, true);
}

TEST(only_the_content_may_be_used)
{
    static char array[72];
    mm_buffer b = {0}, c = {0}, fixed = MM_BUFFER_INIT_ARRAY(array);
    mm_slice part = mm_slice_make("0123456789", 10);
    size_t n;
    for (n = 0; n < 70; n++) {
        mm_buffer_append_char(&b, 'x');
        CHECK(is_exact(&b, 0));
        mm_buffer_append_char(&fixed, 'x');
        CHECK(is_exact(&fixed, 0));
    }
    CHECK(mm_buffer_prepare_append(&b, 13) != NULL && is_exact(&b, 13));
    CHECK(mm_buffer_commit(&b, 0) == MM_STATUS_OK && is_exact(&b, 0));
    memset(mm_buffer_prepare_append(&b, 13), 'y', 13);
    CHECK(mm_buffer_commit(&b, 5) == MM_STATUS_OK && is_exact(&b, 0));
    memset(mm_buffer_prepare_append(&b, 500), 'y', 500);
    CHECK(is_exact(&b, 500));
    CHECK(mm_buffer_commit(&b, 401) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_truncate(&b, 33) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_remove_prefix(&b, 7) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_insert(&b, 3, "abc", 3) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_replace(&b, 3, 9, "de", 2) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_append_format(&b, "%d %s", 12, "s") == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_append_quick(&b, "%d %s", 12, "s") == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_append_int(&b, -1234567) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_append_hex(&b, 0x12345, 7) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_append_slices(&b, &part, 1) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_append_quick(&b, "%s%5d", "not ours", 1) != MM_STATUS_OK);
    CHECK(is_exact(&b, 0));
    b.status = MM_STATUS_OK;
#ifndef MM_BUFFER_NO_TEXT
    CHECK(mm_buffer_append_base64(&b, part, 0) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_append_html_escaped(&b, part) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_append_hex_decoded(&b, mm_slice_make("123456x", 7)) == MM_STATUS_INVALID);
    CHECK(is_exact(&b, 0));
    mm_buffer_clear(&b);
    mm_buffer_append_string(&b, "/a/../b");
    CHECK(mm_buffer_append_path(&b, part) == MM_STATUS_OK && is_exact(&b, 0));
    mm_buffer_simplify_path(&b);
    CHECK(is_exact(&b, 0));
#endif
    mm_buffer_move(&c, &b);
    CHECK(is_exact(&c, 0) && is_exact(&b, 0));
    mm_buffer_swap(&c, &b);
    CHECK(mm_buffer_copy(&b, part.ptr, 9) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_copy(&b, part.ptr, 10) == MM_STATUS_OK && is_exact(&b, 0));
    CHECK(mm_buffer_prepare_copy(&b, 3) != NULL && is_exact(&b, 3));
    CHECK(mm_buffer_prepare_copy(&b, 3000) != NULL && is_exact(&b, 3000));
    mm_buffer_clear(&b);
    CHECK(is_exact(&b, 0));
    CHECK(mm_buffer_shrink(&b) == MM_STATUS_OK && is_exact(&b, 0));
    mm_buffer_reset(&b, SIZE_MAX);
    CHECK(b.ptr != NULL && is_exact(&b, 0)); /* nothing at all */
    CHECK(mm_buffer_prepare_append(&b, 0) != NULL && is_exact(&b, 0));
    mm_buffer_reset(&b, SIZE_MAX);
    mm_buffer_append_char(&b, 'x');
    CHECK(is_exact(&b, 0));
    mm_buffer_deinit(&b);
    mm_buffer_deinit(&c);
    mm_buffer_deinit(&fixed);
}

TEST(memory_that_leaves_the_buffer_may_be_used)
{
    static char memory[61];
    test_allocator a;
    mm_buffer b;
    mm_shared *shared;
    char *text;
    size_t start, size, length;
    test_allocator_init(&a);
    for (start = 0; start < 9; start++) { /* at each place in a granule */
        size = sizeof(memory) - start;
        mm_buffer_init_memory(&b, memory + start, size, &a.base);
        CHECK(is_exact(&b, 0));
        mm_buffer_append_string(&b, "0123456789");
        CHECK(is_exact(&b, 0));
        test_allocator_fail(&a, 1, 0);
        CHECK(mm_buffer_prepare_append(&b, 100) == NULL && is_exact(&b, 0));
        test_allocator_fail(&a, 1, 0);
        CHECK(mm_buffer_detach(&b, NULL, NULL) == NULL && is_exact(&b, 0));
        mm_buffer_clear(&b);
        mm_buffer_append_string(&b, "0123456789");
        CHECK(mm_buffer_prepare_append(&b, 100) != NULL && !b.is_borrowed && is_exact(&b, 100));
        CHECK(all_hidden(memory, sizeof(memory), false));
        mm_buffer_deinit(&b);
        mm_buffer_init_memory(&b, memory + start, size, &a.base);
        mm_buffer_append_string(&b, "0123456789");
        mm_buffer_deinit(&b);
        CHECK(all_hidden(memory, sizeof(memory), false));
    }
    mm_buffer_append_string(&b, "detached");
    text = mm_buffer_detach(&b, &length, &size);
    CHECK(text != NULL && all_hidden(text, size, false));
    CHECK_EQ(mm_buffer_adopt(&b, text, length, size), MM_STATUS_OK);
    CHECK(is_exact(&b, 0));
    test_allocator_fail(&a, 1, 0);
    CHECK(mm_buffer_append(&b, memory, sizeof(memory)) == MM_STATUS_NO_MEMORY);
    CHECK(is_exact(&b, 0));
    b.status = MM_STATUS_OK;
    shared = mm_shared_from_buffer(&b);
    CHECK(shared != NULL && all_hidden(shared->ptr, shared->len + 1, false));
    CHECK(all_hidden(shared->ptr + shared->len + 1, shared->size - shared->len - 1, true));
    CHECK(mm_shared_release(shared));
    CHECK(a.live_blocks == 0 && a.bad_sizes == 0);
}

/* These hide what is not handed out themselves, and copy or wipe all of what comes back. */
static void slack_run(const mm_allocator *allocator)
{
    mm_buffer b, c;
    size_t i;
    mm_buffer_init(&b, allocator);
    mm_buffer_init(&c, allocator);
    for (i = 0; i < 300; i++) {
        mm_buffer_append_int(&b, (int64_t)i * 37);
        CHECK(is_exact(&b, 0));
        if (i % 3 == 0) mm_buffer_append_int(&c, (int64_t)i); /* so that b cannot stay in place */
        if (i % 50 == 49) CHECK_EQ(mm_buffer_truncate(&b, mm_buffer_length(&b) / 4), MM_STATUS_OK);
        if (i % 100 == 99) CHECK_EQ(mm_buffer_shrink(&b), MM_STATUS_OK);
        CHECK(is_exact(&b, 0) && is_exact(&c, 0));
    }
    mm_buffer_deinit(&c);
    mm_buffer_deinit(&b);
}

TEST(slack_on_allocators_that_poison)
{
    mm_arena arena = {0};
    mm_tier tier;
    mm_tier_desc desc;
    CHECK_SUB(slack_run(mm_arena_allocator(&arena)));
    CHECK(mm_arena_check(&arena));
    mm_arena_deinit(&arena);
    memset(&desc, 0, sizeof(desc));
    desc.class_size[0] = 48;
    desc.class_size[1] = 300;
    desc.wipe = true;
    CHECK_EQ(mm_tier_init(&tier, &desc), MM_STATUS_OK);
    CHECK_SUB(slack_run(mm_tier_allocator(&tier)));
    CHECK(mm_tier_check(&tier));
    CHECK_EQ(mm_tier_deinit(&tier), 0);
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
    switch (test_random(random) % 9) {
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
    case 6: { /* a part of itself in the place of another */
        size_t at = test_random(random) % (old + 1), count = test_random(random) % (old - at + 1);
        from = test_random(random) % (old + 1);
        if (n > old - from) n = old - from;
        if (count > n + 20) count = n + 20 < old - at ? n + 20 : old - at;
        status = mm_buffer_replace(b, at, count, b->ptr == NULL ? NULL : b->ptr + from, n);
        memmove(bytes + at + n, bytes + at + count, old - at - count);
        memcpy(bytes + at, before + from, n);
        *length = old - count + n;
        break;
    }
    case 7:
        status = mm_buffer_append_quick(b, "%.*s", (int)n, alphabet);
        memcpy(bytes + *length, alphabet, n);
        *length += n;
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
          T(format_fits_exactly_grows_and_fails),
          T(format_of_its_own_content), T(prepare_commit_truncate),
          T(extend_prepares_and_commits), T(failure_is_sticky_and_loses_nothing),
          T(failed_copy_and_format_keep_the_old_content),
          T(beyond_the_limit_is_too_large), T(detach_and_adopt_move_ownership),
          T(memory_of_the_callers), T(move_leaves_the_old_memory_behind),
          T(shrink_to_the_class_of_the_content), T(parts_in_one_growth), T(joined),
          T(insert_replace_remove), T(replace_by_a_part_of_itself), T(quick_format_is_as_printf),
          T(quick_format_fails_cleanly), T(swap_and_equality), T(slices_compare), T(slices_search),
          T(find_model), T(equal_nocase_at_every_place), T(tokens), T(unescaped),
          T(shared_bytes), T(shared_count_saturates), T(shared_adoption), T(typed_array),
          T(typed_array_in_the_middle), T(typed_ring), T(only_the_content_may_be_used),
          T(memory_that_leaves_the_buffer_may_be_used), T(slack_on_allocators_that_poison),
          T(model), T(status_strings),
          T(checked_sizes))
