import { expiredTrash, noteRestoring, type PurgeableItem, purgeItem, repositoryScope, trashAges } from '../../catalog/index.ts';
import { AppError, type JobDefinition } from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';
import { RESTORE, type RestoreOrder, restoreLarge } from './restore.ts';

export const EMPTY = 'trash.empty';
export const DAY_MS = 24 * 3_600_000;
const EVERY_MS = 60_000;
const PROJECTS = 500;
const BATCH = 100;

/** All of a project's trash that was deleted up to a time. */
export interface EmptyOrder {
  readonly projectId: number;
  readonly before: number;
}

/** What ends in the trash by itself, and what is too much for one request. */
export function trashJobs({ database, clock, config }: Pick<LifecycleParts, 'database' | 'clock' | 'config'>): JobDefinition[] {
  async function purge(projectId: number, before: number, signal: AbortSignal): Promise<number> {
    let purged = 0;
    for (let after = 0, found = BATCH; found === BATCH; ) {
      const items = await expiredTrash(database, { projectId, before, after, limit: BATCH });
      found = items.length;
      after = items.at(-1)?.id ?? after;
      for (const [repository, some] of Map.groupBy(items, (item: PurgeableItem) => item.repository)) {
        signal.throwIfAborted();
        await database.write(
          async (tx) => {
            for (const item of some) await purgeItem(tx, item, clock.now());
          },
          { durable: false, scope: [repositoryScope(repository)] },
        );
        purged += some.length;
      }
    }
    return purged;
  }

  return [
    {
      kind: 'trash.expire',
      schedule: { everyMs: EVERY_MS },
      async run(_, { signal, progress }) {
        let purged = 0;
        for (let after = 0, found = PROJECTS; found === PROJECTS; ) {
          const projects = await trashAges(database, after, PROJECTS);
          found = projects.length;
          after = projects.at(-1)?.id ?? after;
          for (const { id, days, since } of projects) {
            const before = clock.now() - (days ?? config.trashDays) * DAY_MS;
            if (since === undefined || since > before) continue;
            purged += await purge(id, before, signal);
            await progress({ purged });
          }
        }
        return { purged };
      },
    },
    {
      kind: EMPTY,
      async run(payload, { signal }) {
        const { projectId, before } = payload as EmptyOrder;
        return { purged: await purge(projectId, before, signal) };
      },
    },
    {
      kind: RESTORE,
      async run(payload, { signal, progress }) {
        const { itemId, by, replace } = payload as RestoreOrder;
        const how = { by, replace, now: clock.now(), sparse: { children: config.sparseIndexes, blobs: config.sparseImages } };
        try {
          return await restoreLarge(itemId, { database, how, signal, progress });
        } catch (error) {
          if (!(error instanceof AppError) || error.status >= 500) throw error;
          // Trying again would end the same: who asked is told at the item.
          await database.write((tx) => noteRestoring(tx, itemId, null, error.message));
          return { refused: error.message };
        }
      },
    },
  ];
}
