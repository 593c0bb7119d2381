/* demo/policy.c and values.c: what options add to answers, and how they are written. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_io.h"

#include "../../demo/date.c"
#include "../../demo/html.c"
#include "../../demo/http.c"
#include "../../demo/mime.c"
#include "../../demo/pages.c"
#include "../../demo/policy.c"
#include "../../demo/values.c"

#include "../harness.h"

static mm_slice slice(const char *text)
{
    return mm_slice_from_string(text);
}

static options o;
static policy p;
static char error[256];
static test_allocator memory;
static pages loaded;

static bool init(void)
{
    test_allocator_init(&memory);
    policy_init(&p, &o);
    return pages_init(&loaded, &o, &memory.base, error, sizeof(error));
}

static bool deinit(void)
{
    pages_deinit(&loaded);
    memset(&o, 0, sizeof(o));
    return memory.live_blocks == 0 && memory.bad_sizes == 0;
}

static void add(options_list *list, const char *text)
{
    list->at[list->count++] = text;
}

/* ---- values ---- */

TEST(headers_are_checked)
{
    static const char *const good[] = {"X-Frame-Options: DENY", "x:y", "A:\tb c\t",
                                       "Cache-Control:a",
                                       "Content-Security-Policy: default-src 'self'; x",
                                       "!#$%&'*+-.^_`|~09az:~", "Strict-Transport-Security: x"};
    static const char *const bad[] = {
        "", ":", "X", "X:", "X: ", ":x", " X: y", "X : y", "X\n: y", "X: a\r\nY: b", "X: a\nb",
        "X: a\rb", "X: \x01", "X: \x7F", "X: caf\xC3\xA9", "X(y): z", "Content-Length: 5",
        "content-length: 5", "Transfer-Encoding: chunked", "Connection: close", "Date: x",
        "Content-Type: text/html", "ETag: x", "Vary: x", "Content-Encoding: gzip", "Location: /"};
    value_pair pair;
    size_t i;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) CHECK(value_header(good[i], &pair));
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (value_header(bad[i], &pair)) printf("      %s\n", bad[i]);
        CHECK(!value_header(bad[i], &pair));
    }
    CHECK(value_header("A:\tb c\t", &pair));
    CHECK(mm_slice_equal(pair.left, slice("A")) && mm_slice_equal(pair.right, slice("b c")));
}

TEST(other_values_are_checked)
{
    static const char *const origins[] = {"*", "https://a", "http://a.b-c:8080", "https://[::1]:1",
                                          "app+x.y-z://a"};
    static const char *const no_origins[] = {"", "a", "//a", "://a", "https://", "https:/a",
                                             "https://a/", "https://a b", "https://a\r\nX: y",
                                             "https://u@a", "https://a,https://b", "**", "h t://a"};
    value_pair pair;
    size_t i;
    for (i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) CHECK(value_origin(origins[i]));
    for (i = 0; i < sizeof(no_origins) / sizeof(no_origins[0]); i++)
        CHECK(!value_origin(no_origins[i]));
    CHECK(value_cache_control("*.css: max-age=1, public", &pair));
    CHECK(mm_slice_equal(pair.right, slice("max-age=1, public")));
    CHECK(!value_cache_control("*.css", &pair) && !value_cache_control(":x", &pair));
    CHECK(!value_cache_control("*:", &pair) && !value_cache_control("*:a\nb", &pair));
    CHECK(value_error_page("404=a=b ", &pair) && mm_slice_equal(pair.right, slice("a=b ")));
    CHECK(value_error_page("599=x", &pair) && value_error_page("400=x", &pair));
    CHECK(!value_error_page("399=x", &pair) && !value_error_page("600=x", &pair));
    CHECK(!value_error_page("404", &pair) && !value_error_page("404=", &pair));
    CHECK(!value_error_page("4O4=x", &pair) && !value_error_page("4040=x", &pair));
}

TEST(values_of_uploads)
{
    static const char *const bad[] = {"", "/", "/x", "/x=", "=y", "x=y", "//=y", "/a//b=y", "/.x=y",
                                      "/a/../b=y", "/a/.=y", "/a\\b=y", "/a\nb=y", "/\x7f=y",
                                      "/\xff=y"};
    static const char *const no_sizes[] = {"", "K", "-1", "+1", " 1", "1 ", "1KB", "1k", "0x1",
                                           "1.5G", "9223372036854775808", "8388608T",
                                           "9999999999999999G"};
    value_pair pair;
    size_t i;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK(!value_upload(bad[i], &pair));
    for (i = 0; i < sizeof(no_sizes) / sizeof(no_sizes[0]); i++)
        CHECK_EQ(value_size(no_sizes[i]), -1);
    CHECK(value_upload("/=y", &pair) && mm_slice_equal(pair.left, slice("/")));
    CHECK(value_upload("/a b/c/=x=y ", &pair) && mm_slice_equal(pair.right, slice("x=y ")));
    CHECK(value_upload("/\xc3\xa9/a.b=y", &pair));
    CHECK_EQ(value_size("0"), 0);
    CHECK_EQ(value_size("12"), 12);
    CHECK_EQ(value_size("3K"), 3072);
    CHECK_EQ(value_size("1G"), 1 << 30);
    CHECK_EQ(value_size("8388607T"), INT64_MAX - ((INT64_C(1) << 40) - 1));
    CHECK_EQ(value_size("9223372036854775807"), INT64_MAX);
}

/* ---- globs ---- */

TEST(globs)
{
    static const struct {
        const char *glob, *text;
        bool fits;
    } cases[] = {{"", "", true},          {"", "a", false},        {"*", "", true},
                 {"*", "a/b", true},      {"a", "a", true},        {"a", "A", false},
                 {"?", "a", true},        {"?", "", false},        {"*.css", "a.css", true},
                 {"*.css", "a.css.gz", false}, {"*.css", ".css", true}, {"a*", "a", true},
                 {"a*b*c", "aXbYc", true}, {"a*b*c", "aXbY", false}, {"**", "x", true},
                 {"*a*a*b", "aaaaaaaab", true}, {"*a*b", "aaba", false}, {"a?c", "abc", true},
                 {"a*?", "a", false},     {"[a]", "a", false},     {"[a]", "[a]", true}};
    char glob[1024], text[8192];
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_EQ(policy_glob(slice(cases[i].glob), slice(cases[i].text)), cases[i].fits);
    for (i = 0; i < sizeof(glob) - 1; i++) glob[i] = i % 2 == 0 ? '*' : 'a';
    glob[sizeof(glob) - 1] = '\0';
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 2] = 'b';
    text[sizeof(text) - 1] = '\0';
    CHECK(policy_glob(slice(glob), slice(text))); /* and ends */
    glob[sizeof(glob) - 2] = 'c';
    CHECK(!policy_glob(slice(glob), slice(text)));
}

TEST(the_first_glob_that_fits_counts)
{
    add(&o.cache_control, "/assets/*:immutable");
    add(&o.cache_control, "docs/*.pdf:a");
    add(&o.cache_control, "*.css:b");
    add(&o.cache_control, "index.html:c");
    CHECK(init());
    CHECK(mm_slice_equal(policy_cache_control(&p, slice("assets/x/y.css")), slice("immutable")));
    CHECK(mm_slice_equal(policy_cache_control(&p, slice("x/assets/y.css")), slice("b")));
    CHECK(mm_slice_equal(policy_cache_control(&p, slice("docs/x.pdf")), slice("a")));
    CHECK(mm_slice_equal(policy_cache_control(&p, slice("x/index.html")), slice("c")));
    CHECK_EQ(policy_cache_control(&p, slice("x.pdf")).len, 0);
    CHECK_EQ(policy_cache_control(&p, slice("xindex.html")).len, 0);
    CHECK(deinit());
    add(&o.cache_control, "*.css:b");
    add(&o.header, "cache-control: no-store");
    CHECK(init());
    CHECK(mm_slice_equal(policy_cache_control(&p, slice("a.css")), slice("b")));
    CHECK(mm_slice_equal(policy_cache_control(&p, slice("a/b")), slice("no-store")));
    CHECK_EQ(p.field_count, 0);
    CHECK(deinit());
}

/* ---- fields ---- */

/* The names of all fields of an answer that has these, after the policy. */
static const char *names(bool tls, const char *const *own, size_t count)
{
    static char text[512];
    http_response response;
    size_t i;
    memset(&response, 0, sizeof(response));
    for (i = 0; i < count; i++) http_response_header(&response, own[i], "own");
    policy_apply(&p, &response, tls);
    text[0] = '\0';
    for (i = 0; i < response.header_count; i++) {
        strncat(text, response.headers[i].name.ptr, response.headers[i].name.len);
        strcat(text, " ");
    }
    for (i = 0; i < response.common_count; i++) {
        strncat(text, response.common[i].name.ptr, response.common[i].name.len);
        strcat(text, ";");
    }
    return text;
}

TEST(fields_replace_those_of_the_server)
{
    static const char *const own[] = {"Content-Type", "Content-Security-Policy"};
    CHECK(init());
    CHECK_STR(names(true, own, 2), "Content-Type Content-Security-Policy ");
    CHECK(deinit());
    add(&o.header, "X-A: b");
    add(&o.header, "content-security-policy: c");
    CHECK(init());
    CHECK_STR(names(true, own, 2), "Content-Type X-A;content-security-policy;");
    CHECK_STR(names(false, own, 1), "Content-Type X-A;content-security-policy;");
    CHECK(deinit());
}

TEST(hsts_is_never_said_in_the_clear)
{
    o.hsts = true;
    add(&o.header, "X-A: b");
    o.cors = "https://a";
    CHECK(init());
    CHECK_STR(names(false, NULL, 0),
              "X-A;Access-Control-Allow-Origin;Access-Control-Expose-Headers;");
    CHECK_STR(names(true, NULL, 0), "X-A;Access-Control-Allow-Origin;"
                                    "Access-Control-Expose-Headers;Strict-Transport-Security;");
    CHECK(mm_slice_equal(p.fields[3].value, slice("max-age=31536000")));
    CHECK(deinit());
    add(&o.header, "strict-transport-security: max-age=1");
    o.hsts = true;
    CHECK(init());
    CHECK_STR(names(false, NULL, 0), "");
    CHECK_STR(names(true, NULL, 0), "Strict-Transport-Security;");
    CHECK(mm_slice_equal(p.fields[0].value, slice("max-age=1")));
    CHECK(deinit());
}

TEST(as_many_as_there_can_be)
{
    int i;
    for (i = 0; i < OPTIONS_LIST; i++) {
        add(&o.header, i % 2 == 0 ? "X: y" : "Cache-Control: z");
        add(&o.cache_control, "*:x");
    }
    o.cors = "*";
    o.hsts = true;
    CHECK(init());
    CHECK_EQ(p.field_count, OPTIONS_LIST / 2 + 3);
    CHECK_EQ(p.cache_count, OPTIONS_LIST + OPTIONS_LIST / 2);
    CHECK(deinit());
}

/* ---- pages ---- */

static bool write_file(const char *name, const char *content)
{
    FILE *file = fopen(name, "w");
    bool good = file != NULL && fputs(content, file) >= 0;
    return file != NULL && fclose(file) == 0 && good;
}

TEST(pages_are_read_from_the_folder_or_elsewhere)
{
    char folder[] = "/tmp/mm-policy-XXXXXX", inside[64], outside[64], text[96];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(inside, sizeof(inside), "%s/404.html", folder);
    snprintf(outside, sizeof(outside), "%s.txt", folder);
    CHECK(write_file(inside, "inside") && write_file(outside, "outside"));
    snprintf(text, sizeof(text), "500=%s", outside);
    o.dir = folder;
    add(&o.error_page, "404=/404.html");
    add(&o.error_page, "403=404.html");
    add(&o.error_page, text);
    CHECK(init());
    CHECK_EQ(loaded.current->count, 3);
    CHECK(loaded.current->at[0].status == 404 &&
          mm_slice_equal(loaded.current->at[0].content, slice("inside")));
    CHECK_STR(loaded.current->at[0].type, "text/html; charset=utf-8");
    CHECK(loaded.current->at[2].status == 500 &&
          mm_slice_equal(loaded.current->at[2].content, slice("outside")));
    CHECK_STR(loaded.current->at[2].type, "text/plain; charset=utf-8");
    CHECK(deinit());
    o.dir = folder;
    add(&o.error_page, "404=404.html");
    add(&o.error_page, "403=nowhere.html");
    CHECK(!init());
    CHECK_STR(error, "--error-page 403=nowhere.html: No such file or directory");
    CHECK(deinit());
    o.dir = folder;
    add(&o.error_page, "404=/");
    CHECK(!init() && strstr(error, "Is a directory") != NULL);
    CHECK(deinit());
    o.dir = folder;
    add(&o.error_page, "404=404.html");
    test_allocator_init(&memory);
    test_allocator_fail(&memory, 1, 1);
    CHECK(!pages_init(&loaded, &o, &memory.base, error, sizeof(error)));
    CHECK(strstr(error, "Cannot allocate memory") != NULL);
    CHECK(deinit());
    CHECK(truncate(inside, PAGES_MAX + 1) == 0);
    o.dir = folder;
    add(&o.error_page, "404=404.html");
    CHECK(!init() && strstr(error, "File too large") != NULL);
    CHECK(deinit());
    CHECK(unlink(inside) == 0 && unlink(outside) == 0 && rmdir(folder) == 0);
}

TEST(pages_are_read_again)
{
    char folder[] = "/tmp/mm-policy-XXXXXX", file[64];
    page_set *one = NULL, *two = NULL;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(file, sizeof(file), "%s/404.html", folder);
    CHECK(write_file(file, "first"));
    o.dir = folder;
    add(&o.error_page, "404=404.html");
    CHECK(init());
    pages_renew(&loaded, &one);
    CHECK(write_file(file, "second") && pages_reload(&loaded, error, sizeof(error)));
    pages_renew(&loaded, &two);
    CHECK(mm_slice_equal(one->at[0].content, slice("first"))); /* it is held */
    CHECK(mm_slice_equal(two->at[0].content, slice("second")));
    pages_renew(&loaded, &one);
    CHECK(one == two);
    test_allocator_fail(&memory, 1, 0);
    CHECK(!pages_reload(&loaded, error, sizeof(error)));
    CHECK_STR(error, "--error-page 404=404.html: Cannot allocate memory");
    test_allocator_fail(&memory, 2, 0);
    CHECK(!pages_reload(&loaded, error, sizeof(error)));
    test_allocator_fail(&memory, 0, 0);
    CHECK(unlink(file) == 0 && mkfifo(file, 0600) == 0);
    CHECK(!pages_reload(&loaded, error, sizeof(error)) && strstr(error, "404.html") != NULL);
    pages_renew(&loaded, &one);
    CHECK(one == two && mm_slice_equal(one->at[0].content, slice("second")));
    pages_drop(&loaded, &one);
    pages_drop(&loaded, &one);
    pages_drop(&loaded, &two);
    CHECK(deinit());
    CHECK(init()); /* without any */
    CHECK(pages_reload(&loaded, error, sizeof(error)));
    pages_renew(&loaded, &one);
    CHECK(one == NULL && deinit());
    CHECK(unlink(file) == 0 && rmdir(folder) == 0);
}

TEST_MAIN(T(headers_are_checked), T(other_values_are_checked), T(values_of_uploads),
          T(globs),
          T(the_first_glob_that_fits_counts), T(fields_replace_those_of_the_server),
          T(hsts_is_never_said_in_the_clear), T(as_many_as_there_can_be),
          T(pages_are_read_from_the_folder_or_elsewhere), T(pages_are_read_again))
