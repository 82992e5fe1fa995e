import { append, type Database, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';
import { claimsOf, type Limits, limitsOf, QUOTA_NAMES, quotaExceeded, type Room, type Usage } from './usage.ts';
import type { QuotaName } from './usage-schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** For so long a reservation counts without renewal; its request may have died with its process. */
export const RESERVED_MS = 15 * 60_000;
/** Part of a limit from which on it is told that it is near. */
export const WARNING_RATIO = 0.85;

/** What a reservation holds. */
type Held = { kept: number; bytes: number; repositories: number; tags: number; until: number };

const limitsByName = query<{ project: string }>()('limitsByName', (db, p) =>
  db
    .selectFrom('project_quota')
    .innerJoin('project', 'project.id', 'project_quota.project_id')
    .select(['project.id as projectId', 'project_quota.bytes', 'project_quota.repositories', 'project_quota.tags'])
    .where('project.name', '=', p('project')),
);
const setReservation = query<{ id: string; projectId: number; holder: string } & Held>()('setReservation', (db, p) =>
  db
    .insertInto('quota_reservation')
    .values({
      id: p('id'),
      project_id: p('projectId'),
      kept: p('kept'),
      bytes: p('bytes'),
      repositories: p('repositories'),
      tags: p('tags'),
      holder: p('holder'),
      expires_at: p('until'),
    })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({
        kept: eb.ref('excluded.kept'),
        bytes: eb.ref('excluded.bytes'),
        repositories: eb.ref('excluded.repositories'),
        tags: eb.ref('excluded.tags'),
        holder: eb.ref('excluded.holder'),
        expires_at: eb.ref('excluded.expires_at'),
      })),
    ),
);
const removeReservation = query<{ id: string }>()('removeReservation', (db, p) =>
  db.deleteFrom('quota_reservation').where('id', '=', p('id')).returning(['kept', 'bytes', 'repositories', 'tags', 'expires_at as until']),
);
const heldIn = query<{ id: string }>()('heldInReservation', (db, p) =>
  db.selectFrom('quota_reservation').select(['kept', 'bytes', 'repositories', 'tags', 'expires_at as until']).where('id', '=', p('id')),
);
const settleReservation = query<{ id: string; kept: number }>()('settleReservation', (db, p) =>
  db
    .updateTable('quota_reservation')
    .set({ kept: p('kept'), bytes: 0, repositories: 0, tags: 0, expires_at: 0 })
    .where('id', '=', p('id')),
);
const renewOf = query<{ holder: string; until: number; now: number }>()('renewReservations', (db, p) =>
  db
    .updateTable('quota_reservation')
    .set({ expires_at: p('until') })
    .where('holder', '=', p('holder'))
    .where('expires_at', '>', p('now')),
);
const lapseOf = query<{ holder: string }>()('lapseReservationsOf', (db, p) =>
  db.updateTable('quota_reservation').set({ expires_at: 0 }).where('holder', '=', p('holder')),
);
const lapseAll = query()('lapseReservations', (db) => db.updateTable('quota_reservation').set({ expires_at: 0 }));
/** What lapsed, and what sessions kept that are no more. */
const pruneLapsed = query<{ now: number; limit: number }>()('pruneReservations', (db, p) =>
  db.deleteFrom('quota_reservation').where('id', 'in', (eb) =>
    eb
      .selectFrom('quota_reservation as old')
      .select('old.id')
      .where('old.expires_at', '<=', p('now'))
      .where((of) =>
        of.or([
          of('old.kept', '=', 0),
          of.not(of.exists(of.selectFrom('upload_session').select('upload_session.id').whereRef('upload_session.id', '=', 'old.id'))),
        ]),
      )
      .limit(p('limit')),
  ),
);
const tellAlert = query<{ projectId: number; quota: QuotaName; level: 'warning' | 'exceeded'; now: number }>()('tellAlert', (db, p) =>
  db
    .insertInto('quota_alert')
    .values({ project_id: p('projectId'), quota: p('quota'), level: p('level'), told_at: p('now') })
    .onConflict((conflict) => conflict.columns(['project_id', 'quota', 'level']).doNothing()),
);
const findAlert = query<{ projectId: number; quota: QuotaName; level: 'warning' | 'exceeded' }>()('findAlert', (db, p) =>
  db
    .selectFrom('quota_alert')
    .select('told_at')
    .where('project_id', '=', p('projectId'))
    .where((eb) => eb(eb.ref('quota'), '=', p('quota')))
    .where((eb) => eb(eb.ref('level'), '=', p('level'))),
);
const anyAlert = query<{ projectId: number; quota: QuotaName }>()('anyAlert', (db, p) =>
  db
    .selectFrom('quota_alert')
    .select('told_at')
    .where('project_id', '=', p('projectId'))
    .where((eb) => eb(eb.ref('quota'), '=', p('quota')))
    .limit(1),
);
const clearAlert = query<{ projectId: number; quota: QuotaName }>()('clearAlert', (db, p) =>
  db
    .deleteFrom('quota_alert')
    .where('project_id', '=', p('projectId'))
    .where((eb) => eb(eb.ref('quota'), '=', p('quota'))),
);
const projectNames = query<{ id: number }>()('quotaProjectName', (db, p) =>
  db.selectFrom('project').select('name').where('id', '=', p('id')),
);

/** A project that has limits. */
export interface Limited {
  readonly projectId: number;
  readonly limits: Limits;
}

/** The project of a name and its limits; undefined where it has none, which one row in memory tells. */
export async function findLimits(session: Session, project: string): Promise<Limited | undefined> {
  const row = await session.first(limitsByName, { project });
  return row && { projectId: row.projectId, limits: row };
}

export interface Reservation {
  /** Of an upload session its own id. */
  readonly id: string;
  readonly projectId: number;
  /** Names the process. */
  readonly holder: string;
  /** Bytes that the session has received. */
  readonly kept: number;
  /** What the change needs at least, beside those. */
  readonly wanted: Usage;
  /** Bytes that it would rather have. */
  readonly bytesMost?: number;
}

/**
 * Reserves room under the limits of a project, in place of what the reservation held before, and gives how many bytes it
 * got. Throws `quota_exceeded`, leaving what it held, where the limits leave too little.
 *
 * First the row is written, then, in another transaction, everything is summed up. So no lock is needed while there is
 * room: of those that reserve at the same time whoever sums up last sees all others, and all of them would have to fit.
 * Where they do not, the sum is taken again one by one, and who does not fit gives its room back before the next looks.
 */
export async function reserve(database: Database, reservation: Reservation, now: number): Promise<number> {
  const { id, projectId, holder, kept, wanted } = reservation;
  const own = { durable: false, scope: [`reservation:${id}`] };
  const most = Math.max(wanted.bytes, reservation.bytesMost ?? 0);
  const set = async (tx: Session, row: Held) => void (await tx.run(setReservation, { id, projectId, holder, ...row }));
  const until = now + RESERVED_MS;
  const before = await database.write(async (tx) => {
    const held = await tx.first(heldIn, { id });
    await set(tx, { ...wanted, kept, bytes: most, until });
    return held;
  }, own);
  const rises = risesFrom(before, { ...wanted, bytes: kept + most }, now);
  if (rises.length === 0) return most;
  const look = (tx: Session) => shortage(tx, projectId, rises, now);
  if ((await database.write(look, own)) === undefined) return most;
  const settled = await database.write(
    async (tx) => {
      const short = await look(tx);
      if (short === undefined) return most;
      const less = short.quota === 'bytes' ? most - short.over : most;
      if (less >= wanted.bytes) {
        await set(tx, { ...wanted, kept, bytes: less, until });
        if ((await look(tx)) === undefined) return less;
      }
      if (before) await set(tx, before);
      else await tx.run(removeReservation, { id });
      return short;
    },
    { durable: false, scope: [`quota:${projectId}`, `reservation:${id}`] },
  );
  if (typeof settled === 'number') return settled;
  const { quota, limit, claimed } = settled;
  const mine = quota === 'bytes' ? kept + most : wanted[quota];
  throw quotaExceeded(quota, { limit, used: claimed - mine, wanted: quota === 'bytes' ? kept + wanted.bytes : mine });
}

/** In what a reservation rises over what it held before. */
function risesFrom(before: Held | undefined, after: Usage, now: number): QuotaName[] {
  const holds = before !== undefined && before.until > now ? before : { bytes: 0, repositories: 0, tags: 0 };
  const former: Usage = { ...holds, bytes: (before?.kept ?? 0) + holds.bytes };
  return QUOTA_NAMES.filter((name) => after[name] > former[name]);
}

interface Shortage {
  readonly quota: QuotaName;
  readonly limit: number;
  readonly claimed: number;
  readonly over: number;
}

/** The first of some limits that what is used and reserved goes beyond. */
async function shortage(tx: Session, projectId: number, quotas: readonly QuotaName[], now: number): Promise<Shortage | undefined> {
  const limits = await limitsOf(tx, projectId);
  if (!limits) return undefined;
  const claims = await claimsOf(tx, projectId, now);
  for (const quota of quotas) {
    const limit = limits[quota];
    if (limit !== null && claims[quota] > limit) return { quota, limit, claimed: claims[quota], over: claims[quota] - limit };
  }
  return undefined;
}

/** Takes a reservation, in the transaction of the change that it was made for; undefined where it has lapsed. */
export async function takeReservation(tx: Session, id: string, now: number): Promise<Room | undefined> {
  const row = await tx.first(removeReservation, { id });
  if (!row) return undefined;
  const holds = row.until > now;
  return { bytes: row.kept + (holds ? row.bytes : 0), repositories: holds ? row.repositories : 0, tags: holds ? row.tags : 0 };
}

export async function dropReservation(tx: Session, id: string): Promise<void> {
  await tx.run(removeReservation, { id });
}

/** Leaves of a session's reservation what it has received. */
export async function keepReceived(tx: Session, id: string, bytes: number): Promise<void> {
  await tx.run(settleReservation, { id, kept: bytes });
}

/** Keeps what a process has reserved from lapsing. */
export async function renewReservations(tx: Session, holder: string, now: number): Promise<void> {
  await tx.run(renewOf, { holder, now, until: now + RESERVED_MS });
}

/** Frees what a process reserved that is no more; without a holder what any process did. Sessions keep what they have received. */
export async function lapseReservations(tx: Session, holder?: string): Promise<void> {
  if (holder === undefined) await tx.run(lapseAll, {});
  else await tx.run(lapseOf, { holder });
}

/** Forgets reservations that count for nothing; gives how many, `limit` at most. */
export async function pruneReservations(tx: Session, now: number, limit: number): Promise<number> {
  return await tx.run(pruneLapsed, { now, limit });
}

export interface QuotaAlert {
  readonly projectId: number;
  readonly quota: QuotaName;
  readonly level: 'warning' | 'exceeded';
  readonly used: number;
  readonly limit: number;
  /** Full name of the one whose change it was, where it was one. */
  readonly repository?: string;
  readonly by: string;
}

/** Whether that was told already. */
export async function isAlertTold(
  session: Session,
  { projectId, quota, level }: Pick<QuotaAlert, 'projectId' | 'quota' | 'level'>,
): Promise<boolean> {
  return (await session.first(findAlert, { projectId, quota, level })) !== undefined;
}

/** Tells, once until usage is well below again, that a limit is near or was met. */
export async function alertQuota(tx: Session, { projectId, quota, level, ...told }: QuotaAlert, now: number): Promise<boolean> {
  if ((await tx.run(tellAlert, { projectId, quota, level, now })) === 0) return false;
  const project = await tx.first(projectNames, { id: projectId });
  if (project) await append(tx, { topic: `quota.${level}`, repository: project.name, payload: { quota, ...told } }, now);
  return true;
}

/** Whether anything was told of a limit. */
export async function hasQuotaAlerts(session: Session, projectId: number, quota: QuotaName): Promise<boolean> {
  return (await session.first(anyAlert, { projectId, quota })) !== undefined;
}

/** What was told of a limit may be told again. */
export async function endQuotaAlerts(tx: Session, projectId: number, quota: QuotaName): Promise<void> {
  await tx.run(clearAlert, { projectId, quota });
}
