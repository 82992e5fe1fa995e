import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { digestOf } from '@entrepot/oci';
import { beforeAll, expect, it } from 'vitest';
import { atEnd } from '../harness/at-end.ts';
import { freshDatabase } from '../harness/postgres.ts';
import { ADMIN, startServer, type TestServer, temporaryFolder } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';
import { createHosts, type Host } from './network.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url));
const VIP = '10.213.77.200';
/** VRRP gives up on the holder after three advertisements; the rest is for a busy machine. */
const MOVES_WITHIN = { timeout: 30_000, interval: 200 };

describeWith(['haproxy', 'keepalived', 'ip', 'curl', 'root'], 'two load balancers before two instances', () => {
  const folder = temporaryFolder();
  let hosts: Record<string, Host>;
  let balancers: Host[];
  let client: Host;
  const instances: TestServer[] = [];
  const named = (name: string): Host => {
    const host = hosts[name];
    if (!host) throw new Error(`no host ${name}`);
    return host;
  };

  /** Status and body of a request to the address that clients know. */
  function curl(path: string, ...more: string[]): { status: number; body: string } {
    try {
      const output = client.run(
        'curl',
        '-s',
        '-m',
        '5',
        '-u',
        `${ADMIN.user}:${ADMIN.password}`,
        '-w',
        '\n%{http_code}',
        `http://${VIP}${path}`,
        ...more,
      );
      const at = output.lastIndexOf('\n');
      return { status: Number(output.slice(at + 1)), body: output.slice(0, at) };
    } catch {
      return { status: 0, body: '' };
    }
  }
  const push = (text: string) =>
    curl(
      `/v2/demo/app/blobs/uploads/?digest=${digestOf(text)}`,
      '-X',
      'POST',
      '-H',
      'Content-Type: application/octet-stream',
      '--data-binary',
      text,
    );
  const pull = (text: string) => curl(`/v2/demo/app/blobs/${digestOf(text)}`);
  const holders = () => balancers.filter((host) => host.holds(VIP)).map(({ name }) => name);

  function startBalancer(host: Host, priority: number, script: string): void {
    const config = join(folder, `${host.name}.conf`);
    const text = readFileSync(join(DEPLOY, 'keepalived/keepalived.conf'), 'utf8')
      .replace('$VIP=192.0.2.10/24', `$VIP=${VIP}/24`)
      .replace('$PRIORITY=100', `$PRIORITY=${priority}`)
      .replace('/usr/local/bin/check-haproxy', script);
    writeFileSync(config, text, { mode: 0o600 });
    host.start('haproxy', ['-db', '-f', join(DEPLOY, 'haproxy/haproxy.cfg')], {
      LISTEN: ':80',
      ENTREPOT_1: `${named('app1').address}:5000`,
      ENTREPOT_2: `${named('app2').address}:5000`,
      ENTREPOT_3: '10.213.77.99:5000', // a host that is down
    });
    const pids = ['-p', '-r', '-c'].flatMap((flag) => [flag, join(folder, `${host.name}${flag}.pid`)]);
    host.start('keepalived', ['-n', '-l', '-P', '-f', config, ...pids]);
  }

  beforeAll(async () => {
    hosts = createHosts(['lb1', 'lb2', 'app1', 'app2', 'client']);
    balancers = [named('lb1'), named('lb2')];
    client = named('client');
    const databaseUrl = await freshDatabase();
    for (const name of ['app1', 'app2']) {
      const { address } = named(name);
      const shared = { 'keys-dir': join(folder, 'keys'), 'storage-dir': join(folder, 'blobs') };
      const options = { listen: `${address}:5000`, 'trusted-proxies': '10.213.77.0/24', ...shared };
      instances.push(await startServer({ databaseUrl, options, wrapper: named(name).wrapper }));
    }
    // keepalived runs no script that others might have written: neither it nor a folder above it.
    mkdirSync('/run/entrepot-test', { recursive: true, mode: 0o755 });
    const place = mkdtempSync('/run/entrepot-test/');
    atEnd(() => rmSync('/run/entrepot-test', { recursive: true, force: true }));
    const script = join(place, 'check-haproxy');
    copyFileSync(join(DEPLOY, 'keepalived/check-haproxy'), script);
    startBalancer(named('lb1'), 100, script);
    startBalancer(named('lb2'), 90, script);
  });

  it('serve one address, which moves when its holder dies, and nothing acknowledged is lost', async () => {
    await expect
      .poll(holders, MOVES_WITHIN)
      .toHaveLength(1)
      .catch((error: unknown) => {
        throw new Error(balancers.map((host) => host.output()).join('\n'), { cause: error });
      });
    await expect.poll(() => push('one').status, MOVES_WITHIN).toBe(201);
    const [holder = ''] = holders();
    named(holder).die();
    await expect.poll(() => pull('one'), MOVES_WITHIN).toEqual({ status: 200, body: 'one' });
    const others = balancers.filter(({ name }) => name !== holder);
    expect(others.map((host) => host.holds(VIP))).toEqual([true]);
    expect(push('two').status).toBe(201);
  });

  it('turn away from an instance that dies', async () => {
    await instances[0]?.stop('SIGKILL');
    await expect.poll(() => push('three').status, MOVES_WITHIN).toBe(201);
    for (const text of ['one', 'two', 'three']) expect(pull(text)).toEqual({ status: 200, body: text });
  });
});
