import Type, { type Static } from 'typebox';
import type { Provider } from './provider-store.ts';
import { SettingsInput } from './settings.ts';

export const ProviderName = Type.String({ maxLength: 32, pattern: '^(?!local$)[a-z0-9]+(-[a-z0-9]+)*$' });

export const ProviderView = Type.Object({
  name: Type.String(),
  enabled: Type.Boolean(),
  settings: SettingsInput,
  hasSecret: Type.Boolean(),
  createdAt: Type.String({ format: 'date-time' }),
  createdBy: Type.String(),
});

/** A provider as the API and the audit records show it: of the secret only whether there is one. */
export function viewOf({ name, enabled, settings, secret, createdAt, createdBy }: Provider): Static<typeof ProviderView> {
  return { name, enabled, settings, hasSecret: secret !== null, createdAt: new Date(createdAt).toISOString(), createdBy };
}

export function etagOf({ id, version }: Provider): string {
  return `${id}.${version}`;
}

export function resourceOf({ name }: Provider) {
  return { type: 'provider', name };
}
