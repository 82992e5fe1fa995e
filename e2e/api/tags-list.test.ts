import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, Client, errorOf, imageManifest, must, sha256 } from '../harness/client.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { walk } from './walk.ts';

const name = 'demo/app';
const list = `/v2/${name}/tags/list`;
const tagsOf = (answer: Answer) => answer.json<{ tags: string[] }>().tags;

/** Tags that are easily lost, repeated or put in the wrong place: beginnings of each other, other case, signs below letters. */
const ODD = [
  '1',
  '10',
  '1.0',
  '1.0-rc',
  '1.0.0',
  '1-0',
  '1_0',
  'A',
  'a',
  'aa',
  'Aa',
  'aA',
  '_',
  '_a',
  'Z',
  'z',
  'latest',
  'latest-1',
  'x'.repeat(128),
];

describe('tags/list', () => {
  let server: TestServer;
  let client: Client;
  const config = randomBytes(20);
  const manifest = Buffer.from(JSON.stringify(imageManifest(config, [])));
  const all = [...ODD, ...Array.from({ length: 1100 }, (_, index) => `v${index}`)];
  const sorted = all
    .map((tag) => Buffer.from(tag))
    .sort(Buffer.compare)
    .map(String);

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    for (const repository of [name, 'demo/app-2', 'demo/empty']) await client.pushBlob(repository, config);
    for (let at = 0; at < all.length; at += 100) {
      const query = all
        .slice(at, at + 100)
        .map((tag) => `tag=${tag}`)
        .join('&');
      await must(client, [201], 'PUT', `/v2/${name}/manifests/${sha256(manifest)}?${query}`, { body: manifest });
    }
    await client.pushManifest('demo/app-2', 'other', imageManifest(config, []));
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  test('tells all, in byte order, a page at a time', async () => {
    const [first, second, ...more] = await walk(client, list);
    expect(more).toEqual([]);
    expect(first?.json()).toEqual({ name, tags: sorted.slice(0, 1000) });
    expect(second?.json()).toEqual({ name, tags: sorted.slice(1000) });
  });

  test.each([1, 3, 100, 373, 1000])('pages of %i lose and repeat none', async (n) => {
    // One by one only through those that are easily lost.
    const from = n === 1 ? `&last=${sorted.at(-150)}` : '';
    const pages = await walk(client, `${list}?n=${n}${from}`);
    const expected = n === 1 ? sorted.slice(-149) : sorted;
    expect(pages.flatMap(tagsOf)).toEqual(expected);
    expect(pages.slice(0, -1).every((page) => tagsOf(page).length === n)).toBe(true);
    expect(pages).toHaveLength(Math.ceil(expected.length / n));
  });

  test('a page that ends where the list ends has no next', async () => {
    for (const n of [1119, 2000, 999_999_999_999_999]) {
      const last = sorted[sorted.length - 3];
      const answer = await must(client, [200], 'GET', `${list}?n=${n}&last=${last}`);
      expect(tagsOf(answer)).toEqual(sorted.slice(-2));
      expect(answer.headers.get('link')).toBeNull();
    }
    const exact = await must(client, [200], 'GET', `${list}?n=2&last=${sorted[sorted.length - 3]}`);
    expect([tagsOf(exact), exact.headers.get('link')]).toEqual([sorted.slice(-2), null]);
  });

  test('n=0: none, and no next; n above the limit: a page, and a next', async () => {
    const none = await must(client, [200], 'GET', `${list}?n=0`);
    expect([none.json(), none.headers.get('link')]).toEqual([{ name, tags: [] }, null]);
    const most = await must(client, [200], 'GET', `${list}?n=1001`);
    expect(tagsOf(most)).toHaveLength(1000);
    expect(most.headers.get('link')).not.toBeNull();
  });

  test('last alone, last that is no tag there, last behind all', async () => {
    for (const last of ['1', '1.', '1.0-zzz', 'Zz', 'v', 'v1099', 'zzz', 'x'.repeat(128)]) {
      const expected = sorted.filter((tag) => tag > last).slice(0, 1000);
      expect(tagsOf(await must(client, [200], 'GET', `${list}?last=${last}`))).toEqual(expected);
    }
  });

  test.each([
    'n=-1',
    'n=x',
    'n=',
    'n=1.5',
    'n=1e3',
    'n=0x10',
    'n=%201',
    `n=${'9'.repeat(30)}`,
    'last=a/b',
    'last=.a',
    'last=%00',
    'last=a%20',
    `last=${'a'.repeat(129)}`,
  ])('%s is refused', async (query) => {
    const answer = await must(client, [400], 'GET', `${list}?${query}`);
    expect(errorOf(answer).code).toBe('PAGINATION_NUMBER_INVALID');
  });

  test('of a repository without tags: an empty list; of one that is not there: 404', async () => {
    expect((await must(client, [200], 'GET', '/v2/demo/empty/tags/list')).json()).toEqual({ name: 'demo/empty', tags: [] });
    expect(errorOf(await must(client, [404], 'GET', '/v2/demo/nowhere/tags/list')).code).toBe('NAME_UNKNOWN');
  });

  test('a tag deleted between two pages takes no other with it', async () => {
    const first = await must(client, [200], 'GET', `${list}?n=10`);
    const [, next = ''] = /<(.*)>/.exec(first.headers.get('link') ?? '') ?? [];
    const last = tagsOf(first).at(-1) ?? '';
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${last}`);
    expect(tagsOf(await must(client, [200], 'GET', next))).toEqual(sorted.slice(10, 20));
    await must(client, [201], 'PUT', `/v2/${name}/manifests/${last}`, { body: manifest });
  });
});
