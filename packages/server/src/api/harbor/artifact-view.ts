import { MEDIA_TYPE } from '@entrepot/oci';
import { type ArtifactFacts, type Content, contentOf, findArtifact, listTagsOfDigest, type TagFacts } from '../../catalog/index.ts';
import type { Session } from '../../platform/index.ts';
import { NEVER, time } from './parts.ts';

/** Where an artifact is, as Harbor numbers it. */
export interface Place {
  readonly projectId: number;
  readonly repositoryId: number;
  /** Full name. */
  readonly repository: string;
}

/** Tags shown with an artifact; all of them are listed under it. */
const TAGS = 100;
const TYPE_OF_CONFIG = /^application\/vnd\.[^.]+\.([a-z0-9-]+)\.config\.[^.]+$/;

/** What Harbor calls the kind of an artifact: from the media type of its config. */
export function kindOf({ mediaType, artifactType }: ArtifactFacts): string {
  if (mediaType === MEDIA_TYPE.ociIndex || mediaType === MEDIA_TYPE.dockerList) return 'IMAGE';
  if (artifactType === null || artifactType === 'application/vnd.docker.container.image.v1+json') return 'IMAGE';
  const named = TYPE_OF_CONFIG.exec(artifactType.replace(/\+json$/, ''))?.[1];
  if (named === 'helm') return 'CHART';
  return named?.toUpperCase() ?? 'UNKNOWN';
}

export function tagView({ name, updatedAt, pulledAt }: TagFacts, { repositoryId }: Place, artifactId: number) {
  return {
    id: 0,
    repository_id: repositoryId,
    artifact_id: artifactId,
    name,
    push_time: time(updatedAt),
    pull_time: pulledAt === null ? NEVER : time(pulledAt),
    immutable: false,
  };
}

/** An artifact as Harbor shows it. */
export async function artifactView(
  session: Session,
  facts: ArtifactFacts,
  place: Place,
  readBlob: (digest: string, most: number, repositoryId: number) => Promise<Uint8Array | undefined>,
) {
  const { id, digest, mediaType, artifactType, size, pushedAt, pulledAt } = facts;
  const { projectId, repositoryId, repository } = place;
  const content = await contentOf(session, { id, digest, mediaType, size: facts.manifestSize, repositoryId }, readBlob);
  const tags = await listTagsOfDigest(session, { repositoryId, digest, limit: TAGS });
  return {
    id,
    type: kindOf(facts),
    media_type: artifactType ?? mediaType,
    manifest_media_type: mediaType,
    artifact_type: artifactType ?? mediaType,
    project_id: projectId,
    repository_id: repositoryId,
    repository_name: repository,
    digest,
    size,
    icon: '',
    push_time: time(pushedAt),
    pull_time: pulledAt === null ? NEVER : time(pulledAt),
    extra_attrs: attributesOf(content),
    annotations: content?.annotations ?? {},
    references: await referencesOf(session, place, id, content),
    tags: tags.length === 0 ? null : tags.map((tag) => tagView(tag, place, id)),
    labels: null,
    accessories: null,
    addition_links: {},
  };
}

function attributesOf(content: Content | undefined) {
  const { image } = content ?? {};
  if (!image) return {};
  const { platform, created, author, labels } = image;
  const { os, architecture, variant } = platform;
  return {
    ...{ os, architecture, created: created ?? null, author: author ?? '', config: { Labels: labels } },
    ...(variant === undefined ? {} : { variant }),
  };
}

async function referencesOf(session: Session, { repositoryId }: Place, parentId: number, content: Content | undefined) {
  if (!content || content.children.length === 0) return null;
  const references: object[] = [];
  for (const { digest, platform } of content.children) {
    const child = await findArtifact(session, repositoryId, digest);
    const { os = '', architecture = '', variant = '', osVersion = '' } = platform ?? {};
    references.push({
      parent_id: parentId,
      child_id: child?.id ?? 0,
      child_digest: digest,
      platform: { architecture, os, 'os.version': osVersion, variant },
      urls: null,
      annotations: null,
    });
  }
  return references;
}
