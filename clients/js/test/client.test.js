/*
 * client.test.js -- single rules of docs/protocol.md, one by one.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import { ImClient, memoryStore } from '../src/index.js';
import { verdict } from '../src/link.js';
import { unite } from '../src/store.js';
import { pauseMs } from '../src/util.js';
import { Clock, chance } from './clock.js';
import { Server, environmentOf } from './world.js';

async function start(options = {}) {
    const clock = new Clock();
    const random = chance(options.seed ?? 1);
    const server = new Server(clock, random);
    const store = memoryStore();
    const im = new ImClient({ url: 'http://x', store, ...options,
                              env: environmentOf(clock, random, server) });
    const login = im.login({ name: '1', password: 'x' });
    await clock.run(5000, () => im.state.name === 'online');
    await login;
    const world = { clock, random, server, store, im };
    // Runs until the promise has its value.
    world.get = async (promise, ms = 60000) => {
        let ended = false;
        const end = () => {
            ended = true;
        };
        promise.then(end, end);
        await clock.run(ms, () => ended);
        return promise;
    };
    return world;
}

const bob = { with: '2' };

test('close codes: what is done after each', () => {
    const table = { 4001: 'soon', 4002: 'soon', 4003: 'soon', 4004: 'later',
                    4100: 'refresh', 4101: 'stop', 4102: 'stop',
                    1002: 'stop', 1003: 'stop', 1007: 'stop', 1009: 'stop',
                    1000: 'later', 1001: 'later', 1005: 'later',
                    1006: 'later', 4099: 'soon', 4199: 'stop' };
    for (const [code, want] of Object.entries(table)) {
        assert.equal(verdict(Number(code)), want, code);
    }
});

test('a pause is as long as the server wants, and grows up to 2.5 s', () => {
    const env = { random: () => 0.5 };
    assert.ok(pauseMs(env, 1000, 0) >= 1000);
    assert.ok(pauseMs(env, 7000, 3) >= 7000);
    for (let times = 0; times < 40; times++) {
        assert.ok(pauseMs(env, 100, times) <= 2500);
    }
    assert.ok(pauseMs(env, 100, 10) > 1800);
});

test('an ended session is not tried again; a replaced device comes back only '
     + 'when it is asked to', async () => {
    const { im, clock, server } = await start();
    server.sockets.forEach((s) => s.end(4102));
    await clock.run(60000);
    assert.deepEqual([im.state.name, im.state.reason], ['ended', 'replaced']);
    im.connect();
    await clock.run(5000);
    assert.equal(im.state.name, 'online');
    server.sockets.forEach((s) => s.end(4101));
    await clock.run(60000);
    assert.deepEqual([im.state.name, im.state.reason],
                     ['ended', 'session_revoked']);
    assert.equal(server.sockets.size, 0);
    assert.throws(() => im.connect(), { code: 'unauthorized' });
});

test('an expired token is renewed once, and the connection goes on',
     async () => {
         const { im, clock, server } = await start();
         server.tokens.clear();
         server.sockets.forEach((s) => s.end(4001));
         assert.ok(await clock.run(10000, () => server.refreshes === 1));
         assert.ok(await clock.run(10000, () => im.state.name === 'online'));
         // And before it expires by the clock.
         await clock.run(900000);
         server.sockets.forEach((s) => s.end(4001));
         await clock.run(10000);
         assert.equal(im.state.name, 'online');
         assert.equal(server.refreshes, 2);
         assert.deepEqual(server.violations, []);
     });

test('a message whose ack was lost is not doubled after five minutes',
     async () => {
         for (let seed = 1; seed < 30; seed++) {
             const { im, clock, server } = await start({ seed });
             // Accepted, and the network fails before the ack.
             server.faults.cut = 1;
             im.conversation(bob).send('precious').catch(() => {});
             await clock.run(100);
             server.faults.cut = 0;
             server.down = true;
             await clock.run(400000);
             server.down = false;
             assert.ok(await clock.run(60000, () => !im.conversation(bob)
                 .outgoing.length && im.state.name === 'online'));
             await clock.run(20000);
             assert.deepEqual(server.accepted('1:2').map((m) => m.body),
                              ['precious'], `seed ${seed}`);
             assert.deepEqual(im.conversation(bob).messages.map((m) => m.body),
                              ['precious'], `seed ${seed}`);
         }
     });

test('a refused message can be sent again or forgotten', async () => {
    const { im, clock, server, get } = await start();
    const c = im.conversation({ room: '5' });
    await assert.rejects(get(c.send('x')), { code: 'not_member' });
    assert.equal(c.outgoing.length, 1);
    assert.equal(c.outgoing[0].error, 'not_member');
    server.groups.set('5', new Set(['1']));
    await get(im.resend(c.outgoing[0].cmid));
    assert.deepEqual(server.accepted('r5').map((m) => m.body), ['x']);
    assert.equal(c.outgoing.length, 0);
    server.groups.clear();
    await assert.rejects(get(c.send('y')), { code: 'not_member' });
    im.discard(c.outgoing[0].cmid);
    assert.equal(c.outgoing.length, 0);
    await clock.run(1000);
    assert.deepEqual(await im.store.outbox(), []);
});

test('too large a message is refused here, and not by the connection',
     async () => {
         const { im, server } = await start();
         await assert.rejects(im.conversation(bob).send('x'.repeat(65536)),
                              { code: 'too_large' });
         assert.equal(server.sockets.size, 1);
     });

test('a live room without history passes over what was missed', async () => {
    const { im, clock, server, get } = await start();
    const c = await get(im.createRoom({ kind: 'live', name: 'x',
                                        history: false }));
    const say = (n) => server.accept('2', { room: '88', cmid: `c${n}`,
                                            body: n });
    say(1);
    await clock.run(500);
    server.faults.lose = 1;
    server.random = () => 0.99999;     // a push that is just gone
    say(2);
    server.random = chance(1);
    server.faults.lose = 0;
    say(3);
    await clock.run(1000);
    assert.deepEqual(c.messages.map((m) => m.body), [1, 3]);
    server.sockets.forEach((s) => s.end(4001));
    say(4);
    await clock.run(5000);
    say(5);
    await clock.run(1000);
    assert.deepEqual(c.messages.map((m) => m.body), [1, 3, 5]);
});

test('read marks reach the server, also after a time without it', async () => {
    const { im, clock, server } = await start();
    for (let n = 0; n < 3; n++) {
        server.accept('2', { to: '1', cmid: `c${n}`, body: n });
    }
    await clock.run(2000);
    const c = im.conversation(bob);
    assert.equal(c.unread, 3);
    server.down = true;
    server.sockets.forEach((s) => s.end(1006));
    c.read();
    assert.equal(c.unread, 0);
    await clock.run(3000);
    server.down = false;
    await clock.run(40000);
    assert.equal(server.at('1:2').reads.get('1'), 3);
    assert.equal(c.unread, 0);
});

test('at most four questions are in flight', async () => {
    const { im, clock, server } = await start();
    const uids = Array.from({ length: 12 }, (_, n) => String(n + 2));
    uids.forEach((uid) => server.accept(uid, { to: '1', cmid: 'x', body: 1 }));
    await clock.run(3000);
    uids.forEach((uid) => im.conversation({ with: uid }).read());
    await clock.run(5000);
    uids.forEach((uid) => assert.equal(server.at(
        ['1', uid].sort().join(':')).reads.get('1'), 1));
    assert.deepEqual(server.violations, []);
});

test('an answer that comes late is taken, and the question is not lost',
     async () => {
         const { im, clock, server, get } = await start();
         // Each answer to a question takes 15 s.
         server.delay = (max = 20) => max === 40 ? 15000
             : server.random() * max;
         const begin = clock.now;
         const c = await get(im.joinRoom('77'));
         assert.equal(c.kind, 'live');
         assert.ok(clock.now - begin < 32000, `${clock.now - begin} ms`);
     });

test('requests that find an expired token renew it once', async () => {
    const { im, clock, server, get } = await start();
    await clock.run(900000);
    await get(Promise.all([1, 2, 3].map(() => im.request('GET', '/v1/me'))));
    assert.equal(server.refreshes, 1);
    assert.deepEqual(server.violations, []);
});

test('what is dropped while the client syncs is fetched', async () => {
    for (let ms = 0; ms < 200; ms += 4) {
        const { im, clock, server } = await start({ seed: ms + 1 });
        server.accept('2', { to: '1', cmid: 'a', body: 'a' });
        await clock.run(1000);
        server.sockets.forEach((s) => s.end(4001));
        await clock.run(5000, () => im.state.name === 'syncing');
        await clock.run(ms);
        const sockets = [...server.sockets];
        server.sockets.clear();
        server.accept('2', { to: '1', cmid: 'b', body: 'b' });
        sockets.forEach((s) => {
            server.sockets.add(s);
            s.down({ type: 'sync_needed' });
        });
        await clock.run(5000);
        assert.deepEqual(im.conversation(bob).messages.map((m) => m.body),
                         ['a', 'b'], `after ${ms} ms`);
    }
});

test('two tabs that write a record keep what both of them know', () => {
    const record = (low, cursor) => ({ low, cursor });
    assert.deepEqual(unite(undefined, record(0, 5)), record(0, 5));
    assert.deepEqual(unite(record(0, 10), record(3, 7)), record(0, 10));
    assert.deepEqual(unite(record(5, 10), record(10, 30)), record(5, 30));
    // They do not touch: the one that is further.
    assert.deepEqual(unite(record(0, 10), record(20, 30)), record(20, 30));
    assert.deepEqual(unite(record(20, 30), record(0, 10)), record(20, 30));
});

test('a conversation and an event can be read by for await', async () => {
    const { im, clock, server } = await start();
    const found = [];
    const reader = (async () => {
        for await (const m of im.conversation(bob)) {
            found.push(m.body);
            if (found.length === 3) {
                return;
            }
        }
    })();
    for (const body of ['a', 'b', 'c', 'd']) {
        server.accept('2', { to: '1', cmid: body, body });
        await clock.run(100);
    }
    await reader;
    assert.deepEqual(found, ['a', 'b', 'c']);
});

test('what nobody looks at does not stay in memory, and can be had again',
     async () => {
         const { im, clock, server, get } = await start();
         const c = im.conversation(bob);
         for (let n = 1; n <= 2300; n++) {
             server.accept('2', { to: '1', cmid: `c${n}`, body: n });
             if (n % 50 === 0) {
                 await clock.run(100);
             }
         }
         await clock.run(10000);
         assert.equal(c.cursor, 2300);
         assert.equal(c.unread, 2300);
         assert.ok(c.messages.length < 1000, `${c.messages.length}`);
         while (c.hasOlder) {
             await get(c.loadOlder(200));
         }
         assert.deepEqual(c.messages.map((m) => m.body),
                          Array.from({ length: 2300 }, (_, n) => n + 1));
     });

test('an error in a listener does not stop the client', async () => {
    const { im, clock, server } = await start();
    const errors = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (e) => errors.push(e.message));
    im.on('message', () => {
        throw new Error('of the application');
    });
    server.accept('2', { to: '1', cmid: 'a', body: 'a' });
    server.accept('2', { to: '1', cmid: 'b', body: 'b' });
    await clock.run(1000);
    process.removeAllListeners('uncaughtException');
    listeners.forEach((l) => process.on('uncaughtException', l));
    assert.deepEqual(im.conversation(bob).messages.map((m) => m.body),
                     ['a', 'b']);
    assert.deepEqual(errors, ['of the application', 'of the application']);
});

test('after a log-out the end of a subscription does no harm', async () => {
    const { im, clock, get, store } = await start();
    const off = im.watch(['2', '3']);
    im.conversation(bob).send('x');
    await clock.run(1000);
    await get(im.logout());
    off();
    off();
    // Nor does it end one of the next user.
    const login = im.login({ name: '4', password: 'x' });
    await clock.run(5000, () => im.state.name === 'online');
    await login;
    im.watch(['2']);
    off();
    await clock.run(1000);
    assert.equal(im.isOnline('2'), true);
    assert.deepEqual(await store.conversations(), []);
});

test('the next user of a page gets nothing of the one before', async () => {
    for (const how of ['logout', 'login', 'end']) {
        const { im, clock, server, get, store } = await start();
        await get(im.joinRoom('77'));
        server.accept('2', { to: '1', cmid: 'a', body: 'a' });
        await clock.run(1000);
        await get(im.lookUp({ uids: ['2'] }));
        im.conversation(bob).send('later').catch(() => {});
        im.conversation(bob).read();
        if (how === 'logout') {
            await get(im.logout());
        } else if (how === 'end') {
            server.sockets.forEach((s) => s.end(4101));
            await clock.run(1000);
        }
        await get(im.login({ name: '4', password: 'x' }));
        await clock.run(5000);
        assert.deepEqual([im.state.name, im.uid], ['online', '4'], how);
        assert.deepEqual([...server.sockets].map((s) => s.uid), ['4'], how);
        assert.deepEqual(im.conversations, [], how);
        assert.equal(im.room('77'), null, how);
        assert.equal(im.user('2'), null, how);
        assert.equal(server.live.get('77').size, 0, how);
        assert.equal(server.at('2:4').reads.size, 0, how);
        assert.deepEqual(await store.conversations(), [], how);
        assert.deepEqual(await store.outbox(), [], how);
        assert.deepEqual(await store.get('rooms'), undefined, how);
        assert.deepEqual((await store.get('users') ?? []).filter(
            ([uid]) => uid !== '4'), [], how);
    }
});

test('a role that was taken is not kept', async () => {
    const { im, server, get } = await start();
    const { http } = server;
    let more = { role: 'admin', muted_until_ms: '5' };
    server.http = (method, path, f, reply) => path === '/v1/rooms/9'
        ? reply(200, { room: '9', kind: 'group', ...more })
        : http.call(server, method, path, f, reply);
    assert.equal((await get(im.fetchRoom('9'))).role, 'admin');
    more = {};
    const room = await get(im.fetchRoom('9'));
    assert.deepEqual([room.role, room.muted_until_ms], [undefined, undefined]);
});

test('a change of the password is not repeated', async () => {
    const { im, server, get } = await start();
    let count = 0;
    const { http } = server;
    server.http = (method, path, f, reply) => path === '/v1/password'
        ? (count++, reply(503, { code: 'unavailable', retryable: true }))
        : http.call(server, method, path, f, reply);
    await assert.rejects(get(im.changePassword('old', 'new')),
                         { code: 'unavailable' });
    assert.equal(count, 1);
});

test('a live room is left once, and by nothing but a connection that is in it',
     async () => {
         const { im, clock, server, get } = await start();
         const isIn = () => server.live.get('77').size > 0;
         const leave = async (then) => {
             const c = await get(im.joinRoom('77'));
             await then();
             await get(im.leaveRoom('77'));
             assert.ok(c.gone);
             server.down = false;
             await clock.run(60000);
             assert.equal(im.state.name, 'online');
             assert.ok(!isIn());
             assert.deepEqual(server.violations, []);
         };
         // Without a connection.
         await leave(async () => {
             server.down = true;
             server.sockets.forEach((s) => s.end(1006));
         });
         // On a connection that is not in it yet.
         await leave(async () => {
             server.sockets.forEach((s) => s.end(4001));
             await clock.run(5000, () => im.state.name === 'syncing');
         });
         // The connection ends instead of an answer.
         await leave(async () => {
             server.faults.cut = 1;
             clock.setTimeout(() => {
                 server.faults.cut = 0;
             }, 200);
         });
         // The answer takes longer than the time until a repeat.
         const { delay } = server;
         await leave(async () => {
             server.delay = (max = 20) => max === 40 ? 15000
                 : server.random() * max;
         });
         server.delay = delay;
     });

test('an answer of refresh that was lost is asked for again in time',
     async () => {
         const { im, clock, server } = await start();
         const { fetch } = server;
         let count = 0;
         server.fetch = (url, options) => {
             const r = fetch.call(server, url, options);
             return !url.endsWith('/v1/refresh') || ++count > 2 ? r
                 : new Promise((_, reject) => {
                     options.signal.addEventListener(
                         'abort', () => reject(new Error('aborted')));
                 });
         };
         await clock.run(900000);
         server.sockets.forEach((s) => s.end(4001));
         await clock.run(60000);
         assert.equal(im.state.name, 'online');
         assert.equal(count, 3);
         assert.deepEqual(server.violations, []);
     });

test('connect, disconnect and connect at once make one connection',
     async () => {
         const { im, clock, server } = await start();
         im.disconnect();
         im.connect();
         im.disconnect();
         im.connect();
         await clock.run(5000);
         assert.equal(im.state.name, 'online');
         assert.equal(server.sockets.size, 1);
         server.sockets.forEach((s) => s.end(4001));
         await clock.run(5000);
         assert.equal(server.sockets.size, 1);
     });

test('a pause that the server has demanded is not cut short', async () => {
    const { im, clock, server } = await start();
    server.fetch = async () => ({
        ok: false, status: 503, text: async () => '{"retryable":true}',
        headers: new Map([['Retry-After', '20']]) });
    server.down = true;
    server.sockets.forEach((s) => s.end(4004));
    assert.ok(await clock.run(5000, () => im.state.name === 'waiting'
                              && im.state.retryAt > clock.now + 10000));
    const begin = clock.now;
    let again = 0;
    im.on('state', ({ name }) => {
        again ||= name === 'connecting' ? clock.now : 0;
    });
    for (let n = 0; n < 30 && !again; n++) {
        im.wake();
        await clock.run(1000, () => again);
    }
    assert.ok(again >= begin + 19900 && again < begin + 25000,
              `${again - begin} ms`);
    // But the user may end it.
    im.disconnect();
    im.connect();
    assert.equal(im.state.name, 'connecting');
});

test('what the server would not take is refused also if it was written before '
     + 'the server said so', async () => {
    const clock = new Clock();
    const random = chance(1);
    const server = new Server(clock, random);
    server.maxMessage = 4096;
    const im = new ImClient({ url: 'http://x',
                              env: environmentOf(clock, random, server) });
    const login = im.login({ name: '1', password: 'x' });
    await clock.run(100, () => im.uid !== null);
    const c = im.conversation(bob);
    const large = assert.rejects(c.send('x'.repeat(4090)),
                                 { code: 'too_large' });
    const small = c.send('small');
    await clock.run(60000, () => server.accepted('1:2').length);
    await Promise.all([login, large, clock.run(1000)]);
    assert.equal((await small).seq, 1);
    assert.equal(im.state.name, 'online');
    assert.deepEqual(c.outgoing.map((o) => [o.state, o.error]),
                     [['failed', 'too_large']]);
});

test('a message that has ended the connection by its size is not sent again',
     async () => {
         const { im, clock, server } = await start();
         server.maxMessage = 4096;
         server.promised = 65536;
         const small = im.conversation({ with: '3' }).send('small');
         const large = assert.rejects(im.conversation(bob).send(
             'x'.repeat(5000)), { code: 'too_large' });
         await clock.run(5000);
         await large;
         assert.deepEqual([im.state.name, im.state.reason],
                          ['ended', 'refused']);
         im.connect();
         await clock.run(5000);
         assert.equal(im.state.name, 'online');
         assert.equal((await small).seq, 1);
     });

test('a conversation whose numbers began anew is shown anew', async () => {
    const { im, clock, server, store } = await start();
    const c = im.conversation(bob);
    const say = (cmid) => server.accept('2', { to: '1', cmid, body: cmid });
    'abcde'.split('').forEach(say);
    await clock.run(2000);
    c.read();
    await clock.run(1000);
    assert.deepEqual([c.last.seq, c.readSeq], [5, 5]);
    // The server has lost all of it; the senders repeat two messages.
    server.sockets.forEach((s) => s.end(4001));
    server.conversations.clear();
    server.cmids.clear();
    say('d');
    say('e');
    await clock.run(10000);
    assert.deepEqual(c.messages.map((m) => m.seq + m.body), ['1d', '2e']);
    assert.deepEqual([c.hasGap, c.last.seq, c.unread, c.readSeq, c.head],
                     [false, 2, 2, 0, 2]);
    c.read();
    await clock.run(1000);
    assert.equal(server.at('1:2').reads.get('1'), 2);
    assert.equal((await store.conversations())[0].cursor, 2);
});
