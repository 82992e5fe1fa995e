import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { roomData } from '../../platform/database/testing.ts';
import { queriesOf } from '../../platform/index.ts';
import { changeSink, oldestUnsent } from './store.ts';
import type { Target } from './targets.ts';
import { linesOf, PATIENCE, upTo, useForwarding } from './testing-forwarding.ts';
import { httpReceiver, listenOn } from './testing-sinks.ts';

const dropRecords = queriesOf<{ audit_record: { seq: number } }>('test')<{ upTo: number }>()('dropRecords', (db, p) =>
  db.deleteFrom('audit_record').where('seq', '<=', p('upTo')),
);

describe('forwarding of audit records', () => {
  const f = useForwarding(roomData);

  it('tries again with growing pauses, at most a minute, and goes on where it stopped', async () => {
    let up = false;
    const { url, requests } = f.opened(await httpReceiver(() => ({ status: up ? 204 : 503 })));
    await f.addSink('logs', { kind: 'http', url });
    await f.happen(250);
    const runner = f.forwarder();
    for (const pause of [1, 2, 4, 8, 16, 32, 60, 60]) {
      await runner.runDue();
      expect((await f.sinkOf('logs')).nextAt).toBe(f.now + pause * 1000);
      expect(await runner.runDue()).toBe(0); // not before its time
      f.now += pause * 1000;
    }
    expect(await f.sinkOf('logs')).toMatchObject({ lastError: `${new URL(url).host} answered 503`, position: 0, attempts: 8 });
    requests.length = 0;
    up = true;
    await runner.runDue();
    expect(linesOf(requests)).toEqual(upTo(250));
    expect(await f.sinkOf('logs')).toMatchObject({ attempts: 0, nextAt: 0, position: 250 });
  });

  it('one that takes and never answers, or is not there, holds up no other', async () => {
    const deaf = f.opened(await listenOn(createServer((socket) => socket.pause())));
    const { url, requests } = f.opened(await httpReceiver(() => ({ status: 200 })));
    await f.addSink('a-deaf', { kind: 'fluentd', host: '127.0.0.1', port: deaf.port, tls: false });
    await f.addSink('a-deaf-too', { kind: 'syslog', host: '127.0.0.1', port: deaf.port, tls: false });
    await f.addSink('b-private', { kind: 'http', url: 'http://10.0.0.1/' });
    await f.addSink('c-fine', { kind: 'http', url });
    await f.happen(5);
    const runner = f.forwarder(f.database, 'one', 60_000);
    await runner.start();
    await expect.poll(() => linesOf(requests), PATIENCE).toEqual(upTo(5));
    expect((await f.sinkOf('b-private')).lastError).toContain('not public and not in outboundAllow');
    await f.happen(5);
    await expect.poll(() => linesOf(requests), PATIENCE).toEqual(upTo(10));
    expect(await f.sinkOf('a-deaf')).toMatchObject({ position: 0, attempts: 0 });
    expect(await oldestUnsent(f.database)).toBe(1);
  });

  it('a changed sink is served by what it is now, while what it was still waits', async () => {
    const deaf = f.opened(await listenOn(createServer((socket) => socket.pause())));
    const { url, requests } = f.opened(await httpReceiver(() => ({ status: 200 })));
    await f.addSink('logs', { kind: 'fluentd', host: '127.0.0.1', port: deaf.port, tls: false });
    await f.happen(5);
    const runner = f.forwarder(f.database, 'one', 60_000);
    await runner.start();
    const { id } = await f.sinkOf('logs');
    const target = JSON.stringify({ kind: 'http', url } satisfies Target);
    await f.database.write(async (tx) => await tx.run(changeSink, { id, kind: 'http', target, secrets: null, enabled: 1, position: 0 }));
    await expect.poll(() => linesOf(requests), PATIENCE).toEqual(upTo(5));
  });

  it('what one place took before a sink was changed is sent to the other, too', async () => {
    const held: ServerResponse[] = [];
    const { port } = f.opened(await listenOn(createHttpServer((_, response) => void held.push(response))));
    const other = f.opened(await httpReceiver(() => ({ status: 200 })));
    await f.addSink('logs', { kind: 'http', url: `http://127.0.0.1:${port}` });
    await f.happen(3);
    await f.forwarder().start();
    await expect.poll(() => held.length, PATIENCE).toBe(1);
    const { id } = await f.sinkOf('logs');
    const target = JSON.stringify({ kind: 'http', url: other.url } satisfies Target);
    await f.database.write(async (tx) => await tx.run(changeSink, { id, kind: 'http', target, secrets: null, enabled: 1, position: 0 }));
    held[0]?.end();
    await expect.poll(() => linesOf(other.requests), PATIENCE).toEqual([1, 2, 3]);
  });

  it('several processes deliver each record once, and what a dead one has not saved again', async () => {
    const { url, requests } = f.opened(await httpReceiver(() => ({ status: 200 })));
    await f.addSink('logs', { kind: 'http', url });
    const runners = [f.forwarder(), f.forwarder(await f.openDatabase(), 'two'), f.forwarder(await f.openDatabase(), 'three')];
    for (const runner of runners) await runner.start();
    for (let i = 0; i < 10; i++) await f.happen(30);
    await expect.poll(() => linesOf(requests), PATIENCE).toEqual(upTo(300));
    const { id } = await f.sinkOf('logs');
    await f.database.write(
      async (tx) =>
        await tx.run(changeSink, {
          id,
          kind: 'http',
          target: JSON.stringify({ kind: 'http', url }),
          secrets: null,
          enabled: 1,
          position: 290,
        }),
    );
    await expect.poll(() => linesOf(requests).slice(300), PATIENCE).toEqual(upTo(300).slice(290));
  });

  it('a delivery that lost its lease saves nothing', async () => {
    const held: ServerResponse[] = [];
    let bodies = '';
    const server = createHttpServer((request, response) => {
      request.setEncoding('utf8').on('data', (chunk: string) => (bodies += chunk));
      if (held.length === 0) held.push(response);
      else request.once('end', () => response.end());
    });
    const { port } = f.opened(await listenOn(server));
    await f.addSink('logs', { kind: 'http', url: `http://127.0.0.1:${port}` });
    await f.happen(3);
    const first = f.forwarder(f.database, 'one', 60_000);
    await first.start();
    await expect.poll(() => held.length, PATIENCE).toBe(1);
    f.now += 120_000; // its lease has lapsed
    await f.happen(2);
    await f.forwarder(await f.openDatabase(), 'two').start();
    await expect.poll(async () => (await f.sinkOf('logs')).position, PATIENCE).toBe(5);
    held[0]?.end();
    await expect.poll(() => f.outcomes, PATIENCE).toContain('lost');
    expect(await f.sinkOf('logs')).toMatchObject({ position: 5, attempts: 0 });
    expect(linesOf([{ body: bodies }])).toEqual([1, 2, 3, ...upTo(5)]);
  });

  it('counts what was gone before it could be sent', async () => {
    const { url, requests } = f.opened(await httpReceiver(() => ({ status: 200 })));
    await f.happen(10);
    await f.database.write(async (tx) => await tx.run(dropRecords, { upTo: 4 }));
    await f.addSink('logs', { kind: 'http', url }, {}, 1);
    expect(await oldestUnsent(f.database)).toBe(2);
    await f.forwarder().runDue();
    expect(linesOf(requests)).toEqual([5, 6, 7, 8, 9, 10]);
    expect(await f.sinkOf('logs')).toMatchObject({ missed: 3, position: 10 });
  });
});
