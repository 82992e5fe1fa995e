import { isTag, parseDigest } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import {
  AppError,
  audit,
  type Caller,
  type Clock,
  cursorOf,
  type Database,
  listOf,
  listQuery,
  PAGE_DEFAULT,
  type Route,
  readCursor,
  routesFor,
  type Session,
  sortOf,
} from '../platform/index.ts';
import { contentOf } from './artifact-content.ts';
import { type ArtifactFacts, findArtifact, listArtifacts } from './artifact-list.ts';
import { ArtifactContent } from './artifact-schema.ts';
import { type DeletionScope, deleteManifestWith, manifestsToDelete } from './deletion.ts';
import { shedTags } from './many-tags.ts';
import { OfArtifact, OfRepository, requireManifest, requireRepository, resourceIn } from './paths.ts';
import type { Repository } from './projects.ts';
import { listTagsOfDigest } from './tag-list.ts';

/** Tags that are shown with an artifact; all of them are listed under `tags`. */
const TAGS_SHOWN = 20;

const FACTS = {
  digest: Type.String(),
  mediaType: Type.String(),
  artifactType: Type.Optional(Type.String()),
  subject: Type.Optional(Type.String({ description: 'digest of what it is about' })),
  size: Type.Integer({ description: 'bytes of the manifest and all it needs' }),
  pushedAt: Type.String({ format: 'date-time' }),
  pushedBy: Type.String(),
  pulledAt: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description: 'by a tag or by its digest; null: never' }),
  pulls: Type.Integer(),
  tags: Type.Array(Type.String(), { description: `the first ${TAGS_SHOWN} by name` }),
};
const ArtifactListed = Type.Object(FACTS);
const ArtifactView = Type.Object({ ...FACTS, ...ArtifactContent });
/** What goes with a manifest besides its tags. */
const WITH = {
  referrers: Type.Optional(
    Type.Boolean({
      default: false,
      description: 'also what is about it, such as signatures, SBOMs and attestations, and what is about these',
    }),
  ),
  children: Type.Optional(
    Type.Boolean({ default: false, description: 'also, of an index, its manifests without tags that no other index needs' }),
  ),
};
const scopeOf = ({ referrers = false, children = false }: { referrers?: boolean; children?: boolean }) => ({ referrers, children });
const References = Type.Object(
  {
    ...WITH,
    references: Type.Array(Type.String({ maxLength: 160 }), {
      minItems: 1,
      maxItems: 100,
      uniqueItems: true,
      description: 'digests or tags',
    }),
  },
  { additionalProperties: false },
);

async function viewOf(session: Session, repositoryId: number, facts: ArtifactFacts): Promise<Static<typeof ArtifactListed>> {
  const { digest, mediaType, artifactType, subject, size, pushedAt, pushedBy, pulledAt, pulls } = facts;
  const tags = await listTagsOfDigest(session, { repositoryId, digest, limit: TAGS_SHOWN });
  return {
    digest,
    mediaType,
    ...(artifactType === null ? {} : { artifactType }),
    ...(subject === null ? {} : { subject }),
    size,
    pushedAt: new Date(pushedAt).toISOString(),
    pushedBy,
    pulledAt: pulledAt === null ? null : new Date(pulledAt).toISOString(),
    pulls: pulls ?? 0,
    tags: tags.map(({ name }) => name),
  };
}

/** Deletes manifests in whatever order they are given: an index before what belongs to it. */
async function deleteAll(
  tx: Session,
  repository: Repository,
  digests: Iterable<string>,
  scope: DeletionScope,
  who: { by: string; now: number },
): Promise<string[]> {
  let left = [...new Set(digests)];
  const gone = new Set<string>();
  while (left.length > 0) {
    const held: string[] = [];
    let refusal: AppError | undefined;
    for (const digest of left) {
      try {
        if (gone.has(digest)) continue; // with one before
        for (const each of await deleteManifestWith(tx, repository.id, digest, scope, who)) gone.add(each.digest);
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'manifest_referenced') throw error;
        refusal = error;
        held.push(digest);
      }
    }
    if (refusal && held.length === left.length) throw refusal;
    left = held;
  }
  return [...gone];
}

export interface ArtifactRouteParts {
  readonly database: Database;
  readonly clock: Clock;
  /** A small blob of a repository, such as an image's config; undefined where it is missing or larger. */
  readBlob(digest: string, most: number, repositoryId: number): Promise<Uint8Array | undefined>;
}

/** Manifests and what they hold. */
export function artifactRoutes({ database, clock, readBlob }: ArtifactRouteParts): Route[] {
  const { read, change } = routesFor<Caller>();

  /** Deletes most tags where there are very many, before the manifests go. Gives these where it did, as tags lead nowhere then. */
  async function prepareDeletion(
    { params, caller, now }: { params: Static<typeof OfRepository>; caller: Caller; now: number },
    references: readonly string[],
    scope: DeletionScope,
  ): Promise<readonly string[] | undefined> {
    const repository = await requireRepository(database, params);
    const { actor, origin } = caller;
    const digests: string[] = [];
    let shed = false;
    for (const reference of references) digests.push((await requireManifest(database, repository, reference)).digest);
    for (const digest of digests) {
      const doomed = await manifestsToDelete(database, repository.id, digest, scope);
      const record = async (tx: Session, of: string, tags: readonly string[]) => {
        const entry = { actor, origin, action: 'tag.delete-many', resource: resourceIn(repository, 'tag', { digest: of }) } as const;
        await audit(tx, { ...entry, outcome: 'success', before: { tags } }, clock);
      };
      shed = (await shedTags(database, doomed, { repository, by: actor.name, now, record })) || shed;
    }
    return shed ? digests : undefined;
  }

  const common = { tag: 'Artifacts' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories/:repository/artifacts',
      summary: 'List manifests, with their tags',
      description: 'A page of a filtered list may hold less than limit, and still go on.',
      permission: 'artifact:read',
      params: OfRepository,
      query: listQuery(['pushed', 'size'], {
        tag: Type.Optional(Type.String({ maxLength: 128, description: 'only the one that this tag points at' })),
        tagged: Type.Optional(Type.Boolean()),
        mediaType: Type.Optional(Type.String({ maxLength: 255 })),
        artifactType: Type.Optional(Type.String({ maxLength: 255 })),
        top: Type.Optional(
          Type.Boolean({ description: 'only those that stand for themselves: no part of an index, about no subject, or tagged' }),
        ),
      }),
      answer: listOf(ArtifactListed),
      async handle({ params, query: { limit = PAGE_DEFAULT, after, sort = '-pushed', tag, ...filters } }) {
        const { id: repositoryId, ...repository } = await requireRepository(database, params);
        const { field, order } = sortOf(sort);
        const last = after === undefined ? undefined : readCursor(after, [0, 0] as const);
        if (tag !== undefined) {
          if (Object.keys(filters).length > 0) throw new AppError('bad_request', 'tag stands alone: it leads to one artifact');
          const stored = isTag(tag) ? await requireManifest(database, { id: repositoryId, ...repository }, tag).catch(none) : undefined;
          const facts = stored && (await findArtifact(database, repositoryId, stored.digest));
          return { body: { items: facts ? [await viewOf(database, repositoryId, facts)] : [] } };
        }
        const { artifacts, next } = await listArtifacts(database, { repositoryId, sort: field, order, last, limit, ...filters });
        const items: Static<typeof ArtifactListed>[] = [];
        for (const facts of artifacts) items.push(await viewOf(database, repositoryId, facts));
        return { body: { items }, next: next && cursorOf(...next) };
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: '/projects/:project/repositories/:repository/artifacts/:reference',
      summary: 'Read a manifest by tag or digest: what it holds, for which platforms',
      permission: 'artifact:read',
      params: OfArtifact,
      answer: ArtifactView,
      async handle({ params }) {
        const repository = await requireRepository(database, params);
        const stored = await requireManifest(database, repository, params.reference);
        const facts = await findArtifact(database, repository.id, stored.digest);
        const content = await contentOf(database, { ...stored, repositoryId: repository.id }, readBlob);
        if (!facts || !content) throw new AppError('not_found', `there is no artifact ${params.reference} in ${repository.name}`);
        return { body: { ...(await viewOf(database, repository.id, facts)), ...content }, etag: stored.digest };
      },
    }),
    change({
      ...common,
      method: 'DELETE',
      path: '/projects/:project/repositories/:repository/artifacts/:reference',
      summary: 'Delete a manifest and all tags that point at it; refused while an index needs it',
      permission: 'artifact:delete',
      audit: 'artifact.delete',
      params: OfArtifact,
      query: Type.Object(WITH, { additionalProperties: false }),
      prepare: async (call) => await prepareDeletion(call, [call.params.reference], scopeOf(call.query)),
      async change(tx, { params, query, caller, now }, pinned) {
        const repository = await requireRepository(tx, params);
        const { digest, mediaType } = await requireManifest(tx, repository, pinned?.[0] ?? params.reference);
        const gone = await deleteManifestWith(tx, repository.id, digest, scopeOf(query), { by: caller.actor.name, now });
        const tag = parseDigest(params.reference) ? {} : { tag: params.reference };
        const beside = gone.length > 1 ? { with: gone.slice(1).map((each) => each.digest) } : {};
        return { resource: resourceIn(repository, 'artifact', { digest, ...tag }), before: { mediaType, ...beside } };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/projects/:project/repositories/:repository/artifacts/delete',
      summary: 'Delete several manifests with their tags, all or none; an index and its children in one step',
      permission: 'artifact:delete',
      audit: 'artifact.delete-many',
      params: OfRepository,
      body: References,
      prepare: async (call) => await prepareDeletion(call, call.body.references, scopeOf(call.body)),
      async change(tx, { params, body, caller, now }, pinned = body.references) {
        const repository = await requireRepository(tx, params);
        const digests: string[] = [];
        for (const reference of pinned) digests.push((await requireManifest(tx, repository, reference)).digest);
        const gone = await deleteAll(tx, repository, digests, scopeOf(body), { by: caller.actor.name, now });
        return { resource: resourceIn(repository, 'artifact'), before: { digests: gone } };
      },
    }),
  ];
}

function none(error: unknown): undefined {
  if (error instanceof AppError && error.code === 'not_found') return undefined;
  throw error;
}
