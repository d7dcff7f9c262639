/*
 * socket.js -- a WebSocket for node 18 and 20, which have none of their own.
 *
 * As much of RFC 6455 as a client of this server needs: text frames, Ping and
 * Close; no extensions, no fragments (the server sends none).
 */

import { randomBytes } from 'node:crypto';
import net from 'node:net';

export class NodeSocket {
    constructor(url, protocols = []) {
        const { hostname, port, pathname } = new URL(url);
        this.data = Buffer.alloc(0);
        this.open = false;
        this.ended = false;
        this.code = 1006;
        this.tcp = net.connect(Number(port), hostname, () => {
            this.tcp.write([
                `GET ${pathname} HTTP/1.1`, `Host: ${hostname}:${port}`,
                'Upgrade: websocket', 'Connection: Upgrade',
                'Sec-WebSocket-Version: 13',
                'Sec-WebSocket-Key: ' + randomBytes(16).toString('base64'),
                'Sec-WebSocket-Protocol: ' + protocols.join(', '), '', '']
                .join('\r\n'));
        });
        this.tcp.setNoDelay(true);
        this.tcp.on('data', (chunk) => {
            this.data = Buffer.concat([this.data, chunk]);
            this.read();
        });
        this.tcp.on('error', () => {});
        this.tcp.on('close', () => this.end());
    }

    end() {
        if (!this.ended) {
            this.ended = true;
            this.tcp.destroy();
            this.onclose?.({ code: this.code });
        }
    }

    read() {
        if (!this.open) {
            const at = this.data.indexOf('\r\n\r\n');
            if (at < 0) {
                return;
            }
            if (!this.data.subarray(0, at).toString().startsWith(
                'HTTP/1.1 101')) {
                this.end();
                return;
            }
            this.data = this.data.subarray(at + 4);
            this.open = true;
            this.onopen?.();
        }
        while (this.frame());
    }

    // One frame, if it is there as a whole.
    frame() {
        const { data } = this;
        if (data.length < 2) {
            return false;
        }
        let length = data[1] & 127;
        let head = 2;
        if (length === 126) {
            if (data.length < 4) {
                return false;
            }
            length = data.readUInt16BE(2);
            head = 4;
        } else if (length === 127) {
            if (data.length < 10) {
                return false;
            }
            length = Number(data.readBigUInt64BE(2));
            head = 10;
        }
        if (data.length < head + length) {
            return false;
        }
        const opcode = data[0] & 15;
        const payload = data.subarray(head, head + length);
        this.data = data.subarray(head + length);
        if (opcode === 1) {
            this.onmessage?.({ data: payload.toString() });
        } else if (opcode === 9) {
            this.write(10, payload);
        } else if (opcode === 8) {
            this.code = length >= 2 ? payload.readUInt16BE(0) : 1005;
            this.write(8, payload);
            this.tcp.end();
        }
        return !this.ended;
    }

    write(opcode, payload) {
        if (this.ended) {
            return;
        }
        const { length } = payload;
        const head = Buffer.from(length < 126 ? [128 | opcode, 128 | length]
            : length < 65536 ? [128 | opcode, 254, length >> 8, length & 255]
                : [128 | opcode, 255, 0, 0, 0, 0, length >>> 24,
                   length >> 16 & 255, length >> 8 & 255, length & 255]);
        const mask = randomBytes(4);
        const masked = Buffer.from(payload);
        for (let n = 0; n < length; n++) {
            masked[n] ^= mask[n & 3];
        }
        this.tcp.write(Buffer.concat([head, mask, masked]));
    }

    send(text) {
        this.write(1, Buffer.from(text));
    }

    close(code = 1000) {
        this.write(8, Buffer.from([code >> 8, code & 255]));
        this.tcp.end();
        setTimeout(() => this.end(), 1000).unref();
    }
}
