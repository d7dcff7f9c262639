/*
 * browser.js -- Debian's Chromium, driven by playwright-core (make deps).
 */

import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PASSWORD, TOP, URL_HTTP } from './lib.js';

const { chromium } = createRequire(join(TOP, 'build/npm/package.json'))(
    'playwright-core');

export const PICTURES = join(TOP, 'build/web');

export async function start() {
    mkdirSync(PICTURES, { recursive: true });
    return chromium.launch({
        executablePath: process.env.IM_CHROMIUM ?? '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

// A window of its own; what the page complains of goes to `problems`.
export async function newWindow(browser, options = {}) {
    const context = await browser.newContext({
        viewport: { width: 1180, height: 760 }, locale: 'en-GB', ...options });
    context.setDefaultTimeout(20000);
    return tab(context);
}

export async function tab(context) {
    const page = await context.newPage();
    page.problems = [];
    page.sockets = 0;
    page.on('pageerror', (e) => page.problems.push(String(e)));
    page.on('dialog', (d) => {
        page.problems.push('a dialog: ' + d.message());
        d.dismiss();
    });
    page.on('console', (m) => {
        // Refused requests are reported there, too; these are expected while
        // the server is away.
        if (m.type() === 'error' && !/Failed to load|WebSocket/.test(
            m.text())) {
            page.problems.push(m.text());
        }
    });
    page.on('request', (r) => {
        if (!r.url().startsWith(URL_HTTP)) {
            page.problems.push('a request to ' + r.url());
        }
    });
    page.on('websocket', () => {
        page.sockets++;
    });
    await page.goto(URL_HTTP + '/chat/');
    return page;
}

export async function signUp(page, name) {
    await page.getByRole('button', { name: 'New here' }).click();
    await page.locator('input[name=name]').fill(name);
    await page.locator('input[name=password]').fill(PASSWORD);
    await page.getByRole('button', { name: 'Create account' }).click();
    await connected(page);
}

export async function signIn(page, name) {
    await page.locator('input[name=name]').fill(name);
    await page.locator('input[name=password]').fill(PASSWORD);
    await page.keyboard.press('Enter');
    await connected(page);
}

export function connected(page) {
    return page.locator('.connection[data-state=online]').waitFor();
}

export async function talkTo(page, name) {
    await page.locator('.side').getByRole('button', {
        name: 'New conversation' }).first().click();
    await page.getByLabel('Name of the user').fill(name);
    await page.getByRole('button', { name: 'Start' }).click();
    await page.locator('.main .title', { hasText: name }).waitFor();
}

export async function say(page, text) {
    await page.locator('.composer textarea').fill(text);
    await page.locator('.composer textarea').press('Enter');
}

// What the bubbles say, from the first to the last one in the page.
export function bubbles(page) {
    return page.locator('.bubble p').allTextContents();
}

// Waits until `holds(bubbles)`.
export async function shows(page, holds, what) {
    const end = Date.now() + 30000;
    for (;;) {
        const now = await bubbles(page);
        if (holds(now)) {
            return now;
        }
        if (Date.now() > end) {
            throw new Error(`${what}: the page shows ${now.length} messages, `
                            + `the last ones ${JSON.stringify(now.slice(-5))}`);
        }
        await page.waitForTimeout(50);
    }
}

export function picture(page, name) {
    return page.screenshot({ path: join(PICTURES, name + '.png') });
}
