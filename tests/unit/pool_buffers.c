/* mm_pool.h: budgets that reclaim. */
#ifndef NDEBUG
#define MM_DEBUG
#endif
#include <stdio.h>
#include <stdlib.h>

#define MM_POOL_IMPLEMENTATION
#include "../../mm_pool.h"
#include "../harness.h"
#include <pthread.h>

enum { THREADS = 2 };

static size_t thread_errors; /* atomic */

static void thread_check(int condition)
{
    if (!condition) (void)mmi_atomic_add(&thread_errors, 1);
}

static void run_threads(void *(*body)(void *), void *arguments, size_t stride)
{
    pthread_t threads[THREADS];
    size_t i;
    thread_errors = 0;
    for (i = 0; i < THREADS; i++) {
        void *argument = (char *)arguments + i * stride;
        if (pthread_create(&threads[i], NULL, body, argument) != 0) abort();
    }
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* ---- budget: soft limits and reclaim ---- */

typedef struct reclaimer { /* memory that can be given up */
    mm_budget *budget;
    size_t charged;         /* bytes it can release */
    size_t calls, wanted;   /* what it was asked for, last */
    size_t recharge;        /* bytes it charges while it runs */
    mm_status recharged;    /* how that ended */
    int order, *next_order; /* when it was called */
} reclaimer;

static size_t reclaim(size_t wanted, void *user_data)
{
    reclaimer *r = (reclaimer *)user_data;
    size_t freed = wanted < r->charged ? wanted : r->charged;
    r->calls++;
    r->wanted = wanted;
    if (r->next_order != NULL) r->order = ++*r->next_order;
    if (r->recharge != 0) r->recharged = mm_budget_charge(r->budget, r->recharge);
    mm_budget_release(r->budget, freed);
    r->charged -= freed;
    return freed;
}

static void budget_open(mm_budget *budget, size_t limit, size_t soft, mm_budget *parent,
                        reclaimer *r)
{
    mm_budget_desc desc = {0};
    desc.limit = limit;
    desc.soft_limit = soft;
    desc.parent = parent;
    if (r != NULL) {
        memset(r, 0, sizeof(*r));
        r->budget = budget;
        desc.reclaim_fn = reclaim;
        desc.reclaim_data = r;
    }
    mm_budget_init(budget, &desc);
}

static mm_budget_stats budget_stats(const mm_budget *budget)
{
    mm_budget_stats stats;
    mm_budget_get_stats(budget, &stats);
    return stats;
}

TEST(budget_asks_before_it_refuses)
{
    mm_budget budget;
    reclaimer r;
    budget_open(&budget, 100, 0, NULL, &r);
    CHECK_EQ(mm_budget_charge(&budget, 90), MM_STATUS_OK);
    CHECK_EQ(r.calls, 0);
    r.charged = 50;
    CHECK_EQ(mm_budget_charge(&budget, 30), MM_STATUS_OK);
    CHECK_EQ(r.calls, 1);
    CHECK_EQ(r.wanted, 20);
    CHECK_EQ(mm_budget_live(&budget), 100);
    CHECK_EQ(mm_budget_charge(&budget, 31), MM_STATUS_LIMIT); /* one more than there is */
    CHECK_EQ(r.calls, 2);
    CHECK_EQ(r.charged, 0);
    CHECK_EQ(mm_budget_live(&budget), 70);
    CHECK_EQ(mm_budget_charge(&budget, SIZE_MAX), MM_STATUS_TOO_LARGE); /* no use to ask */
    CHECK_EQ(r.calls, 2);
    CHECK_EQ(budget_stats(&budget).failures, 2);
    CHECK_EQ(budget_stats(&budget).reclaims, 2);
    CHECK_EQ(budget_stats(&budget).reclaimed, 50);
    CHECK_EQ(budget_stats(&budget).peak, 100);
    mm_budget_set_reclaim(&budget, NULL, NULL);
    CHECK_EQ(mm_budget_charge(&budget, 31), MM_STATUS_LIMIT);
    CHECK_EQ(r.calls, 2);
    mm_budget_set_limit(&budget, 101);
    CHECK_EQ(mm_budget_charge(&budget, 31), MM_STATUS_OK);
    CHECK_EQ(mm_budget_deinit(&budget), 101);
}

TEST(budget_reclaim_is_not_reentered)
{
    mm_budget budget;
    reclaimer r;
    budget_open(&budget, 100, 0, NULL, &r);
    CHECK_EQ(mm_budget_charge(&budget, 100), MM_STATUS_OK);
    r.charged = 50;
    r.recharge = 10; /* refused at once, without asking itself */
    CHECK_EQ(mm_budget_charge(&budget, 30), MM_STATUS_OK);
    CHECK_EQ(r.calls, 1);
    CHECK_EQ(r.recharged, MM_STATUS_LIMIT);
    CHECK_EQ(budget_stats(&budget).failures, 1);
    CHECK_EQ(mm_budget_charge(&budget, 10), MM_STATUS_OK); /* and is asked the next time */
    CHECK_EQ(r.calls, 2);
    (void)mm_budget_deinit(&budget);
}

TEST(budget_asks_from_below_up_to_who_refuses)
{
    mm_budget process, worker, connection;
    reclaimer p, w, c;
    int order = 0;
    budget_open(&process, 1000, 0, NULL, &p);
    budget_open(&worker, 100, 0, &process, &w);
    budget_open(&connection, 0, 0, &worker, &c);
    p.next_order = w.next_order = c.next_order = &order;
    CHECK_EQ(mm_budget_charge(&connection, 90), MM_STATUS_OK);
    CHECK_EQ(mm_budget_charge(&connection, 20), MM_STATUS_LIMIT);
    CHECK_EQ(c.order, 1);
    CHECK_EQ(w.order, 2);
    CHECK_EQ(p.calls, 0); /* it had no objection */
    CHECK_EQ(budget_stats(&worker).failures, 1);
    CHECK_EQ(budget_stats(&connection).failures, 0);
    CHECK_EQ(mm_budget_charge(&process, 905), MM_STATUS_OK);
    CHECK_EQ(mm_budget_charge(&process, 15), MM_STATUS_LIMIT);
    CHECK_EQ(c.calls, 1); /* only from the charged one upwards */
    CHECK_EQ(p.calls, 1);
    CHECK_EQ(p.wanted, 10);
    CHECK_EQ(mm_budget_charge(&connection, 10), MM_STATUS_LIMIT); /* by the process */
    CHECK_EQ(c.calls + w.calls + p.calls, 6);
    CHECK_EQ(mm_budget_live(&connection), 90);
    CHECK_EQ(mm_budget_peak(&connection), 90);
    p.charged = 5;
    CHECK_EQ(mm_budget_charge(&connection, 10), MM_STATUS_OK);
    CHECK_EQ(mm_budget_live(&process), 1000);
    CHECK_EQ(mm_budget_live(&worker), 100);
    CHECK_EQ(budget_stats(&process).failures, 2);
}

TEST(budget_soft_limit_is_told_once)
{
    mm_budget root, budget;
    reclaimer r;
    budget_open(&root, 1000, 0, NULL, NULL);
    budget_open(&budget, 200, 100, &root, &r);
    CHECK_EQ(mm_budget_soft_limit(&budget), 100);
    CHECK_EQ(mm_budget_charge(&budget, 100), MM_STATUS_OK);
    CHECK_EQ(r.calls, 0);
    CHECK_EQ(mm_budget_charge(&budget, 10), MM_STATUS_OK);
    CHECK_EQ(r.calls, 1);
    CHECK_EQ(r.wanted, 10);
    CHECK_EQ(mm_budget_charge(&budget, 50), MM_STATUS_OK); /* asked in vain: not again */
    CHECK_EQ(r.calls, 1);
    mm_budget_release(&budget, 70);
    r.charged = 1000;
    CHECK_EQ(mm_budget_charge(&budget, 20), MM_STATUS_OK);
    CHECK_EQ(r.calls, 2);
    CHECK_EQ(mm_budget_live(&budget), 100);
    CHECK_EQ(budget_stats(&budget).crossings, 2);
    CHECK_EQ(budget_stats(&budget).reclaimed, 10);
    CHECK_EQ(budget_stats(&budget).failures, 0);
    mm_budget_set_soft_limit(&budget, 0);
    CHECK_EQ(mm_budget_charge(&budget, 100), MM_STATUS_OK);
    CHECK_EQ(r.calls, 2);
    CHECK_EQ(budget_stats(&budget).peak, 200);
    CHECK_EQ(mm_budget_deinit(&budget), 200);
}

typedef struct hoard { /* a block to be given up when memory is short */
    test_allocator *memory;
    size_t calls;
    int helps;
} hoard;

static size_t give_up(size_t wanted, void *user_data)
{
    hoard *h = (hoard *)user_data;
    h->calls++;
    if (h->helps) h->memory->fail_at = 0;
    return h->helps ? wanted : 0;
}

TEST(budget_asks_when_the_allocator_fails)
{
    mm_budget_desc desc = {0};
    mm_budget root, budget;
    test_allocator memory;
    hoard h = {NULL, 0, 0};
    const mm_allocator *a;
    void *block;
    test_allocator_init(&memory);
    h.memory = &memory;
    desc.allocator = &memory.base;
    desc.reclaim_fn = give_up;
    desc.reclaim_data = &h;
    mm_budget_init(&root, &desc);
    desc.parent = &root;
    desc.reclaim_fn = NULL;
    mm_budget_init(&budget, &desc);
    a = mm_budget_allocator(&budget);
    test_allocator_fail(&memory, 1, 1);
    CHECK(a->alloc_fn(100, a->user_data) == NULL);
    CHECK_EQ(h.calls, 1);
    CHECK_EQ(memory.calls, 2); /* one retry */
    CHECK_EQ(mm_budget_live(&root), 0);
    h.helps = 1;
    block = a->alloc_fn(100, a->user_data);
    CHECK(block != NULL);
    test_allocator_fail(&memory, 1, 1);
    block = a->realloc_fn(block, 100, 300, a->user_data);
    CHECK(block != NULL);
    CHECK_EQ(h.calls, 3);
    CHECK_EQ(mm_budget_live(&root), 300);
    h.helps = 0;
    test_allocator_fail(&memory, 1, 1);
    CHECK(a->realloc_fn(block, 300, 900, a->user_data) == NULL);
    CHECK_EQ(mm_budget_live(&root), 300);
    CHECK_EQ(budget_stats(&budget).failures, 2);
    a->free_fn(block, 300, a->user_data);
    CHECK_EQ(mm_budget_deinit(&budget), 0);
    CHECK_EQ(mm_budget_deinit(&root), 0);
    CHECK_EQ(memory.live_blocks, 0);
}

static mm_budget threads_root, threads_child;
static size_t threads_stop; /* atomic */

/* One thread asks for what the root never grants; the other for what everybody does. */
static void *charge_in_vain_or_not(void *argument)
{
    size_t self = *(size_t *)argument, i;
    if (self == 0) {
        do {
            thread_check(mm_budget_charge(&threads_child, 900) == MM_STATUS_LIMIT);
        } while (mmi_atomic_load(&threads_stop) == 0);
        return NULL;
    }
    for (i = 0; i < 100000; i++) {
        mm_status status = mm_budget_charge(&threads_child, 400);
        thread_check(status == MM_STATUS_OK);
        if (status == MM_STATUS_OK) mm_budget_release(&threads_child, 400);
    }
    mmi_atomic_store(&threads_stop, (size_t)1);
    return NULL;
}

TEST(budget_refused_above_disturbs_nobody_below)
{
    size_t arguments[THREADS] = {0, 1};
    budget_open(&threads_root, 800, 0, NULL, NULL);
    budget_open(&threads_child, 1000, 0, &threads_root, NULL);
    threads_stop = 0;
    run_threads(charge_in_vain_or_not, arguments, sizeof(arguments[0]));
    CHECK_EQ(thread_errors, 0);
    CHECK_EQ(mm_budget_peak(&threads_child), 400);
    CHECK(budget_stats(&threads_child).failures + budget_stats(&threads_root).failures > 0);
    CHECK_EQ(mm_budget_deinit(&threads_child), 0);
    CHECK_EQ(mm_budget_deinit(&threads_root), 0);
}

static size_t reclaim_inside; /* atomic: threads that are in the callback */

static size_t reclaim_alone(size_t wanted, void *user_data)
{
    thread_check(mmi_atomic_add(&reclaim_inside, 1) == 0);
    (void)wanted;
    (void)mmi_atomic_add((size_t *)user_data, 1);
    (void)mmi_atomic_add(&reclaim_inside, (size_t)0 - 1);
    return 0;
}

static void *charge_to_the_limit(void *argument)
{
    size_t held = 0, i;
    uint64_t state = (uint64_t)(*(size_t *)argument + 77);
    for (i = 0; i < 60000; i++) {
        size_t size = (size_t)(test_random(&state) % 300) + 1;
        if (mm_budget_charge(&threads_child, size) == MM_STATUS_OK) held += size;
        thread_check(mm_budget_live(&threads_root) <= 1000);
        if (held > 600) mm_budget_release(&threads_child, held);
        if (held > 600) held = 0;
        if (i % 1000 == 0) mm_budget_set_limit(&threads_child, 900 + i % 7);
    }
    mm_budget_release(&threads_child, held);
    return NULL;
}

TEST(budget_with_reclaim_on_two_threads)
{
    size_t arguments[THREADS] = {0, 1}, calls = 0;
    budget_open(&threads_root, 1000, 700, NULL, NULL);
    budget_open(&threads_child, 900, 600, &threads_root, NULL);
    mm_budget_set_reclaim(&threads_child, reclaim_alone, &calls);
    run_threads(charge_to_the_limit, arguments, sizeof(arguments[0]));
    CHECK_EQ(thread_errors, 0);
    CHECK(calls > 0);
    CHECK_EQ(budget_stats(&threads_child).reclaims, calls);
    CHECK(mm_budget_peak(&threads_root) <= 1000);
    CHECK_EQ(mm_budget_deinit(&threads_child), 0);
    CHECK_EQ(mm_budget_deinit(&threads_root), 0);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {T(budget_asks_before_it_refuses),
                                      T(budget_reclaim_is_not_reentered),
                                      T(budget_asks_from_below_up_to_who_refuses),
                                      T(budget_soft_limit_is_told_once),
                                      T(budget_asks_when_the_allocator_fails),
                                      T(budget_refused_above_disturbs_nobody_below),
                                      T(budget_with_reclaim_on_two_threads)};
    return test_main(argc > 1 ? argv[1] : "", cases, sizeof(cases) / sizeof(cases[0]));
}
