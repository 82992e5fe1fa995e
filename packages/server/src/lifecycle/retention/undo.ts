import { listTrash, pageOfProjectIds, type Restoring, repositoryScope, type TrashItem } from '../../catalog/index.ts';
import { AppError, type Clock, type Database, type JobContext } from '../../platform/index.ts';
import { restoreItem } from '../trash/restore.ts';
import { byOf } from './remove.ts';
import { findRun, setRunUndo } from './store.ts';

export const UNDO = 'retention.undo';

const PAGE = 100;

interface Parts {
  readonly database: Database;
  readonly clock: Clock;
  readonly sparse: { readonly children: boolean; readonly blobs: boolean };
}

/**
 * Brings back, from the trash, what a run deleted: manifests first, then the tags that led to them. What cannot come back, as it
 * left the trash or a tag leads elsewhere meanwhile, is counted. What is back is there no more, so whoever comes again goes on.
 */
export async function undoRun(
  { database, clock, sparse }: Parts,
  { runId, by }: { readonly runId: number; readonly by: string },
  { signal, progress }: JobContext,
): Promise<unknown> {
  const run = await findRun(database, runId);
  if (!run) return { restored: 0 };
  await database.write((tx) => setRunUndo(tx, runId, 'running', null, 0));
  let restored = 0;
  let left = 0;
  let why = '';

  async function bringBack(item: TrashItem): Promise<void> {
    const how: Restoring = { by, replace: false, now: clock.now(), sparse };
    try {
      await database.write(
        async (tx) => {
          await restoreItem(tx, item, how);
          await setRunUndo(tx, runId, 'running', null, 1);
        },
        { scope: [repositoryScope(item.repository)] },
      );
      restored++;
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error;
      left++;
      why = error.message;
    }
  }

  try {
    for (const projectId of run.projectId === null ? await allProjects(database) : [run.projectId]) {
      for (const kind of ['manifest', 'tag'] as const) {
        for (let last: number | undefined = 0; last !== undefined; ) {
          const page = await listTrash(database, { projectId, order: 'asc', last, limit: PAGE, kind, by: byOf(runId) });
          for (const item of page.items) {
            signal.throwIfAborted();
            await bringBack(item);
            await progress({ restored, left });
          }
          last = page.next;
        }
      }
    }
  } catch (error) {
    // The process stops: another goes on.
    if (signal.aborted && (signal.reason as Error).name === 'Cancelled') {
      await database.write((tx) => setRunUndo(tx, runId, 'cancelled', null, 0));
    }
    throw error;
  }
  const told = left === 0 ? null : `${left} could not be brought back, the last as: ${why}`;
  await database.write((tx) => setRunUndo(tx, runId, left === 0 ? 'done' : 'failed', told, 0));
  return { restored, left };
}

async function allProjects(database: Database): Promise<number[]> {
  const ids: number[] = [];
  for (let last = 0; ; ) {
    const page = await pageOfProjectIds(database, last, 1000);
    ids.push(...page);
    last = page.at(-1) ?? last;
    if (page.length < 1000) return ids;
  }
}
