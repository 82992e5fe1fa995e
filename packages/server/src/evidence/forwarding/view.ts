import Type, { type Static } from 'typebox';
import { SINK_KINDS } from './counts.ts';
import type { SinkRow } from './store.ts';
import type { SinkSecrets } from './targets.ts';
import { type SecretName, SecretsInput, Target } from './targets.ts';

const Time = Type.Union([Type.String({ format: 'date-time' }), Type.Null()]);
const SECRET_NAMES = Object.keys(SecretsInput.properties) as SecretName[];

/** A sink as the API shows it: what is set, and how it goes. */
export const SinkView = Type.Object({
  name: Type.String(),
  enabled: Type.Boolean(),
  kind: Type.Enum([...SINK_KINDS]),
  target: Target,
  secrets: Type.Array(Type.Enum(SECRET_NAMES), { description: 'which are set' }),
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
  state: Type.Object({
    position: Type.Integer({ description: 'number of the last record that it has acknowledged, or that is parked' }),
    backlog: Type.Integer({ description: 'records it has not had yet' }),
    failures: Type.Integer({ description: 'deliveries that failed since the last one that went well' }),
    nextAttemptAt: Time,
    lastError: Type.Union([Type.String(), Type.Null()]),
    lastErrorAt: Time,
    lastSuccessAt: Time,
    parked: Type.Integer({ description: 'records that it refuses whatever is tried' }),
    missed: Type.Integer({ description: 'records that were gone before it could have them' }),
  }),
});

export const ParkedView = Type.Object({
  seq: Type.Integer(),
  reason: Type.String(),
  at: Type.String({ format: 'date-time' }),
});

/** What was set, as the API and the audit records show it: of the secrets the names. */
export function settingsOf({ name, enabled, kind, target, createdAt, createdBy }: SinkRow, secrets: SinkSecrets) {
  const set = SECRET_NAMES.filter((secret) => secrets[secret] !== undefined);
  return { name, enabled, kind, target, secrets: set, createdAt: new Date(createdAt).toISOString(), createdBy };
}

export function viewOf(
  sink: SinkRow,
  secrets: SinkSecrets,
  { newest, parked }: { newest: number; parked: number },
): Static<typeof SinkView> {
  const { position, attempts, nextAt, lastError, lastErrorAt, lastSuccessAt, missed } = sink;
  return {
    ...settingsOf(sink, secrets),
    state: {
      position,
      backlog: Math.max(0, newest - position),
      failures: attempts,
      nextAttemptAt: attempts > 0 ? timeOf(nextAt) : null,
      lastError,
      lastErrorAt: timeOf(lastErrorAt),
      lastSuccessAt: timeOf(lastSuccessAt),
      parked,
      missed,
    },
  };
}

function timeOf(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
