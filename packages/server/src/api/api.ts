import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import fastifySwagger from '@fastify/swagger';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Access, Identity } from '../access/index.ts';
import {
  type Answer,
  AppError,
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
import { describeApi, PROBLEM, schemaOf } from './openapi.ts';
import { problemOf, toShown } from './problems.ts';
import { compileCheck, type Part } from './validation.ts';

export interface ApiParts {
  readonly database: Database;
  readonly access: Access;
  readonly clock: Clock;
  readonly log: Log;
  readonly origin: RequestOrigin;
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

type AnyAnswer = Answer<undefined> & { readonly body?: unknown };
type AnyChange = Changed<undefined> & { readonly body?: unknown; readonly replay?: unknown };

const PREFIX = '/api/v1';
const MAX_BODY_BYTES = 1 << 20;

/** Assembles the REST surface from the rooms' route tables. Throws for a table with a mistake. */
export async function createApi(parts: ApiParts, routes: readonly Route[]): Promise<ApiHandler> {
  const { access, log, origin } = parts;
  const app = fastify({ bodyLimit: MAX_BODY_BYTES, routerOptions: { maxParamLength: 512 }, exposeHeadRoutes: false });
  const identities = new WeakMap<FastifyRequest, Identity>();

  app.setValidatorCompiler(({ schema, httpPart }) => {
    const check = compileCheck(schema as never, httpPart as Part);
    return (value: unknown) => {
      try {
        return { value: check(value) };
      } catch (error) {
        return { error: error as Error };
      }
    };
  });
  app.removeContentTypeParser('text/plain'); // a form of another site can send it without asking (attack class A11)
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));
  app.setErrorHandler((error, request, reply) => fail(error, request, reply));
  app.setNotFoundHandler((request, reply) => fail(new AppError('not_found', 'no such address'), request, reply));
  await app.register(fastifySwagger, describeApi());
  app.addSchema(PROBLEM);

  for (const route of routes) {
    checkPermission(route);
    app.route({
      method: route.method,
      url: PREFIX + route.path,
      schema: schemaOf(route),
      // Before the body is read and any input is looked at.
      onRequest: async (request, reply) => {
        describeRequest(reply.raw, route.path);
        const identity = await access.identify({
          authorization: request.headers.authorization,
          cookie: request.headers.cookie,
          origin: origin.auditOrigin(request.raw, reply.raw),
        });
        describeRequest(reply.raw, route.path, identity.actor.name);
        if (request.method !== 'GET') {
          const stated = identity.actor.credential?.kind === 'session';
          requireSameOrigin(request.headers, origin.baseUrl(request.raw), { stated });
        }
        await authorize(access, identity, route, request.params as Record<string, string>);
        identities.set(request, identity);
      },
      handler: (request, reply) => serve(route, request, reply),
    });
  }
  await addDocument(app);
  await app.ready();

  async function serve(route: Route, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const caller = identities.get(request);
    if (!caller) throw new Error('a request was not authorized');
    const call: Call = {
      params: request.params as Record<string, string>,
      query: request.query as Record<string, unknown>,
      body: request.body,
      caller,
      now: parts.clock.now(),
      baseUrl: origin.baseUrl(request.raw),
      headers: request.headers,
    };
    if ('handle' in route) return send(route, call, reply, (await route.handle(call)) as AnyAnswer);
    const given = request.headers['idempotency-key'];
    // Those whom nobody knows would share their keys, and see each other's answers.
    const isRepeatable = route.method === 'POST' && caller.subject !== undefined;
    const key = typeof given === 'string' && isRepeatable ? keyOf(given, route, call) : undefined;
    const known = key && (await findReplay(parts.database, key));
    if (known) return repeat(reply, known);
    const prepared = await route.prepare?.(call);
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
    const challenge = error.status === 401 ? { 'WWW-Authenticate': 'Bearer realm="entrepot"' } : {};
    return reply
      .code(error.status)
      .headers({ ...COMMON, ...challenge, ...error.headers })
      .type('application/problem+json')
      .send(JSON.stringify(problemOf(error, requestId)));
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

function keyOf(given: string, { method, path }: Route, { caller, params, query, body }: Call): RequestKey {
  const { kind, id } = caller.actor;
  return requestKey(given, { caller: `${kind}:${id}`, route: `${method} ${path}`, input: [params, query, body ?? null] });
}

/** The same list from another position on (RFC 8288). */
function nextLink(url: string, query: Record<string, unknown>, next: string): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
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
