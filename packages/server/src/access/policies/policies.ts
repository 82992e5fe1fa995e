import { sql } from 'kysely';
import { AppError, BEFORE_ALL, containing, holdsText, type Order, type Query, queriesOf, type Session } from '../../platform/index.ts';
import type { SubjectKey } from '../assignments.ts';
import { touchAccess } from '../rules.ts';
import type { AccessTables } from '../schema.ts';
import type { PolicyDocument } from './policy-document.ts';

interface Tables extends AccessTables {
  robot: { id: number; name: string };
}

const query = queriesOf<Tables>('access');
const COLUMNS = ['id', 'name', 'description', 'document', 'created_at as createdAt', 'created_by as createdBy', 'version'] as const;

/** Attachments of one policy; who needs more attaches it to a group. */
const MAX_ATTACHMENTS = 1000;

const policyByName = query<{ name: string }>()('policyByName', (db, p) =>
  db.selectFrom('policy').select(COLUMNS).where('name', '=', p('name')),
);
const ofRobot = query<{ robotId: number }>()('policiesOfRobot', (db, p) =>
  db
    .selectFrom('policy')
    .select(COLUMNS)
    .where('id', 'in', (eb) =>
      eb.selectFrom('policy_attachment').select('policy_id').where('subject_kind', '=', 'robot').where('subject_id', '=', p('robotId')),
    )
    .orderBy('id'),
);
interface Position {
  last: string;
  name: string;
  limit: number;
}
const listed = (name: string, order: Order): Query<Position, Row> =>
  query<Position>()(name, (db, p) =>
    db
      .selectFrom('policy')
      .select(COLUMNS)
      .where('name', order === 'asc' ? '>' : '<', p('last'))
      .where(holdsText(sql.ref('name'), p('name')))
      .orderBy('name', order)
      .limit(p('limit')),
  );
const LISTS = { asc: listed('policies', 'asc'), desc: listed('policiesDown', 'desc') };
const insertPolicy = query<{ name: string; description: string; document: string; now: number; by: string }>()('insertPolicy', (db, p) =>
  db
    .insertInto('policy')
    .values({
      name: p('name'),
      description: p('description'),
      document: p('document'),
      created_at: p('now'),
      created_by: p('by'),
      version: 1,
    })
    .onConflict((conflict) => conflict.column('name').doNothing()),
);
const updatePolicy = query<{ id: number; description: string; document: string }>()('updatePolicy', (db, p) =>
  db
    .updateTable('policy')
    .set((eb) => ({ description: p('description'), document: p('document'), version: eb('version', '+', 1) }))
    .where('id', '=', p('id')),
);
const deletePolicyRow = query<{ id: number }>()('deletePolicy', (db, p) => db.deleteFrom('policy').where('id', '=', p('id')));
const attachmentsOf = query<{ id: number }>()('policyAttachments', (db, p) =>
  db
    .selectFrom('policy_attachment')
    .leftJoin('user', (join) =>
      join.onRef('user.id', '=', 'policy_attachment.subject_id').on('policy_attachment.subject_kind', '=', 'user'),
    )
    .leftJoin('user_group', (join) =>
      join.onRef('user_group.id', '=', 'policy_attachment.subject_id').on('policy_attachment.subject_kind', '=', 'group'),
    )
    .leftJoin('robot', (join) =>
      join.onRef('robot.id', '=', 'policy_attachment.subject_id').on('policy_attachment.subject_kind', '=', 'robot'),
    )
    .select([
      'policy_attachment.subject_kind as kind',
      sql<string>`coalesce("user".name, user_group.name, robot.name, '')`.as('name'),
      'policy_attachment.created_at as createdAt',
      'policy_attachment.created_by as createdBy',
    ])
    .where('policy_attachment.policy_id', '=', p('id'))
    .orderBy('policy_attachment.subject_kind')
    .orderBy('policy_attachment.subject_id')
    .limit(MAX_ATTACHMENTS),
);
const binds = query<{ id: number; kind: 'user' | 'robot'; subjectId: number }>()('policyBinds', (db, p) =>
  db
    .selectFrom('policy_attachment')
    .select('policy_id')
    .where('policy_id', '=', p('id'))
    .where((eb) =>
      eb.or([
        eb.and([eb('subject_kind', '=', p('kind')), eb('subject_id', '=', p('subjectId'))]),
        eb.and([
          eb(p('kind'), '=', 'user'),
          eb('subject_kind', '=', 'group'),
          eb('subject_id', 'in', eb.selectFrom('group_member').select('group_id').where('user_id', '=', p('subjectId'))),
        ]),
      ]),
    )
    .limit(1),
);
const insertAttachment = query<{ id: number; kind: Kind; subjectId: number; now: number; by: string }>()('attachPolicy', (db, p) =>
  db
    .insertInto('policy_attachment')
    .values({ policy_id: p('id'), subject_kind: p('kind'), subject_id: p('subjectId'), created_at: p('now'), created_by: p('by') })
    .onConflict((conflict) => conflict.columns(['subject_kind', 'subject_id', 'policy_id']).doNothing()),
);
const deleteAttachment = query<{ id: number; kind: Kind; subjectId: number }>()('detachPolicy', (db, p) =>
  db
    .deleteFrom('policy_attachment')
    .where('policy_id', '=', p('id'))
    .where('subject_kind', '=', p('kind'))
    .where('subject_id', '=', p('subjectId')),
);
const countAttachments = query<{ id: number }>()('countPolicyAttachments', (db, p) =>
  db
    .selectFrom('policy_attachment')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('policy_id', '=', p('id')),
);

type Kind = SubjectKey['kind'];

interface Row {
  readonly id: number;
  readonly name: string;
  readonly description: string;
  readonly document: string;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

/** Statements that allow or deny, written once and attached to users, groups and robots. */
export interface Policy extends Omit<Row, 'document'> {
  readonly document: PolicyDocument;
}

export interface PolicyAttachment {
  readonly kind: Kind;
  readonly name: string;
  readonly createdAt: number;
  readonly createdBy: string;
}

const toPolicy = (row: Row): Policy => ({ ...row, document: JSON.parse(row.document) as PolicyDocument });

/** Policies that are attached to a robot. */
export async function policiesOfRobot(session: Session, robotId: number): Promise<Policy[]> {
  return (await session.all(ofRobot, { robotId })).map(toPolicy);
}

/** Throws `not_found` where there is no policy of that name. */
export async function requirePolicy(session: Session, name: string): Promise<Policy> {
  const row = await session.first(policyByName, { name });
  if (!row) throw new AppError('not_found', `there is no policy ${name}`);
  return toPolicy(row);
}

export async function pageOfPolicies(
  session: Session,
  page: { readonly last: string | undefined; readonly name?: string | undefined; readonly order: Order; readonly limit: number },
): Promise<Policy[]> {
  const { last, name = '', order, limit } = page;
  return (await session.all(LISTS[order], { last: last ?? BEFORE_ALL[order].text, name: containing(name), limit })).map(toPolicy);
}

export async function createPolicy(
  tx: Session,
  { document, ...policy }: Pick<Policy, 'name' | 'description' | 'document'> & { readonly by: string; readonly now: number },
): Promise<Policy> {
  const made = await tx.run(insertPolicy, { ...policy, document: JSON.stringify(document) });
  if (made !== 1) throw new AppError('conflict', `there is a policy ${policy.name} already`);
  return await requirePolicy(tx, policy.name);
}

/** Changes a policy, and at once what all may to whom it is attached. */
export async function changePolicy(
  tx: Session,
  policy: Policy,
  change: Partial<Pick<Policy, 'description' | 'document'>>,
): Promise<Policy> {
  const { id, description, document } = { ...policy, ...change };
  await tx.run(updatePolicy, { id, description, document: JSON.stringify(document) });
  await touchAccess(tx);
  return await requirePolicy(tx, policy.name);
}

/** Deletes a policy. Throws `conflict` while it is attached. */
export async function deletePolicy(tx: Session, { id, name }: Policy): Promise<void> {
  if ((await attachments(tx, id)).length > 0)
    throw new AppError('conflict', `policy ${name} is still attached to somebody; detach it first`);
  await tx.run(deletePolicyRow, { id });
  await touchAccess(tx);
}

export async function attachments(session: Session, id: number): Promise<PolicyAttachment[]> {
  return await session.all(attachmentsOf, { id });
}

/** Whether a policy binds a user or robot, itself or through a group. */
export async function isBoundBy(
  session: Session,
  id: number,
  { kind, id: subjectId }: { kind: 'user' | 'robot'; id: number },
): Promise<boolean> {
  return (await session.first(binds, { id, kind, subjectId })) !== undefined;
}

/** Attaches a policy; does nothing where it is attached. */
export async function attachPolicy(tx: Session, id: number, subject: SubjectKey, { by, now }: { by: string; now: number }): Promise<void> {
  if (((await tx.first(countAttachments, { id }))?.count ?? 0) >= MAX_ATTACHMENTS) {
    throw new AppError('conflict', `a policy has at most ${MAX_ATTACHMENTS} attachments; attach it to a group`);
  }
  await tx.run(insertAttachment, { id, kind: subject.kind, subjectId: subject.id, now, by });
  await touchAccess(tx);
}

/** Throws `not_found` where it is not attached. */
export async function detachPolicy(tx: Session, id: number, { kind, id: subjectId }: SubjectKey): Promise<void> {
  if ((await tx.run(deleteAttachment, { id, kind, subjectId })) === 0) throw new AppError('not_found', 'the policy is not attached there');
  await touchAccess(tx);
}

/** Names a state of a policy, for `ETag`. */
export function policyEtag({ id, version }: Policy): string {
  return `${id}.${version}`;
}
