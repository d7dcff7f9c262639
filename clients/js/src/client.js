/*
 * client.js -- what an application uses: one user on one device.
 *
 *     session (http.js)   tokens, requests
 *     link (link.js)      one connection after another, questions
 *     conversations       order, gaps, void numbers (conversation.js)
 *     outbox              own messages until they are acknowledged
 *     store (store.js)    all of this across restarts
 *     hub (tabs.js)       one connection for all tabs of a browser
 *
 * The rules are those of docs/protocol.md, Rules for clients.  State:
 *
 *     closed -> connecting -> syncing -> online
 *                  ^    waiting <---------'        ended: log in again
 */

import { Conversation } from './conversation.js';
import { Session } from './http.js';
import { Link } from './link.js';
import { memoryStore } from './store.js';
import { TabHub } from './tabs.js';
import { Emitter, Gone, Problem, address, environment, keyOf, newId, pauseMs,
         toMessage } from './util.js';

const ANSWER_MS = 10000;       // then a message is sent again
const HOLD_MS = 200;           // above a gap, before we ask what is missing
const PENDING_MS = 1000;       // until we ask again for what is undecided
const LIST_MS = 300;           // until the list is asked for again
const HAND_OVER_MS = 100;      // from the tabs of one user to another one's
const REPEAT_MS = 270000;      // after that a repeat may become a new message
const CURSORS_MAX = 50;        // of one question
const PAGE = 200;              // messages of a conversation in one answer
const BODY_MAX = 65536;
const KEEP = 500;              // messages in memory of what nobody looks at
const UIDS_MAX = 200;          // of one question
const TOO_LARGE = 'the message is too large';
const NOT_IN = ['forbidden', 'not_member', 'no_such_room', 'room_dismissed'];

// Of its JSON, in bytes; there is none of undefined.
function sizeOf(value) {
    return value === undefined ? Infinity
        : new TextEncoder().encode(JSON.stringify(value)).length;
}

export class ImClient extends Emitter {
    #env;
    #session;
    #link;
    #hub = null;
    #options;
    #conversations = new Map();
    #users = new Map();            // uid -> { uid, name }
    #rooms = new Map();            // room -> what the server says of it
    #lookups = new Set();          // uids whose names are to be asked for
    #lookupTimer = null;
    #listTimer = null;
    #out = new Map();              // cmid -> entry, in the order of sending
    #written = 0;                  // of the last one; grows with each
    #live = new Map();             // key of a live room -> is joined
    #presence = new Map();         // uid -> { count, online, devices }
    #timers = new Map();           // key -> timer, of a gap that is held
    #turns = new Map();            // key -> promise, while it is synced
    #reads = new Map();            // key -> seq, not yet on the server
    #maxFrame = 65536 + 1024;
    #syncing = false;
    #syncAgain = false;
    #tab = newId();

    constructor(options = {}) {
        super();
        this.#options = { tail: 20, behindMax: 1000, window: 1, tabs: '',
                          ...options };
        const env = this.#env = environment(options.env);
        const url = (options.url ?? globalThis.location?.origin ?? '')
            .replace(/\/$/, '');
        this.store = options.store ?? memoryStore();
        this.state = { name: 'closed' };
        this.#session = new Session(env, url, this.store);
        this.#session.onEnd = (code) => this.#end(code);
        const socketUrl = options.socketUrl
            ?? url.replace(/^http/, 'ws') + '/ws';
        if (this.#options.tabs && env.locks && env.BroadcastChannel) {
            this.#hub = new TabHub(this.#options.tabs, env, this.#tab,
                                   socketUrl);
            this.#hub.onUser = (uid) => this.#onOtherUser(uid);
            this.#hub.onTabGone = () => {
                if (this.#link.there) {
                    this.#adoptAndSend();
                }
            };
        }
        this.#link = new Link(
            this.#hub ? { ...env, WebSocket: this.#hub.socketClass() } : env,
            socketUrl, this.#session, {
                state: (name, more) => this.#setState(name, more),
                open: (f) => this.#onOpen(f),
                frame: (f) => this.#onFrame(f),
                down: (code) => this.#onDown(code),
                stop: (code) => this.#onStop(code),
            });
    }

    #setState(name, more = {}) {
        this.state = { name, ...more };
        this.emit('state', this.state);
    }

    // Accounts and life.

    get uid() {
        return this.#session.uid;
    }

    get name() {
        return this.#session.name;
    }

    register(name, password) {
        return this.#session.register(name, password);
    }

    async login({ name, password, device }) {
        const before = this.uid;
        await this.#session.login(name, password, device);
        if (before && before !== this.uid) {
            this.disconnect();
        }
        await this.#hub?.start();
        this.#hub?.announce(this.uid);
        const owner = await this.store.get('owner');
        if (owner !== this.uid) {
            if (owner && this.#hub) {
                // The other tabs hear of it, and write nothing any more.
                await new Promise((resolve) => {
                    this.#env.setTimeout(resolve, HAND_OVER_MS);
                });
            }
            this.#empty();
            await this.#clear();
            await this.store.set('owner', this.uid);
        }
        await this.#load();
        return this.connect();
    }

    // Goes on with a log-in that the store has; false if there is none.
    async resume() {
        if (!await this.#session.load()) {
            return false;
        }
        await this.#load();
        this.connect();
        return true;
    }

    async #load() {
        const [records, users, rooms] = await Promise.all([
            this.store.conversations(), this.store.get('users'),
            this.store.get('rooms')]);
        this.#users = new Map(users ?? []);
        this.#users.set(this.uid, { uid: this.uid, name: this.name });
        this.#rooms = new Map(rooms ?? []);
        this.#conversations.clear();
        this.#out.clear();
        for (const record of records.filter((r) => r.cursor !== null)) {
            const c = new Conversation(this, record.key);
            c.restore(record);
            this.#conversations.set(c.key, c);
        }
        await this.#hub?.start();
        await this.#adopt(this.#tab);
        this.emit('conversations');
    }

    // Messages that an earlier page, which has ended, could not send; in the
    // order of their writing, which a store does not keep.  Those of this tab,
    // too, if it has begun anew.
    async #adopt(own = null) {
        const left = [];
        for (const o of await this.store.outbox()) {
            if (o.tab === own || !await this.#hub?.isAlive(o.tab)) {
                left.push(o);
            }
        }
        left.sort((a, b) => a.n - b.n);
        if (!this.uid) {
            return;            // they are those of somebody else
        }
        await Promise.all(left.filter((o) => !this.#out.has(o.cmid)).map(
            (o) => {
                const entry = { ...o, tab: this.#tab };
                this.#out.set(o.cmid, entry);
                this.#written = Math.max(this.#written, o.n);
                return this.store.putOut({ ...entry });
            }));
    }

    #adoptAndSend() {
        this.#stored(this.#adopt().then(() => this.#pumpAll()));
    }

    connect() {
        if (!this.uid) {
            throw new Problem('unauthorized', 'nobody is logged in');
        }
        this.#link.start();
    }

    disconnect() {
        this.#link.stop();
        this.#onDown();
        this.#setState('closed');
    }

    // The network is back: do not wait for the end of a pause.
    wake() {
        this.#link.wake();
    }

    async logout() {
        this.disconnect();
        try {
            await this.request('POST', '/v1/logout');
        } catch (e) {
            if (e.status !== 401) {
                throw e;
            }
        }
        await this.#forget();
    }

    async #forget() {
        await this.#session.forget();
        this.#empty();
        await this.#clear();
        await this.#hub?.close();
    }

    async #clear() {
        await this.store.clear();
        await this.store.set('users', undefined);
        await this.store.set('rooms', undefined);
    }

    // The store is that of another user from now on.
    #onOtherUser(uid) {
        if (this.uid && this.uid !== uid) {
            this.disconnect();
            this.#session.drop();
            this.#hub.close();
            this.#empty();
            this.#setState('ended', { reason: 'other_user' });
        }
    }

    #empty() {
        [this.#conversations, this.#out, this.#live, this.#presence,
         this.#reads, this.#lookups, this.#users, this.#rooms]
            .forEach((all) => all.clear());
        this.emit('conversations');
    }

    // Leaves this client unusable: for tests, and pages that end.
    async close() {
        this.disconnect();
        await this.#hub?.close();
    }

    async request(method, path, body, options) {
        const { uid } = this;
        const r = await this.#session.request(method, path,
                                              { body, ...options });
        if (uid !== this.uid) {
            throw new Gone();  // the answer is for the user before
        }
        return r;
    }

    // The connection.

    #onOpen(f) {
        if (f.uid !== this.uid) {
            this.#link.cut();  // of a tab that has not ended yet
            return;
        }
        this.#maxFrame = f.max_message;
        this.#setState('syncing');
        this.#pumpAll();
        if (this.#hub?.isLeader) {
            this.#adoptAndSend();
        }
        this.#catchUp();
    }

    #onDown(code) {
        for (const timer of this.#timers.values()) {
            this.#env.clearTimeout(timer);
        }
        this.#timers.clear();
        this.#turns.clear();
        this.#syncing = this.#syncAgain = false;
        for (const c of this.#conversations.values()) {
            c.live = false;
        }
        for (const key of this.#live.keys()) {
            this.#live.set(key, false);
        }
        const flying = [];
        for (const o of this.#out.values()) {
            this.#env.clearTimeout(o.timer);
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

    #onStop(code) {
        if (code === 4101) {
            this.#end('session_revoked');
        } else if (code === 4100) {
            this.#end('unauthorized');
        } else {
            this.#setState('ended', {
                reason: code === 4102 ? 'replaced' : 'refused', code });
        }
    }

    // The session is over; what is stored stays for the same user.
    #end(reason) {
        this.#link.stop();
        this.#session.forget();
        this.#hub?.close();
        this.#setState('ended', { reason });
    }

    #onFrame(f) {
        switch (f.type) {
        case 'push':
            this.#arrived(keyOf(f, this.uid), toMessage(f));
            break;
        case 'ack':
            this.#onAck(f);
            break;
        case 'error':
            this.#onError(f);
            break;
        case 'sync_needed':
            this.#catchUp();
            break;
        case 'room_ev':
            this.#onRoom(f);
            break;
        case 'presence':
            this.#onPresence(f.users);
            break;
        }
    }

    // Conversations.

    // The list, as it is shown: pinned ones first, then the latest ones.
    get conversations() {
        const writing = new Set([...this.#out.values()].map((o) => o.key));
        return [...this.#conversations.values()]
            .filter((c) => !c.hidden && !c.gone && (
                c.listed || c.last || this.#live.has(c.key)
                || writing.has(c.key)))
            .sort((a, b) => b.pinned - a.pinned || b.order - a.order
                  || (a.key < b.key ? -1 : 1));
    }

    // { with: uid } or { room: id }; the same object each time.
    conversation(target) {
        return this.#know(typeof target === 'string' ? target
            : target.room ? 'r' + target.room : 'u' + target.with);
    }

    #know(key) {
        let c = this.#conversations.get(key);
        if (!c) {
            c = new Conversation(this, key);
            this.#conversations.set(key, c);
        }
        return c;
    }

    #arrived(key, m) {
        const c = this.#know(key);
        if (c.cursor === null && this.#link.there && !this.#syncing
            && !this.#turns.has(key)
            && (!this.#live.has(key) || this.#live.get(key))) {
            // The first sign of it; what is below may have been missed.
            c.live = true;
            c.begin(Math.max(0, m.seq - 1 - this.#options.tail));
            if (c.base > 0) {
                this.#listSoon();
            }
        }
        c.take(m);
        if (c.hasGap) {
            this.#lookLater(c, HOLD_MS);
        }
    }

    // After messages were shown: called by the conversation.
    shown(c, fresh) {
        if (!fresh.length) {
            return;
        }
        c.count(fresh);
        this.save(c, fresh);
        if (c.messages.length >= 2 * KEEP && !c.hasListeners('message')) {
            c.trim(KEEP);
        }
        for (const m of fresh) {
            const own = m.from === this.uid && this.#out.get(m.cmid);
            if (own) {
                own.shown = true;
            }
            c.emit('message', m);
            this.emit('message', { conversation: c, message: m });
        }
        this.emit('conversations');
    }

    save(c, messages) {
        // A live room is only there while a connection is in it; and a window
        // may still hold a conversation of the user before.
        if (c.cursor !== null && !this.#live.has(c.key)
            && this.#conversations.get(c.key) === c) {
            this.#stored(this.store.put(c.record(), messages));
        }
    }

    drop(c) {
        this.#stored(this.store.drop(c.key));
    }

    #stored(promise) {
        promise.catch((error) => this.emit('error', error));
    }

    // What a window on a conversation needs, also if it is not in the list.
    async open(c) {
        if (c.cursor !== null) {
            return;
        }
        if (!this.#link.there) {
            throw new Gone();
        }
        if (!c.lossy) {
            this.#begin(c);
            await this.#sync([c]);
        }
    }

    #begin(c) {
        c.fresh = true;
        c.begin(0);
    }

    history(c, before, limit) {
        return this.#link.ask('history', {
            ...c.address(), before_seq: String(before), limit });
    }

    async setConversation(c, what) {
        await this.request('PATCH', '/v1/conversations',
                           { ...c.address(), ...what });
        Object.assign(c, what);
        this.save(c, []);
        this.emit('conversations');
    }

    // Sync.

    #spawn(promise) {
        promise.catch((e) => {
            if (!(e instanceof Gone)) {
                // A new connection begins anew, after a pause.
                this.emit('error', e);
                this.#link.cut();
            }
        });
    }

    // All conversations: after connecting and sync_needed.
    #catchUp() {
        for (const c of this.#conversations.values()) {
            c.live = c.lossy && c.live;
        }
        if (this.#syncing) {
            this.#syncAgain = true;
            return;
        }
        this.#syncing = true;
        this.#spawn(this.#syncAll());
    }

    async #syncAll() {
        for (const key of [...this.#live.keys()]) {
            await this.#enter(key);
        }
        do {
            this.#syncAgain = false;
            // All that are known now: what is live may be so by the answer to a
            // question that is older than the sync_needed.  They do not wait
            // for the list, which waits for what is not stored yet.
            const known = new Set([...this.#conversations.values()].filter(
                (c) => !c.gone && !c.lossy && c.cursor !== null));
            await Promise.all([this.#syncPages([...known]),
                               this.#syncList(known)]);
        } while (this.#syncAgain
                 || [...this.#conversations.values()].some(
                     (c) => !c.live && !c.gone && !c.lossy
                     && (c.cursor !== null || c.isHolding)));
        this.#syncing = false;
        this.#link.good = true;
        this.#setState('online');
        this.emit('conversations');
        this.#pumpAll();
        this.#flushReads();
        this.#watchAgain().catch((e) => e instanceof Gone
                                 || this.emit('error', e));
        this.#loadRooms();
        this.#lookUpSoon();
    }

    async #syncPages(list) {
        for (let n = 0; n < list.length; n += CURSORS_MAX) {
            await this.#sync(list.slice(n, n + CURSORS_MAX));
        }
    }

    // Those that we learn of from the list, or by a push.
    async #syncList(known) {
        const { tail } = this.#options;
        const found = new Set();
        await this.#list((c) => known.has(c) || found.add(c));
        for (const c of this.#conversations.values()) {
            if (c.cursor === null && c.isHolding && !c.lossy) {
                c.begin(Math.max(0, c.firstHeld - 1 - tail));
                found.add(c);
            }
        }
        await this.#syncPages([...found]);
    }

    async #list(found) {
        const { tail } = this.#options;
        let page = {};
        let order = this.#env.now();
        for (;;) {
            const r = await this.#ask('conversations', { limit: 100, ...page });
            for (const row of r.conversations) {
                const c = this.#know(keyOf(row, this.uid));
                const head = Number(row.head);
                if (c.cursor === null) {
                    c.begin(Math.max(0, head - tail));
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
        this.#listTimer ??= this.#env.setTimeout(() => {
            this.#listTimer = null;
            if (this.#link.there) {
                this.#spawn(this.#list(() => {}));
            }
        }, LIST_MS);
    }

    #ask(type, args) {
        return this.#link.ask(type, args);
    }

    // Asks until there is no more of these.  Only one question about a
    // conversation is in flight: an older answer must not follow a newer one.
    async #sync(list) {
        const generation = this.#link.generation;
        const earlier = list.map((c) => this.#turns.get(c.key));
        let end;
        const turn = new Promise((resolve) => {
            end = resolve;
        });
        list.forEach((c) => this.#turns.set(c.key, turn));
        try {
            await Promise.all(earlier);
            for (let todo = list; todo.length;) {
                if (generation !== this.#link.generation) {
                    throw new Gone();
                }
                const r = await this.#ask('sync', {
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
        this.#pumpAll();
    }

    // Whether to ask for this conversation again at once.
    #answered(c, reply) {
        const { tail, behindMax } = this.#options;
        const head = Number(reply.head);
        if (reply.error === 'cursor_ahead') {
            this.#reads.delete(c.key);
            this.#begin(c);
            this.#listSoon();
            return true;
        }
        if (reply.error) {
            this.#lose(c, reply.error);
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
        this.#timers.set(c.key, this.#env.setTimeout(() => {
            this.#timers.delete(c.key);
            if (c.lossy) {
                c.skip();
            } else if (c.pending || c.hasGap) {
                this.#spawn(this.#sync([c]));
            }
        }, ms));
    }

    // Own messages.

    outgoing(key) {
        return [...this.#out.values()].filter((o) => o.key === key && !o.shown);
    }

    send(key, body) {
        if (!this.uid) {
            return Promise.reject(new Problem('unauthorized',
                                              'nobody is logged in'));
        }
        const size = sizeOf(body);
        if (size > BODY_MAX || size + 300 > this.#maxFrame) {
            return Promise.reject(new Problem('too_large', TOO_LARGE));
        }
        // The time, unless the clock was set back or has not moved.
        const at = this.#env.now();
        this.#written = Math.max(this.#written + 1, at);
        const o = { cmid: newId(), key, body, at, n: this.#written, tried: 0,
                    tab: this.#tab, state: 'waiting' };
        const promise = new Promise((resolve, reject) => {
            o.done = { resolve, reject };
        });
        promise.catch(() => {});       // 'failed' says it, too
        this.#out.set(o.cmid, o);
        this.#keep(o);
        this.#know(key).emit('outgoing', o);
        this.emit('conversations');
        this.#pump(key);
        return promise;
    }

    #keep({ cmid, key, body, at, n, tried, tab, state, error }) {
        this.#stored(this.store.putOut({
            cmid, key, body, at, n, tried, tab, error,
            state: state === 'sent' ? 'waiting' : state }));
    }

    #remove(o) {
        this.#env.clearTimeout(o.timer);
        this.#out.delete(o.cmid);
        this.#stored(this.store.removeOut(o.cmid));
    }

    // A message that was refused for good: try it again as a new one, or forget
    // it.
    resend(cmid) {
        const o = this.#out.get(cmid);
        if (o?.state === 'failed') {
            this.discard(cmid);
            return this.send(o.key, o.body);
        }
        return undefined;
    }

    discard(cmid) {
        const o = this.#out.get(cmid);
        if (o?.state === 'failed') {
            this.#remove(o);
            this.#know(o.key).emit('outgoing', o);
        }
    }

    #pumpAll() {
        new Set([...this.#out.values()].map((o) => o.key)).forEach(
            (key) => this.#pump(key));
    }

    // Writes what may be written now.  Only `window` messages of a conversation
    // are in flight, because one that is refused and sent again gets a later
    // place than those behind it.
    #pump(key) {
        if (!this.#link.there || this.#live.get(key) === false) {
            return;
        }
        let flying = 0;
        for (const o of this.#out.values()) {
            if (o.key !== key || o.state === 'failed') {
                continue;
            }
            if (flying >= this.#options.window) {
                return;
            }
            flying++;
            if (o.state !== 'waiting' || o.timer || o.checking) {
                continue;
            }
            if (o.tried && this.#env.now() - o.tried > REPEAT_MS) {
                this.#check(o);
            } else {
                this.#write(o);
            }
        }
    }

    #write(o) {
        const frame = { type: 'send', ...address(o.key, 'to'), cmid: o.cmid,
                        body: o.body };
        if (sizeOf(frame) > this.#maxFrame) {
            this.#fail(o, 'too_large', TOO_LARGE);
            return;
        }
        if (!o.tried) {
            o.tried = this.#env.now();
            this.#keep(o);
        }
        o.state = 'sent';
        o.timer = this.#env.setTimeout(() => this.#again(o), ANSWER_MS);
        this.#link.put(frame);
    }

    #again(o) {
        o.timer = undefined;
        o.state = 'waiting';
        this.#pump(o.key);
    }

    // The server recognises a repeat for 5 minutes.  After that we look whether
    // the message was stored, once everything is there, before it is sent as a
    // new one.
    #check(o) {
        const c = this.#know(o.key);
        if (c.lossy || c.gone) {
            o.tried = 0;
            this.#write(o);
            return;
        }
        if (!this.#syncing && c.cursor === null) {
            this.#spawn(c.open());
        }
        if (!c.live || c.pending || this.#syncing) {
            return;            // the end of sync pumps again
        }
        o.checking = true;
        this.#spawn(this.#wasStored(c, o).finally(() => {
            o.checking = false;
        }).then((m) => {
            if (m) {
                this.#acked(o, { ...m, dup: true });
            } else {
                o.tried = 0;
            }
            this.#pump(o.key);
        }));
    }

    async #wasStored(c, o) {
        const m = c.find(this.uid, o.cmid);
        if (m) {
            return m;
        }
        let f;
        try {
            f = await this.#ask('history', { ...c.address(), limit: PAGE });
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

    #onAck(f) {
        const o = this.#out.get(f.cmid);
        if (o) {
            this.#acked(o, { seq: Number(f.seq), id: f.msg_id,
                             time: Number(f.time_ms || 0),
                             dup: Boolean(f.dup) });
        }
    }

    #acked(o, { seq, id, time, dup }) {
        this.#remove(o);
        const message = { seq, id, from: this.uid, time, cmid: o.cmid,
                          body: o.body };
        this.#arrived(o.key, message);
        this.#know(o.key).emit('outgoing', o);
        o.done?.resolve({ seq, id, time, dup });
        this.#pump(o.key);
    }

    #onError(f) {
        const o = this.#out.get(f.cmid);
        if (!o) {
            // Of a message that is decided, or of a question that is answered.
            if (f.cmid === undefined && f.id === undefined) {
                this.emit('error', new Problem(f.code, f.message));
            }
            return;
        }
        this.#env.clearTimeout(o.timer);
        if (f.retryable) {
            o.state = 'waiting';
            o.refusals = (o.refusals ?? 0) + 1;
            o.timer = this.#env.setTimeout(
                () => this.#again(o),
                pauseMs(this.#env, f.retry_after_ms, o.refusals - 1));
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
        this.#know(o.key).emit('outgoing', o);
        this.emit('failed', { outgoing: o, problem });
        this.#pump(o.key);
    }

    // Read marks.

    markRead(c, seq) {
        if (c.kind !== 'live' && c.readUpTo(seq)) {
            this.#reads.set(c.key, seq);
            this.save(c, []);
            this.#flushReads();
            this.emit('conversations');
        }
    }

    #flushReads() {
        if (this.state.name !== 'online') {
            return;
        }
        for (const [key, seq] of this.#reads) {
            this.#reads.delete(key);
            this.#ask('read', { ...address(key), seq: String(seq) }).catch(
                (e) => {
                    if (e instanceof Gone && !(this.#reads.get(key) > seq)) {
                        this.#reads.set(key, seq);
                    }
                });
        }
    }

    // Users.

    // { uid, name }, or null: then it is asked for, and 'users' is emitted.
    user(uid) {
        const user = this.#users.get(uid);
        if (!user && uid) {
            this.#lookups.add(uid);
            this.#lookUpSoon();
        }
        return user ?? null;
    }

    #lookUpSoon() {
        if (this.#lookups.size && !this.#lookupTimer && this.#link.there) {
            this.#lookupTimer = this.#env.setTimeout(() => {
                this.#lookupTimer = null;
                this.lookUp({ uids: [...this.#lookups].slice(0, UIDS_MAX) })
                    .then(() => this.#lookUpSoon(), () => {});
            }, 20);
        }
    }

    // Users by uids and by names; those who do not exist are left out.
    async lookUp({ uids = [], names = [] }) {
        const r = await this.request('POST', '/v1/users:lookup',
                                     { uids, names });
        for (const user of r.users) {
            this.#users.set(user.uid, user);
        }
        for (const uid of uids) {
            this.#lookups.delete(uid);
            if (!this.#users.has(uid)) {
                this.#users.set(uid, { uid, name: uid });
            }
        }
        this.#stored(this.store.set('users', [...this.#users].slice(-2000)));
        this.emit('users', r.users);
        return r.users;
    }

    // Presence.

    // Until the returned function is called; 'presence' says what changes.
    watch(uids) {
        const fresh = [];
        const held = uids.map((uid) => {
            const p = this.#presence.get(uid) ?? { count: 0, online: null };
            if (p.count++ === 0) {
                fresh.push(uid);
            }
            this.#presence.set(uid, p);
            return [uid, p];
        });
        if (this.state.name === 'online') {
            this.#subscribe(fresh, []).catch(() => {});
        }
        return () => {
            // Once; and a log-out may have ended it before.
            const gone = held.splice(0).filter(
                ([uid, p]) => this.#presence.get(uid) === p
                && --p.count === 0).map(([uid]) => uid);
            gone.forEach((uid) => this.#presence.delete(uid));
            if (this.state.name === 'online') {
                this.#subscribe([], gone).catch(() => {});
            }
        };
    }

    // true, false, or null: not known.
    isOnline(uid) {
        return this.#presence.get(uid)?.online ?? null;
    }

    #watchAgain() {
        return this.#subscribe([...this.#presence.keys()], []);
    }

    async #subscribe(add, remove) {
        for (let n = 0; n < Math.max(add.length, remove.length);
            n += UIDS_MAX) {
            const r = await this.#ask('presence_sub', {
                add: add.slice(n, n + UIDS_MAX),
                remove: remove.slice(n, n + UIDS_MAX) });
            this.#onPresence(r.users);
        }
    }

    #onPresence(users) {
        for (const { uid, online } of users) {
            const p = this.#presence.get(uid);
            if (p && p.online !== online) {
                p.online = online;
                this.emit('presence', { uid, online });
            }
        }
    }

    // Rooms.

    // What the server says of a room, or null if it has not yet.
    room(id) {
        return this.#rooms.get(id) ?? null;
    }

    // An answer without a role says that the user has none any more.
    #learn(room) {
        this.#rooms.set(room.room, {
            ...this.#rooms.get(room.room), role: undefined,
            muted_until_ms: undefined, ...room });
        const key = 'r' + room.room;
        if (room.kind === 'live') {
            this.#know(key).lossy = !room.history;
        }
        this.#stored(this.store.set('rooms', [...this.#rooms].slice(-1000)));
        this.emit('room', this.#rooms.get(room.room));
        return this.#rooms.get(room.room);
    }

    // The user's rooms; live ones are not in the list of conversations.
    async rooms() {
        const found = [];
        for (let after; ;) {
            const r = await this.request('GET', '/v1/rooms?limit=50'
                                         + (after ? '&after=' + after : ''));
            found.push(...r.rooms.map((room) => this.#learn(room)));
            if (!r.more || !r.rooms.length) {
                return found;
            }
            after = r.rooms[r.rooms.length - 1].room;
        }
    }

    #loadRooms() {
        const missing = [...this.#conversations.values()].some(
            (c) => c.room && !c.gone && !this.#rooms.has(c.room));
        if (missing) {
            this.rooms().then(() => this.emit('conversations'), () => {});
        }
    }

    async fetchRoom(id) {
        return this.#learn(await this.request('GET', '/v1/rooms/' + id));
    }

    async createRoom(what) {
        const room = this.#learn(await this.request(
            'POST', '/v1/rooms', what, { once: true }));
        const c = this.#know('r' + room.room);
        if (room.kind === 'live') {
            return this.joinRoom(room.room);
        }
        return this.#joined(c, 0);
    }

    // An open group for good; a live room until leaveRoom().
    async joinRoom(id) {
        const room = this.room(id) ?? await this.fetchRoom(id);
        const key = 'r' + id;
        const c = this.#know(key);
        if (room.kind === 'live') {
            if (!this.#live.has(key)) {
                this.#live.set(key, false);
            }
            await this.#enter(key);
            if (!this.#live.has(key)) {
                throw new Problem('no_such_room', 'the room cannot be joined');
            }
            if (!c.lossy) {
                await this.#sync([c]);
            }
            return c;
        }
        const f = await this.#ask('join', { room: id });
        this.#learn(f.room);
        return this.#joined(c, Number(f.head));
    }

    #joined(c, head) {
        c.gone = c.live = false;
        c.listed = true;
        c.order = c.last?.time ?? this.#env.now();
        if (c.cursor === null) {
            c.begin(Math.max(0, head - this.#options.tail));
        }
        this.#spawn(this.#sync([c]));
        this.emit('conversations');
        return c;
    }

    async leaveRoom(id) {
        const key = 'r' + id;
        const isIn = this.#live.get(key);
        const isLive = this.#live.delete(key) || this.room(id)?.kind === 'live';
        if (isIn || !isLive) {
            await this.#leave(id, isLive);
        }
        this.#lose(this.#know(key), 'left');
    }

    // A live room is left once, and only by a connection that is in it: any
    // other `leave` would give up the user's role there.  The end of the
    // connection leaves it as well.
    async #leave(id, isLive) {
        try {
            await this.#link.ask('leave', { room: id }, isLive);
        } catch (e) {
            if (!isLive || !(e instanceof Gone)) {
                throw e;
            }
        }
    }

    // A live room, once on each connection.
    async #enter(key) {
        if (this.#live.get(key) !== false) {
            return;
        }
        let f;
        try {
            f = await this.#ask('join', { room: key.slice(1) });
        } catch (e) {
            if (e instanceof Gone) {
                throw e;
            }
            this.#live.delete(key);
            this.#lose(this.#know(key), e.code);
            return;
        }
        const c = this.#know(key);
        this.#learn(f.room);
        if (!this.#live.has(key)) {
            await this.#leave(c.room, true);   // it was left meanwhile
            return;
        }
        c.gone = false;
        c.order = c.last?.time || this.#env.now();
        if (c.lossy) {
            c.live = true;
        }
        if (c.cursor === null) {
            c.begin(Number(f.head));
        } else if (c.lossy) {
            c.jump(Number(f.head));
        }
        this.#live.set(key, true);
        this.#pump(key);
        this.emit('conversations');
    }

    #lose(c, reason) {
        if (!c.gone) {
            c.gone = true;
            c.pending = false;
            if (!NOT_IN.includes(reason) && reason !== 'left') {
                this.emit('error', new Problem(reason, 'sync of ' + c.key));
            }
            c.emit('gone', reason);
            this.emit('conversations');
        }
    }

    #onRoom(f) {
        const known = this.#rooms.get(f.room);
        const c = this.#conversations.get('r' + f.room);
        if (f.event === undefined) {
            if (known) {
                this.#rooms.set(f.room, { ...known, online: f.online });
            }
        } else if (f.event === 'dismissed') {
            this.#learn({ ...known, room: f.room, dismissed: true });
        } else if (f.uid === this.uid) {
            if (f.event === 'removed' || f.event === 'left') {
                this.#live.delete('r' + f.room);
                if (c) {
                    this.#lose(c, f.event);
                }
            } else if (f.event === 'joined' && !this.#live.has('r' + f.room)) {
                this.fetchRoom(f.room).then((room) => {
                    if (room.kind !== 'live' && this.#link.there) {
                        const mine = this.#know('r' + f.room);
                        if (mine.cursor === null) {
                            mine.fresh = true;
                        }
                        this.#joined(mine, 0);
                    }
                }, () => {});
            } else if (known) {
                this.#learn({ ...known, role: f.role ?? known.role,
                              muted_until_ms: f.muted_until_ms
                              ?? known.muted_until_ms });
            }
        }
        this.emit('room_event', f);
    }

    // One page; with `online` only those who are there.
    members(id, { after, limit = 50, online } = {}) {
        return this.request('GET', `/v1/rooms/${id}/members?limit=${limit}`
                            + (after ? '&after=' + after : '')
                            + (online ? '&online=true' : ''));
    }

    addMembers(id, uids) {
        return this.request('POST', `/v1/rooms/${id}/members`, { uids });
    }

    // { role } or { mute_s }
    setMember(id, uid, what) {
        return this.request('PATCH', `/v1/rooms/${id}/members/${uid}`, what);
    }

    removeMember(id, uid) {
        return this.request('DELETE', `/v1/rooms/${id}/members/${uid}`);
    }

    dismissRoom(id) {
        return this.request('DELETE', `/v1/rooms/${id}`);
    }

    // Blocked users, the password.

    async blocks() {
        return (await this.request('GET', '/v1/blocks')).uids;
    }

    block(uid) {
        return this.request('POST', '/v1/blocks', { uid });
    }

    unblock(uid) {
        return this.request('DELETE', '/v1/blocks/' + uid);
    }

    // All other sessions of the user end.  A repeat would be refused, because
    // the old password is not valid any more.
    changePassword(oldPassword, newPassword) {
        return this.request('POST', '/v1/password', {
            old_password: oldPassword, new_password: newPassword },
                            { once: true });
    }
}
