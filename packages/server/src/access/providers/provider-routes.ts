import Type from 'typebox';
import {
  AppError,
  type Database,
  listOf,
  listQuery,
  type Outbound,
  PAGE_DEFAULT,
  pageOf,
  type Route,
  readCursor,
  requireMatch,
  routesFor,
  type Seal,
  type Session,
} from '../../platform/index.ts';
import type { Access } from '../access.ts';
import { requireSystemAdmin } from '../assignments.ts';
import type { Identity } from '../identity.ts';
import { requireEverything } from '../local/rights-of.ts';
import { testProvider } from './connection-test.ts';
import {
  changeProvider,
  createProvider,
  deleteProvider,
  findProvider,
  listProviders,
  type Provider,
  sealSecret,
  secretOf,
} from './provider-store.ts';
import { etagOf, ProviderName, ProviderView, resourceOf, viewOf } from './provider-view.ts';
import { placeOf, readSettings, SettingsInput } from './settings.ts';

export interface ProviderParts {
  readonly database: Database;
  readonly access: Access;
  readonly outbound: Outbound;
  /** Seals the secrets of providers. */
  readonly providerSeal: Seal;
  readonly config: { readonly outboundProxy: string };
}

const MOST_PROVIDERS = 16;
const SECRET = { minLength: 1, maxLength: 1024, description: 'client secret or bind password; never shown again' };
const Secret = Type.String(SECRET);
const ChangedSecret = Type.Union([Type.String(SECRET), Type.Null()], { description: 'null takes it away' });
export const OfProvider = Type.Object({ provider: Type.String({ maxLength: 32 }) });
const NewProvider = Type.Object(
  { name: ProviderName, enabled: Type.Optional(Type.Boolean({ default: true })), settings: SettingsInput, secret: Type.Optional(Secret) },
  { additionalProperties: false },
);
const ProviderChange = Type.Object(
  { enabled: Type.Optional(Type.Boolean()), settings: Type.Optional(SettingsInput), secret: Type.Optional(ChangedSecret) },
  { additionalProperties: false },
);
const SAMPLE = {
  user: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'name to search in a directory' })),
  password: Type.Optional(Type.String({ minLength: 1, maxLength: 256, description: 'of that user; tried, and kept nowhere' })),
  claims: Type.Optional(
    Type.Object(
      {},
      {
        additionalProperties: false,
        patternProperties: { '^.{1,128}$': Type.Unknown() },
        maxProperties: 64,
        description: 'claims as the provider would give them, to see what becomes of them',
      },
    ),
  ),
};
const UnsavedTest = Type.Object({ settings: SettingsInput, secret: Type.Optional(Secret), ...SAMPLE }, { additionalProperties: false });
const SavedTest = Type.Object(
  { settings: Type.Optional(SettingsInput), secret: Type.Optional(Secret), ...SAMPLE },
  { additionalProperties: false },
);
const TestView = Type.Object({
  ok: Type.Boolean(),
  steps: Type.Array(Type.Object({ step: Type.String(), ok: Type.Boolean(), detail: Type.String() })),
});
const LoginOption = Type.Object({ name: Type.String(), kind: Type.Enum(['oidc', 'ldap']), title: Type.String() });

const TAG = 'Identity providers';
const { read, change } = routesFor<Identity>();

/** Providers of identities: kept, tried, and shown to who wants to log in. */
export function providerStoreRoutes({ database, access, outbound, providerSeal, config }: ProviderParts): Route[] {
  const parts = { outbound, isProxied: config.outboundProxy !== '' };

  return [
    read({
      method: 'GET',
      path: '/login-options',
      summary: 'List the providers to log in with, besides name and password of a local user',
      tag: 'Sign-in',
      permission: 'public',
      answer: listOf(LoginOption),
      async handle() {
        const enabled = (await listProviders(database)).filter((provider) => provider.enabled);
        const items = enabled.map(({ name, settings: { kind, title } }) => ({ name, kind, title: title || name }));
        return { body: { items } };
      },
    }),
    read({
      method: 'GET',
      path: '/providers',
      summary: 'List the identity providers',
      tag: TAG,
      permission: 'provider:read',
      query: listQuery(['name'], {}),
      answer: listOf(ProviderView),
      async handle({ query: { limit = PAGE_DEFAULT, after, sort = 'name' } }) {
        const [last] = after === undefined ? [undefined] : readCursor(after, ['']);
        const all = await listProviders(database); // few, by the limit at creation
        if (sort === '-name') all.reverse();
        const rest = all.filter(({ name }) => last === undefined || (sort === '-name' ? name < last : name > last));
        const { items, next } = pageOf(rest, limit, ({ name }) => [name]);
        return { body: { items: items.map(viewOf) }, next };
      },
    }),
    read({
      method: 'GET',
      path: '/providers/:provider',
      summary: 'Read an identity provider',
      tag: TAG,
      permission: 'provider:read',
      params: OfProvider,
      answer: ProviderView,
      async handle({ params }) {
        const provider = await requireProvider(database, params.provider);
        return { body: viewOf(provider), etag: etagOf(provider) };
      },
    }),
    change({
      method: 'POST',
      path: '/providers',
      summary: 'Let users log in by one more provider',
      description: 'Who adds or changes a provider decides who is whom, and so must hold every permission itself.',
      tag: TAG,
      permission: 'provider:manage',
      audit: 'provider.create',
      body: NewProvider,
      answer: ProviderView,
      status: 201,
      async prepare({ body, caller }) {
        await requireEverything(access, caller);
        return await readSettings(body.settings);
      },
      async change(tx, { body: { name, enabled = true, secret }, caller, now }, settings) {
        if ((await listProviders(tx)).length >= MOST_PROVIDERS) {
          throw new AppError('conflict', `there are ${MOST_PROVIDERS} providers already`);
        }
        const by = caller.actor.name;
        if (!(await createProvider(tx, providerSeal, { name, settings, secret, enabled, by, now }))) {
          throw new AppError('conflict', `there is a provider ${name} already`);
        }
        const provider = await requireProvider(tx, name);
        return { body: viewOf(provider), etag: etagOf(provider), resource: resourceOf(provider), after: viewOf(provider) };
      },
    }),
    change({
      method: 'PATCH',
      path: '/providers/:provider',
      summary: 'Change an identity provider; who came in by one that is disabled is logged out',
      description: 'Settings are replaced as a whole. Where they lead to another place, the secret must be given again.',
      tag: TAG,
      permission: 'provider:manage',
      audit: 'provider.update',
      params: OfProvider,
      body: ProviderChange,
      answer: ProviderView,
      async prepare({ body, caller }) {
        await requireEverything(access, caller);
        return body.settings === undefined ? undefined : await readSettings(body.settings);
      },
      async change(tx, call, given) {
        const before = await requireProvider(tx, call.params.provider);
        requireMatch(call, etagOf(before));
        const { enabled = before.enabled, secret } = call.body;
        const settings = given ?? before.settings;
        if (settings.kind !== before.settings.kind) throw new AppError('bad_request', 'a provider stays of its kind');
        if (secret === undefined && before.secret !== null && placeOf(settings) !== placeOf(before.settings)) throw movedWithSecret();
        const sealed = secret === undefined ? before.secret : secret === null ? null : sealSecret(providerSeal, before.id, secret);
        await changeProvider(tx, before, { settings, secret: sealed, enabled });
        await requireSystemAdmin(tx);
        const after = await requireProvider(tx, before.name);
        const views = { before: viewOf(before), after: viewOf(after) };
        return { body: views.after, etag: etagOf(after), resource: resourceOf(after), ...views };
      },
    }),
    change({
      method: 'DELETE',
      path: '/providers/:provider',
      summary: 'Forget an identity provider, and what its groups gave; its users stay, logged out',
      tag: TAG,
      permission: 'provider:manage',
      audit: 'provider.delete',
      params: OfProvider,
      async change(tx, call) {
        const provider = await requireProvider(tx, call.params.provider);
        requireMatch(call, etagOf(provider));
        await deleteProvider(tx, provider);
        await requireSystemAdmin(tx);
        return { resource: resourceOf(provider), before: viewOf(provider) };
      },
    }),
    change({
      method: 'POST',
      path: '/providers/test',
      summary: 'Try settings of a provider before they are saved, and tell each step',
      tag: TAG,
      permission: 'provider:manage',
      audit: 'provider.test',
      body: UnsavedTest,
      answer: TestView,
      async prepare({ body: { settings, secret, ...sample }, caller }) {
        await requireEverything(access, caller);
        return await testProvider(parts, await readSettings(settings), secret, sample);
      },
      async change(_, { body: { settings } }, { ok, steps }) {
        return { body: { ok, steps: [...steps] }, resource: { type: 'provider' }, after: { kind: settings.kind, ok } };
      },
    }),
    change({
      method: 'POST',
      path: '/providers/:provider/test',
      summary: 'Try an identity provider, as it is or with other settings, and tell each step',
      tag: TAG,
      permission: 'provider:manage',
      audit: 'provider.test',
      params: OfProvider,
      body: SavedTest,
      answer: TestView,
      async prepare({ params, body: { settings: given, secret, ...sample }, caller }) {
        await requireEverything(access, caller);
        const provider = await requireProvider(database, params.provider);
        const settings = given === undefined ? provider.settings : await readSettings(given);
        const moved = placeOf(settings) !== placeOf(provider.settings);
        if (moved && secret === undefined && provider.secret !== null) throw movedWithSecret();
        return await testProvider(parts, settings, secret ?? secretOf(providerSeal, provider), sample);
      },
      async change(tx, { params }, { ok, steps }) {
        const provider = await requireProvider(tx, params.provider);
        return { body: { ok, steps: [...steps] }, resource: resourceOf(provider), after: { ok } };
      },
    }),
  ];
}

export async function requireProvider(session: Session, name: string): Promise<Provider> {
  const provider = await findProvider(session, name);
  if (!provider) throw new AppError('not_found', `there is no provider ${name}`);
  return provider;
}

function movedWithSecret(): AppError {
  return new AppError(
    'bad_request',
    'the settings lead to another place: give the secret again, or null, as the one known is not sent there',
  );
}
