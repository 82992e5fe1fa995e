import { isTag, parseDigest } from '@entrepot/oci';
import Type, { type Static } from 'typebox';
import type { Identity } from '../../access/index.ts';
import {
  type ArtifactFacts,
  artifactCount,
  findArtifact,
  findRepository,
  findTagFacts,
  listArtifacts,
  listTagsOfDigest,
} from '../../catalog/index.ts';
import { AppError, type Route, repositoryIn, routesFor } from '../../platform/index.ts';
import type { Adapter } from './adapt.ts';
import { artifactView, kindOf, type Place, tagView } from './artifact-view.ts';
import { answerList, gather, Items, ListQuery } from './lists.ts';
import { type HarborParts, OfArtifact, OfRepository, OfTag } from './parts.ts';

const NewTag = Type.Object({ name: Type.String({ maxLength: 128 }) });
type Names = Static<typeof OfRepository>;

/** Artifacts, their tags, and the scanner that there is not. */
export function artifactRoutes({ database, readBlob }: HarborParts, { change }: Adapter): Route[] {
  const { read } = routesFor<Identity>();
  const common = { tag: 'Harbor', permission: 'artifact:read' } as const;
  const base = '/projects/:project/repositories/:repository/artifacts';

  async function placeOf({ project, repository: name }: Names): Promise<Place> {
    const full = repositoryIn(project, name);
    const repository = await findRepository(database, full);
    if (!repository) throw new AppError('not_found', `there is no repository ${full}`);
    return { projectId: repository.projectId, repositoryId: repository.id, repository: full };
  }

  async function requireArtifact({ repositoryId, repository }: Place, reference: string): Promise<ArtifactFacts> {
    const tag = isTag(reference) ? await findTagFacts(database, repositoryId, reference) : undefined;
    const digest = tag?.digest ?? (parseDigest(reference) ? reference : undefined);
    const facts = digest === undefined ? undefined : await findArtifact(database, repositoryId, digest);
    if (!facts) throw new AppError('not_found', `artifact ${repository}:${reference} not found`);
    return facts;
  }

  /** The tag of a path, where it points at the artifact before it. */
  async function requireTagOf(params: Names & { reference: string; tag: string }): Promise<void> {
    const place = await placeOf(params);
    const { digest } = await requireArtifact(place, params.reference);
    const tag = await findTagFacts(database, place.repositoryId, params.tag);
    if (tag?.digest !== digest) throw new AppError('not_found', `tag ${params.tag} of ${params.reference} not found`);
  }

  async function tagsShown(facts: ArtifactFacts, repositoryId: number): Promise<Tagged> {
    const tags = await listTagsOfDigest(database, { repositoryId, digest: facts.digest, limit: 100 });
    return { facts, tags: tags.map(({ name }) => name) };
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: base,
      summary: 'List artifacts, the latest first',
      params: OfRepository,
      query: ListQuery,
      answer: Items,
      async handle(call) {
        const place = await placeOf(call.params);
        const { repositoryId } = place;
        return await answerList(call, {
          load: async (most) =>
            await gather(most, async (last: readonly [number, number] | undefined, limit) => {
              const page = await listArtifacts(database, { repositoryId, sort: 'pushed', order: 'desc', last, limit, top: true });
              const items: Tagged[] = [];
              for (const facts of page.artifacts) items.push(await tagsShown(facts, repositoryId));
              return { items, next: page.next };
            }),
          count: () => artifactCount(database, repositoryId),
          fields: FIELDS,
          view: ({ facts }) => artifactView(database, facts, place, readBlob),
        });
      },
    }),
    read({
      ...common,
      method: 'GET',
      path: `${base}/:reference`,
      summary: 'Read an artifact by tag or digest',
      params: OfArtifact,
      answer: Type.Unknown(),
      async handle({ params }) {
        const place = await placeOf(params);
        return { body: await artifactView(database, await requireArtifact(place, params.reference), place, readBlob) };
      },
    }),
    change('DELETE /projects/:project/repositories/:repository/artifacts/:reference', {
      method: 'DELETE',
      path: `${base}/:reference`,
      params: OfArtifact,
      // As Harbor does: its accessories go with an artifact, and what only an index needs with that.
      call: async () => ({ query: { referrers: true, children: true } }),
    }),
    read({
      ...common,
      method: 'GET',
      path: `${base}/:reference/tags`,
      summary: 'List the tags of an artifact',
      permission: 'tag:list',
      params: OfArtifact,
      query: ListQuery,
      answer: Items,
      async handle(call) {
        const place = await placeOf(call.params);
        const { id, digest } = await requireArtifact(place, call.params.reference);
        return await answerList(call, {
          load: async (most) => await listTagsOfDigest(database, { repositoryId: place.repositoryId, digest, limit: most }),
          fields: { name: ({ name }) => name, push_time: ({ updatedAt }) => updatedAt },
          view: async (tag) => tagView(tag, place, id),
        });
      },
    }),
    change('PUT /projects/:project/repositories/:repository/tags/:tag', {
      method: 'POST',
      path: `${base}/:reference/tags`,
      params: OfArtifact,
      body: NewTag,
      status: 201,
      codes: { precondition_failed: 'conflict' },
      async call({ params, body, headers }) {
        const names = params as Static<typeof OfArtifact>;
        const { digest } = await requireArtifact(await placeOf(names), names.reference);
        const { name: tag } = body as Static<typeof NewTag>;
        return { params: { ...names, tag }, body: { digest }, headers: { ...headers, 'if-none-match': '*' } };
      },
      tell(_, { url, body }) {
        const { name } = body as Static<typeof NewTag>;
        return { headers: { Location: `${url.split('?', 1)[0]}/${name}` } };
      },
    }),
    change('DELETE /projects/:project/repositories/:repository/tags/:tag', {
      method: 'DELETE',
      path: `${base}/:reference/tags/:tag`,
      params: OfTag,
      async call({ params }) {
        await requireTagOf(params as Static<typeof OfTag>);
        return {};
      },
    }),
    ...(['', '/stop'] as const).map((path) =>
      read({
        ...common,
        method: 'POST',
        path: `${base}/:reference/scan${path}`,
        summary: 'Ask for a scan, for which there is no scanner',
        params: OfArtifact,
        answer: Type.Unknown(),
        async handle({ params }) {
          const place = await placeOf(params);
          await requireArtifact(place, params.reference);
          throw new AppError('precondition_failed', `no available scanner for project: ${place.projectId}`);
        },
      }),
    ),
    read({
      ...common,
      method: 'GET',
      path: `${base}/:reference/additions/vulnerabilities`,
      summary: 'Read what a scan found, for which there is no scanner',
      params: OfArtifact,
      answer: Type.Unknown(),
      async handle({ params }) {
        const place = await placeOf(params);
        await requireArtifact(place, params.reference);
        throw new AppError('not_found', `no scanner registration configured for project: ${place.projectId}`);
      },
    }),
  ];
}

interface Tagged {
  readonly facts: ArtifactFacts;
  readonly tags: readonly string[];
}

const FIELDS = {
  id: ({ facts }: Tagged) => facts.id,
  digest: ({ facts }: Tagged) => facts.digest,
  tags: ({ tags }: Tagged) => tags,
  type: ({ facts }: Tagged) => kindOf(facts),
  media_type: ({ facts }: Tagged) => facts.artifactType ?? facts.mediaType,
  manifest_media_type: ({ facts }: Tagged) => facts.mediaType,
  artifact_type: ({ facts }: Tagged) => facts.artifactType ?? facts.mediaType,
  size: ({ facts }: Tagged) => facts.size,
  push_time: ({ facts }: Tagged) => facts.pushedAt,
};
