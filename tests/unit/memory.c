/* demo/memory.c: the tree is whole, limits follow the options, and OpenSSL's blocks are counted. */
#define MM_IMPLEMENTATION
#include "../../demo/memory.c"
#include "../../demo/values.c"

#include "../harness.h"

static char error[256];
static options o;

static void start(const char *limit, const char *profile)
{
    memset(&o, 0, sizeof(o));
    o.memory = limit;
    o.profile = profile;
    memory_init(mm_heap_allocator(NULL));
    CHECK(memory_plan(&o, 2, error, sizeof(error)));
}

TEST(tree_has_parents_before_children)
{
    static memory_worker workers[2];
    static mm_budget wholes[2];
    memory_node node, other;
    size_t i, j, count = 0;
    start("256M", NULL);
    for (i = 0; i < 2; i++) memory_worker_init(&workers[i], &wholes[i]);
    for (i = 0; memory_node_at(i, &node); i++, count++) {
        CHECK_EQ(node.parent < (int)i, 1);
        CHECK_EQ(node.parent < 0, i == 0);
        CHECK_EQ(node.budget->parent == NULL, i == 0);
        if (i > 0) {
            CHECK(memory_node_at((size_t)node.parent, &other));
            CHECK(node.budget->parent == other.budget);
        }
        for (j = 0; j < i; j++) {
            CHECK(memory_node_at(j, &other));
            CHECK(strcmp(node.name, other.name) != 0);
        }
    }
    CHECK_EQ(count, MEMORY_ACCOUNTS + 2 * MEMORY_PARTS);
    CHECK_EQ(workers[1].number, 1);
    CHECK_EQ(memory_level(), MM_PRESSURE_NORMAL);
    CHECK_EQ(memory_level_changes(), 0);
    for (i = 0; i < 2; i++) CHECK_EQ(memory_worker_deinit(&workers[i]), 0);
    CHECK_EQ(memory_worker_deinit(&workers[0]), 0); /* twice */
    CHECK(!memory_node_at(MEMORY_ACCOUNTS, &node));
}

TEST(parts_are_charged_up_to_the_process)
{
    static memory_worker worker;
    static mm_budget whole;
    const mm_allocator *a;
    void *block;
    size_t before;
    start("256M", NULL);
    memory_worker_init(&worker, &whole);
    before = mm_budget_live(memory_get(MEMORY_PROCESS));
    a = memory_part_allocator(&worker, MEMORY_LOG);
    block = mmi_alloc(a, 1000);
    CHECK(block != NULL);
    CHECK_EQ(mm_budget_live(&whole), 1000);
    CHECK_EQ(mm_budget_live(memory_get(MEMORY_PROCESS)), before + 1000);
    CHECK(a->alloc_fn(SIZE_MAX, a->user_data) == NULL);
    CHECK(mmi_alloc(a, 27 << 20) == NULL); /* lines have a tenth */
    CHECK(mmi_alloc(memory_part_allocator(&worker, MEMORY_WORKER), 257 << 20) == NULL);
    CHECK_EQ(mm_budget_live(memory_get(MEMORY_PROCESS)), before + 1000);
    mmi_free(a, block, 1000);
    CHECK_EQ(memory_worker_deinit(&worker), 0);
    CHECK_EQ(mm_budget_live(memory_get(MEMORY_PROCESS)), before);
}

TEST(what_a_worker_leaves_is_told)
{
    static memory_worker worker;
    static mm_budget whole;
    start("256M", NULL);
    memory_worker_init(&worker, &whole);
    CHECK_EQ(mm_budget_charge(&worker.parts[MEMORY_FILES], 77), MM_STATUS_OK);
    CHECK_EQ(memory_worker_deinit(&worker), 77);
}

TEST(profiles_set_sizes)
{
    start("4G", "small");
    CHECK_EQ(strcmp(memory_get_sizes()->profile, "small"), 0);
    CHECK_EQ(memory_get_sizes()->limit, (size_t)4 << 30);
    CHECK_EQ(memory_get_sizes()->responses, 32 << 20); /* of two workers: 64 MiB */
    CHECK_EQ(memory_get_sizes()->sessions, 5 << 20);
    start("4G", "large");
    CHECK_EQ(memory_get_sizes()->responses, 512 << 20); /* a quarter of less than was meant */
    CHECK_EQ(memory_get_sizes()->sessions, 256 << 20);
    start(NULL, "small");
    CHECK(memory_get_sizes()->limit > 0);
    CHECK(memory_get_sizes()->limit <= (size_t)1 << 30);
    start(NULL, NULL);
    CHECK(memory_get_sizes()->profile != NULL);
}

TEST(too_little_is_refused)
{
    memset(&o, 0, sizeof(o));
    o.memory = "1M";
    memory_init(mm_heap_allocator(NULL));
    CHECK_EQ(mm_budget_charge(memory_get(MEMORY_SHARED), 600 << 10), MM_STATUS_OK);
    CHECK(!memory_plan(&o, 2, error, sizeof(error)));
    CHECK(strstr(error, "--memory: 1M is too little") != NULL);
}

TEST(program_is_what_nobody_knows_of)
{
    size_t used;
    start("4G", NULL);
    if (memory_resident() == 0) return; /* it cannot be told here */
    used = mm_budget_live(memory_get(MEMORY_PROCESS));
    CHECK(used > 0);
    CHECK_EQ(mm_budget_live(memory_get(MEMORY_PROGRAM)), used);
    CHECK_EQ(mm_budget_charge(memory_get(MEMORY_SHARED), used / 2), MM_STATUS_OK);
    memory_trim(1000);
    CHECK(mm_budget_live(memory_get(MEMORY_PROGRAM)) < used); /* it is counted elsewhere now */
    mm_budget_release(memory_get(MEMORY_SHARED), used / 2);
    memory_measure(1001); /* too soon */
    CHECK(mm_budget_live(memory_get(MEMORY_PROGRAM)) < used);
    memory_measure(2000);
    CHECK(mm_budget_live(memory_get(MEMORY_PROGRAM)) > used / 2);
    mm_budget_set_limit(memory_get(MEMORY_PROCESS), used / 2); /* there is not so much */
    mm_budget_release(memory_get(MEMORY_PROGRAM), mm_budget_live(memory_get(MEMORY_PROGRAM)));
    memory_trim(3000);
    CHECK(mm_budget_live(memory_get(MEMORY_PROGRAM)) <= used / 2);
}

static size_t asked;

static size_t count_asked(size_t wanted, void *user_data)
{
    (void)user_data;
    asked += wanted;
    return 0;
}

TEST(thread_is_asked_before_a_refusal)
{
    start("4G", NULL);
    memory_set_reclaim(count_asked, NULL);
    CHECK(mmi_alloc(memory_allocator(MEMORY_OPENSSL), SIZE_MAX / 4) == NULL);
    CHECK(asked > 0);
    memory_set_reclaim(NULL, NULL);
    asked = 0;
    CHECK(mmi_alloc(memory_allocator(MEMORY_OPENSSL), SIZE_MAX / 4) == NULL);
    CHECK_EQ(asked, 0);
}

TEST(blocks_of_openssl_are_counted)
{
    static const size_t sizes[] = {1, 7, 16, 100, 960, 4096, 5000, 7608, 8192, 20000, 300000};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    unsigned char *blocks[COUNT];
    size_t i, before;
    start("4G", NULL);
    before = mm_budget_live(memory_get(MEMORY_OPENSSL));
    CHECK(openssl_alloc(0, "", 0) == NULL);
    openssl_free(NULL, "", 0);
    for (i = 0; i < COUNT; i++) {
        blocks[i] = openssl_alloc(sizes[i], "ssl/ssl_lib.c", 1);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)i, sizes[i]);
    }
    CHECK(mm_budget_live(memory_get(MEMORY_OPENSSL)) >= before + 340000);
    for (i = 0; i < COUNT; i++) {
        unsigned char *moved = openssl_realloc(blocks[i], sizes[i] * 3, "ssl/ssl_lib.c", 1);
        CHECK(moved != NULL);
        CHECK(moved[0] == i && moved[sizes[i] - 1] == i);
        blocks[i] = openssl_realloc(moved, sizes[i], "ssl/ssl_lib.c", 1);
        CHECK(blocks[i] != NULL);
        CHECK(blocks[i][sizes[i] - 1] == i);
    }
    CHECK(openssl_realloc(blocks[0], 0, "", 0) == NULL);
    CHECK(openssl_alloc(SIZE_MAX, "", 0) == NULL);
    for (i = 1; i < COUNT; i++) openssl_free(blocks[i], "", 0);
    memory_trim(1);
    CHECK(mm_budget_live(memory_get(MEMORY_OPENSSL)) <= before + 3 * MEMORY_LUMP);
}

TEST(connections_of_openssl_lie_close)
{
    enum { COUNT = 1000, SIZE = 7608 };
    static unsigned char *blocks[COUNT];
    size_t i, before, full;
    start("4G", NULL);
    before = mm_budget_live(memory_get(MEMORY_OPENSSL));
    for (i = 0; i < COUNT; i++) {
        blocks[i] = openssl_alloc(SIZE, "../ssl/ssl_lib.c", 1);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)i, SIZE);
    }
    full = mm_budget_live(memory_get(MEMORY_OPENSSL)) - before;
    CHECK(full <= COUNT * (SIZE + 160)); /* a block of the heap has 8192 bytes */
    for (i = 0; i < COUNT; i++) {
        CHECK(blocks[i][0] == (unsigned char)i && blocks[i][SIZE - 1] == (unsigned char)i);
        openssl_free(blocks[i], "", 0);
    }
    memory_trim(1);
    CHECK(mm_budget_live(memory_get(MEMORY_OPENSSL)) <= before + 3 * MEMORY_LUMP);
}

TEST(openssl_is_refused_at_the_limit)
{
    void *blocks[64];
    size_t i, n = 0;
    start("4G", NULL);
    mm_budget_set_limit(memory_get(MEMORY_OPENSSL), 256 << 10);
    while (n < 64 && (blocks[n] = openssl_alloc(10000, "", 0)) != NULL) n++;
    CHECK(n > 10 && n < 34);
    for (i = 0; i < n; i++) openssl_free(blocks[i], "", 0);
    CHECK((blocks[0] = openssl_alloc(10000, "", 0)) != NULL);
    openssl_free(blocks[0], "", 0);
}

TEST(report_tells_all_at_once)
{
    char text[8192];
    FILE *file = tmpfile();
    size_t n;
    start("4G", NULL);
    CHECK(file != NULL);
    memory_report(file);
    rewind(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = '\0';
    fclose(file);
    CHECK(strstr(text, "K resident, level normal, 0 changes of level\n") != NULL);
    CHECK(strstr(text, "mmserve: memory: process") != NULL);
}

TEST_MAIN(T(tree_has_parents_before_children), T(parts_are_charged_up_to_the_process),
          T(what_a_worker_leaves_is_told), T(profiles_set_sizes), T(too_little_is_refused),
          T(program_is_what_nobody_knows_of), T(thread_is_asked_before_a_refusal),
          T(blocks_of_openssl_are_counted), T(connections_of_openssl_lie_close),
          T(openssl_is_refused_at_the_limit), T(report_tells_all_at_once))
