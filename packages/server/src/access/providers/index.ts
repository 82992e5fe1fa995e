export { createLdapLogins } from './ldap-logins.ts';
export { PROVIDER_SECRETS, providerMigrations } from './schema.ts';
