/* html.h - the pages that the server makes itself: one look, and nothing in them that could run */
#ifndef DEMO_HTML_H
#define DEMO_HTML_H

#include "http.h"

/* The page up to its content, and what follows the content. */
void html_append_begin(mm_buffer *page, mm_slice title);
void html_append_end(mm_buffer *page);

/* Fields that every such page has: its type, and that nothing is to be loaded or run for it. */
void html_add_headers(http_response *response);

#endif
