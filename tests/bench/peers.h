/* Contestants in processes of their own, for bench.h, which includes this.
 *
 * Two allocators that are both called malloc cannot be linked into one program. So a contestant may
 * name a library to preload (see bench_contestant): for each row, the benchmark starts itself once
 * more under that library, with a hidden argument that says which row and contestant it is to be.
 * That process comes to the same row by the same main(), so its work is the same, and from then on
 * does what it is asked for over a socket: run n cycles, check, rest. In a round the parent asks
 * one after the other, itself included, so all alternate as they do within one process; each
 * measures itself, so that asking costs none of the time. It begins with nothing but what main()
 * made, and ends with the row, so that its memory is that of its row.
 */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H
#include <dlfcn.h> /* dlopen, to ask what is loaded */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum bench_question {
    BENCH_HELLO, /* has the library been loaded? */
    BENCH_RUN,   /* how long do `cycles` cycles take? */
    BENCH_CHECK, /* does the result stand? */
    BENCH_REST   /* let the contestant rest: how much memory has there been, and is left? */
} bench_question;

typedef struct bench_request {
    bench_question question;
    size_t cycles;
} bench_request;

typedef struct bench_answer {
    double ns, cpu;    /* BENCH_RUN: by the clock, by all threads on all processors */
    double peak, kept; /* BENCH_REST: MiB that are resident, at most and at rest */
    bool yes;          /* BENCH_HELLO, BENCH_CHECK */
} bench_answer;

typedef struct bench_process { /* all zero: none, the contestant is in this process */
    pid_t pid;
    int socket;
} bench_process;

/* What this process is, when it was started for one contestant of one row. */
static struct {
    bool is;
    int row, contestant, socket;
} bench_peer;

static int bench_argc; /* main's, to be passed on */
static char **bench_argv;

static inline uint64_t bench_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t bench_now(void)
{
    return bench_clock(CLOCK_MONOTONIC);
}

/* ---- answering ---- */

/* MiB in the first line of a file of /proc that begins with `name`, which is followed by a number
   of KiB; 0 without such a file. Read without malloc, as that is what is being measured. */
static inline double bench_proc(const char *path, const char *name)
{
    static char text[4096];
    char *line;
    ssize_t length;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    length = read(file, text, sizeof(text) - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    line = strstr(text, name);
    return line == NULL ? 0 : (double)strtoull(line + strlen(name), NULL, 10) / 1024;
}

/* What the system keeps in getrusage may be of the process before its exec: the last resort. */
static inline void bench_memory(bench_answer *answer)
{
    struct rusage usage;
    answer->kept = bench_proc("/proc/self/smaps_rollup", "\nRss:"); /* exact, others lag behind */
    if (answer->kept == 0) answer->kept = bench_proc("/proc/self/status", "\nVmRSS:");
    answer->peak = bench_proc("/proc/self/status", "\nVmHWM:");
    if (answer->peak == 0 && getrusage(RUSAGE_SELF, &usage) == 0) {
        answer->peak = (double)usage.ru_maxrss / 1024;
    }
    if (answer->peak < answer->kept) answer->peak = answer->kept;
}

static inline bench_answer bench_do(const bench_contestant *c, const void *work, bench_request r)
{
    bench_answer answer = {0, 0, 0, 0, true};
    uint64_t cpu, start, end;
    switch (r.question) {
    case BENCH_HELLO: break;
    case BENCH_RUN:
        cpu = bench_clock(CLOCK_PROCESS_CPUTIME_ID);
        start = bench_now();
        c->run(work, r.cycles);
        end = bench_now();
        answer.cpu = (double)(bench_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu);
        answer.ns = (double)(end - start);
        break;
    case BENCH_CHECK: answer.yes = c->check(work); break;
    case BENCH_REST:
        if (c->rest != NULL) c->rest(work);
        bench_memory(&answer);
        break;
    }
    return answer;
}

/* Whether one of the libraries in the list, A:B:C, has been loaded into this process. */
static inline bool bench_loaded(const char *preload)
{
    char name[256];
    if (*preload == '\0') return true;
    while (*preload != '\0') {
        size_t length = strcspn(preload, ":");
        snprintf(name, sizeof(name), "%.*s", (int)length, preload);
        if (dlopen(name, RTLD_LAZY | RTLD_NOLOAD) != NULL) return true;
        preload += length + (preload[length] == ':');
    }
    return false;
}

/* The life of a process that was started for one contestant: answers until nobody asks. */
static inline _Noreturn void bench_serve(const bench_contestant *c, const void *work)
{
    bench_request request;
    while (recv(bench_peer.socket, &request, sizeof(request), MSG_WAITALL) == sizeof(request)) {
        bench_answer answer = bench_do(c, work, request);
        if (request.question == BENCH_HELLO) answer.yes = bench_loaded(c->preload);
        if (send(bench_peer.socket, &answer, sizeof(answer), MSG_NOSIGNAL) < 0) break;
    }
    _exit(EXIT_SUCCESS);
}

/* Takes the hidden argument, --peer=row,contestant,socket,stderr, if `argument` is that. */
static inline bool bench_is_peer(const char *argument)
{
    int error;
    if (sscanf(argument, "--peer=%d,%d,%d,%d", &bench_peer.row, &bench_peer.contestant,
               &bench_peer.socket, &error) != 4) {
        return false;
    }
    dup2(error, STDERR_FILENO);
    close(error);
    return bench_peer.is = true;
}

/* ---- asking ---- */

/* Becomes this program once more. Until it is there stderr goes nowhere, as the dynamic linker
   complains there of a library that is missing, which the table will say. */
static inline _Noreturn void bench_become(const char *preload, int row, int contestant, int socket)
{
    static char path[4096], hidden[64], *argv[64];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    int i, error = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
    if (length < 0) snprintf(path, sizeof(path), "%s", bench_argv[0]);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
    snprintf(hidden, sizeof(hidden), "--peer=%d,%d,%d,%d", row, contestant, socket, error);
    for (i = 0; i < bench_argc && i < 62; i++) argv[i] = bench_argv[i];
    argv[i] = hidden;
    if (*preload == '\0') unsetenv("LD_PRELOAD");
    else setenv("LD_PRELOAD", preload, 1);
    execv(path, argv);
    _exit(127);
}

/* Starts the process for a contestant; without one, all questions to it go unanswered. */
static inline bench_process bench_start(const bench_contestant *c, int row, int contestant)
{
    bench_process process = {-1, -1};
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0) return process;
    fflush(stdout);
    process.pid = fork();
    if (process.pid == 0) {
        close(sockets[0]);
        bench_become(c->preload, row, contestant, sockets[1]);
    }
    close(sockets[1]);
    fcntl(sockets[0], F_SETFD, FD_CLOEXEC);
    process.socket = sockets[0];
    return process;
}

/* False when the process cannot be asked: it is not there any more. */
static inline bool bench_ask(bench_process process, bench_request request, bench_answer *answer)
{
    return send(process.socket, &request, sizeof(request), MSG_NOSIGNAL) == sizeof(request) &&
           recv(process.socket, answer, sizeof(*answer), MSG_WAITALL) == sizeof(*answer);
}

static inline void bench_stop(bench_process process)
{
    if (process.pid <= 0) return;
    close(process.socket);
    while (waitpid(process.pid, NULL, 0) < 0 && errno == EINTR) continue;
}
#endif
