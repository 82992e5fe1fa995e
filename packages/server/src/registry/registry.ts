import type { IncomingMessage, ServerResponse } from 'node:http';
import { projectOf } from '@entrepot/oci';
import { type Action, claimedName, type Identity } from '../access/index.ts';
import {
  ANONYMOUS,
  AppError,
  audit,
  denialOf,
  describeRequest,
  type Observe,
  requestIdOf,
  type Session,
  skipBody,
} from '../platform/index.ts';
import { createBlobHandlers } from './blobs.ts';
import { answerError, answerJson, type Call, type Recorded } from './http.ts';
import { createCatalogHandler, createTagsHandler } from './listing.ts';
import { createManifestHandlers } from './manifests.ts';
import type { RegistryParts } from './parts.ts';
import { parsePath, type Resource, type Target } from './paths.ts';
import { createReferrersHandler } from './referrers.ts';
import { createUploadHandlers } from './uploads.ts';

/** What a caller must be allowed to do; `login` asks for any valid credentials. */
export type Permission = Action | 'catalog' | 'login';

interface Common {
  readonly resource: Resource;
  readonly permission: Permission;
  handle(call: Call): Promise<void>;
}

interface ReadRoute extends Common {
  readonly method: 'GET' | 'HEAD';
}

interface ChangeRoute extends Common {
  readonly method: 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  /** Name of the audit record in the transaction of the change, or why nothing changes that anybody could see. */
  readonly audit: string | { readonly none: string };
}

export type Route = ReadRoute | ChangeRoute;

const STAGED = { none: 'what an upload session holds counts for nothing before it becomes a blob' };

/** The distribution API as a table: a route that is not here does not exist, and none is without a permission. */
function routesOf(parts: RegistryParts): readonly Route[] {
  const manifests = createManifestHandlers(parts);
  const blobs = createBlobHandlers(parts);
  const uploads = createUploadHandlers(parts);
  const referrers = createReferrersHandler(parts);
  const tags = createTagsHandler(parts);
  const catalog = createCatalogHandler(parts);
  const base = async ({ response }: Call) => answerJson(response, 200, {});
  return [
    { method: 'GET', resource: 'base', permission: 'login', handle: base },
    { method: 'HEAD', resource: 'base', permission: 'login', handle: base },
    { method: 'GET', resource: 'catalog', permission: 'catalog', handle: catalog },
    { method: 'GET', resource: 'manifest', permission: 'pull', handle: manifests.get },
    { method: 'HEAD', resource: 'manifest', permission: 'pull', handle: manifests.get },
    { method: 'PUT', resource: 'manifest', permission: 'push', audit: 'artifact.push', handle: manifests.put },
    { method: 'DELETE', resource: 'manifest', permission: 'delete', audit: 'artifact.delete', handle: manifests.remove },
    { method: 'GET', resource: 'blob', permission: 'pull', handle: blobs.get },
    { method: 'HEAD', resource: 'blob', permission: 'pull', handle: blobs.get },
    { method: 'DELETE', resource: 'blob', permission: 'delete', audit: 'blob.delete', handle: blobs.remove },
    { method: 'POST', resource: 'uploads', permission: 'push', audit: 'blob.push', handle: uploads.begin },
    { method: 'PATCH', resource: 'upload', permission: 'push', audit: STAGED, handle: uploads.append },
    { method: 'PUT', resource: 'upload', permission: 'push', audit: 'blob.push', handle: uploads.finish },
    { method: 'GET', resource: 'upload', permission: 'push', handle: uploads.status },
    { method: 'DELETE', resource: 'upload', permission: 'push', audit: STAGED, handle: uploads.cancel },
    { method: 'GET', resource: 'tags', permission: 'pull', handle: tags },
    { method: 'GET', resource: 'referrers', permission: 'pull', handle: referrers },
  ];
}

export type RegistryHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** What was found out about a request before it failed. */
interface Seen {
  readonly target: Target | undefined;
  readonly route: Route | undefined;
  readonly identity: Identity | undefined;
}

const NO_QUERY = new URLSearchParams();
/** Name of the service in challenges; the same for every install, as tokens are bound to their install by key. */
const SERVICE = 'entrepot';

/** Answers everything under /v2. Never rejects. */
export function createRegistry(parts: RegistryParts): RegistryHandler {
  const { access, metrics, log, clock, origin, notes } = parts;
  const routes = new Map<string, Route & { readonly observe: Observe }>();
  const methods = new Map<Resource, string[]>();
  for (const route of routesOf(parts)) {
    routes.set(`${route.method} ${route.resource}`, { ...route, observe: metrics.request(route.resource, route.method) });
    methods.set(route.resource, [...(methods.get(route.resource) ?? []), route.method]);
  }

  async function serve(
    request: IncomingMessage,
    response: ServerResponse,
    target: Target,
    route: Route,
    query: URLSearchParams,
    identity: Identity,
  ): Promise<void> {
    const { actor } = identity;
    describeRequest(response, target.resource, actor.name);
    await authorize(request, target, route, identity);
    const { name, reference } = target;
    await route.handle({ request, response, name, reference, query, identity, actor: actor.name, record });

    async function record(tx: Session, { action, resource, ...change }: Recorded): Promise<void> {
      const named = action ?? ('audit' in route && typeof route.audit === 'string' ? route.audit : undefined);
      if (named === undefined) throw new Error(`${route.method} ${route.resource} changes something and names no audit record`);
      const where = { project: projectOf(name), ...(resource.type === 'project' ? {} : { repository: name }) };
      const { origin: from } = identity;
      await audit(tx, { actor, origin: from, action: named, resource: { ...where, ...resource }, outcome: 'success', ...change }, clock);
    }
  }

  async function identify(request: IncomingMessage, response: ServerResponse, target: Target, route: Route): Promise<Identity> {
    try {
      // A cookie says nothing here: what a browser sends by itself must not move images.
      return await access.identify({
        authorization: request.headers.authorization,
        cookie: undefined,
        origin: origin.auditOrigin(request, response),
      });
    } catch (error) {
      if (error instanceof AppError && error.code === 'unauthorized')
        throw challenge(request, scopeOf(target, route), error, 'invalid_token');
      throw error;
    }
  }

  async function authorize(request: IncomingMessage, target: Target, route: Route, identity: Identity): Promise<void> {
    const { permission } = route;
    if (permission === 'login') {
      if (identity.subject || identity.token) return;
      throw challenge(request, undefined, new AppError('unauthorized', 'authentication required'));
    }
    const decision = permission === 'catalog' ? access.decideCatalog(identity) : await access.decide(identity, permission, target.name);
    if (decision === 'allowed') return;
    if (decision === 'denied') throw new AppError('denied', 'requested access to the resource is denied');
    const error = new AppError('unauthorized', 'authentication required');
    throw challenge(request, scopeOf(target, route), error, identity.token ? 'insufficient_scope' : undefined);
  }

  /** RFC 6750 section 3 with the scopes of distribution's token specification. */
  function challenge(request: IncomingMessage, scope: string | undefined, error: AppError, reason?: string): AppError {
    const fields = [`realm="${origin.baseUrl(request)}/token"`, `service="${SERVICE}"`];
    if (scope !== undefined) fields.push(`scope="${scope}"`);
    if (reason !== undefined) fields.push(`error="${reason}"`);
    return new AppError('unauthorized', error.message, {
      cause: error.cause,
      headers: { 'WWW-Authenticate': `Bearer ${fields.join(',')}` },
    });
  }

  function fail(request: IncomingMessage, response: ServerResponse, thrown: unknown): AppError {
    const wanted =
      thrown instanceof AppError && thrown.code === 'unauthorized' ? (thrown.detail as { scope?: string } | undefined)?.scope : undefined;
    const error = wanted === undefined ? thrown : challenge(request, wanted, thrown as AppError, 'insufficient_scope');
    const shown = answerError(request, response, error);
    if (shown.status >= 500) {
      const requestId = requestIdOf(response);
      log.error({ err: shown.cause ?? shown, requestId, method: request.method, path: request.url?.split('?', 1)[0] }, 'request failed');
    }
    return shown;
  }

  /** An anonymous request that is told to authenticate is how every client begins, and no denial. */
  function noteDenial(request: IncomingMessage, response: ServerResponse, error: AppError, seen: Seen): void {
    const denial = denialOf(error);
    if (!denial) return;
    const { status } = error;
    const { reason, ...held } = denial;
    const { authorization } = request.headers;
    const { target, route, identity } = seen;
    if (status === 401 && (authorization === undefined || (identity && !identity.subject))) return;
    const name = target?.name ?? '';
    const action =
      !identity || !route ? 'session.create' : 'audit' in route && typeof route.audit === 'string' ? route.audit : readName(route);
    const where = name === '' ? {} : { project: projectOf(name), repository: name };
    const resource = { type: target?.resource ?? 'base', ...where, ...held };
    const from = identity?.origin ?? origin.auditOrigin(request, response);
    notes.denied(
      { actor: identity?.actor ?? ANONYMOUS, origin: from, action, resource, reason },
      identity ? undefined : claimedName(authorization),
    );
  }

  return async (request, response) => {
    const started = performance.now();
    const url = request.url ?? '/';
    const mark = url.indexOf('?');
    let observe: Observe | undefined;
    let routeClass = 'none';
    let target: Target | undefined;
    let route: Route | undefined;
    let identity: Identity | undefined;
    try {
      target = parsePath(mark < 0 ? url : url.slice(0, mark));
      if (!target) throw new AppError('not_found', 'no such endpoint');
      routeClass = target.resource;
      describeRequest(response, routeClass);
      const found = routes.get(`${request.method} ${target.resource}`);
      if (!found) throw notAllowed(methods.get(target.resource) ?? []);
      route = found;
      observe = found.observe;
      identity = await identify(request, response, target, route);
      await serve(request, response, target, route, mark < 0 ? NO_QUERY : new URLSearchParams(url.slice(mark + 1)), identity);
    } catch (error) {
      await skipBody(request);
      noteDenial(request, response, fail(request, response, error), { target, route, identity });
    }
    observe?.((performance.now() - started) / 1000);
    metrics.countStatus(routeClass, response.statusCode);
  };
}

function notAllowed(methods: readonly string[]): AppError {
  return new AppError('method_not_allowed', 'the method is not allowed here', { headers: { Allow: methods.join(', ') } });
}

/** Of what changes nothing, such as `artifact.pull`. */
function readName({ resource, permission }: Route): string {
  return `${resource === 'manifest' ? 'artifact' : resource}.${permission}`;
}

function scopeOf({ name }: Target, { permission }: Route): string | undefined {
  if (permission === 'catalog') return 'registry:catalog:*';
  if (permission === 'login') return undefined;
  return `repository:${name}:${permission === 'push' ? 'pull,push' : permission}`;
}
