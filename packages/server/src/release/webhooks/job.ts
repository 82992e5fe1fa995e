import { setTimeout as delay } from 'node:timers/promises';
import {
  type AuditActor,
  audit,
  type Database,
  type JobContext,
  type JobDefinition,
  type Log,
  pauseAfter,
  type Seal,
  type Session,
} from '../../platform/index.ts';
import { type Delivery, deliveriesDue, giveUp, isAnyDue, settleAttempt, webhooksDue } from './deliveries.ts';
import { projectNameOf } from './project-name.ts';
import { openSecrets } from './secrets.ts';
import { type Outcome, type SendParts, sendMessage } from './send.ts';
import { disableWebhook, findWebhook, noteFailure, noteSuccess, type Webhook } from './store.ts';

export interface DeliveryParts extends SendParts {
  readonly database: Database;
  readonly seal: Seal;
  readonly log: Log;
  /** A webhook that fails for so long is disabled. */
  readonly failureHours: number;
  /** 0 to 1, for the spread of retries. */
  readonly random?: () => number;
}

const HOUR_MS = 3_600_000;
const RETRY_MOST_MS = HOUR_MS;
/** Retries end where the next one would come later than this after the event. */
export const GIVE_UP_MS = 24 * HOUR_MS;
const LOOK_MS = 1000;
/** Deliveries to one webhook at once, and webhooks at once. */
const AT_ONCE = 4;
const WEBHOOKS_AT_ONCE = 64;
const LISTED = 1000;

/**
 * The job that sends what is due: at least once, by one process at a time. Each webhook goes at its own pace: one that is slow or
 * down holds up no other, and no request.
 */
export function webhookJob(parts: DeliveryParts): JobDefinition {
  const { database, clock } = parts;
  return {
    kind: 'webhooks.deliver',
    schedule: { everyMs: 0 },
    maxAttempts: Number.POSITIVE_INFINITY,
    ready: () => isAnyDue(database, clock.now()),
    async run(_, context) {
      const running = new Map<number, Promise<void>>();
      const ending = new AbortController();
      const signal = AbortSignal.any([context.signal, ending.signal]);
      try {
        for (;;) {
          signal.throwIfAborted();
          for (const id of await webhooksDue(database, clock.now(), LISTED)) {
            if (running.size >= WEBHOOKS_AT_ONCE) break;
            if (running.has(id)) continue;
            const ended = deliverAll(parts, id, { ...context, signal })
              .catch((error: unknown) => ending.abort(error))
              .finally(() => running.delete(id));
            running.set(id, ended);
          }
          if (running.size === 0) return;
          const pause = new AbortController();
          const looked = delay(LOOK_MS, undefined, { signal: AbortSignal.any([signal, pause.signal]) }).catch(() => undefined);
          await Promise.race([...running.values(), looked]);
          pause.abort();
        }
      } finally {
        ending.abort(new Error('the delivery of webhooks ended'));
        await Promise.all(running.values());
      }
    },
  };
}

/** Sends all that is due at one webhook. Rejects only where that is not ours to do any more. */
async function deliverAll(parts: DeliveryParts, webhookId: number, context: Pick<JobContext, 'signal' | 'hold'>): Promise<void> {
  const { database, clock } = parts;
  for (;;) {
    context.signal.throwIfAborted();
    const due = await deliveriesDue(database, webhookId, clock.now(), AT_ONCE);
    const webhook = await findWebhook(database, webhookId);
    if (due.length === 0 || webhook === undefined) return;
    if (!webhook.enabled) {
      await database.write((tx) => giveUp(tx, webhookId, 'the webhook is not enabled'));
      return;
    }
    const sent = await Promise.allSettled(due.map((delivery) => attempt(parts, webhook, delivery, context)));
    const failed = sent.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }
}

async function attempt(
  parts: DeliveryParts,
  webhook: Webhook,
  delivery: Delivery & { readonly body: string },
  { signal, hold }: Pick<JobContext, 'signal' | 'hold'>,
): Promise<void> {
  const { database, log, seal } = parts;
  const message = { ...delivery, attempt: delivery.attempts + 1 };
  const outcome = await sendMessage(parts, webhook.url, openSecrets(seal, webhook), message, signal);
  const { ok, error } = outcome;
  // Where this is lost, by a crash or with the power, the receiver hears of the event again, with the same id.
  const disabled = await database.write(
    async (tx) => {
      await hold(tx);
      return await settle(tx, parts, webhook, delivery, outcome);
    },
    { durable: false, scope: [`webhook:${webhook.id}`] },
  );
  if (!ok) log.warn({ webhook: webhook.id, delivery: delivery.id, attempt: message.attempt, error }, 'a webhook was not delivered');
  if (disabled) log.error({ webhook: webhook.id, name: webhook.name, error }, 'a webhook was disabled after long failure');
}

const SERVER: AuditActor = { kind: 'system', id: null, name: 'system', credential: null };

/** Writes down an attempt and what follows from it; true where the webhook was disabled. */
async function settle(
  tx: Session,
  { clock, failureHours, random = Math.random }: DeliveryParts,
  { id: webhookId, version }: Webhook,
  { id, attempts, createdAt }: Delivery,
  { ok, status, error, durationMs }: Outcome,
): Promise<boolean> {
  const now = clock.now();
  const nextAt = now + pauseAfter(attempts + 1, random(), RETRY_MOST_MS);
  const again = !ok && nextAt - createdAt <= GIVE_UP_MS;
  const state = ok ? 'delivered' : again ? 'waiting' : 'failed';
  const settled = await tx.run(settleAttempt, { id, attempts, state, nextAt: again ? nextAt : null, status, durationMs, error, now });
  const webhook = await findWebhook(tx, webhookId);
  // A webhook that was changed meanwhile begins anew: what failed is not known to fail at its new place.
  if (settled === 0 || webhook === undefined || webhook.version !== version) return false;
  if (ok) {
    await noteSuccess(tx, webhookId, now);
    return false;
  }
  const since = await noteFailure(tx, webhookId, now);
  if (now - since < failureHours * HOUR_MS) return false;
  const reason = `no delivery succeeded since ${new Date(since).toISOString()}; the last error: ${error}`;
  if (!(await disableWebhook(tx, webhookId, reason))) return false;
  await giveUp(tx, webhookId, 'the webhook was disabled after long failure');
  const project = await projectNameOf(tx, webhook);
  const resource = { type: 'webhook', name: webhook.name, ...(project === undefined ? {} : { project }) };
  const entry = { actor: SERVER, origin: null, action: 'webhook.disable', resource, outcome: 'success', reason } as const;
  await audit(tx, { ...entry, before: { enabled: true }, after: { enabled: false } }, clock);
  return true;
}
