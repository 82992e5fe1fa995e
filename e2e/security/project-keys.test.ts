import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startVault, type VaultStub } from '../../packages/server/src/content/encryption/providers/testing-vault.ts';
import { canary, expectNoCanary } from '../harness/canary.ts';
import { begin, Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { until } from '../harness/raw.ts';
import { done, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer, temporaryFolder } from '../harness/server.ts';

interface Keys {
  readonly keys: { provider: string; keys: number }[];
  readonly projectKeys: { name: string; current: { version: string } | null; keys: { version: string; keys: number }[] }[];
}

let vault: VaultStub;
let server: TestServer;
let client: Client;
let options: Record<string, string>;
const folder = temporaryFolder();
const dataDir = join(folder, 'data');
const acmeKeys = join(folder, 'acme.keys');

beforeAll(async () => {
  vault = await startVault();
  writeFileSync(join(folder, 'token'), vault.token, { mode: 0o600 });
  options = {
    encryption: 'file',
    'encryption-project-keys': `acme=file:${acmeKeys}, globex=vault:${vault.key}`,
    'encryption-vault-token-file': join(folder, 'token'),
    'outbound-allow': '127.0.0.1',
  };
  await start();
  for (const name of ['acme', 'globex', 'open']) await done(201, client, 'POST', '/projects', { name });
});
afterAll(async () => {
  expect(await server.stop()).toBe(0);
  await vault.close();
});

async function start(): Promise<void> {
  server = await startServer({ dataDir, options });
  client = new Client(server.url);
}

async function restart(): Promise<void> {
  expect(await server.stop()).toBe(0);
  await start();
}

const pull = async (project: string, bytes: Uint8Array) => await client.request('GET', `/v2/${project}/app/blobs/${sha256(bytes)}`);
const push = async (project: string, bytes: Uint8Array) => await client.pushBlob(`${project}/app`, Buffer.from(bytes));
const keys = async () => await done<Keys>(200, client, 'GET', '/encryption');
const setKey = async (project: string, key: string | null) =>
  await done<{ job: number }>(200, client, 'PUT', `/projects/${project}/encryption`, { key });
async function ended(id: number): Promise<void> {
  const job = async () => (await rest(client, 'GET', `/jobs/${id}`)).json<{ state: string; error: string | null }>();
  await until('the job ends', async () => {
    const { state, error } = await job();
    if (state !== 'done' && error) throw new Error(error);
    return state === 'done';
  });
}

/** Data keys by what wraps them, once those of a project follow who holds its blobs. */
async function settled(...projects: string[]): Promise<Record<string, number>> {
  for (const project of projects) {
    const isDone = async () => (await done<{ waiting: number }>(200, client, 'GET', `/projects/${project}/encryption`)).waiting === 0;
    await until(`keys of ${project} follow`, isDone);
  }
  const found = await keys();
  const named = found.projectKeys.map(({ name, keys: by }) => [name, by.reduce((sum, each) => sum + each.keys, 0)]);
  return { ...Object.fromEntries(found.keys.map(({ provider, keys: number }) => [provider, number])), ...Object.fromEntries(named) };
}

test('a project gets a key that the configuration names, and no other', async () => {
  expect(await refused(client, 'PUT', '/projects/acme/encryption', { key: 'initech' })).toBe('400 bad_request');
  expect(await refused(client, 'PUT', '/projects/acme/encryption', { key: acmeKeys })).toBe('400 invalid_input');
  expect(await refused(client, 'PUT', '/projects/nobody/encryption', { key: 'acme' })).toBe('404 not_found');
  expect(await done(200, client, 'GET', '/projects/acme/encryption')).toEqual({ key: null, usable: true, waiting: 0 });
  await setKey('acme', 'acme');
  await setKey('globex', 'globex');
  expect(await done(200, client, 'GET', '/projects/acme/encryption')).toEqual({ key: 'acme', usable: true, waiting: 0 });
  const told = (await rest(client, 'GET', '/audit?action=encryption.project-key')).json<{ items: unknown[] }>().items;
  expect(told.length).toBe(2);
  const shown = [(await rest(client, 'GET', '/encryption')).bytes, (await rest(client, 'GET', '/projects/acme/encryption')).bytes].join();
  const secret = readFileSync(acmeKeys, 'utf8').trim().split(' ').at(-1) ?? '';
  for (const hidden of [secret, vault.token, acmeKeys]) expect(shown).not.toContain(hidden);
});

test('what only one project holds, only its key opens: small blobs, large ones, and the config that REST shows', async () => {
  const [config, layer] = [Buffer.from('{"os":"linux","architecture":"amd64"}'), canary(300_000)];
  for (const bytes of [config, layer]) await push('acme', bytes);
  const manifest = JSON.stringify(imageManifest(config, [layer]));
  await must(client, [201], 'PUT', '/v2/acme/app/manifests/v1', {
    headers: { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' },
    body: manifest,
  });
  const artifact = async () => await rest(client, 'GET', '/projects/acme/repositories/app/artifacts/v1');
  for (const bytes of [config, layer]) expect((await pull('acme', bytes)).bytes.equals(bytes)).toBe(true);
  expect((await artifact()).json()).toMatchObject({ image: { platform: { os: 'linux' } } });
  expect(await settled('acme')).toEqual({ projects: 2, acme: 2, globex: 0 });
  expectNoCanary(dataDir);

  // Without the registry's key, which none of it needs any more.
  await restart();
  for (const bytes of [config, layer]) expect((await pull('acme', bytes)).bytes.equals(bytes)).toBe(true);

  // Without its own.
  renameSync(acmeKeys, `${acmeKeys}.away`);
  await restart();
  expect(existsSync(acmeKeys)).toBe(false); // none is made in its place
  for (const bytes of [config, layer]) {
    const answer = await pull('acme', bytes);
    expect([answer.status, answer.headers.get('retry-after'), String(answer.bytes)]).toEqual([
      503,
      '5',
      expect.stringContaining('the key of this project cannot be reached'),
    ]);
  }
  expect((await artifact()).status).toBe(503);
  expect((await client.request('POST', '/v2/acme/app/blobs/uploads/')).status).toBe(503);
  expect(await done(200, client, 'GET', '/projects/acme/encryption')).toMatchObject({ key: 'acme', usable: false });
  expect((await client.request('GET', '/readyz')).status).toBe(200);
  const other = randomBytes(1000);
  await push('open', other);
  expect((await pull('open', other)).bytes.equals(other)).toBe(true);
  renameSync(`${acmeKeys}.away`, acmeKeys);
  for (const bytes of [config, layer]) expect((await pull('acme', bytes)).bytes.equals(bytes)).toBe(true);
});

test('what several projects hold, each opens by its own key, and an outage of one is none of the others', async () => {
  const shared = randomBytes(200_000);
  await push('globex', shared);
  const mount = `/v2/open/app/blobs/uploads/?mount=${sha256(shared)}&from=globex/app`;
  await must(client, [201], 'POST', mount);
  await must(client, [201], 'POST', `/v2/acme/app/blobs/uploads/?mount=${sha256(shared)}&from=globex/app`);
  expect(await settled('acme', 'globex')).toEqual({ file: 2, projects: 2, acme: 3, globex: 1 });
  await restart();
  vault.reachable = false;
  for (const project of ['open', 'acme']) expect((await pull(project, shared)).bytes.equals(shared)).toBe(true);
  expect((await pull('globex', shared)).status).toBe(503);
  await push('open', shared); // the same bytes, under another data key
  expect((await pull('open', shared)).bytes.equals(shared)).toBe(true);
  expect((await pull('acme', shared)).bytes.equals(shared)).toBe(true);
  expect((await client.request('PUT', `${await begin(client, 'open/app')}?digest=${sha256('x')}`, { body: 'x' })).status).toBe(201);
  vault.reachable = true;
  expect((await pull('globex', shared)).bytes.equals(shared)).toBe(true);
});

test('a project that nobody can open any more takes no other with it: its blobs are pushed again, not mounted', async () => {
  const bytes = randomBytes(150_000);
  await push('globex', bytes);
  expect((await settled('globex')).projects).toBeGreaterThan(2);
  await restart();
  vault.reachable = false;
  await must(client, [202], 'POST', `/v2/open/app/blobs/uploads/?mount=${sha256(bytes)}&from=globex/app`);
  await push('open', bytes);
  await push('acme', bytes);
  for (const project of ['open', 'acme']) expect((await pull(project, bytes)).bytes.equals(bytes)).toBe(true);
  vault.reachable = true;
});

test('rotation: by a new version, by another key, back to that of the registry', async () => {
  expect(
    await server.command(
      'encryption',
      'add-key',
      '--key',
      'acme',
      '--encryption-project-keys',
      options['encryption-project-keys'] ?? '',
      '--encryption',
      'file',
      '--encryption-vault-token-file',
      'x',
    ),
  ).toBe('version 2');
  const { job } = await done<{ job: number }>(202, client, 'POST', '/encryption/rewrap');
  await ended(job);
  const acme = (await keys()).projectKeys.find(({ name }) => name === 'acme');
  expect(acme).toMatchObject({ current: { version: '2' }, keys: [{ version: '2' }] });
  await ended((await setKey('acme', 'globex')).job);
  await settled('acme');
  rmSync(acmeKeys);
  await restart();
  const layer = canary(300_000);
  expect((await pull('acme', layer)).bytes.equals(layer)).toBe(true);
  await ended((await setKey('acme', null)).job);
  await ended((await setKey('globex', null)).job);
  vault.reachable = false;
  await restart();
  expect((await pull('acme', layer)).bytes.equals(layer)).toBe(true);
  vault.reachable = true;
});
