import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { parseChallenge } from './challenge.ts';
import { baseUrlOf, formatImageReference, parseImageReference } from './image-reference.ts';
import { RegistryClient, type RegistryClientOptions, RegistryError } from './registry-client.ts';

const sha256 = (bytes: Uint8Array | string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

describe('an image reference', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  it.each([
    ['alpine', 'docker.io/library/alpine:latest'],
    ['alpine:3.20', 'docker.io/library/alpine:3.20'],
    ['team/app', 'docker.io/team/app:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['registry.example/a/b/c:v1', 'registry.example/a/b/c:v1'],
    ['127.0.0.1:5000/app', '127.0.0.1:5000/app:latest'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    [`registry.example/app@${digest}`, `registry.example/app@${digest}`],
    [`registry.example/app:v1@${digest}`, `registry.example/app:v1@${digest}`],
  ])('%s is %s', (text, full) => {
    const reference = parseImageReference(text);
    expect(reference && formatImageReference(reference)).toBe(full);
  });
  it.each([
    '',
    'UPPER',
    'a b',
    'x:',
    'x@sha256:abc',
    'https://registry.example/app',
    'registry.example/',
    'registry.example/app:v1:v2',
    'a..b.example/x/../y',
    'x:tag@',
  ])('%j is none', (text) => expect(parseImageReference(text)).toBeUndefined());
  it('leads to plain HTTP only on this machine', () => {
    expect(
      ['localhost:5000', '127.0.0.1', '[::1]:5000', 'registry.example', 'localhost.example', '127.evil.example'].map((host) =>
        baseUrlOf(host),
      ),
    ).toEqual([
      ...['http://localhost:5000', 'http://127.0.0.1', 'http://[::1]:5000'],
      ...['https://registry.example', 'https://localhost.example', 'https://127.evil.example'],
    ]);
    expect(baseUrlOf('docker.io')).toBe('https://registry-1.docker.io');
  });
});

describe('a challenge', () => {
  it('is read whatever its quoting', () => {
    const { scheme, parameters } =
      parseChallenge('Basic realm="x", Bearer realm="https://a.example/t?x=1,2",service=reg , scope="repository:a/b:pull,push"') ?? {};
    expect(scheme).toBe('bearer');
    expect(Object.fromEntries(parameters ?? [])).toEqual({
      realm: 'https://a.example/t?x=1,2',
      service: 'reg',
      scope: 'repository:a/b:pull,push',
    });
    expect(parseChallenge('Basic realm="x"')?.scheme).toBe('basic');
    expect(parseChallenge('Negotiate')).toBeUndefined();
  });
});

type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void;
const running: Server[] = [];

async function serve(handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    handler(request, response, new URL(request.url ?? '/', 'http://x'));
  });
  running.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

afterEach(() => {
  for (const server of running.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

function client(registry: string, more: Partial<RegistryClientOptions> = {}): RegistryClient {
  return new RegistryClient({ registry, ...more });
}

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all).toString();
}

describe('a client of a registry', () => {
  it('logs in with a token, once for a scope, and again where it is taken back', async () => {
    let [tokens, valid] = [0, ''];
    const registry: string = await serve((request, response, url) => {
      if (url.pathname === '/token') {
        expect(request.headers.authorization).toBe(`Basic ${Buffer.from('me:secret').toString('base64')}`);
        expect(url.searchParams.get('scope')).toBe('repository:a:pull');
        valid = `t${++tokens}`;
        return response.end(JSON.stringify({ token: valid, expires_in: 300 }));
      }
      if (request.headers.authorization !== `Bearer ${valid}`) {
        const challenge = `Bearer realm="http://${request.headers.host}/token",service="s",scope="repository:a:pull"`;
        return response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
      return response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' }).end('{}');
    });
    const { manifest } = { manifest: (it: RegistryClient) => it.manifest('a', 'latest') };
    const one = client(registry, { credentials: async () => ({ username: 'me', password: 'secret' }) });
    for (let i = 0; i < 3; i++) expect((await manifest(one))?.descriptor.digest).toBe(sha256('{}'));
    expect(tokens).toBe(1);
    valid = 'taken back';
    expect(await manifest(one)).toBeDefined();
    expect(tokens).toBe(2);
  });

  it('does not ask for ever where the registry takes no credentials', async () => {
    let asked = 0;
    const registry = await serve((_request, response) => {
      asked++;
      response
        .writeHead(401, { 'www-authenticate': 'Basic realm="x"' })
        .end(JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'no\u001b[31m' }] }));
    });
    const one = client(registry, { credentials: async () => ({ username: 'me', password: 'wrong' }) });
    await expect(one.manifest('a', 'latest')).rejects.toMatchObject({
      status: 401,
      code: 'UNAUTHORIZED',
      message: 'the registry answers 401: no [31m',
    });
    expect(asked).toBe(2);
  });

  it('sends credentials nowhere but to their registry', async () => {
    const seen: (string | undefined)[] = [];
    const other = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(request.method === 'PUT' ? 201 : 200).end(request.method === 'PUT' ? '' : 'abc');
    });
    const registry = await serve((request, response, url) => {
      if (request.headers.authorization === undefined) return response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      if (url.pathname.includes('/uploads/')) return response.writeHead(202, { location: `http://${other}/upload` }).end();
      if (request.method === 'HEAD') return response.writeHead(404).end();
      return response.writeHead(307, { location: `http://${other}/blob` }).end();
    });
    const one = client(registry, { credentials: async () => ({ username: 'me', password: 'secret' }) });
    expect(await collect(one.blob('a', { digest: sha256('abc'), size: 3 }))).toBe('abc');
    await one.pushBlob('a', { digest: sha256('abc'), size: 3 }, () => Buffer.from('abc'));
    expect(seen).toEqual([undefined, undefined]);
  });

  it('gives no blob away whose bytes are others', async () => {
    const registry = await serve(
      (_request, response, url) =>
        void response.end(url.pathname.includes('short') ? 'ab' : url.pathname.includes('long') ? 'abcd' : 'abX'),
    );
    for (const repository of ['short', 'long', 'other']) {
      let given = '';
      const read = async () => {
        for await (const piece of client(registry).blob(repository, { digest: sha256('abc'), size: 3 }))
          given += Buffer.from(piece).toString();
      };
      await expect(read()).rejects.toBeInstanceOf(RegistryError);
      expect(given).toBe('');
    }
  });

  it('takes no manifest for that of a digest, or of a tag, whose bytes are others', async () => {
    const registry = await serve((_request, response) => void response.writeHead(200, { 'docker-content-digest': sha256('x') }).end('{}'));
    await expect(client(registry).manifest('a', sha256('y'))).rejects.toBeInstanceOf(RegistryError);
    await expect(client(registry).manifest('a', 'latest')).rejects.toBeInstanceOf(RegistryError);
  });

  it('finds referrers by the API page by page, and by the tag where there is none', async () => {
    const digest = sha256('subject');
    const index = (...names: string[]) =>
      JSON.stringify({ manifests: [...names.map((name) => ({ mediaType: 'm', digest: sha256(name), size: 1 })), { junk: 1 }] });
    const modern = await serve((_request, response, url) => {
      if (url.searchParams.has('last')) return response.end(index('two'));
      return response.writeHead(200, { link: `<${url.pathname}?last=1>; rel="next"` }).end(index('one'));
    });
    expect((await client(modern).referrers('a', digest)).map((one) => one.digest)).toEqual([sha256('one'), sha256('two')]);
    const old = await serve((_request, response, url) => {
      if (url.pathname.endsWith(`/manifests/${digest.replace(':', '-')}`)) return response.end(index('three'));
      return response.writeHead(404).end();
    });
    expect((await client(old).referrers('a', digest)).map((one) => one.digest)).toEqual([sha256('three')]);
    const none = await serve((_request, response) => void response.writeHead(404).end());
    expect(await client(none).referrers('a', digest)).toEqual([]);
  });

  it('leaves no list to lead it elsewhere', async () => {
    const registry = await serve(
      (_request, response) => void response.writeHead(200, { link: '<http://192.0.2.1/v2/a/tags/list>; rel="next"' }).end('{"tags":["x"]}'),
    );
    const tags: string[] = [];
    for await (const tag of client(registry).tags('a')) tags.push(tag);
    expect(tags).toEqual(['x']);
  });
});
