/*
 * im_conf.h -- configuration by table: file (INI), then environment.
 */

#ifndef IM_CONF_H
#define IM_CONF_H

#include "im_daemon.h"

/*
 * Fills conf from defaults, the file (NULL: none) and the environment
 * IM_<SECTION>_<KEY>.  tables: NULL-terminated list of key tables.  IM_ERROR:
 * error holds one sentence with file and line.
 */
int im_conf_load(void *conf, const im_conf_key_t *const *tables,
    const char *file, char *error, size_t size);

/*
 * The same for a tool that needs one section of im_conf_common, of the file of
 * any daemon: other sections are not looked at.
 */
int im_conf_load_section(im_daemon_conf_t *conf, const char *section,
    const char *file, char *error, size_t size);

/* All keys with default, range and doc, as --help prints them. */
void im_conf_print(const im_conf_key_t *const *tables);

extern const im_conf_key_t  im_conf_common[];

#endif
