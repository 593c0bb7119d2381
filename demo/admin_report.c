/* admin_report.c - all figures together, as text for Prometheus and as JSON

   One table says which figure is which in both. What each worker counts is added up, so that "peak"
   is the sum of the workers' peaks. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "admin.h"

#include <stdio.h>
#include <string.h>

#include "../mm_pool.h"
#include "worker.h"

enum {
    ADMIN_HEAP_MS = 250, /* the heap's figures take its lock and a walk over its spans */
    ADMIN_CLASSES = MM_TIER_CLASSES_MAX + 1
};

/* ---- figures ---- */

enum { /* beside those of figures.h, and in one array with them */
    TOTAL_OPEN = FIGURES, /* connections */
    TOTAL_ACTIVE,
    TOTAL_CONNS_LIMIT,
    TOTAL_RESIDENT,
    TOTAL_HEAP_LIVE,
    TOTAL_HEAP_CACHED,
    TOTAL_HEAP_METADATA,
    TOTAL_HEAP_COMMITTED,
    TOTAL_HEAP_RESERVED,
    TOTAL_HEAP_PEAK,
    TOTAL_HEAP_RETURNED,
    TOTAL_HEAP_FAILURES,
    TOTAL_SESSIONS_ENTRIES,
    TOTAL_SESSIONS_BYTES,
    TOTAL_SESSIONS_HITS,
    TOTAL_SESSIONS_MISSES,
    TOTAL_SESSIONS_EVICTIONS,
    TOTAL_FDS_TAKEN,
    TOTAL_FDS_PEAK,
    TOTAL_FDS_LIMIT,
    TOTAL_FDS_REFUSED,
    TOTAL_UPLOADS,
    TOTAL_PRESSURE,
    TOTAL_PRESSURE_CHANGES,
    TOTAL_DRAINING,
    TOTAL_UPTIME,
    TOTAL_WORKERS,
    TOTALS
};

typedef struct totals {
    uint64_t at[TOTALS];
    mm_tier_stats classes[ADMIN_CLASSES]; /* all workers' tiers */
    size_t class_count;
} totals;

typedef struct row {
    const char *section; /* member of the JSON object, which rows of one section share */
    const char *key;     /* member of that; also the label's value */
    const char *metric;  /* a counter when it ends in _total; rows of one metric are neighbours */
    const char *label;   /* its name; NULL: none */
    int total;
    const char *help;    /* of the metric */
} row;

#define STATE(key, id) {"connections", key, "mmserve_connections", "state", id, \
                        "Connections by what they are at."}
#define TLS(key, id) {"tls", key, "mmserve_tls_handshakes_total", "kind", id, \
                      "TLS handshakes: full, resumed from a session, failed."}

static const row rows[] = {
    {"webserver", "memory_total_bytes", "webserver_memory_total_bytes", NULL, TOTAL_RESIDENT,
     "Bytes of the process in memory."},
    {"webserver", "memory_heap_bytes", "webserver_memory_heap_bytes", NULL, TOTAL_HEAP_LIVE,
     "Bytes of the heap in use."},
    {"webserver", "connections_active", "webserver_connections_active", NULL, TOTAL_ACTIVE,
     "Connections that are not idle."},
    {"webserver", "connections_idle", "webserver_connections_idle", NULL, FIGURE_IDLE,
     "Connections between requests."},
    {"webserver", "open_file_cache_entries", "webserver_open_file_cache_entries", NULL,
     FIGURE_FILES_ENTRIES, "Files kept open."},
    {"webserver", "response_cache_bytes", "webserver_response_cache_bytes", NULL,
     FIGURE_RESPONSES_BYTES, "Bytes of responses kept ready."},
    {"webserver", "tls_session_cache_entries", "webserver_tls_session_cache_entries", NULL,
     TOTAL_SESSIONS_ENTRIES, "TLS sessions held for clients that take no tickets."},
    {"webserver", "memory_pressure", "webserver_memory_pressure", NULL, TOTAL_PRESSURE,
     "Memory pressure: 0 normal, 1 elevated, 2 high, 3 critical."},
    {"pressure", "level", "mmserve_memory_pressure", NULL, TOTAL_PRESSURE,
     "Memory pressure: 0 normal, 1 elevated, 2 high, 3 critical."},
    {"pressure", "changes", "mmserve_memory_pressure_changes_total", NULL, TOTAL_PRESSURE_CHANGES,
     "Steps of the pressure, up or down."},
    {"process", "resident_bytes", "process_resident_memory_bytes", NULL, TOTAL_RESIDENT,
     "Bytes of the process in memory."},
    {"process", "uptime_seconds", "mmserve_uptime_seconds", NULL, TOTAL_UPTIME,
     "Seconds since the start."},
    {"process", "workers", "mmserve_workers", NULL, TOTAL_WORKERS, "Threads that serve."},
    {"process", "draining", "mmserve_draining", NULL, TOTAL_DRAINING,
     "Whether the server is about to end."},
    STATE("handshake", FIGURE_HANDSHAKE),
    STATE("reading", FIGURE_READING),
    STATE("uploading", FIGURE_UPLOADING),
    STATE("writing", FIGURE_WRITING),
    STATE("idle", FIGURE_IDLE),
    STATE("closing", FIGURE_CLOSING),
    {"connections", "open", "mmserve_connections_open", NULL, TOTAL_OPEN, "Connections in all."},
    {"connections", "limit", "mmserve_connections_limit", NULL, TOTAL_CONNS_LIMIT,
     "Connections allowed at a time; 0: as many as there are descriptors for."},
    {"connections", "accepted", "mmserve_connections_accepted_total", NULL, FIGURE_ACCEPTED,
     "Connections served."},
    {"connections", "closed", "mmserve_connections_closed_total", NULL, FIGURE_CLOSED,
     "Of these, connections that have ended."},
    {"connections", "refused", "mmserve_connections_refused_total", NULL, FIGURE_REFUSED,
     "Connections closed at once: too many of one client, or no memory."},
    {"connections", "shed", "mmserve_connections_shed_total", NULL, FIGURE_SHED,
     "Connections refused for memory pressure."},
    TLS("full", FIGURE_TLS_FULL),
    TLS("resumed", FIGURE_TLS_RESUMED),
    TLS("failed", FIGURE_TLS_FAILED),
    {"traffic", "in", "mmserve_received_bytes_total", NULL, FIGURE_BYTES_IN,
     "Bytes of requests, without TLS around them."},
    {"traffic", "out", "mmserve_sent_bytes_total", NULL, FIGURE_BYTES_OUT,
     "Bytes of answers, without TLS around them."},
    {"traffic", "turns", "mmserve_loop_turns_total", NULL, FIGURE_TURNS,
     "Times that event loops came round."},
    {"files", "entries", "mmserve_file_cache_entries", NULL, FIGURE_FILES_ENTRIES,
     "Files kept open."},
    {"files", "open", "mmserve_file_cache_open", NULL, FIGURE_FILES_OPEN,
     "Descriptors of these, and of replaced ones in use."},
    {"files", "hits", "mmserve_file_cache_hits_total", NULL, FIGURE_FILES_HITS,
     "Lookups answered without opening."},
    {"files", "negative", "mmserve_file_cache_negative_total", NULL, FIGURE_FILES_NEGATIVE,
     "Lookups refused from memory."},
    {"files", "misses", "mmserve_file_cache_misses_total", NULL, FIGURE_FILES_MISSES,
     "Lookups that opened a file, or failed."},
    {"files", "evictions", "mmserve_file_cache_evictions_total", NULL, FIGURE_FILES_EVICTIONS,
     "Files closed to make room."},
    {"responses", "entries", "mmserve_response_cache_entries", NULL, FIGURE_RESPONSES_ENTRIES,
     "Responses kept ready."},
    {"responses", "bytes", "mmserve_response_cache_bytes", NULL, FIGURE_RESPONSES_BYTES,
     "Bytes of these."},
    {"responses", "hits", "mmserve_response_cache_hits_total", NULL, FIGURE_RESPONSES_HITS,
     "Lookups answered."},
    {"responses", "misses", "mmserve_response_cache_misses_total", NULL, FIGURE_RESPONSES_MISSES,
     "Lookups not answered."},
    {"responses", "evictions", "mmserve_response_cache_evictions_total", NULL,
     FIGURE_RESPONSES_EVICTIONS, "Responses dropped to make room."},
    {"sessions", "entries", "mmserve_tls_session_cache_entries", NULL, TOTAL_SESSIONS_ENTRIES,
     "TLS sessions held for clients that take no tickets."},
    {"sessions", "bytes", "mmserve_tls_session_cache_bytes", NULL, TOTAL_SESSIONS_BYTES,
     "Bytes of these."},
    {"sessions", "hits", "mmserve_tls_session_cache_hits_total", NULL, TOTAL_SESSIONS_HITS,
     "Lookups answered."},
    {"sessions", "misses", "mmserve_tls_session_cache_misses_total", NULL, TOTAL_SESSIONS_MISSES,
     "Lookups not answered."},
    {"sessions", "evictions", "mmserve_tls_session_cache_evictions_total", NULL,
     TOTAL_SESSIONS_EVICTIONS, "Sessions dropped to make room."},
    {"chunks", "chunks", "mmserve_chunks", NULL, FIGURE_CHUNKS, "Chunks in queues."},
    {"chunks", "memory", "mmserve_chunk_memory_bytes", NULL, FIGURE_CHUNK_MEMORY,
     "Bytes of memory of these."},
    {"chunks", "cached", "mmserve_chunk_cached_bytes", NULL, FIGURE_CHUNK_CACHED,
     "Bytes of chunk memory kept for reuse."},
    {"chunks", "failures", "mmserve_chunk_failures_total", NULL, FIGURE_CHUNK_FAILURES,
     "Requests for chunk memory refused."},
    {"chunks", "temp_files", "mmserve_temp_files", NULL, FIGURE_TEMP_FILES,
     "Temporary files open."},
    {"chunks", "temp_bytes", "mmserve_temp_bytes", NULL, FIGURE_TEMP_BYTES,
     "Bytes in temporary files."},
    {"arenas", "total", "mmserve_arena_bytes", NULL, FIGURE_ARENA_TOTAL,
     "Bytes that arenas hold."},
    {"arenas", "peak", "mmserve_arena_peak_bytes", NULL, FIGURE_ARENA_PEAK,
     "Most bytes that each of them held, added up."},
    {"arenas", "waste", "mmserve_arena_waste_bytes", NULL, FIGURE_ARENA_WASTE,
     "Bytes lost until the next reset."},
    {"arenas", "failures", "mmserve_arena_failures_total", NULL, FIGURE_ARENA_FAILURES,
     "Requests refused."},
    {"slabs", "live", "mmserve_slab_live", NULL, FIGURE_SLAB_LIVE,
     "Handles of connections in use."},
    {"slabs", "cached", "mmserve_slab_cached", NULL, FIGURE_SLAB_CACHED,
     "Handles of connections kept for the next."},
    {"slabs", "bytes", "mmserve_slab_bytes", NULL, FIGURE_SLAB_BYTES, "Bytes of all of them."},
    {"slabs", "failures", "mmserve_slab_failures_total", NULL, FIGURE_SLAB_FAILURES,
     "Handles that could not be had."},
    {"heap", "live", "mmserve_heap_live_bytes", NULL, TOTAL_HEAP_LIVE, "Bytes of blocks in use."},
    {"heap", "cached", "mmserve_heap_cached_bytes", NULL, TOTAL_HEAP_CACHED,
     "Bytes ready for use."},
    {"heap", "metadata", "mmserve_heap_metadata_bytes", NULL, TOTAL_HEAP_METADATA,
     "Bytes of the heap's own records."},
    {"heap", "committed", "mmserve_heap_committed_bytes", NULL, TOTAL_HEAP_COMMITTED,
     "Bytes in memory: the three above."},
    {"heap", "reserved", "mmserve_heap_reserved_bytes", NULL, TOTAL_HEAP_RESERVED,
     "Bytes of address space."},
    {"heap", "peak", "mmserve_heap_reserved_peak_bytes", NULL, TOTAL_HEAP_PEAK,
     "Most bytes of address space at a time."},
    {"heap", "returned", "mmserve_heap_returned_bytes_total", NULL, TOTAL_HEAP_RETURNED,
     "Bytes given back to the system."},
    {"heap", "failures", "mmserve_heap_failures_total", NULL, TOTAL_HEAP_FAILURES,
     "Requests refused."},
    {"descriptors", "taken", "mmserve_descriptors", NULL, TOTAL_FDS_TAKEN,
     "Descriptors of connections and files in use."},
    {"descriptors", "peak", "mmserve_descriptors_peak", NULL, TOTAL_FDS_PEAK,
     "Most in use at a time."},
    {"descriptors", "limit", "mmserve_descriptors_limit", NULL, TOTAL_FDS_LIMIT,
     "Descriptors that there are for these."},
    {"descriptors", "refused", "mmserve_descriptors_refused_total", NULL, TOTAL_FDS_REFUSED,
     "Descriptors refused."},
    {"uploads", "files", "mmserve_uploads_total", NULL, TOTAL_UPLOADS, "Files put."},
    {"log", "pending", "mmserve_log_pending_bytes", NULL, FIGURE_LOG_PENDING,
     "Bytes of the log that wait to be written."},
    {"log", "lost", "mmserve_log_lost_lines_total", NULL, FIGURE_LOG_LOST,
     "Lines of the log that could not be written."},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const char *const methods[FIGURES_METHODS] = {
    "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE", "other"};
static const char *const classes[FIGURES_CLASSES] = {"1xx", "2xx", "3xx", "4xx", "5xx"};

/* ---- collecting ---- */

static void add_heap(worker *w, totals *t)
{
    admin *a = &w->server->admin;
    mm_heap_stats heap;
    (void)pthread_mutex_lock(&a->lock);
    if (w->now_ms >= a->heap_until) {
        mm_heap_get_stats(&a->heap);
        a->heap_until = w->now_ms + ADMIN_HEAP_MS;
    }
    heap = a->heap;
    (void)pthread_mutex_unlock(&a->lock);
    t->at[TOTAL_HEAP_LIVE] = heap.live;
    t->at[TOTAL_HEAP_CACHED] = heap.cached;
    t->at[TOTAL_HEAP_METADATA] = heap.metadata;
    t->at[TOTAL_HEAP_COMMITTED] = heap.committed;
    t->at[TOTAL_HEAP_RESERVED] = heap.reserved;
    t->at[TOTAL_HEAP_PEAK] = heap.peak;
    t->at[TOTAL_HEAP_RETURNED] = heap.returned;
    t->at[TOTAL_HEAP_FAILURES] = heap.failures;
}

static void add_sessions(worker *w, totals *t)
{
    mm_tls_sessions_stats stats = mm_tls_sessions_get_stats(&w->server->tickets.sessions);
    t->at[TOTAL_SESSIONS_ENTRIES] = stats.entries;
    t->at[TOTAL_SESSIONS_BYTES] = stats.bytes;
    t->at[TOTAL_SESSIONS_HITS] = stats.hits;
    t->at[TOTAL_SESSIONS_MISSES] = stats.misses;
    t->at[TOTAL_SESSIONS_EVICTIONS] = stats.evictions;
}

static void add_classes(worker *w, totals *t)
{
    size_t i;
    t->class_count = mm_tier_class_count(&w->tier) + 1;
    for (i = 0; i < t->class_count; i++) {
        mm_tier_stats stats, *sum = &t->classes[i];
        mm_tier_get_stats(&w->tier, i, &stats);
        sum->size = stats.size;
        sum->live += stats.live;
        sum->cached += stats.cached;
        sum->peak += stats.peak;
        sum->failures += stats.failures;
        sum->bytes += stats.bytes;
        sum->waste += stats.waste;
    }
}

static void add_worker(worker *w, totals *t)
{
    size_t i;
    for (i = 0; i < FIGURES; i++) t->at[i] += figures_get(&w->figures, i);
    t->at[FIGURE_SHED] += mmi_atomic_load(&w->shed.turned_away);
    add_classes(w, t);
}

static void collect(worker *w, totals *t)
{
    server *s = w->server;
    size_t i;
    int k;
    memset(t, 0, sizeof(*t));
    worker_publish(w);
    if (s->admin.workers == NULL) add_worker(w, t);
    for (k = 0; k < s->admin.worker_count; k++) add_worker(&s->admin.workers[k], t);
    for (i = 0; i < FIGURE_STATES; i++) t->at[TOTAL_OPEN] += t->at[i];
    t->at[TOTAL_ACTIVE] = t->at[TOTAL_OPEN] - t->at[FIGURE_IDLE];
    t->at[TOTAL_CONNS_LIMIT] = s->conns.limit;
    t->at[TOTAL_RESIDENT] = memory_resident();
    t->at[TOTAL_PRESSURE] = memory_level();
    t->at[TOTAL_PRESSURE_CHANGES] = memory_level_changes();
    add_heap(w, t);
    add_sessions(w, t);
    t->at[TOTAL_FDS_TAKEN] = mm_fd_budget_taken(&s->fds);
    t->at[TOTAL_FDS_PEAK] = mmi_atomic_load(&s->fds.peak);
    t->at[TOTAL_FDS_LIMIT] = s->fds.limit;
    t->at[TOTAL_FDS_REFUSED] = mmi_atomic_load(&s->fds.refused);
    t->at[TOTAL_UPLOADS] = mmi_atomic_load(&s->uploads.commits);
    t->at[TOTAL_DRAINING] = w->draining;
    t->at[TOTAL_UPTIME] = (uint64_t)(w->now_ms - s->admin.started_ms) / 1000;
    t->at[TOTAL_WORKERS] = s->admin.workers == NULL ? 1 : (uint64_t)s->admin.worker_count;
}

/* ---- health ---- */

const char *admin_ailment(const struct worker *w)
{
    if (w->draining) return "draining\n";
    return memory_level() == MM_PRESSURE_CRITICAL ? "critical\n" : NULL;
}

/* ---- Prometheus: text exposition format 0.0.4 ---- */

static void append_head(mm_buffer *to, const char *metric, const char *help, const char *type)
{
    mm_buffer_append_format(to, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

static const char *type_of(const char *metric)
{
    size_t length = strlen(metric);
    return length > 6 && strcmp(metric + length - 6, "_total") == 0 ? "counter" : "gauge";
}

static void append_rows(const totals *t, mm_buffer *to)
{
    const char *before = "";
    size_t i;
    for (i = 0; i < ROWS; i++) {
        const row *r = &rows[i];
        if (strcmp(before, r->metric) != 0) append_head(to, r->metric, r->help, type_of(r->metric));
        before = r->metric;
        mm_buffer_append_string(to, r->metric);
        if (r->label != NULL) mm_buffer_append_quick(to, "{%s=\"%s\"}", r->label, r->key);
        mm_buffer_append_char(to, ' ');
        mm_buffer_append_uint(to, t->at[r->total]);
        mm_buffer_append_char(to, '\n');
    }
}

static void append_requests(const totals *t, mm_buffer *to)
{
    size_t m, c;
    append_head(to, "mmserve_requests_total", "Answers by method and class of status.", "counter");
    for (m = 0; m < FIGURES_METHODS; m++)
        for (c = 0; c < FIGURES_CLASSES; c++) {
            uint64_t count = t->at[FIGURE_REQUESTS + m * FIGURES_CLASSES + c];
            if (count == 0 && m > 0) continue; /* most never happen */
            mm_buffer_append_format(to, "mmserve_requests_total{method=\"%s\",code=\"%s\"} ",
                                    methods[m], classes[c]);
            mm_buffer_append_uint(to, count);
            mm_buffer_append_char(to, '\n');
        }
}

/* Seconds with six digits behind the point, whatever the locale. */
static void append_seconds(mm_buffer *to, uint64_t us)
{
    mm_buffer_append_format(to, "%llu.%06llu", (unsigned long long)(us / 1000000),
                            (unsigned long long)(us % 1000000));
}

static void append_latency(const totals *t, mm_buffer *to)
{
    static const char metric[] = "mmserve_request_duration_seconds";
    uint64_t count = 0;
    size_t i;
    append_head(to, metric, "From a complete request to its answer handed to the system.",
                "histogram");
    for (i = 0; i < FIGURES_BUCKETS; i++) {
        count += t->at[FIGURE_LATENCY + i];
        mm_buffer_append_format(to, "%s_bucket{le=\"", metric);
        if (i < FIGURES_BUCKETS - 1) append_seconds(to, figures_bounds[i]);
        else mm_buffer_append_string(to, "+Inf");
        mm_buffer_append_format(to, "\"} %llu\n", (unsigned long long)count);
    }
    mm_buffer_append_format(to, "%s_sum ", metric);
    append_seconds(to, t->at[FIGURE_LATENCY_SUM]);
    mm_buffer_append_format(to, "\n%s_count %llu\n", metric, (unsigned long long)count);
}

typedef struct column { /* a figure of each class of buffers, or of each budget */
    const char *key;
    const char *metric;
    const char *help;
    size_t offset;
} column;

static const column class_columns[] = {
    {"live", "webserver_buffer_pool_allocated", "Buffers in use, by size; 0: larger ones.",
     offsetof(mm_tier_stats, live)},
    {"cached", "webserver_buffer_pool_available", "Buffers ready for use, by size.",
     offsetof(mm_tier_stats, cached)},
    {"peak", "mmserve_buffer_pool_peak", "Most in use at a time, of each worker added up.",
     offsetof(mm_tier_stats, peak)},
    {"bytes", "mmserve_buffer_pool_bytes", "Bytes of buffers, in use and ready.",
     offsetof(mm_tier_stats, bytes)},
    {"waste", "mmserve_buffer_pool_waste_bytes", "Bytes in use that nobody asked for.",
     offsetof(mm_tier_stats, waste)},
    {"failures", "mmserve_buffer_pool_failures_total", "Buffers that could not be had.",
     offsetof(mm_tier_stats, failures)},
};

static const column budget_columns[] = {
    {"live", "mmserve_budget_live_bytes", "Bytes charged, those of budgets below included.",
     offsetof(mm_budget_stats, live)},
    {"peak", "mmserve_budget_peak_bytes", "Most bytes charged at a time.",
     offsetof(mm_budget_stats, peak)},
    {"limit", "mmserve_budget_limit_bytes", "Bytes that may be charged; 0: any number.",
     offsetof(mm_budget_stats, limit)},
    {"failures", "mmserve_budget_failures_total", "Charges refused.",
     offsetof(mm_budget_stats, failures)},
};

enum {
    CLASS_COLUMNS = sizeof(class_columns) / sizeof(class_columns[0]),
    BUDGET_COLUMNS = sizeof(budget_columns) / sizeof(budget_columns[0])
};

static uint64_t figure_at(const void *stats, const column *c)
{
    size_t figure;
    memcpy(&figure, (const char *)stats + c->offset, sizeof(figure));
    return figure;
}

static void append_classes(const totals *t, mm_buffer *to)
{
    size_t c, i;
    for (c = 0; c < CLASS_COLUMNS; c++) {
        const column *col = &class_columns[c];
        append_head(to, col->metric, col->help, type_of(col->metric));
        for (i = 0; i < t->class_count; i++) {
            mm_buffer_append_format(to, "%s{size=\"%zu\"} ", col->metric, t->classes[i].size);
            mm_buffer_append_uint(to, figure_at(&t->classes[i], col));
            mm_buffer_append_char(to, '\n');
        }
    }
}

/* A label's value: text exposition format, "Comments, help text, and type information". */
static void append_label(mm_buffer *to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            mm_buffer_append_string(to, "\\n");
            continue;
        }
        if (*text == '"' || *text == '\\') mm_buffer_append_char(to, '\\');
        mm_buffer_append_char(to, *text);
    }
}

static void append_budgets(mm_buffer *to)
{
    size_t c, i;
    for (c = 0; c < BUDGET_COLUMNS; c++) {
        const column *col = &budget_columns[c];
        memory_node n;
        append_head(to, col->metric, col->help, type_of(col->metric));
        for (i = 0; memory_node_at(i, &n); i++) {
            mm_buffer_append_format(to, "%s{budget=\"", col->metric);
            append_label(to, n.name);
            mm_buffer_append_string(to, "\"} ");
            mm_buffer_append_uint(to, figure_at(&n.stats, col));
            mm_buffer_append_char(to, '\n');
        }
    }
}

void admin_report_metrics(struct worker *w, mm_buffer *to)
{
    totals t;
    collect(w, &t);
    append_classes(&t, to);
    append_rows(&t, to);
    append_requests(&t, to);
    append_latency(&t, to);
    append_budgets(to);
    append_head(to, "mmserve_build_info", "The version.", "gauge");
    mm_buffer_append_string(to, "mmserve_build_info{version=\"" MM_VERSION "\"} 1\n");
}

/* ---- JSON ---- */

static void append_number(mm_buffer *to, const char *separator, const char *key, uint64_t number)
{
    mm_buffer_append_format(to, "%s\"%s\":", separator, key);
    mm_buffer_append_uint(to, number);
}

static void append_sections(const totals *t, mm_buffer *to)
{
    size_t i;
    for (i = 0; i < ROWS; i++) {
        bool first = i == 0 || strcmp(rows[i].section, rows[i - 1].section) != 0;
        if (first) mm_buffer_append_format(to, "%s,\n\"%s\":{", i == 0 ? "" : "}", rows[i].section);
        append_number(to, first ? "" : ",", rows[i].key, t->at[rows[i].total]);
    }
    mm_buffer_append_char(to, '}');
}

static void append_json_requests(const totals *t, mm_buffer *to)
{
    size_t m, c;
    mm_buffer_append_string(to, ",\n\"requests\":{");
    for (m = 0; m < FIGURES_METHODS; m++) {
        mm_buffer_append_format(to, "%s\"%s\":{", m == 0 ? "" : ",", methods[m]);
        for (c = 0; c < FIGURES_CLASSES; c++)
            append_number(to, c == 0 ? "" : ",", classes[c],
                          t->at[FIGURE_REQUESTS + m * FIGURES_CLASSES + c]);
        mm_buffer_append_char(to, '}');
    }
    mm_buffer_append_char(to, '}');
}

/* The last bucket has no bound. */
static void append_json_latency(const totals *t, mm_buffer *to)
{
    size_t i;
    mm_buffer_append_string(to, ",\n\"latency\":{\"bounds_us\":[");
    for (i = 0; i < FIGURES_BUCKETS - 1; i++)
        mm_buffer_append_format(to, "%s%lu", i == 0 ? "" : ",", (unsigned long)figures_bounds[i]);
    mm_buffer_append_string(to, "],\"counts\":[");
    for (i = 0; i < FIGURES_BUCKETS; i++) {
        if (i > 0) mm_buffer_append_char(to, ',');
        mm_buffer_append_uint(to, t->at[FIGURE_LATENCY + i]);
    }
    mm_buffer_append_char(to, ']');
    append_number(to, ",", "sum_us", t->at[FIGURE_LATENCY_SUM]);
    mm_buffer_append_char(to, '}');
}

static void append_json_classes(const totals *t, mm_buffer *to)
{
    size_t i, c;
    mm_buffer_append_string(to, ",\n\"pools\":[");
    for (i = 0; i < t->class_count; i++) {
        append_number(to, i == 0 ? "\n{" : ",\n{", "size", t->classes[i].size);
        for (c = 0; c < CLASS_COLUMNS; c++)
            append_number(to, ",", class_columns[c].key,
                          figure_at(&t->classes[i], &class_columns[c]));
        mm_buffer_append_char(to, '}');
    }
    mm_buffer_append_char(to, ']');
}

static void append_json_budgets(mm_buffer *to)
{
    memory_node n;
    size_t c, i;
    mm_buffer_append_string(to, ",\n\"budgets\":[");
    for (i = 0; memory_node_at(i, &n); i++) {
        mm_buffer_append_format(to, "%s\n{\"name\":\"", i == 0 ? "" : ",");
        mm_buffer_append_json_escaped(to, mm_slice_from_string(n.name));
        mm_buffer_append_format(to, "\",\"parent\":%d", n.parent);
        for (c = 0; c < BUDGET_COLUMNS; c++)
            append_number(to, ",", budget_columns[c].key, figure_at(&n.stats, &budget_columns[c]));
        mm_buffer_append_char(to, '}');
    }
    mm_buffer_append_char(to, ']');
}

void admin_report_status(struct worker *w, mm_buffer *to)
{
    const char *ailment = admin_ailment(w);
    totals t;
    collect(w, &t);
    mm_buffer_append_string(to, "{\"version\":\"" MM_VERSION "\",\"health\":\"");
    if (ailment == NULL) mm_buffer_append_string(to, "ok");
    else mm_buffer_append(to, ailment, strlen(ailment) - 1); /* without its line feed */
    mm_buffer_append_char(to, '"');
    append_number(to, ",", "time_ms", (uint64_t)w->now_ms);
    append_sections(&t, to);
    append_json_requests(&t, to);
    append_json_latency(&t, to);
    append_json_classes(&t, to);
    append_json_budgets(to);
    mm_buffer_append_string(to, "}\n");
}
