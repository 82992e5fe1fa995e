import type { Database, Migration } from './database.ts';
import { queriesOf } from './query.ts';

interface CounterTables {
  counter: { name: string; value: number };
}

export const counterMigrations: readonly Migration[] = [
  {
    name: 'test-counter',
    up: ({ db }) => [
      db.schema
        .createTable('counter')
        .addColumn('name', 'text', (c) => c.primaryKey())
        .addColumn('value', 'integer', (c) => c.notNull()),
    ],
  },
];

const query = queriesOf<CounterTables>('test');
export const counterValue = query<{ name: string }>()('value', (db, p) =>
  db.selectFrom('counter').select('value').where('name', '=', p('name')),
);
export const allCounters = query()('all', (db) => db.selectFrom('counter').selectAll().orderBy('name'));
export const insertCounter = query<{ name: string; value: number }>()('insert', (db, p) =>
  db.insertInto('counter').values({ name: p('name'), value: p('value') }),
);
const setCounter = query<{ name: string; value: number }>()('set', (db, p) =>
  db
    .updateTable('counter')
    .set({ value: p('value') })
    .where('name', '=', p('name')),
);

/** Reads and writes back one more, which loses counts where two transactions overlap. */
export async function increment(database: Database, name: string, durable: boolean): Promise<void> {
  await database.write(
    async (tx) => {
      const value = (await tx.first(counterValue, { name }))?.value ?? 0;
      await tx.run(setCounter, { name, value: value + 1 });
    },
    { durable },
  );
}
