import { randomUUID } from 'node:crypto';
import { AppError, type Clock, type Database, type Outbound, OutboundError, type Seal } from '../../platform/index.ts';
import { findUser, type User } from '../users.ts';
import { type FoundPerson, openDirectory } from './ldap.ts';
import { linksOf } from './links.ts';
import type { Person } from './person.ts';
import { isOfKind, listProviders, type Provider, secretOf } from './provider-store.ts';
import type { LdapSettings } from './settings.ts';
import { findCurrent, signIn } from './sign-in.ts';

/** What directories make of a name and password. */
export type Verdict =
  | { readonly kind: 'proved'; readonly user: User; readonly provider: string }
  | { readonly kind: 'wrong' }
  /** A directory did not answer; `isLocal` where none could have proved the name. */
  | { readonly kind: 'unknown'; readonly isLocal: boolean };

export interface LdapLogins {
  /**
   * Whom a name and password prove. `admit` is asked once more when it is this login's turn; false ends it. Throws `denied` for
   * somebody who may not come in, and `too_many_requests` where a directory is slow and many wait.
   */
  check(name: string, password: string, admit: () => Promise<boolean>): Promise<Verdict>;
}

interface Parts {
  readonly database: Database;
  readonly outbound: Outbound;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly onFailure?: (provider: string, error: unknown) => void;
}

/** Logins that one directory may have at once: what waits there holds a connection. */
const MOST_AT_ONCE = 32;
/** A directory that has just failed is not waited for by everybody. */
const PAUSE_MS = 3000;
const NAME_LENGTH = 128;

export function createLdapLogins({ database, outbound, seal, clock, onFailure }: Parts): LdapLogins {
  const running = new Map<number, number>();
  const failedAt = new Map<string, number>();
  /** Logins of one name, one after the other, so that guesses are counted before the next is tried. */
  const tails = new Map<string, Promise<unknown>>();

  /** Directories that may say who a name is: of a user that is linked those, of a name that nobody has all, of any other none. */
  async function asked(name: string): Promise<{ known: Provider<LdapSettings>[]; isLocal: boolean }> {
    const all = (await listProviders(database)).filter((provider): provider is Provider<LdapSettings> => isOfKind(provider, 'ldap'));
    const enabled = all.filter((provider) => provider.enabled);
    const user = enabled.length > 0 ? await findUser(database, name) : undefined;
    if (!user) return { known: enabled, isLocal: false };
    const linked = new Set((await linksOf(database, user.id)).map(({ providerId }) => providerId));
    const known = enabled.filter(({ id }) => linked.has(id));
    // A local user is looked for all the same, with a password that is nobody's: an answer takes as long for every name.
    return known.length > 0 ? { known, isLocal: false } : { known: enabled, isLocal: true };
  }

  async function ask(provider: Provider<LdapSettings>, name: string, password: string): Promise<Person | undefined> {
    const { settings } = provider;
    const signal = AbortSignal.timeout(settings.timeoutSeconds * 1000);
    const directory = await openDirectory(outbound, { settings, secret: secretOf(seal, provider) }, { signal });
    try {
      const found = await directory.find(name);
      // The bind of nobody takes the time that a wrong password would.
      if (!found) return void (await directory.check(`cn=${randomUUID()},${settings.userBase}`, password).catch(() => false));
      if (!(await directory.check(found.dn, password))) return undefined;
      return await complete(directory, found, name);
    } finally {
      directory.close();
    }
  }

  /** The same, where a failure is a failure of the directory alone. */
  async function askOne(provider: Provider<LdapSettings>, name: string, password: string): Promise<Person | undefined | 'silent'> {
    const key = `${provider.id}.${provider.version}`;
    if ((failedAt.get(key) ?? Number.NEGATIVE_INFINITY) + PAUSE_MS > clock.now()) return 'silent';
    const count = running.get(provider.id) ?? 0;
    if (count >= MOST_AT_ONCE) throw new AppError('too_many_requests', 'too many logins at once', { headers: { 'Retry-After': '2' } });
    running.set(provider.id, count + 1);
    try {
      return await ask(provider, name, password);
    } catch (error) {
      failedAt.clear(); // of former settings nothing needs to be known
      if (error instanceof OutboundError) failedAt.set(key, clock.now());
      onFailure?.(provider.name, error);
      return 'silent';
    } finally {
      running.set(provider.id, (running.get(provider.id) ?? 1) - 1);
    }
  }

  async function enter(provider: Provider<LdapSettings>, person: Person): Promise<Verdict> {
    const current = await findCurrent(database, provider, person, clock.now());
    const user = current ?? (await database.write((tx) => signIn(tx, provider, person, { clock, origin: null })));
    return { kind: 'proved', user, provider: provider.name };
  }

  async function checkNow(name: string, password: string): Promise<Verdict> {
    const { known, isLocal } = await asked(name);
    let verdict: Verdict = { kind: 'wrong' };
    for (const provider of known) {
      const person = await askOne(provider, name, isLocal ? randomUUID() : password);
      if (person === 'silent') verdict = { kind: 'unknown', isLocal };
      else if (person && !isLocal) return await enter(provider, person);
    }
    return verdict;
  }

  return {
    async check(name, password, admit) {
      if (password === '' || !isLoginName(name)) return { kind: 'wrong' };
      const key = name.toLowerCase();
      const before = tails.get(key);
      const mine = (async (): Promise<Verdict> => {
        await before?.catch(() => undefined);
        return before && !(await admit()) ? { kind: 'wrong' } : await checkNow(name, password);
      })();
      tails.set(key, mine);
      try {
        return await mine;
      } finally {
        if (tails.get(key) === mine) tails.delete(key);
      }
    },
  };
}

/** What can be asked for: no control character, and nothing that looks like another login. */
function isLoginName(name: string): boolean {
  return name !== '' && name.length <= NAME_LENGTH && name.trim() === name && !/\p{C}/u.test(name);
}

export async function complete(
  directory: { groupsOf(found: FoundPerson, login: string): Promise<string[]> },
  found: FoundPerson,
  login: string,
): Promise<Person> {
  return { ...found.person, groups: await directory.groupsOf(found, login) };
}
