import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { roomData } from '../../platform/database/testing.ts';
import { PATIENCE, upTo, useForwarding } from './testing-forwarding.ts';
import { listenOn, syslogReceiver } from './testing-sinks.ts';

describe('audit records to syslog', () => {
  const f = useForwarding(roomData);

  it('syslog counts as taken what the receiver read to its end, and nothing else', async () => {
    const receiver = f.opened(await syslogReceiver());
    await f.addSink('logs', { kind: 'syslog', host: '127.0.0.1', port: receiver.port, tls: false, hostname: 'here' });
    await f.happen(250);
    const runner = f.forwarder();
    await runner.runDue();
    expect(receiver.messages.map((message) => Number(/ seq="(\d+)"/.exec(message)?.[1]))).toEqual(upTo(250));
    expect(await f.sinkOf('logs')).toMatchObject({ position: 250, attempts: 0 });

    // One that accepts and goes away without reading.
    await receiver.close();
    const rude = f.opened(
      await listenOn(
        createServer((socket) => socket.destroy()),
        receiver.port,
      ),
    );
    await f.happen(3);
    await runner.runDue();
    expect(await f.sinkOf('logs')).toMatchObject({ position: 250, attempts: 1 });
    await rude.close();
    // One that reads a part.
    const lazy = f.opened(
      await listenOn(
        createServer((socket) => socket.once('data', () => socket.resetAndDestroy())),
        receiver.port,
      ),
    );
    f.now += 60_000;
    await runner.runDue();
    expect(await f.sinkOf('logs')).toMatchObject({ position: 250, attempts: 2 });
    await lazy.close();
    const again = f.opened(await syslogReceiver({ port: receiver.port }));
    f.now += 60_000;
    await runner.runDue();
    expect(again.messages.map((message) => Number(/ seq="(\d+)"/.exec(message)?.[1]))).toEqual([251, 252, 253]);
    expect(await f.sinkOf('logs')).toMatchObject({ position: 253, attempts: 0 });
  });

  it('syslog that the end of the process cuts off is not taken', async () => {
    let read = false;
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.once('end', () => (read = true)).resume());
    const { port } = f.opened(await listenOn(server));
    await f.addSink('logs', { kind: 'syslog', host: '127.0.0.1', port, tls: false });
    await f.happen(2);
    const runner = f.forwarder(f.database, 'one', 60_000);
    await runner.start();
    await expect.poll(() => read, PATIENCE).toBe(true);
    await runner.stop();
    expect(await f.sinkOf('logs')).toMatchObject({ position: 0, attempts: 0, lastError: null });
  });

  it('syslog to a receiver that never ends a connection is taken as sent where the settings say so', async () => {
    const taken: Buffer[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('data', (chunk) => taken.push(chunk)));
    const { port } = f.opened(await listenOn(server));
    await f.addSink('strict', { kind: 'syslog', host: '127.0.0.1', port, tls: false });
    await f.addSink('trusting', { kind: 'syslog', host: '127.0.0.1', port, tls: false, confirm: 'sent' });
    await f.happen(2);
    await f.forwarder(f.database, 'one', 1500).runDue();
    expect((await f.sinkOf('trusting')).position).toBe(2);
    expect(await f.sinkOf('strict')).toMatchObject({
      position: 0,
      lastError: expect.stringContaining('did not end the connection after us'),
    });
  });
});
