import { connect, createServer, type Socket } from 'node:net';
import type { TestServer } from '../harness/server.ts';

/** A wire between a client and the registry that can be listened to, and cut. */
export interface Relay {
  readonly address: string;
  /** Request lines that went through, each followed by its Range header where it has one. */
  readonly requests: readonly string[];
  /** Status codes of the answers. */
  readonly statuses: readonly number[];
  /** Cuts the next connection that carries more than so many bytes of answers, once. */
  cutAfter(bytes: number): void;
  close(): void;
}

export async function startRelay({ address }: TestServer): Promise<Relay> {
  const [host = '', port = ''] = address.split(':');
  const requests: string[] = [];
  const statuses: number[] = [];
  const sockets = new Set<Socket>();
  let limit = Number.POSITIVE_INFINITY;

  const relay = createServer((client) => {
    const upstream = connect(Number(port), host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined); // a reset is an end like any other
      socket.on('close', () => sockets.delete(socket));
    }
    // Either end's end is the other's: a half-open wire would keep a client waiting.
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.end());
    client.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      const line = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE) \S+(?= HTTP\/1\.1\r\n)/.exec(text)?.[0];
      if (line !== undefined) requests.push([line, ...(/\r\n(Range: [^\r]*)/i.exec(text)?.slice(1) ?? [])].join(' '));
    });
    client.pipe(upstream);
    let carried = 0;
    upstream.on('data', (chunk: Buffer) => {
      carried += chunk.length;
      const status = /^HTTP\/1\.1 ([0-9]{3}) /.exec(chunk.toString('latin1', 0, 20))?.[1];
      if (status !== undefined) statuses.push(Number(status));
      if (carried > limit) {
        limit = Number.POSITIVE_INFINITY;
        client.destroy();
      } else if (!client.write(chunk)) {
        upstream.pause();
      }
    });
    client.on('drain', () => upstream.resume());
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const bound = relay.address();
  return {
    address: typeof bound === 'object' ? `127.0.0.1:${bound?.port}` : '',
    requests,
    statuses,
    cutAfter: (bytes) => {
      limit = bytes;
    },
    close: () => {
      relay.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
