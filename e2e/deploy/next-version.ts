// Loaded before the server by NODE_OPTIONS: the version after this one, which has more tables and columns (expand/contract).
import { migrations } from '../../packages/server/src/app.ts';

migrations.push(
  {
    name: '9001-next-columns',
    up: ({ db }) => [
      db.schema.alterTable('repository').addColumn('next_note', 'text', (c) => c.notNull().defaultTo('')),
      db.schema.alterTable('manifest').addColumn('next_score', 'integer'),
      db.schema.alterTable('upload_session').addColumn('next_hint', 'text'),
    ],
  },
  {
    name: '9002-next-table',
    up: ({ db }) => [
      db.schema
        .createTable('next_thing')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('name', 'text', (c) => c.notNull()),
      db.schema.createIndex('next_tag').on('tag').columns(['digest', 'name']),
    ],
  },
);
