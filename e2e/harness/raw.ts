import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { basic } from './client.ts';
import { ADMIN, type TestServer } from './server.ts';

/** One connection whose bytes a test sends and reads as it likes. */
export interface RawConnection {
  readonly socket: Socket;
  /** All that the server sent so far, while the connection is read. */
  received(): string;
  /** Resolves when either side ended it. */
  readonly closed: Promise<void>;
  send(text: string | Uint8Array): void;
}

export async function openRaw({ address }: TestServer): Promise<RawConnection> {
  const [host = '', port = ''] = address.split(':');
  const socket = connect(Number(port), host);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined); // a reset is an end like any other
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return { socket, received: () => Buffer.concat(chunks).toString('latin1'), closed, send: (text) => void socket.write(text) };
}

/** Sends a request whose answer has no body, and gives status and headers. */
export async function exchange(connection: RawConnection, request: string, body: Uint8Array | string = ''): Promise<string> {
  const before = connection.received().length;
  connection.send(request);
  if (body.length > 0) connection.send(body);
  await until('the answer', () => connection.received().indexOf('\r\n\r\n', before) >= 0 || connection.socket.destroyed);
  return connection.received().slice(before);
}

/** Sends bytes on a connection of their own and gives all that comes until the server ends it. */
export async function ask(server: TestServer, ...pieces: readonly (string | Uint8Array)[]): Promise<string> {
  const connection = await openRaw(server);
  for (const piece of pieces) connection.send(piece);
  await connection.closed;
  return connection.received();
}

/** Head of a request with the admin's credentials. */
export function head(method: string, path: string, headers: Readonly<Record<string, string | number>> = {}): string {
  const all = { Host: 'registry', Authorization: basic(ADMIN.user, ADMIN.password), ...headers };
  return `${method} ${path} HTTP/1.1\r\n${Object.entries(all)
    .map(([key, value]) => `${key}: ${value}\r\n`)
    .join('')}\r\n`;
}

/** Waits until something holds, looking again and again; fails, saying what it waited for, after a generous limit. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, limitMs = 60_000): Promise<void> {
  const limit = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > limit) throw new Error(`waited in vain: ${what}`);
    await delay(50);
  }
}

/** The sum of a metric's samples. */
export async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', server.url))).text();
  const samples = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (samples.length === 0) throw new Error(`there is no metric ${name}`);
  return samples.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
