/* What a fuzz target includes: one function that takes any bytes and crashes on what must not be.
 *
 *     #define MM_IMPLEMENTATION
 *     #include "../../mm_buffer.h"
 *     #include "fuzz.h"
 *     FUZZ_TARGET(data, size) { ...; FUZZ_CHECK(x == y); }
 *
 * `make fuzz T=text` links it with clang's libFuzzer (-DFUZZ_ENGINE) and searches for FUZZ_SECONDS.
 * Any other compiler makes a program with a main() of its own: it takes the files named on its
 * command line, which are the corpus and what a search has found, and after them as many changed
 * copies of theirs as FUZZ_RUNS says, always the same ones. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_SIZE_MAX 4096 /* of an input: libFuzzer's own default */
#ifndef FUZZ_RUNS          /* fewer where an input takes long: defined before the include */
#define FUZZ_RUNS 100000   /* a blink; under Valgrind some seconds */
#endif

#define FUZZ_CHECK(condition) \
    ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
#define FUZZ_TARGET(data, size) \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); \
    static void fuzz_target(const uint8_t *data, size_t size); \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) \
    { \
        fuzz_target(data, size); \
        return 0; \
    } \
    FUZZ_MAIN \
    static void fuzz_target(const uint8_t *data, size_t size)

static inline void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "FAIL  %s:%d: %s\n", file, line, what);
    abort();
}

#ifdef FUZZ_ENGINE
#define FUZZ_MAIN
#else
#define FUZZ_MAIN \
    int main(int argc, char **argv) \
    { \
        return fuzz_main(argc, argv, fuzz_target); \
    }

typedef struct fuzz_input {
    size_t size;
    uint8_t bytes[FUZZ_SIZE_MAX];
} fuzz_input;

static uint64_t fuzz_state = 88172645463325252u;

static inline size_t fuzz_random(size_t below)
{
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return (size_t)((fuzz_state >> 16) % below);
}

static inline void fuzz_read(const char *path, fuzz_input *input)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    input->size = fread(input->bytes, 1, sizeof(input->bytes), file);
    fclose(file);
}

/* A block of exactly that size, so that a checker sees the first byte beyond it. */
static inline void fuzz_run(const fuzz_input *input,
                            void (*target)(const uint8_t *data, size_t size))
{
    uint8_t *copy = (uint8_t *)malloc(input->size + (input->size == 0));
    if (copy == NULL) abort();
    memcpy(copy, input->bytes, input->size);
    target(copy, input->size);
    free(copy);
}

/* Changes some bytes, cuts the end off, doubles a part, or puts a part of another input in. */
static inline void fuzz_change(fuzz_input *input, const fuzz_input *other)
{
    size_t kind = fuzz_random(4), from, n, to;
    if (kind == 0 || input->size == 0) {
        for (n = 1 + fuzz_random(4); n > 0; n--) {
            to = fuzz_random(input->size + 1);
            if (to == FUZZ_SIZE_MAX) continue;
            input->bytes[to] = (uint8_t)fuzz_random(256);
            if (to == input->size) input->size++;
        }
        return;
    }
    if (kind == 1) input->size = fuzz_random(input->size) + 1;
    if (kind != 3) other = input;
    if (kind == 1 || other->size == 0) return;
    from = fuzz_random(other->size);
    n = 1 + fuzz_random(other->size - from);
    to = fuzz_random(input->size + 1);
    if (n > FUZZ_SIZE_MAX - to) n = FUZZ_SIZE_MAX - to;
    memmove(input->bytes + to, other->bytes + from, n);
    if (input->size < to + n) input->size = to + n;
}

static inline int fuzz_main(int argc, char **argv,
                            void (*target)(const uint8_t *data, size_t size))
{
    static fuzz_input changed, empty;
    size_t count = argc > 1 ? (size_t)argc - 1 : 1, i, step;
    fuzz_input *inputs = (fuzz_input *)calloc(count, sizeof(*inputs));
    if (inputs == NULL) abort();
    for (i = 0; i < count; i++) {
        if (argc > 1) fuzz_read(argv[i + 1], &inputs[i]);
        fuzz_run(&inputs[i], target);
    }
    for (step = 0; step < FUZZ_RUNS; step++) {
        changed = step % 16 == 0 ? empty : inputs[fuzz_random(count)];
        for (i = fuzz_random(8); i > 0; i--) fuzz_change(&changed, &inputs[fuzz_random(count)]);
        fuzz_run(&changed, target);
    }
    free(inputs);
    printf("%d inputs and %d made from them\n1 passed, 0 failed\n", argc - 1, FUZZ_RUNS);
    return EXIT_SUCCESS;
}
#endif
#endif
