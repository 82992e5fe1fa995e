import { createHmac, randomBytes } from 'node:crypto';
import { type Migration, queriesOf, type Seal, type Session } from '../../platform/index.ts';

interface SecondFactorTables {
  /** Time-based codes (RFC 6238). */
  totp: {
    user_id: number;
    seed: string;
    /** 0 until a first code has shown that the user's program knows the seed. */
    confirmed: number;
    /** Of the last code that was taken: no code counts twice. */
    last_step: number;
    created_at: number;
  };
  /** Codes for who has lost the program, each good for once. */
  recovery_code: { user_id: number; hash: string };
}

export const secondFactorMigrations: readonly Migration[] = [
  {
    name: '0001-second-factor',
    up: ({ db }) => [
      db.schema
        .createTable('totp')
        .addColumn('user_id', 'integer', (c) => c.primaryKey().references('user.id'))
        .addColumn('seed', 'text', (c) => c.notNull())
        .addColumn('confirmed', 'integer', (c) => c.notNull())
        .addColumn('last_step', 'bigint', (c) => c.notNull())
        .addColumn('created_at', 'bigint', (c) => c.notNull()),
      db.schema
        .createTable('recovery_code')
        .addColumn('user_id', 'integer', (c) => c.notNull().references('user.id'))
        .addColumn('hash', 'text', (c) => c.notNull())
        .addPrimaryKeyConstraint('recovery_code_pk', ['user_id', 'hash']),
    ],
  },
];

const query = queriesOf<SecondFactorTables>('access');

const totpOf = query<{ userId: number }>()('totpOf', (db, p) =>
  db.selectFrom('totp').select(['seed', 'confirmed', 'last_step as lastStep']).where('user_id', '=', p('userId')),
);
const insertTotp = query<{ userId: number; seed: string; now: number }>()('insertTotp', (db, p) =>
  db.insertInto('totp').values({ user_id: p('userId'), seed: p('seed'), confirmed: 0, last_step: 0, created_at: p('now') }),
);
const confirmTotp = query<{ userId: number }>()('confirmTotp', (db, p) =>
  db.updateTable('totp').set({ confirmed: 1 }).where('user_id', '=', p('userId')).where('confirmed', '=', 0),
);
const takeStep = query<{ userId: number; step: number }>()('takeTotpStep', (db, p) =>
  db
    .updateTable('totp')
    .set({ last_step: p('step') })
    .where('user_id', '=', p('userId'))
    .where('last_step', '<', p('step')),
);
const deleteTotp = query<{ userId: number }>()('deleteTotp', (db, p) => db.deleteFrom('totp').where('user_id', '=', p('userId')));
const insertCode = query<{ userId: number; hash: string }>()('insertRecoveryCode', (db, p) =>
  db.insertInto('recovery_code').values({ user_id: p('userId'), hash: p('hash') }),
);
const codeByHash = query<{ userId: number; hash: string }>()('recoveryCode', (db, p) =>
  db.selectFrom('recovery_code').select('hash').where('user_id', '=', p('userId')).where('hash', '=', p('hash')),
);
const countCodes = query<{ userId: number }>()('countRecoveryCodes', (db, p) =>
  db
    .selectFrom('recovery_code')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('user_id', '=', p('userId')),
);
const deleteCode = query<{ userId: number; hash: string }>()('deleteRecoveryCode', (db, p) =>
  db.deleteFrom('recovery_code').where('user_id', '=', p('userId')).where('hash', '=', p('hash')),
);
const deleteCodes = query<{ userId: number }>()('deleteRecoveryCodes', (db, p) =>
  db.deleteFrom('recovery_code').where('user_id', '=', p('userId')),
);

const SEED_BYTES = 20; // RFC 4226, section 4, requirement R6
const PERIOD_SECONDS = 30;
/** Steps before and after the present one whose codes are taken: clocks differ, and people type slowly (RFC 6238, section 5.2). */
const WINDOW = 1;
const RECOVERY_CODES = 10;
const ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789';

/** A code that is right, and what of it must be used up by whoever takes it. */
export type RightCode = { readonly step: number } | { readonly hash: string };

export interface SecondFactors {
  /** Begins: keeps a new seed that does not count yet, in place of one that was never confirmed. Gives it for the user's program. */
  begin(tx: Session, user: { id: number; name: string }, issuer: string, now: number): Promise<{ secret: string; uri: string }>;
  /** A right code of a user, be it of time or for recovery; undefined for any other. `unconfirmed`: of a seed that does not count yet. */
  check(session: Session, userId: number, code: string, now: number, options: { unconfirmed: boolean }): Promise<RightCode | undefined>;
  /** Uses a code up; false where somebody else was quicker. */
  take(tx: Session, userId: number, code: RightCode): Promise<boolean>;
  /** From now on the seed counts. False where it did before, or there is none. */
  confirm(tx: Session, userId: number): Promise<boolean>;
  /** New recovery codes in place of all there were. */
  recoveryCodes(tx: Session, userId: number): Promise<string[]>;
}

/** Whether a user's password alone is not enough. */
export async function hasSecondFactor(session: Session, userId: number): Promise<boolean> {
  return (await session.first(totpOf, { userId }))?.confirmed === 1;
}

export async function countRecoveryCodes(session: Session, userId: number): Promise<number> {
  return (await session.first(countCodes, { userId }))?.count ?? 0;
}

/** Takes the second factor from a user. */
export async function dropSecondFactor(tx: Session, userId: number): Promise<void> {
  await tx.run(deleteCodes, { userId });
  await tx.run(deleteTotp, { userId });
}

/** Codes by time, whose seeds lie sealed in the database, and recovery codes, of which it has keyed hashes. */
export function createSecondFactors({ seal, key }: { seal: Seal; key: Uint8Array }): SecondFactors {
  const placeOf = (userId: number) => `totp:${userId}`;
  const hashOf = (userId: number, code: string) => createHmac('sha256', key).update(`${userId}:${code}`).digest('hex');
  // Loaded when it is first needed: a registry that only moves images stays small.
  const library = () => import('otpauth');

  return {
    async begin(tx, { id: userId, name }, issuer, now) {
      const { Secret, TOTP } = await library();
      const bytes = randomBytes(SEED_BYTES);
      const secret = new Secret({ buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) });
      await tx.run(deleteTotp, { userId });
      await tx.run(insertTotp, { userId, seed: seal.seal(secret.base32, placeOf(userId)), now });
      return { secret: secret.base32, uri: new TOTP({ issuer, label: name, secret, period: PERIOD_SECONDS }).toString() };
    },

    async check(session, userId, code, now, { unconfirmed }) {
      const row = await session.first(totpOf, { userId });
      if (!row || (row.confirmed === 0) !== unconfirmed) return undefined;
      const typed = code.replace(/[\s-]/g, '');
      if (/^[0-9]{6}$/.test(typed)) {
        const { Secret, TOTP } = await library();
        const totp = new TOTP({ secret: Secret.fromBase32(seal.open(row.seed, placeOf(userId))), period: PERIOD_SECONDS });
        const away = totp.validate({ token: typed, timestamp: now, window: WINDOW });
        const step = away === null ? 0 : Math.floor(now / 1000 / PERIOD_SECONDS) + away;
        return step > row.lastStep ? { step } : undefined;
      }
      const hash = hashOf(userId, typed.toLowerCase());
      return unconfirmed ? undefined : await session.first(codeByHash, { userId, hash });
    },

    async take(tx, userId, code) {
      if ('step' in code) return (await tx.run(takeStep, { userId, step: code.step })) === 1;
      return (await tx.run(deleteCode, { userId, hash: code.hash })) === 1;
    },

    async confirm(tx, userId) {
      return (await tx.run(confirmTotp, { userId })) === 1;
    },

    async recoveryCodes(tx, userId) {
      await tx.run(deleteCodes, { userId });
      const codes = Array.from({ length: RECOVERY_CODES }, randomCode);
      for (const code of codes) await tx.run(insertCode, { userId, hash: hashOf(userId, code.replaceAll('-', '')) });
      return codes;
    },
  };
}

/** 80 bits as `xxxx-xxxx-xxxx-xxxx`. */
function randomCode(): string {
  const text = Array.from(randomBytes(16), (byte) => ALPHABET[byte % ALPHABET.length]).join('');
  return text.replace(/.{4}(?=.)/g, '$&-');
}
