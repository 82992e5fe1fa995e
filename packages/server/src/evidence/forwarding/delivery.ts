import { setTimeout as delay } from 'node:timers/promises';
import {
  type Clock,
  type Database,
  type JobContext,
  type JobDefinition,
  type Log,
  type Outbound,
  OutboundError,
  pauseAfter,
  type Seal,
} from '../../platform/index.ts';
import { openSecretsOf } from './secrets.ts';
import { type Refusal, type Sink, SinkError, type SinkParts } from './sink.ts';
import { createSink } from './sinks.ts';
import { advance, dueSinks, fail, park, recordsAfter, rowOf, type SinkRow } from './store.ts';
import { REFUSED_MOST } from './web.ts';

export interface ForwardingParts {
  readonly database: Database;
  readonly outbound: Outbound;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a sink may take to acknowledge. */
  readonly answerMs?: number;
  /** 0 to 1, for the spread of retries. */
  readonly random?: () => number;
  readonly onFailure?: (kind: SinkRow['kind']) => void;
}

const ANSWER_MS = 30_000;
const LOOK_MS = 1000;
const BATCH = 200;
const BATCH_CHARACTERS = 1 << 20;
const RETRY_MOST_MS = 60_000;
/** Tries of a batch before records that alone are refused are parked. */
const PARK_AFTER = 5;
const ERROR_LENGTH = 500;

/**
 * The job that brings audit records to the sinks: in order, at least once, by one process at a time (its lease, with a
 * fencing token). Each sink goes at its own pace: one that is slow or down holds up nobody else.
 */
export function forwardingJob(parts: ForwardingParts): JobDefinition {
  const { database, clock } = parts;
  const due = async () => (await database.all(dueSinks, { now: clock.now() })).map(rowOf);
  return {
    kind: 'audit.forward',
    schedule: { everyMs: 0 },
    maxAttempts: Number.POSITIVE_INFINITY,
    ready: async () => (await due()).length > 0,
    async run(_, context) {
      const running = new Map<number, { readonly version: number; readonly changed: AbortController; readonly ended: Promise<void> }>();
      const lost = new AbortController();
      try {
        for (;;) {
          AbortSignal.any([context.signal, lost.signal]).throwIfAborted();
          for (const sink of await due()) {
            const { id, version } = sink;
            const other = running.get(id);
            if (other === undefined) {
              const changed = new AbortController();
              const signal = AbortSignal.any([context.signal, lost.signal, changed.signal]);
              const ended = deliver(parts, sink, { ...context, signal })
                .catch((error: unknown) => lost.abort(error))
                .finally(() => running.delete(id));
              running.set(id, { version, changed, ended });
            } else if (other.version !== version) {
              other.changed.abort(new SinkError('the sink was changed'));
            }
          }
          if (running.size === 0) return;
          const ended = [...running.values()].map((each) => each.ended);
          await Promise.race([...ended, delay(LOOK_MS, undefined, { signal: context.signal })]);
        }
      } finally {
        lost.abort(new Error('the delivery of audit records ended'));
        await Promise.all([...running.values()].map((each) => each.ended));
      }
    },
  };
}

/** Sends all that a sink has not had. What fails is written down at the sink; rejects only where that is not ours to do any more. */
async function deliver(parts: ForwardingParts, sink: SinkRow, { signal, hold }: Pick<JobContext, 'signal' | 'hold'>): Promise<void> {
  const { database, clock, log, seal, random = Math.random, answerMs = ANSWER_MS, onFailure } = parts;
  const { id, name, kind, version } = sink;
  let { position, attempts } = sink;
  let opened: Sink | undefined;
  try {
    const sinkParts: SinkParts = { outbound: parts.outbound, signal, answerMs, now: () => clock.now() };
    opened = createSink(sink.target, openSecretsOf(seal, sink), sinkParts);
    for (let parkedRun = sink.parkedRun; ; ) {
      signal.throwIfAborted();
      const records = await recordsAfter(database, position, BATCH, BATCH_CHARACTERS);
      const [first] = records;
      const last = records.at(-1);
      if (first === undefined || last === undefined) return;
      const refused = await opened.send(records);
      const accepted = records.length - refused.length;
      parkedRun = accepted > 0 ? 0 : parkedRun + refused.length;
      if (refused.length > 0) requireParkable(refused, attempts, parkedRun);
      const now = clock.now();
      const kept = await database.write(
        async (tx) => {
          await hold(tx);
          for (const { seq, reason } of refused) await tx.run(park, { id, seq, reason, now });
          return await tx.run(advance, { id, version, position: last.seq, parkedRun, missed: first.seq - position - 1, now });
        },
        // Lost with the power, it is sent again; but what is parked is not.
        { durable: refused.length > 0, scope: [`audit-sink:${id}`] },
      );
      if (kept === 0) return; // changed or deleted meanwhile
      if (refused.length > 0) log.error({ sink: name, kind, parked: refused }, 'a sink refused audit records; they are set aside for it');
      position = last.seq;
      attempts = 0;
    }
  } catch (error) {
    if (signal.aborted) return;
    const message = error instanceof SinkError || error instanceof OutboundError ? error.message : 'an unexpected condition; see the log';
    const now = clock.now();
    attempts++;
    await database.write(
      async (tx) => {
        await hold(tx);
        const nextAt = now + pauseAfter(attempts, random(), RETRY_MOST_MS);
        await tx.run(fail, { id, version, attempts, nextAt, error: message.slice(0, ERROR_LENGTH), now });
      },
      { durable: false, scope: [`audit-sink:${id}`] },
    );
    onFailure?.(kind);
    log.warn({ err: error, sink: name, kind, attempt: attempts }, 'audit records could not be forwarded');
  } finally {
    opened?.close();
  }
}

/** Throws where refused records are to be tried again, or where it is the sink that is wrong. */
function requireParkable(refused: readonly Refusal[], attempts: number, parkedRun: number): void {
  const [{ seq, reason } = { seq: 0, reason: '' }] = refused;
  if (parkedRun > REFUSED_MOST) throw new SinkError(`refuses every record: ${reason}`);
  if (attempts < PARK_AFTER) throw new SinkError(`record ${seq} was refused: ${reason}`);
}
