import type { Generated } from 'kysely';
import type { Migration } from '../../platform/index.ts';
import type { DeliveryState, WebhookFormat } from './words.ts';

export interface WebhookTables {
  webhook: {
    id: Generated<number>;
    /** null: of the system, and so of all projects. */
    project_id: number | null;
    name: string;
    /** Without its query, which is among the secrets. */
    url: string;
    format: WebhookFormat;
    /** Names of events by comma; empty: all that the format knows. */
    events: string;
    /** Patterns; empty: any, and what has none. */
    repositories: string;
    tags: string;
    /** Sealed JSON. */
    secrets: string;
    enabled: number;
    /** 1: pulls are among its events. */
    hears_pulls: number;
    /** When it was last made or enabled: it hears of nothing that happened before. */
    listens_from: number;
    /** When the first of the failures was that no success has followed. */
    failing_since: number | null;
    last_success_at: number | null;
    disabled_reason: string | null;
    created_at: number;
    created_by: string;
    /** Rises with every change of what somebody set, and when it is disabled. */
    version: number;
  };
  /** The queue of what is to be sent, and the log of what was. */
  webhook_delivery: {
    id: Generated<number>;
    webhook_id: number;
    /** The same at every delivery of one event. */
    event_id: string;
    /** 0 for the first delivery of an event to a webhook, and one more for each that somebody asked for. */
    repetition: number;
    event: string;
    format: WebhookFormat;
    body: string;
    state: DeliveryState;
    attempts: number;
    /** When it is tried next; null once it has ended. */
    next_at: number | null;
    /** Of the last attempt. */
    status: number | null;
    duration_ms: number | null;
    error: string | null;
    created_at: number;
    attempted_at: number | null;
  };
}

export const webhookMigrations: readonly Migration[] = [
  {
    name: '0001-webhooks',
    up: ({ db }) => [
      db.schema
        .createTable('webhook')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('project_id', 'integer', (c) => c.references('project.id').onDelete('cascade'))
        .addColumn('name', 'text', (c) => c.notNull())
        .addColumn('url', 'text', (c) => c.notNull())
        .addColumn('format', 'text', (c) => c.notNull())
        .addColumn('events', 'text', (c) => c.notNull())
        .addColumn('repositories', 'text', (c) => c.notNull())
        .addColumn('tags', 'text', (c) => c.notNull())
        .addColumn('secrets', 'text', (c) => c.notNull())
        .addColumn('enabled', 'integer', (c) => c.notNull())
        .addColumn('listens_from', 'bigint', (c) => c.notNull())
        .addColumn('failing_since', 'bigint')
        .addColumn('last_success_at', 'bigint')
        .addColumn('disabled_reason', 'text')
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('created_by', 'text', (c) => c.notNull())
        .addColumn('version', 'integer', (c) => c.notNull()),
      db.schema.createIndex('webhook_project').on('webhook').columns(['project_id', 'name']),
      db.schema
        .createTable('webhook_delivery')
        .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
        .addColumn('webhook_id', 'integer', (c) => c.notNull().references('webhook.id').onDelete('cascade'))
        .addColumn('event_id', 'text', (c) => c.notNull())
        .addColumn('repetition', 'integer', (c) => c.notNull())
        .addColumn('event', 'text', (c) => c.notNull())
        .addColumn('format', 'text', (c) => c.notNull())
        .addColumn('body', 'text', (c) => c.notNull())
        .addColumn('state', 'text', (c) => c.notNull())
        .addColumn('attempts', 'integer', (c) => c.notNull())
        .addColumn('next_at', 'bigint')
        .addColumn('status', 'integer')
        .addColumn('duration_ms', 'integer')
        .addColumn('error', 'text')
        .addColumn('created_at', 'bigint', (c) => c.notNull())
        .addColumn('attempted_at', 'bigint')
        .addUniqueConstraint('webhook_delivery_event', ['webhook_id', 'event_id', 'repetition']),
      db.schema.createIndex('webhook_delivery_log').on('webhook_delivery').columns(['webhook_id', 'id']),
      db.schema.createIndex('webhook_delivery_due').on('webhook_delivery').columns(['webhook_id', 'next_at', 'id']),
      db.schema.createIndex('webhook_delivery_next').on('webhook_delivery').columns(['next_at', 'webhook_id']),
      db.schema.createIndex('webhook_delivery_age').on('webhook_delivery').columns(['created_at']),
    ],
  },
  {
    name: '0002-webhook-pulls',
    up: ({ db }) => [
      db.schema.alterTable('webhook').addColumn('hears_pulls', 'integer', (c) => c.notNull().defaultTo(0)),
      db.schema.createIndex('webhook_hears_pulls').on('webhook').columns(['hears_pulls', 'project_id']),
    ],
  },
];
