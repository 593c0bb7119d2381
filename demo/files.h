/* files.h - from a request to the file, folder listing, redirect or error that answers it */
#ifndef DEMO_FILES_H
#define DEMO_FILES_H

#include "../mm_io.h"
#include "http.h"

typedef struct files_site { /* what a worker serves */
    mm_filecache *cache;    /* of the document root */
    bool listing;           /* folders without index.html are listed */
    const mm_allocator *allocator; /* for what a listing needs while it is made */
} files_site;

/* Answers GET, HEAD and OPTIONS by RFC 9110 (conditionals, one range, HEAD without body, Allow),
   any other method with 405 or 501. Always leaves a complete response. `now_ms` is the worker's
   monotonic clock. What may not be read, what leaves the root by a symbolic link, and what is
   neither file nor folder is 403; what is hidden is 404. */
void files_respond(files_site *site, const http_request *request, http_response *response,
                   int64_t now_ms);

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

/* ---- validators and ranges (conditions.c) ---- */

/* Whether a list of entity tags (RFC 9110, 13.1.2) is "*" or has `etag` in it, compared weakly. */
bool files_etag_listed(mm_slice list, mm_slice etag);

/* What If-None-Match and If-Modified-Since make of a GET or HEAD, in the order of RFC 9110, 13.2.2:
   304, or 200 to go on. `modified` is what Last-Modified says. */
int files_check_conditions(const http_request *request, mm_slice etag, int64_t modified);

/* What Range and If-Range make of a GET of `size` bytes: 200: all of them; 206: *length > 0 bytes
   at *offset; 416. More than one range, other units and what is malformed give 200. */
int files_check_range(const http_request *request, mm_slice etag, int64_t modified, int64_t size,
                      int64_t *offset, int64_t *length);

/* ---- media types (mime.c) ---- */

/* Content-Type of a file by its name, with a charset for text; never NULL. */
const char *files_mime_type(mm_slice name);

/* ---- listings (listing.c) ---- */

/* Makes the response the HTML listing of the folder `fd` (not taken over). `path` is the decoded
   path relative to the root. Left out are hidden names, names that no request can have, what may
   not be read, what is neither file nor folder, and symbolic links to such, or out of the root
   unless the site follows them. On failure the response is to be made an error page. */
mm_status files_list(files_site *site, int fd, mm_slice path, http_response *response, bool head,
                     int64_t now_ms);

#endif
