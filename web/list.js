/*
 * list.js -- the pane with the conversations.
 *
 * Rows are kept and moved, not made anew, so that the focus and the scroll
 * position stay when a message comes.  Keys: up, down, Home and End move, Enter
 * opens.
 */

import { avatar, h, icon, iconButton, textOf } from './dom.js';
import { shortTime, t } from './i18n.js';

const WATCHED_MAX = 200;

export class ListPane {
    constructor(app) {
        this.app = app;
        this.im = app.im;
        this.rows = new Map();         // key -> { button, text }
        this.selected = null;
        this.watched = new Map();      // uid -> function that ends it
        this.items = h('ul', { 'aria-label': t('conversations'),
                               onkeydown: (e) => this.onKey(e) });
        this.status = h('div', { class: 'subtitle connection',
                                 role: 'status' });
        this.find = h('input', {
            class: 'input', type: 'search', placeholder: t('search'),
            'aria-label': t('search'), oninput: () => this.draw(),
            onkeydown: (e) => e.key === 'ArrowDown' && this.focus() });
        this.empty = h('div', { class: 'empty' });
        this.element = h('nav', { class: 'side',
                                  'aria-label': t('conversations') },
            h('div', { class: 'bar' },
              avatar('u' + this.im.uid, this.im.name),
              h('div', { class: 'grow' },
                h('h1', { class: 'title' }, this.im.name), this.status),
              iconButton('plus', t('new_chat'), () => app.newChat()),
              iconButton('gear', t('settings'), () => app.settings())),
            h('div', { class: 'find' }, icon('search'), this.find),
            h('div', { class: 'list' }, this.items, this.empty));
        this.frame = null;
        this.offs = ['conversations', 'users', 'presence', 'room',
                     'room_event'].map((e) => this.im.on(e, () => this.soon()));
        this.offs.push(this.im.on('state', () => this.drawState()));
        this.drawState();
        this.draw();
    }

    close() {
        this.offs.forEach((off) => off());
        this.watched.forEach((off) => off());
        cancelAnimationFrame(this.frame);
    }

    drawState() {
        const { name } = this.im.state;
        this.status.dataset.state = name;
        this.status.textContent = name === 'ended' ? t('state_closed')
            : t('state_' + name);
        this.soon();
    }

    soon() {
        this.frame ??= requestAnimationFrame(() => {
            this.frame = null;
            this.draw();
        });
    }

    draw() {
        const wanted = this.find.value.trim().toLowerCase();
        const all = this.im.conversations;
        const shown = wanted ? all.filter(
            (c) => c.title.toLowerCase().includes(wanted)) : all;
        let before = null;
        const keys = new Set(shown.map((c) => c.key));
        for (const [key, row] of this.rows) {
            if (!keys.has(key)) {
                row.item.remove();
                this.rows.delete(key);
            }
        }
        for (const c of shown) {
            const row = this.row(c);
            const place = before ? before.nextSibling : this.items.firstChild;
            if (row.item !== place) {
                const focused = row.item.contains(document.activeElement);
                this.items.insertBefore(row.item, place);
                if (focused) {
                    row.button.focus();
                }
            }
            before = row.item;
        }
        this.roving();
        this.watch(shown);
        const unread = all.filter((c) => !c.muted).reduce(
            (sum, c) => sum + c.unread, 0);
        document.title = (unread ? `(${unread}) ` : '') + t('chat');
        this.drawEmpty(shown.length, wanted);
    }

    drawEmpty(count, wanted) {
        const text = count || this.im.state.name !== 'online' && !wanted ? ''
            : t(wanted ? 'nothing_found' : 'no_conversations');
        this.empty.hidden = !text;
        this.empty.replaceChildren(...text ? [
            icon('chat'), h('strong', {}, text),
            wanted ? '' : h('span', {}, t('no_conversations_hint')),
            wanted ? '' : h('button', {
                class: 'button primary', onclick: () => this.app.newChat() },
                            t('new_chat'))] : []);
    }

    snippet(c) {
        const waiting = c.outgoing[c.outgoing.length - 1];
        const m = waiting ?? c.last;
        if (!m) {
            return c.kind === 'live' ? t('live_room')
                : c.room ? t('group') : '';
        }
        const text = textOf(m.body).replace(/\s+/g, ' ').slice(0, 200);
        const who = waiting || m.from === this.im.uid ? t('you')
            : c.room ? this.im.user(m.from)?.name : '';
        return who ? `${who}: ${text}` : text;
    }

    // One row, drawn anew only if it has changed.
    row(c) {
        const title = c.title || '…';
        const online = c.with !== null && this.im.isOnline(c.with);
        const time = c.last ? shortTime(c.last.time) : '';
        const snippet = this.snippet(c);
        const live = c.kind === 'live';
        const count = live ? this.im.room(c.room)?.online : null;
        const look = JSON.stringify([title, online, time, snippet, c.unread,
                                     c.pinned, c.muted, live, count,
                                     c.key === this.selected]);
        let row = this.rows.get(c.key);
        if (!row) {
            const button = h('button', { class: 'row', tabindex: '-1',
                                         onclick: () => this.app.open(c) });
            row = { button, item: h('li', {}, button), look: '' };
            this.rows.set(c.key, row);
        }
        if (row.look === look) {
            return row;
        }
        row.look = look;
        const { button } = row;
        button.classList.toggle('is-unread', c.unread > 0);
        if (c.key === this.selected) {
            button.setAttribute('aria-current', 'true');
        } else {
            button.removeAttribute('aria-current');
        }
        button.setAttribute('aria-label', [
            title, live && t('live_room'), online && t('online'),
            c.unread && t('unread', { n: c.unread }), snippet, time]
            .filter(Boolean).join(', '));
        button.replaceChildren(
            avatar(c.key, title, online ? h('span', { class: 'dot' }) : ''),
            h('span', { class: 'name' }, h('span', {}, h('bdi', {}, title)),
              live ? h('span', { class: 'tag' }, count
                  ? `${t('live')} · ${count}` : t('live')) : '',
              c.pinned ? icon('pin') : '', c.muted ? icon('mute') : ''),
            h('time', {}, time),
            h('span', { class: 'snippet' }, h('bdi', {}, snippet)),
            c.unread ? h('span', { class: c.muted ? 'badge quiet' : 'badge' },
                         c.unread > 999 ? '999+' : String(c.unread)) : '');
        return row;
    }

    // Presence of those whose rows are there.
    watch(shown) {
        const uids = shown.map((c) => c.with).filter(Boolean)
            .slice(0, WATCHED_MAX);
        for (const [uid, off] of this.watched) {
            if (!uids.includes(uid)) {
                this.watched.delete(uid);
                off();
            }
        }
        const fresh = uids.filter((uid) => !this.watched.has(uid));
        for (const uid of fresh) {
            this.watched.set(uid, this.im.watch([uid]));
        }
    }

    select(key) {
        this.selected = key;
        this.draw();
    }

    // Tab comes to one row only.
    roving(button) {
        const all = [...this.items.querySelectorAll('.row')];
        const one = button ?? all.find((b) => b === document.activeElement)
            ?? all.find((b) => b.hasAttribute('aria-current')) ?? all[0];
        all.forEach((b) => {
            b.tabIndex = b === one ? 0 : -1;
        });
    }

    focus(key) {
        (this.rows.get(key)?.button ?? this.items.querySelector('.row')
         ?? this.find).focus();
    }

    onKey(e) {
        const all = [...this.items.querySelectorAll('.row')];
        const at = all.indexOf(document.activeElement);
        const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0,
                     End: all.length - 1 }[e.key];
        if (to === undefined) {
            return;
        }
        e.preventDefault();
        const next = to < 0 ? this.find : all[to];
        next?.focus();
        if (next && to >= 0) {
            this.roving(next);
        }
    }
}
