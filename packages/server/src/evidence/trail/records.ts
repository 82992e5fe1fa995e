import { cursorOf, type Query, queriesOf, type Session } from '../../platform/index.ts';
import type { TrailTables } from './schema.ts';

const query = queriesOf<TrailTables>('evidence');

/** A record as it lies in the database. */
export type RecordRow = Readonly<TrailTables['audit_record']>;

const COLUMNS = ['seq', 'at', 'actor', 'action', 'outcome', 'project', 'repository', 'body', 'hash'] as const;

/** Empty text: whatever it is. */
interface Filter {
  before: number;
  from: number;
  actor: string;
  action: string;
  project: string;
  repository: string;
  outcome: string;
  limit: number;
}

/** Newest first, by the index of one column where one is asked for, so that little more is read than is shown. */
function listBy(column: 'project' | 'actor' | 'action' | undefined): Query<Filter, RecordRow> {
  return query<Filter>()(`recordsBy${column ?? 'Number'}`, (db, p) => {
    const filtered = (['project', 'actor', 'action', 'repository', 'outcome'] as const)
      .filter((name) => name !== column)
      .reduce(
        (list, name) => list.where((eb) => eb.or([eb(p(name), '=', ''), eb(name, '=', p(name))])),
        db.selectFrom('audit_record').select(COLUMNS).where('seq', '<', p('before')).where('seq', '>=', p('from')),
      );
    const indexed = column === undefined ? filtered : filtered.where(column, '=', p(column));
    return indexed.orderBy('seq', 'desc').limit(p('limit'));
  });
}

const byNumber = listBy(undefined);
const byProject = listBy('project');
const byActor = listBy('actor');
const byAction = listBy('action');

const recordBySeq = query<{ seq: number }>()('recordBySeq', (db, p) =>
  db.selectFrom('audit_record').select(COLUMNS).where('seq', '=', p('seq')),
);
const recordsFrom = query<{ seq: number; to: number; limit: number }>()('recordsFrom', (db, p) =>
  db.selectFrom('audit_record').select(COLUMNS).where('seq', '>=', p('seq')).where('seq', '<=', p('to')).orderBy('seq').limit(p('limit')),
);
/** The next by number, whatever they are about. */
export const recordsUpFrom = query<{ after: number; limit: number }>()('recordsUpFrom', (db, p) =>
  db.selectFrom('audit_record').select(COLUMNS).where('seq', '>', p('after')).orderBy('seq').limit(p('limit')),
);
const firstSince = query<{ at: number }>()('firstSince', (db, p) =>
  db.selectFrom('audit_record').select('seq').where('at', '>=', p('at')).orderBy('at').orderBy('seq').limit(1),
);

export interface RecordFilter {
  readonly limit: number;
  /** Sequence number before which the page begins. */
  readonly before?: number | undefined;
  readonly actor?: string | undefined;
  readonly action?: string | undefined;
  readonly project?: string | undefined;
  readonly repository?: string | undefined;
  readonly outcome?: string | undefined;
  /** Milliseconds since 1970, both included. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

/** Records newest first, and where the next page begins. */
export async function pageOfRecords(
  session: Session,
  { limit, before = Number.MAX_SAFE_INTEGER, actor = '', action = '', project = '', repository = '', outcome = '', from, to }: RecordFilter,
): Promise<{ records: RecordRow[]; next: string | undefined }> {
  // Numbers rise with time, so a time is a place in the order of numbers.
  const first = from === undefined ? 0 : ((await firstAt(session, from)) ?? Number.MAX_SAFE_INTEGER);
  const end = to === undefined ? before : Math.min(before, (await firstAt(session, to + 1)) ?? before);
  const by = project !== '' ? byProject : actor !== '' ? byActor : action !== '' ? byAction : byNumber;
  const filter = { before: end, from: first, actor, action, project, repository, outcome, limit: limit + 1 };
  const rows = await session.all(by, filter);
  const records = rows.slice(0, limit);
  return { records, next: rows.length > limit ? cursorOf(records.at(-1)?.seq ?? 0) : undefined };
}

/** Number of the first record of a time or later. */
export async function firstAt(session: Session, at: number): Promise<number | undefined> {
  return (await session.first(firstSince, { at }))?.seq;
}

export async function findRecord(session: Session, seq: number): Promise<RecordRow | undefined> {
  return await session.first(recordBySeq, { seq });
}

const CHUNK = 1000;

/** Records in order, from one number to another, as many at once as fit into memory easily. */
export async function* recordsInOrder(session: Session, from: number, to: number): AsyncGenerator<RecordRow> {
  for (let seq = from; ; ) {
    const rows = await session.all(recordsFrom, { seq, to, limit: CHUNK });
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < CHUNK) return;
    seq = last.seq + 1;
  }
}
