/* life.h - what happens to a running server: signals, reloading, the end */
#ifndef DEMO_LIFE_H
#define DEMO_LIFE_H

#include "worker.h"

/* Blocks the signals that life_run takes, in this thread and those that it starts. */
void life_block_signals(void);

/* Serves signals and what is due now and then (changed certificates, keys of tickets) until one
   ends the server; then drains the workers and waits for them. */
void life_run(server *s, worker *workers, int count);

#endif
