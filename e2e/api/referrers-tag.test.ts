import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, imageManifest, must, sha256, sha512 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

interface Index {
  readonly manifests: { readonly mediaType: string; readonly digest: string; readonly size: number; readonly artifactType?: string }[];
}

/** The tag of a subject for clients and registries without the API (distribution-spec, "Referrers tag schema"). */
const tagOf = (digest: string) => digest.replace(':', '-').slice(0, digest.indexOf(':') + 1 + 64);

describe('the referrers tag schema', () => {
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

  const push = async (extra: object) =>
    client.pushManifest(name, sha256(JSON.stringify(imageManifest(config, [], extra))), imageManifest(config, [], extra));
  const signatureOf = (digest: string, extra: object = {}) =>
    push({ subject: { mediaType: IMAGE, digest, size: 100 }, artifactType: 'a/signature', ...extra });
  const list = async (digest: string) => (await must(client, [200], 'GET', `/v2/${name}/referrers/${digest}`)).json<Index>();

  test.each([sha256, sha512])('a client that only reads the tag finds what was pushed through the API (%o)', async (by) => {
    const digest = by(randomBytes(8));
    const path = `/v2/${name}/manifests/${tagOf(digest)}`;
    await must(client, [404], 'GET', path);
    const signature = await signatureOf(digest);
    const answer = await must(client, [200], 'GET', path);
    expect(answer.headers.get('content-type')).toBe(INDEX);
    expect(answer.headers.get('docker-content-digest')).toBe(sha256(answer.bytes));
    expect(answer.json()).toEqual(await list(digest));
    expect(answer.json<Index>().manifests.map((entry) => entry.digest)).toEqual([signature.digest]);
    expect((await must(client, [200], 'HEAD', path)).headers.get('docker-content-digest')).toBe(sha256(answer.bytes));
    await must(client, [304], 'GET', path, { headers: { 'If-None-Match': answer.headers.get('etag') ?? '' } });
    // Made when asked for, it is no tag of the repository, and goes with its last entry.
    expect((await must(client, [200], 'GET', `/v2/${name}/tags/list`)).json<{ tags: string[] }>().tags).not.toContain(tagOf(digest));
    await must(client, [404], 'DELETE', path);
    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${signature.digest}`);
    await must(client, [404], 'GET', path);
  });

  test('it holds all referrers, more than one page of the API', async () => {
    const digest = sha256(randomBytes(8));
    const pushed: string[] = [];
    const all = Array.from({ length: 510 }, (_, index) => String(index));
    const pusher = async () => {
      for (let index = all.pop(); index !== undefined; index = all.pop()) {
        pushed.push((await signatureOf(digest, { annotations: { index } })).digest);
      }
    };
    await Promise.all(Array.from({ length: 8 }, pusher));
    const { manifests } = (await must(client, [200], 'GET', `/v2/${name}/manifests/${tagOf(digest)}`)).json<Index>();
    expect(manifests.map((entry) => entry.digest)).toEqual(pushed.toSorted());
  });

  test('a client that writes the tag is believed for it, and its referrers appear in the API', async () => {
    const digest = sha256(randomBytes(8));
    const path = `/v2/${name}/manifests/${tagOf(digest)}`;
    const signature = await signatureOf(digest);
    // An older tool's: it knows no subject, so nothing but the tag says what it belongs to.
    const older = await push({ annotations: { of: digest } });
    const entry = ({ bytes, digest: of }: { bytes: Buffer; digest: string }) => ({ mediaType: IMAGE, digest: of, size: bytes.length });
    const read = (await must(client, [200], 'GET', path)).headers.get('etag') ?? '';
    const index = { schemaVersion: 2, mediaType: INDEX, manifests: [entry(signature), { ...entry(older), artifactType: 'a/old' }] };
    const body = JSON.stringify(index);
    // What it read is what it replaces, although nobody had pushed that.
    await must(client, [412], 'PUT', path, { headers: { 'Content-Type': INDEX, 'If-None-Match': '*' }, body });
    await must(client, [412], 'PUT', path, { headers: { 'Content-Type': INDEX, 'If-Match': `"${sha256('x')}"` }, body });
    await must(client, [201], 'PUT', path, { headers: { 'Content-Type': INDEX, 'If-Match': read }, body });
    expect((await must(client, [200], 'GET', path)).bytes.toString()).toBe(body);
    // Entries with a valid subject must be served by the API; nothing proves whose the other one is.
    expect((await list(digest)).manifests).toEqual([{ ...entry(signature), artifactType: 'a/signature' }]);
    // Two clients that add to it do not lose each other's entry.
    const etag = `"${sha256(body)}"`;
    const next = JSON.stringify({ ...index, manifests: [entry(signature)] });
    await must(client, [201], 'PUT', path, { headers: { 'Content-Type': INDEX, 'If-Match': etag }, body: next });
    await must(client, [412], 'PUT', path, { headers: { 'Content-Type': INDEX, 'If-Match': etag }, body });
    // Deleted, the tag is made from the referrers again.
    await must(client, [202], 'DELETE', path);
    expect((await must(client, [200], 'GET', path)).json<Index>().manifests.map((found) => found.digest)).toEqual([signature.digest]);
  });

  test.each(['sha256-abc', `sha256-${'0'.repeat(63)}`, `sha256-${'0'.repeat(65)}`, `md5-${'0'.repeat(64)}`, `sha256-${'A'.repeat(64)}`])(
    '%s is a tag like any other',
    async (tag) => {
      await must(client, [404], 'GET', `/v2/${name}/manifests/${tag}`);
      const image = await client.pushManifest(name, tag, imageManifest(config, []));
      expect((await must(client, [200], 'GET', `/v2/${name}/manifests/${tag}`)).bytes.equals(image.bytes)).toBe(true);
      await must(client, [202], 'DELETE', `/v2/${name}/manifests/${tag}`);
    },
  );
});
