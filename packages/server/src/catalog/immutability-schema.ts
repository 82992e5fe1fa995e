import type { Generated } from 'kysely';
import type { Migration } from '../platform/index.ts';

export interface ImmutabilityTables {
  /** What says which tags may neither move nor go once they exist. */
  immutability_rule: {
    id: Generated<number>;
    /** null: of the system. */
    project_id: number | null;
    name: string;
    description: string;
    /** JSON of a TagSelector. */
    selector: string;
    enabled: number;
    created_at: number;
    created_by: string;
    version: number;
  };
  /** One row once there was a rule: a text that is new with every change of any rule. */
  immutability_state: { id: number; version: string };
}

export const immutabilityMigration: Migration = {
  name: '0005-immutability',
  up: ({ db }) => [
    db.schema
      .createTable('immutability_rule')
      .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
      .addColumn('project_id', 'integer')
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('description', 'text', (c) => c.notNull())
      .addColumn('selector', 'text', (c) => c.notNull())
      .addColumn('enabled', 'integer', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('version', 'integer', (c) => c.notNull()),
    db.schema.createIndex('immutability_rule_project').on('immutability_rule').columns(['project_id', 'name']),
    db.schema
      .createTable('immutability_state')
      .addColumn('id', 'integer', (c) => c.primaryKey())
      .addColumn('version', 'text', (c) => c.notNull()),
  ],
};
