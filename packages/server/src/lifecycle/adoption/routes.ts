import Type, { type Static } from 'typebox';
import {
  AppError,
  BEFORE_ALL,
  type Caller,
  type Clock,
  type Database,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  routesFor,
  sortOf,
} from '../../platform/index.ts';
import { FINDINGS, type FindingKind, NOTHING } from './findings.ts';
import { atWorkOn } from './lease.ts';
import { findingCounts, findingsAfterPosition, findRun, pageOfRuns, type Run } from './runs.ts';

const Time = Type.String({ format: 'date-time' });
const Kind = Type.Enum(Object.keys(FINDINGS) as FindingKind[]);
const Counts = Type.Object(
  Object.fromEntries(Object.keys(NOTHING).map((name) => [name, Type.Integer()])) as Record<
    keyof typeof NOTHING,
    ReturnType<typeof Type.Integer>
  >,
  { description: 'found in the storage and in Entrepot now; hashed: blobs, of a run that verified them' },
);
const RunView = Type.Object({
  id: Type.Integer(),
  source: Type.String({ description: 'the folder or the bucket' }),
  verify: Type.Boolean({ description: 'whether every blob was hashed and every link read' }),
  update: Type.Boolean({ description: 'whether tags that led elsewhere followed the storage' }),
  state: Type.Enum(['running', 'cut-off', 'done'], { description: 'cut-off: the same command goes on with it' }),
  by: Type.Union([Type.String(), Type.Null()], { description: 'who is at it while it runs' }),
  at: Type.String({ description: 'how far it is: the last folder of blobs, or the last repository' }),
  counts: Counts,
  findings: Type.Record(Type.String(), Type.Integer(), { description: 'how many of each kind' }),
  damage: Type.Integer({ description: 'findings that somebody will miss' }),
  startedAt: Time,
  finishedAt: Type.Union([Time, Type.Null()]),
});
const FindingView = Type.Object({
  kind: Kind,
  text: Type.String({ description: 'what the kind means' }),
  damage: Type.Boolean({ description: 'whether somebody will miss it' }),
  repository: Type.String({ description: 'empty for what belongs to none' }),
  subject: Type.String({ description: 'a digest, a tag, or a path in the storage' }),
  detail: Type.String(),
});
const OfRun = Type.Object({ run: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }) });

const timeOf = (at: number) => new Date(at).toISOString();

/** What was adopted from another registry's storage, and what could not be. */
export function adoptionRoutes({ database, clock }: { readonly database: Database; readonly clock: Clock }): Route[] {
  const { read } = routesFor<Caller>();
  const common = { tag: 'Storage' } as const;

  async function requireRun(id: number): Promise<Run> {
    const run = await findRun(database, id);
    if (!run) throw new AppError('not_found', `there is no adoption ${id}`);
    return run;
  }

  async function viewOf({ id, source, wishes, cursor, counts, startedAt, finishedAt }: Run): Promise<Static<typeof RunView>> {
    const { verify = false, update = false } = JSON.parse(wishes) as { verify?: boolean; update?: boolean };
    const findings = await findingCounts(database, id);
    const damage = Object.entries(findings).reduce((sum, [kind, count]) => sum + (FINDINGS[kind as FindingKind].damage ? count : 0), 0);
    const by = finishedAt === null ? await atWorkOn(database, id, clock.now()) : undefined;
    const state = finishedAt !== null ? 'done' : by === undefined ? 'cut-off' : 'running';
    return {
      ...{ id, source, verify, update, state, by: by ?? null, at: cursor, counts: { ...counts }, findings: { ...findings }, damage },
      ...{ startedAt: timeOf(startedAt), finishedAt: finishedAt === null ? null : timeOf(finishedAt) },
    };
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: '/storage/adoptions',
      summary: 'List adoptions of other registries’ storage, the latest first',
      permission: 'storage:read',
      query: listQuery(['started'], {}),
      answer: listOf(RunView),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = '-started' } }) {
        const { order } = sortOf(sort);
        const [last] = after === undefined ? [BEFORE_ALL[order].number] : readCursor(after, [0]);
        const { items, next } = pageOf(await pageOfRuns(database, { order, last, limit: limit + 1 }), limit, ({ id }) => [id]);
        const views: Static<typeof RunView>[] = [];
        for (const run of items) views.push(await viewOf(run));
        return { body: { items: views }, next };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/adoptions/:run',
      summary: 'Read an adoption',
      permission: 'storage:read',
      params: OfRun,
      answer: RunView,
      handle: async ({ params }) => ({ body: await viewOf(await requireRun(params.run)) }),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/storage/adoptions/:run/findings',
      summary: 'List what an adoption left alone, and why',
      description: 'Of one storage the findings of the latest run are kept.',
      permission: 'storage:read',
      params: OfRun,
      query: listQuery([], { kind: Type.Optional(Kind) }),
      answer: listOf(FindingView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, kind: only = '' } }) {
        const { id: runId } = await requireRun(params.run);
        const [kind, repository, subject] = after === undefined ? ['', '', ''] : readCursor(after, ['', '', '']);
        const rows = await findingsAfterPosition(database, { runId, only, kind, repository, subject, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (row) => [row.kind, row.repository, row.subject]);
        return { body: { items: items.map((row) => ({ ...row, ...FINDINGS[row.kind] })) }, next };
      },
    }),
  ];
}
