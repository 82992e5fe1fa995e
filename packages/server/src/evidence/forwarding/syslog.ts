import { hostname as machineName } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { connectFor } from './connect.ts';
import { type AuditLine, type Sink, SinkError, type SinkParts } from './sink.ts';
import { syslogFrame, syslogMessage } from './syslog-format.ts';
import type { SinkSecrets, SyslogTarget } from './targets.ts';

/**
 * How long the connection stays quiet after the last byte: longer than a refusal is on its way, so that a receiver that
 * ended before it read is not taken for one that ended because it did.
 */
const QUIET_MS = { close: 200, sent: 1000 };

/**
 * Syslog over TCP or TLS (RFC 5424, 6587, 5425). The protocol has no acknowledgement. What comes closest: each batch is a
 * connection of its own, ended by us and then, once it has read everything, by the receiver; a receiver that ends with
 * something unread resets it instead, and the batch is sent again.
 */
export function syslogSink(target: SyslogTarget, secrets: SinkSecrets, { outbound, signal, answerMs, onStep }: SinkParts): Sink {
  const { host, port, facility = 13, hostname = machineName(), enterprise = 32_473, maxBytes = 8192, confirm = 'close' } = target;
  const where = `syslog at ${host}:${port}`;

  async function send(records: readonly AuditLine[]): Promise<readonly []> {
    const frames = records.map((record) => syslogFrame(syslogMessage(record, { facility, hostname, enterprise, maxBytes })));
    const socket = await connectFor(target, secrets, { outbound, signal, onStep });
    const heard = { end: false };
    socket.once('end', () => {
      heard.end = true;
    });
    socket.resume(); // nothing is said in this direction
    const closed = new Promise<void>((resolve, reject) => {
      socket.once('error', (error: NodeJS.ErrnoException) =>
        reject(error instanceof SinkError ? error : new SinkError(`${where} broke the connection (${error.code ?? 'unknown'})`)),
      );
      socket.once('close', () => {
        if (heard.end) resolve();
        else reject(signal.aborted ? (signal.reason as Error) : new SinkError(`${where} broke the connection`));
      });
    });
    closed.catch(() => undefined);
    const timer = setTimeout(() => {
      const what = socket.writableFinished ? 'did not end the connection after us' : 'did not read what was sent';
      socket.destroy(new SinkError(`${where} ${what} within ${answerMs / 1000} seconds`));
    }, answerMs);
    try {
      const payload = Buffer.concat(frames);
      await Promise.race([new Promise<void>((resolve) => socket.write(payload, () => resolve())), closed]);
      onStep?.(`sent ${payload.length} bytes`);
      await Promise.race([delay(QUIET_MS[confirm]), closed]);
      if (heard.end || socket.destroyed) throw new SinkError(`${where} ended the connection before we did`);
      socket.end();
      if (confirm === 'close') {
        await closed;
        onStep?.('the receiver has read everything and ended the connection after us');
      }
      return [];
    } finally {
      clearTimeout(timer);
      socket.destroySoon();
    }
  }

  return { send, close: () => undefined };
}
