import { CompiledQuery } from 'kysely';
import type { Database } from '../../platform/index.ts';

/** Everything that the catalogue says, but numbers and times of rows. */
export async function stateOf(database: Database): Promise<unknown> {
  const state: Record<string, unknown> = {};
  const read = async (table: string, sql: string) => {
    const query = {
      name: `test.${table}.${Math.random()}`,
      build: () => ({ compile: () => ({ ...CompiledQuery.raw(sql), query: { kind: 'SelectQueryNode' } }) }),
    };
    state[table] = await database.all(query as never, {} as never);
  };
  const named = 'FROM repository r JOIN';
  await read(
    'blobs',
    `SELECT r.name, x.digest, x.size, x.unneeded_since IS NULL AS needed ${named} repository_blob x ON x.repository_id = r.id ORDER BY 1, 2`,
  );
  await read('stored', 'SELECT digest, size, state, review_at FROM stored_blob ORDER BY 1');
  await read(
    'manifests',
    `SELECT r.name, x.digest, x.created_at, x.subject, x.content_size, c.bytes ${named} manifest x ON x.repository_id = r.id JOIN manifest_content c ON c.manifest_id = x.id ORDER BY 1, 2`,
  );
  await read('references', `SELECT r.name, x.digest, x.kind ${named} manifest_reference x ON x.repository_id = r.id ORDER BY 1, 2, 3`);
  await read('tags', `SELECT r.name, x.name AS tag, x.digest, x.updated_at ${named} tag x ON x.repository_id = r.id ORDER BY 1, 2`);
  await read(
    'history',
    `SELECT r.name, x.name AS tag, x.digest, x.previous_digest, x.changed_at ${named} tag_history x ON x.repository_id = r.id ORDER BY 1, 2, x.id`,
  );
  await read(
    'usage',
    'SELECT project_id, sum(bytes) AS bytes, sum(repositories) AS repositories, sum(tags) AS tags FROM project_usage GROUP BY 1 ORDER BY 1',
  );
  return state;
}
