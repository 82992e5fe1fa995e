// The room's other face: what commands beside a server do to databases. No server loads it.
export {
  differencesBetween,
  fillPostgres,
  postgresToSqlite,
  requireEmptyPostgres,
  type TransferOptions,
} from './database/transfer/index.ts';
