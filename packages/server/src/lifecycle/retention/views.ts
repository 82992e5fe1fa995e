import Type, { type Static } from 'typebox';
import { type Policy, type PolicySettings, TEMPLATES } from './policy.ts';
import type { Result, Run } from './store.ts';

const Pattern = Type.String({ minLength: 1, maxLength: 512 });
const Patterns = (description: string) =>
  Type.Object(
    {
      include: Type.Optional(Type.Array(Pattern, { minItems: 1, maxItems: 50, uniqueItems: true })),
      exclude: Type.Optional(Type.Array(Pattern, { maxItems: 50, uniqueItems: true })),
    },
    { additionalProperties: false, description },
  );
const Environments = Type.Array(Type.Enum(['development', 'test', 'production']), { minItems: 1, maxItems: 3, uniqueItems: true });
const Labels = (description: string) =>
  Type.Record(Type.String({ minLength: 1, maxLength: 256 }), Pattern, { maxProperties: 20, description });
const Rule = Type.Object(
  {
    template: Type.Enum([...TEMPLATES], { description: 'which of the tags that the rule covers are kept' }),
    n: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, description: 'tags, or days' })),
    repositories: Type.Optional(Patterns('over full repository names; absent: all')),
    tags: Type.Optional(Patterns('over tags; absent: all')),
    labels: Type.Optional(Labels('annotations that the manifest must have, with patterns over their values')),
    imageLabels: Type.Optional(
      Labels(
        "labels that the image's config must have (LABEL of a Dockerfile), with patterns over their values; of an index, one of its images",
      ),
    ),
    environments: Type.Optional(Environments),
  },
  { additionalProperties: false },
);
const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '^[^\\p{C}]+$' });
const settings = {
  description: Type.Optional(Type.String({ maxLength: 1000 })),
  enabled: Type.Optional(Type.Boolean({ description: 'runs by its schedule, and its rules keep what other policies would delete' })),
  projects: Type.Optional(
    Type.Union([Patterns('over project names, of a policy of the system'), Type.Null()], { description: 'null: all projects' }),
  ),
  rules: Type.Optional(Type.Array(Rule, { maxItems: 50, description: 'a tag that any of them keeps stays' })),
  uncovered: Type.Optional(
    Type.Enum(['keep', 'delete'], {
      default: 'keep',
      description:
        'what becomes of tags that no rule of the policy covers, in repositories where one covers others; delete is as in Harbor',
    }),
  ),
  untaggedDays: Type.Optional(
    Type.Union([Type.Integer({ minimum: 1, maximum: 36_500 }), Type.Null()], {
      description: 'manifests without a tag go so many days after they were last pushed or pulled; null: never',
    }),
  ),
  schedule: Type.Optional(Type.String({ maxLength: 100, description: 'cron expression, in UTC; empty: only on demand' })),
};
export const NewPolicy = Type.Object({ name: Name, ...settings }, { additionalProperties: false });
export const PolicyChange = Type.Object({ name: Type.Optional(Name), ...settings }, { additionalProperties: false });
export const PolicyView = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  description: Type.String(),
  enabled: Type.Boolean(),
  projects: Type.Union([Patterns('over project names'), Type.Null()]),
  rules: Type.Array(Rule),
  uncovered: Type.Enum(['keep', 'delete']),
  untaggedDays: Type.Union([Type.Integer(), Type.Null()]),
  schedule: Type.String(),
  nextRunAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
});
const State = Type.Enum(['waiting', 'running', 'done', 'cancelled', 'failed']);
export const RunView = Type.Object({
  id: Type.Integer(),
  dryRun: Type.Boolean(),
  state: State,
  startedAt: Type.String({ format: 'date-time', description: 'ages of tags count from it' }),
  startedBy: Type.String(),
  finishedAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  lookedAt: Type.Integer(),
  kept: Type.Integer(),
  deleted: Type.Integer({ description: 'of a dry run: to be deleted' }),
  failed: Type.Integer(),
  error: Type.Union([Type.String(), Type.Null()]),
  undo: Type.Union([State, Type.Null()], { description: 'how far bringing back what it deleted is; null: nobody asked' }),
  restored: Type.Integer(),
  job: Type.Union([Type.Integer(), Type.Null()]),
});
export const Outcomes = Type.Enum(['keep', 'delete', 'deleted', 'changed', 'failed'], {
  description: 'keep and delete: of a dry run; changed: it was pushed, moved or pulled meanwhile and stays',
});
export const ResultView = Type.Object({
  repository: Type.String(),
  tag: Type.Union([Type.String(), Type.Null()], { description: 'null: a manifest without one' }),
  digest: Type.String(),
  outcome: Type.String(),
  reasons: Type.Array(
    Type.Object({
      policy: Type.String(),
      rule: Type.Integer({ description: 'its place in the policy, from 1; 0: none of its rules' }),
      keeps: Type.Boolean(),
      text: Type.String(),
    }),
  ),
});

const time = (at: number | null) => (at === null ? null : new Date(at).toISOString());

export function policyView({ id, createdAt, createdBy, nextAt, ...policy }: Policy): Static<typeof PolicyView> {
  return { id, ...settingsOf(policy), nextRunAt: time(nextAt), createdAt: new Date(createdAt).toISOString(), createdBy };
}

/** What somebody set, as JSON carries it. */
export function settingsOf(policy: PolicySettings): Omit<Static<typeof PolicyView>, 'id' | 'nextRunAt' | 'createdAt' | 'createdBy'> {
  const { name, description, enabled, projects, rules, uncovered, untaggedDays, schedule } = policy;
  return structuredClone({ name, description, enabled, projects, rules, uncovered, untaggedDays, schedule }) as never;
}

export function runView(run: Run): Static<typeof RunView> {
  const { id, dry, state, at, startedBy, finishedAt, lookedAt, kept, deleted, failed, error, undo, restored, jobId: job } = run;
  const times = { startedAt: new Date(at).toISOString(), finishedAt: time(finishedAt) };
  return { id, dryRun: dry === 1, state, startedBy, ...times, lookedAt, kept, deleted, failed, error, undo, restored, job };
}

export function resultView({ repository, tag, digest, outcome, reasons }: Result): Static<typeof ResultView> {
  return { repository, tag, digest, outcome, reasons: JSON.parse(reasons) as Static<typeof ResultView>['reasons'] };
}
