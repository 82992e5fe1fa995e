import { sql } from 'kysely';
import { AppError, queriesOf, type Session } from '../platform/index.ts';
import { linkBlob } from './blobs.ts';
import { findManifest } from './manifests.ts';
import { touchRepository } from './projects.ts';
import type { CatalogTables } from './schema.ts';
import { claimBlob, keepStored } from './stored-blobs.ts';
import { findTag, insertHistory } from './tags.ts';
import { countUsage, type Room } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');

const lastChange = query<{ id: number }>()('lastRepositoryChange', (db, p) =>
  db.selectFrom('repository_change').select('updated_at as at').where('repository_id', '=', p('id')),
);

/**
 * Makes a blob of another registry a member of a repository, in the transaction of the manifest that needs it; its bytes lie in
 * the store. Throws `unavailable` while a deletion of the same bytes is under way.
 */
export async function adoptBlob(tx: Session, repositoryId: number, blob: { digest: string; size: number }, now: number): Promise<void> {
  // What was removed here before may have come back by the other registry.
  const kept = (await keepStored(tx, blob, now)) || ((await claimBlob(tx, blob, now)) !== undefined && (await keepStored(tx, blob, now)));
  if (!kept) throw new AppError('unavailable', `${blob.digest} is being deleted; try again in an hour`);
  await linkBlob(tx, repositoryId, blob, now, ENDLESS);
}

/** Limits hold for what comes; what is there already counts, and is kept. */
export const ENDLESS: Room = { bytes: Number.POSITIVE_INFINITY, repositories: Number.POSITIVE_INFINITY, tags: Number.POSITIVE_INFINITY };

/** Where a tag led from a time on. */
export interface TagMove {
  readonly digest: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

const insertTag = query<{ repositoryId: number; name: string; digest: string; now: number; by: string }>()('adoptTag', (db, p) =>
  db
    .insertInto('tag')
    .columns(['repository_id', 'name', 'digest', 'updated_at', 'updated_by'])
    .expression((eb) =>
      eb
        .selectFrom('manifest')
        .select([
          'manifest.repository_id',
          sql<string>`cast(${p('name')} as text)`.as('name'),
          'manifest.digest',
          sql<number>`cast(${p('now')} as bigint)`.as('updated_at'),
          sql<string>`cast(${p('by')} as text)`.as('updated_by'),
        ])
        .where('manifest.repository_id', '=', p('repositoryId'))
        .where('manifest.digest', '=', p('digest')),
    )
    .onConflict((conflict) => conflict.columns(['repository_id', 'name']).doNothing()),
);

export interface AdoptedTag {
  readonly repositoryId: number;
  readonly name: string;
  /** In order of time; the last is where it leads. */
  readonly moves: readonly TagMove[];
  readonly by: string;
}

/**
 * Makes a tag as another registry had it, with its history; nobody is told, as nothing changed for anybody. One that is there
 * already stays as it is: `same` or `other` says where it leads; nor is one made that leads to no manifest (`dangling`).
 * Those that are `made` are counted by `countAdoptedTags`.
 */
export async function adoptTag(
  tx: Session,
  { repositoryId, name, moves, by }: AdoptedTag,
): Promise<'made' | 'same' | 'other' | 'dangling'> {
  const last = moves.at(-1);
  if (last === undefined) throw new Error('a tag that leads nowhere is none');
  if ((await tx.run(insertTag, { repositoryId, name, digest: last.digest, now: last.at, by })) === 0) {
    if (!(await findManifest(tx, repositoryId, last.digest))) return 'dangling';
    return (await findTag(tx, repositoryId, name)) === last.digest ? 'same' : 'other';
  }
  let previous: string | null = null;
  for (const { digest, at } of moves) {
    await tx.run(insertHistory, { repositoryId, name, digest, previous, now: at, by });
    previous = digest;
  }
  return 'made';
}

/** Counts tags that were made, in the transaction that made them, whatever the limits: they were there before those. */
export async function countAdoptedTags(tx: Session, repositoryId: number, tags: number): Promise<void> {
  await countUsage(tx, repositoryId, { tags });
}

/** Notes when the content of a repository changed last, unless it has changed since. */
export async function noteChange(tx: Session, repositoryId: number, at: number): Promise<void> {
  const last = (await tx.first(lastChange, { id: repositoryId }))?.at ?? 0;
  if (last < at) await touchRepository(tx, repositoryId, at);
}
