import { AppError, queriesOf, type Session } from '../../platform/index.ts';
import { touchAccess } from '../rules.ts';
import type { MachineTables } from './schema.ts';

const query = queriesOf<MachineTables>('machines');
const COLUMNS = [
  'id',
  'robot_id as robotId',
  'kid',
  'jwk',
  'audience',
  'expires_at as expiresAt',
  'created_at as createdAt',
  'created_by as createdBy',
] as const;

const keyById = query<{ id: number }>()('robotKeyById', (db, p) => db.selectFrom('robot_key').select(COLUMNS).where('id', '=', p('id')));
const keyByKid = query<{ kid: string }>()('robotKeyByKid', (db, p) =>
  db.selectFrom('robot_key').select(COLUMNS).where('kid', '=', p('kid')),
);
const keysOf = query<{ robotId: number }>()('robotKeysOf', (db, p) =>
  db.selectFrom('robot_key').select(COLUMNS).where('robot_id', '=', p('robotId')).orderBy('id'),
);
const insertKey = query<{
  robotId: number;
  kid: string;
  jwk: string;
  audience: string;
  expiresAt: number | null;
  now: number;
  by: string;
}>()('insertRobotKey', (db, p) =>
  db
    .insertInto('robot_key')
    .values({
      robot_id: p('robotId'),
      kid: p('kid'),
      jwk: p('jwk'),
      audience: p('audience'),
      expires_at: p('expiresAt'),
      created_at: p('now'),
      created_by: p('by'),
    })
    .returning('id'),
);
const deleteKey = query<{ id: number }>()('deleteRobotKey', (db, p) => db.deleteFrom('robot_key').where('id', '=', p('id')));
const deleteKeysOf = query<{ robotId: number }>()('deleteRobotKeysOf', (db, p) =>
  db.deleteFrom('robot_key').where('robot_id', '=', p('robotId')),
);

/** The public half of a service-account key file. */
export interface RobotKey {
  readonly id: number;
  readonly robotId: number;
  readonly kid: string;
  /** JSON Web Key. */
  readonly jwk: string;
  /** Whom what it signs must be for. */
  readonly audience: string;
  /** Milliseconds since 1970; null: never. */
  readonly expiresAt: number | null;
  readonly createdAt: number;
  readonly createdBy: string;
}

const MAX_KEYS = 10;

/** A key that counts now, by its number or by the id that headers name. */
export async function findRobotKey(
  session: Session,
  by: { readonly id: number } | { readonly kid: string },
  now: number,
): Promise<RobotKey | undefined> {
  const key = 'id' in by ? await session.first(keyById, by) : await session.first(keyByKid, by);
  return key && (key.expiresAt === null || key.expiresAt > now) ? key : undefined;
}

export async function robotKeysOf(session: Session, robotId: number): Promise<RobotKey[]> {
  return await session.all(keysOf, { robotId });
}

/** A key of a robot. Throws `not_found` where it has none of that number. */
export async function requireRobotKey(session: Session, robotId: number, id: number): Promise<RobotKey> {
  const key = await session.first(keyById, { id });
  if (key?.robotId !== robotId) throw new AppError('not_found', `there is no key ${id}`);
  return key;
}

export async function addRobotKey(
  tx: Session,
  key: Omit<RobotKey, 'id' | 'createdAt' | 'createdBy'> & { readonly by: string; readonly now: number },
): Promise<RobotKey> {
  const { robotId } = key;
  if ((await tx.all(keysOf, { robotId })).length >= MAX_KEYS) throw new AppError('conflict', `a robot has at most ${MAX_KEYS} keys`);
  const made = await tx.first(insertKey, key);
  if (!made) throw new Error('an inserted key has no id');
  return await requireRobotKey(tx, robotId, made.id);
}

export async function deleteRobotKey(tx: Session, id: number): Promise<void> {
  await tx.run(deleteKey, { id });
  await touchAccess(tx);
}

/** Deletes all keys of a robot: part of its deletion. */
export async function dropRobotKeysOf(tx: Session, robotId: number): Promise<void> {
  await tx.run(deleteKeysOf, { robotId });
}
