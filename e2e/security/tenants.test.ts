import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { begin, Client, errorOf, imageManifest, must, sha256 } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { type People, populate } from '../harness/people.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

describe('tenants', () => {
  let server: TestServer;
  let people: People;
  /** Owns the project `hers`. */
  let alice: Client;
  /** Owns the project `his`, and may push to `shared` as she may. */
  let mallory: Client;

  beforeAll(async () => {
    server = await startServer();
    people = await populate(server, {
      users: ['alice', 'mallory'],
      projects: {
        hers: { members: { alice: 'maintainer' } },
        his: { members: { mallory: 'maintainer' } },
        shared: { members: { alice: 'developer', mallory: 'developer' } },
      },
    });
    alice = people.client('alice');
    mallory = people.client('mallory');
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const put = (client: Client, path: string, manifest: object, type = IMAGE) =>
    client.request('PUT', path, { headers: { 'Content-Type': type }, body: JSON.stringify(manifest) });

  test('B1 no blob comes out of a repository that one may not read, by any form of mount', async () => {
    const secret = randomBytes(100);
    const digest = await alice.pushBlob('hers/app', secret);
    await alice.pushBlob('hers/copy', secret);
    const refused = await people.bearer('mallory', 'repository:his/app:*', 'repository:hers/app:pull', 'repository:*:pull');
    for (const client of [mallory, new Client(server.url, refused)]) {
      for (const query of [
        `?mount=${digest}&from=hers/app`,
        `?from=hers/app&mount=${digest}`,
        `?mount=${digest}`,
        `?mount=${digest}&from=`,
        `?mount=${digest}&from=*`,
        `?mount=${digest}&from=his/app`,
        `?mount=${digest}&from=hers%2Fapp`,
        `?mount=${digest}&from=his/app&from=hers/app`,
        `?mount=${digest}&from=hers/app&from=his/app`,
        `?mount=${encodeURIComponent(digest)}&from=his/../hers/app`,
      ]) {
        const answer = await client.request('POST', `/v2/his/app/blobs/uploads/${query}`);
        expect([query, answer.status]).toEqual([query, 202]);
      }
      await must(client, [404], 'HEAD', `/v2/his/app/blobs/${digest}`);
      await must(client, [404], 'GET', `/v2/his/app/blobs/${digest}`);
    }
  });

  test('B1 a token for the target alone, of one who may read the source: not mounted, and no word on whether it is there', async () => {
    const digest = await alice.pushBlob('hers/source', randomBytes(50));
    const narrow = new Client(server.url, await people.bearer('alice', 'repository:hers/target:pull,push'));
    for (const from of ['&from=hers/source', '&from=hers/nowhere', '']) {
      const answers = [];
      for (const mount of [digest, sha256('nowhere')]) {
        const { status, headers, bytes } = await narrow.request('POST', `/v2/hers/target/blobs/uploads/?mount=${mount}${from}`);
        answers.push([status, headers.get('www-authenticate'), bytes.toString()]);
      }
      expect(answers[0]?.[0]).toBe(401);
      expect(answers[1]).toEqual(answers[0]);
    }
    await must(alice, [404], 'HEAD', `/v2/hers/target/blobs/${digest}`);
  });

  test('B2 a manifest cannot bring in what belongs to another: blobs, children or layers in an index', async () => {
    const secret = randomBytes(100);
    const digest = await alice.pushBlob('hers/app', secret);
    const image = await alice.pushImage('hers/app', 'v1');
    const own = Buffer.from('{}');
    await mallory.pushBlob('his/app', own);
    const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: secret.length };
    const nowhere = { ...layer, digest: sha256('nowhere') };
    const child = { mediaType: IMAGE, digest: image.digest, size: image.bytes.length };
    const cases: [object, object, string][] = [
      [imageManifest(own, [secret]), { ...imageManifest(own, []), layers: [nowhere] }, IMAGE],
      [imageManifest(secret, []), { ...imageManifest(own, []), config: nowhere }, IMAGE],
      [
        { schemaVersion: 2, mediaType: INDEX, manifests: [child] },
        { schemaVersion: 2, mediaType: INDEX, manifests: [{ ...child, digest: sha256('nowhere') }] },
        INDEX,
      ],
      [{ schemaVersion: 2, mediaType: INDEX, manifests: [layer] }, { schemaVersion: 2, mediaType: INDEX, manifests: [nowhere] }, INDEX],
    ];
    for (const [theirs, nobodys, type] of cases) {
      const [there, not] = [
        await put(mallory, '/v2/his/app/manifests/x', theirs, type),
        await put(mallory, '/v2/his/app/manifests/x', nobodys, type),
      ];
      expect([there.status, errorOf(there).code]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
      const known = (bytes: Buffer) =>
        bytes
          .toString()
          .replaceAll(/sha256:[0-9a-f]{64}/g, 'DIGEST')
          .replaceAll(/"application[^"]*"/g, 'TYPE');
      expect([there.status, known(there.bytes)]).toEqual([not.status, known(not.bytes)]);
    }
    // Nor does a wrong size tell that the blob is there.
    const wrong = await put(mallory, '/v2/his/app/manifests/x', { ...imageManifest(own, []), layers: [{ ...layer, size: 1 }] });
    expect(errorOf(wrong).code).toBe('MANIFEST_BLOB_UNKNOWN');
    for (const path of [`blobs/${digest}`, `manifests/${image.digest}`, 'manifests/x'])
      await must(mallory, [404], 'GET', `/v2/his/app/${path}`);
  });

  test("B2 a subject of another's is taken, and reveals nothing to either", async () => {
    const image = await alice.pushImage('hers/app', 'v2');
    const own = Buffer.from('{}');
    await mallory.pushBlob('his/app', own);
    const answers = [];
    for (const digest of [image.digest, sha256('nowhere')]) {
      const { status, headers } = await put(
        mallory,
        '/v2/his/app/manifests/sig',
        imageManifest(own, [], { subject: { mediaType: IMAGE, digest, size: 9 } }),
      );
      answers.push([status, headers.get('oci-subject') === digest]);
    }
    expect(answers).toEqual([
      [201, true],
      [201, true],
    ]);
    expect((await must(alice, [200], 'GET', `/v2/hers/app/referrers/${image.digest}`)).json()).toMatchObject({ manifests: [] });
    await must(mallory, [403], 'GET', `/v2/hers/app/referrers/${image.digest}`);
    expect(
      (await must(mallory, [200], 'GET', `/v2/his/app/referrers/${image.digest}`)).json<{ manifests: object[] }>().manifests,
    ).toHaveLength(1);
    await must(mallory, [404], 'GET', `/v2/his/app/manifests/${image.digest}`);
  });

  test('B3 what was deleted here does not come back because it was pushed there', async () => {
    for (const size of [500, 200_000]) {
      const bytes = randomBytes(size);
      const digest = await alice.pushBlob('hers/app', bytes);
      await alice.pushBlob('shared/app', bytes);
      const url = `/v2/hers/app/blobs/${digest}`;
      await must(alice, [200], 'GET', url); // in every cache there is
      await must(alice, [202], 'DELETE', url);
      await mallory.pushBlob('his/app', bytes);
      await must(mallory, [200], 'GET', `/v2/his/app/blobs/${digest}`);
      for (const method of ['HEAD', 'GET']) await must(alice, [404], method, url);
      await must(alice, [202], 'POST', `/v2/hers/other/blobs/uploads/?mount=${digest}&from=hers/app`);
      expect((await put(alice, '/v2/hers/app/manifests/x', imageManifest(bytes, []))).status).toBe(404);
    }
    const config = Buffer.from('{}');
    const manifest = imageManifest(config, [], { annotations: { deleted: 'here' } });
    for (const [client, name] of [
      [alice, 'hers/app'],
      [mallory, 'his/app'],
    ] as const) {
      await client.pushBlob(name, config);
      await client.pushManifest(name, 'kept', manifest);
    }
    const digest = sha256(JSON.stringify(manifest));
    await must(alice, [200], 'GET', '/v2/hers/app/manifests/kept');
    await must(alice, [202], 'DELETE', `/v2/hers/app/manifests/${digest}`);
    await mallory.pushManifest('his/app', 'kept-too', manifest);
    for (const reference of ['kept', 'kept-too', digest]) await must(alice, [404], 'GET', `/v2/hers/app/manifests/${reference}`);
  });

  describe("B4 another's upload", () => {
    const bytes = randomBytes(3000);
    const done = `?digest=${sha256(bytes)}`;
    const isUnknown = async (client: Client, location: string) => {
      for (const [method, path] of [
        ['GET', location],
        ['PATCH', location],
        ['PUT', `${location}${done}`],
        ['DELETE', location],
      ] as const) {
        const answer = await client.request(method, path, method === 'PATCH' || method === 'PUT' ? { body: bytes } : {});
        expect([method, path, answer.status]).toEqual([method, path, 404]);
        // Exactly as if it had never been.
        const never = await client.request(
          method,
          path.replace(/uploads\/[^?]*/, `uploads/${randomUUID()}`),
          method === 'PATCH' || method === 'PUT' ? { body: bytes } : {},
        );
        expect(answer.bytes.toString()).toBe(never.bytes.toString());
      }
    };

    test('B4 is not continued, looked at, finished or cancelled by who may push to the same repository', async () => {
      const location = await begin(alice, 'shared/app');
      await must(alice, [202], 'PATCH', location, { body: bytes.subarray(0, 1000) });
      await isUnknown(mallory, location);
      await isUnknown(new Client(server.url, await people.bearer('mallory', 'repository:shared/app:pull,push')), location);
      // It goes on for its owner, by password or token, from where it was.
      const token = new Client(server.url, await people.bearer('alice', 'repository:shared/app:pull,push'));
      expect((await must(token, [204], 'GET', location)).headers.get('range')).toBe('0-999');
      await must(token, [201], 'PUT', `${location}${done}`, { body: bytes.subarray(1000) });
    });

    test('B4 nor is an own one under another repository', async () => {
      const location = await begin(mallory, 'shared/app');
      await must(mallory, [202], 'PATCH', location, { body: bytes.subarray(0, 1000) });
      for (const name of ['his/app', 'shared/other', 'shared/app/deeper', 'shared'])
        await isUnknown(mallory, location.replace('shared/app', name));
      await must(mallory, [403], 'GET', location.replace('shared/app', 'hers/app'));
      expect((await must(mallory, [204], 'GET', location)).headers.get('range')).toBe('0-999');
    });

    test('B4 an id that was changed, or that is a path, or that is none, is of no upload', async () => {
      const location = await begin(mallory, 'shared/app');
      const id = location.split('/').at(-1) ?? '';
      const flipped = [...id].map((letter, at) => id.slice(0, at) + (letter === '0' ? '1' : letter === '-' ? '_' : '0') + id.slice(at + 1));
      const another = (await begin(mallory, 'shared/other')).split('/').at(-1) ?? '';
      const hers = (await begin(alice, 'shared/app')).split('/').at(-1) ?? '';
      for (const other of [
        ...flipped.slice(0, -1), // the last letter may hold bits that say nothing
        // Parts of sound ones put together.
        id.slice(0, 36) + another.slice(36),
        another.slice(0, 36) + id.slice(36),
        id.slice(0, 36) + hers.slice(36),
        hers.slice(0, 36) + id.slice(36),
        another,
        hers,
        id.toUpperCase() === id ? `${id}0` : id.toUpperCase(),
        `${id}0`,
        id.slice(0, -1),
        `${id}%00`,
        `${id}%0a`,
        `%20${id}`,
        `..%2fuploads%2f${id}`,
        `.%2f${id}`,
        '..',
        '%2e%2e',
        '..%2f..%2fentrepot.db',
        `put-${randomUUID()}`,
        'ping-x',
        '0',
        '-1',
        'null',
        '__proto__',
        'x'.repeat(4000),
      ]) {
        const path = `/v2/shared/app/blobs/uploads/${other}`;
        for (const method of ['GET', 'DELETE']) {
          const { status } = await mallory.request(method, path);
          expect([400, 403, 404, 405], `${method} ${path}`).toContain(status);
        }
        const { status } = await mallory.request('PUT', `${path}${done}`, { body: bytes });
        expect([400, 403, 404, 405], path).toContain(status);
      }
      await must(mallory, [204], 'GET', location);
    });
  });
});
