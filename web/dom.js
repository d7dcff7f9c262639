/*
 * dom.js -- elements, icons and texts.
 *
 * Whatever a user wrote gets into the page by text nodes only: no function here
 * takes HTML, and the server forbids it (Trusted Types in the policy of
 * conf/nginx.conf).
 */

export function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value === undefined || value === null || value === false) {
            continue;
        }
        if (name.startsWith('on')) {
            element.addEventListener(name.slice(2), value);
        } else if (name === 'class') {
            element.className = value;
        } else if (name === 'value' || name === 'checked'
                   || name === 'disabled') {
            element[name] = value;
        } else {
            element.setAttribute(name, value === true ? '' : value);
        }
    }
    element.append(...children.flat().filter((c) => c !== null
                                             && c !== undefined
                                             && c !== false));
    return element;
}

const PATHS = {
    send: 'M4 12 20 4l-5 16-3.5-6.5zM11.5 13.5 20 4',
    back: 'M15 5l-7 7 7 7',
    plus: 'M12 5v14M5 12h14',
    gear: 'M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4',
    more: 'M12 6.5v.01M12 12v.01M12 17.5v.01',
    search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4',
    down: 'M6 10l6 6 6-6',
    close: 'M6 6l12 12M18 6 6 18',
    tick: 'M5 12.5l4.5 4.5L19 7.5',
    clock: 'M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 8v4.5l3 1.5',
    alert: 'M12 8v5M12 16.5v.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z',
    pin: 'M9 4h6l-1 6 3 3H7l3-3zM12 13v7',
    mute: 'M18 15V11a6 6 0 0 0-9-5.200M6 9v6l-2 2h13M10 20h4M4 4l16 16',
    chat: 'M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 '
        + '2.5 0 0 1-2.5 2.5H11l-5 4v-4.100A2.5 2.5 0 0 1 4 13.5z',
};

export function icon(name) {
    const ns = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(ns, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('class', 'icon icon-' + name);
    svg.setAttribute('aria-hidden', 'true');
    const path = document.createElementNS(ns, 'path');
    path.setAttribute('d', PATHS[name]);
    svg.append(path);
    return svg;
}

export function iconButton(name, label, onclick, more = {}) {
    return h('button', { type: 'button', class: 'icon-button',
                         'aria-label': label, title: label, onclick, ...more },
             icon(name));
}

// A picture for somebody who has none: letters on one of twelve colours.
export function avatar(key, title, more, size = '') {
    let hash = 0;
    for (const c of key) {
        hash = (hash * 31 + c.codePointAt(0)) >>> 0;
    }
    // A word or two, whatever stands between them.
    const words = title.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
    const letters = words.slice(0, 2).map((w) => [...w][0]).join('');
    return h('span', { class: `avatar hue-${hash % 12} ${size}`,
                       'aria-hidden': 'true' },
             letters.toUpperCase() || '?', more);
}

// Whether both panes are in view (panes.css).
export function isWide() {
    return matchMedia('(min-width: 760px)').matches;
}

// Text with its links.
export function linked(text) {
    const parts = text.split(/(https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}])/);
    return parts.map((part, n) => n % 2 === 0 ? part
        : h('a', { href: part, target: '_blank',
                   rel: 'noopener noreferrer nofollow' }, part));
}

// What a message says, in one string.
export function textOf(body) {
    return typeof body?.text === 'string' ? body.text
        : typeof body === 'string' ? body : JSON.stringify(body);
}
