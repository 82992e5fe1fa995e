import { createHmac, randomBytes } from 'node:crypto';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sqliteData, type TestData } from '../../platform/database/testing.ts';
import {
  type AuditEntry,
  audit,
  auditMigrations,
  createJobRunner,
  createOutbound,
  createSeal,
  type Database,
  type JobRunner,
  jobMigrations,
  queriesOf,
} from '../../platform/index.ts';
import { forwardingJob } from './delivery.ts';
import { forwardingMigrations } from './schema.ts';
import { sealSecrets } from './secrets.ts';
import { changeSink, insertSink, oldestUnsent, parkedAfter, rowOf, type SinkRow, setSecrets, sinkByName } from './store.ts';
import type { SinkSecrets, Target } from './targets.ts';
import { BulkServer, fluentdReceiver, type HttpRequest, httpReceiver, type Listening, listenOn, syslogReceiver } from './testing-sinks.ts';

const PATIENCE = { timeout: 20_000 };
const ENTRY: AuditEntry = {
  actor: { kind: 'user', id: 1, name: 'alice', credential: null },
  origin: null,
  action: 'member.create',
  resource: { type: 'member', project: 'demo', name: 'bob' },
  outcome: 'success',
  after: { role: 'guest' },
};

const dropRecords = queriesOf<{ audit_record: { seq: number } }>('test')<{ upTo: number }>()('dropRecords', (db, p) =>
  db.deleteFrom('audit_record').where('seq', '<=', p('upTo')),
);

describe('forwarding of audit records', () => {
  const seal = createSeal(randomBytes(32));
  let store: TestData;
  let database: Database;
  let now: number;
  let clock: { now(): number };
  const runners: JobRunner[] = [];
  const listening: { close(): Promise<unknown> }[] = [];
  const failures: string[] = [];

  beforeEach(async () => {
    now = Date.UTC(2026, 0, 31, 23, 59, 59);
    clock = { now: () => now };
    store = sqliteData([...jobMigrations, ...auditMigrations, ...forwardingMigrations]);
    database = await store.open();
    failures.length = 0;
  });
  afterEach(async () => {
    await Promise.all(runners.splice(0).map((runner) => runner.stop()));
    for (const each of listening.splice(0)) await each.close();
    await store.remove();
  });

  function opened<T extends Listening>(server: T): T {
    listening.push(server);
    return server;
  }

  function forwarder(on = database, holder = 'one', answerMs = 2000): JobRunner {
    const outbound = createOutbound({ outboundAllow: '127.0.0.1', outboundProxy: '', outboundCaFile: '' });
    listening.push(outbound);
    const log = pino({ level: 'silent' });
    const job = forwardingJob({
      database: on,
      outbound,
      seal,
      clock,
      log,
      answerMs,
      random: () => 1,
      onFailure: (kind) => failures.push(kind),
    });
    const runner = createJobRunner({ database: on, clock, log, definitions: [job], holder, pollMs: 5 });
    runners.push(runner);
    return runner;
  }

  async function addSink(name: string, target: Target, secrets: SinkSecrets = {}, position = 0): Promise<void> {
    await database.write(async (tx) => {
      const made = await tx.first(insertSink, {
        name,
        kind: target.kind,
        target: JSON.stringify(target),
        enabled: 1,
        position,
        now,
        by: 'test',
      });
      const id = made?.id ?? 0;
      await tx.run(setSecrets, { id, secrets: sealSecrets(seal, id, secrets) });
    });
  }

  async function sinkOf(name: string): Promise<SinkRow> {
    const row = await database.first(sinkByName, { name });
    if (!row) throw new Error('no sink');
    return rowOf(row);
  }

  async function happen(times: number, entry: Partial<AuditEntry> = {}): Promise<void> {
    await database.write(async (tx) => {
      for (let i = 0; i < times; i++) await audit(tx, { ...ENTRY, ...entry }, clock);
    });
  }

  const upTo = (n: number) => Array.from({ length: n }, (_, at) => at + 1);
  const linesOf = (requests: readonly Pick<HttpRequest, 'body'>[]) =>
    requests.flatMap(({ body }) =>
      body
        .split('\n')
        .slice(0, -1)
        .map((line) => (JSON.parse(line) as { seq: number }).seq),
    );

  const fluentd = async (security?: Parameters<typeof fluentdReceiver>[0]) => opened(await fluentdReceiver(security));
  const SECURITY = { serverHostname: 'collector', sharedKey: 'correct key', authorize: false, userDict: {} };

  it('brings Fluentd every record once and in order, with its time and its place in the chain', async () => {
    const { port, entries } = await fluentd(SECURITY);
    await addSink('logs', { kind: 'fluentd', host: '127.0.0.1', port, tls: false }, { sharedKey: 'correct key' });
    await happen(450);
    await forwarder().runDue();
    expect(entries.map(({ record }) => record.seq)).toEqual(upTo(450));
    expect(entries[0]).toMatchObject({
      tag: 'entrepot.audit',
      time: now / 1000,
      record: { ...ENTRY, hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect(await sinkOf('logs')).toMatchObject({ position: 450, attempts: 0, lastError: null, lastSuccessAt: now });
    await happen(1);
    await forwarder().runDue();
    expect(entries.length).toBe(451);
  });

  it.each([
    ['a wrong shared key', SECURITY, { sharedKey: 'wrong key' }, undefined, 'shared key mismatch'],
    ['no shared key', SECURITY, {}, undefined, 'asks for a shared key, and none is set'],
    ['a shared key where none is asked for', undefined, { sharedKey: 'correct key' }, undefined, 'did not begin with HELO'],
    [
      'no user',
      { ...SECURITY, authorize: true, userDict: { u: 'p' } },
      { sharedKey: 'correct key' },
      undefined,
      'asks for user and password',
    ],
    [
      'a wrong password',
      { ...SECURITY, authorize: true, userDict: { u: 'p' } },
      { sharedKey: 'correct key', password: 'no' },
      'u',
      'username/password mismatch',
    ],
  ])('says so of %s, and loses nothing', async (_, security, secrets, user, said) => {
    const { port, entries } = await fluentd(security);
    await addSink('logs', { kind: 'fluentd', host: '127.0.0.1', port, tls: false, ...(user ? { user } : {}) }, secrets);
    await happen(3);
    await forwarder(database, 'one', 100).runDue();
    const { lastError, position, attempts, nextAt, lastErrorAt } = await sinkOf('logs');
    expect(lastError).toContain(said);
    expect(lastError).not.toMatch(/correct key|wrong key/);
    expect({ position, attempts, nextAt, lastErrorAt }).toEqual({ position: 0, attempts: 1, nextAt: now + 1000, lastErrorAt: now });
    expect(failures).toEqual(['fluentd']);
    expect(entries).toEqual([]);
  });

  it('proves user and password to Fluentd, too', async () => {
    const { port, entries } = await fluentd({ ...SECURITY, authorize: true, userDict: { u: 'p' } });
    await addSink(
      'logs',
      { kind: 'fluentd', host: '127.0.0.1', port, tls: false, user: 'u', tag: 'own.tag' },
      { sharedKey: 'correct key', password: 'p' },
    );
    await happen(2);
    await forwarder().runDue();
    expect(entries.map(({ tag, record }) => [tag, record.seq])).toEqual([
      ['own.tag', 1],
      ['own.tag', 2],
    ]);
  });

  it('tries again with growing pauses, at most a minute, and goes on where it stopped', async () => {
    let up = false;
    const { url, requests } = opened(await httpReceiver(() => ({ status: up ? 204 : 503 })));
    await addSink('logs', { kind: 'http', url });
    await happen(250);
    const runner = forwarder();
    for (const pause of [1, 2, 4, 8, 16, 32, 60, 60]) {
      await runner.runDue();
      expect((await sinkOf('logs')).nextAt).toBe(now + pause * 1000);
      expect(await runner.runDue()).toBe(0); // not before its time
      now += pause * 1000;
    }
    expect(await sinkOf('logs')).toMatchObject({ lastError: `${new URL(url).host} answered 503`, position: 0, attempts: 8 });
    requests.length = 0;
    up = true;
    await runner.runDue();
    expect(linesOf(requests)).toEqual(upTo(250));
    expect(await sinkOf('logs')).toMatchObject({ attempts: 0, nextAt: 0, position: 250 });
  });

  it('one that takes and never answers, or is not there, holds up no other', async () => {
    const deaf = opened(await listenOn(createServer((socket) => socket.pause())));
    const { url, requests } = opened(await httpReceiver(() => ({ status: 200 })));
    await addSink('a-deaf', { kind: 'fluentd', host: '127.0.0.1', port: deaf.port, tls: false });
    await addSink('a-deaf-too', { kind: 'syslog', host: '127.0.0.1', port: deaf.port, tls: false });
    await addSink('b-private', { kind: 'http', url: 'http://10.0.0.1/' });
    await addSink('c-fine', { kind: 'http', url });
    await happen(5);
    const runner = forwarder(database, 'one', 60_000);
    await runner.start();
    await expect.poll(() => linesOf(requests), PATIENCE).toEqual(upTo(5));
    expect((await sinkOf('b-private')).lastError).toContain('not public and not in outboundAllow');
    await happen(5);
    await expect.poll(() => linesOf(requests), PATIENCE).toEqual(upTo(10));
    expect(await sinkOf('a-deaf')).toMatchObject({ position: 0, attempts: 0 });
    expect(await oldestUnsent(database)).toBe(1);
  });

  it('a changed sink is served by what it is now, while what it was still waits', async () => {
    const deaf = opened(await listenOn(createServer((socket) => socket.pause())));
    const { url, requests } = opened(await httpReceiver(() => ({ status: 200 })));
    await addSink('logs', { kind: 'fluentd', host: '127.0.0.1', port: deaf.port, tls: false });
    await happen(5);
    const runner = forwarder(database, 'one', 60_000);
    await runner.start();
    const { id } = await sinkOf('logs');
    const target = JSON.stringify({ kind: 'http', url } satisfies Target);
    await database.write(async (tx) => await tx.run(changeSink, { id, kind: 'http', target, secrets: null, enabled: 1, position: 0 }));
    await expect.poll(() => linesOf(requests), PATIENCE).toEqual(upTo(5));
  });

  it('several processes deliver each record once, and what a dead one has not saved again', async () => {
    const { url, requests } = opened(await httpReceiver(() => ({ status: 200 })));
    await addSink('logs', { kind: 'http', url });
    const runners = [forwarder(), forwarder(await store.open(), 'two'), forwarder(await store.open(), 'three')];
    for (const runner of runners) await runner.start();
    for (let i = 0; i < 10; i++) await happen(30);
    await expect.poll(() => linesOf(requests), PATIENCE).toEqual(upTo(300));
    const { id } = await sinkOf('logs');
    await database.write(
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
    const { port } = opened(await listenOn(server));
    await addSink('logs', { kind: 'http', url: `http://127.0.0.1:${port}` });
    await happen(3);
    const first = forwarder(database, 'one', 60_000);
    await first.start();
    await expect.poll(() => held.length, PATIENCE).toBe(1);
    now += 120_000; // its lease has lapsed
    await happen(2);
    await forwarder(await store.open(), 'two').start();
    await expect.poll(async () => (await sinkOf('logs')).position, PATIENCE).toBe(5);
    held[0]?.end();
    await first.stop();
    expect(await sinkOf('logs')).toMatchObject({ position: 5, attempts: 0 });
    expect(linesOf([{ body: bodies }])).toEqual([1, 2, 3, ...upTo(5)]);
  });

  it('syslog counts as taken what the receiver read to its end, and nothing else', async () => {
    const receiver = opened(await syslogReceiver());
    await addSink('logs', { kind: 'syslog', host: '127.0.0.1', port: receiver.port, tls: false, hostname: 'here' });
    await happen(250);
    const runner = forwarder();
    await runner.runDue();
    expect(receiver.messages.map((message) => Number(/ seq="(\d+)"/.exec(message)?.[1]))).toEqual(upTo(250));
    expect(await sinkOf('logs')).toMatchObject({ position: 250, attempts: 0 });

    // One that accepts and goes away without reading.
    await receiver.close();
    const rude = opened(
      await listenOn(
        createServer((socket) => socket.destroy()),
        receiver.port,
      ),
    );
    await happen(3);
    await runner.runDue();
    expect(await sinkOf('logs')).toMatchObject({ position: 250, attempts: 1 });
    await rude.close();
    // One that reads a part.
    const lazy = opened(
      await listenOn(
        createServer((socket) => socket.once('data', () => socket.resetAndDestroy())),
        receiver.port,
      ),
    );
    now += 60_000;
    await runner.runDue();
    expect(await sinkOf('logs')).toMatchObject({ position: 250, attempts: 2 });
    await lazy.close();
    const again = opened(await syslogReceiver({ port: receiver.port }));
    now += 60_000;
    await runner.runDue();
    expect(again.messages.map((message) => Number(/ seq="(\d+)"/.exec(message)?.[1]))).toEqual([251, 252, 253]);
    expect(await sinkOf('logs')).toMatchObject({ position: 253, attempts: 0 });
  });

  it('syslog to a receiver that never ends a connection is taken as sent where the settings say so', async () => {
    const taken: Buffer[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('data', (chunk) => taken.push(chunk)));
    const { port } = opened(await listenOn(server));
    await addSink('strict', { kind: 'syslog', host: '127.0.0.1', port, tls: false });
    await addSink('trusting', { kind: 'syslog', host: '127.0.0.1', port, tls: false, confirm: 'sent' });
    await happen(2);
    await forwarder(database, 'one', 1500).runDue();
    expect((await sinkOf('trusting')).position).toBe(2);
    expect(await sinkOf('strict')).toMatchObject({
      position: 0,
      lastError: expect.stringContaining('did not end the connection after us'),
    });
  });

  it('signs requests where a key is set, and sends an array where that is asked for', async () => {
    const { url, requests } = opened(await httpReceiver(() => ({ status: 200 })));
    await addSink('logs', { kind: 'http', url: `${url}/in`, format: 'json' }, { hmacKey: 'key', authorization: 'Splunk 1' });
    await happen(2);
    await forwarder().runDue();
    const [request] = requests;
    const [, timestamp, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(request?.headers['x-entrepot-signature'])) ?? [];
    expect(createHmac('sha256', 'key').update(`${timestamp}.${request?.body}`).digest('hex')).toBe(signature);
    expect(request).toMatchObject({
      method: 'POST',
      url: '/in',
      headers: { authorization: 'Splunk 1', 'content-type': 'application/json' },
    });
    expect((JSON.parse(request?.body ?? '') as { seq: number }[]).map(({ seq }) => seq)).toEqual([1, 2]);
  });

  it('does not follow a redirect with what it sends', async () => {
    const other = opened(await httpReceiver(() => ({ status: 200 })));
    const { url } = opened(await httpReceiver(() => ({ status: 307, headers: { Location: other.url } })));
    await addSink('logs', { kind: 'http', url });
    await happen(1);
    await forwarder().runDue();
    expect(other.requests).toEqual([]);
    expect(await sinkOf('logs')).toMatchObject({ position: 0, attempts: 1 });
  });

  describe('to Elasticsearch', () => {
    async function bulk(secrets: SinkSecrets = {}, more: { user?: string; index?: string } = {}) {
      const server = new BulkServer();
      let broken: number | undefined;
      const receiver = opened(await httpReceiver((request) => (broken ? { status: broken } : server.answer(request))));
      await addSink('search', { kind: 'elasticsearch', url: `${receiver.url}/`, ...more }, secrets);
      return { server, receiver, break: (status: number | undefined) => (broken = status) };
    }

    it('makes each record one document, whatever is repeated', async () => {
      const { server, receiver } = await bulk({ password: 'secret' }, { user: 'writer', index: 'audit-{date}' });
      await happen(300);
      now += 1000; // the next month
      await happen(3);
      const runner = forwarder();
      await runner.runDue();
      const { id, target } = await sinkOf('search');
      const again = { id, kind: 'elasticsearch', target: JSON.stringify(target), secrets: null, enabled: 1, position: 0 } as const;
      await database.write(async (tx) => await tx.run(changeSink, again));
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
      expect((await sinkOf('search')).position).toBe(303);
    });

    it.each([429, 503])('waits where documents are answered %s', async (status) => {
      const { server } = await bulk({ apiKey: 'abc' });
      let first = true;
      server.refuse = ({ seq }) => (first && seq === 2 ? { status, type: 'es_rejected_execution_exception' } : undefined);
      await happen(4);
      const runner = forwarder();
      await runner.runDue();
      expect(await sinkOf('search')).toMatchObject({ position: 0, lastError: expect.stringContaining(`answered ${status} es_rejected`) });
      first = false;
      now += 1000;
      await runner.runDue();
      expect([...server.documents.values()].map(({ seq }) => seq).sort()).toEqual([1, 2, 3, 4]);
      expect(await sinkOf('search')).toMatchObject({ position: 4, attempts: 0 });
    });

    it('sets aside a record that is refused five times, and goes on with the others', async () => {
      const { server } = await bulk();
      server.refuse = ({ seq }) => (seq === 2 ? { status: 400, type: 'document_parsing_exception' } : undefined);
      await happen(4);
      const runner = forwarder();
      for (let attempt = 1; attempt <= 5; attempt++) {
        await runner.runDue();
        expect(await sinkOf('search')).toMatchObject({
          position: 0,
          attempts: attempt,
          lastError: 'record 2 was refused: answered 400 document_parsing_exception',
        });
        now += 60_000;
      }
      await runner.runDue();
      const { id, position, attempts } = await sinkOf('search');
      expect({ position, attempts }).toEqual({ position: 4, attempts: 0 });
      expect(await database.all(parkedAfter, { id, after: 0, limit: 10 })).toEqual([
        { seq: 2, reason: 'answered 400 document_parsing_exception', at: now },
      ]);
      expect([...server.documents.values()].map(({ seq }) => seq)).toEqual([1, 3, 4]);
    });

    it('never sets aside everything: a sink that refuses all is the one that is wrong', async () => {
      const { server, break: fail } = await bulk();
      server.refuse = () => ({ status: 400, type: 'illegal_argument_exception' });
      await happen(20);
      const runner = forwarder();
      for (let attempt = 0; attempt < 8; attempt++) {
        await runner.runDue();
        now += 60_000;
      }
      expect(await sinkOf('search')).toMatchObject({
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
        now += 60_000;
        expect((await sinkOf('search')).lastError).toContain(said);
      }
      server.refuse = () => undefined;
      fail(undefined);
      await runner.runDue();
      expect(server.documents.size).toBe(20);
    });
  });

  it('finds the record that an HTTP receiver does not take among many', async () => {
    const { url, requests } = opened(await httpReceiver(({ body }) => ({ status: body.includes('"name":"poison"') ? 422 : 200 })));
    await addSink('logs', { kind: 'http', url });
    await happen(70);
    await happen(1, { resource: { type: 'member', name: 'poison' } });
    await happen(60);
    const runner = forwarder();
    for (let attempt = 0; attempt < 6; attempt++) {
      requests.length = 0;
      await runner.runDue();
      now += 60_000;
    }
    const { id, position } = await sinkOf('logs');
    expect(position).toBe(131);
    expect(await database.all(parkedAfter, { id, after: 0, limit: 10 })).toEqual([{ seq: 71, reason: 'answered 422', at: now - 60_000 }]);
    const taken = linesOf(requests.filter(({ body }) => !body.includes('poison')));
    expect(taken).toEqual(upTo(131).filter((seq) => seq !== 71));
  });

  it('counts what was gone before it could be sent', async () => {
    const { url, requests } = opened(await httpReceiver(() => ({ status: 200 })));
    await happen(10);
    await database.write(async (tx) => await tx.run(dropRecords, { upTo: 4 }));
    await addSink('logs', { kind: 'http', url }, {}, 1);
    expect(await oldestUnsent(database)).toBe(2);
    await forwarder().runDue();
    expect(linesOf(requests)).toEqual([5, 6, 7, 8, 9, 10]);
    expect(await sinkOf('logs')).toMatchObject({ missed: 3, position: 10 });
  });
});
