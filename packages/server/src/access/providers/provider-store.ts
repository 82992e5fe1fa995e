import { queriesOf, type Seal, type Session } from '../../platform/index.ts';
import { touchAccess } from '../rules.ts';
import type { ProviderTables } from './schema.ts';
import type { ProviderSettings } from './settings.ts';

const query = queriesOf<ProviderTables>('providers');
const COLUMNS = ['id', 'name', 'settings', 'secret', 'enabled', 'created_at as createdAt', 'created_by as createdBy', 'version'] as const;

const allProviders = query()('providers', (db) => db.selectFrom('identity_provider').select(COLUMNS).orderBy('name'));
const providerByName = query<{ name: string }>()('provider', (db, p) =>
  db.selectFrom('identity_provider').select(COLUMNS).where('name', '=', p('name')),
);
const insertProvider = query<{ name: string; kind: 'oidc' | 'ldap'; settings: string; enabled: number; now: number; by: string }>()(
  'insertProvider',
  (db, p) =>
    db
      .insertInto('identity_provider')
      .values({
        name: p('name'),
        kind: p('kind'),
        settings: p('settings'),
        secret: null,
        enabled: p('enabled'),
        created_at: p('now'),
        created_by: p('by'),
        version: 1,
      })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .returning('id'),
);
const updateProvider = query<{ id: number; settings: string; secret: string | null; enabled: number }>()('updateProvider', (db, p) =>
  db
    .updateTable('identity_provider')
    .set((eb) => ({ settings: p('settings'), secret: p('secret'), enabled: p('enabled'), version: eb('version', '+', 1) }))
    .where('id', '=', p('id')),
);
const setSecret = query<{ id: number; secret: string | null }>()('setProviderSecret', (db, p) =>
  db
    .updateTable('identity_provider')
    .set({ secret: p('secret') })
    .where('id', '=', p('id')),
);
const deleteProviderRow = query<{ id: number }>()('deleteProvider', (db, p) =>
  db.deleteFrom('identity_provider').where('id', '=', p('id')),
);
const deleteLinks = query<{ id: number }>()('deleteProviderLinks', (db, p) =>
  db.deleteFrom('identity_link').where('provider_id', '=', p('id')),
);
const deleteHints = query<{ id: number }>()('deleteProviderHints', (db, p) =>
  db.deleteFrom('oidc_hint').where('provider_id', '=', p('id')),
);
const deleteMemberships = query<{ name: string }>()('deleteProviderMemberships', (db, p) =>
  db.deleteFrom('group_member').where('source', '=', p('name')),
);
const deleteAssignments = query<{ by: string }>()('deleteProviderAssignments', (db, p) =>
  db.deleteFrom('role_assignment').where('created_by', '=', p('by')),
);
const endSessions = query<{ name: string }>()('endProviderSessions', (db, p) => db.deleteFrom('session').where('provider', '=', p('name')));
const raiseLinked = query<{ id: number }>()('raiseLinkedUsers', (db, p) =>
  db
    .updateTable('user')
    .set((eb) => ({ generation: eb('generation', '+', 1), version: eb('version', '+', 1) }))
    .where('id', 'in', (eb) => eb.selectFrom('identity_link').select('user_id').where('provider_id', '=', p('id'))),
);

/** A provider of identities, as it is kept. */
export interface Provider<S extends ProviderSettings = ProviderSettings> {
  readonly id: number;
  readonly name: string;
  readonly settings: S;
  /** Sealed. */
  readonly secret: string | null;
  readonly enabled: boolean;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly version: number;
}

interface Row extends Omit<Provider, 'settings' | 'enabled'> {
  readonly settings: string;
  readonly enabled: number;
}

function toProvider({ settings, enabled, ...row }: Row): Provider {
  return { ...row, settings: JSON.parse(settings) as ProviderSettings, enabled: enabled === 1 };
}

/** All providers by name; there are few, by the limit at creation. */
export async function listProviders(session: Session): Promise<Provider[]> {
  return (await session.all(allProviders, {})).map(toProvider);
}

export async function findProvider(session: Session, name: string): Promise<Provider | undefined> {
  const row = await session.first(providerByName, { name });
  return row && toProvider(row);
}

export function isOfKind<K extends ProviderSettings['kind']>(
  provider: Provider,
  kind: K,
): provider is Provider<Extract<ProviderSettings, { kind: K }>> {
  return provider.settings.kind === kind;
}

interface NewProvider {
  readonly name: string;
  readonly settings: ProviderSettings;
  readonly secret: string | undefined;
  readonly enabled: boolean;
  readonly by: string;
  readonly now: number;
}

/** Makes a provider; false if there is one of that name. */
export async function createProvider(tx: Session, seal: Seal, { name, settings, secret, enabled, by, now }: NewProvider): Promise<boolean> {
  const { kind } = settings;
  const made = await tx.first(insertProvider, { name, kind, settings: JSON.stringify(settings), enabled: Number(enabled), now, by });
  if (!made) return false;
  if (secret !== undefined) await tx.run(setSecret, { id: made.id, secret: sealSecret(seal, made.id, secret) });
  return true;
}

/** Changes a provider. Whom it let in is out where it is disabled. */
export async function changeProvider(
  tx: Session,
  before: Provider,
  { settings, secret, enabled }: Pick<Provider, 'settings' | 'secret' | 'enabled'>,
): Promise<void> {
  await tx.run(updateProvider, { id: before.id, settings: JSON.stringify(settings), secret, enabled: Number(enabled) });
  if (before.settings.adminGroup !== settings.adminGroup) await tx.run(deleteAssignments, { by: assignerOf(before) });
  if (before.enabled && !enabled) await shutOut(tx, before);
  await touchAccess(tx);
}

/** Forgets a provider, who its users are there, and all that it gave them. The users stay, without a way in by it. */
export async function deleteProvider(tx: Session, provider: Provider): Promise<void> {
  const { id, name } = provider;
  await shutOut(tx, provider);
  await tx.run(deleteHints, { id });
  await tx.run(deleteLinks, { id });
  await tx.run(deleteMemberships, { name });
  await tx.run(deleteAssignments, { by: assignerOf(provider) });
  await tx.run(deleteProviderRow, { id });
  await touchAccess(tx);
}

/** Ends the sessions that a provider vouched for, and voids all that was issued to its users. */
async function shutOut(tx: Session, { id, name }: Provider): Promise<void> {
  await tx.run(endSessions, { name });
  await tx.run(raiseLinked, { id });
}

/** Whom assignments name as their maker that a provider's groups gave. No user has such a name. */
export function assignerOf({ name }: Pick<Provider, 'name'>): string {
  return `provider:${name}`;
}

export function sealSecret(seal: Seal, id: number, secret: string): string {
  return seal.seal(secret, `identity-provider:${id}`);
}

/** Client secret or bind password of a provider. */
export function secretOf(seal: Seal, { id, secret }: Pick<Provider, 'id' | 'secret'>): string | undefined {
  return secret === null ? undefined : seal.open(secret, `identity-provider:${id}`);
}
