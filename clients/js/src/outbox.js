/*
 * outbox.js -- own messages until the server has acknowledged them.
 *
 *     waiting <-> sent -> acknowledged: removed
 *                  `----> failed: resend() or discard()
 *
 * Each is in the store before it is written, and is written again, under its
 * cmid, on each connection and after each refusal that is retryable.  What an
 * earlier page has left in the store is adopted.
 */

import { Sync } from './sync.js';
import { Gone, Problem, address, newId, pauseMs, toMessage } from './util.js';

const ANSWER_MS = 10000;       // then a message is sent again
const REPEAT_MS = 270000;      // after that a repeat may become a new message
const BODY_MAX = 65536;
const LATEST = 200;            // messages that are searched for a repeat
const TOO_LARGE = 'the message is too large';

// Of its JSON, in bytes; there is none of undefined.
function sizeOf(value) {
    return value === undefined ? Infinity
        : new TextEncoder().encode(JSON.stringify(value)).length;
}

export class Outbox extends Sync {
    #all = new Map();          // cmid -> entry, in the order of sending
    #written = 0;              // of the last one; grows with each
    maxFrame = 65536 + 1024;

    clear() {
        super.clear();
        this.clearOutbox();
    }

    clearOutbox() {
        this.#all.clear();
    }

    // Of conversations that have any.
    get outgoingKeys() {
        return new Set([...this.#all.values()].map((o) => o.key));
    }

    outgoing(key) {
        return [...this.#all.values()].filter((o) => o.key === key && !o.shown);
    }

    // Those of this tab, too, which has begun anew.
    loadOutbox() {
        return this.#adopt(this.tab);
    }

    // Messages that an earlier page, which has ended, could not send; in the
    // order of their writing, which a store does not keep.
    async #adopt(own = null) {
        const left = [];
        for (const o of await this.store.outbox()) {
            if (o.tab === own || !await this.hub?.isAlive(o.tab)) {
                left.push(o);
            }
        }
        left.sort((a, b) => a.n - b.n);
        if (!this.uid) {
            return;            // they are those of somebody else
        }
        await Promise.all(left.filter((o) => !this.#all.has(o.cmid)).map(
            (o) => {
                const entry = { ...o, tab: this.tab };
                this.#all.set(o.cmid, entry);
                this.#written = Math.max(this.#written, o.n);
                return this.store.putOut({ ...entry });
            }));
    }

    adoptAndSend() {
        this.#adopt().then(() => this.pumpAll()).catch(
            (e) => this.emit('error', e));
    }

    // The connection has ended.
    down(code) {
        super.down();
        const flying = [];
        for (const o of this.#all.values()) {
            this.env.clearTimeout(o.timer);
            o.timer = undefined;
            if (o.state === 'sent') {
                o.state = 'waiting';
                flying.push(o);
            }
        }
        if (code === 1009 && flying.length) {
            // A frame was too large; sent again, it would end each connection.
            flying.sort((a, b) => sizeOf(b.body) - sizeOf(a.body));
            this.#fail(flying[0], 'too_large', TOO_LARGE);
        }
    }

    send(key, body) {
        if (!this.uid) {
            return Promise.reject(new Problem('unauthorized',
                                              'nobody is logged in'));
        }
        const size = sizeOf(body);
        if (size > BODY_MAX || size + 300 > this.maxFrame) {
            return Promise.reject(new Problem('too_large', TOO_LARGE));
        }
        // The time, unless the clock was set back or has not moved.
        const at = this.env.now();
        this.#written = Math.max(this.#written + 1, at);
        const o = { cmid: newId(), key, body, at, n: this.#written, tried: 0,
                    tab: this.tab, state: 'waiting' };
        const promise = new Promise((resolve, reject) => {
            o.done = { resolve, reject };
        });
        promise.catch(() => {});       // 'failed' says it, too
        this.#all.set(o.cmid, o);
        this.#keep(o);
        this.#changed(o);
        this.emit('conversations');
        this.pump(key);
        return promise;
    }

    #changed(o) {
        this.conversation(o.key).emit('outgoing', o);
    }

    #keep({ cmid, key, body, at, n, tried, tab, state, error }) {
        this.write('putOut', {
            cmid, key, body, at, n, tried, tab, error,
            state: state === 'sent' ? 'waiting' : state });
    }

    #remove(o) {
        this.env.clearTimeout(o.timer);
        this.#all.delete(o.cmid);
        this.write('removeOut', o.cmid);
    }

    // A message that was refused for good: try it again as a new one, or forget
    // it.
    resend(cmid) {
        const o = this.#all.get(cmid);
        if (o?.state === 'failed') {
            this.discard(cmid);
            return this.send(o.key, o.body);
        }
        return undefined;
    }

    discard(cmid) {
        const o = this.#all.get(cmid);
        if (o?.state === 'failed') {
            this.#remove(o);
            this.#changed(o);
        }
    }

    pumpAll() {
        this.outgoingKeys.forEach((key) => this.pump(key));
    }

    // Writes what may be written now.  Only `window` messages of a conversation
    // are in flight, because one that is refused and sent again gets a later
    // place than those behind it.
    pump(key) {
        if (!this.link.there || this.live.get(key) === false) {
            return;
        }
        let flying = 0;
        for (const o of this.#all.values()) {
            if (o.key !== key || o.state === 'failed') {
                continue;
            }
            if (flying >= this.options.window) {
                return;
            }
            flying++;
            if (o.state !== 'waiting' || o.timer || o.checking) {
                continue;
            }
            if (o.tried && this.env.now() - o.tried > REPEAT_MS) {
                this.#check(o);
            } else {
                this.#write(o);
            }
        }
    }

    #write(o) {
        const frame = { type: 'send', ...address(o.key, 'to'), cmid: o.cmid,
                        body: o.body };
        if (sizeOf(frame) > this.maxFrame) {
            this.#fail(o, 'too_large', TOO_LARGE);
            return;
        }
        if (!o.tried) {
            o.tried = this.env.now();
            this.#keep(o);
        }
        o.state = 'sent';
        o.timer = this.env.setTimeout(() => this.#again(o), ANSWER_MS);
        this.link.put(frame);
    }

    #again(o) {
        o.timer = undefined;
        o.state = 'waiting';
        this.pump(o.key);
    }

    // The server recognises a repeat for 5 minutes.  After that we look whether
    // the message was stored, once everything is there, before it is sent as a
    // new one.
    #check(o) {
        const c = this.conversation(o.key);
        if (c.lossy || c.gone) {
            o.tried = 0;
            this.#write(o);
            return;
        }
        if (!this.isSyncing && c.cursor === null) {
            this.run(c.open());
        }
        if (!c.live || c.pending || this.isSyncing) {
            return;            // the end of sync pumps again
        }
        o.checking = true;
        this.run(this.#wasStored(c, o).finally(() => {
            o.checking = false;
        }).then((m) => {
            if (m) {
                this.#acked(o, { ...m, dup: true });
            } else {
                o.tried = 0;
            }
            this.pump(o.key);
        }));
    }

    async #wasStored(c, o) {
        const m = c.find(this.uid, o.cmid);
        if (m) {
            return m;
        }
        let f;
        try {
            f = await this.link.ask('history', { ...c.address(),
                                                 limit: LATEST });
        } catch (e) {
            if (e instanceof Gone) {
                throw e;
            }
            return null;       // we may not read there any more
        }
        const row = f.messages.find((r) => r.cmid === o.cmid
                                    && r.from === this.uid);
        return row && toMessage(row);
    }

    // One of them was shown as a message of its conversation.
    shownOwn(cmid) {
        const o = this.#all.get(cmid);
        if (o) {
            o.shown = true;
        }
    }

    onAck(f) {
        const o = this.#all.get(f.cmid);
        if (o) {
            this.#acked(o, { ...toMessage(f), dup: Boolean(f.dup) });
        }
    }

    #acked(o, { seq, id, time, dup }) {
        this.#remove(o);
        this.arrived(o.key, { seq, id, from: this.uid, time,
                                   cmid: o.cmid, body: o.body });
        this.#changed(o);
        o.done?.resolve({ seq, id, time, dup });
        this.pump(o.key);
    }

    onError(f) {
        const o = this.#all.get(f.cmid);
        if (!o) {
            // Of a message that is decided, or of a question that is answered.
            if (f.cmid === undefined && f.id === undefined) {
                this.emit('error', new Problem(f.code, f.message));
            }
            return;
        }
        this.env.clearTimeout(o.timer);
        if (f.retryable) {
            o.state = 'waiting';
            o.refusals = (o.refusals ?? 0) + 1;
            o.timer = this.env.setTimeout(
                () => this.#again(o),
                pauseMs(this.env, f.retry_after_ms, o.refusals - 1));
            return;
        }
        this.#fail(o, f.code, f.message);
    }

    #fail(o, code, text) {
        o.timer = undefined;
        o.state = 'failed';
        o.error = code;
        this.#keep(o);
        const problem = new Problem(code, text);
        o.done?.reject(problem);
        this.#changed(o);
        this.emit('failed', { outgoing: o, problem });
        this.pump(o.key);
    }
}
