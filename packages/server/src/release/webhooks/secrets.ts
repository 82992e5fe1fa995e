import { randomBytes } from 'node:crypto';
import type { Static } from 'typebox';
import { AppError, type Seal } from '../../platform/index.ts';
import type { SecretsInput } from './secrets-schema.ts';

/** One of the keys that deliveries are signed with. */
interface SigningSecret {
  readonly secret: string;
  /** Milliseconds since 1970; null: until it is replaced. */
  readonly endsAt: number | null;
}

export interface WebhookSecrets {
  /** The newest last; two while they rotate. */
  readonly signing: readonly SigningSecret[];
  /** Value of the `Authorization` header. */
  readonly authorization?: string;
  /** Query of the address, without `?`. */
  readonly query?: string;
}

type SecretsChange = Static<typeof SecretsInput>;
export type SecretName = keyof SecretsChange;

export function newSigningSecret(): string {
  return `whsec_${randomBytes(32).toString('base64url')}`;
}

export function sealSecrets(seal: Seal, id: number, secrets: WebhookSecrets): string {
  return seal.seal(JSON.stringify(secrets), placeOf(id));
}

/** Secrets of a webhook. Throws where they were sealed for another one, or under another key. */
export function openSecrets(seal: Seal, { id, secrets }: { readonly id: number; readonly secrets: string }): WebhookSecrets {
  return JSON.parse(seal.open(secrets, placeOf(id))) as WebhookSecrets;
}

function placeOf(id: number): string {
  return `webhook:${id}`;
}

/** The keys that are live. */
export function liveSecrets({ signing }: WebhookSecrets, now: number): string[] {
  return signing.filter(({ endsAt }) => endsAt === null || endsAt > now).map(({ secret }) => secret);
}

/** Adds a key; the one before stays live until a time, and none older. */
export function rotated({ signing, ...others }: WebhookSecrets, secret: string, oldEndsAt: number): WebhookSecrets {
  const before = signing.at(-1);
  return { ...others, signing: [...(before === undefined ? [] : [{ ...before, endsAt: oldEndsAt }]), { secret, endsAt: null }] };
}

/** Which secrets besides the keys are set. */
export function namesOf({ authorization, query }: WebhookSecrets): SecretName[] {
  return [...(authorization === undefined ? [] : ['authorization' as const]), ...(query === undefined ? [] : ['query' as const])];
}

/**
 * Secrets after a change. Throws `bad_request` where the address leads to another origin and one that is known is neither given
 * again nor taken away: what was given for one place is not sent to another.
 */
export function changedSecrets(known: WebhookSecrets, change: SecretsChange, moved: boolean): WebhookSecrets {
  if (moved && namesOf(known).some((name) => !Object.hasOwn(change, name))) {
    throw new AppError('bad_request', 'the webhook leads to another place: give its secrets again, or null for those that are to go');
  }
  const { signing, ...others } = known;
  const kept = Object.entries({ ...others, ...change }).filter(([, value]) => value !== null);
  return { signing, ...Object.fromEntries(kept) };
}
