/* privileges.h - giving up what a server needs at its start only */
#ifndef DEMO_PRIVILEGES_H
#define DEMO_PRIVILEGES_H

#include "options.h"

/* For all servers: no core dumps, which would hold keys, and no programs that gain privileges. */
void privileges_limit(void);

/* Enters --chroot and becomes --user, for good: that root cannot be regained is tried. The folder
   that is served must lie within --chroot, for a folder outside that is open would be a way out.
   False with one line in `error`; the program must end then. To be called while there is but one
   thread, and all that needs more has been opened. */
bool privileges_drop(const options *o, char *error, size_t error_size);

#endif
