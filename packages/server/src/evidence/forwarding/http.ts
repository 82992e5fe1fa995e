import { SIGNATURE_HEADER, signatureOf } from '../../platform/index.ts';
import { type Sink, type SinkParts, withHash } from './sink.ts';
import type { HttpTarget, SinkSecrets } from './targets.ts';
import { forget, OF_RECORDS, post, requireTaken, sendHalving } from './web.ts';

/** Records by POST, as lines or as an array; any 2xx acknowledges them. */
export function httpSink({ url, format = 'ndjson' }: HttpTarget, secrets: SinkSecrets, parts: SinkParts): Sink {
  const where = new URL(url).host;
  return {
    send: async (records) =>
      await sendHalving(records, where, async (part) => {
        const texts = part.map(withHash);
        const body = format === 'json' ? `[${texts.join(',')}]` : texts.map((text) => `${text}\n`).join('');
        const answer = await post(parts, url, headersFor(body, format, secrets, parts.now()), body);
        await forget(answer);
        if (!OF_RECORDS.has(answer.status)) requireTaken(answer, where);
        return { status: answer.status, refused: [] };
      }),
    close: () => undefined,
  };
}

function headersFor(body: string, format: 'ndjson' | 'json', { authorization, hmacKey }: SinkSecrets, now: number): Record<string, string> {
  return {
    'Content-Type': format === 'json' ? 'application/json' : 'application/x-ndjson',
    ...(authorization === undefined ? {} : { Authorization: authorization }),
    ...(hmacKey === undefined ? {} : { [SIGNATURE_HEADER]: signatureOf([hmacKey], body, now) }),
  };
}
