/*
 * im_log.h -- what only the frame of a daemon needs of the log.
 */

#ifndef IM_LOG_H
#define IM_LOG_H

/* IM_ERROR: no such level. */
int im_log_set_level(const char *name);

#endif
