/* intact.c - answers whose files change while they are sent, where mm_io cannot tell: what sendfile
   has sent of them was never in our hands, so the end of a file is */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "conn_parts.h"

#include <poll.h>
#include <sys/stat.h>

enum {
    INTACT_SHARE = 256 * 1024, /* bytes in one go, as mm_io_write has it */
    INTACT_TAIL = 16 * 1024,   /* of the end of a file, that are held back: a record of TLS */
    INTACT_LOOKS = 20          /* a millisecond apart, at a file that was written to */
};

/* mm_chunk_verify minds all that fstat can tell; of a file that was renamed, removed or given other
   rights the content is what it was. One that is appended to gets its new time before its new size:
   so a new time alone is looked at again, for as long as a write may take. */
static bool is_content_same(const mm_chunk *c)
{
    const mm_chunk_identity *was = &c->source->identity;
    struct stat st;
    int looks;
    for (looks = 0; looks < INTACT_LOOKS; looks++) {
        if (looks > 0) (void)poll(NULL, 0, 1);
        if (fstat(c->source->fd, &st) != 0 || (int64_t)st.st_size < was->size) return false;
        if ((int64_t)st.st_size > was->size) return true;
        if ((uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec == was->mtime)
            return true;
    }
    return false;
}

bool conn_is_intact(const mm_chunkqueue *q)
{
    mm_chunk *c;
    for (c = q->first; c != NULL; c = c->next) {
        mm_status status = mm_chunk_verify(c);
        if (status != MM_STATUS_OK && (status != MM_STATUS_INVALID || !is_content_same(c)))
            return false;
    }
    return true;
}

static bool has_files(const mm_chunkqueue *q)
{
    const mm_chunk *c = q->first;
    while (c != NULL && (c->type == MM_CHUNK_MEM || c->source->is_temp)) c = c->next;
    return c != NULL;
}

/* Reads the rest of the answer into memory, then looks at the files that it came from. */
static bool read_rest(conn *c)
{
    mm_chunkqueue files;
    bool good;
    mm_chunkqueue_init(&files, &c->worker->chunks);
    good = mm_chunkqueue_append_range(&files, &c->out, 0, mm_chunkqueue_length(&c->out)) ==
               MM_STATUS_OK &&
           mm_chunkqueue_squash(&c->out) == MM_STATUS_OK && conn_is_intact(&files);
    mm_chunkqueue_deinit(&files);
    return good;
}

bool conn_may_send(conn *c, int64_t *most)
{
    int64_t length = mm_chunkqueue_length(&c->out);
    *most = 0;
    if (c->ssl != NULL || !has_files(&c->out)) return true;
    if (length <= INTACT_TAIL) return read_rest(c);
    *most = length - INTACT_TAIL < INTACT_SHARE ? length - INTACT_TAIL : INTACT_SHARE;
    return true;
}
