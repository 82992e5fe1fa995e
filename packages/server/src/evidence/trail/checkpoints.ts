import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import canonicalize from 'canonicalize';
import {
  AUDIT_GENESIS,
  auditHead,
  type Clock,
  type Database,
  type JobDefinition,
  type Log,
  queriesOf,
  type Session,
} from '../../platform/index.ts';
import { recordsInOrder } from './records.ts';
import type { TrailTables } from './schema.ts';
import { followChain } from './verify.ts';

const query = queriesOf<TrailTables>('evidence');
const newest = query()('newestCheckpoint', (db) =>
  db.selectFrom('audit_checkpoint').select(['seq', 'at', 'body', 'signature']).orderBy('seq', 'desc').limit(1),
);
const insertCheckpoint = query<{ seq: number; at: number; body: string; signature: string }>()('insertCheckpoint', (db, p) =>
  db
    .insertInto('audit_checkpoint')
    .values({ seq: p('seq'), at: p('at'), body: p('body'), signature: p('signature') })
    .onConflict((conflict) => conflict.column('seq').doNothing()),
);
const checkpointsAfter = query<{ after: number; limit: number }>()('checkpointsAfter', (db, p) =>
  db
    .selectFrom('audit_checkpoint')
    .select(['seq', 'at', 'body', 'signature'])
    .where('seq', '>', p('after'))
    .orderBy('seq')
    .limit(p('limit')),
);
const newestBefore = query<{ at: number; seq: number }>()('newestCheckpointBefore', (db, p) =>
  db
    .selectFrom('audit_checkpoint')
    .select(['seq', 'at', 'body', 'signature'])
    .where('at', '<', p('at'))
    .where('seq', '<=', p('seq'))
    .orderBy('seq', 'desc')
    .limit(1),
);

/** What the chain was at a time, as it is signed. */
export interface Checkpoint {
  readonly seq: number;
  readonly hash: string;
  readonly at: string;
  /** SHA-256 of the checkpoint before, in hex; zeros for the first. */
  readonly previous: string;
}

export interface SignedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Ed25519 over the checkpoint in canonical JSON, base64. */
  readonly signature: string;
}

export interface CheckpointRow {
  readonly seq: number;
  readonly at: number;
  readonly body: string;
  readonly signature: string;
}

/** The hash by which a checkpoint names the one before it. */
export function checkpointHash(body: string): string {
  return createHash('sha256').update(body).digest('hex');
}

export function isSignedBy(publicKey: KeyObject, { checkpoint, signature }: SignedCheckpoint): boolean {
  return verify(null, Buffer.from(canonicalize(checkpoint) ?? ''), publicKey, Buffer.from(signature, 'base64'));
}

export function toSigned({ body, signature }: CheckpointRow): SignedCheckpoint {
  return { checkpoint: JSON.parse(body) as Checkpoint, signature };
}

/** Checkpoints after one, by number. */
export async function pageOfCheckpoints(session: Session, after: number, limit: number): Promise<CheckpointRow[]> {
  return await session.all(checkpointsAfter, { after, limit });
}

const CHUNK = 1000;

export async function* allCheckpoints(session: Session): AsyncGenerator<SignedCheckpoint> {
  for (let after = 0; ; ) {
    const rows = await pageOfCheckpoints(session, after, CHUNK);
    for (const row of rows) yield toSigned(row);
    const last = rows.at(-1);
    if (last === undefined || rows.length < CHUNK) return;
    after = last.seq;
  }
}

/** The last checkpoint signed before a time, of a record up to a number. */
export async function checkpointBefore(session: Session, at: number, seq: number): Promise<CheckpointRow | undefined> {
  return await session.first(newestBefore, { at, seq });
}

/** Checkpoints kept outside the database, a line each. A last line that a crash cut off counts for nothing. */
export function readCheckpointFile(path: string): SignedCheckpoint[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as SignedCheckpoint);
}

function appendDurably(path: string, line: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fd = openSync(path, 'a', 0o600);
  try {
    writeSync(fd, `${line}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const EVERY_MS = 60_000;
const EVERY_RECORDS = 1000;

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly key: KeyObject;
  /** Where checkpoints are kept outside the database. */
  readonly file: string;
}

/**
 * Signs the end of the chain every minute in which something was recorded, or every 1,000 records. What is new since the last
 * checkpoint is verified first: nothing is signed that was tampered with before.
 */
export function checkpointJob({ database, clock, log, key, file }: Parts): JobDefinition {
  return {
    kind: 'audit.checkpoint',
    schedule: { everyMs: 0 },
    maxAttempts: Number.POSITIVE_INFINITY,
    async ready() {
      const [end, last] = [await auditHead(database), await database.first(newest, {})];
      const open = (end?.seq ?? 0) - (last?.seq ?? 0);
      return open >= EVERY_RECORDS || (open > 0 && clock.now() - (last?.at ?? 0) >= EVERY_MS);
    },
    async run(_, { hold }) {
      const [end, last] = [await auditHead(database), await database.first(newest, {})];
      if (!end) return { seq: 0 };
      const before = last ? { seq: last.seq, hash: toSigned(last).checkpoint.hash } : { seq: 0, hash: AUDIT_GENESIS };
      const found = await followChain(recordsInOrder(database, before.seq + 1, end.seq), before);
      if ('problem' in found) {
        log.error({ seq: found.seq, problem: found.problem }, 'the audit trail was changed; it is not signed any more');
        throw new Error(`audit record ${found.seq}: ${found.problem}`);
      }
      const at = clock.now();
      const previous = last ? checkpointHash(last.body) : AUDIT_GENESIS;
      const checkpoint: Checkpoint = { seq: found.seq, hash: found.hash, at: new Date(at).toISOString(), previous };
      const body = canonicalize(checkpoint) ?? '';
      const signature = sign(null, Buffer.from(body), key).toString('base64');
      await database.write(
        async (tx) => {
          await hold(tx);
          await tx.run(insertCheckpoint, { seq: checkpoint.seq, at, body, signature });
        },
        { scope: ['audit-checkpoints'] },
      );
      // After the database: what is in the file alone would look like a database that was set back.
      appendDurably(file, JSON.stringify({ checkpoint, signature }));
      return { seq: checkpoint.seq };
    },
  };
}
