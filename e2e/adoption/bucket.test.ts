import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type FaultProxy, startFaultProxy } from '../../packages/server/src/content/s3/testing-fault-proxy.ts';
import { BUCKET, describeOnS3, KEYS, startS3, type TestS3 } from '../../packages/server/src/content/s3/testing-server.ts';
import { type Image, missingOf, pushImage, randomImage, randomIndex } from '../clients/images.ts';
import { Client, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, temporaryFolder } from '../harness/server.ts';
import { has } from '../harness/tools.ts';
import { entrepot } from './command.ts';
import { type DockerRegistry, pushBySkopeo, startDockerRegistryOnS3 } from './docker-registry.ts';

const PREFIX = 'old/registry';
const OCI = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json';

/** Every object below a folder of the gateway, with what it holds. */
function objects(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${path.slice(folder.length)} ${sha256(readFileSync(path))}`)
    .filter((line) => !line.includes('/uploads/'))
    .sort();
}

if (!has('docker-registry') || !has('skopeo')) console.log('skipped: adoption of a bucket (needs docker-registry, skopeo)');
else
  describeOnS3('a registry:2 storage in a bucket, adopted where it lies', () => {
    let s3: TestS3;
    let proxy: FaultProxy;
    let storage: string;
    let flags: Record<string, string>;
    const data = temporaryFolder();
    const images: { name: string; tag: string; image: Image }[] = [];
    let former = '';
    const check = async () => {
      // The objects of this gateway are files, where the check looks for those of a registry on files.
      if (!existsSync(join(data, 'storage'))) symlinkSync(join(s3.folder, PREFIX), join(data, 'storage'));
      return await checkInvariants(data);
    };
    const words = (more: Record<string, string> = {}) =>
      Object.entries({ data, ...flags, ...more }).flatMap(([name, value]) => [`--${name}`, value]);
    const startOld = (): Promise<DockerRegistry> =>
      startDockerRegistryOnS3({ endpoint: s3.endpoint, bucket: BUCKET, rootdirectory: `/${PREFIX}`, ...KEYS });

    beforeAll(async () => {
      s3 = await startS3();
      proxy = await startFaultProxy(s3.endpoint);
      storage = join(s3.folder, PREFIX, 'docker/registry/v2');
      const secret = join(temporaryFolder(), 'secret');
      writeFileSync(secret, KEYS.secret, { mode: 0o600 });
      flags = {
        storage: 's3',
        's3-bucket': BUCKET,
        's3-endpoint': proxy.endpoint,
        's3-prefix': PREFIX,
        's3-access-key-id': KEYS.id,
        's3-secret-key-file': secret,
      };
      const old = await startOld();
      for (const [name, tag, image] of [
        ['ubuntu', 'latest', randomImage()],
        ['library/app', '1', randomImage()],
        ['library/app', '2', randomIndex()],
        ['library/app-b', '2', randomImage(1)],
        ['library/app/deep/down', 'x', randomImage(3)],
      ] as const) {
        images.push({ name, tag, image });
        await pushImage(old.client, name, tag, image);
      }
      const [before, now] = [randomImage(), randomImage()];
      former = before.descriptor.digest;
      await pushImage(old.client, 'team-a/tool', 'moving', before);
      await pushImage(old.client, 'team-a/tool', 'moving', now);
      images.push({ name: 'team-a/tool', tag: 'moving', image: now });
      await pushBySkopeo(old.address);
      await old.stop();
    });
    afterAll(async () => {
      await proxy.close();
      await s3.close();
    });

    it('is indexed without a change to it, while the bucket fails in every way, and served byte for byte', async () => {
      const before = objects(storage);
      let count = 0;
      // Each request may be told anything once or twice; together the faults are more than one try outlasts.
      proxy.inject(({ operation }) => {
        switch (++count % 19) {
          case 1:
            return { kind: 'answer', status: 503, body: '<Error><Code>SlowDown</Code><Message>less</Message></Error>' };
          case 2:
            return { kind: 'answer', status: 500, body: '<Error><Code>InternalError</Code></Error>' };
          case 4:
            return operation === 'HeadObject' ? { kind: 'cut' } : { kind: 'truncate', bytes: 40 };
          case 6:
            return operation === 'GetObject' ? { kind: 'short', bytes: 30 } : { kind: 'cut', after: true };
          default:
            return undefined;
        }
      });
      const { code, out, err } = await entrepot(['adopt', ...words(), '--json']);
      proxy.inject();
      expect(code, out + err).toBe(0);
      const lines = out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { type: string; counts?: object; source?: string });
      expect(lines.at(-1)).toMatchObject({
        ...{ type: 'result', damage: 0, findings: {}, source: `s3://${BUCKET}/${PREFIX}/docker/registry/v2` },
        counts: { repositories: 6, tags: 7, moves: 1 },
      });
      expect(objects(storage)).toEqual(before);
      const server = await startServer({ dataDir: data, options: flags });
      const client = new Client(server.url);
      for (const { name, tag, image } of images) {
        expect(await missingOf(client, name, image)).toEqual([]);
        expect((await must(client, [200], 'GET', `/v2/${name}/manifests/${tag}`)).bytes.equals(image.bytes)).toBe(true);
      }
      const history = await must(client, [200], 'GET', '/api/v1/projects/team-a/repositories/tool/tags/moving/history');
      const moves = history.json<{ items: { digest: string }[] }>().items.map(({ digest }) => digest);
      expect(moves).toEqual([images.at(-1)?.image.descriptor.digest, former]);
      await server.stop();
      await check();
    });

    it('can be taken over again by the old registry, with all that was changed meanwhile', async () => {
      const options = { ...flags, 'layout-compatible': 'true' };
      const server = await startServer({ dataDir: data, options });
      const client = new Client(server.url);
      const added: { name: string; tag: string; image: Image }[] = [];
      for (const [name, tag, image] of [
        ['ubuntu', 'next', randomImage()],
        ['new/one', 'multi', randomIndex()],
        ['library/app', '1', randomImage(1)],
      ] as const) {
        added.push({ name, tag, image });
        await pushImage(client, name, tag, image);
      }
      const gone = images.find(({ tag }) => tag === 'x')?.image.descriptor.digest ?? '';
      await must(client, [202], 'DELETE', `/v2/library/app/deep/down/manifests/${gone}`);
      await must(client, [204], 'DELETE', '/api/v1/projects/by/repositories/skopeo');
      await server.stop();

      const old = await startOld();
      const get = async (path: string) => await old.client.request('GET', path, { headers: { Accept: OCI } });
      const kept = images.filter(({ tag }) => tag === 'latest' || tag === '2' || tag === 'moving');
      for (const { name, tag, image } of [...kept, ...added]) {
        expect((await get(`/v2/${name}/manifests/${tag}`)).bytes.equals(image.bytes), `${name}:${tag}`).toBe(true);
        for (const part of [image, ...image.children]) {
          expect((await get(`/v2/${name}/manifests/${part.descriptor.digest}`)).bytes.equals(part.bytes)).toBe(true);
          for (const blob of part.blobs) expect((await get(`/v2/${name}/blobs/${sha256(blob)}`)).bytes.equals(blob)).toBe(true);
        }
      }
      expect((await get(`/v2/library/app/deep/down/manifests/${gone}`)).status).toBe(404);
      expect((await get('/v2/by/skopeo/manifests/1')).status).toBe(404);
      const later = randomImage();
      await pushImage(old.client, 'team-a/tool', 'moving', later);
      await old.stop();
      const { code, out } = await entrepot(['adopt', ...words(), '--update', '--verify']);
      expect(code, out).toBe(0);
      const again = await startServer({ dataDir: data, options });
      const moving = await must(new Client(again.url), [200], 'GET', '/v2/team-a/tool/manifests/moving');
      expect(moving.bytes.equals(later.bytes)).toBe(true);
      await again.stop();
      await check();
    });

    it('that says no, or is none, is told clearly, and no registry is made', async () => {
      const fresh = join(temporaryFolder(), 'data');
      const refused = async (more: Record<string, string>) => {
        const { code, out, err } = await entrepot(['adopt', ...words({ data: fresh, ...more })]);
        expect({ code, out }).toEqual({ code: 1, out: '' });
        expect(existsSync(join(fresh, 'entrepot.db'))).toBe(false);
        return err;
      };
      expect(await refused({ 's3-prefix': 'elsewhere' })).toMatch(
        /^entrepot: there is no storage of a registry in s3:\/\/registry\/elsewhere/,
      );
      expect(await refused({ 's3-bucket': 'no-such-bucket' })).toContain('NoSuchBucket');
      expect(await refused({ 's3-access-key-id': 'somebody' })).toMatch(/InvalidAccessKeyId|UserNotFound|AccessDenied/);
    });
  });
