import { connect, type Socket } from 'node:net';

/** Where a load goes, and how it is allowed in. */
export interface Origin {
  readonly host: string;
  readonly port: number;
  readonly authorization: string | undefined;
}

export interface Reply {
  readonly status: number;
  /** Status line and header lines as they came. */
  readonly head: string;
  readonly bodyBytes: number;
  /** The body, where it was asked for. */
  readonly body: Buffer | undefined;
}

interface Options {
  /** The answer has no body whatever its Content-Length says. */
  readonly isHead?: boolean;
  readonly keepBody?: boolean;
  /** Bytes a second at most, in both directions; as fast as it goes if absent. */
  readonly pace?: number | undefined;
}

interface Waiting extends Options {
  readonly started: number;
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

const MAX_HEAD = 16 * 1024;
/** A paced body is written in pieces of this size. */
const PIECE = 256 * 1024;
/** A paced connection that is ahead by less goes on: timers are not finer. */
const AHEAD_MS = 2;
/** All connections of a process read into the same memory: what is read is counted at once and never kept. */
const READ_BUFFER = Buffer.allocUnsafeSlow(256 * 1024);

/** One keep-alive HTTP/1.1 connection with as little work per request as Node allows: one request at a time, no streams. */
export class Connection {
  readonly #socket: Socket;
  #waiting: Waiting | undefined;
  /** A head that came in pieces. */
  #partial = '';
  #status = 0;
  #head = '';
  #length = 0;
  /** Bytes of the body still to come; -1 while the head is read. */
  #left = -1;
  #kept: Buffer[] = [];
  #broken: Error | undefined;

  private constructor(origin: Origin) {
    const callback = (length: number) => {
      this.#take(length);
      return !this.#rest();
    };
    this.#socket = connect({ host: origin.host, port: origin.port, noDelay: true, onread: { buffer: READ_BUFFER, callback } });
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  static open(origin: Origin): Promise<Connection> {
    const connection = new Connection(origin);
    return new Promise((resolve, reject) => {
      connection.#socket.once('connect', () => resolve(connection));
      connection.#socket.once('error', reject);
    });
  }

  /** Sends a request, all of its parts in one write, and resolves with the answer. */
  request(parts: readonly Uint8Array[], options: Options = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#broken) return reject(this.#broken);
      this.#waiting = { ...options, started: performance.now(), resolve, reject };
      const [first] = parts;
      if (parts.length === 1 && first) this.#socket.write(first);
      else if (options.pace) void this.#writePaced(parts, options.pace);
      else {
        this.#socket.cork();
        for (const part of parts) this.#socket.write(part);
        this.#socket.uncork();
      }
    });
  }

  close(): void {
    this.#broken = new Error('the connection was closed');
    this.#socket.destroy();
  }

  async #writePaced(parts: readonly Uint8Array[], pace: number): Promise<void> {
    const started = performance.now();
    let written = 0;
    for (const part of parts) {
      for (let at = 0; at < part.length; at += PIECE) {
        const piece = part.subarray(at, at + PIECE);
        const accepted = this.#socket.write(piece);
        written += piece.length;
        if (!accepted) await new Promise<void>((resolve) => this.#socket.write('', () => resolve()));
        const ahead = (written / pace) * 1000 - (performance.now() - started);
        if (ahead > AHEAD_MS) await new Promise((resolve) => setTimeout(resolve, ahead));
        if (this.#broken) return;
      }
    }
  }

  /** Stops reading for a while where an answer comes faster than it shall. */
  #rest(): boolean {
    const { pace, started } = this.#waiting ?? {};
    if (pace === undefined || started === undefined || this.#left <= 0) return false;
    const ahead = ((this.#length - this.#left) / pace) * 1000 - (performance.now() - started);
    if (ahead <= AHEAD_MS) return false;
    setTimeout(() => this.#socket.resume(), ahead);
    return true;
  }

  #take(length: number): void {
    let at = 0;
    while (at < length) {
      if (this.#left < 0) {
        at = this.#takeHead(at, length);
        if (at < 0) return;
      } else {
        const count = Math.min(this.#left, length - at);
        if (this.#waiting?.keepBody) this.#kept.push(Buffer.from(READ_BUFFER.subarray(at, at + count)));
        this.#left -= count;
        at += count;
      }
      if (this.#left === 0) this.#finish();
    }
  }

  /** Gives where the body begins, or -1 where the head is not complete. */
  #takeHead(at: number, length: number): number {
    const before = this.#partial.length;
    const text = this.#partial + READ_BUFFER.toString('latin1', at, Math.min(length, at + MAX_HEAD));
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) {
      this.#partial = text;
      return -1;
    }
    this.#partial = '';
    this.#head = text.slice(0, end);
    this.#status = Number(text.slice(9, 12));
    const bodyless = this.#waiting?.isHead || this.#status === 204 || this.#status === 304;
    const announced = headerOf(this.#head, 'content-length');
    this.#length = bodyless ? 0 : Number(announced ?? Number.NaN);
    if (Number.isNaN(this.#length)) this.#fail(new Error(`an answer ${this.#status} without Content-Length`));
    this.#left = this.#length;
    return at + end + 4 - before;
  }

  #finish(): void {
    const waiting = this.#waiting;
    const body = waiting?.keepBody ? Buffer.concat(this.#kept) : undefined;
    if (body) this.#kept = [];
    this.#left = -1;
    this.#waiting = undefined;
    waiting?.resolve({ status: this.#status, head: this.#head, bodyBytes: this.#length, body });
  }

  #fail(error: Error): void {
    this.#broken ??= error;
    this.#waiting?.reject(this.#broken);
    this.#waiting = undefined;
  }
}

/** Value of a header line, whatever the case of its name. */
export function headerOf(head: string, name: string): string | undefined {
  return HEADERS[name]?.exec(head)?.[1];
}

const HEADERS: Readonly<Record<string, RegExp>> = {
  'content-length': /\r\ncontent-length: *([0-9]+)/i,
  location: /\r\nlocation: *([^\r]+)/i,
  'www-authenticate': /\r\nwww-authenticate: *([^\r]+)/i,
};

/** The bytes of a request's head. */
export function requestHead(origin: Origin, method: string, path: string, headers: Readonly<Record<string, string | number>> = {}): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${origin.host}:${origin.port}`];
  if (origin.authorization) lines.push(`Authorization: ${origin.authorization}`);
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** Throws unless an answer has the status that the protocol foresees. */
export function requireStatus(reply: Reply, wanted: number, doing: string): Reply {
  if (reply.status !== wanted) throw new Error(`${doing} answered ${reply.status} instead of ${wanted}`);
  return reply;
}
