/** An archive that is no tar archive of the kind that is read, or is meant to do harm. */
export class TarError extends Error {
  override name = 'TarError';
}

export interface TarEntry {
  readonly name: string;
  readonly type: 'file' | 'folder' | 'symlink' | 'hardlink' | 'other';
  /** Bytes of its content, and where they begin in the archive. */
  readonly size: number;
  readonly offset: number;
  /** What a link leads to, '' for all else. */
  readonly link: string;
}

/** Fills a buffer from a position of the archive, with fewer bytes at its end only. */
export type ReadAt = (position: number, length: number) => Promise<Uint8Array>;

export interface TarLimits {
  readonly entries: number;
  /** Longest name or link, in bytes. */
  readonly name: number;
}

const BLOCK = 512;
/** Extended headers of one entry. */
const EXTENDED_MOST = 64 * 1024;
const TYPES: Readonly<Record<string, TarEntry['type']>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'other',
  '4': 'other',
  '5': 'folder',
  '6': 'other',
};

interface Extended {
  path?: string;
  linkpath?: string;
  size?: number;
}

/**
 * Reads the headers of a tar archive (POSIX ustar and pax, GNU long names) of `size` bytes, leaping over contents: nothing is
 * unpacked. Throws TarError for whatever another reader could understand differently, or that is cut off: wrong checksums,
 * sizes beyond the end, sparse files, names with a zero byte.
 */
export async function* readTar(read: ReadAt, size: number, limits: TarLimits): AsyncGenerator<TarEntry> {
  let extended: Extended = {};
  let count = 0;
  for (let at = 0; ; ) {
    const header = Buffer.from(await read(at, BLOCK));
    if (header.length < BLOCK) throw new TarError(`the archive is cut off at ${at + header.length}`);
    at += BLOCK;
    if (header.every((byte) => byte === 0)) {
      if (Object.keys(extended).length > 0) throw new TarError('an extended header without its entry');
      return;
    }
    requireChecksum(header, at - BLOCK);
    const length = numberOf(header, 124, 12);
    const content = extended.size ?? length;
    const type = header.toString('latin1', 156, 157);
    const meta = 'xgLK'.includes(type);
    const own = meta ? length : content;
    const next = at + Math.ceil(own / BLOCK) * BLOCK;
    if (next > size) throw new TarError(`the entry at ${at - BLOCK} goes on beyond the end of the archive`);
    if (++count > limits.entries) throw new TarError(`the archive has more than ${limits.entries} entries`);
    if (meta) {
      if (length > EXTENDED_MOST) throw new TarError(`an extended header has ${length} bytes`);
      const bytes = Buffer.from(await read(at, length));
      extended = { ...extended, ...extendedOf(type, bytes) };
    } else {
      const known = TYPES[type];
      if (known === undefined) throw new TarError(`an entry of type ${JSON.stringify(type)} is not read`);
      const name = extended.path ?? nameOf(header);
      const link = known === 'symlink' || known === 'hardlink' ? (extended.linkpath ?? textOf(header, 157, 100)) : '';
      if (name === '' || Buffer.byteLength(name) > limits.name || Buffer.byteLength(link) > limits.name)
        throw new TarError('an entry has no name, or one that is too long');
      if (known !== 'file' && content > 0) throw new TarError(`${JSON.stringify(name)} is no file and has content`);
      yield { name, type: known, size: content, offset: at, link };
      extended = {};
    }
    at = next;
  }
}

function requireChecksum(header: Buffer, at: number): void {
  const magic = header.toString('latin1', 257, 263);
  if (magic !== 'ustar\0' && magic !== 'ustar ') throw new TarError(`there is no header of a tar archive at ${at}`);
  let sum = 8 * 0x20;
  for (const [index, byte] of header.entries()) if (index < 148 || index >= 156) sum += byte;
  if (sum !== numberOf(header, 148, 8)) throw new TarError(`the header at ${at} has another checksum`);
}

/** Octal digits, or a number in base 256 where the first bit is set. */
function numberOf(header: Buffer, start: number, length: number): number {
  const first = header[start] ?? 0;
  if (first & 0x80) {
    if (first !== 0x80 || header.subarray(start + 1, start + length - 7).some((byte) => byte !== 0))
      throw new TarError('a number in a header is negative or too large');
    const value = header.readBigUInt64BE(start + length - 8);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new TarError('a number in a header is too large');
    return Number(value);
  }
  const text = header.toString('latin1', start, start + length);
  const match = /^ *([0-7]+)[ \0]*$/.exec(text);
  if (!match) throw new TarError('a number in a header is no number');
  return Number.parseInt(match[1] ?? '', 8);
}

function textOf(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? length : end);
}

function nameOf(header: Buffer): string {
  const name = textOf(header, 0, 100);
  const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? textOf(header, 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

function extendedOf(type: string, bytes: Buffer): Extended {
  if (type === 'L') return { path: withoutZero(bytes) };
  if (type === 'K') return { linkpath: withoutZero(bytes) };
  const records = paxRecords(bytes);
  // What a global header may say of names and sizes would hold for every entry that follows; no archive of images has that.
  if (type === 'g') {
    if (records.has('path') || records.has('linkpath') || records.has('size')) throw new TarError('a global header names files');
    return {};
  }
  if ([...records.keys()].some((key) => key.startsWith('GNU.sparse'))) throw new TarError('sparse files are not read');
  const [path, linkpath, size] = [records.get('path'), records.get('linkpath'), records.get('size')];
  if (size !== undefined && !/^[0-9]{1,15}$/.test(size)) throw new TarError('a size in an extended header is no number');
  return {
    ...(path === undefined ? {} : { path: withoutZero(Buffer.from(path)) }),
    ...(linkpath === undefined ? {} : { linkpath: withoutZero(Buffer.from(linkpath)) }),
    ...(size === undefined ? {} : { size: Number(size) }),
  };
}

function withoutZero(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  if (end >= 0 && bytes.subarray(end).some((byte) => byte !== 0)) throw new TarError('a name has a zero byte in it');
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** `<length> <key>=<value>\n`, the length counting all of it (POSIX pax). */
function paxRecords(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? '' : bytes.toString('latin1', at, space);
    const end = at + Number(digits);
    const equals = bytes.indexOf(0x3d, space);
    const isRecord = /^[1-9][0-9]{0,6}$/.test(digits) && end <= bytes.length && bytes[end - 1] === 0x0a && equals > space && equals < end;
    if (!isRecord) throw new TarError('an extended header is malformed');
    records.set(bytes.toString('utf8', space + 1, equals), bytes.toString('utf8', equals + 1, end - 1));
    at = end;
  }
  return records;
}
