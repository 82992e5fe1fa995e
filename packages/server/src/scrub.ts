import { damagedCount, findStored, pageOfDamaged } from './catalog/index.ts';
import { createPace, folderSource, newPass, orphanGraceMs, type Pass, repairBlob, scrub } from './lifecycle/commands.ts';
import { withInstallation } from './local.ts';
import type { Config } from './platform/index.ts';

const PAGE = 100;
const TOLD = 100;

export interface ScrubOptions {
  /** Folders whose blobs repair what is damaged: backups, data directories, storages of other registries. */
  readonly repairFrom: readonly string[];
  /** Looks only at what is known to be damaged. */
  readonly damagedOnly: boolean;
  /** MiB per second; undefined: as fast as it goes. */
  readonly rate: number | undefined;
  readonly signal: AbortSignal;
  progress(pass: Pass): void;
}

export interface Scrubbed {
  /** undefined where only what is known to be damaged was looked at. */
  readonly pass: Pass | undefined;
  readonly repaired: readonly string[];
  /** What is in quarantine afterwards: all of it, and those found first. */
  readonly damaged: number;
  readonly quarantined: readonly { readonly digest: string; readonly problem: string; readonly detail: string }[];
}

/** Reads and verifies everything once, beside a running server too, and repairs what can be repaired. */
export async function scrubInstallation(config: Config, options: ScrubOptions): Promise<Scrubbed> {
  const { repairFrom, damagedOnly, rate, signal, progress } = options;
  const folders = repairFrom.map(folderSource);
  return await withInstallation(config, async ({ database, blobs, clock, log, actor }) => {
    const sources = [...(blobs.spare ? [blobs.spare] : []), ...folders];
    const parts = { database, blobs, clock, log, actor, sources };
    const repaired: string[] = [];
    const result = async (pass: Pass | undefined): Promise<Scrubbed> => {
      const quarantined = (await pageOfDamaged(database, '', TOLD)).map(({ digest, problem, detail }) => ({ digest, problem, detail }));
      return { pass, repaired, damaged: await damagedCount(database), quarantined };
    };
    for (let after = ''; ; ) {
      const page = await pageOfDamaged(database, after, PAGE);
      for (const { digest } of page) {
        signal.throwIfAborted();
        const stored = await findStored(database, digest);
        const source = stored && (await repairBlob(parts, { digest, size: stored.size }, signal));
        if (source !== undefined) repaired.push(digest);
      }
      after = page.at(-1)?.digest ?? after;
      if (page.length < PAGE) break;
    }
    if (damagedOnly) return await result(undefined);
    const pace = createPace({
      bytesPerSecond: rate === undefined ? Number.POSITIVE_INFINITY : rate * 2 ** 20,
      isBusy: () => false,
      signal,
    });
    const pass = await scrub(
      {
        ...{ ...parts, pace, signal, orphanGraceMs: await orphanGraceMs(database, config) },
        // Its own pass, from the first blob to the last: how far the server's has come is the server's business.
        save: async () => undefined,
        progress: async (now) => progress(now),
        found: ({ digest }, _, verdict) => verdict === 'repaired' && repaired.push(digest),
      },
      newPass(undefined, clock.now()),
    );
    return await result(pass);
  });
}
