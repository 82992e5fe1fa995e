import { existsSync } from 'node:fs';
import { openDatabase } from './app.ts';
import { commandLine } from './command-line.ts';
import {
  type AdoptionProgress,
  type AdoptionReport,
  adoptStorage,
  FINDINGS,
  type Finding,
  type FindingKind,
  findingsOf,
  findLastRun,
  openFileTree,
} from './lifecycle/index.ts';
import { type Config, type Database, dataPaths, lockData, systemClock } from './platform/index.ts';

export interface AdoptionSettings {
  readonly verify: boolean;
  readonly update: boolean;
  readonly public: boolean;
  onProgress(progress: AdoptionProgress): void;
}

/**
 * Indexes the storage that the configuration names, where another registry filled it; makes the data directory if need be.
 * Throws while a server runs on it, and where there is no such storage.
 */
export async function adopt(config: Config, settings: AdoptionSettings): Promise<AdoptionReport> {
  const { blobs, lock } = dataPaths(config);
  // A directory named by mistake must not become a registry.
  if (!existsSync(blobs))
    throw new Error(`there is no storage of a registry: ${blobs} is not there; --storage-dir names the folder above docker/registry/v2`);
  const release = lockData(lock);
  try {
    const database = await openDatabase(config, { checkpoint: true });
    try {
      return await adoptStorage({ ...settings, database, clock: systemClock, tree: openFileTree(blobs), config, actor: commandLine() });
    } finally {
      await database.close();
    }
  } finally {
    release();
  }
}

/** What the last adoption found that was not adopted, kind by kind, `most` of each. */
export async function* findings(
  config: Config,
  most?: number,
): AsyncIterable<Finding & { readonly text: string; readonly damage: boolean }> {
  const database: Database = await openDatabase(config, { checkpoint: false });
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
