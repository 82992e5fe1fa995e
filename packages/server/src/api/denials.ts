import { isRepositoryName, projectOf } from '@entrepot/oci';
import { claimedName, type Identity } from '../access/index.ts';
import { ANONYMOUS, type AppError, type AuditNotes, type AuditOrigin, denialOf, type Route, repositoryIn } from '../platform/index.ts';

export interface Denied {
  readonly error: AppError;
  readonly route: Pick<Route, 'permission'> & { readonly audit?: string };
  /** undefined: the proof of it was wrong. */
  readonly identity?: Identity;
  readonly origin: AuditOrigin;
  readonly params: Readonly<Record<string, string | undefined>>;
  readonly headers: { readonly authorization?: string | undefined };
  readonly body: unknown;
}

/** Tells the record of a request that was refused for who made it, or by a rule. */
export function noteDenial(notes: AuditNotes, { error, route, identity, origin, params, headers, body }: Denied): void {
  const denial = denialOf(error);
  if (!denial) return;
  const { reason, ...held } = denial;
  const isLogin = identity === undefined || route.permission === 'public';
  const claimed = identity === undefined ? claimedName(headers.authorization) : isLogin ? nameIn(body) : undefined;
  const action = isLogin ? 'session.create' : (route.audit ?? route.permission);
  const resource = { type: action.split('.', 1)[0]?.split(':', 1)[0] ?? 'none', ...placeOf(params), ...held };
  notes.denied({ actor: identity?.actor ?? ANONYMOUS, origin, action, resource, reason }, claimed);
}

/** The name in the form of a login. */
function nameIn(body: unknown): string | undefined {
  const { name } = (body ?? {}) as { name?: unknown };
  return typeof name === 'string' ? name : undefined;
}

/** The project and repository that a path names, as far as they could be any. */
function placeOf({ project, repository }: Denied['params']): { project?: string; repository?: string } {
  if (project === undefined || !isRepositoryName(project) || projectOf(project) !== project) return {};
  const name = repository === undefined ? undefined : repositoryIn(project, repository);
  return name !== undefined && isRepositoryName(name) ? { project, repository: name } : { project };
}
