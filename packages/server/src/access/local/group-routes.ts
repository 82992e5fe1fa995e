import Type, { type Static } from 'typebox';
import {
  AppError,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Session,
  sortOf,
} from '../../platform/index.ts';
import type { Access } from '../access.ts';
import type { Identity } from '../identity.ts';
import {
  addMember,
  createGroup,
  deleteGroup,
  describeGroup,
  findGroup,
  type Group,
  isGroupName,
  listGroups,
  listMembers,
  removeMember,
} from './groups.ts';
import { UserName } from './login-routes.ts';
import { requireRightsOf } from './rights-of.ts';
import { requireUser } from './session-routes.ts';

export interface GroupParts {
  readonly database: Session;
  readonly access: Access;
}

const Name = Type.String({ minLength: 1, maxLength: 127 });
const Description = Type.String({ maxLength: 1000 });
const View = Type.Object({ name: Type.String(), description: Type.String(), createdAt: Type.String({ format: 'date-time' }) });
const NewGroup = Type.Object({ name: Name, description: Type.Optional(Description) }, { additionalProperties: false });
const GroupChange = Type.Object({ description: Type.Optional(Description) }, { additionalProperties: false });
const MemberView = Type.Object({
  name: Type.String(),
  source: Type.String({ description: 'local, or the name of the provider that says so' }),
});
const Users = Type.Array(UserName, { maxItems: 500, uniqueItems: true });
const Batch = Type.Object({ add: Type.Optional(Users), remove: Type.Optional(Users) }, { additionalProperties: false });
const BatchDone = Type.Object({ added: Type.Array(Type.String()), removed: Type.Array(Type.String()) });
const Several = Type.Object(
  { names: Type.Array(Name, { minItems: 1, maxItems: 200, uniqueItems: true }) },
  { additionalProperties: false },
);
const OfGroup = Type.Object({ group: Name });
const OfMember = Type.Object({ group: Name, user: UserName });

const { read, change } = routesFor<Identity>();

/** Groups of users and who is in them. */
export function groupRoutes(parts: GroupParts): Route[] {
  const { database } = parts;

  return [
    read({
      method: 'GET',
      path: '/groups',
      summary: 'List groups',
      tag: 'Groups',
      permission: 'group:read',
      query: listQuery(['name'], {
        name: Type.Optional(Type.String({ maxLength: 127, description: 'only those whose name contains this' })),
      }),
      answer: listOf(View),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = 'name', name } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const rows = await listGroups(database, { name, last, order: sortOf<'name'>(sort).order, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (row) => [row.name]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    read({
      method: 'GET',
      path: '/groups/:group',
      summary: 'Read a group',
      tag: 'Groups',
      permission: 'group:read',
      params: OfGroup,
      answer: View,
      async handle({ params }) {
        const group = await requireGroup(database, params.group);
        return { body: viewOf(group), etag: etagOf(group) };
      },
    }),
    change({
      method: 'POST',
      path: '/groups',
      summary: 'Make a group',
      tag: 'Groups',
      permission: 'group:manage',
      audit: 'group.create',
      body: NewGroup,
      answer: View,
      status: 201,
      async change(tx, { body: { name, description = '' }, now }) {
        if (!isGroupName(name)) throw new AppError('name_invalid', 'a group name has letters, digits, spaces and any of . _ @ : + -');
        if ((await createGroup(tx, { name, description, now })) === undefined) {
          throw new AppError('conflict', `there is a group ${name} already`);
        }
        const group = await requireGroup(tx, name);
        return { body: viewOf(group), etag: etagOf(group), resource: { type: 'group', name }, after: viewOf(group) };
      },
    }),
    change({
      method: 'PATCH',
      path: '/groups/:group',
      summary: 'Change a group',
      tag: 'Groups',
      permission: 'group:manage',
      audit: 'group.update',
      params: OfGroup,
      body: GroupChange,
      answer: View,
      async change(tx, call) {
        const before = await requireGroup(tx, call.params.group);
        requireMatch(call, etagOf(before));
        await describeGroup(tx, before, call.body.description ?? before.description);
        const after = await requireGroup(tx, before.name);
        const views = { before: viewOf(before), after: viewOf(after) };
        return { body: views.after, etag: etagOf(after), resource: { type: 'group', name: before.name }, ...views };
      },
    }),
    change({
      method: 'DELETE',
      path: '/groups/:group',
      summary: 'Delete a group, and with it what it gave its members',
      tag: 'Groups',
      permission: 'group:manage',
      audit: 'group.delete',
      params: OfGroup,
      async change(tx, call) {
        const group = await requireGroup(tx, call.params.group);
        requireMatch(call, etagOf(group));
        await deleteGroup(tx, group);
        return { resource: { type: 'group', name: group.name }, before: viewOf(group) };
      },
    }),
    change({
      method: 'POST',
      path: '/groups/delete',
      summary: 'Delete several groups: all or none',
      tag: 'Groups',
      permission: 'group:manage',
      audit: 'group.delete',
      body: Several,
      async change(tx, { body: { names } }) {
        const before: Static<typeof View>[] = [];
        for (const name of names) {
          const group = await requireGroup(tx, name);
          await deleteGroup(tx, group);
          before.push(viewOf(group));
        }
        return { resource: { type: 'group' }, before };
      },
    }),
    read({
      method: 'GET',
      path: '/groups/:group/members',
      summary: 'List the members of a group, once for each source',
      tag: 'Groups',
      permission: 'group:read',
      params: OfGroup,
      query: listQuery(['name'], {
        name: Type.Optional(Type.String({ maxLength: 128, description: 'only those whose name contains this' })),
      }),
      answer: listOf(MemberView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, name } }) {
        const group = await requireGroup(database, params.group);
        const [lastName, source] = after === undefined ? [] : readCursor(after, ['', '']);
        const last = lastName === undefined || source === undefined ? undefined : { name: lastName, source };
        const rows = await listMembers(database, group, { name, last, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (row) => [row.name, row.source]);
        return { body: { items: [...items] }, next };
      },
    }),
    change({
      method: 'POST',
      path: '/groups/:group/members',
      summary: 'Put users into a group and take others out: all or none',
      tag: 'Groups',
      permission: 'group:manage',
      audit: 'group.members',
      params: OfGroup,
      body: Batch,
      answer: BatchDone,
      async prepare({ params, body: { add = [] }, caller }) {
        const { id } = await requireGroup(database, params.group);
        if (add.length > 0) await requireRightsOf(parts, caller, { kind: 'group', id });
      },
      async change(tx, { params, body: { add = [], remove = [] } }) {
        const group = await requireGroup(tx, params.group);
        const added: string[] = [];
        const removed: string[] = [];
        for (const name of add) if (await addMember(tx, group.id, (await requireUser(tx, name)).id)) added.push(name);
        for (const name of remove) if (await removeMember(tx, group.id, (await requireUser(tx, name)).id)) removed.push(name);
        return { body: { added, removed }, resource: { type: 'group', name: group.name }, after: { added, removed } };
      },
    }),
    change({
      method: 'PUT',
      path: '/groups/:group/members/:user',
      summary: 'Put a user into a group',
      tag: 'Groups',
      permission: 'group:manage',
      audit: 'group.add-member',
      params: OfMember,
      async prepare({ params, caller }) {
        const { id } = await requireGroup(database, params.group);
        await requireRightsOf(parts, caller, { kind: 'group', id });
      },
      async change(tx, { params }) {
        const [group, user] = [await requireGroup(tx, params.group), await requireUser(tx, params.user)];
        await addMember(tx, group.id, user.id);
        return { resource: { type: 'group', name: group.name }, after: { added: [user.name] } };
      },
    }),
    change({
      method: 'DELETE',
      path: '/groups/:group/members/:user',
      summary: 'Take a user out of a group; what a provider says stays',
      tag: 'Groups',
      permission: 'group:manage',
      audit: 'group.remove-member',
      params: OfMember,
      async change(tx, { params }) {
        const [group, user] = [await requireGroup(tx, params.group), await requireUser(tx, params.user)];
        if (!(await removeMember(tx, group.id, user.id))) {
          throw new AppError('not_found', `nobody put user ${user.name} into group ${group.name} by hand`);
        }
        return { resource: { type: 'group', name: group.name }, after: { removed: [user.name] } };
      },
    }),
  ];
}

async function requireGroup(session: Session, name: string): Promise<Group> {
  const group = await findGroup(session, name);
  if (!group) throw new AppError('not_found', `there is no group ${name}`);
  return group;
}

function viewOf({ name, description, createdAt }: Group): Static<typeof View> {
  return { name, description, createdAt: new Date(createdAt).toISOString() };
}

function etagOf({ id, version }: Group): string {
  return `${id}.${version}`;
}
