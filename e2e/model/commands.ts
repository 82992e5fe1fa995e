import fc from 'fast-check';
import { type Answer, type Client, errorOf, type RequestOptions } from '../harness/client.ts';
import { type Algorithm, ARTIFACT_TYPE, BLOBS, type BlobName, digestOf, type Material, SHAPES, type Shape, stockOf } from './material.ts';
import { contentOf, type Outcome, PROJECTS, type Project, type User } from './reference.ts';

/** Ways to upload a blob. */
const WAYS = ['in one request', 'by PUT', 'in chunks', 'as a stream', 'its end by PUT', 'given up'] as const;
type Way = (typeof WAYS)[number];

type Common = { readonly by: User; readonly to: Project };
export type Command = Common &
  (
    | { readonly op: 'push'; readonly blob: BlobName; readonly how: Way; readonly wrong: boolean }
    | { readonly op: 'stock'; readonly large: boolean }
    | { readonly op: 'mount'; readonly blob: BlobName; readonly from: Project | undefined }
    | { readonly op: 'put'; readonly shape: Shape; readonly under: Under }
    | { readonly op: 'delete tag'; readonly tag: string }
    | { readonly op: 'delete manifest'; readonly shape: Shape; readonly algorithm: Algorithm }
    | { readonly op: 'delete blob'; readonly blob: BlobName }
    | { readonly op: 'get blob'; readonly blob: BlobName; readonly head: boolean; readonly range: readonly [number, number] | undefined }
    | { readonly op: 'get manifest'; readonly under: { tag: string } | { shape: Shape; algorithm: Algorithm }; readonly head: boolean }
    | { readonly op: 'list tags'; readonly n: number | undefined; readonly last: string | undefined }
    | { readonly op: 'referrers'; readonly shape: Shape; readonly type: string | undefined }
  );

type Under =
  | { readonly kind: 'tag'; readonly tag: string; readonly only: 'absent' | { readonly is: Shape } | undefined }
  | { readonly kind: 'digest'; readonly algorithm: Algorithm; readonly tags: readonly string[] }
  | { readonly kind: 'wrong digest'; readonly tags: readonly string[] };

/** How often each user and project comes up beside the others. */
export type Weights<T extends string> = Readonly<Partial<Record<T, number>>>;

/** Commands by users, to projects. */
export function commandsOf(users: Weights<User>, projects: Weights<Project>): fc.Arbitrary<Command> {
  const tag = fc.constantFrom('a', 'b', 'c');
  const tags = fc.uniqueArray(tag, { maxLength: 3 });
  const blob = fc.constantFrom(...BLOBS);
  const shape = fc.constantFrom(...SHAPES);
  const algorithm = fc.oneof(
    { weight: 4, arbitrary: fc.constant('sha256' as const) },
    { weight: 1, arbitrary: fc.constant('sha512' as const) },
  );
  const seldom = fc.integer({ min: 0, max: 9 }).map((n) => n === 9);
  const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
  const under: fc.Arbitrary<Under> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('tag' as const), tag, only: fc.constant(undefined) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('tag' as const),
        tag,
        only: fc.oneof(
          fc.constant('absent' as const),
          shape.map((is) => ({ is })),
        ),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('digest' as const), algorithm, tags }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('wrong digest' as const), tags }) },
  );
  const weighted = <T extends string>(weights: Weights<T>) =>
    fc.oneof(...(Object.entries(weights) as [T, number][]).map(([value, weight]) => ({ weight, arbitrary: fc.constant(value) })));
  const common = { by: weighted(users), to: weighted(projects) };
  const command = <T extends string, F extends object>(weight: number, op: T, fields: { [K in keyof F]: fc.Arbitrary<F[K]> }) => ({
    weight,
    arbitrary: fc.record({ op: fc.constant(op), ...common, ...fields }),
  });
  const all = [
    command(5, 'push', { blob, how: fc.constantFrom(...WAYS), wrong: seldom }),
    command(1, 'stock', { large: seldom }),
    command(4, 'mount', { blob, from: maybe(fc.constantFrom(...PROJECTS)) }),
    command(10, 'put', { shape, under }),
    command(3, 'delete tag', { tag }),
    command(3, 'delete manifest', { shape, algorithm }),
    command(2, 'delete blob', { blob }),
    command(2, 'get blob', { blob, head: fc.boolean(), range: maybe(fc.tuple(fc.nat(100), fc.integer({ min: 100, max: 80_000 }))) }),
    command(4, 'get manifest', { under: fc.oneof(fc.record({ tag }), fc.record({ shape, algorithm })), head: fc.boolean() }),
    command(2, 'list tags', { n: maybe(fc.nat(3)), last: maybe(tag) }),
    command(2, 'referrers', { shape: fc.constantFrom('plain', 'signature', 'big'), type: maybe(fc.constantFrom(ARTIFACT_TYPE, 'none')) }),
  ];
  return fc.oneof(...all).map((made) => sensible(made as Command));
}

function sensible(command: Command): Command {
  if (command.op === 'stock') return { ...command, by: 'root' };
  // The empty blob is the same in all runs, so that a mount from anywhere finds that of another run.
  if (command.op === 'mount' && command.blob === 'empty') return { ...command, from: command.from ?? 'alpha' };
  if (command.op === 'get blob' && command.head) return { ...command, range: undefined };
  return command;
}

/** One run's view of a server: a client for each user, and names of its own. */
export interface Real {
  readonly clients: Readonly<Record<User, Client>>;
  readonly run: string;
  readonly material: Material;
}

/** Does it by requests and gives what was answered. */
export async function perform({ clients, run, material }: Real, command: Command): Promise<Outcome> {
  const client = clients[command.by];
  const name = `${command.to}/${run}`;
  const send = (method: string, path: string, options?: RequestOptions) => client.request(method, `/v2/${name}${path}`, options);
  switch (command.op) {
    case 'push':
      return await push(client, name, material, command);
    case 'stock':
      for (const { digest, bytes } of stockOf(material, command.large)) {
        const { status } = await send('POST', `/blobs/uploads/?digest=${digest}`, { body: bytes });
        if (status !== 201) return { status };
      }
      return { status: 201 };
    case 'mount': {
      const from = command.from === undefined ? '' : `&from=${command.from}/${run}`;
      const answer = await send('POST', `/blobs/uploads/?mount=${material.blobs[command.blob].digest}${from}`);
      if (answer.status !== 202) return created(answer);
      const { status } = await client.request('DELETE', locationOf(answer));
      return { status: status === 204 ? 202 : status };
    }
    case 'put': {
      const { bytes, mediaType, digests } = material.manifests[command.shape];
      const { under } = command;
      const headers: Record<string, string> = { 'Content-Type': mediaType };
      const only = under.kind === 'tag' ? under.only : undefined;
      if (only === 'absent') headers['If-None-Match'] = '*';
      else if (only) headers['If-Match'] = `"${material.manifests[only.is].digests.sha256}"`;
      const query = under.kind === 'tag' ? '' : `?${under.tags.map((tag) => `tag=${tag}`).join('&')}`;
      const digest = under.kind === 'digest' ? digests[under.algorithm] : digestOf('other bytes');
      const answer = await send('PUT', `/manifests/${under.kind === 'tag' ? under.tag : digest}${query}`, { headers, body: bytes });
      const subject = answer.headers.get('oci-subject') ?? undefined;
      const tags = (answer.headers.get('oci-tag') ?? '').split(', ').filter(Boolean).sort();
      return answer.status === 201 ? { ...created(answer), subject, tags } : failed(answer);
    }
    case 'delete tag':
      return plain(await send('DELETE', `/manifests/${command.tag}`));
    case 'delete manifest':
      return plain(await send('DELETE', `/manifests/${material.manifests[command.shape].digests[command.algorithm]}`));
    case 'delete blob':
      return plain(await send('DELETE', `/blobs/${material.blobs[command.blob].digest}`));
    case 'get blob': {
      const headers: Record<string, string> = command.range ? { Range: `bytes=${command.range.join('-')}` } : {};
      const answer = await send(command.head ? 'HEAD' : 'GET', `/blobs/${material.blobs[command.blob].digest}`, { headers });
      return read(answer, command.head);
    }
    case 'get manifest': {
      const reference =
        'tag' in command.under ? command.under.tag : material.manifests[command.under.shape].digests[command.under.algorithm];
      const answer = await send(command.head ? 'HEAD' : 'GET', `/manifests/${reference}`);
      const outcome = read(answer, command.head);
      return answer.status === 200 ? { ...outcome, type: answer.headers.get('content-type') } : outcome;
    }
    case 'list tags': {
      const query = new URLSearchParams();
      if (command.n !== undefined) query.set('n', String(command.n));
      if (command.last !== undefined) query.set('last', command.last);
      const answer = await send('GET', `/tags/list?${query}`);
      if (answer.status !== 200) return failed(answer);
      return { status: 200, tags: answer.json<{ tags: string[] }>().tags, more: answer.headers.has('link') };
    }
    case 'referrers': {
      const filter = command.type === undefined ? '' : `?artifactType=${command.type}`;
      const answer = await send('GET', `/referrers/${material.manifests[command.shape].digests.sha256}${filter}`);
      if (answer.status !== 200) return failed(answer);
      const filtered = answer.headers.get('oci-filters-applied') === 'artifactType';
      return { status: 200, referrers: answer.json<{ manifests: object[] }>().manifests, filtered };
    }
  }
}

async function push(client: Client, name: string, material: Material, command: Extract<Command, { op: 'push' }>): Promise<Outcome> {
  const { bytes, algorithm, digest } = material.blobs[command.blob];
  const uploads = `/v2/${name}/blobs/uploads/`;
  const query = `digest=${command.wrong ? digestOf('other bytes', algorithm) : digest}`;
  if (command.how === 'in one request') return created(await client.request('POST', `${uploads}?${query}`, { body: bytes }));
  const begun = await client.request('POST', `${uploads}?digest-algorithm=${algorithm}`);
  if (begun.status !== 202) return failed(begun);
  const location = locationOf(begun);
  const patch = async (from: number, to: number) => {
    if (from === to) return;
    const headers = { 'Content-Range': `${from}-${to - 1}` };
    const { status } = await client.request('PATCH', location, { headers, body: bytes.subarray(from, to) });
    if (status !== 202) throw new Error(`PATCH answered ${status}`);
  };
  const [third, half] = [Math.floor(bytes.length / 3), Math.floor(bytes.length / 2)];
  let rest = bytes.subarray(bytes.length);
  switch (command.how) {
    case 'by PUT':
      rest = bytes;
      break;
    case 'in chunks':
      await patch(0, third);
      await patch(third, half);
      await patch(half, bytes.length);
      break;
    case 'as a stream': {
      const { status } = await client.request('PATCH', location, { body: new Response(bytes).body ?? '' });
      if (status !== 202) throw new Error(`PATCH answered ${status}`);
      break;
    }
    case 'its end by PUT':
      await patch(0, half);
      rest = bytes.subarray(half);
      break;
    case 'given up': {
      await patch(0, half);
      const given = plain(await client.request('DELETE', location));
      const { status } = await client.request('GET', location);
      return status === 404 ? given : { status, why: 'an upload that was given up' };
    }
  }
  return created(await client.request('PUT', `${location}?${query}`, { body: rest }));
}

function locationOf({ headers }: Answer): string {
  return headers.get('location') ?? '';
}

function failed(answer: Answer): Outcome {
  return { status: answer.status, code: errorOf(answer).code };
}

function plain(answer: Answer): Outcome {
  return answer.status < 400 ? { status: answer.status } : failed(answer);
}

function created(answer: Answer): Outcome {
  return answer.status === 201 ? { status: 201, digest: answer.headers.get('docker-content-digest') } : failed(answer);
}

function read(answer: Answer, head: boolean): Outcome {
  const { status, headers, bytes } = answer;
  if (status >= 300) return head ? { status } : failed(answer);
  const seen = { status, digest: headers.get('docker-content-digest') };
  return head ? { ...seen, length: Number(headers.get('content-length')) } : { ...seen, ...contentOf(bytes) };
}
