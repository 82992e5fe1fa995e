import type { IncomingMessage, ServerResponse } from 'node:http';
import { projectOf } from '@entrepot/oci';
import { AppError, describeRequest, readBody, type Session } from '../platform/index.ts';
import type { Access } from './access.ts';
import type { PasswordChecker } from './passwords.ts';
import { type Action, ALL_ACTIONS } from './roles.ts';
import { type Grant, parseScopes } from './scope.ts';
import type { TokenIssuer } from './tokens.ts';
import { findUserById, type User } from './users.ts';

const MAX_FORM_BYTES = 64 * 1024;

interface Parts {
  readonly session: Session;
  readonly access: Access;
  readonly passwords: PasswordChecker;
  readonly tokens: TokenIssuer;
}

export type TokenHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/**
 * `GET /token` (distribution's token specification) and `POST /token` (its OAuth 2.0 form). A token carries exactly the
 * intersection of what was asked and what is held; anonymous callers get the same for public projects.
 */
export function createTokenHandler({ session, access, passwords, tokens }: Parts): TokenHandler {
  async function intersect(user: User | undefined, asked: readonly Grant[]): Promise<{ access: Grant[]; refused: Grant[] }> {
    const granted: Grant[] = [];
    const refused: Grant[] = [];
    for (const grant of asked) {
      const given = await permitted(user, grant);
      if (given.length > 0) granted.push({ ...grant, actions: given });
      const withheld = grant.actions.filter((action) => !given.includes(action));
      if (withheld.length > 0) refused.push({ ...grant, actions: withheld });
    }
    return { access: granted, refused };
  }

  async function permitted(user: User | undefined, grant: Grant): Promise<readonly string[]> {
    if (grant.type === 'registry') return user ? grant.actions : [];
    if (grant.name === '*') return grant.actions; // narrowed to what is held at each use
    const held = (await access.rights(user, projectOf(grant.name))) ?? new Set<Action>(access.mayCreateProject(user) ? ALL_ACTIONS : []);
    return grant.actions.filter((action) => held.has(action as Action));
  }

  async function answer(response: ServerResponse, user: User | undefined, scopes: readonly string[], withRefresh: boolean): Promise<void> {
    describeRequest(response, 'token', user?.name ?? 'anonymous');
    const grants = await intersect(user, parseScopes(scopes));
    const issued = await tokens.access({ subject: user?.id ?? 0, generation: user?.generation ?? 0, ...grants });
    const body = JSON.stringify({
      token: issued.token,
      access_token: issued.token,
      expires_in: issued.lifetime,
      issued_at: new Date(issued.issuedAt * 1000).toISOString(),
      ...(withRefresh && user ? { refresh_token: await tokens.refresh(user.id, user.generation) } : {}),
    });
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), 'Cache-Control': 'no-store' });
    response.end(body);
  }

  async function get(request: IncomingMessage, response: ServerResponse, parameters: URLSearchParams): Promise<void> {
    const { authorization } = request.headers;
    if (authorization !== undefined && !/^basic /i.test(authorization)) throw new AppError('unauthorized', 'the token service takes Basic');
    const { user } = await access.identify(authorization);
    await answer(response, user, parameters.getAll('scope'), parameters.get('offline_token') === 'true');
  }

  async function post(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers['content-type']?.split(';')[0]?.trim() !== 'application/x-www-form-urlencoded') {
      throw new AppError('bad_request', 'POST /token takes application/x-www-form-urlencoded');
    }
    const form = new URLSearchParams((await readBody(request, response, { limit: MAX_FORM_BYTES, tooLarge })).toString());
    const user = await userOfGrant(form);
    await answer(response, user, form.getAll('scope'), form.get('access_type') === 'offline');
  }

  async function userOfGrant(form: URLSearchParams): Promise<User> {
    switch (form.get('grant_type')) {
      case 'password': {
        const user = await passwords.check(form.get('username') ?? '', form.get('password') ?? '');
        if (user) return user;
        throw new AppError('unauthorized', 'user name or password is wrong');
      }
      case 'refresh_token': {
        const claims = await tokens.verifyRefresh(form.get('refresh_token') ?? '');
        const user = claims && (await findUserById(session, claims.subject));
        if (user && !user.disabled && user.generation === claims.generation) return user;
        throw new AppError('unauthorized', 'the refresh token is not valid or has expired');
      }
      default:
        throw new AppError('bad_request', 'grant_type must be password or refresh_token');
    }
  }

  return async (request, response) => {
    const parameters = new URL(request.url ?? '/', 'http://host').searchParams;
    try {
      if (request.method === 'GET') return await get(request, response, parameters);
      if (request.method === 'POST') return await post(request, response);
    } catch (error) {
      throw withScheme(error);
    }
    throw new AppError('method_not_allowed', 'the token service takes GET and POST', { headers: { Allow: 'GET, POST' } });
  };
}

function tooLarge(): AppError {
  return new AppError('bad_request', `a token request has at most ${MAX_FORM_BYTES} bytes`);
}

/** Every 401 names the scheme that would do (RFC 9110 section 15.5.2). */
function withScheme(error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== 'unauthorized') return error;
  return new AppError('unauthorized', error.message, { cause: error.cause, headers: { 'WWW-Authenticate': 'Basic realm="entrepot"' } });
}
