import Type, { type Static } from 'typebox';
import { listOf, listQuery, type Route, requireMatch, routesFor } from '../platform/index.ts';
import {
  type AssigningParts,
  AssignmentView,
  addAssignment,
  assignmentView,
  changedRights,
  FILTERS,
  Id,
  listAssignments,
  MemberChange,
  NewMember,
  type Place,
  prepareRights,
  requireAssignment,
  requireSame,
  requireUnchanged,
} from './assigning.ts';
import type { NamedAssignment } from './assignment-list.ts';
import { assignmentEtag, dropAssignment, reassign, requireSingle } from './assignments.ts';
import type { AnyRole } from './custom-roles.ts';
import type { Identity } from './identity.ts';
import { requireProject } from './project-routes.ts';

const Batch = Type.Object(
  {
    add: Type.Optional(Type.Array(NewMember, { maxItems: 200 })),
    remove: Type.Optional(Type.Array(Id, { maxItems: 200, uniqueItems: true, description: 'ids' })),
  },
  { additionalProperties: false },
);
const BatchDone = Type.Object({ added: Type.Array(AssignmentView), removed: Type.Integer() });
const OfProject = Type.Object({ project: Type.String({ maxLength: 128 }) });
const OfMember = Type.Object({ project: Type.String({ maxLength: 128 }), id: Id });

const { read, change } = routesFor<Identity>();

/** Who may what in a project. */
export function memberRoutes({ database, access }: AssigningParts): Route[] {
  const resourceOf = (place: Place, view: Static<typeof AssignmentView>) => ({
    type: 'member',
    project: place?.name ?? '',
    name: `${view.kind}:${view.name}`,
  });
  const common = { tag: 'Members' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/members',
      summary: 'List who has rights of its own in a project',
      permission: 'member:read',
      params: OfProject,
      query: listQuery(['name', 'created'], FILTERS),
      answer: listOf(AssignmentView),
      handle: async ({ params, query }) => listAssignments(database, await requireProject(database, params.project), query),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/members/:id',
      summary: 'Read a member',
      permission: 'member:read',
      params: OfMember,
      answer: AssignmentView,
      async handle({ params }) {
        const found = await requireAssignment(database, await requireProject(database, params.project), params.id);
        return { body: assignmentView(found), etag: assignmentEtag(found) };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/projects/:project/members',
      summary: 'Give a user, group or robot a role or single permissions, in the whole project or on a pattern',
      description: 'Nobody gives more than it holds itself.',
      permission: 'member:manage',
      audit: 'member.create',
      params: OfProject,
      body: NewMember,
      answer: AssignmentView,
      status: 201,
      prepare: async ({ params, body, caller }) =>
        prepareRights(database, access, caller, body, await requireProject(database, params.project)),
      async change(tx, { params, body, caller, now }, role) {
        const place = await requireProject(tx, params.project);
        await requireUnchanged(tx, role);
        const made = await addAssignment(tx, body, place, { by: caller.actor.name, now });
        const view = assignmentView(made);
        return { body: view, etag: assignmentEtag(made), resource: resourceOf(place, view), after: view };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/projects/:project/members/batch',
      summary: 'Add and remove several members, all or none',
      permission: 'member:manage',
      audit: 'member.batch',
      params: OfProject,
      body: Batch,
      answer: BatchDone,
      async prepare({ params, body, caller }) {
        const place = await requireProject(database, params.project);
        const roles = new Map<string, AnyRole>();
        for (const wanted of body.add ?? []) {
          const role = await prepareRights(database, access, caller, wanted, place);
          if (role) roles.set(role.name, role);
        }
        return roles;
      },
      async change(tx, { params, body, caller, now }, roles) {
        const place = await requireProject(tx, params.project);
        for (const role of roles.values()) await requireUnchanged(tx, role);
        const removed: NamedAssignment[] = [];
        for (const id of body.remove ?? []) {
          removed.push(await requireAssignment(tx, place, id));
          await dropAssignment(tx, id);
        }
        const added: NamedAssignment[] = [];
        for (const wanted of body.add ?? []) added.push(await addAssignment(tx, wanted, place, { by: caller.actor.name, now }));
        const [before, after] = [removed.map(assignmentView), added.map(assignmentView)];
        return { body: { added: after, removed: removed.length }, resource: { type: 'member', project: place.name }, before, after };
      },
    }),
    change({
      ...common,
      method: 'PATCH',
      path: '/projects/:project/members/:id',
      summary: 'Change what a member may',
      permission: 'member:manage',
      audit: 'member.update',
      params: OfMember,
      body: MemberChange,
      answer: AssignmentView,
      async prepare({ params, body, caller }) {
        const place = await requireProject(database, params.project);
        const looked = await requireAssignment(database, place, params.id);
        const rights = changedRights(looked, body);
        return { looked, rights, role: await prepareRights(database, access, caller, rights, place) };
      },
      async change(tx, call, { looked, rights, role }) {
        const place = await requireProject(tx, call.params.project);
        const before = await requireAssignment(tx, place, call.params.id);
        requireMatch(call, assignmentEtag(before));
        requireSame(looked, before);
        await requireUnchanged(tx, role);
        await requireSingle(tx, { ...before, ...rights });
        await reassign(tx, before.id, rights);
        const after = await requireAssignment(tx, place, before.id);
        const view = assignmentView(after);
        return { body: view, etag: assignmentEtag(after), resource: resourceOf(place, view), before: assignmentView(before), after: view };
      },
    }),
    change({
      ...common,
      method: 'DELETE',
      path: '/projects/:project/members/:id',
      summary: 'Take from a member what one assignment gives',
      permission: 'member:manage',
      audit: 'member.delete',
      params: OfMember,
      async change(tx, call) {
        const place = await requireProject(tx, call.params.project);
        const before = await requireAssignment(tx, place, call.params.id);
        requireMatch(call, assignmentEtag(before));
        await dropAssignment(tx, before.id);
        return { resource: resourceOf(place, assignmentView(before)), before: assignmentView(before) };
      },
    }),
  ];
}
