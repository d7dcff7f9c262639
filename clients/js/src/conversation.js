/*
 * conversation.js -- one conversation: its messages in order, its read mark.
 *
 * `cursor` is the number up to which everything was shown or is void; it is
 * null until it is known where to begin.  A message with the next number is
 * shown at once, what is above a gap is held.  A gap is closed by messages, or
 * stepped over where the server has called the numbers void, and by nothing
 * else.  Between the start of a connection and its first sync nothing that is
 * pushed moves the cursor.  (docs/protocol.md, Showing messages.)
 *
 * A device that is new to a long conversation does not fetch all of it.  It
 * begins `tail` messages below the end (`base`).  What is at or below the base
 * is history, which loadOlder() reads page by page.
 */

import { Emitter, address, toMessage } from './util.js';

const HELD_MAX = 1000;         // what is not held is fetched later
const SHOWN_MAX = 2000;        // (sender, cmid) that are remembered
const PAGE = 50;

export class Conversation extends Emitter {
    #client;
    #held = new Map();
    #shown = new Map();
    #loading = null;
    #opening = null;
    #complete = false;         // `messages` begins at the beginning

    constructor(client, key) {
        super();
        this.#client = client;
        this.key = key;
        this.cursor = null;
        this.base = 0;
        this.low = 0;          // above it, up to the cursor, all is stored here
        this.head = 0;         // the highest number that was seen
        this.live = false;     // the first sync of this connection is done
        this.pending = false;  // the server has not decided about a number yet
        this.gone = false;     // a room that we are not in any more
        this.lossy = false;    // a live room that keeps no messages
        this.listed = false;   // it is in the server's list
        this.messages = [];    // without a hole up to the cursor, oldest first
        this.last = null;
        this.order = 0;        // its place in the list: ms
        this.readSeq = 0;
        this.unread = 0;
        this.pinned = this.muted = this.hidden = false;
    }

    get with() {
        return this.key[0] === 'u' ? this.key.slice(1) : null;
    }

    get room() {
        return this.key[0] === 'r' ? this.key.slice(1) : null;
    }

    // 'direct', 'group' or 'live'
    get kind() {
        return this.room ? this.#client.room(this.room)?.kind ?? 'group'
            : 'direct';
    }

    // The name of the other user or of the room; '' until it is known.
    get title() {
        return this.room ? this.#client.room(this.room)?.name ?? ''
            : this.#client.user(this.with)?.name ?? '';
    }

    // Own messages that are not acknowledged (or were refused), in their order.
    get outgoing() {
        return this.#client.outgoing(this.key);
    }

    get hasOlder() {
        return !this.#complete && !this.lossy && this.cursor !== 0
            && this.messages[0]?.seq !== 1;
    }

    // Resolves with { seq, id, time, dup } when the server has the message;
    // rejects if it is refused for good.
    send(body) {
        return this.#client.send(this.key, body);
    }

    // for await (const message of conversation) ...
    [Symbol.asyncIterator]() {
        return this.events('message');
    }

    read(seq = this.cursor ?? 0) {
        return this.#client.markRead(this, seq);
    }

    set(what) {
        return this.#client.setConversation(this, what);
    }

    // Fetches what is needed to show the end of the conversation.
    open() {
        this.#opening ??= this.#client.open(this).finally(() => {
            this.#opening = null;
        });
        return this.#opening;
    }

    // More messages at the beginning of `messages`; their number.
    loadOlder(limit = PAGE) {
        this.#loading ??= this.#older(limit).finally(() => {
            this.#loading = null;
        });
        return this.#loading;
    }

    async #older(limit) {
        await this.open();
        if (!this.hasOlder) {
            return 0;
        }
        const before = this.messages[0]?.seq ?? this.cursor + 1;
        let rows = await this.#client.store.page(this.key, before, this.low,
                                                 limit);
        if (!rows.length && this.low > 0) {
            const f = await this.#client.history(this, Math.min(
                before, this.low + 1), limit);
            rows = f.messages.map(toMessage).sort((a, b) => a.seq - b.seq);
            const low = f.more && rows.length ? rows[0].seq - 1 : 0;
            // Unless the conversation began anew meanwhile.
            if (before === (this.messages[0]?.seq ?? this.cursor + 1)) {
                this.low = low;
                this.#client.save(this, rows);
            }
        }
        if (before !== (this.messages[0]?.seq ?? this.cursor + 1)) {
            return 0;
        }
        rows = rows.filter((m) => m.seq < before);
        this.#complete = !rows.length && this.low === 0;
        this.messages = [...rows, ...this.messages];
        this.emit('older', rows);
        return rows.length;
    }

    // Keeps the newest `count` messages in memory; loadOlder() fetches again.
    trim(count) {
        if (this.messages.length <= count) {
            return;
        }
        this.messages = this.messages.slice(-count);
        this.#complete = false;
        if (this.#client.store.isMemory) {
            this.low = this.messages[0].seq - 1;
            this.#client.drop(this);
            this.#client.save(this, this.messages);
        }
    }

    // What follows is for client.js.

    address(name) {
        return address(this.key, name);
    }

    // Everything up to base counts as history from now on.
    begin(base) {
        const known = this.cursor !== null;
        if (known && base < this.cursor) {
            // The server has lost numbers and will give them again, to other
            // messages.
            this.#shown.clear();
            this.head = Math.max(0, ...this.#held.keys());
            this.readSeq = this.counted = this.unread = 0;
            this.last = null;
        }
        this.cursor = this.base = this.low = base;
        this.head = Math.max(this.head, base);
        this.pending = this.#complete = false;
        this.messages = [];
        for (const seq of [...this.#held.keys()].filter((s) => s <= base)) {
            this.#held.delete(seq);
        }
        if (known) {
            this.#client.drop(this);
            this.emit('reset');
        }
        this.#client.save(this, []);
        this.#release();
    }

    // The lowest number that waits.
    get firstHeld() {
        return Math.min(...this.#held.keys());
    }

    get isHolding() {
        return this.#held.size > 0;
    }

    get hasGap() {
        return this.live && !this.gone && this.cursor !== null
            && this.head > this.cursor;
    }

    // A message that came by itself: a push, or an own one's ack.
    take(m) {
        if (this.cursor !== null && m.seq <= this.cursor) {
            this.#late(m);
            return;
        }
        this.head = Math.max(this.head, m.seq);
        if (this.#held.size < HELD_MAX && !this.#held.has(m.seq)) {
            this.#held.set(m.seq, m);
        }
        this.#release();
    }

    #release() {
        const fresh = [];
        while (this.live && this.cursor !== null
               && this.#held.has(this.cursor + 1)) {
            const m = this.#held.get(this.cursor + 1);
            this.#held.delete(m.seq);
            this.#pass(m, fresh);
        }
        this.#client.shown(this, fresh);
    }

    #pass(m, fresh) {
        this.cursor = m.seq;
        const name = m.from + ' ' + m.cmid;
        if (m.cmid && this.#shown.has(name)) {
            return;            // the second net; the server prevents this
        }
        this.#shown.set(name, m);
        if (this.#shown.size > SHOWN_MAX) {
            this.#shown.delete(this.#shown.keys().next().value);
        }
        this.messages.push(m);
        fresh.push(m);
    }

    // An own message that was shown, by its cmid.
    find(from, cmid) {
        return this.#shown.get(from + ' ' + cmid);
    }

    // A row below the base that was stored after its page had been read.
    #late(m) {
        if (m.seq > this.base || m.seq <= this.low
            || !(this.messages[0]?.seq < m.seq)) {
            return;
        }
        const at = this.messages.findIndex((other) => other.seq >= m.seq);
        if (this.messages[at]?.seq !== m.seq) {
            this.messages.splice(at < 0 ? this.messages.length : at, 0, m);
            this.#client.save(this, [m]);
            this.emit('older', [m]);
        }
    }

    // One conversation of a sync_res.  True: ask again at once.
    answer(reply) {
        const fresh = [];
        const steps = [
            ...reply.messages.map((f) => [Number(f.seq), Number(f.seq),
                                          toMessage(f)]),
            ...reply.voids.map((v) => [Number(v.from), Number(v.to), null]),
        ].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
        for (const [first, last, m] of steps) {
            if (first > this.cursor + 1) {
                break;
            }
            if (last > this.cursor) {
                if (m) {
                    this.#pass(m, fresh);
                } else {
                    this.cursor = last;
                }
            }
        }
        for (const seq of [...this.#held.keys()].filter(
            (s) => s <= this.cursor)) {
            this.#held.delete(seq);
        }
        this.head = Math.max(this.head, this.cursor);
        this.pending = reply.pending && !reply.more;
        this.live ||= !reply.more;
        this.#client.shown(this, fresh);
        this.#release();
        return reply.more;
    }

    // A room that keeps nothing: what is missing cannot be had.
    skip() {
        if (this.isHolding) {
            this.cursor = this.firstHeld - 1;
            this.#release();
        }
    }

    // Such a room was joined again.
    jump(head) {
        this.cursor = Math.max(this.cursor, head);
        this.head = Math.max(this.head, head);
        for (const seq of [...this.#held.keys()].filter((s) => s <= head)) {
            this.#held.delete(seq);
        }
        this.#release();
    }

    // A row of the list of conversations.
    update(row, order) {
        const head = Number(row.head);
        this.listed = true;
        this.gone = false;
        this.readSeq = Math.max(this.readSeq, Number(row.read_seq || 0));
        this.pinned = Boolean(row.pinned);
        this.muted = Boolean(row.muted);
        this.hidden = Boolean(row.hidden);
        // Shown already, and not counted by the server yet.
        const later = this.messages.filter((m) => m.seq > Math.max(
            head, this.readSeq) && m.from !== this.#client.uid);
        this.unread = this.readSeq > Number(row.read_seq || 0)
            ? this.#countUnread() : Number(row.unread || 0) + later.length;
        this.counted = head;
        if (row.last && !(this.last?.seq > Number(row.last.seq))) {
            this.last = toMessage(row.last);
        }
        this.order = this.last?.time || order;
    }

    #countUnread() {
        return this.messages.filter((m) => m.seq > this.readSeq
                                    && m.from !== this.#client.uid).length;
    }

    readUpTo(seq) {
        if (seq > this.readSeq) {
            this.readSeq = seq;
            this.unread = this.#countUnread();
            return true;
        }
        return false;
    }

    // After these were shown.
    count(fresh) {
        for (const m of fresh) {
            if (m.from === this.#client.uid) {
                continue;
            }
            if (m.seq > Math.max(this.counted ?? 0, this.readSeq)) {
                this.unread++;
            }
        }
        const last = fresh[fresh.length - 1];
        if (last && !(this.last?.seq > last.seq)) {
            this.last = last;
            this.order = last.time;
            this.hidden = false;
        }
    }

    record() {
        const { key, low, cursor, readSeq, unread, counted, last, order,
                pinned, muted, hidden, listed } = this;
        return { key, low, cursor, readSeq, unread, counted, last, order,
                 pinned, muted, hidden, listed };
    }

    restore(record) {
        Object.assign(this, record);
        this.base = record.cursor;
        this.head = record.cursor;
    }
}
