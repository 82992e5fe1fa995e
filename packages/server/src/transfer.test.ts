import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrations } from './app.ts';
import { newDatabase, sharedCluster } from './platform/database/testing-postgres.ts';
import { postgresToSqlite, sqliteToPostgres } from './platform/database/transfer/transfer.ts';
import { openPostgres, openSqlite } from './platform/index.ts';

type Made = Awaited<ReturnType<typeof newDatabase>>;
let cluster: Awaited<ReturnType<typeof sharedCluster>>;
let [own, copied]: Made[] = [];
const folder = mkdtempSync(join(tmpdir(), 'entrepot-transfer-'));
const options = { signal: new AbortController().signal, progress: () => undefined };

beforeAll(async () => {
  cluster = await sharedCluster();
  [own, copied] = [await newDatabase(cluster), await newDatabase(cluster)];
});
afterAll(async () => {
  await own?.drop();
  await copied?.drop();
  rmSync(folder, { recursive: true, force: true });
});

test('a copied database has every table, index and key that the migrations of its own kind make', { timeout: 60_000 }, async () => {
  const [file, back] = [join(folder, 'a.db'), join(folder, 'b.db')];
  for (const database of [openSqlite(file, { checkpoint: true }), await openPostgres(own?.url ?? '')]) {
    await database.migrate(migrations);
    await database.close();
  }
  await sqliteToPostgres(file, copied?.url ?? '', migrations, options);
  const shape = (made: Made | undefined) =>
    cluster.sql(
      `SELECT format('%s %s', indexname, indexdef) AS made FROM pg_indexes WHERE schemaname = 'public'
       UNION ALL SELECT format('%s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
       UNION ALL SELECT format('%s %s %s %s %s', table_name, column_name, data_type, is_nullable, identity_generation)
         FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1`,
      made?.name,
    );
  expect(await shape(copied)).toEqual(await shape(own));
  await postgresToSqlite(copied?.url ?? '', back, migrations, options);
  const objects = (path: string) => {
    const raw = new DatabaseSync(path, { readOnly: true });
    const made = raw.prepare("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name").all();
    raw.close();
    return made;
  };
  expect(objects(back)).toEqual(objects(file));
});
