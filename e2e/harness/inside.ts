import { createServer } from 'node:net';
import { listenOn } from '../../packages/server/src/evidence/forwarding/testing-sinks.ts';
import { atEnd } from './at-end.ts';

/** Loopback, private, link-local and metadata addresses, in the spellings that some programs read as those. */
export const INSIDE: readonly string[] = [
  ...['127.0.0.1', 'localhost', '127.1', '2130706433', '0x7f000001', '0177.0.0.1', '0.0.0.0'],
  ...['::1', '::', '::ffff:127.0.0.1', '::ffff:7f00:1'],
  ...['10.0.0.1', '192.168.0.1', '169.254.169.254', '100.100.100.200', '168.63.129.16', 'fd00:ec2::254', 'fe80::1', '64:ff9b::7f00:1'],
];

/** A host as a URL writes it. */
export function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** A service that nobody outside may reach: it says `answer` to whoever connects, and counts them. */
export async function listenInside(answer: string): Promise<{ readonly port: number; connections(): number }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on('error', () => undefined).end(answer);
  });
  const { port, close } = await listenOn(server);
  atEnd(close);
  return { port, connections: () => connections };
}
