/*
 * logic_users.h -- accounts.
 */

#ifndef LOGIC_USERS_H
#define LOGIC_USERS_H

#include "logic_db.h"

#define LOGIC_USERS_NAME_MAX  32

/* Makes the hash that unknown users are compared with. */
int logic_users_init(void);

/* 1: somebody may have this name. */
int logic_users_name_valid(const char *name);

#endif
