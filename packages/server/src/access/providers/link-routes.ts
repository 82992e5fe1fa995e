import Type, { type Static } from 'typebox';
import {
  AppError,
  type Database,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  routesFor,
} from '../../platform/index.ts';
import type { Access } from '../access.ts';
import type { Identity } from '../identity.ts';
import { UserName } from '../local/login-routes.ts';
import { requireEverything } from '../local/rights-of.ts';
import { requireUser } from '../local/session-routes.ts';
import { raiseGeneration } from '../local/user-store.ts';
import { addLink, findLink, type Link, listLinks, removeLink } from './links.ts';
import { SUBJECT_LENGTH } from './person.ts';
import { OfProvider, requireProvider } from './provider-routes.ts';

const Subject = Type.String({ minLength: 1, maxLength: SUBJECT_LENGTH, description: 'what the provider calls the person: sub, entryUUID' });
const OfLink = Type.Object({ provider: Type.String({ maxLength: 32 }), subject: Subject });
const NewLink = Type.Object({ subject: Subject, user: UserName }, { additionalProperties: false });
const Time = Type.String({ format: 'date-time' });
const View = Type.Object({ subject: Type.String(), user: Type.String(), createdAt: Time, lastLoginAt: Type.Union([Time, Type.Null()]) });

const TAG = 'Identity providers';
const { read, change } = routesFor<Identity>();

/** Who the users are that a provider knows. */
export function linkRoutes({ database, access }: { database: Database; access: Access }): Route[] {
  return [
    read({
      method: 'GET',
      path: '/providers/:provider/links',
      summary: 'List the users that a provider knows',
      tag: TAG,
      permission: 'provider:read',
      params: OfProvider,
      query: listQuery(['subject'], {}),
      answer: listOf(View),
      async handle({ params, query: { limit = PAGE_DEFAULT, after } }) {
        const { id } = await requireProvider(database, params.provider);
        const [last] = after === undefined ? [''] : readCursor(after, ['']);
        const { items, next } = pageOf(await listLinks(database, id, last, limit + 1), limit, ({ subject }) => [subject]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    change({
      method: 'POST',
      path: '/providers/:provider/links',
      summary: 'Say that somebody whom a provider knows is a user that is there',
      description: 'That person can then be the user, so the caller must hold every permission itself.',
      tag: TAG,
      permission: 'provider:manage',
      audit: 'provider.link',
      params: OfProvider,
      body: NewLink,
      answer: View,
      status: 201,
      prepare: async ({ caller }) => await requireEverything(access, caller),
      async change(tx, { params, body: { subject, user: name }, now }) {
        const provider = await requireProvider(tx, params.provider);
        const user = await requireUser(tx, name);
        if (!(await addLink(tx, { providerId: provider.id, subject, userId: user.id, now, login: null }))) {
          throw new AppError('conflict', 'this person is a user already');
        }
        const link = viewOf({ subject, user: name, createdAt: now, lastLoginAt: null });
        return { body: link, resource: { type: 'provider', name: provider.name }, after: link };
      },
    }),
    change({
      method: 'DELETE',
      path: '/providers/:provider/links/:subject',
      summary: 'Say that somebody is that user no more, which logs the user out',
      tag: TAG,
      permission: 'provider:manage',
      audit: 'provider.unlink',
      params: OfLink,
      async change(tx, { params: { provider: name, subject } }) {
        const provider = await requireProvider(tx, name);
        const link = await findLink(tx, provider.id, subject);
        if (!link) throw new AppError('not_found', 'nobody is linked by this');
        await removeLink(tx, provider.id, subject);
        await raiseGeneration(tx, link.userId);
        return { resource: { type: 'provider', name: provider.name }, before: { subject, userId: link.userId } };
      },
    }),
  ];
}

function viewOf({ subject, user, createdAt, lastLoginAt }: Link): Static<typeof View> {
  return {
    subject,
    user,
    createdAt: new Date(createdAt).toISOString(),
    lastLoginAt: lastLoginAt === null ? null : new Date(lastLoginAt).toISOString(),
  };
}
