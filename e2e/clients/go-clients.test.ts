import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { ADMIN, startServer, type TestServer } from '../harness/server.ts';
import { describeIfPresent, exec } from '../harness/tools.ts';
import { manifestOf, missingOf, pushImage, randomImage, randomIndex } from './images.ts';
import { type Workbench, workbench } from './workbench.ts';

/** A server, and a machine whose Docker configuration has the login: all four clients read that. */
function prepare() {
  let server: TestServer;
  let bench: Workbench;
  beforeAll(async () => {
    server = await startServer();
    bench = workbench();
    const auth = Buffer.from(`${ADMIN.user}:${ADMIN.password}`).toString('base64');
    writeFileSync(join(bench.env.DOCKER_CONFIG ?? '', 'config.json'), JSON.stringify({ auths: { [server.address]: { auth } } }));
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });
  return {
    run: (program: string, words: readonly string[], env = {}) => exec(program, words, { ...bench.env, ...env }),
    path: (name: string) => join(bench.folder, name),
    ref: (reference: string) => `${server.address}/${reference}`,
    client: () => new Client(server.url),
  };
}

describeIfPresent(['crane'], 'crane', () => {
  const { run, path, ref, client } = prepare();
  const crane = (...words: string[]) => run('crane', ['--insecure', ...words]);

  test('copies, lists, validates, tags and deletes', async () => {
    const index = randomIndex();
    await pushImage(client(), 'demo/source', '1', index);
    await crane('copy', ref('demo/source:1'), ref('demo/target:1'));
    await crane('copy', ref('demo/source:1'), ref('fresh/target:1'));
    for (const name of ['demo/target', 'fresh/target']) expect(await missingOf(client(), name, index)).toEqual([]);
    await crane('validate', '--remote', ref('fresh/target:1'));
    await crane('tag', ref('demo/target:1'), 'second');
    expect(await crane('ls', ref('demo/target'))).toBe('1\nsecond\n');
    expect(await crane('catalog', ref('').slice(0, -1))).toBe('demo/source\ndemo/target\nfresh/target\n');
    expect((await crane('digest', ref('demo/target:second'))).trim()).toBe(index.descriptor.digest);
    const tarball = path('image.tar');
    await crane('pull', ref('demo/target:1'), tarball);
    await crane('push', tarball, ref('demo/pushed:1'));
    await crane('validate', '--remote', ref('demo/pushed:1'));
    await crane('delete', ref(`demo/target@${index.descriptor.digest}`));
    expect((await client().request('GET', '/v2/demo/target/manifests/second')).status).toBe(404);
  });
});

describeIfPresent(['oras'], 'oras', () => {
  const { run, path, ref, client } = prepare();
  const oras = (...words: string[]) => run('oras', words);

  test('pushes, attaches, discovers, copies and pulls', async () => {
    const http = '--plain-http';
    const folder = path('files');
    mkdirSync(folder);
    const bytes = randomBytes(300_000);
    writeFileSync(join(folder, 'data.bin'), bytes);
    const file = (name: string) => `${join(folder, name)}:application/octet-stream`;
    await oras(
      'push',
      http,
      '--disable-path-validation',
      '--artifact-type',
      'application/vnd.example',
      ref('demo/files:1'),
      file('data.bin'),
    );
    writeFileSync(join(folder, 'note.txt'), 'a note');
    const attach = ['--disable-path-validation', '--artifact-type', 'application/vnd.example.note'];
    await oras('attach', http, ...attach, ref('demo/files:1'), file('note.txt'));
    const found = JSON.parse(await oras('discover', http, '--format', 'json', ref('demo/files:1'))) as object;
    expect(JSON.stringify(found)).toContain('application/vnd.example.note');
    // With its referrers, into the same and into another project.
    for (const name of ['demo/copied', 'fresh/copied']) {
      await oras('copy', '-r', '--from-plain-http', '--to-plain-http', ref('demo/files:1'), ref(`${name}:1`));
      const digest = sha256(await manifestOf(client(), name, '1'));
      const referrers = await client().request('GET', `/v2/${name}/referrers/${digest}`);
      expect(referrers.json<{ manifests: unknown[] }>().manifests).toHaveLength(1);
    }
    expect(await oras('repo', 'tags', http, ref('demo/files'))).toBe('1\n');
    const layer = (JSON.parse((await manifestOf(client(), 'demo/files', '1')).toString()) as { layers: { digest: string }[] }).layers[0];
    expect(layer?.digest).toBe(sha256(bytes));
    await oras('blob', 'fetch', http, '--output', path('fetched'), ref(`demo/files@${sha256(bytes)}`));
    expect(readFileSync(path('fetched')).equals(bytes)).toBe(true);
  });
});

describeIfPresent(['cosign'], 'cosign', () => {
  const { run, path, ref, client } = prepare();
  const cosign = (...words: string[]) => run('cosign', words, { COSIGN_PASSWORD: '' });

  test('signs and verifies', async () => {
    const image = randomImage();
    await pushImage(client(), 'demo/signed', '1', image);
    const key = path('key');
    await cosign('generate-key-pair', '--output-key-prefix', key);
    const signed = ref(`demo/signed@${image.descriptor.digest}`);
    const http = ['--allow-http-registry', '--allow-insecure-registry'];
    await cosign('sign', '-y', '--key', `${key}.key`, '--tlog-upload=false', '--use-signing-config=false', ...http, signed);
    await cosign('verify', '--key', `${key}.pub`, '--insecure-ignore-tlog', ...http, signed);
    const other = randomImage();
    await pushImage(client(), 'demo/signed', '2', other);
    const unsigned = ref(`demo/signed@${other.descriptor.digest}`);
    await expect(cosign('verify', '--key', `${key}.pub`, '--insecure-ignore-tlog', ...http, unsigned)).rejects.toThrow(/no signatures/i);
  });
});

describeIfPresent(['notation'], 'notation', () => {
  const { run, ref, client } = prepare();
  const notation = (...words: string[]) => run('notation', words);

  test('signs and lists', async () => {
    const image = randomImage();
    await pushImage(client(), 'demo/notarized', '1', image);
    await notation('cert', 'generate-test', '--default', 'test.example');
    const signed = ref(`demo/notarized@${image.descriptor.digest}`);
    await notation('sign', '--insecure-registry', signed);
    expect(await notation('list', '--insecure-registry', signed)).toContain('sha256:');
    const referrers = await client().request('GET', `/v2/demo/notarized/referrers/${image.descriptor.digest}`);
    expect(JSON.stringify(referrers.json())).toContain('application/vnd.cncf.notary.signature');
  });
});
