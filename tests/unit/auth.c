/* demo/auth.c: names and passwords, and what guessing them costs whom. */
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_io.h"

#include "../../demo/auth.c"
#include "../../demo/date.c"
#include "../../demo/html.c"
#include "../../demo/http.c"

#include "../harness.h"

/* The password is "secret" in both. */
#define SHA "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
#define KEY \
    "11:7D:D3:73:87:D5:8C:F4:84:EB:29:63:57:81:FF:47:"                          \
    "EB:B8:7E:73:F8:4D:E7:19:7E:10:CA:EB:38:FC:8A:49"
/* And "p\xC3\xA4:ss" here. */
#define SLOW \
    "pbkdf2:600000:0011223344556677:" \
    "e1a956146ae71a8ffe0f2e07a1776f2d9eea6ed49912cc85c7714dec9c9f0914"

static auth_users users;
static auth_guard guard;
static mm_arena arena;
static bool slow;

static bool start(const char *first, const char *second)
{
    options o;
    memset(&o, 0, sizeof(o));
    o.auth.at[o.auth.count++] = first;
    if (second != NULL) o.auth.at[o.auth.count++] = second;
    auth_users_init(&users, &o);
    return users.count == o.auth.count && auth_guard_init(&guard, &users);
}

/* The verdict on a request with this Authorization, and perhaps another one. */
static int check(const char *value, const char *value2, int64_t now_ms)
{
    static http_request request;
    int status;
    mm_arena_init(&arena, NULL);
    request.header_count = value == NULL ? 0 : value2 == NULL ? 1 : 2;
    request.headers[0].name = request.headers[1].name = mm_slice_from_string("Authorization");
    request.headers[0].value = mm_slice_from_string(value == NULL ? "" : value);
    request.headers[1].value = mm_slice_from_string(value2 == NULL ? "" : value2);
    http_request_index(&request);
    status = auth_check(&guard, &request, &arena, now_ms, &slow);
    mm_arena_deinit(&arena);
    return status;
}

static int check_pair(const char *pair, int64_t now_ms)
{
    mm_buffer value = {0};
    int status;
    mm_buffer_append_string(&value, "Basic ");
    mm_buffer_append_base64(&value, mm_slice_from_string(pair), MM_BASE64_STANDARD);
    status = check(mm_buffer_string(&value), NULL, now_ms);
    mm_buffer_deinit(&value);
    return status;
}

TEST(users_are_read)
{
    static const char *const good[] = {"a:" SHA, "a b:pbkdf2:1000:0011223344556677:" KEY,
                                       "a:PBKDF2:5000000:0011223344556677:" KEY, "a:" SLOW};
    static const char *const bad[] = {
        "", "a", "a:", ":" SHA, "a:secret", "a:" SHA "00", "a:" SHA "0", "a:x" SHA, "a:" SHA ":",
        "a:pbkdf2", "a:pbkdf2:1000", "a:pbkdf2:1000:0011223344556677",
        "a:pbkdf2:999:0011223344556677:" KEY,
        "a:pbkdf2:5000001:0011223344556677:" KEY, "a:pbkdf2:99999999999:0011223344556677:" KEY,
        "a:pbkdf2:-1000:0011223344556677:" KEY, "a:pbkdf2:1000:00112233445566:" KEY,
        "a:pbkdf2:1000:001122334455667:" KEY, "a:pbkdf2:1000:001122334455667g:" KEY,
        "a:pbkdf2:1000:0011223344556677:" KEY ":00", "a:pbkdf2:1000:0011223344556677:00",
        "a:pbkdf2:1000:0011223344556677:", "a:pbkdf1:1000:0011223344556677:" KEY};
    char salt[400] = "a:pbkdf2:1000:";
    auth_user user;
    size_t i;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) CHECK(auth_parse(good[i], &user));
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (auth_parse(bad[i], &user)) printf("      %s\n", bad[i]);
        CHECK(!auth_parse(bad[i], &user));
    }
    for (i = 0; i < sizeof(user.salt); i++) strcat(salt, "ab");
    strcat(salt, ":" KEY);
    CHECK(auth_parse(salt, &user) && user.salt_size == sizeof(user.salt));
    memmove(salt + 16, salt + 14, strlen(salt) - 13);
    CHECK(!auth_parse(salt, &user));
}

TEST(passwords)
{
    CHECK(start("ann:" SHA, "bob:pbkdf2:1000:0011223344556677:" KEY));
    CHECK_EQ(check_pair("ann:secret", 0), 200);
    CHECK(!slow);
    CHECK_EQ(check_pair("bob:secret", 0), 200);
    CHECK(slow);
    CHECK_EQ(check_pair("bob:secret", 0), 200);
    CHECK(!slow); /* remembered */
    CHECK_EQ(check_pair("ann:secret", 0), 200);
    CHECK_EQ(check_pair("ann:Secret", 0), 401);
    CHECK_EQ(check_pair("bob:secre", 0), 401);
    CHECK_EQ(check_pair("bob:secrets", 0), 401);
    CHECK_EQ(check_pair("Bob:secret", 0), 401);
    CHECK_EQ(check_pair("eve:secret", 0), 401);
    CHECK_EQ(check_pair("ann:", 0), 401);
    CHECK_EQ(check_pair(":secret", 0), 401);
    CHECK_EQ(check_pair("ann", 0), 401);
    CHECK_EQ(check_pair("", 0), 401);
    CHECK_EQ(check_pair("ann:secret:", 0), 401);
    CHECK_EQ(check_pair("annbob:secret", 0), 401);
}

TEST(a_password_may_have_colons_and_other_letters)
{
    CHECK(start("a b:" SLOW, NULL));
    CHECK_EQ(check_pair("a b:p\xC3\xA4:ss", 0), 200);
    CHECK_EQ(check_pair("a b:p\xC3\xA4", 0), 401);
}

TEST(fields_that_are_none)
{
    static const char *const bad[] = {"", "Basic", "Basic ", "Basic !", "Basic YW5uOnNlY3JldA",
                                      "Basic YW5uOnNlY3JldA=", "Basic  ", "Bearer YW5uOnNlY3JldA==",
                                      "YW5uOnNlY3JldA==", "Basic YW5uOnNlY3JldA== x",
                                      "Basic,YW5uOnNlY3JldA==", "Basic\tYW5uOnNlY3JldA=="};
    size_t i;
    char text[2000] = "Basic ";
    CHECK(start("ann:" SHA, NULL));
    CHECK_EQ(check("Basic YW5uOnNlY3JldA==", NULL, 0), 200);
    CHECK_EQ(check("bASIC   YW5uOnNlY3JldA==", NULL, 0), 200);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK_EQ(check(bad[i], NULL, 0), 401);
    CHECK_EQ(check(NULL, NULL, 0), 401);
    CHECK_EQ(check("Basic YW5uOnNlY3JldA==", "Basic YW5uOnNlY3JldA==", 0), 401);
    memset(text + 6, 'Y', AUTH_CREDENTIALS + 4);
    CHECK_EQ(check(text, NULL, 0), 401);
    text[6 + AUTH_CREDENTIALS] = '\0';
    CHECK_EQ(check(text, NULL, 0), 401);
}

/* Two wrong passwords of 600,000 iterations are what a worker's second has room for. */
TEST(guessing_is_slow)
{
    CHECK(start("a b:" SLOW, NULL));
    CHECK_EQ(check_pair("a b:1", 10000), 401);
    CHECK(slow);
    CHECK_EQ(check_pair("nobody:2", 10001), 401); /* as slow: nobody learns who exists */
    CHECK(slow);
    CHECK_EQ(check_pair("a b:3", 10999), 429);
    CHECK(!slow);
    CHECK_EQ(check_pair("nobody:4", 10999), 429);
    CHECK_EQ(check_pair("a b:p\xC3\xA4:ss", 10999), 429); /* nor whether it is right */
    CHECK_EQ(check_pair("a b:p\xC3\xA4:ss", 11000), 200);
    CHECK_EQ(check_pair("a b:1", 11001), 401);
    CHECK_EQ(check_pair("a b:1", 11002), 401);
    CHECK_EQ(check_pair("a b:1", 11003), 429);
    CHECK_EQ(check_pair("a b:p\xC3\xA4:ss", 11004), 200); /* who is known does not wait */
    CHECK(!slow);
    CHECK_EQ(check(NULL, NULL, 11004), 401);
}

TEST_MAIN(T(users_are_read), T(passwords), T(a_password_may_have_colons_and_other_letters),
          T(fields_that_are_none), T(guessing_is_slow))
