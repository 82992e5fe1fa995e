import type { Manifest } from '@entrepot/oci';
import { AppError, type MaybePromise, queriesOf, type Session } from '../platform/index.ts';
import { findBlob, referenceTo } from './blobs.ts';
import { announce } from './events.ts';
import { forgetManifestDamage } from './manifest-damage.ts';
import { keepNeeded, releaseNeeded } from './needs.ts';
import { touchRepository } from './projects.ts';
import type { CatalogTables } from './schema.ts';
import { deleteTag, setTag } from './tags.ts';
import { trashManifest } from './trash.ts';
import { countUsage, type Room } from './usage.ts';

const query = queriesOf<CatalogTables>('catalog');

type Key = { repositoryId: number; digest: string };

const manifestByDigest = query<Key>()('manifestByDigest', (db, p) =>
  db
    .selectFrom('manifest')
    .select(['id', 'digest', 'media_type as mediaType', 'size'])
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest')),
);
const manifestByTag = query<{ repositoryId: number; tag: string }>()('manifestByTag', (db, p) =>
  db
    .selectFrom('tag')
    .innerJoin('manifest', (join) =>
      join.onRef('manifest.repository_id', '=', 'tag.repository_id').onRef('manifest.digest', '=', 'tag.digest'),
    )
    .select(['manifest.id', 'manifest.digest', 'manifest.media_type as mediaType', 'manifest.size'])
    .where('tag.repository_id', '=', p('repositoryId'))
    .where('tag.name', '=', p('tag')),
);
const contentSizeOf = query<Key>()('contentSize', (db, p) =>
  db.selectFrom('manifest').select('content_size as size').where('repository_id', '=', p('repositoryId')).where('digest', '=', p('digest')),
);
const contentOf = query<{ id: number }>()('manifestContent', (db, p) =>
  db.selectFrom('manifest_content').select('bytes').where('manifest_id', '=', p('id')),
);
const insertManifest = query<
  Key & {
    mediaType: string;
    size: number;
    contentSize: number;
    artifactType: string | null;
    annotations: string | null;
    subject: string | null;
    now: number;
    by: string;
  }
>()('insertManifest', (db, p) =>
  db
    .insertInto('manifest')
    .values({
      repository_id: p('repositoryId'),
      digest: p('digest'),
      media_type: p('mediaType'),
      size: p('size'),
      content_size: p('contentSize'),
      artifact_type: p('artifactType'),
      annotations: p('annotations'),
      subject: p('subject'),
      created_at: p('now'),
      created_by: p('by'),
    })
    .returning('id'),
);
const insertContent = query<{ id: number; bytes: Uint8Array }>()('insertManifestContent', (db, p) =>
  db.insertInto('manifest_content').values({ manifest_id: p('id'), bytes: p('bytes') }),
);
const replaceContent = query<{ id: number; bytes: Uint8Array }>()('replaceManifestContent', (db, p) =>
  db
    .insertInto('manifest_content')
    .values({ manifest_id: p('id'), bytes: p('bytes') })
    .onConflict((conflict) => conflict.column('manifest_id').doUpdateSet((eb) => ({ bytes: eb.ref('excluded.bytes') }))),
);
const insertReference = query<{ id: number; repositoryId: number; digest: string; kind: 'blob' | 'manifest' }>()(
  'insertReference',
  (db, p) =>
    db
      .insertInto('manifest_reference')
      .values({ manifest_id: p('id'), repository_id: p('repositoryId'), digest: p('digest'), kind: p('kind') })
      .onConflict((conflict) => conflict.columns(['manifest_id', 'digest', 'kind']).doNothing()),
);
const deleteReferences = query<{ id: number }>()('deleteReferences', (db, p) =>
  db.deleteFrom('manifest_reference').where('manifest_id', '=', p('id')),
);
const deleteContent = query<{ id: number }>()('deleteManifestContent', (db, p) =>
  db.deleteFrom('manifest_content').where('manifest_id', '=', p('id')),
);
const deleteManifestRow = query<{ id: number }>()('deleteManifest', (db, p) => db.deleteFrom('manifest').where('id', '=', p('id')));
const tagsOfDigest = query<Key>()('tagsOfDigest', (db, p) =>
  db.selectFrom('tag').select('name').where('repository_id', '=', p('repositoryId')).where('digest', '=', p('digest')),
);
const listReferrers = query<{ repositoryId: number; subject: string; artifactType: string; last: string; limit: number }>()(
  'listReferrers',
  (db, p) =>
    db
      .selectFrom('manifest')
      .select(['digest', 'media_type as mediaType', 'size', 'artifact_type as artifactType', 'annotations'])
      .where('repository_id', '=', p('repositoryId'))
      .where('subject', '=', p('subject'))
      .where('digest', '>', p('last'))
      .where((eb) => eb.or([eb(p('artifactType'), '=', ''), eb('artifact_type', '=', p('artifactType'))]))
      .orderBy('digest')
      .limit(p('limit')),
);
const subjectByPrefix = query<{ repositoryId: number; from: string; to: string }>()('subjectByPrefix', (db, p) =>
  db
    .selectFrom('manifest')
    .select('subject')
    .where('repository_id', '=', p('repositoryId'))
    .where('subject', '>=', p('from'))
    .where('subject', '<', p('to'))
    .limit(1),
);

export interface StoredManifest {
  readonly id: number;
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
}

export interface ReferrerRow {
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  readonly artifactType: string | null;
  /** JSON object, or null. */
  readonly annotations: string | null;
}

export function findManifest(session: Session, repositoryId: number, digest: string): MaybePromise<StoredManifest | undefined> {
  return session.first(manifestByDigest, { repositoryId, digest });
}

export function findManifestByTag(session: Session, repositoryId: number, tag: string): MaybePromise<StoredManifest | undefined> {
  return session.first(manifestByTag, { repositoryId, tag });
}

/** Exact bytes of a stored manifest; undefined if it was deleted meanwhile. */
export async function manifestBytes(session: Session, id: number): Promise<Uint8Array | undefined> {
  return (await session.first(contentOf, { id }))?.bytes;
}

export interface ManifestPush {
  readonly repositoryId: number;
  readonly digest: string;
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
  readonly tags: readonly string[];
  /** What may be missing in the repository. */
  readonly sparse: { readonly children: boolean; readonly blobs: boolean };
  readonly by: string;
  readonly now: number;
  /** Announces nothing: what was there all along is no news to anybody. */
  readonly silent?: boolean;
  /** What was reserved for it, where the project has limits. */
  readonly room?: Room | undefined;
}

/** Writes a manifest with its references and tags; refused unless all it needs is in the repository (invariant 2). */
export async function putManifest(tx: Session, push: ManifestPush): Promise<{ created: boolean }> {
  const { repositoryId, digest, manifest, now, by, room, silent = false } = push;
  const existing = await tx.first(manifestByDigest, { repositoryId, digest });
  if (!existing) {
    await requireReferences(tx, push);
    const row = await tx.first(insertManifest, {
      repositoryId,
      digest,
      mediaType: manifest.mediaType,
      size: push.bytes.length,
      contentSize: await contentSize(tx, push),
      artifactType: manifest.artifactType ?? null,
      annotations: manifest.annotations ? JSON.stringify(manifest.annotations) : null,
      subject: manifest.subject?.digest ?? null,
      now,
      by,
    });
    if (!row) throw new Error('an inserted manifest has no id');
    await tx.run(insertContent, { id: row.id, bytes: push.bytes });
    for (const blob of manifest.blobs) await tx.run(insertReference, { id: row.id, repositoryId, digest: blob.digest, kind: 'blob' });
    for (const child of manifest.children) {
      await tx.run(insertReference, { id: row.id, repositoryId, digest: child.digest, kind: 'manifest' });
    }
    await keepNeeded(tx, repositoryId, row.id);
    await countUsage(tx, repositoryId, { bytes: push.bytes.length }, push);
    await touchRepository(tx, repositoryId, now);
  } else if (existing.mediaType !== manifest.mediaType) {
    throw new AppError('manifest_invalid', `these bytes are stored as ${existing.mediaType}, they cannot become ${manifest.mediaType}`);
  } else {
    await mendContent(tx, existing.id, push.bytes);
  }
  const payload = { digest, mediaType: manifest.mediaType, size: push.bytes.length, tags: push.tags, by };
  if (!silent) await announce(tx, repositoryId, { topic: 'manifest.pushed', payload }, now);
  for (const name of push.tags) await setTag(tx, { repositoryId, name, digest, now, by, silent, room });
  return { created: !existing };
}

/** Replaces a stored manifest's bytes where they are not those that were pushed, verified, just now: the database lost some. */
async function mendContent(tx: Session, id: number, bytes: Uint8Array): Promise<void> {
  const stored = (await tx.first(contentOf, { id }))?.bytes;
  if (stored === undefined || !Buffer.from(stored).equals(bytes)) await setManifestContent(tx, id, bytes);
}

/** Writes the bytes of a manifest, verified by the caller, in place of damaged ones. */
export async function setManifestContent(tx: Session, id: number, bytes: Uint8Array): Promise<void> {
  await tx.run(replaceContent, { id, bytes });
  await forgetManifestDamage(tx, id);
}

/** Bytes of a manifest, of what it needs, and of its children; what is missing counts as its descriptor says. */
async function contentSize(tx: Session, { repositoryId, bytes, manifest }: ManifestPush): Promise<number> {
  let size = bytes.length;
  const counted = new Set<string>();
  for (const blob of manifest.blobs) {
    if (!counted.has(blob.digest)) size += blob.size;
    counted.add(blob.digest);
  }
  for (const { digest, size: own } of manifest.children) {
    if (!counted.has(digest)) size += (await tx.first(contentSizeOf, { repositoryId, digest }))?.size ?? own;
    counted.add(digest);
  }
  return size;
}

async function requireReferences(tx: Session, { repositoryId, manifest, sparse }: ManifestPush): Promise<void> {
  const missing: { digest: string; mediaType: string }[] = [];
  for (const { digest, mediaType, size } of manifest.blobs) {
    const blob = await findBlob(tx, repositoryId, digest);
    if (!blob && !sparse.blobs) missing.push({ digest, mediaType });
    if (blob && blob.size !== size) {
      throw new AppError('manifest_invalid', `${digest} has ${blob.size} bytes, the manifest says ${size}`);
    }
  }
  for (const { digest, mediaType } of sparse.children ? [] : manifest.children) {
    if (!(await tx.first(manifestByDigest, { repositoryId, digest }))) missing.push({ digest, mediaType });
  }
  if (missing.length > 0) {
    throw new AppError('manifest_blob_unknown', `${missing.length} of the manifest's references are not in the repository`, {
      detail: missing.slice(0, 20),
    });
  }
}

/**
 * Deletes a manifest and all tags that point at it, into the trash; refused while an index needs it or a rule holds one of the
 * tags. `withId` is the item in the trash of what it goes with; gives its own.
 */
export async function deleteManifest(
  tx: Session,
  repositoryId: number,
  digest: string,
  by: string,
  now: number,
  withId: number | null = null,
): Promise<number> {
  const manifest = await tx.first(manifestByDigest, { repositoryId, digest });
  if (!manifest) throw new AppError('manifest_unknown', 'manifest unknown to the repository');
  const parent = await referenceTo(tx, repositoryId, digest, 'manifest');
  if (parent) throw new AppError('manifest_referenced', `the manifest belongs to index ${parent}; delete that first`);
  const tags = (await tx.all(tagsOfDigest, { repositoryId, digest })).map(({ name }) => name);
  const { itemId, countedTwice } = await trashManifest(tx, { repositoryId, by, now, withId }, manifest);
  for (const name of tags) await deleteTag(tx, { repositoryId, name, by, now, withId: itemId });
  await touchRepository(tx, repositoryId, now);
  await releaseNeeded(tx, repositoryId, manifest.id, now);
  await tx.run(deleteReferences, { id: manifest.id });
  await tx.run(deleteContent, { id: manifest.id });
  await tx.run(deleteManifestRow, { id: manifest.id });
  // Also where nothing changes by it: who counts anew sees that something moved.
  await countUsage(tx, repositoryId, { bytes: -countedTwice });
  const { mediaType, size } = manifest;
  await announce(tx, repositoryId, { topic: 'manifest.deleted', payload: { digest, mediaType, size, tags, by } }, now);
  return itemId;
}

/** Manifests whose subject is a digest, by digest; `artifactType` empty for all. */
export async function pageOfReferrers(
  session: Session,
  page: { repositoryId: number; subject: string; artifactType: string; last: string; limit: number },
): Promise<ReferrerRow[]> {
  return await session.all(listReferrers, page);
}

/** The subject digest that begins so and has referrers in the repository. */
export async function subjectWithPrefix(session: Session, repositoryId: number, prefix: string): Promise<string | undefined> {
  return (await session.first(subjectByPrefix, { repositoryId, from: prefix, to: `${prefix}~` }))?.subject ?? undefined;
}
