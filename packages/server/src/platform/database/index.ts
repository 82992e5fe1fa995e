export type { Database, MaybePromise, Migration, MigrationContext, Session, WriteOptions } from './database.ts';
export { QUERIES, type Query, queriesOf, type Value } from './query.ts';
export { openSqlite, sqliteCompiler } from './sqlite.ts';
