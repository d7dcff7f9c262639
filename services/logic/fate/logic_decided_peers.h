/*
 * logic_decided_peers.h -- the im-logic that may have numbers in hand: those
 * that etcd names, those that it has named lately, and those that have posted
 * in Redis lately.
 *
 * A pure table; time comes as an argument.  The caller locks.
 */

#ifndef LOGIC_DECIDED_PEERS_H
#define LOGIC_DECIDED_PEERS_H

#include "im_hash.h"

typedef struct {
    UT_hash_handle   hh;
    uint64_t         up_us;        /* etcd names it since; 0: it does not */
    uint64_t         seen_us;      /* last by etcd or a post */
    unsigned         posts:1;      /* it has ever posted */
    unsigned         mark:1;       /* of logic_peers_waits() */
    char             id[];
} logic_peer_t;

typedef struct {
    logic_peer_t    *table;
} logic_peers_t;

void logic_peers_up(logic_peers_t *p, const char *id, uint64_t now_us);
void logic_peers_down(logic_peers_t *p, const char *id, uint64_t now_us);
/*
 * What it has posted in Redis, "<mark> <time>", or "-" for a mark that it has
 * not decided; now_ms is Redis's time.  It gets a mark of ours if it has
 * decided `since`.  1: it has not, and is alive.
 */
int logic_peers_post(logic_peers_t *p, const char *id, const char *post,
    uint64_t since, uint64_t now_ms, uint64_t now_us);
/* Forgets those that were not seen for a minute. */
void logic_peers_prune(logic_peers_t *p, uint64_t now_us);
void logic_peers_clear(logic_peers_t *p);

logic_peer_t *logic_peers_find(logic_peers_t *p, const char *id);
/* 1: there is one in etcd for longer than a second that has never posted. */
int logic_peers_is_mixed(const logic_peers_t *p, uint64_t now_us);
/* Takes all marks away; 1: there is one without a mark that was there at
 * lost_us, or up to age_us before. */
void logic_peers_unmark(logic_peers_t *p);
int logic_peers_waits(const logic_peers_t *p, uint64_t lost_us,
    uint64_t age_us);

#endif
