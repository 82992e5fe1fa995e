import { endExpiredUpload, expiredUploads, findUpload, pruneEndedUploads, uploadScope } from './catalog/index.ts';
import type { BlobStore } from './content/index.ts';
import { type Clock, type Database, type JobDefinition, pruneJobs, pruneOutbox } from './platform/index.ts';

const HOUR_MS = 3_600_000;
const EXPIRY_EVERY_MS = 10 * 60_000;
const BATCH = 500;

interface Parts {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly uploadExpiryHours: number;
  /** Names of the outbox consumers of this version. */
  readonly consumers: readonly string[];
}

/** Recurring work of no room in particular; one process at a time does each. */
export function housekeepingJobs({ database, blobs, clock, uploadExpiryHours, consumers }: Parts): JobDefinition[] {
  /** Ends uploads that nobody continued: first their rows, so that none comes back to life without its bytes. */
  async function expireUploads(signal: AbortSignal): Promise<number> {
    const before = clock.now() - uploadExpiryHours * HOUR_MS;
    let expired = 0;
    for (let found = BATCH; found === BATCH; ) {
      const ids = await expiredUploads(database, before, clock.now(), BATCH);
      found = ids.length;
      for (const id of ids) {
        signal.throwIfAborted();
        if (!(await database.write((tx) => endExpiredUpload(tx, id, before, clock.now()), { scope: [uploadScope(id)] }))) continue;
        await blobs.removeUpload(id);
        expired++;
      }
    }
    // What a crash left without a row.
    for await (const id of blobs.staleUploads(before)) {
      signal.throwIfAborted();
      if (!(await findUpload(database, id))) await blobs.removeUpload(id);
    }
    for (let pruned = BATCH; pruned === BATCH; ) {
      signal.throwIfAborted();
      pruned = await database.write((tx) => pruneEndedUploads(tx, clock.now(), BATCH), { durable: false, scope: [] });
    }
    return expired;
  }

  return [
    {
      kind: 'uploads.expire',
      schedule: { everyMs: EXPIRY_EVERY_MS },
      run: async (_, { signal }) => ({ expired: await expireUploads(signal) }),
    },
    {
      kind: 'platform.prune',
      schedule: { cron: '17 * * * *' },
      async run(_, { signal }) {
        await pruneJobs(database, clock.now(), signal);
        await pruneOutbox(database, consumers, clock.now(), signal);
      },
    },
  ];
}
