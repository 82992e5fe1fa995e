import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeLayers } from './merge.ts';
import type { LayerInventory } from './model.ts';
import { inventoryOfEntries, type TestEntry, testPackages } from './testing-layers.ts';

const reading = { cataloguers: [testPackages] };
const pkg = (path: string, ...content: string[]): TestEntry => ({ path, content: content.join('\n') });

async function merged(...layers: (readonly TestEntry[])[]) {
  const inventories: LayerInventory[] = [];
  for (const entries of layers) inventories.push(await inventoryOfEntries(entries, reading));
  return mergeLayers(inventories);
}

/** `name version @ paths # layer` of each component. */
const told = ({ image }: Awaited<ReturnType<typeof merged>>) =>
  image.components.map(({ name, version, paths, layer }) => `${name} ${version} @ ${paths.join(',')} # ${layer.index}`);

describe('layers over each other', () => {
  it('have what the highest of them says of each file', async () => {
    expect(told(await merged([pkg('a.pkg', 'a 1'), pkg('b.pkg', 'b 1')], [pkg('a.pkg', 'a 2')]))).toEqual([
      'a 2 @ a.pkg # 1',
      'b 1 @ b.pkg # 0',
    ]);
  });

  it('keep a package of the base one of the base, where a layer above installs another into the same database', async () => {
    const layers = [[pkg('db.pkg', 'a 1', 'b 1')], [pkg('db.pkg', 'a 1', 'b 2', 'c 1')], [pkg('db.pkg', 'a 1', 'c 1')]] as const;
    expect(told(await merged(...layers))).toEqual(['a 1 @ db.pkg # 0', 'c 1 @ db.pkg # 1']);
  });

  it('count a file that was taken away and made again as new', async () => {
    const base = [pkg('x/a.pkg', 'a 1')];
    expect(told(await merged(base, [pkg('x/.wh.a.pkg')], [pkg('x/a.pkg', 'a 1')]))).toEqual(['a 1 @ x/a.pkg # 2']);
    expect(told(await merged(base, [pkg('x/.wh..wh..opq'), pkg('x/a.pkg', 'a 1')]))).toEqual(['a 1 @ x/a.pkg # 1']);
  });

  it.each<[string, readonly TestEntry[]]>([
    ['the file', [pkg('x/y/.wh.a.pkg')]],
    ['a folder above', [pkg('.wh.x')]],
    ['what a folder held', [pkg('x/.wh..wh..opq')]],
    ['all there was', [pkg('.wh..wh..opq')]],
    ['the folder by putting a file in its place', [pkg('x/y', 'b 1')]],
    ['the folder by putting a link in its place', [{ path: 'x', type: '2', link: 'z' }]],
    ['the file by putting an empty folder in its place', [{ path: 'x/y/a.pkg/', type: '5' }]],
    ['the file by putting a folder in its place', [{ path: 'x/y/a.pkg/', type: '5' }, pkg('x/y/a.pkg/readme.txt')]],
    ['the file by putting another in its place', [pkg('x/y/a.pkg')]],
    ['the file by putting a device in its place', [{ path: 'x/y/a.pkg', type: '3' }]],
  ])('have nothing of a file below where one takes away %s', async (_, above) => {
    expect(told(await merged([pkg('x/y/a.pkg', 'a 1')], above))).toEqual([]);
  });

  it('are not hidden by whiteouts of their own layer, nor by such that only look alike', async () => {
    const base = [pkg('x/a.pkg', 'a 1'), pkg('xy/a.pkg', 'b 1')];
    expect(told(await merged([...base, pkg('.wh.x')]))).toHaveLength(2);
    expect(told(await merged(base, [pkg('.wh.x')]))).toEqual(['b 1 @ xy/a.pkg # 0']);
    expect(told(await merged(base, [pkg('x/.wh..wh..opq'), pkg('x/.wh.b.pkg'), pkg('.wh.y')]))).toEqual(['b 1 @ xy/a.pkg # 0']);
  });

  it('mean one file by a path and the one behind a linked folder', async () => {
    const merge: readonly TestEntry[] = [{ path: 'lib', type: '2', link: 'usr/lib' }, pkg('usr/lib/a.pkg', 'a 1')];
    expect(told(await merged(merge, [pkg('lib/a.pkg', 'a 2')]))).toEqual(['a 2 @ usr/lib/a.pkg # 1']);
    expect(told(await merged(merge, [pkg('lib/.wh.a.pkg')]))).toEqual([]);
    expect(told(await merged(merge, [pkg('lib/.wh..wh..opq')]))).toEqual([]);
    expect(told(await merged(merge, [pkg('db.pkg', 'owns /lib/a.pkg')]))).toEqual([]);
    // A folder in place of the link is another place.
    expect(told(await merged(merge, [{ path: 'lib/', type: '5' }, pkg('lib/a.pkg', 'a 2')]))).toEqual([
      'a 1 @ usr/lib/a.pkg # 0',
      'a 2 @ lib/a.pkg # 1',
    ]);
    const circle: readonly TestEntry[] = [
      { path: 'a', type: '2', link: 'b' },
      { path: 'b', type: '2', link: 'a' },
    ];
    expect(told(await merged(circle, [pkg('a/a.pkg', 'a 1')]))).toEqual(['a 1 @ a/a.pkg # 1']);
  });

  it('tell a component that is found twice once, with its paths, and as of the higher layer', async () => {
    expect(told(await merged([pkg('a.pkg', 'a 1')], [pkg('b.pkg', 'a 1')]))).toEqual(['a 1 @ a.pkg,b.pkg # 1']);
  });

  it('do not tell again what a package of the system owns, as long as that is installed', async () => {
    const files = [pkg('a.pkg', 'a 1'), pkg('b.pkg', 'b 1')];
    const owning = pkg('db.pkg', 'owns a.pkg', 'owns ./b.pkg');
    expect(told(await merged([...files, owning]))).toEqual([]);
    expect(told(await merged([owning], files))).toEqual([]);
    expect(told(await merged(files, [owning]))).toEqual([]);
    expect(told(await merged([...files, owning], [pkg('db.pkg', 'owns a.pkg')]))).toEqual(['b 1 @ b.pkg # 0']);
    expect(told(await merged([...files, owning], [pkg('.wh.db.pkg')]))).toEqual(['a 1 @ a.pkg # 0', 'b 1 @ b.pkg # 0']);
  });

  it('say what became of each piece of evidence', async () => {
    const { fates } = await merged(
      [pkg('a.pkg', 'a 1'), pkg('b.pkg', 'b 1'), pkg('c.pkg', 'c 1')],
      [pkg('a.pkg', 'a 2'), pkg('d.pkg', 'owns b.pkg')],
    );
    expect(fates).toEqual([['replaced', 'owned', 'seen'], ['seen']]);
  });

  it('are incomplete where one of them is', async () => {
    const { image } = await merged([pkg('a.pkg', 'a 1')], [pkg('x/.wh.', '')]);
    expect(image).toMatchObject({ components: [{ name: 'a' }], incomplete: [{ why: { reason: 'malformed' } }] });
    expect(image.incomplete).toHaveLength(1);
  });

  it('agree with a file system into which they are unpacked one after the other', async () => {
    const folder = fc.constantFrom('', 'a/', 'a/b/', 'a/b/c/', 'd/', 'lib/', 'usr/lib/');
    const leaf = fc.constantFrom('x.pkg', 'y.pkg', 'b', 'c', 'd', 'lib');
    const line = fc.oneof(
      fc.constantFrom('one 1', 'one 2', 'two 1', 'three 1'),
      fc.tuple(folder, leaf).map(([where, name]) => `owns /${where}${name}`),
    );
    const entry: fc.Arbitrary<TestEntry> = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.tuple(folder, leaf, fc.array(line, { maxLength: 3 })).map(([where, name, lines]) => pkg(`${where}${name}`, ...lines)),
      },
      { weight: 2, arbitrary: fc.tuple(folder, leaf).map(([where, name]) => ({ path: `${where}${name}`, type: '5' })) },
      { weight: 2, arbitrary: fc.tuple(folder, leaf).map(([where, name]) => pkg(`${where}.wh.${name}`)) },
      { weight: 1, arbitrary: folder.map((where) => pkg(`${where}.wh..wh..opq`)) },
      { weight: 1, arbitrary: fc.constant({ path: 'lib', type: '2', link: 'usr/lib' }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(entry, { maxLength: 6 }), { maxLength: 4 }), async (given) => {
        const layers = given.map(unambiguous);
        const result = await merged(...layers);
        expect(result.image.incomplete).toEqual([]);
        expect(told(result).map((text) => text.slice(0, text.indexOf(' #')))).toEqual(installedIn(unpacked(layers)));
      }),
      { numRuns: 400 },
    );
  });
});

/** Entries of one layer that no two readers understand differently: no path is both a folder and something else, folders come first. */
function unambiguous(entries: readonly TestEntry[]): TestEntry[] {
  const kept = new Map<string, TestEntry>();
  for (const entry of entries) kept.set(entry.path, entry);
  const isBelow = (path: string) => [...kept.keys()].some((other) => other.startsWith(`${path}/`));
  const isFolder = (entry: TestEntry | undefined) => entry?.type === '5';
  const inLink = (path: string) => kept.has('lib') && !isFolder(kept.get('lib')) && path.startsWith('lib/');
  const all = [...kept.values()].filter(({ path, type }) => (type === '5' || !isBelow(path)) && !inLink(path));
  const folders = new Set<string>();
  for (const { path } of all) for (let at = path.indexOf('/'); at > 0; at = path.indexOf('/', at + 1)) folders.add(path.slice(0, at));
  // As archives of changes have it, each folder that something lies in is an entry; lib may be a link below, which is gone through.
  const explicit = [...folders]
    .filter((path) => path !== 'lib' && !all.some((entry) => entry.path === path))
    .map((path): TestEntry => ({ path, type: '5' }));
  return [...explicit, ...all].sort((a, b) => a.path.split('/').length - b.path.split('/').length);
}

type Tree = Map<string, { readonly type: 'file' | 'folder' | 'link'; readonly content: string }>;

/** Unpacks layers as runtimes do: each into the tree that those below left, whiteouts first. */
function unpacked(layers: readonly (readonly TestEntry[])[]): Tree {
  const tree: Tree = new Map();
  const real = (path: string) => (path.startsWith('lib/') && tree.get('lib')?.type === 'link' ? `usr/${path}` : path);
  const remove = (path: string) => {
    for (const other of [...tree.keys()]) if (other === path || other.startsWith(`${path}/`)) tree.delete(other);
  };
  for (const entries of layers) {
    const isWhiteout = ({ path }: TestEntry) => path.slice(path.lastIndexOf('/') + 1).startsWith('.wh.');
    for (const { path } of entries.filter(isWhiteout)) {
      const [where, name] = [path.slice(0, path.lastIndexOf('/') + 1), path.slice(path.lastIndexOf('/') + 1)];
      if (name !== '.wh..wh..opq') remove(real(`${where}${name.slice(4)}`));
      else for (const other of [...tree.keys()]) if (where === '' || other.startsWith(real(`${where}x`).slice(0, -1))) tree.delete(other);
    }
    for (const entry of entries.filter((each) => !isWhiteout(each))) {
      const path = real(entry.path);
      const type = entry.type === '5' ? 'folder' : entry.type === '2' ? 'link' : 'file';
      if (type !== 'folder' || (tree.has(path) && tree.get(path)?.type !== 'folder')) remove(path);
      tree.set(path, { type, content: String(entry.content ?? '') });
    }
  }
  return tree;
}

/** What the final tree says, by reading all of it. */
function installedIn(tree: Tree): string[] {
  const real = (path: string) => (path.startsWith('lib/') && tree.get('lib')?.type === 'link' ? `usr/${path}` : path);
  const files = [...tree].filter(([path, { type }]) => type === 'file' && path.endsWith('.pkg'));
  const lines = files.flatMap(([path, { content }]) => content.split('\n').map((text) => [path, text] as const));
  const owned = new Set(lines.flatMap(([, text]) => (text.startsWith('owns /') ? [real(text.slice(6))] : [])));
  const found = new Map<string, Set<string>>();
  for (const [path, text] of lines)
    if (text !== '' && !text.startsWith('owns ') && !owned.has(path)) found.set(text, (found.get(text) ?? new Set()).add(path));
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([text, paths]) => `${text} @ ${[...paths].sort().join(',')}`);
}
