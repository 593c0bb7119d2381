/* demo/files.c, path.c, conditions.c, listing.c, mime.c: from a request to its answer, in a folder
   with all that a folder can have. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#define MM_SYS_OPENAT(dir, path, flags) injected_open(openat(dir, path, flags))
#define MM_SYS_OPENAT2(dir, path, flags, resolve) \
    injected_open(mmi_openat2(dir, path, flags, resolve))
static int injected_open(int fd);
#define CONTENT_NOW() content_now
#include <stdint.h>
static int64_t content_now; /* the clock that says how long a file has been what it is */
#include "../../mm_arena.h"
#include "../../mm_io.h"

#include "../../demo/accept.c"
#include "../../demo/auth.c"
#include "../../demo/conditions.c"
#include "../../demo/content.c"
#include "../../demo/date.c"
#include "../../demo/encoding.c"
#include "../../demo/files.c"
#include "../../demo/html.c"
#include "../../demo/http.c"
#include "../../demo/http1.c"
#include "../../demo/http1_target.c"
#include "../../demo/listing.c"
#include "../../demo/listing_page.c"
#include "../../demo/mime.c"
#include "../../demo/path.c"
#include "../../demo/policy.c"
#include "../../demo/ranges.c"
#include "../../demo/uploads.c"
#include "../../demo/values.c"

#include <ftw.h>

#include "../harness.h"

/* ---- a folder ---- */

#define OLD 1000000000 /* when every file was last changed */
#define OLD_DATE "Sun, 09 Sep 2001 01:46:40 GMT"

static int open_error; /* what the next openings of files fail with; 0: nothing */
static char site_root[64];

static int injected_open(int fd)
{
    if (open_error == 0) return fd;
    if (fd >= 0) close(fd);
    errno = open_error;
    return -1;
}

static const char *site_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/root/%s", site_root, name);
    return path;
}

static bool add_file(const char *name, const char *content)
{
    struct timespec times[2] = {{OLD, 0}, {OLD, 0}};
    int fd = open(site_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    bool good = fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content) &&
                futimens(fd, times) == 0;
    if (fd >= 0) close(fd);
    return good;
}

static bool add_folder(const char *name)
{
    return mkdir(site_path(name), 0755) == 0;
}

static bool add_link(const char *name, const char *target)
{
    return symlink(target, site_path(name)) == 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_site(void)
{
    nftw(site_root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static bool make_site(void)
{
    strcpy(site_root, "/tmp/mm-files-XXXXXX");
    return mkdtemp(site_root) != NULL && chmod(site_root, 0755) == 0 && add_folder("") &&
           add_file("../outside.txt", "secret") && add_file("hello.txt", "Hello, world!\n") &&
           add_file("empty.txt", "") && add_file(".hidden", "secret") &&
           add_folder("sub") && add_file("sub/index.html", "<p>sub\n") && add_folder("a b") &&
           add_folder("plain") && add_file("plain/one.txt", "1") &&
           add_file("plain/Two.txt", "22") && add_folder("plain/zoo") &&
           add_file("plain/.hidden", "secret") && add_file("plain/\xFF.txt", "not UTF-8") &&
           add_file("plain/back\\slash", "x") && add_file("plain/a:b<i>&\"'.txt", "odd") &&
           add_file("plain/caf\xC3\xA9.txt", "odd") && add_link("plain/link-in", "../hello.txt") &&
           add_link("plain/link-dir", "../sub") && add_link("plain/link-nowhere", "nowhere") &&
           add_link("plain/link-out", "../../outside.txt") &&
           add_link("plain/link-loop", "link-loop") &&
           mkfifo(site_path("plain/fifo"), 0644) == 0 && add_file("plain/unreadable", "x") &&
           chmod(site_path("plain/unreadable"), 0) == 0 && add_folder(".well-known") &&
           add_file(".well-known/x.txt", "known") && add_file(".well-known/.hidden", "secret") &&
           add_folder("fifo-index") && mkfifo(site_path("fifo-index/index.html"), 0644) == 0 &&
           add_folder("folder-index") && add_folder("folder-index/index.html");
}

/* ---- one worker's world ---- */

typedef struct world {
    test_allocator memory;
    mm_arena arena;
    mm_chunk_pool pool;
    mm_chunkqueue body;
    mm_filecache cache;
    mm_fd_budget fds;
    files_site site;
    http_request request;
    http_response response;
    int64_t now;
    bool tls;
    char *head;        /* of the last request */
    char text[65536];  /* of the last body */
} world;

static world w;

static bool world_init(bool follow)
{
    mm_chunk_pool_desc pool = {0};
    mm_arena_desc arena = {0};
    mm_filecache_desc cache = {0};
    memset(&w, 0, sizeof(w));
    test_allocator_init(&w.memory);
    w.fds.limit = 100;
    pool.allocator = arena.allocator = cache.allocator = w.site.allocator = &w.memory.base;
    cache.root = site_path("");
    cache.follow = follow;
    cache.fds = &w.fds;
    if (mm_chunk_pool_init(&w.pool, &pool) != MM_STATUS_OK) return false;
    if (mm_filecache_init(&w.cache, &cache) != MM_STATUS_OK) return false;
    mm_chunkqueue_init(&w.body, &w.pool);
    mm_arena_init(&w.arena, &arena);
    w.site.cache = &w.cache;
    w.site.listing = true;
    return files_siblings_init(&w.site) == MM_STATUS_OK;
}

/* True when nothing is left behind: no memory, no descriptor. */
static bool world_deinit(void)
{
    bool clean;
    free(w.head);
    mm_chunkqueue_deinit(&w.body);
    files_siblings_deinit(&w.site);
    clean = mm_filecache_check(&w.cache) && mm_filecache_deinit(&w.cache) == 0;
    mm_arena_deinit(&w.arena);
    return mm_chunk_pool_deinit(&w.pool) == 0 && clean && w.memory.live_blocks == 0 &&
           w.memory.bad_sizes == 0 && w.fds.taken == 0;
}

/* Reads the body away into w.text. False when it is not as long as Content-Length says. */
static bool read_body(void)
{
    int64_t length = mm_chunkqueue_length(&w.body);
    if (length >= (int64_t)sizeof(w.text)) return false;
    w.text[length] = '\0';
    if (w.request.method != HTTP_HEAD && w.response.status != 304 && w.response.status != 204 &&
        length != w.response.content_length)
        return false;
    return mm_chunkqueue_read(&w.body, w.text, (size_t)length) == MM_STATUS_OK;
}

/* Answers `METHOD target` with these fields, each with its end of line; false: no request. */
static bool respond_to(const char *line, const char *fields)
{
    size_t size = strlen(line) + strlen(fields) + 64, scanned = 0, head_size;
    free(w.head);
    w.head = malloc(size);
    mm_chunkqueue_reset(&w.body);
    mm_arena_reset(&w.arena);
    memset(&w.response, 0, sizeof(w.response));
    w.response.arena = &w.arena;
    w.response.body = &w.body;
    w.response.content_length = -1;
    w.response.tls = w.tls;
    if (w.head == NULL) return false;
    snprintf(w.head, size, "%s HTTP/1.1\r\nHost: h\r\n%s\r\n", line, fields);
    if (http1_parse_head(&w.request, w.head, strlen(w.head), &scanned, &head_size) != 200)
        return false;
    files_respond(&w.site, &w.request, &w.response, w.now);
    return true;
}

/* The status of the answer. */
static int ask(const char *line, const char *fields)
{
    w.now += 5000; /* so that the cache looks at the files anew */
    if (!respond_to(line, fields)) return -2;
    return read_body() ? w.response.status : -3;
}

static int get(const char *target)
{
    char line[8192];
    snprintf(line, sizeof(line), "GET %s", target);
    return ask(line, "");
}

/* The field of that name, or NULL; "(twice)" when there are two. */
static const char *field(const char *name)
{
    static char values[4][512];
    static unsigned next;
    char *value = values[next++ % 4];
    size_t i, found = 0;
    for (i = 0; i < w.response.header_count; i++) {
        mm_slice v = w.response.headers[i].value;
        if (!text_is_word(w.response.headers[i].name, name)) continue;
        snprintf(value, sizeof(values[0]), "%.*s", (int)v.len, v.ptr);
        found++;
    }
    return found == 0 ? NULL : found == 1 ? value : "(twice)";
}

/* Whether links inside the root are followed: by openat2, which Valgrind and old kernels lack. */
static bool has_links(void)
{
#ifdef MMI_HAVE_OPENAT2
    return get("/hello.txt") == 200 && !w.cache.no_openat2;
#else
    return false;
#endif
}

static mm_slice slice(const char *text)
{
    return mm_slice_from_string(text);
}

/* ---- paths ---- */

typedef struct path_case {
    const char *encoded;
    int status;
    const char *decoded;
    bool folder;
} path_case;

static const path_case path_cases[] = {
    {"/", 200, "", true},
    {"/a", 200, "a", false},
    {"/a/", 200, "a", true},
    {"/a/b", 200, "a/b", false},
    {"//", 200, "", true},
    {"//a", 200, "a", false},
    {"/a//b///", 200, "a/b", true},
    {"/%61%62", 200, "ab", false},
    {"/%2541", 200, "%41", false},
    {"/%252e%252e/a", 200, "%2e%2e/a", false},
    {"/a%20b+c&d;e=f,g:h@i$j!k'l(m)n*o~p", 200, "a b+c&d;e=f,g:h@i$j!k'l(m)n*o~p", false},
    {"/%3f%23", 200, "?#", false},
    {"/./a", 200, "a", false},
    {"/a/.", 200, "a", true},
    {"/a/./b", 200, "a/b", false},
    {"/a/..", 200, "", true},
    {"/a/../", 200, "", true},
    {"/a/b/..", 200, "a", true},
    {"/a/b/../c", 200, "a/c", false},
    {"/a/b/../../c", 200, "c", false},
    {"/a//../b", 200, "b", false},
    {"/%2e/a", 200, "a", false},
    {"/a/%2e%2E/b", 200, "b", false},
    {"/a/.%2e/b", 200, "b", false},
    {"/.hidden/../a", 200, "a", false},
    {"/..", 400, NULL, false},
    {"/../", 400, NULL, false},
    {"/../a", 400, NULL, false},
    {"/a/../..", 400, NULL, false},
    {"/a/../../a", 400, NULL, false},
    {"/%2e%2e/a", 400, NULL, false},
    {"/.%2E/a", 400, NULL, false},
    {"//../a", 400, NULL, false},
    {"/a/..%2f..%2fb", 400, NULL, false},
    {"/..%5cb", 400, NULL, false},
    {"/..\\b", 400, NULL, false},
    {"/a%2fb", 400, NULL, false},
    {"/a%2Fb", 400, NULL, false},
    {"/a%5Cb", 400, NULL, false},
    {"/a\\b", 400, NULL, false},
    {"/a%00", 400, NULL, false},
    {"/a%00.html", 400, NULL, false},
    {"/%01", 400, NULL, false},
    {"/%0d%0aSet-Cookie:x", 400, NULL, false},
    {"/%1f", 400, NULL, false},
    {"/%7f", 400, NULL, false},
    {"/a\tb", 400, NULL, false},
    {"/%", 400, NULL, false},
    {"/%4", 400, NULL, false},
    {"/%4/", 400, NULL, false},
    {"/%zz", 400, NULL, false},
    {"/%4g", 400, NULL, false},
    {"/%u0041", 400, NULL, false},
    {"/% 41", 400, NULL, false},
    {"/%+41", 400, NULL, false},
    {"/%c3%a9", 200, "\xC3\xA9", false},
    {"/%E2%98%83", 200, "\xE2\x98\x83", false},
    {"/%F0%9F%A6%80", 200, "\xF0\x9F\xA6\x80", false},
    {"/%F4%8F%BF%BF", 200, "\xF4\x8F\xBF\xBF", false},
    {"/%c3", 400, NULL, false},
    {"/%c3/%a9", 400, NULL, false},
    {"/%c3a", 400, NULL, false},
    {"/%a9", 400, NULL, false},
    {"/%c0%af", 400, NULL, false},
    {"/%c0%ae%c0%ae/", 400, NULL, false},
    {"/%c1%81", 400, NULL, false},
    {"/%e0%80%af", 400, NULL, false},
    {"/%e0%9f%bf", 400, NULL, false},
    {"/%f0%80%80%af", 400, NULL, false},
    {"/%f0%8f%bf%bf", 400, NULL, false},
    {"/%ed%a0%80", 400, NULL, false},
    {"/%ed%9f%bf", 200, "\xED\x9F\xBF", false},
    {"/%f4%90%80%80", 400, NULL, false},
    {"/%f5%80%80%80", 400, NULL, false},
    {"/%fe%ff", 400, NULL, false},
    {"/%e2%98", 400, NULL, false},
    {"/.", 200, "", true},
    {"/.hidden", 404, NULL, false},
    {"/%2ehidden", 404, NULL, false},
    {"/a/.hidden", 404, NULL, false},
    {"/.git/config", 404, NULL, false},
    {"/...", 404, NULL, false},
    {"/..a", 404, NULL, false},
    {"/.well-known", 200, ".well-known", false},
    {"/.well-known/", 200, ".well-known", true},
    {"/.well-known/acme-challenge/x", 200, ".well-known/acme-challenge/x", false},
    {"/.well-known/.hidden", 404, NULL, false},
    {"/.well-known2/x", 404, NULL, false},
    {"/a/.well-known/x", 404, NULL, false},
    {"", 400, NULL, false},
    {"a", 400, NULL, false},
    {"*", 400, NULL, false}};

/* Decodes from and to memory of the exact size. */
static int decode(const char *encoded, char **decoded, size_t *length, bool *folder)
{
    size_t size = strlen(encoded);
    char *from = malloc(size + 1);
    int status;
    *decoded = malloc(size + 1);
    if (from == NULL || *decoded == NULL) abort();
    memcpy(from, encoded, size);
    status = files_decode_path(mm_slice_make(from, size), *decoded, length, folder);
    if (status == 200) (*decoded)[*length] = '\0';
    free(from);
    return status;
}

TEST(paths_are_decoded_strictly)
{
    size_t i;
    for (i = 0; i < sizeof(path_cases) / sizeof(path_cases[0]); i++) {
        const path_case *c = &path_cases[i];
        char *decoded;
        size_t length;
        bool folder;
        int status = decode(c->encoded, &decoded, &length, &folder);
        if (status != c->status) printf("      %s\n", c->encoded);
        CHECK_EQ(status, c->status);
        if (status == 200) CHECK_STR(decoded, c->decoded);
        if (status == 200) CHECK_EQ(folder, c->folder);
        free(decoded);
    }
}

/* Whatever comes: what is accepted is a plain path that the file cache accepts as well. */
TEST(random_paths_never_leave_the_root)
{
    static const char *const parts[] = {"/",   ".",   "..",  "%2e", "%2f", "a",   "%",  "%00",
                                        "\\",  "%5c", "%c3", "%a9", "//",  "/..", "/.", "%61",
                                        "%2",  "~",   "%25", "e",   "%c0%af", "/../"};
    uint64_t random = 7;
    size_t round, i, accepted = 0;
    CHECK(make_site() && world_init(false));
    for (round = 0; round < 50000; round++) {
        char text[128] = "/", *decoded;
        size_t length;
        bool folder;
        for (i = test_random(&random) % 10; i > 0; i--)
            strcat(text, parts[test_random(&random) % (sizeof(parts) / sizeof(parts[0]))]);
        if (decode(text, &decoded, &length, &folder) == 200) {
            mm_file *file;
            mm_slice path = mm_slice_make(decoded, length);
            mm_status status = mm_filecache_open(&w.cache, path, 1, &file);
            CHECK(status == MM_STATUS_OK || status == MM_STATUS_NOT_FOUND);
            if (status == MM_STATUS_OK) mm_file_release(file);
            accepted++;
        }
        free(decoded);
    }
    CHECK(accepted > 1000);
    CHECK(world_deinit());
    remove_site();
}

TEST(encoded_paths_decode_to_themselves)
{
    uint64_t random = 9;
    int round;
    mm_buffer b = {0};
    for (round = 0; round < 1000; round++) {
        char name[16], *decoded;
        const char *encoded;
        size_t length = 1 + test_random(&random) % 15, i, back;
        bool folder;
        for (i = 0; i < length; i++) name[i] = (char)(' ' + test_random(&random) % 95);
        if (!files_is_name_served(mm_slice_make(name, length))) continue;
        mm_buffer_copy_string(&b, "/");
        mm_buffer_append_url_path(&b, mm_slice_make(name, length));
        encoded = mm_buffer_string(&b);
        CHECK(encoded[0] == '/' && strpbrk(encoded, "?#:&<>\"' ;\\") == NULL);
        CHECK_EQ(decode(encoded, &decoded, &back, &folder), 200);
        CHECK(back == length && memcmp(decoded, name, length) == 0);
        free(decoded);
    }
    mm_buffer_clear(&b);
    mm_buffer_append_url_path(&b, slice("a b/c:d%/\xC3\xA9~-._"));
    CHECK_STR(mm_buffer_string(&b), "a%20b/c%3Ad%25/%C3%A9~-._");
    mm_buffer_deinit(&b);
}

TEST(names_that_cannot_be_asked_for)
{
    CHECK(files_is_name_served(slice("a")));
    CHECK(files_is_name_served(slice("a.b c\xC3\xA9")));
    CHECK(!files_is_name_served(slice("")));
    CHECK(!files_is_name_served(slice(".")));
    CHECK(!files_is_name_served(slice(".a")));
    CHECK(!files_is_name_served(slice("a\\b")));
    CHECK(!files_is_name_served(slice("a\nb")));
    CHECK(!files_is_name_served(slice("a\x7f")));
    CHECK(!files_is_name_served(slice("\xFF")));
    CHECK(!files_is_name_served(slice("a\xC3")));
}

/* ---- media types ---- */

TEST(media_types)
{
    size_t i;
    for (i = 1; i < MIME_COUNT; i++)
        CHECK(strcmp(mime_types[i - 1].extension, mime_types[i].extension) < 0);
    for (i = 0; i < MIME_COUNT; i++) {
        char name[64];
        const char *type = mime_types[i].type;
        snprintf(name, sizeof(name), "folder.d/name.%s", mime_types[i].extension);
        CHECK_STR(files_mime_type(slice(name)), type);
        CHECK_EQ(strncmp(type, "text/", 5) == 0, strstr(type, "; charset=utf-8") != NULL);
        CHECK(strspn(mime_types[i].extension, "abcdefghijklmnopqrstuvwxyz0123456789") ==
              strlen(mime_types[i].extension));
    }
    CHECK_STR(files_mime_type(slice("index.HTML")), "text/html; charset=utf-8");
    CHECK_STR(files_mime_type(slice("a.JpEg")), "image/jpeg");
    CHECK_STR(files_mime_type(slice("a.mjs")), "text/javascript; charset=utf-8");
    CHECK_STR(files_mime_type(slice("a.tar.gz")), "application/gzip");
    CHECK_STR(files_mime_type(slice("a.wasm")), "application/wasm");
    CHECK_STR(files_mime_type(slice("README")), "application/octet-stream");
    CHECK_STR(files_mime_type(slice("html")), "application/octet-stream");
    CHECK_STR(files_mime_type(slice("a.")), "application/octet-stream");
    CHECK_STR(files_mime_type(slice("a.htm/b")), "application/octet-stream");
    CHECK_STR(files_mime_type(slice("a.htmlx")), "application/octet-stream");
    CHECK_STR(files_mime_type(slice("a.ht")), "application/octet-stream");
    CHECK_STR(files_mime_type(slice("")), "application/octet-stream");
    CHECK_STR(files_mime_type(mm_slice_make(NULL, 0)), "application/octet-stream");
}

/* ---- answers ---- */

TEST(files_are_served)
{
    CHECK(make_site() && world_init(false));
    CHECK_EQ(get("/hello.txt"), 200);
    CHECK_STR(w.text, "Hello, world!\n");
    CHECK_EQ(w.response.content_length, 14);
    CHECK_STR(field("Content-Type"), "text/plain; charset=utf-8");
    CHECK_STR(field("Last-Modified"), OLD_DATE);
    CHECK_STR(field("Accept-Ranges"), "bytes");
    CHECK_STR(field("X-Content-Type-Options"), "nosniff");
    CHECK(field("ETag")[0] == '"');
    CHECK_EQ(get("/empty.txt"), 200);
    CHECK_EQ(w.response.content_length, 0);
    CHECK_EQ(get("/hello.txt?/../x"), 200);
    CHECK_EQ(get("/%68ello.txt"), 200);
    CHECK_EQ(get("//sub/..//hello.txt"), 200);
    CHECK_EQ(get("http://other/hello.txt"), 200);
    CHECK_EQ(get("/sub/"), 200);
    CHECK_STR(w.text, "<p>sub\n");
    CHECK_STR(field("Content-Type"), "text/html; charset=utf-8");
    if (has_links()) {
        CHECK_EQ(get("/plain/link-in"), 200);
        CHECK_STR(w.text, "Hello, world!\n");
        CHECK_EQ(get("/plain/link-dir/"), 200);
    }
    CHECK_EQ(get("/.well-known/x.txt"), 200);
    CHECK(world_deinit());
    remove_site();
}

TEST(what_is_not_served)
{
    char deep[5200] = "GET /", name[300];
    CHECK(make_site() && world_init(false));
    CHECK_EQ(get("/nowhere"), 404);
    CHECK_EQ(get("/nowhere/"), 404);
    CHECK_EQ(get("/hello.txt/"), 404);
    CHECK_EQ(get("/hello.txt/x"), 404);
    CHECK_EQ(get("/sub/index.html/"), 404);
    CHECK_EQ(get("/.hidden"), 404);
    CHECK_EQ(get("/.well-known/.hidden"), 404);
    CHECK_EQ(get("/../outside.txt"), 400);
    CHECK_EQ(get("/%2e%2e%2foutside.txt"), 400);
    CHECK_EQ(get("/hello.txt%00"), 400);
    CHECK_EQ(get("/plain/link-out"), 403);
    CHECK_EQ(get("/plain/link-loop"), 403);
    CHECK_EQ(get("/plain/link-nowhere"), has_links() ? 404 : 403);
    CHECK_EQ(get("/plain/fifo"), 403);
    CHECK_EQ(get("/fifo-index/"), 403);
    CHECK_STR(field("Content-Type"), "text/html; charset=utf-8");
    CHECK(strstr(w.text, "403 Forbidden") != NULL);
    CHECK(field("ETag") == NULL);
    memset(name, 'n', sizeof(name) - 1); /* longer than a name can be, and than a path can be */
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    CHECK_EQ(get(name), 404);
    while (strlen(deep) < 5000) strcat(deep, "a/");
    CHECK_EQ(ask(deep, ""), 404);
    CHECK(world_deinit());
    remove_site();
}

TEST(links_out_are_followed_when_asked)
{
    CHECK(make_site() && world_init(true));
    CHECK_EQ(get("/plain/link-out"), 200);
    CHECK_STR(w.text, "secret");
    CHECK_EQ(get("/../outside.txt"), 400);
    CHECK_EQ(get("/plain/fifo"), 403);
    CHECK_EQ(get("/plain/"), 200);
    CHECK(strstr(w.text, "link-out") != NULL && strstr(w.text, "link-nowhere") == NULL);
    CHECK(world_deinit());
    remove_site();
}

/* Opening as a user who is not root, if the test is run by root. False when that cannot be done. */
static bool set_user(bool plain)
{
    return getuid() != 0 || seteuid(plain ? 65534 : 0) == 0;
}

/* As `get`, as a plain user. */
static int get_as_user(const char *target)
{
    int status = set_user(true) ? get(target) : -4;
    return set_user(false) ? status : -5;
}

TEST(unreadable_files_are_forbidden_and_not_listed)
{
    int status;
    CHECK(make_site() && world_init(false));
    status = get_as_user("/plain/unreadable");
    if (status != -4) { /* a root that may not become another user */
        CHECK_EQ(status, 403);
        CHECK_EQ(get_as_user("/plain/"), 200);
        CHECK(strstr(w.text, "one.txt") != NULL && strstr(w.text, "unreadable") == NULL);
    }
    CHECK(world_deinit());
    remove_site();
}

TEST(head_is_get_without_the_body)
{
    static const char *const targets[] = {"/hello.txt", "/empty.txt", "/sub/", "/plain/",
                                          "/sub", "/nowhere", "/%zz", "/plain/fifo"};
    size_t i, j;
    CHECK(make_site() && world_init(false));
    for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        char line[64], names[HTTP_RESPONSE_HEADERS][64], values[HTTP_RESPONSE_HEADERS][128];
        int status = get(targets[i]);
        int64_t length = w.response.content_length;
        size_t count = w.response.header_count;
        for (j = 0; j < count; j++) {
            snprintf(names[j], sizeof(names[j]), "%.*s", (int)w.response.headers[j].name.len,
                     w.response.headers[j].name.ptr);
            snprintf(values[j], sizeof(values[j]), "%s", field(names[j]));
        }
        snprintf(line, sizeof(line), "HEAD %s", targets[i]);
        CHECK_EQ(ask(line, ""), status);
        mm_filecache_trim(&w.cache, 0); /* the fields must not be the file's */
        CHECK_EQ(w.response.content_length, length);
        CHECK(mm_chunkqueue_is_empty(&w.body));
        CHECK_EQ(w.response.header_count, count);
        for (j = 0; j < count; j++) CHECK_STR(field(names[j]), values[j]);
    }
    CHECK_EQ(ask("HEAD /hello.txt", "Range: bytes=0-1\r\n"), 200);
    CHECK_EQ(w.response.content_length, 14);
    CHECK_EQ(ask("HEAD /hello.txt", "If-None-Match: *\r\n"), 304);
    CHECK(world_deinit());
    remove_site();
}

TEST(methods)
{
    static const char *const others[] = {"POST /", "PUT /hello.txt", "DELETE /nowhere", "PATCH /",
                                         "TRACE /", "CONNECT h:1"};
    size_t i;
    CHECK(make_site() && world_init(false));
    CHECK_EQ(ask("OPTIONS *", ""), 204);
    CHECK_STR(field("Allow"), "GET, HEAD, OPTIONS");
    CHECK_EQ(w.response.content_length, -1);
    CHECK(mm_chunkqueue_is_empty(&w.body));
    CHECK_EQ(ask("OPTIONS /hello.txt", ""), 204);
    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        CHECK_EQ(ask(others[i], ""), 405);
        CHECK_STR(field("Allow"), "GET, HEAD, OPTIONS");
    }
    CHECK_EQ(ask("BREW /", ""), 501);
    CHECK_EQ(ask("get /", ""), 501);
    CHECK(world_deinit());
    remove_site();
}

TEST(conditional_answers)
{
    char fields[256], tag[64];
    CHECK(make_site() && world_init(false));
    CHECK_EQ(get("/hello.txt"), 200);
    snprintf(tag, sizeof(tag), "%s", field("ETag"));
    snprintf(fields, sizeof(fields), "If-None-Match: \"x\", W/%s\r\n", tag);
    CHECK_EQ(ask("GET /hello.txt", fields), 304);
    CHECK_STR(field("ETag"), tag);
    CHECK_EQ(w.response.content_length, -1);
    CHECK(mm_chunkqueue_is_empty(&w.body) && field("Content-Type") == NULL);
    CHECK_EQ(ask("GET /hello.txt", "If-Modified-Since: " OLD_DATE "\r\n"), 304);
    CHECK_EQ(ask("GET /nowhere", "If-None-Match: *\r\n"), 404);
    CHECK_EQ(ask("GET /sub", "If-None-Match: *\r\n"), 301);
    CHECK_EQ(ask("GET /hello.txt", "If-None-Match: *\r\nRange: bytes=0-1\r\n"), 304);
    CHECK_EQ(ask("GET /hello.txt", "Range: bytes=7-11\r\n"), 206);
    CHECK_STR(w.text, "world");
    CHECK_STR(field("Content-Range"), "bytes 7-11/14");
    CHECK_STR(field("ETag"), tag);
    CHECK_EQ(w.response.content_length, 5);
    CHECK_EQ(ask("GET /hello.txt", "Range: bytes=14-\r\n"), 416);
    CHECK_STR(field("Content-Range"), "bytes */14");
    CHECK_EQ(ask("GET /empty.txt", "Range: bytes=0-\r\n"), 416);
    CHECK_STR(field("Content-Range"), "bytes */0");
    CHECK_EQ(ask("GET /empty.txt", "Range: bytes=-5\r\n"), 200);
    CHECK_EQ(ask("GET /hello.txt", "Range: bytes=0-1,2-4\r\n"), 206);
    CHECK_STR(w.text, "Hello");
    CHECK_STR(field("Content-Range"), "bytes 0-4/14");
    CHECK_EQ(ask("GET /hello.txt", "If-Match: \"x\"\r\nIf-None-Match: *\r\n"), 412);
    CHECK_EQ(ask("GET /hello.txt", "If-Unmodified-Since: " OLD_DATE "\r\n"), 200);
    snprintf(fields, sizeof(fields), "Range: bytes=0-1\r\nIf-Range: %s\r\n", tag);
    CHECK_EQ(ask("GET /hello.txt", fields), 206);
    CHECK_EQ(ask("GET /hello.txt", "Range: bytes=99-\r\nIf-Range: \"x\"\r\n"), 200);
    CHECK(world_deinit());
    remove_site();
}

TEST(several_ranges_are_sent_in_parts)
{
    char expected[1024], boundary[64];
    int i;
    CHECK(make_site() && world_init(false));
    for (i = 0; i < 2; i++) {
        CHECK_EQ(ask("GET /hello.txt", "Range: bytes=7-11,-2,0-0\r\n"), 206);
        CHECK(field("Content-Range") == NULL && field("ETag") != NULL);
        CHECK(strncmp(field("Content-Type"), "multipart/byteranges; boundary=mm-", 34) == 0);
        CHECK(i == 0 || strcmp(boundary, strchr(field("Content-Type"), '=') + 1) != 0);
        snprintf(boundary, sizeof(boundary), "%s", strchr(field("Content-Type"), '=') + 1);
        snprintf(expected, sizeof(expected),
                 "\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                 "Content-Range: bytes 7-13/14\r\n\r\nworld!\n"
                 "\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                 "Content-Range: bytes 0-0/14\r\n\r\nH\r\n--%s--\r\n",
                 boundary, boundary, boundary);
        CHECK_STR(w.text, expected);
        CHECK_EQ(w.response.content_length, strlen(expected));
    }
    CHECK_EQ(ask("HEAD /hello.txt", "Range: bytes=7-11,0-0\r\n"), 200);
    CHECK_EQ(w.response.content_length, 14);
    CHECK(world_deinit());
    remove_site();
}

static bool set_time(const char *name, int64_t seconds, long ns)
{
    struct timespec times[2];
    times[0].tv_sec = times[1].tv_sec = (time_t)seconds;
    times[0].tv_nsec = times[1].tv_nsec = ns;
    return utimensat(AT_FDCWD, site_path(name), times, 0) == 0;
}

TEST(precompressed_files_are_sent_in_place)
{
    char tag[80], fields[256];
    CHECK(make_site() && world_init(false));
    CHECK_EQ(ask("GET /hello.txt", "Accept-Encoding: gzip\r\n"), 200);
    CHECK(field("Vary") == NULL && field("Content-Encoding") == NULL);
    CHECK(add_file("hello.txt.gz", "compressed"));
    CHECK_EQ(get("/hello.txt"), 200);
    CHECK_STR(w.text, "Hello, world!\n");
    CHECK_STR(field("Vary"), "Accept-Encoding");
    CHECK_STR(field("Accept-Ranges"), "bytes");
    snprintf(tag, sizeof(tag), "%s", field("ETag"));
    CHECK_EQ(ask("GET /hello.txt", "Accept-Encoding: br, gzip\r\nRange: bytes=0-1\r\n"), 200);
    CHECK_STR(w.text, "compressed");
    CHECK_STR(field("Vary"), "Accept-Encoding");
    CHECK_STR(field("Content-Encoding"), "gzip");
    CHECK_STR(field("Content-Type"), "text/plain; charset=utf-8");
    CHECK(field("Accept-Ranges") == NULL && strcmp(tag, field("ETag")) != 0);
    snprintf(tag, sizeof(tag), "%s", field("ETag"));
    snprintf(fields, sizeof(fields), "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n", tag);
    CHECK_EQ(ask("GET /hello.txt", fields), 304);
    CHECK_STR(field("Vary"), "Accept-Encoding");
    CHECK_STR(field("ETag"), tag);
    CHECK_EQ(ask("GET /hello.txt", strchr(fields, '\n') + 1), 200); /* of another encoding */
    CHECK_EQ(ask("GET /hello.txt", "Range: bytes=0-1\r\n"), 206);
    CHECK_STR(field("Vary"), "Accept-Encoding");
    CHECK(world_deinit());
    remove_site();
}

TEST(what_is_no_precompressed_file)
{
    CHECK(make_site() && world_init(false));
    CHECK(add_file("hello.txt.gz", "old") && set_time("hello.txt.gz", OLD - 1, 999999999));
    CHECK(add_file("hello.txt.zst", "") && add_folder("hello.txt.br"));
    CHECK_EQ(ask("GET /hello.txt", "Accept-Encoding: gzip, br, zstd\r\n"), 200);
    CHECK_STR(w.text, "Hello, world!\n");
    CHECK(field("Vary") == NULL);
    CHECK(set_time("hello.txt.gz", OLD, 0));
    CHECK_EQ(ask("GET /hello.txt", "Accept-Encoding: gzip, br, zstd\r\n"), 200);
    CHECK_STR(w.text, "old");
    CHECK(set_time("hello.txt", OLD, 1)); /* within the second in which that is believed */
    w.now -= 5000;
    CHECK_EQ(ask("GET /hello.txt", "Accept-Encoding: gzip, br, zstd\r\n"), 200);
    CHECK_STR(w.text, "Hello, world!\n");
    CHECK(add_link("empty.txt.gz", "../../outside.txt"));
    CHECK_EQ(ask("GET /empty.txt", "Accept-Encoding: gzip\r\n"), 200);
    CHECK_STR(w.text, "");
    CHECK(add_file("sub/index.html.br", "brotli"));
    CHECK_EQ(ask("GET /sub/", "Accept-Encoding: br\r\n"), 200);
    CHECK_STR(w.text, "brotli");
    CHECK(world_deinit());
    remove_site();
}

/* Nothing is opened for a file whose neighbours are known. */
TEST(neighbours_are_looked_for_once)
{
    uint64_t misses;
    int i;
    CHECK(make_site() && world_init(false));
    CHECK_EQ(get("/hello.txt"), 200);
    misses = w.cache.stats.misses;
    for (i = 0; i < 10; i++) {
        w.now -= 4999;
        CHECK_EQ(ask("GET /hello.txt", "Accept-Encoding: gzip\r\n"), 200);
    }
    CHECK_EQ(w.cache.stats.misses, misses);
    files_siblings_deinit(&w.site); /* without memory for that it works as well */
    CHECK(add_file("hello.txt.gz", "compressed"));
    CHECK_EQ(ask("GET /hello.txt", "Accept-Encoding: gzip\r\n"), 200);
    CHECK_STR(w.text, "compressed");
    CHECK(world_deinit());
    remove_site();
}

TEST(odd_times_are_survived)
{
    static const struct {
        int64_t mtime;
        const char *expected;
    } cases[] = {{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
                 {-86400, "Thu, 01 Jan 1970 00:00:00 GMT"},
                 {253402300800, "Fri, 31 Dec 9999 23:59:59 GMT"},
                 {4102444800, "Fri, 01 Jan 2100 00:00:00 GMT"}};
    size_t i;
    CHECK(make_site() && world_init(false));
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct timespec times[2] = {{0, 0}, {0, 0}};
        struct stat st;
        char since[64];
        times[1].tv_sec = (time_t)cases[i].mtime;
        CHECK_EQ(utimensat(AT_FDCWD, site_path("empty.txt"), times, 0), 0);
        CHECK_EQ(stat(site_path("empty.txt"), &st), 0);
        if (st.st_mtime != times[1].tv_sec) continue; /* the file system cannot keep it */
        CHECK_EQ(get("/empty.txt"), 200);
        CHECK_STR(field("Last-Modified"), cases[i].expected);
        snprintf(since, sizeof(since), "If-Modified-Since: %s\r\n", cases[i].expected);
        CHECK_EQ(ask("GET /empty.txt", since), 304);
        CHECK_EQ(get("/"), 200);
    }
    CHECK(world_deinit());
    remove_site();
}

TEST(folders_are_redirected_to_their_slash)
{
    CHECK(make_site() && world_init(false));
    CHECK_EQ(get("/sub"), 301);
    CHECK_STR(field("Location"), "/sub/");
    CHECK(strstr(w.text, "<a href=\"/sub/\">") != NULL);
    CHECK_EQ(get("/sub?a=b&c"), 301);
    CHECK_STR(field("Location"), "/sub/?a=b&c");
    CHECK(strstr(w.text, "href=\"/sub/?a=b&amp;c\"") != NULL);
    CHECK_EQ(get("/sub?"), 301);
    CHECK_STR(field("Location"), "/sub/");
    CHECK_EQ(get("/a%20b"), 301);
    CHECK_STR(field("Location"), "/a%20b/");
    CHECK_EQ(get("//sub"), 301);
    CHECK_STR(field("Location"), "/sub/");
    CHECK_EQ(get("//evil.example/../sub"), 301);
    CHECK_STR(field("Location"), "/sub/");
    CHECK_EQ(get("http://evil.example//sub"), 301);
    CHECK_STR(field("Location"), "/sub/");
    CHECK_EQ(get("/plain/./zoo"), 301);
    CHECK_STR(field("Location"), "/plain/zoo/");
    CHECK_EQ(get("/sub/."), 200); /* a dot segment stands for the folder */
    CHECK_EQ(get("//"), 200);
    CHECK(world_deinit());
    remove_site();
}

TEST(policies_are_followed)
{
    options o;
    policy p;
    memset(&o, 0, sizeof(o));
    o.cors = "*";
    o.spa = true;
    o.cache_control.at[o.cache_control.count++] = "*.txt:max-age=5";
    CHECK(make_site() && world_init(false) && add_file("index.html", "<p>application\n"));
    policy_init(&p, &o);
    w.site.policy = &p;
    CHECK_EQ(get("/hello.txt"), 200);
    CHECK_STR(field("Cache-Control"), "max-age=5");
    CHECK_EQ(ask("GET /hello.txt", "If-None-Match: *\r\n"), 304);
    CHECK_STR(field("Cache-Control"), "max-age=5");
    CHECK_EQ(ask("GET /hello.txt", "Range: bytes=0-1\r\n"), 206);
    CHECK_STR(field("Cache-Control"), "max-age=5");
    CHECK_EQ(get("/sub/"), 200);
    CHECK(field("Cache-Control") == NULL);
    CHECK_EQ(get("/nowhere"), 200);
    CHECK_STR(w.text, "<p>application\n");
    CHECK_STR(field("Content-Type"), "text/html; charset=utf-8");
    CHECK_EQ(get("/a.b/nowhere/"), 200);
    CHECK_EQ(get("/nowhere.js"), 404);
    CHECK_EQ(get("/.hidden"), 404);
    CHECK_EQ(get("/hello.txt/x"), 200);
    CHECK_EQ(get("/../x"), 400);
    CHECK_EQ(get("/plain/fifo"), 403);
    CHECK_EQ(get("/sub"), 301);
    CHECK_EQ(ask("POST /nowhere", ""), 405);
    CHECK_EQ(ask("OPTIONS /hello.txt", ""), 204);
    CHECK_STR(field("Access-Control-Allow-Methods"), "GET, HEAD, OPTIONS");
    CHECK(strstr(field("Access-Control-Allow-Headers"), "Range") != NULL);
    CHECK_EQ(unlink(site_path("index.html")), 0);
    CHECK_EQ(get("/nowhere"), 404);
    CHECK(world_deinit());
    remove_site();
}

/* ---- listings ---- */

/* Whether the texts are in w.text, in this order. */
static bool in_order(const char *const *texts, size_t count)
{
    const char *at = w.text;
    size_t i;
    for (i = 0; i < count; i++) {
        const char *found = strstr(at, texts[i]);
        if (found == NULL) printf("      missing: %s\n", texts[i]);
        if (found == NULL) return false;
        at = found + strlen(texts[i]);
    }
    return true;
}

TEST(folders_are_listed)
{
    static const char *const expected[] = {
        "<title>Index of /plain/</title>",
        "<h1>Index of /plain/</h1>",
        "<a href=\"../\">../</a>",
        "<a href=\"./zoo/\">zoo/</a>",
        "<a href=\"./a%3Ab%3Ci%3E%26%22%27.txt\">a:b&lt;i&gt;&amp;&quot;&#39;.txt</a><td>3 B",
        "<td>2001-09-09 01:46\n",
        "<a href=\"./caf%C3%A9.txt\">caf\xC3\xA9.txt</a>",
        "<a href=\"./one.txt\">one.txt</a><td>1 B",
        "<a href=\"./Two.txt\">Two.txt</a><td>2 B",
        "</html>\n"};
    static const char *const links[] = {
        "<a href=\"../\">../</a>",
        "<a href=\"./link-dir/\">link-dir/</a>",
        "<a href=\"./zoo/\">zoo/</a>",
        "<a href=\"./link-in\">link-in</a><td>14 B<td>2001-09-09 01:46\n",
        "<a href=\"./one.txt\">one.txt</a>"};
    static const char *const absent[] = {"hidden", "fifo",  "link-out", "link-nowhere",
                                         "link-loop", "slash", "\xFF", "<i>", "secret"};
    size_t i;
    CHECK(make_site() && world_init(false));
    CHECK_EQ(get("/plain/"), 200);
    CHECK(in_order(expected, sizeof(expected) / sizeof(expected[0])));
    if (has_links()) {
        CHECK_EQ(get("/plain/"), 200);
        CHECK(in_order(links, sizeof(links) / sizeof(links[0])));
    }
    CHECK_EQ(get("/plain/"), 200);
    for (i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        CHECK(strstr(w.text, absent[i]) == NULL);
    CHECK_STR(field("Content-Type"), "text/html; charset=utf-8");
    CHECK_STR(field("Cache-Control"), "no-cache");
    CHECK_STR(field("Content-Security-Policy"), "default-src 'none'; style-src 'unsafe-inline'");
    CHECK(field("ETag") == NULL && field("Last-Modified") == NULL);
    CHECK(strstr(w.text, "name=\"viewport\"") != NULL);
    CHECK_EQ(get("/"), 200);
    CHECK(strstr(w.text, "../") == NULL && strstr(w.text, "<h1>Index of /</h1>") != NULL);
    CHECK(strstr(w.text, "well-known") == NULL);
    CHECK_EQ(get("/folder-index/"), 200); /* an index.html that is a folder is none */
    CHECK(strstr(w.text, "<a href=\"./index.html/\">") != NULL);
    CHECK_EQ(get("/plain/zoo/"), 200);
    CHECK_EQ(ask("GET /plain/", "Range: bytes=0-1\r\nIf-None-Match: *\r\n"), 200);
    w.site.listing = false;
    CHECK_EQ(get("/plain/"), 403);
    CHECK_EQ(get("/sub/"), 200);
    CHECK_EQ(get("/plain"), 301);
    CHECK(world_deinit());
    remove_site();
}

TEST(sizes_for_people)
{
    static const struct {
        int64_t size;
        const char *text;
    } cases[] = {{0, "0 B"},           {1023, "1023 B"},      {1024, "1.0 KiB"}, {1535, "1.4 KiB"},
                 {10239, "9.9 KiB"},   {10240, "10 KiB"},     {1048575, "1023 KiB"},
                 {1048576, "1.0 MiB"}, {5368709120, "5.0 GiB"}, {INT64_MAX, "7.9 EiB"}};
    mm_buffer b = {0};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_buffer_clear(&b);
        append_size(&b, cases[i].size);
        CHECK_STR(mm_buffer_string(&b), cases[i].text);
    }
    mm_buffer_deinit(&b);
}

/* The sort against its definition. */
TEST(entries_are_sorted)
{
    uint64_t random = 3;
    size_t round, i, count;
    for (round = 0; round < 1200; round++) {
        list_order order = {(list_key)(round % LIST_KEYS), round % 2 == 0};
        static _Alignas(list_entry) char pool[100][sizeof(list_entry) * 2];
        list_entry *list = NULL, *e;
        size_t total = round % 100;
        for (i = 0; i < total; i++) {
            e = (list_entry *)(void *)pool[i];
            memset(e, 0, sizeof(*e));
            e->is_folder = test_random(&random) % 4 == 0;
            e->size = (int64_t)(test_random(&random) % 5);
            e->modified = (int64_t)(test_random(&random) % 5);
            e->name_len = 1 + test_random(&random) % 3;
            for (count = 0; count < e->name_len; count++)
                e->name[count] = "aAbB~"[test_random(&random) % 5];
            e->next = list;
            list = e;
        }
        list = sort_entries(list, order);
        for (e = list, count = 0; e != NULL; e = e->next, count++)
            if (e->next != NULL) CHECK(!comes_first(e->next, e, order));
        CHECK_EQ(count, total);
    }
}

TEST(orders_are_asked_for)
{
    static const struct {
        const char *query;
        list_key key;
        bool descending;
    } cases[] = {{"", LIST_NAME, false},
                 {"sort=size", LIST_SIZE, false},
                 {"sort=time&order=desc", LIST_TIME, true},
                 {"order=desc", LIST_NAME, true},
                 {"x&order=asc&y=z&sort=name", LIST_NAME, false},
                 {"sort=size&sort=time", LIST_SIZE, false},
                 {"sort=&order=", LIST_NAME, false},
                 {"sort=sizes&order=descending", LIST_NAME, false},
                 {"sort", LIST_NAME, false},
                 {"=size&&&", LIST_NAME, false},
                 {"xsort=size", LIST_NAME, false}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        list_order order = listing_order(slice(cases[i].query));
        CHECK_EQ(order.key, cases[i].key);
        CHECK_EQ(order.descending, cases[i].descending);
    }
}

TEST(folders_are_listed_in_the_order_asked_for)
{
    static const char *const by_size[] = {
        "<th><a href=\"/plain/?sort=name&amp;order=asc\">Name</a>",
        "<th aria-sort=\"ascending\"><a href=\"/plain/?sort=size&amp;order=desc\">Size</a>",
        "<th><a href=\"/plain/?sort=time&amp;order=asc\">Modified (UTC)</a>", ">zoo/<", ">one.txt<",
        ">Two.txt<", ">a:b"};
    static const char *const by_time[] = {"../", ">zoo/<", ">one.txt<", ">a:b", ">Two.txt<"};
    static const char *const backwards[] = {
        "<th aria-sort=\"descending\"><a href=\"/plain/?sort=name&amp;order=asc\">Name</a>",
        ">zoo/<", ">Two.txt<", ">one.txt<", ">caf", ">a:b"};
    CHECK(make_site() && world_init(false));
    CHECK_EQ(get("/plain/?sort=size"), 200);
    CHECK(in_order(by_size, sizeof(by_size) / sizeof(by_size[0])));
    CHECK_EQ(get("/plain/?order=desc"), 200);
    CHECK(in_order(backwards, sizeof(backwards) / sizeof(backwards[0])));
    CHECK(set_time("plain/one.txt", OLD + 1, 0) && set_time("plain/Two.txt", OLD - 1, 0));
    CHECK_EQ(get("/plain/?sort=time&order=desc"), 200);
    CHECK(in_order(by_time, sizeof(by_time) / sizeof(by_time[0])));
    CHECK_EQ(get("/?sort=size"), 200);
    CHECK(strstr(w.text, "<a href=\"/?sort=size&amp;order=desc\">") != NULL);
    CHECK(world_deinit());
    remove_site();
}

TEST(folders_are_listed_as_json)
{
    static const char expected[] =
        "[\n"
        "{\"name\":\"zoo\",\"type\":\"folder\",\"modified\":\"2001-09-09T01:46:40Z\"},\n"
        "{\"name\":\"caf\xC3\xA9.txt\",\"type\":\"file\",\"size\":3,"
        "\"modified\":\"2001-09-09T01:46:40Z\"},\n"
        "{\"name\":\"q\\\"<&.txt\",\"type\":\"file\",\"size\":1,"
        "\"modified\":\"2001-09-09T01:46:40Z\"}\n"
        "]\n";
    CHECK(make_site() && world_init(false));
    CHECK(add_folder("json") && add_folder("json/zoo") && set_time("json/zoo", OLD, 0));
    CHECK(add_file("json/caf\xC3\xA9.txt", "odd") && add_file("json/q\"<&.txt", "x"));
    CHECK_EQ(ask("GET /json/", "Accept: application/json\r\n"), 200);
    CHECK_STR(w.text, expected);
    CHECK_STR(field("Content-Type"), "application/json");
    CHECK_STR(field("Vary"), "Accept");
    CHECK_STR(field("X-Content-Type-Options"), "nosniff");
    CHECK_EQ(ask("HEAD /json/", "Accept: application/json\r\n"), 200);
    CHECK_EQ(w.response.content_length, strlen(expected));
    CHECK_EQ(ask("GET /plain/zoo/", "Accept: application/json\r\n"), 200);
    CHECK_STR(w.text, "[\n]\n");
    CHECK_EQ(ask("GET /json/", "Accept: text/html, application/json;q=0.9\r\n"), 200);
    CHECK(strstr(w.text, "<table>") != NULL);
    CHECK_STR(field("Vary"), "Accept");
    CHECK_EQ(ask("GET /json/", "Accept: */*\r\n"), 200);
    CHECK(strstr(w.text, "<table>") != NULL);
    CHECK(world_deinit());
    remove_site();
}

TEST(large_folders_are_listed)
{
    int i, found = 0;
    const char *at;
    CHECK(make_site() && world_init(false) && add_folder("many"));
    for (i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof(name), "many/file-%d", i);
        CHECK(add_file(name, ""));
    }
    CHECK_EQ(get("/many/"), 200);
    for (at = w.text; (at = strstr(at, "<a href=\"./file-")) != NULL; at++) found++;
    CHECK_EQ(found, 500);
    CHECK(world_deinit());
    remove_site();
}

/* ---- failures ---- */

TEST(errors_of_the_system_become_statuses)
{
    static const struct {
        int error, status;
    } cases[] = {{EMFILE, 503}, {ENFILE, 503}, {ENOMEM, 503}, {EIO, 500},   {EACCES, 403},
                 {ELOOP, 403},  {EXDEV, 403},  {ENOENT, 404}, {ENOTDIR, 404}, {ENXIO, 403},
                 {ENAMETOOLONG, 404}};
    size_t i;
    CHECK(make_site() && world_init(false));
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status;
        mm_filecache_trim(&w.cache, 0);
        open_error = cases[i].error;
        status = get("/hello.txt");
        open_error = 0;
        CHECK_EQ(status, cases[i].status);
        CHECK_EQ(field("Retry-After") != NULL, status == 503);
        CHECK_EQ(get("/hello.txt"), 200);
    }
    CHECK(world_deinit());
    remove_site();
}

TEST(without_descriptors_503)
{
    CHECK(make_site() && world_init(false));
    w.fds.limit = 0;
    CHECK_EQ(get("/hello.txt"), 503);
    CHECK_EQ(get("/plain/"), 503);
    w.fds.limit = 1;
    CHECK_EQ(get("/hello.txt"), 200);
    CHECK_EQ(get("/plain/"), 503); /* the folder is open, but it cannot be read as well */
    CHECK_STR(field("Retry-After"), "1");
    w.fds.limit = 100;
    CHECK_EQ(get("/plain/"), 200);
    CHECK(world_deinit());
    remove_site();
}

/* Every allocation of every kind of answer fails, once and for ever: the answer is whole, or it is
   503, and the next one is as if nothing had been. */
static void sweep(const char *line, const char *fields, int status)
{
    int for_ever;
    size_t n, failures;
    for (for_ever = 0; for_ever <= 1; for_ever++) {
        for (n = 1, failures = 1; failures > 0; n++) {
            int got;
            CHECK(world_init(false));
            test_allocator_fail(&w.memory, n, for_ever);
            got = ask(line, fields);
            failures = w.memory.failures;
            test_allocator_fail(&w.memory, 0, 0);
            CHECK(got == status || (failures > 0 && got == 503));
            CHECK(mm_chunkqueue_check(&w.body) && mm_arena_check(&w.arena));
            CHECK_EQ(ask(line, fields), status);
            CHECK(world_deinit());
        }
        CHECK(n > 2);
    }
}

TEST(every_allocation_may_fail)
{
    CHECK(make_site());
    CHECK_SUB(sweep("GET /hello.txt", "", 200));
    CHECK_SUB(sweep("GET /hello.txt", "Range: bytes=1-2\r\n", 206));
    CHECK_SUB(sweep("GET /hello.txt", "Range: bytes=1-2,5-6\r\n", 206));
    CHECK_SUB(sweep("GET /hello.txt", "If-Match: \"x\"\r\n", 412));
    CHECK_SUB(sweep("GET /hello.txt", "Range: bytes=99-\r\n", 416));
    CHECK_SUB(sweep("GET /hello.txt", "If-None-Match: *\r\n", 304));
    CHECK(add_file("empty.txt.gz", "x"));
    CHECK_SUB(sweep("HEAD /empty.txt", "Accept-Encoding: gzip\r\n", 200));
    CHECK_SUB(sweep("GET /sub", "", 301));
    CHECK_SUB(sweep("GET /sub/", "", 200));
    CHECK_SUB(sweep("GET /plain/", "", 200));
    CHECK_SUB(sweep("GET /plain/", "Accept: application/json\r\n", 200));
    CHECK_SUB(sweep("HEAD /plain/", "", 200));
    CHECK_SUB(sweep("GET /nowhere", "", 404));
    CHECK_SUB(sweep("POST /", "", 405));
    remove_site();
}

/* ---- answers that are kept ready ---- */

static mm_respcache responses;

static bool keep_responses(bool keep)
{
    mm_respcache_desc desc = {0};
    desc.allocator = &w.memory.base;
    desc.max_bytes = 1 << 20;
    desc.max_entries = 64;
    w.site.responses = keep ? &responses : NULL;
    if (keep) return mm_respcache_init(&responses, &desc) == MM_STATUS_OK;
    return mm_respcache_check(&responses) && mm_respcache_deinit(&responses) == 0;
}

/* Asks, and does with the answer what the server does: 'r': it was ready; 's': it can be made so,
   and has been; '-': neither. */
static char ask_ready(const char *line, const char *fields, bool tls)
{
    char what = '-';
    w.tls = tls;
    if (!respond_to(line, fields)) return '!';
    if (w.response.source != NULL) {
        mm_response *made;
        what = 's';
        if (w.response.ready != NULL || !mm_chunkqueue_is_empty(&w.body)) return '!';
        if (mm_respcache_put(&responses, w.response.key, w.response.source, slice("fields"), NULL,
                             &made) != MM_STATUS_OK)
            return '!';
        mm_response_release(made);
        mm_file_release(w.response.source);
    } else if (w.response.ready != NULL) {
        mm_slice body = w.response.ready->body;
        what = 'r';
        if ((int64_t)body.len != w.response.content_length || body.len >= sizeof(w.text))
            return '!';
        memcpy(w.text, body.ptr, body.len);
        w.text[body.len] = '\0';
        mm_response_release(w.response.ready);
    }
    return what;
}

TEST(small_files_are_kept_ready)
{
    CHECK(make_site() && world_init(false) && keep_responses(true));
    content_now = (int64_t)time(NULL) + 10;
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), 's');
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), 'r');
    CHECK_STR(w.text, "Hello, world!\n");
    CHECK_EQ(w.response.status, 200);
    CHECK_EQ(ask_ready("GET /hello.txt", "", true), 's'); /* with other fields, perhaps */
    CHECK_EQ(ask_ready("GET /hello.txt", "", true), 'r');
    CHECK_EQ(ask_ready("HEAD /hello.txt", "", true), 'r');
    CHECK_EQ(ask_ready("GET /sub/", "", false), 's');
    CHECK_EQ(ask_ready("GET /sub/index.html", "", false), 'r'); /* the same file */
    CHECK_EQ(ask_ready("GET /empty.txt", "", false), 's');
    CHECK_EQ(ask_ready("GET /empty.txt", "", false), 'r');
    CHECK_EQ(ask_ready("HEAD /plain/one.txt", "", false), '-'); /* nothing is read for it */
    CHECK_EQ(ask_ready("GET /plain/", "", false), '-');
    CHECK(keep_responses(false));
    CHECK(world_deinit());
    remove_site();
}

TEST(conditions_ranges_and_codings_come_before_what_is_ready)
{
    CHECK(make_site() && add_file("sub/index.html.gz", "zip") && world_init(false) &&
          keep_responses(true));
    content_now = (int64_t)time(NULL) + 10;
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), 's');
    CHECK_EQ(ask_ready("GET /hello.txt", "If-None-Match: *\r\n", false), '-');
    CHECK_EQ(w.response.status, 304);
    CHECK_EQ(ask_ready("GET /hello.txt", "If-Match: \"x\"\r\n", false), '-');
    CHECK_EQ(w.response.status, 412);
    CHECK_EQ(ask_ready("GET /hello.txt", "Range: bytes=0-4\r\n", false), '-');
    CHECK_EQ(w.response.status, 206);
    CHECK_EQ(ask_ready("GET /hello.txt", "Range: lines=0-4\r\n", false), 'r');
    CHECK_EQ(ask_ready("GET /sub/", "Accept-Encoding: gzip\r\n", false), 's');
    CHECK_EQ(ask_ready("GET /sub/", "", false), 's');
    CHECK_EQ(ask_ready("GET /sub/", "Accept-Encoding: gzip\r\n", false), 'r');
    CHECK_STR(w.text, "zip");
    CHECK_EQ(ask_ready("GET /sub/", "Accept-Encoding: br\r\n", false), 'r');
    CHECK_STR(w.text, "<p>sub\n");
    CHECK(keep_responses(false));
    CHECK(world_deinit());
    remove_site();
}

/* Changes a file, as late as it takes for the clock of the file system to have ticked. */
static bool change_file(const char *name, const char *content)
{
    struct stat before, after;
    if (stat(site_path(name), &before) != 0) return false;
    do {
        if (!add_file(name, content) || stat(site_path(name), &after) != 0) return false;
    } while (after.st_ctim.tv_sec == before.st_ctim.tv_sec &&
             after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    return true;
}

TEST(what_has_just_been_changed_is_not_kept)
{
    CHECK(make_site() && world_init(false) && keep_responses(true));
    content_now = (int64_t)time(NULL);
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), '-');
    CHECK(read_body());
    content_now += 10;
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), 's');
    CHECK(change_file("hello.txt", "Other, world!\n")); /* of the same size and time of change */
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), 's');
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), 'r');
    CHECK_STR(w.text, "Other, world!\n");
    CHECK_EQ(responses.stats.changed, 1);
    CHECK(keep_responses(false));
    CHECK(world_deinit());
    remove_site();
}

/* The cache believes what it knows for a while: fields and content are of one version then, too. */
TEST(an_answer_of_what_was_believed_is_made_again)
{
    char tag[80];
    CHECK(make_site() && world_init(false));
    w.cache.stat_ms = w.cache.valid_ms = 1000000;
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), '-');
    snprintf(tag, sizeof(tag), "%s", field("ETag"));
    CHECK(add_file("hello.txt", "now it is longer than it was\n"));
    CHECK_EQ(ask_ready("GET /hello.txt", "", false), '-');
    CHECK(strcmp(tag, field("ETag")) != 0);
    CHECK_EQ(w.response.status, 200);
    CHECK(read_body());
    CHECK_STR(w.text, "now it is longer than it was\n");
    CHECK(add_file("hello.txt", "short\n"));
    CHECK_EQ(ask_ready("GET /hello.txt", "Range: bytes=0-1\r\n", false), '-');
    CHECK_EQ(w.response.status, 206);
    CHECK_STR(field("Content-Range"), "bytes 0-1/6");
    CHECK(read_body());
    CHECK_STR(w.text, "sh");
    CHECK_EQ(w.cache.stat_ms, 1000000);
    CHECK(world_deinit());
    remove_site();
}

TEST_MAIN(T(paths_are_decoded_strictly), T(random_paths_never_leave_the_root),
          T(encoded_paths_decode_to_themselves), T(names_that_cannot_be_asked_for), T(media_types),
          T(files_are_served), T(what_is_not_served), T(links_out_are_followed_when_asked),
          T(unreadable_files_are_forbidden_and_not_listed), T(head_is_get_without_the_body),
          T(methods), T(conditional_answers), T(several_ranges_are_sent_in_parts),
          T(precompressed_files_are_sent_in_place), T(what_is_no_precompressed_file),
          T(neighbours_are_looked_for_once), T(odd_times_are_survived),
          T(folders_are_redirected_to_their_slash), T(policies_are_followed), T(folders_are_listed),
          T(sizes_for_people), T(entries_are_sorted), T(orders_are_asked_for),
          T(folders_are_listed_in_the_order_asked_for), T(folders_are_listed_as_json),
          T(large_folders_are_listed), T(errors_of_the_system_become_statuses),
          T(without_descriptors_503), T(every_allocation_may_fail),
          T(small_files_are_kept_ready),
          T(conditions_ranges_and_codings_come_before_what_is_ready),
          T(what_has_just_been_changed_is_not_kept),
          T(an_answer_of_what_was_believed_is_made_again))
