import { createPublicKey } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { openDatabase } from './app.ts';
import {
  allCheckpoints,
  exportLines,
  firstRecordOf,
  openExport,
  readAuditKeys,
  readCheckpointFile,
  recordsInOrder,
  type Trail,
  verifyTrail,
} from './evidence/index.ts';
import { auditHead, type Config, type Database, dataPaths, isOnPostgres } from './platform/index.ts';

/** Verifies the audit trail of a data directory, beside a running server too, and tells what came of it in one line; throws with the first bad record. */
export async function verifyAudit(config: Config): Promise<string> {
  const { keys, checkpoints } = dataPaths(config);
  return await withDatabase(config, async (database) => {
    // In this order: what is recorded meanwhile is no part of what is looked at.
    const outside = readCheckpointFile(checkpoints);
    const signed = [];
    for await (const checkpoint of allCheckpoints(database)) signed.push(checkpoint);
    const head = (await auditHead(database)) ?? { seq: 0, hash: '' };
    const inside = signed.filter(({ checkpoint }) => checkpoint.seq <= head.seq);
    const first = (await firstRecordOf(database)) ?? 1;
    const trail: Trail = {
      records: recordsInOrder(database, first, head.seq),
      head: head.seq === 0 ? undefined : head,
      checkpoints: [...inside, ...outside],
      first,
      isWhole: true,
    };
    return await report(trail, readAuditKeys(keys).publicKey);
  });
}

/** Verifies an export with a public key in PEM, which needs neither the server nor its data. */
export async function verifyAuditExport(file: string, publicKeyFile: string): Promise<string> {
  return await report(await openExport(file), createPublicKey(readFileSync(publicKeyFile)));
}

/** The public key of a data directory, in PEM. */
export function auditPublicKey(config: Config): string {
  return readAuditKeys(dataPaths(config).keys).publicKey.export({ type: 'spki', format: 'pem' }).toString();
}

/** Writes audit records as lines of JSON, with what verifies them elsewhere. */
export async function exportAudit(
  config: Config,
  range: { from: number; to: number },
  write: (line: string) => Promise<void>,
): Promise<void> {
  await withDatabase(config, async (database) => {
    for await (const line of exportLines(database, range)) await write(line);
  });
}

async function report(trail: Trail, publicKey: Parameters<typeof verifyTrail>[1]): Promise<string> {
  const found = await verifyTrail(trail, publicKey);
  if ('problem' in found) throw new Error(`audit record ${found.seq} ${found.problem}`);
  return `${found.records} records up to number ${found.seq} and ${found.checkpoints} checkpoints are as they were written`;
}

async function withDatabase<T>(config: Config, work: (database: Database) => Promise<T>): Promise<T> {
  const { root, database: path } = dataPaths(config);
  if (!isOnPostgres(config) && !existsSync(path)) throw new Error(`there is no registry in ${root}`);
  const database = await openDatabase(config, { checkpoint: false });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}
