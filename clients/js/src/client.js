/*
 * client.js -- what an application uses: one user on one device.
 *
 *     session (http.js)   tokens, requests
 *     link (link.js)      one connection after another, questions
 *     conversations       order, gaps, void numbers (conversation.js)
 *     store (store.js)    all of this across restarts
 *     hub (tabs.js)       one connection for all tabs of a browser
 *
 * What it does with them stands in one file for each noun, and each extends the
 * one behind it:
 *
 *     ImClient: log-in, connection, list of conversations
 *     Outbox (outbox.js)      own messages until they are acknowledged
 *     Sync (sync.js)          what was missed, read marks
 *     Rooms (rooms.js)        what is known of rooms, live rooms
 *     Users (users.js)        names, presence
 *     Requests (requests.js)  what needs nothing but an answer
 *
 * One object instead of six keeps the client small: six have to know each
 * other, and to repeat their functions here.  An application may use what
 * index.d.ts names; the rest is for these files.
 *
 * The rules are those of docs/protocol.md, Rules for clients.  State:
 *
 *     closed -> connecting -> syncing -> online
 *                  ^    waiting <---------'        ended: log in again
 */

import { Conversation } from './conversation.js';
import { Session } from './http.js';
import { Link } from './link.js';
import { Outbox } from './outbox.js';
import { memoryStore } from './store.js';
import { TabHub } from './tabs.js';
import { Gone, Problem, environment, keyOf, newId, toMessage } from './util.js';

const HAND_OVER_MS = 100;      // from the tabs of one user to another one's
const KEEP = 500;              // messages in memory of what nobody looks at

export class ImClient extends Outbox {
    #session;
    byKey = new Map();         // conversations
    tab = newId();

    constructor(options = {}) {
        super();
        const env = this.env = environment(options.env);
        const url = (options.url ?? globalThis.location?.origin ?? '')
            .replace(/\/$/, '');
        this.store = options.store ?? memoryStore();
        this.options = { tail: 20, behindMax: 1000, window: 1, ...options };
        this.state = { name: 'closed' };
        this.#session = new Session(env, url, this.store);
        this.#session.onEnd = (code) => this.#end(code);
        const socketUrl = options.socketUrl
            ?? url.replace(/^http/, 'ws') + '/ws';
        if (options.tabs && env.locks && env.BroadcastChannel) {
            this.hub = new TabHub(options.tabs, env, this.tab, socketUrl);
            this.hub.onUser = (uid) => this.#onOtherUser(uid);
            this.hub.onTabGone = () => {
                if (this.link.there) {
                    this.adoptAndSend();
                }
            };
        }
        this.link = new Link(
            this.hub ? { ...env, WebSocket: this.hub.socketClass() } : env,
            socketUrl, this.#session, {
                state: (name, more) => this.#setState(name, more),
                open: (f) => this.#onOpen(f),
                frame: (f) => this.#onFrame(f),
                down: (code) => this.down(code),
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
        await this.hub?.start();
        this.hub?.announce(this.uid);
        const owner = await this.store.get('owner');
        if (owner !== this.uid) {
            if (owner && this.hub) {
                // The other tabs hear of it, and write nothing any more.
                await this.#session.sleep(HAND_OVER_MS);
            }
            this.#empty();
            await this.#clearStore();
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
        this.loadUsers(users);
        this.loadRooms(rooms);
        this.byKey.clear();
        this.clearOutbox();
        for (const record of records.filter((r) => r.cursor !== null)) {
            this.conversation(record.key).restore(record);
        }
        await this.hub?.start();
        await this.loadOutbox();
        this.emit('conversations');
    }

    connect() {
        if (!this.uid) {
            throw new Problem('unauthorized', 'nobody is logged in');
        }
        this.link.start();
    }

    disconnect() {
        this.link.stop();
        this.down();
        this.#setState('closed');
    }

    // The network is back: do not wait for the end of a pause.
    wake() {
        this.link.wake();
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
        await this.#session.forget();
        this.#empty();
        await this.#clearStore();
        await this.hub?.close();
    }

    async #clearStore() {
        await this.store.clear();
        await this.store.set('users', undefined);
        await this.store.set('rooms', undefined);
    }

    // The store is that of another user from now on.
    #onOtherUser(uid) {
        if (this.uid && this.uid !== uid) {
            this.disconnect();
            this.#session.drop();
            this.hub.close();
            this.#empty();
            this.#setState('ended', { reason: 'other_user' });
        }
    }

    #empty() {
        this.clear();
        this.byKey.clear();
        this.emit('conversations');
    }

    // Leaves this client unusable: for tests, and pages that end.
    async close() {
        this.disconnect();
        await this.hub?.close();
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
            this.link.cut();  // of a tab that has not ended yet
            return;
        }
        this.maxFrame = f.max_message;
        this.#setState('syncing');
        this.pumpAll();
        if (this.hub?.isLeader) {
            this.adoptAndSend();
        }
        this.catchUp();
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
        this.link.stop();
        this.#session.forget();
        this.hub?.close();
        this.#setState('ended', { reason });
    }

    #onFrame(f) {
        switch (f.type) {
        case 'push':
            this.arrived(keyOf(f, this.uid), toMessage(f));
            break;
        case 'ack':
            this.onAck(f);
            break;
        case 'error':
            this.onError(f);
            break;
        case 'sync_needed':
            this.catchUp();
            break;
        case 'room_ev':
            this.onRoom(f);
            break;
        case 'presence':
            this.onPresence(f.users);
            break;
        }
    }

    // Conversations.

    // The list, as it is shown: pinned ones first, then the latest ones.
    get conversations() {
        const writing = this.outgoingKeys;
        return [...this.byKey.values()]
            .filter((c) => !c.hidden && !c.gone && (
                c.listed || c.last || this.live.has(c.key)
                || writing.has(c.key)))
            .sort((a, b) => b.pinned - a.pinned || b.order - a.order
                  || (a.key < b.key ? -1 : 1));
    }

    // { with: uid } or { room: id }; the same object each time.
    conversation(target) {
        const key = typeof target === 'string' ? target
            : target.room ? 'r' + target.room : 'u' + target.with;
        let c = this.byKey.get(key);
        if (!c) {
            c = new Conversation(this, key);
            this.byKey.set(key, c);
        }
        return c;
    }

    async setConversation(c, what) {
        await this.request('PATCH', '/v1/conversations',
                           { ...c.address(), ...what });
        Object.assign(c, what);
        this.save(c, []);
        this.emit('conversations');
    }

    history(c, before, limit) {
        return this.link.ask('history', {
            ...c.address(), before_seq: String(before), limit });
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
            if (m.from === this.uid) {
                this.shownOwn(m.cmid);
            }
            c.emit('message', m);
            this.emit('message', { conversation: c, message: m });
        }
        this.emit('conversations');
    }

    save(c, messages) {
        // A live room is only there while a connection is in it; and a window
        // may still hold a conversation of the user before.
        if (c.cursor !== null && !this.live.has(c.key)
            && this.byKey.get(c.key) === c) {
            this.write('put', c.record(), messages);
        }
    }

    drop(c) {
        this.write('drop', c.key);
    }

    // Into the store, which nobody waits for: if it fails, that is an event.
    write(what, ...args) {
        this.store[what](...args).catch((e) => this.emit('error', e));
    }

    // All that was missed has been shown: called by sync.
    onSynced() {
        this.link.good = true;
        this.#setState('online');
        this.emit('conversations');
        this.pumpAll();
        this.flushReads();
        this.watchAgain().catch((e) => e instanceof Gone
                                       || this.emit('error', e));
        this.loadMissingRooms();
        this.lookUpSoon();
    }
}
