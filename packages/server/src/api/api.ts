import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import fastifySwagger from '@fastify/swagger';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Access, Identity } from '../access/index.ts';
import {
  type Answer,
  AppError,
  type AuditNotes,
  append,
  audit,
  type Changed,
  type Clock,
  type Database,
  describeRequest,
  findReplay,
  type Log,
  type Replay,
  type RequestKey,
  type RequestOrigin,
  type RestCall,
  type Route,
  requestIdOf,
  requestKey,
  saveReplay,
} from '../platform/index.ts';
import { authorize, checkPermission, requireSameOrigin } from './authorize.ts';
import { noteDenial } from './denials.ts';
import { describeApi, PROBLEM, schemaOf } from './openapi.ts';
import { problemOf, toShown } from './problems.ts';
import { compileCheck, type Part } from './validation.ts';

export interface ApiParts {
  readonly database: Database;
  readonly access: Access;
  readonly clock: Clock;
  readonly log: Log;
  readonly origin: RequestOrigin;
  /** Where denials are told. */
  readonly notes: AuditNotes;
}

export interface ApiHandler {
  /** Answers everything under `/api`. */
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** The OpenAPI document. */
  document(): unknown;
}

type Call = Omit<RestCall<undefined, undefined, undefined, Identity>, 'params' | 'query' | 'body'> & {
  readonly params: Record<string, string>;
  readonly query: Record<string, unknown>;
  readonly body: unknown;
};
/** Changes that others may wait to hear of; each is announced under the name of its audit record. */
const ANNOUNCED = new Set([
  ...['project.create', 'project.update', 'project.delete'],
  ...['member.create', 'member.update', 'member.delete', 'member.batch'],
]);

type AnyAnswer = Omit<Answer<undefined>, 'body'> & { readonly body?: unknown };
type AnyChange = Omit<Changed<undefined>, 'body' | 'replay'> & { readonly body?: unknown; readonly replay?: unknown };

/** One face of the API: a table of routes, where it stands, and the words it uses. */
export interface ApiSurface {
  readonly prefix: string;
  readonly routes: readonly Route[];
  /** Whether the OpenAPI document tells of it. */
  readonly documented: boolean;
  /** How a failure is answered. */
  failure(error: AppError, requestId: string | undefined): { readonly status: number; readonly type: string; readonly body: unknown };
  /** What a path names, in the words of the rest of the server; absent: as it stands. */
  readParams?(params: Readonly<Record<string, string>>, headers: IncomingMessage['headers']): Promise<Record<string, string>>;
}

/** The management API itself. */
export function managementSurface(routes: readonly Route[]): ApiSurface {
  return {
    prefix: '/api/v1',
    routes,
    documented: true,
    failure: (error, requestId) => ({ status: error.status, type: 'application/problem+json', body: problemOf(error, requestId) }),
  };
}

const MAX_BODY_BYTES = 1 << 20;

/** Assembles the REST surfaces, the main one first, from the rooms' route tables. Throws for a table with a mistake. */
export async function createApi(parts: ApiParts, surfaces: readonly [ApiSurface, ...ApiSurface[]]): Promise<ApiHandler> {
  const { access, log, origin } = parts;
  const app = fastify({ bodyLimit: MAX_BODY_BYTES, routerOptions: { maxParamLength: 512 }, exposeHeadRoutes: false });
  const identities = new WeakMap<FastifyRequest, Identity>();
  /** What is known of a request before it is allowed. */
  const seen = new WeakMap<FastifyRequest, { readonly route: Route; identity?: Identity }>();

  app.setValidatorCompiler(({ schema, httpPart }) => {
    const check = compileCheck(schema, httpPart as Part);
    return (value: unknown) => {
      try {
        return { value: check(value) };
      } catch (error) {
        return { error: error as Error };
      }
    };
  });
  app.removeContentTypeParser('text/plain'); // a form of another site can send it without asking (attack class A11)
  // Many clients name the type of a body that they do not send.
  const readJson = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text: string, done) => {
    if (text === '') done(null, undefined);
    else void readJson(request, text, done);
  });
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));
  app.setErrorHandler((error, request, reply) => fail(error, request, reply));
  app.setNotFoundHandler((request, reply) => fail(new AppError('not_found', 'no such address'), request, reply));
  await app.register(fastifySwagger, describeApi());
  app.addSchema(PROBLEM);

  for (const surface of surfaces) for (const route of surface.routes) addRoute(surface, route);
  await addDocument(app);
  await app.ready();

  function addRoute({ prefix, documented, readParams }: ApiSurface, route: Route): void {
    checkPermission(route);
    app.route({
      method: route.method,
      url: prefix + route.path,
      schema: documented ? schemaOf(route) : { ...schemaOf(route), hide: true },
      // Before the body is read and any input is looked at.
      onRequest: async (request, reply) => {
        describeRequest(reply.raw, route.path);
        seen.set(request, { route });
        const identity = await access.identify({
          authorization: request.headers.authorization,
          cookie: request.headers.cookie,
          origin: origin.auditOrigin(request.raw, reply.raw),
        });
        seen.set(request, { route, identity });
        describeRequest(reply.raw, route.path, identity.actor.name);
        if (request.method !== 'GET') {
          const stated = identity.actor.credential?.kind === 'session';
          requireSameOrigin(request.headers, origin.baseUrl(request.raw), { stated });
        }
        if (readParams) request.params = await readParams(request.params as Record<string, string>, request.headers);
        await authorize(access, identity, route, request.params as Record<string, string>);
        identities.set(request, identity);
      },
      handler: (request, reply) => serve(route, `${route.method} ${prefix}${route.path}`, request, reply),
    });
  }

  async function serve(route: Route, name: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const caller = identities.get(request);
    if (!caller) throw new Error('a request was not authorized');
    const call: Call = {
      params: request.params as Record<string, string>,
      query: request.query as Record<string, unknown>,
      body: request.body,
      caller,
      now: parts.clock.now(),
      baseUrl: origin.baseUrl(request.raw),
      url: request.url,
      headers: request.headers,
    };
    if ('handle' in route) return send(route, call, reply, await route.handle(call));
    const given = request.headers['idempotency-key'];
    // Those whom nobody knows would share their keys, and see each other's answers.
    const isRepeatable = route.method === 'POST' && caller.subject !== undefined;
    const key = typeof given === 'string' && isRepeatable ? keyOf(given, name, call) : undefined;
    const known = key && (await findReplay(parts.database, key));
    if (known) return repeat(reply, known);
    const prepared: unknown = await route.prepare?.(call);
    const done = await change(route, call, prepared, key);
    return 'replay' in done ? repeat(reply, done.replay) : send(route, call, reply, done.changed);
  }

  async function change(
    route: Extract<Route, { change: unknown }>,
    call: Call,
    prepared: unknown,
    key: RequestKey | undefined,
  ): Promise<{ readonly replay: Replay } | { readonly changed: AnyChange }> {
    const { actor: caller, origin: from } = call.caller;
    return await parts.database.write(async (tx) => {
      const replay = key && (await findReplay(tx, key)); // another request of the same key may have been quicker
      if (replay) return { replay };
      const changed = (await route.change(tx, call, prepared)) as AnyChange;
      const { resource, before, after, actor = caller } = changed;
      const told = { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
      await audit(tx, { actor, origin: from, action: route.audit, resource, outcome: 'success', ...told }, parts.clock);
      if (ANNOUNCED.has(route.audit)) {
        const event = { topic: route.audit, repository: resource.project ?? '', payload: { by: actor.name, ...told } };
        await append(tx, event, call.now);
      }
      const { etag, headers, body } = changed;
      const shown = 'replay' in changed ? changed.replay : body;
      if (key) await saveReplay(tx, key, { status: statusOf(route, changed), body: shown, etag, headers }, call.now);
      return { changed };
    });
  }

  function send(route: Route, { query }: Call, reply: FastifyReply, answer: AnyAnswer): FastifyReply {
    const { body, etag, headers = {}, cookies = [], next, events, text } = answer;
    reply.code(statusOf(route, answer)).headers({ ...COMMON, ...headers });
    if (cookies.length > 0) reply.header('Set-Cookie', cookies);
    if (etag !== undefined) reply.header('ETag', `"${etag}"`);
    if (next !== undefined) reply.header('Link', nextLink(reply.request.url, query, next));
    if (events) return reply.type('text/event-stream').send(Readable.from(eventText(events)));
    if (text) return reply.type(text.type).send(Readable.from(text.chunks));
    return body === undefined ? reply.send() : reply.type('application/json').send(body);
  }

  function fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const error = toShown(thrown);
    const requestId = requestIdOf(reply.raw);
    if (error.status >= 500) log.error({ err: error.cause ?? error, requestId, path: request.url.split('?', 1)[0] }, 'request failed');
    const known = seen.get(request);
    if (known) {
      const { body, params, headers, raw } = request as FastifyRequest<{ Params: Record<string, string> }>;
      noteDenial(parts.notes, { error, ...known, origin: origin.auditOrigin(raw, reply.raw), params, body, headers });
    }
    const challenge = error.status === 401 ? { 'WWW-Authenticate': 'Bearer realm="entrepot"' } : {};
    const surface = surfaces.find(({ prefix }) => request.url.startsWith(`${prefix}/`)) ?? surfaces[0];
    const { status, type, body } = surface.failure(error, requestId);
    return reply
      .code(status)
      .headers({ ...COMMON, ...challenge, ...error.headers })
      .type(type)
      .send(JSON.stringify(body));
  }

  return {
    handle(request, response) {
      describeRequest(response, 'api');
      app.routing(request, response);
    },
    document: () => app.swagger(),
  };
}

const COMMON = { 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-store' } as const;

function statusOf(route: Route, answer: AnyAnswer): number {
  return route.status ?? (route.answer === undefined && answer.events === undefined && answer.text === undefined ? 204 : 200);
}

function repeat(reply: FastifyReply, { status, body, etag, headers = {} }: Replay): FastifyReply {
  reply.code(status).headers({ ...COMMON, ...headers, 'Idempotent-Replayed': 'true' });
  if (etag !== undefined) reply.header('ETag', `"${etag}"`);
  return body === undefined ? reply.send() : reply.type('application/json').send(body);
}

function keyOf(given: string, route: string, { caller, params, query, body }: Call): RequestKey {
  const { kind, id } = caller.actor;
  return requestKey(given, { caller: `${kind}:${id}`, route, input: [params, query, body ?? null] });
}

/** The same list from another position on (RFC 8288). */
function nextLink(url: string, query: Record<string, unknown>, next: string): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query as Record<string, string | number | boolean | undefined>)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  parameters.set('after', next);
  return `<${url.split('?', 1)[0]}?${parameters}>; rel="next"`;
}

/** Silence after which a comment shows that the stream still lives: below the idle limits of common proxies. */
const KEEP_ALIVE_MS = 15_000;

/** Server-sent events (WHATWG HTML, section 9.2). */
async function* eventText(events: NonNullable<AnyAnswer['events']>): AsyncGenerator<string> {
  const source = events[Symbol.asyncIterator]();
  yield ': here\n\n'; // sends the head, which else waits for the first event
  try {
    for (let next = source.next(); ; ) {
      const silence = new AbortController();
      const pause = delay(KEEP_ALIVE_MS, undefined, { signal: silence.signal }).catch(() => undefined);
      const come = await Promise.race([next, pause]);
      silence.abort();
      if (come === undefined) {
        yield ': still here\n\n';
        continue;
      }
      if (come.done) return;
      const { event, id, data } = come.value;
      yield `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
      next = source.next();
    }
  } finally {
    await source.return?.();
  }
}

async function addDocument(app: FastifyInstance): Promise<void> {
  app.get('/api/openapi.json', { schema: { hide: true } }, (_, reply) => reply.headers(COMMON).send(app.swagger()));
  const { default: reference } = await import('@scalar/fastify-api-reference');
  await app.register(reference, { routePrefix: '/api/docs', configuration: { url: '/api/openapi.json', withDefaultFonts: false } });
}
