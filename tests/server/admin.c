/* demo/admin.c, admin_report.c and figures.c: who is let in by which request, the figures of turns
 * and of latency, and reports without memory. Linked with the server's objects, but for main and
 * for mm, which this file stands in for. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_heap.h"
#include "../../mm_io.h"

#include "../../demo/worker.h"
#include "../harness.h"

static test_allocator memory, scratch;
static options o;
static server s;
static worker workers[2];
static http_request request;

/* ---- who is let in ---- */

static void ask(const char *host, const char *name, const char *value)
{
    memset(&request, 0, sizeof(request));
    request.host = mm_slice_from_string(host);
    request.path = mm_slice_from_string("/-/metrics");
    request.keep_alive = true;
    if (name == NULL) return;
    request.headers[0].name = mm_slice_from_string(name);
    request.headers[0].value = mm_slice_from_string(value);
    request.header_count = 1;
    http_request_index(&request);
}

static void set_up(admin *a, const char *first, const char *second)
{
    memset(&o, 0, sizeof(o));
    o.admin.at[0] = first;
    o.admin.at[1] = second;
    o.admin.count = (size_t)(first != NULL) + (second != NULL);
    admin_init(a, &o);
}

static bool admits(const char *first, const char *second, const char *from)
{
    admin a;
    bool yes;
    set_up(&a, first, second);
    yes = admin_admits(&a, from, &request);
    admin_deinit(&a);
    admin_deinit(&a); /* twice is as once */
    return yes;
}

TEST(addresses)
{
    ask("localhost", NULL, NULL);
    CHECK(admits(NULL, NULL, "127.0.0.1"));
    CHECK(admits(NULL, NULL, "127.255.0.9"));
    CHECK(admits(NULL, NULL, "::1"));
    CHECK(admits(NULL, NULL, "::ffff:127.0.0.1"));
    CHECK(!admits(NULL, NULL, "128.0.0.1"));
    CHECK(!admits(NULL, NULL, "126.255.255.255"));
    CHECK(!admits(NULL, NULL, "::2"));
    CHECK(!admits(NULL, NULL, "::"));
    CHECK(!admits(NULL, NULL, "::127.0.0.1"));
    CHECK(!admits(NULL, NULL, "unix:"));
    CHECK(!admits(NULL, NULL, "-"));
    CHECK(!admits(NULL, NULL, ""));
    CHECK(!admits("off", NULL, "127.0.0.1"));
    CHECK(admits("all", NULL, "unix:") && admits("all", NULL, "-"));
}

TEST(networks)
{
    ask("anywhere", NULL, NULL);
    CHECK(admits("10.0.0.0/9", NULL, "10.127.255.255"));
    CHECK(!admits("10.0.0.0/9", NULL, "10.128.0.0"));
    CHECK(admits("10.1.2.3/8", NULL, "10.200.0.1")); /* the rest of the address is no matter */
    CHECK(admits("10.1.2.3", NULL, "::ffff:10.1.2.3"));
    CHECK(admits("0.0.0.0/0", NULL, "1.2.3.4"));
    CHECK(!admits("0.0.0.0/0", NULL, "::1"));
    CHECK(admits("::/0", NULL, "1.2.3.4") && admits("::/0", NULL, "fe80::1"));
    CHECK(admits("fd00::/7", NULL, "fc12::1") && !admits("fd00::/8", NULL, "fc12::1"));
    CHECK(admits("1.1.1.1", "fd00::1/128", "fd00::1"));
    CHECK(!admits("1.1.1.1", "fd00::1/128", "fd00::2"));
    CHECK(!admits("1.1.1.1", NULL, "127.0.0.1"));
    CHECK(!admits("1.1.1.1", "loopback", "127.0.0.1")); /* not by that host */
    ask("127.0.0.1:80", NULL, NULL);
    CHECK(admits("1.1.1.1", "loopback", "127.0.0.1"));
}

TEST(who_speaks_for_another_is_nobody)
{
    ask("localhost", "x-forwarded-FOR", "127.0.0.1");
    CHECK(!admits(NULL, NULL, "127.0.0.1"));
    CHECK(!admits("10.0.0.1", NULL, "10.0.0.1"));
    CHECK(admits("all", NULL, "10.0.0.1"));
    ask("localhost", "X-Forwarded", "127.0.0.1"); /* a name that nobody sends */
    CHECK(admits(NULL, NULL, "127.0.0.1"));
    ask("localhost", "forwarded", "");
    CHECK(!admits(NULL, NULL, "127.0.0.1"));
    ask("localhost", "Via", "1.1 proxy");
    CHECK(!admits(NULL, NULL, "127.0.0.1"));
}

TEST(hosts_and_origins)
{
    static const char *const good[] = {"localhost", "a.localhost:1", "[::1]", "127.1.2.3:8080"};
    static const char *const bad[] = {"", "localhost.", "a", ".localhost", "[", "[]", "[::",
                                      "127.1",
                                      "127.0.0.1.x", "[::ffff:8.8.8.8]",
                                      "0000000000000000000000000000000000000000000000000000000001"};
    size_t i;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ask(good[i], NULL, NULL);
        CHECK(admits(NULL, NULL, "::1"));
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ask(bad[i], NULL, NULL);
        CHECK(!admits(NULL, NULL, "::1"));
    }
    ask("localhost:1", "Origin", "https://localhost:1");
    CHECK(admits(NULL, NULL, "::1"));
    ask("localhost:1", "Origin", "https://localhost");
    CHECK(!admits(NULL, NULL, "::1") && !admits("all", NULL, "::1"));
    ask("localhost", "Origin", "/");
    CHECK(!admits(NULL, NULL, "::1"));
    ask("", "Origin", "x/");
    CHECK(!admits("all", NULL, "::1"));
}

/* ---- figures ---- */

TEST(latency_is_counted_in_its_bucket)
{
    static const struct {
        int64_t us;
        size_t bucket;
    } cases[] = {{0, 0}, {50, 0}, {51, 1}, {999, 4}, {10000000, 16}, {10000001, 17},
                 {INT64_C(4000000000), 17}};
    size_t i, k;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        figures f;
        memset(&f, 0, sizeof(f));
        figures_begin_turn(&f, 1000);
        figures_finish(&f, figures_tick(&f));
        figures_finish(&f, figures_tick(&f));
        CHECK_EQ(figures_get(&f, FIGURE_LATENCY), 0); /* not before the turn's end */
        figures_end_turn(&f, 1000 + cases[i].us);
        figures_end_turn(&f, 1000 + cases[i].us);
        for (k = 0; k < FIGURES_BUCKETS; k++)
            CHECK_EQ(figures_get(&f, FIGURE_LATENCY + k), k == cases[i].bucket ? 2 : 0);
        CHECK_EQ(figures_get(&f, FIGURE_LATENCY_SUM), (size_t)cases[i].us * 2);
    }
}

TEST(latency_over_several_turns)
{
    figures f;
    uint32_t began;
    memset(&f, 0, sizeof(f));
    figures_begin_turn(&f, INT64_C(8) * UINT32_MAX); /* the last tick before they begin anew */
    began = figures_tick(&f);
    CHECK_EQ(began, UINT32_MAX);
    figures_begin_turn(&f, f.turn_us + 3000);
    figures_finish(&f, began);
    CHECK_EQ(figures_get(&f, FIGURE_LATENCY + 6), 1); /* 2.5 to 5 ms */
    figures_begin_turn(&f, f.turn_us + 100);
    began = figures_tick(&f);
    figures_finish(&f, began);
    figures_end_turn(&f, f.turn_us - 1); /* a clock that goes back takes no time */
    CHECK_EQ(figures_get(&f, FIGURE_LATENCY), 1);
    CHECK_EQ(figures_get(&f, FIGURE_TURNS), 3);
}

TEST(answers_of_no_known_kind_are_not_counted_elsewhere)
{
    figures f;
    size_t i, sum = 0;
    memset(&f, 0, sizeof(f));
    figures_answer(&f, HTTP_UNKNOWN, 501);
    figures_answer(&f, HTTP_UNKNOWN + 1, 200);
    figures_answer(&f, 1000, 200);
    figures_answer(&f, HTTP_GET, 0);
    figures_answer(&f, HTTP_GET, 99);
    figures_answer(&f, HTTP_GET, 600);
    figures_answer(&f, HTTP_GET, -1);
    for (i = 0; i < FIGURES; i++) sum += figures_get(&f, i);
    CHECK_EQ(sum, 1);
    CHECK_EQ(figures_get(&f, FIGURES - 1), 1);
    CHECK_EQ(FIGURES_METHODS, HTTP_UNKNOWN + 1);
}

TEST(states_go_up_and_down)
{
    figures f;
    memset(&f, 0, sizeof(f));
    figures_add(&f, FIGURE_READING, 2);
    figures_move(&f, FIGURE_READING, FIGURE_READING);
    figures_move(&f, FIGURE_READING, FIGURE_IDLE);
    CHECK_EQ(figures_get(&f, FIGURE_READING), 1);
    CHECK_EQ(figures_get(&f, FIGURE_IDLE), 1);
}

/* ---- reports ---- */

static bool start(void)
{
    static const listener none;
    char error[256];
    size_t i;
    memset(&s, 0, sizeof(s));
    memset(&o, 0, sizeof(o));
    test_allocator_init(&memory);
    test_allocator_init(&scratch);
    memory_init(&memory.base);
    o.dir = "/";
    o.header_timeout = o.idle_timeout = o.write_timeout = 600;
    s.options = &o;
    s.log_fd = -1;
    s.fds.limit = 100;
    admin_init(&s.admin, &o);
    if (!tickets_init(&s.tickets, NULL, 0, 1 << 20, &memory.base, error, sizeof(error)))
        return false;
    for (i = 0; i < 2; i++)
        if (!worker_init(&workers[i], &s, &none, 0, error, sizeof(error))) return false;
    s.admin.workers = workers;
    s.admin.worker_count = 2;
    return true;
}

static void end(void)
{
    size_t i;
    for (i = 0; i < 2; i++) CHECK(worker_deinit(&workers[i]));
    tickets_deinit(&s.tickets);
    admin_deinit(&s.admin);
    CHECK_EQ(mm_budget_live(memory_get(MEMORY_PROCESS)), 0);
    CHECK_EQ(memory.live_blocks, 0);
}

static bool has(const mm_buffer *text, const char *part)
{
    return mm_buffer_status(text) == MM_STATUS_OK && strstr(mm_buffer_string(text), part) != NULL;
}

TEST(workers_are_added_up)
{
    mm_buffer text;
    CHECK(start());
    figures_add(&workers[0].figures, FIGURE_ACCEPTED, 40);
    figures_add(&workers[1].figures, FIGURE_ACCEPTED, 2);
    figures_add(&workers[1].figures, FIGURE_IDLE, 3);
    figures_answer(&workers[1].figures, HTTP_PUT, 201);
    mm_buffer_init(&text, &scratch.base);
    admin_report_metrics(&workers[0], &text);
    CHECK(has(&text, "\nmmserve_connections_accepted_total 42\n"));
    CHECK(has(&text, "\nwebserver_connections_idle 3\n"));
    CHECK(has(&text, "\nmmserve_requests_total{method=\"PUT\",code=\"2xx\"} 1\n"));
    CHECK(has(&text, "\nmmserve_workers 2\n"));
    CHECK(has(&text, "mmserve_budget_live_bytes{budget=\"process\"} "));
    mm_buffer_clear(&text);
    admin_report_status(&workers[0], &text);
    CHECK(has(&text, "\"accepted\":42"));
    CHECK(has(&text, "{\"name\":\"process\",\"parent\":-1"));
    CHECK(has(&text, "\"health\":\"ok\""));
    workers[0].draining = true;
    mm_buffer_clear(&text);
    admin_report_status(&workers[0], &text);
    CHECK(has(&text, "\"health\":\"draining\"") && has(&text, "\"draining\":1"));
    mm_buffer_deinit(&text);
    end();
}

TEST(pressure_is_told)
{
    mm_buffer text;
    CHECK(start());
    CHECK(admin_ailment(&workers[0]) == NULL);
    mmi_atomic_store(&workers[1].accounts.pressure.level, MM_PRESSURE_HIGH);
    mmi_atomic_store(&workers[1].shed.turned_away, 7);
    CHECK(admin_ailment(&workers[0]) == NULL);
    mm_buffer_init(&text, &scratch.base);
    admin_report_metrics(&workers[0], &text);
    CHECK(has(&text, "\nwebserver_memory_pressure 2\n"));
    CHECK(has(&text, "\nmmserve_connections_shed_total 7\n"));
    mm_buffer_deinit(&text);
    mmi_atomic_store(&workers[1].accounts.pressure.level, MM_PRESSURE_CRITICAL);
    CHECK(strcmp(admin_ailment(&workers[0]), "critical\n") == 0);
    workers[0].draining = true;
    CHECK(strcmp(admin_ailment(&workers[0]), "draining\n") == 0);
    mmi_atomic_store(&workers[1].accounts.pressure.level, MM_PRESSURE_NORMAL);
    end();
}

TEST(reports_without_memory)
{
    void (*const reports[])(worker *, mm_buffer *) = {admin_report_metrics, admin_report_status};
    size_t i, k;
    CHECK(start());
    for (i = 0; i < 2; i++) {
        mm_status status = MM_STATUS_NO_MEMORY;
        for (k = 1; status != MM_STATUS_OK; k++) {
            mm_buffer text;
            mm_buffer_init(&text, &scratch.base);
            scratch.calls = 0;
            scratch.fail_at = k;
            reports[i](&workers[0], &text);
            status = mm_buffer_status(&text);
            CHECK(status == MM_STATUS_OK || status == MM_STATUS_NO_MEMORY);
            mm_buffer_deinit(&text);
        }
        CHECK(k > 2);
        CHECK_EQ(scratch.live_blocks, 0);
    }
    end();
}

/* Each allocation of an answer fails in turn: it is complete, or a page for 503. */
TEST(answers_without_memory)
{
    static const char *const paths[] = {"/-/", "/-/metrics", "/-/status.json", "/-/health"};
    size_t i, k;
    CHECK(start());
    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        bool failed = true;
        for (k = 1; failed; k++) {
            http_response response;
            worker *w = &workers[0];
            memset(&response, 0, sizeof(response));
            response.arena = &w->arena;
            response.body = &w->body;
            ask("localhost", NULL, NULL);
            request.path = mm_slice_from_string(paths[i]);
            memory.calls = memory.failures = 0;
            memory.fail_at = k;
            memory.fail_for_ever = 1;
            CHECK(admin_respond(w, &request, &response, "127.0.0.1"));
            failed = memory.failures > 0;
            CHECK(response.status == (failed ? response.status : 200));
            CHECK(response.status == 200 || response.status == 503);
            CHECK_EQ(response.content_length, mm_chunkqueue_length(&w->body));
            memory.fail_at = 0;
            mm_chunkqueue_reset(&w->body);
            (void)mm_chunk_pool_decay(&w->chunks);
            mm_arena_deinit(&w->arena);
        }
    }
    end();
}

TEST_MAIN(T(addresses), T(networks), T(who_speaks_for_another_is_nobody), T(hosts_and_origins),
          T(latency_is_counted_in_its_bucket), T(latency_over_several_turns),
          T(answers_of_no_known_kind_are_not_counted_elsewhere),
          T(states_go_up_and_down), T(workers_are_added_up),
          T(pressure_is_told), T(reports_without_memory), T(answers_without_memory))
