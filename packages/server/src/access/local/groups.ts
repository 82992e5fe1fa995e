import { type Kysely, sql } from 'kysely';
import { BEFORE_ALL, beyond, containing, holdsText, type Order, queriesOf, type Session } from '../../platform/index.ts';
import { dropSubjectAssignments } from '../assignments.ts';
import { touchAccess } from '../rules.ts';
import type { AccessTables } from '../schema.ts';

const query = queriesOf<AccessTables>('access');

function selectGroups(db: Kysely<AccessTables>) {
  return db
    .selectFrom('user_group')
    .select(['user_group.id', 'user_group.name', 'user_group.description', 'user_group.created_at as createdAt', 'user_group.version']);
}

const groupByName = query<{ name: string }>()('groupByName', (db, p) => selectGroups(db).where('user_group.name', '=', p('name')));
const listed = (name: string, order: Order) =>
  query<{ last: string; name: string; limit: number }>()(name, (db, p) =>
    selectGroups(db)
      .where('user_group.name', order === 'asc' ? '>' : '<', p('last'))
      .where(holdsText(sql.ref('user_group.name'), p('name')))
      .orderBy('user_group.name', order)
      .limit(p('limit')),
  );
const BY_NAME = { asc: listed('groupsByName', 'asc'), desc: listed('groupsByNameDown', 'desc') };
const insertGroup = query<{ name: string; description: string; now: number }>()('insertGroup', (db, p) =>
  db
    .insertInto('user_group')
    .values({ name: p('name'), description: p('description'), created_at: p('now'), version: 1 })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returning('id'),
);
const updateGroup = query<{ id: number; description: string }>()('updateGroup', (db, p) =>
  db
    .updateTable('user_group')
    .set((eb) => ({ description: p('description'), version: eb('version', '+', 1) }))
    .where('id', '=', p('id')),
);
const deleteMembers = query<{ id: number }>()('deleteGroupMembers', (db, p) =>
  db.deleteFrom('group_member').where('group_id', '=', p('id')),
);
const deleteGroupRow = query<{ id: number }>()('deleteGroup', (db, p) => db.deleteFrom('user_group').where('id', '=', p('id')));
const insertMember = query<{ groupId: number; userId: number }>()('insertGroupMember', (db, p) =>
  db
    .insertInto('group_member')
    .values({ group_id: p('groupId'), user_id: p('userId'), source: 'local' })
    .onConflict((conflict) => conflict.columns(['user_id', 'group_id', 'source']).doNothing()),
);
const deleteMember = query<{ groupId: number; userId: number }>()('deleteGroupMember', (db, p) =>
  db.deleteFrom('group_member').where('group_id', '=', p('groupId')).where('user_id', '=', p('userId')).where('source', '=', 'local'),
);
const members = query<{ groupId: number; name: string; lastName: string; lastSource: string; limit: number }>()('groupMembers', (db, p) =>
  db
    .selectFrom('group_member')
    .innerJoin('user', 'user.id', 'group_member.user_id')
    .select(['user.name', 'group_member.source'])
    .where('group_member.group_id', '=', p('groupId'))
    .where(beyond(sql.ref('user.name'), sql.ref('group_member.source'), 'asc', p('lastName'), p('lastSource')))
    .where(holdsText(sql.ref('user.name'), p('name')))
    .orderBy('user.name', 'asc')
    .orderBy('group_member.source', 'asc')
    .limit(p('limit')),
);

export interface Group {
  readonly id: number;
  readonly name: string;
  readonly description: string;
  readonly createdAt: number;
  readonly version: number;
}

export interface Member {
  readonly name: string;
  /** `local`, or the provider that says so. */
  readonly source: string;
}

const GROUP_NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._@:+-]{0,126}$/u;

/** Whether a text can name a group: nothing that an address or log could read as something else. */
export function isGroupName(text: string): boolean {
  return GROUP_NAME.test(text) && text.trim() === text;
}

export async function findGroup(session: Session, name: string): Promise<Group | undefined> {
  return await session.first(groupByName, { name });
}

export async function listGroups(
  session: Session,
  { name = '', order, last, limit }: { name?: string | undefined; order: Order; last: string | undefined; limit: number },
): Promise<Group[]> {
  return await session.all(BY_NAME[order], { name: containing(name), last: last ?? BEFORE_ALL[order].text, limit });
}

export async function listMembers(
  session: Session,
  { id }: { id: number },
  { name = '', last, limit }: { name?: string | undefined; last: Member | undefined; limit: number },
): Promise<Member[]> {
  const { text } = BEFORE_ALL.asc;
  const from = { lastName: last?.name ?? text, lastSource: last?.source ?? text };
  return await session.all(members, { groupId: id, name: containing(name), limit, ...from });
}

/** Makes a group and gives its id; undefined if there is one of that name. */
export async function createGroup(tx: Session, group: { name: string; description: string; now: number }): Promise<number | undefined> {
  return (await tx.first(insertGroup, group))?.id;
}

export async function describeGroup(tx: Session, { id }: { id: number }, description: string): Promise<void> {
  await tx.run(updateGroup, { id, description });
}

/** Deletes a group with all that it gave its members. */
export async function deleteGroup(tx: Session, { id }: { id: number }): Promise<void> {
  await dropSubjectAssignments(tx, { kind: 'group', id });
  await tx.run(deleteMembers, { id });
  await tx.run(deleteGroupRow, { id });
  await touchAccess(tx);
}

/** Puts a user into a group; false where it is there by the same hand. */
export async function addMember(tx: Session, groupId: number, userId: number): Promise<boolean> {
  await touchAccess(tx);
  return (await tx.run(insertMember, { groupId, userId })) === 1;
}

/** Takes a user out of a group; false where nobody put it there by hand. What a provider says stays. */
export async function removeMember(tx: Session, groupId: number, userId: number): Promise<boolean> {
  await touchAccess(tx);
  return (await tx.run(deleteMember, { groupId, userId })) === 1;
}
