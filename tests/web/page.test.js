/*
 * page.test.js -- the chat page, as people use it.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import { bubbles, connected, newWindow, picture, say, shows, signIn, signUp,
         start, tab, talkTo } from './browser.js';
import { PASSWORD, URL_HTTP, closeAll, newName, person, reload, until }
    from './lib.js';

let browser;
const pages = [];

test.before(async () => {
    browser = await start();
});
test.after(() => Promise.all([browser?.close(), closeAll()]));

async function open(options) {
    const page = await newWindow(browser, options);
    pages.push(page);
    return page;
}

// After each test: no page has complained of anything.
test.afterEach(async () => {
    for (const page of pages.splice(0)) {
        const { problems } = page;
        await page.context().close();
        assert.deepEqual(problems, []);
    }
});

test('two people talk while the server is reloaded: nothing is lost or doubled',
     async () => {
         const [ann, ben] = [newName('ann'), newName('ben')];
         const a = await open();
         const b = await open();
         await signUp(a, ann);
         await signUp(b, ben);
         await talkTo(a, ben);
         await talkTo(b, ann);
         const sent = [];
         for (let n = 0; n < 24; n++) {
             if (n % 8 === 5) {
                 reload();
             }
             const text = `message ${n}`;
             sent.push(text);
             await say(n % 2 ? b : a, text);
             // Each is an answer to the one before.
             await shows(n % 2 ? a : b, (all) => all.includes(text), text);
         }
         for (const page of [a, b]) {
             assert.deepEqual(await shows(page, (all) => all.length
                                          >= sent.length, 'all'), sent);
         }
         // Typed without waiting for anything, over a reload.
         const fast = Array.from({ length: 20 }, (_, n) => `fast ${n}`);
         for (const [n, text] of fast.entries()) {
             if (n === 8) {
                 reload();
             }
             await say(a, text);
         }
         for (const page of [a, b]) {
             assert.deepEqual((await shows(page, (all) => all.length
                 >= sent.length + fast.length, 'fast ones')).slice(-20), fast);
         }
         await a.locator('.message.mine .icon-tick').nth(31).waitFor();
         assert.equal(await a.locator('.is-waiting').count(), 0);
         // The other one opens the page again: all of it is there.
         await b.reload();
         await connected(b);
         await b.locator('.row').first().click();
         assert.deepEqual(await shows(b, (all) => all.length >= 44, 'again'),
                          [...sent, ...fast]);
     });

test('script is shown as text, wherever it stands', async () => {
    const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>';
    const host = await person('host');
    const guest = await person('guest');
    const room = await host.createRoom({
        kind: 'group', name: '<b onclick=alert(3)>x</b>',
        members: [guest.uid] });
    await room.send({ text: evil });
    await room.send({ html: evil });
    await host.conversation({ with: guest.uid }).send(evil);
    await room.send({ text: 'javascript:alert(4) https://example.org/"onx=1' });

    const page = await open();
    await signIn(page, guest.name);
    await page.locator('.row', { hasText: '<b onclick' }).click();
    const all = await shows(page, (texts) => texts.length === 3, 'three');
    assert.deepEqual(all.slice(0, 2), [evil, JSON.stringify({ html: evil })]);
    assert.equal(await page.locator('.log img, .log script, .log b').count(),
                 0);
    assert.deepEqual(await page.locator('.log a').evaluateAll(
        (links) => links.map((a) => a.getAttribute('href'))),
                     ['https://example.org/']);
    await page.getByRole('button', { name: 'Details' }).click();
    await page.locator('dialog .line').first().waitFor();
    await page.keyboard.press('Escape');
});

test('the policy forbids what the page does not need', async () => {
    const r = await fetch(URL_HTTP + '/chat/');
    const policy = r.headers.get('Content-Security-Policy');
    assert.match(policy, /default-src 'self'/);
    assert.match(policy, /require-trusted-types-for 'script'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:|data:/);
    for (const path of ['app.js', 'style.css', 'panes.css',
                        'client/index.js']) {
        const f = await fetch(`${URL_HTTP}/chat/${path}`);
        assert.equal(f.status, 200, path);
        assert.equal(f.headers.get('Content-Security-Policy'), policy, path);
    }
    const page = await open();
    assert.equal(await page.evaluate(() => new Promise((resolve) => {
        addEventListener('securitypolicyviolation', () => resolve('refused'));
        const script = document.createElement('script');
        try {
            script.textContent = 'window.ran = true';
            document.head.append(script);
            setTimeout(() => resolve(window.ran ? 'ran' : 'refused'), 500);
        } catch {
            resolve('refused');
        }
    })), 'refused');
    page.problems.length = 0;
});

test('a long history scrolls back without jumps', async () => {
    const host = await person('long');
    const guest = await person('reader');
    const count = 280;
    const talk = host.conversation({ with: guest.uid });
    for (let n = 0; n < count; n += 40) {
        await Promise.all(Array.from({ length: 40 }, (_, k) => talk.send({
            text: `line ${n + k}` + ' and some more words'.repeat(k % 7) })));
    }
    const page = await open();
    await signIn(page, guest.name);
    await page.locator('.row').first().click();
    await shows(page, (all) => all.some((x) => x.startsWith('line 279')),
                'the end');
    // The browser scrolls up in steps; a row may move by just that much.
    const jumps = await page.evaluate(async () => {
        const log = document.querySelector('.log');
        const frame = () => new Promise((r) => requestAnimationFrame(r));
        const found = [];
        for (let n = 0; n < 600; n++) {
            const top = log.getBoundingClientRect().top;
            const row = [...log.querySelectorAll('[data-key]')].find(
                (m) => m.getBoundingClientRect().bottom > top + 100);
            const { key } = row.dataset;
            // A row may be made anew, but at its place.
            const place = () => [...log.querySelectorAll('.bubble')].find(
                (b) => b.closest('[data-key]').dataset.key === key)
                ?.getBoundingClientRect().top;
            log.scrollTop -= 200;
            const now = place();
            for (let k = 0; k < 2; k++) {
                await frame();
            }
            const after = place();
            if (!(Math.abs(after - now) <= 2)) {
                found.push([row.textContent.slice(0, 20), now, after]);
            }
            if (log.textContent.includes('This is where it begins')
                && log.scrollTop === 0) {
                break;
            }
        }
        return found;
    });
    assert.deepEqual(jumps, []);
    const top = await bubbles(page);
    assert.ok(top[0].startsWith('line 0'), top[0]);
    assert.ok(top.length <= 180, `${top.length} rows in the page`);
    // Somebody writes meanwhile: the place stays, and a button leads there.
    await talk.send({ text: 'the very last' });
    await page.locator('.to-end .badge').waitFor();
    await page.getByRole('button', { name: 'latest message' }).click();
    await shows(page, (all) => all.at(-1) === 'the very last', 'the end');
});

test('everything can be done by keyboard', async () => {
    const friend = await person('friend');
    const me = await person('keys');
    await friend.conversation({ with: me.uid }).send({ text: 'hello keys' });
    const page = await open();
    await page.locator('input[name=name]:focus').waitFor();
    await page.keyboard.type(me.name);
    await page.keyboard.press('Tab');
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press('Enter');
    await connected(page);
    await page.locator('.row').first().waitFor();
    await page.getByLabel('Search conversations').focus();
    await page.keyboard.press('ArrowDown');
    assert.match(await page.evaluate(
        () => document.activeElement.getAttribute('aria-label')),
                 /friend.*1 unread.*hello keys/);
    await page.keyboard.press('Enter');
    await shows(page, (all) => all.length === 1, 'the message');
    await page.keyboard.type('by keyboard');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('two lines');
    await page.keyboard.press('Enter');
    await shows(page, (all) => all[1] === 'by keyboard\ntwo lines', 'mine');
    await page.keyboard.press('Escape');
    assert.ok(await page.evaluate(
        () => document.activeElement.classList.contains('row')));
    // Nothing that can be pressed is without a name.
    assert.deepEqual(await page.locator('button, input, textarea').evaluateAll(
        (all) => all.filter((e) => !e.getAttribute('aria-label')
                            && !e.textContent.trim() && !e.labels?.length)
            .map((e) => e.outerHTML)), []);
});

test('two tabs share a connection, and one goes on when the other is closed',
     async () => {
         const friend = await person('tabby');
         const a = await open();
         const name = newName('tabs');
         await signUp(a, name);
         const b = await tab(a.context());
         await connected(b);
         assert.equal(a.sockets + b.sockets, 1);
         await talkTo(b, friend.name);
         await say(b, 'from the second tab');
         await a.locator('.row', { hasText: friend.name }).click();
         await shows(a, (all) => all.length === 1, 'the other tab');
         await a.close();
         await b.waitForTimeout(0);
         await connected(b);
         const [mine] = await friend.lookUp({ names: [name] });
         await friend.conversation({ with: mine.uid }).send({ text: 'still?' });
         await shows(b, (all) => all[1] === 'still?', 'after the first tab');
         assert.equal(b.sockets, 1);
         assert.deepEqual(b.problems, []);
     });

test('who signs out leaves nothing to the next one', async () => {
    const friend = await person('lea');
    const room = await friend.createRoom({ kind: 'live', name: 'Choir',
                                           history: true });
    const page = await open();
    await signUp(page, newName('first'));
    await talkTo(page, friend.name);
    await say(page, 'a secret');
    await page.locator('.icon-tick').waitFor();
    await page.locator('.side').getByRole('button', {
        name: 'New conversation' }).first().click();
    await page.getByRole('radio', { name: 'Join' }).check();
    await page.getByLabel('Number of the room').fill(room.room);
    await page.getByRole('button', { name: 'Join' }).click();
    await page.locator('.row', { hasText: 'Choir' }).waitFor();
    await page.locator('.row', { hasText: friend.name }).click();
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.locator('input[name=name]').waitFor();
    assert.deepEqual(await page.evaluate(async () => {
        const ended = (r) => new Promise((resolve) => {
            r.onsuccess = () => resolve(r.result);
        });
        const db = await ended(indexedDB.open('im-chat'));
        const names = [...db.objectStoreNames];
        const t = db.transaction(names);
        const found = await Promise.all(names.map((name) => ended(
            t.objectStore(name).getAllKeys())));
        db.close();
        return Object.fromEntries(names.map((name, n) => [name, found[n]]));
    }), { messages: [], out: [], records: [], values: ['owner'] });
    await signUp(page, newName('second'));
    await page.getByText('No conversations yet').waitFor();
    assert.equal(await page.locator('.row').count(), 0);
    await until(friend, 'room_event',
                () => friend.room(room.room).online === 1, 'nobody else');
});

test('a live room counts who is there', async () => {
    const host = await person('stage');
    const room = await host.createRoom({ kind: 'live', name: 'Concert',
                                         history: true });
    const page = await open();
    await signUp(page, newName('fan'));
    await page.locator('.side').getByRole('button', {
        name: 'New conversation' }).first().click();
    await page.getByRole('radio', { name: 'Join' }).check();
    await page.getByLabel('Number of the room').fill(room.room);
    await page.getByRole('button', { name: 'Join' }).click();
    await page.locator('.main .subtitle', { hasText: '2 online' }).waitFor();
    await room.send({ text: 'good evening' });
    await shows(page, (all) => all.length === 1, 'the message');
    await page.reload();
    await page.locator('.row', { hasText: 'Concert' }).waitFor();
    await host.close();
    await page.locator('.row', { hasText: 'Concert' }).click();
    await page.locator('.main .subtitle', { hasText: '1 online' }).waitFor();
});

test('pictures of it', async () => {
    // Their names as they are, if nobody has them yet.
    const named = (name) => person(name, {}, name).catch(() => person(name));
    const me = await named('Maya');
    const others = {};
    for (const name of ['Jonas', 'Lin.Wei', 'Amara', 'Tomas_K']) {
        others[name] = await named(name);
    }
    const { Jonas, Amara } = others;
    const group = await me.createRoom({
        kind: 'group', name: 'Weekend in the Alps',
        members: [Jonas.uid, Amara.uid, others['Lin.Wei'].uid] });
    const lines = [
        [me, 'Who is coming on Saturday?'],
        [Jonas, 'Me! I can take three people in my car.'],
        [Amara, 'Count me in. I have a tent for two, and a stove.'],
        [Amara, 'Shall we meet at the station?'],
        [others['Lin.Wei'], '我七点可以到。天气预报说会下雨吗？'],
        [me, 'The forecast says dry until Sunday evening 🌤\n'
            + 'https://example.org/weather'],
        [Jonas, 'Perfect. Seven o\'clock at the station, then.'],
        [me, 'See you there!']];
    for (const [who, text] of lines) {
        await who.conversation({ room: group.room }).send({ text });
    }
    await others['Lin.Wei'].conversation({ with: me.uid }).send(
        { text: '照片我晚上发给你' });
    await Jonas.conversation({ with: me.uid }).send(
        { text: 'Did you find the map?' });
    await Jonas.conversation({ with: me.uid }).send({ text: 'No hurry.' });
    const live = await Amara.createRoom({ kind: 'live', name: 'Evening concert',
                                          history: true });
    others.Tomas_K.disconnect();
    await me.conversation({ with: others.Tomas_K.uid }).send(
        { text: 'Call me when you are back' });

    const page = await open();
    await picture(page, 'sign-in');
    await signIn(page, me.name);
    const rooms = { ['live-' + me.uid]: [live.room] };
    await page.evaluate((values) => localStorage.setItem(
        'im-page', JSON.stringify(values)), rooms);
    await page.reload();
    await connected(page);
    await page.locator('.row', { hasText: 'Evening concert' }).waitFor();
    await page.locator('.row', { hasText: 'Alps' }).click();
    await shows(page, (all) => all.length === lines.length, 'all');
    await page.locator('.row .dot').nth(1).waitFor();
    await page.locator('.row', { hasText: 'No hurry.' }).hover();
    await picture(page, 'light');
    const settings = page.getByRole('button', { name: 'Settings' });
    await settings.click();
    await page.getByText('Nobody is blocked').waitFor();
    await picture(page, 'settings');
    await page.getByRole('radio', { name: 'Dark' }).check();
    await picture(page, 'settings-dark');
    await page.keyboard.press('Escape');
    await picture(page, 'dark');
    await page.getByRole('button', { name: 'Details' }).click();
    await page.locator('dialog .line').nth(3).waitFor();
    await picture(page, 'details-dark');
    await page.keyboard.press('Escape');
    await page.locator('.side').getByRole('button', {
        name: 'New conversation' }).first().click();
    await picture(page, 'new-dark');
    await page.keyboard.press('Escape');

    const set = (values) => page.evaluate((v) => localStorage.setItem(
        'im-page', JSON.stringify(v)), values);
    await set({ language: 'zh', theme: 'light', ...rooms });
    await page.reload();
    await connected(page);
    await page.locator('.row', { hasText: 'Evening concert' }).waitFor();
    await page.locator('.row', { hasText: 'Alps' }).click();
    await shows(page, (all) => all.length === lines.length, 'all');
    await picture(page, 'chinese');
    await set({ language: 'ar', theme: 'light' });
    await page.reload();
    await connected(page);
    await page.locator('.row', { hasText: 'Alps' }).click();
    await shows(page, (all) => all.length === lines.length, 'all');
    assert.equal(await page.evaluate(() => document.documentElement.dir),
                 'rtl');
    await picture(page, 'right-to-left');

    const phone = await open({ viewport: { width: 390, height: 780 },
                               deviceScaleFactor: 2, hasTouch: true,
                               isMobile: true });
    await signIn(phone, me.name);
    await phone.locator('.row', { hasText: 'Alps' }).waitFor();
    await picture(phone, 'phone-list');
    await phone.locator('.row', { hasText: 'Alps' }).click();
    await shows(phone, (all) => all.length === lines.length, 'all');
    await picture(phone, 'phone');
    assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth
                                   <= innerWidth));
    await phone.getByRole('button', { name: 'Back' }).click();
    await phone.locator('.row', { hasText: 'Alps' }).waitFor();
});
