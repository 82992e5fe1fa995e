import { AppError, agreedOn, type Database, type Log, newId } from '../../platform/index.ts';
import type { Companions } from '../blob-store.ts';
import { hasCold } from './start-rows.ts';

/** An object beside the blobs of a cold tier that says whose it is. */
const MARK = 'tier';
const NAME = 'cold-tier';
/** How long a tier that was there is taken to be there. */
const FRESH_MS = 1000;

export interface ColdMark {
  /** Names this registry's cold tier. */
  readonly id: string;
  /** Throws where the tier that is there is not that one, as when a disk is not mounted. */
  require(): Promise<void>;
}

/**
 * Makes sure that the cold tier is that of this registry: a disk that is not mounted, or another bucket, would look as if all
 * that is cold were lost. One that cannot be reached right now is looked at when it is needed.
 */
export async function requireMark(database: Database, companions: Companions, where: string, log: Log): Promise<ColdMark> {
  const id = await agreedOn(database, NAME, newId());
  let checked = -Infinity;

  async function found(): Promise<string | undefined> {
    const bytes = await companions.read(MARK);
    return bytes && Buffer.from(bytes).toString('utf8').trim();
  }

  const there = await found().catch((error: unknown) => {
    if (!(error instanceof AppError)) throw error;
    log.error({ err: error.cause ?? error }, 'the cold tier cannot be reached');
    return id;
  });
  if (there === undefined) {
    if (await hasCold(database))
      throw new Error(`blobs of this registry lie in its cold tier, and ${where} is not that: is it mounted, and the right one?`);
    await companions.write(MARK, Buffer.from(`${id}\n`));
  } else if (there !== id) {
    throw new Error(`${where} is the cold tier of another registry: its file encryption/${MARK} says so`);
  }
  return {
    id,
    async require() {
      if (performance.now() - checked < FRESH_MS) return;
      const now = await found();
      if (now !== id) {
        const cause = new Error(`${where} ${now === undefined ? 'is not there' : 'is that of another registry'}`);
        throw new AppError('unavailable', 'the cold tier of the registry is not there at the moment', {
          cause,
          headers: { 'Retry-After': '30' },
        });
      }
      checked = performance.now();
    },
  };
}
