import { type CryptoKey, errors, importJWK, type JWK, type JWTPayload, jwtVerify, type KeyObject } from 'jose';

/** A public key, and the one algorithm that counts with it: a token's header chooses neither (RFC 8725, section 3.1). */
export interface VerificationKey {
  readonly kid: string | undefined;
  readonly algorithm: string;
  readonly key: CryptoKey | KeyObject | Uint8Array;
}

const MAX_KEYS = 100;
/** A token older than that is void, whatever it says. */
const MAX_AGE_SECONDS = 24 * 3600;
const LEEWAY_SECONDS = 30;

/** Algorithms by type of key and curve; the first where the key names none. */
const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'EC P-256': ['ES256'],
  'EC P-384': ['ES384'],
  'EC P-521': ['ES512'],
  'OKP Ed25519': ['EdDSA', 'Ed25519'],
};

/** The algorithm of a key; undefined for a key that signs nothing here, such as a secret one or one to encrypt. */
function algorithmOf({ kty, crv, alg, use }: JWK): string | undefined {
  const known = ALGORITHMS[crv === undefined ? String(kty) : `${kty} ${crv}`];
  if (known === undefined || (use !== undefined && use !== 'sig')) return undefined;
  return alg === undefined ? known[0] : known.find((name) => name === alg);
}

/** One public key. Throws a TypeError for what is none, or is a private one. */
export async function readKey(jwk: JWK): Promise<VerificationKey> {
  if ('d' in jwk || 'k' in jwk || 'p' in jwk) throw new TypeError('is a private or a shared key; only public ones are taken');
  const algorithm = algorithmOf(jwk);
  if (algorithm === undefined) throw new TypeError('is no public key to verify RSA, ECDSA or Ed25519 signatures with');
  try {
    return { kid: jwk.kid, algorithm, key: await importJWK({ ...jwk, alg: algorithm }, algorithm) };
  } catch (cause) {
    throw new TypeError('is no well-formed public key', { cause });
  }
}

/** Keys of a JSON Web Key Set (RFC 7517) that can verify a signature. Throws a TypeError where there is none. */
export async function readKeySet(value: unknown, { strict }: { readonly strict: boolean }): Promise<VerificationKey[]> {
  const { keys } = (value ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new TypeError('is no JSON Web Key Set');
  if (keys.length > MAX_KEYS) throw new TypeError(`has more than ${MAX_KEYS} keys`);
  const read: VerificationKey[] = [];
  for (const jwk of keys as JWK[]) {
    try {
      read.push(await readKey(jwk));
    } catch (error) {
      if (strict) throw error; // an issuer may publish keys of other kinds besides
    }
  }
  if (read.length === 0) throw new TypeError('holds no public key to verify signatures with');
  return read;
}

/** Why a token is not accepted, in words for who sent it. */
export class TokenRefused extends Error {
  override name = 'TokenRefused';
}

interface Expected {
  readonly issuer: string;
  readonly audience: string;
  readonly header: { readonly alg?: string | undefined; readonly kid?: string | undefined };
  readonly now: number;
}

/** Claims of a token that one of these keys has signed for us. Throws TokenRefused. */
export async function verifyToken(
  token: string,
  keys: readonly VerificationKey[],
  { issuer, audience, header, now }: Expected,
): Promise<JWTPayload & { readonly exp: number }> {
  const fitting = keys.filter(({ kid, algorithm }) => algorithm === header.alg && (header.kid === undefined || kid === header.kid));
  // Without an id there is no telling which key it was: only one may be meant.
  const [key] = fitting;
  if (!key || (header.kid === undefined && fitting.length > 1)) throw new TokenRefused('no key of its issuer is the one that it names');
  try {
    const { payload } = await jwtVerify(token, key.key, {
      algorithms: [key.algorithm],
      issuer,
      audience,
      requiredClaims: ['exp', 'iat', 'aud', 'sub'],
      currentDate: new Date(now),
      maxTokenAge: MAX_AGE_SECONDS,
      clockTolerance: LEEWAY_SECONDS,
    });
    const { exp } = payload;
    if (exp === undefined || exp * 1000 <= now) throw new TokenRefused('it has expired');
    return { ...payload, exp };
  } catch (error) {
    if (error instanceof TokenRefused) throw error;
    throw new TokenRefused(reasonOf(error), { cause: error });
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'it has expired';
  if (error instanceof errors.JWTClaimValidationFailed) return `its claim ${error.claim} is not as it must be`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is wrong';
  return 'it is not well-formed';
}
