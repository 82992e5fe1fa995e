import { createHash, randomUUID } from 'node:crypto';
import { parseDigest } from '@entrepot/oci';
import type { Clock, Database, JobContext, JobDefinition, Log, Session } from '../../platform/index.ts';
import { ArchivedBlob } from '../archived.ts';
import type { BlobStore, Companions } from '../blob-store.ts';
import { copyContent } from './copy-content.ts';
import { companionOf, companionText, type DataKeys, type NamedProviders } from './data-keys.ts';
import { keyIdOf } from './encrypted-store.ts';
import { wasPlaced } from './key-rows.ts';
import { KeyRefused, type Wrapped } from './providers/provider.ts';
import {
  countKeysNotUnder,
  keysNotUnder,
  keysToLookFor,
  keysWithoutCopy,
  markedAt,
  replaceWrapped,
  setCopied,
  setMark,
  setPlaced,
  type WrappedKey,
} from './rotation-rows.ts';
import { ENCRYPT_JOB, REWRAP_JOB, startEncrypting } from './start.ts';
import { replaceWrapping, wrappingsNotUnder } from './wrapping-rows.ts';

const KEEP_EVERY_MS = 5000;
const BATCH = 64;
/** Calls to the provider, or to the store, at once. */
const AT_ONCE = 8;
/** A key whose blob was not found is forgotten if it is not found so long after either. */
const FORGET_MS = 24 * 3_600_000;
/** Ids of what failed that are kept with a job. */
const TOLD = 10;
const ENCRYPTED = 'stored-blobs';

interface Parts {
  readonly base: BlobStore;
  readonly store: BlobStore;
  readonly companions: Companions;
  readonly database: Database;
  readonly keys: DataKeys;
  readonly named: NamedProviders;
  readonly clock: Clock;
  readonly log: Log;
}

export function encryptionJobs({ base, store, companions, database, keys, named, clock, log }: Parts): JobDefinition[] {
  /** Finds out which keys' blobs are in their places, and forgets those of blobs that are no more. */
  async function lookForBlobs(signal: AbortSignal): Promise<void> {
    const due = await keysToLookFor(database, clock.now(), BATCH);
    const isThere = due.some(({ placed }) => placed < 0) && (await holdsAny(base)); // nothing is forgotten for a store that is not mounted
    await inGroups(due, async ({ id, digest, placed }) => {
      signal.throwIfAborted();
      const there = digest === null ? id : await keyIdOf(base, digest).catch(unlessArchived);
      if (there === ARCHIVED) return await setPlaced(database, { id, placed, lookAt: clock.now() + FORGET_MS });
      if (there === id) return await setPlaced(database, { id, placed: 1, lookAt: null });
      if (placed >= 0 || !isThere) return await setPlaced(database, { id, placed: -1, lookAt: clock.now() + FORGET_MS });
      await keys.remove(id);
    });
  }

  async function copyKeys(signal: AbortSignal): Promise<void> {
    for (let rows = await keysWithoutCopy(database, BATCH); rows.length > 0; rows = await keysWithoutCopy(database, BATCH)) {
      await inGroups(rows, async (row) => {
        signal.throwIfAborted();
        await companions.write(companionOf(row.id), companionText(row));
      });
      await setCopied(database, rows);
    }
  }

  async function rewrapped({ id, provider, ...wrapped }: WrappedKey): Promise<Wrapped> {
    const { active, of } = keys.providers;
    if (provider === active.name) return await active.rewrap(wrapped, id);
    const by = of(provider);
    if (!by) throw new KeyRefused(`data key ${id} was wrapped by ${provider}, which is not configured`);
    return await active.wrap(await by.unwrap(wrapped, id), id);
  }

  /** Wraps every key anew that is not under the newest version of what wraps it. What is done stays done, whatever ends it. */
  async function rewrap({ signal, progress }: JobContext): Promise<unknown> {
    const { active } = keys.providers;
    const target = { provider: active.name, version: await active.current() };
    const total = await countKeysNotUnder(database, target);
    const count = { done: 0, failed: 0, failedKeys: [] as string[] };
    const told = () => progress({ done: count.done, failed: count.failed, total });
    await wrapAnew(count, told, signal, {
      rows: (after) => keysNotUnder(database, target, after, BATCH),
      wrap: rewrapped,
      replace: (tx, key) => replaceWrapped(tx, { ...key, provider: active.name }),
    });
    const projectKeys: Record<string, unknown> = {};
    for (const name of named.names) projectKeys[name] = await rewrapNamed(name, told, signal);
    await copyKeys(signal);
    const { failedKeys, ...counted } = count;
    return { ...target, ...counted, ...(count.failed > 0 ? { failedKeys } : {}), ...(named.names.length > 0 ? { projectKeys } : {}) };
  }

  /** The same for the key of a project; where that is out of reach, those of others are done all the same. */
  async function rewrapNamed(name: string, told: () => Promise<void>, signal: AbortSignal): Promise<unknown> {
    const provider = named.of(name);
    const count = { done: 0, failed: 0, failedKeys: [] as string[] };
    try {
      if (!provider) return count;
      const target = { provider: provider.name, version: await provider.current() };
      await wrapAnew(count, told, signal, {
        rows: (after) => wrappingsNotUnder(database, name, target, after, BATCH),
        wrap: ({ id, version, wrapped }) => provider.rewrap({ version, wrapped }, id),
        replace: (tx, key) => replaceWrapping(tx, { ...key, name }),
      });
      return { ...target, done: count.done, failed: count.failed };
    } catch (error) {
      signal.throwIfAborted();
      log.error({ err: error, projectKey: name }, 'data keys cannot be wrapped anew by the key of a project');
      return { done: count.done, failed: count.failed, error: 'the key cannot be reached' };
    }
  }

  async function wrapAnew(
    count: { done: number; failed: number; failedKeys: string[] },
    told: () => Promise<void>,
    signal: AbortSignal,
    how: {
      rows(after: string): Promise<WrappedKey[]>;
      wrap(key: WrappedKey): Promise<Wrapped>;
      replace(tx: Session, key: Wrapped & { id: string; from: string }): Promise<void>;
    },
  ): Promise<void> {
    for (let rows = await how.rows(''); rows.length > 0; rows = await how.rows(rows.at(-1)?.id ?? '')) {
      signal.throwIfAborted();
      const fresh: (Wrapped & { id: string; from: string })[] = [];
      await inGroups(rows, async (row) => {
        try {
          fresh.push({ id: row.id, from: row.wrapped, ...(await how.wrap(row)) });
        } catch (error) {
          if (!(error instanceof KeyRefused)) throw error;
          count.failed++;
          if (count.failedKeys.length < TOLD) count.failedKeys.push(row.id);
          log.error({ err: error, key: row.id }, 'a data key cannot be wrapped anew');
        }
      });
      await database.write(
        async (tx) => {
          for (const key of fresh) await how.replace(tx, key);
        },
        { scope: ['data-keys'] },
      );
      count.done += fresh.length;
      await told();
    }
  }

  /** Encrypts what lies in the clear from before; gives how it went with each blob. */
  async function encryptStored({ signal, progress }: JobContext): Promise<unknown> {
    const count = { encrypted: 0, bytes: 0, failed: 0, before: 0 };
    for await (const { digest, size } of base.blobs()) {
      signal.throwIfAborted();
      // What lies in an archive in the clear stays so until it is read again.
      if ((await wasPlaced(database, digest)) || (await keyIdOf(base, digest).catch(unlessArchived)) !== undefined) {
        count.before++;
        continue;
      }
      try {
        if (!(await encryptOne(digest, signal))) continue;
        count.encrypted++;
        count.bytes += size;
      } catch (error) {
        if (!(error instanceof BadContent)) throw error;
        count.failed++;
        log.error({ digest }, 'a stored blob is damaged, so it is not encrypted');
      }
      await progress(count);
    }
    await database.write((tx) => setMark(tx, ENCRYPTED, clock.now()), { scope: ['data-keys'] });
    return count;
  }

  /** False where the blob was removed meanwhile. */
  async function encryptOne(digest: string, signal: AbortSignal): Promise<boolean> {
    const reader = await base.open(digest);
    if (!reader) return false;
    const id = `encrypt-${randomUUID()}`;
    try {
      const hash = createHash(parseDigest(digest)?.algorithm ?? 'sha256');
      await copyContent(reader, await store.openUpload(id, { fence: false }), (part) => {
        signal.throwIfAborted();
        hash.update(part);
      });
      if (`${parseDigest(digest)?.algorithm}:${hash.digest('hex')}` !== digest) throw new BadContent(digest);
      const still = await base.open(digest); // what was collected meanwhile must not come back
      await still?.close();
      if (!still) return false;
      await store.commit(id, digest, reader.size);
      return true;
    } finally {
      await reader.close();
      await store.removeUpload(id);
    }
  }

  return [
    {
      kind: 'encryption.keep',
      schedule: { everyMs: KEEP_EVERY_MS },
      ready: async () => (await keysWithoutCopy(database, 1)).length > 0 || (await keysToLookFor(database, clock.now(), 1)).length > 0,
      async run(_, { signal }) {
        await lookForBlobs(signal);
        await copyKeys(signal);
      },
    },
    { kind: REWRAP_JOB, maxAttempts: 100, run: (_, context) => rewrap(context) },
    { kind: ENCRYPT_JOB, maxAttempts: 100, run: (_, context) => encryptStored(context) },
  ];
}

class BadContent extends Error {}

/** In place of the key of a blob that cannot be read before it was restored. */
const ARCHIVED = 'archived';

function unlessArchived(error: unknown): typeof ARCHIVED {
  if (error instanceof ArchivedBlob) return ARCHIVED;
  throw error;
}

/** Asks for blobs in the clear to be encrypted where that was never done to its end. */
export async function encryptStoredOnce(database: Database, now: number): Promise<void> {
  if ((await markedAt(database, ENCRYPTED)) === undefined) await database.write((tx) => startEncrypting(tx, now));
}

async function holdsAny(base: BlobStore): Promise<boolean> {
  for await (const _ of base.blobs()) return true;
  return false;
}

/** Does some things at once. */
async function inGroups<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_ONCE) await Promise.all(items.slice(at, at + AT_ONCE).map(work));
}
