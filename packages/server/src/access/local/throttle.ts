import { createHmac } from 'node:crypto';
import ipaddr from 'ipaddr.js';
import { AppError, type Database, type Migration, queriesOf } from '../../platform/index.ts';
import { hasSecondFactor } from './second-factor.ts';

interface ThrottleTables {
  /** What was guessed wrong of late. */
  login_failure: {
    /** Of an account and an address, or of an address: a keyed hash, as people type passwords where names belong. */
    key: string;
    /** Wrong guesses, less what time has forgiven; as it was at the last one. */
    level: number;
    last_at: number;
    /** Keyed hashes of the last wrong guesses. */
    guesses: string;
  };
  /** From where users have logged in with a password. */
  login_source: { user_id: number; source: string; last_at: number };
}

export const throttleMigrations: readonly Migration[] = [
  {
    name: '0001-login-failures',
    up: ({ db }) => [
      db.schema
        .createTable('login_failure')
        .addColumn('key', 'text', (c) => c.primaryKey())
        .addColumn('level', 'double precision', (c) => c.notNull())
        .addColumn('last_at', 'bigint', (c) => c.notNull())
        .addColumn('guesses', 'text', (c) => c.notNull()),
      db.schema.createIndex('login_failure_age').on('login_failure').columns(['last_at']),
      db.schema
        .createTable('login_source')
        .addColumn('user_id', 'integer', (c) => c.notNull().references('user.id'))
        .addColumn('source', 'text', (c) => c.notNull())
        .addColumn('last_at', 'bigint', (c) => c.notNull())
        .addPrimaryKeyConstraint('login_source_pk', ['user_id', 'source']),
    ],
  },
];

const query = queriesOf<ThrottleTables>('access');

const failureByKey = query<{ key: string }>()('loginFailure', (db, p) =>
  db.selectFrom('login_failure').select(['level', 'last_at as lastAt', 'guesses']).where('key', '=', p('key')),
);
const upsertFailure = query<{ key: string; level: number; now: number; guesses: string }>()('upsertLoginFailure', (db, p) =>
  db
    .insertInto('login_failure')
    .values({ key: p('key'), level: p('level'), last_at: p('now'), guesses: p('guesses') })
    .onConflict((conflict) =>
      conflict.column('key').doUpdateSet((eb) => ({
        level: eb.ref('excluded.level'),
        last_at: eb.ref('excluded.last_at'),
        guesses: eb.ref('excluded.guesses'),
      })),
    ),
);
const deleteForgiven = query<{ before: number }>()('deleteForgivenFailures', (db, p) =>
  db.deleteFrom('login_failure').where('last_at', '<', p('before')),
);
const sourceOfUser = query<{ userId: number; source: string }>()('loginSource', (db, p) =>
  db.selectFrom('login_source').select('last_at as lastAt').where('user_id', '=', p('userId')).where('source', '=', p('source')),
);
const upsertSource = query<{ userId: number; source: string; now: number }>()('upsertLoginSource', (db, p) =>
  db
    .insertInto('login_source')
    .values({ user_id: p('userId'), source: p('source'), last_at: p('now') })
    .onConflict((conflict) => conflict.columns(['user_id', 'source']).doUpdateSet((eb) => ({ last_at: eb.ref('excluded.last_at') }))),
);
const trimSources = query<{ userId: number; kept: number }>()('trimLoginSources', (db, p) =>
  db
    .deleteFrom('login_source')
    .where('user_id', '=', p('userId'))
    .where('source', 'not in', (eb) =>
      eb
        .selectFrom('login_source as newest')
        .select('newest.source')
        .where('newest.user_id', '=', p('userId'))
        .orderBy('newest.last_at', 'desc')
        .limit(p('kept')),
    ),
);
const deleteSources = query<{ userId: number }>()('deleteLoginSources', (db, p) =>
  db.deleteFrom('login_source').where('user_id', '=', p('userId')),
);

/** How wrong guesses of one kind are taken. */
interface Patience {
  /** So many cost nothing; after each further one the wait doubles, from five seconds up to the most. */
  readonly free: number;
  readonly mostMs: number;
  /** One is forgiven each time so long has passed. */
  readonly forgivenMs: number;
}

const MINUTE_MS = 60_000;
/** Of one account, from an address where it never logged in. */
const STRANGER: Patience = { free: 5, mostMs: 15 * MINUTE_MS, forgivenMs: 10 * MINUTE_MS };
/** Of one account, from where it has logged in: a stranger behind the same address must not lock the owner out, so the wait stays short. */
const AT_HOME: Patience = { free: 100, mostMs: 10_000, forgivenMs: 36_000 };
/** Of one address, over all accounts that never logged in from there. */
const SOURCE: Patience = { free: 30, mostMs: 15 * MINUTE_MS, forgivenMs: MINUTE_MS };
/** Of one account's second factor: whoever guesses these has the password. */
const CODE: Patience = { free: 5, mostMs: 15 * MINUTE_MS, forgivenMs: 10 * MINUTE_MS };
const FIRST_WAIT_MS = 5000;
const FORGOTTEN_MS = 2 * 60 * MINUTE_MS;
const GUESSES_KEPT = 8;
/** Codes of one user that may wait to be looked at. */
const MAX_WAITING = 10;
const SOURCES_KEPT = 20;
const SOURCE_RENEWED_MS = 24 * 60 * MINUTE_MS;

interface Bucket extends Patience {
  readonly key: string;
}

/** One try to prove who one is. */
export interface Attempt {
  /**
   * Asked right before the proof is looked at. Throws `too_many_requests` where it has to wait; false where this same proof was
   * wrong a moment ago, which teaches a guesser nothing and so counts no more: a program that goes on with an old password.
   */
  admit(): Promise<boolean>;
  /** Tells how it ended. */
  settle(right: boolean): Promise<void>;
}

export interface Throttle {
  /** A password for a name, whether or not there is such a user. */
  password(guess: { name: string; user: { id: number; generation: number } | undefined; password: string; client: string }): Attempt;
  /** Looks at a code of a user's second factor, which is right where that gives something. One at a time, as looking costs nothing. */
  code<T>(guess: { userId: number; client: string }, look: () => Promise<T | undefined>): Promise<T | undefined>;
}

interface Options {
  readonly database: Database;
  readonly key: Uint8Array;
  readonly now: () => number;
}

/**
 * Slows guessing down, over all ways to log in and all processes, as what was guessed lies in the database. What waits is the pair
 * of account and address, and the address; never an account as such, so a stranger's guesses lock nobody out elsewhere.
 */
export function createThrottle({ database, key, now }: Options): Throttle {
  const hash = (...parts: readonly (string | number)[]) =>
    createHmac('sha256', key).update(JSON.stringify(parts)).digest('base64url').slice(0, 22);

  async function isKnown(userId: number | undefined, source: string): Promise<boolean> {
    return userId !== undefined && (await database.first(sourceOfUser, { userId, source })) !== undefined;
  }

  /** Notes that a user has logged in from an address. */
  async function settleIn(userId: number, source: string): Promise<void> {
    const last = await database.first(sourceOfUser, { userId, source });
    if (last && last.lastAt > now() - SOURCE_RENEWED_MS) return;
    await database.write(
      async (tx) => {
        await tx.run(upsertSource, { userId, source, now: now() });
        await tx.run(trimSources, { userId, kept: SOURCES_KEPT });
      },
      { durable: false, scope: [`login-sources:${userId}`] },
    );
  }

  const turns = new Map<number, { last: Promise<unknown>; waiting: number }>();

  /** Runs work of one user behind what runs for that user already. */
  async function inTurn<T>(userId: number, work: () => Promise<T>): Promise<T> {
    const turn = turns.get(userId) ?? { last: Promise.resolve(), waiting: 0 };
    if (turn.waiting >= MAX_WAITING)
      throw new AppError('too_many_requests', 'too many logins at once', { headers: { 'Retry-After': '2' } });
    turns.set(userId, turn);
    turn.waiting++;
    const mine = turn.last.then(work);
    turn.last = mine.catch(() => undefined);
    try {
      return await mine;
    } finally {
      if (--turn.waiting === 0) turns.delete(userId);
    }
  }

  function attempt(buckets: () => Promise<readonly Bucket[]>, guess: (() => string) | undefined, succeed: () => Promise<void>): Attempt {
    return {
      async admit() {
        let wait = 0;
        for (const bucket of await buckets()) {
          const row = await database.first(failureByKey, { key: bucket.key });
          if (guess && row?.guesses.split(',').includes(guess())) return false;
          if (row) wait = Math.max(wait, row.lastAt + waitAfter(row.level, bucket) - now());
        }
        if (wait <= 0) return true;
        const headers = { 'Retry-After': String(Math.ceil(wait / 1000)) };
        throw new AppError('too_many_requests', 'too many wrong logins; wait before the next', { headers });
      },
      async settle(right) {
        if (right) return await succeed();
        const all = await buckets();
        const at = now();
        await database.write(
          async (tx) => {
            await tx.run(deleteForgiven, { before: at - FORGOTTEN_MS });
            for (const { key: name, forgivenMs } of all) {
              const row = await tx.first(failureByKey, { key: name });
              const level = row ? Math.max(0, row.level - (at - row.lastAt) / forgivenMs) : 0;
              const guesses = [...(guess ? [guess()] : []), ...(row?.guesses.split(',') ?? [])].slice(0, GUESSES_KEPT);
              await tx.run(upsertFailure, { key: name, level: level + 1, now: at, guesses: guesses.join(',') });
            }
          },
          { durable: false, scope: all.map(({ key: name }) => `login:${name}`) },
        );
      },
    };
  }

  return {
    password({ name, user, password, client }) {
      const source = sourceOf(client);
      const account = name.toLowerCase();
      const pair = hash('pair', account, source);
      const buckets = async () =>
        (await isKnown(user?.id, source))
          ? [{ key: pair, ...AT_HOME }]
          : [
              { key: pair, ...STRANGER },
              { key: hash('source', source), ...SOURCE },
            ];
      // Bound to the account: what is wrong for one may be right for another.
      const guess = () => hash('guess', account, user?.generation ?? 0, password);
      // With a second factor the password is half of a login only: whoever knows that is not at home yet.
      return attempt(buckets, guess, async () => {
        if (user && !(await hasSecondFactor(database, user.id))) await settleIn(user.id, source);
      });
    },

    async code({ userId, client }, look) {
      const source = sourceOf(client);
      const buckets = async () => {
        const where = (await isKnown(userId, source)) ? source : 'elsewhere';
        return [{ key: hash('code', userId, where), ...CODE }];
      };
      const one = attempt(buckets, undefined, () => settleIn(userId, source)); // what is wrong now may be right in an hour
      return await inTurn(userId, async () => {
        await one.admit();
        const found = await look();
        await one.settle(found !== undefined);
        return found;
      });
    },
  };
}

/** Forgets where a user has logged in from: part of its deletion. */
export async function dropLoginSources(tx: Pick<Database, 'run'>, userId: number): Promise<void> {
  await tx.run(deleteSources, { userId });
}

/** How long to wait after a wrong guess that made a level. */
function waitAfter(level: number, { free, mostMs }: Patience): number {
  return level < free ? 0 : Math.min(mostMs, FIRST_WAIT_MS * 2 ** Math.floor(level - free));
}

/** An address as far as it tells somebody from others: of IPv6 the network, as a customer has 2^64 addresses. */
export function sourceOf(client: string): string {
  if (!ipaddr.isValid(client)) return client;
  const address = ipaddr.process(client);
  if (address.kind() === 'ipv4') return address.toString();
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${address.toString()}/64`).toString()}/64`;
}
