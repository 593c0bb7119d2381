/* policy.c - what options add to answers */
#include "policy.h"

#include <string.h>

#include "text.h"
#include "values.h"

/* A year: what the lists of such hosts ask for. */
static const char hsts_value[] = "max-age=31536000";

/* Fields that scripts may read besides those that they always may (Fetch standard, 3.2.5). */
static const char cors_exposed[] = "Accept-Ranges, Content-Encoding, Content-Range, ETag";

/* ---- globs ---- */

/* Goes back to the last asterisk only, so that no glob takes more than glob times text. */
bool policy_glob(mm_slice glob, mm_slice text)
{
    size_t g = 0, t = 0, star = SIZE_MAX, mark = 0;
    while (t < text.len) {
        if (g < glob.len && glob.ptr[g] == '*') {
            star = g++;
            mark = t;
        } else if (g < glob.len && (glob.ptr[g] == '?' || glob.ptr[g] == text.ptr[t])) {
            g++;
            t++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.ptr[g] == '*') g++;
    return g == glob.len;
}

/* The part of a path behind its last slash. */
static mm_slice last_segment(mm_slice path)
{
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '/') at--;
    return text_from(path, at);
}

/* A glob with a slash is for the whole path, which it may begin with a slash or not; one without is
   for the name, wherever it lies. */
static bool fits(mm_slice glob, mm_slice path)
{
    if (memchr(glob.ptr, '/', glob.len) == NULL) return policy_glob(glob, last_segment(path));
    return policy_glob(glob.ptr[0] == '/' ? text_from(glob, 1) : glob, path);
}

mm_slice policy_cache_control(const policy *p, mm_slice path)
{
    size_t i;
    for (i = 0; i < p->cache_count; i++)
        if (fits(p->caches[i].glob, path)) return p->caches[i].value;
    return mm_slice_make(NULL, 0);
}

/* ---- fields ---- */

static void add_field(policy *p, mm_slice name, mm_slice value)
{
    p->fields[p->field_count].name = name;
    p->fields[p->field_count++].value = value;
}

static void add_cache(policy *p, mm_slice glob, mm_slice value)
{
    p->caches[p->cache_count].glob = glob;
    p->caches[p->cache_count++].value = value;
}

/* RFC 6797, 7.2: never over plain HTTP. It stands last, and is left out there. */
static void add_hsts(policy *p, bool wanted, mm_slice value)
{
    p->plain_count = p->field_count;
    if (value.len == 0 && wanted) value = mm_slice_from_string(hsts_value);
    if (value.len > 0) add_field(p, mm_slice_from_string("Strict-Transport-Security"), value);
}

static void make_fields(policy *p, const options *o)
{
    mm_slice hsts = {NULL, 0};
    value_pair pair;
    size_t i;
    for (i = 0; i < o->cache_control.count; i++)
        if (value_cache_control(o->cache_control.at[i], &pair))
            add_cache(p, pair.left, pair.right);
    for (i = 0; i < o->header.count; i++) {
        if (!value_header(o->header.at[i], &pair)) continue; /* the parser has let none pass */
        if (text_is_word(pair.left, "Cache-Control"))
            add_cache(p, mm_slice_from_string("*"), pair.right);
        else if (text_is_word(pair.left, "Strict-Transport-Security")) hsts = pair.right;
        else add_field(p, pair.left, pair.right);
    }
    if (o->cors != NULL) {
        add_field(p, mm_slice_from_string("Access-Control-Allow-Origin"),
                  mm_slice_from_string(o->cors));
        add_field(p, mm_slice_from_string("Access-Control-Expose-Headers"),
                  mm_slice_from_string(cors_exposed));
    }
    add_hsts(p, o->hsts, hsts);
}

static bool has_field(const http_header *fields, size_t count, mm_slice name)
{
    size_t i;
    for (i = 0; i < count; i++)
        if (mm_slice_equal_nocase(fields[i].name, name)) return true;
    return false;
}

void policy_apply(const policy *p, http_response *response, bool tls)
{
    size_t i, kept = 0, count = tls ? p->field_count : p->plain_count;
    if (count == 0) return;
    for (i = 0; i < response->header_count; i++)
        if (!has_field(p->fields, count, response->headers[i].name))
            response->headers[kept++] = response->headers[i];
    response->header_count = kept;
    response->common = p->fields;
    response->common_count = count;
}

void policy_init(policy *p, const options *o)
{
    memset(p, 0, sizeof(*p));
    p->cors = o->cors != NULL;
    p->spa = o->spa;
    make_fields(p, o);
}
