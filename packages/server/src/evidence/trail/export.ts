import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import canonicalize from 'canonicalize';
import { auditHead, type Session } from '../../platform/index.ts';
import { allCheckpoints, type SignedCheckpoint } from './checkpoints.ts';
import { type RecordRow, recordsInOrder } from './records.ts';
import type { Trail } from './trail.ts';

/** First line of an export. */
interface Heading {
  readonly trail: { readonly from: number; readonly to: number };
}

type Line = Heading | { readonly checkpoint: SignedCheckpoint['checkpoint']; readonly signature: string } | ExportedRecord;

/** A record with the hash by which the next one names it. */
interface ExportedRecord {
  readonly record: Record<string, unknown>;
  readonly hash: string;
}

/** Records from one number to another as lines of JSON, after what is needed to verify them elsewhere. */
export async function* exportLines(session: Session, range: { readonly from: number; readonly to: number }): AsyncGenerator<string> {
  const end = (await auditHead(session))?.seq ?? 0;
  const to = Math.min(range.to, end);
  let from = range.from;
  for await (const { seq } of recordsInOrder(session, range.from, to)) {
    from = seq; // retention may have given up the first ones
    break;
  }
  yield line({ trail: { from, to } });
  for await (const signed of allCheckpoints(session))
    if (signed.checkpoint.seq >= from - 1 && signed.checkpoint.seq <= to) yield line(signed);
  for await (const { body, hash } of recordsInOrder(session, from, to)) yield `{"record":${body},"hash":"${hash}"}\n`;
}

function line(value: Line): string {
  return `${JSON.stringify(value)}\n`;
}

/** Reads an export for verification. Throws for a file that is none. */
export async function openExport(path: string): Promise<Trail> {
  const lines = createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  const first = parse((await lines.next()).value);
  if (first === undefined || !('trail' in first)) throw new Error(`${path} is no export of an audit trail`);
  const checkpoints: SignedCheckpoint[] = [];
  let waiting: ExportedRecord | undefined;
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    const found = parse(next.value);
    if (found !== undefined && 'checkpoint' in found) {
      checkpoints.push(found);
      continue;
    }
    if (found !== undefined && 'record' in found) waiting = found;
    else throw new Error(`${path} has a line that is no part of an export`);
    break;
  }
  async function* records(): AsyncGenerator<RecordRow> {
    for (let current = waiting; current !== undefined; ) {
      yield rowOf(current);
      const next = await lines.next();
      const found = next.done ? undefined : parse(next.value);
      if (found !== undefined && !('record' in found)) throw new Error(`${path} has a line that is no record`);
      current = found;
    }
  }
  const { from, to } = first.trail;
  return { records: records(), head: undefined, checkpoints, first: from, last: to, isWhole: false };
}

function parse(text: string | undefined): Line | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as Line);
}

/** The row that a record was, from its own text: an export has no columns beside it. */
function rowOf({ record, hash }: ExportedRecord): RecordRow {
  const { seq, at, actor, action, outcome, resource } = record as {
    seq: number;
    at: string;
    actor: { kind: string; name: string };
    action: string;
    outcome: string;
    resource: { project?: string; repository?: string };
  };
  const { project = null, repository = null } = resource;
  const body = canonicalize(record) ?? '';
  return { seq, at: Date.parse(at), actor: `${actor.kind}:${actor.name}`, action, outcome, project, repository, body, hash };
}
