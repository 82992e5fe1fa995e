import { createHash, randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { layoutIndex, manifestOf, missingOf, randomImage, tarHeader, writeLayout } from './images.ts';
import { type Workbench, workbench } from './workbench.ts';

const GIB = 2 ** 30;

describeWith(['skopeo'], 'images of unusual shape', () => {
  let server: TestServer;
  let client: Client;
  let bench: Workbench;

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    bench = workbench();
    await bench.login(server);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
    for (const folder of [server.dataDir, bench.folder]) rmSync(folder, { recursive: true, force: true });
  });

  const at = (reference: string) => `docker://${server.address}/${reference}`;

  test('a layer of 1 GiB', async () => {
    const source = join(bench.folder, 'large');
    const { manifest, layer } = writeLargeLayout(source, GIB);
    await bench.skopeo('copy', '--preserve-digests', '--dest-tls-verify=false', `oci:${source}:v1`, at('demo/large:v1'));
    expect((await manifestOf(client, 'demo/large', 'v1')).equals(manifest)).toBe(true);
    rmSync(source, { recursive: true });
    // skopeo refuses what does not have its digest.
    const target = join(bench.folder, 'large-dir');
    await bench.skopeo('copy', '--preserve-digests', '--src-tls-verify=false', at('demo/large:v1'), `dir:${target}`);
    expect(statSync(join(target, layer.slice(7))).size).toBe(GIB + 512 + 1024);
    rmSync(target, { recursive: true });
  }, 300_000);

  test('120 layers', async () => {
    const image = randomImage(120, 2000);
    const source = join(bench.folder, 'deep');
    writeLayout(source, image, 'v1');
    await bench.skopeo('copy', '--dest-tls-verify=false', `oci:${source}:v1`, at('demo/deep:v1'));
    expect(await missingOf(client, 'demo/deep', image)).toEqual([]);
    const target = join(bench.folder, 'deep-dir');
    await bench.skopeo('copy', '--src-tls-verify=false', at('demo/deep:v1'), `dir:${target}`);
    for (const blob of image.blobs) expect(statSync(join(target, sha256(blob).slice(7))).size).toBe(blob.length);
  });
});

/**
 * A layout of one uncompressed layer: a tar of one file, mostly holes on disk, with something new in each MiB, so that
 * neither misplaced nor repeated pieces go unnoticed.
 */
function writeLargeLayout(folder: string, bytes: number): { manifest: Buffer; layer: string } {
  const blobs = join(folder, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const hash = createHash('sha256');
  const piece = Buffer.alloc(2 ** 20);
  const file = openSync(join(blobs, 'layer'), 'w');
  const header = tarHeader('large', bytes);
  writeSync(file, header, 0, header.length, 0);
  hash.update(header);
  for (let position = 0; position < bytes; position += piece.length) {
    const filled = randomBytes(16 * 1024);
    filled.copy(piece);
    writeSync(file, filled, 0, filled.length, header.length + position);
    hash.update(piece);
  }
  hash.update(Buffer.alloc(1024));
  const size = header.length + bytes + 1024;
  ftruncateSync(file, size);
  closeSync(file);
  const layer = `sha256:${hash.digest('hex')}`;
  renameSync(join(blobs, 'layer'), join(blobs, layer.slice(7)));

  const write = (content: Buffer) => {
    writeFileSync(join(blobs, sha256(content).slice(7)), content);
    return { digest: sha256(content), size: content.length };
  };
  const config = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [layer] } };
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...write(Buffer.from(JSON.stringify(config))) },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer, size }],
    }),
  );
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(folder, 'index.json'), layoutIndex({ mediaType, ...write(manifest) }, 'v1'));
  return { manifest, layer };
}
