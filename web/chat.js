/*
 * chat.js -- the pane with one conversation.
 *
 * Of a long history only a window of rows is in the page: from `first` to `end`
 * (numbers of messages; end = Infinity follows what comes).  The window grows
 * towards the edge that comes into view and shrinks at the other one, and after
 * each change the row that was on top stays where it was on the screen, so that
 * nothing jumps.
 */

import { avatar, h, icon, iconButton, isWide, linked, textOf } from './dom.js';
import { detailsDialog } from './dialogs.js';
import { clockTime, dayName, problemText, sameDay, t } from './i18n.js';

const ROWS_FIRST = 60;         // when a conversation is opened
const ROWS_MORE = 40;
const ROWS_MAX = 180;
const NEAR_PX = 700;           // of an edge: time for more
const GROUP_MS = 5 * 60000;    // messages of one person that stand together
const NOTICE_MS = 700;         // a connection may be away so long unmentioned

export class ChatPane {
    constructor(app) {
        this.app = app;
        this.im = app.im;
        this.conversation = null;
        this.offs = [];
        this.element = h('main', { class: 'main' });
        this.always = [
            this.im.on('state', () => this.drawState()),
            ...['users', 'presence', 'room', 'room_event'].map(
                (e) => this.im.on(e, () => this.drawHeader())),
            this.im.on('users', () => this.draw()),
        ];
        this.onShow = () => this.markRead();
        document.addEventListener('visibilitychange', this.onShow);
        addEventListener('focus', this.onShow);
        this.showNothing();
    }

    close() {
        this.leave();
        this.always.forEach((off) => off());
        clearInterval(this.ticker);
        document.removeEventListener('visibilitychange', this.onShow);
        removeEventListener('focus', this.onShow);
    }

    showNothing() {
        this.element.replaceChildren(h('div', { class: 'empty' }, icon('chat'),
            h('strong', {}, t('choose')), h('span', {}, t('choose_hint'))));
    }

    leave() {
        this.offs.forEach((off) => off());
        this.offs = [];
        if (this.conversation) {
            this.app.drafts.set(this.conversation.key, this.input.value);
            this.conversation.trim(ROWS_MAX);
            this.conversation = null;
        }
        clearTimeout(this.noticeTimer);
        this.showNothing();
    }

    async open(c) {
        this.leave();
        this.conversation = c;
        this.rows = new Map();         // key -> { element, look }
        this.first = 0;
        this.end = Infinity;
        this.unreadFrom = c.unread > 0 ? c.readSeq : Infinity;
        this.missed = 0;
        this.build(c);
        this.offs = [
            c.on('message', (m) => this.onMessage(m)),
            c.on('outgoing', () => this.draw()),
            c.on('older', () => this.draw()),
            c.on('reset', () => this.toEnd()),
            c.on('gone', () => this.drawHeader()),
        ];
        if (c.with) {
            this.offs.push(this.im.watch([c.with]));
        } else {
            this.im.fetchRoom(c.room).catch(() => {});
        }
        // A keyboard that comes up must not hide the end.
        const size = new ResizeObserver(() => {
            if (this.stick) {
                this.log.scrollTop = this.log.scrollHeight;
            }
        });
        size.observe(this.log);
        this.offs.push(() => size.disconnect());
        this.drawHeader();
        this.drawState();
        this.toEnd();
        if (isWide()) {
            this.input.focus();
        }
        // From what is stored here, and then from the server.
        while (c === this.conversation && c.messages.length < ROWS_FIRST
               && c.hasOlder) {
            try {
                if (await c.loadOlder(ROWS_FIRST) === 0) {
                    break;
                }
            } catch (e) {
                break;                 // onState() tries again
            }
        }
        if (c === this.conversation) {
            this.toEnd();
            this.showUnread();
        }
    }

    build(c) {
        this.title = h('h2', { class: 'title' });
        this.subtitle = h('div', { class: 'subtitle' });
        this.face = h('span');
        this.notice = h('div', { class: 'notice', role: 'status',
                                 hidden: true });
        this.notice.hidden = true;
        this.log = h('div', { class: 'log', tabindex: '0', role: 'log',
                              'aria-live': 'off',
                              onscroll: () => this.onScroll() });
        this.heard = h('div', { class: 'hidden', 'aria-live': 'polite' });
        this.down = h('button', { class: 'to-end', 'aria-label': t('to_end'),
                                  title: t('to_end'),
                                  onclick: () => this.toEnd() });
        this.down.hidden = true;
        this.input = h('textarea', {
            rows: '1', placeholder: t('write'), 'aria-label': t('write'),
            dir: 'auto', enterkeyhint: 'send',
            oninput: () => this.onInput(), onkeydown: (e) => this.onKey(e) });
        this.input.value = this.app.drafts.get(c.key) ?? '';
        this.sendButton = h('button', { class: 'send', 'aria-label': t('send'),
                                        title: t('send') }, icon('send'));
        this.element.replaceChildren(
            h('header', { class: 'bar' },
              iconButton('back', t('back'), () => this.app.back(),
                         { class: 'icon-button back' }),
              this.face,
              h('div', { class: 'grow' }, this.title, this.subtitle),
              iconButton('more', t('details'),
                         () => detailsDialog(this.app, c))),
            this.notice,
            h('div', { class: 'scroll' }, this.log, this.down),
            this.heard,
            h('form', { class: 'composer', onsubmit: (e) => {
                e.preventDefault();
                this.send();
            } }, this.input, this.sendButton));
        this.onInput();
    }

    drawHeader() {
        const c = this.conversation;
        if (!c) {
            return;
        }
        const title = c.title || '…';
        const online = c.with !== null && this.im.isOnline(c.with);
        if (this.title.textContent !== title || !this.face.firstChild) {
            this.title.replaceChildren(h('bdi', {}, title));
            this.face.replaceChildren(avatar(c.key, title));
            this.log.setAttribute('aria-label', t('messages', { name: title }));
        }
        this.subtitle.textContent = this.subtitleOf(c, online);
        this.input.disabled = c.gone;
        if (c.gone) {
            this.input.placeholder = t('removed');
        }
    }

    subtitleOf(c, online) {
        if (c.with) {
            return c.with === this.im.uid ? t('you')
                : online === null ? '' : t(online ? 'online' : 'offline');
        }
        const room = this.im.room(c.room);
        const parts = c.gone ? [t('removed')] : [
            c.kind === 'live' ? t('live_room')
                : room?.members && t('n_members', { n: room.members }),
            room?.online && t('n_online', { n: room.online })];
        return parts.filter(Boolean).join(' · ');
    }

    // What the connection is doing, if it does not work.
    drawState() {
        const { name, retryAt, reason } = this.im.state;
        clearInterval(this.ticker);
        clearTimeout(this.noticeTimer);
        if (!this.conversation) {
            return;
        }
        if (name === 'online') {
            this.notice.hidden = true;
            this.fill();
            return;
        }
        const show = () => {
            const seconds = Math.ceil((retryAt - Date.now()) / 1000);
            const text = reason === 'replaced' ? t('ended_replaced')
                : seconds > 1 ? t('state_wait_s', { n: seconds })
                    : t('state_' + (name === 'ended' ? 'closed' : name));
            if (this.noticeText?.textContent !== text
                || !this.notice.firstChild) {
                this.noticeText = h('span', {}, text);
                this.notice.replaceChildren(this.noticeText,
                    reason === 'replaced' ? h('button', {
                        onclick: () => this.im.connect() }, t('use_here'))
                        : name === 'waiting' && seconds > 1 ? h('button', {
                            onclick: () => this.im.wake() }, t('try_now'))
                            : '');
            }
            this.notice.hidden = false;
        };
        if (!this.notice.hidden) {
            show();
        }
        this.noticeTimer = setTimeout(() => {
            show();
            this.ticker = setInterval(show, 1000);
        }, NOTICE_MS);
    }

    // Rows.

    // The messages of the window.
    visible() {
        return this.conversation.messages.filter(
            (m) => m.seq >= this.first && m.seq <= this.end);
    }

    get isAtEnd() {
        const { log } = this;
        return this.end === Infinity
            && log.scrollTop + log.clientHeight >= log.scrollHeight - 60;
    }

    onMessage(m) {
        const mine = m.from === this.im.uid;
        if (!this.isAtEnd && !mine) {
            this.missed++;
        }
        if (!mine) {
            const who = this.conversation.room
                ? this.im.user(m.from)?.name ?? '' : this.conversation.title;
            this.heard.textContent = `${who}: ${textOf(m.body)}`;
        }
        this.draw();
    }

    toEnd() {
        const { messages } = this.conversation;
        this.end = Infinity;
        this.first = messages.length > ROWS_FIRST
            ? messages[messages.length - ROWS_FIRST].seq : 0;
        this.missed = 0;
        this.draw(true);
    }

    showUnread() {
        const mark = this.rows.get('fresh')?.element;
        if (mark?.isConnected) {
            this.log.scrollTop = Math.min(
                this.log.scrollHeight, mark.offsetTop - 60);
        }
    }

    // Draws what has changed, and keeps the place.
    draw(toEnd = false) {
        const c = this.conversation;
        if (!c) {
            return;
        }
        const { log } = this;
        const stay = toEnd || this.isAtEnd ? null : this.topRow();
        const offset = stay ? this.rows.get(stay).element.offsetTop
            - log.scrollTop : 0;
        if (!stay && this.end === Infinity) {
            this.shrinkAtBeginning();
        }
        const wanted = this.wanted(c);
        const keys = new Set(wanted.map(([key]) => key));
        for (const [key, row] of this.rows) {
            if (!keys.has(key)) {
                row.element.remove();
                this.rows.delete(key);
            }
        }
        let before = null;
        for (const [key, look, make] of wanted) {
            let row = this.rows.get(key);
            if (row?.look !== look) {
                const element = make();
                row?.element.replaceWith(element);
                row = { element, look };
                this.rows.set(key, row);
            }
            const place = before ? before.nextSibling : log.firstChild;
            if (row.element !== place) {
                log.insertBefore(row.element, place);
            }
            before = row.element;
        }
        if (!stay) {
            log.scrollTop = log.scrollHeight;
        } else if (this.rows.has(stay)) {
            log.scrollTop = this.rows.get(stay).element.offsetTop - offset;
        }
        this.drawDown();
        this.markRead();
    }

    // The key of the first message that can be seen.
    topRow() {
        const top = this.log.scrollTop;
        for (const element of this.log.children) {
            if (element.dataset.key
                && element.offsetTop + element.offsetHeight > top) {
                return element.dataset.key;
            }
        }
        return null;
    }

    shrinkAtBeginning() {
        const rows = this.visible();
        if (rows.length > ROWS_MAX) {
            this.first = rows[rows.length - ROWS_MAX].seq;
        }
    }

    // [key, what it looks like, function that makes it] of each row.
    wanted(c) {
        const rows = [];
        const messages = this.visible();
        if (!messages.length && !c.outgoing.length) {
            const text = c.hasOlder && c.cursor !== null ? t('loading')
                : t('say_hello', { name: c.title });
            rows.push(['none', text, () => h('div', { class: 'day' }, text)]);
        } else if (!c.hasOlder && messages[0] === c.messages[0]) {
            rows.push(['begin', '', () => h('div', { class: 'day' },
                                            t('begin'))]);
        }
        let last = null;
        let divided = false;
        const all = this.end === Infinity ? [...messages, ...c.outgoing]
            : messages;
        for (const m of all) {
            const time = m.time ?? m.at;
            const from = m.from ?? this.im.uid;
            const newDay = !last || !sameDay(last.time, time);
            if (newDay) {
                const name = dayName(time);
                rows.push([`day ${new Date(time).toDateString()}`, name,
                           () => h('div', { class: 'day' }, name)]);
            }
            if (!divided && m.seq > this.unreadFrom && from !== this.im.uid) {
                divided = true;
                rows.push(['fresh', '', () => h('div', { class: 'day fresh' },
                                                t('new_messages'))]);
            }
            const isFirst = newDay || last.from !== from
                || time - last.time > GROUP_MS;
            rows.push(this.wantedMessage(c, m, from, time, isFirst));
            last = { from, time };
        }
        return rows;
    }

    wantedMessage(c, m, from, time, isFirst) {
        const mine = from === this.im.uid;
        const state = m.state ?? 'acked';
        const who = c.room && !mine && isFirst
            ? this.im.user(from)?.name ?? '…' : '';
        const key = mine && m.cmid ? m.cmid : `${m.seq}`;
        return [key, `${state} ${isFirst} ${who} ${time} ${m.error ?? ''}`,
                () => this.message(c, m, { key, mine, state, who, from, time,
                                           isFirst })];
    }

    message(c, m, { key, mine, state, who, from, time, isFirst }) {
        const isText = typeof (m.body?.text ?? m.body) === 'string';
        const label = { acked: 'sent', failed: 'not_sent' }[state] ?? 'sending';
        const sign = { acked: 'tick', failed: 'alert' }[state] ?? 'clock';
        const bubble = h('div', { class: 'bubble' },
            who ? h('span', { class: 'who ' + avatar('u' + from, who)
                .className.split(' ')[1] }, who) : '',
            h('p', { class: isText ? null : 'data' },
              linked(textOf(m.body))),
            h('span', { class: 'meta' },
              h('time', { datetime: new Date(time).toISOString() },
                clockTime(time)),
              mine ? h('span', { role: 'img', 'aria-label': t(label) },
                       icon(sign)) : ''));
        const face = !c.room || mine ? ''
            : isFirst ? avatar('u' + from, who, '', 'small')
                : h('span', { class: 'space' });
        const element = h('div', { class: ['message', mine && 'mine',
                                           isFirst && 'first',
                                           state === 'failed' && 'is-failed',
                                           mine && !['acked', 'failed']
                                               .includes(state) && 'is-waiting']
            .filter(Boolean).join(' ') }, face, bubble);
        const row = state === 'failed' ? h('div', { class: 'failed' }, element,
                                           this.repair(m)) : element;
        row.dataset.key = key;
        return row;
    }

    repair(m) {
        return h('div', { class: 'fix' },
                 h('span', {}, problemText({ code: m.error,
                                             message: m.error })),
                 h('button', { type: 'button',
                               onclick: () => this.im.resend(m.cmid)
                                   ?.catch(() => {}) }, t('retry')),
                 h('button', { type: 'button',
                               onclick: () => this.im.discard(m.cmid) },
                   t('remove')));
    }

    drawDown() {
        const hidden = this.stick = this.isAtEnd;
        if (hidden) {
            this.missed = 0;
        }
        this.down.hidden = hidden;
        this.down.replaceChildren(icon('down'), this.missed
            ? h('span', { class: 'badge' }, String(this.missed)) : '');
    }

    // Scrolling.

    onScroll() {
        this.stick = this.isAtEnd;
        if (!this.scrolling) {
            this.scrolling = true;
            requestAnimationFrame(() => {
                this.scrolling = false;
                if (this.conversation) {
                    this.drawDown();
                    this.markRead();
                    this.fill();
                }
            });
        }
    }

    // More rows at the edge that comes into view.
    fill() {
        const c = this.conversation;
        const { log } = this;
        const rows = this.visible();
        if (log.scrollTop < NEAR_PX) {
            const at = c.messages.indexOf(rows[0]);
            if (at > 0) {
                this.first = c.messages[Math.max(0, at - ROWS_MORE)].seq;
                this.shrinkAtEnd();
                this.draw();
            } else if (c.hasOlder) {
                this.older(c);
            }
        }
        if (this.end !== Infinity && log.scrollTop + log.clientHeight
            > log.scrollHeight - NEAR_PX) {
            const at = c.messages.indexOf(rows[rows.length - 1]) + ROWS_MORE;
            this.end = at >= c.messages.length - 1 ? Infinity
                : c.messages[at].seq;
            this.shrinkAtBeginning();
            this.draw();
        }
    }

    shrinkAtEnd() {
        const rows = this.visible();
        if (rows.length > ROWS_MAX) {
            this.end = rows[ROWS_MAX - 1].seq;
        }
    }

    async older(c) {
        if (this.loading === c) {
            return;
        }
        this.loading = c;
        try {
            const oldest = c.messages[0];
            const count = await c.loadOlder(ROWS_MORE);
            this.loading = null;
            if (count && c === this.conversation && this.first <= (
                oldest?.seq ?? 0)) {
                this.first = c.messages[0].seq;
                this.shrinkAtEnd();
                this.draw();
            }
        } catch {
            // Without a connection; drawState() asks again.
        } finally {
            this.loading = null;
        }
    }

    markRead() {
        const c = this.conversation;
        if (c?.unread && !document.hidden && document.hasFocus() && this.isAtEnd
            && this.im.state.name === 'online') {
            c.read();
        }
    }

    // Writing.

    onInput() {
        const { input } = this;
        input.style.setProperty('block-size', 'auto');
        input.style.setProperty('block-size', `${input.scrollHeight + 2}px`);
        input.style.setProperty('overflow-y', input.scrollHeight > 300
            ? 'auto' : 'hidden');
        this.sendButton.disabled = !input.value.trim();
    }

    onKey(e) {
        if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
            e.preventDefault();
            this.send();
        } else if (e.key === 'Escape') {
            this.app.list.focus(this.conversation.key);
        }
    }

    send() {
        const text = this.input.value.trim();
        const c = this.conversation;
        if (!text || c.gone) {
            return;
        }
        this.input.value = '';
        this.onInput();
        this.unreadFrom = Infinity;
        c.send({ text }).catch((e) => {
            if (e.code === 'too_large' && this.conversation === c) {
                this.input.value = text;
                this.onInput();
                this.app.tell(problemText(e));
            }
        });
        this.toEnd();
        this.input.focus();
    }
}
