/* accept.h - what a client would rather have: weighted lists (RFC 9110, 12.4.2 and 12.5) */
#ifndef DEMO_ACCEPT_H
#define DEMO_ACCEPT_H

#include "http.h"

/* Takes the next element off a list such as "gzip, br;q=0.5": its name without parameters, and its
   weight in thousandths, 1000 when it has none. Elements that are malformed are passed over. False
   at the end of the list. */
bool accept_take(mm_slice *list, mm_slice *name, int *weight);

/* The weight of a media type, such as "text" and "html", in all Accept fields of a request: that of
   the most specific range that it is in, 0 when it is in none, 1000 without such a field. */
int accept_media_weight(const http_request *request, const char *type, const char *subtype);

#endif
