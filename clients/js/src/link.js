/*
 * link.js -- one connection after another, and the questions on it.
 *
 * The token goes into the first frame (`auth`): a browser can set no header,
 * and does not tell why a handshake was refused, but it does tell close code
 * 4100.
 *
 *     connect -> auth -> auth_ok ... close -> pause by its code -> connect
 *
 * Rules: docs/protocol.md, Coming back, Close codes, Questions, Keeping alive.
 */

import { Gone, Problem, pauseMs } from './util.js';

const ANSWER_MS = 10000;       // then a question is asked again
const QUIET_MS = 20000;        // then we ask whether the server is still there
const PAUSE_MAX_MS = 30000;    // between two tries, if nobody answers
const RETRY_MAX_MS = 2500;     // if somebody does
const QUESTIONS_MAX = 4;       // in flight; the server refuses a fifth

// 'soon' or 'later' connect again, 'refresh' the token first, or 'stop'.
export function verdict(code) {
    if (code === 4004) {
        return 'later';
    }
    if (code >= 4000 && code < 4100) {
        return 'soon';
    }
    if (code === 4100) {
        return 'refresh';
    }
    if ([1002, 1003, 1007, 1009].includes(code)
        || code > 4100 && code < 4200) {
        return 'stop';
    }
    return 'later';
}

export class Link {
    #env;
    #url;
    #session;
    #on;
    #ws = null;
    #cut = null;
    #turn = 0;                 // of run(); a later one ends an earlier one
    #wake = null;
    #questions = new Set();    // without an answer
    #asked = new Map();        // id -> question
    #flying = 0;               // of these, asked less than 10 s ago
    #waiting = [];             // for a place among them
    #ids = 0;

    // on: state(name, more), open(auth_ok), frame(f), down(code), stop(code)
    constructor(env, url, session, on) {
        this.#env = env;
        this.#url = url;
        this.#session = session;
        this.#on = on;
        this.there = false;
        this.good = false;     // the owner sets it when it has caught up
        this.generation = 0;
    }

    start() {
        if (this.#turn % 2 === 0) {
            this.#turn++;
            this.#run(this.#turn);
        } else {
            this.wake();
        }
    }

    stop() {
        if (this.#turn % 2 === 1) {
            this.#turn++;
            this.#cut?.(1000);
            this.#wake?.(true);
        }
    }

    // Try at once: the network is back, or the user has come back.  A pause
    // that the server has demanded is kept.
    wake() {
        this.#wake?.(false);
    }

    // The connection is useless: begin a new one.
    cut() {
        this.#cut?.(1006);
    }

    put(frame) {
        this.#ws.send(JSON.stringify(frame));
    }

    async #run(turn) {
        let pause = 0;
        while (turn === this.#turn) {
            this.#on.state('connecting');
            this.good = false;
            const next = await this.#once(turn);
            if (turn !== this.#turn) {
                return;
            }
            if (next.what === 'stop') {
                this.#turn++;
                this.#on.stop(next.code);
                return;
            }
            let ms;
            if (next.what === 'soon') {
                ms = this.#env.random() * 1000;
            } else {
                pause = this.good ? 0 : pause;
                pause = Math.min(Math.max(2 * pause, 100),
                                 next.most ?? PAUSE_MAX_MS);
                ms = Math.max(next.least ?? 0,
                              pause * (0.5 + this.#env.random() / 2));
            }
            this.#on.state('waiting', { retryAt: this.#env.now() + ms });
            await this.#rest(ms, next.least ?? 0);
        }
    }

    #rest(ms, least) {
        const env = this.#env;
        const end = env.now() + least;
        return new Promise((resolve) => {
            let timer = env.setTimeout(resolve, ms);
            this.#wake = (isOver) => {
                env.clearTimeout(timer);
                const left = end - env.now();
                if (isOver || left <= 0) {
                    resolve();
                } else {
                    timer = env.setTimeout(resolve, left);
                }
            };
        }).then(() => {
            this.#wake = null;
        });
    }

    async #once(turn) {
        let token;
        try {
            token = await this.#session.token();
        } catch (e) {
            return e.status === 401 || e.code === 'unauthorized'
                ? { what: 'stop', code: 4100 }
                : { what: 'later', least: e.retryAfterMs,
                    most: e.status ? RETRY_MAX_MS : PAUSE_MAX_MS };
        }
        if (turn !== this.#turn) {
            return {};         // it was stopped, and may have begun anew
        }
        const { code, opened } = await this.#connection(token);
        const what = verdict(code);
        if (what === 'refresh') {
            this.#session.expire(token);
            return { what: 'later', most: RETRY_MAX_MS };
        }
        if (what === 'later' && !opened && turn === this.#turn) {
            const why = await this.#session.probe(token);
            if (why.kind === 'token') {
                this.#session.expire(token);
            }
            return { what, least: why.retryAfterMs,
                     most: why.kind === 'network' ? PAUSE_MAX_MS
                         : RETRY_MAX_MS };
        }
        return { what, code };
    }

    // From the handshake to the end.
    #connection(token) {
        return new Promise((resolve) => {
            const env = this.#env;
            let ws;
            let opened = false;
            let timer;
            const finish = (code) => {
                if (!ws || this.#ws !== ws) {
                    return;
                }
                this.#cut = null;
                this.#ws = null;
                env.clearTimeout(timer);
                ws.onopen = ws.onmessage = ws.onclose = null;
                this.#down(code);
                resolve({ code, opened });
            };
            const quiet = (ms) => {
                env.clearTimeout(timer);
                timer = env.setTimeout(() => {
                    if (ms === ANSWER_MS) {
                        this.cut();
                        return;
                    }
                    this.put({ type: 'ping' });
                    quiet(ANSWER_MS);
                }, ms);
            };
            this.#cut = (code) => {
                const end = ws;
                finish(code);
                try {
                    end.close(1000);
                } catch {
                    // It was not open yet.
                }
            };
            ws = new env.WebSocket(this.#url, ['im.v1.json']);
            this.#ws = ws;
            quiet(ANSWER_MS);
            ws.onopen = () => this.put({ type: 'auth', token });
            ws.onerror = () => {};     // a close follows
            ws.onclose = (e) => finish(e.code);
            ws.onmessage = (e) => {
                quiet(opened ? QUIET_MS : ANSWER_MS);
                const f = JSON.parse(e.data);
                if (f.type === 'auth_ok') {
                    if (opened) {
                        return;
                    }
                    opened = this.there = true;
                    this.generation++;
                    quiet(QUIET_MS);
                    this.#on.open(f);
                } else if (!this.#answer(f)) {
                    this.#on.frame(f);
                }
            };
        });
    }

    #down(code) {
        const was = this.there;
        this.there = false;
        for (const q of this.#questions) {
            this.#env.clearTimeout(q.timer);
            q.reject(new Gone());
        }
        this.#questions.clear();
        this.#asked.clear();
        this.#flying = 0;
        this.#waiting = [];
        if (was) {
            this.#on.down(code);
        }
    }

    // The answer to a question; Gone when the connection ends, Problem if it is
    // refused for good.  With `once` it is not asked again without an answer.
    async ask(type, args, once = false) {
        const generation = this.generation;
        const f = await new Promise((resolve, reject) => {
            if (!this.there) {
                reject(new Gone());
                return;
            }
            const q = { type, args, once, resolve, reject, times: 0, ids: [],
                        isFlying: false };
            this.#questions.add(q);
            this.#waiting.push(q);
            this.#pump();
        });
        if (generation !== this.generation || !this.there) {
            throw new Gone();  // the answer was the last that came
        }
        return f;
    }

    #pump() {
        while (this.there && this.#waiting.length
               && this.#flying < QUESTIONS_MAX) {
            const q = this.#waiting.shift();
            const id = String(++this.#ids);
            q.ids.push(id);
            q.isFlying = true;
            this.#flying++;
            this.#asked.set(id, q);
            // It is asked again then, and the first answer counts: a device
            // that is slow itself would never take any otherwise.
            q.timer = this.#env.setTimeout(() => {
                this.#landed(q);
                if (!q.once) {
                    this.#waiting.push(q);
                }
                this.#pump();
            }, ANSWER_MS);
            this.put({ type: q.type, id, ...q.args });
        }
    }

    #landed(q) {
        if (q.isFlying) {
            q.isFlying = false;
            this.#flying--;
        }
    }

    #answer(f) {
        const q = this.#asked.get(f.id);
        if (!q || f.type === 'pong') {
            return q !== undefined;
        }
        q.ids.splice(0).forEach((id) => this.#asked.delete(id));
        this.#env.clearTimeout(q.timer);
        this.#landed(q);
        this.#waiting = this.#waiting.filter((other) => other !== q);
        if (f.type !== 'error') {
            this.#questions.delete(q);
            q.resolve(f);
        } else if (f.retryable) {
            q.timer = this.#env.setTimeout(() => {
                this.#waiting.push(q);
                this.#pump();
            }, pauseMs(this.#env, f.retry_after_ms, q.times++));
        } else {
            this.#questions.delete(q);
            q.reject(new Problem(f.code, f.message));
        }
        this.#pump();
        return true;
    }
}
