/* admin.h - what goes on inside, for people and programs: /-/ and what is beneath it

     /-/             a page that shows it as it changes; dashboard.html, .css and .js
     /-/metrics      text for Prometheus
     /-/status.json  the same, and more, for programs and for the page
     /-/health       200, or 503 while the server drains or is at critical pressure

   Who may not see that finds what the folder has there: nothing tells that there is more. */
#ifndef DEMO_ADMIN_H
#define DEMO_ADMIN_H

#include <pthread.h>

#include "../mm_heap.h"
#include "http.h"
#include "options.h"
#include "values.h"

struct worker;
struct server;

typedef struct admin {
    bool everybody;        /* --admin all */
    bool loopback;         /* this machine */
    value_network nets[OPTIONS_LIST];
    size_t net_count;
    struct worker *workers; /* all there are; set before the first one starts */
    int worker_count;
    int64_t started_ms;    /* monotonic */
    pthread_mutex_t lock;  /* of what follows */
    mm_heap_stats heap;    /* which takes a lock that all need: no more often than ADMIN_HEAP_MS */
    int64_t heap_until;    /* when to ask again */
} admin;

void admin_init(admin *a, const options *o);
void admin_deinit(admin *a);

/* Whether a client of that address, as text, may see it if the request is such a one. */
bool admin_knows(const admin *a, const char *from);

/* Whether the client of that address, as text, with that request may see it. From this machine no
   more than those who say in the request that they mean this machine, and who do not speak for
   somebody else: a proxy's clients are not here, nor are the scripts of a site whose name has been
   made to lead here (DNS rebinding). */
bool admin_admits(const admin *a, const char *from, const http_request *request);

/* Whether a path can be one of these at all: what every request costs. */
static inline bool admin_is_path(mm_slice path)
{
    return path.len >= 3 && path.ptr[1] == '-' && path.ptr[0] == '/' && path.ptr[2] == '/';
}

/* Answers a request for one of these paths by a client that may; false: it is for others. */
bool admin_respond(struct worker *w, const http_request *request, http_response *response,
                   const char *from);

/* ---- reports (admin_report.c) ---- */

/* What /-/health says: NULL is well, or why not. */
const char *admin_ailment(const struct worker *w);

/* Appends a report, by a worker in its own thread. When memory is short the buffer says so. */
void admin_report_metrics(struct worker *w, mm_buffer *to);
void admin_report_status(struct worker *w, mm_buffer *to);

/* ---- the page (from the files dashboard.*, by the Makefile) ---- */

extern const unsigned char dashboard_html[], dashboard_css[], dashboard_js[];
extern const size_t dashboard_html_size, dashboard_css_size, dashboard_js_size;

#endif
