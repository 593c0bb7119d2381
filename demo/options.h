/* options.h - the command line */
#ifndef DEMO_OPTIONS_H
#define DEMO_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum { OPTIONS_LIST = 16 };      /* most values of an option that may be given several times */

typedef struct options_list {    /* such values, in the order given */
    const char *at[OPTIONS_LIST];
    size_t count;
} options_list;

typedef struct options {
    const char *dir;       /* the folder that is served; "." */
    options_list bind;     /* addresses to listen on, numeric, or unix:PATH; none: [::] and
                              0.0.0.0 */
    int port;              /* of HTTPS; 8443; 0: any free one, which is printed */
    int http_port;         /* of plain HTTP; -1: none; 0: any free one */
    options_list cert;     /* PEM files; none: one is made in memory */
    options_list key;      /* PEM files of their keys, in the same order; else in the same file */
    const char *ticket_keys; /* file with the keys of session tickets; NULL: made in memory */
    int workers;           /* threads; 0: one a core */
    const char *log;       /* access log: a file, "-" for standard output, "none" */
    const char *log_format; /* "combined" or "json" */
    int drain;             /* seconds for the answers under way at the end; 30 */
    int header_timeout;    /* seconds for a TLS handshake, and for a whole request head; 10 */
    int idle_timeout;      /* seconds between requests; 15 */
    int write_timeout;     /* seconds without a byte being taken, and for a request body; 30 */
    int max_conns;         /* connections at a time; 0: as many as there are descriptors for */
    int max_conns_per_ip;  /* of one client; 0: any number */
    options_list header;   /* NAME:VALUE, fields of every answer */
    options_list cache_control; /* GLOB:VALUE, for the files that fit */
    options_list error_page; /* STATUS=FILE */
    options_list auth;     /* USER:HASH of those who may read; none: everybody may */
    const char *cors;      /* the origin whose scripts may read what is here, or "*"; NULL: none */
    bool hsts;             /* browsers are to come back by HTTPS only */
    bool spa;              /* addresses of nothing are answered with index.html */
    bool redirect_http;    /* plain HTTP only says where HTTPS is */
    options_list upload;   /* /PREFIX=DIR: where clients may put files; none: nowhere */
    const char *upload_token_file; /* who may: those who show a token of this file */
    bool upload_open;      /* or everybody */
    const char *upload_max; /* bytes of a file, as value_size reads them; "1G" */
    bool upload_fsync;     /* what was put is on the disk before it is answered */
    const char *memory;    /* bytes of the process, as value_size reads them; NULL: by profile */
    const char *profile;   /* "small", "medium", "large"; NULL: by this machine */
    options_list admin;    /* who may look inside; none: clients on this machine */
    const char *user;      /* NAME[:GROUP] to become once all is open; NULL: nobody else */
    const char *chroot;    /* folder to be the root then; NULL: as it is */
    bool sandbox;          /* Landlock and seccomp, where there are */
    bool listing;          /* list folders without index.html */
    bool follow;           /* symbolic links may leave the folder */
    bool quiet;            /* print nothing at start */
    bool poll;             /* use poll even where there is epoll */
} options;

/* Fills in `o` from the command line. Returns true to go on; false with *exit_code set when the
   program is to end: 0 after --help and --version (1 when they could not be written), 2 after one
   line on standard error about a bad option. */
bool options_parse(options *o, int argc, char **argv, int *exit_code);

#endif
