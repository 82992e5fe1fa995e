import Type, { type TInteger, type TObject, type TOptional, type TString } from 'typebox';
import { findProject } from '../../catalog/index.ts';
import { AppError, type AuditResource, type Session } from '../../platform/index.ts';
import type { Policy } from './policy.ts';
import { findPolicy } from './store.ts';

/** Where policies stand: the same handlers serve those of projects, and of the system, where the project is absent. */
export interface Place {
  readonly path: string;
  readonly where: string;
  readonly ofPlace: TObject<{ project: TOptional<TString> }>;
  readonly ofPolicy: TObject<{ project: TOptional<TString>; policy: TInteger }>;
  readonly ofRun: TObject<{ project: TOptional<TString>; policy: TInteger; run: TInteger }>;
}

function place(path: string, where: string, outer: Record<string, TString>): Place {
  const policy = Type.Integer({ minimum: 1 });
  const schemas = {
    ofPlace: Type.Object(outer),
    ofPolicy: Type.Object({ ...outer, policy }),
    ofRun: Type.Object({ ...outer, policy, run: Type.Integer({ minimum: 1 }) }),
  };
  return { path, where, ...(schemas as unknown as Pick<Place, 'ofPlace' | 'ofPolicy' | 'ofRun'>) };
}

export const PLACES: readonly Place[] = [
  place('/retention-policies', 'of the system', {}),
  place('/projects/:project/retention-policies', 'of a project', { project: Type.String({ maxLength: 128 }) }),
];

/** Id of the project of a path; null: the system. Throws `not_found` where there is none. */
export async function placeIdOf(session: Session, { project }: { readonly project?: string }): Promise<number | null> {
  if (project === undefined) return null;
  const found = await findProject(session, project);
  if (!found) throw new AppError('not_found', `there is no project ${project}`);
  return found.id;
}

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
