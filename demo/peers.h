/* peers.h - how many connections each client has, over all workers */
#ifndef DEMO_PEERS_H
#define DEMO_PEERS_H

#include <pthread.h>
#include <sys/socket.h>

#include "../mm_buffer.h"

typedef struct peer peer;

typedef struct peers {
    size_t limit;                  /* connections of one client; 0: nobody counts */
    const mm_allocator *allocator; /* thread-safe */
    uint64_t secret;               /* of the hash, so that nobody can fill one bucket */
    peer **buckets;                /* heads of lists */
    pthread_mutex_t lock;          /* of all of it */
} peers;

/* With limit 0 there is nothing to allocate, and nothing to fail. */
MM_NODISCARD mm_status peers_init(peers *all, size_t limit, uint64_t secret,
                                  const mm_allocator *allocator);
void peers_deinit(peers *all);

/* One more connection of the client at `address`: false when it has too many already, or there is
   no memory to count it. An IPv6 client is its /64, of which it has every address. *counted goes to
   peers_remove when the connection ends; it is NULL where nobody counts: without a limit, and for
   what is no IP address. */
bool peers_add(peers *all, const struct sockaddr_storage *address, peer **counted);
void peers_remove(peers *all, peer *counted);

#endif
