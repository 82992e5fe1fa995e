/** What can be heard of, and the topics of the outbox that it comes from. */
export const TOPICS = {
  'manifest.pushed': 'artifact.pushed',
  'manifest.deleted': 'artifact.deleted',
  'manifest.restored': 'artifact.restored',
  'manifest.pulled': 'artifact.pulled',
  'tag.moved': 'tag.moved',
  'tag.deleted': 'tag.deleted',
  'repository.created': 'repository.created',
  'repository.deleted': 'repository.deleted',
  'repository.restored': 'repository.restored',
  'project.create': 'project.created',
  'project.update': 'project.updated',
  'project.delete': 'project.deleted',
  'member.create': 'member.changed',
  'member.update': 'member.changed',
  'member.delete': 'member.changed',
  'member.batch': 'member.changed',
  'blob.damaged': 'blob.damaged',
  'blob.repaired': 'blob.repaired',
  'retention.finished': 'retention.finished',
  'quota.warning': 'quota.warning',
  'quota.exceeded': 'quota.exceeded',
} as const;

export type Topic = keyof typeof TOPICS;
export type EventName = (typeof TOPICS)[Topic];

export const EVENT_NAMES: readonly EventName[] = [...new Set(Object.values(TOPICS))];

export function isTopic(text: string): text is Topic {
  return Object.hasOwn(TOPICS, text);
}

export type WebhookFormat = 'cloudevents' | 'harbor';

export const FORMATS: readonly WebhookFormat[] = ['cloudevents', 'harbor'];

/** Harbor's names of what Harbor's payloads can tell of. */
export const HARBOR_TYPES: Readonly<Partial<Record<EventName, string>>> = {
  'artifact.pushed': 'PUSH_ARTIFACT',
  'artifact.deleted': 'DELETE_ARTIFACT',
  'artifact.pulled': 'PULL_ARTIFACT',
  'retention.finished': 'TAG_RETENTION',
  'quota.warning': 'QUOTA_WARNING',
  'quota.exceeded': 'QUOTA_EXCEED',
};

/** What a format can tell of. */
export function eventsOf(format: WebhookFormat): readonly EventName[] {
  return format === 'harbor' ? EVENT_NAMES.filter((name) => HARBOR_TYPES[name] !== undefined) : EVENT_NAMES;
}

/** There are more of these than of all others: only who names them hears of them. */
export const PULLED: EventName = 'artifact.pulled';

/** What a webhook hears of that names no events. */
export function usualEventsOf(format: WebhookFormat): readonly EventName[] {
  return eventsOf(format).filter((name) => name !== PULLED);
}

/** `waiting` for its first or next attempt; `failed`: given up. */
export type DeliveryState = 'waiting' | 'delivered' | 'failed';

export const DELIVERY_STATES: readonly DeliveryState[] = ['waiting', 'delivered', 'failed'];
