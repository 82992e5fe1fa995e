import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished } from 'node:stream/promises';
import { AppError } from './errors.ts';

/** Length a request announces; undefined when it comes in chunks of its own. */
export function contentLength(request: IncomingMessage): number | undefined {
  const text = request.headers['content-length'];
  return text === undefined ? undefined : Number(text);
}

/** Whether bytes will follow the head. */
export function hasBody(request: IncomingMessage): boolean {
  return request.headers['transfer-encoding'] !== undefined || (contentLength(request) ?? 0) > 0;
}

/** Asks a client that waits (`Expect: 100-continue`, RFC 9110 section 10.1.1) for its body; called only once it is wanted. */
export function wantBody(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.expect?.toLowerCase() === '100-continue' && !response.headersSent) response.writeContinue();
}

/** The body as it comes. A loop that ends early leaves the request whole, so that its rest can be taken and the connection goes on. */
export function chunksOf(request: IncomingMessage): AsyncIterable<Buffer> {
  return request.iterator({ destroyOnReturn: false });
}

/** Reads a small body whole. Throws `tooLarge()` past the limit, without reading on, and `upload_invalid` where the client goes away. */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  { limit, tooLarge }: { limit: number; tooLarge: () => AppError },
): Promise<Buffer> {
  if ((contentLength(request) ?? 0) > limit) throw tooLarge();
  wantBody(request, response);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of chunksOf(request)) {
      length += chunk.length;
      if (length > limit) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    throw brokenOff(error);
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, length);
}

/** More than a manifest has. */
const SKIPPED_BYTES = 8 << 20;

/**
 * Takes and drops the rest of a body of modest, announced size, so that a refusal does not overtake it: a client in the middle of
 * sending may never see that, and containerd's, which is to send the same again with a token, then waits for ever. Whoever waits to
 * be asked for the body (`Expect: 100-continue`) or has much to send learns of the refusal at once.
 */
export async function skipBody(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed || request.headers.expect !== undefined) return;
  if ((contentLength(request) ?? Number.POSITIVE_INFINITY) > SKIPPED_BYTES) return;
  request.resume();
  await finished(request).catch(() => undefined); // a client that goes away is told nothing
}

/** What ends a body early is the client's doing, no failure of ours. */
export function brokenOff(cause: unknown): AppError {
  return cause instanceof AppError ? cause : new AppError('upload_invalid', 'the connection broke off', { cause });
}
