import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { type People, populate } from '../harness/people.ts';
import { done, everyItem, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const PATIENCE = { timeout: 20_000 };

interface Run {
  readonly id: number;
  readonly state: string;
  readonly lookedAt: number;
  readonly kept: number;
  readonly deleted: number;
  readonly undo: string | null;
  readonly restored: number;
}
interface Result {
  readonly tag: string | null;
  readonly outcome: string;
  readonly reasons: readonly { rule: number; keeps: boolean; text: string }[];
}

describe('retention on a real server', () => {
  let server: TestServer;
  let client: Client;
  let people: People;

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    const projects = { strict: { members: { dev: 'developer' } }, used: { members: { guest: 'guest' } } };
    people = await populate(server, { users: ['dev', 'guest'], projects });
  });
  afterAll(async () => {
    await server.stop();
    await checkInvariants(server.dataDir);
  });

  const policies = (project: string) => `/projects/${project}/retention-policies`;

  async function pushTags(repository: string, names: readonly string[]): Promise<void> {
    const config = Buffer.from('{}');
    await client.pushBlob(repository, config);
    for (const name of names) await client.pushManifest(repository, name, imageManifest(config, [], { annotations: { name } }));
  }
  const tagsOf = async (repository: string) =>
    (await must(client, [200], 'GET', `/v2/${repository}/tags/list`)).json<{ tags: string[] }>().tags;

  async function finished(path: string, id: number): Promise<Run> {
    await expect
      .poll(async () => (await done<Run>(200, client, 'GET', `${path}/runs/${id}`)).state, PATIENCE)
      .not.toMatch(/waiting|running/);
    return await done<Run>(200, client, 'GET', `${path}/runs/${id}`);
  }

  it('says of each tag what becomes of it and why, then does so, and brings it back', async () => {
    const names = Array.from({ length: 12 }, (_, at) => `v${at}`);
    await pushTags('demo/app', names);
    await pushTags('demo/other', ['x', 'y']);
    const body = {
      name: 'latest',
      uncovered: 'delete',
      rules: [
        { template: 'latestPushedK', n: 3, repositories: { include: ['demo/app'] } },
        { template: 'always', repositories: { include: ['demo/app'] }, labels: { name: 'v1' } },
      ],
    };
    const { id: policy } = await done<{ id: number }>(201, client, 'POST', policies('demo'), body);
    const path = `${policies('demo')}/${policy}`;
    const dry = await finished(path, (await done<Run>(202, client, 'POST', `${path}/runs`, { dryRun: true })).id);
    expect(dry).toMatchObject({ state: 'done', lookedAt: 12, kept: 4, deleted: 8 });
    const results = await everyItem<Result>(client, `${path}/runs/${dry.id}/results?limit=5`);
    expect(results).toHaveLength(12);
    expect(
      results
        .filter(({ outcome }) => outcome === 'keep')
        .map(({ tag }) => tag)
        .sort(),
    ).toEqual(['v1', 'v10', 'v11', 'v9']);
    expect(results.find(({ tag }) => tag === 'v0')?.reasons).toEqual([
      { policy: 'latest', rule: 1, keeps: false, text: '12. of the latest pushed, of which 3 are kept' },
    ]);
    expect(await tagsOf('demo/app')).toHaveLength(12);

    const real = await finished(path, (await done<Run>(202, client, 'POST', `${path}/runs`, { dryRun: false })).id);
    expect(real).toMatchObject({ state: 'done', deleted: 8 });
    expect(await tagsOf('demo/app')).toEqual(['v1', 'v10', 'v11', 'v9']);
    expect(await tagsOf('demo/other')).toEqual(['x', 'y']); // no rule names it
    const history = await done<{ items: { by: string }[] }>(200, client, 'GET', '/projects/demo/repositories/app/tags/v0/history');
    expect(history.items[0]?.by).toBe(`retention run ${real.id}`);

    await done<Run>(202, client, 'POST', `${path}/runs/${real.id}/undo`);
    await expect.poll(async () => (await done<Run>(200, client, 'GET', `${path}/runs/${real.id}`)).undo, PATIENCE).toBe('done');
    expect(await tagsOf('demo/app')).toEqual([...names].sort());
    await must(client, [200], 'GET', '/v2/demo/app/manifests/v0');
    expect(await refused(client, 'POST', `${path}/runs/${dry.id}/undo`)).toBe('409 conflict');
    const list = await everyItem<Run>(client, `${path}/runs`);
    expect(list.map(({ id }) => id)).toEqual([real.id, dry.id]);
  });

  it('counts pulls, also of who asks for a tag and fetches its digest', async () => {
    await pushTags('pulled/app', ['get', 'head', 'never']);
    await must(client, [200], 'GET', '/v2/pulled/app/manifests/get');
    await must(client, [200], 'GET', '/v2/pulled/app/manifests/get');
    const asked = await must(client, [200], 'HEAD', '/v2/pulled/app/manifests/head');
    await must(client, [200], 'GET', `/v2/pulled/app/manifests/${asked.headers.get('docker-content-digest')}`);
    type Tag = { name: string; pulls: number; pulledAt: string | null };
    const pulls = async () =>
      Object.fromEntries(
        (await everyItem<Tag>(client, '/projects/pulled/repositories/app/tags')).map(({ name, pulls: count }) => [name, count]),
      );
    await expect.poll(pulls, PATIENCE).toEqual({ get: 2, head: 1, never: 0 });
    const tags = await everyItem<Tag>(client, '/projects/pulled/repositories/app/tags');
    expect(tags.map(({ name, pulledAt }) => [name, pulledAt !== null])).toEqual([
      ['get', true],
      ['head', true],
      ['never', false],
    ]);
    const artifacts = await everyItem<{ pulls: number; tags: string[] }>(client, '/projects/pulled/repositories/app/artifacts');
    expect(artifacts.map((each) => `${each.tags} ${each.pulls}`).sort()).toEqual(['get 2', 'head 1', 'never 0']);
  });

  it('refuses rules and schedules that make no sense, and who may not (attack classes A4, C1, C2)', async () => {
    await pushTags('strict/app', ['x']);
    const path = policies('strict');
    const rule = (more: object) => ({ name: 'p', rules: [{ template: 'latestPushedK', n: 1, ...more }] });
    for (const body of [
      rule({ n: 0 }),
      rule({ template: 'always' }),
      rule({ template: 'nothing' }),
      { name: 'p', rules: [{ template: 'latestPushedK' }] },
      rule({ tags: { include: ['{a'] } }),
      rule({ tags: { include: [] } }),
      rule({ labels: { a: '}' } }),
      { name: 'p', schedule: 'now and then' },
      { name: 'p', schedule: '0 0 31 2 *' },
      { name: 'p', projects: { include: ['x'] } },
      { name: 'p', id: 7 },
      { name: 'p', untaggedDays: 0 },
      { name: '' },
    ]) {
      expect((await rest(client, 'POST', path, body)).status, JSON.stringify(body)).toBe(400);
    }
    const { id } = await done<{ id: number }>(201, client, 'POST', path, rule({}));
    expect(await refused(client, 'POST', path, rule({}))).toBe('409 conflict');
    expect(await refused(client, 'GET', `${policies('pulled')}/${id}`)).toBe('404 not_found'); // another project's
    expect(await refused(client, 'GET', `/retention-policies/${id}`)).toBe('404 not_found');
    expect(await refused(client, 'POST', `${policies('pulled')}/${id}/runs`, { dryRun: false })).toBe('404 not_found');
    const developer = people.client('dev');
    expect((await rest(developer, 'GET', path)).status).toBe(200);
    expect(await refused(developer, 'POST', `${path}/${id}/runs`, { dryRun: true })).toBe('403 denied');
    expect(await refused(developer, 'DELETE', `${path}/${id}`)).toBe('403 denied');
    expect(await tagsOf('strict/app')).toEqual(['x']);
  });

  it('goes on after a kill in the middle, with what it had begun', async () => {
    const own = await startServer();
    let mine = new Client(own.url);
    const config = Buffer.from('{}');
    const repositories = Array.from({ length: 6 }, (_, at) => `demo/r${at}`);
    for (const repository of repositories) {
      await mine.pushBlob(repository, config);
      await Promise.all(
        Array.from({ length: 60 }, (_, at) =>
          mine.pushManifest(
            repository,
            `v${at}`,
            imageManifest(config, [], { annotations: { at: `${at} ${randomBytes(4).toString('hex')}` } }),
          ),
        ),
      );
    }
    const path = policies('demo');
    const { id } = await done<{ id: number }>(201, mine, 'POST', path, { name: 'p', rules: [{ template: 'latestPushedK', n: 10 }] });
    const { id: run } = await done<Run>(202, mine, 'POST', `${path}/${id}/runs`, { dryRun: false });
    await expect
      .poll(async () => (await done<Run>(200, mine, 'GET', `${path}/${id}/runs/${run}`)).deleted, { ...PATIENCE, interval: 5 })
      .toBeGreaterThan(0);
    await own.stop('SIGKILL');
    const again = await startServer({ dataDir: own.dataDir });
    mine = new Client(again.url);
    await expect.poll(async () => (await done<Run>(200, mine, 'GET', `${path}/${id}/runs/${run}`)).state, PATIENCE).toBe('done');
    expect((await done<Run>(200, mine, 'GET', `${path}/${id}/runs/${run}`)).deleted).toBe(300);
    for (const repository of repositories) {
      expect((await must(mine, [200], 'GET', `/v2/${repository}/tags/list`)).json<{ tags: string[] }>().tags).toHaveLength(10);
    }
    await again.stop();
    await checkInvariants(own.dataDir);
  }, 60_000);

  it('takes what is told to be in use from who may set tags, of what is there', async () => {
    await pushTags('used/app', ['x']);
    const digest = (await must(client, [200], 'HEAD', '/v2/used/app/manifests/x')).headers.get('docker-content-digest');
    const path = '/projects/used/repositories/app/uses';
    const told = { source: 'cluster-a', digests: [digest, sha256('unknown')] };
    expect(await done<unknown>(200, client, 'POST', path, told)).toEqual({ known: 1, forgotten: 0 });
    expect(await everyItem(client, path)).toMatchObject([{ source: 'cluster-a', digest, expiresAt: null }]);
    await done<unknown>(200, client, 'POST', path, { source: 'cluster-b', digests: [digest], expiresInHours: 1 });
    expect(await done<unknown>(200, client, 'POST', path, { source: 'cluster-b', digests: [], complete: true })).toEqual({
      known: 0,
      forgotten: 1,
    });
    expect(await everyItem(client, path)).toHaveLength(1);
    const guest = people.client('guest');
    expect(await refused(guest, 'POST', path, told)).toBe('403 denied');
    const rules = [{ template: 'inUse', n: 30 }];
    const { id } = await done<{ id: number }>(201, client, 'POST', policies('used'), { name: 'p', rules });
    const run = await finished(
      `${policies('used')}/${id}`,
      (await done<Run>(202, client, 'POST', `${policies('used')}/${id}/runs`, { dryRun: false })).id,
    );
    expect(run).toMatchObject({ kept: 1, deleted: 0 });
  });
});
