import { LRUCache } from 'lru-cache';
import { imageLabels, type Labels } from '../../catalog/index.ts';
import { type Clock, type Database, queriesOf } from '../../platform/index.ts';
import type { RetentionTables } from './schema.ts';

const query = queriesOf<RetentionTables>('retention');

const knownLabels = query<{ digest: string }>()('imageLabels', (db, p) =>
  db.selectFrom('image_label').select('labels').where('digest', '=', p('digest')),
);
const keepLabels = query<{ digest: string; labels: string; now: number }>()('keepImageLabels', (db, p) =>
  db
    .insertInto('image_label')
    .values({ digest: p('digest'), labels: p('labels'), read_at: p('now') })
    .onConflict((conflict) => conflict.column('digest').doNothing()),
);
const dropLabels = query<{ before: number; limit: number }>()('dropImageLabels', (db, p) =>
  db
    .deleteFrom('image_label')
    .where('digest', 'in', (eb) =>
      eb.selectFrom('image_label as old').select('old.digest').where('old.read_at', '<', p('before')).limit(p('limit')),
    ),
);

/** What is kept of one image; more is read anew each time. */
const KEPT_BYTES = 32 * 1024;
const IN_MEMORY = 1000;

/** Labels of the images that a manifest of a repository is or holds; undefined where they cannot be told. */
export type LabelsOf = (repositoryId: number, digest: string) => Promise<readonly Labels[] | undefined>;

/**
 * Labels by reading configs from the store, each once: what has a digest never changes, so what was read is a row from then
 * on. Throws where the store cannot be read.
 */
export function createLabels(
  database: Database,
  clock: Clock,
  readBlob: (digest: string, most: number) => Promise<Uint8Array | undefined>,
): LabelsOf {
  const recent = new LRUCache<string, readonly Labels[]>({ max: IN_MEMORY });
  return async (repositoryId, digest) => {
    const near = recent.get(digest);
    if (near) return near;
    const row = await database.first(knownLabels, { digest });
    const labels = row ? (JSON.parse(row.labels) as Labels[]) : await imageLabels(database, repositoryId, digest, readBlob);
    if (!labels) return undefined;
    recent.set(digest, labels);
    const text = JSON.stringify(labels);
    if (!row && text.length <= KEPT_BYTES) {
      await database.write(async (tx) => void (await tx.run(keepLabels, { digest, labels: text, now: clock.now() })), {
        durable: false,
        scope: [`image-label:${digest}`],
      });
    }
    return labels;
  };
}

/** Forgets what was read before a time, some at a time; gives how many. */
export async function forgetLabels(database: Database, before: number, limit: number): Promise<number> {
  return await database.write(async (tx) => await tx.run(dropLabels, { before, limit }), { durable: false });
}
