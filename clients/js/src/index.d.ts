// Types of ngx-im-client.  docs/client-js.md describes what they mean.

/** An id of 64 bits: a decimal string. */
export type Id = string;

export type Json = null | boolean | number | string | Json[]
    | { [key: string]: Json };

export interface Message {
    seq: number;
    id: Id;
    from: Id;
    /** ms since 1970, the server's clock */
    time: number;
    cmid: string;
    body: any;
}

export interface Ack {
    seq: number;
    id: Id;
    time: number;
    dup: boolean;
}

export interface Outgoing {
    cmid: string;
    key: string;
    body: any;
    /** When it was written, ms. */
    at: number;
    state: 'waiting' | 'sent' | 'failed';
    /** The code of the refusal, if it has failed. */
    error?: string;
}

export interface User {
    uid: Id;
    name: string;
}

export interface Room {
    room: Id;
    kind: 'group' | 'live';
    name: string;
    owner: Id;
    open: boolean;
    history: boolean;
    members: number;
    online: number;
    role?: 'owner' | 'admin' | 'member';
    muted_until_ms?: string;
    dismissed?: boolean;
}

export interface RoomEvent {
    room: Id;
    online?: number;
    event?: 'joined' | 'left' | 'removed' | 'role' | 'muted' | 'dismissed';
    uid?: Id;
    role?: string;
    muted_until_ms?: string;
}

export interface Member {
    uid: Id;
    role: 'owner' | 'admin' | 'member';
    online: boolean;
}

export interface State {
    name: 'closed' | 'connecting' | 'syncing' | 'online' | 'waiting' | 'ended';
    /** Of `waiting`: when it tries again, ms. */
    retryAt?: number;
    /** Of `ended`. */
    reason?: 'session_revoked' | 'unauthorized' | 'replaced' | 'refused'
        | 'other_user' | string;
    code?: number;
}

export type Target = { with: Id } | { room: Id };

export class Problem extends Error {
    code: string;
    status: number;
    retryable: boolean;
    retryAfterMs: number;
}

declare class Emitter<Events> {
    on<K extends keyof Events>(event: K,
                               listener: (value: Events[K]) => void): () => void;
    off<K extends keyof Events>(event: K,
                                listener: (value: Events[K]) => void): void;
    hasListeners(event: keyof Events): boolean;
    once<K extends keyof Events>(event: K): Promise<Events[K]>;
    events<K extends keyof Events>(event: K): AsyncIterableIterator<Events[K]>;
}

export interface ConversationEvents {
    message: Message;
    outgoing: Outgoing;
    older: Message[];
    reset: undefined;
    gone: string;
}

export class Conversation extends Emitter<ConversationEvents>
    implements AsyncIterable<Message> {
    private constructor();
    readonly key: string;
    readonly with: Id | null;
    readonly room: Id | null;
    readonly kind: 'direct' | 'group' | 'live';
    readonly title: string;
    readonly messages: readonly Message[];
    readonly outgoing: readonly Outgoing[];
    readonly last: Message | null;
    readonly unread: number;
    readonly readSeq: number;
    readonly pinned: boolean;
    readonly muted: boolean;
    readonly hidden: boolean;
    readonly gone: boolean;
    readonly hasOlder: boolean;
    send(body: any): Promise<Ack>;
    open(): Promise<void>;
    loadOlder(limit?: number): Promise<number>;
    trim(count: number): void;
    read(seq?: number): void;
    set(what: { pinned?: boolean, muted?: boolean, hidden?: boolean }):
        Promise<void>;
    [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
}

export interface Store {
    isMemory?: boolean;
    get(name: string): Promise<any>;
    set(name: string, value: any): Promise<void>;
    conversations(): Promise<any[]>;
    put(record: any, messages: Message[]): Promise<void>;
    page(key: string, before: number, above: number, limit: number):
        Promise<Message[]>;
    drop(key: string): Promise<void>;
    outbox(): Promise<any[]>;
    putOut(entry: any): Promise<void>;
    removeOut(cmid: string): Promise<void>;
    clear(): Promise<void>;
}

export interface Environment {
    now?: () => number;
    setTimeout?: (f: () => void, ms: number) => any;
    clearTimeout?: (timer: any) => void;
    random?: () => number;
    fetch?: typeof fetch;
    /** As the browser's. */
    WebSocket?: any;
    locks?: any;
    BroadcastChannel?: any;
}

export interface Options {
    url?: string;
    socketUrl?: string;
    store?: Store;
    tabs?: string;
    tail?: number;
    behindMax?: number;
    window?: number;
    env?: Environment;
}

export interface ClientEvents {
    state: State;
    message: { conversation: Conversation, message: Message };
    conversations: undefined;
    users: User[];
    presence: { uid: Id, online: boolean };
    room: Room;
    room_event: RoomEvent;
    failed: { outgoing: Outgoing, problem: Problem };
    error: Error;
}

export class ImClient extends Emitter<ClientEvents> {
    constructor(options?: Options);
    readonly uid: Id | null;
    readonly name: string;
    readonly state: State;
    readonly store: Store;

    register(name: string, password: string): Promise<{ uid: Id }>;
    login(who: { name: string, password: string, device?: string }):
        Promise<void>;
    resume(): Promise<boolean>;
    logout(): Promise<void>;
    connect(): void;
    disconnect(): void;
    wake(): void;
    close(): Promise<void>;
    request(method: string, path: string, body?: any,
            options?: { once?: boolean }): Promise<any>;

    readonly conversations: Conversation[];
    conversation(target: Target | string): Conversation;
    resend(cmid: string): Promise<Ack> | undefined;
    discard(cmid: string): void;

    user(uid: Id): User | null;
    lookUp(what: { uids?: Id[], names?: string[] }): Promise<User[]>;
    watch(uids: Id[]): () => void;
    isOnline(uid: Id): boolean | null;
    blocks(): Promise<Id[]>;
    block(uid: Id): Promise<void>;
    unblock(uid: Id): Promise<void>;
    changePassword(oldPassword: string, newPassword: string): Promise<void>;

    room(id: Id): Room | null;
    rooms(): Promise<Room[]>;
    fetchRoom(id: Id): Promise<Room>;
    createRoom(what: { kind: 'group' | 'live', name: string, members?: Id[],
                       open?: boolean, history?: boolean }):
        Promise<Conversation>;
    joinRoom(id: Id): Promise<Conversation>;
    leaveRoom(id: Id): Promise<void>;
    dismissRoom(id: Id): Promise<void>;
    members(id: Id, page?: { after?: Id, limit?: number, online?: boolean }):
        Promise<{ members: Member[], more: boolean }>;
    addMembers(id: Id, uids: Id[]): Promise<{ added: number }>;
    setMember(id: Id, uid: Id, what: { role?: string, mute_s?: number }):
        Promise<void>;
    removeMember(id: Id, uid: Id): Promise<void>;
}

export function memoryStore(): Store;

export function indexedDbStore(name?: string, factory?: IDBFactory):
    Promise<Store & { close(): void }>;
