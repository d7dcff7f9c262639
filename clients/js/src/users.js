/*
 * users.js -- other users: their names, and whether they are online.
 *
 * A name is asked for when it is first wanted, many in one request, and stored.
 * Presence is subscribed to while somebody watches it; each connection
 * subscribes again.
 */

import { Requests } from './requests.js';

const UIDS_MAX = 200;          // of one question
const LOOK_UP_MS = 20;         // until names are asked for: more may be wanted

export class Users extends Requests {
    #known = new Map();        // uid -> { uid, name }
    #wanted = new Set();       // uids whose names are to be asked for
    #timer = null;
    #presence = new Map();     // uid -> { count, online }

    loadUsers(entries) {
        const { uid, name } = this;
        this.#known = new Map(entries);
        this.#known.set(uid, { uid, name });
    }

    clear() {
        [this.#known, this.#wanted, this.#presence].forEach((x) => x.clear());
    }

    // { uid, name }, or null: then it is asked for, and 'users' is emitted.
    user(uid) {
        const user = this.#known.get(uid);
        if (!user && uid) {
            this.#wanted.add(uid);
            this.lookUpSoon();
        }
        return user ?? null;
    }

    lookUpSoon() {
        if (this.#wanted.size && !this.#timer && this.link.there) {
            this.#timer = this.env.setTimeout(() => {
                this.#timer = null;
                this.lookUp({ uids: [...this.#wanted].slice(0, UIDS_MAX) })
                    .then(() => this.lookUpSoon(), () => {});
            }, LOOK_UP_MS);
        }
    }

    // Users by uids and by names; those who do not exist are left out.
    async lookUp({ uids = [], names = [] }) {
        const { users } = await this.request('POST', '/v1/users:lookup',
                                               { uids, names });
        for (const user of users) {
            this.#known.set(user.uid, user);
        }
        for (const uid of uids) {
            this.#wanted.delete(uid);
            if (!this.#known.has(uid)) {
                this.#known.set(uid, { uid, name: uid });
            }
        }
        this.write('set', 'users', [...this.#known].slice(-2000));
        this.emit('users', users);
        return users;
    }

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
        this.#change(fresh, []);
        return () => {
            // Once; and a log-out may have ended it before.
            const gone = held.splice(0).filter(
                ([uid, p]) => this.#presence.get(uid) === p
                && --p.count === 0).map(([uid]) => uid);
            gone.forEach((uid) => this.#presence.delete(uid));
            this.#change([], gone);
        };
    }

    // true, false, or null: not known.
    isOnline(uid) {
        return this.#presence.get(uid)?.online ?? null;
    }

    #change(add, remove) {
        if (this.state.name === 'online') {
            this.#subscribe(add, remove).catch(() => {});
        }
    }

    watchAgain() {
        return this.#subscribe([...this.#presence.keys()], []);
    }

    async #subscribe(add, remove) {
        for (let n = 0; n < Math.max(add.length, remove.length);
            n += UIDS_MAX) {
            const r = await this.link.ask('presence_sub', {
                add: add.slice(n, n + UIDS_MAX),
                remove: remove.slice(n, n + UIDS_MAX) });
            this.onPresence(r.users);
        }
    }

    onPresence(users) {
        for (const { uid, online } of users) {
            const p = this.#presence.get(uid);
            if (p && p.online !== online) {
                p.online = online;
                this.emit('presence', { uid, online });
            }
        }
    }
}
