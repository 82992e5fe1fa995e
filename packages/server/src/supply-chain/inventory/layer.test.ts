import { randomBytes } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readAnswer } from './answer.ts';
import type { Cataloguer } from './cataloguer.ts';
import { apk } from './cataloguers/apk.ts';
import { dpkg as dpkgPackages } from './cataloguers/dpkg.ts';
import { osRelease } from './cataloguers/os-release.ts';
import { beyond, DAMAGED, malformed } from './limits.ts';
import { inventoryOf, inventoryOfEntries, sha256, type TestEntry, tarEntry, tarOf, testPackages, withChecksum } from './testing-layers.ts';

const CATALOGUERS = [testPackages];
const SYSTEM = [osRelease, dpkgPackages, apk];
const reading = { cataloguers: CATALOGUERS };
const pkg = (path: string, content = 'left-pad 1.0.0'): TestEntry => ({ path, content });
const one = (path: string) => [{ path, components: [expect.objectContaining({ name: 'left-pad', version: '1.0.0' })] }];

describe('the inventory of a layer', () => {
  const tar = tarOf([{ path: 'opt/', type: '5' }, pkg('opt/a.pkg'), { path: 'opt/b', content: randomBytes(600) }]);
  const skipped = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);

  it.each<[string, Buffer]>([
    ['as it is', tar],
    ['compressed with gzip', gzipSync(tar)],
    [
      'of several gzip members, as estargz has them',
      Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700)), gzipSync('')]),
    ],
    ['compressed with zstd', zstdCompressSync(tar)],
    [
      'of several zstd frames with some to be skipped, as zstd:chunked has them',
      Buffer.concat([skipped, zstdCompressSync(tar.subarray(0, 700)), skipped, zstdCompressSync(tar.subarray(700)), skipped]),
    ],
  ])('is the same for an archive %s, however its bytes come', async (_, layer) => {
    for (const chunk of [3, 513, 1 << 20]) {
      expect(await inventoryOf(layer, { ...reading, chunk })).toMatchObject({
        diffId: sha256(tar),
        evidence: one('opt/a.pkg'),
        entries: 3,
        bytes: tar.length,
        written: ['opt/a.pkg', 'opt/b'],
      });
      expect(await inventoryOf(layer, { ...reading, chunk })).not.toHaveProperty('incomplete');
    }
  });

  it.each(['./opt/a.pkg', '/opt/a.pkg', 'opt//a.pkg', 'opt/x/../a.pkg', '../../opt/a.pkg', './/../opt/./a.pkg'])(
    'knows one path, however it is written: %s',
    async (path) => {
      expect(await inventoryOfEntries([pkg(path)], reading)).toMatchObject({ evidence: one('opt/a.pkg'), written: ['opt/a.pkg'] });
    },
  );

  it('says which names below it takes away, whether they are there or not', async () => {
    const entries = ['opt/.wh.a.pkg', 'srv/.wh..wh..opq', '.wh..wh.plnk', '.wh..wh.aufs'].map((path) => ({ path }));
    expect(await inventoryOfEntries(entries, reading)).toMatchObject({
      whiteouts: ['opt/a.pkg'],
      opaque: ['srv'],
      written: [],
      evidence: [],
    });
  });

  it('has what a whiteout of the same layer names, in whatever order they come', async () => {
    const entries = [{ path: 'opt/.wh.a.pkg' }, pkg('opt/a.pkg'), { path: 'opt/.wh.b.pkg' }];
    for (const order of [entries, entries.toReversed()]) {
      expect(await inventoryOfEntries(order, reading)).toMatchObject({ evidence: one('opt/a.pkg'), whiteouts: ['opt/a.pkg', 'opt/b.pkg'] });
    }
  });

  it('counts the last of several entries of one name', async () => {
    const last = await inventoryOfEntries([pkg('a.pkg', 'old 1'), pkg('./a.pkg')], reading);
    expect(last.evidence).toEqual(one('a.pkg'));
    for (const type of ['5', '2', '6'])
      expect((await inventoryOfEntries([pkg('a.pkg'), { path: 'a.pkg', type }], reading)).evidence).toEqual([]);
    const replaced = await inventoryOfEntries([pkg('opt/x/a.pkg'), pkg('opt/x/b/a.pkg'), { path: 'opt/x', type: '2', link: 'y' }], reading);
    expect(replaced).toMatchObject({ evidence: [], written: ['opt/x'], links: [{ path: 'opt/x', target: 'opt/y' }] });
  });

  it('finds what lies behind a hard link, whether its target was read or passed over', async () => {
    const link = (path: string, to: string): TestEntry => ({ path, type: '1', link: to });
    const seen = await inventoryOfEntries(
      [pkg('a.pkg'), link('b.pkg', './a.pkg'), link('c.pkg', 'b.pkg'), link('d.txt', 'a.pkg')],
      reading,
    );
    expect(seen.evidence.map(({ path }) => path)).toEqual(['a.pkg', 'b.pkg', 'c.pkg']);
    const passed = await inventoryOfEntries([pkg('store/00ff.txt'), link('app/a.pkg', 'store/00ff.txt')], reading);
    expect(passed).toMatchObject({ evidence: one('app/a.pkg') });
    expect(passed).not.toHaveProperty('incomplete');
    const gone = await inventoryOfEntries([link('app/a.pkg', 'nowhere')], reading);
    expect(gone.incomplete).toEqual({ reason: 'malformed', detail: 'app/a.pkg is a hard link to nowhere, which the layer does not have' });
  });

  it('reads what layers have in practice: devices, pipes, labels, sparse files, comments, old headers, no end', async () => {
    const old = Buffer.alloc(512);
    old.write('opt/old.pkg', 0);
    old.write('00000000015\0', 124);
    const comment = Buffer.from('23 comment=0123456789ab');
    const sparse = tarEntry({ path: 'var/log/lastlog', type: 'S', content: 'x'.repeat(700) });
    const entries = [
      { path: 'pax_global_header', type: 'g', content: `${comment.toString()}\n`.replace('23', '24') },
      { path: 'dev/null', type: '3' },
      { path: 'dev/pipe', type: '6' },
      tarEntry({ path: 'label', type: 'V' }),
      sparse,
      Buffer.concat([withChecksum(old), Buffer.from('left-pad 1.0.'), Buffer.alloc(512 - 13)]),
      pkg(`${'long/'.repeat(30)}a.pkg`),
    ];
    const layer = tarOf(entries);
    for (const bytes of [layer, layer.subarray(0, -1024), layer.subarray(0, -512)]) {
      const inventory = await inventoryOf(bytes, reading);
      expect(inventory.incomplete).toBeUndefined();
      expect(inventory.evidence.map(({ path }) => path)).toEqual([`${'long/'.repeat(30)}a.pkg`, 'opt/old.pkg']);
    }
  });
});

/** E7: hostile archives. Each ends as incomplete and says why, with what was found before. */
describe('E7 hostile layers', () => {
  const whole = tarOf([pkg('a.pkg'), { path: 'b', content: randomBytes(2000) }]);
  const limit = (name: string) => ({ reason: 'limit', limit: name });
  const because = (detail: string) => ({ reason: 'malformed', detail: expect.stringContaining(detail) as string });

  it('E7 a bomb of zeros ends at the ratio, for gzip and zstd', async () => {
    const bomb = tarOf([pkg('a.pkg'), { path: 'zeros', content: Buffer.alloc(8 << 20) }]);
    const limits = { ratio: 100, ratioFrom: 1 << 20 };
    for (const layer of [gzipSync(bomb), zstdCompressSync(bomb)]) {
      const inventory = await inventoryOf(layer, { ...reading, limits, chunk: 1024 });
      expect(inventory).toMatchObject({ incomplete: limit('ratio'), evidence: one('a.pkg') });
      expect(inventory).not.toHaveProperty('diffId');
    }
  });

  it('E7 too many bytes, entries, components or moments end at their limits', async () => {
    const entries = Array.from({ length: 300 }, (_, index) => pkg(`${index}.pkg`));
    const of = (limits: object) => inventoryOfEntries(entries, { ...reading, limits });
    expect((await of({ bytes: 20_000 })).incomplete).toEqual(limit('bytes'));
    expect((await of({ entries: 299 })).incomplete).toEqual(limit('entries'));
    expect((await of({ components: 299 })).incomplete).toEqual(limit('components'));
    expect((await of({ time: -1 })).incomplete).toEqual(limit('time'));
    expect((await of({ entries: 300, components: 300 })).incomplete).toBeUndefined();
  });

  it('E7 a window that no decoder takes unasked ends at the limit of memory', async () => {
    // A frame header with a window of 2 GiB (RFC 8878 section 3.1.1.1.2).
    const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00]);
    expect((await inventoryOf(frame, reading)).incomplete).toEqual(limit('memory'));
  });

  it('E7 a file larger than what is kept in memory is not taken for one without components', async () => {
    const inventory = await inventoryOfEntries([pkg('a.pkg'), pkg('b.pkg', `x 1\n${' '.repeat(2000)}`)], {
      ...reading,
      limits: { file: 1000 },
    });
    expect(inventory).toMatchObject({ incomplete: limit('bytes'), evidence: one('a.pkg'), diffId: expect.any(String) as string });
  });

  it.each<[string, Buffer, string]>([
    ['gzip cut off', gzipSync(whole).subarray(0, -100), 'cannot be decompressed'],
    ['zstd cut off', zstdCompressSync(whole).subarray(0, -100), 'cannot be decompressed'],
    ['gzip with garbage behind', Buffer.concat([gzipSync(whole), Buffer.from('garbage garbage')]), 'cannot be decompressed'],
    ['gzip with a member behind zeros', Buffer.concat([gzipSync(whole), Buffer.alloc(16), gzipSync(whole)]), 'goes on behind its end'],
    ['zstd with garbage behind', Buffer.concat([zstdCompressSync(whole), Buffer.from('garbage garbage')]), 'cannot be decompressed'],
    ['an archive cut off in a file', whole.subarray(0, 2000), 'cut off'],
    ['an archive behind the archive', Buffer.concat([whole, tarOf([pkg('c.pkg')])]), 'behind the end of its archive'],
    [
      'an entry behind one block of zeros',
      Buffer.concat([whole.subarray(0, -512), tarEntry(pkg('c.pkg'))]),
      'behind the end of its archive',
    ],
    ['no archive at all', Buffer.from('x'.repeat(5000)), 'no header'],
    ['nothing', Buffer.alloc(0), 'cut off'],
    ['a whiteout of the folder itself', tarOf([pkg('a.pkg'), { path: 'opt/.wh.' }]), 'whiteout of no file'],
    ['a whiteout of the folder above', tarOf([pkg('a.pkg'), { path: 'opt/.wh...' }]), 'whiteout of no file'],
    ['a sparse file where evidence lies', tarOf([pkg('a.pkg'), tarEntry({ path: 'b.pkg', type: 'S' })]), 'sparse'],
    ['a folder that has content', tarOf([pkg('a.pkg'), { path: 'b/', type: '5', content: 'x' }]), 'has content'],
    ['a file named as a folder', tarOf([pkg('a.pkg'), { path: 'b.pkg/', content: 'x' }]), 'has content'],
  ])('E7 %s is malformed', async (_, layer, detail) => {
    const inventory = await inventoryOf(layer, reading);
    expect(inventory.incomplete).toEqual(because(detail));
  });

  it('E7 a name that two readers take differently is refused: prefix of GNU, names given twice', async () => {
    const gnu = tarEntry(pkg('a.pkg')).subarray(0, 512);
    gnu.write('ustar  \0', 257);
    gnu.write('usr/lib', 345);
    expect((await inventoryOf(tarOf([withChecksum(gnu)]), reading)).incomplete).toEqual(because('prefix'));
    const long = tarEntry({ path: '././@LongLink', type: 'L', content: 'b.pkg\0' });
    expect((await inventoryOf(tarOf([long, long, pkg('a.pkg')]), reading)).incomplete).toEqual(because('two extended headers'));
  });

  it('E7 whatever bytes are changed, the answer is an inventory: another one, or one that is incomplete', async () => {
    const dpkg = { path: 'var/lib/dpkg/status', content: 'Package: a\nVersion: 1\n\nPackage: b\nVersion: 2\n' };
    const entries = [pkg('a.pkg'), dpkg, { path: 'l', type: '1', link: 'a.pkg' }, pkg(`${'x/'.repeat(60)}b.pkg`), { path: 'etc/.wh.x' }];
    const plain = tarOf(entries);
    const change = fc.record({ at: fc.nat(plain.length - 1), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 4 }), fc.nat(plain.length), fc.nat(2), async (changes, cut, kind) => {
        const bytes = Buffer.from([plain, gzipSync(plain), zstdCompressSync(plain)][kind] ?? plain).subarray(0, Math.max(cut, 1));
        for (const { at, byte } of changes) if (at < bytes.length) bytes[at] = byte;
        const inventory = await inventoryOf(bytes, { cataloguers: [testPackages, ...SYSTEM], chunk: 1000 });
        const isWhole = inventory.diffId !== undefined;
        expect(isWhole || inventory.incomplete !== undefined).toBe(true);
        expect(readAnswer(JSON.stringify({ inventory }), inventory.digest)).toEqual(inventory);
      }),
      { numRuns: 300 },
    );
  });

  it('E7 bytes that are not those of the digest are no inventory of it', async () => {
    const inventory = await inventoryOf(gzipSync(whole), { ...reading, digest: sha256(Buffer.from('else')) });
    expect(inventory.incomplete).toEqual(DAMAGED);
  });

  it('E7 folders that are replaced again and again end, in time', async () => {
    const entries = Array.from({ length: 3000 }, (_, index) => (index % 2 === 0 ? pkg('d/a.pkg') : { path: 'd', type: '2', link: 'e' }));
    expect((await inventoryOfEntries(entries, reading)).incomplete).toEqual(because('again and again'));
  });

  it('E7 what is compressed in a way that nobody reads is unscannable', async () => {
    expect((await inventoryOf(Buffer.from('\xfd7zXZ\0abcdefg', 'latin1'), reading)).incomplete).toMatchObject({ reason: 'unscannable' });
  });

  it('E7 a component whose name is no text is left out, and said', async () => {
    const inventory = await inventoryOfEntries([pkg('a.pkg', `left-pad 1.0.0\nevil\x07 1\n${'n'.repeat(600)} 1`)], reading);
    expect(inventory).toMatchObject({ evidence: one('a.pkg'), incomplete: because('no name or version') });
  });

  it('E7 a cataloguer that fails takes nothing from the others; one that meets a limit ends it all', async () => {
    const failing: Cataloguer = { ...testPackages, name: 'failing', read: () => Promise.reject(new TypeError('boom')) };
    const broken: Cataloguer = {
      ...testPackages,
      name: 'broken',
      read() {
        throw malformed('not as it should be');
      },
    };
    const greedy: Cataloguer = {
      ...testPackages,
      name: 'greedy',
      read() {
        throw beyond('nesting');
      },
    };
    const entries = [pkg('a.pkg')];
    for (const [other, detail] of [
      [failing, 'boom'],
      [broken, 'not as it should be'],
    ] as const) {
      const inventory = await inventoryOfEntries(entries, { cataloguers: [other, testPackages] });
      expect(inventory).toMatchObject({ evidence: one('a.pkg'), incomplete: because(detail) });
    }
    expect((await inventoryOfEntries(entries, { cataloguers: [greedy, testPackages] })).incomplete).toEqual(limit('nesting'));
  });
});
