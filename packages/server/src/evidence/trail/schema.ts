import type { AuditTables, Migration } from '../../platform/index.ts';

export interface TrailTables extends AuditTables {
  /** What the chain was at a time, signed with a key outside the database. Never deleted. */
  audit_checkpoint: { seq: number; at: number; body: string; signature: string };
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
];
