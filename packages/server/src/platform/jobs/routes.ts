import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import Type, { type Static } from 'typebox';
import { type Session, sortOf } from '../database/index.ts';
import { AppError } from '../errors.ts';
import { type Answer, type Caller, listOf, listQuery, PAGE_DEFAULT, pageOf, type Route, readCursor, routesFor } from '../rest.ts';
import { cancelJob, findJob, type JobView, pageOfJobs } from './jobs.ts';

const State = Type.Enum(['waiting', 'running', 'done', 'dead', 'cancelled']);
const Time = Type.Union([Type.String({ format: 'date-time' }), Type.Null()]);
const View = Type.Object({
  id: Type.Integer(),
  kind: Type.String(),
  state: State,
  attempts: Type.Integer(),
  progress: Type.Unknown({ description: 'how far it came, in its own words' }),
  result: Type.Unknown(),
  error: Type.Union([Type.String(), Type.Null()], { description: 'of the last run that failed' }),
  createdAt: Time,
  startedAt: Time,
  finishedAt: Time,
});
const OfJob = Type.Object({ id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }) });

function viewOf({ createdAt, startedAt, finishedAt, ...job }: JobView): Static<typeof View> {
  const time = (at: number | null) => (at === null ? null : new Date(at).toISOString());
  return { ...job, createdAt: time(createdAt), startedAt: time(startedAt), finishedAt: time(finishedAt) };
}

async function requireJob(session: Session, id: number): Promise<JobView> {
  const job = await findJob(session, id);
  if (!job) throw new AppError('not_found', `there is no job ${id}`);
  return job;
}

const LOOK_MS = 500;
const ENDED: ReadonlySet<string> = new Set(['done', 'dead', 'cancelled']);

/** Names a state of a job, so that who comes back is not told what it knows. */
function eventId(job: JobView): string {
  return createHash('sha256')
    .update(JSON.stringify(viewOf(job)))
    .digest('base64url')
    .slice(0, 16);
}

interface Parts {
  readonly database: Session;
  /** Aborted when the process ends: who follows a job then follows it elsewhere. */
  readonly stopping: AbortSignal;
}

/** Work in the background. */
export function jobRoutes({ database, stopping }: Parts): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Jobs' } as const;

  /** Each change of a job from a known state on, until it ends. */
  async function* follow(first: JobView, known: string | undefined): NonNullable<Answer<undefined>['events']> & AsyncGenerator {
    let last = known;
    for (let job: JobView | undefined = first; job && !stopping.aborted; job = await findJob(database, first.id)) {
      const id = eventId(job);
      const ended = ENDED.has(job.state);
      if (id !== last || ended) yield { event: ended ? 'end' : 'progress', id, data: viewOf(job) };
      if (ended) return;
      last = id;
      await delay(LOOK_MS, undefined, { signal: stopping }).catch(() => undefined);
    }
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: '/jobs',
      summary: 'List work in the background, the latest first',
      description: 'Jobs that ended well are kept for a day, those given up for 30.',
      permission: 'system:read',
      query: listQuery(['created'], { kind: Type.Optional(Type.String({ maxLength: 100 })), state: Type.Optional(State) }),
      answer: listOf(View),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = '-created', kind, state } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, [0]);
        const jobs = await pageOfJobs(database, { order: sortOf(sort).order, last, kind, state, limit: limit + 1 });
        const { items, next } = pageOf(jobs, limit, ({ id }) => [id]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/jobs/:id',
      summary: 'Read a job',
      permission: 'system:read',
      params: OfJob,
      answer: View,
      handle: async ({ params }) => ({ body: viewOf(await requireJob(database, params.id)) }),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/jobs/:id/events',
      summary: 'Follow a job until it ends, by server-sent events',
      description: 'Events `progress` and, as the last, `end` carry the job. With Last-Event-ID what is known is not told again.',
      permission: 'system:read',
      params: OfJob,
      produces: 'text/event-stream',
      async handle({ params, headers }) {
        const { 'last-event-id': known } = headers;
        return { events: follow(await requireJob(database, params.id), typeof known === 'string' ? known : undefined) };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/jobs/:id/cancel',
      summary: 'Cancel a job: one that waits at once, one that runs as soon as it heeds that',
      description: 'What recurs by itself is cancelled only while it runs, and comes again.',
      permission: 'system:update',
      audit: 'job.cancel',
      params: OfJob,
      answer: View,
      async change(tx, { params, now }) {
        const { kind, state } = await requireJob(tx, params.id);
        if (!(await cancelJob(tx, params.id, now))) throw new AppError('conflict', `the job is ${state} and cannot be cancelled`);
        const job = viewOf(await requireJob(tx, params.id));
        return { body: job, resource: { type: 'job', name: `${kind} ${params.id}` }, before: { state }, after: { state: job.state } };
      },
    }),
  ];
}
