/*
 * tabs.test.js -- several tabs, one connection; whichever tab dies.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import { ImClient, memoryStore } from '../src/index.js';
import { TabHub } from '../src/tabs.js';
import { Clock, chance } from './clock.js';
import { Server, browser, environmentOf } from './world.js';

const PEERS = [{ with: '2' }, { with: '3' }];

class Tab {
    constructor(w) {
        this.page = w.open();
        this.shown = new Map();
        this.problems = [];
        const { clock, random, server } = w;
        const sockets = this.sockets = [];
        this.page.WebSocket = class extends server.socketClass() {
            constructor() {
                super();
                sockets.push(this);
            }
        };
        const im = this.im = new ImClient({
            url: 'http://x', store: w.store, tabs: 'me', tail: Infinity,
            env: environmentOf(clock, random, server, this.page) });
        im.on('message', ({ conversation: { key }, message: { seq } }) => {
            const seqs = this.shown.get(key) ?? [];
            this.shown.set(key, seqs);
            if (seqs.length && seqs.at(-1) >= seq) {
                this.problems.push(`${key}: ${seq} after ${seqs.at(-1)}`);
            }
            seqs.push(seq);
        });
        im.on('error', (e) => this.problems.push(e.code ?? e.stack));
    }

    // As a browser does it: without a word.
    die() {
        this.page.dead();
        for (const socket of this.sockets) {
            socket.onclose = null;
            socket.end(1006);
        }
        this.im.disconnect();
    }
}

function world(seed, faults) {
    const clock = new Clock();
    const random = chance(seed);
    const server = new Server(clock, random, faults);
    return { clock, random, server, store: memoryStore(),
             open: browser(clock) };
}

async function first(w) {
    const tab = new Tab(w);
    const login = tab.im.login({ name: '1', password: 'x' });
    await w.clock.run(60000, () => tab.im.state.name === 'online');
    await login;
    return tab;
}

async function more(w) {
    const tab = new Tab(w);
    const resume = tab.im.resume();
    await w.clock.run(50, () => false);
    assert.ok(await resume);
    return tab;
}

const online = (w, tabs) => w.clock.run(60000, () => tabs.every(
    (t) => t.im.state.name === 'online'));

test('three tabs have one connection, and all show all messages', async () => {
    const w = world(1);
    const a = await first(w);
    const tabs = [a, await more(w), await more(w)];
    assert.ok(await online(w, tabs));
    assert.equal(w.server.sockets.size, 1);

    w.server.accept('2', { to: '1', cmid: 'x', body: 'from outside' });
    const sent = tabs[1].im.conversation({ with: '2' }).send('from a tab');
    await w.clock.run(2000);
    await sent;
    for (const tab of tabs) {
        assert.deepEqual(tab.im.conversation({ with: '2' }).messages.map(
            (m) => m.body), ['from outside', 'from a tab']);
        assert.deepEqual(tab.problems, []);
    }
});

test('tabs together have four questions in flight', async () => {
    const w = world(7);
    const a = await first(w);
    const tabs = [a, await more(w), await more(w)];
    assert.ok(await online(w, tabs));
    const uids = Array.from({ length: 9 }, (_, n) => String(n + 2));
    uids.forEach((uid) => w.server.accept(uid, { to: '1', cmid: 'x',
                                                 body: 1 }));
    await w.clock.run(3000);
    tabs.forEach((tab) => uids.forEach(
        (uid) => tab.im.conversation({ with: uid }).read()));
    await w.clock.run(5000);
    uids.forEach((uid) => assert.equal(w.server.at(
        ['1', uid].sort().join(':')).reads.get('1'), 1));
    assert.deepEqual(w.server.violations, []);
});

test('when the leader dies another tab connects, and nothing is lost',
     async () => {
         const w = world(2);
         const a = await first(w);
         const b = await more(w);
         const c = await more(w);
         assert.ok(await online(w, [a, b, c]));
         const held = b.im.conversation({ with: '3' }).send('on its way');
         a.die();
         w.server.accept('2', { to: '1', cmid: 'x', body: 'meanwhile' });
         await w.clock.run(100);
         assert.ok(await online(w, [b, c]));
         assert.equal(w.server.sockets.size, 1);
         await held;
         for (const tab of [b, c]) {
             assert.deepEqual(tab.im.conversation({ with: '2' }).messages.map(
                 (m) => m.body), ['meanwhile']);
             assert.deepEqual(tab.im.conversation({ with: '3' }).messages.map(
                 (m) => m.body), ['on its way']);
         }
     });

test('a leader that does not answer is replaced', async () => {
    const w = world(3);
    const a = await first(w);
    const b = await more(w);
    assert.ok(await online(w, [a, b]));
    // Frozen: it holds its locks, and does nothing.
    a.page.tab.dead = true;
    a.im.disconnect = () => {};
    w.server.sockets.forEach((s) => s.end(1006));
    await w.clock.run(30000);
    w.server.accept('2', { to: '1', cmid: 'x', body: 'hello' });
    assert.ok(await w.clock.run(120000, () => b.im.conversation(
        { with: '2' }).messages.length === 1), JSON.stringify(b.im.state));
});

test('what a tab could not send is sent by another one', async () => {
    const w = world(4);
    const a = await first(w);
    const b = await more(w);
    assert.ok(await online(w, [a, b]));
    w.server.down = true;
    w.server.sockets.forEach((s) => s.end(1006));
    b.im.conversation({ with: '2' }).send('written without a network');
    await w.clock.run(1000);
    b.die();
    w.server.down = false;
    assert.ok(await w.clock.run(60000, () => w.server.accepted('1:2').length
                                === 1));
    await w.clock.run(5000);
    assert.deepEqual(w.server.accepted('1:2').map((m) => m.body),
                     ['written without a network']);
});

test('a live room is left when the last tab has left it', async () => {
    const w = world(5);
    const a = await first(w);
    const b = await more(w);
    assert.ok(await online(w, [a, b]));
    const joins = Promise.all([a.im.joinRoom('77'), b.im.joinRoom('77')]);
    await w.clock.run(1000);
    await joins;
    const [x] = [a.im.leaveRoom('77')];
    await w.clock.run(1000);
    await x;
    w.server.accept('9', { room: '77', cmid: 'x', body: 'still there' });
    await w.clock.run(1000);
    assert.deepEqual(b.im.conversation({ room: '77' }).messages.map(
        (m) => m.body), ['still there']);
    b.die();
    await w.clock.run(1000);
    assert.equal(w.server.live.get('77').size, 0);
});

test('a tab that nobody is logged in takes no messages of others', async () => {
    const w = world(9);
    const a = await first(w);
    const b = await more(w);
    assert.ok(await online(w, [a, b]));
    w.server.sockets.forEach((s) => s.end(4101));
    await w.clock.run(1000);
    assert.equal(a.im.state.name, 'ended');
    const login = b.im.login({ name: '1', password: 'x' });
    await w.clock.run(5000);
    await login;
    assert.ok(await online(w, [b]));
    w.server.down = true;
    w.server.sockets.forEach((s) => s.end(1006));
    b.im.conversation({ with: '2' }).send('precious').catch(() => {});
    await w.clock.run(100);
    b.die();
    await w.clock.run(1000);
    w.server.down = false;
    const c = await more(w);
    assert.ok(await online(w, [c]));
    await w.clock.run(5000);
    assert.deepEqual(w.server.accepted('1:2').map((m) => m.body),
                     ['precious']);
});

test('a tab that logs in again sends what it could not', async () => {
    const w = world(10);
    const a = await first(w);
    assert.ok(await online(w, [a]));
    const [socket] = w.server.sockets;
    socket.send = () => {};
    a.im.conversation({ with: '2' }).send('precious').catch(() => {});
    await w.clock.run(100);
    socket.end(4101);
    await w.clock.run(1000);
    const login = a.im.login({ name: '1', password: 'x' });
    assert.ok(await online(w, [a]));
    await login;
    await w.clock.run(1000);
    assert.deepEqual(w.server.accepted('1:2').map((m) => m.body),
                     ['precious']);
});

test('a second leave of a live room does not reach the server', async () => {
    const w = world(8);
    const a = await first(w);
    const hub = new TabHub('me', environmentOf(
        w.clock, w.random, w.server, w.open()), 'raw', 'x');
    const begin = hub.start();
    await w.clock.run(10);
    await begin;
    const types = [];
    const socket = new (hub.socketClass())();
    socket.onmessage = ({ data }) => types.push(JSON.parse(data).type);
    for (const frame of [{ type: 'auth', token: [...w.server.tokens][0] },
                         { type: 'join', id: '1', room: '77' },
                         { type: 'leave', id: '2', room: '77' },
                         { type: 'leave', id: '3', room: '77' }]) {
        socket.send(JSON.stringify(frame));
        await w.clock.run(1000);
    }
    assert.deepEqual(types, ['auth_ok', 'join_res', 'leave_res', 'leave_res']);
    assert.deepEqual(w.server.violations, []);
    await hub.close();
    await a.im.close();
});

test('tabs come and die in random histories', async () => {
    for (let seed = 1; seed <= Number(process.env.HISTORIES ?? 200); seed++) {
        const w = world(seed, { lose: 0.1, double: 0.1, late: 0.2,
                                refuse: 0.05, spoil: 0.1, cut: 0.01 });
        const tabs = [await first(w)];
        const sent = [];
        let count = 0;
        for (let n = 0; n < 20; n++) {
            await w.clock.run(w.random() * 400);
            const dice = w.random();
            const peer = PEERS[Math.floor(w.random() * 2)];
            const tab = tabs[Math.floor(w.random() * tabs.length)];
            if (dice < 0.2 && tabs.length < 4) {
                tabs.push(await more(w));
            } else if (dice < 0.3 && tabs.length > 1) {
                tabs.splice(tabs.indexOf(tab), 1);
                tab.die();
            } else if (dice < 0.6) {
                w.server.accept(peer.with, { to: '1', cmid: `o${++count}`,
                                             body: count });
            } else {
                sent.push([peer, ++count]);
                tab.im.conversation(peer).send(count).catch(() => {});
            }
        }
        Object.keys(w.server.faults).forEach((f) => {
            w.server.faults[f] = 0;
        });
        const settled = () => tabs.every((t) => t.im.state.name === 'online'
            && PEERS.every((p) => !t.im.conversation(p).outgoing.length
                           && !t.im.conversation(p).hasGap));
        assert.ok(await w.clock.run(120000, settled), `seed ${seed}: `
                  + JSON.stringify(tabs.map((t) => [t.im.state.name, PEERS.map(
                      (p) => {
                          const { cursor, head, live, outgoing }
                              = t.im.conversation(p);
                          return { cursor, head, live, outgoing };
                      })])));
        await w.clock.run(20000);
        assert.ok(w.server.sockets.size === 1, `seed ${seed}`);
        assert.deepEqual(w.server.violations, [], `seed ${seed}`);
        for (const peer of PEERS) {
            const all = w.server.accepted(`1:${peer.with}`);
            for (const [p, body] of sent) {
                assert.equal(p !== peer || all.filter(
                    (m) => m.body === body).length, p !== peer || 1,
                             `seed ${seed}: ${body}`);
            }
            for (const tab of tabs) {
                const c = tab.im.conversation(peer);
                const seqs = c.messages.map((m) => m.seq);
                assert.deepEqual(seqs, all.map((m) => m.seq).filter(
                    (s) => s > c.base), `seed ${seed}`);
                assert.deepEqual(tab.problems, [], `seed ${seed}`);
            }
        }
    }
});

test('a tab of another user ends, and writes nothing into the store of the new '
     + 'one', async () => {
    const w = world(6);
    const a = await first(w);
    const c = await more(w);
    assert.ok(await online(w, [a, c]));
    w.server.accept('3', { to: '1', cmid: 'x', body: 'a secret' });
    await w.clock.run(2000);
    const old = a.im.conversation({ with: '3' });
    assert.equal((await w.store.conversations()).length, 1);
    assert.equal((await w.store.page('u3', 9, 0, 9)).length, 1);
    w.server.groups.set('5', new Set(['1']));
    // On their way while the other one logs in, and after that.
    const late = [a.im.lookUp({ uids: ['3'] }), a.im.rooms()];
    old.send('never answered').catch(() => {});
    // A tab that is too slow to end its part of the connection.
    c.im.disconnect = () => {};

    const b = new Tab(w);
    const login = b.im.login({ name: '2', password: 'x' });
    await w.clock.run(5000);
    await login;
    await Promise.allSettled(late);
    old.read();
    old.send('too late').catch(() => {});
    old.trim(0);
    await w.clock.run(5000);
    assert.deepEqual([a.im.state.name, a.im.state.reason],
                     ['ended', 'other_user']);
    assert.deepEqual([a.im.uid, c.im.uid], [null, null]);
    assert.ok(await online(w, [b]));
    assert.equal(b.im.uid, '2');
    assert.deepEqual([...w.server.sockets].map((s) => s.uid), ['2']);

    assert.equal((await w.store.get('session')).uid, '2');
    assert.equal(await w.store.get('owner'), '2');
    assert.deepEqual(await w.store.conversations(), []);
    assert.deepEqual(await w.store.outbox(), []);
    assert.deepEqual(await w.store.page('u3', 9, 0, 9), []);
    assert.deepEqual((await w.store.get('users') ?? []).filter(
        ([uid]) => uid !== '2'), []);
    assert.deepEqual(await w.store.get('rooms') ?? [], []);
});
