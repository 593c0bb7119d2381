/* mm_io.h: the figures of everything, as Prometheus text and as JSON. With METRICS_DIR in the
   environment both reports are written to that folder, for check-metrics.py to judge. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IO_OPENSSL
#define MM_CHUNK_VIEWS
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int no_proc; /* /proc cannot be read, as in some sandboxes */
static const char *statm;

static int shim_open(const char *path, int flags)
{
    if (strcmp(path, "/proc/self/statm") == 0) {
        errno = EACCES;
        if (no_proc) return -1;
    }
    return open(path, flags);
}

static ssize_t shim_read(int fd, void *bytes, size_t size)
{
    if (statm == NULL) return read(fd, bytes, size);
    memcpy(bytes, statm, strlen(statm));
    return (ssize_t)strlen(statm);
}

#define MM_SYS_OPEN(path, flags, mode) shim_open(path, flags)
#define MM_SYS_READ(fd, bytes, size) shim_read(fd, bytes, size)
#define MM_IMPLEMENTATION
#include "../../mm_io.h"

#include "../harness.h"

/* ---- one of everything ---- */

static mm_filecache files, other_files;
static mm_respcache responses;
static mm_mapcache maps;
static mm_tls_sessions sessions;
static mm_chunk_pool chunks;
static mm_fd_budget fds;
static mm_tier tier;
static mm_budget budget;
static mm_pressure pressure;
static size_t active = 7, idle_ones = 70;
static mm_stats_source stats[3];
static mm_metrics_source sources[7];
static mm_metrics_value values[3];
static mm_metrics metrics;

static uint64_t heap_bytes(void *user_data)
{
    return *(const uint64_t *)user_data;
}

static void add_value(size_t i, const char *metric, bool is_counter, const char *label,
                      const char *label_value)
{
    static uint64_t numbers[3] = {11, 22, UINT64_MAX};
    values[i].metric = metric;
    values[i].help = "A figure\nof \\ ours.";
    values[i].is_counter = is_counter;
    values[i].label = label;
    values[i].label_value = label_value;
    values[i].read_fn = heap_bytes;
    values[i].user_data = &numbers[i];
}

static void add_source(size_t i, mm_metrics_kind kind, const char *name, void *object)
{
    sources[i].kind = kind;
    sources[i].name = name;
    sources[i].object = object;
}

static void add_stats(size_t i, mm_stats_kind kind, const char *name, void *object)
{
    stats[i].kind = kind;
    stats[i].name = name;
    stats[i].object = object;
}

static void fill_in(void)
{
    static uint64_t heap = 123456;
    memset(&metrics, 0, sizeof(metrics));
    add_stats(0, MM_STATS_TIER, "shared", &tier);
    add_stats(1, MM_STATS_BUDGET, "process", &budget);
    add_stats(2, MM_STATS_PRESSURE, "process", &pressure);
    add_source(0, MM_METRICS_FILES, "worker 1", &files);
    add_source(1, MM_METRICS_RESPONSES, "worker 1", &responses);
    add_source(2, MM_METRICS_FILES, "odd \"\\\n\x01 \xC3\xA4 \xFF\xED\xA0\x80 name", &other_files);
    add_source(3, MM_METRICS_MAPS, NULL, &maps);
    add_source(4, MM_METRICS_SESSIONS, "all", &sessions);
    add_source(5, MM_METRICS_CHUNKS, "worker 1", &chunks);
    add_source(6, MM_METRICS_DESCRIPTORS, "all", &fds);
    add_value(0, "test_requests_total", true, "code", "200");
    add_value(1, "test_requests_total", true, "code", "4\"04");
    add_value(2, "test_queue", false, NULL, NULL);
    metrics.stats = stats;
    metrics.stats_count = 3;
    metrics.sources = sources;
    metrics.source_count = 7;
    metrics.values = values;
    metrics.value_count = 3;
    metrics.heap_fn = heap_bytes;
    metrics.heap_data = &heap;
    metrics.active = &active;
    metrics.idle = &idle_ones;
}

static void begin(void)
{
    mm_filecache_desc of_files;
    mm_respcache_desc of_responses;
    mm_mapcache_desc of_maps;
    mm_tls_sessions_desc of_sessions;
    mm_tier_desc of_tier;
    mm_budget_desc of_budget;
    mm_pressure_desc of_pressure;
    memset(&of_files, 0, sizeof(of_files));
    memset(&of_responses, 0, sizeof(of_responses));
    memset(&of_maps, 0, sizeof(of_maps));
    memset(&of_sessions, 0, sizeof(of_sessions));
    memset(&of_tier, 0, sizeof(of_tier));
    memset(&of_budget, 0, sizeof(of_budget));
    memset(&of_pressure, 0, sizeof(of_pressure));
    memset(&fds, 0, sizeof(fds));
    fds.limit = 50;
    of_files.root = "/";
    of_files.fds = &fds;
    of_maps.pool = &chunks;
    of_budget.limit = 1000;
    of_pressure.budget = &budget;
    mm_budget_init(&budget, &of_budget);
    if (mm_filecache_init(&files, &of_files) != MM_STATUS_OK ||
        mm_filecache_init(&other_files, &of_files) != MM_STATUS_OK ||
        mm_respcache_init(&responses, &of_responses) != MM_STATUS_OK ||
        mm_chunk_pool_init(&chunks, NULL) != MM_STATUS_OK ||
        mm_mapcache_init(&maps, &of_maps) != MM_STATUS_OK ||
        mm_tls_sessions_init(&sessions, &of_sessions) != MM_STATUS_OK ||
        mm_tier_init(&tier, &of_tier) != MM_STATUS_OK ||
        mm_pressure_init(&pressure, &of_pressure) != MM_STATUS_OK)
        abort();
    fill_in();
}

static void end(void)
{
    CHECK_EQ(mm_filecache_deinit(&files), 0);
    CHECK_EQ(mm_filecache_deinit(&other_files), 0);
    CHECK_EQ(mm_respcache_deinit(&responses), 0);
    CHECK_EQ(mm_mapcache_deinit(&maps), 0);
    CHECK_EQ(mm_chunk_pool_deinit(&chunks), 0);
    mm_tls_sessions_deinit(&sessions);
    mm_pressure_deinit(&pressure);
    mm_tier_deinit(&tier);
    mm_budget_release(&budget, mm_budget_live(&budget));
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

/* ---- reports ---- */

static char report[65536];
static size_t report_size, sink_calls, sink_fails_at, largest_piece;

static mm_status sink(void *user_data, const char *bytes, size_t size)
{
    (void)user_data;
    if (++sink_calls == sink_fails_at) return MM_STATUS_CLOSED;
    if (size > largest_piece) largest_piece = size;
    if (report_size + size >= sizeof(report)) return MM_STATUS_NO_SPACE;
    memcpy(report + report_size, bytes, size);
    report_size += size;
    report[report_size] = '\0';
    return MM_STATUS_OK;
}

static mm_status write_report(mm_stats_format format)
{
    report_size = sink_calls = 0;
    report[0] = '\0';
    return mm_metrics_write(&metrics, format, sink, NULL);
}

static void keep_report(const char *name)
{
    const char *dir = getenv("METRICS_DIR");
    char path[512];
    int fd;
    if (dir == NULL) return;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK(fd >= 0 && write(fd, report, report_size) == (ssize_t)report_size);
    close(fd);
}

/* Whether the report has that line. */
static bool tells(const char *line)
{
    const char *at = strstr(report, line);
    size_t size = strlen(line);
    for (; at != NULL; at = strstr(at + 1, line))
        if ((at == report || at[-1] == '\n') && at[size] == '\n') return true;
    return false;
}

static void use_all(void)
{
    mm_file *file;
    mm_response *response;
    size_t size;
    void *buffer = mm_tier_get(&tier, 5000, &size);
    CHECK(buffer != NULL);
    mm_tier_put(&tier, buffer, size, size);
    CHECK_EQ(mm_budget_charge(&budget, 900), MM_STATUS_OK);
    CHECK_EQ(mm_pressure_update(&pressure, 0), MM_PRESSURE_HIGH);
    CHECK_EQ(mm_filecache_open(&files, mm_slice_from_string("etc/passwd"), 0, &file), MM_STATUS_OK);
    CHECK_EQ(mm_respcache_put(&responses, mm_slice_from_string("x"), file,
                              mm_slice_from_string("head"), NULL, &response), MM_STATUS_OK);
    mm_response_release(response);
    mm_file_release(file);
    CHECK_EQ(mm_filecache_open(&other_files, mm_slice_from_string("etc"), 0, &file), MM_STATUS_OK);
    mm_file_release(file);
    CHECK_EQ(mm_tls_sessions_put(&sessions, mm_slice_from_string("id"),
                                 mm_slice_from_string("der")), MM_STATUS_OK);
}

TEST(prometheus)
{
    char line[128];
    begin();
    CHECK_SUB(use_all());
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_OK);
    CHECK_SUB(keep_report("metrics.txt"));
    CHECK(largest_piece <= 512);
    CHECK(strstr(report, "\nwebserver_memory_total_bytes ") != NULL);
    CHECK(tells("webserver_memory_heap_bytes 123456"));
    CHECK(tells("webserver_buffer_pool_allocated{pool=\"shared\",size=\"4096\"} 0"));
    CHECK(tells("webserver_buffer_pool_available{pool=\"shared\",size=\"16384\"} 1"));
    CHECK(tells("webserver_buffer_pool_available{pool=\"shared\",size=\"direct\"} 0"));
    CHECK(tells("webserver_connections_active 7"));
    CHECK(tells("webserver_connections_idle 70"));
    CHECK(tells("webserver_open_file_cache_entries 2"));
    CHECK(tells("webserver_tls_session_cache_entries 1"));
    CHECK(tells("webserver_memory_pressure 2"));
    snprintf(line, sizeof(line), "webserver_response_cache_bytes %zu", responses.stats.bytes);
    CHECK(responses.stats.bytes > 0 && tells(line));
    CHECK(tells("# TYPE mm_file_cache_entries gauge"));
    CHECK(tells("# TYPE mm_file_cache_hits_total counter"));
    CHECK(tells("mm_file_cache_entries{name=\"worker 1\"} 1"));
    CHECK(tells("mm_file_cache_entries{name=\"odd \\\"\\\\\\n\x01 \xC3\xA4 \xEF\xBF\xBD\xEF\xBF\xBD"
                "\xEF\xBF\xBD\xEF\xBF\xBD name\"} 1"));
    CHECK(tells("mm_map_cache_bytes{name=\"\"} 0"));
    CHECK(tells("mm_descriptors_files{name=\"all\"} 2"));
    CHECK(tells("# HELP test_requests_total A figure\\nof \\\\ ours."));
    CHECK(tells("test_requests_total{code=\"200\"} 11"));
    CHECK(tells("test_requests_total{code=\"4\\\"04\"} 22"));
    CHECK(tells("test_queue 18446744073709551615"));
    CHECK(tells("mm_budget_live_bytes{name=\"process\"} 900"));
    CHECK_SUB(end());
}

TEST(json)
{
    begin();
    CHECK_SUB(use_all());
    CHECK_EQ(write_report(MM_STATS_JSON), MM_STATUS_OK);
    CHECK_SUB(keep_report("metrics.json"));
    CHECK(strncmp(report, "{\"webserver\":{\"memory_total_bytes\":", 35) == 0);
    CHECK(strstr(report, "\"memory_heap_bytes\":123456,\"buffer_pool\":[{\"pool\":\"shared\","));
    CHECK(strstr(report, "\"memory_pressure\":2},\"files\":[{\"name\":\"worker 1\",\"entries\":1"));
    CHECK(strstr(report, "},{\"name\":\"odd \\\"\\\\\\n\\u0001 \xC3\xA4 \xEF\xBF\xBD") != NULL);
    CHECK(strstr(report, "\"values\":[{\"metric\":\"test_requests_total\",\"labels\":{\"code\":"
                         "\"200\"},\"value\":11},") != NULL);
    CHECK(strstr(report, "}],\"memory\":{\"objects\":[") != NULL);
    CHECK(strcmp(report + report_size - 3, "\n}\n") == 0);
    CHECK_SUB(end());
}

TEST(what_is_unknown_is_left_out)
{
    begin();
    memset(&metrics, 0, sizeof(metrics));
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_OK);
    CHECK(strncmp(report, "# HELP webserver_memory_total_bytes ", 36) == 0);
    CHECK_EQ(strstr(report + 1, "# HELP") == NULL, 1);
    no_proc = 1;
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_OK);
    CHECK_EQ(report_size, 0);
    CHECK_EQ(write_report(MM_STATS_JSON), MM_STATUS_OK);
    CHECK(strncmp(report, "{\"webserver\":{\"buffer_pool\":[]},\"files\":[],", 43) == 0);
    no_proc = 0;
    for (statm = "12345"; statm != NULL; statm = *statm == '\0' ? NULL : statm + 5) {
        CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_OK);
        CHECK_EQ(report_size, 0);
    }
    statm = "99 3 1 1";
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_OK);
    CHECK(strstr(report, "\nwebserver_memory_total_bytes ") != NULL);
    CHECK_EQ(atol(strrchr(report, ' ')), 3 * sysconf(_SC_PAGESIZE));
    statm = NULL;
    CHECK_SUB(end());
}

TEST(what_is_wrong_writes_nothing)
{
    static const char *const bad[] = {NULL, "", "1st", "a-b", "a b", "\xC3\xA4"};
    size_t i;
    begin();
    sink_calls = 0;
    CHECK_EQ(mm_metrics_write(&metrics, (mm_stats_format)2, sink, NULL), MM_STATUS_INVALID);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        values[1].metric = bad[i];
        CHECK_EQ(write_report(MM_STATS_JSON), MM_STATUS_INVALID);
        values[1].metric = "good:name";
        values[1].label = i == 0 ? "co:lon" : bad[i];
        CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_INVALID);
        values[1].label = NULL;
    }
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_OK);
    values[2].read_fn = NULL;
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_INVALID);
    fill_in();
    sources[3].object = NULL;
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_INVALID);
    fill_in();
    sources[3].kind = (mm_metrics_kind)6;
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_INVALID);
    fill_in();
    stats[0].object = NULL;
    CHECK_EQ(write_report(MM_STATS_PROMETHEUS), MM_STATUS_INVALID);
    CHECK_EQ(sink_calls, 0);
    CHECK_SUB(end());
}

TEST(a_sink_may_fail)
{
    size_t format, n;
    begin();
    for (format = 0; format < 2; format++) {
        sink_fails_at = 0;
        CHECK_EQ(write_report((mm_stats_format)format), MM_STATUS_OK);
        for (n = sink_calls; n > 0; n--) {
            sink_fails_at = n;
            CHECK_EQ(write_report((mm_stats_format)format), MM_STATUS_CLOSED);
            CHECK_EQ(sink_calls, n); /* and is not called again */
        }
        sink_fails_at = 0;
    }
    CHECK_SUB(end());
}

TEST_MAIN(T(prometheus), T(json), T(what_is_unknown_is_left_out), T(what_is_wrong_writes_nothing),
          T(a_sink_may_fail))
