import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Identity } from '../access/index.ts';
import { AppError, type AuditResource, ERRORS, endTogether, type Session, toAppError } from '../platform/index.ts';

/** One request to the distribution API, after its path was read and its caller allowed. */
export interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Repository name, inside the grammar; empty for routes that have none. */
  readonly name: string;
  /** Tag, digest or upload id as in the path. */
  readonly reference: string;
  readonly query: URLSearchParams;
  readonly identity: Identity;
  /** Name under which the change is recorded. */
  readonly actor: string;
  /** Writes the audit record of the route's change, in the transaction of that. */
  record(tx: Session, change: Recorded): Promise<void>;
}

export interface Recorded {
  /** Where the change is another than the route's own. */
  readonly action?: string;
  readonly resource: AuditResource;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** What is sent is of the type that is said, whatever a browser thinks of its bytes. */
export const NOSNIFF = ['X-Content-Type-Options', 'nosniff'] as const;
export const API_VERSION = ['Docker-Distribution-API-Version', 'registry/2.0'] as const;

/** Statuses whose answers never have a body: a length there would be none, or that of what was not sent (RFC 9110 section 8.6). */
const BODILESS = new Set([204, 304]);

/** Answers with no body. */
export function answer(response: ServerResponse, status: number, headers: readonly string[] = []): void {
  response.writeHead(status, [...API_VERSION, ...headers, ...(BODILESS.has(status) ? [] : ['Content-Length', '0'])]);
  endTogether(response);
}

export function answerJson(response: ServerResponse, status: number, value: unknown, headers: readonly string[] = []): void {
  const body = Buffer.from(JSON.stringify(value));
  const own = headers.includes('Content-Type') ? [] : ['Content-Type', 'application/json'];
  response.writeHead(status, [...API_VERSION, ...own, ...NOSNIFF, 'Content-Length', String(body.length), ...headers]);
  endTogether(response, body);
}

/** The distribution API's error body (distribution-spec, "Error Codes"). Breaks the connection where an answer has begun. */
export function answerError(request: IncomingMessage, response: ServerResponse, thrown: unknown): AppError {
  const error = toAppError(thrown);
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return error;
  }
  const headers = Object.entries(error.headers).flat();
  // A client that is still sending reads no answer before it is done: take what comes, within reason.
  if (!request.complete) drain(request);
  const { detail, message } = error;
  const body = { errors: [{ code: ERRORS[error.code].oci, message, ...(detail === undefined ? {} : { detail }) }] };
  if (request.method === 'HEAD') {
    response.writeHead(error.status, [...API_VERSION, ...headers]);
    endTogether(response);
  } else {
    answerJson(response, error.status, body, headers);
  }
  return error;
}

/**
 * Whether a header names this entity tag: a weak one counts in `If-None-Match`, and never in `If-Match` (RFC 9110 sections
 * 13.1.1 and 13.1.2).
 */
export function namesEtag(header: string, etag: string, comparison: 'weak' | 'strong' = 'weak'): boolean {
  return header.split(',').some((part) => {
    const given = comparison === 'weak' ? part.trim().replace(/^W\//, '') : part.trim();
    return given === '*' || given === etag;
  });
}

const MAX_DRAIN_BYTES = 64 << 20;

function drain(request: IncomingMessage): void {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_DRAIN_BYTES) request.destroy();
  });
  request.on('error', () => undefined);
}

/** Next page by key, as a `Link` header (RFC 8288). */
export function nextLink(path: string, parameters: Readonly<Record<string, string | undefined>>): string[] {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) if (value !== undefined) query.set(key, value);
  return ['Link', `<${path}?${query}>; rel="next"`];
}

/** `Warning: 299 - "text"` (distribution-spec, "Warnings"): printable ASCII, quoted, short. */
export function warning(text: string): string[] {
  const plain = text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, "'");
  return ['Warning', `299 - "${plain.slice(0, 1000)}"`];
}

/** Page size asked for by `n`, at most `most`; the largest page where it is absent. */
export function pageSize(query: URLSearchParams, most: number): number {
  const text = query.get('n');
  if (text === null) return most;
  if (!/^[0-9]{1,15}$/.test(text)) throw new AppError('pagination_invalid', 'n must be a whole number, 0 or more');
  return Math.min(Number(text), most);
}
