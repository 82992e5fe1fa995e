import { isRepositoryName } from '@entrepot/oci';
import { AppError } from '../platform/index.ts';

/** What a path of the distribution API names (distribution-spec, "Endpoints"). */
export type Resource = 'base' | 'catalog' | 'manifest' | 'blob' | 'uploads' | 'upload' | 'tags' | 'referrers';

export interface Target {
  readonly resource: Resource;
  readonly name: string;
  readonly reference: string;
}

const BASE: Target = { resource: 'base', name: '', reference: '' };
const CATALOG: Target = { resource: 'catalog', name: '', reference: '' };

/**
 * Reads a path from its right end, as repository names have any number of components. Undefined: no such route.
 * A percent-encoded path is decoded once, and what comes out must meet the grammar like any other.
 */
export function parsePath(raw: string): Target | undefined {
  const path = raw.includes('%') ? decode(raw) : raw;
  if (path === '/v2/' || path === '/v2') return BASE;
  if (path === '/v2/_catalog') return CATALOG;
  if (!path.startsWith('/v2/')) return undefined;
  const last = path.lastIndexOf('/');
  const previous = path.lastIndexOf('/', last - 1);
  const word = path.slice(previous + 1, last);
  const reference = path.slice(last + 1);
  switch (word) {
    case 'manifests':
      return target('manifest', path, previous, reference);
    case 'blobs':
      return reference === 'uploads' ? target('uploads', path, previous, '') : target('blob', path, previous, reference);
    case 'referrers':
      return target('referrers', path, previous, reference);
    case 'tags':
      return reference === 'list' ? target('tags', path, previous, '') : undefined;
    case 'uploads': {
      const blobs = path.lastIndexOf('/', previous - 1);
      if (path.slice(blobs + 1, previous) !== 'blobs') return undefined;
      return target(reference === '' ? 'uploads' : 'upload', path, blobs, reference);
    }
    default:
      return undefined;
  }
}

function target(resource: Resource, path: string, end: number, reference: string): Target | undefined {
  const name = path.slice(4, end);
  if (end <= 4) return undefined;
  if (!isRepositoryName(name)) throw new AppError('name_invalid', 'the repository name is outside the grammar');
  return { resource, name, reference };
}

function decode(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    throw new AppError('name_invalid', 'the path is not valid percent-encoding');
  }
}
