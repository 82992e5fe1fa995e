import canonicalize from 'canonicalize';
import { AUDIT_GENESIS, type AuditActor, auditHash, type Clock, type Outbound, OutboundError } from '../../platform/index.ts';
import { SinkError } from './sink.ts';
import { createSink } from './sinks.ts';
import type { SinkRow } from './store.ts';
import type { SinkSecrets } from './targets.ts';

/** How far a record of a test came. */
export interface ConnectionCheck {
  readonly ok: boolean;
  /** What was done, in order, and how long after the beginning. */
  readonly steps: readonly { readonly step: string; readonly milliseconds: number }[];
  readonly error: string | null;
}

/** Somebody waits for it. */
const CHECK_MS = 15_000;

/** Sends one record that no change has made, with the number 0, and tells each step. */
export async function checkSink(
  { outbound, clock }: { outbound: Outbound; clock: Clock },
  { name, target }: SinkRow,
  secrets: SinkSecrets,
  actor: AuditActor,
  now: number,
): Promise<ConnectionCheck> {
  const steps: { step: string; milliseconds: number }[] = [];
  const onStep = (step: string) => void steps.push({ step, milliseconds: Math.max(0, clock.now() - now) });
  const signal = AbortSignal.timeout(CHECK_MS);
  const resource = { type: 'audit-sink', name };
  const test = { seq: 0, at: new Date(now).toISOString(), actor, origin: null, action: 'audit-sink.test', resource, outcome: 'success' };
  const body = canonicalize(test) ?? '';
  const sink = createSink(target, secrets, { outbound, signal, answerMs: CHECK_MS, now: () => clock.now(), onStep });
  try {
    const [refusal] = await sink.send([{ seq: 0, at: now, body, hash: auditHash(AUDIT_GENESIS, body) }]);
    return { ok: refusal === undefined, steps, error: refusal ? `the record was refused: ${refusal.reason}` : null };
  } catch (error) {
    const known = error instanceof SinkError || error instanceof OutboundError;
    const late = signal.aborted ? `it took longer than ${CHECK_MS / 1000} seconds` : 'an unexpected condition';
    return { ok: false, steps, error: known ? error.message : late };
  } finally {
    sink.close();
  }
}
