import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Grant, parseScopes } from './scope.ts';

const name = fc.stringMatching(/^[a-z0-9]{1,5}(\/[a-z0-9]{1,5}([._-][a-z0-9]{1,3})?){0,3}$/);
const action = fc.constantFrom('pull', 'push', 'delete');
const grant = fc.record({ name, actions: fc.uniqueArray(action, { minLength: 1 }) });

describe('parseScopes', () => {
  it('reads scopes in one parameter or several, whatever stands among them', () => {
    const noise = fc.constantFrom(
      '',
      'repository',
      'repository:',
      ':::',
      'project:demo:pull',
      'repository:UPPER/case:pull',
      'registry:other:*',
    );
    fc.assert(
      fc.property(fc.array(grant, { maxLength: 6 }), fc.array(noise, { maxLength: 6 }), fc.boolean(), (grants, others, together) => {
        const texts = grants.map((one) => `repository:${one.name}:${one.actions.join()}`);
        const mixed = texts.flatMap((text, index) => [text, ...(others[index] === undefined ? [] : [others[index]])]);
        const parameters = together ? [mixed.join(' ')] : mixed;
        expect(parseScopes(parameters)).toEqual(grants.map((one): Grant => ({ type: 'repository', ...one })));
      }),
    );
  });

  it.each<[string, Grant[]]>([
    ['repository:demo/app:pull,push', [{ type: 'repository', name: 'demo/app', actions: ['pull', 'push'] }]],
    ['repository:demo/app:*', [{ type: 'repository', name: 'demo/app', actions: ['pull', 'push', 'delete'] }]],
    ['repository:demo/app:pull,pull,pull', [{ type: 'repository', name: 'demo/app', actions: ['pull'] }]],
    ['repository:demo/app:pull,admin,constructor', [{ type: 'repository', name: 'demo/app', actions: ['pull'] }]],
    ['repository(plugin):demo/app:pull', [{ type: 'repository', name: 'demo/app', actions: ['pull'] }]],
    ['repository:*:pull,push,delete', [{ type: 'repository', name: '*', actions: ['pull'] }]],
    ['registry:catalog:*', [{ type: 'registry', name: 'catalog', actions: ['*'] }]],
    ['registry:catalog:pull', []],
    ['repository:host:5000/app:pull', []],
    ['repository:../app:pull', []],
    ['repository:demo/app', []],
    ['repository:demo/*:pull', []],
    ['Repository:demo/app:pull', []],
    ['repository(a)(b):demo/app:pull', []],
    ['repository(a:demo/app:pull', []],
    ['', []],
  ])('reads %j', (text, grants) => {
    expect(parseScopes([text])).toEqual(grants);
  });

  it('grants nothing but what it knows, and throws nothing, whatever the text', () => {
    const piece = fc.oneof(
      fc.constantFrom('repository', 'registry', ':', ',', '*', 'pull', ' ', '(', ')', 'demo', '/', '__proto__'),
      fc.string(),
    );
    fc.assert(
      fc.property(
        fc.array(
          fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
          { maxLength: 4 },
        ),
        (parameters) => {
          for (const { type, name: given, actions } of parseScopes(parameters)) {
            if (type === 'registry') expect([given, actions]).toEqual(['catalog', ['*']]);
            else if (given === '*') expect(actions).toEqual(['pull']);
            else expect(new Set(['pull', 'push', 'delete']).isSupersetOf(new Set(actions))).toBe(true);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('reads so many and no more', () => {
    const many = Array.from({ length: 1000 }, (_, index) => `repository:demo/app${index}:pull`);
    expect(parseScopes(many)).toHaveLength(64);
    expect(parseScopes([many.join(' ')])).toHaveLength(64);
  });

  // Anything worse than one pass would take minutes here.
  it.each([
    ['opening brackets', `${'('.repeat(500_000)}:a:b`],
    ['brackets', `repository${'()'.repeat(500_000)}:demo/app:pull`],
    ['colons', ':'.repeat(500_000)],
    ['commas', `repository:demo/app:${','.repeat(500_000)}`],
    ['a long name', `repository:${'a-'.repeat(500_000)}:pull`],
    ['spaces', ' '.repeat(500_000)],
  ])('reads a text of %s in one pass', (_, text) => {
    expect(parseScopes([text]).every(({ actions }) => actions.length === 0)).toBe(true);
  });
});
