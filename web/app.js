/*
 * app.js -- the page: signs in, and shows the two panes.
 *
 * The client (clients/js, served as client/) does all the work with the server;
 * what is here shows it.  State of the page itself (theme, language, live rooms
 * to enter again) is in localStorage, messages are in IndexedDB.
 */

import { ImClient, indexedDbStore, memoryStore } from './client/index.js';
import { ChatPane } from './chat.js';
import { ListPane } from './list.js';
import { newChatDialog, settingsDialog } from './dialogs.js';
import { h, icon, isWide } from './dom.js';
import { problemText, setLanguage, t } from './i18n.js';
import { setting, setSetting } from './settings.js';

const root = document.getElementById('app');

class App {
    async begin() {
        setLanguage(setting('language'));
        this.theme();
        matchMedia('(prefers-color-scheme: dark)').addEventListener(
            'change', () => this.theme());
        let store;
        try {
            store = await indexedDbStore('im-chat');
        } catch {
            store = memoryStore();     // forbidden, as in some private windows
        }
        this.im = new ImClient({ store, tabs: 'chat' });
        this.im.on('state', (state) => this.onState(state));
        this.im.on('error', (e) => console.warn(e));
        this.drafts = new Map();       // key -> what was being written
        addEventListener('online', () => this.im.wake());
        // The back button of a phone leads to the list.
        addEventListener('popstate', () => {
            if (this.panes?.dataset.view === 'chat') {
                this.showList();
            }
        });
        document.addEventListener('visibilitychange', () => {
            if (!document.hidden) {
                this.im.wake();
            }
        });
        if (await this.im.resume()) {
            this.showChat();
        } else {
            this.showLogin();
        }
    }

    theme() {
        const wanted = setting('theme');
        const dark = wanted === 'dark' || wanted !== 'light'
            && matchMedia('(prefers-color-scheme: dark)').matches;
        document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    }

    // After the language was changed.
    again() {
        const open = this.chat?.conversation?.key;
        setLanguage(setting('language'));
        if (this.list) {
            this.showChat();
            if (open) {
                this.open(this.im.conversation(open));
            }
        } else {
            this.showLogin();
        }
    }

    onState(state) {
        if (state.name === 'ended' && state.reason !== 'replaced'
            && this.list) {
            this.showLogin(t(state.reason === 'refused' ? 'ended_refused'
                : 'ended_session'));
        } else if (state.name === 'online') {
            this.enterLiveRooms();
        }
    }

    enterLiveRooms() {
        const rooms = this.entered ? [] : this.liveRooms;
        this.entered = true;
        for (const room of rooms) {
            this.im.joinRoom(room).catch((e) => {
                if (['no_such_room', 'room_dismissed', 'not_member',
                     'forbidden'].includes(e.code)) {
                    this.remember(room, false);
                }
            });
        }
    }

    // Sign in.

    showLogin(message = '') {
        this.close();
        this.drafts.clear();
        let isNew = false;
        const problem = h('p', { class: 'problem', role: 'alert' }, message);
        const title = h('h1');
        const submit = h('button', { class: 'button primary' });
        const other = h('button', { class: 'button plain', type: 'button',
                                    onclick: () => show(!isNew) });
        const hints = [h('small', {}, t('name_hint')),
                       h('small', {}, t('password_hint'))];
        const name = h('input', {
            class: 'input', name: 'name', required: true, maxlength: 32,
            autocomplete: 'username', autocapitalize: 'none', dir: 'ltr',
            spellcheck: 'false' });
        const password = h('input', {
            class: 'input', name: 'password', type: 'password',
            required: true, dir: 'ltr' });
        const show = (what) => {
            isNew = what;
            title.textContent = t(isNew ? 'create_account' : 'welcome');
            submit.textContent = t(isNew ? 'sign_up' : 'sign_in');
            other.textContent = t(isNew ? 'to_sign_in' : 'to_sign_up');
            password.autocomplete = isNew ? 'new-password' : 'current-password';
            hints.forEach((hint) => {
                hint.hidden = !isNew;
            });
        };
        const onsubmit = async (e) => {
            e.preventDefault();
            submit.disabled = true;
            problem.textContent = '';
            try {
                if (isNew) {
                    await this.im.register(name.value, password.value);
                }
                await this.im.login({ name: name.value, device: 'web',
                                      password: password.value });
                this.showChat();
            } catch (error) {
                problem.textContent = problemText(error);
                submit.disabled = false;
                name.focus();
            }
        };
        show(false);
        root.replaceChildren(h('main', { class: 'login' },
            h('form', { onsubmit },
              h('img', { class: 'logo', src: 'icon.svg', alt: '' }), title,
              h('label', { class: 'field' }, h('span', {}, t('name')), name,
                hints[0]),
              h('label', { class: 'field' }, h('span', {}, t('password')),
                password, hints[1]),
              problem, submit, other)));
        name.focus();
    }

    // Two panes.

    close() {
        this.list?.close();
        this.chat?.close();
        this.list = this.chat = this.panes = null;
        this.entered = false;
        document.querySelectorAll('dialog').forEach((d) => d.close());
    }

    showChat() {
        this.close();
        this.list = new ListPane(this);
        this.chat = new ChatPane(this);
        this.panes = h('div', { class: 'app', 'data-view': 'list' },
                       this.list.element, this.chat.element);
        root.replaceChildren(this.panes);
        if (this.im.state.name === 'online') {
            this.enterLiveRooms();
        }
    }

    open(conversation) {
        if (!isWide() && this.panes.dataset.view === 'list') {
            history.pushState({ chat: true }, '');
        }
        this.panes.dataset.view = 'chat';
        this.list.select(conversation.key);
        this.chat.open(conversation);
    }

    // Back to the list, on a phone.
    back() {
        if (history.state?.chat) {
            history.back();            // and then showList()
        } else {
            this.showList();
        }
    }

    showList() {
        this.panes.dataset.view = 'list';
        const key = this.chat.conversation?.key;
        this.chat.leave();
        this.list.select(null);
        this.list.focus(key);
    }

    newChat() {
        newChatDialog(this);
    }

    settings() {
        settingsDialog(this);
    }

    // The live rooms of this user, to be entered again after a reload.
    get liveRooms() {
        return setting('live-' + this.im.uid) ?? [];
    }

    remember(room, isIn) {
        const others = this.liveRooms.filter((r) => r !== room);
        setSetting('live-' + this.im.uid, isIn ? [...others, room] : others);
    }

    async signOut() {
        try {
            const { uid } = this.im;
            await this.im.logout();
            setSetting('live-' + uid, undefined);
            this.showLogin();
        } catch (e) {
            this.tell(problemText(e));
            this.im.connect();
        }
    }

    // A sentence that goes by itself, and is read out.
    tell(text) {
        const note = h('div', { class: 'notice', role: 'alert' }, icon('alert'),
                       text);
        this.panes?.querySelector('.main')?.prepend(note);
        setTimeout(() => note.remove(), 6000);
    }
}

new App().begin();
