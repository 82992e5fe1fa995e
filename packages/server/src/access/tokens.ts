import { jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../platform/index.ts';
import type { Grant } from './scope.ts';

/** Whom and what a token speaks for. */
export interface TokenClaims {
  /** undefined: anonymous. */
  readonly subject: TokenSubject | undefined;
  readonly access: readonly Grant[];
  /** Scopes that were asked for and not given: asking again is of no use. */
  readonly refused: readonly Grant[];
  /** Seconds since 1970. */
  readonly expires: number;
}

/** Whom a token speaks for, as things were when it was issued. */
export interface TokenSubject {
  readonly kind: 'user' | 'robot';
  readonly id: number;
  readonly generation: number;
  /** The credential that the token came from, where it can be revoked by itself. */
  readonly credential: string | null;
}

export interface TokenIssuer {
  /** `until`: when it must end at the latest; milliseconds since 1970. */
  access(claims: Omit<TokenClaims, 'expires'>, until?: number): Promise<{ token: string; issuedAt: number; lifetime: number }>;
  refresh(subject: TokenSubject): Promise<string>;
  /** Claims of a valid access token, or undefined. Remembers what it verified. */
  verifyAccess(token: string): TokenClaims | undefined | Promise<TokenClaims | undefined>;
  verifyRefresh(token: string): Promise<TokenSubject | undefined>;
}

const ISSUER = 'entrepot';
const ALGORITHM = 'HS256';
const MAX_TOKEN_LENGTH = 8192;
/** How far the clocks of two instances may be apart. */
const CLOCK_LEEWAY_SECONDS = 60;

interface Options {
  readonly key: Uint8Array;
  readonly clock: Clock;
  readonly accessSeconds: number;
  readonly refreshSeconds: number;
}

/**
 * Issues and verifies the registry's own tokens. Issuer and verifier are the same program, so one secret key and one
 * fixed algorithm; nothing in a token's header chooses either (RFC 8725 sections 3.1, 3.5). Access and refresh tokens
 * differ in `aud` and in `typ`, so that neither passes for the other.
 */
export function createTokenIssuer({ key, clock, accessSeconds, refreshSeconds }: Options): TokenIssuer {
  const verified = new LRUCache<string, TokenClaims>({ max: 5000, maxSize: 8 << 20, sizeCalculation: (_, token) => token.length + 500 });
  const seconds = () => Math.floor(clock.now() / 1000);

  function sign(kind: 'access' | 'refresh', claims: Record<string, unknown>, issuedAt: number, lifetime: number): Promise<string> {
    return new SignJWT(claims)
      .setProtectedHeader({ alg: ALGORITHM, typ: `${kind}+jwt` })
      .setIssuer(ISSUER)
      .setAudience(kind)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + lifetime)
      .sign(key);
  }

  async function verify(kind: 'access' | 'refresh', token: string): Promise<Record<string, unknown> | undefined> {
    if (token.length > MAX_TOKEN_LENGTH) return undefined;
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [ALGORITHM],
        issuer: ISSUER,
        audience: kind,
        typ: `${kind}+jwt`,
        requiredClaims: ['exp', 'iat', 'sub'],
        currentDate: new Date(clock.now()),
      });
      // From the future: not one of ours, unless a clock is wrong by more than clocks may be.
      return (payload.iat ?? 0) > seconds() + CLOCK_LEEWAY_SECONDS ? undefined : payload;
    } catch {
      return undefined;
    }
  }

  async function verifyNew(token: string): Promise<TokenClaims | undefined> {
    const payload = await verify('access', token);
    if (payload === undefined) return undefined;
    const subject = subjectOf(payload);
    if (subject === undefined && payload.sub !== ANONYMOUS) return undefined;
    const claims: TokenClaims = {
      subject,
      access: payload.access as Grant[],
      refused: (payload.refused as Grant[] | undefined) ?? [],
      expires: payload.exp as number,
    };
    verified.set(token, claims);
    return claims;
  }

  return {
    async access({ subject, access, refused }, until = Number.POSITIVE_INFINITY) {
      const issuedAt = seconds();
      const lifetime = Math.min(accessSeconds, Math.floor(until / 1000) - issuedAt);
      const claims = { ...subjectClaims(subject), access, ...(refused.length > 0 ? { refused } : {}) };
      return { token: await sign('access', claims, issuedAt, lifetime), issuedAt, lifetime };
    },
    refresh: (subject) => sign('refresh', subjectClaims(subject), seconds(), refreshSeconds),
    verifyAccess(token) {
      const known = verified.get(token);
      if (known === undefined) return verifyNew(token);
      return known.expires > seconds() ? known : undefined;
    },
    async verifyRefresh(token) {
      const payload = await verify('refresh', token);
      return payload && subjectOf(payload);
    },
  };
}

/** Subject of what is issued to nobody in particular. */
const ANONYMOUS = 'anonymous';
const SUBJECT = /^(user|robot):([0-9]{1,15})$/;

function subjectClaims(subject: TokenSubject | undefined): Record<string, unknown> {
  if (subject === undefined) return { sub: ANONYMOUS };
  const { kind, id, generation, credential } = subject;
  return { sub: `${kind}:${id}`, gen: generation, ...(credential === null ? {} : { cred: credential }) };
}

function subjectOf(payload: Record<string, unknown>): TokenSubject | undefined {
  const [, kind, id] = SUBJECT.exec(String(payload.sub)) ?? [];
  if (kind === undefined) return undefined;
  const credential = typeof payload.cred === 'string' ? payload.cred : null;
  return { kind: kind as TokenSubject['kind'], id: Number(id), generation: payload.gen as number, credential };
}
