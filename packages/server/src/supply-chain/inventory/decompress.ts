import { constants, createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import { IncompleteError, malformed } from './limits.ts';

type Engine = Gunzip | ZstdDecompress;

const CHUNK = 256 * 1024;
/** Windows beyond 128 MiB are refused: a decoder of another kind would not take them either, unless told to. */
const WINDOW_LOG = 27;

/** First bytes of what layers are packed with (RFC 1952; RFC 8878, frames that are skipped among them), and of what nobody reads here. */
function kindOf(head: Buffer): 'gzip' | 'zstd' | 'tar' {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  const magic = head.length < 4 ? 0 : head.readUInt32LE(0);
  if (magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50) return 'zstd';
  if (head.toString('latin1', 0, 6) === '\xfd7zXZ\0' || head.toString('latin1', 0, 3) === 'BZh')
    throw new IncompleteError({ reason: 'unscannable', detail: 'the layer is compressed in a way that is not read (xz or bzip2)' });
  return 'tar';
}

/**
 * Gives the bytes of a layer's archive, by what it begins with: so do the runtimes that unpack it, whatever its media type says.
 * Throws IncompleteError for what is cut off, damaged, or goes on behind its end.
 */
export async function* decompressed(source: AsyncIterator<Uint8Array>): AsyncGenerator<Buffer> {
  const first = await firstOf(source);
  const kind = kindOf(first);
  if (kind === 'tar') {
    if (first.length > 0) yield first;
    for (let next = await source.next(); !next.done; next = await source.next()) yield asBuffer(next.value);
    return;
  }
  const create = () =>
    kind === 'gzip'
      ? createGunzip({ chunkSize: CHUNK })
      : createZstdDecompress({ chunkSize: CHUNK, params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG } });
  for (let rest: Buffer | undefined = first; rest !== undefined; ) {
    const engine = create();
    const fed = feed(engine, rest, source);
    try {
      for await (const chunk of engine) yield chunk as Buffer;
    } catch (cause) {
      throw failureOf(cause);
    } finally {
      engine.destroy();
    }
    // An engine for gzip takes all members; of zstd it ends with a frame that ends within a chunk.
    rest = await fed;
    if (rest !== undefined && kind === 'gzip') throw malformed('the compressed layer goes on behind its end');
  }
}

/** At least six bytes, or all there are. */
async function firstOf(source: AsyncIterator<Uint8Array>): Promise<Buffer> {
  let first: Buffer = Buffer.alloc(0);
  while (first.length < 6) {
    const step = await source.next();
    if (step.done === true) break;
    first = first.length === 0 ? asBuffer(step.value) : Buffer.concat([first, step.value]);
  }
  return first;
}

/** Writes to an engine until it or the source has ended; gives what the engine did not take. Failures are the engine's to tell. */
async function feed(engine: Engine, first: Buffer, source: AsyncIterator<Uint8Array>): Promise<Buffer | undefined> {
  try {
    let written = 0;
    for (let chunk: Buffer | undefined = first; chunk !== undefined; ) {
      written += chunk.length;
      await write(engine, chunk);
      const left = written - engine.bytesWritten;
      if (left > 0) return chunk.subarray(chunk.length - left);
      const next = await source.next();
      chunk = next.done ? undefined : asBuffer(next.value);
    }
    engine.end();
  } catch (error) {
    engine.destroy(error as Error);
  }
  return undefined;
}

function write(engine: Engine, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    engine.write(chunk, (error) => (error ? reject(error) : resolve()));
  });
}

function failureOf(cause: unknown): unknown {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ZSTD_error_frameParameter_windowTooLarge') return new IncompleteError({ reason: 'limit', limit: 'memory' }, cause);
  if (/^(?:Z_|ZSTD_)/.test(code ?? '')) return malformed(`the layer cannot be decompressed: ${message}`, cause);
  return cause;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
