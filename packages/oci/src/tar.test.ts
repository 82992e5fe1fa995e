import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readTar, type TarEntry, TarError } from './tar.ts';

const LIMITS = { entries: 1000, name: 4096 };

interface Made {
  readonly name: string;
  readonly type?: string;
  readonly content?: Buffer;
  readonly link?: string;
  /** What the header says instead of the content's length. */
  readonly size?: string | Buffer;
}

function block({ name, type = '0', content = Buffer.alloc(0), link = '', size }: Made): Buffer {
  const header = Buffer.alloc(512);
  header.write(name.slice(0, 100), 0);
  header.write('0000644\0', 100);
  if (Buffer.isBuffer(size)) size.copy(header, 124);
  else header.write(`${size ?? content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc(-content.length & 511)]);
}

const pax = (records: Readonly<Record<string, string>>): Buffer =>
  Buffer.concat(
    Object.entries(records).map(([key, value]) => {
      const rest = Buffer.byteLength(` ${key}=${value}\n`);
      let length = rest + 1;
      while (String(length).length + rest !== length) length++;
      return Buffer.from(`${length} ${key}=${value}\n`);
    }),
  );
const archive = (...blocks: Buffer[]) => Buffer.concat([...blocks, Buffer.alloc(1024)]);

async function entriesOf(bytes: Buffer, limits = LIMITS): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  const read = (position: number, length: number) => Promise.resolve(bytes.subarray(position, position + length));
  for await (const entry of readTar(read, bytes.length, limits)) entries.push(entry);
  return entries;
}

describe('a tar archive', () => {
  it('gives its entries and where their contents are, whatever they are', async () => {
    const name = fc.stringMatching(/^[a-zA-Z0-9._/-]{0,99}[a-zA-Z0-9._-]$/);
    const content = fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes));
    const files = fc.array(
      fc.record({
        name,
        content,
        long: fc.option(fc.string({ minLength: 1, maxLength: 300 }).filter((t) => !t.includes('\0') && !t.endsWith('/'))),
      }),
      { maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(files, async (made) => {
        const blocks = made.flatMap(({ long, ...file }) => [
          ...(long === null ? [] : [block({ name: 'PaxHeaders', type: 'x', content: pax({ path: long, mtime: '1.5' }) })]),
          block(file),
        ]);
        const bytes = archive(...blocks);
        const found = await entriesOf(bytes);
        expect(found.map((entry) => ({ name: entry.name, content: bytes.subarray(entry.offset, entry.offset + entry.size) }))).toEqual(
          made.map((file) => ({ name: file.long ?? file.name, content: file.content })),
        );
      }),
    );
  });

  it('is read or refused, whatever bytes are changed in it, and never gives content outside of it', async () => {
    const whole = archive(
      block({ name: 'a', content: Buffer.from('text') }),
      block({ name: 'b', type: '2', link: '../c' }),
      block({ name: 'x', type: 'x', content: pax({ path: 'long' }) }),
      block({ name: 'c', content: Buffer.alloc(700) }),
    );
    const change = fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 4 }), fc.nat(whole.length), async (changes, cut) => {
        const bytes = Buffer.from(whole.subarray(0, cut));
        for (const { at, byte } of changes) if (at < cut) bytes[at] = byte;
        const found = await entriesOf(bytes).catch((error: unknown) => {
          expect(error).toBeInstanceOf(TarError);
          return [];
        });
        for (const { offset, size } of found) expect(offset + size).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 500 },
    );
  });

  it('names long files in the way of GNU, and large ones in base 256', async () => {
    const long = 'n'.repeat(300);
    const size = Buffer.alloc(12);
    size[0] = 0x80;
    size.writeUInt32BE(5, 8);
    const bytes = archive(
      block({ name: '././@LongLink', type: 'L', content: Buffer.from(`${long}\0`) }),
      block({ name: 'short', content: Buffer.from('12345'), size }),
    );
    expect(await entriesOf(bytes)).toMatchObject([{ name: long, size: 5, type: 'file' }]);
  });

  it.each<[string, Buffer]>([
    ['that is cut off', archive(block({ name: 'a', content: Buffer.alloc(600) })).subarray(0, 700)],
    ['without an end', block({ name: 'a' })],
    ['whose entry is larger than it', archive(block({ name: 'a', size: '77777777777' }))],
    ['whose entry has a negative size', archive(block({ name: 'a', size: Buffer.alloc(12, 0xff) }))],
    ['with a sparse file', archive(block({ name: 'a', type: 'S' }))],
    [
      'with a sparse file of pax',
      archive(block({ name: 'x', type: 'x', content: pax({ 'GNU.sparse.major': '1' }) }), block({ name: 'a' })),
    ],
    [
      'with a global header that names all files',
      archive(block({ name: 'g', type: 'g', content: pax({ path: 'x' }) }), block({ name: 'a' })),
    ],
    ['with a huge extended header', archive(block({ name: 'x', type: 'x', content: Buffer.alloc(70_000) }), block({ name: 'a' }))],
    [
      'with a malformed extended header',
      archive(block({ name: 'x', type: 'x', content: Buffer.from('99 path=x\n') }), block({ name: 'a' })),
    ],
    ['with a zero byte in a name', archive(block({ name: 'x', type: 'x', content: pax({ path: 'a\0b' }) }), block({ name: 'a' }))],
    ['with a size in words', archive(block({ name: 'x', type: 'x', content: pax({ size: '1e3' }) }), block({ name: 'a' }))],
    ['with a link that has content', archive(block({ name: 'a', type: '2', link: 'b', content: Buffer.from('x') }))],
    ['that is none', Buffer.from('x'.repeat(2000))],
    ['of nothing', Buffer.alloc(0)],
  ])('%s is refused', async (_, bytes) => {
    await expect(entriesOf(bytes)).rejects.toThrow(TarError);
  });

  it('of the kind that layers have is read where that is allowed, and what is in doubt is not', async () => {
    const tolerant = { ...LIMITS, tolerant: true };
    const sparse = [
      block({ name: 'x', type: 'x', content: pax({ 'GNU.sparse.name': 'holes', 'GNU.sparse.major': '1' }) }),
      block({ name: 'a' }),
    ];
    const read = [
      ['holes', archive(...sparse), [{ name: 'holes', type: 'sparse' }]],
      ['old holes', archive(block({ name: 'b', type: 'S', content: Buffer.alloc(600) })), [{ name: 'b', type: 'sparse', size: 600 }]],
      ['a label', archive(block({ name: 'label', type: 'V' }), block({ name: 'c' })), [{ name: 'c' }]],
      ['no end', block({ name: 'd', content: Buffer.from('x') }), [{ name: 'd' }]],
      ['a folder by its name', archive(block({ name: 'e/' })), [{ name: 'e/', type: 'folder', mode: 0o644 }]],
    ] as const;
    for (const [, bytes, entries] of read) expect(await entriesOf(bytes, tolerant)).toMatchObject(entries);
    const long = block({ name: 'L', type: 'L', content: Buffer.from('x') });
    const doubtful = [
      archive(long, long, block({ name: 'a' })),
      archive(block({ name: 'a/', content: Buffer.from('x') })),
      archive(block({ name: 'a', type: 'V', content: Buffer.from('x') })),
      block({ name: 'a', content: Buffer.alloc(600) }).subarray(0, 1024),
      Buffer.alloc(0),
    ];
    for (const bytes of doubtful) await expect(entriesOf(bytes, tolerant)).rejects.toThrow(TarError);
  });

  it('with a flood of entries is refused', async () => {
    const bytes = archive(...Array.from({ length: 11 }, (_, index) => block({ name: `f${index}` })));
    await expect(entriesOf(bytes, { ...LIMITS, entries: 10 })).rejects.toThrow('more than 10 entries');
    expect(await entriesOf(bytes, { ...LIMITS, entries: 11 })).toHaveLength(11);
  });
});
