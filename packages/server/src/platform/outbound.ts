import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import type { Dispatcher } from 'undici';
import { type ConnectTarget, openConnection } from './connection.ts';
import { parseDestinations } from './destinations.ts';
import { checkedLookup, OutboundError, type Resolve, requireAllowed, resolveAll } from './outbound-checks.ts';

export interface OutboundRequest {
  readonly method?: Dispatcher.HttpMethod;
  /** Sent to every hop of the same origin, and to other origins without what tells who we are. */
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream cannot be sent again, so a redirect that asks for that fails. */
  readonly body?: string | Uint8Array | Readable;
  readonly signal?: AbortSignal;
  /** For the whole call, its answer's body included. Default 30 seconds. */
  readonly timeoutMs?: number;
  /** How long the other side may be silent. Default 10 seconds. */
  readonly idleMs?: number;
  /** Of the answer's body as it comes over the line; it is never decompressed. Default 1 MiB. */
  readonly maxBytes?: number;
  /** Default 3. */
  readonly maxRedirects?: number;
}

export interface OutboundResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Where the answer came from, after redirects. */
  readonly url: string;
  /** The body as it arrives; ends with an OutboundError where a limit is passed. Read it to its end, or leave the loop. */
  body(): AsyncGenerator<Uint8Array, void, void>;
  /** The body as a whole. */
  bytes(): Promise<Uint8Array>;
}

/** The only way out: every call to another server goes through here (invariant 8). */
export interface Outbound {
  request(url: string, options?: OutboundRequest): Promise<OutboundResponse>;
  /** A connection for a protocol that is not HTTP; never through the proxy. Rejects with an OutboundError. */
  connect(target: ConnectTarget): Promise<Socket>;
  close(): Promise<void>;
}

interface Options {
  readonly outboundAllow: string;
  /** Empty: none. Behind a proxy names are resolved there; what resolves here is checked all the same. */
  readonly outboundProxy: string;
  /** PEM file of authorities trusted besides the usual ones; empty: none. */
  readonly outboundCaFile: string;
  readonly resolve?: Resolve;
}

const MAX_HEADER_BYTES = 16 * 1024;
const CONNECT_MS = 10_000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Headers that tell another origin who we are. */
const CREDENTIALS = new Set(['authorization', 'cookie', 'proxy-authorization', 'x-registry-auth']);
/** Headers of a body that a redirect drops. */
const OF_BODY = /^(content-|transfer-encoding$)/i;

/** Throws for an allow list, a proxy or a certificate file that cannot be used. */
export function createOutbound({ outboundAllow, outboundProxy, outboundCaFile, resolve = resolveAll }: Options): Outbound {
  const destinations = parseDestinations(outboundAllow);
  const ca = outboundCaFile === '' ? undefined : [...rootCertificates, readFileSync(outboundCaFile, 'utf8')];
  const tls = { timeout: CONNECT_MS, ...(ca ? { ca } : {}) };
  const limits = { maxHeaderSize: MAX_HEADER_BYTES, connections: 64, pipelining: 1 };
  const lookup = checkedLookup(destinations, resolve);
  let made: Promise<Dispatcher> | undefined;

  /** The library is loaded by the first call: a registry that makes none does without its 12 MiB. */
  async function makeDispatcher(): Promise<Dispatcher> {
    const { Agent, ProxyAgent } = await import('undici');
    return outboundProxy === ''
      ? new Agent({ ...limits, connect: { ...tls, lookup } })
      : new ProxyAgent({ ...limits, uri: outboundProxy, proxyTunnel: true, requestTls: tls, proxyTls: tls });
  }

  /** One hop: checks where it leads, and sends. */
  async function send(url: URL, hop: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    // An address in the URL is connected to without a look-up; the URL parser has turned every spelling into the usual one.
    if (isIP(host) !== 0) requireAllowed(destinations, [{ address: host, family: isIP(host) }], host);
    else if (outboundProxy !== '') {
      const found = await resolve(host).catch(() => []);
      if (found.length > 0) requireAllowed(destinations, found, host);
    }
    made ??= makeDispatcher();
    const dispatcher = await made;
    try {
      return await dispatcher.request(hop);
    } catch (error) {
      throw translated(error, url);
    }
  }

  async function request(address: string, options: OutboundRequest = {}): Promise<OutboundResponse> {
    const { timeoutMs = 30_000, idleMs = 10_000, maxBytes = 1 << 20, maxRedirects = 3, signal } = options;
    const ends = AbortSignal.timeout(timeoutMs);
    const either = signal ? AbortSignal.any([signal, ends]) : ends;
    let url = parseTarget(address);
    let { method = 'GET', body } = options;
    let headers = Object.entries(options.headers ?? {});
    for (let redirects = 0; ; redirects++) {
      const hop = { origin: url.origin, path: url.pathname + url.search, method, body: body ?? null, signal: either };
      const response = await send(url, { ...hop, headers: headers.flat(), headersTimeout: idleMs, bodyTimeout: idleMs });
      const { location } = response.headers;
      if (!REDIRECTS.has(response.statusCode) || typeof location !== 'string') return answerOf(response, url, maxBytes);
      response.body.on('error', () => undefined).destroy();
      if (redirects >= maxRedirects) throw new OutboundError('redirect', `${url.host} led on more than ${maxRedirects} times`);
      const next = parseTarget(location, url);
      if (url.protocol === 'https:' && next.protocol === 'http:') throw new OutboundError('redirect', `${url.host} led from https to http`);
      const keepsMethod = response.statusCode >= 307 || method === 'GET' || method === 'HEAD';
      if (!keepsMethod) {
        method = 'GET';
        body = undefined;
        headers = headers.filter(([name]) => !OF_BODY.test(name));
      } else if (body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array)) {
        throw new OutboundError('redirect', `${url.host} led on while a stream was sent`);
      }
      if (next.origin !== url.origin) headers = headers.filter(([name]) => !CREDENTIALS.has(name.toLowerCase()));
      url = next;
    }
  }

  return {
    request,
    connect: (target) => openConnection(target, { destinations, resolve, ca }),
    close: async () => (await made)?.close(),
  };
}

function answerOf({ statusCode, headers, body }: Dispatcher.ResponseData, url: URL, maxBytes: number): OutboundResponse {
  async function* limited(): AsyncGenerator<Uint8Array, void, void> {
    const tooLarge = () => new OutboundError('too_large', `${url.host} sent more than ${maxBytes} bytes`);
    let bytes = 0;
    try {
      if (Number(headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        bytes += chunk.length;
        if (bytes > maxBytes) throw tooLarge();
        yield chunk;
      }
    } catch (error) {
      throw translated(error, url);
    } finally {
      body.on('error', () => undefined).destroy();
    }
  }
  const bytes = async () => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of limited()) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  return { status: statusCode, headers, url: url.href, body: limited, bytes };
}

/** http and https only, and no credentials in the address: those would end in logs. */
function parseTarget(address: string, base?: URL): URL {
  const url = URL.parse(address, base?.href);
  if (!url) throw new OutboundError(base ? 'redirect' : 'invalid', 'this is not an address that can be called');
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new OutboundError('blocked', `${url.protocol} is not called, only http and https`);
  if (url.username !== '' || url.password !== '')
    throw new OutboundError('blocked', 'an address with a user name or password is not called');
  url.hash = '';
  return url;
}

const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT']);

function translated(error: unknown, { host }: URL): unknown {
  if (error instanceof OutboundError) return error;
  const { name, code, cause } = error as { name?: string; code?: string; cause?: unknown };
  if (cause instanceof OutboundError) return cause;
  if (name === 'AbortError') return error;
  if (name === 'TimeoutError' || (code !== undefined && TIMEOUTS.has(code)))
    return new OutboundError('timeout', `${host} took too long`, error);
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return new OutboundError('too_large', `${host} sent more than ${MAX_HEADER_BYTES} bytes of headers`, error);
  return new OutboundError('unreachable', `${host} cannot be reached`, error);
}
