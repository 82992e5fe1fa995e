import { isTag, parseDigest } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import {
  AppError,
  type Caller,
  cursorOf,
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
} from '../platform/index.ts';
import { findManifest } from './manifests.ts';
import { OfRepository, OfTag, requireRepository, resourceIn } from './paths.ts';
import { findTagFacts, listTagFacts, listTagHistory, listTagsOfDigest, type TagFacts } from './tag-list.ts';
import { deleteTag, setTag } from './tags.ts';
import { findManifestInTrash } from './trash-list.ts';

const Digest = Type.String({ maxLength: 160 });
const TagView = Type.Object({
  name: Type.String(),
  digest: Type.String(),
  updatedAt: Type.String({ format: 'date-time' }),
  updatedBy: Type.String(),
  pulledAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description: 'null: never' }),
  pulls: Type.Integer(),
});
const TagChangeView = Type.Object({
  digest: Type.Union([Type.String(), Type.Null()], { description: 'what it pointed at afterwards; null: it was deleted' }),
  previous: Type.Union([Type.String(), Type.Null()]),
  held: Type.Optional(
    Type.Enum(['live', 'trash', 'gone'], { description: 'where the manifest of `digest` is now: it can be rolled back to unless gone' }),
  ),
  at: Type.String({ format: 'date-time' }),
  by: Type.String(),
});
const Target = Type.Object({ digest: Digest }, { additionalProperties: false });
const Tags = Type.Object(
  { tags: Type.Array(Type.String({ maxLength: 128 }), { minItems: 1, maxItems: 500, uniqueItems: true }) },
  { additionalProperties: false },
);
const HistoryQuery = listQuery(['time'], {});

function viewOf({ name, digest, updatedAt, updatedBy, pulledAt, pulls }: TagFacts): Static<typeof TagView> {
  const pulled = pulledAt === null ? null : new Date(pulledAt).toISOString();
  return { name, digest, updatedAt: new Date(updatedAt).toISOString(), updatedBy, pulledAt: pulled, pulls: pulls ?? 0 };
}

async function requireTag(session: Session, repository: { id: number; name: string }, name: string): Promise<TagFacts> {
  const tag = await findTagFacts(session, repository.id, name);
  if (!tag) throw new AppError('not_found', `there is no tag ${name} in ${repository.name}`);
  return tag;
}

/** Where the manifests of digests are now. */
async function whereHeld(
  session: Session,
  repositoryId: number,
  digests: readonly string[],
): Promise<Map<string, 'live' | 'trash' | 'gone'>> {
  const held = new Map<string, 'live' | 'trash' | 'gone'>();
  for (const digest of new Set(digests)) {
    const isLive = await findManifest(session, repositoryId, digest);
    held.set(digest, isLive ? 'live' : (await findManifestInTrash(session, repositoryId, digest)) ? 'trash' : 'gone');
  }
  return held;
}

/** Tags and their history. */
export function tagRoutes({ database }: { readonly database: Session }): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Tags' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories/:repository/tags',
      summary: 'List tags, with what they point at',
      description: 'A page of a filtered list may hold less than limit, and still go on.',
      permission: 'tag:list',
      params: OfRepository,
      query: listQuery(['name', 'updated'], {
        name: Type.Optional(Type.String({ maxLength: 128, description: 'only those whose name contains this' })),
        digest: Type.Optional(
          Type.String({ maxLength: 160, description: 'only those of this manifest; sorted by name, without other filters' }),
        ),
      }),
      answer: listOf(TagView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = 'name', name, digest } }) {
        const repository = await requireRepository(database, params);
        const { field, order } = sortOf(sort);
        const last = after === undefined ? undefined : readCursor(after, field === 'name' ? (['', ''] as const) : ([0, ''] as const));
        if (digest !== undefined) {
          if (field !== 'name' || name !== undefined)
            throw new AppError('bad_request', 'tags of one digest are sorted by name and not filtered again');
          const found = await listTagsOfDigest(database, { repositoryId: repository.id, digest, order, last: last?.[1], limit: limit + 1 });
          const { items, next } = pageOf(found, limit, (tag) => [tag.name, tag.name]);
          return { body: { items: items.map(viewOf) }, next };
        }
        const { tags, next } = await listTagFacts(database, { repositoryId: repository.id, sort: field, order, last, limit, name });
        return { body: { items: tags.map(viewOf) }, next: next && cursorOf(...next) };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories/:repository/tags/:tag',
      summary: 'Read a tag',
      permission: 'tag:list',
      params: OfTag,
      answer: TagView,
      async handle({ params }) {
        const tag = await requireTag(database, await requireRepository(database, params), params.tag);
        return { body: viewOf(tag), etag: tag.digest };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories/:repository/tags/:tag/history',
      summary: 'List what a tag pointed at, the latest change first; also of a tag that was deleted',
      permission: 'tag:list',
      params: OfTag,
      query: HistoryQuery,
      answer: listOf(TagChangeView),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = '-time' } }) {
        const repository = await requireRepository(database, params);
        const [last] = after === undefined ? [undefined] : readCursor(after, [0]);
        const { order } = sortOf(sort);
        const rows = await listTagHistory(database, { repositoryId: repository.id, name: params.tag, order, last, limit: limit + 1 });
        const { items, next } = pageOf(rows, limit, ({ id }) => [id]);
        const held = await whereHeld(
          database,
          repository.id,
          items.flatMap(({ digest }) => digest ?? []),
        );
        const views = items.map(({ digest, previous, at, by }) => {
          const where = digest === null ? undefined : held.get(digest);
          return { digest, previous, ...(where ? { held: where } : {}), at: new Date(at).toISOString(), by };
        });
        return { body: { items: views }, next };
      },
    }),
    change({
      ...common,
      method: 'PUT',
      path: '/projects/:project/repositories/:repository/tags/:tag',
      summary: 'Point a tag at a manifest of the repository',
      description: 'If-None-Match: * makes a new tag only; If-Match with the digest it points at moves it only from there.',
      permission: 'tag:create',
      audit: 'tag.update',
      params: OfTag,
      body: Target,
      answer: TagView,
      async change(tx, call) {
        const { params, body, caller, now, headers } = call;
        const repository = await requireRepository(tx, params);
        if (!isTag(params.tag)) throw new AppError('tag_invalid', 'the tag is outside the grammar');
        if (!parseDigest(body.digest)) throw new AppError('digest_invalid', 'the digest is not a sha256 or sha512 digest');
        if (!(await findManifest(tx, repository.id, body.digest))) {
          throw new AppError('not_found', `there is no artifact ${body.digest} in ${repository.name}`);
        }
        const before = await findTagFacts(tx, repository.id, params.tag);
        requireMatch(call, before?.digest ?? '');
        if (before && headers['if-none-match'] === '*') throw new AppError('precondition_failed', 'there is a tag of that name');
        await setTag(tx, { repositoryId: repository.id, name: params.tag, digest: body.digest, by: caller.actor.name, now });
        const tag = await requireTag(tx, repository, params.tag);
        const told = { ...(before ? { before: { digest: before.digest } } : {}), after: { digest: tag.digest } };
        return {
          body: viewOf(tag),
          etag: tag.digest,
          resource: resourceIn(repository, 'tag', { tag: tag.name, digest: tag.digest }),
          ...told,
        };
      },
    }),
    change({
      ...common,
      method: 'DELETE',
      path: '/projects/:project/repositories/:repository/tags/:tag',
      summary: 'Delete a tag, leaving its manifest',
      permission: 'tag:delete',
      audit: 'tag.delete',
      params: OfTag,
      async change(tx, call) {
        const repository = await requireRepository(tx, call.params);
        const { name, digest } = await requireTag(tx, repository, call.params.tag);
        requireMatch(call, digest);
        await deleteTag(tx, { repositoryId: repository.id, name, by: call.caller.actor.name, now: call.now });
        return { resource: resourceIn(repository, 'tag', { tag: name, digest }), before: { digest } };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/projects/:project/repositories/:repository/tags/delete',
      summary: 'Delete several tags, all or none',
      permission: 'tag:delete',
      audit: 'tag.delete-many',
      params: OfRepository,
      body: Tags,
      async change(tx, { params, body, caller, now }) {
        const repository = await requireRepository(tx, params);
        const before: Record<string, string>[] = [];
        for (const name of body.tags) {
          const { digest } = await requireTag(tx, repository, name);
          await deleteTag(tx, { repositoryId: repository.id, name, by: caller.actor.name, now });
          before.push({ tag: name, digest });
        }
        return { resource: resourceIn(repository, 'tag'), before };
      },
    }),
  ];
}
