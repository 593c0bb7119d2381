/* values.h - how the values of options are written: the parser checks them, policy.c reads them */
#ifndef DEMO_VALUES_H
#define DEMO_VALUES_H

#include "../mm_buffer.h"

typedef struct value_pair { /* the two sides of "NAME:VALUE" and the like */
    mm_slice left, right;
} value_pair;

/* NAME:VALUE: a field that an answer may have besides the server's own, which are those that say
   what the content is and where it ends. No control byte can be in it, and so no second field. */
bool value_header(const char *text, value_pair *pair);

/* GLOB:VALUE of Cache-Control. */
bool value_cache_control(const char *text, value_pair *pair);

/* STATUS=FILE; the status is from 400 to 599. */
bool value_error_page(const char *text, value_pair *pair);

/* /PREFIX=DIR: a path as it is, not encoded, with no segment that is empty or begins with a dot. */
bool value_upload(const char *text, value_pair *pair);

/* A number of bytes, perhaps with K, M, G or T (powers of 1024) behind it; -1 when it is none, or
   more than a file can have. */
int64_t value_size(const char *text);

/* An origin as browsers send it, scheme://host or scheme://host:port, or "*". */
bool value_origin(const char *text);

typedef struct value_network { /* IPv4 addresses as IPv6 has them: RFC 4291, 2.5.5.2 */
    unsigned char address[16];
    unsigned bits;         /* of these, from the first: 0 to 128 */
} value_network;

/* A numeric address as IPv6 has it: how many bits it has by itself, 32 or 128, or 0: it is none. */
unsigned value_address(const char *text, unsigned char address[16]);

/* ADDRESS or ADDRESS/BITS. */
bool value_net(const char *text, value_network *net);

#endif
