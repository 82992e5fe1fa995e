import { isUserName } from '../users.ts';

/** Names that say more than they are: nobody gets one from a provider. */
const RESERVED: ReadonlySet<string> = new Set([
  ...[
    'admin',
    'administrator',
    'root',
    'system',
    'anonymous',
    'nobody',
    'local',
    'registry',
    'entrepot',
    'everyone',
    'operator',
    'security',
  ],
]);

/**
 * The user name for what a provider calls somebody: lower case, whatever no name may hold as `-`. undefined where there is none,
 * or it is reserved. Different names may become the same one; the second of them is then not free.
 */
export function accountNameOf(given: string, domain: string | undefined): string | undefined {
  const lower = given.normalize('NFKC').trim().toLowerCase();
  const suffix = `@${domain?.toLowerCase()}`;
  const own = domain !== undefined && lower.endsWith(suffix) ? lower.slice(0, -suffix.length) : lower;
  const name = own
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .replace(/-+$/, '');
  return isUserName(name) && !RESERVED.has(name) ? name : undefined;
}
