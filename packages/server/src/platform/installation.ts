import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { newId } from './clock.ts';
import { type Database, type Migration, queriesOf, type Session } from './database/index.ts';
import { createFileOnce } from './secrets.ts';

interface InstallationTables {
  /** What all instances on one database have in common. */
  installation: { name: string; value: string };
}

export const installationMigrations: readonly Migration[] = [
  {
    name: '0001-installation',
    up: ({ db }) => [
      db.schema
        .createTable('installation')
        .addColumn('name', 'text', (c) => c.primaryKey())
        .addColumn('value', 'text', (c) => c.notNull()),
    ],
  },
];

const query = queriesOf<InstallationTables>('installation');
const settle = query<{ name: string; value: string }>()('settle', (db, p) =>
  db
    .insertInto('installation')
    .values({ name: p('name'), value: p('value') })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);
const find = query<{ name: string }>()('find', (db, p) => db.selectFrom('installation').select('value').where('name', '=', p('name')));

const forget = query<{ name: string }>()('forget', (db, p) => db.deleteFrom('installation').where('name', '=', p('name')));

/** What an instance has that must be the same in all, by name, with what to say where it is not. */
export interface Shared {
  readonly name: string;
  readonly value: string;
  readonly refusal: string;
}

/** Keeps out an instance that has other keys or other blobs than those that were here before; the first one says which. */
export async function requireShared(database: Database, all: readonly Shared[]): Promise<void> {
  for (const { name, value, refusal } of all) {
    const known = await sharedValue(database, name);
    if (known === value) continue;
    if (known === undefined) await database.write((tx) => settleShared(tx, { name, value }));
    if ((await sharedValue(database, name)) !== value) throw new Error(refusal);
  }
}

/** The value that all instances have for a name: what was there before, else the one that is proposed first. */
export async function agreedOn(database: Database, name: string, proposed: string): Promise<string> {
  const known = await sharedValue(database, name);
  if (known !== undefined) return known;
  await database.write((tx) => settleShared(tx, { name, value: proposed }));
  return (await sharedValue(database, name)) ?? proposed;
}

/** Says for all instances what this is, unless that was said before. */
export async function settleShared(tx: Session, { name, value }: Pick<Shared, 'name' | 'value'>): Promise<void> {
  await tx.run(settle, { name, value });
}

/** What all instances have in common under a name; undefined where nobody has said so yet. */
export async function sharedValue(session: Session, name: string): Promise<string | undefined> {
  return (await session.first(find, { name }))?.value;
}

/** The next instance that starts says anew what this is. */
export async function forgetShared(tx: Session, name: string): Promise<void> {
  await tx.run(forget, { name });
}

/** Name under which a database says that it was moved, and is used no more. */
export const MOVED = 'moved';

/** Throws where the database was moved to another. */
export async function requireUnmoved(session: Session): Promise<void> {
  const where = await sharedValue(session, MOVED);
  if (where !== undefined) throw new Error(`this database was moved to ${where}, and is used no more`);
}

/** The mark of a folder, made where it has none, by which instances find out whether they see the same folder. */
export function folderMark(folder: string): string {
  const path = join(folder, '.entrepot');
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    createFileOnce(path, Buffer.from(newId()));
  }
  return readFileSync(path, 'utf8');
}
