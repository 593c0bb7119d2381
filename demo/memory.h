/* memory.h - the promise of --memory: a tree of budgets over everything, and what is done when it
   becomes full */
#ifndef DEMO_MEMORY_H
#define DEMO_MEMORY_H

#include <stdio.h>

#include "../mm_pool.h"
#include "options.h"

typedef enum memory_account { /* of the process; each but the first is beneath it */
    MEMORY_PROCESS,         /* all there is; --memory is its limit */
    MEMORY_PROGRAM,         /* the program, its libraries, stacks, and what the heap has in its
                               pages beyond what was asked for: what is resident and on no other
                               account, as it was last measured */
    MEMORY_OPENSSL,         /* TLS connections, certificates, all that OpenSSL has */
    MEMORY_SESSIONS,        /* TLS sessions to be resumed without a ticket */
    MEMORY_SHARED,          /* error pages, clients that are counted, tables */
    MEMORY_ACCOUNTS
} memory_account;

typedef enum memory_part {  /* of a worker; each but the first is beneath it */
    MEMORY_WORKER,          /* the worker: all below, and log, event loop and small things */
    MEMORY_CONNECTIONS,     /* what each connection has as long as it is there */
    MEMORY_BUFFERS,         /* what is received and sent, that of uploads too, and spare buffers */
    MEMORY_ARENA,           /* of the response that is being made */
    MEMORY_FILES,           /* the open-file cache */
    MEMORY_RESPONSES,       /* the response cache */
    MEMORY_LISTINGS,        /* listings of folders while they are made */
    MEMORY_UPLOADS,         /* requests whose body is being kept */
    MEMORY_LOG,             /* lines that wait to be written, or for their answer to end */
    MEMORY_PARTS
} memory_part;

typedef struct memory_worker { /* the accounts of a worker; it must not move */
    mm_budget *whole;       /* MEMORY_WORKER, beneath the process */
    mm_budget parts[MEMORY_PARTS]; /* the others */
    char names[MEMORY_PARTS][32];
    mm_pressure pressure;   /* of the process, with actions for what is this worker's */
    int number;             /* from 0 */
    int wake;               /* a pipe that its loop reads; see shed.c */
    struct memory_worker *next;
} memory_worker;

typedef struct memory_sizes { /* what --profile and --memory come to */
    const char *profile;    /* "small", "medium", "large" */
    size_t limit;           /* bytes of the process */
    size_t responses;       /* bytes of a worker's response cache, at most */
    size_t files;           /* entries of a worker's open-file cache */
    size_t sessions;        /* bytes of TLS sessions */
    size_t spare;           /* bytes of unused buffers that a worker keeps of each size */
    size_t body;            /* the largest request body that is taken when memory is short */
} memory_sizes;

/* ---- start and end ---- */

/* Makes the accounts, which have no limits yet; memory comes from `allocator`. */
void memory_init(const mm_allocator *allocator);

/* Has all that OpenSSL takes counted from now on. Comes next: options that are read already make
   use of OpenSSL, and then it is too late. False with one line in `error`. */
bool memory_count_openssl(char *error, size_t error_size);

/* Sets the limits, for so many workers. False with one line in `error`. */
bool memory_plan(const options *o, int workers, char *error, size_t error_size);
const memory_sizes *memory_get_sizes(void);

/* An account of the process, as an allocator, for any thread. */
mm_budget *memory_get(memory_account account);
const mm_allocator *memory_allocator(memory_account account);

/* The accounts of a worker, of which `whole` is the first, and becomes one of the process's. Before
   the workers start; deinit after they have ended, which returns the bytes that are still out. */
void memory_worker_init(memory_worker *m, mm_budget *whole);
size_t memory_worker_deinit(memory_worker *m);
memory_worker *memory_first_worker(void);
const mm_allocator *memory_part_allocator(memory_worker *m, memory_part part);

/* Called by workers in each turn; 20 ms or more apart it does something: it looks at what is
   resident, and charges MEMORY_PROGRAM with what no other account knows of. */
void memory_measure(int64_t now_ms);

/* Has the heap give back what this thread has spare in it, and looks at once. */
void memory_trim(int64_t now_ms);

/* The worker whose thread this is: what it has spare goes before a charge of its is refused. */
void memory_set_reclaim(mm_reclaim_fn fn, void *user_data);

/* ---- what there is to see, for any thread while the workers are there ---- */

typedef struct memory_node { /* of the tree: parents come before their children */
    const char *name;       /* "process", "OpenSSL", "worker 0", "worker 0 buffers", ...: no two are
                               alike */
    int parent;             /* index of the node that this is a part of; -1: the root */
    const mm_budget *budget;
    mm_budget_stats stats;  /* of it, now: those of its children included */
} memory_node;

/* The node of an index from 0 on; false: there are no more. */
bool memory_node_at(size_t index, memory_node *node);

/* The highest level of all workers, and how often levels have changed. */
mm_pressure_level memory_level(void);
size_t memory_level_changes(void);

/* Bytes of the process that are in memory now; 0 where that cannot be told. A system call. */
size_t memory_resident(void);

/* Writes all that as lines to a stream: what SIGUSR2 asks for. */
void memory_report(FILE *to);

#endif
