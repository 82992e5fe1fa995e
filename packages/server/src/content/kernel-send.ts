import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { countSent } from '../platform/index.ts';

/** Most bytes of one call: so long another transfer may wait for its thread. */
const CALL_BYTES = 2 << 20;
/** Calls refused in a row, with room in between, until we believe that this file or socket cannot do it. */
const MAX_REFUSED = 8;

/** What we need of the C library; all give a negative number where they fail. */
interface Kernel {
  dup(descriptor: number): number;
  close(descriptor: number): number;
  /** sendfile(2), in a thread: the file may have to come from disk. */
  sendfile(out: number, file: number, offset: number, count: number): Promise<number>;
}

let loading: Promise<Kernel | undefined> | undefined;

async function load(): Promise<Kernel | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const { default: koffi } = await import('koffi');
    const library = koffi.load(null); // the process itself, which has the C library in it
    const sendfile = library.func('int64_t sendfile(int out, int in, _Inout_ int64_t *offset, uint64_t count)');
    return {
      dup: library.func('int dup(int fd)') as Kernel['dup'],
      close: library.func('int close(int fd)') as Kernel['close'],
      sendfile: (out, file, offset, count) =>
        new Promise((resolve, reject) => {
          sendfile.async(out, file, [offset], count, (error: unknown, sent: number | bigint) => {
            if (error) reject(new Error('sendfile cannot be called', { cause: error }));
            else resolve(Number(sent));
          });
        }),
    };
  } catch {
    return undefined; // an optional package that this platform lacks: buffers do it too
  }
}

interface Transfer {
  /** Descriptor of a file. */
  readonly file: number;
  readonly start: number;
  /** Last byte, inclusive. */
  readonly end: number;
  readonly response: ServerResponse;
  /** Sends some bytes from a position by node itself, resolves when the kernel has taken them, and gives how many they were. */
  readonly sendSome: (position: number) => Promise<number>;
}

/**
 * Sends a part of a file to a plain connection without its bytes passing through this process, and gives the position
 * that was reached: `start` where that is not possible here, `end + 1` when all is sent. Where the connection takes no
 * more, node sends a few bytes: it knows how to wait for room, and finds out whether the client is still there.
 */
export async function sendByKernel({ file, start, end, response, sendSome }: Transfer): Promise<number> {
  const { socket } = response; // null while an earlier response of the same connection is sent
  const descriptor = socket ? descriptorOf(socket) : undefined;
  if (!socket || descriptor === undefined) return start;
  loading ??= load();
  const kernel = await loading;
  // A descriptor of our own: should node close its one meanwhile, the number could already be somebody else's connection.
  const out = kernel && !socket.destroyed ? kernel.dup(descriptor) : -1;
  if (!kernel || out < 0) return start;
  try {
    let position = start + (await sendSome(start)); // with the head before it
    for (let refused = 0; position <= end && refused < MAX_REFUSED; ) {
      if (socket.destroyed) throw new Error('the client went away');
      const sent = await kernel.sendfile(out, file, position, Math.min(CALL_BYTES, end + 1 - position));
      if (sent > 0) {
        position += sent;
        refused = 0;
        countSent(response, sent);
        if (socket.timeout) socket.setTimeout(socket.timeout); // node does not see that something moves
      } else {
        refused++;
        position += await sendSome(position);
      }
    }
    return position;
  } finally {
    kernel.close(out);
  }
}

/** Number of a connection's descriptor; undefined where its bytes are not sent as they are, as with TLS. */
function descriptorOf(socket: Socket): number | undefined {
  if (!(socket instanceof Socket) || 'encrypted' in socket) return undefined;
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}
