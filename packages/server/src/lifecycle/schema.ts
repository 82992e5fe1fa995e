import type { Migration } from '../platform/index.ts';
import { adoptionMigrations } from './adoption/index.ts';
import { retentionMigration } from './retention/schema.ts';
import { scrubMigrations } from './scrub/index.ts';

/** Tables of this room, in the order in which they are made. */
export const lifecycleMigrations: readonly Migration[] = [...adoptionMigrations, ...scrubMigrations, retentionMigration];
