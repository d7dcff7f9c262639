/*
 * util.js -- events, refusals and the clock that all other files share.
 *
 * Everything that depends on the machine (time, chance, sockets) comes from one
 * `env` object, so that tests can run thousands of histories in virtual time.
 */

export class Problem extends Error {
    // `code` is that of docs/protocol.md; `status` is HTTP's, 0 for a frame and
    // if there was no answer.
    constructor(code, message, more = {}) {
        super(message || code);
        this.name = 'Problem';
        this.code = code;
        this.status = more.status || 0;
        this.retryable = Boolean(more.retryable);
        this.retryAfterMs = more.retryAfterMs || 0;
    }
}

// The connection ended before there was an answer.
export class Gone extends Problem {
    constructor() {
        super('gone', 'the connection ended');
        this.retryable = true;
    }
}

export class Emitter {
    #listeners = new Map();

    // Returns a function that removes the listener again.
    on(event, listener) {
        let set = this.#listeners.get(event);
        if (!set) {
            this.#listeners.set(event, set = new Set());
        }
        set.add(listener);
        return () => this.off(event, listener);
    }

    off(event, listener) {
        this.#listeners.get(event)?.delete(listener);
    }

    hasListeners(event) {
        return Boolean(this.#listeners.get(event)?.size);
    }

    once(event) {
        return new Promise((resolve) => {
            const off = this.on(event, (value) => {
                off();
                resolve(value);
            });
        });
    }

    emit(event, value) {
        for (const listener of [...this.#listeners.get(event) ?? []]) {
            try {
                listener(value);
            } catch (e) {
                // An error of the application must not stop the client.
                queueMicrotask(() => {
                    throw e;
                });
            }
        }
    }

    // for await (const m of im.events('message')) ...  Values that come before
    // the loop asks for them wait; leaving the loop removes the listener.
    events(event) {
        const values = [];
        let wake = null;
        let ended = false;
        const off = this.on(event, (value) => {
            values.push(value);
            wake?.();
        });
        return {
            async next() {
                while (!values.length && !ended) {
                    await new Promise((resolve) => {
                        wake = resolve;
                    });
                }
                return values.length ? { value: values.shift(), done: false }
                    : { value: undefined, done: true };
            },
            async return() {
                ended = true;
                off();
                wake?.();
                return { value: undefined, done: true };
            },
            [Symbol.asyncIterator]() {
                return this;
            },
        };
    }
}

export function environment(given = {}) {
    const g = globalThis;
    return {
        now: () => Date.now(),
        setTimeout: (f, ms) => g.setTimeout(f, ms),
        clearTimeout: (t) => g.clearTimeout(t),
        random: Math.random,
        fetch: g.fetch?.bind(g),
        WebSocket: g.WebSocket,
        locks: g.navigator?.locks,
        BroadcastChannel: g.BroadcastChannel,
        ...given,
    };
}

// 128 random bits: an id of a message that nobody has used, of a tab, ...  It
// is no secret; node 18 has no global crypto.
export function newId() {
    const bytes = new Uint8Array(16);
    if (globalThis.crypto) {
        globalThis.crypto.getRandomValues(bytes);
    } else {
        bytes.forEach((_, n) => {
            bytes[n] = Math.random() * 256;
        });
    }
    return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}

// How long to wait before something that was refused is tried again: as long as
// the server wants, then twice as long each time, up to 2.5 s, with some
// randomness (docs/protocol.md, Retries, 4).
export function pauseMs(env, leastMs, times) {
    const least = leastMs || 100;
    const pause = least * 2 ** Math.min(times, 20) * (1 + env.random() / 4);
    return Math.max(least, Math.min(pause, 2500 * (0.75 + env.random() / 4)));
}

// seq and time are whole numbers far below 2^53; ids of users, rooms and
// messages are not, and stay strings.
export function toMessage(f) {
    return {
        seq: Number(f.seq),
        id: f.msg_id,
        from: f.from,
        time: Number(f.time_ms || 0),
        cmid: f.cmid || '',
        body: f.body,
    };
}

// 'u7' is the conversation with user 7, 'r9' is room 9.
export function keyOf(f, me) {
    if (f.room && f.room !== '0') {
        return 'r' + f.room;
    }
    const other = f.with ?? (f.from === undefined || f.from === me ? f.to
        : f.from);
    return 'u' + other;
}

export function address(key, name = 'with') {
    return key[0] === 'r' ? { room: key.slice(1) } : { [name]: key.slice(1) };
}
