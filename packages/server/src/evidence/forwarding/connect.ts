import type { Socket } from 'node:net';
import type { SinkParts } from './sink.ts';
import type { FluentdTarget, SinkSecrets, SyslogTarget } from './targets.ts';

/** A connection to a sink that speaks over TCP or TLS. */
export async function connectFor(
  { host, port, tls = true, serverName, certificate }: FluentdTarget | SyslogTarget,
  { clientKey }: SinkSecrets,
  { outbound, signal, onStep }: Pick<SinkParts, 'outbound' | 'signal' | 'onStep'>,
): Promise<Socket> {
  return await outbound.connect({
    host,
    port,
    signal,
    ...(tls ? { tls: { serverName, certificate, key: clientKey } } : {}),
    ...(onStep ? { onStep } : {}),
  });
}
