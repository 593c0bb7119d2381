/* All operations of mm_chunk.h on three queues at once, beside flat byte strings. The first byte of
   the input says whether calls and allocations fail and how short reads and writes fall; each step
   takes from the rest the numbers that it asks for. */
#include "../chunk_model.h"

#define FUZZ_RUNS 300 /* some seconds: each input is a life of a pool, with files */
#include "fuzz.h"

enum { FUZZ_STEPS = 200 }; /* enough to fill the queues several times over */

static size_t next(model *m, size_t below)
{
    size_t value = 0, max;
    for (max = 1; max < below && m->left > 0; max *= 256, m->left--)
        value = value << 8 | *m->input++;
    return value % below;
}

FUZZ_TARGET(data, size)
{
    static model m;
    size_t step;
    if (size < 1) return;
    model_begin(&m);
    m.next = next;
    m.input = data + 1;
    m.left = size - 1;
    shim.most = data[0] < 128 ? 0 : data[0];
    for (step = 0; step < FUZZ_STEPS && m.left > 0 && !test_failed; step++)
        model_step(&m, data[0] % 2);
    if (!test_failed) model_end(&m);
    FUZZ_CHECK(!test_failed);
}
