import { queriesOf, type Session } from '../../platform/index.ts';
import type { ProviderTables } from './schema.ts';

const query = queriesOf<ProviderTables>('providers');

const linkBySubject = query<{ providerId: number; subject: string }>()('link', (db, p) =>
  db
    .selectFrom('identity_link')
    .select(['user_id as userId', 'last_login_at as lastLoginAt'])
    .where('provider_id', '=', p('providerId'))
    .where('subject', '=', p('subject')),
);
const linksOfUser = query<{ userId: number }>()('linksOfUser', (db, p) =>
  db.selectFrom('identity_link').select(['provider_id as providerId', 'subject']).where('user_id', '=', p('userId')),
);
const linksAfter = query<{ providerId: number; last: string; limit: number }>()('linksOfProvider', (db, p) =>
  db
    .selectFrom('identity_link')
    .innerJoin('user', 'user.id', 'identity_link.user_id')
    .select([
      'identity_link.subject',
      'user.name as user',
      'identity_link.created_at as createdAt',
      'identity_link.last_login_at as lastLoginAt',
    ])
    .where('identity_link.provider_id', '=', p('providerId'))
    .where('identity_link.subject', '>', p('last'))
    .orderBy('identity_link.subject')
    .limit(p('limit')),
);
const insertLink = query<{ providerId: number; subject: string; userId: number; now: number; login: number | null }>()(
  'insertLink',
  (db, p) =>
    db
      .insertInto('identity_link')
      .values({
        provider_id: p('providerId'),
        subject: p('subject'),
        user_id: p('userId'),
        created_at: p('now'),
        last_login_at: p('login'),
      })
      .onConflict((conflict) => conflict.columns(['provider_id', 'subject']).doNothing()),
);
const touchLink = query<{ providerId: number; subject: string; now: number }>()('touchLink', (db, p) =>
  db
    .updateTable('identity_link')
    .set({ last_login_at: p('now') })
    .where('provider_id', '=', p('providerId'))
    .where('subject', '=', p('subject')),
);
const deleteLink = query<{ providerId: number; subject: string }>()('deleteLink', (db, p) =>
  db.deleteFrom('identity_link').where('provider_id', '=', p('providerId')).where('subject', '=', p('subject')),
);
const deleteLinksOf = query<{ userId: number }>()('deleteLinksOfUser', (db, p) =>
  db.deleteFrom('identity_link').where('user_id', '=', p('userId')),
);

/** Somebody that a provider knows, and who that is here. */
export interface Link {
  readonly subject: string;
  readonly user: string;
  readonly createdAt: number;
  readonly lastLoginAt: number | null;
}

export async function findLink(
  session: Session,
  providerId: number,
  subject: string,
): Promise<{ userId: number; lastLoginAt: number | null } | undefined> {
  return await session.first(linkBySubject, { providerId, subject });
}

/** Providers that know a user, and by which name. */
export async function linksOf(session: Session, userId: number): Promise<{ providerId: number; subject: string }[]> {
  return await session.all(linksOfUser, { userId });
}

export async function listLinks(session: Session, providerId: number, last: string, limit: number): Promise<Link[]> {
  return await session.all(linksAfter, { providerId, last, limit });
}

/** Says who somebody is; false where that is said already. `login`: when that came of a login. */
export async function addLink(
  tx: Session,
  link: { providerId: number; subject: string; userId: number; now: number; login: number | null },
): Promise<boolean> {
  return (await tx.run(insertLink, link)) === 1;
}

export async function noteLogin(tx: Session, link: { providerId: number; subject: string; now: number }): Promise<void> {
  await tx.run(touchLink, link);
}

export async function removeLink(tx: Session, providerId: number, subject: string): Promise<boolean> {
  return (await tx.run(deleteLink, { providerId, subject })) === 1;
}

/** Forgets who a user is elsewhere: part of its deletion. */
export async function dropLinks(tx: Session, userId: number): Promise<void> {
  await tx.run(deleteLinksOf, { userId });
}
