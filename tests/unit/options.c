/* demo/options.c: every option, every complaint, and that the manual tells all of it. */
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_io.h"

#include "../../demo/auth.c"
#include "../../demo/date.c"
#include "../../demo/html.c"
#include "../../demo/http.c"
#include "../../demo/manual.c"
#include "../../demo/options.c"
#include "../../demo/values.c"

#include <fcntl.h>
#include <unistd.h>

#include "../harness.h"

static options o;
static int exit_code;
static char out[16384], err[16384]; /* what was printed */

static void slurp(FILE *file, char *text, size_t size)
{
    size_t n;
    rewind(file);
    n = fread(text, 1, size - 1, file);
    text[n] = '\0';
}

/* Parses a command line, whose arguments end with NULL, with both streams caught in files. */
static bool parse_into(FILE *out_file, FILE *err_file, const char *const *arguments)
{
    static char copies[64][256]; /* options point into them */
    char *argv[65];
    int argc, saved_out = dup(1), saved_err = dup(2);
    bool go_on;
    argv[0] = copies[0];
    for (argc = 1; arguments[argc - 1] != NULL; argc++) {
        argv[argc] = copies[argc];
        snprintf(copies[argc], sizeof(copies[argc]), "%s", arguments[argc - 1]);
    }
    argv[argc] = NULL;
    fflush(stdout);
    dup2(fileno(out_file), 1);
    dup2(fileno(err_file), 2);
    exit_code = -1;
    go_on = options_parse(&o, argc, argv, &exit_code);
    fflush(stdout);
    clearerr(stdout);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    return go_on;
}

static bool parse(const char *const *arguments)
{
    FILE *out_file = tmpfile(), *err_file = tmpfile();
    bool go_on = parse_into(out_file, err_file, arguments);
    slurp(out_file, out, sizeof(out));
    slurp(err_file, err, sizeof(err));
    fclose(out_file);
    fclose(err_file);
    return go_on;
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

/* That a command line is refused with exit code 2, nothing on stdout, and one line about it. */
#define CHECK_REFUSED(complaint, ...) \
    do { \
        CHECK(!PARSE(__VA_ARGS__)); \
        CHECK_EQ(exit_code, 2); \
        CHECK_STR(out, ""); \
        CHECK_STR(err, "mmserve: " complaint " (mmserve --help tells more)\n"); \
    } while (0)

TEST(defaults)
{
    CHECK(PARSE(NULL));
    CHECK_EQ(exit_code, 0);
    CHECK_STR(out, "");
    CHECK_STR(err, "");
    CHECK_STR(o.dir, ".");
    CHECK(o.bind.count == 0 && o.cert.count == 0 && o.key.count == 0);
    CHECK(o.max_conns == 0 && o.max_conns_per_ip == 0);
    CHECK_EQ(o.port, 8443);
    CHECK_EQ(o.http_port, -1);
    CHECK_EQ(o.workers, 0);
    CHECK_STR(o.log, "-");
    CHECK_EQ(o.header_timeout, 10);
    CHECK_EQ(o.idle_timeout, 15);
    CHECK_EQ(o.write_timeout, 30);
    CHECK(o.listing && !o.follow && !o.quiet && !o.poll && !o.redirect_http);
}

TEST(values_behind_a_space_or_equals)
{
    CHECK(PARSE("--port", "1", "--http-port=2", "--bind", "::1", "--cert=c.pem", "--key", "k=1.pem",
                "--workers=256", "--log", "-", "folder"));
    CHECK_EQ(o.port, 1);
    CHECK_EQ(o.http_port, 2);
    CHECK_STR(o.bind.at[0], "::1");
    CHECK_STR(o.cert.at[0], "c.pem");
    CHECK_STR(o.key.at[0], "k=1.pem");
    CHECK_EQ(o.workers, 256);
    CHECK_STR(o.log, "-");
    CHECK_STR(o.dir, "folder");
    CHECK(PARSE("--header-timeout", "1", "--idle-timeout=86400", "--write-timeout=007"));
    CHECK_EQ(o.header_timeout, 1);
    CHECK_EQ(o.idle_timeout, 86400);
    CHECK_EQ(o.write_timeout, 7);
}

TEST(flags)
{
    CHECK(PARSE("--no-listing", "--follow", "--quiet", "--poll"));
    CHECK(!o.listing && o.follow && o.quiet && o.poll);
}

TEST(letters)
{
    CHECK(PARSE("-p", "81"));
    CHECK_EQ(o.port, 81);
    CHECK(PARSE("-p82", "-q"));
    CHECK(o.port == 82 && o.quiet);
}

TEST(the_last_of_two_counts)
{
    CHECK(PARSE("--port=1", "-p", "2", "--port", "3"));
    CHECK_EQ(o.port, 3);
}

TEST(folder_anywhere_and_behind_dashes)
{
    CHECK(PARSE("here", "--quiet"));
    CHECK(o.quiet);
    CHECK_STR(o.dir, "here");
    CHECK(PARSE("--", "--quiet"));
    CHECK(!o.quiet);
    CHECK_STR(o.dir, "--quiet");
    CHECK(PARSE("--"));
    CHECK_STR(o.dir, ".");
    CHECK(PARSE("-"));
    CHECK_STR(o.dir, "-");
}

TEST(addresses)
{
    static const char *const good[] = {"127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1%eth0",
                                       "::ffff:10.0.0.1", "unix:/tmp/x", "unix:x:y"};
    static const char *const bad[] = {"localhost", "127.1", "1.2.3.256", "[::1]", "::1%", "%eth0",
                                      "8443", "1.2.3.4 ", ":::1", "unix:",
                                      "Unix:/x", "unix",
                                      "1111:2222:3333:4444:5555:6666:7777:8888:9999:0:0:0:0:0:0:0"};
    size_t i;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK(PARSE("--bind", good[i]));
        CHECK_EQ(o.bind.count, 1);
        CHECK_STR(o.bind.at[0], good[i]);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!PARSE("--bind", bad[i]));
        CHECK_EQ(exit_code, 2);
        CHECK(strstr(err, "--bind: ") != NULL);
        CHECK(strstr(err, "is not a numeric address or unix:PATH") != NULL);
    }
}

TEST(options_given_several_times)
{
    const char *many[OPTIONS_LIST + 2] = {NULL};
    size_t i;
    char path[200];
    CHECK(PARSE("--bind", "127.0.0.1", "--bind=unix:/tmp/s", "--bind", "::1"));
    CHECK_EQ(o.bind.count, 3);
    CHECK_STR(o.bind.at[0], "127.0.0.1");
    CHECK_STR(o.bind.at[1], "unix:/tmp/s");
    CHECK_STR(o.bind.at[2], "::1");
    for (i = 0; i < OPTIONS_LIST; i++) many[i] = "--bind=::1";
    CHECK(parse(many) && o.bind.count == OPTIONS_LIST);
    many[OPTIONS_LIST] = "--bind=::1";
    CHECK(!parse(many) && strstr(err, "--bind: more than 16 times") != NULL);
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    memcpy(path, "unix:", 5);
    CHECK(!PARSE("--bind", path));
    path[5 + sizeof(((struct sockaddr_un *)NULL)->sun_path)] = '\0';
    CHECK(!PARSE("--bind", path));
    path[4 + sizeof(((struct sockaddr_un *)NULL)->sun_path)] = '\0';
    CHECK(PARSE("--bind", path));
}

TEST(values_that_have_a_form)
{
    CHECK(PARSE("--header", "X-A: b", "--header=X-C:d", "--hsts", "--spa", "--cors", "*",
                "--cache-control=*.css:no-cache", "--error-page", "404=404.html"));
    CHECK(o.header.count == 2 && o.hsts && o.spa);
    CHECK_STR(o.header.at[1], "X-C:d");
    CHECK_STR(o.cors, "*");
    CHECK_STR(o.cache_control.at[0], "*.css:no-cache");
    CHECK_STR(o.error_page.at[0], "404=404.html");
    CHECK_REFUSED("--header: \"X\" is not NAME:VALUE of a field that is not the server's own",
                  "--header", "X");
    CHECK(!PARSE("--header", "X: a\nY: b") && exit_code == 2);
    CHECK(strstr(err, "--header: \"X: a?Y: b\" is not NAME:VALUE") != NULL);
    CHECK_REFUSED("--cache-control: \"x\" is not GLOB:VALUE", "--cache-control=x");
    CHECK_REFUSED("--error-page: \"200=x\" is not STATUS=FILE with a status from 400 to 599",
                  "--error-page=200=x");
    CHECK_REFUSED("--cors: \"x\" is not * or an origin such as https://example.com", "--cors=x");
}

TEST(numbers_at_their_ends)
{
    CHECK(PARSE("--port=0", "--http-port=0"));
    CHECK(o.port == 0 && o.http_port == 0);
    CHECK(PARSE("--port=65535", "--workers=1"));
    CHECK(o.port == 65535 && o.workers == 1);
    CHECK_REFUSED("--port: \"65536\" is not a number from 0 to 65535", "--port", "65536");
    CHECK_REFUSED("--http-port: \"-1\" is not a number from 0 to 65535", "--http-port", "-1");
    CHECK_REFUSED("--workers: \"0\" is not a number from 1 to 256", "--workers=0");
    CHECK_REFUSED("--workers: \"257\" is not a number from 1 to 256", "--workers=257");
    CHECK_REFUSED("--idle-timeout: \"0\" is not a number from 1 to 86400", "--idle-timeout=0");
}

TEST(what_is_no_number)
{
    static const char *const bad[] = {"",   " 1", "1 ", "+1", "0x1", "1.5", "1e3",
                                      "one", "４", "4294967297", "18446744073709551617"};
    size_t i;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!PARSE("--port", bad[i]));
        CHECK_EQ(exit_code, 2);
        CHECK(strstr(err, "--port: \"") != NULL && strstr(err, "is not a number") != NULL);
    }
}

TEST(bad_options)
{
    CHECK_REFUSED("unknown option --foo", "--foo");
    CHECK_REFUSED("unknown option --foo", "--foo=bar");
    CHECK_REFUSED("unknown option --por", "--por", "1");
    CHECK_REFUSED("unknown option --ports", "--ports=1");
    CHECK_REFUSED("unknown option --", "--=1");
    CHECK_REFUSED("unknown option -x", "-x");
    CHECK_REFUSED("unknown option -qV", "-qV");
    CHECK_REFUSED("unknown option -bind", "-bind");
    CHECK_REFUSED("--port: the value N is missing", "--port");
    CHECK_REFUSED("--port: the value N is missing", "-p");
    CHECK_REFUSED("--cert: the value FILE is missing", "--cert", "--key", "k.pem");
    CHECK_REFUSED("--cert: the value is empty", "--cert=");
    CHECK_REFUSED("--log: the value is empty", "--log", "");
    CHECK_REFUSED("--quiet: takes no value", "--quiet=yes");
    CHECK_REFUSED("--help: takes no value", "--help=");
    CHECK_REFUSED("the folder's name is empty", "");
    CHECK_REFUSED("two folders, \"a\" and \"b\"", "a", "b");
}

TEST(options_that_do_not_go_together)
{
    CHECK_REFUSED("--key: needs --cert as well", "--key", "k.pem");
    CHECK_REFUSED("--key: more of them than of --cert", "--key=a", "--cert=b", "--key=c");
    CHECK_REFUSED("--redirect-http: needs --http-port as well", "--redirect-http");
    CHECK(PARSE("--redirect-http", "--http-port=0") && o.redirect_http);
    CHECK_REFUSED("--http-port: 8443 is the port of HTTPS already", "--http-port=8443");
    CHECK(PARSE("--key=k.pem", "--cert=c.pem"));
}

TEST(complaints_are_one_line_whatever_the_argument)
{
    char text[256];
    CHECK_REFUSED("unknown option --a?b??c", "--a\nb\r\x1b" "c");
    CHECK_REFUSED("--port: \"?\" is not a number from 0 to 65535", "--port", "\x7f");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK(!PARSE("--port", text) && strlen(err) < 512);
    CHECK(!PARSE("--bind", text) && strlen(err) < 512);
    CHECK(!PARSE(text, text) && strlen(err) < 512);
    CHECK(strchr(err, '\n') == err + strlen(err) - 1);
    CHECK(strstr(err, "(mmserve --help tells more)\n") != NULL);
    text[0] = text[1] = '-';
    CHECK(!PARSE(text) && strlen(err) < 512);
}

TEST(version)
{
    CHECK(!PARSE("--version", "--unknown"));
    CHECK_EQ(exit_code, 0);
    CHECK_STR(out, "mmserve " MM_VERSION "\n");
    CHECK_STR(err, "");
    CHECK(!PARSE("-V") && exit_code == 0);
}

TEST(help_tells_all_options)
{
    size_t i;
    CHECK(!PARSE("--quiet", "--help"));
    CHECK_EQ(exit_code, 0);
    CHECK_STR(err, "");
    for (i = 0; i < RULES; i++) {
        char text[64];
        const char *at;
        snprintf(text, sizeof(text), " --%s%s%s", rules[i].name, rules[i].value ? " " : "",
                 rules[i].value ? rules[i].value : "");
        at = strstr(out, text);
        CHECK(at != NULL && (at[strlen(text)] == ' ' || at[strlen(text)] == '\n'));
    }
    CHECK(strstr(out, "(0 to 65535; default: 8443)") != NULL);
    CHECK(strstr(out, "SIGTERM") != NULL && strstr(out, "Exit codes:") != NULL);
    CHECK(!PARSE("-h") && exit_code == 0);
}

TEST(help_fits_a_terminal)
{
    const char *line, *end;
    CHECK(!PARSE("--help"));
    for (line = out; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        CHECK(end - line <= 92);
        CHECK(end == line || end[-1] != ' ');
    }
    CHECK(*line == '\0');
}

TEST(help_that_cannot_be_written)
{
    FILE *full = fopen("/dev/full", "w"), *err_file = tmpfile();
    bool go_on;
    if (full == NULL) return; /* a system without that device */
    go_on = parse_into(full, err_file, (const char *const[]){"--help", NULL});
    slurp(err_file, err, sizeof(err));
    fclose(full);
    fclose(err_file);
    CHECK(!go_on);
    CHECK_EQ(exit_code, 1);
    CHECK_STR(err, "mmserve: cannot write to standard output\n");
}

TEST_MAIN(T(defaults), T(values_behind_a_space_or_equals), T(flags), T(letters),
          T(the_last_of_two_counts), T(folder_anywhere_and_behind_dashes), T(addresses),
          T(options_given_several_times), T(values_that_have_a_form), T(numbers_at_their_ends),
          T(what_is_no_number), T(bad_options), T(options_that_do_not_go_together),
          T(complaints_are_one_line_whatever_the_argument), T(version), T(help_tells_all_options),
          T(help_fits_a_terminal), T(help_that_cannot_be_written))
