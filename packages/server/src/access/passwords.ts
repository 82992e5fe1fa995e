import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';
import { hash, verify } from '@node-rs/argon2';
import { LRUCache } from 'lru-cache';
import { AppError, type Session } from '../platform/index.ts';
import type { Throttle } from './local/throttle.ts';
import type { LdapLogins } from './providers/ldap-logins.ts';
import { findUser, isUserName, type User } from './users.ts';

/** OWASP's recommendation for argon2id, the library's default algorithm: 19 MiB, two passes, one lane. */
const ARGON2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/** Verifications that may run or wait at once; past that the answer is 429, so that guessing cannot exhaust memory or threads. */
const MAX_WAITING = 64;
const MAX_RUNNING = 2;
const REMEMBER_MS = 60_000;

export const PASSWORD_MIN_LENGTH = 12;
export const PASSWORD_MAX_LENGTH = 256;

export function isAcceptablePassword(password: string): boolean {
  return password.length >= PASSWORD_MIN_LENGTH && password.length <= PASSWORD_MAX_LENGTH;
}

export function hashPassword(password: string): Promise<string> {
  return hash(password, ARGON2);
}

/** A password of 130 bits that can be read aloud and pasted into a shell. */
export function randomPassword(): string {
  const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';
  return Array.from(randomBytes(26), (byte) => alphabet[byte % 32]).join('');
}

export interface PasswordChecker {
  /** The enabled user of a name and password, or undefined. Takes as long for a name nobody has. Throws `too_many_requests` for who guesses. */
  check(name: string, password: string, client: string): Promise<CheckedUser | undefined>;
}

/** A user, and the provider that has proved it where that was not this server. */
export type CheckedUser = User & { readonly provider?: string };

/** Passwords of local users, and where there are directories, of those that these know. */
export function createPasswordChecker(session: Session, throttle: Throttle, directories?: LdapLogins): PasswordChecker {
  // Clients that insist on Basic send the password with every request: what argon2 accepted a moment ago is remembered
  // under a keyed hash, bound to the user's generation, and so is void as soon as the password changes. It is remembered for the
  // address that it came from: elsewhere a guess is slow.
  const key = createSecretKey(randomBytes(32));
  const remembered = new LRUCache<string, { name: string; generation: number; mac: Buffer; provider?: string }>({
    max: 2000,
    ttl: REMEMBER_MS,
  });
  let decoy: Promise<string> | undefined;
  let running = 0;
  const waiting: (() => void)[] = [];

  async function limited<T>(work: () => Promise<T>): Promise<T> {
    if (running >= MAX_RUNNING) {
      if (waiting.length >= MAX_WAITING) {
        throw new AppError('too_many_requests', 'too many logins at once', { headers: { 'Retry-After': '2' } });
      }
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    running++;
    try {
      return await work();
    } finally {
      running--;
      waiting.shift()?.();
    }
  }

  return {
    async check(name, password, client) {
      // A name outside the grammar is nobody's, and must not take room in the memory of rows.
      const user = isUserName(name) ? await findUser(session, name) : undefined;
      const mac = createHmac('sha256', key).update(`${name.length}:${name}${password}`).digest();
      if (password.length > PASSWORD_MAX_LENGTH) return undefined;
      const attempt = throttle.password({ name, user, password, client });
      if (!(await attempt.admit())) return undefined;
      const place = `${name} ${client}`;
      const known = remembered.get(place);
      if (known && timingSafeEqual(known.mac, mac)) {
        const same = known.name === name ? user : await findUser(session, known.name);
        if (same && !same.disabled && known.generation === same.generation) return checked(same, known.provider);
      }
      decoy ??= hashPassword(randomPassword());
      const target = user?.passwordHash || (await decoy);
      const local = await limited(async () => {
        if (!(await attempt.admit())) return 'refused'; // others may have guessed while this one waited
        const right = await verify(target, password, ARGON2);
        return right && user?.passwordHash !== '' && user?.disabled === false ? user : undefined;
      });
      if (local === 'refused') return undefined;
      // No thread and no place in the queue is held while a directory is asked.
      const verdict = local === undefined ? await directories?.check(name, password, attempt.admit) : undefined;
      const found: CheckedUser | undefined = verdict?.kind === 'proved' ? checked(verdict.user, verdict.provider) : local;
      // What nobody could decide is no wrong guess: it may be right when the directory answers again.
      if (verdict?.kind !== 'unknown' || verdict.isLocal) await attempt.settle(found !== undefined);
      if (verdict?.kind === 'unknown')
        throw new AppError('unavailable', 'a directory does not answer', { headers: { 'Retry-After': '5' } });
      if (found) {
        const { provider } = found;
        remembered.set(place, { name: found.name, generation: found.generation, mac, ...(provider === undefined ? {} : { provider }) });
      }
      return found;
    },
  };
}

function checked(user: User, provider: string | undefined): CheckedUser {
  return provider === undefined ? user : { ...user, provider };
}
