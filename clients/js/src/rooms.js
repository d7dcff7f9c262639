/*
 * rooms.js -- what is known of rooms, and how one is entered and left.
 *
 * A member of a group is in it until it leaves.  A live room is entered by a
 * connection, and again by each connection that follows, until leaveRoom().
 */

import { Users } from './users.js';
import { Gone, Problem } from './util.js';

// Reasons for which a room is lost that are no errors.
const NOT_IN = ['forbidden', 'left', 'not_member', 'no_such_room',
                'room_dismissed'];

export class Rooms extends Users {
    #known = new Map();        // room -> what the server says of it
    live = new Map();          // key of a live room -> is joined

    loadRooms(entries) {
        this.#known = new Map(entries);
    }

    clear() {
        super.clear();
        this.#known.clear();
        this.live.clear();
    }

    // The connection has ended.
    down() {
        for (const key of this.live.keys()) {
            this.live.set(key, false);
        }
    }

    // What the server says of a room, or null if it has not yet.
    room(id) {
        return this.#known.get(id) ?? null;
    }

    // An answer without a role says that the user has none any more.
    #learn(room) {
        const now = { ...this.room(room.room), role: undefined,
                      muted_until_ms: undefined, ...room };
        this.#known.set(room.room, now);
        if (room.kind === 'live') {
            this.conversation('r' + room.room).lossy = !room.history;
        }
        this.write('set', 'rooms', [...this.#known].slice(-1000));
        this.emit('room', now);
        return now;
    }

    // The user's rooms; live ones are not in the list of conversations.
    async rooms() {
        const found = [];
        for (let after; ;) {
            const r = await this.request(
                'GET', '/v1/rooms?limit=50' + (after ? '&after=' + after : ''));
            found.push(...r.rooms.map((room) => this.#learn(room)));
            if (!r.more || !r.rooms.length) {
                return found;
            }
            after = r.rooms[r.rooms.length - 1].room;
        }
    }

    // Once all is synced: the rooms of conversations that have no name yet.
    loadMissingRooms() {
        const missing = [...this.byKey.values()].some(
            (c) => c.room && !c.gone && !this.#known.has(c.room));
        if (missing) {
            this.rooms().then(() => this.emit('conversations'),
                             () => {});
        }
    }

    async fetchRoom(id) {
        return this.#learn(await this.request(
            'GET', '/v1/rooms/' + id));
    }

    async createRoom(what) {
        const room = this.#learn(await this.request(
            'POST', '/v1/rooms', what, { once: true }));
        const c = this.conversation('r' + room.room);
        if (room.kind === 'live') {
            return this.joinRoom(room.room);
        }
        return this.#joined(c, 0);
    }

    // An open group for good; a live room until leaveRoom().
    async joinRoom(id) {
        const room = this.room(id) ?? await this.fetchRoom(id);
        const key = 'r' + id;
        const c = this.conversation(key);
        if (room.kind === 'live') {
            if (!this.live.has(key)) {
                this.live.set(key, false);
            }
            await this.enter(key);
            if (!this.live.has(key)) {
                throw new Problem('no_such_room', 'the room cannot be joined');
            }
            if (!c.lossy) {
                await this.fetch([c]);
            }
            return c;
        }
        const f = await this.link.ask('join', { room: id });
        this.#learn(f.room);
        return this.#joined(c, Number(f.head));
    }

    #joined(c, head) {
        c.gone = c.live = false;
        c.listed = true;
        c.order = c.last?.time ?? this.env.now();
        if (c.cursor === null) {
            c.begin(Math.max(0, head - this.options.tail));
        }
        this.run(this.fetch([c]));
        this.emit('conversations');
        return c;
    }

    async leaveRoom(id) {
        const key = 'r' + id;
        const isIn = this.live.get(key);
        const isLive = this.live.delete(key) || this.room(id)?.kind === 'live';
        if (isIn || !isLive) {
            await this.#leave(id, isLive);
        }
        this.lose(this.conversation(key), 'left');
    }

    // A live room is left once, and only by a connection that is in it: any
    // other `leave` would give up the user's role there.  The end of the
    // connection leaves it as well.
    async #leave(id, isLive) {
        try {
            await this.link.ask('leave', { room: id }, isLive);
        } catch (e) {
            if (!isLive || !(e instanceof Gone)) {
                throw e;
            }
        }
    }

    // A live room, once on each connection.
    async enter(key) {
        if (this.live.get(key) !== false) {
            return;
        }
        let f;
        try {
            f = await this.link.ask('join', { room: key.slice(1) });
        } catch (e) {
            if (e instanceof Gone) {
                throw e;
            }
            this.live.delete(key);
            this.lose(this.conversation(key), e.code);
            return;
        }
        const c = this.conversation(key);
        this.#learn(f.room);
        if (!this.live.has(key)) {
            await this.#leave(c.room, true);   // it was left meanwhile
            return;
        }
        c.gone = false;
        c.order = c.last?.time || this.env.now();
        if (c.lossy) {
            c.live = true;
        }
        if (c.cursor === null) {
            c.begin(Number(f.head));
        } else if (c.lossy) {
            c.jump(Number(f.head));
        }
        this.live.set(key, true);
        this.pump(key);
        this.emit('conversations');
    }

    lose(c, reason) {
        if (!c.gone) {
            c.gone = true;
            c.pending = false;
            if (!NOT_IN.includes(reason)) {
                this.emit('error', new Problem(reason,
                                                      'sync of ' + c.key));
            }
            c.emit('gone', reason);
            this.emit('conversations');
        }
    }

    onRoom(f) {
        const key = 'r' + f.room;
        const known = this.#known.get(f.room);
        const c = this.byKey.get(key);
        if (f.event === undefined) {
            if (known) {
                this.#known.set(f.room, { ...known, online: f.online });
            }
        } else if (f.event === 'dismissed') {
            this.#learn({ ...known, room: f.room, dismissed: true });
        } else if (f.uid === this.uid) {
            if (f.event === 'removed' || f.event === 'left') {
                this.live.delete(key);
                if (c) {
                    this.lose(c, f.event);
                }
            } else if (f.event === 'joined' && !this.live.has(key)) {
                this.fetchRoom(f.room).then((room) => {
                    if (room.kind !== 'live' && this.link.there) {
                        const mine = this.conversation(key);
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
}
