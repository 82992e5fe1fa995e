import type { IncomingMessage } from 'node:http';
import Type from 'typebox';
import type { Access, Identity } from '../../access/index.ts';
import { findProjectById } from '../../catalog/index.ts';
import type { SeenProject } from '../../catalog/routes.ts';
import type { Session } from '../../platform/index.ts';

export interface HarborParts {
  readonly database: Session;
  readonly access: Access;
  /** What a caller sees of a project; throws for one that it does not see at all. */
  seen(caller: Identity, project: string): Promise<SeenProject>;
  /** A small blob of a repository; undefined where it is missing or larger. */
  readBlob(digest: string, most: number, repositoryId: number): Promise<Uint8Array | undefined>;
}

const ProjectName = Type.String({ maxLength: 128, description: 'name, or id' });
const RepositoryName = Type.String({ maxLength: 255 });
const Reference = Type.String({ maxLength: 160 });
export const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

export const OfProject = Type.Object({ project: ProjectName });
export const OfMember = Type.Object({ project: ProjectName, id: Id });
export const OfRepository = Type.Object({ project: ProjectName, repository: RepositoryName });
export const OfArtifact = Type.Object({ project: ProjectName, repository: RepositoryName, reference: Reference });
export const OfTag = Type.Object({
  project: ProjectName,
  repository: RepositoryName,
  reference: Reference,
  tag: Type.String({ maxLength: 128 }),
});

/**
 * What a path of Harbor names, as the rest of the server calls it: a project may be named by its id unless a header says
 * otherwise, and the name of a repository comes encoded twice.
 */
export async function readParams(
  session: Session,
  params: Readonly<Record<string, string>>,
  headers: IncomingMessage['headers'],
): Promise<Record<string, string>> {
  const { project, repository, ...others } = params;
  const isId = project !== undefined && /^[0-9]{1,15}$/.test(project) && headers['x-is-resource-name'] !== 'true';
  const named = isId ? ((await findProjectById(session, Number(project)))?.name ?? project) : project;
  return {
    ...others,
    ...(named === undefined ? {} : { project: named }),
    ...(repository === undefined ? {} : { repository: decoded(repository) }),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A time as Harbor writes it. */
export function time(at: number): string {
  return new Date(at).toISOString();
}

/** A time for what never happened. */
export const NEVER = '0001-01-01T00:00:00.000Z';

/** Where something that was made is found. */
export function locationOf(path: string): Record<string, string> {
  return { Location: `/api/v2.0${path}` };
}
