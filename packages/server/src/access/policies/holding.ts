import type { Access } from '../access.ts';
import type { Identity } from '../identity.ts';
import { requireGrantable } from '../role-routes.ts';
import { type PolicyDocument, partsOf } from './policy-document.ts';

/** Throws `denied` unless an identity holds all that a document allows, before it gives that, or denies, before it takes that away. */
export async function requireHoldsPolicy(
  access: Access,
  caller: Identity,
  document: PolicyDocument,
  effect: 'allow' | 'deny',
): Promise<void> {
  for (const { permissions, project } of partsOf(document, effect)) await requireGrantable(access, caller, permissions, project);
}
