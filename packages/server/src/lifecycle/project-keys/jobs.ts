import {
  blobScope,
  dueBlobKeys,
  endBlobKeys,
  keysOfHolders,
  pageOfKeyedProjects,
  pageOfProjectBlobs,
  postponeBlobKeys,
  reviewKeysIfHeld,
} from '../../catalog/index.ts';
import type { Settled } from '../../content/index.ts';
import type { JobContext, JobDefinition, Session } from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';

/** Goes over all that a project holds, after its key was changed. */
export const PROJECT_KEYS = 'encryption.project';
const EVERY_MS = 5000;
const BATCH = 64;
/** Blobs of one run; what is left waits for the next. */
const MOST = 5000;
/** Blobs at once, as each may call a key provider. */
const AT_ONCE = 8;
const PAGE = 500;
/** What could not be done for a key out of reach is tried again so much later. */
const RETRY_MS = { soon: 5000, waiting: 60_000 };

type Count = Record<Settled, number>;

export interface ProjectKeysOrder {
  readonly projectId: number;
}

type Parts = Pick<LifecycleParts, 'database' | 'encryption' | 'clock' | 'log'>;

/** Keeps the wrappings of data keys in step with who holds the blobs (decision 0021). */
export function projectKeyJobs({ database, encryption, clock, log }: Parts): JobDefinition[] {
  if (!encryption) return [];
  const { projectKeys: keys } = encryption;
  const holdersOf = (digest: string) => ({
    names: (session: Session) => keysOfHolders(session, digest),
    scope: blobScope(digest),
  });

  async function settleDue(signal: AbortSignal): Promise<Count> {
    const count = { settled: 0, soon: 0, waiting: 0 };
    for (let seen = 0, found = BATCH; found === BATCH && seen < MOST; seen += found) {
      const due = await dueBlobKeys(database, clock.now(), BATCH);
      found = due.length;
      await inGroups(due, signal, async (row) => {
        const how = await keys.settle(row.digest, holdersOf(row.digest), (tx, done) =>
          done === 'settled' ? endBlobKeys(tx, row) : postponeBlobKeys(tx, row, clock.now() + RETRY_MS[done]),
        );
        count[how]++;
      });
    }
    if (count.waiting > 0) log.warn(count, 'data keys could not be wrapped by keys of projects, which cannot be reached or refuse');
    return count;
  }

  async function settleProject(projectId: number, count: Count, { signal, progress }: JobContext): Promise<void> {
    for (let after = '', found = PAGE; found === PAGE; ) {
      const digests = await pageOfProjectBlobs(database, projectId, after, PAGE);
      found = digests.length;
      after = digests.at(-1) ?? after;
      await inGroups(digests, signal, async (digest) => {
        const how = await keys.settle(digest, holdersOf(digest), async (tx, done) => {
          if (done !== 'settled') await reviewKeysIfHeld(tx, digest);
        });
        count[how]++;
      });
      await progress(count);
    }
  }

  return [
    {
      kind: 'encryption.settle',
      schedule: { everyMs: EVERY_MS },
      ready: async () => (await dueBlobKeys(database, clock.now(), 1)).length > 0,
      run: (_, { signal }) => settleDue(signal),
    },
    {
      kind: PROJECT_KEYS,
      maxAttempts: 100,
      async run(payload, context) {
        const count = { settled: 0, soon: 0, waiting: 0 };
        await settleProject((payload as ProjectKeysOrder).projectId, count, context);
        return count; // what waits for a key that cannot be used is due: `encryption.settle` tries it again
      },
    },
    {
      // For what came past the registry: repairs, blobs that lay in the clear.
      kind: 'encryption.projects',
      schedule: { cron: '17 2 * * *' },
      async run(_, context) {
        const count = { settled: 0, soon: 0, waiting: 0 };
        for (let after = 0, found = PAGE; found === PAGE; ) {
          const projects = await pageOfKeyedProjects(database, after, PAGE);
          found = projects.length;
          after = projects.at(-1) ?? after;
          for (const each of projects) await settleProject(each, count, context);
        }
        return count;
      },
    },
  ];
}

async function inGroups<T>(items: readonly T[], signal: AbortSignal, work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_ONCE) {
    signal.throwIfAborted();
    await Promise.all(items.slice(at, at + AT_ONCE).map(work));
  }
}
