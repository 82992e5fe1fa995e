import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { ask, head, metric } from '../harness/raw.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const subject = sha256('a popular image');
/** More than any page, and so many that reading all of them for one would show. */
const MANY = 30_000;

describe('E6 lists', () => {
  let server: TestServer;
  let client: Client;
  const config = Buffer.from('{}');

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    await client.pushBlob(name, config);
    const { digest } = await client.pushManifest(name, 'first', imageManifest(config, []));
    // By the API this would take a minute: what the API would have written.
    const database = new DatabaseSync(join(server.dataDir, 'entrepot.db'));
    const { id } = database.prepare('SELECT id FROM repository WHERE name = ?').get(name) as { id: number };
    const tag = database.prepare("INSERT INTO tag (repository_id, name, digest, updated_at, updated_by) VALUES (?, ?, ?, 0, 'test')");
    const manifest = database.prepare(
      `INSERT INTO manifest (repository_id, digest, media_type, size, artifact_type, annotations, subject, created_at, created_by)
       VALUES (?, ?, 'application/vnd.oci.image.manifest.v1+json', 1, ?, '{"k":"v"}', ?, 0, 'test')`,
    );
    database.exec('BEGIN');
    for (let index = 0; index < MANY; index++) {
      tag.run(id, `tag-${index}`, digest);
      manifest.run(id, sha256(`referrer ${index}`), index % 1000 === 0 ? 'a/rare' : 'a/common', subject);
    }
    database.exec('COMMIT');
    database.close();
  });
  afterAll(async () => {
    expect(server.output()).not.toContain('"level":50');
    expect(await server.stop()).toBe(0);
  });

  const LISTS = {
    tags: { path: `/v2/${name}/tags/list`, most: 1000, of: (body: object) => (body as { tags: unknown[] }).tags },
    repositories: { path: '/v2/_catalog', most: 1000, of: (body: object) => (body as { repositories: unknown[] }).repositories },
    referrers: { path: `/v2/${name}/referrers/${subject}`, most: 500, of: (body: object) => (body as { manifests: unknown[] }).manifests },
  };

  test.each(Object.entries(LISTS))('E6 %s: no page is longer than its limit, whatever is asked', async (kind, { path, most, of }) => {
    for (const n of ['', 'n=1001', 'n=100000', 'n=2147483647', 'n=4294967296', 'n=999999999999999']) {
      const answer = await client.request('GET', `${path}?${n}`);
      expect([n, answer.status]).toEqual([n, 200]);
      expect(of(answer.json()).length).toBeLessThanOrEqual(most);
      if (kind !== 'repositories') expect(answer.headers.get('link')).toMatch(/^<\/v2\/[^<>]+>; rel="next"$/);
    }
  });

  test.each(Object.entries(LISTS))(
    'E6 %s: numbers that are none are refused or not read, and cost nothing',
    async (_, { path, most, of }) => {
      for (const n of [
        '-1',
        '-0',
        'NaN',
        'Infinity',
        '1e9',
        '0x7fffffff',
        '1.5',
        '1;2',
        '[]',
        '{}',
        'true',
        'null',
        '',
        ' 1',
        '1 ',
        '１',
        '9'.repeat(5000),
        '1&n=2',
      ]) {
        const answer = await client.request('GET', `${path}?n=${n.includes('&') ? n : encodeURIComponent(n)}`);
        expect([200, 400], n).toContain(answer.status);
        if (answer.status === 200) expect(of(answer.json()).length).toBeLessThanOrEqual(most);
      }
    },
  );

  test('E6 a page of a long list costs as much as one of a short list: also far down, and where few match', async () => {
    const quickest = async (path: string) => {
      let best = Number.POSITIVE_INFINITY;
      for (let round = 0; round < 12; round++) {
        const started = performance.now();
        await must(client, [200], 'GET', path);
        best = Math.min(best, performance.now() - started);
      }
      return best;
    };
    const base = await quickest(`/v2/${name}/tags/list?n=100`);
    // Reading all would take a hundred times as long.
    expect(await quickest(`/v2/${name}/tags/list?n=100&last=tag-8`)).toBeLessThan(base * 10 + 5);
    expect(await quickest(`/v2/${name}/referrers/${subject}?last=sha256:${'f'.repeat(63)}0`)).toBeLessThan(base * 10 + 5);
    expect(await quickest(`/v2/${name}/referrers/${sha256('nothing')}`)).toBeLessThan(base * 10 + 5);
    expect(await quickest(`/v2/${name}/manifests/tag-12345`)).toBeLessThan(base * 10 + 5);
  });

  test('E6 very many referrers of one digest: each answer is bounded, and so is the tag made of them', async () => {
    const page = await must(client, [200], 'GET', LISTS.referrers.path);
    expect(page.bytes.length).toBeLessThan(4 << 20);
    const rare = await must(client, [200], 'GET', `${LISTS.referrers.path}?artifactType=a%2Frare`);
    expect(LISTS.referrers.of(rare.json())).toHaveLength(MANY / 1000);
    expect(rare.headers.get('link')).toBeNull();
    const whole = await must(client, [200], 'GET', `/v2/${name}/manifests/${subject.replace(':', '-')}`);
    expect(whole.bytes.length).toBeLessThan(4 << 20);
    await metric(server, 'nodejs_eventloop_lag_max_seconds'); // each reading begins a new window
    await Promise.all(Array.from({ length: 20 }, () => must(client, [200], 'GET', LISTS.referrers.path)));
  });

  test('E6 more parameters than there are meanings: read once, and not held against anybody', async () => {
    for (const query of [
      Array.from({ length: 3000 }, (_, index) => `a${index}`).join('&'),
      '&'.repeat(15_000),
      '=&'.repeat(7500),
      'n=1&'.repeat(3500),
      `last=${'%61'.repeat(5000)}`,
      'n[]=1&n[a][b][c]=1&'.repeat(700),
    ]) {
      for (const { path } of Object.values(LISTS)) {
        const { status } = await client.request('GET', `${path}?${query}`);
        expect([200, 400], query.slice(0, 20)).toContain(status);
      }
    }
    // 10,000 do not fit into a head, which is refused whole.
    const bomb = `/v2/${name}/tags/list?${Array.from({ length: 10_000 }, (_, index) => `a=${index}`).join('&')}`;
    expect(await ask(server, head('GET', bomb, { Connection: 'close' }))).toMatch(/^HTTP\/1\.1 400 /);
    const scopes = Array.from({ length: 300 }, (_, index) => `scope=repository:${name}-${index}:pull`).join('&');
    const { token } = (await must(client, [200], 'GET', `/token?${scopes}`)).json<{ token: string }>();
    expect(token.length).toBeLessThan(8192);
    await must(new Client(server.url, `Bearer ${token}`), [404], 'GET', `/v2/${name}-7/tags/list`);
  });

  test('E6 very many tags in one push: refused, none is set', async () => {
    const body = Buffer.from(JSON.stringify(imageManifest(config, [], { annotations: { many: 'tags' } })));
    const path = `/v2/${name}/manifests/${sha256(body)}?${Array.from({ length: 1500 }, (_, index) => `tag=m${index}`).join('&')}`;
    await must(client, [414], 'PUT', path, { headers: { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' }, body });
    for (const reference of ['m0', 'm1499', sha256(body)]) await must(client, [404], 'GET', `/v2/${name}/manifests/${reference}`);
    // The same tag again and again is one tag.
    const same = `/v2/${name}/manifests/${sha256(body)}?${'tag=same&'.repeat(1500)}`;
    const answer = await must(client, [201], 'PUT', same, {
      headers: { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' },
      body,
    });
    expect(answer.headers.get('oci-tag')).toBe('same');
  });
});
