import { setTimeout as delay } from 'node:timers/promises';
import { type Database, newId, queriesOf, type Session } from '../../platform/index.ts';
import type { AdoptionTables } from './schema.ts';

const query = queriesOf<AdoptionTables>('adoption');

const takeLease = query<{ holder: string; who: string; now: number; until: number }>()('takeLease', (db, p) =>
  db
    .insertInto('adoption_lease')
    .values({ id: 1, holder: p('holder'), who: p('who'), run_id: null, taken_at: p('now'), held_until: p('until') })
    .onConflict((conflict) =>
      conflict
        .column('id')
        .doUpdateSet((eb) => ({
          holder: eb.ref('excluded.holder'),
          who: eb.ref('excluded.who'),
          run_id: eb.ref('excluded.run_id'),
          taken_at: eb.ref('excluded.taken_at'),
          held_until: eb.ref('excluded.held_until'),
        }))
        .where('adoption_lease.held_until', '<=', p('now')),
    ),
);
const renewLease = query<{ holder: string; until: number }>()('renewLease', (db, p) =>
  db
    .updateTable('adoption_lease')
    .set({ held_until: p('until') })
    .where('holder', '=', p('holder')),
);
const leaseForRun = query<{ holder: string; runId: number }>()('leaseForRun', (db, p) =>
  db
    .updateTable('adoption_lease')
    .set({ run_id: p('runId') })
    .where('holder', '=', p('holder')),
);
const endLease = query<{ holder: string }>()('endLease', (db, p) => db.deleteFrom('adoption_lease').where('holder', '=', p('holder')));
const endAnyLease = query()('endAnyLease', (db) => db.deleteFrom('adoption_lease'));
const leaseRow = query()('lease', (db) =>
  db.selectFrom('adoption_lease').select(['who', 'run_id as runId', 'taken_at as takenAt', 'held_until as heldUntil']).where('id', '=', 1),
);

/** A process that gave no sign of life for so long is no more. */
const LEASE_MS = 20_000;

export interface LeaseOptions {
  /** Who is told to others, such as an account and a host. */
  readonly who: string;
  /** Nobody else can be at it, as something else keeps them off: whatever is noted is left from a process that is no more. */
  readonly isAlone: boolean;
  readonly leaseMs?: number;
}

/** What a run of adoption has of the lease. */
export interface Held {
  /** Throws, and so undoes the transaction, where somebody else has the lease. */
  hold(tx: Session): Promise<void>;
  /** Says which run it is for, in the transaction that begins it or goes on with it. */
  isFor(tx: Session, runId: number): Promise<void>;
  /** Aborted where somebody else has it. */
  readonly signal: AbortSignal;
}

class Lost extends Error {
  override name = 'Lost';
  override message = 'another adoption has taken over on this database; what this one did is kept';
}

/**
 * Runs an adoption as the only one on the database, whatever host the others are on. Throws where another is at work; one that
 * was killed is waited for, until its lease has run out. Times are those of the database's clock.
 */
export async function asOnlyAdoption<T>(
  database: Database,
  { who, isAlone, leaseMs = LEASE_MS }: LeaseOptions,
  work: (held: Held) => Promise<T>,
): Promise<T> {
  const holder = newId();
  const until = () => database.clock.now() + leaseMs;
  await take(database, { holder, who, isAlone, leaseMs });
  const lost = new AbortController();
  const hold = async (tx: Session) => {
    if ((await tx.run(renewLease, { holder, until: until() })) === 0) throw new Lost();
  };
  const timer = setInterval(() => {
    // A database that does not answer for a moment is no loss, as long as the lease lasts.
    database.write(hold, { durable: false, scope: [] }).catch((error: unknown) => error instanceof Lost && lost.abort(error));
  }, leaseMs / 5);
  try {
    return await work({ hold, isFor: async (tx, runId) => void (await tx.run(leaseForRun, { holder, runId })), signal: lost.signal });
  } finally {
    clearInterval(timer);
    await database.write((tx) => Promise.resolve(tx.run(endLease, { holder }))).catch(() => undefined); // else it runs out
  }
}

async function take(database: Database, { holder, who, isAlone, leaseMs }: LeaseOptions & { holder: string; leaseMs: number }) {
  let first: number | undefined;
  for (;;) {
    const taken = await database.write(async (tx) => {
      if (isAlone) await tx.run(endAnyLease, {});
      const now = database.clock.now();
      return (await tx.run(takeLease, { holder, who, now, until: now + leaseMs })) === 1;
    });
    if (taken) return;
    const other = await database.first(leaseRow, {});
    if (!other) continue; // it has just ended
    first ??= other.heldUntil;
    // It was renewed while we watched.
    if (other.heldUntil !== first) throw new Error(refusal(other));
    await delay(leaseMs / 20);
  }
}

function refusal({ who, takenAt }: { who: string; takenAt: number }): string {
  return `an adoption is at work on this database, begun by ${who} at ${new Date(takenAt).toISOString()}; wait for its end`;
}

/** Who is at work on a run now, as far as a sign of life tells. */
export async function atWorkOn(session: Session, runId: number, now: number): Promise<string | undefined> {
  const lease = await session.first(leaseRow, {});
  return lease && lease.runId === runId && lease.heldUntil > now ? lease.who : undefined;
}
