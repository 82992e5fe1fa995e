import { AppError, type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import { isSound } from './damage.ts';
import type { CatalogTables } from './schema.ts';
import { countLinkedBlob, countUnlinkedBlobs, type Room } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');

const blobSize = query<{ repositoryId: number; digest: string }>()('blobSize', (db, p) =>
  db
    .selectFrom('repository_blob')
    .select('size')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where(isSound),
);
const insertBlob = query<{ repositoryId: number; digest: string; size: number; now: number }>()('insertBlob', (db, p) =>
  db
    .insertInto('repository_blob')
    .values({ repository_id: p('repositoryId'), digest: p('digest'), size: p('size'), created_at: p('now') })
    .onConflict((conflict) => conflict.columns(['repository_id', 'digest']).doNothing()),
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

/** Size of a blob as a member of a repository, or undefined where it is none, or damaged. */
export function findBlob(session: Session, repositoryId: number, digest: string): MaybePromise<{ size: number } | undefined> {
  return session.first(blobSize, { repositoryId, digest });
}

/** Makes a blob that is safely stored visible in a repository. */
export async function linkBlob(
  tx: Session,
  repositoryId: number,
  blob: { digest: string; size: number },
  now: number,
  room?: Room,
): Promise<void> {
  const isNew = (await tx.run(insertBlob, { repositoryId, digest: blob.digest, size: blob.size, now })) === 1;
  if (isNew) await countLinkedBlob(tx, repositoryId, blob, { now, room });
}

/** Takes a blob out of a repository; refused while a manifest there needs it (invariant 2). */
export async function unlinkBlob(tx: Session, repositoryId: number, digest: string): Promise<void> {
  const manifest = await tx.first(referencesTo, { repositoryId, digest, kind: 'blob' });
  if (manifest) throw new AppError('blob_referenced', `the blob belongs to manifest ${manifest.digest}; delete that first`);
  if ((await tx.run(deleteBlob, { repositoryId, digest })) === 0) throw new AppError('blob_unknown', 'blob unknown to the repository');
  await countUnlinkedBlobs(tx, repositoryId, [digest]);
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
