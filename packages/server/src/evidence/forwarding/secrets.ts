import type { Seal } from '../../platform/index.ts';
import type { SinkSecrets } from './targets.ts';

/** Secrets of a sink as they lie in the database; null where there are none. */
export function sealSecrets(seal: Seal, id: number, secrets: SinkSecrets): string | null {
  return Object.keys(secrets).length === 0 ? null : seal.seal(JSON.stringify(secrets), placeFor(id));
}

/** Secrets of a sink. Throws where they were sealed for another one, or under another key. */
export function openSecretsOf(seal: Seal, { id, secrets }: { readonly id: number; readonly secrets: string | null }): SinkSecrets {
  return secrets === null ? {} : (JSON.parse(seal.open(secrets, placeFor(id))) as SinkSecrets);
}

function placeFor(id: number): string {
  return `audit-sink:${id}`;
}
