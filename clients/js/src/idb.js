/*
 * idb.js -- a store (store.js) in the browser's IndexedDB.
 */

import { unite } from './store.js';

const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
});

export async function indexedDbStore(name = 'im', factory = indexedDB) {
    const open = factory.open(name, 1);
    open.onupgradeneeded = () => {
        const db = open.result;
        db.createObjectStore('values');
        db.createObjectStore('records', { keyPath: 'key' });
        db.createObjectStore('messages');      // [key, seq]
        db.createObjectStore('out', { keyPath: 'cmid' });
    };
    const db = await done(open);
    // A later version wants to change the tables.
    db.onversionchange = () => db.close();

    const tables = (names, mode, use) => new Promise((resolve, reject) => {
        const t = db.transaction(names, mode);
        let result;
        t.oncomplete = () => resolve(result);
        t.onerror = t.onabort = () => reject(t.error);
        Promise.resolve(use(...names.map((n) => t.objectStore(n)))).then(
            (value) => {
                result = value;
            }, () => t.abort());
    });
    const range = (key, low, high) => IDBKeyRange.bound(
        [key, low], [key, high], true, true);

    return {
        get: (what) => tables(['values'], 'readonly',
                              (v) => done(v.get(what))),
        set: (what, value) => tables(['values'], 'readwrite', (v) => done(
            value === undefined ? v.delete(what) : v.put(value, what))),
        conversations: () => tables(['records'], 'readonly',
                                    (r) => done(r.getAll())),
        put: (record, list) => tables(
            ['records', 'messages'], 'readwrite', async (r, m) => {
                list.forEach((one) => m.put(one, [record.key, one.seq]));
                r.put(unite(await done(r.get(record.key)), record));
            }),
        page: (key, before, above, limit) => tables(
            ['messages'], 'readonly', (m) => new Promise((resolve, reject) => {
                const rows = [];
                const walk = m.openCursor(range(key, above, before), 'prev');
                walk.onerror = () => reject(walk.error);
                walk.onsuccess = () => {
                    const at = walk.result;
                    if (!at || rows.length === limit) {
                        resolve(rows.reverse());
                        return;
                    }
                    rows.push(at.value);
                    at.continue();
                };
            })),
        drop: (key) => tables(['records', 'messages'], 'readwrite', (r, m) => {
            r.delete(key);
            m.delete(range(key, -1, Infinity));
        }),
        outbox: () => tables(['out'], 'readonly', (o) => done(o.getAll())),
        putOut: (entry) => tables(['out'], 'readwrite',
                                  (o) => done(o.put(entry))),
        removeOut: (cmid) => tables(['out'], 'readwrite',
                                    (o) => done(o.delete(cmid))),
        clear: () => tables(['records', 'messages', 'out'], 'readwrite',
                            (...all) => all.forEach((t) => t.clear())),
        close: () => db.close(),
    };
}
