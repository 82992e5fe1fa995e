import { existsSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { openDatabase } from './app.ts';
import { commandLine } from './command-line.ts';
import {
  type AdoptionProgress,
  type AdoptionReport,
  adoption,
  type Finding,
  type FindingKind,
  type ImportedRepository,
  imports,
  layout,
  type TreeReader,
} from './lifecycle/index.ts';
import { requireInstallation, withInstallation, withStore } from './local.ts';
import { type Config, type Database, dataPaths, isOnPostgres } from './platform/index.ts';
import { takeData } from './take-data.ts';

export type { AdoptionProgress, AdoptionReport } from './lifecycle/index.ts';

/** For the indexes of a large repository, which grow at all places at once. */
const CACHE_MIB = 64;

export interface AdoptionSettings {
  readonly verify: boolean;
  readonly update: boolean;
  readonly public: boolean;
  onProgress(progress: AdoptionProgress): void;
}

/**
 * Indexes the storage that the configuration names, where another registry filled it; makes the data directory if need be.
 * Throws while a server runs on it or another adoption, and where there is no such storage.
 */
export async function adopt(config: Config, settings: AdoptionSettings): Promise<AdoptionReport> {
  const { adoptStorage, requireStorage } = await adoption();
  const tree = await treeOf(config);
  try {
    await requireStorage(tree); // a directory named by mistake must not become a registry
    return await alone(config, async (database) => {
      const lease = { who: `${userInfo().username} at ${hostname()}`, isAlone: !isOnPostgres(config) };
      return await adoptStorage({ ...settings, database, clock: database.clock, tree, config, lease, actor: commandLine() });
    });
  } finally {
    tree.close?.();
  }
}

/** Writes all that the catalogue has as files of registry:2, where they are missing; gives how much it looked at. */
export async function writeLayout(config: Config): Promise<{ manifests: number; tags: number }> {
  requireStorageOfOthers(config);
  requireInstallation(config);
  return await alone(config, async (database) => {
    const { openLayout, fillLayout, deliverEvents } = await layout();
    return await withStore(config, database, async (blobs) => {
      const parts = await openLayout({ database, blobs, config });
      try {
        await deliverEvents(parts, database.clock);
        return await fillLayout(parts);
      } finally {
        parts.tree.close?.();
      }
    });
  });
}

/** What the last adoption found that was not adopted, kind by kind, `most` of each. */
export async function* findings(
  config: Config,
  most?: number,
): AsyncIterable<Finding & { readonly text: string; readonly damage: boolean }> {
  const { FINDINGS, findingsOf, findLastRun } = await adoption();
  const database = await openDatabase(config, { checkpoint: false });
  try {
    const run = await findLastRun(database);
    if (run === undefined) return;
    for (const [kind, about] of Object.entries(FINDINGS)) {
      for await (const finding of findingsOf(database, run.id, kind as FindingKind, most)) yield { ...finding, ...about };
    }
  } finally {
    await database.close();
  }
}

/**
 * Imports image layouts, archives and the storage of zot, beside a running server too; tells what came into each repository,
 * one after the other. Throws where there is nothing of the kind, or no registry.
 */
export async function importFrom(
  config: Config,
  path: string,
  target: string | undefined,
  tell: (imported: ImportedRepository) => void,
): Promise<void> {
  const { importImages } = await imports();
  await withInstallation(config, async ({ database, blobs, clock, actor }) => {
    for await (const imported of importImages({ database, blobs, clock, actor, config }, path, target)) tell(imported);
  });
}

/** The storage that another registry filled, to be read. */
async function treeOf(config: Config): Promise<TreeReader> {
  requireStorageOfOthers(config);
  const { openBucketTree, openFileTree } = await adoption();
  if (config.storage === 's3') return await openBucketTree(config);
  const { blobs } = dataPaths(config);
  if (!existsSync(blobs)) throw new Error(`there is no storage of a registry: ${blobs} is not there`);
  return openFileTree(blobs);
}

function requireStorageOfOthers(config: Config): void {
  // In the storage of its own, Entrepot takes what it does not know for left over, and has it collected.
  if (config.storage === 'files' && config.storageDir === '')
    throw new Error(
      'give --storage-dir, the folder above docker/registry/v2, or --storage s3 with its bucket; the server is then started with it too',
    );
  if (config.encryption !== 'off') throw new Error('what another registry wrote is not encrypted; encryption must be off');
  // What the other registry left must be found in its place, and so must what it is to find there.
  if (config.coldStorage !== 'off') throw new Error('the storage of another registry has one tier; coldStorage must be off');
}

async function alone<T>(config: Config, work: (database: Database) => Promise<T>): Promise<T> {
  const release = await takeData(config);
  try {
    const database = await openDatabase(config, { checkpoint: true, cacheMib: CACHE_MIB });
    return await work(database).finally(() => database.close());
  } finally {
    release();
  }
}
