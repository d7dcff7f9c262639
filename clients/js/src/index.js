/*
 * The public names of this package; index.d.ts has their types.
 */

export { ImClient } from './client.js';
export { Conversation } from './conversation.js';
export { memoryStore } from './store.js';
export { indexedDbStore } from './idb.js';
export { Problem } from './util.js';
