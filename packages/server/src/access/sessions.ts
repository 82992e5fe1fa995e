import { createHash, randomBytes } from 'node:crypto';
import type { Generated } from 'kysely';
import { type AuditOrigin, type Database, type Migration, queriesOf, type Session } from '../platform/index.ts';
import { type Authenticator, identityOf } from './identity.ts';

interface SessionTables {
  /** Logins of the console. */
  session: {
    id: Generated<number>;
    /** SHA-256 of the cookie's value, in hex. */
    hash: string;
    user_id: number;
    /** The user's, at login. */
    generation: number;
    /** What proved the identity: `local`, or the name of a provider. */
    provider: string;
    created_at: number;
    last_seen_at: number;
    expires_at: number;
    client: string;
    user_agent: string;
  };
  user: { id: number; name: string; disabled: number; generation: number };
}

export const sessionMigrations: readonly Migration[] = [
  {
    name: '0001-sessions',
    up: ({ db }) => [
      db.schema
        .createTable('session')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('hash', 'text', (c) => c.notNull().unique())
        .addColumn('user_id', 'integer', (c) => c.notNull().references('user.id'))
        .addColumn('generation', 'integer', (c) => c.notNull())
        .addColumn('provider', 'text', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('last_seen_at', 'bigint', (c) => c.notNull())
        .addColumn('expires_at', 'bigint', (c) => c.notNull())
        .addColumn('client', 'text', (c) => c.notNull())
        .addColumn('user_agent', 'text', (c) => c.notNull()),
      db.schema.createIndex('session_user').on('session').columns(['user_id', 'id']),
      db.schema.createIndex('session_expiry').on('session').columns(['expires_at']),
    ],
  },
];

const query = queriesOf<SessionTables>('access');

const insertSession = query<{
  hash: string;
  userId: number;
  generation: number;
  provider: string;
  now: number;
  expires: number;
  client: string;
  userAgent: string;
}>()('insertSession', (db, p) =>
  db
    .insertInto('session')
    .values({
      hash: p('hash'),
      user_id: p('userId'),
      generation: p('generation'),
      provider: p('provider'),
      created_at: p('now'),
      last_seen_at: p('now'),
      expires_at: p('expires'),
      client: p('client'),
      user_agent: p('userAgent'),
    })
    .returning('id'),
);
const sessionByHash = query<{ hash: string }>()('sessionByHash', (db, p) =>
  db
    .selectFrom('session')
    .innerJoin('user', 'user.id', 'session.user_id')
    .select([
      'session.id',
      'session.generation',
      'session.last_seen_at as lastSeenAt',
      'session.expires_at as expiresAt',
      'user.id as userId',
      'user.name as userName',
      'user.disabled',
      'user.generation as userGeneration',
    ])
    .where('session.hash', '=', p('hash')),
);
const sessionsOf = query<{ userId: number; now: number; seenAfter: number }>()('sessionsOf', (db, p) =>
  db
    .selectFrom('session')
    .innerJoin('user', (join) =>
      join.onRef('user.id', '=', 'session.user_id').onRef('user.generation', '=', 'session.generation').on('user.disabled', '=', 0),
    )
    .select([
      'session.id',
      'session.provider',
      'session.created_at as createdAt',
      'session.last_seen_at as lastSeenAt',
      'session.expires_at as expiresAt',
      'session.client',
      'session.user_agent as userAgent',
    ])
    .where('session.user_id', '=', p('userId'))
    .where('session.expires_at', '>', p('now'))
    .where('session.last_seen_at', '>', p('seenAfter'))
    .orderBy('session.id', 'desc'),
);
const touchSession = query<{ id: number; now: number; before: number }>()('touchSession', (db, p) =>
  db
    .updateTable('session')
    .set({ last_seen_at: p('now') })
    .where('id', '=', p('id'))
    .where('last_seen_at', '<=', p('before')),
);
const deleteSession = query<{ id: number; userId: number }>()('deleteSession', (db, p) =>
  db.deleteFrom('session').where('id', '=', p('id')).where('user_id', '=', p('userId')),
);
const deleteSessionsOf = query<{ userId: number; except: number }>()('deleteSessionsOf', (db, p) =>
  db.deleteFrom('session').where('user_id', '=', p('userId')).where('id', '!=', p('except')),
);
const deleteExpired = query<{ now: number }>()('deleteExpiredSessions', (db, p) =>
  db.deleteFrom('session').where('expires_at', '<=', p('now')),
);
const deleteOldest = query<{ userId: number; kept: number }>()('deleteOldestSessions', (db, p) =>
  db
    .deleteFrom('session')
    .where('user_id', '=', p('userId'))
    .where('id', 'not in', (eb) =>
      eb
        .selectFrom('session as newest')
        .select('newest.id')
        .where('newest.user_id', '=', p('userId'))
        .orderBy('newest.id', 'desc')
        .limit(p('kept')),
    ),
);

const COOKIE = 'entrepot_session';
const VALUE = /^[A-Za-z0-9_-]{43}$/;
const SECRET_BYTES = 32;
const MINUTE_MS = 60_000;
/** Sessions one user may have; the oldest end first. */
const MAX_SESSIONS = 50;

/** A session as its owner and administrators see it. */
export interface SessionView {
  readonly id: number;
  readonly provider: string;
  readonly createdAt: number;
  readonly lastSeenAt: number;
  readonly expiresAt: number;
  readonly client: string;
  readonly userAgent: string;
}

export interface NewSession {
  /** As it was when the proof was checked: a change since then makes a session that is void. */
  readonly user: { readonly id: number; readonly generation: number };
  /** `local`, or the name of the provider that proved the identity. */
  readonly provider: string;
  readonly origin: AuditOrigin;
  readonly now: number;
}

export interface Sessions {
  /** Makes a session, and gives its id and the value of its cookie, which is known to nobody else. */
  create(tx: Session, session: NewSession): Promise<{ id: number; cookie: string }>;
  /** `Set-Cookie` for a value; `baseUrl` says whether the client speaks https. */
  setCookie(value: string, baseUrl: string): string;
  /** `Set-Cookie` that ends the session in the browser. */
  clearCookie(baseUrl: string): string;
  /** Knows the cookie. One that is void is nobody's, as a browser sends it also with a new login. */
  readonly authenticate: Authenticator;
  /** Sessions of a user that would be accepted, the newest first. */
  list(session: Session, userId: number, now: number): Promise<SessionView[]>;
}

interface Options {
  readonly database: Database;
  readonly now: () => number;
  /** Without a request for so long it ends. */
  readonly idleMinutes: number;
  /** So long after login it ends in any case. */
  readonly maxHours: number;
}

/**
 * Logins of the console: an unguessable cookie, of which only the hash is stored. A session is void as soon as its user is
 * disabled or deleted or has other credentials (the generation rises); what it may do is asked anew at each request.
 */
export function createSessions({ database, now, idleMinutes, maxHours }: Options): Sessions {
  const idleMs = idleMinutes * MINUTE_MS;
  const touching = new Set<number>();

  /** Notes that a session is in use, at most once a minute, and keeps nobody waiting for it. */
  function touch(id: number, at: number): void {
    if (touching.has(id)) return;
    touching.add(id);
    database
      .write(async (tx) => await tx.run(touchSession, { id, now: at, before: at - MINUTE_MS }), { durable: false, scope: [] })
      .catch(() => undefined) // tried again with the next request
      .finally(() => touching.delete(id));
  }

  return {
    async create(tx, { user, provider, origin: { client, userAgent }, now: at }) {
      const cookie = randomBytes(SECRET_BYTES).toString('base64url');
      await tx.run(deleteExpired, { now: at });
      const made = await tx.first(insertSession, {
        hash: hashOf(cookie),
        userId: user.id,
        generation: user.generation,
        provider,
        now: at,
        expires: at + maxHours * 60 * MINUTE_MS,
        client,
        userAgent,
      });
      if (!made) throw new Error('an inserted session has no id');
      await tx.run(deleteOldest, { userId: user.id, kept: MAX_SESSIONS });
      return { id: made.id, cookie };
    },
    setCookie: (value, baseUrl) => `${COOKIE}=${value}; Path=/; HttpOnly; SameSite=Lax${secure(baseUrl)}`,
    clearCookie: (baseUrl) => `${COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0${secure(baseUrl)}`,

    async authenticate(proof, origin) {
      const value = proof.scheme === 'cookie' ? cookieValue(proof.cookie) : undefined;
      if (value === undefined) return undefined;
      const row = await database.first(sessionByHash, { hash: hashOf(value) });
      if (!row || row.disabled === 1 || row.generation !== row.userGeneration) return undefined;
      const at = now();
      if (row.expiresAt <= at || row.lastSeenAt + idleMs <= at) return undefined;
      if (row.lastSeenAt + MINUTE_MS <= at) touch(row.id, at);
      const user = { kind: 'user', id: row.userId, name: row.userName, generation: row.userGeneration } as const;
      return identityOf(user, { kind: 'session', id: String(row.id) }, origin);
    },

    async list(session, userId, at) {
      return await session.all(sessionsOf, { userId, now: at, seenAfter: at - idleMs });
    },
  };
}

/** Ends one session of a user; false if the user has none of that id. */
export async function endSession(tx: Session, userId: number, id: number): Promise<boolean> {
  return (await tx.run(deleteSession, { id, userId })) === 1;
}

/** Ends all sessions of a user, but for one where named, and gives their number. */
export async function endSessions(tx: Session, userId: number, except = 0): Promise<number> {
  return await tx.run(deleteSessionsOf, { userId, except });
}

function hashOf(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

function secure(baseUrl: string): string {
  return baseUrl.startsWith('https:') ? '; Secure' : '';
}

/** The cookie's value among all that a browser sends; undefined where a neighbouring site has planted a second one. */
function cookieValue(header: string): string | undefined {
  const values = header
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part.startsWith(`${COOKIE}=`))
    .map((part) => part.slice(COOKIE.length + 1));
  const [value = ''] = values;
  return values.length === 1 && VALUE.test(value) ? value : undefined;
}
