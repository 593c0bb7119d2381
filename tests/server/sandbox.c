/* demo/sandbox.c and demo/seccomp.c: children enter the sandbox and try what it is to prevent, and
   what the server needs. Linked with the server's objects, but for main and for mm. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define MM_IMPLEMENTATION
#include "../../mm_arena.h"
#include "../../mm_heap.h"
#include "../../mm_io.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "../../demo/sandbox.h"
#include "../harness.h"

enum { DONE = 0, REFUSED = 1, BROKEN = 2, MISSING = 77 };

static char root[] = "/var/tmp/mm-test-sandbox-XXXXXX";
static options o;

static const char *path(const char *name)
{
    static char paths[4][128];
    static size_t next;
    char *text = paths[next++ % 4];
    snprintf(text, sizeof(paths[0]), "%s/%s", root, name);
    return text;
}

static void put_file(const char *name)
{
    int fd = open(path(name), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (fd < 0 || write(fd, "text", 4) != 4) abort();
    close(fd);
}

/* A site, and beside it a folder for certificates, one for the log, one for temporary files, and
   one that is nobody's business. */
static void set_up(void)
{
    static const char *const folders[] = {"site", "certs", "archive", "log", "temp", "other"};
    size_t i;
    memcpy(strrchr(root, '-'), "-XXXXXX", 7);
    if (mkdtemp(root) == NULL) abort();
    for (i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        if (mkdir(path(folders[i]), 0700) != 0) abort();
    put_file("site/file");
    put_file("archive/cert.pem");
    put_file("other/file");
    if (symlink("../archive/cert.pem", path("certs/cert.pem")) != 0) abort();
    memset(&o, 0, sizeof(o));
    o.dir = strdup(path("site"));
    o.log = strdup(path("log/access.log"));
    o.cert.at[0] = strdup(path("certs/cert.pem"));
    o.cert.count = 1;
    o.sandbox = true;
    setenv("TMPDIR", path("temp"), 1);
}

static void tear_down(void)
{
    static const char *const names[] = {"site/file", "site/made", "archive/cert.pem",
                                        "archive/new.pem", "certs/cert.pem", "other/file",
                                        "log/access.log", "temp/file", "site", "certs", "archive",
                                        "log", "temp", "other", ""};
    size_t i;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) (void)remove(path(names[i]));
    free((void *)(uintptr_t)o.dir);
    free((void *)(uintptr_t)o.log);
    free((void *)(uintptr_t)o.cert.at[0]);
}

/* What becomes of `attempt` in a sandbox; MISSING when the kernel has none. */
static int in_sandbox(bool (*attempt)(void), bool needs_landlock)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        char error[256];
        sandbox s;
        if (!sandbox_prepare(&s, &o, error, sizeof(error)) ||
            !sandbox_enter(&s, &o, error, sizeof(error)))
            _exit(BROKEN);
        if (needs_landlock ? s.landlock == 0 : !s.seccomp) _exit(MISSING);
        errno = 0;
        if (attempt()) _exit(DONE);
        _exit(errno == EPERM || errno == EACCES ? REFUSED : BROKEN);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}


#define CHECK_PREVENTED(attempt, landlock) CHECK_SUB(prevented(attempt, landlock))
static void prevented(bool (*attempt)(void), bool landlock)
{
    int result = in_sandbox(attempt, landlock);
    static bool said;
    if (result == MISSING && !said)
        printf("this kernel lacks %s\n", landlock ? "Landlock" : "seccomp");
    said = said || result == MISSING;
    CHECK(result == REFUSED || result == MISSING);
}

#define CHECK_LEFT(attempt) CHECK_SUB(left(attempt))
static void left(bool (*attempt)(void))
{
    int result = in_sandbox(attempt, false);
    CHECK(result == DONE || result == MISSING);
}

/* ---- attempts ---- */

static bool can_open(const char *name, int flags)
{
    return open(name, flags | O_CLOEXEC, 0600) >= 0;
}

static bool read_site(void) { return can_open(path("site/file"), O_RDONLY); }
static bool list_site(void) { return can_open(path("site"), O_RDONLY | O_DIRECTORY); }
static bool write_site(void) { return can_open(path("site/file"), O_WRONLY); }
static bool make_in_site(void) { return can_open(path("site/made"), O_WRONLY | O_CREAT); }
static bool remove_from_site(void) { return unlink(path("site/file")) == 0; }
static bool read_other(void) { return can_open(path("other/file"), O_RDONLY); }
static bool read_passwords(void) { return can_open("/etc/passwd", O_RDONLY); }
static bool read_cert(void) { return can_open(path("certs/cert.pem"), O_RDONLY); }
static bool write_cert(void) { return can_open(path("certs/cert.pem"), O_WRONLY); }

static bool make_log(void)
{
    return can_open(path("log/access.log"), O_WRONLY | O_CREAT | O_APPEND);
}

static bool read_log_folder(void) { return can_open(path("log"), O_RDONLY | O_DIRECTORY); }

static bool temporary_file(void)
{
    return can_open(path("temp"), O_TMPFILE | O_RDWR | O_EXCL) &&
           can_open(path("temp/file"), O_RDWR | O_CREAT | O_EXCL) && unlink(path("temp/file")) == 0;
}

static bool run_program(void)
{
    static char name[] = "true";
    static char *const arguments[] = {name, NULL};
    return execv("/bin/true", arguments) == 0;
}

static bool make_process(void) { return fork() >= 0; }
static bool make_socket(void) { return socket(AF_INET, SOCK_STREAM, 0) >= 0; }
static bool make_local_socket(void) { return socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }
static bool trace(void) { return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0; }
static bool kill_parent(void) { return kill(getppid(), 0) == 0; }
static bool change_root(void) { return chroot("/") == 0; }
static bool become_root(void) { return setuid(0) == 0; }
static bool ask_kernel(void) { return syscall(SYS_bpf, 0, NULL, 0) >= 0; }
static bool drop_filter(void) { return syscall(SYS_seccomp, 0, 0, NULL) == 0; }

static bool executable_memory(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, flags, -1, 0) != MAP_FAILED;
}

static bool make_executable(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static void *nothing(void *argument)
{
    return argument;
}

static bool make_thread(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
}

static void *read_from_thread(void *argument)
{
    *(bool *)argument = run_program() || make_socket();
    return NULL;
}

static bool escape_by_thread(void)
{
    bool escaped = true;
    pthread_t thread;
    if (pthread_create(&thread, NULL, read_from_thread, &escaped) == 0)
        pthread_join(thread, NULL);
    errno = EPERM;
    return escaped;
}

/* ---- tests ---- */

TEST(files)
{
    set_up();
    CHECK_LEFT(read_site);
    CHECK_LEFT(list_site);
    CHECK_LEFT(read_cert); /* through a link that may lead elsewhere tomorrow */
    CHECK_LEFT(make_log);
    CHECK_LEFT(temporary_file);
    CHECK_PREVENTED(write_site, true);
    CHECK_PREVENTED(make_in_site, true);
    CHECK_PREVENTED(remove_from_site, true);
    CHECK_PREVENTED(read_other, true);
    CHECK_PREVENTED(read_passwords, true);
    CHECK_PREVENTED(write_cert, true);
    CHECK_PREVENTED(read_log_folder, true);
    o.follow = true; /* links may lead anywhere, but only to be read */
    CHECK_LEFT(read_other);
    CHECK_PREVENTED(write_site, true);
    CHECK_SUB(tear_down());
}

TEST(calls)
{
#ifdef RUNNING_ON_VALGRIND
    if (RUNNING_ON_VALGRIND) return; /* the filter kills it: it makes calls of its own */
#endif
    set_up();
    CHECK_LEFT(make_thread);
    CHECK_PREVENTED(run_program, false);
    CHECK_PREVENTED(make_process, false);
    CHECK_PREVENTED(make_socket, false);
    CHECK_PREVENTED(make_local_socket, false);
    CHECK_PREVENTED(trace, false);
    CHECK_PREVENTED(kill_parent, false);
    CHECK_PREVENTED(change_root, false);
    CHECK_PREVENTED(become_root, false);
    CHECK_PREVENTED(ask_kernel, false);
    CHECK_PREVENTED(drop_filter, false);
    CHECK_PREVENTED(executable_memory, false);
    CHECK_PREVENTED(make_executable, false);
    CHECK_PREVENTED(escape_by_thread, false);
    CHECK_SUB(tear_down());
}

TEST(can_be_switched_off)
{
    char error[256];
    sandbox s;
    set_up();
    o.sandbox = false;
    CHECK(sandbox_prepare(&s, &o, error, sizeof(error)));
    CHECK(sandbox_enter(&s, &o, error, sizeof(error)));
    CHECK(s.landlock == 0 && !s.seccomp && s.ruleset == -1);
    CHECK(read_passwords() && make_socket());
    CHECK_SUB(tear_down());
}

TEST_MAIN(T(files), T(calls), T(can_be_switched_off))
