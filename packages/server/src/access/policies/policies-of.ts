import { LRUCache } from 'lru-cache';
import { queriesOf, type Session } from '../../platform/index.ts';
import type { Subject } from '../identity.ts';
import { ALL_PERMISSIONS } from '../permissions.ts';
import type { AccessTables } from '../schema.ts';
import type { Statement } from '../statements.ts';
import { type CompiledPolicy, compilePolicy, type PolicyDocument } from './policy-document.ts';

const query = queriesOf<AccessTables>('access');
const attachedTo = query<{ kind: 'user' | 'robot'; id: number }>()('policiesAttachedTo', (db, p) =>
  db
    .selectFrom('policy_attachment')
    .innerJoin('policy', 'policy.id', 'policy_attachment.policy_id')
    .leftJoin('user_group', (join) =>
      join.onRef('user_group.id', '=', 'policy_attachment.subject_id').on('policy_attachment.subject_kind', '=', 'group'),
    )
    .select(['policy.id', 'policy.name', 'policy.document', 'policy.version', 'user_group.name as group'])
    .where((eb) =>
      eb.or([
        eb.and([eb('policy_attachment.subject_kind', '=', p('kind')), eb('policy_attachment.subject_id', '=', p('id'))]),
        eb.and([
          eb(p('kind'), '=', 'user'),
          eb('policy_attachment.subject_kind', '=', 'group'),
          eb('policy_attachment.subject_id', 'in', eb.selectFrom('group_member').select('group_id').where('user_id', '=', p('id'))),
        ]),
      ]),
    ),
);

const MAX_COMPILED = 1000;
const EVERYTHING = new Set(ALL_PERMISSIONS);

/** Rules that policies bind a subject by, itself or through its groups, in every project. */
export function createPolicyRules(session: Session): (subject: Pick<Subject, 'kind' | 'id' | 'name'>) => Promise<Statement[]> {
  const compiled = new LRUCache<string, Promise<CompiledPolicy>>({ max: MAX_COMPILED });
  return async ({ kind, id, name }) => {
    const statements: Statement[] = [];
    for (const { id: policyId, version, name: policy, document, group } of await session.all(attachedTo, { kind, id })) {
      const key = `${policyId}.${version}`;
      const compiling = compiled.get(key) ?? compilePolicy(policy, JSON.parse(document) as PolicyDocument).catch(() => unreadable(policy));
      compiled.set(key, compiling);
      const through = group === null ? '' : ` through group ${group}`;
      for (const rule of (await compiling)({ kind, name })) statements.push({ ...rule, source: rule.source + through });
    }
    return statements;
  };
}

/** A policy that this version cannot read may deny anything. */
function unreadable(policy: string): CompiledPolicy {
  const source = `policy ${policy}, which cannot be read`;
  return () => [{ effect: 'deny', permissions: EVERYTHING, project: undefined, repositories: undefined, source }];
}
