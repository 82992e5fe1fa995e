import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { catalogMigrations, createProject } from '../catalog/index.ts';
import { roomData } from '../platform/database/testing.ts';
import type { Database } from '../platform/index.ts';
import { type Access, createAccess, type Decision } from './access.ts';
import { setMember } from './assignments.ts';
import { passwordAuthenticator, tokenAuthenticator } from './authenticators.ts';
import { anonymous, type Identity, identityOf } from './identity.ts';
import { unthrottled } from './local/testing.ts';
import { createPasswordChecker, hashPassword } from './passwords.ts';
import { type Action, ALL_ACTIONS } from './permissions.ts';
import { createRules } from './rules.ts';
import { accessMigrations } from './schema.ts';
import type { Grant } from './scope.ts';
import { createTokenIssuer, type TokenIssuer } from './tokens.ts';
import { createUser, findUser, setDisabled, setPassword } from './users.ts';

const PASSWORD = 'correct horse battery staple';
const store = roomData([...catalogMigrations, ...accessMigrations]);
let database: Database;
let access: Access;
let tokens: TokenIssuer;
let hash: string;

beforeAll(async () => {
  database = await store.open();
  hash = await hashPassword(PASSWORD);
  tokens = createTokenIssuer({ key: randomBytes(32), clock: { now: () => Date.now() }, accessSeconds: 300, refreshSeconds: 300 });
  access = createAccess({
    session: database,
    rules: createRules(database),
    authenticators: [
      passwordAuthenticator(createPasswordChecker(database, unthrottled), () => false),
      tokenAuthenticator(database, tokens, () => 1),
    ],
    now: () => 1,
  });
  await database.write(async (tx) => {
    for (const name of ['private', 'public']) await createProject(tx, { name, public: name === 'public', by: 'test', now: 1 });
    await createProject(tx, { name: 'elsewhere', public: false, by: 'test', now: 1 });
    for (const name of ['outsider', 'guest', 'developer', 'maintainer', 'admin', 'root']) {
      await createUser(tx, { name, hash, admin: name === 'root', now: 1 });
    }
    for (const role of ['guest', 'developer', 'maintainer', 'admin'] as const) {
      for (const project of ['private', 'public']) await setMember(tx, { project, user: role, role, by: 'test', now: 1 });
    }
    await setMember(tx, { project: 'elsewhere', user: 'outsider', role: 'admin', by: 'test', now: 1 });
  });
});
afterAll(() => store.remove());

/** What each may do by role alone, in a private project, a public one, and one that does not exist. */
const ALL = 'pull push delete';
const HELD: Record<string, readonly [string, string, string]> = {
  anonymous: ['', 'pull', ''],
  outsider: ['', 'pull', ''],
  guest: ['pull', 'pull', ''],
  developer: ['pull push', 'pull push', ''],
  maintainer: [ALL, ALL, ''],
  admin: [ALL, ALL, ''],
  root: [ALL, ALL, ALL],
};
const PROJECTS = ['private', 'public', 'missing'] as const;

/** What a token may say of the repository that is asked for; `undefined`: the request came without one. */
const TOKENS: Record<string, (repository: string) => Grant[] | undefined> = {
  'no token': () => undefined,
  'an empty token': () => [],
  'a token to pull': (name) => [{ type: 'repository', name, actions: ['pull'] }],
  'a token to push': (name) => [{ type: 'repository', name, actions: ['pull', 'push'] }],
  'a token for all': (name) => [{ type: 'repository', name, actions: ['pull', 'push', 'delete'] }],
  'a token to pull anything': () => [{ type: 'repository', name: '*', actions: ['pull'] }],
  'a token for another repository': (name) => [{ type: 'repository', name: `${name}2`, actions: ['pull', 'push', 'delete'] }],
  'a token for the project': (name) => [{ type: 'repository', name: name.split('/')[0] ?? '', actions: ['pull', 'push', 'delete'] }],
  'a token for the catalogue': () => [{ type: 'registry', name: 'catalog', actions: ['*'] }],
};

function expected(who: string, project: (typeof PROJECTS)[number], token: string, action: Action): Decision {
  const held = HELD[who]?.[PROJECTS.indexOf(project)]?.split(' ').includes(action) ?? false;
  if (token === 'no token') return held ? 'allowed' : who === 'anonymous' ? 'challenge' : 'denied';
  const covered = {
    'a token to pull': ['pull'],
    'a token to push': ['pull', 'push'],
    'a token for all': ['pull', 'push', 'delete'],
    'a token to pull anything': ['pull'],
  }[token]?.includes(action);
  const forEverybody = project === 'public' && action === 'pull';
  return (covered && held) || forEverybody ? 'allowed' : 'challenge';
}

const ORIGIN = { client: '192.0.2.1', userAgent: 'test', requestId: 'r1' };

/** Who someone is, with a password or a token that carries so much. */
async function identityNamed(name: string, grants?: readonly Grant[]): Promise<Identity> {
  const token = grants && { access: grants, refused: [] };
  const user = name === 'anonymous' ? undefined : await findUser(database, name);
  if (!user) return { ...anonymous(ORIGIN), token };
  return identityOf({ kind: 'user', ...user }, { kind: token ? 'token' : 'password', id: null }, ORIGIN, { token });
}

describe.each(Object.keys(HELD))('%s', (who) => {
  describe.each(PROJECTS)('in a %s project', (project) => {
    it.each(Object.keys(TOKENS))('with %s', async (token) => {
      const repository = `${project}/app`;
      const grants = TOKENS[token]?.(repository);
      const identity = await identityNamed(who, grants);
      const found: Record<string, Decision> = {};
      for (const action of ALL_ACTIONS) found[action] = await access.decide(identity, action, repository);
      expect(found).toEqual(Object.fromEntries(ALL_ACTIONS.map((action) => [action, expected(who, project, token, action)])));
    });
  });

  it('may list the catalogue, and make projects, as follows', async () => {
    expect(access.decideCatalog(await identityNamed(who))).toBe(who === 'anonymous' ? 'challenge' : 'allowed');
    for (const [name, grants] of Object.entries(TOKENS)) {
      const granted = grants('private/app');
      if (!granted) continue;
      const decision = access.decideCatalog(await identityNamed(who, granted));
      expect(decision).toBe(name === 'a token for the catalogue' ? 'allowed' : 'challenge');
    }
    expect(await access.holds(await identityNamed(who), 'project:create', {})).toBe(who === 'root');
  });
});

it('a project one may not see and one that does not exist look the same', async () => {
  for (const who of ['anonymous', 'outsider']) {
    for (const [name, grants] of Object.entries(TOKENS)) {
      for (const action of ALL_ACTIONS) {
        const [hidden, missing] = await Promise.all(
          ['private/app', 'missing/app'].map(async (repository) =>
            access.decide(await identityNamed(who, grants(repository)), action, repository),
          ),
        );
        expect(hidden, `${who}, ${name}, ${action}`).toBe(missing);
      }
    }
  }
});

const subjectOf = (id = 0, generation = 0) => ({ kind: 'user', id, generation, credential: null }) as const;

describe('credentials', () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  const identify = async (header: string | undefined) =>
    await access.identify({ authorization: header, cookie: undefined, origin: ORIGIN });

  it('are a password, a token, or none', async () => {
    expect(await identify(undefined)).toMatchObject({ subject: undefined, token: undefined, actor: { kind: 'anonymous' } });
    expect(await identify(basic(`guest:${PASSWORD}`))).toMatchObject({ subject: { name: 'guest' }, token: undefined });
    const user = await findUser(database, 'guest');
    const grants: Grant[] = [{ type: 'repository', name: 'private/app', actions: ['pull'] }];
    const { token } = await tokens.access({ subject: subjectOf(user?.id, 1), access: grants, refused: [] });
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      expect(await identify(`${scheme} ${token}`)).toMatchObject({ subject: { name: 'guest' }, token: { access: grants, refused: [] } });
    }
    const anonymous = await tokens.access({ subject: undefined, access: [], refused: [] });
    expect(await identify(`Bearer ${anonymous.token}`)).toMatchObject({ subject: undefined, token: { access: [], refused: [] } });
  });

  it.each([
    '',
    'Basic',
    'Basic ',
    'Bearer',
    'Bearer ',
    'Basic !!!',
    'Digest username="guest"',
    'Negotiate abc',
    `guest:${PASSWORD}`,
    basic('guest'),
    basic('guest:'),
    basic(':'),
    basic(`:${PASSWORD}`),
    basic(`guest:${PASSWORD}:`),
    basic(`nobody:${PASSWORD}`),
    `Bearer ${PASSWORD}`,
    `Basic ${'A'.repeat(100_000)}`,
  ])('%j are refused, and never taken for none', async (header) => {
    await expect(identify(header)).rejects.toMatchObject({ code: 'unauthorized', status: 401 });
  });

  it('of a token end when the password changes, when the user is disabled, and when enabled again', async () => {
    await database.write((tx) => createUser(tx, { name: 'leaver', hash, admin: false, now: 1 }));
    const issue = async () => {
      const user = await findUser(database, 'leaver');
      return (await tokens.access({ subject: subjectOf(user?.id, user?.generation), access: [], refused: [] })).token;
    };
    const works = (token: string) => identify(`Bearer ${token}`).then(Boolean, () => false);
    for (const change of [
      () => database.write((tx) => setPassword(tx, 'leaver', hash)),
      () => database.write((tx) => setDisabled(tx, 'leaver', true)),
      () => database.write((tx) => setDisabled(tx, 'leaver', false)),
    ]) {
      const token = await issue();
      const before = (await findUser(database, 'leaver'))?.disabled === false;
      expect(await works(token)).toBe(before);
      expect(await change()).toBe(true);
      expect(await works(token)).toBe(false);
    }
    expect(await works(await issue())).toBe(true);
  });

  it('of a token whose user is unknown here are refused', async () => {
    const { token } = await tokens.access({ subject: subjectOf(999_999, 1), access: [], refused: [] });
    await expect(identify(`Bearer ${token}`)).rejects.toMatchObject({ code: 'unauthorized' });
  });
});
