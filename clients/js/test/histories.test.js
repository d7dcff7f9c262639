/*
 * histories.test.js -- whatever the network does, each acknowledged message is
 * shown once, in the order of its conversation, and each own message is stored
 * once.  Thousands of random histories; SEED=n repeats one, HISTORIES=n tries
 * more.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import { ImClient, memoryStore } from '../src/index.js';
import { Clock, chance } from './clock.js';
import { Server, environmentOf } from './world.js';

const SEED = Number(process.env.SEED ?? 0);
const HISTORIES = Number(process.env.HISTORIES ?? 200);
const FAULTS = { lose: 0.15, double: 0.15, late: 0.2, refuse: 0.1,
                 spoil: 0.15, cut: 0.03, mute: 0.03 };
const PEERS = [{ with: '2' }, { with: '3' }, { room: '9' }, { with: '1' }];

class Device {
    constructor(world, options) {
        this.world = world;
        this.options = options;
        this.store = memoryStore();
        this.shown = new Map();            // key -> seqs, of this run
        this.problems = [];
    }

    async begin() {
        const { clock, random, server } = this.world;
        const im = this.im = new ImClient({
            url: 'http://x', store: this.store, ...this.options,
            env: environmentOf(clock, random, server) });
        this.shown.clear();
        im.on('message', ({ conversation, message }) => {
            const seqs = this.shown.get(conversation.key) ?? [];
            this.shown.set(conversation.key, seqs);
            if (seqs.length && seqs.at(-1) >= message.seq) {
                this.problems.push(`${conversation.key}: ${message.seq} after `
                                   + seqs.at(-1));
            }
            seqs.push(message.seq);
        });
        im.on('error', (e) => this.problems.push(e.code ?? e.stack));
        if (!await im.resume()) {
            const login = im.login({ name: '1', password: 'x' });
            await clock.run(60000, () => im.uid !== null);
            await login;
        }
    }

    settled() {
        return this.im.state.name === 'online'
            && PEERS.every((p) => !this.im.conversation(p).outgoing.length
                           && !this.im.conversation(p).pending
                           && !this.im.conversation(p).hasGap);
    }
}

function world(seed, faults = FAULTS) {
    const clock = new Clock();
    const random = chance(seed);
    const server = new Server(clock, random, faults);
    server.groups.set('9', new Set(['1', '2', '3']));
    return { clock, random, server };
}

// Everybody talks for a while.
async function talk(w, devices, seed) {
    const { clock, random, server } = w;
    const sends = [];
    let count = 0;
    for (let n = 0; n < 25; n++) {
        await clock.run(random() * random() * 1500);
        const peer = PEERS[Math.floor(random() * PEERS.length)];
        const dice = random();
        const device = devices[Math.floor(random() * devices.length)];
        if (dice < 0.45 && !peer.with?.match(/^1$/)) {
            const from = peer.room ? '2' : peer.with;
            for (let k = random() * 6; k > 0; k--) {
                server.accept(from, { cmid: `o${++count}`, body: { n: count },
                                      ...(peer.room ? peer : { to: '1' }) });
            }
        } else if (dice < 0.9) {
            for (let k = random() * 4; k > 0; k--) {
                const promise = device.im.conversation(peer)
                    .send({ n: ++count });
                const one = { device, peer, n: count, promise, acked: false };
                promise.then(() => {
                    one.acked = true;
                }, () => {});
                sends.push(one);
            }
        } else if (dice < 0.94) {
            device.im.disconnect();
            clock.setTimeout(() => device.im.connect(), random() * 3000);
        } else if (dice < 0.97) {
            server.down = true;
            clock.setTimeout(() => {
                server.down = false;
            }, random() * 5000);
        } else {
            server.tokens.clear();     // all must renew theirs
            server.sockets.forEach((s) => s.end(4100));
        }
    }
    Object.keys(server.faults).forEach((f) => {
        server.faults[f] = 0;
    });
    const good = await clock.run(120000, () => !server.down
        && devices.every((d) => d.settled()) && sends.every((s) => s.acked));
    assert.ok(good, `seed ${seed}: not settled; ${devices.map(
        (d) => JSON.stringify([d.im.state, ...PEERS.map((p) => {
            const { key, cursor, head, live, pending, gone, outgoing }
                = d.im.conversation(p);
            return { key, cursor, head, live, pending, gone,
                     outgoing: outgoing.map((o) => [o.state, o.tried]) };
        })]))}`);
    await clock.run(25000);
    return sends;
}

function check(w, devices, sends, seed) {
    const where = `seed ${seed}`;
    assert.deepEqual(w.server.violations, [], where);
    for (const device of devices) {
        assert.deepEqual(device.problems, [], where);
        for (const peer of PEERS) {
            const c = device.im.conversation(peer);
            const all = w.server.accepted(w.server.name('1', peer));
            const want = all.map((m) => m.seq);
            assert.deepEqual(c.messages.map((m) => m.seq),
                             want.filter((s) => s > c.base), where);
            if (want.length) {
                assert.equal(c.unread, w.server.unread(w.server.at(
                    w.server.name('1', peer)), '1'), where);
            }
        }
    }
    // Own messages: stored once, and in the order in which they were sent.
    for (const device of devices) {
        for (const peer of PEERS) {
            const sent = sends.filter((s) => s.device === device
                                      && s.peer === peer).map((s) => s.n);
            const bodies = w.server.accepted(w.server.name('1', peer))
                .map((m) => m.body.n).filter((n) => sent.includes(n));
            assert.deepEqual(bodies, sent, where);
        }
    }
}

async function history(seed, options) {
    const w = world(seed);
    const devices = [new Device(w, options)];
    if (seed % 3 === 0) {
        devices.push(new Device(w, options));
    }
    for (const d of devices) {
        await d.begin();
    }
    const sends = await talk(w, devices, seed);
    check(w, devices, sends, seed);
    for (const { promise, peer } of sends) {
        const ack = await promise;
        assert.ok(w.server.at(w.server.name('1', peer))
            .numbers[ack.seq].msg_id === ack.id, `seed ${seed}`);
    }
    return { w, devices };
}

const seeds = SEED ? [SEED] : Array.from({ length: HISTORIES },
                                         (_, n) => n + 1);

test('a device that keeps everything shows everything, once and in order',
     async () => {
         for (const seed of seeds) {
             await history(seed, { tail: Infinity });
         }
     });

test('a device that begins at the end shows what follows, and the rest when it '
     + 'is asked for', async () => {
    for (const seed of seeds) {
        const { w, devices: [{ im }] } = await history(
            seed + 100000, { tail: 3, behindMax: 6 });
        for (const peer of PEERS) {
            const c = im.conversation(peer);
            for (let n = 0; c.hasOlder && n < 100; n++) {
                const more = c.loadOlder(4);
                await w.clock.run(30000, () => false);
                await more;
            }
            assert.deepEqual(
                c.messages.map((m) => m.seq),
                w.server.accepted(w.server.name('1', peer)).map((m) => m.seq),
                `seed ${seed}`);
        }
    }
});

test('a program that starts again goes on where it was', async () => {
    for (const seed of seeds) {
        const w = world(seed + 200000);
        const device = new Device(w, { tail: Infinity });
        await device.begin();
        const sends = [];
        for (let run = 0; run < 3; run++) {
            for (let n = 0; n < 8; n++) {
                await w.clock.run(w.random() * 400);
                const peer = PEERS[Math.floor(w.random() * 3)];
                w.server.accept(peer.room ? '2' : peer.with, {
                    cmid: `o${run} ${n}`, body: { n: 1000 + 10 * run + n },
                    ...(peer.room ? peer : { to: '1' }) });
                sends.push({ device, peer, n: 10 * run + n });
                device.im.conversation(peer).send({ n: 10 * run + n })
                    .catch(() => {});
            }
            // The process dies: nothing of it goes on.
            await device.im.close();
            await w.clock.run(w.random() * 2000);
            await device.begin();
        }
        Object.keys(w.server.faults).forEach((f) => {
            w.server.faults[f] = 0;
        });
        assert.ok(await w.clock.run(120000, () => device.settled()),
                  `seed ${seed}`);
        await w.clock.run(25000);
        for (const peer of PEERS.slice(0, 3)) {
            const c = device.im.conversation(peer);
            while (c.hasOlder) {
                const more = c.loadOlder(5);
                await w.clock.run(1000);
                await more;
            }
        }
        assert.deepEqual(w.server.violations, [], `seed ${seed}`);
        for (const peer of PEERS.slice(0, 3)) {
            const all = w.server.accepted(w.server.name('1', peer));
            assert.deepEqual(
                device.im.conversation(peer).messages.map((m) => m.seq),
                all.map((m) => m.seq), `seed ${seed}`);
            const sent = sends.filter((s) => s.peer === peer).map((s) => s.n);
            assert.deepEqual(all.map((m) => m.body.n).filter((n) => n < 1000),
                             sent, `seed ${seed}`);
        }
    }
});
