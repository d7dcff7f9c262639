/*
 * lib.js -- people on the stack whose addresses are in the environment
 * (tools/stack exec), and what breaks it.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImClient } from '../../clients/js/src/index.js';
import { NodeSocket } from '../../clients/js/test/socket.js';

export const TOP = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const URL_HTTP = 'http://' + process.env.IM_HTTP;
export const PASSWORD = 'correct horse battery';

const WAIT_MS = 30000;

const clients = [];
let count = 0;

export function newName(name) {
    return `${name}.${process.pid}.${++count}`;
}

export function newClient(options = {}) {
    const im = new ImClient({ url: URL_HTTP, env: { WebSocket: NodeSocket },
                              ...options });
    clients.push(im);
    return im;
}

// At the end: what is still connected keeps the program running.
export function closeAll() {
    return Promise.all(clients.map((im) => im.close()));
}

// Registered, logged in, and online.
export async function person(name, options, full = newName(name)) {
    const im = newClient(options);
    await im.register(full, PASSWORD);
    await im.login({ name: full, password: PASSWORD, device: 'test' });
    await until(im, 'state', () => im.state.name === 'online');
    return im;
}

// Waits for an event after which `true_()` holds.
export function until(emitter, event, holds, what = event) {
    if (holds()) {
        return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
            off();
            reject(new Error('waited in vain for: ' + what));
        }, WAIT_MS);
        const off = emitter.on(event, () => {
            if (holds()) {
                clearTimeout(timer);
                off();
                resolve();
            }
        });
    });
}

export function bodies(conversation) {
    return conversation.messages.map((m) => m.body);
}

export function reload() {
    process.kill(Number(readFileSync(process.env.IM_NGINX_PID_FILE, 'utf8')),
                 'SIGHUP');
}

// The supervisor starts it again.
export function killLogic() {
    const pids = execFileSync('/usr/bin/python3', [
        join(TOP, 'tools/stack'), 'pids', process.env.IM_STACK_NAME],
                              { encoding: 'utf8' });
    process.kill(Number(/^logic-1 (\d+)$/m.exec(pids)[1]), 'SIGKILL');
}
