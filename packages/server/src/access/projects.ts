import { createProject, findProject } from '../catalog/index.ts';
import { append, type Session } from '../platform/index.ts';
import { assign } from './assignments.ts';
import type { Identity } from './identity.ts';

/**
 * Makes a project where there is none, as a private one that its maker administers; does nothing where there is one. The
 * caller has checked that the identity may make projects.
 */
export async function ensureProject(tx: Session, name: string, identity: Identity, quotaBytes: number, now: number): Promise<boolean> {
  const by = identity.actor.name;
  if (!(await createProject(tx, { name, public: false, quotaBytes, by, now }))) return false;
  await append(tx, { topic: 'project.create', repository: name, payload: { by } }, now);
  const project = await findProject(tx, name);
  if (!project) throw new Error('a project vanished in its own transaction');
  if (identity.subject) await assign(tx, { subject: identity.subject, role: 'admin', projectId: project.id, by, now });
  return true;
}
