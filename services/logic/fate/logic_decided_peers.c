/*
 * logic_decided_peers.c -- see logic_decided_peers.h.
 *
 * Two sources, since each may fail alone: etcd may be away when an instance
 * starts, and Redis forgets who has posted.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_decided_peers.h"


#define PEERS_MAX      256
#define PEERS_NEW_US   1000000
#define PEERS_OLD_US   60000000
#define PEERS_ALIVE_MS 2000        /* who has posted within it is alive */


static logic_peer_t *peers_get(logic_peers_t *p, const char *id);


void
logic_peers_up(logic_peers_t *p, const char *id, uint64_t now_us)
{
    logic_peer_t  *peer;

    peer = peers_get(p, id);

    if (peer != NULL) {
        peer->up_us = now_us;
        peer->seen_us = now_us;
    }
}


void
logic_peers_down(logic_peers_t *p, const char *id, uint64_t now_us)
{
    logic_peer_t  *peer;

    peer = peers_get(p, id);

    if (peer != NULL) {
        peer->up_us = 0;
        peer->seen_us = now_us;
    }
}


int
logic_peers_post(logic_peers_t *p, const char *id, const char *post,
    uint64_t since, uint64_t now_ms, uint64_t now_us)
{
    int            alive, decided;
    char          *end;
    uint64_t       mark;
    logic_peer_t  *peer;

    mark = strtoull(post, &end, 10);
    decided = (end != post && mark == since);

    if (end == post && *end == '-') {
        end++;
    }

    alive = (strtoull(end, NULL, 10) + PEERS_ALIVE_MS > now_ms);
    peer = alive ? peers_get(p, id) : logic_peers_find(p, id);

    if (peer != NULL && alive) {
        peer->posts = 1;
        peer->seen_us = now_us;
    }

    if (peer != NULL && decided) {
        peer->mark = 1;
    }

    return alive && !decided;
}


/* NULL: out of memory, or too many; then somebody posts names at random. */
static logic_peer_t *
peers_get(logic_peers_t *p, const char *id)
{
    size_t         len;
    logic_peer_t  *peer;

    peer = logic_peers_find(p, id);

    if (peer != NULL || HASH_COUNT(p->table) >= PEERS_MAX) {
        return peer;
    }

    len = strlen(id);

    peer = calloc(1, sizeof(logic_peer_t) + len + 1);
    if (peer == NULL) {
        return NULL;
    }

    memcpy(peer->id, id, len);
    HASH_ADD_KEYPTR(hh, p->table, peer->id, len, peer);

    if (!im_hash_is_added(peer)) {
        free(peer);
        return NULL;
    }

    return peer;
}


logic_peer_t *
logic_peers_find(logic_peers_t *p, const char *id)
{
    logic_peer_t  *peer;

    HASH_FIND(hh, p->table, id, strlen(id), peer);

    return peer;
}


void
logic_peers_prune(logic_peers_t *p, uint64_t now_us)
{
    logic_peer_t  *peer, *next;

    HASH_ITER(hh, p->table, peer, next) {
        if (peer->up_us == 0 && peer->seen_us + PEERS_OLD_US < now_us) {
            HASH_DEL(p->table, peer);
            free(peer);
        }
    }
}


void
logic_peers_clear(logic_peers_t *p)
{
    logic_peer_t  *peer, *next;

    HASH_ITER(hh, p->table, peer, next) {
        HASH_DEL(p->table, peer);
        free(peer);
    }
}


int
logic_peers_is_mixed(const logic_peers_t *p, uint64_t now_us)
{
    logic_peer_t  *peer, *next;

    HASH_ITER(hh, p->table, peer, next) {
        if (peer->up_us != 0 && !peer->posts
            && now_us > peer->up_us + PEERS_NEW_US)
        {
            return 1;
        }
    }

    return 0;
}


void
logic_peers_unmark(logic_peers_t *p)
{
    logic_peer_t  *peer, *next;

    HASH_ITER(hh, p->table, peer, next) {
        peer->mark = 0;
    }
}


int
logic_peers_waits(const logic_peers_t *p, uint64_t lost_us, uint64_t age_us)
{
    logic_peer_t  *peer, *next;

    HASH_ITER(hh, p->table, peer, next) {
        if (!peer->mark && (peer->up_us != 0
                            || peer->seen_us + age_us >= lost_us))
        {
            return 1;
        }
    }

    return 0;
}
