import { auditHash } from '../../platform/index.ts';
import type { RecordRow } from './records.ts';

/** A place in the chain. */
export interface Link {
  readonly seq: number;
  readonly hash: string;
}

/** The first record that is not what it was, and how one can tell. */
export interface Problem {
  readonly seq: number;
  readonly problem: string;
}

interface Body {
  readonly seq?: unknown;
  readonly at?: unknown;
  readonly actor?: { readonly kind?: unknown; readonly name?: unknown };
  readonly action?: unknown;
  readonly outcome?: unknown;
  readonly resource?: { readonly project?: unknown; readonly repository?: unknown };
}

/**
 * Follows the chain record by record from a place that is trusted, and gives where it ends, or the first record that was
 * changed, removed, inserted or moved. `see` is shown every record that is sound.
 */
export async function followChain(
  records: AsyncIterable<RecordRow> | Iterable<RecordRow>,
  from: Link,
  see?: (record: RecordRow) => Problem | undefined,
): Promise<Link | Problem> {
  let { seq, hash } = from;
  for await (const record of records) {
    if (record.seq !== seq + 1) return { seq: seq + 1, problem: `is missing; record ${record.seq} comes after record ${seq}` };
    const wrong = contradiction(record);
    if (wrong !== undefined) return { seq: record.seq, problem: wrong };
    if (auditHash(hash, record.body) !== record.hash) {
      return { seq: record.seq, problem: 'does not fit the record before it: its text, its hash or the one before was changed' };
    }
    const seen = see?.(record);
    if (seen) return seen;
    ({ seq, hash } = record);
  }
  return { seq, hash };
}

/** What a record's columns say that its own text does not. */
function contradiction({ seq, at, actor, action, outcome, project, repository, body }: RecordRow): string | undefined {
  let text: Body;
  try {
    text = JSON.parse(body) as Body;
  } catch {
    return 'its text is no JSON';
  }
  const pairs: [string, unknown, unknown][] = [
    ['number', text.seq, seq],
    ['time', text.at, new Date(at).toISOString()],
    ['actor', `${text.actor?.kind}:${text.actor?.name}`, actor],
    ['action', text.action, action],
    ['outcome', text.outcome, outcome],
    ['project', text.resource?.project ?? null, project],
    ['repository', text.resource?.repository ?? null, repository],
  ];
  const differing = pairs.find(([, said, found]) => said !== found);
  return differing && `its ${differing[0]} was changed: the text says ${JSON.stringify(differing[1])}`;
}
