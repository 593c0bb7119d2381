/* handshake.c - TLS is agreed on, or turns out to be something else */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "handshake.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "../mm_io.h"

/* The first byte of TLS is the type of a record, and no letter. */
handshake handshake_detect(int fd)
{
    char first;
    ssize_t n;
    do n = recv(fd, &first, 1, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return HANDSHAKE_READ;
    if (n <= 0) return HANDSHAKE_FAILED;
    return first == SSL3_RT_HANDSHAKE ? HANDSHAKE_TLS : HANDSHAKE_PLAIN;
}

SSL *handshake_begin(SSL_CTX *context, int fd)
{
    SSL *ssl;
    ERR_clear_error();
    ssl = SSL_new(context);
    if (ssl != NULL && mm_io_tls_attach(ssl, fd, false) == MM_STATUS_OK) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_free(ssl);
    return NULL;
}

/* Whether it failed for a request of plain HTTP. OpenSSL knows the most usual methods by their
   beginning; of others, what it has not read ends as a request line does. */
static bool is_plain_http(int fd)
{
    int reason = ERR_GET_REASON(ERR_peek_error());
    char line[2048];
    ssize_t n, i;
    if (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST) return true;
    if (reason != SSL_R_WRONG_VERSION_NUMBER) return false;
    n = recv(fd, line, sizeof(line), MSG_PEEK);
    for (i = 0; i + 9 < n && line[i] != '\r' && line[i] != '\n'; i++)
        if (memcmp(line + i, " HTTP/1.", 8) == 0) return true;
    return false;
}

handshake handshake_run(SSL *ssl, int fd)
{
    int result;
    ERR_clear_error();
    result = SSL_do_handshake(ssl);
    if (result == 1) return HANDSHAKE_DONE;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ: /* what has been read already, no event will tell of */
        return mm_io_tls_has_pending(ssl) ? HANDSHAKE_WRITE : HANDSHAKE_READ;
    case SSL_ERROR_WANT_WRITE: return HANDSHAKE_WRITE;
    case SSL_ERROR_SSL: return is_plain_http(fd) ? HANDSHAKE_MISLED : HANDSHAKE_ALERT;
    default: return HANDSHAKE_FAILED;
    }
}
