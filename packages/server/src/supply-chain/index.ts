import type { JobDefinition, Migration, OutboxConsumer } from '../platform/index.ts';
import { inventoryConsumer, inventoryJobs } from './inventory/jobs.ts';
import type { InventoryParts } from './inventory/parts.ts';
import { inventoryMigrations } from './inventory/schema.ts';

/** Tables of this room, in the order in which they are made. */
export const supplyChainMigrations: readonly Migration[] = [...inventoryMigrations];

/** What of this room hears of what happens. */
export function supplyChainConsumers(parts: InventoryParts): OutboxConsumer[] {
  return parts.config.inventory ? [inventoryConsumer(parts)] : [];
}

/** What of this room runs in the background. */
export function supplyChainJobs(parts: InventoryParts): JobDefinition[] {
  return inventoryJobs(parts);
}
