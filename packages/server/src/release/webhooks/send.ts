import { type Clock, type Outbound, OutboundError, SIGNATURE_HEADER, signatureOf } from '../../platform/index.ts';
import { CONTENT_TYPES } from './payloads.ts';
import { liveSecrets, type WebhookSecrets } from './secrets.ts';
import type { WebhookFormat } from './words.ts';

export interface SendParts {
  readonly outbound: Outbound;
  readonly clock: Clock;
  /** How long a receiver may take; default 10 seconds. */
  readonly answerMs?: number;
}

/** What is sent. */
export interface Message {
  readonly eventId: string;
  readonly event: string;
  readonly format: WebhookFormat;
  readonly body: string;
  /** 1 at the first try. */
  readonly attempt: number;
}

/** What became of it; of the receiver's answer no more than the status is ever kept. */
export interface Outcome {
  readonly ok: boolean;
  readonly status: number | null;
  readonly error: string | null;
  readonly durationMs: number;
}

const ANSWER_MS = 10_000;
/**
 * What is told of a call that failed: whoever may manage webhooks of a project is not told what names of the inner network lead to.
 */
const FAILURES: Readonly<Record<OutboundError['failure'], string>> = {
  blocked: 'the address is not one that webhooks may lead to',
  invalid: 'the address cannot be called',
  redirect: 'the receiver leads on to another address; redirects are not followed',
  timeout: 'the receiver took too long',
  too_large: 'the receiver sent too many headers',
  unreachable: 'the receiver cannot be reached',
};

/** Sends a message once. Any status from 200 to 299 takes it. Rejects only where `signal` ends it. */
export async function sendMessage(
  { outbound, clock, answerMs = ANSWER_MS }: SendParts,
  url: string,
  secrets: WebhookSecrets,
  { eventId, event, format, body, attempt }: Message,
  signal?: AbortSignal,
): Promise<Outcome> {
  const started = performance.now();
  const outcome = (status: number | null, error: string | null): Outcome => {
    return { ok: error === null, status, error, durationMs: Math.round(performance.now() - started) };
  };
  const now = clock.now();
  const headers = {
    'Content-Type': CONTENT_TYPES[format],
    'User-Agent': 'Entrepot-Webhook/1',
    'X-Entrepot-Event': event,
    'X-Entrepot-Event-Id': eventId,
    'X-Entrepot-Attempt': String(attempt),
    [SIGNATURE_HEADER]: signatureOf(liveSecrets(secrets, now), body, now),
    ...(secrets.authorization === undefined ? {} : { Authorization: secrets.authorization }),
  };
  try {
    const address = secrets.query === undefined ? url : `${url}?${secrets.query}`;
    const call = { method: 'POST', headers, body, timeoutMs: answerMs, idleMs: answerMs, maxRedirects: 0 } as const;
    const answer = await outbound.request(address, signal === undefined ? call : { ...call, signal });
    // Nobody reads what it says; an answer that is short leaves the connection for the next delivery.
    await skim(answer.body());
    const taken = answer.status >= 200 && answer.status <= 299;
    return outcome(answer.status, taken ? null : `the receiver answered ${answer.status}`);
  } catch (error) {
    if (error instanceof OutboundError) return outcome(null, FAILURES[error.failure]);
    if (signal?.aborted) throw error;
    return outcome(null, 'the delivery met an unexpected condition');
  }
}

const SKIMMED_BYTES = 16 * 1024;

/** Reads the beginning of an answer and forgets it; that the rest is cut off changes nothing. */
async function skim(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0;
  try {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > SKIMMED_BYTES) return;
    }
  } catch {
    // The status has come: the receiver has taken it or not.
  }
}
