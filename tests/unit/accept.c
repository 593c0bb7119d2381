/* demo/accept.c, and what encoding.c makes of it: who wants what, and how much. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_io.h"

#include "../../demo/accept.c"
#include "../../demo/date.c"
#include "../../demo/encoding.c"
#include "../../demo/html.c"
#include "../../demo/http.c"

#include "../harness.h"

static mm_slice slice(const char *text)
{
    return mm_slice_from_string(text);
}

/* The elements of a list as text, such as "gzip=1000 br=500". */
static const char *elements_of(const char *list)
{
    static char text[512];
    size_t size = strlen(list), at = 0;
    char *copy = malloc(size + 1); /* of the exact size but for one byte, for the sanitizer */
    mm_slice rest, name;
    int weight;
    if (copy == NULL) return "no memory";
    memcpy(copy + 1, list, size);
    rest = mm_slice_make(copy + 1, size);
    text[0] = '\0';
    while (accept_take(&rest, &name, &weight))
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s=%d", at == 0 ? "" : " ",
                               (int)name.len, name.ptr, weight);
    free(copy);
    return text;
}

TEST(lists_are_taken_apart)
{
    static const struct {
        const char *list, *elements;
    } cases[] = {{"", ""},
                 {"gzip", "gzip=1000"},
                 {" gzip\t,, br ,", "gzip=1000 br=1000"},
                 {"gzip;q=0.5,br;q=1.0", "gzip=500 br=1000"},
                 {"gzip ; q=0.123 , *;q=0", "gzip=123 *=0"},
                 {"gzip;Q=0.5", "gzip=500"},
                 {"a;q=1,b;q=1.,c;q=1.000,d;q=0.,e;q=0.01", "a=1000 b=1000 c=1000 d=0 e=10"},
                 {"a;q=1.001,b;q=2,c;q=0.1234,d;q=-1,e;q=,f;q=.5,g;q=0,5,h;q=0x1", "g=0 5=1000"},
                 {"text/html;level=1;q=0.3;x=y", "text/html=300"},
                 {"text/html;a=\"x,y;q=0\";q=0.4, b", "text/html=400 b=1000"},
                 {"a;x=\"\\\",b\",c", "a=1000 c=1000"},
                 {"a;x=\"unclosed,b", "a=1000"},
                 {"a;x=\"\\", "a=1000"},
                 {";q=1,=,\"", "==1000 \"=1000"}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_STR(elements_of(cases[i].list), cases[i].elements);
}

static const http_request *with_field(const char *name, const char *value, const char *value2)
{
    static http_request request;
    request.header_count = value == NULL ? 0 : value2 == NULL ? 1 : 2;
    request.headers[0].name = request.headers[1].name = slice(name);
    request.headers[0].value = slice(value == NULL ? "" : value);
    request.headers[1].value = slice(value2 == NULL ? "" : value2);
    http_request_index(&request);
    return &request;
}

TEST(media_types_by_the_closest_range)
{
    static const struct {
        const char *accept;
        int json, html;
    } cases[] = {{NULL, 1000, 1000},
                 {"", 0, 0},
                 {"*/*", 1000, 1000},
                 {"application/json", 1000, 0},
                 {"APPLICATION/Json", 1000, 0},
                 {"application/*;q=0.5, */*;q=0.1", 500, 100},
                 {"*/*;q=0.1, application/json;q=0", 0, 100},
                 {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 800, 1000},
                 {"application/json;q=0.2, application/json;q=0.4", 400, 0},
                 {"*/json, application, json", 0, 0},
                 {"application/jsonx, xapplication/json", 0, 0}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const http_request *request = with_field("Accept", cases[i].accept, NULL);
        CHECK_EQ(accept_media_weight(request, "application", "json"), cases[i].json);
        CHECK_EQ(accept_media_weight(request, "text", "html"), cases[i].html);
    }
    CHECK_EQ(accept_media_weight(with_field("Accept", "a/b", "text/html;q=0.7"), "text", "html"),
             700);
}

/* What is sent when that is wanted, and there are those; "-" is the file as it is. */
static const char *choice(const char *wanted, const char *wanted2, const char *there)
{
    unsigned available = 0;
    int i;
    for (i = 0; i < FILES_ENCODINGS; i++)
        if (strstr(there, encodings[i].suffix) != NULL) available |= 1u << i;
    i = files_choose_encoding(with_field("Accept-Encoding", wanted, wanted2), available);
    return i < 0 ? "-" : files_encoding_name(i);
}

TEST(encodings_by_weight)
{
    static const struct {
        const char *wanted, *there, *chosen;
    } cases[] = {{NULL, ".br.zst.gz", "-"},
                 {"", ".br.zst.gz", "-"},
                 {"gzip, deflate, br, zstd", ".br.zst.gz", "br"},
                 {"gzip, deflate, br, zstd", ".zst.gz", "zstd"},
                 {"gzip, deflate, br, zstd", ".gz", "gzip"},
                 {"gzip, deflate, br, zstd", "", "-"},
                 {"GZIP", ".br.gz", "gzip"},
                 {"x-gzip", ".gz", "gzip"},
                 {"gzip;q=0.5, br;q=0.4", ".br.zst.gz", "gzip"},
                 {"gzip;q=0, br;q=0", ".br.gz", "-"},
                 {"gzip;q=0.001", ".gz", "gzip"},
                 {"*", ".br.zst.gz", "br"},
                 {"*;q=0.1", ".gz", "gzip"},
                 {"br;q=0, *", ".br.zst.gz", "zstd"},
                 {"gzip;q=0.2, *;q=0", ".br.gz", "gzip"},
                 {"identity", ".br.gz", "-"},
                 {"identity;q=0.5, gzip;q=0.5", ".gz", "gzip"},
                 {"identity;q=0.6, gzip;q=0.5", ".gz", "-"},
                 {"identity, *;q=0.5", ".gz", "-"},
                 {"identity;q=0, *", ".gz", "gzip"},
                 {"identity;q=0, gzip;q=0.1", ".br.gz", "gzip"},
                 {"identity;q=0", ".gz", "-"},
                 {"*;q=0", ".br.gz", "-"},
                 {"gzip;q=0.5, *;q=0.9", ".gz", "-"},
                 {"gzip;q=2", ".gz", "-"},
                 {"gzipx, brx, deflate", ".br.gz", "-"}};
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_STR(choice(cases[i].wanted, NULL, cases[i].there), cases[i].chosen);
    CHECK_STR(choice("deflate", "gzip", ".gz"), "gzip");
    CHECK_STR(choice("gzip", "gzip;q=0", ".gz"), "-");
}

TEST_MAIN(T(lists_are_taken_apart), T(media_types_by_the_closest_range), T(encodings_by_weight))
