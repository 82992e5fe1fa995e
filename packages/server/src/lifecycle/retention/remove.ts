import {
  deleteTag,
  deleteUnheld,
  findTagUse,
  immutabilityOf,
  type PlacedRepository,
  repositoryScope,
  type TagUse,
} from '../../catalog/index.ts';
import { AppError, audit, type Clock, type Database, type Session } from '../../platform/index.ts';
import type { Reason } from './rules.ts';
import type { Outcome } from './schema.ts';
import { addResults, advanceRun, type Result } from './store.ts';

/** What is to go: a tag, or a manifest without one. */
export interface Doomed {
  readonly tag: Pick<TagUse, 'name' | 'pushedAt' | 'pulledAt'> | undefined;
  readonly digest: string;
  readonly reasons: readonly Reason[];
}

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly runId: number;
  /** Where the run is, for the note of how far it came. */
  readonly position: number;
  /** Throws unless this process still has the run. */
  hold(tx: Session): Promise<void>;
}

const ACTOR = { kind: 'system', id: null, name: 'retention', credential: null } as const;

/** Who deleted what, in the trash and in the history of tags. */
export function byOf(runId: number): string {
  return `retention run ${runId}`;
}

/**
 * Deletes what was judged, each only if it is still as it was: what was pushed, moved or pulled meanwhile stays. One
 * transaction with what it writes down of itself; where one of them fails each is tried alone.
 */
export async function remove(parts: Parts, repository: PlacedRepository, doomed: readonly Doomed[]): Promise<void> {
  if (doomed.length === 0) return;
  try {
    await removeTogether(parts, repository, doomed);
  } catch (error) {
    if (!(error instanceof AppError) || error.status >= 500) throw error;
    if (doomed.length > 1) {
      for (const one of doomed) await remove(parts, repository, [one]);
      return;
    }
    const [{ digest, tag, reasons } = { digest: '', tag: undefined, reasons: [] }] = doomed;
    const failure = { policy: '', rule: 0, keeps: true, text: error.message };
    const result = resultOf(repository.name, { digest, tag, reasons: [...reasons, failure] }, 'failed');
    await write(parts, repository, (tx) => record(tx, parts, [result]));
  }
}

async function removeTogether(parts: Parts, repository: PlacedRepository, doomed: readonly Doomed[]): Promise<void> {
  const { clock, runId } = parts;
  await write(parts, repository, async (tx) => {
    const results: Omit<Result, 'id'>[] = [];
    const removal = { repositoryId: repository.id, by: byOf(runId), now: clock.now() };
    const immutable = await immutabilityOf(tx, repository.id);
    for (const one of doomed) {
      const { tag, digest } = one;
      let isChanged = false;
      if (tag) {
        const current = await findTagUse(tx, repository.id, tag.name);
        isChanged = current?.digest !== digest || current.pushedAt !== tag.pushedAt || current.pulledAt !== tag.pulledAt;
        isChanged ||= immutable.ruleOf(tag.name) !== undefined;
        if (!isChanged) await deleteTag(tx, { ...removal, name: tag.name });
      }
      const gone = isChanged ? [] : await deleteUnheld(tx, removal, digest);
      if (!tag) isChanged = gone.length === 0;
      results.push(resultOf(repository.name, one, isChanged ? 'changed' : 'deleted'));
      if (isChanged) continue;
      const where = { project: repository.project, repository: repository.name, digest };
      const resource = { type: tag ? 'tag' : 'artifact', ...where, ...(tag ? { tag: tag.name } : {}) };
      const entry = { actor: ACTOR, origin: null, action: 'retention.delete', resource, outcome: 'success' } as const;
      await audit(tx, { ...entry, after: { run: runId, manifests: gone } }, clock);
    }
    await record(tx, parts, results);
  });
}

async function write(parts: Parts, { name }: PlacedRepository, work: (tx: Session) => Promise<void>): Promise<void> {
  await parts.database.write(
    async (tx) => {
      await parts.hold(tx);
      await work(tx);
    },
    { scope: [repositoryScope(name)] },
  );
}

async function record(tx: Session, { runId, position }: Parts, results: readonly Omit<Result, 'id'>[]): Promise<void> {
  await addResults(tx, runId, results);
  const count = (outcome: Outcome) => results.filter((result) => result.outcome === outcome).length;
  await advanceRun(tx, runId, position, { lookedAt: 0, kept: count('changed'), deleted: count('deleted'), failed: count('failed') });
}

export function resultOf(repository: string, { tag, digest, reasons }: Doomed, outcome: Outcome): Omit<Result, 'id'> {
  return { repository, tag: tag?.name ?? null, digest, outcome, reasons: JSON.stringify(reasons) };
}
