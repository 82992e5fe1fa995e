import type { IncomingMessage, ServerResponse } from 'node:http';
import { projectOf } from '@entrepot/oci';
import {
  ANONYMOUS,
  AppError,
  type AuditNotes,
  type AuditOrigin,
  describeRequest,
  type RequestOrigin,
  readBody,
  type Session,
} from '../platform/index.ts';
import { type Access, claimedName } from './access.ts';
import { type Identity, identityOf } from './identity.ts';
import type { Workloads } from './machines/workloads.ts';
import { isAction, PERMISSION_OF } from './permissions.ts';
import { type Grant, parseScopes } from './scope.ts';
import { findSubject } from './subjects.ts';
import type { TokenIssuer, TokenSubject } from './tokens.ts';

const MAX_FORM_BYTES = 64 * 1024;
/** RFC 8693, section 2.1. */
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** RFC 7523, section 2.1. */
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const SUBJECT_TOKENS = new Set(['urn:ietf:params:oauth:token-type:jwt', 'urn:ietf:params:oauth:token-type:id_token']);

interface Parts {
  readonly session: Session;
  readonly access: Access;
  readonly tokens: TokenIssuer;
  readonly workloads: Workloads;
  readonly origin: RequestOrigin;
  readonly now: () => number;
  /** Where denials are told. */
  readonly notes: AuditNotes;
}

export type TokenHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/**
 * `GET /token` (distribution's token specification) and `POST /token` (its OAuth 2.0 form). A token carries exactly the
 * intersection of what was asked and what is held; anonymous callers get the same for public projects.
 */
export function createTokenHandler({ session, access, tokens, workloads, origin, now, notes }: Parts): TokenHandler {
  async function intersect(identity: Identity, asked: readonly Grant[]): Promise<{ access: Grant[]; refused: Grant[] }> {
    const granted: Grant[] = [];
    const refused: Grant[] = [];
    for (const grant of asked) {
      const given = await permitted(identity, grant);
      if (given.length > 0) granted.push({ ...grant, actions: given });
      const withheld = grant.actions.filter((action) => !given.includes(action));
      if (withheld.length > 0) refused.push({ ...grant, actions: withheld });
    }
    return { access: granted, refused };
  }

  async function permitted(identity: Identity, grant: Grant): Promise<readonly string[]> {
    if (grant.type === 'registry') return identity.subject ? grant.actions : [];
    if (grant.name === '*') return grant.actions; // narrowed to what is held at each use
    const given: string[] = [];
    const resource = { project: projectOf(grant.name), repository: grant.name };
    for (const action of grant.actions) {
      if (isAction(action) && (await access.holds(identity, PERMISSION_OF[action], resource))) given.push(action);
    }
    return given;
  }

  async function answer(response: ServerResponse, identity: Identity, scopes: readonly string[], withRefresh: boolean): Promise<void> {
    describeRequest(response, 'token', identity.actor.name);
    const grants = await intersect(identity, parseScopes(scopes));
    const subject = subjectOf(identity);
    const issued = await tokens.access({ subject, ...grants }, identity.until);
    const body = JSON.stringify({
      token: issued.token,
      access_token: issued.token,
      expires_in: issued.lifetime,
      token_type: 'Bearer',
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      issued_at: new Date(issued.issuedAt * 1000).toISOString(),
      ...(withRefresh && subject && identity.until === undefined ? { refresh_token: await tokens.refresh(subject) } : {}),
    });
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), 'Cache-Control': 'no-store' });
    response.end(body);
  }

  async function get(request: IncomingMessage, response: ServerResponse, parameters: URLSearchParams): Promise<void> {
    const { authorization } = request.headers;
    if (authorization !== undefined && !/^basic /i.test(authorization)) throw new AppError('unauthorized', 'the token service takes Basic');
    const from = origin.auditOrigin(request, response);
    let identity: Identity;
    try {
      identity = await access.identify({ authorization, cookie: undefined, origin: from });
    } catch (error) {
      noteDenial(error, from, claimedName(authorization));
      throw error;
    }
    await answer(response, identity, parameters.getAll('scope'), parameters.get('offline_token') === 'true');
  }

  function noteDenial(error: unknown, from: AuditOrigin, claimed: string | undefined): void {
    if (!(error instanceof AppError) || (error.status !== 401 && error.status !== 429)) return;
    const resource = { type: 'token' };
    notes.denied({ actor: ANONYMOUS, origin: from, action: 'session.create', resource, reason: error.message }, claimed);
  }

  async function post(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers['content-type']?.split(';')[0]?.trim() !== 'application/x-www-form-urlencoded') {
      throw new AppError('bad_request', 'POST /token takes application/x-www-form-urlencoded');
    }
    const form = new URLSearchParams((await readBody(request, response, { limit: MAX_FORM_BYTES, tooLarge })).toString());
    const from = origin.auditOrigin(request, response);
    const identity = await identityOfGrant(form, from).catch((error: unknown) => {
      noteDenial(error, from, form.get('username') ?? undefined);
      throw error;
    });
    await answer(response, identity, form.getAll('scope'), form.get('access_type') === 'offline');
  }

  async function identityOfGrant(form: URLSearchParams, from: AuditOrigin): Promise<Identity> {
    switch (form.get('grant_type')) {
      case 'password': {
        const proof = `${form.get('username') ?? ''}:${form.get('password') ?? ''}`;
        const authorization = `Basic ${Buffer.from(proof).toString('base64')}`;
        return await access.identify({ authorization, cookie: undefined, origin: from });
      }
      case 'refresh_token': {
        const subject = await tokens.verifyRefresh(form.get('refresh_token') ?? '');
        const known = subject && (await findSubject(session, subject, now()));
        if (known) return identityOf(known.subject, { kind: 'refresh-token', id: subject.credential }, from, { limits: known.limits });
        throw new AppError('unauthorized', 'the refresh token is not valid or has expired');
      }
      case TOKEN_EXCHANGE: {
        if (form.has('actor_token')) throw new AppError('bad_request', 'nobody acts for another one here');
        const type = form.get('subject_token_type') ?? '';
        if (!SUBJECT_TOKENS.has(type)) throw new AppError('bad_request', 'subject_token_type must be that of a jwt or an id_token');
        return await exchange(form, form.get('subject_token'), from);
      }
      case JWT_BEARER:
        return await exchange(form, form.get('assertion'), from);
      default:
        throw new AppError('bad_request', 'grant_type must be password, refresh_token, token-exchange or jwt-bearer');
    }
  }

  async function exchange(form: URLSearchParams, token: string | null, from: AuditOrigin): Promise<Identity> {
    const robot = form.get('client_id') ?? undefined;
    const identity = await workloads.identify({ token: token ?? '', robot, origin: from, isExchange: true });
    if (!identity) throw new AppError('unauthorized', 'the token is not accepted: nobody trusts its issuer');
    return identity;
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

function subjectOf({ subject, actor }: Identity): TokenSubject | undefined {
  if (!subject) return undefined;
  const { kind, id, generation } = subject;
  return { kind, id, generation, credential: actor.credential?.id ?? null };
}

function tooLarge(): AppError {
  return new AppError('bad_request', `a token request has at most ${MAX_FORM_BYTES} bytes`);
}

/** Every 401 names the scheme that would do (RFC 9110 section 15.5.2). */
function withScheme(error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== 'unauthorized') return error;
  return new AppError('unauthorized', error.message, { cause: error.cause, headers: { 'WWW-Authenticate': 'Basic realm="entrepot"' } });
}
