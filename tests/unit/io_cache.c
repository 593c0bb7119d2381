/* mm_io.h: the open-file cache by a clock of its own, against a model, and in large. What it does
   with a single file is in io.c. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The n-th system call fails. */
static struct shim {
    size_t calls, fail_at;
    int for_ever, error, open_fds;
    size_t opens, stats; /* how often the system was asked */
} shim;

static int shim_fails(void)
{
    shim.calls++;
    if (shim.fail_at == 0 || shim.calls < shim.fail_at) return 0;
    if (shim.calls > shim.fail_at && !shim.for_ever) return 0;
    errno = shim.error;
    return 1;
}

static int shim_opened(int fd)
{
    shim.opens++;
    if (fd >= 0) shim.open_fds++;
    return fd;
}

static int shim_close(int fd)
{
    shim.open_fds--;
    return close(fd);
}

#define MM_SYS_OPEN(path, flags, mode) (shim_fails() ? -1 : shim_opened(open(path, flags, mode)))
#define MM_SYS_CLOSE(fd) shim_close(fd)
#define MM_SYS_FSTAT(fd, st) (shim.stats++, shim_fails() ? -1 : fstat(fd, st))
#define MM_SYS_OPENAT(dir, path, flags) (shim_fails() ? -1 : shim_opened(openat(dir, path, flags)))
#define MM_SYS_OPENAT2(dir, path, flags, resolve) \
    (shim_fails() ? -1 : shim_opened(mmi_openat2(dir, path, flags, resolve)))
#define MM_IMPLEMENTATION
#include "../../mm_io.h"

#include "../harness.h"

#if defined(MM_VALGRIND) || defined(__SANITIZE_THREAD__)
enum { MANY = 2000, STEPS = 4000 };
#else
enum { MANY = 20000, STEPS = 40000 };
#endif

static void shim_fail(size_t n, int for_ever, int error)
{
    shim.calls = 0;
    shim.fail_at = n;
    shim.for_ever = for_ever;
    shim.error = error;
}

/* ---- fixtures: a folder, a cache ---- */

static char root[] = "/tmp/mm-test-cache-XXXXXX";
static test_allocator memory;
static mm_filecache cache;
static mm_filecache_desc desc; /* filled in by begin, to be changed before open_cache */
static mm_fd_budget fds;

static const char *in_root(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static void put_file(const char *name, const char *bytes)
{
    int fd = open(in_root(name), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0 || write(fd, bytes, strlen(bytes)) != (ssize_t)strlen(bytes)) abort();
    close(fd);
}

static void begin(void)
{
    static bool made;
    if (!made && mkdtemp(root) == NULL) abort();
    made = true;
    memset(&shim, 0, sizeof(shim));
    memset(&desc, 0, sizeof(desc));
    memset(&fds, 0, sizeof(fds));
    test_allocator_init(&memory);
    fds.limit = 100000;
    desc.root = root;
    desc.fds = &fds;
    desc.allocator = &memory.base;
}

static void open_cache(void)
{
    CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_OK);
    shim.opens = shim.stats = 0;
}

static void end(void)
{
    CHECK(mm_filecache_check(&cache));
    CHECK_EQ(mm_filecache_deinit(&cache), 0);
    CHECK_EQ(mm_filecache_deinit(&cache), 0); /* twice is harmless */
    CHECK_EQ(memory.live_blocks, 0);
    CHECK_EQ(memory.bad_sizes, 0);
    CHECK_EQ(shim.open_fds, 0);
    CHECK_EQ(fds.taken, 0);
}

static mm_status look(const char *path, int64_t now, mm_file **file)
{
    mm_status status = mm_filecache_open(&cache, mm_slice_from_string(path), now, file);
    if (!mm_filecache_check(&cache)) test_fail(__FILE__, __LINE__, "cache check");
    if ((status == MM_STATUS_OK) != (*file != NULL)) test_fail(__FILE__, __LINE__, "file");
    return status;
}

static mm_status touch(const char *path, int64_t now)
{
    mm_file *file;
    mm_status status = look(path, now, &file);
    if (status == MM_STATUS_OK) mm_file_release(file);
    return status;
}

/* ---- what a lookup remembers ---- */

TEST(failures_are_remembered)
{
    begin();
    desc.negative_ms = 500;
    desc.inactive_ms = -1;
    CHECK_SUB(open_cache());
    CHECK_EQ(touch("absent", 0), MM_STATUS_NOT_FOUND);
    CHECK_EQ(shim.opens, 1);
    put_file("absent", "here now");
    CHECK_EQ(touch("absent", 500), MM_STATUS_NOT_FOUND);
    CHECK(shim.opens == 1 && cache.stats.negative == 1 && cache.stats.notes == 1);
    CHECK_EQ(touch("absent", 501), MM_STATUS_OK); /* lookups do not make it last longer */
    CHECK(cache.stats.notes == 0 && cache.stats.entries == 1);
    unlink(in_root("absent"));
    CHECK_EQ(touch("absent", 502), MM_STATUS_NOT_FOUND);
    put_file("absent", "again");
    CHECK_EQ(touch("absent", 503), MM_STATUS_NOT_FOUND);
    mm_filecache_forget(&cache, mm_slice_from_string("absent"));
    mm_filecache_forget(&cache, mm_slice_from_string("never seen"));
    CHECK_EQ(touch("absent", 504), MM_STATUS_OK);
    CHECK_EQ(mkfifo(in_root("fifo"), 0600), 0);
    CHECK_EQ(touch("fifo", 504), MM_STATUS_DENIED);
    shim.opens = 0;
    CHECK_EQ(touch("fifo", 505), MM_STATUS_DENIED);
    CHECK_EQ(shim.opens, 0);
    unlink(in_root("fifo"));
    unlink(in_root("absent"));
    CHECK_SUB(end());
}

TEST(passing_failures_are_not_remembered)
{
    static const int errors[] = {EIO, EMFILE, ENOMEM, EAGAIN};
    size_t i;
    begin();
    desc.negative_ms = 500;
    CHECK_SUB(open_cache());
    put_file("file", "file");
    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        shim_fail(1, 1, errors[i]);
        CHECK(touch("file", 0) != MM_STATUS_OK);
        shim_fail(0, 0, 0);
        CHECK_EQ(cache.stats.notes, 0);
        CHECK_EQ(touch("file", 0), MM_STATUS_OK);
        mm_filecache_trim(&cache, 0);
    }
    test_allocator_fail(&memory, 1, 0);
    CHECK_EQ(touch("file", 0), MM_STATUS_NO_MEMORY);
    test_allocator_fail(&memory, 2, 0); /* the note */
    CHECK_EQ(touch("absent", 0), MM_STATUS_NOT_FOUND);
    CHECK_EQ(cache.stats.notes, 0);
    unlink(in_root("file"));
    CHECK_SUB(end());
}

TEST(files_are_kept_when_asked_for_often)
{
    mm_file *first, *second;
    begin();
    desc.min_uses = 3;
    desc.inactive_ms = 1000;
    CHECK_SUB(open_cache());
    put_file("file", "file");
    CHECK_EQ(look("file", 0, &first), MM_STATUS_OK);
    CHECK_EQ(look("file", 10, &second), MM_STATUS_OK);
    CHECK(first != second && fds.taken == 2 && cache.stats.entries == 0);
    mm_file_release(first);
    mm_file_release(second);
    CHECK(fds.taken == 0 && cache.stats.notes == 1);
    CHECK_EQ(look("file", 20, &first), MM_STATUS_OK); /* the third */
    CHECK(cache.stats.entries == 1 && cache.stats.notes == 0 && first->uses == 3);
    mm_file_release(first);
    CHECK_EQ(look("file", 30, &second), MM_STATUS_OK);
    CHECK(first == second && cache.stats.hits == 1 && second->uses == 4);
    mm_file_release(second);
    put_file("other", "other");
    CHECK_EQ(touch("other", 40), MM_STATUS_OK);
    CHECK_EQ(touch("other", 50), MM_STATUS_OK);
    CHECK_EQ(touch("other", 1051), MM_STATUS_OK); /* the two before are too long ago */
    CHECK(cache.stats.entries == 0 && cache.stats.notes == 1 && cache.stats.expired == 2);
    unlink(in_root("file"));
    unlink(in_root("other"));
    CHECK_SUB(end());
}

TEST(idle_files_are_closed)
{
    mm_file *held;
    begin();
    desc.inactive_ms = 1000;
    desc.negative_ms = 100000;
    CHECK_SUB(open_cache());
    put_file("a", "a");
    put_file("b", "b");
    CHECK_EQ(look("a", 0, &held), MM_STATUS_OK);
    CHECK_EQ(touch("b", 0), MM_STATUS_OK);
    CHECK_EQ(touch("absent", 0), MM_STATUS_NOT_FOUND);
    mm_filecache_expire(&cache, 1000);
    CHECK(cache.stats.entries == 2 && cache.stats.notes == 1);
    mm_filecache_expire(&cache, 1001);
    CHECK(cache.stats.entries == 1 && cache.stats.notes == 0); /* what is in use stays */
    mm_filecache_expire(&cache, 500); /* a clock that goes back does nothing */
    mm_file_release(held);
    CHECK_EQ(cache.stats.entries, 1);
    CHECK_EQ(touch("b", 5000), MM_STATUS_OK); /* lookups drop a little as well */
    CHECK(cache.stats.entries == 1 && cache.stats.expired == 3 && fds.taken == 1);
    mm_filecache_expire(&cache, INT64_MAX);
    CHECK_EQ(cache.stats.entries, 0);
    unlink(in_root("a"));
    unlink(in_root("b"));
    CHECK_SUB(end());
}

TEST(fstat_is_asked_as_often_as_wanted)
{
    begin();
    desc.stat_ms = 100;
    desc.valid_ms = 1000;
    CHECK_SUB(open_cache());
    put_file("file", "old");
    CHECK_EQ(touch("file", 0), MM_STATUS_OK);
    shim.calls = 0;
    put_file("file", "rewritten");
    CHECK_EQ(touch("file", 100), MM_STATUS_OK);
    CHECK_EQ(shim.calls, 0); /* no system call in a hit */
    CHECK_EQ(touch("file", 101), MM_STATUS_OK);
    CHECK(cache.stats.changed == 1 && cache.stats.hits == 1);
    unlink(in_root("file"));
    CHECK_SUB(end());
}

static const char *type_of(mm_slice path, void *user_data)
{
    ++*(int *)user_data;
    return path.len > 0 && path.ptr[path.len - 1] == 'l' ? "text/html" : NULL;
}

TEST(types_are_asked_for_once)
{
    mm_file *file;
    int asked = 0;
    begin();
    desc.type_fn = type_of;
    desc.type_data = &asked;
    CHECK_SUB(open_cache());
    put_file("x.html", "x");
    CHECK_EQ(touch("x.html", 0), MM_STATUS_OK);
    CHECK_EQ(touch("absent", 0), MM_STATUS_NOT_FOUND);
    CHECK_EQ(look("x.html", 0, &file), MM_STATUS_OK);
    CHECK_STR(file->type, "text/html");
    CHECK_EQ(asked, 1);
    mm_file_release(file);
    unlink(in_root("x.html"));
    CHECK_SUB(end());
}

/* Neither opened for good nor waited for, whatever leads to them. */
TEST(devices_and_pipes_are_refused)
{
    static const char *const bad[] = {"null", "zero", "tty", "pipe", "device"};
    size_t i;
    begin();
    desc.follow = true;
    CHECK_SUB(open_cache());
    CHECK_EQ(symlink("/dev/null", in_root("null")), 0);
    CHECK_EQ(symlink("/dev/zero", in_root("zero")), 0);
    CHECK_EQ(symlink("/dev/tty", in_root("tty")), 0);
    CHECK_EQ(mkfifo(in_root("pipe"), 0600), 0);
    if (mknod(in_root("device"), S_IFCHR | 0600, makedev(1, 3)) != 0) /* root alone may */
        CHECK_EQ(symlink("/dev/full", in_root("device")), 0);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_EQ(touch(bad[i], 0), MM_STATUS_DENIED);
        CHECK_EQ(fds.taken, 0);
        unlink(in_root(bad[i]));
    }
    CHECK_SUB(end());
}

/* What is in use is never closed, and nobody walks over it to find what is not. */
TEST(full_of_files_in_use)
{
    mm_file *held[50], *more;
    char name[16];
    int i;
    begin();
    desc.max_entries = 50;
    CHECK_SUB(open_cache());
    for (i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        put_file(name, name);
        if (i < 50) CHECK_EQ(look(name, i, &held[i]), MM_STATUS_OK);
    }
    CHECK(cache.stats.entries == 50 && cache.stats.idle == 0);
    CHECK_EQ(look("f55", 50, &more), MM_STATUS_OK); /* served, but not kept */
    CHECK(!more->cached && cache.stats.entries == 50 && cache.stats.evictions == 0);
    mm_file_release(more);
    mm_filecache_trim(&cache, 0);
    CHECK_EQ(cache.stats.entries, 50);
    fds.limit = fds.taken;
    CHECK_EQ(touch("f56", 50), MM_STATUS_NO_FILES);
    mm_file_release(held[7]);
    CHECK_EQ(touch("f56", 50), MM_STATUS_OK); /* the one descriptor that could be had */
    CHECK_EQ(cache.stats.evictions, 1);
    for (i = 0; i < 50; i++) {
        if (i == 7) continue;
        CHECK(fcntl(held[i]->fd, F_GETFD) >= 0);
        mm_file_release(held[i]);
    }
    for (i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        unlink(in_root(name));
    }
    CHECK_SUB(end());
}

TEST(pressure_trims_to_percent)
{
    mm_pressure_action action;
    char name[16];
    int i;
    begin();
    CHECK_SUB(open_cache());
    for (i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        put_file(name, name);
        CHECK_EQ(touch(name, i), MM_STATUS_OK);
        unlink(in_root(name));
    }
    memset(&action, 0, sizeof(action));
    action.user_data = &cache;
    action.percent = 70;
    mm_pressure_trim_files(&action, true);
    CHECK_EQ(cache.stats.entries, 7);
    mm_pressure_trim_files(&action, false);
    CHECK_EQ(cache.stats.entries, 7);
    action.percent = 0;
    mm_pressure_trim_files(&action, true);
    CHECK_EQ(cache.stats.entries, 0);
    CHECK_SUB(end());
}

/* A budget that finds memory by trimming the very cache that asks for some. */
static size_t reclaim(size_t wanted, void *user_data)
{
    (void)wanted;
    if (!mm_filecache_check(&cache)) test_fail(__FILE__, __LINE__, "cache check");
    mm_filecache_trim((mm_filecache *)user_data, 0);
    return 1;
}

TEST(trimmed_by_the_allocation_of_an_entry)
{
    mm_budget_desc limits;
    mm_budget budget;
    char name[16];
    int i;
    begin();
    memset(&limits, 0, sizeof(limits));
    limits.allocator = &memory.base;
    limits.reclaim_fn = reclaim;
    limits.reclaim_data = &cache;
    mm_budget_init(&budget, &limits);
    desc.allocator = mm_budget_allocator(&budget);
    desc.min_uses = 2;
    desc.negative_ms = 1000;
    CHECK_SUB(open_cache());
    mm_budget_set_limit(&budget, mm_budget_live(&budget) + 5 * (sizeof(mm_file) + 8));
    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "f%d", i % 11);
        put_file(name, name);
        CHECK_EQ(touch(name, 2 * i), MM_STATUS_OK);
        CHECK_EQ(touch(name, 2 * i + 1), MM_STATUS_OK);
        snprintf(name, sizeof(name), "n%d", i % 13);
        CHECK_EQ(touch(name, 2 * i + 1), MM_STATUS_NOT_FOUND);
    }
    for (i = 0; i < 11; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        unlink(in_root(name));
    }
    CHECK_SUB(end());
    CHECK_EQ(mm_budget_deinit(&budget), 0);
}

/* ---- against a model ---- */

enum { NAMES = 24, REAL = 16, MODEL_FILES = 6, MODEL_NOTES = 5, HOLDS = 8 };

/* What the cache must hold of each name. Files of REAL names exist, the others do not. */
static struct model {
    enum { NOTHING, COUNTED, REFUSED, KEPT } state;
    int64_t used, checked;
    unsigned order;  /* among the idle ones, or the notes: the lowest goes first */
    unsigned uses;
    int holds;       /* of the file that is kept */
    mm_file *file;
} model[NAMES];
static unsigned model_order;
static int64_t model_now;

static int model_oldest(bool notes)
{
    int i, best = -1;
    for (i = 0; i < NAMES; i++) {
        struct model *m = &model[i];
        if (notes ? m->state != COUNTED && m->state != REFUSED
                  : m->state != KEPT || m->holds > 0) continue;
        if (best < 0 || m->order < model[best].order) best = i;
    }
    return best;
}

static int model_count(bool notes)
{
    int i, count = 0;
    for (i = 0; i < NAMES; i++)
        count += notes ? model[i].state == COUNTED || model[i].state == REFUSED
                       : model[i].state == KEPT;
    return count;
}

static void model_expire(int most)
{
    int notes, i;
    for (notes = 0; notes < 2; notes++)
        for (i = 0; i < most; i++) {
            int oldest = model_oldest(notes);
            if (oldest < 0 || model_now - model[oldest].used <= desc.inactive_ms) break;
            model[oldest].state = NOTHING;
        }
}

static void model_note(struct model *m, int state)
{
    if (m->state == NOTHING) {
        while (model_count(true) >= MODEL_NOTES) model[model_oldest(true)].state = NOTHING;
        m->uses = 0;
    }
    m->state = state == COUNTED ? COUNTED : REFUSED;
    m->uses++;
    m->used = m->checked = model_now;
    m->order = model_order++;
}

/* A lookup of name i: what it answers, and whether from memory. */
static mm_status model_look(int i, bool *memory_only)
{
    struct model *m = &model[i];
    model_expire(MMI_IO_EXPIRE);
    if ((m->state == COUNTED || m->state == REFUSED) && model_now - m->used > desc.inactive_ms)
        m->state = NOTHING;
    if (m->state == REFUSED && model_now - m->checked > desc.negative_ms) m->state = NOTHING;
    *memory_only = m->state == KEPT || m->state == REFUSED;
    if (*memory_only) {
        m->used = model_now;
        m->uses++;
        if (m->state == REFUSED) m->order = model_order++;
        return m->state == KEPT ? MM_STATUS_OK : MM_STATUS_NOT_FOUND;
    }
    if (i >= REAL) {
        model_note(m, REFUSED);
        return MM_STATUS_NOT_FOUND;
    }
    if ((m->state == NOTHING ? 1 : m->uses + 1) < desc.min_uses) {
        model_note(m, COUNTED);
        return MM_STATUS_OK;
    }
    m->uses = m->state == NOTHING ? 1 : m->uses + 1;
    m->state = NOTHING;
    if (model_count(false) >= MODEL_FILES && model_oldest(false) >= 0)
        model[model_oldest(false)].state = NOTHING;
    if (model_count(false) < MODEL_FILES) {
        m->state = KEPT;
        m->used = m->checked = model_now;
        m->holds = 0;
        m->file = NULL;
    }
    return MM_STATUS_OK;
}

static struct hold {
    mm_file *file;
    int name;
} holds[HOLDS];

static void model_release(struct hold *h)
{
    struct model *m = &model[h->name];
    if (h->file == NULL) return;
    if (m->state == KEPT && m->file == h->file && --m->holds == 0) m->order = model_order++;
    mm_file_release(h->file);
    h->file = NULL;
}

static void model_step(uint64_t *seed)
{
    int i = (int)(test_random(seed) % NAMES), slot = (int)(test_random(seed) % HOLDS);
    bool memory_only;
    char name[16];
    uint64_t before = cache.stats.hits + cache.stats.negative;
    mm_file *file;
    mm_status expected, status;
    snprintf(name, sizeof(name), "m%d", i);
    model_release(&holds[slot]);
    expected = model_look(i, &memory_only);
    status = look(name, model_now, &file);
    CHECK_EQ(status, expected);
    CHECK_EQ(cache.stats.hits + cache.stats.negative - before, memory_only);
    if (file == NULL) return;
    CHECK_EQ(file->cached, model[i].state == KEPT);
    if (file->cached) {
        CHECK(model[i].file == NULL || model[i].file == file);
        CHECK_EQ(file->uses, model[i].uses);
        model[i].file = file;
        model[i].holds++;
    }
    holds[slot].file = file;
    holds[slot].name = i;
    if (test_random(seed) % 4 != 0) model_release(&holds[slot]);
}

static void model_trim(int count)
{
    while (model_count(false) > count && model_oldest(false) >= 0)
        model[model_oldest(false)].state = NOTHING;
    while (model_count(true) > count) model[model_oldest(true)].state = NOTHING;
    mm_filecache_trim(&cache, (size_t)count);
}

TEST(as_a_model_has_it)
{
    uint64_t seed = 99;
    char name[16];
    int i;
    begin();
    desc.max_entries = MODEL_FILES;
    desc.max_notes = MODEL_NOTES;
    desc.min_uses = 2;
    desc.inactive_ms = 60;
    desc.negative_ms = 25;
    CHECK_SUB(open_cache());
    memset(model, 0, sizeof(model));
    for (i = 0; i < REAL; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        put_file(name, name);
    }
    model_now = -1000;
    for (i = 0; i < STEPS; i++) {
        uint64_t dice = test_random(&seed) % 100;
        if (dice < 30) model_now += (int64_t)(test_random(&seed) % 20);
        if (dice == 0) model_trim((int)(test_random(&seed) % 5));
        if (dice == 1) {
            model_expire(NAMES);
            mm_filecache_expire(&cache, model_now);
        }
        CHECK_SUB(model_step(&seed));
        CHECK_EQ(cache.stats.entries, model_count(false));
        CHECK_EQ(cache.stats.notes, model_count(true));
    }
    CHECK(cache.stats.hits > STEPS / 20 && cache.stats.negative > STEPS / 20);
    CHECK(cache.stats.expired > STEPS / 100 && cache.stats.evictions > STEPS / 100);
    for (i = 0; i < HOLDS; i++) model_release(&holds[i]);
    for (i = 0; i < REAL; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        unlink(in_root(name));
    }
    CHECK_SUB(end());
}

/* ---- every fault, and in large ---- */

/* A few lookups that come by every path of the code. */
static void lookups(void)
{
    mm_file *held = NULL;
    (void)look("page", 0, &held);
    (void)touch("page", 10);
    (void)touch("page", 2000);
    (void)touch("absent", 2000);
    (void)touch("absent", 2001);
    (void)touch("dir/leaf", 2001);
    (void)touch("dir/leaf", 2002);
    put_file("page", "rewritten, and longer");
    (void)touch("page", 2003);
    if (held != NULL) mm_file_release(held);
    mm_filecache_expire(&cache, 70000);
}

TEST(every_call_and_every_allocation_fails)
{
    static const int errors[] = {EIO, EINTR, EMFILE, EACCES, ENOMEM, EAGAIN};
    size_t e, n, points = 0;
    int faults = 1, for_ever;
    begin();
    CHECK(mkdir(in_root("dir"), 0700) == 0);
    put_file("dir/leaf", "leaf");
    for (e = 0; e < 2 * sizeof(errors) / sizeof(errors[0]); e++, faults = 1)
        for (n = 1; faults; n++, points++) {
            begin();
            desc.min_uses = 1 + e % 2;
            desc.negative_ms = 100;
            put_file("page", "page");
            CHECK_SUB(open_cache());
            for_ever = (e & 1) != 0 && errors[e / 2] != EINTR; /* endless: that is retried */
            shim_fail(n, for_ever, errors[e / 2]);
            CHECK_SUB(lookups());
            faults = shim.calls >= n;
            shim_fail(0, 0, 0);
            CHECK_EQ(touch("dir/leaf", 80000), MM_STATUS_OK);
            CHECK_SUB(end());
        }
    CHECK(points > 100);
    for (for_ever = 0; for_ever < 2; for_ever++)
        for (n = 1, faults = 1; faults; n++) {
            begin();
            desc.min_uses = 2;
            desc.negative_ms = 100;
            CHECK_SUB(open_cache());
            test_allocator_fail(&memory, n, for_ever);
            CHECK_SUB(lookups());
            faults = memory.calls >= n;
            test_allocator_fail(&memory, 0, 0);
            CHECK_SUB(end());
        }
    unlink(in_root("page"));
    unlink(in_root("dir/leaf"));
    rmdir(in_root("dir"));
}

TEST(sizes_that_cannot_be)
{
    begin();
    desc.max_entries = SIZE_MAX;
    CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_TOO_LARGE);
    desc.max_entries = SIZE_MAX / 2 + 2;
    CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_TOO_LARGE);
    desc.max_entries = SIZE_MAX / 4;
    desc.max_notes = 1;
    CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_TOO_LARGE);
    desc.max_entries = 1;
    desc.max_notes = SIZE_MAX;
    CHECK_EQ(mm_filecache_init(&cache, &desc), MM_STATUS_TOO_LARGE);
    CHECK(shim.open_fds == 0 && memory.live_blocks == 0);
    CHECK_EQ(mm_filecache_deinit(&cache), 0);
}

TEST(many_files_few_descriptors)
{
    uint64_t seed = 3;
    char name[32];
    mm_file *file, *held[10];
    int i, turn;
    begin();
    desc.max_entries = 100;
    fds.limit = 120;
    CHECK_SUB(open_cache());
    for (i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "many-%d", i);
        put_file(name, name);
    }
    for (i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "many-%d", i * 7);
        CHECK_EQ(mm_filecache_open(&cache, mm_slice_from_string(name), 0, &held[i]), MM_STATUS_OK);
    }
    for (turn = 0; turn < 2 * MANY; turn++) {
        i = turn < MANY ? turn : (int)(test_random(&seed) % MANY);
        snprintf(name, sizeof(name), "many-%d", i);
        CHECK_EQ(mm_filecache_open(&cache, mm_slice_from_string(name), turn, &file), MM_STATUS_OK);
        CHECK_EQ(file->size, strlen(name));
        mm_file_release(file);
        CHECK(cache.stats.entries <= 100 && fds.taken <= 110);
        if (turn % 1000 == 0) CHECK(mm_filecache_check(&cache));
    }
    for (i = 0; i < 10; i++) {
        char byte;
        CHECK(pread(held[i]->fd, &byte, 1, 0) == 1 && byte == 'm');
        mm_file_release(held[i]);
    }
    for (i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "many-%d", i);
        unlink(in_root(name));
    }
    CHECK_SUB(end());
    CHECK_EQ(rmdir(root), 0);
}

TEST_MAIN(T(failures_are_remembered), T(passing_failures_are_not_remembered),
          T(files_are_kept_when_asked_for_often), T(idle_files_are_closed),
          T(fstat_is_asked_as_often_as_wanted), T(types_are_asked_for_once),
          T(devices_and_pipes_are_refused), T(full_of_files_in_use), T(pressure_trims_to_percent),
          T(trimmed_by_the_allocation_of_an_entry), T(as_a_model_has_it),
          T(every_call_and_every_allocation_fails), T(sizes_that_cannot_be),
          T(many_files_few_descriptors))
