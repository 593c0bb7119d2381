/* tickets.c - sessions that clients resume */
#include "tickets.h"

#include <errno.h>
#include <string.h>

#include "tls.h"

static bool complain(const tickets *t, mm_status status, char *error, size_t error_size)
{
    const char *file = t->keys.desc.file, *why;
    if (file == NULL)
        return tls_complain(error, error_size, "cannot make ticket keys", NULL, tls_reason());
    why = status == MM_STATUS_INVALID ? "not 1 to 8 keys of 80 bytes" : strerror(errno);
    return tls_complain(error, error_size, "cannot use the ticket keys", file, why);
}

bool tickets_reload(tickets *t, char *error, size_t error_size)
{
    mm_status status = mm_tls_tickets_reload(&t->keys);
    return status == MM_STATUS_OK || complain(t, status, error, error_size);
}

bool tickets_init(tickets *t, const char *file, int64_t now, size_t bytes,
                  const mm_allocator *allocator, char *error, size_t error_size)
{
    mm_tls_tickets_desc keys = {.file = file, .rotate = TICKETS_ROTATE,
                                .lifetime = TICKETS_LIFETIME};
    mm_tls_sessions_desc sessions = {.max_entries = bytes / TICKETS_SESSION,
                                     .max_bytes = bytes,
                                     .timeout = TICKETS_LIFETIME, .allocator = allocator};
    mm_status status;
    memset(t, 0, sizeof(*t));
    status = mm_tls_tickets_init(&t->keys, &keys, now);
    if (status != MM_STATUS_OK) return complain(t, status, error, error_size);
    if (mm_tls_sessions_init(&t->sessions, &sessions) == MM_STATUS_OK) return true;
    mm_tls_tickets_deinit(&t->keys);
    return tls_complain(error, error_size, "cannot keep sessions", NULL, "out of memory");
}

void tickets_deinit(tickets *t)
{
    mm_tls_sessions_deinit(&t->sessions);
    mm_tls_tickets_deinit(&t->keys);
}

bool tickets_attach(tickets *t, SSL_CTX *context)
{
    return mm_tls_sessions_attach(&t->sessions, context) == MM_STATUS_OK &&
           mm_tls_tickets_attach(&t->keys, context) == MM_STATUS_OK;
}
