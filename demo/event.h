/* event.h - waiting for many descriptors: epoll where there is one, poll everywhere */
#ifndef DEMO_EVENT_H
#define DEMO_EVENT_H

#include "../mm_buffer.h"

enum { EVENT_READ = 1, EVENT_WRITE = 2 }; /* what a descriptor is ready for; errors count as both */

typedef struct event {
    uint64_t data; /* as given to event_add */
    unsigned what; /* EVENT_READ | EVENT_WRITE */
} event;

typedef struct event_slot { /* poll's: what is known of a descriptor */
    uint64_t data;
    int index; /* in polls; -1: not waited for */
} event_slot;

typedef struct event_loop {        /* one thread's */
    const mm_allocator *allocator; /* of the tables below */
    int epoll;                     /* descriptor; -1: poll is used */
    struct pollfd *polls;          /* `count` of `capacity` */
    event_slot *slots;             /* by descriptor; `slot_count` of them */
    size_t count, capacity, slot_count;
    size_t next;                   /* where the last scan of polls stopped: all get a turn */
} event_loop;

/* IO with errno kept when there is no epoll descriptor to be had. */
mm_status event_loop_init(event_loop *loop, bool use_poll, const mm_allocator *allocator);
void event_loop_deinit(event_loop *loop);

/* Waits for `what` on `fd` from now on (level-triggered), to be reported with `data`. */
mm_status event_add(event_loop *loop, int fd, unsigned what, uint64_t data);

/* Changes what is waited for, which may be nothing; `fd` was added. */
void event_change(event_loop *loop, int fd, unsigned what, uint64_t data);

/* Forgets `fd`, which was added and is still open. */
void event_remove(event_loop *loop, int fd);

/* Waits at most `timeout_ms` (-1: for ever); returns how many events were stored, 0 also when a
   signal came. */
size_t event_wait(event_loop *loop, int timeout_ms, event *events, size_t capacity);

#endif
