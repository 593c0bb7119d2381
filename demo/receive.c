/* receive.c - what a client sends: heads, bodies to be dropped, and bodies to be kept */
#include "conn_parts.h"
#include "upload.h"

/* ---- heads ---- */

/* RFC 9110, 10.1.1: the client waits to be told whether its body is wanted. It is, unless the
   request is refused for its method or the connection ends anyway: it is dropped, but then the next
   request can come. What is put is kept, if that is judged so. Whoever has begun to send it does
   not wait. */
static bool is_waiting(conn *c, size_t head_size)
{
    const http_request *request = &c->worker->request;
    http1_body body;
    int put;
    if (mm_chunkqueue_length(&c->in) > (int64_t)head_size) c->continued = true;
    if (c->continued || !request->expect_continue) return false;
    put = conn_judge_upload(c);
    if (put != 0) return put == 200;
    return request->keep_alive && request->method <= HTTP_OPTIONS &&
           http1_body_start(&body, request, &http1_drop_limits) == 200;
}

/* The head stays where it is, and is read again once this is out. */
static step say_continue(conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    c->scanned = 0;
    c->continued = true;
    if (mm_chunkqueue_append_mem(&c->out, text, sizeof(text) - 1) != MM_STATUS_OK)
        return STEP_CLOSE;
    c->state = CONN_CONTINUE;
    conn_expect_progress(c);
    return STEP_ON;
}

step conn_run_head(conn *c)
{
    size_t size = (size_t)mm_chunkqueue_length(&c->in), head_size = 0;
    if (size > HTTP1_HEAD_MAX + 1) size = HTTP1_HEAD_MAX + 1;
    if (size > c->scanned) {
        mm_status status;
        const char *bytes = mm_chunkqueue_contiguous(&c->in, size, &status);
        int result;
        if (bytes == NULL) return STEP_CLOSE; /* out of memory, even for a head */
        result = http1_parse_head(&c->worker->request, bytes, size, &c->scanned, &head_size);
        if (result == 200 && is_waiting(c, head_size)) return say_continue(c);
        if (result != 0) return conn_answer(c, result, head_size);
        c->scanned = size;
    }
    if (c->timer == TIMER_WRITE) worker_set_timer(c->worker, c, TIMER_HEAD); /* see conn_run */
    return conn_fill(c);
}

/* ---- bodies ---- */

step conn_run_body(conn *c)
{
    while (!mm_chunkqueue_is_empty(&c->in)) {
        char scratch[1024];
        const char *bytes;
        size_t size, used = 0;
        int result;
        if (mm_chunkqueue_peek(&c->in, scratch, sizeof(scratch), &bytes, &size) != MM_STATUS_OK)
            return STEP_CLOSE;
        result = http1_body_feed(&c->body, bytes, size, &used);
        if (mm_chunkqueue_mark_written(&c->in, (int64_t)used) != MM_STATUS_OK) return STEP_CLOSE;
        if (result == 200) {
            c->state = CONN_WRITE;
            conn_expect_progress(c);
            return STEP_ON;
        }
        if (result != 0) return conn_refuse(c, result);
    }
    return conn_fill(c);
}

/* The timer begins anew with each write to the file: so much is to come in its time. */
step conn_run_upload(conn *c)
{
    bool written;
    int status = upload_feed(c->upload, &c->in, &written);
    if (status != 0) return conn_answer_upload(c, status);
    if (written) worker_set_timer(c->worker, c, TIMER_BODY);
    return conn_fill(c);
}
