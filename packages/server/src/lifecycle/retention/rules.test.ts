import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Rule } from './policy.ts';
import { type AskedPolicy, type Facts, Selection, type TagFact } from './rules.ts';

const DAY = 24 * 3_600_000;
const NOW = 1000 * DAY;
const WHERE = { repository: 'demo/app', environment: 'production' };
const NOBODY: Facts = { inUse: async () => undefined, isBase: async () => false };

const days = fc.integer({ min: 0, max: 40 });
const tag = fc.record({
  name: fc.stringMatching(/^[ab][0-9]{0,2}$/),
  pushed: days,
  pulled: fc.option(days, { nil: null }),
  label: fc.constantFrom(null, 'stable', 'beta'),
});
/** In the order in which they are judged: the last pushed first. */
const tags = fc.uniqueArray(tag, { selector: ({ name }) => name, maxLength: 30 }).map((all) =>
  all
    .map(({ name, pushed, pulled, label }): TagFact => {
      const annotations = label === null ? null : JSON.stringify({ channel: label });
      return {
        name,
        digest: `sha256:${name}`,
        pushedAt: NOW - pushed * DAY,
        pulledAt: pulled === null ? null : NOW - pulled * DAY,
        annotations,
      };
    })
    .sort((a, b) => b.pushedAt - a.pushedAt || (a.name < b.name ? 1 : -1)),
);
const scope = {
  tags: fc.option(fc.constantFrom({ include: ['a*'] }, { exclude: ['b*'] }, { include: ['**'], exclude: ['a1*'] }), { nil: undefined }),
  labels: fc.option(fc.constantFrom({ channel: 'stable' }, { channel: 'b*' }), { nil: undefined }),
  environments: fc.option(fc.constantFrom(['production' as const], ['test' as const]), { nil: undefined }),
  repositories: fc.option(fc.constantFrom({ include: ['demo/*'] }, { include: ['other/**'] }), { nil: undefined }),
};
const plain = <T extends object>(of: T): T => JSON.parse(JSON.stringify(of)) as T;
const rule = fc
  .oneof(
    fc.record({ template: fc.constantFrom('always' as const), ...scope }),
    fc.record({
      template: fc.constantFrom('latestPushedK', 'latestPulledN', 'nDaysSinceLastPush', 'nDaysSinceLastPull', 'inUse'),
      n: fc.integer({ min: 1, max: 20 }),
      ...scope,
    }),
  )
  .map((each) => plain(each) as Rule);
const rules = fc.array(rule, { maxLength: 4 });
const uncovered = fc.constantFrom('keep' as const, 'delete' as const);

const policy = (name: string, of: readonly Rule[], isRunning: boolean, rest: 'keep' | 'delete' = 'keep'): AskedPolicy => ({
  ...{ name, rules: of, isRunning, uncovered: rest },
});

async function kept(policies: readonly AskedPolicy[], all: readonly TagFact[], facts = NOBODY): Promise<Set<string>> {
  const selection = new Selection(policies, WHERE, NOW);
  for (const each of all) selection.look(each);
  const names = new Set<string>();
  for (const each of all) if ((await selection.judge(each, facts)).keep) names.add(each.name);
  return names;
}

const isSubset = (a: ReadonlySet<string>, b: ReadonlySet<string>) => [...a].every((each) => b.has(each));

it('more rules of policies that only keep never keep less', async () => {
  await fc.assert(
    fc.asyncProperty(tags, rules, rules, uncovered, async (all, own, others, rest) => {
      const before = await kept([policy('run', own, true, rest)], all);
      const after = await kept([policy('run', own, true, rest), policy('other', others, false)], all);
      expect(isSubset(before, after)).toBe(true);
    }),
  );
});

it('one rule more in a policy that deletes what none covers never keeps less', async () => {
  await fc.assert(
    fc.asyncProperty(tags, fc.array(rule, { minLength: 1, maxLength: 4 }), rule, async (all, own, more) => {
      const first = policy('run', own, true, 'delete');
      if (!new Selection([first], WHERE, NOW).coversSome) return; // nothing was deleted at all
      const before = await kept([first], all);
      expect(isSubset(before, await kept([policy('run', [...own, more], true, 'delete')], all))).toBe(true);
    }),
  );
});

it('what no rule of the policy covers stays, unless the policy says otherwise', async () => {
  await fc.assert(
    fc.asyncProperty(tags, rules, async (all, own) => {
      const selection = new Selection([policy('run', own, true)], WHERE, NOW);
      const covered = (each: TagFact) =>
        new Selection(
          [
            policy(
              'run',
              own.map(({ n: _, ...of }) => ({ ...of, template: 'always' })),
              true,
              'delete',
            ),
          ],
          WHERE,
          NOW,
        ).judge(each, NOBODY);
      for (const each of all) selection.look(each);
      for (const each of all) {
        const { keep } = await selection.judge(each, NOBODY);
        const { keep: isCovered, reasons } = await covered(each);
        if (!isCovered || reasons.every(({ rule: at }) => at === 0)) expect(keep).toBe(true);
      }
    }),
  );
});

it('each template keeps what a plain look at all tags would', async () => {
  const newest = (all: readonly TagFact[], n: number, at: (each: TagFact) => number) =>
    new Set(
      [...all]
        .sort((a, b) => at(b) - at(a) || (a.name < b.name ? -1 : 1))
        .slice(0, n)
        .map(({ name }) => name),
    );
  const used = ({ pulledAt, pushedAt }: TagFact) => Math.max(pulledAt ?? 0, pushedAt);
  await fc.assert(
    fc.asyncProperty(tags, fc.integer({ min: 1, max: 10 }), async (all, n) => {
      const keep = (template: Rule['template']) => kept([policy('run', [{ template, n }], true)], all);
      expect(await keep('latestPushedK')).toEqual(new Set(all.slice(0, n).map(({ name }) => name)));
      expect(await keep('latestPulledN')).toEqual(newest(all, n, used));
      expect(await keep('nDaysSinceLastPush')).toEqual(
        new Set(all.filter((each) => NOW - each.pushedAt < n * DAY).map(({ name }) => name)),
      );
      expect(await keep('nDaysSinceLastPull')).toEqual(new Set(all.filter((each) => NOW - used(each) < n * DAY).map(({ name }) => name)));
    }),
  );
});

it('says of each rule what it found, and looks elsewhere only where nothing else keeps', async () => {
  let asked = 0;
  const facts: Facts = {
    inUse: async () => (asked++ ? undefined : 'cluster a'),
    isBase: async () => asked++ < 0,
  };
  const own: Rule[] = [{ template: 'latestPushedK', n: 1 }, { template: 'inUse', n: 7 }, { template: 'isBase' }];
  const selection = new Selection([policy('nightly', own, true)], WHERE, NOW);
  const fact = (name: string, at: number) => ({
    name,
    digest: `sha256:${name}`,
    pushedAt: NOW - at * DAY,
    pulledAt: null,
    annotations: null,
  });
  expect(await selection.judge(fact('new', 0), facts)).toEqual({
    keep: true,
    reasons: [{ policy: 'nightly', rule: 1, keeps: true, text: '1. of the latest pushed, of which 1 are kept' }],
  });
  expect(asked).toBe(0);
  expect((await selection.judge(fact('old', 9), facts)).reasons.map(({ rule: at, keeps }) => [at, keeps])).toEqual([
    [1, false],
    [2, true],
  ]);
  expect((await selection.judge(fact('older', 10), facts)).keep).toBe(false);
});

it('a policy without a rule for a repository leaves it alone', async () => {
  const elsewhere: Rule = { template: 'latestPushedK', n: 1, repositories: { include: ['other/**'] } };
  const fact = { name: 'old', digest: 'sha256:x', pushedAt: 0, pulledAt: null, annotations: null };
  for (const own of [[], [elsewhere]]) expect((await kept([policy('run', own, true, 'delete')], [fact])).has('old')).toBe(true);
});
