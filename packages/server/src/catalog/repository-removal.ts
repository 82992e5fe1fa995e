import { type Clock, type Database, type JobDefinition, queriesOf, type Session } from '../platform/index.ts';
import { dropBlobs } from './blobs.ts';
import { announce } from './events.ts';
import { requireNoneImmutable } from './immutability.ts';
import { purgePulls } from './pulls.ts';
import type { CatalogTables } from './schema.ts';
import { blobScope } from './scopes.ts';
import { trashRepository } from './trash.ts';
import { PURGE, purgeItem, trashOfRepository } from './trash-purge.ts';
import { countUsage } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');
type Batch = { repositoryId: number; limit: number };

const hideRepository = query<{ id: number; name: string; now: number }>()('hideRepository', (db, p) =>
  db
    .updateTable('repository')
    .set({ name: p('name'), deleted_at: p('now') })
    .where('id', '=', p('id')),
);
const isHidden = query<{ id: number }>()('isRepositoryHidden', (db, p) =>
  db.selectFrom('repository').select('id').where('id', '=', p('id')).where('deleted_at', 'is not', null),
);
const purgeTags = query<Batch>()('purgeTags', (db, p) =>
  db
    .deleteFrom('tag')
    .where('repository_id', '=', p('repositoryId'))
    .where('name', 'in', (eb) =>
      eb
        .selectFrom('tag as old')
        .select('old.name')
        .where('old.repository_id', '=', p('repositoryId'))
        .orderBy('old.name')
        .limit(p('limit')),
    ),
);
const purgeHistory = query<Batch>()('purgeTagHistory', (db, p) =>
  db
    .deleteFrom('tag_history')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('tag_history as old')
        .select('old.id')
        .where('old.repository_id', '=', p('repositoryId'))
        .orderBy('old.name')
        .orderBy('old.id')
        .limit(p('limit')),
    ),
);
const oldestManifests = query<Batch>()('oldestManifests', (db, p) =>
  db.selectFrom('manifest').select(['id', 'size']).where('repository_id', '=', p('repositoryId')).orderBy('id').limit(p('limit')),
);
const purgeReferences = query<{ id: number }>()('purgeReferences', (db, p) =>
  db.deleteFrom('manifest_reference').where('manifest_id', '=', p('id')),
);
const purgeContent = query<{ id: number }>()('purgeContent', (db, p) =>
  db.deleteFrom('manifest_content').where('manifest_id', '=', p('id')),
);
const purgeManifest = query<{ id: number }>()('purgeManifest', (db, p) => db.deleteFrom('manifest').where('id', '=', p('id')));
const linksOf = query<Batch>()('linksOf', (db, p) =>
  db.selectFrom('repository_blob').select('digest').where('repository_id', '=', p('repositoryId')).orderBy('digest').limit(p('limit')),
);
const purgeChange = query<{ id: number }>()('purgeRepositoryChange', (db, p) =>
  db.deleteFrom('repository_change').where('repository_id', '=', p('id')),
);
const purgeRow = query<{ id: number }>()('purgeRepository', (db, p) => db.deleteFrom('repository').where('id', '=', p('id')));

/**
 * Deletes a repository into the trash: from the end of the transaction on nothing of it is seen, and its name is free for
 * another. Its rows stay where they are, and go some at a time once it leaves the trash, as there may be millions. Throws `tag_immutable` where a rule holds one of its tags.
 */
export async function deleteRepository(tx: Session, { id }: { readonly id: number }, by: string, now: number): Promise<void> {
  await requireNoneImmutable(tx, id);
  await announce(tx, id, { topic: 'repository.deleted', payload: { by } }, now);
  await trashRepository(tx, { repositoryId: id, by, now });
  await tx.run(hideRepository, { id, name: `@deleted/${id}`, now });
  await countUsage(tx, id, { repositories: -1 });
}

const ROWS = 500;
const LINKS = 100;
const MANIFESTS = 100;

/** What of this room runs in the background. */
export function catalogJobs({ database, clock }: { readonly database: Database; readonly clock: Clock }): JobDefinition[] {
  async function purgeSomeTags(tx: Session, repositoryId: number): Promise<number> {
    const removed = await tx.run(purgeTags, { repositoryId, limit: ROWS });
    if (removed > 0) await countUsage(tx, repositoryId, { tags: -removed });
    return removed;
  }

  async function purgeManifests(tx: Session, repositoryId: number): Promise<number> {
    const found = await tx.all(oldestManifests, { repositoryId, limit: MANIFESTS });
    for (const { id } of found) {
      await tx.run(purgeReferences, { id });
      await tx.run(purgeContent, { id });
      await tx.run(purgeManifest, { id });
    }
    if (found.length > 0) await countUsage(tx, repositoryId, { bytes: -found.reduce((sum, { size }) => sum + size, 0) });
    return found.length;
  }

  /** What was deleted of it before. */
  async function purgeTrash(tx: Session, repositoryId: number): Promise<number> {
    const items = await trashOfRepository(tx, repositoryId, MANIFESTS);
    for (const item of items) await purgeItem(tx, item, clock.now());
    return items.length;
  }

  const purge = (step: (tx: Session) => Promise<number>) => database.write(step, { durable: false });

  async function purgeLinks(repositoryId: number): Promise<number> {
    const links = await database.all(linksOf, { repositoryId, limit: LINKS });
    const drop = async (tx: Session) => {
      const digests = links.map(({ digest }) => digest);
      await dropBlobs(tx, repositoryId, digests, clock.now());
    };
    if (links.length > 0) await database.write(drop, { durable: false, scope: links.map(({ digest }) => blobScope(digest)) });
    return links.length;
  }

  return [
    {
      kind: PURGE,
      async run(payload, { signal, progress }) {
        const { repositoryId } = payload as { repositoryId: number };
        if (!(await database.first(isHidden, { id: repositoryId }))) return { rows: 0 }; // done by an earlier run
        const steps = [
          () => purge((tx) => purgeSomeTags(tx, repositoryId)),
          () => purge(async (tx) => await tx.run(purgeHistory, { repositoryId, limit: ROWS })),
          () => purge((tx) => purgeTrash(tx, repositoryId)),
          () => purge((tx) => purgePulls(tx, repositoryId, ROWS)),
          () => purge((tx) => purgeManifests(tx, repositoryId)),
          () => purgeLinks(repositoryId),
        ];
        let rows = 0;
        for (const step of steps) {
          for (let removed = 1; removed > 0; rows += removed) {
            signal.throwIfAborted();
            removed = await step();
            await progress({ rows });
          }
        }
        await database.write(async (tx) => {
          await tx.run(purgeChange, { id: repositoryId });
          await tx.run(purgeRow, { id: repositoryId });
        });
        return { rows };
      },
    },
  ];
}
