import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { createOutbound, type Outbound } from './outbound.ts';
import { OutboundError } from './outbound-checks.ts';
import { HAS_OPENSSL, makeCertificate } from './testing-certificates.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function listen(server: Server): Promise<{ port: number; connections: Socket[] }> {
  const connections: Socket[] = [];
  server.on('connection', (socket) => connections.push(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, connections };
}

function outbound(names: Record<string, string[]>, { allow = '127.0.0.0/8', caFile = '' } = {}): Outbound {
  return createOutbound({
    outboundAllow: allow,
    outboundProxy: '',
    outboundCaFile: caFile,
    resolve: async (host) => (names[host] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
  });
}

async function failureOf(call: Promise<Socket>): Promise<string> {
  const error = await call.then(
    (socket) => socket.destroy() && undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof OutboundError)) throw new Error(`not refused as it should be: ${error}`);
  return error.failure;
}

describe('connections', () => {
  it('reach what is allowed, and tell each step', async () => {
    const { port } = await listen(createServer((socket) => socket.pipe(socket)));
    const steps: string[] = [];
    const socket = await outbound({ 'a.test': ['127.0.0.1'] }).connect({ host: 'a.test', port, onStep: (step) => steps.push(step) });
    socket.end('hello');
    expect(await text(socket)).toBe('hello');
    expect(steps).toEqual(['a.test is 127.0.0.1', 'connected to 127.0.0.1']);
  });

  it.each(['127.0.0.1', '::1', '::ffff:127.0.0.1', '127.1', '0x7f000001', 'inside.test', 'half.test'])(
    'D1 do not reach %s where it is not allowed',
    async (host) => {
      const { port, connections } = await listen(createServer());
      const names = {
        '127.1': ['127.0.0.1'],
        '0x7f000001': ['127.0.0.1'],
        'inside.test': ['127.0.0.1'],
        'half.test': ['1.1.1.1', '127.0.0.1'],
      };
      expect(await failureOf(outbound(names, { allow: '' }).connect({ host, port }))).toBe('blocked');
      expect(connections).toEqual([]);
    },
  );

  it('D1 go where the name led when it was checked, whatever it leads to afterwards', async () => {
    const { port, connections } = await listen(createServer((socket) => socket.end()));
    let asked = 0;
    const rebinding = createOutbound({
      outboundAllow: '127.0.0.1',
      outboundProxy: '',
      outboundCaFile: '',
      resolve: async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }],
    });
    (await rebinding.connect({ host: 'moves.test', port })).destroy();
    await expect.poll(() => connections.length).toBe(1);
    expect(asked).toBe(1);
  });

  it('end when told to, before and after they stand, and say what fails', async () => {
    const { port, connections } = await listen(createServer());
    const ending = new AbortController();
    const to = outbound({ 'a.test': ['127.0.0.1'], 'empty.test': [] });
    const socket = await to.connect({ host: 'a.test', port, signal: ending.signal });
    await expect.poll(() => connections.length).toBe(1);
    const closed = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
    ending.abort();
    await closed;
    await expect(to.connect({ host: 'a.test', port, signal: ending.signal })).rejects.toThrow('aborted');
    expect(await failureOf(to.connect({ host: 'empty.test', port }))).toBe('unreachable');
    await closing.pop()?.();
    expect(await failureOf(to.connect({ host: 'a.test', port }))).toBe('unreachable');
  });

  it('end when told to while a name is looked up', async () => {
    const ending = new AbortController();
    const endless = createOutbound({
      outboundAllow: '',
      outboundProxy: '',
      outboundCaFile: '',
      resolve: () => new Promise(() => undefined),
    });
    const call = endless.connect({ host: 'a.test', port: 1, signal: ending.signal });
    ending.abort(new Error('told to'));
    await expect(call).rejects.toThrow('told to');
  });

  it('do not wait for ever', async () => {
    const { port } = await listen(createServer());
    const silent = outbound({ 'a.test': ['127.0.0.1'] }).connect({ host: 'a.test', port, tls: {}, timeoutMs: 50 });
    expect(await failureOf(silent)).toBe('timeout');
  });

  it.runIf(HAS_OPENSSL)('with TLS trust the authorities of the file, check the name and show a certificate', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'entrepot-tls-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const { key, certificate, certificateFile } = makeCertificate(folder, 'DNS:good.test');
    const own = { key, cert: certificate };
    const mutual = { ...own, ca: own.cert, requestCert: true, rejectUnauthorized: true };
    const { port } = await listen(createTlsServer(mutual, (socket) => socket.end('hello')));
    const names = { 'good.test': ['127.0.0.1'], 'other.test': ['127.0.0.1'] };
    const shown = { certificate: own.cert, key: own.key };
    const trusting = outbound(names, { caFile: certificateFile });
    expect(await text(await trusting.connect({ host: 'good.test', port, tls: shown }))).toBe('hello');
    expect(await text(await trusting.connect({ host: 'other.test', port, tls: { ...shown, serverName: 'good.test' } }))).toBe('hello');
    expect(await failureOf(trusting.connect({ host: 'other.test', port, tls: shown }))).toBe('unreachable');
    expect(await failureOf(outbound(names).connect({ host: 'good.test', port, tls: shown }))).toBe('unreachable');
    expect(await failureOf(trusting.connect({ host: 'good.test', port, tls: { ...shown, key: 'none' } }))).toBe('invalid');
  });
});
