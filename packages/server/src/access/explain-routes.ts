import Type from 'typebox';
import { AppError, type Route, repositoryIn, routesFor, type Session } from '../platform/index.ts';
import type { Access } from './access.ts';
import { findAssignee } from './assignment-list.ts';
import type { Identity, Subject } from './identity.ts';
import { ALL_PERMISSIONS } from './permissions.ts';

const Explanation = Type.Object({
  allowed: Type.Boolean(),
  reason: Type.String({ description: 'in one sentence' }),
  steps: Type.Array(
    Type.Object({
      rule: Type.String(),
      effect: Type.Enum(['allow', 'deny']),
      applies: Type.Boolean(),
      why: Type.String(),
    }),
    { description: 'every rule that binds the identity there, and whether it applies' },
  ),
});

const Question = Type.Object(
  {
    permission: Type.Enum(ALL_PERMISSIONS),
    project: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'absent: on the system' })),
    repository: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: 'name without the project' })),
    user: Type.Optional(
      Type.String({ minLength: 1, maxLength: 255, description: 'of whom it is asked; absent: the caller. Others need role:read' }),
    ),
    robot: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    anonymous: Type.Optional(Type.Boolean({ description: 'of who is not logged in' })),
    client: Type.Optional(Type.String({ maxLength: 64, description: 'address it would come from; absent: that of this request' })),
  },
  { additionalProperties: false },
);

const { read } = routesFor<Identity>();

/** Why somebody may or may not. */
export function explainRoutes({ database, access }: { database: Session; access: Access }): Route[] {
  /** Of whom is asked; undefined for anonymous. Throws `denied` where the caller may not ask about others. */
  async function subjectOf(
    caller: Identity,
    { user, robot, anonymous = false }: { user?: string; robot?: string; anonymous?: boolean },
  ): Promise<Subject | undefined> {
    if (Number(user !== undefined) + Number(robot !== undefined) + Number(anonymous) > 1) {
      throw new AppError('bad_request', 'ask about one: a user, a robot, or anonymous');
    }
    const kind = robot === undefined ? 'user' : 'robot';
    const name = user ?? robot;
    if (anonymous) return undefined;
    if (name === undefined || (caller.subject?.kind === kind && caller.subject.name === name)) return caller.subject;
    if (!(await access.holds(caller, 'role:read', {}))) throw new AppError('denied', 'this needs the permission role:read');
    const id = await findAssignee(database, { kind, name });
    if (id === undefined) throw new AppError('not_found', `there is no ${kind} ${name}`);
    return { kind, id, name, generation: 0 };
  }

  return [
    read({
      method: 'GET',
      path: '/explain',
      summary: 'Explain, rule by rule, why an identity is allowed or denied something',
      description: 'Of an identity as such: what a token or access key narrows it to does not count.',
      tag: 'Roles',
      permission: 'login',
      query: Question,
      answer: Explanation,
      async handle({ query: { permission, project, repository, client, ...who }, caller }) {
        if (repository !== undefined && project === undefined)
          throw new AppError('bad_request', 'a repository is asked about with its project');
        const subject = await subjectOf(caller, who);
        const resource = {
          project,
          repository: project === undefined || repository === undefined ? undefined : repositoryIn(project, repository),
        };
        const { allowed, reason, steps } = await access.explain(subject, permission, resource, client ?? caller.origin.client);
        // Rules and networks of a project tell that it exists; who may not see it learns as little as if it did not.
        const isOwn = allowed && subject === caller.subject;
        if (project !== undefined && !isOwn && !(await access.holds(caller, 'project:read', { project }))) {
          throw new AppError('not_found', `there is no project ${project}`);
        }
        return { body: { allowed, reason, steps: steps.map((step) => ({ ...step })) } };
      },
    }),
  ];
}
