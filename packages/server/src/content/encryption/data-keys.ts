import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { AppError, type Clock, type Database, type Session } from '../../platform/index.ts';
import type { Companions } from '../blob-store.ts';
import { ClosedBlob } from './closed-blob.ts';
import { DamagedBlob } from './format.ts';
import { deleteKey, findKey, insertKey, lookAgainForKeys } from './key-rows.ts';
import { type KeyProvider, KeyRefused, type Wrapped } from './providers/provider.ts';
import { addWrapping, type NamedWrapping, PROJECTS_ONLY, wrappingsOf } from './wrapping-rows.ts';

const KEY_BYTES = 32;
/** Unwrapped keys that are kept: with those, reads go on for a while when the provider cannot be reached. */
const KEPT_KEYS = 10_000;
const KEPT_MS = 3_600_000;
/** A blob is looked for so long after its key was made: by then it is in its place. */
export const FIRST_LOOK_MS = 10_000;
/** How long what a provider said of its health is believed. */
const HEALTHY_MS = 10_000;

/** Wraps under the provider of the configuration, unwraps by whichever wrapped. */
export interface Providers {
  readonly active: KeyProvider;
  /** Undefined where the configuration has none of that name. */
  of(name: string): KeyProvider | undefined;
}

/** The keys that projects may be given, by name. */
export interface NamedProviders {
  readonly names: readonly string[];
  of(name: string): KeyProvider | undefined;
}

/** A data key as it lies in the database and beside the blobs. */
export interface SealedKey extends Wrapped {
  readonly id: string;
  readonly provider: string;
  readonly named?: readonly NamedWrapping[];
}

export interface DataKey {
  readonly id: string;
  readonly bytes: Uint8Array;
}

interface Parts {
  readonly database: Database;
  readonly providers: Providers;
  readonly named: NamedProviders;
  readonly companions: Companions;
  readonly clock: Clock;
}

export interface DataKeys {
  readonly providers: Providers;
  /**
   * A new key, wrapped and in the database, together with what else `also` writes: for a blob durable when it resolves, as
   * its bytes may replace some that can be read; for an upload (undefined) for as long as this process lives.
   */
  make(blob: { digest: string; size: number } | undefined, also?: (tx: Session, key: DataKey) => Promise<void>): Promise<DataKey>;
  /**
   * A key by its id, for whom the key of a name has to unwrap it; without a name by whichever wraps it, the registry's own
   * first. Throws `unavailable` while it cannot be unwrapped.
   */
  find(id: string, name?: string): Promise<DataKey>;
  /** Forgets a key for good: nothing sealed under it can be read any more. */
  remove(id: string): Promise<void>;
  /** Throws while no new keys can be wrapped. */
  health(): Promise<void>;
}

/** Where the wrapped key lies beside the blobs, so that these can be read without the database. */
export function companionOf(id: string): string {
  return `keys/${id.slice(0, 2)}/${id}`;
}

export function companionText({ id, provider, version, wrapped, named = [] }: SealedKey): Buffer {
  const projects = named.map((each) => ({ name: each.name, provider: each.provider, version: each.version, wrapped: each.wrapped }));
  return Buffer.from(`${JSON.stringify({ id, provider, version, wrapped, ...(projects.length > 0 ? { projects } : {}) })}\n`);
}

/** A key with all its wrappings; undefined where the database does not know it. */
export async function findSealedKey(session: Session, id: string): Promise<SealedKey | undefined> {
  const row = await findKey(session, id);
  return row && { ...row, named: await wrappingsOf(session, id) };
}

export function createDataKeys({ database, providers, named, companions, clock }: Parts): DataKeys {
  const kept = new LRUCache<string, Uint8Array>({ max: KEPT_KEYS, ttl: KEPT_MS });
  const finding = new Map<string, Promise<DataKey>>();
  let healthyUntil = 0;

  async function make(
    blob: { digest: string; size: number } | undefined,
    also?: (tx: Session, key: DataKey) => Promise<void>,
  ): Promise<DataKey> {
    const key = { id: randomBytes(16).toString('hex'), bytes: randomBytes(KEY_BYTES) };
    const { active } = providers;
    const wrapped = await active.wrap(key.bytes, key.id).catch((error: unknown) => {
      throw unreachable(error);
    });
    const now = clock.now();
    const owner = blob ? { ...blob, lookAt: now + FIRST_LOOK_MS } : { digest: null, size: null, lookAt: null };
    const row = { id: key.id, provider: active.name, ...wrapped, ...owner, placed: 0, now } as const;
    await database.write(
      async (tx) => {
        await insertKey(tx, row);
        if (blob) await lookAgainForKeys(tx, blob.digest, key.id, now + FIRST_LOOK_MS);
        await also?.(tx, key);
      },
      { durable: blob ? true : 'process', scope: [blob ? `blob-keys:${blob.digest}` : `data-key:${key.id}`] },
    );
    kept.set(key.id, key.bytes);
    return key;
  }

  async function unwrap(
    id: string,
    by: KeyProvider | undefined,
    wrapping: Wrapped & { provider: string },
    name?: string,
  ): Promise<Uint8Array> {
    if (!by || by.name !== wrapping.provider) throw unreachable(notConfigured(id, name ?? wrapping.provider), name);
    return await by.unwrap(wrapping, id).catch((error: unknown) => {
      throw unreachable(error, name);
    });
  }

  /** The key by whichever wraps it, the registry's own first. */
  async function unwrapByAny(key: SealedKey, wrappings: readonly NamedWrapping[]): Promise<Uint8Array> {
    const ways: (() => Promise<Uint8Array>)[] = wrappings.map((each) => () => unwrap(key.id, named.of(each.name), each, each.name));
    if (key.provider !== PROJECTS_ONLY) ways.unshift(() => unwrap(key.id, providers.of(key.provider), key));
    let failed: unknown = new DamagedBlob(`data key ${key.id} is wrapped by no key`);
    for (const way of ways) {
      try {
        return await way();
      } catch (error) {
        failed = error;
      }
    }
    throw failed;
  }

  async function unwrapBy(name: string, key: SealedKey, wrappings: readonly NamedWrapping[]): Promise<Uint8Array> {
    const by = named.of(name);
    const wrapping = wrappings.find((each) => each.name === name);
    if (wrapping) return await unwrap(key.id, by, wrapping, name);
    // Not wrapped yet by the key that its project got a short while ago: that key has to be usable all the same.
    if (!by) throw unreachable(notConfigured(key.id, name), name);
    const bytes = await unwrapByAny(key, wrappings);
    await by.wrap(bytes, key.id).catch((error: unknown) => {
      throw unreachable(error, name);
    });
    return bytes;
  }

  async function look(id: string, name: string | undefined): Promise<DataKey> {
    const row = (await findKey(database, id)) ?? (await learn(id));
    // Nearly all are asked for by the registry's own key, and need no second look.
    const wrappings = name === undefined && row.provider !== PROJECTS_ONLY ? [] : await wrappingsOf(database, id);
    const bytes = name === undefined ? await unwrapByAny(row, wrappings) : await unwrapBy(name, row, wrappings);
    kept.set(slotOf(id, name), bytes);
    return { id, bytes };
  }

  /** A database restored from before the blob was stored learns its key again from beside the blobs. */
  async function learn(id: string): Promise<SealedKey> {
    const copy = await readCompanion(companions, id);
    if (!copy) throw new DamagedBlob(`data key ${id} is lost: neither the database has it nor the copy beside the blobs`);
    const { provider, version, wrapped, named: wrappings = [] } = copy;
    const row = { id, provider, version, wrapped, digest: null, size: null, placed: 1, lookAt: null, now: clock.now() } as const;
    await database.write(
      async (tx) => {
        await insertKey(tx, row);
        for (const each of wrappings) await addWrapping(tx, { id, ...each });
      },
      { durable: false, scope: [`data-key:${id}`] },
    );
    return copy;
  }

  return {
    providers,
    make,
    async find(id, name) {
      const slot = slotOf(id, name);
      const bytes = kept.get(slot);
      if (bytes) return { id, bytes };
      let running = finding.get(slot);
      if (running === undefined) {
        running = look(id, name).finally(() => finding.delete(slot));
        finding.set(slot, running);
      }
      return await running;
    },
    async remove(id) {
      for (const name of [undefined, ...named.names]) kept.delete(slotOf(id, name));
      await database.write((tx) => deleteKey(tx, id), { durable: false, scope: [`data-key:${id}`] });
      await companions.remove(companionOf(id));
    },
    async health() {
      if (clock.now() < healthyUntil) return;
      await providers.active.health();
      healthyUntil = clock.now() + HEALTHY_MS;
    },
  };
}

/** Who was let in by one key is not let in by another. */
function slotOf(id: string, name: string | undefined): string {
  return name === undefined ? id : `${id} ${name}`;
}

async function readCompanion(companions: Companions, id: string): Promise<SealedKey | undefined> {
  const bytes = await companions.read(companionOf(id));
  if (!bytes) return undefined;
  const { id: found, projects = [], ...own } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>;
  const damaged = () => new Error(`the copy of data key ${id} beside the blobs is damaged`);
  if (found !== id || !isWrapping(own) || !Array.isArray(projects)) throw damaged();
  const named = projects.map((each: unknown) => {
    if (!isWrapping(each) || typeof each.name !== 'string') throw damaged();
    return { name: each.name, provider: each.provider, version: each.version, wrapped: each.wrapped };
  });
  return { id, provider: own.provider, version: own.version, wrapped: own.wrapped, named };
}

function isWrapping(value: unknown): value is Wrapped & { readonly provider: string; readonly name?: unknown } {
  const { provider, version, wrapped } = (value ?? {}) as Record<string, unknown>;
  return typeof provider === 'string' && typeof version === 'string' && typeof wrapped === 'string';
}

function notConfigured(id: string, provider: string): Error {
  return new Error(`data key ${id} was wrapped by ${provider}, which is not configured as it was then`);
}

/** A key that is refused stays so, but the client's answer is the same: not now, and not its fault. */
export function unreachable(error: unknown, name?: string | null): AppError {
  if (typeof name === 'string') return new ClosedBlob(error);
  const message =
    error instanceof KeyRefused ? 'the blob cannot be read at the moment' : 'the keys of this registry cannot be reached at the moment';
  return new AppError('unavailable', message, { cause: error, headers: { 'Retry-After': '5' } });
}
