// The room's other face: what commands beside a server do to databases. No server loads it.
export { postgresProblems, raiseSequence } from './database/postgres-health.ts';
export {
  fillPostgres,
  type Guard,
  guardPostgres,
  postgresToSqlite,
  requireEmptyPostgres,
  type TransferOptions,
} from './database/transfer/index.ts';
