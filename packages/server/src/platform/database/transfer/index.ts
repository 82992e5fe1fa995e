export {
  differencesBetween,
  fillPostgres,
  postgresToSqlite,
  requireEmptyPostgres,
  sqliteToPostgres,
  type TransferOptions,
} from './transfer.ts';
