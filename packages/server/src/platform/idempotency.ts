import { createHash } from 'node:crypto';
import { type Migration, queriesOf, type Session } from './database/index.ts';
import { AppError } from './errors.ts';

interface IdempotencyTables {
  idempotency: { key: string; fingerprint: string; answer: string; created_at: number };
}

export const idempotencyMigrations: readonly Migration[] = [
  {
    name: '0001-idempotency',
    up: ({ db }) => [
      db.schema
        .createTable('idempotency')
        .addColumn('key', 'text', (c) => c.primaryKey())
        .addColumn('fingerprint', 'text', (c) => c.notNull())
        .addColumn('answer', 'text', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull()),
      db.schema.createIndex('idempotency_age').on('idempotency').columns(['created_at']),
    ],
  },
];

const query = queriesOf<IdempotencyTables>('idempotency');
const findAnswer = query<{ key: string }>()('findAnswer', (db, p) =>
  db.selectFrom('idempotency').select(['fingerprint', 'answer']).where('key', '=', p('key')),
);
const insertAnswer = query<{ key: string; fingerprint: string; answer: string; now: number }>()('insertAnswer', (db, p) =>
  db.insertInto('idempotency').values({ key: p('key'), fingerprint: p('fingerprint'), answer: p('answer'), created_at: p('now') }),
);
const deleteOld = query<{ before: number }>()('deleteOldAnswers', (db, p) =>
  db.deleteFrom('idempotency').where('created_at', '<', p('before')),
);

const KEPT_MS = 24 * 3_600_000;
const KEY = /^[\x21-\x7e]{1,255}$/;

/** What a request was answered before, as far as a repetition may see it. */
export interface Replay {
  readonly status: number;
  readonly body: unknown;
  readonly etag?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** An `Idempotency-Key` as it is stored: bound to who sent it and to the route, and unreadable. */
export interface RequestKey {
  readonly key: string;
  /** Of the whole request: the same key for another one is a mistake. */
  readonly fingerprint: string;
}

/** Throws `bad_request` for a key outside the grammar. */
export function requestKey(given: string, request: { caller: string; route: string; input: unknown }): RequestKey {
  if (!KEY.test(given)) throw new AppError('bad_request', 'an Idempotency-Key has 1 to 255 printable ASCII characters');
  const hash = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('base64url');
  return { key: hash([request.caller, request.route, given]), fingerprint: hash(request.input) };
}

/** The answer to an earlier request of the same key. Throws `idempotency_mismatch` where that was another request. */
export async function findReplay(session: Session, { key, fingerprint }: RequestKey): Promise<Replay | undefined> {
  const known = await session.first(findAnswer, { key });
  if (!known) return undefined;
  if (known.fingerprint !== fingerprint) throw new AppError('idempotency_mismatch', 'this Idempotency-Key was used for another request');
  return JSON.parse(known.answer) as Replay;
}

/** Remembers an answer for 24 hours, in the transaction of the change. */
export async function saveReplay(tx: Session, { key, fingerprint }: RequestKey, answer: Replay, now: number): Promise<void> {
  await tx.run(deleteOld, { before: now - KEPT_MS });
  await tx.run(insertAnswer, { key, fingerprint, answer: JSON.stringify(answer), now });
}
