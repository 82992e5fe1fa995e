import { LRUCache } from 'lru-cache';
import { AppError, type Outbound } from '../../platform/index.ts';
import { readKeySet, type VerificationKey } from './verification-keys.ts';

/** Keys that issuers publish. */
export interface IssuerKeys {
  /** Keys of an issuer by discovery; asked again where none has this id. Throws `unavailable` where they cannot be read. */
  of(issuer: string, kid: string | undefined): Promise<readonly VerificationKey[]>;
}

const FRESH_MS = 10 * 60_000;
/** How long keys count while the issuer cannot be reached. */
const STALE_MS = 3_600_000;
/** An issuer is not asked more often than that, whatever tokens name. */
const PAUSE_MS = 30_000;
const MAX_ISSUERS = 200;
const MAX_BYTES = 256 * 1024;
const TIMEOUT_MS = 5000;

interface Known {
  keys: readonly VerificationKey[] | undefined;
  readAt: number;
  triedAt: number;
  reading: Promise<void> | undefined;
}

/** An issuer's address: https, or http on this machine itself. Throws a TypeError for any other. */
export function checkIssuer(issuer: string): void {
  let url: URL;
  try {
    url = new URL(issuer);
  } catch {
    throw new TypeError('an issuer is an address such as https://token.example.com');
  }
  const isLocal = url.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if ((url.protocol !== 'https:' && !isLocal) || url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') {
    throw new TypeError('an issuer is an https address without query, fragment and credentials');
  }
}

/** Reads keys as OpenID Connect Discovery 1.0 says: the issuer's document must name the issuer itself, so that none speaks for another. */
export function createIssuerKeys(outbound: Outbound, now: () => number): IssuerKeys {
  const known = new LRUCache<string, Known>({ max: MAX_ISSUERS });

  async function json(url: string): Promise<unknown> {
    const response = await outbound.request(url, {
      headers: { Accept: 'application/json' },
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_BYTES,
      maxRedirects: 0,
    });
    const bytes = await response.bytes();
    if (response.status !== 200) throw new Error(`${new URL(url).host} answered ${response.status}`);
    return JSON.parse(Buffer.from(bytes).toString()) as unknown;
  }

  async function discover(issuer: string): Promise<readonly VerificationKey[]> {
    const document = (await json(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)) as {
      issuer?: unknown;
      jwks_uri?: unknown;
    } | null;
    if (document?.issuer !== issuer) throw new Error('its discovery document is of another issuer');
    const { jwks_uri: address } = document;
    if (typeof address !== 'string') throw new Error('its discovery document names no keys');
    checkIssuer(address.split('?', 1)[0] ?? '');
    return await readKeySet(await json(address), { strict: false });
  }

  async function read(issuer: string, entry: Known): Promise<void> {
    entry.triedAt = now();
    entry.keys = await discover(issuer);
    entry.readAt = now();
  }

  return {
    async of(issuer, kid) {
      let entry = known.get(issuer);
      if (entry === undefined) {
        entry = { keys: undefined, readAt: 0, triedAt: Number.NEGATIVE_INFINITY, reading: undefined };
        known.set(issuer, entry);
      }
      const current = entry;
      const isFresh = now() - current.readAt < FRESH_MS;
      const has = current.keys?.some((key) => kid === undefined || key.kid === kid) ?? false;
      let failure: unknown;
      if (!(isFresh && has) && (current.reading || now() - current.triedAt >= PAUSE_MS)) {
        current.reading ??= read(issuer, current).finally(() => {
          current.reading = undefined;
        });
        await current.reading.catch((error: unknown) => {
          failure = error;
        });
      }
      if (current.keys && now() - current.readAt < STALE_MS) return current.keys;
      throw new AppError('unavailable', `the keys of ${issuer} cannot be read at the moment`, {
        cause: failure,
        headers: { 'Retry-After': String(PAUSE_MS / 1000) },
      });
    },
  };
}
