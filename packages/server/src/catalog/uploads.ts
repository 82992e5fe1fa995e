import { newId, queriesOf, type Session, sortableIdBound } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

const insertSession = query<{ id: string; repository: string; owner: string; algorithm: string; now: number }>()('insertUpload', (db, p) =>
  db
    .insertInto('upload_session')
    .values({
      id: p('id'),
      repository: p('repository'),
      owner: p('owner'),
      algorithm: p('algorithm'),
      bytes: 0,
      digest: null,
      lease: null,
      lease_until: 0,
      created_at: p('now'),
      updated_at: p('now'),
    })
    .onConflict((conflict) => conflict.column('id').doNothing()),
);
const selectSession = query<{ id: string }>()('findUpload', (db, p) =>
  db
    .selectFrom('upload_session')
    .select(['id', 'repository', 'owner', 'algorithm', 'bytes', 'digest', 'lease', 'lease_until as leaseUntil'])
    .where('id', '=', p('id')),
);
const takeLease = query<{ id: string; lease: string; now: number; until: number }>()('leaseUpload', (db, p) =>
  db
    .updateTable('upload_session')
    .set({ lease: p('lease'), lease_until: p('until'), updated_at: p('now') })
    .where('id', '=', p('id'))
    .where((eb) => eb.or([eb('lease', 'is', null), eb('lease', '=', p('lease')), eb('lease_until', '<', p('now'))])),
);
const releaseLease = query<{ id: string; lease: string; bytes: number; digest: string | null; now: number }>()('releaseUpload', (db, p) =>
  db
    .updateTable('upload_session')
    .set({ lease: null, lease_until: 0, bytes: p('bytes'), digest: p('digest'), updated_at: p('now') })
    .where('id', '=', p('id'))
    .where('lease', '=', p('lease')),
);
const removeSession = query<{ id: string }>()('removeUpload', (db, p) => db.deleteFrom('upload_session').where('id', '=', p('id')));
const expiredSessions = query<{ before: number; now: number; limit: number }>()('expiredUploads', (db, p) =>
  db
    .selectFrom('upload_session')
    .select('id')
    .where('updated_at', '<', p('before'))
    .where('lease_until', '<', p('now'))
    .orderBy('updated_at')
    .limit(p('limit')),
);
const removeExpired = query<{ id: string; before: number; now: number }>()('removeExpiredUpload', (db, p) =>
  db.deleteFrom('upload_session').where('id', '=', p('id')).where('updated_at', '<', p('before')).where('lease_until', '<', p('now')),
);
const insertEnded = query<{ id: string }>()('insertEndedUpload', (db, p) =>
  db
    .insertInto('ended_upload')
    .values({ id: p('id') })
    .onConflict((conflict) => conflict.column('id').doNothing()),
);
const selectEnded = query<{ id: string }>()('findEndedUpload', (db, p) =>
  db.selectFrom('ended_upload').select('id').where('id', '=', p('id')),
);
const pruneEnded = query<{ before: string; limit: number }>()('pruneEndedUploads', (db, p) =>
  db
    .deleteFrom('ended_upload')
    .where('id', 'in', (eb) =>
      eb.selectFrom('ended_upload as old').select('old.id').where('old.id', '<', p('before')).orderBy('old.id').limit(p('limit')),
    ),
);
const countSessions = query()('countUploads', (db) => db.selectFrom('upload_session').select((eb) => eb.fn.countAll<number>().as('open')));
const clearLeasesOf = query<{ from: string; to: string }>()('clearUploadLeasesOf', (db, p) =>
  db.updateTable('upload_session').set({ lease: null, lease_until: 0 }).where('lease', '>=', p('from')).where('lease', '<', p('to')),
);
const removeAll = query()('removeAllUploads', (db) => db.deleteFrom('upload_session'));
const clearLeases = query()('clearUploadLeases', (db) =>
  db.updateTable('upload_session').set({ lease: null, lease_until: 0 }).where('lease', 'is not', null),
);

export interface UploadSession {
  readonly id: string;
  readonly repository: string;
  /** Identity that began the upload; no other may continue it. */
  readonly owner: string;
  readonly algorithm: string;
  readonly bytes: number;
  readonly digest: string | null;
  readonly lease: string | null;
  readonly leaseUntil: number;
}

/** For so long after it was made a session needs no row; milliseconds. */
export const FRESH_UPLOAD_MS = 30 * 60_000;

/** Makes the row of a session; false if it has one. */
export async function insertUpload(
  tx: Session,
  upload: { id: string; repository: string; owner: string; algorithm: string; now: number },
): Promise<boolean> {
  return (await tx.run(insertSession, upload)) === 1;
}

export async function findUpload(session: Session, id: string): Promise<UploadSession | undefined> {
  return await session.first(selectSession, { id });
}

/** Takes or renews the right to write; false while another holds it. */
export async function leaseUpload(tx: Session, id: string, lease: string, now: number, until: number): Promise<boolean> {
  return (await tx.run(takeLease, { id, lease, now, until })) === 1;
}

/** Gives the right to write back and records how far the upload came. */
export async function releaseUpload(
  tx: Session,
  upload: { id: string; lease: string; bytes: number; digest: string | null; now: number },
): Promise<void> {
  await tx.run(releaseLease, upload);
}

/** Ends an upload for good, whether or not it has a row. */
export async function endUpload(tx: Session, id: string): Promise<void> {
  await tx.run(removeSession, { id });
  await tx.run(insertEnded, { id });
}

/** Whether an upload has ended, as far as that is remembered. */
export async function hasUploadEnded(session: Session, id: string): Promise<boolean> {
  return (await session.first(selectEnded, { id })) !== undefined;
}

/** Forgets ended uploads whose ids no longer pass for new ones; gives how many, `limit` at most. */
export async function pruneEndedUploads(tx: Session, now: number, limit: number): Promise<number> {
  return await tx.run(pruneEnded, { before: sortableIdBound(now - 2 * FRESH_UPLOAD_MS), limit });
}

/** Uploads that nobody continued since `before`. */
export async function expiredUploads(session: Session, before: number, now: number, limit: number): Promise<string[]> {
  return (await session.all(expiredSessions, { before, now, limit })).map((row) => row.id);
}

/** Ends an upload unless somebody went on with it since it was found expired; false then. */
export async function endExpiredUpload(tx: Session, id: string, before: number, now: number): Promise<boolean> {
  return (await tx.run(removeExpired, { id, before, now })) === 1;
}

/** Uploads neither finished nor given up. */
export async function countUploads(session: Session): Promise<number> {
  return (await session.first(countSessions, {}))?.open ?? 0;
}

/** A lease that names the process that holds it, by which it is freed when that process dies. */
export function uploadLease(holder: string): string {
  return `${holder}/${newId()}`;
}

/** Frees uploads whose writer died with its process; without a holder those of all processes. */
export async function clearUploadLeases(tx: Session, holder?: string): Promise<void> {
  if (holder === undefined) await tx.run(clearLeases, {});
  else await tx.run(clearLeasesOf, { from: `${holder}/`, to: `${holder}0` }); // the character after the slash
}

/** Ends all uploads: their bytes are lost. Who goes on with one is told that it is unknown, and begins anew. */
export async function endAllUploads(tx: Session): Promise<void> {
  await tx.run(removeAll, {});
}
