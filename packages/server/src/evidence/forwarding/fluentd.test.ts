import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMessage } from '@fluent-org/logger/build/src/protocol.js';
import { describe, expect, it } from 'vitest';
import { roomData } from '../../platform/database/testing.ts';
import { queriesOf } from '../../platform/index.ts';
import { HAS_OPENSSL, makeCertificate } from '../../platform/testing-certificates.ts';
import { ENTRY, upTo, useForwarding } from './testing-forwarding.ts';
import { fluentdReceiver, listenOn } from './testing-sinks.ts';

const SECURITY = { serverHostname: 'collector', sharedKey: 'correct key', authorize: false, userDict: {} };

const dropSinks = queriesOf<{ audit_sink: { id: number } }>('test')()('dropSinks', (db) => db.deleteFrom('audit_sink'));

describe('audit records to Fluentd', () => {
  const f = useForwarding(roomData);

  it('brings Fluentd every record once and in order, with its time and its place in the chain', async () => {
    const { port, entries } = f.opened(await fluentdReceiver(SECURITY));
    await f.addSink('logs', { kind: 'fluentd', host: '127.0.0.1', port, tls: false }, { sharedKey: 'correct key' });
    await f.happen(450);
    await f.forwarder().runDue();
    expect(entries.map(({ record }) => record.seq)).toEqual(upTo(450));
    expect(entries[0]).toMatchObject({
      tag: 'entrepot.audit',
      time: f.now / 1000,
      record: { ...ENTRY, hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect(await f.sinkOf('logs')).toMatchObject({ position: 450, attempts: 0, lastError: null, lastSuccessAt: f.now });
    await f.happen(1);
    await f.forwarder().runDue();
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
    const { port, entries } = f.opened(await fluentdReceiver(security));
    await f.addSink('logs', { kind: 'fluentd', host: '127.0.0.1', port, tls: false, ...(user ? { user } : {}) }, secrets);
    await f.happen(3);
    await f.forwarder(f.database, 'one', 100).runDue();
    const { lastError, position, attempts, nextAt, lastErrorAt } = await f.sinkOf('logs');
    expect(lastError).toContain(said);
    expect(lastError).not.toMatch(/correct key|wrong key/);
    expect({ position, attempts, nextAt, lastErrorAt }).toEqual({ position: 0, attempts: 1, nextAt: f.now + 1000, lastErrorAt: f.now });
    expect(f.failures).toEqual(['fluentd']);
    expect(entries).toEqual([]);
  });

  it.runIf(HAS_OPENSSL)('over TLS goes to who is trusted, and shows who it is', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'entrepot-tls-'));
    try {
      const { key, certificate, certificateFile } = makeCertificate(folder, 'DNS:logs.test');
      const tls = { key, cert: certificate, ca: certificate, requestCert: true };
      const { port, entries } = f.opened(await fluentdReceiver(SECURITY, 0, tls));
      const target = { kind: 'fluentd', host: '127.0.0.1', port, serverName: 'logs.test' } as const;
      await f.addSink('unknown', target, { sharedKey: 'correct key' });
      await f.addSink('known', { ...target, certificate }, { sharedKey: 'correct key', clientKey: key });
      await f.happen(2);
      await f.forwarder().runDue();
      expect((await f.sinkOf('known')).lastError).toBe(`127.0.0.1:${port} cannot be reached (DEPTH_ZERO_SELF_SIGNED_CERT)`);
      f.now += 1000;
      await f.forwarder(f.database, 'one', 2000, certificateFile).runDue();
      expect(await f.sinkOf('known')).toMatchObject({ position: 2, attempts: 0 });
      expect(await f.sinkOf('unknown')).toMatchObject({ position: 0, attempts: 2 });
      expect(entries.map(({ record }) => record.seq)).toEqual([1, 2]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('proves user and password to Fluentd, too', async () => {
    const { port, entries } = f.opened(await fluentdReceiver({ ...SECURITY, authorize: true, userDict: { u: 'p' } }));
    await f.addSink(
      'logs',
      { kind: 'fluentd', host: '127.0.0.1', port, tls: false, user: 'u', tag: 'own.tag' },
      { sharedKey: 'correct key', password: 'p' },
    );
    await f.happen(2);
    await f.forwarder().runDue();
    expect(entries.map(({ tag, record }) => [tag, record.seq])).toEqual([
      ['own.tag', 1],
      ['own.tag', 2],
    ]);
  });

  it('an acknowledgement of something else is none, and noise is no protocol', async () => {
    await f.happen(1);
    for (const [said, error] of [
      [encodeMessage({ ack: 'of something else' }), 'acknowledged something else'],
      [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 'acknowledged something else'],
      [Buffer.from([0xc1]), 'sent what is not of the protocol'],
      [Buffer.alloc(3 << 20, 0xdd), 'says too much'],
    ] as const) {
      const { port } = f.opened(await listenOn(createServer((socket) => socket.end(said))));
      await f.addSink(error, { kind: 'fluentd', host: '127.0.0.1', port, tls: false });
      await f.forwarder().runDue();
      expect(await f.sinkOf(error)).toMatchObject({ position: 0, attempts: 1, lastError: expect.stringContaining(error) });
      await f.database.write(async (tx) => await tx.run(dropSinks, {}));
    }
  });
});
