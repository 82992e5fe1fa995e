import { createHash, type Hash, randomBytes, randomFillSync } from 'node:crypto';
import { type Connection, headerOf, type Origin, type Reply, requestHead, requireStatus } from './connection.ts';

/** `put`: POST, then all bytes in the PUT. `patch`: POST, a PATCH of unknown length in chunks, then an empty PUT, as docker does. */
export type UploadStyle = 'put' | 'patch';

const TAIL_BYTES = 32;
/** What Go's clients write at a time. */
const CHUNK_BYTES = 32 * 1024;
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

export interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

/** Ever new blobs of one size that cost next to nothing to make: random bytes that stay, and an end that changes. */
export class BlobSource {
  readonly size: number;
  /** The part that stays, as `put` sends it. */
  readonly start: Buffer;
  /** The same in the framing of `Transfer-Encoding: chunked`. */
  readonly chunks: Buffer | undefined;
  readonly #hash: Hash;

  constructor(size: number, style: UploadStyle) {
    this.size = size;
    this.start = Buffer.allocUnsafeSlow(Math.max(0, size - TAIL_BYTES));
    randomFillSync(this.start);
    this.#hash = createHash('sha256').update(this.start);
    this.chunks = style === 'patch' ? inChunks(this.start) : undefined;
  }

  next(): Descriptor & { readonly end: Buffer } {
    const end = randomBytes(this.size - this.start.length);
    return { end, size: this.size, digest: `sha256:${this.#hash.copy().update(end).digest('hex')}` };
  }
}

function inChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) parts.push(...chunk(bytes.subarray(at, at + CHUNK_BYTES)));
  return Buffer.concat(parts);
}

function chunk(bytes: Buffer): Buffer[] {
  return [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')];
}

/** Uploads a new blob of the source; `check` asks first whether it is there, as clients do. */
export async function uploadBlob(
  connection: Connection,
  origin: Origin,
  repository: string,
  source: BlobSource,
  { style, check = false, pace }: { style: UploadStyle; check?: boolean; pace?: number | undefined },
): Promise<Descriptor> {
  const { digest, size, end } = source.next();
  if (check) {
    const asked = await connection.request([requestHead(origin, 'HEAD', `/v2/${repository}/blobs/${digest}`)], { isHead: true });
    requireStatus(asked, 404, 'HEAD of a new blob');
  }
  const begun = await connection.request([requestHead(origin, 'POST', `/v2/${repository}/blobs/uploads/`, { 'Content-Length': 0 })]);
  let path = locationOf(requireStatus(begun, 202, 'POST of an upload'));
  let body: Buffer[] = [source.start, end];
  if (source.chunks && style === 'patch') {
    const head = requestHead(origin, 'PATCH', path, { 'Content-Type': 'application/octet-stream', 'Transfer-Encoding': 'chunked' });
    const sent = await connection.request([head, source.chunks, ...chunk(end), Buffer.from('0\r\n\r\n')]);
    path = locationOf(requireStatus(sent, 202, 'PATCH of an upload'));
    body = [];
  }
  const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': body.length === 0 ? 0 : size };
  const closing = requestHead(origin, 'PUT', `${path}${path.includes('?') ? '&' : '?'}digest=${digest}`, headers);
  requireStatus(await connection.request([closing, ...body], { pace }), 201, 'PUT of an upload');
  return { digest, size };
}

function locationOf(reply: Reply): string {
  const url = new URL(headerOf(reply.head, 'location') ?? '', 'http://same-host');
  return url.pathname + url.search;
}

/** Puts an image manifest of blobs that are there and gives its digest. */
export async function putManifest(
  connection: Connection,
  origin: Origin,
  repository: string,
  tag: string,
  [config, ...layers]: readonly Descriptor[],
): Promise<string> {
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer })),
  };
  const body = Buffer.from(JSON.stringify(manifest));
  const headers = { 'Content-Type': MANIFEST_TYPE, 'Content-Length': body.length };
  const reply = await connection.request([requestHead(origin, 'PUT', `/v2/${repository}/manifests/${tag}`, headers), body]);
  requireStatus(reply, 201, 'PUT of a manifest');
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}
