import {
  findProjectById,
  type Immutability,
  immutabilityOf,
  isBaseOfOthers,
  type PlacedRepository,
  pageOfTagUse,
  subjectOfTag,
  type TagUse,
} from '../../catalog/index.ts';
import type { Session } from '../../platform/index.ts';
import type { LabelsOf } from './labels.ts';
import type { Policy } from './policy.ts';
import { type AskedPolicy, compilePatterns, type Facts, Selection, type TagFact, type Verdict } from './rules.ts';
import { policiesIn } from './store.ts';
import { findUse } from './uses.ts';

const PAGE = 500;
const DAY_MS = 24 * 3_600_000;

export interface Judged {
  readonly tag: TagUse;
  readonly verdict: Verdict;
}

/** Whether a policy of the system applies to a project, or one of a project to it. */
export function appliesTo({ projectId, projects }: Policy, project: { readonly id: number; readonly name: string }): boolean {
  return projectId === null ? projects === null || compilePatterns(projects)(project.name) : projectId === project.id;
}

/** The policy that runs, and all others in force in a project, whose rules keep too. */
export async function policiesFor(session: Session, running: Policy, project: { id: number; name: string }): Promise<AskedPolicy[]> {
  const others = [...(await policiesIn(session, null)), ...(await policiesIn(session, project.id))].filter(
    (policy) => policy.id !== running.id && policy.enabled && appliesTo(policy, project),
  );
  const asked = (policy: Policy): AskedPolicy => ({
    name: policy.projectId === null ? `${policy.name} (system)` : policy.name,
    rules: policy.rules,
    isRunning: policy === running,
    uncovered: policy.uncovered,
  });
  return [running, ...others].map(asked);
}

/**
 * Judges the tags of a repository as they were at a time, the last pushed first, page by page; memory does not grow with
 * them. What was pushed since is not looked at.
 */
export async function* judgeTags(
  session: Session,
  { id, name, environment, projectId }: PlacedRepository,
  policies: readonly AskedPolicy[],
  at: number,
  labelsOf: LabelsOf,
): AsyncGenerator<readonly Judged[]> {
  if ((await findProjectById(session, projectId)) === undefined) return;
  const selection = new Selection(policies, { repository: name, environment }, at);
  if (!selection.coversSome) return;
  const immutable = await immutabilityOf(session, id);
  const facts: Facts = {
    inUse: (digest, days) => findUse(session, { repositoryId: id, digest, since: at - days * DAY_MS, now: at }),
    isBase: (digest) => isBaseOfOthers(session, id, digest),
  };
  const labelled = async (tag: TagUse): Promise<TagFact> =>
    selection.wantsLabels(tag) ? { ...tag, imageLabels: (await labelsOf(id, tag.digest)) ?? null } : tag;
  if (selection.needsLook) {
    for await (const page of pages(session, id, at)) {
      for (const tag of page) if (!subjectOfTag(tag.name)) selection.look(await labelled(tag));
    }
  }
  for await (const page of pages(session, id, at)) {
    const judged: Judged[] = [];
    for (const tag of page) judged.push({ tag, verdict: await judge(await labelled(tag), selection, immutable, facts) });
    yield judged;
  }
}

async function judge(tag: TagFact, selection: Selection, immutable: Immutability, facts: Facts): Promise<Verdict> {
  const subject = subjectOfTag(tag.name);
  if (subject !== undefined) return { keep: true, reasons: [{ policy: '', rule: 0, keeps: true, text: `stays and goes with ${subject}` }] };
  const verdict = await selection.judge(tag, facts);
  const rule = verdict.keep ? undefined : immutable.ruleOf(tag.name);
  if (!rule) return verdict;
  const reason = { policy: '', rule: 0, keeps: true, text: `immutable by the rule ${rule.name}` };
  return { keep: true, reasons: [...verdict.reasons, reason] };
}

async function* pages(session: Session, repositoryId: number, at: number): AsyncGenerator<readonly TagUse[]> {
  let last: TagUse | undefined;
  for (;;) {
    const page = await pageOfTagUse(session, repositoryId, last, PAGE);
    yield page.filter(({ pushedAt }) => pushedAt <= at);
    last = page.at(-1);
    if (page.length < PAGE) return;
    await new Promise((resolve) => setImmediate(resolve)); // others have their turn
  }
}
