import { randomBytes } from 'node:crypto';
import { cpSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeAll, describe, expect, test } from 'vitest';
import { Client, imageManifest, sha256 } from '../harness/client.ts';
import { type Acknowledged, checkInvariants } from '../harness/invariants.ts';
import { startServer, temporaryFolder } from '../harness/server.ts';

const name = 'demo/app';
const config = randomBytes(100);
const layer = randomBytes(600_000);
const extra = randomBytes(50);
let sound = '';
let image: { bytes: Uint8Array; digest: string } = { bytes: Buffer.alloc(0), digest: '' };
let index = image;
let copies = 0;
const folder = temporaryFolder();

beforeAll(async () => {
  const server = await startServer();
  sound = server.dataDir;
  const client = new Client(server.url);
  for (const blob of [config, layer, extra]) await client.pushBlob(name, blob);
  image = await client.pushManifest(name, 'one', imageManifest(config, [layer]));
  await client.pushManifest(name, 'one', imageManifest(config, []));
  const descriptor = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: image.digest, size: image.bytes.length };
  index = await client.pushManifest(name, 'all', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [descriptor],
  });
  await client.request('DELETE', `/v2/${name}/manifests/one`);
  await server.stop();
});

const all = (): Acknowledged => ({
  blobs: [{ name, digest: sha256(layer), size: layer.length }],
  manifests: [{ name, ...image }],
  tags: [{ name, tag: 'all', digest: index.digest }],
});

/** A damaged copy of the sound data directory. */
function damaged(damage: { file?: (path: string) => void; sql?: string }): string {
  const copy = join(folder, String(++copies));
  cpSync(sound, copy, { recursive: true });
  const hex = sha256(layer).slice(7);
  damage.file?.(join(copy, 'storage/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data'));
  if (damage.sql) {
    const database = new DatabaseSync(join(copy, 'entrepot.db'));
    database.exec(`PRAGMA foreign_keys=OFF; ${damage.sql}`);
    database.close();
  }
  return copy;
}

describe('the checker of invariants', () => {
  test('finds nothing wrong with what a server wrote', async () => {
    expect(await checkInvariants(sound, all())).toEqual({ blobs: 3, manifests: 3, tags: 1 });
  });

  test.each([
    ['a truncated blob', { file: (path: string) => truncateSync(path, 10) }, /holds other bytes/],
    ['a changed byte', { file: (path: string) => writeFileSync(path, Buffer.alloc(600_000)) }, /holds other bytes/],
    ['a missing blob', { file: (path: string) => rmSync(path) }, /none found/],
    ['a stray file', { file: (path: string) => writeFileSync(`${path}.tmp`, 'x') }, /is no blob/],
    [
      'a membership without file',
      { sql: "UPDATE repository_blob SET digest = 'sha256:ab' WHERE size = 50" },
      /sha256:ab should have a file/,
    ],
    ['a blob that its manifest needs', { sql: 'DELETE FROM repository_blob WHERE size = 600000' }, /needs blob sha256:/],
    ['a lost child', { sql: "DELETE FROM manifest WHERE media_type LIKE '%manifest%'" }, /needs manifest sha256:/],
    ['changed manifest bytes', { sql: "UPDATE manifest_content SET bytes = CAST('{}' AS BLOB)" }, /other bytes than it was pushed/],
    ['lost manifest bytes', { sql: 'DELETE FROM manifest_content' }, /has no bytes/],
    ['a lost edge', { sql: "DELETE FROM manifest_reference WHERE kind = 'manifest'" }, /has the edges/],
    ['a tag without target', { sql: "UPDATE tag SET digest = 'sha256:ab'" }, /leads to sha256:ab/],
    ['a lost tag', { sql: 'DELETE FROM tag' }, /acknowledged tag/],
    ['a history that says otherwise', { sql: 'DELETE FROM tag_history' }, /its history says/],
    ['a lost change', { sql: 'DELETE FROM tag_history WHERE id = 1' }, /has a gap/],
    ['a lost manifest', { sql: 'DELETE FROM tag; DELETE FROM manifest_reference; DELETE FROM manifest' }, /acknowledged manifest/],
  ])('finds %s', async (_, damage, message) => {
    await expect(checkInvariants(damaged(damage), all())).rejects.toThrow(message);
  });
});
