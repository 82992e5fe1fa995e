import type { HookEvent, RetentionTold } from './events.ts';
import { HARBOR_TYPES, type WebhookFormat } from './words.ts';

/** What is told of: an event, or a test of the connection. */
export type Told = Omit<HookEvent, 'name'> & { readonly name: HookEvent['name'] | 'ping' };

/** What a payload tells besides the event itself. */
export interface Surroundings {
  /** Address of this registry as clients know it. */
  readonly registry: string;
  readonly isPublic: boolean;
  /** When the repository was made; undefined where it is no more. */
  readonly repositoryCreatedAt: number | undefined;
}

export const CONTENT_TYPES: Readonly<Record<WebhookFormat, string>> = {
  cloudevents: 'application/cloudevents+json; charset=utf-8',
  harbor: 'application/json',
};

/** The body that is sent. Throws for an event that the format cannot tell of. */
export function payloadOf(format: WebhookFormat, event: Told, around: Surroundings): string {
  return JSON.stringify(format === 'harbor' ? harborPayload(event, around) : cloudEvent(event, around.registry));
}

/** CloudEvents 1.0 in structured mode. */
function cloudEvent({ id, name, at, ...data }: Told, registry: string): object {
  return {
    specversion: '1.0',
    id,
    source: registry,
    type: typeOf(name),
    subject: subjectOf(data),
    time: new Date(at).toISOString(),
    datacontenttype: 'application/json',
    data: { registry, ...data },
  };
}

/** The `type` of CloudEvents. */
function typeOf(name: string): string {
  return `io.entrepot.${name}.v1`;
}

/** `system`, `project`, `project/repository`, `project/repository:tag` or `project/repository@digest`. */
function subjectOf({ project, repository, tag, digest }: Pick<HookEvent, 'project' | 'repository' | 'tag' | 'digest'>): string {
  if (repository === undefined) return project ?? 'system';
  if (tag !== undefined) return `${repository}:${tag}`;
  return digest === undefined ? repository : `${repository}@${digest}`;
}

/** Harbor's payload (goharbor.io, "Configure Webhook Notifications"); where an artifact has no tag, its digest stands for one, as there. */
function harborPayload(event: Told, { registry, isPublic, repositoryCreatedAt }: Surroundings): object {
  const { name, at, actor, project = '', repository, digest, tags = [], quota, retention, pulls } = event;
  const type = name === 'ping' ? undefined : HARBOR_TYPES[name];
  if (type === undefined) throw new TypeError(`Harbor has no payload for ${name}`);
  const head = { type, occur_at: seconds(at), operator: actor };
  if (retention !== undefined) return { ...head, event_data: { retention: harborRetention(retention, project, registry) } };
  if (quota !== undefined) {
    const details = `quota usage of the project: ${event.used} of ${event.limit} ${quota}`;
    const place = repositoryOf(project, repository ?? project, { isPublic, repositoryCreatedAt: undefined });
    return { ...head, event_data: { resources: [], repository: place, custom_attributes: { Details: details } } };
  }
  if (repository === undefined || digest === undefined) throw new TypeError(`Harbor has no payload for ${name}`);
  const host = new URL(registry).host;
  const references = tags.length === 0 ? [digest] : tags;
  return {
    ...head,
    event_data: {
      resources: references.map((tag) => ({
        digest,
        tag,
        resource_url: `${host}/${repository}${tag === digest ? '@' : ':'}${tag}`,
      })),
      repository: repositoryOf(project, repository, { isPublic, repositoryCreatedAt }),
      ...(pulls === undefined ? {} : { custom_attributes: { Pulls: String(pulls) } }),
    },
  };
}

function harborRetention({ policyId, state, lookedAt, kept, artifacts }: RetentionTold, project: string, registry: string): object {
  return {
    total: lookedAt,
    retained: kept,
    harbor_hostname: new URL(registry).host,
    ...(project === '' ? {} : { project_name: project }),
    retention_policy_id: policyId,
    result: state === 'done' ? 'SUCCESS' : 'FAILURE',
    deleted_artifact: artifacts.map(({ repository, tag, digest }) => {
      return { type: 'image', status: 'SUCCESS', name_tag: tag === null ? `${repository}@${digest}` : `${repository}:${tag}` };
    }),
  };
}

function repositoryOf(
  project: string,
  repository: string,
  { isPublic, repositoryCreatedAt }: Pick<Surroundings, 'isPublic' | 'repositoryCreatedAt'>,
): object {
  return {
    ...(repositoryCreatedAt === undefined ? {} : { date_created: seconds(repositoryCreatedAt) }),
    name: repository === project ? repository : repository.slice(project.length + 1),
    namespace: project,
    repo_full_name: repository,
    repo_type: isPublic ? 'public' : 'private',
  };
}

function seconds(at: number): number {
  return Math.floor(at / 1000);
}
