/* sandbox.h - what a server that has been taken over could still do: on Linux, little

   Landlock confines it to files: those of the folder can be read, certificates and keys too, where
   the log and temporary files are can be written to, and no TCP port can be bound or connected to.
   A seccomp filter leaves it the system calls that it needs. Kernels that lack one or both run the
   server without. */
#ifndef DEMO_SANDBOX_H
#define DEMO_SANDBOX_H

#include "options.h"

typedef struct sandbox {
    int ruleset;  /* of Landlock; -1: none */
    int landlock; /* its version; 0: the system has none, or none is wanted */
    bool seccomp; /* there is a filter, once the sandbox has been entered */
} sandbox;

/* Looks up what is to be reachable, while all of it still is. False with one line in `error` when
   the system has Landlock, but refuses; nothing is to be undone then. */
bool sandbox_prepare(sandbox *s, const options *o, char *error, size_t error_size);

/* Enters it, with this thread and those that it starts from now on; for good. */
bool sandbox_enter(sandbox *s, const options *o, char *error, size_t error_size);

/* For sandbox.c: installs the filter. Returns 1, 0 where there is no seccomp, -1 with errno. */
int seccomp_enter(void);

#endif
