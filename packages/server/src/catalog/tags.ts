import { AppError, queriesOf, type Session } from '../platform/index.ts';
import { announce } from './events.ts';
import { requireMutable } from './immutability.ts';
import { touchRepository } from './projects.ts';
import type { CatalogTables } from './schema.ts';
import { trashTag } from './trash.ts';
import { countUsage, type Room } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');

const tagDigest = query<{ repositoryId: number; name: string }>()('tagDigest', (db, p) =>
  db.selectFrom('tag').select('digest').where('repository_id', '=', p('repositoryId')).where('name', '=', p('name')),
);
const upsertTag = query<{ repositoryId: number; name: string; digest: string; now: number; by: string }>()('upsertTag', (db, p) =>
  db
    .insertInto('tag')
    .values({ repository_id: p('repositoryId'), name: p('name'), digest: p('digest'), updated_at: p('now'), updated_by: p('by') })
    .onConflict((conflict) =>
      conflict.columns(['repository_id', 'name']).doUpdateSet((eb) => ({
        digest: eb.ref('excluded.digest'),
        updated_at: eb.ref('excluded.updated_at'),
        updated_by: eb.ref('excluded.updated_by'),
      })),
    ),
);
const removeTag = query<{ repositoryId: number; name: string }>()('removeTag', (db, p) =>
  db.deleteFrom('tag').where('repository_id', '=', p('repositoryId')).where('name', '=', p('name')),
);
export const insertHistory = query<{
  repositoryId: number;
  name: string;
  digest: string | null;
  previous: string | null;
  now: number;
  by: string;
}>()('insertTagHistory', (db, p) =>
  db.insertInto('tag_history').values({
    repository_id: p('repositoryId'),
    name: p('name'),
    digest: p('digest'),
    previous_digest: p('previous'),
    changed_at: p('now'),
    changed_by: p('by'),
  }),
);
const listTags = query<{ repositoryId: number; last: string; limit: number }>()('listTags', (db, p) =>
  db
    .selectFrom('tag')
    .select('name')
    .where('repository_id', '=', p('repositoryId'))
    .where('name', '>', p('last'))
    .orderBy('name')
    .limit(p('limit')),
);

/** Digest that a tag points at. */
export async function findTag(session: Session, repositoryId: number, name: string): Promise<string | undefined> {
  return (await session.first(tagDigest, { repositoryId, name }))?.digest;
}

/**
 * Points a tag at a digest and records the change; nothing is recorded where it pointed there already. Throws
 * `tag_immutable` where a rule forbids that it moves: the one place where tags move.
 */
export async function setTag(
  tx: Session,
  tag: { repositoryId: number; name: string; digest: string; now: number; by: string; silent?: boolean; room?: Room | undefined },
): Promise<void> {
  const previous = (await tx.first(tagDigest, tag))?.digest ?? null;
  if (previous === tag.digest) return;
  if (previous === null) await countUsage(tx, tag.repositoryId, { tags: 1 }, tag);
  else await requireMutable(tx, tag.repositoryId, tag.name);
  await tx.run(upsertTag, tag);
  await tx.run(insertHistory, { ...tag, previous });
  await touchRepository(tx, tag.repositoryId, tag.now);
  const { name, digest, by } = tag;
  if (tag.silent) return;
  await announce(tx, tag.repositoryId, { topic: 'tag.moved', payload: { tag: name, digest, previous, by } }, tag.now);
}

/** Deletes a tag into the trash, leaving its manifest. Throws `tag_immutable` where a rule forbids that: the one place where single tags go. */
export async function deleteTag(
  tx: Session,
  tag: { repositoryId: number; name: string; now: number; by: string; withId?: number },
): Promise<void> {
  const previous = (await tx.first(tagDigest, tag))?.digest;
  if (previous === undefined) throw new AppError('manifest_unknown', 'tag unknown to the repository');
  await requireMutable(tx, tag.repositoryId, tag.name);
  await trashTag(tx, tag, tag.name, previous);
  await tx.run(removeTag, tag);
  await countUsage(tx, tag.repositoryId, { tags: -1 });
  await tx.run(insertHistory, { ...tag, digest: null, previous });
  await touchRepository(tx, tag.repositoryId, tag.now);
  await announce(tx, tag.repositoryId, { topic: 'tag.deleted', payload: { tag: tag.name, previous, by: tag.by } }, tag.now);
}

/** Tag names after `last` in byte order. */
export async function pageOfTags(session: Session, repositoryId: number, last: string, limit: number): Promise<string[]> {
  return (await session.all(listTags, { repositoryId, last, limit })).map((row) => row.name);
}
