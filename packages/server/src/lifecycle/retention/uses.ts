import { queriesOf, type Session } from '../../platform/index.ts';
import type { RetentionTables } from './schema.ts';

const query = queriesOf<RetentionTables>('retention');

const COLUMNS = ['source', 'digest', 'seen_at as seenAt', 'expires_at as expiresAt'] as const;

const setUse = query<{ repositoryId: number; digest: string; source: string; now: number; expiresAt: number | null }>()('setUse', (db, p) =>
  db
    .insertInto('manifest_use')
    .values({ repository_id: p('repositoryId'), digest: p('digest'), source: p('source'), seen_at: p('now'), expires_at: p('expiresAt') })
    .onConflict((conflict) =>
      conflict
        .columns(['repository_id', 'digest', 'source'])
        .doUpdateSet((eb) => ({ seen_at: eb.ref('excluded.seen_at'), expires_at: eb.ref('excluded.expires_at') })),
    ),
);
const usedBy = query<{ repositoryId: number; digest: string; since: number; now: number }>()('usedBy', (db, p) =>
  db
    .selectFrom('manifest_use')
    .select('source')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where('seen_at', '>', p('since'))
    .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', p('now'))]))
    .orderBy('seen_at', 'desc')
    .limit(1),
);
const usesAfter = query<{ repositoryId: number; source: string; digest: string; limit: number }>()('usesAfter', (db, p) =>
  db
    .selectFrom('manifest_use')
    .select(COLUMNS)
    .where('repository_id', '=', p('repositoryId'))
    .where('source', '>=', p('source'))
    .where((eb) => eb.or([eb('source', '>', p('source')), eb('digest', '>', p('digest'))]))
    .orderBy('source')
    .orderBy('digest')
    .limit(p('limit')),
);
const dropUnseen = query<{ repositoryId: number; source: string; now: number }>()('dropUnseenUses', (db, p) =>
  db
    .deleteFrom('manifest_use')
    .where('repository_id', '=', p('repositoryId'))
    .where('source', '=', p('source'))
    .where('seen_at', '<', p('now')),
);
const dropUses = query<{ before: number }>()('dropUses', (db, p) => db.deleteFrom('manifest_use').where('seen_at', '<', p('before')));

/** What somebody told to run somewhere. */
export interface Use {
  readonly source: string;
  readonly digest: string;
  readonly seenAt: number;
  readonly expiresAt: number | null;
}

/** Notes that what has a digest runs somewhere. */
export async function noteUse(
  tx: Session,
  { expiresAt = null, ...use }: { repositoryId: number; digest: string; source: string; now: number; expiresAt?: number | null },
): Promise<void> {
  await tx.run(setUse, { ...use, expiresAt });
}

/** Forgets what a source told of a repository before: what it tells now is all that it runs of it. Gives how many. */
export async function forgetUnseen(tx: Session, use: { repositoryId: number; source: string; now: number }): Promise<number> {
  return await tx.run(dropUnseen, use);
}

/** Who told since a time that a digest runs, and it still counts. */
export async function findUse(
  session: Session,
  use: { repositoryId: number; digest: string; since: number; now: number },
): Promise<string | undefined> {
  return (await session.first(usedBy, use))?.source;
}

/** Uses of a repository by source and digest, after one. */
export async function pageOfUses(
  session: Session,
  page: { repositoryId: number; source: string; digest: string; limit: number },
): Promise<Use[]> {
  return await session.all(usesAfter, page);
}

export async function forgetUses(tx: Session, before: number): Promise<void> {
  await tx.run(dropUses, { before });
}
