import { AppError } from '../../platform/index.ts';
import type { Person } from './person.ts';
import type { OidcSettings } from './settings.ts';

export type Claims = Readonly<Record<string, unknown>>;

const MOST_GROUPS = 1000;
const GROUP_LENGTH = 256;

/** A claim by its name, or else by the way into it. */
function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  return name
    .split('.')
    .reduce<unknown>(
      (value, part) => (typeof value === 'object' && value !== null && Object.hasOwn(value, part) ? (value as Claims)[part] : undefined),
      claims,
    );
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 1024) : '';
}

/** Who the claims tell of. Throws `denied` where they do not say who, or not what the settings ask for. */
export function personOf({ nameClaim, groupsClaim, requireVerifiedEmail }: OidcSettings, claims: Claims): Person {
  const isVerified = claims.email_verified === true;
  const email = isVerified ? textOf(claims.email) : '';
  if (requireVerifiedEmail && email === '') throw new AppError('denied', 'the provider has not verified the email address');
  // Anybody can call an address their own that nobody has verified.
  const name = nameClaim === 'email' ? email : textOf(claimOf(claims, nameClaim));
  const found = groupsClaim === undefined ? [] : claimOf(claims, groupsClaim);
  const groups = (Array.isArray(found) ? found : [found]).filter((group): group is string => typeof group === 'string');
  return {
    subject: textOf(claims.sub),
    name,
    email,
    fullName: textOf(claims.name),
    groups: groups.filter(({ length }) => length > 0 && length <= GROUP_LENGTH).slice(0, MOST_GROUPS),
  };
}
