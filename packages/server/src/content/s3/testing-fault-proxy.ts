import { createServer, type IncomingMessage, type OutgoingHttpHeaders, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** What the proxy does with a request instead of handing it on. `after`: the server has done it by then. */
export type Fault =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly body?: string;
      readonly headers?: OutgoingHttpHeaders;
      readonly after?: boolean;
    }
  /** The connection breaks off without an answer. */
  | { readonly kind: 'cut'; readonly after?: boolean }
  /** No answer comes, the connection stays. */
  | { readonly kind: 'silent'; readonly after?: boolean }
  /** The answer's body breaks off after so many bytes. */
  | { readonly kind: 'truncate'; readonly bytes: number }
  /** The answer's body is shorter than what was asked for, and says so. */
  | { readonly kind: 'short'; readonly bytes: number }
  /** The answer's body stops after so many bytes, the connection stays. */
  | { readonly kind: 'stall'; readonly bytes: number };

export interface Seen {
  /** Name of the operation in S3's API. */
  readonly operation: string;
  /** Bucket and key. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

export interface FaultProxy {
  readonly endpoint: string;
  /** Operations that came, in order. */
  readonly seen: Seen[];
  /** What is wrong from now on; nothing without an argument. */
  inject(fault?: (request: Seen) => Fault | undefined): void;
  close(): Promise<void>;
}

/** Stands before an S3 server, hands on what comes as it is, so that signatures hold, and fails as it is told. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(target);
  const seen: Seen[] = [];
  let inject: (request: Seen) => Fault | undefined = () => undefined;

  async function forward(incoming: IncomingMessage, body: Buffer): Promise<{ answer: IncomingMessage; bytes: Buffer }> {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const { method, url: path, headers } = incoming;
      request({ hostname, port, method, path, headers, agent: false }, resolve).on('error', reject).end(body);
    });
    return { answer, bytes: await buffer(answer) };
  }

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(incoming);
    const what = { operation: operationOf(incoming), path: (incoming.url ?? '').split('?')[0] ?? '', headers: incoming.headers };
    seen.push(what);
    const fault = inject(what);
    const passes = fault === undefined || !('after' in fault || fault.kind === 'answer' || fault.kind === 'cut' || fault.kind === 'silent');
    const done = passes || (fault && 'after' in fault && fault.after) ? await forward(incoming, body) : undefined;
    if (fault?.kind === 'silent') return;
    if (fault?.kind === 'cut') return void response.destroy();
    if (fault?.kind === 'answer') return void response.writeHead(fault.status, fault.headers).end(fault.body ?? '');
    if (!done) throw new Error('a request was neither handed on nor failed');
    const { answer, bytes } = done;
    if (fault === undefined) return void response.writeHead(answer.statusCode ?? 500, answer.rawHeaders).end(bytes);
    const some = bytes.subarray(0, fault.bytes);
    const headers = { ...answer.headers, ...(fault.kind === 'short' ? { 'content-length': String(some.length) } : {}) };
    response.writeHead(answer.statusCode ?? 500, headers);
    if (fault.kind === 'short') response.end(some);
    else response.write(some, () => fault.kind === 'truncate' && response.destroy());
  }

  const server = createServer((incoming, response) => {
    handle(incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    inject: (fault = () => undefined) => (inject = fault),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function operationOf({ method = '', url = '', headers }: IncomingMessage): string {
  const { searchParams: query } = new URL(url, 'http://s3');
  const isCopy = headers['x-amz-copy-source'] !== undefined;
  switch (method) {
    case 'PUT':
      return query.has('partNumber') ? (isCopy ? 'UploadPartCopy' : 'UploadPart') : isCopy ? 'CopyObject' : 'PutObject';
    case 'POST':
      return query.has('restore') ? 'RestoreObject' : query.has('uploads') ? 'CreateMultipartUpload' : 'CompleteMultipartUpload';
    case 'DELETE':
      return query.has('uploadId') ? 'AbortMultipartUpload' : 'DeleteObject';
    case 'HEAD':
      return 'HeadObject';
    default:
      return query.has('list-type') ? 'ListObjectsV2' : query.has('uploads') ? 'ListMultipartUploads' : 'GetObject';
  }
}
