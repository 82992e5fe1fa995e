import { type Database, queriesOf } from '../../platform/index.ts';

interface Tables {
  audit_record: { seq: number; action: string };
  outbox_event: { id: number; topic: string };
}

const query = queriesOf<Tables>('testing-tiers');
const actions = query()('actions', (db) => db.selectFrom('audit_record').select('action').orderBy('seq'));
const topics = query()('topics', (db) => db.selectFrom('outbox_event').select('topic').orderBy('id'));

export async function records(database: Database): Promise<{ action: string }[]> {
  return await database.all(actions, {});
}

export async function events(database: Database): Promise<{ topic: string }[]> {
  return await database.all(topics, {});
}
