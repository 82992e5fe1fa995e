import { isDigest } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import { damagedCount, findDamage, pageOfAffected, pageOfDamaged, pageOfDamagedManifests, tagsOfAffected } from '../../catalog/index.ts';
import { AppError, type Caller, listOf, listQuery, PAGE_DEFAULT, pageOf, type Route, readCursor, routesFor } from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';
import { requestPass, suspectBlob } from './jobs.ts';
import { findPass, type Pass } from './store.ts';

/** Of each image so many tags are shown. */
const TAGS = 20;

const Time = Type.String({ format: 'date-time' });
const PassView = Type.Object({
  number: Type.Integer({ description: 'rises by one from pass to pass' }),
  phase: Type.Enum(['blobs', 'manifests', 'trash', 'store', 'done'], {
    description: 'what is read; trash: manifests in it; store: its list, for objects nothing knows of',
  }),
  blobs: Type.Integer(),
  bytes: Type.Integer(),
  manifests: Type.Integer(),
  damaged: Type.Integer({ description: 'found in this pass, repaired ones included' }),
  orphans: Type.Integer({ description: 'objects of the store that nothing knew of' }),
  startedAt: Time,
  updatedAt: Time,
  finishedAt: Type.Union([Time, Type.Null()]),
});
const ScrubView = Type.Object({
  everyDays: Type.Integer({ description: '0: only when asked for' }),
  mibPerSecond: Type.Integer(),
  damagedBlobs: Type.Integer({ description: 'in quarantine now' }),
  pass: Type.Union([PassView, Type.Null()], { description: 'the one on its way, or the last' }),
});
const BlobView = Type.Object({
  digest: Type.String(),
  problem: Type.Enum(['missing', 'size', 'hash', 'unreadable']),
  detail: Type.String(),
  foundAt: Time,
  repairsTried: Type.Integer(),
  nextRepairAt: Time,
});
const ManifestView = Type.Object({
  id: Type.Integer(),
  repository: Type.String(),
  digest: Type.String(),
  problem: Type.Enum(['missing', 'hash']),
  foundAt: Time,
});
const ImageView = Type.Object({
  repository: Type.String(),
  digest: Type.String(),
  tags: Type.Array(Type.String(), { description: `that lead to it, by themselves or through an index; ${TAGS} at most` }),
});
const OfBlob = Type.Object({ digest: Type.String({ maxLength: 160 }) });

const timeOf = (at: number) => new Date(at).toISOString();

function passView({ position: _, scrubbedAt: __, startedAt, updatedAt, finishedAt, ...counts }: Pass): Static<typeof PassView> {
  const finished = finishedAt === null ? null : timeOf(finishedAt);
  return { ...counts, startedAt: timeOf(startedAt), updatedAt: timeOf(updatedAt), finishedAt: finished };
}

/** Scrub and what it found. */
export function scrubRoutes({ database, config }: LifecycleParts): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Storage' } as const;

  return [
    read({
      ...common,
      method: 'GET',
      path: '/storage/scrub',
      summary: 'Read how far scrub has come',
      permission: 'storage:read',
      answer: ScrubView,
      async handle() {
        const pass = await findPass(database);
        return {
          body: {
            everyDays: config.scrubDays,
            mibPerSecond: config.scrubMibPerSecond,
            damagedBlobs: await damagedCount(database),
            pass: pass ? passView(pass) : null,
          },
        };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/storage/scrub',
      summary: 'Read everything again from the beginning, starting within seconds',
      permission: 'storage:manage',
      audit: 'scrub.start',
      status: 202,
      answer: PassView,
      async change(tx, { now }) {
        const pass = await requestPass(tx, now);
        return { body: passView(pass), resource: { type: 'scrub', name: String(pass.number) } };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/damaged-blobs',
      summary: 'List blobs in quarantine',
      permission: 'storage:read',
      query: listQuery([], {}),
      answer: listOf(BlobView),
      async handle({ query: { limit = PAGE_DEFAULT, after } }) {
        const [last] = after === undefined ? [''] : readCursor(after, ['']);
        const { items, next } = pageOf(await pageOfDamaged(database, last, limit + 1), limit, ({ digest }) => [digest]);
        const views = items.map(({ digest, problem, detail, foundAt, checks, checkAt }) => ({
          ...{ digest, problem: problem as Static<typeof BlobView>['problem'], detail, foundAt: timeOf(foundAt) },
          ...{ repairsTried: checks, nextRepairAt: timeOf(checkAt) },
        }));
        return { body: { items: views }, next };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/damaged-blobs/:digest/images',
      summary: 'List the images that need a damaged blob',
      permission: 'storage:read',
      params: OfBlob,
      query: listQuery([], {}),
      answer: listOf(ImageView),
      async handle({ params: { digest }, query: { limit = PAGE_DEFAULT, after } }) {
        if (!(await findDamage(database, digest))) throw new AppError('not_found', `no damaged blob ${digest} is known`);
        const [repositoryId, manifestId] = after === undefined ? [0, 0] : readCursor(after, [0, 0]);
        const rows = await pageOfAffected(database, { digest, repositoryId, manifestId, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (row) => [row.repositoryId, row.id]);
        const views = [];
        for (const image of items) {
          views.push({ repository: image.repository, digest: image.digest, tags: await tagsOfAffected(database, image, TAGS) });
        }
        return { body: { items: views }, next };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/storage/damaged-blobs/:digest/check',
      summary: 'Look at a blob now: one that is damaged is put into quarantine, one that can be repaired is repaired',
      description: 'The blob need not be known to be damaged.',
      permission: 'storage:manage',
      audit: 'blob.check',
      params: OfBlob,
      status: 202,
      answer: Type.Object({ job: Type.Integer({ description: 'what looks at it: /jobs/:id' }) }),
      async change(tx, { params: { digest }, now }) {
        if (!isDigest(digest)) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
        const job = await suspectBlob(tx, digest, now);
        return { body: { job }, resource: { type: 'blob', digest } };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/damaged-manifests',
      summary: 'List manifests whose bytes in the database are damaged',
      description: 'Nobody is given them; a push of the same manifest mends it.',
      permission: 'storage:read',
      query: listQuery([], {}),
      answer: listOf(ManifestView),
      async handle({ query: { limit = PAGE_DEFAULT, after } }) {
        const [last] = after === undefined ? [0] : readCursor(after, [0]);
        const { items, next } = pageOf(await pageOfDamagedManifests(database, last, limit + 1), limit, ({ id }) => [id]);
        const views = items.map(({ problem, foundAt, ...others }) => ({
          ...others,
          problem: problem as Static<typeof ManifestView>['problem'],
          foundAt: timeOf(foundAt),
        }));
        return { body: { items: views }, next };
      },
    }),
  ];
}
