/*
 * fuzz_main.c -- the targets under libFuzzer: IM_FUZZ names the one that runs.
 *
 * One program for all, because linking takes longer than the fuzzer needs to
 * see that it never comes to the code of the others.
 */

#include "fuzz.h"


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const fuzz_target_t  *target;


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char  *name;

    (void) argc;
    (void) argv;

    name = getenv("IM_FUZZ");

    for (target = fuzz_targets; target->name != NULL; target++) {
        if (name != NULL && strcmp(target->name, name) == 0) {
            return 0;
        }
    }

    fprintf(stderr, "IM_FUZZ must be one of:");

    for (target = fuzz_targets; target->name != NULL; target++) {
        fprintf(stderr, " %s", target->name);
    }

    fprintf(stderr, "\n");
    exit(2);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target->run(data, size);

    return 0;
}
