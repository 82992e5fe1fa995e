import { createHmac, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestServer } from './server.ts';

export type Claims = Readonly<Record<string, unknown>>;

const encode = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token signed with HMAC, whatever its header says. Header and claims may be text of any kind. */
export function signed(header: Claims | string, claims: Claims | string, key: string | Uint8Array, hash = 'sha256'): string {
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`;
}

export function claimsOf(token: string): Claims {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Claims;
}

/** The key with which a server signs its tokens: what only its owner can read. */
export function tokenKey({ dataDir }: TestServer): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', readFileSync(join(dataDir, 'keys/master.key')), '', 'entrepot:tokens', 32));
}
