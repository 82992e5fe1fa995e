import { AppError, type AuditOrigin, audit, type Clock, queriesOf, type Session } from '../../platform/index.ts';
import { assign } from '../assignments.ts';
import { createGroup, findGroup } from '../local/groups.ts';
import { touchAccess } from '../rules.ts';
import { createUser, findUserById, type User } from '../users.ts';
import { addLink, findLink, noteLogin } from './links.ts';
import { mapPerson, type Person, SUBJECT_LENGTH } from './person.ts';
import { assignerOf, type Provider } from './provider-store.ts';
import type { ProviderTables } from './schema.ts';

const query = queriesOf<ProviderTables>('providers');

const sourcedGroups = query<{ userId: number; source: string }>()('groupsBySource', (db, p) =>
  db
    .selectFrom('group_member')
    .innerJoin('user_group', 'user_group.id', 'group_member.group_id')
    .select('user_group.name')
    .where('group_member.user_id', '=', p('userId'))
    .where('group_member.source', '=', p('source'))
    .orderBy('user_group.name'),
);
const insertMember = query<{ groupId: number; userId: number; source: string }>()('insertSourcedMember', (db, p) =>
  db
    .insertInto('group_member')
    .values({ group_id: p('groupId'), user_id: p('userId'), source: p('source') })
    .onConflict((conflict) => conflict.columns(['user_id', 'group_id', 'source']).doNothing()),
);
const deleteMember = query<{ name: string; userId: number; source: string }>()('deleteSourcedMember', (db, p) =>
  db
    .deleteFrom('group_member')
    .where('user_id', '=', p('userId'))
    .where('source', '=', p('source'))
    .where('group_id', 'in', (eb) => eb.selectFrom('user_group').select('user_group.id').where('user_group.name', '=', p('name'))),
);
const assignmentBy = query<{ userId: number; by: string }>()('assignmentByProvider', (db, p) =>
  db
    .selectFrom('role_assignment')
    .select('id')
    .where('subject_kind', '=', 'user')
    .where('subject_id', '=', p('userId'))
    .where('created_by', '=', p('by')),
);
const deleteAssignmentBy = query<{ userId: number; by: string }>()('deleteAssignmentByProvider', (db, p) =>
  db
    .deleteFrom('role_assignment')
    .where('subject_kind', '=', 'user')
    .where('subject_id', '=', p('userId'))
    .where('created_by', '=', p('by')),
);
const detailsOf = query<{ id: number }>()('userDetails', (db, p) =>
  db.selectFrom('user').select(['email', 'full_name as fullName']).where('id', '=', p('id')),
);
const updateDetails = query<{ id: number; email: string; fullName: string }>()('updateUserDetails', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({ email: p('email'), full_name: p('fullName'), version: eb('version', '+', 1) }))
    .where('id', '=', p('id')),
);

const NOTED_MS = 3_600_000;
const TEXT_LENGTH = 255;

export interface SignInParts {
  readonly clock: Clock;
  /** null where the server asks by itself. */
  readonly origin: AuditOrigin | null;
}

/**
 * Lets somebody in whom a provider vouches for: finds or makes the user, and gives what the provider's groups say, no more.
 * Somebody unknown is never taken for a user that is there, whatever name or address the provider tells. Throws `denied` with
 * the reason.
 */
export async function signIn(tx: Session, provider: Provider, person: Person, { clock, origin }: SignInParts): Promise<User> {
  const now = clock.now();
  const actor = { kind: 'system', id: null, name: assignerOf(provider), credential: null } as const;
  const { subject } = person;
  const link = await findLink(tx, provider.id, subject);
  const user = link ? await findUserById(tx, link.userId) : await makeUser(tx, provider, person, now);
  if (!user || user.disabled) throw new AppError('denied', 'the account is disabled');
  const resource = { type: 'user', name: user.name };
  if (!link) {
    const after = { provider: provider.name, subject };
    await audit(tx, { actor, origin, action: 'user.create', resource, outcome: 'success', after }, clock);
  }
  await noteLogin(tx, { providerId: provider.id, subject, now });
  const { isSame, details } = await compareDetails(tx, user.id, person);
  if (!isSame) await tx.run(updateDetails, { id: user.id, ...details });
  const given = await syncGroups(tx, provider, user, person, now);
  if (given) await audit(tx, { actor, origin, action: 'user.sync-groups', resource, outcome: 'success', ...given }, clock);
  return user;
}

/** The user of somebody for whom nothing would change; undefined where `signIn` has something to do. */
export async function findCurrent(session: Session, provider: Provider, person: Person, now: number): Promise<User | undefined> {
  const link = await findLink(session, provider.id, person.subject);
  if (!link || (link.lastLoginAt ?? 0) + NOTED_MS <= now) return undefined;
  const user = await findUserById(session, link.userId);
  if (!user || user.disabled) return undefined;
  const { groups, isAdmin } = mapPerson(provider.settings, person);
  const given = await givenTo(session, provider, user.id);
  const same = given.isAdmin === isAdmin && JSON.stringify(given.groups) === JSON.stringify(await existing(session, provider, groups));
  return same && (await compareDetails(session, user.id, person)).isSame ? user : undefined;
}

async function makeUser(tx: Session, provider: Provider, person: Person, now: number): Promise<User | undefined> {
  const { subject, name, email, fullName } = person;
  if (!provider.settings.createUsers) {
    throw new AppError('denied', 'nobody is made a user at login here; an administrator must make the user and link it');
  }
  if (subject === '' || subject.length > SUBJECT_LENGTH) throw new AppError('denied', 'the provider names nobody');
  const { account } = mapPerson(provider.settings, person);
  if (account === undefined) {
    throw new AppError('denied', `nobody can have the name ${JSON.stringify(name.slice(0, 64))} here; an administrator must link a user`);
  }
  const details = { email: email.slice(0, TEXT_LENGTH), fullName: fullName.slice(0, TEXT_LENGTH) };
  const userId = await createUser(tx, { name: account, hash: '', admin: false, now, ...details });
  if (userId === undefined) throw new AppError('denied', `the name ${account} is not free; an administrator can link that user`);
  await addLink(tx, { providerId: provider.id, subject, userId, now, login: now });
  return await findUserById(tx, userId);
}

/** What the provider does not tell stays as it is. */
async function compareDetails(session: Session, id: number, { email, fullName }: Person) {
  const found = (await session.first(detailsOf, { id })) ?? { email: '', fullName: '' };
  const details = { email: email.slice(0, TEXT_LENGTH) || found.email, fullName: fullName.slice(0, TEXT_LENGTH) || found.fullName };
  return { details, isSame: details.email === found.email && details.fullName === found.fullName };
}

interface Given {
  readonly groups: readonly string[];
  readonly isAdmin: boolean;
}

async function givenTo(session: Session, provider: Provider, userId: number): Promise<Given> {
  const groups = (await session.all(sourcedGroups, { userId, source: provider.name })).map(({ name }) => name);
  const isAdmin = (await session.first(assignmentBy, { userId, by: assignerOf(provider) })) !== undefined;
  return { groups: groups.sort(), isAdmin };
}

/** Of the groups of a person those that count: all, where missing ones are made, else those there are. */
async function existing(session: Session, { settings }: Provider, groups: readonly string[]): Promise<readonly string[]> {
  if (settings.createGroups) return groups;
  const there: string[] = [];
  for (const name of groups) if (await findGroup(session, name)) there.push(name);
  return there;
}

async function syncGroups(
  tx: Session,
  provider: Provider,
  { id: userId }: User,
  person: Person,
  now: number,
): Promise<{ before: Given; after: Given } | undefined> {
  const mapped = mapPerson(provider.settings, person);
  const after = { groups: await existing(tx, provider, mapped.groups), isAdmin: mapped.isAdmin };
  const before = await givenTo(tx, provider, userId);
  if (JSON.stringify(before) === JSON.stringify(after)) return undefined;
  const source = provider.name;
  for (const name of after.groups.filter((group) => !before.groups.includes(group))) {
    const groupId = (await findGroup(tx, name))?.id ?? (await createGroup(tx, { name, description: `known to ${source}`, now }));
    if (groupId !== undefined) await tx.run(insertMember, { groupId, userId, source });
  }
  for (const name of before.groups.filter((group) => !after.groups.includes(group))) await tx.run(deleteMember, { name, userId, source });
  const by = assignerOf(provider);
  if (after.isAdmin && !before.isAdmin) await assign(tx, { subject: { kind: 'user', id: userId }, role: 'system-admin', by, now });
  if (!after.isAdmin && before.isAdmin) await tx.run(deleteAssignmentBy, { userId, by });
  await touchAccess(tx);
  return { before, after };
}
