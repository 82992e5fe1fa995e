import type { BlobStore, Encryption, Tiers } from '../content/index.ts';
import type { Clock, Config, Database, Log, Metrics } from '../platform/index.ts';
import type { RepairSource } from './scrub/index.ts';

/** What the room stands on, handed over by `app.ts`. */
export interface LifecycleParts {
  readonly database: Database;
  readonly blobs: BlobStore;
  /** What encrypts them; undefined where they lie in the clear. */
  readonly encryption?: Encryption | undefined;
  /** What moves blobs between two tiers; undefined where there is one. */
  readonly tiers?: Tiers | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly config: Config;
  /** Where the bytes of a damaged blob may be had again. */
  readonly repairSources?: readonly RepairSource[];
  /** Whether requests press in this process right now. */
  isBusy?(): boolean;
}

/** What its jobs stand on besides. */
export interface LifecycleJobParts extends LifecycleParts {
  readonly metrics: Metrics;
}
