import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Cataloguer } from './cataloguer.ts';
import { CATALOGUERS } from './cataloguers/index.ts';
import { inventoryLayer } from './layer.ts';
import { LAYER_LIMITS, type LayerLimits } from './limits.ts';
import type { LayerInventory } from './model.ts';

/** An entry of an archive that a test makes. */
export interface TestEntry {
  readonly path: string;
  /** Type flag; a file where absent. */
  readonly type?: string;
  readonly content?: string | Uint8Array;
  readonly link?: string;
  readonly mode?: number;
}

const BLOCK = 512;

/** One entry of a tar archive: header and content. Names longer than 100 bytes get an extended header. */
export function tarEntry({ path, type = '0', content = '', link = '', mode = 0o644 }: TestEntry): Buffer {
  const bytes = Buffer.from(content);
  const long = [path, link].some((name) => Buffer.byteLength(name) > 100);
  const extended = long
    ? tarEntry({ path: 'pax', type: 'x', content: paxRecords(link === '' ? { path } : { path, linkpath: link }) })
    : Buffer.alloc(0);
  const header = Buffer.alloc(BLOCK);
  header.write(long ? 'long' : path, 0);
  header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write(type, 156);
  if (!long) header.write(link, 157);
  header.write('ustar\x0000', 257);
  return Buffer.concat([extended, withChecksum(header), bytes, Buffer.alloc(-bytes.length & (BLOCK - 1))]);
}

export function withChecksum(header: Buffer): Buffer {
  header.write('        ', 148);
  header.write(
    `${header
      .reduce((total, byte) => total + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return header;
}

function paxRecords(records: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + 1;
    while (String(length).length + rest !== length) length++;
    return `${length} ${key}=${value}\n`;
  });
  return Buffer.from(lines.join(''));
}

export function tarOf(entries: readonly (TestEntry | Buffer)[]): Buffer {
  return Buffer.concat([...entries.map((entry) => (Buffer.isBuffer(entry) ? entry : tarEntry(entry))), Buffer.alloc(2 * BLOCK)]);
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export interface Reading {
  readonly cataloguers?: readonly Cataloguer[];
  readonly limits?: Partial<LayerLimits>;
  /** Bytes of a chunk. */
  readonly chunk?: number;
  readonly digest?: string;
}

/** The inventory of a layer's bytes as they are stored. */
export function inventoryOf(
  layer: Uint8Array,
  { cataloguers = CATALOGUERS, limits, chunk = 64 * 1024, digest }: Reading = {},
): Promise<LayerInventory> {
  async function* open() {
    for (let at = 0; at < layer.length; at += chunk) yield await Promise.resolve(layer.subarray(at, at + chunk));
  }
  return inventoryLayer({ digest: digest ?? sha256(layer), open }, { cataloguers, limits: { ...LAYER_LIMITS, ...limits } });
}

/** The inventory of a layer with these entries, compressed. */
export function inventoryOfEntries(entries: readonly (TestEntry | Buffer)[], reading?: Reading): Promise<LayerInventory> {
  return inventoryOf(gzipSync(tarOf(entries)), reading);
}

/** A cataloguer for tests: a file `…/NAME.pkg` says which components there are, a line each, `name version`; `owns PATH` of the system's. */
export const testPackages: Cataloguer = {
  name: 'test',
  claims: (path) => path.endsWith('.pkg'),
  wants: () => ({ most: 1024 * 1024 }),
  read({ bytes }) {
    const lines = bytes
      .toString()
      .split('\n')
      .map((line) => line.split(' '));
    const components = lines.flatMap(([name = '', version = '']) =>
      name === '' || name === 'owns' ? [] : [{ type: 'npm' as const, name, version, licences: [], foundBy: 'test' }],
    );
    return { evidence: [{ components }], owned: lines.flatMap(([word, path = '']) => (word === 'owns' ? [path] : [])) };
  },
};
