import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { manifestOf, missingOf, randomImage, writeLayout } from '../clients/images.ts';
import { type Workbench, workbench } from '../clients/workbench.ts';
import { Client, imageManifest, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { done, everyItem, refused, rest } from '../harness/rest.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { describeWith } from '../harness/tools.ts';

interface Item {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly repository: string;
  readonly deletedBy: string;
}
interface Restored {
  readonly tags: string[];
  readonly skipped: string[];
  readonly manifests: number;
  readonly job: number | null;
}

const at = (repository: string, path = '') => `/projects/demo/repositories/${encodeURIComponent(repository)}${path}`;
const INDEX = 'application/vnd.oci.image.index.v1+json';

let server: TestServer;
let root: Client;

beforeAll(async () => {
  server = await startServer();
  root = new Client(server.url);
});
afterAll(async () => {
  expect(await server.stop()).toBe(0);
  const { manifests } = await checkInvariants(server.dataDir);
  expect(manifests).toBeGreaterThan(0);
});

const trash = (query = '') => everyItem<Item>(root, `/projects/demo/trash${query}`);
async function itemOf(name: string): Promise<Item> {
  const [item] = (await trash(`?name=${encodeURIComponent(name)}`)).filter((each) => each.name === name);
  if (!item) throw new Error(`${name} is not in the trash`);
  return item;
}
const restore = async (name: string, body: object = {}) =>
  await done<Restored>(200, root, 'POST', `/projects/demo/trash/${(await itemOf(name)).id}/restore`, body);

describe('what was deleted', () => {
  it('is not there for clients, listed in the trash, and comes back', async () => {
    const { digest, bytes } = await root.pushImage('demo/app', 'v1');
    await done(200, root, 'PUT', at('app', '/tags/latest'), { digest });
    expect((await root.request('DELETE', `/v2/demo/app/manifests/${digest}`)).status).toBe(202);
    for (const reference of ['v1', 'latest', digest]) {
      expect((await root.request('GET', `/v2/demo/app/manifests/${reference}`)).status).toBe(404);
    }
    const items = await trash('?repository=demo/app&by=admin');
    expect(items.map(({ kind, name }) => `${kind} ${name}`).sort()).toEqual([`manifest ${digest}`, 'tag latest', 'tag v1']);
    const { id } = await itemOf(digest);
    expect(await done(200, root, 'GET', `/projects/demo/trash/${id}`)).toMatchObject({ tags: ['latest', 'v1'], restorable: true });
    expect(await restore(digest)).toMatchObject({ tags: ['latest', 'v1'], manifests: 1, job: null });
    const pulled = await root.request('GET', '/v2/demo/app/manifests/v1');
    expect(pulled.bytes.equals(bytes)).toBe(true);
    expect(await refused(root, 'POST', `/projects/demo/trash/${id}/restore`, {})).toBe('404 not_found');
    const records = await everyItem<{ action: string }>(root, '/audit?project=demo&action=trash.restore');
    expect(records).toHaveLength(1);
  });

  it('with very many tags goes in steps, by either interface, and comes back with all of them', async () => {
    const { digest, bytes } = await root.pushImage('demo/tagged', 'v1');
    const type = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
    const tags = Array.from({ length: 601 }, (_, nth) => `t${nth}`);
    const tagAll = async () => {
      for (let from = 0; from < tags.length; from += 100) {
        const query = tags.slice(from, from + 100).map((tag) => `tag=${tag}`);
        const put = await root.request('PUT', `/v2/demo/tagged/manifests/${digest}?${query.join('&')}`, { body: bytes, headers: type });
        expect(put.status).toBe(201);
      }
    };
    await tagAll();
    expect((await root.request('DELETE', `/v2/demo/tagged/manifests/${digest}`)).status).toBe(202);
    expect((await root.request('GET', '/v2/demo/tagged/tags/list?n=1000')).json<{ tags: string[] }>().tags).toEqual([]);
    const { job } = await restore(digest);
    await expect
      .poll(async () => (await done<{ state: string }>(200, root, 'GET', `/jobs/${job}`)).state, { timeout: 30_000 })
      .toBe('done');
    expect((await root.request('GET', '/v2/demo/tagged/tags/list?n=1000')).json<{ tags: string[] }>().tags).toHaveLength(602);
    await done(204, root, 'DELETE', at('tagged', '/artifacts/t7')); // by one of the tags that go first
    expect((await root.request('GET', `/v2/demo/tagged/manifests/${digest}`)).status).toBe(404);
    const records = await everyItem<{ action: string }>(root, '/audit?project=demo&action=tag.delete-many');
    expect(records.length).toBeGreaterThanOrEqual(14);
  });

  it('comes back as several at once, all or none', async () => {
    const one = await root.pushImage('demo/many', 'one');
    const two = await root.pushImage('demo/many', 'two');
    await done(204, root, 'DELETE', at('many', '/tags/one'));
    await done(204, root, 'POST', at('many', '/artifacts/delete'), { references: [two.digest] });
    const items = [(await itemOf('one')).id, (await itemOf(two.digest)).id];
    expect(await refused(root, 'POST', '/projects/demo/trash/restore', { items: [...items, 999_999] })).toBe('404 not_found');
    expect((await root.request('GET', '/v2/demo/many/manifests/one')).status).toBe(404);
    await done(200, root, 'POST', '/projects/demo/trash/restore', { items });
    expect((await root.request('GET', '/v2/demo/many/manifests/one')).headers.get('docker-content-digest')).toBe(one.digest);
    expect((await root.request('GET', '/v2/demo/many/manifests/two')).status).toBe(200);
  });

  it('C2: is found in its own project only', async () => {
    await root.pushImage('other/app', 'v1');
    await root.pushImage('demo/mine', 'v1');
    await done(204, root, 'DELETE', at('mine', '/tags/v1'));
    const { id } = (await trash('?repository=demo/mine'))[0] ?? { id: 0 };
    for (const [method, path] of [
      ['GET', `/projects/other/trash/${id}`],
      ['POST', `/projects/other/trash/${id}/restore`],
      ['DELETE', `/projects/other/trash/${id}`],
    ] as const) {
      expect(await refused(root, method, path, method === 'POST' ? {} : undefined)).toBe('404 not_found');
    }
    expect(await refused(root, 'POST', '/projects/other/trash/restore', { items: [id] })).toBe('404 not_found');
    await done(200, root, 'GET', `/projects/demo/trash/${id}`);
  });

  it('of a repository comes back with its history, under another name too', async () => {
    const { digest } = await root.pushImage('demo/whole', 'v1');
    await root.pushImage('demo/whole', 'v1');
    await done(204, root, 'DELETE', at('whole'));
    await root.pushImage('demo/whole', 'new');
    expect(await refused(root, 'POST', `/projects/demo/trash/${(await itemOf('demo/whole')).id}/restore`, {})).toBe('409 conflict');
    await restore('demo/whole', { name: 'demo/whole-again' });
    expect((await root.request('GET', '/v2/demo/whole-again/tags/list')).json<{ tags: string[] }>().tags).toEqual(['v1']);
    const history = await everyItem<{ digest: string; held: string }>(root, at('whole-again', '/tags/v1/history'));
    expect(history.map((change) => change.digest)).toContain(digest);
    expect(history.every(({ held }) => held === 'live')).toBe(true);
  });

  it('is gone where the project keeps no trash, or it is emptied', async () => {
    await root.pushImage('brief/app', 'v1');
    await done(200, root, 'PUT', '/projects/brief/trash-policy', { days: 0 });
    await done(204, root, 'DELETE', '/projects/brief/repositories/app/tags/v1');
    expect(await everyItem(root, '/projects/brief/trash')).toEqual([]);
    await done(200, root, 'PUT', '/projects/brief/trash-policy', { days: 3 });
    expect(await everyItem(root, '/projects/brief/trash')).toHaveLength(1);
    await done(204, root, 'DELETE', '/projects/brief/repositories/app');
    expect(await refused(root, 'DELETE', '/projects/brief')).toBe('409 conflict');
    await done(202, root, 'DELETE', '/projects/brief/trash');
    await expect.poll(async () => (await rest(root, 'DELETE', '/projects/brief')).status, { timeout: 20_000 }).toBe(204);
  });
});

describe('a deletion that is looked at before', () => {
  it('says what goes, what is in the way and which bytes come free, and then does that', async () => {
    const [mine, shared] = [randomBytes(5000), randomBytes(3000)];
    const { digest, manifest } = await root.pushImage('demo/preview', 'v1', [mine, shared]);
    const others = await root.pushImage('demo/beside', 'v1', [shared]);
    const config = Buffer.from(JSON.stringify({ signature: randomBytes(8).toString('hex') }));
    await root.pushBlob('demo/preview', config);
    const subject = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: JSON.stringify(manifest).length };
    const signature = await root.pushManifest('demo/preview', 'signature', imageManifest(config, [], { subject }));
    const path = at('preview', `/artifacts/${digest}`);
    expect(await done(200, root, 'GET', `${path}/deletion`)).toMatchObject({
      ...{ allowed: true, referrersLeft: 1, restorableDays: 14 },
      manifests: [{ digest, role: 'self', tags: ['v1'], tagCount: 1 }],
      freed: { blobs: 2 },
    });
    const forecast = await done<{ freed: { bytes: number }; manifests: { digest: string }[] }>(
      200,
      root,
      'GET',
      `${path}/deletion?referrers=true`,
    );
    expect(forecast.manifests.map((each) => each.digest)).toEqual([digest, signature.digest]);
    await done(204, root, 'DELETE', `${path}?referrers=true`);
    for (const each of [digest, signature.digest])
      expect((await root.request('GET', `/v2/demo/preview/manifests/${each}`)).status).toBe(404);
    expect((await root.request('GET', `/v2/demo/beside/manifests/${others.digest}`)).status).toBe(200);
    expect(await restore(digest)).toMatchObject({ manifests: 2, tags: ['v1', 'signature'] });
    expect(await done(200, root, 'GET', at('preview', '/deletion'))).toMatchObject({ tags: 2, manifests: 2, exact: true, allowed: true });
    expect(await done(200, root, 'GET', at('preview', '/tags/v1/deletion'))).toMatchObject({ digest, otherTags: 0, allowed: true });
  });
});

describe('a tag', () => {
  it('is compared with what it was, and rolled back, from the trash too', async () => {
    const base = randomBytes(2000);
    const one = await root.pushImage('demo/rolled', 'v1', [base, randomBytes(100)]);
    const two = await root.pushImage('demo/rolled', 'v1', [base, randomBytes(300)]);
    const compared = `/compare?from=${one.digest}&to=v1`;
    expect(await done(200, root, 'GET', at('rolled', compared))).toMatchObject({
      to: { digest: two.digest },
      blobs: { keptBytes: 2000, addedBytes: expect.any(Number) },
      same: false,
    });
    await done(204, root, 'DELETE', at('rolled', `/artifacts/${one.digest}`));
    await done(200, root, 'GET', at('rolled', compared));
    const back = at('rolled', '/tags/v1/roll-back');
    const stale = { 'If-Match': `"${one.digest}"` };
    expect(await refused(root, 'POST', back, { digest: one.digest }, stale)).toBe('412 precondition_failed');
    const now = { 'If-Match': `"${two.digest}"` };
    expect(await done(200, root, 'POST', back, { digest: one.digest }, now)).toMatchObject({ previous: two.digest, restored: 1 });
    expect((await root.request('GET', '/v2/demo/rolled/manifests/v1')).headers.get('docker-content-digest')).toBe(one.digest);
    expect(await refused(root, 'POST', back, { digest: sha256('never there') })).toBe('404 not_found');
    await done(204, root, 'DELETE', at('rolled', '/tags/v1'));
    expect(await done(200, root, 'POST', back, { digest: two.digest })).toMatchObject({ previous: null, restored: 0 });
    const history = await everyItem<{ digest: string | null }>(root, at('rolled', '/tags/v1/history'));
    expect(history.map(({ digest }) => digest)).toEqual([two.digest, null, one.digest, two.digest, one.digest]);
  });
});

describe('a large index', () => {
  it('comes back whole though the server is killed while it restores', async () => {
    const config = Buffer.from('{}');
    await root.pushBlob('demo/large', config);
    const children: { mediaType: string; digest: string; size: number }[] = [];
    for (let number = 0; number < 250; number++) {
      const manifest = imageManifest(config, [], { annotations: { number: String(number) } });
      const { digest, bytes } = await root.pushManifest('demo/large', sha256(JSON.stringify(manifest)), manifest);
      children.push({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: bytes.length });
    }
    const { digest } = await root.pushManifest('demo/large', 'all', { schemaVersion: 2, mediaType: INDEX, manifests: children });
    await done(204, root, 'DELETE', at('large', `/artifacts/${digest}?children=true`));
    expect((await root.request('GET', `/v2/demo/large/manifests/${children[0]?.digest}`)).status).toBe(404);
    const { job } = await restore(digest);
    expect(job).toEqual(expect.any(Number));
    const count = (): number => {
      const database = new DatabaseSync(join(server.dataDir, 'entrepot.db'), { readOnly: true, timeout: 10_000 });
      const row = database.prepare('SELECT count(*) AS kept FROM trash_manifest WHERE digest != ?').get(digest) as { kept: number };
      database.close();
      return row.kept;
    };
    await expect.poll(count, { interval: 1, timeout: 20_000 }).toBeLessThan(250);
    await server.stop('SIGKILL');
    await checkInvariants(server.dataDir);
    server = await startServer({ dataDir: server.dataDir });
    root = new Client(server.url);
    await expect.poll(async () => (await root.request('GET', '/v2/demo/large/manifests/all')).status, { timeout: 20_000 }).toBe(200);
    for (const child of children) expect((await root.request('HEAD', `/v2/demo/large/manifests/${child.digest}`)).status).toBe(200);
    await expect.poll(async () => (await trash('?repository=demo/large')).length, { timeout: 20_000 }).toBe(0);
  });
});

describeWith(['skopeo'], 'skopeo', () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = workbench();
    await bench.login(server);
  });
  const image = randomImage(2, 100_000);
  const name = (reference: string) => `docker://${server.address}/${reference}`;
  const push = async (from: ReturnType<typeof randomImage>, reference: string) => {
    const folder = join(bench.folder, randomBytes(4).toString('hex'));
    writeLayout(folder, from, 'v1');
    return await bench.skopeo('copy', '--dest-tls-verify=false', `oci:${folder}:v1`, name(reference));
  };

  it('pulls what it deleted once that is restored', async () => {
    await push(image, 'demo/skopeo:v1');
    await bench.skopeo('delete', '--tls-verify=false', name('demo/skopeo:v1'));
    await expect(bench.skopeo('inspect', '--tls-verify=false', name('demo/skopeo:v1'))).rejects.toThrow();
    await restore(image.descriptor.digest);
    await bench.skopeo('copy', '--src-tls-verify=false', name('demo/skopeo:v1'), `dir:${join(bench.folder, 'restored')}`);
    expect((await manifestOf(root, 'demo/skopeo', 'v1')).equals(image.bytes)).toBe(true);
    expect(await missingOf(root, 'demo/skopeo', image)).toEqual([]);
  });

  it('shows which rule forbids a push or a deletion', async () => {
    await push(image, 'demo/kept:v1');
    await done(201, root, 'POST', '/projects/demo/immutability-rules', {
      name: 'releases',
      repositories: { include: ['demo/kept'] },
      tags: { include: ['v*'] },
    });
    const immutable = /tag v1 is immutable by rule releases of the project/;
    await expect(push(randomImage(1, 1000), 'demo/kept:v1')).rejects.toThrow(immutable);
    await expect(bench.skopeo('delete', '--tls-verify=false', name('demo/kept:v1'))).rejects.toThrow(immutable);
    await push(image, 'demo/kept:v1');
  });
});
