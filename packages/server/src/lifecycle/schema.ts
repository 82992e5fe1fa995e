import type { Migration } from '../platform/index.ts';
import { adoptionMigrations } from './adoption/schema.ts';
import { layoutMigrations } from './layout/schema.ts';
import { imageLabelMigration, retentionMigration, useExpiryMigration } from './retention/schema.ts';
import { scrubMigrations } from './scrub/index.ts';
import { heatMigration } from './tiers/schema.ts';

/** Tables of this room, in the order in which they are made. */
export const lifecycleMigrations: readonly Migration[] = [
  ...adoptionMigrations,
  ...layoutMigrations,
  ...scrubMigrations,
  retentionMigration,
  heatMigration,
  imageLabelMigration,
  useExpiryMigration,
];
