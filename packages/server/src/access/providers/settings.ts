import Type, { type Static } from 'typebox';
import { AppError, compileGlob } from '../../platform/index.ts';
import { checkIssuer } from '../machines/issuer-keys.ts';
import { checkFilter } from './ldap-filter.ts';

const text = (maxLength: number, description: string) => Type.String({ minLength: 1, maxLength, description });
const CLAIM = 'name of a claim; a dot leads into an object, as in realm_access.roles';

/** What every kind of provider has. */
const COMMON = {
  title: Type.Optional(Type.String({ maxLength: 64, description: 'what the login page shows; the name if absent' })),
  createUsers: Type.Optional(Type.Boolean({ default: true, description: 'make a user at the first login of somebody unknown' })),
  nameDomain: Type.Optional(Type.String({ maxLength: 253, description: 'taken off names such as ann@corp.example' })),
  groupPattern: Type.Optional(Type.String({ maxLength: 512, description: 'only groups whose name this glob matches; absent: all' })),
  groupPrefix: Type.Optional(Type.String({ maxLength: 32, description: 'put before the names of its groups' })),
  createGroups: Type.Optional(Type.Boolean({ default: true, description: 'make groups that are not there; else such are left out' })),
  adminGroup: Type.Optional(Type.String({ maxLength: 256, description: 'its members administer the system' })),
};

const OidcInput = Type.Object(
  {
    kind: Type.Literal('oidc'),
    ...COMMON,
    issuer: text(512, 'https address, as it stands in the claim iss'),
    clientId: text(256, 'as the provider knows this registry'),
    scopes: Type.Optional(Type.String({ maxLength: 512, default: 'openid profile email' })),
    userInfo: Type.Optional(Type.Boolean({ default: true, description: 'ask the provider for claims besides those of the ID token' })),
    nameClaim: Type.Optional(Type.String({ minLength: 1, maxLength: 128, default: 'preferred_username', description: CLAIM })),
    groupsClaim: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: `${CLAIM}; absent: no groups` })),
    requireVerifiedEmail: Type.Optional(Type.Boolean({ default: false, description: 'let nobody in whose email_verified is not true' })),
  },
  { additionalProperties: false },
);

const NESTED = Type.Optional(
  Type.Integer({ minimum: 0, maximum: 8, default: 0, description: 'how many levels of groups in groups count' }),
);
const Base = text(1024, 'distinguished name below which to search');
const Filter = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description }));
const Attribute = Type.Optional(Type.String({ maxLength: 64, pattern: '^[A-Za-z][A-Za-z0-9;.-]*$' }));

const LdapGroups = Type.Union([
  Type.Object({ by: Type.Literal('memberOf'), attribute: Attribute, nested: NESTED }, { additionalProperties: false }),
  Type.Object(
    {
      by: Type.Literal('search'),
      base: Base,
      filter: Filter('{dn} and {user} stand for the member; (&(objectClass=groupOfNames)(member={dn})) if absent'),
      nameAttribute: Attribute,
      nested: NESTED,
    },
    { additionalProperties: false },
  ),
]);

const LdapInput = Type.Object(
  {
    kind: Type.Literal('ldap'),
    ...COMMON,
    host: Type.String({ maxLength: 253, pattern: '^[A-Za-z0-9_.:-]+$' }),
    port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, description: '636 for ldaps, else 389, if absent' })),
    security: Type.Optional(Type.Enum(['ldaps', 'starttls', 'none'], { default: 'ldaps' })),
    serverName: Type.Optional(Type.String({ maxLength: 253, description: 'what the certificate must name; the host if absent' })),
    ca: Type.Optional(Type.String({ maxLength: 65_536, description: 'PEM of the authorities trusted in place of the usual ones' })),
    bindDn: Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description: 'who searches; absent: anonymous' })),
    userBase: Base,
    userFilter: Filter('{user} stands for the name given at login; (&(objectClass=person)(uid={user})) if absent'),
    idAttribute: Attribute,
    nameAttribute: Attribute,
    emailAttribute: Attribute,
    fullNameAttribute: Attribute,
    groups: Type.Optional(LdapGroups),
    timeoutSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 30, default: 5, description: 'for each login as a whole' })),
  },
  { additionalProperties: false },
);

export const SettingsInput = Type.Union([OidcInput, LdapInput]);

const COMMON_DEFAULTS = { createUsers: true, createGroups: true, groupPrefix: '' };
const OIDC_DEFAULTS = { scopes: 'openid profile email', userInfo: true, nameClaim: 'preferred_username', requireVerifiedEmail: false };
const LDAP_DEFAULTS = {
  security: 'ldaps' as const,
  userFilter: '(&(objectClass=person)(uid={user}))',
  idAttribute: 'entryUUID',
  nameAttribute: 'uid',
  emailAttribute: 'mail',
  fullNameAttribute: 'cn',
  timeoutSeconds: 5,
};

type Filled<T, D> = Omit<T, keyof D> & D;
export type OidcSettings = Filled<Static<typeof OidcInput>, typeof COMMON_DEFAULTS & typeof OIDC_DEFAULTS>;
export type LdapSettings = Filled<
  Static<typeof LdapInput>,
  typeof COMMON_DEFAULTS & Omit<typeof LDAP_DEFAULTS, 'security'> & { security: 'ldaps' | 'starttls' | 'none'; port: number }
>;
export type ProviderSettings = OidcSettings | LdapSettings;

/** Settings with their defaults. Throws `bad_request` for what could not work. */
export async function readSettings(input: Static<typeof SettingsInput>): Promise<ProviderSettings> {
  try {
    if (input.groupPattern !== undefined) compileGlob(input.groupPattern);
    if (input.kind === 'oidc') {
      checkIssuer(input.issuer);
      const settings = { ...COMMON_DEFAULTS, ...OIDC_DEFAULTS, ...input };
      if (!settings.scopes.split(' ').includes('openid')) throw new TypeError('scopes must hold openid');
      return settings;
    }
    const settings = {
      ...COMMON_DEFAULTS,
      ...LDAP_DEFAULTS,
      port: input.security === 'none' || input.security === 'starttls' ? 389 : 636,
      ...input,
    };
    await checkFilter(settings.userFilter, ['user'], 'user');
    if (settings.groups?.by === 'search' && settings.groups.filter !== undefined)
      await checkFilter(settings.groups.filter, ['user', 'dn'], 'dn');
    return settings;
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new AppError('bad_request', `the settings cannot work: ${cause.message}`, { cause });
  }
}

/** Where a secret is sent: it must be given again where that changes. */
export function placeOf(settings: ProviderSettings): string {
  if (settings.kind === 'oidc') return `oidc ${settings.issuer} ${settings.clientId}`;
  const { host, port, security, serverName = '', ca = '', bindDn = '' } = settings;
  return JSON.stringify(['ldap', host, port, security, serverName, ca, bindDn]);
}
