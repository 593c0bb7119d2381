/* sandbox.c - Landlock; the numbers are the kernel's, whose header may be older than it is */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pages.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { /* the same on every architecture */
    SANDBOX_CREATE_RULESET = 444,
    SANDBOX_ADD_RULE = 445,
    SANDBOX_RESTRICT_SELF = 446,
    SANDBOX_VERSION = 1,      /* flag of CREATE_RULESET: only tell the version */
    SANDBOX_PATH_BENEATH = 1  /* kind of rule */
};

enum { /* rights to files */
    MAY_WRITE = 1 << 1,
    MAY_READ = 1 << 2,
    MAY_LIST = 1 << 3,
    MAY_REMOVE = 1 << 5,
    MAY_MAKE = 1 << 8,
    MAY_TRUNCATE = 1 << 14,  /* from version 3 on */
    MAY_FILE = MAY_WRITE | MAY_READ | MAY_TRUNCATE | 1, /* those that a file can have; 1: execute */
    VERSION_1 = (1 << 13) - 1,
    VERSION_2 = 1 << 13,     /* links and renames across folders */
    VERSION_5 = 1 << 15      /* ioctl of devices */
};

struct ruleset {
    uint64_t files;  /* rights that are to be given by rules only */
    uint64_t net;    /* 1: bind TCP, 2: connect TCP; from version 4 on */
    uint64_t scoped; /* 1: abstract Unix sockets, 2: signals; from version 6 on */
};

struct __attribute__((packed)) beneath {
    uint64_t allowed;
    int32_t parent;
};

/* ---- rules ---- */

static uint64_t known_rights(int version)
{
    uint64_t rights = VERSION_1;
    if (version >= 2) rights |= VERSION_2;
    if (version >= 3) rights |= MAY_TRUNCATE;
    if (version >= 5) rights |= VERSION_5;
    return rights;
}

/* Gives rights to all beneath a folder, or to a file. What is not there gets none: true as well. */
static bool allow(const sandbox *s, const char *path, uint64_t rights)
{
    struct beneath rule = {rights & known_rights(s->landlock), -1};
    struct stat st;
    bool ok;
    rule.parent = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent < 0) return true;
    if (fstat(rule.parent, &st) == 0 && !S_ISDIR(st.st_mode)) rule.allowed &= MAY_FILE;
    ok = syscall(SANDBOX_ADD_RULE, s->ruleset, SANDBOX_PATH_BENEATH, &rule, 0) == 0;
    close(rule.parent);
    return ok;
}

static bool allow_folder_of(const sandbox *s, const char *file, uint64_t rights)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(file, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - file);
    if (slash == NULL) return allow(s, ".", rights);
    if (length == 0) return allow(s, "/", rights);
    if (length >= sizeof(folder)) return true; /* nor can it be opened */
    memcpy(folder, file, length);
    folder[length] = '\0';
    return allow(s, folder, rights);
}

/* A file that may be replaced: where it is and where its link leads, another may be soon. */
static bool allow_reading(const sandbox *s, const char *file)
{
    char target[PATH_MAX];
    return allow_folder_of(s, file, MAY_READ) &&
           (realpath(file, target) == NULL || allow_folder_of(s, target, MAY_READ));
}

static bool allow_secrets(const sandbox *s, const options *o)
{
    size_t i;
    bool ok = true;
    for (i = 0; i < o->cert.count; i++) ok = ok && allow_reading(s, o->cert.at[i]);
    for (i = 0; i < o->key.count; i++) ok = ok && allow_reading(s, o->key.at[i]);
    return ok && (o->ticket_keys == NULL || allow_reading(s, o->ticket_keys)) &&
           (o->upload_token_file == NULL || allow_reading(s, o->upload_token_file));
}

static bool allow_pages(const sandbox *s, const options *o)
{
    char path[PATH_MAX];
    bool ok = true;
    size_t i;
    for (i = 0; i < o->error_page.count && ok; i++) {
        pages_path(o->dir, o->error_page.at[i], path, sizeof(path));
        ok = allow_reading(s, path);
    }
    return ok;
}

/* Those of mm_chunk_pool_init. */
static bool allow_temporary(const sandbox *s)
{
    const uint64_t rights = MAY_READ | MAY_WRITE | MAY_MAKE | MAY_REMOVE | MAY_TRUNCATE;
    const char *dir = getenv("TMPDIR");
    if (dir == NULL || dir[0] == '\0') dir = "/var/tmp";
    return allow(s, dir, rights) && allow(s, "/tmp", rights);
}

/* Files are made, replaced and removed there, but nothing is moved between folders. */
static bool allow_upload(const sandbox *s, const char *option)
{
    const uint64_t rights = MAY_READ | MAY_LIST | MAY_WRITE | MAY_MAKE | MAY_REMOVE | MAY_TRUNCATE;
    return allow(s, strchr(option, '=') + 1, rights);
}

static bool allow_all(const sandbox *s, const options *o)
{
    size_t i;
    bool ok = allow(s, o->follow ? "/" : o->dir, MAY_READ | MAY_LIST) && allow_secrets(s, o) &&
              allow_pages(s, o) && allow_temporary(s);
    if (strcmp(o->log, "-") != 0 && strcmp(o->log, "none") != 0) /* to be opened anew */
        ok = ok && allow_folder_of(s, o->log, MAY_WRITE | MAY_MAKE);
    for (i = 0; i < o->upload.count; i++)
        ok = ok && allow_upload(s, o->upload.at[i]);
    for (i = 0; i < o->bind.count; i++)
        if (strncmp(o->bind.at[i], "unix:", 5) == 0)
            ok = ok && allow_folder_of(s, o->bind.at[i] + 5, MAY_REMOVE);
    return ok;
}

bool sandbox_prepare(sandbox *s, const options *o, char *error, size_t error_size)
{
    struct ruleset rules;
    long version = -1;
    memset(s, 0, sizeof(*s));
    s->ruleset = -1;
    if (o->sandbox) version = syscall(SANDBOX_CREATE_RULESET, NULL, 0, SANDBOX_VERSION);
    if (version <= 0) return true;
    s->landlock = (int)version;
    rules.files = known_rights(s->landlock);
    rules.net = s->landlock >= 4 ? 3 : 0;
    rules.scoped = s->landlock >= 6 ? 3 : 0;
    s->ruleset = (int)syscall(SANDBOX_CREATE_RULESET, &rules, sizeof(rules), 0);
    if (s->ruleset >= 0 && allow_all(s, o)) return true;
    (void)snprintf(error, error_size, "cannot set up Landlock: %s (--no-sandbox does without)",
                   strerror(errno));
    if (s->ruleset >= 0) close(s->ruleset);
    s->ruleset = -1;
    return false;
}

/* ---- entering ---- */

bool sandbox_enter(sandbox *s, const options *o, char *error, size_t error_size)
{
    const char *what = "Landlock";
    bool ok = s->ruleset < 0 || syscall(SANDBOX_RESTRICT_SELF, s->ruleset, 0) == 0;
    if (ok && s->ruleset >= 0) close(s->ruleset);
    if (ok) s->ruleset = -1;
    if (ok && o->sandbox) {
        int entered = seccomp_enter();
        what = "seccomp";
        ok = entered >= 0;
        s->seccomp = entered > 0;
    }
    if (!ok)
        (void)snprintf(error, error_size, "cannot enter the sandbox of %s: %s (--no-sandbox does "
                       "without)", what, strerror(errno));
    return ok;
}

#else /* no Linux */

bool sandbox_prepare(sandbox *s, const options *o, char *error, size_t error_size)
{
    (void)o, (void)error, (void)error_size;
    memset(s, 0, sizeof(*s));
    s->ruleset = -1;
    return true;
}

bool sandbox_enter(sandbox *s, const options *o, char *error, size_t error_size)
{
    (void)s, (void)o, (void)error, (void)error_size;
    return true;
}

#endif
