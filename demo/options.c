/* options.c - the command line */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "options.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../mm_buffer.h" /* MM_VERSION */
#include "auth.h"
#include "manual.h"
#include "values.h"

typedef enum rule_kind {
    RULE_TEXT,    /* takes any text that is not empty */
    RULE_LIST,    /* takes a text that `check` knows, and may be given several times */
    RULE_NUMBER,  /* takes a decimal number from min to max */
    RULE_ON,      /* takes nothing, sets a bool that is false by default */
    RULE_OFF,     /* takes nothing, clears a bool that is true by default */
    RULE_HELP,
    RULE_VERSION
} rule_kind;

/* All that is known of an option: the parser, the defaults and the help are made from it. */
typedef struct rule {
    const char *name;  /* behind two dashes */
    char letter;       /* behind one dash; 0: none */
    rule_kind kind;
    size_t field;      /* what it sets: offset in options */
    const char *value; /* what help calls its value */
    int min, max;      /* of a number */
    int number;        /* default of a number */
    const char *text;  /* default of a text; may be NULL */
    bool (*check)(const char *text); /* whether a text is one; NULL: every one is */
    const char *wanted; /* what it is to be, for the complaint */
    const char *shown; /* help's word for the default; NULL: the default itself */
    const char *help;  /* one line or more; range and default are put behind it */
} rule;

#define FIELD(member) offsetof(options, member)

static bool is_bind(const char *text);
static bool is_auth(const char *text);
static bool is_log_format(const char *text);
static bool is_header(const char *text);
static bool is_cache_control(const char *text);
static bool is_error_page(const char *text);
static bool is_upload(const char *text);
static bool is_size(const char *text);
static bool is_memory(const char *text);
static bool is_profile(const char *text);
static bool is_admin(const char *text);

static const rule rules[] = {
    {.name = "port", .letter = 'p', .kind = RULE_NUMBER, .field = FIELD(port), .value = "N",
     .min = 0, .max = 65535, .number = 8443,
     .help = "port of HTTPS; 0 is any free one, which is printed\n"},
    {.name = "http-port", .kind = RULE_NUMBER, .field = FIELD(http_port), .value = "N",
     .min = 0, .max = 65535, .number = -1, .shown = "none",
     .help = "port of plain HTTP beside it, not encrypted\n"},
    {.name = "redirect-http", .kind = RULE_ON, .field = FIELD(redirect_http),
     .help = "answer on --http-port with a redirect to HTTPS, and nothing else"},
    {.name = "bind", .kind = RULE_LIST, .field = FIELD(bind), .value = "ADDR",
     .check = is_bind, .wanted = "a numeric address or unix:PATH", .shown = "[::] and 0.0.0.0",
     .help = "numeric address to listen on, such as 127.0.0.1 or ::1, or\n"
             "unix:PATH for a socket that takes both HTTPS and HTTP\n"},
    {.name = "cert", .kind = RULE_LIST, .field = FIELD(cert), .value = "FILE",
     .shown = "made in memory",
     .help = "certificate in PEM form, followed by its chain; of several the\n"
             "client's server name chooses, and the first is the default\n"},
    {.name = "key", .kind = RULE_LIST, .field = FIELD(key), .value = "FILE",
     .shown = "in the file of --cert",
     .help = "private key in PEM form, not encrypted; the first is that of\n"
             "the first --cert, and so on\n"},
    {.name = "ticket-keys", .kind = RULE_TEXT, .field = FIELD(ticket_keys), .value = "FILE",
     .shown = "made in memory, a new one every hour",
     .help = "keys of session tickets, 80 random bytes each, for several\n"
             "servers to share: the first seals, all 1 to 8 open\n"},
    {.name = "workers", .kind = RULE_NUMBER, .field = FIELD(workers), .value = "N",
     .min = 1, .max = 256, .number = 0, .shown = "one a core",
     .help = "threads that serve "},
    {.name = "log", .kind = RULE_TEXT, .field = FIELD(log), .value = "FILE", .text = "-",
     .help = "access log, a line per answer, appended to FILE; - is standard\n"
             "output, none is no log "},
    {.name = "log-format", .kind = RULE_TEXT, .field = FIELD(log_format), .value = "FORMAT",
     .text = "combined", .check = is_log_format, .wanted = "combined or json",
     .help = "how its lines are written: combined or json "},
    {.name = "drain", .kind = RULE_NUMBER, .field = FIELD(drain), .value = "S",
     .min = 0, .max = 86400, .number = 30,
     .help = "seconds for the answers under way when the server is to end\n"},
    {.name = "header-timeout", .kind = RULE_NUMBER, .field = FIELD(header_timeout), .value = "S",
     .min = 1, .max = 86400, .number = 10,
     .help = "seconds for a TLS handshake, and for a whole request head\n"},
    {.name = "idle-timeout", .kind = RULE_NUMBER, .field = FIELD(idle_timeout), .value = "S",
     .min = 1, .max = 86400, .number = 15,
     .help = "seconds that a connection stays open between requests\n"},
    {.name = "write-timeout", .kind = RULE_NUMBER, .field = FIELD(write_timeout), .value = "S",
     .min = 1, .max = 86400, .number = 30,
     .help = "seconds for a client to take the next bytes of an answer,\n"
             "and for a request body\n"},
    {.name = "max-conns", .kind = RULE_NUMBER, .field = FIELD(max_conns), .value = "N",
     .min = 1, .max = 10000000, .shown = "as many as descriptors allow",
     .help = "connections at a time; others wait until one has ended\n"},
    {.name = "max-conns-per-ip", .kind = RULE_NUMBER, .field = FIELD(max_conns_per_ip),
     .value = "N", .min = 1, .max = 10000000, .shown = "any number",
     .help = "connections at a time of one client, which is an IPv4 address\n"
             "or an IPv6 /64; more are closed at once\n"},
    {.name = "header", .kind = RULE_LIST, .field = FIELD(header), .value = "NAME:VALUE",
     .check = is_header, .wanted = "NAME:VALUE of a field that is not the server's own",
     .shown = "none", .help = "field that every answer has\n"},
    {.name = "cache-control", .kind = RULE_LIST, .field = FIELD(cache_control),
     .value = "GLOB:VALUE", .check = is_cache_control, .wanted = "GLOB:VALUE", .shown = "none",
     .help = "Cache-Control of the files that GLOB fits: their names, or\n"
             "their paths when it has a slash in it; the first one counts\n"},
    {.name = "auth", .kind = RULE_LIST, .field = FIELD(auth), .value = "USER:HASH",
     .check = is_auth, .wanted = "USER:HASH", .shown = "everybody may read",
     .help = "who may read, and a hash of the password: see below\n"},
    {.name = "cors", .kind = RULE_TEXT, .field = FIELD(cors), .value = "ORIGIN",
     .check = value_origin, .wanted = "* or an origin such as https://example.com",
     .shown = "none", .help = "site whose scripts may read the files; * is every site\n"},
    {.name = "hsts", .kind = RULE_ON, .field = FIELD(hsts),
     .help = "tell browsers to use nothing but HTTPS here for a year"},
    {.name = "spa", .kind = RULE_ON, .field = FIELD(spa),
     .help = "answer addresses of nothing with index.html, unless they have\n"
             "a dot in the last name"},
    {.name = "error-page", .kind = RULE_LIST, .field = FIELD(error_page),
     .value = "STATUS=FILE", .check = is_error_page,
     .wanted = "STATUS=FILE with a status from 400 to 599", .shown = "made by the server",
     .help = "page for an error: a file in DIR, or else any other\n"},
    {.name = "no-listing", .kind = RULE_OFF, .field = FIELD(listing),
     .help = "do not list folders that have no index.html"},
    {.name = "follow", .kind = RULE_ON, .field = FIELD(follow),
     .help = "let symbolic links lead out of DIR"},
    {.name = "upload", .kind = RULE_LIST, .field = FIELD(upload), .value = "/PREFIX=DIR",
     .check = is_upload, .wanted = "/PREFIX=DIR", .shown = "none",
     .help = "let clients PUT files below /PREFIX into the folder DIR; needs\n"
             "--upload-token-file or --upload-open\n"},
    {.name = "upload-token-file", .kind = RULE_TEXT, .field = FIELD(upload_token_file),
     .value = "FILE", .shown = "none",
     .help = "who may: tokens, one a line, of 16 characters or more; a\n"
             "client shows one as Authorization: Bearer TOKEN\n"},
    {.name = "upload-open", .kind = RULE_ON, .field = FIELD(upload_open),
     .help = "let everybody PUT files, or everybody that --auth lets in"},
    {.name = "upload-max", .kind = RULE_TEXT, .field = FIELD(upload_max), .value = "SIZE",
     .text = "1G", .check = is_size, .wanted = "a number of bytes, or of K, M, G or T",
     .help = "largest file to be put "},
    {.name = "upload-fsync", .kind = RULE_ON, .field = FIELD(upload_fsync),
     .help = "answer when the file is on the disk, not only in the system's\n"
             "cache"},
    {.name = "memory", .kind = RULE_TEXT, .field = FIELD(memory), .value = "SIZE",
     .check = is_memory, .wanted = "a number of bytes, or of K, M, G or T, from 16M on",
     .shown = "half of what --profile is for, or of what there is",
     .help = "most memory that the server may have, all included: when it\n"
             "becomes short, caches shrink and clients are turned away\n"},
    {.name = "profile", .kind = RULE_TEXT, .field = FIELD(profile), .value = "NAME",
     .check = is_profile, .wanted = "small, medium or large",
     .shown = "the largest that fits this machine",
     .help = "sizes of caches and buffers: small is for 2 GiB and 1,000\n"
             "connections, medium for 8 GiB and 10,000, large for 32 GiB\n"
             "and 100,000 "},
    {.name = "admin", .kind = RULE_LIST, .field = FIELD(admin), .value = "WHO",
     .check = is_admin, .wanted = "off, loopback, all, or an address or network",
     .shown = "loopback",
     .help = "who may see /-/, the server's inside: clients on this machine\n"
             "(loopback), at an ADDRESS or ADDRESS/BITS, all, or nobody (off)\n"},
    {.name = "user", .kind = RULE_TEXT, .field = FIELD(user), .value = "NAME[:GROUP]",
     .shown = "stay who you are",
     .help = "user to become once sockets, keys and the log are open\n"},
    {.name = "chroot", .kind = RULE_TEXT, .field = FIELD(chroot), .value = "DIR",
     .shown = "none",
     .help = "folder to see nothing outside of from then on; needs --user\n"},
    {.name = "no-sandbox", .kind = RULE_OFF, .field = FIELD(sandbox),
     .help = "do without Landlock and seccomp where the kernel has them"},
    {.name = "poll", .kind = RULE_ON, .field = FIELD(poll),
     .help = "wait with poll even where there is epoll"},
    {.name = "quiet", .letter = 'q', .kind = RULE_ON, .field = FIELD(quiet),
     .help = "print nothing at start"},
    {.name = "help", .letter = 'h', .kind = RULE_HELP, .help = "print this text and exit"},
    {.name = "version", .letter = 'V', .kind = RULE_VERSION, .help = "print the version and exit"},
};

enum { RULES = sizeof(rules) / sizeof(rules[0]) };

static bool takes_value(const rule *r)
{
    return r->kind == RULE_TEXT || r->kind == RULE_LIST || r->kind == RULE_NUMBER;
}

/* ---- the manual ---- */

enum { HELP_INDENT = 27 };

static void print_values(const rule *r)
{
    if (!takes_value(r)) return;
    printf("(");
    if (r->kind == RULE_LIST) printf("several times; ");
    if (r->kind == RULE_NUMBER) printf("%d to %d; ", r->min, r->max);
    if (r->shown != NULL) printf("default: %s)", r->shown);
    else if (r->kind == RULE_NUMBER) printf("default: %d)", r->number);
    else printf("default: %s)", r->text);
}

static void print_rule(const rule *r)
{
    const char *line = r->help, *end;
    int width = r->letter != 0 ? printf("  -%c, --%s", r->letter, r->name)
                               : printf("      --%s", r->name);
    if (r->value != NULL) width += printf(" %s", r->value);
    if (width >= HELP_INDENT) printf("\n%*s", HELP_INDENT, "");
    else printf("%*s", HELP_INDENT - width, "");
    for (; (end = strchr(line, '\n')) != NULL; line = end + 1)
        printf("%.*s%*s", (int)(end + 1 - line), line, HELP_INDENT, "");
    printf("%s", line);
    print_values(r);
    printf("\n");
}

static void print_help(void)
{
    size_t i;
    fputs(manual_start, stdout);
    for (i = 0; i < RULES; i++) print_rule(&rules[i]);
    for (i = 0; manual_end[i] != NULL; i++) fputs(manual_end[i], stdout);
}

/* ---- the parser ---- */

typedef struct parser {
    options *o;
    char **argv; /* `argc` of them; argv[next] is looked at next */
    int argc, next;
    bool has_dir;
    bool ended;    /* the program is not to go on, */
    int exit_code; /* but to exit with this */
} parser;

/* Ends the parsing with one line, whatever bytes the arguments have. */
static void fail(parser *p, const char *format, ...) MM_FORMAT(2, 3);
static void fail(parser *p, const char *format, ...)
{
    char line[512], *c;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    for (c = line; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    fprintf(stderr, "mmserve: %s (mmserve --help tells more)\n", line);
    p->ended = true;
    p->exit_code = 2;
}

static void set_default(options *o, const rule *r)
{
    char *field = (char *)o + r->field;
    bool on = r->kind == RULE_OFF;
    if (r->kind == RULE_TEXT) memcpy(field, &r->text, sizeof(r->text));
    if (r->kind == RULE_NUMBER) memcpy(field, &r->number, sizeof(r->number));
    if (r->kind == RULE_ON || r->kind == RULE_OFF) memcpy(field, &on, sizeof(on));
}

/* Numeric, IPv6 perhaps with a zone (fe80::1%eth0); not the short forms such as 127.1. */
static bool is_address(const char *text)
{
    unsigned char ip[16];
    char head[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "%");
    if (inet_pton(AF_INET, text, ip) == 1) return true;
    if (length >= sizeof(head) || (text[length] == '%' && text[length + 1] == '\0')) return false;
    memcpy(head, text, length);
    head[length] = '\0';
    return inet_pton(AF_INET6, head, ip) == 1;
}

static void set_number(parser *p, const rule *r, const char *text)
{
    size_t length = strlen(text);
    bool valid = length > 0 && length <= 9 && strspn(text, "0123456789") == length;
    int number = valid ? atoi(text) : -1;
    if (!valid || number < r->min || number > r->max)
        fail(p, "--%s: \"%.200s\" is not a number from %d to %d", r->name, text, r->min, r->max);
    else memcpy((char *)p->o + r->field, &number, sizeof(number));
}

/* The path of a Unix socket must fit into its address, with a NUL. */
static bool is_bind(const char *text)
{
    if (strncmp(text, "unix:", 5) != 0) return is_address(text);
    return text[5] != '\0' && strlen(text + 5) < sizeof(((struct sockaddr_un *)NULL)->sun_path);
}

static bool is_auth(const char *text)
{
    auth_user user;
    return auth_parse(text, &user);
}

static bool is_log_format(const char *text)
{
    return strcmp(text, "combined") == 0 || strcmp(text, "json") == 0;
}

static bool is_header(const char *text)
{
    value_pair pair;
    return value_header(text, &pair);
}

static bool is_cache_control(const char *text)
{
    value_pair pair;
    return value_cache_control(text, &pair);
}

static bool is_error_page(const char *text)
{
    value_pair pair;
    return value_error_page(text, &pair);
}

static bool is_upload(const char *text)
{
    value_pair pair;
    return value_upload(text, &pair);
}

static bool is_size(const char *text)
{
    return value_size(text) >= 0;
}

/* Less than 16 MiB the program itself and OpenSSL would fill. */
static bool is_memory(const char *text)
{
    return value_size(text) >= INT64_C(16) << 20;
}

static bool is_profile(const char *text)
{
    return strcmp(text, "small") == 0 || strcmp(text, "medium") == 0 ||
           strcmp(text, "large") == 0;
}

static bool is_admin(const char *text)
{
    value_network net;
    return strcmp(text, "off") == 0 || strcmp(text, "loopback") == 0 || strcmp(text, "all") == 0 ||
           value_net(text, &net);
}

static void add_to_list(parser *p, const rule *r, const char *text)
{
    options_list *list = (options_list *)(void *)((char *)p->o + r->field);
    if (list->count == OPTIONS_LIST) fail(p, "--%s: more than %d times", r->name, OPTIONS_LIST);
    else list->at[list->count++] = text;
}

static void set_text(parser *p, const rule *r, const char *text)
{
    if (*text == '\0') fail(p, "--%s: the value is empty", r->name);
    else if (r->check != NULL && !r->check(text))
        fail(p, "--%s: \"%.200s\" is not %s", r->name, text, r->wanted);
    else if (r->kind == RULE_LIST) add_to_list(p, r, text);
    else memcpy((char *)p->o + r->field, &text, sizeof(text));
}

/* Ends the parsing after something has been printed, which may have failed. */
static void finish(parser *p)
{
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (!written) fprintf(stderr, "mmserve: cannot write to standard output\n");
    p->ended = true;
    p->exit_code = written ? 0 : 1;
}

static void apply(parser *p, const rule *r, const char *value)
{
    bool on = r->kind == RULE_ON;
    switch (r->kind) {
    case RULE_TEXT:
    case RULE_LIST: set_text(p, r, value); break;
    case RULE_NUMBER: set_number(p, r, value); break;
    case RULE_ON:
    case RULE_OFF: memcpy((char *)p->o + r->field, &on, sizeof(on)); break;
    case RULE_HELP: print_help(); finish(p); break;
    case RULE_VERSION: printf("mmserve %s\n", MM_VERSION); finish(p); break;
    }
}

/* Applies an option whose attached value ("--port=1", "-p1") is `value`, or NULL. */
static void use_rule(parser *p, const rule *r, const char *value)
{
    if (!takes_value(r)) {
        if (value != NULL) fail(p, "--%s: takes no value", r->name);
        else apply(p, r, NULL);
        return;
    }
    if (value == NULL && p->next < p->argc && strncmp(p->argv[p->next], "--", 2) != 0)
        value = p->argv[p->next++];
    if (value == NULL) fail(p, "--%s: the value %s is missing", r->name, r->value);
    else apply(p, r, value);
}

static void parse_long(parser *p, const char *argument)
{
    size_t i, length = strcspn(argument + 2, "=");
    const char *value = argument[2 + length] == '=' ? argument + 2 + length + 1 : NULL;
    for (i = 0; i < RULES; i++) {
        if (strlen(rules[i].name) != length) continue;
        if (memcmp(rules[i].name, argument + 2, length) != 0) continue;
        use_rule(p, &rules[i], value);
        return;
    }
    fail(p, "unknown option %.*s", (int)(length < 100 ? length + 2 : 102), argument);
}

/* "-q", "-p 1" and "-p1", but not several letters behind one dash. */
static void parse_short(parser *p, const char *argument)
{
    const char *value = argument[2] != '\0' ? argument + 2 : NULL;
    size_t i;
    for (i = 0; i < RULES; i++) {
        if (rules[i].letter != argument[1]) continue;
        if (value != NULL && !takes_value(&rules[i])) break;
        use_rule(p, &rules[i], value);
        return;
    }
    fail(p, "unknown option %.100s", argument);
}

static void parse_dir(parser *p, const char *argument)
{
    if (p->has_dir) fail(p, "two folders, \"%.150s\" and \"%.150s\"", p->o->dir, argument);
    else if (*argument == '\0') fail(p, "the folder's name is empty");
    p->o->dir = argument;
    p->has_dir = true;
}

static void check_uploads(parser *p)
{
    const options *o = p->o;
    bool token = o->upload_token_file != NULL;
    if (o->upload.count > 0 && !token && !o->upload_open)
        fail(p, "--upload: needs --upload-token-file, or else --upload-open");
    else if (o->upload.count == 0 && (token || o->upload_open || o->upload_fsync))
        fail(p, "--upload-%s: needs --upload as well",
             token ? "token-file" : o->upload_open ? "open" : "fsync");
    else if (token && o->upload_open)
        fail(p, "--upload-open: is not for those who need a token (--upload-token-file)");
}

static bool has_text(const options_list *list, const char *text)
{
    size_t i;
    for (i = 0; i < list->count; i++)
        if (strcmp(list->at[i], text) == 0) return true;
    return false;
}

static void check_together(parser *p)
{
    const options *o = p->o;
    check_uploads(p);
    if (p->ended) return;
    if (o->key.count > 0 && o->cert.count == 0) fail(p, "--key: needs --cert as well");
    else if (o->key.count > o->cert.count) fail(p, "--key: more of them than of --cert");
    else if (o->chroot != NULL && o->user == NULL) fail(p, "--chroot: needs --user as well");
    else if (o->admin.count > 1 && has_text(&o->admin, "off"))
        fail(p, "--admin: off leaves nobody, so that it cannot be given with another");
    else if (o->redirect_http && o->http_port < 0)
        fail(p, "--redirect-http: needs --http-port as well");
    else if (o->port == o->http_port && o->port != 0)
        fail(p, "--http-port: %d is the port of HTTPS already", o->port);
}

bool options_parse(options *o, int argc, char **argv, int *exit_code)
{
    parser p = {.o = o, .argv = argv, .argc = argc, .next = 1};
    bool only_dir = false;
    size_t i;
    memset(o, 0, sizeof(*o));
    for (i = 0; i < RULES; i++) set_default(o, &rules[i]);
    o->dir = ".";
    while (!p.ended && p.next < argc) {
        const char *argument = argv[p.next++];
        if (only_dir || argument[0] != '-' || argument[1] == '\0') parse_dir(&p, argument);
        else if (argument[1] != '-') parse_short(&p, argument);
        else if (argument[2] != '\0') parse_long(&p, argument);
        else only_dir = true;
    }
    if (!p.ended) check_together(&p);
    *exit_code = p.exit_code;
    return !p.ended;
}
