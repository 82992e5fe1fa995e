import type { TObject, TSchema } from 'typebox';
import type { Identity } from '../../access/index.ts';
import { type Answer, AppError, type Changed, type ErrorCode, type RestCall, type Route, type Session } from '../../platform/index.ts';

/** A call, whatever its schemas. */
export type AnyCall = Omit<RestCall<undefined, undefined, undefined, Identity>, 'params' | 'query' | 'body'> & {
  readonly params: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly body: unknown;
};
type AnyAnswer = Omit<Answer<undefined>, 'body'> & { readonly body?: unknown };
type AnyChange = Omit<Changed<undefined>, 'body' | 'replay'> & { readonly body?: unknown; readonly replay?: unknown };
type ChangeOf = Extract<Route, { change: unknown }>;

/** The call as a route of the management API would get it. */
interface Inner {
  /** Another route than the one that is named; its permission is then looked at by whoever says so. */
  readonly route?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly headers?: AnyCall['headers'];
}

export interface Adapted {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly params: TObject;
  readonly permission?: string;
  readonly body?: TSchema;
  readonly answer?: TSchema;
  readonly status?: number;
  call?(call: AnyCall): Promise<Inner>;
  /** What is answered, from what the management API would; nothing where absent. Called for a secret's replay too. */
  tell?(body: unknown, call: AnyCall): { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> };
  /** Codes of refusals that Harbor tells otherwise. */
  readonly codes?: Partial<Record<ErrorCode, ErrorCode>>;
}

/** The routes of the management API for others to stand on. */
export interface Adapter {
  /** A route with the checks, the effect and the audit record of one of the management API, and its permission unless told. */
  change(name: string, adapted: Adapted): Route;
  /** What a route that reads answers. */
  read(name: string, call: AnyCall): Promise<AnyAnswer>;
}

export function adapter(routes: readonly Route[]): Adapter {
  const known = new Map(routes.map((route) => [`${route.method} ${route.path}`, route]));

  function changeNamed(name: string): ChangeOf {
    const route = known.get(name);
    if (!route || !('change' in route)) throw new Error(`there is no change ${name} in the management API`);
    return route;
  }

  return {
    change(name, { call: read, tell, codes = {}, ...own }) {
      const { summary, tag, permission, audit } = changeNamed(name);
      return {
        ...{ summary, tag, permission, audit, status: 200 },
        ...own,
        prepare: (call: AnyCall) =>
          recoded(codes, async () => {
            const { route = name, ...changed } = (await read?.(call)) ?? {};
            const inner = { ...call, ...changed };
            const base = changeNamed(route);
            return { base, inner, prepared: await base.prepare?.(inner) };
          }),
        change: (tx: Session, call: AnyCall, { base, inner, prepared }: { base: ChangeOf; inner: AnyCall; prepared: unknown }) =>
          recoded(codes, async () => {
            const done = (await base.change(tx, inner, prepared)) as AnyChange;
            const { body, replay, etag: _, headers: __, ...record } = done;
            const isSecret = 'replay' in done;
            return { ...record, ...tell?.(body, call), ...(isSecret ? { replay: tell?.(replay, call).body } : {}) };
          }),
      };
    },
    async read(name, call) {
      const route = known.get(name);
      if (!route || !('handle' in route)) throw new Error(`nothing is read by ${name} in the management API`);
      return await route.handle(call);
    },
  };
}

async function recoded<T>(codes: Partial<Record<ErrorCode, ErrorCode>>, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const code = codes[error.code];
    throw code === undefined ? error : new AppError(code, error.message, { cause: error });
  }
}
