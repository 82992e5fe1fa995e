import { isIP, connect as netConnect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import type { Destinations } from './destinations.ts';
import { checkedAddresses, checkedLookup, OutboundError, type Resolve } from './outbound-checks.ts';

/** Where a connection leads. */
export interface ConnectTarget {
  readonly host: string;
  readonly port: number;
  /** Absent: in the clear. */
  readonly tls?: {
    /** What the certificate must name; default the host. */
    readonly serverName?: string | undefined;
    /** PEM of certificate and key that prove who we are. */
    readonly certificate?: string | undefined;
    readonly key?: string | undefined;
    /** PEM of the authorities that are trusted in place of the usual ones. */
    readonly ca?: string | undefined;
    /** What is said in the clear before TLS begins, as for STARTTLS. Rejects where the other side will not. */
    readonly prepare?: (socket: Socket) => Promise<void>;
  };
  readonly signal?: AbortSignal;
  /** Until the connection stands, TLS included. Default 10 seconds. */
  readonly timeoutMs?: number;
  /** Told of each step, for who looks why it fails. */
  readonly onStep?: (step: string) => void;
}

const CONNECT_MS = 10_000;

/**
 * Connects for protocols other than HTTP, by the same rules: resolve once, check every address, connect only to those.
 * The connection may be half closed; where `signal` is aborted it is destroyed, also later. Whoever gets it listens for its errors.
 */
export async function openConnection(
  { host, port, tls, signal, timeoutMs = CONNECT_MS, onStep }: ConnectTarget,
  { destinations, resolve, ca }: { destinations: Destinations; resolve: Resolve; ca: string[] | undefined },
): Promise<Socket> {
  signal?.throwIfAborted();
  const late = AbortSignal.timeout(timeoutMs);
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const settled = new AbortController();
  const ended = new Promise<never>((_, reject) => {
    const options = { once: true, signal: settled.signal };
    late.addEventListener('abort', () => reject(new OutboundError('timeout', `${where} took too long to connect`)), options);
    signal?.addEventListener('abort', () => reject(signal.reason as Error), options);
  });
  ended.catch(() => undefined);
  const found = await Promise.race([checkedAddresses(destinations, resolve, host), ended]);
  onStep?.(`${host} is ${found.map(({ address }) => address).join(', ')}`);
  // Only what was checked is connected to.
  const lookup = checkedLookup(destinations, () => Promise.resolve(found));
  const options = { host, port, lookup, noDelay: true, keepAlive: true, allowHalfOpen: true };
  const name = tls?.serverName ?? host;
  const authorities = tls?.ca === undefined ? ca : [tls.ca];
  const named = { ...(isIP(name) === 0 ? { servername: name } : {}), ...(authorities ? { ca: authorities } : {}) };
  const secure = { ...named, cert: tls?.certificate, key: tls?.key };
  const made: Socket[] = [];
  const destroy = () => made.forEach((socket) => void socket.destroy());
  signal?.addEventListener('abort', destroy, { once: true });

  async function follow(socket: Socket, event: 'connect' | 'secureConnect'): Promise<Socket> {
    made.push(socket);
    const opened = new Promise<void>((done, fail) => {
      socket.once(event, done);
      socket.once('error', (error: NodeJS.ErrnoException) => fail(translated(error, where)));
      socket.once('close', () =>
        fail(signal?.aborted ? (signal.reason as Error) : new OutboundError('unreachable', `${where} closed the connection`)),
      );
    });
    opened.catch(() => undefined);
    await Promise.race([opened, ended]);
    return socket;
  }

  async function open(): Promise<Socket> {
    if (!tls) return await follow(netConnect(options), 'connect');
    const connected = (socket: Socket) => onStep?.(`connected to ${socket.remoteAddress}`);
    if (!tls.prepare) {
      const socket = openSecure({ ...options, ...secure });
      socket.once('connect', () => connected(socket));
      return await follow(socket, 'secureConnect');
    }
    const plain = await follow(netConnect(options), 'connect');
    plain.on('error', () => undefined); // told by what stands above it
    connected(plain);
    await Promise.race([tls.prepare(plain), ended]);
    return await follow(openSecure({ socket: plain, ...secure }), 'secureConnect');
  }

  try {
    const socket = await open();
    socket.once('close', () => signal?.removeEventListener('abort', destroy));
    onStep?.(tls ? `TLS stands and the certificate is for ${name}` : `connected to ${socket.remoteAddress}`);
    return socket;
  } catch (error) {
    signal?.removeEventListener('abort', destroy);
    for (const socket of made) socket.on('error', () => undefined).destroy();
    throw error;
  } finally {
    settled.abort();
  }
}

/** A key or certificate that is none is found when it is used. */
function openSecure(options: ConnectionOptions): Socket {
  try {
    return tlsConnect(options);
  } catch (error) {
    throw new OutboundError('invalid', 'the client certificate or its key cannot be used', error);
  }
}

function translated(error: NodeJS.ErrnoException, where: string): OutboundError {
  if (error instanceof OutboundError) return error;
  const { code = 'unknown' } = error;
  if (code === 'ETIMEDOUT') return new OutboundError('timeout', `${where} took too long to connect`, error);
  return new OutboundError('unreachable', `${where} cannot be reached (${code})`, error);
}
