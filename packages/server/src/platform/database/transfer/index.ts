export { type Guard, guardPostgres } from './guard.ts';
export {
  differencesBetween,
  fillPostgres,
  postgresToSqlite,
  requireEmptyPostgres,
  sqliteToPostgres,
  type TransferOptions,
} from './transfer.ts';
