import { createHash } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose';
import { LRUCache } from 'lru-cache';
import { ANONYMOUS, AppError, type AuditOrigin, audit, type Clock, type Database } from '../../platform/index.ts';
import { type Authenticator, type Identity, identityOf, type Subject } from '../identity.ts';
import { findOwner } from '../subjects.ts';
import { loadConditions } from './conditions.ts';
import type { IssuerKeys } from './issuer-keys.ts';
import { findRobotKey } from './robot-keys.ts';
import { findRobotById, robotResource } from './robots.ts';
import { MAX_ASKED, type TrustRule, trustRulesFor } from './trust-rules.ts';
import { readKey, readKeySet, TokenRefused, type VerificationKey, verifyToken } from './verification-keys.ts';

/** A token of another issuer, or one signed with a service-account key. */
export interface Presented {
  readonly token: string;
  /** Login of the robot that it is to prove; undefined where only one can be meant. */
  readonly robot: string | undefined;
  readonly origin: AuditOrigin;
  /** Each exchange has its record; a token that comes with every request has one. */
  readonly isExchange: boolean;
}

/** Machines that prove who they are by a token that somebody else signed. */
export interface Workloads {
  /** Whom a token proves; undefined where it is no token of an issuer that anybody trusts. Throws `unauthorized`. */
  identify(presented: Presented): Promise<Identity | undefined>;
  /** The same for tokens as password of Basic. */
  readonly authenticate: Authenticator;
}

interface Parts {
  readonly database: Database;
  readonly issuers: IssuerKeys;
  readonly clock: Clock;
}

const MAX_TOKEN_LENGTH = 16 * 1024;
const JWT = /^[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*$/;
const LIFETIME_MS = 10 * 60_000;
/** Signed by the holder of the key itself, so that nothing keeps it from asking for a new one. */
const OWN_LIFETIME_SECONDS = 3600;
/** A stranger can have tokens of a public issuer without end; of those refused one is recorded in so long. */
const DENIALS_EVERY_MS = 10_000;
const CLAIM_LENGTH = 256;

/** What a token turned out to prove. */
interface Proven {
  readonly subject: Subject;
  readonly credential: string;
  readonly expires: number;
  /** What the record tells. */
  readonly told: Readonly<Record<string, unknown>>;
}

export function createWorkloads({ database, issuers, clock }: Parts): Workloads {
  const keySets = new LRUCache<string, Promise<VerificationKey[]>>({ max: 100 });
  const recorded = new LRUCache<string, true>({ max: 5000, ttl: LIFETIME_MS });
  const denied = new LRUCache<string, true>({ max: 1000, ttl: DENIALS_EVERY_MS });

  function keysOf({ issuer, jwks }: TrustRule, kid: string | undefined): Promise<readonly VerificationKey[]> {
    if (jwks === null) return issuers.of(issuer, kid);
    const keys = keySets.get(jwks) ?? readKeySet(JSON.parse(jwks), { strict: true });
    keySets.set(jwks, keys);
    return keys;
  }

  /** What the rules for its issuer make of a token. Throws TokenRefused where that is nothing, or more than one robot. */
  async function byTrust(presented: Presented, rules: readonly TrustRule[], { header, audiences }: Unverified): Promise<Proven> {
    const now = clock.now();
    const conditions = await loadConditions();
    const met: Proven[] = [];
    let missed: (() => Promise<void>) | undefined;
    let failure: unknown = new TokenRefused('its claim aud is not as it must be');
    for (const rule of rules.filter(({ audience }) => audiences.includes(audience))) {
      try {
        const claims = await verifyToken(presented.token, await keysOf(rule, header.kid), { ...rule, header, now });
        const condition = conditions.compile(rule.condition, ['claims']);
        if (!isMet(() => condition.holds({ claims }))) {
          missed ??= () => recordDenial(presented, rule, claims);
          continue;
        }
        const subject = await findOwner(database, { kind: 'robot', id: rule.robotId }, now);
        const told = { rule: rule.name, issuer: rule.issuer, claims: tellClaims(claims, condition.fieldsOf('claims')) };
        if (subject) met.push({ subject, credential: `trust:${rule.id}.${rule.version}`, expires: claims.exp * 1000, told });
      } catch (error) {
        failure = error; // another rule may have other keys
      }
    }
    const [first] = met;
    if (first && met.every(({ subject }) => subject.id === first.subject.id)) return first;
    if (first) throw new TokenRefused('it proves more than one robot; say which one by the user name or client_id');
    if (!missed) throw failure;
    await missed();
    throw new TokenRefused('no condition that its issuer is trusted under is met');
  }

  /** RFC 7523 with a key of the robot itself. */
  async function byOwnKey({ token, robot }: Presented, { header, issuer }: Unverified): Promise<Proven> {
    const now = clock.now();
    const key = header.kid === undefined ? undefined : await findRobotKey(database, { kid: header.kid }, now);
    const subject = key && (await findOwner(database, { kind: 'robot', id: key.robotId }, now));
    if (!key || !subject || subject.name !== issuer || (robot !== undefined && robot !== issuer)) {
      throw new TokenRefused('no key of the robot is the one that it names');
    }
    const verification = await readKey(JSON.parse(key.jwk) as object);
    const claims = await verifyToken(token, [{ ...verification, kid: key.kid }], { issuer, audience: key.audience, header, now });
    if (claims.sub !== issuer || claims.exp - (claims.iat ?? 0) > OWN_LIFETIME_SECONDS) {
      throw new TokenRefused('its subject is not its issuer, or it lives longer than an hour');
    }
    return { subject, credential: `file:${key.id}`, expires: claims.exp * 1000, told: { key: key.kid, claims: tellClaims(claims, []) } };
  }

  async function identify(presented: Presented): Promise<Identity | undefined> {
    const { token, robot, origin } = presented;
    const read = readUnverified(token);
    if (!read) return undefined;
    const { issuer } = read;
    const rules = issuer.startsWith('robot-') ? [] : await trustRulesFor(database, issuer, robot);
    if (rules.length === 0 && !issuer.startsWith('robot-')) return undefined;
    try {
      if (rules.length > MAX_ASKED) throw new TokenRefused('many robots trust its issuer; say which one by the user name or client_id');
      const proven = rules.length > 0 ? await byTrust(presented, rules, read) : await byOwnKey(presented, read);
      const { subject, credential, expires } = proven;
      const identity: Identity = {
        ...identityOf(subject, { kind: 'workload', id: credential }, origin),
        until: Math.min(expires, clock.now() + LIFETIME_MS),
      };
      await recordSuccess(presented, identity, proven);
      return identity;
    } catch (error) {
      if (!(error instanceof TokenRefused)) throw error;
      throw new AppError('unauthorized', `the token is not accepted: ${error.message}`, { cause: error });
    }
  }

  async function recordSuccess({ token, isExchange }: Presented, { actor, origin }: Identity, { credential, told, subject }: Proven) {
    const once = createHash('sha256').update(`${credential} ${token}`).digest('base64');
    if (!isExchange && recorded.has(once)) return;
    recorded.set(once, true);
    const resource = robotResource(subject.name);
    await database.write((tx) => audit(tx, { actor, origin, action: 'token.exchange', resource, outcome: 'success', after: told }, clock), {
      scope: [],
    });
  }

  async function recordDenial({ origin }: Presented, rule: TrustRule, claims: JWTPayload): Promise<void> {
    if (denied.has(rule.issuer)) return;
    denied.set(rule.issuer, true);
    const robot = await findRobotById(database, rule.robotId);
    const after = { rule: rule.name, issuer: rule.issuer, claims: tellClaims(claims, []) };
    const entry = { actor: ANONYMOUS, origin, action: 'token.exchange', resource: robotResource(robot?.name ?? ''), after };
    const reason = "the trust rule's condition is not met";
    await database.write((tx) => audit(tx, { ...entry, outcome: 'denied', reason }, clock), { scope: [] });
  }

  return {
    identify,
    async authenticate(proof, origin) {
      if (proof.scheme !== 'basic' || !JWT.test(proof.password)) return undefined;
      return await identify({ token: proof.password, robot: proof.name, origin, isExchange: false });
    },
  };
}

/** What a token says of itself, which counts for nothing but to find whose keys it must be signed with. */
interface Unverified {
  readonly header: { readonly alg?: string | undefined; readonly kid?: string | undefined };
  readonly issuer: string;
  readonly audiences: readonly unknown[];
}

function readUnverified(token: string): Unverified | undefined {
  if (token.length > MAX_TOKEN_LENGTH || !JWT.test(token)) return undefined;
  try {
    const { alg, kid } = decodeProtectedHeader(token);
    const { iss, aud } = decodeJwt(token);
    if (typeof iss !== 'string' || iss === '' || (kid !== undefined && typeof kid !== 'string')) return undefined;
    return { header: { alg, kid }, issuer: iss, audiences: Array.isArray(aud) ? aud : [aud] };
  } catch {
    return undefined;
  }
}

/** A condition that cannot be decided is not met. */
function isMet(holds: () => boolean): boolean {
  try {
    return holds();
  } catch {
    return false;
  }
}

/** Claims for the record: who it is about, and those that the condition looked at. */
function tellClaims(claims: JWTPayload, looked: readonly string[]): Record<string, unknown> {
  const told: Record<string, unknown> = {};
  for (const name of new Set(['sub', 'aud', 'jti', ...looked])) {
    if (!Object.hasOwn(claims, name)) continue;
    const text = JSON.stringify(claims[name]);
    told[name] = text.length <= CLAIM_LENGTH ? claims[name] : `${text.slice(0, CLAIM_LENGTH)}…`;
  }
  return told;
}
