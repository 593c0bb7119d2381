#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "event.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

/* Not to be cleared in each turn, as hardening has it: what the kernel fills in only is read. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define EVENT_RAW __attribute__((uninitialized))
#endif
#endif
#ifndef EVENT_RAW
#define EVENT_RAW
#endif

enum { EVENT_BATCH = 256 }; /* most events taken from the kernel at once */

/* ---- poll ---- */

static void *grow(event_loop *loop, void *block, size_t *count, size_t wanted, size_t size)
{
    size_t capacity = mm_size_pow2(wanted < 64 ? 64 : wanted);
    void *moved = mmi_realloc(loop->allocator, block, *count * size, capacity * size);
    if (moved != NULL) *count = capacity;
    return moved;
}

static mm_status poll_reserve(event_loop *loop, int fd)
{
    if ((size_t)fd >= loop->slot_count) {
        size_t before = loop->slot_count;
        void *slots = grow(loop, loop->slots, &loop->slot_count, (size_t)fd + 1,
                           sizeof(event_slot));
        if (slots == NULL) return MM_STATUS_NO_MEMORY;
        loop->slots = slots;
        for (; before < loop->slot_count; before++) loop->slots[before].index = -1;
    }
    if (loop->count == loop->capacity) {
        void *polls = grow(loop, loop->polls, &loop->capacity, loop->count + 1,
                           sizeof(struct pollfd));
        if (polls == NULL) return MM_STATUS_NO_MEMORY;
        loop->polls = polls;
    }
    return MM_STATUS_OK;
}

static short poll_bits(unsigned what)
{
    return (short)((what & EVENT_READ ? POLLIN : 0) | (what & EVENT_WRITE ? POLLOUT : 0));
}

static mm_status poll_add(event_loop *loop, int fd, unsigned what, uint64_t data)
{
    mm_status status = poll_reserve(loop, fd);
    if (status != MM_STATUS_OK) return status;
    loop->slots[fd].data = data;
    loop->slots[fd].index = (int)loop->count;
    loop->polls[loop->count].fd = fd;
    loop->polls[loop->count].events = poll_bits(what);
    loop->polls[loop->count].revents = 0;
    loop->count++;
    return MM_STATUS_OK;
}

static void poll_remove(event_loop *loop, int fd)
{
    int index = loop->slots[fd].index;
    struct pollfd *last = &loop->polls[--loop->count];
    loop->polls[index] = *last;
    loop->slots[last->fd].index = index;
    loop->slots[fd].index = -1;
}

static size_t poll_wait(event_loop *loop, int timeout_ms, event *events, size_t capacity)
{
    size_t i, stored = 0;
    int ready = poll(loop->polls, (nfds_t)loop->count, timeout_ms);
    if (ready <= 0) return 0;
    for (i = 0; i < loop->count && stored < capacity && stored < (size_t)ready; i++) {
        const struct pollfd *p = &loop->polls[(loop->next + i) % loop->count];
        if (p->revents == 0) continue;
        events[stored].data = loop->slots[p->fd].data;
        events[stored].what = (p->revents & POLLIN ? EVENT_READ : 0u) |
                              (p->revents & POLLOUT ? EVENT_WRITE : 0u);
        if (p->revents & (POLLERR | POLLHUP | POLLNVAL))
            events[stored].what |= EVENT_READ | EVENT_WRITE;
        stored++;
    }
    loop->next = (loop->next + i) % loop->count;
    return stored;
}

/* ---- epoll ---- */

#ifdef __linux__
static int epoll_control(event_loop *loop, int operation, int fd, unsigned what, uint64_t data)
{
    struct epoll_event e;
    memset(&e, 0, sizeof(e));
    e.events = (what & EVENT_READ ? EPOLLIN : 0u) | (what & EVENT_WRITE ? EPOLLOUT : 0u);
    e.data.u64 = data;
    return epoll_ctl(loop->epoll, operation, fd, &e);
}

static size_t epoll_collect(event_loop *loop, int timeout_ms, event *events, size_t capacity)
{
    EVENT_RAW struct epoll_event ready[EVENT_BATCH];
    int i, n, most = capacity < EVENT_BATCH ? (int)capacity : EVENT_BATCH;
    n = epoll_wait(loop->epoll, ready, most, timeout_ms);
    for (i = 0; i < n; i++) {
        events[i].data = ready[i].data.u64;
        events[i].what = (ready[i].events & EPOLLIN ? EVENT_READ : 0u) |
                         (ready[i].events & EPOLLOUT ? EVENT_WRITE : 0u);
        if (ready[i].events & (EPOLLERR | EPOLLHUP)) events[i].what |= EVENT_READ | EVENT_WRITE;
    }
    return n < 0 ? 0 : (size_t)n;
}
#endif

/* ---- both ---- */

mm_status event_loop_init(event_loop *loop, bool use_poll, const mm_allocator *allocator)
{
    memset(loop, 0, sizeof(*loop));
    loop->allocator = allocator;
    loop->epoll = -1;
#ifdef __linux__
    if (!use_poll) {
        loop->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (loop->epoll < 0) return MM_STATUS_IO;
    }
#else
    (void)use_poll;
#endif
    return MM_STATUS_OK;
}

void event_loop_deinit(event_loop *loop)
{
    if (loop->epoll >= 0) close(loop->epoll);
    if (loop->polls != NULL)
        mmi_free(loop->allocator, loop->polls, loop->capacity * sizeof(struct pollfd));
    if (loop->slots != NULL)
        mmi_free(loop->allocator, loop->slots, loop->slot_count * sizeof(event_slot));
    memset(loop, 0, sizeof(*loop));
    loop->epoll = -1;
}

mm_status event_add(event_loop *loop, int fd, unsigned what, uint64_t data)
{
#ifdef __linux__
    if (loop->epoll >= 0) {
        int result = epoll_control(loop, EPOLL_CTL_ADD, fd, what, data);
        return result == 0 ? MM_STATUS_OK : MM_STATUS_IO;
    }
#endif
    return poll_add(loop, fd, what, data);
}

void event_change(event_loop *loop, int fd, unsigned what, uint64_t data)
{
#ifdef __linux__
    if (loop->epoll >= 0) {
        (void)epoll_control(loop, EPOLL_CTL_MOD, fd, what, data);
        return;
    }
#endif
    loop->slots[fd].data = data;
    loop->polls[loop->slots[fd].index].events = poll_bits(what);
}

void event_remove(event_loop *loop, int fd)
{
#ifdef __linux__
    if (loop->epoll >= 0) {
        (void)epoll_control(loop, EPOLL_CTL_DEL, fd, 0, 0);
        return;
    }
#endif
    poll_remove(loop, fd);
}

size_t event_wait(event_loop *loop, int timeout_ms, event *events, size_t capacity)
{
#ifdef __linux__
    if (loop->epoll >= 0) return epoll_collect(loop, timeout_ms, events, capacity);
#endif
    return poll_wait(loop, timeout_ms, events, capacity);
}
