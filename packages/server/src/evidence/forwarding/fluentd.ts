import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import { Readable } from 'node:stream';
import { connectFor } from './connect.ts';
import { type AuditLine, type Refusal, type Sink, SinkError, type SinkParts, shown, withHash } from './sink.ts';
import type { FluentdTarget, SinkSecrets } from './targets.ts';

/** Most that the other side may say in one delivery; an acknowledgement has some 40 bytes. */
const MAX_HEARD_BYTES = 1 << 20;

/** A connection whose other side has let us in. */
interface Session {
  readonly socket: Socket;
  /** The next message of the other side. */
  hear(what: string): Promise<unknown>;
  /** The other side takes more than one message on a connection. */
  readonly keepAlive: boolean;
}

/**
 * Fluentd's forward protocol, version 1: HELO, PING and PONG where a shared key is set, then batches in PackedForward mode,
 * each with a `chunk` that the other side must acknowledge.
 */
export function fluentdSink(target: FluentdTarget, secrets: SinkSecrets, parts: SinkParts): Sink {
  const { host, port, tag = 'entrepot.audit' } = target;
  const { onStep } = parts;
  const where = `fluentd at ${host}:${port}`;
  let session: Promise<Session> | undefined;

  async function send(records: readonly AuditLine[]): Promise<readonly Refusal[]> {
    session ??= open(target, secrets, parts, where);
    const { socket, hear, keepAlive } = await session;
    const { EventTime } = await import('@fluent-org/logger');
    const protocol = await protocolOf();
    const refused: Refusal[] = [];
    const entries = records.flatMap((record) => {
      try {
        return [protocol.packEntry([EventTime.fromTimestamp(record.at), JSON.parse(withHash(record)) as Record<string, unknown>])];
      } catch {
        refused.push({ seq: record.seq, reason: 'cannot be written as MessagePack' }); // nested too deeply
        return [];
      }
    });
    if (entries.length === 0) return refused;
    const size = entries.reduce((sum, { length }) => sum + length, 0);
    const chunk = randomBytes(16).toString('base64');
    socket.write(protocol.encodeMessage(protocol.generatePackedForwardMode(tag, entries, size, chunk)));
    onStep?.(`sent ${records.length === 1 ? 'a record' : `${records.length} records`}, ${size} bytes, as ${tag}`);
    const answer = await hear('acknowledge what was sent');
    if (protocol.isHelo(answer)) throw new SinkError(`${where} asks for a shared key, and none is set`);
    if (!protocol.isAck(answer) || answer.ack !== chunk) throw new SinkError(`${where} acknowledged something else than what was sent`);
    onStep?.('acknowledged');
    if (!keepAlive) close();
    return refused;
  }

  function close(): void {
    session?.then(({ socket }) => socket.destroySoon()).catch(() => undefined);
    session = undefined;
  }

  return { send, close };
}

async function open(target: FluentdTarget, secrets: SinkSecrets, parts: SinkParts, where: string): Promise<Session> {
  const socket = await connectFor(target, secrets, parts);
  socket.on('error', () => undefined); // told by what is heard next
  const protocol = await protocolOf();
  const heard = Readable.from(limited(socket, where)).on('error', () => undefined);
  const messages = protocol.decodeServerStream(heard)[Symbol.asyncIterator]();

  async function hear(what: string): Promise<unknown> {
    const timer = setTimeout(
      () => socket.destroy(new SinkError(`${where} did not ${what} within ${parts.answerMs / 1000} seconds`)),
      parts.answerMs,
    );
    try {
      const next = await messages.next();
      if (next.done !== true) return next.value;
      throw new SinkError(`${where} closed the connection and did not ${what}`);
    } catch (error) {
      parts.signal.throwIfAborted();
      if (error instanceof SinkError) throw error;
      const { code } = error as NodeJS.ErrnoException;
      const why = code === undefined ? 'sent what is not of the protocol' : `broke the connection (${code})`;
      throw new SinkError(`${where} ${why} and did not ${what}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  try {
    const { sharedKey } = secrets;
    if (sharedKey === undefined) return { socket, hear, keepAlive: true };
    const keepAlive = await shakeHands({ socket, hear }, target, { ...secrets, sharedKey }, where);
    parts.onStep?.('shared key accepted on both sides');
    return { socket, hear, keepAlive };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** HELO, PING, PONG: each side proves to the other that it knows the key, and neither sends it. */
async function shakeHands(
  { socket, hear }: Pick<Session, 'socket' | 'hear'>,
  { user = '' }: FluentdTarget,
  { sharedKey, password = '' }: SinkSecrets & { readonly sharedKey: string },
  where: string,
): Promise<boolean> {
  const protocol = await protocolOf();
  const helo = await hear('begin with HELO, as it does where a shared key is set on its side');
  if (!protocol.isHelo(helo)) throw new SinkError(`${where} did not begin with HELO`);
  const { nonce, auth, keepalive = true } = protocol.parseHelo(helo);
  const known = { key: sharedKey, nonce, salt: randomBytes(16).toString('hex') };
  const name = `entrepot.${hostname()}`; // the protocol refuses two sides of one name, and both may be on this machine
  const asks = auth !== undefined && auth.length > 0;
  if (asks && user === '') throw new SinkError(`${where} asks for user and password, and none is set`);
  socket.write(protocol.encodeMessage(protocol.generatePing(name, known, asks ? { salt: auth, username: user, password } : undefined)));
  const pong = await hear('answer the shared key with PONG');
  if (!protocol.isPong(pong)) throw new SinkError(`${where} did not answer with PONG`);
  const [, accepted, reason] = pong;
  if (!accepted) throw new SinkError(`${where} refused shared key, user or password: ${shown(reason)}`);
  try {
    protocol.checkPong(pong, name, known);
  } catch (cause) {
    throw new SinkError(`${where} does not know the shared key`, { cause });
  }
  return keepalive;
}

async function* limited(socket: Socket, where: string): AsyncGenerator<Buffer, void, void> {
  let heard = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    heard += chunk.length;
    if (heard > MAX_HEARD_BYTES) throw new SinkError(`${where} says too much`);
    yield chunk;
  }
}

/** Loaded by the first delivery: who forwards nothing does without it. */
async function protocolOf() {
  return await import('@fluent-org/logger/build/src/protocol.js');
}
