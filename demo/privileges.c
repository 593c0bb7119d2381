/* privileges.c - from root to a user who may do little, with each step checked */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "privileges.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { PRIVILEGES_GROUPS = 64 };

typedef struct identity {
    uid_t uid;
    gid_t gid;
    gid_t groups[PRIVILEGES_GROUPS]; /* all that the user is in, or the one that was asked for */
    int group_count;
} identity;

void privileges_limit(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
#ifdef __linux__
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#endif
}

/* "what: why". Returns false. */
static bool complain(char *error, size_t error_size, const char *what, const char *why)
{
    (void)snprintf(error, error_size, "%s: %s", what, why);
    return false;
}

/* ---- who ---- */

/* A decimal number below 2^31; false for anything else. */
static bool parse_id(const char *text, long *id)
{
    size_t length = strlen(text);
    if (length == 0 || length > 9 || strspn(text, "0123456789") != length) return false;
    *id = strtol(text, NULL, 10);
    return true;
}

static bool find_group(const char *name, identity *who)
{
    const struct group *group = getgrnam(name);
    long id;
    if (group == NULL && !parse_id(name, &id)) return false;
    who->gid = group != NULL ? group->gr_gid : (gid_t)id;
    who->groups[0] = who->gid;
    who->group_count = 1;
    return true;
}

/* NAME or NAME:GROUP, either of them perhaps a number. */
static bool find(const char *text, identity *who, char *error, size_t error_size)
{
    char name[256];
    size_t length = strcspn(text, ":");
    const struct passwd *user;
    long id;
    if (length >= sizeof(name)) return complain(error, error_size, "--user", "no such user");
    memcpy(name, text, length);
    name[length] = '\0';
    user = getpwnam(name);
    if (user == NULL && parse_id(name, &id)) user = getpwuid((uid_t)id);
    else if (user == NULL) return complain(error, error_size, "--user", "no such user");
    if (user == NULL && text[length] == '\0')
        return complain(error, error_size, "--user", "a number that is no user's needs a group");
    who->uid = user != NULL ? user->pw_uid : (uid_t)id;
    if (text[length] != '\0') {
        if (!find_group(text + length + 1, who))
            return complain(error, error_size, "--user", "no such group");
    } else {
        who->gid = user->pw_gid;
        who->group_count = PRIVILEGES_GROUPS;
        if (getgrouplist(user->pw_name, user->pw_gid, who->groups, &who->group_count) < 0)
            return complain(error, error_size, "--user", "the user is in too many groups");
    }
    if (who->uid == 0 || who->gid == 0)
        return complain(error, error_size, "--user", "root is no user to run as");
    return true;
}

/* ---- becoming it ---- */

static bool is_within(const char *dir, const char *folder)
{
    char inner[PATH_MAX], outer[PATH_MAX];
    size_t length;
    if (realpath(dir, inner) == NULL || realpath(folder, outer) == NULL) return false;
    length = strlen(outer);
    if (strcmp(outer, "/") == 0) return true;
    return strncmp(inner, outer, length) == 0 && (inner[length] == '/' || inner[length] == '\0');
}

static bool enter(const options *o, char *error, size_t error_size)
{
    if (!is_within(o->dir, o->chroot))
        return complain(error, error_size, "--chroot", "the folder that is served is not within");
    if (chroot(o->chroot) == 0 && chdir("/") == 0) return true;
    return complain(error, error_size, "--chroot", strerror(errno));
}

/* Not even an attempt may succeed now. */
static bool is_dropped(const identity *who, bool enclosed)
{
    uid_t real, effective, saved;
    gid_t groups[3];
    if (getresuid(&real, &effective, &saved) != 0 || real != who->uid || effective != who->uid ||
        saved != who->uid)
        return false;
    if (getresgid(&groups[0], &groups[1], &groups[2]) != 0 || groups[0] != who->gid ||
        groups[1] != who->gid || groups[2] != who->gid)
        return false;
    if (setuid(0) == 0 || seteuid(0) == 0 || setresuid(0, 0, 0) == 0) return false;
    if (setgid(0) == 0 || setegid(0) == 0 || setgroups(0, NULL) == 0) return false;
    return !enclosed || chroot("/") != 0;
}

bool privileges_drop(const options *o, char *error, size_t error_size)
{
    identity who;
    if (o->user == NULL) return true;
    if (!find(o->user, &who, error, error_size)) return false;
    if (o->chroot != NULL && !enter(o, error, error_size)) return false;
    if (geteuid() == who.uid && getuid() == who.uid && getgid() == who.gid && o->chroot == NULL)
        return true; /* started as that user */
    if (setgroups((size_t)who.group_count, who.groups) != 0 ||
        setresgid(who.gid, who.gid, who.gid) != 0 || setresuid(who.uid, who.uid, who.uid) != 0)
        return complain(error, error_size, "--user", strerror(errno));
    if (is_dropped(&who, o->chroot != NULL)) return true;
    return complain(error, error_size, "--user", "root could be regained");
}
