import { sql } from 'kysely';
import { AppError, queriesOf, type Session } from '../platform/index.ts';
import { type Immutability, type ImmutableBy, immutabilityOf } from './immutability.ts';
import { deleteManifest } from './manifests.ts';
import { isNeeded } from './needs.ts';
import { manifestsAbout, partsOf } from './relations.ts';
import type { CatalogTables } from './schema.ts';
import { listTagsOfDigest } from './tag-list.ts';
import { findTag } from './tags.ts';

const query = queriesOf<CatalogTables>('catalog');
type Key = { repositoryId: number; digest: string };

const parentsOf = query<Key & { limit: number }>()('parentsOf', (db, p) =>
  db
    .selectFrom('manifest_reference')
    .innerJoin('manifest', 'manifest.id', 'manifest_reference.manifest_id')
    .select(['manifest.id', 'manifest.digest'])
    .where('manifest_reference.repository_id', '=', p('repositoryId'))
    .where('manifest_reference.digest', '=', p('digest'))
    .where('manifest_reference.kind', '=', 'manifest')
    .orderBy('manifest.id')
    .limit(p('limit')),
);
const factsOf = query<Key>()('deletionFacts', (db, p) =>
  db
    .selectFrom('manifest')
    .select(['id', 'digest', 'media_type as mediaType', 'artifact_type as artifactType', 'size'])
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest')),
);
const tagCount = query<Key>()('tagCountOfDigest', (db, p) =>
  db
    .selectFrom('tag')
    .select((eb) => eb.fn.countAll<number>().as('tags'))
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest')),
);

/** Indexes of a repository that a manifest belongs to, the first by number. */
export async function indexesOf(session: Session, repositoryId: number, digest: string, limit: number): Promise<string[]> {
  return (await session.all(parentsOf, { repositoryId, digest, limit })).map((parent) => parent.digest);
}

/** What goes with a manifest besides its tags. */
export interface DeletionScope {
  /** What is about it, such as signatures, SBOMs and attestations, and what is about these. */
  readonly referrers: boolean;
  /** Of an index its manifests that have no tag and that no other index needs. */
  readonly children: boolean;
}

export interface DoomedManifest {
  readonly id: number;
  readonly digest: string;
  readonly mediaType: string;
  readonly artifactType: string | null;
  /** Of the manifest itself. */
  readonly size: number;
  readonly role: 'self' | 'referrer' | 'child';
}

/** Manifests of one deletion. */
const MOST = 1000;

/** The manifests of one deletion in the order in which they go. Throws `conflict` where they are too many for one. */
export async function manifestsToDelete(
  session: Session,
  repositoryId: number,
  digest: string,
  { referrers, children }: DeletionScope,
): Promise<DoomedManifest[]> {
  const doomed = new Map<string, DoomedManifest>();
  const waiting: { digest: string; role: DoomedManifest['role'] }[] = [{ digest, role: 'self' }];
  for (let at = 0; at < waiting.length; at++) {
    const next = waiting[at];
    if (!next || doomed.has(next.digest)) continue;
    const facts = await session.first(factsOf, { repositoryId, digest: next.digest });
    if (!facts || (next.role !== 'self' && !(await isFree(session, repositoryId, next, doomed)))) continue;
    doomed.set(facts.digest, { ...facts, role: next.role });
    if (doomed.size > MOST) throw new AppError('conflict', `more than ${MOST} manifests go with ${digest}; delete them step by step`);
    if (referrers)
      for (const each of await referrersTo(session, repositoryId, facts.digest)) waiting.push({ digest: each, role: 'referrer' });
    if (!children) continue;
    for (const child of await session.all(partsOf, { id: facts.id, kind: 'manifest', limit: MOST + 1 })) {
      waiting.push({ digest: child.digest, role: 'child' });
    }
  }
  return [...doomed.values()];
}

/** Suffixes by which cosign names what it stores under a tag made of the digest. */
const COMPANIONS = ['sig', 'att', 'sbom'];

/** What is about a manifest: by its `subject`, or by a tag as older cosign makes it. */
async function referrersTo(session: Session, repositoryId: number, digest: string): Promise<string[]> {
  const found = (await session.all(manifestsAbout, { repositoryId, digest, limit: MOST + 1 })).map((row) => row.digest);
  for (const suffix of COMPANIONS) {
    const companion = await findTag(session, repositoryId, `${digest.replace(':', '-')}.${suffix}`);
    if (companion !== undefined) found.push(companion);
  }
  return found;
}

/** Whether nothing else needs it: no index that stays, and for a child no tag. */
async function isFree(
  session: Session,
  repositoryId: number,
  { digest, role }: { digest: string; role: DoomedManifest['role'] },
  doomed: ReadonlyMap<string, unknown>,
): Promise<boolean> {
  const parents = await session.all(parentsOf, { repositoryId, digest, limit: doomed.size + 1 });
  if (parents.some((parent) => !doomed.has(parent.digest))) return false;
  return role !== 'child' || (await listTagsOfDigest(session, { repositoryId, digest, limit: 1 })).length === 0;
}

/** Deletes a manifest and what goes with it, into the trash as one item with what it took along; gives what went. */
export async function deleteManifestWith(
  tx: Session,
  repositoryId: number,
  digest: string,
  scope: DeletionScope,
  { by, now }: { readonly by: string; readonly now: number },
): Promise<DoomedManifest[]> {
  const doomed = await manifestsToDelete(tx, repositoryId, digest, scope);
  const root = await deleteManifest(tx, repositoryId, digest, by, now);
  for (const { digest: other } of doomed.slice(1)) await deleteManifest(tx, repositoryId, other, by, now, root);
  return doomed;
}

/** What is in the way of a deletion. */
export interface Blockers {
  /** Indexes that need the manifest. */
  readonly neededBy: readonly string[];
  readonly immutable: readonly { readonly tag: string; readonly rule: ImmutableBy }[];
}

const SHOWN = 20;

/** What forbids that manifests go, the first of each kind. */
export async function blockersOf(session: Session, repositoryId: number, doomed: readonly DoomedManifest[]): Promise<Blockers> {
  const digest = doomed[0]?.digest ?? '';
  const neededBy = (await session.all(parentsOf, { repositoryId, digest, limit: SHOWN })).map((parent) => parent.digest);
  const rules = await immutabilityOf(session, repositoryId);
  const immutable: { tag: string; rule: ImmutableBy }[] = [];
  for (const manifest of doomed) {
    if (immutable.length < SHOWN) immutable.push(...(await heldTags(session, repositoryId, manifest.digest, rules)));
  }
  return { neededBy, immutable: immutable.slice(0, SHOWN) };
}

const PAGE = 500;

async function heldTags(
  session: Session,
  repositoryId: number,
  digest: string,
  { ruleOf }: Immutability,
): Promise<{ tag: string; rule: ImmutableBy }[]> {
  const held: { tag: string; rule: ImmutableBy }[] = [];
  for (let last = ''; held.length < SHOWN; ) {
    const tags = await listTagsOfDigest(session, { repositoryId, digest, last, limit: PAGE });
    for (const { name } of tags) {
      const rule = ruleOf(name);
      if (rule) held.push({ tag: name, rule });
    }
    if (tags.length < PAGE) break;
    last = tags.at(-1)?.name ?? '';
  }
  return held;
}

export async function countTagsOf(session: Session, repositoryId: number, digest: string): Promise<number> {
  return (await session.first(tagCount, { repositoryId, digest }))?.tags ?? 0;
}

/** How many manifests are about one. */
export async function countReferrers(session: Session, repositoryId: number, digest: string): Promise<number> {
  return (await referrersTo(session, repositoryId, digest)).length;
}

/** Blobs that a deletion frees once it leaves the trash. */
export interface Freed {
  readonly blobs: number;
  readonly bytes: number;
}

/** `others`: a project whose needs count, or 0 for all of the registry. */
const heldBlob = query<Key & { others: number }>()('blobHeldOutside', (db, p) =>
  db
    .selectFrom('repository_blob as link')
    .select('link.repository_id')
    .where('link.digest', '=', p('digest'))
    .where('link.repository_id', '!=', p('repositoryId'))
    .where((eb) =>
      eb.or([
        eb(p('others'), '=', 0),
        eb(
          'link.repository_id',
          'in',
          eb.selectFrom('repository').select('repository.id').where('repository.project_id', '=', p('others')),
        ),
      ]),
    )
    .where((eb) => isNeeded(eb.ref('link.repository_id'), eb.ref('link.digest')))
    .limit(1),
);
const needsInRepository = query<Key & { limit: number }>()('needsOfBlob', (db, p) =>
  db
    .selectFrom('manifest_reference')
    .select('manifest_id as id')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where('kind', '=', 'blob')
    .limit(p('limit')),
);
const keptInTrash = query<Key>()('blobKeptInTrash', (db, p) =>
  db
    .selectFrom('trash_reference')
    .select('item_id')
    .where('repository_id', '=', p('repositoryId'))
    .where('digest', '=', p('digest'))
    .where('kind', '=', 'blob')
    .limit(1),
);
const linkSize = query<Key>()('linkSize', (db, p) =>
  db.selectFrom('repository_blob').select('size').where('repository_id', '=', p('repositoryId')).where('digest', '=', p('digest')),
);

/** Blobs of manifests that nothing else needs, in a project or (0) in all of the registry: exact, by indexes. */
export async function freedByManifests(
  session: Session,
  repositoryId: number,
  doomed: readonly DoomedManifest[],
  others: number,
): Promise<Freed> {
  const ids = new Set(doomed.map(({ id }) => id));
  const seen = new Set<string>();
  let blobs = 0;
  let bytes = 0;
  for (const { id } of doomed) {
    for (const { digest } of await session.all(partsOf, { id, kind: 'blob', limit: 100_000 })) {
      if (seen.has(digest)) continue;
      seen.add(digest);
      if (seen.size % PAGE === 0) await new Promise(setImmediate); // others have their turn
      const key = { repositoryId, digest };
      const needs = await session.all(needsInRepository, { ...key, limit: ids.size + 1 });
      if (needs.some((need) => !ids.has(need.id))) continue;
      if ((await session.first(keptInTrash, key)) || (await session.first(heldBlob, { ...key, others }))) continue;
      blobs++;
      bytes += (await session.first(linkSize, key))?.size ?? 0;
    }
  }
  return { blobs, bytes };
}

const repositoryBlobs = query<{ repositoryId: number; others: number; last: string; limit: number }>()('blobsOnlyHere', (db, p) =>
  db
    .selectFrom('repository_blob as mine')
    .select((eb) => [
      'mine.digest',
      'mine.size',
      eb
        .exists(
          eb
            .selectFrom('repository_blob as link')
            .select('link.repository_id')
            .whereRef('link.digest', '=', 'mine.digest')
            .where('link.repository_id', '!=', p('repositoryId'))
            .where((each) =>
              each.or([
                each(p('others'), '=', 0),
                each(
                  'link.repository_id',
                  'in',
                  each.selectFrom('repository').select('repository.id').where('repository.project_id', '=', p('others')),
                ),
              ]),
            )
            .where((each) => isNeeded(each.ref('link.repository_id'), each.ref('link.digest'))),
        )
        .as('held'),
    ])
    .where('mine.repository_id', '=', p('repositoryId'))
    .where('mine.digest', '>', p('last'))
    .orderBy('mine.digest')
    .limit(p('limit')),
);
const countRows = <T extends 'tag' | 'manifest'>(table: T, name: string) =>
  query<{ repositoryId: number; most: number }>()(name, (db, p) =>
    db
      .selectFrom(
        sql<{ one: number }>`(select 1 as one from ${sql.table(table)} where repository_id = ${p('repositoryId')} limit ${p('most')})`.as(
          'some',
        ),
      )
      .select((eb) => eb.fn.countAll<number>().as('count')),
  );
const countTags = countRows('tag', 'countTagsUpTo');
const countManifests = countRows('manifest', 'countManifestsUpTo');

/** Tags, manifests and blobs that are looked at; of a larger repository it is an estimate from below. */
const COUNTED = 20_000;

/** What the deletion of a repository takes. */
export async function repositoryContents(
  session: Session,
  repositoryId: number,
  others: number,
): Promise<{ tags: number; manifests: number; freed: Freed; exact: boolean }> {
  const most = COUNTED + 1;
  const tags = (await session.first(countTags, { repositoryId, most }))?.count ?? 0;
  const manifests = (await session.first(countManifests, { repositoryId, most }))?.count ?? 0;
  let looked = 0;
  let blobs = 0;
  let bytes = 0;
  for (let last: string | undefined = ''; last !== undefined && looked < most; ) {
    const page: { digest: string; size: number; held: unknown }[] = await session.all(repositoryBlobs, {
      repositoryId,
      others,
      last,
      limit: PAGE,
    });
    for (const { size, held } of page) {
      if (held) continue;
      blobs++;
      bytes += size;
    }
    looked += page.length;
    last = page.length < PAGE ? undefined : page.at(-1)?.digest;
    await new Promise(setImmediate);
  }
  const exact = tags < most && manifests < most && looked < most;
  return { tags: Math.min(tags, COUNTED), manifests: Math.min(manifests, COUNTED), freed: { blobs, bytes }, exact };
}
