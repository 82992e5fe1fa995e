import type { Expression, ExpressionBuilder, SqlBool } from 'kysely';
import { queriesOf, type Session } from '../platform/index.ts';
import { announce } from './events.ts';
import type { CatalogTables } from './schema.ts';

/** What is wrong with a stored blob: it is not there, has another size, other bytes, or cannot be read. */
export type Damage = 'missing' | 'size' | 'hash' | 'unreadable';

/** Of rows of `repository_blob`: those whose bytes may be counted on. One look into a table that is nearly always empty. */
export function isSound(eb: ExpressionBuilder<CatalogTables, 'repository_blob'>): Expression<SqlBool> {
  const damage = eb.selectFrom('damaged_blob').select('damaged_blob.digest').whereRef('damaged_blob.digest', '=', 'repository_blob.digest');
  return eb.not(eb.exists(damage));
}

const query = queriesOf<CatalogTables>('catalog');

const COLUMNS = ['digest', 'problem', 'detail', 'found_at as foundAt', 'checks', 'check_at as checkAt'] as const;

const damageOf = query<{ digest: string }>()('damageOf', (db, p) =>
  db.selectFrom('damaged_blob').select(COLUMNS).where('digest', '=', p('digest')),
);
const damagedIn = query<{ repositoryId: number; digest: string }>()('damagedIn', (db, p) =>
  db
    .selectFrom('damaged_blob')
    .innerJoin('repository_blob', 'repository_blob.digest', 'damaged_blob.digest')
    .select('damaged_blob.problem')
    .where('damaged_blob.digest', '=', p('digest'))
    .where('repository_blob.repository_id', '=', p('repositoryId')),
);
const insertDamage = query<{ digest: string; problem: string; detail: string; now: number; checkAt: number }>()('insertDamage', (db, p) =>
  db
    .insertInto('damaged_blob')
    .values({ digest: p('digest'), problem: p('problem'), detail: p('detail'), found_at: p('now'), checks: 0, check_at: p('checkAt') })
    .onConflict((conflict) => conflict.column('digest').doNothing()),
);
const deleteDamage = query<{ digest: string }>()('deleteDamage', (db, p) =>
  db.deleteFrom('damaged_blob').where('digest', '=', p('digest')),
);
const postponeCheck = query<{ digest: string; checks: number; checkAt: number }>()('postponeCheck', (db, p) =>
  db
    .updateTable('damaged_blob')
    .set({ checks: p('checks'), check_at: p('checkAt') })
    .where('digest', '=', p('digest')),
);
const damagedAfter = query<{ after: string; limit: number }>()('damagedAfter', (db, p) =>
  db.selectFrom('damaged_blob').select(COLUMNS).where('digest', '>', p('after')).orderBy('digest').limit(p('limit')),
);
const damagedDue = query<{ now: number; after: string; limit: number }>()('damagedDue', (db, p) =>
  db
    .selectFrom('damaged_blob')
    .select(COLUMNS)
    .where('check_at', '<=', p('now'))
    .where('digest', '>', p('after'))
    .orderBy('digest')
    .limit(p('limit')),
);
const countDamaged = query()('countDamaged', (db) => db.selectFrom('damaged_blob').select((eb) => eb.fn.countAll<number>().as('count')));
const holdersOf = query<{ digest: string; limit: number }>()('holdersOf', (db, p) =>
  db
    .selectFrom('repository_blob')
    .innerJoin('repository', 'repository.id', 'repository_blob.repository_id')
    .select(['repository.id', 'repository.name'])
    .where('repository_blob.digest', '=', p('digest'))
    .where('repository.deleted_at', 'is', null)
    .orderBy('repository_blob.repository_id')
    .limit(p('limit')),
);

export interface DamagedBlob {
  readonly digest: string;
  readonly problem: string;
  /** What was found, in words. */
  readonly detail: string;
  readonly foundAt: number;
  /** How often a repair was tried, and when it is tried again. */
  readonly checks: number;
  readonly checkAt: number;
}

/** Repositories that are told of one blob's damage; in more nobody would read it. */
const TOLD = 100;

/** Repositories that hold a blob, damaged or not, by id. */
async function holdersOfBlob(session: Session, digest: string, limit = TOLD): Promise<{ id: number; name: string }[]> {
  return await session.all(holdersOf, { digest, limit });
}

/**
 * Puts a blob into quarantine: from the end of the transaction on no client is given its bytes, and whoever asks for it in
 * order to push is told that it is not there. False where it is known already.
 */
export async function quarantineBlob(
  tx: Session,
  {
    digest,
    problem,
    detail,
    by,
    now,
    checkAt,
  }: { digest: string; problem: Damage; detail: string; by: string; now: number; checkAt: number },
): Promise<boolean> {
  if ((await tx.run(insertDamage, { digest, problem, detail, now, checkAt })) === 0) return false;
  for (const { id } of await holdersOfBlob(tx, digest)) {
    await announce(tx, id, { topic: 'blob.damaged', payload: { digest, problem, by } }, now);
  }
  return true;
}

/** Ends a blob's quarantine, after its bytes were stored anew or verified; false where it was in none. */
export async function liftQuarantine(tx: Session, digest: string, source: string, by: string, now: number): Promise<boolean> {
  if ((await tx.run(deleteDamage, { digest })) === 0) return false;
  for (const { id } of await holdersOfBlob(tx, digest)) {
    await announce(tx, id, { topic: 'blob.repaired', payload: { digest, source, by } }, now);
  }
  return true;
}

/** Whether a blob is a member of a repository that is not shown as it is damaged. */
export async function isDamagedIn(session: Session, repositoryId: number, digest: string): Promise<boolean> {
  return (await session.first(damagedIn, { repositoryId, digest })) !== undefined;
}

export async function findDamage(session: Session, digest: string): Promise<DamagedBlob | undefined> {
  return await session.first(damageOf, { digest });
}

export async function isQuarantined(session: Session, digest: string): Promise<boolean> {
  return (await findDamage(session, digest)) !== undefined;
}

/** Damaged blobs by digest, after one of them. */
export async function pageOfDamaged(session: Session, after: string, limit: number): Promise<DamagedBlob[]> {
  return await session.all(damagedAfter, { after, limit });
}

/** Those among them whose repair is to be tried again by now. */
export async function damagedToCheck(session: Session, now: number, after: string, limit: number): Promise<DamagedBlob[]> {
  return await session.all(damagedDue, { now, after, limit });
}

export async function postponeRepair(tx: Session, digest: string, checks: number, checkAt: number): Promise<void> {
  await tx.run(postponeCheck, { digest, checks, checkAt });
}

export async function damagedCount(session: Session): Promise<number> {
  return (await session.first(countDamaged, {}))?.count ?? 0;
}
