/*
 * http.js -- the session of a user: tokens, their renewal, and HTTP requests.
 *
 * A refresh token is good for one use (docs/protocol.md, POST /v1/refresh): the
 * new one is stored before anything else happens, and several tabs renew under
 * one Web Lock and look first whether another one has done so.
 */

import { Problem, newId } from './util.js';

const ANSWER_MS = 10000;
const EARLY_MS = 30000;        // renewed this long before the token expires
const TRIES = 4;
const REFRESH_MS = 2500;       // the server repeats the answer of a refresh,
const REFRESHES_MS = 7500;     // but only for 10 s, with one try on its way

export class Session {
    #env;
    #url;
    #store;
    #renewal = null;
    #tokens = null;

    constructor(env, url, store) {
        this.#env = env;
        this.#url = url;
        this.#store = store;
        this.onEnd = () => {};
    }

    get uid() {
        return this.#tokens?.uid ?? null;
    }

    get name() {
        return this.#tokens?.name ?? '';
    }

    // Whether an earlier log-in is stored.
    async load() {
        this.#tokens = await this.#store.get('session') ?? null;
        return this.#tokens !== null;
    }

    async login(name, password, device) {
        const body = device ? { name, password, device } : { name, password };
        const r = await this.#retried('POST', '/v1/login', { body });
        await this.#keep(r, name, newId());
    }

    async #keep(r, name, login) {
        this.#tokens = {
            uid: r.uid,
            name,
            login,             // the same for all tabs, until it ends
            access: r.access_token,
            refresh: r.refresh_token,
            expires: this.#env.now() + r.expires_in * 1000,
        };
        await this.#store.set('session', this.#tokens);
    }

    // Here only: another tab goes on with another user.
    drop() {
        this.#tokens = null;
    }

    async forget() {
        const old = this.#tokens;
        this.#tokens = null;
        const stored = await this.#store.get('session');
        if (stored && stored.login === old?.login) {
            await this.#store.set('session', undefined);
        }
    }

    // A valid access token.
    async token() {
        if (!this.#tokens) {
            throw new Problem('unauthorized', 'nobody is logged in');
        }
        if (this.#tokens.expires - EARLY_MS < this.#env.now()) {
            this.#renewal ??= this.#renew().finally(() => {
                this.#renewal = null;
            });
            await this.#renewal;
        }
        return this.#tokens.access;
    }

    // The server has refused this token.
    expire(token) {
        if (this.#tokens?.access === token) {
            this.#tokens.expires = 0;
        }
    }

    #renew() {
        const locks = this.#env.locks;
        return locks ? locks.request('im-refresh-' + this.#url,
                                     () => this.#renewAlone())
            : this.#renewAlone();
    }

    async #renewAlone() {
        const old = this.#tokens;
        const stored = await this.#store.get('session');
        if (stored && stored.access !== old.access
            && stored.login === old.login) {
            this.#tokens = stored;
            if (stored.expires - EARLY_MS > this.#env.now()) {
                return;
            }
        }
        try {
            await this.#keep(await this.#refresh(this.#tokens.refresh),
                             old.name, old.login);
        } catch (e) {
            if (e.status === 401) {
                await this.forget();
                this.onEnd(e.code);
            }
            throw e;
        }
    }

    // A lost answer is asked for again while the server still gives it; later
    // the token would count as stolen.
    async #refresh(token) {
        const end = this.#env.now() + REFRESHES_MS;
        for (let tries = 1; ; tries++) {
            try {
                return await this.#once('POST', '/v1/refresh', {
                    body: { refresh_token: token }, ms: REFRESH_MS });
            } catch (e) {
                const ms = this.#pause(e, tries);
                if (!e.retryable || this.#env.now() + ms > end) {
                    throw e;
                }
                await this.sleep(ms);
            }
        }
    }

    #pause(e, tries) {
        return Math.max(e.retryAfterMs, 200 * 2 ** tries)
            * (1 + this.#env.random() / 4);
    }

    sleep(ms) {
        return new Promise((resolve) => {
            this.#env.setTimeout(resolve, ms);
        });
    }

    // A request with the token of the session.  What was refused for a while is
    // tried again, unless a repeat would do something twice (`once`).
    async request(method, path, { body, once } = {}) {
        let token = await this.token();
        try {
            return await this.#retried(method, path, { body, token, once });
        } catch (e) {
            if (e.code !== 'token_expired') {
                throw e;
            }
            this.expire(token);
            token = await this.token();
            return this.#retried(method, path, { body, token, once });
        }
    }

    async #retried(method, path, options) {
        for (let tries = 1; ; tries++) {
            try {
                return await this.#once(method, path, options);
            } catch (e) {
                if (!e.retryable || options.once || tries >= TRIES) {
                    throw e;
                }
                await this.sleep(this.#pause(e, tries));
            }
        }
    }

    register(name, password) {
        return this.#retried('POST', '/v1/register', {
            body: { name, password } });
    }

    // Why a WebSocket was not accepted: browsers do not tell.  'network' if
    // nobody answers.
    async probe(token) {
        try {
            await this.#once('GET', '/v1/auth', { token });
            return { kind: 'answered' };
        } catch (e) {
            return { kind: e.status === 401 ? 'token'
                : e.status ? 'answered' : 'network',
                     retryAfterMs: e.retryAfterMs };
        }
    }

    async #once(method, path, { body, token, ms = ANSWER_MS } = {}) {
        const headers = {};
        if (body !== undefined) {
            headers['Content-Type'] = 'application/json';
        }
        if (token) {
            headers.Authorization = 'Bearer ' + token;
        }
        const abort = new AbortController();
        const timer = this.#env.setTimeout(() => abort.abort(), ms);
        let r;
        let text;
        try {
            r = await this.#env.fetch(this.#url + path, {
                method, headers, signal: abort.signal, credentials: 'omit',
                body: body === undefined ? undefined : JSON.stringify(body),
            });
            text = await r.text();
        } catch (e) {
            throw new Problem('network', e.message, { retryable: true });
        } finally {
            this.#env.clearTimeout(timer);
        }
        let answer;
        try {
            answer = text ? JSON.parse(text) : {};
        } catch {
            answer = null;
        }
        if (r.ok && answer) {
            return answer;
        }
        const status = r.ok ? 502 : r.status;
        throw new Problem(answer?.code || 'http_' + status,
                          answer?.detail || 'HTTP ' + status, {
            status,
            retryable: answer?.retryable ?? (status === 429 || status > 501),
            retryAfterMs: 1000 * (Number(r.headers.get('Retry-After')) || 0),
        });
    }
}
