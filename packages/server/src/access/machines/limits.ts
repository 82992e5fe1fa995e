import type { Static } from 'typebox';
import { AppError, compileGlob, type Glob } from '../../platform/index.ts';
import { isPermission } from '../permissions.ts';
import type { Statement } from '../statements.ts';
import type { LimitsSchema } from './limits-schema.ts';

export type Limits = Static<typeof LimitsSchema>;

/** A pattern, compiled. Throws `bad_request` where it is none. */
export function readPattern(pattern: string): Glob {
  try {
    return compileGlob(pattern);
  } catch (cause) {
    throw new AppError('bad_request', `${pattern} is no pattern: ${(cause as Error).message}`, { cause });
  }
}

/** Throws `bad_request` for limits with a pattern that is none. */
export function checkLimits(limits: Limits): void {
  for (const { repositories = [] } of limits) for (const pattern of repositories) readPattern(pattern);
}

/** Limits as rules. Permissions that this version does not know allow nothing. */
export function statementsOfLimits(json: string): readonly Statement[] {
  return (JSON.parse(json) as Limits).map(({ project, repositories, permissions }) => {
    const globs = repositories?.map((pattern) => compileGlob(pattern));
    return {
      effect: 'allow',
      permissions: new Set(permissions.filter(isPermission)),
      project,
      repositories: globs && ((name) => globs.some((glob) => glob(name))),
      source: 'limits of the access key',
    };
  });
}
