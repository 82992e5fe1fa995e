import { createRequire } from 'node:module';
import type Type from 'typebox';
import type { Static, TObject, TSchema } from 'typebox';
import type { AuditActor, AuditOrigin, AuditResource } from './audit.ts';
import type { Session } from './database/index.ts';
import { AppError } from './errors.ts';

/** Who makes a request, as far as every room needs to know. */
export interface Caller {
  readonly actor: AuditActor;
  readonly origin: AuditOrigin;
}

type In<S extends TSchema | undefined> = S extends TSchema ? Static<S> : undefined;

/** One REST request, after its caller was allowed and its input checked against the route's schemas. */
export interface RestCall<P extends TObject | undefined, Q extends TObject | undefined, B extends TSchema | undefined, C extends Caller> {
  readonly params: In<P>;
  readonly query: In<Q>;
  readonly body: In<B>;
  readonly caller: C;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** `https://host:port` as the client sees it. */
  readonly baseUrl: string;
  /** Path and query as they came. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface Answer<R extends TSchema | undefined> {
  readonly body?: In<R>;
  /** Entity tag of the resource, without quotes. */
  readonly etag?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** `Set-Cookie` of each cookie; never part of what a repeated request is answered. */
  readonly cookies?: readonly string[];
  /** Where the next page of a list begins; becomes a `Link`. */
  readonly next?: string | undefined;
  /** In place of a body: what happens, as server-sent events; kept alive by comments while nothing does. */
  readonly events?: AsyncIterable<{ readonly event: string; readonly id?: string; readonly data: unknown }>;
  /** In place of a body: text as it comes, of a type of its own. */
  readonly text?: { readonly type: string; readonly chunks: AsyncIterable<string> };
}

/** What a change answers, and what its audit record tells. Neither `before` nor `after` holds a secret. */
export interface Changed<R extends TSchema | undefined> extends Answer<R> {
  readonly resource: AuditResource;
  /** Who it was, where the change itself found that out: a login. */
  readonly actor?: AuditActor;
  readonly before?: unknown;
  readonly after?: unknown;
  /** What a repeated request with the same `Idempotency-Key` is answered, where `body` holds a secret that is shown once. */
  readonly replay?: In<R>;
}

interface Common<
  P extends TObject | undefined,
  Q extends TObject | undefined,
  B extends TSchema | undefined,
  R extends TSchema | undefined,
> {
  /** Below `/api/v1`, such as `/projects/:project/members/:id`. What a parameter names is always looked up under those before it. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** Heading of the reference page. */
  readonly tag: string;
  /**
   * What the caller must be allowed to do: a permission of the access room, on the project and repository that the path
   * names, else on the system; `login` for any identity, `public` for anybody.
   */
  readonly permission: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly answer?: R;
  /** Media type of an answer that is no JSON: events or text as it comes. */
  readonly produces?: 'text/event-stream' | 'application/x-ndjson' | 'text/plain';
  /** Of success; 200, or 204 without an answer, where absent. */
  readonly status?: number;
}

export interface ReadRoute<
  P extends TObject | undefined = TObject | undefined,
  Q extends TObject | undefined = TObject | undefined,
  B extends TSchema | undefined = TSchema | undefined,
  R extends TSchema | undefined = TSchema | undefined,
  C extends Caller = Caller,
> extends Common<P, Q, B, R> {
  /** POST only where what is asked does not fit into an address, and nothing changes. */
  readonly method: 'GET' | 'HEAD' | 'POST';
  handle(call: RestCall<P, Q, B, C>): Promise<Answer<R>>;
}

export interface ChangeRoute<
  P extends TObject | undefined = TObject | undefined,
  Q extends TObject | undefined = TObject | undefined,
  B extends TSchema | undefined = TSchema | undefined,
  R extends TSchema | undefined = TSchema | undefined,
  C extends Caller = Caller,
  Prepared = unknown,
> extends Common<P, Q, B, R> {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Name of the audit record that is written in the transaction of the change, `<resource>.<verb>`. */
  readonly audit: string;
  /** All that must not run inside a transaction: slow hashes, calls to others. */
  prepare?(call: RestCall<P, Q, B, C>): Promise<Prepared>;
  /** The change itself; what it throws leaves no trace. */
  change(tx: Session, call: RestCall<P, Q, B, C>, prepared: Prepared): Promise<Changed<R>>;
}

/** A route whatever its schemas; the assembly in `api` checks input before it hands it over. */
export type Route = ReadRoute | ChangeRoute;

/** Declares routes for callers of one kind, so that each handler sees its input as its schemas say. */
export function routesFor<C extends Caller>() {
  return {
    read: <
      P extends TObject | undefined = undefined,
      Q extends TObject | undefined = undefined,
      B extends TSchema | undefined = undefined,
      R extends TSchema | undefined = undefined,
    >(
      route: ReadRoute<P, Q, B, R, C>,
    ): Route => route,
    change: <
      P extends TObject | undefined = undefined,
      Q extends TObject | undefined = undefined,
      B extends TSchema | undefined = undefined,
      R extends TSchema | undefined = undefined,
      Prepared = undefined,
    >(
      route: ChangeRoute<P, Q, B, R, C, Prepared>,
    ): Route => route,
  };
}

/** Full name of the repository that a path names: by its name within the project, or `_` for the one named as the project itself. */
export function repositoryIn(project: string, repository: string): string {
  return repository === '_' ? project : `${project}/${repository}`;
}

/** Of an address that is shown and recorded, and so no place for what is secret: neither user nor query nor fragment. */
export const PLAIN_URL = '^https?://[A-Za-z0-9._:\\[\\]-]+(/[^\\s?#@\\\\]*)?$';

const load = createRequire(import.meta.url);

/** Loaded with the first route table: this file is loaded at start, which has no use for four hundred more. */
function builder(): typeof Type {
  return (load('typebox') as { default: typeof Type }).default;
}

export const PAGE_DEFAULT = 50;
const PAGE_MAX = 1000;

/** Query of a list: page size and position, the fields it may be sorted by (`-` before one for descending), its filters. */
export function listQuery<S extends string, F extends Record<string, TSchema>>(sortable: readonly S[], filters: F) {
  const orders = sortable.flatMap((field): (S | `-${S}`)[] => [field, `-${field}`]);
  const Type = builder();
  return Type.Object(
    {
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_MAX, default: PAGE_DEFAULT, description: 'most items of the page' })),
      after: Type.Optional(Type.String({ maxLength: 1024, description: 'where the page begins; taken from the Link of the page before' })),
      sort: Type.Optional(Type.Enum(orders, { description: 'field to sort by, with - before it for descending' })),
      ...filters,
    },
    { additionalProperties: false },
  );
}

/** A page of a list as it is answered. */
export function listOf<T extends TSchema>(item: T) {
  const Type = builder();
  return Type.Object({ items: Type.Array(item) });
}

/** Position of a page, from the sort key of the last item before it; opaque to clients. */
export function cursorOf(...key: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/** Reads a position: as many parts as `like`, each of the same type. Throws `pagination_invalid` for what no page gave. */
export function readCursor<K extends readonly (string | number)[]>(text: string, like: K): K {
  let key: unknown;
  try {
    key = JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    key = undefined;
  }
  const fits = Array.isArray(key) && key.length === like.length && like.every((part, at) => typeof (key as unknown[])[at] === typeof part);
  if (!fits) throw new AppError('pagination_invalid', 'after is not a position that a page gave');
  return key as K;
}

/** A page from rows of which one more was read than it holds, and where the next page begins. */
export function pageOf<T>(
  rows: readonly T[],
  limit: number,
  keyOf: (last: T) => readonly (string | number)[],
): { readonly items: readonly T[]; readonly next: string | undefined } {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, next: rows.length > limit && last !== undefined ? cursorOf(...keyOf(last)) : undefined };
}

/** A page of a short list that was read whole, sorted by name as its rows are, or the other way. */
export function pageByName<T extends { readonly name: string }>(
  all: readonly T[],
  { limit = PAGE_DEFAULT, after, sort }: { readonly limit?: number; readonly after?: string; readonly sort?: string },
): { readonly items: readonly T[]; readonly next: string | undefined } {
  const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
  const isDown = sort === '-name';
  const rest = last === undefined ? all : all.filter(({ name }) => (isDown ? name < last : name > last));
  return pageOf(isDown ? rest.toReversed() : rest, limit, ({ name }) => [name]);
}

/** Refuses a change where `If-Match` names another state than the one there is (RFC 9110 section 13.1.1). */
export function requireMatch(call: { readonly headers: RestCall<undefined, undefined, undefined, Caller>['headers'] }, etag: string): void {
  const { 'if-match': given } = call.headers;
  if (typeof given !== 'string') return;
  const names = given.split(',').some((part) => part.trim() === '*' || part.trim() === `"${etag}"`);
  if (!names) throw new AppError('precondition_failed', 'the resource is not what If-Match says; read it again');
}
