import { AppError, compileGlob, type Glob, likesOf } from '../platform/index.ts';

/** Patterns of which one must match, and none of those that exclude. */
export interface Patterns {
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

/** Tags by patterns over full repository names and over tags. */
export interface TagSelector {
  readonly repositories: Patterns;
  readonly tags: Patterns;
}

export interface CompiledSelector {
  readonly repository: Glob;
  readonly tag: Glob;
  /** Patterns of LIKE that find all tags that match, and maybe more. */
  readonly likes: readonly string[];
}

/** Compiles a selector. Throws `bad_request` for what is no pattern. */
export function compileSelector({ repositories, tags }: TagSelector): CompiledSelector {
  return { repository: compileAll(repositories), tag: compileAll(tags), likes: tags.include.flatMap(likesOf) };
}

function compileAll({ include, exclude }: Patterns): Glob {
  const included = include.map(compiled);
  const excluded = exclude.map(compiled);
  return (name) => included.some((glob) => glob(name)) && !excluded.some((glob) => glob(name));
}

function compiled(pattern: string): Glob {
  try {
    return compileGlob(pattern);
  } catch (cause) {
    throw new AppError('bad_request', `${pattern} is no pattern: ${(cause as Error).message}`, { cause });
  }
}
