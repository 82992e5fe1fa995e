import { pageOfManifests } from '../../catalog/index.ts';
import { enqueue, type JobDefinition, type OutboxConsumer } from '../../platform/index.ts';
import { cursorAt, hasManifestsBehind, layersWaiting, olderLayers, saveCursor } from './backlog.ts';
import { cleanInventories } from './clean.ts';
import { imagesToSettle } from './image-store.ts';
import { INVENTORY_SCOPE, wantLayer } from './layer-store.ts';
import type { InventoryParts } from './parts.ts';
import type { LayerScanner } from './scanner.ts';
import { kindOfStored, READ_LAYER, wantInventory } from './wanting.ts';

const TRIES = 6;
const SETTLED_AT_ONCE = 20;
const PAGE = 100;
/** What was here before is taken up slowly: no more layers wait at once than this. */
const WAITING_MOST = 200;
const LEASE_MS = 5 * 60_000;

/** Has the layers of whatever is pushed or comes back read. */
export function inventoryConsumer({ database, clock }: InventoryParts): OutboxConsumer {
  return {
    name: 'inventory',
    topics: ['manifest.pushed', 'manifest.restored'],
    async handle({ payload }) {
      const { digest } = payload as { digest: string };
      const kind = await kindOfStored(database, digest);
      if (kind) await database.write((tx) => wantInventory(tx, digest, kind, clock.now()), INVENTORY_SCOPE);
    },
  };
}

export function inventoryJobs(parts: InventoryParts): JobDefinition[] {
  const { database, clock, config } = parts;
  const { inventoryWorkers: concurrency } = config;
  let scanner: Promise<LayerScanner> | undefined;
  const getScanner = () => (scanner ??= import('./scanner.ts').then(({ createLayerScanner }) => createLayerScanner({ concurrency })));
  const settle = async (signal: AbortSignal, most: number) => await (await import('./settle.ts')).settleImages(parts, signal, most);
  return [
    {
      kind: READ_LAYER,
      concurrency,
      maxAttempts: TRIES,
      leaseMs: LEASE_MS,
      async run(payload, { signal, attempt }) {
        const { digest } = payload as { digest: string };
        const { readLayer } = await import('./read-layer.ts');
        const result = await readLayer(parts, await getScanner(), digest, { signal, isLast: attempt >= TRIES });
        await settle(signal, SETTLED_AT_ONCE);
        return result;
      },
    },
    {
      kind: 'inventory.images',
      schedule: { everyMs: 0 },
      ready: async () => (await imagesToSettle(database, 1)).length > 0,
      async run(_, { signal }) {
        for (let settled = SETTLED_AT_ONCE; settled === SETTLED_AT_ONCE; ) settled = await settle(signal, SETTLED_AT_ONCE);
      },
    },
    {
      // What was there before inventories were made, what came by a way that announces nothing, and what an older version read.
      kind: 'inventory.backlog',
      schedule: { everyMs: 5000 },
      ready: async () =>
        (await layersWaiting(database, WAITING_MOST)) < WAITING_MOST &&
        ((await hasManifestsBehind(database)) || (await olderLayers(database, 1)).length > 0),
      async run(_, { signal }) {
        const manifests = await pageOfManifests(database, await cursorAt(database), PAGE);
        for (const { id, digest } of manifests) {
          signal.throwIfAborted();
          const kind = await kindOfStored(database, digest).catch(() => undefined); // damaged: whoever repairs it restores it
          await database.write(async (tx) => {
            if (kind) await wantInventory(tx, digest, kind, clock.now());
            await saveCursor(tx, id);
          }, INVENTORY_SCOPE);
          if ((await layersWaiting(database, WAITING_MOST)) >= WAITING_MOST) return;
        }
        if (manifests.length > 0) return;
        for (const digest of await olderLayers(database, PAGE)) {
          signal.throwIfAborted();
          await database.write(async (tx) => {
            await wantLayer(tx, digest, clock.now());
            await enqueue(tx, { kind: READ_LAYER, key: digest, payload: { digest }, now: clock.now() });
          }, INVENTORY_SCOPE);
        }
      },
    },
    {
      kind: 'inventory.clean',
      schedule: { cron: '41 * * * *' },
      run: (_, { signal }) => cleanInventories(parts, signal),
    },
  ];
}
