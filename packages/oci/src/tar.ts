/** An archive that is no tar archive of the kind that is read, or is meant to do harm. */
export class TarError extends Error {
  override name = 'TarError';
}

export interface TarEntry {
  readonly name: string;
  /** `sparse` is a file whose content has holes that are left out; where it stands is not read. */
  readonly type: 'file' | 'sparse' | 'folder' | 'symlink' | 'hardlink' | 'other';
  /** Permission bits. */
  readonly mode: number;
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
  /**
   * Also reads what is found in layers and leaves no doubt: sparse files, volume labels, headers of the time before POSIX, numbers
   * that are blank, and an end without its zero blocks.
   */
  readonly tolerant?: boolean;
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
  sparse?: true;
}

/**
 * Reads the headers of a tar archive (POSIX ustar and pax, GNU long names) of `size` bytes, infinity as long as that is not known,
 * leaping over contents: nothing is unpacked. It asks for bytes in their order. Throws TarError for whatever another reader could
 * understand differently, or that is cut off: wrong checksums, sizes beyond the end, sparse files, names with a zero byte.
 */
export async function* readTar(read: ReadAt, size: number | (() => number), limits: TarLimits): AsyncGenerator<TarEntry> {
  const { tolerant = false } = limits;
  const sizeNow = typeof size === 'number' ? () => size : size;
  let extended: Extended = {};
  let count = 0;
  for (let at = 0; ; ) {
    const header = asBuffer(await read(at, BLOCK));
    const isOver = header.length < BLOCK ? tolerant && at > 0 && at === sizeNow() : isZero(header);
    if (isOver) {
      if (Object.keys(extended).length > 0) throw new TarError('an extended header without its entry');
      return;
    }
    if (header.length < BLOCK) throw new TarError(`the archive is cut off at ${at + header.length}`);
    at += BLOCK;
    requireChecksum(header, at - BLOCK, tolerant);
    const length = sizeOf(header, tolerant);
    const content = extended.size ?? length;
    const type = header.toString('latin1', 156, 157);
    const meta = 'xgLK'.includes(type);
    const own = meta ? length : content;
    if (++count > limits.entries) throw new TarLimitError(`the archive has more than ${limits.entries} entries`);
    if (meta) {
      if (length > EXTENDED_MOST) throw new TarError(`an extended header has ${length} bytes`);
      const bytes = asBuffer(await read(at, length));
      if (bytes.length < length) throw new TarError(`the archive is cut off at ${at + bytes.length}`);
      extended = withMore(extended, extendedOf(type, bytes, tolerant));
    } else if (tolerant && type === 'V') {
      if (own > 0) throw new TarError('the label of a volume has content');
    } else {
      const known = tolerant && (type === 'S' || extended.sparse) ? 'sparse' : TYPES[type];
      if (known === undefined) throw new TarError(`an entry of type ${JSON.stringify(type)} is not read`);
      if (known === 'sparse' && type === 'S' && header[482] !== 0) at = await behindSparseMap(read, at, limits.entries);
      const { name, link, mode } = { ...namesOf(header, extended, known), mode: modeOf(header) };
      if (name === '' || Buffer.byteLength(name) > limits.name || Buffer.byteLength(link) > limits.name)
        throw new TarError('an entry has no name, or one that is too long');
      // A file named as a folder is one to some readers, and then has no content whatever its header says.
      const isFolder = known === 'folder' || (known === 'file' && name.endsWith('/'));
      if ((isFolder || (known !== 'file' && known !== 'sparse')) && content > 0)
        throw new TarError(`${JSON.stringify(name)} is no file and has content`);
      if (at + Math.ceil(own / BLOCK) * BLOCK > sizeNow()) throw beyondEnd(at);
      yield { name, type: isFolder ? 'folder' : known, mode, size: content, offset: at, link };
      extended = {};
    }
    const next = at + Math.ceil(own / BLOCK) * BLOCK;
    if (next > sizeNow()) throw beyondEnd(at);
    at = next;
  }
}

/** An archive that goes beyond a limit; it may be sound. */
export class TarLimitError extends TarError {
  override name = 'TarLimitError';
}

function beyondEnd(at: number): TarError {
  return new TarError(`the entry at ${at - BLOCK} goes on beyond the end of the archive`);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function isZero(block: Buffer): boolean {
  for (const byte of block) if (byte !== 0) return false;
  return true;
}

/** Two headers that say the same thing of one entry are understood by their order, by each reader in its own way. */
function withMore(known: Extended, more: Extended): Extended {
  for (const key of Object.keys(more)) if (key in known) throw new TarError(`two extended headers give the ${key} of one entry`);
  return { ...known, ...more };
}

/** Old GNU sparse files may have blocks with more of their map behind the header. */
async function behindSparseMap(read: ReadAt, at: number, most: number): Promise<number> {
  for (let blocks = 0; blocks < most; blocks++) {
    const block = await read(at, BLOCK);
    if (block.length < BLOCK) throw new TarError(`the archive is cut off at ${at + block.length}`);
    at += BLOCK;
    if (block[504] === 0) return at;
  }
  throw new TarError('the map of a sparse file does not end');
}

function requireChecksum(header: Buffer, at: number, tolerant: boolean): void {
  const magic = header.toString('latin1', 257, 263);
  const isOld = tolerant && header.readUIntBE(257, 6) === 0 && header.readUInt16BE(263) === 0;
  if (magic !== 'ustar\0' && magic !== 'ustar ' && !isOld) throw new TarError(`there is no header of a tar archive at ${at}`);
  let sum = 8 * 0x20;
  for (let index = 0; index < BLOCK; index++) if (index < 148 || index >= 156) sum += header[index] ?? 0;
  if (sum !== numberOf(header, 148, 8)) throw new TarError(`the header at ${at} has another checksum`);
}

function sizeOf(header: Buffer, tolerant: boolean): number {
  const isBlank = () => /^[ \0]*$/.test(header.toString('latin1', 124, 136));
  return tolerant && (header[124] === 0 || header[124] === 0x20) && isBlank() ? 0 : numberOf(header, 124, 12);
}

function modeOf(header: Buffer): number {
  const match = /^ *([0-7]+)[ \0]*$/.exec(header.toString('latin1', 100, 108));
  return match ? Number.parseInt(match[1] ?? '', 8) & 0o7777 : 0;
}

function namesOf(header: Buffer, extended: Extended, type: TarEntry['type']): { name: string; link: string } {
  const isLink = type === 'symlink' || type === 'hardlink';
  return { name: extended.path ?? nameOf(header), link: isLink ? (extended.linkpath ?? textOf(header, 157, 100)) : '' };
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
  const magic = header.toString('latin1', 257, 263);
  if (magic === 'ustar ' && !hasTimes(header)) throw new TarError('a header of GNU has a prefix, which only some readers take');
  const isStar = header.toString('latin1', 508, 512) === 'tar\0';
  const prefix = magic === 'ustar\0' ? textOf(header, 345, isStar ? 131 : 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** Where GNU has two times, POSIX has the prefix of the name. */
function hasTimes(header: Buffer): boolean {
  return [345, 357].every((start) => (header[start] ?? 0) & 0x80 || /^ *[0-7]*[ \0]*$/.test(header.toString('latin1', start, start + 12)));
}

function extendedOf(type: string, bytes: Buffer, tolerant: boolean): Extended {
  if (type === 'L') return { path: withoutZero(bytes) };
  if (type === 'K') return { linkpath: withoutZero(bytes) };
  const records = paxRecords(bytes);
  // What a global header may say of names and sizes would hold for every entry that follows; no archive of images has that.
  if (type === 'g') {
    if (records.has('path') || records.has('linkpath') || records.has('size')) throw new TarError('a global header names files');
    return {};
  }
  const sparse = [...records.keys()].some((key) => key.startsWith('GNU.sparse'));
  if (sparse && !tolerant) throw new TarError('sparse files are not read');
  const [path, linkpath, size] = [records.get('GNU.sparse.name') ?? records.get('path'), records.get('linkpath'), records.get('size')];
  if (size !== undefined && !/^[0-9]{1,15}$/.test(size)) throw new TarError('a size in an extended header is no number');
  return {
    ...(path === undefined ? {} : { path: withoutZero(Buffer.from(path)) }),
    ...(linkpath === undefined ? {} : { linkpath: withoutZero(Buffer.from(linkpath)) }),
    ...(size === undefined ? {} : { size: Number(size) }),
    ...(sparse ? { sparse: true } : {}),
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
