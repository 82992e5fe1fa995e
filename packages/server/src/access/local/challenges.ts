import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const RANDOM_BYTES = 16;
const TIME_BYTES = 6;
const MAC_BYTES = 16;
const LIFETIME_MS = 5 * 60_000;

/** Challenges that carry their own proof, so that asking for one stores nothing. */
export interface Challenges {
  /** A challenge for one purpose, such as `login` or `register:7`, good for five minutes. */
  make(purpose: string, now: number): string;
  /** When a challenge ends; undefined for one that is not of this purpose, or has ended. */
  expiry(challenge: string, purpose: string, now: number): number | undefined;
}

export function createChallenges(key: Uint8Array): Challenges {
  const macOf = (purpose: string, head: Buffer) => createHmac('sha256', key).update(head).update(purpose).digest().subarray(0, MAC_BYTES);
  return {
    make(purpose, now) {
      const head = Buffer.alloc(RANDOM_BYTES + TIME_BYTES);
      randomBytes(RANDOM_BYTES).copy(head);
      head.writeUIntBE(now + LIFETIME_MS, RANDOM_BYTES, TIME_BYTES);
      return Buffer.concat([head, macOf(purpose, head)]).toString('base64url');
    },
    expiry(challenge, purpose, now) {
      const bytes = Buffer.from(challenge, 'base64url');
      if (bytes.length !== RANDOM_BYTES + TIME_BYTES + MAC_BYTES || bytes.toString('base64url') !== challenge) return undefined;
      const head = bytes.subarray(0, -MAC_BYTES);
      if (!timingSafeEqual(bytes.subarray(-MAC_BYTES), macOf(purpose, head))) return undefined;
      const expires = head.readUIntBE(RANDOM_BYTES, TIME_BYTES);
      return expires > now ? expires : undefined;
    },
  };
}
