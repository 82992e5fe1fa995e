import { describe, expect, it } from 'vitest';
import { catalogMigrations, createProject } from '../catalog/index.ts';
import { roomData } from '../platform/database/testing.ts';
import { compileGlob } from '../platform/index.ts';
import { createAccess } from './access.ts';
import { identityOf } from './identity.ts';
import type { Permission } from './permissions.ts';
import type { Statement } from './statements.ts';

// What somebody holds it may give away, unless it holds that by an exception, or somebody takes a part of it back.

const store = roomData(catalogMigrations);
const database = await store.open();
await database.write((tx) => createProject(tx, { name: 'open', public: true, by: 'test', now: 1 }));

const ASKED: Permission[] = ['repository:pull', 'repository:push'];
const rule = (effect: Statement['effect'], permissions: Permission[], more: Partial<Statement> = {}): Statement => ({
  ...{ effect, permissions: new Set(permissions), project: undefined, repositories: undefined, source: 'test' },
  ...more,
});

async function lacks(project: string | undefined, statements: Statement[], limits?: Statement[]): Promise<Permission[]> {
  const access = createAccess({ session: database, rules: { of: async () => statements }, authenticators: [], now: () => 1 });
  const origin = { client: '192.0.2.1', userAgent: '', requestId: '' };
  const identity = identityOf({ kind: 'user', id: 1, name: 'giver', generation: 1 }, null, origin, { limits });
  return await access.lacks(identity, ASKED, project);
}

describe('may be given', () => {
  it.each<[string, string | undefined, Statement[], Statement[] | undefined]>([
    ['what is held everywhere, in a project', 'demo', [rule('allow', ASKED)], undefined],
    ['what is held everywhere, on the system', undefined, [rule('allow', ASKED)], undefined],
    ['what is held in the project', 'demo', [rule('allow', ASKED, { project: 'demo' })], undefined],
    ['what is denied elsewhere', 'demo', [rule('allow', ASKED), rule('deny', ASKED, { project: 'other' })], undefined],
    ['what the credential allows too', 'demo', [rule('allow', ASKED)], [rule('allow', ASKED, { project: 'demo' })]],
  ])('%s', async (_, project, statements, limits) => {
    expect(await lacks(project, statements, limits)).toEqual([]);
  });
});

describe('may not be given', () => {
  const pattern = { project: 'demo', repositories: compileGlob('demo/secret/**') };
  it.each<[string, string | undefined, Statement[], Statement[] | undefined]>([
    ['nothing', 'demo', [], undefined],
    ['what anybody may as the project is public', 'open', [], undefined],
    ['what is held elsewhere', 'demo', [rule('allow', ASKED, { project: 'other' })], undefined],
    ['what is held in a project, on the system', undefined, [rule('allow', ASKED, { project: 'demo' })], undefined],
    ['what is held on a pattern', 'demo', [rule('allow', ASKED, pattern)], undefined],
    ['what is denied on a pattern', 'demo', [rule('allow', ASKED), rule('deny', ASKED, pattern)], undefined],
    ['what is denied in a project, on the system', undefined, [rule('allow', ASKED), rule('deny', ASKED, { project: 'demo' })], undefined],
    ['what is denied under a condition', 'demo', [rule('allow', ASKED), rule('deny', ASKED, { condition: () => false })], undefined],
    ['what the credential leaves out', 'demo', [rule('allow', ASKED)], [rule('allow', ['project:read'])]],
    ['what the credential allows on a pattern', 'demo', [rule('allow', ASKED)], [rule('allow', ASKED, pattern)]],
  ])('%s', async (_, project, statements, limits) => {
    expect(await lacks(project, statements, limits)).toEqual(ASKED);
  });

  it('only what is missing', async () => {
    expect(await lacks('demo', [rule('allow', ['repository:pull'])])).toEqual(['repository:push']);
    await store.remove();
  });
});
