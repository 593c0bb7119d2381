/* http.h - requests and responses as every protocol version sees them (RFC 9110) */
#ifndef DEMO_HTTP_H
#define DEMO_HTTP_H

#include "../mm_arena.h"
#include "../mm_buffer.h"
#include "../mm_chunk.h"

typedef enum http_method { /* RFC 9110, 9.3; RFC 5789 */
    HTTP_GET,
    HTTP_HEAD,
    HTTP_OPTIONS,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_PATCH,
    HTTP_CONNECT,
    HTTP_TRACE,
    HTTP_UNKNOWN /* a token that is none of these */
} http_method;

typedef struct http_header {
    mm_slice name;  /* as received */
    mm_slice value; /* without white space around it */
} http_header;

typedef enum http_field { /* request fields that handlers ask for: RFC 9110, 11 to 14 */
    HTTP_ACCEPT,
    HTTP_ACCEPT_ENCODING,
    HTTP_AUTHORIZATION,
    HTTP_IF_MATCH,
    HTTP_IF_MODIFIED_SINCE,
    HTTP_IF_NONE_MATCH,
    HTTP_IF_RANGE,
    HTTP_IF_UNMODIFIED_SINCE,
    HTTP_RANGE,
    HTTP_FIELDS /* none of these */
} http_field;

enum {
    HTTP_REQUEST_HEADERS = 100, /* most fields in a request; more is 431 */
    HTTP_RESPONSE_HEADERS = 16  /* most fields that a handler can add */
};

/* A request: slices point into the received bytes, which stay until the response has been made. */
typedef struct http_request {
    mm_slice line;              /* the request line without its end, for the log */
    http_method method;
    mm_slice target;            /* as received */
    mm_slice path;              /* of the target, still percent-encoded; begins with '/', or is
                                   "*" (of OPTIONS), or empty (of CONNECT) */
    mm_slice query;             /* behind the '?', without it; empty when there is none */
    mm_slice host;              /* of an absolute target, or else the value of Host; may be empty */
    int minor;                  /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;            /* the connection goes on after the response */
    bool chunked;               /* the body is in chunked coding */
    bool expect_continue;       /* the client waits for 100 before it sends the body */
    int64_t content_length;     /* of the body; -1 when there is no such field */
    uint8_t fields[HTTP_FIELDS]; /* place in `headers` of the first of each, plus 1; 0: none */
    http_header headers[HTTP_REQUEST_HEADERS];
    size_t header_count;
} http_request;

typedef struct http_page { /* a page for an error, in place of the one made here */
    int status;
    const char *type;      /* Content-Type */
    mm_slice content;
} http_page;

struct mm_file;     /* of mm_io.h */
struct mm_response;

/* What a handler fills in. Strings live in the arena until the response head has been written. */
typedef struct http_response {
    mm_arena *arena;            /* reset when the head has been written */
    int status;                 /* 200 and so on; 0: not answered yet */
    http_header headers[HTTP_RESPONSE_HEADERS]; /* besides Date, Content-Length and Connection */
    size_t header_count;
    int64_t content_length;     /* what Content-Length says, also for HEAD; -1: the field is left
                                   out, which only 1xx, 204 and 304 may */
    mm_chunkqueue *body;        /* empty at first; stays empty for HEAD, 204 and 304 */
    bool close;                 /* the connection ends with this response */
    bool costly;                /* took long to make: the connection's turn is over */
    const http_header *common;  /* further fields that every answer has; common_count of them */
    size_t common_count;
    const http_page *pages;     /* for errors; page_count of them */
    size_t page_count;
    const char *explanation;    /* of an error, for its page, in place of what is
                                   usually said of the status; NULL: that */
    bool tls;                   /* it will be encrypted: there are fields for such only */
    struct mm_response *ready;  /* the fields, all of them, and the content, as they are sent; in
                                   place of headers, common and body, and with a reference that is
                                   the response's; NULL: there is none */
    struct mm_file *source;     /* what the content is all of, to be made such a one under `key`:
                                   the body is empty as yet; with a reference; NULL: nothing is */
    mm_slice key;               /* in the arena */
    bool stale;                 /* of files.c: what was believed of a file is not so */
} http_response;

/* The method that a token names, case-sensitively. */
http_method http_method_parse(mm_slice token);

/* The first field of that name, case-insensitively; NULL when there is none. */
const http_header *http_request_header(const http_request *request, const char *name);

/* The known field that a name is, case-insensitively, or HTTP_FIELDS. */
http_field http_field_parse(mm_slice name);

/* Fills in `fields`, once all headers are there. */
void http_request_index(http_request *request);

/* The first field of a kind, and the one of the same name behind `header`; NULL: there is none. */
const http_header *http_request_field(const http_request *request, http_field field);
const http_header *http_request_next(const http_request *request, const http_header *header);

/* Adds a field whose texts outlive the response (literals, or from its arena). */
void http_response_header(http_response *response, const char *name, const char *value);

/* The reason phrase of a status, never NULL. */
const char *http_status_text(int status);

/* Makes the response an error page (or, for 301 and 308, a redirect page, which keeps the Location
   that was set): drops what it had, sets the type and length, and appends the page that `pages` has
   for that status, or else a small one of HTML, unless `head` says that no body is to be sent.
   Fields that belong to a status (Allow, Content-Range) are added afterwards; 429 and 503 have
   their Retry-After. When not even the page can be had for lack of memory, it is left out and
   Content-Length is 0. */
void http_response_error(http_response *response, int status, bool head);

/* The host of a request without its port. */
mm_slice http_request_host(const http_request *request);

/* Makes the response a redirect (308) to the same host and target at https, on `port`: 400 when the
   request does not say which host it was for. */
void http_response_to_https(http_response *response, const http_request *request, int port);

typedef struct http_date { /* a moment in UTC */
    int year;               /* 1970 to 9999 */
    int month;              /* 0 to 11 */
    int day;                /* 1 to 31 */
    int hour, minute, second;
    int weekday;            /* 0: Sunday */
} http_date;

/* Takes seconds since 1970 apart; years are clamped to 1970..9999. */
void http_date_split(int64_t seconds, http_date *date);

/* Dates of RFC 9110, 5.6.7. Formatting takes seconds since 1970 and writes 29 characters and a NUL;
   years are clamped to 1970..9999. Parsing takes all three forms; false when it is none, or no day
   of the calendar. */
enum { HTTP_DATE_SIZE = 30 };
void http_date_format(int64_t seconds, char text[HTTP_DATE_SIZE]);
bool http_date_parse(mm_slice text, int64_t *seconds);

#endif
