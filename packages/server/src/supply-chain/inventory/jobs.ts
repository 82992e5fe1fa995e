import { pageOfManifests } from '../../catalog/index.ts';
import { enqueue, type JobDefinition, type OutboxConsumer } from '../../platform/index.ts';
import { cursorAt, hasManifestsBehind, isAnyReady, layersWaiting, olderLayers, saveCursor } from './backlog.ts';
import { INVENTORY_SCOPE, READ_LAYER } from './format.ts';
import type { InventoryParts } from './parts.ts';

const TRIES = 6;
const SETTLED_AT_ONCE = 20;
const PAGE = 100;
/** What was here before is taken up slowly: no more layers wait at once than this. */
const WAITING_MOST = 200;
const LEASE_MS = 5 * 60_000;

/** Loaded with the first image: a registry that nobody pushes to needs none of it. */
const wanting = () => import('./wanting.ts');

/** Has the layers of whatever is pushed or comes back read. */
export function inventoryConsumer({ database, clock }: InventoryParts): OutboxConsumer {
  return {
    name: 'inventory',
    topics: ['manifest.pushed', 'manifest.restored'],
    async handle({ payload }) {
      const { digest } = payload as { digest: string };
      const { kindOfStored, wantInventory } = await wanting();
      const kind = await kindOfStored(database, digest);
      if (kind) await database.write((tx) => wantInventory(tx, digest, kind, clock.now()), INVENTORY_SCOPE);
    },
  };
}

/** With `inventory` off only what somebody asks for is read. */
export function inventoryJobs(parts: InventoryParts): JobDefinition[] {
  const { database, config } = parts;
  const { inventoryWorkers: concurrency } = config;
  let scanner = parts.scanner && Promise.resolve(parts.scanner);
  const getScanner = () => (scanner ??= import('./scanner.ts').then(({ createLayerScanner }) => createLayerScanner({ concurrency })));
  const settle = async (signal: AbortSignal) => await (await import('./settle.ts')).settleImages(parts, signal, SETTLED_AT_ONCE);
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
        await settle(signal);
        return result;
      },
    },
    {
      kind: 'inventory.images',
      schedule: { everyMs: 0 },
      ready: () => isAnyReady(database),
      async run(_, { signal }) {
        for (let settled = SETTLED_AT_ONCE; settled === SETTLED_AT_ONCE; ) settled = await settle(signal);
      },
    },
    {
      kind: 'inventory.backlog',
      schedule: { everyMs: 5000 },
      ready: async () =>
        config.inventory && ((await hasManifestsBehind(database)) || (await olderLayers(database, 1)).length > 0) && !(await isFull(parts)),
      run: (_, { signal }) => takeUp(parts, signal),
    },
    {
      kind: 'inventory.clean',
      schedule: { cron: '41 * * * *' },
      run: async (_, { signal }) => await (await import('./clean.ts')).cleanInventories(parts, signal),
    },
  ];
}

async function isFull({ database }: InventoryParts): Promise<boolean> {
  return (await layersWaiting(database, WAITING_MOST)) >= WAITING_MOST;
}

/** Takes up what was there before inventories were made, what came by a way that announces nothing, and what an older version read. */
async function takeUp(parts: InventoryParts, signal: AbortSignal): Promise<void> {
  const { database, clock } = parts;
  const { kindOfStored, wantInventory } = await wanting();
  for (let found = PAGE; found === PAGE; ) {
    const manifests = await pageOfManifests(database, await cursorAt(database), PAGE);
    for (const { id, digest } of manifests) {
      signal.throwIfAborted();
      if (await isFull(parts)) return;
      const kind = await kindOfStored(database, digest);
      await database.write(async (tx) => {
        if (kind) await wantInventory(tx, digest, kind, clock.now());
        await saveCursor(tx, id);
      }, INVENTORY_SCOPE);
    }
    found = manifests.length;
  }
  const { wantLayer } = await import('./layer-store.ts');
  for (const digest of await olderLayers(database, PAGE)) {
    signal.throwIfAborted();
    await database.write(async (tx) => {
      await wantLayer(tx, digest, clock.now());
      await enqueue(tx, { kind: READ_LAYER, key: digest, payload: { digest }, now: clock.now() });
    }, INVENTORY_SCOPE);
  }
}
