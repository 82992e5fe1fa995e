import { LRUCache } from 'lru-cache';
import type { Configuration, CustomFetch } from 'openid-client';
import { AppError, type Outbound, OutboundError } from '../../platform/index.ts';
import { type Claims, personOf } from './claims.ts';
import type { Person } from './person.ts';
import type { OidcSettings } from './settings.ts';

/** The library is loaded by the first login: a registry without such a provider does without it. */
const library = () => import('openid-client');

export const OIDC_TIMEOUT_MS = 10_000;
const MAX_BYTES = 512 * 1024;
const FRESH_MS = 10 * 60_000;
const LEEWAY_SECONDS = 30;

/** What a login needs of a provider, its secret opened. */
export interface OidcClient {
  /** Changes with the settings. */
  readonly key: string;
  readonly settings: OidcSettings;
  readonly secret: string | undefined;
}

export interface Begun {
  readonly url: string;
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

export interface Oidc {
  /** Begins a login: where the browser goes, and what must come back. Throws `unavailable`. */
  begin(client: OidcClient, redirectUri: string): Promise<Begun>;
  /** Ends it: who it was, and the ID token. Throws `unauthorized` for an answer that is not the provider's to this login. */
  finish(client: OidcClient, answer: URL, begun: Omit<Begun, 'url'>): Promise<{ person: Person; idToken: string }>;
  /** Where the browser goes to log out there too; undefined where the provider has no such place. */
  logoutUrl(client: OidcClient, hint: string | undefined, returnTo: string): Promise<string | undefined>;
}

/** `fetch` by the rules of outgoing calls; the library follows no redirect, and neither does this. */
export function outboundFetch(outbound: Outbound): CustomFetch {
  return async (url, { method, headers, body, signal }) => {
    if (body instanceof ReadableStream) throw new TypeError('a stream is not sent');
    const bytes = body instanceof ArrayBuffer ? new Uint8Array(body) : body instanceof URLSearchParams ? String(body) : body;
    const response = await outbound.request(url, {
      method: method as 'GET' | 'POST',
      headers,
      ...(bytes === null || bytes === undefined ? {} : { body: bytes }),
      ...(signal ? { signal } : {}),
      timeoutMs: OIDC_TIMEOUT_MS,
      maxBytes: MAX_BYTES,
      maxRedirects: 0,
    });
    const received = await response.bytes();
    const told = Object.entries(response.headers).flatMap(([name, value]) =>
      [value ?? []].flat().map((one): [string, string] => [name, one]),
    );
    const empty = response.status === 204 || response.status === 205 || response.status === 304;
    return new Response(empty ? null : Buffer.from(received), { status: response.status, headers: told });
  };
}

/** Reads what a provider says of itself, and sets everything as this server wants it. */
export async function discover(outbound: Outbound, { settings, secret }: Omit<OidcClient, 'key'>): Promise<Configuration> {
  const oidc = await library();
  const { issuer, clientId } = settings;
  // Only this machine itself may be one: `checkIssuer`.
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so only to stand out
  const inTheClear: ((configuration: Configuration) => void)[] = issuer.startsWith('http:') ? [oidc.allowInsecureRequests] : [];
  const found = await oidc.discovery(new URL(issuer), clientId, undefined, oidc.None(), {
    [oidc.customFetch]: outboundFetch(outbound),
    execute: inTheClear,
    timeout: OIDC_TIMEOUT_MS / 1000,
  });
  const server = found.serverMetadata();
  if (server.issuer !== issuer) throw new TypeError('its discovery document is of another issuer');
  // RFC 8414, section 2: Basic where the provider does not say.
  const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
  const basic = methods.includes('client_secret_basic') || !methods.includes('client_secret_post');
  const authentication = secret === undefined ? oidc.None() : basic ? oidc.ClientSecretBasic(secret) : oidc.ClientSecretPost(secret);
  const configuration = new oidc.Configuration(server, clientId, { [oidc.clockTolerance]: LEEWAY_SECONDS }, authentication);
  configuration[oidc.customFetch] = outboundFetch(outbound);
  configuration.timeout = OIDC_TIMEOUT_MS / 1000;
  for (const change of [...inTheClear, oidc.enableNonRepudiationChecks]) change(configuration);
  return configuration;
}

export function createOidc(outbound: Outbound, now: () => number): Oidc {
  const known = new LRUCache<string, { at: number; configuration: Promise<Configuration> }>({ max: 50 });

  async function configurationOf(client: OidcClient): Promise<Configuration> {
    let entry = known.get(client.key);
    if (!entry || entry.at + FRESH_MS <= now()) {
      const made = { at: now(), configuration: discover(outbound, client) };
      entry = made;
      known.set(client.key, made);
      made.configuration.catch(() => {
        if (known.peek(client.key) === made) known.delete(client.key);
      });
    }
    try {
      return await entry.configuration;
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  async function claimsOf(configuration: Configuration, { settings }: OidcClient, claims: Claims, accessToken: string): Promise<Claims> {
    const { userinfo_endpoint: place } = configuration.serverMetadata();
    if (!settings.userInfo || place === undefined) return claims;
    const oidc = await library();
    const more = await oidc.fetchUserInfo(configuration, accessToken, String(claims.sub));
    return { ...more, ...claims }; // what is signed counts before what is not
  }

  return {
    async begin(client, redirectUri) {
      const oidc = await library();
      const configuration = await configurationOf(client);
      const [state, nonce, verifier] = [oidc.randomState(), oidc.randomNonce(), oidc.randomPKCECodeVerifier()];
      const url = oidc.buildAuthorizationUrl(configuration, {
        redirect_uri: redirectUri,
        scope: client.settings.scopes,
        state,
        nonce,
        code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
      });
      return { url: url.href, state, nonce, verifier };
    },

    async finish(client, answer, { state, nonce, verifier }) {
      const oidc = await library();
      const configuration = await configurationOf(client);
      try {
        const tokens = await oidc.authorizationCodeGrant(configuration, answer, {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: verifier,
          idTokenExpected: true,
        });
        const { id_token: idToken } = tokens;
        const claims = tokens.claims();
        if (!claims || idToken === undefined) throw new TypeError('there is no ID token');
        const all = await claimsOf(configuration, client, claims, tokens.access_token);
        return { person: personOf(client.settings, all), idToken };
      } catch (error) {
        if (error instanceof AppError) throw error;
        if (isUnreachable(error)) throw unavailable(error);
        throw new AppError('unauthorized', `the login is not accepted: ${reasonOf(error)}; begin it again`, { cause: error });
      }
    },

    async logoutUrl(client, hint, returnTo) {
      const oidc = await library();
      const configuration = await configurationOf(client);
      if (configuration.serverMetadata().end_session_endpoint === undefined) return undefined;
      const hinted = hint === undefined ? {} : { id_token_hint: hint };
      return oidc.buildEndSessionUrl(configuration, { post_logout_redirect_uri: returnTo, ...hinted }).href;
    },
  };
}

function unavailable(cause: unknown): AppError {
  const message = `the provider cannot be used at the moment: ${reasonOf(cause)}`;
  return new AppError('unavailable', message, { cause, headers: { 'Retry-After': '10' } });
}

/** What lies beneath: the library wraps what its `fetch` throws. */
function rootOf(error: unknown): unknown {
  const { cause } = error as { cause?: unknown };
  return cause instanceof Error ? rootOf(cause) : error;
}

function isUnreachable(error: unknown): boolean {
  const root = rootOf(error);
  return root instanceof OutboundError || (root as Error).name === 'TimeoutError' || (root as Error).name === 'AbortError';
}

/** Why it failed, in words that hold nothing which the other side sent, but for an error code of OAuth. */
export function reasonOf(error: unknown): string {
  const root = rootOf(error);
  if (root instanceof OutboundError || root instanceof TypeError) return root.message;
  const { error: code, message } = error as { error?: unknown; message: string };
  if (typeof code === 'string' && /^[a-z_]{1,64}$/.test(code)) return code;
  return message.slice(0, 200);
}
