import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { endAll } from './answers.ts';
import { TracedResponse } from './trace.ts';

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

type TracedServer = Server<typeof IncomingMessage, typeof TracedResponse>;

export interface Listener {
  /** Port that was taken. */
  readonly port: number;
  /**
   * Goes on taking connections while requests run, so that a load balancer sees the readiness check fail, half the limit
   * at most; then takes no more, lets what runs finish, and cuts what is left after the limit.
   */
  drain(limitMs: number, running: () => number): Promise<void>;
}

interface Options {
  readonly host: string;
  readonly port: number;
  /** Several processes take connections on the same port. */
  readonly shared: boolean;
  /** A connection on which nothing moves for so long is cut. */
  readonly idleMs: number;
}

/** Longer than load balancers keep idle connections, so that they never send into one we just closed. */
const KEEP_ALIVE_MS = 620_000;
const HEADERS_MS = 30_000;
const LOOK_MS = 50;

/** Opens the port. Slow but steady transfers are never cut: there is no limit on a whole request, only on silence. */
export async function listen(handler: RequestHandler, { host, port, shared, idleMs }: Options): Promise<Listener> {
  /** Connections that never sent a request: node does not count them as idle. */
  const silent = new Set<Socket>();
  /** What each connection answers last. */
  const answers = new WeakMap<Duplex, ServerResponse>();
  const take: RequestHandler = (request, response) => {
    if (silent.size > 0) silent.delete(request.socket);
    answers.set(request.socket, response);
    if (request.url?.startsWith('/') === false) toOriginForm(request);
    if (!isAmbiguous(request)) return handler(request, response);
    response.shouldKeepAlive = false;
    response.writeHead(400, { 'Content-Length': 0 }).end();
  };
  const server = createServer(
    {
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_MS,
      requestTimeout: 0,
      noDelay: true,
      keepAlive: true,
      insecureHTTPParser: false,
      ServerResponse: TracedResponse,
    },
    take,
  );
  server.on('connection', (socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  // Handlers ask for the body themselves once they want it, so that a refused upload is never sent.
  server.on('checkContinue', take);
  server.on('clientError', (_error, socket) => {
    endAll(); // what was answered before the mistake is sent before its answer
    const last = answers.get(socket);
    // In the middle of an answer, be it an earlier one than the last, this would become a part of that.
    const isWhole = last === undefined || last.writableFinished || (last.writableEnded && last.socket !== null && last.shouldKeepAlive);
    const begun = !isWhole && (last.headersSent || last.socket === null);
    if (begun || !socket.writable) socket.destroy();
    else socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });
  server.setTimeout(idleMs);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: shared, reusePort: shared, backlog: 1024 }, resolve);
  });
  return { port: (server.address() as AddressInfo).port, drain: (limitMs, running) => drain(server, { limitMs, running, silent }) };
}

/** What a program in front could read differently: more than one host, or a body in a coding besides chunks (RFC 9112 sections 3.2, 6.1). */
function isAmbiguous({ headers, rawHeaders }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return true;
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts++;
  }
  return hosts > 1;
}

/** Some clients name the whole address; its host is then the one that counts (RFC 9112 section 3.2.2). */
function toOriginForm(request: IncomingMessage): void {
  const [, authority, path = ''] = /^https?:\/\/([^/?#]+)(.*)$/i.exec(request.url ?? '') ?? [];
  if (authority === undefined) return;
  request.url = path.startsWith('/') ? path : `/${path}`;
  request.headers.host = authority.slice(authority.lastIndexOf('@') + 1);
}

interface Drain {
  readonly limitMs: number;
  readonly running: () => number;
  readonly silent: ReadonlySet<Socket>;
}

async function drain(server: TracedServer, { limitMs, running, silent }: Drain): Promise<void> {
  const begun = performance.now();
  server.closeIdleConnections();
  while (running() > 0 && performance.now() - begun < limitMs / 2) await delay(LOOK_MS);
  for (const socket of silent) socket.destroy();
  await close(server, Math.max(0, limitMs - (performance.now() - begun)));
}

function close(server: TracedServer, limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const limit = setTimeout(() => server.closeAllConnections(), limitMs);
    // Keep-alive connections that fall idle while others still run.
    const idle = setInterval(() => server.closeIdleConnections(), LOOK_MS);
    server.close(() => {
      clearTimeout(limit);
      clearInterval(idle);
      resolve();
    });
    server.closeIdleConnections();
  });
}
