import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { createOutbound, type Outbound } from './outbound.ts';
import { OutboundError } from './outbound-checks.ts';
import { HAS_OPENSSL, makeCertificate } from './testing-certificates.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Peer {
  readonly port: number;
  readonly url: string;
  readonly seen: IncomingMessage[];
  connections: number;
}

async function open(server: Server | NetServer, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  closing.push(() => {
    if ('closeAllConnections' in server) server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function peer(handle: RequestListener, host = '127.0.0.1', port = 0): Promise<Peer> {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    handle(request, response);
  });
  const taken = await open(server, host, port);
  const made: Peer = { port: taken, url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`, seen, connections: 0 };
  server.on('connection', () => made.connections++);
  return made;
}

interface Settings {
  readonly allow?: string;
  readonly proxy?: string;
  readonly caFile?: string;
  readonly names?: Record<string, string[]>;
}

function outbound({ allow = '127.0.0.0/8', proxy = '', caFile = '', names = {} }: Settings = {}): Outbound {
  const made = createOutbound({
    outboundAllow: allow,
    outboundProxy: proxy,
    outboundCaFile: caFile,
    resolve: async (host) => {
      const found = names[host];
      if (!found) throw new Error(`no such name: ${host}`);
      return found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    },
  });
  closing.push(() => made.close());
  return made;
}

async function failureOf(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof OutboundError)) throw new Error(`not refused as it should be: ${error}`);
  return error.failure;
}

const hello = (_: IncomingMessage, response: ServerResponse) => void response.end('hello');

describe('outgoing calls', () => {
  it('reach what is allowed', async () => {
    const server = await peer((request, response) => {
      response.writeHead(201, { 'X-Own': 'yes' });
      request.pipe(response);
    });
    const answer = await outbound({ names: { 'a.test': ['127.0.0.1'] } }).request(`http://a.test:${server.port}/path?q=1`, {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain' },
      body: 'sent',
    });
    expect(answer).toMatchObject({ status: 201, headers: { 'x-own': 'yes' }, url: `http://a.test:${server.port}/path?q=1` });
    expect(Buffer.from(await answer.bytes()).toString()).toBe('sent');
    expect(server.seen[0]).toMatchObject({ url: '/path?q=1', headers: { host: `a.test:${server.port}`, 'content-type': 'text/plain' } });
  });

  it.each([
    '127.0.0.1',
    '127.1',
    '0177.0.0.1',
    '0x7f.0.0.1',
    '2130706433',
    '0x7f000001',
    '0',
    '0.0.0.0',
    '①②⑦.0.0.1',
    '127.0.0.1.',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[0:0:0:0:0:ffff:7f00:0001]',
    '[::127.0.0.1]',
    '169.254.169.254',
    '[fd00:ec2::254]',
    '10.0.0.1',
    '192.168.0.1',
    '172.16.0.1',
  ])('do not reach %s by any spelling', async (host) => {
    const server = await peer(hello);
    expect(await failureOf(outbound({ allow: '' }).request(`http://${host}:${server.port}/`))).toBe('blocked');
    expect(server.connections).toBe(0);
  });

  it.each([['127.0.0.1'], ['::1'], ['::ffff:127.0.0.1'], ['10.0.0.1'], ['169.254.169.254'], ['127.0.0.2', '127.0.0.1']])(
    'do not reach a name that leads to %s %s',
    async (...addresses) => {
      const server = await peer(hello);
      const guarded = outbound({ allow: '127.0.0.2', names: { 'evil.test': addresses } });
      expect(await failureOf(guarded.request(`http://evil.test:${server.port}/`))).toBe('blocked');
      expect(server.connections).toBe(0);
    },
  );

  it('connect to the address that was checked, although the name leads elsewhere a moment later', async () => {
    const inside = await peer(hello, '127.0.0.1');
    const outside = await peer((_, response) => void response.end('outside'), '127.0.0.2', inside.port);
    let asked = 0;
    const guarded = createOutbound({
      outboundAllow: '127.0.0.2',
      outboundProxy: '',
      outboundCaFile: '',
      resolve: async () => [{ address: asked++ === 0 ? '127.0.0.2' : '127.0.0.1', family: 4 }],
    });
    closing.push(() => guarded.close());
    const url = `http://rebind.test:${inside.port}/`;
    expect(Buffer.from(await (await guarded.request(url, { headers: { Connection: 'close' } })).bytes()).toString()).toBe('outside');
    expect(asked).toBe(1);
    expect(outside.connections).toBe(1);
    expect(await failureOf(guarded.request(url))).toBe('blocked');
    expect(inside.connections).toBe(0);
  });

  it.each(['file:///etc/passwd', 'ftp://a.test/', 'gopher://a.test/', 'javascript:1', 'http://user:pw@a.test/', 'http://user@a.test/'])(
    'are not made to %s',
    async (url) => {
      expect(await failureOf(outbound().request(url))).toBe('blocked');
    },
  );

  it('are not made to what is no address, nor with line breaks in a header', async () => {
    expect(await failureOf(outbound().request('not an address'))).toBe('invalid');
    const server = await peer(hello);
    await expect(outbound().request(server.url, { headers: { 'X-A': 'a\r\nX-B: b' } })).rejects.toThrow();
    expect(server.seen).toEqual([]);
  });

  describe('redirects', () => {
    const to =
      (location: string, status = 302) =>
      (_: IncomingMessage, response: ServerResponse) =>
        void response.writeHead(status, { Location: location }).end('moved');

    it('are checked like the first address', async () => {
      const inside = await peer(hello, '127.0.0.1');
      const names = { 'good.test': ['127.0.0.2'], 'evil.test': ['127.0.0.1'] };
      for (const target of [
        inside.url,
        `http://evil.test:${inside.port}/`,
        `//2130706433:${inside.port}/`,
        'file:///etc/passwd',
        'http://u:p@good.test/',
      ]) {
        const outside = await peer(to(target), '127.0.0.2');
        expect(await failureOf(outbound({ allow: '127.0.0.2', names }).request(`http://good.test:${outside.port}/`))).toBe('blocked');
      }
      expect(inside.connections).toBe(0);
    });

    it('take no credentials to another origin, and keep them on the same', async () => {
      const other = await peer(hello);
      const first = await peer((request, response) => to(request.url === '/' ? '/same' : `${other.url}/other`, 307)(request, response));
      const headers = { Authorization: 'Basic secret', Cookie: 'session=secret', 'X-Plain': 'kept' };
      const answer = await outbound().request(`${first.url}/`, { headers });
      expect(answer.url).toBe(`${other.url}/other`);
      expect(first.seen.map(({ headers }) => headers.authorization)).toEqual(['Basic secret', 'Basic secret']);
      expect(other.seen[0]?.headers).toMatchObject({ 'x-plain': 'kept' });
      expect(JSON.stringify(other.seen[0]?.headers)).not.toContain('secret');
    });

    it('are followed three times at most', async () => {
      const server = await peer((request, response) => {
        const left = Number(request.url?.slice(1));
        if (left === 0) response.end('there');
        else to(`/${left - 1}`)(request, response);
      });
      expect(Buffer.from(await (await outbound().request(`${server.url}/3`)).bytes()).toString()).toBe('there');
      expect(await failureOf(outbound().request(`${server.url}/4`))).toBe('redirect');
      expect(await failureOf(outbound().request(`${server.url}/1`, { maxRedirects: 0 }))).toBe('redirect');
    });

    it('send a body again where they must, turn into GET where they may, and never send a stream twice', async () => {
      const end = await peer((request, response) => void request.pipe(response));
      for (const [status, method, body] of [
        [307, 'POST', 'sent'],
        [308, 'PUT', 'sent'],
        [303, 'GET', ''],
        [302, 'GET', ''],
      ] as const) {
        const first = await peer(to(end.url, status));
        const sent = { method: status === 308 ? 'PUT' : 'POST', body: 'sent', headers: { 'Content-Type': 'text/plain' } } as const;
        const answer = await outbound().request(first.url, sent);
        expect(Buffer.from(await answer.bytes()).toString()).toBe(body);
        expect(end.seen.at(-1)?.method).toBe(method);
        expect(end.seen.at(-1)?.headers['content-type']).toBe(method === 'GET' ? undefined : 'text/plain');
      }
      const first = await peer(to(end.url, 307));
      expect(await failureOf(outbound().request(first.url, { method: 'POST', body: Readable.from(['once']) }))).toBe('redirect');
    });
  });

  describe('limits', () => {
    it('on the body, whether announced or not', async () => {
      const announced = await peer((_, response) => void response.end(Buffer.alloc(2000)));
      const endless = await peer((_, response) => {
        const timer = setInterval(() => response.write(Buffer.alloc(500)), 1);
        response.on('close', () => clearInterval(timer));
      });
      for (const { url } of [announced, endless]) {
        const answer = await outbound().request(url, { maxBytes: 1000 });
        expect(await failureOf(answer.bytes())).toBe('too_large');
      }
      const exact = await outbound().request(announced.url, { maxBytes: 2000 });
      expect((await exact.bytes()).length).toBe(2000);
    });

    it('on headers', async () => {
      const server = await peer((_, response) => void response.writeHead(200, { 'X-Long': 'a'.repeat(17_000) }).end());
      expect(await failureOf(outbound().request(server.url))).toBe('too_large');
    });

    it('on silence and on the whole call', async () => {
      const silent = await peer(() => undefined);
      expect(await failureOf(outbound().request(silent.url, { timeoutMs: 100 }))).toBe('timeout');
      const dripping = await peer((_, response) => {
        const timer = setInterval(() => response.write('.'), 5);
        response.on('close', () => clearInterval(timer));
      });
      const answer = await outbound().request(dripping.url, { timeoutMs: 300 });
      expect(await failureOf(answer.bytes())).toBe('timeout');
    });

    it('ends when it is told to', async () => {
      const silent = await peer(() => undefined);
      const abort = new AbortController();
      const call = outbound().request(silent.url, { signal: abort.signal });
      await expect.poll(() => silent.seen.length).toBe(1);
      abort.abort();
      await expect(call).rejects.toThrow();
    });

    it('leaves no connection behind where a body is not read to its end', async () => {
      const big = await peer((_, response) => {
        response.write(Buffer.alloc(1_000_000));
      });
      let closed = false;
      const answer = await outbound().request(big.url, { maxBytes: 1e9 });
      big.seen[0]?.socket.once('close', () => {
        closed = true;
      });
      for await (const _ of answer.body()) break;
      await expect.poll(() => closed).toBe(true);
    });
  });

  it('what cannot be reached is said to be so, without what the other side sent', async () => {
    const gone = await peer(hello);
    await closing.pop()?.();
    await delay(1);
    expect(await failureOf(outbound().request(gone.url))).toBe('unreachable');
    expect(await failureOf(outbound().request('http://nowhere.test/'))).toBe('unreachable');
  });

  it('go through a proxy where one is set, which resolves names itself', async () => {
    const target = await peer(hello);
    const tunnels: string[] = [];
    const proxy = createServer();
    proxy.on('connect', (request, socket) => {
      tunnels.push(request.url ?? '');
      const onward = connect(target.port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        onward.pipe(socket).pipe(onward);
      });
      for (const end of [onward, socket]) end.on('error', () => undefined);
    });
    const port = await open(proxy, '127.0.0.1', 0);
    const guarded = outbound({ allow: '', proxy: `http://127.0.0.1:${port}`, names: { 'private.test': ['10.0.0.1'] } });
    const answer = await guarded.request('http://known-to-the-proxy.test/');
    expect(Buffer.from(await answer.bytes()).toString()).toBe('hello');
    expect(tunnels).toEqual(['known-to-the-proxy.test:80']);
    expect(await failureOf(guarded.request('http://169.254.169.254/'))).toBe('blocked');
    expect(await failureOf(guarded.request('http://private.test/'))).toBe('blocked');
    expect(tunnels).toHaveLength(1);
  });

  it.runIf(HAS_OPENSSL)('trust the authorities of the file besides the usual ones, and check the name', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'entrepot-tls-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const { key, certificate, certificateFile } = makeCertificate(folder, 'DNS:good.test');
    const server = createTlsServer({ key, cert: certificate }, hello);
    const port = await open(server, '127.0.0.1', 0);
    const names = { 'good.test': ['127.0.0.1'], 'other.test': ['127.0.0.1'] };
    expect(await failureOf(outbound({ names }).request(`https://good.test:${port}/`))).toBe('unreachable');
    const trusting = outbound({ names, caFile: certificateFile });
    expect(Buffer.from(await (await trusting.request(`https://good.test:${port}/`)).bytes()).toString()).toBe('hello');
    expect(await failureOf(trusting.request(`https://other.test:${port}/`))).toBe('unreachable');
  });
});
