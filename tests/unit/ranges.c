/* demo/conditions.c and ranges.c: what is asked for on conditions, and in parts. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_io.h"

#include "../../demo/conditions.c"
#include "../../demo/date.c"
#include "../../demo/html.c"
#include "../../demo/http.c"
#include "../../demo/ranges.c"

#include "../harness.h"

#define OLD 1000000000 /* when the file was last changed */
#define OLD_DATE "Sun, 09 Sep 2001 01:46:40 GMT"

static mm_slice slice(const char *text)
{
    return mm_slice_from_string(text);
}

/* ---- conditions ---- */

TEST(entity_tags_are_found_in_lists)
{
    static const struct {
        const char *list;
        bool found;
    } cases[] = {{"\"a\"", true},        {"W/\"a\"", true},       {"*", true},
                 {" * ", true},          {"\"b\", \"a\"", true},  {"\"b\",\"a\",\"c\"", true},
                 {"W/\"b\" , W/\"a\"", true}, {",, ,\"a\"", true}, {"\"a\" junk", true},
                 {"\"b\"", false},       {"", false},             {"a", false},
                 {"\"a", false},         {"a\"", false},          {"\"A\"", false},
                 {"w/\"a\"", false},     {"\"b,\"a\"", false},    {"\"b\" \"a", false},
                 {"\"x\\\"a\"", false},  {"\"aa\"", false},       {"\"\"", false},
                 {"*, \"b\"", false},    {"W/", false},           {"W/a", false},
                 {"\"b\"W/\"a\"", false}, {"\"b\";\"a\"", false}, {",", false}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size = strlen(cases[i].list);
        char *list = malloc(size + 1);
        bool found;
        CHECK(list != NULL);
        memcpy(list, cases[i].list, size);
        found = files_etag_listed(mm_slice_make(list, size), slice("\"a\""), false);
        free(list);
        if (found != cases[i].found) printf("      %s\n", cases[i].list);
        CHECK_EQ(found, cases[i].found);
    }
    CHECK(files_etag_listed(slice("\"b\", \"a\""), slice("\"a\""), true));
    CHECK(files_etag_listed(slice("W/\"a\",\"a\""), slice("\"a\""), true));
    CHECK(files_etag_listed(slice("*"), slice("\"a\""), true));
    CHECK(!files_etag_listed(slice("W/\"a\""), slice("\"a\""), true));
}

/* A request that has but these fields; the last may be NULL. */
static http_request request;
static const http_request *with_fields(const char *name, const char *value, const char *name2,
                                       const char *value2)
{
    request.header_count = name2 == NULL ? 1 : 2;
    request.headers[0].name = slice(name);
    request.headers[0].value = slice(value);
    request.headers[1].name = slice(name2);
    request.headers[1].value = slice(value2);
    http_request_index(&request);
    return &request;
}

static int check(const char *name, const char *value, const char *name2, const char *value2,
                 int64_t modified)
{
    return files_check_conditions(with_fields(name, value, name2, value2), slice("\"a\""),
                                  modified);
}

TEST(conditions_in_their_order)
{
    const char *match = "If-None-Match", *since = "If-Modified-Since";
    CHECK_EQ(check("A", "b", NULL, NULL, OLD), 200);
    CHECK_EQ(check(match, "\"a\"", NULL, NULL, OLD), 304);
    CHECK_EQ(check(match, "\"b\"", NULL, NULL, OLD), 200);
    CHECK_EQ(check(match, "\"b\"", match, "\"a\"", OLD), 304);
    CHECK_EQ(check(since, OLD_DATE, NULL, NULL, OLD), 304);
    CHECK_EQ(check(since, OLD_DATE, NULL, NULL, OLD + 1), 200);
    CHECK_EQ(check(since, OLD_DATE, NULL, NULL, OLD - 1), 304);
    CHECK_EQ(check(since, "nonsense", NULL, NULL, OLD), 200);
    CHECK_EQ(check(since, OLD_DATE, match, "\"b\"", OLD), 200);
    CHECK_EQ(check(match, "\"a\"", since, "nonsense", OLD), 304);
    CHECK_EQ(check(match, "", since, OLD_DATE, OLD), 200);
}

TEST(what_is_expected_comes_before_what_is_known)
{
    const char *match = "If-Match", *since = "If-Unmodified-Since", *none = "If-None-Match";
    CHECK_EQ(check(match, "\"a\"", NULL, NULL, OLD), 200);
    CHECK_EQ(check(match, "*", NULL, NULL, OLD), 200);
    CHECK_EQ(check(match, "\"b\"", NULL, NULL, OLD), 412);
    CHECK_EQ(check(match, "W/\"a\"", NULL, NULL, OLD), 412);
    CHECK_EQ(check(match, "W/\"a\", \"a\"", NULL, NULL, OLD), 200);
    CHECK_EQ(check(match, "", NULL, NULL, OLD), 412);
    CHECK_EQ(check(match, "\"b\"", match, "\"a\"", OLD), 200);
    CHECK_EQ(check(since, OLD_DATE, NULL, NULL, OLD), 200);
    CHECK_EQ(check(since, OLD_DATE, NULL, NULL, OLD - 1), 200);
    CHECK_EQ(check(since, OLD_DATE, NULL, NULL, OLD + 1), 412);
    CHECK_EQ(check(since, "nonsense", NULL, NULL, OLD + 1), 200);
    CHECK_EQ(check(since, OLD_DATE, match, "\"a\"", OLD + 1), 200);
    CHECK_EQ(check(since, OLD_DATE, match, "\"b\"", OLD), 412);
    CHECK_EQ(check(match, "\"b\"", none, "\"a\"", OLD), 412);
    CHECK_EQ(check(match, "\"a\"", none, "\"a\"", OLD), 304);
    CHECK_EQ(check(since, OLD_DATE, none, "\"a\"", OLD + 1), 412);
    CHECK_EQ(check(since, OLD_DATE, "If-Modified-Since", OLD_DATE, OLD), 304);
    CHECK_EQ(check(since, OLD_DATE, "If-Modified-Since", OLD_DATE, OLD + 1), 412);
}


/* ---- ranges ---- */

static const struct {
    const char *range;
    int64_t size;
    int status;
    int64_t offset, length;
} single[] = {
    {"bytes=0-0", 10, 206, 0, 1},
    {"bytes=0-", 10, 206, 0, 10},
    {"bytes=0-9", 10, 206, 0, 10},
    {"bytes=0-10", 10, 206, 0, 10},
    {"bytes=3-5", 10, 206, 3, 3},
    {"bytes=9-", 10, 206, 9, 1},
    {"bytes=9-9", 10, 206, 9, 1},
    {"BYTES=0003-0005", 10, 206, 3, 3},
    {"bytes= 3-5", 10, 206, 3, 3},
    {"bytes=3-5 ", 10, 206, 3, 3},
    {"bytes=,3-5,", 10, 206, 3, 3},
    {"bytes=-1", 10, 206, 9, 1},
    {"bytes=-10", 10, 206, 0, 10},
    {"bytes=-11", 10, 206, 0, 10},
    {"bytes=-9223372036854775807", 10, 206, 0, 10},
    {"bytes=-99999999999999999999", 10, 206, 0, 10},
    {"bytes=5-9223372036854775807", 10, 206, 5, 5},
    {"bytes=5-9223372036854775808", 10, 206, 5, 5},
    {"bytes=5-18446744073709551615", 10, 206, 5, 5},
    {"bytes=5-99999999999999999999999999", 10, 206, 5, 5},
    {"bytes=0-9223372036854775807", INT64_MAX, 206, 0, INT64_MAX},
    {"bytes=9223372036854775806-", INT64_MAX, 206, INT64_MAX - 1, 1},
    {"bytes=-9223372036854775807", INT64_MAX, 206, 0, INT64_MAX},
    {"bytes=10-", 10, 416, 0, 0},
    {"bytes=10-20", 10, 416, 0, 0},
    {"bytes=-0", 10, 416, 0, 0},
    {"bytes=-000", 10, 416, 0, 0},
    {"bytes=9223372036854775807-", 10, 416, 0, 0},
    {"bytes=9223372036854775807-", INT64_MAX, 416, 0, 0},
    {"bytes=9223372036854775808-", INT64_MAX, 416, 0, 0},
    {"bytes=18446744073709551616-18446744073709551625", 10, 416, 0, 0},
    {"bytes=0-", 0, 416, 0, 0},
    {"bytes=0-0", 0, 416, 0, 0},
    {"bytes=-0", 0, 416, 0, 0},
    {"bytes=-1", 0, 200, 0, 0},
    {"bytes=5-3", 10, 200, 0, 0},
    {"bytes=20-3", 10, 200, 0, 0},
    {"bytes=99999999999999999999-3", 10, 200, 0, 0},
    {"bytes=0-1,3-b", 10, 200, 0, 0},
    {"bytes=0-1;3-4", 10, 200, 0, 0},
    {"bytes=0-1 3-4", 10, 200, 0, 0},
    {"bytes=,", 10, 200, 0, 0},
    {"bytes=", 10, 200, 0, 0},
    {"bytes=-", 10, 200, 0, 0},
    {"bytes=--1", 10, 200, 0, 0},
    {"bytes=1", 10, 200, 0, 0},
    {"bytes=a-b", 10, 200, 0, 0},
    {"bytes=1-b", 10, 200, 0, 0},
    {"bytes=+1-2", 10, 200, 0, 0},
    {"bytes=1-+2", 10, 200, 0, 0},
    {"bytes=0x1-2", 10, 200, 0, 0},
    {"bytes=1-2-3", 10, 200, 0, 0},
    {"bytes=1 -2", 10, 200, 0, 0},
    {"bytes=1- 2", 10, 200, 0, 0},
    {"bytes=1-2x", 10, 200, 0, 0},
    {"bytes = 1-2", 10, 200, 0, 0},
    {"bytes", 10, 200, 0, 0},
    {"bytes:1-2", 10, 200, 0, 0},
    {"byte=1-2", 10, 200, 0, 0},
    {"lines=1-2", 10, 200, 0, 0},
    {"=1-2", 10, 200, 0, 0},
    {"1-2", 10, 200, 0, 0},
    {"", 10, 200, 0, 0}};

TEST(single_ranges)
{
    size_t i;
    for (i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        files_ranges ranges;
        int status = files_check_ranges(with_fields("Range", single[i].range, NULL, NULL),
                                        slice("\"a\""), OLD, single[i].size, &ranges);
        if (status != single[i].status) printf("      %s\n", single[i].range);
        CHECK_EQ(status, single[i].status);
        if (status != 206) continue;
        CHECK_EQ(ranges.count, 1);
        CHECK_EQ(ranges.at[0].offset, single[i].offset);
        CHECK_EQ(ranges.at[0].length, single[i].length);
    }
}

/* The ranges of a file of 1000 bytes as text, such as "0+2 5+1", or the status. */
static const char *parts_of(const char *range)
{
    static char text[512];
    files_ranges ranges;
    size_t i, at = 0;
    int status = files_check_ranges(with_fields("Range", range, NULL, NULL), slice("\"a\""), OLD,
                                    1000, &ranges);
    if (status != 206) {
        snprintf(text, sizeof(text), "%d", status);
        return text;
    }
    for (i = 0; i < ranges.count; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%d+%d", i == 0 ? "" : " ",
                               (int)ranges.at[i].offset, (int)ranges.at[i].length);
    return text;
}

TEST(several_ranges)
{
    static const struct {
        const char *range, *parts;
    } cases[] = {
        {"bytes=0-1,3-4", "0+2 3+2"},
        {"bytes=3-4, 0-1", "3+2 0+2"},
        {"bytes= 0-1 ,\t,, -1 , ", "0+2 999+1"},
        {"bytes=0-1,2-4", "0+5"},
        {"bytes=2-4,0-1", "0+5"},
        {"bytes=0-9,5-14", "0+15"},
        {"bytes=0-9,5-6", "0+10"},
        {"bytes=5-6,0-9", "0+10"},
        {"bytes=0-0,999-999,0-", "200"},
        {"bytes=0-9,20-29,5-24", "0+30"},
        {"bytes=50-50,0-9,100-100,20-29,5-24", "50+1 0+30 100+1"},
        {"bytes=20-29,50-50,0-9,5-24", "0+30 50+1"},
        {"bytes=0-1,1000-,5-6", "0+2 5+2"},
        {"bytes=1000-,0-1", "0+2"},
        {"bytes=1000-,-0,2000-3000", "416"},
        {"bytes=0-1,5-3", "200"},
        {"bytes=1000-,x", "200"},
        {"bytes=0-1,lines=3-4", "200"},
        {"bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", "200"},
        {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,"
         "30-30", "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 16+1 18+1 20+1 22+1 24+1 26+1 28+1 30+1"},
        {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,"
         "30-30,32-32", "200"},
        {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,"
         "30-30,0-40", "0+41"},
        {"bytes=0-18446744073709551615,18446744073709551615-18446744073709551616", "200"},
        {"bytes=1000-,0-", "200"},
        {"bytes=,0-,", "0+1000"}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_STR(parts_of(cases[i].range), cases[i].parts);
}

/* Random lists against the set of bytes that they name. */
TEST(ranges_hold_the_bytes_asked_for_once)
{
    uint64_t random = 11;
    int round, i, byte;
    for (round = 0; round < 20000; round++) {
        char text[512] = "bytes=";
        unsigned char wanted[64] = {0}, got[64] = {0};
        int count = 1 + (int)(test_random(&random) % 24), distinct = 0, status;
        files_ranges ranges;
        for (i = 0; i < count; i++) {
            int first = (int)(test_random(&random) % 64);
            int last = first + (int)(test_random(&random) % 4);
            char part[32];
            snprintf(part, sizeof(part), "%s%d-%d", i == 0 ? "" : ",", first, last);
            strcat(text, part);
            for (byte = first; byte <= last && byte < 64; byte++) wanted[byte] = 1;
        }
        for (i = 0; i < 64; i++) distinct += wanted[i] && (i == 0 || !wanted[i - 1]);
        status = files_check_ranges(with_fields("Range", text, NULL, NULL), slice("\"a\""), OLD, 64,
                                    &ranges);
        CHECK(status == 206 || (status == 200 && count > FILES_RANGES_MAX) || distinct == 1);
        if (status != 206) continue;
        CHECK_EQ(ranges.count, distinct);
        for (i = 0; i < (int)ranges.count; i++)
            for (byte = 0; byte < (int)ranges.at[i].length; byte++)
                got[ranges.at[i].offset + byte]++;
        CHECK(memcmp(wanted, got, sizeof(got)) == 0);
    }
}

TEST(ranges_of_another_version_are_ignored)
{
    static const struct {
        const char *validator;
        int status;
    } cases[] = {{"\"a\"", 206},      {"\"b\"", 200},   {"W/\"a\"", 200}, {"*", 200},
                 {"\"a\", \"b\"", 200}, {"", 200},      {OLD_DATE, 206},  {"nonsense", 200},
                 {"Sun Sep  9 01:46:40 2001", 206},     {"Sun, 09 Sep 2001 01:46:39 GMT", 200},
                 {"Sun, 09 Sep 2001 01:46:41 GMT", 200}};
    size_t i;
    files_ranges ranges;
    mm_slice etag = slice("\"a\"");
    const http_request *r;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        r = with_fields("Range", "bytes=1-2", "If-Range", cases[i].validator);
        CHECK_EQ(files_check_ranges(r, etag, OLD, 10, &ranges), cases[i].status);
    }
    r = with_fields("Range", "bytes=1-2", "Range", "bytes=1-2");
    CHECK_EQ(files_check_ranges(r, etag, OLD, 10, &ranges), 200);
    r = with_fields("If-Range", "\"a\"", NULL, NULL);
    CHECK_EQ(files_check_ranges(r, etag, OLD, 10, &ranges), 200);
}


TEST(parts_are_as_long_as_is_said)
{
    mm_file file;
    files_parts parts = {&file, "", "mm-0123456789abcdef"};
    files_ranges ranges = {{{0, 5}, {INT64_MAX - 2, 1}}, 2};
    char type[128];
    int64_t length;
    size_t size;
    char text[FILES_PART_HEAD];
    memset(type, 'x', sizeof(type));
    type[sizeof(type) - 1] = '\0';
    memset(&file, 0, sizeof(file));
    file.size = INT64_MAX;
    parts.type = type;
    CHECK(files_append_parts(&parts, &ranges, NULL, &length) == MM_STATUS_OK);
    size = part_head(text, sizeof(text), &parts, &ranges.at[1]);
    CHECK(size > 0 && size == strlen(text) && size < sizeof(text) / 2 + 64);
    CHECK_EQ(length, (int64_t)(part_head(text, sizeof(text), &parts, &ranges.at[0]) + size) + 6 +
                         (int64_t)strlen("\r\n--mm-0123456789abcdef--\r\n"));
}

TEST_MAIN(T(entity_tags_are_found_in_lists), T(conditions_in_their_order),
          T(what_is_expected_comes_before_what_is_known), T(single_ranges), T(several_ranges),
          T(ranges_hold_the_bytes_asked_for_once), T(ranges_of_another_version_are_ignored),
          T(parts_are_as_long_as_is_said))
