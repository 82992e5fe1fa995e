import { type RawBuilder, sql } from 'kysely';
import { andThen, type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import type { CatalogTables } from './schema.ts';

const query = queriesOf<CatalogTables>('catalog');

/** Some project that has a key of its own; null where none has, as nearly everywhere. */
export const KEYED: RawBuilder<number | null> = sql<
  number | null
>`(select min(project.id) from project where project.encryption_key is not null)`;

const keyOf = query<{ projectId: number }>()('keyOfProject', (db, p) =>
  db.selectFrom('project').select('encryption_key as key').where('id', '=', p('projectId')),
);
const keyOfRepositoryRow = query<{ repositoryId: number }>()('keyOfRepository', (db, p) =>
  db
    .selectFrom('repository')
    .innerJoin('project', 'project.id', 'repository.project_id')
    .select('project.encryption_key as key')
    .where('repository.id', '=', p('repositoryId')),
);
const updateKey = query<{ projectId: number; key: string | null }>()('setProjectKey', (db, p) =>
  db
    .updateTable('project')
    .set((eb) => ({ encryption_key: p('key'), version: eb('version', '+', 1) }))
    .where('id', '=', p('projectId')),
);
const keyedHolders = query<{ digest: string }>()('keysOfHolders', (db, p) =>
  db
    .selectFrom('project')
    .select('project.encryption_key as key')
    .distinct()
    .where('project.encryption_key', 'is not', null)
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom('project_blob')
          .select('project_blob.project_id')
          .whereRef('project_blob.project_id', '=', 'project.id')
          .where('project_blob.digest', '=', p('digest')),
      ),
    ),
);
const otherHolder = query<{ digest: string }>()('holderWithoutKey', (db, p) =>
  db
    .selectFrom('repository_blob')
    .innerJoin('repository', 'repository.id', 'repository_blob.repository_id')
    .innerJoin('project', 'project.id', 'repository.project_id')
    .select('project.id')
    .where('repository_blob.digest', '=', p('digest'))
    .where('project.encryption_key', 'is', null)
    .limit(1),
);
const keyedProjects = query<{ after: number; limit: number }>()('projectsWithKeys', (db, p) =>
  db
    .selectFrom('project')
    .select('id')
    .where('encryption_key', 'is not', null)
    .where('id', '>', p('after'))
    .orderBy('id')
    .limit(p('limit')),
);
const blobsOf = query<{ projectId: number; after: string; limit: number }>()('blobsOfProject', (db, p) =>
  db
    .selectFrom('project_blob')
    .select('digest')
    .where('project_id', '=', p('projectId'))
    .where('digest', '>', p('after'))
    .orderBy('digest')
    .limit(p('limit')),
);
const insertDue = query<{ digest: string }>()('blobKeysDue', (db, p) =>
  db
    .insertInto('blob_key_due')
    .values({ digest: p('digest'), version: 1, due_at: 0 })
    .onConflict((conflict) => conflict.column('digest').doUpdateSet((eb) => ({ version: eb('blob_key_due.version', '+', 1), due_at: 0 }))),
);
const insertDueIfHeld = query<{ digest: string }>()('blobKeysDueIfHeld', (db, p) =>
  db
    .insertInto('blob_key_due')
    .columns(['digest', 'version', 'due_at'])
    .expression((eb) =>
      eb
        .selectFrom('project')
        .innerJoin('project_blob', 'project_blob.project_id', 'project.id')
        .select([sql<string>`cast(${p('digest')} as text)`.as('digest'), sql<number>`1`.as('version'), sql<number>`0`.as('due_at')])
        .where('project.encryption_key', 'is not', null)
        .where('project_blob.digest', '=', p('digest'))
        .limit(1),
    )
    .onConflict((conflict) => conflict.column('digest').doUpdateSet((eb) => ({ version: eb('blob_key_due.version', '+', 1), due_at: 0 }))),
);
const dueRows = query<{ now: number; limit: number }>()('dueBlobKeys', (db, p) =>
  db.selectFrom('blob_key_due').select(['digest', 'version']).where('due_at', '<=', p('now')).orderBy('due_at').limit(p('limit')),
);
const deleteDue = query<{ digest: string; version: number }>()('endBlobKeysDue', (db, p) =>
  db.deleteFrom('blob_key_due').where('digest', '=', p('digest')).where('version', '=', p('version')),
);
const postponeDue = query<{ digest: string; version: number; dueAt: number }>()('postponeBlobKeys', (db, p) =>
  db
    .updateTable('blob_key_due')
    .set({ due_at: p('dueAt') })
    .where('digest', '=', p('digest'))
    .where('version', '=', p('version')),
);
const countDue = query<{ projectId: number }>()('countBlobKeysDue', (db, p) =>
  db
    .selectFrom('blob_key_due')
    .innerJoin('project_blob', 'project_blob.digest', 'blob_key_due.digest')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('project_blob.project_id', '=', p('projectId')),
);

/** Name of the key that encrypts what a project holds; null: the registry's own. */
export function projectKeyOf(session: Session, projectId: number): MaybePromise<string | null> {
  return andThen(session.first(keyOf, { projectId }), (row) => row?.key ?? null);
}

/** The same of the project of a repository. */
export async function repositoryKeyOf(session: Session, repositoryId: number): Promise<string | null> {
  return (await session.first(keyOfRepositoryRow, { repositoryId }))?.key ?? null;
}

export async function setProjectKey(tx: Session, projectId: number, key: string | null): Promise<void> {
  await tx.run(updateKey, { projectId, key });
}

/** The keys of all who hold a blob, null for those without one of their own; none where nobody holds it. */
export async function keysOfHolders(session: Session, digest: string): Promise<ReadonlySet<string | null>> {
  const keys = new Set((await session.all(keyedHolders, { digest })).map(({ key }) => key));
  if (await session.first(otherHolder, { digest })) keys.add(null);
  return keys;
}

/** Projects that have keys of their own, by id, after one of them. */
export async function pageOfKeyedProjects(session: Session, after: number, limit: number): Promise<number[]> {
  return (await session.all(keyedProjects, { after, limit })).map(({ id }) => id);
}

/** Digests of what a project holds, after one of them. */
export async function pageOfProjectBlobs(session: Session, projectId: number, after: string, limit: number): Promise<string[]> {
  return (await session.all(blobsOf, { projectId, after, limit })).map(({ digest }) => digest);
}

/** Has the wrappings of a blob's data keys looked after, as who holds it has changed. */
export async function reviewKeys(tx: Session, digest: string): Promise<void> {
  await tx.run(insertDue, { digest });
}

/** The same where a project with a key of its own holds the blob. */
export async function reviewKeysIfHeld(tx: Session, digest: string): Promise<void> {
  await tx.run(insertDueIfHeld, { digest });
}

export async function dueBlobKeys(session: Session, now: number, limit: number): Promise<{ digest: string; version: number }[]> {
  return await session.all(dueRows, { now, limit });
}

/** Forgets what was looked after, unless it is due anew since. */
export async function endBlobKeys(tx: Session, due: { digest: string; version: number }): Promise<void> {
  await tx.run(deleteDue, due);
}

export async function postponeBlobKeys(tx: Session, due: { digest: string; version: number }, dueAt: number): Promise<void> {
  await tx.run(postponeDue, { ...due, dueAt });
}

/** How many blobs of a project wait to be looked after. */
export async function blobKeysWaiting(session: Session, projectId: number): Promise<number> {
  return (await session.first(countDue, { projectId }))?.count ?? 0;
}
