/*
 * settings.js -- what this browser remembers of the page, if it may.
 */

let memory = {};

try {
    memory = JSON.parse(localStorage.getItem('im-page')) ?? {};
} catch {
    // Forbidden, or not ours.
}

export function setting(name) {
    return memory[name];
}

export function setSetting(name, value) {
    memory[name] = value;
    try {
        localStorage.setItem('im-page', JSON.stringify(memory));
    } catch {
        // It is good until the page ends.
    }
}
