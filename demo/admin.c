/* admin.c - who may look inside, and at which addresses */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "admin.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "text.h"
#include "values.h"
#include "worker.h"

/* ---- --admin ---- */

void admin_init(admin *a, const options *o)
{
    struct timespec now;
    size_t i;
    memset(a, 0, sizeof(*a));
    a->loopback = o->admin.count == 0;
    for (i = 0; i < o->admin.count; i++) {
        const char *text = o->admin.at[i];
        if (strcmp(text, "all") == 0) a->everybody = true;
        else if (strcmp(text, "loopback") == 0) a->loopback = true;
        else if (value_net(text, &a->nets[a->net_count])) a->net_count++;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    a->started_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    (void)pthread_mutex_init(&a->lock, NULL);
}

void admin_deinit(admin *a)
{
    if (a->started_ms == 0) return;
    (void)pthread_mutex_destroy(&a->lock);
    a->started_ms = 0;
}

/* ---- who may ---- */

static bool is_in(const unsigned char address[16], const value_network *net)
{
    unsigned bytes = net->bits / 8, rest = net->bits % 8;
    if (memcmp(address, net->address, bytes) != 0) return false;
    return rest == 0 || (address[bytes] ^ net->address[bytes]) >> (8 - rest) == 0;
}

static bool is_loopback(const unsigned char address[16])
{
    static const value_network v4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127}, 104};
    static const value_network v6 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128};
    return is_in(address, &v4) || is_in(address, &v6);
}

static bool begins_with(mm_slice text, const char *prefix)
{
    size_t length = strlen(prefix);
    return text.len >= length && text_is_word(mm_slice_make(text.ptr, length), prefix);
}

/* Whether whoever sends the request does so for another: then its address tells nothing. */
static bool is_forwarded(const http_request *request)
{
    static const char *const names[] = {"Forwarded", "Via", "X-Real-IP", "X-Client-IP",
                                        "True-Client-IP", "CF-Connecting-IP"};
    size_t i, k;
    for (i = 0; i < request->header_count; i++) {
        mm_slice name = request->headers[i].name;
        if (begins_with(name, "X-Forwarded-")) return true;
        for (k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            if (text_is_word(name, names[k])) return true;
    }
    return false;
}

/* Whether the host that was asked for is this machine by any resolver: RFC 6761, 6.3. */
static bool names_loopback(const http_request *request)
{
    static const char local[] = ".localhost";
    mm_slice host = http_request_host(request);
    unsigned char address[16];
    char text[INET6_ADDRSTRLEN];
    if (text_is_word(host, local + 1)) return true;
    if (host.len > sizeof(local) - 1 &&
        text_is_word(text_from(host, host.len - (sizeof(local) - 1)), local))
        return true;
    if (host.len > 2 && host.ptr[0] == '[') host = mm_slice_make(host.ptr + 1, host.len - 2);
    if (host.len == 0 || host.len >= sizeof(text)) return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return value_address(text, address) != 0 && is_loopback(address);
}

/* Whether a script of another site asks, which --cors would let read the answer. */
static bool is_foreign(const http_request *request)
{
    const http_header *origin = http_request_header(request, "Origin");
    size_t at = 0;
    if (origin == NULL) return false;
    while (at < origin->value.len && origin->value.ptr[at] != '/') at++;
    at += 2; /* https://host:port */
    return at > origin->value.len ||
           !mm_slice_equal_nocase(text_from(origin->value, at), request->host);
}

bool admin_knows(const admin *a, const char *from)
{
    unsigned char address[16];
    size_t i;
    if (a->everybody) return true;
    if (value_address(from, address) == 0) return false;
    for (i = 0; i < a->net_count; i++)
        if (is_in(address, &a->nets[i])) return true;
    return a->loopback && is_loopback(address);
}

bool admin_admits(const admin *a, const char *from, const http_request *request)
{
    unsigned char address[16];
    size_t i;
    if (is_foreign(request)) return false;
    if (a->everybody) return true;
    if (value_address(from, address) == 0 || is_forwarded(request)) return false;
    for (i = 0; i < a->net_count; i++)
        if (is_in(address, &a->nets[i])) return true;
    return a->loopback && is_loopback(address) && names_loopback(request);
}

/* ---- answers ---- */

static void add_fields(http_response *response, const char *type)
{
    http_response_header(response, "Content-Type", type);
    http_response_header(response, "Cache-Control", "no-store");
    http_response_header(response, "X-Content-Type-Options", "nosniff");
    http_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
}

static void set_body(http_response *response, const void *bytes, size_t size, bool head)
{
    response->content_length = (int64_t)size;
    if (head || mm_chunkqueue_append_mem(response->body, bytes, size) == MM_STATUS_OK) return;
    http_response_error(response, 503, head);
}

static void answer_page(struct worker *w, http_response *response, bool head)
{
    (void)w;
    response->status = 200;
    add_fields(response, "text/html; charset=utf-8");
    http_response_header(response, "Content-Security-Policy",
                         "default-src 'none'; script-src 'self'; style-src 'self'; "
                         "connect-src 'self'; img-src data:; base-uri 'none'; "
                         "form-action 'none'; frame-ancestors 'none'");
    http_response_header(response, "Referrer-Policy", "no-referrer");
    set_body(response, dashboard_html, dashboard_html_size, head);
}

static void answer_style(struct worker *w, http_response *response, bool head)
{
    (void)w;
    response->status = 200;
    add_fields(response, "text/css; charset=utf-8");
    set_body(response, dashboard_css, dashboard_css_size, head);
}

static void answer_script(struct worker *w, http_response *response, bool head)
{
    (void)w;
    response->status = 200;
    add_fields(response, "text/javascript; charset=utf-8");
    set_body(response, dashboard_js, dashboard_js_size, head);
}

static void answer_health(struct worker *w, http_response *response, bool head)
{
    const char *ailment = admin_ailment(w), *text = ailment == NULL ? "ok\n" : ailment;
    response->status = ailment == NULL ? 200 : 503;
    add_fields(response, "text/plain; charset=utf-8");
    if (ailment != NULL) http_response_header(response, "Retry-After", "1");
    set_body(response, text, strlen(text), head);
}

static void answer_report(struct worker *w, http_response *response, bool head, const char *type,
                          void (*report)(struct worker *w, mm_buffer *to))
{
    mm_buffer text;
    mm_buffer_init(&text, mm_arena_allocator(response->arena));
    report(w, &text);
    response->costly = true;
    if (mm_buffer_status(&text) != MM_STATUS_OK) {
        http_response_error(response, 503, head);
        return;
    }
    response->status = 200;
    add_fields(response, type);
    set_body(response, mm_buffer_string(&text), mm_buffer_length(&text), head);
}

static void answer_metrics(struct worker *w, http_response *response, bool head)
{
    answer_report(w, response, head, "text/plain; version=0.0.4; charset=utf-8",
                  admin_report_metrics);
}

static void answer_status(struct worker *w, http_response *response, bool head)
{
    answer_report(w, response, head, "application/json", admin_report_status);
}

typedef struct route {
    const char *path;
    void (*answer)(struct worker *w, http_response *response, bool head);
} route;

/* By the letter: what is written otherwise, percent-encoded for example, is the folder's. */
static const route *find_route(mm_slice path)
{
    static const route routes[] = {
        {"/-/", answer_page},
        {"/-/metrics", answer_metrics},
        {"/-/status.json", answer_status},
        {"/-/health", answer_health},
        {"/-/dashboard.css", answer_style},
        {"/-/dashboard.js", answer_script},
    };
    size_t i;
    if (!admin_is_path(path)) return NULL;
    for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (mm_slice_equal(path, mm_slice_from_string(routes[i].path))) return &routes[i];
    return NULL;
}

bool admin_respond(struct worker *w, const http_request *request, http_response *response,
                   const char *from)
{
    files_call call = {&w->site, request, response, w->now_ms, request->method == HTTP_HEAD,
                       false};
    const route *found = find_route(request->path);
    int status;
    if (found == NULL || !admin_admits(&w->server->admin, from, request)) return false;
    status = files_check_password(&call);
    if (status == 200 && request->method == HTTP_UNKNOWN) status = 501;
    if (status == 200 && request->method > HTTP_OPTIONS) status = 405;
    if (status != 200) http_response_error(response, status, call.head);
    if (status == 401) http_response_header(response, "WWW-Authenticate", files_challenge);
    if (status == 405 || (status == 200 && request->method == HTTP_OPTIONS))
        http_response_header(response, "Allow", "GET, HEAD, OPTIONS");
    if (status == 200 && request->method == HTTP_OPTIONS) response->status = 204;
    else if (status == 200) found->answer(w, response, call.head);
    return true;
}
