import Type, { type Static } from 'typebox';
import { AppError, compileGlob, type Glob } from '../../platform/index.ts';
import { ALL_PERMISSIONS, isPermission } from '../permissions.ts';
import type { Statement } from '../statements.ts';

const MAX_LIMITS = 50;
const MAX_PATTERNS = 20;

export const Permissions = Type.Array(Type.Enum(ALL_PERMISSIONS), { minItems: 1, maxItems: ALL_PERMISSIONS.length, uniqueItems: true });
export const Pattern = Type.String({ minLength: 1, maxLength: 512, description: 'glob over full repository names, such as demo/app-*' });

export const Limits = Type.Array(
  Type.Object(
    {
      project: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'absent: the system and every project' })),
      repositories: Type.Optional(Type.Array(Pattern, { minItems: 1, maxItems: MAX_PATTERNS })),
      permissions: Permissions,
    },
    { additionalProperties: false },
  ),
  { minItems: 1, maxItems: MAX_LIMITS, description: 'what the key may at most; its owner must hold it as well' },
);

export type Limits = Static<typeof Limits>;

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
