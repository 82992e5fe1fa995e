import type { Answer, Client } from './client.ts';

type Headers = Readonly<Record<string, string>>;

/** A request of the management API; `path` is below `/api/v1`. */
export async function rest(client: Client, method: string, path: string, body?: unknown, headers: Headers = {}): Promise<Answer> {
  if (body === undefined) return await client.request(method, `/api/v1${path}`, { headers });
  return await client.request(method, `/api/v1${path}`, {
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

/** The same, which must be answered with this status; gives the body. */
export async function done<T>(
  status: number,
  client: Client,
  method: string,
  path: string,
  body?: unknown,
  headers: Headers = {},
): Promise<T> {
  const answer = await rest(client, method, path, body, headers);
  if (answer.status !== status) throw new Error(`${method} ${path} answered ${answer.status}: ${answer.bytes}`);
  return (answer.bytes.length === 0 ? undefined : answer.json()) as T;
}

/** Status and code of a request that is refused. */
export async function refused(client: Client, method: string, path: string, body?: unknown, headers: Headers = {}): Promise<string> {
  const answer = await rest(client, method, path, body, headers);
  const problem = answer.json<{ status: number; code: string }>();
  if (!/^application\/problem\+json\b/.test(answer.headers.get('content-type') ?? '') || problem.status !== answer.status) {
    throw new Error(`${method} ${path}: no problem (RFC 9457): ${answer.bytes}`);
  }
  return `${answer.status} ${problem.code}`;
}

/** Where the next page of a list is, below `/api/v1`; undefined at its end. */
export function nextOf(answer: Answer): string | undefined {
  return /<\/api\/v1([^>]*)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
}

/** All items of a list, page by page. */
export async function everyItem<T>(client: Client, path: string, between?: () => Promise<void>): Promise<T[]> {
  const items: T[] = [];
  for (let next: string | undefined = path; next !== undefined; ) {
    const answer: Answer = await rest(client, 'GET', next);
    if (answer.status !== 200) throw new Error(`GET ${next} answered ${answer.status}: ${answer.bytes}`);
    items.push(...answer.json<{ items: T[] }>().items);
    next = nextOf(answer);
    if (next !== undefined) await between?.();
  }
  return items;
}
