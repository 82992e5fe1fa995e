import { createHash, randomBytes } from 'node:crypto';
import { ADMIN } from './server.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  json<T>(): T;
}

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | ReadableStream<Uint8Array>;
}

/** A plain HTTP client of the distribution API, with the admin's Basic credentials unless told otherwise. */
export class Client {
  readonly #url: string;
  readonly #authorization: string | undefined;

  constructor(url: string, authorization: string | undefined = basic(ADMIN.user, ADMIN.password)) {
    this.#url = url;
    this.#authorization = authorization;
  }

  /** The same server without credentials. */
  static anonymous(url: string): Client {
    return new Client(url, '');
  }

  async request(method: string, path: string, { headers = {}, body }: RequestOptions = {}): Promise<Answer> {
    const own = this.#authorization ? { Authorization: this.#authorization } : {};
    const init: RequestInit & { duplex?: 'half' } = { method, headers: { ...own, ...headers }, redirect: 'manual' };
    if (body !== undefined) init.body = body as NonNullable<RequestInit['body']>;
    if (body instanceof ReadableStream) init.duplex = 'half';
    const response = await fetch(new URL(path, this.#url), init);
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, bytes, json: <T>() => JSON.parse(bytes.toString()) as T };
  }

  /** Pushes a blob by POST and PUT and gives its digest. */
  async pushBlob(name: string, bytes: Uint8Array): Promise<string> {
    const digest = sha256(bytes);
    const begun = await this.request('POST', `/v2/${name}/blobs/uploads/`);
    const location = begun.headers.get('location') ?? '';
    const done = await this.request('PUT', `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`, { body: bytes });
    if (done.status !== 201) throw new Error(`blob push answered ${done.status}: ${done.bytes}`);
    return digest;
  }

  /** Pushes an image of random layers and gives its manifest's bytes and digest. */
  async pushImage(name: string, reference: string, layers: readonly Uint8Array[] = [randomBytes(1000)]): Promise<PushedImage> {
    const config = Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        rootfs: { type: 'layers', diff_ids: [] },
        nonce: randomBytes(8).toString('hex'),
      }),
    );
    await this.pushBlob(name, config);
    for (const layer of layers) await this.pushBlob(name, layer);
    const manifest = imageManifest(config, layers);
    return await this.pushManifest(name, reference, manifest);
  }

  async pushManifest(name: string, reference: string, manifest: object): Promise<PushedImage> {
    const bytes = Buffer.from(JSON.stringify(manifest));
    const type = (manifest as { mediaType: string }).mediaType;
    const done = await this.request('PUT', `/v2/${name}/manifests/${reference}`, { headers: { 'Content-Type': type }, body: bytes });
    if (done.status !== 201) throw new Error(`manifest push answered ${done.status}: ${done.bytes}`);
    return { bytes, digest: sha256(bytes), manifest };
  }
}

/** Sends a request that must be answered with one of these statuses. */
export async function must(
  client: Client,
  expected: readonly number[],
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Answer> {
  const answer = await client.request(method, path, options);
  if (!expected.includes(answer.status)) throw new Error(`${method} ${path} answered ${answer.status}: ${answer.bytes}`);
  return answer;
}

/** Begins an upload and gives its location. */
export async function begin(client: Client, name: string, query = ''): Promise<string> {
  return (await must(client, [202], 'POST', `/v2/${name}/blobs/uploads/${query}`)).headers.get('location') ?? '';
}

/** The one error of an answer in the specification's form (distribution-spec, "Error Codes"); throws for any other body. */
export function errorOf({ headers, bytes }: Answer): { code: string; message: string; detail?: unknown } {
  const text = bytes.toString();
  const body = JSON.parse(text) as { errors?: { code: string; message: string; detail?: unknown }[] };
  const [error, ...others] = body.errors ?? [];
  const sound = error && others.length === 0 && /^[A-Z_]+$/.test(error.code) && error.message !== '';
  if (!sound || headers.get('content-type') !== 'application/json') throw new Error(`not an error of the specification: ${text}`);
  return error;
}

export interface PushedImage {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly manifest: object;
}

export function imageManifest(config: Uint8Array, layers: readonly Uint8Array[], extra: object = {}): object {
  return {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256(config), size: config.length },
    layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: sha256(layer), size: layer.length })),
    ...extra,
  };
}

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export function sha512(bytes: Uint8Array | string): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
}

export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
