import { AppError, type Clock, type Database, type Session } from '../../platform/index.ts';
import type { DataKeys, NamedProviders, Providers } from './data-keys.ts';
import { unreachable } from './data-keys.ts';
import { DamagedBlob } from './format.ts';
import type { KeyProvider } from './providers/provider.ts';
import {
  addWrapping,
  dropWrapping,
  type KeyName,
  keysOfBlob,
  keysWithoutWrapping,
  PROJECTS_ONLY,
  type Wrapping,
  wrappingsOf,
} from './wrapping-rows.ts';

/** How long what a provider said of its health is believed. */
const HEALTHY_MS = 10_000;

/** Who holds a blob, as far as its keys are concerned; asked again inside transactions. */
export interface Holders {
  /** Names of the keys of all who hold it; none where nobody does. */
  names(session: Session): Promise<ReadonlySet<KeyName>>;
  /** What transactions that change who holds it have in their scope. */
  readonly scope: string;
}

export interface NamedKeys {
  readonly providers: NamedProviders;
  /** Throws `unavailable` unless the key of a name would wrap and unwrap now. */
  ready(name: string): Promise<void>;
  /** Data keys of a blob that a key does not wrap: whoever gets a link to it now may not be able to read it. */
  lacks(session: Session, digest: string, name: KeyName): Promise<readonly string[]>;
  /**
   * Has the data keys of a blob wrapped by a key. Gives those that nobody can open any more and that the stored bytes are not
   * sealed under; throws `unavailable` where it is the key of those, or the wrapping key itself, that cannot be used. `also`: what belongs to the change.
   */
  cover(digest: string, name: KeyName, also: { readonly scope: string; run(tx: Session): Promise<void> }): Promise<readonly string[]>;
  /**
   * Has the data keys of a blob wrapped by the keys of those who hold it and by no others; nothing is taken away before all
   * of those are there, and the bytes in their place. `done` runs in the transaction.
   */
  settle(digest: string, holders: Holders, done: (tx: Session, how: Settled) => Promise<void>): Promise<Settled>;
}

/** How far the wrappings of a blob are: `soon` where its bytes are just being stored, `waiting` where a key could not be used. */
export type Settled = 'settled' | 'soon' | 'waiting';

interface Parts {
  readonly database: Database;
  readonly keys: DataKeys;
  readonly own: Providers;
  readonly named: NamedProviders;
  readonly clock: Clock;
  /** Whether the stored bytes of a blob are sealed under a data key. */
  isInPlace(digest: string, id: string): Promise<boolean>;
}

/** Second wrappings of data keys by keys of projects (decision 0021). */
export function createNamedKeys({ database, keys, own, named, clock, isInPlace }: Parts): NamedKeys {
  const healthyUntil = new Map<string, number>();

  function providerOf(name: KeyName): KeyProvider {
    const found = name === null ? own.active : named.of(name);
    if (!found) throw unreachable(new Error(`the key ${name} of a project is not configured`), name);
    return found;
  }

  /** A data key wrapped by a key, whoever unwraps it for that. */
  async function wrap(id: string, name: KeyName): Promise<Wrapping> {
    const provider = providerOf(name);
    const { bytes } = await keys.find(id);
    const wrapped = await provider.wrap(bytes, id).catch((error: unknown) => {
      throw unreachable(error, name);
    });
    return { id, name, provider: provider.name, ...wrapped };
  }

  /** By which keys each data key of a blob is wrapped. */
  async function wrappedBy(session: Session, digest: string) {
    const found: { readonly id: string; readonly names: ReadonlySet<KeyName>; readonly isPlaced: boolean }[] = [];
    for (const { id, provider, placed } of await keysOfBlob(session, digest)) {
      const names = new Set<KeyName>((await wrappingsOf(session, id)).map(({ name }) => name));
      if (provider !== PROJECTS_ONLY) names.add(null);
      found.push({ id, names, isPlaced: placed === 1 });
    }
    return found;
  }

  /** What is missing for those who hold a blob, as far as keys can be used. */
  async function missing(digest: string, needed: ReadonlySet<KeyName>): Promise<Wrapping[]> {
    const fresh: Wrapping[] = [];
    for (const { id, names } of needed.size > 0 ? await wrappedBy(database, digest) : []) {
      let isWaiting = false;
      for (const name of needed.difference(names)) {
        const made = await wrap(id, name).catch(later);
        if (made) fresh.push(made);
        else isWaiting = true;
      }
      // Whose key cannot be used now must not depend on the keys of others for what he holds too.
      const own = isWaiting && !needed.has(null) && !names.has(null) ? await wrap(id, null).catch(later) : undefined;
      if (own) fresh.push(own);
    }
    return fresh;
  }

  return {
    providers: named,
    async ready(name) {
      if (clock.now() < (healthyUntil.get(name) ?? 0)) return;
      await providerOf(name)
        .health()
        .catch((error: unknown) => {
          throw unreachable(error, name);
        });
      healthyUntil.set(name, clock.now() + HEALTHY_MS);
    },
    lacks: keysWithoutWrapping,
    async cover(digest, name, { scope, run }) {
      const fresh: Wrapping[] = [];
      const lost: string[] = [];
      for (const id of await keysWithoutWrapping(database, digest, name)) {
        try {
          fresh.push(await wrap(id, name));
        } catch (error) {
          if (await isInPlace(digest, id)) throw error;
          lost.push(id);
        }
      }
      // Not waited for: the link that needs it is made durable after it.
      const add = async (tx: Session) => {
        for (const wrapping of fresh) await addWrapping(tx, wrapping);
        await run(tx);
      };
      if (fresh.length > 0) await database.write(add, { durable: false, scope: [scope] });
      return lost;
    },
    async settle(digest, holders, done) {
      const fresh = await missing(digest, await holders.names(database));
      const seen = new Set<string>();
      for (const { id, isPlaced } of await wrappedBy(database, digest)) if (!isPlaced && (await isInPlace(digest, id))) seen.add(id);
      return await database.write(
        async (tx) => {
          for (const wrapping of fresh) await addWrapping(tx, wrapping);
          const wanted = await holders.names(tx);
          const found = wanted.size > 0 ? await wrappedBy(tx, digest) : []; // what nobody holds stays as it is until it is removed
          const how = !found.every(({ names }) => wanted.isSubsetOf(names))
            ? 'waiting'
            : found.every(({ id, isPlaced }) => isPlaced || seen.has(id))
              ? 'settled'
              : 'soon';
          for (const { id, names } of how === 'settled' ? found : [])
            for (const name of names.difference(wanted)) await dropWrapping(tx, id, name);
          await done(tx, how);
          return how;
        },
        { scope: [holders.scope] },
      );
    },
  };
}

/** Of a key that cannot be used now, nothing; it is asked again. */
function later(error: unknown): undefined {
  if (!(error instanceof AppError) && !(error instanceof DamagedBlob)) throw error;
  return undefined;
}
