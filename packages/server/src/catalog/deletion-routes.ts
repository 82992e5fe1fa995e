import Type, { type Static } from 'typebox';
import { AppError, type Caller, type Route, routesFor, type Session } from '../platform/index.ts';
import {
  blockersOf,
  countReferrers,
  countTagsOf,
  type Freed,
  freedByManifests,
  manifestsToDelete,
  repositoryContents,
} from './deletion.ts';
import { firstImmutable, type ImmutableBy, immutabilityOf } from './immutability.ts';
import { OfArtifact, OfRepository, OfTag, requireManifest, requireRepository } from './paths.ts';
import { listTagsOfDigest } from './tag-list.ts';
import { findTag } from './tags.ts';
import { trashDaysOf } from './trash-days.ts';

const FreedView = Type.Object({ blobs: Type.Integer(), bytes: Type.Integer() });
const freed = {
  freed: Type.Object(FreedView.properties, { description: 'blobs that nothing else in the project needs, and so the quota gets back' }),
  freedInRegistry: Type.Optional(
    Type.Object(FreedView.properties, { description: 'blobs that nothing else in the registry needs; for who holds storage:read' }),
  ),
};
const Rule = Type.Object({ id: Type.Integer(), name: Type.String(), system: Type.Boolean() });
const Held = Type.Object({ tag: Type.String(), rule: Rule });
const common = {
  allowed: Type.Boolean({ description: 'nothing below is in the way' }),
  restorableDays: Type.Integer({ description: 'how long it stays in the trash; bytes are free after that and a collection' }),
};
const TAGS = 100;
const ArtifactDeletion = Type.Object({
  ...common,
  neededBy: Type.Array(Type.String(), { description: 'indexes that need it: they go first' }),
  immutable: Type.Array(Held, { description: 'tags that a rule holds' }),
  manifests: Type.Array(
    Type.Object({
      digest: Type.String(),
      mediaType: Type.String(),
      artifactType: Type.Optional(Type.String()),
      role: Type.Enum(['self', 'referrer', 'child']),
      tagCount: Type.Integer(),
      tags: Type.Array(Type.String(), { description: `tags that go with it, the first ${TAGS} by name` }),
    }),
  ),
  referrersLeft: Type.Integer({ description: 'manifests about it that stay' }),
  ...freed,
});
const TagDeletion = Type.Object({
  ...common,
  digest: Type.String(),
  immutableBy: Type.Optional(Rule),
  otherTags: Type.Integer({ description: 'tags that still lead to its manifest' }),
});
const RepositoryDeletion = Type.Object({
  ...common,
  immutable: Type.Optional(Held),
  tags: Type.Integer(),
  manifests: Type.Integer(),
  exact: Type.Boolean({ description: 'false for a large repository: the counts are what was looked at, and there is more' }),
  ...freed,
});

const ruleView = ({ id, name, projectId }: ImmutableBy): Static<typeof Rule> => ({ id, name, system: projectId === null });

export interface DeletionRouteParts<C extends Caller> {
  readonly database: Session;
  readonly config: { readonly trashDays: number };
  /** Whether a caller may know what others in the registry hold. */
  seesStorage(caller: C): Promise<boolean>;
}

/** What a deletion would take, before it is done. */
export function deletionRoutes<C extends Caller>({ database, config, seesStorage }: DeletionRouteParts<C>): Route[] {
  const { read } = routesFor<C>();
  const daysOf = async (projectId: number) => (await trashDaysOf(database, projectId)) ?? config.trashDays;
  /** What others in the registry hold is told only to those who may see all of it: elsewise it would say what strangers have. */
  async function freedOf(caller: C, projectId: number, count: (others: number) => Promise<Freed>) {
    const all = (await seesStorage(caller)) ? { freedInRegistry: await count(0) } : {};
    return { freed: await count(projectId), ...all };
  }

  return [
    read({
      method: 'GET',
      path: '/projects/:project/repositories/:repository/artifacts/:reference/deletion',
      summary: 'Read what the deletion of a manifest would take, and what is in its way',
      tag: 'Artifacts',
      permission: 'artifact:delete',
      params: OfArtifact,
      query: Type.Object(
        { referrers: Type.Optional(Type.Boolean()), children: Type.Optional(Type.Boolean()) },
        { additionalProperties: false },
      ),
      answer: ArtifactDeletion,
      async handle({ params, query: { referrers = false, children = false }, caller }) {
        const { id, projectId, name } = await requireRepository(database, params);
        const { digest } = await requireManifest(database, { id, projectId, name }, params.reference);
        const doomed = await manifestsToDelete(database, id, digest, { referrers, children });
        const { neededBy, immutable } = await blockersOf(database, id, doomed);
        const manifests: Static<typeof ArtifactDeletion>['manifests'] = [];
        for (const { digest: each, mediaType, artifactType, role } of doomed) {
          const tags = (await listTagsOfDigest(database, { repositoryId: id, digest: each, limit: TAGS })).map((tag) => tag.name);
          const tagCount = tags.length < TAGS ? tags.length : await countTagsOf(database, id, each);
          manifests.push({ digest: each, mediaType, ...(artifactType === null ? {} : { artifactType }), role, tagCount, tags });
        }
        return {
          body: {
            allowed: neededBy.length === 0 && immutable.length === 0,
            restorableDays: await daysOf(projectId),
            neededBy: [...neededBy],
            immutable: immutable.map(({ tag, rule }) => ({ tag, rule: ruleView(rule) })),
            manifests,
            referrersLeft: referrers ? 0 : await countReferrers(database, id, digest),
            ...(await freedOf(caller, projectId, (others) => freedByManifests(database, id, doomed, others))),
          },
        };
      },
    }),
    read({
      method: 'GET',
      path: '/projects/:project/repositories/:repository/tags/:tag/deletion',
      summary: 'Read what the deletion of a tag would take, and what is in its way',
      tag: 'Tags',
      permission: 'tag:delete',
      params: OfTag,
      answer: TagDeletion,
      async handle({ params }) {
        const { id, projectId, name } = await requireRepository(database, params);
        const digest = await findTag(database, id, params.tag);
        if (digest === undefined) throw new AppError('not_found', `there is no tag ${params.tag} in ${name}`);
        const rule = (await immutabilityOf(database, id)).ruleOf(params.tag);
        return {
          body: {
            allowed: rule === undefined,
            restorableDays: await daysOf(projectId),
            digest,
            ...(rule ? { immutableBy: ruleView(rule) } : {}),
            otherTags: (await countTagsOf(database, id, digest)) - 1,
          },
        };
      },
    }),
    read({
      method: 'GET',
      path: '/projects/:project/repositories/:repository/deletion',
      summary: 'Read what the deletion of a repository would take, and what is in its way',
      tag: 'Repositories',
      permission: 'repository:delete',
      params: OfRepository,
      answer: RepositoryDeletion,
      async handle({ params, caller }) {
        const { id, projectId } = await requireRepository(database, params);
        const held = await firstImmutable(database, id);
        const { freed: inProject, ...contents } = await repositoryContents(database, id, projectId);
        const all = (await seesStorage(caller)) ? { freedInRegistry: (await repositoryContents(database, id, 0)).freed } : {};
        return {
          body: {
            allowed: held === undefined,
            restorableDays: await daysOf(projectId),
            ...(held ? { immutable: { tag: held.tag, rule: ruleView(held.rule) } } : {}),
            ...contents,
            freed: inProject,
            ...all,
          },
        };
      },
    }),
  ];
}
