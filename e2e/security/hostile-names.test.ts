import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attach, describeTraced } from '../durability/strace.ts';
import { basic, Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { ask } from '../harness/raw.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';

const authorization = `Authorization: ${basic(ADMIN.user, ADMIN.password)}\r\n`;
const hex = '0'.repeat(64);

/** Text outside every grammar there is: as a name, tag, digest, upload id or place to go on from it must not get far. */
const HOSTILE = [
  '../../../../etc/passwd',
  '..%2f..%2f..%2fentrepot.db',
  '%2e%2e%2f%2e%2e%2fkeys%2fmaster.key',
  '%252e%252e%252fkeys',
  '..%5c..%5ckeys',
  '....//....//keys',
  '..%c0%af..%c0%afkeys',
  '.%00./keys',
  '%2fetc%2fpasswd',
  'file:%2f%2f%2fetc%2fpasswd',
  '~root',
  'a%00b',
  'a%0d%0aX-Injected:%20yes',
  'a%0aX-Injected:%20yes',
  'a%0d%0a%0d%0aHTTP/1.1%20200%20OK',
  'a%e5%98%8a%e5%98%8dX-Injected:yes', // what some take for CR and LF
  '%E2%80%AE',
  '%F0%9F%92%A9',
  '%FF%FE',
  '%',
  '%zz',
  '%u002e%u002e',
  "'%20OR%20'1'='1",
  "';DROP%20TABLE%20tag;--",
  '%25',
  '_%25',
  '%24%7Bjndi:ldap://127.0.0.1/x%7D',
  '%7B%7B7*7%7D%7D',
  '%60id%60',
  '%3Cscript%3E',
  '-rf',
  '.',
  '..',
  '...',
  '.hidden',
  '*',
  '%20',
  `sha256:..%2f${hex.slice(5)}`,
  `sha256:${hex}%2f..%2f..`,
  `sha256:${hex}%00`,
  `sha256:${hex}%0a`,
  `sha512:${hex}`,
  `md5:${hex}`,
  `:${hex}`,
  `sha256+b64:${hex}`,
  'x'.repeat(300),
  '%61'.repeat(3000),
  '/'.repeat(5000),
  '../'.repeat(3000),
];

const json = JSON.stringify(imageManifest('{}' as unknown as Uint8Array, []));
/** Where such text can stand. */
const PLACES: Readonly<Record<string, (text: string) => [method: string, path: string, body?: string]>> = {
  'a repository': (text) => ['GET', `/v2/${text}/tags/list`],
  'a part of a repository': (text) => ['GET', `/v2/demo/${text}/manifests/latest`],
  'a repository pushed to': (text) => ['POST', `/v2/demo/${text}/blobs/uploads/`],
  'a tag': (text) => ['GET', `/v2/demo/app/manifests/${text}`],
  'a tag pushed': (text) => ['PUT', `/v2/demo/app/manifests/${text}`, json],
  'a tag deleted': (text) => ['DELETE', `/v2/demo/app/manifests/${text}`],
  'one of several tags': (text) => ['PUT', `/v2/demo/app/manifests/${sha256(json)}?tag=good&tag=${text}`, json],
  'a blob': (text) => ['GET', `/v2/demo/app/blobs/${text}`],
  'a blob deleted': (text) => ['DELETE', `/v2/demo/app/blobs/${text}`],
  'an upload': (text) => ['GET', `/v2/demo/app/blobs/uploads/${text}`],
  'an upload continued': (text) => ['PATCH', `/v2/demo/app/blobs/uploads/${text}`, 'x'],
  'an upload finished': (text) => ['PUT', `/v2/demo/app/blobs/uploads/${text}?digest=${sha256('x')}`, 'x'],
  'a digest pushed': (text) => ['POST', `/v2/demo/app/blobs/uploads/?digest=${text}`, 'x'],
  'a digest to mount': (text) => ['POST', `/v2/demo/app/blobs/uploads/?mount=${text}&from=demo/app`],
  'an algorithm': (text) => ['POST', `/v2/demo/app/blobs/uploads/?digest-algorithm=${text}`],
  'a subject': (text) => ['GET', `/v2/demo/app/referrers/${text}`],
  'a place in the tags': (text) => ['GET', `/v2/demo/app/tags/list?last=${text}`],
  'a place in the catalogue': (text) => ['GET', `/v2/_catalog?last=${text}`],
  'a place among referrers': (text) => ['GET', `/v2/demo/app/referrers/sha256:${hex}?last=${text}`],
  'a number': (text) => ['GET', `/v2/demo/app/tags/list?n=${text}`],
  'a path': (text) => ['GET', `/${text}`],
  'an extension': (text) => ['GET', `/v2/_oci/ext/${text}`],
};

/** Text that is outside some grammars only: taken for what it says, where it may say so. */
const HARMLESS: Readonly<Record<string, (text: string) => [method: string, path: string]>> = {
  'a repository to mount from': (text) => ['POST', `/v2/demo/app/blobs/uploads/?mount=sha256:${hex}&from=${text}`],
  'an artifact type': (text) => ['GET', `/v2/demo/app/referrers/sha256:${hex}?artifactType=${text}`],
  'a scope': (text) => ['GET', `/token?scope=repository:${text}:pull`],
  'a service': (text) => ['GET', `/token?service=${text}&account=${text}`],
};

async function send(server: TestServer, [method, path, body = '']: readonly [string, string, string?]): Promise<string> {
  const type = body.startsWith('{') ? 'Content-Type: application/vnd.oci.image.manifest.v1+json\r\n' : '';
  const headers = `Host: registry\r\n${authorization}${type}Content-Length: ${body.length}\r\nConnection: close\r\n`;
  return await ask(server, `${method} ${path} HTTP/1.1\r\n${headers}\r\n${body}`);
}

async function sendAll(server: TestServer, place: (text: string) => [string, string, string?], statuses: RegExp): Promise<void> {
  for (const text of HOSTILE) {
    const answer = await send(server, place(text));
    const head = answer.slice(0, answer.indexOf('\r\n\r\n'));
    expect([text, head.split(' ')[1]]).toEqual([text, expect.stringMatching(statuses)]);
    expect(head).not.toMatch(/^X-Injected/im);
    expect(answer.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(answer).not.toMatch(/root:|SQLite|no such table|node_modules|\/tmp\//);
  }
}

const start = async () => {
  const server = await startServer();
  const client = new Client(server.url);
  await client.pushBlob('demo/app', Buffer.from('{}'));
  await client.pushImage('demo/app', 'latest');
  return { server, client };
};

describe('E2 names, digests and tags outside the grammar', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    ({ server, client } = await start());
  });
  afterAll(async () => {
    expect((await must(client, [200], 'GET', '/v2/demo/app/tags/list')).json()).toEqual({ name: 'demo/app', tags: ['latest'] });
    expect(server.output()).not.toContain('"level":50');
    expect(await server.stop()).toBe(0);
    expect(await checkInvariants(server.dataDir)).toEqual({ blobs: 3, manifests: 1, tags: 1 });
  });

  test.each(Object.entries(PLACES))('E2 as %s: refused', async (_, place) => {
    await sendAll(server, place, /^4(00|04|05|14)$/);
  });

  test.each(Object.entries(HARMLESS))('E2 as %s: no more than text', async (_, place) => {
    await sendAll(server, place, /^(200|202|400)$/);
  });

  test('E2 in headers: nothing comes back that was not meant to', async () => {
    for (const header of [
      'X-Request-Id',
      'Host',
      'Range',
      'If-None-Match',
      'If-Range',
      'Content-Range',
      'Accept',
      'Origin',
      'X-Forwarded-Host',
      'Content-Type',
    ]) {
      for (const value of [
        'a\tb',
        '"><script>',
        '../../etc/passwd',
        "' OR 1=1",
        '\x80\xff',
        'x'.repeat(8000),
        '%0d%0aX-Injected: yes',
        'é',
      ]) {
        const headers = `${header === 'Host' ? '' : 'Host: registry\r\n'}${header}: ${value}\r\n${authorization}Connection: close\r\n`;
        const answer = await ask(server, Buffer.from(`GET /v2/demo/app/manifests/latest HTTP/1.1\r\n${headers}\r\n`, 'latin1'));
        expect([header, answer.slice(9, 12)]).toEqual([header, expect.stringMatching(/^(200|304|400)$/)]);
        expect(answer).not.toMatch(/^X-Injected|<script>|Access-Control/im);
      }
    }
    const answer = await ask(server, `GET /v2/ HTTP/1.1\r\nHost: evil"><script>\r\nConnection: close\r\n\r\n`);
    expect(answer).not.toContain('script');
  });
});

describeTraced('E2 the file system', () => {
  let server: TestServer;
  beforeAll(async () => {
    ({ server } = await start());
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  test('E2 hears nothing of text outside the grammar', async () => {
    const tracer = await attach({ process: server.process.pid ?? 0 }, ['-s', '300', '-e', 'trace=%file']);
    for (const place of Object.values({ ...PLACES, ...HARMLESS })) for (const text of HOSTILE) await send(server, place(text));
    const before = tracer.calls();
    // The tracer does see what is looked for: a blob that is there.
    const { status } = await new Client(server.url).request('GET', `/v2/demo/app/blobs/${sha256('{}')}`);
    await tracer.detach();
    expect(status).toBe(200);
    expect(tracer.calls().some(({ args }) => args.includes(sha256('{}').slice(7)))).toBe(true);
    // Jobs list abandoned uploads and keep checkpoints of the audit trail, and node looks at the machine, whatever is asked.
    const places = ['storage/docker/registry/v2/uploads"', 'audit"', 'audit/checkpoints.ndjson"'].map(
      (path) => `"${server.dataDir}/${path}`,
    );
    const own = (args: string) => places.some((path) => args.includes(path)) || /"\/(sys|proc)\//.test(args);
    expect(before.filter(({ args }) => !own(args)).map(({ name, args }) => `${name}(${args}`)).toEqual([]);
  });
});
