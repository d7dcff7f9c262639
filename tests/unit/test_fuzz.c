/*
 * test_fuzz.c -- the files of tests/fuzz/corpus hold what fuzzing looks for, on
 * every machine: small valid inputs, and each input that has found a defect.
 */

#include "unit.h"

#include <dirent.h>
#include <stdio.h>

#include "fuzz.h"


#define CORPUS  "tests/fuzz/corpus"


static void
replay(const fuzz_target_t *target)
{
    DIR            *dir;
    FILE           *f;
    char            path[512];
    size_t          len;
    im_str_t        input;
    unsigned        n;
    struct dirent  *e;
    unsigned char   data[65536];

    snprintf(path, sizeof(path), CORPUS "/%s", target->name);
    dir = opendir(path);
    assert_non_null(dir);
    n = 0;

    while ((e = readdir(dir)) != NULL) {

        if (e->d_name[0] == '.') {
            continue;
        }

        snprintf(path, sizeof(path), CORPUS "/%s/%s", target->name,
                 e->d_name);
        f = fopen(path, "rb");
        assert_non_null(f);
        len = fread(data, 1, sizeof(data), f);
        assert_true(len < sizeof(data));
        fclose(f);

        print_message("# %s\n", path);
        input = unit_exact(data, len);
        target->run(input.data, input.len);

        /* and the beginnings of it */

        while (input.len > 0) {
            input.len -= (input.len + 15) / 16;
            target->run(input.data, input.len);
        }

        free(input.data);
        n++;
    }

    closedir(dir);
    assert_true(n >= 3);
}


static void
what_was_found_by_fuzzing_holds(void **state)
{
    replay(*state);
}


int
main(void)
{
    size_t             n;
    struct CMUnitTest  tests[32];

    memset(tests, 0, sizeof(tests));

    for (n = 0; fuzz_targets[n].name != NULL; n++) {
        tests[n].name = fuzz_targets[n].name;
        tests[n].test_func = what_was_found_by_fuzzing_holds;
        tests[n].initial_state = (void *) &fuzz_targets[n];
    }

    return _cmocka_run_group_tests("fuzz", tests, n, NULL, NULL);
}
