import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { catalogMigrations, createProject, findProject } from '../../catalog/index.ts';
import { roomData } from '../../platform/database/testing.ts';
import type { Database } from '../../platform/index.ts';
import { type Access, createAccess } from '../access.ts';
import { assign } from '../assignments.ts';
import { passwordAuthenticator, tokenAuthenticator } from '../authenticators.ts';
import type { Identity } from '../identity.ts';
import { unthrottled } from '../local/testing.ts';
import { createPasswordChecker } from '../passwords.ts';
import { ALL_PERMISSIONS, PERMISSIONS, type Permission } from '../permissions.ts';
import { createRules } from '../rules.ts';
import { accessMigrations } from '../schema.ts';
import { findSubject } from '../subjects.ts';
import { createTokenIssuer, type TokenIssuer } from '../tokens.ts';
import { createUser, setDisabled } from '../users.ts';
import { type AccessKey, changeKey, createKey, type Owner, pageOfKeys, requireKey, revokeKey, rotateKey } from './access-keys.ts';
import { keyAuthenticator } from './key-authenticator.ts';
import { newKeySecret } from './key-secret.ts';
import { createKeyUse, type KeyUse } from './key-use.ts';
import type { Limits } from './limits.ts';
import { changeRobot, createRobot, deleteRobot, requireRobot, robotName } from './robots.ts';
import { machineMigrations } from './schema.ts';

const store = roomData([...catalogMigrations, ...accessMigrations, ...machineMigrations]);
const ORIGIN = { client: '192.0.2.1', userAgent: 'test', requestId: 'r1' };
let now = 1_000_000;
let database: Database;
let access: Access;
let tokens: TokenIssuer;
let use: KeyUse;
let projectId: number;
let users = 0;

beforeAll(async () => {
  database = await store.open();
  use = createKeyUse(database);
  tokens = createTokenIssuer({ key: randomBytes(32), clock: { now: () => now }, accessSeconds: 300, refreshSeconds: 300 });
  access = createAccess({
    session: database,
    rules: createRules(database),
    authenticators: [
      keyAuthenticator(database, use, () => now),
      passwordAuthenticator(createPasswordChecker(database, unthrottled), () => false),
      tokenAuthenticator(database, tokens, () => now),
    ],
    now: () => now,
  });
  await database.write(async (tx) => {
    for (const name of ['demo', 'other']) await createProject(tx, { name, public: false, by: 'test', now });
  });
  projectId = (await findProject(database, 'demo'))?.id ?? 0;
});
afterAll(() => store.remove());

const basic = (name: string, password: string) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
const identify = async (authorization: string) => await access.identify({ authorization, cookie: undefined, origin: ORIGIN });
const works = (authorization: string) => identify(authorization).then(Boolean, () => false);

async function newUser(): Promise<{ owner: Owner; name: string }> {
  const name = `user-${++users}`;
  const id = await database.write((tx) => createUser(tx, { name, hash: '', admin: false, now }));
  return { owner: { kind: 'user', id: id ?? 0 }, name };
}

async function newKey(owner: Owner, options: { limits?: Limits; expiresAt?: number } = {}): Promise<{ key: AccessKey; secret: string }> {
  const { limits, expiresAt = null } = options;
  return await database.write((tx) => createKey(tx, { owner, name: `key-${++users}`, limits, expiresAt, now }));
}

/** A token of the token service as one with this proof is given it. */
async function tokenFor(authorization: string): Promise<string> {
  const { subject, actor } = await identify(authorization);
  if (!subject) throw new Error('nobody');
  const { kind, id, generation } = subject;
  const issued = await tokens.access({
    subject: { kind, id, generation, credential: actor.credential?.id ?? null },
    access: [],
    refused: [],
  });
  return `Bearer ${issued.token}`;
}

describe('an access key', () => {
  it("proves its owner's identity, as Bearer and as password of its owner's name only", async () => {
    const { owner, name } = await newUser();
    const { key, secret } = await newKey(owner);
    const expected = {
      subject: { kind: 'user', name },
      limits: undefined,
      actor: { credential: { kind: 'access-key', id: `key:${key.id}.1` } },
    };
    expect(await identify(`Bearer ${secret}`)).toMatchObject(expected);
    expect(await identify(basic(name, secret))).toMatchObject(expected);
    for (const other of ['', 'admin', `${name}2`, name.toUpperCase()]) expect(await works(basic(other, secret))).toBe(false);
    expect(await works(`Bearer ${newKeySecret()}`)).toBe(false);
  });

  it('is stored so that nobody can read it', async () => {
    const { owner } = await newUser();
    const { key, secret } = await newKey(owner);
    expect(JSON.stringify(await requireKey(database, owner, key.id))).not.toContain(secret.slice(4, 20));
  });

  it('ends at its time, when it is revoked, and with its owner, and so does every token that came from it', async () => {
    const ends: ((owner: Owner, name: string, key: AccessKey) => Promise<unknown>)[] = [
      async () => {
        now += 60_000;
      },
      (_, __, key) => database.write((tx) => revokeKey(tx, key.id)),
      (owner, _, key) => database.write((tx) => changeKey(tx, owner, key, { expiresAt: now })),
      (_, name) => database.write((tx) => setDisabled(tx, name, true)),
    ];
    for (const end of ends) {
      const { owner, name } = await newUser();
      const { key, secret } = await newKey(owner, { expiresAt: now + 60_000 });
      const token = await tokenFor(`Bearer ${secret}`);
      expect([await works(`Bearer ${secret}`), await works(token)]).toEqual([true, true]);
      await end(owner, name, key);
      expect([await works(`Bearer ${secret}`), await works(basic(name, secret)), await works(token)]).toEqual([false, false, false]);
    }
  });

  it('gives tokens that are as narrow as it is, and for its owner only', async () => {
    const { owner } = await newUser();
    await database.write((tx) =>
      assign(tx, { subject: owner, permissions: ['repository:pull', 'repository:push'], projectId, by: 'test', now }),
    );
    const { key, secret } = await newKey(owner, { limits: [{ permissions: ['repository:pull'] }] });
    const identity = await identify(await tokenFor(`Bearer ${secret}`));
    const may = (permission: Permission) => access.holds(identity, permission, { project: 'demo', repository: 'demo/app' });
    expect([await may('repository:pull'), await may('repository:push')]).toEqual([true, false]);
    const credential = `key:${key.id}.1`;
    expect(await findSubject(database, { ...owner, generation: 1, credential }, now)).toBeDefined();
    const other = (await newUser()).owner;
    expect(await findSubject(database, { ...other, generation: 1, credential }, now)).toBeUndefined();
    for (const unknown of ['', 'key', `key:${key.id}`, `key:${key.id}.2`, `other:${key.id}.1`]) {
      expect(await findSubject(database, { ...owner, generation: 1, credential: unknown }, now)).toBeUndefined();
    }
  });

  it('has two secrets while it rotates, and never three; each ends with its own tokens', async () => {
    const { owner } = await newUser();
    const first = await newKey(owner);
    const second = await database.write((tx) => rotateKey(tx, owner, first.key, { endsAt: now + 1000, now }));
    const token = await tokenFor(`Bearer ${first.secret}`);
    const all = async (...secrets: string[]) => await Promise.all(secrets.map((secret) => works(`Bearer ${secret}`)));
    expect(await all(first.secret, second.secret)).toEqual([true, true]);
    expect(second.key.secrets.map(({ number, endsAt }) => [number, endsAt])).toEqual([
      [1, now + 1000],
      [2, null],
    ]);
    now += 1000;
    expect(await all(first.secret, second.secret)).toEqual([false, true]);
    expect(await works(token)).toBe(false);
    const third = await database.write((tx) => rotateKey(tx, owner, second.key, { endsAt: now + 1000, now }));
    const fourth = await database.write((tx) => rotateKey(tx, owner, third.key, { endsAt: now + 1000, now }));
    expect(await all(first.secret, second.secret, third.secret, fourth.secret)).toEqual([false, false, true, true]);
  });

  it('tells when and from where each of its secrets was last used, without a write for each use', async () => {
    const { owner } = await newUser();
    const { key, secret } = await newKey(owner);
    const last = async () =>
      (await requireKey(database, owner, key.id)).secrets.map(({ lastUsedAt, lastUsedFrom }) => [lastUsedAt, lastUsedFrom]);
    await identify(`Bearer ${secret}`);
    expect(await last()).toEqual([[null, null]]);
    now += 5;
    await identify(`Bearer ${secret}`);
    await use.flush();
    expect(await last()).toEqual([[now, '192.0.2.1']]);
  });

  it("is its owner's alone", async () => {
    const { owner } = await newUser();
    const other = (await newUser()).owner;
    const { key } = await newKey(owner);
    await expect(requireKey(database, other, key.id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(requireKey(database, { kind: 'robot', id: owner.id }, key.id)).rejects.toMatchObject({ code: 'not_found' });
    expect(await pageOfKeys(database, other, { order: 'asc', limit: 10 })).toEqual([]);
    expect((await pageOfKeys(database, owner, { order: 'desc', limit: 10 })).map(({ id }) => id)).toEqual([key.id]);
  });

  const permission = fc.constantFrom(...ALL_PERMISSIONS);
  const limit = fc.record(
    {
      project: fc.constantFrom('demo', 'other', 'missing'),
      repositories: fc.array(fc.constantFrom('demo/*', 'demo/app', 'other/**', '**', '*/app'), { minLength: 1, maxLength: 2 }),
      permissions: fc.uniqueArray(permission, { minLength: 1, maxLength: ALL_PERMISSIONS.length }),
    },
    { requiredKeys: ['permissions'] },
  );
  const held = fc.array(
    fc.record({
      permissions: fc.uniqueArray(permission, { maxLength: ALL_PERMISSIONS.length }),
      everywhere: fc.boolean(),
      pattern: fc.constantFrom(undefined, 'demo/*', 'demo/app', '**'),
    }),
    { maxLength: 3 },
  );

  it('allows what both its owner and its limits allow, whatever these are, and nothing else', async () => {
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(held, fc.array(limit, { minLength: 1, maxLength: 3 }), async (assignments, limits) => {
        const { owner } = await newUser();
        await database.write(async (tx) => {
          for (const { permissions, everywhere, pattern } of assignments) {
            const given = { permissions, pattern, projectId: everywhere ? undefined : projectId };
            await assign(tx, { subject: owner, ...given, by: 'test', now });
          }
        });
        const { secret } = await newKey(owner, { limits });
        const narrow = await identify(`Bearer ${secret}`);
        const wide: Identity = { ...narrow, limits: undefined };
        for (const name of ALL_PERMISSIONS) {
          for (const resource of resourcesOf(name)) {
            const { project, repository } = resource;
            const within = limits.some(
              ({ project: bound, repositories, permissions }) =>
                permissions.includes(name) &&
                (bound === undefined || bound === project) &&
                (repositories === undefined || (repository !== undefined && repositories.some((glob) => GLOBS[glob]?.test(repository)))),
            );
            const may = await access.holds(narrow, name, resource);
            expect(may).toBe(within && (await access.holds(wide, name, resource)));
            if (may) allowed++;
          }
        }
      }),
      { numRuns: 60 },
    );
    expect(allowed).toBeGreaterThan(0);
  });
});

const GLOBS: Record<string, RegExp> = {
  'demo/*': /^demo\/[^/]*$/,
  'demo/app': /^demo\/app$/,
  'other/**': /^other\/.*$/,
  '**': /^.*$/,
  '*/app': /^[^/]*\/app$/,
};

function resourcesOf(permission: Permission): readonly { project?: string; repository?: string }[] {
  const level = PERMISSIONS[permission];
  if (level === 'system') return [{}];
  if (level === 'project') return [{}, { project: 'demo' }, { project: 'other' }];
  return ['demo/app', 'demo/a/b', 'other/app'].map((repository) => ({ project: repository.split('/')[0] ?? '', repository }));
}

describe('a robot', () => {
  let robots = 0;
  async function newRobot(expiresAt: number | null = null) {
    const name = robotName('demo', `ci-${++robots}`);
    const robot = await database.write((tx) =>
      createRobot(tx, { name, projectId, description: '', disabled: false, expiresAt, by: 'test', now }),
    );
    const { secret } = await newKey({ kind: 'robot', id: robot.id });
    return { robot, secret };
  }

  it('logs in by its name and secret', async () => {
    const { robot, secret } = await newRobot();
    expect(robot.name).toBe(`robot-demo.ci-${robots}`);
    expect(await identify(basic(robot.name, secret))).toMatchObject({ subject: { kind: 'robot', id: robot.id }, actor: { kind: 'robot' } });
  });

  it('is no more once disabled, expired or deleted, nor are its tokens, also when enabled again', async () => {
    const disable = (id: number, disabled: boolean) =>
      database.write(async (tx) => changeRobot(tx, await requireRobot(tx, projectId, id), { disabled }));
    const ends: ((id: number) => Promise<unknown>)[] = [
      (id) => disable(id, true),
      (id) => database.write((tx) => deleteRobot(tx, id)),
      async () => {
        now += 60_000;
      },
    ];
    for (const end of ends) {
      const { robot, secret } = await newRobot(now + 60_000);
      const login = basic(robot.name, secret);
      const token = await tokenFor(login);
      expect([await works(login), await works(token)]).toEqual([true, true]);
      await end(robot.id);
      expect([await works(login), await works(token)]).toEqual([false, false]);
    }
    const { robot, secret } = await newRobot();
    const token = await tokenFor(basic(robot.name, secret));
    await disable(robot.id, true);
    await disable(robot.id, false);
    expect([await works(basic(robot.name, secret)), await works(token)]).toEqual([true, false]);
  });

  it.each(['', 'A', '-a', 'a-', 'a.b', 'a b', 'a$b', 'a+b', 'ä', 'a'.repeat(64)])('is not called %j', (name) => {
    expect(() => robotName('demo', name)).toThrow();
  });

  it('of one project and name is called like no other', () => {
    const part = fc.stringMatching(/^[a-z0-9]{1,3}([-_.][a-z0-9]{1,2}){0,2}$/);
    const own = fc.stringMatching(/^[a-z0-9]{1,3}([-_][a-z0-9]{1,2}){0,2}$/);
    const one = fc.tuple(fc.option(part, { nil: undefined }), own);
    fc.assert(
      fc.property(one, one, (a, b) => {
        fc.pre(JSON.stringify(a) !== JSON.stringify(b));
        expect(robotName(...a)).not.toBe(robotName(...b));
      }),
    );
  });
});
