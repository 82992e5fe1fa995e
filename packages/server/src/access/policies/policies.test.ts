import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { catalogMigrations, createProject } from '../../catalog/index.ts';
import { roomData } from '../../platform/database/testing.ts';
import type { Database } from '../../platform/index.ts';
import { type Access, createAccess } from '../access.ts';
import { setMember } from '../assignments.ts';
import { type Identity, identityOf } from '../identity.ts';
import { ALL_PERMISSIONS, PERMISSIONS } from '../permissions.ts';
import { pageOfProjects } from '../project-list.ts';
import { createRules } from '../rules.ts';
import { accessMigrations } from '../schema.ts';
import { createUser } from '../users.ts';
import { attachPolicy, changePolicy, createPolicy, detachPolicy, type Policy } from './policies.ts';
import { checkPolicy, type PolicyDocument, permissionsOf } from './policy-document.ts';

const store = roomData([...catalogMigrations, ...accessMigrations]);
const MONDAY = Date.UTC(2026, 0, 5, 9);
let now = MONDAY;
let database: Database;
let access: Access;
let user: Identity;
let users = 0;

beforeAll(async () => {
  database = await store.open();
  access = createAccess({ session: database, rules: createRules(database), authenticators: [], now: () => now });
  await database.write(async (tx) => {
    for (const name of ['team', 'team-two', 'other', 'open'])
      await createProject(tx, { name, public: name === 'open', by: 'test', now: 1 });
  });
});
beforeEach(async () => {
  now = MONDAY;
  const name = `user-${++users}`;
  const id = (await database.write((tx) => createUser(tx, { name, hash: '', admin: false, now: 1 }))) ?? 0;
  user = identityOf({ kind: 'user', id, name, generation: 1 }, null, { client: '10.1.2.3', userAgent: '', requestId: '' });
});
afterAll(() => store.remove());

type Statements = PolicyDocument['statements'];

async function attach(statements: Statements): Promise<Policy> {
  const document = { statements };
  await checkPolicy(document);
  return await database.write(async (tx) => {
    const policy = await createPolicy(tx, { name: `policy-${++users}`, description: '', document, by: 'test', now });
    await attachPolicy(tx, policy.id, { kind: 'user', id: user.subject?.id ?? 0 }, { by: 'test', now });
    return policy;
  });
}

const may = (permission: (typeof ALL_PERMISSIONS)[number], name?: string) => {
  const project = name?.split('/')[0];
  return access.holds(user, permission, { project, repository: name?.includes('/') ? name : undefined });
};
const seen = async () =>
  (await pageOfProjects(database, access, user, { limit: 100, last: undefined, descending: false })).projects.map(({ name }) => name);

describe('a policy', () => {
  it('allows what it says, where it says, and nothing else', async () => {
    await attach([{ effect: 'allow', actions: ['repository:pull'], resources: ['repository:team/app-*'] }]);
    expect(await may('repository:pull', 'team/app-1')).toBe(true);
    expect(await may('repository:pull', 'team/app/1')).toBe(false);
    expect(await may('repository:pull', 'team/other')).toBe(false);
    expect(await may('repository:push', 'team/app-1')).toBe(false);
    expect(await may('repository:pull', 'team')).toBe(false);
    expect(await may('repository:pull', 'team-two/app-1')).toBe(false);
  });

  it('of a project holds for all in it, and of everything everywhere', async () => {
    await attach([{ effect: 'allow', actions: ['artifact:*', 'robot:read'], resources: ['project:team*'] }]);
    expect(await may('artifact:delete', 'team/a/b')).toBe(true);
    expect(await may('robot:read', 'team-two')).toBe(true);
    expect(await may('robot:read', 'other')).toBe(false);
    expect(await may('robot:read')).toBe(false);
    await attach([{ effect: 'allow', actions: ['robot:read', 'user:read'], resources: ['*'] }]);
    expect([await may('robot:read'), await may('robot:read', 'other'), await may('user:read')]).toEqual([true, true, true]);
  });

  it('that denies wins over roles, other policies and public projects', async () => {
    await database.write((tx) => setMember(tx, { project: 'team', user: user.actor.name, role: 'admin', by: 'test', now }));
    await attach([{ effect: 'allow', actions: ['*'], resources: ['*'] }]);
    expect([await may('repository:push', 'team/secret'), await may('repository:pull', 'open/app')]).toEqual([true, true]);
    const denial = await attach([{ effect: 'deny', actions: ['repository:*'], resources: ['repository:team/secret', 'project:open'] }]);
    expect([await may('repository:push', 'team/secret'), await may('repository:pull', 'open/app')]).toEqual([false, false]);
    expect(await may('repository:push', 'team/app')).toBe(true);
    const { allowed, reason } = await access.explain(
      user.subject,
      'repository:pull',
      { project: 'open', repository: 'open/app' },
      '10.0.0.1',
    );
    expect([allowed, reason]).toEqual([false, `denied by statement 1 of policy ${denial.name}: it denies this`]);
  });

  it('counts at once when it is changed, attached or detached', async () => {
    const pull = (resource: string): Statements => [{ effect: 'allow', actions: ['repository:pull'], resources: [resource] }];
    const policy = await attach(pull('repository:team/app'));
    expect(await may('repository:pull', 'team/app')).toBe(true);
    await database.write((tx) => changePolicy(tx, policy, { document: { statements: pull('repository:team/other') } }));
    expect([await may('repository:pull', 'team/app'), await may('repository:pull', 'team/other')]).toEqual([false, true]);
    await database.write((tx) => detachPolicy(tx, policy.id, { kind: 'user', id: user.subject?.id ?? 0 }));
    expect(await may('repository:pull', 'team/other')).toBe(false);
  });

  it.each<[string, boolean]>([
    ['inCidr(client, "10.0.0.0/8")', true],
    ['inCidr(client, "192.168.0.0/16")', false],
    ['time.getHours("Europe/Berlin") >= 8 && time.getDayOfWeek() in [1, 2, 3, 4, 5]', true],
    ['time < timestamp("2026-01-01T00:00:00Z")', false],
    ['identity.kind == "user" && identity.name.startsWith("user-")', true],
    ['resource.project == "team" && resource.repository.endsWith("/app")', true],
    ['action == "repository:pull"', true],
    ['resource.missing == "x"', false],
    ['action', false],
  ])('allows under its condition only: %s', async (condition, holds) => {
    await attach([{ effect: 'allow', actions: ['repository:*'], resources: ['*'], condition }]);
    expect(await may('repository:pull', 'team/app')).toBe(holds);
  });

  it('whose condition cannot be decided lets nothing pass: it does not allow, and it does deny', async () => {
    await attach([{ effect: 'allow', actions: ['repository:pull'], resources: ['*'] }]);
    expect(await may('repository:pull', 'team/app')).toBe(true);
    await attach([{ effect: 'deny', actions: ['repository:pull'], resources: ['*'], condition: 'resource.missing == "x"' }]);
    expect(await may('repository:pull', 'team/app')).toBe(false);
  });

  it('under a condition, or with an exception, gives nothing that could be given on', async () => {
    await attach([{ effect: 'allow', actions: ['repository:pull'], resources: ['project:team'] }]);
    expect(await access.lacks(user, ['repository:pull'], 'team')).toEqual([]);
    await attach([
      { effect: 'allow', actions: ['repository:push'], resources: ['project:team'], condition: 'inCidr(client, "10.0.0.0/8")' },
    ]);
    expect(await may('repository:push', 'team/app')).toBe(true);
    expect(await access.lacks(user, ['repository:pull', 'repository:push'], 'team')).toEqual(['repository:push']);
    await attach([{ effect: 'deny', actions: ['repository:pull'], resources: ['repository:team/secret'] }]);
    expect(await access.lacks(user, ['repository:pull'], 'team')).toEqual(['repository:pull']);
  });

  it('shows the projects that it reaches in lists, and no others', async () => {
    expect(await seen()).toEqual(['open']);
    await attach([{ effect: 'allow', actions: ['repository:pull'], resources: ['repository:team-*/app'] }]);
    expect(await seen()).toEqual(['open', 'team-two']);
    const names: string[] = [];
    for await (const { name, allows } of access.pullable(user, '')) names.push(`${name} ${allows(`${name}/app`)} ${allows(`${name}/x`)}`);
    expect(names).toEqual(['open true true', 'team-two true false']);
    await attach([{ effect: 'deny', actions: ['project:read'], resources: ['*'] }]);
    expect(await seen()).toEqual([]);
  });

  it('that this version cannot read denies everything', async () => {
    await attach([{ effect: 'allow', actions: ['*'], resources: ['*'] }]);
    await database.write(async (tx) => {
      const document = { statements: [{ effect: 'allow', actions: ['*'], resources: ['repository:{'] }] } as PolicyDocument;
      const { id } = await createPolicy(tx, { name: `broken-${users}`, description: '', document, by: 'test', now });
      await attachPolicy(tx, id, { kind: 'user', id: user.subject?.id ?? 0 }, { by: 'test', now });
    });
    expect([await may('repository:pull', 'team/app'), await may('user:read')]).toEqual([false, false]);
  });

  it.each<[string, Partial<Statements[number]>]>([
    ['an action that is none', { actions: ['repository:fly'] }],
    ['actions of a kind that is none', { actions: ['planet:*'] }],
    ['a pattern that is none', { resources: ['repository:team/{a'] }],
    ['a condition that is none', { condition: 'client ==' }],
    ['a condition over what is not there', { condition: 'claims.sub == "x"' }],
  ])('is refused with %s', async (_, wrong) => {
    const statement = { effect: 'allow' as const, actions: ['repository:pull'], resources: ['*'], ...wrong };
    await expect(checkPolicy({ statements: [statement] })).rejects.toMatchObject({ code: 'bad_request' });
  });

  const statement: fc.Arbitrary<Statements[number]> = fc.record({
    effect: fc.constantFrom('allow', 'deny'),
    actions: fc.uniqueArray(fc.constantFrom('*', 'repository:*', ...ALL_PERMISSIONS), { minLength: 1, maxLength: 4 }),
    resources: fc.uniqueArray(
      fc.constantFrom('*', 'project:team', 'project:team*', 'repository:team/*', 'repository:other/app', 'repository:**'),
      {
        minLength: 1,
        maxLength: 2,
      },
    ),
  });
  const REACHES: Record<string, (project: string | undefined, repository: string | undefined) => boolean> = {
    '*': () => true,
    'project:team': (project) => project === 'team',
    'project:team*': (project) => project?.startsWith('team') ?? false,
    'repository:team/*': (_, repository) => /^team\/[^/]*$/.test(repository ?? ''),
    'repository:other/app': (_, repository) => repository === 'other/app',
    'repository:**': (_, repository) => repository !== undefined,
  };

  it('together with others allows exactly what one allows and none denies, whatever they are', async () => {
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(statement, { minLength: 1, maxLength: 4 }), async (statements) => {
        const policy = await attach(statements);
        for (const permission of ALL_PERMISSIONS.filter((name) => name !== 'project:read')) {
          const level = PERMISSIONS[permission];
          const places = level === 'system' ? [undefined] : level === 'project' ? [undefined, 'team', 'team-two', 'other'] : [];
          for (const place of level === 'repository' ? ['team/app', 'team/a/b', 'team-two/app', 'other/app'] : places) {
            const repository = place?.includes('/') ? place : undefined;
            const applies = ({ actions, resources }: Statements[number]) =>
              permissionsOf(actions).has(permission) && resources.some((text) => REACHES[text]?.(place?.split('/')[0], repository));
            const expected =
              statements.some((each) => each.effect === 'allow' && applies(each)) &&
              !statements.some((each) => each.effect === 'deny' && applies(each));
            expect([permission, place, await may(permission, place)]).toEqual([permission, place, expected]);
            if (expected) allowed++;
          }
        }
        await database.write((tx) => detachPolicy(tx, policy.id, { kind: 'user', id: user.subject?.id ?? 0 }));
      }),
      { numRuns: 60 },
    );
    expect(allowed).toBeGreaterThan(50);
  });
});
