/* html.c - the look of listings and error pages */
#include "html.h"

/* Readable on a phone, light or dark as the reader likes it, and no larger than an error needs. */
static const char html_style[] =
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}"
    "table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th{text-align:left;font-weight:600}"
    "th,td{padding:.35rem .5rem;border-bottom:1px solid #8884;vertical-align:top}"
    "th:first-child,td:first-child{padding-left:0;width:100%;overflow-wrap:anywhere}"
    "th+th,td+td{text-align:right;white-space:nowrap}"
    "td+td{color:color-mix(in srgb,currentColor 70%,transparent)}"
    "a{text-underline-offset:.15em}"
    "@media(max-width:34rem){th:nth-child(3),td:nth-child(3){display:none}}";

void html_append_begin(mm_buffer *page, mm_slice title)
{
    mm_buffer_append_string(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
                                  "<meta name=\"viewport\" content=\"width=device-width\">\n"
                                  "<title>");
    mm_buffer_append_html_escaped(page, title);
    mm_buffer_append_string(page, "</title>\n<style>");
    mm_buffer_append_string(page, html_style);
    mm_buffer_append_string(page, "</style>\n");
}

void html_append_end(mm_buffer *page)
{
    mm_buffer_append_string(page, "</html>\n");
}

void html_add_headers(http_response *response)
{
    http_response_header(response, "Content-Type", "text/html; charset=utf-8");
    http_response_header(response, "Content-Security-Policy",
                         "default-src 'none'; style-src 'unsafe-inline'");
    http_response_header(response, "X-Content-Type-Options", "nosniff");
}
