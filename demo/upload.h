/* upload.h - one PUT, from its head to the file that is there (RFC 9110, 9.3.4) */
#ifndef DEMO_UPLOAD_H
#define DEMO_UPLOAD_H

#include "http1.h"
#include "worker.h"

/* A file in the making: in the folder where it is to be, but without a name there, so that it goes
   with the server, however that ends. Where the file system knows no such files it has a hidden
   name, and a server that was killed leaves it to uploads_sweep. */
typedef struct upload upload;

/* What is to be said of a request whose head is here: 0: it is not about uploads; 200: a PUT that
   can go on; else the status that refuses it. Of the response only `costly` may be set. */
int upload_judge(worker *w, const http_request *request, http_response *response);

/* Makes the response the error page that belongs to a PUT. */
void upload_refuse(const worker *w, int status, http_response *response);

/* Begins a PUT that has been judged to go on. `head` are its bytes. NULL with *status. */
upload *upload_begin(worker *w, const http_request *request, mm_slice head, int *status);

/* Takes what `in` has of the body, and writes it to the file when it is enough for a write. Returns
   0: more is to come; 200: that was all of it; else the status that ends it. *written is set when
   something was. */
int upload_feed(upload *u, mm_chunkqueue *in, bool *written);

/* Reads the head again, into `request`: until the body is here, that has been another's. */
void upload_recall(const upload *u, http_request *request);

/* The body is complete: makes it the file, if what is there now is still what the request wants to
   be there, and the response says what has become of it. */
void upload_finish(upload *u, const http_request *request, http_response *response);

/* Ends it; a file that has not been finished is gone. NULL: nothing happens. */
void upload_free(upload *u);

#endif
