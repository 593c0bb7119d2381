/* demo/peers.c: clients are counted, over any order of coming and going, and without memory too. */
#define MM_IMPLEMENTATION
#include "../../demo/peers.c"

#include <arpa/inet.h>

#include "../harness.h"

static test_allocator memory;

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address;
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address;
    memset(&address, 0, sizeof(address));
    address.ss_family = AF_UNIX;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) address.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) address.ss_family = AF_INET6;
    return address;
}

static bool add(peers *all, const char *text, peer **counted)
{
    struct sockaddr_storage address = address_of(text);
    return peers_add(all, &address, counted);
}

static bool start(peers *all, size_t limit)
{
    test_allocator_init(&memory);
    return peers_init(all, limit, 42, &memory.base) == MM_STATUS_OK;
}

static bool end(peers *all)
{
    peers_deinit(all);
    return memory.live_blocks == 0 && memory.bad_sizes == 0;
}

TEST(each_client_has_its_own_limit)
{
    peers all;
    peer *a, *b, *c, *refused;
    CHECK(start(&all, 2));
    CHECK(add(&all, "10.0.0.1", &a) && add(&all, "10.0.0.1", &b) && a == b && a != NULL);
    CHECK(!add(&all, "10.0.0.1", &refused) && refused == NULL);
    CHECK(add(&all, "10.0.0.2", &c) && c != a);
    peers_remove(&all, b);
    CHECK(add(&all, "10.0.0.1", &b) && !add(&all, "10.0.0.1", &refused));
    peers_remove(&all, a);
    peers_remove(&all, b);
    peers_remove(&all, c);
    CHECK(end(&all));
}

TEST(an_ipv6_client_is_its_network)
{
    peers all;
    peer *a, *b, *c, *refused;
    CHECK(start(&all, 1));
    CHECK(add(&all, "2001:db8:1:2::1", &a));
    CHECK(!add(&all, "2001:db8:1:2:ffff::2", &refused));
    CHECK(add(&all, "2001:db8:1:3::1", &b));
    CHECK(add(&all, "::1", &c)); /* the same number as the IPv4 address 0.0.0.0 */
    CHECK(add(&all, "0.0.0.0", &refused) && refused != c);
    peers_remove(&all, refused);
    peers_remove(&all, a);
    peers_remove(&all, b);
    peers_remove(&all, c);
    CHECK(end(&all));
}

TEST(who_is_not_counted)
{
    peers all;
    peer *counted;
    int i;
    CHECK(start(&all, 0));
    for (i = 0; i < 10; i++) CHECK(add(&all, "10.0.0.1", &counted) && counted == NULL);
    peers_remove(&all, NULL);
    CHECK(memory.live_blocks == 0 && end(&all));
    CHECK(start(&all, 1));
    for (i = 0; i < 10; i++) CHECK(add(&all, "a Unix socket", &counted) && counted == NULL);
    CHECK(end(&all));
}

TEST(without_memory_nobody_new_is_let_in)
{
    peers all;
    peer *a, *b;
    test_allocator_init(&memory);
    test_allocator_fail(&memory, 1, 1);
    CHECK(peers_init(&all, 1, 42, &memory.base) == MM_STATUS_NO_MEMORY);
    peers_deinit(&all);
    test_allocator_fail(&memory, 0, 0);
    CHECK(start(&all, 2) && add(&all, "10.0.0.1", &a));
    test_allocator_fail(&memory, 1, 1);
    CHECK(!add(&all, "10.0.0.2", &b) && b == NULL);
    CHECK(add(&all, "10.0.0.1", &b));
    test_allocator_fail(&memory, 0, 0);
    peers_remove(&all, a);
    peers_remove(&all, b);
    CHECK(end(&all));
}

/* 300 clients in random order against an array of counts. */
TEST(counts_are_those_of_a_model)
{
    enum { CLIENTS = 300, LIMIT = 3 };
    peers all;
    static peer *held[CLIENTS][LIMIT];
    static size_t counts[CLIENTS];
    uint64_t random = 5;
    int i, step;
    CHECK(start(&all, LIMIT));
    for (step = 0; step < 100000; step++) {
        char text[32];
        peer *counted;
        i = (int)(test_random(&random) % CLIENTS);
        snprintf(text, sizeof(text), "10.0.%d.%d", i / 100, i % 100);
        if (test_random(&random) % 2 == 0) {
            CHECK_EQ(add(&all, text, &counted), counts[i] < LIMIT);
            if (counted != NULL) held[i][counts[i]++] = counted;
        } else if (counts[i] > 0) {
            peers_remove(&all, held[i][--counts[i]]);
        }
    }
    for (i = 0; i < CLIENTS; i++)
        while (counts[i] > 0) peers_remove(&all, held[i][--counts[i]]);
    CHECK_EQ(memory.live_blocks, 1);
    CHECK(end(&all));
}

TEST_MAIN(T(each_client_has_its_own_limit), T(an_ipv6_client_is_its_network), T(who_is_not_counted),
          T(without_memory_nobody_new_is_let_in), T(counts_are_those_of_a_model))
