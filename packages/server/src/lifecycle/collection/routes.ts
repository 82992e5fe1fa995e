import Type from 'typebox';
import { COUNTED, collectionBacklog, holdsInForce, previewCollection, previewTotals } from '../../catalog/index.ts';
import {
  type Caller,
  enqueue,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  pageOfJobs,
  type Route,
  readCursor,
  routesFor,
} from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';
import { COLLECT, COLLECT_NOW, type CollectNow } from './jobs.ts';

const Count = Type.Integer({ minimum: 0 });
const Time = Type.Union([Type.String({ format: 'date-time' }), Type.Null()]);
const StatusView = Type.Object({
  graceSeconds: Type.Integer({ description: 'how long a blob that nothing needs stays' }),
  due: Type.Object(
    {
      links: Count,
      blobs: Count,
      bytes: Count,
      oldest: Time,
    },
    { description: `what the next run takes away: blobs out of repositories, and from the store; each counted up to ${COUNTED}` },
  ),
  left: Type.Integer({ minimum: 0, description: 'removals that did not end in their time, as after a crash or where the store failed' }),
  holds: Type.Array(Type.Object({ reason: Type.String(), until: Type.String({ format: 'date-time' }) }), {
    description: 'what keeps collection from removing anything from the store at the moment, such as a backup',
  }),
  lastRun: Type.Union([
    Type.Object({
      state: Type.String({ description: '`running`, or `waiting` for the next one' }),
      startedAt: Time,
      progress: Type.Unknown(),
      result: Type.Unknown({ description: 'links, blobs and bytes that it took away' }),
      error: Type.Union([Type.String(), Type.Null()]),
    }),
    Type.Null(),
  ]),
});
const skipGrace = Type.Optional(
  Type.Boolean({
    default: false,
    description: 'also what has not been unneeded for the grace time: pushes under way may have to be repeated',
  }),
);
const PreviewView = Type.Object({
  total: Type.Object(
    {
      links: Count,
      blobs: Count,
      bytes: Count,
      isComplete: Type.Boolean({ description: `false where more than ${COUNTED} links are due: then the sums are of so many` }),
    },
    { description: 'of all pages: blobs taken out of repositories, blobs that go from the store with that, and their bytes' },
  ),
  items: Type.Array(
    Type.Object({
      repository: Type.String(),
      digest: Type.String(),
      size: Type.Integer(),
      unneededSince: Type.String({ format: 'date-time' }),
      frees: Type.Boolean({ description: 'whether its bytes go from the store, as no repository keeps it' }),
    }),
  ),
});

const iso = (time: number) => new Date(time).toISOString();

/** Online garbage collection. */
export function collectionRoutes({ database, clock, config }: LifecycleParts): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Storage' } as const;
  const graceMs = config.collectionGraceSeconds * 1000;

  return [
    read({
      ...common,
      method: 'GET',
      path: '/storage/collection',
      summary: 'Read how far garbage collection is',
      permission: 'storage:read',
      answer: StatusView,
      async handle({ now }) {
        const { links, blobs, bytes, left, oldest } = await collectionBacklog(database, now, graceMs);
        const [run] = await pageOfJobs(database, { order: 'desc', kind: COLLECT, limit: 1 });
        const holds = await holdsInForce(database, now);
        const lastRun = run && {
          state: run.state,
          startedAt: run.startedAt === null ? null : iso(run.startedAt),
          progress: run.progress,
          result: run.result,
          error: run.error,
        };
        return {
          body: {
            graceSeconds: config.collectionGraceSeconds,
            due: { links, blobs, bytes, oldest: oldest === undefined ? null : iso(oldest) },
            left,
            holds: holds.map(({ reason, heldUntil }) => ({ reason, until: iso(heldUntil) })),
            lastRun: lastRun ?? null,
          },
        };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/collection/preview',
      summary: 'Preview what a collection would take away now',
      description: 'The longest unneeded first. Nothing is changed.',
      permission: 'storage:read',
      query: listQuery([], { skipGrace }),
      answer: PreviewView,
      async handle({ query: { limit = PAGE_DEFAULT, after, skipGrace: isAll = false } }) {
        const before = isAll ? clock.now() : clock.now() - graceMs;
        const [since, repositoryId, digest] = after === undefined ? [0, 0, ''] : readCursor(after, [0, 0, '']);
        const rows = await previewCollection(database, before, { since, repositoryId, digest }, limit + 1);
        const { items, next } = pageOf(rows, limit, (row) => [row.since, row.repositoryId, row.digest]);
        const total = await previewTotals(database, before);
        return {
          body: {
            total: { ...total, isComplete: total.links < COUNTED },
            items: items.map((row) => ({
              repository: row.repository,
              digest: row.digest,
              size: row.size,
              unneededSince: iso(row.since),
              frees: row.frees,
            })),
          },
          next,
        };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/storage/collection/runs',
      summary: 'Collect garbage now',
      description: 'A job does it; its result says what was taken away. By itself collection runs every minute.',
      permission: 'storage:manage',
      audit: 'collection.run',
      status: 202,
      body: Type.Object({ skipGrace }, { additionalProperties: false }),
      answer: Type.Object({ job: Type.Integer({ description: 'to follow under `/jobs`' }) }),
      async change(tx, { body: { skipGrace: isAll = false }, now }) {
        const payload: CollectNow = { skipGrace: isAll };
        // One that waits is not changed from what its caller asked for, nor the other way around.
        const job = await enqueue(tx, { kind: COLLECT_NOW, key: isAll ? 'all' : 'due', payload, now });
        return { body: { job }, resource: { type: 'collection' }, after: payload };
      },
    }),
  ];
}
