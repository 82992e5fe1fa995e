import { queriesOf, type Session } from '../../platform/index.ts';
import type { ForwardingTables } from './schema.ts';
import type { AuditLine } from './sink.ts';
import type { SinkKind, Target } from './targets.ts';

const query = queriesOf<ForwardingTables>('forwarding');

const COLUMNS = [
  'id',
  'name',
  'kind',
  'target',
  'secrets',
  'enabled',
  'position',
  'attempts',
  'next_at as nextAt',
  'last_error as lastError',
  'last_error_at as lastErrorAt',
  'last_success_at as lastSuccessAt',
  'parked_run as parkedRun',
  'missed',
  'created_at as createdAt',
  'created_by as createdBy',
  'version',
] as const;

export interface SinkRow {
  readonly id: number;
  readonly name: string;
  readonly kind: SinkKind;
  readonly target: Target;
  /** Sealed; null: none. */
  readonly secrets: string | null;
  readonly enabled: boolean;
  readonly position: number;
  readonly attempts: number;
  readonly nextAt: number;
  readonly lastError: string | null;
  readonly lastErrorAt: number | null;
  readonly lastSuccessAt: number | null;
  readonly parkedRun: number;
  readonly missed: number;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

const allSinks = query()('sinks', (db) => db.selectFrom('audit_sink').select(COLUMNS).orderBy('name'));
const sinkByName = query<{ name: string }>()('sink', (db, p) => db.selectFrom('audit_sink').select(COLUMNS).where('name', '=', p('name')));
const dueSinks = query<{ now: number }>()('dueSinks', (db, p) =>
  db
    .selectFrom('audit_sink')
    .select(COLUMNS)
    .where('enabled', '=', 1)
    .where('next_at', '<=', p('now'))
    .where('position', '<', (eb) => eb.selectFrom('audit_head').select('audit_head.seq').where('audit_head.id', '=', 1)),
);
const newestRecord = query()('newestRecord', (db) => db.selectFrom('audit_head').select('seq').where('id', '=', 1));
const recordsBeyond = query<{ position: number; limit: number }>()('recordsAfter', (db, p) =>
  db.selectFrom('audit_record').select(['seq', 'at', 'body', 'hash']).where('seq', '>', p('position')).orderBy('seq').limit(p('limit')),
);
const lowestPosition = query()('lowestPosition', (db) =>
  db.selectFrom('audit_sink').select('position').where('enabled', '=', 1).orderBy('position').limit(1),
);
const insertSink = query<{
  name: string;
  kind: SinkKind;
  target: string;
  enabled: number;
  position: number;
  now: number;
  by: string;
}>()('insertSink', (db, p) =>
  db
    .insertInto('audit_sink')
    .values({
      name: p('name'),
      kind: p('kind'),
      target: p('target'),
      enabled: p('enabled'),
      position: p('position'),
      attempts: 0,
      next_at: 0,
      parked_run: 0,
      missed: 0,
      created_at: p('now'),
      created_by: p('by'),
      version: 1,
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returning('id'),
);
const setSecrets = query<{ id: number; secrets: string | null }>()('setSecrets', (db, p) =>
  db
    .updateTable('audit_sink')
    .set({ secrets: p('secrets') })
    .where('id', '=', p('id')),
);
/** What failed before may go well now, so it is tried at once. */
const changeSink = query<{ id: number; kind: SinkKind; target: string; secrets: string | null; enabled: number; position: number }>()(
  'changeSink',
  (db, p) =>
    db
      .updateTable('audit_sink')
      .set((eb) => ({
        kind: p('kind'),
        target: p('target'),
        secrets: p('secrets'),
        enabled: p('enabled'),
        position: p('position'),
        attempts: 0,
        next_at: 0,
        parked_run: 0,
        version: eb('version', '+', 1),
      }))
      .where('id', '=', p('id')),
);
const deleteSinkRow = query<{ id: number }>()('deleteSink', (db, p) => db.deleteFrom('audit_sink').where('id', '=', p('id')));
const deleteParked = query<{ id: number; from: number }>()('deleteParked', (db, p) =>
  db.deleteFrom('audit_sink_parked').where('sink_id', '=', p('id')).where('seq', '>=', p('from')),
);
/** Only where the sink is still what it was when the records were sent: after a change they go to the new place. */
const advance = query<{ id: number; version: number; position: number; parkedRun: number; missed: number; now: number }>()(
  'advance',
  (db, p) =>
    db
      .updateTable('audit_sink')
      .set((eb) => ({
        position: p('position'),
        attempts: 0,
        next_at: 0,
        last_success_at: p('now'),
        parked_run: p('parkedRun'),
        missed: eb('missed', '+', p('missed')),
      }))
      .where('id', '=', p('id'))
      .where('version', '=', p('version')),
);
const fail = query<{ id: number; version: number; attempts: number; nextAt: number; error: string; now: number }>()('fail', (db, p) =>
  db
    .updateTable('audit_sink')
    .set({ attempts: p('attempts'), next_at: p('nextAt'), last_error: p('error'), last_error_at: p('now') })
    .where('id', '=', p('id'))
    .where('version', '=', p('version')),
);
const park = query<{ id: number; seq: number; reason: string; now: number }>()('park', (db, p) =>
  db
    .insertInto('audit_sink_parked')
    .values({ sink_id: p('id'), seq: p('seq'), reason: p('reason'), at: p('now') })
    .onConflict((conflict) => conflict.columns(['sink_id', 'seq']).doNothing()),
);
const countParked = query()('countParked', (db) =>
  db
    .selectFrom('audit_sink_parked')
    .select((eb) => ['sink_id as id', eb.fn.countAll<number>().as('parked')])
    .groupBy('sink_id'),
);
const parkedAfter = query<{ id: number; after: number; limit: number }>()('parkedAfter', (db, p) =>
  db
    .selectFrom('audit_sink_parked')
    .select(['seq', 'reason', 'at'])
    .where('sink_id', '=', p('id'))
    .where('seq', '>', p('after'))
    .orderBy('seq')
    .limit(p('limit')),
);

export {
  advance,
  allSinks,
  changeSink,
  deleteParked,
  deleteSinkRow,
  dueSinks,
  fail,
  insertSink,
  park,
  parkedAfter,
  setSecrets,
  sinkByName,
};

type Stored = Omit<SinkRow, 'target' | 'enabled'> & { readonly target: string; readonly enabled: number };

export function rowOf(stored: Stored): SinkRow {
  return { ...stored, target: JSON.parse(stored.target) as Target, enabled: stored.enabled === 1 };
}

/** Number of the newest audit record; 0 where there is none. */
export async function newestSeq(session: Session): Promise<number> {
  return (await session.first(newestRecord, {}))?.seq ?? 0;
}

/**
 * Number of the oldest audit record that an enabled sink has not had yet: retention drops it, and those after it, not
 * before that sink has. undefined where no sink is enabled.
 */
export async function oldestUnsent(session: Session): Promise<number | undefined> {
  const row = await session.first(lowestPosition, {});
  return row && row.position + 1;
}

const READ_AT_ONCE = 25;

/** The records after a position, in order: at most so many, and of so many characters unless one alone has more. */
export async function recordsAfter(session: Session, position: number, most: number, mostCharacters: number): Promise<AuditLine[]> {
  const records: AuditLine[] = [];
  let characters = 0;
  for (let last = position; records.length < most; ) {
    const limit = Math.min(READ_AT_ONCE, most - records.length);
    const rows = await session.all(recordsBeyond, { position: last, limit });
    for (const row of rows) {
      characters += row.body.length;
      if (records.length > 0 && characters > mostCharacters) return records;
      records.push(row);
      last = row.seq;
    }
    if (rows.length < limit) return records;
  }
  return records;
}

/** How many records each sink has parked. */
export async function parkedCounts(session: Session): Promise<ReadonlyMap<number, number>> {
  return new Map((await session.all(countParked, {})).map(({ id, parked }) => [id, parked]));
}
