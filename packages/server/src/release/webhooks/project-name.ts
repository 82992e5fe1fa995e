import { queriesOf, type Session } from '../../platform/index.ts';
import type { Webhook } from './store.ts';

const query = queriesOf<{ project: { id: number; name: string } }>('webhooks');
const projectName = query<{ id: number }>()('projectName', (db, p) => db.selectFrom('project').select('name').where('id', '=', p('id')));

/** Name of the project that a webhook stands in; undefined for one of the system. */
export async function projectNameOf(session: Session, { projectId }: Pick<Webhook, 'projectId'>): Promise<string | undefined> {
  return projectId === null ? undefined : (await session.first(projectName, { id: projectId }))?.name;
}
