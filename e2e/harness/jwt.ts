import { createHmac, generateKeyPairSync, hkdfSync, type KeyObject, sign } from 'node:crypto';
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

/** An issuer's key: the public half as others may know it, and what it signs. */
export interface Signer {
  readonly jwk: Claims;
  sign(claims: Claims, header?: Claims): string;
}

export function newSigner(alg: 'ES256' | 'RS256', kid = 'one'): Signer {
  const pair = alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    jwk: { ...pair.publicKey.export({ format: 'jwk' }), kid, alg },
    sign: (claims, header = {}) => signedWith({ alg, kid, ...header }, claims, pair.privateKey),
  };
}

/** A token signed with a private key by the algorithm that fits it, whatever its header says. */
export function signedWith(header: Claims, claims: Claims, key: KeyObject): string {
  const text = `${encode(header)}.${encode(claims)}`;
  const hash = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return `${text}.${sign(hash, Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

export function claimsOf(token: string): Claims {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Claims;
}

/** The key with which a server signs its tokens: what only its owner can read. */
export function tokenKey({ dataDir }: TestServer): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', readFileSync(join(dataDir, 'keys/master.key')), '', 'entrepot:tokens', 32));
}
