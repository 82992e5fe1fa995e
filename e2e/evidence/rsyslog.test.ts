import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../../packages/server/src/evidence/forwarding/testing-sinks.ts';
import { makeCertificate } from '../../packages/server/src/platform/testing-certificates.ts';
import { atEnd } from '../harness/at-end.ts';
import { Client } from '../harness/client.ts';
import { until } from '../harness/raw.ts';
import { done } from '../harness/rest.ts';
import { startServer, temporaryFolder } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';

/** What rsyslog understood of a message, as one JSON object a line. */
const TEMPLATE = [
  ['severity', 'syslogseverity-text'],
  ['facility', 'syslogfacility-text'],
  ['hostname', 'hostname'],
  ['app', 'app-name'],
  ['id', 'msgid'],
  ['data', 'structured-data'],
  ['text', 'msg'],
  ['timestamp', 'timestamp" dateFormat="rfc3339'],
].map(([outname, name]) => `property(outname="${outname}" name="${name}" format="jsonf")`);

interface Understood {
  readonly severity: string;
  readonly facility: string;
  readonly hostname: string;
  readonly app: string;
  readonly id: string;
  readonly data: string;
  readonly text: string;
  readonly timestamp: string;
}

/** Starts an rsyslogd of this test alone, over TLS where a certificate is named. */
async function startRsyslog(port: number, certificate?: { keyFile: string; certificateFile: string }) {
  const folder = mkdtempSync(join(temporaryFolder(), 'rsyslog-'));
  const out = join(folder, 'out');
  const { certificateFile = '', keyFile = '' } = certificate ?? {};
  const files = `DefaultNetstreamDriverCAFile="${certificateFile}" DefaultNetstreamDriverCertFile="${certificateFile}" DefaultNetstreamDriverKeyFile="${keyFile}"`;
  const lines = [
    `global(workDirectory="${folder}" ${certificate ? files : ''})`,
    `module(load="imtcp"${certificate ? ' StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"' : ''})`,
    `input(type="imtcp" address="127.0.0.1" port="${port}" ruleset="all")`,
    `template(name="understood" type="list" option.jsonf="on") { ${TEMPLATE.join(' ')} }`,
    `ruleset(name="all") { action(type="omfile" file="${out}" template="understood") }`,
  ];
  const config = join(folder, 'rsyslog.conf');
  writeFileSync(config, `${lines.join('\n')}\n`);
  const child = spawn('rsyslogd', ['-n', '-f', config, '-i', join(folder, 'pid')], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async (signal: NodeJS.Signals = 'SIGKILL') => {
    child.kill(signal);
    await ended;
  };
  atEnd(stop);
  await until('rsyslogd listens', async () => child.exitCode !== null || (await answers(port)));
  if (child.exitCode !== null) throw new Error(`rsyslogd ended:\n${printed}`);
  const read = () => (existsSync(out) ? readFileSync(out, 'utf8').split('\n').slice(0, -1) : []);
  return { stop, understood: () => read().map((line) => JSON.parse(line) as Understood) };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

const seqOf = ({ data }: Understood) => Number(/ seq="(\d+)"/.exec(data)?.[1]);
const upTo = (n: number) => Array.from({ length: n }, (_, at) => at + 1);

interface View {
  readonly state: { readonly position: number; readonly failures: number; readonly lastError: string | null };
}

describeWith(['rsyslogd'], 'audit records in rsyslog', () => {
  test('are understood as they are meant, however hostile, and come again where it was killed', async () => {
    const port = await freePort();
    let rsyslog = await startRsyslog(port);
    const server = await startServer({ options: { 'outbound-allow': '127.0.0.1' } });
    const client = new Client(server.url);
    const target = { kind: 'syslog', host: '127.0.0.1', port, tls: false, hostname: 'registry-1', facility: 13 };
    await done(201, client, 'POST', '/audit-sinks', { name: 'rsyslog', target, from: 'oldest' });
    await done(201, client, 'POST', '/projects', { name: 'demo' });
    const description = 'a"b]c\\d\n<110>1 2026-01-01T00:00:00Z forged entrepot - x - y\r\n\u2028é😀';
    await done(200, client, 'PATCH', '/projects/demo', { description });
    const received = () => rsyslog.understood();
    await until('all have arrived', () => received().length >= 3);
    expect(received().map(seqOf)).toEqual([1, 2, 3]);
    const [made, , hostile] = received();
    expect(made).toMatchObject({ severity: 'info', facility: 'audit', hostname: 'registry-1', app: 'entrepot', id: 'audit-sink.create' });
    const { at, after } = JSON.parse(hostile?.text ?? '') as { at: string; after: { description: string } };
    expect(after.description).toBe(description);
    expect(hostile?.timestamp).toBe(at);
    expect(hostile?.data).toMatch(
      /^\[entrepot@32473 seq="3" outcome="success" actor="user:admin" .* project="demo" hash="[0-9a-f]{64}"\]$/,
    );

    await rsyslog.stop();
    for (let i = 0; i < 50; i++) await done(200, client, 'PATCH', '/projects/demo', { description: `${i}` });
    await until('it is known to be down', async () => (await done<View>(200, client, 'GET', '/audit-sinks/rsyslog')).state.failures > 0);
    const before = received();
    rsyslog = await startRsyslog(port);
    await until('all have arrived', () => new Set([...before, ...received()].map(seqOf)).size >= 53);
    expect([...new Set([...before, ...received()].map(seqOf))]).toEqual(upTo(53));
    expect(await server.stop()).toBe(0);
  });
});

describeWith(['rsyslogd', 'rsyslog-gnutls', 'openssl'], 'audit records in rsyslog over TLS', () => {
  test('go to who shows a certificate that is trusted for the name, and to nobody else', async () => {
    const folder = temporaryFolder();
    const certificate = makeCertificate(folder, 'DNS:logs.test');
    const port = await freePort();
    const rsyslog = await startRsyslog(port, certificate);
    const server = await startServer({ options: { 'outbound-allow': '127.0.0.1', 'outbound-ca-file': certificate.certificateFile } });
    const client = new Client(server.url);
    const target = { kind: 'syslog', host: '127.0.0.1', port };
    await done(201, client, 'POST', '/audit-sinks', { name: 'rsyslog', target });
    await until('it failed', async () => (await done<View>(200, client, 'GET', '/audit-sinks/rsyslog')).state.failures > 0);
    expect((await done<View>(200, client, 'GET', '/audit-sinks/rsyslog')).state.lastError).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
    expect(rsyslog.understood()).toEqual([]);
    await done(200, client, 'PATCH', '/audit-sinks/rsyslog', { target: { ...target, serverName: 'logs.test' } });
    await until('all have arrived', () => rsyslog.understood().length >= 2);
    expect(rsyslog.understood().map(seqOf)).toEqual([1, 2]);
    const check = await done<{ ok: boolean; steps: { step: string }[] }>(200, client, 'POST', '/audit-sinks/rsyslog/test');
    expect(check.ok).toBe(true);
    expect(check.steps.map(({ step }) => step)).toEqual([
      '127.0.0.1 is 127.0.0.1',
      'connected to 127.0.0.1',
      'TLS stands and the certificate is for logs.test',
      expect.stringMatching(/^sent \d+ bytes$/),
      'the receiver has read everything and ended the connection after us',
    ]);
    expect(await server.stop()).toBe(0);
  });
});
