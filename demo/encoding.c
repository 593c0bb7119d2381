/* encoding.c - precompressed files: a.html.br, .zst or .gz beside a.html (RFC 9110, 12.5.3) */
#include "files.h"

#include <string.h>

#include "accept.h"
#include "text.h"

enum {
    ENCODING_SLOTS = 1024,   /* files of which it is remembered what lies beside them; a power of 2:
                                as many as the cache keeps open */
    ENCODING_VALID_MS = 1000 /* for so long; as long as the cache trusts a path */
};

static const struct {
    const char *name;   /* of the coding */
    const char *suffix; /* of the file's name */
} encodings[FILES_ENCODINGS] = {{"br", ".br"}, {"zstd", ".zst"}, {"gzip", ".gz"}};

struct files_sibling { /* what lies beside a file */
    uint64_t key;      /* its path and version, hashed with a secret */
    int64_t checked;   /* when that was, in milliseconds, times 8; plus the codings found */
};

/* ---- what there is ---- */

mm_status files_siblings_init(files_site *site)
{
    size_t size = ENCODING_SLOTS * sizeof(*site->siblings);
    site->siblings = site->allocator->alloc_fn(size, site->allocator->user_data);
    if (site->siblings == NULL) return MM_STATUS_NO_MEMORY;
    memset(site->siblings, 0, size);
    return MM_STATUS_OK;
}

void files_siblings_forget(files_site *site)
{
    memset(site->siblings, 0, ENCODING_SLOTS * sizeof(*site->siblings));
}

void files_siblings_deinit(files_site *site)
{
    if (site->siblings != NULL)
        site->allocator->free_fn(site->siblings, ENCODING_SLOTS * sizeof(*site->siblings),
                                 site->allocator->user_data);
    site->siblings = NULL;
}

/* One that is older than the file is of an earlier version, and one without a byte is none of
   anything: a program was stopped while it wrote. */
static bool is_good(const mm_file *sibling, const mm_file *file)
{
    if (sibling->is_directory || sibling->size == 0) return false;
    if (sibling->mtime != file->mtime) return sibling->mtime > file->mtime;
    return sibling->mtime_ns >= file->mtime_ns;
}

mm_file *files_open_sibling(files_site *site, const mm_file *file, mm_slice path, int encoding,
                            int64_t now_ms)
{
    char name[4096];
    size_t suffix = strlen(encodings[encoding].suffix);
    mm_file *sibling;
    if (path.len + suffix > sizeof(name)) return NULL;
    memcpy(name, path.ptr, path.len);
    memcpy(name + path.len, encodings[encoding].suffix, suffix);
    if (mm_filecache_open(site->cache, mm_slice_make(name, path.len + suffix), now_ms, &sibling) !=
        MM_STATUS_OK)
        return NULL;
    if (is_good(sibling, file)) return sibling;
    mm_file_release(sibling);
    return NULL;
}

static unsigned look_for_siblings(files_site *site, const mm_file *file, mm_slice path,
                                  int64_t now_ms)
{
    unsigned found = 0;
    int i;
    for (i = 0; i < FILES_ENCODINGS; i++) {
        mm_file *sibling = files_open_sibling(site, file, path, i, now_ms);
        if (sibling == NULL) continue;
        found |= 1u << i;
        mm_file_release(sibling);
    }
    return found;
}

/* The hash of the path is the cache's, with its secret: two files never share a key but by chance,
   and one that was rewritten has another. */
static uint64_t sibling_key(const mm_file *file)
{
    uint64_t version = file->ino ^ (uint64_t)file->mtime << 30 ^ (uint64_t)file->mtime_ns;
    return file->hash ^ (version + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

unsigned files_find_siblings(files_site *site, const mm_file *file, mm_slice path, int64_t now_ms)
{
    struct files_sibling *slot;
    uint64_t key = sibling_key(file);
    if (site->siblings == NULL) return look_for_siblings(site, file, path, now_ms);
    slot = &site->siblings[key & (ENCODING_SLOTS - 1)];
    if (slot->key != key || now_ms - (slot->checked >> 3) > ENCODING_VALID_MS) {
        slot->checked = now_ms << 3 | (int64_t)look_for_siblings(site, file, path, now_ms);
        slot->key = key;
    }
    return (unsigned)(slot->checked & 7);
}

/* ---- what is wanted ---- */

const char *files_encoding_name(int encoding)
{
    return encodings[encoding].name;
}

static int find_encoding(mm_slice name)
{
    int i;
    if (text_is_word(name, "x-gzip")) name = mm_slice_from_string("gzip"); /* RFC 9110, 8.4.1.3 */
    for (i = 0; i < FILES_ENCODINGS; i++)
        if (text_is_word(name, encodings[i].name)) return i;
    return text_is_word(name, "identity") ? FILES_ENCODINGS : -1;
}

int files_choose_encoding(const http_request *request, unsigned available)
{
    const http_header *field = http_request_field(request, HTTP_ACCEPT_ENCODING);
    int weights[FILES_ENCODINGS + 1], any = 0, best = -1, i; /* the last one: not encoded */
    for (i = 0; i <= FILES_ENCODINGS; i++) weights[i] = -1;
    for (; field != NULL; field = http_request_next(request, field)) {
        mm_slice list = field->value, name;
        int weight;
        while (accept_take(&list, &name, &weight)) {
            i = find_encoding(name);
            if (i >= 0) weights[i] = weight;
            else if (text_is_word(name, "*")) any = weight;
        }
    }
    for (i = 0; i <= FILES_ENCODINGS; i++)
        if (weights[i] < 0) weights[i] = any;
    for (i = 0; i < FILES_ENCODINGS; i++)
        if ((available >> i & 1) != 0 && weights[i] > 0 && (best < 0 || weights[i] > weights[best]))
            best = i;
    return best >= 0 && weights[best] >= weights[FILES_ENCODINGS] ? best : -1;
}
