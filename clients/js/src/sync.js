/*
 * sync.js -- asks for what was missed: after a connection was made, above a
 * gap, and of a conversation that is new here.
 *
 * Everything that comes by itself goes through arrived(); conversation.js says
 * what of it is shown.  A question that fails because the connection has ended
 * is not repeated: the next connection begins with all of them.
 */

import { Rooms } from './rooms.js';
import { Gone, address, keyOf } from './util.js';

const HOLD_MS = 200;           // above a gap, before we ask what is missing
const PENDING_MS = 1000;       // until we ask again for what is undecided
const LIST_MS = 300;           // until the list is asked for again
const CURSORS_MAX = 50;        // of one question
const PAGE = 200;              // messages of a conversation in one answer

export class Sync extends Rooms {
    #timers = new Map();       // key -> timer, of a gap that is held
    #turns = new Map();        // key -> promise, while it is synced
    #reads = new Map();        // key -> seq, not yet on the server
    #again = false;
    #listTimer = null;
    isSyncing = false;         // with all conversations

    clear() {
        super.clear();
        this.#reads.clear();
    }

    // The connection has ended.
    down() {
        super.down();
        for (const timer of this.#timers.values()) {
            this.env.clearTimeout(timer);
        }
        this.#timers.clear();
        this.#turns.clear();
        this.isSyncing = this.#again = false;
        for (const c of this.byKey.values()) {
            c.live = false;
        }
    }

    arrived(key, m) {
        const c = this.conversation(key);
        if (c.cursor === null && this.link.there && !this.isSyncing
            && !this.#turns.has(key) && this.live.get(key) !== false) {
            // The first sign of it; what is below may have been missed.
            c.live = true;
            c.begin(Math.max(0, m.seq - 1 - this.options.tail));
            if (c.base > 0) {
                this.#listSoon();
            }
        }
        c.take(m);
        if (c.hasGap) {
            this.#lookLater(c, HOLD_MS);
        }
    }

    // What a window on a conversation needs, also if it is not in the list.
    async open(c) {
        if (c.cursor !== null) {
            return;
        }
        if (!this.link.there) {
            throw new Gone();
        }
        if (!c.lossy) {
            this.#begin(c);
            await this.fetch([c]);
        }
    }

    #begin(c) {
        c.fresh = true;
        c.begin(0);
    }

    run(promise) {
        promise.catch((e) => {
            if (!(e instanceof Gone)) {
                // A new connection begins anew, after a pause.
                this.emit('error', e);
                this.link.cut();
            }
        });
    }

    // All conversations: after connecting and sync_needed.
    catchUp() {
        for (const c of this.byKey.values()) {
            c.live = c.lossy && c.live;
        }
        if (this.isSyncing) {
            this.#again = true;
            return;
        }
        this.isSyncing = true;
        this.run(this.#everything());
    }

    async #everything() {
        for (const key of [...this.live.keys()]) {
            await this.enter(key);
        }
        do {
            this.#again = false;
            // All that are known now: what is live may be so by the answer to a
            // question that is older than the sync_needed.  They do not wait
            // for the list, which waits for what is not stored yet.
            const known = new Set([...this.byKey.values()].filter(
                (c) => !c.gone && !c.lossy && c.cursor !== null));
            await Promise.all([this.#fetchAll([...known]),
                               this.#fetchListed(known)]);
        } while (this.#again
                 || [...this.byKey.values()].some(
                     (c) => !c.live && !c.gone && !c.lossy
                     && (c.cursor !== null || c.isHolding)));
        this.isSyncing = false;
        this.onSynced();
    }

    async #fetchAll(list) {
        for (let n = 0; n < list.length; n += CURSORS_MAX) {
            await this.fetch(list.slice(n, n + CURSORS_MAX));
        }
    }

    // Those that we learn of from the list, or by a push.
    async #fetchListed(known) {
        const found = new Set();
        await this.#list((c) => known.has(c) || found.add(c));
        for (const c of this.byKey.values()) {
            if (c.cursor === null && c.isHolding && !c.lossy) {
                c.begin(Math.max(0, c.firstHeld - 1 - this.options.tail));
                found.add(c);
            }
        }
        await this.#fetchAll([...found]);
    }

    async #list(found) {
        let page = {};
        let order = this.env.now();
        for (;;) {
            const r = await this.link.ask('conversations',
                                          { limit: 100, ...page });
            for (const row of r.conversations) {
                const c = this.conversation(keyOf(row, this.uid));
                const head = Number(row.head);
                if (c.cursor === null) {
                    c.begin(Math.max(0, head - this.options.tail));
                }
                c.update(row, order);
                order = Math.min(order, c.order);
                this.save(c, []);
                found(c);
            }
            this.emit('conversations');
            if (!r.more) {
                return;
            }
            page = { before: r.next };
        }
    }

    // What was skipped may be unread: the server knows how much.
    #listSoon() {
        this.#listTimer ??= this.env.setTimeout(() => {
            this.#listTimer = null;
            if (this.link.there) {
                this.run(this.#list(() => {}));
            }
        }, LIST_MS);
    }

    // Asks until there is no more of these.  Only one question about a
    // conversation is in flight: an older answer must not follow a newer one.
    async fetch(list) {
        const { generation } = this.link;
        const earlier = list.map((c) => this.#turns.get(c.key));
        let end;
        const turn = new Promise((resolve) => {
            end = resolve;
        });
        list.forEach((c) => this.#turns.set(c.key, turn));
        try {
            await Promise.all(earlier);
            for (let todo = list; todo.length;) {
                if (generation !== this.link.generation) {
                    throw new Gone();
                }
                const r = await this.link.ask('sync', {
                    limit: PAGE, cursors: todo.map((c) => ({
                        ...c.address(), seq: String(c.cursor) })) });
                todo = todo.filter((c, n) => this.#answered(
                    c, r.conversations[n]));
            }
        } finally {
            end();
            for (const c of list) {
                if (this.#turns.get(c.key) === turn) {
                    this.#turns.delete(c.key);
                }
            }
        }
        for (const c of list) {
            if (c.pending || c.hasGap) {
                this.#lookLater(c, PENDING_MS);
            }
        }
        this.pumpAll();
    }

    // Whether to ask for this conversation again at once.
    #answered(c, reply) {
        const { tail, behindMax } = this.options;
        const head = Number(reply.head);
        if (reply.error === 'cursor_ahead') {
            this.#reads.delete(c.key);
            this.#begin(c);
            this.#listSoon();
            return true;
        }
        if (reply.error) {
            this.lose(c, reply.error);
            return false;
        }
        const far = c.fresh ? head > tail : head - c.cursor > behindMax;
        c.fresh = false;
        if (far && head - tail > c.cursor) {
            c.begin(head - tail);
            this.#listSoon();
            return true;
        }
        return c.answer(reply);
    }

    #lookLater(c, ms) {
        if (this.#timers.has(c.key) || this.#turns.has(c.key)) {
            return;
        }
        this.#timers.set(c.key, this.env.setTimeout(() => {
            this.#timers.delete(c.key);
            if (c.lossy) {
                c.skip();
            } else if (c.pending || c.hasGap) {
                this.run(this.fetch([c]));
            }
        }, ms));
    }

    // Read marks.

    markRead(c, seq) {
        if (c.kind !== 'live' && c.readUpTo(seq)) {
            this.#reads.set(c.key, seq);
            this.save(c, []);
            this.flushReads();
            this.emit('conversations');
        }
    }

    flushReads() {
        if (this.state.name !== 'online') {
            return;
        }
        for (const [key, seq] of this.#reads) {
            this.#reads.delete(key);
            this.link.ask('read', { ...address(key), seq: String(seq) }).catch(
                (e) => {
                    if (e instanceof Gone && !(this.#reads.get(key) > seq)) {
                        this.#reads.set(key, seq);
                    }
                });
        }
    }
}
