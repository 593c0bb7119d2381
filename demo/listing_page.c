/* listing_page.c - a listing as a page or as JSON, and in which order it was asked for */
#include "listing.h"

#include "html.h"
#include "text.h"

static const struct {
    const char *word;  /* in the query */
    const char *title; /* of the column */
} list_columns[LIST_KEYS] = {{"name", "Name"}, {"size", "Size"}, {"time", "Modified (UTC)"}};

/* ---- order ---- */

/* The value of a parameter in a query; empty when there is none. */
static mm_slice query_value(mm_slice query, const char *name)
{
    while (query.len > 0) {
        mm_slice part = text_until(query, "&"), key = text_until(part, "=");
        query = text_from(query, part.len < query.len ? part.len + 1 : part.len);
        if (key.len < part.len && mm_slice_equal(key, mm_slice_from_string(name)))
            return text_from(part, key.len + 1);
    }
    return mm_slice_make(NULL, 0);
}

list_order listing_order(mm_slice query)
{
    list_order order = {LIST_NAME, false};
    mm_slice sort = query_value(query, "sort");
    int i;
    for (i = 0; i < LIST_KEYS; i++)
        if (mm_slice_equal(sort, mm_slice_from_string(list_columns[i].word)))
            order.key = (list_key)i;
    order.descending = mm_slice_equal(query_value(query, "order"), mm_slice_from_string("desc"));
    return order;
}

/* ---- the page ---- */

/* Moves the text that has been made to the body, or counts it. */
static mm_status flush_text(listing *l)
{
    mm_status status = mm_buffer_status(&l->text);
    if (status != MM_STATUS_OK) return status;
    l->length += (int64_t)mm_buffer_length(&l->text);
    if (l->body != NULL)
        status = mm_chunkqueue_append_mem(l->body, mm_buffer_string(&l->text),
                                          mm_buffer_length(&l->text));
    mm_buffer_clear(&l->text);
    return status;
}

static void append_size(mm_buffer *text, int64_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int64_t rest = 0;
    size_t unit;
    for (unit = 0; size >= 1024; unit++) { /* six times at most: 2^63 is 8 EiB */
        rest = size % 1024;
        size /= 1024;
    }
    mm_buffer_append_int(text, size);
    if (unit > 0 && size < 10) mm_buffer_append_format(text, ".%d", (int)(rest * 10 / 1024));
    mm_buffer_append_format(text, " %s", units[unit]);
}

static void append_time(mm_buffer *text, int64_t seconds)
{
    http_date d;
    http_date_split(seconds, &d);
    mm_buffer_append_format(text, "%04d-%02d-%02d %02d:%02d", d.year, d.month + 1, d.day, d.hour,
                            d.minute);
}

/* "./" in front, or a name with a colon would be taken for a scheme. */
static void append_row(mm_buffer *text, const list_entry *entry)
{
    mm_slice name = mm_slice_make(entry->name, entry->name_len);
    const char *slash = entry->is_folder ? "/" : "";
    mm_buffer_append_string(text, "<tr><td><a href=\"./");
    mm_buffer_append_url_path(text, name);
    mm_buffer_append_format(text, "%s\">", slash);
    mm_buffer_append_html_escaped(text, name);
    mm_buffer_append_format(text, "%s</a><td>", slash);
    if (!entry->is_folder) append_size(text, entry->size);
    mm_buffer_append_string(text, "<td>");
    append_time(text, entry->modified);
    mm_buffer_append_char(text, '\n');
}

/* "/path/" */
static void append_path(const listing *l, mm_buffer *to, mm_status (*append)(mm_buffer *, mm_slice))
{
    mm_buffer_append_char(to, '/');
    (void)append(to, l->path);
    if (l->path.len > 0) mm_buffer_append_char(to, '/');
}

/* A link that sorts by the column; by the one that it is sorted by already, the other way round. */
static void append_column(listing *l, list_key key)
{
    bool current = l->order.key == key, descending = current && !l->order.descending;
    mm_buffer_append_string(&l->text, "<th");
    if (current)
        mm_buffer_append_format(&l->text, " aria-sort=\"%s\"",
                                l->order.descending ? "descending" : "ascending");
    mm_buffer_append_string(&l->text, "><a href=\"");
    append_path(l, &l->text, mm_buffer_append_url_path);
    mm_buffer_append_format(&l->text, "?sort=%s&amp;order=%s\">%s</a>", list_columns[key].word,
                            descending ? "desc" : "asc", list_columns[key].title);
}

static void append_head(listing *l)
{
    mm_buffer title;
    int i;
    mm_buffer_init(&title, mm_arena_allocator(&l->arena));
    mm_buffer_append_string(&title, "Index of ");
    append_path(l, &title, mm_buffer_append_slice);
    html_append_begin(&l->text, mm_buffer_slice(&title));
    mm_buffer_append_string(&l->text, "<h1>");
    mm_buffer_append_html_escaped(&l->text, mm_buffer_slice(&title));
    mm_buffer_append_string(&l->text, "</h1>\n<table>\n<tr>");
    for (i = 0; i < LIST_KEYS; i++) append_column(l, (list_key)i);
    mm_buffer_append_char(&l->text, '\n');
    if (l->path.len > 0)
        mm_buffer_append_string(&l->text, "<tr><td><a href=\"../\">../</a><td><td>\n");
    if (mm_buffer_status(&title) != MM_STATUS_OK) l->text.status = mm_buffer_status(&title);
}

static void append_foot(listing *l)
{
    const uploads *all = l->site->uploads;
    mm_slice rest;
    mm_buffer_append_string(&l->text, "</table>\n");
    if (all != NULL && uploads_find(all, l->path, &rest) < all->count)
        mm_buffer_append_format(&l->text, "<p>Files can be put here by PUT%s.\n",
                                all->token_file != NULL ? ", with a token" : "");
    html_append_end(&l->text);
}

/* ---- JSON ---- */

static void append_object(mm_buffer *text, const list_entry *entry, bool last)
{
    http_date d;
    mm_buffer_append_string(text, "{\"name\":\"");
    mm_buffer_append_json_escaped(text, mm_slice_make(entry->name, entry->name_len));
    mm_buffer_append_format(text, "\",\"type\":\"%s\"", entry->is_folder ? "folder" : "file");
    if (!entry->is_folder) {
        mm_buffer_append_string(text, ",\"size\":");
        mm_buffer_append_int(text, entry->size);
    }
    http_date_split(entry->modified, &d);
    mm_buffer_append_format(text, ",\"modified\":\"%04d-%02d-%02dT%02d:%02d:%02dZ\"}%s\n", d.year,
                            d.month + 1, d.day, d.hour, d.minute, d.second, last ? "" : ",");
}

/* ---- both ---- */

mm_status listing_write(listing *l)
{
    const list_entry *entry;
    mm_status status;
    if (l->json) mm_buffer_append_string(&l->text, "[\n");
    else append_head(l);
    status = flush_text(l);
    for (entry = l->entries; entry != NULL && status == MM_STATUS_OK; entry = entry->next) {
        if (l->json) append_object(&l->text, entry, entry->next == NULL);
        else append_row(&l->text, entry);
        status = flush_text(l);
    }
    if (status != MM_STATUS_OK) return status;
    if (l->json) mm_buffer_append_string(&l->text, "]\n");
    else append_foot(l);
    return flush_text(l);
}
