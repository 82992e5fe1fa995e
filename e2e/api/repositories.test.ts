import { beforeAll, describe, expect, it } from 'vitest';
import { Client, imageManifest, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { type People, populate } from '../harness/people.ts';
import { until } from '../harness/raw.ts';
import { done, everyItem, nextOf, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';

interface Named {
  readonly name: string;
}
interface Artifact {
  readonly digest: string;
  readonly tags: string[];
  readonly size: number;
  readonly mediaType: string;
  readonly subject?: string;
}

let server: TestServer;
let people: People;
let root: Client;

beforeAll(async () => {
  server = await startServer();
  root = new Client(server.url);
  people = await populate(server, {
    users: ['guest', 'developer', 'maintainer', 'outsider'],
    projects: { demo: { members: { guest: 'guest', developer: 'developer', maintainer: 'maintainer' } }, other: {} },
  });
});

const at = (repository: string, rest_ = '') => `/projects/demo/repositories/${encodeURIComponent(repository)}${rest_}`;

/** An index of two platforms, tagged; gives digests of index and children. */
async function pushIndex(name: string, tag: string): Promise<{ index: string; children: string[] }> {
  const children = [];
  for (const architecture of ['amd64', 'arm64']) {
    const { digest, bytes } = await root.pushImage(name, `child-${architecture}`);
    await done(204, root, 'DELETE', `/projects/demo/repositories/${encodeURIComponent(name.slice(5))}/tags/child-${architecture}`);
    const platform = { os: 'linux', architecture, ...(architecture === 'arm64' ? { variant: 'v8' } : {}) };
    children.push({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: bytes.length, platform });
  }
  const { digest } = await root.pushManifest(name, tag, {
    ...{ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json' },
    manifests: children,
    annotations: { 'org.opencontainers.image.title': 'two' },
  });
  return { index: digest, children: children.map((child) => child.digest) };
}

describe('repositories', () => {
  it('are listed by name, age and last change', async () => {
    for (const name of ['list/b', 'list/a', 'list/c']) await root.pushImage(`demo/${name}`, 'v1');
    await root.pushImage('demo/list/b', 'v2');
    const names = async (sort: string) =>
      (await everyItem<Named>(root, `/projects/demo/repositories?name=list/&limit=1&sort=${sort}`))
        .map(({ name }) => name.slice(-1))
        .join('');
    expect(await names('name')).toBe('abc');
    expect(await names('-name')).toBe('cba');
    expect(await names('created')).toBe('bac');
    expect(await names('-created')).toBe('cab');
    expect(await names('updated')).toBe('acb');
    expect(await names('-updated')).toBe('bca');
    expect(await everyItem(root, '/projects/demo/repositories?name=%25')).toEqual([]);
    expect(await everyItem(root, '/projects/demo/repositories?name=_')).toEqual([]);
  });

  it('have a description, changed by who may', async () => {
    await root.pushImage('demo/described', 'v1');
    const path = at('described');
    const before = await rest(root, 'GET', path);
    expect(before.json()).toMatchObject({ name: 'demo/described', description: '' });
    const etag = { 'If-Match': before.headers.get('etag') ?? '' };
    expect(await refused(people.client('guest'), 'PATCH', path, { description: 'x' })).toBe('403 denied');
    await done(200, people.client('developer'), 'PATCH', path, { description: '<b>what it is</b>' }, etag);
    expect(await refused(root, 'PATCH', path, { description: 'y' }, etag)).toBe('412 precondition_failed');
    expect((await rest(root, 'GET', path)).json()).toMatchObject({ description: '<b>what it is</b>' });
    expect(await refused(root, 'PATCH', path, { name: 'demo/other', description: 'x' })).toBe('400 invalid_input');
    expect(await refused(root, 'PATCH', path, { description: 'x'.repeat(4097) })).toBe('400 invalid_input');
  });

  it('that are named as their project are found under _', async () => {
    await root.pushImage('demo', 'v1');
    expect(await done<Named>(200, people.client('guest'), 'GET', at('_'))).toMatchObject({ name: 'demo' });
    expect((await everyItem<Named>(root, at('_', '/tags'))).map(({ name }) => name)).toEqual(['v1']);
    await done(204, root, 'DELETE', at('_'));
    expect(await refused(root, 'GET', at('_'))).toBe('404 not_found');
  });

  it('are gone at once when deleted, their content soon, and the name is free again', async () => {
    const { index, children } = await pushIndex('demo/gone', 'v1');
    const { digest } = await root.pushImage('demo/gone', 'v2');
    await root.pushImage('demo/kept', 'v1');
    expect(await refused(people.client('developer'), 'DELETE', at('gone'))).toBe('403 denied');
    await done(204, people.client('maintainer'), 'DELETE', at('gone'));
    for (const reference of ['v1', 'v2', digest, index, ...children]) {
      expect((await root.request('GET', `/v2/demo/gone/manifests/${reference}`)).status).toBe(404);
    }
    expect((await root.request('GET', '/v2/demo/gone/tags/list')).status).toBe(404);
    expect(await refused(root, 'GET', at('gone'))).toBe('404 not_found');
    expect((await everyItem<Named>(root, '/projects/demo/repositories?name=gone')).length).toBe(0);
    const catalog = (await root.request('GET', '/v2/_catalog')).json<{ repositories: string[] }>().repositories;
    expect(catalog).toContain('demo/kept');
    expect(catalog.filter((name) => name.includes('gone') || name.includes('deleted'))).toEqual([]);
    await root.pushImage('demo/gone', 'v3');
    expect((await everyItem<Named>(root, at('gone', '/tags'))).map(({ name }) => name)).toEqual(['v3']);
    expect((await everyItem(root, at('gone', '/tags/v1/history'))).length).toBe(0);
    await done(202, root, 'DELETE', '/projects/demo/trash');
    await until('the content is cleared away', async () => {
      const jobs = await everyItem<{ state: string }>(root, '/jobs?kind=repository.purge');
      return jobs.length > 0 && jobs.every(({ state }) => state === 'done');
    });
    expect((await root.request('GET', '/v2/demo/gone/manifests/v3')).status).toBe(200);
  });
});

describe('artifacts', () => {
  it('are read by tag and digest: platforms, sizes, config and labels', async () => {
    const config = Buffer.from(
      JSON.stringify({
        os: 'linux',
        architecture: 'arm64',
        variant: 'v8',
        created: '2026-01-01T00:00:00Z',
        config: { Labels: { team: 'a', bad: 7 } },
      }),
    );
    const layer = Buffer.alloc(3000, 1);
    for (const bytes of [config, layer]) await root.pushBlob('demo/facts', bytes);
    const { digest, bytes } = await root.pushManifest(
      'demo/facts',
      'v1',
      imageManifest(config, [layer, layer], { annotations: { a: 'b' } }),
    );
    const guest = people.client('guest');
    const byTag = await rest(guest, 'GET', at('facts', '/artifacts/v1'));
    expect(byTag.json()).toEqual({
      ...{ pulls: 0, pulledAt: null },
      ...{ digest, mediaType: 'application/vnd.oci.image.manifest.v1+json', artifactType: 'application/vnd.oci.image.config.v1+json' },
      size: bytes.length + config.length + layer.length,
      manifestSize: bytes.length,
      pushedAt: expect.stringMatching(/Z$/),
      pushedBy: 'admin',
      tags: ['v1'],
      annotations: { a: 'b' },
      blobs: [
        expect.objectContaining({ digest: sha256(config) }),
        ...Array(2).fill(expect.objectContaining({ digest: sha256(layer), size: 3000 })),
      ],
      children: [],
      image: { platform: { os: 'linux', architecture: 'arm64', variant: 'v8' }, created: '2026-01-01T00:00:00Z', labels: { team: 'a' } },
    });
    expect((await rest(guest, 'GET', at('facts', `/artifacts/${digest}`))).json()).toEqual(byTag.json());
    const { index, children } = await pushIndex('demo/facts', 'multi');
    const read = await done<{ children: { digest: string; platform: object }[]; size: number }>(
      200,
      guest,
      'GET',
      at('facts', '/artifacts/multi'),
    );
    expect(read.children.map((child) => child.digest)).toEqual(children);
    expect(read.children[1]?.platform).toEqual({ os: 'linux', architecture: 'arm64', variant: 'v8' });
    const sizes = await Promise.all(
      [index, ...children].map(
        async (one) => await done<{ manifestSize: number; size: number }>(200, guest, 'GET', at('facts', `/artifacts/${one}`)),
      ),
    );
    expect(sizes[0]?.size).toBe((sizes[0]?.manifestSize ?? 0) + (sizes[1]?.size ?? 0) + (sizes[2]?.size ?? 0));
    for (const missing of ['v9', sha256('nothing'), '..', 'sha256:zz', '%00']) {
      expect(await refused(guest, 'GET', at('facts', `/artifacts/${encodeURIComponent(missing)}`))).toMatch(/^40[04] /);
    }
  });

  it('are listed, filtered and sorted', async () => {
    const { index, children } = await pushIndex('demo/sorted', 'multi');
    const small = await root.pushImage('demo/sorted', 'small', [Buffer.alloc(10, 1)]);
    const large = await root.pushImage('demo/sorted', 'large', [Buffer.alloc(50_000, 2)]);
    const referrer = await root.pushManifest('demo/sorted', sha256('x') && 'about', {
      ...{ schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', artifactType: 'application/x-sbom' },
      config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: await root.pushBlob('demo/sorted', Buffer.from('{}')), size: 2 },
      layers: [],
      subject: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: small.digest, size: small.bytes.length },
    });
    await done(204, root, 'DELETE', at('sorted', '/tags/about'));
    const list = async (query: string) =>
      (await everyItem<Artifact>(root, `${at('sorted', '/artifacts')}?limit=2${query}`)).map(({ digest }) => digest);
    const pushed = [...children, index, small.digest, large.digest, referrer.digest];
    expect(await list('&sort=pushed')).toEqual(pushed);
    expect(await list('')).toEqual([...pushed].reverse());
    const bySize = await everyItem<Artifact>(root, `${at('sorted', '/artifacts')}?limit=2&sort=-size`);
    expect(bySize.map(({ size }) => size)).toEqual(bySize.map(({ size }) => size).sort((a, b) => b - a));
    expect(bySize[0]?.digest).toBe(large.digest);
    expect((await list('&sort=size')).reverse()).toEqual(bySize.map(({ digest }) => digest));
    expect(await list('&tag=small')).toEqual([small.digest]);
    expect(await list('&tag=nothing')).toEqual([]);
    expect(await list('&tagged=false&sort=pushed')).toEqual([...children, referrer.digest]);
    expect(await list('&top=true&sort=pushed')).toEqual([index, small.digest, large.digest]);
    expect(await list('&artifactType=application/x-sbom')).toEqual([referrer.digest]);
    expect(await list('&mediaType=application/vnd.oci.image.index.v1%2Bjson')).toEqual([index]);
    const [about] = await everyItem<Artifact>(root, `${at('sorted', '/artifacts')}?artifactType=application/x-sbom`);
    expect(about).toMatchObject({ subject: small.digest, tags: [] });
  });

  it('are deleted one by one, or an index with its children in one step', async () => {
    const { index, children } = await pushIndex('demo/deleted', 'v1');
    expect(await refused(people.client('developer'), 'DELETE', at('deleted', '/artifacts/v1'))).toBe('403 denied');
    expect(await refused(root, 'DELETE', at('deleted', `/artifacts/${children[0]}`))).toBe('405 manifest_referenced');
    const batch = (references: string[]) => rest(people.client('maintainer'), 'POST', at('deleted', '/artifacts/delete'), { references });
    expect((await batch([...children])).status).toBe(405);
    expect((await batch([index, sha256('missing')])).status).toBe(404);
    expect((await everyItem(root, at('deleted', '/artifacts'))).length).toBe(3);
    expect((await batch([...children, 'v1'])).status).toBe(204);
    expect(await everyItem(root, at('deleted', '/artifacts'))).toEqual([]);
    expect(await everyItem(root, at('deleted', '/tags'))).toEqual([]);
  });
});

describe('tags', () => {
  it('are set, moved and deleted, and their history stays', async () => {
    const [one, two] = [await root.pushImage('demo/tags', 'v1'), await root.pushImage('demo/tags', 'v2')];
    const developer = people.client('developer');
    const tag = at('tags', '/tags/stable');
    expect(await refused(people.client('guest'), 'PUT', tag, { digest: one.digest })).toBe('403 denied');
    const none = { 'If-None-Match': '*' };
    const set = await rest(developer, 'PUT', tag, { digest: one.digest }, none);
    expect(set.json()).toMatchObject({ name: 'stable', digest: one.digest, updatedBy: 'developer' });
    expect(await refused(developer, 'PUT', tag, { digest: two.digest }, none)).toBe('412 precondition_failed');
    expect(await refused(developer, 'PUT', tag, { digest: two.digest }, { 'If-Match': `"${two.digest}"` })).toBe('412 precondition_failed');
    await done(200, developer, 'PUT', tag, { digest: two.digest }, { 'If-Match': set.headers.get('etag') ?? '' });
    expect((await root.request('GET', '/v2/demo/tags/manifests/stable')).headers.get('docker-content-digest')).toBe(two.digest);
    expect(await refused(developer, 'PUT', tag, { digest: sha256('missing') })).toBe('404 not_found');
    expect(await refused(developer, 'PUT', tag, { digest: 'v1' })).toBe('400 digest_invalid');
    expect(await refused(developer, 'PUT', at('tags', '/tags/-bad'), { digest: one.digest })).toBe('400 tag_invalid');
    expect(await refused(developer, 'DELETE', tag)).toBe('403 denied');
    await done(204, people.client('maintainer'), 'DELETE', tag);
    expect(await refused(root, 'GET', tag)).toBe('404 not_found');
    const history = await everyItem<object>(root, at('tags', '/tags/stable/history?limit=1'));
    expect(history).toEqual([
      { digest: null, previous: two.digest, at: expect.any(String), by: 'maintainer' },
      { held: 'live', digest: two.digest, previous: one.digest, at: expect.any(String), by: 'developer' },
      { held: 'live', digest: one.digest, previous: null, at: expect.any(String), by: 'developer' },
    ]);
    expect(await everyItem(root, at('tags', '/tags/stable/history?sort=time'))).toEqual([...history].reverse());
  });

  it('are listed to the end without gap or repeat while others come', async () => {
    const { digest } = await root.pushImage('demo/many', 'm00');
    const put = (name: string) => done(200, root, 'PUT', at('many', `/tags/${name}`), { digest });
    const names = Array.from({ length: 30 }, (_, index) => `m${String(index).padStart(2, '0')}`);
    for (const name of names) await put(name);
    for (const sort of ['name', '-name', 'updated', '-updated']) {
      let extra = 0;
      const seen = await everyItem<Named>(root, `${at('many', '/tags')}?limit=4&sort=${sort}`, async () => {
        await put(`x-${sort}-${extra++}`);
        await put(`a-${sort}-${extra++}`);
      });
      const own = seen.map(({ name }) => name).filter((name) => /^m\d/.test(name));
      expect(own.length).toBe(names.length);
      expect(new Set(own)).toEqual(new Set(names));
      expect(new Set(seen.map(({ name }) => name)).size).toBe(seen.length);
      if (sort.endsWith('name')) expect(own).toEqual(sort === 'name' ? names : [...names].reverse());
    }
    const found = await everyItem<Named>(root, `${at('many', '/tags')}?name=M0&limit=3`);
    expect(found.map(({ name }) => name)).toEqual(names.slice(0, 10));
    const ofDigest = await everyItem<Named>(root, `${at('many', '/tags')}?digest=${digest}&limit=7`);
    expect(ofDigest.length).toBe((await everyItem(root, at('many', '/tags'))).length);
    expect(await refused(root, 'GET', `${at('many', '/tags')}?digest=${digest}&sort=updated`)).toBe('400 bad_request');
    expect(nextOf(await rest(root, 'GET', `${at('many', '/tags')}?limit=1000`))).toBeUndefined();
  });

  it('are deleted several at once, or none', async () => {
    const { digest } = await root.pushImage('demo/several', 'v1');
    for (const name of ['v2', 'v3']) await done(200, root, 'PUT', at('several', `/tags/${name}`), { digest });
    const path = at('several', '/tags/delete');
    expect(await refused(people.client('developer'), 'POST', path, { tags: ['v1'] })).toBe('403 denied');
    expect(await refused(root, 'POST', path, { tags: ['v1', 'v9'] })).toBe('404 not_found');
    expect(await refused(root, 'POST', path, { tags: [] })).toBe('400 invalid_input');
    await done(204, people.client('maintainer'), 'POST', path, { tags: ['v1', 'v3'] });
    expect((await everyItem<Named>(root, at('several', '/tags'))).map(({ name }) => name)).toEqual(['v2']);
  });
});

it('what is hidden looks like what does not exist (attack classes A8, C2)', async () => {
  await root.pushImage('demo/hidden', 'v1');
  await root.pushImage('other/own', 'v1');
  const outsider = people.client('outsider');
  const paths = ['', '/artifacts', '/artifacts/v1', '/tags', '/tags/v1', '/tags/v1/history'];
  for (const path of paths) {
    const told = async (client: Client, repository: string) => {
      const answer = await rest(client, 'GET', `/projects/demo/repositories/${repository}${path}`);
      return [
        answer.status,
        answer.bytes
          .toString()
          .replaceAll(repository, 'X')
          .replace(/"requestId":"[^"]*"/, ''),
      ];
    };
    expect(await told(outsider, 'hidden')).toEqual(await told(outsider, 'missing'));
    // A repository of another project is not reached through one that is seen.
    for (const name of ['other%2Fown', '..%2Fother%2Fown', 'own']) expect((await told(people.client('guest'), name))[0]).toBe(404);
  }
});

it('leaves everything as it must be', async () => {
  await server.stop();
  const { manifests, tags } = await checkInvariants(server.dataDir);
  expect(manifests).toBeGreaterThan(10);
  expect(tags).toBeGreaterThan(10);
});
