import { AppError, type Database, queriesOf, type Session } from '../platform/index.ts';
import { blockersOf, type DoomedManifest } from './deletion.ts';
import { immutable } from './immutability.ts';
import type { CatalogTables } from './schema.ts';
import { repositoryScope } from './scopes.ts';
import { deleteTag } from './tags.ts';
import { openItemFor } from './trash.ts';

/** Tags that go in the transaction of the deletion itself, and in each of those before it. */
const LIMITS = { atOnce: 500, batch: 100 } as const;

const query = queriesOf<CatalogTables>('catalog');
const tagsAt = query<{ repositoryId: number; digest: string; limit: number }>()('tagsToShed', (db, p) =>
  db
    .selectFrom('tag')
    .select('name')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .orderBy('name')
    .limit(p('limit')),
);

interface Shedding {
  readonly repository: { readonly id: number; readonly name: string };
  readonly by: string;
  readonly now: number;
  /** Writes the audit record of some tags of a manifest, in the transaction in which they go. */
  record(tx: Session, digest: string, tags: readonly string[]): Promise<void>;
  readonly limits?: { readonly atOnce: number; readonly batch: number };
}

/**
 * Before manifests are deleted: deletes most tags of those that have very many, some at a time, so that the deletion itself is
 * one short transaction. After each step all that is there is whole: tags go, what they led to stays, and they lie in the trash
 * under the item that their manifest will have, also where the process ends or the deletion is refused in the end. False where
 * there are few. Throws as the deletion itself would before anything goes.
 */
export async function shedTags(
  database: Database,
  doomed: readonly DoomedManifest[],
  { repository, limits = LIMITS, ...how }: Shedding,
): Promise<boolean> {
  const repositoryId = repository.id;
  const heavy: string[] = [];
  let left = limits.atOnce;
  for (const { digest } of doomed) {
    const tags = await database.all(tagsAt, { repositoryId, digest, limit: left + 1 });
    if (tags.length > left) heavy.push(digest);
    else left -= tags.length;
  }
  if (heavy.length === 0) return false;
  const { neededBy, immutable: held } = await blockersOf(database, repositoryId, doomed);
  const [parent] = neededBy;
  if (parent !== undefined) throw new AppError('manifest_referenced', `the manifest belongs to index ${parent}; delete that first`);
  if (held[0]) throw immutable(held[0].tag, held[0].rule);
  for (const digest of heavy) {
    for (let gone = limits.batch; gone === limits.batch; ) {
      // Not on disk before it is answered: the deletion comes after it, and with it all before it.
      gone = await database.write((tx) => shedSome(tx, { repositoryId, digest, limit: limits.batch }, how), {
        durable: false,
        scope: [repositoryScope(repository.name)],
      });
    }
  }
  return true;
}

async function shedSome(
  tx: Session,
  some: { readonly repositoryId: number; readonly digest: string; readonly limit: number },
  { by, now, record }: Omit<Shedding, 'repository' | 'limits'>,
): Promise<number> {
  const { repositoryId, digest } = some;
  const names = (await tx.all(tagsAt, some)).map(({ name }) => name);
  if (names.length === 0) return 0;
  const withId = await openItemFor(tx, { repositoryId, by, now }, digest);
  for (const name of names) await deleteTag(tx, { repositoryId, name, by, now, withId });
  await record(tx, digest, names);
  return names.length;
}
