/*
 * clock.js -- a clock that does not wait, and chance that comes from one seed,
 * so that a history can be repeated.
 */

export function chance(seed) {
    let a = seed >>> 0;
    return () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), 1 | a);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

const drain = () => new Promise((resolve) => setImmediate(resolve));

export class Clock {
    now = 1_000_000;
    #heap = [];                // of timers, the next one first
    #ids = 0;

    setTimeout(f, ms) {
        const timer = { at: this.now + Math.max(0, ms), id: ++this.#ids, f };
        const heap = this.#heap;
        let n = heap.push(timer) - 1;
        for (let up; n > 0 && this.#before(timer, heap[up = (n - 1) >> 1]);
            n = up) {
            heap[n] = heap[up];
        }
        heap[n] = timer;
        return timer;
    }

    clearTimeout(timer) {
        if (timer) {
            timer.f = null;
        }
    }

    #before(a, b) {
        return a.at < b.at || a.at === b.at && a.id < b.id;
    }

    #removeFirst() {
        const heap = this.#heap;
        const last = heap.pop();
        let n = 0;
        for (;;) {
            let down = 2 * n + 1;
            if (down + 1 < heap.length
                && this.#before(heap[down + 1], heap[down])) {
                down++;
            }
            if (down >= heap.length || !this.#before(heap[down], last)) {
                break;
            }
            heap[n] = heap[down];
            n = down;
        }
        if (heap.length) {
            heap[n] = last;
        }
    }

    // Until `done` or the time is over; whether it is done.
    async run(ms, done = () => false) {
        const end = this.now + ms;
        await drain();
        while (!done()) {
            while (this.#heap.length && !this.#heap[0].f) {
                this.#removeFirst();
            }
            const next = this.#heap[0];
            if (!next || next.at > end) {
                this.now = end;
                return done();
            }
            this.#removeFirst();
            this.now = next.at;
            const { f } = next;
            next.f = null;
            f();
            await drain();
        }
        return true;
    }
}
