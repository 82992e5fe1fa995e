import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, Client, errorOf, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const TYPE = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };

describe('tags', () => {
  let server: TestServer;
  let client: Client;
  const config = randomBytes(100);
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    await client.pushBlob(name, config);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  let count = 0;
  /** Another manifest each time. */
  const fresh = () => {
    const bytes = Buffer.from(JSON.stringify(imageManifest(config, [], { annotations: { count: String(count++) } })));
    return { bytes, digest: sha256(bytes), etag: `"${sha256(bytes)}"` };
  };
  const url = (reference: string) => `/v2/${name}/manifests/${reference}`;
  const put = (reference: string, body: Uint8Array, headers: Record<string, string> = {}) =>
    client.request('PUT', url(reference), { headers: { ...TYPE, ...headers }, body });
  const pointsAt = async (tag: string) => {
    const { status, headers } = await client.request('HEAD', url(tag));
    return status === 200 ? headers.get('docker-content-digest') : status;
  };
  const tagsOf = ({ headers }: Answer) => headers.get('oci-tag')?.split(', ') ?? [];
  const listed = async () => (await must(client, [200], 'GET', `/v2/${name}/tags/list`)).json<{ tags: string[] }>().tags;

  test('PUT by digest sets every tag named, at once, and says so', async () => {
    const { bytes, digest } = fresh();
    const none = await put(digest, bytes);
    expect([none.status, tagsOf(none)]).toEqual([201, []]);
    const one = await put(`${digest}?tag=one`, bytes);
    expect([one.status, tagsOf(one)]).toEqual([201, ['one']]);
    const many = Array.from({ length: 100 }, (_, index) => `many-${index}`);
    const query = many.map((tag) => `tag=${tag}`).join('&');
    const all = await put(`${digest}?${query}&tag=many-0&other=x`, bytes);
    expect([all.status, tagsOf(all)]).toEqual([201, many]);
    for (const tag of ['one', ...many]) expect(await pointsAt(tag)).toBe(digest);

    const next = fresh();
    expect((await put(`${next.digest}?tag=many-7&tag=new`, next.bytes)).status).toBe(201);
    expect(await Promise.all(['many-6', 'many-7', 'many-8', 'new'].map(pointsAt))).toEqual([digest, next.digest, digest, next.digest]);
  });

  test('more than the limit: 414; one outside the grammar: 400; nothing of either is set', async () => {
    const { bytes, digest } = fresh();
    const query = Array.from({ length: 101 }, (_, index) => `tag=over-${index}`).join('&');
    const over = await put(`${digest}?${query}`, bytes);
    expect([over.status, errorOf(over).code]).toEqual([414, 'TAG_INVALID']);
    for (const bad of ['.dot', '', 'a/b', 'a'.repeat(129), 'sha256:x', '%20']) {
      const answer = await put(`${digest}?tag=over-0&tag=${encodeURIComponent(bad)}`, bytes);
      expect([bad, answer.status, errorOf(answer).code]).toEqual([bad, 400, 'TAG_INVALID']);
    }
    expect(await pointsAt('over-0')).toBe(404);
    expect(await pointsAt(digest)).toBe(404);
  });

  test('a push by tag sets that tag, whatever the query says', async () => {
    const { bytes, digest } = fresh();
    const answer = await put('by-tag?tag=not-this', bytes);
    expect([answer.status, tagsOf(answer)]).toEqual([201, []]);
    expect([await pointsAt('by-tag'), await pointsAt('not-this')]).toEqual([digest, 404]);
  });

  test('a deleted tag is gone at once, its manifest and other tags stay', async () => {
    const { bytes, digest } = fresh();
    await put(`${digest}?tag=goes&tag=stays`, bytes);
    const deleted = await must(client, [202], 'DELETE', url('goes'));
    expect(deleted.bytes.length).toBe(0);
    expect([await pointsAt('goes'), await pointsAt('stays'), await pointsAt(digest)]).toEqual([404, digest, digest]);
    expect(await listed()).not.toContain('goes');
    expect(errorOf(await must(client, [404], 'DELETE', url('goes'))).code).toBe('MANIFEST_UNKNOWN');
    expect((await put('goes', bytes)).status).toBe(201);
    expect(await pointsAt('goes')).toBe(digest);
  });

  test('a deleted manifest takes all its tags with it, at once, and no others', async () => {
    const [gone, other] = [fresh(), fresh()];
    const tags = Array.from({ length: 20 }, (_, index) => `of-gone-${index}`);
    await put(`${gone.digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`, gone.bytes);
    await put('of-gone-3', other.bytes); // moved away before
    await must(client, [200], 'GET', url(gone.digest));
    await must(client, [202], 'DELETE', url(gone.digest));
    expect(await listed()).toEqual(expect.arrayContaining(['of-gone-3']));
    expect((await listed()).filter((tag) => tag.startsWith('of-gone-'))).toEqual(['of-gone-3']);
    for (const reference of [gone.digest, ...tags.filter((tag) => tag !== 'of-gone-3')]) {
      for (const method of ['GET', 'HEAD']) await must(client, [404], method, url(reference));
    }
    expect(errorOf(await must(client, [404], 'DELETE', url(gone.digest))).code).toBe('MANIFEST_UNKNOWN');
    expect(await pointsAt('of-gone-3')).toBe(other.digest);
    // And it can be pushed again.
    expect((await put(`${gone.digest}?tag=of-gone-0`, gone.bytes)).status).toBe(201);
    expect((await must(client, [200], 'GET', url('of-gone-0'))).bytes.equals(gone.bytes)).toBe(true);
  });

  test('If-Match: a tag is moved or deleted only while it is what the client saw', async () => {
    const [first, second] = [fresh(), fresh()];
    for (const headers of [{ 'If-Match': first.etag }, { 'If-Match': '*' }])
      expect((await put('seen', first.bytes, headers)).status).toBe(412);
    expect(await pointsAt('seen')).toBe(404);
    await put('seen', first.bytes);
    const refused = await put('seen', second.bytes, { 'If-Match': second.etag });
    expect((await put('seen', second.bytes, { 'If-Match': `W/${first.etag}` })).status).toBe(412); // compared strongly
    expect([refused.status, errorOf(refused).code]).toEqual([412, 'DENIED']);
    expect((await client.request('DELETE', url('seen'), { headers: { 'If-Match': second.etag } })).status).toBe(412);
    expect(await pointsAt('seen')).toBe(first.digest);
    expect(await pointsAt(second.digest)).toBe(404);
    expect((await put('seen', second.bytes, { 'If-Match': `"other", ${first.etag}` })).status).toBe(201);
    expect((await put('seen', second.bytes, { 'If-Match': '*' })).status).toBe(201);
    await must(client, [202], 'DELETE', url('seen'), { headers: { 'If-Match': second.etag } });
    expect(await pointsAt('seen')).toBe(404);
  });

  test('If-None-Match: a tag is made but not moved', async () => {
    const [first, second] = [fresh(), fresh()];
    expect((await put('made', first.bytes, { 'If-None-Match': '*' })).status).toBe(201);
    expect((await put('made', second.bytes, { 'If-None-Match': '*' })).status).toBe(412);
    expect((await put('made', second.bytes, { 'If-None-Match': first.etag })).status).toBe(412);
    expect(await pointsAt('made')).toBe(first.digest);
    expect((await put('made', second.bytes, { 'If-None-Match': second.etag })).status).toBe(201);
    expect(await pointsAt('made')).toBe(second.digest);
  });

  test('of many that make it, and then of many that move it, under a condition, one succeeds', async () => {
    let current: string | undefined;
    for (let round = 0; round < 2; round++) {
      const headers: Record<string, string> = current === undefined ? { 'If-None-Match': '*' } : { 'If-Match': `"${current}"` };
      const rivals = Array.from({ length: 12 }, fresh);
      const statuses = await Promise.all(rivals.map(async ({ bytes }) => (await put('raced', bytes, headers)).status));
      expect(statuses.toSorted()).toEqual([201, ...Array<number>(11).fill(412)]);
      current = rivals[statuses.indexOf(201)]?.digest;
      expect(await pointsAt('raced')).toBe(current);
    }
  });
});
