import { damagedToCheck, findLinkedBlob, findStored, liftQuarantine, postponeRepair } from '../../catalog/index.ts';
import { ArchivedBlob } from '../../content/index.ts';
import { type AuditActor, enqueue, type JobDefinition, type Session } from '../../platform/index.ts';
import { findLastRun } from '../adoption/runs.ts';
import type { LifecycleParts } from '../parts.ts';
import { examine } from './examine.ts';
import { createPace, UNPACED } from './pace.ts';
import { quarantine, REPAIR_FIRST_MS, REPAIR_MOST_MS } from './quarantine.ts';
import { type RepairParts, repairBlob } from './repair.ts';
import { scrub } from './scrub.ts';
import { findPass, newPass, type Pass, savePass } from './store.ts';

const SCRUB = 'scrub';
const CHECK = 'scrub.check';
const DAY_MS = 24 * 3_600_000;
const LOOK_MS = 5000;
const PAGE = 50;
const ARCHIVED = 'archived' as const;

const SCRUBBER: AuditActor = { kind: 'system', id: null, name: 'scrub', credential: null };

/** Somebody asked for another pass from the beginning while one was on its way. */
class Replaced extends Error {
  override name = 'Replaced';
}

/** What repairs and quarantines in the server. */
export function repairParts({ database, blobs, clock, log, repairSources = [] }: LifecycleParts): RepairParts {
  return { database, blobs, clock, log, actor: SCRUBBER, sources: repairSources };
}

/**
 * How long an object without a row stays: as long as any blob that nothing needs. Where the storage was another registry's, or
 * is to be, that registry may know what we do not, and it stays for good unless the configuration says otherwise.
 */
export async function orphanGraceMs(session: Session, config: LifecycleParts['config']): Promise<number | undefined> {
  const { scrubOrphans, storageDir, layoutCompatible, collectionGraceSeconds } = config;
  if (scrubOrphans === 'keep') return undefined;
  const isOurs = async () => storageDir === '' && !layoutCompatible && (await findLastRun(session)) === undefined;
  return scrubOrphans === 'collect' || (await isOurs()) ? collectionGraceSeconds * 1000 : undefined;
}

/** Begins a pass at the next look, in place of one that is on its way. */
export async function requestPass(tx: Session, now: number): Promise<Pass> {
  const pass = newPass(await findPass(tx), now);
  await savePass(tx, pass);
  return pass;
}

/** Has a blob looked at as soon as possible, by somebody who met damage; gives the job. */
export async function suspectBlob(tx: Session, digest: string, now: number): Promise<number> {
  return await enqueue(tx, { kind: CHECK, key: digest, payload: { digest }, now });
}

/** Reads everything in a set time, looks at what is suspected, and tries to repair what is damaged. */
export function scrubJobs(parts: LifecycleParts): JobDefinition[] {
  const { database, blobs, clock, config, isBusy = () => false } = parts;
  const { scrubDays, scrubMibPerSecond } = config;
  const isDue = (pass: Pass | undefined) => pass === undefined || pass.startedAt + scrubDays * DAY_MS <= clock.now();

  async function begin(): Promise<Pass> {
    const last = await findPass(database);
    if (last && last.finishedAt === null) return last;
    const pass = newPass(last, clock.now());
    await database.write((tx) => savePass(tx, pass));
    return pass;
  }

  /** Tries each blob whose time has come; those that stay damaged wait twice as long as before. */
  async function repairAll(signal: AbortSignal): Promise<{ repaired: number; damaged: number }> {
    const result = { repaired: 0, damaged: 0 };
    for (let after = ''; ; ) {
      const due = await damagedToCheck(database, clock.now(), after, PAGE);
      for (const { digest, checks } of due) {
        signal.throwIfAborted();
        const stored = await findStored(database, digest);
        if (stored?.state !== 'live') {
          await database.write((tx) => liftQuarantine(tx, digest, 'collection', 'scrub', clock.now())); // it is gone, and so is its damage
          continue;
        }
        const source = await repairBlob(repairParts(parts), { digest, size: stored.size }, signal);
        if (source !== undefined) {
          result.repaired++;
          continue;
        }
        result.damaged++;
        const pause = Math.min(REPAIR_FIRST_MS * 2 ** Math.min(checks + 1, 20), REPAIR_MOST_MS);
        await database.write((tx) => postponeRepair(tx, digest, checks + 1, clock.now() + pause));
      }
      after = due.at(-1)?.digest ?? after;
      if (due.length < PAGE) return result;
    }
  }

  return [
    {
      kind: SCRUB,
      schedule: { everyMs: LOOK_MS },
      maxAttempts: Number.POSITIVE_INFINITY,
      async ready() {
        const pass = await findPass(database);
        return pass?.finishedAt === null || (scrubDays > 0 && isDue(pass));
      },
      async run(_, { signal, hold, progress }) {
        const pace = createPace({ bytesPerSecond: scrubMibPerSecond * 2 ** 20, isBusy, signal });
        const save = (pass: Pass, options: { durable: boolean }) =>
          database.write(async (tx) => {
            await hold(tx);
            if ((await findPass(tx))?.number !== pass.number) throw new Replaced();
            await savePass(tx, pass);
          }, options);
        const context = { pace, signal, save, progress, orphanGraceMs: await orphanGraceMs(database, config) };
        try {
          return await scrub({ ...repairParts(parts), ...context }, await begin());
        } catch (error) {
          if (error instanceof Replaced) return { replaced: true };
          throw error;
        }
      },
    },
    {
      kind: CHECK,
      async run(payload, { signal }) {
        const { digest } = payload as { digest: string };
        const stored = await findLinkedBlob(database, digest);
        if (!stored) return { verdict: 'gone' };
        const blob = { digest, size: stored.size };
        const fault = await examine(blobs, blob, { pace: UNPACED, signal }).catch((error: unknown) => {
          if (!(error instanceof ArchivedBlob)) throw error;
          return ARCHIVED;
        });
        if (fault === ARCHIVED) return { verdict: ARCHIVED };
        if (fault === undefined) return { verdict: 'sound' };
        return { verdict: await quarantine(repairParts(parts), blob, fault, signal), ...fault };
      },
    },
    {
      kind: 'scrub.repair',
      schedule: { everyMs: LOOK_MS },
      ready: async () => (await damagedToCheck(database, clock.now(), '', 1)).length > 0,
      run: (_, { signal }) => repairAll(signal),
    },
  ];
}
