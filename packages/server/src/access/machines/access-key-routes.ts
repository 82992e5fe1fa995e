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
import type { Identity } from '../identity.ts';
import { requireOwner } from '../local/login-routes.ts';
import { findUser } from '../users.ts';
import { type AccessKey, changeKey, createKey, keyEtag, type Owner, pageOfKeys, requireKey, revokeKey, rotateKey } from './access-keys.ts';
import { checkLimits } from './limits.ts';
import { LimitsSchema } from './limits-schema.ts';
import { SecretView, secretViews } from './secret-view.ts';
import { Expiry, readExpiry, readFuture, shownTime, Time } from './times.ts';

const KeyView = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  limits: Type.Union([LimitsSchema, Type.Null()], { description: 'null: whatever its owner may' }),
  expiresAt: Expiry,
  secrets: Type.Array(SecretView),
  createdAt: Time,
});
/** With the secret, which is shown this once. */
const KeyWithSecret = Type.Object({ ...KeyView.properties, secret: Type.Optional(Type.String({ description: 'shown this once' })) });

const NewKey = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 128, pattern: '^[^\\u0000-\\u001f\\u007f]+$' }),
    limits: Type.Optional(LimitsSchema),
    expiresAt: Type.Optional(Expiry),
  },
  { additionalProperties: false },
);
const KeyChange = Type.Object(
  { limits: Type.Optional(Type.Union([LimitsSchema, Type.Null()])), expiresAt: Type.Optional(Expiry) },
  { additionalProperties: false },
);
const Rotation = Type.Object(
  { oldEndsAt: Type.Optional(Type.String({ maxLength: 40, description: 'until when the old secret goes on; absent: it ends at once' })) },
  { additionalProperties: false },
);
const Ids = Type.Object(
  { ids: Type.Array(Type.Integer({ minimum: 1 }), { minItems: 1, maxItems: 100, uniqueItems: true }) },
  { additionalProperties: false },
);
const Deleted = Type.Object({ deleted: Type.Integer() });
const One = Type.Object({ key: Type.Integer({ minimum: 1 }) });
const OfUser = { user: Type.String({ maxLength: 63 }) };

const keyQuery = listQuery(['name'], {
  name: Type.Optional(Type.String({ maxLength: 128, description: 'only those whose name contains this' })),
});

function viewOf({ id, name, limits, expiresAt, secrets, createdAt }: AccessKey): Static<typeof KeyView> {
  return { id, name, limits, expiresAt: shownTime(expiresAt), secrets: secretViews(secrets), createdAt: shownTime(createdAt) };
}

function ownerOf({ subject }: Identity): Owner {
  if (!subject) throw new AppError('unauthorized', 'authentication required');
  return { kind: subject.kind, id: subject.id };
}

/** A key may do this to itself, and to no other: one that is stolen must not make others that outlive it, nor a narrow one a wider. */
function requireOwnerOrSelf(caller: Identity, keyId: number): void {
  if (caller.actor.credential?.kind === 'access-key' && caller.actor.credential.id?.startsWith(`key:${keyId}.`)) return;
  requireOwner(caller);
}

const resourceOf = ({ name }: AccessKey) => ({ type: 'access-key', name });
const { read, change } = routesFor<Identity>();

async function listKeys(database: Session, owner: Owner, query: Static<typeof keyQuery>) {
  const { limit = PAGE_DEFAULT, after, sort = 'name', name } = query;
  const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
  const rows = await pageOfKeys(database, owner, { name, order: sortOf(sort).order, after: last, limit: limit + 1 });
  const { items, next } = pageOf(rows, limit, (key) => [key.name]);
  return { body: { items: items.map(viewOf) }, next };
}

/** Access keys: everybody's own, and for administrators those of others, to see and to revoke. */
export function accessKeyRoutes({ database }: { readonly database: Session }): Route[] {
  async function userNamed(session: Session, name: string): Promise<Owner> {
    const user = await findUser(session, name);
    if (!user) throw new AppError('not_found', `there is no user ${name}`);
    return { kind: 'user', id: user.id };
  }

  return [
    read({
      method: 'GET',
      path: '/access-keys',
      summary: "List the caller's access keys",
      tag: 'Access keys',
      permission: 'login',
      query: keyQuery,
      answer: listOf(KeyView),
      handle: ({ query, caller }) => listKeys(database, ownerOf(caller), query),
    }),
    read({
      method: 'GET',
      path: '/access-keys/:key',
      summary: "Read one of the caller's access keys",
      tag: 'Access keys',
      permission: 'login',
      params: One,
      answer: KeyView,
      async handle({ params, caller }) {
        const key = await requireKey(database, ownerOf(caller), params.key);
        return { body: viewOf(key), etag: keyEtag(key) };
      },
    }),
    change({
      method: 'POST',
      path: '/access-keys',
      summary: 'Make an access key',
      description: 'It may what its owner may, and no more than its limits. The answer holds its secret, which is shown this once.',
      tag: 'Access keys',
      permission: 'login',
      audit: 'access-key.create',
      body: NewKey,
      answer: KeyWithSecret,
      status: 201,
      async change(tx, { body: { name, limits, expiresAt }, caller, now }) {
        requireOwner(caller);
        checkLimits(limits ?? []);
        const made = await createKey(tx, { owner: ownerOf(caller), name, limits, expiresAt: readExpiry(expiresAt, now), now });
        const view = viewOf(made.key);
        const body = { ...view, secret: made.secret };
        return { body, replay: view, etag: keyEtag(made.key), resource: resourceOf(made.key), after: view };
      },
    }),
    change({
      method: 'PATCH',
      path: '/access-keys/:key',
      summary: 'Change the limits of an access key, or when it ends',
      tag: 'Access keys',
      permission: 'login',
      audit: 'access-key.update',
      params: One,
      body: KeyChange,
      answer: KeyView,
      async change(tx, call) {
        const { params, body, caller, now } = call;
        const owner = ownerOf(caller);
        const key = await requireKey(tx, owner, params.key);
        requireOwner(caller);
        requireMatch(call, keyEtag(key));
        checkLimits(body.limits ?? []);
        const limits = body.limits === undefined ? key.limits : body.limits;
        const expiresAt = body.expiresAt === undefined ? key.expiresAt : readExpiry(body.expiresAt, now);
        const changed = await changeKey(tx, owner, key, { limits, expiresAt });
        return { body: viewOf(changed), etag: keyEtag(changed), resource: resourceOf(key), before: viewOf(key), after: viewOf(changed) };
      },
    }),
    change({
      method: 'POST',
      path: '/access-keys/:key/rotate',
      summary: 'Give an access key another secret, which a key may do to itself',
      description: 'The answer holds the secret, which is shown this once. The one before ends at the time that is chosen, or at once.',
      tag: 'Access keys',
      permission: 'login',
      audit: 'access-key.rotate',
      params: One,
      body: Rotation,
      answer: KeyWithSecret,
      async change(tx, call) {
        const { params, body, caller, now } = call;
        const owner = ownerOf(caller);
        const key = await requireKey(tx, owner, params.key);
        requireOwnerOrSelf(caller, key.id);
        requireMatch(call, keyEtag(key));
        const endsAt = body.oldEndsAt === undefined ? now : readFuture(body.oldEndsAt, now);
        const rotated = await rotateKey(tx, owner, key, { endsAt, now });
        const after = viewOf(rotated.key);
        const answer = { ...after, secret: rotated.secret };
        return { body: answer, replay: after, etag: keyEtag(rotated.key), resource: resourceOf(key), before: viewOf(key), after };
      },
    }),
    change({
      method: 'DELETE',
      path: '/access-keys/:key',
      summary: 'Revoke an access key, which a key may do to itself',
      tag: 'Access keys',
      permission: 'login',
      audit: 'access-key.delete',
      params: One,
      async change(tx, call) {
        const { params, caller } = call;
        const key = await requireKey(tx, ownerOf(caller), params.key);
        requireOwnerOrSelf(caller, key.id);
        requireMatch(call, keyEtag(key));
        await revokeKey(tx, key.id);
        return { resource: resourceOf(key), before: viewOf(key) };
      },
    }),
    change({
      method: 'POST',
      path: '/access-keys/delete',
      summary: 'Revoke several access keys: all, or none where one does not exist',
      tag: 'Access keys',
      permission: 'login',
      audit: 'access-key.delete',
      body: Ids,
      answer: Deleted,
      async change(tx, { body, caller }) {
        requireOwner(caller);
        const before: Static<typeof KeyView>[] = [];
        for (const id of body.ids) {
          before.push(viewOf(await requireKey(tx, ownerOf(caller), id)));
          await revokeKey(tx, id);
        }
        return { body: { deleted: before.length }, resource: { type: 'access-key' }, before };
      },
    }),
    read({
      method: 'GET',
      path: '/users/:user/access-keys',
      summary: 'List the access keys of a user',
      tag: 'Access keys',
      permission: 'user:read',
      params: Type.Object(OfUser),
      query: keyQuery,
      answer: listOf(KeyView),
      handle: async ({ params, query }) => listKeys(database, await userNamed(database, params.user), query),
    }),
    change({
      method: 'DELETE',
      path: '/users/:user/access-keys/:key',
      summary: 'Revoke an access key of a user',
      tag: 'Access keys',
      permission: 'user:manage',
      audit: 'access-key.delete',
      params: Type.Object({ ...OfUser, ...One.properties }),
      async change(tx, call) {
        const key = await requireKey(tx, await userNamed(tx, call.params.user), call.params.key);
        requireMatch(call, keyEtag(key));
        await revokeKey(tx, key.id);
        return { resource: resourceOf(key), before: viewOf(key) };
      },
    }),
  ];
}
