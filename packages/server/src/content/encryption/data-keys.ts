import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { AppError, type Clock, type Database, type Session } from '../../platform/index.ts';
import type { Companions } from '../blob-store.ts';
import { DamagedBlob } from './format.ts';
import { deleteKey, findKey, insertKey, type KeyRow, lookAgainForKeys } from './key-rows.ts';
import { type KeyProvider, KeyRefused, type ProviderName, type Wrapped } from './providers/provider.ts';

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

export interface DataKey {
  readonly id: string;
  readonly bytes: Uint8Array;
}

interface Parts {
  readonly database: Database;
  readonly providers: Providers;
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
  /** A key by its id. Throws `unavailable` while it cannot be unwrapped. */
  find(id: string): Promise<DataKey>;
  /** Forgets a key for good: nothing sealed under it can be read any more. */
  remove(id: string): Promise<void>;
  /** Throws while no new keys can be wrapped. */
  health(): Promise<void>;
}

/** Where the wrapped key lies beside the blobs, so that these can be read without the database. */
export function companionOf(id: string): string {
  return `keys/${id.slice(0, 2)}/${id}`;
}

export function companionText({ id, provider, version, wrapped }: Pick<KeyRow, 'id' | 'provider' | 'version' | 'wrapped'>): Buffer {
  return Buffer.from(`${JSON.stringify({ id, provider, version, wrapped })}\n`);
}

export function createDataKeys({ database, providers, companions, clock }: Parts): DataKeys {
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

  async function unwrap(id: string, provider: string, wrapped: Wrapped): Promise<DataKey> {
    const by = providers.of(provider);
    if (!by) throw new AppError('unavailable', 'the blob cannot be read at the moment', { cause: notConfigured(id, provider) });
    try {
      const bytes = await by.unwrap(wrapped, id);
      kept.set(id, bytes);
      return { id, bytes };
    } catch (error) {
      throw unreachable(error);
    }
  }

  async function look(id: string): Promise<DataKey> {
    const row = await findKey(database, id);
    if (row) return await unwrap(id, row.provider, row);
    const copy = await readCompanion(companions, id);
    if (!copy) throw new DamagedBlob(`data key ${id} is lost: neither the database has it nor the copy beside the blobs`);
    const key = await unwrap(id, copy.provider, copy);
    // A database restored from before the blob was stored: it learns the key again.
    const now = clock.now();
    const known = { id, ...copy, digest: null, size: null, placed: 1, lookAt: null, now } as const;
    await database.write((tx) => insertKey(tx, known), { durable: false, scope: [`data-key:${id}`] });
    return key;
  }

  return {
    providers,
    make,
    async find(id) {
      const bytes = kept.get(id);
      if (bytes) return { id, bytes };
      let running = finding.get(id);
      if (running === undefined) {
        running = look(id).finally(() => finding.delete(id));
        finding.set(id, running);
      }
      return await running;
    },
    async remove(id) {
      kept.delete(id);
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

async function readCompanion(companions: Companions, id: string): Promise<(Wrapped & { provider: ProviderName }) | undefined> {
  const bytes = await companions.read(companionOf(id));
  if (!bytes) return undefined;
  const { id: found, provider, version, wrapped } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>;
  if (found !== id || typeof provider !== 'string' || typeof version !== 'string' || typeof wrapped !== 'string') {
    throw new Error(`the copy of data key ${id} beside the blobs is damaged`);
  }
  return { provider: provider as ProviderName, version, wrapped };
}

function notConfigured(id: string, provider: string): Error {
  return new Error(`data key ${id} was wrapped by ${provider}, which is not configured`);
}

/** A key that is refused stays so, but the client's answer is the same: not now, and not its fault. */
function unreachable(error: unknown): AppError {
  const message =
    error instanceof KeyRefused ? 'the blob cannot be read at the moment' : 'the keys of this registry cannot be reached at the moment';
  return new AppError('unavailable', message, { cause: error, headers: { 'Retry-After': '5' } });
}
