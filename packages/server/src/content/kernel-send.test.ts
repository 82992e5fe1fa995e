import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readdirSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sendByKernel } from './kernel-send.ts';

const SIZE = 24 << 20; // far more than the buffers of a connection
const content = randomBytes(SIZE);
const folder = mkdtempSync(join(tmpdir(), 'entrepot-kernel-'));
const ON_LINUX = process.platform === 'linux';

let server: Server;
let port: number;
let file: number;
/** What became of each transfer: the position reached, or why it failed; and how many bytes node itself sent. */
const outcomes: { reached: number | Error; byNode: number }[] = [];

/** Answers `/START-END` with that part of the file, by the kernel as far as it goes. */
async function answer(path: string, response: ServerResponse): Promise<void> {
  const [start = 0, end = 0] = path.slice(1).split('-').map(Number);
  response.writeHead(200, { 'Content-Length': end - start + 1 });
  let byNode = 0;
  const sendSome = async (from: number): Promise<number> => {
    const buffer = Buffer.alloc(Math.min(10_000, end + 1 - from));
    const length = readSync(file, buffer, 0, buffer.length, from);
    if (length === 0) throw new Error('the file ends early');
    await new Promise<void>((resolve, reject) => {
      response.once('close', () => reject(new Error('the client went away')));
      response.write(buffer.subarray(0, length), () => resolve());
    });
    byNode += length;
    return length;
  };
  try {
    const reached = await sendByKernel({ file, start, end, response, sendSome });
    outcomes.push({ reached, byNode });
    response.end(content.subarray(reached, end + 1)); // what the kernel left
  } catch (error) {
    outcomes.push({ reached: error as Error, byNode });
    response.destroy();
  }
}

beforeAll(async () => {
  writeFileSync(join(folder, 'blob'), content);
  file = openSync(join(folder, 'blob'), 'r');
  server = createServer((asked, response) => {
    response.setMaxListeners(0);
    void answer(asked.url ?? '', response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.close();
  closeSync(file);
  rmSync(folder, { recursive: true });
});

function get(socket: Socket, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const asked = request({ path, createConnection: () => socket, headers: { Connection: 'keep-alive' } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', reject);
    });
    asked.on('error', reject).end();
  });
}

const open = async () => {
  const socket = connect(port, '127.0.0.1');
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return socket;
};
const openFiles = () => readdirSync('/proc/self/fd').length;

test.skipIf(!ON_LINUX)('parts arrive whole, one after the other on one connection, nearly all of it by the kernel', async () => {
  const socket = await open();
  for (const [start, end] of [
    [0, SIZE - 1],
    [1, SIZE - 2],
    [12_345_678, 23_456_789],
    [SIZE - 700_001, SIZE - 1],
  ] as const) {
    const count = outcomes.length;
    expect((await get(socket, `/${start}-${end}`)).equals(content.subarray(start, end + 1))).toBe(true);
    await expect.poll(() => outcomes.length).toBe(count + 1); // the last byte may arrive before its sender knows
    const { reached, byNode } = outcomes.at(-1) ?? {};
    expect(reached).toBe(end + 1);
    expect(byNode).toBeLessThan((end - start) / 2);
  }
  socket.destroy();
});

test.skipIf(!ON_LINUX)('a client that reads slowly gets all of it too', async () => {
  const socket = await open();
  socket.write(`GET /0-${SIZE - 1} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer);
    if (chunks.length % 16 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const received = Buffer.concat(chunks);
  expect(received.subarray(received.indexOf('\r\n\r\n') + 4).equals(content)).toBe(true);
});

test.skipIf(!ON_LINUX)('a client that goes away ends its transfer, and nothing stays open', async () => {
  const before = openFiles();
  const count = outcomes.length;
  for (let i = 0; i < 5; i++) {
    const socket = await open();
    socket.pause();
    socket.write(`GET /0-${SIZE - 1} HTTP/1.1\r\nHost: x\r\n\r\n`);
    socket.once('readable', () => socket.resetAndDestroy());
  }
  await expect.poll(() => outcomes.length, { timeout: 20_000 }).toBe(count + 5);
  for (const { reached } of outcomes.slice(count)) expect(reached).toBeInstanceOf(Error);
  await expect.poll(openFiles).toBeLessThanOrEqual(before);
});

test('of requests sent at once, the second waits for the first and is whole', async () => {
  const socket = await open();
  const path = `/0-${(1 << 20) - 1}`;
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\nGET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const received = Buffer.concat(chunks);
  const body = (from: number) => received.indexOf('\r\n\r\n', from) + 4;
  const first = body(0);
  expect(received.subarray(first, first + (1 << 20)).equals(content.subarray(0, 1 << 20))).toBe(true);
  const second = body(first + (1 << 20));
  expect(received.subarray(second).equals(content.subarray(0, 1 << 20))).toBe(true);
});

test('a file that ends before it should fails', async () => {
  const socket = await open();
  const count = outcomes.length;
  socket.write(`GET /${SIZE - 1_000_000}-${SIZE + 1_000_000} HTTP/1.1\r\nHost: x\r\n\r\n`);
  socket.resume();
  await expect.poll(() => outcomes.length).toBe(count + 1);
  expect(outcomes.at(-1)?.reached).toBeInstanceOf(Error);
});
