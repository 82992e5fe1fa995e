import type { Generated } from 'kysely';
import type { AuditTables, Migration } from '../../platform/index.ts';

export interface TrailTables extends AuditTables {
  /** What the chain was at a time, signed with a key outside the database. Never deleted. */
  audit_checkpoint: { seq: number; at: number; body: string; signature: string };
  /** Legal holds; released ones are kept. */
  audit_hold: {
    id: Generated<number>;
    name: string;
    reason: string;
    placed_at: number;
    placed_by: string;
    /** null: it is in force. */
    released_at: number | null;
    released_by: string | null;
  };
}

export const trailMigrations: readonly Migration[] = [
  {
    name: '0002-audit-trail',
    up: ({ db }) => [
      db.schema.createIndex('audit_record_time').on('audit_record').columns(['at', 'seq']),
      db.schema
        .createTable('audit_checkpoint')
        .addColumn('seq', 'bigint', (c) => c.primaryKey())
        .addColumn('at', 'bigint', (c) => c.notNull())
        .addColumn('body', 'text', (c) => c.notNull())
        .addColumn('signature', 'text', (c) => c.notNull()),
    ],
  },
  {
    name: '0003-audit-holds',
    up: ({ db }) => [
      db.schema
        .createTable('audit_hold')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('reason', 'text', (c) => c.notNull())
        .addColumn('placed_at', 'bigint', (c) => c.notNull())
        .addColumn('placed_by', 'text', (c) => c.notNull())
        .addColumn('released_at', 'bigint')
        .addColumn('released_by', 'text'),
      db.schema.createIndex('audit_hold_name').on('audit_hold').columns(['name', 'released_at']),
    ],
  },
];
