/*
 * tabs.js -- one connection for all tabs of a browser.
 *
 * Each tab runs the whole client and keeps all rules by itself; only the socket
 * is shared.  The tab that holds a Web Lock is the leader: it has the real
 * connection.  A tab's own socket is an object like a WebSocket whose frames go
 * over a BroadcastChannel to the leader:
 *
 *     tab --frame--> leader ==frame==> server
 *     tab <--frame-- leader <=push==== server      (to all tabs)
 *
 * So a leader that dies is to the others a connection that broke: they connect
 * again, to the next holder of the lock, and sync.  The leader knows to whose
 * question and to whose message an answer belongs, keeps to the four questions
 * that a connection may have in flight, and counts which tab is in which live
 * room and whom it watches.  The server pushes a message to all connections
 * but the one that sent it, so the leader makes that push for the other tabs.
 *
 * Every tab holds a lock of its own, too, by which the others see its end.
 */

const QUESTIONS_MAX = 4;
const ANSWER_MS = 10000;

export class TabHub {
    #name;
    #env;
    #id;
    #url;
    #channel = null;
    #socket = null;            // of this tab
    #auth = null;              // its first frame, until it is answered
    #leader = null;
    #ends = [];                // release our locks; a new one after close()
    #watched = new Set();      // tabs whose end we wait for
    #misses = 0;               // connections without any sign of a leader

    constructor(name, env, id, url) {
        this.#name = 'im-' + name;
        this.#env = env;
        this.#id = id;
        this.#url = url;
        this.onTabGone = () => {};
        this.onUser = () => {};
    }

    get isLeader() {
        return this.#leader !== null;
    }

    async start() {
        if (this.#channel) {
            return;
        }
        this.#channel = new this.#env.BroadcastChannel(this.#name);
        this.#channel.onmessage = (e) => this.#onMessage(e.data);
        const ends = this.#ends;
        await new Promise((resolve) => {
            this.#hold(this.#tabLock(this.#id), {}, resolve)
                .then(resolve, resolve);
        });
        if (ends !== this.#ends) {
            return;
        }
        this.#post({ kind: 'hello' });
        this.#lead({});
    }

    #tabLock(id) {
        return `${this.#name}-tab-${id}`;
    }

    #hold(name, options, begin) {
        const ends = this.#ends;
        return this.#env.locks.request(name, options, () => {
            if (ends !== this.#ends) {
                return undefined;
            }
            return new Promise((resolve) => {
                ends.push(resolve);
                begin();
            });
        });
    }

    // Waits for its turn, which comes when the leader has ended.
    #lead(options) {
        const ends = this.#ends;
        this.#hold(this.#name + '-leader', options, () => {
            this.#misses = 0;
            this.#leader = new Leader(this.#env, this.#url, {
                deliver: (to, kind, data) => this.#deliver(to, kind, data),
            });
            this.#watchAll();
            this.#post({ kind: 'leader' });
            this.#newLeader();
            this.onTabGone();      // the leader before us
        }).catch(() => {
            // Another tab took the lock, because we did not answer.
            if (ends === this.#ends) {
                const old = this.#leader;
                this.#leader = null;
                old?.end();
                this.#fail(1006);
                this.#lead({});
            }
        });
    }

    // The leader waits for the end of each tab: it gets the lock of it then.
    async #watchAll() {
        const { held } = await this.#env.locks.query();
        const prefix = this.#tabLock('');
        held.filter((lock) => lock.name.startsWith(prefix)).forEach(
            (lock) => this.#watch(lock.name.slice(prefix.length)));
    }

    #watch(id) {
        if (id === this.#id || this.#watched.has(id)) {
            return;
        }
        this.#watched.add(id);
        this.#env.locks.request(this.#tabLock(id), () => {
            this.#watched.delete(id);
            this.#leader?.gone(id);
        }).then(() => this.onTabGone());
    }

    // Whether a tab with this id is open.
    async isAlive(id) {
        const { held } = await this.#env.locks.query();
        return held.some((lock) => lock.name === this.#tabLock(id));
    }

    // Releases all locks; start() begins anew.
    async close() {
        this.#leader?.end();
        this.#leader = null;
        this.#post({ kind: 'bye' });
        this.#ends.forEach((end) => end());
        this.#ends = [];
        this.#channel?.close();
        this.#channel = null;
    }

    // This user has logged in here: tabs of another one must end.
    announce(uid) {
        this.#leader?.serve(uid);
        this.#post({ kind: 'user', data: uid });
    }

    #post(message) {
        this.#channel?.postMessage({ from: this.#id, ...message });
    }

    // From the leader to a tab, or to all (to = null).
    #deliver(to, kind, data) {
        if (to !== this.#id) {
            this.#post({ kind, to, data });
        }
        if (to === null || to === this.#id) {
            this.#receive(kind, data);
        }
    }

    #onMessage(m) {
        if (m.kind === 'leader') {
            this.#newLeader();
        } else if (m.kind === 'up') {
            this.#leader?.fromTab(m.from, m.data);
        } else if (m.kind === 'hello') {
            if (this.#leader) {
                this.#watch(m.from);
            }
        } else if (m.kind === 'bye') {
            this.#leader?.gone(m.from);
        } else if (m.kind === 'user') {
            this.#leader?.serve(m.data);
            this.onUser(m.data);
        } else if (m.to === null || m.to === this.#id) {
            this.#receive(m.kind, m.data);
        }
    }

    #receive(kind, data) {
        this.#misses = 0;
        if (kind === 'close') {
            this.#fail(data);
        } else if (kind === 'down' && this.#socket) {
            if (this.#auth) {
                if (!data.startsWith('{"type":"auth_ok"')) {
                    return;        // for those that are through
                }
                this.#auth = null;
            }
            this.#socket.onmessage?.({ data });
        }
    }

    // Connections by the old one are over; who waits for it asks the new one.
    #newLeader() {
        if (this.#auth) {
            this.#up(this.#auth);
        } else {
            this.#fail(1006);
        }
    }

    #fail(code) {
        const socket = this.#socket;
        this.#socket = this.#auth = null;
        socket?.onclose?.({ code });
    }

    #up(data) {
        if (this.#leader) {
            this.#leader.fromTab(this.#id, data);
        } else {
            this.#post({ kind: 'up', data });
        }
    }

    // What link.js takes for a WebSocket.
    socketClass() {
        const hub = this;
        return class {
            constructor() {
                hub.#socket = this;
                hub.#auth = null;
                hub.#env.setTimeout(() => this.onopen?.(), 0);
            }

            send(data) {
                if (hub.#socket !== this) {
                    return;
                }
                if (data.startsWith('{"type":"auth"')) {
                    hub.#auth = data;
                }
                hub.#up(data);
            }

            close() {
                if (hub.#socket !== this) {
                    return;
                }
                // A leader that never answers is frozen: take its place.
                if (hub.#auth && !hub.#leader && ++hub.#misses >= 2) {
                    hub.#misses = 0;
                    hub.#lead({ steal: true });
                }
                hub.#socket = hub.#auth = null;
                hub.#up('{"type":"bye"}');
            }
        };
    }
}

class Leader {
    #env;
    #url;
    #on;
    #ws = null;
    #ok = null;                // auth_ok of the real connection
    #uid = '';
    #tabs = new Set();         // with a connection, or waiting for one
    #ids = 0;
    #asked = new Map();        // id -> { tab, id, frame, timer }
    #flying = 0;               // of these, asked less than 10 s ago
    #waiting = [];
    #sent = new Map();         // cmid -> { tab, frame }
    #rooms = new Map();        // live room -> tabs, also if all have left it
    #watches = new Map();      // uid -> tabs

    constructor(env, url, on) {
        this.#env = env;
        this.#url = url;
        this.#on = on;
    }

    end() {
        const ws = this.#ws;
        this.#reset();
        ws?.close();
    }

    // A connection of another user is over.
    serve(uid) {
        if (this.#ws && this.#uid !== uid) {
            this.end();
            this.#on.deliver(null, 'close', 1006);
        }
    }

    #reset() {
        if (this.#ws) {
            this.#ws.onopen = this.#ws.onmessage = this.#ws.onclose = null;
        }
        this.#asked.forEach((q) => this.#env.clearTimeout(q.timer));
        this.#ws = this.#ok = null;
        this.#uid = '';
        this.#waiting = [];
        this.#flying = 0;
        [this.#tabs, this.#asked, this.#sent, this.#rooms, this.#watches]
            .forEach((all) => all.clear());
    }

    #connect(auth) {
        const ws = new this.#env.WebSocket(this.#url, ['im.v1.json']);
        this.#ws = ws;
        ws.onopen = () => ws.send(auth);
        ws.onerror = () => {};
        ws.onmessage = (e) => this.#fromServer(e.data);
        ws.onclose = (e) => {
            this.#reset();
            this.#on.deliver(null, 'close', e.code);
        };
    }

    fromTab(tab, data) {
        const f = JSON.parse(data);
        if (f.type === 'auth') {
            this.#on.deliver(tab, 'here');
            this.#tabs.add(tab);
            if (this.#ok) {
                this.#on.deliver(tab, 'down', this.#ok);
            } else if (!this.#ws) {
                this.#connect(data);
            }
        } else if (f.type === 'bye') {
            this.gone(tab);
        } else if (!this.#ok || !this.#tabs.has(tab)) {
            this.#on.deliver(tab, 'close', 1006);
        } else {
            this.#forward(tab, f);
        }
    }

    // A tab has closed its connection, or ended.
    gone(tab) {
        if (!this.#tabs.delete(tab)) {
            return;
        }
        if (!this.#tabs.size) {
            this.end();
            return;
        }
        for (const [room, tabs] of this.#rooms) {
            if (tabs.delete(tab) && !tabs.size) {
                this.#ask({ tab: null, frame: { type: 'leave', room } });
            }
        }
        const remove = this.#unwatch(tab, [...this.#watches.keys()]);
        if (remove.length) {
            this.#ask({ tab: null, frame: { type: 'presence_sub', remove } });
        }
    }

    // Of these, those whom nobody watches any more.
    #unwatch(tab, uids) {
        return uids.filter((uid) => {
            const tabs = this.#watches.get(uid);
            return tabs?.delete(tab) && !tabs.size && this.#watches.delete(uid);
        });
    }

    #forward(tab, f) {
        if (f.type === 'send') {
            this.#sent.set(f.cmid, { tab, frame: f });
        } else if (f.type === 'leave') {
            // One that is not in it must not give up the user's role there.
            const tabs = this.#rooms.get(f.room);
            if (tabs && (!tabs.delete(tab) || tabs.size)) {
                this.#answer(tab, { type: 'leave_res', id: f.id,
                                    room: f.room });
                return;
            }
        } else if (f.type === 'presence_sub') {
            const remove = this.#unwatch(tab, f.remove ?? []);
            for (const uid of f.add ?? []) {
                this.#watches.set(uid, (this.#watches.get(uid) ?? new Set())
                    .add(tab));
            }
            if (!remove.length && !f.add?.length) {
                this.#answer(tab, { type: 'presence_res', id: f.id,
                                    users: [] });
                return;
            }
            f = { ...f, remove };
        }
        if (f.id === undefined || f.type === 'ping') {
            this.#ws.send(JSON.stringify(f));
        } else {
            this.#ask({ tab, id: f.id, frame: f });
        }
    }

    #answer(tab, frame) {
        this.#on.deliver(tab, 'down', JSON.stringify(frame));
    }

    #ask(question) {
        this.#waiting.push(question);
        this.#pump();
    }

    #pump() {
        while (this.#waiting.length && this.#flying < QUESTIONS_MAX) {
            const q = this.#waiting.shift();
            const id = String(++this.#ids);
            this.#asked.set(id, q);
            // The tab asks again then, but an answer may still come.
            this.#flying++;
            q.isFlying = true;
            q.timer = this.#env.setTimeout(() => {
                this.#landed(q);
                this.#pump();
            }, ANSWER_MS);
            this.#ws.send(JSON.stringify({ ...q.frame, id }));
        }
    }

    #landed(q) {
        if (q.isFlying) {
            q.isFlying = false;
            this.#flying--;
        }
    }

    #fromServer(data) {
        const f = JSON.parse(data);
        const q = this.#asked.get(f.id);
        if (f.type === 'auth_ok') {
            this.#ok = data;
            this.#uid = f.uid;
            // One who asks a moment later gets an answer of its own.
            this.#tabs.forEach((tab) => this.#on.deliver(tab, 'down', data));
            return;
        } else if (q) {
            this.#asked.delete(f.id);
            this.#env.clearTimeout(q.timer);
            this.#landed(q);
            if (f.type === 'join_res' && f.room.kind === 'live') {
                const { room } = f.room;
                this.#rooms.set(room, (this.#rooms.get(room) ?? new Set())
                    .add(q.tab));
            }
            if (q.tab !== null) {
                this.#answer(q.tab, { ...f, id: q.id });
            }
            this.#pump();
            return;
        } else if (f.cmid !== undefined && f.type !== 'push') {
            this.#decided(f, data);
            return;
        } else if (f.id !== undefined) {
            return;            // too late: the tab has asked again
        }
        this.#on.deliver(null, 'down', data);
    }

    // An ack or a refusal.
    #decided(f, data) {
        const sent = this.#sent.get(f.cmid);
        if (!sent) {
            this.#on.deliver(null, 'down', data);
            return;
        }
        this.#on.deliver(sent.tab, 'down', data);
        if (f.type === 'ack' || !f.retryable) {
            this.#sent.delete(f.cmid);
        }
        if (f.type === 'ack') {
            const { to, room, body } = sent.frame;
            const push = JSON.stringify({
                type: 'push', from: this.#uid, ...(room ? { room } : { to }),
                cmid: f.cmid, seq: f.seq, msg_id: f.msg_id,
                time_ms: f.time_ms, body });
            for (const tab of this.#tabs) {
                if (tab !== sent.tab) {
                    this.#on.deliver(tab, 'down', push);
                }
            }
        }
    }
}
