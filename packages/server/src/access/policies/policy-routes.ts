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
import { findAssignee } from '../assignment-list.ts';
import type { SubjectKey } from '../assignments.ts';
import type { Identity } from '../identity.ts';
import { requireHoldsPolicy } from './holding.ts';
import {
  attachments,
  attachPolicy,
  changePolicy,
  createPolicy,
  deletePolicy,
  detachPolicy,
  isBoundBy,
  type Policy,
  pageOfPolicies,
  policyEtag,
  requirePolicy,
} from './policies.ts';
import { checkPolicy, denies, type PolicyDocument } from './policy-document.ts';
import { PolicySchema } from './policy-schema.ts';

const Name = Type.String({ pattern: '^[a-z][a-z0-9-]{0,62}$', maxLength: 63 });
const Description = Type.String({ maxLength: 1000 });
const PolicyView = Type.Object({
  name: Type.String(),
  description: Type.String(),
  document: PolicySchema,
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
});
const NewPolicy = Type.Object(
  { name: Name, description: Type.Optional(Description), document: PolicySchema },
  { additionalProperties: false },
);
const PolicyChange = Type.Object(
  { description: Type.Optional(Description), document: Type.Optional(PolicySchema) },
  { additionalProperties: false },
);
const Kind = Type.Enum(['user', 'group', 'robot']);
const Attachment = Type.Object({
  kind: Kind,
  name: Type.String(),
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
});
const OfPolicy = Type.Object({ policy: Type.String({ maxLength: 63 }) });
const OfAttachment = Type.Object({ ...OfPolicy.properties, kind: Kind, name: Type.String({ maxLength: 255 }) });

function viewOf({ name, description, document, createdAt, createdBy }: Policy): Static<typeof PolicyView> {
  return { name, description, document, createdAt: new Date(createdAt).toISOString(), createdBy };
}

const resourceOf = ({ name }: Pick<Policy, 'name'>) => ({ type: 'policy', name });
const { read, change } = routesFor<Identity>();
const tag = 'Policies';

/** Policies: what is allowed or denied on which resources under which condition, attached to users, groups and robots. */
export function policyRoutes({ database, access }: { readonly database: Session; readonly access: Access }): Route[] {
  const requireHolds = (caller: Identity, document: PolicyDocument, effect: 'allow' | 'deny') =>
    requireHoldsPolicy(access, caller, document, effect);

  /** Nobody denies itself anything, so that there is always one who can take a denial away again. */
  async function requireFree(session: Session, policy: Policy, document: PolicyDocument, caller: Identity): Promise<void> {
    if (denies(document) && caller.subject && (await isBoundBy(session, policy.id, caller.subject))) {
      throw new AppError('conflict', 'a policy that denies something is not attached to oneself: nobody might be left to detach it');
    }
  }

  async function subjectOf(session: Session, { kind, name }: Pick<Static<typeof OfAttachment>, 'kind' | 'name'>): Promise<SubjectKey> {
    const id = await findAssignee(session, { kind, name });
    if (id === undefined) throw new AppError('not_found', `there is no ${kind} ${name}`);
    return { kind, id };
  }

  /** Throws `conflict` where a policy is another than the one that was looked at before the transaction. */
  function requireSame(policy: Policy, version: number): void {
    if (policy.version !== version) throw new AppError('conflict', 'the policy was changed meanwhile; read it again');
  }

  return [
    read({
      method: 'GET',
      path: '/policies',
      summary: 'List the policies',
      tag,
      permission: 'role:read',
      query: listQuery(['name'], {
        name: Type.Optional(Type.String({ maxLength: 63, description: 'only those whose name contains this' })),
      }),
      answer: listOf(PolicyView),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = 'name', name } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const rows = await pageOfPolicies(database, { last, name, order: sortOf(sort).order, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, (policy) => [policy.name]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    read({
      method: 'GET',
      path: '/policies/:policy',
      summary: 'Read a policy',
      tag,
      permission: 'role:read',
      params: OfPolicy,
      answer: PolicyView,
      async handle({ params }) {
        const policy = await requirePolicy(database, params.policy);
        return { body: viewOf(policy), etag: policyEtag(policy) };
      },
    }),
    change({
      method: 'POST',
      path: '/policies',
      summary: 'Make a policy that allows only what the caller holds',
      tag,
      permission: 'role:manage',
      audit: 'policy.create',
      body: NewPolicy,
      answer: PolicyView,
      status: 201,
      async prepare({ body, caller }) {
        await checkPolicy(body.document);
        await requireHolds(caller, body.document, 'allow');
      },
      async change(tx, { body: { name, description = '', document }, caller, now }) {
        const policy = await createPolicy(tx, { name, description, document, by: caller.actor.name, now });
        return { body: viewOf(policy), etag: policyEtag(policy), resource: resourceOf(policy), after: viewOf(policy) };
      },
    }),
    change({
      method: 'PATCH',
      path: '/policies/:policy',
      summary: 'Change a policy, and at once what all may to whom it is attached',
      description: 'The caller must hold what it allows afterwards, and what it denied before.',
      tag,
      permission: 'role:manage',
      audit: 'policy.update',
      params: OfPolicy,
      body: PolicyChange,
      answer: PolicyView,
      async prepare({ params, body: { document }, caller }) {
        const policy = await requirePolicy(database, params.policy);
        if (document) {
          await checkPolicy(document);
          await requireHolds(caller, document, 'allow');
          await requireHolds(caller, policy.document, 'deny');
        }
        return policy.version;
      },
      async change(tx, call, version) {
        const before = await requirePolicy(tx, call.params.policy);
        requireMatch(call, policyEtag(before));
        requireSame(before, version);
        if (call.body.document) await requireFree(tx, before, call.body.document, call.caller);
        const after = await changePolicy(tx, before, call.body);
        return { body: viewOf(after), etag: policyEtag(after), resource: resourceOf(before), before: viewOf(before), after: viewOf(after) };
      },
    }),
    change({
      method: 'DELETE',
      path: '/policies/:policy',
      summary: 'Delete a policy that is attached to nobody',
      tag,
      permission: 'role:manage',
      audit: 'policy.delete',
      params: OfPolicy,
      async change(tx, call) {
        const policy = await requirePolicy(tx, call.params.policy);
        requireMatch(call, policyEtag(policy));
        await deletePolicy(tx, policy);
        return { resource: resourceOf(policy), before: viewOf(policy) };
      },
    }),
    read({
      method: 'GET',
      path: '/policies/:policy/attachments',
      summary: 'List to whom a policy is attached',
      tag,
      permission: 'role:read',
      params: OfPolicy,
      answer: listOf(Attachment),
      async handle({ params }) {
        const { id } = await requirePolicy(database, params.policy);
        const items = (await attachments(database, id)).map(({ createdAt, ...rest }) => ({
          ...rest,
          createdAt: new Date(createdAt).toISOString(),
        }));
        return { body: { items } };
      },
    }),
    change({
      method: 'PUT',
      path: '/policies/:policy/attachments/:kind/:name',
      summary: 'Attach a policy to a user, group or robot',
      description: 'The caller must hold what it allows.',
      tag,
      permission: 'role:manage',
      audit: 'policy.attach',
      params: OfAttachment,
      async prepare({ params, caller }) {
        const policy = await requirePolicy(database, params.policy);
        await requireHolds(caller, policy.document, 'allow');
        return policy.version;
      },
      async change(tx, { params, caller, now }, version) {
        const policy = await requirePolicy(tx, params.policy);
        requireSame(policy, version);
        await attachPolicy(tx, policy.id, await subjectOf(tx, params), { by: caller.actor.name, now });
        await requireFree(tx, policy, policy.document, caller);
        const { kind, name } = params;
        return { resource: resourceOf(policy), after: { kind, name } };
      },
    }),
    change({
      method: 'DELETE',
      path: '/policies/:policy/attachments/:kind/:name',
      summary: 'Detach a policy from a user, group or robot',
      description: 'The caller must hold what it denies.',
      tag,
      permission: 'role:manage',
      audit: 'policy.detach',
      params: OfAttachment,
      async prepare({ params, caller }) {
        const policy = await requirePolicy(database, params.policy);
        await requireHolds(caller, policy.document, 'deny');
        return policy.version;
      },
      async change(tx, { params }, version) {
        const policy = await requirePolicy(tx, params.policy);
        requireSame(policy, version);
        await detachPolicy(tx, policy.id, await subjectOf(tx, params));
        const { kind, name } = params;
        return { resource: resourceOf(policy), before: { kind, name } };
      },
    }),
  ];
}
