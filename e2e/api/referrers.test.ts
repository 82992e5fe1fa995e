import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, Client, errorOf, imageManifest, must, sha256, sha512 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { walk } from './walk.ts';

const name = 'demo/app';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';

interface Referrer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Record<string, string>;
}

const referrersOf = (answer: Answer) => answer.json<{ manifests: Referrer[] }>().manifests;

describe('referrers', () => {
  let server: TestServer;
  let client: Client;
  const config = randomBytes(20);
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    await client.pushBlob(name, config);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const subject = (digest: string) => ({ subject: { mediaType: IMAGE, digest, size: 100 } });
  const push = async (manifest: object, by = sha256) => {
    const bytes = Buffer.from(JSON.stringify(manifest));
    const { mediaType } = manifest as { mediaType: string };
    const answer = await must(client, [201], 'PUT', `/v2/${name}/manifests/${by(bytes)}`, {
      headers: { 'Content-Type': mediaType },
      body: bytes,
    });
    return { bytes, digest: by(bytes), answer };
  };
  const list = (digest: string, query = '') => must(client, [200], 'GET', `/v2/${name}/referrers/${digest}${query}`);

  test('are listed whether the subject is there, comes later or goes', async () => {
    const image = imageManifest(config, [], { annotations: { n: 'subject' } });
    const digest = sha256(JSON.stringify(image));
    const before = await push(imageManifest(config, [], { ...subject(digest), artifactType: 'a/before' }));
    expect(before.answer.headers.get('oci-subject')).toBe(digest);
    expect(referrersOf(await list(digest)).map((found) => found.digest)).toEqual([before.digest]);
    const pushed = await push(image);
    expect(pushed.answer.headers.get('oci-subject')).toBeNull();
    const after = await push(imageManifest(config, [], { ...subject(digest), artifactType: 'a/after' }));
    const both = [before.digest, after.digest].toSorted();
    expect(referrersOf(await list(digest)).map((found) => found.digest)).toEqual(both);
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${digest}`);
    expect(referrersOf(await list(digest)).map((found) => found.digest)).toEqual(both);
  });

  test('say what they are: own artifact type, that of the config, or none; and their annotations', async () => {
    const digest = sha256(randomBytes(8));
    const annotations = { 'org.example/key': 'värde "quoted" \\ \n 😀', empty: '' };
    const own = await push(imageManifest(config, [], { ...subject(digest), artifactType: 'application/x.own', annotations }));
    const derived = await push(imageManifest(config, [], { ...subject(digest) }));
    const empty = await push(imageManifest(config, [], { ...subject(digest), artifactType: '', annotations: {} }));
    const index = await push({ schemaVersion: 2, mediaType: INDEX, manifests: [], ...subject(digest) });
    const typed = await push({
      schemaVersion: 2,
      mediaType: INDEX,
      artifactType: 'application/x.index',
      manifests: [],
      ...subject(digest),
    });
    const answer = await list(digest);
    expect(answer.headers.get('content-type')).toBe(INDEX);
    expect(answer.headers.get('oci-filters-applied')).toBeNull();
    const { manifests, ...rest } = answer.json<{ manifests: Referrer[] }>();
    expect(rest).toEqual({ schemaVersion: 2, mediaType: INDEX });
    const entry = ({ bytes, digest: of }: { bytes: Buffer; digest: string }, mediaType: string) => ({
      mediaType,
      digest: of,
      size: bytes.length,
    });
    expect(manifests).toHaveLength(5);
    expect(manifests).toEqual(
      expect.arrayContaining([
        { ...entry(own, IMAGE), artifactType: 'application/x.own', annotations },
        { ...entry(derived, IMAGE), artifactType: CONFIG },
        { ...entry(empty, IMAGE), artifactType: CONFIG, annotations: {} },
        entry(index, INDEX),
        { ...entry(typed, INDEX), artifactType: 'application/x.index' },
      ]),
    );
    for (const [type, expected] of [
      ['application/x.own', [own]],
      [CONFIG, [derived, empty]],
      ['application/x.index', [typed]],
      ['application/x.none', []],
      ['application/x%', []],
    ] as const) {
      const filtered = await list(digest, `?artifactType=${encodeURIComponent(type)}`);
      expect(filtered.headers.get('oci-filters-applied')).toBe('artifactType');
      expect(referrersOf(filtered).map((found) => found.digest)).toEqual(expected.map((found) => found.digest).toSorted());
    }
  });

  test('of sha512 subjects, and by sha512', async () => {
    const digest = sha512(randomBytes(8));
    const short = await push(imageManifest(config, [], subject(digest)));
    expect(short.answer.headers.get('oci-subject')).toBe(digest);
    const long = await push(imageManifest(config, [], { ...subject(digest), annotations: { by: 'sha512' } }), sha512);
    expect(referrersOf(await list(digest)).map((found) => found.digest)).toEqual([short.digest, long.digest]);
  });

  test('of what nobody refers to, or no repository holds: none, but never 404', async () => {
    const unknown = sha256('nothing');
    for (const path of [
      `/v2/${name}/referrers/${unknown}`,
      `/v2/demo/nowhere/referrers/${unknown}`,
      `/v2/nowhere/referrers/${sha512('')}`,
    ]) {
      for (const query of ['', '?artifactType=a/b']) {
        const answer = await must(client, [200], 'GET', `${path}${query}`);
        expect(answer.headers.get('content-type')).toBe(INDEX);
        expect(answer.json()).toEqual({ schemaVersion: 2, mediaType: INDEX, manifests: [] });
      }
    }
    expect(errorOf(await must(client, [400], 'GET', `/v2/${name}/referrers/latest`)).code).toBe('DIGEST_INVALID');
  });

  test('belong to their repository', async () => {
    const digest = sha256(randomBytes(8));
    await push(imageManifest(config, [], subject(digest)));
    expect(referrersOf(await must(client, [200], 'GET', `/v2/demo/other/referrers/${digest}`))).toEqual([]);
  });

  test('deleted are gone from the list at once', async () => {
    const digest = sha256(randomBytes(8));
    const [one, two] = [
      await push(imageManifest(config, [], { ...subject(digest), artifactType: 'a/1' })),
      await push(imageManifest(config, [], subject(digest))),
    ];
    expect(referrersOf(await list(digest))).toHaveLength(2);
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${one.digest}`);
    expect(referrersOf(await list(digest)).map((found) => found.digest)).toEqual([two.digest]);
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${two.digest}`);
    expect(referrersOf(await list(digest))).toEqual([]);
  });

  test('in great number come in pages that lose and repeat none, filtered or not', async () => {
    const digest = sha256(randomBytes(8));
    const expected: Record<string, string[]> = { 'a/common': [], 'a/rare': [] };
    const all = Array.from({ length: 540 }, (_, index) => index);
    const pusher = async () => {
      for (let index = all.pop(); index !== undefined; index = all.pop()) {
        const artifactType = index % 50 === 0 ? 'a/rare' : 'a/common';
        const pushed = await push(imageManifest(config, [], { ...subject(digest), artifactType, annotations: { index: String(index) } }));
        expected[artifactType]?.push(pushed.digest);
      }
    };
    await Promise.all(Array.from({ length: 8 }, pusher));

    for (const [query, digests] of [
      ['', Object.values(expected).flat()],
      ['?artifactType=a%2Fcommon', expected['a/common'] ?? []],
    ] as const) {
      const pages = await walk(client, `/v2/${name}/referrers/${digest}${query}`);
      expect(pages.length).toBeGreaterThan(1);
      for (const page of pages) expect(page.headers.get('oci-filters-applied')).toBe(query === '' ? null : 'artifactType');
      expect(pages.flatMap((page) => referrersOf(page).map((found) => found.digest))).toEqual([...digests].sort());
    }
  });

  test('with long annotations come in pages that a client can read', async () => {
    const digest = sha256(randomBytes(8));
    const pushed: string[] = [];
    for (let index = 0; index < 5; index++) {
      const annotations = { index: String(index), long: 'x'.repeat(1_000_000) };
      pushed.push((await push(imageManifest(config, [], { ...subject(digest), annotations }))).digest);
    }
    const pages = await walk(client, `/v2/${name}/referrers/${digest}`);
    for (const page of pages) expect(page.bytes.length).toBeLessThan(4 << 20);
    expect(pages.flatMap((page) => referrersOf(page).map((found) => found.digest))).toEqual(pushed.toSorted());
  });
});
