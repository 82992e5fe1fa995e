/** Path of an entry from the root of the image: `./a//b`, `/a/b` and `a/c/../b` are all `a/b`; none leads out of it. */
export function normalise(path: string): string {
  if (isNormal(path)) return path;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return parts.join('/');
}

function isNormal(path: string): boolean {
  return (
    path !== '' &&
    !path.startsWith('/') &&
    !path.startsWith('./') &&
    !/\/(?:\.{0,2}\/|\.{0,2}$)/.test(path) &&
    !/^\.\.?$|^\.\.\//.test(path)
  );
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The folder that a path lies in; '' for the root. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}

/** Where a symbolic link leads, seen from the root of the image. */
export function targetOf(path: string, target: string): string {
  return normalise(target.startsWith('/') ? target : `${folderOf(path)}/${target}`);
}

/** Bytes of a name that are no UTF-8 are read as this; such names may be different ones. */
export const UNREADABLE = '\ufffd';

const WHITEOUT = '.wh.';

/** What an entry of a layer does to the layers below (image-spec layer.md, "Whiteouts"). */
export type Whiteout =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'opaque'; readonly folder: string }
  /** A file of aufs, which means nothing. */
  | { readonly kind: 'ignored' };

/** Reads an entry as a whiteout; undefined where it is none. Throws RangeError for one that names no file of its folder. */
export function whiteoutOf(path: string): Whiteout | undefined {
  const name = nameOf(path);
  if (!name.startsWith(WHITEOUT)) return undefined;
  const folder = folderOf(path);
  if (name === '.wh..wh..opq') return { kind: 'opaque', folder };
  if (name.startsWith('.wh..wh.')) return { kind: 'ignored' };
  const gone = name.slice(WHITEOUT.length);
  if (gone === '' || gone === '.' || gone === '..') throw new RangeError(`${JSON.stringify(path)} is a whiteout of no file`);
  if (gone.includes(UNREADABLE)) return { kind: 'ignored' };
  return { kind: 'path', path: folder === '' ? gone : `${folder}/${gone}` };
}
