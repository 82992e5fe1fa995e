import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startEntrepot } from './peers.ts';

const USAGE = `npm run bench:collection -- [options]
  How long garbage collection takes in a registry with many blobs: from the start of the server until the last object is gone.
  --blobs N     default 1000000; those that images need have rows, as collection goes by them, and no files
  --garbage N   of them that nothing needs, with files, default 10000`;

const REPOSITORIES = 1000;
/** Blobs of one image. */
const PARTS = 10;
const BATCH = 50_000;
const LONG_AGO = Date.UTC(2026, 0, 1);
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** Fills the database and the store of a new registry; its server must be stopped. */
function seedBlobs(folder: string, { blobs, garbage }: { readonly blobs: number; readonly garbage: number }): void {
  const database = new DatabaseSync(join(folder, 'entrepot.db'));
  database.exec('PRAGMA synchronous=OFF; PRAGMA cache_size=-200000');
  const insert = (table: string, columns: readonly string[]) =>
    database.prepare(`INSERT INTO "${table}" (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`);
  const repository = insert('repository', ['project_id', 'name', 'created_at']);
  const change = insert('repository_change', ['repository_id', 'project_id', 'updated_at']);
  const link = insert('repository_blob', ['repository_id', 'digest', 'size', 'created_at', 'unneeded_since']);
  const stored = insert('stored_blob', ['digest', 'size', 'state', 'stored_at']);
  const counted = insert('project_blob', ['project_id', 'digest', 'size', 'links']);
  const manifest = insert('manifest', ['repository_id', 'digest', 'media_type', 'size', 'created_at', 'created_by']);
  const need = insert('manifest_reference', ['manifest_id', 'repository_id', 'digest', 'kind']);
  const root = join(folder, 'storage/docker/registry/v2/blobs/sha256');
  const each = Math.max(1, Math.floor(blobs / garbage));

  database.exec('BEGIN');
  const project = Number(
    insert('project', ['name', 'public', 'created_at', 'created_by']).run('seed', 0, LONG_AGO, 'seed').lastInsertRowid,
  );
  insert('project_usage', ['project_id', 'stripe', 'bytes', 'repositories', 'tags', 'changes']).run(project, 0, blobs, REPOSITORIES, 0, 1);
  const repositories = Array.from({ length: REPOSITORIES }, (_, at) => {
    const id = Number(repository.run(project, `seed/app-${at}`, LONG_AGO).lastInsertRowid);
    change.run(id, project, LONG_AGO);
    return id;
  });
  let image = 0;
  for (let at = 0; at < blobs; at++) {
    if (at % BATCH === BATCH - 1) database.exec('COMMIT; BEGIN');
    const digest = digestOf(`blob ${at}`);
    const home = repositories[Math.floor(at / PARTS) % REPOSITORIES] ?? 0;
    const isGarbage = at % each === 0 && at / each < garbage;
    link.run(home, digest, 1, LONG_AGO, isGarbage ? LONG_AGO : null);
    stored.run(digest, 1, 'live', LONG_AGO);
    counted.run(project, digest, 1, 1);
    if (at % PARTS === 0) image = Number(manifest.run(home, digestOf(`image ${at}`), IMAGE, 1000, LONG_AGO, 'seed').lastInsertRowid);
    if (!isGarbage) {
      need.run(image, home, digest, 'blob');
      continue;
    }
    const hex = digest.slice('sha256:'.length);
    const path = join(root, hex.slice(0, 2), hex);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'data'), 'x');
  }
  database.exec('COMMIT; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)');
  database.close();
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      blobs: { type: 'string', default: '1000000' },
      garbage: { type: 'string', default: '10000' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const counts = { blobs: Number(values.blobs), garbage: Number(values.garbage) };
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-collection-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await (await startEntrepot('1', folder)).stop();
  if (!existsSync(join(folder, 'entrepot.db'))) throw new Error('the server made no database');
  seedBlobs(folder, counts);
  const root = join(folder, 'storage/docker/registry/v2/blobs/sha256');
  const left = () => readdirSync(root).reduce((sum, prefix) => sum + readdirSync(join(root, prefix)).length, 0);
  const before = left();
  const server = await startEntrepot('1', folder);
  try {
    const begun = performance.now();
    while (left() > 0) await delay(100);
    const took = (performance.now() - begun) / 1000;
    console.log(
      `${counts.blobs} blobs, ${before} of them garbage: gone after ${took.toFixed(1)} s, ${Math.round(before / took)} each second`,
    );
  } finally {
    await server.stop();
  }
}

if (import.meta.main) await main();
