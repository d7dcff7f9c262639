/*
 * client.test.js -- the JavaScript client against the real stack.
 */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { memoryStore } from '../../clients/js/src/index.js';
import { PASSWORD, TOP, URL_HTTP, bodies, closeAll, killLogic, newClient,
         newName, person, reload, until } from './lib.js';

test.after(closeAll);

test('two users talk, and both have the same conversation', async () => {
    const a = await person('ada');
    const b = await person('bea');
    const at = a.conversation({ with: b.uid });
    const bt = b.conversation({ with: a.uid });
    const ack = await at.send({ text: 'hello' });
    assert.equal(ack.seq, 1);
    await until(b, 'message', () => bt.messages.length === 1);
    assert.equal(bt.unread, 1);
    await bt.send({ text: 'hi' });
    await until(a, 'message', () => at.messages.length === 2);
    assert.deepEqual(bodies(at), [{ text: 'hello' }, { text: 'hi' }]);
    assert.deepEqual(bodies(bt), bodies(at));
    bt.read();
    assert.equal(bt.unread, 0);
    await until(b, 'users', () => bt.title === a.name, 'the name of a user');
});

test('a new device has the list, the unread count, the history', async () => {
    const a = await person('cleo');
    const b = await person('dora');
    for (let n = 1; n <= 70; n++) {
        await a.conversation({ with: b.uid }).send({ n });
    }
    const c = newClient();
    await c.login({ name: b.name, password: PASSWORD, device: 'second' });
    await until(c, 'state', () => c.state.name === 'online');
    const [only, ...others] = c.conversations;
    assert.equal(others.length, 0);
    assert.equal(only.with, a.uid);
    assert.equal(only.unread, 70);
    assert.ok(only.messages.length < 70);
    while (only.hasOlder) {
        await only.loadOlder(20);
    }
    assert.deepEqual(only.messages.map((m) => m.body.n),
                     Array.from({ length: 70 }, (_, n) => n + 1));
});

test('a group: created, seen by its members, left', async () => {
    const a = await person('edda');
    const b = await person('fay');
    const group = await a.createRoom({ kind: 'group', name: 'Tea',
                                       members: [b.uid] });
    await group.send({ text: 'welcome' });
    await until(b, 'conversations', () => b.conversations.some(
        (c) => c.title === 'Tea' && c.messages.length === 1));
    const mine = b.conversation({ room: group.room });
    await mine.send({ text: 'thanks' });
    await until(a, 'message', () => group.messages.length === 2);
    await b.leaveRoom(group.room);
    assert.ok(!b.conversations.includes(mine));
    await assert.rejects(mine.send({ text: 'I am gone' }), (e) => [
        'not_member', 'no_such_room'].includes(e.code));
    assert.equal(mine.outgoing[0].state, 'failed');
});

test('a live room counts who is there, and is entered again after a reload',
     async () => {
         const a = await person('gwen');
         const b = await person('hedy');
         const room = await a.createRoom({ kind: 'live', name: 'stage',
                                           history: true });
         await b.joinRoom(room.room);
         await until(a, 'room_event', () => a.room(room.room).online === 2,
                     'two are online');
         const mine = b.conversation({ room: room.room });
         reload();
         await until(b, 'state', () => b.state.name !== 'online');
         await until(b, 'state', () => b.state.name === 'online');
         await room.send({ text: 'after the reload' });
         await until(b, 'message', () => mine.messages.length === 1);
     });

test('presence follows a user who goes and comes', async () => {
    const a = await person('ida');
    const b = await person('joan');
    const off = a.watch([b.uid]);
    await until(a, 'presence', () => a.isOnline(b.uid) === true);
    b.disconnect();
    await until(a, 'presence', () => a.isOnline(b.uid) === false);
    b.connect();
    await until(a, 'presence', () => a.isOnline(b.uid) === true);
    off();
});

test('what is written without a connection is sent later, in order',
     async () => {
         const store = memoryStore();
         const a = await person('kay', { store });
         const b = await person('lena');
         a.disconnect();
         for (let n = 1; n <= 5; n++) {
             a.conversation({ with: b.uid }).send({ n });
         }
         await a.close();
         const again = newClient({ store });
         assert.ok(await again.resume());
         const bt = b.conversation({ with: a.uid ?? again.uid });
         await until(b, 'message', () => bt.messages.length === 5);
         assert.deepEqual(bodies(bt).map((x) => x.n), [1, 2, 3, 4, 5]);
     });

test('a session that ends elsewhere ends here', async () => {
    const a = await person('mia');
    const b = newClient();
    await b.login({ name: a.name, password: PASSWORD, device: 'other' });
    await until(b, 'state', () => b.state.name === 'online');
    await b.changePassword(PASSWORD, 'staple it well');
    await until(a, 'state', () => a.state.name === 'ended');
    assert.equal(a.state.reason, 'session_revoked');
    assert.equal(b.state.name, 'online');
});

test('reloads of nginx and the death of Logic lose nothing and double nothing',
     async () => {
         const a = await person('nora');
         const b = await person('olga');
         const c = await person('pia');
         const group = await a.createRoom({ kind: 'group', name: 'g',
                                            members: [b.uid, c.uid] });
         const all = [a, b, c];
         await Promise.all(all.map((im) => until(
             im, 'conversations', () => im.conversations.length === 1)));
         const shown = new Map(all.map((im) => [im, []]));
         all.forEach((im) => im.on('message', ({ message }) => shown.get(im)
             .push(message.seq)));
         const acks = [];
         const count = 120;
         const talk = async (im) => {
             for (let n = 0; n < count; n++) {
                 acks.push(await im.conversation({ room: group.room }).send(
                     { who: im.name, n }));
             }
         };
         const breaks = async () => {
             const at = (part) => until(a, 'message', () => acks.length
                                        > part * 3 * count, 'progress');
             await at(0.15);
             reload();
             await at(0.4);
             killLogic();
             await at(0.7);
             reload();
         };
         await Promise.all([...all.map(talk), breaks()]);
         await Promise.all(all.map((im) => until(
             im, 'message', () => shown.get(im).length === 3 * count,
             'all messages')));
         for (const im of all) {
             const mine = im.conversation({ room: group.room }).messages;
             assert.deepEqual(shown.get(im), [...shown.get(im)].sort(
                 (x, y) => x - y));
             assert.equal(new Set(mine.map((m) => m.cmid)).size, 3 * count);
             assert.deepEqual(mine.map((m) => [m.seq, m.id]), a.conversation(
                 { room: group.room }).messages.map((m) => [m.seq, m.id]));
             for (const other of all) {
                 assert.deepEqual(mine.filter((m) => m.from === other.uid)
                     .map((m) => m.body.n), [...Array(count).keys()]);
             }
         }
         assert.deepEqual([...acks].map((x) => x.seq).sort((x, y) => x - y),
                          shown.get(a));
     });

test('the two accounts that make run prints can sign in, and have a message',
     async () => {
         const print = () => execFileSync('/usr/bin/python3', ['-c', `
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, '${TOP}/tools')
from im_stack.accounts import demo_accounts
for account in demo_accounts('${process.env.IM_HTTP}'):
    print(*account, sep='|')`], { encoding: 'utf8' });
         const first = print();
         assert.equal(print(), first);      // a second start makes no others
         for (const line of first.trim().split('\n')) {
             const [name, password] = line.split('|');
             const im = newClient();
             await im.login({ name, password, device: 'test' });
             await until(im, 'state', () => im.state.name === 'online');
             const [talk] = im.conversations;
             assert.equal(talk.last.seq, 2);
             assert.match(talk.messages.at(-1).body.text, /^Hello /);
         }
     });

test('the example of docs/client-js.md runs', async () => {
    const page = readFileSync(join(TOP, 'docs/client-js.md'), 'utf8');
    const code = /```js\n(\/\/ example\.mjs[^]*?)```/.exec(page)[1]
        .replace("'ngx-im-client'", JSON.stringify(
            join(TOP, 'clients/js/src/index.js')))
        .replace("'./socket.js'", JSON.stringify(
            join(TOP, 'clients/js/test/socket.js')));
    const file = join(mkdtempSync(join(tmpdir(), 'im-')), 'example.mjs');
    writeFileSync(file, code);
    const [alice, bob] = [newName('alice'), newName('bob')];
    const out = await new Promise((resolve, reject) => {
        execFile(process.execPath, [file, URL_HTTP, alice, bob],
                 { timeout: 30000 }, (error, stdout, stderr) => error
                     ? reject(new Error(stderr)) : resolve(stdout));
    });
    assert.equal(out, 'bob: hello\nalice: hi bob\n'.replaceAll(
        'alice', alice).replaceAll('bob:', bob + ':'));
});
