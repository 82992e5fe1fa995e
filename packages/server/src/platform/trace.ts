import { randomBytes } from 'node:crypto';
import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Log } from './log.ts';

type Headers = OutgoingHttpHeaders | OutgoingHttpHeader[];

const SANE = /^[A-Za-z0-9._-]{1,64}$/;
/** Of this process alone, so that a number after it is enough. */
const PREFIX = randomBytes(6).toString('hex');
let requests = 0;

/** A response that knows what its request was about, and says under which id: the log has the same. */
export class TracedResponse extends ServerResponse {
  /** The client's own where it sent a sane one. */
  readonly requestId: string;
  routeClass = 'none';
  user: string | undefined = undefined;
  /** Bytes that went past node's own count. */
  sentBeside = 0;

  constructor(request: IncomingMessage, ...rest: unknown[]) {
    // @ts-expect-error node hands over options here that its types do not name
    super(request, ...rest);
    const given = request.headers['x-request-id'];
    this.requestId = typeof given === 'string' && SANE.test(given) ? given : `${PREFIX}-${(++requests).toString(36)}`;
  }

  override writeHead(status: number, reason?: string | Headers, headers?: Headers): this {
    // Into the array as it is: a header set before would have node sort and merge them all.
    if (Array.isArray(reason)) return super.writeHead(status, [...reason, 'X-Request-Id', this.requestId]);
    this.setHeader('X-Request-Id', this.requestId);
    return typeof reason === 'string' ? super.writeHead(status, reason, headers) : super.writeHead(status, reason);
  }
}

/** Says for the log what a request is about and, once known, who makes it. */
export function describeRequest(response: ServerResponse, routeClass: string, user?: string): void {
  if (!(response instanceof TracedResponse)) return;
  response.routeClass = routeClass;
  if (user !== undefined) response.user = user;
}

/** Counts bytes of a body that the kernel sent by itself. */
export function countSent(response: ServerResponse, bytes: number): void {
  if (response instanceof TracedResponse) response.sentBeside += bytes;
}

/** Id of the request that a response answers. */
export function requestIdOf(response: ServerResponse): string | undefined {
  return response instanceof TracedResponse ? response.requestId : undefined;
}

/** What may be logged of a request's target: no query, and no other form, as either can hold a password. */
function pathOf({ url = '' }: IncomingMessage): string {
  return url.startsWith('/') ? (url.split('?', 1)[0] ?? '') : '-';
}

/** Logs one line when the request has ended. Only what is named here: no header, no query, so no secret (invariant 11). */
export function logRequest(log: Log, request: IncomingMessage, response: ServerResponse, client: string): void {
  const started = performance.now();
  const { socket, method } = request;
  const sentBefore = socket.bytesWritten;
  response.once('close', () => {
    const traced = response instanceof TracedResponse ? response : undefined;
    log.info(
      {
        requestId: traced?.requestId,
        method,
        path: pathOf(request),
        class: traced?.routeClass,
        status: response.statusCode,
        bytes: socket.bytesWritten - sentBefore + (traced?.sentBeside ?? 0),
        ms: Math.round((performance.now() - started) * 1000) / 1000,
        user: traced?.user,
        client,
        ...(response.writableFinished ? {} : { aborted: true }),
      },
      'request',
    );
  });
}
