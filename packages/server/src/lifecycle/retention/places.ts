import Type from 'typebox';
import { placeIdOf, placesOf } from '../../catalog/routes.ts';
import { AppError, type AuditResource, type Session } from '../../platform/index.ts';
import type { Policy } from './policy.ts';
import { findPolicy } from './store.ts';

const Id = Type.Integer({ minimum: 1 });

export const PLACES = placesOf('retention-policies', (outer) => ({
  ofPolicy: Type.Object({ ...outer, policy: Id }),
  ofRun: Type.Object({ ...outer, policy: Id, run: Id }),
}));
export type Place = (typeof PLACES)[number];

/** The policy of a path. Throws `not_found` where it is none of that place. */
export async function requirePolicy(session: Session, params: { readonly project?: string; readonly policy: number }): Promise<Policy> {
  const placeId = await placeIdOf(session, params);
  const found = await findPolicy(session, params.policy);
  if (!found || found.projectId !== placeId) throw new AppError('not_found', `there is no retention policy ${params.policy}`);
  return found;
}

export function resourceOf({ name }: Pick<Policy, 'name'>, project: string | undefined): AuditResource {
  return { type: 'retention-policy', name, ...(project === undefined ? {} : { project }) };
}
