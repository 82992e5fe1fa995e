import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  BulkServer,
  fluentdReceiver,
  freePort,
  httpReceiver,
  type Listening,
  listenOn,
  syslogReceiver,
} from '../../packages/server/src/evidence/forwarding/testing-sinks.ts';
import { atEnd } from '../harness/at-end.ts';
import { Client } from '../harness/client.ts';
import { metric, until } from '../harness/raw.ts';
import { done, everyItem, refused } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

const OPTIONS = { 'outbound-allow': '127.0.0.1' };

interface View {
  readonly name: string;
  readonly enabled: boolean;
  readonly secrets: readonly string[];
  readonly state: { readonly position: number; readonly backlog: number; readonly failures: number; readonly lastError: string | null };
}
interface Check {
  readonly ok: boolean;
  readonly error: string | null;
  readonly steps: readonly { readonly step: string }[];
}

/** So many changes, each of which is audited; several at a time. */
async function change(client: Client, times: number): Promise<void> {
  let left = times;
  const one = async () => {
    while (left-- > 0) await done(200, client, 'PATCH', '/projects/demo', { description: `${left}` });
  };
  await Promise.all(Array.from({ length: 8 }, one));
}

/** Each record as the database has it. */
function recordsOf({ dataDir }: TestServer): { seq: number; body: string; hash: string }[] {
  const database = new DatabaseSync(join(dataDir, 'entrepot.db'), { readOnly: true });
  try {
    return database.prepare('SELECT seq, body, hash FROM audit_record ORDER BY seq').all() as never;
  } finally {
    database.close();
  }
}

/** Numbers in the order in which each came first. */
function firstOf(seqs: readonly number[]): number[] {
  return [...new Set(seqs)];
}

async function fluentd(port: number, sharedKey: string) {
  const receiver = await fluentdReceiver({ serverHostname: 'collector', sharedKey, authorize: false, userDict: {} }, port);
  atEnd(receiver.close);
  return () => receiver.entries.map(({ record }) => record.seq);
}

describe('audit records are forwarded', () => {
  test('a thousand that were written while the sinks were down, and the server killed, all arrive, in order', async () => {
    const dataDir = temporaryFolder();
    let server = await startServer({ dataDir, options: OPTIONS });
    let client = new Client(server.url);
    await done(201, client, 'POST', '/projects', { name: 'demo' });
    const ports = { fluentd: await freePort(), syslog: await freePort(), http: await freePort(), search: await freePort() };
    const at = (port: number) => ({ host: '127.0.0.1', port, tls: false });
    for (const [name, target, secrets] of [
      ['fluentd', { kind: 'fluentd', ...at(ports.fluentd) }, { sharedKey: 'key' }],
      ['syslog', { kind: 'syslog', ...at(ports.syslog) }, {}],
      ['http', { kind: 'http', url: `http://127.0.0.1:${ports.http}/in` }, { hmacKey: 'key' }],
      ['search', { kind: 'elasticsearch', url: `http://127.0.0.1:${ports.search}` }, {}],
    ] as const) {
      await done(201, client, 'POST', '/audit-sinks', { name, target, secrets, from: 'oldest' });
    }
    await change(client, 500);
    await server.stop('SIGKILL');
    server = await startServer({ dataDir, options: OPTIONS });
    client = new Client(server.url);
    await change(client, 500);
    await until('each sink is known to be down', async () => {
      const sinks = await everyItem<View>(client, '/audit-sinks');
      return sinks.every(({ state }) => state.failures > 0 && state.backlog >= 1000);
    });

    const collected = await fluentd(ports.fluentd, 'key');
    const syslog = await syslogReceiver({ port: ports.syslog });
    const bulk = new BulkServer();
    const search = await httpReceiver((request) => bulk.answer(request), ports.search);
    const http = await httpReceiver(() => ({ status: 200 }), ports.http);
    for (const each of [syslog, search, http] satisfies Listening[]) atEnd(each.close);
    // In the middle of it.
    await until('a sink has had something', () => http.requests.length > 0);
    await server.stop('SIGKILL');
    server = await startServer({ dataDir, options: OPTIONS });
    client = new Client(server.url);
    await change(client, 20);
    const records = recordsOf(server);
    expect(records.length).toBeGreaterThanOrEqual(1025);
    const all = records.map(({ seq }) => seq);
    await until('all have had everything', async () =>
      (await everyItem<View>(client, '/audit-sinks')).every(({ state }) => state.position >= all.length),
    );

    const texts = http.requests.flatMap(({ body }) => body.trimEnd().split('\n'));
    expect(firstOf(texts.map((text) => (JSON.parse(text) as { seq: number }).seq))).toEqual(all);
    expect(new Set(texts)).toEqual(new Set(records.map(({ body, hash }) => `${body.slice(0, -1)},"hash":"${hash}"}`)));
    expect(firstOf(collected())).toEqual(all);
    expect(firstOf(syslog.messages.map((message) => Number(/ seq="(\d+)"/.exec(message)?.[1])))).toEqual(all);
    expect([...bulk.documents.values()].map(({ seq }) => seq)).toEqual(all);
    expect(await metric(server, 'entrepot_audit_sink_backlog')).toBe(0);
    expect(await server.stop()).toBe(0);
  });

  describe('and the sinks are managed', () => {
    let server: TestServer;
    let client: Client;
    beforeAll(async () => {
      server = await startServer({ options: { ...OPTIONS, 'log-level': 'trace' } });
      client = new Client(server.url);
      await done(201, client, 'POST', '/projects', { name: 'demo' });
    });
    afterAll(async () => expect(await server.stop()).toBe(0));

    test('one that takes and never reads blocks no request', async () => {
      let connected = false;
      const deaf = await listenOn(
        createServer((socket) => {
          connected = true;
          socket.pause();
        }),
      );
      atEnd(deaf.close);
      const target = { kind: 'fluentd', host: '127.0.0.1', port: deaf.port, tls: false };
      await done(201, client, 'POST', '/audit-sinks', { name: 'deaf', target });
      await until('it is connected', () => connected);
      await change(client, 100);
      expect((await done<View>(200, client, 'GET', '/audit-sinks/deaf')).state).toMatchObject({ position: 1, failures: 0 });
      await done(204, client, 'DELETE', '/audit-sinks/deaf');
    });

    test('a wrong shared key is told at the sink, by a test with each step, and in the metrics', async () => {
      const port = await freePort();
      const seen = await fluentd(port, 'right-4711');
      const target = { kind: 'fluentd', host: '127.0.0.1', port, tls: false };
      await done(201, client, 'POST', '/audit-sinks', { name: 'logs', target, secrets: { sharedKey: 'wrong-4711' } });
      const view = () => done<View>(200, client, 'GET', '/audit-sinks/logs');
      await until('it failed', async () => (await view()).state.failures > 0);
      expect((await view()).state.lastError).toBe(`fluentd at 127.0.0.1:${port} refused shared key, user or password: shared key mismatch`);
      expect(await metric(server, 'entrepot_audit_sink_failures_total')).toBeGreaterThan(0);
      const failed = await done<Check>(200, client, 'POST', '/audit-sinks/logs/test');
      expect(failed).toMatchObject({ ok: false, error: expect.stringContaining('shared key mismatch') });
      expect(failed.steps.map(({ step }) => step)).toEqual(['127.0.0.1 is 127.0.0.1', 'connected to 127.0.0.1']);

      const mended = await done<View>(200, client, 'PATCH', '/audit-sinks/logs', { secrets: { sharedKey: 'right-4711' } });
      expect(mended).toMatchObject({ secrets: ['sharedKey'], state: { failures: 0 } });
      await until('it has everything', async () => (await view()).state.backlog === 0);
      const passed = await done<Check>(200, client, 'POST', '/audit-sinks/logs/test');
      expect(passed).toMatchObject({ ok: true, error: null });
      expect(passed.steps.map(({ step }) => step).slice(2)).toEqual([
        'shared key accepted on both sides',
        expect.stringMatching(/^sent a record, \d+ bytes, as entrepot.audit$/),
        'acknowledged',
      ]);
      expect(seen()).toContain(0);
    });

    test('F4 what is secret of a sink is not in an answer, a record, the log or the database', async () => {
      const secrets = { authorization: 'Bearer hidden-4712', hmacKey: 'hidden-4713' };
      const target = { kind: 'http', url: `http://127.0.0.1:${await freePort()}/` };
      const made = await done<View>(201, client, 'POST', '/audit-sinks', { name: 'secretive', target, secrets });
      expect(made.secrets).toEqual(['authorization', 'hmacKey']);
      await done(200, client, 'POST', '/audit-sinks/secretive/test');
      await until('it failed', async () => (await done<View>(200, client, 'GET', '/audit-sinks/secretive')).state.failures > 0);
      const changed = await done<View>(200, client, 'PATCH', '/audit-sinks/secretive', { secrets: { hmacKey: null } });
      expect(changed.secrets).toEqual(['authorization']);
      const database = new DatabaseSync(join(server.dataDir, 'entrepot.db'), { readOnly: true });
      const rows = ['audit_sink', 'audit_record', 'job', 'idempotency'].map((table) => database.prepare(`SELECT * FROM ${table}`).all());
      database.close();
      const everything = JSON.stringify([made, changed, await everyItem(client, '/audit-sinks'), rows]) + server.output();
      expect(everything).toContain('audit-sink.create');
      for (const secret of ['hidden-', 'right-4711', 'wrong-4711', 'sealed"']) expect(everything).not.toContain(secret);
    });

    test('D2 the secrets given for one place are not sent to another', async () => {
      const other = await httpReceiver(() => ({ status: 200 }));
      atEnd(other.close);
      const target = { kind: 'http', url: other.url };
      expect(await refused(client, 'PATCH', '/audit-sinks/secretive', { target })).toBe('400 bad_request');
      expect(
        (await done<View>(200, client, 'PATCH', '/audit-sinks/secretive', { target, secrets: { authorization: null } })).secrets,
      ).toEqual([]);
      await until('it has everything', async () => (await done<View>(200, client, 'GET', '/audit-sinks/secretive')).state.backlog === 0);
      expect(other.requests[0]?.headers).not.toHaveProperty('authorization');
    });

    test('begins with the record of its own creation, stops while it is not enabled, and can be sent everything again', async () => {
      const receiver = await httpReceiver(() => ({ status: 200 }));
      atEnd(receiver.close);
      const seen = () =>
        receiver.requests.flatMap(({ body }) => (JSON.parse(body) as { seq: number; action: string }[]).map((record) => record));
      const target = { kind: 'http', url: receiver.url, format: 'json' };
      await done(201, client, 'POST', '/audit-sinks', { name: 'again', target });
      await until('the first', () => seen().length > 0);
      expect(seen()[0]).toMatchObject({ action: 'audit-sink.create', resource: { type: 'audit-sink', name: 'again' } });
      await done(200, client, 'PATCH', '/audit-sinks/again', { enabled: false });
      const before = seen().length;
      await change(client, 3);
      const { state } = await done<View>(200, client, 'GET', '/audit-sinks/again');
      expect(state.backlog).toBeGreaterThanOrEqual(3);
      expect(seen().length).toBe(before);
      await done(200, client, 'PATCH', '/audit-sinks/again', { enabled: true, resendFrom: 1 });
      await until('all', () => seen().length >= before + recordsOf(server).length);
      expect(
        seen()
          .slice(before)
          .map(({ seq }) => seq),
      ).toEqual(recordsOf(server).map(({ seq }) => seq));
      expect(await refused(client, 'PATCH', '/audit-sinks/again', { resendFrom: 1_000_000 })).toBe('400 bad_request');
      await done(204, client, 'DELETE', '/audit-sinks/again');
      expect(await refused(client, 'GET', '/audit-sinks/again')).toBe('404 not_found');
    });

    test('changes only what is as the client saw it, and refuses what makes no sense', async () => {
      const target = { kind: 'http', url: 'https://logs.example.com/in' };
      await done(201, client, 'POST', '/audit-sinks', { name: 'etag', target, enabled: false });
      const answer = await client.request('GET', '/api/v1/audit-sinks/etag');
      const etag = answer.headers.get('etag') ?? '';
      await done(200, client, 'PATCH', '/audit-sinks/etag', { enabled: false }, { 'If-Match': etag });
      expect(await refused(client, 'PATCH', '/audit-sinks/etag', { enabled: true }, { 'If-Match': etag })).toBe('412 precondition_failed');
      expect(await refused(client, 'DELETE', '/audit-sinks/etag', undefined, { 'If-Match': etag })).toBe('412 precondition_failed');
      expect(await refused(client, 'POST', '/audit-sinks', { name: 'etag', target })).toBe('409 conflict');
      expect(await refused(client, 'POST', '/audit-sinks', { name: 'x', target, secrets: { sharedKey: 'k' } })).toBe('400 bad_request');
      expect(await refused(client, 'POST', '/audit-sinks', { name: 'x', target, secrets: { authorization: 'a\r\nb: c' } })).toBe(
        '400 bad_request',
      );
      expect(await refused(client, 'POST', '/audit-sinks', { name: 'x', target: { ...target, port: 1 } })).toBe('400 invalid_input');
      await done(204, client, 'DELETE', '/audit-sinks/etag');
    });
  });
});
