import { sql } from 'kysely';
import { AppError, type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import { isSound } from './damage.ts';
import { isNeeded } from './needs.ts';
import type { CatalogTables } from './schema.ts';
import { reviewStored } from './stored-blobs.ts';
import { countLinkedBlob, countUnlinkedBlobs, type Room } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');

const blobSize = query<{ repositoryId: number; digest: string }>()('blobSize', (db, p) =>
  db
    .selectFrom('repository_blob')
    .select(['size', 'unneeded_since as unneededSince'])
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where(isSound),
);
const insertBlob = query<{ repositoryId: number; digest: string; size: number; now: number }>()('insertBlob', (db, p) =>
  db
    .insertInto('repository_blob')
    .values((eb) => ({
      repository_id: p('repositoryId'),
      digest: p('digest'),
      size: p('size'),
      created_at: p('now'),
      // A manifest may be there before its blobs, where that is allowed.
      unneeded_since: eb
        .case()
        .when(isNeeded(p('repositoryId'), p('digest')))
        .then(null)
        .else(sql<number>`cast(${p('now')} as bigint)`)
        .end(),
    }))
    .onConflict((conflict) => conflict.columns(['repository_id', 'digest']).doNothing()),
);
const renewLink = query<{ repositoryId: number; digest: string; now: number }>()('renewBlob', (db, p) =>
  db
    .updateTable('repository_blob')
    .set({ unneeded_since: p('now') })
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where('unneeded_since', 'is not', null),
);
const deleteBlob = query<{ repositoryId: number; digest: string }>()('deleteBlob', (db, p) =>
  db.deleteFrom('repository_blob').where('repository_id', '=', p('repositoryId')).where('digest', '=', p('digest')),
);
const referencesTo = query<{ repositoryId: number; digest: string; kind: 'blob' | 'manifest' }>()('referencesTo', (db, p) =>
  db
    .selectFrom('manifest_reference')
    .innerJoin('manifest', 'manifest.id', 'manifest_reference.manifest_id')
    .select('manifest.digest')
    .where('manifest_reference.repository_id', '=', p('repositoryId'))
    .where('manifest_reference.digest', '=', p('digest'))
    .where('manifest_reference.kind', '=', p('kind'))
    .limit(1),
);
const repositoriesOf = query<{ digest: string; after: number; limit: number }>()('repositoriesOf', (db, p) =>
  db
    .selectFrom('repository_blob')
    .innerJoin('repository', 'repository.id', 'repository_blob.repository_id')
    .select(['repository.id', 'repository.name', 'repository_blob.size'])
    .where('repository_blob.digest', '=', p('digest'))
    .where('repository_blob.repository_id', '>', p('after'))
    .where(isSound)
    .orderBy('repository_blob.repository_id')
    .limit(p('limit')),
);

export interface LinkedBlob {
  readonly size: number;
  /** Null while something in the repository needs it; else since when not, or since somebody was last told of it. */
  readonly unneededSince: number | null;
}

/** A blob as a member of a repository, or undefined where it is none, or damaged. */
export function findBlob(session: Session, repositoryId: number, digest: string): MaybePromise<LinkedBlob | undefined> {
  return session.first(blobSize, { repositoryId, digest });
}

/** Makes a blob that is safely stored (`keepStored`, or a link elsewhere that the transaction saw) visible in a repository. */
export async function linkBlob(
  tx: Session,
  repositoryId: number,
  blob: { digest: string; size: number },
  now: number,
  room?: Room,
): Promise<void> {
  const isNew = (await tx.run(insertBlob, { repositoryId, digest: blob.digest, size: blob.size, now })) === 1;
  if (isNew) await countLinkedBlob(tx, repositoryId, blob, { now, room });
  else await tx.run(renewLink, { repositoryId, digest: blob.digest, now });
}

/** Begins the time anew for which a blob stays though nothing needs it; false where the repository has it no more. */
export async function renewBlob(tx: Session, repositoryId: number, digest: string, now: number): Promise<boolean> {
  return (await tx.run(renewLink, { repositoryId, digest, now })) === 1 || (await findBlob(tx, repositoryId, digest)) !== undefined;
}

/** Takes blobs out of a repository, whoever needs them; gives how many were there. */
export async function dropBlobs(tx: Session, repositoryId: number, digests: readonly string[], now: number): Promise<number> {
  const dropped: string[] = [];
  for (const digest of digests) if ((await tx.run(deleteBlob, { repositoryId, digest })) === 1) dropped.push(digest);
  await settleDropped(tx, repositoryId, dropped, now);
  return dropped.length;
}

/** What follows when links are gone, in the same transaction. */
export async function settleDropped(tx: Session, repositoryId: number, digests: readonly string[], now: number): Promise<void> {
  for (const digest of digests) await reviewStored(tx, digest, now);
  await countUnlinkedBlobs(tx, repositoryId, digests);
}

/** Takes a blob out of a repository; refused while a manifest there needs it (invariant 2). */
export async function unlinkBlob(tx: Session, repositoryId: number, digest: string, now: number): Promise<void> {
  const manifest = await tx.first(referencesTo, { repositoryId, digest, kind: 'blob' });
  if (manifest) throw new AppError('blob_referenced', `the blob belongs to manifest ${manifest.digest}; delete that first`);
  if ((await dropBlobs(tx, repositoryId, [digest], now)) === 0) throw new AppError('blob_unknown', 'blob unknown to the repository');
}

/** First manifest of the repository that needs a digest. */
export async function referenceTo(
  tx: Session,
  repositoryId: number,
  digest: string,
  kind: 'blob' | 'manifest',
): Promise<string | undefined> {
  return (await tx.first(referencesTo, { repositoryId, digest, kind }))?.digest;
}

/** Repositories that hold a blob that is not damaged, by id, after one id. */
export async function repositoriesWithBlob(
  session: Session,
  digest: string,
  after: number,
  limit: number,
): Promise<{ id: number; name: string; size: number }[]> {
  return await session.all(repositoriesOf, { digest, after, limit });
}
