import fc from 'fast-check';
import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { BEFORE_ALL, beyond, containing, holdsText, type Order } from './lists.ts';
import { queriesOf } from './query.ts';
import { sqliteData } from './testing.ts';

const query = queriesOf<{ thing: { id: number; name: string; at: number } }>('lists-test');
const insert = query<{ id: number; name: string; at: number }>()('insert', (db, p) =>
  db.insertInto('thing').values({ id: p('id'), name: p('name'), at: p('at') }),
);
const clear = query()('clear', (db) => db.deleteFrom('thing'));
const page = (order: Order) =>
  query<{ at: number; id: number; limit: number }>()(`page ${order}`, (db, p) =>
    db
      .selectFrom('thing')
      .select(['id', 'at'])
      .where(beyond(sql.ref('at'), sql.ref('id'), order, p('at'), p('id')))
      .orderBy('at', order)
      .orderBy('id', order)
      .limit(p('limit')),
  );
const pages = { asc: page('asc'), desc: page('desc') };
const search = query<{ pattern: string }>()('search', (db, p) =>
  db
    .selectFrom('thing')
    .select('name')
    .where(holdsText(sql.ref('name'), p('pattern'))),
);
const store = sqliteData([
  {
    name: '0001-thing',
    up: ({ db }) => [
      db.schema
        .createTable('thing')
        .addColumn('id', 'integer', (c) => c.primaryKey())
        .addColumn('name', 'text')
        .addColumn('at', 'bigint'),
    ],
  },
]);

it('pages give every row once, in order, however many are equal', async () => {
  const database = await store.open();
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 20 }), fc.integer({ min: 1, max: 5 }), async (times, limit) => {
      await database.write(async (tx) => {
        await tx.run(clear, {});
        for (const [index, at] of times.entries()) await tx.run(insert, { id: index + 1, name: '', at });
      });
      for (const order of ['asc', 'desc'] as const) {
        const seen: { id: number; at: number }[] = [];
        for (let last = { at: BEFORE_ALL[order].number, id: BEFORE_ALL[order].number }; ; ) {
          const rows = await database.all(pages[order], { ...last, limit });
          seen.push(...rows);
          const end = rows.at(-1);
          if (!end) break;
          last = end;
        }
        const expected = times.map((at, index) => ({ id: index + 1, at })).sort((a, b) => a.at - b.at || a.id - b.id);
        expect(seen.map((row) => ({ ...row }))).toEqual(order === 'asc' ? expected : expected.reverse());
      }
    }),
    { numRuns: 50 },
  );
});

it('a text is found where it stands, wildcards of LIKE meaning themselves (attack class C4)', async () => {
  const database = await store.open();
  const names = ['100%', '100x', 'a_b', 'axb', 'back\\slash', 'UPPER', "o'clock"];
  await database.write(async (tx) => {
    await tx.run(clear, {});
    for (const [index, name] of names.entries()) await tx.run(insert, { id: index, name, at: 0 });
  });
  const found = async (text: string) => (await database.all(search, { pattern: containing(text) })).map(({ name }) => name);
  expect(await found('0%')).toEqual(['100%']);
  expect(await found('_')).toEqual(['a_b']);
  expect(await found('\\')).toEqual(['back\\slash']);
  expect(await found('upp')).toEqual(['UPPER']);
  expect(await found("'")).toEqual(["o'clock"]);
  expect(await found('')).toEqual(names);
  await store.remove();
});
