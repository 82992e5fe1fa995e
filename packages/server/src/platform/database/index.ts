export {
  andThen,
  type Database,
  type MaybePromise,
  type Migration,
  type MigrationContext,
  type Session,
  type WriteOptions,
} from './database.ts';
export { AFTER_ALL, BEFORE_ALL, beyond, containing, holdsText, type Order, sortOf, upTo } from './lists.ts';
export { openPostgres } from './open-postgres.ts';
export { QUERIES, type Query, queriesOf, sqliteCompiler, type Value } from './query.ts';
export { openSqlite } from './sqlite.ts';
export { copySqlite, sqliteProblems } from './sqlite-file.ts';
