import type { BlobStore } from '../../content/index.ts';
import type { Clock, Config, Database, Log } from '../../platform/index.ts';
import type { LayerScanner } from './scanner.ts';

/** What inventories stand on, handed over by `app.ts`. */
export interface InventoryParts {
  readonly database: Database;
  readonly blobs: Pick<BlobStore, 'open'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly config: Pick<Config, 'inventory' | 'inventoryWorkers'>;
  /** Whether requests press in this process right now. */
  isBusy?(): boolean;
  /** Told of a blob whose bytes are not what its digest says. */
  suspect?(digest: string): void;
  /** What reads layers, if not a process for each. */
  readonly scanner?: LayerScanner;
}
