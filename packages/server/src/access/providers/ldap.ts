import type { Socket } from 'node:net';
import type { Client, Entry } from 'ldapts';
import type { Outbound } from '../../platform/index.ts';
import { fillFilter } from './ldap-filter.ts';
import { startTls } from './ldap-start-tls.ts';
import type { Person } from './person.ts';
import type { LdapSettings } from './settings.ts';

/** The library is loaded by the first login. */
const library = () => import('ldapts');

const MAX_BYTES = 8 << 20;
const MOST_GROUPS = 500;
const VALUE_LENGTH = 1024;

/** Why a directory could not be asked, in words for administrators. */
export class LdapError extends Error {
  override name = 'LdapError';
}

export interface Directory {
  /** The one entry that a login name stands for; undefined where there is none. */
  find(login: string): Promise<FoundPerson | undefined>;
  /** Whether a password is that of an entry. */
  check(dn: string, password: string): Promise<boolean>;
  /** Names of the groups that an entry is in. */
  groupsOf(found: FoundPerson, login: string): Promise<string[]>;
  close(): void;
}

export interface FoundPerson {
  readonly dn: string;
  readonly person: Omit<Person, 'groups'>;
  readonly memberOf: readonly string[];
}

export interface LdapTarget {
  readonly settings: LdapSettings;
  /** Password of `bindDn`. */
  readonly secret: string | undefined;
}

/** Connects, secures the connection as the settings say, and binds who searches. Rejects with an OutboundError or LdapError. */
export async function openDirectory(
  outbound: Outbound,
  { settings, secret }: LdapTarget,
  { signal, onStep }: { signal: AbortSignal; onStep?: (step: string) => void },
): Promise<Directory> {
  const { host, port, security, serverName, ca, timeoutSeconds } = settings;
  const tls = { serverName, ca, ...(security === 'starttls' ? { prepare: startTls } : {}) };
  const socket = await outbound.connect({
    ...{ host, port, signal, timeoutMs: timeoutSeconds * 1000 },
    ...(security === 'none' ? {} : { tls }),
    ...(onStep ? { onStep } : {}),
  });
  socket.on('error', () => undefined); // told by what waits for an answer
  const client = await clientOver(socket, timeoutSeconds * 1000);
  const bindSearcher = async () => {
    if (settings.bindDn === undefined) return;
    await told(`${settings.bindDn} cannot bind`, client.bind(settings.bindDn, secret ?? ''));
  };
  try {
    if (settings.bindDn !== undefined && !secret) throw new LdapError('the bind password is not set');
    await bindSearcher();
    onStep?.(settings.bindDn === undefined ? 'searching anonymously' : `bound as ${settings.bindDn}`);
  } catch (error) {
    socket.destroy();
    throw error;
  }

  return {
    async find(login) {
      const { userBase, userFilter, idAttribute, nameAttribute, emailAttribute, fullNameAttribute, groups } = settings;
      const memberOf = groups?.by === 'memberOf' ? [groups.attribute ?? 'memberOf'] : [];
      const { searchEntries } = await told(
        'the search for the user failed',
        client.search(userBase, {
          scope: 'sub',
          filter: fillFilter(userFilter, { user: login }),
          sizeLimit: 2,
          attributes: [idAttribute, nameAttribute, emailAttribute, fullNameAttribute, ...memberOf],
        }),
      );
      const [entry, other] = searchEntries;
      if (!entry) return undefined;
      if (other) throw new LdapError('the user filter finds more than one entry for a name');
      const subject = idOf(entry, idAttribute);
      if (subject === '') throw new LdapError(`the entry ${entry.dn} has no ${idAttribute}, or it cannot be read`);
      const person = {
        subject,
        name: valuesOf(entry, nameAttribute)[0] ?? '',
        email: valuesOf(entry, emailAttribute)[0] ?? '',
        fullName: valuesOf(entry, fullNameAttribute)[0] ?? '',
      };
      return { dn: entry.dn, person, memberOf: memberOf.flatMap((name) => valuesOf(entry, name)) };
    },

    async check(dn, password) {
      // An empty password is an anonymous bind, which succeeds (RFC 4513, section 5.1.2).
      if (password === '' || dn === '') return false;
      const { InvalidCredentialsError } = await library();
      try {
        await told('the bind of the user failed', client.bind(dn, password));
        return true;
      } catch (error) {
        if ((error as Error).cause instanceof InvalidCredentialsError) return false;
        throw error;
      } finally {
        if (client.isConnected) await bindSearcher();
      }
    },

    async groupsOf(found, login) {
      const { groups } = settings;
      if (groups === undefined) return [];
      const step =
        groups.by === 'memberOf'
          ? async (dn: string, isUser: boolean) =>
              (isUser ? found.memberOf : await memberOfGroup(dn)).map((group) => ({ dn: group, name: nameIn(group) }))
          : async (dn: string, isUser: boolean) => await groupsWith(dn, isUser ? login : '');
      return await climb(found.dn, step, groups.nested ?? 0);
    },

    close: () => void client.unbind().catch(() => undefined),
  };

  async function memberOfGroup(dn: string): Promise<string[]> {
    const attribute = (settings.groups?.by === 'memberOf' ? settings.groups.attribute : undefined) ?? 'memberOf';
    const { NoSuchObjectError } = await library();
    try {
      const { searchEntries } = await told(
        'reading a group failed',
        client.search(dn, { scope: 'base', attributes: [attribute], sizeLimit: 1 }),
      );
      return searchEntries.flatMap((entry) => valuesOf(entry, attribute));
    } catch (error) {
      if ((error as Error).cause instanceof NoSuchObjectError) return [];
      throw error;
    }
  }

  async function groupsWith(dn: string, user: string): Promise<{ dn: string; name: string }[]> {
    if (settings.groups?.by !== 'search') return [];
    const { base, filter = '(&(objectClass=groupOfNames)(member={dn}))', nameAttribute = 'cn' } = settings.groups;
    const { searchEntries } = await told(
      'the search for groups failed',
      client.search(base, { scope: 'sub', filter: fillFilter(filter, { dn, user }), sizeLimit: MOST_GROUPS, attributes: [nameAttribute] }),
    );
    return searchEntries.map((entry) => ({ dn: entry.dn, name: valuesOf(entry, nameAttribute)[0] ?? '' }));
  }
}

/** Groups of an entry, and theirs, so many levels up; each is looked at once, so circles end. */
async function climb(
  start: string,
  step: (dn: string, isUser: boolean) => Promise<readonly { dn: string; name: string }[]>,
  levels: number,
): Promise<string[]> {
  const names = new Map<string, string>();
  let current = [start];
  for (let level = 0; level <= levels && current.length > 0; level++) {
    const next: string[] = [];
    for (const dn of current) {
      for (const group of await step(dn, level === 0)) {
        const key = group.dn.toLowerCase();
        if (names.has(key) || names.size >= MOST_GROUPS) continue;
        names.set(key, group.name);
        next.push(group.dn);
      }
    }
    current = next;
  }
  return [...names.values()].filter((name) => name !== '');
}

async function clientOver(socket: Socket, timeout: number): Promise<Client> {
  const { Client: LdapClient } = await library();
  let taken = false;
  const client = new LdapClient({
    url: 'ldap://directory', // the connection is there already
    timeout,
    connectTimeout: timeout,
    createConnection: () => {
      if (taken) throw new LdapError('the directory ended the connection');
      taken = true;
      return socket;
    },
  });
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) socket.destroy();
  });
  return client;
}

/** Says of a failure what was tried, and the code of the directory; its own text may tell of others. */
async function told<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof LdapError) throw cause;
    const { code, name } = cause as { code?: number; name: string };
    const why = typeof code === 'number' ? `${name.replace(/Error$/, '')}, code ${code}` : 'no answer, or none that can be read';
    throw new LdapError(`${what} (${why})`, { cause });
  }
}

function valuesOf(entry: Entry, attribute: string): string[] {
  const key = Object.keys(entry).find((name) => name.toLowerCase() === attribute.toLowerCase());
  const value = key === undefined ? [] : entry[key];
  return [value ?? []]
    .flat()
    .map(String)
    .filter((text) => text !== '' && text.length <= VALUE_LENGTH)
    .slice(0, MOST_GROUPS);
}

/** A value that names an entry for ever; one that is no text, as of `objectGUID`, in hexadecimal. */
function idOf(entry: Entry, attribute: string): string {
  const key = Object.keys(entry).find((name) => name.toLowerCase() === attribute.toLowerCase());
  const value = key === undefined ? undefined : [entry[key] ?? []].flat()[0];
  if (value === undefined) return '';
  return Buffer.isBuffer(value) ? value.toString('hex') : value;
}

/** The value of the first part of a distinguished name: what a group is called (RFC 4514, section 2.4). */
export function nameIn(dn: string): string {
  const [, value = ''] = /^[^=]*=((?:\\.|[^\\,+])*)/s.exec(dn) ?? [];
  const bytes = value
    .trim()
    .replaceAll(/\\([0-9a-fA-F]{2}|.)/gs, (_, part: string) => (part.length === 2 ? `%${part}` : encodeURIComponent(part)));
  try {
    return decodeURIComponent(bytes.replaceAll(/%(?![0-9a-fA-F]{2})/g, '%25'));
  } catch {
    return '';
  }
}
