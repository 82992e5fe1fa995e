import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { type EventTime, FluentServer, type FluentServerSecurityOptions } from '@fluent-org/logger';

/** A server of a test, and how to end it with everything that is connected. */
export interface Listening {
  readonly port: number;
  close(): Promise<void>;
}

/** Listens on a port of this machine, a free one unless it is named. */
export async function listenOn(server: Server, port = 0): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket.on('error', () => undefined));
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** A port that nobody listens on, for who shall come later. */
export async function freePort(): Promise<number> {
  const taken = await listenOn(createServer());
  await taken.close();
  return taken.port;
}

/** A Fluentd, as the logger package ships one for tests. */
export async function fluentdReceiver(
  security?: FluentServerSecurityOptions,
  port = 0,
  tls?: TlsOptions,
): Promise<Listening & { readonly entries: { readonly tag: string; readonly time: number; readonly record: { readonly seq: number } }[] }> {
  const server = new FluentServer({
    ...(security ? { security } : {}),
    ...(tls ? { tlsOptions: tls } : {}),
    listenOptions: { port, host: '127.0.0.1' },
  });
  const entries: { tag: string; time: number; record: { seq: number } }[] = [];
  server.on('entry', (tag: string, time: EventTime, record: { seq: number }) => entries.push({ tag, time: time.epoch, record }));
  await server.listen();
  return { port: server.port ?? 0, entries, close: () => server.close() };
}

/** A receiver of syslog messages that takes octet counting and nothing else. */
export async function syslogReceiver(
  options: { port?: number; tls?: TlsOptions } = {},
): Promise<Listening & { readonly messages: string[] }> {
  const messages: string[] = [];
  const take = (socket: Socket) => {
    let rest = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (
        let match = /^([1-9][0-9]*) /.exec(rest.toString('latin1', 0, 12));
        match;
        match = /^([1-9][0-9]*) /.exec(rest.toString('latin1', 0, 12))
      ) {
        const end = match[0].length + Number(match[1]);
        if (rest.length < end) break;
        messages.push(rest.toString('utf8', match[0].length, end));
        rest = rest.subarray(end);
      }
    });
    socket.on('error', () => undefined);
  };
  const server = options.tls ? createTlsServer(options.tls, take) : createServer(take);
  return { ...(await listenOn(server, options.port)), messages };
}

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** An HTTP server that answers as `answer` says: a status, and a body where there is one. */
export async function httpReceiver(
  answer: (request: HttpRequest) => { status: number; body?: unknown; headers?: Record<string, string> },
  port = 0,
): Promise<Listening & { readonly requests: HttpRequest[]; readonly url: string }> {
  const requests: HttpRequest[] = [];
  const server = createHttpServer((request: IncomingMessage, response: ServerResponse) => {
    text(request).then(
      (body) => {
        const seen = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body };
        requests.push(seen);
        const { status, body: said, headers = {} } = answer(seen);
        response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(said === undefined ? '' : JSON.stringify(said));
      },
      () => response.destroy(),
    );
  });
  const listening = await listenOn(server, port);
  return { ...listening, requests, url: `http://127.0.0.1:${listening.port}` };
}

interface Action {
  readonly create: { readonly _index: string; readonly _id: string };
}

/** What a bulk interface does: it checks the form strictly, creates documents once, and says of each what became of it. */
export class BulkServer {
  readonly documents = new Map<string, Record<string, unknown>>();
  /** Status for a document in place of the usual, as Elasticsearch would answer for what it does not take. */
  refuse: (document: Record<string, unknown>) => { status: number; type: string } | undefined = () => undefined;

  answer({ method, url, headers, body }: HttpRequest): { status: number; body?: unknown } {
    const lines = body.split('\n');
    const { pathname } = new URL(url, 'http://sink');
    const formed = method === 'POST' && pathname === '/_bulk' && headers['content-type'] === 'application/x-ndjson';
    if (!formed || lines.pop() !== '' || lines.length % 2 !== 0) return { status: 400, body: { error: 'malformed' } };
    const items = [];
    for (let at = 0; at < lines.length; at += 2) {
      const { create, ...others } = JSON.parse(lines[at] ?? '') as Action;
      const document = JSON.parse(lines[at + 1] ?? '') as Record<string, unknown>;
      if (Object.keys(others).length > 0 || Object.keys(create).sort().join() !== '_id,_index') return { status: 400 };
      const key = `${create._index}/${create._id}`;
      const refused = this.refuse(document);
      if (refused) items.push({ create: { status: refused.status, error: { type: refused.type } } });
      else if (this.documents.has(key)) items.push({ create: { status: 409, error: { type: 'version_conflict_engine_exception' } } });
      else {
        this.documents.set(key, document);
        items.push({ create: { status: 201 } });
      }
    }
    return { status: 200, body: { items } };
  }
}
