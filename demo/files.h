/* files.h - from a request to the file, folder listing, redirect or error that answers it */
#ifndef DEMO_FILES_H
#define DEMO_FILES_H

#include "../mm_io.h"
#include "auth.h"
#include "http.h"
#include "policy.h"
#include "uploads.h"

struct files_sibling;

typedef struct files_site { /* what a worker serves */
    mm_filecache *cache;    /* of the document root */
    mm_respcache *responses; /* of its small files, with the fields that they have; NULL: none */
    bool listing;           /* folders without index.html are listed */
    const mm_allocator *allocator; /* for what a listing needs while it is made */
    auth_guard *guard;      /* who may read; NULL: everybody */
    const policy *policy;    /* what options add to answers; NULL: nothing */
    struct files_sibling *siblings; /* see files_siblings_init; NULL: nothing is remembered */
    uploads *uploads;       /* where files may be put; NULL: nowhere */
    size_t commits;         /* of these, that the caches know of */
    int64_t fresh_until;    /* until then each lookup is by path; milliseconds */
    uint64_t random;        /* state of what boundaries are made from; set it to a random number */
} files_site;

typedef struct files_call { /* one request on its way to an answer */
    files_site *site;
    const http_request *request;
    http_response *response;
    int64_t now_ms;         /* the worker's monotonic clock */
    bool head;              /* of HEAD: no body */
    bool again;             /* the cache asks the system in this very call */
} files_call;

/* Answers GET, HEAD and OPTIONS by RFC 9110 (conditionals, ranges, HEAD without body, Allow),
   any other method with 405 or 501, and all with 401 to who does not show a password. Always
   leaves a complete response, unless it has a `source` for the caller to make one of, or to call
   this again with `responses` NULL. `now_ms` is the worker's monotonic clock. What may not be read,
   what leaves the root by a symbolic link, and what is neither file nor folder is 403; what is
   hidden is 404. */
void files_respond(files_site *site, const http_request *request, http_response *response,
                   int64_t now_ms);

/* The answer is an error page. */
void files_answer_error(const files_call *call, int status);

/* Whether the request shows a password, if one is needed: 200, 401 or 429; and what
   WWW-Authenticate says when it does not. */
int files_check_password(const files_call *call);
extern const char files_challenge[];

/* A number that nobody foresees. */
uint64_t files_random(files_site *site);

/* ---- content (content.c) ---- */

/* The answer is a file, by its conditions and ranges, or the precompressed one beside it. `path` is
   its path in the cache. */
void files_answer_content(const files_call *call, mm_file *file, mm_slice path);

/* ---- paths (path.c) ---- */

/* Percent-decodes the path of a request strictly, once, into `to` (of at least path.len + 1 bytes),
   as a path relative to the root with neither a leading nor a trailing slash: 200 and *length, and
   *folder when it can only be a folder's (it ends with a slash or a dot segment). Dot segments,
   encoded or not, are resolved by the letter, as browsers do; runs of slashes count as one. 400 for
   what is no valid encoding, NUL, control bytes, backslash, an encoded slash, invalid UTF-8 or a
   path that climbs above the root; 404 for hidden names (those that begin with a dot, but for
   /.well-known, RFC 8615). */
int files_decode_path(mm_slice path, char *to, size_t *length, bool *folder);

/* Whether a name in a folder can be asked for at all: not hidden, and valid in a path. */
bool files_is_name_served(mm_slice name);

/* ---- conditions (conditions.c) ---- */

/* Whether a list of entity tags (RFC 9110, 13.1.1 and 13.1.2) is "*" or has `etag` in it. The
   comparison is weak, or `strong`, to which tags that are weak are never equal. */
bool files_etag_listed(mm_slice list, mm_slice etag, bool strong);

/* What If-Match or else If-Unmodified-Since, then If-None-Match or else If-Modified-Since make of a
   GET or HEAD, in the order of RFC 9110, 13.2.2: 412, 304, or 200 to go on. `modified` is what
   Last-Modified says, `etag` a strong one. */
int files_check_conditions(const http_request *request, mm_slice etag, int64_t modified);

/* Whether If-Range, if it is there, is about the content that we have: RFC 9110, 13.1.5. */
bool files_is_range_current(const http_request *request, mm_slice etag, int64_t modified);

/* ---- ranges (ranges.c) ---- */

enum {
    FILES_RANGES_MAX = 16, /* parts of one answer; more is a program that wants the whole file, or
                              somebody who wants us to work */
    FILES_PART_HEAD = 512  /* more bytes than the head of a part can have */
};

typedef struct files_range {
    int64_t offset, length; /* within the file; length > 0 */
} files_range;

typedef struct files_ranges {
    files_range at[FILES_RANGES_MAX]; /* in the order asked for, apart from each other */
    size_t count;
} files_ranges;

/* What Range and If-Range make of a GET of `size` bytes: 200: all of them; 206: `ranges`, of which
   there is one at least; 416. Ranges that overlap or touch are one, those beyond the end are left
   out, as long as there are others. Other units, what is malformed, what would have too many parts
   and several that come to the whole file give 200. */
int files_check_ranges(const http_request *request, mm_slice etag, int64_t modified, int64_t size,
                       files_ranges *ranges);

typedef struct files_parts { /* what several ranges of a file are sent as */
    mm_file *file;
    const char *type;     /* of the file */
    const char *boundary; /* between the parts; 70 characters at most */
} files_parts;

/* Appends the body of multipart/byteranges to `body`, unless that is NULL, and sets *length to what
   it has. */
mm_status files_append_parts(const files_parts *parts, const files_ranges *ranges,
                             mm_chunkqueue *body, int64_t *length);

/* ---- precompressed files (encoding.c) ---- */

enum { FILES_ENCODINGS = 3 }; /* br, zstd, gzip: the best one of those that weigh the same first */

/* Memory for what lies beside which file, so that it need not be looked for in each request. */
MM_NODISCARD mm_status files_siblings_init(files_site *site);
void files_siblings_deinit(files_site *site);

/* Forgets what was found. */
void files_siblings_forget(files_site *site);

/* Which codings of a file lie beside it, as a set of bits: files of its name and .br, .zst or .gz
   that are not older than it. What was found is believed for a second. */
unsigned files_find_siblings(files_site *site, const mm_file *file, mm_slice path, int64_t now_ms);

/* Opens one of them; NULL when it is not there (any more), or older than the file. */
mm_file *files_open_sibling(files_site *site, const mm_file *file, mm_slice path, int encoding,
                            int64_t now_ms);

/* The one of these that Accept-Encoding wants, or -1 for the file as it is. That is what a client
   gets who refuses everything: an error page would be just as little encoded. */
int files_choose_encoding(const http_request *request, unsigned available);

const char *files_encoding_name(int encoding);

/* ---- media types (mime.c) ---- */

/* Content-Type of a file by its name, with a charset for text; never NULL. */
const char *files_mime_type(mm_slice name);

/* ---- listings (listing.c) ---- */

/* Makes the response the listing of the folder `fd` (not taken over): a page, or JSON if Accept
   prefers that, in the order that the query asks for. `path` is the decoded path relative to the
   root. Left out are hidden names, names that no request can have, what may not be read, what is
   neither file nor folder, and symbolic links to such, or out of the root unless the site follows
   them. On failure the response is to be made an error page. */
mm_status files_list(const files_call *call, int fd, mm_slice path);

#endif
