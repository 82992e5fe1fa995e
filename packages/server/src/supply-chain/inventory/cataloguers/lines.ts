/** Lines of a text as package managers write it, without their ends; a line longer than 64 KiB is cut. */
export function* linesOf(bytes: Buffer): Generator<string> {
  for (let at = 0; at < bytes.length; ) {
    const found = bytes.indexOf(0x0a, at);
    const end = found < 0 ? bytes.length : found;
    const last = end > at && bytes[end - 1] === 0x0d ? end - 1 : end;
    yield bytes.toString('utf8', at, Math.min(last, at + LONGEST));
    at = end + 1;
  }
}

const LONGEST = 64 * 1024;
