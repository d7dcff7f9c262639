/*
 * fuzz_ini.c -- configuration files of the daemons.
 *
 * A file that is accepted has all numbers in their range and all texts; one
 * that is refused says which file and, mostly, which line.  Neither depends on
 * what was loaded before.
 */

#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "logic_conf.h"
#include "task_conf.h"


static void ini_load(const im_conf_key_t *keys, size_t size,
    const char *path);
static int ini_once(void *conf, const im_conf_key_t *const *tables,
    const char *path, char *error, size_t size);
static void ini_check(void *conf, const im_conf_key_t *const *tables);
static void ini_free(void *conf, const im_conf_key_t *const *tables);


void
fuzz_ini(const uint8_t *data, size_t size)
{
    int   fd;
    char  path[64];

    fd = memfd_create("ini", 0);
    FUZZ_CHECK(fd != -1);
    FUZZ_CHECK(write(fd, data, size) == (ssize_t) size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

    ini_load(logic_conf_keys, sizeof(logic_conf_t), path);
    ini_load(task_conf_keys, sizeof(task_conf_t), path);

    close(fd);
}


static void
ini_load(const im_conf_key_t *keys, size_t size, const char *path)
{
    int                          rc;
    char                         error[512], again[512];
    void                        *conf;
    const im_conf_key_t         *tables[] = { im_conf_common, keys, NULL };

    conf = calloc(1, size);
    FUZZ_CHECK(conf != NULL);

    rc = ini_once(conf, tables, path, error, sizeof(error));

    FUZZ_CHECK(ini_once(conf, tables, path, again, sizeof(again)) == rc);
    FUZZ_CHECK(strcmp(error, again) == 0);

    if (rc == IM_OK) {
        ini_check(conf, tables);
    }

    ini_free(conf, tables);
    free(conf);
}


static int
ini_once(void *conf, const im_conf_key_t *const *tables, const char *path,
    char *error, size_t size)
{
    int  rc;

    rc = im_conf_load(conf, tables, path, error, size);

    FUZZ_CHECK(rc == IM_OK || rc == IM_ERROR);
    FUZZ_CHECK(rc == IM_OK
               ? error[0] == '\0'
               : strncmp(error, path, strlen(path)) == 0);

    return rc;
}


static void
ini_check(void *conf, const im_conf_key_t *const *tables)
{
    void                 *p;
    unsigned              n;
    const im_conf_key_t  *k;

    for (; *tables != NULL; tables++) {
        for (k = *tables; k->section != NULL; k++) {
            p = (char *) conf + k->offset;

            if (k->type != IM_CONF_UINT) {
                FUZZ_CHECK(*(char **) p != NULL);
                continue;
            }

            n = *(unsigned *) p;
            FUZZ_CHECK(n >= k->min && n <= k->max);
        }
    }
}


static void
ini_free(void *conf, const im_conf_key_t *const *tables)
{
    char                **p;
    const im_conf_key_t  *k;

    for (; *tables != NULL; tables++) {
        for (k = *tables; k->section != NULL; k++) {
            p = (char **) ((char *) conf + k->offset);

            if (k->type != IM_CONF_UINT) {
                free(*p);
            }
        }
    }
}
