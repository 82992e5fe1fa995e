import { findProject, type Project } from '../catalog/index.ts';
import { cursorOf, type Query, queriesOf, type Session } from '../platform/index.ts';
import type { Access } from './access.ts';
import type { Identity } from './identity.ts';
import type { AccessTables } from './schema.ts';

const query = queriesOf<AccessTables>('access');

interface Seen {
  /** Where the page begins, exclusive. */
  last: string;
  kind: string;
  id: number;
  /** 1: also projects in which the subject has no right of its own. */
  all: number;
  limit: number;
}

/** Candidates for what a subject sees: public projects, those it or a group of it has any right in, or all. */
function seenProjects(name: string, order: 'asc' | 'desc'): Query<Seen, { name: string }> {
  return query<Seen>()(name, (db, p) =>
    db
      .selectFrom('project')
      .select('project.name')
      .where('project.name', order === 'asc' ? '>' : '<', p('last'))
      .where((eb) =>
        eb.or([
          eb(p('all'), '=', 1),
          eb('project.public', '=', 1),
          eb.exists(
            eb
              .selectFrom('role_assignment as own')
              .select('own.id')
              .whereRef('own.project_id', '=', 'project.id')
              .where((own) => own(own.ref('own.subject_kind'), '=', p('kind') as never))
              .where('own.subject_id', '=', p('id')),
          ),
          eb.exists(
            eb
              .selectFrom('role_assignment as shared')
              .innerJoin('group_member', 'group_member.group_id', 'shared.subject_id')
              .select('shared.id')
              .whereRef('shared.project_id', '=', 'project.id')
              .where('shared.subject_kind', '=', 'group')
              .where('group_member.user_id', '=', p('id'))
              .where(p('kind'), '=', 'user'),
          ),
        ]),
      )
      .orderBy('project.name', order)
      .limit(p('limit')),
  );
}

const ascending = seenProjects('seenProjects', 'asc');
const descending = seenProjects('seenProjectsDescending', 'desc');

/** Comes after every project name. */
const END = '\u{10ffff}';

/** Names after `last` of projects that a subject may have rights in; `wide` where it has rights in all. */
export async function pageOfSeen(
  session: Session,
  { subject }: Pick<Identity, 'subject'>,
  page: { last: string | undefined; wide: boolean; limit: number; descending?: boolean },
): Promise<string[]> {
  const { last, wide, limit, descending: backwards = false } = page;
  const seen = { kind: subject?.kind ?? 'anonymous', id: subject?.id ?? 0, all: wide ? 1 : 0, limit };
  const rows = backwards
    ? await session.all(descending, { ...seen, last: last ?? END })
    : await session.all(ascending, { ...seen, last: last ?? '' });
  return rows.map(({ name }) => name);
}

const CHUNK = 200;

export interface ProjectFilter {
  readonly limit: number;
  readonly last: string | undefined;
  readonly descending: boolean;
  readonly name?: string | undefined;
  readonly public?: boolean | undefined;
  readonly environment?: string | undefined;
}

/** A page of the projects that an identity may read. */
export async function pageOfProjects(
  session: Session,
  access: Access,
  identity: Identity,
  { limit, last, descending: backwards, name = '', public: isPublic, environment }: ProjectFilter,
): Promise<{ projects: Project[]; next: string | undefined }> {
  const projects: Project[] = [];
  const wide = await access.reaches(identity, 'project:read');
  for (let after = last; ; ) {
    const names = await pageOfSeen(session, identity, { last: after, wide, limit: CHUNK, descending: backwards });
    for (const found of names) {
      const project = found.includes(name) ? await findProject(session, found) : undefined;
      if (!project || (isPublic !== undefined && project.public !== isPublic)) continue;
      if (environment !== undefined && project.environment !== environment) continue;
      if (!(await access.holds(identity, 'project:read', { project: found }))) continue;
      if (projects.length === limit) return { projects, next: cursorOf(projects.at(-1)?.name ?? '') };
      projects.push(project);
    }
    after = names.at(-1);
    if (names.length < CHUNK || after === undefined) return { projects, next: undefined };
  }
}
