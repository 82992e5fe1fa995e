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
  Kind,
  listAssignments,
  Name,
  prepareRights,
  RIGHTS,
  requireAssignment,
  requireSame,
  requireUnchanged,
} from './assigning.ts';
import { assignmentEtag, dropAssignment, reassign, requireSystemAdmin } from './assignments.ts';
import type { Identity } from './identity.ts';

const { pattern: _, ...SYSTEM_RIGHTS } = RIGHTS;
const NewSystemAssignment = Type.Object({ kind: Kind, name: Name, ...SYSTEM_RIGHTS }, { additionalProperties: false });
const SystemAssignmentChange = Type.Object(SYSTEM_RIGHTS, { additionalProperties: false });

const OfAssignment = Type.Object({ id: Id });

const { read, change } = routesFor<Identity>();

/** Who may what on the system and in every project. */
export function assignmentRoutes({ database, access }: AssigningParts): Route[] {
  const resourceOf = (view: Static<typeof AssignmentView>) => ({ type: 'assignment', name: `${view.kind}:${view.name}` });
  const common = { tag: 'System assignments' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/assignments',
      summary: 'List who has rights on the system and in every project',
      permission: 'role:read',
      query: listQuery(['name', 'created'], FILTERS),
      answer: listOf(AssignmentView),
      handle: ({ query }) => listAssignments(database, undefined, query),
    }),
    read({
      ...common,
      method: 'GET',
      path: '/assignments/:id',
      summary: 'Read an assignment',
      permission: 'role:read',
      params: OfAssignment,
      answer: AssignmentView,
      async handle({ params }) {
        const found = await requireAssignment(database, undefined, params.id);
        return { body: assignmentView(found), etag: assignmentEtag(found) };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/assignments',
      summary: 'Give a user, group or robot a role or single permissions on the system and in every project',
      description: 'Nobody gives more than it holds itself.',
      permission: 'role:manage',
      audit: 'assignment.create',
      body: NewSystemAssignment,
      answer: AssignmentView,
      status: 201,
      prepare: ({ body, caller }) => prepareRights(database, access, caller, body, undefined),
      async change(tx, { body, caller, now }, role) {
        await requireUnchanged(tx, role);
        const made = await addAssignment(tx, body, undefined, { by: caller.actor.name, now });
        const view = assignmentView(made);
        return { body: view, etag: assignmentEtag(made), resource: resourceOf(view), after: view };
      },
    }),
    change({
      ...common,
      method: 'PATCH',
      path: '/assignments/:id',
      summary: 'Change what an assignment gives',
      permission: 'role:manage',
      audit: 'assignment.update',
      params: OfAssignment,
      body: SystemAssignmentChange,
      answer: AssignmentView,
      async prepare({ params, body, caller }) {
        const looked = await requireAssignment(database, undefined, params.id);
        const rights = changedRights(looked, body);
        return { looked, rights, role: await prepareRights(database, access, caller, rights, undefined) };
      },
      async change(tx, call, { looked, rights, role }) {
        const before = await requireAssignment(tx, undefined, call.params.id);
        requireMatch(call, assignmentEtag(before));
        requireSame(looked, before);
        await requireUnchanged(tx, role);
        await reassign(tx, before.id, rights);
        await requireSystemAdmin(tx);
        const after = await requireAssignment(tx, undefined, before.id);
        const view = assignmentView(after);
        return { body: view, etag: assignmentEtag(after), resource: resourceOf(view), before: assignmentView(before), after: view };
      },
    }),
    change({
      ...common,
      method: 'DELETE',
      path: '/assignments/:id',
      summary: 'Take away what an assignment gives; the last user who administers the system stays',
      permission: 'role:manage',
      audit: 'assignment.delete',
      params: OfAssignment,
      async change(tx, call) {
        const before = await requireAssignment(tx, undefined, call.params.id);
        requireMatch(call, assignmentEtag(before));
        await dropAssignment(tx, before.id);
        await requireSystemAdmin(tx);
        return { resource: resourceOf(assignmentView(before)), before: assignmentView(before) };
      },
    }),
  ];
}
