/* manual.h - what mmserve --help says besides the options */
#ifndef DEMO_MANUAL_H
#define DEMO_MANUAL_H

extern const char manual_start[];       /* before the options */
extern const char *const manual_end[];  /* after them: texts, then NULL */

#endif
