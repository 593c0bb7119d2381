/* answer.c - from a request, or what is wrong with it, to the answer on its way */
#include "conn_parts.h"

#include <string.h>

#include "admin.h"
#include "text.h"
#include "upload.h"

static const char conn_misled[] = "This port speaks HTTPS: the address begins with https://";

enum { ANSWER_COPY = 4096 }; /* bytes of a ready answer that are copied behind its head: that, and
                                one piece to send, takes less than to share them in two */

/* Moves an answer that is ready to `out`. */
static bool queue_ready(conn *c, const http_request *request, const http_response *response)
{
    mm_response *ready = response->ready;
    mm_slice rest = mm_slice_make(ready->head.ptr,
                                  ready->head.len + (c->head ? 0 : ready->body.len));
    bool shared = rest.len > ANSWER_COPY, ok;
    if (shared) rest.len = 0;
    ok = http1_write_ready(&c->out, request, response, c->worker->date, rest) == MM_STATUS_OK;
    c->head_size = c->out.bytes_in - (int64_t)rest.len + (int64_t)ready->head.len;
    if (ok && shared) ok = mm_response_append(ready, &c->out, !c->head) == MM_STATUS_OK;
    mm_response_release(ready);
    return ok;
}

/* Moves head and body of the answer to `out`; false when there is no memory for that. */
static bool queue_response(conn *c, const http_request *request, const http_response *response)
{
    worker *w = c->worker;
    bool ok;
    if (response->ready != NULL) {
        ok = queue_ready(c, request, response);
    } else {
        ok = http1_write_head(&c->out, request, response, w->date) == MM_STATUS_OK;
        c->head_size = c->out.bytes_in;
        ok = ok && mm_chunkqueue_append_queue(&c->out, &w->body) == MM_STATUS_OK;
        mm_chunkqueue_reset(&w->body);
    }
    mm_arena_reset(&w->arena);
    return ok;
}

static void prepare_response(conn *c, http_response *response)
{
    worker *w = c->worker;
    memset(response, 0, sizeof(*response));
    response->tls = c->ssl != NULL;
    response->arena = &w->arena;
    response->body = &w->body;
    response->content_length = -1;
    pages_renew(&w->server->pages, &w->pages); /* those of the answer before are copied by now */
    response->pages = w->pages == NULL ? NULL : w->pages->at;
    response->page_count = w->pages == NULL ? 0 : w->pages->count;
}

/* Puts the answer on its way, behind the first `head_size` bytes of `in`, which are its request's.
   `body` says what follows these: 200: a body, to be dropped. */
static step send_response(conn *c, http_response *response, size_t head_size, int body)
{
    worker *w = c->worker;
    const http_request *request = &w->request;
    bool ok;
    if (response->ready == NULL) policy_apply(w->site.policy, response, response->tls);
    if (!request->keep_alive || w->draining || shed_is_high(w)) response->close = true;
    c->close = response->close;
    c->tired = response->costly;
    c->has_body = body == 200 && !c->close;
    c->head = request->method == HTTP_HEAD;
    access_log_begin(&w->log, &c->log_line, &c->log_bytes_at, c->peer_text, request,
                     response->status, w->now_s);
    figures_answer(&w->figures, (unsigned)request->method, response->status);
    c->out.bytes_in = c->out.bytes_out = 0;
    ok = queue_response(c, request, response);
    ok = ok && mm_chunkqueue_mark_written(&c->in, (int64_t)head_size) == MM_STATUS_OK;
    c->scanned = 0;
    c->continued = false;
    conn_enter(c, c->has_body ? CONN_BODY : CONN_WRITE, TIMER_BODY);
    if (!c->has_body) conn_expect_progress(c);
    return ok ? STEP_ON : STEP_CLOSE;
}

/* Whether the request came to the wrong certificate: a client that reuses a connection for another
   name than it was opened for, by mistake or by design. */
static bool is_misdirected(conn *c)
{
    mm_slice host = http_request_host(&c->worker->request);
    char name[256];
    const char *asked = c->ssl == NULL ? NULL
                                       : SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
    if (asked == NULL || host.len == 0 || host.len >= sizeof(name)) return false;
    if (text_is_word(host, asked)) return false;
    memcpy(name, host.ptr, host.len);
    name[host.len] = '\0';
    return !certs_answer_for(&c->worker->server->certs, asked, name);
}

/* ---- uploads ---- */

/* What upload_judge says, and 503 to a large body when memory is short. */
static int judge(conn *c, http_response *response)
{
    const http_request *request = &c->worker->request;
    int status = upload_judge(c->worker, request, response);
    int64_t size = request->content_length < 0 && !request->chunked ? 0 : request->content_length;
    return status == 200 && shed_refuses_body(c->worker, size) ? 503 : status;
}

int conn_judge_upload(conn *c)
{
    http_response response;
    int status;
    prepare_response(c, &response);
    status = c->redirect ? 0 : judge(c, &response);
    if (status == 200 && is_misdirected(c)) status = 421; /* conn_answer finds out, too */
    mm_arena_reset(&c->worker->arena);
    return status;
}

/* 200, or what stands in the way. */
static int begin_upload(conn *c, size_t head_size)
{
    worker *w = c->worker;
    mm_status status;
    int result = 503;
    const char *head = mm_chunkqueue_contiguous(&c->in, head_size, &status);
    if (head == NULL) return 503; /* it lies there already, parsed */
    c->upload = upload_begin(w, &w->request, mm_slice_make(head, head_size), &result);
    if (c->upload == NULL) return result;
    mm_arena_reset(&w->arena);
    (void)!mm_chunkqueue_mark_written(&c->in, (int64_t)head_size);
    c->scanned = 0;
    c->head = c->continued = false;
    conn_enter(c, CONN_UPLOAD, TIMER_BODY);
    return 200;
}

step conn_answer_upload(conn *c, int status)
{
    worker *w = c->worker;
    upload *u = c->upload;
    http_response response;
    step next;
    prepare_response(c, &response);
    upload_recall(u, &w->request);
    if (status == 200) {
        upload_finish(u, &w->request, &response);
    } else {
        upload_refuse(w, status, &response);
        response.close = true;
    }
    next = send_response(c, &response, 0, 0);
    c->upload = NULL;
    upload_free(u); /* the request lies in it */
    return next;
}

/* 499 is no status of HTTP, and never sent: logs have it for who did not wait for an answer. */
void conn_abandon_upload(conn *c)
{
    worker *w = c->worker;
    upload_recall(c->upload, &w->request);
    access_log_begin(&w->log, &c->log_line, &c->log_bytes_at, c->peer_text, &w->request, 499,
                     w->now_s);
    figures_answer(&w->figures, (unsigned)w->request.method, 499);
    c->out.bytes_in = c->out.bytes_out = c->head_size = 0; /* of what came before it */
}

/* ---- requests ---- */

/* Makes the answer ready, for this request and those to come; false: it cannot be, for want of
   memory, or because its file is another by now. */
static bool make_ready(worker *w, http_response *response)
{
    mm_slice fields;
    mm_status status = MM_STATUS_NO_MEMORY;
    policy_apply(w->site.policy, response, response->tls);
    fields = http1_format_fields(response);
    if (fields.ptr != NULL)
        status = mm_respcache_put(&w->responses, response->key, response->source, fields, NULL,
                                  &response->ready);
    mm_file_release(response->source);
    response->source = NULL;
    return status == MM_STATUS_OK;
}

/* Small files are sent from memory, others, and what there is no memory for, from the file. No page
   for an error and no field that SIGHUP could change is among what is kept. */
static void answer_file(conn *c, http_response *response)
{
    worker *w = c->worker;
    files_respond(&w->site, &w->request, response, w->now_ms);
    if (response->source == NULL || make_ready(w, response)) return;
    prepare_response(c, response);
    w->site.responses = NULL;
    files_respond(&w->site, &w->request, response, w->now_ms);
    w->site.responses = &w->responses;
}

static void answer_request(conn *c, http_response *response, int put, int body)
{
    worker *w = c->worker;
    const http_request *request = &w->request;
    if (put != 0) upload_refuse(w, put, response);
    else if (c->redirect && request->method != HTTP_CONNECT)
        http_response_to_https(response, request, w->server->https_port);
    else if (!admin_is_path(request->path) ||
             !admin_respond(w, request, response, c->peer_text))
        answer_file(c, response);
    /* whoever waits for 100 has his answer: whether the body follows is not known any more */
    if (body == 200 && request->expect_continue && !c->continued) response->close = true;
    if (body == 413) response->close = true;
}

/* Whoever may look inside may so when it matters most. */
static bool is_watched(const conn *c)
{
    const http_request *request = &c->worker->request;
    return admin_is_path(request->path) &&
           admin_admits(&c->worker->server->admin, c->peer_text, request);
}

step conn_answer(conn *c, int status, size_t head_size)
{
    http_request *request = &c->worker->request;
    http_response response;
    int body = 0, put = 0;
    c->began = figures_tick(&c->worker->figures);
    prepare_response(c, &response);
    if (status == 200 && is_misdirected(c)) status = 421;
    if (status == 200 && shed_is_critical(c->worker) && !is_watched(c)) status = 503;
    if (status == 200 && !c->redirect) put = judge(c, &response);
    if (put == 200) put = begin_upload(c, head_size);
    if (c->upload != NULL) return STEP_ON;
    if (status == 200) body = http1_body_start(&c->body, request, &http1_drop_limits);
    if (body == 413 && put == 0) status = 413;
    if (status == 200) {
        answer_request(c, &response, put, body);
    } else {
        if (c->misled) response.explanation = conn_misled;
        http_response_error(&response, status, request->method == HTTP_HEAD);
        response.close = true;
    }
    return send_response(c, &response, head_size, body);
}

step conn_refuse(conn *c, int status)
{
    memset(&c->worker->request, 0, sizeof(c->worker->request));
    c->worker->request.method = c->head ? HTTP_HEAD : HTTP_GET;
    mm_chunkqueue_reset(&c->out);
    mm_buffer_reset(&c->log_line, 0);
    return conn_answer(c, status, 0);
}
