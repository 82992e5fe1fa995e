import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, Client, errorOf, must, sha256, sha512 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { type People, populate } from '../harness/people.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const source = 'demo/a';
const target = 'demo/b';
const uploads = `/v2/${target}/blobs/uploads/`;

describe('mounts', () => {
  let server: TestServer;
  let client: Client;
  let people: People;
  let bytes: Buffer;
  let digest: string;

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    people = await populate(server, { users: ['alice'], projects: { demo: { members: { alice: 'developer' } }, other: {} } });
    await client.pushBlob('demo/bare', Buffer.from('something else'));
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });
  beforeEach(async () => {
    bytes = randomBytes(70_000);
    digest = await client.pushBlob(source, bytes);
  });

  const isMounted = async (answer: Answer, of = digest) => {
    expect(answer.status, answer.bytes.toString()).toBe(201);
    expect(answer.headers.get('location')).toBe(`/v2/${target}/blobs/${of}`);
    expect(answer.headers.get('docker-content-digest')).toBe(of);
    expect((await must(client, [200], 'GET', answer.headers.get('location') ?? '')).bytes.equals(bytes)).toBe(true);
  };
  /** An ordinary session, in which the client brings the blob itself. */
  const isSession = async (answer: Answer, by = client) => {
    expect(answer.status, answer.bytes.toString()).toBe(202);
    const location = answer.headers.get('location') ?? '';
    expect(location.startsWith(`${uploads}${answer.headers.get('docker-upload-uuid')}`)).toBe(true);
    expect(answer.headers.get('range')).toBe('0-0');
    const own = randomBytes(10);
    await must(by, [202], 'PATCH', location, { body: own });
    await must(by, [201], 'PUT', `${location}?digest=${sha256(own)}`);
  };

  test.each<[string, () => string]>([
    ['from another repository', () => `?mount=${digest}&from=${source}`],
    ['the other way round', () => `?from=${source}&mount=${digest}`],
    ['percent-encoded, as docker and skopeo write it', () => `?from=${encodeURIComponent(source)}&mount=${encodeURIComponent(digest)}`],
    ['with the origin that crane adds', () => `?mount=${digest}&from=${source}&origin=registry.example`],
    ['with more that is not known', () => `?x=1&mount=${digest}&mount-by=tag&from=${source}&&`],
    ['from anywhere', () => `?mount=${digest}`],
    ['from anywhere, percent-encoded', () => `?mount=${encodeURIComponent(digest)}`],
  ])('%s', async (_, query) => {
    await isMounted(await client.request('POST', `${uploads}${query()}`));
  });

  test('by sha512', async () => {
    const long = sha512(bytes);
    await must(client, [201], 'POST', `/v2/${source}/blobs/uploads/?digest=${long}`, { body: bytes });
    await isMounted(await client.request('POST', `${uploads}?mount=${long}&from=${source}`), long);
  });

  test('from the repository itself', async () => {
    await client.pushBlob(target, bytes);
    await isMounted(await client.request('POST', `${uploads}?mount=${digest}&from=${target}`));
  });

  test('outlives what it was mounted from', async () => {
    await must(client, [201], 'POST', `${uploads}?mount=${digest}&from=${source}`);
    await must(client, [202], 'DELETE', `/v2/${source}/blobs/${digest}`);
    await must(client, [404], 'GET', `/v2/${source}/blobs/${digest}`);
    expect((await must(client, [200], 'GET', `/v2/${target}/blobs/${digest}`)).bytes.equals(bytes)).toBe(true);
    // And is no longer found there, by name; anywhere it still is.
    await isSession(await client.request('POST', `${uploads}?mount=${digest}&from=${source}`));
    await isMounted(await client.request('POST', `${uploads}?mount=${digest}`));
  });

  test.each<[string, () => string]>([
    ['a repository without the blob', () => `?mount=${sha256(randomBytes(9))}&from=${source}`],
    ['a repository without the blob, while others have it', () => `?mount=${digest}&from=demo/bare`],
    ['a repository that does not exist', () => `?mount=${digest}&from=demo/nowhere`],
    ['a project that does not exist', () => `?mount=${digest}&from=nowhere/app`],
    ['a registry, as ctr offers it', () => `?mount=${digest}&from=registry.example:5000/demo/a`],
    ['a name outside the grammar', () => `?mount=${digest}&from=../demo/a`],
    ['an empty name', () => `?mount=${digest}&from=`],
    ['anywhere, while it is nowhere', () => `?mount=${sha256(randomBytes(9))}`],
  ])('from %s: an ordinary session', async (_, query) => {
    await isSession(await client.request('POST', `${uploads}${query()}`));
  });

  test('with a token', async () => {
    const post = (authorization: string, query: string) => new Client(server.url, authorization).request('POST', `${uploads}${query}`);
    const both = await people.bearer('alice', `repository:${target}:pull,push`, `repository:${source}:pull`);
    await isMounted(await post(both, `?mount=${digest}&from=${source}`));

    // A token for the target alone is answered with the scopes that would do, whether or not the blob is there.
    const own = await people.bearer('alice', `repository:${target}:pull,push`);
    for (const mount of [digest, sha256(randomBytes(9))]) {
      for (const [query, scope] of [
        [`?mount=${mount}&from=${source}`, `repository:${target}:pull,push repository:${source}:pull`],
        [`?mount=${mount}`, `repository:${target}:pull,push repository:*:pull`],
      ] as const) {
        const answer = await post(own, query);
        expect(answer.status).toBe(401);
        expect(errorOf(answer).code).toBe('UNAUTHORIZED');
        expect(answer.headers.get('www-authenticate')).toContain(`scope="${scope}",error="insufficient_scope"`);
        // A client that follows gets there.
        const followed = await people.bearer('alice', scope);
        const again = await post(followed, query);
        if (mount === digest) await isMounted(again);
        else await isSession(again, new Client(server.url, followed));
      }
    }

    // Asked for and refused: no second challenge, the client goes on with an upload.
    const refused = await people.bearer('alice', `repository:${target}:pull,push`, 'repository:other/app:pull');
    await isSession(await post(refused, `?mount=${digest}&from=other/app`), new Client(server.url, refused));
  });
});
