import type { Socket } from 'node:net';
import { OutboundError } from '../../platform/index.ts';

/** Extended request 1 with the name 1.3.6.1.4.1.1466.20037 (RFC 4511, section 4.14). */
const NAME = Buffer.from('1.3.6.1.4.1.1466.20037');
const REQUEST = Buffer.concat([Buffer.from([0x30, NAME.length + 7, 0x02, 0x01, 0x01, 0x77, NAME.length + 2, 0x80, NAME.length]), NAME]);
const MAX_BYTES = 1024;

/** Asks a directory to speak TLS from here on. Rejects where it will not, or says anything besides, which nobody vouches for. */
export async function startTls(socket: Socket): Promise<void> {
  socket.write(REQUEST);
  const answer = await new Promise<Buffer>((resolve, reject) => {
    let received = Buffer.alloc(0);
    const failed = () => reject(new OutboundError('unreachable', 'the directory closed the connection when it was asked for TLS'));
    const take = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2) return;
      const length = lengthOf(received);
      if (length === undefined || length > MAX_BYTES) return done(() => reject(refused()));
      if (received.length >= length) done(() => resolve(received));
    };
    const done = (then: () => void) => {
      socket.pause();
      socket.off('data', take).off('close', failed).off('end', failed);
      then();
    };
    socket.on('data', take).once('close', failed).once('end', failed);
  });
  if (answer.length !== lengthOf(answer) || !isSuccess(answer)) throw refused();
}

function refused(): OutboundError {
  return new OutboundError('unreachable', 'the directory does not speak TLS on this port');
}

/** Bytes of a message as a whole; undefined where it is none. */
function lengthOf(bytes: Buffer): number | undefined {
  const [tag, first = 0] = bytes;
  if (tag !== 0x30) return undefined;
  if (first < 0x80) return 2 + first;
  const more = first & 0x7f;
  if (more === 0 || more > 4) return undefined;
  return bytes.length < 2 + more ? 2 + more + 1 : 2 + more + bytes.readUIntBE(2, more);
}

/** Message 1, an extended response, result 0. */
function isSuccess(bytes: Buffer): boolean {
  const start = (bytes[1] ?? 0) < 0x80 ? 2 : 2 + ((bytes[1] ?? 0) & 0x7f);
  const [idTag, idLength, id, tag, first = 0] = bytes.subarray(start);
  if (idTag !== 0x02 || idLength !== 1 || id !== 1 || tag !== 0x78) return false;
  const at = start + 4 + (first < 0x80 ? 1 : 1 + (first & 0x7f));
  return bytes[at] === 0x0a && bytes[at + 1] === 1 && bytes[at + 2] === 0;
}
