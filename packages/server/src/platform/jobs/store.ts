import type { Generated } from 'kysely';
import { type Migration, type Order, queriesOf } from '../database/index.ts';

export type JobState = 'waiting' | 'running' | 'done' | 'dead' | 'cancelled';

interface JobTables {
  job: {
    id: Generated<number>;
    kind: string;
    /** At most one waiting or running job of a kind has a key; null again once finished. */
    unique_key: string | null;
    /** JSON, like progress and result. */
    payload: string;
    state: JobState;
    /** When it may be claimed: its time to run, or the end of the lease of whoever runs it. Null: never again. */
    due_at: number | null;
    /** Claims since it last ended well. */
    attempts: number;
    /** Rises with each claim; whoever holds an older one has lost the job. */
    fence: number;
    /** The process that runs it, so that its end frees the job before the lease does. */
    holder: string | null;
    /** Asked for again while it ran. */
    again: number;
    cancelled: number;
    progress: string | null;
    result: string | null;
    last_error: string | null;
    created_at: number;
    started_at: number | null;
    finished_at: number | null;
  };
}

export const jobMigrations: readonly Migration[] = [
  {
    name: '0001-jobs',
    up: ({ db }) => [
      db.schema
        .createTable('job')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('kind', 'text', (c) => c.notNull())
        .addColumn('unique_key', 'text')
        .addColumn('payload', 'text', (c) => c.notNull())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('due_at', 'bigint')
        .addColumn('attempts', 'integer', (c) => c.notNull())
        .addColumn('fence', 'integer', (c) => c.notNull())
        .addColumn('holder', 'text')
        .addColumn('again', 'integer', (c) => c.notNull())
        .addColumn('cancelled', 'integer', (c) => c.notNull())
        .addColumn('progress', 'text')
        .addColumn('result', 'text')
        .addColumn('last_error', 'text')
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('started_at', 'bigint')
        .addColumn('finished_at', 'bigint')
        .addUniqueConstraint('job_key', ['kind', 'unique_key']),
      db.schema.createIndex('job_due').on('job').columns(['kind', 'due_at']),
      db.schema.createIndex('job_finished').on('job').columns(['state', 'finished_at']),
    ],
  },
];

const query = queriesOf<JobTables>('jobs');

export type Held = { readonly id: number; readonly fence: number };

/** Key of the one row of a job that recurs. */
export const RECURRING = '@recurring';

export const insertJob = query<{ kind: string; key: string | null; payload: string; runAt: number; now: number }>()('enqueue', (db, p) =>
  db
    .insertInto('job')
    .values({
      kind: p('kind'),
      unique_key: p('key'),
      payload: p('payload'),
      state: 'waiting',
      due_at: p('runAt'),
      attempts: 0,
      fence: 0,
      again: 0,
      cancelled: 0,
      created_at: p('now'),
    })
    .onConflict((conflict) =>
      conflict.columns(['kind', 'unique_key']).doUpdateSet((eb) => ({
        payload: eb.ref('excluded.payload'),
        again: 1,
        // Sooner where it only waits for its time; a pause after a failure and a running job's lease stay.
        due_at: eb
          .case()
          .when(eb.and([eb('job.state', '=', 'waiting'), eb('job.attempts', '=', 0), eb('excluded.due_at', '<', eb.ref('job.due_at'))]))
          .then(eb.ref('excluded.due_at'))
          .else(eb.ref('job.due_at'))
          .end(),
      })),
    )
    .returning('id'),
);
export const insertRecurring = query<{ kind: string; runAt: number; now: number }>()('enqueueRecurring', (db, p) =>
  db
    .insertInto('job')
    .values({
      kind: p('kind'),
      unique_key: RECURRING,
      payload: 'null',
      state: 'waiting',
      due_at: p('runAt'),
      attempts: 0,
      fence: 0,
      again: 0,
      cancelled: 0,
      created_at: p('now'),
    })
    .onConflict((conflict) => conflict.columns(['kind', 'unique_key']).doNothing()),
);
/** After a schedule was changed: the next run is no later than the new one says. */
export const hastenRecurring = query<{ kind: string; latest: number }>()('hastenRecurring', (db, p) =>
  db
    .updateTable('job')
    .set({ due_at: p('latest') })
    .where('kind', '=', p('kind'))
    .where('unique_key', '=', RECURRING)
    .where('state', '=', 'waiting')
    .where('attempts', '=', 0)
    .where('due_at', '>', p('latest')),
);
export const dueJob = query<{ kind: string; now: number }>()('due', (db, p) =>
  db.selectFrom('job').select('id').where('kind', '=', p('kind')).where('due_at', '<=', p('now')).limit(1),
);
/** The second comparison of `due_at` is for databases where another claim may win between the inner and the outer statement. */
export const claimJob = query<{ kind: string; holder: string; now: number; until: number }>()('claim', (db, p) =>
  db
    .updateTable('job')
    .set((eb) => ({
      state: 'running',
      due_at: p('until'),
      attempts: eb('attempts', '+', 1),
      fence: eb('fence', '+', 1),
      holder: p('holder'),
      again: 0,
      started_at: p('now'),
    }))
    .where('id', '=', (eb) =>
      eb
        .selectFrom('job as next')
        .select('next.id')
        .where('next.kind', '=', p('kind'))
        .where('next.due_at', '<=', p('now'))
        .orderBy('next.due_at')
        .orderBy('next.id')
        .limit(1),
    )
    .where('due_at', '<=', p('now'))
    .returning(['id', 'payload', 'attempts', 'fence', 'cancelled', 'last_error as lastError']),
);
export const extendLease = query<Held & { until: number }>()('extendLease', (db, p) =>
  db
    .updateTable('job')
    .set({ due_at: p('until') })
    .where('id', '=', p('id'))
    .where('fence', '=', p('fence'))
    .where('state', '=', 'running'),
);
export const saveProgress = query<Held & { progress: string }>()('progress', (db, p) =>
  db
    .updateTable('job')
    .set({ progress: p('progress') })
    .where('id', '=', p('id'))
    .where('fence', '=', p('fence'))
    .where('state', '=', 'running'),
);
/** Not where it was asked for again meanwhile: then it waits for its next run instead. */
export const settleJob = query<Held & { state: 'done' | 'dead' | 'cancelled'; result: string | null; error: string | null; now: number }>()(
  'settle',
  (db, p) =>
    db
      .updateTable('job')
      .set({
        state: p('state'),
        due_at: null,
        unique_key: null,
        holder: null,
        result: p('result'),
        last_error: p('error'),
        finished_at: p('now'),
      })
      .where('id', '=', p('id'))
      .where('fence', '=', p('fence'))
      .where('state', '=', 'running')
      .where('again', '=', 0),
);
export const rescheduleJob = query<Held & { dueAt: number; attempts: number; result: string | null; error: string | null }>()(
  'reschedule',
  (db, p) =>
    db
      .updateTable('job')
      .set({
        state: 'waiting',
        due_at: p('dueAt'),
        attempts: p('attempts'),
        holder: null,
        cancelled: 0,
        result: p('result'),
        last_error: p('error'),
      })
      .where('id', '=', p('id'))
      .where('fence', '=', p('fence'))
      .where('state', '=', 'running'),
);
export const cancelWaiting = query<{ id: number; now: number }>()('cancelWaiting', (db, p) =>
  db
    .updateTable('job')
    .set({ state: 'cancelled', due_at: null, unique_key: null, finished_at: p('now') })
    .where('id', '=', p('id'))
    .where('state', '=', 'waiting')
    .where((eb) => eb.or([eb('unique_key', 'is', null), eb('unique_key', '!=', RECURRING)])),
);
export const cancelRunning = query<{ id: number }>()('cancelRunning', (db, p) =>
  db.updateTable('job').set({ cancelled: 1, again: 0 }).where('id', '=', p('id')).where('state', '=', 'running'),
);
export const cancelledOf = query<{ holder: string }>()('cancelledOf', (db, p) =>
  db.selectFrom('job').select(['id', 'fence']).where('state', '=', 'running').where('cancelled', '=', 1).where('holder', '=', p('holder')),
);
export const freeAll = query<{ now: number }>()('freeAll', (db, p) =>
  db
    .updateTable('job')
    .set({ state: 'waiting', due_at: p('now'), holder: null })
    .where('state', '=', 'running'),
);
export const freeOf = query<{ holder: string; now: number }>()('freeOf', (db, p) =>
  db
    .updateTable('job')
    .set({ state: 'waiting', due_at: p('now'), holder: null })
    .where('state', '=', 'running')
    .where('holder', '=', p('holder')),
);
export const pruneState = query<{ state: 'done' | 'dead' | 'cancelled'; before: number; limit: number }>()('prune', (db, p) =>
  db
    .deleteFrom('job')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('job as old')
        .select('old.id')
        .where('old.state', '=', p('state'))
        .where('old.finished_at', '<', p('before'))
        .limit(p('limit')),
    ),
);
const VIEW = [
  'id',
  'kind',
  'state',
  'attempts',
  'progress',
  'result',
  'last_error as error',
  'created_at as createdAt',
  'started_at as startedAt',
  'finished_at as finishedAt',
] as const;

export const jobByKey = query<{ kind: string; key: string }>()('findByKey', (db, p) =>
  db.selectFrom('job').select(VIEW).where('kind', '=', p('kind')).where('unique_key', '=', p('key')),
);
export const jobById = query<{ id: number }>()('find', (db, p) => db.selectFrom('job').select(VIEW).where('id', '=', p('id')));
const listJobs = (name: string, order: Order) =>
  query<{ last: number; kind: string; state: string; limit: number }>()(name, (db, p) =>
    db
      .selectFrom('job')
      .select(VIEW)
      .where('id', order === 'asc' ? '>' : '<', p('last'))
      .where((eb) => eb.or([eb(p('kind'), '=', ''), eb('kind', '=', p('kind'))]))
      .where((eb) => eb.or([eb(p('state'), '=', ''), eb(eb.ref('state'), '=', p('state') as never)]))
      .orderBy('id', order)
      .limit(p('limit')),
  );
export const jobLists = { asc: listJobs('list', 'asc'), desc: listJobs('listDown', 'desc') } as const;
export const countJobs = query()('count', (db) =>
  db
    .selectFrom('job')
    .select((eb) => ['state', eb.fn.countAll<number>().as('jobs')])
    .groupBy('state'),
);
