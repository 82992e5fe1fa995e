import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, Client, errorOf, must, sha256 } from '../harness/client.ts';
import { type People, populate } from '../harness/people.ts';
import { startServer, type TestServer } from '../harness/server.ts';
import { walk } from './walk.ts';

const list = '/v2/_catalog';
const namesOf = (answer: Answer) => answer.json<{ repositories: string[] }>().repositories;

/** Projects whose names begin with each other's, so that their repositories lie between each other's. */
const OPEN = ['a', 'a/b', 'a/b/c', 'a/z', 'a-b/x', 'a-b', 'a.b/x', 'a_b/x', 'a0/x', 'ab/x', 'z/last'];
const OWN = ['a-b-c/own', 'b/own', 'b/own-2'];
/** More than is looked at for one page. */
const HIDDEN = Array.from({ length: 25_000 }, (_, index) => `hidden-${index % 50}/r${index}`);

describe('_catalog', () => {
  let server: TestServer;
  let admin: Client;
  let people: People;

  beforeAll(async () => {
    server = await startServer();
    admin = new Client(server.url);
    const projects = Object.fromEntries(OPEN.map((name) => [name.split('/')[0] ?? '', { public: true }]));
    people = await populate(server, {
      users: ['alice', 'bob'],
      projects: { ...projects, 'a-b-c': { members: { alice: 'guest' } }, b: { members: { alice: 'developer' } }, empty: { public: true } },
    });
    const blob = Buffer.from('x');
    for (const name of [...OPEN, ...OWN])
      await must(admin, [201], 'POST', `/v2/${name}/blobs/uploads/?digest=${sha256(blob)}`, { body: blob });
    const database = new DatabaseSync(join(server.dataDir, 'entrepot.db'));
    database.exec('BEGIN');
    const project = database.prepare('INSERT INTO project (name, public, created_at, created_by) VALUES (?, 0, 0, ?)');
    const repository = database.prepare(
      'INSERT INTO repository (project_id, name, created_at) SELECT id, ?, 0 FROM project WHERE name = ?',
    );
    for (const name of new Set(HIDDEN.map((hidden) => hidden.split('/')[0] ?? ''))) project.run(name, 'test');
    for (const name of HIDDEN) repository.run(name, name.split('/')[0] ?? '');
    database.exec('COMMIT');
    database.close();
  });
  afterAll(async () => expect(await server.stop()).toBe(0));

  const sorted = (names: readonly string[]) =>
    names
      .map((name) => Buffer.from(name))
      .sort(Buffer.compare)
      .map(String);
  /** Names and links of all pages, as one text. */
  const shown = (pages: readonly Answer[]) => pages.map((page) => `${page.bytes}${page.headers.get('link')}`).join('\n');

  test.each([1, 2, 5, 1000])('shows everybody what is public, in pages of %i, and no trace of the rest', async (n) => {
    const pages = await walk(people.client('bob'), `${list}?n=${n}`);
    expect(pages.flatMap(namesOf)).toEqual(sorted(OPEN));
    expect(pages).toHaveLength(Math.ceil(OPEN.length / n));
    expect(shown(pages)).not.toMatch(/hidden|own/);
  });

  test.each([1, 3, 1000])('shows members their own too, in pages of %i', async (n) => {
    const pages = await walk(people.client('alice'), `${list}?n=${n}`);
    expect(pages.flatMap(namesOf)).toEqual(sorted([...OPEN, ...OWN]));
    expect(shown(pages)).not.toContain('hidden');
  });

  test('shows the admin everything, a page at a time', async () => {
    const pages = await walk(admin, list);
    const all = sorted([...OPEN, ...OWN, ...HIDDEN]);
    expect(pages).toHaveLength(Math.ceil(all.length / 1000));
    expect(pages.flatMap(namesOf)).toEqual(all);
  });

  test('goes on from any name, there or not, seen or not', async () => {
    for (const last of [
      'a',
      'a-b',
      'a-b-c',
      'a-b/x',
      'a.b',
      'a/b',
      'a/zz',
      'a0',
      'aa',
      'ab/x',
      'hidden-7/r7',
      'hidden-7/none',
      'm',
      'z/last',
      'zz',
    ]) {
      for (const [user, names] of [
        ['bob', OPEN],
        ['alice', [...OPEN, ...OWN]],
      ] as const) {
        const answer = await must(people.client(user), [200], 'GET', `${list}?last=${encodeURIComponent(last)}`);
        expect([last, namesOf(answer)]).toEqual([last, sorted(names).filter((name) => name > last)]);
        expect(answer.headers.get('link')).toBeNull();
      }
    }
  });

  test('n=0: none, and no next', async () => {
    const answer = await must(people.client('bob'), [200], 'GET', `${list}?n=0`);
    expect([answer.json(), answer.headers.get('link')]).toEqual([{ repositories: [] }, null]);
  });

  test('needs a login, or a token for it', async () => {
    const refused = await must(Client.anonymous(server.url), [401], 'GET', list);
    expect(refused.headers.get('www-authenticate')).toContain('scope="registry:catalog:*"');
    const token = await people.bearer('bob', 'registry:catalog:*');
    expect(namesOf(await must(new Client(server.url, token), [200], 'GET', list))).toEqual(sorted(OPEN));
    for (const other of [await people.bearer('bob', 'repository:a/b:pull'), await people.bearer(undefined, 'registry:catalog:*')]) {
      await must(new Client(server.url, other), [401], 'GET', list);
    }
  });

  test.each(['n=-1', 'n=x', 'n=', 'last=A', 'last=a//b', 'last=../x', 'last=%00', `last=${'a'.repeat(300)}`])(
    '%s is refused',
    async (query) => {
      expect(errorOf(await must(people.client('bob'), [400], 'GET', `${list}?${query}`)).code).toBe('PAGINATION_NUMBER_INVALID');
    },
  );
});
