import type { OutboundResponse } from '../../platform/index.ts';
import { type AuditLine, type Refusal, SinkError, type SinkParts } from './sink.ts';

/** Records refused in a row, with none accepted, after which it is not the records that are wrong. */
export const REFUSED_MOST = 10;
/** The whole request is wrong, or too large: one of its records may be why. */
export const OF_RECORDS: ReadonlySet<number> = new Set([400, 413, 422]);

/** Sends a POST request and gives its answer. */
export async function post(
  { outbound, signal, answerMs, onStep }: SinkParts,
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<OutboundResponse> {
  // Where it leads on to, credentials would not follow and the body might not: whoever moved says so in the settings.
  const call = { method: 'POST', headers, body, signal, timeoutMs: answerMs, idleMs: answerMs, maxRedirects: 0 } as const;
  const answer = await outbound.request(url, call);
  onStep?.(`sent ${Buffer.byteLength(body)} bytes, answered ${answer.status}`);
  return answer;
}

/** Reads and forgets a body, so that the connection can be used again. */
export async function forget(answer: OutboundResponse): Promise<void> {
  for await (const _ of answer.body());
}

/** Throws for a status that says nothing about the records. */
export function requireTaken({ status }: OutboundResponse, where: string): void {
  if (status === 401 || status === 403) throw new SinkError(`${where} refused the credentials (${status})`);
  if (status < 200 || status > 299) throw new SinkError(`${where} answered ${status}`);
}

/**
 * Sends records and, where the other side refuses them as a whole, halves of them in turn, down to the records that it
 * will not take. Throws where it takes none.
 */
export async function sendHalving(
  records: readonly AuditLine[],
  where: string,
  send: (part: readonly AuditLine[]) => Promise<{ readonly status: number; readonly refused: readonly Refusal[] }>,
): Promise<readonly Refusal[]> {
  const refused: Refusal[] = [];
  let accepted = 0;
  const parts: (readonly AuditLine[])[] = [records];
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    const [first, ...others] = part;
    if (first === undefined) continue;
    const answer = await send(part);
    if (!OF_RECORDS.has(answer.status)) {
      refused.push(...answer.refused);
      accepted += part.length - answer.refused.length;
    } else if (others.length > 0) {
      const middle = part.length >> 1;
      parts.push(part.slice(middle), part.slice(0, middle)); // the earlier half first
    } else {
      refused.push({ seq: first.seq, reason: `answered ${answer.status}` });
    }
    if (accepted === 0 && refused.length > REFUSED_MOST) throw new SinkError(`${where} refuses every record: ${refused[0]?.reason}`);
  }
  return refused;
}
