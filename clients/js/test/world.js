/*
 * world.js -- a server that keeps the protocol and nothing more: it loses,
 * doubles, delays and reorders pushes, drops connections, refuses messages, and
 * decides late about numbers.  Its time and its chance are those of clock.js.
 */

const VOID = 'void';
const UNDECIDED = 'undecided';

export class Server {
    constructor(clock, random, faults = {}) {
        this.clock = clock;
        this.random = random;
        // Probabilities.
        this.faults = { lose: 0, double: 0, late: 0, refuse: 0, spoil: 0,
                        cut: 0, mute: 0, ...faults };
        this.sockets = new Set();
        this.conversations = new Map();    // name -> { numbers, reads }
        this.cmids = new Map();            // 'from cmid conv' -> message
        this.groups = new Map();           // room -> Set of uids
        this.live = new Map();             // room -> Set of sockets
        this.ids = 5000;
        this.violations = [];
        this.tokens = new Set();
        this.refreshes = 0;
        this.maxMessage = 65536;
        this.used = new Map();             // refresh token -> { at, session }
        this.down = false;
    }

    chance(p) {
        return this.random() < p;
    }

    later(ms, f) {
        this.clock.setTimeout(f, ms);
    }

    delay(max = 20) {
        return this.random() * max;
    }

    // 'a:b' of users, 'r9' of a room.
    name(me, f) {
        return f.room ? 'r' + f.room
            : [me, f.with ?? f.to].sort().join(':');
    }

    at(name) {
        let c = this.conversations.get(name);
        if (!c) {
            c = { name, numbers: [null], reads: new Map() };
            this.conversations.set(name, c);
        }
        return c;
    }

    people(name) {
        return name[0] === 'r' ? this.groups.get(name.slice(1)) ?? new Set()
            : new Set(name.split(':'));
    }

    // What everybody must show in the end.
    accepted(name) {
        return this.at(name).numbers.filter((n) => n && n.seq);
    }

    // Somebody sends: the message, or null if it was refused.
    accept(from, f, sender = null) {
        const name = this.name(from, f);
        const id = `${from} ${f.cmid} ${name}`;
        const old = this.cmids.get(id);
        // A repeat is known for five minutes, and not for ever.
        if (old && this.clock.now - Number(old.time_ms) < 300000) {
            return { ...old, dup: true };
        }
        const c = this.at(name);
        if (this.chance(this.faults.spoil)) {
            // It gets a number, and then fails.
            const seq = c.numbers.push(UNDECIDED) - 1;
            this.later(this.random() * 4000, () => {
                c.numbers[seq] = VOID;
            });
            return null;
        }
        const m = { seq: c.numbers.length, msg_id: String(++this.ids), from,
                    time_ms: String(Math.floor(this.clock.now)), cmid: f.cmid,
                    body: f.body, stored: false, name,
                    ...(f.room ? { room: f.room } : { to: f.to }) };
        c.numbers.push(m);
        this.cmids.set(id, m);
        this.later(this.delay(60), () => {
            m.stored = true;
        });
        for (const uid of this.people(name)) {
            for (const s of this.sockets) {
                if (s.uid === uid && s !== sender) {
                    this.push(s, m);
                }
            }
        }
        for (const s of this.live.get(f.room) ?? []) {
            if (s !== sender) {
                this.push(s, m);
            }
        }
        return m;
    }

    row(m) {
        const { seq, msg_id, from, time_ms, cmid, body, to, room } = m;
        return { seq: String(seq), msg_id, from, time_ms, cmid, body,
                 ...(room ? { room } : { to }) };
    }

    push(s, m) {
        if (this.chance(this.faults.lose)) {
            if (this.chance(0.3)) {
                // The client has read too slowly, and is told.
                this.later(this.delay(), () => s.down({ type: 'sync_needed' }));
                return;
            }
            // A server died: what follows shows the gap, or the end does.
            if (this.chance(0.5)) {
                this.later(this.delay(), () => s.end(4001));
            } else {
                this.later(3000, () => s.down({ type: 'push',
                                                ...this.row(m) }));
            }
            return;
        }
        const times = this.chance(this.faults.double) ? 2 : 1;
        for (let n = 0; n < times; n++) {
            const ms = this.chance(this.faults.late) ? this.delay(800)
                : this.delay(5);
            this.later(ms, () => s.down({ type: 'push', ...this.row(m) }));
        }
    }

    // Sockets.

    socketClass() {
        const server = this;
        return class {
            constructor() {
                this.uid = null;
                this.state = 'new';
                this.asked = 0;
                this.rooms = new Set();
                server.later(server.delay(), () => {
                    if (this.state !== 'new') {
                        return;
                    }
                    if (server.down || server.chance(server.faults.cut / 2)) {
                        this.end(1006);
                        return;
                    }
                    this.state = 'open';
                    this.onopen?.();
                });
            }

            send(data) {
                if (this.state !== 'open') {
                    return;
                }
                if (Buffer.byteLength(data) > server.maxMessage) {
                    server.later(server.delay(3), () => this.end(1009));
                    return;
                }
                const f = JSON.parse(data);
                server.later(server.delay(3), () => {
                    if (this.state === 'open') {
                        server.frame(this, f);
                    }
                });
            }

            down(f) {
                if (this.state === 'open' && this.uid) {
                    this.onmessage?.({ data: JSON.stringify(f) });
                }
            }

            end(code) {
                if (this.state !== 'ended') {
                    this.state = 'ended';
                    server.sockets.delete(this);
                    server.live.forEach((set) => set.delete(this));
                    this.onclose?.({ code });
                }
            }

            close() {
                this.end(1000);
            }
        };
    }

    frame(s, f) {
        if (!s.uid) {
            if (f.type !== 'auth') {
                this.violations.push('the first frame is ' + f.type);
            }
            if (!this.tokens.has(f.token)) {
                s.end(4100);
                return;
            }
            s.uid = f.token.split('.')[0];
            this.sockets.add(s);
            s.down({ type: 'auth_ok', uid: s.uid, device: 'd',
                     time_ms: '1', ping_s: 30,
                     max_message: this.promised ?? this.maxMessage });
            return;
        }
        if (this.chance(this.faults.cut)) {
            // With or without the effect of the frame.
            if (this.chance(0.5) && f.type === 'send') {
                this.accept(s.uid, f, s);
            }
            s.end([1006, 4001, 4003, 4004][Math.floor(this.random() * 4)]);
            return;
        }
        if (f.type === 'send') {
            this.onSend(s, f);
        } else if (f.type === 'ping') {
            s.down({ type: 'pong' });
        } else {
            this.onQuestion(s, f);
        }
    }

    onSend(s, f) {
        if (f.room && !this.people('r' + f.room).has(s.uid)
            && !this.live.get(f.room)?.has(s)) {
            s.down({ type: 'error', code: 'not_member', message: '',
                     cmid: f.cmid });
            return;
        }
        const refused = this.chance(this.faults.refuse) ? null
            : this.accept(s.uid, f, s);
        this.later(this.delay(), () => {
            if (this.chance(this.faults.mute)) {
                return;                // no answer at all
            }
            if (!refused) {
                s.down({ type: 'error', code: 'unavailable', message: '',
                         cmid: f.cmid, retryable: true, retry_after_ms: 100 });
                return;
            }
            s.down({ type: 'ack', cmid: f.cmid, msg_id: refused.msg_id,
                     seq: String(refused.seq), time_ms: refused.time_ms,
                     dup: refused.dup,
                     ...(f.room ? { room: f.room } : { to: f.to }) });
        });
    }

    onQuestion(s, f) {
        if (++s.asked > 4) {
            this.violations.push('five questions in flight');
        }
        const answer = (reply) => this.later(this.delay(40), () => {
            s.asked--;
            if (this.chance(this.faults.mute)) {
                return;
            }
            s.down(this.chance(this.faults.refuse)
                   ? { type: 'error', id: f.id, code: 'busy', message: '',
                       retryable: true, retry_after_ms: 100 }
                   : { ...reply(), id: f.id });
        });
        const handler = {
            sync: () => this.sync(s, f),
            conversations: () => this.list(s, f),
            history: () => this.history(s, f),
            read: () => {
                const c = this.at(this.name(s.uid, f));
                const seq = Math.max(c.reads.get(s.uid) ?? 0, Number(f.seq));
                c.reads.set(s.uid, seq);
                return { type: 'read_res', read_seq: String(seq) };
            },
            join: () => {
                const set = this.live.get(f.room) ?? new Set();
                this.live.set(f.room, set.add(s));
                return { type: 'join_res', head: String(this.head(
                    this.at('r' + f.room))), room: {
                    room: f.room, kind: 'live', name: 'live',
                    history: f.room !== '88', online: set.size } };
            },
            leave: () => {
                if (!this.groups.has(f.room)
                    && !this.live.get(f.room)?.has(s)) {
                    this.violations.push('a role is given up');
                }
                this.live.get(f.room)?.delete(s);
                return { type: 'leave_res', room: f.room };
            },
            presence_sub: () => ({ type: 'presence_res', users: (f.add ?? [])
                .map((uid) => ({ uid, online: true, devices: [] })) }),
        }[f.type];
        if (f.type === 'sync') {
            this.whenStored(f, s, () => answer(handler));
        } else {
            answer(handler);
        }
    }

    // The real server waits for the store up to what was acked.
    whenStored(f, s, then) {
        const wait = f.cursors.some((cursor) => this.at(this.name(
            s.uid, cursor)).numbers.some((n) => n?.seq && !n.stored));
        if (wait) {
            this.later(20, () => this.whenStored(f, s, then));
        } else {
            then();
        }
    }

    head(c) {
        return c.numbers.reduce((a, n) => n?.stored ? n.seq : a, 0);
    }

    sync(s, f) {
        return { type: 'sync_res', conversations: f.cursors.map((cursor) => {
            const c = this.at(this.name(s.uid, cursor));
            const from = Number(cursor.seq);
            const reply = { ...cursor, head: String(this.head(c)),
                            messages: [], voids: [], more: false,
                            pending: false };
            delete reply.seq;
            if (from >= c.numbers.length) {
                return { ...reply, error: 'cursor_ahead', next: '0' };
            }
            // Small pages, so that `more` is tried as well.
            const limit = Math.min(f.limit, 7);
            let next = from;
            for (let seq = from + 1; seq < c.numbers.length; seq++) {
                const n = c.numbers[seq];
                if (n === UNDECIDED || n.seq && !n.stored) {
                    reply.pending = true;
                    break;
                }
                if (n.seq && reply.messages.length === limit) {
                    reply.more = true;
                    break;
                }
                if (n === VOID) {
                    reply.voids.push({ from: String(seq), to: String(seq) });
                } else {
                    reply.messages.push(this.row(n));
                }
                next = seq;
            }
            return { ...reply, next: String(next) };
        }) };
    }

    list(s, f) {
        const mine = [...this.conversations.values()].filter(
            (c) => this.people(c.name).has(s.uid) && this.head(c) > 0)
            .sort((a, b) => a.name < b.name ? -1 : 1);
        const begin = Number(f.before ?? 0);
        const page = mine.slice(begin, begin + 2);
        return { type: 'conversations_res', more: begin + 2 < mine.length,
                 next: String(begin + 2), conversations: page.map((c) => {
            const head = this.head(c);
            const read = c.reads.get(s.uid) ?? 0;
            return {
                ...(c.name[0] === 'r' ? { room: c.name.slice(1) }
                    : { with: c.name.split(':').find((u) => u !== s.uid)
                        ?? s.uid }),
                head: String(head), read_seq: String(read),
                unread: this.unread(c, s.uid, head),
                last: this.row(c.numbers[head]),
            };
        }) };
    }

    unread(c, uid, head = Infinity) {
        const read = c.reads.get(uid) ?? 0;
        return c.numbers.filter((n) => n?.seq > read && n.seq <= head
                                && n.from !== uid).length;
    }

    history(s, f) {
        const rows = this.accepted(this.name(s.uid, f)).filter(
            (m) => m.stored && m.seq < Number(f.before_seq ?? Infinity));
        return { type: 'history_res', more: rows.length > f.limit,
                 messages: rows.slice(-f.limit).reverse().map(
                     (m) => this.row(m)) };
    }

    // HTTP.

    fetch(url, { method, body }) {
        const path = url.replace(/^http:\/\/[^/]*/, '');
        const f = body ? JSON.parse(body) : {};
        const reply = (status, value) => ({
            ok: status < 300, status, text: async () => JSON.stringify(value),
            headers: new Map() });
        return new Promise((resolve, reject) => {
            this.later(this.delay(), () => {
                if (this.down) {
                    reject(new Error('nobody answers'));
                    return;
                }
                resolve(this.http(method, path, f, reply));
            });
        });
    }

    http(method, path, f, reply) {
        if (path === '/v1/login') {
            return reply(200, this.session(f.name));
        }
        if (path === '/v1/refresh') {
            const uid = f.refresh_token.split('.')[0];
            const old = this.used.get(f.refresh_token);
            if (old && this.clock.now - old.at < 10000) {
                return reply(200, old.session);
            }
            if (old) {
                this.violations.push('a refresh token is used twice');
            }
            this.refreshes++;
            const session = this.session(uid);
            this.used.set(f.refresh_token, { at: this.clock.now, session });
            return reply(200, session);
        }
        if (path === '/v1/users:lookup') {
            return reply(200, { users: f.uids.map(
                (uid) => ({ uid, name: 'name' + uid })) });
        }
        if (path === '/v1/rooms') {
            return reply(201, { room: '88', kind: f.kind, name: f.name,
                                history: f.history ?? f.kind === 'group' });
        }
        if (path.startsWith('/v1/rooms?')) {
            return reply(200, { rooms: [...this.groups.keys()].map((room) => ({
                room, kind: 'group', name: 'group' + room, history: true })),
                                more: false });
        }
        if (/^\/v1\/rooms\/\d+$/.test(path)) {
            return reply(200, { room: path.split('/')[3], kind: 'live',
                                name: 'live', history: true });
        }
        return reply(method === 'GET' ? 204 : 200, {});
    }

    session(uid) {
        const n = ++this.ids;
        this.tokens.add(`${uid}.a${n}`);
        return { uid, access_token: `${uid}.a${n}`,
                 refresh_token: `${uid}.r${n}`, expires_in: 900 };
    }
}

export function environmentOf(clock, random, server, more = {}) {
    return {
        now: () => clock.now,
        setTimeout: (f, ms) => clock.setTimeout(f, ms),
        clearTimeout: (t) => clock.clearTimeout(t),
        random,
        fetch: (url, options) => server.fetch(url, options),
        WebSocket: server.socketClass(),
        locks: undefined,
        BroadcastChannel: undefined,
        ...more,
    };
}

// Web Locks and a BroadcastChannel for tabs in one process.
export function browser(clock) {
    const queues = new Map();          // name -> [request]
    const channels = new Set();

    const grant = (name) => {
        const queue = queues.get(name);
        if (queue.length && !queue[0].held) {
            const r = queue[0];
            r.held = true;
            Promise.resolve(r.use()).then(() => r.free(), r.reject);
        }
    };
    const request = (tab, name, options, use) => new Promise(
        (resolve, reject) => {
            const queue = queues.get(name) ?? [];
            queues.set(name, queue);
            const r = { tab, use, held: false, reject, free: (value) => {
                const at = queue.indexOf(r);
                if (at >= 0) {
                    queue.splice(at, 1);
                    resolve(value);
                    clock.setTimeout(() => grant(name), 0);
                }
            } };
            if (options.steal && queue[0]?.held) {
                queue.shift().reject(new Error('stolen'));
            }
            queue[options.steal ? 'unshift' : 'push'](r);
            clock.setTimeout(() => grant(name), 0);
        });

    // What one tab sees; dead() ends it as a crash does.
    return () => {
        const tab = { dead: false };
        const dead = () => {
            tab.dead = true;
            for (const [name, queue] of queues) {
                for (const r of queue.filter((one) => one.tab === tab)) {
                    queue.splice(queue.indexOf(r), 1);
                    clock.setTimeout(() => grant(name), 0);
                }
            }
            channels.forEach((c) => c.tab === tab && channels.delete(c));
        };
        class Channel {
            constructor(name) {
                this.name = name;
                this.tab = tab;
                channels.add(this);
            }

            postMessage(data) {
                if (tab.dead) {
                    return;
                }
                for (const c of channels) {
                    if (c !== this && c.name === this.name) {
                        clock.setTimeout(() => channels.has(c)
                                         && c.onmessage?.({ data }), 1);
                    }
                }
            }

            close() {
                channels.delete(this);
            }
        }
        const locks = {
            request: (name, options, use) => typeof options === 'function'
                ? request(tab, name, {}, options)
                : request(tab, name, options, use),
            query: async () => ({ held: [...queues].filter(
                ([, queue]) => queue[0]?.held).map(([name]) => ({ name })) }),
        };
        return { locks, BroadcastChannel: Channel, dead, tab };
    };
}
