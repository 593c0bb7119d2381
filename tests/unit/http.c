/* demo/http.c, date.c, html.c: methods, fields, error pages, dates. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_chunk.h"

#include "../../demo/date.c"
#include "../../demo/html.c"
#include "../../demo/http.c"

#include "../harness.h"

typedef struct world { /* what a response needs */
    test_allocator memory;
    mm_arena arena;
    mm_chunk_pool pool;
    mm_chunkqueue body;
    http_response response;
} world;

static void world_init(world *w)
{
    mm_chunk_pool_desc pool = {0};
    mm_arena_desc arena = {0};
    memset(w, 0, sizeof(*w));
    test_allocator_init(&w->memory);
    pool.allocator = arena.allocator = &w->memory.base;
    if (mm_chunk_pool_init(&w->pool, &pool) != MM_STATUS_OK) abort();
    mm_chunkqueue_init(&w->body, &w->pool);
    mm_arena_init(&w->arena, &arena);
    w->response.arena = &w->arena;
    w->response.body = &w->body;
    w->response.content_length = -1;
}

/* True when everything has been given back. */
static bool world_deinit(world *w)
{
    mm_chunkqueue_deinit(&w->body);
    mm_arena_deinit(&w->arena);
    return mm_chunk_pool_deinit(&w->pool) == 0 && w->memory.live_blocks == 0 &&
           w->memory.bad_sizes == 0;
}

static mm_slice slice(const char *text)
{
    return mm_slice_from_string(text);
}

/* The field of that name, or NULL; "(twice)" when there are two. */
static const char *field(const http_response *response, const char *name)
{
    static char value[256];
    size_t i, found = 0;
    for (i = 0; i < response->header_count; i++) {
        mm_slice v = response->headers[i].value;
        if (!mm_slice_equal_nocase(response->headers[i].name, slice(name))) continue;
        snprintf(value, sizeof(value), "%.*s", (int)v.len, v.ptr);
        found++;
    }
    return found == 0 ? NULL : found == 1 ? value : "(twice)";
}

/* The body as a string. */
static const char *body(const world *w)
{
    static char text[8192];
    size_t length;
    const char *data;
    mm_chunkqueue *q = (mm_chunkqueue *)(uintptr_t)&w->body;
    if (mm_chunkqueue_peek(q, text, sizeof(text) - 1, &data, &length) != MM_STATUS_OK) return NULL;
    if (data != text) memcpy(text, data, length);
    text[length] = '\0';
    return text;
}

TEST(methods_are_case_sensitive_tokens)
{
    CHECK_EQ(http_method_parse(slice("GET")), HTTP_GET);
    CHECK_EQ(http_method_parse(slice("HEAD")), HTTP_HEAD);
    CHECK_EQ(http_method_parse(slice("OPTIONS")), HTTP_OPTIONS);
    CHECK_EQ(http_method_parse(slice("POST")), HTTP_POST);
    CHECK_EQ(http_method_parse(slice("PUT")), HTTP_PUT);
    CHECK_EQ(http_method_parse(slice("DELETE")), HTTP_DELETE);
    CHECK_EQ(http_method_parse(slice("PATCH")), HTTP_PATCH);
    CHECK_EQ(http_method_parse(slice("CONNECT")), HTTP_CONNECT);
    CHECK_EQ(http_method_parse(slice("TRACE")), HTTP_TRACE);
    CHECK_EQ(http_method_parse(slice("get")), HTTP_UNKNOWN);
    CHECK_EQ(http_method_parse(slice("GETS")), HTTP_UNKNOWN);
    CHECK_EQ(http_method_parse(slice("GE")), HTTP_UNKNOWN);
    CHECK_EQ(http_method_parse(slice("")), HTTP_UNKNOWN);
    CHECK_EQ(http_method_parse(mm_slice_make(NULL, 0)), HTTP_UNKNOWN);
}

TEST(request_fields_are_found_by_name)
{
    http_request request;
    request.header_count = 3;
    request.headers[0].name = slice("Accept");
    request.headers[1].name = slice("if-range");
    request.headers[1].value = slice("first");
    request.headers[2].name = slice("If-Range");
    CHECK(http_request_header(&request, "If-Range") == &request.headers[1]);
    CHECK(http_request_header(&request, "ACCEPT") == &request.headers[0]);
    CHECK(http_request_header(&request, "If-Rang") == NULL);
    CHECK(http_request_header(&request, "") == NULL);
    request.header_count = 0;
    CHECK(http_request_header(&request, "Accept") == NULL);
}

TEST(known_fields_are_indexed)
{
    static const char *const names[HTTP_FIELDS] = {
        "accept", "ACCEPT-ENCODING", "Authorization", "If-Match", "If-Modified-Since",
        "If-None-Match", "If-Range", "If-Unmodified-Since", "Range"};
    http_request request;
    size_t i;
    request.header_count = 2 * HTTP_FIELDS;
    for (i = 0; i < HTTP_FIELDS; i++) {
        CHECK_EQ(http_field_parse(slice(names[i])), i);
        request.headers[i].name = slice(names[i]);
        request.headers[2 * HTTP_FIELDS - 1 - i].name = slice(names[i]);
    }
    http_request_index(&request);
    for (i = 0; i < HTTP_FIELDS; i++) {
        const http_header *first = http_request_field(&request, (http_field)i), *second;
        CHECK(first == &request.headers[i]);
        second = http_request_next(&request, first);
        CHECK(second == &request.headers[2 * HTTP_FIELDS - 1 - i]);
        CHECK(http_request_next(&request, second) == NULL);
    }
    CHECK_EQ(http_field_parse(slice("Accept-Encodin_")), HTTP_FIELDS);
    CHECK_EQ(http_field_parse(slice("")), HTTP_FIELDS);
    CHECK_EQ(http_field_parse(slice("If-Unmodified-Since-")), HTTP_FIELDS);
    request.header_count = 0;
    http_request_index(&request);
    CHECK(http_request_field(&request, HTTP_RANGE) == NULL);
}

TEST(statuses_have_reasons)
{
    static const int known[] = {200, 204, 206, 301, 304, 400, 403, 404, 405, 408, 413, 414,
                                416, 417, 431, 500, 501, 503, 505};
    size_t i;
    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        CHECK(strcmp(http_status_text(known[i]), "Unknown") != 0);
    CHECK_STR(http_status_text(404), "Not Found");
    CHECK_STR(http_status_text(299), "Unknown");
    CHECK_STR(http_status_text(-1), "Unknown");
}

TEST(error_pages_are_complete)
{
    static const int statuses[] = {400, 403, 404, 405, 408, 413, 414, 416, 417,
                                   431, 500, 501, 503, 505, 599};
    size_t i;
    for (i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        world w;
        char title[64];
        int status = statuses[i];
        world_init(&w);
        http_response_header(&w.response, "ETag", "\"of what failed\"");
        mm_chunkqueue_append_mem(&w.body, "partial", 7);
        http_response_error(&w.response, status, false);
        snprintf(title, sizeof(title), "<h1>%d %s</h1>", status, http_status_text(status));
        CHECK_EQ(w.response.status, status);
        CHECK(strstr(body(&w), title) != NULL && strstr(body(&w), "partial") == NULL);
        CHECK(strncmp(body(&w), "<!DOCTYPE html>", 15) == 0);
        CHECK(strstr(body(&w), "</html>\n") != NULL);
        CHECK_EQ(w.response.content_length, mm_chunkqueue_length(&w.body));
        CHECK(w.response.content_length < 4096);
        CHECK_STR(field(&w.response, "Content-Type"), "text/html; charset=utf-8");
        CHECK_STR(field(&w.response, "X-Content-Type-Options"), "nosniff");
        CHECK(strstr(field(&w.response, "Content-Security-Policy"), "default-src 'none'") != NULL);
        CHECK(field(&w.response, "ETag") == NULL);
        CHECK((field(&w.response, "Retry-After") != NULL) == (status == 503));
        CHECK(world_deinit(&w));
    }
}

TEST(error_page_for_head_has_the_length_only)
{
    world w;
    int64_t length;
    world_init(&w);
    http_response_error(&w.response, 404, false);
    length = w.response.content_length;
    http_response_error(&w.response, 404, true);
    CHECK_EQ(w.response.content_length, length);
    CHECK(mm_chunkqueue_is_empty(&w.body));
    CHECK_EQ(w.response.header_count, 3);
    CHECK(world_deinit(&w));
}

TEST(redirect_page_links_and_keeps_location)
{
    world w;
    world_init(&w);
    http_response_header(&w.response, "Location", "/a/?x=\"><script>&y='");
    http_response_error(&w.response, 301, false);
    CHECK_STR(field(&w.response, "Location"), "/a/?x=\"><script>&y='");
    CHECK(strstr(body(&w), "href=\"/a/?x=&quot;&gt;&lt;script&gt;&amp;y=&#39;\"") != NULL);
    CHECK(strstr(body(&w), "<script") == NULL);
    http_response_error(&w.response, 404, false);
    CHECK(field(&w.response, "Location") == NULL);
    CHECK(strstr(body(&w), "script") == NULL);
    CHECK(world_deinit(&w));
}

TEST(error_page_survives_lack_of_memory)
{
    size_t n;
    int for_ever;
    for (for_ever = 0; for_ever <= 1; for_ever++) {
        size_t pages = 0;
        for (n = 1; pages == 0; n++) {
            world w;
            world_init(&w);
            test_allocator_fail(&w.memory, n, for_ever);
            http_response_error(&w.response, 503, false);
            if (w.memory.failures == 0) pages++;
            CHECK_EQ(w.response.status, 503);
            CHECK_EQ(w.response.content_length, mm_chunkqueue_length(&w.body));
            CHECK(w.response.content_length == 0 || strstr(body(&w), "</html>") != NULL);
            CHECK_STR(field(&w.response, "Retry-After"), "1");
            CHECK_EQ(mm_chunkqueue_status(&w.body), MM_STATUS_OK);
            test_allocator_fail(&w.memory, 0, 0);
            CHECK(world_deinit(&w));
        }
        CHECK(n > 2);
    }
}

TEST(to_https_on_the_same_host)
{
    static const struct {
        const char *host, *path, *query;
        int port;
        const char *location;
    } cases[] = {{"h", "/a", "", 443, "https://h/a"},
                 {"h:80", "/a%20b", "c=d", 8443, "https://h:8443/a%20b?c=d"},
                 {"[::1]:80", "/", "", 1, "https://[::1]:1/"},
                 {"[::1]", "*", "", 443, "https://[::1]/"},
                 {"h:", "", "", 443, "https://h/"},
                 {"a'&b", "//x", "'", 443, "https://a'&b//x?'"},
                 {"", "/", "", 443, NULL}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        world w;
        http_request request;
        world_init(&w);
        memset(&request, 0, sizeof(request));
        request.host = slice(cases[i].host);
        request.path = slice(cases[i].path);
        request.query = slice(cases[i].query);
        http_response_to_https(&w.response, &request, cases[i].port);
        CHECK_EQ(w.response.status, cases[i].location == NULL ? 400 : 308);
        if (cases[i].location != NULL) CHECK_STR(field(&w.response, "Location"), cases[i].location);
        else CHECK(field(&w.response, "Location") == NULL);
        CHECK(world_deinit(&w));
    }
}

TEST(error_pages_can_say_more)
{
    world w;
    world_init(&w);
    w.response.explanation = "This is why.";
    http_response_error(&w.response, 400, false);
    CHECK(strstr(body(&w), "<p>This is why.\n") != NULL);
    CHECK(world_deinit(&w));
}

TEST(error_pages_can_be_others)
{
    static const http_page pages[] = {{404, "text/plain", {"gone\n", 5}}, {500, "a/b", {"", 0}}};
    world w;
    world_init(&w);
    w.response.pages = pages;
    w.response.page_count = 2;
    http_response_error(&w.response, 404, false);
    CHECK_STR(body(&w), "gone\n");
    CHECK_EQ(w.response.content_length, 5);
    CHECK_STR(field(&w.response, "Content-Type"), "text/plain");
    CHECK(field(&w.response, "Content-Security-Policy") == NULL);
    http_response_error(&w.response, 404, true);
    CHECK(mm_chunkqueue_is_empty(&w.body) && w.response.content_length == 5);
    http_response_error(&w.response, 500, false);
    CHECK(mm_chunkqueue_is_empty(&w.body) && w.response.content_length == 0);
    http_response_error(&w.response, 403, false);
    CHECK(strstr(body(&w), "403 Forbidden") != NULL);
    CHECK(world_deinit(&w));
}

/* ---- dates ---- */

static const char *date(int64_t seconds)
{
    static char text[HTTP_DATE_SIZE + 1];
    text[HTTP_DATE_SIZE] = '#';
    http_date_format(seconds, text);
    return text[HTTP_DATE_SIZE] == '#' ? text : "(too long)";
}

TEST(dates_are_written)
{
    CHECK_STR(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK_STR(date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK_STR(date(951782399), "Mon, 28 Feb 2000 23:59:59 GMT");
    CHECK_STR(date(951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
    CHECK_STR(date(4107542400), "Mon, 01 Mar 2100 00:00:00 GMT");
    CHECK_STR(date(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT");
    CHECK_STR(date(253402300800), "Fri, 31 Dec 9999 23:59:59 GMT");
    CHECK_STR(date(INT64_MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    CHECK_STR(date(-1), "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK_STR(date(INT64_MIN), "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST(dates_agree_with_the_c_library_and_come_back)
{
    uint64_t random = 42;
    int i;
    for (i = 0; i < 100000; i++) {
        int64_t seconds = (int64_t)(test_random(&random) % 253402300800u), back;
        time_t t = (time_t)seconds;
        struct tm tm;
        char expected[64], other[64];
        if (i < 20000) t = (time_t)(seconds = (int64_t)i * 86400 + 86399); /* day after day */
        CHECK(gmtime_r(&t, &tm) != NULL);
        strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        CHECK_STR(date(seconds), expected);
        CHECK(http_date_parse(slice(expected), &back));
        CHECK_EQ(back, seconds);
        strftime(other, sizeof(other), "%a %b %e %H:%M:%S %Y", &tm);
        CHECK(http_date_parse(slice(other), &back));
        CHECK_EQ(back, seconds);
    }
}

TEST(dates_are_read_in_three_forms)
{
    int64_t seconds;
    CHECK(http_date_parse(slice("Sun, 06 Nov 1994 08:49:37 GMT"), &seconds));
    CHECK_EQ(seconds, 784111777);
    CHECK(http_date_parse(slice("Sunday, 06-Nov-94 08:49:37 GMT"), &seconds));
    CHECK_EQ(seconds, 784111777);
    CHECK(http_date_parse(slice("Sun Nov  6 08:49:37 1994"), &seconds));
    CHECK_EQ(seconds, 784111777);
    CHECK(http_date_parse(slice("Wed Nov 16 08:49:37 1994"), &seconds));
    CHECK_EQ(seconds, 784111777 + 10 * 86400);
    CHECK(http_date_parse(slice("Wed, 31 Dec 1969 23:59:59 GMT"), &seconds));
    CHECK_EQ(seconds, -1);
    CHECK(http_date_parse(slice("Sat, 31 Dec 2016 23:59:60 GMT"), &seconds)); /* a leap second */
    CHECK_EQ(seconds, 1483228800);
}

TEST(two_digit_years_are_at_most_fifty_ahead)
{
    http_date now;
    int ahead;
    http_date_split((int64_t)time(NULL), &now);
    for (ahead = -49; ahead <= 50; ahead++) {
        char text[64];
        int64_t seconds;
        http_date then;
        int year = now.year + ahead;
        if (year / 100 > now.year / 100) continue; /* the RFC takes this century's */
        snprintf(text, sizeof(text), "Monday, 01-Feb-%02d 00:00:00 GMT", year % 100);
        CHECK(http_date_parse(slice(text), &seconds));
        if (seconds < 0) continue;
        http_date_split(seconds, &then);
        CHECK(then.year <= now.year + 50 && (then.year - year) % 100 == 0);
    }
}

TEST(what_is_no_date_is_refused)
{
    static const char *const bad[] = {
        "", "S", "Sun", "Sun,", "yesterday", "0", "784111777", "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun,  6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 2023 08:49:37 GMT", "Sun, 29 Feb 2100 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT", "Sun, -6 Nov 1994 08:49:37 GMT",
        "Munday, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994", "Sun Nov 06 08:49:37 94", "Sun Nov  6 08:49:37 1994 GMT"};
    size_t i, length;
    int64_t seconds = 7;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (http_date_parse(slice(bad[i]), &seconds)) CHECK_STR(bad[i], "refused");
    CHECK_EQ(seconds, 7);
    for (length = 0; length < 29; length++) { /* and every beginning, from memory of that size */
        char *part = malloc(length + 1);
        memcpy(part, "Sun, 06 Nov 1994 08:49:37 GMT", length);
        part = realloc(part, length > 0 ? length : 1);
        CHECK(!http_date_parse(mm_slice_make(part, length), &seconds));
        free(part);
    }
}

TEST_MAIN(T(methods_are_case_sensitive_tokens), T(request_fields_are_found_by_name),
          T(known_fields_are_indexed), T(statuses_have_reasons), T(error_pages_are_complete),
          T(error_page_for_head_has_the_length_only), T(redirect_page_links_and_keeps_location),
          T(error_page_survives_lack_of_memory), T(to_https_on_the_same_host),
          T(error_pages_can_say_more), T(error_pages_can_be_others), T(dates_are_written),
          T(dates_agree_with_the_c_library_and_come_back), T(dates_are_read_in_three_forms),
          T(two_digit_years_are_at_most_fifty_ahead), T(what_is_no_date_is_refused))
