/*
 * dialogs.js -- new conversations, details of one, settings.
 *
 * The browser's own <dialog> keeps the focus inside and closes with Escape.
 */

import { avatar, h, iconButton } from './dom.js';
import { LANGUAGES, currentLanguage, problemText, t } from './i18n.js';
import { setting, setSetting } from './settings.js';

function dialog(title, ...content) {
    const element = h('dialog', { 'aria-label': title });
    const close = () => element.close();
    element.append(
        h('header', {}, h('h2', {}, title),
          iconButton('close', t('close'), close)),
        h('div', { class: 'content' }, content));
    element.addEventListener('close', () => element.remove());
    element.addEventListener('click', (e) => {
        if (e.target === element) {
            close();
        }
    });
    document.body.append(element);
    element.showModal();
    return element;
}

const problemLine = () => h('p', { class: 'problem', role: 'alert' });

function field(label, attributes = {}, hint = '') {
    const input = h('input', { class: 'input', required: true, dir: 'auto',
                               autocomplete: 'off', ...attributes });
    const element = h('label', { class: 'field' }, h('span', {}, label), input,
                      hint ? h('small', {}, hint) : '');
    return { input, element };
}

// A button whose action may fail; what went wrong is shown in `line`.
function action(label, line, run, more = {}) {
    const button = h('button', { type: 'button', class: 'button', ...more,
                                 onclick: async () => {
        button.disabled = true;
        line.textContent = '';
        try {
            await run();
        } catch (e) {
            line.textContent = problemText(e);
        }
        button.disabled = false;
    } }, label);
    return button;
}

function choices(name, options, chosen, onchange) {
    return h('fieldset', { class: 'choices' },
             h('legend', { class: 'hidden' }, name),
             Object.entries(options).map(([value, label]) => h('label', {},
                 h('input', { type: 'radio', name, value,
                              checked: value === chosen,
                              onchange: () => onchange(value) }),
                 h('span', {}, label))));
}

// New conversations.

export function newChatDialog(app) {
    const { im } = app;
    const line = problemLine();
    const place = h('div');
    const submit = h('button', { class: 'button primary' });
    let kind = 'person';
    let create;

    const forms = {
        person() {
            const name = field(t('user_name'), { dir: 'ltr',
                                                 autocapitalize: 'none' });
            create = async () => im.conversation({
                with: (await find(im, [name.input.value.trim()]))[0] });
            return [[name], 'start'];
        },
        group() {
            const name = field(t('group_name'), { maxlength: 64 });
            const members = field(t('member_names'), {
                dir: 'ltr', autocapitalize: 'none' });
            create = async () => im.createRoom({
                kind: 'group', name: name.input.value.trim(),
                members: await find(im, members.input.value.split(/[\s,，،]+/)
                    .filter(Boolean)) });
            return [[name, members], 'create'];
        },
        live() {
            const name = field(t('room_name'), { maxlength: 64 },
                               t('live_hint'));
            const keep = h('input', { type: 'checkbox', checked: true });
            const element = h('label', { class: 'check' }, keep,
                              t('keep_history'));
            create = async () => {
                const c = await im.createRoom({
                    kind: 'live', name: name.input.value.trim(),
                    history: keep.checked });
                app.remember(c.room, true);
                return c;
            };
            return [[name, { element }], 'create'];
        },
        join() {
            const number = field(t('room_number'), { inputmode: 'numeric',
                                                     pattern: '[0-9]+',
                                                     dir: 'ltr' });
            create = async () => {
                const c = await im.joinRoom(number.input.value.trim());
                app.remember(c.room, c.kind === 'live');
                return c;
            };
            return [[number], 'join'];
        },
    };
    const show = (what) => {
        kind = what;
        line.textContent = '';
        const [fields, label] = forms[kind]();
        submit.textContent = t(label);
        place.replaceChildren(...fields.map((f) => f.element));
        return fields[0].input;
    };
    const first = show('person');
    const element = dialog(t('new_chat'),
        choices(t('kind'), { person: t('person'), group: t('group'),
                             live: t('live_room'), join: t('join') },
                kind, show),
        h('form', { onsubmit: async (e) => {
            e.preventDefault();
            submit.disabled = true;
            line.textContent = '';
            try {
                const c = await create();
                element.close();
                app.open(c);
            } catch (error) {
                line.textContent = problemText(error);
            }
            submit.disabled = false;
        } }, place, line, submit));
    first.focus();
}

// uids of names; refused if one of them does not exist
async function find(im, names) {
    const users = names.length ? await im.lookUp({ names }) : [];
    const uids = names.map((name) => users.find((u) => u.name === name)?.uid);
    if (uids.includes(undefined)) {
        const e = new Error(names[uids.indexOf(undefined)]);
        e.code = 'no_such_user';
        throw e;
    }
    return uids;
}

// Details.

export function detailsDialog(app, c) {
    const { im } = app;
    const line = problemLine();
    const toggle = (what) => h('label', { class: 'check' },
        h('input', { type: 'checkbox', checked: c[what],
                     onchange: async (e) => {
            try {
                await im.setConversation(c, { [what]: e.target.checked });
            } catch (error) {
                e.target.checked = c[what];
                line.textContent = problemText(error);
            }
        } }), t(what));
    const element = dialog(c.title || t('details'));
    const content = element.querySelector('.content');
    const close = () => {
        element.close();
        app.back();
    };
    if (c.kind !== 'live' && !c.gone) {
        content.append(h('section', {}, toggle('pinned'), toggle('muted'),
            h('div', { class: 'actions' },
              action(t('hide'), line, async () => {
                  await im.setConversation(c, { hidden: true });
                  close();
              }))));
    }
    content.append(line);
    if (c.with && c.with !== im.uid) {
        content.append(blockSection(im, c, line));
    } else if (c.room) {
        roomSection(app, c, line, close).then(
            (sections) => content.append(...sections),
            (e) => {
                line.textContent = problemText(e);
            });
    }
}

function blockSection(im, c, line) {
    const place = h('section');
    const draw = (isBlocked) => place.replaceChildren(action(
        t(isBlocked ? 'unblock' : 'block'), line, async () => {
            await (isBlocked ? im.unblock(c.with) : im.block(c.with));
            draw(!isBlocked);
        }, { class: isBlocked ? 'button' : 'button danger' }));
    im.blocks().then((uids) => draw(uids.includes(c.with)), (e) => {
        line.textContent = problemText(e);
    });
    return place;
}

async function roomSection(app, c, line, close) {
    const { im } = app;
    const room = await im.fetchRoom(c.room);
    const rules = room.role === 'owner' || room.role === 'admin';
    const list = h('ul');
    const more = h('div', { class: 'actions' });

    const memberRow = (m) => {
        const name = im.user(m.uid)?.name ?? m.uid;
        return h('li', { class: 'line' },
            avatar('u' + m.uid, name,
                   m.online ? h('span', { class: 'dot' }) : '', 'small'),
            h('span', { class: 'grow' }, name, h('span', { class: 'soft' },
                m.uid === im.uid ? ` · ${t('you')}` : '',
                ['owner', 'admin'].includes(m.role) ? ` · ${t(m.role)}` : '')),
            rules && m.uid !== im.uid && m.role === 'member'
                && room.kind === 'group'
                ? action(t('remove'), line, async () => {
                    await im.removeMember(c.room, m.uid);
                    await load();
                }) : '');
    };
    const load = async (after) => {
        const page = await im.members(c.room, { after });
        const unknown = page.members.map((m) => m.uid)
            .filter((uid) => !im.user(uid));
        if (unknown.length) {
            await im.lookUp({ uids: unknown });
        }
        if (!after) {
            list.replaceChildren();
        }
        list.append(...page.members.map(memberRow));
        more.replaceChildren(page.more ? action(t('load_more'), line,
            () => load(page.members[page.members.length - 1].uid)) : '');
    };
    const sections = [h('section', {},
        h('p', { class: 'soft' }, t('number_of_room', { n: c.room })))];
    if (!c.gone) {
        await load();
        sections.push(h('section', {}, h('h3', {}, t('members')), list, more));
    }
    if (rules && room.kind === 'group') {
        const name = field(t('add_member'), { dir: 'ltr' });
        sections.push(h('section', {}, name.element,
            action(t('add'), line, async () => {
                await im.addMembers(c.room, await find(
                    im, [name.input.value.trim()]));
                name.input.value = '';
                await load();
            })));
    }
    const end = h('div', { class: 'actions' });
    if (!c.gone && (room.role !== 'owner' || room.kind === 'live')) {
        end.append(action(t('leave'), line, async () => {
            await im.leaveRoom(c.room);
            app.remember(c.room, false);
            close();
        }));
    }
    if (room.role === 'owner') {
        end.append(action(t('dismiss'), line, async () => {
            await im.dismissRoom(c.room);
            app.remember(c.room, false);
            close();
        }, { class: 'button danger' }));
    }
    sections.push(h('section', {}, end));
    return sections;
}

// Settings.

export function settingsDialog(app) {
    const { im } = app;
    const line = problemLine();
    const device = h('p', { class: 'soft' });
    im.request('GET', '/v1/me').then((me) => {
        device.textContent = t('this_device', { name: me.device });
    }, () => {});
    const element = dialog(t('settings'),
        h('section', {}, h('h3', {}, t('appearance')),
          choices(t('appearance'), { auto: t('theme_auto'),
                                     light: t('theme_light'),
                                     dark: t('theme_dark') },
                  setting('theme') ?? 'auto', (theme) => {
                      setSetting('theme', theme);
                      app.theme();
                  }),
          h('h3', {}, t('language')),
          choices(t('language'), LANGUAGES, currentLanguage(), (language) => {
              setSetting('language', language);
              element.close();
              app.again();
              settingsDialog(app);
          })),
        h('section', {}, h('h3', {}, t('account')),
          h('div', { class: 'line gap' }, avatar('u' + im.uid, im.name),
            h('div', { class: 'grow' },
              h('div', {}, t('signed_in_as', { name: im.name })), device)),
          action(t('sign_out'), line, async () => {
              element.close();
              await app.signOut();
          }), line),
        passwordSection(im), blocksSection(im));
}

function passwordSection(im) {
    const line = problemLine();
    const attributes = { type: 'password', dir: 'ltr' };
    const before = field(t('old_password'), {
        ...attributes, autocomplete: 'current-password' });
    const after = field(t('new_password'), {
        ...attributes, autocomplete: 'new-password' }, t('ends_others'));
    return h('section', {}, h('h3', {}, t('change_password')),
        h('form', { onsubmit: async (e) => {
            e.preventDefault();
            try {
                await im.changePassword(before.input.value, after.input.value);
                before.input.value = after.input.value = '';
                line.textContent = t('password_changed');
            } catch (error) {
                line.textContent = problemText(error);
            }
        } }, before.element, after.element, line,
          h('button', { class: 'button' }, t('change_password'))));
}

function blocksSection(im) {
    const line = problemLine();
    const list = h('ul');
    const draw = async () => {
        const uids = await im.blocks();
        const unknown = uids.filter((uid) => !im.user(uid));
        for (let n = 0; n < unknown.length; n += 200) {
            await im.lookUp({ uids: unknown.slice(n, n + 200) });
        }
        list.replaceChildren(...uids.length ? uids.map((uid) => h(
            'li', { class: 'line' },
            avatar('u' + uid, im.user(uid).name, '', 'small'),
            h('span', { class: 'grow' }, im.user(uid).name),
            action(t('unblock'), line, async () => {
                await im.unblock(uid);
                await draw();
            }))) : [h('li', { class: 'soft' }, t('nobody_blocked'))]);
    };
    draw().catch((e) => {
        line.textContent = problemText(e);
    });
    return h('section', {}, h('h3', {}, t('blocked_users')), list, line);
}
