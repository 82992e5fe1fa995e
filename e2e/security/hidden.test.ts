import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { claimsOf } from '../harness/jwt.ts';
import { type People, populate } from '../harness/people.ts';
import { ask } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const secret = Buffer.from('known to members');
const digest = sha256(secret);
const manifest = JSON.stringify(imageManifest(secret, []));

/** What is there but hidden, and what is not there at all: names of one length, as answers repeat them. */
const HIDDEN = 'closed/app';
const ABSENT = ['closed/non', 'absent/app'];

describe('A8 what one may not see looks exactly like what does not exist', () => {
  let server: TestServer;
  let people: People;
  let callers: [string, (name: string) => Promise<string | undefined>][];
  let location: string;

  beforeAll(async () => {
    server = await startServer();
    const admin = new Client(server.url);
    people = await populate(server, { users: ['mallory'], projects: { closed: {}, own: { members: { mallory: 'maintainer' } } } });
    await admin.pushBlob(HIDDEN, secret);
    await admin.pushManifest(HIDDEN, 'v1', imageManifest(secret, []));
    await admin.pushManifest(HIDDEN, 'v2', imageManifest(secret, [], { subject: { mediaType: 'a/b', digest, size: 1 } }));
    location = (await must(admin, [202], 'POST', `/v2/${HIDDEN}/blobs/uploads/`)).headers.get('location') ?? '';
    await must(admin, [202], 'PATCH', location, { body: Buffer.from('begun') });
    callers = [
      ['nobody', async () => undefined],
      ['a stranger by password', async () => people.basic('mallory')],
      ['a stranger with a token for it', (name) => people.bearer('mallory', `repository:${name}:pull,push,delete`)],
      ['a stranger with a token for something else', () => people.bearer('mallory', 'repository:own/app:pull,push')],
      ['an anonymous token for it', (name) => people.bearer(undefined, `repository:${name}:pull,push,delete`)],
    ];
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  /** Every byte of an answer but its date, the request's id, and the name that was asked for. */
  const answerTo = async (name: string, authorization: string | undefined, method: string, path: string, body = '') => {
    const headers = ['Host: registry', `Content-Length: ${body.length}`, 'Connection: close'];
    if (authorization !== undefined) headers.push(`Authorization: ${authorization}`);
    const answer = await ask(server, `${method} /v2/${name}/${path} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n${body}`);
    return answer.replace(/^(Date|X-Request-Id): .*$/gm, '$1').replaceAll(name, 'NAME');
  };

  const ROUTES: [method: string, path: () => string, body?: string][] = [
    ['GET', () => 'manifests/v1'],
    ['HEAD', () => 'manifests/v1'],
    ['GET', () => `manifests/${sha256(manifest)}`],
    ['GET', () => `manifests/${digest.replace(':', '-')}`],
    ['PUT', () => 'manifests/v1', manifest],
    ['PUT', () => `manifests/${sha256(manifest)}?tag=x`, manifest],
    ['DELETE', () => 'manifests/v1'],
    ['DELETE', () => `manifests/${sha256(manifest)}`],
    ['GET', () => `blobs/${digest}`],
    ['HEAD', () => `blobs/${digest}`],
    ['DELETE', () => `blobs/${digest}`],
    ['GET', () => 'tags/list'],
    ['GET', () => `referrers/${digest}`],
    ['POST', () => 'blobs/uploads/'],
    ['POST', () => `blobs/uploads/?digest=${digest}`, secret.toString()],
    ['POST', () => `blobs/uploads/?mount=${digest}&from=closed/app`],
    ['GET', () => location.slice(`/v2/${HIDDEN}/`.length)],
    ['PATCH', () => location.slice(`/v2/${HIDDEN}/`.length), 'more'],
    ['PUT', () => `${location.slice(`/v2/${HIDDEN}/`.length)}?digest=${digest}`, secret.toString()],
    ['DELETE', () => location.slice(`/v2/${HIDDEN}/`.length)],
  ];

  test.each(ROUTES)('A8 %s %s, to the byte, for whoever asks', async (method, path, body) => {
    for (const [who, authorization] of callers) {
      const seen = await answerTo(HIDDEN, await authorization(HIDDEN), method, path(), body);
      expect(seen).toMatch(/^HTTP\/1\.1 (401|403) /);
      for (const name of ABSENT) {
        expect([who, await answerTo(name, await authorization(name), method, path(), body)]).toEqual([who, seen]);
      }
    }
  });

  test('A8 tokens say the same of both', async () => {
    const grants = async (user: string | undefined, name: string) => {
      const { iat, exp, ...claims } = claimsOf((await people.bearer(user, `repository:${name}:pull,push,delete`)).slice(7));
      return JSON.stringify([Number(exp) - Number(iat), claims]).replaceAll(name, 'NAME');
    };
    for (const user of [undefined, 'mallory']) {
      for (const name of ABSENT) expect(await grants(user, name)).toBe(await grants(user, HIDDEN));
    }
  });

  test('A8 a mount from either is the same ordinary session, whatever is in it', async () => {
    const sessions = new Set<string>();
    for (const authorization of [
      people.basic('mallory'),
      await people.bearer(
        'mallory',
        'repository:own/app:pull,push',
        `repository:${HIDDEN}:pull`,
        ...ABSENT.map((name) => `repository:${name}:pull`),
      ),
    ]) {
      for (const from of [HIDDEN, ...ABSENT]) {
        for (const mount of [digest, sha256('nowhere'), sha256(manifest)]) {
          const answer = await answerTo('own/app', authorization, 'POST', `blobs/uploads/?mount=${mount}&from=${from}`);
          sessions.add(answer.replaceAll(/uploads\/\S+/g, 'uploads/ID').replace(/^(Docker-Upload-UUID): .*$/m, '$1'));
        }
      }
    }
    expect([...sessions]).toEqual([expect.stringMatching(/^HTTP\/1\.1 202 /)]);
  });

  test('A8 so is a mount from anywhere', async () => {
    const client = people.client('mallory');
    for (const mount of [digest, sha256('nowhere')]) await must(client, [202], 'POST', `/v2/own/app/blobs/uploads/?mount=${mount}`);
    await must(client, [404], 'HEAD', `/v2/own/app/blobs/${digest}`);
  });
});
