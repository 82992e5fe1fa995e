import Type, { type Static } from 'typebox';
import type { Identity } from '../../access/index.ts';
import { COLLECT_NOW } from '../../lifecycle/index.ts';
import { AppError, findJob, type JobView, pageOfJobs, type Route, routesFor } from '../../platform/index.ts';
import type { Adapter } from './adapt.ts';
import { answerList, gather, Items, ListQuery } from './lists.ts';
import { type HarborParts, Id, locationOf, time } from './parts.ts';

const Schedule = Type.Object({
  schedule: Type.Optional(
    Type.Union([
      Type.Object({ type: Type.Optional(Type.String({ maxLength: 32 })), cron: Type.Optional(Type.String({ maxLength: 100 })) }),
      Type.Null(),
    ]),
  ),
  parameters: Type.Optional(Type.Union([Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), { maxProperties: 20 }), Type.Null()])),
});
const OfRun = Type.Object({ id: Id });

const STATES: Readonly<Record<string, string>> = {
  waiting: 'Pending',
  running: 'Running',
  done: 'Success',
  dead: 'Error',
  cancelled: 'Stopped',
};

function viewOf({ id, state, createdAt, startedAt, finishedAt }: JobView) {
  return {
    ...{ id, job_name: 'GARBAGE_COLLECTION', job_kind: 'MANUAL', job_parameters: '{}', schedule: { type: 'Manual' } },
    ...{ job_status: STATES[state] ?? state, deleted: false },
    ...{ creation_time: time(createdAt), update_time: time(finishedAt ?? startedAt ?? createdAt) },
  };
}

/** Collection goes on by itself every minute, so a schedule is only read, and what is asked for is one run more. */
export function gcRoutes({ database }: HarborParts, { change }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor', permission: 'storage:read' } as const;

  const ask = (method: 'POST' | 'PUT') =>
    change('POST /storage/collection/runs', {
      method,
      path: '/system/gc/schedule',
      params: Type.Object({}),
      body: Schedule,
      status: method === 'POST' ? 201 : 200,
      async call({ body }) {
        const { schedule, parameters } = body as Static<typeof Schedule>;
        if (schedule?.type !== 'Manual') {
          throw new AppError(
            'bad_request',
            'collection runs by itself every minute here and has no other schedule; Manual runs it at once',
          );
        }
        const asked = Object.entries(parameters ?? {}).find(
          ([name, value]) => /^(dry_run|delete_untagged|delete_tag)$/.test(name) && value === true,
        );
        if (asked)
          throw new AppError(
            'bad_request',
            `${asked[0]} is not known here: GET /api/v1/storage/collection/preview tells what would go, retention policies delete`,
          );
        return { body: {} };
      },
      tell: (body) => ({ headers: locationOf(`/system/gc/${(body as { job: number }).job}`) }),
    });

  return [
    read({
      ...common,
      method: 'GET',
      path: '/system/gc/schedule',
      summary: 'Read the schedule of garbage collection',
      answer: Type.Unknown(),
      handle: async ({ now }) => ({
        body: {
          ...{ id: 1, job_name: 'GARBAGE_COLLECTION', job_kind: 'SCHEDULE', job_parameters: '{}', job_status: 'Success', deleted: false },
          schedule: { type: 'Custom', cron: '0 * * * * *', next_scheduled_time: time(Math.ceil(now / 60_000) * 60_000) },
        },
      }),
    }),
    ask('POST'),
    ask('PUT'),
    read({
      ...common,
      method: 'GET',
      path: '/system/gc',
      summary: 'List the garbage collections that were asked for',
      query: ListQuery,
      answer: Items,
      handle: (call) =>
        answerList<JobView>(call, {
          load: (most) =>
            gather(most, async (last: number | undefined, limit) => {
              const items = await pageOfJobs(database, { order: 'desc', kind: COLLECT_NOW, last, limit });
              return { items, next: items.length === limit ? items.at(-1)?.id : undefined };
            }),
          fields: { id: ({ id }) => id },
          view: async (job) => viewOf(job),
        }),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/system/gc/:id',
      summary: 'Read a garbage collection that was asked for',
      params: OfRun,
      answer: Type.Unknown(),
      async handle({ params: { id } }) {
        const job = await findJob(database, id);
        if (job?.kind !== COLLECT_NOW) throw new AppError('not_found', `there is no garbage collection ${id}`);
        return { body: viewOf(job) };
      },
    }),
  ];
}
