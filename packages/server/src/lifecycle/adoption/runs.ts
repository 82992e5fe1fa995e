import { type Order, queriesOf, type Session } from '../../platform/index.ts';
import { type Counts, type Finding, type FindingKind, NOTHING } from './findings.ts';
import type { AdoptionTables } from './schema.ts';

const query = queriesOf<AdoptionTables>('adoption');

const RUN = ['id', 'source', 'wishes', 'cursor', 'counts', 'started_at as startedAt', 'finished_at as finishedAt'] as const;

const insertRun = query<{ source: string; wishes: string; counts: string; now: number }>()('insertRun', (db, p) =>
  db
    .insertInto('adoption_run')
    .values({ source: p('source'), wishes: p('wishes'), cursor: '', counts: p('counts'), started_at: p('now'), finished_at: null })
    .returning('id'),
);
const unfinishedRun = query<{ source: string; wishes: string }>()('unfinishedRun', (db, p) =>
  db
    .selectFrom('adoption_run')
    .select(RUN)
    .where('source', '=', p('source'))
    .where('wishes', '=', p('wishes'))
    .where('finished_at', 'is', null)
    .orderBy('id', 'desc')
    .limit(1),
);
const lastRun = query()('lastRun', (db) => db.selectFrom('adoption_run').select(RUN).orderBy('id', 'desc').limit(1));
const runById = query<{ id: number }>()('run', (db, p) => db.selectFrom('adoption_run').select(RUN).where('id', '=', p('id')));
const listRuns = (name: string, order: Order) =>
  query<{ last: number; limit: number }>()(name, (db, p) =>
    db
      .selectFrom('adoption_run')
      .select(RUN)
      .where('id', order === 'asc' ? '>' : '<', p('last'))
      .orderBy('id', order)
      .limit(p('limit')),
  );
const RUNS = { asc: listRuns('runs', 'asc'), desc: listRuns('runsDown', 'desc') } as const;
const saveRun = query<{ id: number; cursor: string; counts: string; finishedAt: number | null }>()('saveRun', (db, p) =>
  db
    .updateTable('adoption_run')
    .set({ cursor: p('cursor'), counts: p('counts'), finished_at: p('finishedAt') })
    .where('id', '=', p('id')),
);
const insertFinding = query<{ runId: number; kind: string; repository: string; subject: string; detail: string }>()(
  'insertFinding',
  (db, p) =>
    db
      .insertInto('adoption_finding')
      .values({ run_id: p('runId'), kind: p('kind'), repository: p('repository'), subject: p('subject'), detail: p('detail') })
      .onConflict((conflict) => conflict.columns(['run_id', 'kind', 'repository', 'subject']).doNothing()),
);
const findingOf = query<{ runId: number; kind: string; repository: string; subject: string }>()('finding', (db, p) =>
  db
    .selectFrom('adoption_finding')
    .select('detail')
    .where('run_id', '=', p('runId'))
    .where('kind', '=', p('kind'))
    .where('repository', '=', p('repository'))
    .where('subject', '=', p('subject')),
);
type Place = { runId: number; kind: string; repository: string; subject: string; limit: number };
const findingsAfter = query<Place>()('findingsAfter', (db, p) =>
  db
    .selectFrom('adoption_finding')
    .select(['repository', 'subject', 'detail'])
    .where('run_id', '=', p('runId'))
    .where('kind', '=', p('kind'))
    .where((eb) =>
      eb.or([eb('repository', '>', p('repository')), eb.and([eb('repository', '=', p('repository')), eb('subject', '>', p('subject'))])]),
    )
    .orderBy('repository')
    .orderBy('subject')
    .limit(p('limit')),
);
type Position = { runId: number; only: string; kind: string; repository: string; subject: string; limit: number };
const pageOfFindings = query<Position>()('findings', (db, p) =>
  db
    .selectFrom('adoption_finding')
    .select(['kind', 'repository', 'subject', 'detail'])
    .where('run_id', '=', p('runId'))
    .where((eb) => eb.or([eb(p('only'), '=', ''), eb('kind', '=', p('only'))]))
    .where((eb) =>
      eb.or([
        eb('kind', '>', p('kind')),
        eb.and([eb('kind', '=', p('kind')), eb('repository', '>', p('repository'))]),
        eb.and([eb('kind', '=', p('kind')), eb('repository', '=', p('repository')), eb('subject', '>', p('subject'))]),
      ]),
    )
    .orderBy('kind')
    .orderBy('repository')
    .orderBy('subject')
    .limit(p('limit')),
);
const countFindings = query<{ runId: number }>()('countFindings', (db, p) =>
  db
    .selectFrom('adoption_finding')
    .select((eb) => ['kind', eb.fn.countAll<number>().as('count')])
    .where('run_id', '=', p('runId'))
    .groupBy('kind'),
);
const forgetFindings = query<{ source: string; before: number; limit: number }>()('forgetFindings', (db, p) =>
  db
    .deleteFrom('adoption_finding')
    .where('run_id', 'in', (eb) =>
      eb
        .selectFrom('adoption_run')
        .select('adoption_run.id')
        .where('source', '=', p('source'))
        .where('adoption_run.id', '<', p('before'))
        .limit(p('limit')),
    ),
);

export interface Run {
  readonly id: number;
  readonly source: string;
  readonly wishes: string;
  readonly cursor: string;
  readonly counts: Counts;
  readonly startedAt: number;
  readonly finishedAt: number | null;
}

type RunRow = Omit<Run, 'counts'> & { counts: string };

const toRun = (row: RunRow): Run => ({ ...row, counts: { ...NOTHING, ...(JSON.parse(row.counts) as Partial<Counts>) } });

/** The run over a source that did not come to its end, or a new one, which makes findings of runs before it void. */
export async function beginRun(tx: Session, source: string, wishes: string, now: number): Promise<Run> {
  const found = await tx.first(unfinishedRun, { source, wishes });
  if (found) return toRun(found);
  const made = await tx.first(insertRun, { source, wishes, counts: JSON.stringify(NOTHING), now });
  if (!made) throw new Error('an inserted run has no id');
  await tx.run(forgetFindings, { source, before: made.id, limit: 1000 });
  return { id: made.id, source, wishes, cursor: '', counts: NOTHING, startedAt: now, finishedAt: null };
}

export async function findLastRun(session: Session): Promise<Run | undefined> {
  const row = await session.first(lastRun, {});
  return row && toRun(row);
}

export async function findRun(session: Session, id: number): Promise<Run | undefined> {
  const row = await session.first(runById, { id });
  return row && toRun(row);
}

export async function pageOfRuns(session: Session, page: { order: Order; last: number; limit: number }): Promise<Run[]> {
  return (await session.all(RUNS[page.order], { last: page.last, limit: page.limit })).map(toRun);
}

/** Notes how far a run came, in the transaction of its last change. */
export async function saveProgress(
  tx: Session,
  { id, cursor, counts, finishedAt }: Pick<Run, 'id' | 'cursor' | 'counts' | 'finishedAt'>,
): Promise<void> {
  await tx.run(saveRun, { id, cursor, counts: JSON.stringify(counts), finishedAt });
}

/** Longest subject and detail that are kept, in characters: file names may be anything. */
const TEXT_MOST = 1024;

export async function addFinding(tx: Session, runId: number, { kind, repository, subject, detail }: Finding): Promise<void> {
  const cut = (text: string) => text.slice(0, TEXT_MOST);
  await tx.run(insertFinding, { runId, kind, repository: cut(repository), subject: cut(subject), detail: cut(detail) });
}

export async function hasFinding(
  session: Session,
  runId: number,
  kind: FindingKind,
  repository: string,
  subject: string,
): Promise<boolean> {
  return (await session.first(findingOf, { runId, kind, repository, subject })) !== undefined;
}

/** How many findings a run has of each kind. */
export async function findingCounts(session: Session, runId: number): Promise<Partial<Record<FindingKind, number>>> {
  const rows = await session.all(countFindings, { runId });
  return Object.fromEntries(rows.map(({ kind, count }) => [kind, count]));
}

const PAGE = 500;

/** Findings of one kind in order of repository and subject, `most` at the most. */
export async function* findingsOf(
  session: Session,
  runId: number,
  kind: FindingKind,
  most = Number.POSITIVE_INFINITY,
): AsyncIterable<Finding> {
  let last = { repository: '', subject: '' };
  for (let left = most; left > 0; ) {
    const limit = Math.min(PAGE, left);
    const rows = await session.all(findingsAfter, { runId, kind, ...last, limit });
    for (const row of rows) yield { kind, ...row };
    const end = rows.at(-1);
    if (end === undefined || rows.length < limit) return;
    last = { repository: end.repository, subject: end.subject };
    left -= rows.length;
  }
}

/** Findings in order of kind, repository and subject, after one of them; of one kind, or of all where `only` is empty. */
export async function findingsAfterPosition(session: Session, position: Position): Promise<Finding[]> {
  return (await session.all(pageOfFindings, position)) as Finding[];
}
