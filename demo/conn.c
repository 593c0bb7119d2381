#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/sockios.h>
#else
#define SIOCOUTQ TIOCOUTQ
#endif

#include "conn_parts.h"
#include "handshake.h"
#include "rest.h"
#include "upload.h"

enum {
    CONN_SHARE = 256 * 1024, /* bytes written before the others get their turn */
    CONN_TURNS = 32,          /* steps of one connection before the others get their turn */
    CONN_HEAR_MS = 250,       /* between two clients that are let in at critical pressure */
    CONN_LINGER_MAX = 1 << 21 /* bytes dropped while lingering: more is not an honest client */
};

/* ---- figures ---- */

static size_t figure_of(const conn *c)
{
    static const uint8_t states[] = {FIGURE_HANDSHAKE, FIGURE_READING,   FIGURE_READING,
                                     FIGURE_READING,   FIGURE_UPLOADING, FIGURE_WRITING,
                                     FIGURE_CLOSING};
    return c->state == CONN_HEAD && c->timer == TIMER_IDLE ? FIGURE_IDLE : states[c->state];
}

/* At the end of a turn: of a request that takes no longer, nothing is to be seen. */
static void show_state(conn *c)
{
    size_t now = figure_of(c);
    figures_move(&c->worker->figures, c->shown, now);
    c->shown = (uint8_t)now;
}

/* ---- opening and closing ---- */

static void peer_text(const struct sockaddr_storage *address, char *text, size_t size)
{
    const void *ip = NULL;
    int family = address->ss_family;
    if (family == AF_INET) ip = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (family == AF_INET6) ip = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (family == AF_UNIX) memcpy(text, "unix:", 6);
    else if (ip == NULL || inet_ntop(family, ip, text, (socklen_t)size) == NULL)
        memcpy(text, "-", 2);
}

static bool start_tls(conn *c)
{
    c->ssl = handshake_begin(c->worker->server->tls, c->fd);
    return c->ssl != NULL;
}

static void init_conn(conn *c, worker *w, const listener *from,
                      const struct sockaddr_storage *address)
{
    c->timer = TIMER_NONE;
    c->interest = EVENT_READ;
    c->state = from->tls || from->local ? CONN_HANDSHAKE : CONN_HEAD;
    c->redirect = c->state == CONN_HEAD && w->server->options->redirect_http;
    peer_text(address, c->peer_text, sizeof(c->peer_text));
}

/* Without memory for a request: 503, whatever it asks for. */
static void turn_away(conn *c)
{
    (void)mmi_atomic_add(&c->worker->shed.turned_away, 1);
    if (conn_refuse(c, 503) == STEP_CLOSE) conn_close(c);
    else conn_run(c);
}

/* Now and then one may say first what is asked for, or nobody could look inside at this level: see
   is_watched. */
static bool is_heard(const conn *c)
{
    worker *w = c->worker;
    if (w->now_ms < w->shed.hear_at || !admin_knows(&w->server->admin, c->peer_text)) return false;
    w->shed.hear_at = w->now_ms + CONN_HEAR_MS;
    return true;
}

void conn_open(worker *w, int fd, const listener *from, const struct sockaddr_storage *address)
{
    int on = 1;
    conn *c = NULL;
    peer *counted;
    if (peers_add(&w->server->peers, address, &counted)) c = rest_new(w);
    if (c == NULL) {
        peers_remove(&w->server->peers, counted);
        worker_close_socket(w, fd);
        figures_add(&w->figures, FIGURE_REFUSED, 1);
        return;
    }
    init_conn(c, w, from, address);
    c->fd = fd;
    c->peer = counted;
    if (!from->local) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if ((from->tls && !start_tls(c)) ||
        event_add(&w->loop, fd, EVENT_READ, c->handle) != MM_STATUS_OK) {
        SSL_free(c->ssl);
        peers_remove(&w->server->peers, counted);
        rest_free(c);
        worker_close_socket(w, fd);
        figures_add(&w->figures, FIGURE_REFUSED, 1);
        return;
    }
    worker_set_timer(w, c, c->state == CONN_HANDSHAKE ? TIMER_HANDSHAKE : TIMER_HEAD);
    c->shown = (uint8_t)figure_of(c);
    figures_add(&w->figures, c->shown, 1);
    figures_add(&w->figures, FIGURE_ACCEPTED, 1);
    if (c->state == CONN_HEAD && shed_is_critical(w) && !is_heard(c)) turn_away(c);
}

static void count_handshake(conn *c, bool done)
{
    size_t id = !done ? FIGURE_TLS_FAILED
                      : SSL_session_reused(c->ssl) ? FIGURE_TLS_RESUMED : FIGURE_TLS_FULL;
    figures_add(&c->worker->figures, id, 1);
}

static void log_response(conn *c)
{
    int64_t sent = c->out.bytes_out > c->head_size ? c->out.bytes_out - c->head_size : 0;
    access_log_end(&c->worker->log, &c->log_line, c->log_bytes_at, sent);
    mm_buffer_reset(&c->log_line, 0);
}

void conn_close(conn *c)
{
    worker *w = c->worker;
    if (c->state == CONN_UPLOAD) conn_abandon_upload(c);
    if (c->state == CONN_BODY || c->state == CONN_WRITE || c->state == CONN_UPLOAD) log_response(c);
    if (c->state == CONN_HANDSHAKE && c->ssl != NULL) count_handshake(c, false);
    figures_move(&w->figures, c->shown, FIGURE_CLOSED);
    worker_set_timer(w, c, TIMER_NONE);
    event_remove(&w->loop, c->fd);
    ERR_clear_error();
    /* or else OpenSSL forgets the session, which is not to blame for how the connection ended */
    if (c->ssl != NULL) SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    upload_free(c->upload);
    mm_chunkqueue_deinit(&c->in);
    mm_chunkqueue_deinit(&c->out);
    mm_buffer_deinit(&c->log_line);
    peers_remove(&w->server->peers, c->peer);
    worker_close_socket(w, c->fd);
    rest_free(c);
    worker_conn_gone(w);
}

static step wait_for(conn *c, unsigned interest)
{
    if (interest != c->interest) event_change(&c->worker->loop, c->fd, interest, c->handle);
    c->interest = interest;
    return STEP_WAIT;
}

/* Waits for what TLS waits for, or else for `interest`. */
static step wait_for_transport(conn *c, unsigned interest)
{
    if (c->ssl != NULL && SSL_want_read(c->ssl)) interest = EVENT_READ;
    if (c->ssl != NULL && SSL_want_write(c->ssl)) interest = EVENT_WRITE;
    return wait_for(c, interest);
}

void conn_enter(conn *c, conn_state state, timer_kind timer)
{
    c->state = state;
    worker_set_timer(c->worker, c, timer);
}

/* The write timer begins anew. */
void conn_expect_progress(conn *c)
{
    c->unsent = -1;
    c->stalls = 0;
    worker_set_timer(c->worker, c, TIMER_WRITE);
}

/* Tells the peer that no more will come. */
static void say_goodbye(conn *c)
{
    ERR_clear_error();
    if (c->ssl != NULL && SSL_is_init_finished(c->ssl)) (void)SSL_shutdown(c->ssl);
    (void)shutdown(c->fd, SHUT_WR);
}

/* Closing with unread input would reset the connection, and the peer lose the end of the answer. */
static step linger(conn *c)
{
    say_goodbye(c);
    mm_chunkqueue_reset(&c->in);
    mm_chunkqueue_reset(&c->out);
    conn_enter(c, CONN_LINGER, TIMER_LINGER);
    return STEP_ON;
}

static step run_linger(conn *c)
{
    char nowhere[16384];
    ssize_t n;
    do {
        n = recv(c->fd, nowhere, sizeof(nowhere), 0);
        if (n > 0) c->dropped += n;
    } while ((n > 0 && c->dropped < CONN_LINGER_MAX) || (n < 0 && errno == EINTR));
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return wait_for(c, EVENT_READ);
    return STEP_CLOSE;
}

/* ---- reading ---- */

/* An answer that whoever sent it can read: the one thing ever sent in the clear on such a port. */
static step refuse_plain_http(conn *c)
{
    ERR_clear_error();
    count_handshake(c, false);
    SSL_free(c->ssl);
    c->ssl = NULL;
    c->misled = true;
    return conn_refuse(c, 400);
}

static step run_handshake(conn *c)
{
    switch (c->ssl == NULL ? handshake_detect(c->fd) : handshake_run(c->ssl, c->fd)) {
    case HANDSHAKE_READ: return wait_for(c, EVENT_READ);
    case HANDSHAKE_WRITE: return wait_for(c, EVENT_WRITE);
    case HANDSHAKE_TLS: return start_tls(c) ? STEP_ON : STEP_CLOSE;
    case HANDSHAKE_MISLED: return refuse_plain_http(c);
    case HANDSHAKE_ALERT: count_handshake(c, false); return linger(c);
    case HANDSHAKE_FAILED: return STEP_CLOSE;
    case HANDSHAKE_DONE: count_handshake(c, true); break;
    case HANDSHAKE_PLAIN: break;
    }
    conn_enter(c, CONN_HEAD, TIMER_HEAD);
    return STEP_ON;
}

/* Reads what is there into `in`. */
step conn_fill(conn *c)
{
    size_t got;
    mm_status status;
    if (c->ssl != NULL) status = mm_io_tls_read(&c->in, c->ssl, 0, &got);
    else status = mm_io_read(&c->in, c->fd, 0, &got);
    if (status == MM_STATUS_AGAIN) return wait_for_transport(c, EVENT_READ);
    if (status == MM_STATUS_YIELD) return wait_for(c, EVENT_WRITE); /* at once, after the others */
    if (status != MM_STATUS_OK) {
        if (c->ssl != NULL && SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN) say_goodbye(c);
        return STEP_CLOSE;
    }
    figures_add(&c->worker->figures, FIGURE_BYTES_IN, got);
    if (c->timer == TIMER_IDLE) worker_set_timer(c->worker, c, TIMER_HEAD);
    return STEP_ON;
}

/* ---- answering ---- */

/* The answer has left: on to the next request. */
static step finish(conn *c)
{
    log_response(c);
    figures_finish(&c->worker->figures, c->began);
    c->served = true;
    if (c->close || c->worker->draining) return linger(c);
    mm_chunkqueue_reset(&c->out);
    if (mm_chunkqueue_is_empty(&c->in)) {
        conn_enter(c, CONN_HEAD, TIMER_IDLE);
        if (c->ssl == NULL || !mm_io_tls_has_pending(c->ssl)) return wait_for(c, EVENT_READ);
        return STEP_ON;
    }
    conn_enter(c, CONN_HEAD, TIMER_HEAD);
    return STEP_ON;
}

static step run_write(conn *c)
{
    int64_t written, most;
    mm_status status;
    if (!conn_may_send(c, &most)) return STEP_CLOSE;
    if (c->ssl != NULL) status = mm_io_tls_write(&c->out, c->ssl, most, &written);
    else status = mm_io_write(&c->out, c->fd, most, &written);
    figures_add(&c->worker->figures, FIGURE_BYTES_OUT, (size_t)written);
    if (written > 0 && status != MM_STATUS_OK) conn_expect_progress(c);
    if (status == MM_STATUS_OK && c->state == CONN_CONTINUE) {
        conn_enter(c, CONN_HEAD, TIMER_HEAD);
        return STEP_ON;
    }
    if (status == MM_STATUS_OK) return finish(c);
    if (status == MM_STATUS_AGAIN) return wait_for_transport(c, EVENT_WRITE);
    if (status == MM_STATUS_YIELD && written < CONN_SHARE) return STEP_ON; /* the end comes next */
    if (status == MM_STATUS_YIELD) return wait_for(c, EVENT_WRITE);
    if (status == MM_STATUS_INVALID && c->ssl != NULL && conn_is_intact(&c->out))
        return STEP_ON; /* it has only become longer, which shows in its time first */
    return STEP_CLOSE; /* too late for another answer: the peer sees that it is cut short */
}

/* ---- the machine ---- */

void conn_run(conn *c)
{
    step next = STEP_ON;
    int turns;
    c->tired = false;
    for (turns = 0; next == STEP_ON && turns < CONN_TURNS && !c->tired; turns++) {
        switch (c->state) {
        case CONN_HANDSHAKE: next = run_handshake(c); break;
        case CONN_HEAD: next = conn_run_head(c); break;
        case CONN_BODY: next = conn_run_body(c); break;
        case CONN_UPLOAD: next = conn_run_upload(c); break;
        case CONN_CONTINUE:
        case CONN_WRITE: next = run_write(c); break;
        case CONN_LINGER: next = run_linger(c); break;
        }
    }
    if (next == STEP_CLOSE) {
        conn_close(c);
        return;
    }
    if (next == STEP_ON) { /* the others come first; then, when there is room to write */
        if (c->state == CONN_HEAD && c->scanned == 0) /* not for a head: one is here, unread */
            conn_expect_progress(c);
        (void)wait_for(c, EVENT_WRITE);
    }
    show_state(c);
}

/* Whether the client has taken bytes since this was last asked, though we could not write more: a
   socket with megabytes in it becomes writable only when a third of them have been taken. The timer
   runs for half of the write timeout, so two stalls in a row are that timeout. */
static bool is_taking(conn *c)
{
    int unsent = 0, before = c->unsent;
    if (ioctl(c->fd, SIOCOUTQ, &unsent) != 0) return false;
    c->unsent = unsent;
    c->stalls = before < 0 || unsent < before ? 0 : c->stalls + 1;
    return c->stalls < 2;
}

void conn_timeout(conn *c)
{
    bool late_head = c->timer != TIMER_WRITE && c->state == CONN_HEAD &&
                     !mm_chunkqueue_is_empty(&c->in);
    if (c->timer == TIMER_WRITE && is_taking(c)) {
        worker_set_timer(c->worker, c, TIMER_WRITE);
        return;
    }
    worker_set_timer(c->worker, c, TIMER_NONE);
    if (late_head) c->head = false; /* it is not known yet */
    if (late_head || c->state == CONN_BODY || c->state == CONN_UPLOAD) {
        step next = c->state == CONN_UPLOAD ? conn_answer_upload(c, 408) : conn_refuse(c, 408);
        if (next == STEP_CLOSE) conn_close(c);
        else conn_run(c);
        return;
    }
    if (c->state == CONN_HEAD) say_goodbye(c);
    conn_close(c);
}

void conn_drain(conn *c)
{
    worker *w = c->worker;
    mm_handle handle = c->handle;
    if (c->state != CONN_HEAD && c->state != CONN_HANDSHAKE) return;
    worker_set_timer(w, c, c->timer); /* which is short now */
    conn_run(c);                      /* a request may have come by now */
    c = rest_find(w, handle);
    if (c == NULL || c->state != CONN_HEAD || !c->served || !mm_chunkqueue_is_empty(&c->in)) return;
    say_goodbye(c);
    conn_close(c);
}
