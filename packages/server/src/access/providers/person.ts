import { compileGlob } from '../../platform/index.ts';
import { isGroupName } from '../local/groups.ts';
import { accountNameOf } from './account-name.ts';
import type { ProviderSettings } from './settings.ts';

/** Somebody as a provider describes them. */
export interface Person {
  /** What the provider calls them for ever; never shown to others. */
  readonly subject: string;
  readonly name: string;
  /** Empty unless the provider has verified it. */
  readonly email: string;
  readonly fullName: string;
  readonly groups: readonly string[];
}

/** What a person becomes here. */
export interface Mapped {
  /** undefined where their name can be nobody's here. */
  readonly account: string | undefined;
  readonly groups: readonly string[];
  readonly isAdmin: boolean;
}

const MOST_GROUPS = 200;
export const SUBJECT_LENGTH = 255;

/** Maps a person by the settings of the provider. Groups that cannot be named here are left out. */
export function mapPerson(settings: ProviderSettings, { name, groups }: Person): Mapped {
  const { groupPattern, groupPrefix, adminGroup, nameDomain } = settings;
  const wanted = groupPattern === undefined ? () => true : compileGlob(groupPattern);
  const mapped = groups.filter(wanted).map((group) => groupPrefix + group);
  return {
    account: accountNameOf(name, nameDomain),
    groups: [...new Set(mapped.filter(isGroupName))].sort().slice(0, MOST_GROUPS),
    isAdmin: adminGroup !== undefined && groups.includes(adminGroup),
  };
}
