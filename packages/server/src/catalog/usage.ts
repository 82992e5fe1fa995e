import { sql } from 'kysely';
import { AppError, queriesOf, type Session } from '../platform/index.ts';
import { KEYED, reviewKeys, reviewKeysIfHeld } from './project-keys.ts';
import type { CatalogTables } from './schema.ts';
import type { QuotaName } from './usage-schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** Rows over which the usage of a project is spread. */
const STRIPES = 32;

/** What a project holds, or what a change adds to it. */
export type Usage = Readonly<Record<QuotaName, number>>;

/** Room reserved beforehand for one change; what the change adds is taken from it. */
export type Room = Record<QuotaName, number>;

/** null: no limit of that kind. */
export type Limits = Readonly<Record<QuotaName, number | null>>;

export const QUOTA_NAMES: readonly QuotaName[] = ['bytes', 'repositories', 'tags'];

/** A change adds more than was reserved for it; it is begun anew with more. */
export class RoomShort extends Error {
  override name = 'RoomShort';
  override message = 'the change needs more room than was reserved for it';
}

const bigint = (value: unknown) => sql<number>`cast(${value} as bigint)`;

const addUsage = query<{ repositoryId: number; bytes: number; repositories: number; tags: number }>()('addUsage', (db, p) =>
  db
    .insertInto('project_usage')
    .columns(['project_id', 'stripe', 'bytes', 'repositories', 'tags', 'changes'])
    .expression((eb) =>
      eb
        .selectFrom('repository')
        .select([
          'repository.project_id',
          sql<number>`repository.id % ${sql.lit(STRIPES)}`.as('stripe'),
          bigint(p('bytes')).as('bytes'),
          bigint(p('repositories')).as('repositories'),
          bigint(p('tags')).as('tags'),
          sql<number>`1`.as('changes'),
        ])
        .where('repository.id', '=', p('repositoryId')),
    )
    .onConflict((conflict) =>
      conflict.columns(['project_id', 'stripe']).doUpdateSet((eb) => ({
        bytes: eb('project_usage.bytes', '+', eb.ref('excluded.bytes')),
        repositories: eb('project_usage.repositories', '+', eb.ref('excluded.repositories')),
        tags: eb('project_usage.tags', '+', eb.ref('excluded.tags')),
        changes: eb('project_usage.changes', '+', 1),
      })),
    )
    .returning((eb) => [
      'project_usage.project_id as projectId',
      eb
        .selectFrom('project_quota')
        .select('project_quota.version')
        .whereRef('project_quota.project_id', '=', 'project_usage.project_id')
        .as('limited'),
    ]),
);
const addProjectBlob = query<{ repositoryId: number; digest: string; size: number }>()('addProjectBlob', (db, p) =>
  db
    .insertInto('project_blob')
    .columns(['project_id', 'digest', 'size', 'links'])
    .expression((eb) =>
      eb
        .selectFrom('repository')
        .select([
          'repository.project_id',
          sql<string>`cast(${p('digest')} as text)`.as('digest'),
          bigint(p('size')).as('size'),
          sql<number>`1`.as('links'),
        ])
        .where('repository.id', '=', p('repositoryId')),
    )
    .onConflict((conflict) => conflict.columns(['project_id', 'digest']).doUpdateSet((eb) => ({ links: eb('project_blob.links', '+', 1) })))
    .returning(['project_blob.links', KEYED.as('keyed')]),
);
const dropProjectBlobLink = query<{ repositoryId: number; digest: string }>()('dropProjectBlobLink', (db, p) =>
  db
    .updateTable('project_blob')
    .set((eb) => ({ links: eb('links', '-', 1) }))
    .where('project_id', '=', (eb) =>
      eb.selectFrom('repository').select('repository.project_id').where('repository.id', '=', p('repositoryId')),
    )
    .where('digest', '=', p('digest'))
    .returning(['project_id as projectId', 'links', 'size', KEYED.as('keyed')]),
);
const deleteProjectBlob = query<{ projectId: number; digest: string }>()('deleteProjectBlob', (db, p) =>
  db.deleteFrom('project_blob').where('project_id', '=', p('projectId')).where('digest', '=', p('digest')),
);
const projectHasBlob = query<{ projectId: number; digest: string }>()('projectHasBlob', (db, p) =>
  db.selectFrom('project_blob').select('size').where('project_id', '=', p('projectId')).where('digest', '=', p('digest')),
);
const sumUsage = query<{ projectId: number }>()('sumUsage', (db, p) =>
  db
    .selectFrom('project_usage')
    .select([
      sql<number>`cast(coalesce(sum(bytes), 0) as bigint)`.as('bytes'),
      sql<number>`cast(coalesce(sum(repositories), 0) as bigint)`.as('repositories'),
      sql<number>`cast(coalesce(sum(tags), 0) as bigint)`.as('tags'),
    ])
    .where('project_id', '=', p('projectId')),
);
/** One statement, so that what a reservation became is never missed or counted twice. */
const sumClaims = query<{ projectId: number; now: number }>()('sumClaims', (db, p) => {
  const left = (column: QuotaName) => sql<number>`case when expires_at > ${p('now')} then ${sql.ref(column)} else 0 end`;
  return db
    .selectFrom((eb) =>
      eb
        .selectFrom('project_usage')
        .select(['bytes', 'repositories', 'tags'])
        .where('project_id', '=', p('projectId'))
        .unionAll(
          eb
            .selectFrom('quota_reservation')
            .select([sql<number>`kept + ${left('bytes')}`.as('bytes'), left('repositories').as('repositories'), left('tags').as('tags')])
            .where('project_id', '=', p('projectId')),
        )
        .as('claim'),
    )
    .select([
      sql<number>`cast(coalesce(sum(bytes), 0) as bigint)`.as('bytes'),
      sql<number>`cast(coalesce(sum(repositories), 0) as bigint)`.as('repositories'),
      sql<number>`cast(coalesce(sum(tags), 0) as bigint)`.as('tags'),
    ]);
});
const limitsOfProject = query<{ projectId: number }>()('limits', (db, p) =>
  db.selectFrom('project_quota').select(['bytes', 'repositories', 'tags']).where('project_id', '=', p('projectId')),
);
const dropUsage = query<{ projectId: number }>()('dropUsage', (db, p) =>
  db.deleteFrom('project_usage').where('project_id', '=', p('projectId')),
);
const dropQuota = query<{ projectId: number }>()('dropQuota', (db, p) =>
  db.deleteFrom('project_quota').where('project_id', '=', p('projectId')),
);
const dropReservations = query<{ projectId: number }>()('dropReservations', (db, p) =>
  db.deleteFrom('quota_reservation').where('project_id', '=', p('projectId')),
);
const dropAlerts = query<{ projectId: number }>()('dropAlerts', (db, p) =>
  db.deleteFrom('quota_alert').where('project_id', '=', p('projectId')),
);

const NOTHING: Usage = { bytes: 0, repositories: 0, tags: 0 };

/** What a project holds: each of its blobs once, manifests, repositories and tags. */
export async function usageOf(session: Session, projectId: number): Promise<Usage> {
  return (await session.first(sumUsage, { projectId })) ?? NOTHING;
}

/** What a project holds and what is reserved in it besides. */
export async function claimsOf(session: Session, projectId: number, now: number): Promise<Usage> {
  return (await session.first(sumClaims, { projectId, now })) ?? NOTHING;
}

/** Limits of a project; undefined where it has none. */
export async function limitsOf(session: Session, projectId: number): Promise<Limits | undefined> {
  return await session.first(limitsOfProject, { projectId });
}

/** Whether a blob counts in a project already, and so adds nothing in another repository of it. */
export async function holdsBlob(session: Session, projectId: number, digest: string): Promise<boolean> {
  return (await session.first(projectHasBlob, { projectId, digest })) !== undefined;
}

interface Counting {
  readonly now: number;
  /** What was reserved for the change. Without it the limits are asked in the transaction, which is exact where no other runs beside. */
  readonly room?: Room | undefined;
}

/**
 * Counts what a change of a repository adds to its project or takes away, in the transaction of the change. Throws
 * `quota_exceeded` for what the limits have no room for, `RoomShort` where more comes than was reserved.
 */
export async function countUsage(tx: Session, repositoryId: number, change: Partial<Usage>, counting?: Counting): Promise<void> {
  const added = { ...NOTHING, ...change };
  const row = await tx.first(addUsage, { repositoryId, ...added });
  const more = QUOTA_NAMES.filter((name) => added[name] > 0);
  if (!row || row.limited === null || more.length === 0 || counting === undefined) return;
  const { room, now } = counting;
  if (room) {
    for (const name of more) room[name] -= added[name];
    if (more.some((name) => room[name] < 0)) throw new RoomShort();
    return;
  }
  const limits = await limitsOf(tx, row.projectId);
  const claims = await claimsOf(tx, row.projectId, now);
  const full = limits && more.find((name) => claims[name] > (limits[name] ?? Number.POSITIVE_INFINITY));
  if (full) throw quotaExceeded(full, { limit: limits[full] ?? 0, used: claims[full] - added[full], wanted: added[full] });
}

/** Counts a blob that has become part of a repository. */
export async function countLinkedBlob(
  tx: Session,
  repositoryId: number,
  { digest, size }: { readonly digest: string; readonly size: number },
  counting: Counting,
): Promise<void> {
  const row = await tx.first(addProjectBlob, { repositoryId, digest, size });
  if (row?.links !== 1) return;
  if (row.keyed !== null) await reviewKeysIfHeld(tx, digest);
  await countUsage(tx, repositoryId, { bytes: size }, counting);
}

/** Takes blobs that are no more part of a repository out of the count. */
export async function countUnlinkedBlobs(tx: Session, repositoryId: number, digests: readonly string[]): Promise<void> {
  let bytes = 0;
  // In one order, and the sum in the end: who changes several rows meets others always in the same order.
  for (const digest of [...digests].sort()) {
    const left = await tx.first(dropProjectBlobLink, { repositoryId, digest });
    if (!left || left.links > 0) continue;
    await tx.run(deleteProjectBlob, { projectId: left.projectId, digest });
    if (left.keyed !== null) await reviewKeys(tx, digest);
    bytes -= left.size;
  }
  if (bytes !== 0) await countUsage(tx, repositoryId, { bytes });
}

/** Forgets the usage and the limits of a project that is deleted. */
export async function dropProjectUsage(tx: Session, projectId: number): Promise<void> {
  for (const drop of [dropUsage, dropQuota, dropReservations, dropAlerts]) await tx.run(drop, { projectId });
}

const WORDS: Readonly<Record<QuotaName, (count: number) => string>> = {
  bytes: bytesInWords,
  repositories: (count) => (count === 1 ? '1 repository' : `${count} repositories`),
  tags: (count) => (count === 1 ? '1 tag' : `${count} tags`),
};

/** What a client is told whose change has no room. */
export function quotaExceeded(quota: QuotaName, { limit, used, wanted }: { limit: number; used: number; wanted: number }): AppError {
  const words = WORDS[quota];
  const message = `the project's quota of ${words(limit)} has no room for ${words(wanted)} more: ${words(used)} ${quota === 'bytes' || used !== 1 ? 'are' : 'is'} taken`;
  return new AppError('quota_exceeded', message, { detail: { quota, limit, used, wanted } });
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

function bytesInWords(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[unit]}`;
}
