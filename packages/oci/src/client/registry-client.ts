import { createHash } from 'node:crypto';
import { digestOf, parseDigest } from '../digest.ts';
import type { Descriptor } from '../manifest.ts';
import { MEDIA_TYPE } from '../media-types.ts';
import { referrersTag } from '../reference.ts';
import { baseUrlOf } from './image-reference.ts';
import { type Credentials, Login } from './login.ts';

/** A registry's answer that is not what was asked for. */
export class RegistryError extends Error {
  override name = 'RegistryError';
  /** HTTP status, or 0 where the answer itself was wrong. */
  readonly status: number;
  /** Code of distribution-spec, where the registry gave one. */
  readonly code: string | undefined;

  constructor(message: string, status: number, code?: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export interface RegistryClientOptions {
  /** Host and port. */
  readonly registry: string;
  /** Plain HTTP; by default only where the registry is this machine. */
  readonly plainHttp?: boolean;
  /** Asked when the registry wants to know who calls; undefined: nobody. */
  readonly credentials?: () => Promise<Credentials | undefined>;
  /** Calls of a server go through its own guard. */
  readonly fetch?: typeof fetch;
  readonly userAgent?: string;
}

export interface FetchedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A referrer as the registry lists it. */
export interface Referrer extends Descriptor {
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

const MANIFESTS = Object.values(MEDIA_TYPE).join(', ');
const MANIFEST_LIMIT = 8 << 20;
const TEXT_LIMIT = 64 * 1024;
/** Of a whole answer but a blob's bytes; milliseconds. */
const ANSWER_MS = 60_000;
const PAGES = 1000;

/** Speaks the distribution API (OCI distribution-spec 1.1) to one registry, and verifies what it is given. */
export class RegistryClient {
  readonly #base: string;
  readonly #fetch: typeof fetch;
  readonly #login: Login;
  readonly #agent: string;

  constructor({
    registry,
    plainHttp,
    credentials = async () => undefined,
    fetch: call = fetch,
    userAgent = 'entrepot',
  }: RegistryClientOptions) {
    this.#base = baseUrlOf(registry, plainHttp);
    this.#fetch = call;
    this.#login = new Login({ fetch: call, credentials });
    this.#agent = userAgent;
  }

  /** A manifest by tag or digest with its exact bytes, verified; undefined where there is none. */
  async manifest(repository: string, reference: string, signal?: AbortSignal): Promise<FetchedManifest | undefined> {
    const response = await this.#call(repository, 'pull', `manifests/${reference}`, { headers: { accept: MANIFESTS }, signal });
    if (response.status === 404) return await nothing(response);
    await expectOk(response, 200);
    const bytes = await readAll(response, MANIFEST_LIMIT);
    const algorithm = parseDigest(reference)?.algorithm ?? 'sha256';
    const digest = digestOf(bytes, algorithm);
    const claimed = reference.includes(':') ? reference : response.headers.get('docker-content-digest');
    if (claimed?.startsWith(`${algorithm}:`) && claimed !== digest)
      throw new RegistryError(`the bytes of ${reference} are not what its digest says`, 0);
    const mediaType = response.headers.get('content-type')?.split(';')[0]?.trim() ?? '';
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  /**
   * A blob's bytes as they come; the last piece comes only after all of them were found to be what the digest says. Throws
   * RegistryError where they are not, where there are more than `size`, or none.
   */
  async *blob(repository: string, { digest, size }: Pick<Descriptor, 'digest' | 'size'>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const algorithm = parseDigest(digest)?.algorithm;
    if (!algorithm) throw new RegistryError(`${digest} is no digest that can be verified`, 0);
    const response = await this.#call(repository, 'pull', `blobs/${digest}`, { signal, endless: true });
    await expectOk(response, 200);
    const hash = createHash(algorithm);
    let [held, length]: [Uint8Array | undefined, number] = [undefined, 0];
    for await (const piece of response.body ?? []) {
      if (held) yield held;
      held = piece as Uint8Array;
      length += held.length;
      if (length > size) throw new RegistryError(`the blob ${digest} has more than ${size} bytes`, 0);
      hash.update(held);
    }
    if (length !== size || `${algorithm}:${hash.digest('hex')}` !== digest)
      throw new RegistryError(`the bytes of the blob ${digest} are not what its digest says`, 0);
    if (held) yield held;
  }

  /** A small blob in one piece. */
  async smallBlob(repository: string, descriptor: Pick<Descriptor, 'digest' | 'size'>, signal?: AbortSignal): Promise<Uint8Array> {
    if (descriptor.size > MANIFEST_LIMIT) throw new RegistryError(`the blob ${descriptor.digest} has more than ${MANIFEST_LIMIT} bytes`, 0);
    const pieces: Uint8Array[] = [];
    for await (const piece of this.blob(repository, descriptor, signal)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** Stores a blob unless it is there; tries first to take it from another repository of the registry. */
  async pushBlob(
    repository: string,
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    bytes: () => AsyncIterable<Uint8Array> | Uint8Array,
    { from, signal }: { readonly from?: string; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const there = await this.#call(repository, 'pull,push', `blobs/${digest}`, { method: 'HEAD', signal });
    if (there.status === 200) return;
    const mount = from === undefined ? '' : `?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`;
    const begun = await this.#call(repository, 'pull,push', `blobs/uploads/${mount}`, { method: 'POST', signal });
    if (begun.status === 201) return void (await begun.body?.cancel());
    await expectOk(begun, 202);
    const url = this.#location(begun);
    url.searchParams.set('digest', digest);
    const content = bytes();
    const body = content instanceof Uint8Array ? (content as Uint8Array<ArrayBuffer>) : ReadableStream.from(content);
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) };
    // A stream cannot be sent twice: the request before it has shown that the credentials hold.
    const stored = await this.#send(
      url,
      { method: 'PUT', headers, body, duplex: 'half', signal: signal ?? null },
      repository,
      'pull,push',
      signal,
    );
    await expectOk(stored, 201);
  }

  /** Stores a manifest under a tag or its digest, and gives the digest. */
  async pushManifest(repository: string, reference: string, bytes: Uint8Array, mediaType: string, signal?: AbortSignal): Promise<string> {
    const body = bytes as Uint8Array<ArrayBuffer>;
    const response = await this.#call(repository, 'pull,push', `manifests/${reference}`, {
      method: 'PUT',
      headers: { 'content-type': mediaType },
      body,
      signal,
    });
    await expectOk(response, 201);
    return digestOf(bytes, parseDigest(reference)?.algorithm);
  }

  /** What refers to a digest: by the referrers API, else by the tag that clients keep where there is none. */
  async referrers(repository: string, digest: string, signal?: AbortSignal): Promise<readonly Referrer[]> {
    const found: Referrer[] = [];
    let url: URL | undefined = new URL(`/v2/${repository}/referrers/${digest}`, this.#base);
    for (let page = 0; url && page < PAGES; page++) {
      const response: Response = await this.#request(url, { headers: { accept: MEDIA_TYPE.ociIndex } }, repository, 'pull', signal);
      if (response.status === 404) {
        await nothing(response);
        const kept = await this.manifest(repository, referrersTag(digest), signal);
        return kept ? referrersIn(kept.bytes) : [];
      }
      await expectOk(response, 200);
      found.push(...referrersIn(await readAll(response, MANIFEST_LIMIT)));
      url = nextPage(response, url, this.#base);
    }
    return found;
  }

  /** Tags of a repository, page by page. */
  async *tags(repository: string, signal?: AbortSignal): AsyncGenerator<string> {
    let url: URL | undefined = new URL(`/v2/${repository}/tags/list?n=1000`, this.#base);
    for (let page = 0; url && page < PAGES; page++) {
      const response: Response = await this.#request(url, {}, repository, 'pull', signal);
      await expectOk(response, 200);
      const { tags } = JSON.parse(Buffer.from(await readAll(response, MANIFEST_LIMIT)).toString()) as { tags?: unknown };
      for (const tag of Array.isArray(tags) ? tags : []) if (typeof tag === 'string') yield tag;
      url = nextPage(response, url, this.#base);
    }
  }

  async #call(
    repository: string,
    actions: string,
    path: string,
    {
      endless = false,
      signal,
      ...init
    }: Omit<RequestInit, 'signal'> & { readonly endless?: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<Response> {
    return await this.#request(new URL(`/v2/${repository}/${path}`, this.#base), init, repository, actions, signal, endless);
  }

  async #request(
    url: URL,
    init: RequestInit,
    repository: string,
    actions: string,
    signal: AbortSignal | undefined,
    endless = false,
  ): Promise<Response> {
    const limited = endless ? signal : AbortSignal.any([AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])]);
    const response = await this.#send(url, init, repository, actions, limited);
    const scope = scopeOf(repository, actions);
    if (response.status !== 401 || !(await this.#login.refused(response, scope))) return response;
    await response.body?.cancel();
    return await this.#send(url, init, repository, actions, limited);
  }

  async #send(
    url: URL,
    init: RequestInit & { duplex?: 'half' },
    repository: string,
    actions: string,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    // What is for this registry goes nowhere else: an upload's address may be another host's.
    const authorization =
      url.origin === new URL(this.#base).origin ? await this.#login.headerOf(scopeOf(repository, actions), signal) : undefined;
    const headers = {
      'user-agent': this.#agent,
      ...(init.headers as Record<string, string> | undefined),
      ...(authorization === undefined ? {} : { authorization }),
    };
    return await this.#fetch(url, { ...init, headers, signal: signal ?? null });
  }

  #location(response: Response): URL {
    const location = response.headers.get('location');
    if (location === null) throw new RegistryError('the registry names no place for an upload', 0);
    const url = new URL(location, response.url === '' ? this.#base : response.url);
    if (url.protocol !== 'https:' && url.protocol !== new URL(this.#base).protocol) throw new RegistryError('an upload would leave TLS', 0);
    return url;
  }
}

function scopeOf(repository: string, actions: string): string {
  return `repository:${repository}:${actions}`;
}

async function nothing(response: Response): Promise<undefined> {
  await response.body?.cancel();
  return undefined;
}

async function expectOk(response: Response, status: number): Promise<void> {
  if (response.status === status) return;
  const text = Buffer.from(await readAll(response, TEXT_LIMIT).catch(() => new Uint8Array())).toString();
  const { code, message } = firstError(text);
  // No line of a terminal or a log is the registry's to make.
  const said = message === undefined ? '' : `: ${message.replace(/[^ -~\u00a0-\uffff]/g, ' ').slice(0, 500)}`;
  throw new RegistryError(`the registry answers ${response.status}${said}`, response.status, code);
}

function firstError(text: string): { code?: string; message?: string } {
  try {
    const { errors } = JSON.parse(text) as { errors?: { code?: unknown; message?: unknown }[] };
    const [first] = errors ?? [];
    return {
      ...(typeof first?.code === 'string' ? { code: first.code } : {}),
      ...(typeof first?.message === 'string' ? { message: first.message } : {}),
    };
  } catch {
    return {};
  }
}

async function readAll(response: Response, limit: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response.body ?? []) {
    length += (piece as Uint8Array).length;
    if (length > limit) throw new RegistryError(`an answer has more than ${limit} bytes`, 0);
    pieces.push(piece as Uint8Array);
  }
  return Buffer.concat(pieces);
}

function referrersIn(bytes: Uint8Array): Referrer[] {
  const { manifests } = JSON.parse(Buffer.from(bytes).toString()) as { manifests?: unknown };
  return (Array.isArray(manifests) ? manifests : []).filter((one): one is Referrer => {
    const { mediaType, digest, size } = (one ?? {}) as Partial<Descriptor>;
    return typeof mediaType === 'string' && typeof digest === 'string' && parseDigest(digest) !== undefined && Number.isSafeInteger(size);
  });
}

/** RFC 8288, of the same registry only. */
function nextPage(response: Response, current: URL, base: string): URL | undefined {
  const target = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('link') ?? '')?.[1];
  if (target === undefined) return undefined;
  const url = new URL(target, current);
  return url.origin === new URL(base).origin ? url : undefined;
}
