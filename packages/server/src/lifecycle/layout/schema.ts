import type { Migration } from '../../platform/index.ts';

export interface LayoutTables {
  /** One row: how far the files of what was there before they were kept have been written. */
  layout_fill: { id: number; cursor: string; done_at: number | null };
}

export const layoutMigrations: readonly Migration[] = [
  {
    name: '0001-layout',
    up: ({ db }) => [
      db.schema
        .createTable('layout_fill')
        .addColumn('id', 'integer', (c) => c.primaryKey())
        .addColumn('cursor', 'text', (c) => c.notNull())
        .addColumn('done_at', 'bigint'),
    ],
  },
];
