import type { KeyObject } from 'node:crypto';
import canonicalize from 'canonicalize';
import { AUDIT_GENESIS } from '../../platform/index.ts';
import { checkpointHash, isSignedBy, type SignedCheckpoint } from './checkpoints.ts';
import type { RecordRow } from './records.ts';
import { followChain, type Link, type Problem } from './verify.ts';

/** A trail as it is found, in a database or in an export. */
export interface Trail {
  readonly records: AsyncIterable<RecordRow>;
  /** What the database says is its end; undefined in an export. */
  readonly head: Link | undefined;
  /** In order, from every place where they are kept. */
  readonly checkpoints: readonly SignedCheckpoint[];
  /** Number of the first record that is expected; what came before was given up by retention or is not part of the export. */
  readonly first: number;
  /** Number of the last record that is promised; undefined where that is not said. */
  readonly last?: number;
  /** Records before the first may be missing only where a record of retention says so. */
  readonly isWhole: boolean;
}

export interface Verified {
  /** Number of the last record. */
  readonly seq: number;
  readonly records: number;
  readonly checkpoints: number;
}

/** Verifies a whole trail: every signature, every checkpoint, every record. Gives what is first wrong. */
export async function verifyTrail(trail: Trail, publicKey: KeyObject): Promise<Verified | Problem> {
  const signed = orderedCheckpoints(trail.checkpoints, publicKey);
  if ('problem' in signed) return signed;
  const { hashes } = signed;
  const start = startOf(trail.first, hashes);
  if ('problem' in start) return start;
  let records = 0;
  let dropped = 0;
  const end = await followChain(trail.records, start, (record) => {
    records++;
    dropped = Math.max(dropped, droppedBy(record));
    const expected = hashes.get(record.seq);
    if (expected === undefined || expected === record.hash) return undefined;
    return { seq: record.seq, problem: 'is not the record that was signed: the chain was written anew' };
  });
  if ('problem' in end) return end;
  const last = Math.max(end.seq, ...(trail.isWhole ? hashes.keys() : []));
  if (last > end.seq) return { seq: end.seq + 1, problem: `is missing; record ${last} was signed, so the end was cut off` };
  if (trail.last !== undefined && end.seq < trail.last) return { seq: end.seq + 1, problem: 'is missing at the end' };
  if (trail.head && (trail.head.seq !== end.seq || trail.head.hash !== end.hash)) {
    const seq = Math.min(trail.head.seq, end.seq) + 1;
    return { seq, problem: `the end of the chain is said to be record ${trail.head.seq}, and is record ${end.seq}` };
  }
  if (trail.isWhole && start.seq > dropped) {
    return { seq: dropped + 1, problem: `is missing; no record tells that retention gave up those before ${trail.first}` };
  }
  return { seq: end.seq, records, checkpoints: hashes.size };
}

/** Hashes that were signed, by number. */
function orderedCheckpoints(checkpoints: readonly SignedCheckpoint[], publicKey: KeyObject): { hashes: Map<number, string> } | Problem {
  const hashes = new Map<number, string>();
  const bodies = new Map<number, string>();
  for (const signed of checkpoints) {
    const { checkpoint } = signed;
    const { seq } = checkpoint;
    if (!isSignedBy(publicKey, signed)) return { seq, problem: 'has a checkpoint whose signature is wrong' };
    const body = canonicalize(checkpoint) ?? '';
    if ((bodies.get(seq) ?? body) !== body) return { seq, problem: 'has two checkpoints that differ' };
    bodies.set(seq, body);
    hashes.set(seq, checkpoint.hash);
  }
  let previous: string | undefined;
  for (const [seq, body] of [...bodies].sort(([a], [b]) => a - b)) {
    const said = (JSON.parse(body) as { previous: string }).previous;
    const expected = previous === undefined ? said : checkpointHash(previous);
    if (said !== expected) return { seq, problem: 'has a checkpoint that does not follow the one before: one is missing' };
    previous = body;
  }
  return { hashes };
}

/** The trusted place before the first record. */
function startOf(first: number, hashes: ReadonlyMap<number, string>): Link | Problem {
  if (first <= 1) return { seq: 0, hash: AUDIT_GENESIS };
  const hash = hashes.get(first - 1);
  if (hash === undefined) return { seq: 1, problem: `is missing; the trail begins with record ${first}, where none was signed` };
  return { seq: first - 1, hash };
}

/** The last record that retention gave up, where a record tells of that. */
function droppedBy({ action, body }: RecordRow): number {
  if (action !== 'audit.retention') return 0;
  const { after } = JSON.parse(body) as { after?: { to?: unknown } };
  return typeof after?.to === 'number' ? after.to : 0;
}
