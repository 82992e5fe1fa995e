import { type Query, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');
type OfTag = { repositoryId: number; name: string };

const pointedAt = query<OfTag & { digest: string }>()('tagPointedAt', (db, p) =>
  db
    .selectFrom('tag_history')
    .select('id')
    .where('repository_id', '=', p('repositoryId'))
    .where('name', '=', p('name'))
    .where('digest', '=', p('digest'))
    .limit(1),
);
const COLUMNS = ['id', 'repository_id as repositoryId', 'name', 'digest', 'changed_at as at'] as const;
const changesAfter = query<{ last: number; until: number; limit: number }>()('tagChangesAfter', (db, p) =>
  db
    .selectFrom('tag_history')
    .select(COLUMNS)
    .where('id', '>', p('last'))
    .where('changed_at', '<=', p('until'))
    .orderBy('id')
    .limit(p('limit')),
);
const newestChange = query<OfTag>()('newestTagChange', (db, p) =>
  db
    .selectFrom('tag_history')
    .select('id')
    .where('repository_id', '=', p('repositoryId'))
    .where('name', '=', p('name'))
    .orderBy('id', 'desc')
    .limit(1),
);
const changeBeyond = query<OfTag & { skip: number }>()('tagChangeBeyond', (db, p) =>
  db
    .selectFrom('tag_history')
    .select('id')
    .where('repository_id', '=', p('repositoryId'))
    .where('name', '=', p('name'))
    .orderBy('id', 'desc')
    .limit(1)
    .offset(p('skip')),
);
const dropUpTo = query<OfTag & { last: number; limit: number }>()('dropTagChanges', (db, p) =>
  db
    .deleteFrom('tag_history')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('tag_history as old')
        .select('old.id')
        .where('old.repository_id', '=', p('repositoryId'))
        .where('old.name', '=', p('name'))
        .where('old.id', '<=', p('last'))
        .orderBy('old.id')
        .limit(p('limit')),
    ),
);
const selectCursor: Query<{ id: number }, { position: number }> = query<{ id: number }>()('tagHistoryCursor', (db, p) =>
  db.selectFrom('tag_history_cursor').select('position').where('id', '=', p('id')),
);
const moveCursor = query<{ id: number; position: number }>()('moveTagHistoryCursor', (db, p) =>
  db
    .insertInto('tag_history_cursor')
    .values({ id: p('id'), position: p('position') })
    .onConflict((conflict) => conflict.column('id').doUpdateSet((eb) => ({ position: eb.ref('excluded.position') }))),
);

/** Whether a tag ever pointed at a digest, as far as its history is kept. */
export async function hasPointedAt(session: Session, tag: OfTag & { readonly digest: string }): Promise<boolean> {
  return (await session.first(pointedAt, tag)) !== undefined;
}

/** Changes that came since the last look, and those that became old. */
export type HistorySweep = 'new' | 'old';
const CURSORS: Readonly<Record<HistorySweep, number>> = { new: 1, old: 2 };

export interface SweptChange {
  readonly id: number;
  readonly repositoryId: number;
  readonly name: string;
  /** null: the tag was deleted. */
  readonly digest: string | null;
  readonly at: number;
}

/** The next changes of a sweep, made up to a time. */
export async function changesToSweep(session: Session, sweep: HistorySweep, until: number, limit: number): Promise<SweptChange[]> {
  const last = (await session.first(selectCursor, { id: CURSORS[sweep] }))?.position ?? 0;
  return await session.all(changesAfter, { last, until, limit });
}

export async function endSweepAt(tx: Session, sweep: HistorySweep, position: number): Promise<void> {
  await tx.run(moveCursor, { id: CURSORS[sweep], position });
}

/** Forgets what of a tag's history is beyond the newest `kept` changes, `limit` at most; gives how many. */
export async function keepNewest(tx: Session, tag: OfTag, kept: number, limit: number): Promise<number> {
  const beyond = await tx.first(changeBeyond, { repositoryId: tag.repositoryId, name: tag.name, skip: kept });
  return beyond ? await tx.run(dropUpTo, { repositoryId: tag.repositoryId, name: tag.name, last: beyond.id, limit }) : 0;
}

/** Forgets an old change and those before it; only what says where a tag leads now is kept. Gives how many went, `limit` at most. */
export async function forgetOld(tx: Session, { id, repositoryId, name, digest }: SweptChange, limit: number): Promise<number> {
  const newest = (await tx.first(newestChange, { repositoryId, name }))?.id;
  const isCurrent = newest === id && digest !== null;
  return await tx.run(dropUpTo, { repositoryId, name, last: isCurrent ? id - 1 : id, limit });
}
