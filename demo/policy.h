/* policy.h - what options add to answers: fields and caching */
#ifndef DEMO_POLICY_H
#define DEMO_POLICY_H

#include "http.h"
#include "options.h"

enum { POLICY_FIELDS = OPTIONS_LIST + 3 }; /* --header, --cors and --hsts */

typedef struct policy_cache { /* Cache-Control of some files */
    mm_slice glob;
    mm_slice value;
} policy_cache;

typedef struct policy { /* made at start, then the same for all workers */
    http_header fields[POLICY_FIELDS]; /* of every answer */
    size_t field_count;
    size_t plain_count;       /* the first so many of them are for plain HTTP as well */
    policy_cache caches[OPTIONS_LIST * 2]; /* the first whose glob fits counts */
    size_t cache_count;
    bool cors;                /* scripts of other sites may read what is here */
    bool spa;                 /* addresses of nothing are the application's */
} policy;

/* Reads what the options say; they are to outlive it. */
void policy_init(policy *p, const options *o);

/* Cache-Control of the file at `path`, relative to the root; an empty slice: none. */
mm_slice policy_cache_control(const policy *p, mm_slice path);

/* Adds the fields of every answer, in place of those of the same name that it has. */
void policy_apply(const policy *p, http_response *response, bool tls);

/* Whether a text fits: '*' is any number of characters, slashes too, and '?' is any one. */
bool policy_glob(mm_slice glob, mm_slice text);

#endif
