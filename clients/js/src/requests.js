/*
 * requests.js -- endpoints that need nothing but an answer: no state here
 * changes by them, and what they change elsewhere comes back as an event.
 */

import { Emitter } from './util.js';

// Needs request(method, path, body, options).
export class Requests extends Emitter {

    // One page; with `online` only those who are there.
    members(id, { after, limit = 50, online } = {}) {
        return this.request('GET', `/v1/rooms/${id}/members?limit=${limit}`
                            + (after ? '&after=' + after : '')
                            + (online ? '&online=true' : ''));
    }

    addMembers(id, uids) {
        return this.request('POST', `/v1/rooms/${id}/members`, { uids });
    }

    // { role } or { mute_s }
    setMember(id, uid, what) {
        return this.request('PATCH', `/v1/rooms/${id}/members/${uid}`, what);
    }

    removeMember(id, uid) {
        return this.request('DELETE', `/v1/rooms/${id}/members/${uid}`);
    }

    dismissRoom(id) {
        return this.request('DELETE', `/v1/rooms/${id}`);
    }

    async blocks() {
        return (await this.request('GET', '/v1/blocks')).uids;
    }

    block(uid) {
        return this.request('POST', '/v1/blocks', { uid });
    }

    unblock(uid) {
        return this.request('DELETE', '/v1/blocks/' + uid);
    }

    // All other sessions of the user end.  A repeat would be refused, because
    // the old password is not valid any more.
    changePassword(oldPassword, newPassword) {
        return this.request('POST', '/v1/password', {
            old_password: oldPassword, new_password: newPassword },
                            { once: true });
    }
}
