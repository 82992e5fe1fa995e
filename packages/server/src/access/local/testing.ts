import { createHmac } from 'node:crypto';
import type { Throttle } from './throttle.ts';

const ATTEMPT = { admit: async () => true, settle: async () => undefined };

/** For tests of other things: lets everybody guess. */
export const unthrottled: Throttle = { password: () => ATTEMPT, code: (_, look) => look() };

/** A code by RFC 4226, sections 5.3 and 5.4, and RFC 6238, section 4, from nothing but node's own. */
export function codeAt(secret: string, time: number): string {
  let bits = '';
  for (const letter of secret) bits += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0');
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(time / 30_000)));
  const mac = createHmac('sha1', key).update(counter).digest();
  const at = (mac.at(-1) ?? 0) & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}
