/* seccomp.c - the system calls of a running server: all others fail with EPERM */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sandbox.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__)) && \
    defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifdef __x86_64__
#define SECCOMP_ARCH AUDIT_ARCH_X86_64
#else
#define SECCOMP_ARCH AUDIT_ARCH_AARCH64
#endif

/* A call that is allowed: with `bits` set (`want`) or not in the argument number `argument`, or
   with exactly that argument when `want` is. */
typedef enum seccomp_test { TEST_NONE, TEST_HAS, TEST_LACKS, TEST_IS } seccomp_test;
typedef struct seccomp_call {
    uint32_t number;
    seccomp_test test;
    uint32_t argument, bits;
} seccomp_call;

#define CALL(name) {SYS_##name, TEST_NONE, 0, 0}

/* Kernels from 5.11 on look up those without a test in a bitmap; the order is for older ones. */
static const seccomp_call calls[] = {
    /* connections */
    CALL(read), CALL(write), CALL(writev), CALL(sendmsg), CALL(recvfrom), CALL(epoll_pwait),
    CALL(epoll_ctl), CALL(accept4), CALL(sendfile), CALL(sendto), CALL(recvmsg), CALL(readv),
    CALL(shutdown), CALL(setsockopt), CALL(getsockopt), CALL(getsockname), CALL(getpeername),
    CALL(accept), CALL(ppoll), CALL(pselect6), CALL(epoll_create1), CALL(splice),
    {SYS_ioctl, TEST_IS, 1, 0x5411}, /* TIOCOUTQ: what TCP holds */
    {SYS_ioctl, TEST_IS, 1, 0x5401}, /* TCGETS: whether standard error is a terminal */
    /* files: which ones, Landlock says */
    CALL(close), CALL(openat), CALL(fstat), CALL(newfstatat), CALL(statx), CALL(pread64),
    CALL(pwrite64), CALL(preadv), CALL(pwritev), CALL(getdents64), CALL(lseek), CALL(fcntl),
    CALL(dup), CALL(dup3), CALL(ftruncate), CALL(fallocate), CALL(fsync), CALL(fdatasync),
    CALL(unlinkat), CALL(renameat), CALL(readlinkat), CALL(faccessat), CALL(fadvise64),
    CALL(copy_file_range), CALL(umask), CALL(getcwd), CALL(linkat), CALL(fchmod), CALL(utimensat),
    CALL(flock), CALL(fstatfs),
#ifdef SYS_preadv2
    CALL(preadv2), /* to read what is in the system's cache only */
#endif
#ifdef SYS_openat2
    CALL(openat2),
#endif
#ifdef SYS_faccessat2
    CALL(faccessat2),
#endif
#ifdef SYS_close_range
    CALL(close_range),
#endif
#ifdef SYS_renameat2
    CALL(renameat2),
#endif
    /* memory, none of it to be executed */
    {SYS_mmap, TEST_LACKS, 2, PROT_EXEC}, {SYS_mprotect, TEST_LACKS, 2, PROT_EXEC}, CALL(munmap),
    CALL(mremap), CALL(madvise), CALL(brk), CALL(mlock), CALL(munlock), CALL(mincore),
    CALL(msync),
    /* threads, but no processes */
    {SYS_clone, TEST_HAS, 0, CLONE_THREAD}, CALL(futex), CALL(sched_yield),
    CALL(sched_getaffinity), CALL(getcpu), CALL(set_robust_list), CALL(set_tid_address),
    CALL(exit), CALL(exit_group), CALL(restart_syscall), CALL(gettid), CALL(getpid),
    CALL(tgkill), CALL(membarrier),
#ifdef SYS_rseq
    CALL(rseq),
#endif
    {SYS_prctl, TEST_IS, 0, PR_SET_NAME}, {SYS_prctl, TEST_IS, 0, 0x53564d41}, /* PR_SET_VMA */
    /* signals, time, chance, and who this is */
    CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigtimedwait),
    CALL(sigaltstack), CALL(clock_gettime), CALL(clock_getres), CALL(clock_nanosleep),
    CALL(nanosleep), CALL(gettimeofday), CALL(getrandom), CALL(getrusage), CALL(prlimit64),
    CALL(sysinfo), CALL(uname), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
    CALL(pipe2), CALL(eventfd2),
#ifdef __x86_64__ /* which still has those that others never had */
    CALL(epoll_wait), CALL(poll), CALL(select), CALL(open), CALL(stat), CALL(lstat), CALL(unlink),
    CALL(rename), CALL(readlink), CALL(access), CALL(dup2), CALL(time), CALL(getrlimit),
    CALL(link),
#endif
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]), PROGRAM_MAX = 5 * CALLS + 16 };

typedef struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short size;
} program;

static void emit(program *p, uint16_t code, unsigned yes, unsigned no, uint32_t k)
{
    struct sock_filter *f = &p->code[p->size++];
    f->code = code;
    f->jt = (uint8_t)yes;
    f->jf = (uint8_t)no;
    f->k = k;
}

static void load(program *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void end(program *p, uint32_t action)
{
    emit(p, BPF_RET | BPF_K, 0, 0, action);
}

/* "If it is this one, it is allowed", else on to the next, with the number loaded in any case. */
static void emit_call(program *p, const seccomp_call *call)
{
    const uint16_t equal = BPF_JMP | BPF_JEQ | BPF_K, has = BPF_JMP | BPF_JSET | BPF_K;
    if (call->test == TEST_NONE) {
        emit(p, equal, 0, 1, call->number);
        end(p, SECCOMP_RET_ALLOW);
        return;
    }
    emit(p, equal, 0, 4, call->number);
    load(p, offsetof(struct seccomp_data, args) + 8 * call->argument); /* its low half */
    if (call->test == TEST_LACKS) emit(p, has, 1, 0, call->bits);
    else emit(p, call->test == TEST_HAS ? has : equal, 0, 1, call->bits);
    end(p, SECCOMP_RET_ALLOW);
    load(p, offsetof(struct seccomp_data, nr));
}

static void make_program(program *p)
{
    const uint16_t equal = BPF_JMP | BPF_JEQ | BPF_K;
    size_t i;
    p->size = 0;
    load(p, offsetof(struct seccomp_data, arch));
    emit(p, equal, 1, 0, SECCOMP_ARCH); /* the numbers of another one mean other calls */
    end(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
    for (i = 0; i < CALLS; i++) emit_call(p, &calls[i]);
#ifdef SYS_clone3
    emit(p, equal, 0, 1, SYS_clone3); /* its flags are out of sight: the C library falls back */
    end(p, SECCOMP_RET_ERRNO | ENOSYS);
#endif
    end(p, SECCOMP_RET_ERRNO | EPERM);
}

int seccomp_enter(void)
{
    program p;
    struct sock_fprog filter;
    make_program(&p);
    filter.len = p.size;
    filter.filter = p.code;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0)
        return 1;
    return errno == EINVAL || errno == ENOSYS ? 0 : -1; /* a kernel without */
}

#else

int seccomp_enter(void)
{
    return 0;
}

#endif
