import { type AuditLine, type Refusal, type Sink, SinkError, type SinkParts } from './sink.ts';
import type { ElasticsearchTarget, SinkSecrets } from './targets.ts';
import { forget, post, requireTaken, sendHalving } from './web.ts';

interface BulkAnswer {
  readonly items?: readonly { readonly create?: { readonly status?: number; readonly error?: { readonly type?: unknown } } }[];
}

const ERROR_TYPE = /^[a-z_]{1,64}$/;
/** Not the record's fault, though told for each: rights, missing indices. */
const OF_SINK = new Set([401, 403, 404, 405]);

/**
 * The bulk interface of Elasticsearch and OpenSearch. A document's id is the record's number and it is only ever created,
 * so that a record which comes twice is there once.
 */
export function elasticsearchSink(target: ElasticsearchTarget, secrets: SinkSecrets, parts: SinkParts): Sink {
  const { url, index = 'entrepot-audit-{month}' } = target;
  const where = new URL(url).host;
  const address = `${url.replace(/\/+$/, '')}/_bulk?filter_path=items.*.status,items.*.error.type`;
  const headers = { 'Content-Type': 'application/x-ndjson', ...authorizationFor(target, secrets) };

  async function sendPart(records: readonly AuditLine[]): Promise<{ status: number; refused: Refusal[] }> {
    const body = records.map((record) => `${JSON.stringify(actionFor(record, index))}\n${documentOf(record)}\n`).join('');
    const answer = await post(parts, address, headers, body);
    if (answer.status === 413) {
      await forget(answer);
      return { status: 413, refused: [] };
    }
    requireTaken(answer, where);
    const items = itemsOf(Buffer.from(await answer.bytes()).toString());
    if (items?.length !== records.length) throw new SinkError(`${where} did not say of each record what became of it`);
    const refused: Refusal[] = [];
    for (const [at, { create }] of items.entries()) {
      const { status = 500, error } = create ?? {};
      if ((status >= 200 && status <= 299) || status === 409) continue; // 409: it has it already
      const type = typeof error?.type === 'string' && ERROR_TYPE.test(error.type) ? ` ${error.type}` : '';
      const reason = `answered ${status}${type}`;
      const seq = records[at]?.seq ?? 0;
      if (status === 429 || status >= 500 || OF_SINK.has(status)) throw new SinkError(`${where} ${reason} for record ${seq}`);
      refused.push({ seq, reason });
    }
    return { status: answer.status, refused };
  }

  return { send: async (records) => await sendHalving(records, where, sendPart), close: () => undefined };
}

function authorizationFor({ user }: ElasticsearchTarget, { apiKey, password = '' }: SinkSecrets): { Authorization?: string } {
  if (apiKey !== undefined) return { Authorization: `ApiKey ${apiKey}` };
  return user === undefined ? {} : { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

function actionFor({ seq, at }: AuditLine, index: string): unknown {
  const day = new Date(at).toISOString().slice(0, 10).replaceAll('-', '.');
  return { create: { _index: index.replace('{date}', day).replace('{month}', day.slice(0, 7)), _id: String(seq) } };
}

/** What was before and after has other fields for each kind of resource, which one mapping cannot hold: it goes as text. */
function documentOf({ body, hash, at }: AuditLine): string {
  const { before, after, ...record } = JSON.parse(body) as { before?: unknown; after?: unknown };
  return JSON.stringify({
    '@timestamp': new Date(at).toISOString(),
    ...record,
    ...(before === undefined ? {} : { before: JSON.stringify(before) }),
    ...(after === undefined ? {} : { after: JSON.stringify(after) }),
    hash,
  });
}

function itemsOf(text: string): BulkAnswer['items'] {
  try {
    return (JSON.parse(text) as BulkAnswer).items;
  } catch {
    return undefined;
  }
}
