import type { Generated } from 'kysely';
import type { Migration } from '../../platform/index.ts';
import type { SinkKind } from './targets.ts';

export interface ForwardingTables {
  audit_sink: {
    id: Generated<number>;
    name: string;
    kind: SinkKind;
    /** JSON. */
    target: string;
    /** Sealed JSON; null: none. */
    secrets: string | null;
    enabled: number;
    /** Number of the last record that the sink has acknowledged, or that was parked for it. */
    position: number;
    /** Deliveries that failed since one went well. */
    attempts: number;
    next_at: number;
    last_error: string | null;
    last_error_at: number | null;
    last_success_at: number | null;
    /** Records parked since the sink last accepted one. */
    parked_run: number;
    /** Records that were gone before the sink, then disabled, could have them. */
    missed: number;
    created_at: number;
    created_by: string;
    /** Rises with every change of what somebody set. */
    version: number;
  };
  /** Records that a sink will not take, whatever is tried. */
  audit_sink_parked: { sink_id: number; seq: number; reason: string; at: number };
  audit_record: { seq: number; at: number; body: string; hash: string };
  audit_head: { id: number; seq: number };
}

export const forwardingMigrations: readonly Migration[] = [
  {
    name: '0001-audit-sinks',
    up: ({ db }) => [
      db.schema
        .createTable('audit_sink')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull().unique())
        .addColumn('kind', 'text', (c) => c.notNull())
        .addColumn('target', 'text', (c) => c.notNull())
        .addColumn('secrets', 'text')
        .addColumn('enabled', 'integer', (c) => c.notNull())
        .addColumn('position', 'bigint', (c) => c.notNull())
        .addColumn('attempts', 'integer', (c) => c.notNull())
        .addColumn('next_at', 'bigint', (c) => c.notNull())
        .addColumn('last_error', 'text')
        .addColumn('last_error_at', 'bigint')
        .addColumn('last_success_at', 'bigint')
        .addColumn('parked_run', 'integer', (c) => c.notNull())
        .addColumn('missed', 'bigint', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull()),
      db.schema
        .createTable('audit_sink_parked')
        .addColumn('sink_id', 'integer', (c) => c.notNull().references('audit_sink.id'))
        .addColumn('seq', 'bigint', (c) => c.notNull())
        .addColumn('reason', 'text', (c) => c.notNull())
        .addColumn('at', 'bigint', (c) => c.notNull())
        .addPrimaryKeyConstraint('audit_sink_parked_key', ['sink_id', 'seq']),
    ],
  },
];
