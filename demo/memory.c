/* memory.c - the promise of --memory: one tree of budgets, limits by profile, OpenSSL's memory, and
   a look at what is resident */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "memory.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../mm_heap.h"
#include "values.h"

enum {
    MEMORY_LUMP = 32 * 1024,  /* bytes that a thread has charged for OpenSSL ahead of need: four
                                 counters that threads share are not touched for each block */
    MEMORY_SSLS = 8,          /* connections of OpenSSL that lie together: when all have gone, so
                                 does their memory */
    MEMORY_MEASURE_MS = 20,   /* between two looks at what is resident, which take 2 us each */
    MEMORY_REPORT = 32768,    /* bytes of a report: more is left out */
    MEMORY_BODY_SHORT = 65536 /* bytes of a request body that is taken when memory is short */
};

static struct {
    mm_budget accounts[MEMORY_ACCOUNTS];
    memory_sizes sizes;
    memory_worker *workers;   /* in the order they were made */
    int statm;                /* /proc/self/statm, open before there is a sandbox; -1: none */
    size_t measured;          /* atomic: when, in milliseconds */
    size_t looking;           /* atomic: a thread does so now */
} process = {.statm = -1};

mm_budget *memory_get(memory_account account)
{
    return &process.accounts[account];
}

const mm_allocator *memory_allocator(memory_account account)
{
    return mm_budget_allocator(&process.accounts[account]);
}

const memory_sizes *memory_get_sizes(void)
{
    return &process.sizes;
}

/* ---- OpenSSL ---- */

/* Its blocks have no header, since the heap knows their sizes: with one of 16 bytes, a connection's
   forty blocks cost it 1.2 KB more. What is charged is the size of the block, not what was asked
   for. */
static _Thread_local size_t spare; /* charged, and not in use */

static bool charge(size_t size)
{
    mm_budget *budget = &process.accounts[MEMORY_OPENSSL];
    if (spare < size) {
        if (mm_budget_charge(budget, size - spare + MEMORY_LUMP) == MM_STATUS_OK)
            spare = size + MEMORY_LUMP;
        else if (mm_budget_charge(budget, size - spare) == MM_STATUS_OK) spare = size;
        else return false;
    }
    spare -= size;
    return true;
}

static void release(size_t size)
{
    spare += size;
    if (spare < 2 * MEMORY_LUMP) return;
    mm_budget_release(&process.accounts[MEMORY_OPENSSL], spare - MEMORY_LUMP);
    spare = MEMORY_LUMP;
}

/* A connection's main structure has 7,608 bytes in OpenSSL 3.0, for which the heap has blocks of
   8,192. So it lies in a pool, behind a word: its address is no multiple of 16, as all of the heap
   are, and of the structure nothing is aligned to more than 8. Only what ssl_lib.c takes is known
   to be so. All have the same size, that of the first. */
static struct {
    pthread_mutex_t lock;
    mm_pool pool;
    size_t size;              /* of the structure; 0: none was taken yet */
} ssls = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_ssl(size_t size, const char *file)
{
    size_t length = file == NULL ? 0 : strlen(file); /* OpenSSL itself has some that say NULL */
    return length >= 9 && memcmp(file + length - 9, "ssl_lib.c", 9) == 0 &&
           mm_heap_good_size(size) - size > 256;
}

/* NULL when it is no such one after all, or there is no memory. */
static void *ssl_alloc(size_t size)
{
    char *object = NULL;
    pthread_mutex_lock(&ssls.lock);
    if (ssls.size == 0) {
        mm_pool_desc desc = {.size = size + 8, .alignment = 16, .segment_objects = MEMORY_SSLS,
                             .allocator = memory_allocator(MEMORY_OPENSSL)};
        if (mm_pool_init(&ssls.pool, &desc) == MM_STATUS_OK) ssls.size = size;
    }
    if (ssls.size == size) object = mm_pool_get(&ssls.pool);
    pthread_mutex_unlock(&ssls.lock);
    return object == NULL ? NULL : object + 8;
}

static bool lies_in_pool(const void *block)
{
    return (uintptr_t)block % 16 != 0;
}

static void ssl_free(void *block)
{
    pthread_mutex_lock(&ssls.lock);
    mm_pool_put(&ssls.pool, (char *)block - 8);
    pthread_mutex_unlock(&ssls.lock);
}

static void ssl_trim(void)
{
    pthread_mutex_lock(&ssls.lock);
    if (ssls.size > 0) (void)mm_pool_trim(&ssls.pool, 0);
    pthread_mutex_unlock(&ssls.lock);
}

static void *openssl_alloc(size_t size, const char *file, int line)
{
    void *block;
    (void)line;
    if (size == 0) return NULL; /* as OpenSSL's own does it */
    if (size > 4096 && size < 8192 && is_ssl(size, file)) {
        block = ssl_alloc(size);
        if (block != NULL) return block;
    }
    block = mm_heap_alloc(size);
    if (block == NULL || charge(mm_heap_usable_size(block))) return block;
    mm_heap_free(block);
    return NULL;
}

static void openssl_free(void *block, const char *file, int line)
{
    (void)file, (void)line;
    if (block == NULL) return;
    if (lies_in_pool(block)) {
        ssl_free(block);
        return;
    }
    release(mm_heap_usable_size(block));
    mm_heap_free(block);
}

static void *openssl_realloc(void *block, size_t size, const char *file, int line)
{
    size_t before;
    void *moved;
    if (block == NULL) return openssl_alloc(size, file, line);
    if (size == 0) {
        openssl_free(block, file, line);
        return NULL;
    }
    before = lies_in_pool(block) ? ssls.size : mm_heap_usable_size(block);
    if (!lies_in_pool(block) && size <= before && size >= before / 2) return block;
    moved = openssl_alloc(size, file, line);
    if (moved == NULL) return NULL;
    memcpy(moved, block, size < before ? size : before);
    openssl_free(block, file, line);
    return moved;
}

/* ---- what is resident ---- */

size_t memory_resident(void)
{
    char text[128];
    ssize_t n = process.statm < 0 ? 0 : pread(process.statm, text, sizeof(text) - 1, 0);
    char *second;
    if (n <= 0) return 0;
    text[n] = '\0';
    second = strchr(text, ' '); /* all pages, then those in memory */
    return second == NULL ? 0 : (size_t)strtoul(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* The account is as large as that, or as the limit lets it be: then the rest follows when others
   have released something. */
static void set_program(size_t size)
{
    mm_budget *program = &process.accounts[MEMORY_PROGRAM];
    size_t before = mm_budget_live(program), more = size > before ? size - before : 0;
    if (size < before) mm_budget_release(program, before - size);
    while (more >= 4096 && mm_budget_charge(program, more) != MM_STATUS_OK) more /= 2;
}

/* One thread at a time; what another sees at the same moment is as good. */
static void look(void)
{
    size_t resident, known, free = 0;
    if (!mmi_atomic_cas(&process.looking, &free, 1)) return;
    resident = memory_resident();
    known = mm_budget_live(&process.accounts[MEMORY_PROCESS]) -
            mm_budget_live(&process.accounts[MEMORY_PROGRAM]);
    set_program(resident > known ? resident - known : 0);
    mmi_atomic_store(&process.looking, 0);
}

void memory_measure(int64_t now_ms)
{
    size_t now = (size_t)now_ms, last = mmi_atomic_load(&process.measured);
    if (now - last < MEMORY_MEASURE_MS) return;
    if (mmi_atomic_cas(&process.measured, &last, now)) look(); /* else another thread does */
}

void memory_trim(int64_t now_ms)
{
    ssl_trim();
    mm_heap_trim();
    mmi_atomic_store(&process.measured, (size_t)now_ms);
    look();
}

/* ---- start ---- */

static _Thread_local mm_reclaim_fn reclaim_fn;
static _Thread_local void *reclaim_data;

void memory_set_reclaim(mm_reclaim_fn fn, void *user_data)
{
    reclaim_fn = fn;
    reclaim_data = user_data;
}

static size_t reclaim(size_t wanted, void *user_data)
{
    (void)user_data;
    return reclaim_fn == NULL ? 0 : reclaim_fn(wanted, reclaim_data);
}

void memory_init(const mm_allocator *allocator)
{
    static const char *const names[] = {"process", "program", "OpenSSL", "sessions", "shared"};
    int i;
    for (i = 0; i < MEMORY_ACCOUNTS; i++) {
        mm_budget_desc desc = {.name = names[i], .allocator = allocator};
        if (i != MEMORY_PROCESS) desc.parent = &process.accounts[MEMORY_PROCESS];
        else desc.reclaim_fn = reclaim;
        mm_budget_init(&process.accounts[i], &desc);
    }
}

bool memory_count_openssl(char *error, size_t error_size)
{
    if (CRYPTO_set_mem_functions(openssl_alloc, openssl_realloc, openssl_free) == 1) return true;
    (void)snprintf(error, error_size, "OpenSSL has taken memory before it could be counted");
    return false;
}

/* Bytes of this machine, or of the container that this is. */
static uint64_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    char text[32];
    if (file == NULL) return bytes;
    if (fgets(text, sizeof(text), file) != NULL) {
        int64_t most;
        text[strcspn(text, "\n")] = '\0';
        most = value_size(text); /* "max" is no number */
        if (most > 0 && (bytes == 0 || (uint64_t)most < bytes)) bytes = (uint64_t)most;
    }
    fclose(file);
    return bytes;
}

/* The one that was asked for, or the largest that this machine is large enough for. */
static const mm_profile *choose_profile(const char *name, uint64_t machine)
{
    const mm_profile *chosen = mm_profile_get(MM_PROFILE_SMALL);
    int i;
    for (i = MM_PROFILE_SMALL; i <= MM_PROFILE_LARGE; i++) {
        const mm_profile *p = mm_profile_get((mm_profile_size)i);
        if (name != NULL ? strcmp(name, p->name) == 0 : p->memory <= machine) chosen = p;
    }
    return chosen;
}

static size_t smaller(uint64_t a, uint64_t b)
{
    uint64_t least = a < b ? a : b;
    return least > SIZE_MAX / 2 ? SIZE_MAX / 2 : (size_t)least;
}

/* A profile's caches are meant for its memory. With less, responses have a quarter of it, sessions
   a sixteenth, and spare buffers of the four sizes together another sixteenth. */
static void set_sizes(const mm_profile *profile, size_t limit, int workers)
{
    memory_sizes *s = &process.sizes;
    size_t n = (size_t)workers;
    s->profile = profile->name;
    s->limit = limit;
    s->responses = smaller(profile->response_cache, limit / 4) / n;
    s->files = smaller(profile->open_files, limit / 16384) / n + 16;
    s->sessions = smaller(profile->session_cache, limit / 16);
    s->spare = smaller((uint64_t)profile->tier.class_keep[0] * 4096, limit / 64 / n);
    s->body = MEMORY_BODY_SHORT;
    mm_budget_set_limit(&process.accounts[MEMORY_PROCESS], limit);
    mm_budget_set_limit(&process.accounts[MEMORY_SESSIONS], s->sessions + s->sessions / 4);
    mm_budget_set_limit(&process.accounts[MEMORY_SHARED], limit / 4);
}

bool memory_plan(const options *o, int workers, char *error, size_t error_size)
{
    uint64_t machine = machine_memory();
    const mm_profile *profile = choose_profile(o->profile, machine);
    uint64_t limit = profile->budget.limit;
    size_t taken;
    if (o->memory != NULL) limit = (uint64_t)value_size(o->memory);
    else if (machine > 0) limit = smaller(limit, machine / 2);
    set_sizes(profile, smaller(limit, SIZE_MAX), workers);
    if (process.statm < 0) process.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    look();
    taken = mm_budget_live(&process.accounts[MEMORY_PROCESS]);
    if (taken < process.sizes.limit / 2) return true;
    (void)snprintf(error, error_size, "--memory: %s is too little: the program alone has %zuK",
                   o->memory == NULL ? "the default" : o->memory, taken / 1024);
    return false;
}

/* ---- workers ---- */

void memory_worker_init(memory_worker *m, mm_budget *whole)
{
    static const char *const names[] = {"",       " connections", " buffers",  " arena",
                                        " files", " responses",   " listings", " uploads", " log"};
    /* of the whole, in percent; 0: no limit of its own. No part alone can take what others need. */
    static const unsigned percent[] = {0, 0, 80, 25, 10, 30, 25, 25, 10};
    mm_budget_desc desc = {.parent = &process.accounts[MEMORY_PROCESS]};
    memory_worker **link = &process.workers;
    int i;
    memset(m, 0, sizeof(*m));
    m->whole = whole;
    for (; *link != NULL; link = &(*link)->next) m->number = (*link)->number + 1;
    *link = m;
    for (i = 0; i < MEMORY_PARTS; i++) {
        (void)snprintf(m->names[i], sizeof(m->names[i]), "worker %d%s", m->number, names[i]);
        desc.name = m->names[i];
        desc.limit = process.sizes.limit / 100 * percent[i];
        mm_budget_init(i == MEMORY_WORKER ? whole : &m->parts[i], &desc);
        desc.parent = whole;
    }
}

const mm_allocator *memory_part_allocator(memory_worker *m, memory_part part)
{
    return mm_budget_allocator(part == MEMORY_WORKER ? m->whole : &m->parts[part]);
}

memory_worker *memory_first_worker(void)
{
    return process.workers;
}

size_t memory_worker_deinit(memory_worker *m)
{
    memory_worker **link = &process.workers;
    size_t left;
    int i;
    if (m->whole == NULL) return 0;
    while (*link != NULL && *link != m) link = &(*link)->next;
    if (*link == m) *link = m->next;
    for (i = MEMORY_PARTS - 1; i > MEMORY_WORKER; i--) (void)mm_budget_deinit(&m->parts[i]);
    left = mm_budget_deinit(m->whole); /* all that the parts had left is in here */
    m->whole = NULL;
    return left;
}

/* ---- what there is to see ---- */

static void describe(mm_budget *budget, int parent, memory_node *node)
{
    node->name = budget->name;
    node->parent = parent;
    node->budget = budget;
    mm_budget_get_stats(budget, &node->stats);
}

bool memory_node_at(size_t index, memory_node *node)
{
    size_t before = MEMORY_ACCOUNTS, part = index;
    memory_worker *m = process.workers;
    if (index < MEMORY_ACCOUNTS) {
        describe(&process.accounts[index], index == MEMORY_PROCESS ? -1 : 0, node);
        return true;
    }
    for (part -= before; m != NULL && part >= MEMORY_PARTS; m = m->next) {
        part -= MEMORY_PARTS;
        before += MEMORY_PARTS;
    }
    if (m == NULL) return false;
    if (part == MEMORY_WORKER) describe(m->whole, MEMORY_PROCESS, node);
    else describe(&m->parts[part], (int)before, node);
    return true;
}

mm_pressure_level memory_level(void)
{
    mm_pressure_level highest = MM_PRESSURE_NORMAL;
    const memory_worker *m;
    for (m = process.workers; m != NULL; m = m->next)
        if (mm_pressure_get(&m->pressure) > highest) highest = mm_pressure_get(&m->pressure);
    return highest;
}

size_t memory_level_changes(void)
{
    size_t changes = 0;
    memory_worker *m;
    for (m = process.workers; m != NULL; m = m->next)
        changes += mmi_atomic_load(&m->pressure.changes);
    return changes;
}

static size_t add(char *text, size_t used, const char *format, ...) MM_FORMAT(3, 4);
static size_t add(char *text, size_t used, const char *format, ...)
{
    va_list args;
    int n;
    va_start(args, format);
    n = vsnprintf(text + used, MEMORY_REPORT - used, format, args);
    va_end(args);
    return n < 0 || (size_t)n >= MEMORY_REPORT - used ? used : used + (size_t)n;
}

/* All at once, for other lines not to come between. */
void memory_report(FILE *to)
{
    static char text[MEMORY_REPORT];
    mm_heap_stats heap;
    memory_node node;
    size_t i, known, n;
    look();
    mm_heap_get_stats(&heap);
    known = mm_budget_live(memory_get(MEMORY_PROCESS)) - mm_budget_live(memory_get(MEMORY_PROGRAM));
    n = add(text, 0, "mmserve: memory: %zuK resident, level %s, %zu changes of level\n"
                     "mmserve: memory: %zuK live in the heap, of which %zuK are on accounts\n",
            memory_resident() / 1024, mm_pressure_string(memory_level()), memory_level_changes(),
            heap.live / 1024, known / 1024);
    for (i = 0; memory_node_at(i, &node); i++) {
        const mm_budget_stats *stats = &node.stats;
        if (stats->peak == 0) continue;
        n = add(text, n, "mmserve: memory: %-22s %9zuK now %9zuK at most %9zuK allowed "
                         "%zu refused\n",
                node.name, stats->live / 1024, stats->peak / 1024, stats->limit / 1024,
                stats->failures);
    }
    (void)fwrite(text, 1, n, to);
}
