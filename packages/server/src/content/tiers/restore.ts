import type { Clock, Database } from '../../platform/index.ts';
import type { BlobStore } from '../blob-store.ts';
import { beginRestore, endOfRestore, placeFound, scopeOf } from './rows.ts';

/** After so long it is asked again: the slowest archives take two days. */
const ASK_AGAIN_MS = 3 * 24 * 3_600_000;

interface Parts {
  readonly cold: BlobStore;
  readonly database: Database;
  readonly clock: Clock;
}

/** Asks for archived blobs to be restored, each once, however many want it and in however many processes. */
export function restoreFrom({ cold, database, clock }: Parts) {
  const scoped = (digest: string) => ({ durable: false, scope: scopeOf(digest) });

  return async (digest: string): Promise<'restoring' | 'readable' | 'missing'> => {
    const reader = await cold.open(digest);
    if (!reader) return 'missing';
    const { archived, size } = reader;
    await reader.close();
    if (!archived) {
      await database.write((tx) => endOfRestore(tx, digest, 'cold'), scoped(digest));
      return 'readable';
    }
    const now = clock.now();
    const isFirst = await database.write(async (tx) => {
      await placeFound(tx, { digest, tier: 'cold', bytes: size, leftover: null, now });
      return await beginRestore(tx, digest, now, now - ASK_AGAIN_MS);
    }, scoped(digest));
    if (!isFirst || archived === 'restoring') return 'restoring';
    try {
      await cold.restore?.(digest);
    } catch (error) {
      await database.write((tx) => endOfRestore(tx, digest, 'archived'), scoped(digest));
      throw error;
    }
    return 'restoring';
  };
}
