import { type Challenge, parseChallenge } from './challenge.ts';

/** How somebody proves who he is to a registry. */
export type Credentials =
  | { readonly username: string; readonly password: string }
  /** An identity token, as docker's credential helpers give it for the user `<token>`. */
  | { readonly identityToken: string };

export interface LoginOptions {
  readonly fetch: typeof fetch;
  readonly credentials: () => Promise<Credentials | undefined>;
  readonly signal: AbortSignal | undefined;
}

const TOKEN_LIMIT = 64 * 1024;
/** Before the end of a token's life; milliseconds. */
const EARLY_MS = 10_000;
const DEFAULT_SECONDS = 60;

/** What is remembered of one registry: its challenge and the tokens that it gave. */
export class Login {
  readonly #options: Omit<LoginOptions, 'signal'>;
  readonly #tokens = new Map<string, { readonly header: string; readonly until: number }>();
  #challenge: Challenge | undefined;

  constructor(options: Omit<LoginOptions, 'signal'>) {
    this.#options = options;
  }

  /** The header for a request of a scope, as far as it is known what the registry asks for. */
  async headerOf(scope: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    const challenge = this.#challenge;
    if (!challenge) return undefined;
    if (challenge.scheme === 'basic') return basicOf(await this.#options.credentials());
    const known = this.#tokens.get(scope);
    if (known && known.until > Date.now()) return known.header;
    const fresh = await this.#token(challenge, scope, signal);
    if (this.#tokens.size > 1000) this.#tokens.clear();
    this.#tokens.set(scope, fresh);
    return fresh.header;
  }

  /** Takes a 401; false where asking again would change nothing. */
  async refused(response: Response, scope: string): Promise<boolean> {
    const challenge = parseChallenge(response.headers.get('www-authenticate') ?? '');
    if (!challenge) return false;
    const isNew = this.#challenge === undefined || this.#challenge.scheme !== challenge.scheme;
    const hadToken = this.#tokens.delete(scope);
    this.#challenge = challenge;
    return isNew || hadToken;
  }

  async #token(challenge: Challenge, scope: string, signal: AbortSignal | undefined) {
    const realm = challenge.parameters.get('realm');
    if (realm === undefined || !/^https?:\/\//.test(realm)) throw new Error('the registry names no token service');
    const credentials = await this.#options.credentials();
    const service = challenge.parameters.get('service');
    const request = credentials && 'identityToken' in credentials ? refresh(realm, credentials.identityToken) : ask(realm, credentials);
    if (service !== undefined) request.fields.set('service', service);
    if (scope !== '') request.fields.set('scope', scope);
    const response = await request.send(this.#options.fetch, signal ?? null);
    const text = (await response.text()).slice(0, TOKEN_LIMIT);
    if (!response.ok) throw new LoginError(`the token service answers ${response.status}`, response.status);
    const answer = JSON.parse(text) as { token?: unknown; access_token?: unknown; expires_in?: unknown };
    const token = answer.token ?? answer.access_token;
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) throw new Error('the token service gives no token');
    const seconds = typeof answer.expires_in === 'number' ? answer.expires_in : DEFAULT_SECONDS;
    return { header: `Bearer ${token}`, until: Date.now() + seconds * 1000 - EARLY_MS };
  }
}

/** The token service does not take the credentials, or is out of order. */
export class LoginError extends Error {
  override name = 'LoginError';
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

interface TokenRequest {
  readonly fields: URLSearchParams;
  send(fetch: LoginOptions['fetch'], signal: AbortSignal | null): Promise<Response>;
}

/** By GET with Basic credentials (distribution's token specification). */
function ask(realm: string, credentials: { username: string; password: string } | undefined): TokenRequest {
  const url = new URL(realm);
  const fields = url.searchParams;
  const authorization = basicOf(credentials);
  if (credentials) fields.set('account', credentials.username);
  const headers = authorization === undefined ? {} : { authorization };
  return { fields, send: (fetch, signal) => fetch(url, { headers, signal, redirect: 'error' }) };
}

/** By POST with a refresh token (distribution's OAuth 2 specification). */
function refresh(realm: string, identityToken: string): TokenRequest {
  const fields = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'entrepot', refresh_token: identityToken });
  return { fields, send: (fetch, signal) => fetch(realm, { method: 'POST', body: fields, signal, redirect: 'error' }) };
}

function basicOf(credentials: Credentials | undefined): string | undefined {
  if (!credentials || 'identityToken' in credentials) return undefined;
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}
