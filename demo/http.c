/* http.c - methods, statuses, fields and error pages (RFC 9110) */
#include "http.h"

#include <assert.h>
#include <string.h>

#include "html.h"
#include "text.h"

/* ---- requests ---- */

http_method http_method_parse(mm_slice token)
{
    static const char *const names[] = {"GET", "HEAD",  "OPTIONS", "POST", "PUT",
                                        "DELETE", "PATCH", "CONNECT", "TRACE"};
    int i;
    for (i = 0; i < HTTP_UNKNOWN; i++)
        if (strlen(names[i]) == token.len && memcmp(names[i], token.ptr, token.len) == 0)
            return (http_method)i;
    return HTTP_UNKNOWN;
}

const http_header *http_request_header(const http_request *request, const char *name)
{
    mm_slice wanted = mm_slice_from_string(name);
    size_t i;
    for (i = 0; i < request->header_count; i++)
        if (mm_slice_equal_nocase(request->headers[i].name, wanted)) return &request->headers[i];
    return NULL;
}

/* By length and at most one letter there is one that it can be, and one comparison tells. */
http_field http_field_parse(mm_slice name)
{
    static const char *const names[HTTP_FIELDS] = {
        "accept", "accept-encoding", "authorization", "if-match", "if-modified-since",
        "if-none-match", "if-range", "if-unmodified-since", "range"};
    http_field field;
    switch (name.len) {
    case 5: field = HTTP_RANGE; break;
    case 6: field = HTTP_ACCEPT; break;
    case 8: field = text_lower(name.ptr[3]) == 'm' ? HTTP_IF_MATCH : HTTP_IF_RANGE; break;
    case 13: field = name.ptr[2] == '-' ? HTTP_IF_NONE_MATCH : HTTP_AUTHORIZATION; break;
    case 15: field = HTTP_ACCEPT_ENCODING; break;
    case 17: field = HTTP_IF_MODIFIED_SINCE; break;
    case 19: field = HTTP_IF_UNMODIFIED_SINCE; break;
    default: return HTTP_FIELDS;
    }
    return mm_slice_equal_nocase(name, mm_slice_make(names[field], name.len)) ? field : HTTP_FIELDS;
}

void http_request_index(http_request *request)
{
    size_t i = request->header_count;
    memset(request->fields, 0, sizeof(request->fields));
    while (i-- > 0) { /* backwards, so that the first one stays */
        http_field field = http_field_parse(request->headers[i].name);
        if (field < HTTP_FIELDS) request->fields[field] = (uint8_t)(i + 1);
    }
}

const http_header *http_request_field(const http_request *request, http_field field)
{
    size_t place = request->fields[field];
    return place == 0 ? NULL : &request->headers[place - 1];
}

const http_header *http_request_next(const http_request *request, const http_header *header)
{
    const http_header *end = request->headers + request->header_count, *next;
    for (next = header + 1; next < end; next++)
        if (mm_slice_equal_nocase(next->name, header->name)) return next;
    return NULL;
}

/* ---- responses ---- */

void http_response_header(http_response *response, const char *name, const char *value)
{
    http_header *header;
    assert(response->header_count < HTTP_RESPONSE_HEADERS);
    if (response->header_count == HTTP_RESPONSE_HEADERS) return;
    header = &response->headers[response->header_count++];
    header->name = mm_slice_from_string(name);
    header->value = mm_slice_from_string(value);
}

typedef struct status_text {
    int status;
    const char *reason;
    const char *explanation; /* for the page; NULL: no page is made for it */
} status_text;

static const status_text status_texts[] = {
    {100, "Continue", NULL},
    {200, "OK", NULL},
    {201, "Created", NULL},
    {204, "No Content", NULL},
    {206, "Partial Content", NULL},
    {301, "Moved Permanently", "The address ends with a slash, since it is a folder's."},
    {304, "Not Modified", NULL},
    {308, "Permanent Redirect", "This is served by HTTPS only, at another address."},
    {400, "Bad Request", "The request breaks the rules of HTTP, or its address cannot be decoded."},
    {401, "Unauthorized", "A name and a password are needed here."},
    {403, "Forbidden", "This may not be read."},
    {404, "Not Found", "There is nothing at this address."},
    {405, "Method Not Allowed", "What is here does not know this method."},
    {408, "Request Timeout", "The request did not arrive in time."},
    {409, "Conflict", "There is no such folder to put this in, or a folder is in its place."},
    {411, "Length Required", "The request does not say how long its content is."},
    {412, "Precondition Failed", "What is here is not what the request expects."},
    {413, "Content Too Large", "The request has more content than is accepted here."},
    {414, "URI Too Long", "The address is longer than is accepted here."},
    {415, "Unsupported Media Type", "The content is encoded in a way that is not accepted here."},
    {416, "Range Not Satisfiable", "The part that was asked for lies behind the end."},
    {417, "Expectation Failed", "The request expects what this server does not know."},
    {421, "Misdirected Request", "This server does not answer for the host that was asked for."},
    {426, "Upgrade Required", "Another protocol is needed here."},
    {429, "Too Many Requests", "There were too many requests in a short time."},
    {431, "Request Header Fields Too Large", "The request has too many header fields."},
    {500, "Internal Server Error", "Something failed on the server."},
    {501, "Not Implemented", "The server does not know what this request asks it to do."},
    {503, "Service Unavailable", "The server is short of resources. Please try again in a moment."},
    {505, "HTTP Version Not Supported", "The server speaks HTTP/1.1 and HTTP/1.0."},
    {507, "Insufficient Storage", "There is no room left for this."},
};

static const status_text *find_status(int status)
{
    size_t i;
    for (i = 0; i < sizeof(status_texts) / sizeof(status_texts[0]); i++)
        if (status_texts[i].status == status) return &status_texts[i];
    return NULL;
}

const char *http_status_text(int status)
{
    const status_text *known = find_status(status);
    return known == NULL ? "Unknown" : known->reason;
}

/* ---- error pages ---- */

static void append_page(mm_buffer *page, int status, const char *explanation, mm_slice location)
{
    const status_text *known = find_status(status);
    mm_buffer title;
    if (explanation == NULL && known != NULL) explanation = known->explanation;
    mm_buffer_init(&title, page->allocator);
    mm_buffer_append_format(&title, "%d %s", status, http_status_text(status));
    html_append_begin(page, mm_buffer_slice(&title));
    mm_buffer_append_string(page, "<h1>");
    mm_buffer_append_buffer(page, &title);
    mm_buffer_append_string(page, "</h1>\n<p>");
    if (explanation != NULL) mm_buffer_append_string(page, explanation);
    if (location.len > 0) {
        mm_buffer_append_string(page, "\n<p><a href=\"");
        mm_buffer_append_html_escaped(page, location);
        mm_buffer_append_string(page, "\">");
        mm_buffer_append_html_escaped(page, location);
        mm_buffer_append_string(page, "</a>");
    }
    mm_buffer_append_char(page, '\n');
    html_append_end(page);
    if (mm_buffer_status(&title) != MM_STATUS_OK) page->status = mm_buffer_status(&title);
    mm_buffer_deinit(&title);
}

/* Leaves the fields of the response behind, but for Location, which it returns. */
static http_header take_location(http_response *response)
{
    http_header location = {{NULL, 0}, {NULL, 0}};
    size_t i;
    for (i = 0; i < response->header_count; i++)
        if (mm_slice_equal_nocase(response->headers[i].name, mm_slice_from_string("Location")))
            location = response->headers[i];
    response->header_count = 0;
    return location;
}

static void set_body(http_response *response, mm_slice content, bool head)
{
    response->content_length = (int64_t)content.len;
    if (head || mm_chunkqueue_append_mem(response->body, content.ptr, content.len) == MM_STATUS_OK)
        return;
    mm_chunkqueue_reset(response->body);
    response->content_length = 0;
}

static void make_page(http_response *response, mm_slice location, bool head)
{
    mm_buffer page;
    mm_buffer_init(&page, mm_arena_allocator(response->arena));
    append_page(&page, response->status, response->explanation, location);
    if (mm_buffer_status(&page) != MM_STATUS_OK) mm_buffer_clear(&page);
    set_body(response, mm_buffer_slice(&page), head);
    mm_buffer_deinit(&page);
    html_add_headers(response);
}

/* The page made for that status elsewhere; it can be of any type, and load what it likes. */
static bool use_page(http_response *response, bool head)
{
    size_t i;
    for (i = 0; i < response->page_count; i++) {
        if (response->pages[i].status != response->status) continue;
        set_body(response, response->pages[i].content, head);
        http_response_header(response, "Content-Type", response->pages[i].type);
        http_response_header(response, "X-Content-Type-Options", "nosniff");
        return true;
    }
    return false;
}

void http_response_error(http_response *response, int status, bool head)
{
    http_header location = take_location(response);
    if (status != 301 && status != 308) location.value.len = 0;
    mm_chunkqueue_reset(response->body);
    response->status = status;
    if (!use_page(response, head)) make_page(response, location.value, head);
    if (location.value.len > 0) response->headers[response->header_count++] = location;
    if (status == 503 || status == 429) http_response_header(response, "Retry-After", "1");
}

/* The host without its port; http1_is_authority has seen to it that there is nothing else in it. */
mm_slice http_request_host(const http_request *request)
{
    mm_slice host = request->host;
    size_t end = 0;
    bool literal = host.len > 0 && host.ptr[0] == '[';
    while (end < host.len && host.ptr[end] != (literal ? ']' : ':')) end++;
    return mm_slice_make(host.ptr, literal && end < host.len ? end + 1 : end);
}

void http_response_to_https(http_response *response, const http_request *request, int port)
{
    mm_slice host = http_request_host(request);
    bool head = request->method == HTTP_HEAD, rooted;
    mm_buffer location;
    if (host.len == 0) {
        http_response_error(response, 400, head);
        return;
    }
    rooted = request->path.len > 0 && request->path.ptr[0] == '/'; /* not the asterisk */
    mm_buffer_init(&location, mm_arena_allocator(response->arena));
    mm_buffer_append_string(&location, "https://");
    mm_buffer_append_slice(&location, host);
    if (port != 443) mm_buffer_append_format(&location, ":%d", port);
    if (rooted) mm_buffer_append_slice(&location, request->path);
    else mm_buffer_append_char(&location, '/');
    if (request->query.len > 0) {
        mm_buffer_append_char(&location, '?');
        mm_buffer_append_slice(&location, request->query);
    }
    if (mm_buffer_status(&location) == MM_STATUS_OK) {
        http_response_header(response, "Location", mm_buffer_string(&location));
        http_response_error(response, 308, head);
    } else {
        http_response_error(response, 503, head);
    }
}
