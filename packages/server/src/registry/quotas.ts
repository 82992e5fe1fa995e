import { projectOf } from '@entrepot/oci';
import {
  alertQuota,
  claimsOf,
  dropReservation,
  findLimits,
  findManifest,
  findRepository,
  findTag,
  holdsBlob,
  isAlertTold,
  keepReceived,
  type Limited,
  QUOTA_NAMES,
  quotaExceeded,
  type Room,
  RoomShort,
  renewReservations,
  reserve,
  takeReservation,
  type Usage,
} from '../catalog/index.ts';
import { AppError, newId, type Session } from '../platform/index.ts';
import type { Call } from './http.ts';
import type { RegistryParts } from './parts.ts';

const RENEW_MS = 5 * 60_000;
/** What a body of unknown length reserves beyond what has come: as much again, within bounds. */
const STEP_LEAST = 4 << 20;
const STEP_MOST = 128 << 20;
const NOTHING: Usage = { bytes: 0, repositories: 0, tags: 0 };

/** What one request may add to its project. */
export interface Hold {
  /** Its room, in the transaction of the change; undefined where the project has no limits. */
  take(tx: Session): Promise<Room | undefined>;
  /** Runs the change; where it adds more than was reserved, it is run once more with room for as much as it may add. */
  change<T>(most: Partial<Usage>, run: () => Promise<T>): Promise<T>;
  /** Reserves for a body of unknown length as it comes. */
  guard(chunks: AsyncIterable<Buffer>): AsyncIterable<Buffer>;
  /** Gives back what no change took; a session keeps what it has received. */
  release(received?: number): Promise<void>;
}

/** Where no limits are, nothing is held. */
const FREE: Hold = {
  take: () => Promise.resolve(undefined),
  change: (_, run) => run(),
  guard: (chunks) => chunks,
  release: () => Promise.resolve(),
};

interface Wish {
  readonly wanted: Usage;
  /** Of an upload session: its id, and what it has received. */
  readonly session?: { readonly id: string; readonly received: number };
}

export interface Quotas {
  /** Throws `quota_exceeded` where not one byte more has room: before a client sends any. */
  requireSome(call: Call): Promise<void>;
  /** Reserves for a blob, which adds nothing where the project has it; of unknown length as it comes. */
  forBlob(call: Call, digest: string, bytes: number | undefined): Promise<Hold>;
  /** Reserves for what comes to a session that has received so much. With a digest: as the last of it. */
  forSession(call: Call, session: { id: string; received: number }, bytes: number | undefined, digest?: string): Promise<Hold>;
  /** Reserves for what a manifest and its tags add. */
  forManifest(call: Call, manifest: { digest: string; bytes: number; tags: readonly string[] }): Promise<Hold>;
}

/** Room under the limits of projects, reserved before what needs it comes. A project without limits costs one row read from memory. */
export function createQuotas({ database, clock, holder }: Pick<RegistryParts, 'database' | 'clock' | 'holder'>): Quotas {
  let holds = 0;
  let timer: NodeJS.Timeout | undefined;

  const renew = () => {
    const work = (tx: Session) => renewReservations(tx, holder, clock.now());
    database.write(work, { durable: false, scope: [`reservations:${holder}`] }).catch(() => undefined); // the next one may come in time
  };
  function count(by: 1 | -1): void {
    holds += by;
    if (holds === 0) clearInterval(timer);
    if (holds === 1 && by === 1) timer = setInterval(renew, RENEW_MS).unref();
  }

  async function hold(call: Call, { projectId, limits }: Limited, { wanted, session }: Wish): Promise<Hold> {
    const id = session?.id ?? newId();
    const scope = [`reservation:${id}`];
    let kept = session?.received ?? 0;
    let got: Usage = NOTHING;
    let isReserved = false;
    let isTaken = false;
    const wasTaken = () => isTaken; // set by `take`, which the change calls

    async function reserveRoom(more: Usage, bytesMost = 0): Promise<void> {
      try {
        const bytes = await reserve(database, { id, projectId, holder, kept, wanted: more, bytesMost }, clock.now());
        got = { ...more, bytes };
        isReserved = true;
      } catch (error) {
        if (error instanceof AppError && error.code === 'quota_exceeded') await tell(call, projectId, error);
        throw error;
      }
    }

    const isLimited = (name: keyof Usage) => limits[name] !== null;
    const needsRoom = QUOTA_NAMES.some((name) => isLimited(name) && (wanted[name] > 0 || (name === 'bytes' && kept > 0)));
    if (needsRoom) await reserveRoom(wanted);
    count(1);
    let isOver = false;
    return {
      async take(tx) {
        isTaken = true;
        const room = isReserved ? await takeReservation(tx, id, clock.now()) : undefined;
        const left = (name: keyof Usage) => (isLimited(name) ? (room?.[name] ?? 0) : Number.POSITIVE_INFINITY);
        return { bytes: left('bytes'), repositories: left('repositories'), tags: left('tags') };
      },
      async change(most, run) {
        isTaken = false;
        const result = await run().catch(async (error: unknown) => {
          if (!(error instanceof RoomShort)) throw error;
          kept = 0;
          await reserveRoom({ ...NOTHING, ...most });
          isTaken = false;
          return await run();
        });
        if (wasTaken()) isReserved = false;
        return result;
      },
      async *guard(chunks) {
        let taken = 0;
        for await (const chunk of chunks) {
          taken += chunk.length;
          if (isLimited('bytes') && taken > got.bytes) {
            await reserveRoom({ ...got, bytes: taken }, taken + Math.min(Math.max(kept + taken, STEP_LEAST), STEP_MOST));
          }
          yield chunk;
        }
      },
      async release(received) {
        if (isOver) return;
        isOver = true;
        count(-1);
        if (!isReserved) return;
        const give = (tx: Session) => (received ? keepReceived(tx, id, received) : dropReservation(tx, id));
        await database.write(give, { durable: false, scope }).catch(() => undefined); // it lapses then
      },
    };
  }

  async function tell(call: Call, projectId: number, { detail }: AppError): Promise<void> {
    const { quota, used, limit } = detail as { quota: keyof Usage; used: number; limit: number };
    const alert = { projectId, quota, level: 'exceeded', used, limit, repository: call.name, by: call.actor } as const;
    if (await isAlertTold(database, alert)) return;
    await database.write((tx) => alertQuota(tx, alert, clock.now()), { scope: [`quota:${projectId}`] }).catch(() => undefined);
  }

  const find = (call: Call) => findLimits(database, projectOf(call.name));
  /** What the repository of a call adds. */
  const repositories = async (call: Call, { limits }: Limited) =>
    limits.repositories === null || (await findRepository(database, call.name)) ? 0 : 1;

  return {
    async requireSome(call) {
      const limited = await find(call);
      const limit = limited?.limits.bytes ?? null;
      if (!limited || limit === null) return;
      const { bytes: used } = await claimsOf(database, limited.projectId, clock.now());
      if (used < limit) return;
      const error = quotaExceeded('bytes', { limit, used, wanted: 1 });
      await tell(call, limited.projectId, error);
      throw error;
    },
    async forBlob(call, digest, bytes = 0) {
      const limited = await find(call);
      if (!limited) return FREE;
      const adds = (await holdsBlob(database, limited.projectId, digest)) ? 0 : bytes;
      return await hold(call, limited, { wanted: { bytes: adds, repositories: await repositories(call, limited), tags: 0 } });
    },
    async forSession(call, session, bytes = 0, digest) {
      const limited = await find(call);
      if (!limited) return FREE;
      const adds = digest !== undefined && (await holdsBlob(database, limited.projectId, digest)) ? 0 : bytes;
      const made = digest === undefined ? 0 : await repositories(call, limited);
      return await hold(call, limited, { wanted: { bytes: adds, repositories: made, tags: 0 }, session });
    },
    async forManifest(call, { digest, bytes, tags }) {
      const limited = await find(call);
      if (!limited) return FREE;
      const repository = await findRepository(database, call.name);
      const isThere = repository && (await findManifest(database, repository.id, digest));
      let fresh = 0;
      for (const tag of limited.limits.tags === null ? [] : tags)
        if (!repository || !(await findTag(database, repository.id, tag))) fresh++;
      const wanted = { bytes: isThere ? 0 : bytes, repositories: await repositories(call, limited), tags: fresh };
      return await hold(call, limited, { wanted });
    },
  };
}
