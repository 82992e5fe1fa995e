import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, imageManifest, must, sha256 } from '../harness/client.ts';
import { type People, populate } from '../harness/people.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const KEYS = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__', 'then'];
/** Of these, names of users, projects and repositories can be made. */
const NAMES = ['constructor', 'prototype', 'tostring', 'valueof', 'then', 'null', 'undefined', 'nan', 'true', '0'];

describe('C5 names that mean something to JavaScript', () => {
  let server: TestServer;
  let client: Client;
  let people: People;
  const config = Buffer.from('{}');

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    people = await populate(server, {
      users: ['alice', ...NAMES],
      projects: {
        demo: { members: { alice: 'guest' } },
        ...Object.fromEntries(NAMES.map((name) => [name, { members: { [name]: 'developer' } }])),
      },
    });
    await client.pushBlob('demo/app', config);
  });
  afterAll(async () => {
    // Nobody else notices anything.
    await must(people.client('alice'), [200], 'GET', '/v2/demo/app/tags/list');
    await must(people.client('alice'), [403], 'POST', '/v2/demo/app/blobs/uploads/');
    await must(Client.anonymous(server.url), [401], 'GET', '/v2/demo/app/tags/list');
    await must(Client.anonymous(server.url), [401], 'GET', '/v2/');
    expect(await server.stop()).toBe(0);
  });

  test('C5 as annotations and unknown fields they are kept as pushed, and listed among the referrers', async () => {
    const subject = { mediaType: 'a/b', digest: sha256('subject'), size: 1 };
    const annotations = `{${KEYS.map((key) => `"${key}":"of ${key}"`).join(',')}}`;
    const fields = KEYS.map(
      (key) => `"${key}":{"public":1,"admin":true,"user":{"admin":true},"access":[{"type":"repository","name":"*"}]}`,
    ).join(',');
    const body = `${JSON.stringify(imageManifest(config, [], { subject })).slice(0, -1)},"annotations":${annotations},${fields}}`;
    await must(client, [201], 'PUT', '/v2/demo/app/manifests/1', {
      headers: { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' },
      body,
    });
    expect((await must(client, [200], 'GET', '/v2/demo/app/manifests/1')).bytes.toString()).toBe(body);
    const listed = (await must(client, [200], 'GET', `/v2/demo/app/referrers/${subject.digest}`)).bytes.toString();
    expect(listed).toContain(`"annotations":${annotations}`);
  });

  test('C5 as tags they are tags', async () => {
    const pushed = await client.pushManifest('demo/app', 'plain', imageManifest(config, []));
    const tags = KEYS.map((key) => `tag=${key}`).join('&');
    await must(client, [201], 'PUT', `/v2/demo/app/manifests/${pushed.digest}?${tags}`, { body: pushed.bytes });
    for (const key of KEYS) {
      expect((await must(client, [200], 'GET', `/v2/demo/app/manifests/${key}`)).bytes.equals(pushed.bytes)).toBe(true);
      await must(client, [202], 'DELETE', `/v2/demo/app/manifests/${key}`);
      await must(client, [404], 'GET', `/v2/demo/app/manifests/${key}`);
    }
  });

  test('C5 as users, projects and repositories they are what they are called, with the rights they were given', async () => {
    for (const name of NAMES) {
      const own = people.client(name);
      const repository = `${name}/${name}/then`;
      const image = await own.pushImage(repository, name === '0' ? 'zero' : name);
      expect((await must(own, [200], 'GET', `/v2/${repository}/manifests/${image.digest}`)).bytes.equals(image.bytes)).toBe(true);
      await must(own, [403], 'DELETE', `/v2/${repository}/manifests/${image.digest}`);
      for (const other of NAMES.filter((o) => o !== name)) await must(people.client(other), [403], 'GET', `/v2/${repository}/tags/list`);
      const token = await people.bearer(name, `repository:${repository}:pull,push,delete,constructor,__proto__`, 'registry:catalog:*');
      const listed = await must(new Client(server.url, token), [200], 'GET', '/v2/_catalog');
      expect(listed.json()).toEqual({ repositories: [repository] });
    }
    for (const name of ['hasownproperty', 'isprototypeof', 'watch'])
      await must(people.client('alice'), [403], 'GET', `/v2/${name}/tags/list`);
  });

  test('C5 in queries and forms they change nothing', async () => {
    const query = KEYS.flatMap((key) => [`${key}=admin`, `${key}[admin]=true`, `${key}.admin=1`, `scope[${key}]=1`, `n[${key}]=1`]).join(
      '&',
    );
    for (const path of [
      `/v2/demo/app/tags/list?${query}`,
      `/v2/_catalog?${query}`,
      `/v2/demo/app/referrers/${sha256('subject')}?${query}`,
    ]) {
      expect(
        (await must(client, [200], 'GET', path)).bytes.equals((await must(client, [200], 'GET', path.split('?')[0] ?? '')).bytes),
      ).toBe(true);
    }
    await must(people.client('alice'), [403], 'POST', `/v2/demo/app/blobs/uploads/?${query}`);
    for (const grant of KEYS) {
      await must(Client.anonymous(server.url), [400], 'POST', '/token', {
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: `${query}&grant_type=${grant}&username=alice`,
      });
    }
    const bearer = await people.bearer(
      'alice',
      ...KEYS.map((key) => `${key}:demo/app:push`),
      ...KEYS.map((key) => `repository:demo/app:${key}`),
    );
    await must(new Client(server.url, bearer), [401], 'POST', '/v2/demo/app/blobs/uploads/');
  });
});
