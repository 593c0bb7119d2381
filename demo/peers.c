/* peers.c - a table of clients with connections: they come and go, so it holds no others */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "peers.h"

#include <netinet/in.h>
#include <string.h>

enum { PEERS_BUCKETS = 1024 }; /* a power of 2; 8 KiB, and lists of ten with 10,000 clients */

struct peer {
    peer *next;
    uint64_t bucket; /* which list it is in */
    uint64_t key;    /* the IPv4 address, or the first half of the IPv6 address, */
    bool v6;         /* which are different clients though the numbers were the same */
    size_t count;    /* connections, > 0 */
};

mm_status peers_init(peers *all, size_t limit, uint64_t secret, const mm_allocator *allocator)
{
    const size_t size = PEERS_BUCKETS * sizeof(peer *);
    memset(all, 0, sizeof(*all));
    if (limit == 0) return MM_STATUS_OK;
    all->buckets = allocator->alloc_fn(size, allocator->user_data);
    if (all->buckets == NULL) return MM_STATUS_NO_MEMORY;
    memset(all->buckets, 0, size);
    all->limit = limit;
    all->allocator = allocator;
    all->secret = secret;
    (void)pthread_mutex_init(&all->lock, NULL);
    return MM_STATUS_OK;
}

void peers_deinit(peers *all)
{
    if (all->limit == 0) return;
    all->allocator->free_fn(all->buckets, PEERS_BUCKETS * sizeof(peer *),
                            all->allocator->user_data);
    (void)pthread_mutex_destroy(&all->lock);
    all->limit = 0;
}

/* False when the address is of no kind that is counted. */
static bool make_key(const struct sockaddr_storage *address, uint64_t *key, bool *v6)
{
    *key = 0;
    *v6 = address->ss_family == AF_INET6;
    if (*v6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(key, &in6->sin6_addr, sizeof(*key));
    } else if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        memcpy(key, &in->sin_addr, sizeof(in->sin_addr));
    } else {
        return false;
    }
    return true;
}

static uint64_t find_bucket(const peers *all, uint64_t key)
{
    key = (key ^ all->secret) * UINT64_C(0x9E3779B97F4A7C15);
    key = (key ^ key >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return key >> 32 & (PEERS_BUCKETS - 1);
}

/* The client's entry, made if it is new; NULL when there is no memory for that. */
static peer *find_or_make(peers *all, uint64_t key, bool v6)
{
    uint64_t bucket = find_bucket(all, key);
    peer *p = all->buckets[bucket];
    while (p != NULL && (p->key != key || p->v6 != v6)) p = p->next;
    if (p != NULL) return p;
    p = all->allocator->alloc_fn(sizeof(*p), all->allocator->user_data);
    if (p == NULL) return NULL;
    p->next = all->buckets[bucket];
    p->bucket = bucket;
    p->key = key;
    p->v6 = v6;
    p->count = 0;
    all->buckets[bucket] = p;
    return p;
}

bool peers_add(peers *all, const struct sockaddr_storage *address, peer **counted)
{
    uint64_t key;
    bool v6, room;
    peer *p;
    *counted = NULL;
    if (all->limit == 0 || !make_key(address, &key, &v6)) return true;
    (void)pthread_mutex_lock(&all->lock);
    p = find_or_make(all, key, v6);
    room = p != NULL && p->count < all->limit;
    if (room) p->count++;
    (void)pthread_mutex_unlock(&all->lock);
    if (room) *counted = p;
    return room;
}

void peers_remove(peers *all, peer *counted)
{
    peer **link;
    if (counted == NULL) return;
    (void)pthread_mutex_lock(&all->lock);
    if (--counted->count == 0) {
        for (link = &all->buckets[counted->bucket]; *link != counted; link = &(*link)->next)
            continue;
        *link = counted->next;
        all->allocator->free_fn(counted, sizeof(*counted), all->allocator->user_data);
    }
    (void)pthread_mutex_unlock(&all->lock);
}
