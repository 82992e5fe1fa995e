import { expect, test } from 'vitest';
import { compilePostgres } from './postgres-compiler.ts';
import { invalidationOf, isKept, TableRows } from './postgres-rows.ts';
import { queriesOf } from './query.ts';

interface Tables {
  user: { id: number; name: string };
  role_assignment: { id: number; subject_id: number };
  repository: { id: number; name: string };
  tag: { repository_id: number; name: string };
}
const query = queriesOf<Tables>('rows-test');
const userById = query<{ id: number }>()('user', (db, p) => db.selectFrom('user').select('name').where('id', '=', p('id')));
const repositoryByName = query<{ name: string }>()('repository', (db, p) =>
  db.selectFrom('repository').select(['id', 'name as called']).where('name', '=', p('name')).where('id', '=', 1),
);
const newest = query()('newest', (db) => db.selectFrom('repository').select('id').orderBy('id', 'desc').limit(1));
const howMany = query()('count', (db) => db.selectFrom('repository').select((eb) => eb.fn.countAll<number>().as('n')));
const beyond = query<{ id: number }>()('beyond', (db, p) => db.selectFrom('repository').select('id').where('id', '>', p('id')));
const tagged = query<{ name: string }>()('tagged', (db, p) =>
  db
    .selectFrom('tag')
    .innerJoin('repository', 'repository.id', 'tag.repository_id')
    .select('repository.id')
    .where('tag.name', '=', p('name')),
);
const insertUser = query<{ name: string }>()('insertUser', (db, p) => db.insertInto('user').values({ id: 1, name: p('name') }));
const insertRepository = query<{ name: string }>()('insertRepository', (db, p) =>
  db
    .insertInto('repository')
    .values({ id: 1, name: p('name') })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);
const upsertRepository = query<{ name: string }>()('upsertRepository', (db, p) =>
  db
    .insertInto('repository')
    .values({ id: 1, name: p('name') })
    .onConflict((conflict) => conflict.column('name').doUpdateSet((eb) => ({ name: eb.ref('excluded.name') }))),
);
const deleteOf = query()('deleteOf', (db) =>
  db.deleteFrom('tag').where('repository_id', 'in', (eb) => eb.selectFrom('repository').select('repository.id')),
);
const compiled = (of: unknown) => compilePostgres(of as never);

test('rows of rights and single rows by equality are kept, and nothing else', () => {
  expect([userById, repositoryByName].map((each) => isKept(compiled(each)))).toEqual([true, true]);
  expect([newest, howMany, beyond, tagged, insertUser].map((each) => isKept(compiled(each)))).toEqual([false, false, false, false, false]);
});

test('others are told of what makes their rows wrong, and of nothing else', () => {
  expect(invalidationOf(compiled(insertUser)).told).toBe('user');
  expect(invalidationOf(compiled(insertRepository)).told).toBeUndefined();
  expect(invalidationOf(compiled(upsertRepository)).told).toBe('repository');
  expect(invalidationOf(compiled(deleteOf)).told).toBeUndefined();
});

test('a row is read again after its table changed, and where news may be missing; one that is not there is not kept', async () => {
  let isCurrent = true;
  let reads = 0;
  let stored: { name: string } | undefined = { name: 'x' };
  const rows = new TableRows(compilePostgres, () => isCurrent);
  const read = async () => {
    await rows.first(userById, { id: 1 }, async () => {
      reads++;
      return stored;
    });
    return reads;
  };
  expect([await read(), await read()]).toEqual([1, 1]);
  rows.changed(['role']);
  expect(await read()).toBe(1);
  rows.changed(['user']);
  expect([await read(), await read()]).toEqual([2, 2]);
  isCurrent = false;
  expect([await read(), await read()]).toEqual([3, 4]);
  isCurrent = true;
  rows.clear();
  stored = undefined;
  expect([await read(), await read()]).toEqual([5, 6]);
});

test('what was read before a change that is heard of meanwhile is not kept', async () => {
  for (const news of ['changed', 'clear'] as const) {
    const rows = new TableRows(compilePostgres, () => true);
    const slow = rows.first(userById, { id: 1 }, async () => {
      await Promise.resolve();
      if (news === 'changed') rows.changed(['user']);
      else rows.clear();
      return { name: 'old' };
    });
    expect(await slow).toEqual({ name: 'old' });
    expect(await rows.first(userById, { id: 1 }, async () => ({ name: 'new' }))).toEqual({ name: 'new' });
  }
});
