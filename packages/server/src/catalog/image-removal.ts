import { queriesOf, type Session } from '../platform/index.ts';
import { referenceTo } from './blobs.ts';
import { immutabilityOf } from './immutability.ts';
import { deleteManifest, findManifest } from './manifests.ts';
import { manifestsAbout, partsOf } from './relations.ts';
import type { CatalogTables } from './schema.ts';
import { deleteTag, findTag } from './tags.ts';

const query = queriesOf<CatalogTables>('catalog');
type Key = { repositoryId: number; digest: string };

const tagsAt = query<Key & { limit: number }>()('tagsAtManifest', (db, p) =>
  db
    .selectFrom('tag')
    .select('name')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .orderBy('name')
    .limit(p('limit')),
);
/** Manifests that go in one transaction at most; what is left has no tag and is found as such. */
const MOST = 500;

/** The digest that a tag is about by its name: cosign's signatures, attestations and SBOMs, and the referrers' fallback tag. */
export function subjectOfTag(tag: string): string | undefined {
  const [, algorithm, hex] = /^(sha256|sha512)-([0-9a-f]{64}(?:[0-9a-f]{64})?)(?:\.(?:sig|att|sbom))?$/.exec(tag) ?? [];
  return algorithm === undefined ? undefined : `${algorithm}:${hex}`;
}

function tagsAbout(digest: string): string[] {
  const base = digest.replace(':', '-');
  return ['.sig', '.att', '.sbom', ''].map((suffix) => `${base}${suffix}`);
}

export interface Removal {
  readonly repositoryId: number;
  readonly by: string;
  readonly now: number;
}

/**
 * Deletes a manifest that nothing holds any more, neither tag nor index, with what is about it (referrers, and cosign's tags
 * by its digest) and with its children that nothing else holds; gives the digests of what went. What has a tag of its own
 * stays, and so does what is about it.
 */
export async function deleteUnheld(tx: Session, removal: Removal, digest: string, gone: string[] = []): Promise<string[]> {
  const { repositoryId, by, now } = removal;
  const manifest = await findManifest(tx, repositoryId, digest);
  if (!manifest || gone.length >= MOST) return gone;
  const tags = await tx.all(tagsAt, { repositoryId, digest, limit: 1 });
  if (tags.length > 0 || (await referenceTo(tx, repositoryId, digest, 'manifest'))) return gone;
  const children = await tx.all(partsOf, { id: manifest.id, kind: 'manifest', limit: MOST });
  await deleteManifest(tx, repositoryId, digest, by, now);
  gone.push(digest);
  await deleteFollowers(tx, removal, digest, gone);
  for (const child of children) await deleteUnheld(tx, removal, child.digest, gone);
  return gone;
}

/** Signatures, attestations and SBOMs follow their subject. */
async function deleteFollowers(tx: Session, removal: Removal, subject: string, gone: string[]): Promise<void> {
  const { repositoryId, by, now } = removal;
  const immutable = await immutabilityOf(tx, repositoryId);
  for (const name of tagsAbout(subject)) {
    const target = await findTag(tx, repositoryId, name);
    if (target === undefined || immutable.ruleOf(name)) continue;
    await deleteTag(tx, { repositoryId, name, by, now });
    await deleteUnheld(tx, removal, target, gone);
  }
  for (const { digest } of await tx.all(manifestsAbout, { repositoryId, digest: subject, limit: MOST })) {
    await deleteUnheld(tx, removal, digest, gone);
  }
}
