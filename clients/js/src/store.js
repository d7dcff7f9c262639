/*
 * store.js -- what a device remembers: session, messages and cursors, messages
 * that are not acknowledged.
 *
 * A store has these functions, all of them async:
 *
 *     get(name), set(name, value)       small values; undefined removes one
 *     conversations()                   records, as put() got them
 *     put(record, messages)             both or none of them
 *     page(key, before, above, limit)   messages in between, the newest ones,
 *                                       oldest first
 *     drop(key)                         all messages of a conversation
 *     outbox(), putOut(entry), removeOut(cmid)      in no order
 *     clear()                           everything but get() and set()
 *
 * and `isMemory`, if what it keeps costs memory: then messages that nobody
 * looks at are dropped from it, too, and fetched from the server again.
 *
 * Several tabs write into one IndexedDB.  Each has proved that it knows all
 * messages between `low` and `cursor`, so two ranges that touch are united, and
 * of two others the one with the higher cursor stays.
 */

export function unite(old, record) {
    if (!old || old.cursor === null || record.cursor === null) {
        return record;
    }
    if (old.low <= record.cursor && record.low <= old.cursor) {
        return { ...record, low: Math.min(old.low, record.low),
                 cursor: Math.max(old.cursor, record.cursor) };
    }
    return old.cursor > record.cursor ? old : record;
}

export function memoryStore() {
    const values = new Map();
    const records = new Map();
    const messages = new Map();        // key -> Map of seq -> message
    const out = new Map();
    return {
        isMemory: true,
        get: async (name) => values.get(name),
        set: async (name, value) => {
            values.set(name, value);
        },
        conversations: async () => [...records.values()],
        put: async (record, list) => {
            const { key } = record;
            records.set(key, unite(records.get(key), record));
            const mine = messages.get(key) ?? new Map();
            messages.set(key, mine);
            list.forEach((m) => mine.set(m.seq, m));
        },
        page: async (key, before, above, limit) =>
            [...messages.get(key)?.values() ?? []]
                .filter((m) => m.seq < before && m.seq > above)
                .sort((a, b) => a.seq - b.seq).slice(-limit),
        drop: async (key) => {
            messages.delete(key);
            records.delete(key);
        },
        outbox: async () => [...out.values()].sort(
            (a, b) => a.cmid < b.cmid ? -1 : 1),
        putOut: async (entry) => {
            out.set(entry.cmid, entry);
        },
        removeOut: async (cmid) => {
            out.delete(cmid);
        },
        clear: async () => {
            [records, messages, out].forEach((map) => map.clear());
        },
    };
}
