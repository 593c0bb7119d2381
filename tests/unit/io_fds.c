/* mm_io.h: descriptors against one limit, and the one that is kept for the moment without any. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static size_t calls, fail_at;
static int fail_error;

static int fails(void)
{
    if (++calls != fail_at) return 0;
    errno = fail_error;
    return 1;
}

#define MM_SYS_OPEN(path, flags, mode) (fails() ? -1 : open(path, flags, mode))
#define MM_SYS_ACCEPT(fd) (fails() ? -1 : accept(fd, NULL, NULL))
#define MM_SYS_GETRLIMIT(what, limit) (fails() ? -1 : getrlimit(what, limit))
#define MM_SYS_SETRLIMIT(what, limit) (fails() ? -1 : setrlimit(what, limit))
#define MM_IMPLEMENTATION
#include "../../mm_io.h"

#include "../harness.h"

static void fail(size_t n, int error)
{
    calls = 0;
    fail_at = n;
    fail_error = error;
}

TEST(uses_have_limits_of_their_own)
{
    mm_fd_budget budget;
    int i;
    memset(&budget, 0, sizeof(budget));
    budget.limit = 10;
    budget.most[MM_FD_CONNECTION] = 6;
    for (i = 0; i < 6; i++) CHECK(mm_fd_budget_take_for(&budget, MM_FD_CONNECTION));
    CHECK(!mm_fd_budget_take_for(&budget, MM_FD_CONNECTION)); /* what is left is for files */
    for (i = 0; i < 4; i++) CHECK(mm_fd_budget_take_for(&budget, MM_FD_FILE));
    CHECK(!mm_fd_budget_take_for(&budget, MM_FD_FILE) && !mm_fd_budget_take(&budget));
    CHECK(budget.refused == 3 && budget.peak == 10 && mm_fd_budget_taken(&budget) == 10);
    mm_fd_budget_give_for(&budget, MM_FD_CONNECTION);
    CHECK(mm_fd_budget_take(&budget));
    CHECK(budget.by_use[MM_FD_OTHER] == 1 && budget.by_use[MM_FD_CONNECTION] == 5);
    CHECK(mm_fd_budget_take_for(NULL, MM_FD_TEMP));
    mm_fd_budget_give_for(NULL, MM_FD_TEMP);
}

TEST(temp_files_are_followed)
{
    mm_fd_budget budget;
    size_t held = 0;
    memset(&budget, 0, sizeof(budget));
    budget.limit = 4;
    mm_fd_budget_follow(&budget, MM_FD_TEMP, &held, 3);
    CHECK(held == 3 && budget.taken == 3 && budget.by_use[MM_FD_TEMP] == 3);
    CHECK(mm_fd_budget_take(&budget) && !mm_fd_budget_take(&budget));
    mm_fd_budget_follow(&budget, MM_FD_TEMP, &held, 6); /* they are open, whatever the limit is */
    CHECK(budget.taken == 7 && budget.peak == 7 && !mm_fd_budget_take(&budget));
    mm_fd_budget_follow(&budget, MM_FD_TEMP, &held, 1);
    CHECK(budget.taken == 2 && mm_fd_budget_take(&budget));
    mm_fd_budget_follow(&budget, MM_FD_TEMP, &held, 1);
    mm_fd_budget_follow(NULL, MM_FD_TEMP, &held, 0);
    CHECK(held == 0 && budget.taken == 3);
}

static mm_fd_budget shared;
static size_t too_many;

static void *take_and_give(void *user_data)
{
    mm_fd_use use = *(const mm_fd_use *)user_data;
    int i;
    for (i = 0; i < 20000; i++) {
        if (!mm_fd_budget_take_for(&shared, use)) continue;
        if (mm_fd_budget_taken(&shared) > shared.limit) (void)mmi_atomic_add(&too_many, (size_t)1);
        mm_fd_budget_give_for(&shared, use);
    }
    return NULL;
}

TEST(threads_share_a_budget)
{
    static mm_fd_use uses[4] = {MM_FD_CONNECTION, MM_FD_CONNECTION, MM_FD_FILE, MM_FD_FILE};
    pthread_t threads[4];
    int i;
    memset(&shared, 0, sizeof(shared));
    shared.limit = 2;
    shared.most[MM_FD_CONNECTION] = 1;
    for (i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, take_and_give, &uses[i]), 0);
    for (i = 0; i < 4; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK(shared.taken == 0 && too_many == 0 && shared.peak >= 1 && shared.peak <= 2);
    CHECK(shared.by_use[MM_FD_CONNECTION] == 0 && shared.by_use[MM_FD_FILE] == 0);
}

TEST(a_budget_from_the_system)
{
    mm_fd_budget_desc desc;
    mm_fd_budget budget;
    size_t n;
    memset(&desc, 0, sizeof(desc));
    desc.cap = 200;
    desc.most[MM_FD_CONNECTION] = 50;
    CHECK_EQ(mm_fd_budget_init(&budget, &desc), MM_STATUS_OK);
    CHECK(budget.limit == 200 - 128 && budget.most[MM_FD_CONNECTION] == 50);
    desc.reserve = 20;
    CHECK_EQ(mm_fd_budget_init(&budget, &desc), MM_STATUS_OK);
    CHECK_EQ(budget.limit, 180);
    desc.reserve = 200;
    CHECK_EQ(mm_fd_budget_init(&budget, &desc), MM_STATUS_NO_FILES);
    desc.reserve = SIZE_MAX;
    CHECK_EQ(mm_fd_budget_init(&budget, &desc), MM_STATUS_NO_FILES);
    CHECK(budget.limit == 0 && !mm_fd_budget_take(&budget));
    for (n = 1; n < 3; n++) {
        struct rlimit soft, old;
        CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
        soft = old;
        soft.rlim_cur = 100;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &soft), 0);
        desc.reserve = 20;
        fail(n, EPERM);
        CHECK_EQ(mm_fd_budget_init(&budget, &desc), n == 1 ? MM_STATUS_DENIED : MM_STATUS_OK);
        CHECK_EQ(budget.limit, n == 1 ? 0 : 80); /* not raised, and no more is promised */
        fail(0, 0);
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    }
}

/* ---- at the limit ---- */

static int listener, clients[5];
static struct rlimit before;

static void listen_and_connect(void)
{
    struct sockaddr_un name;
    socklen_t size = sizeof(sa_family_t); /* the kernel chooses an abstract name */
    size_t i;
    memset(&name, 0, sizeof(name));
    name.sun_family = AF_UNIX;
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&name, size) == 0);
    CHECK_EQ(listen(listener, 5), 0);
    size = sizeof(name);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&name, &size), 0);
    for (i = 0; i < 5; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK_EQ(connect(clients[i], (struct sockaddr *)&name, size), 0);
    }
}

/* No descriptor is left, from here on. */
static void use_up(int *used, size_t *count)
{
    struct rlimit limit;
    int next = dup(0);
    CHECK(next >= 0);
    close(next);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)next + 3;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (*count = 0; *count < 1000 && (used[*count] = dup(0)) >= 0; ++*count) continue;
    CHECK(*count < 1000);
}

TEST(a_client_is_shed_at_the_limit)
{
    mm_fd_spare spare;
    int used[1000];
    size_t count = 0, i;
    char byte;
    fail(0, 0);
    CHECK_SUB(listen_and_connect());
    CHECK_EQ(mm_fd_spare_init(&spare), MM_STATUS_OK);
    CHECK_SUB(use_up(used, &count));
#ifndef MM_VALGRIND /* which takes a client off the listener and closes it before it says so */
    CHECK(accept(listener, NULL, NULL) < 0 && errno == EMFILE);
#endif
    CHECK_EQ(mm_fd_spare_shed(&spare, listener), MM_STATUS_OK);
    CHECK(spare.fd >= 0);
    CHECK_EQ(read(clients[0], &byte, 1), 0); /* hung up */
    fail(1, EINTR);
    CHECK_EQ(mm_fd_spare_shed(&spare, listener), MM_STATUS_OK);
    fail(2, EMFILE); /* another thread takes the place */
    CHECK_EQ(mm_fd_spare_shed(&spare, listener), MM_STATUS_OK);
    CHECK_EQ(spare.fd, -1);
    CHECK_EQ(mm_fd_spare_shed(&spare, listener), MM_STATUS_OK); /* it has come back */
    CHECK(spare.fd >= 0);
    fail(1, EMFILE);
    CHECK_EQ(mm_fd_spare_shed(&spare, listener), MM_STATUS_NO_FILES);
    fail(1, ECONNABORTED);
    CHECK_EQ(mm_fd_spare_shed(&spare, listener), MM_STATUS_CLOSED);
    fail(0, 0);
    CHECK_EQ(mm_fd_spare_shed(&spare, listener), MM_STATUS_OK);
    CHECK_EQ(mm_fd_spare_shed(&spare, listener), MM_STATUS_AGAIN);
    CHECK(spare.fd >= 0);
    for (i = 0; i < count; i++) close(used[i]);
    mm_fd_spare_deinit(&spare);
    mm_fd_spare_deinit(&spare);
    fail(1, EMFILE);
    CHECK_EQ(mm_fd_spare_init(&spare), MM_STATUS_NO_FILES);
    mm_fd_spare_deinit(&spare);
#ifdef __linux__
    fail(1, EACCES); /* of a sandbox */
    CHECK_EQ(mm_fd_spare_init(&spare), MM_STATUS_OK);
    CHECK(spare.fd >= 0);
    mm_fd_spare_deinit(&spare);
#endif
    for (i = 0; i < 5; i++) close(clients[i]);
    close(listener);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_MAIN(T(uses_have_limits_of_their_own), T(temp_files_are_followed), T(threads_share_a_budget),
          T(a_budget_from_the_system), T(a_client_is_shed_at_the_limit))
