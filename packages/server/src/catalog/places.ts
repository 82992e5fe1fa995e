import Type, { type TObject, type TOptional, type TString } from 'typebox';
import { AppError, type Session } from '../platform/index.ts';
import { findProject } from './projects.ts';

/** Parameters that name the place itself. */
type Outer = { readonly project: TOptional<TString> };

/** Where something stands: the same handlers serve what is of projects, and of the system, where the project is absent. */
export interface Place {
  /** Path of the list. */
  readonly path: string;
  /** For people. */
  readonly where: string;
  readonly ofPlace: TObject<Outer>;
}

/** The system and projects, with the parameters of further paths. */
export function placesOf<S>(name: string, schemasIn: (outer: Outer) => S): readonly [ofSystem: Place & S, ofProject: Place & S] {
  const place = (path: string, where: string, given: Record<string, TString>): Place & S => {
    const outer = given as unknown as Outer;
    return { path, where, ofPlace: Type.Object(outer), ...schemasIn(outer) };
  };
  return [
    place(`/${name}`, 'of the system', {}),
    place(`/projects/:project/${name}`, 'of a project', { project: Type.String({ maxLength: 128 }) }),
  ];
}

/** Id of the project of a path; null: the system. Throws `not_found` where there is none. */
export async function placeIdOf(session: Session, { project }: { readonly project?: string }): Promise<number | null> {
  if (project === undefined) return null;
  const found = await findProject(session, project);
  if (!found) throw new AppError('not_found', `there is no project ${project}`);
  return found.id;
}
