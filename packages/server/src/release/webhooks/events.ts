import { projectOf } from '@entrepot/oci';
import type { OutboxEvent } from '../../platform/index.ts';
import { type EventName, isTopic, TOPICS } from './words.ts';

/** Something that webhooks tell of; fields that do not apply are absent. */
export interface HookEvent {
  /** The same at every delivery. */
  readonly id: string;
  readonly name: EventName;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Who did it. */
  readonly actor: string;
  /** Absent: told of the system. */
  readonly project?: string;
  /** Full name. */
  readonly repository?: string;
  readonly digest?: string;
  readonly mediaType?: string;
  /** Of the manifest, in bytes. */
  readonly size?: number;
  /** Of a push: those it set; of a deletion: those that went with it. */
  readonly tags?: readonly string[];
  readonly tag?: string;
  /** What the tag led to before; null: it is new. */
  readonly previousDigest?: string | null;
  /** How often it was pulled, with the tag in `tags` if by one. */
  readonly pulls?: number;
  /** What is wrong with a blob, and where sound bytes came from. */
  readonly problem?: string;
  readonly source?: string;
  readonly retention?: RetentionTold;
  /** Which limit of the project is near or was met, and how much of it is taken. */
  readonly quota?: string;
  readonly used?: number;
  readonly limit?: number;
  /** Settings or members, before and after. */
  readonly before?: unknown;
  readonly after?: unknown;
}

/** What a run of a retention policy came to. */
export interface RetentionTold {
  readonly policyId: number;
  readonly policy: string;
  readonly run: number;
  readonly state: string;
  readonly lookedAt: number;
  readonly kept: number;
  readonly deleted: number;
  readonly failed: number;
  /** The first of those that it deleted. */
  readonly artifacts: readonly { readonly repository: string; readonly tag: string | null; readonly digest: string }[];
}

/** What the rooms' announcements hold, all taken together. */
interface Payload {
  readonly by: string;
  readonly digest?: string;
  readonly mediaType?: string;
  readonly size?: number;
  readonly tags?: readonly string[];
  readonly tag?: string;
  readonly previous?: string | null;
  readonly pulls?: number;
  readonly problem?: string;
  readonly source?: string;
  readonly retention?: RetentionTold;
  readonly quota?: string;
  readonly used?: number;
  readonly limit?: number;
  /** Of what is told of a project: the one whose change it was. */
  readonly repository?: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** An event of the outbox as webhooks tell of it; undefined for what they do not tell of. */
export function hookEventOf({ id, topic, repository, payload, at }: OutboxEvent): HookEvent | undefined {
  if (!isTopic(topic)) return undefined;
  const name = TOPICS[topic];
  const { by, previous, before, after, ...artifact } = payload as Payload;
  // The time is part of it, as the numbers of a database that was restored begin anew where the backup ended.
  const common = { id: `${at}-${id}`, name, at, actor: by };
  if (name.startsWith('project.') || name === 'member.changed') {
    return { ...common, project: repository, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
  }
  if (name.startsWith('quota.')) return { ...common, project: repository, ...artifact };
  if (name === 'retention.finished') return { ...common, ...(repository === '' ? {} : { project: repository }), ...artifact };
  const { tags, ...others } = artifact;
  return {
    ...common,
    project: projectOf(repository),
    repository,
    ...others,
    ...(tags === undefined ? {} : { tags }),
    ...(previous === undefined ? {} : { previousDigest: previous }),
  };
}
