import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface Listener {
  /** Port that was taken. */
  readonly port: number;
  /** Stops taking connections, lets running requests finish, cuts what is left after the limit. */
  drain(limitMs: number): Promise<void>;
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

/** Opens the port. Slow but steady transfers are never cut: there is no limit on a whole request, only on silence. */
export async function listen(handler: RequestHandler, { host, port, shared, idleMs }: Options): Promise<Listener> {
  const server = createServer(
    {
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_MS,
      requestTimeout: 0,
      noDelay: true,
      keepAlive: true,
      insecureHTTPParser: false,
    },
    handler,
  );
  // Handlers ask for the body themselves once they want it, so that a refused upload is never sent.
  server.on('checkContinue', handler);
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    else socket.destroy();
  });
  server.setTimeout(idleMs);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: shared, reusePort: shared, backlog: 1024 }, resolve);
  });
  return { port: (server.address() as AddressInfo).port, drain: (limitMs) => drain(server, limitMs) };
}

function drain(server: Server, limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const limit = setTimeout(() => server.closeAllConnections(), limitMs);
    // Keep-alive connections that fall idle while others still run.
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    server.close(() => {
      clearTimeout(limit);
      clearInterval(idle);
      resolve();
    });
    server.closeIdleConnections();
  });
}
