import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { catalogMigrations, changeProject, createProject, findProject } from '../catalog/index.ts';
import { roomData } from '../platform/database/testing.ts';
import { compileGlob } from '../platform/index.ts';
import { createAccess, type Resource } from './access.ts';
import { anonymous, identityOf } from './identity.ts';
import type { Permission } from './permissions.ts';
import type { Statement } from './statements.ts';

// What rules, limits, networks and public projects come to together.

const store = roomData(catalogMigrations);
const database = await store.open();
await database.write(async (tx) => {
  for (const name of ['open', 'closed', 'walled']) await createProject(tx, { name, public: name !== 'closed', by: 'test', now: 1 });
  const walled = await findProject(tx, 'walled');
  if (walled) await changeProject(tx, walled, { pullNetworks: '10.0.0.0/8, 2001:db8::/32', pushNetworks: '10.1.0.0/16' });
});
afterAll(() => store.remove());

const SUBJECT = { kind: 'user', id: 1, name: 'ann', generation: 1 } as const;
const rule = (effect: Statement['effect'], permissions: Permission[], more: Partial<Statement> = {}): Statement => ({
  ...{ effect, permissions: new Set(permissions), project: undefined, repositories: undefined, source: 'test' },
  ...more,
});
const originFrom = (client: string) => ({ client, userAgent: '', requestId: '' });
const accessWith = (statements: readonly Statement[]) =>
  createAccess({ session: database, rules: { of: async () => statements }, authenticators: [], now: () => 1 });

async function holds(
  statements: readonly Statement[],
  permission: Permission,
  resource: Resource,
  { client = '192.0.2.1', limits }: { client?: string; limits?: readonly Statement[] } = {},
): Promise<boolean> {
  const identity = identityOf(SUBJECT, null, originFrom(client), { limits });
  return await accessWith(statements).holds(identity, permission, resource);
}

const everything: Permission[] = ['repository:pull', 'repository:push', 'artifact:delete', 'tag:delete', 'project:update'];
const app = { project: 'walled', repository: 'walled/app' };

describe('the networks of a project', () => {
  it.each<[string, Permission, boolean]>([
    ['10.1.2.3', 'repository:pull', true],
    ['10.1.2.3', 'repository:push', true],
    ['10.2.2.3', 'repository:pull', true],
    ['10.2.2.3', 'repository:push', false],
    ['10.2.2.3', 'artifact:delete', false],
    ['10.2.2.3', 'tag:delete', false],
    ['::ffff:10.1.2.3', 'repository:push', true],
    ['2001:db8::1', 'repository:pull', true],
    ['2001:db8::1', 'repository:push', false],
    ['192.0.2.1', 'repository:pull', false],
    ['', 'repository:pull', false],
    ['not an address', 'repository:pull', false],
    ['192.0.2.1', 'project:update', true], // who set them wrong can set them right
  ])('from %j %s: %s, whatever is held', async (client, permission, expected) => {
    expect(await holds([rule('allow', everything)], permission, app, { client })).toBe(expected);
  });

  it('bind who pulls without login too', async () => {
    const access = accessWith([]);
    expect(await access.holds(anonymous(originFrom('10.9.9.9')), 'repository:pull', app)).toBe(true);
    expect(await access.holds(anonymous(originFrom('192.0.2.1')), 'repository:pull', app)).toBe(false);
  });

  it('are named by what explains a denial', async () => {
    const found = await accessWith([rule('allow', everything)]).explain(SUBJECT, 'repository:push', app, '192.0.2.1');
    expect(found).toMatchObject({ allowed: false, reason: expect.stringContaining('networks of project walled') });
  });
});

describe('a denial', () => {
  it('wins over what allows, and over a public project', async () => {
    const deny = rule('deny', ['repository:pull'], { repositories: compileGlob('open/secret/**') });
    for (const statements of [[rule('allow', everything), deny], [deny, rule('allow', everything)], [deny]]) {
      expect(await holds(statements, 'repository:pull', { project: 'open', repository: 'open/secret/a' })).toBe(false);
      expect(await holds(statements, 'repository:pull', { project: 'open', repository: 'open/app' })).toBe(true);
    }
  });

  it('holds where its condition cannot be decided; an allowance then does not', async () => {
    const condition = () => {
      throw new Error('no such field');
    };
    const closed = { project: 'closed', repository: 'closed/app' };
    expect(await holds([rule('allow', everything, { condition })], 'repository:pull', closed)).toBe(false);
    expect(await holds([rule('allow', everything), rule('deny', everything, { condition })], 'repository:pull', closed)).toBe(false);
  });
});

const permission = fc.constantFrom<Permission>('repository:pull', 'repository:push', 'project:read', 'project:create');
const statement = fc
  .record({
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    permissions: fc.array(permission, { minLength: 1, maxLength: 3 }),
    project: fc.constantFrom(undefined, 'open', 'closed', 'none'),
    pattern: fc.constantFrom(undefined, 'open/**', '*/app', 'closed/app'),
  })
  .map(({ effect, permissions, project, pattern }) =>
    rule(effect, permissions, { project, repositories: pattern === undefined ? undefined : compileGlob(pattern) }),
  );
const resource = fc.constantFrom<Resource>(
  {},
  { project: 'open' },
  { project: 'open', repository: 'open/app' },
  { project: 'closed', repository: 'closed/app' },
  { project: 'none', repository: 'none/app' },
);

describe('of any rules', () => {
  it('what explains a decision says what was decided', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(statement, { maxLength: 5 }), permission, resource, async (statements, asked, on) => {
        const { allowed } = await accessWith(statements).explain(SUBJECT, asked, on, '192.0.2.1');
        expect(allowed).toBe(await holds(statements, asked, on));
      }),
      { numRuns: 300 },
    );
  });

  it('limits take away and never give, but for what anybody may', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(statement, { maxLength: 4 }),
        fc.array(statement, { maxLength: 4 }),
        permission,
        resource,
        async (own, limits, asked, on) => {
          const limited = await holds(own, asked, on, { limits });
          if (limited) expect(await holds(own, asked, on)).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('a denial added takes away and never gives', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(statement, { maxLength: 4 }), statement, permission, resource, async (own, more, asked, on) => {
        const denied = await holds([...own, { ...more, effect: 'deny' }], asked, on);
        if (denied) expect(await holds(own, asked, on)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
