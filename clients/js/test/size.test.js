/*
 * size.test.js -- what a browser has to fetch.
 */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const read = (folder, isOurs) => {
    const path = fileURLToPath(new URL(folder, import.meta.url));
    return readdirSync(path).filter(isOurs)
        .map((name) => readFileSync(path + name, 'utf8')).join('\n');
};
const bytes = (text) => gzipSync(text, { level: 9 }).length;

test('the client is below 16 KiB, without its comments', () => {
    const code = read('../src/', (name) => name.endsWith('.js'))
        .replace(/\/\*[^]*?\*\//g, '').split('\n')
        .map((line) => line.replace(/\s\/\/ .*|^\/\/.*/, '').trim())
        .filter(Boolean).join('\n');
    assert.ok(code.length > 30000 && bytes(code) < 16 * 1024,
              `${bytes(code)} bytes`);
});

test('the whole chat page is below 80 KB, as it stands in the tree', () => {
    const all = read('../../../web/', () => true)
        + read('../src/', (name) => name.endsWith('.js'));
    assert.ok(bytes(all) < 80000, `${bytes(all)} bytes`);
});
