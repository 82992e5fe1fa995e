import type { Session } from '../../platform/index.ts';
import { dropSubjectAssignments, requireSystemAdmin } from '../assignments.ts';
import { dropKeysOf } from '../machines/access-keys.ts';
import { dropLinks } from '../providers/links.ts';
import { endSessions } from '../sessions.ts';
import { dropPasskeys } from './passkey-store.ts';
import { dropSecondFactor } from './second-factor.ts';
import { dropLoginSources } from './throttle.ts';
import { deleteUserRow } from './user-store.ts';

/**
 * Deletes a user and all that lets it in; what it did stays in the audit trail under its name. Throws `conflict` for the last
 * administrator of the system.
 */
export async function deleteUser(tx: Session, id: number): Promise<void> {
  await endSessions(tx, id);
  await dropLoginSources(tx, id);
  await dropSecondFactor(tx, id);
  await dropPasskeys(tx, id);
  await dropLinks(tx, id);
  await dropKeysOf(tx, { kind: 'user', id });
  await dropSubjectAssignments(tx, { kind: 'user', id });
  await deleteUserRow(tx, id);
  await requireSystemAdmin(tx);
}
