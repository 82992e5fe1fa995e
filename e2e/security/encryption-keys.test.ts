import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KMS_ALIAS, startKms } from '../../packages/server/src/content/encryption/providers/testing-kms.ts';
import { startVault } from '../../packages/server/src/content/encryption/providers/testing-vault.ts';
import { blobFile, canary, expectNoCanary, holdsCanary } from '../harness/canary.ts';
import { begin, Client, must, sha256 } from '../harness/client.ts';
import { until } from '../harness/raw.ts';
import { done, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

const name = 'demo/app';
const options = { encryption: 'file' };

let server: TestServer;
let client: Client;
beforeAll(async () => {
  server = await startServer({ options });
  client = new Client(server.url);
});
afterAll(async () => expect(await server.stop()).toBe(0));

const get = async (digest: string, headers: Record<string, string> = {}) =>
  await client.request('GET', `/v2/${name}/blobs/${digest}`, { headers });
const dataOf = (digest: string) => blobFile(server.dataDir, digest);

test('a rotation by command and by REST touches no blob, is recorded, and lets the old version go', async () => {
  const layers = Array.from({ length: 10 }, () => randomBytes(2000));
  for (const layer of layers) await client.pushBlob(name, layer);
  const before = layers.map((layer) => readFileSync(dataOf(sha256(layer))));
  expect(await server.command('encryption', 'add-key')).toBe('version 2');
  const { job } = await done<{ job: number }>(202, client, 'POST', '/encryption/rewrap');
  await until('the rotation ends', async () => (await rest(client, 'GET', `/jobs/${job}`)).json<{ state: string }>().state === 'done');
  const status = await done<{ current: object; keys: { version: string; keys: number }[] }>(200, client, 'GET', '/encryption');
  expect(status).toMatchObject({ encrypting: true, current: { provider: 'file', version: '2' } });
  expect(status.keys.map(({ version }) => version)).toEqual(['2']);
  expect(await server.command('encryption', 'status')).toMatch(/^file 2: [0-9]+ data keys/);
  const records = (await rest(client, 'GET', '/audit?action=encryption.rewrap')).json<{ items: unknown[] }>();
  expect(records.items.length).toBe(1);
  expect(await server.command('encryption', 'rewrap', '--encryption', 'file')).toMatch(/^job [0-9]+$/);

  const file = join(server.dataDir, 'keys', 'encryption.keys');
  writeFileSync(file, `${readFileSync(file, 'utf8').trimEnd().split('\n').at(-1)}\n`);
  expect(await server.stop()).toBe(0);
  server = await startServer({ dataDir: server.dataDir, options });
  client = new Client(server.url);
  for (const [index, layer] of layers.entries()) {
    expect(readFileSync(dataOf(sha256(layer))).equals(before[index] ?? Buffer.alloc(0))).toBe(true);
    expect((await get(sha256(layer))).bytes.equals(layer)).toBe(true);
  }
});

test('the server does not start without its keys, with others, or with encryption off', async () => {
  await server.stop();
  const file = join(server.dataDir, 'keys', 'encryption.keys');
  const keys = readFileSync(file, 'utf8');
  await expect(startServer({ dataDir: server.dataDir })).rejects.toThrow('blobs of this registry are encrypted');
  writeFileSync(file, `2 ${randomBytes(32).toString('base64url')}\n`);
  await expect(startServer({ dataDir: server.dataDir, options })).rejects.toThrow('was not wrapped by version 2');
  rmSync(file);
  await expect(startServer({ dataDir: server.dataDir, options })).rejects.toThrow('a lost key file is not replaced');
  writeFileSync(file, keys, { mode: 0o600 });
  server = await startServer({ dataDir: server.dataDir, options });
  client = new Client(server.url);
});

test('what lay in the clear stays readable when encryption is switched on, and is encrypted beside', async () => {
  const dataDir = temporaryFolder();
  const plain = await startServer({ dataDir });
  const bytes = [canary(100), canary(300_000), canary(3_000_000)];
  for (const each of bytes) await new Client(plain.url).pushBlob(name, each);
  expect(await refused(new Client(plain.url), 'POST', '/encryption/rewrap')).toBe('409 conflict');
  const half = await begin(new Client(plain.url), name);
  await must(new Client(plain.url), [202], 'PATCH', half, { body: canary(200_000) });
  expect(await plain.stop()).toBe(0);

  const before = server;
  server = await startServer({ dataDir, options });
  client = new Client(server.url);
  for (let looks = 0; looks < 3; looks++) for (const each of bytes) expect((await get(sha256(each))).bytes.equals(each)).toBe(true);
  await until('all is encrypted', () => bytes.every((each) => !holdsCanary(readFileSync(dataOf(sha256(each))))));
  for (const each of bytes) expect((await get(sha256(each))).bytes.equals(each)).toBe(true);
  expect((await must(client, [204], 'GET', half)).headers.get('range')).toBe('0-0'); // it starts over
  await must(client, [201], 'PUT', `${half}?digest=${sha256(canary(250_000))}`, { body: canary(250_000) });
  expectNoCanary(server.dataDir);
  expect(await server.stop()).toBe(0);
  server = before;
  client = new Client(server.url);
});

describe('keys that others keep', () => {
  test('Vault: pulls of what was pulled go on while it is away, pushes wait, and keys come to it from a file', async () => {
    const vault = await startVault();
    const folder = temporaryFolder();
    const dataDir = join(folder, 'data');
    writeFileSync(join(folder, 'token'), vault.token, { mode: 0o600 });
    const first = await startServer({ dataDir, options });
    const layer = randomBytes(5000);
    await new Client(first.url).pushBlob(name, layer);
    expect(await first.stop()).toBe(0);

    const byVault = {
      encryption: 'vault',
      'encryption-vault-key': vault.key,
      'encryption-vault-token-file': join(folder, 'token'),
      'outbound-allow': '127.0.0.1',
    };
    const second = await startServer({ dataDir, options: byVault });
    const there = new Client(second.url);
    const pull = async (bytes: Uint8Array) => await there.request('GET', `/v2/${name}/blobs/${sha256(bytes)}`);
    const large = randomBytes(300_000);
    await there.pushBlob(name, large);
    expect((await pull(layer)).bytes.equals(layer)).toBe(true);
    const { job } = await done<{ job: number }>(202, there, 'POST', '/encryption/rewrap');
    await until('the keys are Vault’s', async () => (await rest(there, 'GET', `/jobs/${job}`)).json<{ state: string }>().state === 'done');
    const status = await done<{ keys: object[] }>(200, there, 'GET', '/encryption');
    expect(status.keys).toMatchObject([{ provider: 'vault', version: '1', keys: 2 }]);
    expect(await second.stop()).toBe(0);

    rmSync(join(dataDir, 'keys', 'encryption.keys'));
    const third = await startServer({ dataDir, options: byVault });
    const client3 = new Client(third.url);
    const status3 = async (path: string) => (await client3.request('GET', path)).status;
    expect(await status3(`/v2/${name}/blobs/${sha256(large)}`)).toBe(200);
    vault.reachable = false;
    expect((await client3.request('GET', `/v2/${name}/blobs/${sha256(large)}`)).bytes.equals(large)).toBe(true);
    const refusedPull = await client3.request('GET', `/v2/${name}/blobs/${sha256(layer)}`);
    expect([refusedPull.status, refusedPull.headers.get('retry-after')]).toEqual([503, '5']);
    const small = await client3.request('POST', `/v2/${name}/blobs/uploads/?digest=${sha256('new')}`, { body: 'new' });
    expect(small.status).toBe(503);
    const chunk = await client3.request('PATCH', await begin(client3, name), { body: randomBytes(100) });
    expect(chunk.status).toBe(503);
    await until('readiness tells', async () => (await status3('/readyz')) === 503);
    expect((await client3.request('GET', '/readyz')).bytes.toString()).toBe('the provider of encryption keys cannot be used\n');
    expect(await status3('/livez')).toBe(200);
    expect((await done<{ current: unknown }>(200, client3, 'GET', '/encryption')).current).toBeNull();
    vault.reachable = true;
    await until('it is ready again', async () => (await status3('/readyz')) === 200);
    expect((await client3.request('GET', `/v2/${name}/blobs/${sha256(layer)}`)).bytes.equals(layer)).toBe(true);
    await client3.pushBlob(name, Buffer.from('new'));
    for (const secret of [vault.token]) expect(third.output()).not.toContain(secret);
    expect(await third.stop()).toBe(0);
    await vault.close();
  });

  test('KMS', async () => {
    const kms = await startKms();
    const running = await startServer({
      options: { encryption: 'aws', 'encryption-aws-key': KMS_ALIAS, 'outbound-allow': '127.0.0.1' },
      env: { AWS_ENDPOINT_URL_KMS: kms.url, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'of the test' },
    });
    const there = new Client(running.url);
    const bytes = randomBytes(100_000);
    await there.pushBlob(name, bytes);
    kms.rotate();
    const { job } = await done<{ job: number }>(202, there, 'POST', '/encryption/rewrap');
    await until('the rotation ends', async () => (await rest(there, 'GET', `/jobs/${job}`)).json<{ state: string }>().state === 'done');
    kms.retire();
    expect(kms.asked).toContain('ReEncrypt');
    expect((await there.request('GET', `/v2/${name}/blobs/${sha256(bytes)}`)).bytes.equals(bytes)).toBe(true);
    expect(await running.stop()).toBe(0);
    await kms.close();
  });
});
