/* memory.h - the promise of --memory: a tree of budgets over everything, and what is done when it
   becomes full */
#ifndef DEMO_MEMORY_H
#define DEMO_MEMORY_H

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
    mm_budget parts[MEMORY_PARTS];
    char names[MEMORY_PARTS][32];
    mm_pressure pressure;   /* on the process, with actions for what is this worker's */
    struct memory_worker *next; /* the worker made before */
} memory_worker;

/* ---- what there is to see, for any thread while the workers are there ---- */

typedef struct memory_node { /* of the tree: parents come before their children */
    const char *name;       /* "process", "OpenSSL", "worker 0", "worker 0 buffers", ...: no two are
                               alike */
    int parent;             /* index of the node that this is a part of; -1: the root */
    int worker;             /* whose it is, from 0; -1: the process's */
    size_t used;            /* bytes, those of its children included */
    size_t limit;           /* 0: that of its parents alone */
    size_t peak;            /* most bytes that were used at a time */
    size_t refused;         /* requests for memory that failed here */
    mm_budget *budget;      /* for mm_stats_write */
} memory_node;

/* The node of an index from 0 on; false: there are no more. */
bool memory_node_at(size_t index, memory_node *node);

/* The highest level of all workers, and how often levels have changed. */
mm_pressure_level memory_level(void);
size_t memory_level_changes(void);

/* Bytes of the process that are in memory now; 0 where that cannot be told. A system call. */
size_t memory_resident(void);

#endif
