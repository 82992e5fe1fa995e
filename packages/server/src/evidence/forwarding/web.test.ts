import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { roomData } from '../../platform/database/testing.ts';
import { changeSink, parkedAfter } from './store.ts';
import type { SinkSecrets } from './targets.ts';
import { linesOf, upTo, useForwarding } from './testing-forwarding.ts';
import { BulkServer, httpReceiver } from './testing-sinks.ts';

describe('audit records over HTTP', () => {
  const f = useForwarding(roomData);

  it('signs requests where a key is set, and sends an array where that is asked for', async () => {
    const { url, requests } = f.opened(await httpReceiver(() => ({ status: 200 })));
    await f.addSink('logs', { kind: 'http', url: `${url}/in`, format: 'json' }, { hmacKey: 'key', authorization: 'Splunk 1' });
    await f.happen(2);
    await f.forwarder().runDue();
    const [request] = requests;
    const [, timestamp, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(request?.headers['x-entrepot-signature'])) ?? [];
    expect(createHmac('sha256', 'key').update(`${timestamp}.${request?.body}`).digest('hex')).toBe(signature);
    expect(timestamp).toBe(String(Math.floor(f.now / 1000)));
    expect(request).toMatchObject({
      method: 'POST',
      url: '/in',
      headers: { authorization: 'Splunk 1', 'content-type': 'application/json' },
    });
    expect((JSON.parse(request?.body ?? '') as { seq: number }[]).map(({ seq }) => seq)).toEqual([1, 2]);
  });

  it('does not follow a redirect with what it sends', async () => {
    const other = f.opened(await httpReceiver(() => ({ status: 200 })));
    const { url } = f.opened(await httpReceiver(() => ({ status: 307, headers: { Location: other.url } })));
    await f.addSink('logs', { kind: 'http', url });
    await f.happen(1);
    await f.forwarder().runDue();
    expect(other.requests).toEqual([]);
    expect(await f.sinkOf('logs')).toMatchObject({ position: 0, attempts: 1 });
  });

  describe('to Elasticsearch', () => {
    async function bulk(secrets: SinkSecrets = {}, more: { user?: string; index?: string } = {}) {
      const server = new BulkServer();
      let broken: number | undefined;
      const receiver = f.opened(await httpReceiver((request) => (broken ? { status: broken } : server.answer(request))));
      await f.addSink('search', { kind: 'elasticsearch', url: `${receiver.url}/`, ...more }, secrets);
      return { server, receiver, break: (status: number | undefined) => (broken = status) };
    }

    it('makes each record one document, whatever is repeated', async () => {
      const { server, receiver } = await bulk({ password: 'secret' }, { user: 'writer', index: 'audit-{date}' });
      await f.happen(300);
      f.now += 1000; // the next month
      await f.happen(3);
      const runner = f.forwarder();
      await runner.runDue();
      const { id, target } = await f.sinkOf('search');
      const again = { id, kind: 'elasticsearch', target: JSON.stringify(target), secrets: null, enabled: 1, position: 0 } as const;
      await f.database.write(async (tx) => await tx.run(changeSink, again));
      await runner.runDue();
      expect([...server.documents.keys()]).toEqual([
        ...upTo(300).map((seq) => `audit-2026.01.31/${seq}`),
        ...[301, 302, 303].map((seq) => `audit-2026.02.01/${seq}`),
      ]);
      expect(server.documents.get('audit-2026.01.31/7')).toMatchObject({
        '@timestamp': '2026-01-31T23:59:59.000Z',
        seq: 7,
        action: 'member.create',
        after: '{"role":"guest"}',
      });
      expect(receiver.requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from('writer:secret').toString('base64')}`);
      expect((await f.sinkOf('search')).position).toBe(303);
    });

    it.each([429, 503])('waits where documents are answered %s', async (status) => {
      const { server, receiver } = await bulk({ apiKey: 'abc' });
      let first = true;
      server.refuse = ({ seq }) => (first && seq === 2 ? { status, type: 'es_rejected_execution_exception' } : undefined);
      await f.happen(4);
      const runner = f.forwarder();
      await runner.runDue();
      expect(await f.sinkOf('search')).toMatchObject({
        position: 0,
        lastError: `${receiver.url.slice(7)} answered ${status} es_rejected_execution_exception for record 2`,
      });
      first = false;
      f.now += 1000;
      await runner.runDue();
      expect([...server.documents.values()].map(({ seq }) => seq).sort()).toEqual([1, 2, 3, 4]);
      expect(await f.sinkOf('search')).toMatchObject({ position: 4, attempts: 0 });
    });

    it('sets aside a record that is refused five times, and goes on with the others', async () => {
      const { server } = await bulk();
      server.refuse = ({ seq }) => (seq === 2 ? { status: 400, type: 'document_parsing_exception' } : undefined);
      await f.happen(4);
      const runner = f.forwarder();
      for (let attempt = 1; attempt <= 5; attempt++) {
        await runner.runDue();
        expect(await f.sinkOf('search')).toMatchObject({
          position: 0,
          attempts: attempt,
          lastError: 'record 2 was refused: answered 400 document_parsing_exception',
        });
        f.now += 60_000;
      }
      await runner.runDue();
      const { id, position, attempts } = await f.sinkOf('search');
      expect({ position, attempts }).toEqual({ position: 4, attempts: 0 });
      expect(await f.database.all(parkedAfter, { id, after: 0, limit: 10 })).toEqual([
        { seq: 2, reason: 'answered 400 document_parsing_exception', at: f.now },
      ]);
      expect([...server.documents.values()].map(({ seq }) => seq)).toEqual([1, 3, 4]);
    });

    it('sets aside ten in a row at most', async () => {
      const { server } = await bulk();
      server.refuse = () => ({ status: 400, type: 'illegal_argument_exception' });
      const runner = f.forwarder();
      for (let record = 1; record <= 11; record++) {
        await f.happen(1);
        for (let attempt = 0; attempt < 6; attempt++) {
          await runner.runDue();
          f.now += 60_000;
        }
      }
      expect(await f.sinkOf('search')).toMatchObject({
        position: 10,
        attempts: 6,
        lastError: expect.stringContaining('refuses every record'),
      });
      server.refuse = () => undefined;
      await runner.runDue();
      expect(await f.sinkOf('search')).toMatchObject({ position: 11, parkedRun: 0 });
    });

    it('never sets aside everything: a sink that refuses all is the one that is wrong', async () => {
      const { server, break: fail } = await bulk();
      server.refuse = () => ({ status: 400, type: 'illegal_argument_exception' });
      await f.happen(20);
      const runner = f.forwarder();
      for (let attempt = 0; attempt < 8; attempt++) {
        await runner.runDue();
        f.now += 60_000;
      }
      expect(await f.sinkOf('search')).toMatchObject({
        position: 0,
        attempts: 8,
        lastError: expect.stringContaining('refuses every record'),
      });
      for (const [status, said] of [
        [401, 'refused the credentials (401)'],
        [404, 'answered 404'],
        [200, 'did not say of each record'],
      ] as const) {
        fail(status);
        await runner.runDue();
        f.now += 60_000;
        expect((await f.sinkOf('search')).lastError).toContain(said);
      }
      server.refuse = () => undefined;
      fail(undefined);
      await runner.runDue();
      expect(server.documents.size).toBe(20);
    });
  });

  it('finds the record that an HTTP receiver does not take among many', async () => {
    const { url, requests } = f.opened(await httpReceiver(({ body }) => ({ status: body.includes('"name":"poison"') ? 422 : 200 })));
    await f.addSink('logs', { kind: 'http', url });
    await f.happen(70);
    await f.happen(1, { resource: { type: 'member', name: 'poison' } });
    await f.happen(60);
    const runner = f.forwarder();
    for (let attempt = 0; attempt < 6; attempt++) {
      requests.length = 0;
      await runner.runDue();
      f.now += 60_000;
    }
    const { id, position } = await f.sinkOf('logs');
    expect(position).toBe(131);
    expect(await f.database.all(parkedAfter, { id, after: 0, limit: 10 })).toEqual([
      { seq: 71, reason: 'answered 422', at: f.now - 60_000 },
    ]);
    const taken = linesOf(requests.filter(({ body }) => !body.includes('poison')));
    expect(taken).toEqual(upTo(131).filter((seq) => seq !== 71));
  });
});
